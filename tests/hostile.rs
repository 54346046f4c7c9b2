//! What an enrolled client, or whoever can write to the storage, must not get away with.

mod support;

use std::fs;
use std::sync::{Arc, Mutex};

use orlop::crypto::Argon2Params;
use orlop::crypto::Secret;
use orlop::error::ErrorKind;
use orlop::format::armour;
use orlop::format::keys::{Credential, Kdf, SlotHeader, SlotSecret};
use orlop::format::names;
use orlop::format::pack::Kind;
use orlop::format::records::{CloseKind, Purpose};
use orlop::format::segment::{PackEntry, Row};
use orlop::id::{BlobId, ClientId, SessionId, SlotId};
use orlop::model::Head;
use orlop::ops::backup::{About, BackupOptions};
use orlop::ops::check::Data;
use orlop::ops::forget::accept_lost;
use orlop::ops::prune::PruneOptions;
use orlop::ops::remake::{Became, RewriteOptions, Way, rewrite};
use orlop::repo::{self, Identity, Leftover, Repository, SlotNote, Validity};
use orlop::storage::{MemoryStorage, Name, Storage};
use support::keyring::{put_liar, put_segment, rows_of};
use support::prune::{forget, now, prune, prune_now, stored, try_prune};
use support::*;

const KEY: [u8; 32] = [7; 32];

/// A repository of the owner, who writes as `test`, and an enrolled client.
fn world() -> (MemoryStorage, Repository, Repository) {
    let (memory, storage) = fresh();
    let mut owner = open(&storage);
    owner.identity(Some("test")).unwrap();
    let key = Credential::Raw(Secret::new(KEY));
    owner.add_client_slot("mallory", &key, &SlotNote::default()).unwrap();
    let mallory = repo::open(storage, &key, None).unwrap();
    (memory, owner, mallory)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[test]
fn a_client_closes_no_session_of_others() {
    let (memory, mut owner, mut mallory) = world();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), noise(60_000, 1)).unwrap();
    let id = back_up(&mut owner, dir.path(), &small_packs()).snapshot.unwrap();
    let validity = |repo: &Repository| {
        let told = Mutex::new(Vec::new());
        let all = repo.snapshots(&|name, e| told.lock().unwrap().push(format!("{name}: {e}"))).unwrap();
        let s = all.iter().find(|s| s.id == id).unwrap();
        (s.validity, s.commit.session, told.into_inner().unwrap().join("\n"))
    };
    let (valid, session, told) = validity(&owner);
    assert_eq!((valid, told.as_str()), (Validity::Confirmed, ""));

    let close = name(&names::session_close(session));
    let (me, it) = (mallory.identity(None).unwrap(), Leftover { id: session });
    let client = owner.identity(Some("test")).unwrap().client;
    for committed in [vec![], vec![Head { client, seq: 1, id }]] {
        memory.delete(&close).unwrap();
        mallory.bury(&me, &it, &committed).unwrap();
        let (valid, _, told) = validity(&owner);
        assert_eq!(valid, Validity::Pending);
        assert!(told.contains("may not close the session"), "{told}");
    }

    memory.delete(&close).unwrap();
    let who = owner.identity(Some("test")).unwrap();
    owner.bury(&who, &it, &[]).unwrap();
    assert_eq!(validity(&mallory).0, Validity::Late, "its own client gave it up");
}

/// Else the victim would take over packs that a stranger prepared, and sign what is in them.
#[test]
fn a_session_that_another_opened_in_a_clients_name_is_not_adopted() {
    let (_, mut owner, mut mallory) = world();
    let (who, me) = (owner.identity(Some("test")).unwrap(), mallory.identity(None).unwrap());
    owner.act_as(this_process());
    mallory.act_as(before_reboot(1));
    let forged = Identity { client: who.client, name: who.name.clone(), epoch: who.epoch, signer: me.signer };
    mallory.begin(&forged, Purpose::Backup, vec![]).unwrap();
    assert!(owner.leftovers(&who).unwrap().is_empty());

    owner.act_as(before_reboot(1));
    let real = owner.begin(&who, Purpose::Backup, vec![]).unwrap();
    owner.act_as(this_process());
    assert_eq!(owner.leftovers(&who).unwrap().iter().map(|l| l.id).collect::<Vec<_>>(), [real.id]);
    owner.close(&real, CloseKind::Abort, vec![]).unwrap();
}

