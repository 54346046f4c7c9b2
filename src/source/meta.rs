//! What only few files have: extended attributes, ACLs, capabilities, chattr flags.
//!
//! Files without any are the rule, and for them this costs one call for the attributes and one
//! for the flags. Nothing is opened to ask for attributes: an entry is reached as
//! `/proc/self/fd/<directory>/<name>`, where only the first part is a link that the kernel
//! follows and the last is not.

use std::ffi::{CStr, CString};

use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::fs::{fgetxattr, flistxattr, ioctl_getflags, lgetxattr, llistxattr};
use rustix::io::Errno;

use super::{Dir, Kind, SourceError, Stat, Why, at};
use crate::format::limits::{XATTR_INLINE_MAX, XATTR_MAX};
use crate::model::ext::{Extras, PlainXattr, XATTR_NAME_MAX, XATTRS_ENCODED_MAX, flag};

/// Longest list of names the kernel hands out.
const LIST_MAX: usize = 64 << 10;
/// Most bytes of values that are taken from one file.
const VALUES_MAX: usize = 8 << 20;

/// What is worth keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Time of last access: off, because reading a directory tree changes it all the time.
    pub atime: bool,
    /// Birth time.
    pub btime: bool,
    /// Extended attributes.
    pub xattrs: bool,
    /// chattr flags.
    pub flags: bool,
}

impl Default for Keep {
    fn default() -> Self {
        Self { atime: false, btime: true, xattrs: true, flags: true }
    }
}

/// Extensions of one entry, as far as they could be read.
#[derive(Debug, Default)]
pub struct Metadata {
    /// What there is; `link` is left to the caller.
    pub extras: Extras,
    /// What could not be read. Attributes of network file systems come and go; a file is kept
    /// without them rather than not at all.
    pub problems: Vec<SourceError>,
}

/// Extensions of a file or directory that is open (really open, not `O_PATH`).
pub fn file_metadata(fd: BorrowedFd<'_>, stat: &Stat, keep: Keep) -> Metadata {
    let mut out = Metadata::times(stat, keep);
    if keep.xattrs {
        out.read_xattrs(&Reach::Open(fd));
    }
    if keep.flags && matches!(stat.kind, Kind::File | Kind::Dir) {
        out.read_flags(fd);
    }
    out
}

/// Extensions of an entry by its name.
pub(super) fn named_metadata(dir: &Dir, name: &[u8], stat: &Stat, keep: Keep) -> Metadata {
    let opened = match stat.kind {
        Kind::File if keep.flags => dir.open_file(name, stat).map(|f| f.metadata(stat, keep)),
        Kind::Dir if keep.flags => dir.open_dir_as(name, stat).map(|d| d.metadata(stat, keep)),
        _ => Err(SourceError { during: "open", why: Why::Os(Errno::ACCESS) }),
    };
    match opened {
        Ok(all) => return all,
        Err(e) if e.why != Why::Os(Errno::ACCESS) => {
            return Metadata { extras: Extras::default(), problems: vec![e] };
        }
        Err(_) => {}
    }
    // What may not be opened still tells its attributes, and `statx` told some of the flags.
    let mut out = Metadata::times(stat, keep);
    if keep.flags && matches!(stat.kind, Kind::File | Kind::Dir) {
        out.extras.flags = stat.known_flags;
    }
    if keep.xattrs {
        match in_proc(dir.as_fd(), name) {
            Ok(path) => out.read_xattrs(&Reach::Named(&path)),
            Err(e) => out.problems.push(e),
        }
    }
    out
}

/// The entry seen through the open directory, for calls that know paths only.
fn in_proc(dir: BorrowedFd<'_>, name: &[u8]) -> Result<CString, SourceError> {
    let name = super::component(name, "listxattr")?;
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    CString::new(path).map_err(|_| SourceError { during: "listxattr", why: Why::Name })
}

/// How attributes are reached.
enum Reach<'a> {
    Open(BorrowedFd<'a>),
    Named(&'a CStr),
}

impl Reach<'_> {
    fn list(&self, into: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(fd) => flistxattr(fd, into),
            Self::Named(path) => llistxattr(*path, into),
        }
    }
    fn get(&self, name: &[u8], into: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(fd) => fgetxattr(fd, name, into),
            Self::Named(path) => lgetxattr(*path, name, into),
        }
    }
    /// One value, first tried with little room.
    fn value(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut small = [0; XATTR_INLINE_MAX];
        match self.get(name, &mut small) {
            Err(Errno::RANGE) => {
                let mut large = vec![0; XATTR_MAX];
                let len = self.get(name, &mut large)?;
                large.truncate(len);
                large.shrink_to_fit();
                Ok(large)
            }
            other => other.map(|len| small[..len].to_vec()),
        }
    }
}

impl Metadata {
    fn times(stat: &Stat, keep: Keep) -> Self {
        let extras = Extras {
            btime: stat.btime.filter(|_| keep.btime),
            atime: Some(stat.atime).filter(|_| keep.atime),
            ..Extras::default()
        };
        Self { extras, problems: Vec::new() }
    }

    fn read_flags(&mut self, fd: BorrowedFd<'_>) {
        match ioctl_getflags(fd) {
            Ok(flags) => self.extras.flags = flags.bits() & flag::MASK,
            // No such thing here.
            Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {}
            Err(e) => self.problems.push(at("getflags")(e)),
        }
    }

    fn read_xattrs(&mut self, reach: &Reach<'_>) {
        let mut small = [0; 1024];
        let mut large = Vec::new();
        let list = match reach.list(&mut small) {
            Ok(len) => &small[..len],
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return,
            Err(Errno::RANGE) => {
                large.resize(LIST_MAX, 0);
                match reach.list(&mut large) {
                    Ok(len) => &large[..len],
                    Err(e) => return self.problems.push(at("listxattr")(e)),
                }
            }
            Err(e) => return self.problems.push(at("listxattr")(e)),
        };
        let mut names: Vec<&[u8]> = list.split(|&b| b == 0).filter(|n| !n.is_empty()).collect();
        names.sort_unstable();
        names.dedup();
        self.read_values(reach, &names);
    }

    fn read_values(&mut self, reach: &Reach<'_>, names: &[&[u8]]) {
        let (mut values, mut encoded) = (0, 0);
        for &name in names {
            let value = match reach.value(name) {
                Ok(value) => value,
                // Removed meanwhile, or listed for show: some file systems list what has no value.
                Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
                Err(e) => {
                    self.problems.push(at("getxattr")(e));
                    continue;
                }
            };
            values += value.len();
            encoded += name.len() + 48 + if value.len() > XATTR_INLINE_MAX { 0 } else { value.len() };
            if values > VALUES_MAX || encoded > XATTRS_ENCODED_MAX || name.len() > XATTR_NAME_MAX {
                self.problems.push(SourceError { during: "getxattr", why: Why::Limit("too many extended attributes") });
                return;
            }
            self.extras.xattrs.push(PlainXattr { name: name.to_vec(), value });
        }
    }
}
