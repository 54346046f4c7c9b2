//! Everything a collector has to know before it decides anything.
//!
//! The order of the listings is the protocol's: packs before sessions, so that whoever wrote a pack
//! that is listed is listed, too; sessions before snapshots (I7); snapshots before the index.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::mark::{Marker, Marks};
use super::{PruneSummary, verify};
use crate::collect::{Facts, Live, Standing, Validity, standing};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::event::{Context, Meter, Phase};
use crate::format::gc::PackName;
use crate::format::names::{self, prefix};
use crate::id::{ClientId, PackId, RecordId, SegmentId, SessionId};
use crate::index::{Index, Row};
use crate::repo::{
    Comparison, History, Lies, MERGED_ROWS, Reader, Repository, Session, Sessions, Snapshot, Tombstones,
};

/// How often snapshots are listed while others make new ones.
const LISTINGS: usize = 8;

/// A repository as a collector sees it.
pub struct Survey {
    /// What the log says.
    pub history: History,
    /// Who is there.
    pub sessions: Sessions,
    /// Every snapshot that stands.
    pub snapshots: Vec<Snapshot>,
    /// Decisions to forget.
    pub tombstones: Tombstones,
    /// What forgotten snapshots nobody can bring back any more.
    pub expired: BTreeSet<RecordId>,
    /// Where everything is.
    pub index: Index,
    /// Which packs each segment names.
    pub segments: BTreeMap<SegmentId, Vec<PackName>>,
    /// Segments that are far smaller than merged ones.
    pub small_segments: HashSet<SegmentId>,
    /// Segments that cannot be read.
    pub damaged_segments: u64,
    /// Packs that are there, with their lengths.
    pub packs: BTreeMap<PackName, u64>,
    /// Of those, the ones that were there before sessions were listed.
    pub settled: BTreeSet<PackName>,
    /// Packs that were read and found to be bad.
    pub bad: BTreeSet<PackId>,
    /// Suspicions that are settled.
    pub cleared: Vec<(String, PackId)>,
    own: [u8; 4],
}

/// How to look.
pub struct Looking<'a> {
    /// The repository.
    pub repo: &'a Repository,
    /// The collector's session.
    pub session: &'a Session,
    /// Who is told.
    pub cx: &'a Context<'a>,
    /// Undelete windows count as over: `--now`.
    pub now: bool,
    /// The storage's time, in seconds.
    pub time: i64,
}

impl Looking<'_> {
    /// The time of a record that is about to be written: sessions are silent, and plans old, from then on. By the
    /// storage's clock; one that went back since the newest record counts for nothing.
    pub fn clock(&self, history: &History) -> Result<i64> {
        Ok(self.repo.storage().clock()?.max(history.time))
    }
}

pub fn packs_there(repo: &Repository) -> Result<BTreeMap<PackName, u64>> {
    let listed = repo.storage().list(prefix::PACKS)?;
    let name = |l: &crate::storage::Listed| {
        let (id, uploader) = names::parse_pack(l.name.as_str())?;
        Some((PackName { id, uploader }, l.len))
    };
    Ok(listed.iter().filter_map(name).collect())
}

/// Look at everything.
pub fn survey(look: &Looking<'_>) -> Result<Survey> {
    let Looking { repo, session, cx, .. } = *look;
    let history = session.history();
    let before = packs_there(repo)?;
    let sessions = repo.sessions()?;
    wait(repo.storage().staleness());
    let (snapshots, tombstones) = snapshots(repo, &history)?;
    let expired = expired(look, &tombstones, &snapshots);
    let (mut segments, mut small_segments) = (BTreeMap::new(), HashSet::new());
    let (index, damaged_segments) = load_index(repo, &history, (&mut segments, &mut small_segments), cx)?;
    let packs = packs_there(repo)?;
    let settled = before.into_keys().collect();
    let own = session.suffix();
    let mut out = Survey {
        history,
        sessions,
        snapshots,
        tombstones,
        expired,
        index,
        segments,
        small_segments,
        damaged_segments,
        packs,
        settled,
        bad: BTreeSet::new(),
        cleared: vec![],
        own,
    };
    verify::suspects(repo, &mut out, cx)?;
    Ok(out)
}

/// Wait until everybody sees what was written before.
pub fn wait(staleness: Duration) {
    if !staleness.is_zero() {
        std::thread::sleep(staleness);
    }
}

