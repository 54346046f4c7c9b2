//! Writing a restored tree into a directory, without leaving it.
//!
//! The repository may be hostile, and so may whoever else can write to the target. So everything
//! goes by open directory and single checked component, no symbolic link is ever followed below
//! the root, and metadata is set on what is held open, never on a path. New files and directories
//! are open to nobody but the owner until their metadata is set.
//!
//! Knows nothing about where content comes from, nor in which order; that is `ops`' plan. The one
//! order to keep is: content, [`TargetDir::finish`], metadata, and a directory's metadata after
//! all that is in it.

mod apply;
mod dir;
mod file;
mod remove;
mod tree;

pub use crate::source::{FileId, Kind, Stat, Why};
pub use apply::{Applied, Failure, Object, Owners, Policy, Withheld, apply_metadata};
pub use dir::{Found, TargetDir};
pub use file::{InProgress, TargetFile, TempName};
pub use remove::Tell;
pub use tree::TargetTree;

use crate::format::page::is_safe_name;
use crate::source::SourceError;

/// Writing to the target failed in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{during}: {why}")]
pub struct TargetError {
    /// Which step: `create`, `write`, `replace`, …
    pub during: &'static str,
    /// Why.
    pub why: Why,
}

impl From<SourceError> for TargetError {
    fn from(SourceError { during, why }: SourceError) -> Self {
        Self { during, why }
    }
}

impl From<TargetError> for crate::error::Error {
    fn from(e: TargetError) -> Self {
        Self::new(crate::error::ErrorKind::Target, "the target could not be written").because(e)
    }
}

/// Names the step that failed.
fn at<E: Into<Why>>(during: &'static str) -> impl Fn(E) -> TargetError {
    move |e| TargetError { during, why: e.into() }
}

/// The name, if it is one.
fn component<'a>(name: &'a [u8], during: &'static str) -> Result<&'a [u8], TargetError> {
    if is_safe_name(name) { Ok(name) } else { Err(TargetError { during, why: Why::Name }) }
}
