//! Copies as they are typed.

use super::world::World;

/// Two snapshots, and a place for copies.
fn world(kind: &str) -> World {
    let world = World::with_password();
    world.ok("backup src -q --tag first");
    world.write("src/one.txt", "another one\n");
    world.ok("backup src -q --tag second");
    if !kind.is_empty() {
        world.ok(&format!("init -r @/there --no-recovery-key -q {kind}"));
    }
    world
}

const FROM: &str = "--from-repo @/repo";
const MIRROR: &str = "--mirror-of @/repo";
const OTHER: &str = "--copy-chunker-params --from-repo @/repo";

fn there(world: &World) -> Vec<serde_json::Value> {
    world.json("-r @/there snapshots --json").as_array().expect("a list").clone()
}

#[test]
fn what_is_copied_is_copied_once_and_restores_the_same() {
    for kind in [MIRROR, OTHER] {
        let world = world(kind);
        let dry = world.ok(&format!("copy -r @/there {FROM} -n"));
        assert!(dry.contains("would be copied") && dry.contains("would copy 2 snapshots"), "{dry}");
        assert!(there(&world).is_empty());
        let out = world.ok(&format!("copy -r @/there {FROM} --verify"));
        assert!(out.contains("saved, copied from source snapshot") && out.contains("copied 2 snapshots"), "{out}");
        let again = world.ok(&format!("copy -r @/there {FROM}"));
        assert!(again.contains("skipping source snapshot") && again.contains("no snapshots were copied"), "{again}");
        assert_eq!(there(&world).len(), 2);
        let (old, new) = (world.snapshots(), there(&world));
        for (old, new) in old.iter().zip(&new) {
            assert_eq!((&old["time"], &old["tags"], &old["paths"]), (&new["time"], &new["tags"], &new["paths"]));
            assert_eq!(old["id"] == new["id"], kind == MIRROR);
        }
        world.ok("-r @/there check --read-data");
        world.ok("-r @/there restore latest -q --target @/out");
        let mut diff = std::process::Command::new("diff");
        let diff = diff.arg("-r").args([world.path("src"), world.path("out/src")]).status();
        assert!(diff.expect("diffutils").success(), "{kind}");
    }
}

#[test]
fn a_part_is_chosen_as_everywhere() {
    let world = world(MIRROR);
    let out = world.json(&format!("copy -r @/there {FROM} --tag second --json"));
    assert_eq!((&out["copied_snapshots"], &out["hollow_statements"]), (&1.into(), &1.into()), "{out}");
    assert_eq!(there(&world).len(), 1);
    let out = world.ok("-r @/there check");
    assert!(!out.contains("gone"), "{out}");
    let out = world.json(&format!("copy -r @/there {FROM} latest~1 --json"));
    assert_eq!(out["copied_snapshots"], 1);
    assert_eq!(there(&world).len(), 2);
    // One that is not there is named, and the others are copied.
    let told = world.fails(&format!("copy -r @/there {FROM} latest deadbeef"), 3);
    assert!(told.contains("deadbeef"), "{told}");
}

#[test]
fn several_targets_each_for_itself() {
    let world = world(OTHER);
    world.ok("init -r @/second --no-recovery-key -q");
    let out = world.ok(&format!("copy -r @/there -r @/second {FROM}"));
    assert_eq!(out.matches("copied 2 snapshots").count(), 2, "{out}");
    let told = world.fails(&format!("copy -r @/nowhere -r @/second {FROM}"), 3);
    assert!(told.contains("nowhere"), "{told}");
    let told = world.fails(&format!("copy -r @/nowhere -r @/never {FROM}"), 10);
    assert!(told.contains("nothing could be copied"), "{told}");
    let told = world.fails("-r @/there -r @/second snapshots", 1);
    assert!(told.contains("2 repositories were named"), "{told}");
    let told = world.fails(&format!("copy -r @/second -r @/second {FROM}"), 1);
    assert!(told.contains("named twice"), "{told}");
}

#[test]
fn where_it_comes_from_has_a_password_of_its_own() {
    let world = world("");
    world.write("new", "another-password");
    world.ok("init -r @/there --no-recovery-key -q --password-file @/new");
    let copy = "copy -r @/there --password-file @/new";
    world.fails(&format!("{copy} {FROM} --from-password-file @/new"), 12);
    let env = [("ORLOP_PASSWORD", ""), ("RESTIC_FROM_PASSWORD", super::world::PASSWORD)];
    let ran = world.run_with(&format!("{copy} {FROM}"), &env);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let repo = world.path("repo");
    let env = [
        ("ORLOP_PASSWORD", ""),
        ("ORLOP_FROM_PASSWORD", super::world::PASSWORD),
        ("ORLOP_FROM_REPOSITORY", repo.to_str().expect("plain")),
    ];
    let ran = world.run_with(copy, &env);
    assert!(ran.code == 0 && ran.out.contains("skipping source snapshot"), "{}{}", ran.out, ran.err);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = world(MIRROR);
    let told = world.fails("copy -r @/there", 1);
    assert!(told.contains("--from-repo"), "{told}");
    let told = world.fails(&format!("copy {FROM}"), 1);
    assert!(told.contains("the repository that the snapshots are in"), "{told}");
    world.fails(&format!("copy -r @/nowhere {FROM}"), 10);
    world.fails("copy -r @/there --from-repo @/nowhere", 10);
    let told = world.fails(&format!("copy -r @/there {FROM} --connections 0"), 1);
    assert!(told.contains("connections"), "{told}");
}
