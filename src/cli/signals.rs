//! Signals: the first SIGINT or SIGTERM asks to stop in order, the second ends at once; a reader
//! of our output that goes away ends us quietly.

use std::io;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM};

static CANCEL: AtomicBool = AtomicBool::new(false);

/// Set once somebody wants us to stop.
pub fn cancel() -> &'static AtomicBool {
    &CANCEL
}

/// Listen. The order matters: the handler that exits sees the flag as it was before this signal.
pub fn install() {
    for signal in [SIGINT, SIGTERM] {
        let exit = signal_hook::flag::register_conditional_shutdown(signal, 130, &CANCEL);
        let ask = signal_hook::flag::register(signal, &CANCEL);
        // Without a handler the signal ends us at once, which loses nothing that is durable.
        let _ = (exit, ask);
    }
}

/// Pass on what is written to standard output; if its reader is gone, end as if by SIGPIPE, which
/// is what a shell expects of `orlop ls | head`.
pub fn end_if_unread<T>(result: io::Result<T>) -> io::Result<T> {
    if let Err(e) = &result
        && e.kind() == io::ErrorKind::BrokenPipe
    {
        let _ = signal_hook::low_level::emulate_default_handler(SIGPIPE);
    }
    result
}
