//! Objects as files on another machine, over the user's own `ssh`.
//!
//! `ssh` runs the `sftp` subsystem there, so that its configuration, its agent and its known hosts
//! count. [`wire`] is the protocol, [`link`] the child process, [`disk`] what the steps of
//! [`super::local::shelf`] need. A connection that breaks is made anew, and what was under way is
//! done again from its beginning.
//!
//! Of its own and not a crate's: a dozen packets, and no crate for them lets a blocking caller
//! bound what is under way and flush a directory.

mod disk;
mod link;
mod wire;

use super::local::shelf::Shelf;
use super::retry::{Tries, Tuning};
use super::uploads::Uploads;
use super::{Draft, Listed, Name, Put, Storage, StorageError, StorageErrorKind};
pub(in crate::storage) use wire::any_answer;

use disk::SftpDisk;
use link::Link;
use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Who is called, and how.
#[derive(Debug, Clone)]
pub(in crate::storage) struct Dial {
    /// With the user, if one was named.
    pub(in crate::storage) host: String,
    pub(in crate::storage) port: Option<u16>,
    /// On that host.
    pub(in crate::storage) path: String,
    /// More arguments for `ssh`, as a shell reads them.
    pub(in crate::storage) args: String,
    /// The whole command in place of `ssh`, as a shell reads it.
    pub(in crate::storage) command: Option<String>,
}

/// A dead line is noticed within a minute; nothing is forwarded, whatever the configuration says.
const SSH: &str = "ssh -x -a -oClearAllForwardings=yes -oServerAliveInterval=20 -oServerAliveCountMax=3";

impl Dial {
    /// Under a shell that ignores the interrupt of a terminal, as its child then does: who stops a
    /// backup wants it to end in order, for which the connection is needed.
    fn command(&self) -> Command {
        let mut sh = Command::new("sh");
        let line = match &self.command {
            Some(command) => format!("trap '' INT; exec {command}"),
            None => format!("trap '' INT; exec {SSH} {} \"$@\"", self.args),
        };
        sh.arg("-c").arg(line).arg("orlop");
        if self.command.is_none() {
            if let Some(port) = self.port {
                sh.arg("-p").arg(port.to_string());
            }
            sh.args(["-s", "--", &self.host, "sftp"]);
        }
        sh
    }
}

/// A directory on another machine.
#[derive(Clone)]
pub struct SftpStorage(Arc<Inner>);

struct Inner {
    dial: Dial,
    place: String,
    tuning: Tuning,
    session: Mutex<Option<Arc<Session>>>,
    uploads: Uploads,
    reached: AtomicBool,
}

/// What lasts as long as a connection.
struct Session {
    link: Arc<Link>,
    shelf: Shelf<SftpDisk>,
}

impl SftpStorage {
    /// Connect. `make`: a folder that is not there is made.
    pub(in crate::storage) fn new(dial: Dial, place: String, tuning: Tuning, make: bool) -> Result<Self, StorageError> {
        let inner = Inner {
            dial,
            place,
            tuning,
            session: Mutex::default(),
            uploads: Uploads::default(),
            reached: AtomicBool::new(false),
        };
        inner.call("open", "the repository", make, |_, _| Ok(()))?;
        Ok(Self(Arc::new(inner)))
    }
}

