//! What is backed up: lists, patterns, streams, and what is left out by itself.

use super::world::World;

/// What a snapshot holds below the source.
fn held(world: &World, snapshot: &str) -> Vec<String> {
    let out = world.ok(&format!("ls -q {snapshot}:/src"));
    out.lines().map(str::to_owned).collect()
}

#[test]
fn patterns_and_sizes() {
    let world = World::with_repository();
    world.write("src/big", [b'x'; 5000]);
    world.write("patterns", "# a comment\n$NOTHING*.o\n");
    std::fs::create_dir(world.path("src/cache")).expect("ours");
    world.write("src/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    world.write("src/cache/x", "x");
    let ran =
        world.run("backup src --iexclude ONE.* --exclude-file patterns --exclude-larger-than 4k --exclude-caches");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("patterns:2: $NOTHING is not set"), "{}", ran.out);
    assert_eq!(held(&world, "latest"), ["/cache", "/cache/CACHEDIR.TAG", "/sub", "/sub/deep", "/sub/two.txt"]);
    let excludes = &world.snapshots()[0]["excludes"];
    assert_eq!(excludes, &serde_json::json!(["*.o", "ONE.*"]));
}

#[test]
fn ignore_files() {
    let world = World::with_repository();
    world.work_tree("src");
    world.write("src/.gitignore", "*.o\n");
    world.write("src/.mine", "one.txt\n");
    world.ok("backup src --git-ignore --ignore-file .mine");
    let held = held(&world, "latest");
    assert!(held.contains(&"/sub/two.txt".to_owned()), "{held:?}");
    assert!(!held.iter().any(|p| p.ends_with(".o") || p.ends_with("one.txt")), "{held:?}");
}

/// A git index that names one file: version 2, zeros for stamps, name and checksum.
fn git_index(name: &str) -> Vec<u8> {
    let mut index = [&b"DIRC\0\0\0\x02\0\0\0\x01"[..], &[0; 24], &0o100_644_u32.to_be_bytes(), &[0; 32]].concat();
    index.extend((name.len() as u16).to_be_bytes());
    index.extend(name.as_bytes());
    index.resize(12 + (62 + name.len() + 8) / 8 * 8, 0);
    [&index[..], &[0; 20]].concat()
}

/// What git ignores, tracks and was told by the user; what is explained is what is done.
#[test]
fn git_decides() {
    let world = World::with_repository();
    world.work_tree("src");
    for dir in ["src/.git/worktrees/linked", "src/out", "src/linked", "home"] {
        std::fs::create_dir_all(world.path(dir)).expect("ours");
    }
    for (name, contents) in [
        ("src/.gitignore", "out/\n"),
        ("src/out/tracked", "x"),
        ("src/out/not", "x"),
        ("home/.gitconfig", "[core]\n\texcludesFile = ~/mine # by the user\n"),
        ("home/mine", "by-user\n"),
        ("src/by-user", "x"),
        ("src/.git/config", "[core]\n\tignoreCase = true\n"),
        ("src/OUT2", "x"),
        ("src/.git/info/exclude", "out2\nout3\n"),
        ("src/linked/.git", "gitdir: ../.git/worktrees/linked\n"),
        ("src/.git/worktrees/linked/HEAD", "ref: refs/heads/x\n"),
        ("src/.git/worktrees/linked/commondir", "../..\n"),
        ("src/linked/out3", "x"),
        ("src/linked/in", "x"),
    ] {
        world.write(name, contents);
    }
    world.write("src/.git/index", git_index("out/tracked"));
    let ran = world.run("backup src --git-ignore");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let kept = held(&world, "latest");
    for (name, expected) in [
        ("/out/tracked", true),
        ("/out/not", false),
        ("/by-user", false),
        ("/OUT2", false),
        ("/linked/out3", false),
        ("/linked/in", true),
        ("/.git/index", true),
        ("/one.txt", true),
    ] {
        assert_eq!(kept.iter().any(|held| held == name), expected, "{name}");
        let all = world.json(&format!("explain-exclude --json --git-ignore --source src src{name}"));
        assert_eq!(all[0]["kept"], expected, "{all}");
    }
    let told = world.plain(&world.ok("explain-exclude --git-ignore --source @/src src/out/tracked"));
    assert_eq!(told, "@/src/out/tracked is kept by git's index, against @/src/.gitignore:1 \"out/\"\n");

    world.write("src/.git/index", "DIRC and no more");
    let ran = world.run("backup src --git-ignore");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("git's index cannot be read or is damaged"), "{}{}", ran.out, ran.err);
    assert!(held(&world, "latest").iter().any(|held| held == "/out/not"));
}

