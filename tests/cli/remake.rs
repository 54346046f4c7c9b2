//! Snapshots made of others: what is in them, what stays, and what is refused.

use super::world::World;

fn world() -> World {
    let world = World::with_repository();
    world.ok("backup src -q --tag kept");
    world
}

fn ids(world: &World) -> Vec<String> {
    world.snapshots().iter().map(|s| s["short_id"].as_str().expect("text").to_owned()).collect()
}

fn listed(world: &World, what: &str) -> Vec<String> {
    let out = world.ok(&format!("ls --recursive {what}"));
    out.lines().filter(|l| l.starts_with('/')).map(str::to_owned).collect()
}

#[test]
fn what_is_left_out_is_gone_and_the_rest_is_the_same() {
    let world = world();
    let old = ids(&world).remove(0);
    let out = world.ok("rewrite --exclude /src/sub/deep --iexclude ONE.* -n -v");
    assert!(out.contains("excluding /src/sub/deep\n") && out.contains("would modify 1 snapshot"), "{out}");
    assert_eq!(ids(&world).len(), 1, "a dry run changes nothing");
    let packs = world.files("repo/packs").len();
    let out = world.ok("rewrite --exclude /src/sub/deep --iexclude ONE.*");
    assert!(out.contains(&format!("snapshot {old}: 2 entries left out, saved as new snapshot")), "{out}");
    assert_eq!(world.files("repo/packs").len(), packs + 1, "one pack of pages");
    assert_eq!(ids(&world).len(), 2, "the original stays");
    let new = ids(&world).into_iter().find(|id| *id != old).expect("a new one");
    assert_eq!(listed(&world, &new), ["/src", "/src/sub", "/src/sub/two.txt"]);
    assert_eq!(listed(&world, &old).len(), 6);
    world.ok(&format!("restore {new} -q --target @/new --verify"));
    world.ok(&format!("restore {old} -q --target @/old --exclude /src/sub/deep --iexclude ONE.*"));
    assert_eq!(world.files("new").len(), 1);
    let diff = std::process::Command::new("diff").arg("-r").args([world.path("new"), world.path("old")]).status();
    assert!(diff.expect("diffutils").success());
    world.ok("check --read-data");
    let all = world.snapshots();
    let said = all.iter().find(|s| s["short_id"] == new.as_str()).expect("it is there");
    assert_eq!(said["tags"], serde_json::json!(["kept", "rewrite"]));
    assert_eq!(said["time"], all.iter().find(|s| s["short_id"] == old.as_str()).expect("it is there")["time"]);
    assert_eq!(said["summary"]["total_files_processed"], 1);
    assert_eq!(said["summary"]["total_bytes_processed"], 9);
    let again = world.ok(&format!("rewrite --exclude /src/sub/deep {new}"));
    assert!(again.contains("nothing of it changes") && again.contains("no snapshots were modified"), "{again}");
    assert_eq!(ids(&world).len(), 2);
}

#[test]
fn includes_keep_only_what_they_match() {
    let world = world();
    world.ok("rewrite --forget -i *.o");
    assert_eq!(listed(&world, "latest"), ["/src", "/src/sub", "/src/sub/deep", "/src/sub/deep/three.o"]);
    assert_eq!(world.snapshots()[0]["tags"], serde_json::json!(["kept"]), "no tag in the place of the original");
}

#[test]
fn forget_puts_the_new_one_in_its_place() {
    let world = world();
    let old = ids(&world).remove(0);
    world.ok("hold latest --reason audit");
    assert!(world.fails("rewrite --forget --exclude *.o", 1).contains("is held"));
    world.ok("release latest");
    assert_eq!(ids(&world), std::slice::from_ref(&old), "nothing was made either");
    let out = world.ok("rewrite --forget --exclude *.o --json");
    let lines: Vec<serde_json::Value> = out.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!((&lines[0]["message_type"], &lines[0]["removed"]), (&"changed".into(), &true.into()));
    assert_eq!((&lines[0]["entries_left_out"], &lines[1]["changed_snapshots"]), (&1.into(), &1.into()));
    assert_eq!(ids(&world).len(), 1);
    assert_ne!(ids(&world)[0], old);
    world.ok(&format!("undelete {old}"));
    assert_eq!(ids(&world).len(), 2);
}

#[test]
fn host_and_time() {
    let world = world();
    world.ok("rewrite --forget --new-host other --new-time 2020-01-02T03:04:05Z");
    let said = world.snapshots().remove(0);
    assert_eq!((&said["hostname"], &said["time"]), (&"other".into(), &"2020-01-02T03:04:05Z".into()));
    assert_eq!(listed(&world, "latest").len(), 6);
    assert!(world.ok("rewrite --new-host other").contains("no snapshots were modified"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = world();
    for (line, code, says) in [
        ("rewrite", 1, "nothing to do"),
        ("rewrite -e a -i b", 1, "includes and excludes"),
        ("rewrite -e [", 1, "malformed"),
        ("rewrite --new-host h ffffffff", 3, "no snapshot's id begins"),
        ("rewrite --new-time never", 1, "'never' is not like"),
        ("rewrite --exclude-file @/nothing", 1, "nothing"),
        ("rewrite -e /src --path @/src --path /x", 0, ""),
        ("rewrite -e * latest", 1, "no file would be left"),
        ("rewrite -e /src", 1, "no file would be left"),
        ("rewrite -e * --forget", 1, "no file would be left"),
        ("merge", 1, "was not said"),
        ("merge latest", 1, "two snapshots or more"),
        ("merge latest latest", 1, "two snapshots or more"),
        ("merge latest ffffffff", 1, "nothing was merged"),
    ] {
        let ran = world.run(line);
        assert_eq!(ran.code, code, "{line}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(says), "{line}: {}", ran.err);
    }
    assert_eq!(ids(&world).len(), 1);
}

#[test]
fn a_merge_has_all_and_the_newest_of_each() {
    let world = world();
    std::fs::remove_file(world.path("src/one.txt")).expect("ours");
    world.write("src/sub/two.txt", "newer\n");
    world.write("src/four.txt", "four\n");
    world.ok("backup src -q --tag other");
    let before = world.ok("merge latest latest~1 --dry-run");
    assert!(before.contains("1 entry differed") && before.contains("dry run"), "{before}");
    assert_eq!(ids(&world).len(), 2);
    let told = world.json("merge --host host --json");
    assert_eq!((&told["conflicts"], &told["total_files_processed"]), (&1.into(), &4.into()));
    assert_eq!(ids(&world).len(), 3);
    assert_eq!(listed(&world, "latest").len(), 7);
    assert_eq!(world.ok("dump latest /src/sub/two.txt"), "newer\n");
    assert_eq!(world.ok("dump latest /src/one.txt"), "one\n");
    let said = world.snapshots().pop().expect("the newest");
    assert_eq!(said["tags"], serde_json::json!(["kept", "other"]));
    world.ok("restore latest -q --target @/out --verify");
    world.ok("check --read-data");
    world.ok("merge latest latest~1 latest~2 --delete -q --set-tags one");
    assert_eq!(ids(&world).len(), 1);
    assert_eq!(world.snapshots()[0]["tags"], serde_json::json!(["one"]));
    assert_eq!(listed(&world, "latest").len(), 7);
}
