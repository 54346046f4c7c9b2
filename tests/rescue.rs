//! Whoever may write to a bucket with versions overwrites and deletes what is there: the repository is read
//! as it was before, and made current again.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::{fs, iter};

use orlop::crypto::Secret;
use orlop::error::{ErrorKind, Result};
use orlop::format::keys::Credential;
use orlop::format::names::prefix;
use orlop::id::RecordId;
use orlop::model::Time;
use orlop::ops::backup::{About, BackupOptions};
use orlop::ops::rescue::{Became, RescueOptions, RescueSummary, rescue};
use orlop::repo::{self, SlotNote};
use orlop::storage::testing::VersionedStorage;
use orlop::storage::{Listed, Past, Storage, Versions};
use support::*;

/// Two snapshots, a moment, a third one, and the folders that they are of.
struct World {
    bucket: VersionedStorage,
    begin: i64,
    _dir: tempfile::TempDir,
    snapshots: Vec<(RecordId, std::path::PathBuf)>,
}

impl World {
    fn new() -> Self {
        let bucket = VersionedStorage::new();
        let (begin, dir) = (orlop::sys::now().sec - 1000, tempfile::tempdir().unwrap());
        let mut this = Self { bucket, begin, _dir: dir, snapshots: Vec::new() };
        this.at(0);
        init(&this.storage());
        for (n, second) in [(0, 10), (1, 20), (2, 60)] {
            this.at(second);
            this.back_up(n);
        }
        this
    }

    /// So many seconds after the beginning.
    fn at(&self, second: i64) {
        self.bucket.set_clock(self.begin + second);
    }

    fn back_up(&mut self, n: u64) {
        let dir = self._dir.path().join(format!("v{n}"));
        fs::create_dir_all(dir.join("deep")).unwrap();
        for file in 0..4 {
            // Some of each version, some of all.
            let seed = if file % 2 == 0 { n } else { 100 };
            fs::write(dir.join(format!("deep/f{file}")), noise(90_000, 10 * seed + file)).unwrap();
        }
        settle();
        let done = back_up(&mut open(&self.storage()), &dir, &small_packs());
        self.snapshots.push((done.snapshot.unwrap(), dir));
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.bucket.clone())
    }

    /// After the second snapshot and before the third.
    fn moment(&self) -> Time {
        Time { sec: self.begin + 40, nsec: 0 }
    }

    fn past(&self) -> Arc<dyn Storage> {
        Arc::new(Past::new(Arc::new(self.bucket.clone()), self.moment(), repo::worth).unwrap())
    }

    /// Everything that was there at the moment: one in three is overwritten, deleted, or overwritten and deleted.
    fn attack(&self) -> Vec<Listed> {
        let all = self.past().list("").unwrap();
        self.at(80);
        for (n, l) in all.iter().enumerate() {
            if n % 3 != 1 {
                self.bucket.heal(&l.name, &noise(usize::try_from(l.len).unwrap(), n as u64)).unwrap();
            }
            if n % 3 != 0 {
                self.bucket.delete(&l.name).unwrap();
            }
        }
        self.at(100);
        all
    }

    fn rescue(&self, dry_run: bool, keys: bool) -> Result<RescueSummary> {
        let options = RescueOptions { when: self.moment(), dry_run, keys };
        listening(|cx| rescue(&self.bucket, &options, cx)).0
    }

    fn assert_there(&self, storage: &Arc<dyn Storage>, snapshots: usize) {
        let mut repo = open(storage);
        assert_eq!(repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap().len(), snapshots);
        assert_sound(&mut repo);
        for (id, dir) in &self.snapshots[..snapshots] {
            assert_same(&repo, *id, dir);
        }
    }
}

fn names<'a>(of: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    of.map(str::to_owned).collect()
}

#[test]
fn the_past_is_whole_whatever_was_done_since() {
    let world = World::new();
    world.assert_there(&world.past(), 2);
    world.attack();
    assert!(repo::open(world.storage(), &Credential::Nothing, None).is_err(), "all is lost");
    world.assert_there(&world.past(), 2);
}

