//! What is sealed, opened and sealed again: damage done in between gets past commitment and tag, into what
//! reads the inside.
//!
//! Keys and places are those of `format-spec/vectors`.

use orlop::crypto::{
    Aead, SIGNATURE_LEN, Secret, SigningKey, Suite, TAG_LEN, expand_committed, open_small, seal_small,
};
use orlop::format::gc::{self, Clear as _, Payload};
use orlop::format::keys::Slot;
use orlop::format::record::{self, Opened, Place, RecordType};
use orlop::format::segment::{PAGE_ROWS, ROW_LEN, SHORT_ID_LEN};
use orlop::format::{armour, codec, names, segment, snapshot};
use orlop::id::{ClientId, InstanceId, RecordId, SlotId};
use orlop::model::{Commit, Statement};

use super::{DOMAIN, INSTANCE, secret};

const CLIENT: ClientId = ClientId([0xc1; 16]);
const SLOT: SlotId = SlotId([0x51; 16]);
const SALT: [u8; 32] = [0xa5; 32];
const SLOT_HEADER: usize = 104;
const SEGMENT_HEADER: usize = 96;

pub fn record() -> Secret {
    Secret::new([0x22; 32])
}
pub fn raw() -> Secret {
    Secret::new([0x2a; 32])
}
pub fn seed() -> Secret {
    Secret::new([0x5d; 32])
}
pub fn escrow() -> Secret {
    Secret::new([0xe5; 32])
}
pub fn admin() -> SigningKey {
    SigningKey::from_seed(&Secret::new([0x55; 32]))
}

type Open = fn(&[u8]) -> Option<Vec<u8>>;
type Seal = fn(&[u8]) -> Vec<u8>;

/// By the name of the target.
const SEALED: &[(&str, Open, Seal)] = &[
    ("record", envelope_open, envelope_seal),
    ("slot", slot_open, slot_seal),
    ("keyring", keyring_open, keyring_seal),
    ("segment", segment_open, segment_seal),
    ("snapshot", snapshot_open, snapshot_seal),
    ("gc", gc_open, gc_seal),
];

/// The same object, sealed, with other contents; nothing if that is none which `target` could open.
pub fn damage(target: &str, object: &[u8], damage: &mut dyn FnMut(&mut Vec<u8>)) -> Option<Vec<u8>> {
    let (_, open, seal) = SEALED.iter().find(|(name, ..)| *name == target)?;
    let mut plain = open(object)?;
    damage(&mut plain);
    Some(seal(&plain))
}

/// Several as one, so that damage hits any of them: each but the last has its length before it.
fn join<const N: usize>(parts: [&[u8]; N]) -> Vec<u8> {
    let mut out = Vec::new();
    for (n, part) in parts.into_iter().enumerate() {
        if n + 1 < N {
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        }
        out.extend_from_slice(part);
    }
    out
}

/// The reverse; a length that goes beyond the end means all that is left.
fn split<const N: usize>(mut bytes: &[u8]) -> [&[u8]; N] {
    std::array::from_fn(|n| {
        let (part, rest) = match bytes.split_first_chunk::<4>() {
            Some((len, rest)) if n + 1 < N => rest.split_at(rest.len().min(u32::from_le_bytes(*len) as usize)),
            _ => (bytes, &[][..]),
        };
        bytes = rest;
        part
    })
}

fn open(kind: RecordType, instance: InstanceId, name: &str, secret: &Secret, bytes: &[u8]) -> Option<Opened> {
    record::parse(kind, bytes).ok()?.open(secret, &Place { domain: DOMAIN, instance, name }).ok()
}

fn seal(
    kind: RecordType,
    instance: InstanceId,
    name: &str,
    secret: &Secret,
    clear: &[u8],
    payload: &[u8],
) -> (Vec<u8>, RecordId) {
    let (place, signer) = (Place { domain: DOMAIN, instance, name }, admin());
    record::Sealing { kind, place, epoch: 1, secret, salt: SALT, signer: Some(&signer), clear }.seal(payload)
}

