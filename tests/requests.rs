//! What a run asks of its storage: how many requests of which kind.

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use orlop::format::keys::Credential;
use orlop::ops::backup::{About, BackupOptions, BackupSummary};
use orlop::repo::{self, Repository};
use orlop::storage::{Counted, LocalStorage, MemoryStorage, Requests, Storage, Viewed};
use support::*;

/// How often one process asked for what `which` says, by verb and kind.
fn asked(requests: &Requests, which: impl Fn(&str, &str) -> bool) -> u64 {
    requests.all().iter().filter(|(verb, kind, _)| which(verb, kind)).map(|(.., n)| n).sum()
}

fn options() -> BackupOptions {
    let about = About { client: Some("test".into()), paths: vec![b"/source".to_vec()], ..About::default() };
    BackupOptions { about, ..BackupOptions::default() }
}

/// A repository as a process of its own opens it, and what it asks for.
fn process(storage: Arc<dyn Storage>) -> (Repository, Arc<Requests>) {
    let requests = Arc::new(Requests::default());
    let viewed = Arc::new(Viewed::new(Arc::new(Counted::new(storage, Arc::clone(&requests)))));
    viewed.look();
    (repo::open_viewed(viewed, &Credential::Nothing, None).unwrap(), requests)
}

fn run(storage: Arc<dyn Storage>, dir: &Path) -> (BackupSummary, Arc<Requests>) {
    let (mut repo, requests) = process(storage);
    (back_up(&mut repo, dir, &options()), requests)
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

/// Where one request lists everything: two listings, one before and one after the session is there,
/// four objects that are written, and a look whether the session still is. The rest is reading.
#[test]
fn an_unchanged_backup_lists_twice_and_writes_four_objects() {
    let (memory, _) = fresh();
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path(), 10_000);
    run(Arc::new(memory.clone()), dir.path());
    for before in 1..4 {
        let (done, requests) = run(Arc::new(memory.clone()), dir.path());
        assert_eq!((done.stats.files_unmodified, done.stats.files_new), (10_000, 0));
        let all = requests.all();
        assert_eq!(asked(&requests, |verb, _| verb == "list"), 2, "{all:?}");
        assert_eq!(asked(&requests, |verb, _| verb != "get"), 7, "{all:?}");
        // Slot, keyring, configuration, client, segment; each snapshot and its close; the last one again.
        let records = asked(&requests, |verb, kind| verb == "get" && kind != "packs");
        assert!(records <= 6 + 2 * before, "{all:?}");
        assert!(asked(&requests, |verb, kind| (verb, kind) == ("get", "packs")) <= 12, "{all:?}");
    }
}

/// Where folders are listed one by one: each of them at most once before and once after the session is
/// there.
#[test]
fn folders_are_listed_once_before_and_once_after_the_session_is_there() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    plant(dir.path(), 200);
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(place.path()).unwrap());
    init(&storage);
    run(Arc::clone(&storage), dir.path());
    let (done, requests) = run(storage, dir.path());
    assert_eq!((done.stats.files_unmodified, done.stats.files_new), (200, 0));
    let all = requests.all();
    for (kind, most) in [("tombstones", 2), ("sessions", 2), ("gc", 2), ("index", 1), ("packs", 1), ("notes", 1)] {
        assert_eq!(asked(&requests, |verb, listed| (verb, listed) == ("list", kind)), most, "{kind} of {all:?}");
    }
    assert!(asked(&requests, |verb, _| verb == "list") <= 22, "{all:?}");
}
