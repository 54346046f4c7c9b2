//! Forgetting: a plan with a reason for every snapshot, then a tombstone for each that goes.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::select::Filter;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Context;
use crate::format::gc::{Reason as Because, Seen};
use crate::format::names::{self, prefix};
use crate::id::{ClientId, RecordId};
use crate::model::{Time, Trigger};
use crate::repo::{Notes, Repository, Snapshot, Standing, Times, Validity};
use crate::retain::{self, Candidate, Future, GroupBy, GroupKey, Policy, Reason, Span, Style, Target};

/// By what to decide.
#[derive(Debug, Clone)]
pub enum By {
    /// By this policy, for every group.
    Policy(Box<Policy>),
    /// By the policies that are stored in the repository.
    Stored,
}

/// What to decide about, and how.
#[derive(Debug, Clone)]
pub struct ForgetOptions {
    /// By what.
    pub by: By,
    /// Only these.
    pub filter: Filter,
    /// What belongs together; stored policies have groups of their own.
    pub group_by: GroupBy,
    /// A group may be emptied.
    pub allow_remove_all: bool,
    /// A stored policy may remove more than half of a group.
    pub allow_mass_removal: bool,
    /// The zone of whoever asks.
    pub zone: TimeZone,
}

/// What becomes of a snapshot.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Which one.
    pub snapshot: Snapshot,
    /// Whether it stays.
    pub keep: bool,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// What becomes of a group.
#[derive(Debug, Clone)]
pub struct GroupPlan {
    /// What its members have in common.
    pub key: GroupKey,
    /// What was applied to it; `None` where no stored policy is for it.
    pub policy: Option<Policy>,
    /// Newest first.
    pub snapshots: Vec<Planned>,
    /// Where rules count in another way than restic's: those that would stay, or go, if they counted so.
    pub in_restic: Vec<(RecordId, bool)>,
}

impl GroupPlan {
    /// Those that stay, or those that go.
    pub fn those(&self, keep: bool) -> impl Iterator<Item = &Planned> {
        self.snapshots.iter().filter(move |p| p.keep == keep)
    }
}

/// The policies that are stored, with what each is for.
pub fn stored_policies(notes: &Notes) -> Result<Vec<(Target, Policy)>> {
    let mut out = Vec::new();
    for (name, rule) in notes.policies() {
        let bad = |why: String| {
            Error::new(ErrorKind::Unsupported, format!("the stored policy {name} cannot be understood: {why}"))
                .hint("`orlop policy set` puts another in its place")
        };
        let target = Target::parse(&name).ok_or_else(|| bad("its name says nothing that this version knows".into()))?;
        out.push((target, Policy::parse(&rule, &zone).map_err(bad)?));
    }
    Ok(out)
}

/// A time zone by its name, from the system's data or the program's own.
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

/// All that `retain` wants to know of a snapshot.
fn candidate(s: &Snapshot, notes: &Notes, flagged: bool, now: Time) -> Candidate {
    Candidate {
        id: s.id,
        time: s.statement.time,
        utc_offset: s.statement.utc_offset,
        seq: s.statement.seq,
        tags: s.body.tags.clone(),
        // Nobody vouches for what came late: like what was interrupted, it counts for nothing.
        incomplete: s.incomplete() || s.validity == Validity::Late,
        manual: s.body.trigger == Trigger::Manual,
        expires: s.body.expires,
        held: held(s, notes, now),
        flagged,
    }
}

/// What keeps a snapshot whatever is said: a hold, or something that only a newer orlop may drop.
fn held(s: &Snapshot, notes: &Notes, now: Time) -> Option<String> {
    let hold = notes.holds(s, now).first().map(|h| h.reason.clone());
    hold.or_else(|| s.check_drop().err().map(|e| e.what().to_owned()))
}

/// What groups can be told apart by.
pub fn facts(s: &Snapshot) -> GroupKey {
    GroupKey {
        host: Some(s.body.hostname.clone()),
        machine: Some((s.statement.client, s.statement.machine)),
        paths: Some(s.body.paths.clone()),
        tags: Some(s.body.tags.clone()),
        label: Some(s.body.label.clone()),
    }
}

/// How far the time that a client claims may lie from the one when its snapshot came, in seconds.
const APART: i64 = 3600;

/// So many snapshots are named in one error.
const NAMED: usize = 50;

