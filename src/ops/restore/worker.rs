//! Workers: a window of the plan, carried out.
//!
//! First the files where something may be already are looked at, which may make pieces
//! unnecessary. What is left is sorted by frame, and so by place in the packs, and handed out in
//! that order, evenly mixed with what needs no frame: neighbouring frames are read in one go, each is opened once, and each of its blobs
//! is checked once, however many places it goes to.

use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::jobs::{DirJob, FileJob, Piece, Window};
use super::{Mode, Run, locked};
use crate::error::{Error, ErrorKind};
use crate::format::pack::Kind;
use crate::index::Location;
use crate::repo::Decoded;
use crate::target::{TargetDir, TargetError};

/// Most stored bytes that are read in one go, unless one frame is longer.
const READ_MAX: u64 = 2 << 20;
/// Bytes between two needed frames that are rather read than jumped over.
const GAP_MAX: u64 = 128 << 10;
/// Entries without frames that are handed out together.
const SMALL_RUN: usize = 64;

/// What a thread has at hand.
#[derive(Default)]
pub(super) struct Hand {
    dir: Option<(Arc<DirJob>, Arc<TargetDir>)>,
    sealed: Vec<u8>,
    pub scratch: Vec<u8>,
}

impl Hand {
    /// An open directory. The last one is kept, as the next file is most likely in it.
    pub fn dir(&mut self, run: &Run<'_>, dir: &Arc<DirJob>) -> Result<Arc<TargetDir>, TargetError> {
        if let Some((last, open)) = &self.dir
            && Arc::ptr_eq(last, dir)
        {
            return Ok(open.clone());
        }
        let Some(tree) = &run.tree else {
            return Err(TargetError { during: "open", why: rustix::io::Errno::NOENT.into() });
        };
        let open = tree.dir(&dir.path())?;
        self.dir = Some((dir.clone(), open.clone()));
        Ok(open)
    }
}

/// What can be done by itself.
enum Unit {
    Small(Range<usize>),
    Ends(Range<usize>),
    /// Of the pieces.
    Frames(Range<usize>),
}

