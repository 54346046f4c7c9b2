//! Copies of snapshots in other repositories: whole, once, and as trustworthy as what they are of.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use orlop::crypto::Secret;
use orlop::error::{ErrorKind, Result};
use orlop::format::keys::Credential;
use orlop::format::names;
use orlop::format::pack::Kind;
use orlop::format::snapshot::open_origin;
use orlop::id::RecordId;
use orlop::model::Time;
use orlop::ops::check::Data;
use orlop::ops::copy::{Became, CopyOptions, CopySummary, From, copy};
use orlop::ops::forget;
use orlop::ops::prune::PruneOptions;
use orlop::ops::remake::Way;
use orlop::repo::{self, Repository, SlotNote, Snapshot};
use orlop::storage::testing::{At, CrashStorage, RecordingStorage, Verb, is_death};
use orlop::storage::{MemoryStorage, Name, Put, Storage};
use orlop::sys::Host;
use support::stop::try_stopping;
use support::*;

fn options() -> CopyOptions {
    let way = Way { client: Some("copier".into()), compression: Some(3), verify: true, ..Way::default() };
    CopyOptions { way, compare: true, connections: 3 }
}

/// A repository with the same keys, or one with others.
fn beside(of: &Repository, mirror: bool) -> (MemoryStorage, Arc<dyn Storage>) {
    let memory = MemoryStorage::new();
    let storage: Arc<dyn Storage> = Arc::new(memory.clone());
    init_like(&storage, mirror.then_some(of), (!mirror).then_some(of));
    (memory, storage)
}

/// A chain of snapshots, and a mirror that has nothing yet.
struct Pair {
    dir: tempfile::TempDir,
    ids: Vec<RecordId>,
    source: Repository,
    there: MemoryStorage,
    target: Arc<dyn Storage>,
}

