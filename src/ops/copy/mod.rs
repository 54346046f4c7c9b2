//! Copy: which snapshots ▸ what of them is not there ▸ take it over ▸ commit ▸ compare.
//!
//! Repositories of one domain have the same ids and keys: packs go over as they are, and so do
//! statements, signatures included (`mirror`). Under other keys every blob gets another name and
//! every page is written anew; the new statement has the original as evidence (`rekey`).

mod mirror;
mod rekey;
mod same;

use std::collections::HashSet;

use super::deep;
use super::remake::Way;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Context, Phase};
use crate::format::gc::Seen;
use crate::format::keys::Role;
use crate::format::records::{CloseKind, Purpose};
use crate::id::RecordId;
use crate::model::{Statement, Time};
use crate::repo::{Received, Repository, Session, Snapshot, Times};

/// How to copy.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// How the session goes.
    pub way: Way,
    /// Compare all of both trees afterwards, and not only what stands for them.
    pub compare: bool,
    /// Packs or files that are on their way at once.
    pub connections: usize,
}

/// Where to copy from.
pub struct From<'a> {
    /// The repository.
    pub repo: &'a Repository,
    /// Those that were chosen.
    pub chosen: &'a [&'a Snapshot],
    /// Every snapshot, forgotten and hollow ones, too; a mirror takes over all statements.
    pub all: &'a [Snapshot],
    /// When they came.
    pub times: &'a Times,
}

/// What became of a chosen snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It was copied, as this one; none in a dry run.
    Copied(Option<RecordId>),
    /// It was there, as this one.
    There(RecordId),
    /// It was there, and was forgotten.
    Forgotten,
    /// It could not be copied; why was told as a problem.
    Failed,
}

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct CopySummary {
    /// Every chosen snapshot, in the order in which they were made.
    pub snapshots: Vec<(RecordId, Became)>,
    /// The two repositories are of one domain.
    pub mirror: bool,
    /// Statements that were taken over without content.
    pub hollow: u64,
    /// Packs that were taken over as they are.
    pub packs: u64,
    /// Packs of which a part was taken over.
    pub partial_packs: u64,
    /// Bytes that were stored; in a dry run those of the packs that would be.
    pub bytes: u64,
}

/// Copy snapshots into another repository.
pub fn copy(from: &From<'_>, to: &mut Repository, options: &CopyOptions, cx: &Context<'_>) -> Result<CopySummary> {
    if from.repo.instance() == to.instance() {
        let what = "that is the repository that the snapshots are in";
        return Err(Error::new(ErrorKind::Invalid, what).hint("name another one to copy to with -r"));
    }
    cx.enter(Phase::Opening, None, None);
    let pool = deep::pool(options.connections)?;
    let presence = Presence::new(from, options.way.dry_run, cx);
    let mut chosen: Vec<&Snapshot> = Vec::new();
    let mut named = HashSet::new();
    chosen.extend(from.chosen.iter().filter(|s| named.insert(s.id)));
    chosen.sort_by_key(|s| (s.statement.time, s.statement.seq, s.id));
    let from = From { chosen: &chosen, ..*from };
    let work = Work { from: &from, options, cx, presence: &presence };
    let done = pool.install(|| {
        let done = match from.repo.domain() == to.domain() {
            true => mirror::copy(&work, to)?,
            false => rekey::copy(&work, to)?,
        };
        if !options.way.dry_run {
            work.record_times(to, &done)?;
            same::compare(&work, to, &done)?;
        }
        Ok(done)
    });
    presence.leave();
    done
}

/// What both ways of copying need.
struct Work<'a> {
    from: &'a From<'a>,
    options: &'a CopyOptions,
    cx: &'a Context<'a>,
    presence: &'a Presence<'a>,
}

impl Work<'_> {
    /// When a snapshot came to where it is copied from.
    fn received(&self, s: &Snapshot) -> Result<Received> {
        let at = match self.from.times.received(s.id) {
            Some(time) => Some(time),
            None => self.from.repo.arrival(s)?,
        };
        // What came there from elsewhere came even earlier.
        let earliest: Option<Time> = at.into_iter().chain(s.commit.received_at).min();
        Ok(Received { from: Some(self.from.repo.instance()), at: earliest, hollow: false })
    }

    /// Receive times travel along. Only the owner can say them.
    fn record_times(&self, to: &mut Repository, done: &CopySummary) -> Result<()> {
        if to.role() != Role::Owner {
            return Ok(());
        }
        let known = to.times(&|_, _| {})?;
        let (mut seen, mut accepted) = (vec![], vec![]);
        for (id, became) in &done.snapshots {
            let (Became::Copied(Some(new)) | Became::There(new)) = became else { continue };
            let Some(s) = self.from.chosen.iter().find(|s| s.id == *id) else { continue };
            let Some(received) = self.received(s)?.at else { continue };
            let list = if self.from.times.accepted(*id) { &mut accepted } else { &mut seen };
            if known.received(*new).is_none() {
                list.push(Seen { statement: *new, received });
            }
        }
        if seen.is_empty() && accepted.is_empty() {
            return Ok(());
        }
        let who = to.identity(self.options.way.client.as_deref())?;
        to.record_times(&who, seen, false)?;
        to.record_times(&who, accepted, true)
    }

    /// Not worth stopping for: damage of one snapshot, or what only a newer orlop may copy of it, is no
    /// reason to leave the others alone.
    fn failed(&self, s: &Snapshot, e: Error) -> Result<Became> {
        match e.kind() {
            ErrorKind::Damaged | ErrorKind::Missing | ErrorKind::Substituted | ErrorKind::Unsupported => {
                self.cx.problem("not-copied", s.id.short().as_bytes(), "copy", e.to_string());
                Ok(Became::Failed)
            }
            _ => Err(e),
        }
    }
}

/// Where the snapshots come from, the run is seen, if it may: what it reads stays as long.
struct Presence<'a> {
    repo: &'a Repository,
    session: Option<Session>,
}

impl<'a> Presence<'a> {
    fn new(from: &From<'a>, dry_run: bool, cx: &Context<'_>) -> Self {
        let begin = || -> Result<Option<Session>> {
            let who = from.repo.identity_unseen(None)?;
            let enrolled = from.repo.client_key(who.client, who.epoch).is_some();
            if dry_run || !enrolled {
                return Ok(None);
            }
            let bases = from.chosen.iter().map(|s| s.id).collect();
            from.repo.begin(&who, Purpose::Copy, bases).map(Some)
        };
        let session = begin().unwrap_or_else(|e| {
            let what = "a prune there does not see this copy, which stops if it is in its way";
            cx.notice("copy-unseen", format!("nothing can be written where the snapshots are: {what} ({e})"));
            None
        });
        Self { repo: from.repo, session }
    }

    /// Say that it lives, if it is time.
    fn tick(&self) -> Result<()> {
        let Some(session) = &self.session else { return Ok(()) };
        if let Some(history) = self.repo.due(session)? {
            session.go_by(history);
            self.repo.beat(session, vec![], 0)?;
        }
        Ok(())
    }

    /// It read what it wanted to read; whatever became of the session since.
    fn leave(&self) {
        if let Some(session) = &self.session {
            self.repo.close(session, CloseKind::End, vec![]).ok();
        }
    }
}

/// Whether a snapshot of another repository has this tree: what each says of its own.
fn as_large(ours: &Statement, theirs: &Statement) -> bool {
    let size = |s: &Statement| s.root.map(|r| (r.entries, r.bytes));
    size(ours) == size(theirs)
}
