//! How much memory rules and indexes may take that were found in what is backed up: somebody else wrote
//! them, and a walk holds those of all directories that it is in.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ignore files are read whole, and are taken for none from this length on.
pub(super) const IGNORE_FILE_BYTES_MAX: usize = 1 << 20;
/// For all that one walk is in.
const ROOM_BYTES: usize = 64 << 20;
/// What a rule takes besides its text, which it has twice.
const RULE_BYTES: usize = 160;

/// What is left of the memory; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Room {
    taken: Arc<AtomicUsize>,
    turn: Arc<Mutex<()>>,
}

/// Memory that was taken, given back at the end.
#[derive(Debug)]
pub struct Held {
    bytes: usize,
    room: Arc<AtomicUsize>,
}

impl Room {
    /// Take so much, if it is there.
    pub(super) fn take(&self, bytes: usize) -> Option<Held> {
        let held = self.hold(bytes);
        (self.taken.load(Relaxed) <= ROOM_BYTES).then_some(held)
    }

    /// Whether the rules of a file may be held.
    pub(super) fn suits(&self, contents: &[u8]) -> bool {
        contents.len() < IGNORE_FILE_BYTES_MAX && self.take(rule_bytes(contents)).is_some()
    }

    /// Hold the rules of a file, which has been found to suit.
    pub(super) fn hold_rules(&self, contents: &[u8]) -> Held {
        self.hold(rule_bytes(contents))
    }

    fn hold(&self, bytes: usize) -> Held {
        self.taken.fetch_add(bytes, Relaxed);
        Held { bytes, room: self.taken.clone() }
    }

    /// For work that takes more for a while.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.fetch_sub(self.bytes, Relaxed);
    }
}

fn rule_bytes(contents: &[u8]) -> usize {
    2 * contents.len() + RULE_BYTES * contents.split(|b| *b == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let room = Room::default();
        let half = room.clone().take(ROOM_BYTES / 2 + 1).expect("there is room");
        assert!(room.take(ROOM_BYTES / 2).is_none() && room.take(ROOM_BYTES / 2 - 1).is_some());
        drop(half);
        assert!(room.take(ROOM_BYTES).is_some());
        assert!(room.suits(b"*.o\n") && !room.suits(&[b'a'; IGNORE_FILE_BYTES_MAX]));
        let held: Vec<Held> =
            (0..ROOM_BYTES / rule_bytes(&b"a\n".repeat(1000))).map(|_| room.hold_rules(&b"a\n".repeat(1000))).collect();
        assert!(!room.suits(&b"a\n".repeat(1000)));
        drop(held);
        assert!(room.suits(&b"a\n".repeat(1000)));
    }
}
