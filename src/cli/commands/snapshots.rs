//! `snapshots`.

use std::collections::HashSet;
use std::ffi::OsStr;

use super::forget::times;
use super::{about_now, chosen, named, open, open_looking, outcome, row, standing};
use crate::cli::args::{AcceptTime, Snapshots, SnapshotsCommand};
use crate::cli::console::Console;
use crate::cli::settings::Settings;
use crate::error::Result;
use crate::id::RecordId;
use crate::ops::{forget, select};
use crate::repo::{Hold, Snapshot};
use crate::report::exit::Outcome;
use crate::report::forget::{Accepted, accepted_json, accepted_text};
use crate::report::snapshots::{ListStyle, Row, group, json, text};
use crate::report::{self, Job, Loudness};

/// List snapshots.
pub fn run(args: &Snapshots, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    if let Some(SnapshotsCommand::AcceptTime(args)) = &args.command {
        return accept_time(args, settings, &console);
    }
    let repo = open_looking(settings, &console)?;
    let all = standing(&repo, &console)?;
    let notes = all.notes;
    let all = select::standing(all.snapshots);
    let now = about_now(&repo);
    let held = |s: &Snapshot| {
        let hold = |h: Hold| report::snapshots::Hold { reason: h.reason, until: h.until };
        Row { holds: notes.holds(s, now).into_iter().map(hold).collect(), ..row(s) }
    };
    let chosen = chosen(args.ids.iter().map(OsStr::new), &args.filter, &all, &console);
    let groups = group(chosen.into_iter().map(held).collect(), args.group_by, args.latest);
    console.print(match console.json {
        true => json(&groups, args.group_by),
        false => text(&groups, ListStyle { compact: args.compact, names: console.names }, &console.zone()),
    })?;
    Ok(outcome(&console))
}

/// The owner looked at them: the times that they claim are right.
fn accept_time(args: &AcceptTime, settings: &Settings, console: &Console) -> Result<Outcome> {
    let mut repo = open(settings, console)?;
    let all = standing(&repo, console)?.snapshots;
    let times = times(&repo, console)?;
    let doubtful = forget::doubts(&repo, &all, &times)?.flagged;
    let everything = select::Filter { incomplete: true, ..select::Filter::default() };
    let chosen: HashSet<RecordId> = match args.ids.is_empty() {
        true => doubtful.keys().copied().collect(),
        false => named(&args.ids, &all, &everything, console).into_iter().collect(),
    };
    let (which, sure): (Vec<&Snapshot>, Vec<&Snapshot>) =
        all.iter().filter(|s| chosen.contains(&s.id)).partition(|s| doubtful.contains_key(&s.id));
    if !which.is_empty() {
        forget::accept_times(&mut repo, settings.client.as_deref(), &which, &times)?;
    }
    for s in sure {
        let what = "the time that it claims is not in doubt: there was nothing to accept";
        console.context().notice("nothing-to-do", format!("{}: {what}", s.id.short()));
    }
    let received = |s: &&Snapshot| Accepted {
        id: s.id.hex(),
        claimed: s.statement.time,
        received: doubtful.get(&s.id).copied().flatten(),
    };
    let accepted: Vec<Accepted> = which.iter().map(received).collect();
    match console.json {
        true => console.print(accepted_json(&accepted, &console.zone()))?,
        false => console.remark(Loudness::Normal, &accepted_text(&accepted, &console.zone()))?,
    }
    Ok(outcome(console))
}
