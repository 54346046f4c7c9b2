//! Where every blob is: sorted tables in front of the packs and frames they point into.
//!
//! Built from index segments; look-ups do not care which segment a row came from. How tables are
//! kept small in memory is `table`'s business.

mod digests;
mod numbers;
mod table;

use std::collections::{HashMap, HashSet};

pub use digests::Digests;
pub use numbers::{Marks, Numbers};
pub use table::{Row, Table};

use crate::error::Result;

use crate::format::pack::{FrameEntry, HEADER_LEN, Header, Kind};
use crate::format::segment::{self, PackEntry, SHORT_ID_LEN, Segment};
use crate::id::{BlobId, ClientId, PackId};

/// A pack as the index knows it.
#[derive(Debug, Clone)]
pub struct Pack {
    /// Its name.
    pub id: PackId,
    /// The session that uploaded it.
    pub uploader: [u8; 4],
    /// Its length.
    pub len: u64,
    /// What is in it.
    pub kind: Kind,
    /// Its header.
    pub header: Header,
    /// Number of its first frame.
    pub first_frame: u32,
    /// How many frames it has.
    pub frames: u32,
    /// Somebody who is believed says this of it.
    pub vouched: bool,
    /// Who said it first.
    teller: ClientId,
    /// Others say something of it, too, and not all of them are believed.
    pub mixed: bool,
}

/// A frame as the index knows it.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Which pack, by its place in the index.
    pub pack: u32,
    /// Offset in the pack.
    pub offset: u32,
    /// Lengths, compression, blobs.
    pub entry: FrameEntry,
}

/// Where a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Which frame, by its place in the index.
    pub frame: u32,
    /// Which blob of the frame.
    pub ordinal: u16,
}

/// The part of a blob's id that the index keeps.
pub fn short(id: &BlobId) -> [u8; SHORT_ID_LEN] {
    let mut out = [0; SHORT_ID_LEN];
    out.copy_from_slice(&id.0[..SHORT_ID_LEN]);
    out
}

/// The whole index.
#[derive(Default)]
pub struct Index {
    packs: Vec<Pack>,
    frames: Vec<Frame>,
    tables: Vec<Table>,
    /// Usually one; more where a pack is there more than once, or segments contradict each other.
    by_pack: HashMap<PackId, Vec<u32>>,
    /// Packs whose blobs count as absent.
    distrusted: HashSet<u32>,
    /// Rows that are not so.
    refuted: HashSet<Row>,
}

impl Index {
    /// Add a segment's packs and rows. Gives the packs of which another segment says otherwise.
    /// Which of the two is right, reading decides: else anybody who may sign a segment could have
    /// the others' left out.
    pub fn add(&mut self, segment: &Segment) -> Result<Vec<PackId>> {
        self.add_as(segment, true)
    }

    /// The same, by somebody who is believed or not.
    pub fn add_as(&mut self, segment: &Segment, believed: bool) -> Result<Vec<PackId>> {
        let (mut number, mut contradicted) = (Vec::new(), Vec::new());
        for pack in &segment.head.packs {
            let known = self.by_pack.get(&pack.id).map_or(&[][..], Vec::as_slice);
            // A copy may bring a pack that is there already, under another name: the old one may go.
            let same = known.iter().find(|at| self.uploader(**at) == pack.uploader && self.agrees(**at, pack)).copied();
            if same.is_none() && !known.iter().all(|at| self.agrees(*at, pack)) {
                contradicted.push(pack.id);
            }
            let at = same.unwrap_or_else(|| self.add_pack(pack, segment.head.client));
            self.note_teller(at, &segment.head, (same.is_some(), believed));
            if contradicted.last() == Some(&pack.id) {
                self.by_pack[&pack.id].iter().for_each(|n| self.packs[*n as usize].mixed = true);
            }
            let first = self.packs[at as usize].first_frame;
            number.extend(first..first + pack.frames.len() as u32);
        }
        let place = |r: &segment::Row| Location { frame: number[r.frame as usize], ordinal: r.ordinal };
        let rows = segment.rows.iter().map(|r| Row { id: r.id, at: place(r) }).collect();
        self.tables.push(Table::from_rows(rows)?);
        Table::merge_small(&mut self.tables)?;
        Ok(contradicted)
    }

    /// What is said of a pack is believed if one is who says it. Hearsay may be anybody's.
    fn note_teller(&mut self, at: u32, by: &segment::Head, (known, believed): (bool, bool)) {
        let pack = &mut self.packs[at as usize];
        let alike =
            pack.vouched && believed || pack.teller == by.client && pack.vouched == believed && !by.is_hearsay();
        pack.mixed |= known && !alike;
        pack.vouched |= believed;
    }

    fn uploader(&self, at: u32) -> [u8; 4] {
        self.packs[at as usize].uploader
    }

    /// Whether a pack is what is known of it, whoever uploaded it. Two segments may name the same pack,
    /// and rows of both point into the same frames.
    fn agrees(&self, at: u32, pack: &PackEntry) -> bool {
        let known = &self.packs[at as usize];
        let frames = &self.frames[known.first_frame as usize..][..known.frames as usize];
        (known.len, known.kind, &known.header) == (pack.len, pack.kind, &pack.header)
            && frames.iter().map(|f| &f.entry).eq(&pack.frames)
    }

