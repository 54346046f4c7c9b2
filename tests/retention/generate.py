#!/usr/bin/env python3
"""Histories and policies, and what restic answers to them.

    generate.py RESTIC FOLDER > restic-0.19.1.txt

makes a repository in FOLDER whose hosts are histories, runs `forget --dry-run` with every policy,
and prints both. Takes some minutes, nearly all of it for the few hundred backups.

    now 2026-11-21T08:00:00Z              snapshots after this are in the future
    history h00                           then its snapshots, oldest first
    0 2024-01-01T10:00:00+01:00 a,b       number, time with the offset it was stored with, tags
    policy UTC --keep-daily 3             the zone of the machine, the flags
    h00 0:d 4:ld                          what stays of a history, each with its reasons
    h01 !                                 refused: nothing would stay

Reasons: l H d w m y for last and the five periods, after `o` for the oldest; W for within, `i` before
a letter for one of a period within; t and a number for the list of tags.
"""

import json
import os
import random
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

RESTIC, FOLDER = sys.argv[1:3]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]
PERIODS = {"hourly": "H", "daily": "d", "weekly": "w", "monthly": "m", "yearly": "y"}
dice = random.Random(19)


def restic(args, zone="UTC", stdin=None):
    env = {"PATH": os.environ["PATH"], "HOME": FOLDER, "TZ": zone, "RESTIC_PASSWORD": "x"}
    env["RESTIC_REPOSITORY"] = os.path.join(FOLDER, "repository")
    return subprocess.run([RESTIC, "--no-cache", *args], env=env, input=stdin, capture_output=True, text=True)


def history(kind, zone):
    """Times of snapshots, in UTC and whole seconds."""
    zone = ZoneInfo(zone)
    day = datetime(2023, dice.randint(1, 12), dice.randint(1, 28), 3, 17, tzinfo=zone)
    count = dice.randint(8, 22)
    if kind == "minutes":
        gaps = [timedelta(minutes=dice.randint(5, 90)) for _ in range(count)]
    elif kind == "hours":
        gaps = [timedelta(hours=dice.randint(1, 30)) for _ in range(count)]
    elif kind == "days":
        gaps = [timedelta(days=1, seconds=dice.randint(-4000, 4000)) for _ in range(count)]
    elif kind == "weeks":
        gaps = [timedelta(days=dice.choice([1, 1, 6, 7, 8, 20])) for _ in range(count)]
    elif kind == "months":
        gaps = [timedelta(days=dice.choice([3, 27, 28, 29, 30, 31, 59])) for _ in range(count)]
    elif kind == "years":
        gaps = [timedelta(days=dice.choice([1, 90, 180, 364, 365, 366, 700])) for _ in range(count)]
    elif kind == "ends":  # months' and years' ends, and the weeks that belong to another year
        day = datetime(2019, 12, 27, 23, 30, tzinfo=zone)
        gaps = [timedelta(hours=dice.choice([6, 12, 18, 24, 700, 4380])) for _ in range(count)]
    elif kind == "clock":  # the nights when clocks change
        day = datetime(2024, dice.choice([3, 10, 11, 4]), 1, 0, 30, tzinfo=zone)
        gaps = [timedelta(minutes=dice.choice([30, 30, 60, 1440, 1440 * 3])) for _ in range(count)]
    at, times = day.astimezone(timezone.utc), []
    for gap in gaps:
        at += gap
        times.append(at)
    if kind in ("weeks", "minutes") and dice.random() < 0.7:
        times += [datetime(2090, 2, 3, 4, 5, tzinfo=timezone.utc), datetime(2091, 2, 3, 4, 5, tzinfo=timezone.utc)]
    return times


