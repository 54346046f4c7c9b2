//! What a check found: counted always, told up to a bound.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::event::Context;

/// Findings that are told one by one; the others are only counted.
const TOLD_MAX: u64 = 500;

/// Counts and tells.
pub struct Findings<'a> {
    cx: &'a Context<'a>,
    errors: AtomicU64,
}

impl<'a> Findings<'a> {
    /// None yet.
    pub fn new(cx: &'a Context<'a>) -> Self {
        Self { cx, errors: AtomicU64::new(0) }
    }

    /// Something is wrong.
    pub fn error(&self, slug: &'static str, subject: &[u8], during: &'static str, message: impl Into<String>) {
        if self.errors.fetch_add(1, Relaxed) < TOLD_MAX {
            self.cx.problem(slug, subject, during, message);
        }
    }

    /// Whether anything is wrong so far.
    pub fn any(&self) -> bool {
        self.errors.load(Relaxed) > 0
    }

    /// How many, and the last word on those that were not told.
    pub fn conclude(&self) -> u64 {
        let errors = self.errors.load(Relaxed);
        if errors > TOLD_MAX {
            self.cx.notice("more-errors", format!("{} more errors were found and not listed", errors - TOLD_MAX));
        }
        errors
    }
}
