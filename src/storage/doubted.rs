//! A storage that was found to do less than it promises.

use super::{Draft, Listed, Name, Put, Storage, StorageError};
use std::sync::Arc;
use std::time::Duration;

/// The same storage, with fewer guarantees.
pub(super) struct Doubted {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) exclusive: bool,
    pub(super) staleness: Duration,
}

impl Storage for Doubted {
    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        self.storage.put_new(name, bytes)
    }
    fn draft(&self) -> Result<Box<dyn Draft>, StorageError> {
        self.storage.draft()
    }
    fn get(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        self.storage.get(name, max)
    }
    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        self.storage.get_range(name, offset, into)
    }
    fn head(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        self.storage.head(name)
    }
    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        self.storage.list(prefix)
    }
    fn glance(&self) -> Result<Option<Vec<Listed>>, StorageError> {
        self.storage.glance()
    }
    fn glances(&self) -> bool {
        self.storage.glances()
    }
    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.storage.delete(name)
    }
    fn heal(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError> {
        self.storage.heal(name, bytes)
    }
    fn clock(&self) -> Result<i64, StorageError> {
        self.storage.clock()
    }
    fn received(&self, name: &Name) -> Result<Option<i64>, StorageError> {
        self.storage.received(name)
    }
    fn staleness(&self) -> Duration {
        self.staleness.max(self.storage.staleness())
    }
    fn exclusive(&self) -> bool {
        self.exclusive && self.storage.exclusive()
    }
    fn claims_exclusive(&self) -> bool {
        self.exclusive && self.storage.claims_exclusive()
    }
    fn place(&self) -> String {
        self.storage.place()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;
    use crate::storage::testing::contract;

    #[test]
    fn it_still_is_a_storage_and_promises_less() {
        let doubted =
            || Doubted { storage: Arc::new(MemoryStorage::new()), exclusive: false, staleness: Duration::from_secs(1) };
        contract(&|| Box::new(doubted()));
        assert!(!doubted().exclusive() && doubted().staleness() == Duration::from_secs(1));
    }
}
