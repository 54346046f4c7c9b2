//! What every object is called. The whole grammar is in `format-spec/10-repository.md`.

use crate::id::{ClientId, PackId, RecordId, SegmentId, SessionId, SlotId, hex, unhex};

/// Prefixes of listings.
pub mod prefix {
    /// Versions of the configuration.
    pub const CONFIG: &str = "config/";
    /// Key slots.
    pub const KEYS: &str = "keys/";
    /// Keyrings, by slot.
    pub const KEYRING: &str = "keyring/";
    /// Client records.
    pub const CLIENTS: &str = "clients/";
    /// Packs.
    pub const PACKS: &str = "packs/";
    /// Index segments.
    pub const INDEX: &str = "index/";
    /// Sessions.
    pub const SESSIONS: &str = "sessions/";
    /// Snapshots.
    pub const SNAPSHOTS: &str = "snapshots/";
    /// The gc log.
    pub const GC: &str = "gc/";
    /// Second homes of small objects.
    pub const COPY: &str = "copy/";
    /// What was decided to be forgotten.
    pub const TOMBSTONES: &str = "tombstones/";
    /// Claims that a pack is damaged.
    pub const SUSPECT: &str = "suspect/";
    /// What people said about snapshots later.
    pub const NOTES: &str = "notes/";
    /// Statements that are here without their content.
    pub const HOLLOW: &str = "hollow/";
    /// All statements in few objects.
    pub const CATALOGUE: &str = "catalog/";
    /// The state that checkpoints refer to.
    pub const STATE: &str = "state/";
    /// When storage received snapshots.
    pub const TIMES: &str = "times/";
    /// Parity of packs.
    pub const PARITY: &str = "parity/";
    /// Damaged objects, kept for a second look.
    pub const QUARANTINE: &str = "quarantine/";

    /// Below what whoever only backs up makes objects. Slots, the configuration, the gc log and what it goes by, and
    /// decisions to forget are others' business.
    pub const OF_CLIENTS: [&str; 10] =
        [PACKS, PARITY, INDEX, SESSIONS, SNAPSHOTS, "copy/snapshots/", CLIENTS, "copy/clients/", NOTES, SUSPECT];

    /// Kinds of objects that stand in armour.
    pub const ARMOURED: [&str; 13] =
        [CONFIG, KEYS, KEYRING, CLIENTS, SESSIONS, SNAPSHOTS, TOMBSTONES, HOLLOW, NOTES, TIMES, SUSPECT, GC, STATE];
}

