//! Verifying one small object at a time: is it what its name says, as far as this key can tell?

use super::{Repository, objects, open};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::format::armour;
use crate::format::codec::check_ext;
use crate::format::gc::{self, Payload, Record};
use crate::format::keys::{Keyring, Slot};
use crate::format::names::{self, prefix};
use crate::format::record::RecordType;
use crate::format::records::{Heartbeat, SessionOpen};
use crate::id::{RecordId, SessionId, SlotId};

/// How far an object could be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// All of it.
    Whole,
    /// Its armour had to mend something; what is inside is whole.
    Mended,
    /// As far as this key opens it.
    Outside,
    /// It is nothing that this version verifies here.
    Unknown,
}

impl Repository {
    /// What a small object says once it is opened and verified, as text for people; secrets are not
    /// shown. `None` for objects that this version opens elsewhere, or that this key does not open.
    pub fn describe_object(&self, object: &str) -> Result<Option<String>> {
        let first = object.strip_prefix(prefix::COPY).unwrap_or(object);
        let verified = self.verify_object(object)?;
        if verified == Verified::Unknown || verified == Verified::Outside {
            return Ok(None);
        }
        let kind = first.split('/').next().unwrap_or_default();
        let content = objects::get(self.storage.as_ref(), object)?;
        Ok(match kind {
            "config" => {
                let n = first.rsplit('/').next().and_then(|n| u32::from_str_radix(n, 16).ok()).unwrap_or(0);
                Some(format!("{:#?}", open::parse_config(&content, &self.keyring, n)?.0))
            }
            "clients" => Some(format!("{:#?}", self.load_client(first)?)),
            "snapshots" => {
                let s = self.parse_snapshot(first, &content)?;
                Some(format!("{:#?}\n{:#?}\n{:#?}", s.statement, s.body, s.commit))
            }
            "gc" => {
                let generation = names::parse_gc(first).ok_or_else(misnamed)?;
                let record = self.load_gc(generation)?;
                Some(decision(&record))
            }
            "state" => {
                let id =
                    RecordId::parse(first.strip_prefix(prefix::STATE).unwrap_or_default()).map_err(|_| misnamed())?;
                Some(format!("{:#?}", self.load_state(id)?))
            }
            "tombstones" => Some(decision(&self.open_decision::<gc::Tombstone>(first)?)),
            "notes" => Some(decision(&self.open_decision::<gc::Annotation>(first)?)),
            "times" => Some(decision(&self.open_decision::<gc::Times>(first)?)),
            "suspect" => Some(format!("{:#?}", self.load_suspect(first)?)),
            "sessions" => match first.rsplit('/').next() {
                Some("close") => {
                    let id = first.split('/').nth(1).and_then(|id| SessionId::parse(id).ok());
                    let close = id.map(|id| self.load_close(id)).transpose()?.flatten();
                    close.map(|close| format!("{close:#?}"))
                }
                Some("00000000") => {
                    Some(format!("{:#?}", self.open_record::<SessionOpen>(RecordType::SessionOpen, first)?.0))
                }
                _ => Some(format!("{:#?}", self.open_record::<Heartbeat>(RecordType::Heartbeat, first)?.0)),
            },
            _ => None,
        })
    }
}

fn decision<P: Payload<Clear: std::fmt::Debug> + std::fmt::Debug>(record: &Record<P>) -> String {
    format!("{:#?}\n{:#?}", record.clear, record.payload)
}

fn misnamed() -> Error {
    Error::new(ErrorKind::Damaged, "it is not what its name says")
}

impl Repository {
    /// Verify one object that stands in armour, or the second home of one.
    pub fn verify_object(&self, object: &str) -> Result<Verified> {
        self.verify(object).doing(|| format!("while reading {object}"))
    }

    fn verify(&self, object: &str) -> Result<Verified> {
        let first = object.strip_prefix(prefix::COPY).unwrap_or(object);
        if !prefix::ARMOURED.iter().any(|p| first.starts_with(p)) {
            return Ok(Verified::Unknown);
        }
        if names::is_beyond(object) {
            return Ok(Verified::Unknown);
        }
        let stored = self.storage.get(&objects::name(object)?, objects::STORED_MAX)?;
        let unwrapped = armour::unwrap(&stored)?;
        let found = match object.strip_prefix(prefix::COPY) {
            Some(first) => self.verify_copy(first, &unwrapped.content)?,
            None => self.verify_content(object, &unwrapped.content)?,
        };
        Ok(if unwrapped.mended && found == Verified::Whole { Verified::Mended } else { found })
    }

