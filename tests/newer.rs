//! What a newer orlop wrote: it is kept where it is carried over, and not touched where that was asked for.
//!
//! Extensions were lost by whatever made a snapshot of another one, and nothing looked whether they, or the
//! repository, forbade it.

mod support;

use std::fs;
use std::sync::Arc;

use orlop::crypto::{Secret, SigningKey};
use orlop::error::{Error, ErrorKind, Result};
use orlop::event::Context;
use orlop::format::codec::encode;
use orlop::format::keys::{Credential, Keyring, Slot};
use orlop::format::page::Page;
use orlop::format::record::{Place, RecordType, Sealing};
use orlop::format::records::{CloseKind, Config, Purpose};
use orlop::format::{armour, names};
use orlop::id::RecordId;
use orlop::model::{Content, Ext, Node, NodeKind, PageRef, Statement, Time};
use orlop::ops::backup::BackupOptions;
use orlop::ops::copy::{Became as Copied, CopyOptions, CopySummary, From, copy};
use orlop::ops::forget::{self, By, ForgetOptions};
use orlop::ops::prune::{PruneOptions, prune};
use orlop::ops::remake::{Became, MergeOptions, RewriteOptions, Rewritten, Way, merge, rewrite};
use orlop::ops::restore::{RestoreOptions, restore};
use orlop::ops::select::Filter;
use orlop::plan::filter::{Case, Origin, Patterns, RestoreSelection};
use orlop::repo::{NewSnapshot, Reader, Repository, SlotNote, Snapshot, Writer, WriterOptions, slot_ids};
use orlop::retain::{GroupBy, Policy};
use orlop::storage::{Name, Storage};
use support::keyring::keyring;
use support::*;

/// Extensions of a newer orlop.
const HARMLESS: u16 = 900;
const CRITICAL: u16 = 901;

fn ext(tag: u16, data: &[u8]) -> Ext {
    let flags = if tag == CRITICAL { Ext::CRITICAL_WRITE } else { 0 };
    Ext { tag, flags, data: data.to_vec() }
}

fn way() -> Way {
    Way { client: Some("test".into()), compression: Some(3), verify: true, ..Way::default() }
}

/// A repository in memory with a snapshot of two files.
struct World {
    storage: Arc<dyn Storage>,
    repo: Repository,
    first: Snapshot,
}