/// Garbage over half of the objects, at a time when nobody had noticed yet.
#[test]
fn a_moment_after_the_attack_shows_what_names_prove() {
    let world = World::new();
    world.at(30);
    for l in world.past().list("").unwrap() {
        world.bucket.heal(&l.name, b"garbage").unwrap();
    }
    world.assert_there(&world.past(), 2);
}

#[test]
fn a_rescue_brings_all_of_it_back_and_leaves_the_rest() {
    let world = World::new();
    let third = names(world.storage().list("").unwrap().iter().map(|l| l.name.as_str()));
    let before = names(world.attack().iter().map(|l| l.name.as_str()));
    let puts = world.bucket.puts();
    let would = world.rescue(true, true).unwrap();
    assert_eq!(world.bucket.puts(), puts, "nothing is written");
    let done = world.rescue(false, true).unwrap();
    assert_eq!((&would.changed, would.bytes), (&done.changed, done.bytes));
    assert_eq!(names(done.changed.iter().map(|(name, _)| name.as_str())), before);
    assert_eq!(world.bucket.puts() - puts, before.len() as u64);
    assert!(done.count(Became::BroughtBack) > done.count(Became::Repaired) && done.count(Became::Repaired) > 5);
    assert_eq!((done.objects, done.intact, done.count(Became::Lost)), (before.len() as u64, 0, 0));
    assert_eq!(done.later, third.difference(&before).count() as u64);
    world.assert_there(&world.storage(), 3);
    let again = world.rescue(false, true).unwrap();
    assert_eq!((again.changed.len(), again.intact), (0, before.len() as u64));
}

#[test]
fn a_rescue_that_is_cut_off_anywhere_is_gone_on_with() {
    let world = World::new();
    let all = world.attack().len() as u64;
    let puts = world.bucket.puts();
    for left in iter::repeat_n(7, 1000) {
        world.bucket.take_only(left);
        match world.rescue(false, true) {
            Ok(_) => break,
            Err(e) => assert_eq!(e.kind(), ErrorKind::Storage, "{e}"),
        }
    }
    assert_eq!(world.bucket.puts() - puts, all, "nothing is put twice");
    world.bucket.take_only(u64::MAX);
    world.assert_there(&world.storage(), 3);
}

#[test]
fn keys_that_were_removed_come_back_only_if_that_was_said() {
    let world = World::new();
    let slots: Vec<Listed> =
        ["keys/", "copy/keys/"].iter().flat_map(|prefix| world.storage().list(prefix).unwrap()).collect();
    world.at(80);
    let other = world.bucket.get(&slots[0].name, u64::MAX).unwrap();
    for l in &slots {
        world.bucket.delete(&l.name).unwrap();
    }
    let done = world.rescue(false, false).unwrap();
    assert_eq!((done.count(Became::KeyStays), done.changed.len()), (slots.len() as u64, slots.len()));
    assert!(world.storage().list("keys/").unwrap().is_empty());
    // One that was written anew, whole, is somebody's new password.
    let anew = orlop::format::armour::wrap(b"another slot");
    world.bucket.heal(&slots[0].name, &anew).unwrap();
    assert_eq!(world.rescue(false, false).unwrap().count(Became::KeyStays), slots.len() as u64);
    assert_eq!(world.bucket.get(&slots[0].name, u64::MAX).unwrap(), anew);
    // One that is not whole is no password of anybody.
    world.bucket.heal(&slots[0].name, b"garbage").unwrap();
    assert_eq!(world.rescue(false, false).unwrap().count(Became::Repaired), 1);
    assert_eq!(world.bucket.get(&slots[0].name, u64::MAX).unwrap(), other);
    world.rescue(false, true).unwrap();
    world.assert_there(&world.storage(), 3);
}

/// Of what was damaged before it was stored no version is whole: that is told, and nothing is made worse.
#[test]
fn what_is_lost_is_named() {
    let world = World::new();
    let pack = orlop::format::names::pack(orlop::id::PackId([7; 32]), [1; 4]);
    let pack = orlop::storage::Name::new(pack).unwrap();
    world.at(30);
    world.bucket.put_new(&pack, b"never whole").unwrap();
    world.at(80);
    world.bucket.heal(&pack, b"nor later").unwrap();
    let options = RescueOptions { when: world.moment(), dry_run: false, keys: false };
    let (done, ears) = listening(|cx| rescue(&world.bucket, &options, cx));
    assert_eq!(done.unwrap().changed, [(pack.as_str().to_owned(), Became::Lost)]);
    let told = ears.problems.lock().unwrap();
    assert!(told.len() == 1 && told[0].starts_with("damaged bring back packs/07"), "{told:?}");
    assert_eq!(world.bucket.get(&pack, 99).unwrap(), b"nor later");
}