    /// A second home holds what the first one does.
    fn verify_copy(&self, first: &str, content: &[u8]) -> Result<Verified> {
        match objects::get(self.storage.as_ref(), first) {
            Ok(original) if original == content => Ok(Verified::Whole),
            Ok(_) => Err(Error::new(ErrorKind::Damaged, format!("it differs from {first}"))),
            // The first home is complained about under its own name.
            Err(_) => self.verify_content(first, content),
        }
    }

    fn verify_content(&self, object: &str, content: &[u8]) -> Result<Verified> {
        let (kind, rest) = object.split_once('/').ok_or_else(misnamed)?;
        match kind {
            "config" => {
                let n = u32::from_str_radix(rest, 16).map_err(|_| misnamed())?;
                open::parse_config(content, &self.keyring, n).map(|_| Verified::Whole)
            }
            "keys" => self.verify_slot(rest, content),
            "keyring" => self.verify_keyring(rest, content),
            "clients" => self.load_client(object).map(|_| Verified::Whole),
            "sessions" => self.verify_session(object, rest),
            "tombstones" => self.verify_tombstone(object).map(|()| Verified::Whole),
            "hollow" => self.load_hollow(object).map(|_| Verified::Whole),
            "notes" => self.verify_note(object).map(|()| Verified::Whole),
            "times" => self.load_times(object).map(|_| Verified::Whole),
            "gc" => {
                let generation = names::parse_gc(object).ok_or_else(misnamed)?;
                self.load_gc(generation).map(|_| Verified::Whole)
            }
            "state" => self.load_state(RecordId::parse(rest).map_err(|_| misnamed())?).map(|_| Verified::Whole),
            "suspect" => self.load_suspect(object).map(|_| Verified::Whole),
            _ => self.parse_snapshot(object, content).map(|_| Verified::Whole),
        }
    }

    fn verify_slot(&self, id: &str, content: &[u8]) -> Result<Verified> {
        let slot = Slot::parse(content)?;
        let header = &slot.header;
        if SlotId::parse(id).ok() != Some(header.id)
            || (header.domain, header.instance) != (self.domain(), self.instance())
        {
            return Err(misnamed());
        }
        let Some(owner) = &self.keyring.owner else { return Ok(Verified::Outside) };
        slot.open_escrow(&owner.escrow)?;
        Ok(Verified::Whole)
    }

    fn verify_keyring(&self, rest: &str, content: &[u8]) -> Result<Verified> {
        let Some(owner) = &self.keyring.owner else { return Ok(Verified::Outside) };
        let (id, n) = rest.split_once('/').ok_or_else(misnamed)?;
        let id = SlotId::parse(id).map_err(|_| misnamed())?;
        let n = u32::from_str_radix(n, 16).map_err(|_| misnamed())?;
        let slot = match objects::get_either(self.storage.as_ref(), &names::slot(id)) {
            Ok(bytes) => Slot::parse(&bytes)?,
            // A slot that was made or removed half: its keyring opens nothing.
            Err(e) if e.kind() == ErrorKind::Missing => return Ok(Verified::Outside),
            Err(e) => return Err(e),
        };
        let secret = slot.open_escrow(&owner.escrow)?;
        Keyring::open(content, &slot.header, n, &secret.seed)?;
        Ok(Verified::Whole)
    }

    fn verify_session(&self, object: &str, rest: &str) -> Result<Verified> {
        let (id, n) = rest.split_once('/').ok_or_else(misnamed)?;
        let id = SessionId::parse(id).map_err(|_| misnamed())?;
        if n == "close" {
            // Cleared away since it was listed.
            let Some(close) = self.load_close(id)? else { return Ok(Verified::Outside) };
            return if close.session == id { Ok(Verified::Whole) } else { Err(misnamed()) };
        }
        let (opening, opened) = match self.open_record::<SessionOpen>(RecordType::SessionOpen, &names::session(id, 0)) {
            Ok(found) => found,
            Err(e) if n == "00000000" => return Err(e),
            // A session is cleared away from its first object on.
            Err(e) if e.kind() == ErrorKind::Missing => return Ok(Verified::Outside),
            Err(e) => {
                return Err(Error::new(ErrorKind::Damaged, "the beginning of its session cannot be read").because(e));
            }
        };
        let key = self.author(opening.client, opening.client_epoch)?.key;
        if n == "00000000" {
            check_ext("session", &opening.ext, &[])?;
            opened.verify(&key)?;
            return if opening.session == id { Ok(Verified::Whole) } else { Err(misnamed()) };
        }
        let (beat, opened) = self.open_record::<Heartbeat>(RecordType::Heartbeat, object)?;
        check_ext("heartbeat", &beat.ext, &[])?;
        opened.verify(&key)?;
        if names::session(beat.session, beat.n) == object { Ok(Verified::Whole) } else { Err(misnamed()) }
    }
}
