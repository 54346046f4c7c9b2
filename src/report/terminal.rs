//! A few lines at the bottom of a terminal, redrawn in place; everything else scrolls above them.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::escape::{Names, cut};
use super::progress::{Progress, Stand};
use super::{Job, Loudness, Renderer, Sinks, words};
use crate::event::{Event, Meter, Observer};

/// At most so many files in work are shown.
const CURRENT_MAX: usize = 8;

/// Columns and rows; asked before each drawing, so that a resized window is no surprise.
pub type Size = Box<dyn Fn() -> (usize, usize) + Send + Sync>;

/// Draws.
pub struct Terminal {
    job: Job,
    loudness: Loudness,
    size: Size,
    progress: Progress,
    screen: Mutex<Screen>,
}

struct Screen {
    sinks: Sinks,
    drawn: usize,
}

impl Terminal {
    /// Draws through `sinks.out`, which is a terminal of that size.
    pub fn new(job: Job, loudness: Loudness, size: Size, meter: Arc<Meter>, sinks: Sinks) -> Self {
        let screen = Mutex::new(Screen { sinks, drawn: 0 });
        Self { job, loudness, size, progress: Progress::new(meter), screen }
    }

    /// The size of the terminal behind a descriptor, or a small one.
    pub fn size_of<F>(fd: F) -> Size
    where
        F: rustix::fd::AsFd + Send + Sync + 'static,
    {
        Box::new(move || match rustix::termios::tcgetwinsize(&fd) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => (80, 24),
        })
    }

    fn say(&self, at_least: Loudness, line: &[u8]) {
        if self.loudness >= at_least
            && let Ok(mut screen) = self.screen.lock()
        {
            screen.erase();
            screen.sinks.say(line);
        }
    }
    fn complain(&self, line: &[u8]) {
        if let Ok(mut screen) = self.screen.lock() {
            screen.erase();
            screen.sinks.complain(line);
        }
    }
}

impl Screen {
    fn erase(&mut self) {
        if self.drawn > 0 {
            let text = erasing(self.drawn);
            self.drawn = 0;
            self.sinks.say(text.as_bytes());
        }
    }
    fn draw(&mut self, lines: &[String]) {
        let text = erasing(self.drawn) + &lines.join("\n");
        self.drawn = lines.len();
        self.sinks.say(text.as_bytes());
    }
}

/// Back to the beginning of what was drawn, leaving nothing of it.
fn erasing(lines: usize) -> String {
    let mut text = String::new();
    for i in 0..lines {
        text.push_str(if i == 0 { "\r\x1b[2K" } else { "\x1b[1A\x1b[2K" });
    }
    text
}

/// The lines that show where the work stands, fit for a window.
pub fn frame(stand: &Stand, (columns, rows): (usize, usize)) -> Vec<String> {
    let fit = |line: &str| cut(line, columns.saturating_sub(1)).to_owned();
    let mut lines = vec![fit(&words::progress_line(stand))];
    let room = CURRENT_MAX.min(rows.saturating_sub(3));
    let shown = if stand.current.len() > room { room.saturating_sub(1) } else { stand.current.len() };
    for path in &stand.current[..shown] {
        lines.push(fit(&String::from_utf8_lossy(&Names::Escaped.bytes(path))));
    }
    let more = stand.current.len() - shown;
    if more > 0 && room > 0 {
        let mut line = String::new();
        write!(line, "and {more} more").expect("writing to a string cannot fail");
        lines.push(fit(&line));
    }
    lines
}

impl Observer for Terminal {
    fn on(&self, event: &Event<'_>) {
        match *event {
            Event::Entered { phase, items, bytes } => {
                self.progress.enter(phase, items, bytes);
                let line = words::phase_line(phase, items, bytes) + "\n";
                self.say(Loudness::Verbose, line.as_bytes());
            }
            Event::Item { path, kind, change, bytes } => {
                let line = words::item_line(self.job, Names::Escaped, path, kind, change, bytes);
                self.say(Loudness::VeryVerbose, &line);
            }
            Event::Problem(problem) => self.complain(&words::problem_line(Names::Escaped, problem)),
            Event::Lost(lost) => self.say(Loudness::Verbose, &words::lost_line(Names::Escaped, lost)),
            Event::Notice(notice) => {
                self.say(Loudness::Normal, words::notice_line(Names::Escaped, notice).as_bytes());
            }
            Event::Saved { snapshot, incomplete: true } => {
                self.complain(super::summary::incomplete_saved(&snapshot).as_bytes());
            }
            Event::Saved { .. } => {}
        }
    }
    fn wants_items(&self) -> bool {
        self.loudness >= Loudness::VeryVerbose
    }
}

impl Renderer for Terminal {
    fn tick(&self, elapsed: Duration) {
        let stand = self.progress.look(elapsed);
        if stand.scan_just_finished {
            self.say(Loudness::Verbose, words::scan_line(&stand).as_bytes());
        }
        let lines = frame(&stand, (self.size)());
        if let Ok(mut screen) = self.screen.lock() {
            screen.draw(&lines);
        }
    }
    fn clear(&self) {
        if let Ok(mut screen) = self.screen.lock() {
            screen.erase();
        }
    }
}