/// What was healed since stays, although it was broken then.
#[test]
fn what_is_good_now_stays() {
    let world = World::new();
    let packs = world.past().list("packs/").unwrap();
    let gc = world.past().list("snapshots/").unwrap();
    let bytes = |l: &Listed| world.bucket.get(&l.name, u64::MAX).unwrap();
    for l in [&packs[0], &gc[0]] {
        let whole = bytes(l);
        world.at(30);
        world.bucket.heal(&l.name, b"garbage").unwrap();
        world.at(70);
        world.bucket.heal(&l.name, &whole).unwrap();
    }
    let versions = world.bucket.versions("").unwrap();
    assert_eq!(world.rescue(false, false).unwrap().changed, []);
    assert_eq!(world.bucket.versions("").unwrap(), versions, "nothing was put");
}

#[test]
fn without_versions_there_is_nothing_to_rescue() {
    let bucket = VersionedStorage::keeping_nothing();
    init(&(Arc::new(bucket.clone()) as Arc<dyn Storage>));
    let options = RescueOptions { when: Time::default(), dry_run: false, keys: false };
    let error = listening(|cx| rescue(&bucket, &options, cx)).0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// A prune deletes what a rescue brought back of what it had deleted.
#[test]
fn what_a_prune_deleted_comes_back_and_goes_again() {
    let world = World::new();
    let storage = world.storage();
    world.at(70);
    let mut repo = open(&storage);
    support::prune::forget(&mut repo, world.snapshots[0].0);
    support::prune::prune_now(&mut repo);
    let packs = |what: &str| storage.list(what).unwrap().len();
    let few = packs("packs/");
    let done = world.rescue(false, false).unwrap();
    assert!(done.count(Became::BroughtBack) > 0 && packs("packs/") > few);
    let mut repo = open(&storage);
    assert_sound(&mut repo);
    support::prune::prune_now(&mut repo);
    assert_eq!(packs("packs/"), few);
    let mut repo = open(&storage);
    assert_sound(&mut repo);
    for (id, dir) in &world.snapshots[1..] {
        assert_same(&repo, *id, Path::new(dir));
    }
}

/// All that a client's machine makes is below what a policy lets it make, and nothing of it is made twice.
#[test]
fn who_backs_up_makes_objects_only_where_a_policy_lets_it() {
    let world = World::new();
    let storage = world.storage();
    let key = Credential::Raw(Secret::new([7; 32]));
    open(&storage).add_client_slot("web", &key, &SlotNote::default()).unwrap();
    let before = world.bucket.versions("").unwrap().len();
    let there = names(storage.list("").unwrap().iter().map(|l| l.name.as_str()));
    let options = BackupOptions {
        about: About { client: None, paths: vec![b"/source".to_vec()], ..About::default() },
        ..small_packs()
    };
    for (_, dir) in &world.snapshots {
        let mut repo = repo::open(Arc::clone(&storage), &key, None).unwrap();
        fs::write(dir.join("new"), noise(50_000, 77)).unwrap();
        settle();
        back_up(&mut repo, dir, &options);
        assert_sound(&mut repo);
    }
    let new: Vec<String> = storage.list("").unwrap().into_iter().map(|l| l.name.as_str().to_owned()).collect();
    let new: Vec<&String> = new.iter().filter(|name| !there.contains(*name)).collect();
    assert_eq!(world.bucket.versions("").unwrap().len() - before, new.len(), "nothing was overwritten or deleted");
    let strays: Vec<_> = new.iter().filter(|n| !prefix::OF_CLIENTS.iter().any(|p| n.starts_with(p))).collect();
    assert!(new.len() > 10 && strays.is_empty(), "{strays:?}");
}
