//! Backup: source ▸ changed? ▸ chunk ▸ name ▸ known? ▸ compress ▸ seal ▸ pack ▸ put ▸ index ▸ snapshot.

mod attempt;
mod base;
mod changed;
mod content;
mod each;
mod entry;
mod finish;
mod keeper;
mod moved;
mod sample;
mod scan;
mod sources;
mod start;
mod stream;
mod voice;
mod walk;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use attempt::{Ended, Fan, Job};
pub use changed::ChangedFiles;
pub use scan::scan;
pub use sources::{Place, Source, Sources, clean};
pub(super) use start::enter_named;
use voice::Voice;
pub(super) use walk::read_head;

use super::deep;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Context, Phase};
use crate::format::gc::PackName;
use crate::format::names::{self, prefix};
use crate::id::RecordId;
use crate::index::Index;
use crate::model::{GroupBy, Scope, Stats, Time, Trigger};
use crate::plan::filter::Selection;
use crate::repo::{History, Identity, Repository, Session, WriterOptions};
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
    /// Files that are read at once: 16 suit most disks. `None` for as many as there are threads in the
    /// rayon pool of the caller.
    pub threads: Option<usize>,
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
            threads: None,
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

/// How often a run that was given up by garbage collection begins anew.
const ATTEMPTS: usize = 3;

/// A repository that is to have a snapshot, and what is its own of how.
pub struct Destination<'r> {
    /// Which.
    pub repo: &'r mut Repository,
    /// How it is named where there are others; then its failure is told as a problem.
    pub name: Option<String>,
    /// What to compare with there, in place of what the options say.
    pub parent: Parent,
    /// zstd level there, likewise.
    pub compression: Option<i32>,
}

/// Take a snapshot.
pub fn backup(
    repo: &mut Repository,
    input: Input<'_>,
    options: &BackupOptions,
    cx: &Context<'_>,
) -> Result<BackupSummary> {
    let (parent, compression) = (options.parent.clone(), options.compression);
    let only = Destination { repo, name: None, parent, compression };
    fan_out(&mut [only], input, options, cx)?.swap_remove(0)
}

/// Take a snapshot in each of several repositories. The source is read once. One that fails takes no
/// part any more, and the others go on; its error has its place among the summaries. An error of the
/// whole is one that no repository can help.
pub fn fan_out(
    to: &mut [Destination<'_>],
    input: Input<'_>,
    options: &BackupOptions,
    cx: &Context<'_>,
) -> Result<Vec<Result<BackupSummary>>> {
    let started = sys::now();
    cx.enter(Phase::Opening, None, None);
    differ(to, cx)?;
    let mut task = match input {
        Input::Paths(sources) => Task::Places(sources),
        Input::Stream { path, from, accept } => Task::Stream(path, from, accept),
    };
    let client = options.about.client.as_deref();
    let who = |repo: &mut Repository| match options.dry_run {
        true => repo.identity_unseen(client),
        false => repo.identity(client),
    };
    let who: Vec<_> = to.iter_mut().map(|d| who(d.repo)).collect();
    let voices: Vec<_> = to.iter().map(|d| Voice::new(cx.observer, d.name.as_deref())).collect();
    let contexts: Vec<_> = voices.iter().map(|v| Context { observer: v, meter: cx.meter, cancel: cx.cancel }).collect();
    let (mut jobs, mut done) = (Vec::new(), Vec::new());
    for (n, who) in who.into_iter().enumerate() {
        let job = |who| Job { n, repo: &*to[n].repo, of: &to[n], who, cx: &contexts[n], left: None };
        done.push(who.map(|who| jobs.push(job(who))).err().map(|e| Ended { result: Err(e), told: false }));
    }
    let run = Fan { options, cx, voices: &voices, started, again: task.again() };
    let pool = deep::pool(options.threads.unwrap_or_else(rayon::current_num_threads));
    let ran = pool.and_then(|pool| pool.install(|| run.all(jobs, &mut task, &mut done)));
    to.iter().for_each(|to| to.repo.look_away());
    ran?;
    let told = |(Ended { result, told }, (to, cx)): (Ended, (&Destination<'_>, _))| {
        if let (Err(e), false) = (&result, told) {
            repository_failed(cx, to.name.as_deref(), e);
        }
        result
    };
    Ok(done.into_iter().flatten().zip(to.iter().zip(&contexts)).map(told).collect())
}

/// Two snapshots of one run in one repository are a mistake. In mirrors they are in each other's way.
fn differ(to: &[Destination<'_>], cx: &Context<'_>) -> Result<()> {
    let name = |d: &Destination<'_>| d.name.clone().unwrap_or_else(|| d.repo.storage().place());
    for (n, one) in to.iter().enumerate() {
        if let Some(other) = to[..n].iter().find(|other| other.repo.instance() == one.repo.instance()) {
            let what = format!("{} and {} are the same repository", name(other), name(one));
            return Err(Error::new(ErrorKind::Invalid, what).hint("name each repository once"));
        }
        if let Some(other) = to[..n].iter().find(|other| other.repo.domain() == one.repo.domain()) {
            let what = "are mirrors: with snapshots of their own, neither can be copied to the other any more";
            cx.notice("mirrors-part", format!("{} and {} {what}", name(other), name(one)));
        }
    }
    Ok(())
}

/// Tell that one of several repositories takes no part any more.
fn repository_failed(cx: &Context<'_>, name: Option<&str>, e: &Error) {
    if let Some(name) = name.filter(|_| e.kind() != ErrorKind::Cancelled) {
        let what = format!("{e}{}", e.hints().first().map(|h| format!("; {h}")).unwrap_or_default());
        cx.problem("repository-failed", name.as_bytes(), "back up", what);
    }
}

/// A session that garbage collection gave up begins anew.
pub(super) fn unless_fenced<T>(again: bool, cx: &Context<'_>, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(e) if e.kind() == ErrorKind::Fenced && again && !cx.cancelled() => {
                tell_fenced(cx);
            }
            other => return other,
        }
    }
    attempt()
}

