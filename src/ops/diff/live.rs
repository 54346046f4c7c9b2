//! A snapshot and a directory as it is now.
//!
//! A file of the same size and time is believed to be the same, as a backup does; otherwise, and
//! always if asked for, it is read and each of its chunks named anew.

use std::cmp::Ordering;
use std::path::Path;

use super::{Change, DiffSummary, Entries as Count, Take, What, is_damage};
use crate::error::{Doing, Error, Result};
use crate::event::Context;
use crate::format::limits::BLOB_MAX;
use crate::model::{Content, Ext, Extent, Node, NodeKind, PageRef, ext_tag};
use crate::ops::deep;
use crate::ops::list::Walk;
use crate::plan::filter::{Patterns, join};
use crate::repo::{Entries, Extents, Reader};
use crate::source::{Dir, Keep, Kind, SourceError, Stat};

/// How to compare with a directory.
#[derive(Debug, Default)]
pub struct LiveOptions {
    /// Tell also what differs in metadata only.
    pub metadata: bool,
    /// Read all files.
    pub content: bool,
    /// What the backup left out, by paths on this machine.
    pub exclude: Patterns,
}

/// Compare a directory of a snapshot with one of this machine. Paths are told as they are in the
/// snapshot, below `at`.
pub fn live(
    reader: &Reader<'_>,
    (root, at): (Option<PageRef>, &[u8]),
    path: &Path,
    options: &LiveOptions,
    cx: &Context<'_>,
    take: Take<'_>,
) -> Result<DiffSummary> {
    let dir = Dir::open_root(path).doing(|| format!("while opening {}", path.display()))?;
    let real = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = std::os::unix::ffi::OsStrExt::as_bytes(real.as_os_str());
    let mut run = Live { reader, options, cx, take, summary: DiffSummary::default(), buffer: Vec::new() };
    deep::alone(|| run.dir(root, dir, at, real))??;
    Ok(run.summary)
}

struct Live<'a, 't> {
    reader: &'a Reader<'a>,
    options: &'a LiveOptions,
    cx: &'a Context<'a>,
    take: Take<'t>,
    summary: DiffSummary,
    buffer: Vec<u8>,
}

