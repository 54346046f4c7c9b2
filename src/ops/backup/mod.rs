//! Backup: source ▸ changed? ▸ chunk ▸ name ▸ known? ▸ compress ▸ seal ▸ pack ▸ put ▸ index ▸ snapshot.

mod changed;
mod content;
mod moved;
mod sample;
mod scan;
mod sources;
mod stream;
mod walk;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

pub use changed::ChangedFiles;
pub use scan::scan;
pub use sources::{Place, Sources};
pub(super) use walk::read_head;

use crate::collect::base_stands;
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::event::{Context, Event, Phase};
use crate::format::gc::PackName;
use crate::format::names::{self, prefix};
use crate::format::records::{CloseKind, Purpose};
use crate::id::RecordId;
use crate::index::Index;
use crate::model::{Body, GroupBy, PageRef, Scope, Statement, Stats, Time, Trigger};
use crate::ops::locked;
use crate::plan::filter::Selection;
use crate::repo::{Identity, NewSnapshot, Reader, Repository, Session, Snapshot, Validity, Writer, WriterOptions};
use crate::source::Identities;
use crate::sys;

/// A directory that is never backed up: the repository itself, the cache.
#[derive(Debug, Clone)]
pub struct Avoid {
    /// Device of it.
    pub dev: u64,
    /// Inode of it.
    pub ino: u64,
    /// Name of the notice.
    pub slug: &'static str,
    /// What it is: "the repository".
    pub what: &'static str,
}

/// What to compare with.
#[derive(Debug, Clone, Default)]
pub enum Parent {
    /// The newest of its group, as [`BackupOptions::group_by`] says.
    #[default]
    Latest,
    /// Nothing.
    None,
    /// This one.
    Snapshot(RecordId),
}

/// How to back up.
pub struct BackupOptions {
    /// What to compare with.
    pub parent: Parent,
    /// What the newest snapshot must have in common with this run to be its parent.
    pub group_by: GroupBy,
    /// Look only at these, and take the rest from the parent.
    pub changed: Option<ChangedFiles>,
    /// Read every file, changed or not.
    pub force: bool,
    /// Percentage of the files that are taken over which is read all the same.
    pub verify_sample: f64,
    /// A changed ctime alone does not make a file changed.
    pub ignore_ctime: bool,
    /// A changed inode number alone does not make a file changed.
    pub ignore_inode: bool,
    /// Keep times of last access.
    pub with_atime: bool,
    /// Do not go into other file systems.
    pub one_file_system: bool,
    /// What to leave out.
    pub selection: Selection,
    /// Directories that are never backed up.
    pub avoid: Vec<Avoid>,
    /// Chunking profile for files that have none.
    pub chunking: u8,
    /// Cut known files by the profile above, too.
    pub rechunk: bool,
    /// Look and count, but store nothing.
    pub dry_run: bool,
    /// Make no snapshot if nothing changed.
    pub skip_if_unchanged: bool,
    /// zstd level; `None` stores as it is.
    pub compression: Option<i32>,
    /// Length of packs; `None` follows the size of the repository.
    pub pack_target: Option<u64>,
    /// Packs that an index segment covers at most; `None` for the usual number.
    pub segment_packs: Option<usize>,
    /// Check every frame before it counts as stored.
    pub verify: bool,
    /// What the snapshot says.
    pub about: About,
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self {
            parent: Parent::Latest,
            group_by: GroupBy::HOST_AND_PATHS,
            changed: None,
            force: false,
            verify_sample: 0.0,
            ignore_ctime: false,
            ignore_inode: false,
            with_atime: false,
            one_file_system: false,
            selection: Selection::default(),
            avoid: vec![],
            chunking: 1,
            rechunk: false,
            dry_run: false,
            skip_if_unchanged: false,
            compression: Some(3),
            pack_target: None,
            segment_packs: None,
            verify: true,
            about: About::default(),
        }
    }
}

