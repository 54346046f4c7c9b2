//! A set of hashes that may be larger than memory: the newest in memory, the others in tables, the
//! large ones of which lie in a file.

use std::collections::HashSet;

use super::{Location, Row, Table};
use crate::error::Result;
use crate::format::segment::SHORT_ID_LEN;

type Short = [u8; SHORT_ID_LEN];

/// Hashes in memory.
const YOUNG_MAX: usize = 1 << 18;

/// A set of hashes, which must be spread evenly; only their first 20 bytes count.
#[derive(Default)]
pub struct Digests {
    young: HashSet<Short>,
    tables: Vec<Table>,
}

impl Digests {
    /// Put one in; whether it is new.
    pub fn insert(&mut self, digest: &[u8; 32]) -> Result<bool> {
        let mut id = [0; SHORT_ID_LEN];
        id.copy_from_slice(&digest[..SHORT_ID_LEN]);
        let mut known = self.young.contains(&id);
        for table in &self.tables {
            if known {
                return Ok(false);
            }
            table.find(&id, &mut |_| {
                known = true;
                false
            })?;
        }
        if known {
            return Ok(false);
        }
        self.young.insert(id);
        if self.young.len() >= YOUNG_MAX {
            self.settle()?;
        }
        Ok(true)
    }

    fn settle(&mut self) -> Result<()> {
        let row = |id| Row { id, at: Location { frame: 0, ordinal: 0 } };
        self.tables.push(Table::from_rows(self.young.drain().map(row).collect())?);
        Table::merge_small(&mut self.tables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_new_once_in_memory_or_not() {
        let mut digests = Digests::default();
        let digest = |n: usize| *blake3::hash(&n.to_le_bytes()).as_bytes();
        let many = YOUNG_MAX + YOUNG_MAX / 2;
        assert!((0..many).all(|n| digests.insert(&digest(n)).unwrap()));
        assert!(!digests.tables.is_empty() && !digests.young.is_empty());
        assert!((0..many).all(|n| !digests.insert(&digest(n)).unwrap()));
        assert!(digests.insert(&digest(many)).unwrap());
    }
}
