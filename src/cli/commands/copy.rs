//! `copy`.

use std::ffi::OsStr;

use super::{filter, named, open_place, outcome, standing, usual_source, way};
use crate::cli::args;
use crate::cli::console::Console;
use crate::cli::password::Source;
use crate::cli::settings::{self, Environment, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::id::RecordId;
use crate::ops::copy::{Became, CopyOptions, CopySummary, From, copy};
use crate::ops::select;
use crate::repo::{Repository, Snapshot, Standing, Validity};
use crate::report::exit::Outcome;
use crate::report::{Job, Loudness, copy as told};

/// Copy snapshots into other repositories.
pub fn run(args: &args::Copy, settings: &Settings, env: &Environment) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let targets = settings.repositories()?;
    let (source, all) = source(args, settings, env, &console)?;
    let times = super::forget::times(&source, &console)?;
    let chosen = chosen(args, &all, &console);
    // Every statement, as it was signed. What cannot be read was told just now.
    let whole = source.snapshots(&|_, _| {})?;
    let from = From { repo: &source, chosen: &chosen, all: &whole, times: &times };
    let mut failed = Vec::new();
    for place in &targets {
        if let Err(e) = one(&from, place, targets.len() > 1, args, settings, &console) {
            if e.kind() == ErrorKind::Cancelled || targets.len() == 1 {
                return Err(e);
            }
            let what = format!("{e}{}", e.hints().first().map(|h| format!("; {h}")).unwrap_or_default());
            console.context().problem("not-copied", place.as_encoded_bytes(), "copy", what);
            failed.push(e);
        }
    }
    match failed.pop() {
        Some(last) if failed.len() + 1 == targets.len() => {
            Err(Error::new(last.kind(), "nothing could be copied to any of the repositories").because(last))
        }
        _ => Ok(outcome(&console)),
    }
}

/// Where the snapshots are, and which ones those are.
fn source(
    args: &args::Copy,
    settings: &Settings,
    env: &Environment,
    console: &Console,
) -> Result<(Repository, Standing)> {
    let (place, unlock) = settings::other(&args.from, env)?;
    let place = place.ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "where to copy from was not said")
            .hint("name the repository that the snapshots are in with --from-repo or ORLOP_FROM_REPOSITORY")
    })?;
    let mut of_source = settings.at(place.clone(), unlock);
    of_source.key_hint.clone_from(&args.from.from_key_hint);
    let unlock = match usual_source(&of_source, &place) {
        // Nobody is asked who said how to unlock the target.
        Source::Ask => settings.unlock.clone(),
        other => other,
    };
    let repo = open_place(&place, &unlock, "enter password for source repository: ", &of_source, console)?;
    let all = standing(&repo, console)?;
    Ok((repo, all))
}

/// Those that were named, or all that match. Nothing is copied whose content nobody vouches for.
fn chosen<'s>(args: &args::Copy, all: &'s Standing, console: &Console) -> Vec<&'s Snapshot> {
    let filter = filter(&args.filter);
    let wanted: Option<Vec<RecordId>> =
        (!args.ids.is_empty()).then(|| named(&args.ids, &all.snapshots, &filter, console));
    let replaced = select::standing(all.snapshots.clone());
    let stands = |s: &&Snapshot| replaced.iter().any(|r| r.id == s.id);
    let mut out: Vec<&Snapshot> = Vec::new();
    for s in &all.snapshots {
        let is_wanted = wanted.as_ref().map_or_else(|| filter.matches(s) && stands(&s), |ids| ids.contains(&s.id));
        if is_wanted && s.validity == Validity::Late {
            let what = "it was committed after its session had been given up, so it is not copied";
            console.context().problem("late", s.id.short().as_bytes(), "copy", what);
        } else if is_wanted {
            out.push(s);
        }
    }
    out
}

fn one(
    from: &From<'_>,
    place: &OsStr,
    several: bool,
    args: &args::Copy,
    settings: &Settings,
    console: &Console,
) -> Result<()> {
    let prompt = format!("enter password for repository {}: ", place.display());
    let prompt = if several { prompt.as_str() } else { "enter password for repository: " };
    let mut to = open_place(place, &usual_source(settings, place), prompt, settings, console)?;
    let options = CopyOptions {
        way: way(settings, &to, args.dry_run),
        compare: args.verify && !args.dry_run,
        connections: args.connections.into(),
    };
    let done = copy(from, &mut to, &options, &console.context())?;
    let report = report(from, &done, several.then(|| to.storage().place()), args.dry_run);
    match console.json {
        true => console.print(told::json(&report)),
        false => {
            console.remark(Loudness::Normal, &told::text(&report, console.names))?;
            console.remark(Loudness::Verbose, &told::quantities(&report))
        }
    }
}

fn report(from: &From<'_>, done: &CopySummary, target: Option<String>, dry_run: bool) -> told::Copy {
    let row = |(id, became): &(RecordId, Became)| {
        let s = from.chosen.iter().find(|s| s.id == *id)?;
        let became = match became {
            Became::Copied(new) => told::Became::Copied(new.map(|id| id.hex())),
            Became::There(there) => told::Became::There(there.hex()),
            Became::Forgotten => told::Became::Forgotten,
            // It was told as a problem.
            Became::Failed => return None,
        };
        Some(told::Row { source: super::row(s), became })
    };
    told::Copy {
        target,
        rows: done.snapshots.iter().filter_map(row).collect(),
        mirror: done.mirror,
        hollow: done.hollow,
        packs: done.packs,
        partial_packs: done.partial_packs,
        bytes: done.bytes,
        dry_run,
    }
}
