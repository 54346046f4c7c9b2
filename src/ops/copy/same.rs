//! Whether both sides have the same afterwards.

use std::collections::HashMap;

use super::{Became, CopySummary, Work, mirror, rekey};
use crate::error::{Error, ErrorKind, Result};
use crate::format::limits::DEPTH_MAX;
use crate::id::RecordId;
use crate::model::ext::decode_xattrs;
use crate::model::{Content, Extent, Node, NodeKind, PageRef, XattrValue, ext_tag};
use crate::repo::{Entries, Extents, Reader, Repository, Snapshot, Validity};

/// What was copied stands in the target, under its own name or as the copy of it; with
/// [`super::CopyOptions::compare`] its whole tree is the same, and all chunks are where its index says.
pub fn compare(work: &Work<'_>, to: &Repository, done: &CopySummary) -> Result<()> {
    let copied: HashMap<RecordId, RecordId> = done
        .snapshots
        .iter()
        .filter_map(|(id, became)| match became {
            Became::Copied(Some(new)) => Some((*id, *new)),
            Became::There(new) if work.options.compare => Some((*id, *new)),
            _ => None,
        })
        .collect();
    if copied.is_empty() {
        return Ok(());
    }
    let trouble = |name: &str, e: Error| work.cx.problem("damaged", name.as_bytes(), "read", e.to_string());
    let theirs: HashMap<RecordId, Snapshot> = to.snapshots(&trouble)?.into_iter().map(|s| (s.id, s)).collect();
    let index = to.load_index(&trouble)?;
    let reader = Reader::new(to, &index);
    let source = if work.options.compare { Some(work.from.repo.load_index(&trouble)?) } else { None };
    let ours = source.as_ref().map(|source| Reader::new(work.from.repo, source));
    for s in work.from.chosen {
        let Some(new) = copied.get(&s.id) else { continue };
        let same = || -> Result<()> {
            let there = theirs.get(new).filter(|t| t.validity != Validity::Late);
            let there = there.ok_or_else(|| differs(s, "the target does not have it"))?;
            match done.mirror {
                true => mirror::compare(s, there, &reader)?,
                false => rekey::compare(s, there, &reader)?,
            }
            match &ours {
                Some(ours) => Pair { ours, theirs: &reader, work }.dir((s.statement.root, there.statement.root), 0),
                None => Ok(()),
            }
        };
        if let Err(e) = same() {
            work.failed(s, e)?;
        }
    }
    Ok(())
}

/// The two sides do not have the same.
pub fn differs(s: &Snapshot, what: &str) -> Error {
    Error::new(ErrorKind::Damaged, format!("{what}: snapshot {} is not the same on both sides", s.id.short()))
}

struct Pair<'a> {
    ours: &'a Reader<'a>,
    theirs: &'a Reader<'a>,
    work: &'a Work<'a>,
}

fn other(path: &Node) -> Error {
    let name = String::from_utf8_lossy(&path.name).into_owned();
    Error::new(ErrorKind::Damaged, format!("{name:?} is not the same in the target"))
}

impl Pair<'_> {
    fn dir(&self, roots: (Option<PageRef>, Option<PageRef>), depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Error::new(ErrorKind::Damaged, "directories are nested deeper than any file system has them"));
        }
        let (mut ours, mut theirs) = (Entries::new(self.ours, roots.0), Entries::new(self.theirs, roots.1));
        loop {
            self.work.cx.check()?;
            match (ours.next()?, theirs.next()?) {
                (None, None) => return Ok(()),
                (Some(a), Some(b)) => self.node(&a, &b, depth)?,
                (Some(n), None) | (None, Some(n)) => return Err(other(&n)),
            }
        }
    }

    fn node(&self, a: &Node, b: &Node, depth: usize) -> Result<()> {
        let bare = |n: &Node| Node { kind: NodeKind::Fifo, ext: vec![], ..n.clone() };
        let plain = |n: &Node| n.ext.iter().filter(|e| e.tag != ext_tag::XATTRS).cloned().collect::<Vec<_>>();
        let mut same = bare(a) == bare(b) && plain(a) == plain(b);
        same &= match (&a.kind, &b.kind) {
            (NodeKind::Dir { root: x }, NodeKind::Dir { root: y }) => {
                self.dir((*x, *y), depth + 1)?;
                true
            }
            (NodeKind::File { size: x, content: a }, NodeKind::File { size: y, content: b }) => {
                x == y && self.content(a, b)?
            }
            (x, y) => x == y,
        };
        if same && self.xattrs(a, b)? { Ok(()) } else { Err(other(a)) }
    }

    fn content(&self, a: &Content, b: &Content) -> Result<bool> {
        if let (Content::Inline(x), Content::Inline(y)) = (a, b) {
            return Ok(x == y);
        }
        let (mut ours, mut theirs) = (Extents::new(self.ours, a), Extents::new(self.theirs, b));
        loop {
            match (ours.next()?, theirs.next()?) {
                (None, None) => return Ok(true),
                (Some(Extent::Hole { len: x }), Some(Extent::Hole { len: y })) if x == y => {}
                (Some(Extent::Data { len: x, repeat: n, .. }), Some(Extent::Data { id, len: y, repeat: m }))
                    if (x, n) == (y, m) && self.theirs.index().contains(&id)? => {}
                _ => return Ok(false),
            }
        }
    }

    fn xattrs(&self, a: &Node, b: &Node) -> Result<bool> {
        let senseless = |e| Error::new(ErrorKind::Damaged, "the attributes of a file make no sense").because(e);
        let of = |n: &Node| n.ext(ext_tag::XATTRS).map(|e| decode_xattrs(&e.data).map_err(senseless)).transpose();
        let (Some(ours), Some(theirs)) = (of(a)?, of(b)?) else {
            return Ok(a.ext(ext_tag::XATTRS).is_none() && b.ext(ext_tag::XATTRS).is_none());
        };
        let mut same = ours.len() == theirs.len();
        for (x, y) in ours.iter().zip(&theirs) {
            same &= x.name == y.name
                && match (&x.value, &y.value) {
                    (XattrValue::Chunk { len: n, .. }, XattrValue::Chunk { id, len: m }) => {
                        n == m && self.theirs.index().contains(id)?
                    }
                    (x, y) => x == y,
                };
        }
        Ok(same)
    }
}
