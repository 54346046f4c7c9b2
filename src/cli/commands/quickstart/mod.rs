//! `quickstart`: a repository, a backup, a trial of bringing it back, and what to do next.

mod compare;
mod room;
mod words;

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use clap::Parser;

use super::stream::Patient;
use super::{backup, destinations, filter, index, init, open, root_of, usual_key_file};
use crate::cli::args::{Cli, Command, Filter as FilterArgs, Quickstart};
use crate::cli::console::Console;
use crate::cli::password::Source;
use crate::cli::reference::{Reference, Which};
use crate::cli::settings::{Environment, Settings};
use crate::cli::signals;
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::model::NodeKind;
use crate::ops::backup::{self as taking, BackupOptions};
use crate::ops::list::Walk;
use crate::ops::restore::{self, RestoreOptions};
use crate::ops::select;
use crate::plan::filter::{Case, Origin, Patterns, RestoreSelection};
use crate::repo::{Reader, Repository, Snapshot};
use crate::report::exit::Outcome;
use crate::report::{Job, Loudness, units};
use compare::Compared;

/// Up to here everything is brought back on trial; of more, so much at most.
const TRIAL_BYTES: u64 = 1 << 30;
/// How many files a sample has at most.
const SAMPLE_FILES: u64 = 200;

/// Make sure of a folder, and show how to go on.
pub fn run(args: &Quickstart, settings: &Settings, env: &Environment) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    console.remark(Loudness::Normal, words::GREETING)?;
    let source = folder(args, env, &console)?;
    let data = env.data_dir().ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "nobody knows where your data folder is: HOME and XDG_DATA_HOME are not set")
    })?;
    let place = match settings.has_repository() {
        true => settings.repository()?.to_owned(),
        false => data.join("repository").into_os_string(),
    };
    let settings = &settings.at(place.clone(), settings.unlock.clone());
    let is_new = !init::is_there(&place, settings)?;
    enough_room(&source, &place, &data, is_new, settings, &console)?;
    if is_new {
        console.remark(Loudness::Normal, words::REPOSITORY)?;
        destinations::make_repository(&place, settings, &console)?;
    }
    console.remark(Loudness::Normal, words::BACKUP)?;
    let began = SystemTime::now();
    let (outcome, snapshot) = take(&source, settings, env)?;
    console.remark(Loudness::Normal, words::TRIAL)?;
    let trial = try_restore(&source, &snapshot, &data, began, settings)?;
    let told = words::Told {
        source: &source,
        place: &place,
        key_file: key_file(settings, &place),
        snapshot: &snapshot,
        is_new,
        trial: &trial,
    };
    console.print(if console.json { told.json() } else { told.text(console.loudness) })?;
    match (&trial.compared.differing[..], outcome) {
        ([], Outcome::Done) => Ok(Outcome::of(trial.problems)),
        ([], outcome) => Ok(outcome),
        ([first, ..], _) => {
            Err(Error::new(ErrorKind::Damaged, format!("{} came back different from the source", first.display()))
                .hint("`orlop check --read-data` says whether the repository is whole; please report this"))
        }
    }
}

/// The key file in use, where nobody chose another way in.
fn key_file(settings: &Settings, place: &OsStr) -> Option<PathBuf> {
    match &settings.unlock {
        Source::Ask => usual_key_file(settings, place).filter(|f| f.exists()),
        Source::KeyFile(file) => Some(file.clone()),
        _ => None,
    }
}

/// The folder that is meant; asked for where it is missing.
fn folder(args: &Quickstart, env: &Environment, console: &Console) -> Result<PathBuf> {
    let typed = match &args.path {
        Some(path) => path.clone(),
        None => ask(env, console)?,
    };
    let doing = || format!("looking for {}", Path::new(&typed).display());
    let failed = |e: std::io::Error| Error::new(ErrorKind::Source, e.to_string());
    let path = std::fs::canonicalize(&typed).map_err(failed).doing(doing)?;
    let meta = path.metadata().map_err(failed).doing(doing)?;
    if !meta.is_dir() {
        return Err(Error::new(ErrorKind::Source, format!("{} is no folder", path.display()))
            .hint("give the folder that it is in"));
    }
    Ok(path)
}

fn ask(env: &Environment, console: &Console) -> Result<OsString> {
    if console.json || !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Error::new(ErrorKind::Invalid, "no folder was given, and there is no terminal to ask on")
            .hint("orlop quickstart PATH"));
    }
    console.print("Which folder shall be protected? ")?;
    let terminal = rustix::io::dup(rustix::stdio::stdin())
        .map_err(|e| Error::new(ErrorKind::Invalid, "the terminal cannot be read").because(e))?;
    let mut input = Patient::new(std::fs::File::from(terminal), signals::cancel());
    let mut line = vec![0; 4096];
    let read = loop {
        match input.read(&mut line) {
            _ if signals::cancel().load(Relaxed) => return Err(Error::cancelled()),
            Ok(n) => break n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::new(ErrorKind::Invalid, "the terminal cannot be read").because(e)),
        }
    };
    let answer = line[..read].trim_ascii();
    match (answer, answer.strip_prefix(b"~/"), env.home()) {
        (b"", ..) => Err(Error::new(ErrorKind::Invalid, "no folder was given").hint("orlop quickstart PATH")),
        (b"~", _, Some(home)) => Ok(home.as_os_str().to_owned()),
        (_, Some(rest), Some(home)) => Ok(home.join(OsStr::from_bytes(rest)).into_os_string()),
        _ => Ok(OsString::from_vec(answer.to_vec())),
    }
}

