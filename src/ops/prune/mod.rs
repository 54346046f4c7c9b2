//! Prune: survey ▸ mark ▸ plan ▸ repack ▸ condemn ▸ wait ▸ survey and mark again ▸ doom ▸ delete.
//!
//! Nobody is stopped, and nothing is deleted that anybody may need: the protocol is in
//! `format-spec/80-sessions.md`, its decisions in [`crate::collect`]. A run that is killed anywhere
//! leaves a repository that is whole; the next one goes on.

mod checkpoint;
mod finish;
pub(super) mod mark;
mod plan;
mod rehearse;
pub(super) mod repack;
mod restart;
mod survey;
mod verify;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error as _;
use std::io;
use std::time::{Duration, Instant};

pub use crate::collect::Unused;

use crate::error::{Error, ErrorKind, Result};
use crate::event::{Context, Phase};
use crate::format::gc::PackName;
use crate::format::keys::Role;
use crate::format::names::prefix;
use crate::format::records::{CloseKind, Purpose};
use crate::id::RecordId;
use crate::repo::{Identity, OpenSession, Repository, Session};
use crate::storage::StorageErrorKind;
use finish::Tried;
use survey::Looking;

/// So many index segments are merged after a backup.
const MANY: usize = 128;
/// How often a run begins anew when another collector is quicker.
const TRIES: usize = 4;

/// How to prune.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// Say what would be done.
    pub dry_run: bool,
    /// Snapshots that count as forgotten in a dry run.
    pub as_if_forgotten: Vec<RecordId>,
    /// What may stay unused.
    pub max_unused: Unused,
    /// Bytes of packs that are packed again at most.
    pub max_repack: Option<u64>,
    /// How long packing again may take, about.
    pub time_budget: Option<Duration>,
    /// Condemn and delete in one go, and end the time in which what was forgotten can be brought back.
    pub now: bool,
    /// Give up sessions of other machines that are in the way.
    pub fence: bool,
    /// Go on without a record of the gc log that is lost.
    pub accept_lost: bool,
    /// Time between condemning and deleting.
    pub grace: Duration,
    /// A session that was silent for so long is given up.
    pub silence: Duration,
    /// zstd level; `None` stores as it is.
    pub compression: Option<i32>,
    /// Length of packs; `None` follows the size of the repository.
    pub pack_target: Option<u64>,
    /// So many records of the log, tombstones or closed sessions are made an end of by a checkpoint.
    pub checkpoint_after: u64,
    /// Only merge index segments where many have gathered: nothing is looked for that nobody needs.
    pub merge_only: bool,
    /// Threads; as many as there are processors if `None`.
    pub threads: Option<usize>,
}

impl Default for PruneOptions {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            dry_run: false,
            as_if_forgotten: vec![],
            max_unused: Unused::Percent(5.0),
            max_repack: None,
            time_budget: None,
            now: false,
            fence: false,
            accept_lost: false,
            grace: DAY,
            silence: DAY,
            compression: Some(3),
            pack_target: None,
            checkpoint_after: 64,
            merge_only: false,
            threads: None,
        }
    }
}

/// Why something is not deleted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Its time has not come.
    Grace,
    /// Somebody is at work and may use it.
    Session {
        /// On which machine.
        hostname: String,
        /// Which process.
        pid: u32,
        /// Since when, by its own clock, in seconds.
        started: i64,
        /// Bytes it has done.
        progress: u64,
    },
}

impl Why {
    fn session(s: &OpenSession) -> Self {
        Self::Session {
            hostname: s.open.hostname.clone(),
            pid: s.open.pid,
            started: s.open.started.sec,
            progress: s.progress,
        }
    }
}

