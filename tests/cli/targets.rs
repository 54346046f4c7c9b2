//! Places to restore to: odd ones, forbidden ones, and some that somebody prepared.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::world::World;

#[test]
fn inside_the_source_and_the_root_are_allowed() {
    let world = World::with_repository();
    world.ok("backup src -q");
    let before = world.files("src");
    world.ok("restore latest --target @/src/sub/back");
    assert_eq!(fs::read(world.path("src/sub/back/src/sub/two.txt")).expect("restored"), b"two, two\n");
    fs::remove_dir_all(world.path("src/sub/back")).expect("ours");
    assert_eq!(world.files("src"), before);
    // Right over itself.
    world.ok("restore latest --target @ --delete --include /src");
    assert_eq!(world.files("src"), before);
    let there = Path::new("/src").exists();
    let said = world.ok("restore latest --target / --dry-run --json");
    let said: serde_json::Value = serde_json::from_str(said.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&said["dry_run"], &said["total_files"]), (&true.into(), &6.into()), "{said}");
    assert_eq!(Path::new("/src").exists(), there, "a dry run");
}

#[test]
fn inside_the_repository_or_the_cache_is_refused() {
    let world = World::with_repository();
    world.ok("backup src -q");
    symlink(world.path("repo"), world.path("link")).expect("ours");
    let before = world.files("repo");
    let cache = "--cache-dir @/cache";
    world.ok(&format!("snapshots {cache}"));
    for target in ["repo", "repo/new/deep", "repo/packs", "src/../repo/new", "link", "link/new", "cache/new"] {
        for flags in ["", "--dry-run", "--delete"] {
            let err = world.fails(&format!("restore latest --target @/{target} {cache} {flags}"), 1);
            assert!(err.contains("error[invalid]: the target ") && err.contains("is inside the repository"), "{err}");
            assert!(err.contains("hint: restore to another directory"), "{err}");
        }
    }
    assert_eq!(world.files("repo"), before);
    assert!(!world.path("repo/new").exists() && !world.path("cache/new").exists());
    world.ok("check");
}

/// What other systems cannot have as a name is a name here.
#[test]
fn names_that_mean_something_elsewhere_come_back_unchanged() {
    let world = World::with_repository();
    let names = [
        "CON",
        "con.txt",
        "nul",
        "LPT1.",
        "x",
        "x.",
        "X",
        "x ",
        " x",
        "...",
        "a:b",
        "C:",
        "x::$DATA",
        "a\\b",
        "..\\up",
        "\\\\server\\share",
        "\"<>|?*",
        "~1",
        "PROGRA~1",
        "caf\u{e9}",
        "cafe\u{301}",
        "\u{212b}",
        "\u{c5}",
    ];
    fs::create_dir_all(world.path("odd/dirs")).expect("ours");
    for name in names {
        world.write(&format!("odd/{name}"), name);
        fs::create_dir(world.path(&format!("odd/dirs/{name}"))).expect("ours");
    }
    world.ok("backup odd -q");
    // Twice: into a new place, and where it is already.
    for _ in 0..2 {
        world.ok("restore latest --target @/out --delete --verify");
        for name in names {
            let back = fs::read(world.path(&format!("out/odd/{name}")));
            assert_eq!(back.expect("restored"), name.as_bytes(), "{name}");
        }
        for place in ["out/odd", "out/odd/dirs"] {
            let count = fs::read_dir(world.path(place)).expect("restored").count();
            assert_eq!(count, names.len() + usize::from(place == "out/odd"), "{place}");
        }
    }
}

/// Links that lead to what is another's, in the place of each entry there is.
#[test]
fn links_that_were_put_there_are_replaced() {
    let world = World::with_repository();
    world.ok("backup src -q");
    fs::create_dir_all(world.path("victim/deep")).expect("ours");
    let mine = ["victim/one.txt", "victim/two.txt", "victim/deep/three.o"];
    mine.iter().for_each(|file| world.write(file, "mine"));
    for (place, to) in [
        ("src", "victim"),
        ("src/sub", "victim"),
        ("src/sub/deep", "victim/deep"),
        ("src/one.txt", "victim/one.txt"),
        ("src/sub/two.txt", "victim/two.txt"),
        ("src/sub/deep/three.o", "victim/deep/three.o"),
        ("src/sub/deep", "nowhere"),
    ] {
        let place = world.path("out").join(place);
        fs::create_dir_all(place.parent().expect("it has one")).expect("ours");
        symlink(world.path(to), &place).expect("ours");
        world.ok("restore latest --target @/out --delete --verify");
        assert!(!place.symlink_metadata().expect("restored").is_symlink(), "{place:?}");
        for file in mine {
            assert_eq!(fs::read(world.path(file)).expect("it stays"), b"mine", "{place:?}");
        }
        assert_eq!((world.files("victim").len(), world.files("out").len()), (3, 3), "{place:?}");
        assert!(!world.path("nowhere").exists());
        fs::remove_dir_all(world.path("out")).expect("ours");
    }
    // The target itself is the user's: where it leads is meant.
    fs::create_dir(world.path("elsewhere")).expect("ours");
    symlink(world.path("elsewhere"), world.path("out")).expect("ours");
    world.ok("restore latest --target @/out");
    assert!(world.path("elsewhere/src/one.txt").exists());
}