impl Inner {
    fn session(&self, make: bool) -> io::Result<Arc<Session>> {
        let mut current = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = current.as_ref().filter(|s| !s.link.is_dead()) {
            return Ok(Arc::clone(session));
        }
        *current = None;
        let link = Arc::new(Link::start(&mut self.dial.command())?);
        let disk = SftpDisk::new(Arc::clone(&link), &self.dial.path, make)?;
        let session = Arc::new(Session { link, shelf: Shelf::new(disk, self.place.clone()) });
        *current = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Do `work`, again if the connection broke. It is told how often it failed before.
    fn call<T>(
        &self,
        verb: &'static str,
        name: &str,
        make: bool,
        work: impl Fn(&Shelf<SftpDisk>, u32) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let mut tries = Tries::new(&self.tuning, self.reached.load(Relaxed));
        loop {
            let error = match self.session(make) {
                Ok(session) => match work(&session.shelf, tries.failed) {
                    Err(e) if session.link.is_dead() => StorageError { kind: StorageErrorKind::Unreachable, ..e },
                    done => {
                        self.reached.store(true, Relaxed);
                        return done;
                    }
                },
                Err(e) => {
                    let kind = no_connection(&e);
                    StorageError { kind, ..StorageError::new(verb, name, &self.place, e) }
                }
            };
            if error.kind != StorageErrorKind::Unreachable || !tries.again() {
                let why = format!("{}{}", error.source, tries.told());
                return Err(StorageError { source: io::Error::new(error.source.kind(), why), ..error });
            }
        }
    }

    fn put_new(
        &self,
        name: &Name,
        put: impl Fn(&Shelf<SftpDisk>) -> Result<Put, StorageError>,
        same: impl Fn(&[u8]) -> bool,
    ) -> Result<Put, StorageError> {
        self.call("put", name.as_str(), false, |shelf, failed| match put(shelf)? {
            // An earlier try may have come through, its answer lost.
            Put::Exists if failed > 0 => {
                let theirs = shelf.get(name, u64::MAX)?;
                Ok(if same(&theirs) { Put::Created } else { Put::Exists })
            }
            other => Ok(other),
        })
    }
}

/// What the last words of `ssh` mean.
fn no_connection(error: &io::Error) -> StorageErrorKind {
    let said = error.to_string();
    let says = |words: &[&str]| words.iter().any(|w| said.contains(w));
    if says(&["Permission denied", "Host key verification failed", "Too many authentication failures"]) {
        return StorageErrorKind::Credentials;
    }
    if says(&["Could not resolve", "Connection refused", "timed out", "No route", "unreachable", "Connection reset"])
        || says(&["Connection closed", "broken", "kex_exchange", "Broken pipe"])
        || error.kind() == io::ErrorKind::UnexpectedEof
    {
        return StorageErrorKind::Unreachable;
    }
    StorageErrorKind::of(error)
}

impl Storage for SftpStorage {
    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        self.0.put_new(name, |shelf| shelf.put_new(name, bytes), |theirs| theirs == bytes)
    }
    fn draft(&self) -> Result<Box<dyn Draft>, StorageError> {
        self.0.uploads.wait();
        Ok(Box::new(SftpDraft { storage: self.clone(), bytes: Vec::new() }))
    }
    fn get(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        self.0.call("get", name.as_str(), false, |shelf, _| shelf.get(name, max))
    }
    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let into = Mutex::new(into);
        self.0.call("get", name.as_str(), false, |shelf, _| {
            let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
            shelf.get_range(name, offset, &mut into)
        })
    }
    fn head(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        self.0.call("look up", name.as_str(), false, |shelf, _| shelf.head(name))
    }
    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        self.0.call("list", prefix, false, |shelf, _| shelf.list(prefix))
    }
    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.0.call("delete", name.as_str(), false, |shelf, _| shelf.delete(name))
    }
    fn heal(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError> {
        self.0.call("heal", name.as_str(), false, |shelf, _| shelf.heal(name, bytes))
    }
    fn clock(&self) -> Result<i64, StorageError> {
        self.0.call("ask the time of", "the storage", false, |shelf, _| shelf.clock())
    }
    fn received(&self, name: &Name) -> Result<Option<i64>, StorageError> {
        self.0.call("look up", name.as_str(), false, |shelf, _| shelf.received(name))
    }
    fn at_once(&self) -> usize {
        self.0.tuning.connections
    }
    fn place(&self) -> String {
        self.0.place.clone()
    }
}

/// Kept here until it has a name, so that it can be written again over a new connection.
struct SftpDraft {
    storage: SftpStorage,
    bytes: Vec<u8>,
}

impl Draft for SftpDraft {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
    fn publish(self: Box<Self>, name: &Name) -> Result<Put, StorageError> {
        let _upload = self.storage.0.uploads.begin(self.bytes.len());
        self.storage.put_new(name, &self.bytes)
    }
}
