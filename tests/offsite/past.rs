//! A bucket that keeps versions, and somebody who overwrites and deletes what is in it.

use super::services::{Ceph, Place, Service};
use super::world::World;
use orlop::model::Name;
use orlop::storage::{Access, Location, Options, Storage, Versions};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The time of the storage, in whole seconds, with nothing that happens near it.
pub fn moment(storage: &dyn Storage) -> String {
    std::thread::sleep(Duration::from_millis(1500));
    let second = storage.clock().expect("it says");
    std::thread::sleep(Duration::from_millis(1500));
    jiff::Timestamp::from_second(second).expect("a time").to_string()
}

/// What this machine keeps of a repository beside its password.
fn kept_here(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut kept, mut folders) = (BTreeMap::new(), vec![world.path("home")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("ours").map(|e| e.expect("ours").path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => drop(kept.insert(entry.clone(), std::fs::read(&entry).expect("ours"))),
            }
        }
    }
    kept
}

/// Two backups, a moment, a third backup. Then everything of the moment is overwritten, deleted, or both. What was
/// there is read, brought back, and read without looking back.
pub fn attacked(ceph: &Ceph) {
    let place = ceph.versioned();
    let (world, storage) = (World::new(&place), place.open());
    world.ok("init --no-recovery-key");
    for version in 1..3 {
        world.source(version);
        world.ok("backup @/src");
    }
    let when = moment(&*storage);
    std::fs::rename(world.path("src"), world.path("then")).expect("ours");
    let then = storage.list("").expect("listed");
    std::fs::create_dir(world.path("src")).expect("ours");
    world.source(3);
    world.ok("backup @/src");
    for (n, l) in then.iter().enumerate() {
        if n % 3 != 1 {
            storage.heal(&l.name, &vec![b'x'; usize::try_from(l.len).expect("small")]).expect("overwritten");
        }
        if n % 3 != 0 {
            storage.delete(&l.name).expect("deleted");
        }
    }
    assert_ne!(world.run("--no-cache restore latest --target @/not").code, 0);
    let here = kept_here(&world);
    look_back(&world, &when);
    assert_eq!(kept_here(&world), here, "neither the cache nor what is remembered knows of it");
    bring_back(&world, &when, then.len());
    world.no_secrets();
}

fn look_back(world: &World, when: &str) {
    let listed = world.ok(&format!("snapshots --json --as-of {when}"));
    let snapshots: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(snapshots.as_array().map(Vec::len), Some(2), "{listed}");
    world.ok(&format!("check --read-data --as-of {when}"));
    world.ok(&format!("ls latest --as-of {when}"));
    world.ok(&format!("restore latest --target @/past --as-of {when}"));
    restored_as_then(world, "past");
    for line in ["backup @/src", "forget latest", "prune", "init", "snapshots accept-time"] {
        let ran = world.run(&format!("{line} --as-of {when}"));
        assert!(ran.code == 1 && ran.err.contains("in the past"), "{line}: {}", ran.err);
    }
    let before = world.run("snapshots --as-of 2020-01-01T00:00:00Z");
    assert!(before.code == 10 && before.err.contains("--as-of"), "{}", before.err);
}

/// The folder as it was when the moment was.
fn restored_as_then(world: &World, out: &str) {
    let there = world.path(out).join(world.path("src").strip_prefix("/").expect("absolute"));
    let diff = std::process::Command::new("diff").arg("-r").arg(world.path("then")).arg(there).output();
    let diff = diff.expect("diff runs");
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
}

