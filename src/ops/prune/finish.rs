//! A finish: what a plan condemned is needed after all, or deleted.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::plan;
use super::survey::{Looking, Survey, snapshots, survey, wait};
use super::{Pending, PruneOptions, Why, tell_fenced};
use crate::collect::{self, Live, Silence, confirms, holdouts, may_bury, silent, unaccounted};
use crate::error::{Error, ErrorKind, Result};
use crate::format::gc::{Confirmed, GcKind, PackName};
use crate::format::limits::GC_PACKS_MAX;
use crate::format::names::{self, prefix};
use crate::format::records::Purpose;
use crate::id::{ClientId, PackId, RecordId, SegmentId, SessionId};
use crate::repo::{History, Identity, OpenSession, Repository, Saying, Sessions, Snapshot};

/// Sessions that one finish buries.
const BURY_MAX: usize = 2000;
/// Snapshots that one finish deletes.
const SNAPSHOTS_MAX: usize = 2000;

/// What became of the attempt.
pub enum Tried {
    /// It is written; deleting can begin.
    Done,
    /// It has to wait for somebody.
    Waits,
    /// Somebody else was quicker.
    Lost,
}

type Seen = collect::Session<PackId, SessionId, RecordId>;
type Condemning = collect::Plan<PackName, SessionId>;

fn seen(s: &OpenSession) -> Seen {
    collect::Session {
        id: s.open.session,
        seen_gen: s.seen_gen,
        pins: s.pins.iter().copied().collect(),
        bases: s.bases.iter().copied().collect(),
        collects: s.open.purpose == Purpose::Gc,
    }
}

fn silence(look: &Looking<'_>, options: &PruneOptions) -> Silence {
    Silence { now: look.time, limit: options.silence.as_secs() as i64 }
}

/// Which sessions a finish of a plan would have to wait for, and whether it would give up all of them instead.
pub fn in_the_way(
    look: &Looking<'_>,
    sessions: &Sessions,
    (generation, plan): (u64, &Condemning),
    options: &PruneOptions,
) -> (BTreeSet<SessionId>, bool) {
    let open: Vec<Seen> = sessions.open.iter().map(seen).collect();
    let silence = silence(look, options);
    let who: BTreeSet<SessionId> = holdouts(generation, &open).map(|s| s.id).collect();
    let given_up = options.fence || who.iter().all(|s| silent(plan, s, silence));
    (who, given_up)
}

/// F2: every session that may use what the plan condemned without saying so is fenced. `false`: one has
/// to be waited for.
fn settle_sessions(look: &Looking<'_>, who: &Identity, generation: u64, options: &PruneOptions) -> Result<bool> {
    let history = look.session.history();
    let Some(plan) = history.log.plans().get(&generation) else { return Ok(true) };
    let sessions = look.repo.sessions()?;
    let listed: BTreeSet<SessionId> = sessions.objects.keys().copied().collect();
    if !unaccounted(&history.log, plan, &listed).is_empty() {
        let what = "the storage does not list sessions that were there: nothing is deleted by such a listing";
        return Err(Error::new(ErrorKind::Storage, what).hint("run `orlop prune` again later"));
    }
    let newest = history.log.generation();
    if let Some(s) = sessions.open.iter().find(|s| !s.dead && s.seen_gen > newest) {
        let what = format!("{} ({}) has read a record of the gc log that is gone", s.open.hostname, s.open.pid);
        return Err(Error::new(ErrorKind::Missing, what)
            .hint("nothing is deleted while it runs: run `orlop prune` again when it has ended")
            .hint("if it is certain that it does not run any more, add --fence"));
    }
    let open: Vec<Seen> = sessions.open.iter().filter(|s| s.open.session != look.session.id).map(seen).collect();
    let silence = silence(look, options);
    let mut fenced = false;
    for s in holdouts(generation, &open) {
        let session = sessions.open.iter().find(|o| o.open.session == s.id);
        let dead = session.is_some_and(|o| o.dead);
        if !dead && !options.fence && !silent(plan, &s.id, silence) {
            return Ok(false);
        }
        look.repo.fence(who, s.id, history.log.generation())?;
        fenced = true;
        session.into_iter().for_each(|s| tell_fenced(look.cx, s));
    }
    // Collectors are not waited for, but what one left that died on another machine has to go some day.
    for s in open.iter().filter(|s| s.collects && s.seen_gen < generation && silent(plan, &s.id, silence)) {
        fenced |= look.repo.fence(who, s.id, history.log.generation())?;
    }
    let staleness = look.repo.storage().staleness();
    if fenced {
        wait(2 * staleness);
    }
    Ok(true)
}

