//! Pruning frees what nobody needs, and nothing else, whoever is at work beside it.

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use orlop::format::records::{CloseKind, Purpose};
use orlop::id::RecordId;
use orlop::ops::prune::{PruneOptions, PruneSummary, Unused, Why};
use orlop::repo::Repository;
use orlop::storage::{MemoryStorage, Storage};
use support::dice::Dice;
use support::prune::*;
use support::*;

fn plant(dir: &Path) {
    for i in 0..10u64 {
        fs::write(dir.join(format!("f{i}")), noise(60_000 + i as usize * 1000, i)).unwrap();
    }
    settle();
}

/// Two snapshots that share half of what they hold; gives both.
fn two(repo: &mut Repository, dir: &Path) -> (RecordId, RecordId) {
    plant(dir);
    let a = back_up(repo, dir, &small_packs()).snapshot.unwrap();
    for i in 0..5u64 {
        fs::write(dir.join(format!("f{i}")), noise(50_000, 100 + i)).unwrap();
    }
    settle();
    (a, back_up(repo, dir, &small_packs()).snapshot.unwrap())
}

fn world() -> (MemoryStorage, Repository, tempfile::TempDir, RecordId, RecordId) {
    let (memory, storage) = fresh();
    let mut repo = open(&storage);
    repo.act_as(this_process());
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = two(&mut repo, dir.path());
    (memory, repo, dir, a, b)
}

#[test]
fn what_a_forgotten_snapshot_alone_needed_is_freed_at_once() {
    let (memory, mut repo, dir, a, b) = world();
    let before = stored(&memory);
    forget(&mut repo, a);
    let done = prune_now(&mut repo);
    assert!(done.deleted_bytes > 250_000, "{done:?}");
    assert!(stored(&memory) + 200_000 < before);
    assert!(done.pending.is_empty(), "{done:?}");
    assert_sound(&mut repo);
    assert_same(&repo, b, dir.path());
    assert!(repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap().iter().all(|s| s.id != a));
    assert_nothing_unneeded(&repo);
    // And again: there is nothing left to do, and the log does not grow.
    let records = memory.list("gc/").unwrap().len();
    let again = prune_now(&mut repo);
    assert_eq!((again.deleted_packs, memory.list("gc/").unwrap().len()), (0, records));
    // Backups go on from here.
    let c = back_up(&mut repo, dir.path(), &small_packs());
    assert_eq!(c.stats.data_blobs, 0);
    assert_eq!(c.parent, Some(b));
    assert_sound(&mut repo);
}

#[test]
fn without_now_it_takes_two_runs_and_a_day() {
    let (memory, mut repo, dir, a, b) = world();
    forget(&mut repo, a);
    let packs = memory.list("packs/").unwrap().len();
    let first = prune(&mut repo, &PruneOptions { max_unused: Unused::Bytes(0), ..PruneOptions::default() });
    assert_eq!(first.deleted_packs, 0);
    assert!(first.pending.len() == 1 && first.pending[0].bytes > 250_000, "{first:?}");
    assert_eq!(first.pending[0].why, Why::Grace);
    assert!(first.pending[0].not_before.is_some());
    assert!(memory.list("packs/").unwrap().len() >= packs);
    assert_sound(&mut repo);
    memory.advance(23 * 3600);
    assert_eq!(prune(&mut repo, &PruneOptions::default()).deleted_packs, 0);
    memory.advance(2 * 3600);
    let done = prune(&mut repo, &PruneOptions::default());
    assert!(done.deleted_bytes > 250_000, "{done:?}");
    assert_sound(&mut repo);
    assert_same(&repo, b, dir.path());
}

#[test]
fn a_dry_run_writes_nothing_and_says_the_same() {
    let (memory, mut repo, _dir, a, _) = world();
    forget(&mut repo, a);
    let before = memory.list("").unwrap();
    let said = prune(&mut repo, &PruneOptions { dry_run: true, ..now() });
    assert_eq!(memory.list("").unwrap(), before);
    let done = prune(&mut repo, &now());
    let counts = |s: &PruneSummary| (s.delete_bytes, s.removed_bytes, s.repack_bytes, s.remaining_bytes);
    assert_eq!(counts(&said), counts(&done));
}

#[test]
fn a_running_backup_is_waited_for_and_a_dead_one_is_not() {
    let (_memory, mut repo, _dir, a, _) = world();
    let who = repo.identity(Some("test")).unwrap();
    let session = repo.begin(&who, Purpose::Backup, vec![]).unwrap();
    forget(&mut repo, a);
    let done = prune_now(&mut repo);
    assert_eq!(done.deleted_packs, 0);
    assert!(matches!(&done.pending[0].why, Why::Session { .. }), "{done:?}");
    repo.close(&session, CloseKind::Abort, vec![]).unwrap();
    assert!(prune_now(&mut repo).deleted_packs > 0);

    // Of a process that is dead nobody needs to say anything.
    let storage = repo.storage().clone();
    let mut dead = open(&storage);
    dead.act_as(before_reboot(3));
    let who = dead.identity(Some("test")).unwrap();
    dead.begin(&who, Purpose::Backup, vec![]).unwrap();
    let b = repo.snapshots(&|_, _| {}).unwrap()[0].id;
    forget(&mut repo, b);
    let done = prune_now(&mut repo);
    assert!(done.deleted_packs > 0 && done.pending.is_empty(), "{done:?}");
}

