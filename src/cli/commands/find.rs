//! `find`.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use jiff::tz::TimeZone;

use super::{chosen, index, open_looking, outcome, row, snapshots};
use crate::cli::args::{Find, Type, When};
use crate::cli::console::{Console, Output, cannot_write};
use crate::cli::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Node, Time};
use crate::ops::find::{Finder, Query};
use crate::ops::history::{History, Step, Version, history};
use crate::plan::filter::{Case, Origin, Patterns};
use crate::repo::{Reader, Snapshot};
use crate::report::Job;
use crate::report::exit::Outcome;
use crate::report::found;
use crate::report::listing::{self, Entry, LineStyle};
use crate::report::snapshots::Row;
use crate::source::Kind;

/// Look for entries in snapshots.
pub fn run(args: &Find, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, true);
    let query = query(args, &console.zone())?;
    check_paths(args)?;
    let repo = open_looking(settings, &console)?;
    let all = snapshots(&repo, &console)?;
    let mut chosen = chosen(args.snapshot.iter().map(OsStr::new), &args.filter, &all, &console);
    chosen.sort_by_key(|s| (s.statement.time, s.statement.seq, s.id));
    if !args.snapshot.is_empty() {
        super::tell_given_up(chosen.iter().copied(), &console);
    }
    if !args.reverse && !args.history {
        chosen.reverse();
    }
    let index = index(&repo, &console)?;
    let reader = Reader::new(&repo, &index);
    match (args.history, args.blob || args.tree || args.pack) {
        (true, _) => histories(args, &reader, &chosen, &console)?,
        (_, true) => super::find_objects::run(args, &reader, &chosen, &console)?,
        _ => entries(args, &query, &reader, &chosen, &console)?,
    }
    Ok(outcome(&console))
}

fn query(args: &Find, zone: &TimeZone) -> Result<Query> {
    let case = if args.ignore_case { Case::Insensitive } else { Case::Sensitive };
    let named_by_id = args.history || args.blob || args.tree || args.pack;
    let typed = args.patterns.iter().filter(|_| !named_by_id).map(|p| (p.as_bytes().to_vec(), Origin::Flag("find")));
    let time = |when: &Option<When>| -> Result<Option<Time>> {
        let resolved = when.as_ref().map(|w| w.resolve(zone)).transpose();
        Ok(resolved.map_err(|e| Error::new(ErrorKind::Invalid, e))?.map(|(time, _)| time))
    };
    let query = Query {
        patterns: Patterns::compile(typed, case)?,
        oldest: time(&args.oldest)?,
        newest: time(&args.newest)?,
        bytes_min: args.larger_than,
        bytes_max: args.smaller_than,
        kinds: args.types.iter().map(kind).collect(),
    };
    let what = match &query {
        Query { oldest: Some(oldest), newest: Some(newest), .. } if oldest > newest => "--oldest is after --newest",
        Query { bytes_min: Some(min), bytes_max: Some(max), .. } if min > max => {
            "--larger-than is more than --smaller-than"
        }
        _ if !named_by_id && query.patterns.is_empty() => "a pattern is empty",
        _ => return Ok(query),
    };
    Err(Error::new(ErrorKind::Invalid, what).hint("nothing can be found like that"))
}

fn kind(typed: &Type) -> Kind {
    match typed {
        Type::File => Kind::File,
        Type::Dir => Kind::Dir,
        Type::Symlink => Kind::Symlink,
        Type::Fifo => Kind::Fifo,
        Type::Socket => Kind::Socket,
        Type::Chardev => Kind::CharDevice,
        Type::Dev => Kind::BlockDevice,
    }
}

/// Histories are of paths.
fn check_paths(args: &Find) -> Result<()> {
    match args.patterns.iter().find(|p| args.history && !p.as_bytes().starts_with(b"/")) {
        None => Ok(()),
        Some(path) => {
            let what = format!("{:?} does not begin with a slash", path.to_string_lossy());
            Err(Error::new(ErrorKind::Invalid, what).hint("--history takes whole paths, as `orlop ls` shows them"))
        }
    }
}

