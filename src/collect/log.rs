//! The gc log, added up record by record.

use std::collections::{BTreeMap, BTreeSet};

/// A plan that is not finished.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Plan<P: Ord, S: Ord> {
    /// Packs that nobody may use from now on.
    pub condemned: BTreeSet<P>,
    /// Sessions that were open when it was made.
    pub live: BTreeSet<S>,
    /// When it was made, by the storage's clock, in seconds.
    pub time: i64,
}

/// What one record of the log says about packs and sessions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step<P: Ord, S: Ord> {
    /// Condemns.
    Plan(Plan<P, S>),
    /// Decides what becomes of a plan's packs.
    Finish {
        /// Which plan.
        of: u64,
        /// Packs that are needed after all.
        resurrected: Vec<P>,
        /// Packs that are deleted.
        doomed: Vec<P>,
        /// Sessions whose objects are deleted.
        buried: Vec<S>,
    },
    /// Repeats everything: what is condemned, and by which plan.
    Checkpoint {
        /// All packs that may not be used.
        condemned: Vec<(P, u64)>,
        /// When it was made, in seconds.
        time: i64,
        /// The record before it was lost: what earlier ones condemned stays condemned.
        after_loss: bool,
    },
}

/// The log does not go on like this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A record is missing before this one.
    #[error("record {expected} of the gc log is missing")]
    Gap {
        /// Which.
        expected: u64,
    },
}

/// What the log has said, as far as it still matters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Log<P: Ord, S: Ord> {
    generation: u64,
    last_finish: u64,
    plans: BTreeMap<u64, Plan<P, S>>,
    doomed: BTreeSet<P>,
    past: BTreeSet<P>,
    buried: BTreeSet<S>,
}

impl<P: Ord, S: Ord> Default for Log<P, S> {
    fn default() -> Self {
        Self {
            generation: 0,
            last_finish: 0,
            plans: BTreeMap::new(),
            doomed: BTreeSet::new(),
            past: BTreeSet::new(),
            buried: BTreeSet::new(),
        }
    }
}

impl<P: Ord + Copy, S: Ord + Copy> Log<P, S> {
    /// The newest record; 0 for none.
    pub fn generation(&self) -> u64 {
        self.generation
    }
    /// The newest finish; 0 for none. Nothing is deleted but after a finish.
    pub fn last_finish(&self) -> u64 {
        self.last_finish
    }
    /// Plans that are not finished, the oldest first.
    pub fn plans(&self) -> &BTreeMap<u64, Plan<P, S>> {
        &self.plans
    }
    /// Packs that a finish gave up: they are deleted, or will be.
    pub fn doomed(&self) -> &BTreeSet<P> {
        &self.doomed
    }
    /// Whether a pack may not be used (R1), by whatever plan.
    pub fn condemns(&self, pack: &P) -> bool {
        self.doomed.contains(pack) || self.past.contains(pack) || self.plan_of(pack).is_some()
    }
    /// The unfinished plan that condemns a pack.
    pub fn plan_of(&self, pack: &P) -> Option<u64> {
        self.plans.iter().find(|(_, p)| p.condemned.contains(pack)).map(|(g, _)| *g)
    }
    /// All packs that may not be used.
    pub fn condemned(&self) -> impl Iterator<Item = &P> {
        self.plans.values().flat_map(|p| &p.condemned).chain(&self.doomed).chain(&self.past)
    }
    /// Whether a session's objects were deleted by a finish.
    pub fn buried(&self, session: &S) -> bool {
        self.buried.contains(session)
    }

    /// Take in the next record.
    pub fn add(&mut self, generation: u64, step: Step<P, S>) -> Result<(), Broken> {
        let expected = self.generation + 1;
        let whole = matches!(step, Step::Checkpoint { after_loss: false, .. });
        let lost = matches!(step, Step::Checkpoint { after_loss: true, .. });
        // A checkpoint says all that records say that are not there any more; a restart goes on after
        // one record that was lost.
        let follows = generation == expected
            || (whole && generation > expected)
            || (lost && (generation == expected + 1 || (self.generation == 0 && generation > 0)));
        if !follows {
            return Err(Broken::Gap { expected });
        }
        self.generation = generation;
        match step {
            Step::Plan(plan) => {
                self.plans.insert(generation, plan);
            }
            Step::Finish { of, resurrected, doomed, buried } => {
                self.finish(generation, of, &resurrected, &doomed, buried)
            }
            Step::Checkpoint { condemned, time, after_loss } => self.restart(generation, condemned, time, after_loss),
        }
        Ok(())
    }

