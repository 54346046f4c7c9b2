//! Pruning from the command line.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::noise::noise;
use super::world::{Ran, World};

/// Bytes that nothing makes smaller.
/// Two snapshots, the first of which alone needs about 3 MiB.
fn two() -> World {
    let world = World::with_repository();
    world.write("src/old", noise(3 << 20, 1));
    world.ok("backup src -q");
    world.write("src/old", noise(1 << 20, 2));
    world.ok("backup src -q");
    world
}

fn packs(world: &World) -> u64 {
    world.files("repo/packs").iter().map(|(_, len)| len).sum()
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = two();
    let before = world.files("repo");
    for (line, says) in [
        ("prune --max-unused 101%", "'101%' is not a share"),
        ("prune --max-unused=-1%", "'-1%' is not a share"),
        ("prune --max-unused many", "--max-unused"),
        ("prune --max-repack-size 10Q", "--max-repack-size"),
        ("prune --max-repack-size", "--max-repack-size"),
        ("prune --time-budget 1d", "'1d' is not a time"),
        ("prune --time-budget 99999999999999999999h", "is not a time"),
        ("prune everything", "everything"),
    ] {
        let err = world.fails(line, 1);
        assert!(err.contains(says), "{line}: {err}");
    }
    assert_eq!(world.files("repo"), before);
}

#[test]
fn a_clients_key_may_not_prune() {
    let world = two();
    world.write("client", "client-password\n");
    world.ok("key add --role client --client laptop --new-password-file @/client");
    let before = world.files("repo");
    for line in ["prune", "prune --now", "prune --dry-run", "forget latest --prune"] {
        let ran = world.run_with(line, &[("ORLOP_PASSWORD", "client-password")]);
        assert_eq!(ran.code, 1, "{line}: {}", ran.err);
        assert!(ran.err.contains("error[forbidden]") && ran.err.contains("the role client"), "{line}: {}", ran.err);
    }
    assert_eq!(world.files("repo"), before);
}

/// The line that scripts have.
#[test]
fn forget_prunes_as_far_as_it_is_told() {
    let world = two();
    let before = packs(&world);
    for flag in ["--now", "--max-unused 0", "--max-repack-size 1G", "--time-budget 1h"] {
        let err = world.fails(&format!("forget --keep-last 1 {flag}"), 1);
        assert!(err.contains("says how to prune, and --prune was not given"), "{flag}: {err}");
    }
    assert_eq!(world.snapshots().len(), 2);
    let would = world.ok("forget --group-by= --keep-last 1 --prune --now --dry-run");
    assert!(would.contains("would have removed 1 snapshot"), "{would}");
    assert!(would.contains("\n1 forgotten snapshot could no longer be brought back\n"), "{would}");
    let would = world.ok("forget --group-by= --keep-last 1 --prune --now --dry-run --json");
    let would: serde_json::Value = serde_json::from_str(would.lines().last().expect("a line")).expect("JSON");
    assert!(would["delete_bytes"].as_u64() > Some(3 << 20), "{would}");
    let would = world.ok("forget --group-by= --keep-last 1 --prune --dry-run");
    assert!(would.contains("\n1 forgotten snapshot is kept until 2"), "{would}");
    assert_eq!((world.snapshots().len(), packs(&world)), (2, before));
    let said = world.ok("forget --group-by= --keep-last 1 --prune --now --max-unused 0");
    assert!(said.contains("removed 1 snapshot\n") && said.contains(" are free again"), "{said}");
    assert!(said.contains("\n1 forgotten snapshot can no longer be brought back\n"), "{said}");
    assert!(packs(&world) + (3 << 20) < before + (1 << 18), "{before} {}", packs(&world));
    world.ok("check --read-data");
}

