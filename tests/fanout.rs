//! One backup into several repositories: the source is read once, and each is served as if it were alone.

mod support;

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use orlop::error::{Error, ErrorKind, Result};
use orlop::event::{Context, Event, Meter, Observer, Phase};
use orlop::model::{Content, NodeKind, Statement};
use orlop::ops::backup::{BackupOptions, BackupSummary, ChangedFiles, Destination, Input, Parent, fan_out};
use orlop::repo::{Entries, Reader, Repository, Snapshot};
use orlop::storage::testing::{CrashStorage, FaultStorage, How, Verb};
use orlop::storage::{MemoryStorage, Storage};
use support::*;

/// What a run came to, what was told, and how much of the source was read.
struct Fanned {
    done: Result<Vec<Result<BackupSummary>>>,
    ears: Ears,
    read: u64,
    files_done: u64,
}

impl Fanned {
    /// The snapshots; without any trouble.
    fn saved(self) -> Vec<BackupSummary> {
        assert_eq!(*self.ears.problems.lock().unwrap(), Vec::<String>::new());
        self.done.unwrap().into_iter().map(Result::unwrap).collect()
    }
}

fn destinations(repos: &mut [Repository]) -> Vec<Destination<'_>> {
    let name = |n: usize| format!("repository-{n}");
    let to = |(n, repo)| Destination { repo, name: Some(name(n)), parent: Parent::Latest, compression: Some(3) };
    repos.iter_mut().enumerate().map(to).collect()
}

fn fan_input(repos: &mut [Repository], input: Input<'_>, options: &BackupOptions) -> Fanned {
    // As many threads as the program has, so that large files are read ahead.
    fan_by(6, repos, input, options)
}

fn fan_by(threads: usize, repos: &mut [Repository], input: Input<'_>, options: &BackupOptions) -> Fanned {
    let (ears, meter, cancel) = (Ears::default(), Meter::default(), AtomicBool::new(false));
    let cx = Context { observer: &ears, meter: &meter, cancel: &cancel };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let done = pool.install(|| fan_out(&mut destinations(repos), input, options, &cx));
    Fanned { done, ears, read: meter.bytes_read.into_inner(), files_done: meter.files_done.into_inner() }
}

fn fan(repos: &mut [Repository], dir: &Path, options: &BackupOptions) -> Fanned {
    fan_input(repos, Input::Paths(source(dir)), options)
}

fn options() -> BackupOptions {
    BackupOptions { chunking: 1, ..small_packs() }
}

/// A repository beside another: with its keys, or with others.
fn beside(of: &Repository, mirror: bool) -> Arc<dyn Storage> {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    init_like(&storage, mirror.then_some(of), None);
    storage
}

/// Everything that is read in a way of its own: long files, short ones, holes, links.
fn plant(dir: &Path) {
    fs::create_dir_all(dir.join("sub/deep")).unwrap();
    fs::write(dir.join("long"), noise(13 << 20, 1)).unwrap();
    fs::write(dir.join("middle"), noise(3 << 20, 2)).unwrap();
    let holes = fs::File::create(dir.join("sub/holes")).unwrap();
    holes.set_len(12 << 20).unwrap();
    holes.write_all_at(&noise(700_000, 3), 1 << 20).unwrap();
    holes.write_all_at(&noise(5 << 20, 4), 6 << 20).unwrap();
    let few = fs::File::create(dir.join("sub/few-holes")).unwrap();
    few.set_len(600_000).unwrap();
    few.write_all_at(&noise(100_000, 5), 400_000).unwrap();
    fs::write(dir.join("sub/inline"), b"a few bytes").unwrap();
    fs::write(dir.join("sub/empty"), b"").unwrap();
    for i in 0..30u64 {
        fs::write(dir.join(format!("sub/deep/{i:02}")), noise(20_000 + 3000 * i as usize, 10 + i)).unwrap();
    }
    symlink("nowhere", dir.join("sub/link")).unwrap();
    settle();
}

