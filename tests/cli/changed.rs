//! `--changed-files`: what a list names is looked at, the rest is the parent's.

use std::time::Duration;

use super::world::World;

/// Let what was written be older than what cannot be told from a later change.
pub fn settle() {
    std::thread::sleep(Duration::from_millis(60));
}

/// The tree of the newest snapshot, and the files and bytes it says it has.
fn newest(world: &World) -> (serde_json::Value, u64, u64) {
    let snapshot = world.snapshots().pop().expect("there is one");
    let number = |key: &str| snapshot["summary"][key].as_u64().expect("a number");
    (snapshot["tree"].clone(), number("total_files_processed"), number("total_bytes_processed"))
}

/// A backup by a list makes the snapshot that a whole one would have made.
fn as_a_whole_one(world: &World, list: &str) {
    settle();
    world.ok(&format!("backup src --changed-files {list}"));
    let by_list = newest(world);
    world.ok("backup src");
    assert_eq!(by_list, newest(world), "{list}");
}

/// Names of all lengths in large directories, one file with a name that is in no page of others.
fn large() -> World {
    let world = World::with_repository();
    std::fs::create_dir(world.path("src/many")).expect("ours");
    for i in 0..3000 {
        world.write(&format!("src/many/{i:04}{}", "x".repeat(i % 90)), format!("{i}"));
    }
    settle();
    world.ok("backup src");
    world
}

#[test]
fn a_list_makes_what_a_whole_run_makes() {
    let world = large();
    let nth = |i: usize| format!("src/many/{i:04}{}", "x".repeat(i % 90));
    // Changed, removed, new, in the middle and at both ends.
    for round in 0..6usize {
        let mut list = String::new();
        for k in 0..40 {
            let i = (k * 79 + round * 613) % 3000;
            match (k + round) % 3 {
                0 => world.write(&nth(i), format!("changed {round} {k}")),
                1 => drop(std::fs::remove_file(world.path(&nth(i)))),
                _ => world.write(&format!("{}new", nth(i)), "new"),
            }
            list += &format!("{0}\n{0}new\n", nth(i));
        }
        for end in [format!("src/many/!{round}"), format!("src/many/~{round}")] {
            world.write(&end, "end");
            list += &format!("{end}\n");
        }
        world.write("list", list);
        as_a_whole_one(&world, "list");
    }
    for i in 0..3000 {
        drop(std::fs::remove_file(world.path(&nth(i))));
    }
    world.write("list", "src/many\n");
    as_a_whole_one(&world, "list");
    world.ok("check --read-data");
}

#[test]
fn whatever_became_of_a_name() {
    let world = large();
    // A directory that went, a new one, a file that became a directory, and one the other way round.
    std::fs::remove_dir_all(world.path("src/sub/deep")).expect("ours");
    std::fs::create_dir_all(world.path("src/new/below")).expect("ours");
    world.write("src/new/below/file", "new\n");
    std::fs::remove_file(world.path("src/one.txt")).expect("ours");
    std::fs::create_dir(world.path("src/one.txt")).expect("ours");
    world.write("src/one.txt/inside", "inside\n");
    let file = world.path("src/new/below/file");
    let file = file.to_str().expect("plain");
    world.write("raw", format!("src/sub/deep/three.o\0src/sub/deep\0{file}\0src/one.txt/inside\0"));
    settle();
    world.ok("backup src --changed-files raw -0");
    let by_list = newest(&world);
    world.ok("backup src");
    assert_eq!(by_list, newest(&world));
    std::fs::remove_dir_all(world.path("src/one.txt")).expect("ours");
    world.write("src/one.txt", "one again\n");
    world.write("src/sub/two.txt", "not named\n");
    world.write("list", "src/one.txt\nsrc/never/was\n");
    settle();
    world.ok("backup src --changed-files list --exclude never");
    assert_eq!(world.ok("dump latest src/one.txt"), "one again\n");
    assert_eq!(world.ok("dump latest src/sub/two.txt"), "two, two\n", "nobody named it");
    world.write("list", "");
    world.ok("backup src --changed-files list --skip-if-unchanged");
}

#[test]
fn lists_that_make_no_sense() {
    let world = World::with_repository();
    world.write("list", "src/one.txt\n");
    let err = world.fails("backup src --changed-files list", 1);
    assert!(err.contains("no complete parent"), "{err}");
    world.ok("backup src");
    world.write("list", "src/one.txt\n\n/etc/passwd\n");
    let err = world.fails("backup src --changed-files list", 1);
    assert!(err.contains("line 3 of list") && err.contains("/etc/passwd"), "{err}");
    world.write("list", "src/../elsewhere\n");
    assert!(world.fails("backup src --changed-files list", 1).contains("line 1 of list"));
    world.write("raw", "src/one.txt\0srcs\0");
    assert!(world.fails("backup src --changed-files raw -0", 1).contains("name 2 of raw"));
    world.write("raw", "src/one.txt\0src/sub");
    assert!(world.fails("backup src --changed-files raw -0", 1).contains("NUL"));
    world.fails("backup src --changed-files nowhere", 1);
    world.fails("backup src --changed-files list --force", 1);
    world.fails("backup src -0", 1);
    assert_eq!(world.snapshots().len(), 1);
}
