//! What several tests share: a repository in memory, a source tree, and a verifier that compares a
//! snapshot with the file system by means of its own: it walks with `std::fs` and reads blobs one
//! by one.

#![allow(dead_code, unused_imports)]

pub mod alike;
pub mod dice;
pub mod keyring;
pub mod memory;
mod noise;
pub mod odd;
pub mod prune;
pub mod stop;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use orlop::error::{Error, Result};
use orlop::event::{Context, Event, Meter, Observer};
use orlop::format::keys::Credential;
use orlop::format::pack::Kind;
use orlop::id::{BlobId, PackId, RecordId};
use orlop::model::{Content, Extent, Node, NodeKind, PageRef};
use orlop::ops::backup::{self, About, BackupOptions, BackupSummary, Input, Sources};
use orlop::ops::check::{self, CheckOptions, CheckSummary, Data};
use orlop::ops::restore::{RestoreOptions, restore};
use orlop::repo::{self, Entries, Extents, InitOptions, Reader, Repository};
use orlop::storage::{MemoryStorage, Storage};
use orlop::sys::Host;

pub use noise::noise;

/// Keeps what was told.
#[derive(Default)]
pub struct Ears {
    pub problems: Mutex<Vec<String>>,
    pub notices: Mutex<Vec<String>>,
}
impl Observer for Ears {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Problem(p) => self.problems.lock().unwrap().push(format!(
                "{} {} {}: {}",
                p.slug,
                p.during,
                String::from_utf8_lossy(&p.subject),
                p.message
            )),
            Event::Notice(n) => self.notices.lock().unwrap().push(format!("{}: {}", n.slug, n.message)),
            _ => {}
        }
    }
}

