//! Walking the source: what is there ▸ was it so in the parent? ▸ keep the node, or read it again.
//!
//! Directories are walked in parallel, children before their directory's pages. An unchanged entry
//! costs one `statx`; a directory in which nothing changed keeps its pages without being encoded.
//!
//! The source is listed, looked at and read once, however many repositories there are; what they
//! make of it is each one's own business ([`Keeper`]). One that fails takes no part any more.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;

use rayon::prelude::*;

use super::content::Contents;
use super::each::Each;
use super::entry::Item;
use super::keeper::{Keeper, Old};
use super::sample::Sample;
use super::sources::{Place, Source, Top};
use super::start::{Spreads, Within, above};
use super::{Avoid, BackupOptions, absolute, repository_failed};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Context, ItemKind};
use crate::format::page::Builder;
use crate::model::{Node, NodeKind, PageRef, Time};
use crate::ops::{deep, locked};
use crate::plan::filter::{Doubt, Head, Level, Selection, join};
use crate::repo::Entries;
use crate::source::{Dir, Keep, Kind, Names, SourceError, Stat, Why};

/// Entries of a directory that are worked on together.
const BATCH: usize = 2048;
/// Changed files that one thread takes at a time, so that neighbours share frames.
const GROUP_FILES: usize = 64;

/// Everything a walk needs.
pub struct Walk<'a> {
    pub(super) cx: &'a Context<'a>,
    /// The repositories that keep what is found.
    pub(super) keepers: &'a [Keeper<'a>],
    /// The run can be begun anew.
    pub(super) again: bool,
    pub(super) contents: Contents<'a>,
    pub(super) selection: &'a Selection,
    pub(super) options: &'a BackupOptions,
    pub(super) avoid: &'a [Avoid],
    pub(super) within: Within<'a>,
    pub(super) spreads: Spreads,
    /// What is read in any case.
    pub(super) sample: Sample,
    pub(super) owners: Mutex<(BTreeSet<u32>, BTreeSet<u32>)>,
    /// Where each source is, by its number.
    pub(super) tops: BTreeMap<u32, Top>,
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

/// What became of an entry, in one repository.
#[derive(Debug, Default)]
pub(super) enum Done {
    /// In the tree.
    Node { node: Box<Node>, same: bool },
    /// Not in the tree: left out, vanished, unreadable.
    #[default]
    Gone,
}

/// What became of a directory's entries, in one repository.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Listing {
    pub(super) root: Option<PageRef>,
    pub(super) incomplete: bool,
}

/// What an entry was in a parent.
pub(super) type Before = Option<Node>;

/// What an entry was in the parents of each repository; `None` for one that takes no part.
pub(super) type Was = Each<Option<Old>>;

/// A directory in the parents of each repository, likewise.
pub(super) type Roots = Each<Option<Vec<Option<PageRef>>>>;

