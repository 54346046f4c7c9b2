//! Whether there is room on the disks.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::report::units;

/// What a repository and a file system need beside the bytes themselves.
fn with_margin(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 20).saturating_add(16 << 20)
}

/// Compare what is needed in each place with what is free there; places on the same disk share it.
/// Gives a line about it.
pub fn check(needs: &[(&Path, u64)]) -> Result<String> {
    let mut disks: Vec<(u64, &Path, u64)> = Vec::new();
    for (place, bytes) in needs {
        // Folders that are still to be made are where their parents are.
        let Some(meta) = place.ancestors().find_map(look) else { continue };
        match disks.iter_mut().find(|(dev, ..)| *dev == meta.dev()) {
            Some((.., sum)) => *sum += bytes,
            None => disks.push((meta.dev(), place, *bytes)),
        }
    }
    let mut told = String::new();
    for (_, place, bytes) in disks {
        let (needed, Some(free)) = (with_margin(bytes), free(place)) else { continue };
        let (shown, is) = (place.display(), units::bytes(free));
        if free < needed {
            return Err(Error::new(
                ErrorKind::Storage,
                format!(
                    "there is not enough room for {shown}: {} may be needed and {is} are free",
                    units::bytes(needed)
                ),
            )
            .hint("nothing was written; free some space, or name a place on another disk with -r")
            .hint("a smaller folder is a beginning, too"));
        }
        told += &format!("   at most {} needed for {shown}, {is} free\n", units::bytes(needed));
    }
    Ok(told)
}

fn look(path: &Path) -> Option<std::fs::Metadata> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    path.metadata().ok()
}

/// Bytes that we may still write there; `None` if nobody knows.
fn free(place: &Path) -> Option<u64> {
    let disk = place.ancestors().find(|p| look(p).is_some())?;
    let disk = if disk.as_os_str().is_empty() { Path::new(".") } else { disk };
    let stat = rustix::fs::statvfs(disk).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        let here = Path::new("/tmp/not/there/yet");
        assert!(check(&[(here, 1 << 10)]).expect("a KiB").contains("/tmp/not/there/yet"));
        let error = check(&[(here, 1 << 62), (here, 1 << 10)]).expect_err("four million TiB");
        assert!(error.what().contains("not enough room"), "{error}");
        assert!(check(&[(here, u64::MAX / 2), (here, u64::MAX / 2)]).is_err(), "together");
    }
}
