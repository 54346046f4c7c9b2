//! A file that is being restored.

use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FallocateFlags, IFlags, fallocate, ftruncate, ioctl_getflags, ioctl_setflags};
use rustix::io::{Errno, pread, pwrite, pwritev2};

use super::{FileId, Stat, TargetError, at};
use crate::model::ext::flag;
use crate::sys::RWF_DONTCACHE;

/// Whole pages from this length on are written past the cache. What is shorter would make many
/// small writes of the disk.
const LONG: usize = 256 << 10;
/// Pieces of pages stay in the cache, where the neighbouring write completes them.
const PAGE: usize = 4096;

/// The name of a file until it takes its place: hard to guess, easy to recognise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TempName([u8; TempName::LEN]);

impl TempName {
    const PREFIX: &'static [u8; 15] = b".orlop-restore-";
    const LEN: usize = 15 + 16;

    pub(super) fn random() -> Self {
        // Not secret, only unlikely to be taken: files are made exclusively anyway.
        let seed = crate::sys::random().unwrap_or_else(|_| (crate::sys::now().nanos() as u64).to_le_bytes());
        let mut name = [0; Self::LEN];
        name[..15].copy_from_slice(Self::PREFIX);
        name[15..].copy_from_slice(crate::id::hex(&seed).as_bytes());
        Self(name)
    }
    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// Whether a name looks like one of these: left by a restore that was killed.
    pub fn looks_like(name: &[u8]) -> bool {
        name.len() == Self::LEN && name.starts_with(Self::PREFIX)
    }
}

/// What is needed to open a file again by [`TargetDir::resume`](super::TargetDir::resume).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InProgress {
    /// Where it is for the time being, if not in its place.
    pub temp: Option<TempName>,
    /// Which file it is.
    pub id: FileId,
    pub(super) stained: bool,
}

/// A file that is being restored, open for writing at any place in any order.
#[derive(Debug)]
pub struct TargetFile {
    fd: OwnedFd,
    pub(super) temp: Option<TempName>,
    /// It may have attributes that nobody asked for.
    pub(super) stained: bool,
    /// Writing past the cache does not work here.
    plain: AtomicBool,
}

impl TargetFile {
    pub(super) fn new(fd: OwnedFd, temp: Option<TempName>, stained: bool) -> Self {
        Self { fd, temp, stained, plain: AtomicBool::new(false) }
    }
    /// Whether it is still beside what it will replace.
    pub fn replaces(&self) -> bool {
        self.temp.is_some()
    }
    /// What it is now.
    pub fn stat(&self) -> Result<Stat, TargetError> {
        Ok(Stat::read(&self.fd, b"")?)
    }
    /// What to remember before closing it, to go on later.
    pub fn in_progress(&self) -> Result<InProgress, TargetError> {
        Ok(InProgress { temp: self.temp, id: self.stat()?.id, stained: self.stained })
    }

