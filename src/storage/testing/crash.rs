//! Dies at its n-th change, for n = 1, 2, 3 …: no order of changes may ever hurt what was there.

use super::tap::{Tap, Tapped, Verb};
use crate::storage::{Storage, hand_on};
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Any storage whose user dies at a certain change. Clones share it.
///
/// Changes are `put_new`, `publish`, `delete` and `heal`. The one it dies at is not made; to die
/// just after a change is to die at the next one.
pub struct CrashStorage<S> {
    tapped: Arc<Tapped<S, Crash>>,
}

struct Crash {
    /// The change that is not made any more; counted from 1.
    nth: u64,
    abort: bool,
    /// Calls that only read count, too.
    all: bool,
    changes: AtomicU64,
    dead: AtomicBool,
}

impl<S: Storage> CrashStorage<S> {
    /// From the `nth` change on, every call fails: the process as seen by its storage.
    pub fn die_at(inner: S, nth: u64) -> Self {
        Self::new(inner, nth, false, false)
    }

    /// The same, counting every call, also those that only read.
    pub fn die_at_call(inner: S, nth: u64) -> Self {
        Self::new(inner, nth, false, true)
    }

    /// At the `nth` change, the process really ends, by `abort`.
    pub fn abort_at(inner: S, nth: u64) -> Self {
        Self::new(inner, nth, true, false)
    }

    /// Never die, and count.
    pub fn immortal(inner: S) -> Self {
        Self::new(inner, u64::MAX, false, false)
    }

    fn new(inner: S, nth: u64, abort: bool, all: bool) -> Self {
        assert!(nth > 0, "changes are counted from 1");
        let crash = Crash { nth, abort, all, changes: AtomicU64::new(0), dead: AtomicBool::new(false) };
        Self { tapped: Arc::new(Tapped::new(inner, crash)) }
    }

    /// How many changes were begun, counting the deadly one.
    pub fn changes(&self) -> u64 {
        self.tapped.tap.changes.load(Ordering::SeqCst)
    }

    /// Whether it happened.
    pub fn is_dead(&self) -> bool {
        self.tapped.tap.dead.load(Ordering::SeqCst)
    }
}

/// Whether an error comes from a dead process, and is not a failure that a test should look at.
pub fn is_death(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(|e| e.get_ref());
        if inner.is_some_and(|e| e.is::<Dead>()) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[derive(Debug)]
struct Dead;
impl fmt::Display for Dead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("process is dead")
    }
}
impl Error for Dead {}

impl Tap for Crash {
    fn before(&self, verb: Verb, _name: &str) -> io::Result<()> {
        if (self.all || verb.mutates()) && !self.dead.load(Ordering::SeqCst) {
            let change = self.changes.fetch_add(1, Ordering::SeqCst) + 1;
            if change >= self.nth {
                if self.abort {
                    std::process::abort();
                }
                self.dead.store(true, Ordering::SeqCst);
            }
        }
        match self.dead.load(Ordering::SeqCst) {
            true => Err(io::Error::other(Dead)),
            false => Ok(()),
        }
    }
}

impl<S> Clone for CrashStorage<S> {
    fn clone(&self) -> Self {
        Self { tapped: self.tapped.clone() }
    }
}

impl<S: Storage> Storage for CrashStorage<S> {
    hand_on!(tapped);
}