#[test]
fn a_fenced_writer_that_comes_back_is_told() {
    let (memory, mut repo, _dir, a, _) = world();
    let who = repo.identity(Some("test")).unwrap();
    let session = repo.begin(&who, Purpose::Backup, vec![]).unwrap();
    forget(&mut repo, a);
    let done = prune(&mut repo, &PruneOptions { fence: true, ..now() });
    assert!(done.deleted_packs > 0, "{done:?}");
    // Even where all that was left of its session is cleared away.
    assert!(
        memory.list(&format!("sessions/{}/", session.id)).unwrap().is_empty() || {
            prune_now(&mut repo);
            true
        }
    );
    let error = repo.close(&session, CloseKind::End, vec![]).unwrap_err();
    assert_eq!(error.kind(), orlop::error::ErrorKind::Fenced);
}

#[test]
fn kill_9_then_prune_now_frees_what_it_left() {
    let (memory, mut repo, dir, _, b) = world();
    prune_now(&mut repo);
    let before = stored(&memory);
    let storage: Arc<dyn Storage> = Arc::new(orlop::storage::testing::CrashStorage::die_at(memory.clone(), 9));
    let mut dead = open(&storage);
    dead.act_as(before_reboot(5));
    fs::write(dir.path().join("big"), noise(600_000, 77)).unwrap();
    settle();
    try_backup(&mut dead, dir.path(), &small_packs()).unwrap_err();
    fs::remove_file(dir.path().join("big")).unwrap();
    settle();
    assert!(stored(&memory) > before + 100_000);
    let done = prune_now(&mut repo);
    assert!(done.deleted_bytes > 100_000 && done.pending.is_empty(), "{done:?}");
    assert!(stored(&memory) <= before);
    assert_sound(&mut repo);
    assert!(repo.snapshots(&|_, _| {}).unwrap().iter().any(|s| s.id == b));
}

#[test]
fn clocks_that_are_ten_years_off_lose_nothing() {
    const YEARS: i64 = 10 * 365 * 86_400;
    for (first, second) in [(YEARS, -YEARS), (-YEARS, YEARS), (YEARS, -2 * YEARS)] {
        let (memory, mut repo, dir, a, b) = world();
        forget(&mut repo, a);
        memory.advance(first);
        let slow = || PruneOptions { max_unused: Unused::Bytes(0), ..PruneOptions::default() };
        prune(&mut repo, &slow());
        assert_sound(&mut repo);
        memory.advance(second);
        prune(&mut repo, &slow());
        assert_sound(&mut repo);
        let c = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
        prune_now(&mut repo);
        assert_sound(&mut repo);
        assert_same(&repo, b, dir.path());
        assert_same(&repo, c, dir.path());
        assert_nothing_unneeded(&repo);
    }
}

/// Frames hold what is needed and what is not side by side: that must not keep the latter.
#[test]
fn half_of_all_chunks_dropped_at_random_are_freed_to_within_a_tenth() {
    let (memory, storage) = fresh();
    let mut repo = open(&storage);
    repo.act_as(this_process());
    let dir = tempfile::tempdir().unwrap();
    let mut dice = Dice(5);
    let files: Vec<(std::path::PathBuf, usize)> =
        (0..400).map(|i| (dir.path().join(format!("f{i}")), 5_000 + dice.roll(50_000) as usize)).collect();
    files.iter().zip(0..).for_each(|((path, len), i)| fs::write(path, noise(*len, 1000 + i)).unwrap());
    settle();
    let options = || orlop::ops::backup::BackupOptions { pack_target: Some(1 << 20), ..small_packs() };
    let first = back_up(&mut repo, dir.path(), &options()).snapshot.unwrap();
    let mut dropped = 0;
    for (path, len) in &files {
        if dice.roll(2) == 0 {
            fs::remove_file(path).unwrap();
            dropped += *len as u64;
        }
    }
    settle();
    let second = back_up(&mut repo, dir.path(), &options()).snapshot.unwrap();
    forget(&mut repo, first);
    let before = stored(&memory);
    prune(&mut repo, &PruneOptions { pack_target: Some(1 << 20), ..now() });
    let freed = before - stored(&memory);
    assert!(freed * 10 >= dropped * 9, "{freed} of {dropped} bytes");
    assert_sound(&mut repo);
    assert_same(&repo, second, dir.path());
}