/// What is condemned and not deleted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// By which plan.
    pub generation: u64,
    /// Why.
    pub why: Why,
    /// Not before this time of the storage, in seconds, if that is what it waits for.
    pub not_before: Option<i64>,
    /// How much.
    pub bytes: u64,
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct PruneSummary {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Blobs in packs that are packed again.
    pub repack_blobs: u64,
    /// Bytes of those packs.
    pub repack_bytes: u64,
    /// Blobs that go by that.
    pub removed_blobs: u64,
    /// Bytes that go by that.
    pub removed_bytes: u64,
    /// Blobs in packs of which nothing is needed.
    pub delete_blobs: u64,
    /// Bytes of those packs.
    pub delete_bytes: u64,
    /// Of those packs, the ones that no segment knows.
    pub unindexed_packs: u64,
    /// Blobs that stay.
    pub remaining_blobs: u64,
    /// Bytes that stay.
    pub remaining_bytes: u64,
    /// Of those, bytes that nobody needs.
    pub unused_bytes: u64,
    /// Packs that were deleted by this run; of a dry run, those that it would delete.
    pub deleted_packs: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Of those packs, the ones that earlier runs condemned.
    pub earlier_packs: u64,
    /// Their bytes.
    pub earlier_bytes: u64,
    /// Forgotten snapshots that can be brought back.
    pub forgotten_kept: u64,
    /// Until when the first of them can, by the storage's clock, in seconds.
    pub forgotten_kept_until: Option<i64>,
    /// Forgotten snapshots that nobody can bring back any more, because of this run.
    pub forgotten_ended: u64,
    /// Objects that the storage would not delete.
    pub refused: u64,
    /// What waits.
    pub pending: Vec<Pending>,
}

/// Free what nobody needs.
pub fn prune(repo: &mut Repository, options: &PruneOptions, cx: &Context<'_>) -> Result<PruneSummary> {
    allowed(repo, options)?;
    // What cannot be read where it is stops it.
    repo.without_cache();
    cx.enter(Phase::Opening, None, None);
    let who = if options.dry_run { repo.identity_unseen(None)? } else { repo.identity(None)? };
    let repo = &*repo;
    let session = begin(repo, &who, options, cx)?;
    let run = Run {
        repo,
        who: &who,
        session: &session,
        options,
        cx,
        began: Instant::now(),
        no_room: RefCell::default(),
        condemned: Cell::new(false),
    };
    let done = run.all();
    if !options.dry_run {
        let kind = if done.is_ok() { CloseKind::End } else { CloseKind::Abort };
        // A run that is fenced while it closes has done what it has done.
        match repo.close(&session, kind, vec![]) {
            Err(e) if e.kind() != ErrorKind::Fenced && done.is_ok() => return Err(e),
            _ => {}
        }
    }
    done
}

fn begin(repo: &Repository, who: &Identity, options: &PruneOptions, cx: &Context<'_>) -> Result<Session> {
    let lost = |name: &str, e: Error| {
        cx.notice("lost", format!("{name} of the gc log is lost, and pruning goes on without it: {e}"));
    };
    match (options.dry_run, options.accept_lost) {
        (true, false) => repo.begin_unseen(who),
        (true, true) => repo.begin_unseen_after_loss(who, &lost),
        (false, false) => repo.begin(who, Purpose::Gc, vec![]),
        (false, true) => repo.begin_after_loss(who, &lost),
    }
}

/// After a backup: where many index segments have gathered, merge them. Those that go are deleted by a
/// later run, a grace period on. Whether there was anything to do.
pub fn merge_if_many(repo: &mut Repository, cx: &Context<'_>) -> Result<bool> {
    let options = PruneOptions { merge_only: true, ..PruneOptions::default() };
    if allowed(repo, &options).is_err() || repo.storage().list(prefix::INDEX)?.len() < MANY {
        return Ok(false);
    }
    let (history, now) = (repo.history()?, repo.storage().clock()?);
    let waits = |p: &crate::collect::Plan<_, _>| finish::due(repo, p.time, now, &options).is_some();
    if history.log.plans().values().any(|p| p.condemned.is_empty() && waits(p)) {
        return Ok(false);
    }
    prune(repo, &options, cx).map(|_| true)
}

