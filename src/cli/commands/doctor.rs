//! `doctor`.

use crate::cli::args::{Doctor, DoctorCommand, DoctorPolicy};
use crate::cli::console::Console;
use crate::cli::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::format::names::prefix;
use crate::repo;
use crate::report::exit::Outcome;
use crate::report::{Job, bucket::BucketPolicy, doctor as report};
use crate::storage::probe::{self, Findings};
use crate::storage::{self, Access, Location};
use crate::sys;

/// Look.
pub fn run(args: &Doctor, settings: &Settings) -> Result<Outcome> {
    match &args.command {
        DoctorCommand::Storage(_) => look_at_storage(settings),
        DoctorCommand::Policy(args) => print_policy(args, settings),
    }
}

fn print_policy(args: &DoctorPolicy, settings: &Settings) -> Result<Outcome> {
    let place = Location::parse(settings.repository()?)?;
    let Location::S3 { bucket, prefix: folder, .. } = &place else {
        let what = format!("{} is in no bucket that has such policies", place.place());
        return Err(Error::new(ErrorKind::Unsupported, what).hint("name one with -r s3:HOST/BUCKET/PREFIX"));
    };
    let policy = BucketPolicy {
        bucket,
        prefix: folder,
        clients: &args.for_client,
        owners: &args.for_owner,
        kinds: &prefix::OF_CLIENTS,
        conditional: !args.without_condition,
    };
    Console::new(settings, Job::Other, false).print(policy.json())?;
    Ok(Outcome::Done)
}

fn look_at_storage(settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let place = settings.repository()?;
    let afresh = || {
        let place = Location::parse(place)?;
        // What was found before must not decide what is found now.
        settings.access(&place, |access| storage::open(&place, &Access { known: None, ..*access }))
    };
    let (one, two) = (afresh()?, afresh()?);
    let found = probe::probe(one.as_ref(), two.as_ref(), &|| sys::now().sec)?;
    let place = one.place();
    if let Some(dir) = &settings.state_dir
        && let Err(e) = repo::keep_findings(dir, &place, &found)
    {
        let what = format!("what was found cannot be remembered in {}: {e}", dir.display());
        console.context().notice("not-remembered", what);
    }
    // A look and a write by itself are no promise, however well they went.
    let collects = found.is_exclusive() && super::storage(settings.repository()?, settings)?.exclusive();
    let told = report::Storage { place: &place, collects, fresh: found.is_fresh(), rows: rows(&found) };
    console.print(if console.json { told.json() } else { told.text(console.names) })?;
    Ok(Outcome::Done)
}

fn rows(found: &Findings) -> Vec<report::Row> {
    let yes = |key, what, good| report::Row::answer(key, what, Some(good));
    let clock = match found.clock_ahead {
        Some(seconds) => format!("{seconds:+} s"),
        None => "unknown".to_owned(),
    };
    vec![
        yes("taken_once", "a name that is taken stays taken", found.taken_once),
        yes("taken_by_one", "of several at once one gets a name", found.taken_by_one),
        yes("read_after_write", "what was written is read at once", found.read_after_write),
        yes("list_after_write", "what was written is listed at once", found.list_after_write),
        yes("ranges", "pieces of objects come exactly", found.ranges),
        report::Row::answer("deletes", "objects can be deleted", found.deletes),
        yes("names", "long names come back as they were", found.names),
        yes("receive_times", "it says when an object arrived", found.receive_times),
        report::Row {
            key: "clock_ahead",
            what: "its clock is ahead of ours by",
            told: clock,
            number: found.clock_ahead,
            good: None,
        },
    ]
}