/// Names can be taken by whoever may write, without any key.
#[test]
fn garbage_keeps_nobody_out() {
    let (memory, owner, _) = world();
    // Whole up to the seal, but of an epoch that nobody has.
    let mut segment = [&b"ORLPSEG1"[..], &1u16.to_le_bytes(), &[0; 2], &99u32.to_le_bytes()].concat();
    segment.resize(112, 0);
    let id = blake3::hash(&segment).to_hex();
    memory.plant(&name(&format!("index/{id}")), &segment);
    let mut record = [&b"ORLPREC1"[..], &1u16.to_le_bytes(), &2u16.to_le_bytes(), &99u32.to_le_bytes()].concat();
    record.extend_from_slice(&[0, 0, 0, 0, 200, 0, 0, 0]);
    record.resize(96 + 200, 0);
    memory.plant(&name(&format!("clients/{}/00000001", "0".repeat(32))), &armour::wrap(&record));
    for n in 0..40 {
        memory.plant(&name(&format!("keys/{n:032x}")), b"a slot");
    }

    let storage: Arc<dyn Storage> = Arc::new(memory);
    let hint: SlotId = owner.slot();
    let again = repo::open(storage, &Credential::Nothing, Some(hint)).unwrap();
    assert_eq!(again.clients().len(), 2);
    let told = Mutex::new(Vec::new());
    again.load_index(&|name, _| told.lock().unwrap().push(name.to_owned())).unwrap();
    assert_eq!(told.into_inner().unwrap(), [format!("index/{id}")]);
}

#[test]
fn a_snapshot_that_is_taken_away_is_missed() {
    let (memory, mut owner, _) = world();
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..3 {
        fs::write(dir.path().join("f"), noise(2_000, seed)).unwrap();
        back_up(&mut owner, dir.path(), &small_packs());
    }
    let told = |repo: &Repository| {
        let told = Mutex::new(Vec::new());
        let all = repo.snapshots(&|name, e| told.lock().unwrap().push((name.to_owned(), e.kind()))).unwrap();
        (all.len(), told.into_inner().unwrap())
    };
    assert_eq!(told(&owner), (3, vec![]));
    let client = owner.identity(Some("test")).unwrap().client;
    let gone = names::snapshot(client, 2);
    memory.delete(&name(&gone)).unwrap();
    memory.delete(&name(&names::copy_of(&gone))).unwrap();
    assert_eq!(told(&owner), (2, vec![(gone, ErrorKind::Missing)]));
}

/// Every chunk, or every page, that the packs' tables name.
fn blobs_of(repo: &Repository, kind: Kind) -> Vec<BlobId> {
    let listed = repo.storage().list("packs/").unwrap();
    let tables = listed.iter().map(|l| repo.read_table(l.name.as_str(), l.len).unwrap().1);
    tables.filter(|t| t.kind == kind).flat_map(|t| t.ids).collect()
}

/// A segment of somebody's that is loaded before all others.
fn first_segment(
    memory: &MemoryStorage,
    repo: &Repository,
    who: &Identity,
    packs: &[PackEntry],
    rows: &[Row],
) -> String {
    let others = memory.list("index/").unwrap();
    loop {
        let object = put_segment(repo, who, SessionId([9; 16]), packs.to_vec(), rows.to_vec());
        if others.iter().all(|l| object.as_str() < l.name.as_str()) {
            return object;
        }
        memory.delete(&name(&object)).unwrap();
    }
}

