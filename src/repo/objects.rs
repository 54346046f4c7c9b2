//! Small objects: armoured, read with their second home as a fallback.

use std::collections::BTreeSet;

use super::Repository;
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::format::{armour, limits, names};
use crate::storage::{Name, Put, Storage};

/// Longest armoured object.
pub const STORED_MAX: u64 = 2 * limits::RECORD_MAX as u64 + (1 << 16);

/// A name made by `names`, which makes nothing else.
pub fn name(text: &str) -> Result<Name> {
    Name::new(text).map_err(|e| Error::new(ErrorKind::Bug, e.to_string()))
}

/// No reader takes a longer small object, so none may be written.
fn check_len(object: &str, content: &[u8]) -> Result<()> {
    if content.len() <= limits::RECORD_MAX {
        return Ok(());
    }
    let what = format!("{object} would be {} bytes long, and the format allows {}", content.len(), limits::RECORD_MAX);
    Err(Error::new(ErrorKind::Invalid, what).hint("give fewer paths, exclude patterns or tags to one backup"))
}

/// Put a small object in armour.
pub fn put(storage: &dyn Storage, object: &str, content: &[u8]) -> Result<Put> {
    check_len(object, content)?;
    Ok(storage.put_new(&name(object)?, &armour::wrap(content))?)
}

/// Put a small object and, beside it, its second home. Only the first decides.
pub fn put_twice(storage: &dyn Storage, object: &str, content: &[u8]) -> Result<Put> {
    let put = self::put(storage, object, content)?;
    self::put(storage, &names::copy_of(object), content)?;
    Ok(put)
}

/// Put a small object in the place of one that is there.
pub fn replace(storage: &dyn Storage, object: &str, content: &[u8]) -> Result<()> {
    Ok(storage.heal(&name(object)?, &armour::wrap(content))?)
}

/// Get a small object out of its armour.
pub fn get(storage: &dyn Storage, object: &str) -> Result<Vec<u8>> {
    let name = name(object)?;
    let stored = storage.get(&name, STORED_MAX)?;
    let unwrapped = armour::unwrap(&stored).doing(|| format!("while reading {object}"))?;
    if !unwrapped.mended {
        storage.keep(&name, 0, &stored);
    }
    Ok(unwrapped.content)
}

/// Get a small object from its first home, else from its second.
pub fn get_either(storage: &dyn Storage, object: &str) -> Result<Vec<u8>> {
    get(storage, object).or_else(|first| get(storage, &names::copy_of(object)).map_err(|_| first))
}

/// The names below a prefix, also of objects of which only the second home is left.
pub fn list_either(storage: &dyn Storage, prefix: &str) -> Result<Vec<String>> {
    // The first home is written before the second, so what is in this list was all there.
    let first = storage.list(prefix)?;
    let second = storage.list(&names::copy_of(prefix))?;
    let firsts = first.iter().map(|l| l.name.as_str());
    let seconds = second.iter().filter_map(|l| l.name.as_str().strip_prefix(names::prefix::COPY));
    Ok(firsts.chain(seconds).map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect())
}

impl Repository {
    pub(super) fn put_small(&self, object: &str, content: &[u8]) -> Result<Put> {
        put(self.storage.as_ref(), object, content)
    }
    pub(super) fn get_small(&self, object: &str) -> Result<Vec<u8>> {
        get(self.storage.as_ref(), object)
    }
}