fn tell_fenced(cx: &Context<'_>) {
    cx.notice("fenced", "garbage collection had given this run up, so what it stored is looked at again");
}

/// What is read.
enum Task<'a> {
    Places(Sources),
    Stream(PathBuf, &'a mut (dyn Read + Send), &'a mut (dyn FnMut() -> Result<()> + Send)),
}

impl Task<'_> {
    /// Whether it can be begun anew: a stream cannot be read again.
    fn again(&self) -> bool {
        matches!(self, Self::Places(_))
    }

    /// Sources in other sources.
    fn within(&self) -> BTreeSet<Vec<u8>> {
        match self {
            Self::Places(sources) => sources.within().clone(),
            Self::Stream(..) => BTreeSet::new(),
        }
    }

    /// Where each source is; a stream is nowhere on the disk.
    fn tops(&self) -> BTreeMap<u32, sources::Top> {
        match self {
            Self::Places(sources) => sources::tops(sources.places()),
            Self::Stream(..) => BTreeMap::new(),
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
    let damaged = Cell::new(false);
    let trouble = |name: &str, e: Error| {
        damaged.set(true);
        cx.problem("damaged", name.as_bytes(), "read", e.to_string());
    };
    let history = session.history();
    let mut index = repo.load_index_as_of(&history, &trouble)?;
    let condemned: HashSet<PackName> = history.log.condemned().copied().collect();
    index.distrust(|p| condemned.contains(&PackName { id: p.id, uploader: p.uploader }));
    if !options.dry_run {
        repo.adopt_leftovers(who, session, &mut index, cx)?;
    }
    // What only a damaged segment knew is stored again, also of files that did not change.
    let careful = distrust(repo, &mut index, &history, cx)? || damaged.get();
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
/// stored again. Whether there are any, or packs that no segment knows: one may be gone that did. (That
/// one is gone together with all its packs nobody sees here; a check does.)
fn distrust(repo: &Repository, index: &mut Index, history: &History, cx: &Context<'_>) -> Result<bool> {
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
    let known = |id, uploader| index.numbers_of(&id).iter().any(|n| index.pack(*n).uploader == uploader);
    let condemned = |id, uploader| history.log.condemns(&PackName { id, uploader });
    let mut unknown: Vec<_> = there.keys().filter(|p| !known(p.0, p.1) && !condemned(p.0, p.1)).collect();
    if !unknown.is_empty() {
        // What a run that is not over wrote is not in a segment yet.
        let open = repo.open_suffixes()?;
        unknown.retain(|(_, uploader)| !open.contains(uploader));
    }
    if !unknown.is_empty() {
        let what = "are in no index, and the part that knew them may be gone: unchanged files are looked up, too";
        cx.notice("packs-unknown", format!("{} packs {what}; `orlop check` tells more", unknown.len()));
    }
    Ok(missing > 0 || !unknown.is_empty() || !suspects.is_empty())
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