/// Problems that were told, and whether it came to an end.
fn pruned(repo: &mut Repository) -> (String, bool) {
    let (done, ears) = listening(|cx| orlop::ops::prune::prune(repo, &now(), cx));
    let told = ears.problems.lock().unwrap().join("\n");
    (told, done.is_ok())
}

/// A pack's table is what its maker wrote there, and its segment comes before the victim's: prune once gave
/// up everybody's packs for such a one.
#[test]
fn nothing_is_given_up_for_a_pack_of_lies() {
    for kind in [Kind::Data, Kind::Tree] {
        let (memory, mut owner, mut mallory) = world();
        let me = mallory.identity(None).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), noise(60_000, 1)).unwrap();
        let id = back_up(&mut owner, dir.path(), &small_packs()).snapshot.unwrap();
        let ids = blobs_of(&owner, kind);
        let liar = put_liar(&owner, SessionId([9; 16]), kind, &ids);
        first_segment(&memory, &owner, &me, &[liar], &rows_of(&ids));
        assert_eq!(pruned(&mut owner), (String::new(), true));
        assert_restores(&owner, id, dir.path());
        assert_sound(&mut owner);
    }
}

/// A repository of the owner with clients alice, who stored a file, and mallory.
fn with_alice(dir: &std::path::Path) -> (MemoryStorage, Repository, Repository, Identity, orlop::id::RecordId) {
    let (memory, mut owner, mut mallory) = world();
    let key = Credential::Raw(Secret::new([8; 32]));
    owner.add_client_slot("alice", &key, &SlotNote::default()).unwrap();
    let storage: Arc<dyn Storage> = Arc::new(memory.clone());
    let mut alice = repo::open(storage, &key, None).unwrap();
    fs::write(dir.join("f"), noise(60_000, 1)).unwrap();
    let about = About { paths: vec![b"/source".to_vec()], ..About::default() };
    let options = BackupOptions { about, ..small_packs() };
    let id = back_up(&mut alice, dir, &options).snapshot.unwrap();
    let me = mallory.identity(None).unwrap();
    (memory, owner, alice, me, id)
}

/// The same where the victim's word is worth no more than the liar's: what is relied on is read.
#[test]
fn a_clients_pack_is_not_given_up_for_anothers_lies() {
    let dir = tempfile::tempdir().unwrap();
    let (memory, mut owner, alice, me, id) = with_alice(dir.path());
    let ids = blobs_of(&owner, Kind::Data);
    let liars = [(); 3].map(|()| put_liar(&owner, SessionId([9; 16]), Kind::Data, &ids));
    for liar in &liars {
        first_segment(&memory, &owner, &me, std::slice::from_ref(liar), &rows_of(&ids));
    }
    let (told, done) = pruned(&mut owner);
    assert!(done && told.contains("not what its table says"), "{told}");
    assert!(liars.iter().all(|l| told.contains(&l.id.short())), "{told}");
    assert_restores(&alice, id, dir.path());
    assert_sound(&mut owner);
}

/// A collector that merges segments signs what others said, and is not believed in that.
#[test]
fn a_lie_that_a_collector_repeated_is_still_a_lie() {
    let dir = tempfile::tempdir().unwrap();
    let (memory, mut owner, alice, me, id) = with_alice(dir.path());
    let ids = blobs_of(&owner, Kind::Data);
    let liar = put_liar(&owner, SessionId([9; 16]), Kind::Data, &ids);
    // What names a pack that is gone is merged.
    let gone = PackEntry { id: orlop::id::PackId([3; 32]), ..liar.clone() };
    first_segment(&memory, &owner, &me, &[liar.clone(), gone], &rows_of(&ids));
    let merging = PruneOptions { merge_only: true, ..now() };
    let before = memory.list("index/").unwrap();
    support::prune::prune(&mut owner, &merging);
    assert_ne!(before, memory.list("index/").unwrap());
    let (told, done) = pruned(&mut owner);
    assert!(done && told.contains(&liar.id.short()), "{told}");
    assert_restores(&alice, id, dir.path());
    assert_sound(&mut owner);
}