/// What the storage and the records say about when snapshots came.
#[derive(Debug, Clone, Default)]
pub struct Doubts {
    /// Those whose time is in doubt, with when they came, where somebody knows that.
    pub flagged: HashMap<RecordId, Option<Time>>,
    /// Those that were looked at for the first time, with when they came.
    pub fresh: Vec<Seen>,
    /// Flagged, and either looked at for the first time or of a storage that cannot tell.
    fresh_flagged: HashSet<RecordId>,
}

/// Whose times are in doubt: those of clients that do not hold the owner's key, where they claim
/// another time than the one when they came.
pub fn doubts(repo: &Repository, snapshots: &[Snapshot], times: &Times) -> Result<Doubts> {
    let mut out = Doubts::default();
    for s in snapshots {
        let known = times.received(s.id);
        let received = match known {
            Some(time) => Some(time),
            None => repo.arrival(s)?,
        };
        if let (None, Some(received)) = (known, received) {
            out.fresh.push(Seen { statement: s.id, received });
        }
        let apart = |t: Time| t.sec.abs_diff(s.statement.time.sec) > APART.unsigned_abs();
        if !s.trusted() && !times.accepted(s.id) && received.is_none_or(apart) {
            out.flagged.insert(s.id, received);
            if known.is_none() {
                out.fresh_flagged.insert(s.id);
            }
        }
    }
    Ok(out)
}

/// Many at once are no forgery but a copied repository, of whose files each is from today.
fn refuse_moved(group: &[&Snapshot], key: &GroupKey, doubts: &Doubts) -> Result<()> {
    let doubtful: Vec<&Snapshot> = group.iter().copied().filter(|s| doubts.fresh_flagged.contains(&s.id)).collect();
    if doubtful.len() * 10 <= group.len() {
        return Ok(());
    }
    let (n, all, name) = (doubtful.len(), group.len(), name(key));
    let what = format!(
        "{n} of the {all} snapshots of {name} came at another time than they claim, so nothing was removed: was this repository moved?"
    );
    Err(Error::new(ErrorKind::Invalid, what)
        .because(in_doubt(&doubtful, doubts))
        .hint("if the times that they claim are right, `orlop snapshots accept-time` says so")
        .hint("what somebody forged can be removed by its id"))
}

/// Which ones, what they claim, and when they came, in a line each.
fn in_doubt(doubtful: &[&Snapshot], doubts: &Doubts) -> String {
    let line = |s: &&Snapshot| {
        let came = match doubts.flagged.get(&s.id).copied().flatten() {
            Some(received) => format!("came {}", instant(received)),
            None => "came at a time that the storage does not know".into(),
        };
        format!("{} claims {} and {came}", s.id.short(), instant(s.statement.time))
    };
    let mut lines: Vec<String> = doubtful.iter().take(NAMED).map(line).collect();
    if doubtful.len() > NAMED {
        lines.push(format!("and {} more", doubtful.len() - NAMED));
    }
    lines.join("\n")
}

/// To the second, whatever the zone.
fn instant(t: Time) -> String {
    Timestamp::from_second(t.sec).map_or_else(|_| format!("{} s", t.sec), |t| t.to_string())
}

/// Decide what stays and what goes. Nothing is changed.
pub fn plan(standing: &Standing, options: &ForgetOptions, doubts: &Doubts, now: Time) -> Result<Vec<GroupPlan>> {
    let stored = match &options.by {
        By::Stored => stored_policies(&standing.notes)?,
        By::Policy(_) => vec![],
    };
    check_asked(standing, options, &stored, now)?;
    let by = if matches!(options.by, By::Stored) { GroupBy::STORED } else { options.group_by };
    let mut groups: BTreeMap<GroupKey, Vec<&Snapshot>> = BTreeMap::new();
    let chosen = standing.snapshots.iter().filter(|s| options.filter.matches(s));
    for s in chosen {
        groups.entry(by.key(&facts(s))).or_default().push(s);
    }
    let mut out = Vec::new();
    for (key, members) in groups {
        let policy = match &options.by {
            By::Policy(policy) => Some(policy.as_ref().clone()),
            By::Stored => retain::for_group(&stored, &key),
        };
        if let (By::Stored, Some(policy)) = (&options.by, &policy) {
            refuse_only_limits(policy, &format!("the stored policy for {}", name(&key)))?;
        }
        refuse_moved(&members, &key, doubts)?;
        let group = decide(key, policy, &members, standing, &doubts.flagged, options, now);
        refuse_emptied(&group, options)?;
        out.push(group);
    }
    if matches!(options.by, By::Stored) && !options.allow_mass_removal {
        refuse_mass_removal(&out)?;
        spare_clients(&mut out, standing);
    }
    Ok(out)
}

