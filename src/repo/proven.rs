//! Which rows a writer goes by: those of whom it believes, and those that the pack's own table has.
//!
//! Else whoever foresees a chunk could sign a row for it that points into any pack, and nobody would store it.
//! Tables that were read are kept, up to a bound.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::tales::{Found, Opened};
use super::{Repository, locked};
use crate::error::{ErrorKind, Result};
use crate::id::BlobId;
use crate::index::{Index, Location, Row, short};

/// Blobs of tables that are held, more or less.
const BLOBS: usize = 1 << 20;

/// Tables that were read; `None` where what the index says of the pack is not so.
#[derive(Default)]
struct Held {
    tables: HashMap<u32, Option<Arc<Opened>>>,
    blobs: usize,
}

/// Tells which rows are so.
pub(super) struct Proven<'r> {
    repo: &'r Repository,
    index: &'r Index,
    /// Not everybody who says something is believed.
    needed: bool,
    held: Mutex<Held>,
}

impl<'r> Proven<'r> {
    pub(super) fn new(repo: &'r Repository, index: &'r Index) -> Self {
        let needed = index.packs().iter().any(|p| !p.vouched || p.mixed);
        Self { repo, index, needed, held: Mutex::default() }
    }

    /// Read what [`Self::holds`] will ask for, which itself reads nothing and holds nobody up.
    pub(super) fn prepare(&self, id: &BlobId) -> Result<()> {
        if !self.needed {
            return Ok(());
        }
        for at in self.index.find_all(id)? {
            let n = self.index.frame(at.frame).pack;
            if !self.settled(n) && !locked(&self.held).tables.contains_key(&n) {
                self.read(n)?;
            }
            if self.holds(id, at) {
                break;
            }
        }
        Ok(())
    }

    fn read(&self, n: u32) -> Result<()> {
        let opened = match self.repo.table_of(self.index, n) {
            Ok(Found::Table(table)) => Some(Arc::new(Opened::new(table))),
            Ok(_) => None,
            Err(e) if e.kind() == ErrorKind::Storage => return Err(e),
            Err(_) => None,
        };
        let mut held = locked(&self.held);
        if held.blobs > BLOBS {
            *held = Held::default();
        }
        held.blobs += opened.as_ref().map_or(0, |o| o.len());
        held.tables.insert(n, opened);
        Ok(())
    }

    /// Whether all that is said of a pack is believed.
    fn settled(&self, n: u32) -> bool {
        let pack = self.index.pack(n);
        pack.vouched && !pack.mixed
    }

    /// Whether a blob is there, as far as the pack's own table says so. What was not prepared is not.
    pub(super) fn holds(&self, id: &BlobId, at: Location) -> bool {
        let n = self.index.frame(at.frame).pack;
        if !self.needed || self.settled(n) {
            return true;
        }
        let table = locked(&self.held).tables.get(&n).cloned().flatten();
        table.is_some_and(|t| t.has(&Row { id: short(id), at }, self.index.pack(n).first_frame))
    }
}
