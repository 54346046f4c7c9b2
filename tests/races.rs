//! The races that garbage collection has to survive, each by itself: one process is stopped at a
//! chosen request to the storage, others do what they do, and it goes on. Their numbers are those of
//! the table in `format-spec/81-model.md`.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orlop::collect::Closed;
use orlop::error::{ErrorKind, Result};
use orlop::format::gc::Reason;
use orlop::format::names;
use orlop::id::RecordId;
use orlop::model::Time;
use orlop::ops::backup::{About, BackupOptions, BackupSummary};
use orlop::ops::check::Data;
use orlop::ops::prune::{PruneOptions, PruneSummary};
use orlop::ops::restore::{RestoreOptions, restore};
use orlop::repo::{Remembered, Repository, Validity};
use orlop::storage::testing::{At, CrashStorage, FaultStorage, How, StopStorage, Verb};
use orlop::storage::{Listed, MemoryStorage, Name, Put, Storage, StorageError};
use orlop::sys::Host;
use support::odd::{Odd, OddStorage, failed};
use support::prune::{forget, now, prune, try_prune};
use support::stop::{AsStorage, Meanwhile, stopping, try_stopping};
use support::*;

const DAY: i64 = 86_400;

/// Both runs without waiting for the day between them.
fn slow() -> PruneOptions {
    PruneOptions { now: false, grace: Duration::ZERO, ..now() }
}

fn options(client: &str) -> BackupOptions {
    let paths = vec![format!("/{client}").into_bytes()];
    BackupOptions { about: About { client: Some(client.into()), paths, ..About::default() }, ..small_packs() }
}

fn plant(dir: &Path, seeds: std::ops::Range<u64>) {
    for i in seeds {
        fs::write(dir.join(format!("f{i}")), noise(9_000 + i as usize * 500, i)).unwrap();
    }
}

/// A directory in one that others change, so that no two snapshots of it are the same.
struct Place {
    above: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("source");
        fs::create_dir(&path).unwrap();
        Self { above, path }
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// Change what is above it.
    fn touch(&self) {
        settle();
        fs::create_dir(self.above.path().join("more")).unwrap();
        fs::remove_dir(self.above.path().join("more")).unwrap();
    }
}

/// What three files hold is stored, but only the first of two snapshots needs it: they went, and now
/// they are back.
struct World {
    memory: MemoryStorage,
    dir: Place,
    first: RecordId,
    second: RecordId,
}

impl World {
    fn new() -> Self {
        let (memory, storage) = fresh();
        let dir = Place::new();
        let mut repo = open(&storage);
        repo.act_as(this_process());
        repo.identity(None).unwrap();
        plant(dir.path(), 0..6);
        settle();
        let first = back_up(&mut repo, dir.path(), &options("a")).snapshot.unwrap();
        (0..3).for_each(|i| fs::remove_file(dir.path().join(format!("f{i}"))).unwrap());
        plant(dir.path(), 20..22);
        settle();
        let second = back_up(&mut repo, dir.path(), &options("a")).snapshot.unwrap();
        plant(dir.path(), 0..3);
        plant(dir.path(), 30..31);
        settle();
        Self { memory, dir, first, second }
    }

    /// The same once more, but for what is in the storage.
    fn fork(&self) -> MemoryStorage {
        fork(&self.memory)
    }

    fn forget(&self, id: RecordId) {
        forget(&mut keeper(&self.memory), id);
    }
}

/// A process on a machine of its own: nobody can tell whether it lives.
fn machine(storage: Arc<dyn Storage>, number: u8) -> Repository {
    let mut repo = open(&storage);
    repo.act_as(Host { machine_id: vec![number; 16], ..this_process() });
    repo
}

/// The machine of the one who collects.
fn keeper(storage: &dyn AsStorage) -> Repository {
    let mut repo = open(&storage.as_storage());
    repo.act_as(this_process());
    repo
}

/// Back up as the machine with this number; it speaks as often as it can, or never.
fn run_backup(storage: Arc<dyn Storage>, number: u8, client: &str, dir: &Path, speaks: bool) -> Result<BackupSummary> {
    let mut repo = machine(storage, number);
    if speaks {
        repo.beat_every(Duration::ZERO);
    }
    try_backup(&mut repo, dir, &options(client))
}

fn collect(storage: &dyn AsStorage, options: &PruneOptions) -> PruneSummary {
    prune(&mut keeper(storage), options)
}

/// A snapshot that was reported stands, and everything in the repository is whole; after a prune that
/// gives up whoever is in the way, too.
fn sound(memory: &MemoryStorage, dir: &Path, kept: &[Result<BackupSummary>]) {
    let mut repo = keeper(memory);
    for what in ["at the end", "after a prune"] {
        let (done, ears) = check(&mut repo, Data::All);
        assert_eq!(done.errors, 0, "{what}: {:#?}", ears.problems.lock().unwrap());
        let all = repo.snapshots(&|n, e| panic!("{what}: {n}: {e}")).unwrap();
        for id in kept.iter().map(|k| k.as_ref().unwrap().snapshot.unwrap()) {
            let s = all.iter().find(|s| s.id == id).unwrap_or_else(|| panic!("{what}: {} is gone", id.short()));
            assert_ne!(s.validity, Validity::Late, "{what}");
            assert_same(&repo, id, dir);
        }
        prune(&mut repo, &PruneOptions { fence: true, silence: Duration::ZERO, ..now() });
    }
}

/// Race 1, of a session that knows what was condemned while it ran, and pins it.
#[test]
fn a_backup_pins_what_was_condemned_after_it_had_reused_it() {
    let w = World::new();
    let plan = &mut || {
        w.forget(w.first);
        assert!(!collect(&w.memory, &slow()).pending.is_empty());
    };
    let finish = &mut || {
        collect(&w.memory, &slow());
        assert!(keeper(&w.memory).history().unwrap().log.last_finish() > 0, "nobody is waited for");
    };
    let moments: Vec<Meanwhile<'_>> =
        vec![(At::before(Verb::Publish, "packs/"), plan), (At::before(Verb::PutNew, "snapshots/"), finish)];
    let done = stopping(&w.memory, moments, |s| run_backup(s, 1, "a", w.dir.path(), true));
    sound(&w.memory, w.dir.path(), &[done]);
}

