//! What each process does next: one action, one request to the storage. Every decision is made by
//! the functions of `orlop::collect`, which the program uses, too.

pub mod state;

use std::collections::BTreeSet;

use orlop::collect::{self, Facts, Fate, Live, Standing, Validity};
use stateright::{Model, Property};

use state::*;

/// A rule that is left out, to see that it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    Nothing,
    /// R1: what is condemned is used.
    R1,
    /// R2: a base that is forgotten is relied on.
    R2,
    /// R2: a base that is not confirmed is relied on.
    Confirmed,
    /// R2: a base counts although its session was cleared away, and no record says that it is whole.
    Cleared,
    /// R4: bases of open sessions are no roots.
    R4,
    /// Heartbeats pin nothing.
    Pins,
    /// I5, together with pins of what was written.
    I5AndWrote,
    /// I6: a finish waits for nobody.
    I6,
    /// I6: a finish does not wait for what is not visible yet.
    I6Delay,
    /// I7: snapshots are listed before sessions.
    I7,
    /// A finish does not mark again.
    MarkAgain,
    /// A finish takes snapshots for dead that its plan did not.
    OnlyThePlansDead,
    /// A fenced session's close is taken for its own.
    CloseOnce,
    /// Who closes does not look whether its beginning is still there.
    LookBack,
    /// V: a close counts although the session's beginning is gone.
    ClosedAndOpened,
    /// V: a session that a record buries counts while something of it is there.
    Buried,
    /// I10: any snapshot that is seen is confirmed.
    I10,
    /// The log takes two records for one place.
    Exclusive,
    /// I8: packs are deleted before the record is written.
    I8,
    /// Of a session the close is deleted before its beginning.
    CloseLast,
    /// A checkpoint is written while something doomed is there.
    CheckpointGone,
    /// Behind a checkpoint, what was condemned before it is used.
    CheckpointPast,
    /// A checkpoint does not repeat what is confirmed.
    CheckpointConfirms,
    /// A checkpoint lists snapshots before sessions.
    CheckpointOrder,
    /// A checkpoint counts as if nothing had been deleted before it.
    CheckpointLast,
    /// A checkpoint is written while a plan waits for its finish.
    CheckpointOpen,
    /// A checkpoint does not repeat which tombstones a plan listed.
    CheckpointExpired,
}

/// Every rule with its name in the specification.
pub const RULES: [(Without, &str); 22] = [
    (Without::R1, "R1: blobs of condemned packs count as absent"),
    (Without::R2, "R2: a forgotten base is dropped"),
    (Without::Confirmed, "R2: a base is confirmed"),
    (Without::Cleared, "R2: the session of a base is there, or a record confirms it"),
    (Without::R4, "R4: bases of open sessions are roots"),
    (Without::Pins, "pins in heartbeats"),
    (Without::I5AndWrote, "I5, and pins of packs that were written"),
    (Without::I6, "I6: a finish waits for sessions or fences them"),
    (Without::I6Delay, "I6: by a listing 2D after the plan"),
    (Without::I7, "I7: sessions are listed before snapshots"),
    (Without::MarkAgain, "F3: a finish marks again"),
    (Without::OnlyThePlansDead, "F3: of the dead, only those that a plan named"),
    (Without::CloseOnce, "B6: one name for every close"),
    (Without::LookBack, "B6: whoever closes looks whether its beginning is there"),
    (Without::ClosedAndOpened, "V: a close counts beside its beginning"),
    (Without::I10, "I10: late snapshots are not confirmed after a finish"),
    (Without::CloseLast, "F7: of a session the close goes last"),
    (Without::CheckpointGone, "K1: a checkpoint waits until what is doomed is gone"),
    (Without::CheckpointPast, "K3: what was condemned stays so for whoever read it before a checkpoint"),
    (Without::CheckpointConfirms, "K2: a checkpoint repeats what is confirmed"),
    (Without::CheckpointOrder, "K1: before a checkpoint sessions are listed, then snapshots"),
    (Without::CheckpointLast, "K3: before a checkpoint anything may have been deleted"),
];

/// Rules without which nothing is lost here; the page says why they stay.
pub const SPARE: [Without; 5] =
    [Without::Buried, Without::Exclusive, Without::I8, Without::CheckpointOpen, Without::CheckpointExpired];

/// Things that should happen, or the search shows little.
pub const EVENTS: [(u8, &str); 8] = [
    (DELETED, "a pack is deleted"),
    (RESURRECTED, "a condemned pack is resurrected"),
    (FENCED, "a session is fenced"),
    (RECOMMITTED, "a fenced session commits again and is whole"),
    (REPACKED, "a pack is packed again"),
    (CAME_LATE, "a snapshot comes late"),
    (PINNED, "a condemned pack is pinned"),
    (REPEATED, "a checkpoint is written"),
];

