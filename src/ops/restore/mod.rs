//! Restore: tree ▸ plan by windows ▸ frames in pack order ▸ bytes at their offsets ▸ metadata,
//! deepest first.
//!
//! A planner walks the snapshot, makes directories and says which piece of which frame goes where.
//! When enough has come together, or less and the workers wait, that is a window (`jobs::Window`): they
//! look at what is there already, then fetch each frame that is still needed once, in the order of the
//! packs, and write.
//! A file is finished by whoever writes its last piece, a directory by whoever finishes the last
//! entry in it; so nothing waits for the end, and memory does not grow with the tree.
//!
//! Nothing of a file appears under a temporary name unless it replaces something that cannot be
//! changed in place. What an interrupted run leaves is therefore found, compared and kept by the
//! next one.

mod jobs;
mod links;
mod metadata;
mod place;
mod planner;
mod verify;
mod worker;

use std::collections::{BTreeSet, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use hashbrown::HashSet;

use crate::error::{Doing, Error, ErrorKind, Result};
use crate::event::{Context, Phase};
use crate::format::page::is_safe_name;
use crate::model::PageRef;
use crate::ops::{list, locked};
use crate::plan::filter::{Patterns, RestoreSelection};
use crate::repo::{Reader, Repository, Snapshot};
use crate::source::Identities;
use crate::target::{Owners, Policy, TargetDir, TargetTree};
use jobs::{DirJob, FileJob};
use planner::Planner;

/// When to touch what is there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// Make it what the snapshot says: contents are compared, what differs is rewritten.
    #[default]
    Always,
    /// The same, but believe the content of files whose size and time are right.
    IfChanged,
    /// Only if the snapshot's is newer.
    IfNewer,
    /// Leave it alone.
    Never,
}

/// Which extended attributes to restore.
#[derive(Debug, Clone, Default)]
pub enum XattrSelection {
    /// All.
    #[default]
    All,
    /// Those whose names match.
    Only(Patterns),
    /// Those whose names do not match.
    Except(Patterns),
}

impl XattrSelection {
    fn wants(&self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Only(patterns) => patterns.matches(name),
            Self::Except(patterns) => !patterns.matches(name),
        }
    }
}

/// How to restore.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Which entries.
    pub selection: RestoreSelection,
    /// What becomes of what is there.
    pub overwrite: Overwrite,
    /// Remove what the snapshot does not have.
    pub delete: bool,
    /// Plan and count, write nothing.
    pub dry_run: bool,
    /// Read everything again and compare.
    pub verify: bool,
    /// Make holes of long runs of zeros.
    pub sparse: bool,
    /// Owners by their names here.
    pub ownership_by_name: bool,
    /// Never make devices, setuid files and the like. Without it they are made by root from
    /// snapshots that the owner's key signed.
    pub withhold_privileged: bool,
    /// Which extended attributes.
    pub xattrs: XattrSelection,
    /// Directories that are never written to nor removed: the repository, the cache.
    pub avoid: Vec<PathBuf>,
    /// How many threads fetch and write; 0 is as many as seem right.
    pub threads: usize,
}

/// What a restore came to. Entries are of any kind, the target itself not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RestoreSummary {
    /// Entries selected.
    pub entries: u64,
    /// Entries restored.
    pub restored: u64,
    /// Entries whose content was right already, or that were not to be overwritten.
    pub skipped: u64,
    /// Entries removed.
    pub deleted: u64,
    /// Bytes selected.
    pub bytes: u64,
    /// Bytes of restored files.
    pub bytes_restored: u64,
    /// Bytes of skipped files.
    pub bytes_skipped: u64,
    /// Bytes written into files.
    pub bytes_written: u64,
    /// Frames fetched, or to be fetched.
    pub frames: u64,
    /// Bytes of them in the repository.
    pub bytes_fetched: u64,
    /// Problems.
    pub problems: u64,
}

#[derive(Default)]
struct Counts {
    entries: AtomicU64,
    restored: AtomicU64,
    skipped: AtomicU64,
    deleted: AtomicU64,
    bytes: AtomicU64,
    bytes_restored: AtomicU64,
    bytes_skipped: AtomicU64,
    bytes_written: AtomicU64,
    frames: AtomicU64,
    bytes_fetched: AtomicU64,
}