#[test]
fn lists_of_files() {
    let world = World::with_repository();
    world.write("globs", "# comment\n  src/*.txt \nnothing*\n");
    world.write("verbatim", "src/sub/two.txt\n");
    world.write("raw", b"src/sub/deep/three.o\0");
    let ran = world.run("backup --files-from globs --files-from-verbatim verbatim --files-from-raw raw");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("\"nothing*\" in line 3 of globs does not match"), "{}", ran.out);
    let out = world.ok("ls -q latest");
    for name in ["/src/one.txt", "/src/sub/two.txt", "/src/sub/deep/three.o"] {
        assert!(out.lines().any(|l| l.ends_with(name)), "{name}: {out}");
    }
    world.write("cut", b"src\0src/o");
    assert!(world.fails("backup --files-from-raw cut", 1).contains("NUL"));
    world.fails("backup --files-from nowhere", 1);
    let mut command = world.command("backup --files-from-verbatim -");
    let list = std::fs::File::open(world.path("verbatim")).expect("written");
    let output = command.stdin(list).output().expect("the program starts");
    assert!(output.status.success());
    assert_eq!(world.snapshots().len(), 2);
}

#[test]
fn streams() {
    let world = World::with_repository();
    let stream = std::fs::File::open(world.path("src/sub/two.txt")).expect("ours");
    let output = world.command("backup --stdin --stdin-filename dir/x.sql").stdin(stream).output();
    assert!(output.expect("the program starts").status.success());
    assert_eq!(world.ok("dump latest /dir/x.sql"), "two, two\n");
    world.ok("backup --stdin-from-command -- echo hello");
    assert_eq!(world.ok("dump latest stdin"), "hello\n");
    let err = world.fails("backup --stdin-from-command -- false", 1);
    assert!(err.contains("exit status: 1"), "{err}");
    let mut command = world.command("backup --stdin-from-command --");
    let output = command.args(["sh", "-c", "echo part; kill -9 $$"]).output().expect("the program starts");
    let ran = super::world::Ran::of(output);
    assert!(ran.code == 1 && ran.err.contains("signal: 9"), "{}", ran.err);
    world.fails("backup --stdin-from-command -- /no/such/program", 1);
    assert_eq!(world.snapshots().len(), 2, "what failed made no snapshot");
}

#[test]
fn repository_and_cache_inside_the_source() {
    let world = World::with_repository();
    std::fs::create_dir_all(world.path("cache")).expect("ours");
    let ran = world.run("--cache-dir cache backup @");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("/repo is the repository and is left out"), "{}", ran.out);
    assert!(ran.out.contains("/cache is the cache and is left out"), "{}", ran.out);
    let held = world.ok("ls -q latest");
    assert!(held.contains("/src/one.txt") && !held.contains("/repo"), "{held}");
}

#[test]
fn dry_runs_write_nothing() {
    let world = World::with_repository();
    let before = world.files("repo");
    let out = world.ok("backup src --dry-run");
    assert!(out.contains("Would add"), "{out}");
    assert_eq!(world.files("repo"), before);
    world.ok("backup src");
    let before = world.files("repo");
    world.write("src/new", "new\n");
    world.ok("backup src --dry-run");
    assert_eq!(world.files("repo"), before);
    world.fails("-r @/none backup --init --dry-run src", 10);
}

#[test]
fn another_name_for_a_path() {
    let world = World::with_repository();
    world.ok("backup src --as-path /data/here --host other --time 2001-02-03T04:05:06Z --description d");
    let snapshot = &world.snapshots()[0];
    assert_eq!(snapshot["paths"], serde_json::json!(["/data/here"]));
    assert_eq!((&snapshot["hostname"], &snapshot["description"]), (&"other".into(), &"d".into()));
    assert!(snapshot["time"].as_str().is_some_and(|t| t.starts_with("2001-02-03T04:05:06")), "{snapshot}");
    assert_eq!(world.ok("dump latest:/data here/one.txt"), "one\n");
    world.fails("backup src src/sub --as-path /x", 1);
}

