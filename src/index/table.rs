//! A sorted run of rows, small in memory or large in a file of its own.
//!
//! Ids are keyed hashes, so they are spread evenly: a short array of bucket starts leads to a
//! stretch of about 64 rows, which is searched in memory or read with one `pread`. A run on disk is
//! an unlinked temporary file, private to this process: nobody can have changed it.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;

use super::Location;
use crate::error::{Error, ErrorKind, Result};
use crate::format::segment::SHORT_ID_LEN;

type Short = [u8; SHORT_ID_LEN];

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    /// Which blob.
    pub id: Short,
    /// Where it is.
    pub at: Location,
}

/// Bytes of a row in a file: short id, frame, ordinal.
const ROW_LEN: usize = SHORT_ID_LEN + 4 + 2;
/// Rows a bucket has on average.
const BUCKET_ROWS: usize = 64;
/// Rows above which a run lives in a file.
const MEMORY_ROWS_MAX: usize = 1 << 20;

impl Row {
    fn to_bytes(self) -> [u8; ROW_LEN] {
        let mut b = [0; ROW_LEN];
        b[..SHORT_ID_LEN].copy_from_slice(&self.id);
        b[20..24].copy_from_slice(&self.at.frame.to_le_bytes());
        b[24..].copy_from_slice(&self.at.ordinal.to_le_bytes());
        b
    }
    fn from_bytes(b: &[u8; ROW_LEN]) -> Self {
        let mut id = [0; SHORT_ID_LEN];
        id.copy_from_slice(&b[..SHORT_ID_LEN]);
        let frame = u32::from_le_bytes([b[20], b[21], b[22], b[23]]);
        Self { id, at: Location { frame, ordinal: u16::from_le_bytes([b[24], b[25]]) } }
    }
}

enum Rows {
    Memory(Vec<Row>),
    File(File),
}

/// A sorted run of rows.
pub struct Table {
    rows: Rows,
    len: usize,
    /// Ids are put into buckets by their first 64 bits, shifted right by this.
    shift: u32,
    /// Where each bucket begins, and the end of the last.
    starts: Vec<u32>,
}

/// Writes a run in order, to memory or to a file, without knowing how long it becomes.
struct RunWriter {
    out: Out,
    len: usize,
    shift: u32,
    starts: Vec<u32>,
}

enum Out {
    Memory(Vec<Row>),
    File(BufWriter<File>),
}

fn bucket(id: &Short, shift: u32) -> usize {
    let mut head = [0; 8];
    head.copy_from_slice(&id[..8]);
    u64::from_be_bytes(head).checked_shr(shift).unwrap_or(0) as usize
}

fn temporary(e: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, "a temporary file for the index cannot be used")
        .because(e)
        .hint("free space in the temporary folder, or point TMPDIR to another")
}

impl RunWriter {
    /// For at most `expected` rows.
    fn new(expected: usize) -> Result<Self> {
        let buckets = (expected / BUCKET_ROWS).max(1).next_power_of_two();
        let shift = 64 - buckets.trailing_zeros();
        let out = if expected > MEMORY_ROWS_MAX {
            Out::File(BufWriter::with_capacity(1 << 18, tempfile::tempfile().map_err(temporary)?))
        } else {
            Out::Memory(Vec::with_capacity(expected))
        };
        Ok(Self { out, len: 0, shift, starts: Vec::with_capacity(buckets + 1) })
    }

