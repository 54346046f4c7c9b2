//! One thin file per subcommand: arguments to options, the operation, its result to words.

pub mod backup;
pub mod cat;
pub mod check;
pub mod config;
pub mod copy;
pub mod debug;
pub mod diff;
pub mod doctor;
pub mod dump;
pub mod explain;
pub mod explain_exclude;
pub mod find;
pub mod forget;
pub mod generate;
pub mod init;
pub mod key;
pub mod list;
pub mod ls;
pub mod notes;
pub mod policy;
pub mod prune;
pub mod quickstart;
pub mod remake;
pub mod rescue;
pub mod restore;
pub mod snapshots;
pub mod stats;

mod destinations;
mod find_objects;
mod keep;
pub mod recovery;
mod sources;
mod stream;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{Compression, Filter as FilterArgs};
use super::console::Console;
use super::password::{self, Credential as Given, Source};
use super::reference::Reference;
use super::settings::Settings;
use super::signals;
use crate::crypto::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Notice;
use crate::format::keys::Credential;
use crate::id::{RecordId, SlotId};
use crate::index::Index;
use crate::model::{PageRef, Time};
use crate::ops::remake::Way;
use crate::ops::{backup::absolute, list as listing, select};
use crate::repo::{self, Reader, Remembered, Repository, Snapshot, Standing, Validity};
use crate::report::exit::Outcome;
use crate::report::snapshots::Row;
use crate::storage::{self, Cache, Counted, Location, Requests, Storage, Viewed};
use crate::sys;

/// How often a password may be typed wrong.
const TRIES: usize = 3;

/// What the library opens a slot with.
pub(super) fn credential(given: &Given) -> Credential {
    match given {
        Given::Password(p) => Credential::Password(p.bytes().to_vec().into()),
        Given::Key(k) => Credential::Raw(Secret::new(**k)),
        Given::Nothing => Credential::Nothing,
    }
}

/// A place as typed, as a path on this machine, if it is one.
pub(super) fn local_path(place: &OsStr) -> Result<Option<PathBuf>> {
    Ok(Location::parse(place)?.local().map(Path::to_owned))
}

/// The storage of a repository that exists.
pub(super) fn storage(place: &OsStr, settings: &Settings) -> Result<Arc<dyn Storage>> {
    let place = Location::parse(place)?;
    let storage = settings.access(&place, |access| match settings.as_of {
        Some(when) => storage::open_past(&place, access, when, repo::worth),
        None => storage::open(&place, access),
    })?;
    Ok(settings.limits.around(storage))
}

/// Open the repository of the settings, asking again after a wrong password where a person typed it.
pub(super) fn open(settings: &Settings, console: &Console) -> Result<Repository> {
    let repo = open_looking(settings, console)?;
    repo.look_away();
    Ok(repo)
}

/// The same, for what goes on at once with what was listed meanwhile: whoever only reads, and backups.
pub(super) fn open_looking(settings: &Settings, console: &Console) -> Result<Repository> {
    let place = settings.repository()?;
    open_place(place, &usual_source(settings, place), "enter password for repository: ", settings, console)
}

/// The key file that is made where nobody chose a way in; its name follows from the place.
pub(super) fn usual_key_file(settings: &Settings, place: &OsStr) -> Option<PathBuf> {
    let place = Location::parse(place).ok()?.place();
    Some(settings.keys_dir.as_ref()?.join(format!("{}.key", repo::place_key(&place))))
}

/// Where nothing was said, a key file that was made for this place is meant.
pub(super) fn usual_source(settings: &Settings, place: &OsStr) -> Source {
    match (&settings.unlock, usual_key_file(settings, place)) {
        (Source::Ask, Some(file)) if file.exists() => Source::KeyFile(file),
        (source, _) => source.clone(),
    }
}

pub(super) fn open_place(
    place: &OsStr,
    source: &Source,
    prompt: &str,
    settings: &Settings,
    console: &Console,
) -> Result<Repository> {
    open_counted(place, source, prompt, settings, (console, &console.requests))
}

/// The same, with what is asked of the storage counted somewhere.
pub(super) fn open_counted(
    place: &OsStr,
    source: &Source,
    prompt: &str,
    settings: &Settings,
    (console, requests): (&Console, &Arc<Requests>),
) -> Result<Repository> {
    let storage = match local_path(place)? {
        // What is read and written there is no request.
        Some(_) => storage(place, settings)?,
        None => Arc::new(Counted::new(storage(place, settings)?, Arc::clone(requests))),
    };
    let storage = Arc::new(Viewed::with_cache(storage, cache(place, settings)?));
    // Loaded before the look: what another run adds in between would be remembered, and not be seen. What is to be
    // accepted anew is forgotten only when it is there.
    let load = || memory(&storage.place(), settings, console);
    let memory = if settings.accept_repository { None } else { load()? };
    storage.look();
    // Nobody should be asked for the password of what is not there.
    let slots = repo::slot_ids(storage.as_ref())?;
    if slots.is_empty() {
        let error = repo::open_viewed(storage, &Credential::Nothing, None).err().unwrap_or_else(Error::cancelled);
        return Err(match settings.as_of {
            Some(_) => error.hint("that is how it was at the time of --as-of: name a later one"),
            None => error,
        });
    }
    let memory = if settings.accept_repository { load()? } else { memory };
    let hint = match &settings.key_hint {
        Some(begin) => Some(slot_by_prefix(&slots, begin)?),
        None => memory.as_ref().and_then(Remembered::slot_hint),
    };
    let mut repo = unlock(&storage, source, prompt, hint, console)?;
    if let Some(memory) = memory {
        repo.remember(memory)?;
    }
    Ok(repo)
}