/// Runs something with a context of its own; gives what was told, too.
pub fn listening<T>(run: impl FnOnce(&Context<'_>) -> T) -> (T, Ears) {
    let (ears, meter, cancel) = (Ears::default(), Meter::default(), AtomicBool::new(false));
    let out = run(&Context { observer: &ears, meter: &meter, cancel: &cancel });
    (out, ears)
}

pub fn init(storage: &Arc<dyn Storage>) {
    init_like(storage, None, None);
}

/// The same with the keys of another one, or cut like another one.
pub fn init_like(storage: &Arc<dyn Storage>, mirror_of: Option<&Repository>, cut_like: Option<&Repository>) {
    let options = InitOptions {
        credential: Credential::Nothing,
        recovery: false,
        compression: 3,
        suite: None,
        undelete_window: orlop::repo::UNDELETE_WINDOW,
        mirror_of,
        cut_like,
    };
    repo::init(storage, &options).unwrap();
}

pub fn open(storage: &Arc<dyn Storage>) -> Repository {
    repo::open(storage.clone(), &Credential::Nothing, None).unwrap()
}

/// A repository in memory.
pub fn fresh() -> (MemoryStorage, Arc<dyn Storage>) {
    let memory = MemoryStorage::new();
    let storage: Arc<dyn Storage> = Arc::new(memory.clone());
    init(&storage);
    (memory, storage)
}

/// The same objects in another memory.
pub fn fork(from: &dyn Storage) -> MemoryStorage {
    let to = MemoryStorage::new();
    for l in from.list("").unwrap() {
        to.plant(&l.name, &from.get(&l.name, u64::MAX).unwrap());
    }
    to
}

/// A process of this machine before it was started again: alive to itself, dead to whoever comes
/// after.
pub fn before_reboot(times: u8) -> Host {
    Host { boot: [times; 16], ..this_process() }
}

/// This process on a machine that certainly has an id.
pub fn this_process() -> Host {
    Host { machine_id: vec![7; 16], ..Host::current() }
}

pub fn small_packs() -> BackupOptions {
    BackupOptions {
        chunking: 2,
        pack_target: Some(48 << 10),
        segment_packs: Some(2),
        about: About { client: Some("test".into()), paths: vec![b"/source".to_vec()], ..About::default() },
        ..BackupOptions::default()
    }
}

pub fn source(dir: &Path) -> Sources {
    let mut sources = Sources::default();
    let list = |p: &Path| {
        let names = fs::read_dir(p).unwrap();
        Ok(names.flatten().map(|e| e.file_name().into_vec()).collect())
    };
    sources.add(dir, &list).unwrap();
    sources
}

pub fn try_backup(repo: &mut Repository, dir: &Path, options: &BackupOptions) -> Result<BackupSummary> {
    listening(|cx| backup::backup(repo, Input::Paths(source(dir)), options, cx)).0
}

/// Backs up without any trouble.
pub fn back_up(repo: &mut Repository, dir: &Path, options: &BackupOptions) -> BackupSummary {
    let (done, ears) = listening(|cx| backup::backup(repo, Input::Paths(source(dir)), options, cx));
    assert_eq!(*ears.problems.lock().unwrap(), Vec::<String>::new());
    done.unwrap()
}

pub fn check(repo: &mut Repository, data: Data) -> (CheckSummary, Ears) {
    let options = CheckOptions { data, ..CheckOptions::default() };
    let (done, ears) = listening(|cx| check::check(repo, &options, cx));
    (done.unwrap(), ears)
}

pub fn check_only(repo: &mut Repository, data: Data, id: RecordId) -> (CheckSummary, Ears) {
    let wanted = |s: &repo::Snapshot| s.id == id;
    let options = CheckOptions { data, wanted: Some(&wanted), ..CheckOptions::default() };
    let (done, ears) = listening(|cx| check::check(repo, &options, cx));
    (done.unwrap(), ears)
}

/// Everything is in order, to the last byte.
pub fn assert_sound(repo: &mut Repository) -> CheckSummary {
    let (done, ears) = check(repo, Data::All);
    assert_eq!(done.errors, 0, "{:#?}", ears.problems.lock().unwrap());
    assert_eq!(done.broken_packs, vec![]);
    done
}

/// Ids in each pack, by the packs' own tables.
pub fn contents(repo: &Repository) -> BTreeMap<String, Vec<BlobId>> {
    let listed = repo.storage().list("packs/").unwrap();
    listed
        .into_iter()
        .map(|l| {
            let (_, table) = repo.read_table(l.name.as_str(), l.len).unwrap();
            (l.name.as_str().to_owned(), table.ids)
        })
        .collect()
}

/// No blob is stored twice.
pub fn assert_nothing_twice(repo: &Repository) {
    let mut seen = BTreeSet::new();
    for (pack, ids) in contents(repo) {
        for id in ids {
            assert!(seen.insert(id), "{} is in {pack} and in a pack before it", id.short());
        }
    }
}

/// The name of the pack that is longest.
pub fn largest_pack(storage: &dyn Storage, kind: Kind, repo: &Repository) -> (orlop::storage::Name, PackId) {
    let of_kind = |l: &orlop::storage::Listed| repo.read_table(l.name.as_str(), l.len).unwrap().1.kind == kind;
    let listed = storage.list("packs/").unwrap();
    let l = listed.into_iter().filter(of_kind).max_by_key(|l| l.len).unwrap();
    let id = orlop::format::names::parse_pack(l.name.as_str()).unwrap().0;
    (l.name, id)
}

/// A snapshot of this directory, restored elsewhere without any trouble.
pub fn restored(repo: &Repository, id: RecordId, dir: &Path) -> tempfile::TempDir {
    let (target, ears) = restored_beside(repo, id, dir, &|name, e| panic!("{name}: {e}"));
    assert_eq!(*ears.problems.lock().unwrap(), Vec::<String>::new());
    target
}

/// The same whatever else there is trouble with.
pub fn restored_beside(
    repo: &Repository,
    id: RecordId,
    dir: &Path,
    trouble: &(dyn Fn(&str, Error) + Sync),
) -> (tempfile::TempDir, Ears) {
    let snapshots = repo.snapshots(trouble).unwrap();
    let snapshot = snapshots.iter().find(|s| s.id == id).expect("the snapshot is there");
    let (target, options) = (tempfile::tempdir().unwrap(), RestoreOptions::default());
    let subdir = dir.as_os_str().as_bytes();
    let (done, ears) = listening(|cx| restore(repo, snapshot, Some(subdir), target.path(), &options, cx));
    let (done, told) = (done.unwrap(), ears.problems.lock().unwrap().clone());
    assert_eq!((done.restored, done.problems), (done.entries, told.len() as u64), "{told:?}");
    (target, ears)
}

/// A real restore of a snapshot gives back what is in the directory, judged without orlop.
#[track_caller]
pub fn assert_restores(repo: &Repository, id: RecordId, dir: &Path) {
    alike::assert_alike(dir, restored(repo, id, dir).path());
}

/// Compare a snapshot with the directory it was made of.
pub fn assert_same(repo: &Repository, id: RecordId, dir: &Path) {
    let snapshots = repo.snapshots(&|name, e| panic!("{name}: {e}")).unwrap();
    let snapshot = snapshots.iter().find(|s| s.id == id).expect("the snapshot is there");
    let index = repo.load_index(&|name, e| panic!("{name}: {e}")).unwrap();
    let reader = Reader::new(repo, &index);
    let root = down(&reader, snapshot.statement.root, dir);
    compare_dir(&reader, root, dir);
}

/// Down the way that leads to a directory. What stands beside it, and the times of what is above it,
/// are other people's business.
fn down(reader: &Reader<'_>, mut root: Option<PageRef>, dir: &Path) -> Option<PageRef> {
    for part in dir.components() {
        if let std::path::Component::Normal(name) = part {
            let node = entries(reader, root).remove(name.as_bytes()).expect("the way to the source");
            let NodeKind::Dir { root: below } = node.kind else { panic!("the way leads through directories") };
            root = below;
        }
    }
    root
}

/// The root of a directory in a snapshot.
pub fn root_of(repo: &Repository, id: RecordId, dir: &Path) -> Option<PageRef> {
    let all = repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
    let index = repo.load_index(&|name, e| panic!("{name}: {e}")).unwrap();
    let root = all.into_iter().find(|s| s.id == id).unwrap().statement.root;
    down(&Reader::new(repo, &index), root, dir)
}

fn entries(reader: &Reader<'_>, root: Option<PageRef>) -> BTreeMap<Vec<u8>, Node> {
    let mut walk = Entries::new(reader, root);
    let mut out = BTreeMap::new();
    while let Some(node) = walk.next().unwrap() {
        assert!(out.last_key_value().is_none_or(|(last, _)| *last < node.name), "names ascend");
        out.insert(node.name.clone(), node);
    }
    assert_eq!(out.len() as u64, root.map_or(0, |r| r.entries));
    out
}

fn compare_dir(reader: &Reader<'_>, root: Option<PageRef>, dir: &Path) {
    let nodes = entries(reader, root);
    let there: BTreeSet<Vec<u8>> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_vec()).collect();
    let kept: BTreeSet<Vec<u8>> = nodes.keys().cloned().collect();
    assert_eq!(kept, there, "names in {}", dir.display());
    for (name, node) in nodes {
        compare(reader, &node, &dir.join(PathBuf::from(std::ffi::OsString::from_vec(name))));
    }
}