    fn push(&mut self, row: Row) -> Result<()> {
        let b = bucket(&row.id, self.shift);
        while self.starts.len() <= b {
            self.starts.push(self.len as u32);
        }
        self.len += 1;
        match &mut self.out {
            Out::Memory(rows) => rows.push(row),
            Out::File(file) => file.write_all(&row.to_bytes()).map_err(temporary)?,
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Table> {
        let buckets = 1usize << (64 - self.shift);
        self.starts.resize(buckets + 1, self.len as u32);
        let rows = match self.out {
            Out::Memory(rows) => Rows::Memory(rows),
            Out::File(file) => Rows::File(file.into_inner().map_err(|e| temporary(e.into_error()))?),
        };
        Ok(Table { rows, len: self.len, shift: self.shift, starts: self.starts })
    }
}

impl Table {
    /// From rows in any order.
    pub fn from_rows(mut rows: Vec<Row>) -> Result<Self> {
        rows.sort_unstable();
        rows.dedup();
        let mut w = RunWriter::new(rows.len())?;
        rows.into_iter().try_for_each(|r| w.push(r))?;
        w.finish()
    }

    /// Few large tables are faster to ask than many small ones: merge while the newest two are of
    /// like size, so that there are at most a logarithm of them.
    pub fn merge_small(tables: &mut Vec<Self>) -> Result<()> {
        while let [.., a, b] = &tables[..] {
            if a.len() > 2 * b.len() {
                break;
            }
            let at = tables.len() - 2;
            let merged = Self::merge(&tables[at..])?;
            tables.truncate(at);
            tables.push(merged);
        }
        Ok(())
    }

    /// Several runs as one; equal rows once.
    pub fn merge(tables: &[Self]) -> Result<Self> {
        let mut w = RunWriter::new(tables.iter().map(Self::len).sum())?;
        let mut cursors = Vec::new();
        for t in tables {
            cursors.push(Cursor::new(t)?);
        }
        let mut previous = None;
        while let Some(least) = cursors.iter().enumerate().filter_map(|(i, c)| c.head.map(|r| (r, i))).min() {
            let (row, i) = least;
            cursors[i].advance()?;
            if previous != Some(row) {
                w.push(row)?;
                previous = Some(row);
            }
        }
        w.finish()
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tell every place of an id; stops when `tell` says `false`.
    pub fn find(&self, id: &Short, tell: &mut dyn FnMut(Location) -> bool) -> Result<()> {
        let b = bucket(id, self.shift);
        let (from, to) = (self.starts[b] as usize, self.starts[b + 1] as usize);
        match &self.rows {
            Rows::Memory(rows) => {
                let rows = &rows[from..to];
                let first = rows.partition_point(|r| r.id < *id);
                rows[first..].iter().take_while(|r| r.id == *id).all(|r| tell(r.at));
            }
            Rows::File(file) => {
                let mut buffer = vec![0; (to - from) * ROW_LEN];
                file.read_exact_at(&mut buffer, (from * ROW_LEN) as u64).map_err(temporary)?;
                let rows = buffer.as_chunks::<ROW_LEN>().0;
                let first = rows.partition_point(|r| r[..SHORT_ID_LEN] < id[..]);
                rows[first..].iter().map(Row::from_bytes).take_while(|r| r.id == *id).all(|r| tell(r.at));
            }
        }
        Ok(())
    }

    /// Every row in order.
    pub fn for_each(&self, tell: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
        let mut c = Cursor::new(self)?;
        while let Some(row) = c.head {
            tell(row)?;
            c.advance()?;
        }
        Ok(())
    }
}

/// Reads a run in order.
struct Cursor<'t> {
    table: &'t Table,
    at: usize,
    head: Option<Row>,
    file: Option<std::io::BufReader<FileAt<'t>>>,
}

/// Reads a shared file from an offset of its own.
struct FileAt<'f> {
    file: &'f File,
    at: u64,
}
impl Read for FileAt<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read_at(into, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl<'t> Cursor<'t> {
    fn new(table: &'t Table) -> Result<Self> {
        let file = match &table.rows {
            Rows::File(file) => Some(std::io::BufReader::with_capacity(1 << 17, FileAt { file, at: 0 })),
            Rows::Memory(_) => None,
        };
        let mut c = Self { table, at: 0, head: None, file };
        c.advance()?;
        Ok(c)
    }
    fn advance(&mut self) -> Result<()> {
        self.head = match (&self.table.rows, &mut self.file) {
            _ if self.at >= self.table.len => None,
            (Rows::Memory(rows), _) => Some(rows[self.at]),
            (_, Some(file)) => {
                let mut b = [0; ROW_LEN];
                file.read_exact(&mut b).map_err(temporary)?;
                Some(Row::from_bytes(&b))
            }
            _ => None,
        };
        self.at += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: u32) -> Row {
        let mut id = [0; SHORT_ID_LEN];
        id.copy_from_slice(&blake3::hash(&n.to_le_bytes()).as_bytes()[..SHORT_ID_LEN]);
        Row { id, at: Location { frame: n, ordinal: (n % 7) as u16 } }
    }

    fn places(t: &Table, id: &Short) -> Vec<Location> {
        let mut out = Vec::new();
        t.find(id, &mut |at| {
            out.push(at);
            true
        })
        .unwrap();
        out
    }

    #[test]
    fn finds_what_is_there_in_memory_and_in_a_file() {
        for n in [0u32, 1, 2, 63, 64, 65, 1000, 50_000] {
            let t = Table::from_rows((0..n).map(row).collect()).unwrap();
            assert_eq!(t.len(), n as usize);
            for i in (0..n).step_by(1 + n as usize / 500) {
                assert_eq!(places(&t, &row(i).id), [row(i).at]);
            }
            assert!(places(&t, &row(n + 5).id).is_empty());
            assert!(places(&t, &[0; 20]).is_empty());
            assert!(places(&t, &[255; 20]).is_empty());
        }
    }

    #[test]
    fn merged_runs_above_the_limit_live_in_a_file() {
        let half = MEMORY_ROWS_MAX as u32 / 2 + 10;
        let a = Table::from_rows((0..half).map(row).collect()).unwrap();
        let b = Table::from_rows((half - 5..2 * half).map(row).collect()).unwrap();
        let t = Table::merge(&[a, b]).unwrap();
        assert!(matches!(t.rows, Rows::File(_)));
        assert_eq!(t.len(), 2 * half as usize, "equal rows are one");
        for i in (0..2 * half).step_by(997) {
            assert_eq!(places(&t, &row(i).id), [row(i).at]);
        }
        assert!(places(&t, &row(5_000_000).id).is_empty());
        let mut last = None;
        t.for_each(&mut |r| {
            assert!(last < Some(r));
            last = Some(r);
            Ok(())
        })
        .unwrap();
    }
}
