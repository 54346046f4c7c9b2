//! Who names a thing wants it: no rule leaves it out, nor does another source that is named above it.

use super::world::World;

fn held(world: &World) -> Vec<String> {
    let src = world.path("src").display().to_string();
    let lines = world.ok("ls -q latest");
    lines.lines().filter_map(|line| line.strip_prefix(&src)).filter(|l| !l.is_empty()).map(str::to_owned).collect()
}

/// Named with and without the directory it is in, a file is kept, as it is said beforehand; without being
/// named it is not.
fn kept_by_name(flags: &str, named: &str) {
    let world = World::with_repository();
    std::fs::create_dir_all(world.path("src/cache/deep")).expect("ours");
    world.write("src/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55");
    world.write("src/cache/deep/kept", "kept\n");
    world.write("src/big", [b'x'; 5000]);
    world.ok(&format!("backup -q {flags} @/src"));
    assert!(!held(&world).contains(&named.to_owned()), "{flags}");
    for sources in [format!("@/src{named}"), format!("@/src @/src{named}"), format!("@/src{named} @/src")] {
        let out = world.json(&format!("backup --json {flags} {sources}"));
        assert!(held(&world).contains(&named.to_owned()), "{flags} {sources}: {:?}", held(&world));
        assert!(out["total_files_processed"].as_u64() > Some(0), "{out}");
        let asked = sources.replace("@/", "--source @/");
        let said = world.ok(&format!("explain-exclude {flags} {asked} @/src{named}"));
        assert!(said.contains("is kept"), "{said}");
    }
}

#[test]
fn rules_do_not_count_for_what_is_named() {
    kept_by_name("--exclude-larger-than 1k", "/big");
    kept_by_name("--exclude big", "/big");
    kept_by_name("--iexclude BIG", "/big");
    kept_by_name("--exclude-caches", "/cache/deep/kept");
    kept_by_name("--exclude deep", "/cache/deep/kept");
    kept_by_name("--exclude-if-present CACHEDIR.TAG", "/cache/deep/kept");
}

/// As in restic 0.19.1: the directory is kept, and what is in it is judged.
#[test]
fn rules_count_for_what_is_in_it() {
    let world = World::with_repository();
    world.ok("backup -q --exclude sub @/src/sub @/src/one.txt");
    assert_eq!(held(&world), ["/one.txt", "/sub"]);
    world.ok("backup -q --exclude *.txt @/src @/src/sub");
    let held = held(&world);
    assert!(held.contains(&"/sub".to_owned()) && !held.iter().any(|path| path.ends_with(".txt")), "{held:?}");
}

#[test]
fn git_rules_do_not_count_for_it_either() {
    let world = World::with_repository();
    world.write("src/.gitignore", "out/\n*.o\n");
    world.work_tree("src");
    std::fs::create_dir_all(world.path("src/out/deep")).expect("ours");
    world.write("src/out/other", "o\n");
    world.write("src/out/deep/kept", "k\n");
    world.write("src/out/deep/not.o", "n\n");
    for named in ["/out/deep/kept", "/out/deep"] {
        world.ok(&format!("backup -q --git-ignore @/src @/src{named}"));
        let held = held(&world);
        assert!(held.contains(&"/out/deep/kept".to_owned()), "{held:?}");
        assert!(!held.contains(&"/out/other".to_owned()) && !held.contains(&"/out/deep/not.o".to_owned()), "{held:?}");
    }
}

/// A link is kept as a link; what is behind it and was named is kept beside it.
#[test]
fn what_is_behind_a_link_is_kept() {
    let world = World::with_repository();
    std::fs::create_dir_all(world.path("far/inner")).expect("ours");
    world.write("far/inner/f", "far\n");
    world.write("far/x", "x\n");
    std::os::unix::fs::symlink(world.path("far/inner"), world.path("src/link")).expect("a link");
    for sources in ["src src/link/f", "src/link/f src", "src/link src/link/f"] {
        world.ok(&format!("backup -q {sources}"));
        let all = world.ok("ls -q latest");
        let ends = |end: &str| all.lines().any(|line| line.starts_with("/src") && line.ends_with(end));
        assert!(ends("/link") && ends("/f"), "{sources}: {all}");
    }
    // As in restic, `..` takes back the name before it, wherever that leads.
    world.ok("backup -q src/link/../one.txt");
    assert_eq!(world.ok("ls -q latest"), "/src\n/src/one.txt\n");
}

#[test]
fn what_is_not_there_is_told_also_below_another_source() {
    let world = World::with_repository();
    for sources in ["src src/nothere", "src/nothere src", "src src/one.txt/x"] {
        let err = world.fails(&format!("backup {sources}"), 3);
        assert!(err.contains("/src/nothere") || err.contains("/src/one.txt/x"), "{err}");
    }
}

/// As in restic: a snapshot of nothing would be the latest, and the one that retention keeps.
#[test]
fn of_nothing_there_is_no_snapshot() {
    let world = World::with_repository();
    std::fs::create_dir_all(world.path("void")).expect("ours");
    let output = world.command("backup .").current_dir(world.path("void")).output().expect("the program starts");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && err.contains("the snapshot would be empty"), "{err}");
    assert_eq!(world.snapshots().len(), 0);
    world.ok("check");
}
