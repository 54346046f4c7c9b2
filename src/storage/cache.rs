//! Objects of a remote storage, kept on this machine: a folder that may be deleted at any moment.
//!
//! What is kept is what the storage keeps, sealed as it is there. Each file begins with a hash of
//! all that follows and of the object's name, so that a file that is damaged, cut off or another's
//! counts as not there, and is removed. What goes wrong here is nobody's trouble: then there is no
//! cache.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use crate::model::Name;

/// Bytes that are kept, unless somebody says otherwise.
pub const USUAL_LIMIT: u64 = 4 << 30;
/// Of the disk this much stays free, at least.
const LEAVE_BYTES: u64 = 1 << 30;
/// And one part in so many.
const LEAVE_PART: u64 = 20;
/// A file is said to have been used at most so often.
const USED_EVERY: Duration = Duration::from_secs(3600);
/// What was not finished for so long never will be.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// Files take up whole blocks.
const BLOCK: u64 = 4096;

pub(super) const MAGIC: &[u8; 8] = b"ORLPCAC1";
pub(super) const SUM: usize = 32;
pub(super) const HEADER: usize = MAGIC.len() + SUM + 9;

/// The folder, and how much may be in it.
pub struct Cache {
    dir: PathBuf,
    limit: u64,
    leaves_room: bool,
    anew: bool,
    /// Which repository; known once a key slot was read.
    repository: RwLock<Option<String>>,
    /// Bytes that may be added until it is looked how many there are.
    budget: Mutex<u64>,
    drafts: AtomicU64,
}

/// A whole object as it was listed, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Its length, and what tells it from others of its name, where the storage says so.
    Whole(u64, Option<u64>),
    /// From where, and how many bytes.
    Range(u64, u64),
}

impl Cache {
    /// Below `dir`, which is made when it is needed, with so many bytes at most.
    pub fn new(dir: &Path, limit: u64) -> Self {
        Self {
            dir: dir.join("objects"),
            limit,
            leaves_room: true,
            anew: false,
            repository: RwLock::default(),
            budget: Mutex::default(),
            drafts: AtomicU64::new(0),
        }
    }

    /// Use the disk to its last byte.
    #[must_use]
    pub fn filling_the_disk(self) -> Self {
        Self { leaves_room: false, ..self }
    }

    /// Forget what is there of the repository that is opened.
    #[must_use]
    pub fn anew(self, anew: bool) -> Self {
        Self { anew, ..self }
    }

    /// From now on objects are those of this repository.
    pub(super) fn settle(&self, instance: &str) {
        if self.anew {
            let _ = fs::remove_dir_all(self.dir.join(instance));
        }
        *self.repository.write().unwrap_or_else(PoisonError::into_inner) = Some(instance.to_owned());
    }

    /// Whether objects of this name may be kept, whole or in parts. Packs are kept in parts. Key slots,
    /// alone, may be replaced by others of their name.
    pub(super) fn takes(name: &Name, part: Part) -> bool {
        let kind = name.as_str().split('/').next().unwrap_or_default();
        match (kind, part) {
            ("packs", part) => matches!(part, Part::Range(..)),
            ("keys", Part::Whole(_, tag)) => tag.is_some(),
            ("parity" | "copy" | "quarantine", _) | (_, Part::Range(..)) => false,
            _ => true,
        }
    }

    fn file(&self, name: &Name, part: Part) -> Option<PathBuf> {
        let repository = self.repository.read().unwrap_or_else(PoisonError::into_inner).clone();
        // Slots are read before it is known whose they are; their names are random.
        let folder = if name.as_str().starts_with("keys/") { Some("keys".to_owned()) } else { repository };
        let key = match part {
            Part::Whole(..) => name.as_str().to_owned(),
            Part::Range(offset, len) => format!("{name} {offset} {len}"),
        };
        let key = blake3::hash(key.as_bytes()).to_hex();
        let (shard, rest) = key.as_str().split_at(2);
        Some(self.dir.join(folder?).join(shard).join(rest))
    }

