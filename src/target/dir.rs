//! A directory that is restored into: making things in it, whatever stands in their place.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, IFlags, Mode, OFlags, ioctl_getflags, ioctl_setflags, makedev, openat};
use rustix::io::Errno;

use super::{FileId, InProgress, Kind, Policy, Stat, TargetError, TargetFile, TempName, Why, Withheld, at, component};
use crate::model::NodeKind;
use crate::model::ext::flag;
use crate::source::{Dir, Names};

/// How often something may appear in our way before we stop arguing with whoever puts it there.
const TRIES: usize = 8;
/// How a directory below the root is opened: never by way of a symbolic link.
pub(super) const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What was in the place of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing; it is new.
    Nothing,
    /// A directory, which is used.
    Directory,
    /// Something else, which is gone.
    Other,
}

/// An open directory inside the target.
#[derive(Debug)]
pub struct TargetDir {
    dir: Dir,
    /// New entries come with ACLs or flags that nobody asked for, because this directory says so.
    pub(super) endows: bool,
    /// It may have attributes of its own that nobody asked for.
    pub(super) stained: bool,
}

impl TargetDir {
    /// The root of a restore. The path is the user's, so symbolic links in it are followed.
    pub fn open_or_create(path: &Path) -> Result<Self, TargetError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|e| at("mkdir")(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(rustix::fs::CWD, path, flags, Mode::empty()).map_err(at("open"))?;
        Ok(Self::new(fd, true))
    }

    pub(super) fn new(fd: OwnedFd, stained: bool) -> Self {
        let inherited = flag::SYNC
            | flag::NODUMP
            | flag::NOATIME
            | flag::COMPRESS
            | flag::NOCOMPRESS
            | flag::NOCOW
            | flag::JOURNAL
            | flag::NOTAIL
            | flag::DIRSYNC;
        let flags = ioctl_getflags(&fd).map_or(0, |f| f.bits());
        let acl = rustix::fs::fgetxattr(&fd, "system.posix_acl_default", &mut [0; 4][..]);
        let endows = flags & inherited != 0 || matches!(acl, Ok(_) | Err(Errno::RANGE));
        Self { dir: Dir::from_fd(fd), endows, stained: stained || endows }
    }