    /// Set those chattr flags that mean nothing once there is data. Only a wish: where they are
    /// not known, `apply_metadata` will say so.
    pub fn set_early_flags(&self, flags: u32) {
        let early = IFlags::from_bits_retain(flags & flag::EARLY);
        if !early.is_empty()
            && let Ok(now) = ioctl_getflags(&self.fd)
        {
            let _ = ioctl_setflags(&self.fd, now | early);
        }
    }
    /// Write all of `bytes` at `offset`; long stretches past the cache.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), TargetError> {
        let head = (PAGE - offset as usize % PAGE) % PAGE;
        if bytes.len() < head + LONG {
            return self.write_all(offset, bytes, false);
        }
        let (head, rest) = bytes.split_at(head);
        let (pages, tail) = rest.split_at(rest.len() / PAGE * PAGE);
        let from = offset.saturating_add(head.len() as u64);
        self.write_all(offset, head, false)?;
        self.write_all(from, pages, true)?;
        self.write_all(from.saturating_add(pages.len() as u64), tail, false)
    }

    fn write_all(&self, mut offset: u64, mut bytes: &[u8], past_cache: bool) -> Result<(), TargetError> {
        while !bytes.is_empty() {
            let past = past_cache && !self.plain.load(Relaxed);
            let written = match past {
                true => pwritev2(&self.fd, &[IoSlice::new(bytes)], offset, RWF_DONTCACHE),
                false => pwrite(&self.fd, bytes, offset),
            };
            match written {
                Ok(0) => return Err(at("write")(Errno::IO)),
                Ok(n) => {
                    offset = offset.saturating_add(n as u64);
                    bytes = &bytes[n..];
                }
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) if past => {
                    self.plain.store(true, Relaxed);
                }
                Err(e) => return Err(at("write")(e)),
            }
        }
        Ok(())
    }
    /// Fill `into` from `offset`, less only at the end: for comparing with what is there.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, TargetError> {
        let mut done = 0;
        while done < into.len() {
            match pread(&self.fd, &mut into[done..], offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(at("read")(e)),
            }
        }
        Ok(done)
    }
    /// Make a stretch read as zeros, without blocks if the file system can. In a file that is new
    /// there is nothing to do but to set its length in the end.
    pub fn punch_hole(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        let end = self.stat()?.size.min(offset.saturating_add(len));
        if end <= offset {
            return Ok(()); // Beyond the end there is nothing to punch.
        }
        match fallocate(&self.fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, end - offset) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.write_zeros(offset, end),
            other => other.map_err(at("punch-hole")),
        }
    }
    /// Whether the file system keeps a hole somewhere in this stretch.
    pub fn has_hole(&self, offset: u64, len: u64) -> bool {
        let end = self.stat().map_or(0, |s| s.size.min(offset.saturating_add(len)));
        rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Hole(offset)).is_ok_and(|at| at < end)
    }
    fn write_zeros(&self, mut offset: u64, end: u64) -> Result<(), TargetError> {
        let zeros = vec![0; 64 << 10];
        while offset < end {
            let n = usize::try_from(end - offset).map_or(zeros.len(), |n| n.min(zeros.len()));
            self.write_at(offset, &zeros[..n])?;
            offset += n as u64;
        }
        Ok(())
    }
    /// Cut or extend to exactly this length.
    pub fn set_len(&self, len: u64) -> Result<(), TargetError> {
        ftruncate(&self.fd, len).map_err(at("set-length"))
    }
    /// Ask for the space beforehand, so that a long file comes in few pieces and a full disk is
    /// noticed early. Not for files with holes. File systems that cannot do it are fine.
    pub fn reserve(&self, len: u64) -> Result<(), TargetError> {
        match fallocate(&self.fd, FallocateFlags::KEEP_SIZE, 0, len) {
            Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(at("reserve")(e)),
            _ => Ok(()),
        }
    }
    /// Have the content on the disk before going on.
    pub fn sync(&self) -> Result<(), TargetError> {
        rustix::fs::fdatasync(&self.fd).map_err(at("sync"))
    }
}

impl AsFd for TargetFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use super::*;

    /// Also where the file system knows no way past its cache, as the one in memory does not.
    #[test]
    fn what_is_written_is_there_wherever_it_begins_and_ends() {
        let places = [std::env::temp_dir().as_path(), Path::new("/dev/shm")].map(|p| tempfile::tempfile_in(p).ok());
        let bytes: Vec<u8> = (0..3 * LONG as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 | 1).collect();
        for there in places.into_iter().flatten() {
            let file = TargetFile::new(there.try_clone().expect("a descriptor").into(), None, false);
            for offset in [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE - 7] {
                for len in [0, 1, PAGE, LONG - 1, LONG, LONG + 1, LONG + PAGE - 1, LONG + PAGE, 2 * LONG + 777] {
                    there.set_len(0).and_then(|()| there.set_len(4 * LONG as u64)).expect("emptied");
                    file.write_at(offset as u64, &bytes[..len]).expect("written");
                    let mut found = vec![9; 4 * LONG];
                    there.read_exact_at(&mut found, 0).expect("read");
                    assert!(found[..offset].iter().all(|b| *b == 0), "before {offset}, {len}");
                    assert!(found[offset..offset + len] == bytes[..len], "at {offset}, {len}");
                    assert!(found[offset + len..].iter().all(|b| *b == 0), "behind {offset}, {len}");
                }
            }
        }
    }
}