/// What a true segment says of each pack.
fn entries(repo: &Repository, kind: Kind) -> Vec<(PackEntry, Vec<BlobId>)> {
    let listed = repo.storage().list("packs/").unwrap();
    let entry = |l: &orlop::storage::Listed| {
        let (id, uploader) = names::parse_pack(l.name.as_str()).unwrap();
        let (header, table) = repo.read_table(l.name.as_str(), l.len).unwrap();
        (PackEntry { id, uploader, len: l.len, kind: table.kind, header, frames: table.frames }, table.ids)
    };
    listed.iter().map(entry).filter(|(e, _)| e.kind == kind).collect()
}

/// Lies about a pack are the liar's: the pack stays what it is, and pruning goes on.
#[test]
fn what_one_says_of_the_packs_of_others_is_not_held_against_them() {
    for lie_of_frames in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (memory, mut owner, alice, me, id) = with_alice(dir.path());
        let more = tempfile::tempdir().unwrap();
        fs::write(more.path().join("g"), noise(60_000, 2)).unwrap();
        let own = back_up(&mut owner, more.path(), &small_packs()).snapshot.unwrap();
        let before = blobs_of(&owner, Kind::Data);
        let true_ones = entries(&owner, Kind::Data);
        let mut packs: Vec<PackEntry> = true_ones.iter().map(|(e, _)| e.clone()).collect();
        let row = |id: &BlobId, frame: u32| Row { id: orlop::index::short(id), frame, ordinal: 0 };
        let mut rows: Vec<Row> = before.iter().map(|id| row(id, 0)).collect();
        if lie_of_frames {
            for frame in packs.iter_mut().map(|p| &mut p.frames[0]) {
                (frame.stored, frame.plain) = (frame.stored + 1, frame.plain + 1);
            }
        }
        rows.sort();
        let lie = first_segment(&memory, &owner, &me, &packs, &rows);
        let (told, done) = pruned(&mut owner);
        assert!(done && told.contains("segment"), "{told}");
        assert_eq!(blobs_of(&owner, Kind::Data), before);
        // A restore tells of contradictions, too.
        memory.delete(&name(&lie)).unwrap();
        assert_restores(&alice, id, dir.path());
        assert_restores(&owner, own, more.path());
    }
}

/// A repository of one client with so many snapshots, and what it backs up.
fn chain(snapshots: u64) -> (MemoryStorage, Repository, ClientId, tempfile::TempDir) {
    let (memory, storage) = fresh();
    let mut repo = open(&storage);
    let client = repo.identity(Some("test")).unwrap().client;
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..snapshots {
        fs::write(dir.path().join(format!("f{seed}")), noise(40_000, seed)).unwrap();
        settle();
        back_up(&mut repo, dir.path(), &small_packs());
    }
    (memory, repo, client, dir)
}

fn reopened(memory: &MemoryStorage) -> Repository {
    open(&(Arc::new(memory.clone()) as Arc<dyn Storage>))
}

fn lose(memory: &MemoryStorage, object: &str) {
    for home in [object.to_owned(), names::copy_of(object)] {
        memory.delete(&name(&home)).unwrap();
    }
}

fn forget_first(repo: &mut Repository) {
    let first = repo.standing(&|_, _| {}).unwrap().snapshots[0].id;
    forget(repo, first);
}

fn told(memory: &MemoryStorage) -> (u64, String) {
    let (done, ears) = check(&mut reopened(memory), Data::Trees);
    let all = [ears.problems.lock().unwrap().join("\n"), ears.notices.lock().unwrap().join("\n")];
    (done.errors, all.join("\n"))
}