/// A way of looking at a source: where it is, its name, what it is, what it was.
pub(super) type Look<'l> = &'l mut dyn FnMut(&Here<'_>, &[u8], &Stat, Was) -> Result<Each<Done>>;

impl<'a> Walk<'a> {
    /// One of something for each repository.
    pub(super) fn of_each<T>(&self, make: impl FnMut(usize) -> T) -> Each<T> {
        Each::of(self.keepers.len(), make)
    }

    /// Nothing, for each repository.
    pub(super) fn none<T: Default>(&self) -> Each<T> {
        self.of_each(|_| T::default())
    }

    /// Work for one repository, unless it failed before. If it fails now the others go on.
    pub(super) fn with<T: Default>(&self, n: usize, work: impl FnOnce(&'a Keeper<'a>) -> Result<T>) -> Result<T> {
        let to = &self.keepers[n];
        if to.has_failed() {
            return Ok(T::default());
        }
        work(to).or_else(|e| self.give_up(to, e).map(|()| T::default()))
    }

    /// Work for each repository that takes part.
    pub(super) fn each<'b, T: Default>(
        &self,
        was: &'b Was,
        mut work: impl FnMut(usize, &'a Keeper<'a>, &'b Old) -> Result<T>,
    ) -> Result<Each<T>> {
        Each::try_of(was.len(), |n| match &was[n] {
            Some(old) => self.with(n, |to| work(n, to, old)),
            None => Ok(T::default()),
        })
    }

    /// One repository less; an error if it was the last, or if it is none of a repository.
    fn give_up(&self, to: &Keeper<'_>, e: Error) -> Result<()> {
        if e.kind() == ErrorKind::Cancelled {
            return Err(e);
        }
        let kind = e.kind();
        {
            let mut why = locked(&to.why);
            if why.is_none() {
                if !self.begins_anew(&e) {
                    repository_failed(to.cx, to.name, &e);
                }
                *why = Some(e);
            }
        }
        // In this order, so that of two that fail at once at least one sees that nobody is left.
        to.failed.store(true, SeqCst);
        match self.keepers.iter().all(|to| to.failed.load(SeqCst)) {
            true => Err(Error::new(kind, "no repository is left")),
            false => Ok(()),
        }
    }

    /// Whether a repository that failed so is begun anew, so that nobody need be told yet.
    pub(super) fn begins_anew(&self, e: &Error) -> bool {
        self.again && e.kind() == ErrorKind::Fenced
    }

    /// Store the places at the top; gives the root of the tree.
    pub fn top(&self, places: &BTreeMap<Vec<u8>, Place>, parents: &Roots) -> Result<Each<Option<PageRef>>> {
        for path in self.within.0 {
            let path = Path::new(OsStr::from_bytes(path));
            let (parent, own) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
            // The walk tells of what it finds only.
            if let Err(e) = Dir::open_root(parent).and_then(|dir| dir.stat(own.as_bytes())) {
                self.unread(path.as_os_str().as_bytes(), &e);
            }
        }
        let below = self.way(places, parents)?;
        Ok(self.of_each(|n| below[n].root))
    }

    fn way(&self, places: &BTreeMap<Vec<u8>, Place>, parents: &Roots) -> Result<Each<Listing>> {
        let mut pages = self.pages(parents);
        for (name, place) in places {
            let was = self.seek(&mut pages, name);
            let done = match place {
                Place::Source(source) => self.source(name, source, was)?,
                Place::Way { real, children } => self.way_node(name, real.as_deref(), children, was)?,
            };
            self.put_into(&mut pages, |n, pages| pages.push(&done[n]))?;
        }
        self.finish_pages(pages, self.cx.cancelled())
    }

    fn way_node(
        &self,
        name: &[u8],
        real: Option<&Path>,
        children: &BTreeMap<Vec<u8>, Place>,
        was: Was,
    ) -> Result<Each<Done>> {
        let below = self.way(children, &roots(&was))?;
        self.way_entry(name, real, &self.of_each(|n| below[n].root), &was)
    }

    /// A directory on the way to sources, with the entries it has.
    pub(super) fn way_entry(
        &self,
        name: &[u8],
        real: Option<&Path>,
        roots: &Each<Option<PageRef>>,
        was: &Was,
    ) -> Result<Each<Done>> {
        let opened = real.map(|real| Dir::open_root(real).and_then(|dir| Ok((dir.own_stat()?, dir))));
        let (node, metadata) = match opened {
            Some(Ok((stat, dir))) => {
                self.note_owner(&stat);
                (stat.node(name).unwrap_or_else(|| made_up(name)), Some(dir.metadata(&stat, self.keep())))
            }
            _ => (made_up(name), None),
        };
        if let Some(metadata) = &metadata {
            self.tell_lacks(metadata, real.map_or(&[], |p| p.as_os_str().as_bytes()));
        }
        self.each(was, |n, to, old| {
            let mut node = Node { kind: NodeKind::Dir { root: roots[n] }, ..node.clone() };
            if let Some(metadata) = &metadata {
                node.ext = to.ext(&metadata.extras, None)?;
            }
            let same = old.has(&node);
            to.count_dir(same, old.existed());
            Ok(Done::Node { node: Box::new(node), same })
        })
    }

    /// One source.
    fn source(&self, name: &[u8], source: &Source, was: Was) -> Result<Each<Done>> {
        let named = source.of.is_none();
        self.source_with(name, source, was, &mut |here, own, stat, was| self.entry(here, own, stat, was, named))
    }

    /// One source, by a way of looking at it.
    pub(super) fn source_with(&self, name: &[u8], source: &Source, was: Was, take: Look<'_>) -> Result<Each<Done>> {
        let mut done = match &source.of {
            None => self.named(source, was, take)?,
            Some(of) => self.spread(source, of, was, take)?,
        };
        for done in done.iter_mut() {
            if let Done::Node { node, .. } = done {
                node.name = name.to_vec();
            }
        }
        Ok(done)
    }

    /// What the user named: no rule is asked about it.
    fn named(&self, source: &Source, was: Was, take: Look<'_>) -> Result<Each<Done>> {
        let real = &source.real;
        let parent = real.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let shown = absolute(real);
        // `.`, `..` and `/` have no name of their own to be looked up by.
        let found = match real.file_name() {
            Some(own) => Dir::open_root(parent).and_then(|d| Ok((d.stat(own.as_bytes())?, d, own.as_bytes()))),
            None => Dir::open_root(real).and_then(|d| Ok((d.own_stat()?, d, &b""[..]))),
        };
        let (stat, dir, own) = match found {
            Ok(found) => found,
            Err(e) => {
                self.unread(&shown, &e);
                return Ok(self.none());
            }
        };
        let path = if own.is_empty() { &shown } else { shown.rsplitn(2, |b| *b == b'/').nth(1).unwrap_or_default() };
        let (level, doubts) = above(self.selection, &shown);
        self.tell_doubts(doubts);
        let filesystem = dir.filesystem();
        let here = Here { dir: &dir, path, level: &level, source: source.number, device: stat.id.dev, filesystem };
        take(&here, own, &stat, was)
    }

    /// What is in a directory that the user named: judged as all that is in a directory.
    fn spread(&self, source: &Source, of: &Path, was: Was, take: Look<'_>) -> Result<Each<Done>> {
        let spread = match self.spreads.open(of, self.selection, |doubts| self.tell_doubts(doubts)) {
            Ok(spread) => spread,
            Err(e) => {
                self.unread(&absolute(&source.real), &e);
                return Ok(self.none());
            }
        };
        let number = source.number;
        let (level, device, filesystem) = (&spread.level, spread.device, spread.filesystem);
        let here = Here { dir: &spread.dir, path: &spread.path, level, source: number, device, filesystem };
        let own = source.real.file_name().unwrap_or_default().as_bytes();
        match self.look(&here, own) {
            Some(stat) => take(&here, own, &stat, was),
            None => Ok(self.none()),
        }
    }

    /// All entries of a directory.
    fn listing(&self, here: &Here<'_>, names: &Names, parents: &Roots) -> Result<Each<Listing>> {
        let mut pages = self.pages(parents);
        let one_batch = names.len() <= BATCH;
        for from in (0..names.len()).step_by(BATCH) {
            if self.cx.cancelled() {
                break;
            }
            (0..self.keepers.len()).try_for_each(|n| self.with(n, |to| to.writer.tick()))?;
            let done = self.batch(here, names, from..(from + BATCH).min(names.len()), &mut pages)?;
            self.put_into(&mut pages, |n, pages| pages.take(done.iter().map(|d| &d[n]), one_batch))?;
        }
        self.finish_pages(pages, self.cx.cancelled() || names.trouble().is_some())
    }

    fn batch(
        &self,
        here: &Here<'_>,
        names: &Names,
        range: std::ops::Range<usize>,
        pages: &mut Each<Option<Pages<'a>>>,
    ) -> Result<Vec<Each<Done>>> {
        let mut work = Vec::with_capacity(range.len());
        for i in range {
            let Some(name) = names.get(i) else { continue };
            if let Some(stat) = self.look(here, name.bytes) {
                let was = self.seek(pages, name.bytes);
                work.push((name.bytes, stat, was));
            }
        }
        let run = |(name, stat, was): (&[u8], Stat, Was)| self.entry(here, name, &stat, was, false);
        // An unchanged file is nothing to hand to another thread.
        let heavy =
            work.iter().filter(|(_, stat, was)| stat.kind == Kind::Dir || self.changed_for_any(stat, was)).count();
        if heavy < 2 {
            return work.into_iter().map(run).collect();
        }
        let group =
            if work.iter().any(|(_, s, _)| s.kind == Kind::Dir) { 1 } else { GROUP_FILES.min(work.len() / 8).max(1) };
        let done: Vec<Result<Each<Done>>> = work.into_par_iter().with_min_len(group).map(run).collect();
        done.into_iter().collect()
    }

    /// Whether a repository has to look closer at an entry.
    fn changed_for_any(&self, stat: &Stat, was: &Was) -> bool {
        let changed = |to: &Keeper<'_>, old: &Old| self.unchanged(to, stat, old).is_none();
        let mut all = self.keepers.iter().zip(was.iter());
        all.any(|(to, old)| !to.has_failed() && old.as_ref().is_some_and(|old| changed(to, old)))
    }

    /// Stat an entry and decide whether it is wanted.
    pub(super) fn look(&self, here: &Here<'_>, name: &[u8]) -> Option<Stat> {
        let path = join(here.path, name);
        let wanted = self.within.is_below(&path);
        if !wanted && !self.selection.decide_by_name(&path).is_keep() {
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
        (wanted || self.selection.decide_by_stat(here.level, &path, kind, stat.size).is_keep()).then_some(stat)
    }

    /// The parent's node, if the entry is still what it was.
    pub(super) fn unchanged<'b>(&self, to: &Keeper<'_>, stat: &Stat, was: &'b Old) -> Option<&'b Node> {
        let o = self.options;
        if o.force {
            return None;
        }
        was.found().filter(|old| to.stays_cut(old)).find(|old| {
            let NodeKind::File { size, .. } = &old.kind else { return false };
            stat.kind == Kind::File
                && *size == stat.size
                && old.mtime == stat.mtime
                && (o.ignore_ctime || old.ctime == stat.ctime)
                && (o.ignore_inode || (old.ino == stat.id.ino && old.ino != 0))
        })
    }

    /// One entry, whatever it is.
    pub(super) fn entry(&self, here: &Here<'_>, name: &[u8], stat: &Stat, was: Was, named: bool) -> Result<Each<Done>> {
        if self.cx.cancelled() {
            return Ok(self.none());
        }
        self.note_owner(stat);
        let was = self.followed(stat, was);
        let item = Item::new(here, name, stat);
        let mut done = match stat.kind {
            Kind::File => self.file(&item, &was)?,
            Kind::Dir => self.dir(&item, &was, named)?,
            Kind::Symlink => self.symlink(&item, &was)?,
            Kind::Unknown => {
                let what = "this is no kind of file that can be kept";
                self.cx.problem("unsupported", &item.path(), "stat", what);
                self.none()
            }
            _ => stat.node(name).map_or_else(|| Ok(self.none()), |node| self.special(&item, &node, &was))?,
        };
        // The parent has it in another directory: the pages of this one are others.
        for (done, was) in done.iter_mut().zip(was.iter()) {
            if let (Done::Node { same, .. }, Some(Old { moved: true, .. })) = (done, was) {
                *same = false;
            }
        }
        Ok(done)
    }

    fn dir(&self, item: &Item<'_>, was: &Was, named: bool) -> Result<Each<Done>> {
        let Item { here, name, stat, .. } = *item;
        let path = item.path();
        if let Some(why) = self.avoid.iter().find(|a| (a.dev, a.ino) == (stat.id.dev, stat.id.ino)) {
            self.cx.notice(why.slug, format!("{} is {} and is left out", String::from_utf8_lossy(&path), why.what));
            return Ok(self.none());
        }
        // Under another name it may be deeper in the tree than on the disk, or less deep.
        if deep::too_deep(&self.in_tree(here.source, &path)) {
            self.cx.problem("too-deep", &path, "read", "too many directories in each other; left out");
            return Ok(self.none());
        }
        let mut dir = match open_dir(here.dir, name, stat) {
            Ok(dir) => dir,
            Err(e) => {
                self.unread(&path, &e);
                return Ok(self.none());
            }
        };
        let device = self.device(here, name, stat);
        let names = self.within.names(&mut dir, &path, self.options.one_file_system && stat.id.dev != device);
        if let Some(e) = names.trouble() {
            self.unread(&path, e);
        }
        let level = match self.within.has(&path) {
            true => {
                let (above, doubts) = above(self.selection, &path);
                self.tell_doubts(doubts);
                self.enter(&above, &dir, &path, &names, true)
            }
            false => self.enter(here.level, &dir, &path, &names, named),
        };
        let filesystem = if stat.id.dev == here.device { here.filesystem } else { dir.filesystem() };
        let inside = Here { dir: &dir, path: &path, level: &level, source: here.source, device, filesystem };
        let below = self.listing(&inside, &names, &roots(was))?;
        self.dir_node(item, &dir, &below, was)
    }

    /// A path on the disk as the tree has it.
    pub(super) fn in_tree<'p>(&self, source: u32, path: &'p [u8]) -> Cow<'p, [u8]> {
        self.tops.get(&source).map_or(Cow::Borrowed(path), |top| top.in_tree(path))
    }

    /// The device that the walk stays on from this entry on.
    pub(super) fn device(&self, here: &Here<'_>, name: &[u8], stat: &Stat) -> u64 {
        match self.within.is_empty() {
            true => here.device,
            false => self.within.device(&join(here.path, name), stat.id.dev, here.device),
        }
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
        self.tell_doubts(doubts);
        level
    }

    fn tell_doubts(&self, doubts: Vec<Doubt>) {
        for d in doubts {
            self.cx.notice("doubtful-file", format!("{}: {}", String::from_utf8_lossy(&d.path), d.what));
        }
    }

    pub(super) fn keep(&self) -> Keep {
        Keep { atime: self.options.with_atime, ..Keep::default() }
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

    /// Tell what could not be read.
    pub(super) fn unread(&self, path: &[u8], e: &SourceError) {
        let slug = if e.vanished() { "vanished" } else { "unreadable" };
        self.cx.problem(slug, path, e.during, e.why.to_string());
    }
}

pub(super) fn open_dir(above: &Dir, name: &[u8], stat: &Stat) -> Result<Dir, SourceError> {
    if name.is_empty() {
        // The directory that is open is the one that is meant: `/`, `.` or `..`.
        return above.open_again();
    }
    above.open_dir_as(name, stat)
}

/// The first bytes of a file: below a directory without following links, or by an absolute path.
pub(in crate::ops) fn read_head(dir: &Dir, name: &[u8], max: usize) -> Head {
    match head_of(dir, name, max) {
        Ok(bytes) => Head::Bytes(bytes),
        Err(e) if e.vanished() => Head::Absent,
        Err(_) => Head::Unreadable,
    }
}

fn head_of(dir: &Dir, name: &[u8], max: usize) -> Result<Vec<u8>, SourceError> {
    let (parents, own) = match name.iter().rposition(|b| *b == b'/') {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => (&b""[..], name),
    };
    if name.starts_with(b"/") {
        let real = std::fs::canonicalize(std::ffi::OsStr::from_bytes(name)).map_err(|e| {
            let why = rustix::io::Errno::from_io_error(&e).map_or(Why::Name, Why::Os);
            SourceError { during: "open", why }
        })?;
        let own = real.file_name().unwrap_or_default().as_bytes();
        return own_head(&Dir::open_root(real.parent().unwrap_or(&real))?, own, max);
    }
    let mut below = None;
    for part in parents.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        below = Some(below.as_ref().unwrap_or(dir).open_dir(part)?);
    }
    own_head(below.as_ref().unwrap_or(dir), own, max)
}