fn pair(n: u64) -> Pair {
    let (_, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let ids = chain(&storage, dir.path(), n);
    let source = open(&storage);
    let (there, target) = beside(&source, true);
    Pair { dir, ids, source, there, target }
}

/// Some snapshots of a directory that changes.
fn chain(storage: &Arc<dyn Storage>, dir: &Path, n: u64) -> Vec<RecordId> {
    let mut repo = open(storage);
    let mut ids = vec![];
    for i in 0..n {
        fs::create_dir_all(dir.join(format!("d{i}/deep"))).unwrap();
        fs::write(dir.join(format!("d{i}/deep/new")), noise(60_000, i)).unwrap();
        fs::write(dir.join("changes"), noise(90_000, 100 + i)).unwrap();
        fs::write(dir.join("long"), noise(700_000, 3)).unwrap();
        fs::write(dir.join("small"), format!("inline {i}")).unwrap();
        settle();
        ids.push(back_up(&mut repo, dir, &small_packs()).snapshot.unwrap());
    }
    ids
}

fn run(from: &Repository, to: &mut Repository, ids: &[RecordId], options: &CopyOptions) -> (Result<CopySummary>, Ears) {
    let standing = from.standing(&|n, e| panic!("{n}: {e}")).unwrap();
    let all = from.snapshots(&|_, _| {}).unwrap();
    let times = from.times(&|_, _| {}).unwrap();
    let chosen: Vec<&Snapshot> = standing.snapshots.iter().filter(|s| ids.contains(&s.id)).collect();
    let from = From { repo: from, chosen: &chosen, all: &all, times: &times };
    listening(|cx| copy(&from, to, options, cx))
}

/// Copies without any trouble.
fn copied(from: &Repository, to: &mut Repository, ids: &[RecordId]) -> CopySummary {
    let (done, ears) = run(from, to, ids, &options());
    assert_eq!(*ears.problems.lock().unwrap(), Vec::<String>::new());
    done.unwrap()
}

fn new_ids(done: &CopySummary) -> Vec<RecordId> {
    let new = |(_, b): &(RecordId, Became)| match b {
        Became::Copied(Some(id)) | Became::There(id) => *id,
        other => panic!("{other:?}"),
    };
    done.snapshots.iter().map(new).collect()
}

fn packs(storage: &dyn Storage) -> BTreeSet<String> {
    let listed = storage.list("packs/").unwrap();
    listed.iter().map(|l| l.name.as_str().rsplit_once('.').unwrap().0.to_owned()).collect()
}

#[test]
fn a_mirror_has_the_same_packs_the_same_statements_and_nothing_twice() {
    let (_, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let ids = chain(&storage, dir.path(), 3);
    let source = open(&storage);
    let (memory, target) = beside(&source, true);
    let mut to = open(&target);
    let done = copied(&source, &mut to, &ids);
    assert!(done.mirror && done.packs > 3, "{done:?}");
    assert_eq!((done.hollow, done.partial_packs), (0, 0));
    assert_eq!(new_ids(&done), ids, "a mirror has the same snapshots");
    assert_eq!(packs(&*storage), packs(&memory));
    let mut to = open(&target);
    assert_sound(&mut to);
    assert_same(&to, ids[2], dir.path());

    // Nothing is new, so nothing is stored and no pack is read; records alone are.
    let (far, near) = (RecordingStorage::new(Arc::clone(&storage)), RecordingStorage::new(Arc::clone(&target)));
    let (source, mut to) = (open(&(Arc::new(far.clone()) as _)), open(&(Arc::new(near.clone()) as _)));
    let quick = CopyOptions { compare: false, ..options() };
    let done = run(&source, &mut to, &ids, &quick).0.unwrap();
    assert!(done.snapshots.iter().all(|(id, b)| *b == Became::There(*id)), "{done:?}");
    assert_eq!((near.calls(Verb::PutNew), near.calls(Verb::Publish), far.calls(Verb::GetRange)), (0, 0, 0), "{near}");

    // One more costs what is new in it.
    let more = chain(&storage, dir.path(), 4)[3];
    let done = copied(&open(&storage), &mut open(&target), &[ids[0], ids[1], ids[2], more]);
    assert_eq!(done.snapshots.iter().filter(|(_, b)| matches!(b, Became::Copied(_))).count(), 1);
    assert!(done.hollow == 3 && done.packs < 12, "{done:?}");
    assert_same(&open(&target), more, dir.path());
    assert_sound(&mut open(&target));
}

#[test]
fn a_mirror_of_a_part_has_no_gaps_and_can_be_filled_later() {
    let (_, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let ids = chain(&storage, dir.path(), 5);
    let source = open(&storage);
    let (_, target) = beside(&source, true);
    let done = copied(&source, &mut open(&target), &[ids[1], ids[4]]);
    assert_eq!(done.hollow, 3);
    let mut to = open(&target);
    let here = to.standing(&|n, e| panic!("{n}: {e}")).unwrap();
    assert_eq!((here.snapshots.len(), here.hollow.len()), (2, 3));
    assert_sound(&mut to);
    // The unselected do not keep anything alive.
    prune::prune_now(&mut to);
    assert_sound(&mut to);
    assert_same(&to, ids[4], dir.path());
    let less: u64 = target.list("packs/").unwrap().iter().map(|l| l.len).sum();
    let all: u64 = storage.list("packs/").unwrap().iter().map(|l| l.len).sum();
    assert!(less < all, "{less} of {all}");

    let done = copied(&source, &mut open(&target), &ids);
    assert_eq!((done.hollow, new_ids(&done)), (0, ids.clone()));
    let mut to = open(&target);
    let here = to.standing(&|n, e| panic!("{n}: {e}")).unwrap();
    assert_eq!((here.snapshots.len(), here.hollow.len()), (5, 0));
    prune::prune_now(&mut to);
    assert_eq!(assert_sound(&mut to).snapshots, 5);
}

#[test]
fn what_was_forgotten_on_either_side_stays_so() {
    let (_, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let ids = chain(&storage, dir.path(), 4);
    let mut source = open(&storage);
    source.set_undelete_window(0).unwrap();
    forget_one(&mut source, ids[1]);
    prune::prune_now(&mut source);
    let source = open(&storage);
    let (_, target) = beside(&source, true);
    let wanted = [ids[0], ids[2], ids[3]];
    copied(&source, &mut open(&target), &wanted);
    assert_sound(&mut open(&target));
    let mut to = open(&target);
    forget_one(&mut to, ids[2]);
    let done = copied(&source, &mut open(&target), &wanted);
    let became: Vec<Became> = done.snapshots.iter().map(|(_, b)| *b).collect();
    assert_eq!(became, [Became::There(ids[0]), Became::Forgotten, Became::There(ids[3])]);
    let mut to = open(&target);
    prune::prune_now(&mut to);
    copied(&source, &mut open(&target), &wanted);
    assert_eq!(assert_sound(&mut open(&target)).snapshots, 2);
}

fn forget_one(repo: &mut Repository, id: RecordId) {
    let all = repo.standing(&|n, e| panic!("{n}: {e}")).unwrap();
    let going: Vec<&Snapshot> = all.snapshots.iter().filter(|s| s.id == id).collect();
    listening(|cx| forget::carry_out(repo, Some("copier"), &going, cx)).0.unwrap();
}

#[test]
fn under_other_keys_the_original_is_evidence() {
    let (_, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let ids = chain(&storage, dir.path(), 3);
    let source = open(&storage);
    let (_, target) = beside(&source, false);
    let done = copied(&source, &mut open(&target), &ids[..2]);
    assert!(!done.mirror);
    let mut to = open(&target);
    assert_sound(&mut to);
    let theirs = to.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
    for (t, id) in theirs.iter().zip(&ids) {
        let original = open_origin(t.statement.origin.as_ref().unwrap()).unwrap();
        let key = source.client_key(original.statement.client, original.statement.client_epoch).unwrap();
        assert_eq!((original.id, original.verify(&key.key)), (*id, Ok(())));
        assert!(original.verify(&to.config().admin).is_err());
        assert_eq!(t.commit.received_from, Some(source.instance()));
    }
    // The next one takes over what did not change: no chunk of the long file is read.
    let far = RecordingStorage::new(Arc::clone(&storage));
    let source = open(&(Arc::new(far.clone()) as _));
    let quick = CopyOptions { compare: false, ..options() };
    let (done, ears) = run(&source, &mut open(&target), &ids, &quick);
    assert_eq!(*ears.problems.lock().unwrap(), Vec::<String>::new());
    let new = new_ids(&done.unwrap());
    assert!(far.bytes(Verb::GetRange) < 500_000, "{far}");
    let to = &mut open(&target);
    assert_same(to, new[2], dir.path());
    assert_eq!(assert_sound(to).snapshots, 3);
    assert_nothing_twice(to);
    // Neither there nor back is anything copied again.
    let done = copied(&source, &mut open(&target), &ids);
    assert!(done.snapshots.iter().all(|(_, b)| matches!(b, Became::There(_))), "{done:?}");
    let back = copied(&open(&target), &mut open(&storage), &new);
    let there: Vec<Became> = ids.iter().map(|id| Became::There(*id)).collect();
    assert_eq!(back.snapshots.iter().map(|(_, b)| *b).collect::<Vec<_>>(), there);
}

/// What the owner vouches for by copying is no more than what was vouched for before.
#[test]
fn a_copy_of_a_clients_snapshot_is_not_the_owners_word() {
    let (_, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let key = Credential::Raw(Secret::new([5; 32]));
    open(&storage).add_client_slot("laptop", &key, &SlotNote::default()).unwrap();
    let mut client = repo::open(storage.clone(), &key, None).unwrap();
    fs::write(dir.path().join("a"), noise(9000, 1)).unwrap();
    settle();
    let mut how = small_packs();
    how.about.client = None;
    let id = back_up(&mut client, dir.path(), &how).snapshot.unwrap();
    let source = open(&storage);
    for mirror in [true, false] {
        let (_, target) = beside(&source, mirror);
        copied(&source, &mut open(&target), &[id]);
        let there = open(&target).snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
        assert!(!there[0].trusted(), "mirror: {mirror}");
        assert_sound(&mut open(&target));
    }
    // A client cannot count in what others signed.
    let (_, target) = beside(&source, true);
    let theirs = Credential::Raw(Secret::new([6; 32]));
    open(&target).add_client_slot("desk", &theirs, &SlotNote::default()).unwrap();
    let mut to = repo::open(target, &theirs, None).unwrap();
    assert_eq!(run(&source, &mut to, &[id], &options()).0.unwrap_err().kind(), ErrorKind::Forbidden);
}

#[test]
fn chains_that_parted_are_told_and_left_alone() {
    let (_, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let ids = chain(&storage, dir.path(), 2);
    let source = open(&storage);
    let (_, target) = beside(&source, true);
    copied(&source, &mut open(&target), &ids[..1]);
    // The second place is taken by a hollow statement; the third by somebody who backs up into both.
    chain(&target, dir.path(), 1);
    let third = chain(&storage, dir.path(), 1)[0];
    let (done, ears) = run(&open(&storage), &mut open(&target), &[ids[1], third], &options());
    let done = done.unwrap();
    let became: Vec<Became> = done.snapshots.iter().map(|(_, b)| *b).collect();
    assert_eq!(became, [Became::Copied(Some(ids[1])), Became::Failed]);
    let told = ears.problems.lock().unwrap().join("\n");
    assert!(told.contains("taken by snapshot"), "{told}");
    assert_sound(&mut open(&target));
}

#[test]
fn a_dry_run_writes_nothing_anywhere() {
    let (memory, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let ids = chain(&storage, dir.path(), 2);
    for mirror in [true, false] {
        let source = open(&storage);
        let (there, target) = beside(&source, mirror);
        let names = |m: &MemoryStorage| m.list("").unwrap().into_iter().map(|l| l.name).collect::<Vec<_>>();
        let before = (names(&memory), names(&there));
        let mut dry = options();
        dry.way.dry_run = true;
        let done = run(&source, &mut open(&target), &ids, &dry).0.unwrap();
        assert!(done.snapshots.iter().all(|(_, b)| *b == Became::Copied(None)) && done.bytes > 500_000, "{done:?}");
        assert_eq!((names(&memory), names(&there)), before);
    }
}

/// When snapshots came, as somebody wrote down.
const LONG_AGO: Time = Time { sec: 1_600_000_000, nsec: 0 };

#[test]
fn receive_times_travel_along() {
    let (_, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let ids = chain(&storage, dir.path(), 1);
    let mut source = open(&storage);
    let who = source.identity(Some("test")).unwrap();
    let received = LONG_AGO;
    source.record_times(&who, vec![orlop::format::gc::Seen { statement: ids[0], received }], false).unwrap();
    for mirror in [true, false] {
        let (_, target) = beside(&source, mirror);
        let new = new_ids(&copied(&source, &mut open(&target), &ids))[0];
        let to = open(&target);
        assert_eq!(to.times(&|n, e| panic!("{n}: {e}")).unwrap().received(new), Some(received));
        assert_eq!(to.snapshots(&|_, _| {}).unwrap()[0].commit.received_at, Some(received));
    }
}

#[test]
fn damage_at_the_source_costs_what_it_hits() {
    let (memory, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let ids = chain(&storage, dir.path(), 3);
    // A pack that only the last snapshot needs.
    let source = open(&storage);
    let (_, first) = beside(&source, true);
    copied(&source, &mut open(&first), &ids[..2]);
    let other: Vec<_> = storage.list("packs/").unwrap();
    let known = packs(&*first);
    let only = other.iter().find(|l| !known.contains(l.name.as_str().rsplit_once('.').unwrap().0)).unwrap();
    let mut bytes = storage.get(&only.name, u64::MAX).unwrap();
    bytes[400..1400].fill(0);
    memory.plant(&only.name, &bytes);
    for mirror in [true, false] {
        let source = open(&storage);
        let (_, target) = beside(&source, mirror);
        let (done, ears) = run(&source, &mut open(&target), &ids, &options());
        let became: Vec<Became> = done.unwrap().snapshots.into_iter().map(|(_, b)| b).collect();
        assert!(matches!(became[..], [Became::Copied(_), Became::Copied(_), Became::Failed]), "{mirror} {became:?}");
        assert!(!ears.problems.lock().unwrap().is_empty());
        assert_eq!(assert_sound(&mut open(&target)).snapshots, 2);
    }
}

/// What an earlier copy brought is taken over without a look, but not where something of it was found damaged.
#[test]
fn a_copy_beside_damaged_packs_brings_again_what_was_in_them() {
    let (_, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let ids = chain(&storage, dir.path(), 2);
    let source = open(&storage);
    let (there, target) = beside(&source, false);
    copied(&source, &mut open(&target), &ids[..1]);
    let mut to = open(&target);
    damage_data(&to, &there);
    assert!(check(&mut to, orlop::ops::check::Data::All).0.errors > 0);
    let new = new_ids(&copied(&source, &mut open(&target), &ids[1..]));
    assert_restores(&open(&target), new[0], dir.path());
}

/// Damage all packs of data.
fn damage_data(repo: &Repository, memory: &MemoryStorage) {
    for p in repo.load_index(&|n, e| panic!("{n}: {e}")).unwrap().packs().iter().filter(|p| p.kind == Kind::Data) {
        let name = Name::new(names::pack(p.id, p.uploader)).unwrap();
        let mut bytes = memory.get(&name, u64::MAX).unwrap();
        bytes[400..1400].fill(0);
        memory.plant(&name, &bytes);
    }
}

/// What has the name of a damaged pack counts as damaged, too, so it comes under another one.
#[test]
fn what_is_damaged_in_a_mirror_comes_in_other_packs() {
    let Pair { dir, ids, source, there: memory, target } = pair(2);
    copied(&source, &mut open(&target), &ids[..1]);
    let mut to = open(&target);
    damage_data(&to, &memory);
    assert!(check(&mut to, orlop::ops::check::Data::All).0.errors > 0);
    let done = copied(&source, &mut open(&target), &ids[1..]);
    assert!(done.partial_packs > 3, "{done:?}");
    // The first one is lost, as far as the second does not have the same.
    let mut to = open(&target);
    forget_one(&mut to, ids[0]);
    prune::prune_now(&mut to);
    assert_eq!(assert_sound(&mut open(&target)).snapshots, 1);
    assert_same(&open(&target), ids[1], dir.path());
}

/// Cut off at every call of either storage, and continued.
#[test]
fn a_copy_that_dies_anywhere_goes_on_where_it_was() {
    let (memory, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let ids = chain(&storage, dir.path(), 3);
    let mut repo = open(&storage);
    repo.act_as(this_process());
    let who = repo.identity(Some("test")).unwrap();
    let seen = ids.iter().map(|id| orlop::format::gc::Seen { statement: *id, received: LONG_AGO });
    repo.record_times(&who, seen.collect(), false).unwrap();
    let quick = CopyOptions { compare: false, connections: 1, ..options() };
    for mirror in [true, false] {
        let (empty, _) = beside(&repo, mirror);
        let undisturbed = {
            let there = fork(&empty);
            let mut to = open(&(Arc::new(there.clone()) as Arc<dyn Storage>));
            copied(&repo, &mut to, &[ids[0], ids[2]]);
            prune::stored(&there)
        };
        for at_source in [false, true] {
            let mut deaths = 0;
            // Every call at the beginning, then in strides that keep step with nothing.
            for nth in (1..40).chain((40..2000).step_by(7)) {
                let (here, there) = (fork(&memory), fork(&empty));
                let mortal = if at_source { here.clone() } else { there.clone() };
                let crash = CrashStorage::die_at_call(mortal, nth);
                let dying: Arc<dyn Storage> = Arc::new(crash.clone());
                let (a, b): (Arc<dyn Storage>, Arc<dyn Storage>) = match at_source {
                    true => (dying, Arc::new(there.clone())),
                    false => (Arc::new(here.clone()), dying),
                };
                let attempt = || -> Result<CopySummary> {
                    let mut from = repo::open(a, &Credential::Nothing, None)?;
                    let mut to = repo::open(b, &Credential::Nothing, None)?;
                    from.act_as(before_reboot(1));
                    to.act_as(before_reboot(1));
                    let all = from.snapshots(&|_, _| {})?;
                    let times = from.times(&|_, _| {})?;
                    let chosen: Vec<&Snapshot> = all.iter().filter(|s| s.id != ids[1]).collect();
                    let from = From { repo: &from, chosen: &chosen, all: &all, times: &times };
                    listening(|cx| copy(&from, &mut to, &quick, cx)).0
                };
                let result = attempt();
                if !crash.is_dead() {
                    result.unwrap();
                    break;
                }
                deaths += 1;
                if let Err(e) = &result {
                    assert!(is_death(e), "{e:?}");
                }
                let what = format!("mirror {mirror}, source {at_source}, call {nth}");
                goes_on(&here, &there, (&ids, dir.path()), mirror, &what);
                // A frame of which most is needed goes over as a whole, whatever is there of the rest.
                let stored = prune::stored(&there);
                assert!(stored <= undisturbed + undisturbed / 4, "{what}: {stored} of {undisturbed} bytes");
            }
            assert!(deaths > 30, "{deaths} deaths");
        }
    }
}

fn goes_on(here: &MemoryStorage, there: &MemoryStorage, (ids, dir): (&[RecordId], &Path), mirror: bool, what: &str) {
    let (a, b): (Arc<dyn Storage>, Arc<dyn Storage>) = (Arc::new(here.clone()), Arc::new(there.clone()));
    let (mut from, mut to) = (open(&a), open(&b));
    from.act_as(this_process());
    to.act_as(this_process());
    let (left, ears) = check(&mut to, orlop::ops::check::Data::All);
    assert_eq!(left.errors, 0, "{what}: {:#?}", ears.problems.lock().unwrap());
    let before = packs(&*b);
    let done = copied(&from, &mut to, &[ids[0], ids[2]]);
    let new = new_ids(&done);
    assert_same(&to, new[1], dir);
    let times = to.times(&|n, e| panic!("{n}: {e}")).unwrap();
    assert_eq!([times.received(new[0]), times.received(new[1])], [Some(LONG_AGO); 2], "{what}");
    assert!(packs(&*b).is_superset(&before));
    if !mirror {
        assert_nothing_twice(&to);
    }
    let done = assert_sound(&mut to);
    assert_eq!((done.snapshots, done.unindexed_packs), (2, 0), "{what}");
    assert_sound(&mut from);
}

/// A process on a machine of its own: nobody can tell whether it lives.
fn machine(storage: Arc<dyn Storage>, number: u8) -> Repository {
    let mut repo = open(&storage);
    repo.act_as(Host { machine_id: vec![number; 16], ..this_process() });
    repo
}

fn mark(to: &mut Repository, id: RecordId, hollow: bool) {
    let all = to.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
    let s = all.iter().find(|s| s.id == id).unwrap();
    let (who, mut hollows) = (to.identity(None).unwrap(), to.hollows(&|n, e| panic!("{n}: {e}")).unwrap());
    let place = (s.statement.client, s.statement.seq, s.id);
    assert_eq!(to.mark_hollow(&who, &mut hollows, place, hollow).unwrap(), Put::Created);
}

/// A copy that wants less marks a place as hollow, finds that another one brought all, and dies.
#[test]
fn what_came_with_its_content_stays_whoever_says_that_it_did_not() {
    let (_, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let ids = chain(&storage, dir.path(), 2);
    let (_, target) = beside(&open(&storage), true);
    copied(&open(&storage), &mut open(&target), &ids);
    mark(&mut open(&target), ids[1], true);
    let mut to = open(&target);
    prune::prune_now(&mut to);
    assert_eq!(assert_sound(&mut to).snapshots, 2);
    assert_same(&to, ids[1], dir.path());
}

/// A copy says that content has come, is given up, and dies before it can take that back.
#[test]
fn content_that_did_not_come_is_brought_by_whoever_looks() {
    let Pair { dir, ids, source, target, .. } = pair(2);
    copied(&source, &mut open(&target), &ids[..1]);
    mark(&mut open(&target), ids[1], false);
    assert!(check(&mut open(&target), Data::All).0.errors > 0);
    let became = |done: CopySummary| done.snapshots.into_iter().map(|(_, b)| b).collect::<Vec<_>>();
    let done = became(copied(&source, &mut open(&target), &ids));
    assert_eq!(done, [Became::There(ids[0]), Became::Copied(Some(ids[1]))]);
    assert_sound(&mut open(&target));
    assert_same(&open(&target), ids[1], dir.path());
    let done = became(copied(&source, &mut open(&target), &ids));
    assert_eq!(done, [Became::There(ids[0]), Became::There(ids[1])]);
}

/// Its place in the chain is taken, so nothing can make it count: but nobody is told that it is there.
#[test]
fn a_statement_that_came_after_its_copy_was_given_up_is_not_there() {
    let Pair { ids, source, there, target, .. } = pair(2);
    open(&target).identity(None).unwrap();
    let how = PruneOptions { fence: true, ..prune::now() };
    let others = &mut || drop(prune::prune(&mut machine(Arc::new(there.clone()), 2), &how));
    let moment = (At::before(Verb::PutNew, "snapshots/"), others as &mut dyn FnMut());
    let (fenced, _) = try_stopping(&there, vec![moment], |s| run(&source, &mut machine(s, 1), &ids, &options()).0);
    assert_eq!(fenced.unwrap_err().kind(), ErrorKind::Fenced);
    for _ in 0..2 {
        let (done, ears) = run(&source, &mut open(&target), &ids, &options());
        assert!(done.unwrap().snapshots.iter().all(|(_, b)| *b == Became::Failed));
        let problems = ears.problems.lock().unwrap();
        assert!(problems.len() == 2 && problems[0].contains("was given up"), "{problems:?}");
    }
}

/// One copy brings content; another one, which wants less, commits first; a prune gives up the former.
#[test]
fn who_was_given_up_takes_back_what_it_said_of_a_place_that_another_took() {
    let Pair { dir, ids, source, there, target } = pair(2);
    open(&target).identity(None).unwrap();
    let how = PruneOptions { fence: true, ..prune::now() };
    let others = &mut || {
        copied(&source, &mut machine(Arc::new(there.clone()), 3), &ids[..1]);
        prune::prune(&mut machine(Arc::new(there.clone()), 2), &how);
    };
    let moment = (At::before(Verb::PutNew, "snapshots/"), others as &mut dyn FnMut());
    let (fenced, _) = try_stopping(&there, vec![moment], |s| run(&source, &mut machine(s, 1), &ids, &options()).0);
    assert_eq!(fenced.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(assert_sound(&mut open(&target)).snapshots, 1);
    copied(&source, &mut open(&target), &ids);
    assert_eq!(assert_sound(&mut open(&target)).snapshots, 2);
    assert_same(&open(&target), ids[1], dir.path());
}

/// What somebody else brought and said stays said.
#[test]
fn who_was_given_up_takes_back_nothing_that_others_said() {
    let Pair { ids, source, there, target, .. } = pair(2);
    open(&target).identity(None).unwrap();
    copied(&source, &mut open(&target), &ids[1..]);
    assert_eq!(assert_sound(&mut open(&target)).snapshots, 1);
    let how = PruneOptions { fence: true, ..prune::now() };
    let others = &mut || {
        copied(&source, &mut machine(Arc::new(there.clone()), 3), &ids);
        prune::prune(&mut machine(Arc::new(there.clone()), 2), &how);
    };
    let moment = (At::before(Verb::PutNew, "hollow/"), others as &mut dyn FnMut());
    let (fenced, _) = try_stopping(&there, vec![moment], |s| run(&source, &mut machine(s, 1), &ids, &options()).0);
    assert_eq!(fenced.unwrap_err().kind(), ErrorKind::Fenced);
    prune::prune(&mut machine(Arc::new(there.clone()), 2), &how);
    assert_eq!(assert_sound(&mut open(&target)).snapshots, 2);
}

/// Hollow statements are no roots, until their content comes: whenever somebody prunes, even such that
/// the copy is given up, nothing is lost that anybody may rely on, and the next copy brings the rest.
#[test]
fn a_prune_beside_a_copy_takes_nothing_from_it() {
    let (memory, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let ids = chain(&storage, dir.path(), 4);
    let source = open(&storage);
    let (part, target) = beside(&source, true);
    // The last one needs what only the third has, which is forgotten; two are hollow.
    copied(&source, &mut open(&target), &[ids[0], ids[2]]);
    forget_one(&mut open(&target), ids[2]);
    let wanted = [ids[0], ids[1], ids[3]];
    // Whoever prunes is known when the copy begins.
    open(&target).identity(None).unwrap();
    let quick = CopyOptions { compare: false, connections: 1, ..options() };
    let (mut given_up, mut done) = (0, 0);
    for fence in [false, true] {
        let how = PruneOptions { threads: Some(1), fence, ..prune::now() };
        for nth in (1..40).chain((40..2000).step_by(3)) {
            let (here, there) = (fork(&memory), fork(&part));
            let others = &mut || drop(prune::prune(&mut machine(Arc::new(there.clone()), 2), &how));
            let (copied_then, reached) = try_stopping(&there, vec![(At::call().nth(nth), others)], |s| {
                let from = machine(Arc::new(here.clone()), 1);
                run(&from, &mut machine(s, 1), &wanted, &quick).0
            });
            let what = format!("fence {fence}, call {nth}");
            match copied_then {
                Ok(_) => done += 1,
                // Also one that had just ended, if nothing shows any more how.
                Err(e) if e.kind() == ErrorKind::Fenced => given_up += 1,
                Err(e) => panic!("{what}: {e}"),
            }
            let mut to = machine(Arc::new(there.clone()), 3);
            assert_sound(&mut to);
            prune::prune(&mut to, &how);
            assert_sound(&mut to);
            let new = new_ids(&copied(&machine(Arc::new(here.clone()), 3), &mut to, &wanted));
            assert_eq!(new, wanted, "{what}");
            prune::prune_now(&mut to);
            assert_eq!(assert_sound(&mut to).snapshots, 3, "{what}");
            assert_same(&to, ids[3], dir.path());
            if !reached {
                assert!(nth > 60, "{nth} calls");
                break;
            }
        }
    }
    assert!(given_up > 10 && done > 60, "{given_up} given up, {done} done");
}
