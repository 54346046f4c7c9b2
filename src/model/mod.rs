//! The nouns: nodes, extents, snapshots, names of objects. Plain values; how they look as bytes is
//! `format`'s business, what may be done with them `ops`'.

pub mod ext;
mod name;
mod snapshot;
mod time;
mod tree;

use std::collections::BTreeSet;

pub use name::{Name, NameError};
pub use snapshot::*;
pub use time::*;
pub use tree::*;

/// A tagged extension at the end of a record or node: what a newer writer knew and this reader
/// may not. Kept in ascending order of tag, each tag once.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Ext {
    /// Which extension.
    pub tag: u16,
    /// [`Ext::CRITICAL_READ`] and [`Ext::CRITICAL_WRITE`].
    pub flags: u8,
    /// Its bytes, whose meaning belongs to the tag.
    pub data: Vec<u8>,
}

impl Ext {
    /// A reader that does not know the tag must refuse the record.
    pub const CRITICAL_READ: u8 = 1;
    /// A writer that does not know the tag must not rewrite or drop the record.
    pub const CRITICAL_WRITE: u8 = 2;

    /// The tags that occur, ascending.
    pub fn tags<'e>(all: impl Iterator<Item = &'e Self>) -> Vec<u16> {
        let tags: BTreeSet<u16> = all.map(|e| e.tag).collect();
        tags.into_iter().collect()
    }
}
