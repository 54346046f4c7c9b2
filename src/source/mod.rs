//! Reading a file system for a backup: directories, metadata, content. The edge and no more;
//! what to walk, compare and keep is decided in `ops`.
//!
//! Everything goes by open directory and single component, so no path is too long and no
//! component can be exchanged for a symbolic link on the way down. Nothing here follows a
//! symbolic link except [`Dir::open_root`], whose path comes from the user. Nothing opens a pipe
//! or a device. On the hottest path, an unchanged tree, the price of an entry is one `statx`:
//! [`Dir::names`] keeps all names of a directory in one piece of memory and [`Stat`] is `Copy`.

mod dir;
mod file;
mod identity;
mod links;
mod meta;
mod stat;

pub use dir::{Dir, Name, Names};
pub use file::{ALIGN, LARGE_FILE, OpenFile, ReadBuffer, Segment, Segments};
pub use identity::Identities;
pub use links::LinkMap;
pub use meta::{Keep, Metadata, file_metadata};
pub use stat::{FileId, Kind, Stat};

use rustix::io::Errno;

use crate::format::page::is_safe_name;

/// Why something in a file system did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The system refused.
    #[error(transparent)]
    Os(#[from] Errno),
    /// Something else is in its place than a moment ago.
    #[error("something else took its place meanwhile")]
    Raced,
    /// Not a single path component.
    #[error("not a valid name for a file")]
    Name,
    /// More than the format can hold; says what.
    #[error("{0}")]
    Limit(&'static str),
}

/// Reading the source failed in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{during}: {why}")]
pub struct SourceError {
    /// Which step: `open`, `stat`, `read`, `getxattr`, …
    pub during: &'static str,
    /// Why.
    pub why: Why,
}

impl SourceError {
    /// It does not exist any more, which in a live tree is no one's fault.
    pub fn vanished(&self) -> bool {
        self.why == Why::Os(Errno::NOENT)
    }
}

impl From<SourceError> for crate::error::Error {
    fn from(e: SourceError) -> Self {
        Self::new(crate::error::ErrorKind::Source, "the source could not be read").because(e)
    }
}

/// Names the step that failed.
pub(crate) fn at<E: Into<Why>>(during: &'static str) -> impl Fn(E) -> SourceError {
    move |e| SourceError { during, why: e.into() }
}

/// The name, if it is one.
pub(crate) fn component<'a>(name: &'a [u8], during: &'static str) -> Result<&'a [u8], SourceError> {
    if is_safe_name(name) { Ok(name) } else { Err(SourceError { during, why: Why::Name }) }
}
