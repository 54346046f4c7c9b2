//! The gc log: loading what was said, and saying the next thing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Identity, Repository, Session};
use crate::collect::{Log, Plan, Step};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::format::gc::{Confirmed, Forgotten, Gc, GcClear, GcKind, PackName, Payload, Record, State};
use crate::format::keys::Role;
use crate::format::names::{self, prefix};
use crate::id::{ClientId, PackId, RecordId, SegmentId, SessionId};
use crate::model::{Head, Time};
use crate::storage::Put;
use crate::sys;

/// How often the log is read anew when a collector clears away under the reader.
const TRIES: usize = 4;

/// What the gc log has said, as far as it still matters.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Packs and sessions.
    pub log: Log<PackName, SessionId>,
    /// The newest record; zero for none.
    pub last: RecordId,
    /// When it was written, by the storage's clock, in seconds.
    pub time: i64,
    /// Of unfinished plans: the segments that were replaced, and the tombstones whose time had come.
    pub replaced: BTreeMap<u64, Replaced>,
    /// Tombstones whose time has come, according to any plan.
    pub expired: BTreeSet<RecordId>,
    /// Segments that plans wrote.
    pub new_index: BTreeSet<SegmentId>,
    /// Segments that are deleted.
    pub doomed_index: BTreeSet<SegmentId>,
    /// Other objects that are deleted.
    pub doomed_names: BTreeSet<String>,
    /// Snapshots that are known to be whole.
    pub confirmed: BTreeMap<ClientId, Confirmed>,
    /// Places of chains that were given up, and whose tombstones may be gone.
    pub forgotten: BTreeMap<ClientId, Forgotten>,
    /// The newest statement of every client.
    pub heads: BTreeMap<ClientId, Head>,
    /// When snapshots were received.
    pub seen: BTreeMap<RecordId, Time>,
    /// Packs that were found to be bad and hold what is needed.
    pub bad: BTreeSet<PackId>,
}

/// What a plan says beside packs.
#[derive(Debug, Clone, Default)]
pub struct Replaced {
    /// Segments that others took the place of.
    pub segments: Vec<SegmentId>,
    /// Tombstones whose time had come.
    pub expired: Vec<RecordId>,
}

impl History {
    /// Whether a record says that a snapshot is whole.
    pub fn confirms(&self, client: ClientId, seq: u64) -> bool {
        self.confirmed.get(&client).is_some_and(|c| seq <= c.upto && c.except.binary_search(&seq).is_err())
    }

    /// Whether a place in a chain was given up for good.
    pub fn forgot(&self, client: ClientId, seq: u64) -> bool {
        let ranges = self.forgotten.get(&client).map_or(&[][..], |f| &f.ranges);
        ranges.iter().any(|(first, last)| (*first..=*last).contains(&seq))
    }

    fn add(&mut self, record: &Record<Gc>, states: &[State]) -> Result<()> {
        let (clear, gc) = (&record.clear, &record.payload);
        let follows = clear.kind == GcKind::Restart || self.last == RecordId::ZERO || clear.prev == self.last;
        if !follows {
            let what = format!("{} does not follow the record before it", names::gc(clear.generation));
            return Err(Error::new(ErrorKind::Damaged, what));
        }
        let step = step(clear, states);
        self.log.add(clear.generation, step).map_err(|e| Error::new(ErrorKind::Missing, e.to_string()))?;
        self.last = record.id;
        self.time = clear.storage_time.sec;
        match clear.kind {
            GcKind::Plan => {
                let replaced = Replaced { segments: clear.superseded_index.clone(), expired: gc.expired.clone() };
                self.replaced.insert(clear.generation, replaced);
            }
            GcKind::Finish => {
                self.replaced.remove(&clear.finishes);
            }
            GcKind::Checkpoint | GcKind::Restart => self.begin_anew(clear.kind, states),
        }
        self.expired.extend(&gc.expired);
        self.new_index.extend(&clear.new_index);
        self.doomed_index.extend(&clear.doomed_index);
        self.doomed_names.extend(clear.doomed_names.iter().cloned());
        self.seen.extend(gc.seen.iter().map(|s| (s.statement, s.received)));
        self.heads.extend(gc.heads.iter().map(|h| (h.client, *h)));
        self.confirmed.extend(gc.confirmed.iter().map(|c| (c.client, c.clone())));
        Ok(())
    }

    /// A checkpoint says all that still matters.
    fn begin_anew(&mut self, kind: GcKind, states: &[State]) {
        if kind == GcKind::Checkpoint {
            *self = Self { log: std::mem::take(&mut self.log), last: self.last, time: self.time, ..Self::default() };
        }
        for s in states {
            self.confirmed.extend(s.confirmed.iter().map(|c| (c.client, c.clone())));
            self.forgotten.extend(s.forgotten.iter().map(|f| (f.client, f.clone())));
            self.heads.extend(s.heads.iter().map(|h| (h.client, *h)));
            self.seen.extend(s.seen.iter().map(|s| (s.statement, s.received)));
            self.bad.extend(&s.bad);
        }
    }
}

