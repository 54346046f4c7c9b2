//! `rescue`.

use super::outcome;
use crate::cli::args;
use crate::cli::console::Console;
use crate::cli::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::rescue::{Became, RescueOptions, RescueSummary, rescue};
use crate::report::exit::Outcome;
use crate::report::{Job, Loudness, rescue as told, units};
use crate::storage::{self, Location};

/// Make an earlier state current again.
pub fn run(args: &args::Rescue, settings: &Settings) -> Result<Outcome> {
    let mut console = Console::new(settings, Job::Other, false);
    let when = settings.as_of.ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "which state to bring back was not said")
            .hint("name a time at which all was well with --as-of, like '2026-11-20 12:00:00'")
            .hint("`orlop --as-of TIME check` says whether it was")
    })?;
    let place = Location::parse(settings.repository()?)?;
    let storage = settings.access(&place, |access| storage::open_versions(&place, access))?;
    let options = RescueOptions { when, dry_run: args.dry_run, keys: args.keys };
    let done = rescue(storage.as_ref(), &options, &console.context());
    console.finish();
    let report = report(&done?, units::wall_clock(when, &console.zone()));
    match console.json {
        true => console.print(told::json(&report))?,
        false => {
            console.remark(Loudness::Verbose, &told::names(&report, console.names))?;
            console.remark(Loudness::Normal, &told::text(&report))?;
        }
    }
    Ok(outcome(&console))
}

fn report(done: &RescueSummary, as_of: String) -> told::Rescue {
    let became = |became| match became {
        Became::BroughtBack => "brought_back",
        Became::Repaired => "repaired",
        Became::KeyStays => "key_stays",
        Became::Lost => "lost",
    };
    let object = |(name, b): &(String, Became)| told::Object { name: name.clone(), became: became(*b) };
    told::Rescue {
        dry_run: done.dry_run,
        as_of,
        objects: done.objects,
        intact: done.intact,
        later: done.later,
        brought_back: done.count(Became::BroughtBack),
        repaired: done.count(Became::Repaired),
        keys_that_stay: done.count(Became::KeyStays),
        lost: done.count(Became::Lost),
        bytes: done.bytes,
        changed: done.changed.iter().map(object).collect(),
    }
}
