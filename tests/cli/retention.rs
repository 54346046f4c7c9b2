//! What stays, what goes, and what is said about it: from outside.

use super::world::World;

/// A repository with a snapshot at noon of each of these days of January 2024.
fn january(days: &[u32]) -> World {
    let world = World::with_repository();
    for day in days {
        world.ok(&format!("backup src -q --time 2024-01-{day:02}T12:00:00Z"));
    }
    world
}

/// The days of the snapshots that stand.
fn days(world: &World) -> Vec<u32> {
    let day = |s: &serde_json::Value| s["time"].as_str().expect("a time")[8..10].parse().expect("a day");
    world.snapshots().iter().map(day).collect()
}

fn id_of(world: &World, day: u32) -> String {
    let wanted = format!("2024-01-{day:02}");
    let found = world.snapshots().into_iter().find(|s| s["time"].as_str().is_some_and(|t| t.starts_with(&wanted)));
    found.expect("it is there")["short_id"].as_str().expect("text").to_owned()
}

#[test]
fn forget_by_rules_and_every_reader_goes_by_it() {
    let world = january(&[1, 2, 3, 8, 9]);
    let gone = id_of(&world, 2);
    world.ok("forget --keep-last 1 --keep-weekly 2 --dry-run");
    assert_eq!(days(&world), [1, 2, 3, 8, 9], "a dry run changes nothing");
    let plan = world.json("forget --keep-last 1 --keep-weekly 2 --json");
    let group = &plan[0];
    assert_eq!((&group["host"], &group["tags"]), (&"host".into(), &serde_json::Value::Null));
    assert_eq!(group["keep"].as_array().map(Vec::len), Some(2));
    assert_eq!(group["remove"].as_array().map(Vec::len), Some(3));
    assert_eq!(group["reasons"][0]["matches"], serde_json::json!(["last snapshot", "weekly snapshot"]));
    assert_eq!(group["remove_reasons"][0]["matches"], serde_json::json!(["nothing keeps it"]));
    assert_eq!(days(&world), [3, 9]);
    assert!(world.fails(&format!("ls {gone}"), 1).contains("no snapshot's id begins with"));
    assert!(world.fails(&format!("restore {gone} --target @/out"), 1).contains("no snapshot's id begins with"));
    assert!(world.fails("dump latest~2 /src/one.txt", 1).contains("2 snapshots only"));
    assert_eq!(world.ok("list snapshots").lines().count(), 2);
    assert!(world.ok("check").contains("2 snapshots"));
    world.ok("forget latest");
    let out = world.ok("backup src");
    assert!(out.contains(&format!("using parent snapshot {}", id_of(&world, 3))), "not a forgotten one: {out}");
}

