//! Storing blobs: known? ▸ frame ▸ compress ▸ seal ▸ pack ▸ put ▸ index.
//!
//! ```text
//!  worker threads                         one open pack a kind
//!  chunk ─▶ known? ─▶ frame of this       ┌────────────────────┐
//!           │yes       thread ──full──▶ compress ─▶│ seal, hash, append │─▶ verify what was sealed
//!           ▼                                      └─────────┬──────────┘
//!        nothing                              target reached │
//!                                                table, footer, publish ─▶ rows ─▶ segment
//! ```
//! Compression and verification run in the worker's own time, at one of the desks; under the lock
//! of the open pack there is only sealing, hashing and a write. Nothing is held in memory but one
//! frame a thread, and what is on the desks.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, RwLock};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::frames::{Desk, Desks, FrameBuilder, FrameScope};
use super::proven::Proven;
use super::{Identity, Repository, Session, locked, objects};
use crate::collect::pins;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Context, Meter};
use crate::format::gc::PackName;
use crate::format::limits::FRAME_TARGET_SMALL;
use crate::format::names;
use crate::format::pack::{FrameEntry, HEADER_LEN, Header, Kind, PackKey, Table, blob_ranges};
use crate::format::segment::{self, Head, PackEntry, Row, Segment};
use crate::id::{BlobId, PackId, SegmentId};
use crate::index::{Index, Location, short};
use crate::model::Ext;
use crate::storage::Draft;
use crate::sys;

/// Shards of the set of ids seen in this session.
const SHARDS: usize = 64;

/// Blobs that an index segment covers, more or less: what waits for its segment is in memory.
const SEGMENT_BLOBS: usize = 1 << 18;

/// How to write.
pub struct WriterOptions {
    /// zstd level; `None` stores as it is.
    pub compression: Option<i32>,
    /// Length of packs.
    pub pack_target: u64,
    /// Packs that an index segment covers at most.
    pub segment_packs: usize,
    /// Open and check every frame that was sealed, from the bytes that are sent.
    pub verify: bool,
    /// Look and count, but store nothing.
    pub dry_run: bool,
}

impl WriterOptions {
    /// Packs that an index segment covers, usually.
    pub const SEGMENT_PACKS: usize = 32;
}

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// Stored now.
    New,
    /// Stored already.
    Known,
}

/// Stores blobs.
pub struct Writer<'r> {
    repo: &'r Repository,
    who: &'r Identity,
    session: &'r Session,
    index: &'r Index,
    cx: &'r Context<'r>,
    options: WriterOptions,
    seen: Vec<Mutex<HashSet<[u8; segment::SHORT_ID_LEN]>>>,
    /// Packs that were condemned since the index was loaded, by their numbers. Held for reading from
    /// a look-up until its pack is noted as reused, so that no heartbeat comes between.
    avoid: RwLock<HashSet<u32>>,
    /// Rows of others that are so.
    proven: Proven<'r>,
    /// Packs that something was found in, by their numbers.
    reused: Vec<AtomicBool>,
    /// Packs that this session made durable.
    wrote: Mutex<Vec<PackName>>,
    /// Held by whoever says that the session lives.
    beating: Mutex<()>,
    segments: Mutex<Vec<SegmentId>>,
    frames: Vec<Mutex<FrameBuilder>>,
    desks: Desks,
    pages: Mutex<FrameBuilder>,
    packs: [Mutex<Option<OpenPack>>; 2],
    done: Mutex<Vec<(PackEntry, Vec<BlobId>)>>,
    /// Packs that were taken over without looking into them.
    taken: Mutex<Vec<(PackEntry, Vec<BlobId>)>>,
    /// New chunks.
    pub data_blobs: AtomicU64,
    /// New pages.
    pub tree_blobs: AtomicU64,
    /// Plain bytes of new blobs.
    pub plain_bytes: AtomicU64,
    /// Stored bytes of new frames.
    pub stored_bytes: AtomicU64,
}

/// A pack in the making.
struct OpenPack {
    draft: Box<dyn Draft>,
    hash: blake3::Hasher,
    header: Header,
    key: std::sync::Arc<PackKey>,
    frames: Vec<FrameEntry>,
    ids: Vec<BlobId>,
    len: u64,
}

impl OpenPack {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(self.draft.write(bytes)?)
    }
}

