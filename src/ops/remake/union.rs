//! Several trees as one. Where they have an entry in common, the one that changed last counts; among
//! equals that of the newest snapshot. Directories are united.

use std::collections::HashMap;

use super::{Tell, Workshop, check_change};
use crate::error::{Error, ErrorKind, Result};
use crate::format::limits::DEPTH_MAX;
use crate::format::page::Builder;
use crate::id::BlobId;
use crate::model::{Node, NodeKind, PageRef, ext_tag};
use crate::repo::Entries;

/// Unites trees.
pub struct Union<'a> {
    workshop: &'a Workshop<'a>,
    tell: Tell<'a>,
    /// Files below a page, by its name.
    known: HashMap<BlobId, u64>,
    path: Vec<u8>,
    /// Entries of which there were several.
    pub conflicts: u64,
}

/// The entries of one tree, the next one at hand.
struct Cursor<'r> {
    entries: Entries<'r>,
    next: Option<Node>,
}

impl<'a> Union<'a> {
    pub fn new(workshop: &'a Workshop<'a>, tell: Tell<'a>) -> Self {
        Self { workshop, tell, known: HashMap::new(), path: Vec::new(), conflicts: 0 }
    }

    /// The union of directories, the oldest first; and how many at and below it are no directories.
    pub fn dirs(&mut self, mut roots: Vec<PageRef>, depth: usize) -> Result<(Option<PageRef>, u64)> {
        if depth > DEPTH_MAX {
            return Err(Error::new(ErrorKind::Damaged, "directories are nested deeper than they can be"));
        }
        // The last of equals stays: it is of the newest.
        roots.reverse();
        let mut seen: Vec<BlobId> = Vec::new();
        roots.retain(|r| {
            let new = !seen.contains(&r.id);
            seen.push(r.id);
            new
        });
        roots.reverse();
        if let [one] = roots.as_slice() {
            return Ok((Some(*one), self.files(*one, depth)?));
        }
        let mut cursors = Vec::new();
        for root in roots {
            let mut entries = Entries::new(self.workshop.reader, Some(root));
            let next = entries.next()?;
            cursors.push(Cursor { entries, next });
        }
        let mut builder = Builder::dir(self.workshop.repo.keys());
        let writer = self.workshop.writer;
        let mut emit = |bytes: Vec<u8>| writer.page(&bytes);
        let mut files = 0;
        while let Some(name) = cursors.iter().filter_map(|c| c.next.as_ref()).map(|n| n.name.clone()).min() {
            self.workshop.cx.check()?;
            let mut same = Vec::new();
            for c in &mut cursors {
                if c.next.as_ref().is_some_and(|n| n.name == name) {
                    let next = c.entries.next()?;
                    same.extend(std::mem::replace(&mut c.next, next));
                }
            }
            let len = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(&name);
            let node = self.entry(same, depth, &mut files)?;
            self.path.truncate(len);
            if let Some(node) = node {
                builder.node(&node, &mut emit)?;
            }
        }
        Ok((builder.finish(&mut emit)?, files))
    }

    /// One of the entries of a name, the oldest snapshot's first.
    fn entry(&mut self, same: Vec<Node>, depth: usize, files: &mut u64) -> Result<Option<Node>> {
        let differ = same.windows(2).any(|w| w[0].kind != w[1].kind && !(w[0].is_dir() && w[1].is_dir()));
        let roots: Vec<PageRef> = same.iter().filter_map(root_of).collect();
        let incomplete = same.iter().any(|n| n.ext(ext_tag::INCOMPLETE).is_some());
        if differ {
            self.conflicts += 1;
            if let Some(tell) = self.tell {
                tell(&self.path);
            }
        }
        // Of equals the last is taken.
        let Some(mut node) = same.iter().max_by_key(|n| n.mtime).cloned() else { return Ok(None) };
        if !node.is_dir() {
            *files += 1;
            return Ok(Some(node));
        }
        if !roots.is_empty() {
            let (root, below) = self.dirs(roots, depth + 1)?;
            *files += below;
            node.kind = NodeKind::Dir { root };
        }
        // Each of them is in it, with other entries than its own.
        let mut others = same.iter().filter(|n| n.is_dir() && n.kind != node.kind);
        others.try_for_each(|n| check_change(n, &self.path))?;
        if incomplete {
            node.set_ext(ext_tag::INCOMPLETE, vec![]);
        }
        Ok(Some(node))
    }

    fn files(&mut self, root: PageRef, depth: usize) -> Result<u64> {
        if depth > DEPTH_MAX {
            return Err(Error::new(ErrorKind::Damaged, "directories are nested deeper than they can be"));
        }
        if let Some(n) = self.known.get(&root.id) {
            return Ok(*n);
        }
        let mut n = 0u64;
        let mut entries = Entries::new(self.workshop.reader, Some(root));
        while let Some(node) = entries.next()? {
            self.workshop.cx.check()?;
            let below = root_of(&node).map(|root| self.files(root, depth + 1)).transpose()?;
            n = n.saturating_add(below.unwrap_or(u64::from(!node.is_dir())));
        }
        self.known.insert(root.id, n);
        Ok(n)
    }
}

fn root_of(node: &Node) -> Option<PageRef> {
    match node.kind {
        NodeKind::Dir { root } => root,
        _ => None,
    }
}
