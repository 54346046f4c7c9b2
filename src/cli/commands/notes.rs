//! `tag`, `describe`, `hold` and `release`: what is said about snapshots later.

use super::{about_now, filter, named, open, outcome, standing};
use crate::cli::args::{self, TagList};
use crate::cli::console::Console;
use crate::cli::settings::Settings;
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::format::gc::Note;
use crate::id::RecordId;
use crate::model::Time;
use crate::ops::select;
use crate::repo::{Identity, Repository, Snapshot, Standing, Validity};
use crate::report::exit::Outcome;
use crate::report::forget::changed_json;
use crate::report::{Job, Loudness, units};

/// Change tags.
pub fn tag(args: &args::Tag, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    if args.set.is_empty() && args.add.is_empty() && args.remove.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "nothing to do: none of --set, --add and --remove was given"));
    }
    let (mut repo, mut all) = about(settings, &console)?;
    let filter = filter(&args.filter);
    let chosen: Vec<RecordId> = match args.ids.is_empty() {
        true => all.snapshots.iter().filter(|s| filter.matches(s)).map(|s| s.id).collect(),
        false => named(&args.ids, &all.snapshots, &filter, &console),
    };
    let who = repo.identity(settings.client.as_deref())?;
    let mut changed = Vec::new();
    for s in all.snapshots.iter().filter(|s| chosen.contains(&s.id)) {
        let (old, new) = (ascending(&s.body.tags), retagged(args, &s.body.tags));
        if old != new && say(&repo, &who, &mut all.notes, s, Note::Tags(new), &console)?.is_some() {
            changed.push(s.id.hex());
        }
    }
    let none = "no snapshots were modified";
    report(&changed, none, "modified tags on", &console)
}

fn ascending(tags: &[String]) -> Vec<String> {
    let mut tags = tags.to_vec();
    tags.sort();
    tags.dedup();
    tags
}

fn retagged(args: &args::Tag, old: &[String]) -> Vec<String> {
    let flat = |lists: &[TagList]| lists.iter().flat_map(|l| l.0.clone()).collect::<Vec<_>>();
    if !args.set.is_empty() {
        return ascending(&flat(&args.set));
    }
    let gone = flat(&args.remove);
    let mut tags = old.to_vec();
    tags.extend(flat(&args.add));
    tags.retain(|t| !gone.contains(t));
    ascending(&tags)
}

/// Change labels and descriptions.
pub fn describe(args: &args::Describe, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let (mut repo, mut all) = about(settings, &console)?;
    let chosen = named(&args.ids, &all.snapshots, &everything(), &console);
    let who = repo.identity(settings.client.as_deref())?;
    let mut changed = Vec::new();
    for s in all.snapshots.iter().filter(|s| chosen.contains(&s.id)) {
        let label = args.label.as_ref().filter(|l| **l != s.body.label).cloned().map(Note::Label);
        let description = args.description.as_ref().filter(|d| **d != s.body.description).cloned();
        let mut said = false;
        for note in label.into_iter().chain(description.map(Note::Description)) {
            said |= say(&repo, &who, &mut all.notes, s, note, &console)?.is_some();
        }
        changed.extend(said.then(|| s.id.hex()));
    }
    report(&changed, "no snapshots were modified", "described", &console)
}

/// Hold snapshots.
pub fn hold(args: &args::Hold, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let (mut repo, mut all) = about(settings, &console)?;
    let until = until(args, about_now(&repo), &console)?;
    let chosen = named(&args.ids, &all.snapshots, &everything(), &console);
    refuse_given_up(&all.snapshots, &chosen)?;
    let who = repo.identity(settings.client.as_deref())?;
    let mut changed = Vec::new();
    for s in all.snapshots.iter().filter(|s| chosen.contains(&s.id)) {
        let note = Note::Hold { reason: args.reason.clone(), until };
        let said = say(&repo, &who, &mut all.notes, s, note, &console);
        if said.doing(|| format!("holding snapshot {}", s.id.short()))?.is_some() {
            changed.push(s.id.hex());
        }
    }
    report(&changed, "no snapshots are held", "held", &console)
}

