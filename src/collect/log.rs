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
    /// Says everything: what is condemned, and by which plan.
    Whole {
        /// All packs that may not be used.
        condemned: Vec<(P, u64)>,
        /// Of one that condemns packs itself: sessions that were open when it was made.
        live: BTreeSet<S>,
        /// When it was made, in seconds.
        time: i64,
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
        // One that says everything takes the place of records that are not there any more.
        let whole = matches!(step, Step::Whole { .. });
        if generation != expected && !(whole && generation > expected) {
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
            Step::Whole { condemned, live, time } => self.begin_anew(generation, condemned, live, time),
        }
        Ok(())
    }

    /// Records up to this one are lost. What was condemned before stays so.
    pub fn pass_over(&mut self, generation: u64, time: i64) {
        self.generation = generation;
        let doomed = std::mem::take(&mut self.doomed);
        self.begin_anew(generation, vec![], BTreeSet::new(), time);
        // What a finish gave up is never taken back.
        self.doomed = doomed;
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

    fn begin_anew(&mut self, generation: u64, condemned: Vec<(P, u64)>, live: BTreeSet<S>, time: i64) {
        // It knows nothing of what is gone, and what was lost may have resurrected a pack. Whoever has
        // seen one condemned, and goes by an index of that time, must not use it; to delete it is only
        // for those who all know it condemned.
        self.past.extend(std::mem::take(&mut self.plans).into_values().flat_map(|p| p.condemned));
        self.past.append(&mut self.doomed);
        // Whatever a lost finish may have deleted, nothing was confirmed by it that we know of.
        self.last_finish = generation;
        self.buried.clear();
        for (pack, plan) in condemned {
            let empty = || Plan { condemned: BTreeSet::new(), live: live.clone(), time };
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
        let live = BTreeSet::from([4]);
        let whole = || Step::Whole { condemned: vec![(7, 9)], live: live.clone(), time: 5 };
        let mut log: Log<u8, u8> = Log::default();
        log.add(9, whole()).unwrap();
        assert_eq!((log.plan_of(&7), &log.plans()[&9].live), (Some(9), &live));
        let mut log: Log<u8, u8> = Log::default();
        log.add(1, plan(&[1])).unwrap();
        assert!(log.clone().add(4, plan(&[2])).is_err());
        log.add(9, whole()).unwrap();
        // Not everybody knows that this one was condemned: no finish gives it up.
        assert_eq!((log.condemns(&1), log.plan_of(&1), log.plan_of(&7)), (true, None, Some(9)));
    }

    #[test]
    fn who_saw_a_pack_condemned_avoids_it_behind_a_checkpoint() {
        let repeat = || Step::Whole { condemned: vec![], live: BTreeSet::new(), time: 5 };
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