fn snapshot(repo: &Repository, done: &BackupSummary) -> Snapshot {
    let id = done.snapshot.expect("a snapshot");
    repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap().into_iter().find(|s| s.id == id).unwrap()
}

/// It is all there, and sound.
fn assert_whole(repos: &mut [Repository], saved: &[BackupSummary], dir: &Path) {
    for (repo, done) in repos.iter_mut().zip(saved) {
        assert_same(repo, done.snapshot.expect("a snapshot"), dir);
        assert_sound(repo);
        assert_nothing_twice(repo);
    }
}

#[test]
fn the_source_is_read_once_for_strangers_and_for_mirrors() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    // What a backup into one repository reads.
    let alone = fan(&mut [open(&fresh().1)], dir.path(), &options());
    let (read, files) = (alone.read, alone.files_done);
    let stats = alone.saved()[0].stats;
    let data = (13 << 20) + (3 << 20) + 700_000 + (5 << 20) + 100_000;
    assert!((data..stats.bytes_processed).contains(&read), "holes are not read: {read}");

    let first = fresh().1;
    let other = beside(&open(&first), false);
    let mirror = beside(&open(&first), true);
    let mut repos = [open(&first), open(&other), open(&mirror)];
    let done = fan(&mut repos, dir.path(), &options());
    assert_eq!((done.read, done.files_done), (read, files), "read and counted once");
    let saved = done.saved();
    for done in &saved {
        assert_eq!((done.stats.files_new, done.stats.bytes_processed), (stats.files_new, stats.bytes_processed));
        assert!(done.stats.data_added > data, "{:?}", done.stats);
    }
    assert_whole(&mut repos, &saved, dir.path());
    let roots: Vec<_> =
        repos.iter().zip(&saved).map(|(r, s)| root_of(r, s.snapshot.unwrap(), dir.path()).unwrap()).collect();
    assert_eq!(roots[0], roots[2], "mirrors have the same pages");
    assert_ne!(roots[0], roots[1], "strangers have nothing in common");

    // Nothing changed anywhere, so nothing is read for anybody.
    let done = fan(&mut repos, dir.path(), &options());
    assert_eq!((done.read, done.files_done), (0, files));
    for done in done.saved() {
        assert_eq!((done.stats.files_unmodified, done.stats.data_blobs), (stats.files_new, 0));
    }
}

#[test]
fn each_compares_with_its_own_parent() {
    let (dir, first) = (tempfile::tempdir().unwrap(), fresh().1);
    plant(dir.path());
    let other = beside(&open(&first), false);
    let mut repos = [open(&first), open(&other)];
    let before = back_up(&mut repos[0], dir.path(), &options());
    let done = fan(&mut repos, dir.path(), &options());
    let told = done.ears.notices.lock().unwrap().join("\n");
    assert!(told.contains("using-parent: repository-0: using parent"), "{told}");
    assert!(told.contains("no-parent: repository-1: no parent"), "{told}");
    let saved = done.saved();
    let all = before.stats.files_new;
    assert_eq!((saved[0].stats.files_unmodified, saved[0].stats.data_blobs), (all, 0), "what is there is not read");
    assert_eq!((saved[1].stats.files_new, saved[0].parent), (all, before.snapshot));
    assert_whole(&mut repos, &saved, dir.path());

    // What changed is read once for both; the rest for nobody.
    fs::write(dir.path().join("sub/deep/03"), noise(123_456, 77)).unwrap();
    settle();
    let done = fan(&mut repos, dir.path(), &options());
    assert_eq!(done.read, 123_456);
    let saved = done.saved();
    assert!(saved.iter().all(|s| (s.stats.files_changed, s.stats.files_unmodified) == (1, all - 1)), "{saved:?}");
    assert_whole(&mut repos, &saved, dir.path());
}

