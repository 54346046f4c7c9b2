//! R2: whether a snapshot that was found before may be relied on, by all that was said by the time the
//! session of whoever means to rely on it was there.

use super::{History, Hollows, Repository, Session, Snapshot, Tombstones, objects};
use crate::collect::{Validity, base_stands};
use crate::error::Result;
use crate::format::names;

/// What a base is by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Footing {
    /// It stands.
    Firm,
    /// Somebody decided that it goes, or its content does not count as here any more.
    Forgotten,
    /// Its session is not done, or was given up.
    Unsettled,
}

/// What was said by then.
pub struct Grounds<'r> {
    repo: &'r Repository,
    history: History,
    tombstones: Tombstones,
    hollows: Hollows,
}

impl Repository {
    /// All that bases of this session are judged by.
    pub fn grounds(&self, session: &Session) -> Result<Grounds<'_>> {
        let (tombstones, hollows) = (self.tombstones(&|_, _| {})?, self.hollows(&|_, _| {})?);
        Ok(Grounds { repo: self, history: session.history(), tombstones, hollows })
    }
}

impl Grounds<'_> {
    /// What a snapshot is that was looked at before the session was there.
    pub fn footing(&self, s: &Snapshot) -> Result<Footing> {
        let gone = !self.repo.has_snapshot(s.statement.client, s.statement.seq)?;
        let validity = self.validity(s)?;
        Ok(match base_stands(self.is_given_up(s), gone, self.hollows.of(s), validity) {
            true => Footing::Firm,
            false if validity == Validity::Confirmed => Footing::Forgotten,
            false => Footing::Unsettled,
        })
    }

    /// A plan that listed a tombstone goes by it, also where it was taken back since.
    fn is_given_up(&self, s: &Snapshot) -> bool {
        let (client, seq) = (s.statement.client, s.statement.seq);
        let mut taken_back = self.tombstones.taken_back().filter(|t| (t.client, t.seq) == (client, seq));
        !self.tombstones.at(client, seq).is_empty()
            || taken_back.any(|t| self.history.expired.contains(&t.id))
            || self.history.gave_up(client, seq)
    }

    /// A close that was read may be that of a sleeper, who found the name free again once its session was
    /// cleared away. A checkpoint says no more which ones were: but their first objects are gone.
    fn validity(&self, s: &Snapshot) -> Result<Validity> {
        if self.history.confirms(s.statement.client, s.statement.seq) {
            return Ok(s.validity);
        }
        let open = objects::name(&names::session(s.commit.session, 0))?;
        let cleared = self.history.buried(s.commit.session) || self.repo.storage.head(&open)?.is_none();
        Ok(if cleared { Validity::Late } else { s.validity })
    }
}
