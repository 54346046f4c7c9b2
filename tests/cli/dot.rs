//! Directories that are named for what is in them (`.`, `..`), and what holds above a source: other
//! file systems, rules beside the entries, git's rules from the top of the work tree down.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use orlop::event::Meter;
use orlop::ops::backup::{BackupOptions, Sources, scan};
use orlop::plan::filter::{Selection, Tag};

use super::changed::settle;
use super::world::{Ran, World};

/// A run in a directory below the place of the test.
fn run_in(world: &World, dir: &str, line: &str) -> Ran {
    Ran::of(world.command(line).current_dir(world.path(dir)).output().expect("the program starts"))
}

fn ok_in(world: &World, dir: &str, line: &str) -> String {
    let ran = run_in(world, dir, line);
    assert_eq!(ran.code, 0, "in {dir}: orlop {line}\n{}{}", ran.out, ran.err);
    ran.out
}

/// What the newest snapshot holds, from a path of it on.
fn held(world: &World, from: &str) -> Vec<String> {
    world.ok(&format!("ls -q latest{from}")).lines().map(str::to_owned).collect()
}

/// What is said of each file of `src` by those who explain it from within.
fn explained(world: &World, flags: &str) -> BTreeSet<String> {
    let src = world.path("src");
    let files = world.files("src").into_iter().map(|(path, _)| path);
    let kept = |path: &Path| {
        let name = path.strip_prefix(&src).expect("in it").display().to_string();
        let out = ok_in(world, "src", &format!("explain-exclude --json {flags} --source . {name}"));
        let said: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        (said[0]["kept"] == true).then(|| format!("/{name}"))
    };
    files.filter_map(|path| kept(&path)).collect()
}

/// `.`, `..` and `.` in a list hold what the directory holds that is named in full, and just `files`.
fn as_by_name(flags: &str, files: &[&str], prepare: impl Fn(&World)) {
    let world = World::with_repository();
    prepare(&world);
    world.write("list", ".\n");
    world.ok(&format!("backup -q {flags} @/src"));
    let whole = held(&world, &format!(":{}", world.path("src").display()));
    let expected: BTreeSet<String> = files.iter().map(|&name| name.to_owned()).collect();
    for (dir, named) in [("src", "."), ("src/sub", ".."), ("src", "--files-from @/list")] {
        ok_in(&world, dir, &format!("backup -q {flags} {named}"));
        let held = held(&world, "");
        assert_eq!(held, whole, "{flags} {named}");
        let there: BTreeSet<String> =
            held.into_iter().filter(|name| world.path(&format!("src{name}")).is_file()).collect();
        assert_eq!(there, expected, "{flags} {named}");
    }
    assert_eq!(explained(&world, flags), expected, "{flags}");
}

#[test]
fn sizes_count_for_what_is_in_it() {
    as_by_name("--exclude-larger-than 1k", &["/one.txt", "/sub/deep/three.o", "/sub/two.txt"], |world| {
        world.write("src/large", [b'x'; 5000]);
    });
}

