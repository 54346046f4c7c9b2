#!/bin/sh
# Fills fuzz/corpus from the vectors and fuzz/seeds: what a parser accepts, and almost accepts, is where to begin.
set -eu
cd "$(dirname "$0")"
seed() { # target, object...
    target=$1; shift
    mkdir -p "corpus/$target"
    for object in "$@"; do
        for f in ../format-spec/vectors/"$object"/*.txt; do
            to="corpus/$target/$object-$(basename "$f" .txt)"
            sed '1,/^$/d' "$f" | xxd -r -p >"$to"
            # What stands inside a record is in its `gives` line.
            sed -n 's/^gives: \([0-9a-f]\{8,\}\).*/\1/p' "$f" | xxd -r -p >"$to.in"
            [ -s "$to.in" ] || rm "$to.in"
        done
    done
}
records="config client session-open heartbeat close"
later="gc tombstone suspect annotation hollow catalogue state times"
seed armour armour
seed record $records
seed payload $records $later keyring
seed slot slot
seed keyring keyring
seed pack pack-header pack-footer pack-table
seed frame blob-lengths frame
seed segment segment
seed page page
seed snapshot snapshot origin
seed gc $later
seed parity parity
seed name name
seed anatomy armour $records $later pack-header pack-footer segment slot snapshot
# Whole files, and each line of them.
for f in seeds/*/*; do
    to="corpus/$(basename "$(dirname "$f")")"
    mkdir -p "$to"
    cp "$f" "$to/"
    split -l 1 -a 3 "$f" "$to/$(basename "$f")-"
done
