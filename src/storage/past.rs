//! A storage as it was at some time, only to be read.
//!
//! Everything is listed once, when it is opened. Of an object that had been overwritten by then, what its name
//! proves is read when it is first needed, see [`Candidates`]; of all others nothing need be read to know
//! which version is meant, whatever was done to them later.

use super::open::no_versions;
use super::versions::{Candidates, Histories, Judge, Version, Versions};
use super::{Draft, Listed, Name, PAGE, Put, Storage, StorageError, StorageErrorKind, no_prefix, too_long, too_short};
use crate::error::Result;
use crate::model::Time;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, OnceLock};

/// A storage as it was.
pub struct Past {
    inner: Arc<dyn Versions>,
    when: Time,
    judge: Judge,
    objects: BTreeMap<Name, Was>,
}

struct Was {
    candidates: Candidates,
    chosen: OnceLock<Version>,
}

impl Past {
    /// At a time. Fails where nothing is kept of what is overwritten or deleted.
    pub fn new(inner: Arc<dyn Versions>, when: Time, judge: Judge) -> Result<Self> {
        let all = Histories::of(inner.versions("")?);
        if !all.are_kept() {
            return Err(no_versions(&inner.place()));
        }
        let was = |history: &Vec<Version>| Was { candidates: Candidates::of(history, when), chosen: OnceLock::new() };
        let objects = all.0.iter().map(|(name, history)| (name.clone(), was(history)));
        let objects = objects.filter(|(_, was)| was.candidates.first().is_some()).collect();
        Ok(Self { inner, when, judge, objects })
    }

    fn fail(&self, verb: &'static str, name: &str, source: io::Error) -> StorageError {
        StorageError::new(verb, name, self.inner.place(), source)
    }

    /// What is past cannot be changed.
    fn refuse<T>(&self, verb: &'static str, name: &str) -> Result<T, StorageError> {
        let source = io::Error::other("it is read as it was before, and the past cannot be changed");
        Err(StorageError { kind: StorageErrorKind::Other, ..self.fail(verb, name, source) })
    }

    fn find(&self, name: &Name) -> Result<Option<&Version>, StorageError> {
        let Some(was) = self.objects.get(name) else { return Ok(None) };
        if was.candidates.is_plain() {
            return Ok(was.candidates.first());
        }
        if let Some(chosen) = was.chosen.get() {
            return Ok(Some(chosen));
        }
        let judged = |v: &Version| Ok((self.judge)(name.as_str(), &self.inner.get_version(v)?));
        let chosen = was.candidates.choose(judged)?;
        Ok(chosen.map(|(version, _)| was.chosen.get_or_init(|| version.clone())))
    }

    fn there(&self, name: &Name) -> Result<&Version, StorageError> {
        self.find(name)?.ok_or_else(|| self.fail("get", name.as_str(), io::ErrorKind::NotFound.into()))
    }
}

impl Storage for Past {
    fn put_new(&self, name: &Name, _: &[u8]) -> Result<Put, StorageError> {
        self.refuse("put", name.as_str())
    }

    fn draft(&self) -> Result<Box<dyn Draft>, StorageError> {
        self.refuse("put", "an object")
    }

