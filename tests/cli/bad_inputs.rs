//! What goes wrong at the door: each says what happened, with its exit code.

use super::noise::noise;
use super::world::{PASSWORD, World};

#[test]
fn wrong_password() {
    let world = World::with_password();
    let ran = world.run_with("snapshots", &[("ORLOP_PASSWORD", "wrong")]);
    assert_eq!(ran.code, 12, "{}", ran.err);
    assert!(ran.err.contains("error[wrong-password]"), "{}", ran.err);
    let ran = world.run_with("snapshots --json", &[("ORLOP_PASSWORD", "wrong")]);
    let message: serde_json::Value = serde_json::from_str(ran.err.trim()).expect("JSON");
    assert_eq!((&message["message_type"], &message["code"]), (&"exit_error".into(), &12.into()));
}

#[test]
fn no_repository() {
    let world = World::new();
    for line in ["snapshots", "backup src", "-r @/src ls latest", "key list"] {
        assert!(world.fails(line, 10).contains("there is no repository in"), "{line}");
    }
    assert!(world.fails("-r s3:bucket snapshots", 1).contains("s3:HOST/BUCKET"));
    assert!(world.fails("-r opendal:s3://b?secret_access_key=x snapshots", 1).contains("OPENDAL_SERVICE_OPTION"));
    assert!(world.fails("-r rest:https://host/ snapshots", 1).contains("rest:"));
    assert!(world.fails("-o s3.regoin=x snapshots", 1).contains("s3.region"));
    assert!(world.fails("-o nonsense snapshots", 1).contains("NAME=VALUE"));
    assert!(world.fails("-o opendal.token=hunter2 snapshots", 1).contains("secret"));
}

#[test]
fn a_restic_repository_is_named() {
    let world = World::new();
    for dir in ["repo/keys", "repo/data", "repo/index", "repo/snapshots", "repo/locks"] {
        std::fs::create_dir_all(world.path(dir)).expect("ours");
    }
    world.write("repo/config", [7; 155]);
    world.write(&format!("repo/keys/{}", "ab".repeat(32)), "{}");
    for line in ["snapshots", "backup src"] {
        let err = world.fails(line, 1);
        assert!(err.contains("restic repository"), "{line}: {err}");
    }
    assert!(world.fails("init", 1).contains("error[exists]"));
}

#[test]
fn an_existing_repository_is_refused_before_a_password_is_wanted() {
    let world = World::with_repository();
    let ran = world.run_with("init", &[("ORLOP_PASSWORD", "")]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("error[exists]"), "{}", ran.err);
}

#[test]
fn failing_to_make_one_leaves_nothing() {
    let world = World::new();
    world.write("taken", "x");
    world.fails("-r @/new/deep init --recovery-file @/taken", 1);
    assert!(!world.path("new").exists());
    world.fails("-r @/new/deep init --recovery-file @/no/such/dir", 1);
    assert!(!world.path("new").exists(), "the recovery key could not be handed over");
}

#[test]
fn a_substituted_repository_is_noticed() {
    let world = World::with_repository();
    world.ok("backup src -q");
    let old = world.path("old");
    copy(&world.path("repo"), &old);
    world.ok("backup src -q");
    // Set back to what it was.
    std::fs::rename(world.path("repo"), world.path("newer")).expect("ours");
    std::fs::rename(&old, world.path("repo")).expect("ours");
    let err = world.fails("snapshots", 1);
    assert!(err.contains("error[substituted]") && err.contains("--accept-repository"), "{err}");
    world.fails("backup src", 1);
    world.ok("snapshots --accept-repository");
    world.ok("snapshots");
    // Another one.
    std::fs::remove_dir_all(world.path("repo")).expect("ours");
    copy(&world.path("newer"), &world.path("repo"));
    let other = World::with_repository();
    std::fs::remove_dir_all(world.path("repo")).expect("ours");
    copy(&other.path("repo"), &world.path("repo"));
    assert!(world.fails("snapshots", 1).contains("not the one that was there before"));
    // Whoever makes one knows that it is new.
    std::fs::remove_dir_all(world.path("repo")).expect("ours");
    world.ok("init -q");
    world.ok("snapshots");
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let done = std::process::Command::new("cp").arg("-a").args([from, to]).status().expect("coreutils");
    assert!(done.success());
}

#[test]
fn reading_writes_nothing() {
    let world = World::with_repository();
    world.ok("backup src -q");
    let before = world.files("repo");
    for line in ["snapshots", "ls latest", "dump latest /src/one.txt", "key list", "list blobs", "backup -n src"] {
        world.ok(line);
    }
    assert_eq!(world.files("repo"), before);
}

#[test]
fn secrets_do_not_reach_commands() {
    let world = World::with_password();
    let mut command = world.command("backup --stdin-from-command --stdin-filename env -- env");
    let output = command.env("RESTIC_PASSWORD", PASSWORD).output().expect("the program starts");
    assert_eq!(super::world::Ran::of(output).code, 0);
    let env = world.ok("dump latest /env");
    assert!(env.contains("HOME=") && !env.contains("PASSWORD="), "{env}");
}

#[test]
fn second_homes_take_the_place_of_first_ones() {
    let world = World::with_repository();
    world.ok("backup src -q");
    world.write("src/newer", "newer");
    world.ok("backup src -q");
    for kind in ["snapshots", "clients"] {
        std::fs::remove_dir_all(world.path("repo").join(kind)).expect("ours");
    }
    std::fs::remove_dir_all(world.path("home/.local")).expect("nothing is remembered");
    assert_eq!(world.snapshots().len(), 2);
    world.ok("restore latest --target @/out");
    assert!(world.path("out/src/newer").exists(), "the newest is still the newest");
    assert!(world.fails("check", 1).contains("its second copy takes its place"));
    world.ok("backup src -q");
    assert_eq!(world.snapshots().len(), 3, "and nothing is written over");
}

