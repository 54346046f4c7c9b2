//! What git tracks in a work tree, from the bytes of its index: versions 2, 3 and 4.
//!
//! An index is somebody else's file. Its checksum is compared, its order too, and whatever does not
//! hold makes all of it a [`IndexFault`]: half a list would leave out what is on the other half.
//!
//! What is not read here: a split index (`link`), which is one file of two. Stamps, sizes and object
//! names mean nothing for a backup.

use std::borrow::Cow;

use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::patterns::Case;

/// Paths take up to this; with shared beginnings a small index can name very long ones.
const PATH_BYTES_MAX: usize = 32 << 20;
/// Before the object name: two times, device, inode; then mode, owner, group and size.
const STAMPS: usize = 24;
const AFTER_MODE: usize = 12;

const STAGE: u16 = 0x3000;
const EXTENDED: u16 = 0x4000;
const NAME_LENGTH: u16 = 0x0fff;

const KIND: u32 = 0o170_000;
const KIND_DIR: u32 = 0o040_000;
const KIND_REPOSITORY: u32 = 0o160_000;

/// Why an index is no list of paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexFault {
    /// It is no index, or not the one that was written.
    Damaged,
    /// It is more or other than is read here.
    Unknown,
}

/// All paths of an index, in order.
#[derive(Debug)]
pub struct TrackedPaths {
    case: Case,
    bytes: Vec<u8>,
    /// Where each path is in `bytes`.
    ranges: Vec<(u32, u32)>,
    /// There are paths that end with a slash: directories of whose contents the index says no
    /// more, as they are a submodule, or outside of a sparse checkout.
    has_dirs: bool,
}

impl TrackedPaths {
    /// From an index of a repository with SHA-1 or SHA-256 names.
    pub fn parse(index: &[u8], sha256: bool, case: Case) -> Result<Self, IndexFault> {
        let algorithm = if sha256 { &SHA256 } else { &SHA1_FOR_LEGACY_USE_ONLY };
        let mut reader = Reader { bytes: checked(index, algorithm)?, at: 0 };
        if reader.take(4)? != b"DIRC" {
            return Err(IndexFault::Damaged);
        }
        let version = reader.number()?;
        if !(2..=4).contains(&version) {
            return Err(IndexFault::Unknown);
        }
        let mut paths = Self { case, bytes: Vec::new(), ranges: Vec::new(), has_dirs: false };
        let mut before = Entry::default();
        let mut nameless = false;
        for _ in 0..reader.number()? {
            let entry = reader.entry(version, algorithm.output_len(), &before.name)?;
            if entry.name.is_empty() {
                nameless = true;
                continue;
            }
            if (&entry.name, entry.stage) <= (&before.name, before.stage) {
                return Err(IndexFault::Damaged);
            }
            paths.push(&entry)?;
            before = entry;
        }
        reader.pass_extensions()?;
        // In a split index they stand for something; that is found out by its extension.
        if nameless {
            return Err(IndexFault::Damaged);
        }
        paths.sort();
        paths.bytes.shrink_to_fit();
        paths.ranges.shrink_to_fit();
        Ok(paths)
    }

    /// Memory it takes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.ranges.capacity() * size_of::<(u32, u32)>()
    }

    fn push(&mut self, entry: &Entry) -> Result<(), IndexFault> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&entry.name);
        if matches!(entry.mode & KIND, KIND_DIR | KIND_REPOSITORY) {
            self.has_dirs = true;
            if !entry.name.ends_with(b"/") {
                self.bytes.push(b'/');
            }
        }
        if self.bytes.len() > PATH_BYTES_MAX {
            return Err(IndexFault::Unknown);
        }
        if self.case == Case::Insensitive {
            self.bytes[start..].make_ascii_lowercase();
        }
        // Both are below the limit.
        self.ranges.push((start as u32, self.bytes.len() as u32));
        Ok(())
    }

    /// A slash behind a name, or another case, has another place in the order.
    fn sort(&mut self) {
        let Self { bytes, ranges, .. } = self;
        let path = |range: &(u32, u32)| &bytes[range.0 as usize..range.1 as usize];
        ranges.sort_by(|a, b| path(a).cmp(path(b)));
    }

    /// Whether git tracks the path, or anything below it if it is a directory.
    pub fn tracks(&self, path: &[u8], is_dir: bool) -> bool {
        let path = match self.case {
            Case::Sensitive => Cow::Borrowed(path),
            Case::Insensitive => Cow::Owned(path.to_ascii_lowercase()),
        };
        let as_dir = [&path, &b"/"[..]].concat();
        let found = match is_dir {
            true => self.first_from(&as_dir).is_some_and(|first| first.starts_with(&as_dir)),
            // There may be a file now where there was a submodule.
            false => self.has(&path) || self.has(&as_dir),
        };
        found || self.is_below_a_dir(&path)
    }

    fn is_below_a_dir(&self, path: &[u8]) -> bool {
        self.has_dirs && (0..path.len()).any(|at| path[at] == b'/' && self.has(&path[..=at]))
    }

    fn has(&self, path: &[u8]) -> bool {
        self.first_from(path) == Some(path)
    }

    fn first_from(&self, path: &[u8]) -> Option<&[u8]> {
        let bytes = |range: &(u32, u32)| &self.bytes[range.0 as usize..range.1 as usize];
        let at = self.ranges.partition_point(|range| bytes(range) < path);
        self.ranges.get(at).map(bytes)
    }
}

