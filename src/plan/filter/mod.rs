//! Which files are in: exclude and include patterns, ignore files, tag files, sizes.
//!
//! Three languages meet here, and each is somebody's habit, so each is kept exactly:
//! [`Patterns`] are restic's (`--exclude`, `--include` and their files), [`IgnoreStack`] is
//! git's (`.gitignore` and any file of that syntax), and [`Selection`] puts them together with
//! tag files and sizes for one backup. Every answer can name the rule it follows from, the file
//! that rule stands in and its line, so that "why is this not in my backup?" has an answer.

mod component;
mod git_config;
mod git_dir;
mod git_index;
mod ignore;
mod pattern_file;
mod patterns;
mod room;
mod selection;
mod wildmatch;

pub(super) use component::Component;

pub use component::Fault;
pub use git_config::{ConfigFiles, GitConfig, Malformed};
pub use git_dir::{Tracked, WorkTree};
pub use git_index::{IndexFault, TrackedPaths};
pub use ignore::{GitRules, IgnoreRule, IgnoreSettings, IgnoreStack, Verdict, join};
pub use pattern_file::{PatternFile, read_pattern_file};
pub use patterns::{BadPattern, BadPatterns, Case, Origin, Patterns, Reach, Rule};
pub use room::{Held, Room};
pub use selection::{Decision, Doubt, Head, Level, ReadHead, Reason, RestoreSelection, Selection, Tag};