/// The cache of what is elsewhere: what is on this machine is read there as quickly. What is read of the
/// past, of which others may have written some, stays out of it.
fn cache(place: &OsStr, settings: &Settings) -> Result<Option<Cache>> {
    if settings.as_of.is_some() {
        return Ok(None);
    }
    let Some(dir) = settings.cache_dir.as_ref().filter(|_| settings.cache_size_mib != Some(0)) else { return Ok(None) };
    if local_path(place)?.is_some() {
        return Ok(None);
    }
    let limit = settings.cache_size_mib.map_or(storage::cache::USUAL_LIMIT, |mib| u64::from(mib) << 20);
    Ok(Some(Cache::new(dir, limit).anew(settings.accept_repository)))
}

/// What is remembered of a place.
pub(super) fn memory(place: &str, settings: &Settings, console: &Console) -> Result<Option<Remembered>> {
    let Some(dir) = &settings.state_dir else { return Ok(None) };
    let load = || Remembered::load(dir, place, console.remarks("not-remembered"));
    if settings.as_of.is_some() {
        return load().map(|memory| Some(memory.of_the_past()));
    }
    if settings.accept_repository {
        let _ = std::fs::remove_file(dir.join(format!("{}.json", repo::place_key(place))));
    }
    load().map(Some)
}

fn unlock(
    storage: &Arc<Viewed>,
    source: &Source,
    prompt: &str,
    hint: Option<SlotId>,
    console: &Console,
) -> Result<Repository> {
    let mut tries = if matches!(source, Source::Ask) { TRIES } else { 1 };
    loop {
        tries -= 1;
        let mut notices = Vec::new();
        let given = password::obtain(source, prompt, signals::cancel(), &mut notices)?;
        tell(console, &notices);
        // Recovery words are tried first: that costs nothing, stretching a password does.
        let words = match &given {
            Given::Password(p) => recovery::from_words(p.bytes()),
            _ => None,
        };
        if let Some(words) = words
            && let Ok(repo) = repo::open_viewed(Arc::clone(storage), &Credential::Raw(words), hint)
        {
            return Ok(repo);
        }
        match repo::open_viewed(Arc::clone(storage), &credential(&given), hint) {
            Err(e) if e.kind() == ErrorKind::WrongPassword && tries > 0 => {
                console.context().notice("wrong-password", "wrong password, try again");
            }
            other => return other,
        }
    }
}

/// The one key slot whose id begins so.
pub(super) fn slot_by_prefix(slots: &[SlotId], begin: &str) -> Result<SlotId> {
    let begin = begin.to_ascii_lowercase();
    let found: Vec<&SlotId> = slots.iter().filter(|s| s.hex().starts_with(&begin)).collect();
    match found.as_slice() {
        [one] if !begin.is_empty() => Ok(**one),
        [] => Err(Error::new(ErrorKind::Missing, format!("no key's id begins with {begin:?}"))
            .hint("`orlop key list` lists what there is")),
        many => Err(Error::new(ErrorKind::Invalid, format!("the ids of {} keys begin with {begin:?}", many.len()))
            .hint("give more of the id")),
    }
}

pub(super) fn tell(console: &Console, notices: &[Notice]) {
    for n in notices {
        console.context().notice(n.slug, n.message.clone());
    }
}

/// Which snapshots a command looks at.
pub(super) fn filter(args: &FilterArgs) -> select::Filter {
    select::Filter {
        // An empty one stands for no host in particular, as in restic.
        hosts: args.host.iter().filter(|h| !h.is_empty()).cloned().collect(),
        tags: args.tag.iter().map(|t| t.0.clone()).collect(),
        paths: args.path.iter().map(|p| absolute(Path::new(p))).collect(),
        incomplete: args.incomplete,
    }
}

/// All snapshots that stand. Those that cannot be read are told as problems.
pub(super) fn snapshots(repo: &Repository, console: &Console) -> Result<Vec<Snapshot>> {
    standing(repo, console).map(|all| select::standing(all.snapshots))
}

