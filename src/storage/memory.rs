//! A storage in memory, for tests and for looking at things before they are kept.

use super::{Draft, Listed, Name, PAGE, Put, Storage, StorageError, no_prefix, too_long, too_short};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Keeps objects in memory. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryStorage {
    objects: Arc<Mutex<Objects>>,
    ahead: Arc<AtomicI64>,
}

/// With what tells one content from another.
type Objects = BTreeMap<Name, (u64, Arc<[u8]>)>;

fn object(bytes: &[u8]) -> (u64, Arc<[u8]>) {
    (Listed::tag_of(bytes), bytes.into())
}

impl MemoryStorage {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Put any bytes under a name, whatever was there: what a failing disk or a hostile server can
    /// do and the verbs cannot. For tests of damage.
    pub fn plant(&self, name: &Name, bytes: &[u8]) {
        self.objects().insert(name.clone(), object(bytes));
    }

    /// Set the storage's clock so many seconds further, or back.
    pub fn advance(&self, seconds: i64) {
        self.ahead.fetch_add(seconds, Relaxed);
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        // Every change is a single call on the map, so a panic elsewhere leaves it whole.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, verb: &'static str, name: &Name) -> Result<Arc<[u8]>, StorageError> {
        let found = self.objects().get(name).map(|(_, bytes)| Arc::clone(bytes));
        found.ok_or_else(|| fail(verb, name.as_str(), io::ErrorKind::NotFound.into()))
    }
}

fn fail(verb: &'static str, name: &str, source: io::Error) -> StorageError {
    StorageError::new(verb, name, "memory", source)
}

impl Storage for MemoryStorage {
    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        match self.objects().entry(name.clone()) {
            Entry::Occupied(_) => Ok(Put::Exists),
            Entry::Vacant(place) => {
                place.insert(object(bytes));
                Ok(Put::Created)
            }
        }
    }

    fn draft(&self) -> Result<Box<dyn Draft>, StorageError> {
        Ok(Box::new(MemoryDraft { storage: self.clone(), bytes: Vec::new() }))
    }

    fn get(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        let object = self.find("get", name)?;
        if object.len() as u64 > max {
            return Err(fail("get", name.as_str(), too_long(object.len() as u64, max)));
        }
        Ok(object.to_vec())
    }

    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let object = self.find("get", name)?;
        let part = usize::try_from(offset).ok().and_then(|start| object.get(start..start.checked_add(into.len())?));
        match part {
            Some(part) => {
                into.copy_from_slice(part);
                Ok(())
            }
            None => {
                let why = too_short(object.len() as u64, offset, into.len());
                Err(fail("get", name.as_str(), why))
            }
        }
    }

    fn head(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        Ok(self.objects().get(name).map(|(_, bytes)| bytes.len() as u64))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        if !Name::is_prefix(prefix) {
            return Err(fail("list", prefix, no_prefix(prefix)));
        }
        let listed = |(name, (tag, bytes)): (&Name, &(u64, Arc<[u8]>))| Listed {
            name: name.clone(),
            len: bytes.len() as u64,
            tag: Some(*tag),
        };
        // `packs/` is no name, but `packs` is, and sorts before everything under it; so do names
        // like `packs-old`, which must be skipped.
        let start = match Name::new(prefix.trim_end_matches('/')) {
            Ok(name) => Bound::Included(name),
            Err(_) => Bound::Unbounded,
        };
        let under = |name: &Name| name.as_str().starts_with(prefix);
        let objects = self.objects();
        let listing = objects
            .range((start, Bound::Unbounded))
            .skip_while(|(name, _)| !under(name))
            .take_while(|(name, _)| under(name))
            .map(listed);
        Ok(listing.collect())
    }

    fn glance(&self) -> Result<Option<Vec<Listed>>, StorageError> {
        let all = self.list("")?;
        Ok((all.len() < PAGE).then_some(all))
    }

    fn glances(&self) -> bool {
        true
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.objects().remove(name);
        Ok(())
    }

    fn heal(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError> {
        self.plant(name, bytes);
        Ok(())
    }

    fn clock(&self) -> Result<i64, StorageError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
        Ok(now.saturating_add(self.ahead.load(Relaxed)))
    }

    fn place(&self) -> String {
        "memory".into()
    }
}

struct MemoryDraft {
    storage: MemoryStorage,
    bytes: Vec<u8>,
}

impl Draft for MemoryDraft {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
    fn publish(self: Box<Self>, name: &Name) -> Result<Put, StorageError> {
        self.storage.put_new(name, &self.bytes)
    }
}