    /// The number under which this is said of a pack.
    pub fn number_of(&self, pack: &PackEntry) -> Option<u32> {
        let same = |n: &&u32| self.uploader(**n) == pack.uploader && self.agrees(**n, pack);
        self.numbers_of(&pack.id).iter().find(same).copied()
    }

    /// Gives the number of the pack.
    fn add_pack(&mut self, pack: &PackEntry, teller: ClientId) -> u32 {
        let (at, first_frame) = (self.packs.len() as u32, self.frames.len() as u32);
        let mut offset = HEADER_LEN as u32;
        for entry in &pack.frames {
            self.frames.push(Frame { pack: at, offset, entry: *entry });
            offset = offset.saturating_add(entry.stored);
        }
        self.by_pack.entry(pack.id).or_default().push(at);
        self.packs.push(Pack {
            id: pack.id,
            uploader: pack.uploader,
            len: pack.len,
            kind: pack.kind,
            header: pack.header.clone(),
            first_frame,
            frames: pack.frames.len() as u32,
            vouched: false,
            teller,
            mixed: false,
        });
        at
    }

    /// From now on, what is in packs like these counts as absent: whoever writes stores it again.
    /// Gives how many there are.
    pub fn distrust(&mut self, bad: impl Fn(&Pack) -> bool) -> usize {
        let before = self.distrusted.len();
        self.distrusted.extend((0..).zip(&self.packs).filter(|(_, p)| bad(p)).map(|(n, _)| n));
        self.distrusted.len() - before
    }

    /// From now on, what these rows say counts for nothing, and neither does all that is said of a pack under
    /// one of these numbers. Others may say of the same packs what is so.
    pub fn refute(&mut self, packs: impl IntoIterator<Item = u32>, rows: impl IntoIterator<Item = Row>) {
        self.distrusted.extend(packs);
        self.refuted.extend(rows);
    }

    /// Whether a row counts for nothing.
    pub fn refutes(&self, row: &Row) -> bool {
        !self.trusts(&row.id, row.at)
    }

    /// Whether what is in a pack counts as absent.
    pub fn distrusts(&self, pack: u32) -> bool {
        self.distrusted.contains(&pack)
    }

    fn trusts(&self, id: &[u8; SHORT_ID_LEN], at: Location) -> bool {
        (self.distrusted.is_empty() || !self.distrusted.contains(&self.frame(at.frame).pack))
            && (self.refuted.is_empty() || !self.refuted.contains(&Row { id: *id, at }))
    }

    /// Where a blob is, if anywhere.
    pub fn find(&self, id: &BlobId) -> Result<Option<Location>> {
        let (id, mut found) = (short(id), None);
        for t in &self.tables {
            t.find(&id, &mut |at| {
                found = Some(at).filter(|at| self.trusts(&id, *at));
                found.is_none()
            })?;
            if found.is_some() {
                break;
            }
        }
        Ok(found)
    }

    /// Where a blob is, passing over packs with these numbers.
    pub fn find_outside(&self, id: &BlobId, avoid: &HashSet<u32>) -> Result<Option<Location>> {
        if avoid.is_empty() {
            return self.find(id);
        }
        Ok(self.find_all(id)?.into_iter().find(|at| !avoid.contains(&self.frame(at.frame).pack)))
    }

    /// Every place a blob is at.
    pub fn find_all(&self, id: &BlobId) -> Result<Vec<Location>> {
        let (id, mut found) = (short(id), Vec::new());
        for t in &self.tables {
            t.find(&id, &mut |at| {
                found.extend(Some(at).filter(|at| self.trusts(&id, *at)));
                true
            })?;
        }
        Ok(found)
    }

    /// The numbers of a pack: more than one where it is there more than once, or where segments
    /// contradict each other.
    pub fn numbers_of(&self, pack: &PackId) -> &[u32] {
        self.by_pack.get(pack).map_or(&[], Vec::as_slice)
    }

    /// Whether segments say different things of what is in a pack.
    pub fn is_disputed(&self, pack: &PackId) -> bool {
        let frames = |p: &Pack| {
            let frames = &self.frames[p.first_frame as usize..][..p.frames as usize];
            frames.iter().map(|f| f.entry)
        };
        let mut all = self.numbers_of(pack).iter().map(|n| self.pack(*n));
        let Some(first) = all.next() else { return false };
        let content = |p: &Pack| (p.len, p.kind, p.header.clone());
        !all.all(|p| content(p) == content(first) && frames(p).eq(frames(first)))
    }

    /// Whether a blob is anywhere.
    pub fn contains(&self, id: &BlobId) -> Result<bool> {
        self.find(id).map(|f| f.is_some())
    }

    /// A frame by its number.
    pub fn frame(&self, n: u32) -> &Frame {
        &self.frames[n as usize]
    }

    /// A pack by its number.
    pub fn pack(&self, n: u32) -> &Pack {
        &self.packs[n as usize]
    }

    /// All packs.
    pub fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// How many frames there are.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Every row, table by table.
    pub fn for_each(&self, tell: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
        self.tables.iter().try_for_each(|t| t.for_each(tell))
    }

    /// How many rows there are, duplicates counted.
    pub fn rows(&self) -> usize {
        self.tables.iter().map(Table::len).sum()
    }
}
