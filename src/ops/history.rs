//! The history of one path: which versions of it there are, and in which snapshots.

use crate::error::{ErrorKind, Result};
use crate::event::Context;
use crate::model::{Node, NodeKind};
use crate::ops::list::{self, Found};
use crate::repo::{Reader, Snapshot};

/// How a version differs from the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is there for the first time, or again.
    Appeared,
    /// It is not there any more.
    Gone,
    /// It is of another type.
    Type,
    /// Its content is different.
    Content,
    /// Something else of it is different.
    Metadata,
}

/// A run of snapshots in which a path is the same.
#[derive(Debug)]
pub struct Version {
    /// What is different.
    pub step: Step,
    /// What it is, without content; `None` where it is not there.
    pub node: Option<Node>,
    /// The snapshots, by their places in the group, first and last.
    pub snapshots: std::ops::RangeInclusive<usize>,
}

/// What became of a path in snapshots of one host and one set of paths.
#[derive(Debug)]
pub struct History<'s> {
    /// The snapshots, oldest first.
    pub group: Vec<&'s Snapshot>,
    /// Never empty, and never of absence alone.
    pub versions: Vec<Version>,
}

/// The history of a path, for each group of snapshots that has it.
pub fn history<'s>(
    reader: &Reader<'_>,
    snapshots: &[&'s Snapshot],
    path: &[u8],
    cx: &Context<'_>,
) -> Result<Vec<History<'s>>> {
    let mut out = Vec::new();
    for group in groups(snapshots) {
        let mut versions: Vec<Version> = Vec::new();
        let mut before: Option<Node> = None;
        for (i, snapshot) in group.iter().enumerate() {
            cx.check()?;
            let found = match list::seek(reader, snapshot.statement.root, path) {
                Ok(found) => found,
                Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::Missing) => {
                    cx.problem("damaged", snapshot.id.short().as_bytes(), "read", e.to_string());
                    continue;
                }
                Err(e) => return Err(e),
            };
            let node = match found {
                Some(Found::Node(node)) => Some(*node),
                Some(Found::Top(_)) | None => None,
            };
            extend(&mut versions, i, before.as_ref(), node.as_ref());
            before = node;
        }
        if !versions.is_empty() {
            out.push(History { group, versions });
        }
    }
    Ok(out)
}

fn groups<'s>(snapshots: &[&'s Snapshot]) -> Vec<Vec<&'s Snapshot>> {
    let mut sorted = snapshots.to_vec();
    sorted.sort_by_key(|s| (s.statement.time, s.statement.seq, s.id));
    let mut groups: Vec<Vec<&Snapshot>> = Vec::new();
    for s in sorted {
        match groups.iter_mut().find(|g| g.first().is_some_and(|first| together(first, s))) {
            Some(group) => group.push(s),
            None => groups.push(vec![s]),
        }
    }
    groups
}

fn together(a: &Snapshot, b: &Snapshot) -> bool {
    a.body.hostname == b.body.hostname
        && a.body.paths.len() == b.body.paths.len()
        && a.body.paths.iter().all(|p| b.body.paths.contains(p))
}

fn extend(versions: &mut Vec<Version>, at: usize, before: Option<&Node>, now: Option<&Node>) {
    let step = match (before, now) {
        (None, None) if versions.is_empty() => return,
        (before, now) if before == now => {
            if let Some(last) = versions.last_mut() {
                last.snapshots = *last.snapshots.start()..=at;
            }
            return;
        }
        (None, _) => Step::Appeared,
        (_, None) => Step::Gone,
        (Some(before), Some(now)) => step(before, now),
    };
    versions.push(Version { step, node: now.cloned(), snapshots: at..=at });
}

fn step(before: &Node, now: &Node) -> Step {
    match (&before.kind, &now.kind) {
        (a, b) if a.name() != b.name() => Step::Type,
        (NodeKind::Dir { root: a }, NodeKind::Dir { root: b }) if a != b => Step::Content,
        (NodeKind::File { content: a, .. }, NodeKind::File { content: b, .. }) if a != b => Step::Content,
        (NodeKind::Symlink { target: a }, NodeKind::Symlink { target: b }) if a != b => Step::Content,
        _ => Step::Metadata,
    }
}