/// A version of the configuration.
pub fn config(n: u32) -> String {
    format!("config/{n:08x}")
}
/// A key slot.
pub fn slot(id: SlotId) -> String {
    format!("keys/{id}")
}
/// A version of a slot's keyring.
pub fn keyring(slot: SlotId, n: u32) -> String {
    format!("keyring/{slot}/{n:08x}")
}
/// A client's record for one epoch of its key.
pub fn client(id: ClientId, epoch: u32) -> String {
    format!("clients/{id}/{epoch:08x}")
}
/// A pack, with the session that uploaded it.
pub fn pack(id: PackId, session: [u8; 4]) -> String {
    let id = id.hex();
    format!("packs/{}/{id}.{}", &id[..2], hex(&session))
}
/// An index segment.
pub fn segment(id: SegmentId) -> String {
    format!("index/{id}")
}
/// A session's n-th record: 0 opens it, the others are heartbeats.
pub fn session(id: SessionId, n: u32) -> String {
    format!("sessions/{id}/{n:08x}")
}
/// A session's one close.
pub fn session_close(id: SessionId) -> String {
    format!("sessions/{id}/close")
}
/// A snapshot.
pub fn snapshot(client: ClientId, seq: u64) -> String {
    format!("snapshots/{client}/{seq:016x}")
}
/// The place a statement is bound to, in every mirror.
pub fn statement_place(client: ClientId, seq: u64) -> String {
    format!("statement/{client}/{seq:016x}")
}
/// The second home of a small object.
pub fn copy_of(name: &str) -> String {
    format!("copy/{name}")
}
/// A record of the gc log, from 1.
pub fn gc(gen_: u64) -> String {
    format!("gc/{gen_:016x}")
}
/// A tombstone for a place in a client's chain.
pub fn tombstone(client: ClientId, seq: u64, nonce: [u8; 4]) -> String {
    format!("tombstones/{client}/{seq:016x}.{}", hex(&nonce))
}
/// A claim that a pack is damaged.
pub fn suspect(pack: PackId, nonce: [u8; 4]) -> String {
    format!("suspect/{pack}/{}", hex(&nonce))
}
/// An annotation, in the order of its author's counter.
pub fn note(author: ClientId, n: u64, nonce: [u8; 4]) -> String {
    format!("notes/{author}/{n:016x}.{}", hex(&nonce))
}
/// The n-th mark that says whether a statement's content is here.
pub fn hollow(client: ClientId, seq: u64, n: u32) -> String {
    format!("hollow/{client}/{seq:016x}.{n:08x}")
}
/// A part of the catalogue of a generation.
pub fn catalogue(gen_: u64, part: u32) -> String {
    format!("catalog/{gen_:016x}.{part:08x}")
}
/// A part of the state that a checkpoint refers to.
pub fn state(id: RecordId) -> String {
    format!("state/{id}")
}
/// A record of receive times, in the order of its author's counter.
pub fn times(author: ClientId, n: u64, nonce: [u8; 4]) -> String {
    format!("times/{author}/{n:016x}.{}", hex(&nonce))
}
/// A parity sidecar of a pack.
pub fn parity(pack: PackId, nonce: [u8; 4]) -> String {
    let id = pack.hex();
    format!("parity/{}/{id}.{}", &id[..2], hex(&nonce))
}
/// Where the damaged bytes of an object are kept.
pub fn quarantine(name: &str, nonce: [u8; 4]) -> String {
    format!("quarantine/{name}.{}", hex(&nonce))
}

/// Places in chains and in the log are below this. Nobody gets there by counting, and a name costs nothing:
/// else one object at the last place would end a chain for ever.
pub const PLACES_END: u64 = 1 << 48;

/// Whether a name says a place that no chain and no log has: nothing stands there, whatever is in it.
pub fn is_beyond(name: &str) -> bool {
    let first = name.strip_prefix(prefix::COPY).unwrap_or(name);
    let place = if first.starts_with(prefix::GC) {
        any_gc(first)
    } else if first.starts_with(prefix::SNAPSHOTS) {
        any_snapshot(first).map(|(_, seq)| seq)
    } else {
        any_tombstone(first).map(|(_, seq, _)| seq)
    };
    place.is_some_and(|place| place >= PLACES_END)
}

fn any_gc(name: &str) -> Option<u64> {
    Some(u64::from_be_bytes(unhex(name.strip_prefix(prefix::GC)?).ok()?))
}
fn any_tombstone(name: &str) -> Option<(ClientId, u64, [u8; 4])> {
    counted(name.strip_prefix(prefix::TOMBSTONES)?)
}
fn any_snapshot(name: &str) -> Option<(ClientId, u64)> {
    let (client, seq) = name.strip_prefix(prefix::SNAPSHOTS)?.split_once('/')?;
    let seq: [u8; 8] = unhex(seq).ok()?;
    Some((ClientId::parse(client).ok()?, u64::from_be_bytes(seq)))
}

