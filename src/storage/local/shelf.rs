//! Objects as files: the sequence of steps that makes them appear whole, once, and for good.
//!
//! Every object is first a file in [`TEMPORARIES`], under a random name, and then
//!
//! 1. written and made read-only,
//! 2. flushed (`sync_file`), so that its bytes are on the disk before any name of ours leads there,
//! 3. renamed to its place unless that is taken (`rename_new`, else `link_new` and `unlink`),
//! 4. whose directory is flushed (`sync_dir`), so that the name is on the disk before we say so.
//!
//! A directory that is new is flushed into its parent before anything in it counts. A flush that
//! failed is never tried again on the same file: the kernel reports such an error once and may then
//! call the lost pages clean. The file is dropped and whoever asked writes a new one.
//!
//! Why a named file and not `O_TMPFILE`: btrfs does not log the inode of a nameless file on
//! `fsync`, so that after the link and the flush of the directory a power cut may leave it with its
//! name and without its bytes; a second flush after the link would mend that and break the order
//! above. A rename of a flushed file is what every file system is tested with. The price is that a
//! crash leaves files behind, which is what [`Shelf::sweep`] is for.
//!
//! Knows nothing about what the objects mean, and of the disk only [`Disk`].

use super::disk::{Disk, Entry, Kind};
use super::open_files::OpenFiles;
use crate::storage::{Draft, Listed, Name, Put, Storage, StorageError, no_prefix, too_long, too_short};
use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Where unfinished objects are. No component of a [`Name`] starts with a dot, so nothing can be
/// asked for in there and no listing shows it.
pub(crate) const TEMPORARIES: &str = ".tmp";

/// A temporary file that nobody has written to for so long belongs to nobody.
pub(crate) const ABANDONED_AFTER_SECONDS: i64 = 24 * 60 * 60;

/// Drafts are handed to the disk in pieces of at least this size,
const WRITE_BYTES: usize = 256 * 1024;

/// which end where a page ends, but for the last. No system in use has larger pages.
const PAGE: u64 = 64 * 1024;

/// Write-back is asked for in steps of this size, so that the flush at the end of a draft finds
/// little left to do and memory is not filled with what waits for the disk.
const WRITE_BACK_BYTES: u64 = 8 * 1024 * 1024;

/// A local repository on some disk.
pub(crate) struct Shelf<D: Disk>(Arc<Inner<D>>);

struct Inner<D: Disk> {
    disk: D,
    place: String,
    /// Directories (as paths from the root) whose entries in their parents are known to be flushed.
    settled: Mutex<HashSet<String>>,
    swept: AtomicBool,
    open: Mutex<OpenFiles<D::File>>,
}

impl<D: Disk> Shelf<D> {
    pub(crate) fn new(disk: D, place: String) -> Self {
        Self(Arc::new(Inner {
            disk,
            place,
            settled: Mutex::default(),
            swept: AtomicBool::new(false),
            open: Mutex::default(),
        }))
    }

    /// Remove unfinished files that were not written to for `seconds`; say how many.
    pub(crate) fn sweep(&self, seconds: i64) -> Result<u64, StorageError> {
        // Made only to ask the file system what time it is: its clock may be a server's, and ages
        // must not come from comparing two clocks.
        let swept = Temporary::create(&self.0).and_then(|now| self.0.sweep(&now, seconds));
        swept.map_err(|e| self.0.fail("sweep", TEMPORARIES, e))
    }
}

impl<D: Disk> Inner<D> {
    fn fail(&self, verb: &'static str, name: &str, source: io::Error) -> StorageError {
        StorageError::new(verb, name, &self.place, source)
    }

