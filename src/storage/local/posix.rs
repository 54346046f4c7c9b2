//! A [`Disk`] that is a real directory, held open: every name is resolved from that one
//! descriptor, component by component, and no link is ever followed.
//!
//! The repository may lie where others can write (a shared disk, a mounted stick). A link planted
//! in place of a shard must not make us read or write elsewhere, and a pipe planted in place of an
//! object must not make us wait.

use super::disk::{At, Disk, Entry, Kind, Stat};
use super::shelf::TEMPORARIES;
use crate::sys::RWF_DONTCACHE;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, preadv2, pwritev2, retry_on_intr};
use std::fs::{DirBuilder, File};
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

pub(crate) struct PosixDisk {
    root: Arc<OwnedFd>,
    /// Past the page cache, writing does not work here,
    writes_through_cache: AtomicBool,
    /// nor does reading.
    reads_through_cache: AtomicBool,
}

/// Pieces from this length on are read past the page cache: whoever reads a whole pack in them does so once.
/// Where memory is fresh, filling the cache with 3.7 GB took the kernel 3.8 to 6.1 s of processor time and this
/// way 1.2 s. Not so shorter ones, such as most frames: where one ends within a page of the cache, the next
/// reads it from the disk again (2.5 GB restored in 5.4 to 5.8 s instead of 4.5 to 5.0).
const LONG_PIECE: usize = 2 << 20;

/// Where the file's own position is.
const HERE: u64 = u64::MAX;

const DIR_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl PosixDisk {
    /// An existing directory. The path itself is the user's word and may contain links.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let root = retry_on_intr(|| fs::open(path, DIR_FLAGS, Mode::empty()))?;
        Ok(Self {
            root: Arc::new(root),
            writes_through_cache: AtomicBool::new(false),
            reads_through_cache: AtomicBool::new(false),
        })
    }

    /// A directory that is made now or is there and empty.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        make_durable_dirs(path)?;
        let disk = Self::open(path)?;
        // The root of a fresh ext file system is not quite empty, nor is what a creation that was
        // cut short leaves behind.
        let taken = |entry: &Entry| !["lost+found", TEMPORARIES].contains(&entry.name.as_str());
        if read_names(&disk.root)?.iter().any(taken) {
            let why = "the directory is not empty";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        Ok(disk)
    }
}

/// `mkdir -p`, private, each new entry flushed in its parent.
fn make_durable_dirs(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = path.parent() else {
                return Err(e);
            };
            make_durable_dirs(parent)?;
            match DirBuilder::new().mode(0o700).create(path) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
        }
        Err(e) => return Err(e),
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    sync_entries(&retry_on_intr(|| fs::open(parent, DIR_FLAGS, Mode::empty()))?)
}

/// Some file systems (SMB, some FUSE) cannot flush a directory and say so; there is nothing more
/// to be had from them, and refusing to work would help nobody.
fn sync_entries(dir: &OwnedFd) -> io::Result<()> {
    match retry_on_intr(|| fs::fsync(dir)) {
        Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn kind_of(stat: &fs::Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Dir,
        FileType::RegularFile => Kind::File { len: u64::try_from(stat.st_size).unwrap_or(0), modified: seconds(stat) },
        _ => Kind::Foreign,
    }
}

#[allow(clippy::unnecessary_cast, reason = "seconds have another type on other systems")]
fn seconds(stat: &fs::Stat) -> i64 {
    stat.st_mtime as i64
}

fn read_names(dir: &OwnedFd) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = match entry.file_name().to_str() {
            Ok("." | "..") => continue,
            Ok(name) => name.to_owned(),
            // Not one of ours, but it does occupy the directory.
            Err(_) => String::from("\u{fffd}"),
        };
        entries.push(Entry { name, kind: Kind::Foreign });
    }
    Ok(entries)
}

impl Disk for PosixDisk {
    type Dir = Arc<OwnedFd>;
    type File = File;

    fn root(&self) -> Self::Dir {
        self.root.clone()
    }

    fn open_dir(&self, parent: &Self::Dir, name: &str) -> io::Result<Self::Dir> {
        let flags = DIR_FLAGS | OFlags::NOFOLLOW;
        let dir = retry_on_intr(|| fs::openat(parent, name, flags, Mode::empty()))?;
        Ok(Arc::new(dir))
    }

    fn make_dir(&self, parent: &Self::Dir, name: &str) -> io::Result<()> {
        Ok(fs::mkdirat(parent, name, Mode::RWXU)?)
    }

    fn sync_dir(&self, dir: &Self::Dir) -> io::Result<()> {
        sync_entries(dir)
    }

