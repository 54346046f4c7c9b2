//! Walking page trees: the entries of a directory, the extents of a file, in order.

use super::Reader;
use super::reader::crooked;
use crate::error::Result;
use crate::format::page::Page;
use crate::id::BlobId;
use crate::model::{Content, Extent, Node, PageRef};

/// The entries of a directory, in order, one page in memory at a time.
pub struct Entries<'r> {
    reader: &'r Reader<'r>,
    /// Pages still to visit, the next one last.
    todo: Vec<PageRef>,
    nodes: std::vec::IntoIter<Node>,
}

impl<'r> Entries<'r> {
    /// Of the directory with this root.
    pub fn new(reader: &'r Reader<'r>, root: Option<PageRef>) -> Self {
        Self { reader, todo: root.into_iter().collect(), nodes: Vec::new().into_iter() }
    }

    /// The next entry.
    #[expect(clippy::should_implement_trait, reason = "an iterator that can fail at every step")]
    pub fn next(&mut self) -> Result<Option<Node>> {
        loop {
            if let Some(node) = self.nodes.next() {
                return Ok(Some(node));
            }
            let Some(at) = self.todo.pop() else { return Ok(None) };
            match self.reader.page(&at)? {
                Page::Dir(nodes) if nodes.len() as u64 == at.entries => self.nodes = nodes.into_iter(),
                Page::DirInner(level, children) => {
                    check_sums(&at, children.iter().map(|c| c.below(level)))?;
                    self.todo.extend(children.iter().rev().map(|c| c.below(level)));
                }
                _ => return Err(crooked(&at.id)),
            }
        }
    }

    /// The entry with this name; the ones before it are passed over. Ask in ascending order.
    pub fn seek(&mut self, name: &[u8]) -> Result<Option<Node>> {
        loop {
            match self.nodes.as_slice().first() {
                Some(n) if n.name.as_slice() > name => return Ok(None),
                Some(_) => {
                    let node = self.nodes.next();
                    if node.as_ref().is_some_and(|n| n.name == name) {
                        return Ok(node);
                    }
                }
                None => match self.next()? {
                    None => return Ok(None),
                    Some(node) if node.name.as_slice() < name => {}
                    Some(node) if node.name == name => return Ok(Some(node)),
                    Some(node) => {
                        // It was the first of its page and comes after: keep it for later.
                        let rest: Vec<Node> = std::iter::once(node).chain(self.nodes.by_ref()).collect();
                        self.nodes = rest.into_iter();
                        return Ok(None);
                    }
                },
            }
        }
    }
}

/// The entry of this name, by one page of each level.
pub fn lookup(reader: &Reader<'_>, root: Option<PageRef>, name: &[u8]) -> Result<Option<Node>> {
    let Some(mut at) = root else { return Ok(None) };
    loop {
        match reader.page(&at)? {
            Page::Dir(mut nodes) => {
                let found = nodes.binary_search_by(|node| node.name.as_slice().cmp(name));
                return Ok(found.ok().map(|i| nodes.swap_remove(i)));
            }
            Page::DirInner(level, children) => {
                let i = children.partition_point(|child| child.last.as_slice() < name);
                let Some(child) = children.get(i) else { return Ok(None) };
                at = child.below(level);
            }
            _ => return Err(crooked(&at.id)),
        }
    }
}

/// The extents of a file, in order.
pub struct Extents<'r> {
    reader: &'r Reader<'r>,
    todo: Vec<PageRef>,
    extents: std::vec::IntoIter<Extent>,
    lost: u64,
    noted: Option<Vec<(BlobId, usize)>>,
}

impl<'r> Extents<'r> {
    /// Of this content; inline content has none.
    pub fn new(reader: &'r Reader<'r>, content: &Content) -> Self {
        let (todo, extents) = match content {
            Content::Inline(_) => (vec![], vec![]),
            Content::Extents { extents, .. } => (vec![], extents.clone()),
            Content::Pages { root, .. } => (vec![*root], vec![]),
        };
        Self { reader, todo, extents: extents.into_iter(), lost: 0, noted: None }
    }

    /// The same, and every page that is read is noted.
    pub fn noting(reader: &'r Reader<'r>, content: &Content) -> Self {
        Self { noted: Some(Vec::new()), ..Self::new(reader, content) }
    }

    /// The pages that were read, each with its bytes.
    pub fn pages(self) -> Vec<(BlobId, usize)> {
        self.noted.unwrap_or_default()
    }

    /// After an error: how many bytes of the file the page stood for that could not be had. The
    /// next extent comes after them.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The next extent.
    #[expect(clippy::should_implement_trait, reason = "an iterator that can fail at every step")]
    pub fn next(&mut self) -> Result<Option<Extent>> {
        loop {
            if let Some(e) = self.extents.next() {
                return Ok(Some(e));
            }
            let Some(at) = self.todo.pop() else { return Ok(None) };
            // If this page cannot be had, that many bytes are unknown.
            self.lost = at.bytes;
            let (page, bytes) = self.reader.page_sized(&at)?;
            if let Some(noted) = &mut self.noted {
                noted.push((at.id, bytes));
            }
            match page {
                Page::List(extents) if extents.iter().map(Extent::bytes).fold(0, u64::saturating_add) == at.bytes => {
                    self.extents = extents.into_iter();
                }
                Page::ListInner(level, children) => {
                    check_sums(&at, children.iter().map(|c| c.below(level)))?;
                    self.todo.extend(children.iter().rev().map(|c| c.below(level)));
                }
                _ => return Err(crooked(&at.id)),
            }
        }
    }
}

fn check_sums(at: &PageRef, children: impl Iterator<Item = PageRef>) -> Result<()> {
    let mut sums = (0u64, 0u64);
    for c in children {
        sums = (sums.0.saturating_add(c.entries), sums.1.saturating_add(c.bytes));
    }
    if sums == (at.entries, at.bytes) { Ok(()) } else { Err(crooked(&at.id)) }
}