/// Snapshots and tombstones. Whatever is wrong with a chain stops the run (I11, I14): what cannot be
/// seen cannot be marked.
pub fn snapshots(repo: &Repository, history: &History) -> Result<Seen> {
    for _ in 0..LISTINGS {
        let seen = look_at_snapshots(repo, history)?;
        if !is_behind(repo, history, &seen)? {
            return Ok(seen);
        }
    }
    let what = "the storage has snapshots that it does not list: nothing is deleted by such a listing";
    Err(Error::new(ErrorKind::Storage, what).hint("run `orlop prune` again later"))
}

/// Whether a chain goes on behind the last place that is known of it. A listing that leaves out the
/// newest of a chain looks like one of before it was made, which it may be.
fn is_behind(repo: &Repository, history: &History, (snapshots, tombstones): &Seen) -> Result<bool> {
    let mut last: BTreeMap<ClientId, u64> = repo.clients().iter().map(|c| (c.id, 0)).collect();
    let listed = snapshots.iter().map(|s| (s.statement.client, s.statement.seq));
    let known = listed.chain(tombstones.all().map(|t| (t.client, t.seq)));
    for (client, seq) in known.chain(history.heads.values().map(|h| (h.client, h.seq))) {
        let last = last.entry(client).or_default();
        *last = seq.max(*last);
    }
    for (client, last) in last {
        let mut next = last.saturating_add(1);
        while history.gave_up(client, next) {
            next = next.saturating_add(1);
        }
        if repo.has_snapshot(client, next)? {
            return Ok(true);
        }
    }
    Ok(false)
}

type Seen = (Vec<Snapshot>, Tombstones);

fn look_at_snapshots(repo: &Repository, history: &History) -> Result<Seen> {
    let wrong = std::sync::Mutex::new(None);
    let note = |name: &str, e: Error| {
        crate::ops::locked(&wrong).get_or_insert(e.doing(format!("while looking at {name}")));
    };
    let tombstones = repo.tombstones(&note)?;
    let snapshots = repo.snapshots_as_of((history, &tombstones), &note)?;
    if let Some(e) = wrong.into_inner().unwrap_or_else(|p| p.into_inner()) {
        let e = Error::new(ErrorKind::Damaged, "nothing is deleted while a snapshot or a decision cannot be read")
            .because(e)
            .hint("`orlop check` tells what is damaged, and what to do about it")
            .hint("if a snapshot's record is lost for good, `orlop forget --accept-lost` goes on without it");
        return Err(e);
    }
    check_heads(history, &snapshots, &tombstones)?;
    Ok((snapshots, tombstones))
}

/// A chain is not shorter than the log says it was.
fn check_heads(history: &History, snapshots: &[Snapshot], tombstones: &Tombstones) -> Result<()> {
    for head in history.heads.values() {
        let stands = snapshots.iter().any(|s| s.statement.client == head.client && s.statement.seq >= head.seq);
        let decided = !tombstones.at(head.client, head.seq).is_empty() || history.gave_up(head.client, head.seq);
        if !stands && !decided {
            let what = format!("snapshot {} is gone without having been forgotten", head.id.short());
            return Err(Error::new(ErrorKind::Missing, what)
                .hint("nothing is deleted until it is back or given up: `orlop check` lists what is missing"));
        }
    }
    Ok(())
}

/// Tombstones whose time has come.
fn expired(look: &Looking<'_>, tombstones: &Tombstones, snapshots: &[Snapshot]) -> BTreeSet<RecordId> {
    let there: HashSet<RecordId> = snapshots.iter().map(|s| s.id).collect();
    let about = |t: &crate::repo::Tombstone| t.target.is_some_and(|id| there.contains(&id));
    let due = |t: &&crate::repo::Tombstone| about(t) && (look.now || t.not_before <= look.time);
    tombstones.all().filter(due).map(|t| t.id).collect()
}

fn load_index(
    repo: &Repository,
    history: &History,
    (segments, small): (&mut BTreeMap<SegmentId, Vec<PackName>>, &mut HashSet<SegmentId>),
    cx: &Context<'_>,
) -> Result<(Index, u64)> {
    let damaged = std::cell::Cell::new(0);
    let index = repo.load_index_with(
        history,
        &|name, e| {
            damaged.set(damaged.get() + 1);
            cx.problem("damaged", name.as_bytes(), "read", format!("{e}; packs that only it knows are left alone"));
        },
        &mut |id, segment| {
            let packs = segment.head.packs.iter().map(|p| PackName { id: p.id, uploader: p.uploader });
            segments.insert(id, packs.collect());
            if segment.rows.len() < MERGED_ROWS / 4 {
                small.insert(id);
            }
        },
    )?;
    Ok((index, damaged.get()))
}