/// By which profile a file was cut.
fn profile(repo: &Repository, done: &BackupSummary, dir: &Path, name: &str) -> u8 {
    let index = repo.load_index(&|n, e| panic!("{n}: {e}")).unwrap();
    let reader = Reader::new(repo, &index);
    let mut entries = Entries::new(&reader, root_of(repo, done.snapshot.unwrap(), dir));
    match entries.seek(name.as_bytes()).unwrap().expect(name).kind {
        NodeKind::File { content: Content::Extents { profile, .. } | Content::Pages { profile, .. }, .. } => profile,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_cuts_by_its_own_profile() {
    let (dir, first) = (tempfile::tempdir().unwrap(), fresh().1);
    plant(dir.path());
    let mut repos = [open(&first), open(&beside(&open(&first), false)), open(&beside(&open(&first), false))];
    back_up(&mut repos[0], dir.path(), &BackupOptions { chunking: 2, ..options() });
    back_up(&mut repos[1], dir.path(), &BackupOptions { chunking: 3, ..options() });
    let (long, middle) = (dir.path().join("long"), dir.path().join("middle"));
    for path in [&long, &middle] {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(b"changed", 2_000_000).unwrap();
    }
    settle();
    let done = fan(&mut repos, dir.path(), &options());
    let saved = done.saved();
    for name in ["long", "middle"] {
        let by: Vec<u8> = repos.iter().zip(&saved).map(|(r, s)| profile(r, s, dir.path(), name)).collect();
        assert_eq!(by, [2, 3, 1], "{name}");
    }
    // What is not around the change is cut as before.
    assert!(saved[0].stats.data_added < 1 << 20 && saved[1].stats.data_added < 16 << 20, "{saved:?}");
    assert_whole(&mut repos, &saved, dir.path());
}

#[test]
fn the_same_repository_twice_is_refused_before_anything_is_read() {
    let (dir, (memory, storage)) = (tempfile::tempdir().unwrap(), fresh());
    plant(dir.path());
    let before = memory.list("").unwrap().len();
    let done = fan(&mut [open(&storage), open(&storage)], dir.path(), &options());
    let e = done.done.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Invalid);
    assert!(e.what().contains("repository-0 and repository-1 are the same repository"), "{e}");
    assert_eq!((memory.list("").unwrap().len(), done.read), (before, 0));
}

/// A small tree that makes several packs.
fn plant_small(dir: &Path) {
    for i in 0..24u64 {
        fs::create_dir_all(dir.join(format!("d{}", i % 3))).unwrap();
        fs::write(dir.join(format!("d{}/f{i}", i % 3)), noise(30_000 + 1000 * i as usize, i)).unwrap();
    }
    fs::write(dir.join("long"), noise(5 << 20, 99)).unwrap();
    settle();
}

/// One repository that fails at any moment costs the other nothing, and the next run completes both.
#[test]
fn one_that_dies_anywhere_leaves_the_other_whole() {
    let dir = tempfile::tempdir().unwrap();
    plant_small(dir.path());
    let (mut deaths, mut told) = (0, 0);
    for n in (1..).step_by(3) {
        let (well, ill) = (fresh().1, fresh().0);
        let crash = CrashStorage::die_at(ill.clone(), n);
        // It is the first one at times, and the last one at others.
        let at = usize::from(n % 2 == 0);
        let mut repos = vec![open(&well)];
        repos.insert(at, open(&(Arc::new(crash.clone()) as Arc<dyn Storage>)));
        let fanned = fan(&mut repos, dir.path(), &BackupOptions { chunking: 2, ..options() });
        let mut done = fanned.done.unwrap();
        let problems = fanned.ears.problems.lock().unwrap().clone();
        if !crash.is_dead() {
            assert!(done.iter().all(Result::is_ok) && problems.is_empty(), "{problems:?}");
            assert!(deaths > 10, "it died often enough: {deaths}");
            break;
        }
        deaths += 1;
        let saved = done.remove(1 - at).unwrap();
        assert_eq!(saved.stats.problems, 0, "at {n}: what befell the other is none of this one's business");
        let mut survivor = repos.remove(1 - at);
        assert_eq!(snapshot(&survivor, &saved).statement.flags & Statement::HAS_PROBLEMS, 0);
        assert_same(&survivor, saved.snapshot.unwrap(), dir.path());
        assert_sound(&mut survivor);
        if let Err(e) = &done[0] {
            assert_eq!(e.kind(), ErrorKind::Storage, "at {n}: {e}");
            let about = format!("repository-failed back up repository-{at}: ");
            assert!(problems.len() == 1 && problems[0].starts_with(&about), "at {n}: {problems:?}");
            told += 1;
        }
        // The next run finds what became durable, and brings both to the same state.
        let mut repos = [survivor, open(&(Arc::new(ill) as Arc<dyn Storage>))];
        let again = fan(&mut repos, dir.path(), &BackupOptions { chunking: 2, ..options() }).saved();
        assert_eq!(again[0].stats.data_blobs, 0);
        for (repo, done) in repos.iter_mut().zip(&again) {
            assert_same(repo, done.snapshot.unwrap(), dir.path());
            assert_sound(repo);
        }
    }
    assert!(told > 10, "{told}");
}

#[test]
fn a_full_disk_is_one_repositorys_own() {
    let dir = tempfile::tempdir().unwrap();
    plant_small(dir.path());
    for (verb, how) in [(Verb::Publish, How::Full), (Verb::Write, How::Full), (Verb::PutNew, How::Denied)] {
        let (well, ill) = (fresh().1, fresh().1);
        let fault = FaultStorage::new(ill);
        let mut repos = [open(&(Arc::new(fault.clone()) as Arc<dyn Storage>)), open(&well)];
        fault.fail_always(verb, how);
        let fanned = fan(&mut repos, dir.path(), &options());
        let done = fanned.done.unwrap();
        assert_eq!(done[0].as_ref().unwrap_err().kind(), ErrorKind::Storage, "{verb:?}");
        let told = fanned.ears.problems.lock().unwrap().join("\n");
        assert!(told.starts_with("repository-failed back up repository-0: ") && told.lines().count() == 1, "{told}");
        assert_same(&repos[1], done[1].as_ref().unwrap().snapshot.unwrap(), dir.path());
        // There is room again.
        fault.relent();
        let saved = fan(&mut repos, dir.path(), &options()).saved();
        for (repo, done) in repos.iter_mut().zip(&saved) {
            assert_same(repo, done.snapshot.unwrap(), dir.path());
            assert_sound(repo);
        }
        let who = repos[0].identity(Some("test")).unwrap();
        assert!(repos[0].leftovers(&who).unwrap().is_empty());
    }
}

/// Whoever can still write says that it is over, and leaves what is durable in the index.
#[test]
fn one_that_failed_for_a_moment_closes_its_session() {
    let dir = tempfile::tempdir().unwrap();
    plant_small(dir.path());
    let fault = FaultStorage::new(fresh().1);
    let mut repos = [open(&fresh().1), open(&(Arc::new(fault.clone()) as Arc<dyn Storage>))];
    fault.fail(Verb::Publish, 3, How::Full);
    let done = fan(&mut repos, dir.path(), &BackupOptions { chunking: 2, ..options() }).done.unwrap();
    assert!(done[0].is_ok() && done[1].is_err());
    assert!(repos[1].sessions().unwrap().open.is_empty(), "nobody need wait for it");
    let index = repos[1].load_index(&|n, e| panic!("{n}: {e}")).unwrap();
    assert!(index.packs().len() > 2, "{}", index.packs().len());
}

#[test]
fn all_may_fail() {
    let dir = tempfile::tempdir().unwrap();
    plant_small(dir.path());
    let faults = [FaultStorage::new(fresh().1), FaultStorage::new(fresh().1)];
    let mut repos: Vec<_> = faults.iter().map(|f| open(&(Arc::new(f.clone()) as Arc<dyn Storage>))).collect();
    faults.iter().for_each(|f| f.fail_always(Verb::Publish, How::Full));
    let fanned = fan(&mut repos, dir.path(), &options());
    let done = fanned.done.unwrap();
    assert!(done.len() == 2 && done.iter().all(|d| d.as_ref().is_err_and(|e| e.kind() == ErrorKind::Storage)));
    let mut told = fanned.ears.problems.lock().unwrap().clone();
    told.sort();
    assert_eq!(told.len(), 2, "{told:?}");
    for (n, told) in told.iter().enumerate() {
        assert!(told.starts_with(&format!("repository-failed back up repository-{n}: ")), "{told}");
    }
}

/// Trouble of the source is in every snapshot, and told once.
#[test]
fn trouble_of_the_source_is_everybodys() {
    let (dir, first) = (tempfile::tempdir().unwrap(), fresh().1);
    plant_small(dir.path());
    let mut sources = source(dir.path());
    sources.add(Path::new("/nowhere/at/all"), &|_| Ok(vec![])).unwrap();
    let mut repos = [open(&first), open(&beside(&open(&first), false))];
    let fanned = fan_input(&mut repos, Input::Paths(sources), &options());
    assert_eq!(fanned.ears.problems.lock().unwrap().len(), 1);
    for (repo, done) in repos.iter().zip(fanned.done.unwrap()) {
        let done = done.unwrap();
        assert_eq!(done.stats.problems, 1);
        assert_ne!(snapshot(repo, &done).statement.flags & Statement::HAS_PROBLEMS, 0);
    }
}

/// Gives its bytes in odd pieces, and counts them.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    given: Arc<AtomicU64>,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = into.len().min(self.bytes.len() - self.at).min(65_537);
        into[..n].copy_from_slice(&self.bytes[self.at..self.at + n]);
        self.at += n;
        self.given.fetch_add(n as u64, SeqCst);
        Ok(n)
    }
}

