//! What a mirror takes over beside snapshots: who signs, what was said about snapshots, and which
//! places of chains were given up.

use super::{Identity, Repository, objects};
use crate::error::{Error, ErrorKind, Result};
use crate::format::gc::{About, Annotation, Reason};
use crate::format::names::prefix;
use crate::format::records::Client;
use crate::id::{ClientId, RecordId};
use crate::storage::Put;

impl Repository {
    /// Enrol a client of a mirror here, as it is there.
    pub fn enroll_like(&mut self, client: &Client) -> Result<()> {
        if let Some(known) = self.client_key(client.id, client.epoch) {
            if known.key == client.key {
                return Ok(());
            }
            let what = format!("the client {:?} has another key here than in the mirror", client.name);
            return Err(Error::new(ErrorKind::Substituted, what));
        }
        let owner = self.need(self.keyring.owner.clone(), "enrol clients")?;
        self.enroll(client.id, &client.name, client.epoch, client.key, client.role, &owner.admin_seed)
    }

    /// Take over what was said about snapshots of a mirror, signatures included; gives how many
    /// annotations are new here. Policies are about one repository and stay there.
    pub fn take_notes(&self, from: &Self, trouble: &(dyn Fn(&str, Error) + Sync)) -> Result<u64> {
        let here = self.storage.list(prefix::NOTES)?;
        let there = from.storage.list(prefix::NOTES)?;
        let is_new = |l: &&crate::storage::Listed| here.binary_search_by(|h| h.name.cmp(&l.name)).is_err();
        let mut new = 0;
        for listed in there.iter().filter(is_new) {
            let object = listed.name.as_str();
            match from.open_decision::<Annotation>(object) {
                Ok(record) if matches!(record.payload.about, About::Snapshot(_)) => {
                    let content = objects::get(from.storage.as_ref(), object)?;
                    new += u64::from(self.put_small(object, &content)? == Put::Created);
                }
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Missing => {}
                Err(e) if e.kind() == ErrorKind::Storage => return Err(e),
                Err(e) => trouble(object, e),
            }
        }
        Ok(new)
    }

    /// Say that a place in a chain, which never held anything here, was given up where it comes from.
    pub fn give_up(&self, who: &Identity, (client, seq): (ClientId, u64), target: Option<RecordId>) -> Result<()> {
        self.need(self.keyring.owner.as_ref(), "give up places of a chain")?;
        let reason = if target.is_some() { Reason::Forget } else { Reason::Lost };
        let now = self.storage_time()?;
        self.put_tombstone(who, (client, seq), target, reason, now).map(drop)
    }
}
