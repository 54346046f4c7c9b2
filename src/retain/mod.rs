//! Which snapshots stay: restic's rules, schedule counts, holds and expiries, as one pure function
//! of a group of snapshots, a policy, the time and a zone. Every decision says why.
//!
//! A snapshot stays if anything keeps it. Holds beat everything. A snapshot with an expiry of its
//! own, an incomplete one and one with a doubtful time keep no other out of a count.

mod calendar;
mod group;
mod policy;
mod rules;
mod schedule;
mod simulate;
mod styles;

use std::fmt;

use jiff::tz::TimeZone;

pub use calendar::Span;
pub use group::{GroupBy, GroupKey};
pub use policy::{Policy, Target, for_group};
pub use rules::{Count, Period, Rules};
pub use schedule::{Schedule, Unit};
pub use simulate::{Future, simulate};
pub use styles::Style;

use crate::id::RecordId;
use crate::model::Time;

/// A snapshot, as far as it matters for whether it stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: RecordId,
    /// The time it stands for.
    pub time: Time,
    /// The offset from UTC that was stored with it, in seconds.
    pub utc_offset: i32,
    /// Its place in its chain: of two of one time the later one is newer.
    pub seq: u64,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its run was interrupted.
    pub incomplete: bool,
    /// A person started it, and no schedule.
    pub manual: bool,
    /// When it may go, decided at creation.
    pub expires: Option<Time>,
    /// Why it is held; of several holds any.
    pub held: Option<String>,
    /// Its time is in doubt: it neither displaces others nor is displaced.
    pub flagged: bool,
}

/// Why a snapshot stays or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It has all of these tags.
    Tags(Vec<String>),
    /// Its id begins so.
    Id(String),
    /// One of the newest few; as the last resort the oldest.
    Last {
        /// Only because the count was not used up.
        oldest: bool,
    },
    /// The newest of its period; as the last resort the oldest of all.
    Counted {
        /// Which period.
        period: Period,
        /// Only because the count was not used up.
        oldest: bool,
    },
    /// Close enough to the newest.
    Within(Span),
    /// The newest of its period, and close enough to the newest of all.
    WithinPeriod {
        /// Which period.
        period: Period,
        /// How close.
        span: Span,
        /// Only because no newer period begins there.
        oldest: bool,
    },
    /// The newest of one of a schedule's periods.
    Scheduled(Schedule),
    /// One of the newest that a person made.
    Manual,
    /// It must not go.
    Held(String),
    /// It stays until then.
    Until(Time),
    /// Its time is in doubt.
    Flagged,
    /// It is incomplete, and no complete one came after it.
    NothingBetter,
    /// No rule and no schedule is about it.
    NoPolicy,
    /// All of its client would go by what is stored.
    LastOfClient,
    /// Goes: nothing keeps it.
    NotKept,
    /// Goes: its time came.
    Expired(Time),
    /// Goes: it is incomplete, and a complete one came after it.
    Superseded,
    /// Goes: there may be no more than so many.
    TooMany(u32),
    /// Goes: there may be no more than so many that a person made.
    TooManyManual(u32),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let old = |oldest: &bool| if *oldest { "oldest " } else { "" };
        match self {
            Self::Tags(tags) => write!(f, "has tags [{}]", tags.join(", ")),
            Self::Id(begin) => write!(f, "id begins with {begin}"),
            Self::Last { oldest } => write!(f, "{}last snapshot", old(oldest)),
            Self::Counted { period, oldest } => write!(f, "{}{} snapshot", old(oldest), period.word()),
            Self::Within(span) => write!(f, "within {span}"),
            Self::WithinPeriod { period, span, oldest } => {
                write!(f, "{}{} within {span}", old(oldest), period.word())
            }
            Self::Scheduled(s) => write!(f, "schedule {s}"),
            Self::Manual => f.write_str("made by hand"),
            Self::Held(why) if why.is_empty() => f.write_str("held"),
            Self::Held(why) => write!(f, "held: {why}"),
            Self::Until(_) => f.write_str("not expired"),
            Self::Flagged => f.write_str("its time is in doubt"),
            Self::NothingBetter => f.write_str("incomplete, and no complete one came after"),
            Self::NoPolicy => f.write_str("no rule removes it"),
            Self::LastOfClient => f.write_str("all of its client would go"),
            Self::NotKept => f.write_str("nothing keeps it"),
            Self::Expired(_) => f.write_str("expired"),
            Self::Superseded => f.write_str("incomplete, and a complete one came after"),
            Self::TooMany(n) => write!(f, "more than {n} in all"),
            Self::TooManyManual(n) => write!(f, "more than {n} made by hand"),
        }
    }
}

/// What becomes of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Which one.
    pub id: RecordId,
    /// Whether it stays.
    pub keep: bool,
    /// Why; never empty.
    pub reasons: Vec<Reason>,
}