/// Nothing follows the newest snapshot of a chain: only the close of its session says that it was there.
#[test]
fn the_newest_snapshots_are_missed_as_well() {
    for lost in [&[3][..], &[2, 3], &[1, 2, 3]] {
        let (memory, mut repo, client, dir) = chain(3);
        let places: Vec<String> = lost.iter().map(|n| names::snapshot(client, *n)).collect();
        places.iter().for_each(|place| lose(&memory, place));
        let (errors, said) = told(&memory);
        assert_eq!(errors, lost.len() as u64, "{said}");
        assert!(places.iter().all(|p| said.contains(p)) && said.contains("--accept-lost"), "{said}");
        let before = stored(&memory);
        let error = try_prune(&mut repo, &now()).unwrap_err();
        assert!(error.hints().iter().any(|h| h.contains("--accept-lost")), "{error}");
        assert_eq!(stored(&memory), before);

        // Nobody takes the place of what is lost.
        let id = back_up(&mut reopened(&memory), dir.path(), &small_packs()).snapshot.unwrap();
        let mut repo = reopened(&memory);
        let all = repo.snapshots(&|_, _| {}).unwrap();
        assert_eq!(all.iter().find(|s| s.id == id).unwrap().statement.seq, 4);
        assert_eq!(told(&memory).0, lost.len() as u64);

        accept_lost(&mut repo, Some("test"), &places).unwrap();
        let (errors, said) = told(&memory);
        assert_eq!(errors, 0, "{said}");
        prune_now(&mut repo);
        assert_sound(&mut repo);
    }
}

/// Behind a prune the sessions are gone, and the log says what stood at the end of the chain.
#[test]
fn the_newest_snapshot_is_missed_behind_a_prune() {
    let (memory, mut repo, client, _dir) = chain(2);
    forget_first(&mut repo);
    prune_now(&mut repo);
    let place = names::snapshot(client, 2);
    lose(&memory, &place);
    let (errors, said) = told(&memory);
    assert!(errors == 1 && said.contains(&place), "{said}");
    assert!(try_prune(&mut repo, &now()).is_err());
    accept_lost(&mut repo, Some("test"), &[place]).unwrap();
    assert_eq!(told(&memory).0, 0);
    prune_now(&mut repo);
}

/// Without its session's record nobody vouches for a snapshot, but nobody gave it up either.
#[test]
fn a_session_whose_record_is_lost_is_missed() {
    let (memory, mut repo, _, _dir) = chain(2);
    let all = memory.list("sessions/").unwrap();
    for which in ["", "/00000000"] {
        let bad = fork(&memory);
        let gone = all.iter().filter(|l| l.name.as_str().ends_with(which));
        gone.for_each(|l| bad.delete(&l.name).unwrap());
        let (done, ears) = check(&mut reopened(&bad), Data::Trees);
        let said = ears.problems.lock().unwrap().join("\n");
        assert_eq!((done.errors, done.snapshots), (2, 2), "{said}");
        assert!(said.contains("session"), "{said}");
        let before = stored(&bad);
        prune_now(&mut reopened(&bad));
        assert_eq!(stored(&bad), before);
        assert_eq!(told(&bad).0, 2, "and it stays an error");
    }
    // What garbage collection cleared away is no loss.
    forget_first(&mut repo);
    prune_now(&mut repo);
    assert!(memory.list("sessions/").unwrap().len() < all.len());
    assert_sound(&mut repo);
}