fn entries(args: &Find, query: &Query, reader: &Reader<'_>, chosen: &[&Snapshot], console: &Console) -> Result<()> {
    let cx = console.context();
    let mut finder = Finder::new(reader, query, &cx);
    let mut out = Found { args, console, zone: console.zone(), out: Output::new()?, some: false };
    if console.json {
        out.put(b"[")?;
    }
    for snapshot in chosen {
        let (row, mut hits) = (row(snapshot), 0);
        finder.snapshot(snapshot.statement.root, &mut |path, node| {
            hits += 1;
            out.hit(path, node, &row, hits)
        })?;
        out.end(&row, hits)?;
    }
    if console.json {
        out.put(b"]\n")?;
    }
    if !out.some {
        let what = "nothing was found: a pattern without a slash is a name, one with a slash a path as in `orlop ls`";
        cx.notice("nothing-found", what);
    }
    out.out.finish()
}

struct Found<'a> {
    args: &'a Find,
    console: &'a Console,
    zone: TimeZone,
    out: Output,
    /// Something was found in a snapshot before.
    some: bool,
}

impl Found<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(cannot_write)
    }

    /// `n`: from 1 in each snapshot.
    fn hit(&mut self, path: &[u8], node: &Node, row: &Row, n: u64) -> Result<()> {
        let entry = Entry { path, node, atime: listing::atime(node) };
        if self.console.json {
            let before: &[u8] = match (n, self.some) {
                (1, false) => b"{\"matches\":[",
                (1, true) => b",{\"matches\":[",
                _ => b",",
            };
            self.put(before)?;
            return self.put(found::json_match(entry, &row.body, &self.zone).as_bytes());
        }
        if n == 1 {
            let gap = if self.some { "\n" } else { "" };
            let heading = format!("{gap}{}", found::heading(row, &self.zone));
            self.put(heading.as_bytes())?;
        }
        let (long, human_readable, names) = (self.args.long, self.args.human_readable, self.console.names);
        let line = listing::line(entry, LineStyle { long, human_readable, names }, &self.zone);
        self.put(&line)
    }

    fn end(&mut self, row: &Row, hits: u64) -> Result<()> {
        self.some |= hits > 0;
        match self.console.json && hits > 0 {
            true => self.put(format!("],\"hits\":{hits},\"snapshot\":\"{}\"}}", row.id).as_bytes()),
            false => Ok(()),
        }
    }
}

fn marker(step: Step) -> &'static str {
    match step {
        Step::Appeared => "+",
        Step::Gone => "-",
        Step::Type => "T",
        Step::Content => "M",
        Step::Metadata => "U",
    }
}

fn shown<'a>(path: &'a [u8], history: &'a History<'_>, rows: &'a [Row]) -> found::History<'a> {
    let version = |v: &'a Version| found::Version {
        marker: marker(v.step),
        node: v.node.as_ref(),
        first: &rows[*v.snapshots.start()],
        last: &rows[*v.snapshots.end()],
        snapshots: (v.snapshots.end() - v.snapshots.start() + 1) as u64,
    };
    let versions = history.versions.iter().map(version).collect();
    found::History { path, of: &rows[0], snapshots: rows.len() as u64, versions }
}

fn histories(args: &Find, reader: &Reader<'_>, chosen: &[&Snapshot], console: &Console) -> Result<()> {
    let cx = console.context();
    let mut all: Vec<(&[u8], History<'_>)> = Vec::new();
    for path in &args.patterns {
        let found = history(reader, chosen, path.as_bytes(), &cx)?;
        if found.is_empty() {
            let path = path.to_string_lossy();
            cx.notice("nothing-found", format!("no snapshot has {path}; paths are those that `orlop ls` shows"));
        }
        all.extend(found.into_iter().map(|h| (path.as_bytes(), h)));
    }
    let rows: Vec<Vec<Row>> = all.iter().map(|(_, h)| h.group.iter().map(|s| row(s)).collect()).collect();
    let shown: Vec<found::History<'_>> = all.iter().zip(&rows).map(|((path, h), rows)| shown(path, h, rows)).collect();
    match console.json {
        true => console.print(found::history_json(&shown, &console.zone())),
        false => {
            let texts: Vec<String> =
                shown.iter().map(|h| found::history_text(h, console.names, &console.zone())).collect();
            console.print(texts.join("\n"))
        }
    }
}
