//! A run in one or several repositories: a session in each, one walk for all.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use rayon::prelude::*;

use super::base::Base;
use super::content::Contents;
use super::each::Each;
use super::keeper::{Counts, Keeper};
use super::moved::Moved;
use super::sample::Sample;
use super::start::{Spreads, Within};
use super::voice::Voice;
use super::walk::{Roots, Walk};
use super::{
    ATTEMPTS, BackupOptions, BackupSummary, Destination, Task, changed, finish, load_index, tell_fenced, writer_options,
};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Context, Phase};
use crate::format::records::{CloseKind, Profile, Purpose};
use crate::id::RecordId;
use crate::index::Index;
use crate::model::{PageRef, Time};
use crate::ops::locked;
use crate::repo::{Identity, Reader, Repository, Session, Writer, WriterOptions};
use crate::sys;

/// One repository's part in a run.
pub(super) struct Job<'r> {
    /// Its place among them.
    pub(super) n: usize,
    pub(super) repo: &'r Repository,
    pub(super) of: &'r Destination<'r>,
    pub(super) who: Identity,
    /// Names it.
    pub(super) cx: &'r Context<'r>,
    /// What an earlier attempt committed in vain.
    pub(super) left: Option<RecordId>,
}

/// How a repository's part ended.
pub(super) struct Ended {
    pub(super) result: Result<BackupSummary>,
    /// Its failure was told.
    pub(super) told: bool,
}

/// What an attempt left of a job.
struct Attempted {
    ended: Ended,
    left: Option<RecordId>,
}

/// A session that was begun, with what it goes by.
pub(super) struct Begun {
    pub(super) base: Base,
    pub(super) session: Session,
    index: Index,
    careful: bool,
    profile: Profile,
}

/// All of a run.
pub(super) struct Fan<'a> {
    pub(super) options: &'a BackupOptions,
    pub(super) cx: &'a Context<'a>,
    /// Of all repositories.
    pub(super) voices: &'a [Voice<'a>],
    pub(super) started: Time,
    /// It can be begun anew.
    pub(super) again: bool,
}

