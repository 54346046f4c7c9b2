//! Whenever a backup dies, what was there before is whole, the next backup succeeds, and nothing
//! that had become durable is stored again.

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use orlop::repo::Repository;
use orlop::storage::testing::{CrashStorage, UnsyncedStorage, is_death};
use orlop::storage::{LocalStorage, Storage};
use support::*;

/// Tells the child process where its world is.
const WORLD: &str = "ORLOP_TEST_CRASH_WORLD";
const NTH: &str = "ORLOP_TEST_CRASH_NTH";

/// A tree of which a first backup makes several packs.
fn plant(dir: &Path) {
    for i in 0..12 {
        let below = dir.join(format!("d{}", i % 3));
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join(format!("old{i}")), noise(40_000 + i * 3000, i as u64)).unwrap();
    }
    fs::write(dir.join("small"), b"inline").unwrap();
}

/// Changes of which a second backup makes at least four packs and two index segments.
fn change(dir: &Path) {
    for i in 0..9u64 {
        fs::write(dir.join(format!("d1/new{i}")), noise(70_000, 100 + i)).unwrap();
    }
    fs::write(dir.join("d0/old0"), noise(30_000, 200)).unwrap();
    fs::remove_file(dir.join("d2/old2")).unwrap();
    fs::write(dir.join("small"), b"still inline").unwrap();
    settle();
}

/// What has to hold after any death: `repo` sees what the dead one left.
fn recover(mut repo: Repository, dir: &Path, what: &str) {
    repo.act_as(this_process());
    let before = contents(&repo);
    assert_sound(&mut repo);
    let done = back_up(&mut repo, dir, &small_packs());
    assert_same(&repo, done.snapshot.unwrap(), dir);
    let after = assert_sound(&mut repo);
    assert_eq!(after.unindexed_packs, 0, "{what}: leftovers are taken over");
    assert_nothing_twice(&repo);
    assert!(before.keys().all(|pack| contents(&repo).contains_key(pack)));
    let who = repo.identity(Some("test")).unwrap();
    assert!(repo.leftovers(&who).unwrap().is_empty(), "{what}: dead sessions are closed");
}

/// Opened by one who will be dead to those who come after.
fn open_as_dead(storage: &Arc<dyn Storage>, boot: u8) -> Repository {
    let mut repo = open(storage);
    repo.act_as(before_reboot(boot));
    repo
}

fn dir_with_parent(storage: &Arc<dyn Storage>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    settle();
    let mut repo = open(storage);
    repo.act_as(this_process());
    let done = back_up(&mut repo, dir.path(), &small_packs());
    assert_same(&repo, done.snapshot.unwrap(), dir.path());
    assert!(contents(&repo).len() >= 4);
    change(dir.path());
    dir
}

#[test]
fn dies_at_every_change_of_the_storage() {
    let (memory, storage) = fresh();
    let dir = dir_with_parent(&storage);
    let packs_before = memory.list("packs/").unwrap().len();
    let segments_before = memory.list("index/").unwrap().len();
    for n in 1.. {
        assert!(n < 200, "a backup this small ends before");
        let world = fork(&memory);
        let crash = CrashStorage::die_at(world.clone(), n);
        let mut repo = open_as_dead(&(Arc::new(crash.clone()) as Arc<dyn Storage>), 1);
        let result = try_backup(&mut repo, dir.path(), &small_packs());
        if !crash.is_dead() {
            result.unwrap();
            assert!(memory.list("packs/").unwrap().len() == packs_before, "the fork is a fork");
            assert!(world.list("packs/").unwrap().len() >= packs_before + 4);
            assert!(world.list("index/").unwrap().len() >= segments_before + 2);
            assert!(n > 10, "{n} changes");
            break;
        }
        assert!(is_death(&result.unwrap_err()), "change {n}");
        recover(open(&(Arc::new(world) as Arc<dyn Storage>)), dir.path(), &format!("change {n}"));
    }
}