fn own_head(dir: &Dir, own: &[u8], max: usize) -> Result<Vec<u8>, SourceError> {
    let stat = dir.stat(own)?;
    let file = dir.open_file(own, &stat)?;
    let mut out = vec![0; usize::try_from(stat.size).map_or(max, |size| size.min(max))];
    let n = file.read_at(0, &mut out)?;
    out.truncate(n);
    Ok(out)
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

pub(super) fn roots(was: &Was) -> Roots {
    let root = |n: &Before| match n {
        Some(Node { kind: NodeKind::Dir { root }, .. }) => *root,
        _ => None,
    };
    Each::of(was.len(), |n| was[n].as_ref().map(|old| old.nodes.iter().map(root).collect()))
}

/// The entries of one directory in all parents of a repository.
struct Parents<'r> {
    cursors: Vec<Option<Entries<'r>>>,
    cx: &'r Context<'r>,
}

impl<'r> Parents<'r> {
    fn new(to: &'r Keeper<'r>, roots: &[Option<PageRef>]) -> Self {
        let cursor = |r: &Option<PageRef>| r.map(|r| Entries::new(to.reader, Some(r)));
        Self { cursors: roots.iter().map(cursor).collect(), cx: to.cx }
    }

    /// What each parent has under a name. A parent that cannot be read has nothing: its files are
    /// read again, which loses time and no data.
    fn seek(&mut self, name: &[u8]) -> Old {
        let cx = self.cx;
        let seek = |c: &mut Option<Entries<'r>>| match c.as_mut()?.seek(name) {
            Ok(node) => node,
            Err(e) => {
                tell_bad_parent(cx, &e);
                *c = None;
                None
            }
        };
        Old { nodes: self.cursors.iter_mut().map(seek).collect(), moved: false }
    }
}

