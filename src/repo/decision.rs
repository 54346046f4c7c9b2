//! Records that somebody decided something: reading and writing them.

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::{Identity, Repository, objects};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::format::gc::{self, Found, Payload, Record};
use crate::id::RecordId;
use crate::storage::{Listed, Put};
use crate::sys;

impl Repository {
    /// Open one of those records; whose signature it needs is only known then.
    pub(super) fn open_decision<P: Payload>(&self, object: &str) -> Result<Record<P>> {
        let open = || -> Result<Record<P>> {
            let bytes = objects::get(self.storage.as_ref(), object)?;
            let found = Found { domain: self.domain(), instance: self.instance(), name: object };
            Ok(gc::open(&bytes, found, &|e| self.index_secret(e))?)
        };
        open().doing(|| format!("while reading {object}"))
    }

    /// Load records that were listed, side by side. Those that cannot be read are told to `trouble`;
    /// those that were cleared away since they were listed are left out in silence.
    pub(super) fn load_listed<T: Send>(
        &self,
        listed: &[Listed],
        trouble: &(dyn Fn(&str, Error) + Sync),
        load: impl Fn(&str) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let one = |object: &str| match load(object) {
            Ok(found) => Ok(Some(found)),
            Err(e) if e.kind() == ErrorKind::Storage => Err(e),
            Err(e) if e.kind() == ErrorKind::Missing => Ok(None),
            Err(e) => {
                trouble(object, e);
                Ok(None)
            }
        };
        let found: Result<Vec<_>> = listed.par_iter().map(|l| one(l.name.as_str())).collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// Write one of those records; gives its id, and whether the name was free.
    pub(super) fn put_decision<P: Payload>(
        &self,
        who: &Identity,
        payload: &P,
        clear: &P::Clear,
    ) -> Result<(RecordId, Put)> {
        let secret = self.need(self.index_secret(self.epoch()), "write what was decided")?;
        let with = gc::Sealing {
            domain: self.domain(),
            instance: self.instance(),
            epoch: self.epoch(),
            secret: &secret,
            salt: sys::salt()?,
            signer: &who.signer,
        };
        let (bytes, name, id) = gc::seal(payload, clear, &with);
        // What nobody would accept is not written.
        let found = Found { domain: self.domain(), instance: self.instance(), name: &name };
        gc::open::<P>(&bytes, found, &|e| self.index_secret(e)).map_err(|e| {
            Error::new(ErrorKind::Bug, format!("what was to be written as {name} is against the format")).because(e)
        })?;
        let put = self.put_small(&name, &bytes)?;
        // A lost answer to our own request looks like somebody else's record.
        let own = put == Put::Exists && objects::get(self.storage.as_ref(), &name).is_ok_and(|found| found == bytes);
        Ok((id, if own { Put::Created } else { put }))
    }
}
