//! Fetching blobs: find, read the frame, open, decompress, check the name.
//!
//! Frames that were decoded lately are kept, up to a bound in bytes: neighbours are asked for
//! together. Every blob is checked against its name each time it is handed out.

use std::collections::{HashMap, HashSet};
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, OnceLock};

use super::{History, Repository, locked};
use crate::compress::decompress;
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::format::gc::PackName;
use crate::format::keys::Role;
use crate::format::pack::{Kind, PackKey, blob_ranges};
use crate::format::page::Page;
use crate::format::{names, segment};
use crate::id::{BlobId, SegmentId};
use crate::index::{Index, Location};
use crate::model::PageRef;

/// How often the index is listed anew when a collector replaces segments meanwhile.
const RELOADS: usize = 5;
/// Decoded frames that are kept.
const CACHE_BYTES: usize = 20 << 20;

/// Stored bytes of neighbouring tree frames that are read in one go: at first, and at most. It doubles with
/// each go, so that who wants one page does not fetch many.
const STRETCH: u64 = 32 << 10;
const STRETCH_MAX: u64 = 2 << 20;

/// Fetches blobs.
pub struct Reader<'r> {
    repo: &'r Repository,
    index: &'r Index,
    /// An index that was loaded anew, once something was not where it should be.
    fresh: OnceLock<Option<Box<Index>>>,
    keys: Vec<Mutex<Option<Arc<PackKey>>>>,
    cache: Mutex<Cache>,
    /// How far whoever reads on reads next.
    stretch: Mutex<u64>,
}

/// A decoded frame.
pub struct Decoded {
    plain: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

impl Decoded {
    /// One of its blobs.
    pub fn blob(&self, ordinal: u16) -> Option<&[u8]> {
        self.plain.get(self.ranges.get(usize::from(ordinal))?.clone())
    }
    /// Several of its blobs, one after another.
    pub fn together(&self, first: u16, last: u16) -> Option<&[u8]> {
        let (first, last) = (self.ranges.get(usize::from(first))?, self.ranges.get(usize::from(last))?);
        self.plain.get(first.start..last.end)
    }
    /// How many it has.
    pub fn blobs(&self) -> usize {
        self.ranges.len()
    }
}

/// A verified blob.
pub struct Blob {
    frame: Arc<Decoded>,
    range: Range<usize>,
}

impl Deref for Blob {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.frame.plain[self.range.clone()]
    }
}

/// Frames by age: the two halves are swapped when the younger one is full.
#[derive(Default)]
struct Cache {
    young: HashMap<u32, Arc<Decoded>>,
    old: HashMap<u32, Arc<Decoded>>,
    bytes: usize,
}

impl Cache {
    fn get(&mut self, n: u32) -> Option<Arc<Decoded>> {
        if let Some(f) = self.young.get(&n) {
            return Some(f.clone());
        }
        let f = self.old.remove(&n)?;
        self.put(n, f.clone());
        Some(f)
    }
    fn put(&mut self, n: u32, f: Arc<Decoded>) {
        self.bytes += f.plain.len();
        self.young.insert(n, f);
        if self.bytes > CACHE_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
    }
}

/// Which errors of one object do not end the run.
type Pass = fn(&Error) -> bool;

impl Repository {
    /// Load every index segment, to read what it leads to. Those that are damaged or by strangers, or that a
    /// disk cannot read, are told to `trouble` and left out; those that contradict others are told, too.
    pub fn load_index(&self, trouble: &dyn Fn(&str, Error)) -> Result<Index> {
        // Whoever lists snapshots is told what is lost of the log.
        let history = self.history_to_read(&|_, _| {})?;
        self.load_index_despite(&history, Error::is_from_the_disk, trouble, &mut |_, _| {})
    }

    /// The same to decide by it, and by a state of the gc log that is known: what it doomed is not there. What a
    /// disk cannot read may come back, so it ends the run.
    pub fn load_index_as_of(&self, history: &History, trouble: &dyn Fn(&str, Error)) -> Result<Index> {
        self.load_index_with(history, trouble, &mut |_, _| {})
    }

    /// The same, showing every segment to `look`.
    pub fn load_index_with(
        &self,
        history: &History,
        trouble: &dyn Fn(&str, Error),
        look: &mut dyn FnMut(SegmentId, &segment::Segment),
    ) -> Result<Index> {
        self.load_index_despite(history, |_| false, trouble, look)
    }