    /// The directory of `name`, for reading.
    fn find_home<'n>(&self, name: &'n Name) -> io::Result<(D::Dir, &'n str)> {
        let (path, last) = split(name);
        Ok((self.find_dir(path)?, last))
    }

    fn find_dir(&self, path: &str) -> io::Result<D::Dir> {
        let mut dir = self.disk.root();
        for part in components(path) {
            dir = self.disk.open_dir(&dir, part)?;
        }
        Ok(dir)
    }

    /// The directory of `name`, for writing: made if missing, and flushed all the way up.
    fn make_home<'n>(&self, name: &'n Name) -> io::Result<(D::Dir, &'n str)> {
        let (path, last) = split(name);
        let mut dir = self.disk.root();
        let mut parent = "";
        for part in components(path) {
            dir = self.make_dir(&dir, parent, part)?;
            // The path up to and including `part`, which lies within `path`.
            let end = parent.len() + usize::from(!parent.is_empty()) + part.len();
            parent = &path[..end];
        }
        Ok((dir, last))
    }

    fn make_dir(&self, parent: &D::Dir, parent_path: &str, name: &str) -> io::Result<D::Dir> {
        let path = join(parent_path, name);
        let dir = match self.disk.open_dir(parent, name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // Whatever was known of a directory of this name was known of another one.
                self.settled().remove(&path);
                tolerate(self.disk.make_dir(parent, name), io::ErrorKind::AlreadyExists)?;
                self.disk.open_dir(parent, name)?
            }
            other => other?,
        };
        if !self.settled().contains(&path) {
            self.settle(parent, parent_path)?;
        }
        Ok(dir)
    }

    /// Flush the entries of a directory and remember all of its subdirectories as settled.
    ///
    /// One that exists may have been made a moment ago by another process that has not flushed it
    /// yet, so each has to be flushed once by us, too; one flush serves all that are there.
    fn settle(&self, dir: &D::Dir, path: &str) -> io::Result<()> {
        let entries = self.disk.entries(dir)?;
        self.disk.sync_dir(dir)?;
        let subdirs = entries.iter().filter(|entry| entry.kind == Kind::Dir);
        let paths = subdirs.map(|entry| join(path, &entry.name));
        self.settled().extend(paths);
        Ok(())
    }

    fn settled(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an object is there. What is there and no object is an error: neither may it count
    /// as stored, nor can anything be stored.
    fn is_taken(&self, dir: &D::Dir, name: &str) -> io::Result<bool> {
        match self.disk.entry(dir, name) {
            Ok(Kind::File { .. }) => Ok(true),
            Ok(Kind::Dir | Kind::Foreign) => Err(io::Error::other("something that is not an object has its name")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn put_new(self: &Arc<Self>, name: &Name, bytes: &[u8]) -> io::Result<Put> {
        let (home, last) = self.make_home(name)?;
        // Only saves the writing; what decides is the exclusive rename.
        if self.is_taken(&home, last)? {
            self.disk.sync_dir(&home)?;
            return Ok(Put::Exists);
        }
        let file = Temporary::create(self)?;
        self.disk.append(&file.file, bytes)?;
        self.publish(file, &home, last)
    }

    /// Steps 1 to 4 of the module's documentation.
    fn publish(&self, mut file: Temporary<D>, home: &D::Dir, last: &str) -> io::Result<Put> {
        self.disk.seal(&file.file)?;
        self.disk.sync_file(&file.file)?;
        let put = match file.rename_new(home, last) {
            Ok(()) => Put::Created,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match self.is_taken(home, last)? {
                true => Put::Exists,
                false => return Err(e),
            },
            Err(e) => return Err(e),
        };
        // For `Exists` as well: its maker may not have come this far, and ours will rely on it.
        self.disk.sync_dir(home)?;
        Ok(put)
    }

    fn heal(self: &Arc<Self>, name: &Name, bytes: &[u8]) -> io::Result<()> {
        let (home, last) = self.make_home(name)?;
        let mut file = Temporary::create(self)?;
        self.disk.append(&file.file, bytes)?;
        self.disk.seal(&file.file)?;
        self.disk.sync_file(&file.file)?;
        file.rename_over(&home, last)?;
        self.forget(name);
        self.disk.sync_dir(&home)
    }

    fn delete(&self, name: &Name) -> io::Result<()> {
        self.forget(name);
        let (home, last) = self.find_home(name)?;
        self.disk.unlink(&home, last)
    }

    fn get(&self, name: &Name, max: u64) -> io::Result<Vec<u8>> {
        let (home, last) = self.find_home(name)?;
        let file = self.disk.open(&home, last)?;
        let len = self.disk.stat(&file)?.len;
        if len > max {
            return Err(too_long(len, max));
        }
        // Below `max`, which the caller can hold, or it would not have said so.
        let size = usize::try_from(len).map_err(|_| too_long(len, max))?;
        let mut bytes = vec![0; size];
        self.disk.read_exact_at(&file, &mut bytes, 0)?;
        Ok(bytes)
    }

    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let (file, len) = self.opened(name)?;
        match offset.checked_add(into.len() as u64) {
            Some(end) if end <= len => self.disk.read_piece_at(&file, into, offset),
            _ => Err(too_short(len, offset, into.len())),
        }
    }

    /// An object held open for reading ranges, and its length.
    ///
    /// Another process may have deleted or healed it since it was opened, and then what we hold is
    /// not what the name stands for any more; a file without a name is therefore opened anew.
    fn opened(&self, name: &Name) -> io::Result<(Arc<D::File>, u64)> {
        let held = self.open_files().find(name);
        if let Some(file) = held {
            let stat = self.disk.stat(&file)?;
            if stat.named {
                return Ok((file, stat.len));
            }
        }
        self.forget(name);
        let (home, last) = self.find_home(name)?;
        let file = Arc::new(self.disk.open(&home, last)?);
        let len = self.disk.stat(&file)?.len;
        self.open_files().keep(name, file.clone());
        Ok((file, len))
    }

    fn forget(&self, name: &Name) {
        self.open_files().forget(name);
    }

    fn open_files(&self) -> std::sync::MutexGuard<'_, OpenFiles<D::File>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn head(&self, name: &Name) -> io::Result<Option<u64>> {
        let (home, last) = self.find_home(name)?;
        match self.disk.entry(&home, last)? {
            Kind::File { len, .. } => Ok(Some(len)),
            Kind::Dir | Kind::Foreign => Ok(None),
        }
    }

    fn received(&self, name: &Name) -> io::Result<Option<i64>> {
        let (home, last) = self.find_home(name)?;
        match self.disk.entry(&home, last)? {
            Kind::File { modified, .. } => Ok(Some(modified)),
            Kind::Dir | Kind::Foreign => Ok(None),
        }
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        if !Name::is_prefix(prefix) {
            return Err(no_prefix(prefix));
        }
        let path = prefix.trim_end_matches('/');
        let mut listed = Vec::new();
        match self.find_dir(path) {
            Ok(dir) => self.list_dir(&dir, path, &mut listed)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    /// Goes no deeper than names do: what is below four components is no name.
    fn list_dir(&self, dir: &D::Dir, path: &str, into: &mut Vec<Listed>) -> io::Result<()> {
        for Entry { name, kind } in self.disk.entries(dir)? {
            let Ok(name) = Name::new(join(path, &name)) else {
                continue;
            };
            match kind {
                Kind::File { len, .. } => into.push(Listed { name, len, tag: None }),
                Kind::Dir => {
                    let (_, last) = split(&name);
                    match self.disk.open_dir(dir, last) {
                        Ok(child) => self.list_dir(&child, name.as_str(), into)?,
                        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                        Err(e) => return Err(e),
                    }
                }
                Kind::Foreign => {}
            }
        }
        Ok(())
    }

    /// `now` is a file just made: the file system's idea of the time.
    fn sweep(&self, now: &Temporary<D>, seconds: i64) -> io::Result<u64> {
        let now_seconds = self.disk.stat(&now.file)?.modified;
        let mut count = 0;
        for entry in self.disk.entries(&now.dir)? {
            let Kind::File { modified, .. } = entry.kind else {
                continue;
            };
            let old = now_seconds.saturating_sub(modified) >= seconds;
            if old && entry.name != now.name && is_temporary_name(&entry.name) {
                tolerate(self.disk.unlink(&now.dir, &entry.name), io::ErrorKind::NotFound)?;
                count += 1;
            }
        }
        Ok(count)
    }
}

fn split(name: &Name) -> (&str, &str) {
    name.as_str().rsplit_once('/').unwrap_or(("", name.as_str()))
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

fn tolerate(result: io::Result<()>, kind: io::ErrorKind) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == kind => Ok(()),
        other => other,
    }
}

/// A missing object where a missing object is an answer.
fn unless_missing<T>(result: io::Result<T>, instead: T) -> io::Result<T> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(instead),
        other => other,
    }
}