fn check_asked(standing: &Standing, options: &ForgetOptions, stored: &[(Target, Policy)], now: Time) -> Result<()> {
    let filter = &options.filter;
    if options.allow_remove_all && filter.hosts.is_empty() && filter.tags.is_empty() && filter.paths.is_empty() {
        let what = "--unsafe-allow-remove-all needs a filter: --host, --tag or --path";
        return Err(Error::new(ErrorKind::Invalid, what).hint("say which snapshots are meant"));
    }
    if let By::Policy(policy) = &options.by {
        refuse_only_limits(policy, TYPED)?;
    }
    let says_nothing = match &options.by {
        By::Policy(policy) => policy.is_empty() && !options.allow_remove_all,
        By::Stored => stored.iter().all(|(_, p)| p.is_empty()),
    };
    // What was to go by a certain day goes without a policy, too.
    let expired = |s: &Snapshot| s.body.expires.is_some_and(|t| t <= now) && filter.matches(s);
    if says_nothing && !standing.snapshots.iter().any(expired) {
        return Err(Error::new(ErrorKind::Invalid, "no policy was specified, no snapshots will be removed")
            .hint("say what to keep, as in `orlop forget --keep-daily 7 --keep-weekly 4`")
            .hint("or store a policy with `orlop policy set`"));
    }
    Ok(())
}

/// How a policy that nobody stored is called.
const TYPED: &str = "what was asked for";

/// A limit takes from what is kept; where nothing is, it would take all.
pub fn refuse_only_limits(policy: &Policy, called: &str) -> Result<()> {
    if !policy.only_limits() {
        return Ok(());
    }
    let what = format!("{called} limits how many snapshots stay, and does not say which to keep");
    Err(Error::new(ErrorKind::Invalid, what).hint("say also what to keep, such as --keep-last 5"))
}

/// What a policy would make of a group until some time, if a backup was made every so often.
pub struct Simulated {
    /// The group.
    pub key: GroupKey,
    /// What was applied to it.
    pub policy: Policy,
    /// What would be there.
    pub future: Future,
}

/// Carry policies out in thought, for every group that there is, or for one without a past.
pub fn simulate(
    standing: &Standing,
    by: &By,
    (now, until): (Time, Time),
    every: Span,
    zone: &TimeZone,
) -> Result<Vec<Simulated>> {
    let stored = match by {
        By::Stored => stored_policies(&standing.notes)?,
        By::Policy(_) => vec![],
    };
    let mut groups: BTreeMap<GroupKey, Vec<&Snapshot>> = BTreeMap::new();
    for s in standing.snapshots.iter().filter(|s| s.validity != Validity::Late) {
        groups.entry(GroupBy::STORED.key(&facts(s))).or_default().push(s);
    }
    if groups.is_empty() {
        groups.insert(GroupKey::default(), vec![]);
    }
    let mut out = Vec::new();
    for (key, members) in groups {
        let policy = match by {
            By::Policy(policy) => Some(policy.as_ref().clone()),
            By::Stored => retain::for_group(&stored, &key),
        };
        let Some(policy) = policy.filter(|p| !p.is_empty()) else { continue };
        let stored = || format!("the stored policy for {}", name(&key));
        refuse_only_limits(&policy, &if matches!(by, By::Stored) { stored() } else { TYPED.into() })?;
        let there = members.iter().map(|s| candidate(s, &standing.notes, false, now)).collect();
        let future = retain::simulate(there, &policy, (now, until), every, zone)
            .map_err(|why| Error::new(ErrorKind::Invalid, why).hint("choose --every and --until otherwise"))?;
        out.push(Simulated { key, policy, future });
    }
    if out.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "there is no policy to simulate")
            .hint("give rules, as in --keep-daily 7, or store a policy with `orlop policy set`"));
    }
    Ok(out)
}

