//! One backup into several repositories, as it is typed.

use std::process::Command;

use serde_json::Value;

use super::changed::settle;
use super::world::{PASSWORD, Ran, World};

const BOTH: &str = "-r @/repo -r @/there";

fn world() -> World {
    let world = World::with_repository();
    world.ok("init -r @/there --no-recovery-key -q");
    world
}

fn count(world: &World, repository: &str) -> usize {
    world.json(&format!("-r @/{repository} snapshots --json")).as_array().expect("a list").len()
}

fn same_as_source(world: &World, repository: &str) {
    world.ok(&format!("-r @/{repository} restore latest -q --target @/out-{repository}"));
    let out = world.path(&format!("out-{repository}/src"));
    let diff = Command::new("diff").arg("-r").args([world.path("src"), out.clone()]).status();
    assert!(diff.expect("diffutils").success(), "{repository}");
    std::fs::remove_dir_all(out).expect("ours");
    world.ok(&format!("-r @/{repository} check --read-data -q"));
}

/// All messages of a kind.
fn messages(ran: &Ran, kind: &str) -> Vec<Value> {
    let lines = ran.out.lines().chain(ran.err.lines());
    let all = lines.map(|l| serde_json::from_str::<Value>(l).expect("JSON"));
    all.filter(|m| m["message_type"] == kind).collect()
}

#[test]
fn all_some_and_none() {
    let world = world();
    settle();
    let out = world.ok(&format!("backup src {BOTH}"));
    let (at, there) = (out.find("repository ").expect("a heading"), out.rfind("repository ").expect("another"));
    assert!(out[at..].contains("/repo\n\nFiles:") && out[there..].contains("/there\n\nFiles:"), "{out}");
    assert_eq!((out.matches("Files:           3 new").count(), out.matches(" saved\n").count()), (2, 2), "{out}");
    for repository in ["repo", "there"] {
        same_as_source(&world, repository);
    }

    // One is not there: it is named, the other one is served.
    world.write("src/one.txt", "changed\n");
    settle();
    let told = world.fails("backup src -r @/nowhere -r @/there", 3);
    assert!(told.contains("/nowhere") && told.contains("a repository or a hook failed"), "{told}");
    assert_eq!((count(&world, "repo"), count(&world, "there")), (1, 2));
    // The next run makes up for it.
    let out = world.ok(&format!("backup src {BOTH}"));
    assert!(out.contains("0 new,     1 changed,     2 unmodified") && out.contains("3 unmodified"), "{out}");
    same_as_source(&world, "repo");

    let told = world.fails("backup src -r @/nowhere -r @/never", 1);
    assert!(told.contains("no snapshot was saved in any of the repositories"), "{told}");
    let told = world.fails("backup src -r @/never -r @/there -p @/src/one.txt", 1);
    assert!(told.contains("no snapshot was saved in any"), "{told}");
}

#[test]
fn programs_hear_of_each_repository() {
    let world = world();
    let ran = world.run(&format!("backup src {BOTH} --json"));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let summaries = messages(&ran, "summary");
    let names: Vec<&str> = summaries.iter().map(|s| s["repository"].as_str().expect("a name")).collect();
    assert!(names.len() == 2 && names[0].ends_with("/repo") && names[1].ends_with("/there"), "{names:?}");
    assert_ne!(summaries[0]["snapshot_id"], summaries[1]["snapshot_id"]);
    assert!(summaries.iter().all(|s| s["files_new"] == 3 && s["total_errors"].is_null()), "{summaries:?}");
    // For one nothing is new.
    assert!(messages(&world.run("backup src --json"), "summary")[0]["repository"].is_null());

    let ran = world.run("backup src -r @/nowhere -r @/there --json");
    assert_eq!(ran.code, 3);
    let summaries = messages(&ran, "summary");
    assert!(summaries.len() == 1 && summaries[0]["total_errors"].is_null(), "{summaries:?}");
    let errors = messages(&ran, "error");
    assert!(ran.err.contains("\"slug\":\"repository-failed\"") && errors.len() == 1, "{}", ran.err);
}

