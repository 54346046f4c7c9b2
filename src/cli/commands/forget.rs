//! `forget` and `undelete`.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::Path;

use super::keep::{self, Asked};
use super::{about_now, filter, open, outcome, row, standing};
use crate::cli::args::{self, Filter};
use crate::cli::console::Console;
use crate::cli::reference::Reference;
use crate::cli::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::id::RecordId;
use crate::model::Time;
use crate::ops::forget::{self, By, Doubts, ForgetOptions, GroupPlan, Planned};
use crate::ops::select;
use crate::repo::{Repository, Snapshot, Standing, Times, Tombstone};
use crate::report::exit::Outcome;
use crate::report::forget::{self as told, Group, Reasoned};
use crate::report::snapshots::ListStyle;
use crate::report::{Job, Loudness, units};
use crate::retain::GroupKey;
use crate::sys;

/// Forget snapshots.
pub fn run(args: &args::Forget, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let asked = keep::asked(&args.keep, args.policy_file.as_deref())?;
    if !args.ids.is_empty() && (asked.is_some() || args.unsafe_allow_remove_all) {
        let what = "snapshots were named together with rules for what to keep";
        return Err(Error::new(ErrorKind::Invalid, what).hint("give either ids or rules"));
    }
    if let (false, Some(flag)) = (args.prune, args.pruning.given()) {
        let what = format!("{flag} says how to prune, and --prune was not given");
        return Err(Error::new(ErrorKind::Invalid, what).hint("add --prune, or leave it out"));
    }
    let mut repo = open(settings, &console)?;
    if !args.accept_lost.is_empty() {
        return accept_lost(args, asked.is_some(), &mut repo, settings, &console);
    }
    let standing = standing(&repo, &console)?;
    // A dry run writes nothing, which asking the storage for its time may need.
    let now = if args.dry_run { sys::now() } else { repo.storage_time()? };
    let groups = match args.ids.is_empty() {
        false => vec![named(args, &standing, now, &console)?],
        true => {
            let doubts = doubts(&repo, &standing.snapshots, &console)?;
            let groups = planned(args, asked, &standing, &doubts, now, &console)?;
            if !args.dry_run {
                forget::record(&mut repo, settings.client.as_deref(), &doubts)?;
            }
            groups
        }
    };
    tell(args, &groups, &console)?;
    let going: Vec<&Snapshot> = groups.iter().flat_map(|g| g.those(false)).map(|p| &p.snapshot).collect();
    finish(args, &mut repo, settings, &going, &console)
}

/// Go on without what cannot be read any more.
fn accept_lost(
    args: &args::Forget,
    rules: bool,
    repo: &mut Repository,
    settings: &Settings,
    console: &Console,
) -> Result<Outcome> {
    if rules {
        return Err(Error::new(ErrorKind::Invalid, "--accept-lost was given together with rules for what to keep"));
    }
    if args.prune {
        super::prune::allowed(&args.pruning, repo, settings)?;
    }
    let done = forget::accept_lost(repo, settings.client.as_deref(), &args.accept_lost)?;
    match console.json {
        true => console.print(told::changed_json(&done))?,
        false => {
            let many = units::count(done.len() as u64, "lost snapshot", "lost snapshots");
            console.remark(Loudness::Normal, &format!("gave up {many}\n"))?;
        }
    }
    if args.prune {
        super::prune::afterwards(&args.pruning, repo, None, settings, console)?;
    }
    Ok(outcome(console))
}

/// Whose times are in doubt.
pub(super) fn doubts(repo: &Repository, snapshots: &[Snapshot], console: &Console) -> Result<Doubts> {
    let times = times(repo, console)?;
    forget::doubts(repo, snapshots, &times)
}

pub(super) fn times(repo: &Repository, console: &Console) -> Result<Times> {
    let cx = console.context();
    repo.times(&|name, e| cx.problem("damaged", name.as_bytes(), "read", e.to_string()))
}

fn finish(
    args: &args::Forget,
    repo: &mut Repository,
    settings: &Settings,
    going: &[&Snapshot],
    console: &Console,
) -> Result<Outcome> {
    if args.prune && !going.is_empty() {
        super::prune::allowed(&args.pruning, repo, settings)?;
    }
    let (removed, until) = match args.dry_run {
        true => (going.iter().map(|s| s.id).collect::<Vec<_>>(), None),
        false => {
            let done = forget::carry_out(repo, settings.client.as_deref(), going, &console.context())?;
            (done.removed, done.until)
        }
    };
    let names: Vec<String> = removed.iter().map(RecordId::hex).collect();
    let ends_now = args.prune && args.pruning.now;
    let until = until.filter(|_| repo.config().undelete_window > 0 && !ends_now);
    console.remark(Loudness::Normal, &told::done(&names, until, args.dry_run, &console.zone()))?;
    if args.prune && !removed.is_empty() {
        let pruned = super::prune::afterwards(&args.pruning, repo, args.dry_run.then_some(removed), settings, console);
        pruned.map_err(|e| match args.dry_run {
            true => e,
            false => e.hint("`orlop undelete` lists what was forgotten and can be brought back"),
        })?;
    }
    Ok(outcome(console))
}

