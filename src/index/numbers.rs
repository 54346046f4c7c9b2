//! A number for every blob of the index, so that what is known of blobs fits into arrays and bits.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Index, Location};
use crate::format::pack::Kind;

/// Numbers from 0 without gaps for the blobs of some kinds.
pub struct Numbers {
    /// The first number of each frame.
    starts: Vec<u32>,
    len: u32,
}

impl Numbers {
    /// For the blobs of the packs whose kind is wanted.
    pub fn new(index: &Index, wanted: impl Fn(Kind) -> bool) -> Self {
        let (mut starts, mut len) = (Vec::with_capacity(index.frames()), 0u32);
        for n in 0..index.frames() as u32 {
            starts.push(len);
            let frame = index.frame(n);
            if wanted(index.pack(frame.pack).kind) {
                len = len.saturating_add(frame.entry.blobs.into());
            }
        }
        Self { starts, len }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of the blob at this place, whose kind must be one of those that count.
    pub fn of(&self, at: Location) -> usize {
        self.starts.get(at.frame as usize).map_or(0, |start| *start as usize) + usize::from(at.ordinal)
    }
}

/// A bit for each number.
pub struct Marks(Vec<AtomicU64>);

impl Marks {
    /// All unset.
    pub fn new(numbers: &Numbers) -> Self {
        Self((0..numbers.len() / 64 + 1).map(|_| AtomicU64::new(0)).collect())
    }

    /// Set a bit; whether this is the first time.
    pub fn set(&self, number: usize) -> bool {
        let Some(word) = self.0.get(number / 64) else { return true };
        let mask = 1 << (number % 64);
        word.fetch_or(mask, Relaxed) & mask == 0
    }

    /// Whether a bit is set.
    pub fn has(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word.load(Relaxed) & (1 << (number % 64)) != 0)
    }

    /// Unset all bits.
    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(|word| *word.get_mut() = 0);
    }
}
