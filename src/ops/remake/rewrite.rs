//! Rewriting: the same snapshot without some of its entries, of another host, at another time. The
//! original stays until it is forgotten.

use super::filter::{Filter, Left};
use super::{Tell, Way, Workshop, distinct, is_damage, session};
use crate::error::Result;
use crate::event::Context;
use crate::format::gc::Seen;
use crate::id::RecordId;
use crate::model::{Body, Time};
use crate::plan::filter::RestoreSelection;
use crate::repo::{NewSnapshot, Repository, Snapshot, Times};

/// What to change.
#[derive(Debug, Clone, Default)]
pub struct RewriteOptions {
    /// How the session goes.
    pub way: Way,
    /// What stays.
    pub selection: RestoreSelection,
    /// Patterns that keep things out, for the record.
    pub excludes: Vec<Vec<u8>>,
    /// Host name to record.
    pub host: Option<String>,
    /// Time to record, with the offset of its zone.
    pub time: Option<(Time, i32)>,
    /// Tags that the new ones get besides those they have.
    pub tags: Vec<String>,
    /// The originals are forgotten afterwards, so that the new ones stand in their place.
    pub instead: bool,
}

/// What became of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// Nothing of it changes.
    Unchanged,
    /// No file would be left: it stays as it is.
    Empty,
    /// Something of it cannot be read: it stays as it is.
    Unreadable,
    /// There is a new one.
    Changed {
        /// Entries that were left out, each with all below it.
        dropped: u64,
        /// Its id; `None` in a dry run.
        new: Option<RecordId>,
    },
}

/// A snapshot and what became of it.
#[derive(Debug, Clone, Copy)]
pub struct Rewritten {
    /// The original.
    pub old: RecordId,
    /// What became of it.
    pub became: Became,
}

/// Rewrite snapshots. Each stays as it is where it would be empty or cannot be read, which is told as
/// a problem.
pub fn rewrite(
    repo: &mut Repository,
    snapshots: &[&Snapshot],
    options: &RewriteOptions,
    tell: Tell<'_>,
    cx: &Context<'_>,
) -> Result<Vec<Rewritten>> {
    let snapshots = distinct(snapshots);
    let done = session(repo, &snapshots, &options.way, cx, |workshop, bases| {
        let mut filter = Filter::new(workshop, &options.selection, tell);
        let (mut news, mut told) = (Vec::new(), Vec::new());
        for s in bases {
            let (became, new) = one(workshop, &mut filter, s, options)?;
            news.extend(new.map(|new| (s.id, new)));
            told.push(Rewritten { old: s.id, became });
        }
        Ok((news, told))
    })?;
    let mut ids = done.ids.into_iter();
    let mut out = done.told;
    for r in &mut out {
        if let Became::Changed { new, .. } = &mut r.became {
            *new = ids.next();
        }
    }
    Ok(out)
}

fn one(
    workshop: &Workshop<'_>,
    filter: &mut Filter<'_>,
    s: &Snapshot,
    options: &RewriteOptions,
) -> Result<(Became, Option<NewSnapshot>)> {
    let left = match filter.tree(s.statement.root) {
        Ok(left) => left,
        Err(e) if is_damage(&e) => {
            workshop.cx.problem("damaged", s.id.short().as_bytes(), "rewrite", format!("it stays as it is: {e}"));
            return Ok((Became::Unreadable, None));
        }
        Err(e) => return Err(e),
    };
    let trees_differ = left.root != s.statement.root;
    if trees_differ && left.files == 0 {
        let what = "no file would be left in it, so it stays as it is";
        workshop.cx.problem("would-be-empty", s.id.short().as_bytes(), "rewrite", what);
        return Ok((Became::Empty, None));
    }
    let other_host = options.host.as_ref().is_some_and(|h| *h != s.body.hostname);
    let other_time = options.time.is_some_and(|(time, _)| time != s.statement.time);
    if !trees_differ && !other_host && !other_time {
        return Ok((Became::Unchanged, None));
    }
    let became = Became::Changed { dropped: left.dropped, new: None };
    Ok((became, Some(describe(workshop, s, left, options))))
}

fn describe(workshop: &Workshop<'_>, s: &Snapshot, left: Left, options: &RewriteOptions) -> NewSnapshot {
    let mut statement = workshop.statement(&s.statement, left.root, &[s]);
    if let Some((time, utc_offset)) = options.time {
        (statement.time, statement.utc_offset) = (time, utc_offset);
    }
    // An interrupted one would vanish from lists that something takes the place of.
    statement.replaces = (options.instead || !s.incomplete()).then_some(s.id);
    let mut body = Body { program: options.way.program.clone(), ..s.body.clone() };
    body.hostname = options.host.clone().unwrap_or(body.hostname);
    body.tags.extend(options.tags.iter().filter(|t| !s.body.tags.contains(t)).cloned());
    if left.root != s.statement.root {
        body.excludes.extend(options.excludes.iter().filter(|p| !s.body.excludes.contains(p)).cloned());
        body.stats.files_processed = left.files;
        body.stats.bytes_processed = left.root.map_or(0, |r| r.bytes);
    }
    NewSnapshot { statement, body }
}

/// When what is in a new snapshot came is when its original came; a time that the owner chose is
/// right. Only the owner can say so.
pub fn carry_times(
    repo: &mut Repository,
    all: &[&Snapshot],
    done: &[Rewritten],
    options: &RewriteOptions,
    times: &Times,
) -> Result<()> {
    let mut seen = Vec::new();
    for r in done {
        let (Became::Changed { new: Some(new), .. }, Some(old)) = (r.became, all.iter().find(|s| s.id == r.old)) else {
            continue;
        };
        let received = match times.received(old.id) {
            Some(time) => Some(time),
            None => repo.arrival(old)?,
        };
        seen.extend(received.filter(|_| !old.trusted()).map(|received| Seen { statement: new, received }));
    }
    if seen.is_empty() {
        return Ok(());
    }
    let who = repo.identity(options.way.client.as_deref())?;
    repo.record_times(&who, seen, options.time.is_some())
}
