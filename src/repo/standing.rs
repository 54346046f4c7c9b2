//! The snapshots that stand: without those that somebody decided to forget, and with what was said
//! about them since.

use super::{Identity, Notes, Repository, Snapshot, Tombstone};
use crate::error::{Error, ErrorKind, Result};
use crate::format::gc::{self, Reason, TombstoneClear};
use crate::format::names;
use crate::id::{ClientId, RecordId};
use crate::model::Time;
use crate::storage::Put;
use crate::sys;

/// What a repository shows.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// By client and place in the chain; tags, labels and descriptions are the current ones.
    pub snapshots: Vec<Snapshot>,
    /// Those that are forgotten, as long as their records are here, each with what says so.
    pub forgotten: Vec<(Snapshot, Vec<Tombstone>)>,
    /// Those of which a mirror has the statement only.
    pub hollow: Vec<Snapshot>,
    /// What was said about them.
    pub notes: Notes,
}

impl Repository {
    /// All snapshots that nobody decided to forget. What cannot be read is told to `trouble`, as with
    /// [`Self::snapshots`].
    pub fn standing(&self, trouble: &(dyn Fn(&str, Error) + Sync)) -> Result<Standing> {
        let all = self.snapshots(trouble)?;
        let tombstones = self.tombstones(trouble)?;
        let mut out = Standing { notes: self.notes(trouble)?, ..Standing::default() };
        for mut s in all {
            out.notes.apply(&mut s);
            let at = tombstones.at(s.statement.client, s.statement.seq);
            match at.iter().any(|t| t.target == Some(s.id)) {
                true => out.forgotten.push((s, at.to_vec())),
                false if s.hollow => out.hollow.push(s),
                false => out.snapshots.push(s),
            }
        }
        Ok(out)
    }

    pub(super) fn verify_tombstone(&self, object: &str) -> Result<()> {
        self.load_tombstone(object).map(drop)
    }

    /// The time by the storage's clock.
    pub fn storage_time(&self) -> Result<Time> {
        Ok(Time { sec: self.storage.clock()?, nsec: 0 })
    }

    /// Decide that a snapshot goes; it stays whole until `not_before`, by the storage's clock.
    pub fn forget(&self, who: &Identity, s: &Snapshot, reason: Reason, not_before: Time) -> Result<RecordId> {
        self.need(self.keyring.owner.as_ref(), "forget snapshots")?;
        s.check_drop()?;
        self.entomb(who, s, reason, not_before)
    }

    fn entomb(&self, who: &Identity, s: &Snapshot, reason: Reason, not_before: Time) -> Result<RecordId> {
        self.put_tombstone(who, (s.statement.client, s.statement.seq), Some(s.id), reason, not_before)
    }

    /// Give up a snapshot whose record is lost: it is gone, or cannot be read in either of its homes.
    /// There is nothing to bring back later.
    pub fn accept_lost(&self, who: &Identity, client: ClientId, seq: u64) -> Result<RecordId> {
        self.need(self.keyring.owner.as_ref(), "give up what is lost")?;
        let name = names::snapshot(client, seq);
        let says = |what: String| Error::new(ErrorKind::Invalid, what);
        if self.load_snapshot(&name).is_ok() {
            return Err(says(format!("{name} can be read")).hint("`orlop forget` with its id removes it"));
        }
        let history = self.history_after_loss(&|_, _| {})?;
        let (top, _) = self.head(client, &history)?;
        if seq == 0 || seq > top {
            let what = format!("there never was a {name}");
            return Err(says(what)
                .hint("`orlop check` names what is missing")
                .hint("an object of that name that cannot be read can be deleted from the storage"));
        }
        let decided = !self.tombstones(&|_, _| {})?.at(client, seq).is_empty() || history.forgot(client, seq);
        if decided {
            return Err(says(format!("{name} was given up before")));
        }
        let now = self.storage_time()?;
        self.put_tombstone(who, (client, seq), None, Reason::Lost, now)
    }

    /// Put the tombstone of a place in a chain.
    pub(super) fn put_tombstone(
        &self,
        who: &Identity,
        (client, seq): (ClientId, u64),
        target: Option<RecordId>,
        reason: Reason,
        not_before: Time,
    ) -> Result<RecordId> {
        let said = gc::Tombstone {
            author: who.client,
            author_epoch: who.epoch,
            target,
            reason,
            made: sys::now(),
            ext: vec![],
        };
        let clear = TombstoneClear { client, seq, not_before, nonce: sys::random()?, ext: vec![] };
        match self.put_decision(who, &said, &clear)? {
            (id, Put::Created) => Ok(id),
            (_, Put::Exists) => {
                Err(Error::new(ErrorKind::Exists, "somebody decided something about it under the same name")
                    .hint("run the command again"))
            }
        }
    }

    /// Take back the decisions to forget a snapshot. Refused where garbage collection may have acted
    /// upon them.
    pub fn undelete(&self, who: &Identity, s: &Snapshot, tombstones: &[Tombstone]) -> Result<()> {
        self.need(self.keyring.owner.as_ref(), "bring snapshots back")?;
        self.check_undelete(s, tombstones)?;
        for t in tombstones {
            self.entomb(who, s, Reason::Undelete(t.id), Time { sec: t.not_before, nsec: 0 })?;
        }
        // A plan that was made meanwhile may not have seen it.
        self.check_undelete(s, tombstones)
    }

    fn check_undelete(&self, s: &Snapshot, tombstones: &[Tombstone]) -> Result<()> {
        if !self.history()?.beyond_recall(s, tombstones) {
            return Ok(());
        }
        let what = format!("snapshot {} was forgotten too long ago: what it needs may be gone", s.id.short());
        Err(Error::new(ErrorKind::Missing, what)
            .hint("the time that is left to change one's mind is set with `orlop policy window`"))
    }
}
