//! Somewhere that keeps named immutable objects: six verbs, several places, a few wrappers.
//!
//! Knows nothing about what the objects mean. Names are checked here, once, before any backend
//! sees them. The promises below are enforced by `storage::testing::contract`.

pub mod cache;
mod counted;
mod doubted;
mod guarded;
mod limited;
mod local;
mod location;
mod memory;
mod open;
mod past;
pub mod probe;
#[cfg(feature = "remote")]
mod remote;
mod retry;
mod sftp;
pub mod testing;
mod uploads;
mod versions;
mod viewed;

pub use crate::model::{Name, NameError};
pub use cache::Cache;
pub use counted::{Counted, Requests};
pub use guarded::Guarded;
pub use limited::{Bucket, LimitedStorage, Pace, Rate, RealPace};
pub use local::LocalStorage;
pub use location::{Location, Options};
pub use memory::MemoryStorage;
pub(crate) use open::no_versions;
pub use open::{Access, create, open, open_past, open_versions};
pub use past::Past;
pub use sftp::SftpStorage;
pub use versions::{Candidates, Histories, Judge, LONGEST, Version, Versions, Worth};
pub use viewed::Viewed;

use crate::error::{Error, ErrorKind};
use std::io;
use std::time::Duration;

/// What `put_new` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is durable under this name.
    Created,
    /// The name was taken; nothing was changed. What is there is durable, too, so that the caller
    /// may rely on it as if it were its own.
    Exists,
}

/// How many objects one request lists, where listings come in pages.
pub(crate) const PAGE: usize = 1000;

/// One object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its full name.
    pub name: Name,
    /// Its length in bytes.
    pub len: u64,
    /// Differs between objects of one name, where the storage says something of that kind.
    pub tag: Option<u64>,
}