impl Run<'_> {
    pub(super) fn work(&self, mut window: Window) {
        if !window.looks.is_empty() {
            let looks = std::mem::take(&mut window.looks);
            let needed = Mutex::new(std::mem::take(&mut window.pieces));
            self.each(looks.len(), |hand, i| {
                let pieces = self.look(hand, &looks[i]);
                locked(&needed).extend(pieces);
            });
            window.pieces = needed.into_inner().unwrap_or_else(|p| p.into_inner());
        }
        window.pieces.sort_unstable_by_key(|p| (p.frame, p.ordinal, p.job, p.offset));
        let units = self.units(&window);
        self.each(units.len(), |hand, i| match &units[i] {
            Unit::Small(range) => window.small[range.clone()].iter().for_each(|job| self.small(hand, job)),
            Unit::Ends(range) => window.ends[range.clone()].iter().for_each(|job| self.let_go(hand, job, 1)),
            Unit::Frames(range) => self.frames(hand, &window.jobs, &window.pieces[range.clone()]),
        });
    }

    /// Do `n` things in order, several at a time.
    fn each(&self, n: usize, what: impl Fn(&mut Hand, usize) + Sync) {
        let next = AtomicUsize::new(0);
        let turn = || {
            let mut hand = Hand::default();
            loop {
                let i = next.fetch_add(1, Relaxed);
                if i >= n || self.stopped() {
                    return;
                }
                what(&mut hand, i);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads().min(n) {
                // With fewer threads it takes longer, that is all.
                let _ = std::thread::Builder::new().name("restore".into()).spawn_scoped(scope, turn);
            }
            turn();
        });
    }

    fn threads(&self) -> usize {
        match self.options.threads {
            // Some wait for the disk while others decode.
            0 => self.reader.repo().fetchers().clamp(1, 16) + 1,
            n => n,
        }
    }

    fn units(&self, window: &Window) -> Vec<Unit> {
        let runs = |n: usize| (0..n).step_by(SMALL_RUN).map(move |i| i..(i + SMALL_RUN).min(n));
        let mut local: Vec<Unit> = runs(window.small.len()).map(Unit::Small).collect();
        local.extend(runs(window.ends.len()).map(Unit::Ends));
        let (mut frames, mut start) = (Vec::new(), 0);
        for at in 1..=window.pieces.len() {
            if at == window.pieces.len()
                || !self.go_together(&window.pieces[start], &window.pieces[at - 1], &window.pieces[at])
            {
                frames.push(Unit::Frames(start..at));
                start = at;
            }
        }
        mixed(frames, local)
    }

    /// Whether the next piece belongs into the read that began with `first`.
    fn go_together(&self, first: &Piece, last: &Piece, next: &Piece) -> bool {
        if next.frame == last.frame {
            return true;
        }
        if next.frame == u32::MAX {
            return false;
        }
        let frame = |p: &Piece| self.reader.index().frame(p.frame);
        let (first, last, next) = (frame(first), frame(last), frame(next));
        let end = |f: &crate::index::Frame| u64::from(f.offset) + u64::from(f.entry.stored);
        first.pack == next.pack
            && u64::from(next.offset) <= end(last) + GAP_MAX
            && end(next).saturating_sub(first.offset.into()) <= READ_MAX
    }

    /// Fetch some neighbouring frames and write what is needed of them.
    fn frames(&self, hand: &mut Hand, jobs: &[Arc<FileJob>], pieces: &[Piece]) {
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return };
        if first.frame == u32::MAX {
            return self.rescue(hand, jobs, pieces);
        }
        let index = self.reader.index();
        let base = index.frame(first.frame).offset;
        let mut sealed = std::mem::take(&mut hand.sealed);
        let read = match self.mode {
            Mode::Write => self.reader.read_frames(first.frame, last.frame, &mut sealed),
            _ => Ok(()),
        };
        for group in pieces.chunk_by(|a, b| a.frame == b.frame) {
            let n = group[0].frame;
            let frame = *index.frame(n);
            self.counts.frames.fetch_add(1, Relaxed);
            self.counts.bytes_fetched.fetch_add(frame.entry.stored.into(), Relaxed);
            if self.mode != Mode::Write {
                group.iter().for_each(|p| self.let_go(hand, &jobs[p.job as usize], 1));
                continue;
            }
            let at = (frame.offset - base) as usize;
            let stored = read.is_ok().then(|| sealed.get_mut(at..at + frame.entry.stored as usize)).flatten();
            match stored.and_then(|bytes| self.reader.open_frame(n, bytes).ok()) {
                Some(decoded) => self.pieces(hand, jobs, group, &decoded),
                None => self.rescue(hand, jobs, group),
            }
            if self.stopped() {
                break;
            }
        }
        hand.sealed = sealed;
    }

    /// Write the pieces of one frame.
    fn pieces(&self, hand: &mut Hand, jobs: &[Arc<FileJob>], pieces: &[Piece], frame: &Decoded) {
        let mut rest = pieces;
        while let Some(piece) = rest.first() {
            let at = Location { frame: piece.frame, ordinal: piece.ordinal };
            if self.reader.verify(Kind::Data, &piece.id, frame, at).is_err() {
                // Shortened ids of the index may lead to another blob of the same beginning.
                let wrong = rest.iter().take_while(|p| p.ordinal == piece.ordinal).count();
                self.rescue(hand, jobs, &rest[..wrong]);
                rest = &rest[wrong..];
                continue;
            }
            let same = rest.iter().take_while(|p| p.ordinal == piece.ordinal && p.id == piece.id).count();
            let count = if same == 1 { self.in_a_row(rest, frame) } else { same };
            if same == 1 && count > 1 {
                let bytes = frame.together(piece.ordinal, rest[count - 1].ordinal).unwrap_or_default();
                self.put(hand, &jobs[piece.job as usize], piece.offset, bytes, 1, count as u64);
            } else if let Some(bytes) = frame.blob(piece.ordinal) {
                for p in &rest[..count] {
                    self.put(hand, &jobs[p.job as usize], p.offset, bytes, p.repeat, 1);
                }
            }
            rest = &rest[count..];
        }
    }

    /// How many pieces from the first on follow each other both in the frame and in one file, and
    /// are what their names say.
    fn in_a_row(&self, pieces: &[Piece], frame: &Decoded) -> usize {
        let mut n = 1;
        while let Some([a, b]) = pieces.get(n - 1..=n).and_then(|p| <&[Piece; 2]>::try_from(p).ok()) {
            let follows = a.job == b.job
                && a.repeat == 1
                && b.repeat == 1
                && b.offset == a.offset + u64::from(a.len)
                && b.ordinal == a.ordinal + 1;
            let shared = pieces.get(n + 1).is_some_and(|c| c.ordinal == b.ordinal);
            let at = Location { frame: b.frame, ordinal: b.ordinal };
            if !follows || shared || self.reader.verify(Kind::Data, &b.id, frame, at).is_err() {
                break;
            }
            n += 1;
        }
        n
    }

    /// The frame cannot be had, or is not what it should be: try other places for each blob, and
    /// note what is lost.
    fn rescue(&self, hand: &mut Hand, jobs: &[Arc<FileJob>], pieces: &[Piece]) {
        for group in pieces.chunk_by(|a, b| a.id == b.id) {
            let blob = match self.mode {
                Mode::Write => self.reader.fetch(Kind::Data, &group[0].id),
                _ => Err(Error::cancelled()),
            };
            if let Err(e) = &blob {
                self.tell_why(e);
            }
            for p in group {
                let job = &jobs[p.job as usize];
                match &blob {
                    Ok(blob) if blob.len() == p.len as usize => self.put(hand, job, p.offset, blob, p.repeat, 1),
                    _ => {
                        self.lost(job, p.offset, p.bytes());
                        self.let_go(hand, job, 1);
                    }
                }
            }
            if self.stopped() {
                return;
            }
        }
    }
}

