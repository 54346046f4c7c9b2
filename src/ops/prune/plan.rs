//! A plan: which packs go, which are packed again, and the record that says so.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::mark::Marks;
use super::repack::{Repacking, moves_whole};
use super::survey::{Looking, Survey, name_of};
use super::{PruneOptions, PruneSummary};
use crate::collect::{Candidate, Fate, Limits, Live, choose, fate};
use crate::error::Result;
use crate::event::Phase;
use crate::format::gc::{GcKind, Outcome, PackName, Verdict};
use crate::format::limits::GC_PACKS_MAX;
use crate::format::pack::Kind;
use crate::id::{ClientId, SegmentId};
use crate::model::Head;
use crate::repo::{History, Identity, Reader, Saying, Snapshot, Writer, WriterOptions};

/// Packs shorter than this are worth merging,
const SMALL: u64 = 1 << 20;
/// once there are so many of a kind.
const SMALL_MANY: usize = 32;
/// So many index segments are merged even where nothing else changes.
const SEGMENTS_MANY: usize = 64;
/// Segments that one plan replaces.
const SEGMENTS_MAX: usize = 4096;
/// Seconds for a stored byte that is moved as it is,
const MOVE: f64 = 4e-9;
/// and for one that is compressed anew.
const REFRAME: f64 = 1.2e-8;

/// What a plan would do.
#[derive(Debug, Default)]
pub struct Decision {
    /// Packs without anything that is needed.
    pub dead: Vec<PackName>,
    /// Packs of the index that are packed again.
    pub repack: Vec<u32>,
    /// Nothing that nobody needs moves with them.
    pub tight: bool,
    /// There was more to do than fits one plan.
    pub more: bool,
}

/// What each pack holds.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    live: u64,
    dead: u64,
    live_blobs: u64,
    dead_blobs: u64,
    /// What is dead in frames that move as they are.
    stuck: u64,
    stuck_blobs: u64,
    seconds: f64,
    /// How much longer it takes if such frames are packed anew, too.
    tighter: f64,
}

impl Share {
    /// Bytes and blobs that go when the pack is packed again.
    fn freed(&self, tight: bool) -> (u64, u64) {
        let (bytes, blobs) = if tight { (0, 0) } else { (self.stuck, self.stuck_blobs) };
        (self.dead - bytes, self.dead_blobs - blobs)
    }

    fn candidate(&self, pack: u32, small: bool, tight: bool) -> Candidate<u32> {
        let dead = self.freed(tight).0;
        let seconds = self.seconds + if tight { self.tighter } else { 0.0 };
        Candidate { pack, dead, live: self.live + self.dead - dead, seconds, small }
    }
}

fn share(survey: &Survey, marks: &Marks, n: u32) -> Share {
    let index = &survey.index;
    let pack = index.pack(n);
    let mut out = Share::default();
    for frame in pack.first_frame..pack.first_frame + pack.frames {
        let entry = index.frame(frame).entry;
        let blobs = u64::from(marks.blobs(index, frame));
        let whole = u64::from(entry.plain).saturating_sub(4 * u64::from(entry.blobs)).max(1);
        let live = u64::from(marks.live(frame)).min(whole);
        let stored = u64::from(entry.stored);
        out.live_blobs += blobs;
        out.dead_blobs += u64::from(entry.blobs) - blobs;
        // A blob without bytes lives, too.
        let part = if blobs == u64::from(entry.blobs) { stored } else { stored * live / whole };
        out.live += part;
        out.dead += stored - part;
        if blobs > 0 {
            let moves = moves_whole(index, marks, frame, false);
            out.seconds += stored as f64 * if moves { MOVE } else { REFRAME };
            if moves && blobs < u64::from(entry.blobs) {
                out.stuck += stored - part;
                out.stuck_blobs += u64::from(entry.blobs) - blobs;
                out.tighter += stored as f64 * (REFRAME - MOVE);
            }
        }
    }
    if out.live_blobs == 0 {
        (out.dead, out.stuck, out.stuck_blobs) = (pack.len, 0, 0);
    }
    out
}

