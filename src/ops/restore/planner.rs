//! The planner: walks the snapshot in order, makes directories, and says what goes where.
//!
//! It keeps one page of each directory on its way, never recurses, and believes nothing: a name
//! that could lead elsewhere costs its entry, a damaged page its entries, and the rest goes on.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, OnceLock};

use rustix::io::Errno;

use super::jobs::{Before, DirJob, FileJob, Look, Piece, Progress, Stage, Stretch, Window, few_extents};
use super::links::Part;
use super::worker::Hand;
use super::{Mode, Overwrite, Run, check_name, locked};
use crate::event::{Change, Event, ItemKind, Meter};
use crate::format::limits::DEPTH_MAX;
use crate::model::{Content, Extent, Node, NodeKind, PageRef, ext_tag};
use crate::plan::filter::{Reach, RestoreSelection};
use crate::repo::{Entries, Extents};
use crate::target::{Found, Kind, TempName, Why};

/// Holes from this length on are worth telling that they became zeros; shorter ones may not fit the blocks.
const HOLE_MIN: u64 = 64 << 10;

/// A directory on the way down.
struct Level<'r> {
    entries: Entries<'r>,
    root: Option<PageRef>,
    /// Its node, until it is made.
    node: Option<Node>,
    /// `None` until something in it is wanted.
    dir: Option<Arc<DirJob>>,
    last: Option<Vec<u8>>,
    /// Length of the path above.
    above: usize,
    /// All of its entries are known: what is not among them is not in the snapshot.
    sound: bool,
}

pub(super) struct Planner<'r> {
    run: &'r Run<'r>,
    sender: SyncSender<Window>,
    levels: Vec<Level<'r>>,
    /// Below the target.
    path: Vec<u8>,
    window: Window,
    number: u64,
    hand: Hand,
}

impl<'r> Planner<'r> {
    pub fn new(run: &'r Run<'r>, sender: SyncSender<Window>) -> Self {
        Self {
            run,
            sender,
            levels: Vec::new(),
            path: Vec::new(),
            window: Window::default(),
            number: 0,
            hand: Hand::default(),
        }
    }

    pub fn walk(mut self, root: Option<PageRef>, top: Arc<DirJob>) {
        let entries = Entries::new(self.run.reader, root);
        let level = Level { entries, root, node: None, dir: Some(top), last: None, above: 0, sound: true };
        self.levels.push(level);
        if let Some(dir) = self.levels[0].dir.clone() {
            self.sweep(&dir);
        }
        while !self.levels.is_empty() && !self.run.stopped() {
            self.step();
        }
        self.flush();
        self.run.cx.meter.expected_final.store(true, Relaxed);
    }

    fn step(&mut self) {
        let Some(level) = self.levels.last_mut() else { return };
        match level.entries.next() {
            Ok(Some(node)) => match check_name(&node.name, level.last.as_deref()) {
                Ok(()) => {
                    level.last = Some(node.name.clone());
                    self.entry(node);
                }
                Err(why) => {
                    let path = self.child(&node.name);
                    self.run.cx.problem("rejected-name", &self.run.shown(&path), "restore", why);
                }
            },
            Ok(None) => self.leave(),
            Err(e) => {
                level.sound = false;
                let path = self.run.shown(&self.path);
                self.run.cx.problem("damaged", &path, "read", format!("some entries of this directory are lost: {e}"));
            }
        }
    }