/// The generation that a gc record's name says.
pub fn parse_gc(name: &str) -> Option<u64> {
    any_gc(name).filter(|generation| *generation < PLACES_END)
}
/// The client, the place and the nonce that a tombstone's name says.
pub fn parse_tombstone(name: &str) -> Option<(ClientId, u64, [u8; 4])> {
    any_tombstone(name).filter(|(_, seq, _)| *seq < PLACES_END)
}
/// The author, the counter and the nonce that an annotation's name says.
pub fn parse_note(name: &str) -> Option<(ClientId, u64, [u8; 4])> {
    counted(name.strip_prefix(prefix::NOTES)?)
}
/// The author, the counter and the nonce that the name of a record of receive times says.
pub fn parse_times(name: &str) -> Option<(ClientId, u64, [u8; 4])> {
    counted(name.strip_prefix(prefix::TIMES)?)
}
/// The client, the place and the number that a hollow mark's name says.
pub fn parse_hollow(name: &str) -> Option<(ClientId, u64, u32)> {
    let (client, seq, n) = counted(name.strip_prefix(prefix::HOLLOW)?)?;
    Some((client, seq, u32::from_be_bytes(n)))
}
/// The pack and the nonce that a sidecar's name says.
pub fn parse_parity(name: &str) -> Option<(PackId, [u8; 4])> {
    let (shard, file) = name.strip_prefix(prefix::PARITY)?.split_once('/')?;
    sharded(shard, file)
}
/// The slot and the number that a keyring's name says.
pub fn parse_keyring(name: &str) -> Option<(SlotId, u32)> {
    let (slot, n) = name.strip_prefix(prefix::KEYRING)?.split_once('/')?;
    Some((SlotId::parse(slot).ok()?, u32::from_be_bytes(unhex(n).ok()?)))
}

/// `<16 bytes>/<8 bytes>.<4 bytes>`, all in hex.
fn counted(rest: &str) -> Option<(ClientId, u64, [u8; 4])> {
    let (client, file) = rest.split_once('/')?;
    let (n, nonce) = file.split_once('.')?;
    Some((ClientId::parse(client).ok()?, u64::from_be_bytes(unhex(n).ok()?), unhex(nonce).ok()?))
}
/// `<first two digits>/<pack>.<4 bytes>`.
fn sharded(shard: &str, file: &str) -> Option<(PackId, [u8; 4])> {
    let (id, suffix) = file.split_once('.')?;
    let fits = shard.len() == 2 && id.starts_with(shard);
    Some((PackId::parse(id).ok().filter(|_| fits)?, unhex(suffix).ok()?))
}

/// The client and place in the chain that a snapshot's name says.
pub fn parse_snapshot(name: &str) -> Option<(ClientId, u64)> {
    any_snapshot(name).filter(|(_, seq)| *seq < PLACES_END)
}
/// The session that the name of one of its objects says.
pub fn parse_session(name: &str) -> Option<SessionId> {
    SessionId::parse(name.strip_prefix(prefix::SESSIONS)?.split_once('/')?.0).ok()
}
/// The id that a segment's name says.
pub fn parse_segment(name: &str) -> Option<SegmentId> {
    SegmentId::parse(name.strip_prefix(prefix::INDEX)?).ok()
}
/// The pack and uploading session that a pack's name says.
pub fn parse_pack(name: &str) -> Option<(PackId, [u8; 4])> {
    let (shard, file) = name.strip_prefix(prefix::PACKS)?.split_once('/')?;
    sharded(shard, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_for_one_place() {
        let client = ClientId([7; 16]);
        assert_eq!(parse_snapshot(&snapshot(client, 0xab)), Some((client, 0xab)));
        for seq in ["+0000000000000ab", "00000000000000AB", "ab", "", "0000000000000000ab"] {
            assert_eq!(parse_snapshot(&format!("snapshots/{client}/{seq}")), None, "{seq}");
        }
        let far = snapshot(client, PLACES_END);
        assert!(parse_snapshot(&far).is_none() && is_beyond(&far) && is_beyond(&copy_of(&far)));
        assert!(parse_gc(&gc(u64::MAX)).is_none() && is_beyond(&gc(u64::MAX)) && !is_beyond(&gc(PLACES_END - 1)));
        assert!(is_beyond(&tombstone(client, u64::MAX, [0; 4])) && !is_beyond("packs/x"));
        let pack_id = PackId([0xab; 32]);
        assert_eq!(parse_pack(&pack(pack_id, [1; 4])), Some((pack_id, [1; 4])));
        assert_eq!(parse_pack(&pack(pack_id, [1; 4]).replace("packs/ab", "packs/ac")), None);
    }
}
