//! Whenever a prune dies, every snapshot is whole, a backup works, and the next prune ends what was
//! begun.

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use orlop::id::RecordId;
use orlop::ops::prune::PruneOptions;
use orlop::repo::Repository;
use orlop::storage::Storage;
use orlop::storage::testing::{CrashStorage, FaultStorage, How, UnsyncedStorage, Verb, is_death};
use support::prune::*;
use support::*;

fn plant(dir: &Path) {
    for i in 0..8u64 {
        fs::write(dir.join(format!("f{i}")), noise(30_000 + i as usize * 1000, i)).unwrap();
    }
    settle();
}

/// A repository where a prune has packs to delete, packs to pack again and a snapshot to delete.
fn fill(storage: &Arc<dyn Storage>) -> (tempfile::TempDir, RecordId) {
    let dir = tempfile::tempdir().unwrap();
    let mut repo = open(storage);
    repo.act_as(this_process());
    plant(dir.path());
    let a = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    for i in [0u64, 1, 2, 5] {
        fs::write(dir.path().join(format!("f{i}")), noise(20_000, 50 + i)).unwrap();
    }
    settle();
    let b = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    forget(&mut repo, a);
    (dir, b)
}

fn recover(mut repo: Repository, b: RecordId, dir: &Path, what: &str) {
    repo.act_as(this_process());
    assert_sound(&mut repo);
    assert_same(&repo, b, dir);
    let c = back_up(&mut repo, dir, &small_packs());
    assert_same(&repo, c.snapshot.unwrap(), dir);
    let done = prune_now(&mut repo);
    assert!(done.pending.is_empty(), "{what}: {done:?}");
    assert_sound(&mut repo);
    assert_same(&repo, b, dir);
    assert_same(&repo, c.snapshot.unwrap(), dir);
    assert_nothing_unneeded(&repo);
}

#[test]
fn dies_at_every_change_of_the_storage() {
    let (memory, storage) = fresh();
    let (dir, b) = fill(&storage);
    for n in 1.. {
        assert!(n < 200, "a prune this small ends before");
        let world = fork(&memory);
        let crash = CrashStorage::die_at(world.clone(), n);
        let mut repo = open(&(Arc::new(crash.clone()) as Arc<dyn Storage>));
        repo.act_as(before_reboot(1));
        let result = try_prune(&mut repo, &now());
        if !crash.is_dead() {
            assert!(result.unwrap().deleted_packs > 0);
            assert!(n > 12, "{n} changes");
            break;
        }
        assert!(is_death(&result.unwrap_err()), "change {n}");
        recover(open(&(Arc::new(world) as Arc<dyn Storage>)), b, dir.path(), &format!("change {n}"));
    }
}

#[test]
fn two_runs_that_die_at_every_change() {
    let (memory, storage) = fresh();
    let (dir, b) = fill(&storage);
    let slow = || PruneOptions { now: false, grace: std::time::Duration::ZERO, ..now() };
    for n in 1.. {
        let world = fork(&memory);
        let crash = CrashStorage::die_at(world.clone(), n);
        let mut repo = open(&(Arc::new(crash.clone()) as Arc<dyn Storage>));
        repo.act_as(before_reboot(1));
        let twice = try_prune(&mut repo, &slow()).and_then(|_| try_prune(&mut repo, &slow()));
        if !crash.is_dead() {
            assert!(twice.unwrap().deleted_packs > 0);
            break;
        }
        recover(open(&(Arc::new(world) as Arc<dyn Storage>)), b, dir.path(), &format!("change {n}"));
    }
}

/// Runs that repeat the log in checkpoints and clear away behind them.
#[test]
fn dies_at_every_change_while_the_log_is_repeated() {
    let (memory, storage) = fresh();
    let (dir, b) = fill(&storage);
    let often = || PruneOptions { grace: std::time::Duration::ZERO, checkpoint_after: 1, ..now() };
    for n in 1.. {
        let world = fork(&memory);
        let crash = CrashStorage::die_at(world.clone(), n);
        let mut repo = open(&(Arc::new(crash.clone()) as Arc<dyn Storage>));
        repo.act_as(before_reboot(1));
        let done = (0..3).try_fold(0, |all, _| Ok(all + try_prune(&mut repo, &often())?.deleted_packs));
        if !crash.is_dead() {
            let deleted: orlop::error::Result<u64> = done;
            assert!(deleted.unwrap() > 0);
            assert!(repo.history().unwrap().log.generation() > 3 && world.list("gc/").unwrap().len() < 3);
            break;
        }
        let _: orlop::error::Result<u64> = done;
        let mut next = open(&(Arc::new(world.clone()) as Arc<dyn Storage>));
        next.act_as(this_process());
        prune(&mut next, &often());
        recover(next, b, dir.path(), &format!("change {n}"));
        assert!(world.list("tombstones/").unwrap().len() <= 1, "change {n}");
    }
}

