//! Who uses the space: what each group of snapshots needs, and what no other does.
//!
//! Each blob has one owner as long as one group needs it. A page that a second group comes to makes
//! everything below it common; a third has nothing more to find out there.

use super::walk::{Visit, each_page};
use super::{Raw, Share, whole_bytes};
use crate::error::Result;
use crate::event::Context;
use crate::id::BlobId;
use crate::index::{Location, Numbers};
use crate::model::{Node, PageRef};
use crate::ops::needs::blobs_of;
use crate::repo::{Reader, Snapshot};

/// What a group uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of files in all its snapshots.
    pub restored: u64,
    /// Bytes stored for it, shared ones included; `None` if that was not asked for.
    pub stored: Option<u64>,
    /// Stored bytes of chunks and pages that nothing else needs, their shares of frames that hold others,
    /// too: free, once its snapshots are forgotten and pruned with nothing unused left.
    pub unique: u64,
}

/// Nobody needs it, or several do.
const NOBODY: u32 = 0;
const SEVERAL: u32 = u32::MAX;

struct Owners<'r> {
    reader: &'r Reader<'r>,
    numbers: Numbers,
    owner: Vec<u32>,
    /// Shares that only one group needs, by groups from 1.
    unique: Vec<i128>,
    me: u32,
}

/// For each group of snapshots. `stored`: also what each needs in all, which reads all of its trees.
pub fn usage(reader: &Reader<'_>, groups: &[Vec<&Snapshot>], stored: bool, cx: &Context<'_>) -> Result<Vec<Usage>> {
    let numbers = Numbers::new(reader.index(), |_| true);
    let owner = vec![NOBODY; numbers.len()];
    let mut owners = Owners { reader, numbers, owner, unique: vec![0; groups.len() + 1], me: NOBODY };
    let mut out = Vec::with_capacity(groups.len());
    for (n, group) in (1..SEVERAL).zip(groups) {
        owners.me = n;
        each_page(reader, group, cx, &mut owners)?;
        let restored = group.iter().filter_map(|s| s.statement.root).map(|root| root.bytes).sum();
        let stored = match stored {
            true => {
                let mut raw = Raw::new(reader);
                each_page(reader, group, cx, &mut raw)?;
                Some(whole_bytes(raw.stored))
            }
            false => None,
        };
        out.push(Usage { restored, stored, unique: 0 });
    }
    for (usage, unique) in out.iter_mut().zip(&owners.unique[1..]) {
        usage.unique = whole_bytes(u128::try_from(*unique).unwrap_or(0));
    }
    Ok(out)
}

impl Owners<'_> {
    /// This group needs a blob.
    fn needs(&mut self, at: Location, bytes: u64) {
        let Some(owner) = self.owner.get_mut(self.numbers.of(at)) else { return };
        let before = *owner;
        if before == self.me || before == SEVERAL {
            return;
        }
        let share = Share::of(self.reader.index(), at, bytes).0 as i128;
        if before == NOBODY {
            *owner = self.me;
            self.unique[self.me as usize] += share;
        } else {
            *owner = SEVERAL;
            self.unique[before as usize] -= share;
        }
    }

    fn blob(&mut self, id: &BlobId, bytes: u64) -> Result<()> {
        if let Some(at) = self.reader.index().find(id)? {
            self.needs(at, bytes);
        }
        Ok(())
    }
}

impl Visit for Owners<'_> {
    fn enter(&mut self, page: &PageRef) -> Result<bool> {
        let Some(at) = self.reader.index().find(&page.id)? else { return Ok(true) };
        let owner = self.owner.get(self.numbers.of(at)).copied().unwrap_or(NOBODY);
        Ok(owner != self.me && owner != SEVERAL)
    }
    fn page(&mut self, page: &PageRef, bytes: u64) -> Result<()> {
        self.blob(&page.id, bytes)
    }
    fn node(&mut self, _: &[u8], node: &Node) -> Result<()> {
        let reader = self.reader;
        blobs_of(reader, node, &mut |_, id, bytes| self.blob(id, bytes))
    }
}
