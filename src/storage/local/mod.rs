//! A directory on this machine, or one that looks like it.
//!
//! [`shelf`] has the sequence of steps and is the file to read first; [`disk`] is what it asks of
//! a disk, [`posix`] a real one. Other programs' files in the directory are left alone and not
//! listed. Reading writes nothing, so a read-only mount will do.

pub(crate) mod disk;
mod open_files;
mod posix;
pub(crate) mod shelf;

use super::{Storage, StorageError, hand_on};
use posix::PosixDisk;
use shelf::Shelf;
use std::path::Path;
use std::time::Duration;

/// Objects as files in a directory.
///
/// All of it must lie on one file system: an unfinished object is renamed into its place. What
/// network mounts do to the promises of a disk (SMB, NFS) is found out by probing, not here.
pub struct LocalStorage {
    shelf: Shelf<PosixDisk>,
}

impl LocalStorage {
    /// A directory that exists. Nothing is written.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        Self::on(PosixDisk::open(path), "open", path)
    }

    /// A directory made now, with its parents, or one that exists and is empty. Only its owner
    /// may enter what is made.
    pub fn create(path: &Path) -> Result<Self, StorageError> {
        Self::on(PosixDisk::create(path), "create", path)
    }

    fn on(disk: std::io::Result<PosixDisk>, verb: &'static str, path: &Path) -> Result<Self, StorageError> {
        // For people, who may read it elsewhere than where they typed it.
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let place = absolute.display().to_string();
        match disk {
            Ok(disk) => Ok(Self { shelf: Shelf::new(disk, place) }),
            Err(e) => Err(StorageError::new(verb, "the repository", place, e)),
        }
    }

    /// Remove the unfinished files of crashed processes that were not written to for this long;
    /// say how many. The first write of every process does so for those older than a day.
    pub fn sweep_temporaries(&self, older_than: Duration) -> Result<u64, StorageError> {
        let seconds = i64::try_from(older_than.as_secs()).unwrap_or(i64::MAX);
        self.shelf.sweep(seconds)
    }
}

impl Storage for LocalStorage {
    hand_on!(shelf);
}
