//! `list`.

use std::io::Write;

use serde_json::json;

use super::{open, outcome, storage};
use crate::cli::args::{List, ObjectKind};
use crate::cli::console::{Console, Output, cannot_write};
use crate::cli::settings::Settings;
use crate::error::Result;
use crate::format::names::{parse_pack, prefix};
use crate::format::pack::Kind;
use crate::format::segment::Segment;
use crate::id::hex;
use crate::repo::Repository;
use crate::report::Job;
use crate::report::exit::Outcome;

/// List the objects of a kind by their ids.
pub fn run(args: &List, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let repo = open(settings, &console)?;
    let mut out = Output::new()?;
    let mut lines = Lines { out: &mut out, json: console.json, some: false };
    let mut line = |text: String| lines.put(&text);
    match args.kind {
        ObjectKind::Snapshots => {
            for s in super::snapshots(&repo, &console)? {
                line(s.id.hex())?;
            }
        }
        ObjectKind::Keys => {
            for id in crate::repo::slot_ids(storage(settings.repository()?, settings)?.as_ref())? {
                line(id.hex())?;
            }
        }
        ObjectKind::Packs => {
            for listed in repo.storage().list(prefix::PACKS)? {
                if let Some((id, _)) = parse_pack(listed.name.as_str()) {
                    line(id.hex())?;
                }
            }
        }
        ObjectKind::Index => {
            for listed in repo.storage().list(prefix::INDEX)? {
                line(listed.name.as_str().trim_start_matches(prefix::INDEX).to_owned())?;
            }
        }
        ObjectKind::Blobs => blobs(&repo, &console, &mut line)?,
        ObjectKind::Locks => {}
    }
    lines.end()?;
    out.finish()?;
    Ok(outcome(&console))
}

/// Ids one a line, or as one JSON array; of a blob its kind stands in front.
struct Lines<'o> {
    out: &'o mut Output,
    json: bool,
    some: bool,
}

impl Lines<'_> {
    fn put(&mut self, text: &str) -> Result<()> {
        if !self.json {
            return writeln!(self.out, "{text}").map_err(cannot_write);
        }
        let before = if self.some { "," } else { "[" };
        self.some = true;
        let item = match text.split_once(' ') {
            Some((kind, id)) => json!({ "type": kind, "id": id }),
            None => json!(text),
        };
        write!(self.out, "{before}{item}").map_err(cannot_write)
    }

    fn end(&mut self) -> Result<()> {
        match (self.json, self.some) {
            (false, _) => Ok(()),
            (_, true) => writeln!(self.out, "]").map_err(cannot_write),
            (_, false) => writeln!(self.out, "[]").map_err(cannot_write),
        }
    }
}

/// The part of each blob's id that the index keeps, one segment in memory.
fn blobs(repo: &Repository, console: &Console, line: &mut dyn FnMut(String) -> Result<()>) -> Result<()> {
    let cx = console.context();
    for listed in repo.storage().list(prefix::INDEX)? {
        cx.check()?;
        match repo.load_segment(listed.name.as_str()) {
            Ok(segment) => {
                let kinds = kinds(&segment);
                for row in &segment.rows {
                    line(format!("{} {}", kinds[row.frame as usize], hex(&row.id)))?;
                }
            }
            Err(e) => cx.problem("damaged", listed.name.as_str().as_bytes(), "read", e.to_string()),
        }
    }
    Ok(())
}

/// What each frame of a segment holds, in restic's words.
fn kinds(segment: &Segment) -> Vec<&'static str> {
    let word = |kind| match kind {
        Kind::Data => "data",
        Kind::Tree => "tree",
    };
    segment.head.packs.iter().flat_map(|p| std::iter::repeat_n(word(p.kind), p.frames.len())).collect()
}