    fn load_index_despite(
        &self,
        history: &History,
        pass: Pass,
        trouble: &dyn Fn(&str, Error),
        look: &mut dyn FnMut(SegmentId, &segment::Segment),
    ) -> Result<Index> {
        let (mut index, mut known) = (Index::default(), HashSet::new());
        // A segment that went since it was listed is contained in one that has come since.
        for _ in 0..RELOADS {
            let gone = self.load_segments(&mut index, &mut known, history, pass, trouble, look)?;
            if !gone {
                index.distrust(|p| history.log.doomed().contains(&PackName { id: p.id, uploader: p.uploader }));
                return Ok(index);
            }
        }
        let what = "the index changes faster than it can be read";
        Err(Error::new(ErrorKind::Missing, what).hint("run the same command again"))
    }

    /// Load the segments that are not known yet; whether one had gone since it was listed.
    fn load_segments(
        &self,
        index: &mut Index,
        known: &mut HashSet<String>,
        history: &History,
        pass: Pass,
        trouble: &dyn Fn(&str, Error),
        look: &mut dyn FnMut(SegmentId, &segment::Segment),
    ) -> Result<bool> {
        let mut gone = false;
        for listed in self.storage.list(names::prefix::INDEX)? {
            let id = listed.name.as_str().strip_prefix(names::prefix::INDEX).and_then(|id| SegmentId::parse(id).ok());
            if id.is_some_and(|id| history.doomed_index.contains(&id)) || !known.insert(listed.name.as_str().into()) {
                continue;
            }
            let segment = match self.load_segment(listed.name.as_str()) {
                Err(e) if e.kind() == ErrorKind::Missing => {
                    gone = true;
                    continue;
                }
                Err(e) if pass(&e) => {
                    trouble(listed.name.as_str(), e);
                    continue;
                }
                other => other,
            };
            let added = segment.and_then(|segment| {
                id.into_iter().for_each(|id| look(id, &segment));
                index.add_as(&segment, self.believes(&segment.head)?)
            });
            match added {
                Ok(contradicted) => {
                    if let Some(pack) = contradicted.first() {
                        let what = format!("it says of pack {} what another segment denies", pack.short());
                        trouble(listed.name.as_str(), Error::new(ErrorKind::Damaged, what));
                    }
                }
                // Which version and epoch it is of stands outside the seal: anybody may have written it.
                Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::Forbidden | ErrorKind::Unsupported) => {
                    trouble(listed.name.as_str(), e);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(gone)
    }

    /// Whether what a segment says of packs is taken for true without looking: if the owner or oneself answers
    /// for it.
    pub fn believes(&self, head: &segment::Head) -> Result<bool> {
        let role = self.author(head.client, head.client_epoch)?.role;
        let own = self.keyring.client.as_ref().is_some_and(|own| own.id == head.client);
        Ok(!head.is_hearsay() && (own || matches!(role, Role::Owner | Role::Maintain)))
    }

    /// Load one index segment, verified.
    pub fn load_segment(&self, object: &str) -> Result<segment::Segment> {
        let load = || -> Result<segment::Segment> {
            let name = super::objects::name(object)?;
            let bytes = self.storage.get(&name, crate::format::limits::SEGMENT_MAX as u64)?;
            let id = object.strip_prefix(names::prefix::INDEX).and_then(|id| SegmentId::parse(id).ok());
            if id != Some(SegmentId(*blake3::hash(&bytes).as_bytes())) {
                return Err(Error::new(ErrorKind::Damaged, "it is not what its name says"));
            }
            self.storage.keep(&name, 0, &bytes);
            let sealed = segment::parse(&bytes)?;
            let secret = self.need(self.index_secret(sealed.epoch), "read the index")?;
            let opened = sealed.open(&secret, self.domain(), self.instance())?;
            let head = &opened.segment.head;
            opened.verify(&self.author(head.client, head.client_epoch)?.key)?;
            Ok(opened.segment)
        };
        load().doing(|| format!("while reading {object}"))
    }
}

impl<'r> Reader<'r> {
    /// For one index.
    pub fn new(repo: &'r Repository, index: &'r Index) -> Self {
        let keys = index.packs().iter().map(|_| Mutex::new(None)).collect();
        Self { repo, index, fresh: OnceLock::new(), keys, cache: Mutex::default(), stretch: Mutex::new(STRETCH) }
    }

    /// A pack that is gone may have been packed again since the index was loaded.
    fn fetch_by_fresh_index(&self, kind: Kind, id: &BlobId) -> Option<Blob> {
        let load = || self.repo.load_index(&|_, _| {}).ok().map(Box::new);
        let fresh = self.fresh.get_or_init(load).as_deref()?;
        let reader = Reader::new(self.repo, fresh);
        let _ = reader.fresh.set(None);
        reader.fetch(kind, id).ok()
    }

    /// The index it looks things up in.
    pub fn index(&self) -> &'r Index {
        self.index
    }

    /// The repository it reads.
    pub fn repo(&self) -> &'r Repository {
        self.repo
    }

