//! Tombstones: which snapshots somebody decided to forget, and which decisions were taken back.

use std::collections::{BTreeMap, BTreeSet};

use super::Repository;
use crate::error::{Error, ErrorKind, Result};
use crate::format::gc::{self, Reason};
use crate::format::keys::Role;
use crate::format::names::{self, prefix};
use crate::id::{ClientId, RecordId};
use crate::repo::Snapshot;

/// A decision to forget a snapshot, verified.
#[derive(Debug, Clone)]
pub struct Tombstone {
    /// Its id.
    pub id: RecordId,
    /// Its object.
    pub name: String,
    /// Whose chain.
    pub client: ClientId,
    /// Which place in it.
    pub seq: u64,
    /// The snapshot; `None` if its record is lost.
    pub target: Option<RecordId>,
    /// The snapshot stays whole until then, by the storage's clock, in seconds.
    pub not_before: i64,
}

/// All tombstones that stand, by the place they are about.
#[derive(Debug, Clone, Default)]
pub struct Tombstones {
    by_place: BTreeMap<(ClientId, u64), Vec<Tombstone>>,
    taken_back: Vec<Tombstone>,
}

impl Tombstones {
    /// Those of a place in a chain.
    pub fn at(&self, client: ClientId, seq: u64) -> &[Tombstone] {
        self.by_place.get(&(client, seq)).map_or(&[], Vec::as_slice)
    }
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Tombstone> {
        self.by_place.values().flatten()
    }
    /// As if somebody had decided so. No such tombstone is stored, so it takes the snapshot's id for its own.
    pub fn imagine(&mut self, s: &Snapshot, not_before: i64) {
        let (client, seq) = (s.statement.client, s.statement.seq);
        let one = Tombstone { id: s.id, name: String::new(), client, seq, target: Some(s.id), not_before };
        self.by_place.entry((client, seq)).or_default().push(one);
    }
    /// Those that were taken back.
    pub fn taken_back(&self) -> impl Iterator<Item = &Tombstone> {
        self.taken_back.iter()
    }
}

impl Repository {
    /// Every tombstone that stands. Those that cannot be read, or that nobody who may signed, are
    /// told to `trouble` and decide nothing.
    pub fn tombstones(&self, trouble: &(dyn Fn(&str, Error) + Sync)) -> Result<Tombstones> {
        let (mut found, mut undone) = (Vec::new(), BTreeSet::new());
        let mut listed = self.storage.list(prefix::TOMBSTONES)?;
        listed.retain(|l| !names::is_beyond(l.name.as_str()));
        for (tombstone, reason) in self.load_listed(&listed, trouble, |object| self.load_tombstone(object))? {
            match reason {
                Reason::Undelete(id) => drop(undone.insert((tombstone.client, tombstone.seq, id))),
                _ => found.push(tombstone),
            }
        }
        let (taken_back, found): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|t| undone.contains(&(t.client, t.seq, t.id)));
        let mut out = Tombstones { taken_back, ..Tombstones::default() };
        for t in found {
            out.by_place.entry((t.client, t.seq)).or_default().push(t);
        }
        Ok(out)
    }

    pub(super) fn load_tombstone(&self, object: &str) -> Result<(Tombstone, Reason)> {
        let record = self.open_decision::<gc::Tombstone>(object)?;
        let said = &record.payload;
        let author = self.author(said.author, said.author_epoch)?;
        record.verify(&author.key)?;
        if author.role != Role::Owner {
            return Err(Error::new(ErrorKind::Damaged, "it is signed by a client that may not forget snapshots"));
        }
        let clear = &record.clear;
        let tombstone = Tombstone {
            id: record.id,
            name: object.to_owned(),
            client: clear.client,
            seq: clear.seq,
            target: said.target,
            not_before: clear.not_before.sec,
        };
        Ok((tombstone, said.reason))
    }
}
