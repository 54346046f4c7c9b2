//! Where the work stands: counters read, put beside what was expected, with a rate and an end.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::eta::Eta;
use crate::event::{Meter, Phase};

/// Reads a [`Meter`] with the phases in mind.
pub struct Progress {
    meter: Arc<Meter>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phase: Option<Phase>,
    /// What this phase expects, if it said so; counters then count from `base_*`.
    items: Option<u64>,
    bytes: Option<u64>,
    base_items: u64,
    base_bytes: u64,
    began: Duration,
    last_look: Duration,
    eta: Eta,
    scan_told: bool,
}

/// One look.
#[derive(Debug, Clone, PartialEq)]
pub struct Stand {
    /// Since the beginning.
    pub elapsed: Duration,
    /// What is going on.
    pub phase: Option<Phase>,
    /// Files, packs or snapshots done.
    pub items_done: u64,
    /// How many there are as far as known; 0 if not at all.
    pub items_total: u64,
    /// Bytes done.
    pub bytes_done: u64,
    /// How many there are as far as known; 0 if not at all.
    pub bytes_total: u64,
    /// Whether the totals are final.
    pub totals_final: bool,
    /// Bytes per second, lately.
    pub rate: Option<f64>,
    /// Seconds to go.
    pub seconds_left: Option<u64>,
    /// Files of them that a restore had nothing to do for.
    pub files_skipped: u64,
    /// Their bytes.
    pub bytes_skipped: u64,
    /// Files that a restore removed.
    pub files_deleted: u64,
    /// Problems so far.
    pub problems: u64,
    /// What is being worked on, in order.
    pub current: Vec<Vec<u8>>,
    /// True in one look only: the first after the source was counted.
    pub scan_just_finished: bool,
}

impl Progress {
    /// Over these counters.
    pub fn new(meter: Arc<Meter>) -> Self {
        Self { meter, state: Mutex::default() }
    }

    /// A phase begins.
    pub fn enter(&self, phase: Phase, items: Option<u64>, bytes: Option<u64>) {
        let Ok(mut s) = self.state.lock() else { return };
        let told = items.is_some() || bytes.is_some();
        s.phase = Some(phase);
        (s.items, s.bytes) = (items, bytes);
        s.base_items = if told { self.meter.files_done.load(Relaxed) } else { 0 };
        s.base_bytes = if told { self.meter.bytes_done.load(Relaxed) } else { 0 };
        s.began = s.last_look;
        s.eta = Eta::default();
    }

    /// Look now.
    pub fn look(&self, elapsed: Duration) -> Stand {
        let mut guard = self.state.lock().unwrap_or_else(|broken| broken.into_inner());
        let s = &mut *guard;
        let m = &*self.meter;
        let told = s.items.is_some() || s.bytes.is_some();
        let scan_finished = m.expected_final.load(Relaxed);
        let bytes_done = m.bytes_done.load(Relaxed).saturating_sub(s.base_bytes);
        let expected = |told_total: Option<u64>, counter: u64| match told_total {
            Some(n) => n,
            None if told => 0,
            None => counter,
        };
        let bytes_total = expected(s.bytes, m.bytes_expected.load(Relaxed));
        s.last_look = elapsed;
        s.eta.note(elapsed.saturating_sub(s.began), bytes_done);
        let totals_final = told || scan_finished;
        let left = s.eta.seconds_left(bytes_total).filter(|_| totals_final);
        let just = scan_finished && !std::mem::replace(&mut s.scan_told, scan_finished);
        Stand {
            elapsed,
            phase: s.phase,
            items_done: m.files_done.load(Relaxed).saturating_sub(s.base_items),
            items_total: expected(s.items, m.files_expected.load(Relaxed)),
            bytes_done,
            bytes_total,
            totals_final,
            rate: s.eta.rate(),
            seconds_left: left,
            files_skipped: m.files_skipped.load(Relaxed),
            bytes_skipped: m.bytes_skipped.load(Relaxed),
            files_deleted: m.files_deleted.load(Relaxed),
            problems: m.problems.load(Relaxed),
            current: self.current(),
            scan_just_finished: just,
        }
    }

    fn current(&self) -> Vec<Vec<u8>> {
        let mut current = self.meter.current.lock().map(|c| c.clone()).unwrap_or_default();
        current.sort();
        current
    }
}
