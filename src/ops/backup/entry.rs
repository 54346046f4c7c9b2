//! One entry of the source, and what each repository makes of it.

use std::cell::{Cell, OnceCell};

use super::BackupOptions;
use super::content::Trouble;
use super::each::Each;
use super::keeper::{Keeper, Old};
use super::walk::{Done, Here, Listing, Walk, Was, made_up};
use crate::error::Result;
use crate::event::{Change, Event, ItemKind, Meter};
use crate::format::page::check_change;
use crate::model::ext::Extras;
use crate::model::{Content, Ext, Node, NodeKind, ext_tag};
use crate::ops::locked;
use crate::plan::filter::join;
use crate::repo::FrameScope;
use crate::source::{Dir, Metadata, OpenFile, Stat};
use crate::sys;

/// A file that changed so shortly before it was read may change again without its times telling.
const RACY_NANOS: i128 = 20_000_000;

/// An entry, with what was found out about it, once for all repositories.
pub(super) struct Item<'e> {
    pub(super) here: &'e Here<'e>,
    pub(super) name: &'e [u8],
    pub(super) stat: &'e Stat,
    metadata: OnceCell<Metadata>,
    told: Cell<bool>,
    /// The greatest change in any repository, with its bytes.
    change: Cell<Option<(Change, u64)>>,
}

impl<'e> Item<'e> {
    /// Of which nothing is known but its stat.
    pub(super) fn new(here: &'e Here<'e>, name: &'e [u8], stat: &'e Stat) -> Self {
        let (metadata, told, change) = (OnceCell::new(), Cell::new(false), Cell::new(None));
        Self { here, name, stat, metadata, told, change }
    }

    /// Its path in the file system.
    pub(super) fn path(&self) -> Vec<u8> {
        if self.name.is_empty() { self.here.path.to_vec() } else { join(self.here.path, self.name) }
    }

    /// Its metadata as somebody reads it, or has read it before.
    pub(super) fn metadata(&self, read: impl FnOnce() -> Metadata) -> &Metadata {
        self.metadata.get_or_init(read)
    }

    fn note(&self, change: Change, bytes: u64) {
        let rank = |c: Change| match c {
            Change::Unchanged => 0,
            Change::Modified => 1,
            _ => 2,
        };
        if self.change.get().is_none_or(|(before, _)| rank(change) > rank(before)) {
            self.change.set(Some((change, bytes)));
        }
    }
}

/// What a repository is to do with a file.
#[derive(Clone, Copy, Default)]
enum Plan<'b> {
    /// Nothing.
    #[default]
    Out,
    /// Take it over from the parent.
    Keep(&'b Node),
    /// Read it; compare it with this, if it could be taken over.
    Read(Option<&'b Node>),
}

impl Plan<'_> {
    fn reads(&self) -> bool {
        matches!(self, Self::Read(_))
    }
}

