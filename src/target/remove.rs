//! Removing what is not in the snapshot, with two descriptors whatever the depth.
//!
//! No symbolic link is followed. The way back up is `..`, but only to the very directory the way
//! down came from: if somebody moved things meanwhile, the removal stops where it is.

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, Mode, openat, unlinkat};
use rustix::io::Errno;

use super::dir::DIRECTORY;
use super::{FileId, Kind, TargetDir, TargetError, Why, at, component};
use crate::source::Names;

/// Hears what became of each path of a removal.
pub type Tell<'a> = dyn FnMut(&[u8], Result<(), TargetError>) + 'a;

/// A directory on the way down whose entries are not all gone yet.
struct Level {
    /// Its own name in the one above.
    name: Vec<u8>,
    id: FileId,
    names: Names,
    next: usize,
}

impl TargetDir {
    /// Remove an entry and all below it. `tell` hears of each thing that is gone and of each that
    /// could not be removed, by its path from here; the rest goes on. Other file systems that are
    /// mounted inside are left alone.
    pub fn remove_recursive(&self, name: &[u8], tell: &mut Tell<'_>) -> Result<(), TargetError> {
        let name = component(name, "remove")?;
        let home = self.own_stat()?.id;
        let mut removal = Removal { home: self, dev: home.dev, here: None, levels: Vec::new(), path: Vec::new() };
        removal.entry(name, tell);
        while let Some(level) = removal.levels.last_mut() {
            let next = level.names.get(level.next).map(|n| n.bytes.to_vec());
            level.next += 1;
            match next {
                Some(name) => removal.entry(&name, tell),
                None => removal.leave(home, tell)?,
            }
        }
        Ok(())
    }
}

struct Removal<'a> {
    home: &'a TargetDir,
    dev: u64,
    /// The directory of the last level; `home` if there is none.
    here: Option<TargetDir>,
    levels: Vec<Level>,
    path: Vec<u8>,
}

impl Removal<'_> {
    fn here(&self) -> &TargetDir {
        self.here.as_ref().unwrap_or(self.home)
    }

    /// Remove one entry of this directory, or go down into it.
    fn entry(&mut self, name: &[u8], tell: &mut Tell<'_>) {
        let before = self.path.len();
        if before > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        let outcome = match self.here().survey(name) {
            Ok(Some(stat)) if stat.kind == Kind::Dir => match self.enter(name) {
                Ok(()) => return, // Told when it is left.
                Err(e) => Err(e),
            },
            Ok(Some(_)) => self.here().unlink(name).map_err(|e| TargetError { during: "remove", ..e }),
            Ok(None) => Ok(()),
            Err(e) => Err(e),
        };
        tell(&self.path, outcome);
        self.path.truncate(before);
    }

    fn enter(&mut self, name: &[u8]) -> Result<(), TargetError> {
        let mut dir = self.here().open_dir(name)?;
        let id = dir.own_stat()?.id;
        if id.dev != self.dev {
            return Err(at("remove")(Errno::XDEV));
        }
        dir.make_usable();
        let names = dir.names();
        self.levels.push(Level { name: name.to_vec(), id, names, next: 0 });
        self.here = Some(dir);
        Ok(())
    }

    /// All that could go from this directory is gone; go up and remove it.
    fn leave(&mut self, home: FileId, tell: &mut Tell<'_>) -> Result<(), TargetError> {
        let Some(level) = self.levels.pop() else {
            return Ok(());
        };
        self.here = match self.levels.last() {
            None => None,
            Some(above) => Some(up(self.here().as_fd(), above.id, home)?),
        };
        let gone = match unlinkat(self.here(), &*level.name, AtFlags::REMOVEDIR) {
            Err(Errno::PERM) => {
                self.here().unseal();
                unlinkat(self.here(), &*level.name, AtFlags::REMOVEDIR)
            }
            other => other,
        };
        let told = match (gone, level.names.trouble()) {
            (Ok(()) | Err(Errno::NOENT), _) => Ok(()),
            (Err(_), Some(trouble)) => Err((*trouble).into()),
            (Err(e), None) => Err(at("remove")(e)),
        };
        tell(&self.path, told);
        self.path.truncate(self.path.len().saturating_sub(level.name.len() + 1));
        Ok(())
    }
}

fn up(from: BorrowedFd<'_>, to: FileId, home: FileId) -> Result<TargetDir, TargetError> {
    let dir = TargetDir::new(openat(from, "..", DIRECTORY, Mode::empty()).map_err(at("remove"))?, true);
    let id = dir.own_stat()?.id;
    if id == to && id != home { Ok(dir) } else { Err(TargetError { during: "remove", why: Why::Raced }) }
}
