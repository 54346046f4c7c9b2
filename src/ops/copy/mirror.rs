//! Copies within a domain: packs as they are where they are needed as a whole, their frames where
//! not, every statement of every chain.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rayon::prelude::*;

use super::{Became, CopySummary, Work, same};
use crate::collect::Standing;
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::event::{Meter, Phase};
use crate::format::keys::Role;
use crate::format::names;
use crate::format::pack::{FOOTER_LEN, Footer, HEADER_LEN, Header};
use crate::format::records::{CloseKind, Purpose};
use crate::format::segment::PackEntry;
use crate::id::{BlobId, ClientId, PackId, RecordId};
use crate::index::{Index, Location};
use crate::ops::backup::{load_index, writer_options};
use crate::ops::prune::mark::{Marker, Marks};
use crate::ops::prune::repack::Repacking;
use crate::repo::{Hollows, Identity, Reader, Received, Repository, Session, Snapshot, Validity, Writer, parted};
use crate::storage::{Name, Put};

/// Bytes of a pack that are fetched at once.
const PIECE: usize = 4 << 20;
/// Threads that walk trees.
const WALKERS: usize = 4;

/// A statement and its place.
type At = (ClientId, u64, RecordId);

/// What was said in the target.
#[derive(Default)]
struct Made {
    committed: Vec<RecordId>,
    /// Places whose content came, as their newest marks say, and the numbers of those.
    filled: Vec<(At, Option<u32>)>,
}

impl Made {
    /// Say that something is or is not here. What is said to have come is noted before that: the answer may
    /// be lost, and the mark be there.
    fn mark(&mut self, to: &Repository, who: &Identity, hollows: &mut Hollows, place: At, hollow: bool) -> Result<()> {
        if !hollow {
            self.filled.push((place, Some(hollows.next(place.0, place.1))));
        }
        if to.mark_hollow(who, hollows, place, hollow)? == Put::Exists && !hollow {
            self.filled.pop();
        }
        Ok(())
    }
}

/// How taking content over went.
#[derive(Default)]
struct Gone {
    /// Snapshots of which something could not be had.
    failed: HashSet<RecordId>,
    /// Those of which nothing more was needed than was there, or needed by those before.
    whole: HashSet<RecordId>,
}

/// What is to be done, by what is there.
#[derive(Default)]
struct Plan<'a> {
    /// In the order of the chains, so that none ever has a gap.
    wanted: Vec<&'a Snapshot>,
    /// Statements that go over without content, likewise.
    hollow: Vec<&'a Snapshot>,
    /// Of those that were chosen and need no content.
    settled: HashMap<RecordId, Became>,
    /// Statements that came without content, and whether it is still to come by what the marks say.
    present: HashMap<RecordId, bool>,
    hollows: Hollows,
}

pub fn copy(work: &Work<'_>, to: &mut Repository) -> Result<CopySummary> {
    if to.role() != Role::Owner {
        let what = "a mirror takes over what others signed, and only the owner's key may count that in";
        return Err(Error::new(ErrorKind::Forbidden, what).hint("open the target with the owner's password or key"));
    }
    let dry_run = work.options.way.dry_run;
    let name = work.options.way.client.as_deref();
    let who = if dry_run { to.identity_unseen(name)? } else { to.identity(name)? };
    if !dry_run {
        work.from.repo.clients().iter().try_for_each(|client| to.enroll_like(client))?;
    }
    let to = &*to;
    let mut plan = plan(work, to)?;
    let unseen = dry_run || plan.is_empty();
    let session = if unseen { to.begin_unseen(&who)? } else { to.begin(&who, Purpose::Copy, vec![])? };
    let mut made = Made::default();
    let done = run(work, to, (&who, &session), &mut plan, &mut made);
    if unseen {
        return done;
    }
    // What is committed has all it needs, whatever happened to those after it.
    let nothing = made.committed.is_empty() && made.filled.is_empty();
    let kind = if nothing && done.is_err() { CloseKind::Abort } else { CloseKind::End };
    match to.close(&session, kind, made.committed) {
        Err(e) if e.kind() == ErrorKind::Fenced => {
            // What it brought may be gone already, so nobody may be told that it is here.
            let mut hollows = to.hollows(&|_, _| {})?;
            for (place, mark) in made.filled {
                // What others said since, or before this one could, is theirs.
                if hollows.number(place.0, place.1) == mark {
                    to.mark_hollow(&who, &mut hollows, place, true)?;
                }
            }
            Err(e)
        }
        closed => done.and_then(|done| closed.map(|()| done)),
    }
}