/// A name costs nothing: whoever can make objects can take any place, and must not end a chain by that.
#[test]
fn an_object_far_above_a_chain_is_no_head() {
    for place in [u64::MAX, u64::MAX - 1, 1 << 40, 1000] {
        let (memory, mut repo, client, dir) = chain(2);
        let far = names::snapshot(client, place);
        memory.plant(&name(&far), b"");
        memory.plant(&name(&names::tombstone(client, place, [0; 4])), b"");
        let (done, ears) = listening(|cx| {
            orlop::ops::backup::backup(
                &mut repo,
                orlop::ops::backup::Input::Paths(source(dir.path())),
                &small_packs(),
                cx,
            )
        });
        let id = done.unwrap().snapshot.unwrap();
        let all = repo.snapshots(&|_, _| {}).unwrap();
        assert_eq!(all.iter().find(|s| s.id == id).unwrap().statement.seq, 3, "{:?}", ears.problems.lock().unwrap());
        for refused in [place, 4] {
            let object = [names::snapshot(client, refused)];
            let error = accept_lost(&mut repo, Some("test"), &object).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{refused}");
        }
        let (errors, said) = told(&memory);
        assert!(said.contains(&far), "{said}");
        assert!(errors <= 4, "no gap of all places below: {said}");
        memory.delete(&name(&far)).unwrap();
        memory.delete(&name(&names::tombstone(client, place, [0; 4]))).unwrap();
        assert_sound(&mut reopened(&memory));
        prune_now(&mut reopened(&memory));
    }
}

/// What stands directly behind a chain may be its damaged head: nobody takes its place.
#[test]
fn a_damaged_head_keeps_its_place() {
    let (memory, mut repo, client, dir) = chain(3);
    for seq in [2, 3] {
        for home in [names::snapshot(client, seq), names::copy_of(&names::snapshot(client, seq))] {
            memory.plant(&name(&home), b"rubbish");
        }
    }
    let (done, _) = listening(|cx| {
        orlop::ops::backup::backup(&mut repo, orlop::ops::backup::Input::Paths(source(dir.path())), &small_packs(), cx)
    });
    let id = done.unwrap().snapshot.unwrap();
    let all = reopened(&memory).snapshots(&|_, _| {}).unwrap();
    assert_eq!(all.iter().find(|s| s.id == id).unwrap().statement.seq, 4);
}

#[test]
fn an_object_far_above_the_log_stops_nobody() {
    for generation in [u64::MAX, u64::MAX - 1] {
        let (memory, mut repo, _, dir) = chain(2);
        for pruned in [false, true] {
            memory.plant(&name(&names::gc(generation)), b"");
            fs::write(dir.path().join("more"), noise(40_000, 90 + u64::from(pruned))).unwrap();
            back_up(&mut repo, dir.path(), &small_packs());
            forget_first(&mut repo);
            prune_now(&mut repo);
            let (errors, said) = told(&memory);
            assert!(said.contains(&names::gc(generation)), "{said}");
            assert!(errors <= 1, "{said}");
        }
    }
}

/// Nobody knows what such a session relies on: it is waited for, and given up as any that is silent.
#[test]
fn a_session_that_cannot_be_read_is_given_up_in_time() {
    let (memory, mut repo, _, _dir) = chain(2);
    let object = format!("sessions/{}/00000000", "5".repeat(32));
    memory.plant(&name(&object), b"");
    let before = stored(&memory);
    forget_first(&mut repo);
    let first = prune(&mut repo, &now());
    assert!(first.deleted_packs == 0 && stored(&memory) >= before);
    prune(&mut repo, &PruneOptions { fence: true, ..now() });
    prune_now(&mut repo);
    assert!(memory.list("sessions/").unwrap().iter().all(|l| l.name.as_str() != object));
    assert_sound(&mut repo);
}

