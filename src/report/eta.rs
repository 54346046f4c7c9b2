//! How fast it goes and how long it will take: a pure estimate from observations.
//!
//! Rates come from the last minutes only, so that a fast start over unchanged files does not
//! promise a fast end.

use std::collections::VecDeque;
use std::time::Duration;

/// How far back observations count.
const WINDOW: Duration = Duration::from_secs(60);
/// Observations closer together than this are merged.
const STEP: Duration = Duration::from_millis(500);

/// An estimate in the making.
#[derive(Debug, Default)]
pub struct Eta {
    seen: VecDeque<(Duration, u64)>,
}

impl Eta {
    /// So much was done so long after the beginning.
    pub fn note(&mut self, at: Duration, done: u64) {
        if self.seen.is_empty() {
            self.seen.push_back((Duration::ZERO, 0));
        }
        let before_last = self.seen.len().checked_sub(2).map(|i| self.seen[i].0);
        match before_last {
            Some(t) if at.saturating_sub(t) < STEP => {
                if let Some(last) = self.seen.back_mut() {
                    *last = (at, done);
                }
            }
            _ => self.seen.push_back((at, done)),
        }
        while self.seen.len() > 2 && at.saturating_sub(self.seen[1].0) > WINDOW {
            self.seen.pop_front();
        }
    }

    /// Units per second, once enough was seen.
    pub fn rate(&self) -> Option<f64> {
        let (first, last) = (self.seen.front()?, self.seen.back()?);
        let time = last.0.checked_sub(first.0)?.as_secs_f64();
        let done = last.1.checked_sub(first.1)?;
        (time >= 0.5 && done > 0).then(|| done as f64 / time)
    }

    /// Whole seconds until `total` is done.
    pub fn seconds_left(&self, total: u64) -> Option<u64> {
        let left = total.checked_sub(self.seen.back()?.1)?;
        let seconds = left as f64 / self.rate()?;
        (seconds < 1e9).then_some(seconds as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn nothing_is_promised_too_early() {
        let mut eta = Eta::default();
        assert_eq!(eta.seconds_left(100), None);
        eta.note(at(0.1), 10);
        assert_eq!(eta.rate(), None);
    }

    #[test]
    fn steady_work() {
        let mut eta = Eta::default();
        for i in 1..=20 {
            eta.note(at(f64::from(i) / 10.0), i as u64 * 10);
        }
        assert_eq!(eta.rate(), Some(100.0));
        assert_eq!(eta.seconds_left(1200), Some(10));
        assert_eq!(eta.seconds_left(0), None, "more done than expected");
    }

    #[test]
    fn the_distant_past_is_forgotten() {
        let mut eta = Eta::default();
        eta.note(at(1.0), 1_000_000);
        for i in 2..=200 {
            eta.note(at(f64::from(i)), 1_000_000 + i as u64);
        }
        let rate = eta.rate().expect("enough was seen");
        assert!((0.9..1.1).contains(&rate), "{rate}");
        assert!(eta.seen.len() < 100);
    }
}
