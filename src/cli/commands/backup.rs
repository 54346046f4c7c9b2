//! `backup`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::ScopedJoinHandle;

use super::destinations::{self, Opened};
use super::stream::{Patient, Running};
use super::{level, snapshots, sources};
use crate::cli::args::{Backup, Chunking, KeepFor};
use crate::cli::console::Console;
use crate::cli::hooks;
use crate::cli::reference::{Reference, Which};
use crate::cli::settings::{Environment, Settings};
use crate::cli::signals;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Context;
use crate::id::RecordId;
use crate::model::{Time, Trigger};
use crate::ops::backup::{self, About, Avoid, BackupOptions, BackupSummary, Destination, Input, Parent, Sources};
use crate::ops::prune;
use crate::ops::select;
use crate::plan::filter::Selection;
use crate::repo::Repository;
use crate::report::exit::Outcome;
use crate::report::{Job, Loudness, requests, summary};
use crate::retain::Span;

/// Files read at once, where nobody says: most of their readers wait for the disk.
const READ_CONCURRENCY: usize = 16;

/// Take a snapshot, with the hooks of the profile around it.
pub fn run(args: &Backup, settings: &Settings, env: &Environment) -> Result<Outcome> {
    let ids = |ids: Vec<RecordId>| ids.iter().map(RecordId::hex).collect::<Vec<_>>().join(" ");
    let take = || take(args, settings, env).map(|(outcome, snapshots)| (outcome, Some(ids(snapshots))));
    match args.dry_run {
        true => take().map(|(outcome, _)| outcome),
        false => hooks::around(settings, env, take),
    }
}

/// Take a snapshot in each repository; gives their ids.
pub(super) fn take(args: &Backup, settings: &Settings, env: &Environment) -> Result<(Outcome, Vec<RecordId>)> {
    let mut console = Console::new(settings, Job::Backup, false);
    let mut asked = Asked::from(args, env, &console)?;
    refuse_foreign_parent(args, settings)?;
    let (mut opened, mut failed) = destinations::open(args, settings, &console)?;
    let avoid = destinations::avoid(settings)?;
    if let Some(paths) = &mut asked.paths {
        sources::leave_out(paths, &avoid, &console.context())?;
    }
    let options = options(args, settings, &asked, avoid)?;
    let parents: Vec<Result<Parent>> = opened.iter().map(|o| parent(args, settings, o, &console)).collect();
    let mut to = Vec::new();
    for (o, parent) in opened.iter_mut().zip(parents) {
        let compression = level(settings, &o.repo);
        to.push(Destination { repo: &mut o.repo, name: o.name.clone(), parent: parent?, compression });
    }
    let done = match &asked.paths {
        Some(paths) => files(args, &mut to, paths, &options, &console),
        None => stream(args, &mut to, &options, &console),
    };
    let wrote = |done: &BackupSummary| done.stats.data_blobs + done.stats.tree_blobs > 0;
    if let (false, Ok(done)) = (args.dry_run, &done) {
        for (o, done) in opened.iter_mut().zip(done) {
            if done.as_ref().is_ok_and(wrote) {
                merge(&mut o.repo, &console);
            }
        }
    }
    console.finish();
    let mut saved = Vec::new();
    for (o, done) in opened.iter().zip(done?) {
        match done {
            Ok(done) => saved.push((o, done)),
            Err(e) if o.name.is_none() || e.kind() == ErrorKind::Cancelled => return Err(e),
            Err(e) => failed.push(e),
        }
    }
    conclude(args, &saved, failed, options.about.utc_offset, &console)
}

/// Report what was done in each repository, and what that comes to.
fn conclude(
    args: &Backup,
    saved: &[(&Opened, BackupSummary)],
    mut failed: Vec<Error>,
    utc_offset: i32,
    console: &Console,
) -> Result<(Outcome, Vec<RecordId>)> {
    if saved.iter().any(|(_, done)| done.incomplete) {
        return Err(Error::cancelled());
    }
    let mut problems = failed.len() as u64;
    if let (Some(last), true) = (failed.pop(), saved.is_empty()) {
        return Err(destinations::nowhere(last));
    }
    for (opened, done) in saved {
        report(args, opened, done, utc_offset, console)?;
        problems += done.stats.problems;
    }
    Ok((Outcome::of(problems), saved.iter().filter_map(|(_, done)| done.snapshot).collect()))
}

/// Every backup that stores anything leaves index segments. What goes wrong here costs the backup nothing.
fn merge(repo: &mut Repository, console: &Console) {
    let cx = console.context();
    if let Err(e) = prune::merge_if_many(repo, &cx) {
        cx.notice("not-merged", format!("many small index objects have gathered, and could not be merged: {e}"));
    }
}