#[test]
fn garbage_among_the_key_slots_keeps_nobody_out() {
    let (memory, owner, _) = world();
    let storage: Arc<dyn Storage> = Arc::new(memory.clone());
    for n in 0..40 {
        memory.plant(&name(&format!("keys/{n:032x}")), b"");
    }
    repo::open(storage.clone(), &Credential::Nothing, None).unwrap();
    repo::open(storage, &Credential::Raw(Secret::new(KEY)), None).unwrap();

    // Slots that a password has to be tried on are bounded, and the cheapest come first.
    let slot = |id: SlotId, params: Argon2Params, password: &str| {
        let header = SlotHeader {
            kdf: Kdf::Argon2id(params),
            role: orlop::format::keys::Role::Owner,
            id,
            domain: owner.domain(),
            instance: owner.instance(),
            salt: [4; 32],
        };
        let secret = SlotSecret {
            seed: Secret::new([3; 32]),
            label: String::new(),
            username: String::new(),
            hostname: String::new(),
            created: orlop::model::Time { sec: 0, nsec: 0 },
            ext: vec![],
        };
        let password = Credential::Password(zeroize::Zeroizing::new(password.into()));
        let bytes = header.seal(&password, &secret, &Secret::new([2; 32]), [1; 32]).unwrap();
        memory.plant(&name(&names::slot(id)), &armour::wrap(&bytes));
    };
    let (small, large) = (Argon2Params { m_kib: 8, t: 1, p: 1 }, Argon2Params { m_kib: 64, t: 1, p: 1 });
    for n in 0..40 {
        slot(SlotId([100 + n; 16]), large, "another");
    }
    slot(SlotId([255; 16]), small, "mine");
    let try_open = |password: &str| {
        let password = Credential::Password(zeroize::Zeroizing::new(password.into()));
        let storage: Arc<dyn Storage> = Arc::new(memory.clone());
        repo::open(storage, &password, None).map(drop).unwrap_err()
    };
    // It was opened: what is behind it is missing.
    assert_ne!(try_open("mine").kind(), ErrorKind::WrongPassword);
    let wrong = try_open("neither");
    assert_eq!(wrong.kind(), ErrorKind::WrongPassword);
    let hints = wrong.hints().join("\n");
    assert!(format!("{wrong}").contains("9 more were not tried") && hints.contains("--key-hint"), "{wrong} {hints}");
}

/// The owner's hands make nothing of it the owner's: a client takes nothing over from another client's files.
#[test]
fn no_client_takes_over_what_the_owner_rewrote_of_another() {
    let (memory, mut owner, mut mallory) = world();
    let key = Credential::Raw(Secret::new([9; 32]));
    owner.add_client_slot("alice", &key, &SlotNote::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), noise(60_000, 1)).unwrap();
    settle();
    let mut options = small_packs();
    options.about.client = None;
    let theirs = back_up(&mut mallory, dir.path(), &options).snapshot.unwrap();
    let mut owner = reopened(&memory);
    let all = owner.standing(&|_, _| {}).unwrap().snapshots;
    let s = all.iter().find(|s| s.id == theirs).unwrap();
    let way = Way { client: Some("test".into()), compression: Some(3), verify: true, ..Way::default() };
    let later = orlop::model::Time { sec: s.statement.time.sec + 1, nsec: 0 };
    let how = RewriteOptions { way, time: Some((later, 0)), ..RewriteOptions::default() };
    let (done, _) = listening(|cx| rewrite(&mut owner, &[s], &how, None, cx));
    assert!(matches!(done.unwrap()[0].became, Became::Changed { new: Some(_), .. }));

    let storage: Arc<dyn Storage> = Arc::new(memory.clone());
    let mut alice = repo::open(storage.clone(), &key, None).unwrap();
    let first = back_up(&mut alice, dir.path(), &options);
    assert_eq!(first.parent, None);
    // What the owner backed up is the owner's word.
    let mut owner = reopened(&memory);
    let own = back_up(&mut owner, dir.path(), &small_packs()).snapshot;
    let mut alice = repo::open(storage, &key, None).unwrap();
    assert_eq!(back_up(&mut alice, dir.path(), &options).parent, own);
}

/// A file of one chunk that somebody foresees, and that chunk.
fn foreseen(repo: &Repository, dir: &std::path::Path) -> BlobId {
    let bytes = noise(3_000, 7);
    fs::write(dir.join("plan"), &bytes).unwrap();
    repo.keys().chunk_id(&bytes)
}

