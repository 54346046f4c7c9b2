//! `backup`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::init::{self, Plan};
use super::stream::{Patient, Running};
use super::{level, open_looking, snapshots, sources, usual_key_file};
use crate::cli::args::{Backup, Chunking, KeepFor};
use crate::cli::console::Console;
use crate::cli::hooks;
use crate::cli::password::Source;
use crate::cli::reference::{Reference, Which};
use crate::cli::settings::{Environment, Settings};
use crate::cli::signals;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Context;
use crate::id::RecordId;
use crate::model::{Time, Trigger};
use crate::ops::backup::{self, About, Avoid, BackupOptions, BackupSummary, Input, Parent, Sources};
use crate::ops::prune;
use crate::ops::select;
use crate::plan::filter::Selection;
use crate::repo::{Repository, UNDELETE_WINDOW};
use crate::report::exit::Outcome;
use crate::report::{Job, Loudness, summary};
use crate::retain::Span;

/// Files read at once, where nobody says: most of their readers wait for the disk.
const READ_CONCURRENCY: usize = 16;
/// Deep trees need deep stacks.
const STACK: usize = 64 << 20;

/// Take a snapshot, with the hooks of the profile around it.
pub fn run(args: &Backup, settings: &Settings, env: &Environment) -> Result<Outcome> {
    let take = || take(args, settings, env).map(|(outcome, snapshot)| (outcome, snapshot.map(|id| id.hex())));
    match args.dry_run {
        true => take().map(|(outcome, _)| outcome),
        false => hooks::around(settings, env, take),
    }
}

