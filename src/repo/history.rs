//! The gc log: loading what was said, and saying the next thing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Identity, Repository, Session, Snapshot, Tombstone};
use crate::collect::{GivenUp, Log, Plan, Step};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::format::gc::{Confirmed, Forgotten, Gc, GcClear, GcKind, Lost, PackName, Payload, Record, State};
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
    /// The newest checkpoint.
    pub checkpoint: Option<Repeated>,
    /// A record is lost: what it confirmed is not known. Good for reading, and for a restart.
    pub torn: Option<Lost>,
}

/// A checkpoint or restart: the record that takes the place of all before it.
#[derive(Debug, Clone)]
pub struct Repeated {
    /// Its place in the log.
    pub generation: u64,
    /// When it was written, by the storage's clock, in seconds.
    pub time: i64,
    /// The parts of its state.
    pub state: BTreeSet<RecordId>,
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
    /// The generation of the next record.
    pub fn next(&self) -> Result<u64> {
        let next = self.log.generation().checked_add(1).filter(|next| *next < names::PLACES_END);
        next.ok_or_else(|| Error::new(ErrorKind::Damaged, "the gc log has no place left"))
    }

    /// Whether a record says that a snapshot is whole.
    pub fn confirms(&self, client: ClientId, seq: u64) -> bool {
        self.confirmed.get(&client).is_some_and(|c| seq <= c.upto && c.except.binary_search(&seq).is_err())
    }

    /// Whether a place in a chain was given up for good.
    pub fn forgot(&self, client: ClientId, seq: u64) -> bool {
        let ranges = self.forgotten.get(&client).map_or(&[][..], |f| &f.ranges);
        ranges.iter().any(|(first, last)| (*first..=*last).contains(&seq))
    }

    /// What was given up of a chain, for good.
    pub fn given_up(&self, client: ClientId) -> GivenUp<RecordId> {
        let f = self.forgotten.get(&client);
        f.map(|f| GivenUp { ranges: f.ranges.clone(), anchors: f.anchors.iter().copied().collect() })
            .unwrap_or_default()
    }

    /// Whether a record says that a session's objects go. What is still there of it, or appears there later,
    /// says nothing any more.
    pub fn buried(&self, session: SessionId) -> bool {
        let all = format!("{}{session}/", prefix::SESSIONS);
        self.doomed_names.range(all.clone()..).next().is_some_and(|name| name.starts_with(&all))
    }

    /// Whether a place in a chain is empty by what the log says. A tombstone that was taken back when
    /// a finish had acted upon it brings nothing back, and leaves no gap that nobody can explain.
    pub fn gave_up(&self, client: ClientId, seq: u64) -> bool {
        self.forgot(client, seq) || self.doomed_names.contains(&names::snapshot(client, seq))
    }

    /// Whether a prune may have acted upon the decision to forget a snapshot, so that it cannot be brought back.
    pub fn beyond_recall(&self, s: &Snapshot, tombstones: &[Tombstone]) -> bool {
        let forgot = self.forgot(s.statement.client, s.statement.seq);
        forgot || tombstones.iter().any(|t| self.expired.contains(&t.id))
    }

