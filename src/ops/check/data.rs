//! Reading packs from beginning to end: the hash of all of it is its name, and every blob in it is
//! what the table and the index say.
//!
//! Each thread streams one pack through one buffer, so memory does not depend on how long packs
//! are. There are two threads more than fetch usually, which wait for the disk while others compute.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::error::{Error, ErrorKind, Result};
use crate::event::{Context, Meter};
use crate::format::names;
use crate::format::pack::{FOOTER_LEN, Footer, HEADER_LEN, Header, Kind, Table};
use crate::id::{BlobId, PackId};
use crate::index::Pack;
use crate::ops::locked;
use crate::repo::Reader;
use crate::storage::Name;

/// Bytes that are read at a time.
const PIECE: usize = 2 << 20;
/// How many threads read beside those that usually fetch.
pub const READERS: usize = 2;
/// A pack is bad only if it was bad so often: memory and cables err, too.
const TRIES: u32 = 3;

/// A pack that is not what it should be.
pub struct Broken {
    /// Its number in the index.
    pub pack: u32,
    /// Why.
    pub error: Error,
}

/// Read these packs; gives the broken ones, in order.
pub fn read(reader: &Reader<'_>, packs: &[u32], threads: usize, cx: &Context<'_>) -> Result<Vec<Broken>> {
    let (next, broken, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(None));
    let work = || {
        let mut scratch = Scratch::default();
        while let Some(pack) = packs.get(next.fetch_add(1, Relaxed)) {
            match one(reader, *pack, &mut scratch, cx) {
                Ok(None) => {}
                Ok(Some(b)) => locked(&broken).push(b),
                Err(e) => {
                    next.store(packs.len(), Relaxed);
                    *locked(&failed) = Some(e);
                }
            }
            Meter::add(&cx.meter.files_done, 1);
        }
    };
    std::thread::scope(|s| {
        (0..threads).for_each(|_| drop(s.spawn(work)));
    });
    if let Some(e) = locked(&failed).take() {
        return Err(e);
    }
    let mut broken = broken.into_inner().unwrap_or_else(|p| p.into_inner());
    broken.sort_by_key(|b: &Broken| b.pack);
    Ok(broken)
}

fn one(reader: &Reader<'_>, n: u32, scratch: &mut Scratch, cx: &Context<'_>) -> Result<Option<Broken>> {
    let mut tries = 0;
    loop {
        tries += 1;
        match (Pass { reader, pack: reader.index().pack(n), cx, first: tries == 1 }).run(scratch) {
            Ok(()) => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Cancelled => return Err(e),
            // What a header names is only what somebody wrote there: an epoch that there never was is
            // damage, one whose secret this key does not have is not.
            Err(e) if e.kind() == ErrorKind::Forbidden => {
                let epoch = reader.index().pack(n).header.epoch;
                if reader.repo().knows_epoch(epoch) {
                    return Err(e);
                }
                let error = damaged(format!("its header names epoch {epoch} of the keys, which there never was"));
                return Ok(Some(Broken { pack: n, error }));
            }
            Err(_) if tries < TRIES => {}
            Err(error) => return Ok(Some(Broken { pack: n, error })),
        }
    }
}

/// What a thread uses again and again.
#[derive(Default)]
struct Scratch {
    buffer: Vec<u8>,
    plain: Vec<u8>,
    ids: Vec<BlobId>,
}

/// One reading of one pack.
struct Pass<'a> {
    reader: &'a Reader<'a>,
    pack: &'a Pack,
    cx: &'a Context<'a>,
    first: bool,
}

/// A pack's bytes, in order, each hashed once.
struct Stream<'a> {
    pass: &'a Pass<'a>,
    name: Name,
    hash: blake3::Hasher,
    read: u64,
    /// What of the buffer is not used up yet.
    held: Range<usize>,
}

fn damaged(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Damaged, what)
}