/// Whether this key and this storage allow it at all.
pub fn allowed(repo: &Repository, options: &PruneOptions) -> Result<()> {
    let role = repo.role();
    if !matches!(role, Role::Owner) {
        let what = format!("this key has the role {} and may not delete anything", role.as_str());
        return Err(Error::new(ErrorKind::Forbidden, what).hint("prune with the owner's key"));
    }
    if !repo.storage().exclusive() {
        let what = "this storage cannot make an object exclusively: neither two prunes nor a prune and a backup \
                    could tell who was first, so nothing is deleted here";
        return Err(Error::new(ErrorKind::Unsupported, what)
            .hint("`orlop doctor storage` says what this storage can do")
            .hint("backups and restores work; to free space, copy what is to stay into another repository"));
    }
    if options.now && !repo.storage().staleness().is_zero() {
        let what = "--now needs a storage that shows what was written at once, and this one may be late";
        return Err(
            Error::new(ErrorKind::Unsupported, what).hint("prune without --now: what is not needed goes a day later")
        );
    }
    Ok(())
}

/// Say whose session was given up while it may live.
fn tell_fenced(cx: &Context<'_>, s: &OpenSession) {
    let whose = format!("the session of {} ({})", s.open.hostname, s.open.pid);
    cx.notice("fenced", format!("{whose} was given up: if it still lives, it will notice and repair"));
}

/// Whether packs that are there were written by a session.
fn stores(s: &OpenSession, there: &BTreeMap<PackName, u64>) -> bool {
    there.keys().any(|p| p.uploader == s.open.session.0[..4])
}

/// Whether something failed for lack of space where it should have gone.
fn is_full(e: &Error) -> bool {
    let mut cause = e.source();
    while let Some(c) = cause {
        if c.downcast_ref::<io::Error>().is_some_and(|e| StorageErrorKind::of(e) == StorageErrorKind::Full) {
            return true;
        }
        cause = c.source();
    }
    false
}

fn tell_crowded(cx: &Context<'_>) {
    let what = "nothing new is condemned before what is condemned is deleted: so many prunes wait for it";
    cx.notice("crowded", what);
}

struct Run<'a> {
    repo: &'a Repository,
    who: &'a Identity,
    session: &'a Session,
    options: &'a PruneOptions,
    cx: &'a Context<'a>,
    began: Instant,
    /// Why packing again was given up, if it was.
    no_room: RefCell<Option<Error>>,
    /// Whether it condemned what was wholly dead when it began.
    condemned: Cell<bool>,
}