    fn child(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    fn reach(&self, name: &[u8], kind: ItemKind) -> Reach {
        if matches!(self.run.options.selection, RestoreSelection::All) {
            return Reach { selected: true, below: kind == ItemKind::Dir };
        }
        let mut path = vec![b'/'];
        path.extend_from_slice(&self.child(name));
        self.run.options.selection.reach(&path, kind)
    }

    fn entry(&mut self, node: Node) {
        let kind = if node.is_dir() { ItemKind::Dir } else { ItemKind::File };
        let reach = self.reach(&node.name, kind);
        if kind == ItemKind::Dir {
            if reach.selected || reach.below {
                self.enter(node, reach.selected);
            }
            return;
        }
        if !reach.selected {
            return;
        }
        let Some(dir) = self.made() else { return };
        self.leaf(node, &dir);
    }

    fn enter(&mut self, node: Node, selected: bool) {
        let NodeKind::Dir { root } = node.kind else { return };
        if self.levels.len() >= DEPTH_MAX {
            let path = self.run.shown(&self.child(&node.name));
            self.run.cx.problem("too-deep", &path, "restore", "too many directories in each other; left out");
            return;
        }
        let above = self.path.len();
        self.path = self.child(&node.name);
        let sound = node.ext(ext_tag::INCOMPLETE).is_none();
        let entries = Entries::new(self.run.reader, root);
        self.levels.push(Level { entries, root, node: Some(node), dir: None, last: None, above, sound });
        if selected {
            self.made();
        }
    }

    /// The directory we are in, made now if it was not yet. `None` if that is not possible; then
    /// we are not in it any more.
    fn made(&mut self) -> Option<Arc<DirJob>> {
        let first = self.levels.iter().position(|l| l.dir.is_none()).unwrap_or(self.levels.len());
        for at in first..self.levels.len() {
            let parent = self.levels[at - 1].dir.clone()?;
            let node = self.levels[at].node.take()?;
            match self.make(&parent, node) {
                Some(dir) => {
                    self.sweep(&dir);
                    self.levels[at].dir = Some(dir);
                }
                None => {
                    self.path.truncate(self.levels[at].above);
                    self.levels.truncate(at);
                    return None;
                }
            }
        }
        self.levels.last()?.dir.clone()
    }

    fn make(&mut self, parent: &Arc<DirJob>, node: Node) -> Option<Arc<DirJob>> {
        let run = self.run;
        let number = self.number;
        self.number += 1;
        if run.mode == Mode::Verify && locked(run.exempt).contains(number) {
            return None; // It was told, and what is in it was not walked either.
        }
        run.counts.entries.fetch_add(1, Relaxed);
        Meter::add(&run.cx.meter.files_expected, 1);
        let fresh = match self.place_dir(parent, &node.name) {
            Ok(fresh) => fresh,
            Err(message) => {
                run.exempt(number);
                let mut path = parent.path();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(&node.name);
                run.trouble("not-restored", &path, "mkdir", &message);
                return None;
            }
        };
        parent.hold();
        Some(Arc::new(DirJob {
            parent: Some(parent.clone()),
            name: node.name.as_slice().into(),
            node: Some(node),
            fresh,
            before: OnceLock::new(),
            left: AtomicUsize::new(1),
        }))
    }

    /// Have that directory; whether it is new.
    fn place_dir(&mut self, parent: &Arc<DirJob>, name: &[u8]) -> Result<bool, Trouble> {
        let run = self.run;
        let Some(tree) = &run.tree else { return Ok(true) };
        if run.mode != Mode::Write {
            if parent.fresh {
                return Ok(true);
            }
            let there = tree.dir(&parent.path()).and_then(|d| d.survey(name))?;
            return match (run.mode, there) {
                (_, Some(s)) if s.kind == Kind::Dir => Ok(false),
                (Mode::Verify, _) => Err(Trouble::Said("the directory is not there")),
                _ => Ok(true),
            };
        }
        let above = self.hand.dir(run, parent)?;
        let (dir, found) = match parent.is_vacant(name) {
            true => (above.make_dir(name).map_err(Trouble::exclusive)?, Found::Nothing),
            false => above.ensure_dir(name)?,
        };
        if found == Found::Directory {
            let id = dir.own_stat()?.id;
            if run.is_avoided(id) {
                return Err(Trouble::Said("this is the repository or its cache, which is left alone"));
            }
        }
        let mut path = parent.path();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        tree.remember(&path, Arc::new(dir));
        Ok(found != Found::Directory)
    }

    /// Note what is in a directory, and remove what a restore that was killed has left.
    fn sweep(&mut self, dir: &Arc<DirJob>) {
        if dir.fresh || self.run.mode != Mode::Write {
            return;
        }
        let Some(tree) = &self.run.tree else { return };
        let Ok(mut open) = tree.dir(&dir.path()).and_then(|d| d.reopen()) else { return };
        let names = open.names();
        if names.trouble().is_none() {
            let _ = dir.before.set(Before::new(&names)); // It is swept once.
        }
        for name in names.iter().filter(|n| TempName::looks_like(n.bytes)) {
            let gone = open.remove_recursive(name.bytes, &mut |_, _| {});
            debug_assert!(gone.is_ok() || !self.run.options.verify);
        }
    }

    fn leave(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        if let Some(dir) = &level.dir {
            if level.sound && !dir.fresh && self.run.options.delete && self.run.mode != Mode::Verify {
                self.delete(&level, dir);
            }
            self.run.leave_dir(&mut self.hand, dir.clone());
        }
        self.path.truncate(level.above);
    }

    /// Remove what is in the target and not in the snapshot, by going through both in order.
    fn delete(&mut self, level: &Level<'r>, dir: &Arc<DirJob>) {
        let run = self.run;
        let Some(tree) = &run.tree else { return };
        let Ok(mut open) = tree.dir(&dir.path()).and_then(|d| d.reopen()) else { return };
        let names = open.names();
        let mut entries = Entries::new(run.reader, level.root);
        let mut extra = Vec::new();
        for name in names.iter().map(|n| n.bytes) {
            match entries.seek(name) {
                Ok(Some(_)) => {}
                Ok(None) if TempName::looks_like(name) => {}
                // Ours, under a name that the file system changed.
                Ok(None) if dir.is_vacant(name) => {}
                Ok(None) => extra.push(name.to_vec()),
                Err(_) => return, // Nobody knows what the damaged page had.
            }
        }
        for name in extra.iter().filter(|n| !run.stopped() && self.reach(n, ItemKind::File).selected) {
            let path = self.child(name);
            run.remove(&open, name, &path);
            tree.forget(&path);
        }
    }

    /// Whether the policy leaves a file alone that is not the one of the snapshot, as it seems: further
    /// names of that are no names of this.
    fn stays_another(&self, node: &Node, dir: &Arc<DirJob>) -> bool {
        let spares = matches!(self.run.options.overwrite, Overwrite::Never | Overwrite::IfNewer);
        let is_linked = spares && node.ext(ext_tag::LINK).is_some();
        let Some(tree) = self.run.tree.as_ref().filter(|_| is_linked) else { return false };
        let there = tree.dir(&dir.path()).ok().and_then(|dir| dir.survey(&node.name).ok().flatten());
        there.is_some_and(|there| {
            (there.size, there.mtime) != (node.bytes(), node.mtime) && self.run.spares(node, &there)
        })
    }

    fn leaf(&mut self, mut node: Node, dir: &Arc<DirJob>) {
        let run = self.run;
        let number = self.number;
        self.number += 1;
        let size = node.bytes();
        run.counts.entries.fetch_add(1, Relaxed);
        run.counts.bytes.fetch_add(size, Relaxed);
        Meter::add(&run.cx.meter.files_expected, 1);
        Meter::add(&run.cx.meter.bytes_expected, size);
        let part = match run.mode == Mode::Verify || self.stays_another(&node, dir) {
            true => Part::None,
            false => run.links.part(&node, dir),
        };
        let (link, other) = match part {
            Part::None => (None, false),
            Part::First(link) => (Some(link), false),
            Part::Other(link) => (Some(link), true),
            Part::Forgotten => {
                let what = "there are too many hard links to remember all";
                run.cx.lost("hard-links", &run.shown(&dir.path_of(&node.name)), "link", what);
                (None, false)
            }
        };
        dir.hold();
        let content = match &mut node.kind {
            NodeKind::File { content, .. } if !matches!(content, Content::Inline(_)) => {
                Some(std::mem::replace(content, Content::Inline(Vec::new())))
            }
            _ => None,
        };
        let single = matches!(content.as_ref().map(few_extents), Some([Extent::Data { repeat: 1, .. }]));
        let vacant = dir.is_vacant(&node.name);
        let stage = if vacant { Stage::New } else { Stage::Unknown };
        let job = Arc::new(FileJob {
            dir: dir.clone(),
            node,
            size,
            number,
            vacant,
            left: AtomicU64::new(1),
            gaps: AtomicBool::new(false),
            hole: OnceLock::new(),
            single,
            link,
            follows: other,
            progress: Mutex::new(Progress { stage, damage: Vec::new(), replaced: false, untouched: false }),
        });
        match content {
            Some(content) if !other => self.file(job, &content),
            _ => self.window.small.push(job),
        }
        if self.window.is_full() {
            self.flush();
        } else if self.window.is_worth_it() {
            self.offer();
        }
    }

    /// All stretches of a file.
    fn file(&mut self, job: Arc<FileJob>, content: &Content) {
        let mut extents = Extents::new(self.run.reader, content);
        let (mut offset, mut flushed, mut stretches) = (0u64, false, Vec::new());
        let looked_at = !job.vacant || self.run.mode == Mode::Verify;
        let mut at = self.enlist(&job);
        let mut pieces = 0;
        loop {
            let extent = match extents.next() {
                Ok(Some(extent)) => extent,
                Ok(None) => break,
                Err(_) if self.run.stopped() => break,
                Err(_) => {
                    self.run.lost(&job, offset, extents.lost());
                    offset = offset.saturating_add(extents.lost());
                    continue;
                }
            };
            match self.stretch(&job, extent, offset, at) {
                Some(stretch) if looked_at => {
                    pieces += u64::from(matches!(stretch, Stretch::Data(_)));
                    stretches.push(stretch);
                    self.window.stretches += 1;
                }
                Some(Stretch::Data(piece)) => {
                    pieces += 1;
                    self.window.pieces.push(piece);
                }
                _ => {}
            }
            offset = offset.saturating_add(extent.bytes());
            if self.window.is_full() && self.window.pieces.len() + self.window.stretches > 1 {
                job.left.fetch_add(std::mem::take(&mut pieces), Relaxed);
                let stretches = std::mem::take(&mut stretches);
                if looked_at {
                    self.window.looks.push(Look { job: job.clone(), stretches, whole: false });
                }
                self.flush();
                flushed = true;
                at = self.enlist(&job);
            }
            if self.run.stopped() {
                break;
            }
        }
        job.left.fetch_add(pieces, Relaxed);
        if looked_at {
            self.window.looks.push(Look { job: job.clone(), stretches, whole: !flushed });
        }
        if flushed || looked_at || pieces == 0 {
            self.window.ends.push(job);
        } else {
            job.left.fetch_sub(1, Relaxed); // Nobody else has seen it yet, and there are pieces left.
        }
    }

    fn enlist(&mut self, job: &Arc<FileJob>) -> u32 {
        self.window.jobs.push(job.clone());
        (self.window.jobs.len() - 1) as u32
    }

    fn stretch(&self, job: &Arc<FileJob>, extent: Extent, offset: u64, at: u32) -> Option<Stretch> {
        let (id, len, repeat) = match extent {
            Extent::Hole { len } => {
                job.gaps.store(true, Relaxed);
                if len >= HOLE_MIN {
                    job.hole.get_or_init(|| (offset, len));
                }
                return Some(Stretch::Hole { offset, len });
            }
            Extent::Data { id, len, repeat } => (id, len, repeat),
        };
        let place = match self.run.reader.index().find(&id) {
            Ok(Some(place)) => place,
            // Comparing needs no place, and what is in the target already need not be fetched.
            _ if self.run.mode == Mode::Verify || !job.vacant => crate::index::Location { frame: u32::MAX, ordinal: 0 },
            _ => {
                self.run.lost(job, offset, extent.bytes());
                return None;
            }
        };
        Some(Stretch::Data(Piece { id, offset, frame: place.frame, ordinal: place.ordinal, len, repeat, job: at }))
    }

    /// Hand the window over if somebody waits for it. Between files only.
    fn offer(&mut self) {
        match self.sender.try_send(std::mem::take(&mut self.window)) {
            Ok(()) => {}
            Err(TrySendError::Full(window)) => self.window = window,
            Err(TrySendError::Disconnected(_)) => self.run.stop.store(true, Relaxed),
        }
    }

    fn flush(&mut self) {
        let window = std::mem::take(&mut self.window);
        if !window.is_empty() && !self.run.stopped() && self.sender.send(window).is_err() {
            self.run.stop.store(true, Relaxed);
        }
    }
}

/// Why something has no place.
pub(super) enum Trouble {
    Target(crate::target::TargetError),
    Said(&'static str),
}

impl Trouble {
    /// Something could not be made in a place where nothing was.
    pub fn exclusive(e: crate::target::TargetError) -> Self {
        match e.why {
            Why::Os(Errno::EXIST) => Self::Said("the file system takes it for another entry of this directory"),
            _ => Self::Target(e),
        }
    }
}

impl From<crate::target::TargetError> for Trouble {
    fn from(e: crate::target::TargetError) -> Self {
        Self::Target(e)
    }
}

impl Run<'_> {
    /// Whether that is a place that must not be written to.
    pub(super) fn is_avoided(&self, id: crate::target::FileId) -> bool {
        let at = (rustix::fs::makedev((id.dev >> 32) as u32, id.dev as u32), id.ino);
        self.protected.contains(&at)
            && self.options.avoid.iter().any(|p| {
                use std::os::unix::fs::MetadataExt;
                p.metadata().is_ok_and(|m| (m.dev(), m.ino()) == at)
            })
    }

