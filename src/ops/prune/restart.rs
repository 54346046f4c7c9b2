//! Going on behind a record of the log that is lost.

use std::collections::{BTreeSet, HashMap};

use super::mark::{Marker, Marks};
use super::survey::{Looking, Survey, survey, wait};
use super::{finish, plan, tell_fenced};
use crate::collect::{Closed, Live};
use crate::error::{Error, ErrorKind, Result};
use crate::format::gc::{Lost, PackName};
use crate::format::records::Purpose;
use crate::repo::{AfterLoss, Identity, OpenSession, Reader, Repeating, Snapshot, Validity};

/// Say anew all that is known, and condemn all that nobody needs: the lost record may have condemned it,
/// and those who have read that go by it still.
pub fn restart(look: &Looking<'_>, who: &Identity, lost: Lost, fence: bool, threads: usize) -> Result<()> {
    end_others(look, who, fence)?;
    look.repo.delete_doomed(&look.session.history())?;
    let mut found = survey(look)?;
    doubt(look, &mut found, threads)?;
    let marks = found.mark(look, None, threads)?;
    let condemned = unneeded(&found, &found.live(&marks));
    wait(look.repo.storage().staleness());
    let confirmed = finish::confirmed(&found.snapshots, &found.passed_over(), &found.history);
    let heads = plan::heads(&found.history, &found.snapshots);
    let after = AfterLoss { lost, condemned, live: found.foreign().collect() };
    // What the storage would not delete stays what it is.
    let doomed = look.repo.doomed_names_there(&found.history)?.into_iter().collect();
    let mut history = found.history.clone();
    let said = Repeating { confirmed, heads, doomed, time: look.clock(&history)?, after: Some(after) };
    if !look.repo.repeat(who, look.session, &mut history, &found.tombstones, said)? {
        let what = "somebody else wrote to the gc log meanwhile";
        return Err(Error::new(ErrorKind::Storage, what).hint("nothing was lost: run the same command again"));
    }
    look.session.go_by(history);
    Ok(())
}

/// Whoever collects still may have read the lost record, and act upon it: only this one may be at work.
fn end_others(look: &Looking<'_>, who: &Identity, fence: bool) -> Result<()> {
    let sessions = look.repo.sessions()?;
    let collects = |s: &&OpenSession| s.open.purpose == Purpose::Gc && s.open.session != look.session.id;
    for s in sessions.open.iter().filter(collects) {
        if !s.dead && !fence {
            let what = format!("another prune is at work on {} ({})", s.open.hostname, s.open.pid);
            return Err(Error::new(ErrorKind::Forbidden, what)
                .hint("it may have read the record that is lost: wait until it has ended")
                .hint("if it is certain that it does not run any more, add --fence; it gives up other sessions, too"));
        }
        look.repo.fence(who, s.open.session, 0)?;
        if !s.dead {
            tell_fenced(look.cx, s);
            wait(2 * look.repo.storage().staleness());
        }
    }
    Ok(())
}

/// Of snapshots whose session is not there any more, a lost record may have confirmed some, and others came
/// late: those count that are whole.
fn doubt(look: &Looking<'_>, found: &mut Survey, threads: usize) -> Result<()> {
    let standing = found.standings(None);
    let reader = Reader::new(look.repo, &found.index);
    let (mut late, mut marks) = (BTreeSet::new(), Marks::new(&found.index));
    for s in found.snapshots.iter().filter(|s| !s.hollow && s.validity == Validity::Confirmed) {
        let told = s.closed == Some(Closed::Naming);
        let Some(root) = s.statement.root else { continue };
        if told || found.history.confirms(s.statement.client, s.statement.seq) {
            continue;
        }
        // What was walked for one that is whole is not walked again.
        let marker =
            Marker { cx: look.cx, reader: &reader, standing: &standing, marks: &marks, tolerant: false, found: None };
        match marker.root(root, threads) {
            Err(e) if matches!(e.kind(), ErrorKind::Missing | ErrorKind::Damaged) => {
                late.insert(s.id);
                marks = Marks::new(&found.index);
            }
            other => other?,
        }
    }
    let late = |s: &&mut Snapshot| late.contains(&s.id);
    found.snapshots.iter_mut().filter(late).for_each(|s| s.validity = Validity::Late);
    Ok(())
}

/// Packs that are there without being needed, and those that were condemned.
fn unneeded(found: &Survey, live: &HashMap<PackName, Live>) -> BTreeSet<PackName> {
    let goes = |name: &PackName| {
        let facts = found.facts(name, None, None);
        // Whoever made it may be about to say in a segment what is in it.
        let free = !facts.foreign && (live.contains_key(name) || found.damaged_segments == 0);
        found.history.log.condemns(name) || (free && live.get(name).is_none_or(|l| *l == Live::None))
    };
    found.packs.keys().filter(|name| goes(name)).copied().collect()
}