impl<'r> Writer<'r> {
    /// Begin to store.
    pub fn new(
        repo: &'r Repository,
        who: &'r Identity,
        session: &'r Session,
        index: &'r Index,
        cx: &'r Context<'r>,
        options: WriterOptions,
    ) -> Self {
        let threads = rayon::current_num_threads() + 1;
        Self {
            repo,
            who,
            session,
            index,
            cx,
            options,
            seen: (0..SHARDS).map(|_| Mutex::default()).collect(),
            avoid: RwLock::default(),
            proven: Proven::new(repo, index),
            reused: index.packs().iter().map(|_| AtomicBool::new(false)).collect(),
            wrote: Mutex::default(),
            beating: Mutex::default(),
            segments: Mutex::default(),
            frames: (0..threads).map(|_| Mutex::default()).collect(),
            desks: Desks::new(),
            pages: Mutex::default(),
            packs: [Mutex::new(None), Mutex::new(None)],
            done: Mutex::default(),
            taken: Mutex::default(),
            data_blobs: AtomicU64::new(0),
            tree_blobs: AtomicU64::new(0),
            plain_bytes: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
        }
    }

    /// Store a chunk unless it is known; gives its id.
    pub fn chunk(&self, scope: FrameScope, bytes: &[u8]) -> Result<(BlobId, Added)> {
        let id = self.repo.keys().chunk_id(bytes);
        if self.known(&id)? {
            return Ok((id, Added::Known));
        }
        self.count(&self.data_blobs, bytes);
        let slot = rayon::current_thread_index().unwrap_or(self.frames.len() - 1);
        self.push(&self.frames[slot], Kind::Data, scope, id, bytes)?;
        Ok((id, Added::New))
    }

    /// Store a page unless it is known; gives its id.
    pub fn page(&self, bytes: &[u8]) -> Result<BlobId> {
        let id = self.repo.keys().page_id(bytes);
        if !self.known(&id)? {
            self.count(&self.tree_blobs, bytes);
            let scope = FrameScope { target: FRAME_TARGET_SMALL as u32, ..FrameScope::default() };
            self.push(&self.pages, Kind::Tree, scope, id, bytes)?;
        }
        Ok(id)
    }

    /// Store a blob that is on its way, or known, once more: the pack it is in will go.
    pub fn again(&self, kind: Kind, scope: FrameScope, id: BlobId, bytes: &[u8]) -> Result<()> {
        let slot = rayon::current_thread_index().unwrap_or(self.frames.len() - 1);
        let builder = if kind == Kind::Data { &self.frames[slot] } else { &self.pages };
        self.push(builder, kind, scope, id, bytes)
    }

    /// Store a whole frame once more as it was compressed. Its blobs were checked by the caller.
    pub fn move_frame(&self, kind: Kind, entry: FrameEntry, ids: &[BlobId], packed: &[u8]) -> Result<()> {
        let mut buffer = packed.to_vec();
        let (ordinal, key, full) = self.append(kind, entry, ids, &mut buffer)?;
        self.stored_bytes.fetch_add(entry.stored.into(), Relaxed);
        Meter::add(&self.cx.meter.bytes_stored, entry.stored.into());
        let same = key.open(ordinal, kind, &entry, &mut buffer).is_ok_and(|opened| opened == packed);
        if !same {
            return Err(miscomputed());
        }
        full.map_or(Ok(()), |pack| self.publish(kind, pack))
    }

