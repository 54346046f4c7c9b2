//! Where a walk starts: what holds in the directory that a source is in, and of the source itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::absolute;
use super::walk::read_head;
use crate::ops::locked;
use crate::plan::filter::{Doubt, GitRules, Level, Selection, join};
use crate::source::{Dir, Names, SourceError};

/// What holds above a source, by its absolute path: git's rules from the top of its work tree down.
/// Other ignore files count from the source on, as nothing says where else they would begin.
pub fn above(selection: &Selection, source: &[u8]) -> (Level, Vec<Doubt>) {
    let (mut level, mut doubts) = (selection.start(), Vec::new());
    if selection.ignore.git == GitRules::Off {
        return (level, doubts);
    }
    for path in work_tree_above(Path::new(OsStr::from_bytes(source))) {
        // What cannot be opened has no rules that anybody could read.
        let Ok(dir) = Dir::open_root(path) else { continue };
        let names: Vec<&[u8]> = [&b".git"[..], b".gitignore"].into_iter().filter(|n| dir.stat(n).is_ok()).collect();
        let mut read = |name: &[u8], max: usize| read_head(&dir, name, max);
        let entered = selection.enter_named(&level, path.as_os_str().as_bytes(), &names, &mut read);
        level = entered.0;
        doubts.extend(entered.1);
    }
    (level, doubts)
}

/// The directories of work trees above a path, from the top down; none outside of one.
fn work_tree_above(path: &Path) -> Vec<&Path> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    // From the outermost, as not every `.git` is a repository; each that is one starts afresh.
    let top = above.iter().rposition(|dir| dir.join(".git").symlink_metadata().is_ok());
    above.truncate(top.map_or(0, |top| top + 1));
    above.reverse();
    above
}

/// Step into a directory that was named.
pub fn enter_named(selection: &Selection, dir: &mut Dir, path: &[u8]) -> (Level, Vec<Doubt>) {
    let (above, mut doubts) = above(selection, path);
    let names = dir.names();
    let list: Vec<&[u8]> = names.iter().map(|n| n.bytes).collect();
    let mut read = |name: &[u8], max: usize| read_head(dir, name, max);
    let (level, more) = selection.enter_named(&above, path, &list, &mut read);
    doubts.extend(more);
    (level, doubts)
}

/// A directory that was named for all that is in it: `.`, `..`, `/`.
pub struct Spread {
    pub dir: Dir,
    /// Its absolute path.
    pub path: Vec<u8>,
    pub level: Level,
    pub device: u64,
    pub filesystem: Option<u64>,
}

impl Spread {
    fn open(real: &Path, selection: &Selection) -> Result<(Self, Vec<Doubt>), SourceError> {
        let path = absolute(real);
        let mut dir = Dir::open_root(real)?;
        let (device, filesystem) = (dir.own_stat()?.id.dev, dir.filesystem());
        let (level, doubts) = match selection.looks_inside() {
            true => enter_named(selection, &mut dir, &path),
            false => (selection.start(), Vec::new()),
        };
        Ok((Self { dir, path, level, device, filesystem }, doubts))
    }
}

/// Such directories, each opened and entered once, however much is in it.
#[derive(Default)]
pub struct Spreads(Mutex<BTreeMap<PathBuf, Arc<Spread>>>);

impl Spreads {
    /// Open one; `tell` hears what is doubtful about its files, once.
    pub fn open(
        &self,
        real: &Path,
        selection: &Selection,
        tell: impl FnOnce(Vec<Doubt>),
    ) -> Result<Arc<Spread>, SourceError> {
        let mut known = locked(&self.0);
        if let Some(spread) = known.get(real) {
            return Ok(spread.clone());
        }
        let (spread, doubts) = Spread::open(real, selection)?;
        tell(doubts);
        let spread = Arc::new(spread);
        known.insert(real.to_owned(), spread.clone());
        Ok(spread)
    }
}

/// Sources that were named in other sources, by their absolute paths.
#[derive(Clone, Copy)]
pub struct Within<'a>(pub &'a BTreeSet<Vec<u8>>);

impl Within<'_> {
    /// Whether there are none, as is usual.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The device that a walk stays on from a directory on, in which it was on `device`: who names a
    /// directory wants its file system.
    pub fn device(self, path: &[u8], own: u64, device: u64) -> u64 {
        if self.has(path) { own } else { device }
    }

    /// What is looked at in a directory: of one `elsewhere`, on a file system that nobody named, only the
    /// ways to what was named.
    pub fn names(self, dir: &mut Dir, path: &[u8], elsewhere: bool) -> Names {
        match elsewhere {
            false => dir.names(),
            true if self.is_below(path) => dir.names().only(|name| self.is_below(&join(path, name))),
            true => Names::default(),
        }
    }

    /// Whether this is one of them.
    pub fn has(self, path: &[u8]) -> bool {
        self.0.contains(path)
    }

    /// Whether an entry is one of them or leads to one: then no rule leaves it out.
    pub fn is_below(self, path: &[u8]) -> bool {
        let below = || {
            let inside = join(path, b"");
            let first = self.0.range::<[u8], _>((Bound::Included(&inside[..]), Bound::Unbounded)).next();
            first.is_some_and(|named| named.starts_with(&inside))
        };
        !self.is_empty() && (self.has(path) || below())
    }
}