fn bring_back(world: &World, when: &str, objects: usize) {
    let without_time = world.run("rescue");
    assert!(without_time.code == 1 && without_time.err.contains("--as-of"), "{}", without_time.err);
    let line = format!("rescue --keys --json --as-of {when}");
    let report = |said: String| serde_json::from_str::<serde_json::Value>(&said).expect("JSON");
    let would = report(world.ok(&format!("{line} --dry-run")));
    let done = report(world.ok(&line));
    assert_eq!((&would["brought_back"], &would["repaired"]), (&done["brought_back"], &done["repaired"]));
    let count = |key: &str| done[key].as_u64().expect("a number") as usize;
    assert_eq!((count("brought_back") + count("repaired"), count("lost")), (objects, 0), "{done}");
    assert!(count("later") > 0, "{done}");
    assert_eq!(report(world.ok(&line))["changed"], serde_json::json!([]));
    world.ok("check --read-data");
    world.ok("restore latest --target @/now");
    world.assert_restored("now");
    world.ok("restore latest~1 --target @/now2");
    restored_as_then(world, "now2");
    world.source(4);
    world.ok("backup @/src");
    world.ok("forget --keep-last 1");
    prune_or_be_told(world);
    world.ok("check --read-data");
}

/// Where versions are kept, old gateways make an object anew whose name is taken, whatever the condition says: then
/// there is no collecting there, and that is told. Gives whether there is.
pub fn prune_or_be_told(world: &World) -> bool {
    let collects = world.ok("doctor storage --json").contains("\"collects\":true");
    let prune = world.run("prune --now");
    match collects {
        true => assert_eq!(prune.code, 0, "{}", prune.err),
        false => {
            assert_eq!(prune.code, 1, "{}", prune.out);
            assert!(prune.err.contains("cannot make an object exclusively"), "{}", prune.err);
        }
    }
    println!("a bucket with versions: garbage is collected: {collects}");
    collects
}

pub fn versions_of(place: &Place) -> Arc<dyn Versions> {
    let (location, options) = (Location::parse(place.url.as_ref()), Options::parse(&place.options));
    let variable =
        |name: &str| place.variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let access = Access { options: &options.expect("options"), variable: &variable, cancel: None, known: None };
    orlop::storage::open_versions(&location.expect("a place"), &access).expect("it opens")
}

/// More than one page of them: all come, in the order of their times, with the bytes that they had.
pub fn many_versions(ceph: &Ceph) {
    const OBJECTS: usize = 8;
    const OF_ONE: usize = 140;
    let place = ceph.versioned();
    let (storage, name) = (versions_of(&place), |n: usize| Name::new(format!("gc/{n}")).expect("a name"));
    std::thread::scope(|scope| {
        for n in 0..OBJECTS {
            let storage = &storage;
            scope.spawn(move || {
                for version in 0..OF_ONE {
                    storage.put_over(&name(n), format!("{n} {version}").as_bytes()).expect("put");
                }
                storage.delete(&name(n)).expect("deleted");
            });
        }
    });
    storage.put_new(&name(0), b"again").expect("put");
    let all = storage.versions("").expect("listed");
    assert_eq!(all.len(), OBJECTS * (OF_ONE + 1) + 1);
    assert_eq!(all.iter().filter(|v| v.deleted).count(), OBJECTS);
    assert_eq!(all.iter().filter(|v| v.current).count(), OBJECTS);
    for n in 1..OBJECTS {
        let of_one: Vec<_> = all.iter().filter(|v| v.name == name(n) && !v.deleted).collect();
        assert!(of_one.is_sorted_by(|a, b| a.at >= b.at), "newest first");
        for age in [0, 1, OF_ONE - 1] {
            let bytes = storage.get_version(of_one[age]).expect("read");
            assert_eq!(String::from_utf8_lossy(&bytes), format!("{n} {}", OF_ONE - 1 - age));
            let (mut last, end) = ([0; 1], bytes.len() - 1);
            storage.get_version_range(of_one[age], end as u64, &mut last).expect("read");
            assert_eq!(last[0], bytes[end]);
        }
    }
}

/// Where nothing is kept, or nobody can say so, that is the answer.
pub fn nothing_is_kept(ceph: &Ceph) {
    let world = World::new(&ceph.place());
    world.ok("init --no-recovery-key");
    let here = "snapshots -r @/here --as-of 2026-01-01T00:00:00Z";
    for line in ["snapshots --as-of 2036-01-01T00:00:00Z", "rescue --as-of 2036-01-01T00:00:00Z", here] {
        let ran = world.run(line);
        assert!(ran.code == 1 && ran.err.contains("keeps no older versions"), "{line}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains("error[unsupported]"), "{}", ran.err);
    }
}