    /// Where it stores.
    pub fn repo(&self) -> &'r Repository {
        self.repo
    }

    /// Names of the index segments that were written.
    pub fn segments(&self) -> Vec<SegmentId> {
        locked(&self.segments).clone()
    }

    fn count(&self, blobs: &AtomicU64, bytes: &[u8]) {
        blobs.fetch_add(1, Relaxed);
        self.plain_bytes.fetch_add(bytes.len() as u64, Relaxed);
        Meter::add(&self.cx.meter.bytes_new, bytes.len() as u64);
    }

    /// Whether a blob is stored or on its way; if not, the caller is the one to store it.
    fn known(&self, id: &BlobId) -> Result<bool> {
        let short = short(id);
        let shard = &self.seen[usize::from(short[0]) % SHARDS];
        if locked(shard).contains(&short) {
            return Ok(true);
        }
        self.proven.prepare(id)?;
        let avoid = self.avoid.read().unwrap_or_else(PoisonError::into_inner);
        match self.find(id, &avoid)? {
            Some(at) => {
                self.reused[self.index.frame(at.frame).pack as usize].store(true, Relaxed);
                Ok(true)
            }
            None => Ok(!locked(shard).insert(short)),
        }
    }

    /// Where a blob is, outside of packs to avoid. What only others say is taken for true where the pack's own
    /// table says so, too.
    fn find(&self, id: &BlobId, avoid: &HashSet<u32>) -> Result<Option<Location>> {
        let first = self.index.find_outside(id, avoid)?;
        if first.is_none_or(|at| self.proven.holds(id, at)) {
            return Ok(first);
        }
        let outside = |at: &Location| !avoid.contains(&self.index.frame(at.frame).pack);
        Ok(self.index.find_all(id)?.into_iter().find(|at| outside(at) && self.proven.holds(id, *at)))
    }

    /// Whether a blob is stored where it may be relied on, or on its way. The caller stores it if not.
    pub fn holds(&self, id: &BlobId) -> Result<bool> {
        let short = short(id);
        if locked(&self.seen[usize::from(short[0]) % SHARDS]).contains(&short) {
            return Ok(true);
        }
        self.proven.prepare(id)?;
        let avoid = self.avoid.read().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = self.find(id, &avoid)? else { return Ok(false) };
        self.reused[self.index.frame(at.frame).pack as usize].store(true, Relaxed);
        Ok(true)
    }

    /// Store a whole pack as another repository of the domain has it. `draft` has all its bytes, and
    /// these have the hash in its name. Whoever made it answers for what is in it.
    pub fn take_pack(&self, entry: PackEntry, ids: Vec<BlobId>, draft: Box<dyn Draft>) -> Result<()> {
        let entry = PackEntry { uploader: self.session.suffix(), ..entry };
        let name = PackName { id: entry.id, uploader: entry.uploader };
        // Noted before it is there: a heartbeat in between pins what is about to be.
        locked(&self.wrote).push(name);
        draft.publish(&objects::name(&names::pack(name.id, name.uploader))?)?;
        self.stored_bytes.fetch_add(entry.len, Relaxed);
        Meter::add(&self.cx.meter.bytes_stored, entry.len);
        for id in &ids {
            let short = short(id);
            locked(&self.seen[usize::from(short[0]) % SHARDS]).insert(short);
        }
        self.enter(entry, ids, true)
    }

    /// Say that the session lives, if it is time. The order is what makes it safe: first look-ups go
    /// by the new state of the log, then what was used by the old one is pinned.
    pub fn tick(&self) -> Result<()> {
        if self.options.dry_run {
            return Ok(());
        }
        // Who is still at it has its own state of the log, and says so: a beat has the pins for what it says it saw.
        let Ok(_alone) = self.beating.try_lock() else { return Ok(()) };
        let Some(history) = self.repo.due(self.session)? else { return Ok(()) };
        let condemned: HashSet<PackName> = history.log.condemned().copied().collect();
        {
            let mut avoid = self.avoid.write().unwrap_or_else(PoisonError::into_inner);
            let packs = (0..).zip(self.index.packs());
            avoid.extend(packs.filter(|(_, p)| condemned.contains(&name_of(p))).map(|(n, _)| n));
            self.session.go_by(history.clone());
        }
        let reused = self.index.packs().iter().zip(&self.reused).filter(|(_, used)| used.load(Relaxed));
        let wrote = locked(&self.wrote).clone();
        let pins = pins(&history.log, reused.map(|(p, _)| name_of(p)).chain(wrote));
        self.repo.beat(self.session, pins.into_iter().map(|p| p.id).collect(), self.cx.meter.bytes_done.load(Relaxed))
    }

    fn push(
        &self,
        builder: &Mutex<FrameBuilder>,
        kind: Kind,
        scope: FrameScope,
        id: BlobId,
        bytes: &[u8],
    ) -> Result<()> {
        if self.options.dry_run {
            return Ok(());
        }
        let full = {
            let mut b = locked(builder);
            let full = (!b.has_room(scope, bytes.len()))
                .then(|| std::mem::replace(&mut *b, FrameBuilder::in_place_of(self.desks.spare())));
            b.push(scope, id, bytes);
            full
        };
        full.map_or(Ok(()), |f| self.seal(kind, f))
    }

    /// Compress, seal, append and verify one frame.
    fn seal(&self, kind: Kind, mut frame: FrameBuilder) -> Result<()> {
        if frame.ids.is_empty() {
            return Ok(());
        }
        let full = self.seal_at(&mut self.desks.take(), kind, &mut frame);
        self.desks.keep(frame);
        full?.map_or(Ok(()), |pack| self.publish(kind, pack))
    }

    fn seal_at(&self, desk: &mut Desk, kind: Kind, frame: &mut FrameBuilder) -> Result<Option<OpenPack>> {
        let plain = frame.plain();
        let codec = desk.zstd.compress(plain, self.options.compression, &mut desk.packed)?;
        let entry = FrameEntry {
            stored: (desk.packed.len() + crate::crypto::TAG_LEN) as u32,
            plain: plain.len() as u32,
            codec,
            blobs: frame.ids.len() as u16,
        };
        let (ordinal, key, full) = self.append(kind, entry, &frame.ids, &mut desk.packed)?;
        self.stored_bytes.fetch_add(entry.stored.into(), Relaxed);
        Meter::add(&self.cx.meter.bytes_stored, entry.stored.into());
        if self.options.verify {
            self.verify(kind, ordinal, &key, entry, frame, desk)?;
        }
        Ok(full)
    }

    /// Under the lock of the open pack: seal as its next frame and write. Gives the pack out when
    /// it has reached its length.
    fn append(
        &self,
        kind: Kind,
        entry: FrameEntry,
        ids: &[BlobId],
        buffer: &mut Vec<u8>,
    ) -> Result<(u64, std::sync::Arc<PackKey>, Option<OpenPack>)> {
        let mut slot = locked(&self.packs[kind as usize - 1]);
        let pack = match &mut *slot {
            Some(pack) => pack,
            none => none.insert(self.open_pack(kind)?),
        };
        let (ordinal, key) = (pack.frames.len() as u64, pack.key.clone());
        key.seal(ordinal, kind, &entry, buffer);
        pack.append(buffer)?;
        pack.frames.push(entry);
        pack.ids.extend_from_slice(ids);
        let full = pack.len >= self.options.pack_target;
        Ok((ordinal, key, if full { slot.take() } else { None }))
    }

    fn open_pack(&self, kind: Kind) -> Result<OpenPack> {
        let epoch = self.repo.epoch();
        let secret = self.repo.need(self.repo.pack_secret(kind, epoch), "write packs")?;
        let (header, key) =
            Header::create(self.repo.suite(), epoch, self.session.id, sys::salt()?, self.repo.domain(), &secret);
        let draft = self.repo.storage().draft()?;
        let mut pack = OpenPack {
            draft,
            hash: blake3::Hasher::new(),
            key: std::sync::Arc::new(key),
            frames: vec![],
            ids: vec![],
            len: 0,
            header: header.clone(),
        };
        pack.append(&header.encode())?;
        debug_assert_eq!(pack.len, HEADER_LEN as u64);
        Ok(pack)
    }

    /// Open what was sealed, from the very bytes that were hashed and written.
    fn verify(
        &self,
        kind: Kind,
        ordinal: u64,
        key: &PackKey,
        entry: FrameEntry,
        frame: &FrameBuilder,
        desk: &mut Desk,
    ) -> Result<()> {
        let Desk { packed: sealed, check: plain, zstd } = desk;
        let mut check = || -> Result<bool> {
            let packed = key.open(ordinal, kind, &entry, sealed)?;
            let plain = zstd.plain(entry.codec, packed, entry.plain as usize, plain)?;
            let ranges = blob_ranges(plain, entry.blobs)?;
            let keys = self.repo.keys();
            let name = |bytes: &[u8]| if kind == Kind::Data { keys.chunk_id(bytes) } else { keys.page_id(bytes) };
            Ok(ranges.into_iter().zip(&frame.ids).all(|(r, id)| name(&plain[r]) == *id))
        };
        match check() {
            Ok(true) => Ok(()),
            failed => {
                let error = miscomputed();
                Err(match failed {
                    Err(e) => error.because(e),
                    Ok(_) => error,
                })
            }
        }
    }

    /// Make a pack durable and remember what is in it.
    fn publish(&self, kind: Kind, mut pack: OpenPack) -> Result<()> {
        let table = Table { kind, frames: std::mem::take(&mut pack.frames), ids: std::mem::take(&mut pack.ids) };
        let index_secret = self.repo.need(self.repo.index_secret(self.repo.epoch()), "write packs")?;
        let tail = table.seal(&pack.header, &index_secret, pack.len);
        pack.append(&tail)?;
        let id = PackId(*pack.hash.finalize().as_bytes());
        let uploader = self.session.suffix();
        // Noted before it is there: a heartbeat in between pins what is about to be.
        locked(&self.wrote).push(PackName { id, uploader });
        pack.draft.publish(&objects::name(&names::pack(id, uploader))?)?;
        let entry = PackEntry { id, uploader, len: pack.len, kind, header: pack.header, frames: table.frames };
        self.enter(entry, table.ids, false)
    }

    /// A durable pack enters the index.
    fn enter(&self, entry: PackEntry, ids: Vec<BlobId>, hearsay: bool) -> Result<()> {
        let batch = {
            let mut done = locked(if hearsay { &self.taken } else { &self.done });
            done.push((entry, ids));
            let full = done.len() >= self.options.segment_packs
                || done.iter().map(|(_, ids)| ids.len()).sum::<usize>() >= SEGMENT_BLOBS;
            if full { std::mem::take(&mut *done) } else { vec![] }
        };
        self.write_segment(batch, hearsay)?;
        self.tick()
    }

    fn write_segment(&self, batch: Vec<(PackEntry, Vec<BlobId>)>, hearsay: bool) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let name = write_segment(self.repo, self.who, self.session, batch, hearsay)?;
        locked(&self.segments).extend(names::parse_segment(&name));
        Ok(())
    }

    /// Seal every open frame, publish every open pack, write the rest of the index. When this
    /// returns, all that was stored is durable and can be found.
    pub fn finish(&self) -> Result<()> {
        self.frames.par_iter().try_for_each(|b| self.seal(Kind::Data, std::mem::take(&mut *locked(b))))?;
        let frame = std::mem::take(&mut *locked(&self.pages));
        self.seal(Kind::Tree, frame)?;
        for (slot, kind) in self.packs.iter().zip([Kind::Data, Kind::Tree]) {
            let open = locked(slot).take();
            if let Some(pack) = open {
                self.publish(kind, pack)?;
            }
        }
        let (rest, taken) = (std::mem::take(&mut *locked(&self.done)), std::mem::take(&mut *locked(&self.taken)));
        self.write_segment(rest, false)?;
        self.write_segment(taken, true)
    }
}

