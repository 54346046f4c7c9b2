//! Trying again: how long, how often, and when not any more.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The first pause; each further one is twice as long, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// A pause is looked out of so often.
const GLANCE: Duration = Duration::from_millis(50);

/// How much a remote storage is asked for at once, and for how long in vain.
#[derive(Debug, Clone)]
pub(in crate::storage) struct Tuning {
    /// Requests under way at most.
    pub connections: usize,
    /// How long a request is tried again after it failed for the first time.
    pub patience: Duration,
    /// The same until the first answer: a host that was never there may be a slip of the pen.
    pub first_patience: Duration,
    /// Once set, nothing is tried again.
    pub cancel: Option<&'static AtomicBool>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            connections: 16,
            patience: Duration::from_secs(15 * 60),
            first_patience: Duration::from_secs(20),
            cancel: None,
        }
    }
}

impl Tuning {
    fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(|c| c.load(Relaxed))
    }
}

/// The tries of one call.
pub(in crate::storage) struct Tries<'t> {
    tuning: &'t Tuning,
    patience: Duration,
    began: Instant,
    pause: Duration,
    /// How many failed.
    pub(in crate::storage) failed: u32,
}

impl<'t> Tries<'t> {
    /// `reached`: whether the storage ever answered.
    pub(in crate::storage) fn new(tuning: &'t Tuning, reached: bool) -> Self {
        let patience = if reached { tuning.patience } else { tuning.first_patience.min(tuning.patience) };
        Self { tuning, patience, began: Instant::now(), pause: PAUSE, failed: 0 }
    }

    /// Wait for the next one, unless it is time to give up.
    pub(in crate::storage) fn again(&mut self) -> bool {
        self.failed += 1;
        let left = self.patience.saturating_sub(self.began.elapsed());
        if left.is_zero() || self.tuning.is_cancelled() {
            return false;
        }
        let until = Instant::now() + self.jittered().min(left);
        while let Some(rest) = until.checked_duration_since(Instant::now()).filter(|r| !r.is_zero()) {
            std::thread::sleep(rest.min(GLANCE));
            if self.tuning.is_cancelled() {
                return false;
            }
        }
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        true
    }

    /// Between half the pause and all of it, so that many clients do not come back at once.
    fn jittered(&self) -> Duration {
        let random = getrandom::u32().unwrap_or(u32::MAX);
        self.pause.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
    }

    /// How it ended, for people.
    pub(in crate::storage) fn told(&self) -> String {
        match self.failed {
            0 | 1 => String::new(),
            n => format!("; tried {n} times in {} s", self.began.elapsed().as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_end() {
        let tuning = Tuning { patience: Duration::from_millis(300), ..Tuning::default() };
        let mut tries = Tries::new(&tuning, true);
        while tries.again() {}
        assert!((2..10).contains(&tries.failed), "{}", tries.failed);
        assert!(tries.told().starts_with("; tried "), "{}", tries.told());
    }

    #[test]
    fn who_was_never_there_is_given_up_soon_and_a_cancelled_run_at_once() {
        static STOP: AtomicBool = AtomicBool::new(true);
        let tuning = Tuning { first_patience: Duration::ZERO, cancel: Some(&STOP), ..Tuning::default() };
        assert!(!Tries::new(&tuning, false).again());
        assert!(!Tries::new(&tuning, true).again());
    }
}
