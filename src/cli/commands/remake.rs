//! `rewrite` and `merge`.

use super::forget::times;
use super::{filter, named, open, outcome, sources, standing, way};
use crate::cli::args::{self, When};
use crate::cli::console::Console;
use crate::cli::settings::{Environment, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Context;
use crate::format::keys::Role;
use crate::id::RecordId;
use crate::model::Time;
use crate::ops::remake::{self, Became, MergeOptions, RewriteOptions, Rewritten};
use crate::ops::{forget, select};
use crate::plan::filter::RestoreSelection;
use crate::repo::{Repository, Snapshot, Standing, Validity};
use crate::report::exit::Outcome;
use crate::report::{Job, Loudness, remake as told};

/// The tag of snapshots whose originals stay, as restic has it.
const TAG: &str = "rewrite";

/// Change snapshots after the fact.
pub fn run(args: &args::Rewrite, settings: &Settings, env: &Environment) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let cx = console.context();
    let (selection, excludes) = sources::choice(&args.choice, env, &cx)?;
    let time = args.new_time.as_ref().map(|when| resolve(when, &console)).transpose()?;
    let nothing = matches!(selection, RestoreSelection::All) && args.new_host.is_none() && time.is_none();
    if nothing && !args.snapshot_summary {
        let what = "nothing to do: neither patterns nor a new host or time were given";
        return Err(Error::new(ErrorKind::Invalid, what).hint("`orlop rewrite --help` has examples"));
    }
    let mut repo = open(settings, &console)?;
    let all = standing(&repo, &console)?;
    let chosen = chosen(&args.ids, &args.filter, &all, &console);
    if args.forget {
        may_forget(&repo, &all, &chosen)?;
    }
    let options = RewriteOptions {
        way: way(settings, &repo, args.dry_run),
        selection,
        excludes,
        host: args.new_host.clone(),
        time,
        tags: if args.forget { vec![] } else { vec![TAG.to_owned()] },
        instead: args.forget,
    };
    let times = times(&repo, &console)?;
    let say = |path: &[u8]| drop(console.remark(Loudness::Verbose, &told::left_out(path, console.names)));
    let tell: remake::Tell<'_> = if console.loudness >= Loudness::Verbose && !console.json { Some(&say) } else { None };
    let done = remake::rewrite(&mut repo, &chosen, &options, tell, &cx)?;
    if repo.role() == Role::Owner {
        remake::carry_times(&mut repo, &chosen, &done, &options, &times)?;
    }
    let changed: Vec<&Snapshot> =
        chosen.iter().copied().filter(|s| done.iter().any(|r| r.old == s.id && is_changed(r))).collect();
    let removed = if args.forget && !args.dry_run { remove(&mut repo, settings, &changed, &cx)? } else { vec![] };
    report(args, &done, &removed, &console)
}

fn is_changed(r: &Rewritten) -> bool {
    matches!(r.became, Became::Changed { .. })
}

fn report(args: &args::Rewrite, done: &[Rewritten], removed: &[RecordId], console: &Console) -> Result<Outcome> {
    let row = |r: &Rewritten| {
        let (old, removed) = (r.old.hex(), removed.contains(&r.old) || (args.forget && args.dry_run));
        match r.became {
            Became::Unchanged => Some(told::Row { old, changed: None, removed: false }),
            Became::Changed { dropped, new } => {
                let changed = Some(told::Changed { dropped, new: new.map(|id| id.hex()) });
                Some(told::Row { old, changed, removed })
            }
            // They were told as problems.
            Became::Empty | Became::Unreadable => None,
        }
    };
    let rows: Vec<told::Row> = done.iter().filter_map(row).collect();
    match console.json {
        true => console.print(told::rewritten_json(&rows, args.dry_run))?,
        false => console.remark(Loudness::Normal, &told::rewritten(&rows, args.dry_run))?,
    }
    if done.iter().any(|r| r.became == Became::Empty) && !done.iter().any(is_changed) {
        return Err(Error::new(ErrorKind::Invalid, "no snapshot was rewritten, because no file would be left")
            .hint("`orlop forget ID` removes a whole snapshot"));
    }
    Ok(outcome(console))
}