fn step(clear: &GcClear, states: &[State]) -> Step<PackName, SessionId> {
    match clear.kind {
        GcKind::Plan => Step::Plan(Plan {
            condemned: clear.condemned.iter().copied().collect(),
            live: clear.live_sessions.iter().copied().collect(),
            time: clear.storage_time.sec,
        }),
        GcKind::Finish => Step::Finish {
            of: clear.finishes,
            resurrected: clear.resurrected.clone(),
            doomed: clear.doomed_packs.clone(),
            buried: clear.doomed_names.iter().filter_map(|n| names::parse_session(n)).collect(),
        },
        GcKind::Checkpoint | GcKind::Restart => Step::Checkpoint {
            condemned: states.iter().flat_map(|s| &s.condemned).map(|c| (c.pack, c.generation)).collect(),
            time: clear.storage_time.sec,
            after_loss: clear.kind == GcKind::Restart,
        },
    }
}

impl Repository {
    /// What the gc log says.
    pub fn history(&self) -> Result<History> {
        let mut history = History::default();
        self.catch_up(&mut history)?;
        Ok(history)
    }

    /// Take in what was added to the log since.
    pub fn catch_up(&self, history: &mut History) -> Result<()> {
        let mut failed = None;
        for _ in 0..TRIES {
            match self.read_on(history) {
                // Older records are cleared away behind a checkpoint: then the list has changed.
                Err(e) if e.kind() == ErrorKind::Missing => failed = Some(e),
                other => return other,
            }
        }
        let failed = failed.unwrap_or_else(|| Error::new(ErrorKind::Missing, "the gc log cannot be read"));
        Err(failed.hint("nothing can be deleted or reused safely without it: `orlop check` says what is damaged"))
    }

    fn read_on(&self, history: &mut History) -> Result<()> {
        let known = history.log.generation();
        let listed = self.storage.list(prefix::GC)?;
        let mut generations: Vec<u64> = listed.iter().filter_map(|l| names::parse_gc(l.name.as_str())).collect();
        generations.retain(|g| *g > known);
        generations.sort_unstable();
        // Back to the newest record that says everything.
        let mut records = Vec::new();
        while let Some(generation) = generations.pop() {
            let record = self.load_gc(generation)?;
            let whole = record.clear.kind == GcKind::Checkpoint;
            records.push(record);
            if whole {
                break;
            }
        }
        let mut next = history.clone();
        while let Some(record) = records.pop() {
            if record.clear.kind == GcKind::Checkpoint && record.clear.generation != next.log.generation() + 1 {
                next = History::default();
            }
            let mut states = Vec::new();
            for id in &record.payload.state {
                states.push(self.load_state(*id)?);
            }
            next.add(&record, &states)?;
        }
        *history = next;
        Ok(())
    }

    pub(super) fn load_gc(&self, generation: u64) -> Result<Record<Gc>> {
        let record = self.open_decision::<Gc>(&names::gc(generation))?;
        let author = (record.payload.author, record.payload.author_epoch);
        self.verify_collector(&record, author).doing(|| format!("while reading {}", names::gc(generation)))?;
        Ok(record)
    }

    fn load_state(&self, id: RecordId) -> Result<State> {
        let record = self.open_decision::<State>(&names::state(id))?;
        let author = (record.payload.author, record.payload.author_epoch);
        self.verify_collector(&record, author).doing(|| format!("while reading {}", names::state(id)))?;
        Ok(record.payload)
    }

    fn verify_collector<P: Payload>(&self, record: &Record<P>, (author, epoch): (ClientId, u32)) -> Result<()> {
        let author = self.author(author, epoch)?;
        record.verify(&author.key)?;
        if matches!(author.role, Role::Owner | Role::Maintain) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Damaged, "it is signed by a client that may not collect garbage"))
    }

    /// Say the next thing in the log, and take it in. `false`: somebody else was quicker, and what
    /// was decided may be wrong now.
    pub fn add_to_history(
        &self,
        who: &Identity,
        session: &Session,
        history: &mut History,
        said: Saying,
    ) -> Result<bool> {
        let Saying { mut clear, mut gc } = said;
        clear.generation = history.log.generation() + 1;
        clear.prev = history.last;
        (gc.author, gc.author_epoch, gc.session) = (who.client, who.epoch, session.id);
        (gc.config, gc.nonce) = (self.config_id(), sys::random()?);
        let (_, put) = self.put_decision(who, &gc, &clear)?;
        if put == Put::Exists {
            return Ok(false);
        }
        self.catch_up(history)?;
        Ok(true)
    }
}

/// A record of the log without what follows from its place.
#[derive(Debug, Clone)]
pub struct Saying {
    /// What everybody can read.
    pub clear: GcClear,
    /// What only key holders can.
    pub gc: Gc,
}

impl Saying {
    /// One that says nothing yet.
    pub fn new(kind: GcKind, now: i64) -> Self {
        let clear = GcClear {
            generation: 0,
            prev: RecordId::ZERO,
            kind,
            storage_time: Time { sec: now, nsec: 0 },
            finishes: 0,
            condemned: vec![],
            new_index: vec![],
            superseded_index: vec![],
            live_sessions: vec![],
            resurrected: vec![],
            doomed_packs: vec![],
            doomed_index: vec![],
            doomed_names: vec![],
            ext: vec![],
        };
        let gc = Gc {
            author: ClientId::ZERO,
            author_epoch: 0,
            session: SessionId::ZERO,
            config: RecordId::ZERO,
            heads: vec![],
            expired: vec![],
            confirmed: vec![],
            seen: vec![],
            verdicts: vec![],
            state: vec![],
            lost: None,
            nonce: [0; 16],
            ext: vec![],
        };
        Self { clear, gc }
    }
}