    /// What is kept of it. What is there and is not it is removed.
    pub(super) fn find(&self, name: &Name, part: Part) -> Option<Vec<u8>> {
        let path = self.file(name, part)?;
        let mut file = File::open(&path).ok()?;
        let most = match part {
            Part::Whole(len, _) | Part::Range(_, len) => len,
        };
        let mut all = Vec::new();
        let read = (&mut file).take(most.saturating_add(HEADER as u64 + 1)).read_to_end(&mut all);
        if read.is_err() || !is_sound(&all, name, part) {
            let _ = fs::remove_file(&path);
            return None;
        }
        let now = SystemTime::now();
        let used = file.metadata().and_then(|m| m.modified());
        if used.is_ok_and(|t| now.duration_since(t).is_ok_and(|since| since > USED_EVERY)) {
            let _ = file.set_modified(now);
        }
        Some(all.split_off(HEADER))
    }

    /// Keep it, if there is room.
    pub(super) fn keep(&self, name: &Name, part: Part, bytes: &[u8]) {
        let Some(path) = self.file(name, part) else { return };
        let need = size(HEADER as u64 + bytes.len() as u64);
        if path.exists() || !self.has_room(need) {
            return;
        }
        let _ = self.write(&path, &header(name, part, bytes), bytes);
    }

    fn write(&self, path: &Path, header: &[u8], bytes: &[u8]) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.dir);
        if !folder.exists() {
            self.make(folder)?;
        }
        let n = self.drafts.fetch_add(1, Relaxed);
        let draft = folder.join(format!("{}-{n}.draft", std::process::id()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        // What a power cut leaves of it has another hash.
        let written = file.write_all(header).and_then(|()| file.write_all(bytes));
        written.and_then(|()| fs::rename(&draft, path)).inspect_err(|_| {
            let _ = fs::remove_file(&draft);
        })
    }

    fn make(&self, folder: &Path) -> io::Result<()> {
        let private = |dir: &Path| DirBuilder::new().recursive(true).mode(0o700).create(dir);
        if !self.dir.exists() {
            private(&self.dir)?;
            // Other programs that back up or tidy up know it by this.
            let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of orlop; it may be deleted.\n";
            fs::write(self.dir.join("CACHEDIR.TAG"), tag)?;
        }
        private(folder)
    }

    /// Whether so many bytes more may be added: to this folder, and to this disk. What was used least
    /// lately makes room.
    fn has_room(&self, need: u64) -> bool {
        if need > self.limit / 4 || !self.disk_has(need) {
            return false;
        }
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        if *budget < need {
            *budget = self.tidy(need);
        }
        match budget.checked_sub(need) {
            Some(left) => {
                *budget = left;
                true
            }
            None => false,
        }
    }

    fn disk_has(&self, need: u64) -> bool {
        if !self.leaves_room {
            return true;
        }
        let there = self.dir.ancestors().find_map(|dir| rustix::fs::statvfs(dir).ok());
        let Some(disk) = there else { return false };
        let leave = LEAVE_BYTES.max(disk.f_blocks.saturating_mul(disk.f_frsize) / LEAVE_PART);
        disk.f_bavail.saturating_mul(disk.f_frsize) > leave.saturating_add(need)
    }

    /// Remove what was used least lately, until so many bytes more are within the limit; gives how
    /// many may be added. Others may be adding, too, so that is never all that is left.
    fn tidy(&self, need: u64) -> u64 {
        let mut files = Vec::new();
        let _ = list(&self.dir, 3, &mut files);
        let mut total: u64 = files.iter().map(|f: &Kept| f.size).sum();
        if total.saturating_add(need) > self.limit {
            files.sort_by_key(|f| f.used);
            for f in files {
                if total.saturating_add(need) <= self.limit / 10 * 9 {
                    break;
                }
                if fs::remove_file(&f.path).is_ok() {
                    total -= f.size;
                }
            }
        }
        need.max(self.limit.saturating_sub(total) / 8).min(self.limit.saturating_sub(total))
    }
}

struct Kept {
    path: PathBuf,
    size: u64,
    used: SystemTime,
}

