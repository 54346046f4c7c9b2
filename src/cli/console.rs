//! Who listens to a command: chooses the renderer, keeps the counters, writes results.
//!
//! A command makes one, works with its [`Console::context`], calls [`Console::finish`] and prints.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::settings::Settings;
use super::signals;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Context, Event, Meter, Notice};
use crate::report::escape::Names;
use crate::report::exit::Outcome;
use crate::report::plain::{Plain, StreamNames};
use crate::report::terminal::Terminal;
use crate::report::ticker::Ticker;
use crate::report::wire::{self, Wire};
use crate::report::{Job, Loudness, Renderer, Sinks, Style, exit, problem};

/// How often the terminal is drawn.
const TERMINAL_EVERY: Duration = Duration::from_millis(100);
/// How often programs hear where the work stands.
const WIRE_EVERY: Duration = Duration::from_secs(1);

/// The two sides of a command's talk.
pub struct Console {
    renderer: Arc<dyn Renderer>,
    ticker: Option<Ticker>,
    meter: Arc<Meter>,
    /// JSON for programs.
    pub json: bool,
    /// How much is said.
    pub loudness: Loudness,
    /// How names are written on standard output.
    pub names: Names,
}

impl Console {
    /// For a job. `aside`: standard output carries data, so that remarks go to standard error.
    pub fn new(settings: &Settings, job: Job, aside: bool) -> Self {
        let meter = Arc::new(Meter::default());
        let (renderer, pace) = listener(settings, job, aside, &meter);
        let ticker = pace.map(|every| Ticker::start(Arc::clone(&renderer), every));
        let names = names_for(&std::io::stdout());
        let (json, loudness) = (settings.json, settings.loudness);
        Self { renderer, ticker, meter, json, loudness, names }
    }
    /// What operations get.
    pub fn context(&self) -> Context<'_> {
        Context { observer: &*self.renderer, meter: &self.meter, cancel: signals::cancel() }
    }
    /// Whether somebody looks at quantities while the work goes on.
    pub fn shows_progress(&self) -> bool {
        self.ticker.is_some()
    }
    /// Makes remarks from wherever it is taken to.
    pub fn remarks(&self, slug: &'static str) -> Box<dyn Fn(String) + Send + Sync> {
        let renderer = Arc::clone(&self.renderer);
        Box::new(move |message| renderer.on(&Event::Notice(&Notice { slug, message })))
    }
    /// What is counted.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }
    /// What was told as trouble or as lost, by slug.
    pub fn lacks(&self) -> Vec<(&'static str, u64)> {
        self.meter.lacks.lock().map_or_else(|_| Vec::new(), |l| l.iter().map(|(slug, n)| (*slug, *n)).collect())
    }
    /// The work is over: nothing moves on the screen any more.
    pub fn finish(&mut self) {
        self.ticker = None;
    }
    /// Print a result, whatever the loudness.
    pub fn print(&self, text: impl AsRef<[u8]>) -> Result<()> {
        write_out(text.as_ref())
    }
    /// Print what only some want to hear; never among JSON.
    pub fn remark(&self, at_least: Loudness, text: &str) -> Result<()> {
        if self.json || self.loudness < at_least {
            return Ok(());
        }
        write_out(text.as_bytes())
    }
    /// The zone that times are shown in.
    pub fn zone(&self) -> TimeZone {
        TimeZone::system()
    }
}

fn listener(s: &Settings, job: Job, aside: bool, meter: &Arc<Meter>) -> (Arc<dyn Renderer>, Option<Duration>) {
    let sinks = || {
        if aside { Sinks::aside() } else { Sinks::standard() }
    };
    let meter = Arc::clone(meter);
    let progress_wanted = s.loudness >= Loudness::Normal;
    if s.json {
        let pace = s.progress_every.unwrap_or(WIRE_EVERY);
        let pace = (progress_wanted && job != Job::Other).then_some(pace);
        return (Arc::new(Wire::new(job, s.loudness, meter, sinks())), pace);
    }
    let stdout_is_terminal = std::io::stdout().is_terminal();
    let (is_terminal, size) = match aside {
        true => (std::io::stderr().is_terminal(), Terminal::size_of(std::io::stderr())),
        false => (stdout_is_terminal, Terminal::size_of(std::io::stdout())),
    };
    // Drawing beside data that scrolls through the same terminal would garble both.
    let clash = aside && stdout_is_terminal;
    if is_terminal && s.terminal_able && progress_wanted && !clash && job != Job::Other {
        let pace = s.progress_every.unwrap_or(TERMINAL_EVERY);
        return (Arc::new(Terminal::new(job, s.loudness, size, meter, sinks())), Some(pace));
    }
    let err = names_for(&std::io::stderr());
    let names = StreamNames { out: if is_terminal { Names::Escaped } else { Names::Raw }, err };
    let plain = Plain::new(job, s.loudness, names, s.progress_every.is_some(), meter, sinks());
    let pace = s.progress_every.or_else(|| (s.loudness >= Loudness::Verbose).then_some(WIRE_EVERY));
    (Arc::new(plain), pace.filter(|_| progress_wanted))
}

fn names_for(stream: &impl IsTerminal) -> Names {
    if stream.is_terminal() { Names::Escaped } else { Names::Raw }
}

/// Write to standard output; quietly end if nobody reads it.
fn write_out(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    signals::end_if_unread(written).map_err(cannot_write)
}

/// Standard output for much data, as fast as it goes. Errors go through
/// [`signals::end_if_unread`] by themselves.
pub struct Output(std::io::BufWriter<std::fs::File>);

impl Output {
    /// Of this process.
    pub fn new() -> Result<Self> {
        let fd = rustix::io::dup(rustix::stdio::stdout()).map_err(|e| cannot_write(e.into()))?;
        Ok(Self(std::io::BufWriter::with_capacity(1 << 16, fd.into())))
    }
    /// Write what is left.
    pub fn finish(mut self) -> Result<()> {
        self.flush().map_err(cannot_write)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        signals::end_if_unread(self.0.write(bytes))
    }
    fn flush(&mut self) -> std::io::Result<()> {
        signals::end_if_unread(self.0.flush())
    }
}

/// What to say when standard output cannot be written.
pub fn cannot_write(cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Target, "standard output cannot be written").because(cause)
}

/// Say why it failed, if it did, and give the exit code. `partial`: what to say of a job that was
/// done in part.
pub fn conclude(result: &Result<Outcome>, json: bool, color: bool, partial: &str) -> u8 {
    let stderr = std::io::stderr();
    let style = Style { names: names_for(&stderr), color: color && stderr.is_terminal() };
    let text = match result {
        Ok(Outcome::Done) => String::new(),
        Ok(Outcome::Partial) if json => wire::exit_partial(partial),
        Ok(Outcome::Partial) => format!("Warning: {partial}\n"),
        Err(error) if json => wire::exit_error(error),
        Err(error) => problem::render(error, style),
    };
    let _ = stderr.lock().write_all(text.as_bytes());
    exit::code(result)
}
