//! What the small records say: configuration, clients, sessions. The envelope around them is
//! `record`'s business, snapshots are in `model`, and the records of garbage collection are in
//! `gc`.

use crate::crypto::PublicKey;
use crate::id::{ClientId, DomainId, InstanceId, PackId, RecordId, SessionId};
use crate::model::{Ext, Head, Time};

use super::FormatError;
use super::codec::{decode, encode};
use super::keys::Role;
use super::limits::{FRAME_TARGET, FRAME_TARGET_LONG, LONG_FILE};

/// One way to cut files into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Profile {
    /// Its number in content lists.
    pub id: u8,
    /// 1: FastCDC 2020 with normalisation level 1 and a keyed gear table.
    pub chunker: u8,
    /// Shortest chunk but the last.
    pub min: u32,
    /// What the cut masks aim at.
    pub avg: u32,
    /// Longest chunk.
    pub max: u32,
    /// Plaintext of a frame of such chunks; page 40 has longer ones for long files.
    pub frame: u32,
}

impl Profile {
    /// Plaintext of a frame of a file that is so long.
    pub fn frame_of(&self, file: u64) -> u32 {
        let long = file >= LONG_FILE && self.frame as usize == FRAME_TARGET;
        if long { FRAME_TARGET_LONG as u32 } else { self.frame }
    }
}

/// One version of the configuration. `config/<n>`, signed by the owner, the highest valid wins.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Config {
    /// Its number, from 1.
    pub n: u32,
    /// The version before it; zero for the first.
    pub prev: RecordId,
    /// Its domain.
    pub domain: DomainId,
    /// Its repository.
    pub instance: InstanceId,
    /// When this version was written.
    pub created: Time,
    /// Features that a reader must know.
    pub read_features: Vec<u16>,
    /// Features that a writer must know.
    pub write_features: Vec<u16>,
    /// The cipher that writers use unless they have reason not to.
    pub suite: u8,
    /// The ciphers that occur.
    pub suites: Vec<u8>,
    /// How files may be cut; append-only.
    pub profiles: Vec<Profile>,
    /// zstd level that writers use.
    pub compression: i32,
    /// One parity shard for so many data shards; 0 is none.
    pub parity: u32,
    /// How long a forgotten snapshot can be brought back, in seconds.
    pub undelete_window: u64,
    /// Verifies what the owner signs.
    pub admin: PublicKey,
    /// Extensions.
    pub ext: Vec<Ext>,
}

/// Who a client is. `clients/<id>/<epoch>`, signed by the owner.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// Its name.
    pub name: String,
    /// Epoch of its key.
    pub epoch: u32,
    /// Verifies what it signs.
    pub key: PublicKey,
    /// `Owner` where the owner's own machines write under that name, else the enrolled role.
    pub role: Role,
    /// When it was enrolled.
    pub created: Time,
    /// Extensions.
    pub ext: Vec<Ext>,
}

/// Why a session exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Purpose {
    /// Writes snapshots.
    Backup,
    /// Collects garbage.
    Gc,
    /// Reads for long.
    Restore,
    /// Copies from another repository.
    Copy,
}

/// A session begins. `sessions/<sid>/00000000`, before anything is read.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct SessionOpen {
    /// Its id.
    pub session: SessionId,
    /// Who.
    pub client: ClientId,
    /// Epoch of the key that signs.
    pub client_epoch: u32,
    /// Why.
    pub purpose: Purpose,
    /// When, by the client's clock; for people only.
    pub started: Time,
    /// Pseudonym of the machine.
    pub machine: [u8; 8],
    /// Random per boot of the machine.
    pub boot: [u8; 16],
    /// Process.
    pub pid: u32,
    /// When the process began, in clock ticks after boot.
    pub pid_started: u64,
    /// Host, for people.
    pub hostname: String,
    /// Snapshots that are relied on.
    pub bases: Vec<RecordId>,
    /// Makes two equal records different.
    pub nonce: [u8; 16],
    /// Extensions.
    pub ext: Vec<Ext>,
}

/// A session lives. `sessions/<sid>/<n>`.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Heartbeat {
    /// Whose.
    pub session: SessionId,
    /// Its number, from 1.
    pub n: u32,
    /// The newest gc record it has seen.
    pub seen_gen: u64,
    /// Condemned packs that it uses.
    pub pins: Vec<PackId>,
    /// Snapshots that are relied on.
    pub bases: Vec<RecordId>,
    /// Bytes done, for people.
    pub progress: u64,
    /// Makes two equal records different.
    pub nonce: [u8; 16],
    /// Extensions.
    pub ext: Vec<Ext>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum CloseKind {
    /// Well.
    End,
    /// Given up, by its own machine.
    Abort,
    /// Given up by garbage collection: it was silent for too long.
    Fence,
}

/// A session's one close: the first writer wins. `sessions/<sid>/close`.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Close {
    /// Whose.
    pub session: SessionId,
    /// How.
    pub kind: CloseKind,
    /// The snapshots it committed.
    pub snapshots: Vec<RecordId>,
    /// Who says so.
    pub author: ClientId,
    /// Epoch of the key that signs.
    pub author_epoch: u32,
    /// The gc record in whose context it was fenced.
    pub seen_gen: u64,
    /// Makes two equal records different.
    pub nonce: [u8; 16],
    /// Extensions.
    pub ext: Vec<Ext>,
}

/// Tags of [`Close::ext`].
pub mod close_ext {
    /// Where the snapshots stand that it names: a list of [`Head`](crate::model::Head).
    pub const PLACES: u16 = 1;
}

impl Close {
    /// More than these would not fit into one record beside the ids: then it says of none where it stands.
    const PLACES_MAX: usize = 8000;

    /// The extensions that say where the snapshots stand that it names.
    pub fn say_places(places: &[Head]) -> Vec<Ext> {
        match places.len() {
            1..=Self::PLACES_MAX => vec![Ext { tag: close_ext::PLACES, flags: 0, data: encode(&places.to_vec()) }],
            _ => vec![],
        }
    }

    /// Where the snapshots stand that it names, as far as it says so.
    pub fn places(&self) -> Result<Vec<Head>, FormatError> {
        let said = self.ext.iter().find(|e| e.tag == close_ext::PLACES);
        said.map_or(Ok(vec![]), |e| decode("places of a session close", &e.data))
    }
}