fn decide(
    key: GroupKey,
    policy: Option<Policy>,
    members: &[&Snapshot],
    standing: &Standing,
    flagged: &HashMap<RecordId, Option<Time>>,
    options: &ForgetOptions,
    now: Time,
) -> GroupPlan {
    let candidates: Vec<Candidate> =
        members.iter().map(|s| candidate(s, &standing.notes, flagged.contains_key(&s.id), now)).collect();
    let nothing = Policy::default();
    let applied = policy.as_ref().unwrap_or(&nothing);
    let mut decisions = retain::decide(&candidates, applied, now, &options.zone);
    if options.allow_remove_all && applied.is_empty() {
        for d in decisions.iter_mut().filter(|d| d.reasons == [Reason::NoPolicy]) {
            (d.keep, d.reasons) = (false, vec![Reason::NotKept]);
        }
    }
    let in_restic = match applied.style() {
        Style::Restic => vec![],
        _ => {
            let same = Policy { style: None, ..applied.clone() };
            let there = retain::decide(&candidates, &same, now, &options.zone);
            let differ = there.into_iter().zip(&decisions).filter(|(there, here)| there.keep != here.keep);
            differ.map(|(there, _)| (there.id, there.keep)).collect()
        }
    };
    let snapshots = decisions
        .into_iter()
        .filter_map(|d| {
            let snapshot = members.iter().find(|s| s.id == d.id)?;
            Some(Planned { snapshot: (*snapshot).clone(), keep: d.keep, reasons: d.reasons })
        })
        .collect();
    GroupPlan { key, policy, snapshots, in_restic }
}

/// Why rules remove, and not a snapshot's own expiry or a better one after it.
fn by_policy(p: &Planned) -> bool {
    !p.keep && !p.reasons.iter().any(|r| matches!(r, Reason::Expired(_) | Reason::Superseded))
}

fn refuse_emptied(group: &GroupPlan, options: &ForgetOptions) -> Result<()> {
    let emptied = group.those(true).next().is_none() && group.snapshots.iter().any(by_policy);
    // As in restic: rules that keep nothing are a mistake, whatever else was said.
    let asked = options.allow_remove_all && matches!(&options.by, By::Policy(policy) if policy.is_empty());
    if !emptied || asked {
        return Ok(());
    }
    let what = format!("refusing to delete last snapshot of snapshot group \"{}\"", name(&group.key));
    Err(Error::new(ErrorKind::Invalid, what)
        .hint("keep at least one, or name those that shall go by their ids")
        .hint("--unsafe-allow-remove-all removes all of it, with --host, --tag or --path and without any rule"))
}

/// A group in words.
pub fn name(key: &GroupKey) -> String {
    let mut parts = Vec::new();
    parts.extend(key.host.as_ref().map(|h| format!("host {h}")));
    let shown =
        |paths: &Vec<Vec<u8>>| paths.iter().map(|p| String::from_utf8_lossy(p).into_owned()).collect::<Vec<_>>();
    parts.extend(key.paths.as_ref().map(|p| format!("path [{}]", shown(p).join(", "))));
    parts.extend(key.tags.as_ref().map(|t| format!("tags [{}]", t.join(", "))));
    parts.extend(key.label.as_ref().filter(|l| !l.is_empty()).map(|l| format!("label {l}")));
    parts.join(", ")
}

/// Nobody looks on when a stored policy is carried out: what it removes must not be most there is.
fn refuse_mass_removal(groups: &[GroupPlan]) -> Result<()> {
    let hint = |e: Error| {
        e.hint("see `orlop forget --dry-run --allow-mass-removal`; if that is right, run it without --dry-run")
            .hint("rules that are typed, as in `orlop forget --keep-daily 7`, are carried out as they are")
    };
    for g in groups {
        let gone = g.snapshots.iter().filter(|p| by_policy(p)).count();
        if gone * 2 > g.snapshots.len() {
            let all = g.snapshots.len();
            let what = format!(
                "the stored policy would remove {gone} of the {all} snapshots of {}: that is more than half, so nothing was removed",
                name(&g.key)
            );
            return Err(hint(Error::new(ErrorKind::Invalid, what)));
        }
    }
    Ok(())
}

/// Nor must it be all of a client that made no backup for long: what it has stays, and nobody else's waits.
fn spare_clients(groups: &mut [GroupPlan], standing: &Standing) {
    let going: HashSet<RecordId> = groups.iter().flat_map(|g| g.those(false)).map(|p| p.snapshot.id).collect();
    let mut left: BTreeMap<ClientId, usize> = BTreeMap::new();
    for s in standing.snapshots.iter().filter(|s| !s.incomplete() && s.validity != Validity::Late) {
        *left.entry(s.statement.client).or_default() += usize::from(!going.contains(&s.id));
    }
    let emptied = |p: &Planned| left.get(&p.snapshot.statement.client) == Some(&0);
    for p in groups.iter_mut().flat_map(|g| &mut g.snapshots).filter(|p| !p.keep && emptied(p)) {
        (p.keep, p.reasons) = (true, vec![Reason::LastOfClient]);
    }
}

