//! What the parent has under another path, by what the file system knows it by.
//!
//! Inode numbers are given away again and two file systems have the same ones, and no node says on
//! which device it was. So a file is known by its inode *and its birth*, besides size and mtime: a new
//! file in an old inode is born later, and so is a copy on another file system. Whatever is born after
//! the parent cannot be in it, so that only what was moved costs a look at the parent's whole tree.
//! When in doubt, a file is read.

use std::sync::OnceLock;

use super::entry::Item;
use super::keeper::{Keeper, Old};
use super::walk::{Before, Walk, Was};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Context;
use crate::format::page::Page;
use crate::format::segment::SHORT_ID_LEN;
use crate::index::{Location, Row, Table};
use crate::model::ext::decode_time;
use crate::model::{Ext, Node, NodeKind, PageRef, Time, ext_tag};
use crate::repo::{Reader, Snapshot};
use crate::source::{Kind, Stat};

/// Rows that are sorted together in memory.
const RUN: usize = 1 << 18;
/// Leaves of a tree that is looked through at most, about 200 million entries: a forged tree may
/// unfold without end.
const LEAVES_MAX: usize = 1 << 22;
/// Places of one file that are compared. A file of more names is read, once for all of them.
const PLACES_MAX: usize = 8;
/// File systems with times of 10 ms (FAT and its kin) make their inode numbers up at every mount.
const COARSE_NANOS: u32 = 10_000_000;

type Short = [u8; SHORT_ID_LEN];

/// Finds what was moved since the parents.
pub struct Moved<'r> {
    reader: &'r Reader<'r>,
    parents: Vec<Parent>,
}

struct Parent {
    root: Option<PageRef>,
    ended: Time,
    known: OnceLock<Option<Known>>,
}

/// Where in a tree each file and directory is.
#[derive(Default)]
struct Known {
    leaves: Vec<PageRef>,
    tables: Vec<Table>,
}

impl<'r> Moved<'r> {
    /// Among these parents.
    pub fn new(reader: &'r Reader<'r>, parents: &[Snapshot]) -> Self {
        let parent = |s: &Snapshot| Parent { root: s.statement.root, ended: s.statement.ended, known: OnceLock::new() };
        Self { reader, parents: parents.iter().map(parent).collect() }
    }

    /// What each parent has of a file or directory, wherever it was.
    fn find(&self, stat: &Stat, cx: &Context<'_>) -> Vec<Before> {
        let Some((id, born)) = key_of_stat(stat) else { return vec![] };
        let find = |parent: &Parent| {
            let root = parent.root.filter(|_| born <= parent.ended)?;
            // Not with the threads of the walk: who waits for them may be given work that waits for this.
            let known = parent.known.get_or_init(|| match Known::read(self.reader, root, cx) {
                Ok(known) => Some(known),
                Err(e) => {
                    super::walk::tell_bad_parent(cx, &e);
                    None
                }
            });
            known.as_ref()?.find(&id, self.reader).ok().flatten()
        };
        self.parents.iter().map(find).collect()
    }
}

impl Known {
    fn read(reader: &Reader<'_>, root: PageRef, cx: &Context<'_>) -> Result<Self> {
        let (mut known, mut rows, mut todo) = (Self::default(), Vec::new(), vec![root]);
        while let Some(at) = todo.pop() {
            cx.check()?;
            match reader.page(&at)? {
                Page::Dir(nodes) => {
                    let leaf = known.leaves.len();
                    if leaf >= LEAVES_MAX {
                        return Err(Error::new(ErrorKind::Invalid, "it has too many entries to look for moved files"));
                    }
                    known.leaves.push(at);
                    for (i, node) in nodes.iter().enumerate() {
                        let at = Location { frame: leaf as u32, ordinal: i as u16 };
                        rows.extend(key_of_node(node).map(|id| Row { id, at }));
                        if let NodeKind::Dir { root } = &node.kind {
                            todo.extend(root);
                        }
                    }
                }
                Page::DirInner(level, children) => todo.extend(children.iter().map(|c| c.below(level))),
                _ => return Err(Error::new(ErrorKind::Damaged, "a page of a directory is one of a file")),
            }
            if rows.len() >= RUN {
                known.settle(&mut rows)?;
            }
        }
        known.settle(&mut rows)?;
        Ok(known)
    }

    fn settle(&mut self, rows: &mut Vec<Row>) -> Result<()> {
        self.tables.push(Table::from_rows(std::mem::take(rows))?);
        Table::merge_small(&mut self.tables)
    }

