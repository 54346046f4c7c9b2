//! The common part of the wrappers: a place to stand before and after every call.

use crate::storage::{Draft, Listed, Name, Put, Storage, StorageError, hand_on};
use std::io;
use std::sync::Arc;

/// What is asked of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the verbs of `Storage` and `Draft`")]
pub enum Verb {
    PutNew,
    Draft,
    Write,
    Publish,
    Get,
    GetRange,
    Head,
    List,
    Delete,
    Heal,
}

impl Verb {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 10] = [
        Self::PutNew,
        Self::Draft,
        Self::Write,
        Self::Publish,
        Self::Get,
        Self::GetRange,
        Self::Head,
        Self::List,
        Self::Delete,
        Self::Heal,
    ];

    /// Whether it changes what a reader could see.
    pub fn mutates(self) -> bool {
        matches!(self, Self::PutNew | Self::Publish | Self::Delete | Self::Heal)
    }

    fn slug(self) -> &'static str {
        match self {
            Self::PutNew | Self::Draft | Self::Write | Self::Publish => "put",
            Self::Get | Self::GetRange => "get",
            Self::Head => "look up",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Heal => "heal",
        }
    }
}

/// Stands before and after every call; an error takes the place of the call's result.
pub(super) trait Tap: Send + Sync + 'static {
    /// The call has not been made. An error means that it never will be.
    fn before(&self, _verb: Verb, _name: &str) -> io::Result<()> {
        Ok(())
    }
    /// The call went well and moved so many bytes of content.
    fn after(&self, _verb: Verb, _name: &str, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Any storage with a tap on it.
pub(super) struct Tapped<S, T> {
    inner: S,
    pub(super) tap: Arc<T>,
}

impl<S: Storage, T: Tap> Tapped<S, T> {
    pub(super) fn new(inner: S, tap: T) -> Self {
        Self { inner, tap: Arc::new(tap) }
    }

    fn call<R>(
        &self,
        verb: Verb,
        name: &str,
        call: impl FnOnce() -> Result<R, StorageError>,
        bytes: impl FnOnce(&R) -> u64,
    ) -> Result<R, StorageError> {
        let place = || self.inner.place();
        tapped(&*self.tap, verb, name, place, call, bytes)
    }
}

fn tapped<R>(
    tap: &impl Tap,
    verb: Verb,
    name: &str,
    place: impl Fn() -> String,
    call: impl FnOnce() -> Result<R, StorageError>,
    bytes: impl FnOnce(&R) -> u64,
) -> Result<R, StorageError> {
    let fail = |e| StorageError::new(verb.slug(), name, place(), e);
    tap.before(verb, name).map_err(fail)?;
    let result = call()?;
    tap.after(verb, name, bytes(&result)).map_err(fail)?;
    Ok(result)
}

impl<S: Storage, T: Tap> Storage for Tapped<S, T> {
    hand_on!([inner]: glances clock received staleness exclusive claims_exclusive at_once place);

    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        let call = || self.inner.put_new(name, bytes);
        self.call(Verb::PutNew, name.as_str(), call, |_| bytes.len() as u64)
    }

    fn draft(&self) -> Result<Box<dyn Draft>, StorageError> {
        let call = || self.inner.draft();
        let draft = self.call(Verb::Draft, "a new object", call, |_| 0)?;
        Ok(Box::new(TappedDraft { draft, tap: self.tap.clone(), place: self.inner.place() }))
    }

    fn get(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        let call = || self.inner.get(name, max);
        self.call(Verb::Get, name.as_str(), call, |bytes| bytes.len() as u64)
    }

    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let len = into.len() as u64;
        let call = || self.inner.get_range(name, offset, into);
        self.call(Verb::GetRange, name.as_str(), call, |()| len)
    }

    fn head(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        let call = || self.inner.head(name);
        self.call(Verb::Head, name.as_str(), call, |_| 0)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        let call = || self.inner.list(prefix);
        self.call(Verb::List, prefix, call, |_| 0)
    }

    fn glance(&self) -> Result<Option<Vec<Listed>>, StorageError> {
        match self.inner.glances() {
            true => self.call(Verb::List, "", || self.inner.glance(), |_| 0),
            false => Ok(None),
        }
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        let call = || self.inner.delete(name);
        self.call(Verb::Delete, name.as_str(), call, |()| 0)
    }

    fn heal(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError> {
        let call = || self.inner.heal(name, bytes);
        self.call(Verb::Heal, name.as_str(), call, |()| bytes.len() as u64)
    }
}

struct TappedDraft<T> {
    draft: Box<dyn Draft>,
    tap: Arc<T>,
    place: String,
}

impl<T: Tap> Draft for TappedDraft<T> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let place = || self.place.clone();
        let call = || self.draft.write(bytes);
        let len = bytes.len() as u64;
        tapped(&*self.tap, Verb::Write, "a new object", place, call, |()| len)
    }

    fn publish(self: Box<Self>, name: &Name) -> Result<Put, StorageError> {
        let Self { draft, tap, place } = *self;
        let call = || draft.publish(name);
        let place = || place.clone();
        tapped(&*tap, Verb::Publish, name.as_str(), place, call, |_| 0)
    }
}
