//! `snapshots`.

use super::{filter, named, open, outcome, row, standing};
use crate::cli::args::Snapshots;
use crate::cli::console::Console;
use crate::cli::settings::Settings;
use crate::error::Result;
use crate::ops::select;
use crate::repo::{Hold, Snapshot};
use crate::report::exit::Outcome;
use crate::report::snapshots::{ListStyle, Row, group, json, text};
use crate::report::{self, Job};
use crate::sys;

/// List snapshots.
pub fn run(args: &Snapshots, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let repo = open(settings, &console)?;
    let all = standing(&repo, &console)?;
    let notes = all.notes;
    let all = select::standing(all.snapshots);
    // Reading needs no right to write, which asking the storage for its time may need.
    let now = repo.storage_time().unwrap_or_else(|_| sys::now());
    let held = |s: &Snapshot| {
        let hold = |h: Hold| report::snapshots::Hold { reason: h.reason, until: h.until };
        Row { holds: notes.holds(s, now).into_iter().map(hold).collect(), ..row(s) }
    };
    let chosen = chosen(args, &all, &console);
    let groups = group(chosen.into_iter().map(held).collect(), args.group_by, args.latest);
    console.print(match console.json {
        true => json(&groups, args.group_by),
        false => text(&groups, ListStyle { compact: args.compact, names: console.names }, &console.zone()),
    })?;
    Ok(outcome(&console))
}

/// Those that were named, or all that match.
fn chosen<'s>(args: &Snapshots, all: &'s [Snapshot], console: &Console) -> Vec<&'s Snapshot> {
    let filter = filter(&args.filter);
    if args.ids.is_empty() {
        return all.iter().filter(|s| filter.matches(s)).collect();
    }
    let ids = named(&args.ids, all, &filter, console);
    all.iter().filter(|s| ids.contains(&s.id)).collect()
}