#[test]
fn a_power_cut_loses_nothing() {
    let disk = UnsyncedStorage::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    init(&storage);
    let (dir, b) = fill(&storage);
    let whole = disk.after_power_cut(0);
    let steps = {
        let trial = whole.after_power_cut(0);
        let mut repo = open(&(Arc::new(trial.clone()) as Arc<dyn Storage>));
        repo.act_as(before_reboot(1));
        try_prune(&mut repo, &now()).unwrap();
        trial.steps()
    };
    for step in (1..steps).step_by(5) {
        let world = whole.after_power_cut(0);
        world.lose_power_at(step);
        let mut repo = open(&(Arc::new(world.clone()) as Arc<dyn Storage>));
        repo.act_as(before_reboot(1));
        let _ = try_prune(&mut repo, &now());
        let found: Arc<dyn Storage> = Arc::new(world.after_power_cut(step));
        recover(open(&found), b, dir.path(), &format!("step {step}"));
    }
}

#[test]
fn a_full_disk_can_still_be_pruned() {
    let (memory, storage) = fresh();
    let (dir, b) = fill(&storage);
    let faulty = FaultStorage::new(memory.clone());
    // Nothing as large as a pack can be written: only what is wholly dead goes, and that it does.
    faulty.fail_always(Verb::Publish, How::Full);
    let mut repo = open(&(Arc::new(faulty) as Arc<dyn Storage>));
    repo.act_as(this_process());
    let done = prune(&mut repo, &PruneOptions { max_repack: Some(0), ..now() });
    assert!(done.deleted_packs > 0, "{done:?}");
    assert_sound(&mut repo);
    assert_same(&repo, b, dir.path());
}

/// A storage that locks what it has: deletions are refused, and made good later.
#[test]
fn refused_deletions_are_tried_again() {
    let (memory, storage) = fresh();
    let (dir, b) = fill(&storage);
    let faulty = FaultStorage::new(memory.clone());
    faulty.fail_always(Verb::Delete, How::Denied);
    let mut repo = open(&(Arc::new(faulty.clone()) as Arc<dyn Storage>));
    repo.act_as(this_process());
    let before = memory.list("packs/").unwrap().len();
    let done = prune(&mut repo, &now());
    assert!(done.deleted_packs == 0 && done.refused > 0, "{done:?}");
    assert!(memory.list("packs/").unwrap().len() >= before);
    assert_sound(&mut repo);
    // What is doomed is used by nobody, although it is there.
    let c = back_up(&mut repo, dir.path(), &small_packs());
    assert_same(&repo, c.snapshot.unwrap(), dir.path());
    faulty.relent();
    let done = prune(&mut repo, &now());
    assert!(done.deleted_packs > 0 && done.refused == 0, "{done:?}");
    assert_sound(&mut repo);
    assert_same(&repo, b, dir.path());
    assert_nothing_unneeded(&repo);
}

/// Damage stops deleting, and says so; a pack that is damaged and not needed does not.
#[test]
fn nothing_is_deleted_while_something_needed_cannot_be_read() {
    let (memory, storage) = fresh();
    let (_dir, _) = fill(&storage);
    let mut repo = open(&storage);
    repo.act_as(this_process());
    let snapshot = memory.list("snapshots/").unwrap().pop().unwrap().name;
    for home in [snapshot.as_str().to_owned(), format!("copy/{snapshot}")] {
        let name = orlop::storage::Name::new(home).unwrap();
        memory.plant(&name, b"rubbish");
    }
    let before = memory.list("packs/").unwrap();
    let error = try_prune(&mut repo, &now()).unwrap_err();
    assert!(error.to_string().contains("nothing is deleted"), "{error}");
    assert_eq!(memory.list("packs/").unwrap(), before);
}