impl Stream<'_> {
    /// Make sure that the next `want` bytes are in the buffer; gives where.
    fn ahead(&mut self, want: usize, buffer: &mut Vec<u8>) -> Result<Range<usize>> {
        if self.held.len() < want {
            buffer.copy_within(self.held.clone(), 0);
            self.held = 0..self.held.len();
            let left = usize::try_from(self.pass.pack.len - self.read).unwrap_or(usize::MAX);
            let more = PIECE.max(want - self.held.len()).min(left);
            if self.held.len() + more < want {
                return Err(damaged("it is shorter than the index says"));
            }
            self.pass.cx.check()?;
            let end = self.held.end + more;
            buffer.resize(buffer.len().max(end), 0);
            let fresh = &mut buffer[self.held.end..end];
            self.pass.reader.repo().storage().get_range(&self.name, self.read, fresh)?;
            self.hash.update(fresh);
            self.read += more as u64;
            self.held.end = end;
            if self.pass.first {
                Meter::add(&self.pass.cx.meter.bytes_done, more as u64);
            }
        }
        Ok(self.held.start..self.held.start + want)
    }

    fn take(&mut self, n: usize, buffer: &mut Vec<u8>) -> Result<Range<usize>> {
        let range = self.ahead(n, buffer)?;
        self.held.start = range.end;
        Ok(range)
    }
}

impl Pass<'_> {
    fn run(&self, scratch: &mut Scratch) -> Result<()> {
        let Scratch { buffer, plain, ids } = scratch;
        let name = Name::new(names::pack(self.pack.id, self.pack.uploader))
            .map_err(|e| Error::new(ErrorKind::Bug, e.to_string()))?;
        let mut stream = Stream { pass: self, name, hash: blake3::Hasher::new(), read: 0, held: 0..0 };
        ids.clear();
        let mut wrong = self.header(&mut stream, buffer);
        // Damage does not end the reading: whether the hash holds tells a bad disk from a bad index.
        for n in self.pack.first_frame..self.pack.first_frame + self.pack.frames {
            let at = stream.take(self.reader.index().frame(n).entry.stored as usize, buffer)?;
            if wrong.is_ok() {
                wrong = self.frame(n, &mut buffer[at], plain, ids);
            }
        }
        let tail = usize::try_from(self.pack.len - stream.read).unwrap_or(usize::MAX) + stream.held.len();
        let at = stream.take(tail, buffer)?;
        if PackId(*stream.hash.finalize().as_bytes()) != self.pack.id {
            let error = damaged("its bytes are not those that were written");
            return Err(match wrong {
                Err(e) => error.because(e),
                Ok(()) => error,
            });
        }
        wrong?;
        self.tail(&mut buffer[at], ids)
    }

    fn header(&self, stream: &mut Stream<'_>, buffer: &mut Vec<u8>) -> Result<()> {
        let at = stream.take(HEADER_LEN, buffer)?;
        match Header::parse(&buffer[at])? == self.pack.header {
            true => Ok(()),
            false => Err(damaged("its header is not what the index says")),
        }
    }

    fn frame(&self, n: u32, sealed: &mut [u8], plain: &mut Vec<u8>, ids: &mut Vec<BlobId>) -> Result<()> {
        let ranges = self.reader.open_frame_into(n, sealed, plain)?;
        let keys = self.reader.repo().keys();
        for (ordinal, range) in ranges.into_iter().enumerate() {
            let id = match self.pack.kind {
                Kind::Data => keys.chunk_id(&plain[range]),
                Kind::Tree => keys.page_id(&plain[range]),
            };
            let here = |at: &crate::index::Location| at.frame == n && usize::from(at.ordinal) == ordinal;
            if !self.reader.index().find_all(&id)?.iter().any(here) {
                return Err(damaged(format!("blob {} in it is not what the index says", id.short())));
            }
            ids.push(id);
        }
        Ok(())
    }

    /// The table, which is what an index is made from again.
    fn tail(&self, bytes: &mut [u8], ids: &[BlobId]) -> Result<()> {
        let at = bytes.len().checked_sub(FOOTER_LEN).ok_or_else(|| damaged("it has no footer"))?;
        let (sealed, footer) = bytes.split_at_mut(at);
        let footer = Footer::parse(footer, self.pack.len)?;
        if footer.table_len as usize != sealed.len() {
            return Err(damaged("its table is not where the index says"));
        }
        let table = self.reader.repo().open_table(&self.pack.header, &footer, sealed)?;
        if self.agrees(&table, ids) { Ok(()) } else { Err(damaged("its table and its contents disagree")) }
    }

    fn agrees(&self, table: &Table, ids: &[BlobId]) -> bool {
        let index = self.reader.index();
        let frames = (self.pack.first_frame..).take(self.pack.frames as usize).map(|n| index.frame(n).entry);
        table.kind == self.pack.kind && table.ids == ids && frames.eq(table.frames.iter().copied())
    }
}
