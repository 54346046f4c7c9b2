//! Merging: one snapshot that has what several have.

use std::collections::{BTreeMap, BTreeSet};

use super::union::Union;
use super::{Tell, Way, Workshop, common, distinct, session};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Context;
use crate::id::RecordId;
use crate::model::{Body, Stats, Time};
use crate::repo::{NewSnapshot, Repository, Snapshot};
use crate::sys;

/// What the new snapshot says.
#[derive(Debug, Clone, Default)]
pub struct MergeOptions {
    /// How the session goes.
    pub way: Way,
    /// Host name to record; that of the newest if `None`.
    pub host: Option<String>,
    /// The time it stands for, with the offset of its zone.
    pub time: (Time, i32),
    /// Tags in place of all that the snapshots have.
    pub tags: Option<Vec<String>>,
    /// A label.
    pub label: String,
    /// A description.
    pub description: String,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Merged {
    /// The new snapshot; `None` in a dry run.
    pub snapshot: Option<RecordId>,
    /// Entries of which there were several; the one that changed last was taken.
    pub conflicts: u64,
    /// Files in the new snapshot, and what was stored for it.
    pub stats: Stats,
}

/// Merge snapshots into a new one. They stay as they are.
pub fn merge(
    repo: &mut Repository,
    snapshots: &[&Snapshot],
    options: &MergeOptions,
    tell: Tell<'_>,
    cx: &Context<'_>,
) -> Result<Merged> {
    let mut all = distinct(snapshots);
    if all.len() < 2 {
        let what = "it takes two snapshots or more to merge";
        return Err(Error::new(ErrorKind::Invalid, what).hint("`orlop snapshots` lists what there is"));
    }
    all.sort_by_key(|s| (s.statement.time, s.statement.seq, s.id));
    let began = sys::now();
    let done = session(repo, &all, &options.way, cx, |workshop, bases| {
        // One that was forgotten meanwhile would be missing without a word.
        let newest = match bases.last() {
            Some(newest) if bases.len() == all.len() => newest,
            _ => return Err(Error::new(ErrorKind::Missing, "one of the snapshots was forgotten just now")),
        };
        let mut union = Union::new(workshop, tell);
        let (root, files) = union.dirs(bases.iter().filter_map(|s| s.statement.root).collect(), 0)?;
        let stats = Stats {
            tree_blobs: workshop.writer.tree_blobs.load(std::sync::atomic::Ordering::Relaxed),
            data_added: workshop.writer.plain_bytes.load(std::sync::atomic::Ordering::Relaxed),
            files_processed: files,
            bytes_processed: root.map_or(0, |r| r.bytes),
            ..Stats::default()
        };
        let mut statement = workshop.statement(&newest.statement, root, bases);
        (statement.time, statement.utc_offset) = options.time;
        (statement.started, statement.ended) = (began, sys::now());
        (statement.machine, statement.parent) = (workshop.repo.machine(), None);
        let new = NewSnapshot { statement, body: body(workshop, bases, newest, stats, options) };
        Ok((vec![(newest.id, new)], (union.conflicts, stats)))
    })?;
    let (conflicts, stats) = done.told;
    Ok(Merged { snapshot: done.ids.first().copied(), conflicts, stats })
}

fn body(workshop: &Workshop<'_>, bases: &[&Snapshot], newest: &Snapshot, stats: Stats, options: &MergeOptions) -> Body {
    let tags = || united(bases.iter().map(|s| &s.body.tags));
    Body {
        hostname: options.host.clone().unwrap_or_else(|| newest.body.hostname.clone()),
        username: sys::username(),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        paths: united(bases.iter().map(|s| &s.body.paths)),
        tags: options.tags.clone().unwrap_or_else(tags),
        label: options.label.clone(),
        description: options.description.clone(),
        excludes: united(bases.iter().map(|s| &s.body.excludes)),
        users: names(bases.iter().map(|s| &s.body.users)),
        groups: names(bases.iter().map(|s| &s.body.groups)),
        program: workshop.way.program.clone(),
        expires: None,
        stats,
        ext: common(bases.iter().map(|s| &s.body.ext)),
        ..newest.body.clone()
    }
}

/// Every member once, in the order of their first appearance.
fn united<'s, T: Ord + Clone + 's>(lists: impl Iterator<Item = &'s Vec<T>>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    lists.flatten().filter(|t| seen.insert((*t).clone())).cloned().collect()
}

/// Names of owners. A number that has two names has none: whose files are whose cannot be told apart
/// any more, and a wrong name would give them to somebody else.
fn names<'s>(lists: impl Iterator<Item = &'s Vec<(u32, Vec<u8>)>>) -> Vec<(u32, Vec<u8>)> {
    let mut all: BTreeMap<u32, BTreeSet<&[u8]>> = BTreeMap::new();
    for (number, name) in lists.flatten() {
        all.entry(*number).or_default().insert(name);
    }
    let one = |(number, names): (u32, BTreeSet<&[u8]>)| match names.len() {
        1 => names.first().map(|name| (number, name.to_vec())),
        _ => None,
    };
    all.into_iter().filter_map(one).collect()
}
