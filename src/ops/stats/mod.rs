//! How much there is: what restores would write, what is stored, who needs it.
//!
//! Every number is exact and every page is read as seldom as the question allows: once for what is
//! stored, once or twice for who needs it. What is remembered is a bit or a number for each blob, and
//! sets of hashes that move to a file when they grow.

mod restored;
mod usage;
mod walk;

pub use usage::{Usage, usage};

use restored::restored;
use walk::{Visit, each_page};

use crate::error::Result;
use crate::event::Context;
use crate::format::pack::Kind;
use crate::id::BlobId;
use crate::index::{Digests, Index, Location, Marks, Numbers};
use crate::model::{Content, Extent, Node, NodeKind, PageRef};
use crate::ops::needs::blobs_of;
use crate::repo::{Extents, Reader, Snapshot};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What a restore of each snapshot would write; hard links once.
    RestoreSize,
    /// Files with the same content once.
    FilesByContents,
    /// Each blob once.
    RawData,
    /// Each chunk once for each path that has it; files with the same content once.
    BlobsPerFile,
}

/// Sums; what a mode does not count is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Snapshots that were looked at.
    pub snapshots: u64,
    /// Entries of any type for [`Mode::RestoreSize`], else files.
    pub files: u64,
    /// Chunks, with [`Mode::RawData`] pages, too.
    pub blobs: u64,
    /// Bytes: of files, or stored.
    pub bytes: u64,
    /// Bytes of the blobs before compression.
    pub plain: u64,
}

/// Count.
pub fn totals(reader: &Reader<'_>, snapshots: &[&Snapshot], mode: Mode, cx: &Context<'_>) -> Result<Totals> {
    let mut totals = match mode {
        Mode::RestoreSize => restored(reader, snapshots, cx)?,
        Mode::RawData => raw(reader, snapshots, cx)?,
        Mode::FilesByContents | Mode::BlobsPerFile => {
            let mut contents = Contents::new(reader, mode);
            each_page(reader, snapshots, cx, &mut contents)?;
            contents.totals
        }
    };
    totals.snapshots = snapshots.len() as u64;
    Ok(totals)
}

/// What a blob takes in its pack, in units of 2⁻³² bytes: frames are compressed as a whole, so each
/// blob has the share of its length.
struct Share(u128);

impl Share {
    fn of(index: &Index, at: Location, bytes: u64) -> Self {
        let frame = index.frame(at.frame).entry;
        let room = u64::from(frame.plain).saturating_sub(4 * u64::from(frame.blobs)).max(1);
        Self((u128::from(bytes.min(room)) << 32) * u128::from(frame.stored) / u128::from(room))
    }
}

/// A sum of shares in bytes.
fn whole_bytes(shares: u128) -> u64 {
    u64::try_from((shares + (1 << 31)) >> 32).unwrap_or(u64::MAX)
}

fn raw(reader: &Reader<'_>, snapshots: &[&Snapshot], cx: &Context<'_>) -> Result<Totals> {
    let mut raw = Raw::new(reader);
    each_page(reader, snapshots, cx, &mut raw)?;
    Ok(Totals { bytes: whole_bytes(raw.stored), ..raw.totals })
}

/// Each blob once.
struct Raw<'r> {
    reader: &'r Reader<'r>,
    numbers: Numbers,
    seen: Marks,
    stored: u128,
    totals: Totals,
}

impl<'r> Raw<'r> {
    fn new(reader: &'r Reader<'r>) -> Self {
        let numbers = Numbers::new(reader.index(), |_| true);
        let seen = Marks::new(&numbers);
        Self { reader, numbers, seen, stored: 0, totals: Totals::default() }
    }

    fn count(&mut self, at: Location, bytes: u64) {
        self.stored += Share::of(self.reader.index(), at, bytes).0;
        self.totals.blobs += 1;
        self.totals.plain += bytes;
    }

    fn blob(&mut self, id: &BlobId, bytes: u64) -> Result<()> {
        if let Some(at) = self.reader.index().find(id)?
            && self.seen.set(self.numbers.of(at))
        {
            self.count(at, bytes);
        }
        Ok(())
    }
}

impl Visit for Raw<'_> {
    fn enter(&mut self, page: &PageRef) -> Result<bool> {
        let at = self.reader.index().find(&page.id)?;
        Ok(at.is_none_or(|at| self.seen.set(self.numbers.of(at))))
    }
    fn page(&mut self, page: &PageRef, bytes: u64) -> Result<()> {
        if let Some(at) = self.reader.index().find(&page.id)? {
            self.count(at, bytes);
        }
        Ok(())
    }
    fn node(&mut self, _: &[u8], node: &Node) -> Result<()> {
        let reader = self.reader;
        blobs_of(reader, node, &mut |_, id, bytes| self.blob(id, bytes))
    }
}

/// Files by what is in them.
struct Contents<'r> {
    reader: &'r Reader<'r>,
    numbers: Numbers,
    pages: Marks,
    per_file: bool,
    seen: Digests,
    totals: Totals,
}

impl<'r> Contents<'r> {
    fn new(reader: &'r Reader<'r>, mode: Mode) -> Self {
        let numbers = Numbers::new(reader.index(), |kind| kind == Kind::Tree);
        let (pages, per_file) = (Marks::new(&numbers), mode == Mode::BlobsPerFile);
        Self { reader, numbers, pages, per_file, seen: Digests::default(), totals: Totals::default() }
    }

    fn blobs(&mut self, path: &[u8], content: &Content) -> Result<()> {
        let mut files = u64::from(self.seen.insert(&digest(&[b"path", path]))?);
        let mut extents = Extents::new(self.reader, content);
        if let Content::Inline(bytes) = content {
            files *= u64::from(!bytes.is_empty());
            self.totals.bytes += bytes.len() as u64;
        }
        while let Some(extent) = extents.next()? {
            if let Extent::Data { id, len, .. } = extent
                && self.seen.insert(&digest(&[b"blob", &id.0, path]))?
            {
                self.totals.blobs += 1;
                self.totals.bytes += u64::from(len);
            }
        }
        self.totals.files += files;
        Ok(())
    }
}

impl Visit for Contents<'_> {
    fn enter(&mut self, page: &PageRef) -> Result<bool> {
        let at = self.reader.index().find(&page.id)?;
        Ok(at.is_none_or(|at| self.pages.set(self.numbers.of(at))))
    }
    fn page(&mut self, _: &PageRef, _: u64) -> Result<()> {
        Ok(())
    }
    fn node(&mut self, path: &[u8], node: &Node) -> Result<()> {
        let NodeKind::File { size, content } = &node.kind else { return Ok(()) };
        if !self.seen.insert(&content_digest(content))? {
            return Ok(());
        }
        if self.per_file {
            return self.blobs(path, content);
        }
        self.totals.files += 1;
        self.totals.bytes += size;
        Ok(())
    }
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// What a content is, whatever cut it.
fn content_digest(content: &Content) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    match content {
        Content::Inline(bytes) => hasher.update(b"inline").update(bytes),
        Content::Pages { root, .. } => hasher.update(b"pages").update(&root.id.0),
        Content::Extents { extents, .. } => {
            extents.iter().fold(hasher.update(b"extents"), |hasher, extent| match extent {
                Extent::Data { id, repeat, .. } => hasher.update(&id.0).update(&repeat.to_le_bytes()),
                Extent::Hole { len } => hasher.update(&[0; 32]).update(&len.to_le_bytes()),
            })
        }
    };
    *hasher.finalize().as_bytes()
}
