//! Counts what is asked of a storage, for tests that set a budget of requests.

use super::tap::{Tap, Tapped, Verb};
use crate::storage::{Storage, hand_on};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Any storage, and how often each verb was used on it. Clones share storage and counts, so that a
/// test keeps one and gives the other away.
pub struct RecordingStorage<S> {
    tapped: Arc<Tapped<S, Counts>>,
}

#[derive(Default)]
struct Counts([Count; Verb::ALL.len()]);

#[derive(Default)]
struct Count {
    calls: AtomicU64,
    bytes: AtomicU64,
}

impl Tap for Counts {
    fn before(&self, verb: Verb, _name: &str) -> io::Result<()> {
        // Counted before, since a request that fails is a request.
        self.0[verb as usize].calls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    fn after(&self, verb: Verb, _name: &str, bytes: u64) -> io::Result<()> {
        let count = &self.0[verb as usize];
        count.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl<S: Storage> RecordingStorage<S> {
    /// Begin at nought.
    pub fn new(inner: S) -> Self {
        Self { tapped: Arc::new(Tapped::new(inner, Counts::default())) }
    }

    /// How often `verb` was asked for, in vain or not.
    pub fn calls(&self, verb: Verb) -> u64 {
        self.count(verb).calls.load(Ordering::Relaxed)
    }

    /// How many bytes of content `verb` moved.
    pub fn bytes(&self, verb: Verb) -> u64 {
        self.count(verb).bytes.load(Ordering::Relaxed)
    }

    /// What an object store would charge for: all calls but the pieces of drafts.
    pub fn requests(&self) -> u64 {
        let local = |verb: &Verb| matches!(verb, Verb::Draft | Verb::Write);
        let verbs = Verb::ALL.into_iter().filter(|verb| !local(verb));
        verbs.map(|verb| self.calls(verb)).sum()
    }

    /// Begin at nought again.
    pub fn reset(&self) {
        for count in &self.tapped.tap.0 {
            count.calls.store(0, Ordering::Relaxed);
            count.bytes.store(0, Ordering::Relaxed);
        }
    }

    fn count(&self, verb: Verb) -> &Count {
        &self.tapped.tap.0[verb as usize]
    }
}

impl<S> Clone for RecordingStorage<S> {
    fn clone(&self) -> Self {
        Self { tapped: self.tapped.clone() }
    }
}

/// "PutNew 3 (120 B), List 1": for the message of a failed assertion.
impl<S: Storage> fmt::Display for RecordingStorage<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for verb in Verb::ALL.into_iter().filter(|verb| self.calls(*verb) > 0) {
            write!(f, "{between}{verb:?} {}", self.calls(verb))?;
            if self.bytes(verb) > 0 {
                write!(f, " ({} B)", self.bytes(verb))?;
            }
            between = ", ";
        }
        Ok(())
    }
}

impl<S: Storage> Storage for RecordingStorage<S> {
    hand_on!(tapped);
}
