//! Objects in a bucket, through OpenDAL.
//!
//! The one room with async code: a small runtime of its own carries the requests, every verb waits
//! for its own. [`service`] is the way from a place to one of these, [`http`] the way to the network,
//! [`trouble`] what a failure means, [`swift`] and [`keystone`] how tokens are got, [`rclone`] whatever that
//! program reaches. OpenDAL's own layers for retries and time-outs are not used: a put that is tried again
//! must know it, and a deadline for a whole request is no measure on slow links.

mod dav;
mod http;
mod keystone;
mod rclone;
mod service;
mod swift;
mod trouble;
mod versions;

use super::retry::{Tries, Tuning};
use super::uploads::Uploads;
use super::{
    Draft, Listed, Name, PAGE, Put, Storage, StorageError, StorageErrorKind, no_prefix, probe, too_long, too_short,
};
use bytes::Bytes;
use dav::{Besides, Dav};
use futures_util::TryStreamExt;
use http::Call;
use http::Client;
use opendal::layers::HttpClientLayer;
use opendal::raw::HttpClient;
use opendal::{Buffer, ErrorKind, Operator};
pub(in crate::storage) use service::{open, open_versions};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

/// Whatever came, as an answer to every question whose answer is read here.
pub(in crate::storage) fn any_answer(bytes: &[u8]) {
    keystone::any_answer(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (rclone::address(text), http::parse_date(text), swift::Pass::new(text, text));
    }
}

/// How an object is made only if its name is free.
enum Creation {
    /// The service promises it: a condition goes with the request.
    Conditional,
    /// Nobody promises it: look, then write. Whole objects appear at once.
    LookFirst,
    /// Put beside, then moved.
    Move(Dav),
}

/// A bucket, or part of one.
#[derive(Clone)]
pub(in crate::storage) struct ObjectStorage(Arc<Inner>);

struct Inner {
    operator: Operator,
    client: HttpClient,
    /// Only `None` while it is dropped.
    runtime: Option<Runtime>,
    slots: Semaphore,
    uploads: Uploads,
    place: String,
    tuning: Tuning,
    creation: Creation,
    staleness: Duration,
    /// Whether it ever answered.
    reached: AtomicBool,
    /// Whether unfinished uploads of others were looked for.
    swept: AtomicBool,
    /// Whether a name was seen to be taken only once.
    proven: OnceLock<bool>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl ObjectStorage {
    /// On what `operator` reaches, by way of `client`.
    fn new(
        client: HttpClient,
        operator: Operator,
        place: String,
        tuning: Tuning,
        creation: Creation,
        staleness: Duration,
        known: Option<bool>,
    ) -> Result<Self, StorageError> {
        let fail = |e: io::Error| StorageError::new("open", "the repository", place.clone(), e);
        let operator = operator.layer(HttpClientLayer::new(client.clone()));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("orlop-network")
            .enable_all()
            .build()
            .map_err(fail)?;
        Ok(Self(Arc::new(Inner {
            operator,
            client,
            runtime: Some(runtime),
            slots: Semaphore::new(tuning.connections.max(1)),
            uploads: Uploads::default(),
            place,
            tuning,
            creation,
            staleness,
            reached: AtomicBool::new(false),
            swept: AtomicBool::new(false),
            proven: known.map_or_else(OnceLock::new, OnceLock::from),
        })))
    }
}

impl ObjectStorage {
    /// That the service takes a condition is its word; old ones take it and do not look at it.
    fn is_proven(&self) -> bool {
        *self.0.proven.get_or_init(|| probe::takes_names_once(self).unwrap_or(false))
    }
}

/// What one try came to.
type Tried<T> = Result<T, Failed>;

/// What a put came to.
enum Written {
    Created,
    Taken,
    /// It was refused, and something is there.
    TakenPerhapsByUs,
}

enum Failed {
    /// OpenDAL says so.
    Remote(opendal::Error),
    /// We do.
    Here(io::Error),
    /// What came cannot be; it may be otherwise a moment later.
    Odd(String),
}

impl From<opendal::Error> for Failed {
    fn from(e: opendal::Error) -> Self {
        Self::Remote(e)
    }
}

impl Inner {
    /// Do `work` until it works, or until it is clear that it will not. It is told how often it
    /// failed before.
    fn call<T, F: Future<Output = Tried<T>>>(
        &self,
        verb: &'static str,
        name: &str,
        call: &Arc<Call>,
        work: impl Fn(u32) -> F,
    ) -> Result<T, StorageError> {
        let Some(runtime) = &self.runtime else {
            return Err(self.fail(verb, name, io::Error::other("it is closed already")));
        };
        let mut tries = Tries::new(&self.tuning, self.reached.load(Relaxed));
        loop {
            let tried = runtime.block_on(async {
                let _slot = self.slots.acquire().await;
                call.scope(work(tries.failed)).await
            });
            let error = match tried {
                Ok(done) => {
                    self.reached.store(true, Relaxed);
                    return Ok(done);
                }
                Err(Failed::Here(e)) => return Err(self.fail(verb, name, e)),
                Err(Failed::Remote(e)) if trouble::is_passing(&e, tries.failed) && tries.again() => continue,
                Err(Failed::Odd(_)) if tries.again() => continue,
                Err(Failed::Remote(e)) => e,
                Err(Failed::Odd(why)) => opendal::Error::new(ErrorKind::Unexpected, why),
            };
            let (kind, why) = trouble::translate(&error);
            let why = io::Error::new(why.kind(), format!("{why}{}", tries.told()));
            return Err(StorageError { verb, name: name.to_owned(), place: self.place.clone(), kind, source: why });
        }
    }