    /// Records up to this one are lost. What was condemned before stays so.
    pub fn pass_over(&mut self, generation: u64, time: i64) {
        self.generation = generation;
        self.restart(generation, vec![], time, true);
    }

    fn finish(&mut self, generation: u64, of: u64, resurrected: &[P], doomed: &[P], buried: Vec<S>) {
        self.last_finish = generation;
        self.doomed.extend(doomed);
        self.buried.extend(buried);
        let Some(plan) = self.plans.get_mut(&of) else { return };
        for pack in resurrected.iter().chain(doomed) {
            plan.condemned.remove(pack);
        }
        if plan.condemned.is_empty() {
            self.plans.remove(&of);
        }
    }

    fn restart(&mut self, generation: u64, condemned: Vec<(P, u64)>, time: i64, after_loss: bool) {
        let before: BTreeSet<P> = std::mem::take(&mut self.plans).into_values().flat_map(|p| p.condemned).collect();
        let mut condemned = condemned;
        if after_loss {
            // The lost record may have resurrected some of them for those who read it: a finish has to wait
            // for everybody who does not know that they are condemned again.
            condemned.extend(before.into_iter().map(|p| (p, generation)));
            condemned.iter_mut().for_each(|(_, plan)| *plan = generation);
        } else {
            // A checkpoint knows nothing of what is gone. Whoever has seen it there, and goes by an
            // index of that time, must not use it.
            self.past.extend(before);
            self.past.append(&mut self.doomed);
        }
        // Whatever a lost finish may have deleted, nothing was confirmed by it that we know of.
        self.last_finish = generation;
        self.buried.clear();
        for (pack, plan) in condemned {
            let empty = || Plan { condemned: BTreeSet::new(), live: BTreeSet::new(), time };
            self.plans.entry(plan).or_insert_with(empty).condemned.insert(pack);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(packs: &[u8]) -> Step<u8, u8> {
        Step::Plan(Plan { condemned: packs.iter().copied().collect(), live: BTreeSet::new(), time: 0 })
    }

    #[test]
    fn what_a_finish_decides_is_decided() {
        let mut log = Log::default();
        log.add(1, plan(&[1, 2, 3])).unwrap();
        log.add(2, plan(&[4])).unwrap();
        let finish = Step::Finish { of: 1, resurrected: vec![2], doomed: vec![1], buried: vec![9] };
        log.add(3, finish).unwrap();
        assert_eq!(log.condemned().copied().collect::<Vec<_>>(), [3, 4, 1]);
        assert!(!log.condemns(&2) && log.condemns(&1) && log.buried(&9));
        assert_eq!((log.plan_of(&3), log.plan_of(&1), log.last_finish()), (Some(1), None, 3));
        assert_eq!(log.add(5, plan(&[])), Err(Broken::Gap { expected: 4 }));
    }

    #[test]
    fn a_checkpoint_may_begin_a_log_and_a_loss_takes_nothing_back() {
        let whole = |after_loss| Step::Checkpoint { condemned: vec![(7, 3)], time: 5, after_loss };
        let mut log: Log<u8, u8> = Log::default();
        log.add(9, whole(false)).unwrap();
        assert_eq!(log.plan_of(&7), Some(3));
        let mut log: Log<u8, u8> = Log::default();
        log.add(1, plan(&[1])).unwrap();
        assert!(log.clone().add(4, whole(true)).is_err());
        log.add(3, whole(true)).unwrap();
        assert_eq!((log.plan_of(&1), log.plan_of(&7), log.plans().len()), (Some(3), Some(3), 1));
    }

    #[test]
    fn who_saw_a_pack_condemned_avoids_it_behind_a_checkpoint() {
        let repeat = || Step::Checkpoint { condemned: vec![], time: 5, after_loss: false };
        let mut begun: Log<u8, u8> = Log::default();
        begun.add(1, plan(&[1, 2])).unwrap();
        for missed in [false, true] {
            let mut log = begun.clone();
            if !missed {
                let finish = Step::Finish { of: 1, resurrected: vec![2], doomed: vec![1], buried: vec![] };
                log.add(2, finish).unwrap();
            }
            log.add(3, repeat()).unwrap();
            // Of what was decided meanwhile it may not know.
            assert_eq!((log.condemns(&1), log.condemns(&2)), (true, missed));
            assert!(log.plans().is_empty() && log.doomed().is_empty() && log.plan_of(&1).is_none());
        }
        let mut fresh: Log<u8, u8> = Log::default();
        fresh.add(3, repeat()).unwrap();
        assert_eq!(fresh.condemned().count(), 0);
    }
}
