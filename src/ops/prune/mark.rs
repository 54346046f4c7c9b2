//! What is needed: every page of every root, once, and what each names.
//!
//! A blob is marked where it will be kept: in the best of its copies. Two bits a blob and four bytes
//! a frame, whatever the number of snapshots.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::collect::{Live, Standing};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Context;
use crate::format::limits::DEPTH_MAX;
use crate::format::pack::Kind;
use crate::format::page::Page;
use crate::id::BlobId;
use crate::index::{Index, Location};
use crate::model::ext::decode_xattrs;
use crate::model::{Content, Extent, Node, NodeKind, PageRef, XattrValue, ext_tag};
use crate::ops::stack;
use crate::repo::Reader;

/// Which blobs are needed.
pub struct Marks {
    /// The first bit of each frame.
    starts: Vec<u32>,
    bits: Vec<AtomicU64>,
    /// Plain bytes of each frame that are needed.
    live: Vec<AtomicU32>,
    /// Packs that hold the copy that is kept of something that is in others, too.
    relied: Vec<AtomicBool>,
    /// Blobs that such packs are relied on for, and nobody who is believed says that they are there.
    doubted: Vec<AtomicU64>,
    /// Whose file each frame is of: frames are not mixed when they are packed again.
    owners: Vec<AtomicU32>,
}

impl Marks {
    /// Nothing is needed yet.
    pub fn new(index: &Index) -> Self {
        let (mut starts, mut bits) = (Vec::with_capacity(index.frames()), 0u32);
        for n in 0..index.frames() as u32 {
            starts.push(bits);
            bits = bits.saturating_add(index.frame(n).entry.blobs.into());
        }
        let zeros = || (0..starts.len()).map(|_| AtomicU32::new(0)).collect();
        let words = || (0..bits / 64 + 1).map(|_| AtomicU64::new(0)).collect();
        Self {
            bits: words(),
            doubted: words(),
            live: zeros(),
            relied: index.packs().iter().map(|_| AtomicBool::new(false)).collect(),
            owners: zeros(),
            starts,
        }
    }

    fn bit(&self, at: Location) -> (usize, u64) {
        let bit = self.starts[at.frame as usize] as usize + usize::from(at.ordinal);
        (bit / 64, 1 << (bit % 64))
    }

    /// Whether this is the first time.
    pub fn mark(&self, at: Location) -> bool {
        let (word, mask) = self.bit(at);
        self.bits.get(word).is_none_or(|w| w.fetch_or(mask, Relaxed) & mask == 0)
    }

    /// So many bytes at a place are needed, of a file of this owner.
    pub fn add(&self, at: Location, len: u32, owner: u32) {
        self.live[at.frame as usize].fetch_add(len, Relaxed);
        self.owners[at.frame as usize].store(owner, Relaxed);
    }

    /// Packs that are relied on to hold what other packs have, too (I12).
    pub fn relied(&self) -> Vec<u32> {
        (0..).zip(&self.relied).filter(|(_, r)| r.load(Relaxed)).map(|(n, _)| n).collect()
    }

    /// A copy is relied on in place of others. Where nobody who is believed says that it is there, it has to
    /// be looked at.
    fn rely(&self, at: Location, index: &Index) {
        let pack = index.frame(at.frame).pack;
        self.relied[pack as usize].store(true, Relaxed);
        if !index.pack(pack).vouched {
            let (word, mask) = self.bit(at);
            self.doubted.get(word).map(|w| w.fetch_or(mask, Relaxed));
        }
    }

    /// Whether a copy has to be looked at before others are given up for it.
    pub fn doubts(&self, at: Location) -> bool {
        let (word, mask) = self.bit(at);
        self.doubted.get(word).is_none_or(|w| w.load(Relaxed) & mask != 0)
    }

    /// Whether a blob is needed there.
    pub fn needs(&self, at: Location) -> bool {
        let (word, mask) = self.bit(at);
        self.bits.get(word).is_none_or(|w| w.load(Relaxed) & mask != 0)
    }

    /// Plain bytes of a frame that are needed.
    pub fn live(&self, frame: u32) -> u32 {
        self.live[frame as usize].load(Relaxed)
    }

    /// Whose file a frame is of.
    pub fn owner(&self, frame: u32) -> u32 {
        self.owners[frame as usize].load(Relaxed)
    }

    /// How many blobs of a frame are needed.
    pub fn blobs(&self, index: &Index, frame: u32) -> u32 {
        let blobs = index.frame(frame).entry.blobs;
        (0..blobs).filter(|ordinal| self.needs(Location { frame, ordinal: *ordinal })).count() as u32
    }

    /// How much of a pack is needed.
    pub fn of_pack(&self, index: &Index, pack: u32) -> Live {
        let p = index.pack(pack);
        let frames = p.first_frame..p.first_frame + p.frames;
        let (mut needed, mut all) = (0, 0);
        for frame in frames {
            needed += self.blobs(index, frame);
            all += u32::from(index.frame(frame).entry.blobs);
        }
        match needed {
            0 => Live::None,
            n if n < all => Live::Some,
            _ => Live::All,
        }
    }
}

struct Task {
    page: PageRef,
    dir: bool,
    depth: usize,
    owner: u32,
}