impl Listed {
    /// A number for what a storage calls a version of an object.
    pub(crate) fn tag_of(version: &[u8]) -> u64 {
        blake3::hash(version).as_bytes().iter().take(8).fold(0, |tag, byte| (tag << 8) | u64::from(*byte))
    }
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
///
/// No object's name may be the leading components of another's (`a` beside `a/b`): a disk cannot
/// hold both. Storages may refuse the second or keep it; nobody may count on either.
pub trait Storage: Send + Sync {
    /// Make an object, atomically and durably, or find that the name is taken. Never overwrites,
    /// never leaves a part. When this returns `Created`, the object survives a power cut.
    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError>;
    /// Begin an object whose name is not known yet.
    fn draft(&self) -> Result<Box<dyn Draft>, StorageError>;
    /// A whole object; fails if it is longer than `max` bytes.
    fn get(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError>;
    /// Fill `into` with the bytes from `offset`. Shorter objects are an error of kind
    /// [`StorageErrorKind::Length`], even where `into` is empty; `into` then holds anything.
    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> Result<(), StorageError>;
    /// The length, or `None` if there is no such object.
    fn head(&self, name: &Name) -> Result<Option<u64>, StorageError>;
    /// Every object whose name starts with `prefix` (whole components, ends in `/`; empty for all),
    /// sorted by name. Nothing under it is an empty list. What is no object (unfinished, foreign)
    /// is left out in silence.
    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError>;
    /// Everything there is, sorted by name, if one request gives it all: where a listing takes no
    /// notice of folders, and comes in pages, of which this is the first and the last. `None` if there
    /// is more, or if no request could; see [`Storage::glances`].
    fn glance(&self) -> Result<Option<Vec<Listed>>, StorageError> {
        Ok(None)
    }
    /// Whether [`Storage::glance`] asks at all.
    fn glances(&self) -> bool {
        false
    }
    /// What was read of an object, from `offset` on, was found to be whole: a storage with a cache may
    /// keep it.
    fn keep(&self, _name: &Name, _offset: u64, _bytes: &[u8]) {}
    /// The same from what was kept, without asking for it; whether it was there.
    fn get_kept(&self, _name: &Name, _offset: u64, _into: &mut [u8]) -> bool {
        false
    }
    /// Whether [`Storage::keep`] does anything.
    fn keeps(&self) -> bool {
        false
    }
    /// Remove an object; a missing one is fine. Readers miss it at once, but a power cut may bring
    /// it back: whoever deletes must be content with that.
    fn delete(&self, name: &Name) -> Result<(), StorageError>;
    /// Put self-proving bytes back in the place of damaged ones, atomically.
    fn heal(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError>;
    /// What time it is where the objects are, in seconds since 1970. May write to find out.
    fn clock(&self) -> Result<i64, StorageError>;
    /// When an object arrived, by the same clock; `None` where the storage does not know, or has no
    /// such object.
    fn received(&self, _name: &Name) -> Result<Option<i64>, StorageError> {
        Ok(None)
    }
    /// How stale a listing or a miss may be after a completed `put_new`.
    fn staleness(&self) -> Duration {
        Duration::ZERO
    }
    /// Whether `put_new` is really exclusive.
    fn exclusive(&self) -> bool {
        true
    }
    /// Whether it says so, right or wrong, and without asking it.
    fn claims_exclusive(&self) -> bool {
        self.exclusive()
    }
    /// How many requests are worth making beside each other because each is waited for; 1 where whoever
    /// asks does the work.
    fn at_once(&self) -> usize {
        1
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
    pub source: io::Error,
}

impl StorageError {
    /// Say what failed on what and where; the kind follows from `source`.
    pub fn new(verb: &'static str, name: impl Into<String>, place: impl Into<String>, source: io::Error) -> Self {
        let kind = StorageErrorKind::of(&source);
        Self { verb, name: name.into(), place: place.into(), kind, source }
    }
}

impl From<StorageError> for Error {
    fn from(e: StorageError) -> Self {
        let what = format!("could not {e}");
        let (kind, hint) = match e.kind {
            StorageErrorKind::NotFound => (ErrorKind::Missing, None),
            StorageErrorKind::Denied => {
                (ErrorKind::Storage, Some("check who may read and write there, and whether it is mounted read-only"))
            }
            StorageErrorKind::Full => {
                (ErrorKind::Storage, Some("free some space there, then run the same command again"))
            }
            StorageErrorKind::Length => (ErrorKind::Damaged, None),
            StorageErrorKind::NoPlace => (
                ErrorKind::NoRepository,
                Some(
                    "check the name of the bucket in the repository's URL; buckets are made with the service's own tools",
                ),
            ),
            StorageErrorKind::Credentials => (
                ErrorKind::Storage,
                Some("check the credentials in the service's variables or files: it does not accept what it was given"),
            ),
            StorageErrorKind::Unreachable => (
                ErrorKind::Storage,
                Some("check the host in the repository's URL, and the network; then run the same command again"),
            ),
            StorageErrorKind::Newer => {
                (ErrorKind::Unsupported, Some("update orlop to write there; this one can read it"))
            }
            StorageErrorKind::Other => (ErrorKind::Storage, None),
        };
        let error = Error::new(kind, what).because(e.source);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
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
    /// There is no such bucket or container.
    NoPlace,
    /// The service does not know who asks.
    Credentials,
    /// The service does not answer, although it was asked for a while.
    Unreachable,
    /// Only a newer orlop may write there.
    Newer,
    /// Anything else.
    Other,
}

impl StorageErrorKind {
    /// What an error of the operating system means here.
    pub fn of(error: &io::Error) -> Self {
        use io::ErrorKind as Io;
        match error.kind() {
            Io::NotFound => Self::NotFound,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => Self::Denied,
            Io::StorageFull | Io::QuotaExceeded => Self::Full,
            Io::UnexpectedEof | Io::FileTooLarge => Self::Length,
            _ => Self::Other,
        }
    }
}

/// An object shorter than was asked for, as every storage words it.
pub(crate) fn too_short(len: u64, offset: u64, wanted: usize) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("it has {len} bytes, {wanted} from {offset} on were wanted"))
}

/// An object longer than the caller allows, as every storage words it.
pub(crate) fn too_long(len: u64, max: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it has {len} bytes, at most {max} were expected"))
}

/// A listing prefix that is none, as every storage words it.
pub(crate) fn no_prefix(prefix: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("not a listing prefix: {prefix:?}"))
}

/// Verbs handed on to `$field`, which is some other storage: those that are named behind it, or all.
macro_rules! hand_on {
    ($field:tt: $($verb:ident)+) => {
        $($crate::storage::hand_on!(@$verb $field);)+
    };
    (@put_new [$($field:tt)+]) => {
        fn put_new(&self, name: &$crate::storage::Name, bytes: &[u8]) -> Result<$crate::storage::Put, $crate::storage::StorageError> {
            self.$($field)+.put_new(name, bytes)
        }
    };
    (@draft [$($field:tt)+]) => {
        fn draft(&self) -> Result<Box<dyn $crate::storage::Draft>, $crate::storage::StorageError> {
            self.$($field)+.draft()
        }
    };
    (@get [$($field:tt)+]) => {
        fn get(&self, name: &$crate::storage::Name, max: u64) -> Result<Vec<u8>, $crate::storage::StorageError> {
            self.$($field)+.get(name, max)
        }
    };
    (@get_range [$($field:tt)+]) => {
        fn get_range(&self, name: &$crate::storage::Name, offset: u64, into: &mut [u8]) -> Result<(), $crate::storage::StorageError> {
            self.$($field)+.get_range(name, offset, into)
        }
    };
    (@head [$($field:tt)+]) => {
        fn head(&self, name: &$crate::storage::Name) -> Result<Option<u64>, $crate::storage::StorageError> {
            self.$($field)+.head(name)
        }
    };
    (@list [$($field:tt)+]) => {
        fn list(&self, prefix: &str) -> Result<Vec<$crate::storage::Listed>, $crate::storage::StorageError> {
            self.$($field)+.list(prefix)
        }
    };
    (@glance [$($field:tt)+]) => {
        fn glance(&self) -> Result<Option<Vec<$crate::storage::Listed>>, $crate::storage::StorageError> {
            self.$($field)+.glance()
        }
    };
    (@glances [$($field:tt)+]) => {
        fn glances(&self) -> bool {
            self.$($field)+.glances()
        }
    };
    (@keep [$($field:tt)+]) => {
        fn keep(&self, name: &$crate::storage::Name, offset: u64, bytes: &[u8]) {
            self.$($field)+.keep(name, offset, bytes);
        }
    };
    (@get_kept [$($field:tt)+]) => {
        fn get_kept(&self, name: &$crate::storage::Name, offset: u64, into: &mut [u8]) -> bool {
            self.$($field)+.get_kept(name, offset, into)
        }
    };
    (@keeps [$($field:tt)+]) => {
        fn keeps(&self) -> bool {
            self.$($field)+.keeps()
        }
    };
    (@delete [$($field:tt)+]) => {
        fn delete(&self, name: &$crate::storage::Name) -> Result<(), $crate::storage::StorageError> {
            self.$($field)+.delete(name)
        }
    };
    (@heal [$($field:tt)+]) => {
        fn heal(&self, name: &$crate::storage::Name, bytes: &[u8]) -> Result<(), $crate::storage::StorageError> {
            self.$($field)+.heal(name, bytes)
        }
    };
    (@clock [$($field:tt)+]) => {
        fn clock(&self) -> Result<i64, $crate::storage::StorageError> {
            self.$($field)+.clock()
        }
    };
    (@received [$($field:tt)+]) => {
        fn received(&self, name: &$crate::storage::Name) -> Result<Option<i64>, $crate::storage::StorageError> {
            self.$($field)+.received(name)
        }
    };
    (@staleness [$($field:tt)+]) => {
        fn staleness(&self) -> std::time::Duration {
            self.$($field)+.staleness()
        }
    };
    (@exclusive [$($field:tt)+]) => {
        fn exclusive(&self) -> bool {
            self.$($field)+.exclusive()
        }
    };
    (@claims_exclusive [$($field:tt)+]) => {
        fn claims_exclusive(&self) -> bool {
            self.$($field)+.claims_exclusive()
        }
    };
    (@at_once [$($field:tt)+]) => {
        fn at_once(&self) -> usize {
            self.$($field)+.at_once()
        }
    };
    (@place [$($field:tt)+]) => {
        fn place(&self) -> String {
            self.$($field)+.place()
        }
    };
    ($($field:tt)+) => {
        $crate::storage::hand_on!([$($field)+]: put_new draft get get_range head list glance glances keep get_kept
            keeps delete heal clock received staleness exclusive claims_exclusive at_once place);
    };
}
pub(crate) use hand_on;

impl<S: Storage + ?Sized> Storage for Box<S> {
    hand_on!(as_ref());
}

impl<S: Storage + ?Sized> Storage for std::sync::Arc<S> {
    hand_on!(as_ref());
}
