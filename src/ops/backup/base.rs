//! The parents of a run: which they are, and whether they may be relied on.

use std::collections::BTreeSet;

use super::{BackupOptions, Parent};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Context;
use crate::id::RecordId;
use crate::model::PageRef;
use crate::repo::{Footing, Identity, Repository, Session, Snapshot, Validity};

/// The parents of a run: what it is compared with, and relies on.
pub(super) struct Base {
    pub(super) snapshots: Vec<Snapshot>,
}

impl Base {
    pub(super) fn choose(
        repo: &Repository,
        who: &Identity,
        parent: &Parent,
        options: &BackupOptions,
        cx: &Context<'_>,
    ) -> Result<Self> {
        let trouble = |name: &str, e: Error| match e.kind() {
            // An alarm about what was kept before is no trouble of this run.
            ErrorKind::Missing | ErrorKind::Substituted => {
                cx.notice("chain", format!("{name}: {e}; ask `orlop check`"))
            }
            _ => cx.problem("damaged", name.as_bytes(), "read", e.to_string()),
        };
        let mut all = match parent {
            Parent::None => return Ok(Self { snapshots: vec![] }),
            _ => repo.standing(&trouble)?.snapshots,
        };
        let tombstones = repo.tombstones(&|_, _| {})?;
        let forgotten = |s: &Snapshot| !tombstones.at(s.statement.client, s.statement.seq).is_empty();
        // R2: what is not confirmed may be given up before this session is there.
        all.retain(|s| s.validity == Validity::Confirmed && !forgotten(s));
        if let Parent::Snapshot(id) = parent {
            all.retain(|s| s.id == *id);
            if repo.signs_as_owner(who) && !all.iter().all(Snapshot::trusted) {
                return Err(foreign_parent(*id));
            }
            return Ok(Self { snapshots: all });
        }
        let host = options.about.host.as_ref().unwrap_or(&repo.host().hostname);
        let (by, about) = (options.group_by, &options.about);
        all.retain(|s| {
            (!by.host || s.body.hostname == *host)
                && (!by.paths || same_set(&s.body.paths, &about.paths))
                && (!by.tags || same_set(&s.body.tags, &about.tags))
        });
        let owner = repo.signs_as_owner(who);
        // What the owner made of others' snapshots is theirs: it is no more taken over than they are.
        all.retain(|s| s.trusted() || (!owner && s.statement.client == who.client));
        all.sort_by_key(|s| (s.statement.time, s.statement.seq));
        // The newest of all, and behind an incomplete one the newest complete one.
        let newest = all.pop();
        let complete = match &newest {
            Some(s) if s.incomplete() => all.into_iter().rev().find(|s| !s.incomplete()),
            _ => None,
        };
        Ok(Self { snapshots: newest.into_iter().chain(complete).collect() })
    }

    /// Only a parent that has everything can stand in for what is not looked at.
    pub(super) fn keep_complete(&mut self) -> Result<()> {
        self.snapshots.retain(|s| !s.incomplete());
        self.snapshots.truncate(1);
        match self.snapshots.is_empty() {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Invalid, "there is no complete parent snapshot to take the rest from")
                .hint("back up once without --changed-files, or name one with --parent")),
        }
    }

    /// R2: what was forgotten before the session was there may be going already: it is not relied on.
    pub(super) fn keep_standing(&mut self, repo: &Repository, session: &Session, cx: &Context<'_>) -> Result<()> {
        if self.snapshots.is_empty() {
            return Ok(());
        }
        let (grounds, mut stands) = (repo.grounds(session)?, Vec::new());
        for s in std::mem::take(&mut self.snapshots) {
            if grounds.footing(&s)? == Footing::Firm {
                stands.push(s);
            } else {
                let what = "was forgotten or given up just now, so every file is read";
                cx.notice("parent-forgotten", format!("the parent snapshot {} {what}", s.id.short()));
            }
        }
        self.snapshots = stands;
        Ok(())
    }

    pub(super) fn tell(&self, cx: &Context<'_>) {
        match self.snapshots.first() {
            Some(s) => cx.notice("using-parent", format!("using parent snapshot {}", s.id.short())),
            None => cx.notice("no-parent", "no parent snapshot found, will read all files"),
        }
    }

    pub(super) fn ids(&self) -> Vec<RecordId> {
        self.snapshots.iter().map(|s| s.id).collect()
    }

    pub(super) fn roots(&self) -> Vec<Option<PageRef>> {
        self.snapshots.iter().map(|s| s.statement.root).collect()
    }
}

/// What is taken over from a parent is signed anew.
fn foreign_parent(id: RecordId) -> Error {
    let what = format!(
        "snapshot {} was made with a client's key: what the owner took over from it would count as the owner's own",
        id.short()
    );
    Error::new(ErrorKind::Forbidden, what).hint("leave out --parent, or back up with that client's key")
}

fn same_set<T: Ord>(a: &[T], b: &[T]) -> bool {
    a.iter().collect::<BTreeSet<_>>() == b.iter().collect()
}
