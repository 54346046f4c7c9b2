//! Limits, in time that really passes: lower bounds only, since nobody promises that it goes quickly.

use std::time::{Duration, Instant};

use super::noise::noise;
use super::world::World;

#[test]
fn what_is_written_and_read_takes_its_time() {
    let world = World::with_repository();
    world.write("src/noise", noise(600_000, 0));
    let begin = Instant::now();
    world.ok("backup src -q --limit-upload 200");
    assert!(begin.elapsed() >= Duration::from_secs(2), "{:?}", begin.elapsed());
    let begin = Instant::now();
    world.ok("restore latest -q --target @/out --limit-download 00:00-24:00=150KiB");
    assert!(begin.elapsed() >= Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn the_file_can_change_while_it_runs() {
    let world = World::with_repository();
    world.write("src/noise", noise(3_000_000, 0));
    world.write("orlop.toml", "[profiles.default]\nlimit-upload = \"1\"\n");
    let begin = Instant::now();
    let mut backup = world.command("backup src -q --config @/orlop.toml").spawn().expect("the program starts");
    std::thread::sleep(Duration::from_secs(3));
    assert!(backup.try_wait().expect("ours").is_none(), "it would take most of an hour");
    world.write("orlop.toml", "[profiles.default]\nlimit-upload = \"500MiB\"\n");
    assert!(backup.wait().expect("ours").success());
    assert!(begin.elapsed() < Duration::from_secs(1000), "{:?}", begin.elapsed());
    // What was typed counts, whatever the file says.
    world.write("orlop.toml", "[profiles.default]\nlimit-upload = \"1\"\n");
    world.write("src/noise", noise(2_000_000, 0));
    world.ok("backup src -q --config @/orlop.toml --limit-upload 0");
}

#[test]
fn rates_that_are_none() {
    let world = World::with_repository();
    for rate in ["fast", "8-18=2MiB", "-1"] {
        let told = world.fails(&format!("snapshots --limit-upload={rate}"), 1);
        assert!(told.contains("limit-upload"), "{told}");
    }
}
