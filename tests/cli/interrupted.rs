//! Backups that are stopped, politely or not, and the ones after them.

use std::collections::HashSet;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::world::World;

/// Slow on purpose: text that takes long to compress, by one thread.
const SLOW: &str = "--compression max --pack-size 1 --read-concurrency 1";
const FILES: usize = 60;
const FILE_BYTES: usize = 200_000;

fn large_source(world: &World) {
    std::fs::create_dir(world.path("large")).expect("ours");
    let mut state = 7u64;
    for n in 0..FILES {
        let mut text = Vec::with_capacity(FILE_BYTES);
        while text.len() < FILE_BYTES {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.extend_from_slice(format!("{:x} ", state >> 40).as_bytes());
        }
        world.write(&format!("large/{n:04}"), text);
    }
}

/// Begin a backup and wait until so many packs are durable.
fn begin(world: &World, packs: usize) -> Child {
    let mut command = world.command(&format!("backup large {SLOW}"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let begun = Instant::now();
    while world.files("repo/packs").len() < packs {
        assert!(begun.elapsed() < Duration::from_secs(60), "no packs");
        assert!(child.try_wait().expect("ours").is_none(), "it was over too soon");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it runs");
}

/// Every blob that the index knows, with an error if one is stored twice.
fn blobs(world: &World) -> HashSet<String> {
    let mut seen = HashSet::new();
    for blob in world.ok("list blobs").lines() {
        assert!(seen.insert(blob.to_owned()), "{blob} is stored twice");
    }
    seen
}

/// Five seconds are promised, and on this machine as many more as others need of its processors.
fn patience() -> Duration {
    let waiting = std::fs::read_to_string("/proc/loadavg").ok();
    let waiting = waiting.and_then(|l| l.split(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0);
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    Duration::from_secs(5).mul_f64((waiting / processors).max(1.0))
}

#[test]
fn stopped_on_request() {
    let world = World::with_repository();
    large_source(&world);
    world.write("large/first", "first\n");
    let child = begin(&world, 3);
    let asked = Instant::now();
    signal(&child, Signal::INT);
    let ran = super::world::Ran::of(child.wait_with_output().expect("ours"));
    assert_eq!(ran.code, 130, "{}", ran.err);
    assert!(asked.elapsed() < patience(), "{:?}", asked.elapsed());
    assert!(ran.err.contains("incomplete snapshot"), "{}", ran.err);
    let listed = world.snapshots();
    assert_eq!((listed.len(), &listed[0]["incomplete"]), (1, &true.into()));
    assert!(world.fails("ls latest", 1).contains("--incomplete"));
    world.ok("ls latest --incomplete");
    // The next one goes on from it and takes its place.
    let next = world.json("backup large --json --no-scan");
    let total = (FILES * FILE_BYTES) as u64;
    assert!(next["data_added"].as_u64().expect("a number") < total, "{next}");
    let listed = world.snapshots();
    assert_eq!((listed.len(), listed[0]["incomplete"].is_null()), (1, true));
    assert_eq!(listed[0]["summary"]["total_files_processed"], FILES + 1);
    blobs(&world);
}

#[test]
fn killed() {
    let world = World::with_repository();
    large_source(&world);
    let mut child = begin(&world, 3);
    signal(&child, Signal::KILL);
    child.wait().expect("ours");
    let durable: u64 = world.files("repo/packs").iter().map(|(_, len)| len).sum();
    assert!(world.snapshots().is_empty());
    let next = world.json("backup large --json --no-scan");
    let total = (FILES * FILE_BYTES) as u64;
    // Stored bytes are fewer than plain ones, so this is what was durable, at least.
    assert!(next["data_added"].as_u64().expect("a number") <= total + total / 50 - durable, "{next}");
    blobs(&world);
    let again = world.json("backup large --json --no-scan");
    assert_eq!(again["data_added"], 0, "{again}");
}

#[test]
fn a_stream_that_says_nothing_can_be_stopped() {
    let world = World::with_repository();
    let mut command = world.command("backup --stdin-from-command -- sleep 60");
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let begun = Instant::now();
    while world.files("repo/sessions").is_empty() && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    signal(&child, Signal::TERM);
    let ran = super::world::Ran::of(child.wait_with_output().expect("ours"));
    assert_eq!(ran.code, 130, "{}", ran.err);
    assert!(begun.elapsed() < Duration::from_secs(25));
    assert!(world.snapshots().is_empty());
}
