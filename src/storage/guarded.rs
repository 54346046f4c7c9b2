//! A storage in which only a newer orlop may write.

use super::{Draft, Name, Put, Storage, StorageError, StorageErrorKind, hand_on};
use std::io;
use std::sync::Arc;

/// The same storage, to be read only.
pub struct Guarded {
    inner: Arc<dyn Storage>,
    why: String,
}

impl Guarded {
    /// Whoever wants to write is told why not.
    pub fn new(inner: Arc<dyn Storage>, why: String) -> Self {
        Self { inner, why }
    }

    fn refuse<T>(&self, verb: &'static str, name: &str) -> Result<T, StorageError> {
        let error = StorageError::new(verb, name, self.inner.place(), io::Error::other(self.why.clone()));
        Err(StorageError { kind: StorageErrorKind::Newer, ..error })
    }
}

impl Storage for Guarded {
    hand_on!([inner]: get get_range head list glance glances keep get_kept keeps clock received staleness exclusive
        claims_exclusive at_once place);

    fn put_new(&self, name: &Name, _: &[u8]) -> Result<Put, StorageError> {
        self.refuse("put", name.as_str())
    }

    fn draft(&self) -> Result<Box<dyn Draft>, StorageError> {
        self.refuse("put", "an object")
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.refuse("delete", name.as_str())
    }

    fn heal(&self, name: &Name, _: &[u8]) -> Result<(), StorageError> {
        self.refuse("heal", name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::storage::MemoryStorage;

    #[test]
    fn it_is_read_and_not_written() {
        let name = Name::new("index/1").expect("a name");
        let memory = MemoryStorage::new();
        memory.plant(&name, b"there");
        let guarded = Guarded::new(Arc::new(memory), "a newer orlop is needed".into());
        assert_eq!(guarded.get(&name, 10).unwrap(), b"there");
        let refusals = [
            guarded.put_new(&Name::new("index/2").unwrap(), b"").unwrap_err(),
            guarded.draft().map(drop).unwrap_err(),
            guarded.delete(&name).unwrap_err(),
            guarded.heal(&name, b"").unwrap_err(),
        ];
        for e in refusals.map(Error::from) {
            assert_eq!((e.kind(), e.to_string().contains("a newer orlop is needed")), (ErrorKind::Unsupported, true));
        }
        assert_eq!(guarded.list("").unwrap().len(), 1);
    }
}
