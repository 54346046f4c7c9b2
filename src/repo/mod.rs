//! An opened repository: what it keeps, and how to fetch and store it. What is done with it is
//! `ops`' business.

mod adopt;
mod checkpoint;
mod clear;
mod client;
mod decision;
mod footing;
mod frames;
mod history;
mod hollow;
mod inspect;
mod mirror;
mod notes;
mod objects;
mod open;
mod profile;
mod promised;
mod proven;
mod reader;
mod session;
mod snapshots;
mod standing;
mod suspect;
mod tales;
mod times;
mod tombstones;
mod tree;
mod worth;
mod writer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use checkpoint::{AfterLoss, Repeating, Rest};
pub use clear::{Cleared, MERGED_ROWS};
pub use client::Identity;
pub use footing::{Footing, Grounds};
pub use frames::FrameScope;
pub use history::{History, Repeated, Replaced, Saying};
pub use hollow::Hollows;
pub use inspect::Verified;
pub use notes::{Hold, Notes};
pub use open::{
    InitOptions, Initialized, SlotInfo, SlotNote, UNDELETE_WINDOW, exists, init, open, open_viewed, slot_ids,
};
pub use profile::{Complain, Remembered, findings, findings_in, keep_findings, place_key};
pub use reader::{Blob, Decoded, Reader};
pub use session::{Leftover, OpenSession, Session, Sessions};
pub use snapshots::{NewSnapshot, Received, Snapshot, parted};
pub use standing::Standing;
pub use tales::{Comparison, Deeper, Lies};
pub use times::Times;
pub use tombstones::{Tombstone, Tombstones};
pub use tree::{Edits, Entries, Extents, edit, lookup};
pub use worth::worth;
pub use writer::{Added, Writer, WriterOptions};

pub use crate::collect::Validity;

use crate::chunk::Gear;
use crate::crypto::{BlobKeys, Secret, Suite};
use crate::error::{Error, ErrorKind, Result};
use crate::format::keys::{Keyring, Role, SlotSecret};
use crate::format::records::{Client, Config, Profile};
use crate::id::{ClientId, DomainId, InstanceId, RecordId, SlotId};
use crate::storage::{Storage, Viewed};
use crate::sys::Host;

/// Threads that fetch from far away: more would hold more memory than they save time.
const FAR: usize = 8;

/// Take a lock; every change under ours is complete in itself, so a panic elsewhere spoils nothing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An opened repository.
pub struct Repository {
    storage: Arc<dyn Storage>,
    /// The same.
    viewed: Arc<Viewed>,
    keyring: Keyring,
    slot: SlotId,
    slot_secret: SlotSecret,
    keys: BlobKeys,
    gear: Gear,
    config: Config,
    config_id: RecordId,
    clients: Vec<Client>,
    /// Enrolled since, by others.
    newcomers: Mutex<HashMap<(ClientId, u32), Client>>,
    host: Host,
    beat_every: Duration,
    profile: Option<Remembered>,
    promised: Mutex<promised::Promised>,
}

impl Repository {
    /// Where its objects are.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }
    /// How many threads fetch and work on what they fetched: as many as there are processors, and more
    /// where each waits long for what it asks for.
    pub fn fetchers(&self) -> usize {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        processors.max(self.storage.at_once().min(FAR))
    }
    /// From now on nothing is listed twice until something is written; see [`Viewed`].
    pub fn look(&self) {
        self.viewed.look();
    }
    /// The same unless that is so already.
    pub fn keep_looking(&self) {
        self.viewed.keep_looking();
    }
    /// From now on everything is read where it is, and nothing from the cache.
    pub fn without_cache(&self) {
        self.viewed.without_cache();
    }
    /// From now on everything is asked anew.
    pub fn look_away(&self) {
        self.viewed.look_away();
    }
    /// What mirrors share.
    pub fn domain(&self) -> DomainId {
        self.config.domain
    }
    /// This repository.
    pub fn instance(&self) -> InstanceId {
        self.config.instance
    }
    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }
    /// The id of the configuration in force.
    pub fn config_id(&self) -> RecordId {
        self.config_id
    }
    /// What the slot it was opened with may do.
    pub fn role(&self) -> Role {
        self.keyring.role
    }
    /// The slot it was opened with.
    pub fn slot(&self) -> SlotId {
        self.slot
    }
    /// The keys that name blobs.
    pub fn keys(&self) -> &BlobKeys {
        &self.keys
    }
    /// The chunker's table.
    pub fn gear(&self) -> &Gear {
        &self.gear
    }
    /// This machine.
    pub fn host(&self) -> &Host {
        &self.host
    }
    /// Take another machine, boot or process for this one. Sessions record who opened them, so that
    /// tests can make the next one look dead to whoever comes after.
    pub fn act_as(&mut self, host: Host) {
        self.host = host;
    }
    /// How often the sessions of this process say that they live, so that tests need not wait.
    pub fn beat_every(&mut self, interval: Duration) {
        self.beat_every = interval;
    }
    /// A chunking profile by its number.
    pub fn profile(&self, id: u8) -> Option<&Profile> {
        self.config.profiles.iter().find(|p| p.id == id)
    }
    /// The cipher that new packs use.
    pub fn suite(&self) -> Suite {
        Suite::from_u8(self.config.suite).unwrap_or(Suite::ChaCha20Poly1305)
    }

    /// The epoch in use.
    fn epoch(&self) -> u32 {
        self.keyring.epochs.last().map_or(0, |e| e.n)
    }
    /// Whether there is an epoch of this number, whatever this key may know of it.
    pub fn knows_epoch(&self, epoch: u32) -> bool {
        self.keyring.epochs.iter().any(|e| e.n == epoch)
    }
    fn index_secret(&self, epoch: u32) -> Option<Secret> {
        self.keyring.epochs.iter().find(|e| e.n == epoch)?.index.clone()
    }
    fn record_secret(&self, epoch: u32) -> Option<Secret> {
        self.keyring.epochs.iter().find(|e| e.n == epoch)?.record.clone()
    }
    fn pack_secret(&self, kind: crate::format::pack::Kind, epoch: u32) -> Option<Secret> {
        let e = self.keyring.epochs.iter().find(|e| e.n == epoch)?;
        match kind {
            crate::format::pack::Kind::Data => e.data.clone(),
            crate::format::pack::Kind::Tree => e.tree.clone(),
        }
    }
    /// A secret of the epoch in use, or an error that says which right is missing.
    fn need<T>(&self, secret: Option<T>, right: &str) -> Result<T> {
        secret.ok_or_else(|| {
            Error::new(
                ErrorKind::Forbidden,
                format!("this key has the role {} and may not {right}", self.role().as_str()),
            )
        })
    }
}
