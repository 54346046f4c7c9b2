//! A [`Disk`] at the other end of SFTP, so that the steps which make local objects durable are the
//! steps which make remote ones durable.
//!
//! OpenSSH's server has what they need: `fsync@openssh.com` for files and, opened for reading,
//! directories; `hardlink@openssh.com`, which fails where the name is taken; and
//! `posix-rename@openssh.com`.

use super::link::{Link, Pending};
use super::wire::{self, Attributes, Body, CHUNK};
use crate::storage::local::disk::{At, Disk, Entry, Kind, Stat};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const FSYNC: &str = "fsync@openssh.com";
const HARDLINK: &str = "hardlink@openssh.com";
const POSIX_RENAME: &str = "posix-rename@openssh.com";
const STATVFS: &str = "statvfs@openssh.com";

/// Chunks under way in one file.
const WINDOW: usize = 64;

const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

pub(super) struct SftpDisk {
    link: Arc<Link>,
    root: Arc<str>,
    /// Directories that are known to be such. Should one go, what is asked for in it is missing.
    known: Mutex<HashSet<String>>,
}

/// A file that was opened.
pub(super) struct Handle {
    link: Arc<Link>,
    handle: Vec<u8>,
    written: AtomicU64,
}

impl Handle {
    fn body(&self) -> Body {
        Body::default().string(&self.handle)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // What was not flushed does not count, so its success is of no interest.
        let _ = self.link.ask(wire::CLOSE, &self.body());
    }
}

impl SftpDisk {
    /// `root` is there, or is made now.
    pub(super) fn new(link: Arc<Link>, root: &str, make: bool) -> io::Result<Self> {
        for (extension, why) in [(FSYNC, "flush files"), (HARDLINK, "make a name only if it is free")] {
            if !link.knows(extension) {
                let what =
                    format!("its SFTP server cannot {why} ({extension}), so nothing there would be sure to last");
                return Err(io::Error::new(io::ErrorKind::Unsupported, what));
            }
        }
        let disk = Self { link, root: root.into(), known: Mutex::default() };
        match disk.directory(root) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && make => disk.make_all(root)?,
            other => other?,
        }
        Ok(disk)
    }

    /// `mkdir -p`, each new entry flushed in its parent.
    fn make_all(&self, path: &str) -> io::Result<()> {
        let parent = match path.trim_end_matches('/').rsplit_once('/') {
            Some(("", _)) => "/",
            Some((parent, _)) => parent,
            None => ".",
        };
        match self.directory(parent) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && parent != path => self.make_all(parent)?,
            other => other?,
        }
        self.mkdir(path)?;
        self.sync(parent)
    }

    fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The root may be a link, as a path of the user's own; `lstat` of `x/.` sees what it leads to.
    fn directory(&self, path: &str) -> io::Result<()> {
        match kind_of(&self.lstat(&format!("{path}/."))?) {
            Kind::Dir => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{path} is no folder"))),
        }
    }

    fn lstat(&self, path: &str) -> io::Result<Attributes> {
        self.link.call(wire::LSTAT, &Body::default().string(path.as_bytes()))?.attributes()
    }

    fn mkdir(&self, path: &str) -> io::Result<()> {
        let made = self.link.call(wire::MKDIR, &Body::default().string(path.as_bytes()).mode(0o700))?.status();
        self.unless_taken(made, path)
    }

    /// Version 3 has no word for "exists".
    fn unless_taken(&self, done: io::Result<()>, path: &str) -> io::Result<()> {
        match done {
            Err(e) if e.kind() == io::ErrorKind::Other && self.lstat(path).is_ok() => {
                Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{path} exists")))
            }
            other => other,
        }
    }

    /// A failure that may be for lack of room, which version 3 has no word for either.
    fn unless_full(&self, done: io::Result<()>) -> io::Result<()> {
        match done {
            Err(e) if e.kind() == io::ErrorKind::Other && self.is_full() => {
                Err(io::Error::new(io::ErrorKind::StorageFull, "no space is left there"))
            }
            other => other,
        }
    }

    fn is_full(&self) -> bool {
        let asked = self.link.knows(STATVFS);
        let free = || {
            let body = Body::default().string(STATVFS.as_bytes()).string(self.root.as_bytes());
            self.link.call(wire::EXTENDED, &body)?.free_blocks()
        };
        asked && free().is_ok_and(|blocks| blocks == 0)
    }

    fn extended(&self, name: &str, from: &str, to: &str) -> io::Result<()> {
        let body = Body::default().string(name.as_bytes()).string(from.as_bytes()).string(to.as_bytes());
        self.link.call(wire::EXTENDED, &body)?.status()
    }

    fn fsync(&self, handle: &Handle) -> io::Result<()> {
        let body = Body::default().string(FSYNC.as_bytes()).string(&handle.handle);
        self.link.call(wire::EXTENDED, &body)?.status()
    }

    fn open_path(&self, path: &str, flags: u32, attributes: Body) -> io::Result<Handle> {
        let mut body = Body::default().string(path.as_bytes()).number(flags);
        body.0.extend_from_slice(&attributes.0);
        let handle = self.link.call(wire::OPEN, &body)?.handle()?;
        Ok(Handle { link: Arc::clone(&self.link), handle, written: AtomicU64::new(0) })
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        let dir = match self.open_path(path, wire::FOR_READING, Body::default().number(0)) {
            Ok(dir) => dir,
            // Not every server opens directories; there is nothing more to be had from it then.
            Err(e) if e.kind() == io::ErrorKind::Other && !self.link.is_dead() => return Ok(()),
            Err(e) => return Err(e),
        };
        self.fsync(&dir)
    }
}

