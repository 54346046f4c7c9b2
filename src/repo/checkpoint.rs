//! Checkpoints and restarts of the gc log: saying all of it again in one record, and clearing away what is older.

use std::collections::{BTreeMap, BTreeSet};

use super::clear::Cleared;
use super::{History, Identity, Repository, Saying, Session, Tombstones, objects};
use crate::error::{Error, ErrorKind, Result};
use crate::format::gc::{Condemned, Confirmed, Forgotten, GcKind, Lost, PackName, Seen, State};
use crate::format::names::{self, prefix};
use crate::id::{ClientId, RecordId, SessionId};
use crate::model::Head;

/// About so many bytes in one part of a state.
const PART: usize = 256 << 10;
/// Tombstones that a checkpoint repeats; more wait until they are gone.
const EXPIRED_MAX: usize = 16_384;
/// A client's chain with more runs of places than that is not repeated.
const RUNS_MAX: usize = 16_384;

/// What a checkpoint or restart says beside what is in the log.
pub struct Repeating {
    /// Snapshots that are known to be whole.
    pub confirmed: BTreeMap<ClientId, Confirmed>,
    /// The newest statement of every client.
    pub heads: Vec<Head>,
    /// Objects of sessions that may go, and words that newer ones took the place of.
    pub doomed: Vec<String>,
    /// The storage's time, in seconds.
    pub time: i64,
    /// Of a restart.
    pub after: Option<AfterLoss>,
}

/// What a restart says beside what a checkpoint does.
pub struct AfterLoss {
    /// What was lost.
    pub lost: Lost,
    /// Packs that nobody may use from now on.
    pub condemned: BTreeSet<PackName>,
    /// Sessions that are open.
    pub live: BTreeSet<SessionId>,
}

/// What is left of the past, as listings show it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rest {
    /// Records of the log since the newest checkpoint.
    pub records: u64,
    /// Tombstones of places at which nothing stands any more.
    pub tombstones: u64,
    /// Sessions that are closed.
    pub sessions: u64,
    /// Words about snapshots and the repository, whether they still say anything or not.
    pub notes: u64,
    /// Older records that are there still.
    pub older: u64,
}

/// Places of chains, as listings show them.
struct Places {
    standing: BTreeMap<ClientId, BTreeSet<u64>>,
}

impl Places {
    fn stands(&self, client: ClientId, seq: u64) -> bool {
        self.standing.get(&client).is_some_and(|s| s.contains(&seq))
    }
}

impl Repository {
    /// Count what a checkpoint could make an end of.
    pub fn rest(&self, history: &History) -> Result<Rest> {
        let begin = history.checkpoint.as_ref().map_or(0, |c| c.generation);
        let mut out = Rest { records: history.log.generation() - begin, ..Rest::default() };
        let listed = self.storage.list(prefix::GC)?;
        let generations = listed.iter().filter_map(|l| names::parse_gc(l.name.as_str()));
        out.older = generations.filter(|g| *g < begin).count() as u64;
        let places = self.places()?;
        for l in self.storage.list(prefix::TOMBSTONES)? {
            let Some((client, seq, _)) = names::parse_tombstone(l.name.as_str()) else { continue };
            out.tombstones += u64::from(!places.stands(client, seq) && !history.forgot(client, seq));
        }
        out.notes = self.storage.list(prefix::NOTES)?.len() as u64;
        out.sessions = self.list_sessions()?.values().filter(|s| s.closed).count() as u64;
        Ok(out)
    }

    fn places(&self) -> Result<Places> {
        let mut standing: BTreeMap<ClientId, BTreeSet<u64>> = BTreeMap::new();
        let listed = objects::list_either(self.storage.as_ref(), prefix::SNAPSHOTS)?;
        for (client, seq) in listed.iter().filter_map(|n| names::parse_snapshot(n)) {
            standing.entry(client).or_default().insert(seq);
        }
        Ok(Places { standing })
    }

