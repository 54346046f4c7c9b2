//! Counts what is asked of a storage, by verb and by kind of object.

use super::{Draft, Listed, Name, PAGE, Put, Storage, StorageError, hand_on};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How often something was asked for: what, of which kind of objects, how often.
#[derive(Debug, Default)]
pub struct Requests(Mutex<BTreeMap<(&'static str, String), u64>>);

impl Requests {
    /// All of them: verb, kind, number; in the order of verbs and kinds.
    pub fn all(&self) -> Vec<(&'static str, String, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|((verb, kind), n)| (*verb, kind.clone(), *n)).collect()
    }

    fn add(&self, verb: &'static str, name: &str, n: u64) {
        let kind = name.split_once('/').map_or(name, |(kind, _)| kind);
        let kind = if kind.is_empty() { "all" } else { kind };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((verb, kind.to_owned())).or_default() += n;
    }
}

/// A storage, and how often it was asked for what.
pub struct Counted {
    inner: Arc<dyn Storage>,
    requests: Arc<Requests>,
}

impl Counted {
    /// Count into `requests` from now on.
    pub fn new(inner: Arc<dyn Storage>, requests: Arc<Requests>) -> Self {
        Self { inner, requests }
    }

    /// Counted before, since a request that fails is a request.
    fn asked(&self, verb: &'static str, name: &Name) -> &dyn Storage {
        self.requests.add(verb, name.as_str(), 1);
        self.inner.as_ref()
    }
}

impl Storage for Counted {
    hand_on!([inner]: glances staleness exclusive claims_exclusive at_once place);

    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        self.asked("put", name).put_new(name, bytes)
    }
    fn draft(&self) -> Result<Box<dyn Draft>, StorageError> {
        let draft = self.inner.draft()?;
        Ok(Box::new(CountedDraft { draft, requests: Arc::clone(&self.requests) }))
    }
    fn get(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        self.asked("get", name).get(name, max)
    }
    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        self.asked("get", name).get_range(name, offset, into)
    }
    fn head(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        self.asked("head", name).head(name)
    }
    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        let listed = self.inner.list(prefix);
        let len = listed.as_ref().map_or(0, Vec::len);
        let pages = if self.inner.glances() { 1 + len / PAGE } else { 1 };
        self.requests.add("list", prefix, pages as u64);
        listed
    }
    fn glance(&self) -> Result<Option<Vec<Listed>>, StorageError> {
        if self.inner.glances() {
            self.requests.add("list", "", 1);
        }
        self.inner.glance()
    }
    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.asked("delete", name).delete(name)
    }
    fn heal(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError> {
        self.asked("put", name).heal(name, bytes)
    }
    fn clock(&self) -> Result<i64, StorageError> {
        self.requests.add("head", "clock", 1);
        self.inner.clock()
    }
    fn received(&self, name: &Name) -> Result<Option<i64>, StorageError> {
        self.asked("head", name).received(name)
    }
}

struct CountedDraft {
    draft: Box<dyn Draft>,
    requests: Arc<Requests>,
}

impl Draft for CountedDraft {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.draft.write(bytes)
    }
    fn publish(self: Box<Self>, name: &Name) -> Result<Put, StorageError> {
        self.requests.add("put", name.as_str(), 1);
        self.draft.publish(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;
    use crate::storage::testing::contract;

    #[test]
    fn it_still_is_a_storage() {
        contract(&|| Box::new(Counted::new(Arc::new(MemoryStorage::new()), Arc::default())));
    }

    #[test]
    fn by_verb_and_kind() {
        let requests = Arc::new(Requests::default());
        let counted = Counted::new(Arc::new(MemoryStorage::new()), Arc::clone(&requests));
        let name = |text: &str| Name::new(text).expect("a name");
        for n in 0..PAGE {
            counted.put_new(&name(&format!("packs/{n}")), b"x").expect("put");
        }
        let mut draft = counted.draft().expect("begun");
        draft.write(b"y").expect("written");
        draft.publish(&name("index/1")).expect("put");
        counted.get(&name("index/2"), 9).expect_err("it is not there");
        counted.head(&name("index/1")).expect("asked");
        counted.list("packs/").expect("listed");
        counted.list("index/").expect("listed");
        counted.glance().expect("asked");
        let expected = [
            ("get", "index", 1),
            ("head", "index", 1),
            ("list", "all", 1),
            ("list", "index", 1),
            ("list", "packs", 2),
            ("put", "index", 1),
            ("put", "packs", 1000),
        ];
        assert_eq!(requests.all(), expected.map(|(verb, kind, n)| (verb, kind.to_owned(), n)));
    }
}
