//! Where sources land in the tree: the paths a user names, as a tree of their components.
//!
//! As in restic, an absolute path keeps all its components, a relative one its own without `.` and
//! `..`, and `.` stands for what is in it.

use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// A place in the tree that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// What is there in the file system, with all below it.
    Source {
        /// Where to read it.
        real: PathBuf,
        /// Which of the sources.
        number: u32,
    },
    /// A directory on the way to sources.
    Way {
        /// Where its own metadata is; `None` if it exists in no file system.
        real: Option<PathBuf>,
        /// What is in it.
        children: BTreeMap<Vec<u8>, Place>,
    },
}

/// The place of everything that is named.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    children: BTreeMap<Vec<u8>, Place>,
    count: u32,
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
    pub fn into_places(self) -> BTreeMap<Vec<u8>, Place> {
        self.children
    }

    /// The top of the tree, to look at.
    pub(super) fn places(&self) -> &BTreeMap<Vec<u8>, Place> {
        &self.children
    }

    /// Add a path as named. `list` gives the names in a directory, for `.` and `/`.
    pub fn add(&mut self, path: &Path, list: &dyn Fn(&Path) -> Result<Vec<Vec<u8>>>) -> Result<()> {
        let parts = components(path);
        if parts.is_empty() {
            for name in list(path)? {
                self.add(&path.join(std::ffi::OsString::from_vec(name)), list)?;
            }
            return Ok(());
        }
        let way = parts.iter().map(|(name, real)| (name.clone(), Some(real.clone()))).collect();
        self.put(way, path.to_owned())
    }

    /// Add a path that is to appear under another.
    pub fn add_as(&mut self, path: &Path, shown: &Path) -> Result<()> {
        let parts = components(shown);
        if parts.is_empty() {
            return Err(
                Error::new(ErrorKind::Invalid, "--as-path needs at least one name").hint("for example --as-path /home")
            );
        }
        self.put(parts.into_iter().map(|(name, _)| (name, None)).collect(), path.to_owned())
    }

    fn put(&mut self, mut way: Vec<(Vec<u8>, Option<PathBuf>)>, real: PathBuf) -> Result<()> {
        let number = self.count;
        let Some((name, _)) = way.pop() else { return Ok(()) };
        let mut at = &mut self.children;
        for (part, real) in way {
            let next = at.entry(part).or_insert_with(|| Place::Way { real, children: BTreeMap::new() });
            match next {
                // A directory above is a source already and brings this one along.
                Place::Source { .. } => return Ok(()),
                Place::Way { children, .. } => at = children,
            }
        }
        let place = Place::Source { real, number };
        let mut free = name.clone();
        let mut n = 0;
        // Two sources of one name stand beside each other, the later one with a number.
        while let Some(Place::Source { real: other, .. }) = at.get(&free) {
            if matches!(&place, Place::Source { real, .. } if real == other) {
                return Ok(());
            }
            n += 1;
            free = [&name[..], format!("-{n}").as_bytes()].concat();
        }
        // A source takes the place of a way: it contains what was named below it.
        at.insert(free, place);
        self.count += 1;
        Ok(())
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
                    Place::Source { real, .. } => out.push(format!("{path}={}", real.display())),
                    Place::Way { children, .. } => walk(&path, children, out),
                }
            }
        }
        let mut s = Sources::default();
        for p in paths {
            s.add(Path::new(p), &|_| Ok(vec![b"x".to_vec(), b"y".to_vec()])).unwrap();
        }
        let mut out = Vec::new();
        walk("", &s.into_places(), &mut out);
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
            ["/p/tree=p/tree", "/q/tree=q/../tree", "/tree=/tree", "/tree-1=tree"]
        );
    }
}
