//! Disks that take nothing, or nothing more: what is on them can be read, and nothing is lost.

use std::process::Command;

use super::noise::noise;
use super::world::World;

/// What must not be needed for reading.
fn reads(world: &World, by: &str) {
    for line in ["snapshots", "ls latest", "restore latest --target @/out --delete", "check", "check --read-data"] {
        let ran = world.by(by, line);
        assert_eq!(ran.code, 0, "{by} {line}\n{}{}", ran.out, ran.err);
    }
    for (file, text) in [("src/one.txt", "one\n"), ("src/sub/two.txt", "two, two\n")] {
        assert_eq!(std::fs::read(world.path("out").join(file)).expect("restored"), text.as_bytes());
    }
}

#[test]
fn a_repository_that_may_not_be_written() {
    let world = World::with_repository();
    world.ok("backup src -q");
    let mounted = "unshare -rm sh -c 'mount --bind repo repo && mount -o remount,bind,ro repo && exec \"$0\" \"$@\"'";
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    for (by, why) in [(mounted, "Read-only file system"), (nobody, "Permission denied")] {
        let opened = "chmod -R a+rX . && chmod -R a-w repo && mkdir -m 777 out && chmod 777 home";
        let done = Command::new("sh").args(["-c", opened]).current_dir(world.path("")).status();
        assert!(done.expect("a shell").success());
        // Whoever is not root here reads as themselves.
        let by = if why.starts_with('P') && !rustix::process::geteuid().is_root() { "env" } else { by };
        if world.by(by, "version").code != 0 {
            eprintln!("skipped: {by} does not work here");
        } else {
            let before = world.files("repo");
            reads(&world, by);
            for line in ["backup src", "forget latest", "tag --add x latest", "prune"] {
                let ran = world.by(by, line);
                assert_eq!(ran.code, 1, "{by} {line}\n{}{}", ran.out, ran.err);
                assert!(ran.err.contains("error[storage]: could not ") && ran.err.contains(why), "{line}: {}", ran.err);
                let hint = "hint: check who may read and write there, and whether it is mounted read-only";
                assert!(ran.err.contains(hint), "{line}: {}", ran.err);
            }
            assert_eq!(world.files("repo"), before, "{by}: nothing was written");
        }
        let closed = "chmod -R u+w repo && rm -rf out home/.cache home/.local";
        let done = Command::new("sh").args(["-c", closed]).current_dir(world.path("")).status();
        assert!(done.expect("a shell").success());
    }
    world.ok("backup src -q");
}

/// A small file system of its own in a directory, unmounted in the end.
struct Mounted<'w>(&'w World);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path("disk")).status();
    }
}

/// Only root can have one.
fn mounted(world: &World) -> Option<Mounted<'_>> {
    std::fs::create_dir(world.path("disk")).expect("ours");
    let size = ["-t", "tmpfs", "-o", "size=3m,mode=700", "orlop-test"];
    let mount = Command::new("mount").args(size).arg(world.path("disk")).output();
    if mount.is_ok_and(|out| out.status.success()) {
        return Some(Mounted(world));
    }
    eprintln!("skipped: mounting a tmpfs takes root and is not allowed here");
    None
}

#[test]
fn a_repository_on_a_full_disk() {
    let world = World::new();
    let Some(_disk) = mounted(&world) else { return };
    let here = |line: &str| line.replacen(' ', " -r @/disk/repo ", 1);
    let ok = |line: &str| world.ok(&here(line));
    let first = noise(700_000, 1);
    world.write("src/first", &first);
    ok("init --no-recovery-key -q");
    ok("backup src -q");
    world.write("src/large", noise(6_000_000, 2));
    for _ in 0..2 {
        let err = world.fails(&here("backup src"), 1);
        assert!(err.contains("error[storage]: could not put a new object in "), "{err}");
        assert!(err.contains("No space left on device") && err.contains("hint: free some space there"), "{err}");
    }
    // Not a byte left, not even for a session.
    let mut filler = Vec::new();
    for (n, len) in [1 << 20, 1 << 16, 1 << 12, 1].into_iter().enumerate() {
        filler.push(world.path(&format!("disk/filler{n}")));
        let mut file = std::fs::File::create(&filler[n]).expect("ours");
        while std::io::Write::write_all(&mut file, &vec![1; len]).is_ok() {}
    }
    let err = world.fails(&here("backup src"), 1);
    assert!(err.contains("error[storage]") && err.contains("No space left on device"), "{err}");
    // What was there is there.
    assert!(ok("snapshots latest").contains("1 snapshots"));
    ok("check --read-data");
    ok("restore latest --target @/out");
    assert_eq!(std::fs::read(world.path("out/src/first")).expect("restored"), first);
    assert!(!world.path("out/src/large").exists());
    // With room again it goes on.
    filler.iter().for_each(|f| std::fs::remove_file(f).expect("ours"));
    world.write("src/large", noise(300_000, 3));
    ok("backup src -q");
    ok("check --read-data");
    ok("restore latest --target @/again");
    assert_eq!(std::fs::read(world.path("again/src/large")).expect("restored"), noise(300_000, 3));
}

#[test]
fn a_target_on_a_full_disk() {
    let world = World::with_repository();
    let Some(_disk) = mounted(&world) else { return };
    let large = noise(2_000_000, 4);
    world.write("src/large", &large);
    world.ok("backup src -q");
    world.write("disk/filler", noise(2_000_000, 5));
    let err = world.fails("restore latest --target @/disk/out", 1);
    assert!(err.contains("error[target]: the target's file system is full"), "{err}");
    assert!(err.contains("hint: what is there is kept; make room and run the same command again to go on"), "{err}");
    std::fs::remove_file(world.path("disk/filler")).expect("ours");
    world.ok("restore latest --target @/disk/out --verify");
    assert_eq!(std::fs::read(world.path("disk/out/src/large")).expect("restored"), large);
}
