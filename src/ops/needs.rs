//! Who needs an object: the files a chunk is in, the directories a page is of. Each page is visited
//! once, so each place is named once, with the first snapshot that has it.

use std::collections::HashSet;

use crate::error::{ErrorKind, Result};
use crate::event::Context;
use crate::format::pack::Kind;
use crate::format::page::Page;
use crate::id::BlobId;
use crate::index::{Index, Marks, Numbers};
use crate::model::ext::decode_xattrs;
use crate::model::{Extent, Node, NodeKind, PageRef, XattrValue, ext_tag};
use crate::repo::{Extents, Reader, Snapshot};

/// Which objects are meant.
#[derive(Debug, Clone)]
pub enum Sought {
    /// Chunks whose ids in hex begin with one of these.
    Chunks(Vec<String>),
    /// Pages likewise.
    Pages(Vec<String>),
    /// Everything in these packs, by their numbers in the index.
    Packs(HashSet<u32>),
}

impl Sought {
    fn wants(&self, index: &Index, kind: Kind, id: &BlobId) -> Result<bool> {
        let begins = |all: &[String]| {
            let hex = id.hex();
            all.iter().any(|begin| hex.starts_with(begin.as_str()))
        };
        Ok(match (self, kind) {
            (Self::Chunks(ids), Kind::Data) | (Self::Pages(ids), Kind::Tree) => begins(ids),
            (Self::Packs(packs), _) => index.find_all(id)?.iter().any(|at| packs.contains(&index.frame(at.frame).pack)),
            _ => false,
        })
    }
}

/// A place where an object is needed.
#[derive(Debug)]
pub struct Need<'a> {
    /// Of which kind it is.
    pub kind: Kind,
    /// Which.
    pub id: BlobId,
    /// The file that has the chunk, the directory that has the page.
    pub path: &'a [u8],
    /// The page of the directory that the entry stands in; for a page itself the one above, if there
    /// is one in the same directory.
    pub page: Option<BlobId>,
    /// The snapshot.
    pub snapshot: &'a Snapshot,
}

/// Receives each place.
pub type Take<'t> = &'t mut dyn FnMut(Need<'_>) -> Result<()>;

struct Task {
    page: PageRef,
    above: Option<BlobId>,
    path: Vec<u8>,
}

/// Name every place where the objects are needed, in the order of the snapshots.
pub fn needs(
    reader: &Reader<'_>,
    snapshots: &[&Snapshot],
    sought: &Sought,
    cx: &Context<'_>,
    take: Take<'_>,
) -> Result<()> {
    let numbers = Numbers::new(reader.index(), |kind| kind == Kind::Tree);
    let seen = Marks::new(&numbers);
    for snapshot in snapshots {
        let top = snapshot.statement.root.map(|page| Task { page, above: None, path: b"/".to_vec() });
        let mut tasks: Vec<Task> = top.into_iter().collect();
        while let Some(task) = tasks.pop() {
            cx.check()?;
            let place = reader.index().find(&task.page.id)?;
            if place.is_some_and(|at| !seen.set(numbers.of(at))) {
                continue;
            }
            let mut visit = Visit { reader, sought, snapshot, take };
            match visit.page(&task) {
                Ok(below) => tasks.extend(below.into_iter().rev()),
                Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::Missing) => {
                    cx.problem("damaged", &task.path, "read", format!("a part of this directory cannot be read: {e}"));
                }
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}

struct Visit<'v, 't> {
    reader: &'v Reader<'v>,
    sought: &'v Sought,
    snapshot: &'v Snapshot,
    take: &'v mut (dyn FnMut(Need<'_>) -> Result<()> + 't),
}

impl Visit<'_, '_> {
    fn tell(&mut self, kind: Kind, id: BlobId, path: &[u8], page: Option<BlobId>) -> Result<()> {
        match self.sought.wants(self.reader.index(), kind, &id)? {
            true => (self.take)(Need { kind, id, path, page, snapshot: self.snapshot }),
            false => Ok(()),
        }
    }

    fn page(&mut self, task: &Task) -> Result<Vec<Task>> {
        let id = task.page.id;
        self.tell(Kind::Tree, id, &task.path, task.above)?;
        let mut below = Vec::new();
        match self.reader.page(&task.page)? {
            Page::DirInner(level, children) => {
                below.extend(children.iter().map(|c| Task {
                    page: c.below(level),
                    above: Some(id),
                    path: task.path.clone(),
                }));
            }
            Page::Dir(nodes) => {
                for node in nodes {
                    let path = crate::plan::filter::join(&task.path, &node.name);
                    self.node(&node, &path, id)?;
                    if let NodeKind::Dir { root: Some(page) } = node.kind {
                        below.push(Task { page, above: None, path });
                    }
                }
            }
            Page::List(_) | Page::ListInner(..) => {}
        }
        Ok(below)
    }

    fn node(&mut self, node: &Node, path: &[u8], page: BlobId) -> Result<()> {
        let (mut told, reader) = (HashSet::new(), self.reader);
        blobs_of(reader, node, &mut |kind, id, _| match told.insert(*id) {
            true => self.tell(kind, *id, path, Some(page)),
            false => Ok(()),
        })
    }
}

/// Every blob that an entry needs itself, with its length, in order: chunks, pages of its content
/// list, chunks of long attributes. What a directory holds is not the directory's own.
pub(super) fn blobs_of(
    reader: &Reader<'_>,
    node: &Node,
    take: &mut dyn FnMut(Kind, &BlobId, u64) -> Result<()>,
) -> Result<()> {
    if let NodeKind::File { content, .. } = &node.kind {
        let mut extents = Extents::noting(reader, content);
        while let Some(extent) = extents.next()? {
            if let Extent::Data { id, len, .. } = extent {
                take(Kind::Data, &id, len.into())?;
            }
        }
        for (id, bytes) in extents.pages() {
            take(Kind::Tree, &id, bytes as u64)?;
        }
    }
    attribute_blobs_of(node, take)
}

/// Only the chunks of its long attributes.
pub(super) fn attribute_blobs_of(node: &Node, take: &mut dyn FnMut(Kind, &BlobId, u64) -> Result<()>) -> Result<()> {
    let xattrs = node.ext(ext_tag::XATTRS).and_then(|ext| decode_xattrs(&ext.data).ok());
    for x in xattrs.into_iter().flatten() {
        if let XattrValue::Chunk { id, len } = x.value {
            take(Kind::Data, &id, len.into())?;
        }
    }
    Ok(())
}