impl<D: Disk> Storage for Shelf<D> {
    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        let put = self.0.put_new(name, bytes);
        put.map_err(|e| self.0.fail("put", name.as_str(), e))
    }

    fn draft(&self) -> Result<Box<dyn Draft>, StorageError> {
        let file = Temporary::create(&self.0).map_err(|e| self.0.fail("put", "a new object", e))?;
        Ok(Box::new(ShelfDraft { file, pending: Vec::new(), written: 0, under_way: 0, failed: false }))
    }

    fn get(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        let bytes = self.0.get(name, max);
        bytes.map_err(|e| self.0.fail("get", name.as_str(), e))
    }

    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let done = self.0.get_range(name, offset, into);
        done.map_err(|e| self.0.fail("get", name.as_str(), e))
    }

    fn head(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        let len = unless_missing(self.0.head(name), None);
        len.map_err(|e| self.0.fail("look up", name.as_str(), e))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        let listed = self.0.list(prefix);
        listed.map_err(|e| self.0.fail("list", prefix, e))
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        let done = unless_missing(self.0.delete(name), ());
        done.map_err(|e| self.0.fail("delete", name.as_str(), e))
    }

    fn heal(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError> {
        let done = self.0.heal(name, bytes);
        done.map_err(|e| self.0.fail("heal", name.as_str(), e))
    }

    fn clock(&self) -> Result<i64, StorageError> {
        // The file system may have a clock of its own: a file just made tells.
        let now = Temporary::create(&self.0).and_then(|now| self.0.disk.stat(&now.file));
        now.map(|stat| stat.modified).map_err(|e| self.0.fail("ask the time of", TEMPORARIES, e))
    }

    fn received(&self, name: &Name) -> Result<Option<i64>, StorageError> {
        let time = unless_missing(self.0.received(name), None);
        time.map_err(|e| self.0.fail("look up", name.as_str(), e))
    }

    fn place(&self) -> String {
        self.0.place.clone()
    }
}