/// A directory's pages in the making, in one repository.
struct Pages<'r> {
    to: &'r Keeper<'r>,
    before: Parents<'r>,
    builder: Builder<'r>,
    /// The first parent's,
    old: Option<PageRef>,
    /// from which nothing differs so far,
    same: bool,
    /// and never will.
    kept: bool,
    count: u64,
}

impl<'r> Pages<'r> {
    fn new(to: &'r Keeper<'r>, parents: &[Option<PageRef>]) -> Self {
        let (before, builder) = (Parents::new(to, parents), Builder::dir(to.repo.keys()));
        let old = parents.first().copied().flatten();
        Self { to, before, builder, old, same: true, kept: false, count: 0 }
    }

    fn push(&mut self, done: &Done) -> Result<()> {
        let writer = self.to.writer;
        match done {
            Done::Node { node, .. } => self.builder.node(node, &mut |bytes: Vec<u8>| writer.page(&bytes)),
            Done::Gone => Ok(()),
        }
    }

    /// Take some entries, or all there are.
    fn take<'d>(&mut self, done: impl Iterator<Item = &'d Done> + Clone, all: bool) -> Result<()> {
        self.same &= done.clone().all(|d| matches!(d, Done::Node { same: true, .. }));
        self.count += done.clone().filter(|d| matches!(d, Done::Node { .. })).count() as u64;
        // Nothing changed and nothing is missing: the pages are the parent's.
        self.kept = all && self.same && self.old.is_some_and(|o| o.entries == self.count);
        if self.kept {
            return Ok(());
        }
        let mut done = done;
        done.try_for_each(|d| self.push(d))
    }

    fn finish(self, incomplete: bool) -> Result<Listing> {
        if self.kept {
            return Ok(Listing { root: self.old, incomplete: false });
        }
        let writer = self.to.writer;
        let root = self.builder.finish(&mut |bytes: Vec<u8>| writer.page(&bytes))?;
        Ok(Listing { root, incomplete })
    }
}

