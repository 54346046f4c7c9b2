//! Which packs are worth repacking.

/// How much may stay that nobody needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unused {
    /// So many bytes.
    Bytes(u64),
    /// This share of what is left, in percent.
    Percent(f64),
    /// As much as there is.
    Unlimited,
}

impl Unused {
    /// In bytes, beside so many that are used.
    pub fn bytes(self, used: u64) -> u64 {
        match self {
            Self::Bytes(n) => n,
            Self::Percent(p) if p < 100.0 => (p.max(0.0) / (100.0 - p.max(0.0)) * used as f64) as u64,
            _ => u64::MAX,
        }
    }
}

/// Bounds of one run.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// What may stay unused, in bytes.
    pub unused: u64,
    /// What may be read and written again, in bytes.
    pub repack: u64,
    /// What may be spent, in seconds as [`Candidate::seconds`] estimates them.
    pub seconds: f64,
    /// How many packs at most.
    pub packs: usize,
}

/// A pack that could be repacked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<P> {
    /// Which.
    pub pack: P,
    /// Its stored bytes that nobody needs.
    pub dead: u64,
    /// Its stored bytes that are needed.
    pub live: u64,
    /// How long it takes to repack it.
    pub seconds: f64,
    /// It is far smaller than packs should be: merging it is worth something even if all of it lives.
    pub small: bool,
}

/// The packs to repack: the most freed for a second first, until little enough is unused; then those
/// that are too small, if there are enough of them to make a whole one. `unused` is what is dead in
/// all packs that stay if nothing is repacked.
pub fn choose<P: Copy + Ord>(mut all: Vec<Candidate<P>>, unused: u64, limits: Limits) -> Vec<P> {
    let rate = |c: &Candidate<P>| c.dead as f64 / c.seconds.max(1e-9);
    all.sort_by(|a, b| rate(b).total_cmp(&rate(a)).then(a.pack.cmp(&b.pack)));
    let (mut left, mut bytes, mut seconds) = (unused, 0u64, 0.0);
    let mut out = Vec::new();
    for c in &all {
        let wanted = (c.dead > 0 && left > limits.unused) || c.small;
        let fits = bytes.saturating_add(c.live + c.dead) <= limits.repack
            && seconds + c.seconds <= limits.seconds
            && out.len() < limits.packs;
        if wanted && fits {
            out.push(c.pack);
            left = left.saturating_sub(c.dead);
            bytes += c.live + c.dead;
            seconds += c.seconds;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_freed_for_a_second_comes_first() {
        let c = |pack, dead, live| Candidate { pack, dead, live, seconds: live as f64, small: false };
        let all = vec![c(1, 10, 90), c(2, 90, 10), c(3, 50, 50), c(4, 0, 100)];
        let limits = |unused, repack| Limits { unused, repack, seconds: f64::MAX, packs: 100 };
        assert_eq!(choose(all.clone(), 150, limits(0, u64::MAX)), [2, 3, 1]);
        assert_eq!(choose(all.clone(), 150, limits(60, u64::MAX)), [2]);
        assert_eq!(choose(all.clone(), 150, limits(0, 200)), [2, 3]);
        assert_eq!(choose(all, 150, Limits { seconds: 15.0, ..limits(0, u64::MAX) }), [2]);
        assert_eq!(Unused::Percent(5.0).bytes(95), 5);
        assert_eq!(Unused::Percent(100.0).bytes(95), u64::MAX);
    }
}
