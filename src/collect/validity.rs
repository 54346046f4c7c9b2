//! V: which snapshots count.

/// Whether a snapshot counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Validity {
    /// Its session ended well and named it, or a record says so.
    Confirmed,
    /// Its session is still open.
    Pending,
    /// It came after its session had been closed: nobody vouches that its data was kept.
    Late,
}

/// How a snapshot's session was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Well, and it names the snapshot.
    Naming,
    /// Well, but without it.
    Without,
    /// Given up by its own machine.
    Aborted,
    /// Given up by a collector that had seen this record of the log.
    Fenced(u64),
}

/// Whether a snapshot counts. `opened`: the session's first object is there. `recorded`: a record of
/// the log confirms it.
///
/// A session's objects are deleted first object first. Who was fenced, slept, and comes back after
/// that may find the name of its close free; the close that it then writes is worth nothing.
pub fn validity(opened: bool, closed: Option<Closed>, recorded: bool) -> Validity {
    match closed {
        _ if recorded => Validity::Confirmed,
        _ if !opened => Validity::Late,
        None => Validity::Pending,
        Some(Closed::Naming) => Validity::Confirmed,
        Some(_) => Validity::Late,
    }
}

/// Whether a finish confirms a snapshot that it saw and marked. One of a fenced session only if
/// nothing can have been deleted since the fence: that is, if no finish came between.
pub fn confirms(validity: Validity, closed: Option<Closed>, last_finish: u64) -> bool {
    match (validity, closed) {
        (Validity::Confirmed, _) => true,
        (Validity::Late, Some(Closed::Fenced(seen))) => seen >= last_finish,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_counts_only_beside_its_beginning() {
        use Validity::{Confirmed, Late, Pending};
        assert_eq!(validity(true, None, false), Pending);
        assert_eq!(validity(true, Some(Closed::Naming), false), Confirmed);
        assert_eq!(validity(false, Some(Closed::Naming), false), Late);
        assert_eq!(validity(false, None, false), Late);
        assert_eq!(validity(true, Some(Closed::Fenced(3)), false), Late);
        assert_eq!(validity(true, Some(Closed::Fenced(3)), true), Confirmed);
        assert!(confirms(Late, Some(Closed::Fenced(3)), 3) && !confirms(Late, Some(Closed::Fenced(3)), 4));
        assert!(!confirms(Pending, None, 0) && !confirms(Late, Some(Closed::Aborted), 0));
    }
}