fn name(object: &str) -> Result<Name> {
    Name::new(object).map_err(|e| Error::new(ErrorKind::Bug, e.to_string()))
}

impl Plan<'_> {
    /// What a mark says has come, and did, is there; where something lacked, it is filled by this run.
    fn settle_whole(&mut self, whole: &HashSet<RecordId>) {
        let filled = |s: &&Snapshot| self.present.get(&s.id) == Some(&false) && whole.contains(&s.id);
        let there: Vec<RecordId> = self.wanted.iter().copied().filter(filled).map(|s| s.id).collect();
        self.settled.extend(there.into_iter().map(|id| (id, Became::There(id))));
    }

    fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.hollow.is_empty()
    }
}

/// Compare chains, place by place.
fn plan<'a>(work: &'a Work<'_>, to: &Repository) -> Result<Plan<'a>> {
    let wrong = std::sync::Mutex::new(None);
    let note = |name: &str, e: Error| {
        crate::ops::locked(&wrong).get_or_insert(e.doing(format!("while looking at {name} in the target")));
    };
    let (theirs, hollows) = (to.snapshots(&note)?, to.hollows(&note)?);
    let (tombstones, history) = (to.tombstones(&note)?, to.history()?);
    if let Some(e) = wrong.into_inner().unwrap_or_else(|p| p.into_inner()) {
        return Err(e.hint("`orlop check` of the target tells what is damaged there"));
    }
    let there: BTreeMap<_, &Snapshot> = theirs.iter().map(|s| ((s.statement.client, s.statement.seq), s)).collect();
    let chosen: HashSet<RecordId> = work.from.chosen.iter().map(|s| s.id).collect();
    let mut all: Vec<&Snapshot> = work.from.all.iter().collect();
    all.sort_by_key(|s| (s.statement.client, s.statement.seq));
    let mut out = Plan { hollows, ..Plan::default() };
    let mut broken = HashSet::new();
    for s in all {
        let place = (s.statement.client, s.statement.seq);
        let wanted = chosen.contains(&s.id);
        let given_up = !tombstones.at(place.0, place.1).is_empty() || history.gave_up(place.0, place.1);
        let other = there.get(&place).filter(|t| t.id != s.id);
        if other.is_some() || broken.contains(&place.0) {
            broken.insert(place.0);
            if wanted {
                let why = other.map_or_else(|| parted_before(s), |t| parted(s, t));
                out.settled.insert(s.id, work.failed(s, why)?);
            }
            continue;
        }
        match there.get(&place) {
            _ if given_up => drop(wanted.then(|| out.settled.insert(s.id, Became::Forgotten))),
            Some(t) if wanted && t.validity == Validity::Late => {
                out.settled.insert(s.id, work.failed(s, came_late(s))?);
            }
            // Who said that content has come may have been given up before it could take that back.
            Some(t) if wanted && !t.hollow && !(work.options.compare && t.commit.came_hollow()) => {
                out.settled.insert(s.id, Became::There(s.id));
            }
            t if wanted => {
                out.present.extend(t.map(|t| (t.id, t.hollow)));
                out.wanted.push(s);
            }
            None => out.hollow.push(s),
            Some(_) => {}
        }
    }
    Ok(out)
}

/// Nothing else can stand at its place, and what is there never counts.
fn came_late(s: &Snapshot) -> Error {
    let what = format!("the copy that took snapshot {} there was given up by garbage collection", s.id.short());
    Error::new(ErrorKind::Missing, format!("{what}, so it does not count in the target"))
        .hint("a new mirror takes it, and so does a repository with keys of its own")
}

fn parted_before(s: &Snapshot) -> Error {
    let what = "the chain it is in goes another way in the target";
    Error::new(ErrorKind::Substituted, format!("{what}: snapshot {} does not follow there", s.id.short()))
}

