//! What is in a snapshot: finding a path, and walking everything below it, one page in memory for
//! each level.

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Node, NodeKind, PageRef};
use crate::repo::{Entries, Reader, lookup};

/// The components of a path in a snapshot, without `.`; `..` goes up as far as there is an up.
pub fn components(path: &[u8]) -> Vec<&[u8]> {
    let mut out = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// What is found under a path.
#[derive(Debug, Clone)]
pub enum Found {
    /// The top, which has no node.
    Top(Option<PageRef>),
    /// Anything below.
    Node(Box<Node>),
}

impl Found {
    /// The directory's entries, if it is one.
    pub fn root(&self) -> Option<Option<PageRef>> {
        match self {
            Self::Top(root) => Some(*root),
            Self::Node(node) => match node.kind {
                NodeKind::Dir { root } => Some(root),
                _ => None,
            },
        }
    }
}

/// Find a path below a directory.
pub fn find(reader: &Reader<'_>, root: Option<PageRef>, path: &[u8]) -> Result<Found> {
    seek(reader, root, path)?.ok_or_else(|| {
        let shown = String::from_utf8_lossy(path);
        Error::new(ErrorKind::Missing, format!("path {shown:?} is not in the snapshot"))
            .hint("`orlop ls --recursive` shows what there is")
    })
}

/// The same where a path may well not be there.
pub fn seek(reader: &Reader<'_>, root: Option<PageRef>, path: &[u8]) -> Result<Option<Found>> {
    let mut at = Found::Top(root);
    for part in components(path) {
        let Some(root) = at.root() else { return Ok(None) };
        match lookup(reader, root, part)? {
            Some(node) => at = Found::Node(Box::new(node)),
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// The entries of the directory that is meant by `SNAPSHOT` or `SNAPSHOT:PATH`, and its path, which
/// is empty at the top.
pub fn enter(reader: &Reader<'_>, root: Option<PageRef>, subdir: Option<&[u8]>) -> Result<(Option<PageRef>, Vec<u8>)> {
    let Some(subdir) = subdir else { return Ok((root, Vec::new())) };
    let path = components(subdir).iter().flat_map(|part| [b"/", *part].concat()).collect();
    let root = find(reader, root, subdir)?.root().ok_or_else(|| {
        let shown = String::from_utf8_lossy(subdir);
        Error::new(ErrorKind::Invalid, format!("path {shown:?} is no directory in the snapshot"))
            .hint("name the directory it is in")
    })?;
    Ok((root, path))
}

/// Everything below a directory, each directory before what is in it, in order of names.
pub struct Walk<'r> {
    reader: &'r Reader<'r>,
    levels: Vec<(Entries<'r>, usize)>,
    path: Vec<u8>,
    enter: Option<Option<PageRef>>,
}

impl<'r> Walk<'r> {
    /// Below `root`, whose own path is `prefix` (`/` or without a slash at its end).
    pub fn new(reader: &'r Reader<'r>, root: Option<PageRef>, prefix: &[u8]) -> Self {
        let path = prefix.strip_suffix(b"/").unwrap_or(prefix).to_vec();
        let levels = vec![(Entries::new(reader, root), path.len())];
        Self { reader, levels, path, enter: None }
    }

    /// The next entry with its path. A directory's contents come next, unless [`Walk::skip`].
    #[expect(clippy::should_implement_trait, reason = "an iterator that can fail at every step")]
    pub fn next(&mut self) -> Result<Option<(&[u8], Node)>> {
        if let Some(root) = self.enter.take() {
            self.levels.push((Entries::new(self.reader, root), self.path.len()));
        }
        while let Some((entries, len)) = self.levels.last_mut() {
            self.path.truncate(*len);
            let Some(node) = entries.next()? else {
                self.levels.pop();
                continue;
            };
            self.path.push(b'/');
            self.path.extend_from_slice(&node.name);
            if let NodeKind::Dir { root } = node.kind {
                self.enter = Some(root);
            }
            return Ok(Some((&self.path, node)));
        }
        Ok(None)
    }

    /// Do not go into the directory that came last.
    pub fn skip(&mut self) {
        self.enter = None;
    }
}

/// Whether `path` is `dir` or below it.
pub fn is_within(path: &[u8], dir: &[u8]) -> bool {
    let dir = dir.strip_suffix(b"/").unwrap_or(dir);
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        let parts = |p: &'static str| components(p.as_bytes());
        assert_eq!(parts("/a//b/./c/"), [b"a", b"b", b"c"]);
        assert_eq!(parts("../a/../b"), [b"b"]);
        assert!(parts("/").is_empty());
    }

    #[test]
    fn within() {
        assert!(is_within(b"/a/b", b"/a") && is_within(b"/a", b"/a") && is_within(b"/a", b"/"));
        assert!(!is_within(b"/ab", b"/a") && !is_within(b"/a", b"/a/b"));
    }
}
