//! No more bytes a second than somebody allows, up and down.
//!
//! A bucket of tokens for each direction, shared by all that is under way. A piece goes as soon as the
//! bucket is not in debt, may leave it in debt, and returns when that is paid: so pieces of any length
//! go, and over time no more than the rate. Rates are asked for again while waiting, so that they can
//! change meanwhile. A run that is told to stop waits for nothing: what it still has to write, it writes
//! at once.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Draft, Name, Put, Storage, StorageError, hand_on};

/// How long a rate is believed before it is asked for again.
const ASK_AFTER: Duration = Duration::from_millis(500);
/// A wait is looked out of so often.
const GLANCE: Duration = Duration::from_millis(50);
/// What may be saved up: so much time's worth of bytes.
const SAVED: f64 = 0.5;

/// What time it is, and how to wait.
pub trait Pace: Send + Sync {
    /// Time since any moment that stays the same.
    fn now(&self) -> Duration;
    /// Wait.
    fn sleep(&self, time: Duration);
}

/// The clock of this machine.
pub struct RealPace(Instant);

impl Default for RealPace {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Pace for RealPace {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Bytes a second, as of now; `None` for as many as go.
pub type Rate = Box<dyn Fn() -> Option<u64> + Send + Sync>;

/// One direction.
pub struct Bucket {
    rate: Rate,
    pace: Arc<dyn Pace>,
    stop: Option<&'static AtomicBool>,
    level: Mutex<Level>,
}

#[derive(Default)]
struct Level {
    tokens: f64,
    /// When tokens were last added.
    filled: Duration,
    rate: Option<u64>,
    /// When the rate was asked for.
    asked: Option<Duration>,
}

impl Bucket {
    /// Empty, at a rate that may change, for as long as `stop` is not set.
    pub fn new(rate: Rate, pace: Arc<dyn Pace>, stop: Option<&'static AtomicBool>) -> Self {
        let level = Mutex::new(Level { filled: pace.now(), ..Level::default() });
        Self { rate, pace, stop, level }
    }

    /// Return when so many bytes may go.
    pub fn take(&self, bytes: u64) {
        while let Some(wait) = self.try_take(bytes) {
            if self.stop.is_some_and(|stop| stop.load(Relaxed)) {
                return;
            }
            self.pace.sleep(wait.min(GLANCE));
        }
    }

    /// Do something that moves so many bytes, and return when these were due.
    fn pass<T>(&self, bytes: u64, go: impl FnOnce() -> T) -> T {
        self.take(bytes);
        let done = go();
        self.take(0);
        done
    }

