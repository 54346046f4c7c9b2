//! The secrets of a repository that anybody can open, for tests that write what no program writes.

use orlop::format::keys::{Credential, Keyring, Slot};
use orlop::format::segment::{Head, PackEntry, Row, Sealing, Segment};
use orlop::format::{armour, names};
use orlop::id::{SegmentId, SessionId};
use orlop::repo::{Identity, Repository, slot_ids};
use orlop::storage::{Name, Storage};

/// What the only slot of a repository without a password opens.
pub fn keyring(storage: &dyn Storage) -> Keyring {
    let get = |name: String| {
        let stored = storage.get(&Name::new(name).unwrap(), u64::MAX).unwrap();
        armour::unwrap(&stored).unwrap().content
    };
    let id = slot_ids(storage).unwrap()[0];
    let slot = Slot::parse(&get(names::slot(id))).unwrap();
    let secret = slot.open(&Credential::Nothing).unwrap().expect("it has no password");
    Keyring::open(&get(names::keyring(id, 1)), &slot.header, 1, &secret.seed).unwrap()
}

/// Writes an index segment that says what the test wants.
pub fn put_segment(repo: &Repository, who: &Identity, session: SessionId, packs: Vec<PackEntry>, rows: Vec<Row>) {
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
    repo.storage().put_new(&Name::new(name).unwrap(), &bytes).unwrap();
}
