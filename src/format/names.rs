//! What every object is called. The whole grammar is in `format-spec/10-repository.md`.

use crate::id::{ClientId, PackId, SegmentId, SessionId, SlotId, hex, unhex};

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

/// The client and place in the chain that a snapshot's name says.
pub fn parse_snapshot(name: &str) -> Option<(ClientId, u64)> {
    let (client, seq) = name.strip_prefix(prefix::SNAPSHOTS)?.split_once('/')?;
    let seq: [u8; 8] = unhex(seq).ok()?;
    Some((ClientId::parse(client).ok()?, u64::from_be_bytes(seq)))
}
/// The pack and uploading session that a pack's name says.
pub fn parse_pack(name: &str) -> Option<(PackId, [u8; 4])> {
    let (shard, file) = name.strip_prefix(prefix::PACKS)?.split_once('/')?;
    let (id, session) = file.split_once('.')?;
    let ok = id.starts_with(shard) && shard.len() == 2;
    Some((PackId::parse(id).ok().filter(|_| ok)?, unhex(session).ok()?))
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
        let pack_id = PackId([0xab; 32]);
        assert_eq!(parse_pack(&pack(pack_id, [1; 4])), Some((pack_id, [1; 4])));
        assert_eq!(parse_pack(&pack(pack_id, [1; 4]).replace("packs/ab", "packs/ac")), None);
    }
}