    fn add(&mut self, record: &Record<Gc>, states: &[State]) -> Result<()> {
        let (clear, gc) = (&record.clear, &record.payload);
        let step = step(clear, states);
        // Where a record is missing, the next one does not follow either: what is missing is said first.
        self.log.add(clear.generation, step).map_err(|e| Error::new(ErrorKind::Missing, e.to_string()))?;
        let follows = clear.kind == GcKind::Restart || self.last == RecordId::ZERO || clear.prev == self.last;
        if !follows {
            let what = format!("{} does not follow the record before it", names::gc(clear.generation));
            return Err(Error::new(ErrorKind::Damaged, what));
        }
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
            GcKind::Checkpoint | GcKind::Restart => {
                self.begin_anew(states);
                let state = gc.state.iter().copied().collect();
                self.checkpoint = Some(Repeated { generation: clear.generation, time: self.time, state });
            }
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

    /// A checkpoint says all that still matters, and so does a restart.
    fn begin_anew(&mut self, states: &[State]) {
        *self = Self { log: std::mem::take(&mut self.log), last: self.last, time: self.time, ..Self::default() };
        self.learn(states);
    }

    fn learn(&mut self, states: &[State]) {
        for s in states {
            self.confirmed.extend(s.confirmed.iter().map(|c| (c.client, c.clone())));
            self.forgotten.extend(s.forgotten.iter().map(|f| (f.client, f.clone())));
            self.heads.extend(s.heads.iter().map(|h| (h.client, *h)));
            self.seen.extend(s.seen.iter().map(|s| (s.statement, s.received)));
            self.bad.extend(&s.bad);
        }
    }
}

fn unreadable(e: Error) -> Error {
    e.hint("nothing can be deleted or reused safely without it: `orlop check` says what is damaged").hint(
        "what only reads goes on; if the record will not come back, `orlop prune --accept-lost` goes on without it",
    )
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
        GcKind::Checkpoint | GcKind::Restart => {
            // A restart condemns all that it names itself: nobody knows who has read an earlier plan.
            let by = |of: u64| if clear.kind == GcKind::Restart { clear.generation } else { of };
            let condemned = states.iter().flat_map(|s| &s.condemned).map(|c| (c.pack, by(c.generation)));
            let live = clear.live_sessions.iter().copied().collect();
            Step::Whole { condemned: condemned.collect(), live, time: clear.storage_time.sec }
        }
    }
}

/// Whether a record takes the place of all before it.
fn is_whole(clear: &GcClear) -> bool {
    matches!(clear.kind, GcKind::Checkpoint | GcKind::Restart)
}

fn is_lost(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Missing | ErrorKind::Damaged)
}

impl Repository {
    /// What the gc log says.
    pub fn history(&self) -> Result<History> {
        let mut history = History::default();
        self.catch_up(&mut history)?;
        Ok(history)
    }

    /// What the gc log says to whoever only reads snapshots: where a record is lost, or a disk cannot read it,
    /// what the others say. Those are told to `trouble`.
    pub fn history_to_read(&self, trouble: &dyn Fn(&str, Error)) -> Result<History> {
        self.history_despite(|e| is_lost(e) || e.is_from_the_disk(), trouble)
    }

    /// The same for whoever decides by it that a record is lost for good: what a disk cannot read may come back.
    pub fn history_after_loss(&self, trouble: &dyn Fn(&str, Error)) -> Result<History> {
        self.history_despite(is_lost, trouble)
    }

    fn history_despite(&self, pass: fn(&Error) -> bool, trouble: &dyn Fn(&str, Error)) -> Result<History> {
        match self.history() {
            Err(e) if pass(&e) => self.piece_together(pass, trouble),
            other => other,
        }
    }

    fn piece_together(&self, pass: fn(&Error) -> bool, trouble: &dyn Fn(&str, Error)) -> Result<History> {
        let listed = self.storage.list(prefix::GC)?;
        let mut generations: Vec<u64> = listed.iter().filter_map(|l| names::parse_gc(l.name.as_str())).collect();
        generations.sort_unstable();
        let top = generations.last().copied().unwrap_or(0);
        let (mut records, mut lost) = (Vec::new(), BTreeSet::new());
        while let Some(generation) = generations.pop() {
            match self.load_gc_and_states(generation) {
                Ok(found) => {
                    let whole = is_whole(&found.0.clear);
                    records.push(found);
                    if whole {
                        break;
                    }
                }
                Err(e) if !pass(&e) => return Err(e),
                Err(e) => {
                    lost.insert(generation);
                    trouble(&names::gc(generation), e);
                }
            }
        }
        let mut out = History::default();
        // The parts of a lost checkpoint say for which one they were made.
        for l in self.storage.list(prefix::STATE)? {
            let id = l.name.as_str().strip_prefix(prefix::STATE).and_then(|id| RecordId::parse(id).ok());
            let state = id.and_then(|id| self.load_state(id).ok()).filter(|s| lost.contains(&s.generation));
            out.learn(state.as_slice());
        }
        while let Some((record, states)) = records.pop() {
            let generation = record.clear.generation;
            if !is_whole(&record.clear) && out.log.generation().checked_add(1) != Some(generation) {
                let before = generation.saturating_sub(1);
                if lost.insert(before) {
                    let what = "it is gone from between others";
                    trouble(&names::gc(before), Error::new(ErrorKind::Missing, what));
                }
                out.log.pass_over(before, out.time);
                out.last = RecordId::ZERO;
            }
            out.add(&record, &states)?;
        }
        if out.log.generation() < top {
            out.log.pass_over(top, out.time);
        }
        let newest = lost.last().copied();
        out.torn = newest.map(|generation| self.what_is_lost(generation, pass)).transpose()?;
        Ok(out)
    }