fn compare(reader: &Reader<'_>, node: &Node, path: &Path) {
    let meta = fs::symlink_metadata(path).unwrap();
    let shown = path.display();
    assert_eq!(node.mode, meta.mode() & 0o7777, "mode of {shown}");
    assert_eq!((node.uid, node.gid), (meta.uid(), meta.gid()), "owner of {shown}");
    assert_eq!((node.mtime.sec, i64::from(node.mtime.nsec)), (meta.mtime(), meta.mtime_nsec()), "mtime of {shown}");
    match &node.kind {
        NodeKind::Dir { root } => {
            assert!(meta.is_dir(), "{shown}");
            compare_dir(reader, *root, path);
        }
        NodeKind::Symlink { target } => {
            assert_eq!(*target, fs::read_link(path).unwrap().into_os_string().into_vec(), "{shown}");
        }
        NodeKind::File { size, content } => {
            assert!(meta.is_file(), "{shown}");
            assert_eq!(*size, meta.len(), "length of {shown}");
            assert!(read(reader, content) == fs::read(path).unwrap(), "bytes of {shown}");
        }
        other => panic!("{shown}: {other:?} is not made by these tests"),
    }
}

/// A file's bytes, blob by blob.
pub fn read(reader: &Reader<'_>, content: &Content) -> Vec<u8> {
    let mut out = Vec::new();
    if let Content::Inline(bytes) = content {
        return bytes.clone();
    }
    let mut extents = Extents::new(reader, content);
    while let Some(e) = extents.next().unwrap() {
        match e {
            Extent::Hole { len } => out.resize(out.len() + len as usize, 0),
            Extent::Data { id, len, repeat } => {
                let blob = reader.fetch(Kind::Data, &id).unwrap();
                assert_eq!(blob.len(), len as usize);
                (0..repeat).for_each(|_| out.extend_from_slice(&blob));
            }
        }
    }
    out
}

/// Wait until what was written just now does not count as just written any more.
pub fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(40));
}
