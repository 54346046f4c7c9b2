//! What one `statx` says about one entry, as a plain value.

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FileType, Statx, StatxAttributes, StatxFlags};

use super::{SourceError, Why, at};
use crate::model::ext::flag;
use crate::model::{Content, Node, NodeKind, Time};

/// What kind of thing an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// The directory listing does not say, or it is something that POSIX does not know.
    Unknown,
}

impl Kind {
    /// What a node is, in the same words.
    pub fn of(kind: &NodeKind) -> Self {
        match kind {
            NodeKind::File { .. } => Self::File,
            NodeKind::Dir { .. } => Self::Dir,
            NodeKind::Symlink { .. } => Self::Symlink,
            NodeKind::Fifo => Self::Fifo,
            NodeKind::Socket => Self::Socket,
            NodeKind::CharDevice { .. } => Self::CharDevice,
            NodeKind::BlockDevice { .. } => Self::BlockDevice,
        }
    }
}

impl From<FileType> for Kind {
    fn from(t: FileType) -> Self {
        match t {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Dir,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::CharDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Unknown => Self::Unknown,
        }
    }
}

/// Tells files of one machine apart while it runs; never stored.
///
/// Device and inode number alone do not: ext4 gives the number of a file that was just deleted to
/// the next one, which whoever deletes it can choose to be a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// Device number as `major << 32 | minor`.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// What it is.
    pub kind: Kind,
    /// When it was made, where the file system knows it.
    pub born: Time,
}

/// What one `statx` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// How many names it has.
    pub nlink: u32,
    /// Which file it is.
    pub id: FileId,
    /// Which mount it was reached through, 0 if the kernel does not say. Tells bind mounts apart,
    /// which share a device number.
    pub mount: u64,
    /// Length in bytes.
    pub size: u64,
    /// Allocated units of 512 bytes.
    pub blocks: u64,
    /// For devices, the number as `major << 32 | minor`.
    pub device: u64,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of anything.
    pub ctime: Time,
    /// Last access.
    pub atime: Time,
    /// Birth, where the file system knows it.
    pub btime: Option<Time>,
    /// Those chattr flags that `statx` tells without opening anything.
    pub known_flags: u32,
    /// It is the root of a mount.
    pub mount_root: bool,
}

impl Stat {
    /// Ask about a name in a directory without following it, or about `dir` itself if `name` is
    /// empty. Does not force network file systems to ask their server again.
    pub(crate) fn read(dir: impl AsFd, name: &[u8]) -> Result<Self, SourceError> {
        let mut flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        if name.is_empty() {
            flags |= AtFlags::EMPTY_PATH;
        }
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
        let raw = rustix::fs::statx(dir, name, flags, wanted).map_err(at("stat"))?;
        Ok(Self::new(&raw))
    }

    fn new(raw: &Statx) -> Self {
        let time = |t: &rustix::fs::StatxTimestamp| Time { sec: t.tv_sec, nsec: t.tv_nsec };
        let has = |bit: StatxFlags| raw.stx_mask & bit.bits() != 0;
        let pair = |major: u32, minor: u32| u64::from(major) << 32 | u64::from(minor);
        let kind = FileType::from_raw_mode(raw.stx_mode.into()).into();
        let btime = has(StatxFlags::BTIME).then(|| time(&raw.stx_btime));
        Self {
            kind,
            mode: u32::from(raw.stx_mode) & 0o7777,
            uid: raw.stx_uid,
            gid: raw.stx_gid,
            nlink: raw.stx_nlink,
            id: FileId {
                dev: pair(raw.stx_dev_major, raw.stx_dev_minor),
                ino: raw.stx_ino,
                kind,
                born: btime.unwrap_or_default(),
            },
            mount: if has(StatxFlags::MNT_ID) { raw.stx_mnt_id } else { 0 },
            size: raw.stx_size,
            blocks: raw.stx_blocks,
            device: pair(raw.stx_rdev_major, raw.stx_rdev_minor),
            mtime: time(&raw.stx_mtime),
            ctime: time(&raw.stx_ctime),
            atime: time(&raw.stx_atime),
            btime,
            known_flags: known_flags(raw.stx_attributes),
            mount_root: raw.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        }
    }

    /// Whether it is still the same thing, changed or not.
    pub fn same_file(&self, other: &Self) -> bool {
        self.id == other.id
    }

    /// The node for it, still without content, entries or link target. `None` if no node can
    /// hold what it is.
    pub fn node(&self, name: &[u8]) -> Option<Node> {
        let kind = match self.kind {
            Kind::File => NodeKind::File { size: self.size, content: Content::Inline(Vec::new()) },
            Kind::Dir => NodeKind::Dir { root: None },
            Kind::Symlink => NodeKind::Symlink { target: Vec::new() },
            Kind::Fifo => NodeKind::Fifo,
            Kind::Socket => NodeKind::Socket,
            Kind::CharDevice => NodeKind::CharDevice { device: self.device },
            Kind::BlockDevice => NodeKind::BlockDevice { device: self.device },
            Kind::Unknown => return None,
        };
        Some(Node {
            name: name.to_vec(),
            kind,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime,
            ctime: self.ctime,
            ino: self.id.ino,
            ext: Vec::new(),
        })
    }
}

fn known_flags(attributes: StatxAttributes) -> u32 {
    let pairs = [
        (StatxAttributes::COMPRESSED, flag::COMPRESS),
        (StatxAttributes::IMMUTABLE, flag::IMMUTABLE),
        (StatxAttributes::APPEND, flag::APPEND),
        (StatxAttributes::NODUMP, flag::NODUMP),
    ];
    pairs.iter().filter(|(a, _)| attributes.contains(*a)).fold(0, |all, (_, f)| all | f)
}

/// Refuses a thing that is not what was seen before.
pub(crate) fn same(now: &Stat, before: &Stat, during: &'static str) -> Result<(), SourceError> {
    if now.same_file(before) { Ok(()) } else { Err(SourceError { during, why: Why::Raced }) }
}
