//! Flags that change what is kept of a file, or given back, each played with the program.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::world::{Ran, World};

fn sh(line: &str, dir: &Path) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
    shell.status().expect("a shell").success()
}

/// The program where users and groups have other numbers. `None` where nobody may do that.
fn where_names_mean(world: &World, id: u32, line: &str) -> Option<Ran> {
    world.write("passwd", format!("root:x:0:0::/root:/bin/sh\nanna:x:{id}:{id}::/:/bin/sh\n"));
    world.write("group", format!("root:x:0:\nstaff-of-anna:x:{id}:\n"));
    let program = world.command(line);
    let mut command = Command::new("unshare");
    let mounts = "mount --bind passwd /etc/passwd && mount --bind group /etc/group || exit 77; exec \"$0\" \"$@\"";
    command.args(["--mount", "sh", "-c", mounts]).arg(program.get_program()).args(program.get_args());
    command.env_clear().envs(program.get_envs().filter_map(|(n, v)| Some((n, v?))));
    let output = command.current_dir(world.path("")).stdin(Stdio::null()).output().ok()?;
    let may = !matches!(output.status.code(), Some(1 | 77)) || output.stderr.starts_with(b"error[");
    may.then(|| Ran::of(output))
}

#[test]
fn owners_by_number_or_by_name() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root gives files away");
        return;
    }
    let world = World::with_repository();
    std::os::unix::fs::chown(world.path("src/one.txt"), Some(4242), Some(4242)).expect("root may");
    std::os::unix::fs::chown(world.path("src/sub/two.txt"), Some(5555), Some(5555)).expect("root may");
    let Some(ran) = where_names_mean(&world, 4242, "backup src") else {
        eprintln!("skipped: no mounts of our own here");
        return;
    };
    assert_eq!(ran.code, 0, "{}", ran.err);
    for (flag, owner) in [("", 4242), ("--ownership-by-name", 4343)] {
        let line = format!("restore latest --target @/out{} {flag}", flag.len());
        let ran = where_names_mean(&world, 4343, &line).expect("as before");
        assert_eq!(ran.code, 0, "{}", ran.err);
        let of = |name: &str| {
            let meta = std::fs::metadata(world.path(&format!("out{}/src/{name}", flag.len()))).expect("restored");
            (meta.uid(), meta.gid())
        };
        assert_eq!(of("one.txt"), (owner, owner), "{flag}");
        assert_eq!(of("sub/two.txt"), (5555, 5555), "{flag}: who has no name keeps the number");
        assert_eq!(of("sub/deep/three.o"), (0, 0), "{flag}");
    }
}

#[test]
fn extended_attributes_that_are_chosen() {
    let world = World::with_repository();
    if !sh("setfattr -n user.a.one -v 1 one.txt && setfattr -n user.b.two -v 2 one.txt", &world.path("src")) {
        eprintln!("skipped: no extended attributes here");
        return;
    }
    world.ok("backup src");
    for (n, (flags, there)) in [
        ("", [true, true]),
        ("--include-xattr user.a.*", [true, false]),
        ("--include-xattr user.a.* --include-xattr user.b.two", [true, true]),
        ("--exclude-xattr user.a.*", [false, true]),
        ("--exclude-xattr user.*", [false, false]),
    ]
    .into_iter()
    .enumerate()
    {
        world.ok(&format!("restore latest --target @/out{n} {flags}"));
        let file = world.path(&format!("out{n}/src/one.txt"));
        let has = |name: &str| rustix::fs::getxattr(&file, name, &mut [0; 8][..]).is_ok();
        assert_eq!([has("user.a.one"), has("user.b.two")], there, "{flags}");
    }
    let err = world.fails("restore latest --target @/x --include-xattr a --exclude-xattr b", 1);
    assert!(err.contains("cannot be used with"), "{err}");
}

#[test]
fn times_of_access() {
    let world = World::with_repository();
    let atime = || {
        let out = world.ok("ls latest --json");
        let nodes = out.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
        let file = nodes.into_iter().find(|n| n["path"] == "/src/one.txt").expect("it is listed");
        (file["atime"].as_str().expect("text")[..10].to_owned(), file["mtime"].as_str().expect("text")[..10].to_owned())
    };
    let touch = "touch -m -d 2001-02-03 one.txt && touch -a -d 2005-06-07 one.txt";
    assert!(sh(touch, &world.path("src")));
    world.ok("backup src");
    assert_eq!(atime(), ("2001-02-03".into(), "2001-02-03".into()), "as restic: without the flag it is the other one");
    assert!(sh(touch, &world.path("src")));
    world.ok("backup src --with-atime");
    assert_eq!(atime(), ("2005-06-07".into(), "2001-02-03".into()));
}

#[test]
fn directories_with_a_mark_are_left_out() {
    let world = World::with_repository();
    world.write("src/sub/.nobackup", "hello there");
    world.write("src/sub/deep/.nobackup", "something else");
    let names = |line: &str| {
        world.ok(line);
        world.ok("ls latest")
    };
    let listed = names("backup src --exclude-if-present .nobackup");
    assert!(listed.contains("/src/sub/.nobackup\n"), "the mark itself is kept: {listed}");
    assert!(!listed.contains("two.txt") && !listed.contains("deep"), "{listed}");
    let listed = names("backup src --exclude-if-present .nobackup:something");
    assert!(listed.contains("/src/sub/two.txt\n") && !listed.contains("three.o"), "{listed}");
    let listed = names("backup src --exclude-if-present .nobackup:nothing-of-it");
    assert!(listed.contains("two.txt") && listed.contains("three.o"), "{listed}");
}

/// A source is the same with a slash behind it, and by a way through another directory.
#[test]
fn absolute_patterns_mean_sources_however_they_are_named() {
    let world = World::with_repository();
    for source in ["src", "src/", "./src", "src/sub/..", "@/src/", "src/sub/../../src"] {
        let out = world.ok(&format!("backup {source} --exclude @/src/one.txt --json --dry-run"));
        let summary: serde_json::Value = serde_json::from_str(out.lines().last().expect("a line")).expect("JSON");
        assert_eq!(summary["total_files_processed"], 2, "{source}");
    }
}

#[test]
fn the_same_tree_under_another_name_has_not_changed() {
    let world = World::with_repository();
    std::thread::sleep(std::time::Duration::from_millis(40));
    world.ok("backup src --as-path /virt/x");
    let again = world.json("backup src --as-path /virt/x --json");
    assert_eq!((&again["dirs_changed"], &again["dirs_new"]), (&0.into(), &0.into()), "{again}");
    assert_eq!(again["files_unmodified"], 3, "{again}");
}
