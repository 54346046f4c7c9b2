//! A restored folder beside its source.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use crate::error::{Doing, Error, ErrorKind, Result};

const PIECE: usize = 1 << 17;

/// How they compare.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Files that are equal in content, mode and time; links that point to the same.
    pub equal: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// What is newer in the source than the backup.
    pub changed: u64,
    /// In the source and not restored, although it is older than the backup.
    pub absent: u64,
    /// Neither equal nor newer.
    pub differing: Vec<PathBuf>,
}

struct Pair<'a> {
    began: SystemTime,
    skip: &'a [PathBuf],
    sample: bool,
    cancel: &'a AtomicBool,
    found: Compared,
}

/// Compare all that was restored with what is there. `began`: when the backup began; `skip`: folders
/// whose contents are not backed up; `sample`: what is in the source alone says nothing.
pub fn compare(
    source: &Path,
    restored: &Path,
    began: SystemTime,
    skip: &[PathBuf],
    sample: bool,
    cancel: &AtomicBool,
) -> Result<Compared> {
    let mut pair = Pair { began, skip, sample, cancel, found: Compared::default() };
    pair.folder(source, restored)?;
    Ok(pair.found)
}

fn failed(e: std::io::Error) -> Error {
    Error::new(ErrorKind::Target, e.to_string())
}

fn names(folder: &Path) -> std::io::Result<BTreeSet<OsString>> {
    std::fs::read_dir(folder)?.map(|e| e.map(|e| e.file_name())).collect()
}

impl Pair<'_> {
    fn folder(&mut self, source: &Path, restored: &Path) -> Result<()> {
        let back = names(restored).map_err(failed).doing(|| format!("reading {}", restored.display()))?;
        for name in &back {
            if self.cancel.load(Relaxed) {
                return Err(Error::cancelled());
            }
            self.entry(&source.join(name), &restored.join(name))?;
        }
        if self.sample || self.skip.iter().any(|s| s == source) {
            return Ok(());
        }
        // What cannot be listed was told by the backup.
        for name in names(source).unwrap_or_default().difference(&back) {
            let path = source.join(name);
            match path.symlink_metadata() {
                Ok(meta) if !self.is_newer(&meta) && !self.skip.contains(&path) => self.found.absent += 1,
                _ => self.found.changed += 1,
            }
        }
        Ok(())
    }

    fn entry(&mut self, source: &Path, restored: &Path) -> Result<()> {
        let back = restored.symlink_metadata().map_err(failed)?;
        let Ok(there) = source.symlink_metadata() else {
            self.found.changed += 1;
            return Ok(());
        };
        if back.is_dir() && there.is_dir() {
            return self.folder(source, restored);
        }
        let same = back.file_type() == there.file_type()
            && match (back.is_file(), back.is_symlink()) {
                (true, _) => same_file(source, &there, restored, &back),
                (_, true) => std::fs::read_link(source).ok() == std::fs::read_link(restored).ok(),
                _ => true,
            };
        match (same, self.is_newer(&there)) {
            (true, _) => {
                self.found.equal += 1;
                self.found.bytes += if back.is_file() { back.len() } else { 0 };
            }
            (false, true) => self.found.changed += 1,
            (false, false) => self.found.differing.push(source.to_owned()),
        }
        Ok(())
    }

    /// Whether it was changed, in any way, since the backup began.
    fn is_newer(&self, meta: &Metadata) -> bool {
        let since = self.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Coarse clocks of file systems lag behind by up to a tick.
        let lag = std::time::Duration::from_millis(20);
        let since = since.saturating_sub(lag);
        (meta.ctime(), meta.ctime_nsec()) >= (since.as_secs() as i64, i64::from(since.subsec_nanos()))
    }
}

fn same_file(source: &Path, there: &Metadata, restored: &Path, back: &Metadata) -> bool {
    let facts = |m: &Metadata| (m.len(), m.mode() & 0o777, m.mtime(), m.mtime_nsec());
    facts(there) == facts(back) && same_bytes(source, restored).unwrap_or(false)
}

fn same_bytes(one: &Path, other: &Path) -> std::io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut a, mut b) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let (n, m) = (fill(&mut one, &mut a)?, fill(&mut other, &mut b)?);
        if a[..n] != b[..m] {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
    }
}

fn fill(file: &mut File, into: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < into.len() {
        match file.read(&mut into[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn folders() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().expect("a place");
        let (source, back) = (dir.path().join("source"), dir.path().join("back"));
        std::fs::create_dir_all(source.join("sub")).expect("ours");
        for name in ["a", "b", "sub/c"] {
            std::fs::write(source.join(name), name.repeat(PIECE)).expect("ours");
        }
        let done = std::process::Command::new("cp").arg("-a").args([&source, &back]).status().expect("coreutils");
        assert!(done.success());
        (dir, source, back)
    }

    fn compared(source: &Path, back: &Path, began: SystemTime) -> Compared {
        compare(source, back, began, &[], false, &AtomicBool::new(false)).expect("both can be read")
    }

    /// Long after everything in the source was written.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(3600)
    }

    #[test]
    fn what_is_equal() {
        let (_dir, source, back) = folders();
        let found = compared(&source, &back, later());
        assert_eq!((found.equal, found.bytes), (3, (1 + 1 + 5) * PIECE as u64));
        assert_eq!((found.changed, found.absent, found.differing.len()), (0, 0, 0));
    }

    #[test]
    fn every_way_to_differ() {
        for (what, change) in [
            (
                "a byte at the end",
                "printf x | dd of=back/sub/c bs=1 seek=600000 conv=notrunc 2>/dev/null; touch -r source/sub/c back/sub/c",
            ),
            ("a mode", "chmod 600 back/a; chmod 644 source/a"),
            ("a time", "touch -d 2001-01-01 back/a"),
            ("a kind", "rm back/a; ln -s b back/a"),
        ] {
            let (dir, source, back) = folders();
            let done = std::process::Command::new("sh").args(["-c", change]).current_dir(dir.path()).status();
            assert!(done.expect("a shell").success(), "{what}");
            assert_eq!(compared(&source, &back, later()).differing.len(), 1, "{what}");
            let began = SystemTime::now() - Duration::from_secs(3600);
            let found = compared(&source, &back, began);
            assert_eq!((found.changed, found.differing.len()), (1, 0), "{what}: newer in the source");
        }
    }

    #[test]
    fn what_is_on_one_side_only() {
        let (_dir, source, back) = folders();
        std::fs::remove_file(back.join("b")).expect("ours");
        std::fs::remove_file(source.join("a")).expect("ours");
        let found = compared(&source, &back, later());
        assert_eq!((found.equal, found.changed, found.absent), (1, 1, 1));
        let skip = [source.clone()];
        let found = compare(&source, &back, later(), &skip, false, &AtomicBool::new(false)).expect("fine");
        assert_eq!(found.absent, 0);
    }
}