/// A file that has no name of its own yet. Dropped, it is gone.
struct Temporary<D: Disk> {
    shelf: Arc<Inner<D>>,
    dir: D::Dir,
    name: String,
    file: D::File,
    /// It went from here to its place.
    moved: bool,
}

impl<D: Disk> Temporary<D> {
    fn create(shelf: &Arc<Inner<D>>) -> io::Result<Self> {
        let disk = &shelf.disk;
        let root = disk.root();
        let dir = match disk.open_dir(&root, TEMPORARIES) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // Not flushed: after a power cut nothing in it is missed, nor is it itself.
                tolerate(disk.make_dir(&root, TEMPORARIES), io::ErrorKind::AlreadyExists)?;
                disk.open_dir(&root, TEMPORARIES)?
            }
            other => other?,
        };
        let name = random_name()?;
        let file = disk.create(&dir, &name)?;
        let this = Self { shelf: shelf.clone(), dir, name, file, moved: false };
        if !shelf.swept.swap(true, Ordering::Relaxed) {
            // Tidying up is a courtesy, and no reason for a backup to fail.
            let _ = shelf.sweep(&this, ABANDONED_AFTER_SECONDS);
        }
        Ok(this)
    }

    fn rename_new(&mut self, home: &D::Dir, last: &str) -> io::Result<()> {
        let (from, to) = ((&self.dir, self.name.as_str()), (home, last));
        let disk = &self.shelf.disk;
        match disk.rename_new(from, to) {
            Ok(()) => {
                self.moved = true;
                Ok(())
            }
            // Its first name is left for `drop` to remove.
            Err(e) if e.kind() == io::ErrorKind::Unsupported => disk.link_new(from, to),
            Err(e) => Err(e),
        }
    }

    fn rename_over(&mut self, home: &D::Dir, last: &str) -> io::Result<()> {
        let from = (&self.dir, self.name.as_str());
        self.shelf.disk.rename_over(from, (home, last))?;
        self.moved = true;
        Ok(())
    }
}

