//! Fails chosen calls, once each, and works otherwise: what a flaky network or a full disk does.

use super::tap::{Tap, Tapped, Verb};
use crate::storage::{Storage, hand_on};
use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// An error, and nothing was done.
    Before,
    /// An error, and yet it was done: the answer was lost.
    After,
    /// Nothing was done, for lack of space.
    Full,
    /// Nothing was done, for lack of permission.
    Denied,
}

/// Any storage whose chosen calls fail. Clones share it, so that a test keeps one and gives the
/// other away.
pub struct FaultStorage<S> {
    tapped: Arc<Tapped<S, Faults>>,
}

#[derive(Default)]
struct Faults {
    calls: Mutex<Vec<Fault>>,
    /// Objects in bad places of the disk.
    unreadable: Mutex<HashSet<String>>,
}

struct Fault {
    verb: Verb,
    /// How many calls of this verb go well before it.
    after: u64,
    how: How,
    lasting: bool,
}

impl<S: Storage> FaultStorage<S> {
    /// Fails nothing yet.
    pub fn new(inner: S) -> Self {
        Self { tapped: Arc::new(Tapped::new(inner, Faults::default())) }
    }

    /// Fail the `nth` call of `verb` from now on, counted from 1, and no other.
    pub fn fail(&self, verb: Verb, nth: u64, how: How) {
        self.add(verb, nth, how, false);
    }

    /// Fail every call of `verb` from now on.
    pub fn fail_always(&self, verb: Verb, how: How) {
        self.add(verb, 1, how, true);
    }

    /// Fail every reading of one object from now on, as a disk that cannot read it does.
    pub fn fail_reading(&self, name: &str) {
        locked(&self.tapped.tap.unreadable).insert(name.to_owned());
    }

    /// Nothing that was to fail fails any more.
    pub fn relent(&self) {
        locked(&self.tapped.tap.calls).clear();
        locked(&self.tapped.tap.unreadable).clear();
    }

    fn add(&self, verb: Verb, nth: u64, how: How, lasting: bool) {
        assert!(nth > 0, "calls are counted from 1");
        locked(&self.tapped.tap.calls).push(Fault { verb, after: nth - 1, how, lasting });
    }
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fault {
    fn error(&self) -> io::Error {
        match self.how {
            How::Before => io::Error::other("failed on purpose, nothing was done"),
            How::After => io::Error::other("failed on purpose after it was done"),
            How::Full => io::ErrorKind::StorageFull.into(),
            How::Denied => io::ErrorKind::PermissionDenied.into(),
        }
    }
}

impl Tap for Faults {
    fn before(&self, verb: Verb, name: &str) -> io::Result<()> {
        if matches!(verb, Verb::Get | Verb::GetRange) && locked(&self.unreadable).contains(name) {
            return Err(rustix::io::Errno::IO.into());
        }
        let mut faults = locked(&self.calls);
        let due = |f: &Fault| f.verb == verb && f.after == 0 && f.how != How::After;
        if let Some(i) = faults.iter().position(due) {
            let error = faults[i].error();
            if !faults[i].lasting {
                faults.remove(i);
            }
            return Err(error);
        }
        Ok(())
    }

    fn after(&self, verb: Verb, _name: &str, _bytes: u64) -> io::Result<()> {
        let mut faults = locked(&self.calls);
        let mut failed = Ok(());
        faults.retain_mut(|fault| {
            if fault.verb != verb {
                return true;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return true;
            }
            failed = Err(fault.error());
            fault.lasting
        });
        failed
    }
}

impl<S> Clone for FaultStorage<S> {
    fn clone(&self) -> Self {
        Self { tapped: self.tapped.clone() }
    }
}

impl<S: Storage> Storage for FaultStorage<S> {
    hand_on!(tapped);
}