#[test]
fn what_several_repositories_cannot_have_in_common() {
    let world = world();
    let told = world.fails("backup src -r @/repo -r @/src/../repo", 1);
    assert!(told.contains("are the same repository"), "{told}");
    assert_eq!(count(&world, "repo"), 0, "nothing was begun");
    world.ok("backup src -q");
    let id = world.snapshots()[0]["id"].as_str().expect("an id").to_owned();
    let told = world.fails(&format!("backup src {BOTH} --parent {id}"), 1);
    assert!(told.contains("means a snapshot of one repository, and 2 were named"), "{told}");
    // The latest is each one's own, or none.
    let out = world.ok(&format!("backup src {BOTH} --parent latest"));
    assert!(out.contains("3 unmodified") && out.contains("3 new"), "{out}");
    let told = world.fails(&format!("snapshots {BOTH}"), 1);
    assert!(told.contains("2 repositories were named"), "{told}");
}

/// None of them is backed up, neither into itself nor into another.
#[test]
fn no_repository_is_backed_up() {
    let world = World::new();
    world.ok("init -r @/src/a --no-recovery-key -q");
    world.ok("init -r @/src/b --no-recovery-key -q");
    let out = world.ok("backup src -r @/src/a -r @/src/b");
    assert_eq!(out.matches("is the repository and is left out").count(), 2, "{out}");
    assert_eq!(out.matches("Files:           3 new").count(), 2, "{out}");
}

#[test]
fn what_is_missing_is_made() {
    let world = World::with_repository();
    let told = world.fails("backup src --init -n -r @/repo -r @/new", 3);
    assert!(told.contains("a dry run makes none") && !world.path("new").exists(), "{told}");
    world.ok("backup src --init -r @/repo -r @/new");
    assert_eq!((count(&world, "repo"), count(&world, "new")), (1, 1));
    let out = world.ok("backup src --skip-if-unchanged -r @/repo -r @/new");
    assert!(!out.contains("saved"), "{out}");
    world.ok("backup src -n -r @/repo -r @/new");
    assert_eq!((count(&world, "repo"), count(&world, "new")), (1, 1));
}

#[test]
fn a_stream_goes_to_all() {
    let world = world();
    world.ok(&format!("backup {BOTH} --stdin-from-command --stdin-filename numbers -- seq 100000"));
    let numbers = Command::new("seq").arg("100000").output().expect("coreutils").stdout;
    for repository in ["repo", "there"] {
        let out = world.ok(&format!("-r @/{repository} dump latest /numbers"));
        assert!(out.as_bytes() == numbers, "{repository}");
    }
    world.fails(&format!("backup {BOTH} --stdin-from-command -- false"), 1);
    assert_eq!((count(&world, "repo"), count(&world, "there")), (1, 1));
}

/// Hooks run once, around all; a profile names several places in a list.
#[test]
fn hooks_run_once_around_all() {
    let world = world();
    let here = world.path("");
    let here = here.to_str().expect("plain").trim_end_matches('/');
    world.write("note", format!("echo \"$ORLOP_HOOK $ORLOP_SNAPSHOT_ID at $ORLOP_REPOSITORY.\" >> {here}/told\n"));
    let file = format!(
        "[profiles.p]\nrepo = [\"{here}/repo\", \"{here}/there\"]\n[profiles.p.backup]\nsources = [\"{here}/src\"]\n\
         [profiles.p.hooks]\nbefore = [\"sh\", \"{here}/note\"]\nafter = [\"sh\", \"{here}/note\"]\n"
    );
    world.write("orlop.toml", file);
    let ran = world.run_with("-P p --config @/orlop.toml backup --json", &[("ORLOP_REPOSITORY", "")]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ids: Vec<String> =
        messages(&ran, "summary").iter().map(|s| s["snapshot_id"].as_str().expect("an id").to_owned()).collect();
    let told = std::fs::read_to_string(world.path("told")).expect("told");
    assert_eq!(told, format!("before  at .\nafter {} at .\n", ids.join(" ")));
}

/// Each repository is unlocked by itself.
#[test]
fn a_wrong_password_for_one_is_no_ones_else() {
    let world = world();
    world.write("other", "another password\n");
    world.ok("-p @/other init -r @/locked --no-recovery-key -q");
    let told = world.fails("backup src -r @/repo -r @/locked", 3);
    assert!(told.contains("/locked") && told.contains("no key slot") && !told.contains(PASSWORD), "{told}");
    assert_eq!(count(&world, "repo"), 1);
}