    /// How long to wait before trying again; `None` if they may go.
    fn try_take(&self, bytes: u64) -> Option<Duration> {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.pace.now();
        if level.asked.is_none_or(|asked| now.saturating_sub(asked) >= ASK_AFTER) {
            (level.rate, level.asked) = ((self.rate)(), Some(now));
        }
        let since = now.saturating_sub(level.filled).as_secs_f64();
        level.filled = now;
        let Some(rate) = level.rate.map(|rate| rate as f64) else {
            level.tokens = 0.0;
            return None;
        };
        level.tokens = (level.tokens + since * rate).min(rate * SAVED);
        if level.tokens < 0.0 {
            return Some(Duration::from_secs_f64((-level.tokens / rate).clamp(0.001, 3600.0)));
        }
        level.tokens -= bytes as f64;
        None
    }
}

/// Any storage, with limits.
pub struct LimitedStorage<S> {
    inner: S,
    up: Arc<Bucket>,
    down: Arc<Bucket>,
}

impl<S: Storage> LimitedStorage<S> {
    /// What is written goes through `up`, what is read through `down`.
    pub fn new(inner: S, up: Arc<Bucket>, down: Arc<Bucket>) -> Self {
        Self { inner, up, down }
    }
}

struct LimitedDraft {
    inner: Box<dyn Draft>,
    up: Arc<Bucket>,
}

impl Draft for LimitedDraft {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.up.pass(bytes.len() as u64, || self.inner.write(bytes))
    }
    fn publish(self: Box<Self>, name: &Name) -> Result<Put, StorageError> {
        self.inner.publish(name)
    }
}

impl<S: Storage> Storage for LimitedStorage<S> {
    hand_on!([inner]: head list glance glances delete clock received staleness exclusive claims_exclusive at_once place);

    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        self.up.pass(bytes.len() as u64, || self.inner.put_new(name, bytes))
    }
    fn draft(&self) -> Result<Box<dyn Draft>, StorageError> {
        Ok(Box::new(LimitedDraft { inner: self.inner.draft()?, up: Arc::clone(&self.up) }))
    }
    fn get(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        // How long it is shows afterwards.
        self.down.take(0);
        let bytes = self.inner.get(name, max)?;
        self.down.pass(bytes.len() as u64, || Ok(bytes))
    }
    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        self.down.pass(into.len() as u64, || self.inner.get_range(name, offset, into))
    }
    fn heal(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError> {
        self.up.pass(bytes.len() as u64, || self.inner.heal(name, bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use super::*;
    use crate::storage::MemoryStorage;

    /// Time that passes only where somebody waits.
    #[derive(Default)]
    struct FakePace(AtomicU64);

    impl Pace for FakePace {
        fn now(&self) -> Duration {
            Duration::from_nanos(self.0.load(SeqCst))
        }
        fn sleep(&self, time: Duration) {
            self.0.fetch_add(time.as_nanos() as u64, SeqCst);
        }
    }

    /// With a rate by the fake time.
    fn limited(rate: fn(Duration) -> Option<u64>) -> (LimitedStorage<MemoryStorage>, Arc<FakePace>) {
        let pace = Arc::new(FakePace::default());
        let bucket = || {
            let at = Arc::clone(&pace);
            let rate: Rate = Box::new(move || rate(at.now()));
            Arc::new(Bucket::new(rate, Arc::clone(&pace) as Arc<dyn Pace>, None))
        };
        (LimitedStorage::new(MemoryStorage::new(), bucket(), bucket()), pace)
    }

    fn name(n: u64) -> Name {
        Name::new(format!("index/{n}")).unwrap()
    }

    fn took(pace: &FakePace, begin: Duration, wanted: f64) {
        let took = (pace.now() - begin).as_secs_f64();
        assert!((took - wanted).abs() <= 0.02 * wanted, "{took} s in place of {wanted}");
    }

    #[test]
    fn pieces_of_any_length_go_at_the_rate() {
        for piece in [1_000u64, 50_000, 400_000] {
            let (s, pace) = limited(|_| Some(100_000));
            let n = 4_000_000 / piece;
            for i in 0..n {
                s.put_new(&name(i), &vec![0; piece as usize]).unwrap();
            }
            took(&pace, Duration::ZERO, 40.0);
            let begin = pace.now();
            for i in 0..n {
                s.get_range(&name(i), 0, &mut vec![0; piece as usize]).unwrap();
            }
            // Half a second's worth was saved up by then.
            took(&pace, begin, 40.0 - SAVED);
        }
    }

    #[test]
    fn a_rate_can_change_while_somebody_waits() {
        // A minute at the lowest rate, one without a limit, and a fast one after that.
        let (s, pace) = limited(|now| match now.as_secs() {
            0..60 => Some(1_000),
            60..120 => None,
            _ => Some(50_000),
        });
        s.put_new(&name(0), &[0; 1_000_000]).unwrap();
        took(&pace, Duration::ZERO, 60.0);
        s.put_new(&name(1), &[0; 9_000_000]).unwrap();
        took(&pace, Duration::ZERO, 60.0);
        pace.sleep(Duration::from_secs(60));
        let begin = pace.now();
        s.put_new(&name(2), &[0; 1_000_000]).unwrap();
        took(&pace, begin, 20.0 - SAVED);
    }

    #[test]
    fn who_is_told_to_stop_waits_no_more() {
        static STOP: AtomicBool = AtomicBool::new(false);
        let pace = Arc::new(FakePace::default());
        let now = Arc::clone(&pace);
        let rate: Rate = Box::new(move || {
            STOP.store(now.now() >= Duration::from_secs(3), Relaxed);
            Some(1000)
        });
        Bucket::new(rate, Arc::clone(&pace) as Arc<dyn Pace>, Some(&STOP)).pass(1_000_000, || ());
        assert!((3.0..4.0).contains(&pace.now().as_secs_f64()), "{:?}", pace.now());
    }
}
