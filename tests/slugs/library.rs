//! What nobody meets who has no enemy, no collector in the way and no broken disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use orlop::error::Error;
use orlop::event::{Context, Meter, Quiet};
use orlop::format::gc::Reason;
use orlop::format::keys::Credential;
use orlop::format::page::Page;
use orlop::format::records::{CloseKind, Purpose};
use orlop::id::RecordId;
use orlop::index::Index;
use orlop::model::{Content, Node, NodeKind, PageRef, Time};
use orlop::ops::check::{self, CheckOptions, Data};
use orlop::ops::forget::carry_out;
use orlop::ops::prune::{PruneOptions, Unused, prune};
use orlop::ops::remake::{RewriteOptions, Way, rewrite};
use orlop::ops::restore::{RestoreOptions, restore};
use orlop::plan::filter::{Case, Origin, Patterns, RestoreSelection};
use orlop::repo::{self, Repository, Snapshot, Writer, WriterOptions};
use orlop::storage::testing::{FaultStorage, How, Verb};
use orlop::storage::{LocalStorage, Storage};

use super::Heard;
use super::support::{self, Ears, back_up, fresh, listening, open, small_packs};

/// As the program would put it.
fn problems(ears: &Ears) -> Heard {
    let all = ears.problems.lock().unwrap();
    Ok(all.iter().map(|p| format!("\"slug\":\"{}\" {p}\n", p.split(' ').next().unwrap())).collect())
}

fn error(e: &Error) -> Heard {
    Ok(orlop::report::wire::exit_error(e))
}

fn source() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("kept"), "kept").unwrap();
    std::fs::write(dir.path().join("gone"), "gone").unwrap();
    dir
}

fn get(repo: &Repository, id: RecordId) -> Snapshot {
    repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap().into_iter().find(|s| s.id == id).unwrap()
}

pub fn fenced() -> Heard {
    let (_memory, storage) = fresh();
    let mut repo = open(&storage);
    let who = repo.identity(Some("test")).unwrap();
    let session = repo.begin(&who, Purpose::Backup, vec![]).unwrap();
    assert!(repo.fence(&who, session.id, session.seen_gen()).unwrap());
    error(&repo.close(&session, CloseKind::End, vec![]).unwrap_err())
}

pub fn cancelled() -> Heard {
    let (_memory, storage) = fresh();
    let dir = source();
    let mut repo = open(&storage);
    let s = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    let (meter, cancel) = (Meter::default(), AtomicBool::new(true));
    let cx = Context { observer: &Quiet, meter: &meter, cancel: &cancel };
    let out = tempfile::tempdir().unwrap();
    let s = get(&repo, s);
    error(&restore(&repo, &s, None, out.path(), &RestoreOptions::default(), &cx).unwrap_err())
}

/// A name that is none can only be a mistake of the one who asks.
pub fn bug() -> Heard {
    let (_memory, storage) = fresh();
    error(&open(&storage).verify_object("gc/../odd").unwrap_err())
}

/// By a storage that takes no pack any more, where one that nothing needs can go.
pub fn no_room() -> Heard {
    let (memory, storage) = fresh();
    let dir = source();
    let mut repo = open(&storage);
    let mut last = None;
    for n in 0..3 {
        // Some of it changes, and some of it alone is in a pack of its own.
        let parts = [support::noise(30_000, 1), support::noise(30_000, 10 + n), support::noise(200_000, 20 + n)];
        parts.iter().zip(0..).for_each(|(part, i)| std::fs::write(dir.path().join(format!("f{i}")), part).unwrap());
        support::settle();
        // One thread, so that the first two share a frame.
        last = support::stop::alone(|| back_up(&mut repo, dir.path(), &small_packs()).snapshot);
    }
    let who = repo.identity(None).unwrap();
    for s in repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap().iter().filter(|s| Some(s.id) != last) {
        repo.forget(&who, s, Reason::Forget, Time { sec: 0, nsec: 0 }).unwrap();
    }
    let faults = FaultStorage::new(memory);
    faults.fail_always(Verb::Publish, How::Full);
    let mut repo = open(&(Arc::new(faults) as Arc<dyn Storage>));
    let options = PruneOptions { now: true, max_unused: Unused::Bytes(0), ..PruneOptions::default() };
    let (done, ears) = listening(|cx| prune(&mut repo, &options, cx));
    done.unwrap();
    let all = ears.notices.lock().unwrap();
    Ok(all.iter().map(|n| format!("\"slug\":\"{}\" {n}\n", n.split(':').next().unwrap())).collect())
}

/// By a storage that takes nothing any more.
pub fn not_forgotten() -> Heard {
    let (_memory, storage) = fresh();
    let dir = source();
    let faults = Arc::new(FaultStorage::new(storage));
    let storage: Arc<dyn Storage> = faults.clone();
    let mut repo = open(&storage);
    let id = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    let s = get(&repo, id);
    faults.fail_always(Verb::PutNew, How::Denied);
    let (done, ears) = listening(|cx| carry_out(&mut repo, Some("test"), &[&s], cx));
    assert!(done.unwrap().removed.is_empty());
    problems(&ears)
}

