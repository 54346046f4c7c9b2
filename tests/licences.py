#!/usr/bin/env python3
"""Which licences and crates may come into the build.

Reads `cargo metadata`. Every crate's licence expression must be satisfiable with the licences of
ALLOWED; nothing of BANNED may be there; crates that are there in several versions are named, which
is no failure. `--self-test` checks the reading of expressions.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# All of these let anyone use, change and pass on the program under MIT or Apache-2.0.
ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause",
    "CC0-1.0", "ISC", "MIT", "MIT-0", "NCSA", "Unicode-3.0", "Unlicense", "Zlib",
}

BANNED = {
    "openssl": "needs a library of the system; ciphers come from ring and chacha20poly1305",
    "openssl-sys": "needs a library of the system; ciphers come from ring and chacha20poly1305",
    "native-tls": "brings openssl",
    "async-std": "given up by its makers; async code may only come with a storage that needs it",
    "chrono": "jiff is our one library for time",
    "time": "jiff is our one library for time",
    "failure": "given up by its makers",
    "serde_yaml": "given up by its makers",
    "atty": "given up by its makers; std::io::IsTerminal",
}

# Not of our own; what others do inside is theirs.
BANNED_HERE = {
    "anyhow": "errors of the library have kinds",
}

# What is built; crates for other systems alone are nobody's burden.
PLATFORMS = ["x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"]


def satisfiable(expression, allowed):
    """Whether an SPDX expression can be met with these licences."""
    # Before SPDX, people wrote a slash for OR.
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))

    def either():
        met = both()
        while words and words[0] == "OR":
            words.pop(0)
            met = both() or met
        return met

    def both():
        met = one()
        while words and words[0] == "AND":
            words.pop(0)
            met = one() and met
        return met

    def one():
        word = words.pop(0)
        if word == "(":
            met = either()
            words.pop(0)
            return met
        if words and words[0] == "WITH":
            word = f"{word} {words.pop(0)} {words.pop(0)}"
        return word in allowed

    return either() and not words


def self_test():
    for expression, expected in [
        ("MIT", True), ("GPL-3.0-only", False), ("MIT OR GPL-3.0-only", True), ("MIT/GPL-2.0", True),
        ("MIT AND GPL-3.0-only", False), ("(MIT OR GPL-2.0) AND ISC", True), ("GPL-2.0 OR (MIT AND X)", False),
        ("Apache-2.0 WITH LLVM-exception", True), ("GPL-2.0 WITH LLVM-exception OR MIT", True),
    ]:
        assert satisfiable(expression, ALLOWED) is expected, expression
    print("licence expressions are read as they should be")


def packages():
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--manifest-path", str(ROOT / "Cargo.toml")]
    for platform in PLATFORMS:
        command += ["--filter-platform", platform]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["packages"]


def main():
    self_test()
    found, failures, versions = packages(), [], defaultdict(set)
    for p in found:
        versions[p["name"]].add(p["version"])
        name, licence = f"{p['name']} {p['version']}", p["license"]
        if p["name"] == "orlop":
            direct = {d["name"] for d in p["dependencies"]}
            failures += [f"{b} is a dependency: {why}" for b, why in BANNED_HERE.items() if b in direct]
        if p["name"] in BANNED:
            failures.append(f"{name} is banned: {BANNED[p['name']]}")
        if not licence:
            failures.append(f"{name} names no licence; its file {p['license_file']} must be read by a person")
        elif not satisfiable(licence, ALLOWED):
            failures.append(f"{name} is under '{licence}', which the allowed licences do not meet")
    for name, several in sorted(versions.items()):
        if len(several) > 1:
            print(f"note: {name} is there in versions {', '.join(sorted(several))}")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    print(f"{len(found)} crates, {len(failures)} of them not allowed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(self_test() if "--self-test" in sys.argv[1:] else main())
