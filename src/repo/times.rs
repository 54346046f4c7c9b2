//! When snapshots arrived, recorded once: later the storage may not know any more, because the
//! repository was moved.

use std::collections::{HashMap, HashSet};

use super::{Identity, Repository, Snapshot, objects};
use crate::error::{Error, ErrorKind, Result};
use crate::format::gc::{self, Seen};
use crate::format::keys::Role;
use crate::format::names::{self, prefix};
use crate::id::RecordId;
use crate::model::Time;
use crate::sys;

/// Times in one record: well below what a record may hold.
const MOST: usize = 10_000;

/// All that was recorded.
#[derive(Debug, Clone, Default)]
pub struct Times {
    received: HashMap<RecordId, Time>,
    accepted: HashSet<RecordId>,
}

impl Times {
    /// When a snapshot was received, by the earliest record of it.
    pub fn received(&self, id: RecordId) -> Option<Time> {
        self.received.get(&id).copied()
    }
    /// Whether the owner looked at its times and takes what the snapshot claims.
    pub fn accepted(&self, id: RecordId) -> bool {
        self.accepted.contains(&id)
    }

    fn add(&mut self, times: &gc::Times) {
        for seen in &times.seen {
            let earliest = self.received.entry(seen.statement).or_insert(seen.received);
            *earliest = seen.received.min(*earliest);
            if times.accepted {
                self.accepted.insert(seen.statement);
            }
        }
    }
}

impl Repository {
    /// The times that the owner's side recorded: whoever makes snapshots says nothing about when
    /// they came. What cannot be read is told to `trouble`.
    pub fn times(&self, trouble: &(dyn Fn(&str, Error) + Sync)) -> Result<Times> {
        let mut out = Times::default();
        let listed = self.storage.list(prefix::TIMES)?;
        let found = self.load_listed(&listed, trouble, |object| self.load_times(object))?;
        found.iter().for_each(|times| out.add(times));
        Ok(out)
    }

    pub(super) fn load_times(&self, object: &str) -> Result<gc::Times> {
        let record = self.open_decision::<gc::Times>(object)?;
        let author = self.author(record.payload.author, record.payload.author_epoch)?;
        record.verify(&author.key)?;
        if !matches!(author.role, Role::Owner | Role::Maintain) {
            return Err(Error::new(
                ErrorKind::Damaged,
                "it is signed by a client that may not say when snapshots came",
            ));
        }
        Ok(record.payload)
    }

    /// When the storage received a snapshot, as far as it knows today.
    pub fn arrival(&self, s: &Snapshot) -> Result<Option<Time>> {
        let name = objects::name(&names::snapshot(s.statement.client, s.statement.seq))?;
        Ok(self.storage.received(&name)?.map(|sec| Time { sec, nsec: 0 }))
    }

    /// Record receive times; `accepted`: what the snapshots claim counts all the same.
    pub fn record_times(&self, who: &Identity, mut seen: Vec<Seen>, accepted: bool) -> Result<()> {
        self.need(self.keyring.owner.as_ref(), "record when snapshots came")?;
        seen.sort_unstable_by_key(|s| s.statement);
        seen.dedup_by_key(|s| s.statement);
        let own = format!("{}{}/", prefix::TIMES, who.client);
        let listed = self.storage.list(&own)?;
        let mut n =
            listed.iter().filter_map(|l| names::parse_times(l.name.as_str())).map(|(_, n, _)| n).max().unwrap_or(0);
        for part in seen.chunks(MOST) {
            n = n.saturating_add(1);
            let times = gc::Times {
                author: who.client,
                author_epoch: who.epoch,
                n,
                seen: part.to_vec(),
                accepted,
                nonce: sys::random()?,
                ext: vec![],
            };
            self.put_decision(who, &times, &())?;
        }
        Ok(())
    }
}
