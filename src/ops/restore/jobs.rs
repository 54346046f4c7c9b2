//! What is to be done: directories and files in the making, and pieces of files by frame.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use hashbrown::DefaultHashBuilder;

use super::links::Link;
use crate::id::BlobId;
use crate::model::{Content, Extent, Node, NodeKind};
use crate::source::Names;
use crate::target::{FileId, InProgress, TargetFile};

/// A directory whose entries are not all finished yet.
pub(super) struct DirJob {
    pub parent: Option<Arc<DirJob>>,
    pub name: Box<[u8]>,
    /// Its metadata; the target itself keeps its own.
    pub node: Option<Node>,
    /// It was made by this run: nothing is in it but what we put there.
    pub fresh: bool,
    /// What was in it before this run, if it is not new and that could be found out.
    pub before: OnceLock<Before>,
    /// Entries that are not finished, and one while it is still walked.
    pub left: AtomicUsize,
}

impl DirJob {
    pub fn top(fresh: bool) -> Self {
        let (before, left) = (OnceLock::new(), AtomicUsize::new(1));
        Self { parent: None, name: Box::default(), node: None, fresh, before, left }
    }

    /// Whether nothing was in that place. What is found there nevertheless this run made itself, for an
    /// entry whose name the file system takes for the same (`A` and `a`), or somebody else did just now:
    /// it must not be written over.
    pub fn is_vacant(&self, name: &[u8]) -> bool {
        self.fresh || self.before.get().is_some_and(|before| !before.had(name))
    }

    /// Path below the target.
    pub fn path(&self) -> Vec<u8> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut here = self;
        while let Some(above) = &here.parent {
            names.push(&here.name);
            here = above;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// Path of an entry below the target.
    pub fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    pub fn hold(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }
    /// Whether that was the last one.
    pub fn let_go(&self) -> bool {
        self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// The names in a directory, in eight bytes each.
pub(super) struct Before {
    hasher: DefaultHashBuilder,
    names: Box<[u64]>,
}

impl Before {
    pub fn new(names: &Names) -> Self {
        let hasher = DefaultHashBuilder::default();
        let mut names: Box<[u64]> = names.iter().map(|n| hasher.hash_one(n.bytes)).collect();
        names.sort_unstable();
        Self { hasher, names }
    }
    pub fn had(&self, name: &[u8]) -> bool {
        self.names.binary_search(&self.hasher.hash_one(name)).is_ok()
    }
}

impl Drop for DirJob {
    /// Chains are as long as the tree is deep: no recursion.
    fn drop(&mut self) {
        let mut above = self.parent.take();
        while let Some(dir) = above {
            above = Arc::into_inner(dir).and_then(|mut d| d.parent.take());
        }
    }
}

/// How far a file is.
pub(super) enum Stage {
    /// Nobody looked yet whether something is there.
    Unknown,
    /// To be made.
    New,
    /// There, to be changed in place: this one, and no other that somebody puts there meanwhile.
    Update(FileId),
    /// No file, and in its place.
    Placed,
    /// Open.
    Open(Arc<TargetFile>),
    /// Closed to spare descriptors.
    Parked(InProgress),
    /// To be left alone.
    Skip,
    /// Trouble was told.
    Failed,
    /// Finished.
    Done,
}

/// What changes while a file is worked on.
pub(super) struct Progress {
    pub stage: Stage,
    /// Ranges that could not be had: offset and length.
    pub damage: Vec<(u64, u64)>,
    /// Something else was there before.
    pub replaced: bool,
    /// Nothing in it had to be written.
    pub untouched: bool,
}

/// Anything but a directory.
pub(super) struct FileJob {
    pub dir: Arc<DirJob>,
    /// Without the content, unless that is in the node itself.
    pub node: Node,
    pub size: u64,
    /// Number in the order of the walk.
    pub number: u64,
    /// Nothing was in its place.
    pub vacant: bool,
    /// Pieces to write, and one while there may come more.
    pub left: AtomicU64,
    /// It has holes, or had pieces left out: its length must be set in the end.
    pub gaps: AtomicBool,
    /// The first long hole: offset and length.
    pub hole: OnceLock<(u64, u64)>,
    /// One piece is all of it.
    pub single: bool,
    /// It may have further names.
    pub link: Option<Arc<Link>>,
    /// It is a further name of that.
    pub follows: bool,
    pub progress: Mutex<Progress>,
}

impl FileJob {
    /// Path below the target.
    pub fn path(&self) -> Vec<u8> {
        self.dir.path_of(&self.node.name)
    }
    /// Whether that was the last piece.
    pub fn let_go(&self, pieces: u64) -> bool {
        self.left.fetch_sub(pieces, Ordering::AcqRel) == pieces
    }
    pub fn is_file(&self) -> bool {
        matches!(self.node.kind, NodeKind::File { .. })
    }
    pub fn inline(&self) -> &[u8] {
        match &self.node.kind {
            NodeKind::File { content: Content::Inline(bytes), .. } => bytes,
            _ => &[],
        }
    }
}

/// Bytes that belong into a file.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub id: BlobId,
    pub offset: u64,
    pub frame: u32,
    pub ordinal: u16,
    pub len: u32,
    pub repeat: u32,
    /// Index into the window's jobs.
    pub job: u32,
}

impl Piece {
    pub fn bytes(&self) -> u64 {
        u64::from(self.len) * u64::from(self.repeat)
    }
}

/// A stretch of a file, for comparing with what is there.
#[derive(Clone, Copy)]
pub(super) enum Stretch {
    /// Bytes.
    Data(Piece),
    /// A hole.
    Hole { offset: u64, len: u64 },
}

/// A file whose place may be taken already, or a part of it.
pub(super) struct Look {
    pub job: Arc<FileJob>,
    pub stretches: Vec<Stretch>,
    /// These are all stretches of the file.
    pub whole: bool,
}

/// Work for one round.
#[derive(Default)]
pub(super) struct Window {
    pub jobs: Vec<Arc<FileJob>>,
    /// Files where something may be already.
    pub looks: Vec<Look>,
    /// What needs no frame: all content is in the node, or there is none.
    pub small: Vec<Arc<FileJob>>,
    /// Files whose last piece is in this window and that began in an earlier one.
    pub ends: Vec<Arc<FileJob>>,
    pub pieces: Vec<Piece>,
    /// Stretches waiting in `looks`.
    pub stretches: usize,
}

/// Most jobs of a window.
const JOBS_MAX: usize = 48 << 10;
/// Fewest jobs of a window that is handed over early: of what files have in common, each window fetches
/// its own.
const JOBS_MIN: usize = 4 << 10;
/// Most pieces of a window.
const PIECES_MAX: usize = 384 << 10;

impl Window {
    pub fn is_full(&self) -> bool {
        self.jobs.len() + self.small.len() >= JOBS_MAX || self.pieces.len() + self.stretches >= PIECES_MAX
    }
    /// Whether it is time to ask if somebody waits for work, and has enough to be worth it.
    pub fn is_worth_it(&self) -> bool {
        let jobs = self.jobs.len() + self.small.len();
        jobs >= JOBS_MIN && jobs.is_multiple_of(JOBS_MIN / 8)
    }
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.small.is_empty() && self.ends.is_empty() && self.looks.is_empty()
    }
}

/// The extents of a file that are in its node.
pub(super) fn few_extents(content: &Content) -> &[Extent] {
    match content {
        Content::Extents { extents, .. } => extents,
        _ => &[],
    }
}