impl Fan<'_> {
    /// Attempt until nobody is fenced: the others are done then, and have no part in what is read again.
    pub(super) fn all(&self, mut jobs: Vec<Job<'_>>, task: &mut Task<'_>, done: &mut [Option<Ended>]) -> Result<()> {
        for attempt in 1..=ATTEMPTS {
            let attempted = match self.attempt(&jobs, task) {
                // The others are done.
                Err(e) if attempt > 1 => {
                    let (kind, what) = (e.kind(), e.to_string());
                    let mut first = Some(e);
                    let mut next = || first.take().unwrap_or_else(|| Error::new(kind, what.clone()));
                    jobs.iter().map(|job| job.failed(next())).collect()
                }
                other => other?,
            };
            let mut fenced = Vec::new();
            for (mut job, Attempted { ended, left }) in jobs.into_iter().zip(attempted) {
                let given_up = ended.result.as_ref().is_err_and(|e| e.kind() == ErrorKind::Fenced);
                if given_up && self.again && attempt < ATTEMPTS && !self.cx.cancelled() {
                    tell_fenced(job.cx);
                    job.left = left;
                    fenced.push(job);
                } else {
                    done[job.n] = Some(ended);
                }
            }
            if fenced.is_empty() {
                break;
            }
            jobs = fenced;
        }
        Ok(())
    }

    /// One session in each repository.
    fn attempt(&self, jobs: &[Job<'_>], task: &mut Task<'_>) -> Result<Vec<Attempted>> {
        let named = match (&self.options.changed, &task) {
            (Some(changed), Task::Places(sources)) => Some(changed::Named::new(changed, sources)?),
            _ => None,
        };
        let (mut begun, mut who, mut out) = (Vec::new(), Vec::new(), Vec::new());
        for job in jobs {
            match self.begin(job) {
                Ok(b) => {
                    begun.push(b);
                    who.push(job);
                    out.push(None);
                }
                Err(e) => out.push(Some(job.failed(e))),
            }
        }
        let mut worked = match begun.is_empty() {
            true => vec![],
            false => self.work(&who, &begun, task, named.as_ref())?,
        }
        .into_iter();
        Ok(out.into_iter().filter_map(|failed| failed.or_else(|| worked.next())).collect())
    }

    /// The order matters: parents are chosen, then said to be relied on, then the index is read.
    fn begin(&self, job: &Job<'_>) -> Result<Begun> {
        let (repo, who, options, cx) = (job.repo, &job.who, self.options, job.cx);
        let profile = *repo.profile(options.chunking).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("the repository has no chunking profile {}", options.chunking))
        })?;
        repo.keep_looking();
        let mut base = Base::choose(repo, who, &job.of.parent, options, cx)?;
        if options.changed.is_some() {
            base.keep_complete()?;
        }
        if self.again {
            base.tell(cx);
        }
        let session = match options.dry_run {
            true => repo.begin_unseen(who)?,
            false => repo.begin(who, Purpose::Backup, base.ids())?,
        };
        let mut goes_by = || {
            base.keep_standing(repo, &session, cx)?;
            if options.changed.is_some() {
                base.keep_complete()?;
            }
            load_index(repo, who, &session, options, cx)
        };
        match goes_by() {
            Ok((index, careful)) => Ok(Begun { base, session, index, careful, profile }),
            Err(e) => {
                if !options.dry_run {
                    repo.close(&session, CloseKind::Abort, vec![]).ok();
                }
                Err(e)
            }
        }
    }

    /// Walk, and commit wherever nothing failed.
    fn work(
        &self,
        jobs: &[&Job<'_>],
        begun: &[Begun],
        task: &mut Task<'_>,
        named: Option<&changed::Named>,
    ) -> Result<Vec<Attempted>> {
        let readers: Vec<_> = jobs.iter().zip(begun).map(|(job, b)| Reader::new(job.repo, &b.index)).collect();
        let writers: Vec<_> = jobs.iter().zip(begun).map(|(job, b)| self.writer(job, b)).collect();
        let parts = jobs.iter().zip(begun).zip(readers.iter().zip(&writers));
        let keepers: Vec<_> = parts.map(|((job, b), (reader, writer))| self.keeper(job, b, reader, writer)).collect();
        let within = task.within();
        let walk = Walk {
            cx: self.cx,
            keepers: &keepers,
            again: self.again,
            contents: Contents { cx: self.cx, large: AtomicUsize::new(0) },
            selection: &self.options.selection,
            options: self.options,
            avoid: &self.options.avoid,
            within: Within(&within),
            spreads: Spreads::default(),
            sample: Sample::new(self.options.verify_sample, sys::random()?),
            owners: Mutex::<(BTreeSet<u32>, BTreeSet<u32>)>::default(),
            tops: task.tops(),
        };
        self.cx.enter(Phase::BackingUp, None, None);
        let stored = self.walk(&walk, begun, task, named);
        // It ends early also if all repositories have failed, each for its own reason.
        let (roots, why) = match stored {
            Ok(roots) => (Some(roots), None),
            Err(e) => (None, Some(e).filter(|_| !keepers.iter().all(Keeper::has_failed))),
        };
        let mut ended = self.commit(jobs, begun, &walk, roots.as_ref());
        for ((attempted, b), keeper) in ended.iter_mut().zip(begun).zip(&keepers) {
            if attempted.is_none() && !self.options.dry_run {
                // Nothing is committed. What became durable is found again by the next run.
                let closed = || keeper.repo.close(&b.session, CloseKind::Abort, vec![]);
                keeper.writer.finish().and_then(|()| closed()).ok();
            }
        }
        match why {
            Some(e) => Err(e),
            None => Ok(ended
                .into_iter()
                .enumerate()
                .map(|(n, e)| e.unwrap_or_else(|| gave_up(&walk, n, jobs[n])))
                .collect()),
        }
    }

    /// Commit wherever nothing failed, at once: each waits for a storage of its own.
    fn commit(
        &self,
        jobs: &[&Job<'_>],
        begun: &[Begun],
        walk: &Walk<'_>,
        roots: Option<&Each<Option<PageRef>>>,
    ) -> Vec<Option<Attempted>> {
        if roots.is_some() {
            self.cx.enter(Phase::Committing, None, None);
        }
        let one = |n: usize| {
            let (job, keeper, mut left) = (jobs[n], &walk.keepers[n], jobs[n].left);
            let root = roots.filter(|_| !keeper.has_failed())?[n];
            let run = finish::Run { fan: self, job, begun: &begun[n], keeper, walk };
            let result = run.finish(root, &mut left);
            Some(Attempted { ended: Ended { result, told: false }, left })
        };
        (0..jobs.len()).into_par_iter().map(one).collect()
    }

    fn writer<'w>(&self, job: &'w Job<'_>, b: &'w Begun) -> Writer<'w> {
        let options = WriterOptions { compression: job.of.compression, ..writer_options(self.options, &b.index) };
        Writer::new(job.repo, &job.who, &b.session, &b.index, job.cx, options)
    }

    fn keeper<'k>(
        &'k self,
        job: &'k Job<'_>,
        b: &'k Begun,
        reader: &'k Reader<'k>,
        writer: &'k Writer<'k>,
    ) -> Keeper<'k> {
        Keeper {
            repo: job.repo,
            cx: job.cx,
            name: job.of.name.as_deref(),
            options: self.options,
            writer,
            reader,
            client: job.who.client,
            profile: b.profile,
            moved: Moved::new(reader, &b.base.snapshots),
            careful: b.careful,
            links: Mutex::default(),
            counts: Counts::default(),
            failed: false.into(),
            why: Mutex::default(),
        }
    }

    fn walk(
        &self,
        walk: &Walk<'_>,
        begun: &[Begun],
        task: &mut Task<'_>,
        named: Option<&changed::Named>,
    ) -> Result<Each<Option<PageRef>>> {
        let parents: Roots = Each::of(begun.len(), |n| Some(begun[n].base.roots()));
        match task {
            Task::Places(sources) => match named {
                // What nobody names is the parent's without a look-up: not where look-ups are called for.
                Some(named) if begun.iter().all(|b| !b.careful) => walk.changed(sources.places(), named, &parents),
                _ => walk.top(sources.places(), &parents),
            },
            Task::Stream(path, from, accept) => walk.stream(path, from, accept),
        }
    }

    /// Problems of the source, and of this repository.
    pub(super) fn problems(&self, job: &Job<'_>) -> u64 {
        let of_others = self.voices.iter().enumerate().filter(|(n, _)| *n != job.n);
        let elsewhere: u64 = of_others.map(|(_, voice)| voice.problems.load(Relaxed)).sum();
        self.cx.meter.problems.load(Relaxed).saturating_sub(elsewhere)
    }
}

impl Job<'_> {
    fn failed(&self, e: Error) -> Attempted {
        Attempted { ended: Ended { result: Err(e), told: false }, left: self.left }
    }
}

/// What became of one that took no part any more.
fn gave_up(walk: &Walk<'_>, n: usize, job: &Job<'_>) -> Attempted {
    let why = locked(&walk.keepers[n].why).take();
    let e = why.unwrap_or_else(|| Error::new(ErrorKind::Bug, "a repository failed without a reason"));
    Attempted { ended: Ended { told: !walk.begins_anew(&e), result: Err(e) }, left: job.left }
}
