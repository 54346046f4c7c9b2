//! Checkpoints: when the log may be said again in one record, and what becomes of chains.

use std::collections::{BTreeMap, BTreeSet};

use super::Log;

/// Whether a checkpoint may take the place of all that was said: no plan waits for its finish, and
/// nothing is there any more that was doomed. `there` are packs, as listed.
pub fn may_repeat<P: Ord + Copy, S: Ord + Copy>(log: &Log<P, S>, there: &BTreeSet<P>) -> bool {
    log.plans().is_empty() && !log.doomed().iter().any(|p| there.contains(p))
}

/// Places of a chain that were given up, so that nothing has to say so any more but this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GivenUp<B> {
    /// First and last of each run of places, ascending and apart.
    pub ranges: Vec<(u64, u64)>,
    /// What stood at a place that comes directly before one that stays, and at the chain's last.
    pub anchors: BTreeMap<u64, B>,
}

impl<B: Copy> GivenUp<B> {
    /// Whether a place is among them.
    pub fn has(&self, seq: u64) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&seq))
    }

    /// With places that went since, each with what stood there, if that is known. `stays` are the
    /// places at which something stands or is decided still.
    pub fn and(&self, gone: &BTreeMap<u64, Option<B>>, stays: &BTreeSet<u64>) -> Self {
        let mut runs = self.ranges.clone();
        runs.extend(gone.keys().map(|seq| (*seq, *seq)));
        runs.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (first, last) in runs {
            match ranges.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        let mut known = self.anchors.clone();
        known.extend(gone.iter().filter_map(|(seq, id)| Some((*seq, (*id)?))));
        let top = ranges.last().map_or(0, |r| r.1).max(stays.last().copied().unwrap_or(0));
        let ends: BTreeSet<u64> = ranges.iter().map(|r| r.1).collect();
        known.retain(|seq, _| ends.contains(seq) && (*seq == top || stays.contains(&(seq + 1))));
        Self { ranges, anchors: known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_went_join_into_runs_with_what_stood_before_the_next() {
        let gone = |list: &[u64]| list.iter().map(|n| (*n, Some(*n * 10))).collect::<BTreeMap<u64, Option<u64>>>();
        let stays = |list: &[u64]| list.iter().copied().collect::<BTreeSet<u64>>();
        let first = GivenUp::default().and(&gone(&[1, 2, 5]), &stays(&[3, 4, 6]));
        assert_eq!(first.ranges, [(1, 2), (5, 5)]);
        assert_eq!(first.anchors, BTreeMap::from([(2, 20), (5, 50)]));
        assert!(first.has(2) && !first.has(3) && first.has(5));
        let then = first.and(&gone(&[3, 4]), &stays(&[6]));
        assert_eq!((then.ranges, then.anchors), (vec![(1, 5)], BTreeMap::from([(5, 50)])));
        // The last place of a chain is what the next one follows.
        let last = first.and(&gone(&[6]), &stays(&[3, 4]));
        assert_eq!((&last.ranges[..], &last.anchors), (&[(1, 2), (5, 6)][..], &BTreeMap::from([(2, 20), (6, 60)])));
        let on = last.and(&gone(&[]), &stays(&[3, 4, 7]));
        assert_eq!(on.anchors, BTreeMap::from([(2, 20), (6, 60)]));
        // What stood at a place whose record was lost nobody knows.
        let lost = GivenUp::<u64>::default().and(&BTreeMap::from([(1, None)]), &stays(&[2]));
        assert_eq!((lost.ranges, lost.anchors.len()), (vec![(1, 1)], 0));
    }

    #[test]
    fn a_log_is_repeated_when_nothing_of_it_is_open() {
        use crate::collect::{Plan, Step};
        let mut log: Log<u8, u8> = Log::default();
        let there = BTreeSet::from([1, 2]);
        assert!(may_repeat(&log, &there));
        let condemned = BTreeSet::from([1]);
        log.add(1, Step::Plan(Plan { condemned, live: BTreeSet::new(), time: 0 })).unwrap();
        assert!(!may_repeat(&log, &there));
        let finish = Step::Finish { of: 1, resurrected: vec![], doomed: vec![1], buried: vec![] };
        log.add(2, finish).unwrap();
        assert!(!may_repeat(&log, &there) && may_repeat(&log, &BTreeSet::from([2])));
    }
}