/// What the rules or the stored policies say.
fn planned(
    args: &args::Forget,
    asked: Option<Asked>,
    standing: &Standing,
    doubts: &Doubts,
    now: Time,
    console: &Console,
) -> Result<Vec<GroupPlan>> {
    let chosen = Filter { host: args.host.clone(), tag: args.tag.clone(), path: args.path.clone(), incomplete: false };
    let by = match asked {
        Some(asked) => By::Policy(Box::new(asked.policy)),
        None if args.unsafe_allow_remove_all => By::Policy(Box::default()),
        None => By::Stored,
    };
    if matches!(by, By::Stored) && args.group_by.is_some() {
        let what = "--group-by goes with rules: stored policies are for hosts, paths and labels";
        return Err(Error::new(ErrorKind::Invalid, what));
    }
    if let By::Policy(policy) = &by
        && !policy.is_empty()
    {
        console.remark(Loudness::Normal, &format!("Applying Policy: {policy}\n"))?;
    }
    let options = ForgetOptions {
        by,
        filter: filter(&chosen),
        group_by: args.group_by.unwrap_or_default(),
        allow_remove_all: args.unsafe_allow_remove_all,
        allow_mass_removal: args.allow_mass_removal,
        zone: console.zone(),
    };
    let groups = forget::plan(standing, &options, doubts, now)?;
    tell_of_machines(&groups, console);
    tell_of_spared(&groups, console);
    Ok(groups)
}

/// A stored policy leaves alone whoever would have nothing left; somebody should look at why.
fn tell_of_spared(groups: &[GroupPlan], console: &Console) {
    for (host, n) in forget::spared(groups).into_values() {
        let many = units::count(n as u64, "snapshot", "snapshots");
        let what = format!(
            "the last of this client would go, so its {many} stay: `orlop forget --host {host}` with rules typed, \
             or `orlop forget` with their ids, removes them"
        );
        console.context().problem("last-snapshots", host.as_bytes(), "forget", what);
    }
}

/// Those that were named go, whatever any policy says.
fn named(args: &args::Forget, standing: &Standing, now: Time, console: &Console) -> Result<GroupPlan> {
    let chosen = Filter { host: args.host.clone(), tag: args.tag.clone(), path: args.path.clone(), incomplete: true };
    let ids = super::named(&args.ids, &standing.snapshots, &filter(&chosen), console);
    let going = forget::named(standing, &ids, now)?;
    let planned = |s: &Snapshot| Planned { snapshot: s.clone(), keep: false, reasons: vec![] };
    Ok(GroupPlan {
        key: GroupKey::default(),
        policy: None,
        snapshots: going.into_iter().map(planned).collect(),
        in_restic: vec![],
    })
}

/// Who wonders why so many stay should hear that two machines have one name.
fn tell_of_machines(groups: &[GroupPlan], console: &Console) {
    let mut told = HashSet::new();
    for g in groups {
        let same = |o: &&GroupPlan| {
            o.key.host.is_some()
                && GroupKey { machine: None, ..o.key.clone() } == GroupKey { machine: None, ..g.key.clone() }
        };
        let machines = groups.iter().filter(same).count();
        let name = g.key.host.clone().unwrap_or_default();
        if machines > 1 && told.insert(name.clone()) {
            let what = format!("{machines} machines or clients have the host name {name}: each keeps its own");
            console
                .context()
                .notice("machines-apart", format!("{what} (--group-by hostname,paths puts them together)"));
        }
    }
}

fn tell(args: &args::Forget, groups: &[GroupPlan], console: &Console) -> Result<()> {
    let shown: Vec<Group> = groups.iter().map(|g| group(g, !args.ids.is_empty())).collect();
    if console.json {
        return console.print(told::json(&shown, &console.zone()));
    }
    let style = ListStyle { compact: args.compact, names: console.names };
    console.remark(Loudness::Normal, &told::text(&shown, style, &console.zone()))
}

fn group(g: &GroupPlan, by_name: bool) -> Group {
    let reasoned = |p: &Planned| Reasoned {
        row: row(&p.snapshot),
        reasons: p.reasons.iter().map(ToString::to_string).collect(),
        until: None,
    };
    Group {
        heading: if by_name { String::new() } else { heading(&g.key) },
        host: g.key.host.clone(),
        paths: g.key.paths.clone(),
        tags: g.key.tags.clone(),
        label: g.key.label.clone(),
        style: style_words(g),
        keep: g.those(true).map(reasoned).collect(),
        remove: g.those(false).map(reasoned).collect(),
    }
}