/// What a snapshot says about itself.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Name of the client; the host's if `None`.
    pub client: Option<String>,
    /// Host name to record; this machine's if `None`.
    pub host: Option<String>,
    /// The paths that were asked for, absolute.
    pub paths: Vec<Vec<u8>>,
    /// Tags.
    pub tags: Vec<String>,
    /// Label.
    pub label: String,
    /// Description.
    pub description: String,
    /// What started the run.
    pub trigger: Trigger,
    /// Whether all of the source was asked for.
    pub scope: Scope,
    /// When it may go.
    pub expires: Option<Time>,
    /// The time it stands for; now if `None`.
    pub time: Option<Time>,
    /// Offset of the zone, in seconds.
    pub utc_offset: i32,
    /// Which program runs.
    pub program: String,
    /// Patterns that kept things out, for the record.
    pub excludes: Vec<Vec<u8>>,
}

/// What to back up.
pub enum Input<'a> {
    /// Files and directories.
    Paths(Sources),
    /// One stream, as a file of this path.
    Stream {
        /// Path of the file.
        path: PathBuf,
        /// Its bytes.
        from: &'a mut (dyn Read + Send),
        /// Asked at the end of the stream: whether it may be kept. A command that failed says no.
        accept: &'a mut (dyn FnMut() -> Result<()> + Send),
    },
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct BackupSummary {
    /// The new snapshot; `None` for a dry run or an unchanged one that was skipped.
    pub snapshot: Option<RecordId>,
    /// What it was compared with.
    pub parent: Option<RecordId>,
    /// Counts.
    pub stats: Stats,
    /// When it began.
    pub started: Time,
    /// When it ended.
    pub ended: Time,
    /// It was interrupted.
    pub incomplete: bool,
}

/// The parents of a run: what it is compared with, and relies on.
struct Base {
    snapshots: Vec<Snapshot>,
}

impl Base {
    fn choose(repo: &Repository, who: &Identity, options: &BackupOptions, cx: &Context<'_>) -> Result<Self> {
        let trouble = |name: &str, e: Error| match e.kind() {
            // An alarm about what was kept before is no trouble of this run.
            ErrorKind::Missing | ErrorKind::Substituted => {
                cx.notice("chain", format!("{name}: {e}; ask `orlop check`"))
            }
            _ => cx.problem("damaged", name.as_bytes(), "read", e.to_string()),
        };
        let mut all = match options.parent {
            Parent::None => return Ok(Self { snapshots: vec![] }),
            _ => repo.standing(&trouble)?.snapshots,
        };
        let tombstones = repo.tombstones(&|_, _| {})?;
        let forgotten = |s: &Snapshot| !tombstones.at(s.statement.client, s.statement.seq).is_empty();
        all.retain(|s| s.validity != Validity::Late && !forgotten(s));
        if let Parent::Snapshot(id) = options.parent {
            all.retain(|s| s.id == id);
            if repo.signs_as_owner(who) && !all.iter().all(Snapshot::trusted) {
                return Err(foreign_parent(id));
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
        all.retain(|s| if owner { s.trusted() } else { s.statement.client == who.client || s.by_owner });
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
    fn keep_complete(&mut self) -> Result<()> {
        self.snapshots.retain(|s| !s.incomplete());
        self.snapshots.truncate(1);
        match self.snapshots.is_empty() {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Invalid, "there is no complete parent snapshot to take the rest from")
                .hint("back up once without --changed-files, or name one with --parent")),
        }
    }

    /// R2: what was forgotten before the session was there may be going already: it is not relied on.
    fn keep_standing(&mut self, repo: &Repository, session: &Session, cx: &Context<'_>) -> Result<()> {
        if self.snapshots.is_empty() {
            return Ok(());
        }
        let (history, tombstones) = (session.history(), repo.tombstones(&|_, _| {})?);
        let mut stands = Vec::new();
        for s in std::mem::take(&mut self.snapshots) {
            let (client, seq) = (s.statement.client, s.statement.seq);
            let tombstoned = !tombstones.at(client, seq).is_empty() || history.forgot(client, seq);
            let gone = !repo.has_snapshot(client, seq)?;
            if base_stands(tombstoned, gone, false) {
                stands.push(s);
            } else {
                let what = "was forgotten just now, so every file is read";
                cx.notice("parent-forgotten", format!("the parent snapshot {} {what}", s.id.short()));
            }
        }
        self.snapshots = stands;
        Ok(())
    }

    fn tell(&self, cx: &Context<'_>) {
        match self.snapshots.first() {
            Some(s) => cx.notice("using-parent", format!("using parent snapshot {}", s.id.short())),
            None => cx.notice("no-parent", "no parent snapshot found, will read all files"),
        }
    }

    fn ids(&self) -> Vec<RecordId> {
        self.snapshots.iter().map(|s| s.id).collect()
    }

    fn roots(&self) -> Vec<Option<PageRef>> {
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

/// How often a run that was given up by garbage collection begins anew.
const ATTEMPTS: usize = 3;

/// Take a snapshot.
pub fn backup(
    repo: &mut Repository,
    input: Input<'_>,
    options: &BackupOptions,
    cx: &Context<'_>,
) -> Result<BackupSummary> {
    let started = sys::now();
    cx.enter(Phase::Opening, None, None);
    let name = options.about.client.as_deref();
    let who = if options.dry_run { repo.identity_unseen(name)? } else { repo.identity(name)? };
    let repo = &*repo;
    let mut task = match input {
        Input::Paths(sources) => Task::Places(sources.into_places()),
        Input::Stream { path, from, accept } => Task::Stream(path, from, accept),
    };
    let mut left = None;
    let again = task.again();
    let done = unless_fenced(again, cx, || attempt(repo, &who, &mut task, options, cx, (started, &mut left)));
    repo.look_away();
    done
}

/// A session that garbage collection gave up begins anew.
pub(super) fn unless_fenced<T>(again: bool, cx: &Context<'_>, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(e) if e.kind() == ErrorKind::Fenced && again && !cx.cancelled() => {
                let what = "garbage collection had given this run up, so what it stored is looked at again";
                cx.notice("fenced", what);
            }
            other => return other,
        }
    }
    attempt()
}

