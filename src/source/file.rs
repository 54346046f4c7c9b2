//! An open regular file: where its data is, and reading it, large ones past the page cache.

use std::io::IoSliceMut;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Advice, OFlags, SeekFrom, fadvise, fcntl_getfl, fcntl_setfl, seek};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use super::stat::same;
use super::{Keep, Metadata, SourceError, Stat, at, file_metadata};
use crate::sys::RWF_DONTCACHE;

/// Files from this length on are read past the page cache. Below it, the detour costs more than
/// the cache loses.
pub const LARGE_FILE: u64 = 1 << 20;
/// What direct reads are aligned to; no block device in use asks for more.
pub const ALIGN: usize = 4096;

/// How a file is read. Each way that turns out not to work leaves for the next, for good.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Through the cache, like anyone: small files, and large ones that are in it already.
    Plain,
    /// With [`RWF_DONTCACHE`]. The first choice: fastest of all measured, and it neither evicts
    /// nor ignores what others keep in the cache.
    DontCache,
    /// With `O_DIRECT`, for kernels without the above.
    Direct,
    /// Through the cache, telling it afterwards that it may drop the pages.
    Drop,
}

/// A regular file, open for reading.
#[derive(Debug)]
pub struct OpenFile {
    fd: OwnedFd,
    stat: Stat,
    way: AtomicU8,
}

impl OpenFile {
    /// Takes over `fd` if it is the very file that `before` was told about.
    pub(super) fn new(fd: OwnedFd, before: &Stat) -> Result<Self, SourceError> {
        let stat = Stat::read(&fd, b"")?;
        same(&stat, before, "open")?;
        let large = stat.size >= LARGE_FILE;
        if large {
            // Only advice: twice the usual read-ahead.
            let _ = fadvise(&fd, 0, None, Advice::Sequential);
        }
        let way = if large { Way::DontCache } else { Way::Plain };
        Ok(Self { fd, stat, way: AtomicU8::new(way as u8) })
    }
    /// What it was when it was opened.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }
    /// What it is now; compare with [`OpenFile::stat`] to find out whether it changed while it
    /// was read.
    pub fn stat_now(&self) -> Result<Stat, SourceError> {
        Stat::read(&self.fd, b"")
    }
    /// Its extensions.
    pub fn metadata(&self, stat: &Stat, keep: Keep) -> Metadata {
        file_metadata(self.fd.as_fd(), stat, keep)
    }
    /// Where there is data and where there are holes, in order and without gaps, up to the length
    /// the file had when it was opened.
    pub fn segments(&self) -> Segments<'_> {
        let solid = self.stat.blocks.saturating_mul(512) >= self.stat.size;
        Segments { file: self, at: 0, end: self.stat.size, solid, data_next: false }
    }
    /// Fill `into` from `offset`; less only at the end of the file. Large files are read faster
    /// into a [`ReadBuffer`] and from offsets that are multiples of 4096.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, SourceError> {
        let mut done = 0;
        while done < into.len() {
            let at_offset = offset.saturating_add(done as u64);
            match self.read_some(at_offset, &mut into[done..]) {
                Ok(0) => break,
                Ok(n) => {
                    done += n;
                    // A regular file gives less only at its end: no need to ask once more.
                    if done < into.len() && at_offset.saturating_add(n as u64) >= self.stat.size {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(at("read")(e)),
            }
        }
        Ok(done)
    }

    fn read_some(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        match self.way() {
            Way::Plain => pread(&self.fd, into, offset),
            Way::Drop => {
                let n = pread(&self.fd, into, offset)?;
                let _ = fadvise(&self.fd, offset, std::num::NonZeroU64::new(n as u64), Advice::DontNeed);
                Ok(n)
            }
            Way::DontCache => match preadv2(&self.fd, &mut [IoSliceMut::new(into)], offset, RWF_DONTCACHE) {
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                    self.leave_dont_cache();
                    self.read_some_after(offset, into)
                }
                other => other,
            },
            Way::Direct if aligned(offset, into) => match pread(&self.fd, &mut *into, offset) {
                Err(Errno::INVAL) => {
                    self.leave_direct()?;
                    pread(&self.fd, into, offset)
                }
                other => other,
            },
            // The tail of a file, or a caller with a buffer of its own.
            Way::Direct => {
                self.leave_direct()?;
                pread(&self.fd, into, offset)
            }
        }
    }

    fn read_some_after(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        // Never again [`Way::DontCache`], so this does not go in circles.
        debug_assert_ne!(self.way(), Way::DontCache);
        self.read_some(offset, into)
    }

    /// Old kernel or a file system without support: direct reads, unless the beginning of the
    /// file is in the cache, because then memory is faster than the disk.
    fn leave_dont_cache(&self) {
        let mut probe = [0; 1];
        let cached = preadv2(&self.fd, &mut [IoSliceMut::new(&mut probe)], 0, ReadWriteFlags::NOWAIT).is_ok();
        let way = if cached {
            Way::Plain
        } else if self.set_direct(true).is_ok() {
            Way::Direct
        } else {
            Way::Drop
        };
        self.way.store(way as u8, Relaxed);
    }

    fn leave_direct(&self) -> Result<(), Errno> {
        self.set_direct(false)?;
        self.way.store(Way::Drop as u8, Relaxed);
        Ok(())
    }

    fn set_direct(&self, on: bool) -> Result<(), Errno> {
        let mut flags = fcntl_getfl(&self.fd)?;
        flags.set(OFlags::DIRECT, on);
        fcntl_setfl(&self.fd, flags)
    }

    fn way(&self) -> Way {
        match self.way.load(Relaxed) {
            1 => Way::DontCache,
            2 => Way::Direct,
            3 => Way::Drop,
            _ => Way::Plain,
        }
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn aligned(offset: u64, buffer: &[u8]) -> bool {
    offset.is_multiple_of(ALIGN as u64)
        && buffer.len().is_multiple_of(ALIGN)
        && buffer.as_ptr().addr().is_multiple_of(ALIGN)
}

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins.
    pub offset: u64,
    /// How long it is, at least 1.
    pub len: u64,
    /// Whether it was never written and reads as zeros.
    pub hole: bool,
}

