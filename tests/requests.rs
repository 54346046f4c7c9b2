//! What a run asks of its storage: how many requests of which kind, and what a cache spares it and does
//! not hide.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop::crypto::Secret;
use orlop::error::{ErrorKind, Result};
use orlop::format::keys::Credential;
use orlop::ops::backup::{About, BackupOptions, BackupSummary, Input, Sources, backup};
use orlop::ops::check::Data;
use orlop::repo::{self, Repository, SlotNote};
use orlop::storage::testing::At;
use orlop::storage::{Cache, Counted, LocalStorage, MemoryStorage, Requests, Storage, Viewed};
use support::odd::{Odd, OddStorage};
use support::stop::try_stopping;
use support::*;

/// How often one process asked for what `which` says, by verb and kind.
fn asked(requests: &Requests, which: impl Fn(&str, &str) -> bool) -> u64 {
    requests.all().iter().filter(|(verb, kind, _)| which(verb, kind)).map(|(.., n)| n).sum()
}

fn options() -> BackupOptions {
    let about = About { client: Some("test".into()), paths: vec![b"/source".to_vec()], ..About::default() };
    // How many frames there are, and who reads them twice, depends on threads.
    BackupOptions { about, threads: Some(1), ..BackupOptions::default() }
}

/// A repository as a process of its own opens it, and what it asks for.
fn process(storage: Arc<dyn Storage>, key: &Credential, cache: Option<&Path>) -> (Result<Repository>, Arc<Requests>) {
    let requests = Arc::new(Requests::default());
    let counted = Arc::new(Counted::new(storage, Arc::clone(&requests)));
    let cache = cache.map(|dir| Cache::new(dir, 64 << 20).filling_the_disk());
    let viewed = Arc::new(Viewed::with_cache(counted, cache));
    viewed.look();
    (repo::open_viewed(viewed, key, None), requests)
}

fn run(storage: Arc<dyn Storage>, dir: &Path, cache: Option<&Path>) -> (BackupSummary, Arc<Requests>) {
    let (repo, requests) = process(storage, &Credential::Nothing, cache);
    // The folders on the way to it are others', and change.
    let mut sources = Sources::default();
    sources.add_as(dir, Path::new("/source")).unwrap();
    let (done, ears) = listening(|cx| backup(&mut repo.unwrap(), Input::Paths(sources), &options(), cx));
    assert_eq!(*ears.problems.lock().unwrap(), Vec::<String>::new());
    (done.unwrap(), requests)
}

/// So many files, in folders of a hundred.
fn plant(dir: &Path, files: u64) {
    for n in 0..files {
        let folder = dir.join(format!("{:03}", n / 100));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{n:05}")), noise(40, n)).unwrap();
    }
    settle();
}

/// Where one request lists everything: three listings, one before and one after the session is there,
/// and one behind its close; four objects that are written. The rest is reading.
#[test]
fn an_unchanged_backup_lists_thrice_and_writes_four_objects() {
    let (memory, _) = fresh();
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path(), 10_000);
    run(Arc::new(memory.clone()), dir.path(), None);
    for before in 1..4 {
        let (done, requests) = run(Arc::new(memory.clone()), dir.path(), None);
        assert_eq!((done.stats.files_unmodified, done.stats.files_new), (10_000, 0));
        let all = requests.all();
        assert_eq!(asked(&requests, |verb, _| verb == "list"), 3, "{all:?}");
        assert_eq!(asked(&requests, |verb, _| verb != "get"), 7, "{all:?}");
        // Slot, keyring, configuration, client, segment; each snapshot and its close; the last one again.
        let records = asked(&requests, |verb, kind| verb == "get" && kind != "packs");
        assert!(records <= 6 + 2 * before, "{all:?}");
        assert!(asked(&requests, |verb, kind| (verb, kind) == ("get", "packs")) <= 12, "{all:?}");
    }
}

/// Where folders are listed one by one: each of them at most once before and once after the session is
/// there, and the log behind the close.
#[test]
fn folders_are_listed_once_before_and_once_after_the_session_is_there() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(dir.path(), 200);
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(place.path()).unwrap());
    init(&storage);
    run(Arc::clone(&storage), dir.path(), None);
    let (done, requests) = run(storage, dir.path(), None);
    assert_eq!((done.stats.files_unmodified, done.stats.files_new), (200, 0));
    let all = requests.all();
    for (kind, most) in [("tombstones", 2), ("sessions", 2), ("gc", 3), ("index", 1), ("packs", 1), ("notes", 1)] {
        assert_eq!(asked(&requests, |verb, listed| (verb, listed) == ("list", kind)), most, "{kind} of {all:?}");
    }
    assert!(asked(&requests, |verb, _| verb == "list") <= 23, "{all:?}");
}