fn miscomputed() -> Error {
    let what = "a frame does not read back as what was put into it: this machine computes wrongly";
    Error::new(ErrorKind::Bug, what)
        .hint("test its memory before trusting it with backups; nothing of this run was committed")
}

fn name_of(pack: &crate::index::Pack) -> PackName {
    PackName { id: pack.id, uploader: pack.uploader }
}

/// Write an index segment for packs that are durable; gives its name. `hearsay`: it is what their tables say,
/// and nobody looked into them.
pub(super) fn write_segment(
    repo: &Repository,
    who: &Identity,
    session: &Session,
    batch: Vec<(PackEntry, Vec<BlobId>)>,
    hearsay: bool,
) -> Result<String> {
    let mut rows = Vec::with_capacity(batch.iter().map(|(_, ids)| ids.len()).sum());
    let mut frame = 0;
    for (pack, ids) in &batch {
        let mut ids = ids.iter();
        for f in &pack.frames {
            for (ordinal, id) in ids.by_ref().take(f.blobs.into()).enumerate() {
                rows.push(Row { id: short(id), frame, ordinal: ordinal as u16 });
            }
            frame += 1;
        }
    }
    rows.sort_unstable();
    put_segment(repo, who, session, batch.into_iter().map(|(p, _)| p).collect(), rows, hearsay)
}

/// Write an index segment of these packs and rows, which ascend; gives its name.
pub(super) fn put_segment(
    repo: &Repository,
    who: &Identity,
    session: &Session,
    packs: Vec<PackEntry>,
    rows: Vec<Row>,
    hearsay: bool,
) -> Result<String> {
    let marked = hearsay.then(|| Ext { tag: Head::HEARSAY, flags: 0, data: vec![] });
    let head = Head {
        domain: repo.domain(),
        instance: repo.instance(),
        client: who.client,
        client_epoch: who.epoch,
        session: session.id,
        packs,
        supersedes: vec![],
        rows_hash: [0; 32],
        ext: marked.into_iter().collect(),
    };
    let epoch = repo.epoch();
    let secret = repo.need(repo.index_secret(epoch), "write the index")?;
    let with = segment::Sealing {
        domain: repo.domain(),
        instance: repo.instance(),
        epoch,
        secret: &secret,
        salt: sys::salt()?,
        signer: &who.signer,
    };
    let bytes = Segment { head, rows }.seal(&with);
    let id = SegmentId(*blake3::hash(&bytes).as_bytes());
    let name = names::segment(id);
    repo.storage().put_new(&objects::name(&name)?, &bytes)?;
    Ok(name)
}