/// What was asked for, as far as it can be known without a repository.
struct Asked {
    /// `None` for a stream.
    paths: Option<Vec<PathBuf>>,
    selection: Selection,
    excludes: Vec<Vec<u8>>,
    time: Time,
    utc_offset: i32,
    expires: Option<Time>,
}

impl Asked {
    fn from(args: &Backup, env: &Environment, console: &Console) -> Result<Self> {
        let cx = console.context();
        let (time, utc_offset) = args.time.resolve(&console.zone()).map_err(|e| Error::new(ErrorKind::Invalid, e))?;
        let (selection, excludes) = sources::selection(&args.leave_out, env, &cx)?;
        let paths = if args.stdin || args.stdin_from_command { None } else { Some(sources::paths(args, &cx)?) };
        if args.stdin && !args.paths.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "--stdin was given together with paths")
                .hint("back up the paths in a run of their own"));
        }
        let lists = [&args.files_from, &args.files_from_verbatim, &args.files_from_raw];
        if paths.is_none() && lists.iter().any(|l| !l.is_empty()) {
            return Err(Error::new(ErrorKind::Invalid, "a stream was asked for together with a list of files"));
        }
        let far = || Error::new(ErrorKind::Invalid, "--keep-for: no calendar goes so far");
        let end = |span: Span| span.after(time, utc_offset, &console.zone()).ok_or_else(far);
        let expires = match args.keep_for {
            Some(KeepFor::Span(span)) => Some(end(span)?),
            Some(KeepFor::Unlimited) | None => None,
        };
        Ok(Self { paths, selection, excludes, time, utc_offset, expires })
    }
}

/// What is the same in all repositories.
fn options(args: &Backup, settings: &Settings, asked: &Asked, avoid: Vec<Avoid>) -> Result<BackupOptions> {
    let usual = || std::thread::available_parallelism().map_or(1, |n| n.get() + 2).max(READ_CONCURRENCY);
    Ok(BackupOptions {
        group_by: args.group_by,
        force: args.force,
        changed: sources::changed(args)?,
        verify_sample: args.verify_sample.map_or(0.0, |p| p.0),
        ignore_ctime: args.ignore_ctime || args.ignore_inode,
        ignore_inode: args.ignore_inode,
        with_atime: args.with_atime,
        one_file_system: args.leave_out.one_file_system,
        selection: asked.selection.clone(),
        avoid,
        chunking: match args.chunking {
            Chunking::Default => 1,
            Chunking::Volume => 2,
            Chunking::Media => 3,
        },
        rechunk: args.rechunk,
        dry_run: args.dry_run,
        skip_if_unchanged: args.skip_if_unchanged,
        pack_target: settings.pack_size_mib.map(|m| u64::from(m) << 20),
        segment_packs: None,
        verify: settings.extra_verify,
        threads: Some(args.read_concurrency.or(settings.read_concurrency).unwrap_or_else(usual)),
        about: about(args, settings, asked),
        // Each repository has its own parent and compression.
        ..BackupOptions::default()
    })
}

fn about(args: &Backup, settings: &Settings, asked: &Asked) -> About {
    let paths = match (&asked.paths, &args.as_path) {
        (_, Some(shown)) => vec![in_tree(shown)],
        // What is not there is told, and is no part of the snapshot.
        (Some(paths), None) => {
            paths.iter().filter(|p| p.symlink_metadata().is_ok()).map(|p| backup::absolute(p)).collect()
        }
        (None, None) => vec![in_tree(&args.stdin_filename)],
    };
    About {
        client: settings.client.clone(),
        host: args.host.clone().filter(|host| !host.is_empty()).or_else(|| settings.host.clone()),
        paths,
        tags: args.tags(),
        label: args.label.clone().unwrap_or_default(),
        description: args.description.clone().unwrap_or_default(),
        trigger: args.schedule.clone().map_or(Trigger::Manual, Trigger::Schedule),
        expires: asked.expires,
        time: Some(asked.time),
        utc_offset: asked.utc_offset,
        program: concat!("orlop ", env!("CARGO_PKG_VERSION")).to_owned(),
        excludes: asked.excludes.clone(),
        ..About::default()
    }
}

/// A path that is in the tree and in no file system.
fn in_tree(path: &OsStr) -> Vec<u8> {
    backup::absolute(&Path::new("/").join(path))
}

/// What to compare with in a repository.
fn parent(args: &Backup, settings: &Settings, opened: &Opened, console: &Console) -> Result<Parent> {
    match (&args.parent, args.force) {
        (_, true) => Ok(Parent::None),
        (None, _) => Ok(Parent::Latest),
        (Some(typed), _) => match named_parent(typed, args, settings, &opened.repo, console) {
            // The latest of a repository that has none is none, where others have one.
            Err(e) if opened.name.is_some() && e.kind() == ErrorKind::Missing => Ok(Parent::None),
            found => found.map(Parent::Snapshot),
        },
    }
}

