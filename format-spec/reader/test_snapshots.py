#!/usr/bin/env python3
"""test_snapshots.py: the vectors of snapshots, by the reader: it reads what it must, every field of it, and
refuses the rest."""

import sys
from pathlib import Path

import orlop_reader as reader

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "snapshot"


def parse(path):
    head, body = path.read_text().split("\n\n", 1)
    return dict(line.split(": ", 1) for line in head.splitlines()), bytes.fromhex(body)


def of_vector(fields, data):
    """A repository of which nothing is known but what the vector says."""
    given = lambda name: bytes.fromhex(fields[name])
    repo = reader.Repository.__new__(reader.Repository)
    repo.domain, repo.instance = given("domain"), given("instance")
    repo.epochs = {1: {"index": given("secret"), "record": given("record-secret")}}
    repo.small = lambda name: data
    client = bytes.fromhex(fields["name"].split("/")[1]) if fields["name"].count("/") == 2 else None
    repo.clients = {client: {1: {"role": ("Owner", None)}}}
    keys = iter([given("key"), given("commit-key")])
    repo.signer = lambda client, epoch: next(keys)
    return repo


def said(s):
    """Everything that a snapshot says, in one line."""
    time = lambda t: f"{t['sec']}.{t['nsec']:09}"
    optional = lambda value, show: "-" if value is None else show(value)
    choice = lambda c: c[0] if c[1] is None else f"{c[0]}:{c[1]}"
    text = lambda values: "|".join(v.decode() if isinstance(v, bytes) else v for v in values)
    owners = lambda pairs: "|".join(f"{n}:{name.decode()}" for n, name in pairs)
    ext = lambda all: "|".join(f"{e['tag']}:{e['flags']}:{e['data'].hex()}" for e in all)
    b = s["body"]
    return " ".join(
        [
            f"id={s['id'].hex()} seq={s['seq']} time={time(s['time'])} offset={s['utc_offset']}",
            f"started={time(s['started'])} ended={time(s['ended'])} machine={s['machine'].hex()} flags={s['flags']}",
            f"parent={optional(s['parent'], bytes.hex)} replaces={optional(s['replaces'], bytes.hex)}",
            f"origin={optional(s['origin'], bytes.hex)}",
            "heads=" + "|".join(f"{h['client'].hex()}:{h['seq']}:{h['id'].hex()}" for h in s["heads"]),
            f"ext={ext(s['ext'])} host={b['hostname']} user={b['username']} uid={b['uid']} gid={b['gid']}",
            f"paths={text(b['paths'])} tags={text(b['tags'])} label={b['label']} description={b['description']}",
            f"trigger={choice(b['trigger'])} scope={choice(b['scope'])} expires={optional(b['expires'], time)}",
            f"chunking={b['chunking']} excludes={text(b['excludes'])} program={b['program']}",
            f"name_encoding={b['name_encoding']} root_style={b['root_style']}",
            f"users={owners(b['users'])} groups={owners(b['groups'])}",
            "stats=" + "|".join(str(n) for n in b["stats"].values()),
            f"ext={ext(b['ext'])}",
        ]
    )


def result(fields, data):
    try:
        reader.need(fields["name"].count("/") == 2, "no place of a snapshot")
        return said(of_vector(fields, data).snapshot(fields["name"]))
    except reader.Bad as e:
        return e


def main():
    wrong, accepted, refused = [], 0, 0
    for path in sorted(VECTORS.glob("*.txt")):
        fields, data = parse(path)
        got = result(fields, data)
        if fields["expect"] == "ok":
            accepted += 1
            if got != fields["gives"]:
                wrong.append(f"{path.stem}: {got!r} instead of {fields['gives']!r}")
        else:
            refused += 1
            if not isinstance(got, reader.Bad):
                wrong.append(f"{path.stem}: read as {got}, and should be refused ({fields['expect']})")
    print("\n".join(wrong) or f"the reader read {accepted} snapshots and refused {refused}")
    return 1 if wrong or not accepted else 0


if __name__ == "__main__":
    sys.exit(main())