impl<D: Disk> Drop for Temporary<D> {
    fn drop(&mut self) {
        if !self.moved {
            // What cannot be removed is swept another day.
            let _ = self.shelf.disk.unlink(&self.dir, &self.name);
        }
    }
}

fn random_name() -> io::Result<String> {
    let mut random = [0u8; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_le_bytes(random)))
}

fn is_temporary_name(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

struct ShelfDraft<D: Disk> {
    file: Temporary<D>,
    pending: Vec<u8>,
    written: u64,
    /// Up to where write-back was asked for.
    under_way: u64,
    /// A write went wrong: how much of it is there nobody knows.
    failed: bool,
}

impl<D: Disk> ShelfDraft<D> {
    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        let len = self.pending.len() + bytes.len();
        if len < WRITE_BYTES {
            self.pending.extend_from_slice(bytes);
            return Ok(());
        }
        // A piece of a page waits for the rest of it.
        let piece = ((self.written + len as u64) % PAGE) as usize;
        let (now, later) = bytes.split_at(bytes.len().saturating_sub(piece));
        let disk = &self.file.shelf.disk;
        // Until it went well.
        let failed = std::mem::replace(&mut self.failed, true);
        if bytes.len() >= WRITE_BYTES {
            disk.append_pages(&self.file.file, &self.pending, now)?;
        } else {
            self.pending.extend_from_slice(now);
            disk.append(&self.file.file, &self.pending)?;
        }
        self.failed = failed;
        let written = len - later.len();
        self.pending.clear();
        self.pending.extend_from_slice(later);
        self.wrote(written);
        Ok(())
    }

    fn wrote(&mut self, bytes: usize) {
        let disk = &self.file.shelf.disk;
        self.written += bytes as u64;
        let waiting = self.written - self.under_way;
        if waiting >= WRITE_BACK_BYTES {
            disk.begin_write_back(&self.file.file, self.under_way, waiting);
            self.under_way = self.written;
        }
    }

    fn finish(self, name: &Name) -> io::Result<Put> {
        if self.failed {
            return Err(io::Error::other("a part of it could not be written"));
        }
        self.file.shelf.disk.append(&self.file.file, &self.pending)?;
        let shelf = self.file.shelf.clone();
        let (home, last) = shelf.make_home(name)?;
        shelf.publish(self.file, &home, last)
    }
}

impl<D: Disk> Draft for ShelfDraft<D> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let done = self.add(bytes);
        done.map_err(|e| self.file.shelf.fail("put", "a new object", e))
    }

    fn publish(self: Box<Self>, name: &Name) -> Result<Put, StorageError> {
        let shelf = self.file.shelf.clone();
        let put = self.finish(name);
        put.map_err(|e| shelf.fail("put", name.as_str(), e))
    }
}
