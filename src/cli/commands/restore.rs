//! `restore`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

use super::{local_path, open, snapshot};
use crate::cli::args::{Overwrite as OverwriteArg, Restore};
use crate::cli::console::Console;
use crate::cli::reference::Reference;
use crate::cli::settings::{Environment, Settings};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::event::Context;
use crate::ops::restore::{self, Overwrite, RestoreOptions, RestoreSummary, XattrSelection};
use crate::plan::filter::{Case, Origin, Patterns, RestoreSelection, read_pattern_file};
use crate::report::exit::Outcome;
use crate::report::{Job, Loudness, summary, units};

/// Bring files back.
pub fn run(args: &Restore, settings: &Settings, env: &Environment) -> Result<Outcome> {
    let began = Instant::now();
    let reference = Reference::parse(&args.snapshot)?;
    let mut console = Console::new(settings, Job::Restore, false);
    let options = options(args, settings, env, &console.context())?;
    let repo = open(settings, &console)?;
    let done = {
        let cx = console.context();
        let snapshot = snapshot(&repo, &reference, &args.filter, &console)?;
        if snapshot.incomplete() {
            let id = snapshot.id.short();
            cx.notice("incomplete", format!("snapshot {id} is of an interrupted backup: files are missing in it"));
        }
        restore::restore(&repo, &snapshot, reference.subdir.as_deref(), &args.target, &options, &cx)
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
    };
    if settings.json {
        console.print(summary::restore_json(&report))?;
    } else {
        if args.dry_run {
            console.remark(Loudness::Normal, &plan(&done))?;
        }
        console.remark(Loudness::Normal, &summary::restore_text(&report))?;
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
        selection: selection(args, env, cx)?,
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

/// Patterns of a flag and of its files.
fn patterns(
    given: &[OsString],
    flag: &'static str,
    files: &[PathBuf],
    case: Case,
    env: &Environment,
    cx: &Context<'_>,
) -> Result<Patterns> {
    let mut all: Vec<(Vec<u8>, Origin)> = given.iter().map(|p| (p.as_bytes().to_vec(), Origin::Flag(flag))).collect();
    for file in files {
        let contents = std::fs::read(file)
            .map_err(|e| Error::new(ErrorKind::Invalid, "the file of patterns cannot be read").because(e))
            .doing(|| format!("while reading {}", file.display()))?;
        let read = read_pattern_file(file.as_os_str().as_bytes(), &contents, &|name| env.variable(name));
        for (line, name) in read.unset {
            let (file, name) = (file.display(), String::from_utf8_lossy(&name).into_owned());
            cx.notice("unset-variable", format!("{file}:{line}: ${name} is not set and stands for nothing"));
        }
        all.extend(read.patterns);
    }
    Ok(Patterns::compile(all, case)?)
}

fn selection(args: &Restore, env: &Environment, cx: &Context<'_>) -> Result<RestoreSelection> {
    let include = patterns(&args.include, "--include", &args.include_file, Case::Sensitive, env, cx)?;
    let iinclude = patterns(&args.iinclude, "--iinclude", &args.iinclude_file, Case::Insensitive, env, cx)?;
    let exclude = patterns(&args.exclude, "--exclude", &args.exclude_file, Case::Sensitive, env, cx)?;
    let iexclude = patterns(&args.iexclude, "--iexclude", &args.iexclude_file, Case::Insensitive, env, cx)?;
    let given = |strings: [&[OsString]; 2], files: [&[PathBuf]; 2]| {
        strings.iter().any(|l| !l.is_empty()) || files.iter().any(|l| !l.is_empty())
    };
    let included = given([&args.include, &args.iinclude], [&args.include_file, &args.iinclude_file]);
    let excluded = given([&args.exclude, &args.iexclude], [&args.exclude_file, &args.iexclude_file]);
    match (included, excluded) {
        (true, true) => {
            Err(Error::new(ErrorKind::Invalid, "includes and excludes are both given").hint("give one of them"))
        }
        (true, false) => Ok(RestoreSelection::Only(include, iinclude)),
        (false, true) => Ok(RestoreSelection::Except(exclude, iexclude)),
        (false, false) => Ok(RestoreSelection::All),
    }
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