/// The envelope itself: a payload's length, the payload, and what kind of signature there is.
fn envelope_open(bytes: &[u8]) -> Option<Vec<u8>> {
    let clear = record::parse(RecordType::Config, bytes).ok()?.clear;
    let (head, sealed) = bytes.split_at(record::HEADER_LEN + clear.len());
    let (key, _) = envelope_key(head.first_chunk()?);
    Some(join([clear, &open_small(&key, head, sealed).ok()?]))
}

fn envelope_seal(plain: &[u8]) -> Vec<u8> {
    let [clear, plain] = split(plain);
    // One with nothing in it has everything but the lengths.
    let (empty, _) = seal(RecordType::Config, INSTANCE, "config/00000001", &secret(), &[], &[]);
    let mut out = empty[..record::HEADER_LEN].to_vec();
    out[16..20].copy_from_slice(&(clear.len() as u32).to_le_bytes());
    out[20..24].copy_from_slice(&((plain.len() + TAG_LEN) as u32).to_le_bytes());
    let (key, commitment) = envelope_key(out.first_chunk().expect("a header"));
    out[64..].copy_from_slice(&commitment);
    out.extend_from_slice(clear);
    let sealed = seal_small(&key, &out, plain);
    [out, sealed].concat()
}

fn envelope_key(header: &[u8; 64]) -> (Secret, [u8; 32]) {
    let name = b"config/00000001";
    let len = (name.len() as u16).to_le_bytes();
    expand_committed(&secret(), &[b"orlop v1 record", DOMAIN.as_bytes(), INSTANCE.as_bytes(), &len, name, header])
}

/// A slot's header, what is sealed behind it, and what the owner keeps.
fn slot_open(bytes: &[u8]) -> Option<Vec<u8>> {
    Slot::parse(bytes).ok()?;
    let (head, rest) = bytes.split_at(SLOT_HEADER + 32);
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (sealed, kept) = rest[4..].split_at(u32::from_le_bytes(*len) as usize);
    let kept = open(RecordType::SlotEscrow, INSTANCE, &names::slot(SLOT), &escrow(), kept)?.payload;
    let (key, _) = slot_key(&head[..SLOT_HEADER]);
    let payload = open_small(&key, head, sealed).unwrap_or_else(|_| kept.clone());
    Some(join([&without_password(&head[..SLOT_HEADER]), &payload, &kept]))
}

/// Whatever the slot was, the new one opens without anything.
fn without_password(header: &[u8]) -> Vec<u8> {
    let mut header = header.to_vec();
    header.resize(SLOT_HEADER, 0);
    header[10] = 2;
    header[12..24].fill(0);
    header
}

fn slot_seal(plain: &[u8]) -> Vec<u8> {
    let [header, payload, kept] = split(plain);
    let mut out = without_password(header);
    let (key, commitment) = slot_key(&out);
    out.extend_from_slice(&commitment);
    let sealed = seal_small(&key, &out, payload);
    let (kept, _) = seal(RecordType::SlotEscrow, INSTANCE, &names::slot(SLOT), &escrow(), &[], kept);
    out.extend_from_slice(&(sealed.len() as u32).to_le_bytes());
    out.extend_from_slice(&(kept.len() as u32).to_le_bytes());
    [out, sealed, kept].concat()
}

fn slot_key(header: &[u8]) -> (Secret, [u8; 32]) {
    expand_committed(&Secret::new([0; 32]), &[b"orlop v1 slot", header])
}

fn keyring_open(bytes: &[u8]) -> Option<Vec<u8>> {
    open(RecordType::Keyring, INSTANCE, &names::keyring(SLOT, 3), &seed(), bytes).map(|o| o.payload)
}

fn keyring_seal(plain: &[u8]) -> Vec<u8> {
    seal(RecordType::Keyring, INSTANCE, &names::keyring(SLOT, 3), &seed(), &[], plain).0
}