/// A hold would promise what nobody keeps.
fn refuse_given_up(all: &[Snapshot], chosen: &[RecordId]) -> Result<()> {
    match all.iter().find(|s| s.validity == Validity::Late && chosen.contains(&s.id)) {
        None => Ok(()),
        Some(s) => {
            let what = format!(
                "snapshot {} does not count, so nothing is held: its session was given up while it was made",
                s.id.short()
            );
            Err(Error::new(ErrorKind::Invalid, what)
                .hint("its data goes at the next prune; hold its successor, which the run that made it names")
                .hint("where there is none, back up again"))
        }
    }
}

fn until(args: &args::Hold, now: Time, console: &Console) -> Result<Option<Time>> {
    let zone = console.zone();
    let invalid = |why: String| Error::new(ErrorKind::Invalid, why);
    let until = match (&args.until, args.span) {
        (Some(when), _) => Some(when.resolve(&zone).map_err(|e| invalid(format!("--until: {e}")))?.0),
        (None, Some(span)) => {
            Some(span.after(now, 0, &zone).ok_or_else(|| invalid("--for: no calendar goes so far".into()))?)
        }
        (None, None) => None,
    };
    let typed = if args.until.is_some() { "--until" } else { "--for" };
    match until {
        Some(t) if t <= now => Err(invalid(format!("{typed}: that time is over"))),
        _ => Ok(until),
    }
}

/// End holds.
pub fn release(args: &args::Release, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let (mut repo, mut all) = about(settings, &console)?;
    let now = about_now(&repo);
    let chosen = named(&args.ids, &all.snapshots, &everything(), &console);
    let who = repo.identity(settings.client.as_deref())?;
    let mut changed = Vec::new();
    for s in all.snapshots.iter().filter(|s| chosen.contains(&s.id)) {
        let holds = all.notes.holds(s, now);
        if holds.is_empty() {
            let what = format!("nothing holds snapshot {}: there was nothing to release", s.id.short());
            console.context().notice("nothing-to-do", what);
            continue;
        }
        for hold in holds {
            say(&repo, &who, &mut all.notes, s, Note::Release(hold.id), &console)
                .doing(|| format!("releasing snapshot {}", s.id.short()))?;
        }
        match all.notes.holds(s, now).first() {
            None => changed.push(s.id.hex()),
            // A client's key ends what it began.
            Some(_) => {
                let what = "somebody else's hold stays: only the owner's key ends it";
                console.context().problem("held", s.id.short().as_bytes(), "release", what);
            }
        }
    }
    report(&changed, "no snapshots were released", "released", &console)
}

fn everything() -> select::Filter {
    select::Filter { incomplete: true, ..select::Filter::default() }
}

fn about(settings: &Settings, console: &Console) -> Result<(Repository, Standing)> {
    let repo = open(settings, console)?;
    let all = standing(&repo, console)?;
    Ok((repo, all))
}

/// Say it; what this key may not say of a snapshot is told, and the others are done.
fn say(
    repo: &Repository,
    who: &Identity,
    notes: &mut crate::repo::Notes,
    s: &Snapshot,
    note: Note,
    console: &Console,
) -> Result<Option<RecordId>> {
    match repo.annotate(who, notes, s, note) {
        Ok(id) => Ok(Some(id)),
        Err(e) if e.kind() == crate::error::ErrorKind::Forbidden => {
            console.context().problem("forbidden", s.id.short().as_bytes(), "change", e.to_string());
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

fn report(changed: &[String], none: &str, done: &str, console: &Console) -> Result<Outcome> {
    if console.json {
        console.print(changed_json(changed))?;
    } else {
        let many = units::count(changed.len() as u64, "snapshot", "snapshots");
        let text = if changed.is_empty() { format!("{none}\n") } else { format!("{done} {many}\n") };
        console.remark(Loudness::Normal, &text)?;
    }
    Ok(outcome(console))
}
