//! Which blobs only one of two trees needs, counted exactly with three bits for each blob.

use std::sync::Mutex;

use super::pairs::Side;
use super::{Blobs, Sum, is_damage};
use crate::error::{Error, Result};
use crate::format::pack::Kind;
use crate::format::page::Page;
use crate::id::BlobId;
use crate::index::{Marks, Numbers};
use crate::model::{Node, NodeKind, PageRef};
use crate::ops::locked;
use crate::ops::needs::{attribute_blobs_of, blobs_of};
use crate::repo::Reader;

#[derive(Default)]
struct Sums {
    data: Sum,
    tree: Sum,
    bytes: Sum,
}

impl Sums {
    fn of(&self, kind: Kind) -> &Sum {
        match kind {
            Kind::Data => &self.data,
            Kind::Tree => &self.tree,
        }
    }
    fn get(&self) -> Blobs {
        Blobs { data: self.data.get(), tree: self.tree.get(), bytes: self.bytes.get() }
    }
}

/// Adds up.
pub struct Tally<'r> {
    reader: &'r Reader<'r>,
    numbers: Numbers,
    before: (Marks, Sums),
    after: (Marks, Sums),
    /// Needed by both.
    common: Marks,
    failed: Mutex<Option<Error>>,
}

impl<'r> Tally<'r> {
    /// Nothing yet.
    pub fn new(reader: &'r Reader<'r>) -> Self {
        let numbers = Numbers::new(reader.index(), |_| true);
        let marks = || Marks::new(&numbers);
        let (before, after, common) = (marks(), marks(), marks());
        let (before, after) = ((before, Sums::default()), (after, Sums::default()));
        Self { reader, numbers, before, after, common, failed: Mutex::default() }
    }

    /// Whether any blob is needed by one side only, as far as is known.
    pub fn any(&self) -> bool {
        [&self.before, &self.after].iter().any(|(_, sums)| sums.data.get() + sums.tree.get() > 0)
    }

    /// What only the second needs, and what only the first does.
    pub fn sums(&self) -> (Blobs, Blobs) {
        (self.after.1.get(), self.before.1.get())
    }

    pub fn fail(&self, e: Error) {
        locked(&self.failed).get_or_insert(e);
    }

    pub fn failed(&self) -> Result<()> {
        locked(&self.failed).take().map_or(Ok(()), Err)
    }

    /// A page of one side.
    pub fn page(&self, side: Side, id: &BlobId, bytes: usize) -> Result<()> {
        self.blob(side, Kind::Tree, id, bytes as u64)
    }

    /// The chunks of an entry of one side.
    pub fn node(&self, side: Side, node: &Node) -> Result<()> {
        blobs_of(self.reader, node, &mut |kind, id, bytes| self.blob(side, kind, id, bytes))
    }

    /// The chunks of an entry whose content is the same on both sides; its attributes need not be.
    pub fn node_in_both(&self, before: &Node, after: &Node) -> Result<()> {
        self.node_in_common(before)?;
        match before.ext == after.ext {
            true => Ok(()),
            false => {
                attribute_blobs_of(before, &mut |kind, id, bytes| self.blob(Side::Before, kind, id, bytes))?;
                attribute_blobs_of(after, &mut |kind, id, bytes| self.blob(Side::After, kind, id, bytes))
            }
        }
    }

    fn node_in_common(&self, node: &Node) -> Result<()> {
        blobs_of(self.reader, node, &mut |kind, id, bytes| self.both(kind, id, bytes).map(drop))
    }

    fn blob(&self, side: Side, kind: Kind, id: &BlobId, bytes: u64) -> Result<()> {
        let Some(at) = self.reader.index().find(id)? else { return Ok(()) };
        let n = self.numbers.of(at);
        let ((marks, sums), (others, _)) = match side {
            Side::Before => (&self.before, &self.after),
            Side::After => (&self.after, &self.before),
        };
        if others.has(n) {
            return self.both(kind, id, bytes).map(drop);
        }
        if !self.common.has(n) && marks.set(n) {
            sums.of(kind).add(1);
            sums.bytes.add(bytes);
        }
        Ok(())
    }

    /// A blob that both need; whether that is news.
    fn both(&self, kind: Kind, id: &BlobId, bytes: u64) -> Result<bool> {
        let Some(at) = self.reader.index().find(id)? else { return Ok(false) };
        let n = self.numbers.of(at);
        if !self.common.set(n) {
            return Ok(false);
        }
        for (marks, sums) in [&self.before, &self.after] {
            if marks.has(n) {
                sums.of(kind).take(1);
                sums.bytes.take(bytes);
            }
        }
        Ok(true)
    }

    /// A page that both have; gives those below it that were not visited.
    pub fn common(&self, at: &PageRef) -> Result<Vec<PageRef>> {
        let (page, bytes) = match self.reader.page_sized(at) {
            Ok(read) => read,
            // It is the same damage on both sides.
            Err(e) if is_damage(&e) => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        if !self.both(Kind::Tree, &at.id, bytes as u64)? {
            return Ok(Vec::new());
        }
        let mut below = Vec::new();
        match page {
            Page::Dir(nodes) => {
                for node in &nodes {
                    match self.node_in_common(node) {
                        Err(e) if !is_damage(&e) => return Err(e),
                        _ => {}
                    }
                    if let NodeKind::Dir { root: Some(root) } = node.kind {
                        below.push(root);
                    }
                }
            }
            Page::DirInner(level, children) => below.extend(children.iter().map(|c| c.below(level))),
            Page::List(_) | Page::ListInner(..) => {}
        }
        Ok(below)
    }
}