fn at(dir: &str, name: &str) -> String {
    format!("{dir}/{name}")
}

fn kind_of(found: &Attributes) -> Kind {
    match found.mode.map(|mode| mode & TYPE) {
        Some(DIRECTORY) => Kind::Dir,
        Some(REGULAR) => Kind::File { len: found.size.unwrap_or(0), modified: i64::from(found.modified.unwrap_or(0)) },
        _ => Kind::Foreign,
    }
}

impl Disk for SftpDisk {
    type Dir = Arc<str>;
    type File = Handle;

    fn root(&self) -> Self::Dir {
        Arc::clone(&self.root)
    }

    fn open_dir(&self, parent: &Self::Dir, name: &str) -> io::Result<Self::Dir> {
        let path = at(parent, name);
        if !self.known().contains(&path) {
            match kind_of(&self.lstat(&path)?) {
                Kind::Dir => {}
                _ => return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{path} is no folder"))),
            }
            self.known().insert(path.clone());
        }
        Ok(path.into())
    }

    fn make_dir(&self, parent: &Self::Dir, name: &str) -> io::Result<()> {
        self.mkdir(&at(parent, name))
    }

    fn sync_dir(&self, dir: &Self::Dir) -> io::Result<()> {
        self.sync(dir)
    }

    fn entries(&self, dir: &Self::Dir) -> io::Result<Vec<Entry>> {
        let handle = match self.link.call(wire::OPENDIR, &Body::default().string(dir.as_bytes()))?.handle() {
            Ok(handle) => Handle { link: Arc::clone(&self.link), handle, written: AtomicU64::new(0) },
            Err(e) => {
                self.known().remove(&**dir);
                return Err(e);
            }
        };
        let mut entries = Vec::new();
        while let Some(names) = self.link.call(wire::READDIR, &handle.body())?.names()? {
            let shown = names.into_iter().filter(|(name, _)| name != b"." && name != b"..");
            entries.extend(shown.map(|(name, found)| Entry {
                // What is not UTF-8 is none of ours, but does occupy the directory.
                name: String::from_utf8(name).unwrap_or_else(|_| String::from("\u{fffd}")),
                kind: kind_of(&found),
            }));
        }
        Ok(entries)
    }

    fn entry(&self, dir: &Self::Dir, name: &str) -> io::Result<Kind> {
        Ok(kind_of(&self.lstat(&at(dir, name))?))
    }

    fn create(&self, dir: &Self::Dir, name: &str) -> io::Result<Handle> {
        let path = at(dir, name);
        self.open_path(&path, wire::NEW_FOR_WRITING, Body::default().mode(0o600))
    }