/// Reasons that are told.
const REASONS_MAX: usize = 20;

impl Run<'_> {
    /// What is damaged and what only cannot be read now look alike in the files.
    fn tell_why(&self, e: &Error) {
        if self.mode != Mode::Write || e.kind() == ErrorKind::Cancelled {
            return;
        }
        let why = e.to_string();
        // The object goes before the details, which are others for each piece.
        let object = why.split(": ").next().unwrap_or_default().to_owned();
        let mut told = locked(&self.reasons);
        if told.len() < REASONS_MAX && told.insert(object) {
            self.cx.notice("bad-pack", why);
        }
    }
}

/// Both in their orders, evenly mixed: what waits for the storage and what does not go on side by side.
fn mixed(frames: Vec<Unit>, local: Vec<Unit>) -> Vec<Unit> {
    let (all_frames, all_local) = (frames.len(), local.len());
    let (mut frames, mut local) = (frames.into_iter(), local.into_iter());
    let next = || match frames.len() * all_local >= local.len() * all_frames {
        true => frames.next().or_else(|| local.next()),
        false => local.next(),
    };
    std::iter::from_fn(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_and_what_does_not_alternate() {
        for (frames, local) in [(0, 0), (0, 3), (3, 0), (4, 4), (2, 7), (7, 2), (1, 100)] {
            let of = |n: usize, unit: fn(Range<usize>) -> Unit| (0..n).map(|i| unit(i..i)).collect::<Vec<_>>();
            let all = mixed(of(frames, Unit::Frames), of(local, Unit::Small));
            let (mut done, what) = ([0, 0], format!("{frames} and {local}"));
            for unit in &all {
                let (which, at) = match unit {
                    Unit::Frames(at) => (0, at.start),
                    Unit::Small(at) | Unit::Ends(at) => (1, at.start),
                };
                assert_eq!(at, done[which], "{what}: in their orders");
                done[which] += 1;
                // Neither is ahead of the other by more than one.
                let ahead = (done[0] * local).abs_diff(done[1] * frames);
                assert!(frames * local == 0 || ahead <= frames.max(local), "{what}: {done:?}");
            }
            assert_eq!(done, [frames, local], "{what}: all of them");
        }
    }
}