/// Decide about the snapshots of one group; newest first. `zone` is where civil periods of
/// schedules are cut, and the zone of whoever types `--keep-within`.
pub fn decide(group: &[Candidate], policy: &Policy, now: Time, zone: &TimeZone) -> Vec<Decision> {
    let mut sorted: Vec<&Candidate> = group.iter().collect();
    sorted.sort_by_key(|c| std::cmp::Reverse((c.time, c.seq, c.id)));
    let counts = |c: &Candidate| !c.incomplete && !c.flagged && c.expires.is_none();
    let ordinary: Vec<&Candidate> = sorted.iter().copied().filter(|c| counts(c)).collect();
    let mut kept = kept_by_policy(&ordinary, policy, now, zone).into_iter();
    // Newest first: what came before in the list came later in time.
    let mut complete_after = false;
    let mut out = Vec::with_capacity(sorted.len());
    for c in sorted {
        let verdict = match counts(c) {
            true => kept.next().unwrap_or_else(|| Verdict::keep(Reason::NoPolicy)),
            false => out_of_count(c, policy, now, complete_after),
        };
        let decision = verdict.of(c);
        complete_after |= !c.incomplete && !c.flagged && decision.keep;
        out.push(decision);
    }
    out
}

/// Whether to keep, and why.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    keep: bool,
    reasons: Vec<Reason>,
}

impl Verdict {
    fn keep(reason: Reason) -> Self {
        Self { keep: true, reasons: vec![reason] }
    }
    fn drop(reason: Reason) -> Self {
        Self { keep: false, reasons: vec![reason] }
    }
    /// What becomes of a snapshot: holds beat the rest.
    fn of(mut self, c: &Candidate) -> Decision {
        if let Some(why) = &c.held {
            if !self.keep {
                self.reasons.clear();
            }
            self.keep = true;
            self.reasons.push(Reason::Held(why.clone()));
        }
        Decision { id: c.id, keep: self.keep, reasons: self.reasons }
    }
}

fn out_of_count(c: &Candidate, policy: &Policy, now: Time, complete_after: bool) -> Verdict {
    match c.expires {
        _ if c.flagged => Verdict::keep(Reason::Flagged),
        Some(until) if until <= now => Verdict::drop(Reason::Expired(until)),
        _ if c.incomplete && policy.is_empty() => Verdict::keep(Reason::NoPolicy),
        _ if c.incomplete && complete_after => Verdict::drop(Reason::Superseded),
        _ if c.incomplete => Verdict::keep(Reason::NothingBetter),
        Some(until) => Verdict::keep(Reason::Until(until)),
        None => Verdict::keep(Reason::NoPolicy),
    }
}

/// One verdict for each, newest first.
fn kept_by_policy(sorted: &[&Candidate], policy: &Policy, now: Time, zone: &TimeZone) -> Vec<Verdict> {
    if policy.is_empty() {
        return sorted.iter().map(|_| Verdict::keep(Reason::NoPolicy)).collect();
    }
    // Where those made by hand have a count of their own, rules and schedules look at the others.
    let apart = policy.manual_count.is_some();
    let ruled: Vec<usize> = (0..sorted.len()).filter(|i| !(apart && sorted[*i].manual)).collect();
    let by_rules: Vec<&Candidate> = ruled.iter().map(|i| sorted[*i]).collect();
    let mut reasons: Vec<Vec<Reason>> = vec![Vec::new(); sorted.len()];
    match policy.keeps() {
        // Limits alone drop only what is beyond them.
        false => ruled.iter().for_each(|i| reasons[*i].push(Reason::NoPolicy)),
        true => {
            let kept = styles::kept(&by_rules, &policy.rules, policy.style(), now, zone);
            ruled.iter().zip(kept).for_each(|(i, why)| reasons[*i] = why);
        }
    }
    let zone = policy.zone.as_ref().unwrap_or(zone);
    for s in policy.schedules.iter().flatten() {
        for i in schedule::kept(&by_rules, *s, zone) {
            reasons[ruled[i]].push(Reason::Scheduled(*s));
        }
    }
    let mut out: Vec<Verdict> = reasons.into_iter().map(Verdict::of_reasons).collect();
    if let Some(n) = policy.manual_count {
        limit_manual(sorted, &mut out, n);
    }
    if let Some(max) = policy.max_backups {
        limit_all(sorted, &mut out, max);
    }
    out
}

impl Verdict {
    fn of_reasons(reasons: Vec<Reason>) -> Self {
        match reasons.is_empty() {
            true => Self::drop(Reason::NotKept),
            false => Self { keep: true, reasons },
        }
    }
}

fn limit_manual(sorted: &[&Candidate], out: &mut [Verdict], n: u32) {
    for (rank, i) in (0..sorted.len()).filter(|i| sorted[*i].manual).enumerate() {
        out[i] = match rank < n as usize {
            true => Verdict::keep(Reason::Manual),
            false => Verdict::drop(Reason::TooManyManual(n)),
        };
    }
}

/// The oldest that a schedule made go first. What is held stays, and takes nobody's place.
fn limit_all(sorted: &[&Candidate], out: &mut [Verdict], max: u32) {
    let loose: Vec<usize> = (0..sorted.len()).filter(|i| out[*i].keep && sorted[*i].held.is_none()).collect();
    let mut surplus = loose.len().saturating_sub(max as usize);
    for manual in [false, true] {
        for i in loose.iter().rev().filter(|i| sorted[**i].manual == manual) {
            if surplus > 0 {
                out[*i] = Verdict::drop(Reason::TooMany(max));
                surplus -= 1;
            }
        }
    }
}