    fn open(&self, dir: &Self::Dir, name: &str) -> io::Result<Handle> {
        let path = at(dir, name);
        // Both at once: the server would follow a link.
        let looked = self.link.ask(wire::LSTAT, &Body::default().string(path.as_bytes()))?;
        let opened = self.open_path(&path, wire::FOR_READING, Body::default().number(0));
        match kind_of(&looked.wait()?.attributes()?) {
            Kind::File { .. } => opened,
            Kind::Dir | Kind::Foreign => Err(io::Error::other("it is not a plain file")),
        }
    }

    fn append(&self, file: &Handle, bytes: &[u8]) -> io::Result<()> {
        let mut offset = file.written.fetch_add(bytes.len() as u64, Relaxed);
        let mut under_way: VecDeque<Pending<'_>> = VecDeque::new();
        for chunk in bytes.chunks(CHUNK) {
            if under_way.len() == WINDOW
                && let Some(oldest) = under_way.pop_front()
            {
                self.unless_full(oldest.wait()?.status())?;
            }
            under_way.push_back(self.link.ask(wire::WRITE, &file.body().long(offset).string(chunk))?);
            offset += chunk.len() as u64;
        }
        for pending in under_way {
            self.unless_full(pending.wait()?.status())?;
        }
        Ok(())
    }

    fn begin_write_back(&self, _: &Handle, _: u64, _: u64) {}

    fn seal(&self, file: &Handle) -> io::Result<()> {
        match self.link.call(wire::FSETSTAT, &file.body().mode(0o400))?.status() {
            // It protects from slips, not from enemies; not every server can.
            Err(_) if !self.link.is_dead() => Ok(()),
            other => other,
        }
    }

    fn sync_file(&self, file: &Handle) -> io::Result<()> {
        let synced = self.fsync(file);
        self.unless_full(synced)
    }

    fn stat(&self, file: &Handle) -> io::Result<Stat> {
        let found = self.link.call(wire::FSTAT, &file.body())?.attributes()?;
        // Whether it still has a name cannot be asked. What others deleted or healed while it is held
        // open here is read as it was: objects do not change, and what is read is verified.
        Ok(Stat { len: found.size.unwrap_or(0), modified: i64::from(found.modified.unwrap_or(0)), named: true })
    }

    fn read_exact_at(&self, file: &Handle, into: &mut [u8], offset: u64) -> io::Result<()> {
        let mut under_way = VecDeque::new();
        let mut rest = into.chunks_mut(CHUNK);
        let mut begin = offset;
        loop {
            while under_way.len() < WINDOW
                && let Some(chunk) = rest.next()
            {
                let body = file.body().long(begin).number(chunk.len() as u32);
                let len = chunk.len() as u64;
                under_way.push_back((self.link.ask(wire::READ, &body)?, chunk, begin));
                begin += len;
            }
            let Some((pending, mut chunk, mut at)) = under_way.pop_front() else { return Ok(()) };
            let mut packet = pending.wait()?;
            loop {
                let data = packet.data()?;
                let filled = chunk.get_mut(..data.len()).filter(|_| !data.is_empty());
                filled.ok_or_else(|| wire::malformed("more or less than was asked for"))?.copy_from_slice(data);
                chunk = &mut chunk[data.len()..];
                at += data.len() as u64;
                if chunk.is_empty() {
                    break;
                }
                packet = self.link.call(wire::READ, &file.body().long(at).number(chunk.len() as u32))?;
            }
        }
    }

    fn rename_new(&self, _: At<'_, Self::Dir>, _: At<'_, Self::Dir>) -> io::Result<()> {
        // Version 3's own is exclusive by its words only; a hard link is.
        Err(io::ErrorKind::Unsupported.into())
    }

    fn link_new(&self, from: At<'_, Self::Dir>, to: At<'_, Self::Dir>) -> io::Result<()> {
        let to = at(to.0, to.1);
        let linked = self.extended(HARDLINK, &at(from.0, from.1), &to);
        let linked = self.unless_taken(linked, &to);
        self.unless_full(linked)
    }

    fn rename_over(&self, from: At<'_, Self::Dir>, to: At<'_, Self::Dir>) -> io::Result<()> {
        let done = self.extended(POSIX_RENAME, &at(from.0, from.1), &at(to.0, to.1));
        self.unless_full(done)
    }

    fn unlink(&self, dir: &Self::Dir, name: &str) -> io::Result<()> {
        self.link.call(wire::REMOVE, &Body::default().string(at(dir, name).as_bytes()))?.status()
    }
}
