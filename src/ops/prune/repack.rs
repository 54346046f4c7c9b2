//! Writing what is needed of a pack elsewhere, before the pack is condemned.

use rayon::prelude::*;

use super::mark::Marks;
use super::survey::name_of;
use crate::compress::decompress;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Context, Meter};
use crate::format::gc::PackName;
use crate::format::limits::{FRAME_TARGET, FRAME_TARGET_LONG, FRAME_TARGET_SMALL};
use crate::format::names;
use crate::format::pack::{Kind, Table, blob_ranges};
use crate::id::BlobId;
use crate::index::{Index, Location};
use crate::repo::{FrameScope, Reader, Repository, Writer};

/// Neighbouring frames that are fetched together, in bytes.
const FETCH: u64 = 4 << 20;

/// A collector at work on packs.
pub struct Repacking<'a> {
    /// The repository.
    pub repo: &'a Repository,
    /// What is needed.
    pub marks: &'a Marks,
    /// Nothing that nobody needs moves with it.
    pub tight: bool,
    /// Reads the old packs.
    pub reader: &'a Reader<'a>,
    /// Writes the new ones.
    pub writer: &'a Writer<'a>,
    /// Who is told.
    pub cx: &'a Context<'a>,
}

/// Whether a frame moves as it is: if three quarters of it are needed, what is dead in it included;
/// where that is too much, only if all of it is needed.
pub fn moves_whole(index: &Index, marks: &Marks, frame: u32, tight: bool) -> bool {
    let entry = index.frame(frame).entry;
    if tight {
        return marks.blobs(index, frame) == u32::from(entry.blobs);
    }
    let whole = u64::from(entry.plain).saturating_sub(4 * u64::from(entry.blobs));
    u64::from(marks.live(frame)) * 4 >= whole * 3
}

impl Repacking<'_> {
    /// Repack these packs of the index, which is as of this generation of the log; gives those whose live
    /// blobs are all elsewhere now. When this returns, the new packs and their segments are durable.
    pub fn run(&self, packs: &[u32], seen_gen: u64) -> Result<Vec<PackName>> {
        let one = |n: &u32| self.try_pack(*n, seen_gen);
        let done: Vec<Option<PackName>> = packs.par_iter().map(one).collect::<Result<Vec<_>>>()?;
        self.writer.finish()?;
        Ok(done.into_iter().flatten().collect())
    }

    /// A pack that turns out to be bad stays, and is named: what could be read of it is stored twice
    /// now, which does no harm.
    fn try_pack(&self, n: u32, seen_gen: u64) -> Result<Option<PackName>> {
        self.cx.check()?;
        let pack = self.reader.index().pack(n);
        match self.pack(n) {
            Ok(()) => {
                Meter::add(&self.cx.meter.files_done, 1);
                Ok(Some(name_of(pack)))
            }
            // Somebody else condemned and deleted it: all has to be looked at again.
            Err(e) if e.kind() == ErrorKind::Missing && self.repo.log_went_on(seen_gen)? => Err(e),
            Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::Missing) => {
                let what = format!("{e}; it is left as it is, `orlop check --read-data` tells what it affects");
                self.cx.problem("damaged", pack.id.hex().as_bytes(), "repack", what);
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Write what is needed of one pack.
    pub fn pack(&self, n: u32) -> Result<()> {
        let index = self.reader.index();
        let pack = index.pack(n);
        let (_, table) = self.repo.read_table(&names::pack(pack.id, pack.uploader), pack.len)?;
        let frames: Vec<u32> = (pack.first_frame..pack.first_frame + pack.frames).collect();
        let entries = frames.iter().map(|f| index.frame(*f).entry);
        if table.kind != pack.kind || !table.frames.iter().copied().eq(entries) {
            return Err(Error::new(ErrorKind::Damaged, "its table and the index do not agree"));
        }
        let live: Vec<u32> = frames.into_iter().filter(|f| self.marks.blobs(index, *f) > 0).collect();
        let mut buffer = Vec::new();
        for run in live.chunk_by(|a, b| a + 1 == *b) {
            let mut rest = run;
            while let Some(first) = rest.first() {
                let from = u64::from(index.frame(*first).offset);
                let end = |f: &u32| u64::from(index.frame(*f).offset) + u64::from(index.frame(*f).entry.stored);
                let take = rest.iter().take_while(|f| end(f) - from <= FETCH).count().max(1);
                let last = rest[take - 1];
                self.reader.read_frames(*first, last, &mut buffer)?;
                let mut bytes = &mut buffer[..];
                for f in &rest[..take] {
                    let (frame, after) = bytes.split_at_mut(index.frame(*f).entry.stored as usize);
                    self.frame(*f, frame, &table, pack.first_frame)?;
                    bytes = after;
                }
                rest = &rest[take..];
            }
        }
        Ok(())
    }

    /// A frame moves as it is, or what is needed of it is framed and compressed anew.
    fn frame(&self, n: u32, sealed: &mut [u8], table: &Table, first_frame: u32) -> Result<()> {
        let index = self.reader.index();
        let (entry, kind) = (index.frame(n).entry, table.kind);
        let packed = self.reader.unseal(n, sealed)?;
        let mut plain = Vec::new();
        decompress(entry.codec, packed, entry.plain as usize, &mut plain)?;
        let ranges = blob_ranges(&plain, entry.blobs)?;
        let before: usize = table.frames[..(n - first_frame) as usize].iter().map(|f| usize::from(f.blobs)).sum();
        let ids = &table.ids[before..before + ranges.len()];
        for (range, id) in ranges.iter().zip(ids) {
            self.check(kind, id, &plain[range.clone()])?;
        }
        if moves_whole(index, self.marks, n, self.tight) {
            return self.writer.move_frame(kind, entry, ids, packed);
        }
        let target = match kind {
            Kind::Tree => FRAME_TARGET_SMALL,
            // As long as those of its file are.
            Kind::Data if entry.plain as usize > FRAME_TARGET => FRAME_TARGET_LONG,
            Kind::Data => FRAME_TARGET,
        };
        let scope = FrameScope { source: 0, uid: self.marks.owner(n), target: target as u32 };
        for (ordinal, (range, id)) in ranges.into_iter().zip(ids).enumerate() {
            if self.marks.needs(Location { frame: n, ordinal: ordinal as u16 }) {
                self.writer.again(kind, scope, *id, &plain[range])?;
            }
        }
        Ok(())
    }

    fn check(&self, kind: Kind, id: &BlobId, bytes: &[u8]) -> Result<()> {
        let keys = self.repo.keys();
        let named = if kind == Kind::Data { keys.chunk_id(bytes) } else { keys.page_id(bytes) };
        if named == *id {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Damaged, format!("blob {} is not what its name says", id.short())))
    }
}
