//! `snapshots`.

use std::ffi::OsStr;

use super::{filter, open, outcome, row, snapshots};
use crate::cli::args::Snapshots;
use crate::cli::console::Console;
use crate::cli::reference::Reference;
use crate::cli::settings::Settings;
use crate::error::Result;
use crate::ops::select;
use crate::repo::Snapshot;
use crate::report::Job;
use crate::report::exit::Outcome;
use crate::report::snapshots::{ListStyle, group, json, text};

/// List snapshots.
pub fn run(args: &Snapshots, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let repo = open(settings, &console)?;
    let all = snapshots(&repo, &console)?;
    let chosen = chosen(args, &all, &console);
    let groups = group(chosen.into_iter().map(row).collect(), args.group_by, args.latest);
    console.print(match console.json {
        true => json(&groups, args.group_by),
        false => text(&groups, ListStyle { compact: args.compact, names: console.names }, &console.zone()),
    })?;
    Ok(outcome(&console))
}

/// Those that were named, or all that match. As in restic a name that means nothing is told and
/// passed over.
fn chosen<'s>(args: &Snapshots, all: &'s [Snapshot], console: &Console) -> Vec<&'s Snapshot> {
    let filter = filter(&args.filter);
    if args.ids.is_empty() {
        return all.iter().filter(|s| filter.matches(s)).collect();
    }
    let mut out: Vec<&Snapshot> = Vec::new();
    for id in &args.ids {
        let found = Reference::parse(OsStr::new(id)).and_then(|r| select::find(all, &filter, &r.which));
        match found {
            Ok(s) if out.iter().all(|o| o.id != s.id) => out.push(s),
            Ok(_) => {}
            Err(e) => console.context().problem("missing", id.as_bytes(), "find", e.to_string()),
        }
    }
    out
}