/// A repository of some files in memory, and a cache that has seen an unchanged backup of it.
fn warm(files: u64) -> (MemoryStorage, tempfile::TempDir, tempfile::TempDir) {
    let (memory, _) = fresh();
    let (dir, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(dir.path(), files);
    for _ in 0..2 {
        run(Arc::new(memory.clone()), dir.path(), Some(cache.path()));
    }
    (memory, dir, cache)
}

fn unchanged(memory: &MemoryStorage, dir: &Path, cache: &Path, files: u64) -> Arc<Requests> {
    let (done, requests) = run(Arc::new(memory.clone()), dir, Some(cache));
    assert_eq!((done.stats.files_unmodified, done.stats.files_new, done.stats.tree_blobs), (files, 0, 0));
    requests
}

#[test]
fn an_unchanged_backup_of_ten_thousand_files_with_a_warm_cache_takes_seven_requests() {
    let (memory, dir, cache) = warm(10_000);
    for _ in 0..3 {
        let requests = unchanged(&memory, dir.path(), cache.path(), 10_000);
        assert!(asked(&requests, |_, _| true) <= 7, "{:?}", requests.all());
    }
    assert_sound(&mut open(&(Arc::new(memory) as Arc<dyn Storage>)));
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => out.extend(files_below(&entry.path())),
            false => out.push(entry.path()),
        }
    }
    out
}

/// Whatever becomes of its files, the cache is no trouble of anybody's.
#[test]
fn a_cache_that_is_damaged_anywhere_is_read_anew() {
    type Harm = fn(&Path, usize);
    let (memory, dir, cache) = warm(300);
    let harms: [(&str, Harm); 5] = [
        ("flipped", |file, n| {
            let mut bytes = fs::read(file).unwrap();
            let at = n * 7919 % bytes.len();
            bytes[at] ^= 1 << (n % 8);
            fs::write(file, bytes).unwrap();
        }),
        ("cut", |file, n| {
            let len = fs::metadata(file).unwrap().len();
            fs::File::options().write(true).open(file).unwrap().set_len(len * (n as u64 % 5) / 5).unwrap();
        }),
        ("longer", |file, _| {
            let mut bytes = fs::read(file).unwrap();
            bytes.push(0);
            fs::write(file, bytes).unwrap();
        }),
        ("a folder", |file, _| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }),
        ("gone", |file, _| fs::remove_file(file).unwrap()),
    ];
    for (what, harm) in harms {
        let files = files_below(&cache.path().join("objects"));
        assert!(files.len() > 8, "{what}: {}", files.len());
        files.iter().enumerate().for_each(|(n, file)| harm(file, n));
        let all = unchanged(&memory, dir.path(), cache.path(), 300).all();
        assert!(all.iter().any(|(verb, ..)| *verb == "get"), "{what}: {all:?}");
        if what == "a folder" {
            fs::remove_dir_all(cache.path()).unwrap();
        }
        unchanged(&memory, dir.path(), cache.path(), 300);
        assert_sound(&mut open(&(Arc::new(memory.clone()) as Arc<dyn Storage>)));
    }
}

/// Files of one object under the names of others are not taken for them.
#[test]
fn files_of_a_cache_that_were_exchanged_are_read_anew() {
    let (memory, dir, cache) = warm(300);
    let files = files_below(&cache.path().join("objects"));
    let contents: Vec<Vec<u8>> = files.iter().map(|f| fs::read(f).unwrap()).collect();
    for (file, bytes) in files.iter().zip(contents.iter().cycle().skip(1)) {
        fs::write(file, bytes).unwrap();
    }
    unchanged(&memory, dir.path(), cache.path(), 300);
}

#[test]
fn a_cache_may_be_deleted_at_any_moment() {
    let (memory, dir, cache) = warm(300);
    for n in 1.. {
        let memory = fork(&memory);
        unchanged(&memory, dir.path(), cache.path(), 300);
        let mut delete = || fs::remove_dir_all(cache.path()).unwrap();
        let (_, reached) = try_stopping(&memory, vec![(At::call().nth(n), &mut delete)], |storage| {
            let (done, _) = run(storage, dir.path(), Some(cache.path()));
            assert_eq!(done.stats.files_unmodified, 300);
        });
        if !reached {
            assert!(n > 5, "{n} requests");
            break;
        }
    }
}

