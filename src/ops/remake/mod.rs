//! New snapshots of what others have: rewriting some, merging several into one.
//!
//! Both are sessions that rely on the snapshots they start from. Pages are read and new ones written;
//! what is below a directory in which nothing changes is taken over by its name, and no chunk is read.

mod filter;
mod merge;
mod rewrite;
mod union;

pub use merge::{MergeOptions, Merged, merge};
pub use rewrite::{Became, RewriteOptions, Rewritten, carry_times, rewrite};

use std::collections::{HashMap, HashSet};

use super::backup::{BackupOptions, load_index, unless_fenced, writer_options};
use super::deep;
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::event::Context;
use crate::format::page;
use crate::format::records::{CloseKind, Purpose};
use crate::id::RecordId;
use crate::model::{Ext, Node, PageRef, Statement};
use crate::repo::{Footing, Identity, NewSnapshot, Reader, Repository, Session, Snapshot, Writer};

/// Who is told which entry is left out, or taken from which of several.
pub type Tell<'a> = Option<&'a (dyn Fn(&[u8]) + Sync)>;

/// How a session of this kind goes.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// Name of the client; the host's if `None`.
    pub client: Option<String>,
    /// Look, and store nothing.
    pub dry_run: bool,
    /// zstd level; `None` stores as it is.
    pub compression: Option<i32>,
    /// Length of packs; `None` follows the size of the repository.
    pub pack_target: Option<u64>,
    /// Check every frame before it counts as stored.
    pub verify: bool,
    /// Which program runs.
    pub program: String,
}

impl Way {
    /// A backup that goes the same way.
    pub(super) fn of_backup(&self) -> BackupOptions {
        BackupOptions {
            dry_run: self.dry_run,
            compression: self.compression,
            pack_target: self.pack_target,
            verify: self.verify,
            ..BackupOptions::default()
        }
    }
}

/// What there is to work with in a session.
struct Workshop<'a> {
    repo: &'a Repository,
    who: &'a Identity,
    reader: &'a Reader<'a>,
    writer: &'a Writer<'a>,
    cx: &'a Context<'a>,
    way: &'a Way,
}

/// What became of it.
struct Done<T> {
    told: T,
    /// In the order they were given; none in a dry run.
    ids: Vec<RecordId>,
}

