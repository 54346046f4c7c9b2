//! `check`.

use super::{filter, open};
use crate::cli::args::Check;
use crate::cli::console::Console;
use crate::cli::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::check::{self, CheckOptions, CheckSummary, Data};
use crate::repo::Snapshot;
use crate::report::exit::Outcome;
use crate::report::{Job, Loudness, summary};

/// Check a repository.
pub fn run(args: &Check, settings: &Settings) -> Result<Outcome> {
    let mut console = Console::new(settings, Job::Check, false);
    let mut repo = open(settings, &console)?;
    let chosen = filter(&args.filter);
    let wanted = |s: &Snapshot| chosen.matches(s);
    let all = args.filter.host.is_empty() && args.filter.tag.is_empty() && args.filter.path.is_empty();
    let options = CheckOptions { data: data(args), wanted: (!all).then_some(&wanted), threads: None };
    let done = check::check(&mut repo, &options, &console.context());
    console.finish();
    let done = done?;
    let report = report(&done);
    if settings.json {
        console.print(summary::check_json(&report))?;
    } else {
        console.remark(Loudness::Normal, &summary::check_text(&report))?;
        console.remark_requests()?;
    }
    if done.errors == 0 { Ok(Outcome::Done) } else { Err(broken(&done)) }
}

fn data(args: &Check) -> Data {
    match args.read_data_subset {
        None if args.read_data => Data::All,
        None => Data::Trees,
        Some(subset) => Data::Part(subset),
    }
}

fn report(done: &CheckSummary) -> summary::Check {
    // What is missing may be in packs that no index knows.
    let lost_index = done.errors > 0 && done.unindexed_packs > 0;
    summary::Check {
        errors: done.errors,
        broken_packs: done.broken_packs.clone(),
        suggest_repair_index: done.damaged_segments > 0 || lost_index,
        suggest_prune: !lost_index && (done.unindexed_packs > 0 || !done.replaced_packs.is_empty()),
    }
}

fn broken(done: &CheckSummary) -> Error {
    const AGAIN: &str = "`orlop backup` of files that still exist stores again what only a damaged index knew";
    const KEEP: &str = "what is missing may be in the packs that are in no index: forget and prune nothing meanwhile";
    let error = Error::new(ErrorKind::Damaged, "the repository contains errors");
    let error = if done.damaged_segments + done.unindexed_packs > 0 { error.hint(AGAIN) } else { error };
    let error = if done.unindexed_packs > 0 { error.hint(KEEP) } else { error };
    match done.broken_packs.is_empty() {
        true => error.hint("if there is a second copy of the repository, put what was named back from there"),
        false => {
            error.hint("`orlop backup` of files that still exist stores again what is lost with the packs named above")
        }
    }
}
