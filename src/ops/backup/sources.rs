//! Where sources land in the tree: the paths a user names, as a tree of their components.
//!
//! As in restic, `a/../b` is `b`, wherever `a` leads; an absolute path keeps all its components, a
//! relative one its own without `..` before them; and `.` stands for what is in it. What is in it is
//! judged as what is in any directory.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::absolute;
use crate::error::{Error, ErrorKind, Result};

/// A place in the tree that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// What is there in the file system, with all below it.
    Source(Source),
    /// A directory on the way to sources.
    Way {
        /// Where its own metadata is; `None` if it exists in no file system.
        real: Option<PathBuf>,
        /// What is in it.
        children: BTreeMap<Vec<u8>, Place>,
    },
}

/// What is backed up at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where to read it.
    pub real: PathBuf,
    /// Which of the sources.
    pub number: u32,
    /// The directory that was named for all that is in it; `None` if this was named itself.
    pub of: Option<PathBuf>,
}

/// Where a source is on the disk, and where in the tree.
#[derive(Debug)]
pub(super) struct Top {
    disk: Vec<u8>,
    tree: Vec<u8>,
}

impl Top {
    /// A path in this source as the tree has it. Mostly it is the same.
    pub fn in_tree<'p>(&self, path: &'p [u8]) -> Cow<'p, [u8]> {
        match path.strip_prefix(&self.disk[..]) {
            Some(below) if self.disk != self.tree => Cow::Owned([&self.tree[..], below].concat()),
            _ => Cow::Borrowed(path),
        }
    }
}

/// Where each source is, by its number.
pub(super) fn tops(places: &BTreeMap<Vec<u8>, Place>) -> BTreeMap<u32, Top> {
    let mut out = BTreeMap::new();
    note_tops(places, b"", &mut out);
    out
}

/// As deep as the paths that were named.
fn note_tops(places: &BTreeMap<Vec<u8>, Place>, above: &[u8], out: &mut BTreeMap<u32, Top>) {
    for (name, place) in places {
        let tree = [above, b"/", name].concat();
        match place {
            Place::Way { children, .. } => note_tops(children, &tree, out),
            Place::Source(source) => {
                out.insert(source.number, Top { disk: absolute(&source.real), tree });
            }
        }
    }
}

/// The place of everything that is named.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    children: BTreeMap<Vec<u8>, Place>,
    count: u32,
    spread: Vec<PathBuf>,
    within: BTreeSet<Vec<u8>>,
}

/// The path without `.`, and without `..` where a name goes before it: as sources are opened.
pub fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for c in path.components() {
        match (c, out.components().next_back()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => drop(out.pop()),
            (c, _) => out.push(c),
        }
    }
    if out.as_os_str().is_empty() { PathBuf::from(".") } else { out }
}

fn components(path: &Path) -> Vec<(Vec<u8>, PathBuf)> {
    let mut real = PathBuf::new();
    let mut out = Vec::new();
    for c in path.components() {
        real.push(c);
        if let Component::Normal(name) = c {
            out.push((name.as_bytes().to_vec(), real.clone()));
        }
    }
    out
}

impl Sources {
    /// The top of the tree.
    pub(super) fn places(&self) -> &BTreeMap<Vec<u8>, Place> {
        &self.children
    }

    /// Directories that were named for what is in them, which is at the top.
    pub(super) fn spread(&self) -> &[PathBuf] {
        &self.spread
    }

    /// Absolute paths that were named in other sources. They are wanted wherever those end and whatever
    /// rules say.
    pub(super) fn within(&self) -> &BTreeSet<Vec<u8>> {
        &self.within
    }

    /// Add a path as named. `list` gives the names in a directory, for `.` and `/`.
    pub fn add(&mut self, path: &Path, list: &dyn Fn(&Path) -> Result<Vec<Vec<u8>>>) -> Result<()> {
        let path = &clean(path);
        let parts = components(path);
        if parts.is_empty() {
            self.spread.push(path.to_owned());
            for name in list(path)? {
                let real = path.join(OsStr::from_bytes(&name));
                self.put(vec![(name, None)], real, Some(path.to_owned()));
            }
            return Ok(());
        }
        let way = parts.iter().map(|(name, real)| (name.clone(), Some(real.clone()))).collect();
        self.put(way, path.to_owned(), None);
        Ok(())
    }

    /// Add a path that is to appear under another.
    pub fn add_as(&mut self, path: &Path, shown: &Path) -> Result<()> {
        let parts = components(&clean(shown));
        if parts.is_empty() {
            return Err(
                Error::new(ErrorKind::Invalid, "--as-path needs at least one name").hint("for example --as-path /home")
            );
        }
        self.put(parts.into_iter().map(|(name, _)| (name, None)).collect(), clean(path), None);
        Ok(())
    }