    /// Whether anything is there that the log dooms, apart from packs.
    pub fn doomed_left(&self, history: &History) -> Result<bool> {
        let index = self.storage.list(prefix::INDEX)?;
        let segments = index.iter().filter_map(|l| names::parse_segment(l.name.as_str()));
        let left = segments.into_iter().any(|id| history.doomed_index.contains(&id));
        Ok(left || !self.doomed_names_there(history)?.is_empty())
    }

    /// Say again what the log says, and what became of chains. `false`: somebody else was quicker, or
    /// there is too much to say yet.
    pub fn repeat(
        &self,
        who: &Identity,
        session: &Session,
        history: &mut History,
        tombstones: &Tombstones,
        said: Repeating,
    ) -> Result<bool> {
        let forgotten = self.given_up_by_now(history, tombstones, said.time)?;
        let covered = |client: &ClientId, seq| forgotten.get(client).is_some_and(|g| g.has(seq));
        let told = tombstones.all().chain(tombstones.taken_back());
        let over: BTreeSet<RecordId> = told.filter(|t| covered(&t.client, t.seq)).map(|t| t.id).collect();
        let mut expired: Vec<RecordId> = history.expired.difference(&over).copied().collect();
        let vast = forgotten.values().any(|g| g.ranges.len() > RUNS_MAX);
        match said.after {
            None if vast || expired.len() > EXPIRED_MAX => return Ok(false),
            Some(_) if vast => {
                let what = "what was forgotten here is in too many pieces to be said in one record";
                return Err(
                    Error::new(ErrorKind::Unsupported, what).hint("copy what is to stay into another repository")
                );
            }
            // What is left out is needed until a later plan says it again.
            _ => expired.truncate(EXPIRED_MAX),
        }
        let confirmed = said.confirmed.into_values().map(|mut c| {
            c.except.retain(|seq| !covered(&c.client, *seq));
            c
        });
        let forgotten = forgotten.iter().map(|(client, g)| Forgotten {
            client: *client,
            ranges: g.ranges.clone(),
            anchors: g.anchors.iter().map(|(seq, id)| (*seq, *id)).collect(),
        });
        let generation = history.next()?;
        let blank = State { generation, author: who.client, author_epoch: who.epoch, ..State::default() };
        let mut parts = Parts::new(blank);
        confirmed.for_each(|c| parts.add(32 + 8 * c.except.len(), |s| s.confirmed.push(c)));
        forgotten.for_each(|f| parts.add(32 + 64 * f.ranges.len(), |s| s.forgotten.push(f)));
        said.heads.into_iter().for_each(|h| parts.add(64, |s| s.heads.push(h)));
        let seen = history.seen.iter().map(|(id, t)| (*id, *t)).collect::<BTreeMap<_, _>>();
        seen.into_iter().for_each(|(statement, received)| parts.add(48, |s| s.seen.push(Seen { statement, received })));
        history.bad.iter().for_each(|p| parts.add(32, |s| s.bad.push(*p)));
        let kind = if said.after.is_some() { GcKind::Restart } else { GcKind::Checkpoint };
        let mut saying = Saying::new(kind, said.time);
        if let Some(after) = said.after {
            let condemned = after.condemned.into_iter().map(|pack| Condemned { pack, generation });
            condemned.for_each(|c| parts.add(48, |s| s.condemned.push(c)));
            saying.gc.lost = Some(after.lost);
            saying.clear.live_sessions = after.live.into_iter().collect();
        }
        for part in parts.done() {
            saying.gc.state.push(self.put_decision(who, &part, &())?.0);
        }
        saying.gc.expired = expired;
        saying.clear.doomed_names = said.doomed.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        self.add_to_history(who, session, history, saying)
    }