/// What is done with the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Write,
    Look,
    Verify,
}

/// One run, shared by all its threads.
struct Run<'a> {
    reader: &'a Reader<'a>,
    options: &'a RestoreOptions,
    cx: &'a Context<'a>,
    mode: Mode,
    /// `None`: there is no target yet, and a dry run makes none.
    tree: Option<TargetTree>,
    policy: Policy,
    /// The path in the snapshot that the target stands for.
    prefix: Vec<u8>,
    protected: &'a HashSet<(u64, u64)>,
    links: links::Links,
    /// Files that are open for several pieces, oldest first.
    open: Mutex<VecDeque<Arc<FileJob>>>,
    /// Files that were closed while they have a temporary name.
    parked: Mutex<Vec<Arc<FileJob>>>,
    counts: Counts,
    /// Files whose time of birth is known, and cannot be set.
    births: AtomicU64,
    /// Numbers of the files that were skipped or have problems told: not to be verified.
    exempt: &'a Mutex<Bits>,
    /// Why bytes could not be read, each reason once.
    reasons: Mutex<BTreeSet<String>>,
    stop: AtomicBool,
    fatal: Mutex<Option<Error>>,
}

/// A set of small numbers.
#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn insert(&mut self, n: u64) {
        let word = (n / 64) as usize;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (n % 64);
    }
    fn contains(&self, n: u64) -> bool {
        self.0.get((n / 64) as usize).is_some_and(|w| w & 1 << (n % 64) != 0)
    }
}

impl Run<'_> {
    fn stopped(&self) -> bool {
        self.stop.load(Relaxed) || self.cx.cancelled()
    }
    /// Nothing more can be done: the first reason counts.
    fn fail(&self, error: Error) {
        locked(&self.fatal).get_or_insert(error);
        self.stop.store(true, Relaxed);
    }
    fn exempt(&self, number: u64) {
        locked(self.exempt).insert(number);
    }
    /// A path as the snapshot has it.
    fn shown(&self, below: &[u8]) -> Vec<u8> {
        let mut out = self.prefix.clone();
        if !below.is_empty() {
            out.push(b'/');
            out.extend_from_slice(below);
        }
        if out.is_empty() { b"/".to_vec() } else { out }
    }

    /// Walk the tree and work on it, window by window.
    fn walk(&self, root: Option<PageRef>, fresh: bool) -> Result<()> {
        let (sender, windows) = sync_channel(0);
        let top = Arc::new(DirJob::top(fresh));
        std::thread::scope(|scope| {
            let worker = std::thread::Builder::new().name("restore".into()).spawn_scoped(scope, move || {
                for window in windows {
                    self.work(window);
                }
            });
            if let Err(e) = worker {
                self.fail(Error::new(ErrorKind::Target, "no thread could be started").because(e));
                return;
            }
            Planner::new(self, sender).walk(root, top);
        });
        if self.stopped() {
            self.clean_up();
        }
        locked(&self.open).clear();
        self.cx.check()?;
        locked(&self.fatal).take().map_or(Ok(()), Err)
    }

    fn summary(&self) -> RestoreSummary {
        let c = &self.counts;
        RestoreSummary {
            entries: c.entries.load(Relaxed),
            restored: c.restored.load(Relaxed),
            skipped: c.skipped.load(Relaxed),
            deleted: c.deleted.load(Relaxed),
            bytes: c.bytes.load(Relaxed),
            bytes_restored: c.bytes_restored.load(Relaxed),
            bytes_skipped: c.bytes_skipped.load(Relaxed),
            bytes_written: c.bytes_written.load(Relaxed),
            frames: c.frames.load(Relaxed),
            bytes_fetched: c.bytes_fetched.load(Relaxed),
            problems: self.cx.meter.problems.load(Relaxed),
        }
    }
}

