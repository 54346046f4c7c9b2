//! What comes in on standard input, or out of a command.

use std::ffi::OsString;
use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;

use crate::cli::settings::SECRET_VARIABLES;
use crate::error::{Error, ErrorKind, Result};

/// How long to wait for bytes before looking whether to stop.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Reads, but does not wait longer than anybody wants.
pub struct Patient<'c, R> {
    from: R,
    cancel: &'c AtomicBool,
    any: Arc<AtomicBool>,
}

impl<'c, R: Read + AsFd> Patient<'c, R> {
    /// Until `cancel` is set.
    pub fn new(from: R, cancel: &'c AtomicBool) -> Self {
        Self { from, cancel, any: Arc::default() }
    }

    /// Refuses a stream that ended before anything came: who should have written it may have failed.
    pub fn not_empty(&self) -> impl Fn() -> Result<()> + Send + use<R> {
        let any = Arc::clone(&self.any);
        move || match any.load(Relaxed) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Source, "no data came in, so no snapshot is made")
                .hint("look whether what should have written it failed")),
        }
    }
}

impl<R: Read + AsFd> Read for Patient<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // Interrupted makes the caller look whether to stop, and come again if not.
        let again = || Err(io::Error::from(io::ErrorKind::Interrupted));
        if self.cancel.load(Relaxed) {
            return again();
        }
        let mut fds = [PollFd::new(&self.from, PollFlags::IN)];
        match poll(&mut fds, Some(&PATIENCE)) {
            Ok(0) => again(),
            Ok(_) => self.from.read(into).inspect(|n| {
                if *n > 0 {
                    self.any.store(true, Relaxed);
                }
            }),
            Err(e) => Err(e.into()),
        }
    }
}

/// A running command whose output is kept.
pub struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Start it: a program and its arguments, no shell, without our secrets in its environment.
    pub fn start(line: &[OsString]) -> Result<(Self, ChildStdout)> {
        let (program, arguments) = line.split_first().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "--stdin-from-command needs a command")
                .hint("put it last: orlop backup --stdin-from-command -- pg_dump mydb")
        })?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        for variable in SECRET_VARIABLES {
            command.env_remove(variable);
        }
        let name = program.to_string_lossy().into_owned();
        let failed =
            |e: io::Error| Error::new(ErrorKind::Source, format!("the command {name:?} cannot be started")).because(e);
        let mut child = command.spawn().map_err(failed)?;
        let stdout = child.stdout.take().ok_or_else(|| Error::new(ErrorKind::Bug, "a command without output"))?;
        Ok((Self { child, name }, stdout))
    }

    /// Its output has ended: whether it may be kept.
    pub fn verdict(&mut self) -> Result<()> {
        let failed = |what: String| {
            Error::new(ErrorKind::Source, what).hint("no snapshot was made, because its output may be a part only")
        };
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(format!("the command {:?} failed: {status}", self.name))),
            Err(e) => Err(failed(format!("nobody knows how the command {:?} ended", self.name)).because(e)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing happens to one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