    /// Fetch a blob, trying every place it is at.
    pub fn fetch(&self, kind: Kind, id: &BlobId) -> Result<Blob> {
        let mut failed: Option<Error> = None;
        for at in self.index.find_all(id)? {
            match self.fetch_at(kind, id, at) {
                Ok(blob) => return Ok(blob),
                Err(e) => failed = Some(e),
            }
        }
        if failed.as_ref().is_some_and(|e| e.kind() == ErrorKind::Missing)
            && let Some(blob) = self.fetch_by_fresh_index(kind, id)
        {
            return Ok(blob);
        }
        Err(failed.unwrap_or_else(|| {
            Error::new(ErrorKind::Missing, format!("blob {} is in no pack that the index knows", id.short()))
                .hint("`orlop check` tells what is missing, and for which files")
        }))
    }

    fn fetch_at(&self, kind: Kind, id: &BlobId, at: Location) -> Result<Blob> {
        let frame = self.frame(at.frame)?;
        self.verify(kind, id, &frame, at)?;
        let range = frame.ranges[usize::from(at.ordinal)].clone();
        Ok(Blob { frame, range })
    }

    /// The bytes of a blob in a decoded frame, if they are what the id says.
    pub fn verify<'f>(&self, kind: Kind, id: &BlobId, frame: &'f Decoded, at: Location) -> Result<&'f [u8]> {
        let bytes = frame.blob(at.ordinal);
        let named = bytes.map(|b| match kind {
            Kind::Data => self.repo.keys().chunk_id(b),
            Kind::Tree => self.repo.keys().page_id(b),
        });
        match bytes {
            Some(bytes) if named == Some(*id) => Ok(bytes),
            _ => {
                let pack = self.index.pack(self.index.frame(at.frame).pack).id;
                Err(Error::new(
                    ErrorKind::Damaged,
                    format!("blob {} in pack {} is not what its name says", id.short(), pack.short()),
                ))
            }
        }
    }

    /// A frame, decoded; kept for a while.
    pub fn frame(&self, n: u32) -> Result<Arc<Decoded>> {
        if let Some(f) = self.cache().get(n) {
            return Ok(f);
        }
        if let Some(f) = self.read_on(n) {
            return Ok(f);
        }
        let f = Arc::new(self.decode(n)?);
        self.cache().put(n, f.clone());
        Ok(f)
    }

    /// Where each request takes long, a frame of a tree is read with those behind it: pages that belong
    /// together were written one after the other. `None`: it has to be read alone.
    fn read_on(&self, n: u32) -> Option<Arc<Decoded>> {
        let (first, storage) = (self.index.frame(n), self.repo.storage());
        let pack = self.index.pack(first.pack);
        if pack.kind != Kind::Tree || storage.at_once() == 1 {
            return None;
        }
        let name = super::objects::name(&names::pack(pack.id, pack.uploader)).ok()?;
        let mut sealed = vec![0; first.entry.stored as usize];
        if storage.get_kept(&name, first.offset.into(), &mut sealed) {
            let decoded = Arc::new(self.open_frame(n, &mut sealed).ok()?);
            self.cache().put(n, decoded.clone());
            return Some(decoded);
        }
        // One after the other: others may be about to fetch the same.
        let mut stretch = locked(&self.stretch);
        if let Some(f) = self.cache().get(n) {
            return Some(f);
        }
        *stretch = (*stretch * 2).min(STRETCH_MAX);
        let end = |k: &u32| self.index.frame(*k).offset as u64 + u64::from(self.index.frame(*k).entry.stored);
        let together = |k: &u32| {
            let near = end(k).saturating_sub(first.offset.into()) <= *stretch;
            self.index.frame(*k).pack == first.pack && near && self.cache().get(*k).is_none()
        };
        let last = (n + 1..self.index.frames() as u32).take_while(together).last()?;
        self.read_frames(n, last, &mut sealed).ok()?;
        for k in n..=last {
            let (frame, at) = (self.index.frame(k), (self.index.frame(k).offset - first.offset) as usize);
            let stored = sealed.get_mut(at..at + frame.entry.stored as usize)?;
            let kept = storage.keeps().then(|| stored.to_vec());
            let Ok(decoded) = self.open_frame(k, stored) else { continue };
            if let Some(kept) = kept {
                storage.keep(&name, frame.offset.into(), &kept);
            }
            self.cache().put(k, Arc::new(decoded));
        }
        self.cache().get(n)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        locked(&self.cache)
    }

    /// Read and decode a frame, without keeping it.
    pub fn decode(&self, n: u32) -> Result<Decoded> {
        let frame = *self.index.frame(n);
        let pack = self.index.pack(frame.pack);
        let object = names::pack(pack.id, pack.uploader);
        let mut sealed = vec![0; frame.entry.stored as usize];
        let (name, storage) = (super::objects::name(&object)?, self.repo.storage());
        storage.get_range(&name, frame.offset.into(), &mut sealed)?;
        // Trees are read again by every run. Opening a frame turns the sealed bytes into others.
        let stored = (pack.kind == Kind::Tree && storage.keeps()).then(|| sealed.clone());
        let decoded = self
            .open_frame(n, &mut sealed)
            .doing(|| format!("while reading frame {} of pack {}", n - pack.first_frame, pack.id.short()))?;
        if let Some(stored) = stored {
            storage.keep(&name, frame.offset.into(), &stored);
        }
        Ok(decoded)
    }

    /// Read the stored bytes of neighbouring frames of one pack in one go.
    pub fn read_frames(&self, first: u32, last: u32, into: &mut Vec<u8>) -> Result<()> {
        let (from, to) = (self.index.frame(first), self.index.frame(last));
        let pack = self.index.pack(from.pack);
        let end = u64::from(to.offset) + u64::from(to.entry.stored);
        let bytes = end.checked_sub(from.offset.into()).filter(|_| from.pack == to.pack);
        let bytes = bytes.ok_or_else(|| Error::new(ErrorKind::Bug, "frames are not neighbours"))?;
        into.resize(bytes as usize, 0);
        let object = names::pack(pack.id, pack.uploader);
        Ok(self.repo.storage().get_range(&super::objects::name(&object)?, from.offset.into(), into)?)
    }

    /// Open and decompress a frame's stored bytes.
    pub fn open_frame(&self, n: u32, sealed: &mut [u8]) -> Result<Decoded> {
        let mut plain = Vec::new();
        let ranges = self.open_frame_into(n, sealed, &mut plain)?;
        Ok(Decoded { plain, ranges })
    }

    /// Open a frame's stored bytes without decompressing them.
    pub fn unseal<'b>(&self, n: u32, sealed: &'b mut [u8]) -> Result<&'b mut [u8]> {
        let frame = *self.index.frame(n);
        let pack = self.index.pack(frame.pack);
        let key = self.key(frame.pack)?;
        Ok(key.open((n - pack.first_frame).into(), pack.kind, &frame.entry, sealed)?)
    }

    /// The same into a buffer that is used again; gives where its blobs are.
    pub fn open_frame_into(&self, n: u32, sealed: &mut [u8], plain: &mut Vec<u8>) -> Result<Vec<Range<usize>>> {
        let frame = *self.index.frame(n);
        let pack = self.index.pack(frame.pack);
        let key = self.key(frame.pack)?;
        let packed = key.open((n - pack.first_frame).into(), pack.kind, &frame.entry, sealed)?;
        decompress(frame.entry.codec, packed, frame.entry.plain as usize, plain)?;
        Ok(blob_ranges(plain, frame.entry.blobs)?)
    }

    fn key(&self, n: u32) -> Result<Arc<PackKey>> {
        let mut slot = locked(&self.keys[n as usize]);
        if let Some(key) = &*slot {
            return Ok(key.clone());
        }
        let pack = self.index.pack(n);
        let secret = self.repo.pack_secret(pack.kind, pack.header.epoch);
        let secret = self.repo.need(secret, "read this pack")?;
        let key = Arc::new(pack.header.key(self.repo.domain(), &secret)?);
        *slot = Some(key.clone());
        Ok(key)
    }

    /// Fetch and decode a page, which must be what its parent says.
    pub fn page(&self, at: &PageRef) -> Result<Page> {
        self.page_sized(at).map(|(page, _)| page)
    }

    /// The same, and how many bytes it has.
    pub fn page_sized(&self, at: &PageRef) -> Result<(Page, usize)> {
        let blob = self.fetch(Kind::Tree, &at.id)?;
        let page = Page::decode(&blob).doing(|| format!("while reading page {}", at.id.short()))?;
        if page.level() == at.level { Ok((page, blob.len())) } else { Err(crooked(&at.id)) }
    }
}

/// A page that its parent describes otherwise.
pub(super) fn crooked(id: &BlobId) -> Error {
    Error::new(ErrorKind::Damaged, format!("page {} is not what the page above it says", id.short()))
}