#[test]
fn now_frees_at_once_and_ends_the_window() {
    let world = two();
    let before = packs(&world);
    let forgotten = world.snapshots()[0]["short_id"].as_str().expect("an id").to_owned();
    world.ok(&format!("forget {forgotten}"));
    // Without --now what was forgotten can still come back, so nothing goes.
    let plain = world.json("prune --json");
    assert_eq!((&plain["deleted_packs"], &plain["delete_bytes"]), (&0.into(), &0.into()), "{plain}");
    assert_eq!((&plain["forgotten_kept"], &plain["forgotten_ended"]), (&1.into(), &0.into()), "{plain}");
    assert!(plain["forgotten_kept_until"].as_str().is_some_and(|t| t.ends_with('Z')), "{plain}");
    for line in ["prune", "prune -n"] {
        let said = world.ok(line);
        assert!(said.contains("\n1 forgotten snapshot is kept until 2"), "{said}");
        assert!(said.contains(" and can be brought back; `prune --now` frees what it alone needs\n"), "{said}");
    }
    let would = world.json("prune -n --now --json");
    assert_eq!((&would["forgotten_kept"], &would["forgotten_ended"]), (&0.into(), &1.into()), "{would}");
    assert!(would["forgotten_kept_until"].is_null(), "{would}");
    assert!(world.ok("prune -n --now").contains("\n1 forgotten snapshot could no longer be brought back\n"));
    let said = world.ok("prune --now");
    assert!(said.contains("deleted ") && said.contains(" are free again"), "{said}");
    assert!(said.contains("\n1 forgotten snapshot can no longer be brought back\n"), "{said}");
    assert!(!world.ok("prune --now").contains("brought back"));
    assert!(packs(&world) + (3 << 20) < before + (1 << 18), "{before} {}", packs(&world));
    let ran = world.run(&format!("undelete {forgotten}"));
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains(&forgotten), "{}", ran.err);
    assert!(!world.ok("undelete").contains(&forgotten));
    assert_eq!(world.snapshots().len(), 1);
    world.ok("check --read-data");
    world.ok("restore latest --target @/out");
    assert_eq!(std::fs::read(world.path("out/src/old")).expect("restored"), noise(1 << 20, 2));
}

#[test]
fn a_fence_that_nobody_needs_does_no_harm() {
    let world = two();
    world.ok("forget latest~1");
    let said = world.json("prune --now --fence --json");
    assert!(said["deleted_packs"].as_u64() > Some(0) && said["pending"] == serde_json::json!([]), "{said}");
    assert_eq!(world.json("prune --fence --json")["deleted_packs"], 0);
    world.ok("check --read-data");
}

#[test]
fn the_keys_are_those_of_restic() {
    let world = two();
    world.ok("forget latest~1");
    let before = world.files("repo");
    let would = world.json("prune --now --dry-run --json");
    assert_eq!(world.files("repo"), before, "a dry run writes nothing");
    assert_eq!((&would["message_type"], &would["dry_run"]), (&"summary".into(), &true.into()));
    for key in ["repack_blobs", "repack_bytes", "removed_blobs", "removed_bytes", "delete_blobs", "delete_bytes"] {
        assert!(would[key].is_u64(), "{key}: {would}");
    }
    let did = world.json("prune --now --json");
    for key in ["repack_bytes", "delete_bytes", "remaining_blobs", "remaining_bytes", "unused_bytes"] {
        assert_eq!(would[key], did[key], "{key}: {would} {did}");
    }
    assert_eq!(world.ok("forget latest --prune --json").lines().count(), 2, "forget's JSON, then prune's");
}

#[test]
fn forget_can_prune_too() {
    let world = two();
    let said = world.ok("forget latest~1 --prune");
    assert!(said.contains("to delete:") && said.contains("remaining:"), "{said}");
    assert_eq!(world.snapshots().len(), 1);
    let before = world.files("repo");
    world.ok("forget latest --prune --dry-run");
    assert_eq!(world.files("repo"), before);
}