    fn get(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        let version = self.there(name)?;
        if version.len > max {
            return Err(self.fail("get", name.as_str(), too_long(version.len, max)));
        }
        self.inner.get_version(version)
    }

    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let version = self.there(name)?;
        if offset.checked_add(into.len() as u64).is_none_or(|end| end > version.len) {
            return Err(self.fail("get", name.as_str(), too_short(version.len, offset, into.len())));
        }
        match into.is_empty() {
            true => Ok(()),
            false => self.inner.get_version_range(version, offset, into),
        }
    }

    fn head(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        Ok(self.find(name)?.map(|v| v.len))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        if !Name::is_prefix(prefix) {
            return Err(self.fail("list", prefix, no_prefix(prefix)));
        }
        let below = self.objects.keys().filter(|name| name.as_str().starts_with(prefix));
        let found = below.map(|name| {
            let version = self.there(name)?;
            Ok(Listed { name: name.clone(), len: version.len, tag: Some(Listed::tag_of(version.id.as_bytes())) })
        });
        found.collect()
    }

    fn glance(&self) -> Result<Option<Vec<Listed>>, StorageError> {
        if self.objects.len() > PAGE { Ok(None) } else { self.list("").map(Some) }
    }

    fn glances(&self) -> bool {
        true
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.refuse("delete", name.as_str())
    }

    fn heal(&self, name: &Name, _: &[u8]) -> Result<(), StorageError> {
        self.refuse("heal", name.as_str())
    }

    fn clock(&self) -> Result<i64, StorageError> {
        Ok(self.when.sec)
    }

    fn received(&self, name: &Name) -> Result<Option<i64>, StorageError> {
        Ok(self.find(name)?.map(|v| v.at.sec))
    }

    fn exclusive(&self) -> bool {
        false
    }

    fn place(&self) -> String {
        self.inner.place()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::storage::testing::VersionedStorage;
    use crate::storage::versions::Worth;

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    /// What begins with `!` is broken.
    fn judge(_: &str, bytes: &[u8]) -> Worth {
        if bytes.starts_with(b"!") { Worth::Broken } else { Worth::Likely }
    }

    fn at(storage: &VersionedStorage, second: i64) -> Past {
        Past::new(Arc::new(storage.clone()), Time { sec: second, nsec: 0 }, judge).expect("versions are kept")
    }

    #[test]
    fn what_was_there_is_there_and_nothing_else() {
        let storage = VersionedStorage::new();
        for (second, object, bytes) in [
            (1, "a/1", &b"one"[..]),
            (1, "a/2", b"two"),
            (1, "b/1", b"old"),
            (2, "b/1", b"!garbage"),
            (5, "a/3", b"new"),
        ] {
            storage.set_clock(second);
            storage.put_over(&name(object), bytes).expect("put");
        }
        storage.set_clock(6);
        storage.put_over(&name("a/1"), b"!").expect("put");
        storage.delete(&name("a/2")).expect("deleted");
        let past = at(&storage, 3);
        let listed: Vec<(String, u64)> =
            past.list("").expect("listed").into_iter().map(|l| (l.name.as_str().to_owned(), l.len)).collect();
        assert_eq!(listed, [("a/1".into(), 3), ("a/2".into(), 3), ("b/1".into(), 3)]);
        assert_eq!(past.get(&name("a/1"), 9).expect("there"), b"one");
        assert_eq!(past.get(&name("b/1"), 9).expect("there"), b"old", "what was broken then is not it");
        let mut some = [0; 2];
        past.get_range(&name("a/2"), 1, &mut some).expect("there");
        assert_eq!(&some, b"wo");
        assert_eq!(past.head(&name("a/3")).expect("asked"), None);
        assert_eq!(past.received(&name("a/1")).expect("asked"), Some(1));
        assert_eq!(past.glance().expect("listed").map(|all| all.len()), Some(3));
        assert_eq!(past.get(&name("a/1"), 2).expect_err("longer").kind, StorageErrorKind::Length);
        assert_eq!(past.get_range(&name("a/2"), 2, &mut some).expect_err("shorter").kind, StorageErrorKind::Length);
        assert_eq!(past.get(&name("a/3"), 9).expect_err("not yet").kind, StorageErrorKind::NotFound);
        assert!(at(&storage, 0).list("").expect("listed").is_empty());
        assert_eq!(at(&storage, 6).get(&name("a/3"), 9).expect("there"), b"new");
    }

    #[test]
    fn nothing_is_written() {
        let storage = VersionedStorage::new();
        storage.put_new(&name("a/1"), b"one").expect("put");
        let past = at(&storage, 9);
        let before = storage.versions("").expect("listed");
        assert!(past.put_new(&name("a/2"), b"x").is_err() && past.draft().is_err());
        assert!(past.delete(&name("a/1")).is_err() && past.heal(&name("a/1"), b"x").is_err());
        assert_eq!(storage.versions("").expect("listed"), before);
        assert!(!past.exclusive());
    }

    #[test]
    fn where_nothing_is_kept_it_says_so() {
        let storage = VersionedStorage::keeping_nothing();
        storage.put_new(&name("a/1"), b"one").expect("put");
        let error = Past::new(Arc::new(storage), Time { sec: 9, nsec: 0 }, judge).err().expect("nothing is kept");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("keeps no older versions"), "{error}");
    }
}