/// Decide, from the index alone.
pub fn decide(survey: &Survey, marks: &Marks, options: &PruneOptions, summary: &mut PruneSummary) -> Decision {
    let live = survey.live(marks);
    let mut out = Decision::default();
    let (mut candidates, mut shares) = (Vec::new(), BTreeMap::new());
    let (mut used, mut unused) = (0, 0);
    let small = small_packs(survey);
    let mut seen = HashSet::new();
    for (n, pack) in (0..).zip(survey.index.packs()) {
        let name = name_of(pack);
        if !seen.insert(name) || !survey.packs.contains_key(&name) {
            continue;
        }
        let facts = survey.facts(&name, None, None);
        let s = share(survey, marks, n);
        let merge = small.contains(&n) && !facts.bad;
        match fate(facts, live.get(&name).copied().unwrap_or(Live::None)) {
            Fate::Condemn => {
                out.dead.push(name);
                (summary.delete_blobs, summary.delete_bytes) =
                    (summary.delete_blobs + s.dead_blobs, summary.delete_bytes + pack.len);
                continue;
            }
            Fate::Stay if facts.condemned || facts.doomed => continue,
            Fate::Stay if !merge || facts.foreign => {}
            // Two tales of one pack: which frames it has is not known.
            _ if survey.index.is_disputed(&pack.id) => {}
            _ => candidates.push((n, merge)),
        }
        (used, unused) = (used + s.live, unused + s.dead);
        shares.insert(n, s);
    }
    orphans(survey, &mut out, summary);
    out.more |= out.dead.len() > GC_PACKS_MAX;
    out.dead.sort_unstable();
    out.dead.truncate(GC_PACKS_MAX);
    let limits = Limits {
        unused: options.max_unused.bytes(used),
        repack: options.max_repack.unwrap_or(u64::MAX),
        seconds: options.time_budget.map_or(f64::MAX, |t| t.as_secs_f64()),
        packs: GC_PACKS_MAX - out.dead.len(),
    };
    // What would move along with what is needed must not be more than may stay.
    out.tight = candidates.iter().map(|(n, _)| shares[n].stuck).sum::<u64>() > limits.unused;
    let candidates = candidates.into_iter().map(|(n, small)| shares[&n].candidate(n, small, out.tight));
    out.repack = choose(candidates.collect(), unused, limits);
    count_repacked(survey, &shares, &out, summary);
    unused -= summary.removed_bytes;
    summary.remaining_blobs = shares.values().map(|s| s.live_blobs + s.dead_blobs).sum::<u64>() - summary.removed_blobs;
    (summary.remaining_bytes, summary.unused_bytes) = (used + unused, unused);
    out
}

fn count_repacked(survey: &Survey, shares: &BTreeMap<u32, Share>, decided: &Decision, summary: &mut PruneSummary) {
    for n in &decided.repack {
        let s = shares[n];
        let (bytes, blobs) = s.freed(decided.tight);
        summary.repack_blobs += s.live_blobs + s.dead_blobs;
        summary.repack_bytes += survey.index.pack(*n).len;
        summary.removed_blobs += blobs;
        summary.removed_bytes += bytes;
    }
}

/// Packs that are too small, where there are many of their kind.
fn small_packs(survey: &Survey) -> HashSet<u32> {
    let of = |kind: Kind| -> Vec<u32> {
        let packs = (0..).zip(survey.index.packs());
        packs.filter(|(_, p)| p.kind == kind && p.len < SMALL).map(|(n, _)| n).collect()
    };
    [Kind::Data, Kind::Tree].map(of).into_iter().filter(|s| s.len() >= SMALL_MANY).flatten().collect()
}

/// Packs that no segment knows, of sessions that are closed. While a segment cannot be read, it may
/// be the one that knows them.
fn orphans(survey: &Survey, out: &mut Decision, summary: &mut PruneSummary) {
    if survey.damaged_segments > 0 {
        return;
    }
    let known: HashSet<PackName> = survey.index.packs().iter().map(name_of).collect();
    for (name, len) in survey.packs.iter().filter(|(name, _)| !known.contains(name)) {
        if fate(survey.facts(name, None, None), Live::None) == Fate::Condemn {
            out.dead.push(*name);
            summary.unindexed_packs += 1;
            summary.delete_bytes += len;
        }
    }
}

