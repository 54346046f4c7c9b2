//! The end of a run in one repository: counts, the snapshot and what it says of itself.

use std::sync::atomic::Ordering::Relaxed;

use super::BackupSummary;
use super::attempt::{Begun, Fan, Job};
use super::keeper::Keeper;
use super::walk::Walk;
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::event::Event;
use crate::format::records::CloseKind;
use crate::id::RecordId;
use crate::model::{Body, PageRef, Statement, Stats};
use crate::ops::locked;
use crate::repo::NewSnapshot;
use crate::source::Identities;
use crate::sys;

/// Numbers with their names.
type OwnerNames = Vec<(u32, Vec<u8>)>;

/// One repository's part, once all of the source was walked.
pub(super) struct Run<'a> {
    pub(super) fan: &'a Fan<'a>,
    pub(super) job: &'a Job<'a>,
    pub(super) begun: &'a Begun,
    pub(super) keeper: &'a Keeper<'a>,
    pub(super) walk: &'a Walk<'a>,
}

impl Run<'_> {
    /// Make durable what was stored, and commit the snapshot.
    pub(super) fn finish(&self, root: Option<PageRef>, left: &mut Option<RecordId>) -> Result<BackupSummary> {
        let (repo, session, options) = (self.job.repo, &self.begun.session, self.fan.options);
        let incomplete = self.fan.cx.cancelled();
        self.keeper.writer.finish()?;
        let ended = sys::now();
        let mut stats = self.stats();
        let parent = self.begun.base.snapshots.first();
        if let (Some(_), Some(parent)) = (&options.changed, parent) {
            // The snapshot has what the parent has, but for what was looked at.
            let kept = parent.body.stats.files_processed.saturating_sub(self.keeper.counts.replaced.load(Relaxed));
            stats.files_processed += kept;
            stats.bytes_processed = root.map_or(0, |r| r.bytes);
        }
        let mut summary = BackupSummary {
            snapshot: None,
            parent: parent.map(|p| p.id),
            stats,
            started: self.fan.started,
            ended,
            incomplete,
        };
        let unchanged = parent.is_some_and(|p| !p.incomplete() && p.statement.root == root);
        if options.dry_run {
            return Ok(summary);
        }
        if root.is_none() && !incomplete {
            repo.close(session, CloseKind::Abort, vec![])?;
            return Err(Error::new(ErrorKind::Source, "the snapshot would be empty, so none is made")
                .hint("was everything excluded, or unreadable? `orlop explain-exclude PATH` names the rule"));
        }
        // What was interrupted before anything was found is worth nobody's attention.
        let empty = root.is_none();
        if empty || (options.skip_if_unchanged && unchanged && !incomplete) {
            repo.close(session, CloseKind::End, vec![])?;
            return Ok(summary);
        }
        let mut new = self.describe(root, &summary);
        new.statement.replaces = left.or(new.statement.replaces);
        let id = self.commit(new, left)?;
        self.job.cx.observer.on(&Event::Saved { snapshot: id, incomplete });
        summary.snapshot = Some(id);
        Ok(summary)
    }

    fn commit(&self, new: NewSnapshot, left: &mut Option<RecordId>) -> Result<RecordId> {
        let doing = || "while committing the snapshot".to_owned();
        let (repo, who, session) = (self.job.repo, &self.job.who, &self.begun.session);
        if self.fan.again {
            let head = repo.commit_ahead(who, session, &new).doing(doing)?;
            *left = Some(head.id);
            repo.close_behind(session, head)?;
            return Ok(head.id);
        }
        let id = repo.commit(who, session, new).doing(doing)?;
        repo.close(session, CloseKind::End, vec![id])?;
        Ok(id)
    }

    fn stats(&self) -> Stats {
        let (c, w) = (&self.keeper.counts, self.keeper.writer);
        Stats {
            files_new: c.files_new.load(Relaxed),
            files_changed: c.files_changed.load(Relaxed),
            files_unmodified: c.files_unmodified.load(Relaxed),
            dirs_new: c.dirs_new.load(Relaxed),
            dirs_changed: c.dirs_changed.load(Relaxed),
            dirs_unmodified: c.dirs_unmodified.load(Relaxed),
            data_blobs: w.data_blobs.load(Relaxed),
            tree_blobs: w.tree_blobs.load(Relaxed),
            data_added: w.plain_bytes.load(Relaxed),
            data_added_packed: w.stored_bytes.load(Relaxed),
            files_processed: c.files.load(Relaxed),
            bytes_processed: c.bytes.load(Relaxed),
            problems: self.fan.problems(self.job),
        }
    }

    /// Names of the owners that occur: as they are called here, and else as the parent has them.
    fn owners(&self) -> (OwnerNames, OwnerNames) {
        let seen = locked(&self.walk.owners);
        let names = Identities::load();
        let (mut users, mut groups) = self
            .begun
            .base
            .snapshots
            .first()
            .map_or_else(Default::default, |p| (p.body.users.clone(), p.body.groups.clone()));
        users.retain(|(n, _)| !seen.0.contains(n));
        groups.retain(|(n, _)| !seen.1.contains(n));
        users.extend(seen.0.iter().filter_map(|n| Some((*n, names.user(*n)?.to_vec()))));
        groups.extend(seen.1.iter().filter_map(|n| Some((*n, names.group(*n)?.to_vec()))));
        users.sort();
        groups.sort();
        (users, groups)
    }

    fn body(&self, stats: Stats) -> Body {
        let about = &self.fan.options.about;
        let (users, groups) = self.owners();
        Body {
            hostname: about.host.clone().unwrap_or_else(|| self.job.repo.host().hostname.clone()),
            username: sys::username(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            paths: about.paths.clone(),
            tags: about.tags.clone(),
            label: about.label.clone(),
            description: about.description.clone(),
            trigger: about.trigger.clone(),
            scope: about.scope.clone(),
            expires: about.expires,
            chunking: self.fan.options.chunking,
            excludes: about.excludes.clone(),
            program: about.program.clone(),
            name_encoding: 1,
            root_style: 1,
            users,
            groups,
            stats,
            ext: vec![],
        }
    }

    fn describe(&self, root: Option<PageRef>, summary: &BackupSummary) -> NewSnapshot {
        let (repo, who, about) = (self.job.repo, &self.job.who, &self.fan.options.about);
        let flag = |on: bool, flag: u32| if on { flag } else { 0 };
        let statement = Statement {
            domain: repo.domain(),
            client: who.client,
            seq: 0,
            prev: RecordId::ZERO,
            client_epoch: who.epoch,
            root,
            time: about.time.unwrap_or(summary.started),
            utc_offset: about.utc_offset,
            started: summary.started,
            ended: summary.ended,
            machine: repo.machine(),
            config: repo.config_id(),
            flags: flag(summary.incomplete, Statement::INCOMPLETE)
                | flag(summary.stats.problems > 0, Statement::HAS_PROBLEMS),
            parent: summary.parent,
            // An interrupted run is done with once another one went on from it.
            replaces: self.begun.base.snapshots.first().filter(|p| p.incomplete()).map(|p| p.id),
            origin: None,
            heads: vec![],
            body: vec![],
            ext: vec![],
        };
        NewSnapshot { statement, body: self.body(summary.stats) }
    }
}