/// What so many bytes take up.
fn size(len: u64) -> u64 {
    len.div_ceil(BLOCK) * BLOCK
}

/// Every file so many folders deep; drafts of dead processes are removed.
fn list(dir: &Path, depth: u32, into: &mut Vec<Kept>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() && depth > 1 {
            let _ = list(&entry.path(), depth - 1, into);
        } else if meta.is_file() && depth == 1 {
            let (path, used) = (entry.path(), meta.modified().unwrap_or(SystemTime::UNIX_EPOCH));
            let draft = path.extension().is_some();
            if draft && used.elapsed().is_ok_and(|since| since > STALE) {
                let _ = fs::remove_file(&path);
                continue;
            }
            into.push(Kept { path, size: size(meta.size()), used });
        }
    }
    Ok(())
}

/// Magic, hash, tag.
pub(super) fn header(name: &Name, part: Part, bytes: &[u8]) -> Vec<u8> {
    let tag = match part {
        Part::Whole(_, tag) => tag,
        Part::Range(..) => None,
    };
    let mut tail = [0; 9];
    if let Some(tag) = tag {
        tail[0] = 1;
        tail[1..].copy_from_slice(&tag.to_le_bytes());
    }
    let mut out = Vec::with_capacity(HEADER);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&sum(name, part, &tail, bytes));
    out.extend_from_slice(&tail);
    out
}

pub(super) fn sum(name: &Name, part: Part, tail: &[u8], bytes: &[u8]) -> [u8; SUM] {
    let place = match part {
        Part::Whole(..) => (0, u64::MAX),
        Part::Range(offset, len) => (offset, len),
    };
    let mut h = blake3::Hasher::new();
    h.update(&(name.as_str().len() as u64).to_le_bytes()).update(name.as_str().as_bytes());
    h.update(&place.0.to_le_bytes()).update(&place.1.to_le_bytes()).update(tail).update(bytes);
    *h.finalize().as_bytes()
}

