//! The objects in the storage, and where every process is.

use std::collections::BTreeSet;

use orlop::collect::{Closed, Log, Plan, Step, Validity, validity};

/// A set of small numbers.
pub type Set = u16;

pub fn has(set: Set, n: u8) -> bool {
    set & (1 << n) != 0
}
pub fn members(set: Set) -> impl Iterator<Item = u8> {
    (0..16).filter(move |n| has(set, *n))
}

/// A pack and the segment that names it: durable together, since nobody looks in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pack {
    pub blobs: Set,
    pub session: u8,
    pub there: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Snapshot {
    pub blobs: Set,
    pub session: u8,
    pub there: bool,
    pub hidden: bool,
    /// Somebody decided to forget it.
    pub tombstoned: bool,
    /// Put into the storage by a request whose sender gave up on it.
    pub in_flight: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Close {
    End(Set),
    Fence(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Session {
    pub collects: bool,
    pub open: bool,
    pub open_hidden: bool,
    pub base: Option<u8>,
    pub seen: u8,
    pub pins: Set,
    /// The newest heartbeat is not visible yet; what the one before said.
    pub beat_hidden: Option<(u8, Set)>,
    pub close: Option<Close>,
    pub close_hidden: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Record {
    Plan {
        condemned: Set,
        live: Set,
        expired: Set,
        hidden: bool,
    },
    Finish {
        of: u8,
        resurrected: Set,
        doomed: Set,
        snapshots: Set,
        confirmed: Set,
        buried: Set,
        hidden: bool,
    },
    /// Records before it are not read any more.
    Checkpoint {
        expired: Set,
        confirmed: Set,
        buried: Set,
        hidden: bool,
    },
}

impl Record {
    pub fn hidden(&mut self) -> &mut bool {
        match self {
            Self::Plan { hidden, .. } | Self::Finish { hidden, .. } | Self::Checkpoint { hidden, .. } => hidden,
        }
    }
    pub fn is_hidden(mut self) -> bool {
        *self.hidden()
    }
}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum At {
    // A parent is looked for: snapshots listed, sessions listed, their closes read.
    Snapshots,
    Sessions,
    Choose,
    Open,
    Load,
    Look,
    Put,
    Commit,
    Close,
    Check,
    Done,
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client {
    pub at: At,
    pub wants: Set,
    pub session: u8,
    /// Snapshots that are there, and sessions of which beginnings and closes are, as listed.
    pub listed: Set,
    pub opened: Set,
    pub closed: Set,
    pub base: Option<u8>,
    /// What the base looked like when it was chosen.
    pub stands: Validity,
    /// Generation it goes by, and the one that it loaded first.
    pub seen: u8,
    pub first: u8,
    /// Packs as of then.
    pub index: Set,
    pub used: Set,
    pub wrote: Set,
    pub new: Set,
    /// Pins of a heartbeat that is being made.
    pub beating: Option<Set>,
    pub beats: u8,
    pub tries: u8,
    pub snapshot: Option<u8>,
}

/// Where a collector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Doing {
    Idle,
    // A plan: packs listed, sessions listed, snapshots listed and marked.
    Packs,
    Sessions,
    PlanWait,
    Snapshots,
    Repack,
    Condemn,
    // A finish: waited, sessions listed, fenced, waited, sessions listed again, snapshots.
    Wait,
    Sessions1,
    Fence,
    Wait2,
    Sessions2,
    Wait3,
    Snapshots2,
    Doom,
    Delete,
    Repeat,
    Dead,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Collector {
    pub doing: Doing,
    pub session: Option<u8>,
    pub generation: u8,
    pub finishing: u8,
    pub settled: Set,
    /// What was there when a listing began.
    pub listing: Option<Set>,
    /// What was hidden when a wait began.
    pub waiting: Option<BTreeSet<Hidden>>,
    pub waited: u8,
    /// Sessions as listed: which are there, and which open.
    pub listed: Set,
    pub open: Set,
    pub pins: Set,
    pub bases: Set,
    pub holdouts: Set,
    pub needed: Set,
    pub condemn: Set,
    pub expired: Set,
    pub confirmed: Set,
    pub snapshots: Set,
    pub plans: u8,
    pub finishes: u8,
    pub checkpoints: u8,
    /// What is listed is for a checkpoint.
    pub repeats: bool,
}

/// Something that not everybody sees yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hidden {
    Open(u8),
    Beat(u8),
    Close(u8),
    Snapshot(u8),
    Record(u8),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub packs: Vec<Pack>,
    pub snapshots: Vec<Snapshot>,
    pub sessions: Vec<Session>,
    pub log: Vec<Record>,
    pub clients: Vec<Client>,
    pub collectors: Vec<Collector>,
    /// Snapshots whose making was reported as a success.
    pub reported: Set,
    pub tombstones: u8,
    pub crashes: u8,
    pub events: u8,
}

pub const DELETED: u8 = 1;
pub const RESURRECTED: u8 = 2;
pub const FENCED: u8 = 4;
pub const RECOMMITTED: u8 = 8;
pub const REPACKED: u8 = 16;
pub const CAME_LATE: u8 = 32;
pub const PINNED: u8 = 64;
pub const REPEATED: u8 = 128;

impl State {
    /// The newest checkpoint that is not after a record; 0 for none.
    pub fn checkpoint(&self, generation: u8) -> u8 {
        let all = (1..).zip(&self.log).take(generation.into());
        all.filter(|(_, r)| matches!(r, Record::Checkpoint { .. })).map(|(n, _)| n).last().unwrap_or(0)
    }

    /// The log as somebody reads it who sees so many of its records.
    pub fn log_to(&self, generation: u8) -> Log<u8, u8> {
        self.log_on(generation, generation)
    }

    /// The log as somebody knows it who loaded it up to `first` and then read on.
    pub fn log_on(&self, first: u8, generation: u8) -> Log<u8, u8> {
        let (mut log, begin) = (Log::default(), self.checkpoint(first).max(1));
        for (n, r) in (1..).zip(&self.log).take(generation.into()).skip(usize::from(begin) - 1) {
            let list = |set| members(set).collect::<Vec<u8>>();
            let step = match *r {
                Record::Plan { condemned, live, .. } => {
                    Step::Plan(Plan { condemned: members(condemned).collect(), live: members(live).collect(), time: 0 })
                }
                Record::Finish { of, resurrected, doomed, buried, .. } => Step::Finish {
                    of: of.into(),
                    resurrected: list(resurrected),
                    doomed: list(doomed),
                    buried: list(buried),
                },
                Record::Checkpoint { .. } => Step::Whole { condemned: vec![], live: BTreeSet::new(), time: 0 },
            };
            log.add(n, step).expect("the log has no gaps");
        }
        log
    }

    /// The newest record that is visible, with all before it.
    pub fn visible_generation(&self) -> u8 {
        self.log.iter().take_while(|r| !r.is_hidden()).count() as u8
    }

    /// Records that are read by whoever sees so many.
    fn read(&self, generation: u8) -> impl Iterator<Item = &Record> {
        let begin = self.checkpoint(generation).max(1);
        self.log.iter().take(generation.into()).skip(usize::from(begin) - 1)
    }

    pub fn confirmed(&self, generation: u8) -> Set {
        let confirmed = |r: &Record| match r {
            Record::Finish { confirmed, .. } | Record::Checkpoint { confirmed, .. } => *confirmed,
            Record::Plan { .. } => 0,
        };
        self.read(generation).map(confirmed).fold(0, |a, b| a | b)
    }

    /// Sessions that a record buries.
    pub fn buried(&self, generation: u8) -> Set {
        let buried = |r: &Record| match r {
            Record::Finish { buried, .. } | Record::Checkpoint { buried, .. } => *buried,
            Record::Plan { .. } => 0,
        };
        self.read(generation).map(buried).fold(0, |a, b| a | b)
    }

    pub fn expired(&self, generation: u8) -> Set {
        let expired = |r: &Record| match r {
            Record::Plan { expired, .. } | Record::Checkpoint { expired, .. } => *expired,
            Record::Finish { .. } => 0,
        };
        self.read(generation).map(expired).fold(0, |a, b| a | b)
    }

    /// How a snapshot's session was closed, as seen by everybody (`all`) or by a listing.
    pub fn closed(&self, snapshot: u8, all: bool) -> Option<Closed> {
        let s = &self.sessions[usize::from(self.snapshots[usize::from(snapshot)].session)];
        match s.close.filter(|_| all || !s.close_hidden)? {
            Close::End(names) if has(names, snapshot) => Some(Closed::Naming),
            Close::End(_) => Some(Closed::Without),
            Close::Fence(seen) => Some(Closed::Fenced(seen.into())),
        }
    }

    pub fn validity(&self, snapshot: u8, generation: u8, all: bool, open_needed: bool) -> Validity {
        let s = &self.sessions[usize::from(self.snapshots[usize::from(snapshot)].session)];
        let opened = (s.open && (all || !s.open_hidden)) || !open_needed;
        validity(opened, self.closed(snapshot, all), has(self.confirmed(generation), snapshot))
    }

    pub fn stored(&self) -> Set {
        self.packs.iter().filter(|p| p.there).fold(0, |all, p| all | p.blobs)
    }

    pub fn hidden(&self) -> BTreeSet<Hidden> {
        let mut out = BTreeSet::new();
        for (n, s) in (0..).zip(&self.sessions) {
            out.extend(s.open_hidden.then_some(Hidden::Open(n)));
            out.extend(s.beat_hidden.map(|_| Hidden::Beat(n)));
            out.extend(s.close_hidden.then_some(Hidden::Close(n)));
        }
        out.extend((0..).zip(&self.snapshots).filter(|(_, s)| s.there && s.hidden).map(|(n, _)| Hidden::Snapshot(n)));
        out.extend((0..).zip(&self.log).filter(|(_, r)| r.is_hidden()).map(|(n, _)| Hidden::Record(n)));
        out
    }

    pub fn reveal(&mut self, what: Hidden) {
        match what {
            Hidden::Open(n) => self.sessions[usize::from(n)].open_hidden = false,
            Hidden::Beat(n) => self.sessions[usize::from(n)].beat_hidden = None,
            Hidden::Close(n) => self.sessions[usize::from(n)].close_hidden = false,
            Hidden::Snapshot(n) => self.snapshots[usize::from(n)].hidden = false,
            Hidden::Record(n) => *self.log[usize::from(n)].hidden() = false,
        }
    }
}