fn is_base(sessions: &Sessions, id: &RecordId) -> bool {
    sessions.open.iter().any(|s| s.bases.contains(id))
}

/// Snapshots that are not marked, though nobody forgot them. Nobody promised that a late one is whole;
/// what is there of it stays, unless another took its place.
pub fn passed_over(snapshots: &[Snapshot], sessions: &Sessions) -> HashSet<RecordId> {
    let late = |s: &&Snapshot| s.validity == Validity::Late;
    let replaced: HashSet<_> = snapshots.iter().filter(|s| !late(s)).filter_map(|s| s.statement.replaces).collect();
    let over = snapshots.iter().filter(late).filter(|s| replaced.contains(&s.id) && !is_base(sessions, &s.id));
    over.map(|s| s.id).collect()
}

/// The name of a pack of the index.
pub fn name_of(pack: &crate::index::Pack) -> PackName {
    PackName { id: pack.id, uploader: pack.uploader }
}

impl Survey {
    /// Sessions that are open, and not this one.
    pub fn foreign(&self) -> impl Iterator<Item = SessionId> {
        let own = self.own;
        self.sessions.open.iter().map(|s| s.open.session).filter(move |id| id.0[..4] != own)
    }

    /// What is known of a pack. `finishing` is the plan that is being finished.
    pub fn facts(&self, pack: &PackName, len: Option<u64>, finishing: Option<u64>) -> Facts {
        let plan = self.history.log.plan_of(pack);
        // Which plan it was may be lost.
        let torn = self.history.torn.is_some() && self.history.log.condemns(pack);
        let there = self.packs.get(pack);
        let open = self.sessions.open.iter().any(|s| s.open.session.0[..4] == pack.uploader);
        let own = pack.uploader == self.own;
        Facts {
            there: there.is_some_and(|l| len.is_none_or(|len| len == *l)),
            bad: self.bad.contains(&pack.id),
            condemned: plan.is_some() || torn,
            here: plan.is_some() && plan == finishing,
            doomed: self.history.log.doomed().contains(pack),
            foreign: !own && (open || !self.settled.contains(pack)),
        }
    }

    /// How good a copy in each pack of the index is.
    pub fn standings(&self, finishing: Option<u64>) -> Vec<Standing> {
        let of = |p: &crate::index::Pack| standing(self.facts(&name_of(p), Some(p.len), finishing));
        self.index.packs().iter().map(of).collect()
    }

    /// Whether a forgotten snapshot is no root any more. Bases of open sessions are (R4).
    fn is_expired(&self, s: &Snapshot) -> bool {
        let told = self.tombstones.at(s.statement.client, s.statement.seq);
        told.iter().any(|t| self.expired.contains(&t.id) && t.target == Some(s.id)) && !self.is_base(&s.id)
    }

    /// As if these had been forgotten just now.
    pub fn imagine_forgotten(&mut self, look: &Looking<'_>, ids: &[RecordId]) {
        let window = i64::try_from(look.repo.config().undelete_window).unwrap_or(i64::MAX);
        for s in self.snapshots.iter().filter(|s| ids.contains(&s.id)) {
            self.tombstones.imagine(s, look.time.saturating_add(window));
        }
        self.expired = expired(look, &self.tombstones, &self.snapshots);
    }

    /// Which forgotten snapshots can be brought back, and which cannot once a plan lists what is expired.
    pub fn count_forgotten(&self, summary: &mut PruneSummary) {
        for s in &self.snapshots {
            let at = self.tombstones.at(s.statement.client, s.statement.seq);
            let told = || at.iter().filter(|t| t.target == Some(s.id));
            let Some(until) = told().map(|t| t.not_before).min() else { continue };
            if told().any(|t| self.history.expired.contains(&t.id)) {
                continue;
            }
            if told().any(|t| self.expired.contains(&t.id)) {
                summary.forgotten_ended += 1;
            } else {
                summary.forgotten_kept += 1;
                let first = summary.forgotten_kept_until.map_or(until, |first| first.min(until));
                summary.forgotten_kept_until = Some(first);
            }
        }
    }

    /// Whether an open session relies on a snapshot.
    pub fn is_base(&self, id: &RecordId) -> bool {
        is_base(&self.sessions, id)
    }

    /// Snapshots that are not marked, though nobody forgot them.
    pub fn passed_over(&self) -> HashSet<RecordId> {
        passed_over(&self.snapshots, &self.sessions)
    }

