//! What was moved, or changed beside its content, is not read again; what may have changed is.

use std::fs::{File, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::world::World;

/// A world with a first backup of it; none where the file system does not tell births.
fn world() -> Option<World> {
    let world = World::with_repository();
    let born = world.path("src/one.txt").metadata().expect("ours").created();
    let nanos = born.ok().and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok())?.subsec_nanos();
    if nanos.is_multiple_of(10_000_000) {
        return None;
    }
    settle();
    world.ok("backup src");
    Some(world)
}

/// What changed just now is read once more, so let it grow old.
fn settle() {
    std::thread::sleep(Duration::from_millis(60));
}

/// New, changed and unmodified files.
fn counts(world: &World, line: &str) -> [u64; 3] {
    let out = world.ok(&format!("--json {line}"));
    let last: serde_json::Value = serde_json::from_str(out.lines().last().expect("a summary")).expect("JSON");
    ["files_new", "files_changed", "files_unmodified"].map(|key| last[key].as_u64().expect("a number"))
}

fn set_mtime(path: &Path, time: SystemTime) {
    File::options()
        .append(true)
        .open(path)
        .and_then(|f| f.set_times(FileTimes::new().set_modified(time)))
        .expect("ours");
}

fn rename(world: &World, from: &str, to: &str) {
    std::fs::rename(world.path(from), world.path(to)).expect("ours");
    settle();
}

#[test]
fn what_was_moved_is_not_read() {
    let Some(world) = world() else { return };
    rename(&world, "src/sub", "src/elsewhere");
    assert_eq!(counts(&world, "backup src"), [0, 0, 3]);
    assert_eq!(world.ok("dump latest src/elsewhere/deep/three.o").len(), 2);
    rename(&world, "src/one.txt", "src/elsewhere/uno.txt");
    assert_eq!(counts(&world, "backup src"), [0, 0, 3]);
    assert_eq!(world.ok("dump latest src/elsewhere/uno.txt"), "one\n");
    // In the place of another, as logs are rotated.
    rename(&world, "src/elsewhere/uno.txt", "src/elsewhere/two.txt");
    assert_eq!(counts(&world, "backup src"), [0, 0, 2]);
    assert_eq!(world.ok("dump latest src/elsewhere/two.txt"), "one\n");
    assert!(!world.ok("ls -q latest").contains("uno.txt"));
    rename(&world, "src/elsewhere", "src/again");
    assert_eq!(counts(&world, "backup src --ignore-inode"), [2, 0, 0], "inode numbers say nothing here");
    world.ok("check --read-data");
}

#[test]
fn another_mode_is_no_other_content_and_an_old_mtime_proves_none() {
    let Some(world) = world() else { return };
    let path = world.path("src/one.txt");
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("ours");
    settle();
    assert_eq!(counts(&world, "backup src"), [0, 0, 3]);
    assert!(world.ok("ls -l latest").lines().any(|l| l.starts_with("-rw-------") && l.ends_with("one.txt")));
    let before = path.metadata().expect("ours");
    world.write("src/one.txt", "eno\n");
    set_mtime(&path, before.modified().expect("known"));
    settle();
    let after = path.metadata().expect("ours");
    assert_eq!((before.ino(), before.len(), before.mtime_nsec()), (after.ino(), after.len(), after.mtime_nsec()));
    assert_eq!(counts(&world, "backup src"), [0, 1, 2]);
    assert_eq!(world.ok("dump latest src/one.txt"), "eno\n");
}

#[test]
fn a_new_file_in_an_old_inode_is_read() {
    let Some(world) = world() else { return };
    let path = world.path("src/one.txt");
    let before = path.metadata().expect("ours");
    std::fs::remove_file(&path).expect("ours");
    // Some file systems give the number away again at once, and this must not matter.
    world.write("src/uno.txt", "uno\n");
    set_mtime(&world.path("src/uno.txt"), before.modified().expect("known"));
    settle();
    assert_eq!(counts(&world, "backup src"), [1, 0, 2]);
    assert_eq!(world.ok("dump latest src/uno.txt"), "uno\n");
}

#[test]
fn a_sample_is_read_and_compared() {
    let Some(world) = world() else { return };
    assert_eq!(counts(&world, "backup src --verify-sample 100%"), [0, 0, 3]);
    let path = world.path("src/one.txt");
    let before = path.metadata().expect("ours");
    world.write("src/one.txt", "eno\n");
    set_mtime(&path, before.modified().expect("known"));
    settle();
    assert_eq!(counts(&world, "backup src --ignore-ctime --verify-sample 0.0000001%"), [0, 0, 3]);
    let ran = world.run("backup src --ignore-ctime --verify-sample 100%");
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("one.txt") && ran.err.contains("not what the parent snapshot has"), "{}", ran.err);
    assert_eq!(world.ok("dump latest src/one.txt"), "eno\n");
    for bad in ["5", "0%", "101%", "x%", "-1%", "nan%"] {
        world.fails(&format!("backup src --verify-sample={bad}"), 1);
    }
}