/// What is read.
enum Task<'a> {
    Places(std::collections::BTreeMap<Vec<u8>, Place>),
    Stream(PathBuf, &'a mut (dyn Read + Send), &'a mut (dyn FnMut() -> Result<()> + Send)),
}

impl Task<'_> {
    /// Whether it can be begun anew: a stream cannot be read again.
    fn again(&self) -> bool {
        matches!(self, Self::Places(_))
    }
}

/// One session. `left` is what an earlier one committed in vain.
fn attempt(
    repo: &Repository,
    who: &Identity,
    task: &mut Task<'_>,
    options: &BackupOptions,
    cx: &Context<'_>,
    (started, left): (Time, &mut Option<RecordId>),
) -> Result<BackupSummary> {
    let profile = *repo.profile(options.chunking).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, format!("the repository has no chunking profile {}", options.chunking))
    })?;
    // The order matters: parents are chosen, then said to be relied on, then the index is read.
    repo.keep_looking();
    let mut base = Base::choose(repo, who, options, cx)?;
    if options.changed.is_some() {
        base.keep_complete()?;
    }
    let again = task.again();
    if again {
        base.tell(cx);
    }
    let named = match (&options.changed, &task) {
        (Some(changed), Task::Places(places)) => Some(changed::Named::new(changed, places)?),
        _ => None,
    };
    let session = match options.dry_run {
        true => repo.begin_unseen(who)?,
        false => repo.begin(who, Purpose::Backup, base.ids())?,
    };
    base.keep_standing(repo, &session, cx)?;
    if options.changed.is_some()
        && let Err(e) = base.keep_complete()
    {
        if !options.dry_run {
            repo.close(&session, CloseKind::Abort, vec![])?;
        }
        return Err(e);
    }
    let (index, careful) = load_index(repo, who, &session, options, cx)?;
    let reader = Reader::new(repo, &index);
    let writer = Writer::new(repo, who, &session, &index, cx, writer_options(options, &index));
    let contents =
        content::Contents { writer: &writer, keys: repo.keys(), gear: repo.gear(), cx, large: AtomicUsize::new(0) };
    let walk = walk::Walk {
        repo,
        cx,
        writer: &writer,
        reader: &reader,
        contents,
        selection: &options.selection,
        options,
        avoid: &options.avoid,
        client: who.client,
        profile,
        moved: moved::Moved::new(&reader, &base.snapshots),
        sample: sample::Sample::new(options.verify_sample, sys::random()?),
        careful,
        links: Mutex::default(),
        owners: Mutex::default(),
        counts: walk::Counts::default(),
    };
    cx.enter(Phase::BackingUp, None, None);
    let stored = match task {
        Task::Places(places) => match &named {
            Some(named) => walk.changed(places, named, base.roots().first().copied().flatten()),
            None => walk.top(places, &base.roots()),
        },
        Task::Stream(path, from, accept) => walk.stream(path, from, accept),
    };
    let run = Run { repo, who, session: &session, options, base: &base, started, again, cx };
    match stored {
        Ok(root) => run.finish(root, &walk, left),
        Err(e) => {
            // Nothing is committed. What became durable is found again by the next run.
            if !options.dry_run {
                writer.finish().and_then(|()| repo.close(&session, CloseKind::Abort, vec![])).ok();
            }
            Err(e)
        }
    }
}