impl<'a> Walk<'a> {
    fn pages(&self, parents: &Roots) -> Each<Option<Pages<'a>>> {
        self.of_each(|n| parents[n].as_ref().map(|roots| Pages::new(&self.keepers[n], roots)))
    }

    fn seek(&self, pages: &mut Each<Option<Pages<'a>>>, name: &[u8]) -> Was {
        self.of_each(|n| pages[n].as_mut().filter(|p| !p.to.has_failed()).map(|p| p.before.seek(name)))
    }

    fn put_into(
        &self,
        pages: &mut Each<Option<Pages<'a>>>,
        mut put: impl FnMut(usize, &mut Pages<'a>) -> Result<()>,
    ) -> Result<()> {
        for (n, pages) in pages.iter_mut().enumerate() {
            if let Some(pages) = pages {
                self.with(n, |_| put(n, pages))?;
            }
        }
        Ok(())
    }

    fn finish_pages(&self, mut pages: Each<Option<Pages<'a>>>, incomplete: bool) -> Result<Each<Listing>> {
        Each::try_of(pages.len(), |n| match pages[n].take() {
            Some(pages) => self.with(n, |_| pages.finish(incomplete)),
            None => Ok(Listing::default()),
        })
    }
}

pub(super) fn tell_bad_parent(cx: &Context<'_>, e: &Error) {
    cx.notice(
        "parent-unreadable",
        format!("a part of the parent snapshot cannot be read, its files are read again: {e}"),
    );
}
