//! Packs that are on their way hold memory: no new one is begun while those make too much.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that are on their way before whoever begins a pack waits.
const MOST: usize = 16 << 20;

/// What is on its way to one storage.
#[derive(Default)]
pub(in crate::storage) struct Uploads {
    bytes: Mutex<usize>,
    ended: Condvar,
}

/// One of them; it ends when this is dropped.
pub(in crate::storage) struct Upload<'u> {
    of: &'u Uploads,
    bytes: usize,
}

impl Uploads {
    /// Wait while there is too much. Uploads end by themselves, so this does, too, whatever those who
    /// wait hold.
    pub(in crate::storage) fn wait(&self) {
        let mut bytes = self.bytes();
        while *bytes >= MOST {
            bytes = self.ended.wait(bytes).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(in crate::storage) fn begin(&self, bytes: usize) -> Upload<'_> {
        *self.bytes() += bytes;
        Upload { of: self, bytes }
    }

    fn bytes(&self) -> MutexGuard<'_, usize> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        *self.of.bytes() -= self.bytes;
        self.of.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn whoever_begins_waits_for_what_is_on_its_way() {
        let uploads = Uploads::default();
        let (one, two) = (uploads.begin(MOST - 1), uploads.begin(1));
        std::thread::scope(|s| {
            let waits = s.spawn(|| uploads.wait());
            std::thread::sleep(Duration::from_millis(50));
            assert!(!waits.is_finished());
            drop(two);
            waits.join().expect("it goes on");
        });
        drop(one);
        uploads.wait();
    }
}
