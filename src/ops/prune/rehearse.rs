//! A dry run: the steps of a run on a copy of what is known. What a finish or a plan would add to the log
//! is added to the copy only, and what would be deleted is taken off a list.

use super::checkpoint::crowded;
use super::finish::{due, forgotten, in_the_way, needed, pending};
use super::plan::{Decision, decide};
use super::survey::{Looking, Survey, name_of, survey};
use super::{PruneOptions, PruneSummary, stores, tell_crowded};
use crate::collect::{Plan, Step, finish};
use crate::error::{Error, ErrorKind, Result};
use crate::format::gc::PackName;
use crate::format::names;
use crate::id::SessionId;

/// What the same run would come to now if it were none.
pub fn rehearse(look: &Looking<'_>, options: &PruneOptions, threads: usize, summary: &mut PruneSummary) -> Result<()> {
    let mut found = survey(look)?;
    found.imagine_forgotten(look, &options.as_if_forgotten);
    give_up(&mut found, options);
    delete(&mut found, summary);
    let expired = found.expired.clone();
    finish_due(look, &mut found, options, threads)?;
    found.expired = expired;
    delete(&mut found, summary);
    summary.that_was_earlier();
    if crowded(&found.history, options) {
        tell_crowded(look.cx);
    } else {
        let marks = found.mark(look, None, threads)?;
        let decision = decide(&found, &marks, options, summary);
        found.count_forgotten(summary);
        condemn(look, &mut found, decision, options)?;
        delete(&mut found, summary);
    }
    summary.pending = pending(look, &found.history, &found.sessions, &found.packs, options);
    Ok(())
}

/// Sessions that would be closed.
fn give_up(found: &mut Survey, options: &PruneOptions) {
    let Survey { sessions, packs, .. } = found;
    sessions.open.retain(|s| !(s.dead || options.fence && stores(s, packs)));
}

/// What is doomed would not be there any more.
fn delete(found: &mut Survey, summary: &mut PruneSummary) {
    let Survey { history, packs, snapshots, .. } = found;
    snapshots.retain(|s| !history.doomed_names.contains(&names::snapshot(s.statement.client, s.statement.seq)));
    packs.retain(|name, len| {
        let goes = history.log.doomed().contains(name);
        if goes {
            summary.deleted_packs += 1;
            summary.deleted_bytes += *len;
        }
        !goes
    });
}

/// Every plan whose time has come, until one would have to wait for somebody.
fn finish_due(look: &Looking<'_>, found: &mut Survey, options: &PruneOptions, threads: usize) -> Result<()> {
    let has_come = |p: &Plan<_, _>| options.now || due(look.repo, p.time, look.time, options).is_none();
    let plans = found.history.log.plans().iter();
    let due: Vec<u64> = plans.filter(|(_, p)| has_come(p)).map(|(generation, _)| *generation).collect();
    for generation in due {
        if waits(look, found, generation, options) {
            break;
        }
        let needed = needed(look, found, generation, threads)?;
        let Some(plan) = found.history.log.plans().get(&generation) else { continue };
        let decided = finish(&plan.condemned, &needed, &found.pinned());
        let (resurrected, doomed) = (decided.resurrected, decided.doomed);
        let replaced = found.history.replaced.remove(&generation).unwrap_or_default();
        let names = forgotten(found, &found.snapshots, &replaced.expired);
        found.history.doomed_names.extend(names);
        add(found, Step::Finish { of: generation, resurrected, doomed, buried: vec![] })?;
    }
    Ok(())
}

/// Whether a finish of a plan would wait; if not, those in its way are given up.
fn waits(look: &Looking<'_>, found: &mut Survey, generation: u64, options: &PruneOptions) -> bool {
    let Some(plan) = found.history.log.plans().get(&generation) else { return false };
    let (who, given_up) = in_the_way(look, &found.sessions, (generation, plan), options);
    if given_up {
        found.sessions.open.retain(|s| !who.contains(&s.open.session));
    }
    !given_up
}

/// A plan, and with `--now` its finish unless it has to wait.
fn condemn(look: &Looking<'_>, found: &mut Survey, decision: Decision, options: &PruneOptions) -> Result<()> {
    let repacked = decision.repack.iter().map(|n| name_of(found.index.pack(*n)));
    let condemned: Vec<PackName> = decision.dead.iter().copied().chain(repacked).collect();
    if condemned.is_empty() {
        return Ok(());
    }
    let live = found.foreign().collect();
    add(found, Step::Plan(Plan { condemned: condemned.iter().copied().collect(), live, time: look.time }))?;
    let generation = found.history.log.generation();
    if !options.now || waits(look, found, generation, options) {
        return Ok(());
    }
    add(found, Step::Finish { of: generation, resurrected: vec![], doomed: condemned, buried: vec![] })
}

fn add(found: &mut Survey, step: Step<PackName, SessionId>) -> Result<()> {
    let log = &mut found.history.log;
    log.add(log.generation() + 1, step).map_err(|e| Error::new(ErrorKind::Bug, e.to_string()))
}