/// Race 1, of a session that began after the plan.
#[test]
fn a_backup_does_not_reuse_what_is_condemned() {
    let w = World::new();
    w.forget(w.first);
    collect(&w.memory, &slow());
    let finish = &mut || assert!(collect(&w.memory, &slow()).deleted_packs > 0);
    let done = stopping(&w.memory, vec![(At::before(Verb::PutNew, "snapshots/"), finish)], |s| {
        run_backup(s, 1, "a", w.dir.path(), false)
    });
    sound(&w.memory, w.dir.path(), &[done]);
}

/// Objects whose names begin like this are not deleted.
struct Locked(&'static str, AtomicBool);
impl Odd for Locked {
    fn delete(&self, from: &MemoryStorage, name: &Name) -> std::result::Result<(), StorageError> {
        if self.1.load(Relaxed) && name.as_str().starts_with(self.0) {
            return Err(failed("delete", name, std::io::ErrorKind::PermissionDenied));
        }
        from.delete(name)
    }
}

/// Race 2. Whether its fence is still there when it wakes or was cleared away, it notices.
#[test]
fn a_backup_that_slept_until_after_the_deletion_begins_anew() {
    for fence_stays in [true, false] {
        let w = World::new();
        let storage = OddStorage(w.memory.clone(), Arc::new(Locked("sessions/", AtomicBool::new(fence_stays))));
        let a_week = &mut || {
            let its_own = keeper(&w.memory).sessions().unwrap().open[0].open.session;
            w.forget(w.first);
            collect(&storage, &slow());
            w.memory.advance(8 * DAY);
            assert!(collect(&storage, &slow()).deleted_packs > 0);
            w.dir.touch();
            let fence = Name::new(names::session_close(its_own)).unwrap();
            assert_eq!(w.memory.head(&fence).unwrap().is_some(), fence_stays);
        };
        let done = stopping(&w.memory, vec![(At::before(Verb::PutNew, "snapshots/"), a_week)], |s| {
            run_backup(s, 1, "a", w.dir.path(), false)
        });
        sound(&w.memory, w.dir.path(), &[done]);
    }
}

/// Takes the first snapshot that is put, and says that it failed.
#[derive(Default)]
struct Hangs(Mutex<Option<(Name, Vec<u8>)>>);
impl Odd for Hangs {
    fn put(&self, to: &MemoryStorage, name: &Name, bytes: &[u8]) -> std::result::Result<Put, StorageError> {
        let mut taken = self.0.lock().unwrap();
        if name.as_str().starts_with("snapshots/") && taken.is_none() {
            *taken = Some((name.clone(), bytes.to_vec()));
            return Err(failed("put", name, std::io::ErrorKind::TimedOut));
        }
        to.put_new(name, bytes)
    }
}

/// Race 3.
#[test]
fn a_snapshot_that_arrives_after_its_session_was_given_up_counts_for_nothing() {
    let w = World::new();
    let storage = OddStorage(w.memory.clone(), Arc::new(Hangs::default()));
    run_backup(Arc::new(storage.clone()), 1, "a", w.dir.path(), false).unwrap_err();
    w.forget(w.first);
    collect(&w.memory, &slow());
    w.memory.advance(8 * DAY);
    assert!(collect(&w.memory, &slow()).deleted_packs > 0);
    let (name, bytes) = storage.1.0.lock().unwrap().take().unwrap();
    w.memory.put_new(&name, &bytes).unwrap();
    let repo = keeper(&w.memory);
    let late = repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap().pop().unwrap();
    assert_eq!(late.validity, Validity::Late);
    // The next one does not build upon it.
    let done = run_backup(Arc::new(w.memory.clone()), 1, "a", w.dir.path(), false).unwrap();
    assert_ne!(done.parent, Some(late.id));
    sound(&w.memory, w.dir.path(), &[Ok(done)]);
}

/// Race 3, of two: what has arrived is chosen as a parent, and its sender is given up before whoever chose it
/// has said so.
#[test]
fn nobody_relies_on_a_snapshot_whose_session_may_still_be_given_up() {
    let w = World::new();
    let plan = &mut || {
        w.forget(w.first);
        assert!(!collect(&w.memory, &slow()).pending.is_empty());
    };
    let mut second = None;
    let before_its_close = &mut || {
        let finish = &mut || {
            w.memory.advance(8 * DAY);
            assert!(collect(&w.memory, &slow()).deleted_packs > 0);
        };
        second = Some(stopping(&w.memory, vec![(At::before(Verb::PutNew, "sessions/"), finish)], |s| {
            run_backup(s, 2, "a", w.dir.path(), false)
        }));
    };
    let moments: Vec<Meanwhile<'_>> =
        vec![(At::before(Verb::PutNew, "snapshots/"), plan), (At::before(Verb::PutNew, "sessions/"), before_its_close)];
    let first = stopping(&w.memory, moments, |s| run_backup(s, 1, "a", w.dir.path(), false));
    let second = second.unwrap();
    assert_eq!(second.as_ref().unwrap().parent, Some(w.second));
    sound(&w.memory, w.dir.path(), &[second, first]);
}

/// Waits before it writes such a record until it is told to go on, and leaves a session's objects for later.
struct Waits {
    record: &'static str,
    session: Option<String>,
    waits: SyncSender<()>,
    goes_on: Mutex<Receiver<()>>,
}
impl Waits {
    /// With what tells that it waits, and what lets it go on.
    fn before(record: &'static str, session: Option<String>) -> (Self, Receiver<()>, SyncSender<()>) {
        let ((waits, it_waits), (go_on, goes_on)) = (sync_channel(0), sync_channel(1));
        (Self { record, session, waits, goes_on: Mutex::new(goes_on) }, it_waits, go_on)
    }
}
impl Odd for Waits {
    fn put(&self, to: &MemoryStorage, name: &Name, bytes: &[u8]) -> std::result::Result<Put, StorageError> {
        if name.as_str().starts_with(self.record) {
            self.waits.send(()).unwrap();
            self.goes_on.lock().unwrap().recv().unwrap();
        }
        to.put_new(name, bytes)
    }
    fn delete(&self, from: &MemoryStorage, name: &Name) -> std::result::Result<(), StorageError> {
        match self.session.as_ref().is_some_and(|session| name.as_str().starts_with(session)) {
            true => Err(failed("delete", name, std::io::ErrorKind::PermissionDenied)),
            false => from.delete(name),
        }
    }
}

/// Race 3, the other way round: the session is listed, cleared away, and closed by its sleeper before its
/// close is read. Whether the record that buries it is listed before, or written later; or forgotten again,
/// since a checkpoint took its place.
#[test]
fn nobody_is_deceived_by_the_close_of_a_sleeper_whose_session_was_cleared_away() {
    for (record_is_listed, forgotten) in [(true, false), (false, false), (false, true)] {
        let w = World::new();
        let mut before = None;
        let keep = &mut || before = Some(w.fork());
        let slept = stopping(&w.memory, vec![(At::before(Verb::PutNew, "snapshots/"), keep)], |s| {
            run_backup(s, 1, "a", w.dir.path(), false)
        });
        let (slept, memory) = (slept.unwrap(), before.unwrap());
        let missing = |prefix: &str| {
            let there = memory.list(prefix).unwrap();
            w.memory.list(prefix).unwrap().into_iter().map(|l| l.name).find(|n| there.iter().all(|l| l.name != *n))
        };
        let (snapshot, close) = (missing("snapshots/").unwrap(), missing("sessions/").unwrap());
        let bytes = |name: &Name| w.memory.get(name, 1 << 20).unwrap();
        let session = close.as_str().strip_suffix("close").unwrap().to_owned();
        forget(&mut keeper(&memory), w.first);
        collect(&memory, &slow());
        memory.advance(8 * DAY);

        let (waits, it_waits, go_on) = Waits::before("gc/", Some(session));
        let collector = OddStorage(memory.clone(), Arc::new(waits));
        let mut finish = Some(std::thread::spawn(move || collect(&collector, &slow())));
        it_waits.recv().unwrap();
        memory.put_new(&snapshot, &bytes(&snapshot)).unwrap();
        let mut write_record = || {
            go_on.send(()).unwrap();
            assert!(finish.take().unwrap().join().unwrap().deleted_packs > 0);
        };
        let clear_away = |memory: &MemoryStorage| {
            collect(memory, &PruneOptions { checkpoint_after: if forgotten { 1 } else { u64::MAX }, ..slow() });
            assert_eq!(memory.put_new(&close, &bytes(&close)).unwrap(), Put::Created);
            assert_eq!(memory.list("state/").unwrap().is_empty(), !forgotten);
        };
        let read: &'static str = Box::leak(close.to_string().into_boxed_str());
        let clear_first = &mut || clear_away(&memory);
        let mut moments: Vec<Meanwhile<'_>> = vec![(At::before(Verb::Get, read), clear_first)];
        if record_is_listed {
            write_record();
            // Who only reads is not deceived either.
            let other = fork(&memory);
            let clear_other = &mut || clear_away(&other);
            let all = stopping(&other, vec![(At::before(Verb::Get, read), clear_other)], |s| {
                machine(s, 3).snapshots(&|n, e| panic!("{n}: {e}")).unwrap()
            });
            let late = all.iter().find(|s| Some(s.id) == slept.snapshot).unwrap();
            assert_eq!((late.validity, late.closed), (Validity::Late, Some(Closed::Naming)));
        } else {
            moments.insert(0, (At::before(Verb::Get, "gc/"), &mut write_record));
        }
        let done = stopping(&memory, moments, |s| run_backup(s, 2, "a", w.dir.path(), false));
        assert_ne!(done.as_ref().unwrap().parent, slept.snapshot);
        sound(&memory, w.dir.path(), &[done]);
    }
}

/// R2: what a plan went by counts, also where it was taken back since, by somebody who looked before.
#[test]
fn nobody_relies_on_what_was_brought_back_too_late() {
    let w = World::new();
    w.forget(w.second);
    let (waits, it_waits, bring_back) = Waits::before("tombstones/", None);
    let storage = OddStorage(w.memory.clone(), Arc::new(waits));
    let second = w.second;
    let undelete = std::thread::spawn(move || {
        let mut repo = keeper(&storage);
        let standing = repo.standing(&|n, e| panic!("{n}: {e}")).unwrap();
        let (s, told) = standing.forgotten.iter().find(|(s, _)| s.id == second).unwrap();
        let who = repo.identity(None).unwrap();
        repo.undelete(&who, s, told).map_err(|e| e.kind())
    });
    it_waits.recv().unwrap();
    collect(&w.memory, &slow());
    w.memory.advance(8 * DAY);
    let (waits, it_waits, write_record) = Waits::before("gc/", None);
    let storage = OddStorage(w.memory.clone(), Arc::new(waits));
    let finish = std::thread::spawn(move || collect(&storage, &slow()));
    it_waits.recv().unwrap();
    bring_back.send(()).unwrap();
    assert_eq!(undelete.join().unwrap(), Err(ErrorKind::Missing));

    w.dir.touch();
    let done = run_backup(Arc::new(w.memory.clone()), 2, "a", w.dir.path(), false);
    assert_ne!(done.as_ref().unwrap().parent, Some(w.second));
    write_record.send(()).unwrap();
    assert!(finish.join().unwrap().deleted_packs > 0);
    sound(&w.memory, w.dir.path(), &[done]);
}

/// Shows its listings what it does not give out yet.
struct ShowsEarly(&'static str);
impl Odd for ShowsEarly {
    fn sees(&self, name: &Name) -> bool {
        !(name.as_str().starts_with("sessions/") && name.as_str().ends_with(self.0))
    }
    fn list(&self, from: &MemoryStorage, prefix: &str) -> std::result::Result<Vec<Listed>, StorageError> {
        from.list(prefix)
    }
}

/// I14: a heartbeat may say what is used, and whoever cannot read it decides nothing.
#[test]
fn a_session_whose_last_words_cannot_be_read_stops_a_collector() {
    for (hidden, stops) in [("00000001", true), ("00000000", false)] {
        let w = World::new();
        w.forget(w.first);
        let mut repo = machine(Arc::new(w.memory.clone()), 1);
        let who = repo.identity(None).unwrap();
        let session = repo.begin(&who, orlop::format::records::Purpose::Backup, vec![]).unwrap();
        repo.beat(&session, vec![], 0).unwrap();
        let odd = OddStorage(w.memory.clone(), Arc::new(ShowsEarly(hidden)));
        let pruned = try_prune(&mut keeper(&odd), &slow()).map_err(|e| e.kind());
        // Without its first object it was cleared away since it was listed.
        assert_eq!(pruned.is_err_and(|kind| kind == ErrorKind::Storage), stops, "{hidden}");
    }
}

/// I6: who waits for a plan waits from when it could be read, however long it took to make.
#[test]
fn a_plan_is_no_older_than_its_record() {
    let w = World::new();
    w.forget(w.first);
    let slowly = &mut || w.memory.advance(3 * DAY);
    let options = PruneOptions { grace: Duration::from_secs(86_400), ..slow() };
    stopping(&w.memory, vec![(At::before(Verb::Publish, "packs/"), slowly)], |s| prune(&mut keeper(&s), &options));
    let waiting = collect(&w.memory, &options);
    assert_eq!((waiting.deleted_packs, waiting.pending.len()), (0, 1), "{waiting:?}");
    w.memory.advance(DAY + 60);
    assert!(collect(&w.memory, &options).deleted_packs > 0);
}

/// Race 4, at the plan and at the finish.
#[test]
fn of_two_collectors_one_wins_and_the_other_begins_anew() {
    for nth in 1..=2 {
        let w = World::new();
        w.forget(w.first);
        let other = &mut || drop(collect(&w.memory, &now()));
        stopping(&w.memory, vec![(At::before(Verb::PutNew, "gc/").nth(nth), other)], |s| {
            let mut repo = open(&s);
            repo.act_as(before_reboot(2));
            prune(&mut repo, &now())
        });
        let mut repo = keeper(&w.memory);
        let again = prune(&mut repo, &now());
        assert_eq!(again.pending, []);
        let records = w.memory.list("gc/").unwrap().len() as u64;
        assert_eq!(repo.history().unwrap().log.generation(), records, "a chain without gaps");
        support::prune::assert_nothing_unneeded(&repo);
        assert_nothing_twice(&repo);
        let done = run_backup(Arc::new(w.memory.clone()), 1, "a", w.dir.path(), false);
        sound(&w.memory, w.dir.path(), &[done]);
    }
}

/// Race 4, wherever one reads a pack: the other one has deleted it meanwhile, which is no damage.
#[test]
fn a_pack_that_another_collector_deletes_meanwhile_is_no_damage() {
    let w = World::new();
    w.forget(w.first);
    for nth in 1.. {
        let memory = w.fork();
        let other = &mut || assert!(collect(&memory, &now()).deleted_packs > 0);
        let (_, reached) = try_stopping(&memory, vec![(At::before(Verb::GetRange, "packs/").nth(nth), other)], |s| {
            let mut repo = open(&s);
            repo.act_as(before_reboot(2));
            prune(&mut repo, &slow())
        });
        if !reached {
            assert!(nth > 4, "{nth} parts of packs are read");
            return;
        }
        assert_sound(&mut keeper(&memory));
    }
}

/// Lists segments backwards, so that of two copies of a blob the other one comes first.
struct Backwards;
impl Odd for Backwards {
    fn list(&self, from: &MemoryStorage, prefix: &str) -> std::result::Result<Vec<Listed>, StorageError> {
        let mut listed = from.list(prefix)?;
        if prefix == "index/" {
            listed.reverse();
        }
        Ok(listed)
    }
}

/// Race 5: two backups stored the same at the same time, and each of two collectors would keep the
/// copy that the other one gives up. `nth` is where in the second half of their work they meet again.
#[test]
fn two_collectors_do_not_give_up_both_copies() {
    for nth in 1..=2 {
        let w = World::new();
        let fresh_dir = tempfile::tempdir().unwrap();
        plant(fresh_dir.path(), 40..44);
        settle();
        let dir = fresh_dir.path();
        let mut twin = None;
        let other = &mut || twin = Some(run_backup(Arc::new(w.memory.clone()), 2, "c", dir, false));
        let one = stopping(&w.memory, vec![(At::before(Verb::Publish, "packs/"), other)], |s| {
            run_backup(s, 1, "b", dir, false)
        });
        let ids: Vec<_> = contents(&keeper(&w.memory)).into_values().flatten().collect();
        assert!(ids.iter().collect::<BTreeSet<_>>().len() < ids.len(), "something is there twice");
        let backwards = OddStorage(w.memory.clone(), Arc::new(Backwards));
        let collector = &mut || drop(collect(&w.memory, &slow()));
        stopping(&backwards, vec![(At::before(Verb::PutNew, "gc/"), collector)], |s| {
            let mut repo = open(&s);
            repo.act_as(before_reboot(2));
            prune(&mut repo, &slow())
        });
        let other = &mut || drop(collect(&w.memory, &slow()));
        try_stopping(&backwards, vec![(At::before(Verb::PutNew, "gc/").nth(nth), other)], |s| {
            let mut repo = open(&s);
            repo.act_as(before_reboot(3));
            prune(&mut repo, &slow())
        });
        sound(&w.memory, dir, &[one, twin.unwrap()]);
        assert_nothing_twice(&keeper(&w.memory));
    }
}

/// Race 6, while a backup waits that reuses what is being deleted.
#[test]
fn a_collector_dies_at_every_change_beside_a_backup() {
    let w = World::new();
    w.forget(w.first);
    for n in 1.. {
        let memory = w.fork();
        let mut over = false;
        let dies = &mut || {
            let crash = CrashStorage::die_at(memory.clone(), n);
            let mut repo = open(&(Arc::new(crash.clone()) as Arc<dyn Storage>));
            repo.act_as(before_reboot(2));
            let fences = PruneOptions { fence: true, ..slow() };
            let twice = try_prune(&mut repo, &fences).and_then(|_| try_prune(&mut repo, &fences));
            over = twice.is_ok() && !crash.is_dead();
            w.dir.touch();
        };
        let done = stopping(&memory, vec![(At::before(Verb::PutNew, "snapshots/"), dies)], |s| {
            run_backup(s, 1, "a", w.dir.path(), true)
        });
        sound(&memory, w.dir.path(), &[done]);
        if over {
            assert!(n > 12, "{n} changes");
            return;
        }
    }
}

/// Race 7: what it left is nobody's until its session is given up, and then it goes.
#[test]
fn a_backup_dies_at_every_change_before_a_collection() {
    let w = World::new();
    w.forget(w.first);
    for n in 1.. {
        let memory = w.fork();
        let crash = CrashStorage::die_at(memory.clone(), n);
        let done = run_backup(Arc::new(crash.clone()), 1, "a", w.dir.path(), true);
        collect(&memory, &now());
        sound(&memory, w.dir.path(), &[]);
        support::prune::assert_nothing_unneeded(&keeper(&memory));
        let again = run_backup(Arc::new(memory.clone()), 1, "a", w.dir.path(), false);
        sound(&memory, w.dir.path(), &[again]);
        if !crash.is_dead() {
            done.unwrap();
            return;
        }
    }
}

/// Leaves an object out of listings.
struct Omits(String);
impl Odd for Omits {
    fn list(&self, from: &MemoryStorage, prefix: &str) -> std::result::Result<Vec<Listed>, StorageError> {
        let mut listed = from.list(prefix)?;
        listed.retain(|l| !l.name.as_str().ends_with(&self.0));
        Ok(listed)
    }
}

/// Race 8: whatever a listing leaves out, nothing that is needed is deleted by it.
#[test]
fn a_listing_leaves_something_out() {
    let w = World::new();
    w.forget(w.first);
    let mut refused = BTreeSet::new();
    for l in w.memory.list("").unwrap() {
        let name = l.name.as_str();
        let memory = w.fork();
        let odd = OddStorage(memory.clone(), Arc::new(Omits(name.to_owned())));
        let opened = orlop::repo::open(Arc::new(odd), &orlop::format::keys::Credential::Nothing, None);
        let pruned = opened.and_then(|mut repo| {
            repo.act_as(this_process());
            try_prune(&mut repo, &now())
        });
        if pruned.is_err() {
            refused.insert(name.split('/').next().unwrap().to_owned());
        }
        let done = run_backup(Arc::new(memory.clone()), 1, "a", w.dir.path(), false);
        sound(&memory, w.dir.path(), &[done]);
        let all = keeper(&memory).snapshots(&|n, e| panic!("{name}: {n}: {e}")).unwrap();
        let second = all.iter().find(|s| s.id == w.second).expect(name);
        assert_ne!(second.validity, Validity::Late, "{name}");
    }
    assert!(refused.contains("snapshots") && refused.contains("packs"), "{refused:?}");
}

/// Race 8, of a session: the plan knew it, so the finish misses it.
#[test]
fn a_listing_leaves_a_session_out() {
    let w = World::new();
    let deletes = &mut || {
        w.forget(w.first);
        collect(&w.memory, &slow());
        let open = keeper(&w.memory).sessions().unwrap().open;
        assert_eq!(open.len(), 1);
        let name = names::session(open[0].open.session, 0);
        let odd = OddStorage(w.memory.clone(), Arc::new(Omits(name)));
        let mut repo = keeper(&odd);
        let before = w.memory.list("packs/").unwrap();
        let error = try_prune(&mut repo, &slow()).unwrap_err();
        assert!(error.to_string().contains("does not list sessions"), "{error}");
        assert_eq!(w.memory.list("packs/").unwrap(), before);
    };
    let done = stopping(&w.memory, vec![(At::before(Verb::PutNew, "snapshots/"), deletes)], |s| {
        run_backup(s, 1, "a", w.dir.path(), false)
    });
    sound(&w.memory, w.dir.path(), &[done]);
}

/// One listing takes long: half of it is as things were when it began.
struct Torn<F> {
    nth: AtomicU64,
    old_first: bool,
    meanwhile: F,
}
impl<F: Fn() + Send + Sync + 'static> Odd for Torn<F> {
    fn list(&self, from: &MemoryStorage, prefix: &str) -> std::result::Result<Vec<Listed>, StorageError> {
        let before = from.list(prefix)?;
        if self.nth.fetch_sub(1, Relaxed) != 1 {
            return Ok(before);
        }
        (self.meanwhile)();
        let after = from.list(prefix)?;
        let all: BTreeSet<&Name> = before.iter().chain(&after).map(|l| &l.name).collect();
        let Some(middle) = all.into_iter().nth(before.len().max(after.len()) / 2).cloned() else { return Ok(after) };
        let (low, high) = if self.old_first { (&before, &after) } else { (&after, &before) };
        let low = low.iter().filter(|l| l.name < middle);
        Ok(low.chain(high.iter().filter(|l| l.name >= middle)).cloned().collect())
    }
}

/// Race 9, with the collector's listings and with the backup's.
#[test]
fn a_listing_takes_long_while_others_write_and_delete() {
    let w = World::new();
    w.forget(w.first);
    for (nth, old_first) in (1u64..).flat_map(|n| [(n, false), (n, true)]) {
        let memory = w.fork();
        let (inner, dir) = (memory.clone(), w.dir.path().to_owned());
        let done = Arc::new(Mutex::new(None));
        let told = done.clone();
        let meanwhile = move || {
            *told.lock().unwrap() = Some(run_backup(Arc::new(inner.clone()), 1, "a", &dir, false));
        };
        let odd = OddStorage(memory.clone(), Arc::new(Torn { nth: AtomicU64::new(nth), old_first, meanwhile }));
        let mut repo = keeper(&odd);
        let fences = PruneOptions { fence: true, ..slow() };
        try_prune(&mut repo, &fences).and_then(|_| try_prune(&mut repo, &fences)).unwrap();
        let Some(done) = done.lock().unwrap().take() else { break };
        sound(&memory, w.dir.path(), &[done]);
    }
    for (nth, old_first) in (1u64..).flat_map(|n| [(n, false), (n, true)]) {
        let memory = w.fork();
        let (inner, pruned) = (memory.clone(), Arc::new(AtomicBool::new(false)));
        let told = pruned.clone();
        let meanwhile = move || {
            let fences = PruneOptions { fence: true, ..now() };
            collect(&inner, &fences);
            told.store(true, Relaxed);
        };
        let odd = OddStorage(memory.clone(), Arc::new(Torn { nth: AtomicU64::new(nth), old_first, meanwhile }));
        let done = run_backup(Arc::new(odd), 1, "a", w.dir.path(), false);
        if !pruned.load(Relaxed) {
            break;
        }
        sound(&memory, w.dir.path(), &[done]);
    }
}

/// Every request to make something is sent twice, and the second answer is the one that arrives.
struct Twice;
impl Odd for Twice {
    fn put(&self, to: &MemoryStorage, name: &Name, bytes: &[u8]) -> std::result::Result<Put, StorageError> {
        to.put_new(name, bytes)?;
        to.put_new(name, bytes)
    }
}

/// Race 10.
#[test]
fn whoever_is_told_that_its_own_object_exists_goes_on() {
    let w = World::new();
    let odd = OddStorage(w.memory.clone(), Arc::new(Twice));
    let done = run_backup(Arc::new(odd.clone()), 1, "a", w.dir.path(), true).unwrap();
    let mut repo = keeper(&odd);
    forget(&mut repo, w.first);
    assert!(prune(&mut repo, &now()).deleted_packs > 0);
    let all = repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
    assert_eq!(all.iter().map(|s| s.id).collect::<Vec<_>>(), [w.second, done.snapshot.unwrap()], "once each");
    sound(&w.memory, w.dir.path(), &[Ok(done)]);
}

/// Race 12, before the session says what it relies on: it relies on nothing then. What the parent
/// needs is doomed when the session begins, and goes while it is at work.
#[test]
fn the_parent_goes_before_it_is_relied_on() {
    let w = World::new();
    let collector = StopStorage::new(w.memory.clone());
    let mut at_work = None;
    let dooms = |at_work: &mut Option<std::thread::JoinHandle<PruneSummary>>| {
        w.forget(w.first);
        w.forget(w.second);
        collector.stop(At::before(Verb::Delete, "index/"));
        let storage = collector.clone();
        *at_work = Some(std::thread::spawn(move || collect(&storage, &now())));
        assert!(collector.wait());
    };
    let mut both = |n: usize| match n {
        0 => dooms(&mut at_work),
        _ => {
            collector.go_on();
            assert!(at_work.take().unwrap().join().unwrap().deleted_packs > 0);
        }
    };
    let calls = std::cell::RefCell::new(&mut both);
    let (first, second) = (&mut || calls.borrow_mut()(0), &mut || calls.borrow_mut()(1));
    let moments: Vec<Meanwhile<'_>> =
        vec![(At::before(Verb::PutNew, "sessions/"), first), (At::before(Verb::PutNew, "snapshots/"), second)];
    let done = stopping(&w.memory, moments, |s| run_backup(s, 1, "a", w.dir.path(), false));
    sound(&w.memory, w.dir.path(), &[done]);
}

/// Race 12, after that: what is relied on stays, though nobody names what is in it.
#[test]
fn the_parent_stays_while_its_child_is_made() {
    let w = World::new();
    let plan = &mut || {
        w.forget(w.first);
        w.forget(w.second);
        collect(&w.memory, &slow());
    };
    let finish = &mut || {
        collect(&w.memory, &slow());
        assert!(keeper(&w.memory).history().unwrap().log.last_finish() > 0, "nobody is waited for");
    };
    let moments: Vec<Meanwhile<'_>> =
        vec![(At::before(Verb::Publish, "packs/"), plan), (At::before(Verb::PutNew, "snapshots/"), finish)];
    let done = stopping(&w.memory, moments, |s| run_backup(s, 1, "a", w.dir.path(), true));
    assert_eq!(done.as_ref().unwrap().parent, Some(w.second));
    sound(&w.memory, w.dir.path(), &[done]);
}

fn undelete(storage: Arc<dyn Storage>, id: RecordId) -> Result<()> {
    let mut repo = machine(storage, 5);
    let who = repo.identity(None)?;
    let all = repo.snapshots(&|n, e| panic!("{n}: {e}"))?;
    let Some(s) = all.iter().find(|s| s.id == id) else {
        return Err(orlop::error::Error::new(ErrorKind::Missing, "it is gone"));
    };
    let tombstones = repo.tombstones(&|n, e| panic!("{n}: {e}"))?;
    repo.undelete(&who, s, tombstones.at(s.statement.client, s.statement.seq))
}

/// Race 13: it is whole, or whoever wants it back is told that it is too late. `moment` is when it is
/// asked for: before any prune, after a plan, after the deletion, and in the middle of asking.
#[test]
fn what_was_forgotten_comes_back_whole_or_not_at_all() {
    let w = World::new();
    let decide = |memory: &MemoryStorage, not_before: i64| {
        let mut repo = keeper(memory);
        let who = repo.identity(None).unwrap();
        let all = repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
        let s = all.iter().find(|s| s.id == w.first).unwrap();
        repo.forget(&who, s, Reason::Forget, Time { sec: not_before, nsec: 0 }).unwrap();
    };
    for moment in 0..5 {
        let memory = w.fork();
        decide(&memory, if moment == 0 { memory.clock().unwrap() + 7 * DAY } else { 0 });
        let back = match moment {
            0 => {
                collect(&memory, &slow());
                undelete(Arc::new(memory.clone()), w.first)
            }
            1 => {
                collect(&memory, &slow());
                undelete(Arc::new(memory.clone()), w.first)
            }
            2 => {
                collect(&memory, &now());
                undelete(Arc::new(memory.clone()), w.first)
            }
            _ => {
                let at = At::before(Verb::PutNew, "tombstones/");
                let options = if moment == 3 { slow() } else { now() };
                let plan = &mut || drop(collect(&memory, &options));
                stopping(&memory, vec![(at, plan)], |s| undelete(s, w.first))
            }
        };
        assert_eq!(back.is_ok(), moment == 0, "{moment}: {back:?}");
        memory.advance(30 * DAY);
        collect(&memory, &slow());
        collect(&memory, &slow());
        sound(&memory, w.dir.path(), &[]);
        let repo = keeper(&memory);
        let stands = repo.standing(&|n, e| panic!("{n}: {e}")).unwrap().snapshots.iter().any(|s| s.id == w.first);
        assert!(stands || back.is_err(), "{moment}: it was said to be back");
    }
}

fn restore_second(storage: Arc<dyn Storage>, w: &World) {
    let repo = machine(storage, 6);
    let snapshot = repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap().into_iter().find(|s| s.id == w.second).unwrap();
    let out = tempfile::tempdir().unwrap();
    let options = RestoreOptions { threads: 1, ..RestoreOptions::default() };
    let (done, ears) = listening(|cx| restore(&repo, &snapshot, None, out.path(), &options, cx));
    assert_eq!(*ears.problems.lock().unwrap(), Vec::<String>::new());
    assert_eq!(done.unwrap().problems, 0);
    let below = out.path().join(w.dir.path().strip_prefix("/").unwrap());
    for i in [3, 4, 5, 20, 21] {
        let name = format!("f{i}");
        assert_eq!(fs::read(below.join(&name)).unwrap(), noise(9_000 + i as usize * 500, i), "{name}");
    }
}

/// Race 14, at every read of a pack.
#[test]
fn a_restore_reads_what_is_packed_again() {
    let w = World::new();
    w.forget(w.first);
    for n in 1.. {
        let memory = w.fork();
        let packs = || memory.list("packs/").unwrap();
        let before = packs();
        let deletes = &mut || {
            assert!(collect(&memory, &now()).deleted_packs > 0);
            assert!(before.iter().any(|l| !packs().contains(l)));
        };
        let at = At::before(Verb::GetRange, "packs/").nth(n);
        let ((), reached) = try_stopping(&memory, vec![(at, deletes)], |s| restore_second(s, &w));
        if !reached {
            assert!(n > 3, "{n} reads");
            return;
        }
    }
}

/// Race 15: at every listing and reading of segments, of a backup, a restore and a check.
#[test]
fn segments_are_merged_while_others_load_them() {
    let w = World::new();
    w.forget(w.first);
    for who in ["backup", "restore", "check"] {
        let moments = [At::after(Verb::List, "index/"), At::before(Verb::Get, "index/")];
        for (n, at) in (1u64..).flat_map(|n| moments.map(|at| (n, at.nth(n)))) {
            let memory = w.fork();
            let merges = &mut || {
                let before = memory.list("index/").unwrap();
                collect(&memory, &PruneOptions { fence: true, ..now() });
                let after = memory.list("index/").unwrap();
                assert!(before.iter().any(|l| !after.contains(l)), "some go");
            };
            let (done, reached) = try_stopping(&memory, vec![(at, merges)], |s| match who {
                "backup" => Some(run_backup(s, 1, "a", w.dir.path(), false)),
                "restore" => {
                    restore_second(s, &w);
                    None
                }
                _ => {
                    assert_sound(&mut machine(s, 7));
                    None
                }
            });
            let done: Vec<_> = done.into_iter().collect();
            sound(&memory, w.dir.path(), &done);
            if !reached && n > 3 {
                break;
            }
        }
    }
}

/// Race 16.
#[test]
fn packs_that_no_segment_knows_stay_until_their_session_is_given_up() {
    let w = World::new();
    collect(&w.memory, &now());
    let before = w.memory.list("packs/").unwrap();
    fs::write(w.dir.path().join("big"), noise(300_000, 77)).unwrap();
    settle();
    let mut seen = 0;
    for n in 2..8 {
        let memory = w.fork();
        let crash = CrashStorage::die_at(memory.clone(), n);
        run_backup(Arc::new(crash), 1, "a", w.dir.path(), false).unwrap_err();
        let index = keeper(&memory).load_index(&|n, e| panic!("{n}: {e}")).unwrap();
        let left = memory.list("packs/").unwrap();
        let unknown = left.iter().filter(|l| {
            let (id, _) = names::parse_pack(l.name.as_str()).unwrap();
            index.numbers_of(&id).is_empty()
        });
        seen += unknown.count();
        collect(&memory, &now());
        assert!(left.iter().all(|l| memory.head(&l.name).unwrap().is_some()), "somebody may be at work: {n}");
        let gone = collect(&memory, &PruneOptions { fence: true, ..now() });
        assert_eq!(gone.deleted_packs as usize, left.len() - before.len(), "{n}");
        sound(&memory, w.dir.path(), &[]);
    }
    assert!(seen > 0, "some packs were in no segment");
}

/// Race 17.
#[test]
fn one_client_on_two_machines_has_one_chain() {
    let w = World::new();
    let mut other = None;
    let same = &mut || other = Some(run_backup(Arc::new(w.memory.clone()), 2, "a", w.dir.path(), false));
    let done = stopping(&w.memory, vec![(At::before(Verb::PutNew, "snapshots/"), same)], |s| {
        run_backup(s, 1, "a", w.dir.path(), false)
    });
    let repo = keeper(&w.memory);
    let all = repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
    assert_eq!(all.iter().map(|s| s.statement.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    sound(&w.memory, w.dir.path(), &[done, other.unwrap()]);
}

/// Race 18.
#[test]
fn what_is_locked_for_ninety_days_goes_after_ninety_days() {
    let w = World::new();
    w.forget(w.first);
    let faulty = FaultStorage::new(w.memory.clone());
    faulty.fail_always(Verb::Delete, How::Denied);
    let mut done = vec![];
    for _ in 0..3 {
        assert!(prune(&mut keeper(&faulty), &now()).refused > 0);
        done = vec![run_backup(Arc::new(faulty.clone()), 1, "a", w.dir.path(), false)];
        w.memory.advance(30 * DAY);
        let (told, ears) = check(&mut keeper(&faulty), Data::All);
        assert_eq!(told.errors, 0, "{:?}", ears.problems.lock().unwrap());
    }
    faulty.relent();
    let gone = prune(&mut keeper(&faulty), &now());
    assert!(gone.deleted_packs > 0 && gone.refused == 0, "{gone:?}");
    sound(&w.memory, w.dir.path(), &done);
    support::prune::assert_nothing_unneeded(&keeper(&w.memory));
}

/// Race 19.
#[test]
fn who_cannot_delete_can_back_up_and_the_collector_clears_up() {
    let w = World::new();
    let odd = OddStorage(w.memory.clone(), Arc::new(Locked("", AtomicBool::new(true))));
    // One that died, one that adopts what it left, and another one.
    let crash = CrashStorage::die_at(odd.clone(), 4);
    let mut dead = open(&(Arc::new(crash) as Arc<dyn Storage>));
    dead.act_as(before_reboot(4));
    try_backup(&mut dead, w.dir.path(), &options("a")).unwrap_err();
    let mut repo = keeper(&odd);
    back_up(&mut repo, w.dir.path(), &options("a"));
    let last = back_up(&mut repo, w.dir.path(), &options("a"));
    assert!(!w.memory.list("sessions/").unwrap().is_empty());
    w.forget(w.first);
    collect(&w.memory, &now());
    collect(&w.memory, &now());
    let left = keeper(&w.memory).sessions().unwrap();
    assert!(left.open.is_empty() && left.objects.len() <= 2, "{left:?}");
    sound(&w.memory, w.dir.path(), &[Ok(last)]);
}

/// After so many objects whose names begin like this, no more of them fit.
struct Full(AtomicU64, &'static str);
impl Odd for Full {
    fn put(&self, to: &MemoryStorage, name: &Name, bytes: &[u8]) -> std::result::Result<Put, StorageError> {
        let fits = || self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        if !name.as_str().starts_with(self.1) || fits() {
            return to.put_new(name, bytes);
        }
        Err(failed("put", name, std::io::ErrorKind::StorageFull))
    }
}

/// Race 20, in a backup and in a prune, from every object on; or packs do not fit any more, and small
/// objects do.
#[test]
fn the_disk_is_full_in_the_middle() {
    let w = World::new();
    w.forget(w.first);
    for (backs_up, what) in [(true, ""), (true, "packs/"), (false, ""), (false, "packs/")] {
        for n in 0.. {
            let memory = w.fork();
            let odd = OddStorage(memory.clone(), Arc::new(Full(AtomicU64::new(n), what)));
            let failed = match backs_up {
                true => run_backup(Arc::new(odd), 1, "a", w.dir.path(), true).err(),
                false => {
                    // At once, for what was decided before is not looked at again then.
                    let options = if what.is_empty() { slow() } else { now() };
                    let mut repo = keeper(&odd);
                    try_prune(&mut repo, &options).and_then(|_| try_prune(&mut repo, &options)).err()
                }
            };
            sound(&memory, w.dir.path(), &[]);
            let Some(error) = failed else { break };
            assert_eq!(error.kind(), ErrorKind::Storage, "{n}: {error}");
            support::prune::assert_nothing_unneeded(&keeper(&memory));
            let done = run_backup(Arc::new(memory.clone()), 1, "a", w.dir.path(), false);
            sound(&memory, w.dir.path(), &[done]);
        }
    }
}

/// Race 21: whoever has seen more says so, and writes nothing.
#[test]
fn a_repository_that_was_set_back_is_noticed() {
    let w = World::new();
    let (old, place) = (w.fork(), tempfile::tempdir().unwrap());
    let opened = |memory: &MemoryStorage| {
        let mut repo = machine(Arc::new(memory.clone()), 1);
        repo.remember(Remembered::load(place.path(), "here", Box::new(|what| panic!("{what}"))).unwrap()).unwrap();
        repo
    };
    back_up(&mut opened(&w.memory), w.dir.path(), &options("a"));
    w.forget(w.first);
    collect(&w.memory, &now());
    let before = old.list("snapshots/").unwrap();
    let mut repo = opened(&old);
    assert_eq!(repo.snapshots(&|_, _| {}).unwrap_err().kind(), ErrorKind::Substituted);
    let error = try_backup(&mut repo, w.dir.path(), &options("a")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Substituted);
    assert_eq!(try_prune(&mut repo, &now()).unwrap_err().kind(), ErrorKind::Substituted);
    assert_eq!(old.list("snapshots/").unwrap(), before);
}

/// Some packs cannot be seen yet.
struct Unseen(BTreeSet<Name>);
impl Odd for Unseen {
    fn sees(&self, name: &Name) -> bool {
        !self.0.contains(name)
    }
}

/// Race 22: what cannot be seen is not relied on.
#[test]
fn a_segment_is_seen_before_its_packs() {
    let w = World::new();
    let before: BTreeSet<Name> = w.memory.list("packs/").unwrap().into_iter().map(|l| l.name).collect();
    run_backup(Arc::new(w.memory.clone()), 1, "a", w.dir.path(), false).unwrap();
    let packs = w.memory.list("packs/").unwrap().into_iter().map(|l| l.name);
    let unseen: BTreeSet<Name> = packs.filter(|name| !before.contains(name)).collect();
    assert!(!unseen.is_empty());
    let odd = OddStorage(w.memory.clone(), Arc::new(Unseen(unseen.clone())));
    let done = run_backup(Arc::new(odd), 2, "b", w.dir.path(), false).unwrap();
    // They never come.
    unseen.iter().for_each(|name| w.memory.delete(name).unwrap());
    let mut repo = keeper(&w.memory);
    let (told, ears) = check_only(&mut repo, Data::All, done.snapshot.unwrap());
    let needed = ears.problems.lock().unwrap().iter().filter(|p| p.contains(":/")).count();
    assert_eq!(needed, 0, "{} errors: {:#?}", told.errors, ears.problems.lock().unwrap());
    assert_same(&repo, done.snapshot.unwrap(), w.dir.path());
}
