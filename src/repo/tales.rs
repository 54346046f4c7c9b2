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
struct Opened {
    table: Table,
    starts: Vec<u32>,
}

/// Gives rows of a pack that are in its table, and not in the pack.
pub type Deeper<'a> = &'a (dyn Fn(u32, &Table) -> Result<Vec<Row>> + Sync);

impl Repository {
    /// Compare all that the index says of these packs with the packs' own tables, in bounded memory. What is
    /// refuted already is passed over. `deeper` may look at more than the table.
    pub fn compare_with_tables(
        &self,
        index: &Index,
        packs: &[u32],
        deeper: Deeper<'_>,
        cx: &Context<'_>,
    ) -> Result<Lies> {
        let (mut lies, mut open, mut blobs) = (Lies::default(), HashMap::new(), 0);
        for some in packs.chunks(AT_ONCE) {
            cx.check()?;
            let read = |n: &u32| self.table_of(index, *n).map(|table| (*n, table));
            for (n, table) in some.par_iter().map(read).collect::<Result<Vec<_>>>()? {
                let Some(table) = table else {
                    lies.packs.push(n);
                    continue;
                };
                lies.hollow.extend(deeper(n, &table)?);
                blobs += table.ids.len();
                open.insert(n, Opened::new(table));
            }
            if blobs >= BLOBS {
                compare_rows(index, &std::mem::take(&mut open), &mut lies.rows)?;
                blobs = 0;
            }
        }
        compare_rows(index, &open, &mut lies.rows)?;
        Ok(lies)
    }

    /// The table of a pack of the index, if it has the frames that the index says.
    fn table_of(&self, index: &Index, n: u32) -> Result<Option<Table>> {
        let pack = index.pack(n);
        if index.distrusts(n) {
            return Ok(Some(Table { kind: pack.kind, frames: vec![], ids: vec![] }));
        }
        let entries = (pack.first_frame..).take(pack.frames as usize).map(|f| index.frame(f).entry);
        match self.read_table(&names::pack(pack.id, pack.uploader), pack.len) {
            Ok((header, table)) => {
                let same = header == pack.header && table.kind == pack.kind && table.frames.iter().copied().eq(entries);
                Ok(same.then_some(table))
            }
            // It was there when the packs were listed: another collector was quicker, most likely.
            Err(e) if matches!(e.kind(), ErrorKind::Storage | ErrorKind::Missing) => Err(e),
            Err(_) => Ok(None),
        }
    }
}

impl Opened {
    fn new(table: Table) -> Self {
        let mut at = 0;
        let starts = table.frames.iter().map(|f| {
            at += u32::from(f.blobs);
            at - u32::from(f.blobs)
        });
        Self { starts: starts.collect(), table }
    }

    fn has(&self, row: &Row, first_frame: u32) -> bool {
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