/// Before anything is written: whether it will fit, compressed not at all.
fn enough_room(
    source: &Path,
    place: &OsStr,
    data: &Path,
    is_new: bool,
    settings: &Settings,
    console: &Console,
) -> Result<()> {
    let mut places = taking::Sources::default();
    places.add_as(source, Path::new("source"))?;
    let options = BackupOptions { avoid: destinations::avoid(settings)?, ..BackupOptions::default() };
    let cx = console.context();
    taking::scan(&places, &options, cx.meter, &[cx.cancel]);
    if cx.cancel.load(Relaxed) {
        return Err(Error::cancelled());
    }
    let (files, bytes) = (cx.meter.files_expected.load(Relaxed), cx.meter.bytes_expected.load(Relaxed));
    let size = units::bytes(bytes);
    console.remark(Loudness::Normal, &format!("   {files} files, {size} in {}\n", source.display()))?;
    // Only what changed is added to a repository that is there.
    let stored = if is_new { bytes } else { 0 };
    let repository = super::local_path(place)?;
    let mut needs = vec![(data, bytes.min(TRIAL_BYTES))];
    needs.extend(repository.as_deref().map(|path| (path, stored)));
    needs.reverse();
    let room = room::check(&needs)?;
    console.remark(Loudness::Normal, &room)
}

/// Take the snapshot as `orlop backup PATH` would.
fn take(source: &Path, settings: &Settings, env: &Environment) -> Result<(Outcome, Snapshot)> {
    let line = [OsStr::new("orlop"), OsStr::new("backup"), OsStr::new("--"), source.as_os_str()];
    let parsed = Cli::try_parse_from(line).map_err(|e| Error::new(ErrorKind::Bug, "no backup").because(e))?;
    let Command::Backup(args) = parsed.command else { return Err(Error::new(ErrorKind::Bug, "no backup")) };
    let (outcome, ids) = backup::take(&args, settings, env)?;
    let id = ids.first().ok_or_else(|| Error::new(ErrorKind::Bug, "a backup without a snapshot"))?;
    let console = Console::new(settings, Job::Other, false);
    let repo = open(settings, &console)?;
    let all = super::snapshots(&repo, &console)?;
    let which = Which::Prefix(id.hex());
    let snapshot = select::find(&all, &filter(&FilterArgs::default()), &which)?.clone();
    Ok((outcome, snapshot))
}

/// What the trial came to.
pub(super) struct Trial {
    /// Whether only a part was brought back.
    sample: bool,
    compared: Compared,
    problems: u64,
}

/// Bring it back into a scratch folder, which goes again, and compare.
fn try_restore(
    source: &Path,
    snapshot: &Snapshot,
    data: &Path,
    began: SystemTime,
    settings: &Settings,
) -> Result<Trial> {
    let mut console = Console::new(settings, Job::Restore, false);
    let repo = open(settings, &console)?;
    let make =
        || std::fs::create_dir_all(data).and_then(|()| tempfile::Builder::new().prefix("trial-").tempdir_in(data));
    let scratch = make()
        .map_err(|e| Error::new(ErrorKind::Target, e.to_string()))
        .doing(|| format!("making a scratch folder in {}", data.display()))?;
    let inside = source.as_os_str().as_bytes();
    let sample = snapshot.body.stats.bytes_processed >= TRIAL_BYTES;
    let selection = match sample {
        true => some_files(&repo, snapshot, inside, &console)?,
        false => RestoreSelection::All,
    };
    let options = RestoreOptions { selection, ..RestoreOptions::default() };
    let out = scratch.path().join("out");
    let done = restore::restore(&repo, snapshot, Some(inside), &out, &options, &console.context());
    console.finish();
    let problems = done?.problems;
    let mut skip = vec![data.to_owned()];
    skip.extend(super::local_path(settings.repository()?)?);
    skip.extend(settings.cache_dir.clone());
    let compared = compare::compare(source, &out, began, &skip, sample, signals::cancel())?;
    Ok(Trial { sample, compared, problems })
}

/// Files from all over the snapshot that are not too much together.
fn some_files(repo: &Repository, snapshot: &Snapshot, inside: &[u8], console: &Console) -> Result<RestoreSelection> {
    let index = index(repo, console)?;
    let reader = Reader::new(repo, &index);
    let reference = Reference { which: Which::Latest { back: 0 }, subdir: Some(inside.to_vec()) };
    let mut walk = Walk::new(&reader, root_of(&reader, snapshot, &reference)?, b"");
    let every = snapshot.body.stats.files_processed.div_ceil(SAMPLE_FILES).max(1);
    let (mut seen, mut bytes, mut chosen) = (0, 0, Vec::new());
    while let Some((path, node)) = walk.next()? {
        let NodeKind::File { size, .. } = node.kind else { continue };
        seen += 1;
        // The next that fits, where the one that is due does not.
        let due = seen / every >= chosen.len() as u64;
        if due && bytes + size <= TRIAL_BYTES {
            bytes += size;
            chosen.push((literal(path), Origin::Flag("--include")));
        }
    }
    Ok(RestoreSelection::Only(
        Patterns::compile(chosen, Case::Sensitive)?,
        Patterns::compile(Vec::new(), Case::Sensitive)?,
    ))
}

/// A pattern that means this path alone.
fn literal(path: &[u8]) -> Vec<u8> {
    let special = |b: u8| matches!(b, b'*' | b'?' | b'[' | b']' | b'\\' | b'!' | b'$');
    path.iter().flat_map(|b| if special(*b) { vec![b'\\', *b] } else { vec![*b] }).collect()
}