#[test]
fn parents_by_group() {
    let world = World::with_repository();
    world.ok("backup src --tag a");
    let parent = |line: &str| world.ok(line).contains("using parent snapshot");
    assert!(parent("backup src -n"));
    assert!(!parent("backup src -n --host other"));
    assert!(parent("backup src -n --host other --group-by paths"));
    assert!(!parent("backup src -n --tag b --group-by tags"));
    assert!(!parent("backup src/sub -n"));
    assert!(parent("backup src/sub -n --group-by host"));
    assert!(!parent("backup src -n --force"));
    assert!(parent("backup src -n --parent latest"));
}

#[test]
fn one_command_on_a_fresh_machine() {
    let world = World::new();
    let ran = world.run_with("backup --init src", &[("ORLOP_PASSWORD", "")]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("made the key file"), "{}", ran.out);
    let again = world.run_with("backup --init src --json", &[("ORLOP_PASSWORD", "")]);
    assert_eq!(again.code, 0, "{}", again.err);
    let listed = world.run_with("snapshots --json", &[("ORLOP_PASSWORD", "")]);
    let listed: serde_json::Value = serde_json::from_str(&listed.out).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "the key file is found again");
}

#[test]
fn two_at_once() {
    let world = World::with_repository();
    let start = |dir: &str| world.command(&format!("backup {dir} -q")).spawn().expect("the program starts");
    let running = [start("src"), start("src"), start("src/sub")];
    for mut child in running {
        assert!(child.wait().expect("ours").success());
    }
    assert_eq!(world.snapshots().len(), 3);
}

#[test]
fn archives() {
    let world = World::with_repository();
    std::os::unix::fs::symlink("one.txt", world.path("src/link")).expect("ours");
    std::fs::hard_link(world.path("src/one.txt"), world.path("src/same")).expect("ours");
    let long = "n".repeat(200);
    world.write(&format!("src/{long}"), "long\n");
    world.ok("backup src");
    let here = world.path("src");
    for archive in ["tar", "zip"] {
        world.ok(&format!("dump -a {archive} -t @/out.{archive} latest:/src /"));
    }
    std::fs::create_dir(world.path("out")).expect("ours");
    let mut archive = tar::Archive::new(std::fs::File::open(world.path("out.tar")).expect("written"));
    archive.set_preserve_mtime(true);
    archive.unpack(world.path("out")).expect("a good archive");
    for name in ["one.txt", "same", "sub/deep/three.o", long.as_str()] {
        let (a, b) = (std::fs::read(here.join(name)), std::fs::read(world.path("out").join(name)));
        assert_eq!(a.expect("ours"), b.expect("unpacked"), "{name}");
    }
    assert_eq!(std::fs::read_link(world.path("out/link")).expect("a link").to_str(), Some("one.txt"));
    let file = std::fs::File::open(world.path("out.zip")).expect("written");
    let mut zip = zip::ZipArchive::new(file).expect("a good archive");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut zip.by_name("sub/two.txt").expect("in it"), &mut text).expect("readable");
    assert_eq!(text, "two, two\n");
}

/// What should have written it may have failed; as in restic.
#[test]
fn an_empty_stream_is_no_backup() {
    let world = World::with_repository();
    for line in ["backup --stdin --stdin-filename x.sql", "backup --stdin-from-command -- true"] {
        assert!(world.fails(line, 1).contains("no data came in"));
    }
    assert_eq!(world.snapshots().len(), 0);
}

#[test]
fn a_host_without_a_name_is_this_one() {
    let world = World::with_repository();
    let output = world.command("backup src").args(["--host", ""]).output().expect("the program starts");
    assert!(output.status.success());
    assert_eq!(world.snapshots()[0]["hostname"], "host");
}

/// The disk of a repository may not be mounted: a second one in its place would lock it out.
#[test]
fn init_makes_no_second_repository_at_a_known_place() {
    let world = World::with_repository();
    assert_eq!(world.run("backup --init src").code, 0);
    std::fs::rename(world.path("repo"), world.path("away")).expect("ours");
    std::fs::create_dir(world.path("repo")).expect("ours");
    let ran = world.run("backup --init src");
    assert!(ran.code == 10 && ran.err.contains("is its disk mounted?"), "{}", ran.err);
    std::fs::remove_dir(world.path("repo")).expect("still empty");
    std::fs::rename(world.path("away"), world.path("repo")).expect("ours");
    assert_eq!(world.run("backup --init src").code, 0);
    std::fs::remove_dir_all(world.path("repo")).expect("ours");
    assert_eq!(world.run("backup --init --accept-repository src").code, 0);
}
