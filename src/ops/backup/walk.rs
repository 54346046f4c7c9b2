//! Walking the source: what is there ▸ was it so in the parent? ▸ keep the node, or read it again.
//!
//! Directories are walked in parallel, children before their directory's pages. An unchanged entry
//! costs one `statx`; a directory in which nothing changed keeps its pages without being encoded.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rayon::prelude::*;

use super::content::{Contents, Trouble, chunk_of};
use super::moved::Moved;
use super::sample::Sample;
use super::sources::Place;
use super::{Avoid, BackupOptions};
use crate::error::{Error, Result};
use crate::event::{Change, Context, Event, ItemKind, Meter};
use crate::format::page::Builder;
use crate::format::records::Profile;
use crate::id::ClientId;
use crate::model::ext::{Extras, decode_xattrs};
use crate::model::{Content, Node, NodeKind, PageRef, Time, XattrValue, ext_tag};
use crate::ops::locked;
use crate::plan::filter::{Decision, Level, Selection, join};
use crate::repo::{Entries, Extents, FrameScope, Reader, Repository, Writer};
use crate::source::{Dir, Keep, Kind, LinkMap, Metadata, Names, SourceError, Stat};
use crate::sys;

/// Entries of a directory that are worked on together.
const BATCH: usize = 2048;
/// Changed files that one thread takes at a time, so that neighbours share frames.
const GROUP_FILES: usize = 64;
/// A file that changed so shortly before it was read may change again without its times telling.
const RACY_NANOS: i128 = 20_000_000;

/// What a run counts beside what the meter shows.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "the names of `Stats`")]
pub struct Counts {
    pub files_new: AtomicU64,
    pub files_changed: AtomicU64,
    pub files_unmodified: AtomicU64,
    pub dirs_new: AtomicU64,
    pub dirs_changed: AtomicU64,
    pub dirs_unmodified: AtomicU64,
    /// Files of the parent that others took the place of, or none, when a list named them.
    pub replaced: AtomicU64,
    pub files: AtomicU64,
    pub bytes: AtomicU64,
}

/// Everything a walk needs.
pub struct Walk<'a> {
    pub(super) repo: &'a Repository,
    pub(super) cx: &'a Context<'a>,
    pub(super) writer: &'a Writer<'a>,
    /// Reads the parents.
    pub(super) reader: &'a Reader<'a>,
    pub(super) contents: Contents<'a>,
    pub(super) selection: &'a Selection,
    pub(super) options: &'a BackupOptions,
    pub(super) avoid: &'a [Avoid],
    pub(super) client: ClientId,
    pub(super) profile: Profile,
    /// Finds what was moved.
    pub(super) moved: Moved<'a>,
    /// What is read in any case.
    pub(super) sample: Sample,
    /// Look up every chunk of unchanged files: something in the repository is known to be bad.
    pub(super) careful: bool,
    pub(super) links: Mutex<LinkMap<(Time, u64, Content)>>,
    pub(super) owners: Mutex<(BTreeSet<u32>, BTreeSet<u32>)>,
    pub(super) counts: Counts,
}

/// A directory on the way, as its entries need it.
pub(super) struct Here<'w> {
    pub(super) dir: &'w Dir,
    /// Path in the file system, for messages and patterns; ends without `/`.
    pub(super) path: &'w [u8],
    pub(super) level: &'w Level,
    pub(super) source: u32,
    pub(super) device: u64,
    pub(super) filesystem: Option<u64>,
}

impl Here<'_> {
    /// The path of an entry.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        join(self.path, name)
    }
}

/// What became of an entry.
pub(super) enum Done {
    /// In the tree.
    Node { node: Box<Node>, same: bool },
    /// Not in the tree: left out, vanished, unreadable.
    Gone,
}

/// What became of a directory's entries.
pub(super) struct Listing {
    pub(super) root: Option<PageRef>,
    pub(super) incomplete: bool,
}

/// What an entry was in the parents.
pub(super) type Before = Option<Node>;

