//! Reaching any directory of the target with few descriptors.
//!
//! A restore writes in the order of the packs, all over the tree. Keeping a descriptor for each
//! level would let a deep tree exhaust them, so the last few directories are kept open and
//! others are walked to from the nearest one above, without following a symbolic link anywhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use super::dir::DIRECTORY;
use super::{TargetDir, TargetError, Why, at, component};
use crate::format::limits::DEPTH_MAX;

/// How many directories are kept open.
const OPEN_MAX: usize = 64;
/// Longest piece of a path for one call; the kernel's limit is 4096 with the NUL.
const PIECE_MAX: usize = 4095;

/// Open directories with their paths.
type Recent = Vec<(Box<[u8]>, Arc<TargetDir>)>;

/// The target, with the directories that were used last.
#[derive(Debug)]
pub struct TargetTree {
    root: Arc<TargetDir>,
    /// Most recent last.
    recent: Mutex<Recent>,
}

impl TargetTree {
    /// The tree below this root.
    pub fn new(root: TargetDir) -> Self {
        Self { root: Arc::new(root), recent: Mutex::default() }
    }
    /// The root.
    pub fn root(&self) -> &Arc<TargetDir> {
        &self.root
    }

    /// The directory at a path below the root (`a/b/c`; empty for the root), which must be there.
    pub fn dir(&self, path: &[u8]) -> Result<Arc<TargetDir>, TargetError> {
        if path.is_empty() {
            return Ok(self.root.clone());
        }
        let (mut at_path, mut dir) = match self.nearest(path) {
            (n, dir) if n == path.len() => return Ok(dir),
            start => start,
        };
        check(path)?;
        while at_path < path.len() {
            let begin = if at_path == 0 { 0 } else { at_path + 1 };
            let end = begin + piece(&path[begin..]);
            dir = Arc::new(TargetDir::new(descend(&dir, &path[begin..end]).map_err(at("open"))?, true));
            at_path = end;
        }
        self.remember(path, dir.clone());
        Ok(dir)
    }

    /// Keep a directory that was just made, so that it need not be opened again.
    pub fn remember(&self, path: &[u8], dir: Arc<TargetDir>) {
        let mut recent = self.recent();
        recent.retain(|(p, _)| **p != *path);
        if recent.len() >= OPEN_MAX {
            recent.remove(0);
        }
        recent.push((path.into(), dir));
    }

    /// Forget directories at and below a path, after it was removed or replaced.
    pub fn forget(&self, path: &[u8]) {
        self.recent().retain(|(p, _)| !(p.starts_with(path) && matches!(p.get(path.len()), None | Some(b'/'))));
    }

    /// How much of the path is open already, and that directory.
    fn nearest(&self, path: &[u8]) -> (usize, Arc<TargetDir>) {
        let mut recent = self.recent();
        let above = |p: &[u8]| path.starts_with(p) && matches!(path.get(p.len()), None | Some(b'/'));
        let best = (0..recent.len()).filter(|&i| above(&recent[i].0)).max_by_key(|&i| recent[i].0.len());
        match best {
            None => (0, self.root.clone()),
            Some(i) => {
                let found = recent.remove(i);
                let answer = (found.0.len(), found.1.clone());
                recent.push(found);
                answer
            }
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        // Every change of the list is complete in itself, so a panic elsewhere did not spoil it.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(path: &[u8]) -> Result<(), TargetError> {
    let mut depth = 0;
    for name in path.split(|&b| b == b'/') {
        component(name, "open")?;
        depth += 1;
    }
    if depth > DEPTH_MAX {
        return Err(TargetError { during: "open", why: Why::Limit("too many directories in each other") });
    }
    Ok(())
}

/// How many bytes of whole components fit into one call.
fn piece(path: &[u8]) -> usize {
    if path.len() <= PIECE_MAX {
        return path.len();
    }
    let first = path.iter().position(|&b| b == b'/').unwrap_or(path.len());
    path[..PIECE_MAX].iter().rposition(|&b| b == b'/').unwrap_or(first)
}

/// Several levels down in one call where the kernel can promise not to leave, else one by one.
fn descend(dir: &TargetDir, path: &[u8]) -> Result<OwnedFd, Errno> {
    for _ in 0..4 {
        match at_once(dir, path) {
            Err(Errno::AGAIN | Errno::INTR) => {} // Somebody renames; ask again.
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => break,
            other => return other,
        }
    }
    one_by_one(dir, path)
}

fn at_once(dir: &TargetDir, path: &[u8]) -> Result<OwnedFd, Errno> {
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(dir, path, DIRECTORY, Mode::empty(), inside)
}

fn one_by_one(dir: &TargetDir, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut held: Option<OwnedFd> = None;
    for name in path.split(|&b| b == b'/') {
        held = Some(match &held {
            None => openat(dir, name, DIRECTORY, Mode::empty())?,
            Some(above) => openat(above, name, DIRECTORY, Mode::empty())?,
        });
    }
    held.ok_or(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_components() {
        assert_eq!(piece(b"a/b"), 3);
        let deep = [&[b'x'; 3000][..], b"/", &[b'y'; 3000], b"/z"].concat();
        assert_eq!(piece(&deep), 3000);
        assert_eq!(piece(&[b'x'; 5000]), 5000);
        let one = [&[b'x'; 4096][..], b"/z"].concat();
        assert_eq!(piece(&one), 4096);
    }

    #[test]
    fn both_ways_down_refuse_links() {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tmp.path().join("a/b/c")).unwrap();
        std::os::unix::fs::symlink("b", tmp.path().join("a/link")).unwrap();
        let root = TargetDir::open_or_create(tmp.path()).unwrap();
        for (name, way) in [("at once", at_once as fn(&TargetDir, &[u8]) -> _), ("one by one", one_by_one)] {
            assert!(way(&root, b"a/b/c").is_ok() || name == "at once" && at_once(&root, b"a").is_err(), "{name}");
            assert!(way(&root, b"a/link/c").is_err() && way(&root, b"a/link").is_err(), "{name}");
            assert!(way(&root, b"a/b/d").is_err(), "{name}");
        }
    }
}