#[test]
fn a_tag_file_in_it_counts() {
    as_by_name("--exclude-if-present .nobackup", &["/.nobackup"], |world| world.write("src/.nobackup", ""));
    as_by_name("--exclude-caches", &["/CACHEDIR.TAG"], |world| {
        world.write("src/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    });
}

#[test]
fn ignore_files_in_it_count() {
    as_by_name("--ignore-file .ig", &["/.ig", "/sub/two.txt"], |world| world.write("src/.ig", "/one.txt\n*.o\n"));
    as_by_name("--git-ignore", &["/.gitignore", "/.git/HEAD", "/sub/two.txt"], |world| {
        world.work_tree("src");
        world.write("src/.gitignore", "/one.txt\ndeep/\n");
    });
}

/// Who names a thing itself beside the directory it is in wants it, and once.
#[test]
fn named_beside_the_directory() {
    let world = World::with_repository();
    world.write("src/large", [b'x'; 5000]);
    for named in [". large", "large .", "./large ."] {
        ok_in(&world, "src", &format!("backup -q --exclude-larger-than 1k {named}"));
        assert_eq!(held(&world, ""), ["/large", "/one.txt", "/sub", "/sub/deep", "/sub/deep/three.o", "/sub/two.txt"]);
    }
}

#[test]
fn changed_files_in_it() {
    let world = World::with_repository();
    let flags = "--exclude-larger-than 1k .";
    world.write("src/goes", "goes\n");
    world.write("src/grows", "small\n");
    ok_in(&world, "src", &format!("backup -q {flags}"));
    std::fs::remove_file(world.path("src/goes")).expect("ours");
    for name in ["grows", "large"] {
        world.write(&format!("src/{name}"), [b'x'; 5000]);
    }
    world.write("src/new", "new\n");
    world.write("list", "goes\ngrows\nlarge\nnew\nnever-was\n");
    settle();
    ok_in(&world, "src", &format!("backup -q {flags} --changed-files @/list"));
    let by_list = world.snapshots().pop().expect("one");
    ok_in(&world, "src", &format!("backup -q {flags}"));
    assert_eq!(held(&world, ""), ["/new", "/one.txt", "/sub", "/sub/deep", "/sub/deep/three.o", "/sub/two.txt"]);
    assert_eq!(by_list["tree"], world.snapshots().pop().expect("one")["tree"]);
    world.write("list", "sub/../../elsewhere\n");
    let ran = run_in(&world, "src", &format!("backup -q {flags} --changed-files @/list"));
    assert!(ran.code == 1 && ran.err.contains("is not in what is backed up"), "{}", ran.err);
}

/// The scan counts what the walk will take: here one file, of all that is in this package.
#[test]
fn the_scan_obeys_what_is_in_it() {
    let mut sources = Sources::default();
    let list = |_: &Path| Ok(["Cargo.toml", "Cargo.lock", "README.md", "src"].map(Vec::from).to_vec());
    sources.add(Path::new("."), &list).expect("a directory");
    let tags = vec![Tag::parse(b"Cargo.toml").expect("a name")];
    let options = BackupOptions { selection: Selection { tags, ..Selection::default() }, ..BackupOptions::default() };
    let meter = Meter::default();
    scan(&sources, &options, &meter, &[]);
    assert_eq!(meter.files_expected.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// A run in `src`, on which two other file systems are mounted.
fn among_file_systems(world: &World, line: &str) -> Ran {
    let mounted = "mount -t tmpfs none m && mount -t tmpfs none n && mkdir n/u n/o && touch m/in n/u/f n/o/f";
    let script = format!("{mounted} && exec \"$0\" \"$@\"");
    let program = world.command(line);
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script]).arg(program.get_program()).args(program.get_args());
    command.env_clear().envs(program.get_envs().filter_map(|(n, v)| Some((n, v?))));
    Ran::of(command.current_dir(world.path("src")).stdin(Stdio::null()).output().expect("a shell"))
}

/// Of another file system the directory is kept that it is mounted on, and what was named in it.
#[test]
fn one_file_system() {
    let world = World::with_repository();
    for dir in ["src/m", "src/n"] {
        std::fs::create_dir(world.path(dir)).expect("ours");
    }
    if among_file_systems(&world, "version").code != 0 {
        eprintln!("skipped: nothing can be mounted here");
        return;
    }
    let here = ["/m", "/n", "/one.txt", "/sub", "/sub/deep", "/sub/deep/three.o", "/sub/two.txt"];
    let whole = world.path("src").display().to_string();
    for (named, more) in [
        (".", &[][..]),
        ("../src/.", &[]),
        (". m", &["/m/in"]),
        ("m .", &["/m/in"]),
        (". n/u", &["/n/u", "/n/u/f"]),
        ("n/u .", &["/n/u", "/n/u/f"]),
        ("@/src @/src/n/u", &["/n/u", "/n/u/f"]),
        ("@/src/m @/src", &["/m/in"]),
        ("@/src", &[]),
    ] {
        let ran = among_file_systems(&world, &format!("backup -q -x {named}"));
        assert_eq!(ran.code, 0, "{named}: {}", ran.err);
        let from = match named {
            _ if named.starts_with('@') => format!(":{whole}"),
            _ if named.starts_with("..") => ":/src".to_owned(),
            _ => String::new(),
        };
        let expected: BTreeSet<&str> = here.iter().chain(more).copied().collect();
        assert_eq!(held(&world, &from), expected.into_iter().collect::<Vec<_>>(), "{named}");
    }
    for (flags, kept) in [("--source .", false), ("--source . --source m", true), ("--source @/src", false)] {
        let out = among_file_systems(&world, &format!("explain-exclude -x {flags} m/in")).out;
        assert_eq!(out.contains("is kept"), kept, "{flags}: {out}");
        assert_eq!(out.contains("on another file system than the source"), !kept, "{flags}: {out}");
    }
}

/// A work tree, in a directory that has rules of no work tree.
fn work_tree() -> World {
    let world = World::with_repository();
    world.write(".gitignore", "two.txt\n");
    world.work_tree("src");
    world.write("src/.gitignore", "*.o\n/sub/out/\n");
    world.write("src/sub/.gitignore", "/deep/gone\n");
    world.write("src/sub/deep/gone", "");
    std::fs::create_dir(world.path("src/sub/out")).expect("ours");
    world.write("src/sub/out/x", "");
    world
}

#[test]
fn git_rules_above_a_source_count() {
    let world = work_tree();
    world.ok("backup -q --git-ignore src/sub");
    let whole = ["/.gitignore", "/deep", "/two.txt"];
    assert_eq!(held(&world, ":/src/sub"), whole);
    for (dir, named) in [("src/sub", "."), ("src/sub/deep", ".."), ("src", "sub/../sub")] {
        ok_in(&world, dir, &format!("backup -q --git-ignore {named} --as-path /x"));
        assert_eq!(held(&world, ":/x"), whole, "{named}");
    }
    for (dir, named) in [("src/sub", "."), ("src/sub/deep", "..")] {
        ok_in(&world, dir, &format!("backup -q --git-ignore {named}"));
        assert_eq!(held(&world, ""), whole, "{named}");
    }
    for (name, rule) in [
        ("src/sub/deep/three.o", "@/src/.gitignore:1 \"*.o\""),
        ("src/sub/deep/gone", "@/src/sub/.gitignore:1 \"/deep/gone\""),
        ("src/sub/out/x", "with @/src/sub/out: @/src/.gitignore:2 \"/sub/out/\""),
    ] {
        let out = world.plain(&world.ok(&format!("explain-exclude --git-ignore --source src/sub {name}")));
        assert!(out.starts_with(&format!("@/{name} is left out")) && out.contains(rule), "{out}");
    }
    let out = world.ok("explain-exclude --git-ignore --source src/sub src/sub/two.txt");
    assert!(out.contains("is kept"), "no rule above the work tree counts: {out}");
}

/// What is named is taken, and a work tree in a work tree has rules of its own.
#[test]
fn git_rules_above_what_is_named() {
    let world = work_tree();
    world.ok("backup -q --git-ignore src/sub/out src/sub/deep/three.o");
    assert!(held(&world, ":/src/sub").ends_with(&["/out".to_owned(), "/out/x".to_owned()]));
    assert_eq!(world.ok("dump latest /src/sub/deep/three.o"), "3\n");
    world.work_tree("src/sub");
    world.ok("backup -q --git-ignore src/sub/deep");
    assert_eq!(held(&world, ":/src/sub/deep"), ["/three.o"]);
}

/// Other ignore files count from the source down.
#[test]
fn ignore_files_above_a_source_do_not_count() {
    let world = work_tree();
    world.write("src/.mine", "two.txt\n");
    for flags in ["--ignore-file .mine", "--ignore-file .mine --git-ignore"] {
        world.ok(&format!("backup -q {flags} src/sub"));
        assert!(held(&world, ":/src/sub").contains(&"/two.txt".to_owned()), "{flags}");
    }
}

#[test]
fn nothing_of_the_repository_is_backed_up() {
    let world = World::with_repository();
    world.ok("backup -q src");
    let before = world.files("repo");
    std::os::unix::fs::symlink(world.path("repo/packs"), world.path("src/way")).expect("a link");
    for (dir, line) in [("repo", "backup ."), ("repo/packs", "backup .."), (".", "backup @/repo/config")] {
        let ran = run_in(&world, dir, line);
        assert!(
            ran.code == 1 && ran.err.contains("nothing to back up but the repository itself"),
            "{line}: {}",
            ran.err
        );
    }
    assert_eq!(world.files("repo"), before);
    // Other sources are taken, and links are kept as links.
    let out = run_in(&world, "repo", "backup . @/src/one.txt @/src/way");
    assert!(out.code == 0 && out.out.contains("/repo is the repository or in it, and is left out"), "{}", out.err);
    let held = held(&world, "");
    let ends = |end: &str| held.iter().any(|path| path.ends_with(end));
    assert!(ends("/src/one.txt") && ends("/src/way") && !ends("/config"), "{held:?}");
}
