//! Lines for logs and pipes: one per phase, remark and problem; progress only if an interval was
//! asked for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::escape::Names;
use super::progress::Progress;
use super::{Job, Loudness, Renderer, Sinks, words};
use crate::event::{Event, Meter, Observer};

/// How names are written on each of the two streams, one of which may be a terminal.
#[derive(Debug, Clone, Copy)]
pub struct StreamNames {
    /// Where remarks go.
    pub out: Names,
    /// Where trouble goes.
    pub err: Names,
}

/// Writes lines.
pub struct Plain {
    job: Job,
    loudness: Loudness,
    progress_wanted: bool,
    names: StreamNames,
    progress: Progress,
    sinks: Mutex<Sinks>,
}

impl Plain {
    /// `progress_wanted`: whether ticks write a line, for those who asked for an interval.
    pub fn new(
        job: Job,
        loudness: Loudness,
        names: StreamNames,
        progress_wanted: bool,
        meter: Arc<Meter>,
        sinks: Sinks,
    ) -> Self {
        let progress = Progress::new(meter);
        Self { job, loudness, progress_wanted, names, progress, sinks: Mutex::new(sinks) }
    }
    fn say(&self, at_least: Loudness, line: &[u8]) {
        if self.loudness >= at_least
            && let Ok(mut sinks) = self.sinks.lock()
        {
            sinks.say(line);
        }
    }
    fn complain(&self, line: &[u8]) {
        if let Ok(mut sinks) = self.sinks.lock() {
            sinks.complain(line);
        }
    }
}

impl Observer for Plain {
    fn on(&self, event: &Event<'_>) {
        match *event {
            Event::Entered { phase, items, bytes } => {
                self.progress.enter(phase, items, bytes);
                let line = words::phase_line(phase, items, bytes) + "\n";
                self.say(words::phase_loudness(phase), line.as_bytes());
            }
            Event::Item { path, kind, change, bytes } => {
                let line = words::item_line(self.job, self.names.out, path, kind, change, bytes);
                self.say(Loudness::VeryVerbose, &line);
            }
            Event::Problem(problem) => self.complain(&words::problem_line(self.names.err, problem)),
            Event::Lost(lost) => self.say(Loudness::Verbose, &words::lost_line(self.names.out, lost)),
            Event::Notice(notice) => {
                self.say(Loudness::Normal, words::notice_line(self.names.out, notice).as_bytes());
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

impl Renderer for Plain {
    fn tick(&self, elapsed: Duration) {
        let stand = self.progress.look(elapsed);
        if stand.scan_just_finished {
            self.say(Loudness::Verbose, words::scan_line(&stand).as_bytes());
        }
        if self.progress_wanted {
            let line = words::progress_line(&stand) + "\n";
            self.say(Loudness::Normal, line.as_bytes());
        }
    }
}
