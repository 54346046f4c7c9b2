//! Packs: which copy of a blob counts, and what becomes of a pack.

use std::collections::BTreeSet;

/// What is known of a pack, apart from its content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// It is listed under its name with its length.
    pub there: bool,
    /// It was read and found to be bad.
    pub bad: bool,
    /// A plan condemned it and is not finished.
    pub condemned: bool,
    /// That plan is the one being finished.
    pub here: bool,
    /// A finish doomed it.
    pub doomed: bool,
    /// The session in its name is open, and not the collector's own.
    pub foreign: bool,
}

/// How good a copy in a pack is; the least is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing is wrong with it.
    Good,
    /// It is condemned by the plan that is being finished, which can still let it live.
    Doubtful,
    /// It is condemned by another plan, which will see that it is needed.
    Condemned,
    /// Its session is still open (I12).
    Foreign,
    /// It is no copy.
    None,
}

/// Where a copy in such a pack stands.
pub fn standing(f: Facts) -> Standing {
    match f {
        Facts { there: false, .. } | Facts { bad: true, .. } | Facts { doomed: true, .. } => Standing::None,
        Facts { here: true, .. } => Standing::Doubtful,
        Facts { condemned: true, .. } => Standing::Condemned,
        Facts { foreign: true, .. } => Standing::Foreign,
        _ => Standing::Good,
    }
}

/// How much of a pack is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// Nothing.
    None,
    /// A part.
    Some,
    /// All of it.
    All,
}

/// What a plan may do with a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: it is needed, it is somebody's, or it is decided already.
    Stay,
    /// Condemn it.
    Condemn,
    /// Condemn it once what is needed of it was written elsewhere.
    Repack,
}

/// What a plan may do with a pack (I5: never those of an open session; I14: never what is bad and
/// needed).
pub fn fate(f: Facts, live: Live) -> Fate {
    if !f.there || f.foreign || f.condemned || f.here || f.doomed {
        return Fate::Stay;
    }
    match live {
        Live::None => Fate::Condemn,
        Live::Some if !f.bad => Fate::Repack,
        _ => Fate::Stay,
    }
}

/// What becomes of a plan's packs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished<P> {
    /// Those that are needed.
    pub resurrected: Vec<P>,
    /// Those that are not.
    pub doomed: Vec<P>,
}

/// Decide about a plan's packs. `needed` are those with a blob that is needed and has no good copy;
/// `pinned` are those that open sessions use.
pub fn finish<P: Ord + Copy>(condemned: &BTreeSet<P>, needed: &BTreeSet<P>, pinned: &BTreeSet<P>) -> Finished<P> {
    let (resurrected, doomed) = condemned.iter().partition(|p| needed.contains(p) || pinned.contains(p));
    Finished { resurrected, doomed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_needs_or_owns_is_condemned() {
        let there = Facts { there: true, ..Facts::default() };
        assert_eq!(fate(there, Live::None), Fate::Condemn);
        assert_eq!(fate(there, Live::Some), Fate::Repack);
        assert_eq!(fate(there, Live::All), Fate::Stay);
        assert_eq!(fate(Facts { bad: true, ..there }, Live::Some), Fate::Stay);
        assert_eq!(fate(Facts { bad: true, ..there }, Live::None), Fate::Condemn);
        for f in [
            Facts { foreign: true, ..there },
            Facts { condemned: true, ..there },
            Facts { doomed: true, ..there },
            Facts { there: false, ..there },
        ] {
            assert_eq!(fate(f, Live::None), Fate::Stay, "{f:?}");
            assert!(standing(f) > Standing::Good, "{f:?}");
        }
    }
}