    fn put(&mut self, mut way: Vec<(Vec<u8>, Option<PathBuf>)>, real: PathBuf, of: Option<PathBuf>) {
        let Some((name, _)) = way.pop() else { return };
        let (path, mut at) = (absolute(&real), &mut self.children);
        for (part, on_the_way) in way {
            let free = free_name(at, &part, |there| match there {
                Place::Source(source) => leads_to(&absolute(&source.real), &path),
                Place::Way { .. } => true,
            });
            let next = at.entry(free).or_insert_with(|| Place::Way { real: on_the_way, children: BTreeMap::new() });
            match next {
                // A directory above is a source already and brings this one along.
                Place::Source(_) => {
                    self.within.insert(path);
                    return;
                }
                Place::Way { children, .. } => at = children,
            }
        }
        let free = free_name(at, &name, |there| match there {
            Place::Source(other) => absolute(&other.real) == path,
            Place::Way { children, .. } => {
                let mut below = BTreeSet::new();
                gather(children, &mut below);
                below.iter().all(|other| leads_to(&path, other))
            }
        });
        if let Some(Place::Source(same)) = at.get_mut(&free) {
            // Who names it itself wants it, whatever is said of the directory it is in.
            same.of = same.of.take().and(of);
            return;
        }
        let source = Source { real, number: self.count, of };
        self.count += 1;
        // A source takes the place of a way: it contains what was named below it.
        if let Some(Place::Way { children, .. }) = at.insert(free, Place::Source(source)) {
            gather(&children, &mut self.within);
        }
    }
}

/// The name, with a number if what has it already does not suit: things of one name and of different
/// directories stand beside each other.
fn free_name(at: &BTreeMap<Vec<u8>, Place>, name: &[u8], suits: impl Fn(&Place) -> bool) -> Vec<u8> {
    let numbered = (1..).map(|n| [name, format!("-{n}").as_bytes()].concat());
    let mut names = std::iter::once(name.to_vec()).chain(numbered);
    names.find(|free| at.get(free).is_none_or(&suits)).unwrap_or_default()
}

/// Whether a walk from an absolute path on comes by another: it goes into directories, and not through
/// links. What is not there is in none of its ways.
fn leads_to(from: &[u8], path: &[u8]) -> bool {
    let (from, path) = (Path::new(OsStr::from_bytes(from)), Path::new(OsStr::from_bytes(path)));
    let is_link = |dir: &Path| dir.symlink_metadata().is_ok_and(|m| m.is_symlink());
    path.starts_with(from) && !path.ancestors().skip(1).take_while(|dir| dir.starts_with(from)).any(is_link)
}

/// The absolute path of every source.
fn gather(places: &BTreeMap<Vec<u8>, Place>, out: &mut BTreeSet<Vec<u8>>) {
    for place in places.values() {
        match place {
            Place::Source(source) => {
                out.insert(absolute(&source.real));
            }
            Place::Way { children, .. } => gather(children, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(paths: &[&str]) -> Vec<String> {
        fn walk(prefix: &str, at: &BTreeMap<Vec<u8>, Place>, out: &mut Vec<String>) {
            for (name, place) in at {
                let path = format!("{prefix}/{}", String::from_utf8_lossy(name));
                match place {
                    Place::Source(source) => out.push(format!("{path}={}", source.real.display())),
                    Place::Way { children, .. } => walk(&path, children, out),
                }
            }
        }
        let mut s = Sources::default();
        for p in paths {
            s.add(Path::new(p), &|_| Ok(vec![b"x".to_vec(), b"y".to_vec()])).unwrap();
        }
        let mut out = Vec::new();
        walk("", s.places(), &mut out);
        out
    }

    #[test]
    fn places_are_restics() {
        assert_eq!(shown(&["/a/b", "/a/c"]), ["/a/b=/a/b", "/a/c=/a/c"]);
        assert_eq!(shown(&["tree"]), ["/tree=tree"]);
        assert_eq!(shown(&["../foo/bar"]), ["/foo/bar=../foo/bar"]);
        assert_eq!(shown(&["."]), ["/x=./x", "/y=./y"]);
        assert_eq!(shown(&["/a", "/a/b"]), ["/a=/a"]);
        assert_eq!(shown(&["/a/b", "/a"]), ["/a=/a"]);
        assert_eq!(
            shown(&["p/tree", "q/../tree", "/tree", "tree", "tree"]),
            ["/p/tree=p/tree", "/tree=tree", "/tree-1=/tree"]
        );
        assert_eq!(shown(&["/../a/./b/..", "../x/../../y", "q/.."]), ["/a=/a", "/x=./x", "/y=../../y", "/y-1=./y"]);
    }

    #[test]
    fn nothing_is_lost_to_another_source_of_its_name() {
        assert_eq!(shown(&["/a", "a/m"]), ["/a=/a", "/a-1/m=a/m"]);
        assert_eq!(shown(&["a/m", "/a"]), ["/a/m=a/m", "/a-1=/a"]);
        assert_eq!(shown(&["/x/b", "."]), ["/x/b=/x/b", "/x-1=./x", "/y=./y"]);
        assert_eq!(shown(&[".", "/x/b"]), ["/x=./x", "/x-1/b=/x/b", "/y=./y"]);
        assert_eq!(shown(&["/a", "a/m", "a/n"]), ["/a=/a", "/a-1/m=a/m", "/a-1/n=a/n"]);
    }
}