/// Take a snapshot; gives its id, if there is one.
pub(super) fn take(args: &Backup, settings: &Settings, env: &Environment) -> Result<(Outcome, Option<RecordId>)> {
    let mut console = Console::new(settings, Job::Backup, false);
    let asked = Asked::from(args, env, &console)?;
    if args.init && !init::is_there(settings.repository()?, settings)? {
        if args.dry_run {
            return Err(Error::new(ErrorKind::NoRepository, "there is no repository, and a dry run makes none"));
        }
        make_repository(settings, &console)?;
    }
    let mut repo = open_looking(settings, &console)?;
    let options = options(args, settings, &asked, &repo, &console)?;
    let usual = || std::thread::available_parallelism().map_or(1, |n| n.get() + 2).max(READ_CONCURRENCY);
    let threads = args.read_concurrency.or(settings.read_concurrency).unwrap_or_else(usual).max(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK).build();
    let pool = pool.map_err(|e| Error::new(ErrorKind::Bug, "threads cannot be started").because(e))?;
    let done = pool.install(|| match &asked.paths {
        Some(paths) => files(args, &mut repo, paths, &options, &console),
        None => stream(args, &mut repo, &options, &console),
    });
    let wrote = |done: &BackupSummary| done.stats.data_blobs + done.stats.tree_blobs > 0;
    if !args.dry_run && done.as_ref().is_ok_and(wrote) {
        merge(&mut repo, &console);
    }
    console.finish();
    let done = done?;
    Ok((report(args, &done, options.about.utc_offset, &console)?, done.snapshot))
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

/// Make a repository with a recovery key; with a key file, where nobody said how it shall be locked.
pub(super) fn make_repository(settings: &Settings, console: &Console) -> Result<()> {
    let place = settings.repository()?;
    let source = match (&settings.unlock, usual_key_file(settings, place)) {
        (Source::Ask, Some(file)) => {
            let dir = file.parent().unwrap_or(Path::new("/"));
            std::fs::create_dir_all(dir)
                .map_err(|e| Error::new(ErrorKind::Target, format!("cannot make {}", dir.display())).because(e))?;
            if file.exists() {
                console.context().notice("key-file-used", format!("using the key file {}", file.display()));
            }
            Source::KeyFile(file)
        }
        (source, _) => source.clone(),
    };
    let plan = Plan {
        source,
        recovery: true,
        mirror_of: None,
        cut_like: None,
        recovery_file: None,
        undelete_window: UNDELETE_WINDOW,
    };
    init::make(place, &plan, settings, console)
}

fn options(
    args: &Backup,
    settings: &Settings,
    asked: &Asked,
    repo: &Repository,
    console: &Console,
) -> Result<BackupOptions> {
    let parent = match (&args.parent, args.force) {
        (_, true) => Parent::None,
        (Some(typed), _) => Parent::Snapshot(parent(typed, args, settings, repo, console)?),
        (None, _) => Parent::Latest,
    };
    Ok(BackupOptions {
        parent,
        group_by: args.group_by,
        force: args.force,
        changed: sources::changed(args)?,
        verify_sample: args.verify_sample.map_or(0.0, |p| p.0),
        ignore_ctime: args.ignore_ctime || args.ignore_inode,
        ignore_inode: args.ignore_inode,
        with_atime: args.with_atime,
        one_file_system: args.leave_out.one_file_system,
        selection: asked.selection.clone(),
        avoid: avoid(settings)?,
        chunking: match args.chunking {
            Chunking::Default => 1,
            Chunking::Volume => 2,
            Chunking::Media => 3,
        },
        rechunk: args.rechunk,
        dry_run: args.dry_run,
        skip_if_unchanged: args.skip_if_unchanged,
        compression: level(settings, repo),
        pack_target: settings.pack_size_mib.map(|m| u64::from(m) << 20),
        segment_packs: None,
        verify: settings.extra_verify,
        about: about(args, settings, asked),
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
        host: args.host.clone().or_else(|| settings.host.clone()),
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

/// The snapshot that `--parent` means; `latest` is that of this host.
fn parent(typed: &str, args: &Backup, settings: &Settings, repo: &Repository, console: &Console) -> Result<RecordId> {
    let reference = Reference::parse(OsStr::new(typed))?;
    if reference.subdir.is_some() {
        return Err(Error::new(ErrorKind::Invalid, "a parent is a whole snapshot, without a path in it"));
    }
    let host = args.host.clone().or_else(|| settings.host.clone()).unwrap_or_else(|| repo.host().hostname.clone());
    let hosts = if matches!(reference.which, Which::Latest { .. }) { vec![host] } else { vec![] };
    let filter = select::Filter { hosts, incomplete: true, ..select::Filter::default() };
    let all = snapshots(repo, console)?;
    select::find(&all, &filter, &reference.which).map(|s| s.id).map_err(|e| e.doing("looking for the parent"))
}

/// A repository must not grow by being backed up into itself.
pub(super) fn avoid(settings: &Settings) -> Result<Vec<Avoid>> {
    let repository = super::local_path(settings.repository()?)?;
    let cache = settings.cache_dir.as_deref();
    let dirs = [
        repository.and_then(|dir| sources::avoid(&dir, "source-contains-repository", "the repository")),
        cache.and_then(|dir| sources::avoid(dir, "source-contains-cache", "the cache")),
    ];
    Ok(dirs.into_iter().flatten().collect())
}

fn files(
    args: &Backup,
    repo: &mut Repository,
    paths: &[PathBuf],
    options: &BackupOptions,
    console: &Console,
) -> Result<BackupSummary> {
    let places = sources::places(paths, args.as_path.as_deref())?;
    let cx = console.context();
    let stop = AtomicBool::new(false);
    let counted = console.shows_progress() && !args.no_scan && args.changed_files.is_none();
    std::thread::scope(|scope| {
        if counted {
            count(scope, places.clone(), options, &cx, &stop);
        }
        let done = backup::backup(repo, Input::Paths(places), options, &cx);
        stop.store(true, Relaxed);
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
) {
    let (meter, cancel) = (cx.meter, cx.cancel);
    let run = move || backup::scan(&places, options, meter, &[stop, cancel]);
    let _ = std::thread::Builder::new().name("scan".into()).stack_size(STACK).spawn_scoped(scope, run);
}

fn stream(args: &Backup, repo: &mut Repository, options: &BackupOptions, console: &Console) -> Result<BackupSummary> {
    let cx = console.context();
    let path = args.as_path.as_ref().map_or_else(|| PathBuf::from(&args.stdin_filename), PathBuf::from);
    if !args.stdin_from_command {
        // A descriptor of our own: the buffer that the library keeps before the usual one may not
        // be waited for.
        let input = rustix::io::dup(rustix::stdio::stdin())
            .map_err(|e| Error::new(ErrorKind::Source, "standard input cannot be read").because(e))?;
        let mut from = Patient::new(std::fs::File::from(input), signals::cancel());
        return backup::backup(repo, Input::Stream { path, from: &mut from, accept: &mut || Ok(()) }, options, &cx);
    }
    let (mut running, output) = Running::start(&args.paths)?;
    let mut from = Patient::new(output, signals::cancel());
    let mut accept = || running.verdict();
    backup::backup(repo, Input::Stream { path, from: &mut from, accept: &mut accept }, options, &cx)
}

fn report(args: &Backup, done: &BackupSummary, utc_offset: i32, console: &Console) -> Result<Outcome> {
    if done.incomplete {
        return Err(Error::cancelled());
    }
    let report = summary::Backup {
        stats: done.stats,
        started: done.started,
        ended: done.ended,
        utc_offset,
        snapshot: done.snapshot,
        dry_run: args.dry_run,
        lacks: console.lacks(),
        requests: console.requests.all(),
    };
    if console.json {
        console.print(summary::backup_json(&report))?;
    } else {
        console.remark(Loudness::Normal, &summary::backup_text(&report, console.loudness))?;
        console.remark_requests()?;
    }
    Ok(Outcome::of(done.stats.problems))
}