/// The same with what was said of them, and those that are forgotten.
pub(super) fn standing(repo: &Repository, console: &Console) -> Result<Standing> {
    let cx = console.context();
    let trouble = |name: &str, e: Error| cx.problem("damaged", name.as_bytes(), "read", e.to_string());
    repo.standing(&trouble)
}

/// Those that were named. As in restic a name that means nothing is told and passed over.
pub(super) fn named(typed: &[String], all: &[Snapshot], filter: &select::Filter, console: &Console) -> Vec<RecordId> {
    let mut out = Vec::new();
    for name in typed {
        let found = Reference::parse(OsStr::new(name)).and_then(|r| match r.subdir {
            None => select::find(all, filter, &r.which),
            Some(_) => Err(Error::new(ErrorKind::Invalid, "a whole snapshot is meant, without a path in it")),
        });
        match found {
            Ok(s) if !out.contains(&s.id) => out.push(s.id),
            Ok(_) => {}
            Err(e) => console.context().problem("missing", name.as_bytes(), "find", e.to_string()),
        }
    }
    out
}

/// The snapshot that a reference means.
pub(super) fn snapshot(
    repo: &Repository,
    reference: &Reference,
    args: &FilterArgs,
    console: &Console,
) -> Result<Snapshot> {
    let all = snapshots(repo, console)?;
    let found = select::find(&all, &filter(args), &reference.which).cloned().map_err(|e| match outcome(console) {
        Outcome::Done => e,
        Outcome::Partial => {
            e.hint("there are some that cannot be read, named above: `orlop check` says what is damaged")
        }
    })?;
    tell_given_up([&found], console);
    Ok(found)
}

/// Who reads one that does not count should not take it for whole.
pub(super) fn tell_given_up<'s>(read: impl IntoIterator<Item = &'s Snapshot>, console: &Console) {
    for s in read.into_iter().filter(|s| s.validity == Validity::Late) {
        let what = "was given up while it was made: it does not count, and data that it needs may be gone";
        console.context().notice("late", format!("snapshot {} {what}", s.id.short()));
    }
}

/// Those that were named, or all that match. As in restic a name that means nothing is told and
/// passed over.
pub(super) fn chosen<'s, 'n>(
    names: impl ExactSizeIterator<Item = &'n OsStr>,
    args: &FilterArgs,
    all: &'s [Snapshot],
    console: &Console,
) -> Vec<&'s Snapshot> {
    let filter = filter(args);
    if names.len() == 0 {
        return all.iter().filter(|s| filter.matches(s)).collect();
    }
    let mut out: Vec<&Snapshot> = Vec::new();
    for name in names {
        match Reference::parse(name).and_then(|r| select::find(all, &filter, &r.which)) {
            Ok(s) if out.iter().all(|o| o.id != s.id) => out.push(s),
            Ok(_) => {}
            Err(e) => console.context().problem("missing", name.as_bytes(), "find", e.to_string()),
        }
    }
    out
}

/// The index, with what is wrong with it told.
pub(super) fn index(repo: &Repository, console: &Console) -> Result<Index> {
    let cx = console.context();
    repo.load_index(&|name, e| cx.problem("damaged", name.as_bytes(), "read", e.to_string()))
}

/// The directory that a reference means: the snapshot's top or `:PATH` in it.
pub(super) fn root_of(reader: &Reader<'_>, snapshot: &Snapshot, reference: &Reference) -> Result<Option<PageRef>> {
    listing::enter(reader, snapshot.statement.root, reference.subdir.as_deref()).map(|(root, _)| root)
}

/// A snapshot as lists show it.
pub(super) fn row(s: &Snapshot) -> Row {
    let given_up = s.validity == Validity::Late;
    Row { id: s.id.hex(), statement: s.statement.clone(), body: s.body.clone(), holds: vec![], given_up }
}

/// What time it is there; here, where asking needs a right to write that reading does not.
pub(super) fn about_now(repo: &Repository) -> Time {
    repo.storage_time().unwrap_or_else(|_| sys::now())
}

/// Partial if anything was told as a problem.
pub(super) fn outcome(console: &Console) -> Outcome {
    Outcome::of(console.meter().problems.load(std::sync::atomic::Ordering::Relaxed))
}

/// How a session goes that makes snapshots of others.
fn way(settings: &Settings, repo: &Repository, dry_run: bool) -> Way {
    Way {
        client: settings.client.clone(),
        dry_run,
        compression: level(settings, repo),
        pack_target: settings.pack_size_mib.map(|m| u64::from(m) << 20),
        verify: settings.extra_verify,
        program: concat!("orlop ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

/// How hard to compress: as was asked for, else as the repository says. `None`: not at all.
fn level(settings: &Settings, repo: &Repository) -> Option<i32> {
    match settings.compression {
        Compression::Off => None,
        Compression::Fastest => Some(1),
        Compression::Auto => Some(repo.config().compression),
        Compression::Better => Some(9),
        Compression::Max => Some(19),
    }
}