/// Whether a file is what was kept, and what is asked for.
pub(super) fn is_sound(all: &[u8], name: &Name, part: Part) -> bool {
    let Some((header, bytes)) = all.split_at_checked(HEADER) else { return false };
    let (magic, rest) = header.split_at(MAGIC.len());
    let (hash, tail) = rest.split_at(SUM);
    if magic != MAGIC || *hash != sum(name, part, tail, bytes) {
        return false;
    }
    match part {
        Part::Range(_, len) => bytes.len() as u64 == len,
        Part::Whole(len, tag) => {
            let mut known = [0; 8];
            known.copy_from_slice(&tail[1..]);
            // What this machine wrote was not listed yet.
            let known = (tail[0] == 1).then(|| u64::from_le_bytes(known));
            let same = match (known, tag) {
                (Some(known), Some(tag)) => known == tag,
                _ => !name.as_str().starts_with("keys/"),
            };
            bytes.len() as u64 == len && same
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    fn cache(dir: &Path, limit: u64) -> Cache {
        let cache = Cache::new(dir, limit).filling_the_disk();
        cache.settle("one");
        cache
    }

    fn files(dir: &Path) -> Vec<PathBuf> {
        let mut out = Vec::new();
        let _ = list(&dir.join("objects"), 3, &mut out);
        out.into_iter().map(|f| f.path).collect()
    }

    const WHOLE: Part = Part::Whole(5, Some(7));

    #[test]
    fn what_was_kept_is_found_by_whoever_asks_for_the_same() {
        let dir = tempfile::tempdir().expect("a place");
        let kept = cache(dir.path(), 1 << 20);
        kept.keep(&name("gc/1"), WHOLE, b"bytes");
        kept.keep(&name("packs/aa/b"), Part::Range(3, 4), b"part");
        assert_eq!(cache(dir.path(), 1 << 20).find(&name("gc/1"), WHOLE).as_deref(), Some(&b"bytes"[..]));
        assert_eq!(kept.find(&name("packs/aa/b"), Part::Range(3, 4)).as_deref(), Some(&b"part"[..]));
        assert_eq!(kept.find(&name("packs/aa/b"), Part::Range(4, 4)), None);
        assert_eq!(kept.find(&name("gc/2"), WHOLE), None);
        kept.settle("another");
        assert_eq!(kept.find(&name("gc/1"), WHOLE), None, "another repository");
        let modes = |p: &Path| fs::metadata(p).expect("there").mode() & 0o777;
        let file = files(dir.path()).pop().expect("one");
        assert_eq!((modes(&file), modes(file.parent().expect("below one"))), (0o600, 0o700));
    }

    #[test]
    fn another_object_of_the_same_name_is_not_it() {
        let dir = tempfile::tempdir().expect("a place");
        let cache = cache(dir.path(), 1 << 20);
        for (part, found) in [
            (WHOLE, true),
            (Part::Whole(5, None), true),
            (Part::Whole(5, Some(8)), false),
            (Part::Whole(4, Some(7)), false),
        ] {
            cache.keep(&name("gc/1"), WHOLE, b"bytes");
            assert_eq!(cache.find(&name("gc/1"), part).is_some(), found, "{part:?}");
        }
        assert!(!Cache::takes(&name("keys/1"), Part::Whole(5, None)) && Cache::takes(&name("keys/1"), WHOLE));
        assert!(!Cache::takes(&name("copy/keys/1"), WHOLE) && !Cache::takes(&name("packs/aa/b"), WHOLE));
    }

    #[test]
    fn what_is_damaged_counts_as_not_there() {
        let dir = tempfile::tempdir().expect("a place");
        let cache = cache(dir.path(), 1 << 20);
        let len = HEADER + 5;
        for at in 0..2 * len {
            cache.keep(&name("gc/1"), WHOLE, b"bytes");
            let file = files(dir.path()).pop().expect("kept");
            let mut bytes = fs::read(&file).expect("readable");
            match at.checked_sub(len) {
                None => bytes[at] ^= 0x10,
                Some(cut) => bytes.truncate(cut),
            }
            fs::write(&file, bytes).expect("writable");
            assert_eq!(cache.find(&name("gc/1"), WHOLE), None, "{at}");
            assert!(files(dir.path()).is_empty(), "it is removed");
        }
        cache.keep(&name("gc/1"), WHOLE, b"bytes");
        fs::remove_dir_all(dir.path().join("objects")).expect("removed");
        assert_eq!(cache.find(&name("gc/1"), WHOLE), None);
        cache.keep(&name("gc/1"), WHOLE, b"bytes");
        assert!(cache.find(&name("gc/1"), WHOLE).is_some(), "a folder that was deleted is made again");
    }

    #[test]
    fn the_limit_is_honoured_and_what_is_used_stays() {
        let dir = tempfile::tempdir().expect("a place");
        let limit = 40 * BLOCK;
        let total = || files(dir.path()).iter().map(|f| size(fs::metadata(f).expect("there").size())).sum::<u64>();
        let long_ago = SystemTime::now() - Duration::from_secs(9000);
        let cache = cache(dir.path(), limit);
        for n in 0..200 {
            // The first one is used all the time.
            for file in files(dir.path()) {
                File::open(file).and_then(|f| f.set_modified(long_ago)).expect("ours");
            }
            cache.find(&name("gc/0"), WHOLE);
            cache.keep(&name(&format!("gc/{n}")), WHOLE, b"bytes");
            assert!(total() <= limit, "{n}: {}", total());
        }
        assert!(total() > limit / 2 && cache.find(&name("gc/0"), WHOLE).is_some());
        let big = vec![0; limit as usize / 2];
        cache.keep(&name("gc/big"), Part::Whole(big.len() as u64, None), &big);
        assert!(cache.find(&name("gc/big"), Part::Whole(big.len() as u64, None)).is_none(), "it would push out all");
    }

    #[test]
    fn a_full_disk_is_left_alone() {
        let dir = tempfile::tempdir().expect("a place");
        let cache = Cache::new(dir.path(), u64::MAX);
        assert!(!cache.disk_has(u64::MAX / 2), "no disk has that");
        assert!(cache.filling_the_disk().disk_has(u64::MAX / 2));
    }
}
