//! `quickstart`, with nothing but a home: from a terminal and without.

use std::process::Command;
use std::time::{Duration, Instant};

use super::terminal::Terminal;
use super::world::{Ran, World};

/// Nobody has said anything about repositories and passwords.
fn command(world: &World, line: &str) -> Command {
    let mut command = world.command(line);
    command.env_remove("ORLOP_REPOSITORY").env_remove("ORLOP_KEY_FILE").env_remove("ORLOP_HOST");
    command
}

fn run(world: &World, line: &str) -> Ran {
    Ran::of(command(world, line).output().expect("the program starts"))
}

#[test]
fn from_nothing_to_a_snapshot_that_comes_back() {
    let world = World::new();
    let ran = run(&world, "quickstart src");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let repository = world.path("home/.local/share/orlop/repository");
    let (place, source) = (repository.display(), world.path("src").canonicalize().expect("there"));
    for needle in [
        "all 3 files (15 B) came back and equal their source",
        &format!("made the repository {place}"),
        &format!("orlop -r {place} backup {}", source.display()),
        &format!("orlop -r {place} restore latest:{}", source.display()),
        &format!("orlop -r {place} check --read-data"),
        "home/.config/orlop/keys/",
        "recovery key",
    ] {
        assert!(ran.out.contains(needle), "no {needle:?} in {}", ran.out);
    }
    assert!(ran.out.lines().any(|l| l.split(' ').count() == 24), "the words are shown: {}", ran.out);
    let left: Vec<_> = std::fs::read_dir(world.path("home/.local/share/orlop")).expect("there").collect();
    assert_eq!(left.len(), 1, "the scratch folder is gone: {left:?}");
    // A second time adds one; what it said to do works as it stands.
    let again = run(&world, "quickstart src");
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.out.contains("added to the repository") && !again.out.contains("made the"), "{}", again.out);
    let mut played = 0;
    for line in ran.out.lines().filter_map(|l| l.strip_prefix("    orlop ")).filter(|l| !l.contains("/other/disk")) {
        let done = run(&world, line);
        assert_eq!(done.code, 0, "orlop {line}: {}", done.err);
        played += 1;
    }
    assert_eq!(played, 5);
    assert_eq!(std::fs::read(world.path("restored/sub/two.txt")).expect("it is back"), b"two, two\n");
    let listed = run(&world, &format!("-r {place} snapshots"));
    assert!(listed.out.contains("3 snapshots"), "{}", listed.out);
}

#[test]
fn without_a_path_it_asks() {
    let world = World::new();
    let begun = Instant::now();
    let mut terminal = Terminal::run(&command(&world, "quickstart"), 80);
    terminal.until("orlop makes a copy");
    // The promise is 0.1 s; a loaded machine starts programs late.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(!world.path("home/.local/share/orlop").exists(), "nothing is done before it asks");
    terminal.until("Which folder shall be protected? ");
    std::fs::create_dir_all(world.path("home/my notes")).expect("ours");
    world.write("home/my notes/today", "buy milk");
    terminal.type_in("~/my notes\n");
    let (code, text) = terminal.end();
    assert_eq!(code, 0, "{text}");
    for needle in ["all 1 files (8 B) came back", "shown this once", "'"] {
        assert!(text.contains(needle), "no {needle:?} in {text}");
    }
    assert!(text.contains("/home/my notes'"), "commands are quoted: {text}");
    let mut terminal = Terminal::run(&command(&world, "quickstart"), 80);
    terminal.until("Which folder");
    terminal.type_in("\n");
    assert_eq!(terminal.end().0, 1, "no answer");
    let mut terminal = Terminal::run(&command(&world, "quickstart"), 80);
    terminal.until("Which folder");
    terminal.type_in("\x03");
    assert_eq!(terminal.end().0, 130);
}

#[test]
fn without_a_terminal_it_does_not_ask() {
    let world = World::new();
    for line in ["quickstart", "quickstart --json"] {
        let ran = run(&world, line);
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(ran.err.contains("no terminal to ask on") && !ran.out.contains("Which folder"), "{}", ran.err);
    }
}

#[test]
fn what_cannot_be_protected() {
    let world = World::new();
    for (line, needle) in [("quickstart @/none", "looking for"), ("quickstart @/src/one.txt", "is no folder")] {
        let ran = run(&world, line);
        assert!(ran.code == 1 && ran.err.contains(needle), "{line}: {}", ran.err);
    }
    // Larger than any disk, and empty.
    let huge = std::fs::File::create(world.path("src/huge")).and_then(|f| f.set_len(1 << 42));
    huge.expect("holes take no room");
    let ran = run(&world, "quickstart src");
    assert!(ran.code == 1 && ran.err.contains("not enough room"), "{}", ran.err);
    assert!(!world.path("home/.local/share/orlop/repository").exists(), "nothing was made");
}

#[test]
fn for_programs_and_for_those_who_want_silence() {
    let world = World::new();
    let ran = run(&world, "quickstart src --json");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let last: serde_json::Value = serde_json::from_str(ran.out.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["message_type"], &last["files_equal"]), (&"quickstart".into(), &3.into()));
    assert!(ran.out.lines().all(|l| l.starts_with('{')), "{}", ran.out);
    let ran = run(&world, "quickstart -q src");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
}

#[test]
fn other_places_and_data_folders() {
    let world = World::new();
    let mut elsewhere = command(&world, "quickstart src");
    let ran = Ran::of(elsewhere.env("XDG_DATA_HOME", world.path("data")).output().expect("it starts"));
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(world.path("data/orlop/repository/config").exists());
    let ran = run(&world, "quickstart src -r @/chosen");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(world.path("chosen/config").exists());
    // The whole home, with the repository in it.
    std::fs::create_dir_all(world.path("home/deep")).expect("ours");
    let ran = run(&world, "quickstart home");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let again = run(&world, "quickstart home");
    assert!(again.code == 0 && !again.out.contains("not in the backup"), "{}{}", again.out, again.err);
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_kept() {
    if rustix::process::getuid().is_root() {
        return;
    }
    let world = World::new();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(world.path("src/one.txt"), closed).expect("ours");
    let ran = run(&world, "quickstart src");
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("1 are in the source and not in the backup"), "{}", ran.out);
}

/// More than a gibibyte: only a sample is tried.
#[test]
#[ignore = "writes more than a gibibyte"]
fn of_much_a_sample_is_tried() {
    let world = World::new();
    let block: Vec<u8> = (0..1 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for n in 0..1100u32 {
        let mut block = block.clone();
        block[..4].copy_from_slice(&n.to_le_bytes());
        world.write(&format!("src/[{n}]*"), block);
    }
    let ran = run(&world, "quickstart src");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let line = ran.out.lines().find(|l| l.contains("a sample of")).expect("a sample");
    let files: u64 = line.split_whitespace().nth(3).and_then(|n| n.parse().ok()).expect("a number");
    assert!((50..=201).contains(&files), "{line}");
}