/// A file system that takes `A` and `a` for one, in a file of ours; unmounted in the end.
struct Caseless<'w>(&'w World);

impl<'w> Caseless<'w> {
    fn new(world: &'w World) -> Option<Self> {
        let make = "
            truncate -s 16M image && mkdir disk
            if mkfs.ext4 -q -O casefold image && mount -o loop image disk
            then mkdir disk/caseless && chattr +F disk/caseless
            else mkfs.ntfs -q -F image && lowntfs-3g -o ignore_case image disk && mkdir disk/caseless
            fi";
        let made = Command::new("sh").args(["-c", make]).current_dir(world.path("")).output();
        if made.is_ok_and(|out| out.status.success()) {
            return Some(Self(world));
        }
        eprintln!("skipped: there is no file system here that takes A and a for one, or only root may mount it");
        let _ = Command::new("umount").arg(world.path("disk")).output();
        None
    }
}

impl Drop for Caseless<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path("disk")).status();
    }
}

/// Of names that the target takes for one, one is restored, and the other is told and does it no harm.
#[test]
fn a_target_that_takes_two_names_for_one() {
    let world = World::with_repository();
    let Some(_disk) = Caseless::new(&world) else { return };
    let large = |seed: u32| (0..200_000u32).map(move |i| (i.wrapping_mul(seed) >> 13) as u8).collect::<Vec<u8>>();
    for (name, text) in [("File", b"upper".to_vec()), ("file", b"lower".to_vec())] {
        world.write(&format!("src/{name}"), text);
    }
    world.write("src/Large", large(2_654_435_761));
    world.write("src/large", large(2_246_822_519));
    symlink("upper", world.path("src/Link")).expect("ours");
    symlink("lower", world.path("src/link")).expect("ours");
    fs::write(world.path("src/Mixed"), "a file").expect("ours");
    fs::create_dir_all(world.path("src/mixed/below")).expect("ours");
    fs::create_dir(world.path("src/Tree")).and_then(|()| fs::create_dir(world.path("src/tree"))).expect("ours");
    world.write("src/Tree/same", "upper");
    world.write("src/tree/same", "lower");
    world.ok("backup src -q");
    let here = |name: &str| world.path("disk/caseless").join(name);
    // Into a new place, into one that is there and empty, and once more over what is there.
    fs::create_dir_all(here("second/src")).expect("ours");
    for target in ["first", "second", "second"] {
        let ran = world.run(&format!("restore latest --target @/disk/caseless/{target} --verify"));
        assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
        let told = ran.err.matches("the file system takes it for another entry of this directory").count();
        assert_eq!(told, 5, "{target}: {}", ran.err);
        for pair in [["File", "file"], ["Large", "large"], ["Link", "link"], ["Tree", "tree"], ["Mixed", "mixed"]] {
            let told = |name: &str| ran.err.contains(&format!("/src/{name}: the file system takes it"));
            let restored: Vec<&str> = pair.into_iter().filter(|name| !told(name)).collect();
            assert_eq!(restored.len(), 1, "{target}: one of {pair:?}: {}", ran.err);
            let (from, to) = (world.path("src").join(restored[0]), here(target).join("src").join(restored[0]));
            match pair[0] {
                "Link" => assert_eq!(fs::read_link(&from).expect("ours"), fs::read_link(&to).expect("restored")),
                "Tree" => {
                    assert_eq!(fs::read(from.join("same")).expect("ours"), fs::read(to.join("same")).expect("it"))
                }
                "Mixed" => assert_eq!(from.is_dir(), to.is_dir(), "{restored:?}"),
                _ => assert!(fs::read(from).expect("ours") == fs::read(to).expect("restored"), "{restored:?}"),
            }
        }
    }
}