/// Finish a plan. `known` is what was known when it was made just before, if it was.
pub fn finish(
    look: &Looking<'_>,
    who: &Identity,
    generation: u64,
    known: Option<&Survey>,
    options: &PruneOptions,
    threads: usize,
) -> Result<Tried> {
    if !settle_sessions(look, who, generation, options)? {
        return Ok(Tried::Waits);
    }
    if let Some(known) = known
        && let Some((sessions, snapshots)) = unchanged(look, known)?
    {
        let none = BTreeSet::new();
        return write(look, who, generation, known, (&sessions, &snapshots), &none);
    }
    let mut found = survey(look)?;
    let needed = needed(look, &mut found, generation, threads)?;
    let (sessions, snapshots) = (found.sessions.clone(), found.snapshots.clone());
    write(look, who, generation, &found, (&sessions, &snapshots), &needed)
}

/// What a plan condemned and is needed after all.
pub fn needed(look: &Looking<'_>, found: &mut Survey, generation: u64, threads: usize) -> Result<BTreeSet<PackName>> {
    // What was not expired when the plan was made still counts: whoever began since may rely on it.
    found.expired = found.tombstones.all().map(|t| t.id).filter(|t| found.history.expired.contains(t)).collect();
    let Some(plan) = found.history.log.plans().get(&generation) else { return Ok(BTreeSet::new()) };
    let condemned = plan.condemned.clone();
    // What condemns nothing needs nothing to be marked.
    if condemned.is_empty() {
        return Ok(condemned);
    }
    let marks = found.mark(look, Some(generation), threads)?;
    let live = found.live(&marks);
    let needed = |p: &PackName| live.get(p).is_some_and(|l| *l != Live::None);
    Ok(condemned.into_iter().filter(needed).collect())
}

/// Where nothing but this run's own doing changed since the plan was made, what was needed then is
/// what is needed now. Gives sessions and snapshots as they are now.
fn unchanged(look: &Looking<'_>, known: &Survey) -> Result<Option<(Sessions, Vec<Snapshot>)>> {
    let sessions = look.repo.sessions()?;
    let own = |id: &SessionId| *id == look.session.id;
    if sessions.open.iter().any(|s| !own(&s.open.session)) {
        return Ok(None);
    }
    let history = look.session.history();
    let (snapshots, tombstones) = snapshots(look.repo, &history)?;
    let ids = |all: &[Snapshot]| all.iter().map(|s| (s.id, s.hollow)).collect::<BTreeSet<_>>();
    let told = |all: &crate::repo::Tombstones| all.all().map(|t| t.id).collect::<BTreeSet<_>>();
    let same = ids(&snapshots) == ids(&known.snapshots) && told(&tombstones) == told(&known.tombstones);
    // Nobody else's segment came or went; what the plan wrote is in its record.
    let listed = look.repo.storage().list(prefix::INDEX)?;
    let listed: HashSet<SegmentId> = listed.iter().filter_map(|l| names::parse_segment(l.name.as_str())).collect();
    let same = same && known.segments.keys().all(|id| listed.contains(id)) && known.damaged_segments == 0;
    let foreign = listed.iter().filter(|id| !known.segments.contains_key(id));
    let mut foreign = foreign.filter(|id| !known.history.new_index.contains(id));
    Ok((same && foreign.next().is_none()).then_some((sessions, snapshots)))
}

fn write(
    look: &Looking<'_>,
    who: &Identity,
    generation: u64,
    found: &Survey,
    (sessions, snapshots): (&Sessions, &[Snapshot]),
    needed: &BTreeSet<PackName>,
) -> Result<Tried> {
    let mut history = found.history.clone();
    let Some(plan) = history.log.plans().get(&generation) else { return Ok(Tried::Lost) };
    // What is more than a record holds stays condemned, and is decided by the next finish.
    let condemned: BTreeSet<PackName> = plan.condemned.iter().take(GC_PACKS_MAX).copied().collect();
    let decided = collect::finish(&condemned, needed, &found.pinned());
    let replaced = history.replaced.get(&generation).cloned().unwrap_or_default();
    rescue(look, who, found, &replaced.segments, &decided.doomed)?;
    let confirmed = confirmed(snapshots, &found.passed_over(), &history);
    let mut names = forgotten(found, snapshots, &replaced.expired);
    names.extend(marks(look, &names)?);
    names.extend(found.cleared.iter().map(|(object, _)| object.clone()));
    names.extend(burials(look.repo, sessions, snapshots, &confirmed));
    let mut said = Saying::new(GcKind::Finish, look.clock(&history)?);
    said.clear.finishes = generation;
    said.clear.resurrected = decided.resurrected;
    said.clear.doomed_packs = decided.doomed;
    said.clear.doomed_index = replaced.segments.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    said.clear.doomed_names = names.into_iter().collect();
    said.gc.confirmed = confirmed.into_values().collect();
    said.gc.heads = plan::heads(&found.history, &found.snapshots);
    if !look.repo.add_to_history(who, look.session, &mut history, said)? {
        return Ok(Tried::Lost);
    }
    look.session.go_by(history);
    Ok(Tried::Done)
}