#[test]
fn the_first_backup_of_all_dies_at_every_change() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    settle();
    let (memory, _) = fresh();
    for n in 1..200 {
        let world = fork(&memory);
        let crash = CrashStorage::die_at(world.clone(), n);
        let mut repo = open_as_dead(&(Arc::new(crash.clone()) as Arc<dyn Storage>), 1);
        try_backup(&mut repo, dir.path(), &small_packs()).ok();
        if !crash.is_dead() {
            return;
        }
        recover(open(&(Arc::new(world) as Arc<dyn Storage>)), dir.path(), &format!("change {n}"));
    }
    panic!("a backup this small ends before");
}

#[test]
fn whoever_recovers_may_die_too() {
    let (memory, storage) = fresh();
    let dir = dir_with_parent(&storage);
    for n in 1.. {
        let world = fork(&memory);
        let mut first = open_as_dead(&(Arc::new(CrashStorage::die_at(world.clone(), 5)) as Arc<dyn Storage>), 2);
        try_backup(&mut first, dir.path(), &small_packs()).unwrap_err();
        let crash = CrashStorage::die_at(world.clone(), n);
        let mut second = open_as_dead(&(Arc::new(crash.clone()) as Arc<dyn Storage>), 1);
        let result = try_backup(&mut second, dir.path(), &small_packs());
        if !crash.is_dead() {
            result.unwrap();
            break;
        }
        recover(open(&(Arc::new(world) as Arc<dyn Storage>)), dir.path(), &format!("second death at change {n}"));
    }
}

#[test]
fn a_power_cut_loses_only_what_was_not_durable() {
    let disk = UnsyncedStorage::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    init(&storage);
    let dir = dir_with_parent(&storage);
    let whole = disk.after_power_cut(0);
    let steps = {
        let trial = whole.after_power_cut(0);
        let mut repo = open_as_dead(&(Arc::new(trial.clone()) as Arc<dyn Storage>), 1);
        try_backup(&mut repo, dir.path(), &small_packs()).unwrap();
        trial.steps()
    };
    assert!(steps > 50, "{steps} steps");
    // In strides that do not keep step with the steps of one object.
    for step in (1..steps).step_by(if steps > 150 { 7 } else { 3 }) {
        let world = whole.after_power_cut(0);
        world.lose_power_at(step);
        let mut repo = open_as_dead(&(Arc::new(world.clone()) as Arc<dyn Storage>), 1);
        let result = try_backup(&mut repo, dir.path(), &small_packs());
        assert!(result.is_err() || !world.is_dark(), "step {step}");
        for seed in [step, step + 1000] {
            let found: Arc<dyn Storage> = Arc::new(world.after_power_cut(seed));
            recover(open(&found), dir.path(), &format!("step {step}, seed {seed}"));
        }
    }
}

/// Not a test: what the next one runs as a process of its own.
#[test]
#[ignore = "run by dies_as_a_real_process"]
fn child() {
    let Some(world) = std::env::var_os(WORLD) else { return };
    let world = Path::new(&world);
    let nth = std::env::var(NTH).unwrap().parse().unwrap();
    let storage = CrashStorage::abort_at(LocalStorage::open(&world.join("repo")).unwrap(), nth);
    let mut repo = open(&(Arc::new(storage) as Arc<dyn Storage>));
    repo.act_as(this_process());
    try_backup(&mut repo, &world.join("source"), &small_packs()).unwrap();
}

#[test]
fn dies_as_a_real_process() {
    for nth in [1, 2, 4, 6, 9, 11, 13] {
        let world = tempfile::tempdir().unwrap();
        let (repo_dir, source_dir) = (world.path().join("repo"), world.path().join("source"));
        fs::create_dir(&source_dir).unwrap();
        plant(&source_dir);
        settle();
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(&repo_dir).unwrap());
        init(&storage);
        let mut repo = open(&storage);
        repo.act_as(this_process());
        back_up(&mut repo, &source_dir, &small_packs());
        change(&source_dir);
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(WORLD, world.path())
            .env(NTH, nth.to_string())
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(6), "{}", String::from_utf8_lossy(&output.stdout));
        recover(open(&storage), &source_dir, &format!("aborted at change {nth}"));
    }
}