fn stream(repos: &mut [Repository], bytes: Vec<u8>, accept: Result<()>) -> (Fanned, u64) {
    let given = Arc::new(AtomicU64::new(0));
    let mut from = Pieces { bytes, at: 0, given: given.clone() };
    let mut accept = Some(accept);
    let mut accept = || accept.take().expect("asked once");
    let path = PathBuf::from("/dumps/db.sql");
    let fanned = fan_input(repos, Input::Stream { path, from: &mut from, accept: &mut accept }, &options());
    (fanned, given.load(SeqCst))
}

#[test]
fn a_stream_is_read_once_and_is_in_each() {
    let first = fresh().1;
    let mut repos = [open(&first), open(&beside(&open(&first), false))];
    for len in [0, 100, 90_000, 1 << 20, 14_000_001] {
        let bytes = noise(len, len as u64);
        let (fanned, given) = stream(&mut repos, bytes.clone(), Ok(()));
        assert_eq!((given, fanned.read), (len as u64, len as u64));
        for (repo, done) in repos.iter().zip(fanned.saved()) {
            let root = root_of(repo, done.snapshot.unwrap(), Path::new("/dumps"));
            let index = repo.load_index(&|n, e| panic!("{n}: {e}")).unwrap();
            let reader = Reader::new(repo, &index);
            let node = Entries::new(&reader, root).seek(b"db.sql").unwrap().unwrap();
            let NodeKind::File { size, content } = node.kind else { panic!() };
            assert!(size == len as u64 && read(&reader, &content) == bytes, "{len}");
        }
    }
    // A command that failed has no snapshot anywhere.
    let before: Vec<_> = repos.iter().map(|r| r.snapshots(&|_, _| {}).unwrap().len()).collect();
    let (fanned, _) = stream(&mut repos, noise(90_000, 1), Err(Error::new(ErrorKind::Source, "it failed")));
    assert_eq!(fanned.done.unwrap_err().kind(), ErrorKind::Source);
    assert_eq!(repos.iter().map(|r| r.snapshots(&|_, _| {}).unwrap().len()).collect::<Vec<_>>(), before);
    assert!(repos.iter().all(|r| r.sessions().unwrap().open.is_empty()), "no session is left open");
}

