//! What is done: one module per verb, all of the same shape. Each takes an opened repository, its
//! options and a [`crate::event::Context`], and gives a summary.

pub mod backup;
pub mod check;
pub mod copy;
pub mod diff;
pub mod dump;
pub mod find;
pub mod forget;
pub mod history;
pub mod list;
pub mod needs;
pub mod prune;
pub mod remake;
pub mod rescue;
pub mod restore;
pub mod select;
pub mod stats;
pub mod why;

mod deep;
mod stack;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Take a lock; every change under ours is complete in itself, so a panic elsewhere spoils nothing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