/// Carry a decision out up to the record; `None`: somebody else was quicker and all has to be looked
/// at again. Gives the plan's number; 0 if there is nothing to do.
pub fn write(
    look: &Looking<'_>,
    who: &Identity,
    survey: &mut Survey,
    marks: &Marks,
    decision: &Decision,
    options: &PruneOptions,
) -> Result<Option<u64>> {
    let (repacked, mut new_index) = repack(look, who, survey, marks, decision, options)?;
    let condemned: BTreeSet<PackName> = decision.dead.iter().copied().chain(repacked).collect();
    let superseded = superseded(survey, &condemned);
    let nothing = condemned.is_empty() && superseded.is_empty();
    let planned: HashSet<_> = survey.history.replaced.values().flat_map(|r| &r.expired).collect();
    let expired = survey.expired.iter().any(|t| !planned.contains(t));
    if nothing && !expired && survey.cleared.is_empty() {
        return Ok(Some(0));
    }
    let keep = |p: &PackName| {
        survey.packs.contains_key(p) && !condemned.contains(p) && !survey.history.log.doomed().contains(p)
    };
    new_index.extend(look.repo.merge_segments(who, look.session, &superseded, &keep)?);
    let mut said = Saying::new(GcKind::Plan, look.clock(&survey.history)?);
    said.clear.condemned = condemned.into_iter().collect();
    said.clear.superseded_index = sorted(superseded);
    said.clear.new_index = sorted(new_index);
    said.clear.live_sessions = sorted(survey.foreign().collect());
    said.gc.expired = survey.expired.iter().copied().collect();
    said.gc.heads = heads(&survey.history, &survey.snapshots);
    said.gc.verdicts = verdicts(survey);
    if look.repo.add_to_history(who, look.session, &mut survey.history, said)? {
        look.session.go_by(survey.history.clone());
        Ok(Some(survey.history.log.generation()))
    } else {
        Ok(None)
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    list
}

/// The newest statement of every client.
pub fn heads(history: &History, snapshots: &[Snapshot]) -> Vec<Head> {
    let mut heads: BTreeMap<ClientId, Head> = history.heads.clone();
    for s in snapshots {
        let (client, seq) = (s.statement.client, s.statement.seq);
        let head = heads.entry(client).or_insert(Head { client, seq, id: s.id });
        if head.seq <= seq {
            *head = Head { client, seq, id: s.id };
        }
    }
    heads.into_values().collect()
}

fn verdicts(survey: &Survey) -> Vec<Verdict> {
    let packs: BTreeSet<_> = survey.cleared.iter().map(|(_, pack)| *pack).collect();
    packs.into_iter().map(|pack| Verdict { pack, outcome: Outcome::Cleared }).collect()
}

/// Segments that name what goes, or what is gone; and all of the small ones if they are many.
fn superseded(survey: &Survey, condemned: &BTreeSet<PackName>) -> Vec<SegmentId> {
    let going: HashSet<&SegmentId> = survey.history.replaced.values().flat_map(|r| &r.segments).collect();
    let free: Vec<_> = survey.segments.iter().filter(|(id, _)| !going.contains(id)).collect();
    let stale = |p: &PackName| condemned.contains(p) || !survey.packs.contains_key(p);
    let small = |id: &SegmentId| survey.small_segments.contains(id);
    let many = free.iter().filter(|(id, _)| small(id)).count() >= SEGMENTS_MANY;
    let wanted = free.into_iter().filter(|(id, packs)| (many && small(id)) || packs.iter().any(stale));
    wanted.map(|(id, _)| *id).take(SEGMENTS_MAX).collect()
}

fn repack(
    look: &Looking<'_>,
    who: &Identity,
    survey: &Survey,
    marks: &Marks,
    decision: &Decision,
    options: &PruneOptions,
) -> Result<(Vec<PackName>, Vec<SegmentId>)> {
    if decision.repack.is_empty() {
        return Ok((vec![], vec![]));
    }
    look.cx.enter(Phase::Repacking, Some(decision.repack.len() as u64), None);
    let writing = WriterOptions {
        compression: options.compression,
        pack_target: options.pack_target.unwrap_or_else(|| crate::ops::backup::pack_target(&survey.index)),
        segment_packs: WriterOptions::SEGMENT_PACKS,
        verify: true,
        dry_run: false,
    };
    let writer = Writer::new(look.repo, who, look.session, &survey.index, look.cx, writing);
    let reader = Reader::new(look.repo, &survey.index);
    let (repo, cx) = (look.repo, look.cx);
    let work = Repacking { repo, marks, tight: decision.tight, reader: &reader, writer: &writer, cx };
    let packs = work.run(&decision.repack, look.session.seen_gen())?;
    Ok((packs, writer.segments()))
}
