//! Sessions, as a collector sees them and as a writer keeps its promises.

use std::collections::BTreeSet;

use super::{Log, Plan};

/// A session that is open, as it was listed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Session<P, S, B> {
    /// Its id.
    pub id: S,
    /// The newest record of the log that it said to have seen; 0 for none.
    pub seen_gen: u64,
    /// Condemned packs that it uses.
    pub pins: Vec<P>,
    /// Snapshots whose trees it takes over unseen.
    pub bases: Vec<B>,
    /// It collects garbage itself: what it relies on, the order of the log protects.
    pub collects: bool,
}

/// How long a session may be silent, and what time it is; seconds of the storage's clock.
#[derive(Debug, Clone, Copy)]
pub struct Silence {
    /// Now.
    pub now: i64,
    /// After that long it may be fenced.
    pub limit: i64,
}

/// I6: the open sessions that a finish of `plan` has to wait for or fence. They may use what the
/// plan condemned and do not say so.
pub fn holdouts<P, S, B>(plan: u64, open: &[Session<P, S, B>]) -> impl Iterator<Item = &Session<P, S, B>> {
    open.iter().filter(move |s| !s.collects && s.seen_gen < plan)
}

/// Whether a holdout has been silent for too long. Heartbeats say what was seen of the log, so one
/// that has not seen the plan by now wrote none since. A session that the plan did not list may be
/// younger than it, and gets twice the time.
pub fn silent<P: Ord, S: Ord>(plan: &Plan<P, S>, session: &S, silence: Silence) -> bool {
    let factor = if plan.live.contains(session) { 1 } else { 2 };
    silence.now.saturating_sub(plan.time) >= silence.limit.saturating_mul(factor)
}

/// Sessions that the plan listed and that are now neither listed nor known to be buried: the listing
/// left them out, so it cannot be trusted.
pub fn unaccounted<P: Ord + Copy, S: Ord + Copy>(log: &Log<P, S>, plan: &Plan<P, S>, listed: &BTreeSet<S>) -> Vec<S> {
    plan.live.iter().filter(|s| !listed.contains(s) && !log.buried(s)).copied().collect()
}

/// What a writer has to name in its next heartbeat: what it uses, written or reused, and may not.
pub fn pins<P: Ord + Copy, S: Ord + Copy>(log: &Log<P, S>, used: impl Iterator<Item = P>) -> Vec<P> {
    let pins: BTreeSet<P> = used.filter(|p| log.condemns(p)).collect();
    pins.into_iter().collect()
}

/// R2: whether a writer may rely on a snapshot's tree. `tombstoned` and `gone` are as of after its
/// session was opened: a plan that took it for dead before cannot be older than that. One that does not
/// count for ever is never relied on: a finish that does not see the writer may be giving it up.
pub fn base_stands(tombstoned: bool, gone: bool, hollow: bool, validity: super::Validity) -> bool {
    !tombstoned && !gone && !hollow && validity == super::Validity::Confirmed
}

/// Whether a closed session's objects may go: every snapshot it committed is confirmed by a record,
/// or will never be.
pub fn may_bury(snapshots: impl Iterator<Item = (bool, super::Validity)>) -> bool {
    snapshots.into_iter().all(|(recorded, validity)| recorded || validity == super::Validity::Late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finish_waits_for_those_who_do_not_know_the_plan() {
        let s = |id, seen_gen| Session::<u8, u8, u8> { id, seen_gen, pins: vec![], bases: vec![], collects: id == 9 };
        let open = [s(1, 4), s(2, 5), s(3, 0), s(9, 0)];
        let ids: Vec<u8> = holdouts(5, &open).map(|s| s.id).collect();
        assert_eq!(ids, [1, 3]);
        let plan = Plan { condemned: BTreeSet::<u8>::new(), live: BTreeSet::from([1]), time: 100 };
        let at = |now| Silence { now, limit: 50 };
        assert!(silent(&plan, &1, at(150)) && !silent(&plan, &1, at(149)));
        assert!(silent(&plan, &3, at(200)) && !silent(&plan, &3, at(199)));
        // A clock that is set back makes nobody silent.
        assert!(!silent(&plan, &1, at(i64::MIN)));
    }
}
