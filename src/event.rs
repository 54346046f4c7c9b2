//! Everything that can be said while work happens. Facts are events, quantities are counters.
//!
//! Operations tell an [`Observer`]; renderers (terminal, plain lines, JSON) are observers, and so
//! are tests. A library user may ignore it all with [`Quiet`].

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::id::RecordId;

/// What part of an operation is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Unlocking, loading snapshots and index.
    Opening,
    /// Walking and reading the source.
    BackingUp,
    /// Finishing packs, index and snapshot.
    Committing,
    /// Deciding what to restore.
    Planning,
    /// Fetching frames and writing files.
    Restoring,
    /// Setting metadata.
    Finishing,
    /// Reading restored files again.
    Verifying,
    /// Checking records, index and packs by name.
    CheckingStructure,
    /// Walking every tree.
    CheckingTrees,
    /// Reading packs.
    ReadingData,
    /// Looking for what is needed.
    Marking,
    /// Writing what is needed of packs elsewhere.
    Repacking,
    /// Deleting what nobody needs.
    Deleting,
    /// Taking over what another repository has.
    Copying,
    /// Making current what was there before.
    Rescuing,
}

/// How an item compares with what was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Not there before.
    New,
    /// Different now.
    Modified,
    /// The same.
    Unchanged,
    /// Brought back by a restore.
    Restored,
    /// Rewritten by a restore.
    Updated,
    /// Removed by a restore with `--delete`.
    Deleted,
}

/// What kind of thing an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// Not a directory.
    File,
    /// A directory.
    Dir,
}

/// Trouble that did not stop the work; the outcome becomes partial. As [`Event::Lost`] it is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Stable name: `unreadable`, `changed-while-read`, `vanished`, `damaged`, `owner`, …
    pub slug: &'static str,
    /// The path or object, as bytes.
    pub subject: Vec<u8>,
    /// What was being done: `open`, `read`, `lchown`, …
    pub during: &'static str,
    /// What happened.
    pub message: String,
}

/// Something worth saying that is no trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Stable name: `no-parent`, `using-parent`, `source-contains-repository`, …
    pub slug: &'static str,
    /// In words.
    pub message: String,
}

/// One fact.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A phase begins; what to expect, if known.
    Entered {
        /// Which.
        phase: Phase,
        /// Expected number of items.
        items: Option<u64>,
        /// Expected bytes.
        bytes: Option<u64>,
    },
    /// One file or directory is done.
    Item {
        /// Absolute path in the snapshot.
        path: &'a [u8],
        /// What it is.
        kind: ItemKind,
        /// What became of it.
        change: Change,
        /// Its bytes.
        bytes: u64,
    },
    /// Trouble.
    Problem(&'a Problem),
    /// Something of a file that was not captured or brought back, because the place or whoever runs
    /// this can do no better. No trouble, but it counts in the report on fidelity.
    Lost(&'a Problem),
    /// A remark.
    Notice(&'a Notice),
    /// A snapshot was committed.
    Saved {
        /// Its id.
        snapshot: RecordId,
        /// Whether the run was interrupted.
        incomplete: bool,
    },
}

/// Listens.
pub trait Observer: Send + Sync {
    /// One fact; called from any thread, must be quick.
    fn on(&self, event: &Event<'_>);
    /// Whether [`Event::Item`] is wanted (they are many).
    fn wants_items(&self) -> bool {
        false
    }
}

/// Listens to nothing.
pub struct Quiet;
impl Observer for Quiet {
    fn on(&self, _: &Event<'_>) {}
}

/// Quantities, read by whoever draws progress.
#[derive(Debug, Default)]
pub struct Meter {
    /// Expected files, grows while scanning.
    pub files_expected: AtomicU64,
    /// Expected bytes.
    pub bytes_expected: AtomicU64,
    /// The scan is complete: the two above are final.
    pub expected_final: AtomicBool,
    /// Files done.
    pub files_done: AtomicU64,
    /// Bytes done, unchanged ones included.
    pub bytes_done: AtomicU64,
    /// Bytes read from the source.
    pub bytes_read: AtomicU64,
    /// Plain bytes of new blobs.
    pub bytes_new: AtomicU64,
    /// Bytes written to the storage.
    pub bytes_stored: AtomicU64,
    /// Files that a restore found as they should be, or was not to touch.
    pub files_skipped: AtomicU64,
    /// Bytes of them.
    pub bytes_skipped: AtomicU64,
    /// Files that a restore removed.
    pub files_deleted: AtomicU64,
    /// Problems so far.
    pub problems: AtomicU64,
    /// What is being worked on, a few at most.
    pub current: Mutex<Vec<Vec<u8>>>,
    /// How often each thing was told as trouble or as lost, by slug.
    pub lacks: Mutex<BTreeMap<&'static str, u64>>,
}

impl Meter {
    /// Add to a counter.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
    }
    /// All is done, and nobody counts any more: what was expected is what was done.
    pub fn expect_what_was_done(&self) {
        if !self.expected_final.load(Relaxed) {
            self.files_expected.store(self.files_done.load(Relaxed), Relaxed);
            self.bytes_expected.store(self.bytes_done.load(Relaxed), Relaxed);
            self.expected_final.store(true, Relaxed);
        }
    }
    /// Count what is not as it was.
    pub fn lacks(&self, slug: &'static str, n: u64) {
        if n > 0
            && let Ok(mut lacks) = self.lacks.lock()
        {
            *lacks.entry(slug).or_default() += n;
        }
    }
    /// Show a path as being worked on.
    pub fn begin(&self, path: &[u8]) {
        if let Ok(mut c) = self.current.lock() {
            c.push(path.to_vec());
        }
    }
    /// Stop showing it.
    pub fn end(&self, path: &[u8]) {
        if let Ok(mut c) = self.current.lock()
            && let Some(i) = c.iter().position(|p| p == path)
        {
            c.swap_remove(i);
        }
    }
}

/// What every operation gets along: who listens, what is counted, whether to stop.
pub struct Context<'a> {
    /// Who listens.
    pub observer: &'a dyn Observer,
    /// What is counted.
    pub meter: &'a Meter,
    /// Set to stop soon and leave what is done in order.
    pub cancel: &'a AtomicBool,
}

impl Context<'_> {
    /// Tell a problem and count it.
    pub fn problem(&self, slug: &'static str, subject: &[u8], during: &'static str, message: impl Into<String>) {
        Meter::add(&self.meter.problems, 1);
        self.meter.lacks(slug, 1);
        let (subject, message) = (subject.to_vec(), message.into());
        self.observer.on(&Event::Problem(&Problem { slug, subject, during, message }));
    }
    /// Tell what of a file was not captured or brought back, and could not be.
    pub fn lost(&self, slug: &'static str, subject: &[u8], during: &'static str, message: impl Into<String>) {
        self.meter.lacks(slug, 1);
        let (subject, message) = (subject.to_vec(), message.into());
        self.observer.on(&Event::Lost(&Problem { slug, subject, during, message }));
    }
    /// Make a remark.
    pub fn notice(&self, slug: &'static str, message: impl Into<String>) {
        self.observer.on(&Event::Notice(&Notice { slug, message: message.into() }));
    }
    /// A phase begins.
    pub fn enter(&self, phase: Phase, items: Option<u64>, bytes: Option<u64>) {
        self.observer.on(&Event::Entered { phase, items, bytes });
    }
    /// Whether to stop.
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Relaxed)
    }
    /// An error if it is time to stop.
    pub fn check(&self) -> crate::error::Result<()> {
        if self.cancelled() { Err(crate::error::Error::cancelled()) } else { Ok(()) }
    }
}
