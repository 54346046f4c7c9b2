//! Stops its user at a chosen call until told to go on: what SIGSTOP, a lid that is closed or a
//! network that hangs looks like to everybody else.

use super::tap::{Tap, Tapped, Verb};
use crate::storage::{Storage, hand_on};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A moment in the life of a storage's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    verb: Option<Verb>,
    prefix: &'static str,
    nth: u64,
    done: bool,
}

impl At {
    /// Before a verb is used on a name or listing that begins like this.
    pub fn before(verb: Verb, prefix: &'static str) -> Self {
        Self { verb: Some(verb), prefix, nth: 1, done: false }
    }

    /// When that was done, before the user learns of it.
    pub fn after(verb: Verb, prefix: &'static str) -> Self {
        Self { done: true, ..Self::before(verb, prefix) }
    }

    /// Before any call.
    pub fn call() -> Self {
        Self { verb: None, prefix: "", nth: 1, done: false }
    }

    /// Not the first such moment but the `nth`, counted from 1.
    pub fn nth(self, nth: u64) -> Self {
        assert!(nth > 0, "moments are counted from 1");
        Self { nth, ..self }
    }

    fn is(&self, verb: Verb, name: &str, done: bool) -> bool {
        self.done == done && self.verb.is_none_or(|v| v == verb) && name.starts_with(self.prefix)
    }
}

/// Any storage whose user is stopped, with all of its threads. Clones share it: the user has one, and
/// whoever stops it another.
pub struct StopStorage<S> {
    tapped: Arc<Tapped<S, Stop>>,
}

#[derive(Default)]
struct Stop {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    at: Option<At>,
    calls: u64,
    stopped: bool,
    ended: bool,
}

impl<S: Storage> StopStorage<S> {
    /// Stops nobody yet.
    pub fn new(inner: S) -> Self {
        Self { tapped: Arc::new(Tapped::new(inner, Stop::default())) }
    }

    /// Stop at this moment; counted from now on.
    pub fn stop(&self, at: At) {
        self.tap().state().at = Some(at);
    }

    /// Wait until the user is stopped; `false` if it ended before.
    pub fn wait(&self) -> bool {
        let mut state = self.tap().state();
        while !state.stopped && !state.ended {
            state = self.tap().wait(state);
        }
        state.stopped
    }

    /// Let it go on.
    pub fn go_on(&self) {
        self.tap().state().stopped = false;
        self.tap().changed.notify_all();
    }

    /// The user has ended, and will not be stopped any more.
    pub fn end(&self) {
        self.tap().state().ended = true;
        self.tap().changed.notify_all();
    }

    /// How many calls were begun.
    pub fn calls(&self) -> u64 {
        self.tap().state().calls
    }

    fn tap(&self) -> &Stop {
        &self.tapped.tap
    }
}

impl Stop {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, verb: Verb, name: &str, done: bool) {
        let mut state = self.state();
        if let Some(at) = state.at.as_mut().filter(|at| at.is(verb, name, done)) {
            at.nth -= 1;
            if at.nth == 0 {
                (state.at, state.stopped) = (None, true);
                self.changed.notify_all();
            }
        }
        // Whoever is stopped does nothing, in no thread.
        while state.stopped {
            state = self.wait(state);
        }
        state.calls += u64::from(!done);
    }
}

impl Tap for Stop {
    fn before(&self, verb: Verb, name: &str) -> io::Result<()> {
        self.pass(verb, name, false);
        Ok(())
    }

    fn after(&self, verb: Verb, name: &str, _bytes: u64) -> io::Result<()> {
        self.pass(verb, name, true);
        Ok(())
    }
}

impl<S> Clone for StopStorage<S> {
    fn clone(&self) -> Self {
        Self { tapped: self.tapped.clone() }
    }
}

impl<S: Storage> Storage for StopStorage<S> {
    hand_on!(tapped);
}
