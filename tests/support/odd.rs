//! Storages that keep the contract in odd ways, or do not keep it.

use std::sync::Arc;

use orlop::storage::{Draft, Listed, MemoryStorage, Name, Put, Storage, StorageError};

type Result<T> = std::result::Result<T, StorageError>;

/// What is odd about a storage.
pub trait Odd: Send + Sync + 'static {
    fn put(&self, to: &MemoryStorage, name: &Name, bytes: &[u8]) -> Result<Put> {
        to.put_new(name, bytes)
    }
    fn list(&self, from: &MemoryStorage, prefix: &str) -> Result<Vec<Listed>> {
        let listed = from.list(prefix)?;
        Ok(listed.into_iter().filter(|l| self.sees(&l.name)).collect())
    }
    /// Whether an object can be seen already.
    fn sees(&self, _name: &Name) -> bool {
        true
    }
    fn delete(&self, from: &MemoryStorage, name: &Name) -> Result<()> {
        from.delete(name)
    }
    fn at_once(&self) -> usize {
        1
    }
}

/// A memory that is odd to one user.
pub struct OddStorage<O>(pub MemoryStorage, pub Arc<O>);

impl<O> Clone for OddStorage<O> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1.clone())
    }
}

/// An error of this kind.
pub fn failed(verb: &'static str, name: &Name, kind: std::io::ErrorKind) -> StorageError {
    StorageError::new(verb, name.as_str(), "an odd storage", kind.into())
}

impl<O: Odd> OddStorage<O> {
    fn seen(&self, verb: &'static str, name: &Name) -> Result<()> {
        if self.1.sees(name) { Ok(()) } else { Err(failed(verb, name, std::io::ErrorKind::NotFound)) }
    }
}

impl<O: Odd> Storage for OddStorage<O> {
    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<Put> {
        self.1.put(&self.0, name, bytes)
    }
    fn draft(&self) -> Result<Box<dyn Draft>> {
        Ok(Box::new(OddDraft { storage: self.clone(), bytes: vec![] }))
    }
    fn get(&self, name: &Name, max: u64) -> Result<Vec<u8>> {
        self.seen("get", name)?;
        self.0.get(name, max)
    }
    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> Result<()> {
        self.seen("get", name)?;
        self.0.get_range(name, offset, into)
    }
    fn head(&self, name: &Name) -> Result<Option<u64>> {
        if self.1.sees(name) { self.0.head(name) } else { Ok(None) }
    }
    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.1.list(&self.0, prefix)
    }
    fn delete(&self, name: &Name) -> Result<()> {
        self.1.delete(&self.0, name)
    }
    fn heal(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        self.0.heal(name, bytes)
    }
    fn clock(&self) -> Result<i64> {
        self.0.clock()
    }
    fn at_once(&self) -> usize {
        self.1.at_once()
    }
    fn place(&self) -> String {
        "an odd storage".into()
    }
}

struct OddDraft<O> {
    storage: OddStorage<O>,
    bytes: Vec<u8>,
}

impl<O: Odd> Draft for OddDraft<O> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
    fn publish(self: Box<Self>, name: &Name) -> Result<Put> {
        self.storage.put_new(name, &self.bytes)
    }
}
