//! Backing up only what a list names; all else is the parent's.
//!
//! Only the pages along the named paths are read and written. Every directory above a named path is
//! looked at itself, but not listed.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::absolute;
use super::each::Each;
use super::entry::Item;
use super::keeper::{Keeper, Old};
use super::sources::{Place, Sources};
use super::walk::{Done, Here, Listing, Roots, Walk, Was, open_dir, roots};
use crate::error::{Error, ErrorKind, Result};
use crate::format::page::is_safe_name;
use crate::model::{Node, NodeKind, PageRef, ext_tag};
use crate::repo::{Edits, Entries, edit, lookup};
use crate::source::{Kind, Names, Stat, Why};

/// What changed, as somebody says who knows.
#[derive(Debug, Clone, Default)]
pub struct ChangedFiles {
    /// Name of the list, for refusals.
    pub list: String,
    /// The unit of the numbers: "line" or "name".
    pub unit: &'static str,
    /// Paths with their numbers in the list.
    pub paths: Vec<(u32, Vec<u8>)>,
}

/// Named paths as a tree of their components.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// This one itself, with all that is below it.
    whole: bool,
    below: BTreeMap<Vec<u8>, Named>,
}

impl Named {
    /// Where the named paths are in the tree of the places; a refusal for one that is in none.
    pub(super) fn new(changed: &ChangedFiles, sources: &Sources) -> Result<Self> {
        let (mut reals, mut named) = (Vec::new(), Self::default());
        gather(sources.places(), &mut Vec::new(), &mut reals);
        for (number, path) in &changed.paths {
            let full = absolute(Path::new(std::ffi::OsStr::from_bytes(path)));
            let mut found = false;
            for (way, real) in &reals {
                if let Some(parts) = parts_below(real, &full) {
                    named.add(way.iter().map(Vec::as_slice).chain(parts));
                    found = true;
                }
            }
            if !found && !named.add_gone(sources, &full) {
                return Err(changed.refuse(*number, path));
            }
        }
        Ok(named)
    }

    /// What was in a directory that is named for what is in it, and is in it no more.
    fn add_gone(&mut self, sources: &Sources, full: &[u8]) -> bool {
        let mut found = false;
        for dir in sources.spread() {
            let dir = absolute(dir);
            let Some(name) = parts_below(&dir, full).and_then(|parts| parts.first().copied()) else { continue };
            // Another source may have that name.
            if !sources.places().contains_key(name) {
                self.add(std::iter::once(name));
            }
            found = true;
        }
        found
    }

    fn add<'p>(&mut self, parts: impl Iterator<Item = &'p [u8]>) {
        let mut at = self;
        for part in parts {
            at = at.below.entry(part.to_vec()).or_default();
        }
        at.whole = true;
    }
}

impl ChangedFiles {
    fn refuse(&self, number: u32, path: &[u8]) -> Error {
        let (list, unit, path) = (&self.list, self.unit, String::from_utf8_lossy(path));
        let what = format!("{unit} {number} of {list}: {path:?} is not in what is backed up");
        Error::new(ErrorKind::Invalid, what)
            .hint("the list names paths in the sources; give the same sources as in the run before")
    }
}

/// The components of a path below another one.
fn parts_below<'p>(real: &[u8], full: &'p [u8]) -> Option<Vec<&'p [u8]>> {
    let rest = full.strip_prefix(real)?;
    let parts: Vec<&[u8]> = rest.split(|b| *b == b'/').filter(|p| !p.is_empty()).collect();
    let below = rest.first().is_none_or(|b| *b == b'/') || real == b"/";
    (below && parts.iter().all(|p| is_safe_name(p))).then_some(parts)
}

/// Every source with its way in the tree and its absolute path.
fn gather(places: &BTreeMap<Vec<u8>, Place>, way: &mut Vec<Vec<u8>>, out: &mut Vec<(Vec<Vec<u8>>, Vec<u8>)>) {
    for (name, place) in places {
        way.push(name.clone());
        match place {
            Place::Source(source) => out.push((way.clone(), absolute(&source.real))),
            Place::Way { children, .. } => gather(children, way, out),
        }
        way.pop();
    }
}

/// Something on the way to what is named, or that itself, as it is now.
struct Entry<'a> {
    /// The directory it is in.
    here: &'a Here<'a>,
    name: &'a [u8],
    stat: &'a Stat,
    /// It is a source that was named itself.
    top: bool,
}

