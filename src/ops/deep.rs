//! Threads with room for recursion, whatever stack the caller's thread has: directories are walked
//! by recursion, and can be nested deeply.

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, ErrorKind, Result};
use crate::format::limits::DEPTH_MAX;

/// Address space of each; only what is used of it becomes memory.
const STACK: usize = 64 << 20;

/// What readers accept, less a margin for the way to a source under another name.
const DEPTH: usize = DEPTH_MAX - 256;

/// Whether a directory of this path is nested deeper than is followed. A snapshot with more could not be
/// restored whole, and would keep prune from its work.
pub(super) fn too_deep(path: &[u8]) -> bool {
    path.iter().filter(|b| **b == b'/').count() > DEPTH
}

/// Threads that share work.
pub(super) fn pool(threads: usize) -> Result<ThreadPool> {
    ThreadPoolBuilder::new()
        .thread_name(|n| format!("deep-{n}"))
        .num_threads(threads.max(1))
        .stack_size(STACK)
        .build()
        .map_err(|e| none(threads, &e))
}

/// Do it on a thread of its own, and wait for it.
pub(super) fn alone<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("deep".into())
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(|e| none(1, &e))?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn none(threads: usize, e: &dyn std::fmt::Display) -> Error {
    let what = format!("{threads} threads with stacks of {} MiB cannot be started: {e}", STACK >> 20);
    Error::new(ErrorKind::Invalid, what).hint(
        "allow more memory or processes (`ulimit -v`, `ulimit -u`), or read fewer files at once (--read-concurrency)",
    )
}
