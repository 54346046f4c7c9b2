//! What is said about the work, to people and to programs.
//!
//! Renderers listen to the one stream of [`crate::event`]s: [`terminal`] redraws, [`plain`] writes
//! lines, [`wire`] writes JSON. Results are rendered by pure functions with inputs of their own:
//! [`snapshots`], [`forget`], [`policy`], [`listing`], [`found`], [`objects`], [`difference`], [`stats`], [`summary`], [`fidelity`], [`keys`]; errors by [`problem`]; [`exit`] is the table
//! of exit codes. Nothing here knows repositories, reads the environment or decides anything.

use std::io::Write;
use std::time::Duration;

use crate::event::Observer;

pub mod anatomy;
pub mod bucket;
pub mod copy;
pub mod difference;
pub mod doctor;
pub mod escape;
pub mod eta;
pub mod exit;
pub mod explain;
pub mod fidelity;
pub mod forget;
pub mod found;
pub mod keys;
pub mod listing;
pub mod ncdu;
pub mod objects;
pub mod plain;
pub mod policy;
pub mod problem;
pub mod progress;
pub mod prune;
pub mod remake;
pub mod requests;
pub mod rescue;
pub mod snapshots;
pub mod stats;
pub mod summary;
pub mod table;
pub mod terminal;
pub mod ticker;
pub mod units;
pub mod wire;
pub mod words;

use escape::Names;

/// What is being done, as far as wording depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// A backup.
    Backup,
    /// A restore.
    Restore,
    /// A check.
    Check,
    /// Anything that shows no quantities of its own.
    Other,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loudness {
    /// `-q`: results and trouble only.
    Quiet,
    /// What most people want.
    Normal,
    /// `-v`: every phase.
    Verbose,
    /// `-vv`: every file.
    VeryVerbose,
}

/// How text is dressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// How names are written.
    pub names: Names,
    /// Whether headings are emphasised. Colour never carries meaning alone.
    pub color: bool,
}

impl Style {
    /// For pipes and files.
    pub const RAW: Self = Self { names: Names::Raw, color: false };

    /// Emphasise.
    pub fn strong(self, text: &str) -> String {
        if self.color { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Where renderers write. Failures to write are ignored: nobody listens, the work goes on.
pub struct Sinks {
    /// Progress and remarks.
    pub out: Box<dyn Write + Send>,
    /// Trouble.
    pub err: Box<dyn Write + Send>,
}

impl Sinks {
    /// Standard output and standard error.
    pub fn standard() -> Self {
        Self { out: Box::new(std::io::stdout()), err: Box::new(std::io::stderr()) }
    }
    /// Standard error for both, where standard output carries data.
    pub fn aside() -> Self {
        Self { out: Box::new(std::io::stderr()), err: Box::new(std::io::stderr()) }
    }
    fn say(&mut self, bytes: &[u8]) {
        let _ = self.out.write_all(bytes).and_then(|()| self.out.flush());
    }
    fn complain(&mut self, bytes: &[u8]) {
        let _ = self.err.write_all(bytes).and_then(|()| self.err.flush());
    }
}

/// An observer that also has something to do from time to time.
pub trait Renderer: Observer {
    /// Time has passed since the beginning: show quantities.
    fn tick(&self, elapsed: Duration);
    /// Take away what was drawn; the work is over.
    fn clear(&self) {}
}
