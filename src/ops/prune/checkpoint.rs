//! Saying the log again in one record, so that it and what it explains do not grow for ever.

use std::collections::BTreeSet;

use super::survey::{Looking, packs_there, passed_over, snapshots, wait};
use super::{PruneOptions, finish, plan};
use crate::collect::may_repeat;
use crate::error::Result;
use crate::repo::{History, Identity, Notes, Repeating};

/// Words that one checkpoint deletes.
const OVER_MAX: usize = 2000;

/// Clear away what is behind the newest checkpoint, and write another if it is time; whether one was
/// written.
pub fn checkpoint(look: &Looking<'_>, who: &Identity, options: &PruneOptions) -> Result<bool> {
    let mut history = look.session.history();
    let grace = options.grace.max(2 * look.repo.storage().staleness()).as_secs() as i64;
    let old = history.checkpoint.as_ref().is_none_or(|c| look.time.saturating_sub(c.time) >= grace);
    let rest = look.repo.rest(&history)?;
    let most = rest.records.max(rest.tombstones).max(rest.sessions);
    // One that was not cleared behind yet is not left behind: what it explains is there still.
    let refused = match old && rest.older > 0 {
        true => look.repo.clear_behind_checkpoint(&history)?.refused,
        false => 0,
    };
    if !old || most.max(rest.notes) < options.checkpoint_after {
        return Ok(false);
    }
    // Words are listed before what they are about.
    let notes = if rest.notes >= options.checkpoint_after { look.repo.notes(&|_, _| {})? } else { Notes::default() };
    // Nothing may be open, or be there that is doomed (K1).
    let packs: BTreeSet<_> = packs_there(look.repo)?.into_keys().collect();
    if refused > 0 || !may_repeat(&history.log, &packs) || look.repo.doomed_left(&history)? {
        return Ok(false);
    }
    let sessions = look.repo.sessions()?;
    wait(look.repo.storage().staleness());
    let (snapshots, tombstones) = snapshots(look.repo, &history)?;
    let confirmed = finish::confirmed(&snapshots, &passed_over(&snapshots, &sessions), &history);
    let over = notes.superseded(&snapshots);
    if most.max(over.len() as u64) < options.checkpoint_after {
        return Ok(false);
    }
    let mut doomed = finish::burials(look.repo, &sessions, &snapshots, &confirmed);
    doomed.extend(over.into_iter().take(OVER_MAX));
    let heads = plan::heads(&history, &snapshots);
    let said = Repeating { heads, confirmed, doomed, time: look.clock(&history)?, after: None };
    let done = look.repo.repeat(who, look.session, &mut history, &tombstones, said)?;
    look.session.go_by(history);
    Ok(done)
}

/// Whether so much was said since the newest checkpoint that no new plan is made before the open ones
/// are finished.
pub fn crowded(history: &History, options: &PruneOptions) -> bool {
    let begin = history.checkpoint.as_ref().map_or(0, |c| c.generation);
    !history.log.plans().is_empty() && history.log.generation() - begin >= 4 * options.checkpoint_after
}
