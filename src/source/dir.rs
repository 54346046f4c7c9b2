//! An open directory: its names, what they are, and the way further down.

use std::ffi::CString;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom, openat};
use rustix::io::Errno;

use super::meta::{Keep, Metadata, named_metadata};
use super::stat::same;
use super::{Kind, OpenFile, SourceError, Stat, Why, at, component, file_metadata};
use crate::format::limits::SYMLINK_MAX;

/// How much of a directory is read at once.
const LISTING_BUFFER: usize = 128 << 10;

/// An open directory. Whoever holds it can go down by one name at a time, whatever happens to the
/// path it was once opened by.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

impl Dir {
    /// Open the directory a user named; symbolic links in *this* path are followed.
    pub fn open_root(path: &Path) -> Result<Self, SourceError> {
        open(CWD, path, OFlags::DIRECTORY, true).map(Self::from_fd).map_err(at("open"))
    }
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }
    /// Open a directory in this one; a symbolic link in its place is an error.
    pub fn open_dir(&self, name: &[u8]) -> Result<Self, SourceError> {
        let name = component(name, "open")?;
        open(&self.fd, name, OFlags::DIRECTORY | OFlags::NOFOLLOW, true).map(Self::from_fd).map_err(at("open"))
    }
    /// Open the very directory that `before` was told about, or fail with [`Why::Raced`].
    pub fn open_dir_as(&self, name: &[u8], before: &Stat) -> Result<Self, SourceError> {
        let dir = self.open_dir(name)?;
        same(&dir.own_stat()?, before, "open")?;
        Ok(dir)
    }
    /// Open this directory once more, to list it by itself.
    pub fn open_again(&self) -> Result<Self, SourceError> {
        open(&self.fd, ".", OFlags::DIRECTORY, true).map(Self::from_fd).map_err(at("open"))
    }
    /// Open a regular file for reading, the very one that `before` was told about. Never waits
    /// for anyone, even if a pipe took its place.
    pub fn open_file(&self, name: &[u8], before: &Stat) -> Result<OpenFile, SourceError> {
        let name = component(name, "open")?;
        if before.kind != Kind::File {
            return Err(SourceError { during: "open", why: Why::Raced });
        }
        let fd = open(&self.fd, name, OFlags::NOFOLLOW, may_hide_access(before)).map_err(|e| {
            SourceError {
                during: "open",
                // A symbolic link or a socket stands there now.
                why: if matches!(e, Errno::LOOP | Errno::NXIO) { Why::Raced } else { e.into() },
            }
        })?;
        OpenFile::new(fd, before)
    }
    /// What a name is, without following it. The hot path: one system call, no allocation.
    pub fn stat(&self, name: &[u8]) -> Result<Stat, SourceError> {
        Stat::read(&self.fd, component(name, "stat")?)
    }
    /// What this directory is.
    pub fn own_stat(&self) -> Result<Stat, SourceError> {
        Stat::read(&self.fd, b"")
    }
    /// Every name in it, sorted. Uses the position of the open directory, so one caller at a time.
    pub fn names(&mut self) -> Names {
        Names::read(&self.fd)
    }
    /// Where a symbolic link points.
    pub fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, SourceError> {
        let name = component(name, "readlink")?;
        let target = rustix::fs::readlinkat(&self.fd, name, Vec::new()).map(CString::into_bytes).map_err(|e| {
            SourceError { during: "readlink", why: if e == Errno::INVAL { Why::Raced } else { e.into() } }
        })?;
        if target.is_empty() || target.len() > SYMLINK_MAX {
            return Err(SourceError { during: "readlink", why: Why::Limit("the target of the link is too long") });
        }
        Ok(target)
    }
    /// Extensions of this directory.
    pub fn metadata(&self, stat: &Stat, keep: Keep) -> Metadata {
        file_metadata(self.fd.as_fd(), stat, keep)
    }
    /// Extensions of an entry that is not open: anything but a regular file or a directory is
    /// asked by name and never opened. Prefer [`OpenFile::metadata`] for what is opened anyway.
    pub fn read_metadata(&self, name: &[u8], stat: &Stat, keep: Keep) -> Metadata {
        named_metadata(self, name, stat, keep)
    }
    /// A number of the file system that on most survives reboots and other mount points: material
    /// for link groups, where the device number would change. `None` where it has none. (XFS
    /// derives it from the device number; still better than nothing.)
    pub fn filesystem(&self) -> Option<u64> {
        rustix::fs::fstatvfs(&self.fd).ok().map(|s| s.f_fsid).filter(|&id| id != 0)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Only owners may read without leaving a trace; asking in vain would cost a call for each file.
pub(super) fn may_hide_access(stat: &Stat) -> bool {
    let me = rustix::process::geteuid();
    me.is_root() || me.as_raw() == stat.uid
}

/// Open for reading, without a trace in the access time if possible, and without ever waiting.
fn open(dir: impl AsFd, name: impl rustix::path::Arg + Copy, more: OFlags, quiet: bool) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | more;
    if quiet {
        match openat(dir.as_fd(), name, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => {}
            other => return other,
        }
    }
    openat(dir.as_fd(), name, flags, Mode::empty())
}

