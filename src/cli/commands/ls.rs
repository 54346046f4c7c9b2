//! `ls`.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use jiff::tz::TimeZone;

use super::{index, open_looking, outcome, root_of, row, snapshot};
use crate::cli::args::{Ls, SortBy};
use crate::cli::console::{Console, Output, cannot_write};
use crate::cli::reference::Reference;
use crate::cli::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Node;
use crate::ops::list::{Walk, is_within};
use crate::repo::Reader;
use crate::report::exit::Outcome;
use crate::report::listing::{self, Entry, LineStyle, atime};
use crate::report::ncdu::Ncdu;
use crate::report::snapshots::{Row, describe};
use crate::report::{Job, Loudness};

/// List what is in a snapshot.
pub fn run(args: &Ls, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let reference = Reference::parse(&args.snapshot)?;
    let dirs: Vec<Vec<u8>> = args.dirs.iter().map(|d| d.as_bytes().to_vec()).collect();
    if let Some(dir) = dirs.iter().find(|d| !d.starts_with(b"/")) {
        let what = format!("{:?} does not begin with a slash", String::from_utf8_lossy(dir));
        return Err(Error::new(ErrorKind::Invalid, what).hint("directories in a snapshot are absolute"));
    }
    if args.ncdu && console.json {
        return Err(Error::new(ErrorKind::Invalid, "--ncdu is JSON of another kind than --json: give one of them"));
    }
    let repo = open_looking(settings, &console)?;
    let snapshot = snapshot(&repo, &reference, &args.filter, &console)?;
    let index = index(&repo, &console)?;
    let reader = Reader::new(&repo, &index);
    let root = root_of(&reader, &snapshot, &reference)?;
    if args.ncdu {
        ncdu(Walk::new(&reader, root, b"/"), args, &dirs, &row(&snapshot), &console)?;
        return Ok(outcome(&console));
    }
    if console.json {
        console.print(listing::json_head(&row(&snapshot)))?;
    } else {
        console.remark(Loudness::Normal, &format!("{}:\n", describe(&row(&snapshot), console.names)))?;
    }
    let walk = Walk::new(&reader, root, b"/");
    let mut lines = Lines { args, console: &console, zone: console.zone(), out: Output::new()? };
    match args.sort == SortBy::Name && !args.reverse {
        true => each(walk, args, &dirs, &console, &mut |path, node| lines.put(path, &node))?,
        false => sorted(walk, args, &dirs, &console, &mut lines)?,
    }
    lines.out.finish()?;
    Ok(outcome(&console))
}

/// Every entry that is asked for: without directories all, else those and what is in them.
fn each(
    mut walk: Walk<'_>,
    args: &Ls,
    dirs: &[Vec<u8>],
    console: &Console,
    take: &mut dyn FnMut(&[u8], Node) -> Result<()>,
) -> Result<()> {
    let cx = console.context();
    while let Some((path, node)) = walk.next()? {
        cx.check()?;
        let within = dirs.is_empty() || dirs.iter().any(|d| is_within(path, d));
        let leads_on = dirs.is_empty() || dirs.iter().any(|d| is_within(d, path));
        let descend = leads_on || (within && (args.recursive || args.ncdu));
        if within {
            take(path, node)?;
        }
        if !descend {
            walk.skip();
        }
    }
    Ok(())
}

fn ncdu(walk: Walk<'_>, args: &Ls, dirs: &[Vec<u8>], row: &Row, console: &Console) -> Result<()> {
    let (mut out, mut list) = (Output::new()?, Ncdu::default());
    out.write_all(Ncdu::head(row).as_bytes()).map_err(cannot_write)?;
    each(walk, args, dirs, console, &mut |path, node| {
        out.write_all(list.entry(path, &node).as_bytes()).map_err(cannot_write)
    })?;
    out.write_all(list.end().as_bytes()).map_err(cannot_write)?;
    out.finish()
}

fn sorted(walk: Walk<'_>, args: &Ls, dirs: &[Vec<u8>], console: &Console, lines: &mut Lines<'_>) -> Result<()> {
    let mut all: Vec<(Vec<u8>, Node)> = Vec::new();
    each(walk, args, dirs, console, &mut |path, mut node| {
        // What a listing does not show need not be held for all entries at once.
        if let crate::model::NodeKind::File { content, .. } = &mut node.kind {
            *content = crate::model::Content::Inline(Vec::new());
        }
        all.push((path.to_vec(), node));
        Ok(())
    })?;
    // Equal ones stay in the order of their paths; the largest and the newest come last, as in restic.
    match args.sort {
        SortBy::Name => {}
        SortBy::Size => all.sort_by_key(|(_, n)| file_size(n)),
        SortBy::Time => all.sort_by_key(|(_, n)| n.mtime),
        SortBy::Atime => all.sort_by_key(|(_, n)| atime(n).unwrap_or(n.mtime)),
        SortBy::Ctime => all.sort_by_key(|(_, n)| n.ctime),
        SortBy::Extension => all.sort_by(|(_, a), (_, b)| extension(&a.name).cmp(extension(&b.name))),
    }
    if args.reverse {
        all.reverse();
    }
    all.iter().try_for_each(|(path, node)| lines.put(path, node))
}

fn file_size(node: &Node) -> u64 {
    if node.is_dir() { 0 } else { node.bytes() }
}

fn extension(name: &[u8]) -> &[u8] {
    name.iter().rposition(|b| *b == b'.').map_or(&[], |at| &name[at..])
}

struct Lines<'a> {
    args: &'a Ls,
    console: &'a Console,
    zone: TimeZone,
    out: Output,
}

impl Lines<'_> {
    fn put(&mut self, path: &[u8], node: &Node) -> Result<()> {
        let entry = Entry { path, node, atime: atime(node) };
        if self.console.json {
            return self.out.write_all(listing::json(entry, &self.zone).as_bytes()).map_err(cannot_write);
        }
        let (long, human_readable) = (self.args.long, self.args.human_readable);
        let style = LineStyle { long, human_readable, names: self.console.names };
        self.out.write_all(&listing::line(entry, style, &self.zone)).map_err(cannot_write)
    }
}