/// The index with what dead runs left behind, and whether anything in the repository is suspected.
pub(super) fn load_index(
    repo: &Repository,
    who: &Identity,
    session: &Session,
    options: &BackupOptions,
    cx: &Context<'_>,
) -> Result<(Index, bool)> {
    let trouble = |name: &str, e: Error| cx.problem("damaged", name.as_bytes(), "read", e.to_string());
    let history = session.history();
    let mut index = repo.load_index_as_of(&history, &trouble)?;
    let condemned: HashSet<PackName> = history.log.condemned().copied().collect();
    index.distrust(|p| condemned.contains(&PackName { id: p.id, uploader: p.uploader }));
    if !options.dry_run {
        repo.adopt_leftovers(who, session, &mut index, cx)?;
    }
    let careful = distrust(repo, &mut index, cx)?;
    Ok((index, careful))
}

pub(super) fn writer_options(options: &BackupOptions, index: &Index) -> WriterOptions {
    WriterOptions {
        compression: options.compression,
        pack_target: options.pack_target.unwrap_or_else(|| pack_target(index)),
        segment_packs: options.segment_packs.unwrap_or(WriterOptions::SEGMENT_PACKS),
        verify: options.verify,
        dry_run: options.dry_run,
    }
}

/// What is in packs that were found damaged, or that are not there, counts as absent, so that it is
/// stored again. Whether there are any.
fn distrust(repo: &Repository, index: &mut Index, cx: &Context<'_>) -> Result<bool> {
    let suspects = repo.suspects()?;
    index.distrust(|p| suspects.binary_search(&p.id).is_ok());
    // Packs are durable before a segment names them, so whatever the index knows is listed now.
    let listed = repo.storage().list(prefix::PACKS)?;
    let there: HashMap<_, u64> =
        listed.iter().filter_map(|l| Some((names::parse_pack(l.name.as_str())?, l.len))).collect();
    let missing = index.distrust(|p| there.get(&(p.id, p.uploader)) != Some(&p.len));
    if missing > 0 {
        let what = "that the index knows are gone or have another length: what this run needs of them is stored again";
        cx.notice("packs-missing", format!("{missing} packs {what}; `orlop check` tells which files have lost data"));
    }
    Ok(missing > 0 || !suspects.is_empty())
}

/// Packs grow with the repository, so that their number grows by its square root only.
pub(super) fn pack_target(index: &Index) -> u64 {
    let stored: u64 = index.packs().iter().map(|p| p.len).sum();
    match stored >> 30 {
        0..=63 => 16 << 20,
        64..=255 => 32 << 20,
        256..=1023 => 64 << 20,
        _ => 128 << 20,
    }
}

/// Numbers with their names.
type OwnerNames = Vec<(u32, Vec<u8>)>;

struct Run<'a> {
    repo: &'a Repository,
    who: &'a Identity,
    session: &'a Session,
    options: &'a BackupOptions,
    base: &'a Base,
    started: Time,
    /// It can be begun anew.
    again: bool,
    cx: &'a Context<'a>,
}

