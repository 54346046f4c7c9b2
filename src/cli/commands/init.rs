//! `init`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::policy::seconds as window;
use super::{credential, local_path, memory, open_place, recovery, storage as open_storage, tell};
use crate::cli::args::{Compression, Init};
use crate::cli::console::Console;
use crate::cli::password::{self, Source};
use crate::cli::settings::{self, Environment, Settings};
use crate::cli::signals;
use crate::error::{Error, ErrorKind, Result};
use crate::format::keys::Credential;
use crate::repo::{self, InitOptions, Initialized, Repository};
use crate::report::exit::Outcome;
use crate::report::{Job, Loudness, wire};
use crate::storage::{self, Location, Storage};

/// Make a repository.
pub fn run(args: &Init, settings: &Settings, env: &Environment) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    if !matches!(args.repository_version.as_str(), "1" | "latest" | "stable") {
        let what = format!("there is no repository version {:?}", args.repository_version);
        return Err(Error::new(ErrorKind::Invalid, what).hint("leave the flag out, or say 1"));
    }
    let undelete_window = window(args.undelete_window)?;
    let place = settings.repository()?;
    refuse_existing(place, settings)?;
    recovery::check_file(args.recovery_file.as_deref())?;
    let other = other_repository(args, settings, env, &console)?;
    let plan = Plan {
        source: settings.unlock.clone(),
        recovery: !args.no_recovery_key,
        mirror_of: other.as_ref().filter(|_| args.mirror_of.is_some()),
        cut_like: other.as_ref().filter(|_| args.mirror_of.is_none()),
        recovery_file: args.recovery_file.as_deref(),
        undelete_window,
    };
    make(place, &plan, settings, &console)?;
    Ok(Outcome::Done)
}

/// The repository of `--mirror-of` or `--copy-chunker-params`.
fn other_repository(
    args: &Init,
    settings: &Settings,
    env: &Environment,
    console: &Console,
) -> Result<Option<Repository>> {
    let (from, source) = settings::other(&args.from, env)?;
    let place = match (&args.mirror_of, args.copy_chunker_params) {
        (Some(place), _) => place.clone(),
        (None, true) => from.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "--copy-chunker-params needs --from-repo")
                .hint("say where the other repository is")
        })?,
        (None, false) => return Ok(None),
    };
    // A mirror usually has the password of what it mirrors.
    let source = match source {
        Source::Ask => settings.unlock.clone(),
        other => other,
    };
    open_place(&place, &source, "enter password for source repository: ", settings, console).map(Some)
}

/// What a new repository shall be.
pub(super) struct Plan<'a> {
    pub source: Source,
    pub recovery: bool,
    pub mirror_of: Option<&'a Repository>,
    pub cut_like: Option<&'a Repository>,
    pub recovery_file: Option<&'a Path>,
    pub undelete_window: u64,
}

/// Whether there is a repository already; asked before anybody is asked for a password.
pub(super) fn is_there(place: &OsStr, settings: &Settings) -> Result<bool> {
    if local_path(place)?.is_some_and(|path| path.symlink_metadata().is_err()) {
        return Ok(false);
    }
    match open_storage(place, settings) {
        Ok(storage) => repo::exists(storage.as_ref()),
        Err(e) if e.kind() == ErrorKind::NoRepository => Ok(false),
        Err(e) => Err(e),
    }
}

fn refuse_existing(place: &OsStr, settings: &Settings) -> Result<()> {
    if !is_there(place, settings)? {
        return Ok(());
    }
    let shown = Location::parse(place)?.place();
    Err(Error::new(ErrorKind::Exists, format!("create repository at {shown} failed: there is one already"))
        .hint("choose another place, or back up into this one"))
}

/// Make it and say so. If that fails, a folder that was made for it goes again.
pub(super) fn make(place: &OsStr, plan: &Plan<'_>, settings: &Settings, console: &Console) -> Result<()> {
    let mut notices = Vec::new();
    let location = Location::parse(place)?;
    let given = password::obtain_new(&plan.source, signals::cancel(), &mut notices)?;
    tell(console, &notices);
    let missing = |path: &&Path| path.symlink_metadata().is_err();
    let made = location.local().filter(missing).map(topmost_missing);
    let result = settings.access(&location, |access| storage::create(&location, access)).and_then(|storage| {
        let credential = credential(&given);
        let done = repo::init(&storage, &options(plan, settings, credential.clone()))?;
        announce(&storage, &credential, &done, plan, settings, console)
    });
    if let (Err(e), Some(top)) = (&result, made)
        && e.kind() != ErrorKind::Exists
    {
        let _ = std::fs::remove_dir_all(top);
    }
    result
}

/// The first folder on the way that does not exist.
fn topmost_missing(path: &Path) -> PathBuf {
    let missing = |p: &&Path| !p.as_os_str().is_empty() && p.symlink_metadata().is_err();
    path.ancestors().take_while(missing).last().unwrap_or(path).to_owned()
}

fn options<'a>(plan: &'a Plan<'_>, settings: &Settings, credential: Credential) -> InitOptions<'a> {
    let compression = match settings.compression {
        Compression::Off | Compression::Fastest => 1,
        Compression::Auto => 3,
        Compression::Better => 9,
        Compression::Max => 19,
    };
    let (mirror_of, cut_like) = (plan.mirror_of, plan.cut_like);
    let undelete_window = plan.undelete_window;
    InitOptions { credential, recovery: plan.recovery, compression, suite: None, undelete_window, mirror_of, cut_like }
}

fn announce(
    storage: &Arc<dyn Storage>,
    credential: &Credential,
    done: &Initialized,
    plan: &Plan<'_>,
    settings: &Settings,
    console: &Console,
) -> Result<()> {
    let words = done.recovery.as_ref().map(recovery::to_words).transpose()?;
    let (id, place) = (done.instance.hex(), storage.place());
    // Who makes a repository knows that it is not the one that was there before.
    if let Some(memory) = memory(&place, settings, console)? {
        memory.forget();
        repo::open(Arc::clone(storage), credential, None)?.remember(memory)?;
    }
    if console.json {
        let shown = words.as_ref().filter(|_| plan.recovery_file.is_none());
        console.print(wire::initialized(&id, &place, shown.map(|w| w.as_str())))?;
    } else {
        console.remark(Loudness::Normal, &format!("created orlop repository {} at {place}\n", &id[..10]))?;
    }
    match &words {
        Some(words) => recovery::show(words, plan.recovery_file, console),
        None => Ok(()),
    }
}
