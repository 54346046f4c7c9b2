//! What a check has to find, and what a backup after it has to mend.

mod support;

use std::fs;
use std::sync::Arc;

use orlop::event::Quiet;
use orlop::format::pack::{HEADER_LEN, Kind};
use orlop::format::page::Builder;
use orlop::format::records::{CloseKind, Purpose};
use orlop::format::segment::{PackEntry, Row};
use orlop::id::{PackId, RecordId};
use orlop::model::{Content, Node, NodeKind, Time};
use orlop::ops::backup::{self, BackupOptions, ChangedFiles, Input};
use orlop::ops::check::Data;
use orlop::ops::prune::PruneOptions;
use orlop::plan::subset::Subset;
use orlop::repo::{NewSnapshot, Repository, Writer, WriterOptions};
use orlop::storage::testing::FaultStorage;
use orlop::storage::{MemoryStorage, Name, Storage};
use support::alike::assert_alike;
use support::keyring::put_segment;
use support::prune::{forget, now, prune, try_prune};
use support::*;

struct World {
    memory: MemoryStorage,
    dir: tempfile::TempDir,
    snapshots: Vec<RecordId>,
}

/// Two snapshots, several packs, one of them of pages.
fn world() -> World {
    let (memory, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    for i in 0..8u64 {
        fs::create_dir_all(dir.path().join(format!("d{}", i % 2))).unwrap();
        fs::write(dir.path().join(format!("d{}/f{i}", i % 2)), noise(60_000, i)).unwrap();
    }
    settle();
    let mut repo = open(&storage);
    let first = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    fs::write(dir.path().join("d0/more"), noise(90_000, 50)).unwrap();
    settle();
    let second = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    World { memory, dir, snapshots: vec![first, second] }
}

fn repo_of(memory: &MemoryStorage) -> Repository {
    open(&(Arc::new(memory.clone()) as Arc<dyn Storage>))
}

fn damage(memory: &MemoryStorage, name: &Name, at: usize) {
    let mut bytes = memory.get(name, u64::MAX).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 0x10;
    memory.plant(name, &bytes);
}

#[test]
fn a_sound_repository_has_no_errors() {
    let w = world();
    let done = assert_sound(&mut repo_of(&w.memory));
    assert_eq!((done.snapshots, done.unindexed_packs), (2, 0));
    assert_eq!(done.packs, done.packs_read);
    assert!(done.pages > 4);
    let (done, ears) = check(&mut repo_of(&w.memory), Data::Trees);
    assert_eq!((done.errors, done.packs_read), (0, 0));
    assert_eq!(*ears.notices.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn garbage_in_the_place_of_any_object_is_found() {
    let w = world();
    for l in w.memory.list("").unwrap() {
        let bad = fork(&w.memory);
        bad.plant(&l.name, &vec![0; l.len as usize]);
        let (done, ears) = check(&mut repo_of(&bad), Data::All);
        assert!(done.errors > 0, "{}", l.name);
        let told = ears.problems.lock().unwrap().join("\n");
        let subject = l.name.as_str();
        assert!(told.contains(subject), "{subject}: {told}");
    }
}

/// A disk that dies does not do so everywhere at once.
#[test]
fn whatever_a_disk_cannot_read_the_rest_is_looked_at() {
    let w = world();
    for l in w.memory.list("").unwrap() {
        let dying = FaultStorage::new(w.memory.clone());
        dying.fail_reading(l.name.as_str());
        let mut repo = open(&(Arc::new(dying) as Arc<dyn Storage>));
        let (done, ears) = check(&mut repo, Data::All);
        let told = ears.problems.lock().unwrap().join("\n");
        let subject = l.name.as_str();
        assert!(done.errors > 0 && told.contains(subject) && told.contains("os error 5"), "{subject}: {told}");
        // One snapshot at least does not need it, or there is a copy.
        let mut read = |id: &RecordId| check_only(&mut repo, Data::All, *id).0.packs_read;
        assert!(w.snapshots.iter().any(|id| read(id) > 0), "{subject}");
    }
}

/// The others say enough to read by, and not enough to decide by.
#[test]
fn what_a_disk_cannot_read_of_the_log_stops_nobody_who_reads() {
    let w = world();
    let mut repo = repo_of(&w.memory);
    forget(&mut repo, w.snapshots[0]);
    prune(&mut repo, &now());
    let log = w.memory.list("gc/").unwrap();
    assert!(!log.is_empty());
    for l in log {
        let dying = FaultStorage::new(w.memory.clone());
        dying.fail_reading(l.name.as_str());
        let mut repo = open(&(Arc::new(dying) as Arc<dyn Storage>));
        let (done, ears) = check(&mut repo, Data::All);
        let told = ears.problems.lock().unwrap().join("\n");
        assert!(done.errors > 0 && told.contains(l.name.as_str()), "{told}");
        assert_alike(w.dir.path(), restored_beside(&repo, w.snapshots[1], w.dir.path(), &|_, _| {}).0.path());
        for accept_lost in [false, true] {
            let error = try_prune(&mut repo, &PruneOptions { accept_lost, ..now() }).unwrap_err();
            assert!(error.to_string().contains("os error 5"), "{error}");
        }
    }
}

/// Files that did not change are in the parent, and their chunks may be in that segment alone.
#[test]
fn a_backup_without_a_segment_stores_again_what_only_that_knew() {
    let w = world();
    for l in w.memory.list("index/").unwrap() {
        for gone in [false, true] {
            let bad = fork(&w.memory);
            match gone {
                true => bad.delete(&l.name).unwrap(),
                false => damage(&bad, &l.name, l.len as usize / 2),
            }
            // Of a list of what changed, too, although nothing is on it.
            let nothing = ChangedFiles { list: "list".into(), unit: "line", paths: vec![] };
            for changed in [None, Some(nothing)] {
                let bad = fork(&bad);
                let (mut repo, input) = (repo_of(&bad), Input::Paths(source(w.dir.path())));
                let options = BackupOptions { changed, ..small_packs() };
                let done = listening(|cx| backup::backup(&mut repo, input, &options, cx)).0.unwrap();
                let (target, _) = restored_beside(&repo, done.snapshot.unwrap(), w.dir.path(), &|_, _| {});
                assert_alike(w.dir.path(), target.path());
            }
        }
    }
}

/// Whether it is true nobody can tell just now, so nothing is built upon that pack.
#[test]
fn a_report_of_damage_that_a_disk_cannot_read_counts() {
    let w = world();
    let (name, _) = largest_pack(&w.memory, Kind::Data, &repo_of(&w.memory));
    damage(&w.memory, &name, 300);
    check(&mut repo_of(&w.memory), Data::All);
    let dying = FaultStorage::new(w.memory.clone());
    let reports = w.memory.list("suspect/").unwrap();
    assert!(!reports.is_empty());
    reports.iter().for_each(|l| dying.fail_reading(l.name.as_str()));
    let mut repo = open(&(Arc::new(dying) as Arc<dyn Storage>));
    let done = back_up(&mut repo, w.dir.path(), &small_packs());
    assert!(done.stats.data_blobs > 0, "what is in the pack is stored again");
    assert_same(&repo, done.snapshot.unwrap(), w.dir.path());
}

#[test]
fn one_bit_anywhere_in_packs_and_index_is_found_and_mended_elsewhere() {
    let w = world();
    for l in w.memory.list("").unwrap() {
        for i in 0..5 {
            let bad = fork(&w.memory);
            damage(&bad, &l.name, (l.len as usize - 1) * i / 4);
            let (done, ears) = check(&mut repo_of(&bad), Data::All);
            let name = l.name.as_str();
            if name.starts_with("packs/") || name.starts_with("index/") {
                assert!(done.errors > 0, "byte {i}/4 of {name}");
                assert_eq!(done.broken_packs.len(), usize::from(name.starts_with("packs/")));
            } else {
                assert_eq!(done.errors, 0, "armour mends byte {i}/4 of {name}: {:?}", ears.problems.lock().unwrap());
            }
        }
    }
}

#[test]
fn what_is_gone_is_missed() {
    let w = world();
    for l in w.memory.list("").unwrap() {
        let bad = fork(&w.memory);
        bad.delete(&l.name).unwrap();
        let name = l.name.as_str();
        let (done, ears) = check(&mut repo_of(&bad), Data::Trees);
        let told = ears.problems.lock().unwrap().join("\n");
        match name.split('/').next().unwrap() {
            "packs" => {
                assert!(told.contains(name) && told.contains(":/"), "{name}: {told}");
                assert_eq!(done.broken_packs.len(), 1);
            }
            "index" => {
                assert!(done.errors > 0 && done.unindexed_packs > 0, "{name}");
                assert!(told.contains("in no pack that the index knows"), "{told}");
            }
            "copy" => assert!(ears.notices.lock().unwrap().iter().any(|n| n.starts_with("single-copy")), "{name}"),
            "snapshots" | "clients" | "keys" | "keyring" | "config" => assert!(told.contains("gone"), "{name}: {told}"),
            _ => {}
        }
    }
}

/// Damage to what no file changed for: the next backup must not build upon it.
#[test]
fn the_backup_after_a_check_stores_again_what_was_damaged() {
    for kind in [Kind::Data, Kind::Tree] {
        let w = world();
        let mut repo = repo_of(&w.memory);
        let (name, pack) = largest_pack(&w.memory, kind, &repo);
        damage(&w.memory, &name, 300);
        let (done, _) = check(&mut repo, Data::Trees);
        assert_eq!(done.errors == 0, kind == Kind::Data, "pages are read in any case");
        let (done, ears) = check(&mut repo, Data::All);
        assert_eq!(done.broken_packs, [pack]);
        let told = ears.problems.lock().unwrap().join("\n");
        assert!(told.contains("needed by") && told.contains(":/"), "{told}");
        assert!(!w.memory.list("suspect/").unwrap().is_empty(), "it is written down");

        let done = back_up(&mut repo, w.dir.path(), &small_packs());
        assert!(done.stats.data_blobs + done.stats.tree_blobs > 0);
        let newest = done.snapshot.unwrap();
        assert_same(&repo, newest, w.dir.path());
        let (done, ears) = check_only(&mut repo, Data::All, newest);
        assert_eq!(done.replaced_packs, [pack], "{:?}", ears.problems.lock().unwrap());
        assert_eq!(done.errors, 0, "everything is stored elsewhere now");
        if kind == Kind::Data {
            // All snapshots are whole again, since they name the same chunks.
            assert_eq!(check(&mut repo, Data::All).0.errors, 0);
            assert_same(&repo, w.snapshots[1], w.dir.path());
        }
        let again = back_up(&mut repo, w.dir.path(), &small_packs());
        assert_eq!(again.stats.data_blobs, 0, "once is enough");
    }
}

/// No check ran, no file changed, and the storage lost a pack or the end of one: the next backup
/// must not build upon it either.
#[test]
fn a_backup_stores_again_what_is_not_there() {
    for kind in [Kind::Data, Kind::Tree] {
        for shorter in [false, true] {
            let w = world();
            let mut repo = repo_of(&w.memory);
            let (name, _) = largest_pack(&w.memory, kind, &repo);
            let bytes = w.memory.get(&name, u64::MAX).unwrap();
            w.memory.delete(&name).unwrap();
            if shorter {
                w.memory.plant(&name, &bytes[..bytes.len() - (1 << 10)]);
            }
            let (done, ears) = listening(|cx| {
                let input = Input::Paths(source(w.dir.path()));
                backup::backup(&mut repo, input, &small_packs(), cx)
            });
            let newest = done.unwrap().snapshot.unwrap();
            let told = ears.notices.lock().unwrap().join("\n");
            assert!(told.contains("packs-missing: 1 packs"), "{told}");
            w.memory.delete(&name).unwrap();
            assert_same(&repo, newest, w.dir.path());
            let again = back_up(&mut repo, w.dir.path(), &small_packs());
            assert_eq!(again.stats.data_blobs, 0, "once is enough");
        }
    }
}

#[test]
fn subsets_cover_everything_once() {
    let w = world();
    let mut repo = repo_of(&w.memory);
    let all = repo.storage().list("packs/").unwrap().len() as u64;
    let mut read = 0;
    for group in 1..=3 {
        let part = Data::Part(Subset::Group { group, groups: 3 });
        let first = check(&mut repo, part).0.packs_read;
        assert_eq!(first, check(&mut repo, part).0.packs_read);
        read += first;
    }
    assert_eq!(read, all);
    assert_eq!(check(&mut repo, Data::Part(Subset::Percent(50.0))).0.packs_read, all.div_ceil(2));
    assert_eq!(check(&mut repo, Data::Part(Subset::Bytes(1))).0.packs_read, 1);
    assert_eq!(check(&mut repo, Data::Part(Subset::Bytes(1 << 40))).0.packs_read, all);
}

#[test]
fn names_that_would_lead_elsewhere_are_told() {
    let w = world();
    let mut repo = repo_of(&w.memory);
    let who = repo.identity(Some("test")).unwrap();
    let session = repo.begin(&who, Purpose::Backup, vec![]).unwrap();
    let index = repo.load_index(&|n, e| panic!("{n}: {e}")).unwrap();
    let (meter, cancel) = (orlop::event::Meter::default(), false.into());
    let cx = orlop::event::Context { observer: &Quiet, meter: &meter, cancel: &cancel };
    let options =
        WriterOptions { compression: None, pack_target: 1 << 20, segment_packs: 9, verify: true, dry_run: false };
    let writer = Writer::new(&repo, &who, &session, &index, &cx, options);
    let mut builder = Builder::dir(repo.keys());
    for name in [&b".."[..], b"a/b", b"fine"] {
        builder.node(&file(name), &mut |bytes: Vec<u8>| writer.page(&bytes)).unwrap();
    }
    let root = builder.finish(&mut |bytes: Vec<u8>| writer.page(&bytes)).unwrap();
    writer.finish().unwrap();
    let model = repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap().remove(0);
    let mut statement = model.statement.clone();
    statement.root = root;
    let id = repo.commit(&who, &session, NewSnapshot { statement, body: model.body }).unwrap();
    repo.close(&session, CloseKind::End, vec![id]).unwrap();
    let (done, ears) = check(&mut repo, Data::Trees);
    assert_eq!(done.errors, 2, "{:?}", ears.problems.lock().unwrap());
    assert!(ears.problems.lock().unwrap().iter().all(|p| p.starts_with("bad-name")));
}

fn file(name: &[u8]) -> Node {
    Node {
        name: name.to_vec(),
        kind: NodeKind::File { size: 1, content: Content::Inline(vec![1]) },
        mode: 0o600,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        ctime: Time::default(),
        ino: 0,
        ext: vec![],
    }
}

/// Whoever may sign a segment can say of a pack what it likes: that is damage of that pack, and no
/// reason not to look at the others.
#[test]
fn a_pack_of_an_epoch_that_there_never_was_is_damage() {
    let w = world();
    let mut repo = repo_of(&w.memory);
    let who = repo.identity(Some("test")).unwrap();
    let (name, _) = largest_pack(&w.memory, Kind::Data, &repo);
    let mut bytes = w.memory.get(&name, u64::MAX).unwrap();
    let (mut header, table) = repo.read_table(name.as_str(), bytes.len() as u64).unwrap();
    header.epoch = 9;
    bytes[..HEADER_LEN].copy_from_slice(&header.encode());
    let id = PackId(*blake3::hash(&bytes).as_bytes());
    let len = bytes.len() as u64;
    w.memory.plant(&Name::new(orlop::format::names::pack(id, [1; 4])).unwrap(), &bytes);
    let session = repo.begin(&who, Purpose::Backup, vec![]).unwrap();
    let row = Row { id: [7; 20], frame: 0, ordinal: 0 };
    let entry = PackEntry { id, uploader: [1; 4], len, kind: Kind::Data, header, frames: table.frames };
    put_segment(&repo, &who, session.id, vec![entry], vec![row]);
    repo.close(&session, CloseKind::Abort, vec![]).unwrap();

    let (done, ears) = check(&mut repo, Data::All);
    assert_eq!((done.packs_read, done.broken_packs.len()), (done.packs, 1));
    let told = ears.problems.lock().unwrap().join("\n");
    assert!(told.contains("epoch 9") && told.contains(&id.short()), "{told}");
    assert!(!told.contains(":/"), "no file needs it: {told}");
}

/// A collector that another one overtook leaves such segments.
#[test]
fn a_gone_pack_that_nothing_needs_is_no_damage() {
    let w = world();
    let mut repo = repo_of(&w.memory);
    let who = repo.identity(Some("test")).unwrap();
    let (name, _) = largest_pack(&w.memory, Kind::Data, &repo);
    let bytes = w.memory.get(&name, u64::MAX).unwrap();
    let (header, table) = repo.read_table(name.as_str(), bytes.len() as u64).unwrap();
    let session = repo.begin(&who, Purpose::Gc, vec![]).unwrap();
    let row = Row { id: [7; 20], frame: 0, ordinal: 0 };
    let (id, len) = (PackId([9; 32]), bytes.len() as u64);
    let entry = PackEntry { id, uploader: [1; 4], len, kind: Kind::Data, header, frames: table.frames };
    put_segment(&repo, &who, session.id, vec![entry], vec![row]);
    repo.close(&session, CloseKind::End, vec![]).unwrap();

    let gone = |ears: &Ears| ears.notices.lock().unwrap().iter().any(|n| n.starts_with("unneeded"));
    let (done, ears) = check(&mut repo, Data::All);
    let told = ears.problems.lock().unwrap().join("\n");
    assert_eq!((done.errors, done.broken_packs.len(), gone(&ears)), (0, 0, true), "{told}");

    // Where some of the tree cannot be read, nobody knows what it needs.
    let worse = fork(&w.memory);
    worse.delete(&largest_pack(&worse, Kind::Tree, &repo).0).unwrap();
    let (done, ears) = check(&mut repo_of(&worse), Data::All);
    assert_eq!((done.broken_packs.len(), gone(&ears)), (2, false));

    prune(&mut repo, &now());
    let (done, ears) = check(&mut repo, Data::All);
    assert_eq!((done.errors, gone(&ears)), (0, false), "the prune forgot it");
}
