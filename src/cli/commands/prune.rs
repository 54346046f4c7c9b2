//! `prune`.

use super::open;
use crate::cli::args::{MaxUnused, Prune, Pruning};
use crate::cli::console::Console;
use crate::cli::settings::Settings;
use crate::error::Result;
use crate::id::RecordId;
use crate::model::Time;
use crate::ops::prune::{self, Pending, PruneOptions, PruneSummary, Unused, Why};
use crate::repo::Repository;
use crate::report::exit::Outcome;
use crate::report::{Job, Loudness, prune as words};

/// Free what nothing needs.
pub fn run(args: &Prune, settings: &Settings) -> Result<Outcome> {
    let mut console = Console::new(settings, Job::Other, false);
    let mut repo = open(settings, &console)?;
    let options = PruneOptions {
        dry_run: args.dry_run,
        fence: args.fence,
        accept_lost: args.accept_lost,
        ..options(&args.pruning, &repo, settings)
    };
    let done = prune::prune(&mut repo, &options, &console.context());
    console.finish();
    let report = report(&done?);
    if settings.json {
        console.print(words::json(&report))?;
    } else {
        console.remark(Loudness::Normal, &words::text(&report, &console.zone()))?;
        console.remark_requests()?;
    }
    Ok(super::outcome(&console))
}

fn options(asked: &Pruning, repo: &Repository, settings: &Settings) -> PruneOptions {
    let usual = PruneOptions { compression: super::level(settings, repo), ..PruneOptions::default() };
    PruneOptions {
        max_unused: match asked.max_unused {
            None => usual.max_unused,
            Some(MaxUnused::Bytes(n)) => Unused::Bytes(n),
            Some(MaxUnused::Percent(p)) => Unused::Percent(p),
            Some(MaxUnused::Unlimited) => Unused::Unlimited,
        },
        max_repack: asked.max_repack_size,
        time_budget: asked.time_budget,
        now: asked.now,
        ..usual
    }
}

/// To be asked before anything is forgotten that is to be pruned afterwards.
pub(super) fn allowed(asked: &Pruning, repo: &Repository, settings: &Settings) -> Result<()> {
    prune::allowed(repo, &options(asked, repo, settings))
}

/// `forget --prune`; with `would` a dry run, as if these had been forgotten.
pub(super) fn afterwards(
    asked: &Pruning,
    repo: &mut Repository,
    would: Option<Vec<RecordId>>,
    settings: &Settings,
    console: &Console,
) -> Result<()> {
    let (dry_run, as_if_forgotten) = (would.is_some(), would.unwrap_or_default());
    let options = PruneOptions { dry_run, as_if_forgotten, ..options(asked, repo, settings) };
    let done = prune::prune(repo, &options, &console.context())?;
    if settings.json {
        return console.print(words::json(&report(&done)));
    }
    console.remark(Loudness::Normal, &words::text(&report(&done), &console.zone()))
}

fn report(done: &PruneSummary) -> words::Prune {
    words::Prune {
        dry_run: done.dry_run,
        repack_blobs: done.repack_blobs,
        repack_bytes: done.repack_bytes,
        removed_blobs: done.removed_blobs,
        removed_bytes: done.removed_bytes,
        delete_blobs: done.delete_blobs,
        delete_bytes: done.delete_bytes,
        remaining_blobs: done.remaining_blobs,
        remaining_bytes: done.remaining_bytes,
        unused_bytes: done.unused_bytes,
        deleted_packs: done.deleted_packs,
        deleted_bytes: done.deleted_bytes,
        earlier_packs: done.earlier_packs,
        earlier_bytes: done.earlier_bytes,
        forgotten_kept: done.forgotten_kept,
        forgotten_kept_until: done.forgotten_kept_until.map(|sec| Time { sec, nsec: 0 }),
        forgotten_ended: done.forgotten_ended,
        refused: done.refused,
        pending: done.pending.iter().map(pending).collect(),
    }
}

fn pending(p: &Pending) -> words::Pending {
    let time = |sec| Time { sec, nsec: 0 };
    words::Pending {
        bytes: p.bytes,
        not_before: p.not_before.map(time),
        session: match &p.why {
            Why::Grace => None,
            Why::Session { hostname, pid, started, progress } => {
                Some((hostname.clone(), *pid, time(*started), *progress))
            }
        },
    }
}
