//! Snapshots made of others: nothing is read that need not be, nothing is trusted that was not.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use orlop::crypto::Secret;
use orlop::error::ErrorKind;
use orlop::format::keys::Credential;
use orlop::format::pack::Kind;
use orlop::id::RecordId;
use orlop::model::Statement;
use orlop::ops::backup::{BackupOptions, Parent};
use orlop::ops::remake::{Became, MergeOptions, RewriteOptions, Way, merge, rewrite};
use orlop::ops::restore::{RestoreOptions, restore};
use orlop::plan::filter::{Case, Origin, Patterns, RestoreSelection};
use orlop::repo::{self, Repository, SlotNote, Snapshot};
use orlop::storage::Storage;
use support::*;

fn without(pattern: &str) -> RewriteOptions {
    let given = [(pattern.as_bytes().to_vec(), Origin::Flag("--exclude"))];
    let exclude = Patterns::compile(given, Case::Sensitive).unwrap();
    RewriteOptions {
        way: way(),
        selection: RestoreSelection::Except(exclude, Patterns::default()),
        ..RewriteOptions::default()
    }
}

fn way() -> Way {
    Way { client: Some("test".into()), compression: Some(3), verify: true, ..Way::default() }
}

fn standing(repo: &Repository) -> Vec<Snapshot> {
    repo.standing(&|n, e| panic!("{n}: {e}")).unwrap().snapshots
}

fn get(repo: &Repository, id: RecordId) -> Snapshot {
    standing(repo).into_iter().find(|s| s.id == id).unwrap()
}

fn rewritten(repo: &mut Repository, id: RecordId, options: &RewriteOptions) -> Became {
    let s = get(repo, id);
    let (done, ears) = listening(|cx| rewrite(repo, &[&s], options, None, cx));
    assert_eq!(*ears.problems.lock().unwrap(), Vec::<String>::new());
    done.unwrap()[0].became
}

fn new_id(became: Became) -> RecordId {
    match became {
        Became::Changed { new: Some(id), .. } => id,
        other => panic!("{other:?}"),
    }
}

fn tree(dir: &Path) {
    fs::create_dir_all(dir.join("same/deep")).unwrap();
    fs::create_dir_all(dir.join("other")).unwrap();
    for (name, n) in [("same/a", 1u8), ("same/deep/b", 2), ("other/c", 3), ("other/gone", 4)] {
        let mut seed = u32::from(n);
        let bytes: Vec<u8> = (0..40_000)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            })
            .collect();
        fs::write(dir.join(name), bytes).unwrap();
    }
}

/// Data packs hold nothing but rubbish while a snapshot is rewritten and merged: nobody looks.
#[test]
fn no_data_is_read_and_unchanged_directories_keep_their_pages() {
    let (memory, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path());
    let mut repo = open(&storage);
    let first = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    let packs: Vec<_> = storage
        .list("packs/")
        .unwrap()
        .into_iter()
        .filter(|l| repo.read_table(l.name.as_str(), l.len).unwrap().1.kind == Kind::Data)
        .map(|l| (l.name.clone(), storage.get(&l.name, u64::MAX).unwrap()))
        .collect();
    assert!(!packs.is_empty());
    packs.iter().for_each(|(name, bytes)| memory.plant(name, &vec![0; bytes.len()]));
    let second = new_id(rewritten(&mut repo, first, &without("gone")));
    let both = [get(&repo, first), get(&repo, second)];
    let options = MergeOptions { way: way(), time: (both[0].statement.time, 0), ..MergeOptions::default() };
    let (merged, _) = listening(|cx| merge(&mut repo, &[&both[0], &both[1]], &options, None, cx));
    let merged = merged.unwrap();
    assert_eq!((merged.conflicts, merged.stats.files_processed), (0, 4));
    packs.iter().for_each(|(name, bytes)| memory.plant(name, bytes));

    let third = merged.snapshot.unwrap();
    let at = |id, name: &str| root_of(&repo, id, &dir.path().join(name));
    assert_eq!(at(first, "same"), at(second, "same"));
    assert_ne!(at(first, "other"), at(second, "other"));
    assert_eq!(root_of(&repo, first, dir.path()), root_of(&repo, third, dir.path()), "the union is the whole");
    assert_eq!(get(&repo, second).statement.replaces, Some(first));
    assert!(standing(&repo).iter().all(Snapshot::trusted));
    assert_same(&repo, third, dir.path());
    assert_eq!(rewritten(&mut repo, second, &without("gone")), Became::Unchanged);
    assert_sound(&mut repo);
    assert_nothing_twice(&repo);
}