#[test]
fn who_is_in_the_way_is_named_and_after_kill_9_nobody_is() {
    let world = two();
    let mut command = world.command("backup --stdin-from-command --stdin-filename slow -- sleep 60");
    let sessions = || world.files("repo/sessions").len();
    let earlier = sessions();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    let begun = Instant::now();
    while sessions() == earlier && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    world.ok("forget latest~1");
    let before = packs(&world);
    // A plain one says when, and who may be in the way then.
    let said = world.ok("prune");
    assert!(!said.contains("not free yet"), "the window is not over: {said}");
    let said = world.ok("prune --now");
    let who = format!("process {} on ", child.id());
    assert!(said.contains("condemned and not free yet") && said.contains(&who), "{said}");
    assert!(said.contains("prune again when it is done, or give it up with `--fence`"), "{said}");
    assert!(packs(&world) >= before && !said.contains("a prune after"), "{said}");
    // What it has done it did not say yet.
    assert!(!said.contains(" done)"), "{said}");
    let said = world.ok("prune");
    assert!(said.contains("a prune after ") && said.contains(&who) && !said.contains("at once"), "{said}");
    let json = world.json("prune --now --json");
    assert_eq!(json["pending"][0]["pid"], child.id(), "{json}");
    assert!(json["pending"][0]["not_before"].is_null(), "{json}");
    child.kill().expect("ours");
    child.wait().expect("ours");
    let would = world.json("prune --now -n --json");
    assert!(would["deleted_bytes"].as_u64() > Some(2 << 20), "{would}");
    let said = world.ok("prune --now");
    assert!(said.contains(" are free again") && !said.contains("not free yet"), "{said}");
    assert!(packs(&world) + (2 << 20) < before);
    world.ok("check --read-data");
}

#[test]
fn without_now_it_says_when_the_space_will_come() {
    let world = two();
    world.ok("policy window 0d");
    world.ok("forget latest~1");
    let said = world.ok("prune");
    assert!(said.contains("are condemned and not free yet: a prune after "), "{said}");
    assert!(said.contains("frees them, `--now` at once"), "{said}");
    let did = world.json("prune --json");
    assert!(did["pending"][0]["not_before"].is_string());
    // It is said without doing anything, too.
    let before = world.files("repo");
    assert_eq!(world.json("prune -n --json")["pending"], did["pending"]);
    let would = world.json("prune -n --now --json");
    let freed = &would["earlier_bytes"];
    assert!(freed.as_u64() > Some(3 << 20) && *freed == would["deleted_bytes"], "{would}");
    assert_eq!((&would["pending"], &would["delete_bytes"]), (&serde_json::json!([]), &0.into()), "{would}");
    let said = world.ok("prune -n --now");
    assert!(said.contains("would be free again") && said.contains("from earlier:"), "{said}");
    assert!(said.contains(" blobs, ") && !said.contains("/ 0 B\nremaining:"), "{said}");
    assert!(world.ok("prune -n").contains("would be condemned and not free yet: a prune after "));
    assert_eq!(world.files("repo"), before);
    assert!(world.ok("prune --now").contains(" are free again"));
}

/// Where nothing waits that takes space, nobody has to know of it.
#[test]
fn nothing_is_pending_where_nothing_will_be_freed() {
    let world = two();
    world.ok("policy window 0d");
    world.ok("backup src -q --force");
    world.ok("forget latest");
    let did = world.json("prune --json");
    assert_eq!((&did["pending"], &did["delete_bytes"]), (&serde_json::json!([]), &0.into()), "{did}");
    // There is something all the same: the snapshot itself.
    let snapshots = world.files("repo/snapshots").len();
    assert_eq!(world.json("prune --now --json")["deleted_bytes"], 0);
    assert!(world.files("repo/snapshots").len() < snapshots);
}

#[test]
fn a_suspected_pack_is_looked_at_and_stops_nobody() {
    let world = two();
    let (victim, _) = world.files("repo/packs").into_iter().max_by_key(|(_, len)| *len).expect("packs");
    let mut bytes = std::fs::read(&victim).expect("ours");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let _ = std::fs::remove_file(&victim);
    std::fs::write(&victim, bytes).expect("ours");
    assert_ne!(world.run("check --read-data").code, 0);
    world.ok("forget latest~1");
    let ran: Ran = world.run("prune --now");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let name = victim.file_name().expect("a name").to_string_lossy()[..8].to_owned();
    assert!(format!("{}{}", ran.out, ran.err).contains(&name), "{name}: {}{}", ran.out, ran.err);
    world.ok("restore latest --target @/out");
}