impl Run<'_> {
    fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(2, usize::from);
        self.options.threads.unwrap_or_else(all).max(1)
    }

    fn look(&self) -> Result<Looking<'_>> {
        // The storage's clock; one that went back since the newest record counts for nothing.
        let time = if self.options.dry_run { crate::sys::now().sec } else { self.repo.storage().clock()? };
        let time = time.max(self.session.history().time);
        Ok(Looking { repo: self.repo, session: self.session, cx: self.cx, now: self.options.now, time })
    }

    fn all(&self) -> Result<PruneSummary> {
        let mut summary = PruneSummary { dry_run: self.options.dry_run, ..PruneSummary::default() };
        if self.options.dry_run {
            rehearse::rehearse(&self.look()?, self.options, self.threads(), &mut summary)?;
            return Ok(summary);
        }
        if let Some(lost) = self.session.history().torn {
            restart::restart(&self.look()?, self.who, lost, self.options.fence, self.threads())?;
        }
        self.delete(&mut summary)?;
        self.bury_dead()?;
        self.finish_due(&mut summary)?;
        self.checkpoint(&mut summary)?;
        summary.that_was_earlier();
        if checkpoint::crowded(&self.session.history(), self.options) {
            tell_crowded(self.cx);
            self.tell_pending(&mut summary)?;
            return Ok(summary);
        }
        loop {
            let more = self.round(&mut summary)?;
            let late = self.options.time_budget.is_some_and(|t| self.began.elapsed() >= t);
            if !more || late {
                break;
            }
        }
        self.tell_no_room(&summary)?;
        self.tell_pending(&mut summary)?;
        Ok(summary)
    }

    /// F6, for what any run decided.
    fn delete(&self, summary: &mut PruneSummary) -> Result<()> {
        let history = self.session.history();
        self.cx.enter(Phase::Deleting, None, None);
        let done = self.repo.delete_doomed(&history)?;
        summary.deleted_packs += done.packs;
        summary.deleted_bytes += done.bytes;
        summary.refused = done.refused;
        Ok(())
    }

    /// A checkpoint, if it is time for one, and what it makes an end of.
    fn checkpoint(&self, summary: &mut PruneSummary) -> Result<()> {
        let look = self.look()?;
        match self.unless_overtaken(|| checkpoint::checkpoint(&look, self.who, self.options))? {
            Some(true) => self.delete(summary),
            Some(false) => Ok(()),
            None => self.catch_up(),
        }
    }

    /// Sessions whose process is dead for certain hold nothing up, and on request nobody does who
    /// stored anything: what no segment knows yet is immune as long as its session is open.
    fn bury_dead(&self) -> Result<()> {
        let generation = self.session.seen_gen();
        let there = survey::packs_there(self.repo)?;
        let mut fenced = false;
        for s in self.repo.sessions()?.open.iter().filter(|s| s.open.session != self.session.id) {
            let asked = self.options.fence && !s.dead && stores(s, &there);
            if s.dead || asked {
                self.repo.fence(self.who, s.open.session, generation)?;
                fenced |= asked;
            }
            if asked {
                tell_fenced(self.cx, s);
            }
        }
        if fenced {
            survey::wait(2 * self.repo.storage().staleness());
        }
        Ok(())
    }

    /// Every plan whose time has come, until one has to wait for somebody.
    fn finish_due(&self, summary: &mut PruneSummary) -> Result<()> {
        let mut lost = 0;
        while lost < TRIES {
            let history = self.session.history();
            let look = self.look()?;
            let time_has_come = |p: &crate::collect::Plan<_, _>| {
                self.options.now || finish::due(self.repo, p.time, look.time, self.options).is_none()
            };
            let meant = |p: &crate::collect::Plan<_, _>| !self.options.merge_only || p.condemned.is_empty();
            let due = history.log.plans().iter().find(|(_, p)| meant(p) && time_has_come(p));
            let Some((generation, _)) = due else { return Ok(()) };
            let attempt = || finish::finish(&look, self.who, *generation, None, self.options, self.threads());
            match self.unless_overtaken(attempt)?.unwrap_or(Tried::Lost) {
                Tried::Done => self.delete(summary)?,
                Tried::Waits => return Ok(()),
                Tried::Lost => {
                    lost += 1;
                    self.catch_up()?;
                }
            }
        }
        Ok(())
    }

    /// Whatever went while somebody else deleted by the log is no damage: `None`, and all has to be
    /// looked at again.
    fn unless_overtaken<T>(&self, attempt: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
        let before = self.session.seen_gen();
        match attempt() {
            Err(e) if matches!(e.kind(), ErrorKind::Missing | ErrorKind::Damaged) => {
                self.catch_up()?;
                if self.session.seen_gen() > before { Ok(None) } else { Err(e) }
            }
            other => other.map(Some),
        }
    }

    fn catch_up(&self) -> Result<()> {
        let mut history = self.session.history();
        self.repo.catch_up(&mut history)?;
        self.session.go_by(history);
        Ok(())
    }

    /// One plan, and with `--now` its finish; whether there is more to do.
    fn round(&self, summary: &mut PruneSummary) -> Result<bool> {
        for _ in 0..TRIES {
            match self.unless_overtaken(|| self.plan(summary))?.flatten() {
                Some(more) => return Ok(more),
                None => self.catch_up()?,
            }
        }
        let what = "other prunes were quicker again and again";
        Err(Error::new(ErrorKind::Storage, what).hint("one prune at a time is enough; run it again later"))
    }

    /// Where nothing could be done without packing again, that there was no room is an error.
    fn tell_no_room(&self, summary: &PruneSummary) -> Result<()> {
        let Some(e) = self.no_room.take() else { return Ok(()) };
        if summary.earlier_packs + summary.repack_blobs == 0 && !self.condemned.get() {
            return Err(e);
        }
        let what = "there is no room to pack again what is needed in part only, which is left to a later run";
        self.cx.notice("no-room", format!("{what}: {e}"));
        Ok(())
    }

    /// `None`: somebody was quicker, or there is no room to pack again; all has to be looked at anew.
    fn plan(&self, summary: &mut PruneSummary) -> Result<Option<bool>> {
        let look = self.look()?;
        let mut survey = survey::survey(&look)?;
        if self.options.merge_only {
            survey.expired.clear();
            survey.cleared.clear();
            let (marks, nothing) = (mark::Marks::new(&survey.index), plan::Decision::default());
            let written = plan::write(&look, self.who, &mut survey, &marks, &nothing, self.options)?;
            return Ok(written.map(|_| false));
        }
        let marks = survey.mark(&look, None, self.threads())?;
        let mut counted = PruneSummary::default();
        let mut options = self.options.clone();
        if self.no_room.borrow().is_some() {
            options.max_repack = Some(0);
        }
        let decision = plan::decide(&survey, &marks, &options, &mut counted);
        survey.count_forgotten(&mut counted);
        let written = match plan::write(&look, self.who, &mut survey, &marks, &decision, self.options) {
            // Of what was packed already, either copy needs nobody now: the next look finds out which.
            Err(e) if is_full(&e) && !decision.repack.is_empty() => {
                *self.no_room.borrow_mut() = Some(e);
                return Ok(None);
            }
            other => other?,
        };
        let Some(generation) = written else { return Ok(None) };
        let own = self.session.suffix();
        self.condemned.set(self.condemned.get() || decision.dead.iter().any(|p| p.uploader != own));
        summary.take_counts(&counted);
        if generation == 0 {
            return Ok(Some(false));
        }
        Ok(Some(self.finish_now(generation, &survey, summary)? && decision.more))
    }

    fn finish_now(&self, generation: u64, survey: &survey::Survey, summary: &mut PruneSummary) -> Result<bool> {
        if !self.options.now {
            return Ok(true);
        }
        let look = self.look()?;
        let first = || finish::finish(&look, self.who, generation, Some(survey), self.options, self.threads());
        let mut tried = self.unless_overtaken(first)?.unwrap_or(Tried::Lost);
        for _ in 1..TRIES {
            if !matches!(tried, Tried::Lost) {
                break;
            }
            self.catch_up()?;
            let look = self.look()?;
            let again = || finish::finish(&look, self.who, generation, None, self.options, self.threads());
            tried = self.unless_overtaken(again)?.unwrap_or(Tried::Lost);
        }
        self.delete(summary)?;
        Ok(matches!(tried, Tried::Done))
    }

    /// What is condemned and not deleted, why, and until when.
    fn tell_pending(&self, summary: &mut PruneSummary) -> Result<()> {
        let history = self.session.history();
        let there = survey::packs_there(self.repo)?;
        let look = self.look()?;
        summary.pending = finish::pending(&look, &history, &self.repo.sessions()?, &there, self.options);
        Ok(())
    }
}

impl PruneSummary {
    /// What was deleted up to now was condemned by earlier runs.
    fn that_was_earlier(&mut self) {
        (self.earlier_packs, self.earlier_bytes) = (self.deleted_packs, self.deleted_bytes);
    }

    fn take_counts(&mut self, counted: &Self) {
        self.repack_blobs += counted.repack_blobs;
        self.repack_bytes += counted.repack_bytes;
        self.removed_blobs += counted.removed_blobs;
        self.removed_bytes += counted.removed_bytes;
        self.delete_blobs += counted.delete_blobs;
        self.delete_bytes += counted.delete_bytes;
        self.unindexed_packs += counted.unindexed_packs;
        self.remaining_blobs = counted.remaining_blobs;
        self.remaining_bytes = counted.remaining_bytes;
        self.unused_bytes = counted.unused_bytes;
        self.forgotten_kept = counted.forgotten_kept;
        self.forgotten_kept_until = counted.forgotten_kept_until;
        self.forgotten_ended += counted.forgotten_ended;
    }
}
