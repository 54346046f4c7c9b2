//! A tree without some of its entries. Directories in which nothing changes keep their pages.

use std::collections::HashMap;

use super::{Tell, Workshop, check_change};
use crate::error::{Error, ErrorKind, Result};
use crate::event::ItemKind;
use crate::format::limits::DEPTH_MAX;
use crate::format::page::Builder;
use crate::id::BlobId;
use crate::model::{Node, NodeKind, PageRef};
use crate::plan::filter::RestoreSelection;
use crate::repo::Entries;

/// Directories that are remembered.
const KNOWN_MAX: usize = 1 << 18;

/// What is left of a directory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Left {
    /// Its entries.
    pub root: Option<PageRef>,
    /// How many at and below it are no directories.
    pub files: u64,
    /// Entries that were left out, each with all below it.
    pub dropped: u64,
}

/// Leaves entries out of trees. What snapshots have in common is looked at once.
pub struct Filter<'a> {
    workshop: &'a Workshop<'a>,
    selection: &'a RestoreSelection,
    tell: Tell<'a>,
    known: HashMap<(BlobId, Vec<u8>), Left>,
    path: Vec<u8>,
}

/// What becomes of an entry that does not stay as it is.
struct Changed {
    name: Vec<u8>,
    /// The new root of a directory; `None` if the entry goes.
    root: Option<Option<PageRef>>,
}

impl<'a> Filter<'a> {
    pub fn new(workshop: &'a Workshop<'a>, selection: &'a RestoreSelection, tell: Tell<'a>) -> Self {
        Self { workshop, selection, tell, known: HashMap::new(), path: Vec::new() }
    }

    /// The tree with this root, filtered.
    pub fn tree(&mut self, root: Option<PageRef>) -> Result<Left> {
        self.path.clear();
        self.dir(root, 0)
    }

    fn dir(&mut self, root: Option<PageRef>, depth: usize) -> Result<Left> {
        let Some(at) = root else { return Ok(Left::default()) };
        if depth > DEPTH_MAX {
            return Err(Error::new(ErrorKind::Damaged, "directories are nested deeper than they can be"));
        }
        let key = (at.id, self.path.clone());
        // Whoever is told of each entry is told for each snapshot.
        if let (Some(left), None) = (self.known.get(&key), self.tell) {
            return Ok(*left);
        }
        let (mut changed, mut left) = (Vec::new(), Left { root, ..Left::default() });
        let mut entries = Entries::new(self.workshop.reader, root);
        while let Some(node) = entries.next()? {
            self.workshop.cx.check()?;
            let len = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(&node.name);
            let became = self.entry(node, depth, &mut left)?;
            self.path.truncate(len);
            changed.extend(became);
        }
        if !changed.is_empty() {
            left.root = self.build(root, changed)?;
        }
        if self.known.len() < KNOWN_MAX {
            self.known.insert(key, left);
        }
        Ok(left)
    }

    fn entry(&mut self, node: Node, depth: usize, left: &mut Left) -> Result<Option<Changed>> {
        let kind = if node.is_dir() { ItemKind::Dir } else { ItemKind::File };
        let reach = self.selection.reach(&self.path, kind);
        match node.kind {
            NodeKind::Dir { root } if reach.selected || reach.below => {
                let below = self.dir(root, depth + 1)?;
                left.dropped += below.dropped;
                // A directory that only leads to what is wanted, and to nothing of it.
                if !reach.selected && below.root.is_none() {
                    left.dropped += u64::from(root.is_none());
                    return Ok(Some(Changed { name: node.name, root: None }));
                }
                left.files += below.files;
                if below.root == root {
                    return Ok(None);
                }
                check_change(&node, &self.path)?;
                Ok(Some(Changed { name: node.name, root: Some(below.root) }))
            }
            NodeKind::Dir { .. } => Ok(Some(self.leave_out(node, left))),
            _ if reach.selected => {
                left.files += 1;
                Ok(None)
            }
            _ => Ok(Some(self.leave_out(node, left))),
        }
    }

    fn leave_out(&self, node: Node, left: &mut Left) -> Changed {
        left.dropped += 1;
        if let Some(tell) = self.tell {
            tell(&self.path);
        }
        Changed { name: node.name, root: None }
    }

    /// The entries once more, with what became of them. Both are in order.
    fn build(&self, root: Option<PageRef>, changed: Vec<Changed>) -> Result<Option<PageRef>> {
        let mut changed = changed.into_iter().peekable();
        let mut builder = Builder::dir(self.workshop.repo.keys());
        let mut emit = |bytes: Vec<u8>| self.workshop.writer.page(&bytes);
        let mut entries = Entries::new(self.workshop.reader, root);
        while let Some(mut node) = entries.next()? {
            match changed.next_if(|c| c.name == node.name) {
                None => {}
                Some(Changed { root: Some(root), .. }) => node.kind = NodeKind::Dir { root },
                Some(Changed { root: None, .. }) => continue,
            }
            builder.node(&node, &mut emit)?;
        }
        builder.finish(&mut emit)
    }
}
