//! Whenever a backup dies, what was there before is whole, the next backup succeeds, and nothing
//! that had become durable is stored again.

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use orlop::repo::Repository;
use orlop::storage::testing::{CrashStorage, UnsyncedStorage, is_death};
use orlop::storage::{LocalStorage, Storage};
use support::alike::{assert_alike, copy};
use support::*;

/// Tell the child process where its repository and its source are, and when it dies.
const REPO: &str = "ORLOP_TEST_CRASH_REPO";
const SOURCE: &str = "ORLOP_TEST_CRASH_SOURCE";
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

/// What is backed up: as it is, and as it was when the parent was made, if there is one.
struct Source {
    now: tempfile::TempDir,
    before: Option<tempfile::TempDir>,
}

impl Source {
    fn new() -> Self {
        let now = tempfile::tempdir().unwrap();
        plant(now.path());
        settle();
        Self { now, before: None }
    }

    fn with_parent(storage: &Arc<dyn Storage>) -> Self {
        let source = Self::new();
        let mut repo = open(storage);
        repo.act_as(this_process());
        let done = back_up(&mut repo, source.path(), &small_packs());
        assert_same(&repo, done.snapshot.unwrap(), source.path());
        assert!(contents(&repo).len() >= 4);
        let before = tempfile::tempdir().unwrap();
        copy(source.path(), before.path());
        change(source.path());
        Self { before: Some(before), ..source }
    }

    fn path(&self) -> &Path {
        self.now.path()
    }

    /// As it was when the snapshot of this number was made: the parent is the first.
    fn at(&self, seq: u64) -> &Path {
        match &self.before {
            Some(before) if seq == 1 => before.path(),
            _ => self.path(),
        }
    }
}

/// What has to hold after any death: `repo` sees what the dead one left.
fn recover(mut repo: Repository, source: &Source, what: &str) {
    println!("{what}"); // Shown with whatever fails here.
    repo.act_as(this_process());
    let before = contents(&repo);
    assert_sound(&mut repo);
    assert_newest_comes_back(&repo, source);
    let done = back_up(&mut repo, source.path(), &small_packs());
    assert_restores(&repo, done.snapshot.unwrap(), source.path());
    let after = assert_sound(&mut repo);
    assert_eq!(after.unindexed_packs, 0, "{what}: leftovers are taken over");
    assert_nothing_twice(&repo);
    assert!(before.keys().all(|pack| contents(&repo).contains_key(pack)));
    let who = repo.identity(Some("test")).unwrap();
    assert!(repo.leftovers(&who).unwrap().is_empty(), "{what}: dead sessions are closed");
}

/// The newest snapshot: the parent, or that of the dead one if it came so far.
fn assert_newest_comes_back(repo: &Repository, source: &Source) {
    let all = repo.snapshots(&|name, e| panic!("{name}: {e}")).unwrap();
    let newest = all.iter().max_by_key(|s| s.statement.seq);
    assert!(newest.is_some() || source.before.is_none(), "the parent is there");
    if let Some(newest) = newest {
        assert_alike(source.at(newest.statement.seq), restored(repo, newest.id, source.path()).path());
    }
}

/// The backup that nobody killed was one that is worth killing.
fn assert_many_objects(before: &dyn Storage, after: &dyn Storage) {
    let more = |prefix: &str| after.list(prefix).unwrap().len() - before.list(prefix).unwrap().len();
    assert!(more("packs/") >= 4 && more("index/") >= 2, "{} packs, {} segments", more("packs/"), more("index/"));
}

/// Opened by one who will be dead to those who come after.
fn open_as_dead(storage: &Arc<dyn Storage>, boot: u8) -> Repository {
    let mut repo = open(storage);
    repo.act_as(before_reboot(boot));
    repo
}

#[test]
fn dies_at_every_change_of_the_storage() {
    let (memory, storage) = fresh();
    let source = Source::with_parent(&storage);
    for n in 1.. {
        assert!(n < 200, "a backup this small ends before");
        let world = fork(&memory);
        let crash = CrashStorage::die_at(world.clone(), n);
        let mut repo = open_as_dead(&(Arc::new(crash.clone()) as Arc<dyn Storage>), 1);
        let result = try_backup(&mut repo, source.path(), &small_packs());
        if !crash.is_dead() {
            result.unwrap();
            assert_many_objects(&memory, &world);
            assert!(n > 10, "{n} changes");
            break;
        }
        assert!(is_death(&result.unwrap_err()), "change {n}");
        recover(open(&(Arc::new(world) as Arc<dyn Storage>)), &source, &format!("change {n}"));
    }
}