/// One name in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// The name as bytes.
    pub bytes: &'a [u8],
    /// What the listing says it is; [`Kind::Unknown`] if it does not say. A hint: ask `stat`.
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The first eight bytes as a number: most comparisons need no look at the arena.
    prefix: u64,
    at: u32,
    len: u16,
    kind: Kind,
}

/// All names of a directory in order of their bytes: one arena, 16 bytes on top for each.
#[derive(Debug, Default)]
pub struct Names {
    arena: Vec<u8>,
    entries: Vec<Entry>,
    trouble: Option<SourceError>,
}

impl Names {
    fn read(dir: &OwnedFd) -> Self {
        let mut names = Self::default();
        if let Err(e) = names.fill(dir) {
            names.trouble = Some(e);
        }
        names.sort();
        names
    }

    fn fill(&mut self, dir: &OwnedFd) -> Result<(), SourceError> {
        rustix::fs::seek(dir, SeekFrom::Start(0)).map_err(at("list"))?;
        let mut buffer = Vec::with_capacity(LISTING_BUFFER);
        let mut raw = RawDir::new(dir, buffer.spare_capacity_mut());
        while let Some(entry) = raw.next() {
            let entry = match entry {
                Err(Errno::INTR) => continue,
                // The directory was removed while it was read: it has no more entries.
                Err(Errno::NOENT) => break,
                other => other.map_err(at("list"))?,
            };
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                self.push(name, entry.file_type().into())?;
            }
        }
        Ok(())
    }

    fn push(&mut self, name: &[u8], kind: Kind) -> Result<(), SourceError> {
        let name = component(name, "list")?;
        let too_many = |_| SourceError { during: "list", why: Why::Limit("too many names in one directory") };
        let at = u32::try_from(self.arena.len()).map_err(too_many)?;
        let len = name.len() as u16; // `component` passes no more than 4096.
        let mut prefix = [0; 8];
        let n = name.len().min(8);
        prefix[..n].copy_from_slice(&name[..n]);
        self.arena.extend_from_slice(name);
        self.entries.push(Entry { prefix: u64::from_be_bytes(prefix), at, len, kind });
        Ok(())
    }

    fn sort(&mut self) {
        let arena = &self.arena;
        self.entries
            .sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| bytes(arena, a).cmp(bytes(arena, b))));
    }

    /// Those of which this is true, with the same trouble.
    pub fn only(mut self, wanted: impl Fn(&[u8]) -> bool) -> Self {
        let arena = &self.arena;
        self.entries.retain(|e| wanted(bytes(arena, e)));
        self
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// The one at this place in the order.
    pub fn get(&self, index: usize) -> Option<Name<'_>> {
        self.entries.get(index).map(|e| Name { bytes: bytes(&self.arena, e), kind: e.kind })
    }
    /// All of them in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Name<'_>> {
        self.entries.iter().map(|e| Name { bytes: bytes(&self.arena, e), kind: e.kind })
    }
    /// Why the listing broke off, if it did. What it brought until then is here, but a name that
    /// is not here says nothing.
    pub fn trouble(&self) -> Option<&SourceError> {
        self.trouble.as_ref()
    }
}

fn bytes<'a>(arena: &'a [u8], e: &Entry) -> &'a [u8] {
    &arena[e.at as usize..][..usize::from(e.len)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_bytes() {
        let mut names = Names::default();
        let mut want: Vec<&[u8]> =
            vec![b"b", b"a", b"abcdefgh", b"abcdefghi", b"abcdefg", b"\xff\xfe", b"a\n", b"abcdefgh\x01", b"B", b"-"];
        for n in &want {
            names.push(n, Kind::File).unwrap();
        }
        names.sort();
        want.sort();
        assert_eq!(names.iter().map(|n| n.bytes).collect::<Vec<_>>(), want);
        assert!(names.push(b"a/b", Kind::File).is_err());
        assert_eq!(size_of::<Entry>(), 16);
    }
}