    /// A lost record, with the hash of what is stored in its place, if that is no longer than any may be.
    fn what_is_lost(&self, generation: u64, pass: fn(&Error) -> bool) -> Result<Lost> {
        match self.storage.get(&super::objects::name(&names::gc(generation))?, super::objects::STORED_MAX) {
            Ok(bytes) => Ok(Lost { generation, raw: Some(*blake3::hash(&bytes).as_bytes()) }),
            Err(e) => match Error::from(e) {
                e if pass(&e) => Ok(Lost { generation, raw: None }),
                e => Err(e),
            },
        }
    }

    fn load_gc_and_states(&self, generation: u64) -> Result<(Record<Gc>, Vec<State>)> {
        let record = self.load_gc(generation)?;
        let states = record.payload.state.iter().map(|id| self.load_state(*id)).collect::<Result<Vec<_>>>()?;
        Ok((record, states))
    }

    /// Whether there are newer records than that of this generation.
    pub fn log_went_on(&self, generation: u64) -> Result<bool> {
        let listed = self.storage.list(prefix::GC)?;
        Ok(listed.iter().filter_map(|l| names::parse_gc(l.name.as_str())).any(|g| g > generation))
    }

    /// Take in what was added to the log since.
    pub fn catch_up(&self, history: &mut History) -> Result<()> {
        let mut failed = None;
        for _ in 0..TRIES {
            match self.read_on(history) {
                // Older records are cleared away behind a checkpoint: then the list has changed.
                Err(e) if e.kind() == ErrorKind::Missing => {
                    self.look_away();
                    failed = Some(e);
                }
                Err(e) if e.kind() == ErrorKind::Damaged => return Err(unreadable(e)),
                other => return other,
            }
        }
        let failed = failed.unwrap_or_else(|| Error::new(ErrorKind::Missing, "the gc log cannot be read"));
        Err(unreadable(failed))
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
            let whole = is_whole(&record.clear);
            records.push(record);
            if whole {
                break;
            }
        }
        let mut next = history.clone();
        while let Some(record) = records.pop() {
            if is_whole(&record.clear) && next.log.generation().checked_add(1) != Some(record.clear.generation) {
                // What was condemned before is remembered, and nothing else.
                next = History { log: next.log, ..History::default() };
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

    pub(super) fn load_state(&self, id: RecordId) -> Result<State> {
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
        clear.generation = history.next()?;
        clear.prev = if clear.kind == GcKind::Restart { RecordId::ZERO } else { history.last };
        (gc.author, gc.author_epoch, gc.session) = (who.client, who.epoch, session.id);
        (gc.config, gc.nonce) = (self.config_id(), sys::random()?);
        let (id, put) = self.put_decision(who, &gc, &clear)?;
        if put == Put::Exists {
            return Ok(false);
        }
        let said = self.is_in_log(clear.generation, id)?;
        self.catch_up(history)?;
        Ok(said)
    }

    /// Whether a record that was just made is a part of the log. Records before a checkpoint are
    /// cleared away, so that a collector that slept through all that finds the name it wants free
    /// again: nobody ever reads what it then writes.
    fn is_in_log(&self, generation: u64, id: RecordId) -> Result<bool> {
        if !self.log_went_on(generation)? {
            return Ok(true);
        }
        match self.load_gc(generation.saturating_add(1)) {
            Ok(next) => Ok(next.clear.prev == id),
            Err(e) if e.kind() == ErrorKind::Missing => Ok(false),
            Err(e) => Err(e),
        }
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
        let clear = GcClear::new(kind, Time { sec: now, nsec: 0 });
        Self { clear, gc: Gc::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::keys::Credential;
    use crate::format::records::Purpose;
    use crate::model::Body;
    use crate::repo::snapshots::tests::{made, statement};
    use crate::repo::{AfterLoss, NewSnapshot, Repeating, objects, open};

    struct World {
        repo: Repository,
        who: Identity,
        session: Session,
    }

    impl World {
        fn new() -> Self {
            let mut repo = made();
            let who = repo.identity(Some("test")).unwrap();
            let session = repo.begin(&who, Purpose::Gc, vec![]).unwrap();
            Self { repo, who, session }
        }

        fn say(&self, history: &mut History, kind: GcKind) -> bool {
            let saying = Saying::new(kind, 1000);
            self.repo.add_to_history(&self.who, &self.session, history, saying).unwrap()
        }

        fn plan(&self) {
            assert!(self.say(&mut self.repo.history().unwrap(), GcKind::Plan));
        }

        fn checkpoint(&self, forgotten: Vec<Forgotten>) {
            let mut history = self.repo.history().unwrap();
            let state = State {
                generation: history.log.generation() + 1,
                author: self.who.client,
                author_epoch: self.who.epoch,
                forgotten,
                ..State::default()
            };
            let (id, _) = self.repo.put_decision(&self.who, &state, &()).unwrap();
            let mut saying = Saying::new(GcKind::Checkpoint, 2000);
            saying.gc.state = vec![id];
            assert!(self.repo.add_to_history(&self.who, &self.session, &mut history, saying).unwrap());
        }

        fn delete(&self, name: &str) {
            self.repo.storage.delete(&objects::name(name).unwrap()).unwrap();
        }

        fn commit(&self) -> RecordId {
            let new = NewSnapshot { statement: statement(&self.repo, &self.who), body: Body::default() };
            self.repo.commit(&self.who, &self.session, new).unwrap()
        }

        fn lose(&self, seq: u64) {
            let name = names::snapshot(self.who.client, seq);
            self.delete(&name);
            self.delete(&names::copy_of(&name));
        }

        /// What a listing complains about: places and kinds.
        fn troubles(&self) -> Vec<(u64, ErrorKind)> {
            let told = std::sync::Mutex::new(vec![]);
            let trouble = |name: &str, e: Error| {
                let (_, seq) = names::parse_snapshot(name).unwrap();
                told.lock().unwrap().push((seq, e.kind()));
            };
            self.repo.snapshots(&trouble).unwrap();
            told.into_inner().unwrap()
        }

        fn forgotten(&self, first: u64, last: u64, anchor: RecordId) -> Vec<Forgotten> {
            vec![Forgotten { client: self.who.client, ranges: vec![(first, last)], anchors: vec![(last, anchor)] }]
        }
    }

    #[test]
    fn who_was_enrolled_since_is_met() {
        let w = World::new();
        w.plan();
        let mut history = w.repo.history().unwrap();
        let mut other = open(w.repo.storage().clone(), &Credential::Nothing, None).unwrap();
        let who = other.identity(Some("newcomer")).unwrap();
        let session = other.begin(&who, Purpose::Backup, vec![]).unwrap();
        let new = NewSnapshot { statement: statement(&other, &who), body: Body::default() };
        let id = other.commit(&who, &session, new).unwrap();
        let other = World { repo: other, who, session };
        other.plan();
        w.repo.catch_up(&mut history).unwrap();
        assert_eq!(history.log.generation(), 2);
        let seen = w.repo.snapshots(&|name, e| panic!("{name}: {e}")).unwrap();
        assert_eq!(seen.iter().map(|s| s.id).collect::<Vec<_>>(), [id]);
        assert!(w.repo.sessions().unwrap().open.iter().any(|s| s.open.client == other.who.client));
    }

    #[test]
    fn a_log_is_read_from_its_newest_checkpoint_and_no_other_gap_is_accepted() {
        let w = World::new();
        w.plan();
        let mut early = w.repo.history().unwrap();
        w.plan();
        w.checkpoint(vec![]);
        w.plan();
        w.delete(&names::gc(1));
        w.delete(&names::gc(2));
        w.repo.catch_up(&mut early).unwrap();
        for history in [w.repo.history().unwrap(), early] {
            assert_eq!(history.log.generation(), 4);
            assert_eq!(history.log.plans().keys().copied().collect::<Vec<_>>(), [4]);
        }
        w.plan();
        w.delete(&names::gc(4));
        assert_eq!(w.repo.history().unwrap_err().kind(), ErrorKind::Missing);
    }

    /// Bytes that nobody can read stand at its place, or none; whoever has read it, or not, goes on behind it.
    #[test]
    fn a_restart_goes_on_where_a_record_was_lost() {
        for (lost, gone) in [(3, false), (2, false), (2, true)] {
            let w = World::new();
            w.checkpoint(w.forgotten(1, 1, RecordId([1; 32])));
            let mut early = w.repo.history().unwrap();
            w.plan();
            w.plan();
            let mut knows = w.repo.history().unwrap();
            w.delete(&names::gc(lost));
            if !gone {
                w.repo.put_small(&names::gc(lost), b"rubbish").unwrap();
            }
            let kind = if gone { ErrorKind::Missing } else { ErrorKind::Damaged };
            assert_eq!(w.repo.history().unwrap_err().kind(), kind);
            let session = w.repo.begin_after_loss(&w.who, &|_, _| {}).unwrap();
            let mut torn = session.history();
            let stands = || w.repo.storage.get(&objects::name(&names::gc(lost)).unwrap(), 9999).unwrap();
            let raw = (!gone).then(|| *blake3::hash(&stands()).as_bytes());
            assert_eq!(torn.torn, Some(Lost { generation: lost, raw }));
            let pack = PackName { id: PackId([7; 32]), uploader: [1; 4] };
            let after = AfterLoss {
                lost: torn.torn.unwrap(),
                condemned: BTreeSet::from([pack]),
                live: BTreeSet::from([w.session.id]),
            };
            let (confirmed, heads) = (BTreeMap::new(), vec![]);
            let said = Repeating { confirmed, heads, doomed: vec![], time: 3000, after: Some(after) };
            let tombstones = w.repo.tombstones(&|_, _| {}).unwrap();
            assert!(w.repo.repeat(&w.who, &session, &mut torn, &tombstones, said).unwrap());
            let fresh = w.repo.history().unwrap();
            w.repo.catch_up(&mut early).unwrap();
            w.repo.catch_up(&mut knows).unwrap();
            for mut history in [torn, fresh, early, knows] {
                assert_eq!((history.log.generation(), history.log.last_finish()), (4, 4));
                assert!(history.log.plan_of(&pack) == Some(4) && history.forgot(w.who.client, 1));
                assert!(history.log.plans()[&4].live.contains(&w.session.id) && history.torn.is_none());
                assert!(w.say(&mut history, GcKind::Plan));
                w.delete(&names::gc(5));
            }
        }
    }

    /// The name of its record is free again, and yet there is no place in the log for it.
    #[test]
    fn who_slept_while_the_log_was_cleared_says_nothing() {
        for sleeps_at in [0, 1] {
            let w = World::new();
            let mut asleep = w.repo.history().unwrap();
            w.plan();
            if sleeps_at == 1 {
                asleep = w.repo.history().unwrap();
            }
            w.plan();
            w.checkpoint(vec![]);
            w.delete(&names::gc(1));
            w.delete(&names::gc(2));
            assert!(!w.say(&mut asleep, GcKind::Plan), "{sleeps_at}");
            // It goes on from where the log is.
            assert_eq!(asleep.log.generation(), 3);
            assert!(asleep.log.plans().is_empty());
            assert!(w.say(&mut asleep, GcKind::Plan));
            assert_eq!(w.repo.history().unwrap().log.generation(), 4);
        }
    }

    #[test]
    fn a_checkpoint_explains_the_places_that_it_names_and_no_others() {
        let w = World::new();
        let ids: Vec<RecordId> = (0..6).map(|_| w.commit()).collect();
        w.lose(2);
        w.lose(3);
        let missing = |seq| (seq, ErrorKind::Missing);
        assert_eq!(w.troubles(), [missing(2), missing(3)]);
        w.checkpoint(w.forgotten(2, 3, ids[2]));
        assert_eq!(w.troubles(), []);
        // The anchor is what the survivor names as its predecessor, and nothing else.
        w.checkpoint(w.forgotten(2, 3, ids[1]));
        assert_eq!(w.troubles(), [(4, ErrorKind::Substituted)]);
        w.checkpoint(w.forgotten(2, 3, ids[2]));
        w.lose(4);
        assert_eq!(w.troubles(), [missing(4)]);
        // A newer checkpoint says all: what it leaves out is explained no more.
        w.checkpoint(w.forgotten(3, 4, ids[3]));
        assert_eq!(w.troubles(), [missing(2)]);
    }

    /// Its tombstones were cleared away since it looked, so that the first place looks free.
    #[test]
    fn who_slept_through_a_checkpoint_commits_behind_what_was_given_up() {
        let w = World::new();
        let ids: Vec<RecordId> = (0..3).map(|_| w.commit()).collect();
        (1..=3).for_each(|seq| w.lose(seq));
        w.checkpoint(w.forgotten(1, 3, ids[2]));
        assert!(w.session.history().forgotten.is_empty());
        let next = w.commit();
        let all = w.repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
        let places: Vec<_> = all.iter().map(|s| (s.id, s.statement.seq, s.statement.prev)).collect();
        assert_eq!(places, [(next, 4, ids[2])]);
        // What it put there first is nothing, and goes.
        let first = objects::name(&names::snapshot(w.who.client, 1)).unwrap();
        assert!(w.repo.storage.head(&first).unwrap().is_some());
        w.repo.clear_behind_checkpoint(&w.repo.history().unwrap()).unwrap();
        assert!(w.repo.storage.head(&first).unwrap().is_none());
        assert_eq!(w.troubles(), []);
    }

    #[test]
    fn who_looks_behind_its_close_finds_that_its_place_was_given_up() {
        for given_up in [false, true] {
            let w = World::new();
            let ids: Vec<RecordId> = (0..3).map(|_| w.commit()).collect();
            if given_up {
                (1..=3).for_each(|seq| w.lose(seq));
                w.checkpoint(w.forgotten(1, 3, ids[2]));
            }
            let new = NewSnapshot { statement: statement(&w.repo, &w.who), body: Body::default() };
            let head = w.repo.commit_ahead(&w.who, &w.session, &new).unwrap();
            let closed = w.repo.close_behind(&w.session, head).map_err(|e| e.kind());
            assert_eq!((head.seq, closed), if given_up { (1, Err(ErrorKind::Fenced)) } else { (4, Ok(())) });
        }
    }

    /// Of three checkpoints the newest counts: what the others said is in it, or over.
    #[test]
    fn behind_a_checkpoint_only_what_it_names_is_left() {
        let w = World::new();
        (0..3).for_each(|_| {
            w.plan();
            w.checkpoint(vec![]);
        });
        let count = |p: &str| w.repo.storage.list(p).unwrap().len();
        assert_eq!((count("gc/"), count("state/")), (6, 3));
        let history = w.repo.history().unwrap();
        // Made for a checkpoint that is still to come.
        let state = State { generation: 7, author: w.who.client, author_epoch: w.who.epoch, ..State::default() };
        w.repo.put_decision(&w.who, &state, &()).unwrap();
        w.repo.clear_behind_checkpoint(&history).unwrap();
        assert_eq!((count("gc/"), count("state/")), (1, 2));
        assert_eq!(w.repo.history().unwrap().log.generation(), 6);
    }

    #[test]
    fn a_chain_goes_on_behind_a_head_that_only_a_checkpoint_knows() {
        let w = World::new();
        let ids: Vec<RecordId> = (0..3).map(|_| w.commit()).collect();
        (1..=3).for_each(|seq| w.lose(seq));
        w.checkpoint(w.forgotten(1, 3, ids[2]));
        w.session.go_by(w.repo.history().unwrap());
        let next = w.commit();
        let all = w.repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
        let places: Vec<_> = all.iter().map(|s| (s.id, s.statement.seq, s.statement.prev)).collect();
        assert_eq!(places, [(next, 4, ids[2])]);
    }
}