#[test]
fn a_damaged_client_does_not_end_without_advice() {
    let world = World::with_repository();
    world.ok("backup src -q");
    let (client, _) = world.files("repo/clients").remove(0);
    let copy = world.files("repo/copy/clients").remove(0).0;
    for home in [&client, &copy] {
        std::fs::remove_file(home).expect("ours");
        std::fs::write(home, "").expect("ours");
    }
    let err = world.fails("restore latest --target @/out", 1);
    assert!(err.contains("named above: `orlop check`"), "{err}");
    let err = world.fails("backup src", 1);
    assert!(err.contains("delete this one file") && err.matches("while reading").count() == 1, "{err}");
    std::fs::remove_file(&client).expect("ours");
    std::fs::remove_file(&copy).expect("ours");
    world.ok("backup src -q");
    assert_eq!(world.snapshots().len(), 2);
}

#[test]
fn an_empty_host_is_any_host() {
    let world = World::with_repository();
    world.ok("backup src -q");
    assert!(world.ok("snapshots --host=").contains("1 snapshots"));
    assert!(world.ok("snapshots --host other").contains("0 snapshots"));
}

/// A pattern that matches nothing is no error, but it is said.
#[test]
fn patterns_that_match_nothing() {
    let world = World::with_repository();
    world.ok("backup src -q --exclude no-such-name");
    for (line, says) in [
        ("find no-such-name", "nothing was found"),
        ("find --history @/src/one.txt", "no snapshot has"),
        ("restore latest --target @/out --include no-such-name", "nothing in the snapshot matches"),
        ("rewrite --exclude no-such-name", "no snapshots were modified"),
    ] {
        let ran = world.run(line);
        assert_eq!(ran.code, 0, "{line}: {}", ran.err);
        assert!(ran.out.contains(says) != ran.err.contains(says), "{line}: {}{}", ran.out, ran.err);
    }
    assert_eq!(world.run("find no-such-name").out, "", "whoever counts lines counts none");
    assert!(!world.path("out").join("src").exists());
    assert_eq!(world.snapshots().len(), 1);
}

/// Lists that are a folder, that nobody may read, that are not there.
#[test]
fn lists_that_cannot_be_read() {
    let world = World::with_repository();
    world.ok("backup src -q");
    for list in ["src", "nowhere"] {
        for flags in [
            "backup --files-from",
            "backup --files-from-verbatim",
            "backup --files-from-raw",
            "backup src --exclude-file",
            "backup src --iexclude-file",
            "backup src --changed-files",
            "restore latest --target @/out --include-file",
            "restore latest --target @/out --exclude-file",
            "rewrite --exclude-file",
            "diff latest:/src ./src --exclude-file",
        ] {
            let err = world.fails(&format!("{flags} {list}"), 1);
            assert!(err.contains("error[invalid]") && err.contains(list), "{flags} {list}: {err}");
        }
    }
    assert!(!world.path("out").exists());
    assert_eq!(world.snapshots().len(), 1);
}

#[test]
fn a_full_target_of_a_dump_is_named() {
    let world = World::with_repository();
    world.write("src/large", vec![7; 1 << 20]);
    world.ok("backup src -q");
    for line in ["dump latest / -t /dev/full", "dump latest src/one.txt -t /dev/full"] {
        let err = world.fails(line, 1);
        assert!(err.contains("/dev/full") && err.contains("No space left"), "{line}: {err}");
    }
}

/// What was dumped before may be the only good copy; and a restore says what is the matter with the pack.
#[test]
fn a_dump_that_fails_replaces_nothing() {
    let world = World::with_repository();
    world.write("src/large", noise(3 << 20, 5));
    world.ok("backup src -q");
    world.write("old", "good");
    world.ok("dump latest src/one.txt -t @/old");
    assert_eq!(
        std::fs::read(world.path("old")).expect("it is there"),
        std::fs::read(world.path("src/one.txt")).unwrap()
    );
    for (pack, _) in world.files("repo/packs") {
        let file = std::fs::OpenOptions::new().write(true).open(&pack).expect("ours");
        let len = file.metadata().expect("ours").len();
        if len > 1 << 20 {
            file.set_len(len / 2).expect("ours");
        }
    }
    let before = std::fs::read(world.path("old")).expect("it is there");
    let names = || std::fs::read_dir(world.path("")).expect("ours").count();
    let count = names();
    let err = world.fails("dump latest src/large -t @/old", 1);
    assert!(err.contains("/old") && names() == count, "{err}");
    assert_eq!(std::fs::read(world.path("old")).expect("it is there"), before);
    let ran = world.run("restore latest --target @/out");
    let told = ran.out.matches("could not get packs/").count();
    assert!(ran.code == 3 && told == 1, "{}{}", ran.out, ran.err);
}

/// All is still in the packs: who prunes now loses it.
#[test]
fn nobody_is_advised_to_prune_what_only_an_index_lacks() {
    let world = World::with_repository();
    world.ok("backup src -q");
    std::fs::remove_dir_all(world.path("repo/index")).expect("ours");
    let ran = world.run("check --json");
    let summary: serde_json::Value = serde_json::from_str(ran.out.lines().last().expect("a line")).expect("JSON");
    assert_eq!((ran.code, &summary["suggest_prune"]), (1, &false.into()), "{}", ran.out);
    assert_eq!(summary["suggest_repair_index"], true);
    let err = world.fails("check", 1);
    assert!(err.contains("forget and prune nothing"), "{err}");
}
