//! Signals: the first SIGINT or SIGTERM asks to stop in order, the second ends at once; a reader
//! of our output that goes away ends us quietly.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM};

use crate::error::{Error, ErrorKind, Result};

/// How long to wait before looking whether to stop.
const PATIENCE: Duration = Duration::from_millis(30);

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

/// Do what may wait for others for ever, but do not wait for it longer than anybody wants. Once
/// somebody wants us to stop, it is left to itself in its thread, which ends with the program.
pub fn unless_stopped<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (to, from) = sync_channel(1);
    // Nobody may listen any more, and that is no harm.
    let run = move || drop(to.send(work()));
    std::thread::Builder::new()
        .name("wait".into())
        .spawn(run)
        .map_err(|e| Error::new(ErrorKind::Invalid, "no thread could be started").because(e))?;
    loop {
        match from.recv_timeout(PATIENCE) {
            Ok(done) => return Ok(done),
            Err(RecvTimeoutError::Timeout) if !CANCEL.load(Relaxed) => {}
            Err(RecvTimeoutError::Timeout) => return Err(Error::cancelled()),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::new(ErrorKind::Bug, "a thread that waited for others broke off"));
            }
        }
    }
}

/// A whole file, up to so many bytes. It may be a pipe that nobody writes to.
pub fn read_file(file: &Path, bytes_max: u64) -> Result<io::Result<Vec<u8>>> {
    let file = file.to_owned();
    unless_stopped(move || whole(File::open(file)?, bytes_max))
}

/// All of standard input, up to so many bytes.
pub fn read_stdin(bytes_max: u64) -> Result<io::Result<Vec<u8>>> {
    unless_stopped(move || whole(io::stdin().lock(), bytes_max))
}

fn whole(from: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
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