/// Packs that stay and that only doomed segments know get a new one first.
fn rescue(look: &Looking<'_>, who: &Identity, found: &Survey, doomed: &[SegmentId], going: &[PackName]) -> Result<()> {
    let going: HashSet<&PackName> = going.iter().collect();
    let doomed: BTreeSet<SegmentId> = doomed.iter().copied().collect();
    let listed = look.repo.storage().list(prefix::INDEX)?;
    let listed: HashSet<SegmentId> = listed.iter().filter_map(|l| names::parse_segment(l.name.as_str())).collect();
    let mut elsewhere: HashSet<PackName> = HashSet::new();
    for id in listed.iter().filter(|id| !doomed.contains(id) && !found.history.doomed_index.contains(id)) {
        match found.segments.get(id) {
            Some(packs) => elsewhere.extend(packs),
            None => {
                let segment = look.repo.load_segment(&names::segment(*id))?;
                elsewhere.extend(segment.head.packs.iter().map(|p| PackName { id: p.id, uploader: p.uploader }));
            }
        }
    }
    let lost = |p: &PackName| found.packs.contains_key(p) && !going.contains(p) && !elsewhere.contains(p);
    let from: Vec<SegmentId> = doomed
        .into_iter()
        .filter(|id| listed.contains(id) && found.segments.get(id).is_some_and(|packs| packs.iter().any(lost)))
        .collect();
    look.repo.merge_segments(who, look.session, &from, &lost).map(drop)
}

/// V: what is known to be whole from now on, together with what was: none of what nothing is marked from.
pub fn confirmed(
    snapshots: &[Snapshot],
    passed_over: &HashSet<RecordId>,
    history: &History,
) -> BTreeMap<ClientId, Confirmed> {
    let mut whole: BTreeMap<ClientId, (u64, BTreeSet<u64>)> = BTreeMap::new();
    let last = history.log.last_finish();
    for s in snapshots {
        let (client, seq) = (s.statement.client, s.statement.seq);
        let entry = whole.entry(client).or_default();
        if confirms(s.validity, s.closed, last) && !passed_over.contains(&s.id) {
            entry.0 = entry.0.max(seq);
        } else {
            entry.1.insert(seq);
        }
    }
    let mut out = history.confirmed.clone();
    for (client, (upto, except)) in whole {
        let before = out.entry(client).or_insert(Confirmed { client, upto: 0, except: vec![] });
        // Places below that are neither here nor confirmed before stay what they were.
        let unknown = before.upto + 1..=upto;
        let here: BTreeSet<u64> =
            snapshots.iter().filter(|s| s.statement.client == client).map(|s| s.statement.seq).collect();
        let mut all: BTreeSet<u64> = before.except.iter().copied().filter(|n| !here.contains(n)).collect();
        all.extend(unknown.filter(|n| !here.contains(n)));
        let upto = upto.max(before.upto);
        all.extend(except.into_iter().filter(|n| *n <= upto));
        (before.upto, before.except) = (upto, all.into_iter().collect());
    }
    out.retain(|_, c| c.upto > 0);
    out
}