#[test]
fn the_first_backup_of_all_dies_at_every_change() {
    let source = Source::new();
    let (memory, _) = fresh();
    for n in 1..200 {
        let world = fork(&memory);
        let crash = CrashStorage::die_at(world.clone(), n);
        let mut repo = open_as_dead(&(Arc::new(crash.clone()) as Arc<dyn Storage>), 1);
        try_backup(&mut repo, source.path(), &small_packs()).ok();
        if !crash.is_dead() {
            return;
        }
        recover(open(&(Arc::new(world) as Arc<dyn Storage>)), &source, &format!("change {n}"));
    }
    panic!("a backup this small ends before");
}

#[test]
fn whoever_recovers_may_die_too() {
    let (memory, storage) = fresh();
    let source = Source::with_parent(&storage);
    for n in 1.. {
        let world = fork(&memory);
        let mut first = open_as_dead(&(Arc::new(CrashStorage::die_at(world.clone(), 5)) as Arc<dyn Storage>), 2);
        try_backup(&mut first, source.path(), &small_packs()).unwrap_err();
        let crash = CrashStorage::die_at(world.clone(), n);
        let mut second = open_as_dead(&(Arc::new(crash.clone()) as Arc<dyn Storage>), 1);
        let result = try_backup(&mut second, source.path(), &small_packs());
        if !crash.is_dead() {
            result.unwrap();
            break;
        }
        recover(open(&(Arc::new(world) as Arc<dyn Storage>)), &source, &format!("second death at change {n}"));
    }
}

#[test]
fn a_power_cut_loses_only_what_was_not_durable() {
    let disk = UnsyncedStorage::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    init(&storage);
    let source = Source::with_parent(&storage);
    let whole = disk.after_power_cut(0);
    let steps = {
        let trial = whole.after_power_cut(0);
        let mut repo = open_as_dead(&(Arc::new(trial.clone()) as Arc<dyn Storage>), 1);
        try_backup(&mut repo, source.path(), &small_packs()).unwrap();
        trial.steps()
    };
    assert!(steps > 50, "{steps} steps");
    for step in 1..steps {
        let world = whole.after_power_cut(0);
        world.lose_power_at(step);
        let mut repo = open_as_dead(&(Arc::new(world.clone()) as Arc<dyn Storage>), 1);
        let result = try_backup(&mut repo, source.path(), &small_packs());
        assert!(result.is_err() || !world.is_dark(), "step {step}");
        for seed in [step, step + 1000] {
            let found: Arc<dyn Storage> = Arc::new(world.after_power_cut(seed));
            recover(open(&found), &source, &format!("step {step}, seed {seed}"));
        }
    }
}

/// Not a test: what the next one runs as a process of its own.
#[test]
#[ignore = "run by dies_as_a_real_process_at_every_change"]
fn child() {
    let Some(repo) = std::env::var_os(REPO) else { return };
    let nth = std::env::var(NTH).unwrap().parse().unwrap();
    let storage = CrashStorage::abort_at(LocalStorage::open(Path::new(&repo)).unwrap(), nth);
    let mut repo = open(&(Arc::new(storage) as Arc<dyn Storage>));
    repo.act_as(this_process());
    let source = std::env::var_os(SOURCE).unwrap();
    try_backup(&mut repo, Path::new(&source), &small_packs()).unwrap();
}

fn run_child(repo: &Path, source: &Path, nth: u64) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(REPO, repo)
        .env(SOURCE, source)
        .env(NTH, nth.to_string())
        .output()
        .unwrap()
}

#[test]
fn dies_as_a_real_process_at_every_change() {
    let world = tempfile::tempdir().unwrap();
    let whole = world.path().join("whole");
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(&whole).unwrap());
    init(&storage);
    let source = Source::with_parent(&storage);
    for nth in 1.. {
        assert!(nth < 200, "a backup this small ends before");
        let place = world.path().join(format!("{nth}"));
        copy(&whole, &place);
        let output = run_child(&place, source.path(), nth);
        let found: Arc<dyn Storage> = Arc::new(LocalStorage::open(&place).unwrap());
        if output.status.success() {
            assert_many_objects(storage.as_ref(), found.as_ref());
            assert!(nth > 10, "{nth} changes");
            break;
        }
        assert_eq!(output.status.signal(), Some(6), "{}", String::from_utf8_lossy(&output.stdout));
        recover(open(&found), &source, &format!("aborted at change {nth}"));
    }
}