/// All but the checksum at the end, if that is right. `index.skipHash` leaves zeros in its place.
fn checked<'i>(index: &'i [u8], algorithm: &'static Algorithm) -> Result<&'i [u8], IndexFault> {
    let end = index.len().checked_sub(algorithm.output_len()).ok_or(IndexFault::Damaged)?;
    let (body, sum) = index.split_at(end);
    let holds = sum.iter().all(|b| *b == 0) || digest(algorithm, body).as_ref() == sum;
    if holds { Ok(body) } else { Err(IndexFault::Damaged) }
}

#[derive(Debug, Default)]
struct Entry {
    mode: u32,
    stage: u16,
    name: Vec<u8>,
}

struct Reader<'i> {
    bytes: &'i [u8],
    at: usize,
}

impl<'i> Reader<'i> {
    fn take(&mut self, length: usize) -> Result<&'i [u8], IndexFault> {
        let end = self.at.checked_add(length).ok_or(IndexFault::Damaged)?;
        let taken = self.bytes.get(self.at..end).ok_or(IndexFault::Damaged)?;
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, IndexFault> {
        Ok(self.take(4)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn short(&mut self) -> Result<u16, IndexFault> {
        Ok(self.take(2)?.iter().fold(0, |number, byte| number << 8 | u16::from(*byte)))
    }

    /// Up to a NUL, which is passed.
    fn text(&mut self) -> Result<&'i [u8], IndexFault> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|b| *b == 0).ok_or(IndexFault::Damaged)?;
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn entry(&mut self, version: u32, hash_bytes: usize, before: &[u8]) -> Result<Entry, IndexFault> {
        let start = self.at;
        self.take(STAMPS)?;
        let mode = self.number()?;
        self.take(AFTER_MODE + hash_bytes)?;
        let flags = self.short()?;
        if flags & EXTENDED != 0 {
            if version < 3 {
                return Err(IndexFault::Damaged);
            }
            self.short()?;
        }
        let name = match version {
            4 => self.shortened_name(before)?,
            _ => self.padded_name(start, flags & NAME_LENGTH)?,
        };
        Ok(Entry { mode, stage: flags & STAGE, name })
    }

    /// How much of the name before is not of this one, then what is.
    fn shortened_name(&mut self, before: &[u8]) -> Result<Vec<u8>, IndexFault> {
        let other = self.varint()?;
        let shared = before.len().checked_sub(other).ok_or(IndexFault::Damaged)?;
        Ok([&before[..shared], self.text()?].concat())
    }

    /// The name, then as many NULs as make the entry a multiple of eight; at least one.
    fn padded_name(&mut self, start: usize, length: u16) -> Result<Vec<u8>, IndexFault> {
        let name = self.text()?;
        if length != name.len().min(usize::from(NAME_LENGTH)) as u16 {
            return Err(IndexFault::Damaged);
        }
        let length = self.at - start;
        self.take(length.next_multiple_of(8) - length)?;
        Ok(name.to_vec())
    }

    /// Seven bits a byte, highest first; each byte but the last counts one more.
    fn varint(&mut self) -> Result<usize, IndexFault> {
        let mut value = 0_usize;
        loop {
            let byte = self.take(1)?[0];
            value += usize::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            if value > PATH_BYTES_MAX {
                return Err(IndexFault::Damaged);
            }
            value = (value + 1) << 7;
        }
    }

    /// Extensions whose name begins with a small letter change what the entries mean. `sdir` says
    /// that there are directories among them, which they say themselves.
    fn pass_extensions(&mut self) -> Result<(), IndexFault> {
        while self.at < self.bytes.len() {
            let name = self.take(4)?;
            if name != b"sdir" && !name[0].is_ascii_uppercase() {
                return Err(IndexFault::Unknown);
            }
            let length = self.number()? as usize;
            self.take(length)?;
        }
        Ok(())
    }
}