impl Walk<'_> {
    pub(super) fn file(&self, item: &Item<'_>, was: &Was) -> Result<Each<Done>> {
        let plans = self.each(was, |_, to, old| self.plan(item, to, old))?;
        let mut read = match plans.iter().any(Plan::reads) {
            true => self.reading(item, was, &plans)?,
            false => {
                Meter::add(&self.cx.meter.bytes_done, item.stat.size);
                self.none()
            }
        };
        let done = self.each(was, |n, to, old| match (plans[n], read[n].take()) {
            (Plan::Keep(node), _) => self.keep_file(item, to, node, old),
            (Plan::Read(None), Some(node)) => Ok(took(item, to, node, old)),
            (Plan::Read(Some(before)), Some(node)) => self.compared(item, to, node, before, old),
            _ => Ok(Done::Gone),
        })?;
        self.count_and_tell(item, &done);
        Ok(done)
    }

    fn plan<'b>(&self, item: &Item<'_>, to: &Keeper<'_>, old: &'b Old) -> Result<Plan<'b>> {
        let known = match self.unchanged(to, item.stat, old) {
            Some(node) => Some(node),
            None => self.recognized(item, to, old)?,
        };
        Ok(match known {
            Some(node) if to.still_there(node)? => match self.sample.has(item.stat) {
                true => Plan::Read(Some(node)),
                false => Plan::Keep(node),
            },
            _ => Plan::Read(None),
        })
    }

    /// Read a file for those who want it; nothing if it cannot be read, which is told, or if it is time
    /// to stop.
    fn reading(&self, item: &Item<'_>, was: &Was, plans: &Each<Plan<'_>>) -> Result<Each<Option<Node>>> {
        let path = item.path();
        self.cx.meter.begin(&path);
        let read = self.read_file(item, was, plans, &path);
        self.cx.meter.end(&path);
        match read {
            Ok(nodes) => Ok(nodes),
            Err(Trouble::Fatal(e)) => Err(e),
            Err(Trouble::Cancelled) => Ok(self.none()),
            Err(Trouble::Source(e)) => {
                self.unread(&path, &e);
                Ok(self.none())
            }
        }
    }

    fn read_file(
        &self,
        item: &Item<'_>,
        was: &Was,
        plans: &Each<Plan<'_>>,
        path: &[u8],
    ) -> Result<Each<Option<Node>>, Trouble> {
        let begun = sys::now();
        let file = item.here.dir.open_file(item.name, item.stat)?;
        let stat = *file.stat();
        let mut contents = self.contents_of(item.here, &file, was, plans)?;
        let after = file.stat_now()?;
        let as_long = contents.iter().flatten().all(|(size, _)| *size == stat.size);
        if !as_long || (after.mtime, after.size) != (stat.mtime, stat.size) {
            let what = match after.size.cmp(&stat.size) {
                std::cmp::Ordering::Less => "it shrank while it was read; what was read is kept",
                std::cmp::Ordering::Greater => "it grew while it was read; its first length is kept",
                std::cmp::Ordering::Equal => "it changed while it was read; what was read may be a mixture",
            };
            self.cx.problem("changed-while-read", path, "read", what);
        }
        let metadata = file.metadata(&stat, self.keep());
        self.tell_lacks(&metadata, path);
        let nodes = self.each(was, |n, to, _| {
            let Some((size, content)) = contents[n].take() else { return Ok(None) };
            if stat.nlink > 1 {
                locked(&to.links).first(stat.id, stat.nlink, (stat.mtime, size, content.clone()));
            }
            let ext = to.ext(&metadata.extras, to.link(item.here, &stat))?;
            let node = stat.node(item.name).map(|node| Node { kind: NodeKind::File { size, content }, ext, ..node });
            // An inode of 0 never compares equal: the next run reads the file again.
            let racy =
                stat.ctime.nanos() > begun.nanos() - RACY_NANOS || size != stat.size || after.mtime != stat.mtime;
            Ok(node.map(|node| if racy { Node { ino: 0, ..node } } else { node }))
        })?;
        Ok(nodes)
    }

    /// Its content for those who want it, with its length as read.
    fn contents_of(
        &self,
        here: &Here<'_>,
        file: &OpenFile,
        was: &Was,
        plans: &Each<Plan<'_>>,
    ) -> Result<Each<Option<(u64, Content)>>, Trouble> {
        let stat = file.stat();
        let (mut out, mut wishes, mut who) = (self.none(), Vec::new(), Vec::new());
        for (n, (to, old)) in self.keepers.iter().zip(was.iter()).enumerate() {
            let (Plan::Read(again), Some(old), false) = (plans[n], old, to.has_failed()) else { continue };
            out[n] = to.known_link(stat);
            if out[n].is_none() {
                // Cut as the parent was, so that equal bytes are equal lists.
                let profile = match again {
                    Some(again) => to.profile_of(std::iter::once(again)),
                    None => to.profile_of(old.found()),
                };
                let scope = FrameScope { source: here.source, uid: stat.uid, target: profile.frame_of(stat.size) };
                wishes.push(to.wish(profile, scope));
                who.push(n);
            }
        }
        if wishes.is_empty() {
            Meter::add(&self.cx.meter.bytes_done, stat.size);
            return Ok(out);
        }
        for (n, kept) in who.into_iter().zip(self.contents.read(file, &wishes)?) {
            out[n] = self.with(n, |_| kept.map(Some))?;
        }
        Ok(out)
    }

    /// An unchanged file: the parent's node, with fresh metadata where flags made it relax.
    pub(super) fn keep_file(&self, item: &Item<'_>, to: &Keeper<'_>, node: &Node, old: &Old) -> Result<Done> {
        let Item { here, name, stat, .. } = *item;
        to.count_file(&to.counts.files_unmodified, stat.size);
        let exact = node.ctime == stat.ctime && node.ino == stat.id.ino && !self.options.with_atime;
        let mut node = Node { name: name.to_vec(), ..node.clone() };
        if !exact && let Some(fresh) = stat.node(name) {
            let ext =
                to.ext(self.extras(item, || here.dir.read_metadata(name, stat, self.keep())), to.link(here, stat))?;
            node = Node { kind: node.kind, ext, ..fresh };
        }
        item.note(Change::Unchanged, stat.size);
        let same = old.has(&node);
        Ok(Done::Node { node: Box::new(node), same })
    }

    pub(super) fn symlink(&self, item: &Item<'_>, was: &Was) -> Result<Each<Done>> {
        match item.here.dir.read_link(item.name) {
            Ok(target) => {
                let node = item.stat.node(item.name).map(|n| Node { kind: NodeKind::Symlink { target }, ..n });
                node.map_or_else(|| Ok(self.none()), |node| self.special(item, &node, was))
            }
            Err(e) => {
                self.unread(&item.path(), &e);
                Ok(self.none())
            }
        }
    }

    /// What has no content: the node is the stat and its metadata.
    pub(super) fn special(&self, item: &Item<'_>, node: &Node, was: &Was) -> Result<Each<Done>> {
        if node.kind == NodeKind::Socket {
            self.cx.lost("sockets", &item.path(), "", "only its name is kept: what answers there is no file");
        }
        let Item { here, name, stat, .. } = *item;
        let done = self.each(was, |_, to, old| {
            let before = old.found().find(|o| o.kind == node.kind && same_metadata(o, node, self.options));
            let ext = match before {
                Some(before) if !self.options.with_atime && to.attributes_still_there(before)? => before.ext.clone(),
                _ => {
                    let read = || here.dir.read_metadata(name, stat, self.keep());
                    to.ext(self.extras(item, read), to.link(here, stat))?
                }
            };
            let node = Node { ext, ..node.clone() };
            let (same, existed) = (old.has(&node), old.existed());
            let counter = match (same, existed) {
                (true, _) => &to.counts.files_unmodified,
                (false, true) => &to.counts.files_changed,
                (false, false) => &to.counts.files_new,
            };
            to.count_file(counter, 0);
            item.note(change(same, existed), 0);
            Ok(Done::Node { node: Box::new(node), same })
        })?;
        self.count_and_tell(item, &done);
        Ok(done)
    }

    /// The node of a directory whose entries are stored.
    pub(super) fn dir_node(&self, item: &Item<'_>, dir: &Dir, below: &Each<Listing>, was: &Was) -> Result<Each<Done>> {
        let Item { name, stat, .. } = *item;
        let fresh = stat.node(name).unwrap_or_else(|| made_up(name));
        let done = self.each(was, |n, to, old| {
            let before = old.found().find(|n| n.is_dir());
            let mut node = Node { kind: NodeKind::Dir { root: below[n].root }, ..fresh.clone() };
            let untouched = match before {
                // With other entries it is made anew, which some extensions forbid.
                Some(o) if o.kind != node.kind && check_change(o).is_err() => false,
                Some(o) => same_metadata(o, &node, self.options) && to.attributes_still_there(o)?,
                None => false,
            };
            node.ext = match before {
                Some(o) if untouched && !self.options.with_atime => without_incomplete(o),
                _ => to.ext(self.extras(item, || dir.metadata(stat, self.keep())), None)?,
            };
            if below[n].incomplete {
                node.set_ext(ext_tag::INCOMPLETE, vec![]);
            }
            let same = old.has(&node);
            to.count_dir(same, before.is_some());
            item.note(change(same, before.is_some()), 0);
            Ok(Done::Node { node: Box::new(node), same })
        })?;
        self.tell(item, ItemKind::Dir);
        Ok(done)
    }

    /// The extensions of an entry; what could not be read of them is told once.
    fn extras<'i>(&self, item: &'i Item<'_>, read: impl FnOnce() -> Metadata) -> &'i Extras {
        let metadata = item.metadata(read);
        if !item.told.replace(true) {
            self.tell_lacks(metadata, &item.path());
        }
        &metadata.extras
    }

    pub(super) fn tell_lacks(&self, metadata: &Metadata, path: &[u8]) {
        for e in &metadata.problems {
            let of_flags = e.during == "getflags";
            let slug = if of_flags { "flags" } else { "xattrs" };
            self.cx.problem(slug, path, e.during, e.why.to_string());
        }
    }

    /// What is no directory is done.
    fn count_and_tell(&self, item: &Item<'_>, done: &Each<Done>) {
        if done.iter().any(|d| matches!(d, Done::Node { .. })) {
            Meter::add(&self.cx.meter.files_done, 1);
            self.tell(item, ItemKind::File);
        }
    }

    fn tell(&self, item: &Item<'_>, kind: ItemKind) {
        if let Some((change, bytes)) = item.change.get()
            && self.cx.observer.wants_items()
        {
            let path = item.path();
            let path = self.in_tree(item.here.source, &path);
            self.cx.observer.on(&Event::Item { path: &path, kind, change, bytes });
        }
    }
}

/// A file that was read.
pub(super) fn took(item: &Item<'_>, to: &Keeper<'_>, node: Node, old: &Old) -> Done {
    let (same, existed) = (old.has(&node), old.existed());
    let counter = if existed { &to.counts.files_changed } else { &to.counts.files_new };
    to.count_file(counter, node.bytes());
    item.note(change(false, existed), node.bytes());
    Done::Node { node: Box::new(node), same }
}

fn change(same: bool, existed: bool) -> Change {
    match (same, existed) {
        (true, _) => Change::Unchanged,
        (false, true) => Change::Modified,
        (false, false) => Change::New,
    }
}

/// Whether nothing but content could differ, so that extensions need not be read again.
fn same_metadata(old: &Node, new: &Node, options: &BackupOptions) -> bool {
    !options.force
        && (old.mode, old.uid, old.gid, old.mtime) == (new.mode, new.uid, new.gid, new.mtime)
        && old.ctime == new.ctime
        && (options.ignore_inode || old.ino == new.ino)
}

fn without_incomplete(old: &Node) -> Vec<Ext> {
    old.ext.iter().filter(|e| e.tag != ext_tag::INCOMPLETE).cloned().collect()
}