#[test]
fn what_cannot_be_read_stops_deleting_and_is_named() {
    let world = two();
    for (segment, _) in world.files("repo/index") {
        std::fs::remove_file(segment).expect("ours");
    }
    let before = packs(&world);
    world.ok("forget latest~1");
    let err = world.fails("prune --now", 1);
    assert!(err.contains("not whole, so nothing is deleted") && err.contains("orlop check"), "{err}");
    assert_eq!(packs(&world), before);
}

/// What `stats` says that a set of snapshots alone needs is what pruning frees without them.
#[test]
fn stats_say_what_pruning_frees() {
    let world = World::with_repository();
    let kept = noise(2 << 20, 9);
    for n in 0..4u64 {
        // Half of each is in its successor, too.
        world.write("src/big", [noise(1 << 20, n), noise(1 << 20, n + 1), kept.clone()].concat());
        world.ok(&format!("backup src -q --time 2024-01-0{}T12:00:00Z", n + 1));
    }
    let ids: Vec<String> = world.snapshots().iter().map(|s| s["short_id"].as_str().expect("text").to_owned()).collect();
    let unique = |line: &str| {
        let all = world.json(&format!("stats --json {line}"));
        all.as_array().expect("a list").iter().map(|u| u["unique_size"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    let set = format!("--by set {} {}", ids[0], ids[1]);
    let (together, each) = (unique(&set)[0], unique(&format!("--by snapshot {} {}", ids[0], ids[1])));
    // What only the two share is nobody's alone.
    assert!(together > each.iter().sum::<u64>() + 500_000, "{together} {each:?}");
    let before = packs(&world);
    world.ok(&format!("forget {} {}", ids[0], ids[1]));
    world.ok("prune --now --max-unused 0");
    let freed = before - packs(&world);
    // Around frames there are tables of packs, and padding.
    assert!(freed.abs_diff(together) < together / 100 + 16 * 1024, "{freed} were freed, and {together} were said");
}

/// A machine that remembers how long chains were does not take for cut what was forgotten and cleared away.
#[test]
fn the_newest_may_go_and_nobody_is_accused() {
    let world = two();
    world.ok("forget latest");
    world.ok("prune --now");
    assert_eq!(world.snapshots().len(), 1);
    world.ok("backup src -q");
    assert_eq!(world.snapshots().len(), 2);
    world.ok("check");
}

/// A record of the log that is lost stops whatever writes, and nothing that reads.
#[test]
fn a_lost_record_of_the_log_keeps_nobody_from_restoring() {
    for gone in [false, true] {
        let world = two();
        world.write("src/more", noise(300_000, 77));
        world.ok("backup src -q");
        world.ok("forget latest~1");
        world.ok("prune --now");
        world.ok("forget latest~1");
        world.ok("prune --now");
        let records = world.files("repo/gc");
        assert!(records.len() >= 4, "{}", records.len());
        // A finish in the middle, or the newest; each has confirmed what no session tells any more.
        let (victim, _) = if gone { &records[1] } else { &records[records.len() - 1] };
        std::fs::remove_file(victim).expect("ours");
        if !gone {
            std::fs::write(victim, b"rubbish").expect("ours");
        }
        for line in ["backup src -q", "prune --now"] {
            let ran: Ran = world.run(line);
            assert!(ran.code == 1 && ran.err.contains("gc"), "{line}: {} {}", ran.code, ran.err);
        }
        let ran = world.run("restore latest --target @/out");
        assert!(ran.code == 3 && ran.err.contains("gc/"), "{}{}", ran.out, ran.err);
        let out = world.files("out");
        assert!(out.iter().any(|(path, _)| path.ends_with("src/more")), "{gone}: {}{} {out:?}", ran.out, ran.err);
        assert_ne!(world.run("check").code, 0);
        let ran = world.run("snapshots --json");
        assert!(ran.code == 3 && ran.out.matches("short_id").count() == 1, "{}{}", ran.out, ran.err);
    }
}