impl Live<'_, '_> {
    /// A directory that is there, and what the snapshot has in its place.
    fn dir(&mut self, root: Option<PageRef>, mut dir: Dir, at: &[u8], real: &[u8]) -> Result<()> {
        let names = dir.names();
        if let Some(e) = names.trouble() {
            self.unread(real, e);
        }
        let mut entries = Entries::new(self.reader, root);
        let mut old = self.step(&mut entries, at)?;
        let mut names = names.iter().map(|n| n.bytes).peekable();
        loop {
            self.cx.check()?;
            let order = match (&old, names.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(node), Some(name)) => node.name.as_slice().cmp(name),
            };
            let node = if order == Ordering::Greater { None } else { old.take() };
            let name = if order == Ordering::Less { None } else { names.next() };
            let Some(known) = node.as_ref().map(|n| n.name.as_slice()).or(name) else { return Ok(()) };
            let (path, place) = (join(at, known), join(real, known));
            if !self.options.exclude.matches(&place) {
                let stat = name.and_then(|name| self.stat(&dir, name, &place));
                match (&node, stat) {
                    (Some(node), None) => self.gone(node, &path)?,
                    (None, Some(stat)) => self.new_entry(&dir, &stat, (&path, &place))?,
                    (Some(node), Some(stat)) => self.both(node, &dir, &stat, (&path, &place))?,
                    (None, None) => {}
                }
            }
            if node.is_some() {
                old = self.step(&mut entries, at)?;
            }
        }
    }

    fn step(&self, entries: &mut Entries<'_>, at: &[u8]) -> Result<Option<Node>> {
        loop {
            match entries.next() {
                Err(e) if is_damage(&e) => {
                    self.cx.problem("damaged", at, "read", format!("a part of this directory cannot be read: {e}"));
                }
                other => return other,
            }
        }
    }

    fn stat(&self, dir: &Dir, name: &[u8], place: &[u8]) -> Option<Stat> {
        match dir.stat(name) {
            Ok(stat) => Some(stat),
            Err(e) => {
                if !e.vanished() {
                    self.unread(place, &e);
                }
                None
            }
        }
    }

    fn unread(&self, place: &[u8], e: &SourceError) {
        self.cx.problem("unreadable", place, e.during, e.why.to_string());
    }

    fn tell(&mut self, path: &[u8], dir: bool, what: What) -> Result<()> {
        (self.take)(&Change { path, dir, what })
    }

    /// The snapshot has it, and below it perhaps more.
    fn gone(&mut self, node: &Node, path: &[u8]) -> Result<()> {
        self.summary.removed.count(&node.kind);
        self.tell(path, node.is_dir(), What::Removed)?;
        self.gone_below(node, path)
    }

    fn gone_below(&mut self, node: &Node, path: &[u8]) -> Result<()> {
        let NodeKind::Dir { root } = node.kind else { return Ok(()) };
        let mut walk = Walk::new(self.reader, root, path);
        loop {
            match walk.next() {
                Ok(None) => return Ok(()),
                Ok(Some((path, node))) => {
                    self.summary.removed.count(&node.kind);
                    (self.take)(&Change { path, dir: node.is_dir(), what: What::Removed })?;
                }
                Err(e) if is_damage(&e) => {
                    self.cx.problem("damaged", path, "read", format!("a part of this directory cannot be read: {e}"));
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn new_entry(&mut self, dir: &Dir, stat: &Stat, (path, place): (&[u8], &[u8])) -> Result<()> {
        count(&mut self.summary.added, stat.kind);
        self.tell(path, stat.kind == Kind::Dir, What::Added)?;
        self.inside(None, dir, stat, (path, place))
    }

    /// Go on inside, if it is a directory.
    fn inside(&mut self, root: Option<PageRef>, dir: &Dir, stat: &Stat, (path, place): (&[u8], &[u8])) -> Result<()> {
        if stat.kind != Kind::Dir {
            return Ok(());
        }
        if deep::too_deep(place) {
            self.cx.problem("too-deep", place, "compare", "too many directories in each other; left out");
            return Ok(());
        }
        match dir.open_dir_as(last(place), stat) {
            Ok(below) => self.dir(root, below, path, place),
            Err(e) => {
                self.unread(place, &e);
                Ok(())
            }
        }
    }

    fn both(&mut self, node: &Node, dir: &Dir, stat: &Stat, (path, place): (&[u8], &[u8])) -> Result<()> {
        let kind = Kind::of(&node.kind) != stat.kind;
        let content = !kind
            && match self.same_content(node, dir, stat) {
                Ok(same) => !same,
                Err(e) => {
                    self.cx.problem("unreadable", place, "read", e.to_string());
                    false
                }
            };
        let metadata = self.other_metadata(node, dir, stat);
        let suspicious = content && !metadata && node.mtime == stat.mtime && node.bytes() == stat.size;
        self.summary.changed_files += u64::from(content && stat.kind == Kind::File);
        if kind || content || (metadata && self.options.metadata) {
            self.tell(path, stat.kind == Kind::Dir, What::Differs { kind, content, suspicious, metadata })?;
        }
        match node.kind {
            NodeKind::Dir { root } if !kind => self.inside(root, dir, stat, (path, place)),
            NodeKind::Dir { .. } => self.gone_below(node, path),
            _ => self.inside(None, dir, stat, (path, place)),
        }
    }

    fn same_content(&mut self, node: &Node, dir: &Dir, stat: &Stat) -> Result<bool> {
        match &node.kind {
            NodeKind::File { size, .. } if *size != stat.size => Ok(false),
            NodeKind::File { .. } if node.mtime == stat.mtime && !self.options.content => Ok(true),
            NodeKind::File { content, .. } => self.read(node, content, dir, stat),
            NodeKind::Symlink { target } => Ok(dir.read_link(&node.name)? == *target),
            NodeKind::CharDevice { device } | NodeKind::BlockDevice { device } => Ok(*device == stat.device),
            _ => Ok(true),
        }
    }

    fn read(&mut self, node: &Node, content: &Content, dir: &Dir, stat: &Stat) -> Result<bool> {
        let file = dir.open_file(&node.name, stat)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = |at: u64, len: usize, buffer: &mut Vec<u8>| -> Result<bool> {
            buffer.resize(len, 0);
            Ok(file.read_at(at, buffer)? == len)
        };
        if let Content::Inline(bytes) = content {
            return Ok(read(0, bytes.len(), &mut buffer)? && buffer == *bytes);
        }
        let (mut at, mut same) = (0u64, true);
        let mut extents = Extents::new(self.reader, content);
        while same && let Some(extent) = extents.next()? {
            match extent {
                Extent::Data { id, len, repeat } => {
                    for _ in 0..repeat {
                        self.cx.check()?;
                        same = same
                            && read(at, len as usize, &mut buffer)?
                            && self.reader.repo().keys().chunk_id(&buffer) == id;
                        at = at.saturating_add(len.into());
                    }
                }
                Extent::Hole { mut len } => {
                    while same && len > 0 {
                        self.cx.check()?;
                        let n = len.min(BLOB_MAX as u64);
                        same = read(at, n as usize, &mut buffer)? && buffer.iter().all(|b| *b == 0);
                        (at, len) = (at.saturating_add(n), len - n);
                    }
                }
            }
        }
        self.buffer = buffer;
        Ok(same)
    }

    /// Attributes cost a call or two for each file and are looked at only when somebody asked.
    fn other_metadata(&self, node: &Node, dir: &Dir, stat: &Stat) -> bool {
        let plain = (node.mode, node.uid, node.gid) != (stat.mode, stat.uid, stat.gid)
            || (node.mtime != stat.mtime && stat.kind != Kind::Dir);
        if plain || !self.options.metadata {
            return plain;
        }
        if stat.kind == Kind::Dir && node.mtime != stat.mtime {
            return true;
        }
        let keep = Keep { atime: false, btime: false, xattrs: true, flags: true };
        let found = dir.read_metadata(&node.name, stat, keep);
        let keys = self.reader.repo().keys();
        let now = found.extras.into_ext(|value| Ok::<_, Error>(keys.chunk_id(value))).unwrap_or_default();
        let compared = |ext: &[Ext]| -> Vec<Ext> {
            ext.iter().filter(|e| matches!(e.tag, ext_tag::XATTRS | ext_tag::FLAGS)).cloned().collect()
        };
        compared(&node.ext) != compared(&now)
    }
}

fn count(entries: &mut Count, kind: Kind) {
    match kind {
        Kind::File => entries.files += 1,
        Kind::Dir => entries.dirs += 1,
        _ => entries.others += 1,
    }
}

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}