    fn fail(&self, verb: &'static str, name: &str, source: io::Error) -> StorageError {
        StorageError::new(verb, name, &self.place, source)
    }

    fn put_new(&self, name: &Name, body: &Buffer) -> Result<Put, StorageError> {
        // Should it have to be compared, it is as long as ours.
        let call = Call::new(body.len() as u64);
        let besides = Besides::default();
        self.sweep();
        let done = self.call("put", name.as_str(), &call, |failed| self.put_once(name, &besides, body, failed > 0));
        if done.as_ref().map_or_else(|e| e.kind != StorageErrorKind::Unreachable, |_| true) {
            self.leave(&call, &besides);
        }
        done
    }

    /// Before the first upload: remove what others did not finish long ago.
    fn sweep(&self) {
        if matches!(self.creation, Creation::Move(_)) && !self.swept.swap(true, Relaxed) {
            let call = Call::new(0);
            self.courtesy(&call, dav::sweep(&self.operator, &call));
        }
    }

    /// What stays beside is in nobody's way, but takes space.
    fn leave(&self, call: &Arc<Call>, besides: &Besides) {
        for beside in besides.take() {
            self.courtesy(call, self.operator.delete(&beside));
        }
    }

    /// It may fail, and is not tried again.
    fn courtesy<T>(&self, call: &Arc<Call>, work: impl Future<Output = opendal::Result<T>>) {
        if let Some(runtime) = &self.runtime {
            let _ = runtime.block_on(call.scope(work));
        }
    }

    /// `again`: an earlier try may have come through, its answer lost.
    async fn put_once(&self, name: &Name, besides: &Besides, body: &Buffer, again: bool) -> Tried<Put> {
        let path = name.as_str();
        let written = match &self.creation {
            Creation::Conditional => match self.operator.write_with(path, body.clone()).if_not_exists(true).await {
                Ok(_) => Written::Created,
                Err(e) if e.kind() == ErrorKind::ConditionNotMatch && !e.is_temporary() => Written::Taken,
                Err(e) => return Err(e.into()),
            },
            _ if self.stat(path).await?.is_some() => Written::Taken,
            Creation::LookFirst => self.operator.write(path, body.clone()).await.map(|_| Written::Created)?,
            Creation::Move(dav) => dav.put(self, besides, path, body.clone(), false).await?,
        };
        let perhaps_ours = match written {
            Written::Created => return Ok(Put::Created),
            Written::Taken => again,
            Written::TakenPerhapsByUs => true,
        };
        // Seen with our own eyes, since whoever relies on it may store nothing else.
        match self.stat(path).await? {
            None => Err(Failed::Odd("it said that the object exists, and then that it does not".into())),
            Some(len) if perhaps_ours && len == body.len() as u64 => {
                let theirs = self.operator.read(path).await?;
                Ok(if same(&theirs, body) { Put::Created } else { Put::Exists })
            }
            Some(_) => Ok(Put::Exists),
        }
    }

