//! Somewhere that keeps named immutable objects: six verbs, several places, a few wrappers.
//!
//! Knows nothing about what the objects mean. Names are checked here, once, before any backend
//! sees them. The promises below are enforced by `storage::testing::contract`.

mod name;
pub use name::{Name, NameError};

use std::time::Duration;

/// What `put_new` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is durable under this name.
    Created,
    /// The name was taken; nothing was changed.
    Exists,
}

/// One object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its full name.
    pub name: Name,
    /// Its length in bytes.
    pub len: u64,
}

/// An object in the making: written in pieces, invisible until published.
///
/// Dropped without [`Draft::publish`], it leaves nothing that a reader could see.
pub trait Draft: Send {
    /// Append bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError>;
    /// Make it durable under its name, atomically and exclusively.
    fn publish(self: Box<Self>, name: &Name) -> Result<Put, StorageError>;
}

/// Named immutable objects, somewhere.
pub trait Storage: Send + Sync {
    /// Make an object, atomically and durably, or find that the name is taken. Never overwrites,
    /// never leaves a part. When this returns `Created`, the object survives a power cut.
    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError>;
    /// Begin an object whose name is not known yet.
    fn draft(&self) -> Result<Box<dyn Draft>, StorageError>;
    /// A whole object; fails if it is longer than `max` bytes.
    fn get(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError>;
    /// Fill `into` with the bytes from `offset`. Shorter objects are an error.
    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> Result<(), StorageError>;
    /// The length, or `None` if there is no such object.
    fn head(&self, name: &Name) -> Result<Option<u64>, StorageError>;
    /// Every object whose name starts with `prefix` (whole components, ends in `/`), sorted by name.
    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError>;
    /// Remove an object; a missing one is fine.
    fn delete(&self, name: &Name) -> Result<(), StorageError>;
    /// Put self-proving bytes back in the place of damaged ones, atomically.
    fn heal(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError>;
    /// How stale a listing or a miss may be after a completed `put_new`.
    fn staleness(&self) -> Duration {
        Duration::ZERO
    }
    /// Whether `put_new` is really exclusive.
    fn exclusive(&self) -> bool {
        true
    }
    /// Where it is, for people; never a secret.
    fn place(&self) -> String;
}

/// A storage operation failed.
#[derive(Debug, thiserror::Error)]
#[error("{verb} {name} in {place}")]
pub struct StorageError {
    /// Which verb.
    pub verb: &'static str,
    /// On what.
    pub name: String,
    /// Where.
    pub place: String,
    /// What kind of failure.
    pub kind: StorageErrorKind,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// What kind of storage failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// No such object or no such place.
    NotFound,
    /// The storage refuses.
    Denied,
    /// It is full.
    Full,
    /// The object is shorter than asked for, or longer than allowed.
    Length,
    /// Anything else.
    Other,
}