/// Goes through a file by [`Segment`]s. Each step moves on by at least a byte and none goes
/// beyond the end, whatever others do to the file meanwhile.
#[derive(Debug)]
pub struct Segments<'a> {
    file: &'a OpenFile,
    at: u64,
    end: u64,
    /// All that is left is data: as many blocks as bytes, or the file system cannot say.
    solid: bool,
    /// There is data at `at`.
    data_next: bool,
}

impl Segments<'_> {
    fn upto(&mut self, to: u64, hole: bool) -> Option<Segment> {
        let segment = Segment { offset: self.at, len: to - self.at, hole };
        self.at = to;
        self.data_next = hole;
        Some(segment)
    }
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        if self.at >= self.end {
            return None;
        }
        if !self.solid && !self.data_next {
            match seek(&self.file.fd, SeekFrom::Data(self.at)) {
                Ok(data) if data > self.at => return self.upto(data.min(self.end), true),
                Ok(_) => {}
                // No data from here on, or no file any more from here on.
                Err(Errno::NXIO) => return self.upto(self.end, true),
                Err(_) => self.solid = true,
            }
        }
        if !self.solid {
            match seek(&self.file.fd, SeekFrom::Hole(self.at)) {
                Ok(hole) if hole > self.at => return self.upto(hole.min(self.end), false),
                // Cut or punched just now: say it is data; reading it tells the truth.
                _ => self.solid = true,
            }
        }
        self.upto(self.end, false)
    }
}

/// Memory to read into, aligned for direct reads and used again and again.
#[derive(Debug)]
pub struct ReadBuffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl ReadBuffer {
    /// Room for `len` bytes, rounded up to whole pages.
    pub fn new(len: usize) -> Self {
        let len = len.next_multiple_of(ALIGN).max(ALIGN);
        let memory = vec![0; len + ALIGN];
        // A vector that is never resized stays where it is, so the alignment holds. Should the
        // system not be able to tell, it is a plain buffer and direct reads fall back.
        let start = match memory.as_ptr().align_offset(ALIGN) {
            start if start < ALIGN => start,
            _ => 0,
        };
        Self { memory, start, len }
    }
}

impl Deref for ReadBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.memory[self.start..][..self.len]
    }
}
impl DerefMut for ReadBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Dir;

    /// Every way of reading gives the same bytes, whatever the offsets.
    #[test]
    fn all_ways_read_the_same() {
        let tmp = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> =
            (0..(LARGE_FILE as u32 + 5000)).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        std::fs::write(tmp.path().join("f"), &bytes).unwrap();
        let dir = Dir::open_root(tmp.path()).unwrap();
        let stat = dir.stat(b"f").unwrap();
        for way in [Way::Plain, Way::DontCache, Way::Direct, Way::Drop] {
            let file = dir.open_file(b"f", &stat).unwrap();
            if way == Way::Direct && file.set_direct(true).is_err() {
                eprintln!("skipped: no direct reads here");
                continue;
            }
            file.way.store(way as u8, Relaxed);
            let mut buffer = ReadBuffer::new(300_000);
            assert!(aligned(0, &buffer));
            let (mut all, step) = (Vec::new(), buffer.len());
            loop {
                let n = file.read_at(all.len() as u64, &mut buffer).unwrap();
                all.extend_from_slice(&buffer[..n]);
                if n < step {
                    break;
                }
            }
            assert!(all == bytes, "{way:?}");
            let mut odd = [0; 777];
            assert_eq!(file.read_at(12_345, &mut odd).unwrap(), 777);
            assert_eq!(odd[..], bytes[12_345..][..777]);
            assert_eq!(file.read_at(1 << 40, &mut odd).unwrap(), 0);
        }
    }
}
