//! What a local repository asks of a disk, one system call for each verb.
//!
//! [`super::shelf`] is written against this and nothing else, so that the very sequence of steps
//! that runs on a real disk ([`super::posix`]) also runs on a simulated one that loses whatever was
//! not flushed (`storage::testing::unsynced`). A verb that did two things would hide an order from
//! that test; keep them single.

use std::io;

/// A tree of directories and files, reached by single components from an opened root.
///
/// No verb follows a symbolic link: what is not a plain directory or file is an error.
pub(crate) trait Disk: Send + Sync + 'static {
    /// An opened directory; clones are cheap.
    type Dir: Clone + Send + Sync;
    /// An opened file.
    type File: Send + Sync;

    fn root(&self) -> Self::Dir;
    fn open_dir(&self, parent: &Self::Dir, name: &str) -> io::Result<Self::Dir>;
    fn make_dir(&self, parent: &Self::Dir, name: &str) -> io::Result<()>;
    /// Make the entries of `dir` durable, as far as the file system can.
    fn sync_dir(&self, dir: &Self::Dir) -> io::Result<()>;
    fn entries(&self, dir: &Self::Dir) -> io::Result<Vec<Entry>>;
    /// What is under this name, links not followed.
    fn entry(&self, dir: &Self::Dir, name: &str) -> io::Result<Kind>;

    /// A new file for appending, readable by its owner only; an error if the name is taken.
    fn create(&self, dir: &Self::Dir, name: &str) -> io::Result<Self::File>;
    /// An existing plain file, for reading.
    fn open(&self, dir: &Self::Dir, name: &str) -> io::Result<Self::File>;
    fn append(&self, file: &Self::File, bytes: &[u8]) -> io::Result<()>;
    /// Append both, one after the other: a long stretch that nobody will read soon, of whole pages
    /// from the beginning of one.
    fn append_pages(&self, file: &Self::File, first: &[u8], then: &[u8]) -> io::Result<()> {
        self.append(file, first)?;
        self.append(file, then)
    }
    /// Ask for write-back of a range to begin. A wish, never a promise.
    fn begin_write_back(&self, file: &Self::File, offset: u64, len: u64);
    /// Nobody may write it from now on.
    fn seal(&self, file: &Self::File) -> io::Result<()>;
    fn sync_file(&self, file: &Self::File) -> io::Result<()>;
    fn stat(&self, file: &Self::File) -> io::Result<Stat>;
    fn read_exact_at(&self, file: &Self::File, into: &mut [u8], offset: u64) -> io::Result<()>;
    /// The same, of an object that is read piece by piece: long ones nobody wants twice.
    fn read_piece_at(&self, file: &Self::File, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(file, into, offset)
    }

    /// Rename unless the target exists. [`io::ErrorKind::Unsupported`] where the file system cannot.
    fn rename_new(&self, from: At<'_, Self::Dir>, to: At<'_, Self::Dir>) -> io::Result<()>;
    /// A second name unless it exists. [`io::ErrorKind::Unsupported`] where the file system cannot.
    fn link_new(&self, from: At<'_, Self::Dir>, to: At<'_, Self::Dir>) -> io::Result<()>;
    /// Rename over whatever file is there.
    fn rename_over(&self, from: At<'_, Self::Dir>, to: At<'_, Self::Dir>) -> io::Result<()>;
    fn unlink(&self, dir: &Self::Dir, name: &str) -> io::Result<()>;
}

/// A name in an opened directory.
pub(crate) type At<'a, Dir> = (&'a Dir, &'a str);

/// One name in a directory.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub name: String,
    pub kind: Kind,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Dir,
    /// `modified` is in seconds, by the clock of the file system.
    File {
        len: u64,
        modified: i64,
    },
    /// A link, a pipe, a device: nothing of ours.
    Foreign,
}

/// What is known of an opened file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stat {
    pub len: u64,
    pub modified: i64,
    /// Whether it still has a name; a deleted or replaced file has none.
    pub named: bool,
}
