//! The repositories that a backup goes to: mostly one, and else each with its own way in, its own
//! counts and its own failure.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use super::init::{self, Plan};
use super::{local_path, memory, open_counted, sources, usual_key_file, usual_source};
use crate::cli::args::Backup;
use crate::cli::console::Console;
use crate::cli::password::Source;
use crate::cli::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Context, Meter};
use crate::ops::backup::Avoid;
use crate::repo::{Repository, UNDELETE_WINDOW};
use crate::storage::{Location, Requests};

/// One that was opened.
pub(super) struct Opened {
    pub repo: Repository,
    /// How it is named, where there are several.
    pub name: Option<String>,
    /// What is asked of its storage.
    pub requests: Arc<Requests>,
}

/// All that could be opened, and why others could not.
pub(super) fn open(args: &Backup, settings: &Settings, console: &Console) -> Result<(Vec<Opened>, Vec<Error>)> {
    let places = settings.repositories()?;
    let several = places.len() > 1;
    let (mut opened, mut failed) = (Vec::new(), Vec::new());
    for place in places {
        match one(place, several, args, settings, console) {
            Ok(one) => opened.push(one),
            Err(e) if several && e.kind() != ErrorKind::Cancelled => {
                tell_failed(place, &e, console);
                failed.push(e);
            }
            Err(e) => return Err(e),
        }
    }
    match failed.pop() {
        Some(last) if opened.is_empty() => Err(nowhere(last)),
        last => {
            failed.extend(last);
            Ok((opened, failed))
        }
    }
}

fn one(place: &OsStr, several: bool, args: &Backup, settings: &Settings, console: &Console) -> Result<Opened> {
    if args.init && !init::is_there(place, settings)? {
        if args.dry_run {
            return Err(Error::new(ErrorKind::NoRepository, "there is no repository, and a dry run makes none"));
        }
        refuse_other_disk(place, settings, console)?;
        make_repository(place, settings, console)?;
    }
    let requests = if several { Arc::default() } else { Arc::clone(&console.requests) };
    let prompt = match several {
        true => format!("enter password for repository {}: ", place.display()),
        false => "enter password for repository: ".to_owned(),
    };
    let repo = open_counted(place, &usual_source(settings, place), &prompt, settings, (console, &requests))?;
    let name = several.then(|| repo.storage().place());
    Ok(Opened { repo, name, requests })
}

/// Where a repository was and is no more, its disk may not be mounted: a new one would take its place, and
/// the old one would be a stranger when it is back.
fn refuse_other_disk(place: &OsStr, settings: &Settings, console: &Console) -> Result<()> {
    let shown = Location::parse(place)?.place();
    // By what a storage calls its place it is remembered.
    let name = match local_path(place)? {
        Some(path) => std::path::absolute(&path).unwrap_or(path).display().to_string(),
        None => shown.clone(),
    };
    match memory(&name, settings, console)? {
        Some(memory) if memory.knows_any() => Err(Error::new(
            ErrorKind::NoRepository,
            format!("there is no repository at {shown} now, and there was one"),
        )
        .hint("is its disk mounted?")
        .hint("with --accept-repository a new one is made")),
        _ => Ok(()),
    }
}

/// One of several cannot be opened. What is counted as trouble of the source is in the snapshots of the
/// others, and this is none.
fn tell_failed(place: &OsStr, e: &Error, console: &Console) {
    let name = Location::parse(place).map_or_else(|_| place.to_string_lossy().into_owned(), |place| place.place());
    let hint = e.hints().first().map(|h| format!("; {h}")).unwrap_or_default();
    let cx = Context { meter: &Meter::default(), ..console.context() };
    cx.problem("repository-failed", name.as_bytes(), "open", format!("{e}{hint}"));
}

/// All of several have failed. What the last one says of itself is no exit code for all.
pub(super) fn nowhere(last: Error) -> Error {
    let kind = match last.kind() {
        ErrorKind::NoRepository | ErrorKind::WrongPassword => ErrorKind::Storage,
        kind => kind,
    };
    Error::new(kind, "no snapshot was saved in any of the repositories").because(last)
}

/// Make a repository with a recovery key; with a key file, where nobody said how it shall be locked.
pub(super) fn make_repository(place: &OsStr, settings: &Settings, console: &Console) -> Result<()> {
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

/// No repository must grow by being backed up into itself, or into another.
pub(super) fn avoid(settings: &Settings) -> Result<Vec<Avoid>> {
    let mut dirs = Vec::new();
    for place in settings.repositories()? {
        let local = local_path(place)?;
        dirs.push(local.and_then(|dir| sources::avoid(&dir, "source-contains-repository", "the repository")));
    }
    let cache = settings.cache_dir.as_deref();
    dirs.push(cache.and_then(|dir| sources::avoid(dir, "source-contains-cache", "the cache")));
    Ok(dirs.into_iter().flatten().collect())
}
