//! `policy`: what to keep, stored in the repository.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::forget::heading;
use super::{keep, open, outcome, standing};
use crate::cli::args::{self, PolicyCommand};
use crate::cli::console::Console;
use crate::cli::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Time;
use crate::ops::backup::absolute;
use crate::ops::forget::{self, By, Simulated, facts, stored_policies};
use crate::repo::Notes;
use crate::report::exit::Outcome;
use crate::report::policy::{self as told, Meaning, Stored};
use crate::report::{Job, Loudness, units};
use crate::retain::{self, GroupBy, GroupKey, Policy, Span, Target};
use crate::sys;

/// Set or show policies.
pub fn run(args: &args::Policy, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    match &args.command {
        PolicyCommand::Set(args) => set(args, settings, &console),
        PolicyCommand::Show(_) => show(settings, &console),
        PolicyCommand::Simulate(args) => simulate(args, settings, &console),
        PolicyCommand::Window(args) => window(args, settings, &console),
    }
}

fn set(args: &args::PolicySet, settings: &Settings, console: &Console) -> Result<Outcome> {
    let target = target(args)?;
    let policy = policy(args, console)?;
    let rule = policy.as_ref().map(Policy::to_json).unwrap_or_default();
    let mut repo = open(settings, console)?;
    let who = repo.identity(settings.client.as_deref())?;
    let mut notes = standing(&repo, console)?.notes;
    if policy.is_none() {
        find_stored(&target, &notes)?;
    }
    refuse_limits_left_alone(&target, policy.as_ref(), &notes)?;
    repo.set_policy(&who, &mut notes, &target.to_name(), &rule)?;
    let words = match &policy {
        Some(p) => format!("{}: {}\n", target_words(&target), words_alone(p)),
        None => format!("{}: the policy was taken back\n", target_words(&target)),
    };
    match console.json {
        true => console.print(told::set_json(&target.to_name(), &rule))?,
        false => console.remark(Loudness::Normal, &words)?,
    }
    Ok(outcome(console))
}

/// Where policies for more say what to keep, a limit is enough; and these stay as long as somebody needs them.
fn refuse_limits_left_alone(target: &Target, policy: Option<&Policy>, notes: &Notes) -> Result<()> {
    // What cannot be understood is no reason not to put another in its place.
    let before = stored_policies(notes).unwrap_or_default();
    let mut after: Vec<(Target, Policy)> = policy.map(|p| (target.clone(), p.clone())).into_iter().collect();
    after.extend(before.iter().filter(|(t, _)| t != target).cloned());
    for (t, _) in &after {
        let whole = |all: &[(Target, Policy)]| retain::for_group(all, &t.to_group()).filter(Policy::only_limits);
        if let (Some(limits), true) = (whole(&after), t == target || whole(&before).is_none()) {
            forget::refuse_only_limits(&limits, &format!("the policy for {}", target_words(t)))?;
        }
    }
    Ok(())
}

/// Who takes back what is not there meant something else.
fn find_stored(target: &Target, notes: &Notes) -> Result<()> {
    let stored = notes.policies();
    if stored.contains_key(&target.to_name()) {
        return Ok(());
    }
    // For all first.
    let targets: BTreeSet<Target> = stored.keys().filter_map(|name| Target::parse(name)).collect();
    let there = match targets.is_empty() {
        true => "no policies are stored".to_owned(),
        false => {
            format!("policies are stored for: {}", targets.iter().map(target_words).collect::<Vec<_>>().join("; "))
        }
    };
    let what = format!("no policy is stored for {}, so nothing was taken back", target_words(target));
    Err(Error::new(ErrorKind::Missing, what).hint(there))
}

/// What was asked for; `None` to take it back.
fn policy(args: &args::PolicySet, console: &Console) -> Result<Option<Policy>> {
    let asked = keep::asked(&args.keep, args.policy_file.as_deref())?.map(|a| a.policy).filter(says_something);
    let policy = match (asked, args.default, args.remove) {
        (None, false, true) => return Ok(None),
        (None, true, false) => Policy::template(),
        (Some(policy), false, false) => policy,
        (None, false, false) => {
            return Err(Error::new(ErrorKind::Invalid, "nothing was said that a policy could keep")
                .hint("give rules, as in --keep-daily 7, or --default for a template"));
        }
        _ => {
            return Err(Error::new(ErrorKind::Invalid, "rules were given together with --default or --remove")
                .hint("give one of the three"));
        }
    };
    // Every machine shall cut the days where this one does.
    let here = Some(console.zone()).filter(|z| z.iana_name().is_some());
    let zone = if policy.schedules.is_some() { policy.zone.or(here) } else { policy.zone };
    Ok(Some(Policy { alone: policy.alone || args.no_inherit, zone, ..policy }))
}

/// A file may hold nothing, or a list of no schedules.
fn says_something(policy: &Policy) -> bool {
    let schedules = policy.schedules.clone().filter(|all| !all.is_empty());
    Policy { schedules, ..policy.clone() } != Policy::default()
}

