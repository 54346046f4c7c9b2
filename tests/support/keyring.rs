//! The secrets of a repository that anybody can open, for tests that write what no program writes.

use orlop::format::keys::{Credential, Keyring, Slot};
use orlop::format::pack::{Codec, FrameEntry, Header, Kind, Table};
use orlop::format::segment::{Head, PackEntry, Row, Sealing, Segment};
use orlop::format::{armour, names};
use orlop::id::{BlobId, PackId, SegmentId, SessionId};
use orlop::index::short;
use orlop::repo::{Identity, Repository, slot_ids};
use orlop::storage::{Name, Storage};

/// What the slot without a password opens.
pub fn keyring(storage: &dyn Storage) -> Keyring {
    let get = |name: String| {
        let stored = storage.get(&Name::new(name).unwrap(), u64::MAX).unwrap();
        armour::unwrap(&stored).unwrap().content
    };
    let slots = slot_ids(storage).unwrap().into_iter();
    let slots = slots.map(|id| (id, Slot::parse(&get(names::slot(id))).unwrap()));
    let opened = |(id, slot): (_, Slot)| Some((id, slot.open(&Credential::Nothing).ok()??, slot));
    let (id, secret, slot) = slots.filter_map(opened).next().expect("one has no password");
    Keyring::open(&get(names::keyring(id, 1)), &slot.header, 1, &secret.seed).unwrap()
}

/// Writes an index segment that says what the test wants.
/// Gives its name.
pub fn put_segment(
    repo: &Repository,
    who: &Identity,
    session: SessionId,
    packs: Vec<PackEntry>,
    rows: Vec<Row>,
) -> String {
    let ring = keyring(repo.storage());
    let epoch = ring.epochs.last().unwrap();
    let head = Head {
        domain: repo.domain(),
        instance: repo.instance(),
        client: who.client,
        client_epoch: who.epoch,
        session,
        packs,
        supersedes: vec![],
        rows_hash: [0; 32],
        ext: vec![],
    };
    let with = Sealing {
        domain: repo.domain(),
        instance: repo.instance(),
        epoch: epoch.n,
        secret: epoch.index.as_ref().unwrap(),
        salt: orlop::sys::salt().unwrap(),
        signer: &who.signer,
    };
    let bytes = Segment { head, rows }.seal(&with);
    let name = names::segment(SegmentId(*blake3::hash(&bytes).as_bytes()));
    repo.storage().put_new(&Name::new(name.clone()).unwrap(), &bytes).unwrap();
    name
}

/// Writes a pack of noise whose table says that these are in it; gives what a segment would say of it.
pub fn put_liar(repo: &Repository, session: SessionId, kind: Kind, ids: &[BlobId]) -> PackEntry {
    let ring = keyring(repo.storage());
    let epoch = ring.epochs.last().unwrap();
    let secret = if kind == Kind::Data { &epoch.data } else { &epoch.tree };
    let salt = orlop::sys::salt().unwrap();
    let (header, _) = Header::create(repo.suite(), epoch.n, session, salt, repo.domain(), secret.as_ref().unwrap());
    let blobs = ids.len() as u16;
    let frame = FrameEntry { stored: 2000, plain: 9 << 20, codec: Codec::Zstd, blobs };
    let table = Table { kind, frames: vec![frame], ids: ids.to_vec() };
    let mut bytes = header.encode().to_vec();
    bytes.extend(super::noise(2000, 99));
    bytes.extend(table.seal(&header, epoch.index.as_ref().unwrap(), bytes.len() as u64));
    let (id, uploader) = (PackId(*blake3::hash(&bytes).as_bytes()), [9; 4]);
    repo.storage().put_new(&Name::new(names::pack(id, uploader)).unwrap(), &bytes).unwrap();
    PackEntry { id, uploader, len: bytes.len() as u64, kind, header, frames: table.frames }
}

/// Rows that say that these are the first frame's.
pub fn rows_of(ids: &[BlobId]) -> Vec<Row> {
    let row = |(n, id): (usize, &BlobId)| Row { id: short(id), frame: 0, ordinal: n as u16 };
    let mut rows: Vec<Row> = ids.iter().enumerate().map(row).collect();
    rows.sort_unstable();
    rows
}
