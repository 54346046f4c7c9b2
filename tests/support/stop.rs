//! Stopping one process at a chosen call while others work.

use std::sync::Arc;

use orlop::storage::Storage;
use orlop::storage::testing::{At, StopStorage};

/// One thread, so that one thing happens at a time.
pub fn alone<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(run)
}

/// Whatever happens, the one that waits must not wait for ever.
struct Released<'s>(&'s StopStorage<Arc<dyn Storage>>);
impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.0.go_on();
    }
}
struct Ended(StopStorage<Arc<dyn Storage>>);
impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What others do at a moment.
pub type Meanwhile<'a> = (At, &'a mut dyn FnMut());

/// Runs `one` and stops it at each of the moments, in this order, while others do something. Every
/// moment has to come.
pub fn stopping<T: Send>(
    storage: &dyn AsStorage,
    moments: Vec<Meanwhile<'_>>,
    one: impl FnOnce(Arc<dyn Storage>) -> T + Send,
) -> T {
    let (result, reached) = try_stopping(storage, moments, one);
    assert!(reached, "it ended before a moment that should have come");
    result
}

/// The same; whether all moments came.
pub fn try_stopping<T: Send>(
    storage: &dyn AsStorage,
    moments: Vec<Meanwhile<'_>>,
    one: impl FnOnce(Arc<dyn Storage>) -> T + Send,
) -> (T, bool) {
    let stop = StopStorage::new(storage.as_storage());
    let mut moments = moments.into_iter();
    let mut next = moments.next();
    if let Some((at, _)) = &next {
        stop.stop(*at);
    }
    std::thread::scope(|s| {
        let (handle, ended) = (stop.clone(), Ended(stop.clone()));
        let one = std::thread::Builder::new().stack_size(8 << 20).spawn_scoped(s, move || {
            let _ended = ended;
            alone(|| one(Arc::new(handle)))
        });
        let one = one.unwrap();
        let _released = Released(&stop);
        while let Some((_, others)) = next.take() {
            if !stop.wait() {
                return (one.join().unwrap(), false);
            }
            others();
            next = moments.next();
            if let Some((at, _)) = &next {
                stop.stop(*at);
            }
            stop.go_on();
        }
        (one.join().unwrap(), true)
    })
}

/// Something that is a storage or shares one.
pub trait AsStorage {
    fn as_storage(&self) -> Arc<dyn Storage>;
}
impl<S: Storage + Clone + 'static> AsStorage for S {
    fn as_storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }
}