/// Objects of snapshots that the plan took for dead, and that nobody relies on.
pub fn forgotten(found: &Survey, snapshots: &[Snapshot], expired: &[RecordId]) -> BTreeSet<String> {
    let told: HashMap<RecordId, &crate::repo::Tombstone> = found.tombstones.all().map(|t| (t.id, t)).collect();
    let mut out = BTreeSet::new();
    for t in expired.iter().filter_map(|id| told.get(id)).take(SNAPSHOTS_MAX) {
        let there = snapshots.iter().find(|s| Some(s.id) == t.target);
        if there.is_some_and(|s| !found.is_base(&s.id)) {
            let name = names::snapshot(t.client, t.seq);
            out.extend([names::copy_of(&name), name]);
        }
    }
    // What the owner gave up because nobody can read it.
    for t in found.tombstones.all().filter(|t| t.target.is_none()) {
        let name = names::snapshot(t.client, t.seq);
        let stands = snapshots.iter().any(|s| (s.statement.client, s.statement.seq) == (t.client, t.seq));
        if !stands && !found.history.doomed_names.contains(&name) {
            out.extend([names::copy_of(&name), name]);
        }
    }
    out
}

/// Hollow marks of snapshots that go.
fn marks(look: &Looking<'_>, going: &BTreeSet<String>) -> Result<Vec<String>> {
    if going.is_empty() {
        return Ok(vec![]);
    }
    let listed = look.repo.storage().list(prefix::HOLLOW)?;
    let names = listed.into_iter().map(|l| l.name.as_str().to_owned());
    let goes =
        |name: &String| names::parse_hollow(name).is_some_and(|(c, seq, _)| going.contains(&names::snapshot(c, seq)));
    Ok(names.filter(goes).collect())
}

/// Objects of sessions that are closed and whose snapshots are settled.
pub fn burials(
    repo: &Repository,
    sessions: &Sessions,
    snapshots: &[Snapshot],
    confirmed: &BTreeMap<ClientId, Confirmed>,
) -> Vec<String> {
    let recorded = |s: &Snapshot| {
        let c = confirmed.get(&s.statement.client);
        c.is_some_and(|c| s.statement.seq <= c.upto && c.except.binary_search(&s.statement.seq).is_err())
    };
    let mut of: HashMap<SessionId, Vec<(bool, collect::Validity)>> = HashMap::new();
    for s in snapshots {
        of.entry(s.commit.session).or_default().push((recorded(s), s.validity));
    }
    // What is left of one whose first object is lost stays, so that the loss does.
    let lost: HashSet<SessionId> = snapshots.iter().filter(|s| s.session_lost).map(|s| s.commit.session).collect();
    let free = |id: &&SessionId| may_bury(of.get(id).into_iter().flatten().copied()) && !lost.contains(id);
    // A snapshot counts as late for lack of its session's first object, too: whether that is not there, no
    // listing has to be believed.
    let lies = |id: &&SessionId| !sessions.closed[*id].opened && of.contains_key(*id) && repo.is_opened(**id);
    let mut ids: Vec<&SessionId> = sessions.closed.keys().filter(free).filter(|id| !lies(id)).collect();
    // Those first of which nothing stands any more: what their closes name is explained by tombstones,
    // which a checkpoint takes away.
    ids.sort_by_key(|id| of.contains_key(id));
    ids.truncate(BURY_MAX);
    ids.into_iter()
        .flat_map(|id| {
            sessions.objects.get(id).into_iter().flatten().map(move |o| format!("{}{id}/{o}", prefix::SESSIONS))
        })
        .collect()
}

/// What waits, why, and until when. Of a plan that only replaces segments nothing is said.
pub fn pending(
    look: &Looking<'_>,
    history: &History,
    sessions: &Sessions,
    there: &BTreeMap<PackName, u64>,
    options: &PruneOptions,
) -> Vec<Pending> {
    let of = |(generation, plan): (&u64, &Condemning)| {
        let bytes = plan.condemned.iter().filter_map(|p| there.get(p)).sum();
        let holdout = sessions
            .open
            .iter()
            .find(|s| s.open.session != look.session.id && s.open.purpose != Purpose::Gc && s.seen_gen < *generation);
        // With --now no time is waited for, but somebody may be.
        let waits = !(options.now && holdout.is_some());
        let not_before = due(look.repo, plan.time, look.time, options).filter(|_| waits);
        Pending { generation: *generation, why: holdout.map_or(Why::Grace, Why::session), not_before, bytes }
    };
    history.log.plans().iter().map(of).filter(|p| p.bytes > 0).collect()
}

/// Whether a plan's time has come.
pub fn due(repo: &Repository, plan_time: i64, now: i64, options: &PruneOptions) -> Option<i64> {
    let staleness = 2 * repo.storage().staleness();
    let grace = options.grace.max(staleness).as_secs() as i64;
    let at = plan_time.saturating_add(grace);
    (now < at).then_some(at)
}
