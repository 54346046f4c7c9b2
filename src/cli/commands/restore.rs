//! `restore`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

use super::{local_path, open_looking, snapshot, sources};
use crate::cli::args::{Overwrite as OverwriteArg, Restore};
use crate::cli::console::Console;
use crate::cli::reference::Reference;
use crate::cli::settings::{Environment, Settings};
use crate::error::Result;
use crate::event::Context;
use crate::ops::restore::{self, Overwrite, RestoreOptions, RestoreSummary, XattrSelection};
use crate::plan::filter::{Case, Origin, Patterns, RestoreSelection};
use crate::report::exit::Outcome;
use crate::report::{Job, Loudness, summary, units};

/// Bring files back.
pub fn run(args: &Restore, settings: &Settings, env: &Environment) -> Result<Outcome> {
    let began = Instant::now();
    let reference = Reference::parse(&args.snapshot)?;
    let mut console = Console::new(settings, Job::Restore, false);
    let options = options(args, settings, env, &console.context())?;
    let repo = open_looking(settings, &console)?;
    let done = {
        let cx = console.context();
        let snapshot = snapshot(&repo, &reference, &args.filter, &console)?;
        if snapshot.incomplete() {
            let id = snapshot.id.short();
            cx.notice("incomplete", format!("snapshot {id} is of an interrupted backup: files are missing in it"));
        }
        let done = restore::restore(&repo, &snapshot, reference.subdir.as_deref(), &args.target, &options, &cx);
        if done.as_ref().is_ok_and(|d| d.entries == 0) && !matches!(options.selection, RestoreSelection::All) {
            cx.notice("nothing-chosen", "nothing in the snapshot matches: patterns go by paths as in `orlop ls`");
        }
        done
    };
    console.finish();
    let done = done?;
    let report = summary::Restore {
        files: done.entries,
        files_restored: done.restored,
        files_skipped: done.skipped,
        files_deleted: done.deleted,
        bytes: done.bytes,
        bytes_restored: done.bytes_restored,
        bytes_skipped: done.bytes_skipped,
        problems: done.problems,
        seconds: began.elapsed().as_secs(),
        dry_run: args.dry_run,
        lacks: console.lacks(),
    };
    if settings.json {
        console.print(summary::restore_json(&report))?;
    } else {
        if args.dry_run {
            console.remark(Loudness::Normal, &plan(&done))?;
        }
        console.remark(Loudness::Normal, &summary::restore_text(&report, console.loudness))?;
        console.remark_requests()?;
    }
    Ok(Outcome::of(done.problems))
}

/// What a dry run found out about the work.
fn plan(done: &RestoreSummary) -> String {
    let fetched = units::bytes(done.bytes_fetched);
    format!("Plan: {fetched} in {} frames would be fetched from the repository\n", done.frames)
}

fn options(args: &Restore, settings: &Settings, env: &Environment, cx: &Context<'_>) -> Result<RestoreOptions> {
    let mut avoid: Vec<PathBuf> = settings.cache_dir.clone().into_iter().collect();
    avoid.extend(local_path(settings.repository()?)?);
    Ok(RestoreOptions {
        selection: sources::choice(&args.choice, env, cx)?.0,
        overwrite: match args.overwrite {
            OverwriteArg::Always => Overwrite::Always,
            OverwriteArg::IfChanged => Overwrite::IfChanged,
            OverwriteArg::IfNewer => Overwrite::IfNewer,
            OverwriteArg::Never => Overwrite::Never,
        },
        delete: args.delete,
        dry_run: args.dry_run,
        verify: args.verify,
        sparse: args.sparse,
        ownership_by_name: args.ownership_by_name,
        withhold_privileged: args.no_privileged_metadata,
        xattrs: xattrs(args)?,
        avoid,
        threads: 0,
    })
}

fn xattrs(args: &Restore) -> Result<XattrSelection> {
    let compile = |given: &[OsString], flag| -> Result<Patterns> {
        let all = given.iter().map(|p| (p.as_bytes().to_vec(), Origin::Flag(flag)));
        Ok(Patterns::compile(all, Case::Sensitive)?)
    };
    if !args.include_xattr.is_empty() {
        return Ok(XattrSelection::Only(compile(&args.include_xattr, "--include-xattr")?));
    }
    if !args.exclude_xattr.is_empty() {
        return Ok(XattrSelection::Except(compile(&args.exclude_xattr, "--exclude-xattr")?));
    }
    Ok(XattrSelection::All)
}
