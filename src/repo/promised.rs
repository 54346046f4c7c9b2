//! Places of chains at which a snapshot must stand or have been given up, by the word of others: of the closes
//! of sessions, and of the gc log. Nothing follows the newest one of a chain that could miss it.

use std::collections::{BTreeMap, HashSet};

use rayon::prelude::*;

use super::{History, Repository, locked};
use crate::error::{Error, ErrorKind, Result};
use crate::format::keys::Role;
use crate::format::records::{Close, CloseKind};
use crate::id::{ClientId, RecordId, SessionId};
use crate::model::Head;

/// Places, and what stood there.
pub type Places = BTreeMap<(ClientId, u64), RecordId>;

/// What closes said that were read before: what was committed once stays so.
#[derive(Default)]
pub struct Promised {
    read: HashSet<SessionId>,
    places: Places,
}

impl Repository {
    /// Places that held something before this was called. What is damaged of sessions promises nothing,
    /// and is told where small objects are checked.
    pub(super) fn promised(&self, history: &History) -> Result<Places> {
        self.promised_despite(history, |e| e.kind() != ErrorKind::Storage)
    }

    /// The same for whoever decides nothing by it: nor does what a disk cannot read.
    pub(super) fn promised_to_read(&self, history: &History) -> Result<Places> {
        self.promised_despite(history, |e| e.kind() != ErrorKind::Storage || e.is_from_the_disk())
    }

    fn promised_despite(&self, history: &History, pass: fn(&Error) -> bool) -> Result<Places> {
        let sessions = self.list_sessions()?;
        let unread: Vec<SessionId> = {
            let known = locked(&self.promised);
            // A close beside no first object may be that of whoever slept until its session was cleared away.
            let counts = sessions.iter().filter(|(id, s)| s.opened && s.closed && !history.buried(**id));
            counts.map(|(id, _)| *id).filter(|id| !known.read.contains(id)).collect()
        };
        let load = |id: &SessionId| match self.load_close(*id) {
            Err(e) if !pass(&e) => Err(e),
            Ok(Some(close)) => {
                self.note_promised(*id, &close);
                Ok(())
            }
            Ok(None) | Err(_) => Ok(()),
        };
        unread.par_iter().try_for_each(load)?;
        let mut out = locked(&self.promised).places.clone();
        out.extend(history.heads.values().map(|h| ((h.client, h.seq), h.id)));
        Ok(out)
    }

    /// Remember what a close says that was read beside its session's first object.
    pub(super) fn note_promised(&self, session: SessionId, close: &Close) {
        let heads = self.promised_by(close);
        let mut known = locked(&self.promised);
        known.read.insert(session);
        known.places.extend(heads.iter().map(|h| ((h.client, h.seq), h.id)));
    }

    /// What a close says that its author may say: clients speak of their own chains.
    fn promised_by(&self, close: &Close) -> Vec<Head> {
        if close.kind != CloseKind::End {
            return vec![];
        }
        let role = self.author(close.author, close.author_epoch).map(|c| c.role);
        let mut heads = close.places().unwrap_or_default();
        heads.retain(|h| h.client == close.author || matches!(role, Ok(Role::Owner)));
        heads
    }
}