fn target(args: &args::PolicySet) -> Result<Target> {
    // One that is there from earlier can be taken back.
    if args.host.as_deref() == Some("") && !args.remove {
        return Err(Error::new(ErrorKind::Invalid, "--host: no host has an empty name")
            .hint("for all snapshots, leave --host out"));
    }
    let path = |p: &std::ffi::OsString| {
        let bytes = absolute(Path::new(p));
        let bad = |_| {
            let shown = String::from_utf8_lossy(p.as_bytes()).into_owned();
            Error::new(ErrorKind::Invalid, format!("a policy cannot be for '{shown}', which is no UTF-8"))
                .hint("store a policy for its host or label")
        };
        String::from_utf8(bytes).map_err(bad)
    };
    let mut paths = args.path.iter().map(path).collect::<Result<Vec<String>>>()?;
    paths.sort();
    paths.dedup();
    Ok(Target { host: args.host.clone(), label: args.label.clone(), paths: (!paths.is_empty()).then_some(paths) })
}

fn target_words(t: &Target) -> String {
    let mut parts = Vec::new();
    parts.extend(t.host.as_ref().map(|h| format!("host {h}")));
    parts.extend(t.paths.as_ref().map(|p| format!("paths {}", p.join(", "))));
    parts.extend(t.label.as_ref().map(|l| format!("label {l}")));
    if parts.is_empty() { "all".into() } else { parts.join(", ") }
}

fn show(settings: &Settings, console: &Console) -> Result<Outcome> {
    let repo = open(settings, console)?;
    let all = standing(&repo, console)?;
    let mut stored = stored_policies(&all.notes)?;
    // For all first.
    stored.sort_by(|(a, _), (b, _)| a.cmp(b));
    let groups: BTreeSet<GroupKey> =
        all.snapshots.iter().map(|s| GroupKey { machine: None, ..GroupBy::STORED.key(&facts(s)) }).collect();
    let words = |p: Option<Policy>| p.map(|p| (p.to_string(), p.to_json()));
    let meanings: Vec<Meaning> = groups
        .iter()
        .map(|key| Meaning { group: heading(key), policy: words(retain::for_group(&stored, key)) })
        .collect();
    let stored: Vec<Stored> = stored
        .iter()
        .map(|(t, p)| Stored { name: t.to_name(), target: target_words(t), words: words_alone(p), rule: p.to_json() })
        .collect();
    let window = repo.config().undelete_window;
    match console.json {
        true => console.print(told::json(&stored, &meanings, window))?,
        false => console.print(told::text(&stored, &meanings, window, console.names))?,
    }
    Ok(outcome(console))
}

/// What it says, and that nothing is added to it.
fn words_alone(policy: &Policy) -> String {
    let alone = if policy.alone { "; nothing is taken over from policies for more" } else { "" };
    format!("{policy}{alone}")
}

fn simulate(args: &args::PolicySimulate, settings: &Settings, console: &Console) -> Result<Outcome> {
    let asked = keep::asked(&args.keep, args.policy_file.as_deref())?;
    let repo = open(settings, console)?;
    let all = standing(&repo, console)?;
    let (now, zone) = (sys::now(), console.zone());
    let now = Time { nsec: 0, ..now };
    let far = || Error::new(ErrorKind::Invalid, format!("--until {}: no calendar goes so far", args.until));
    let until = args.until.after(now, units::offset(now, &zone), &zone).ok_or_else(far)?;
    let by = asked.map_or(By::Stored, |a| By::Policy(Box::new(a.policy)));
    let futures = forget::simulate(&all, &by, (now, until), args.every, &zone)?;
    let shown: Vec<told::Future> = futures.iter().map(future).collect();
    match console.json {
        true => console.print(told::futures_json(&shown, &zone))?,
        false => console.print(told::futures_text(&shown, (now, until), console.names, &zone))?,
    }
    Ok(outcome(console))
}

fn future(s: &Simulated) -> told::Future {
    let one =
        |(c, d): &(retain::Candidate, retain::Decision)| (c.time, d.reasons.iter().map(ToString::to_string).collect());
    told::Future {
        group: heading(&s.key),
        policy: s.policy.to_string(),
        made: s.future.made,
        most: s.future.most,
        left: s.future.left.iter().rev().map(one).collect(),
    }
}

fn window(args: &args::PolicyWindow, settings: &Settings, console: &Console) -> Result<Outcome> {
    let wanted = args.span.map(seconds).transpose()?;
    let mut repo = open(settings, console)?;
    if let Some(seconds) = wanted {
        repo.set_undelete_window(seconds)?;
    }
    let window = repo.config().undelete_window;
    match console.json {
        true => console.print(told::window_json(window))?,
        false => console.print(format!("{}\n", told::window_words(window)))?,
    }
    Ok(outcome(console))
}

/// A window is so many hours, wherever one looks at it.
pub(super) fn seconds(span: Span) -> Result<u64> {
    if span.years > 0 || span.months > 0 {
        let what = format!("the window {span} is not in days and hours");
        return Err(Error::new(ErrorKind::Invalid, what).hint("say it like 14d or 12h"));
    }
    Ok((u64::from(span.days) * 24 + u64::from(span.hours)) * 3600)
}