    /// What is there, without following it: for deciding whether to overwrite.
    pub fn survey(&self, name: &[u8]) -> Result<Option<Stat>, TargetError> {
        match self.dir.stat(name) {
            Ok(stat) => Ok(Some(stat)),
            Err(e) if e.vanished() => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
    /// What this directory is.
    pub fn own_stat(&self) -> Result<Stat, TargetError> {
        Ok(self.dir.own_stat()?)
    }
    /// The same directory with a position of its own, for listing it.
    pub fn reopen(&self) -> Result<Self, TargetError> {
        let fd = openat(&self.dir, ".", DIRECTORY, Mode::empty()).map_err(at("open"))?;
        Ok(Self::new(fd, true))
    }
    /// Every name in it, for finding out what is not in the snapshot.
    pub fn names(&mut self) -> Names {
        self.dir.names()
    }
    /// Where a symbolic link in it points.
    pub fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, TargetError> {
        Ok(self.dir.read_link(name)?)
    }
    /// For verifying what was written.
    pub fn as_source(&self) -> &Dir {
        &self.dir
    }

    /// Open a directory that is there; a symbolic link is not.
    pub fn open_dir(&self, name: &[u8]) -> Result<Self, TargetError> {
        let name = component(name, "open")?;
        self.open_known_dir(name).map(|fd| Self::new(fd, true)).map_err(at("open"))
    }

    /// Make a directory where nothing is, or fail with `EXIST`.
    pub fn make_dir(&self, name: &[u8]) -> Result<Self, TargetError> {
        let name = component(name, "mkdir")?;
        let mut made = rustix::fs::mkdirat(&self.dir, name, Mode::RWXU);
        if made == Err(Errno::PERM) && self.unseal() {
            made = rustix::fs::mkdirat(&self.dir, name, Mode::RWXU);
        }
        made.map_err(at("mkdir"))?;
        let fd = openat(&self.dir, name, DIRECTORY, Mode::empty()).map_err(at("open"))?;
        Ok(Self::new(fd, self.endows))
    }

    /// Have a directory of that name: a new one, the one that is there, or one in the place of
    /// whatever else was there. A new one is the owner's alone until its metadata is set.
    pub fn ensure_dir(&self, name: &[u8]) -> Result<(Self, Found), TargetError> {
        let name = component(name, "mkdir")?;
        let mut found = Found::Nothing;
        for _ in 0..TRIES {
            match self.make_dir(name) {
                Err(TargetError { why: Why::Os(Errno::EXIST), .. }) => {}
                made => return Ok((made?, found)),
            }
            match self.open_known_dir(name) {
                Ok(fd) => {
                    let dir = Self::new(fd, true);
                    dir.make_usable();
                    return Ok((dir, Found::Directory));
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    self.unlink(name)?;
                    found = Found::Other;
                }
                Err(Errno::NOENT) => {}
                Err(e) => return Err(at("open")(e)),
            }
        }
        Err(TargetError { during: "mkdir", why: Why::Raced })
    }

    /// Make a file: right in its place if nothing is there, else beside it under a name of its
    /// own, so that what is there stays until [`TargetDir::finish`].
    pub fn create_file(&self, name: &[u8]) -> Result<TargetFile, TargetError> {
        match self.create_new(name) {
            Err(TargetError { why: Why::Os(Errno::EXIST), .. }) => {}
            other => return other,
        }
        let temp = TempName::random();
        let fd = self.create_exclusive(temp.as_bytes()).map_err(at("create"))?;
        Ok(TargetFile::new(fd, Some(temp), self.endows))
    }

    /// Make a file where nothing is, or fail with `EXIST`.
    pub fn create_new(&self, name: &[u8]) -> Result<TargetFile, TargetError> {
        let name = component(name, "create")?;
        let fd = match self.create_exclusive(name) {
            Err(Errno::PERM) if self.unseal() => self.create_exclusive(name),
            other => other,
        };
        Ok(TargetFile::new(fd.map_err(at("create"))?, None, self.endows))
    }

    fn create_exclusive(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR)
    }

    /// Open a file that was surveyed, to change it where it is. `None` if it has to be replaced: it is
    /// another by now, or something else, has further names that must not change with it, or may not be
    /// written.
    pub fn open_for_update(&self, name: &[u8], id: FileId) -> Result<Option<TargetFile>, TargetError> {
        // Before it is opened: to open a device may do something to it.
        match self.survey(name)? {
            Some(stat) if stat.kind == Kind::File && stat.nlink == 1 && stat.id == id => self.open_same(name, id),
            _ => Ok(None),
        }
    }

    /// Open a file of ours again that was closed to spare descriptors.
    pub fn resume(&self, name: &[u8], state: &InProgress) -> Result<TargetFile, TargetError> {
        let place = match &state.temp {
            Some(temp) => temp.as_bytes(),
            None => component(name, "open")?,
        };
        match self.open_same(place, state.id)? {
            Some(mut file) => {
                file.temp = state.temp;
                file.stained = state.stained;
                Ok(file)
            }
            None => Err(TargetError { during: "open", why: Why::Raced }),
        }
    }

    fn open_same(&self, name: &[u8], id: FileId) -> Result<Option<TargetFile>, TargetError> {
        // Not blocking, should a pipe have taken its place since.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match openat(&self.dir, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(
                Errno::ACCESS | Errno::PERM | Errno::TXTBSY | Errno::LOOP | Errno::NXIO | Errno::NOENT | Errno::ISDIR,
            ) => {
                return Ok(None);
            }
            Err(e) => return Err(at("open")(e)),
        };
        let file = TargetFile::new(fd, None, true);
        let stat = file.stat()?;
        Ok((stat.id == id && stat.nlink == 1).then_some(file))
    }

    /// Put a file in its place, if it is not there yet. To be called before its metadata is set:
    /// an immutable file cannot be renamed.
    pub fn finish(&self, name: &[u8], file: &mut TargetFile) -> Result<(), TargetError> {
        let name = component(name, "rename")?;
        match file.temp.take() {
            None => Ok(()),
            Some(temp) => self.move_over(temp, name),
        }
    }

    /// Remove what is there of a file that will not be finished. Without effect on the file that
    /// it was to replace.
    pub fn abandon(&self, name: &[u8], state: &InProgress) {
        let place = state.temp.as_ref().map_or(name, TempName::as_bytes);
        if self.survey(place).is_ok_and(|s| s.is_some_and(|s| s.id == state.id)) {
            let _ = rustix::fs::unlinkat(&self.dir, place, AtFlags::empty());
        }
    }

    /// Make a symbolic link.
    pub fn symlink(&self, name: &[u8], target: &[u8]) -> Result<(), TargetError> {
        self.make(name, &NodeKind::Symlink { target: target.to_vec() }, false)
    }
    /// Make a named pipe.
    pub fn fifo(&self, name: &[u8]) -> Result<(), TargetError> {
        self.make(name, &NodeKind::Fifo, false)
    }
    /// Make a socket that nobody listens on.
    pub fn socket(&self, name: &[u8]) -> Result<(), TargetError> {
        self.make(name, &NodeKind::Socket, false)
    }
    /// Make a device, if the policy lets a snapshot make devices. `number` is
    /// `major << 32 | minor`.
    pub fn device(
        &self,
        name: &[u8],
        block: bool,
        number: u64,
        policy: &Policy,
    ) -> Result<Option<Withheld>, TargetError> {
        let device = number;
        let kind = if block { NodeKind::BlockDevice { device } } else { NodeKind::CharDevice { device } };
        self.special(name, &kind, false, policy)
    }

    /// Make what is neither file nor directory, if the policy lets a snapshot make it; where `vacant`,
    /// only if nothing is there, or fail with `EXIST`.
    pub fn special(
        &self,
        name: &[u8],
        kind: &NodeKind,
        vacant: bool,
        policy: &Policy,
    ) -> Result<Option<Withheld>, TargetError> {
        if matches!(kind, NodeKind::CharDevice { .. } | NodeKind::BlockDevice { .. }) && !policy.privileged() {
            return Ok(Some(Withheld::Device));
        }
        self.make(name, kind, vacant).map(|()| None)
    }

    fn make(&self, name: &[u8], kind: &NodeKind, vacant: bool) -> Result<(), TargetError> {
        let (file_type, number) = match kind {
            NodeKind::Symlink { target } => {
                let make = |place: &[u8]| rustix::fs::symlinkat(&**target, &self.dir, place);
                return self.place(name, "symlink", vacant, make);
            }
            NodeKind::Fifo => (FileType::Fifo, 0),
            NodeKind::Socket => (FileType::Socket, 0),
            NodeKind::CharDevice { device } => (FileType::CharacterDevice, *device),
            NodeKind::BlockDevice { device } => (FileType::BlockDevice, *device),
            NodeKind::File { .. } | NodeKind::Dir { .. } => return Err(at("mknod")(Errno::INVAL)),
        };
        let (mode, device) = (Mode::RUSR | Mode::WUSR, makedev((number >> 32) as u32, number as u32));
        let make = |place: &[u8]| rustix::fs::mknodat(&self.dir, place, file_type, mode, device);
        self.place(name, "mknod", vacant, make)
    }

    /// Give a file of ours another name. Never follows a symbolic link: one that took the place
    /// of the file is not `file`, and then nothing is left behind.
    pub fn hard_link(&self, name: &[u8], from: &Self, from_name: &[u8], file: FileId) -> Result<(), TargetError> {
        if self.survey(name)?.is_some_and(|s| s.id == file) {
            return Ok(()); // Renaming one name of a file over another does nothing at all.
        }
        self.link(name, false, from, from_name, file)
    }

    /// The same where nothing is, or fail with `EXIST`.
    pub fn hard_link_new(&self, name: &[u8], from: &Self, from_name: &[u8], file: FileId) -> Result<(), TargetError> {
        self.link(name, true, from, from_name, file)
    }

    fn link(&self, name: &[u8], vacant: bool, from: &Self, from_name: &[u8], file: FileId) -> Result<(), TargetError> {
        let from_name = component(from_name, "link")?;
        let link = |place: &[u8]| {
            rustix::fs::linkat(&from.dir, from_name, &self.dir, place, AtFlags::empty())?;
            match self.dir.stat(place) {
                Ok(s) if s.id == file => Ok(()),
                _ => {
                    let _ = rustix::fs::unlinkat(&self.dir, place, AtFlags::empty());
                    Err(Errno::STALE)
                }
            }
        };
        self.place(name, "link", vacant, link).map_err(|e| match e.why {
            Why::Os(Errno::STALE) => TargetError { during: "link", why: Why::Raced },
            _ => e,
        })
    }

    /// Make something by `make` that cannot be made over what is there: if something is, beside
    /// it, and then moved over it, unless the place has to be vacant.
    fn place(
        &self,
        name: &[u8],
        during: &'static str,
        vacant: bool,
        make: impl Fn(&[u8]) -> Result<(), Errno>,
    ) -> Result<(), TargetError> {
        let name = component(name, during)?;
        let mut made = make(name);
        if made == Err(Errno::PERM) && self.unseal() {
            made = make(name);
        }
        if vacant || made != Err(Errno::EXIST) {
            return made.map_err(at(during));
        }
        let temp = TempName::random();
        make(temp.as_bytes()).map_err(at(during))?;
        self.move_over(temp, name)
    }

    /// What is moved replaces anything but a directory with something in it.
    fn move_over(&self, temp: TempName, name: &[u8]) -> Result<(), TargetError> {
        let go = || rustix::fs::renameat(&self.dir, temp.as_bytes(), &self.dir, name);
        let mut moved = go();
        if moved == Err(Errno::ISDIR) {
            moved = rustix::fs::unlinkat(&self.dir, name, AtFlags::REMOVEDIR).and_then(|()| go());
        }
        if moved == Err(Errno::PERM) {
            self.unseal();
            self.unseal_entry(name);
            moved = go();
        }
        moved.map_err(|e| {
            let _ = rustix::fs::unlinkat(&self.dir, temp.as_bytes(), AtFlags::empty());
            at("replace")(e)
        })
    }

    /// Remove what is not a directory.
    pub(super) fn unlink(&self, name: &[u8]) -> Result<(), TargetError> {
        let go = || rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
        let mut gone = go();
        if gone == Err(Errno::PERM) {
            self.unseal();
            self.unseal_entry(name);
            gone = go();
        }
        match gone {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(at("replace")(e)),
        }
    }

    /// Open a directory that is there, even if its owner may not read it just now.
    fn open_known_dir(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        match openat(&self.dir, name, DIRECTORY, Mode::empty()) {
            Err(Errno::ACCESS) => {}
            other => return other,
        }
        let held = openat(&self.dir, name, DIRECTORY | OFlags::PATH, Mode::empty())?;
        rustix::fs::chmod(proc_path(held.as_fd()), Mode::RWXU)?;
        openat(&self.dir, name, DIRECTORY, Mode::empty())
    }

    /// An older restore may have left a directory that is immutable, or that its owner may not
    /// write to.
    pub(super) fn make_usable(&self) {
        self.unseal();
        if rustix::process::geteuid().is_root() {
            return;
        }
        if let Ok(stat) = self.dir.own_stat()
            && stat.mode & 0o700 != 0o700
        {
            let _ = rustix::fs::fchmod(&self.dir, Mode::from_bits_truncate(stat.mode | 0o700));
        }
    }

    /// An older restore may have left it immutable. Whether that could be and was changed.
    pub(super) fn unseal(&self) -> bool {
        unseal(self.dir.as_fd())
    }
    /// Make a file or directory in it changeable again that an older restore left immutable.
    pub fn unseal_entry(&self, name: &[u8]) {
        let sealable = |s: Stat| matches!(s.kind, Kind::File | Kind::Dir);
        if !self.survey(name).is_ok_and(|s| s.is_some_and(sealable)) {
            return;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if let Ok(fd) = openat(&self.dir, name, flags, Mode::empty()) {
            unseal(fd.as_fd());
        }
    }
}

impl AsFd for TargetDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

fn unseal(fd: BorrowedFd<'_>) -> bool {
    let sealing = IFlags::from_bits_retain(flag::SEALING);
    match ioctl_getflags(fd) {
        Ok(flags) if flags.intersects(sealing) => ioctl_setflags(fd, flags.difference(sealing)).is_ok(),
        _ => false,
    }
}

/// What is held open, for the calls that know paths only. The kernel goes straight to what the
/// descriptor holds; there is no path to exchange anything on.
pub(super) fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
