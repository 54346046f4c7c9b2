//! `snapshots`.

use std::ffi::OsStr;

use super::{chosen, open, outcome, row, snapshots};
use crate::cli::args::Snapshots;
use crate::cli::console::Console;
use crate::cli::settings::Settings;
use crate::error::Result;
use crate::report::Job;
use crate::report::exit::Outcome;
use crate::report::snapshots::{ListStyle, group, json, text};

/// List snapshots.
pub fn run(args: &Snapshots, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let repo = open(settings, &console)?;
    let all = snapshots(&repo, &console)?;
    let chosen = chosen(args.ids.iter().map(OsStr::new), &args.filter, &all, &console);
    let groups = group(chosen.into_iter().map(row).collect(), args.group_by, args.latest);
    console.print(match console.json {
        true => json(&groups, args.group_by),
        false => text(&groups, ListStyle { compact: args.compact, names: console.names }, &console.zone()),
    })?;
    Ok(outcome(&console))
}