def policies():
    """Lists of flags: each rule alone, then mixtures."""
    out = [[f"--keep-{p}", n] for p in ["last", *PERIODS] for n in ["1", "3", "unlimited"]]
    out += [["--keep-within", d] for d in ["2h", "5d", "1m", "1m2d3h", "1y", "20y"]]
    out += [[f"--keep-within-{p}", d] for p, d in zip(PERIODS, ["3d", "14d", "3m", "1y", "5y"])]
    out += [["--keep-tag", "a"], ["--keep-tag", "a,b", "--keep-tag", "c"], ["--keep-tag", ""]]
    while len(out) < 60:
        flags = []
        for p in ["last", *PERIODS]:
            if dice.random() < 0.4:
                flags += [f"--keep-{p}", dice.choice(["1", "2", "4", "7", "12", "unlimited"])]
        for p in ["", *(f"-{p}" for p in PERIODS)]:
            if dice.random() < 0.15:
                flags += [f"--keep-within{p}", dice.choice(["36h", "7d", "1m", "2m15d", "1y1m1d1h", "3y"])]
        if dice.random() < 0.3:
            flags += ["--keep-tag", dice.choice(["a", "b", "a,b", "c"])]
        if flags:
            out.append(flags)
    return out


def short(reason, tags):
    oldest = reason.startswith("oldest ")
    reason = reason.removeprefix("oldest ")
    if reason.startswith("has tags ["):
        return "t" + str(tags.index(reason.removeprefix("has tags [").removesuffix("]").replace(", ", ",")))
    if reason.startswith("within "):
        return "W"
    word = reason.split()[0]
    letter = "l" if word == "last" else PERIODS[word]
    return ("o" if oldest else "") + ("i" if " within " in reason else "") + letter


def main():
    os.makedirs(FOLDER)
    assert restic(["init"]).returncode == 0
    kinds = ["minutes", "hours", "days", "weeks", "months", "years", "ends", "clock"]
    now = datetime.now(timezone.utc).replace(microsecond=0)
    print(f"now {now:%Y-%m-%dT%H:%M:%SZ}")
    numbers, hosts = {}, []
    for i in range(24):
        host, zone = f"h{i:02}", ZONES[i % len(ZONES)]
        hosts.append(host)
        local = [at.astimezone(ZoneInfo(zone)) for at in history(kinds[i % 8], zone)]
        # An hour that a night has twice is the first one to restic.
        walls = sorted({at.strftime("%Y-%m-%d %H:%M:%S") for at in local})
        for wall in walls:
            tags = dice.choice(["", "", "a", "b", "a,b", "b,c"])
            flags = ["--tag", tags] if tags else []
            done = restic(["backup", "-q", "--stdin", "--host", host, "--time", wall, *flags], zone, "x")
            assert done.returncode == 0, done.stderr
    for s in json.loads(restic(["snapshots", "--json"]).stdout):
        numbers.setdefault(s["hostname"], []).append(s)
    for host in hosts:
        numbers[host].sort(key=lambda s: datetime.fromisoformat(s["time"]))
    print_histories(numbers)
    for i, flags in enumerate(policies()):
        zone = ["UTC", "Europe/Berlin"][i % 2]
        print("policy", zone, " ".join(f or "''" for f in flags))
        answer(zone, flags, hosts, numbers)


def print_histories(numbers):
    for host, all_of_it in sorted(numbers.items()):
        print("history", host)
        for n, s in enumerate(all_of_it):
            s["number"] = n
            print(n, s["time"], ",".join(s.get("tags") or []))


def answer(zone, flags, hosts, numbers):
    tags = [flags[i + 1] for i, f in enumerate(flags) if f == "--keep-tag"]
    forget = ["forget", "--dry-run", "--json", "-g", "host", *flags]
    done = restic(forget, zone)
    groups = {g["host"]: g for g in json.loads(done.stdout.splitlines()[0])} if done.returncode == 0 else {}
    for host in hosts:
        if host not in groups:
            done = restic([*forget, "--host", host], zone)
            if done.returncode != 0:
                assert "refusing to delete last snapshot" in done.stderr, done.stderr
                print(host, "!")
                continue
            [groups[host]] = json.loads(done.stdout.splitlines()[0])
        group = groups[host]
        ids = {s["id"]: s["number"] for s in numbers[host]}
        kept = []
        for r in group["reasons"]:
            kept.append((ids[r["snapshot"]["id"]], "".join(short(m, tags) for m in r["matches"])))
        print(host, " ".join(f"{n}:{why}" for n, why in sorted(kept)))


main()
