//! What segments say of packs, held against the packs' own tables.
//!
//! A table is what the maker of a pack wrote, under the hash in its name. Whoever signs a segment can only
//! repeat it, or lie.

use std::collections::HashMap;

use rayon::prelude::*;

use super::Repository;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Context;
use crate::format::names;
use crate::format::pack::Table;
use crate::index::{Index, Row, short};

/// Tables that are read side by side.
const AT_ONCE: usize = 64;
/// Blobs whose ids are held at a time, more or less.
const BLOBS: usize = 1 << 20;
/// Rows that are not so and can be gone about.
const ROWS_MAX: usize = 1 << 20;

/// What is said and is not so.
#[derive(Debug, Default)]
pub struct Lies {
    /// Numbers of packs that have other frames or another length in truth.
    pub packs: Vec<u32>,
    /// Rows that are not in the table of the pack they point into.
    pub rows: Vec<Row>,
    /// Rows that are in the table, and not in the pack.
    pub hollow: Vec<Row>,
}

impl Lies {
    /// Whether all that was looked at is so.
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.rows.is_empty() && self.hollow.is_empty()
    }
}

/// A table, and the place of each frame's first id in it.
pub(super) struct Opened {
    table: Table,
    starts: Vec<u32>,
}

/// Gives rows of a pack that are in its table, and not in the pack.
pub type Deeper<'a> = &'a (dyn Fn(u32, &Table) -> Result<Vec<Row>> + Sync);

/// Holds what the index says of packs against the packs' own tables, in bounded memory.
pub struct Comparison<'a> {
    /// Where the packs are.
    pub repo: &'a Repository,
    /// What is said of them. What is refuted already is passed over.
    pub index: &'a Index,
    /// Whether to stop.
    pub cx: &'a Context<'a>,
    /// A pack that cannot be read is passed over. Else it is not what is said of it, or ends the comparison.
    pub tolerant: bool,
}

impl Comparison<'_> {
    /// Look at these packs. `deeper` may look at more than the table.
    pub fn run(&self, packs: &[u32], deeper: Deeper<'_>) -> Result<Lies> {
        let (mut lies, mut open, mut blobs) = (Lies::default(), HashMap::new(), 0);
        for some in packs.chunks(AT_ONCE) {
            self.cx.check()?;
            let read = |n: &u32| self.repo.table_of(self.index, *n).map_or_else(|e| self.unread(e), Ok);
            for (n, table) in some.iter().zip(some.par_iter().map(read).collect::<Result<Vec<_>>>()?) {
                match table {
                    Found::Table(table) => {
                        lies.hollow.extend(deeper(*n, &table)?);
                        blobs += table.ids.len();
                        open.insert(*n, Opened::new(table));
                    }
                    Found::Other => lies.packs.push(*n),
                    Found::Nothing => {}
                }
            }
            if blobs >= BLOBS {
                compare_rows(self.index, &std::mem::take(&mut open), &mut lies.rows)?;
                blobs = 0;
            }
        }
        compare_rows(self.index, &open, &mut lies.rows)?;
        Ok(lies)
    }

    fn unread(&self, e: Error) -> Result<Found> {
        match e.kind() {
            _ if self.tolerant => Ok(Found::Nothing),
            // It was there when the packs were listed: another collector was quicker, most likely.
            ErrorKind::Storage | ErrorKind::Missing => Err(e),
            _ => Ok(Found::Other),
        }
    }
}

/// What there is of a pack.
pub(super) enum Found {
    /// Its table, which has the frames that the index says.
    Table(Table),
    /// A pack with other frames.
    Other,
    /// Nothing to compare with.
    Nothing,
}

impl Repository {
    /// The table of a pack of the index.
    pub(super) fn table_of(&self, index: &Index, n: u32) -> Result<Found> {
        if index.distrusts(n) {
            return Ok(Found::Nothing);
        }
        let pack = index.pack(n);
        let (header, table) = self.read_table(&names::pack(pack.id, pack.uploader), pack.len)?;
        let entries = (pack.first_frame..).take(pack.frames as usize).map(|f| index.frame(f).entry);
        let same = header == pack.header && table.kind == pack.kind && table.frames.iter().copied().eq(entries);
        Ok(if same { Found::Table(table) } else { Found::Other })
    }
}

impl Opened {
    pub(super) fn new(table: Table) -> Self {
        let mut at = 0;
        let starts = table.frames.iter().map(|f| {
            at += u32::from(f.blobs);
            at - u32::from(f.blobs)
        });
        Self { starts: starts.collect(), table }
    }

    /// How many blobs it names.
    pub(super) fn len(&self) -> usize {
        self.table.ids.len()
    }

    /// Whether it says what a row says.
    pub(super) fn has(&self, row: &Row, first_frame: u32) -> bool {
        let frame = (row.at.frame - first_frame) as usize;
        let id = self.starts.get(frame).and_then(|s| self.table.ids.get(*s as usize + usize::from(row.at.ordinal)));
        id.is_some_and(|id| short(id) == row.id)
    }
}

fn compare_rows(index: &Index, open: &HashMap<u32, Opened>, out: &mut Vec<Row>) -> Result<()> {
    if open.is_empty() {
        return Ok(());
    }
    index.for_each(&mut |row| {
        let n = index.frame(row.at.frame).pack;
        let Some(opened) = open.get(&n) else { return Ok(()) };
        if !index.refutes(&row) && !opened.has(&row, index.pack(n).first_frame) {
            out.push(row);
        }
        if out.len() > ROWS_MAX {
            let what = "the index says too much that is not so";
            return Err(Error::new(ErrorKind::Damaged, what).hint("`orlop check` names segments that say such things"));
        }
        Ok(())
    })
}