/// Only a listing says what there is.
#[test]
fn what_is_gone_from_the_storage_is_not_served_by_a_cache() {
    let (memory, _, cache) = warm(20);
    let storage: Arc<dyn Storage> = Arc::new(memory);
    let snapshots = |repo: &Repository| repo.snapshots(&|_, _| {}).unwrap();
    let last = snapshots(&open(&storage)).pop().unwrap();
    let name = orlop::format::names::snapshot(last.statement.client, last.statement.seq);
    let gone: Vec<_> = storage.list("").unwrap().into_iter().filter(|l| l.name.as_str().ends_with(&name)).collect();
    assert_eq!(gone.len(), 2);
    gone.iter().for_each(|l| storage.delete(&l.name).unwrap());
    let repo = process(storage, &Credential::Nothing, Some(cache.path())).0.unwrap();
    assert!(!snapshots(&repo).iter().any(|s| s.id == last.id));
    assert!(repo.storage().get(&gone[0].name, u64::MAX).is_err());
    assert_eq!(repo.storage().head(&gone[0].name).unwrap(), None);
}

/// A key slot is the one object that another one may stand in for.
#[test]
fn a_password_that_was_changed_elsewhere_opens_nothing_by_a_cache() {
    let (memory, _, cache) = warm(20);
    let storage: Arc<dyn Storage> = Arc::new(memory);
    let key = |n: u8| Credential::Raw(Secret::new([n; 32]));
    open(&storage).add_client_slot("laptop", &key(1), &SlotNote::default()).unwrap();
    for _ in 0..2 {
        process(Arc::clone(&storage), &key(1), Some(cache.path())).0.unwrap();
    }
    let mut elsewhere = process(Arc::clone(&storage), &key(1), None).0.unwrap();
    elsewhere.change_credential(&key(2), &SlotNote::default()).unwrap();
    let old = process(Arc::clone(&storage), &key(1), Some(cache.path())).0.err().unwrap();
    assert_eq!(old.kind(), ErrorKind::WrongPassword);
    process(storage, &key(2), Some(cache.path())).0.unwrap();
}

/// A check looks at what is there.
#[test]
fn a_cache_hides_no_damage_from_a_check() {
    let (memory, _, cache) = warm(20);
    let storage: Arc<dyn Storage> = Arc::new(memory.clone());
    for l in storage.list("packs/").unwrap() {
        let mut bytes = storage.get(&l.name, u64::MAX).unwrap();
        bytes.iter_mut().skip(100).step_by(50).for_each(|byte| *byte ^= 1);
        memory.plant(&l.name, &bytes);
    }
    let mut repo = process(storage, &Credential::Nothing, Some(cache.path())).0.unwrap();
    assert!(check(&mut repo, Data::Trees).0.errors > 0);
}

/// Every request takes its time.
struct Far;
impl Odd for Far {
    fn at_once(&self) -> usize {
        16
    }
}

/// A tree that is far away is read in stretches, once; what was kept of it is not asked for again.
#[test]
fn a_tree_far_away_is_read_with_what_stands_beside_it() {
    let (memory, _) = fresh();
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path(), 10_000);
    run(Arc::new(memory.clone()), dir.path(), None);
    let cache = tempfile::tempdir().unwrap();
    let far = || Arc::new(OddStorage(memory.clone(), Arc::new(Far))) as Arc<dyn Storage>;
    let packs = |storage: Arc<dyn Storage>, cache: Option<&Path>| {
        let (repo, requests) = process(storage, &Credential::Nothing, cache);
        let repo = repo.unwrap();
        let index = repo.load_index(&|name, e| panic!("{name}: {e}")).unwrap();
        let all = repo.snapshots(&|name, e| panic!("{name}: {e}")).unwrap();
        let files = listing(&orlop::repo::Reader::new(&repo, &index), all[0].statement.root);
        assert!(files > 10_000, "{files}");
        asked(&requests, |verb, kind| verb == "get" && kind == "packs")
    };
    let (near, first, again) =
        (packs(Arc::new(memory.clone()), None), packs(far(), None), packs(far(), Some(cache.path())));
    let kept = packs(far(), Some(cache.path()));
    println!("{near} requests, far away {first}, with an empty cache {again}, with a full one {kept}");
    assert!(first * 2 <= near && again == first && kept == 0, "{near} {first} {again} {kept}");
}

/// How many entries there are below.
fn listing(reader: &orlop::repo::Reader<'_>, root: Option<orlop::model::PageRef>) -> u64 {
    let (mut entries, mut count) = (orlop::repo::Entries::new(reader, root), 0);
    while let Some(node) = entries.next().unwrap() {
        count += 1;
        if let orlop::model::NodeKind::Dir { root } = node.kind {
            count += listing(reader, root);
        }
    }
    count
}