/// Bring a snapshot, or a directory in it, back into a directory.
pub fn restore(
    repo: &Repository,
    snapshot: &Snapshot,
    subdir: Option<&[u8]>,
    target: &Path,
    options: &RestoreOptions,
    cx: &Context<'_>,
) -> Result<RestoreSummary> {
    cx.enter(Phase::Opening, None, None);
    let protected = protect(target, options)?;
    let trouble = |name: &str, e: Error| cx.problem("damaged", name.as_bytes(), "read", e.to_string());
    let index = repo.load_index(&trouble)?;
    let reader = Reader::new(repo, &index);
    let (root, prefix) = list::enter(&reader, snapshot.statement.root, subdir)?;
    let there = target.symlink_metadata().is_ok();
    let open = || -> Result<TargetTree> {
        let dir = TargetDir::open_or_create(target).doing(|| format!("while opening {}", target.display()))?;
        Ok(TargetTree::new(dir))
    };
    let tree = if options.dry_run && !there { None } else { Some(open()?) };
    let exempt = Mutex::new(Bits::default());
    let mut run = Run {
        reader: &reader,
        options,
        cx,
        mode: if options.dry_run { Mode::Look } else { Mode::Write },
        tree,
        policy: policy(snapshot, options),
        prefix,
        protected: &protected,
        links: links::Links::default(),
        open: Mutex::default(),
        parked: Mutex::default(),
        counts: Counts::default(),
        births: AtomicU64::new(0),
        exempt: &exempt,
        stop: AtomicBool::new(false),
        reasons: Mutex::default(),
        fatal: Mutex::new(None),
    };
    let all = matches!(options.selection, RestoreSelection::All);
    cx.enter(Phase::Restoring, None, root.filter(|_| all).map(|r| r.bytes));
    run.walk(root, !there)?;
    cx.meter.lacks("birth-time", run.births.load(Relaxed));
    let mut summary = run.summary();
    if options.verify && !options.dry_run {
        cx.enter(Phase::Verifying, None, Some(summary.bytes));
        run.mode = Mode::Verify;
        run.walk(root, false)?;
        summary.problems = cx.meter.problems.load(Relaxed);
    }
    Ok(summary)
}

fn policy(snapshot: &Snapshot, options: &RestoreOptions) -> Policy {
    let owners = if options.ownership_by_name {
        let here = Identities::load();
        let body = &snapshot.body;
        Owners::by_name(&body.users, &body.groups, |name| here.uid(name), |name| here.gid(name))
    } else {
        Owners::Number
    };
    let trusted = snapshot.trusted() && rustix::process::geteuid().is_root() && !options.withhold_privileged;
    Policy::new(owners, trusted)
}

/// Refuse a target in a place that must not be written to, and note those places and all above
/// them: `--delete` must not remove them.
fn protect(target: &Path, options: &RestoreOptions) -> Result<HashSet<(u64, u64)>> {
    if options.delete && target == Path::new("/") && matches!(options.selection, RestoreSelection::All) {
        return Err(Error::new(ErrorKind::Invalid, "--delete with the target / needs a choice of what to restore")
            .hint("add --include or --exclude"));
    }
    let mut protected = HashSet::new();
    let mut forbidden = HashSet::new();
    for place in &options.avoid {
        let Ok(place) = place.canonicalize() else { continue };
        let ids = place.ancestors().filter_map(|p| p.metadata().ok()).map(|m| (m.dev(), m.ino()));
        let ids: Vec<(u64, u64)> = ids.collect();
        forbidden.extend(ids.first().copied());
        protected.extend(ids);
    }
    let full = std::path::absolute(target).unwrap_or_else(|_| target.to_owned());
    let there = full.ancestors().find_map(|p| p.canonicalize().ok());
    let ids = there.iter().flat_map(|p| p.ancestors()).filter_map(|p| p.metadata().ok());
    if ids.map(|m| (m.dev(), m.ino())).any(|id| forbidden.contains(&id)) {
        let what = format!("the target {} is inside the repository or its cache", target.display());
        return Err(Error::new(ErrorKind::Invalid, what).hint("restore to another directory"));
    }
    Ok(protected)
}

fn check_name(name: &[u8], last: Option<&[u8]>) -> std::result::Result<(), &'static str> {
    if !is_safe_name(name) {
        return Err("it is not a name that a file can have; left out");
    }
    match last {
        Some(last) if last == name => Err("there are two entries of this name; the second is left out"),
        Some(last) if last > name => Err("it is not in order; left out"),
        _ => Ok(()),
    }
}