fn world() -> World {
    let (_, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/kept"), noise(5000, 1)).unwrap();
    fs::write(dir.path().join("sub/gone"), noise(5000, 2)).unwrap();
    settle();
    let mut repo = open(&storage);
    let first = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    let first = get(&repo, first);
    World { storage, repo, first }
}

fn get(repo: &Repository, id: RecordId) -> Snapshot {
    repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap().into_iter().find(|s| s.id == id).unwrap()
}

impl World {
    /// A snapshot like the first, as a newer orlop would have made it.
    fn newer(&mut self, make: impl FnOnce(&mut NewSnapshot, &Writer<'_>)) -> Snapshot {
        let who = self.repo.identity(Some("test")).unwrap();
        let session = self.repo.begin(&who, Purpose::Backup, vec![]).unwrap();
        let index = self.repo.load_index(&|n, e| panic!("{n}: {e}")).unwrap();
        let options = WriterOptions {
            compression: Some(3),
            pack_target: 1 << 20,
            verify: true,
            dry_run: false,
            segment_packs: 32,
        };
        let (id, _) = listening(|cx| {
            let writer = Writer::new(&self.repo, &who, &session, &index, cx, options);
            let mut new = NewSnapshot { statement: self.first.statement.clone(), body: self.first.body.clone() };
            make(&mut new, &writer);
            writer.finish().unwrap();
            self.repo.commit(&who, &session, new).unwrap()
        });
        self.repo.close(&session, CloseKind::End, vec![id]).unwrap();
        get(&self.repo, id)
    }

    /// One with extensions in its statement and in its body.
    fn extended(&mut self, statement: Vec<Ext>, body: Vec<Ext>) -> Snapshot {
        self.newer(|new, _| (new.statement.ext, new.body.ext) = (statement, body))
    }

    /// One with a directory `dir` that has extensions, in which there is a file that has some, and `gone`.
    fn with_nodes(&mut self, of_dir: Vec<Ext>, of_file: Vec<Ext>) -> Snapshot {
        self.newer(|new, writer| {
            let chunk =
                writer.chunk(orlop::repo::FrameScope { source: 0, uid: 0, target: 1 << 20 }, &[7; 600]).unwrap().0;
            let extents = vec![orlop::model::Extent::Data { id: chunk, len: 600, repeat: 1 }];
            let content = Content::Extents { profile: 1, extents };
            let file = node("file", NodeKind::File { size: 600, content }, of_file);
            let gone = node("gone", NodeKind::File { size: 1, content: Content::Inline(vec![1]) }, vec![]);
            let inside = page(writer, vec![file, gone]);
            new.statement.root = Some(page(writer, vec![node("dir", NodeKind::Dir { root: Some(inside) }, of_dir)]));
        })
    }

    fn rewrite(&mut self, s: &[&Snapshot], options: &RewriteOptions) -> (Result<Vec<Rewritten>>, Ears) {
        listening(|cx| rewrite(&mut self.repo, s, options, None, cx))
    }

    fn merge(&mut self, all: &[&Snapshot]) -> (Result<Snapshot>, Ears) {
        let options = MergeOptions { way: way(), time: (Time { sec: 5, nsec: 0 }, 0), ..MergeOptions::default() };
        let (done, ears) = listening(|cx| merge(&mut self.repo, all, &options, None, cx));
        (done.map(|m| get(&self.repo, m.snapshot.unwrap())), ears)
    }

    /// Copies to a repository with other keys.
    fn copy(&self, s: &[&Snapshot]) -> (CopySummary, Repository, Ears) {
        let memory = orlop::storage::MemoryStorage::new();
        let there: Arc<dyn Storage> = Arc::new(memory);
        init_like(&there, None, Some(&self.repo));
        let mut to = open(&there);
        let options = CopyOptions { way: way(), compare: true, connections: 2 };
        let (all, times) = (self.repo.snapshots(&|_, _| {}).unwrap(), self.repo.times(&|_, _| {}).unwrap());
        let from = From { repo: &self.repo, chosen: s, all: &all, times: &times };
        let (done, ears) = listening(|cx| copy(&from, &mut to, &options, cx));
        (done.unwrap(), to, ears)
    }

    fn count(&self) -> usize {
        self.storage.list("").unwrap().len()
    }
}

fn node(name: &str, kind: NodeKind, ext: Vec<Ext>) -> Node {
    let time = Time { sec: 1_600_000_000, nsec: 5 };
    Node { name: name.into(), kind, mode: 0o755, uid: 0, gid: 0, mtime: time, ctime: time, ino: 9, ext }
}

fn page(writer: &Writer<'_>, nodes: Vec<Node>) -> PageRef {
    let (entries, bytes) = (nodes.len() as u64, nodes.iter().map(Node::bytes).sum());
    PageRef { id: writer.page(&Page::Dir(nodes).encode()).unwrap(), level: 0, entries, bytes }
}

fn to_host(host: &str) -> RewriteOptions {
    RewriteOptions { way: way(), host: Some(host.into()), ..RewriteOptions::default() }
}

fn without(pattern: &str) -> RewriteOptions {
    let given = [(pattern.as_bytes().to_vec(), Origin::Flag("--exclude"))];
    let exclude = Patterns::compile(given, Case::Sensitive).unwrap();
    let selection = RestoreSelection::Except(exclude, Patterns::default());
    RewriteOptions { way: way(), selection, ..RewriteOptions::default() }
}

#[track_caller]
fn assert_needs_newer(e: &Error, tag: u16) {
    assert_eq!(e.kind(), ErrorKind::Unsupported, "{e}");
    assert_said(&e.to_string(), tag);
}

#[track_caller]
fn assert_said(text: &str, tag: u16) {
    assert!(text.contains(&format!("extension {tag}")) && text.contains("newer orlop"), "{text}");
}

fn heard(ears: &Ears) -> Vec<String> {
    let notices = ears.notices.lock().unwrap();
    notices.iter().filter(|n| n.starts_with("unknown-extension")).cloned().collect()
}

fn problems(ears: &Ears) -> String {
    ears.problems.lock().unwrap().join("\n")
}

#[test]
fn a_rewrite_carries_extensions_over_and_says_so() {
    let mut w = world();
    let (statement, body) = (vec![ext(HARMLESS, b"said")], vec![ext(HARMLESS + 5, b"to people")]);
    let old = w.extended(statement.clone(), body.clone());
    let (done, ears) = w.rewrite(&[&old], &to_host("other"));
    let Became::Changed { new: Some(new), .. } = done.unwrap()[0].became else { panic!("nothing was rewritten") };
    let new = get(&w.repo, new);
    assert_eq!((new.statement.ext, new.body.ext), (statement, body));
    let heard = heard(&ears).join("\n");
    assert!(heard.contains("900") && heard.contains("905") && heard.contains(&old.id.short()), "{heard}");
}

#[test]
fn a_merge_carries_over_what_all_have_alike() {
    let mut w = world();
    let both = |data: &[u8], own: u16| vec![ext(HARMLESS, b"alike"), ext(HARMLESS + 5, data), ext(own, b"own")];
    let one = w.extended(both(b"one", 910), both(b"one", 910));
    let two = w.extended(both(b"two", 911), both(b"two", 911));
    let (done, ears) = w.merge(&[&one, &two]);
    let new = done.unwrap();
    let alike = vec![ext(HARMLESS, b"alike")];
    assert_eq!((new.statement.ext, new.body.ext), (alike.clone(), alike));
    assert!(!heard(&ears).is_empty());
}

#[test]
fn a_copy_under_other_keys_carries_extensions_over() {
    let mut w = world();
    let (statement, body) = (vec![ext(HARMLESS, b"said")], vec![ext(HARMLESS + 5, b"to people")]);
    let old = w.extended(statement.clone(), body.clone());
    let (done, to, ears) = w.copy(&[&old]);
    let [(_, Copied::Copied(Some(new)))] = done.snapshots[..] else { panic!("{done:?}") };
    let new = get(&to, new);
    assert_eq!((new.statement.ext, new.body.ext), (statement, body));
    assert!(!heard(&ears).is_empty());
}

#[test]
fn what_only_a_newer_orlop_may_write_is_not_made_anew() {
    let critical = || vec![ext(CRITICAL, b"keep off")];
    for of_body in [false, true] {
        let mut w = world();
        let (statement, body) = if of_body { (vec![], critical()) } else { (critical(), vec![]) };
        let old = w.extended(statement, body);
        let before = w.count();
        assert_needs_newer(&w.rewrite(&[&w.first.clone(), &old], &to_host("other")).0.unwrap_err(), CRITICAL);
        assert_needs_newer(&w.merge(&[&w.first.clone(), &old]).0.unwrap_err(), CRITICAL);
        assert_eq!(w.count(), before, "nothing was written");
        // Others are copied all the same.
        let (done, to, ears) = w.copy(&[&w.first, &old]);
        assert_said(&problems(&ears), CRITICAL);
        let became = |id| done.snapshots.iter().find(|(s, _)| *s == id).unwrap().1;
        assert!(matches!(became(w.first.id), Copied::Copied(Some(_))), "{done:?}");
        assert_eq!(became(old.id), Copied::Failed);
        assert_eq!(to.snapshots(&|_, _| {}).unwrap().len(), 1);
    }
}

#[test]
fn what_only_a_newer_orlop_may_drop_is_not_forgotten() {
    let mut w = world();
    let old = w.extended(vec![ext(CRITICAL, b"")], vec![]);
    let (done, ears) = listening(|cx| forget::carry_out(&mut w.repo, Some("test"), &[&old, &w.first], cx));
    assert_eq!(done.unwrap().removed, [w.first.id]);
    assert_said(&problems(&ears), CRITICAL);
}

#[test]
fn policies_leave_alone_what_only_a_newer_orlop_may_drop() {
    let mut w = world();
    let old = w.extended(vec![], vec![ext(CRITICAL, b"")]);
    w.extended(vec![], vec![]);
    let policy = Policy::parse(r#"{"keep_last":1}"#, &forget::zone).unwrap();
    let options = ForgetOptions {
        by: By::Policy(Box::new(policy)),
        filter: Filter::default(),
        group_by: GroupBy::default(),
        allow_remove_all: false,
        allow_mass_removal: false,
        zone: jiff::tz::TimeZone::UTC,
    };
    let standing = w.repo.standing(&|n, e| panic!("{n}: {e}")).unwrap();
    let plan = forget::plan(&standing, &options, &forget::Doubts::default(), Time { sec: 1 << 31, nsec: 0 }).unwrap();
    let going: Vec<RecordId> = plan[0].those(false).map(|p| p.snapshot.id).collect();
    assert_eq!(going, [w.first.id]);
    let kept = plan[0].those(true).find(|p| p.snapshot.id == old.id).unwrap();
    assert_said(&kept.reasons.iter().map(ToString::to_string).collect::<String>(), CRITICAL);
}

#[test]
fn nodes_keep_their_extensions() {
    let mut w = world();
    let (of_dir, of_file) = (vec![ext(HARMLESS, b"dir")], vec![ext(HARMLESS + 5, b"file")]);
    let old = w.with_nodes(of_dir.clone(), of_file.clone());
    let read = |repo: &Repository, root: Option<PageRef>| {
        let index = repo.load_index(&|n, e| panic!("{n}: {e}")).unwrap();
        let reader = Reader::new(repo, &index);
        let dir = orlop::repo::lookup(&reader, root, b"dir").unwrap().unwrap();
        let NodeKind::Dir { root } = dir.kind else { panic!("{dir:?}") };
        (dir.ext, orlop::repo::lookup(&reader, root, b"file").unwrap().unwrap().ext)
    };
    let (done, _) = w.rewrite(&[&old], &without("gone"));
    let Became::Changed { new: Some(new), .. } = done.unwrap()[0].became else { panic!("nothing was rewritten") };
    let new = get(&w.repo, new);
    assert_eq!(read(&w.repo, new.statement.root), (of_dir.clone(), of_file.clone()));
    let merged = w.merge(&[&old, &new]).0.unwrap();
    assert_eq!(read(&w.repo, merged.statement.root), (of_dir.clone(), of_file.clone()));
    let (done, to, ears) = w.copy(&[&old]);
    let [(_, Copied::Copied(Some(copy)))] = done.snapshots[..] else { panic!("{done:?} {}", problems(&ears)) };
    assert_eq!(read(&to, get(&to, copy).statement.root), (of_dir, of_file));
}

#[test]
fn nodes_that_only_a_newer_orlop_may_write_are_not_made_anew() {
    let critical = || vec![ext(CRITICAL, b"")];
    // A directory that loses an entry is another one; a file beside that is not.
    let mut w = world();
    let dir = w.with_nodes(critical(), vec![]);
    assert_needs_newer(&w.rewrite(&[&dir], &without("gone")).0.unwrap_err(), CRITICAL);
    let file = w.with_nodes(vec![], critical());
    let done = w.rewrite(&[&file], &without("gone")).0.unwrap();
    assert!(matches!(done[0].became, Became::Changed { new: Some(_), .. }));
    // Two of its kind united are another one.
    assert_needs_newer(&w.merge(&[&dir, &file]).0.unwrap_err(), CRITICAL);
    for s in [&dir, &file] {
        let (done, _, ears) = w.copy(&[s]);
        assert_eq!(done.snapshots, [(s.id, Copied::Failed)]);
        assert_said(&problems(&ears), CRITICAL);
    }
}

/// The next configuration is one of a newer orlop.
fn with_config(w: &World, change: impl FnOnce(&mut Config)) -> Repository {
    let ring = keyring(w.storage.as_ref());
    let n = w.repo.config().n + 1;
    let mut config = Config { n, prev: w.repo.config_id(), ..w.repo.config().clone() };
    change(&mut config);
    let epoch = ring.epochs.last().unwrap();
    let object = names::config(n);
    let (domain, instance) = (w.repo.domain(), w.repo.instance());
    let (bytes, _) = Sealing {
        kind: RecordType::Config,
        place: Place { domain, instance, name: &object },
        epoch: epoch.n,
        secret: epoch.index.as_ref().unwrap(),
        salt: [9; 32],
        signer: Some(&SigningKey::from_seed(&ring.owner.as_ref().unwrap().admin_seed)),
        clear: &[&domain.0[..], &instance.0[..]].concat(),
    }
    .seal(&encode(&config));
    w.storage.put_new(&Name::new(object).unwrap(), &armour::wrap(&bytes)).unwrap();
    open(&w.storage)
}

#[test]
fn a_repository_that_only_a_newer_orlop_may_write_is_read() {
    let mut w = world();
    w.repo = with_config(&w, |config| config.write_features = vec![7, 8]);
    let before = w.count();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), b"new").unwrap();
    let refused = |what: &str, e: Error| {
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{what}: {e}");
        let text = e.to_string();
        assert!(text.contains("features 7, 8") && text.contains("newer orlop"), "{what}: {text}");
    };
    refused("backup", try_backup(&mut w.repo, dir.path(), &small_packs()).unwrap_err());
    let mut other = small_packs();
    other.about.client = Some("somebody new".into());
    refused("enrolment", try_backup(&mut w.repo, dir.path(), &other).unwrap_err());
    refused("rewrite", w.rewrite(&[&w.first.clone()], &to_host("other")).0.unwrap_err());
    let pruned = |repo: &mut Repository, cx: &Context<'_>| prune(repo, &PruneOptions::default(), cx).map(drop);
    refused("prune", listening(|cx| pruned(&mut w.repo, cx)).0.unwrap_err());
    refused("configuration", w.repo.set_undelete_window(5).unwrap_err());
    let (done, ears) = listening(|cx| forget::carry_out(&mut w.repo, Some("test"), &[&w.first], cx));
    assert!(done.is_err() || problems(&ears).contains("features 7, 8"));
    assert_eq!(w.count(), before, "nothing was written, and nothing removed");

    assert_sound(&mut w.repo);
    let out = tempfile::tempdir().unwrap();
    listening(|cx| restore(&w.repo, &w.first, None, out.path(), &RestoreOptions::default(), cx)).0.unwrap();
    assert!(walkdir(out.path()).iter().any(|p| p.ends_with("sub/kept")));
    let (done, _, ears) = w.copy(&[&w.first]);
    assert!(matches!(done.snapshots[..], [(_, Copied::Copied(Some(_)))]), "{done:?} {}", problems(&ears));
    let dry = BackupOptions { dry_run: true, ..small_packs() };
    assert!(try_backup(&mut w.repo, dir.path(), &dry).is_ok(), "what would be can be said");
}

#[test]
fn a_configuration_keeps_its_extensions_or_stays() {
    let mut w = world();
    w.repo = with_config(&w, |config| config.ext = vec![ext(HARMLESS, b"kept")]);
    w.repo.set_undelete_window(5).unwrap();
    assert_eq!(open(&w.storage).config().ext, [ext(HARMLESS, b"kept")]);
    w.repo = with_config(&w, |config| config.ext = vec![ext(CRITICAL, b"")]);
    assert_needs_newer(&w.repo.set_undelete_window(6).unwrap_err(), CRITICAL);
    assert_eq!(open(&w.storage).config().undelete_window, 5);
}

#[test]
fn a_keyring_that_only_a_newer_orlop_may_write_stays() {
    let w = world();
    let get = |name: String| w.storage.get(&Name::new(name).unwrap(), u64::MAX).unwrap();
    let id = slot_ids(w.storage.as_ref()).unwrap()[0];
    let slot = Slot::parse(&armour::unwrap(&get(names::slot(id))).unwrap().content).unwrap();
    let seed = slot.open(&Credential::Nothing).unwrap().unwrap().seed;
    let ring = Keyring { ext: vec![ext(CRITICAL, b"")], ..keyring(w.storage.as_ref()) };
    let admin = SigningKey::from_seed(&ring.owner.as_ref().unwrap().admin_seed);
    let bytes = armour::wrap(&ring.seal(id, 2, &seed, [3; 32], &admin));
    w.storage.put_new(&Name::new(names::keyring(id, 2)).unwrap(), &bytes).unwrap();
    let mut repo = open(&w.storage);
    let (other, note) = (Credential::Raw(Secret::new([4; 32])), SlotNote::default());
    assert_needs_newer(&repo.add_slot(&other, &note).unwrap_err(), CRITICAL);
    assert_needs_newer(&repo.change_credential(&other, &note).unwrap_err(), CRITICAL);
    assert_eq!(slot_ids(w.storage.as_ref()).unwrap(), [id]);
}

fn walkdir(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut out = vec![];
    for path in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        out.extend(if path.is_dir() { walkdir(&path) } else { vec![path] });
    }
    out
}

/// Bits that no page gives a meaning to stay out of what is made anew.
#[test]
fn flags_that_are_not_known_are_not_carried_over() {
    let mut w = world();
    let old = w.newer(|new, _| new.statement.flags = Statement::HAS_PROBLEMS | 1 << 30);
    let (done, _) = w.rewrite(&[&old], &to_host("other"));
    let Became::Changed { new: Some(new), .. } = done.unwrap()[0].became else { panic!("nothing was rewritten") };
    assert_eq!(get(&w.repo, new).statement.flags, Statement::HAS_PROBLEMS);
}