    /// Places at which nothing stands any more in either home, by a decision whose time has come.
    fn given_up_by_now(
        &self,
        history: &History,
        tombstones: &Tombstones,
        now: i64,
    ) -> Result<BTreeMap<ClientId, crate::collect::GivenUp<RecordId>>> {
        let places = self.places()?;
        let mut gone: BTreeMap<ClientId, BTreeMap<u64, Option<RecordId>>> = BTreeMap::new();
        let mut stays = places.standing.clone();
        // What the log doomed is gone, whatever became of the tombstones since.
        for (client, seq) in history.doomed_names.iter().filter_map(|n| names::parse_snapshot(n)) {
            if !places.stands(client, seq) {
                gone.entry(client).or_default().entry(seq).or_default();
            }
        }
        for t in tombstones.taken_back().filter(|t| !places.stands(t.client, t.seq)) {
            if let Some(target) = gone.get_mut(&t.client).and_then(|of| of.get_mut(&t.seq)) {
                *target = target.or(t.target);
            }
        }
        for t in tombstones.all() {
            let over = history.expired.contains(&t.id) || t.not_before <= now;
            if over && !places.stands(t.client, t.seq) {
                let target = gone.entry(t.client).or_default().entry(t.seq).or_default();
                *target = target.or(t.target);
            } else {
                stays.entry(t.client).or_default().insert(t.seq);
            }
        }
        let clients: BTreeSet<ClientId> = history.forgotten.keys().chain(gone.keys()).copied().collect();
        let none = (BTreeMap::new(), BTreeSet::new());
        let of = |client: ClientId| {
            let (gone, stays) = (gone.get(&client).unwrap_or(&none.0), stays.get(&client).unwrap_or(&none.1));
            (client, history.given_up(client).and(gone, stays))
        };
        Ok(clients.into_iter().map(of).collect())
    }

    /// Delete what the newest checkpoint takes the place of: older records of the log and their
    /// states, and tombstones of places that it names. Whoever does not know the checkpoint after all
    /// that time reads the log anew.
    pub fn clear_behind_checkpoint(&self, history: &History) -> Result<Cleared> {
        let mut done = Cleared::default();
        let Some(checkpoint) = &history.checkpoint else { return Ok(done) };
        let mut going: Vec<String> = Vec::new();
        let names_of = |p| -> Result<Vec<String>> {
            Ok(self.storage.list(p)?.into_iter().map(|l| l.name.as_str().to_owned()).collect())
        };
        let forgot = |n: &String| names::parse_tombstone(n).is_some_and(|(c, seq, _)| history.forgot(c, seq));
        going.extend(names_of(prefix::TOMBSTONES)?.into_iter().filter(forgot));
        // What came to a place that is given up was put there by somebody who slept through all that.
        let late = |n: &String| names::parse_snapshot(n).is_some_and(|(c, seq)| history.forgot(c, seq));
        let late = objects::list_either(self.storage.as_ref(), prefix::SNAPSHOTS)?.into_iter().filter(late);
        going.extend(late.flat_map(|n| [names::copy_of(&n), n]));
        for name in names_of(prefix::STATE)? {
            let Some(id) = name.strip_prefix(prefix::STATE).and_then(|id| RecordId::parse(id).ok()) else { continue };
            let past = !checkpoint.state.contains(&id)
                && match self.load_state(id) {
                    Ok(state) => state.generation <= checkpoint.generation,
                    Err(e) if e.kind() == ErrorKind::Storage => return Err(e),
                    Err(_) => false,
                };
            going.extend(past.then_some(name));
        }
        // These last: as long as one is there, a later run clears away what this one could not.
        let older = |n: &String| names::parse_gc(n).is_some_and(|g| g < checkpoint.generation);
        going.extend(names_of(prefix::GC)?.into_iter().filter(older));
        for name in going {
            self.try_delete(&name, &mut done)?;
        }
        Ok(done)
    }
}

/// A state in parts, none of them larger than a record may be.
struct Parts {
    blank: State,
    done: Vec<State>,
    part: State,
    bytes: usize,
}

impl Parts {
    fn new(blank: State) -> Self {
        Self { part: blank.clone(), blank, done: vec![], bytes: 0 }
    }
    fn add(&mut self, bytes: usize, put: impl FnOnce(&mut State)) {
        if self.bytes > 0 && self.bytes + bytes > PART {
            self.done.push(std::mem::replace(&mut self.part, self.blank.clone()));
            self.bytes = 0;
        }
        put(&mut self.part);
        self.bytes += bytes;
    }
    fn done(mut self) -> Vec<State> {
        self.done.push(self.part);
        self.done
    }
}