/// Does something when a phase begins, and hears the rest.
struct At<F> {
    phase: Phase,
    act: F,
    ears: Ears,
    times: AtomicU64,
}

impl<F: Fn() + Send + Sync> Observer for At<F> {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Entered { phase, .. } if *phase == self.phase && self.times.fetch_add(1, SeqCst) == 0 => {
                (self.act)()
            }
            event => self.ears.on(event),
        }
    }
}

/// Garbage collection gives one of them up: that one begins anew, and alone.
#[test]
fn one_that_was_fenced_begins_anew_alone() {
    let (dir, first) = (tempfile::tempdir().unwrap(), fresh().1);
    plant_small(dir.path());
    let other = beside(&open(&first), false);
    let mut repos = [open(&first), open(&other)];
    let fence = || {
        let mut repo = open(&other);
        let who = repo.identity(Some("collector")).unwrap();
        for s in repo.sessions().unwrap().open {
            assert!(repo.fence(&who, s.open.session, s.seen_gen).unwrap());
        }
    };
    let at = At { phase: Phase::Committing, act: fence, ears: Ears::default(), times: AtomicU64::new(0) };
    let (meter, cancel) = (Meter::default(), AtomicBool::new(false));
    let cx = Context { observer: &at, meter: &meter, cancel: &cancel };
    let done = fan_out(&mut destinations(&mut repos), Input::Paths(source(dir.path())), &options(), &cx).unwrap();
    assert_eq!(*at.ears.problems.lock().unwrap(), Vec::<String>::new());
    let told = at.ears.notices.lock().unwrap().join("\n");
    assert!(told.matches("fenced: ").count() == 1 && told.contains("fenced: repository-1: "), "{told}");
    let saved: Vec<_> = done.into_iter().map(Result::unwrap).collect();
    assert_eq!(at.times.load(SeqCst), 2, "two attempts");
    assert_eq!(repos[0].snapshots(&|_, _| {}).unwrap().len(), 1, "one attempt for the other");
    for (repo, done) in repos.iter_mut().zip(&saved) {
        assert_same(repo, done.snapshot.unwrap(), dir.path());
    }
}