/// Make snapshots of others. `bases` are those that stand; `make` gets the ones that still do once the
/// session is there, and gives what is to be committed, each with the snapshot it is made of. If garbage
/// collection gives the session up, all of it is done again.
fn session<T: Send>(
    repo: &mut Repository,
    bases: &[&Snapshot],
    way: &Way,
    cx: &Context<'_>,
    make: impl Fn(&Workshop<'_>, &[&Snapshot]) -> Result<(News, T)> + Sync,
) -> Result<Done<T>> {
    bases.iter().try_for_each(|s| s.check_remake())?;
    let name = way.client.as_deref();
    let who = if way.dry_run { repo.identity_unseen(name)? } else { repo.identity(name)? };
    let mut left = HashMap::new();
    unless_fenced(!way.dry_run, cx, || attempt(repo, &who, bases, (way, cx), &make, &mut left))
}

/// New snapshots, each with the id of the one it is made of.
type News = Vec<(RecordId, NewSnapshot)>;

/// One session. `left` is what earlier ones committed in vain, by what it was made of.
fn attempt<T: Send>(
    repo: &Repository,
    who: &Identity,
    bases: &[&Snapshot],
    (way, cx): (&Way, &Context<'_>),
    make: &(impl Fn(&Workshop<'_>, &[&Snapshot]) -> Result<(News, T)> + Sync),
    left: &mut HashMap<RecordId, RecordId>,
) -> Result<Done<T>> {
    let session = match way.dry_run {
        true => repo.begin_unseen(who)?,
        false => repo.begin(who, Purpose::Backup, bases.iter().map(|s| s.id).collect())?,
    };
    let mut ids = Vec::new();
    let done = run(repo, (who, &session), bases, (way, cx), make, (&mut ids, left));
    if !way.dry_run {
        // What is committed has all it needs, whatever happened to those after it.
        let kind = if ids.is_empty() && done.is_err() { CloseKind::Abort } else { CloseKind::End };
        let closed = repo.close(&session, kind, ids.clone());
        return done.and_then(|told| closed.map(|()| Done { told, ids }));
    }
    done.map(|told| Done { told, ids })
}

fn run<T: Send>(
    repo: &Repository,
    (who, session): (&Identity, &Session),
    bases: &[&Snapshot],
    (way, cx): (&Way, &Context<'_>),
    make: &(impl Fn(&Workshop<'_>, &[&Snapshot]) -> Result<(News, T)> + Sync),
    (ids, left): (&mut Vec<RecordId>, &mut HashMap<RecordId, RecordId>),
) -> Result<T> {
    let options = way.of_backup();
    let bases = still_standing(repo, session, bases, cx)?;
    let (index, _) = load_index(repo, who, session, &options, cx)?;
    let reader = Reader::new(repo, &index);
    let writer = Writer::new(repo, who, session, &index, cx, writer_options(&options, &index));
    let workshop = Workshop { repo, who, reader: &reader, writer: &writer, cx, way };
    let (news, told) = deep::pool(1)?.install(|| make(&workshop, &bases))?;
    writer.finish()?;
    for (of, mut new) in news.into_iter().filter(|_| !way.dry_run) {
        cx.check()?;
        new.statement.replaces = left.get(&of).copied().or(new.statement.replaces);
        let id = repo.commit(who, session, new).doing(|| "while committing the snapshot".to_owned())?;
        left.insert(of, id);
        ids.push(id);
    }
    Ok(told)
}

/// R2: what was forgotten before the session was there may be going already, and is not relied on.
fn still_standing<'s>(
    repo: &Repository,
    session: &Session,
    bases: &[&'s Snapshot],
    cx: &Context<'_>,
) -> Result<Vec<&'s Snapshot>> {
    let (grounds, mut out) = (repo.grounds(session)?, Vec::new());
    for s in bases {
        let (slug, why) = match grounds.footing(s)? {
            Footing::Firm => {
                out.push(*s);
                continue;
            }
            Footing::Forgotten => ("forgotten", "it was forgotten just now"),
            Footing::Unsettled => ("late", "whoever made it is not done yet, or was given up by garbage collection"),
        };
        cx.problem(slug, s.id.short().as_bytes(), "read", why);
    }
    Ok(out)
}

impl Workshop<'_> {
    /// A statement with this tree that stands for what `from` stands for; `sources` are all that the
    /// tree comes from.
    fn statement(&self, from: &Statement, root: Option<PageRef>, sources: &[&Snapshot]) -> Statement {
        sources.iter().for_each(|s| tell_unknown(s, self.cx));
        // Whoever signs: it deserves no more trust than what it comes from.
        let foreign = if sources.iter().all(|s| s.trusted()) { 0 } else { Statement::FOREIGN };
        let flags = sources.iter().fold(foreign, |flags, s| flags | s.statement.flags);
        let known = Statement::INCOMPLETE | Statement::HAS_PROBLEMS | Statement::RECOVERED | Statement::FOREIGN;
        Statement {
            domain: self.repo.domain(),
            client: self.who.client,
            seq: 0,
            prev: RecordId::ZERO,
            client_epoch: self.who.epoch,
            root,
            config: self.repo.config_id(),
            flags: flags & known,
            replaces: None,
            origin: None,
            heads: vec![],
            body: vec![],
            ext: common(sources.iter().map(|s| &s.statement.ext)),
            ..from.clone()
        }
    }
}

/// Extensions that all have, and that say the same in all: what is true of each is true of what is made of
/// them.
fn common<'s>(mut lists: impl Iterator<Item = &'s Vec<Ext>>) -> Vec<Ext> {
    let first = lists.next().cloned().unwrap_or_default();
    lists.fold(first, |common, list| common.into_iter().filter(|e| list.contains(e)).collect())
}

/// Say what is carried over by somebody who does not know what it means.
pub(super) fn tell_unknown(s: &Snapshot, cx: &Context<'_>) {
    let unknown = s.unknown_extensions();
    if unknown.is_empty() {
        return;
    }
    let tags: Vec<String> = unknown.iter().map(u16::to_string).collect();
    let what = format!("snapshot {} has extensions of a newer orlop ({}), which are", s.id.short(), tags.join(", "));
    cx.notice("unknown-extension", format!("{what} kept as they are, whatever they say"));
}

/// Refuses to write a node anew that only a newer orlop may.
fn check_change(node: &Node, path: &[u8]) -> Result<()> {
    page::check_change(node).doing(|| format!("in {}", String::from_utf8_lossy(path)))
}

/// Without those that were named twice.
fn distinct<'s>(all: &[&'s Snapshot]) -> Vec<&'s Snapshot> {
    let mut seen = HashSet::new();
    all.iter().copied().filter(|s| seen.insert(s.id)).collect()
}

/// Whether an error is damage of one tree, and no reason to leave the others alone.
fn is_damage(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Damaged | ErrorKind::Missing)
}