fn run(
    work: &Work<'_>,
    to: &Repository,
    (who, session): (&Identity, &Session),
    plan: &mut Plan<'_>,
    made: &mut Made,
) -> Result<CopySummary> {
    let mut summary = CopySummary { mirror: true, ..CopySummary::default() };
    let mut failed = HashSet::new();
    if !plan.wanted.is_empty() {
        let options = work.options.way.of_backup();
        let (theirs, _) = load_index(to, who, session, &options, work.cx)?;
        let writer = Writer::new(to, who, session, &theirs, work.cx, writer_options(&options, &theirs));
        let done = content(work, &plan.wanted, (to, &writer), &mut summary);
        // Also where it stopped: what became durable is found by the next run.
        writer.finish()?;
        let found = done?;
        failed = found.failed;
        plan.settle_whole(&found.whole);
        summary.bytes += writer.stored_bytes.load(std::sync::atomic::Ordering::Relaxed);
    }
    summary.hollow = plan.hollow.len() as u64;
    if !work.options.way.dry_run {
        work.cx.enter(Phase::Committing, None, None);
        if !plan.is_empty() {
            statements(work, to, (who, session), plan, &failed, made)?;
        }
        to.take_notes(work.from.repo, &|name, e| {
            work.cx.problem("damaged", name.as_bytes(), "read", e.to_string());
        })?;
    }
    let became = |id: RecordId| match plan.settled.get(&id) {
        Some(became) => *became,
        None if failed.contains(&id) => Became::Failed,
        None => Became::Copied((!work.options.way.dry_run).then_some(id)),
    };
    summary.snapshots = work.from.chosen.iter().map(|s| (s.id, became(s.id))).collect();
    Ok(summary)
}

/// Take over what is needed and not there.
fn content(
    work: &Work<'_>,
    wanted: &[&Snapshot],
    (to, writer): (&Repository, &Writer<'_>),
    summary: &mut CopySummary,
) -> Result<Gone> {
    let cx = work.cx;
    let trouble = |name: &str, e: Error| cx.problem("damaged", name.as_bytes(), "read", e.to_string());
    let index = work.from.repo.load_index(&trouble)?;
    let reader = Reader::new(work.from.repo, &index);
    let (needed, mut outcome) = needed(work, wanted, &reader, writer)?;
    let (whole, parts) = choose(&index, &needed, &to.suspects()?);
    summary.packs = whole.len() as u64;
    summary.partial_packs = parts.len() as u64;
    let bytes: u64 = whole.iter().map(|n| index.pack(*n).len).sum();
    let part = |n: &u32| -> u64 {
        let p = index.pack(*n);
        let frames = (p.first_frame..p.first_frame + p.frames).filter(|f| needed.live(*f) > 0);
        frames.map(|f| u64::from(index.frame(f).entry.stored)).sum()
    };
    let bytes = bytes + parts.iter().map(part).sum::<u64>();
    if work.options.way.dry_run {
        summary.bytes = bytes;
        return Ok(outcome);
    }
    cx.enter(Phase::Copying, Some((whole.len() + parts.len()) as u64), Some(bytes));
    let take = Take { work, reader: &reader, writer, needed: &needed };
    let all: Vec<(u32, bool)> = whole.iter().map(|n| (*n, true)).chain(parts.iter().map(|n| (*n, false))).collect();
    let bad: Vec<u32> = all
        .par_iter()
        .map(|(n, whole)| take.pack(*n, *whole))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    if !bad.is_empty() {
        outcome.failed.extend(lacking(work, wanted, &reader, writer)?);
    }
    Ok(outcome)
}

/// Every blob that a chosen snapshot needs and that is not there yet.
fn needed(work: &Work<'_>, wanted: &[&Snapshot], reader: &Reader<'_>, writer: &Writer<'_>) -> Result<(Marks, Gone)> {
    let index = reader.index();
    let (seen, needed, lacks) = (Marks::new(index), Marks::new(index), AtomicBool::new(false));
    let found = |id: &BlobId, at: Location, len: u32, owner: u32| -> Result<()> {
        if !writer.holds(id)? && needed.mark(at) {
            lacks.store(true, Relaxed);
            needed.add(at, len, owner);
        }
        Ok(())
    };
    let standing = vec![Standing::Good; index.packs().len()];
    let mut out = Gone::default();
    work.cx.enter(Phase::Marking, Some(wanted.len() as u64), None);
    for s in wanted {
        work.presence.tick()?;
        writer.tick()?;
        let marker =
            Marker { cx: work.cx, reader, standing: &standing, marks: &seen, tolerant: false, found: Some(&found) };
        lacks.store(false, Relaxed);
        match s.statement.root.map_or(Ok(()), |root| marker.root(root, WALKERS)) {
            Err(e) => {
                work.failed(s, e)?;
                out.failed.insert(s.id);
            }
            Ok(()) if !lacks.load(Relaxed) => drop(out.whole.insert(s.id)),
            Ok(()) => {}
        }
        Meter::add(&work.cx.meter.files_done, 1);
    }
    Ok((needed, out))
}

/// Packs that go over as they are, and those of which only a part is needed, or which were found
/// damaged in the target: what has the name of such a one counts as damaged, too.
fn choose(index: &Index, needed: &Marks, damaged: &[PackId]) -> (Vec<u32>, Vec<u32>) {
    let (mut whole, mut parts) = (vec![], vec![]);
    for (n, pack) in (0..).zip(index.packs()) {
        let frames = pack.first_frame..pack.first_frame + pack.frames;
        let live: u64 = frames.clone().map(|f| u64::from(needed.live(f))).sum();
        let plain = |f: u32| {
            let entry = index.frame(f).entry;
            u64::from(entry.plain).saturating_sub(4 * u64::from(entry.blobs))
        };
        let all: u64 = frames.map(plain).sum();
        match live {
            0 => {}
            live if live * 4 >= all * 3 && !damaged.contains(&pack.id) => whole.push(n),
            _ => parts.push(n),
        }
    }
    (whole, parts)
}

/// Snapshots of which something is not there after all.
fn lacking(
    work: &Work<'_>,
    wanted: &[&Snapshot],
    reader: &Reader<'_>,
    writer: &Writer<'_>,
) -> Result<HashSet<RecordId>> {
    let standing = vec![Standing::Good; reader.index().packs().len()];
    let mut out = HashSet::new();
    for s in wanted {
        // Marked anew for each, for what one lacks others may lack, too.
        let seen = Marks::new(reader.index());
        let found = |id: &BlobId, _: Location, _: u32, _: u32| match writer.holds(id)? {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Missing, format!("blob {} could not be copied", id.short()))),
        };
        let marker =
            Marker { cx: work.cx, reader, standing: &standing, marks: &seen, tolerant: false, found: Some(&found) };
        if let Err(e) = s.statement.root.map_or(Ok(()), |root| marker.root(root, WALKERS)) {
            work.failed(s, e)?;
            out.insert(s.id);
        }
    }
    Ok(out)
}