/// Whoever is stopped half-way has half a snapshot everywhere.
#[test]
fn an_interrupted_run_leaves_an_incomplete_snapshot_in_each() {
    struct Stop<'a>(&'a AtomicBool, AtomicU64);
    impl Observer for Stop<'_> {
        fn on(&self, event: &Event<'_>) {
            if matches!(event, Event::Item { .. }) && self.1.fetch_add(1, SeqCst) == 4 {
                self.0.store(true, SeqCst);
            }
        }
        fn wants_items(&self) -> bool {
            true
        }
    }
    let (dir, first) = (tempfile::tempdir().unwrap(), fresh().1);
    plant_small(dir.path());
    let mut repos = [open(&first), open(&beside(&open(&first), false))];
    let (meter, cancel) = (Meter::default(), AtomicBool::new(false));
    let stop = Stop(&cancel, AtomicU64::new(0));
    let cx = Context { observer: &stop, meter: &meter, cancel: &cancel };
    let done = fan_out(&mut destinations(&mut repos), Input::Paths(source(dir.path())), &options(), &cx).unwrap();
    for (repo, done) in repos.iter().zip(done) {
        let done = done.unwrap();
        assert!(done.incomplete && snapshot(repo, &done).incomplete());
    }
    let saved = fan(&mut repos, dir.path(), &options()).saved();
    assert_whole(&mut repos, &saved, dir.path());
}

