//! Frames in the making, and the desks at which they are compressed.
//!
//! Files are read by many threads, because each of them mostly waits for the disk; frames are
//! compressed by about as many as there are processors, because each of them wants one with its
//! caches. A desk holds what compressing a frame needs, so neither memory nor the contest for
//! caches grows with the number of threads that read.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, PoisonError};

use super::locked;
use crate::compress::Zstd;
use crate::format::limits::FRAME_BLOBS_MAX;
use crate::id::BlobId;

/// Room before the blobs of a frame for the prefix of their lengths, which is known last.
const PREFIX_ROOM: usize = 8 << 10;

/// Blobs that may share a frame: those of one owner and one source. A frame is compressed as a
/// whole, so its length tells a little about all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameScope {
    /// Which of the sources of the run.
    pub source: u32,
    /// Whose file.
    pub uid: u32,
    /// Longest plaintext of a frame with several blobs.
    pub target: u32,
}

/// Gathers blobs for one frame.
#[derive(Default)]
pub(super) struct FrameBuilder {
    scope: FrameScope,
    pub(super) ids: Vec<BlobId>,
    lens: Vec<u32>,
    /// [`PREFIX_ROOM`] bytes, then the blobs.
    bytes: Vec<u8>,
}

impl FrameBuilder {
    /// An empty one with the memory of another.
    pub(super) fn in_place_of(used: Vec<u8>) -> Self {
        Self { bytes: used, ..Self::default() }
    }
    fn plain_len(&self) -> usize {
        self.bytes.len().saturating_sub(PREFIX_ROOM)
    }
    pub(super) fn has_room(&self, scope: FrameScope, len: usize) -> bool {
        self.ids.is_empty()
            || (self.scope == scope
                && self.plain_len() + len <= scope.target as usize
                && self.ids.len() < FRAME_BLOBS_MAX)
    }
    pub(super) fn push(&mut self, scope: FrameScope, id: BlobId, bytes: &[u8]) {
        self.scope = scope;
        if self.bytes.is_empty() {
            self.bytes.resize(PREFIX_ROOM, 0);
        }
        self.ids.push(id);
        self.lens.push(bytes.len() as u32);
        self.bytes.extend_from_slice(bytes);
    }
    /// The frame's plaintext: lengths, then blobs.
    pub(super) fn plain(&mut self) -> &[u8] {
        let prefix: Vec<u8> = self.lens.iter().flat_map(|n| n.to_le_bytes()).collect();
        match PREFIX_ROOM.checked_sub(prefix.len()) {
            Some(from) => {
                self.bytes[from..PREFIX_ROOM].copy_from_slice(&prefix);
                &self.bytes[from..]
            }
            None => {
                self.bytes.splice(..PREFIX_ROOM, prefix);
                &self.bytes
            }
        }
    }
}

/// What one frame at a time is compressed and checked with. Frames are large, and fresh memory is
/// slow: it goes from frame to frame.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) zstd: Zstd,
    pub(super) packed: Vec<u8>,
    pub(super) check: Vec<u8>,
}

/// All desks, and the memory of frames that are done.
pub(super) struct Desks {
    free: Mutex<Vec<Desk>>,
    left: Condvar,
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Desks {
    /// One more than there are processors: one may wait for the pack in the making.
    pub(super) fn new() -> Self {
        let n = std::thread::available_parallelism().map_or(1, usize::from) + 1;
        let free = (0..n).map(|_| Desk::default()).collect();
        Self { free: Mutex::new(free), left: Condvar::new(), spare: Mutex::default() }
    }

    /// Wait for a desk. Who has one must not ask for another.
    pub(super) fn take(&self) -> Seat<'_> {
        let mut free = locked(&self.free);
        loop {
            match free.pop() {
                Some(desk) => return Seat { desks: self, desk },
                None => free = self.left.wait(free).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Memory for a frame to begin, if there is any of one that is done.
    pub(super) fn spare(&self) -> Vec<u8> {
        locked(&self.spare).pop().unwrap_or_default()
    }

    /// Keep the memory of a frame that is done.
    pub(super) fn keep(&self, frame: FrameBuilder) {
        let mut bytes = frame.bytes;
        bytes.clear();
        locked(&self.spare).push(bytes);
    }
}

/// A desk that is taken; given back when dropped.
pub(super) struct Seat<'d> {
    desks: &'d Desks,
    desk: Desk,
}

impl Deref for Seat<'_> {
    type Target = Desk;
    fn deref(&self) -> &Desk {
        &self.desk
    }
}
impl DerefMut for Seat<'_> {
    fn deref_mut(&mut self) -> &mut Desk {
        &mut self.desk
    }
}
impl Drop for Seat<'_> {
    fn drop(&mut self) {
        locked(&self.desks.free).push(std::mem::take(&mut self.desk));
        self.desks.left.notify_one();
    }
}