/// A row of a pack that is there and whole, for a chunk that is nowhere: it once kept others from storing it,
/// and no check saw that.
#[test]
fn a_row_that_lies_is_found_and_keeps_nothing_from_being_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut owner, _, me, _) = with_alice(dir.path());
    let chunk = foreseen(&owner, dir.path());
    let (pack, _) = entries(&owner, Kind::Data).remove(0);
    let lie = put_segment(&owner, &me, SessionId([9; 16]), vec![pack], rows_of(&[chunk]));
    for data in [Data::Trees, Data::All] {
        let (done, ears) = check(&mut owner, data);
        let told = ears.problems.lock().unwrap().join("\n");
        assert_eq!((done.errors, done.broken_packs.len()), (1, 0), "{told}");
        assert!(told.contains(&lie) && told.contains("mallory") && told.contains("--force"), "{told}");
    }
    let id = back_up(&mut owner, dir.path(), &small_packs()).snapshot.unwrap();
    assert_restores(&owner, id, dir.path());
}

/// What the owner signs is believed, true or not: then a check finds out, and whoever stores all again is whole.
#[test]
fn what_was_not_stored_for_a_lie_is_stored_after_a_check() {
    for own_row in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (_, mut owner, _, me, _) = with_alice(dir.path());
        let who = owner.identity(Some("test")).unwrap();
        let others = entries(&owner, Kind::Data);
        let more = tempfile::tempdir().unwrap();
        fs::write(more.path().join("g"), noise(60_000, 2)).unwrap();
        back_up(&mut owner, more.path(), &small_packs());
        let mut own = entries(&owner, Kind::Data);
        own.retain(|(e, _)| !others.iter().any(|(o, _)| o.id == e.id));
        let chunk = foreseen(&owner, dir.path());
        let (pack, signer) = match own_row {
            true => (own.remove(0).0, &who),
            false => (put_liar(&owner, SessionId([9; 16]), Kind::Data, &[chunk]), &me),
        };
        put_segment(&owner, signer, SessionId([9; 16]), vec![pack], rows_of(&[chunk]));
        back_up(&mut owner, dir.path(), &small_packs());
        let there = blobs_of(&owner, Kind::Data).iter().filter(|id| **id == chunk).count();
        assert_eq!(there, usize::from(!own_row), "it is believed");
        let (done, _) = check(&mut owner, Data::All);
        assert!(done.errors > 0);
        let id = back_up(&mut owner, dir.path(), &BackupOptions { force: true, ..small_packs() }).snapshot.unwrap();
        assert_restores(&owner, id, dir.path());
    }
}

/// Who says of a pack what is not so accuses nobody but himself.
#[test]
fn a_check_accuses_the_segment_and_not_the_pack() {
    let dir = tempfile::tempdir().unwrap();
    let (memory, mut owner, _, me, _) = with_alice(dir.path());
    let lies = entries(&owner, Kind::Data).into_iter().map(|(e, _)| PackEntry { len: e.len + 16_384, ..e });
    let lies: Vec<PackEntry> = lies.collect();
    first_segment(&memory, &owner, &me, &lies, &[]);
    for data in [Data::Trees, Data::All] {
        let (done, ears) = check(&mut owner, data);
        let told = ears.problems.lock().unwrap().join("\n");
        assert!(done.errors > 0 && told.contains("mallory"), "{told}");
        assert_eq!((done.broken_packs, owner.suspects().unwrap()), (vec![], vec![]), "{told}");
    }
}

/// It was there: who lost its keys is not told to make another in its place.
#[test]
fn a_repository_without_keys_is_damaged() {
    let (memory, _, _, _dir) = chain(1);
    for prefix in ["keys/", "copy/keys/"] {
        memory.list(prefix).unwrap().iter().for_each(|l| memory.delete(&l.name).unwrap());
    }
    for gone in ["keys/", "config/"] {
        memory.list(gone).unwrap().iter().for_each(|l| memory.delete(&l.name).unwrap());
        let storage: Arc<dyn Storage> = Arc::new(memory.clone());
        let error = repo::open(storage.clone(), &Credential::Nothing, None).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert!(!error.hints().iter().any(|h| h.contains("orlop init")), "{:?}", error.hints());
    }
}