/// A snapshot of one repository is none of another.
fn refuse_foreign_parent(args: &Backup, settings: &Settings) -> Result<()> {
    let (Some(typed), false, many) = (&args.parent, args.force, settings.repositories()?.len()) else { return Ok(()) };
    if many < 2 || matches!(Reference::parse(OsStr::new(typed))?.which, Which::Latest { .. }) {
        return Ok(());
    }
    let what = format!("--parent {typed} means a snapshot of one repository, and {many} were named");
    Err(Error::new(ErrorKind::Invalid, what)
        .hint("leave it out: in each repository the newest snapshot of this host and these paths is meant"))
}

/// The snapshot that `--parent` means; `latest` is that of this host.
fn named_parent(
    typed: &str,
    args: &Backup,
    settings: &Settings,
    repo: &Repository,
    console: &Console,
) -> Result<RecordId> {
    let reference = Reference::parse(OsStr::new(typed))?;
    if reference.subdir.is_some() {
        return Err(Error::new(ErrorKind::Invalid, "a parent is a whole snapshot, without a path in it"));
    }
    let host = args
        .host
        .clone()
        .filter(|host| !host.is_empty())
        .or_else(|| settings.host.clone())
        .unwrap_or_else(|| repo.host().hostname.clone());
    let hosts = if matches!(reference.which, Which::Latest { .. }) { vec![host] } else { vec![] };
    let filter = select::Filter { hosts, incomplete: true, ..select::Filter::default() };
    let all = snapshots(repo, console)?;
    select::find(&all, &filter, &reference.which).map(|s| s.id).map_err(|e| e.doing("looking for the parent"))
}

fn files(
    args: &Backup,
    to: &mut [Destination<'_>],
    paths: &[PathBuf],
    options: &BackupOptions,
    console: &Console,
) -> Result<Vec<Result<BackupSummary>>> {
    let places = sources::places(paths, args.as_path.as_deref())?;
    let cx = console.context();
    let stop = AtomicBool::new(false);
    let counted = console.shows_progress() && !args.no_scan && args.changed_files.is_none();
    std::thread::scope(|scope| {
        let count = if counted { count(scope, places.clone(), options, &cx, &stop) } else { None };
        let done = backup::fan_out(to, Input::Paths(places), options, &cx);
        stop.store(true, Relaxed);
        if count.is_some_and(|count| count.join().is_ok()) && done.is_ok() && !cx.cancelled() {
            cx.meter.expect_what_was_done();
        }
        done
    })
}

/// Count the source beside the work; without a thread for it progress knows no end.
fn count<'s>(
    scope: &'s std::thread::Scope<'s, '_>,
    places: Sources,
    options: &'s BackupOptions,
    cx: &'s Context<'_>,
    stop: &'s AtomicBool,
) -> Option<ScopedJoinHandle<'s, ()>> {
    let (meter, cancel) = (cx.meter, cx.cancel);
    let run = move || backup::scan(&places, options, meter, &[stop, cancel]);
    std::thread::Builder::new().name("scan".into()).spawn_scoped(scope, run).ok()
}

fn stream(
    args: &Backup,
    to: &mut [Destination<'_>],
    options: &BackupOptions,
    console: &Console,
) -> Result<Vec<Result<BackupSummary>>> {
    let cx = console.context();
    let path = args.as_path.as_ref().map_or_else(|| PathBuf::from(&args.stdin_filename), PathBuf::from);
    if !args.stdin_from_command {
        // A descriptor of our own: the buffer that the library keeps before the usual one may not
        // be waited for.
        let input = rustix::io::dup(rustix::stdio::stdin())
            .map_err(|e| Error::new(ErrorKind::Source, "standard input cannot be read").because(e))?;
        let mut from = Patient::new(std::fs::File::from(input), signals::cancel());
        let mut accept = from.not_empty();
        return backup::fan_out(to, Input::Stream { path, from: &mut from, accept: &mut accept }, options, &cx);
    }
    let (mut running, output) = Running::start(&args.paths)?;
    let mut from = Patient::new(output, signals::cancel());
    let not_empty = from.not_empty();
    let mut accept = || running.verdict().and_then(|()| not_empty());
    backup::fan_out(to, Input::Stream { path, from: &mut from, accept: &mut accept }, options, &cx)
}

fn report(args: &Backup, opened: &Opened, done: &BackupSummary, utc_offset: i32, console: &Console) -> Result<()> {
    let report = summary::Backup {
        repository: opened.name.clone(),
        stats: done.stats,
        started: done.started,
        ended: done.ended,
        utc_offset,
        snapshot: done.snapshot,
        dry_run: args.dry_run,
        lacks: console.lacks(),
        requests: opened.requests.all(),
    };
    if console.json {
        return console.print(summary::backup_json(&report));
    }
    console.remark(Loudness::Normal, &summary::backup_text(&report, console.loudness))?;
    console.remark(Loudness::Verbose, &requests::text(&report.requests))
}