#[test]
fn a_dry_run_leaves_all_of_them_alone() {
    let (dir, (memory, first)) = (tempfile::tempdir().unwrap(), fresh());
    plant_small(dir.path());
    let other = beside(&open(&first), false);
    let count = || (memory.list("").unwrap().len(), other.list("").unwrap().len());
    let before = count();
    let options = BackupOptions { dry_run: true, ..options() };
    let saved = fan(&mut [open(&first), open(&other)], dir.path(), &options).saved();
    assert!(saved.iter().all(|s| s.snapshot.is_none() && s.stats.files_new == 25 && s.stats.data_blobs > 24));
    assert_eq!(count(), before);
}

/// A list of what changed is applied to each one's own parent.
#[test]
fn changed_files_are_looked_at_once_for_each_parent() {
    let (dir, first) = (tempfile::tempdir().unwrap(), fresh().1);
    plant_small(dir.path());
    let other = beside(&open(&first), false);
    let mut repos = [open(&first), open(&other)];
    fan(&mut repos, dir.path(), &options()).saved();
    // One of them knows the directory that is named, the other one does not.
    fs::create_dir(dir.path().join("new")).unwrap();
    fs::write(dir.path().join("new/one"), noise(50_000, 200)).unwrap();
    settle();
    back_up(&mut repos[0], dir.path(), &options());
    fs::write(dir.path().join("new/two"), noise(60_000, 201)).unwrap();
    fs::write(dir.path().join("d1/f1"), noise(70_000, 202)).unwrap();
    fs::remove_file(dir.path().join("d2/f2")).unwrap();
    settle();
    let path = |name: &str| dir.path().join(name).as_os_str().as_bytes().to_vec();
    let paths = vec![(1, path("new/two")), (2, path("d1/f1")), (3, path("d2/f2"))];
    let changed = Some(ChangedFiles { list: "list".into(), unit: "line", paths });
    let saved = fan(&mut repos, dir.path(), &BackupOptions { changed: changed.clone(), ..options() }).saved();
    assert_whole(&mut repos, &saved, dir.path());
    assert_eq!((saved[0].stats.files_new, saved[1].stats.files_new), (1, 2));
    assert_eq!(saved[0].stats.files_processed, saved[1].stats.files_processed);

    // Who has no parent cannot take the rest from it.
    let mut repos = [open(&first), open(&beside(&open(&first), false))];
    let fanned = fan(&mut repos, dir.path(), &BackupOptions { changed, ..options() });
    let done = fanned.done.unwrap();
    assert_same(&repos[0], done[0].as_ref().unwrap().snapshot.unwrap(), dir.path());
    assert_eq!(done[1].as_ref().unwrap_err().kind(), ErrorKind::Invalid);
    assert!(fanned.ears.problems.lock().unwrap()[0].contains("no complete parent snapshot"));
}

/// Hard links are known to each by itself: where a name is unchanged its other names are read for the
/// others alone, and once.
#[test]
fn names_of_one_file_are_read_once() {
    let (dir, first) = (tempfile::tempdir().unwrap(), fresh().1);
    fs::write(dir.path().join("a"), noise(2 << 20, 1)).unwrap();
    settle();
    let mut repos = [open(&first), open(&beside(&open(&first), false))];
    back_up(&mut repos[0], dir.path(), &options());
    for name in ["b", "c"] {
        fs::hard_link(dir.path().join("a"), dir.path().join(name)).unwrap();
    }
    assert_eq!(fs::metadata(dir.path().join("a")).unwrap().nlink(), 3);
    settle();
    // Two threads may read two names of a file at the same time.
    let done = fan_by(1, &mut repos, Input::Paths(source(dir.path())), &options());
    assert_eq!(done.read, 2 << 20);
    let saved = done.saved();
    assert_eq!((saved[0].stats.data_blobs, saved[0].stats.files_unmodified), (0, 3), "the first one has it");
    assert_whole(&mut repos, &saved, dir.path());
}