#[test]
fn nothing_is_removed_by_nothing() {
    let world = january(&[1, 2]);
    for line in ["forget", "forget --keep-last 0", "forget --keep-within 0h"] {
        let err = world.fails(line, 1);
        assert!(err.contains("no policy was specified, no snapshots will be removed"), "{line}: {err}");
    }
    for line in ["forget --keep-tag x", "forget --keep-tag x --unsafe-allow-remove-all --host host"] {
        assert!(world.fails(line, 1).contains("refusing to delete last snapshot"), "{line}");
    }
    assert!(world.fails("forget --unsafe-allow-remove-all", 1).contains("needs a filter"));
    assert!(world.fails("forget --keep-last 1 latest", 1).contains("together with rules"));
    assert_eq!(days(&world), [1, 2]);
    world.ok("forget --unsafe-allow-remove-all --host other");
    assert_eq!(days(&world), [1, 2]);
    world.ok("forget --unsafe-allow-remove-all --host host");
    assert!(days(&world).is_empty());
    assert_eq!(world.run("forget ffffffff").code, 3, "what is named and not there is told");
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let world = World::new();
    world.write("policy", r#"{"schedules": [{"interval": "1d", "count": 7}, {"interval": "1d", "count": 0}]}"#);
    world.write("empty", "{}");
    world.write("none", "[]");
    world.write("odd", r#"{"keep_dayly": 7}"#);
    for (line, says) in [
        ("forget --keep-last -2", "unlimited"),
        ("forget --keep-within 1w", "'w' is no unit"),
        ("forget --keep-within -1d", "not a span"),
        ("forget --schedule 1d", "1d=7"),
        ("forget --schedule 0d=1", "interval: "),
        ("forget --schedule 1x=1", "the unit"),
        ("forget --schedule 1d=0", "count: 0"),
        ("forget --schedule 99999999999d=1", "interval: "),
        ("forget --schedule 1d=99999999999", "count: "),
        ("forget --max-backups 0 --keep-last 1", "--max-backups"),
        ("forget --keep-id xyz", "--keep-id"),
        ("forget --zone Mars/Olympus --schedule 1d=1", "'Mars/Olympus' is no time zone"),
        ("forget --group-by color", "'color'"),
        ("forget --policy-file @/policy", "schedules[1].count: 0 would keep nothing"),
        ("forget --policy-file @/policy --keep-last 1", "together with flags"),
        ("forget --policy-file @/nothing", "cannot be read"),
        ("policy set", "nothing was said"),
        ("policy set --default --keep-last 1", "together with"),
        ("policy window 1m", "days and hours"),
        ("init --undelete-window 1y", "days and hours"),
        ("backup src --keep-for 3w", "'w' is no unit"),
        ("backup src --keep-for 0d", "--keep-for"),
        ("backup src --keep-for 0d", "that time is over at once"),
        ("policy set --policy-file @/empty", "nothing was said"),
        ("policy set --policy-file @/none", "nothing was said"),
        ("policy set --keep-last 1 --host=", "--host: no host has an empty name"),
        ("policy set --policy-file @/odd", "keep_dayly: no policy has such a field; there are keep_last, "),
        ("hold", "SNAPSHOT"),
        ("tag", "nothing to do"),
        ("tag --set a --add b", "--set"),
    ] {
        let err = world.fails(line, 1);
        assert!(err.contains(says), "{line}: {err}");
    }
}

/// A limit alone would empty a group, or do so every night once it is stored.
#[test]
fn limits_alone_are_refused_where_they_are_said() {
    let world = january(&[1, 2, 3]);
    world.write("limit", r#"{"keep_last": 0, "schedules": [], "max_backups": 2}"#);
    let refused = |line: &str, called: &str| {
        let err = world.fails(line, 1);
        assert!(err.contains(&format!("{called} limits how many")) && err.contains("--keep-last 5"), "{line}: {err}");
    };
    for line in [
        "forget --max-backups 2",
        "forget --manual-count 2",
        "forget --max-backups 2 --keep-last 0",
        "forget --max-backups 2 --unsafe-allow-remove-all --host host",
        "forget --policy-file @/limit",
        "policy simulate --max-backups 3",
        "policy simulate --policy-file @/limit",
    ] {
        refused(line, "what was asked for");
    }
    for line in ["policy set --max-backups 2", "policy set --manual-count 2", "policy set --policy-file @/limit"] {
        refused(line, "the policy for all");
    }
    refused("policy set --host host --max-backups 2", "the policy for host host");
    assert!(world.ok("policy show").contains("no policies are stored"));
    // Where one for more says what to keep, it is enough, and as long as it is needed that one stays.
    world.ok("policy set --keep-daily 7");
    refused("policy set --host host --max-backups 2 --no-inherit", "the policy for host host");
    world.ok("policy set --host host --max-backups 2");
    refused("policy set --remove", "the policy for host host");
    refused("policy set --max-backups 4", "the policy for all");
    world.ok("forget");
    assert_eq!(days(&world), [2, 3]);
    world.ok("forget --max-backups 1 --keep-last 2");
    assert_eq!(days(&world), [3]);
}

#[test]
fn what_was_forgotten_comes_back() {
    let world = january(&[1, 2, 3]);
    let id = id_of(&world, 1);
    world.ok("forget --keep-last 1");
    let listed = world.ok("undelete");
    assert!(listed.contains(&id) && listed.contains("until "), "{listed}");
    assert!(world.ok(&format!("undelete {id}")).contains("brought back 1 snapshot"));
    assert_eq!(days(&world), [1, 3]);
    world.ok(&format!("restore {id} --target @/out"));
    assert_eq!(world.run("undelete ffffffffffff").code, 3);
    let there = world.ok(&format!("undelete {id}"));
    assert!(there.contains(&format!("snapshot {id} is there and not forgotten")), "{there}");
    assert!(there.contains("no snapshots were brought back"), "{there}");
    assert_eq!(world.json(&format!("undelete {id} --json"))["changed_snapshots"], 0);
    // It can go and come back again.
    world.ok(&format!("forget {id}"));
    assert_eq!(days(&world), [3]);
    world.ok(&format!("undelete {id}"));
    assert_eq!(days(&world), [1, 3]);
    // Two decisions about one snapshot are taken back together.
    world.ok("check");
}

/// A list of what can be brought back says until when, and does not promise what is over or gone.
#[test]
fn what_is_over_is_not_promised() {
    let world = january(&[1, 2, 3]);
    let (first, second) = (id_of(&world, 1), id_of(&world, 2));
    world.ok(&format!("forget {first}"));
    world.ok("policy window 0d");
    world.ok(&format!("forget {second}"));
    let listed = world.ok("undelete");
    let of = |id: &str| listed.lines().find(|l| l.starts_with(id)).expect("it is listed").to_owned();
    assert!(of(&first).contains(" until ") && !of(&first).contains("over"), "{listed}");
    assert!(of(&second).contains("over: only until the next prune"), "{listed}");
    let told = world.json("undelete --json");
    for reasoned in told[0]["remove_reasons"].as_array().expect("a list") {
        let until = reasoned["until"].as_str().expect("a time");
        until.parse::<jiff::Timestamp>().expect("RFC 3339");
        let in_words = reasoned["matches"][0].as_str().expect("text");
        let over = reasoned["snapshot"]["short_id"] == *second;
        assert!(over || in_words.contains(&until[..10]), "{told}");
    }
    // A prune acts upon what is over, though the record of it may stay for some time.
    world.ok("prune");
    let listed = world.ok("undelete");
    assert!(listed.contains(&first) && !listed.contains(&second), "{listed}");
    world.ok(&format!("undelete {first}"));
}

#[test]
fn the_window_is_the_owners() {
    let world = World::new();
    world.ok("init --no-recovery-key -q --undelete-window 0d");
    world.ok("backup src -q");
    assert!(world.ok("policy window").contains("cannot be brought back"));
    assert!(world.ok("forget latest").ends_with("removed 1 snapshot\n"));
    world.ok("policy window 36h");
    assert_eq!(world.json("policy window --json")["undelete_window"], 36 * 3600);
    world.ok("backup src -q");
    assert!(world.ok("forget latest").contains("undelete"));
    world.ok("check");
}

#[test]
fn tags_change_and_the_newest_wins() {
    let world = january(&[1, 2]);
    let tags = |world: &World| world.snapshots().iter().map(|s| s["tags"].clone()).collect::<Vec<_>>();
    world.ok("tag --add b,a");
    world.ok("tag --remove a latest");
    assert_eq!(tags(&world), [serde_json::json!(["a", "b"]), serde_json::json!(["b"])]);
    assert!(world.ok("tag --add b").contains("no snapshots were modified"));
    world.ok("tag --set c --tag a");
    assert_eq!(tags(&world), [serde_json::json!(["c"]), serde_json::json!(["b"])]);
    let ids: Vec<String> = world.ok("list snapshots").lines().map(str::to_owned).collect();
    let changed = world.run("tag --set x --json");
    assert_eq!(changed.out.lines().count(), 3);
    assert!(changed.out.contains(&format!(r#""new_snapshot_id":"{}""#, ids[0])), "ids stay: {}", changed.out);
    world.ok("forget --keep-tag y --keep-last 1 --tag x");
    assert_eq!(days(&world), [2]);
}

#[test]
fn holds_beat_every_policy() {
    let world = january(&[1, 2, 3]);
    let id = id_of(&world, 1);
    assert!(world.ok(&format!("hold {id} --reason audit --for 1y")).contains("held 1 snapshot"));
    assert_eq!(world.snapshots()[0]["holds"][0]["reason"], "audit");
    assert!(world.fails(&format!("forget {id}"), 1).contains("is held (audit)"));
    world.ok("forget --keep-last 1");
    assert_eq!(days(&world), [1, 3]);
    assert!(world.fails("hold latest --until 2001-01-01T00:00:00Z", 1).contains("--until: that time is over"));
    assert!(world.fails("hold latest --for 0d", 1).contains("--for: that time is over"));
    assert!(world.fails("hold nosuch", 3).contains("no snapshot's id begins with 'nosuch'"));
    assert!(world.fails("hold abcdef", 3).contains("no snapshot's id begins with abcdef"));
    let nothing = world.ok("release latest");
    assert!(nothing.contains("there was nothing to release") && nothing.contains("no snapshots were released"));
    assert_eq!(world.json("release latest --json")["changed_snapshots"], 0);
    world.ok(&format!("release {id}"));
    assert!(world.snapshots()[0].get("holds").is_none());
    world.ok("forget --keep-last 1");
    assert_eq!(days(&world), [3]);
}

#[test]
fn expiries_come_whatever_the_policy_says() {
    let world = january(&[1]);
    world.ok("backup src -q --time 2024-01-02T12:00:00Z --keep-for 1d");
    world.ok("backup src -q --time 2024-01-03T12:00:00Z --keep-for 100y");
    world.ok("backup src -q --time 2024-01-04T12:00:00Z");
    world.ok("forget --keep-last 1");
    assert_eq!(days(&world), [3, 4], "the second was over, the third is not, the first was not kept");
    world.ok("backup src -q --time 2024-01-05T12:00:00Z --keep-for 1d");
    world.ok("hold latest");
    world.ok("backup src -q --time 2024-01-06T12:00:00Z --keep-for 1d");
    world.ok("forget");
    assert_eq!(days(&world), [3, 4, 5], "without a policy only what was to go goes");
}

#[test]
fn stored_policies_for_all_and_for_some() {
    let world = january(&[1, 2, 3]);
    world.ok("backup src -q --time 2024-01-04T12:00:00Z --label db");
    world.ok("backup src -q --time 2024-01-05T12:00:00Z --label db");
    world.ok("policy set --keep-last 2");
    world.ok("policy set --label db --keep-last 1 --no-inherit");
    let shown = world.ok("policy show");
    assert!(shown.contains("all: keep 2 latest snapshots\n"), "{shown}");
    assert!(shown.contains("label [db]: keep 1 latest snapshots\n"), "{shown}");
    assert!(
        shown.contains("label db: keep 1 latest snapshots; nothing is taken over from policies for more\n"),
        "{shown}"
    );
    assert_eq!(world.json("policy show --json")["policies"].as_array().map(Vec::len), Some(2));
    assert!(world.fails("policy set --host= --remove", 1).contains("no policy is stored for host"));
    let none = world.fails("policy set --host nobody --remove", 1);
    assert!(
        none.contains("no policy is stored for host nobody") && none.contains("policies are stored for: all; label db"),
        "{none}"
    );
    world.ok("forget");
    assert_eq!(days(&world), [2, 3, 5]);
    world.ok("policy set --label db --remove");
    world.ok("policy set --default");
    assert!(world.ok("policy show").contains("all: keep schedule 1d x 2 (days begin in UTC)\n"));
    world.ok("backup src -q --time 2024-01-03T13:00:00Z");
    world.ok("forget");
    assert_eq!(days(&world), [2, 3, 5], "the newest of each day");
    assert!(world.fails("forget -g host", 1).contains("--group-by goes with rules"));
}

#[test]
fn a_stored_policy_does_not_remove_most_there_is() {
    let world = january(&[1, 2, 3, 4, 5]);
    world.ok("policy set --keep-last 2");
    let err = world.fails("forget", 1);
    assert!(err.contains("3 of the 5 snapshots") && err.contains("more than half"), "{err}");
    assert_eq!(days(&world).len(), 5);
    world.ok("forget --allow-mass-removal --dry-run");
    world.ok("forget --keep-last 3");
    assert_eq!(days(&world), [3, 4, 5], "what is typed is carried out");
    world.ok("forget");
    assert_eq!(days(&world), [4, 5]);
}

/// Of two clients all that they have is over; the third goes on.
#[test]
fn a_stored_policy_leaves_alone_whose_last_would_go() {
    let world = january(&[1, 2, 3]);
    for (host, day) in [("b", 4), ("b", 5), ("c", 6)] {
        world.ok(&format!(
            "backup src -q --host {host} --client {host} --time 2024-01-{day:02}T12:00:00Z --keep-for 1d"
        ));
    }
    world.ok("policy set --keep-last 2");
    let spared = |ran: &super::world::Ran| {
        assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
        for (host, many) in [("b", "its 2 snapshots stay"), ("c", "its 1 snapshot stay")] {
            let line = ran.err.lines().find(|l| l.contains(&format!("--host {host}`"))).expect("it is named");
            assert!(line.contains(many), "{line}");
        }
        assert!(!ran.err.contains("--host host`"), "{}", ran.err);
    };
    let plan = world.run("forget --dry-run");
    spared(&plan);
    assert_eq!(plan.out.matches("all of its client would go").count(), 3, "{}", plan.out);
    assert!(plan.out.contains("would have removed 1 snapshot"), "{}", plan.out);
    assert_eq!(days(&world).len(), 6);
    spared(&world.run("forget"));
    assert_eq!(days(&world), [2, 3, 4, 5, 6], "the others' was carried out");
    // One that is not over, and the client has something left.
    world.ok("backup src -q --host c --client c --time 2024-01-07T12:00:00Z");
    assert!(!world.fails("forget", 3).contains("--host c`"));
    assert_eq!(days(&world), [2, 3, 4, 5, 7]);
    // Who types rules, or says so, means it.
    world.ok("forget --host b --keep-last 1");
    assert_eq!(days(&world), [2, 3, 7]);
    world.ok("backup src -q --host b --client b --time 2024-01-08T12:00:00Z --keep-for 1d");
    world.ok("forget --allow-mass-removal");
    assert_eq!(days(&world), [2, 3, 7]);
}

/// Nothing can be written there, and a dry run wants nothing written.
#[test]
fn a_dry_run_writes_nothing() {
    let world = january(&[1, 2, 3]);
    world.ok("hold latest --reason audit");
    let _ = std::fs::remove_dir_all(world.path("repo/.tmp"));
    world.write("repo/.tmp", "in the way of all that is written");
    let plan = world.ok("forget --keep-last 1 --dry-run");
    assert!(plan.contains("would have removed 2 snapshots"), "{plan}");
    for (line, doing) in [("hold latest~1", "while holding snapshot"), ("release latest", "while releasing snapshot")] {
        let err = world.fails(line, 1);
        assert!(
            err.contains("could not put notes/") && err.contains(doing) && err.contains("caused by"),
            "{line}: {err}"
        );
    }
    assert!(world.ok("release latest~1").contains("no snapshots were released"));
}

#[test]
fn machines_of_one_name_keep_their_own() {
    let world = january(&[1, 2]);
    world.ok("backup src -q --client other --time 2024-01-03T12:00:00Z");
    world.ok("backup src -q --client other --time 2024-01-04T12:00:00Z");
    let out = world.ok("forget --keep-last 1 --dry-run");
    assert!(out.contains("2 machines or clients have the host name host"), "{out}");
    world.ok("forget --keep-last 1");
    assert_eq!(days(&world), [2, 4]);
    world.ok("forget --keep-last 1 -g hostname,paths");
    assert_eq!(days(&world), [4]);
}

#[test]
fn a_client_key_says_little() {
    let world = january(&[1]);
    world.ok("key add --role client --client web --new-key-file @/web.key");
    let as_web = |line: &str| world.run_with(&format!("{line} --key-file @/web.key"), &[("ORLOP_PASSWORD", "")]);
    assert_eq!(as_web("backup src -q --time 2024-01-05T12:00:00Z").code, 0);
    assert_eq!(as_web("backup src -q --time 2024-01-06T12:00:00Z").code, 0);
    let refused = as_web("forget latest");
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("may not forget snapshots"), "{}", refused.err);
    assert!(as_web("policy set --default").err.contains("may not set policies"));
    let tagged = as_web("tag --add mine");
    assert_eq!((tagged.code, tagged.out.contains("modified tags on 2 snapshots")), (3, true), "{}", tagged.err);
    assert_eq!(as_web("hold latest --reason mine").code, 0);
    world.ok("hold latest --reason owners");
    assert_eq!(as_web("release latest").code, 3, "the owner's hold stays");
    assert_eq!(world.snapshots()[2]["holds"].as_array().map(Vec::len), Some(1));
    world.ok("release latest");
}

/// Set the time that the storage has for every snapshot.
fn move_to(world: &World, year: u64) {
    for (path, _) in world.files("repo/snapshots") {
        let file = std::fs::File::options().append(true).open(path).expect("ours");
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs((year - 1970) * 365 * 86_400);
        file.set_modified(at).expect("ours");
    }
}

#[test]
fn forged_times_displace_nothing() {
    let world = World::with_repository();
    world.ok("key add --role client --client web --new-key-file @/web.key");
    let backup = |rest: &str| {
        let line = format!("backup src -q --key-file @/web.key {rest}");
        assert_eq!(world.run_with(&line, &[("ORLOP_PASSWORD", "")]).code, 0);
    };
    (0..10).for_each(|_| backup(""));
    backup("--time 2090-01-01T00:00:00Z");
    let plan = world.json("forget --keep-last 3 --json");
    assert_eq!(plan[0]["reasons"][0]["matches"], serde_json::json!(["its time is in doubt"]));
    assert_eq!((plan[0]["keep"].as_array().map(Vec::len), world.snapshots().len()), (Some(4), 4));
    // What was recorded then is what counts, wherever the files are copied to.
    move_to(&world, 2001);
    world.ok("forget --keep-last 2");
    assert_eq!(world.snapshots().len(), 3);
    world.ok("snapshots accept-time");
    world.ok("forget --keep-last 1");
    assert!(world.snapshots()[0]["time"].as_str().is_some_and(|t| t.starts_with("2090")), "the owner says it is right");
    world.ok("check");
}

#[test]
fn a_moved_repository_is_not_emptied() {
    let world = World::with_repository();
    world.ok("key add --role client --client web --new-key-file @/web.key");
    for _ in 0..3 {
        let ran = world.run_with("backup src -q --key-file @/web.key", &[("ORLOP_PASSWORD", "")]);
        assert_eq!(ran.code, 0);
    }
    world.ok("backup src -q --host owners");
    world.ok("backup src -q --host owners");
    move_to(&world, 2001);
    let err = world.fails("forget --keep-last 1", 1);
    assert!(err.contains("3 of the 3 snapshots") && err.contains("was this repository moved?"), "{err}");
    let moved = world.snapshots();
    let (ids, today): (Vec<&str>, _) =
        (moved[..3].iter().filter_map(|s| s["short_id"].as_str()).collect(), moved[0]["time"].as_str().expect("text"));
    for id in &ids {
        let line = err.lines().find(|l| l.contains(id)).expect("it is named");
        assert!(line.contains(&format!("claims {}", &today[..10])) && line.contains("and came 2000-12-"), "{err}");
    }
    let told: serde_json::Value =
        serde_json::from_str(world.fails("forget --keep-last 1 --json", 1).lines().last().expect("a line"))
            .expect("JSON");
    let causes = told["causes"].to_string();
    assert!(ids.iter().all(|id| causes.contains(id)), "{told}");
    let owners = moved[4]["short_id"].as_str().expect("text");
    let nothing = world.ok(&format!("snapshots accept-time {owners}"));
    assert!(nothing.contains(&format!("{owners}: the time that it claims is not in doubt")), "{nothing}");
    assert!(nothing.contains("accepted the times of 0 snapshots"), "{nothing}");
    assert_eq!(world.json(&format!("snapshots accept-time {owners} --json"))["changed_snapshots"], 0);
    let one = world.run(&format!("snapshots accept-time {} --json", ids[0])).out;
    let one: serde_json::Value = serde_json::from_str(one.lines().next().expect("a line")).expect("JSON");
    assert_eq!(
        (&one["message_type"], one["received"].as_str().map(|t| &t[..8])),
        (&"changed".into(), Some("2000-12-"))
    );
    assert!(one["claimed"].as_str().is_some_and(|t| t.starts_with(&today[..10])), "{one}");
    assert_eq!(world.snapshots().len(), 5);
    world.ok("forget --keep-last 1 --host owners");
    assert_eq!(world.snapshots().len(), 4, "the owner's own count by what they say");
    let accepted = world.ok("snapshots accept-time");
    assert!(accepted.contains("accepted the times of 2 snapshots"), "{accepted}");
    for id in &ids[1..] {
        let line = accepted.lines().find(|l| l.starts_with(id)).expect("it is listed");
        assert!(line.contains("claims ") && line.contains(" and came 2000-12-"), "{accepted}");
    }
    world.ok("forget --keep-last 1");
    assert_eq!(world.snapshots().len(), 2);
}

#[test]
fn other_programs_count_otherwise() {
    // Sunday the 7th, Saturday the 13th, Sunday the 14th, Monday the 15th.
    let world = january(&[6, 7, 13, 14, 15]);
    let line = "forget --keep-daily 1 --keep-weekly 1 --dry-run";
    let kept = |line: &str| world.json(&format!("{line} --json"))[0]["keep"].as_array().map(Vec::len);
    assert_eq!(kept(line), Some(1));
    assert_eq!(kept(&format!("{line} --retention-style borg")), Some(2), "the 15th does not count for its week");
    let out = world.ok(&format!("{line} --retention-style borg"));
    assert!(out.contains(&format!("counted as restic does, these would go: {}", id_of(&world, 14))), "{out}");
    assert_eq!(
        kept("forget --keep-daily 4 --dry-run --retention-style kopia"),
        Some(3),
        "four days back from the 15th"
    );
    assert!(world.fails("forget --keep-daily 1 --retention-style tar", 1).contains("none of restic, borg, kopia"));
    world.ok("policy set --keep-daily 1 --keep-weekly 1 --retention-style borg");
    world.ok("forget --allow-mass-removal");
    assert_eq!(days(&world), [14, 15]);
}

#[test]
fn policies_are_carried_out_in_thought() {
    let world = january(&[1, 2]);
    assert!(world.fails("policy simulate", 1).contains("no policy to simulate"));
    world.ok("policy set --schedule 1d=3 --schedule 1M=2");
    let futures = world.json("policy simulate --until 365d --json");
    assert_eq!((futures[0]["made"].as_u64(), days(&world).len()), (Some(365), 2));
    let left = futures[0]["left"].as_array().expect("a list").len();
    // On the first two days of a month, the last one of the month before is among the three.
    assert!((3..=5).contains(&left), "three days, two months: {left}");
    assert_eq!(left, futures[0]["left"].as_array().map_or(0, |l| l.iter().filter(|s| !s["matches"].is_null()).count()));
    let out = world.ok("policy simulate --until 60h --every 12h --keep-last 2");
    assert!(out.contains("2 left of 5 backups, never more than 3"), "{out}");
    assert!(out.contains("....|"), "a picture: {out}");
    assert!(world.fails("policy simulate --until 100y --every 1h", 1).contains("more than 100000 backups"));
    assert!(world.fails("policy simulate --every 0h", 1).contains("no backup would ever be made"));
}

#[test]
fn labels_and_descriptions_are_changed_later() {
    let world = january(&[1, 2]);
    let id = id_of(&world, 1);
    let told = world.ok(&format!("describe {id} --label release --description first"));
    assert!(told.contains("described 1 snapshot"), "{told}");
    let of = |key: &str| world.snapshots().into_iter().map(|s| s[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("label")[0], "release");
    assert_eq!(of("description")[0], "first");
    assert!(world.ok(&format!("describe {id} --label release")).contains("no snapshots were modified"));
    world.ok(&format!("describe {id} --label= --description second"));
    assert_eq!(of("description")[0], "second");
    assert!(of("label")[0].as_str().is_none_or(str::is_empty));
    assert!(world.fails(&format!("describe {id}"), 1).contains("--label"));
    assert_eq!(world.run("describe ffffffff --label x").code, 3);
}

#[test]
fn forget_and_prune_each_say_a_line_of_json() {
    let world = january(&[1, 2]);
    let out = world.ok("forget --keep-last 1 --prune --json");
    let lines: Vec<serde_json::Value> = out.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert_eq!(lines[0][0]["remove"].as_array().map(Vec::len), Some(1));
    assert_eq!(lines[1]["message_type"], "summary");
    assert!(lines[1]["remaining_blobs"].as_u64().is_some());
    // Nothing was removed, so nothing is pruned.
    assert_eq!(world.ok("forget --keep-last 1 --prune --json").lines().count(), 1);
}

/// A default for how long is a line in a file; it touches nothing that is there, and may be taken back.
#[test]
fn a_default_for_keep_for_is_about_later_snapshots() {
    let world = january(&[1]);
    let set = |span: &str| {
        std::fs::create_dir_all(world.path("home/.config/orlop")).expect("ours");
        world.write("home/.config/orlop/orlop.toml", format!("[profiles.default.backup]\nkeep-for = \"{span}\"\n"));
    };
    set("30d");
    world.ok("backup src -q --time 2024-01-02T12:00:00Z");
    set("60d");
    world.ok("backup src -q --time 2024-01-03T12:00:00Z");
    world.ok("backup src -q --time 2024-01-04T12:00:00Z --keep-for unlimited");
    world.ok("backup src -q --time 2024-01-05T12:00:00Z --keep-for 1d");
    let ends: Vec<String> =
        world.snapshots().iter().map(|s| s["expires"].as_str().unwrap_or("-").chars().take(10).collect()).collect();
    assert_eq!(ends, ["-", "2024-02-01", "2024-03-03", "-", "2024-01-06"]);
    assert!(world.fails("backup src --keep-for=", 1).contains("unlimited"));
}

/// The session of the newest snapshot is fenced before it ends, as a collector does with one of which nothing
/// was heard.
fn give_up_latest(world: &World) -> String {
    use orlop::repo;
    use orlop::storage::{LocalStorage, Storage};

    let storage: std::sync::Arc<dyn Storage> =
        std::sync::Arc::new(LocalStorage::open(&world.path("repo")).expect("there"));
    let mut repo = repo::open(storage, &world.key(), None).expect("it opens");
    let all = repo.snapshots(&|n, e| panic!("{n}: {e}")).expect("it is whole");
    let newest = all.iter().max_by_key(|s| s.statement.time).expect("there is one");
    let session = newest.commit.session;
    std::fs::remove_file(world.path(&format!("repo/sessions/{session}/close"))).expect("it was closed");
    let who = repo.identity(None).expect("a client");
    assert!(repo.fence(&who, session, 0).expect("it can be fenced"));
    newest.id.short()
}

#[test]
fn what_was_given_up_is_marked_and_not_held() {
    let world = january(&[1, 2]);
    let id = give_up_latest(&world);
    let listed = world.ok("snapshots");
    let line = listed.lines().find(|l| l.starts_with(&id)).expect("it is listed");
    assert!(line.trim_end().ends_with("given up"), "{listed}");
    assert_eq!(listed.matches("given up").count(), 1, "{listed}");
    let marks: Vec<bool> = world.snapshots().iter().map(|s| s["given_up"] == true).collect();
    assert_eq!(marks, [false, true]);
    assert!(world.snapshots()[0].get("given_up").is_none(), "it is left out where it is not so");
    let err = world.fails(&format!("hold {id} --reason audit"), 1);
    assert!(err.contains(&format!("snapshot {id} does not count")) && err.contains("next prune"), "{err}");
    assert!(world.snapshots()[1].get("holds").is_none());
    assert!(world.ok("check").contains(&format!("do not count: {id}\n")));
    let (notice, says) = (format!("snapshot {id} was given up"), "data that it needs may be gone");
    for line in [
        format!("ls {id}"),
        format!("dump {id} /src/one.txt"),
        format!("restore {id} --target @/out"),
        format!("find -s {id} one.txt"),
        format!("stats {id}"),
        format!("diff latest {id}"),
    ] {
        let ran = world.run(&line);
        let heard = ran.out + &ran.err;
        assert!(ran.code == 0 && heard.contains(&notice) && heard.contains(says), "{line}: {heard}");
    }
    assert!(!world.ok("ls latest").contains("given up"), "latest is one that counts");
}