/// Walks roots.
pub struct Marker<'a> {
    /// Whether to stop.
    pub cx: &'a Context<'a>,
    /// Fetches pages.
    pub reader: &'a Reader<'a>,
    /// How good copies are, by the number of the pack.
    pub standing: &'a [Standing],
    /// What was marked.
    pub marks: &'a Marks,
    /// What is missing and what cannot be read does not stop it.
    pub tolerant: bool,
    /// Told of every blob when it is marked for the first time.
    pub found: Option<Found<'a>>,
}

/// Hears of a blob, where it is, its length and its owner.
pub type Found<'a> = &'a (dyn Fn(&BlobId, Location, u32, u32) -> Result<()> + Sync);

impl Marker<'_> {
    /// Mark all that a root needs.
    pub fn root(&self, page: PageRef, threads: usize) -> Result<()> {
        let top = Task { page, dir: true, depth: 0, owner: 0 };
        stack::work_off(top, threads, |task| self.cx.check().and_then(|()| self.visit(task)))
    }

    fn visit(&self, task: &Task) -> Result<Vec<Task>> {
        match self.try_visit(task) {
            Err(e) if self.tolerant && matches!(e.kind(), ErrorKind::Missing | ErrorKind::Damaged) => Ok(vec![]),
            other => other,
        }
    }

    fn try_visit(&self, task: &Task) -> Result<Vec<Task>> {
        let Some(at) = self.place(&task.page.id, Kind::Tree)? else { return Ok(vec![]) };
        if !self.marks.mark(at) {
            return Ok(vec![]);
        }
        if task.depth > DEPTH_MAX {
            return Err(Error::new(ErrorKind::Damaged, "directories are nested deeper than any file system has them"));
        }
        let (page, len) = self.reader.page_sized(&task.page)?;
        self.marks.add(at, len as u32, 0);
        self.found.map_or(Ok(()), |found| found(&task.page.id, at, len as u32, 0))?;
        let mut below = Vec::new();
        match (task.dir, page) {
            (true, Page::Dir(nodes)) => nodes.iter().try_for_each(|n| self.node(n, task, &mut below))?,
            (true, Page::DirInner(level, children)) => {
                below.extend(children.iter().map(|c| Task { page: c.below(level), ..*task }));
            }
            (false, Page::List(extents)) => self.extents(&extents, task.owner)?,
            (false, Page::ListInner(level, children)) => {
                below.extend(children.iter().map(|c| Task { page: c.below(level), ..*task }));
            }
            _ => {
                let what = format!("page {} is not what the page above it says", task.page.id.short());
                return Err(Error::new(ErrorKind::Damaged, what));
            }
        }
        Ok(below)
    }

    fn node(&self, node: &Node, task: &Task, below: &mut Vec<Task>) -> Result<()> {
        let depth = task.depth + 1;
        match &node.kind {
            NodeKind::Dir { root: Some(root) } => below.push(Task { page: *root, dir: true, depth, owner: node.uid }),
            NodeKind::File { content: Content::Pages { root, .. }, .. } => {
                below.push(Task { page: *root, dir: false, depth, owner: node.uid });
            }
            NodeKind::File { content: Content::Extents { extents, .. }, .. } => self.extents(extents, node.uid)?,
            _ => {}
        }
        let Some(ext) = node.ext(ext_tag::XATTRS) else { return Ok(()) };
        let senseless = |e| Error::new(ErrorKind::Damaged, "the attributes of a file make no sense").because(e);
        for x in decode_xattrs(&ext.data).map_err(senseless)? {
            if let XattrValue::Chunk { id, len } = x.value {
                self.chunk(&id, len, node.uid)?;
            }
        }
        Ok(())
    }

    fn extents(&self, extents: &[Extent], owner: u32) -> Result<()> {
        for e in extents {
            if let Extent::Data { id, len, .. } = e {
                self.chunk(id, *len, owner)?;
            }
        }
        Ok(())
    }

    fn chunk(&self, id: &BlobId, len: u32, owner: u32) -> Result<()> {
        let Some(at) = self.place(id, Kind::Data)? else { return Ok(()) };
        if self.marks.mark(at) {
            self.marks.add(at, len, owner);
            self.found.map_or(Ok(()), |found| found(id, at, len, owner))?;
        }
        Ok(())
    }

    /// The copy that is kept: of those that are equally good, one that somebody who is believed tells of.
    fn place(&self, id: &BlobId, kind: Kind) -> Result<Option<Location>> {
        let index = self.reader.index();
        let pack_of = |at: &Location| index.frame(at.frame).pack;
        let of_kind = index.find_all(id)?.into_iter().filter(|at| index.pack(pack_of(at)).kind == kind);
        let worth = |at: &Location| (self.standing[pack_of(at) as usize], !index.pack(pack_of(at)).vouched);
        let mut copies: Vec<_> = of_kind.map(|at| (worth(&at), at)).collect();
        copies.retain(|((standing, _), _)| *standing < Standing::None);
        copies.sort_unstable();
        copies.dedup();
        match copies.first() {
            Some((best, at)) => {
                if copies.len() > 1 {
                    // All that may be lies are looked at in one go: else each would take a marking of its own.
                    let alike = copies.iter().take_while(|(worth, _)| worth == best);
                    alike.take(if best.1 { usize::MAX } else { 1 }).for_each(|(_, at)| self.marks.rely(*at, index));
                }
                Ok(Some(*at))
            }
            _ if self.tolerant => Ok(None),
            _ => {
                let what = if kind == Kind::Tree { "page" } else { "chunk" };
                Err(Error::new(ErrorKind::Missing, format!("{what} {} is in no pack that can be read", id.short())))
            }
        }
    }
}