/// The size of a world, and how its storage behaves.
#[derive(Debug, Clone)]
pub struct World {
    pub name: &'static str,
    /// What is written is not seen by everybody at once.
    pub delays: bool,
    /// Listings take time, and may or may not have what is made meanwhile.
    pub slow_listings: bool,
    /// Who looks for a parent lists snapshots, then sessions, then reads what it listed.
    pub slow_looks: bool,
    /// What each client wants to keep.
    pub clients: Vec<Set>,
    pub collectors: u8,
    pub plans: u8,
    pub finishes: u8,
    pub checkpoints: u8,
    pub beats: u8,
    pub tries: u8,
    pub crashes: u8,
    pub repack: bool,
    pub late_puts: bool,
    pub bury: bool,
    /// It begins after a plan that condemned what the first client has found already.
    pub planned: bool,
    pub without: Without,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Client(u8, ClientStep),
    Collector(u8, CollectorStep),
    Reveal(Hidden),
    Arrive(u8),
    Forget(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientStep {
    ListSnapshots,
    ListSessions,
    Choose(Option<u8>),
    Open,
    Load,
    Look,
    Put,
    BeatLoad,
    BeatPut,
    Commit,
    CommitAndGiveUp,
    Close,
    Check,
    Crash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectorStep {
    BeginPlan,
    BeginFinish(u8),
    BeginCheckpoint,
    ListPacks,
    BeginListing,
    EndListing(Set),
    BeginWait,
    EndWait,
    Repack,
    Condemn,
    Fence(u8),
    GiveUp,
    Doom,
    Repeat,
    DeletePack(u8),
    DeleteSnapshot(u8),
    DeleteOpen(u8),
    DeleteClose(u8),
    Crash,
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let session = Session {
            collects: false,
            open: true,
            open_hidden: false,
            base: None,
            seen: 0,
            pins: 0,
            beat_hidden: None,
            close: Some(Close::End(1)),
            close_hidden: false,
        };
        let first =
            Snapshot { blobs: 0b011, session: 0, there: true, hidden: false, tombstoned: false, in_flight: false };
        let pack = |blobs| Pack { blobs, session: 0, there: true };
        let client = |wants: &Set| Client {
            at: self.beginning(),
            wants: *wants,
            session: 0,
            listed: 0,
            opened: 0,
            closed: 0,
            base: None,
            stands: Validity::Late,
            seen: 0,
            first: 0,
            index: 0,
            used: 0,
            wrote: 0,
            new: 0,
            beating: None,
            beats: 0,
            tries: 0,
            snapshot: None,
        };
        let collector = Collector {
            doing: Doing::Idle,
            session: None,
            generation: 0,
            finishing: 0,
            settled: 0,
            listing: None,
            waiting: None,
            waited: 0,
            listed: 0,
            open: 0,
            pins: 0,
            bases: 0,
            holdouts: 0,
            needed: 0,
            condemn: 0,
            expired: 0,
            confirmed: 0,
            snapshots: 0,
            plans: 0,
            finishes: 0,
            checkpoints: 0,
            repeats: false,
        };
        let mut begin = State {
            packs: vec![pack(0b011), pack(0b100)],
            snapshots: vec![first],
            sessions: vec![session],
            log: vec![],
            clients: self.clients.iter().map(client).collect(),
            collectors: vec![collector; self.collectors.into()],
            reported: 1,
            tombstones: 0,
            crashes: 0,
            events: 0,
        };
        if self.checkpoints > 0 && self.collectors > 1 {
            // One plans and finishes, the other repeats.
            begin.collectors[0].checkpoints = self.checkpoints;
            (begin.collectors[1].plans, begin.collectors[1].finishes) = (self.plans, self.finishes);
        }
        if self.planned {
            begin.sessions.push(Session { close: None, ..session });
            begin.log.push(Record::Plan { condemned: 0b10, live: 0b10, expired: 0, hidden: false });
            begin.clients[0] = Client { at: At::Commit, session: 1, used: 0b11, ..begin.clients[0] };
        }
        vec![begin]
    }

    fn actions(&self, s: &State, out: &mut Vec<Action>) {
        for (n, c) in (0..).zip(&s.clients) {
            self.client_actions(s, n, c, out);
        }
        for (n, c) in (0..).zip(&s.collectors) {
            self.collector_actions(s, n, c, out);
        }
        out.extend(s.hidden().into_iter().map(Action::Reveal));
        let snapshots = || (0..).zip(&s.snapshots);
        out.extend(snapshots().filter(|(_, z)| z.in_flight && !z.there).map(|(n, _)| Action::Arrive(n)));
        if s.tombstones < self.plans.max(1) {
            out.extend(
                snapshots().filter(|(_, z)| z.there && !z.tombstoned && !z.hidden).map(|(n, _)| Action::Forget(n)),
            );
        }
    }

    fn next_state(&self, s: &State, action: Action) -> Option<State> {
        let mut next = s.clone();
        match action {
            Action::Client(n, step) => self.client(&mut next, n, step),
            Action::Collector(n, step) => self.collect(&mut next, n, step)?,
            Action::Reveal(what) => next.reveal(what),
            Action::Arrive(n) => {
                let z = &mut next.snapshots[usize::from(n)];
                (z.there, z.in_flight, z.hidden) = (true, false, self.delays);
                next.events |= CAME_LATE;
            }
            Action::Forget(n) => {
                next.snapshots[usize::from(n)].tombstoned = true;
                next.tombstones += 1;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut out = vec![
            Property::always("what a confirmed snapshot needs is there", |w: &Self, s: &State| {
                let stored = s.stored();
                let open_needed = w.without != Without::ClosedAndOpened;
                (0..).zip(&s.snapshots).all(|(n, z)| {
                    !z.there
                        || z.tombstoned
                        || s.validity(n, s.log.len() as u8, true, open_needed) == Validity::Late
                        || z.blobs & !stored == 0
                })
            }),
            Property::always("what was reported as a success is whole", |_, s: &State| {
                let stored = s.stored();
                members(s.reported).all(|n| {
                    let z = &s.snapshots[usize::from(n)];
                    z.tombstoned || (z.there && z.blobs & !stored == 0)
                })
            }),
            Property::always("what was reported as a success counts", |w: &Self, s: &State| {
                let open_needed = w.without != Without::ClosedAndOpened;
                let late = |n| s.validity(n, s.log.len() as u8, true, open_needed) == Validity::Late;
                members(s.reported).all(|n| s.snapshots[usize::from(n)].tombstoned || !late(n))
            }),
        ];
        out.push(Property::sometimes(EVENTS[0].1, |_, s: &State| s.events & DELETED != 0));
        out.push(Property::sometimes(EVENTS[1].1, |_, s: &State| s.events & RESURRECTED != 0));
        out.push(Property::sometimes(EVENTS[2].1, |_, s: &State| s.events & FENCED != 0));
        out.push(Property::sometimes(EVENTS[3].1, |_, s: &State| s.events & RECOMMITTED != 0));
        out.push(Property::sometimes(EVENTS[4].1, |_, s: &State| s.events & REPACKED != 0));
        out.push(Property::sometimes(EVENTS[5].1, |_, s: &State| s.events & CAME_LATE != 0));
        out.push(Property::sometimes(EVENTS[6].1, |_, s: &State| s.events & PINNED != 0));
        out.push(Property::sometimes(EVENTS[7].1, |_, s: &State| s.events & REPEATED != 0));
        out
    }
}

impl World {
    fn client_actions(&self, s: &State, n: u8, c: &Client, out: &mut Vec<Action>) {
        use ClientStep as C;
        let mut act = |step| out.push(Action::Client(n, step));
        match c.at {
            At::Snapshots => act(C::ListSnapshots),
            At::Sessions => act(C::ListSessions),
            At::Choose => {
                act(C::Choose(None));
                let valid = |z: u8| self.looks_like(s, c, z) != Validity::Late;
                let free = |(_, z): &(u8, &Snapshot)| z.there && !z.hidden && !z.tombstoned;
                let known = (0..).zip(&s.snapshots).filter(free).map(|(z, _)| z).filter(|z| valid(*z));
                // A base that has nothing of what is wanted is none.
                let of_use = |z: &u8| s.snapshots[usize::from(*z)].blobs & c.wants != 0;
                known.filter(of_use).for_each(|z| act(C::Choose(Some(z))));
            }
            At::Open => act(C::Open),
            At::Load => act(C::Load),
            At::Look => act(C::Look),
            At::Put => act(C::Put),
            At::Commit => {
                act(C::Commit);
                if self.late_puts {
                    act(C::CommitAndGiveUp);
                }
            }
            At::Close => act(C::Close),
            At::Check => act(C::Check),
            At::Done | At::Dead => return,
        }
        let works = (At::Look..=At::Commit).contains(&c.at);
        if works && c.beating.is_some() {
            act(C::BeatPut);
        } else if works && c.beats < self.beats && s.visible_generation() > c.seen {
            act(C::BeatLoad);
        }
        if s.crashes < self.crashes {
            act(C::Crash);
        }
    }

    fn client(&self, s: &mut State, n: u8, step: ClientStep) {
        use ClientStep as C;
        let mut c = s.clients[usize::from(n)];
        match step {
            C::ListSnapshots => (c.listed, c.at) = (existing(s, false), At::Sessions),
            C::ListSessions => {
                c.seen = s.visible_generation();
                for (n, x) in (0..).zip(&s.sessions) {
                    c.opened |= Set::from(x.open && !x.open_hidden) << n;
                    c.closed |= Set::from(x.close.is_some() && !x.close_hidden) << n;
                }
                c.at = At::Choose;
            }
            C::Choose(base) => {
                c.stands = base.map_or(Validity::Late, |z| self.looks_like(s, &c, z));
                (c.base, c.at) = (base, At::Open);
            }
            C::Open => {
                c.session = s.sessions.len() as u8;
                s.sessions.push(Session {
                    collects: false,
                    open: true,
                    open_hidden: self.delays,
                    base: c.base,
                    seen: 0,
                    pins: 0,
                    beat_hidden: None,
                    close: None,
                    close_hidden: false,
                });
                c.at = At::Load;
            }
            C::Load => {
                c.seen = s.visible_generation();
                c.first = c.seen;
                c.index = there(s);
                if let Some(z) = c.base {
                    let z = &s.snapshots[usize::from(z)];
                    let validity = match self.without {
                        Without::Confirmed => Validity::Confirmed,
                        _ => self.still_stands(s, &c),
                    };
                    let stands = collect::base_stands(z.tombstoned, !z.there, false, validity);
                    if !stands && self.without != Without::R2 {
                        c.base = None;
                    }
                }
                c.at = At::Look;
            }
            C::Look => {
                self.look_up(s, &mut c);
                c.at = if c.new == 0 { At::Commit } else { At::Put };
            }
            C::Put => {
                c.wrote |= 1 << s.packs.len();
                s.packs.push(Pack { blobs: c.new, session: c.session, there: true });
                c.at = At::Commit;
            }
            C::BeatLoad => {
                c.seen = s.visible_generation();
                let used = match self.without {
                    Without::Pins => 0,
                    Without::I5AndWrote => c.used,
                    _ => c.used | c.wrote,
                };
                let pins = collect::pins(&self.known(s, &c), members(used));
                c.beating = Some(pins.into_iter().fold(0, |set, p| set | 1 << p));
            }
            C::BeatPut => {
                let pins = c.beating.take().unwrap_or(0);
                let session = &mut s.sessions[usize::from(c.session)];
                session.beat_hidden = self.delays.then_some((session.seen, session.pins));
                (session.seen, session.pins) = (c.seen, session.pins | pins);
                c.beats += 1;
                if pins != 0 {
                    s.events |= PINNED;
                }
                if session.close.is_some() && !session.close_hidden && self.without != Without::CloseOnce {
                    self.start_again(&mut c);
                }
            }
            C::Commit | C::CommitAndGiveUp => {
                let now = step == C::Commit;
                c.snapshot = Some(s.snapshots.len() as u8);
                s.snapshots.push(Snapshot {
                    blobs: c.wants,
                    session: c.session,
                    there: now,
                    hidden: now && self.delays,
                    tombstoned: false,
                    in_flight: !now,
                });
                c.at = if now { At::Close } else { At::Dead };
            }
            C::Close => {
                let session = &mut s.sessions[usize::from(c.session)];
                match session.close {
                    Some(_) if self.without != Without::CloseOnce => self.start_again(&mut c),
                    Some(_) => c.at = At::Check,
                    None => {
                        session.close = Some(Close::End(c.snapshot.map_or(0, |z| 1 << z)));
                        session.close_hidden = self.delays;
                        c.at = At::Check;
                    }
                }
            }
            C::Check => {
                if s.sessions[usize::from(c.session)].open || self.without == Without::LookBack {
                    s.reported |= c.snapshot.map_or(0, |z| 1 << z);
                    if c.tries > 0 {
                        s.events |= RECOMMITTED;
                    }
                    c.at = At::Done;
                } else {
                    self.start_again(&mut c);
                }
            }
            C::Crash => {
                c.at = At::Dead;
                s.crashes += 1;
            }
        }
        s.clients[usize::from(n)] = c;
    }

    /// B7.
    fn start_again(&self, c: &mut Client) {
        if c.tries >= self.tries {
            c.at = At::Dead;
            return;
        }
        *c = Client {
            at: self.beginning(),
            listed: 0,
            opened: 0,
            closed: 0,
            base: None,
            stands: Validity::Late,
            seen: 0,
            first: 0,
            index: 0,
            used: 0,
            wrote: 0,
            new: 0,
            beating: None,
            tries: c.tries + 1,
            snapshot: None,
            ..*c
        };
    }

    fn beginning(&self) -> At {
        if self.slow_looks { At::Snapshots } else { At::Choose }
    }

    /// What a snapshot looks like to a client that looks for a parent. A close that was listed, and is
    /// gone before it is read, looks like none.
    fn looks_like(&self, s: &State, c: &Client, z: u8) -> Validity {
        if !self.slow_looks {
            return s.validity(z, s.visible_generation(), false, true);
        }
        let session = s.snapshots[usize::from(z)].session;
        let closed = s.closed(z, true).filter(|_| has(c.closed, session));
        match has(c.listed, z) {
            true => {
                let opened = has(c.opened, session) && !self.is_buried(s, session, c.seen);
                collect::validity(opened, closed, has(s.confirmed(c.seen), z))
            }
            false => Validity::Late,
        }
    }

    /// What a base looks like by the log that its client goes by.
    fn still_stands(&self, s: &State, c: &Client) -> Validity {
        let Some(z) = c.base else { return c.stands };
        let session = s.snapshots[usize::from(z)].session;
        let of = &s.sessions[usize::from(session)];
        // A checkpoint does not say again which sessions were buried before it.
        let there = (of.open && !of.open_hidden) || self.without == Without::Cleared;
        match has(s.confirmed(c.seen), z) {
            false if !there || self.is_buried(s, session, c.seen) => Validity::Late,
            _ => c.stands,
        }
    }

    fn is_buried(&self, s: &State, session: u8, generation: u8) -> bool {
        has(s.buried(generation), session) && self.without != Without::Buried
    }

    /// What a client knows of the log.
    fn known(&self, s: &State, c: &Client) -> collect::Log<u8, u8> {
        let first = if self.without == Without::CheckpointPast { c.seen } else { c.first };
        s.log_on(first, c.seen)
    }

    fn look_up(&self, s: &State, c: &mut Client) {
        let log = self.known(s, c);
        let kept = c.base.map_or(0, |z| s.snapshots[usize::from(z)].blobs);
        for blob in members(c.wants & !kept) {
            let usable = |(n, p): &(u8, &Pack)| {
                has(c.index, *n) && has(p.blobs, blob) && (!log.condemns(n) || self.without == Without::R1)
            };
            match (0..).zip(&s.packs).find(usable) {
                Some((n, _)) => c.used |= 1 << n,
                None => c.new |= 1 << blob,
            }
        }
    }

    fn collector_actions(&self, s: &State, n: u8, c: &Collector, out: &mut Vec<Action>) {
        use CollectorStep as G;
        let mut act = |step| out.push(Action::Collector(n, step));
        match c.doing {
            Doing::Dead => return,
            Doing::Idle => {
                if c.plans < self.plans && s.log.len() < self.records() {
                    act(G::BeginPlan);
                }
                if c.finishes < self.finishes {
                    let log = s.log_to(s.visible_generation());
                    let open = (1..).zip(&s.log).take(s.visible_generation().into());
                    let plans = open.filter(|(_, r)| matches!(r, Record::Plan { .. })).map(|(g, _)| g);
                    let finished = |g: &u8| {
                        s.log.iter().any(|r| matches!(r, Record::Finish { of, .. } if of == g))
                            && !log.plans().contains_key(&u64::from(*g))
                    };
                    plans.filter(|g| !finished(g)).for_each(|g| act(G::BeginFinish(g)));
                }
                if c.checkpoints < self.checkpoints && s.log.len() < self.records() && self.may_repeat(s) {
                    act(G::BeginCheckpoint);
                }
                return;
            }
            Doing::Packs => act(G::ListPacks),
            Doing::Sessions | Doing::Snapshots | Doing::Sessions1 | Doing::Sessions2 | Doing::Snapshots2 => {
                match c.listing {
                    None if self.slow_listings => act(G::BeginListing),
                    None => act(G::EndListing(0)),
                    Some(before) => {
                        let sessions = !matches!(c.doing, Doing::Snapshots | Doing::Snapshots2);
                        let new = existing(s, sessions) & !before;
                        subsets(new).for_each(|missed| act(G::EndListing(missed)));
                    }
                }
            }
            Doing::PlanWait | Doing::Wait | Doing::Wait2 | Doing::Wait3 => match &c.waiting {
                None => act(G::BeginWait),
                Some(_) => act(G::EndWait),
            },
            Doing::Repack => act(G::Repack),
            Doing::Condemn => act(G::Condemn),
            Doing::Fence => {
                act(G::GiveUp);
                members(c.holdouts).take(1).for_each(|h| act(G::Fence(h)));
            }
            Doing::Doom => act(G::Doom),
            Doing::Repeat => act(G::Repeat),
            Doing::Delete => self.delete_actions(s, c, &mut act),
        }
        if s.crashes < self.crashes {
            act(G::Crash);
        }
    }

    /// How long the log may become.
    fn records(&self) -> usize {
        3 + 3 * usize::from(self.plans.max(1))
    }

    fn may_repeat(&self, s: &State) -> bool {
        let log = s.log_to(s.visible_generation());
        let there: BTreeSet<u8> = members(there(s)).collect();
        let open = self.without == Without::CheckpointOpen && !log.plans().is_empty();
        let gone = self.without == Without::CheckpointGone && log.plans().is_empty();
        log.generation() > 0 && (open || gone || collect::may_repeat(&log, &there))
    }

    fn delete_actions(&self, s: &State, c: &Collector, act: &mut dyn FnMut(CollectorStep)) {
        use CollectorStep as G;
        let (doomed, snapshots, buried) = match s.log.get(usize::from(c.generation) - 1) {
            Some(Record::Finish { doomed, snapshots, buried, .. }) => (doomed, snapshots, buried),
            Some(Record::Checkpoint { buried, .. }) => (&0, &0, buried),
            _ => return,
        };
        let packs = members(*doomed).filter(|p| s.packs[usize::from(*p)].there);
        let gone = members(*snapshots).filter(|z| s.snapshots[usize::from(*z)].there);
        let steps = packs.map(G::DeletePack).chain(gone.map(G::DeleteSnapshot));
        let mut steps: Vec<G> = steps.collect();
        if self.bury {
            for n in members(*buried) {
                let session = &s.sessions[usize::from(n)];
                let (open, close) = (session.open, session.close.is_some());
                match self.without {
                    Without::CloseLast if close => steps.push(G::DeleteClose(n)),
                    _ if open => steps.push(G::DeleteOpen(n)),
                    _ if close => steps.push(G::DeleteClose(n)),
                    _ => {}
                }
            }
        }
        // The order does not matter; one is enough.
        steps.into_iter().take(1).for_each(act);
    }

    fn collect(&self, s: &mut State, n: u8, step: CollectorStep) -> Option<()> {
        use CollectorStep as G;
        let mut c = s.collectors[usize::from(n)].clone();
        match step {
            G::BeginPlan => {
                if self.repack && c.session.is_none() {
                    c.session = Some(s.sessions.len() as u8);
                    s.sessions.push(Session {
                        collects: true,
                        open: true,
                        open_hidden: self.delays,
                        base: None,
                        seen: 0,
                        pins: 0,
                        beat_hidden: None,
                        close: None,
                        close_hidden: false,
                    });
                }
                c.generation = s.visible_generation();
                (c.plans, c.doing) = (c.plans + 1, Doing::Packs);
            }
            G::BeginFinish(of) => {
                (c.generation, c.finishing, c.finishes) = (s.visible_generation(), of, c.finishes + 1);
                c.waited = 0;
                c.doing = if self.delays && self.without != Without::I6Delay { Doing::Wait } else { Doing::Sessions1 };
                if self.without == Without::I7 {
                    c.doing = Doing::Snapshots2;
                }
            }
            G::BeginCheckpoint => {
                (c.generation, c.checkpoints) = (s.visible_generation(), c.checkpoints + 1);
                (c.repeats, c.doing) = (true, Doing::Sessions);
                if self.without == Without::CheckpointOrder {
                    c.doing = Doing::Snapshots;
                }
            }
            G::ListPacks => {
                c.settled = there(s);
                c.doing = Doing::Sessions;
            }
            G::BeginListing => {
                let sessions = !matches!(c.doing, Doing::Snapshots | Doing::Snapshots2);
                c.listing = Some(existing(s, sessions));
            }
            G::EndListing(missed) => {
                c.listing = None;
                self.listed(s, &mut c, missed);
            }
            G::BeginWait => c.waiting = Some(s.hidden()),
            G::EndWait => {
                c.waiting.take().into_iter().flatten().for_each(|h| s.reveal(h));
                c.waited += 1;
                c.doing = match c.doing {
                    Doing::PlanWait => Doing::Snapshots,
                    Doing::Wait if c.waited >= 2 => Doing::Sessions1,
                    Doing::Wait2 if c.waited >= 2 => Doing::Sessions2,
                    Doing::Wait3 => Doing::Snapshots2,
                    same => same,
                };
            }
            G::Repack => {
                let packs: Vec<u8> = members(c.condemn).collect();
                let needed = self.marked(s, &c, None);
                let moved = packs.iter().fold(0, |set, p| set | needed.blobs_of(*p));
                if moved != 0 {
                    s.packs.push(Pack { blobs: moved, session: c.session.unwrap_or(0), there: true });
                    s.events |= REPACKED;
                }
                c.doing = Doing::Condemn;
            }
            G::Condemn => {
                let stale = usize::from(c.generation) != s.log.len();
                if stale && self.without != Without::Exclusive {
                    c.doing = Doing::Idle;
                } else {
                    let record =
                        Record::Plan { condemned: c.condemn, live: c.open, expired: c.expired, hidden: self.delays };
                    s.log.push(record);
                    self.close_own(s, &mut c);
                    c.doing = Doing::Idle;
                }
            }
            G::Fence(h) => {
                let session = &mut s.sessions[usize::from(h)];
                if session.close.is_none() {
                    session.close = Some(Close::Fence(c.generation));
                    session.close_hidden = self.delays;
                    s.events |= FENCED;
                }
                c.holdouts &= !(1 << h);
                if c.holdouts == 0 {
                    c.waited = 0;
                    c.doing = if self.delays { Doing::Wait2 } else { Doing::Sessions2 };
                }
            }
            G::GiveUp => c.doing = Doing::Idle,
            G::Doom => self.doom(s, &mut c)?,
            G::Repeat => self.repeat(s, &mut c),
            G::DeletePack(p) => {
                s.packs[usize::from(p)].there = false;
                s.events |= DELETED;
            }
            G::DeleteSnapshot(z) => s.snapshots[usize::from(z)].there = false,
            G::DeleteOpen(n) => s.sessions[usize::from(n)].open = false,
            G::DeleteClose(n) => {
                s.sessions[usize::from(n)].close = None;
            }
            G::Crash => {
                c.doing = Doing::Dead;
                s.crashes += 1;
            }
        }
        if c.doing == Doing::Delete {
            let mut left = false;
            self.delete_actions(s, &c, &mut |_| left = true);
            if !left {
                c.doing = Doing::Idle;
            }
        }
        if matches!(c.doing, Doing::Idle | Doing::Dead) {
            let Collector { session, plans, finishes, checkpoints, doing, .. } = c;
            c = Collector {
                doing,
                session,
                plans,
                finishes,
                checkpoints,
                ..self.init_states()[0].collectors[0].clone()
            };
        }
        s.collectors[usize::from(n)] = c;
        Some(())
    }

    fn close_own(&self, s: &mut State, c: &mut Collector) {
        if let Some(own) = c.session.take() {
            let session = &mut s.sessions[usize::from(own)];
            session.close.get_or_insert(Close::End(0));
            session.close_hidden = self.delays;
        }
    }

    /// A listing is complete: what follows from it.
    fn listed(&self, s: &State, c: &mut Collector, missed: Set) {
        match c.doing {
            Doing::Sessions | Doing::Sessions1 | Doing::Sessions2 => self.listed_sessions(s, c, missed),
            Doing::Snapshots if c.repeats => {
                c.snapshots = existing(s, false) & !missed;
                let early = self.without == Without::CheckpointOrder;
                c.doing = if early { Doing::Sessions } else { Doing::Repeat };
            }
            Doing::Snapshots => {
                c.snapshots = existing(s, false) & !missed;
                c.expired = tombstoned(s);
                let marks = self.marked(s, c, None);
                if marks.missing {
                    c.doing = Doing::Idle;
                    return;
                }
                let log = s.log_to(c.generation);
                c.condemn = 0;
                let mut repacks = false;
                for n in 0..s.packs.len() as u8 {
                    match collect::fate(self.facts(s, c, &log, n, None), marks.live(s, n)) {
                        Fate::Condemn => c.condemn |= 1 << n,
                        Fate::Repack if self.repack => {
                            c.condemn |= 1 << n;
                            repacks = true;
                        }
                        _ => {}
                    }
                }
                c.doing = if repacks && s.packs.len() < 7 { Doing::Repack } else { Doing::Condemn };
                if repacks && s.packs.len() >= 7 {
                    c.condemn &= !members(c.condemn).filter(|p| marks.blobs_of(*p) != 0).fold(0, |a, p| a | 1 << p);
                }
            }
            _ => {
                c.snapshots = existing(s, false) & !missed;
                c.expired = s.expired(c.generation) & tombstoned(s);
                if self.without == Without::OnlyThePlansDead {
                    c.expired = tombstoned(s);
                }
                if self.without == Without::I7 && c.listed == 0 {
                    c.doing = Doing::Sessions1;
                    return;
                }
                c.doing = Doing::Doom;
            }
        }
    }

    fn listed_sessions(&self, s: &State, c: &mut Collector, missed: Set) {
        let there = existing(s, true) & !missed;
        let open_of = |n: u8| {
            let x = &s.sessions[usize::from(n)];
            x.close.is_none() || x.close_hidden
        };
        let own = c.session.map_or(0, |n| 1 << n);
        let open = members(there & !own).filter(|n| open_of(*n)).fold(0, |set, n| set | 1 << n);
        (c.listed, c.open, c.pins, c.bases) = (there, open, 0, 0);
        let mut seen = Vec::new();
        for n in members(open) {
            let x = &s.sessions[usize::from(n)];
            let (seen_gen, pins) = x.beat_hidden.unwrap_or((x.seen, x.pins));
            c.pins |= pins;
            if self.without != Without::R4 {
                c.bases |= x.base.map_or(0, |z| 1 << z);
            }
            seen.push(collect::Session::<u8, u8, u8> {
                id: n,
                seen_gen: seen_gen.into(),
                pins: members(pins).collect(),
                bases: x.base.into_iter().collect(),
                collects: x.collects,
            });
        }
        match c.doing {
            Doing::Sessions if self.without == Without::CheckpointOrder && c.repeats => c.doing = Doing::Repeat,
            Doing::Sessions => c.doing = if self.delays { Doing::PlanWait } else { Doing::Snapshots },
            Doing::Sessions1 => {
                let holdouts = collect::holdouts(c.finishing.into(), &seen);
                c.holdouts = holdouts.fold(0, |set, h| set | 1 << h.id);
                if self.without == Without::I6 {
                    c.holdouts = 0;
                }
                let log = s.log_to(c.generation);
                let listed: BTreeSet<u8> = members(c.listed).collect();
                let plan = log.plans().get(&u64::from(c.finishing));
                let gone = plan.is_some_and(|p| !collect::unaccounted(&log, p, &listed).is_empty());
                c.waited = 0;
                c.doing = match c.holdouts {
                    _ if gone => Doing::Idle,
                    _ if self.without == Without::I7 => Doing::Doom,
                    0 => Doing::Sessions2,
                    _ => Doing::Fence,
                };
            }
            _ => c.doing = if self.delays { Doing::Wait3 } else { Doing::Snapshots2 },
        }
    }

    fn facts(&self, s: &State, c: &Collector, log: &collect::Log<u8, u8>, n: u8, finishing: Option<u8>) -> Facts {
        let pack = &s.packs[usize::from(n)];
        let plan = log.plan_of(&n);
        let own = c.session == Some(pack.session);
        let young = finishing.is_none() && !has(c.settled, n);
        let foreign = !own && (has(c.open, pack.session) || young) && self.without != Without::I5AndWrote;
        Facts {
            there: pack.there,
            bad: false,
            condemned: plan.is_some(),
            here: plan.is_some() && plan == finishing.map(u64::from),
            doomed: log.doomed().contains(&n),
            foreign,
        }
    }

    /// Mark from what a collector listed.
    fn marked(&self, s: &State, c: &Collector, finishing: Option<u8>) -> Marks {
        let log = s.log_to(c.generation);
        let mut marks = Marks { blobs: vec![0; s.packs.len()], missing: false };
        for z in members(c.snapshots) {
            let snapshot = &s.snapshots[usize::from(z)];
            let expired = has(c.expired, z) && !has(c.bases, z);
            if expired || !snapshot.there {
                continue;
            }
            let late = s.validity(z, c.generation, false, true) == Validity::Late;
            for blob in members(snapshot.blobs) {
                let copies = (0..).zip(&s.packs).filter(|(_, p)| has(p.blobs, blob));
                let best = copies.map(|(n, _)| (collect::standing(self.facts(s, c, &log, n, finishing)), n)).min();
                match best {
                    Some((standing, n)) if standing < Standing::None => marks.blobs[usize::from(n)] |= 1 << blob,
                    _ => marks.missing |= !late,
                }
            }
        }
        marks
    }

    fn doom(&self, s: &mut State, c: &mut Collector) -> Option<()> {
        let log = s.log_to(c.generation);
        let finishing = c.finishing;
        let mut marks = self.marked(s, c, Some(finishing));
        if self.without == Without::MarkAgain {
            marks = Marks { blobs: vec![0; s.packs.len()], missing: false };
        }
        let stale = usize::from(c.generation) != s.log.len() && self.without != Without::Exclusive;
        let plan = log.plans().get(&u64::from(finishing));
        let (Some(plan), false) = (plan, marks.missing) else {
            c.doing = Doing::Idle;
            return Some(());
        };
        let needed: BTreeSet<u8> = plan.condemned.iter().filter(|p| marks.blobs_of(**p) != 0).copied().collect();
        let pinned: BTreeSet<u8> = match self.without {
            Without::Pins => BTreeSet::new(),
            _ => members(c.pins).collect(),
        };
        let decided = collect::finish(&plan.condemned, &needed, &pinned);
        let set = |list: &[u8]| list.iter().fold(0, |set, p| set | 1 << p);
        if self.without == Without::I8 {
            decided.doomed.iter().for_each(|p| s.packs[usize::from(*p)].there = false);
        }
        if stale {
            c.doing = Doing::Idle;
            return Some(());
        }
        let last = self.last_finish(s, c, &log);
        let confirms = |z: &u8| {
            let v = s.validity(*z, c.generation, false, self.without != Without::ClosedAndOpened);
            collect::confirms(v, s.closed(*z, false), last)
        };
        let confirmed = members(c.snapshots).filter(confirms).fold(0, |set, z| set | 1 << z);
        let of_plan = match s.log[usize::from(finishing) - 1] {
            Record::Plan { expired, .. } => expired,
            Record::Finish { .. } | Record::Checkpoint { .. } => 0,
        };
        let snapshots = of_plan & tombstoned(s) & !c.bases;
        let buried = if self.bury { self.burials(s, c, confirmed) } else { 0 };
        if !decided.resurrected.is_empty() {
            s.events |= RESURRECTED;
        }
        s.log.push(Record::Finish {
            of: finishing,
            resurrected: set(&decided.resurrected),
            doomed: set(&decided.doomed),
            snapshots,
            confirmed,
            buried,
            hidden: self.delays,
        });
        c.generation = s.log.len() as u8;
        c.doing = Doing::Delete;
        Some(())
    }

    fn last_finish(&self, s: &State, c: &Collector, log: &collect::Log<u8, u8>) -> u64 {
        let repeated = u64::from(s.checkpoint(c.generation)) == log.last_finish();
        match self.without {
            Without::I10 => 0,
            Without::CheckpointLast if repeated => 0,
            _ => log.last_finish(),
        }
    }

    /// A checkpoint: it deletes nothing but what is left of sessions.
    fn repeat(&self, s: &mut State, c: &mut Collector) {
        if usize::from(c.generation) != s.log.len() {
            c.doing = Doing::Idle;
            return;
        }
        let last = self.last_finish(s, c, &s.log_to(c.generation));
        let confirms = |z: &u8| {
            let v = s.validity(*z, c.generation, false, self.without != Without::ClosedAndOpened);
            collect::confirms(v, s.closed(*z, false), last)
        };
        let mut confirmed = members(c.snapshots).filter(confirms).fold(0, |set, z| set | 1 << z);
        let buried = if self.bury { self.burials(s, c, confirmed) } else { 0 };
        confirmed |= s.confirmed(c.generation);
        if self.without == Without::CheckpointConfirms {
            confirmed = 0;
        }
        let expired = if self.without == Without::CheckpointExpired { 0 } else { s.expired(c.generation) };
        s.log.push(Record::Checkpoint { expired, confirmed, buried, hidden: self.delays });
        s.events |= REPEATED;
        c.generation = s.log.len() as u8;
        c.doing = Doing::Delete;
    }

    fn burials(&self, s: &State, c: &Collector, confirmed: Set) -> Set {
        let recorded = s.confirmed(c.generation) | confirmed;
        let closed = members(c.listed & !c.open).filter(|n| s.sessions[usize::from(*n)].close.is_some());
        let of = |n: u8| {
            members(c.snapshots)
                .filter(move |z| s.snapshots[usize::from(*z)].session == n)
                .map(move |z| (has(recorded, z), s.validity(z, c.generation, false, true)))
        };
        closed.filter(|n| collect::may_bury(of(*n))).fold(0, |set, n| set | 1 << n)
    }
}

struct Marks {
    /// What is marked in each pack.
    blobs: Vec<Set>,
    missing: bool,
}

impl Marks {
    fn blobs_of(&self, pack: u8) -> Set {
        self.blobs[usize::from(pack)]
    }
    fn live(&self, s: &State, pack: u8) -> Live {
        match self.blobs_of(pack) {
            0 => Live::None,
            all if all == s.packs[usize::from(pack)].blobs => Live::All,
            _ => Live::Some,
        }
    }
}

fn subsets(of: Set) -> impl Iterator<Item = Set> {
    let next = move |set: &Set| (*set != 0).then(|| (set - 1) & of);
    std::iter::successors(Some(of), next)
}

/// What a listing that begins now must have.
fn existing(s: &State, sessions: bool) -> Set {
    let set = |set, n: u8| set | 1 << n;
    match sessions {
        true => {
            let visible = |x: &Session| (x.open && !x.open_hidden) || (x.close.is_some() && !x.close_hidden);
            (0..).zip(&s.sessions).filter(|(_, x)| visible(x)).map(|(n, _)| n).fold(0, set)
        }
        false => (0..).zip(&s.snapshots).filter(|(_, z)| z.there && !z.hidden).map(|(n, _)| n).fold(0, set),
    }
}

fn there(s: &State) -> Set {
    (0..).zip(&s.packs).filter(|(_, p)| p.there).fold(0, |set, (n, _): (u8, _)| set | 1 << n)
}

fn tombstoned(s: &State) -> Set {
    (0..).zip(&s.snapshots).filter(|(_, z)| z.tombstoned).fold(0, |set, (n, _): (u8, _)| set | 1 << n)
}