impl Walk<'_> {
    /// The parents' trees with what is named as it is now; gives their roots.
    pub(super) fn changed(
        &self,
        places: &BTreeMap<Vec<u8>, Place>,
        named: &Named,
        parents: &Roots,
    ) -> Result<Each<Option<PageRef>>> {
        let roots = self.changed_way(places, named, parents)?;
        // Half a list is no state of anything.
        self.cx.check()?;
        Ok(roots)
    }

    fn changed_way(
        &self,
        places: &BTreeMap<Vec<u8>, Place>,
        named: &Named,
        parents: &Roots,
    ) -> Result<Each<Option<PageRef>>> {
        let mut edits = self.none();
        for (name, below) in &named.below {
            let was = self.looked_up(parents, name)?;
            let done = match places.get(name) {
                None => self.none(),
                Some(Place::Source(source)) => {
                    let top = source.of.is_none();
                    self.source_with(name, source, was.clone(), &mut |here, name, stat, was| {
                        self.changed_entry(&Entry { here, name, stat, top }, was, below)
                    })?
                }
                Some(Place::Way { real, children }) => {
                    let roots = self.changed_way(children, below, &roots(&was))?;
                    self.way_entry(name, real.as_deref(), &roots, &was)?
                }
            };
            self.put(&mut edits, name, &was, done)?;
        }
        self.edited(parents, edits)
    }

    /// What each repository's first parent has under a name.
    fn looked_up(&self, parents: &Roots, name: &[u8]) -> Result<Was> {
        Each::try_of(parents.len(), |n| match &parents[n] {
            Some(roots) => self.with(n, |to| {
                let node = lookup(to.reader, roots.first().copied().flatten(), name)?;
                Ok(Some(Old { nodes: vec![node], moved: false }))
            }),
            None => Ok(None),
        })
    }

    /// Repositories that know the directory look at what is named in it, others at all of it.
    fn changed_entry(&self, entry: &Entry<'_>, was: Was, named: &Named) -> Result<Each<Done>> {
        let Entry { here, name, stat, top } = *entry;
        let device = self.device(here, name, stat);
        let unseen = self.options.one_file_system && stat.id.dev != device;
        let all = named.whole || unseen || stat.kind != Kind::Dir;
        let whole = |old: &Old| all || !old.found().any(Node::is_dir);
        let (mut anew, mut along) = (was.clone(), was);
        for (anew, along) in anew.iter_mut().zip(along.iter_mut()) {
            let other = if anew.as_ref().is_some_and(whole) { along } else { anew };
            *other = None;
        }
        let mut done = match along.iter().any(Option::is_some) {
            true => self.changed_dir(entry, &along, named)?,
            false => self.none(),
        };
        if anew.iter().any(Option::is_some) {
            let mut taken = self.entry(here, name, stat, anew.clone(), top)?;
            self.each(&anew, |n, to, old| {
                done[n] = std::mem::take(&mut taken[n]);
                match (&done[n], old.nodes.first()) {
                    (Done::Node { .. }, Some(Some(old))) => count_replaced(to, old),
                    _ => Ok(()),
                }
            })?;
        }
        Ok(done)
    }

    /// A directory of which only some entries are looked at.
    fn changed_dir(&self, entry: &Entry<'_>, was: &Was, named: &Named) -> Result<Each<Done>> {
        let Entry { here, name, stat, top } = *entry;
        self.note_owner(stat);
        let item = Item::new(here, name, stat);
        let path = item.path();
        let mut dir = match open_dir(here.dir, name, stat) {
            Ok(dir) => dir,
            Err(e) => {
                self.unread(&path, &e);
                return Ok(self.none());
            }
        };
        // Only rules that look at what is beside an entry need to know the others.
        let names = if self.selection.looks_inside() { dir.names() } else { Names::default() };
        let level = self.enter(here.level, &dir, &path, &names, top);
        let filesystem = if stat.id.dev == here.device { here.filesystem } else { dir.filesystem() };
        let device = self.device(here, name, stat);
        let inside = Here { dir: &dir, path: &path, level: &level, device, filesystem, ..*here };
        let parents = roots(was);
        let mut edits = self.none();
        for (name, below) in &named.below {
            if self.cx.cancelled() {
                break;
            }
            let old = self.looked_up(&parents, name)?;
            let done = match self.look_for(&inside, name) {
                Some(stat) => {
                    let entry = Entry { here: &inside, name, stat: &stat, top: false };
                    self.changed_entry(&entry, old.clone(), below)?
                }
                None => self.none(),
            };
            self.put(&mut edits, name, &old, done)?;
        }
        let roots = self.edited(&parents, edits)?;
        let below = self.each(was, |n, _, old| {
            let incomplete = old.found().any(|old| old.ext(ext_tag::INCOMPLETE).is_some());
            Ok(Listing { root: roots[n], incomplete })
        })?;
        self.dir_node(&item, &dir, &below, was)
    }

    /// Like [`Walk::look`], but what is not there was removed, which is no trouble.
    fn look_for(&self, here: &Here<'_>, name: &[u8]) -> Option<Stat> {
        match here.dir.stat(name) {
            Err(e) if e.why == Why::Os(rustix::io::Errno::NOENT) => None,
            _ => self.look(here, name),
        }
    }

    fn put(&self, edits: &mut Each<Edits>, name: &[u8], was: &Was, mut done: Each<Done>) -> Result<()> {
        self.each(was, |n, to, old| {
            let was = old.nodes.first().cloned().flatten();
            let new = match (std::mem::take(&mut done[n]), &was) {
                (Done::Node { node, .. }, _) => Some(*node),
                (Done::Gone, Some(old)) => {
                    count_replaced(to, old)?;
                    None
                }
                (Done::Gone, None) => None,
            };
            if new != was {
                edits[n].insert(name.to_vec(), new);
            }
            Ok(())
        })
        .map(drop)
    }

    fn edited(&self, parents: &Roots, mut edits: Each<Edits>) -> Result<Each<Option<PageRef>>> {
        Each::try_of(parents.len(), |n| match &parents[n] {
            Some(roots) => self.with(n, |to| {
                let (parent, edits) = (roots.first().copied().flatten(), std::mem::take(&mut edits[n]));
                edit(to.reader, parent, edits, &mut |bytes| to.writer.page(&bytes))
            }),
            None => Ok(None),
        })
    }
}

/// Count the files at and below what the parent had.
fn count_replaced(to: &Keeper<'_>, old: &Node) -> Result<()> {
    let NodeKind::Dir { root } = &old.kind else {
        to.counts.replaced.fetch_add(1, Relaxed);
        return Ok(());
    };
    let mut entries = Entries::new(to.reader, *root);
    while let Some(node) = entries.next()? {
        count_replaced(to, &node)?;
    }
    Ok(())
}
