#!/bin/sh
# test_reader.sh REPO PASSWORD TREE [PATH]: the newest snapshot of REPO, restored by the independent
# reader, is TREE. PATH is where TREE is inside the snapshot: its own absolute path, if not given.
set -eu
repo=$1 password=$2 tree=$(cd "$3" && pwd)
inside=${4:-$tree}
here=$(cd "$(dirname "$0")" && pwd)
python=${ORLOP_READER_PYTHON:-python3}
target=$(mktemp -d)
trap 'chmod -R u+rwX "$target"; rm -rf "$target" "$target.a" "$target.b"' EXIT
"$python" -B "$here/orlop_reader.py" "$repo" --password "$password" restore latest "$target"
# Names, kinds, modes, owners, sizes, times and targets; then bytes.
describe() { (cd "$1" && find . -printf '%P\t%y\t%m\t%U\t%G\t%T@\t%l\0' | sort -z); }
describe "$tree" >"$target.a"; describe "$target$inside" >"$target.b"
cmp "$target.a" "$target.b"
bytes() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }
bytes "$tree" >"$target.a"; bytes "$target$inside" >"$target.b"
cmp "$target.a" "$target.b"
echo "the reader restored $tree"
