//! Suspects: packs that a check found damaged, written down so that the next backup does not build
//! upon them.

use super::{Identity, Repository};
use crate::error::{ErrorKind, Result};
use crate::format::gc::{Claim, Suspect};
use crate::format::names::prefix;
use crate::id::PackId;
use crate::sys;

impl Repository {
    /// Say that a pack is damaged.
    pub fn report_suspect(&self, who: &Identity, pack: PackId, claim: Claim) -> Result<()> {
        let suspect = Suspect {
            pack,
            claim,
            author: who.client,
            author_epoch: who.epoch,
            made: sys::now(),
            nonce: sys::random()?,
            ext: vec![],
        };
        self.put_decision(who, &suspect, &()).map(drop)
    }

    /// Packs that an enrolled client reported as damaged. What is no such report counts for nothing.
    pub fn suspects(&self) -> Result<Vec<PackId>> {
        let mut out: Vec<PackId> = self.suspicions()?.into_iter().map(|(_, pack)| pack).collect();
        out.sort_unstable();
        out.dedup();
        Ok(out)
    }

    /// Every such report, with the object it is in.
    pub fn suspicions(&self) -> Result<Vec<(String, PackId)>> {
        let mut out = Vec::new();
        for listed in self.storage.list(prefix::SUSPECT)? {
            let object = listed.name.as_str();
            let pack = match self.load_suspect(object) {
                Ok(pack) => Some(pack),
                // What cannot be read just now may be true: who relies on the pack looks at it, or does without.
                Err(e) if e.kind() == ErrorKind::Storage => pack_in(object),
                Err(_) => None,
            };
            out.extend(pack.map(|pack| (object.to_owned(), pack)));
        }
        Ok(out)
    }

    pub(super) fn load_suspect(&self, object: &str) -> Result<PackId> {
        let record = self.open_decision::<Suspect>(object)?;
        record.verify(&self.author(record.payload.author, record.payload.author_epoch)?.key)?;
        Ok(record.payload.pack)
    }
}

/// The pack that the name of a report tells.
fn pack_in(object: &str) -> Option<PackId> {
    PackId::parse(object.strip_prefix(prefix::SUSPECT)?.split_once('/')?.0).ok()
}