impl Run<'_> {
    fn finish(
        &self,
        root: Option<PageRef>,
        walk: &walk::Walk<'_>,
        left: &mut Option<RecordId>,
    ) -> Result<BackupSummary> {
        self.cx.enter(Phase::Committing, None, None);
        let incomplete = self.cx.cancelled();
        walk.writer.finish()?;
        let ended = sys::now();
        let mut stats = self.stats(walk);
        if let (Some(_), Some(parent)) = (&self.options.changed, self.base.snapshots.first()) {
            // The snapshot has what the parent has, but for what was looked at.
            let kept = parent.body.stats.files_processed.saturating_sub(walk.counts.replaced.load(Relaxed));
            stats.files_processed += kept;
            stats.bytes_processed = root.map_or(0, |r| r.bytes);
        }
        let parent = self.base.snapshots.first();
        let mut summary = BackupSummary {
            snapshot: None,
            parent: parent.map(|p| p.id),
            stats,
            started: self.started,
            ended,
            incomplete,
        };
        let unchanged = parent.is_some_and(|p| !p.incomplete() && p.statement.root == root);
        if self.options.dry_run {
            return Ok(summary);
        }
        // What was interrupted before anything was found is worth nobody's attention.
        let empty = incomplete && root.is_none();
        if empty || (self.options.skip_if_unchanged && unchanged && !incomplete) {
            self.repo.close(self.session, CloseKind::End, vec![])?;
            return Ok(summary);
        }
        let mut new = self.describe(root, &summary, walk);
        new.statement.replaces = left.or(new.statement.replaces);
        let id = self.commit(new, left)?;
        self.cx.observer.on(&Event::Saved { snapshot: id, incomplete });
        summary.snapshot = Some(id);
        Ok(summary)
    }

    fn commit(&self, new: NewSnapshot, left: &mut Option<RecordId>) -> Result<RecordId> {
        let doing = || "while committing the snapshot".to_owned();
        if self.again {
            let head = self.repo.commit_ahead(self.who, self.session, &new).doing(doing)?;
            *left = Some(head.id);
            self.repo.close_behind(self.session, head)?;
            return Ok(head.id);
        }
        let id = self.repo.commit(self.who, self.session, new).doing(doing)?;
        self.repo.close(self.session, CloseKind::End, vec![id])?;
        Ok(id)
    }

    fn stats(&self, walk: &walk::Walk<'_>) -> Stats {
        let (c, w) = (&walk.counts, walk.writer);
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
            problems: self.cx.meter.problems.load(Relaxed),
        }
    }

    /// Names of the owners that occur: as they are called here, and else as the parent has them.
    fn owners(&self, walk: &walk::Walk<'_>) -> (OwnerNames, OwnerNames) {
        let seen = locked(&walk.owners);
        let names = Identities::load();
        let (mut users, mut groups) = self
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

    fn body(&self, stats: Stats, walk: &walk::Walk<'_>) -> Body {
        let about = &self.options.about;
        let (users, groups) = self.owners(walk);
        Body {
            hostname: about.host.clone().unwrap_or_else(|| self.repo.host().hostname.clone()),
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
            chunking: self.options.chunking,
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

    fn describe(&self, root: Option<PageRef>, summary: &BackupSummary, walk: &walk::Walk<'_>) -> NewSnapshot {
        let flag = |on: bool, flag: u32| if on { flag } else { 0 };
        let statement = Statement {
            domain: self.repo.domain(),
            client: self.who.client,
            seq: 0,
            prev: RecordId::ZERO,
            client_epoch: self.who.epoch,
            root,
            time: self.options.about.time.unwrap_or(summary.started),
            utc_offset: self.options.about.utc_offset,
            started: summary.started,
            ended: summary.ended,
            machine: self.repo.machine(),
            config: self.repo.config_id(),
            flags: flag(summary.incomplete, Statement::INCOMPLETE)
                | flag(summary.stats.problems > 0, Statement::HAS_PROBLEMS),
            parent: summary.parent,
            // An interrupted run is done with once another one went on from it.
            replaces: self.base.snapshots.first().filter(|p| p.incomplete()).map(|p| p.id),
            origin: None,
            heads: vec![],
            body: vec![],
            ext: vec![],
        };
        NewSnapshot { statement, body: self.body(summary.stats, walk) }
    }
}

/// A path as the snapshot lists it: absolute, without `.` and `..`.
pub fn absolute(path: &Path) -> Vec<u8> {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut out = PathBuf::new();
    for c in full.components() {
        match c {
            std::path::Component::ParentDir => {
                out.pop();
            }
            c => out.push(c),
        }
    }
    out.as_os_str().as_bytes().to_vec()
}
