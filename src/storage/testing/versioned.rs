//! A bucket in memory that keeps what is overwritten and deleted, with a clock that stands still until it is
//! set.

use crate::model::Time;
use crate::storage::{
    Draft, Listed, Name, Put, Storage, StorageError, Version, Versions, no_prefix, too_long, too_short,
};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keeps every version of every object, unless it was made to keep nothing. Clones share them.
#[derive(Clone)]
pub struct VersionedStorage(Arc<Bucket>);

struct Bucket {
    objects: Mutex<BTreeMap<Name, Vec<Kept>>>,
    keeps: bool,
    clock: AtomicI64,
    puts: AtomicU64,
    /// How many may still be put.
    left: AtomicU64,
    ids: AtomicU64,
}

/// One version; without bytes it is the mark of a deletion.
#[derive(Clone)]
struct Kept {
    id: u64,
    at: i64,
    bytes: Option<Arc<[u8]>>,
}

impl Default for VersionedStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl VersionedStorage {
    /// An empty one at the beginning of 1970.
    pub fn new() -> Self {
        Self::made(true)
    }

    /// One on which nobody switched versioning on.
    pub fn keeping_nothing() -> Self {
        Self::made(false)
    }

    fn made(keeps: bool) -> Self {
        let (clock, puts, ids) = Default::default();
        let left = AtomicU64::new(u64::MAX);
        Self(Arc::new(Bucket { objects: Mutex::default(), keeps, clock, puts, left, ids }))
    }

    /// From now on it is this second.
    pub fn set_clock(&self, second: i64) {
        self.0.clock.store(second, Relaxed);
    }

    /// How many objects were put, over others too.
    pub fn puts(&self) -> u64 {
        self.0.puts.load(Relaxed)
    }

    /// Refuse to take more than so many objects from now on.
    pub fn take_only(&self, puts: u64) {
        self.0.left.store(puts, Relaxed);
    }

    fn take(&self, name: &Name) -> Result<(), StorageError> {
        let left = self.0.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| fail("put", name.as_str(), io::ErrorKind::PermissionDenied.into()))
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<Name, Vec<Kept>>> {
        // Every change is complete in itself, so a panic elsewhere leaves it whole.
        self.0.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, history: &mut Vec<Kept>, bytes: Option<&[u8]>) {
        if !self.0.keeps {
            history.clear();
        }
        if bytes.is_some() {
            self.0.puts.fetch_add(1, Relaxed);
        }
        if bytes.is_some() || self.0.keeps {
            let id = self.0.ids.fetch_add(1, Relaxed);
            history.push(Kept { id, at: self.0.clock.load(Relaxed), bytes: bytes.map(Into::into) });
        }
    }

    fn find(&self, name: &Name) -> Result<Arc<[u8]>, StorageError> {
        let objects = self.objects();
        let newest = objects.get(name).and_then(|history| history.last()?.bytes.clone());
        newest.ok_or_else(|| fail("get", name.as_str(), io::ErrorKind::NotFound.into()))
    }

    fn find_version(&self, version: &Version) -> Result<Arc<[u8]>, StorageError> {
        let objects = self.objects();
        let history = objects.get(&version.name).map(Vec::as_slice).unwrap_or_default();
        let found = history.iter().find(|kept| self.id(kept) == version.id).and_then(|kept| kept.bytes.clone());
        found.ok_or_else(|| fail("get", version.name.as_str(), io::ErrorKind::NotFound.into()))
    }

    fn id(&self, kept: &Kept) -> String {
        if self.0.keeps { format!("v{}", kept.id) } else { "null".to_owned() }
    }
}

fn fail(verb: &'static str, name: &str, source: io::Error) -> StorageError {
    StorageError::new(verb, name, "memory", source)
}

fn part(name: &Name, bytes: &[u8], offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
    let part = usize::try_from(offset).ok().and_then(|start| bytes.get(start..start.checked_add(into.len())?));
    let short = || fail("get", name.as_str(), too_short(bytes.len() as u64, offset, into.len()));
    into.copy_from_slice(part.ok_or_else(short)?);
    Ok(())
}

impl Storage for VersionedStorage {
    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        let mut objects = self.objects();
        let history = objects.entry(name.clone()).or_default();
        if history.last().is_some_and(|kept| kept.bytes.is_some()) {
            return Ok(Put::Exists);
        }
        self.take(name)?;
        self.add(history, Some(bytes));
        Ok(Put::Created)
    }

    fn draft(&self) -> Result<Box<dyn Draft>, StorageError> {
        Ok(Box::new(VersionedDraft { storage: self.clone(), bytes: Vec::new() }))
    }

    fn get(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        let bytes = self.find(name)?;
        match bytes.len() as u64 {
            len if len > max => Err(fail("get", name.as_str(), too_long(len, max))),
            _ => Ok(bytes.to_vec()),
        }
    }

    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        part(name, &self.find(name)?, offset, into)
    }

    fn head(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        Ok(self.find(name).ok().map(|bytes| bytes.len() as u64))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        let there = self.versions(prefix)?.into_iter().filter(|v| v.current && !v.deleted);
        Ok(there.map(|v| Listed { name: v.name, len: v.len, tag: v.tag }).collect())
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        if let Some(history) = self.objects().get_mut(name) {
            self.add(history, None);
        }
        Ok(())
    }

    fn heal(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError> {
        self.take(name)?;
        self.add(self.objects().entry(name.clone()).or_default(), Some(bytes));
        Ok(())
    }

    fn clock(&self) -> Result<i64, StorageError> {
        Ok(self.0.clock.load(Relaxed))
    }

    fn received(&self, name: &Name) -> Result<Option<i64>, StorageError> {
        Ok(self.objects().get(name).and_then(|h| h.last()).filter(|kept| kept.bytes.is_some()).map(|kept| kept.at))
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

impl Versions for VersionedStorage {
    fn versions(&self, prefix: &str) -> Result<Vec<Version>, StorageError> {
        if !Name::is_prefix(prefix) {
            return Err(fail("list", prefix, no_prefix(prefix)));
        }
        let mut out = Vec::new();
        for (name, history) in self.objects().iter().filter(|(name, _)| name.as_str().starts_with(prefix)) {
            out.extend(history.iter().rev().enumerate().map(|(age, kept)| Version {
                name: name.clone(),
                id: self.id(kept),
                at: Time { sec: kept.at, nsec: 0 },
                len: kept.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
                tag: kept.bytes.as_ref().map(|bytes| Listed::tag_of(bytes)),
                deleted: kept.bytes.is_none(),
                current: age == 0,
            }));
        }
        Ok(out)
    }

    fn get_version(&self, version: &Version) -> Result<Vec<u8>, StorageError> {
        Ok(self.find_version(version)?.to_vec())
    }

    fn get_version_range(&self, version: &Version, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        part(&version.name, &self.find_version(version)?, offset, into)
    }

    fn put_over(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError> {
        self.heal(name, bytes)
    }
}

struct VersionedDraft {
    storage: VersionedStorage,
    bytes: Vec<u8>,
}

impl Draft for VersionedDraft {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn publish(self: Box<Self>, name: &Name) -> Result<Put, StorageError> {
        self.storage.put_new(name, &self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::contract;

    #[test]
    fn it_is_a_storage() {
        contract(&|| Box::new(VersionedStorage::new()));
        contract(&|| Box::new(VersionedStorage::keeping_nothing()));
    }
}
