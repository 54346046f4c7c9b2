//! Walking page trees: the entries of a directory, the extents of a file, in order.

use super::Reader;
use super::reader::crooked;
use crate::error::Result;
use crate::format::page::{Builder, Page};
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

/// Changes of a directory: names in ascending order, each with what it is now, or nothing.
pub type Edits = std::collections::BTreeMap<Vec<u8>, Option<Node>>;

/// A directory with some of its entries changed. Only pages that hold a changed name are read, and
/// their neighbours as far as they are cut anew; the others are taken over. The outcome is what
/// writing all entries would have made.
pub fn edit(
    reader: &Reader<'_>,
    root: Option<PageRef>,
    edits: Edits,
    emit: &mut dyn FnMut(Vec<u8>) -> Result<BlobId>,
) -> Result<Option<PageRef>> {
    if edits.is_empty() {
        return Ok(root);
    }
    let builder = Builder::dir(reader.repo().keys());
    let mut editor = Editor { reader, builder, edits: edits.into_iter().peekable(), emit };
    if let Some(root) = root {
        editor.page(&root, true, None)?;
    }
    editor.up_to(None)?;
    editor.builder.finish(editor.emit)
}

struct Editor<'e, 'r> {
    reader: &'r Reader<'r>,
    builder: Builder<'r>,
    edits: std::iter::Peekable<std::collections::btree_map::IntoIter<Vec<u8>, Option<Node>>>,
    emit: &'e mut dyn FnMut(Vec<u8>) -> Result<BlobId>,
}

impl Editor<'_, '_> {
    /// Enter a page; `last` if its level ends with it, `next` is the last name of what comes after it.
    fn page(&mut self, at: &PageRef, last: bool, next: Option<&[u8]>) -> Result<()> {
        match self.reader.page(at)? {
            Page::Dir(nodes) if nodes.len() as u64 == at.entries => {
                nodes.into_iter().try_for_each(|node| self.node(node))
            }
            Page::DirInner(level, children) => {
                check_sums(at, children.iter().map(|c| c.below(level)))?;
                let end = children.len() - 1;
                for (i, child) in children.iter().enumerate() {
                    let (below, last) = (child.below(level), last && i == end);
                    // A page may have ended because the entry after it, which changes, was too long for it.
                    let until = children.get(i + 1).map(|c| c.last.as_slice()).or(next);
                    let until = until.unwrap_or(&child.last);
                    let changed = self.edits.peek().is_some_and(|(name, _)| name.as_slice() <= until);
                    if changed || last || !self.builder.is_between(below.level) {
                        self.page(&below, last, children.get(i + 1).map(|c| c.last.as_slice()).or(next))?;
                    } else {
                        self.builder.page(&below, &child.last, self.emit)?;
                    }
                }
                Ok(())
            }
            _ => Err(crooked(&at.id)),
        }
    }

    fn node(&mut self, node: Node) -> Result<()> {
        self.up_to(Some(&node.name))?;
        match self.edits.next_if(|(name, _)| *name == node.name) {
            None => self.builder.node(&node, self.emit),
            Some((_, Some(new))) => self.builder.node(&new, self.emit),
            Some((_, None)) => Ok(()),
        }
    }

    /// Enter what is new before this name; to the end without one.
    fn up_to(&mut self, name: Option<&[u8]>) -> Result<()> {
        while let Some((_, new)) = self.edits.next_if(|(new, _)| name.is_none_or(|name| new.as_slice() < name)) {
            if let Some(node) = new {
                self.builder.node(&node, self.emit)?;
            }
        }
        Ok(())
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