    fn is_protected(&self, id: crate::target::FileId) -> bool {
        self.protected.contains(&(rustix::fs::makedev((id.dev >> 32) as u32, id.dev as u32), id.ino))
    }

    /// Remove an entry that is not wanted, with all below it.
    pub(super) fn remove(&self, dir: &crate::target::TargetDir, name: &[u8], path: &[u8]) {
        if dir.survey(name).is_ok_and(|s| s.is_some_and(|s| self.is_protected(s.id))) {
            let shown = String::from_utf8_lossy(path).into_owned();
            self.cx.notice("kept", format!("{shown} has the repository or its cache in it and is not removed"));
            return;
        }
        if self.mode == Mode::Look {
            self.told_removed(path);
            return;
        }
        let mut tell = |below: &[u8], outcome: Result<(), crate::target::TargetError>| {
            let parent = path.len() - name.len();
            let full = [&path[..parent], below].concat();
            match outcome {
                Ok(()) => self.told_removed(&full),
                Err(e) => self.cx.problem("not-removed", &self.shown(&full), e.during, e.why.to_string()),
            }
        };
        if let Err(e) = dir.remove_recursive(name, &mut tell) {
            self.cx.problem("not-removed", &self.shown(path), e.during, e.why.to_string());
        }
    }

    fn told_removed(&self, path: &[u8]) {
        self.counts.deleted.fetch_add(1, Relaxed);
        Meter::add(&self.cx.meter.files_deleted, 1);
        if self.cx.observer.wants_items() {
            let path = self.shown(path);
            let (kind, change) = (ItemKind::File, Change::Deleted);
            self.cx.observer.on(&Event::Item { path: &path, kind, change, bytes: 0 });
        }
    }
}
