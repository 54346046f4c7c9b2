//! `stats`.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use super::{chosen, index, open_looking, outcome, snapshots};
use crate::cli::args::{By, Stats, StatsMode};
use crate::cli::console::Console;
use crate::cli::settings::Settings;
use crate::error::Result;
use crate::ops::stats::{Mode, totals, usage};
use crate::repo::{Reader, Snapshot};
use crate::report::escape::lossy;
use crate::report::exit::Outcome;
use crate::report::{Job, stats};

/// Count files, bytes and blobs.
pub fn run(args: &Stats, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let repo = open_looking(settings, &console)?;
    let all = snapshots(&repo, &console)?;
    let mut chosen = chosen(args.ids.iter().map(OsStr::new), &args.filter, &all, &console);
    chosen.sort_by_key(|s| (s.statement.time, s.statement.seq, s.id));
    if !args.ids.is_empty() {
        super::tell_given_up(chosen.iter().copied(), &console);
    }
    let index = index(&repo, &console)?;
    let reader = Reader::new(&repo, &index);
    match args.by {
        Some(by) => users(by, &reader, &chosen, &all, &console)?,
        None => counted(args.mode, &reader, &chosen, &console)?,
    }
    Ok(outcome(&console))
}

fn counted(mode: StatsMode, reader: &Reader<'_>, chosen: &[&Snapshot], console: &Console) -> Result<()> {
    let (mode, name) = match mode {
        StatsMode::RestoreSize => (Mode::RestoreSize, "restore-size"),
        StatsMode::FilesByContents => (Mode::FilesByContents, "files-by-contents"),
        StatsMode::RawData => (Mode::RawData, "raw-data"),
        StatsMode::BlobsPerFile => (Mode::BlobsPerFile, "blobs-per-file"),
    };
    let done = totals(reader, chosen, mode, &console.context())?;
    let raw = mode == Mode::RawData;
    let shown = stats::Totals {
        mode: name,
        snapshots: done.snapshots,
        bytes: done.bytes,
        files: (!raw).then_some(done.files),
        blobs: (raw || mode == Mode::BlobsPerFile).then_some(done.blobs),
        plain: raw.then_some(done.plain),
    };
    console.print(if console.json { stats::json(&shown) } else { stats::text(&shown) })
}

/// Snapshots that were not chosen count as one more user, so that what they share is not unique.
fn users(by: By, reader: &Reader<'_>, chosen: &[&Snapshot], all: &[Snapshot], console: &Console) -> Result<()> {
    let mut groups: BTreeMap<Vec<String>, Vec<&Snapshot>> = BTreeMap::new();
    for snapshot in chosen {
        groups.entry(key(by, snapshot)).or_default().push(snapshot);
    }
    let (keys, mut members): (Vec<_>, Vec<_>) = groups.into_iter().unzip();
    members.push(all.iter().filter(|s| chosen.iter().all(|c| c.id != s.id)).collect());
    // What each single snapshot needs in all would be as many walks as there are snapshots.
    let used = usage(reader, &members, by != By::Snapshot, &console.context())?;
    let mut shown: Vec<stats::Usage> = keys
        .into_iter()
        .zip(members.iter().zip(&used))
        .map(|(of, (snapshots, usage))| stats::Usage {
            of,
            snapshots: snapshots.len() as u64,
            restore_size: usage.restored,
            stored_size: usage.stored,
            unique_size: usage.unique,
        })
        .collect();
    shown.sort_by_key(|u| std::cmp::Reverse(u.unique_size));
    let what = match by {
        By::Host => "Host",
        By::Paths => "Paths",
        By::Tags => "Tags",
        By::Snapshot => "Snapshot",
        By::Set => "Set",
    };
    console.print(match console.json {
        true => stats::usage_json(&shown),
        false => stats::usage_text(what, &shown, console.names),
    })
}

fn key(by: By, s: &Snapshot) -> Vec<String> {
    let mut key = match by {
        By::Host => vec![s.body.hostname.clone()],
        By::Paths => s.body.paths.iter().map(|p| lossy(p)).collect(),
        By::Tags => s.body.tags.clone(),
        By::Snapshot => vec![s.id.short()],
        By::Set => vec!["all of them".to_owned()],
    };
    key.sort();
    key
}