    fn entries(&self, dir: &Self::Dir) -> io::Result<Vec<Entry>> {
        let mut entries = read_names(dir)?;
        let mut gone = false;
        for entry in &mut entries {
            match self.entry(dir, &entry.name) {
                Ok(kind) => entry.kind = kind,
                // Deleted since: neither there nor foreign.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    entry.name.clear();
                    gone = true;
                }
                Err(e) => return Err(e),
            }
        }
        if gone {
            entries.retain(|entry| !entry.name.is_empty());
        }
        Ok(entries)
    }

    fn entry(&self, dir: &Self::Dir, name: &str) -> io::Result<Kind> {
        let stat = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(kind_of(&stat))
    }

    fn create(&self, dir: &Self::Dir, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(retry_on_intr(|| fs::openat(dir, name, flags, mode))?.into())
    }

    fn open(&self, dir: &Self::Dir, name: &str) -> io::Result<File> {
        // Without O_NONBLOCK, opening a pipe waits for its other end, for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = retry_on_intr(|| fs::openat(dir, name, flags, Mode::empty()))?;
        match kind_of(&fs::fstat(&file)?) {
            Kind::File { .. } => Ok(file.into()),
            Kind::Dir | Kind::Foreign => Err(io::Error::other("it is not a plain file")),
        }
    }

    fn append(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn append_pages(&self, file: &File, mut first: &[u8], mut then: &[u8]) -> io::Result<()> {
        while !(self.writes_through_cache.load(Relaxed) || first.is_empty() && then.is_empty()) {
            match pwritev2(file, &[IoSlice::new(first), IoSlice::new(then)], HERE, RWF_DONTCACHE) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    let of_first = n.min(first.len());
                    (first, then) = (&first[of_first..], &then[n - of_first..]);
                }
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => self.writes_through_cache.store(true, Relaxed),
                Err(e) => return Err(e.into()),
            }
        }
        self.append(file, first)?;
        self.append(file, then)
    }

    fn begin_write_back(&self, file: &File, offset: u64, len: u64) {
        // On Linux this starts writing what is dirty in the range and drops what is clean; the
        // pages just written stay cached, since they are under way. Elsewhere it does nothing.
        #[cfg(target_os = "linux")]
        let _ = fs::fadvise(file, offset, NonZeroU64::new(len), fs::Advice::DontNeed);
        #[cfg(not(target_os = "linux"))]
        let _ = (file, offset, NonZeroU64::new(len));
    }

    fn seal(&self, file: &File) -> io::Result<()> {
        match fs::fchmod(file, Mode::RUSR) {
            // File systems without permissions refuse or ignore it; it protects from slips, not
            // from enemies.
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        // Of the standard library, because it knows that macOS needs F_FULLFSYNC.
        file.sync_all()
    }

    fn stat(&self, file: &File) -> io::Result<Stat> {
        let stat = fs::fstat(file)?;
        Ok(Stat { len: u64::try_from(stat.st_size).unwrap_or(0), modified: seconds(&stat), named: stat.st_nlink > 0 })
    }

    fn read_exact_at(&self, file: &File, into: &mut [u8], offset: u64) -> io::Result<()> {
        file.read_exact_at(into, offset)
    }

    fn read_piece_at(&self, file: &File, mut into: &mut [u8], mut offset: u64) -> io::Result<()> {
        let long = into.len() >= LONG_PIECE;
        while long && !into.is_empty() && !self.reads_through_cache.load(Relaxed) {
            match preadv2(file, &mut [IoSliceMut::new(into)], offset, RWF_DONTCACHE) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => (into, offset) = (&mut into[n..], offset + n as u64),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => self.reads_through_cache.store(true, Relaxed),
                Err(e) => return Err(e.into()),
            }
        }
        file.read_exact_at(into, offset)
    }

    fn rename_new(&self, from: At<'_, Self::Dir>, to: At<'_, Self::Dir>) -> io::Result<()> {
        match fs::renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
            other => Ok(other?),
        }
    }

    fn link_new(&self, from: At<'_, Self::Dir>, to: At<'_, Self::Dir>) -> io::Result<()> {
        match fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty()) {
            Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
            other => Ok(other?),
        }
    }

    fn rename_over(&self, from: At<'_, Self::Dir>, to: At<'_, Self::Dir>) -> io::Result<()> {
        Ok(fs::renameat(from.0, from.1, to.0, to.1)?)
    }

    fn unlink(&self, dir: &Self::Dir, name: &str) -> io::Result<()> {
        Ok(fs::unlinkat(dir, name, AtFlags::empty())?)
    }
}