    /// The entry with this key; none if two of them contradict each other.
    fn find(&self, id: &Short, reader: &Reader<'_>) -> Result<Option<Node>> {
        let mut places = Vec::new();
        for table in &self.tables {
            table.find(id, &mut |at| {
                places.push(at);
                places.len() <= PLACES_MAX
            })?;
        }
        if places.len() > PLACES_MAX {
            return Ok(None);
        }
        let mut found: Option<Node> = None;
        for at in places {
            let Some(leaf) = self.leaves.get(at.frame as usize) else { return Ok(None) };
            let Page::Dir(mut nodes) = reader.page(leaf)? else { return Ok(None) };
            if usize::from(at.ordinal) >= nodes.len() {
                return Ok(None);
            }
            let node = nodes.swap_remove(at.ordinal.into());
            if found.as_ref().is_some_and(|other| other.kind != node.kind) {
                return Ok(None);
            }
            found = Some(node);
        }
        Ok(found)
    }
}

/// A directory is only where to compare from, so its times may have changed.
fn key(dir: bool, ino: u64, born: Time, size: u64, mtime: Time) -> Option<Short> {
    if ino == 0 || born.nsec.is_multiple_of(COARSE_NANOS) {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[dir.into()]).update(&ino.to_le_bytes()).update(&born.nanos().to_le_bytes());
    if !dir {
        hasher.update(&size.to_le_bytes()).update(&mtime.nanos().to_le_bytes());
    }
    hasher.finalize().as_bytes().first_chunk().copied()
}

fn key_of_stat(stat: &Stat) -> Option<(Short, Time)> {
    let (dir, born) = match stat.kind {
        Kind::File => (false, stat.btime?),
        Kind::Dir => (true, stat.btime?),
        _ => return None,
    };
    Some((key(dir, stat.id.ino, born, stat.size, stat.mtime)?, born))
}

fn key_of_node(node: &Node) -> Option<Short> {
    let (dir, size) = match &node.kind {
        NodeKind::File { size, .. } => (false, *size),
        NodeKind::Dir { .. } => (true, 0),
        _ => return None,
    };
    let born = decode_time(ext_tag::BTIME, &node.ext(ext_tag::BTIME)?.data).ok()?;
    key(dir, node.ino, born, size, node.mtime)
}

impl Walk<'_> {
    /// What an entry was in the parents: at its path, or else where it was moved from.
    pub(super) fn followed(&self, stat: &Stat, mut was: Was) -> Was {
        if self.options.force || self.options.ignore_inode {
            return was;
        }
        // A node without an inode number says that this one wants to be read.
        let at_home = |old: &Node| Kind::of(&old.kind) == stat.kind && (old.ino == stat.id.ino || old.ino == 0);
        for (to, was) in self.keepers.iter().zip(was.iter_mut()) {
            let Some(old) = was.as_mut().filter(|old| !old.found().any(at_home)) else { continue };
            let elsewhere = Old { nodes: to.moved.find(stat, to.cx), moved: true };
            if elsewhere.existed() {
                *old = elsewhere;
            }
        }
        was
    }

    /// The parent's node of a file of which nothing but ctime differs, if there is a reason for that:
    /// it was moved, or its owner, mode or attributes are others. Without a reason somebody may have
    /// written it and set its mtime back.
    pub(super) fn recognized<'b>(&self, item: &Item<'_>, to: &Keeper<'_>, was: &'b Old) -> Result<Option<&'b Node>> {
        let Item { here, name, stat, .. } = *item;
        if self.options.force || self.options.ignore_inode || stat.kind != Kind::File {
            return Ok(None);
        }
        let Some((id, _)) = key_of_stat(stat) else { return Ok(None) };
        let known = |old: &&Node| !old.is_dir() && key_of_node(old) == Some(id) && to.stays_cut(old);
        let Some(old) = was.found().find(known) else {
            return Ok(None);
        };
        if was.moved || (old.mode, old.uid, old.gid) != (stat.mode, stat.uid, stat.gid) {
            return Ok(Some(old));
        }
        let metadata = item.metadata(|| here.dir.read_metadata(name, stat, self.keep()));
        if !metadata.problems.is_empty() {
            return Ok(None);
        }
        let now = to.ext(&metadata.extras, to.link(here, stat))?;
        let lasting = |ext: &[Ext]| ext.iter().filter(|e| e.tag != ext_tag::ATIME).cloned().collect::<Vec<_>>();
        Ok((lasting(&now) != lasting(&old.ext)).then_some(old))
    }
}
