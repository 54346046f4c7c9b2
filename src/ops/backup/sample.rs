//! Reading a share of what times and sizes call unchanged, to see whether they are right.

use super::entry::{Item, took};
use super::keeper::{Keeper, Old};
use super::walk::{Done, Here, Walk};
use crate::error::Result;
use crate::format::pack::Kind as BlobKind;
use crate::model::{Content, Extent, Node, NodeKind};
use crate::repo::Extents;
use crate::source::{OpenFile, Stat};

/// Bytes of a hole that are compared at once.
const PIECE: usize = 1 << 16;

/// Which files are read although nothing says that they changed.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Of 2^64 files, so many.
    below: u128,
    seed: u64,
}

impl Sample {
    /// This share of all, from 0 to 100; another one for each seed.
    pub fn new(percent: f64, seed: [u8; 8]) -> Self {
        Self { below: (percent.clamp(0.0, 100.0) / 100.0 * 2f64.powi(64)) as u128, seed: u64::from_le_bytes(seed) }
    }

    /// Whether a file is among them: all its names are, or none.
    pub(super) fn has(&self, stat: &Stat) -> bool {
        if self.below == 0 {
            return false;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(&stat.id.dev.to_le_bytes()).update(&stat.id.ino.to_le_bytes());
        let drawn = hasher.finalize().as_bytes().first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        u128::from(drawn) < self.below
    }
}

impl Walk<'_> {
    /// What could be taken over was read: tell if it is not what the parent has.
    pub(super) fn compared(
        &self,
        item: &Item<'_>,
        to: &Keeper<'_>,
        node: Node,
        before: &Node,
        old: &Old,
    ) -> Result<Done> {
        let Item { here, name, stat, .. } = *item;
        let untouched = (node.mtime, node.ctime, node.bytes()) == (stat.mtime, stat.ctime, stat.size);
        if node.kind == before.kind {
            return self.keep_file(item, to, before, old);
        }
        if untouched && !to.has_bytes_of(here, name, stat, before) {
            let what = "its content is not what the parent snapshot has, though its size and times are the same; \
                        what was read now is kept";
            to.cx.problem("content-differs", &item.path(), "compare", what);
        }
        Ok(took(item, to, node, old))
    }
}

impl Keeper<'_> {
    /// Whether a file holds the bytes that the parent has, wherever its holes are. What cannot be
    /// read is not the same.
    fn has_bytes_of(&self, here: &Here<'_>, name: &[u8], stat: &Stat, old: &Node) -> bool {
        let NodeKind::File { content, .. } = &old.kind else { return false };
        let Ok(file) = here.dir.open_file(name, stat) else { return false };
        if let Content::Inline(bytes) = content {
            return holds(&file, 0, bytes);
        }
        let (mut extents, mut at) = (Extents::new(self.reader, content), 0);
        while let Ok(next) = extents.next() {
            let same = match next {
                None => return true,
                Some(Extent::Data { id, len, repeat }) => self
                    .reader
                    .fetch(BlobKind::Data, &id)
                    .is_ok_and(|blob| (0..repeat).all(|n| holds(&file, at + u64::from(n) * u64::from(len), &blob))),
                Some(Extent::Hole { len }) => {
                    let zeros = [0; PIECE];
                    let piece = |from: u64| (len - from).min(PIECE as u64) as usize;
                    (0..len).step_by(PIECE).all(|from| holds(&file, at + from, &zeros[..piece(from)]))
                }
            };
            if !same {
                return false;
            }
            at = at.saturating_add(next.map_or(0, |e| e.bytes()));
        }
        false
    }
}

fn holds(file: &OpenFile, offset: u64, want: &[u8]) -> bool {
    let mut have = vec![0; want.len()];
    file.read_at(offset, &mut have).is_ok_and(|n| n == want.len()) && have == want
}
