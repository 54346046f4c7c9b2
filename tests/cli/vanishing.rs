//! Files that shrink or go away while they are backed up: told by name, exit code 3, and the rest is kept.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::world::{Ran, World};

/// Text of hexadecimal numbers, other ones for another seed.
pub fn text_that_compresses_slowly(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(7);
    let mut text = Vec::with_capacity(len + 16);
    while text.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.extend_from_slice(format!("{:x} ", state >> 40).as_bytes());
    }
    text
}

/// One thread reads `a` for long, when all of its directory has been listed and looked at.
#[test]
fn while_others_are_read() {
    let world = World::with_repository();
    std::fs::create_dir(world.path("tree")).expect("ours");
    world.write("tree/a", text_that_compresses_slowly(24 << 20, 1));
    world.write("tree/gone", "soon gone");
    world.write("tree/kept", "kept");
    let mut command = world.command("backup tree --compression max --read-concurrency 1 --pack-size 1 --no-scan");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let begun = Instant::now();
    while world.files("repo/packs").is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no packs");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::fs::remove_file(world.path("tree/gone")).expect("it was there");
    let shrinks = std::fs::OpenOptions::new().write(true).open(world.path("tree/a")).expect("ours");
    shrinks.set_len(1 << 20).expect("ours");
    let ran = Ran::of(child.wait_with_output().expect("ours"));
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    let here = world.path("tree").display().to_string();
    assert!(ran.err.contains(&format!("error[vanished]: open {here}/gone")), "{}", ran.err);
    assert!(ran.err.contains(&format!("error[changed-while-read]: read {here}/a: it shrank")), "{}", ran.err);
    assert_eq!(world.ok("dump latest /tree/kept"), "kept");
    let listed = world.ok("ls latest");
    assert!(listed.contains("/tree/a\n") && !listed.contains("/tree/gone"), "{listed}");
    world.ok("check --read-data");
    // The next one has nothing to complain of.
    world.ok("backup tree");
    assert_eq!(world.ok("dump latest /tree/a").len(), 1 << 20);
}