    /// The length of an object.
    async fn stat(&self, path: &str) -> opendal::Result<Option<u64>> {
        match self.operator.stat(path).await {
            Ok(meta) if meta.is_file() => Ok(Some(meta.content_length())),
            Ok(_) => Ok(None),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn get(&self, path: &str, max: u64) -> Tried<Vec<u8>> {
        // Without a range, which OpenDAL takes for a promise; how much comes is bounded below it.
        let bytes = self.operator.read(path).await?;
        match bytes.len() as u64 {
            len if len > max => Err(Failed::Here(too_long(len, max))),
            _ => Ok(bytes.to_vec()),
        }
    }

    async fn get_range(&self, path: &str, offset: u64, len: usize) -> Tried<Buffer> {
        let end = offset.checked_add(len as u64).filter(|end| i64::try_from(*end).is_ok());
        let read = match end {
            Some(end) if len > 0 => self.operator.read_with(path).range(offset..end).await.map(Some),
            _ => Ok(None),
        };
        let error = match read {
            Ok(Some(bytes)) if bytes.len() == len => return Ok(bytes),
            Ok(_) => None,
            Err(e) if trouble::is_passing(&e, 0) || trouble::is_refusal(&e) => return Err(e.into()),
            // Services say in many ways that the object ends before the range does.
            Err(e) => Some(e),
        };
        match (self.stat(path).await?, end) {
            (None, _) => Err(Failed::Here(io::ErrorKind::NotFound.into())),
            (Some(there), Some(end)) if end <= there => match error {
                None if len == 0 => Ok(Buffer::new()),
                None => Err(Failed::Odd(format!("not all of the {len} bytes came"))),
                Some(e) if e.message().contains("too little data") => Err(Failed::Odd(e.message().to_owned())),
                Some(e) => Err(e.into()),
            },
            (Some(there), _) => Err(Failed::Here(too_short(there, offset, len))),
        }
    }

    /// What is below a prefix, until so many entries came; and whether that was all.
    async fn list(&self, prefix: &str, most: usize) -> Tried<(Vec<Listed>, bool)> {
        let mut entries = match self.operator.lister_with(prefix).recursive(true).await {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok((Vec::new(), true)),
            Err(e) => return Err(e.into()),
        };
        let (mut listed, mut seen) = (Vec::new(), 0);
        loop {
            let entry = match entries.try_next().await {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(e) if e.kind() == ErrorKind::NotFound => break,
                Err(e) => return Err(e.into()),
            };
            let (meta, path) = (entry.metadata(), entry.path());
            if meta.is_file()
                && path.starts_with(prefix)
                && let Ok(name) = Name::new(path)
            {
                // Swift lists the sums of the bytes.
                let tag = meta.etag().or(meta.content_md5()).map(|etag| Listed::tag_of(etag.as_bytes()));
                listed.push(Listed { name, len: meta.content_length(), tag });
            }
            seen += 1;
            // The next one would be asked for.
            if seen >= most {
                break;
            }
        }
        listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        listed.dedup_by(|a, b| a.name == b.name);
        Ok((listed, seen < most))
    }

    /// Ask for something small, and look at the clock on the answer.
    fn clock(&self) -> Result<i64, StorageError> {
        let call = Call::new(0);
        self.call("ask the time of", "the storage", &call, |_| async {
            self.stat(CLOCK).await?;
            call.date().ok_or_else(|| Failed::Here(io::Error::other("its answers have no date")))
        })
    }
}

/// An object that every repository has; whether it is there does not matter for the time.
const CLOCK: &str = "config/00000001";

fn same(one: &Buffer, other: &Buffer) -> bool {
    one.len() == other.len() && one.to_bytes() == other.to_bytes()
}

/// Of the same length.
fn copy_out(bytes: Buffer, mut into: &mut [u8]) {
    for piece in bytes {
        let (now, later) = into.split_at_mut(piece.len());
        now.copy_from_slice(&piece);
        into = later;
    }
}

impl Storage for ObjectStorage {
    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        self.0.put_new(name, &Buffer::from(bytes.to_vec()))
    }

    fn draft(&self) -> Result<Box<dyn Draft>, StorageError> {
        self.0.uploads.wait();
        Ok(Box::new(ObjectDraft { storage: self.clone(), pieces: Vec::new(), last: Vec::new() }))
    }

    fn get(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        let call = Call::new(max);
        self.0.call("get", name.as_str(), &call, |_| self.0.get(name.as_str(), max))
    }

    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let (call, len) = (Call::new(into.len() as u64), into.len());
        let bytes = self.0.call("get", name.as_str(), &call, |_| self.0.get_range(name.as_str(), offset, len))?;
        copy_out(bytes, into);
        Ok(())
    }