/// A way of looking at a source: where it is, its name, what it is, what it was.
pub(super) type Look<'l> = &'l mut dyn FnMut(&Here<'_>, &[u8], &Stat, Vec<Before>) -> Result<Done>;

impl Walk<'_> {
    /// Store the places at the top; gives the root of the tree.
    pub fn top(&self, places: &BTreeMap<Vec<u8>, Place>, parents: &[Option<PageRef>]) -> Result<Option<PageRef>> {
        self.way(places, parents, &self.selection.start()).map(|l| l.root)
    }

    fn way(&self, places: &BTreeMap<Vec<u8>, Place>, parents: &[Option<PageRef>], level: &Level) -> Result<Listing> {
        let mut before = Parents::new(self, parents);
        let mut builder = Builder::dir(self.repo.keys());
        let mut emit = |bytes: Vec<u8>| self.writer.page(&bytes);
        for (name, place) in places {
            let was = before.seek(name);
            let done = match place {
                Place::Source { real, number } => self.source(name, real, *number, was)?,
                Place::Way { real, children } => self.way_node(name, real.as_deref(), children, was, level)?,
            };
            if let Done::Node { node, .. } = done {
                builder.node(&node, &mut emit)?;
            }
        }
        Ok(Listing { root: builder.finish(&mut emit)?, incomplete: self.cx.cancelled() })
    }

    fn way_node(
        &self,
        name: &[u8],
        real: Option<&Path>,
        children: &BTreeMap<Vec<u8>, Place>,
        was: Vec<Before>,
        level: &Level,
    ) -> Result<Done> {
        let below = self.way(children, &roots(&was), level)?;
        self.way_entry(name, real, below.root, &was)
    }

    /// A directory on the way to sources, with the entries it has.
    pub(super) fn way_entry(
        &self,
        name: &[u8],
        real: Option<&Path>,
        root: Option<PageRef>,
        was: &[Before],
    ) -> Result<Done> {
        let opened = real.map(|real| Dir::open_root(real).and_then(|dir| Ok((dir.own_stat()?, dir))));
        let mut node = match opened {
            Some(Ok((stat, dir))) => {
                self.note_owner(&stat);
                let mut node = stat.node(name).unwrap_or_else(|| made_up(name));
                node.ext =
                    self.ext(dir.metadata(&stat, self.keep()), real.map_or(&[], |p| p.as_os_str().as_bytes()), None)?;
                node
            }
            _ => made_up(name),
        };
        node.kind = NodeKind::Dir { root };
        let same = was.first().is_some_and(|b| b.as_ref() == Some(&node));
        self.count_dir(same, was.iter().any(Option::is_some));
        Ok(Done::Node { node: Box::new(node), same })
    }

    /// One source: what the user named.
    fn source(&self, name: &[u8], real: &Path, number: u32, was: Vec<Before>) -> Result<Done> {
        self.source_with(name, real, number, was, &mut |here, own, stat, was| self.entry(here, own, stat, was, true))
    }

    /// One source, by a way of looking at it.
    pub(super) fn source_with(
        &self,
        name: &[u8],
        real: &Path,
        number: u32,
        was: Vec<Before>,
        take: Look<'_>,
    ) -> Result<Done> {
        let parent = real.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let shown = std::path::absolute(real).unwrap_or_else(|_| real.to_owned());
        let shown = shown.as_os_str().as_bytes();
        let trouble = |e: SourceError| {
            self.unread(shown, &e);
            Ok(Done::Gone)
        };
        // `..` and `/` have no name of their own to be looked up by.
        let found = match real.file_name() {
            Some(own) => Dir::open_root(parent).and_then(|d| Ok((d.stat(own.as_bytes())?, d, own.as_bytes()))),
            None => Dir::open_root(real).and_then(|d| Ok((d.own_stat()?, d, &b""[..]))),
        };
        let (stat, dir, own) = match found {
            Ok(found) => found,
            Err(e) => return trouble(e),
        };
        let path = shown.rsplitn(2, |b| *b == b'/').nth(1).unwrap_or_default();
        let level = self.selection.start();
        let filesystem = dir.filesystem();
        let here = Here { dir: &dir, path, level: &level, source: number, device: stat.id.dev, filesystem };
        if !self.selection.decide_by_name(shown).is_keep() {
            return Ok(Done::Gone);
        }
        let mut done = take(&here, own, &stat, was)?;
        if let Done::Node { node, .. } = &mut done {
            node.name = name.to_vec();
        }
        Ok(done)
    }

    /// All entries of a directory.
    fn listing(&self, here: &Here<'_>, names: &Names, parents: &[Option<PageRef>]) -> Result<Listing> {
        let mut before = Parents::new(self, parents);
        let mut builder = Builder::dir(self.repo.keys());
        let mut emit = |bytes: Vec<u8>| self.writer.page(&bytes);
        let (mut same, mut count) = (true, 0u64);
        let one_batch = names.len() <= BATCH;
        let old = parents.first().copied().flatten();
        for from in (0..names.len()).step_by(BATCH) {
            if self.cx.cancelled() {
                break;
            }
            self.writer.tick()?;
            let done = self.batch(here, names, from..(from + BATCH).min(names.len()), &mut before)?;
            same &= done.iter().all(|d| matches!(d, Done::Node { same: true, .. }));
            count += done.iter().filter(|d| matches!(d, Done::Node { .. })).count() as u64;
            // Nothing changed and nothing is missing: the pages are the parent's.
            if one_batch && same && old.is_some_and(|o| o.entries == count) {
                return Ok(Listing { root: old, incomplete: false });
            }
            for d in &done {
                if let Done::Node { node, .. } = d {
                    builder.node(node, &mut emit)?;
                }
            }
        }
        let root = builder.finish(&mut emit)?;
        Ok(Listing { root, incomplete: self.cx.cancelled() || names.trouble().is_some() })
    }

    fn batch(
        &self,
        here: &Here<'_>,
        names: &Names,
        range: std::ops::Range<usize>,
        before: &mut Parents<'_>,
    ) -> Result<Vec<Done>> {
        let mut work = Vec::with_capacity(range.len());
        for i in range {
            let Some(name) = names.get(i) else { continue };
            if let Some(stat) = self.look(here, name.bytes) {
                let was = before.seek(name.bytes);
                work.push((name.bytes, stat, was));
            }
        }
        let run = |(name, stat, was): (&[u8], Stat, Vec<Before>)| self.entry(here, name, &stat, was, false);
        // An unchanged file is nothing to hand to another thread.
        let heavy =
            work.iter().filter(|(_, stat, was)| stat.kind == Kind::Dir || self.unchanged(stat, was).is_none()).count();
        if heavy < 2 {
            return work.into_iter().map(run).collect();
        }
        let group =
            if work.iter().any(|(_, s, _)| s.kind == Kind::Dir) { 1 } else { GROUP_FILES.min(work.len() / 8).max(1) };
        let done: Vec<Result<Done>> = work.into_par_iter().with_min_len(group).map(run).collect();
        done.into_iter().collect()
    }

    /// Stat an entry and decide whether it is wanted.
    pub(super) fn look(&self, here: &Here<'_>, name: &[u8]) -> Option<Stat> {
        let path = join(here.path, name);
        if !self.selection.decide_by_name(&path).is_keep() {
            return None;
        }
        let stat = match here.dir.stat(name) {
            Ok(stat) => stat,
            Err(e) => {
                self.unread(&path, &e);
                return None;
            }
        };
        let kind = if stat.kind == Kind::Dir { ItemKind::Dir } else { ItemKind::File };
        match self.selection.decide_by_stat(here.level, &path, kind, stat.size) {
            Decision::Keep => Some(stat),
            Decision::Drop { .. } => None,
        }
    }

    /// The parent's node, if the entry is still what it was.
    fn unchanged<'b>(&self, stat: &Stat, was: &'b [Before]) -> Option<&'b Node> {
        let o = self.options;
        if o.force {
            return None;
        }
        was.iter().flatten().find(|old| {
            let NodeKind::File { size, .. } = &old.kind else { return false };
            stat.kind == Kind::File
                && *size == stat.size
                && old.mtime == stat.mtime
                && (o.ignore_ctime || old.ctime == stat.ctime)
                && (o.ignore_inode || (old.ino == stat.id.ino && old.ino != 0))
        })
    }

    /// One entry, whatever it is.
    pub(super) fn entry(
        &self,
        here: &Here<'_>,
        name: &[u8],
        stat: &Stat,
        was: Vec<Before>,
        named: bool,
    ) -> Result<Done> {
        if self.cx.cancelled() {
            return Ok(Done::Gone);
        }
        self.note_owner(stat);
        let (was, moved) = self.followed(stat, was);
        let mut done = match stat.kind {
            Kind::File => self.file(here, name, stat, &was, moved),
            Kind::Dir => self.dir(here, name, stat, was, named),
            Kind::Symlink => self.symlink(here, name, stat, &was),
            Kind::Unknown => {
                self.cx.problem(
                    "unsupported",
                    &join(here.path, name),
                    "stat",
                    "this is no kind of file that can be kept",
                );
                Ok(Done::Gone)
            }
            _ => {
                let node = stat.node(name);
                let path = join(here.path, name);
                node.map_or(Ok(Done::Gone), |node| self.special(here, node, stat, &path, &was))
            }
        }?;
        // The parent has it in another directory: the pages of this one are others.
        if moved && let Done::Node { same, .. } = &mut done {
            *same = false;
        }
        Ok(done)
    }

    fn dir(&self, here: &Here<'_>, name: &[u8], stat: &Stat, was: Vec<Before>, named: bool) -> Result<Done> {
        let path = if name.is_empty() { here.path.to_vec() } else { join(here.path, name) };
        if let Some(why) = self.avoid.iter().find(|a| (a.dev, a.ino) == (stat.id.dev, stat.id.ino)) {
            self.cx.notice(why.slug, format!("{} is {} and is left out", String::from_utf8_lossy(&path), why.what));
            return Ok(Done::Gone);
        }
        let mut dir = match open_dir(here.dir, name, stat) {
            Ok(dir) => dir,
            Err(e) => {
                self.unread(&path, &e);
                return Ok(Done::Gone);
            }
        };
        let unseen = self.options.one_file_system && stat.id.dev != here.device;
        let names = if unseen { Names::default() } else { dir.names() };
        if let Some(e) = names.trouble() {
            self.unread(&path, e);
        }
        let level = self.enter(here.level, &dir, &path, &names, named);
        let filesystem = if stat.id.dev == here.device { here.filesystem } else { dir.filesystem() };
        let inside =
            Here { dir: &dir, path: &path, level: &level, source: here.source, device: here.device, filesystem };
        let below = self.listing(&inside, &names, &roots(&was))?;
        self.dir_node(name, stat, &dir, &path, &below, &was)
    }

    /// The node of a directory whose entries are stored.
    pub(super) fn dir_node(
        &self,
        name: &[u8],
        stat: &Stat,
        dir: &Dir,
        path: &[u8],
        below: &Listing,
        was: &[Before],
    ) -> Result<Done> {
        let old = was.iter().flatten().find(|n| n.is_dir());
        let mut node = stat.node(name).unwrap_or_else(|| made_up(name));
        node.kind = NodeKind::Dir { root: below.root };
        let untouched = match old {
            Some(o) => same_metadata(o, &node, self.options) && self.attributes_still_there(o)?,
            None => false,
        };
        node.ext = match old {
            Some(o) if untouched && !self.options.with_atime => without_incomplete(o),
            _ => self.ext(dir.metadata(stat, self.keep()), path, None)?,
        };
        if below.incomplete {
            node.set_ext(ext_tag::INCOMPLETE, vec![]);
        }
        let same = was.first().is_some_and(|b| b.as_ref() == Some(&node));
        self.count_dir(same, old.is_some());
        self.tell(path, ItemKind::Dir, change(same, old.is_some()), 0);
        Ok(Done::Node { node: Box::new(node), same })
    }

    pub(super) fn enter(&self, above: &Level, dir: &Dir, path: &[u8], names: &Names, named: bool) -> Level {
        if !self.selection.looks_inside() {
            return above.clone();
        }
        let list: Vec<&[u8]> = names.iter().map(|n| n.bytes).collect();
        let mut read = |name: &[u8], max: usize| read_head(dir, name, max);
        let (level, doubts) = if named {
            self.selection.enter_named(above, path, &list, &mut read)
        } else {
            self.selection.enter(above, path, &list, &mut read)
        };
        for d in doubts {
            self.cx.notice("doubtful-file", format!("{}: {}", String::from_utf8_lossy(&d.path), d.what));
        }
        level
    }

    fn file(&self, here: &Here<'_>, name: &[u8], stat: &Stat, was: &[Before], moved: bool) -> Result<Done> {
        let old = match self.unchanged(stat, was) {
            Some(old) => Some(old),
            None => self.recognized(here, name, stat, was, moved)?,
        };
        if let Some(old) = old
            && self.still_there(old)?
        {
            return match self.sampled(stat) {
                true => self.read_again(here, name, stat, old, was),
                false => self.keep_file(here, name, stat, old, was),
            };
        }
        match self.reading(here, name, stat, was)? {
            Some(node) => self.took(here, name, node, was),
            None => Ok(Done::Gone),
        }
    }

    /// A file that was read.
    pub(super) fn took(&self, here: &Here<'_>, name: &[u8], node: Node, was: &[Before]) -> Result<Done> {
        let old = was.iter().any(Option::is_some);
        let same = was.first().is_some_and(|b| b.as_ref() == Some(&node));
        let counter = if old { &self.counts.files_changed } else { &self.counts.files_new };
        self.count_file(counter, node.bytes());
        self.tell(&join(here.path, name), ItemKind::File, change(false, old), node.bytes());
        Ok(Done::Node { node: Box::new(node), same })
    }

    /// Read a file; nothing if it cannot be read, which is told, or if it is time to stop.
    pub(super) fn reading(&self, here: &Here<'_>, name: &[u8], stat: &Stat, was: &[Before]) -> Result<Option<Node>> {
        let path = join(here.path, name);
        self.cx.meter.begin(&path);
        let read = self.read_file(here, name, stat, was, &path);
        self.cx.meter.end(&path);
        match read {
            Ok(node) => Ok(Some(node)),
            Err(Trouble::Fatal(e)) => Err(e),
            Err(Trouble::Cancelled) => Ok(None),
            Err(Trouble::Source(e)) => {
                self.unread(&path, &e);
                Ok(None)
            }
        }
    }

    /// An unchanged file: the parent's node, with fresh metadata where flags made it relax.
    pub(super) fn keep_file(
        &self,
        here: &Here<'_>,
        name: &[u8],
        stat: &Stat,
        old: &Node,
        was: &[Before],
    ) -> Result<Done> {
        Meter::add(&self.cx.meter.bytes_done, stat.size);
        self.count_file(&self.counts.files_unmodified, stat.size);
        let mut node = Node { name: name.to_vec(), ..old.clone() };
        let exact = old.ctime == stat.ctime && old.ino == stat.id.ino && !self.options.with_atime;
        if !exact && let Some(fresh) = stat.node(name) {
            let path = join(here.path, name);
            let ext = self.ext(here.dir.read_metadata(name, stat, self.keep()), &path, self.link(here, stat))?;
            node = Node { kind: node.kind, ext, ..fresh };
        }
        if self.cx.observer.wants_items() {
            self.tell(&join(here.path, name), ItemKind::File, Change::Unchanged, stat.size);
        }
        let same = was.first().is_some_and(|b| b.as_ref() == Some(&node));
        Ok(Done::Node { node: Box::new(node), same })
    }

    /// In a careful run, whether every chunk and page of a file is known to the index.
    fn still_there(&self, old: &Node) -> Result<bool> {
        if !self.careful {
            return Ok(true);
        }
        if !self.attributes_still_there(old)? {
            return Ok(false);
        }
        let NodeKind::File { content, .. } = &old.kind else { return Ok(true) };
        let index = self.reader.index();
        let mut extents = Extents::new(self.reader, content);
        // A page that cannot be read is as good as missing.
        while let Ok(next) = extents.next() {
            let Some(extent) = next else { return Ok(true) };
            if let Some(id) = chunk_of(&extent)
                && !index.contains(&id)?
            {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// The same for attributes that are too long for their node.
    fn attributes_still_there(&self, old: &Node) -> Result<bool> {
        let Some(ext) = old.ext(ext_tag::XATTRS).filter(|_| self.careful) else { return Ok(true) };
        let Ok(attributes) = decode_xattrs(&ext.data) else { return Ok(false) };
        for x in attributes {
            if let XattrValue::Chunk { id, .. } = x.value
                && !self.reader.index().contains(&id)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_file(
        &self,
        here: &Here<'_>,
        name: &[u8],
        stat: &Stat,
        was: &[Before],
        path: &[u8],
    ) -> Result<Node, Trouble> {
        let begun = sys::now();
        let file = here.dir.open_file(name, stat)?;
        let stat = *file.stat();
        let known = self.known_link(&stat);
        let (size, content) = match known {
            Some(found) => {
                Meter::add(&self.cx.meter.bytes_done, stat.size);
                found
            }
            None => {
                let profile = self.profile_of(was);
                let scope = FrameScope { source: here.source, uid: stat.uid, target: profile.frame_of(stat.size) };
                self.contents.read(&file, profile, scope)?
            }
        };
        let after = file.stat_now()?;
        if size != stat.size || (after.mtime, after.size) != (stat.mtime, stat.size) {
            let what = match after.size.cmp(&stat.size) {
                std::cmp::Ordering::Less => "it shrank while it was read; what was read is kept",
                std::cmp::Ordering::Greater => "it grew while it was read; its first length is kept",
                std::cmp::Ordering::Equal => "it changed while it was read; what was read may be a mixture",
            };
            self.cx.problem("changed-while-read", path, "read", what);
        }
        if stat.nlink > 1 {
            let mut links = locked(&self.links);
            links.first(stat.id, stat.nlink, (stat.mtime, size, content.clone()));
        }
        let ext = self.ext(file.metadata(&stat, self.keep()), path, self.link(here, &stat))?;
        let mut node = stat.node(name).ok_or(Trouble::Cancelled)?;
        node.kind = NodeKind::File { size, content };
        node.ext = ext;
        // An inode of 0 never compares equal: the next run reads the file again.
        if stat.ctime.nanos() > begun.nanos() - RACY_NANOS || size != stat.size || after.mtime != stat.mtime {
            node.ino = 0;
        }
        Ok(node)
    }

    /// What another name of the same file brought.
    fn known_link(&self, stat: &Stat) -> Option<(u64, Content)> {
        if stat.nlink < 2 {
            return None;
        }
        let mut links = locked(&self.links);
        let (mtime, size, content) = links.again(stat.id)?;
        (mtime == stat.mtime && size == stat.size).then_some((size, content))
    }

    /// A file keeps the profile it was cut by: another one would store it whole again.
    fn profile_of(&self, was: &[Before]) -> &Profile {
        let old = was.iter().flatten().find_map(|n| match &n.kind {
            NodeKind::File { content: Content::Extents { profile, .. } | Content::Pages { profile, .. }, .. } => {
                Some(*profile)
            }
            _ => None,
        });
        match old.filter(|_| !self.options.rechunk).and_then(|id| self.repo.profile(id)) {
            Some(profile) => profile,
            None => &self.profile,
        }
    }

    fn symlink(&self, here: &Here<'_>, name: &[u8], stat: &Stat, was: &[Before]) -> Result<Done> {
        let path = join(here.path, name);
        match here.dir.read_link(name) {
            Ok(target) => {
                let node = stat.node(name).map(|n| Node { kind: NodeKind::Symlink { target }, ..n });
                node.map_or(Ok(Done::Gone), |node| self.special(here, node, stat, &path, was))
            }
            Err(e) => {
                self.unread(&path, &e);
                Ok(Done::Gone)
            }
        }
    }

    /// What has no content: the node is the stat and its metadata.
    fn special(&self, here: &Here<'_>, mut node: Node, stat: &Stat, path: &[u8], was: &[Before]) -> Result<Done> {
        if node.kind == NodeKind::Socket {
            self.cx.lost("sockets", path, "", "only its name is kept: what answers there is no file");
        }
        let old = was.iter().flatten().find(|o| o.kind == node.kind && same_metadata(o, &node, self.options));
        node.ext = match old {
            Some(old) if !self.options.with_atime && self.attributes_still_there(old)? => old.ext.clone(),
            _ => {
                let name = node.name.clone();
                self.ext(here.dir.read_metadata(&name, stat, self.keep()), path, self.link(here, stat))?
            }
        };
        let same = was.first().is_some_and(|b| b.as_ref() == Some(&node));
        let existed = was.iter().any(Option::is_some);
        let counter = match (same, existed) {
            (true, _) => &self.counts.files_unmodified,
            (false, true) => &self.counts.files_changed,
            (false, false) => &self.counts.files_new,
        };
        self.count_file(counter, 0);
        self.tell(path, ItemKind::File, change(same, existed), 0);
        Ok(Done::Node { node: Box::new(node), same })
    }

    /// Which hard links belong together: a hash over what stays the same from run to run.
    pub(super) fn link(&self, here: &Here<'_>, stat: &Stat) -> Option<[u8; 16]> {
        if stat.nlink < 2 || stat.kind == Kind::Dir {
            return None;
        }
        let fs = here.filesystem.unwrap_or(stat.id.dev).to_le_bytes();
        let born = stat.btime.unwrap_or_default().nanos().to_le_bytes();
        Some(self.repo.keys().link(&[self.client.as_bytes(), &fs, &stat.id.ino.to_le_bytes(), &born]))
    }

    pub(super) fn keep(&self) -> Keep {
        Keep { atime: self.options.with_atime, ..Keep::default() }
    }

    /// Extensions as a node has them; long attributes become chunks.
    pub(super) fn ext(
        &self,
        metadata: Metadata,
        path: &[u8],
        link: Option<[u8; 16]>,
    ) -> Result<Vec<crate::model::Ext>> {
        for e in &metadata.problems {
            let of_flags = e.during == "getflags";
            let slug = if of_flags { "flags" } else { "xattrs" };
            self.cx.problem(slug, path, e.during, e.why.to_string());
        }
        let scope = FrameScope { source: u32::MAX, uid: 0, target: self.profile.frame };
        let extras = Extras { link, ..metadata.extras };
        extras.into_ext(|value| self.writer.chunk(scope, value).map(|(id, _)| id))
    }

    pub(super) fn note_owner(&self, stat: &Stat) {
        thread_local! {
            static LAST: std::cell::Cell<Option<(usize, u32, u32)>> = const { std::cell::Cell::new(None) };
        }
        let key = Some((std::ptr::from_ref(self).addr(), stat.uid, stat.gid));
        if LAST.replace(key) != key {
            let mut owners = locked(&self.owners);
            owners.0.insert(stat.uid);
            owners.1.insert(stat.gid);
        }
    }

    /// Count a file that has no parent.
    pub(super) fn count_new(&self, bytes: u64) {
        self.count_file(&self.counts.files_new, bytes);
    }

    fn count_file(&self, counter: &AtomicU64, bytes: u64) {
        counter.fetch_add(1, Relaxed);
        self.counts.files.fetch_add(1, Relaxed);
        self.counts.bytes.fetch_add(bytes, Relaxed);
        Meter::add(&self.cx.meter.files_done, 1);
    }

    fn count_dir(&self, same: bool, existed: bool) {
        let counter = match (same, existed) {
            (true, _) => &self.counts.dirs_unmodified,
            (false, true) => &self.counts.dirs_changed,
            (false, false) => &self.counts.dirs_new,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Tell what could not be read.
    pub(super) fn unread(&self, path: &[u8], e: &SourceError) {
        let slug = if e.vanished() { "vanished" } else { "unreadable" };
        self.cx.problem(slug, path, e.during, e.why.to_string());
    }

    fn tell(&self, path: &[u8], kind: ItemKind, change: Change, bytes: u64) {
        if self.cx.observer.wants_items() {
            self.cx.observer.on(&Event::Item { path, kind, change, bytes });
        }
    }
}

fn change(same: bool, existed: bool) -> Change {
    match (same, existed) {
        (true, _) => Change::Unchanged,
        (false, true) => Change::Modified,
        (false, false) => Change::New,
    }
}

pub(super) fn open_dir(above: &Dir, name: &[u8], stat: &Stat) -> Result<Dir, SourceError> {
    if name.is_empty() {
        // The directory that is open is the one that is meant: `/` or `..`.
        return Dir::open_root(Path::new(std::ffi::OsStr::from_bytes(b"/")))
            .and_then(|root| if root.own_stat()?.same_file(stat) { Ok(root) } else { above.open_dir_as(b".", stat) });
    }
    above.open_dir_as(name, stat)
}

/// The first bytes of a file below a directory, without following links.
pub(in crate::ops) fn read_head(dir: &Dir, name: &[u8], max: usize) -> Option<Vec<u8>> {
    let (parents, own) = match name.iter().rposition(|b| *b == b'/') {
        Some(at) => (Some(&name[..at]), &name[at + 1..]),
        None => (None, name),
    };
    let mut below = None;
    for part in parents.into_iter().flat_map(|p| p.split(|b| *b == b'/')) {
        below = Some(below.as_ref().unwrap_or(dir).open_dir(part).ok()?);
    }
    let dir = below.as_ref().unwrap_or(dir);
    let stat = dir.stat(own).ok()?;
    let file = dir.open_file(own, &stat).ok()?;
    let mut out = vec![0; max.min(usize::try_from(stat.size).ok()?)];
    let n = file.read_at(0, &mut out).ok()?;
    out.truncate(n);
    Some(out)
}

/// A directory that exists in no file system.
pub(super) fn made_up(name: &[u8]) -> Node {
    Node {
        name: name.to_vec(),
        kind: NodeKind::Dir { root: None },
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        ctime: Time::default(),
        ino: 0,
        ext: vec![],
    }
}

pub(super) fn roots(was: &[Before]) -> Vec<Option<PageRef>> {
    let root = |n: &Before| match n {
        Some(Node { kind: NodeKind::Dir { root }, .. }) => *root,
        _ => None,
    };
    was.iter().map(root).collect()
}

/// Whether nothing but content could differ, so that extensions need not be read again.
fn same_metadata(old: &Node, new: &Node, options: &BackupOptions) -> bool {
    !options.force
        && (old.mode, old.uid, old.gid, old.mtime) == (new.mode, new.uid, new.gid, new.mtime)
        && old.ctime == new.ctime
        && (options.ignore_inode || old.ino == new.ino)
}

fn without_incomplete(old: &Node) -> Vec<crate::model::Ext> {
    old.ext.iter().filter(|e| e.tag != ext_tag::INCOMPLETE).cloned().collect()
}

/// The entries of one directory in all parents.
struct Parents<'r> {
    cursors: Vec<Option<Entries<'r>>>,
    cx: &'r Context<'r>,
}

impl<'r> Parents<'r> {
    fn new(walk: &'r Walk<'_>, roots: &[Option<PageRef>]) -> Self {
        let cursor = |r: &Option<PageRef>| r.map(|r| Entries::new(walk.reader, Some(r)));
        Self { cursors: roots.iter().map(cursor).collect(), cx: walk.cx }
    }

    /// What each parent has under a name. A parent that cannot be read has nothing: its files are
    /// read again, which loses time and no data.
    fn seek(&mut self, name: &[u8]) -> Vec<Before> {
        let cx = self.cx;
        let seek = |c: &mut Option<Entries<'r>>| match c.as_mut()?.seek(name) {
            Ok(node) => node,
            Err(e) => {
                tell_bad_parent(cx, &e);
                *c = None;
                None
            }
        };
        self.cursors.iter_mut().map(seek).collect()
    }
}

pub(super) fn tell_bad_parent(cx: &Context<'_>, e: &Error) {
    cx.notice(
        "parent-unreadable",
        format!("a part of the parent snapshot cannot be read, its files are read again: {e}"),
    );
}
