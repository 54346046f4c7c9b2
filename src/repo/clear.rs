//! Clearing away: merging index segments, and deleting what the gc log doomed.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::writer::put_segment;
use super::{History, Identity, Repository, Session, objects};
use crate::error::{Doing, Error, Result};
use crate::format::codec::encode;
use crate::format::gc::PackName;
use crate::format::names::{self, prefix};
use crate::format::segment::{PackEntry, Row, Segment};
use crate::id::{PackId, SegmentId};
use crate::storage::StorageErrorKind;

/// Rows of a merged segment, at most; a single pack may have more.
pub const MERGED_ROWS: usize = 1 << 18;

/// What a deletion came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Packs that were deleted.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects of any kind that the storage would not delete.
    pub refused: u64,
}

/// Gathers packs of old segments into new ones.
struct Merge<'r> {
    repo: &'r Repository,
    who: &'r Identity,
    session: &'r Session,
    packs: Vec<PackEntry>,
    rows: Vec<Row>,
    frames: u32,
    /// Nobody who is believed said it.
    hearsay: bool,
    out: Vec<SegmentId>,
}

/// Everything that a segment says of each of its packs, in short.
fn tales(segment: &Segment) -> Vec<blake3::Hash> {
    let packs = &segment.head.packs;
    let mut all: Vec<_> = packs.iter().map(|_| blake3::Hasher::new()).collect();
    let mut firsts = Vec::with_capacity(packs.len());
    let mut frame = 0u32;
    for (pack, tale) in packs.iter().zip(&mut all) {
        tale.update(&encode(pack));
        firsts.push(frame);
        frame += pack.frames.len() as u32;
    }
    for row in &segment.rows {
        let Some(at) = firsts.partition_point(|first| *first <= row.frame).checked_sub(1) else { continue };
        all[at].update(&row.id).update(&(row.frame - firsts[at]).to_le_bytes()).update(&row.ordinal.to_le_bytes());
    }
    all.iter().map(blake3::Hasher::finalize).collect()
}

impl Merge<'_> {
    fn add(&mut self, segment: Segment, keep: &mut dyn FnMut(&PackEntry, usize) -> bool) -> Result<()> {
        let (mut moved, mut frame) = (BTreeMap::new(), 0u32);
        for (n, pack) in segment.head.packs.into_iter().enumerate() {
            let frames = pack.frames.len() as u32;
            if keep(&pack, n) {
                moved.insert(frame, (frames, self.frames));
                self.frames += frames;
                self.packs.push(pack);
            }
            frame += frames;
        }
        for row in segment.rows {
            let Some((first, (frames, to))) = moved.range(..=row.frame).next_back() else { continue };
            if row.frame - first < *frames {
                self.rows.push(Row { frame: to + (row.frame - first), ..row });
            }
        }
        if self.rows.len() >= MERGED_ROWS { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        if self.packs.is_empty() {
            return Ok(());
        }
        self.rows.sort_unstable();
        let (packs, rows) = (std::mem::take(&mut self.packs), std::mem::take(&mut self.rows));
        let name = put_segment(self.repo, self.who, self.session, packs, rows, self.hearsay)?;
        self.out.extend(names::parse_segment(&name));
        self.frames = 0;
        Ok(())
    }
}

impl Repository {
    /// Write what segments say of the packs that `keep` wants into new segments; gives their ids. What is
    /// believed is not mixed with the rest: of that, every tale is kept, whoever was the first to tell one.
    pub fn merge_segments(
        &self,
        who: &Identity,
        session: &Session,
        segments: &[SegmentId],
        keep: &dyn Fn(&PackName) -> bool,
    ) -> Result<Vec<SegmentId>> {
        let start = |hearsay| {
            let (packs, rows, out) = (vec![], vec![], vec![]);
            Merge { repo: self, who, session, packs, rows, frames: 0, hearsay, out }
        };
        let (mut believed, mut hearsay) = (start(false), start(true));
        let (mut taken, mut told): (HashSet<PackId>, HashSet<blake3::Hash>) = Default::default();
        for id in segments {
            let segment = self.load_segment(&names::segment(*id))?;
            let keep = |p: &PackEntry| keep(&PackName { id: p.id, uploader: p.uploader });
            if self.believes(&segment.head)? {
                believed.add(segment, &mut |p, _| keep(p) && taken.insert(p.id))?;
            } else {
                let tales = tales(&segment);
                hearsay.add(segment, &mut |p, n| keep(p) && told.insert(tales[n]))?;
            }
        }
        believed.write()?;
        hearsay.write()?;
        believed.out.append(&mut hearsay.out);
        Ok(believed.out)
    }

    /// Delete what the log doomed and is still there: again and again, until it is gone.
    pub fn delete_doomed(&self, history: &History) -> Result<Cleared> {
        let mut done = Cleared::default();
        for listed in self.storage.list(prefix::INDEX)? {
            if names::parse_segment(listed.name.as_str()).is_some_and(|id| history.doomed_index.contains(&id)) {
                self.try_delete(listed.name.as_str(), &mut done)?;
            }
        }
        let mut gone = HashSet::new();
        for listed in self.storage.list(prefix::PACKS)? {
            let Some((id, uploader)) = names::parse_pack(listed.name.as_str()) else { continue };
            if history.log.doomed().contains(&PackName { id, uploader })
                && self.try_delete(listed.name.as_str(), &mut done)?
            {
                gone.insert(id);
                (done.packs, done.bytes) = (done.packs + 1, done.bytes + listed.len);
            }
        }
        for listed in self.storage.list(prefix::PARITY)? {
            if names::parse_parity(listed.name.as_str()).is_some_and(|(id, _)| gone.contains(&id)) {
                self.try_delete(listed.name.as_str(), &mut done)?;
            }
        }
        self.delete_names(history, &mut done)?;
        Ok(done)
    }

    /// Small objects. Of a session the first object goes before the others and the close last, so
    /// that what is left of it never looks like one that is open.
    fn delete_names(&self, history: &History, done: &mut Cleared) -> Result<()> {
        // In the order of names `00000000` comes before other numbers, and those before `close`.
        for name in self.doomed_names_there(history)? {
            self.try_delete(&name, done)?;
        }
        Ok(())
    }

    /// Small objects that the log dooms and that are there, in the order of their names.
    pub fn doomed_names_there(&self, history: &History) -> Result<BTreeSet<String>> {
        let mut there = BTreeSet::new();
        for p in [
            prefix::SESSIONS,
            prefix::SNAPSHOTS,
            prefix::HOLLOW,
            prefix::TOMBSTONES,
            prefix::SUSPECT,
            prefix::NOTES,
            prefix::COPY,
            prefix::GC,
        ] {
            if history.doomed_names.iter().any(|n| n.starts_with(p)) {
                there.extend(self.storage.list(p)?.into_iter().map(|l| l.name.as_str().to_owned()));
            }
        }
        there.retain(|name| history.doomed_names.contains(name));
        Ok(there)
    }

    /// Whether it is gone. What the storage locks is tried again by later runs.
    pub(super) fn try_delete(&self, object: &str, done: &mut Cleared) -> Result<bool> {
        match self.storage.delete(&objects::name(object)?) {
            Ok(()) => Ok(true),
            Err(e) if e.kind == StorageErrorKind::Denied => {
                done.refused += 1;
                Ok(false)
            }
            Err(e) => Err(Error::from(e)).doing(|| format!("while deleting {object}")),
        }
    }
}