    fn head(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        let call = Call::new(0);
        self.0.call("look up", name.as_str(), &call, |_| async { Ok(self.0.stat(name.as_str()).await?) })
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        if !Name::is_prefix(prefix) {
            return Err(self.0.fail("list", prefix, no_prefix(prefix)));
        }
        self.0.call("list", prefix, &Call::new(0), |_| self.0.list(prefix, usize::MAX)).map(|(listed, _)| listed)
    }

    fn glance(&self) -> Result<Option<Vec<Listed>>, StorageError> {
        if !self.glances() {
            return Ok(None);
        }
        let (listed, all) = self.0.call("list", "everything", &Call::new(0), |_| self.0.list("", PAGE))?;
        Ok(all.then_some(listed))
    }

    fn glances(&self) -> bool {
        // Elsewhere OpenDAL would ask folder by folder.
        self.0.operator.info().native_capability().list_with_recursive
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        let call = Call::new(0);
        self.0.call("delete", name.as_str(), &call, |_| async {
            match self.0.operator.delete(name.as_str()).await {
                Err(e) if e.kind() != ErrorKind::NotFound => Err(e.into()),
                _ => Ok(()),
            }
        })
    }

    fn heal(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError> {
        let (call, body) = (Call::new(0), Buffer::from(bytes.to_vec()));
        let besides = Besides::default();
        // What is beside stays where it fails: it may be all there is.
        self.0.call("heal", name.as_str(), &call, |_| async {
            if let Creation::Move(dav) = &self.0.creation {
                dav.put(&self.0, &besides, name.as_str(), body.clone(), true).await?;
            } else {
                self.0.operator.write(name.as_str(), body.clone()).await?;
            }
            Ok(())
        })?;
        self.0.leave(&call, &besides);
        Ok(())
    }

    fn clock(&self) -> Result<i64, StorageError> {
        self.0.clock()
    }

    fn received(&self, name: &Name) -> Result<Option<i64>, StorageError> {
        let call = Call::new(0);
        self.0.call("look up", name.as_str(), &call, |_| async {
            match self.0.operator.stat(name.as_str()).await {
                Ok(meta) => Ok(meta.last_modified().map(|t| t.into_inner().as_second())),
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
                Err(e) => Err(e.into()),
            }
        })
    }

    fn staleness(&self) -> Duration {
        self.0.staleness
    }

    fn exclusive(&self) -> bool {
        matches!(self.0.creation, Creation::Conditional) && self.is_proven()
    }

    fn claims_exclusive(&self) -> bool {
        matches!(self.0.creation, Creation::Conditional) && self.0.proven.get() != Some(&false)
    }

    fn at_once(&self) -> usize {
        self.0.tuning.connections
    }

    fn place(&self) -> String {
        self.0.place.clone()
    }
}

/// Gathered here, since a request says its length first, and its name is known last.
struct ObjectDraft {
    storage: ObjectStorage,
    pieces: Vec<Bytes>,
    last: Vec<u8>,
}

/// Small pieces are gathered up to this length.
const PIECE: usize = 1 << 20;

impl ObjectDraft {
    fn next_piece(&mut self) {
        // It has grown by doubling.
        self.last.shrink_to_fit();
        self.pieces.push(std::mem::take(&mut self.last).into());
    }
}

impl Draft for ObjectDraft {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.last.extend_from_slice(bytes);
        if self.last.len() >= PIECE {
            self.next_piece();
        }
        Ok(())
    }

    fn publish(mut self: Box<Self>, name: &Name) -> Result<Put, StorageError> {
        self.next_piece();
        let pack = Buffer::from(std::mem::take(&mut self.pieces));
        let _upload = self.storage.0.uploads.begin(pack.len());
        self.storage.0.put_new(name, &pack)
    }
}
