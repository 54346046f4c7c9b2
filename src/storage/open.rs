//! From a [`Location`] to the storage there.

use super::doubted::Doubted;
use super::location::{Location, Options};
use super::probe::Findings;
use super::retry::Tuning;
use super::sftp::Dial;
use super::versions::{Judge, Versions};
use super::{LocalStorage, Past, SftpStorage, Storage, StorageErrorKind};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Time;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long what is new may be unseen where nobody knows better.
pub(super) const UNKNOWN_STALENESS: Duration = Duration::from_secs(10 * 60);

/// What is needed to get there beside the place.
pub struct Access<'a> {
    /// Of the user of this machine.
    pub options: &'a Options,
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Once set, nothing that fails is tried again.
    pub cancel: Option<&'static AtomicBool>,
    /// What a probe of this place found before.
    pub known: Option<&'a Findings>,
}

impl Access<'_> {
    /// What the options say of a scheme's storages.
    pub(super) fn tuning(&self, scheme: &str) -> Result<Tuning> {
        let mut tuning = Tuning { cancel: self.cancel, ..Tuning::default() };
        if let Some(n) = self.options.number(&format!("{scheme}.connections"))? {
            tuning.connections = usize::try_from(n.clamp(1, 1000)).unwrap_or(1);
        }
        if let Some(seconds) = self.options.number("retry.seconds")? {
            tuning.patience = Duration::from_secs(seconds);
            tuning.first_patience = tuning.patience;
        }
        Ok(tuning)
    }
}

/// The storage at a place that exists.
pub fn open(place: &Location, access: &Access<'_>) -> Result<Arc<dyn Storage>> {
    let storage: Arc<dyn Storage> = match place {
        Location::Local(path) => match LocalStorage::open(path) {
            Ok(s) => Arc::new(s),
            Err(e) if e.kind == StorageErrorKind::NotFound => return Err(no_folder(&path.display().to_string())),
            Err(e) => return Err(e.into()),
        },
        other => elsewhere(other, access, false)?,
    };
    Ok(as_found(storage, access))
}

/// With no more guarantees than a probe found to hold.
fn as_found(storage: Arc<dyn Storage>, access: &Access<'_>) -> Arc<dyn Storage> {
    match access.known {
        Some(found) if !found.is_exclusive() || !found.is_fresh() => {
            let staleness = if found.is_fresh() { Duration::ZERO } else { UNKNOWN_STALENESS };
            Arc::new(Doubted { storage, exclusive: found.is_exclusive(), staleness })
        }
        _ => storage,
    }
}

/// The same for a new repository: folders are made, buckets are not.
pub fn create(place: &Location, access: &Access<'_>) -> Result<Arc<dyn Storage>> {
    match place {
        Location::Local(path) => Ok(Arc::new(LocalStorage::create(path)?)),
        other => elsewhere(other, access, true),
    }
}

/// The storage at a place as it was at a time, only to be read. `judge` says what bytes are worth under
/// a name.
pub fn open_past(place: &Location, access: &Access<'_>, when: Time, judge: Judge) -> Result<Arc<dyn Storage>> {
    Ok(Arc::new(Past::new(open_versions(place, access)?, when, judge)?))
}

/// The storage at a place with what it keeps of what was overwritten and deleted.
pub fn open_versions(place: &Location, access: &Access<'_>) -> Result<Arc<dyn Versions>> {
    over_http::open_versions(place, access)
}

/// Nothing is left there of what was overwritten or deleted.
pub(crate) fn no_versions(place: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{place} keeps no older versions of what was overwritten or deleted"))
        .hint("a bucket behind s3: keeps them once versioning is switched on, from then on")
        .hint("leave --as-of away to read what is there now")
}

fn no_folder(place: &str) -> Error {
    let what = format!("there is no repository in {place}: the folder does not exist");
    Error::new(ErrorKind::NoRepository, what)
        .hint("check the path given with -r or ORLOP_REPOSITORY")
        .hint("`orlop init` makes one")
}

/// `make`: folders that are not there are made.
fn elsewhere(place: &Location, access: &Access<'_>, make: bool) -> Result<Arc<dyn Storage>> {
    let Location::Sftp { host, port, path } = place else { return over_http::open(place, access) };
    let option = |name| access.options.get(name).map(str::to_owned);
    let (args, command) = (option("sftp.args").unwrap_or_default(), option("sftp.command"));
    let dial = Dial { host: host.clone(), port: *port, path: path.clone(), args, command };
    match SftpStorage::new(dial, place.place(), access.tuning("sftp")?, make) {
        Ok(s) => Ok(Arc::new(s)),
        Err(e) if e.kind == StorageErrorKind::NotFound => Err(no_folder(&place.place())),
        Err(e) => Err(e.into()),
    }
}

#[cfg(feature = "remote")]
use super::remote as over_http;

/// In place of what this build lacks.
#[cfg(not(feature = "remote"))]
mod over_http {
    use super::*;

    pub(super) fn open(place: &Location, _: &Access<'_>) -> Result<Arc<dyn Storage>> {
        Err(lacking(place))
    }

    pub(super) fn open_versions(place: &Location, _: &Access<'_>) -> Result<Arc<dyn Versions>> {
        Err(lacking(place))
    }

    fn lacking(place: &Location) -> Error {
        let what = format!("{} cannot be reached: this build has only local folders and sftp", place.place());
        Error::new(ErrorKind::Unsupported, what).hint("build orlop with its feature `remote`, which is on by default")
    }
}
