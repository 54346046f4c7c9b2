//! Hollow marks: statements that a mirror took over without their content, so that chains have no gaps.

use std::collections::BTreeMap;

use super::{Identity, Repository, Snapshot};
use crate::error::{Error, ErrorKind, Result};
use crate::format::gc;
use crate::format::keys::Role;
use crate::format::names::prefix;
use crate::id::{ClientId, RecordId};
use crate::storage::Put;
use crate::sys;

/// The newest mark of every place that has one.
#[derive(Debug, Clone, Default)]
pub struct Hollows {
    newest: BTreeMap<(ClientId, u64), (u32, RecordId)>,
}

impl Hollows {
    /// Whether the newest mark says that the content of a statement is not here.
    pub fn has(&self, client: ClientId, seq: u64, statement: RecordId) -> bool {
        self.newest.get(&(client, seq)).is_some_and(|(n, id)| n % 2 == 0 && *id == statement)
    }

    /// Whether the content of this one is not here. That it came with its content counts for more than a mark
    /// of somebody who did not see it come.
    pub fn of(&self, s: &Snapshot) -> bool {
        s.commit.came_hollow() && self.has(s.statement.client, s.statement.seq, s.id)
    }

    /// The number of the newest mark of a place.
    pub fn number(&self, client: ClientId, seq: u64) -> Option<u32> {
        self.newest.get(&(client, seq)).map(|(n, _)| *n)
    }

    /// The number of the next mark of a place.
    pub fn next(&self, client: ClientId, seq: u64) -> u32 {
        self.newest.get(&(client, seq)).map_or(0, |(n, _)| n.saturating_add(1))
    }

    fn take(&mut self, mark: &gc::Hollow) {
        let newest = self.newest.entry((mark.client, mark.seq)).or_insert((mark.n, mark.statement));
        if mark.n > newest.0 {
            *newest = (mark.n, mark.statement);
        }
    }
}

impl Repository {
    /// All marks that count. Those that cannot be read are told to `trouble` and say nothing: what
    /// they are about counts as here, and is missed where it is looked for.
    pub fn hollows(&self, trouble: &(dyn Fn(&str, Error) + Sync)) -> Result<Hollows> {
        let listed = self.storage.list(prefix::HOLLOW)?;
        let found = self.load_listed(&listed, trouble, |object| self.load_hollow(object))?;
        let mut out = Hollows::default();
        found.iter().for_each(|mark| out.take(mark));
        Ok(out)
    }

    /// Whoever says that content is not here gives it up to garbage collection: the owner only.
    pub(super) fn load_hollow(&self, object: &str) -> Result<gc::Hollow> {
        let record = self.open_decision::<gc::Hollow>(object)?;
        let author = self.author(record.payload.author, record.payload.author_epoch)?;
        record.verify(&author.key)?;
        match author.role {
            Role::Owner => Ok(record.payload),
            _ => Err(Error::new(ErrorKind::Damaged, "it is signed by a client that may not say what is here")),
        }
    }

    /// Say that the content of a statement is not here, or that it has come. Before the statement the
    /// former, after its content the latter. [`Put::Exists`]: somebody else said so.
    pub fn mark_hollow(
        &self,
        who: &Identity,
        hollows: &mut Hollows,
        (client, seq, statement): (ClientId, u64, RecordId),
        hollow: bool,
    ) -> Result<Put> {
        self.need(self.keyring.owner.as_ref(), "say what is here of a mirror")?;
        let n = hollows.next(client, seq);
        if hollow != n.is_multiple_of(2) {
            return Ok(Put::Exists);
        }
        let mark = gc::Hollow {
            client,
            seq,
            n,
            statement,
            hollow,
            author: who.client,
            author_epoch: who.epoch,
            nonce: sys::random()?,
            ext: vec![],
        };
        let (_, put) = self.put_decision(who, &mark, &())?;
        hollows.take(&mark);
        Ok(put)
    }
}
