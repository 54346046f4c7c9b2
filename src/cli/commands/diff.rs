//! `diff`.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{index, open_looking, outcome, row, snapshot, sources};
use crate::cli::args::Diff;
use crate::cli::console::{Console, Output, cannot_write};
use crate::cli::reference::Reference;
use crate::cli::settings::{Environment, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::backup::absolute;
use crate::ops::diff::{Change, DiffSummary, Entries, LiveOptions, What, diff, live};
use crate::ops::list;
use crate::plan::filter::{Case, Patterns};
use crate::repo::{Reader, Snapshot};
use crate::report::exit::Outcome;
use crate::report::{Job, Loudness, difference};

/// Compare.
pub fn run(args: &Diff, settings: &Settings, env: &Environment) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let one = Reference::parse(&args.one)?;
    let other = match Directory::parse(&args.other)? {
        Some(dir) => Other::Directory(dir),
        None => Other::Snapshot(Reference::parse(&args.other).map_err(|e| match Path::new(&args.other).exists() {
            true => e.hint(format!("for what is on this machine, write ./{}", args.other.to_string_lossy())),
            false => e,
        })?),
    };
    let live_only = args.content || !args.exclude.is_empty() || !args.exclude_file.is_empty();
    if live_only && matches!(other, Other::Snapshot(_)) {
        let what = "--content and --exclude are for comparing with a directory of this machine";
        return Err(Error::new(ErrorKind::Invalid, what).hint("write a directory with a slash or a dot: ./notes"));
    }
    let exclude = sources::patterns("--exclude", &args.exclude, &args.exclude_file, env, &console.context())?;
    let exclude = Patterns::compile(exclude, Case::Sensitive)?;
    let repo = open_looking(settings, &console)?;
    let before = snapshot(&repo, &one, &args.filter, &console)?;
    let index = index(&repo, &console)?;
    let reader = Reader::new(&repo, &index);
    let work = Work { args, console: &console, reader: &reader };
    match other {
        Other::Snapshot(other) => {
            let after = snapshot(&repo, &other, &args.filter, &console)?;
            work.snapshots((&one, &before), (&other, &after))?;
        }
        Other::Directory(dir) => {
            let options = LiveOptions { metadata: args.metadata, content: args.content, exclude };
            work.directory((&one, &before), dir.0, &options)?;
        }
    }
    Ok(outcome(&console))
}

enum Other<'a> {
    Snapshot(Reference),
    Directory(Directory<'a>),
}

struct Directory<'a>(&'a Path);

impl<'a> Directory<'a> {
    /// A path, and no snapshot: with a slash before any colon, or a dot at the beginning.
    fn parse(typed: &'a OsStr) -> Result<Option<Self>> {
        let name = typed.as_bytes().split(|b| *b == b':').next().unwrap_or_default();
        if !name.contains(&b'/') && !name.starts_with(b".") {
            return Ok(None);
        }
        let path = Path::new(typed);
        let what = match path.metadata() {
            Ok(meta) if meta.is_dir() => return Ok(Some(Self(path))),
            Ok(_) => Error::new(ErrorKind::Invalid, format!("{} is no directory", path.display()))
                .hint("compare the directory it is in"),
            Err(e) => Error::new(ErrorKind::Source, format!("{} cannot be looked at", path.display())).because(e),
        };
        Err(what)
    }
}

struct Work<'a> {
    args: &'a Diff,
    console: &'a Console,
    reader: &'a Reader<'a>,
}

impl Work<'_> {
    fn snapshots(&self, one: (&Reference, &Snapshot), other: (&Reference, &Snapshot)) -> Result<()> {
        let enter = |(reference, snapshot): (&Reference, &Snapshot)| {
            list::enter(self.reader, snapshot.statement.root, reference.subdir.as_deref()).map(|(root, _)| root)
        };
        let roots = (enter(one)?, enter(other)?);
        let (source, target) = (row(one.1), row(other.1));
        let names = (source.short().to_owned(), target.short().to_owned());
        let cx = self.console.context();
        self.told(&names, |take| diff(self.reader, roots, self.args.metadata, &cx, take))
    }

    fn directory(&self, one: (&Reference, &Snapshot), dir: &Path, options: &LiveOptions) -> Result<()> {
        let place = absolute(dir);
        let subdir = one.0.subdir.as_deref().unwrap_or(&place);
        let (root, at) =
            list::enter(self.reader, one.1.statement.root, Some(subdir)).map_err(|e| match one.0.subdir.is_none() {
                true => e.hint("name its place in the snapshot, as in `orlop diff latest:/notes ./notes`"),
                false => e,
            })?;
        let names = (row(one.1).short().to_owned(), dir.display().to_string());
        let (cx, reader) = (self.console.context(), self.reader);
        self.told(&names, |take| live(reader, (root, &at), dir, options, &cx, take))
    }

    /// Compare, telling what comes up and what it comes to.
    fn told(
        &self,
        (source, target): &(String, String),
        compare: impl FnOnce(&mut (dyn FnMut(&Change<'_>) -> Result<()> + Send)) -> Result<DiffSummary>,
    ) -> Result<()> {
        let (console, json) = (self.console, self.console.json);
        console.remark(Loudness::Normal, &format!("comparing snapshot {source} to {target}:\n\n"))?;
        let mut out = Output::new()?;
        let quiet = console.loudness < Loudness::Normal;
        let (metadata, names) = (self.args.metadata, console.names);
        let mut take = |change: &Change<'_>| {
            let modifier = modifier(change.what, metadata);
            let change = difference::Change { path: change.path, dir: change.dir, modifier: &modifier };
            match (json, quiet) {
                (true, _) => out.write_all(difference::json(&change).as_bytes()),
                (_, true) => Ok(()),
                _ => out.write_all(&difference::line(&change, names)),
            }
            .map_err(cannot_write)
        };
        let done = compare(&mut take)?;
        let summary = summary(&done, source, target);
        let text = match json {
            true => difference::summary_json(&summary),
            false => difference::summary_text(&summary),
        };
        out.write_all(text.as_bytes()).map_err(cannot_write)?;
        out.finish()
    }
}

/// Restic's letters.
fn modifier(what: What, with_metadata: bool) -> String {
    match what {
        What::Added => "+".to_owned(),
        What::Removed => "-".to_owned(),
        What::Differs { kind, content, suspicious, metadata } => {
            let letters =
                [("T", kind), ("M", content), ("?", suspicious), ("U", metadata && !content && with_metadata)];
            letters.iter().filter(|(_, on)| *on).map(|(letter, _)| *letter).collect()
        }
    }
}

fn summary(done: &DiffSummary, source: &str, target: &str) -> difference::Summary {
    let side = |entries: Entries, blobs: Option<crate::ops::diff::Blobs>| difference::Side {
        files: entries.files,
        dirs: entries.dirs,
        others: entries.others,
        data_blobs: blobs.map(|b| b.data),
        tree_blobs: blobs.map(|b| b.tree),
        bytes: blobs.map(|b| b.bytes),
    };
    difference::Summary {
        source: source.to_owned(),
        target: target.to_owned(),
        changed_files: done.changed_files,
        added: side(done.added, done.blobs.map(|(added, _)| added)),
        removed: side(done.removed, done.blobs.map(|(_, removed)| removed)),
    }
}
