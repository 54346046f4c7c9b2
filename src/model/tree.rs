//! Trees: what is in a directory, what is in a file.
//!
//! A directory is a page tree of [`Node`]s sorted by name as bytes; a long file is a page tree of
//! [`Extent`]s. `format-spec/60-tree.md` has the rules that make both forms a function of the
//! content alone.

use super::{Ext, Time};
use crate::id::BlobId;

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Node {
    /// One path component, any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// What it is, and what is in it.
    pub kind: NodeKind,
    /// Permission bits with setuid, setgid and sticky (`mode & 0o7777`).
    pub mode: u32,
    /// Owner, as a number; the names are in the snapshot.
    pub uid: u32,
    /// Group, likewise.
    pub gid: u32,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of anything, for change detection only.
    pub ctime: Time,
    /// Inode number, for change detection only; 0 is unknown.
    pub ino: u64,
    /// Everything that most files do not have; see [`ext_tag`].
    pub ext: Vec<Ext>,
}

/// Tags of [`Node::ext`].
pub mod ext_tag {
    /// Birth time: `Time`.
    pub const BTIME: u16 = 1;
    /// Extended attributes, ACLs and capabilities among them: `Vec<Xattr>` sorted by name.
    pub const XATTRS: u16 = 2;
    /// chattr flags as `FS_IOC_GETFLAGS` gives them: `u32`.
    pub const FLAGS: u16 = 3;
    /// Which hard links belong together: 16 bytes.
    pub const LINK: u16 = 4;
    /// Time of last access: `Time`.
    pub const ATIME: u16 = 5;
    /// A directory that was not walked to its end: no data. Absence there is not deletion.
    pub const INCOMPLETE: u16 = 6;
    /// Reserved: Windows security descriptor.
    pub const WINDOWS_SD: u16 = 16;
    /// Reserved: Windows file attributes.
    pub const WINDOWS_ATTRIBUTES: u16 = 17;
    /// Reserved: alternate data streams and resource forks.
    pub const STREAMS: u16 = 18;
}

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Xattr {
    /// Full name with its namespace: `user.origin`, `security.capability`.
    pub name: Vec<u8>,
    /// Its value.
    pub value: XattrValue,
}

/// Where the value of an extended attribute is.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum XattrValue {
    /// Here, up to [`crate::format::limits::XATTR_INLINE_MAX`] bytes.
    Inline(Vec<u8>),
    /// In a chunk of its own.
    Chunk {
        /// The chunk.
        id: BlobId,
        /// Its length in bytes.
        len: u32,
    },
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum NodeKind {
    /// A regular file.
    File {
        /// Length in bytes, holes included.
        size: u64,
        /// Its bytes.
        content: Content,
    },
    /// A directory.
    Dir {
        /// Its entries; `None` if it has none.
        root: Option<PageRef>,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as bytes.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice {
        /// Device number as `major << 32 | minor`.
        device: u64,
    },
    /// A block device.
    BlockDevice {
        /// Device number as `major << 32 | minor`.
        device: u64,
    },
}

impl NodeKind {
    /// What restic calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Dir { .. } => "dir",
            Self::Symlink { .. } => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::CharDevice { .. } => "chardev",
            Self::BlockDevice { .. } => "dev",
        }
    }
}

/// The bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Content {
    /// Up to [`crate::format::limits::INLINE_MAX`] bytes, right here.
    Inline(Vec<u8>),
    /// Up to [`crate::format::limits::EXTENTS_INLINE_MAX`] extents.
    Extents {
        /// The chunking profile that cut them.
        profile: u8,
        /// In order, without gaps.
        extents: Vec<Extent>,
    },
    /// A page tree of extents.
    Pages {
        /// The chunking profile that cut them.
        profile: u8,
        /// Its root.
        root: PageRef,
    },
}

/// A run of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Extent {
    /// The same chunk, `repeat` times in a row.
    Data {
        /// Which chunk.
        id: BlobId,
        /// Length of the chunk in bytes.
        len: u32,
        /// How many times, at least 1.
        repeat: u32,
    },
    /// Bytes that were never written and read as zeros.
    Hole {
        /// Length in bytes.
        len: u64,
    },
}

impl Extent {
    /// How many bytes of the file it covers.
    pub fn bytes(&self) -> u64 {
        match *self {
            Self::Data { len, repeat, .. } => u64::from(len) * u64::from(repeat),
            Self::Hole { len } => len,
        }
    }
}

/// Points to the root of a page tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct PageRef {
    /// The page.
    pub id: BlobId,
    /// 0 for a leaf, one more for each level above it.
    pub level: u8,
    /// How many nodes or extents are below.
    pub entries: u64,
    /// How many bytes of files are below (a directory counts those of its subdirectories).
    pub bytes: u64,
}

impl Node {
    /// The extension with this tag.
    pub fn ext(&self, tag: u16) -> Option<&Ext> {
        self.ext.iter().find(|e| e.tag == tag)
    }
    /// Put an extension in its place, replacing one with the same tag.
    pub fn set_ext(&mut self, tag: u16, data: Vec<u8>) {
        let ext = Ext { tag, flags: 0, data };
        match self.ext.binary_search_by_key(&tag, |e| e.tag) {
            Ok(i) => self.ext[i] = ext,
            Err(i) => self.ext.insert(i, ext),
        }
    }
    /// Bytes of content at and below this node.
    pub fn bytes(&self) -> u64 {
        match &self.kind {
            NodeKind::File { size, .. } => *size,
            NodeKind::Dir { root: Some(root) } => root.bytes,
            _ => 0,
        }
    }
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.kind, NodeKind::Dir { .. })
    }
}