/// What is left out or differs is told while the work goes on: then a collector gives the session up.
#[test]
fn whoever_is_given_up_by_a_collector_begins_anew() {
    let (_, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path());
    let mut repo = open(&storage);
    repo.act_as(this_process());
    let first = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    fs::write(dir.path().join("same/a"), noise(50_000, 9)).unwrap();
    settle();
    let second = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    let both = [get(&repo, first), get(&repo, second)];
    let collector = std::sync::Mutex::new({
        let mut other = open(&storage);
        other.act_as(this_process());
        Some(other)
    });
    let fence = |_: &[u8]| {
        if let Some(mut other) = collector.lock().unwrap().take() {
            let who = other.identity(Some("test")).unwrap();
            for session in other.sessions().unwrap().open {
                assert!(other.fence(&who, session.open.session, session.seen_gen).unwrap());
            }
        }
    };
    let (done, ears) = listening(|cx| rewrite(&mut repo, &[&both[0]], &without("gone"), Some(&fence), cx));
    assert!(ears.notices.lock().unwrap().iter().any(|n| n.starts_with("fenced: ")), "it was given up");
    let new = get(&repo, new_id(done.unwrap()[0].became));
    assert_eq!(new.validity, orlop::repo::Validity::Confirmed);
    assert_ne!(new.statement.replaces, Some(first), "it takes the place of the one that was committed in vain");
    assert_sound(&mut repo);

    let mut other = open(&storage);
    other.act_as(this_process());
    *collector.lock().unwrap() = Some(other);
    let options = MergeOptions { way: way(), time: (both[0].statement.time, 0), ..MergeOptions::default() };
    let (merged, ears) = listening(|cx| merge(&mut repo, &[&both[0], &both[1]], &options, Some(&fence), cx));
    assert!(ears.notices.lock().unwrap().iter().any(|n| n.starts_with("fenced: ")), "it was given up");
    let merged = get(&repo, merged.unwrap().snapshot.unwrap());
    assert_eq!(merged.validity, orlop::repo::Validity::Confirmed);
    assert_eq!(root_of(&repo, merged.id, dir.path()), root_of(&repo, second, dir.path()));
    assert_sound(&mut repo);
}

fn client_of(storage: &Arc<dyn Storage>, owner: &mut Repository) -> Repository {
    let key = Credential::Raw(Secret::new([1; 32]));
    owner.add_client_slot("laptop", &key, &SlotNote::default()).unwrap();
    repo::open(storage.clone(), &key, None).unwrap()
}

fn restored_mode(repo: &Repository, s: &Snapshot, source: &Path) -> u32 {
    let out = tempfile::tempdir().unwrap();
    let (done, _) = listening(|cx| restore(repo, s, None, out.path(), &RestoreOptions::default(), cx));
    done.unwrap();
    let path = out.path().join(source.strip_prefix("/").unwrap()).join("suid");
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// What a client signed does not become the owner's word by passing through the owner's hands.
#[test]
fn a_clients_content_keeps_the_trust_of_a_client() {
    let (_, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path());
    fs::write(dir.path().join("suid"), "x").unwrap();
    fs::set_permissions(dir.path().join("suid"), fs::Permissions::from_mode(0o4755)).unwrap();
    let mut owner = open(&storage);
    let mut client = client_of(&storage, &mut owner);
    let mut options = small_packs();
    options.about.client = None;
    let theirs = back_up(&mut client, dir.path(), &options).snapshot.unwrap();
    drop(client);
    let mut owner = open(&storage);
    assert!(!get(&owner, theirs).trusted());

    let rewrote = new_id(rewritten(&mut owner, theirs, &without("gone")));
    let twice = new_id(rewritten(&mut owner, rewrote, &without("deep")));
    for id in [rewrote, twice] {
        let s = get(&owner, id);
        assert!(s.by_owner && !s.trusted() && s.statement.flags & Statement::FOREIGN != 0);
        assert_eq!(restored_mode(&owner, &s, dir.path()), 0o755, "no setuid by the word of a client");
    }
    // The owner's next backup takes nothing over from any of them.
    let mine = back_up(&mut owner, dir.path(), &small_packs());
    assert_eq!(mine.parent, None);
    let own = get(&owner, mine.snapshot.unwrap());
    assert!(own.trusted());
    if rustix::process::geteuid().is_root() {
        assert_eq!(restored_mode(&owner, &own, dir.path()), 0o4755);
    }
    for parent in [theirs, rewrote] {
        let options = BackupOptions { parent: Parent::Snapshot(parent), ..small_packs() };
        let refused = try_backup(&mut owner, dir.path(), &options).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Forbidden);
    }
    let s = get(&owner, rewrote);
    let options = MergeOptions { way: way(), time: (s.statement.time, 0), ..MergeOptions::default() };
    let (merged, _) = listening(|cx| merge(&mut owner, &[&own, &s], &options, None, cx));
    let merged = get(&owner, merged.unwrap().snapshot.unwrap());
    assert!(merged.by_owner && !merged.trusted());
    assert_sound(&mut owner);
}
