//! What tests of pruning share.

use orlop::format::gc::Reason;
use orlop::format::pack::Kind;
use orlop::id::RecordId;
use orlop::model::Time;
use orlop::ops::prune::{self, PruneOptions, PruneSummary, Unused};
use orlop::repo::Repository;
use orlop::storage::Storage;

use super::*;

/// At once, and to the last byte.
pub fn now() -> PruneOptions {
    PruneOptions { now: true, max_unused: Unused::Bytes(0), pack_target: Some(48 << 10), ..PruneOptions::default() }
}

pub fn try_prune(repo: &mut Repository, options: &PruneOptions) -> Result<PruneSummary> {
    listening(|cx| prune::prune(repo, options, cx)).0
}

pub fn prune(repo: &mut Repository, options: &PruneOptions) -> PruneSummary {
    let (done, ears) = listening(|cx| prune::prune(repo, options, cx));
    assert_eq!(*ears.problems.lock().unwrap(), Vec::<String>::new());
    done.unwrap()
}

pub fn prune_now(repo: &mut Repository) -> PruneSummary {
    prune(repo, &now())
}

/// Forget a snapshot; it may go from now on.
pub fn forget(repo: &mut Repository, id: RecordId) {
    forget_until(repo, id, 0);
}

/// The same from a time on, in seconds.
pub fn forget_until(repo: &mut Repository, id: RecordId, not_before: i64) {
    let who = repo.identity(None).unwrap();
    let all = repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
    let snapshot = all.iter().find(|s| s.id == id).expect("the snapshot is there");
    repo.forget(&who, snapshot, Reason::Forget, Time { sec: not_before, nsec: 0 }).unwrap();
}

/// Bytes of all packs.
pub fn stored(storage: &dyn Storage) -> u64 {
    storage.list("packs/").unwrap().iter().map(|l| l.len).sum()
}

/// Everything that is stored is needed by a snapshot: by a walk of its own over all trees.
pub fn assert_nothing_unneeded(repo: &Repository) {
    let index = repo.load_index(&|name, e| panic!("{name}: {e}")).unwrap();
    let reader = Reader::new(repo, &index);
    let mut needed = BTreeSet::new();
    for s in repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap() {
        let tombstones = repo.tombstones(&|n, e| panic!("{n}: {e}")).unwrap();
        if tombstones.at(s.statement.client, s.statement.seq).is_empty() {
            s.statement.root.iter().for_each(|root| gather(&reader, root.id, &mut needed));
        }
    }
    for (pack, ids) in contents(repo) {
        let dead: Vec<_> = ids.iter().filter(|id| !needed.contains(*id)).collect();
        assert!(dead.is_empty(), "{pack}: {} of {} blobs are dead", dead.len(), ids.len());
    }
}

fn gather(reader: &Reader<'_>, id: BlobId, into: &mut BTreeSet<BlobId>) {
    use orlop::format::page::Page;
    if !into.insert(id) {
        return;
    }
    let data = |e: &Extent, into: &mut BTreeSet<BlobId>| {
        if let Extent::Data { id, .. } = e {
            into.insert(*id);
        }
    };
    match Page::decode(&reader.fetch(Kind::Tree, &id).unwrap()).unwrap() {
        Page::Dir(nodes) => {
            for n in nodes {
                match n.kind {
                    NodeKind::Dir { root: Some(root) } => gather(reader, root.id, into),
                    NodeKind::File { content: Content::Pages { root, .. }, .. } => gather(reader, root.id, into),
                    NodeKind::File { content: Content::Extents { extents, .. }, .. } => {
                        extents.iter().for_each(|e| data(e, into));
                    }
                    _ => {}
                }
            }
        }
        Page::DirInner(_, children) => children.iter().for_each(|c| gather(reader, c.id, into)),
        Page::List(extents) => extents.iter().for_each(|e| data(e, into)),
        Page::ListInner(_, children) => children.iter().for_each(|c| gather(reader, c.id, into)),
    }
}