fn without_gone() -> RewriteOptions {
    let given = [(b"gone".to_vec(), Origin::Flag("--exclude"))];
    let exclude = Patterns::compile(given, Case::Sensitive).unwrap();
    RewriteOptions {
        way: Way { client: Some("test".into()), compression: Some(3), verify: true, ..Way::default() },
        selection: RestoreSelection::Except(exclude, Patterns::default()),
        ..RewriteOptions::default()
    }
}

pub fn forgotten() -> Heard {
    let (_memory, storage) = fresh();
    let dir = source();
    let mut repo = open(&storage);
    let id = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    let s = get(&repo, id);
    support::prune::forget(&mut repo, id);
    let (_, ears) = listening(|cx| rewrite(&mut repo, &[&s], &without_gone(), None, cx));
    problems(&ears)
}

/// A repository on disk with a snapshot that was committed after its session had been given up.
pub fn late(place: &Path, from: &Path) {
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(place).unwrap());
    support::init(&storage);
    std::fs::write(from.join("gone"), "gone").unwrap();
    let mut repo = repo::open(storage.clone(), &Credential::Nothing, None).unwrap();
    let id = back_up(&mut repo, from, &small_packs()).snapshot.unwrap();
    let s = get(&repo, id);
    let other = Mutex::new(open(&storage));
    let fence = |_: &[u8]| {
        let mut other = other.lock().unwrap();
        let who = other.identity(Some("test")).unwrap();
        for session in other.sessions().unwrap().open {
            other.fence(&who, session.open.session, session.seen_gen).unwrap();
        }
    };
    let (_, ears) = listening(|cx| rewrite(&mut repo, &[&s], &without_gone(), Some(&fence), cx));
    assert!(!ears.notices.lock().unwrap().is_empty());
}

// ---------------------------------------------------------------- trees that no backup makes

fn node(name: &[u8], kind: NodeKind) -> Node {
    let mtime = Time { sec: 1, nsec: 1 };
    Node { name: name.to_vec(), kind, mode: 0o755, uid: 0, gid: 0, mtime, ctime: mtime, ino: 0, ext: vec![] }
}

fn dir(w: &Writer<'_>, nodes: Vec<Node>) -> PageRef {
    let (entries, bytes) = (nodes.len() as u64, nodes.iter().map(Node::bytes).sum());
    PageRef { id: w.page(&Page::Dir(nodes).encode()).unwrap(), level: 0, entries, bytes }
}

/// A repository with a snapshot of the tree that `make` stores.
fn forged(make: impl FnOnce(&Writer<'_>) -> PageRef) -> (Repository, Snapshot) {
    let (_memory, storage) = fresh();
    let from = source();
    let mut repo = open(&storage);
    let like = back_up(&mut repo, from.path(), &small_packs()).snapshot.unwrap();
    let like = get(&repo, like);
    let who = repo.identity(Some("test")).unwrap();
    let session = repo.begin(&who, Purpose::Backup, vec![]).unwrap();
    let index = Index::default();
    let options =
        WriterOptions { compression: Some(3), pack_target: 16 << 20, verify: true, dry_run: false, segment_packs: 32 };
    let (meter, cancel) = (Meter::default(), AtomicBool::new(false));
    let cx = Context { observer: &Quiet, meter: &meter, cancel: &cancel };
    let writer = Writer::new(&repo, &who, &session, &index, &cx, options);
    let root = make(&writer);
    writer.finish().unwrap();
    let mut new = repo::NewSnapshot { statement: like.statement.clone(), body: like.body.clone() };
    new.statement.root = Some(root);
    let id = repo.commit(&who, &session, new).unwrap();
    repo.close(&session, CloseKind::End, vec![id]).unwrap();
    let s = get(&repo, id);
    (repo, s)
}

fn restored(repo: &Repository, s: &Snapshot) -> Heard {
    let out = tempfile::tempdir().unwrap();
    let (done, ears) = listening(|cx| restore(repo, s, None, out.path(), &RestoreOptions::default(), cx));
    done.unwrap();
    problems(&ears)
}

fn evil(w: &Writer<'_>) -> PageRef {
    let kind = NodeKind::File { size: 4, content: Content::Inline(b"evil".to_vec()) };
    dir(w, vec![node(b"../evil", kind)])
}

pub fn rejected_name() -> Heard {
    let (repo, s) = forged(evil);
    restored(&repo, &s)
}

pub fn bad_name() -> Heard {
    let (mut repo, _) = forged(evil);
    let options = CheckOptions { data: Data::Trees, ..CheckOptions::default() };
    let (done, ears) = listening(|cx| check::check(&mut repo, &options, cx));
    done.unwrap();
    problems(&ears)
}

pub fn too_deep() -> Heard {
    let (repo, s) = forged(|w| {
        let mut root = dir(w, vec![]);
        for _ in 0..4200 {
            root = dir(w, vec![node(b"d", NodeKind::Dir { root: Some(root) })]);
        }
        root
    });
    restored(&repo, &s)
}