/// The clients whose snapshots stay because all of them would go, each with its host and how many these are.
pub fn spared(groups: &[GroupPlan]) -> BTreeMap<ClientId, (String, usize)> {
    let mut out = BTreeMap::new();
    for p in groups.iter().flat_map(|g| g.those(true)).filter(|p| p.reasons == [Reason::LastOfClient]) {
        let s = &p.snapshot;
        let entry = out.entry(s.statement.client).or_insert_with(|| (s.body.hostname.clone(), 0));
        entry.1 += 1;
    }
    out
}

/// Take down when snapshots came that nobody had looked at yet.
pub fn record(repo: &mut Repository, client: Option<&str>, doubts: &Doubts) -> Result<()> {
    if doubts.fresh.is_empty() {
        return Ok(());
    }
    let who = repo.identity(client)?;
    repo.record_times(&who, doubts.fresh.clone(), false)
}

/// Say that what these snapshots claim about their times is right.
pub fn accept_times(repo: &mut Repository, client: Option<&str>, which: &[&Snapshot], times: &Times) -> Result<()> {
    let mut seen = Vec::new();
    for s in which {
        let received = match times.received(s.id) {
            Some(time) => Some(time),
            None => repo.arrival(s)?,
        };
        seen.push(Seen { statement: s.id, received: received.unwrap_or(s.statement.time) });
    }
    let who = repo.identity(client)?;
    repo.record_times(&who, seen, true)
}

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct Forgotten {
    /// Those that were forgotten.
    pub removed: Vec<RecordId>,
    /// Until then, by the storage's clock, they can be brought back.
    pub until: Option<Time>,
}

/// Forget snapshots. One that cannot be is told as a problem, and the others are done.
pub fn carry_out(
    repo: &mut Repository,
    client: Option<&str>,
    going: &[&Snapshot],
    cx: &Context<'_>,
) -> Result<Forgotten> {
    let mut out = Forgotten::default();
    if going.is_empty() {
        return Ok(out);
    }
    let who = repo.identity(client)?;
    let window = i64::try_from(repo.config().undelete_window).unwrap_or(i64::MAX);
    let now = repo.storage_time()?;
    let until = Time { sec: now.sec.saturating_add(window), nsec: now.nsec };
    for s in going {
        cx.check()?;
        match repo.forget(&who, s, Because::Forget, until) {
            Ok(_) => out.removed.push(s.id),
            Err(e) if e.kind() == ErrorKind::Forbidden => return Err(e),
            Err(e) => cx.problem("not-forgotten", s.id.short().as_bytes(), "forget", e.to_string()),
        }
    }
    out.until = Some(until);
    Ok(out)
}

/// Go on without snapshots whose records are lost, by the names of their objects.
pub fn accept_lost(repo: &mut Repository, client: Option<&str>, objects: &[String]) -> Result<Vec<String>> {
    let mut places = Vec::new();
    for typed in objects {
        let name =
            if typed.starts_with(prefix::SNAPSHOTS) { typed.clone() } else { prefix::SNAPSHOTS.to_owned() + typed };
        let bad = || {
            Error::new(ErrorKind::Invalid, format!("--accept-lost: '{typed}' is no place of a snapshot"))
                .hint("give the name that `orlop check` says, as in snapshots/…/0000000000000007")
        };
        places.push((names::parse_snapshot(&name).ok_or_else(bad)?, name));
    }
    let who = repo.identity(client)?;
    let mut out = Vec::new();
    for ((client, seq), name) in places {
        repo.accept_lost(&who, client, seq)?;
        out.push(name);
    }
    Ok(out)
}

/// Those that are named, none of which may be held.
pub fn named<'s>(standing: &'s Standing, ids: &[RecordId], now: Time) -> Result<Vec<&'s Snapshot>> {
    let mut out: Vec<&Snapshot> = Vec::new();
    for s in standing.snapshots.iter().filter(|s| ids.contains(&s.id)) {
        if let Some(hold) = standing.notes.holds(s, now).first() {
            let why = if hold.reason.is_empty() { String::new() } else { format!(" ({})", hold.reason) };
            let what = format!("snapshot {} is held{why}, so nothing was removed", s.id.short());
            return Err(Error::new(ErrorKind::Invalid, what).hint("`orlop release` ends a hold"));
        }
        out.push(s);
    }
    Ok(out)
}