fn resolve(when: &When, console: &Console) -> Result<(Time, i32)> {
    when.resolve(&console.zone()).map_err(|e| Error::new(ErrorKind::Invalid, e))
}

/// Those that were named, or all that match. Nothing is made of one whose content nobody vouches for.
fn chosen<'s>(ids: &[String], typed: &args::Filter, all: &'s Standing, console: &Console) -> Vec<&'s Snapshot> {
    let filter = filter(typed);
    let wanted: Option<Vec<RecordId>> = match ids.is_empty() {
        true => None,
        false => Some(named(ids, &all.snapshots, &select::Filter { incomplete: true, ..filter.clone() }, console)),
    };
    let mut out: Vec<&Snapshot> = Vec::new();
    for s in &all.snapshots {
        let is_wanted = wanted.as_ref().map_or_else(|| filter.matches(s), |ids| ids.contains(&s.id));
        match s.validity {
            _ if !is_wanted => {}
            Validity::Late => {
                let what = "it was committed after its session had been given up, so nothing is made of it";
                console.context().problem("late", s.id.short().as_bytes(), "read", what);
            }
            _ => out.push(s),
        }
    }
    out
}

/// Better now than after the new ones are there.
fn may_forget(repo: &Repository, all: &Standing, chosen: &[&Snapshot]) -> Result<()> {
    if repo.role() != Role::Owner {
        let what = "only the owner's key may forget snapshots, so nothing was changed";
        return Err(Error::new(ErrorKind::Forbidden, what).hint("without --forget or --delete the originals stay"));
    }
    let ids: Vec<RecordId> = chosen.iter().map(|s| s.id).collect();
    forget::named(all, &ids, repo.storage_time()?).map(drop)
}

fn remove(repo: &mut Repository, settings: &Settings, going: &[&Snapshot], cx: &Context<'_>) -> Result<Vec<RecordId>> {
    forget::carry_out(repo, settings.client.as_deref(), going, cx).map(|done| done.removed)
}

/// Make one snapshot of several.
pub fn merge(args: &args::Merge, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let cx = console.context();
    let filter = &args.filter;
    if args.ids.is_empty() && filter.host.is_empty() && filter.tag.is_empty() && filter.path.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "which snapshots shall be merged was not said")
            .hint("name them by their ids, or give --host, --tag or --path"));
    }
    let time = resolve(&args.new_time, &console)?;
    let mut repo = open(settings, &console)?;
    let all = standing(&repo, &console)?;
    let chosen = chosen(&args.ids, filter, &all, &console);
    // One that is not there would be missing in the new one without anybody noticing later.
    if outcome(&console) != Outcome::Done {
        return Err(Error::new(ErrorKind::Invalid, "not all of these snapshots can be had, so nothing was merged"));
    }
    if args.delete {
        may_forget(&repo, &all, &chosen)?;
    }
    let options = MergeOptions {
        way: way(settings, &repo, args.dry_run),
        host: args.new_host.clone(),
        time,
        tags: (!args.set_tags.is_empty()).then(|| args.set_tags.iter().flat_map(|t| t.0.clone()).collect()),
        label: args.label.clone(),
        description: args.description.clone(),
    };
    let say = |path: &[u8]| drop(console.remark(Loudness::Verbose, &told::differed(path, console.names)));
    let tell: remake::Tell<'_> = if console.loudness >= Loudness::Verbose && !console.json { Some(&say) } else { None };
    let done = remake::merge(&mut repo, &chosen, &options, tell, &cx)?;
    let removed = match args.delete && !args.dry_run {
        true => remove(&mut repo, settings, &chosen, &cx)?,
        false => vec![],
    };
    let report = told::Merge {
        merged: chosen.iter().map(|s| s.id.hex()).collect(),
        new: done.snapshot.map(|id| id.hex()),
        conflicts: done.conflicts,
        files: done.stats.files_processed,
        bytes: done.stats.bytes_processed,
        stored: done.stats.data_added,
        removed: removed.iter().map(RecordId::hex).collect(),
        dry_run: args.dry_run,
    };
    match console.json {
        true => console.print(told::merged_json(&report))?,
        false => console.remark(Loudness::Normal, &told::merged(&report))?,
    }
    Ok(outcome(&console))
}