/// The head, a byte that the fence is damaged by, and the rows.
fn segment_open(bytes: &[u8]) -> Option<Vec<u8>> {
    segment::parse(bytes).ok()?;
    let (aad, mut rest) = bytes.split_at(SEGMENT_HEADER);
    let (aead, _) = segment_key(aad.first_chunk()?);
    let mut part = |domain, counter, len: usize| {
        let (sealed, after) = rest.split_at_checked(len)?;
        rest = after;
        let mut sealed = sealed.to_vec();
        Some(aead.open(domain, counter, aad, &mut sealed).ok()?.to_vec())
    };
    let head_len = u32::from_le_bytes(*aad[16..].first_chunk()?) as usize;
    let count = u64::from_le_bytes(*aad[24..].first_chunk()?) as usize;
    let head = part(3, 0, head_len)?;
    let mut rows = Vec::new();
    for n in 0..count.div_ceil(PAGE_ROWS) {
        rows.extend(part(4, n as u64, PAGE_ROWS.min(count - n * PAGE_ROWS) * ROW_LEN + TAG_LEN)?);
    }
    Some(join([&head[..head.len().checked_sub(SIGNATURE_LEN)?], &[0], &rows]))
}

/// The hash of the rows is made to fit, if the head is one.
fn segment_seal(plain: &[u8]) -> Vec<u8> {
    let [head, wrong, rows] = split(plain);
    let rows = rows.as_chunks::<ROW_LEN>().0.as_flattened();
    let mut head = match codec::decode::<segment::Head>("fuzz", head) {
        // Armour says the plain hash of what is in it.
        Ok(head) => codec::encode(&segment::Head {
            rows_hash: *armour::wrap(rows)[16..].first_chunk().expect("a header"),
            ..head
        }),
        Err(_) => head.to_vec(),
    };
    // Opening leaves the signature to whoever knows whose it must be.
    head.extend_from_slice(&[0; SIGNATURE_LEN]);
    let mut out = b"ORLPSEG1".to_vec();
    out.extend_from_slice(&[1, 0, 0, 0, 1, 0, 0, 0]);
    out.extend_from_slice(&((head.len() + TAG_LEN) as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&((rows.len() / ROW_LEN) as u64).to_le_bytes());
    out.extend_from_slice(&SALT);
    let (aead, commitment) = segment_key(out.first_chunk().expect("a header"));
    out.extend_from_slice(&commitment);
    let aad = out.clone();
    let mut part = |domain, counter, plain: &[u8]| {
        let from = out.len();
        out.extend_from_slice(plain);
        aead.seal(domain, counter, &aad, &mut out, from);
    };
    part(3, 0, &head);
    let mut fence = Vec::new();
    for (n, page) in rows.chunks(PAGE_ROWS * ROW_LEN).enumerate() {
        part(4, n as u64, page);
        fence.extend_from_slice(&page[..SHORT_ID_LEN]);
    }
    if let (Some(first), Some(wrong)) = (fence.first_mut(), wrong.first()) {
        *first ^= wrong;
    }
    part(5, 0, &fence);
    out
}

fn segment_key(header: &[u8; 64]) -> (Aead, [u8; 32]) {
    let parts: [&[u8]; 4] = [b"orlop v1 segment", DOMAIN.as_bytes(), INSTANCE.as_bytes(), header];
    let (key, commitment) = expand_committed(&secret(), &parts);
    (Aead::new(Suite::ChaCha20Poly1305, &key), commitment)
}

const SEQ: u64 = 7;

fn body_place() -> String {
    format!("{}/body", names::statement_place(CLIENT, SEQ))
}

/// Statement, body and commit, the first and the last without what they say of the others.
fn snapshot_open(bytes: &[u8]) -> Option<Vec<u8>> {
    let sealed = snapshot::statement_in(bytes).ok()?;
    let place = names::statement_place(CLIENT, SEQ);
    let statement = open(RecordType::Statement, InstanceId::ZERO, &place, &secret(), sealed)?.payload;
    let commit = &bytes[4 + sealed.len()..];
    let commit = open(RecordType::Commit, INSTANCE, &names::snapshot(CLIENT, SEQ), &secret(), commit)?.payload;
    let (statement, body) = match codec::decode::<Statement>("fuzz", &statement) {
        Ok(s) => {
            let body = open(RecordType::Body, InstanceId::ZERO, &body_place(), &record(), &s.body);
            (codec::encode(&Statement { body: vec![], ..s }), body.map(|o| o.payload).unwrap_or_default())
        }
        Err(_) => (statement, vec![]),
    };
    let commit = match codec::decode::<Commit>("fuzz", &commit) {
        Ok(c) => codec::encode(&Commit { statement: RecordId::ZERO, ..c }),
        Err(_) => commit,
    };
    Some(join([&statement, &body, &commit]))
}

/// They get what they say of the others, where they are statement and commit.
fn snapshot_seal(plain: &[u8]) -> Vec<u8> {
    let [statement, body, commit] = split(plain);
    let (body, _) = seal(RecordType::Body, InstanceId::ZERO, &body_place(), &record(), &[], body);
    let statement = match codec::decode::<Statement>("fuzz", statement) {
        Ok(s) => codec::encode(&Statement { body, ..s }),
        Err(_) => statement.to_vec(),
    };
    let place = names::statement_place(CLIENT, SEQ);
    let (sealed, id) = seal(RecordType::Statement, InstanceId::ZERO, &place, &secret(), &[], &statement);
    let commit = match codec::decode::<Commit>("fuzz", commit) {
        Ok(c) => codec::encode(&Commit { statement: id, ..c }),
        Err(_) => commit.to_vec(),
    };
    let (commit, _) = seal(RecordType::Commit, INSTANCE, &names::snapshot(CLIENT, SEQ), &secret(), &[], &commit);
    [(sealed.len() as u32).to_le_bytes().to_vec(), sealed, commit].concat()
}

/// What a record is called whose clear part says it.
pub fn gc_name(kind: RecordType, clear: &[u8]) -> Option<String> {
    match kind {
        RecordType::Gc => Some(names::gc(gc::GcClear::open(kind, clear).ok()?.generation)),
        RecordType::Tombstone => {
            let c = gc::TombstoneClear::open(kind, clear).ok()?;
            Some(names::tombstone(c.client, c.seq, *c.nonce.first_chunk()?))
        }
        _ => None,
    }
}

/// Which kind, the clear part, the payload.
fn gc_open(bytes: &[u8]) -> Option<Vec<u8>> {
    fn of<P: Payload>(bytes: &[u8]) -> Option<Vec<u8>> {
        let name = gc_name(P::KIND, record::parse(P::KIND, bytes).ok()?.clear)?;
        let o = open(P::KIND, instance::<P>(), &name, &secret(), bytes)?;
        Some(join([&[P::KIND as u8], &o.clear, &o.payload]))
    }
    of::<gc::Gc>(bytes).or_else(|| of::<gc::Tombstone>(bytes))
}

fn gc_seal(plain: &[u8]) -> Vec<u8> {
    fn of<P: Payload>(clear: &[u8], payload: &[u8]) -> Vec<u8> {
        let name = gc_name(P::KIND, clear).unwrap_or_default();
        seal(P::KIND, instance::<P>(), &name, &secret(), clear, payload).0
    }
    let [kind, clear, payload] = split(plain);
    match kind.first() {
        Some(kind) if *kind == RecordType::Tombstone as u8 => of::<gc::Tombstone>(clear, payload),
        _ => of::<gc::Gc>(clear, payload),
    }
}

fn instance<P: Payload>() -> InstanceId {
    if P::PORTABLE { InstanceId::ZERO } else { INSTANCE }
}