/// Takes packs over.
struct Take<'a> {
    work: &'a Work<'a>,
    reader: &'a Reader<'a>,
    writer: &'a Writer<'a>,
    needed: &'a Marks,
}

impl Take<'_> {
    /// Gives its number back if something of it could not be had.
    fn pack(&self, n: u32, whole: bool) -> Result<Option<u32>> {
        self.work.cx.check()?;
        self.work.presence.tick()?;
        let pack = self.reader.index().pack(n);
        let done = if whole { self.whole(n) } else { Ok(false) };
        let done = match done {
            Ok(true) => Ok(()),
            // Frames that are whole can be had of a pack that is not.
            Ok(false) => self.part(n),
            Err(e) if e.kind() == ErrorKind::Damaged => self.part(n),
            Err(e) => Err(e),
        };
        Meter::add(&self.work.cx.meter.files_done, 1);
        match done {
            Ok(()) => Ok(None),
            Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::Missing) => {
                self.work.cx.problem("damaged", pack.id.hex().as_bytes(), "copy", e.to_string());
                Ok(Some(n))
            }
            Err(e) => Err(e),
        }
    }

    fn part(&self, n: u32) -> Result<()> {
        let (repo, cx) = (self.work.from.repo, self.work.cx);
        let (marks, reader, writer) = (self.needed, self.reader, self.writer);
        Repacking { repo, marks, tight: false, reader, writer, cx }.pack(n)
    }

    /// Bit for bit; its name says whether they are the right ones.
    fn whole(&self, n: u32) -> Result<bool> {
        let (source, index) = (self.work.from.repo, self.reader.index());
        let pack = index.pack(n);
        let object = names::pack(pack.id, pack.uploader);
        let last = pack.first_frame + pack.frames - 1;
        let tail_at = u64::from(index.frame(last).offset) + u64::from(index.frame(last).entry.stored);
        let mut draft = self.writer.repo().storage().draft()?;
        let (mut hash, mut buffer) = (blake3::Hasher::new(), vec![]);
        let (mut head, mut tail, mut at) = ([0; HEADER_LEN], vec![], 0u64);
        while at < pack.len {
            self.work.cx.check()?;
            buffer.resize((pack.len - at).min(PIECE as u64) as usize, 0);
            source.storage().get_range(&name(&object)?, at, &mut buffer)?;
            if at == 0 && buffer.len() >= HEADER_LEN {
                head.copy_from_slice(&buffer[..HEADER_LEN]);
            }
            let from = tail_at.saturating_sub(at).min(buffer.len() as u64) as usize;
            tail.extend_from_slice(&buffer[from..]);
            hash.update(&buffer);
            draft.write(&buffer)?;
            at += buffer.len() as u64;
            Meter::add(&self.work.cx.meter.bytes_done, buffer.len() as u64);
        }
        if *hash.finalize().as_bytes() != pack.id.0 {
            return Ok(false);
        }
        let table = || -> Result<_> {
            let damaged = || Error::new(ErrorKind::Damaged, "its table is not where it should be");
            let header = Header::parse(&head)?;
            let end: [u8; FOOTER_LEN] = tail.last_chunk().copied().ok_or_else(damaged)?;
            let footer = Footer::parse(&end, pack.len)?;
            let from = footer.table_offset.checked_sub(tail_at).ok_or_else(damaged)? as usize;
            let sealed = tail.get(from..from.saturating_add(footer.table_len as usize)).ok_or_else(damaged)?;
            let table = source.open_table(&header, &footer, &mut sealed.to_vec())?;
            Ok((header, table))
        };
        let (header, table) = table().doing(|| format!("while reading {object}"))?;
        let (id, uploader, len) = (pack.id, pack.uploader, pack.len);
        let entry = PackEntry { id, uploader, len, kind: table.kind, header, frames: table.frames };
        self.writer.take_pack(entry, table.ids, draft)?;
        Ok(true)
    }
}