    /// Mark what is needed.
    pub fn mark(&mut self, look: &Looking<'_>, finishing: Option<u64>, threads: usize) -> Result<Marks> {
        let (standing, packs) = (self.standings(finishing), (0..).zip(self.index.packs()));
        // Of these, one may lie about what another stored. What cannot be read is found out when it is relied on.
        let mixed = packs.filter(|(n, p)| p.mixed && standing[*n as usize] < Standing::None).map(|(n, _)| n);
        let compare = Comparison { repo: look.repo, index: &self.index, cx: look.cx, tolerant: true };
        let lies = compare.run(&mixed.collect::<Vec<_>>(), &|_, _| Ok(vec![]))?;
        self.refute(lies, look.cx);
        loop {
            let standing = self.standings(finishing);
            let marks = Marks::new(&self.index);
            self.mark_roots(look, &standing, &marks, threads)?;
            // What a pack is relied on for must be in it: the index is only what somebody said.
            let lies = verify::relied(&Reader::new(look.repo, &self.index), &marks, look.cx)?;
            if lies.is_empty() {
                return Ok(marks);
            }
            self.refute(lies, look.cx);
        }
    }

    /// What is not so counts no more. That concerns what was said, not the pack: others may say of it what is so.
    fn refute(&mut self, lies: Lies, cx: &Context<'_>) {
        let id = |n: u32| self.index.pack(n).id;
        let of = |rows: &[Row]| rows.iter().map(|r| id(self.index.frame(r.at.frame).pack)).collect();
        let said: BTreeSet<PackId> = lies.packs.iter().map(|n| id(*n)).collect();
        let told: [(BTreeSet<PackId>, &str); 3] = [
            (said, "is not what a segment says of it, and that segment is not believed in that"),
            (of(&lies.rows), "does not hold all that segments say, and is not relied on for that"),
            (of(&lies.hollow), "has contents that are not what its table says, and is not relied on for them"),
        ];
        for (packs, what) in told {
            for pack in packs {
                cx.problem("damaged", pack.hex().as_bytes(), "read", format!("pack {} {what}", pack.short()));
            }
        }
        self.index.refute(lies.packs, lies.rows.into_iter().chain(lies.hollow));
    }

    fn mark_roots(&self, look: &Looking<'_>, standing: &[Standing], marks: &Marks, threads: usize) -> Result<()> {
        let reader = Reader::new(look.repo, &self.index);
        let passed_over = self.passed_over();
        let is_root = |s: &&Snapshot| !s.hollow && !self.is_expired(s);
        let roots: Vec<&Snapshot> = self.snapshots.iter().filter(is_root).collect();
        look.cx.enter(Phase::Marking, Some(roots.len() as u64), None);
        for s in roots {
            let late = s.validity == Validity::Late;
            if !passed_over.contains(&s.id) {
                let marker = Marker { cx: look.cx, reader: &reader, standing, marks, tolerant: late, found: None };
                s.statement.root.map_or(Ok(()), |root| marker.root(root, threads)).map_err(|e| unmarkable(s, e))?;
            }
            Meter::add(&look.cx.meter.files_done, 1);
        }
        Ok(())
    }

    /// How much of each pack is needed, all that the index says of it taken together.
    pub fn live(&self, marks: &Marks) -> HashMap<PackName, Live> {
        let mut out: HashMap<PackName, Live> = HashMap::new();
        for (n, pack) in (0..).zip(self.index.packs()) {
            let live = marks.of_pack(&self.index, n);
            let known = out.entry(name_of(pack)).or_insert(live);
            if *known != live {
                *known = Live::Some;
            }
        }
        out
    }

    /// Condemned packs that open sessions use all the same.
    pub fn pinned(&self) -> BTreeSet<PackName> {
        let pins: HashSet<&PackId> = self.sessions.open.iter().flat_map(|s| &s.pins).collect();
        self.history.log.condemned().filter(|p| pins.contains(&p.id)).copied().collect()
    }
}

fn unmarkable(s: &Snapshot, e: Error) -> Error {
    if e.kind() == ErrorKind::Cancelled {
        return e;
    }
    let what = format!("snapshot {} is not whole, so nothing is deleted", s.id.short());
    let error: Result<()> = Err(Error::new(e.kind(), what)
        .because(e)
        .hint("`orlop check` tells what is missing, and the next backup stores it again if it still exists")
        .hint("`orlop forget` of that snapshot lets pruning go on without it"));
    error.doing(|| "while looking for what is needed".to_owned()).err().unwrap_or_else(Error::cancelled)
}