/// What restic's counting would make of a group; empty where it is the same.
fn style_words(g: &GroupPlan) -> String {
    let ids = |keep: bool| {
        let some = g.in_restic.iter().filter(|(_, k)| *k == keep);
        some.map(|(id, _)| id.short()).collect::<Vec<_>>().join(" ")
    };
    match (ids(true), ids(false)) {
        (keep, remove) if keep.is_empty() && remove.is_empty() => String::new(),
        (keep, remove) if remove.is_empty() => format!("counted as restic does, these would stay: {keep}"),
        (keep, remove) if keep.is_empty() => format!("counted as restic does, these would go: {remove}"),
        (keep, remove) => format!("counted as restic does, these would stay: {keep}; and these go: {remove}"),
    }
}

/// A group as lists of snapshots introduce it.
pub(super) fn heading(key: &GroupKey) -> String {
    let mut parts = Vec::new();
    parts.extend(key.host.as_ref().map(|h| format!("host [{h}]")));
    parts.extend(key.tags.as_ref().map(|t| format!("tags [{}]", t.join(", "))));
    let shown = |p: &Vec<Vec<u8>>| p.iter().map(|p| String::from_utf8_lossy(p).into_owned()).collect::<Vec<_>>();
    parts.extend(key.paths.as_ref().map(|p| format!("paths [{}]", shown(p).join(", "))));
    parts.extend(key.label.as_ref().filter(|l| !l.is_empty()).map(|l| format!("label [{l}]")));
    parts.join(", ")
}

/// List what can be brought back, or bring it back.
pub fn undelete(args: &args::Undelete, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let mut repo = open(settings, &console)?;
    let standing = standing(&repo, &console)?;
    if args.ids.is_empty() {
        list_forgotten(&repo, &standing, &console)?;
        return Ok(outcome(&console));
    }
    let all: Vec<Snapshot> = standing.forgotten.iter().map(|(s, _)| s.clone()).collect();
    let typed = without_standing(&args.ids, &all, &standing.snapshots, &console);
    let ids = super::named(&typed, &all, &crate::ops::select::Filter::default(), &console);
    let who = repo.identity(settings.client.as_deref())?;
    let mut back = Vec::new();
    for (s, tombstones) in standing.forgotten.iter().filter(|(s, _)| ids.contains(&s.id)) {
        repo.undelete(&who, s, tombstones)?;
        back.push(s.id.hex());
    }
    match console.json {
        true => console.print(told::changed_json(&back))?,
        false if back.is_empty() => console.remark(Loudness::Normal, "no snapshots were brought back\n")?,
        false => {
            let many = units::count(back.len() as u64, "snapshot", "snapshots");
            console.remark(Loudness::Normal, &format!("brought back {many}\n"))?;
        }
    }
    Ok(outcome(&console))
}

/// What nobody forgot is said, and is no mistake.
fn without_standing(typed: &[String], forgotten: &[Snapshot], there: &[Snapshot], console: &Console) -> Vec<String> {
    let any = select::Filter { incomplete: true, ..select::Filter::default() };
    let find = |all: &[Snapshot], name: &String| {
        Reference::parse(OsStr::new(name)).and_then(|r| select::find(all, &any, &r.which).map(|s| s.id)).ok()
    };
    let mut out = Vec::new();
    for name in typed {
        match (find(forgotten, name), find(there, name)) {
            (None, Some(id)) => {
                let what =
                    format!("snapshot {} is there and not forgotten: there was nothing to bring back", id.short());
                console.context().notice("nothing-to-do", what);
            }
            _ => out.push(name.clone()),
        }
    }
    out
}

fn list_forgotten(repo: &Repository, standing: &Standing, console: &Console) -> Result<()> {
    let (zone, now) = (console.zone(), about_now(repo));
    // Where the log cannot be read, `undelete` says so of each.
    let history = repo.history().unwrap_or_default();
    let back = |(s, tombstones): &&(Snapshot, Vec<Tombstone>)| !history.beyond_recall(s, tombstones);
    let listed = |(s, tombstones): &(Snapshot, Vec<Tombstone>)| {
        // Two decisions are one: it stays whole until the first of them.
        let until = Time { sec: tombstones.iter().map(|t| t.not_before).min().unwrap_or(0), nsec: 0 };
        let reason = match until <= now {
            true => "over: only until the next prune".to_owned(),
            false => format!("until {}", units::wall_clock(until, &zone)),
        };
        Reasoned { row: row(s), reasons: vec![reason], until: Some(until) }
    };
    let mut going: Vec<Reasoned> = standing.forgotten.iter().filter(back).map(listed).collect();
    going.sort_by_key(|r| std::cmp::Reverse((r.row.statement.time, r.row.statement.seq, r.row.id.clone())));
    let group = Group { remove: going, ..Group::default() };
    if console.json {
        return console.print(told::json(&[group], &zone));
    }
    if group.remove.is_empty() {
        return console.print("there is nothing to bring back\n");
    }
    let style = ListStyle { compact: false, names: console.names };
    console.print(told::table(&group.remove, style, &zone))
}

/// Whether a path is standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}