/// Statements, in the order of their chains. Before one without content its mark, and behind the
/// content of one that had none the next.
fn statements(
    work: &Work<'_>,
    to: &Repository,
    (who, session): (&Identity, &Session),
    plan: &mut Plan<'_>,
    failed: &HashSet<RecordId>,
    made: &mut Made,
) -> Result<()> {
    give_up(work, to, who)?;
    // A run that was given up must not say that anything is here.
    to.beat(session, vec![], 0)?;
    let mut all: Vec<(&Snapshot, bool)> = plan.hollow.iter().map(|s| (*s, true)).collect();
    all.extend(plan.wanted.iter().map(|s| (*s, failed.contains(&s.id))));
    all.sort_by_key(|(s, _)| (s.statement.client, s.statement.seq));
    for (s, hollow) in all {
        work.cx.check()?;
        let place = (s.statement.client, s.statement.seq, s.id);
        let before = plan.present.get(&s.id).copied();
        if before == Some(false) && hollow {
            continue; // It may be whole: it is the source that has something missing.
        }
        let is_marked = plan.hollows.has(place.0, place.1, s.id);
        let lacked = !is_marked && before.is_some() && !plan.settled.contains_key(&s.id);
        if hollow != is_marked {
            // A mark that somebody else was quicker to write is looked at below.
            made.mark(to, who, &mut plan.hollows, place, hollow)?;
        } else if !hollow && lacked {
            made.filled.push((place, plan.hollows.number(place.0, place.1)));
        }
        if before.is_some() {
            continue;
        }
        let (statement, _) = work.from.repo.statement_of(s)?;
        let received = Received { hollow, ..work.received(s)? };
        // Where another copy was quicker, its commit says whether the content came with it.
        if to.commit_mirrored(who, session, s, &statement, received)?.is_none() {
            made.committed.push(s.id);
        }
    }
    // Another copy may have said meanwhile that what this one brought is not here.
    let mut hollows = to.hollows(&|_, _| {})?;
    for s in plan.wanted.iter().filter(|s| !failed.contains(&s.id)) {
        let place = (s.statement.client, s.statement.seq, s.id);
        if hollows.has(place.0, place.1, place.2) {
            made.mark(to, who, &mut hollows, place, false)?;
        }
    }
    Ok(())
}

/// Places that were given up there, and never held anything here.
fn give_up(work: &Work<'_>, to: &Repository, who: &Identity) -> Result<()> {
    let (history, tombstones) = (to.history()?, to.tombstones(&|_, _| {})?);
    for (client, seq, target) in work.from.repo.places_given_up(work.from.all)? {
        let known = !tombstones.at(client, seq).is_empty() || history.gave_up(client, seq);
        if !known && !to.has_snapshot(client, seq)? {
            to.give_up(who, (client, seq), target)?;
        }
    }
    Ok(())
}

/// Both sides have the same tree: what was copied is there, under the very same name.
pub fn compare(s: &Snapshot, there: &Snapshot, reader: &Reader<'_>) -> Result<()> {
    if there.id != s.id || there.hollow {
        return Err(same::differs(s, "the target has another snapshot in its place, or not its content"));
    }
    there.statement.root.map_or(Ok(()), |root| reader.page(&root).map(drop))
}
