//! What all records of [`super`] share: where they belong, sealing and opening, and the clear part
//! with a signature of its own.

use super::STATE_PLACE;
use crate::crypto::{CryptoError, PublicKey, SIGNATURE_LEN, Secret, SigningKey};
use crate::format::codec::{check_ext, decode, encode};
use crate::format::limits::RECORD_MAX;
use crate::format::record::{self, Opened, Place, RecordType};
use crate::format::{FormatError, limit};
use crate::id::{DomainId, InstanceId, RecordId};
use crate::model::Ext;

/// Where and under what a record is sealed.
pub struct Sealing<'a> {
    /// Its domain.
    pub domain: DomainId,
    /// Its repository.
    pub instance: InstanceId,
    /// Epoch of the index secret.
    pub epoch: u32,
    /// The index secret.
    pub secret: &'a Secret,
    /// Fresh for every record.
    pub salt: [u8; 32],
    /// Who says it.
    pub signer: &'a SigningKey,
}

/// Where a record was found.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Its domain.
    pub domain: DomainId,
    /// Its repository.
    pub instance: InstanceId,
    /// Its object name.
    pub name: &'a str,
}

/// What a record says, for all records of this module.
pub trait Payload: bincode::Encode + bincode::Decode<()> + Sized {
    /// Its kind.
    const KIND: RecordType;
    /// Valid in every mirror: bound to the domain, not to one repository.
    const PORTABLE: bool = false;
    /// What it says to anyone; `()` for nothing.
    type Clear: Clear;
    /// The name it is bound to.
    fn place(&self, clear: &Self::Clear) -> String;
    /// The object's name, where that is not the place.
    fn object(&self, clear: &Self::Clear, _id: RecordId) -> String {
        self.place(clear)
    }
    /// Its extensions.
    fn ext(&self) -> &[Ext];
    /// The rules of its own.
    fn check(&self, clear: &Self::Clear) -> Result<(), FormatError>;
}

/// The clear part of a record.
pub trait Clear: Sized {
    /// With its own signature; empty if there is nothing to say.
    fn seal(&self, kind: RecordType, place: &Place<'_>, signer: &SigningKey) -> Vec<u8>;
    /// Taken apart; the signature is still to be checked.
    fn open(kind: RecordType, bytes: &[u8]) -> Result<Self, FormatError>;
}

impl Clear for () {
    fn seal(&self, _: RecordType, _: &Place<'_>, _: &SigningKey) -> Vec<u8> {
        Vec::new()
    }
    fn open(kind: RecordType, bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.is_empty() { Ok(()) } else { Err(FormatError::invalid(kind.what(), "it has no clear part")) }
    }
}

/// What the signature of a clear part covers.
pub(super) fn clear_message(kind: RecordType, place: &Place<'_>, clear: &[u8]) -> Vec<u8> {
    let mut m = b"orlop v1 clear".to_vec();
    m.extend_from_slice(&(kind as u16).to_le_bytes());
    m.extend_from_slice(place.domain.as_bytes());
    m.extend_from_slice(place.instance.as_bytes());
    m.extend_from_slice(&(place.name.len() as u16).to_le_bytes());
    m.extend_from_slice(place.name.as_bytes());
    m.extend_from_slice(clear);
    m
}

pub(super) fn split_clear(kind: RecordType, bytes: &[u8]) -> Result<(&[u8], &[u8; SIGNATURE_LEN]), FormatError> {
    limit("clear part of a record", bytes.len() as u64, RECORD_MAX as u64)?;
    let none = FormatError::invalid(kind.what(), "its clear part is not signed");
    bytes.split_last_chunk::<SIGNATURE_LEN>().ok_or(none)
}

/// Check the signature of a clear part: all that a server without secrets can do, and all it needs.
pub fn verify_clear(kind: RecordType, place: &Place<'_>, clear: &[u8], key: &PublicKey) -> Result<(), FormatError> {
    let (said, signature) = split_clear(kind, clear)?;
    key.verify(&clear_message(kind, place, said), signature)
        .map_err(|why| FormatError::Crypto { what: kind.what(), why })
}

/// A record's bytes before armour, its object name, and its id.
pub fn seal<P: Payload>(payload: &P, clear: &P::Clear, with: &Sealing<'_>) -> (Vec<u8>, String, RecordId) {
    let name = payload.place(clear);
    let instance = if P::PORTABLE { InstanceId::ZERO } else { with.instance };
    let place = Place { domain: with.domain, instance, name: &name };
    let (bytes, id) = record::Sealing {
        kind: P::KIND,
        place,
        epoch: with.epoch,
        secret: with.secret,
        salt: with.salt,
        signer: Some(with.signer),
        clear: &clear.seal(P::KIND, &place, with.signer),
    }
    .seal(&encode(payload));
    (bytes, payload.object(clear, id), id)
}

/// A record of this module, opened. Signatures are still to be checked: only the payload says
/// whose they are.
#[derive(Debug, Clone)]
pub struct Record<P: Payload> {
    /// What it says.
    pub payload: P,
    /// What it says to anyone.
    pub clear: P::Clear,
    /// Its id.
    pub id: RecordId,
    place: String,
    domain: DomainId,
    instance: InstanceId,
    opened: Opened,
}

impl<P: Payload> Record<P> {
    /// Check the signature, and that of the clear part.
    pub fn verify(&self, key: &PublicKey) -> Result<(), FormatError> {
        self.opened.verify(key)?;
        if self.opened.clear.is_empty() {
            return Ok(());
        }
        let place = Place { domain: self.domain, instance: self.instance, name: &self.place };
        verify_clear(P::KIND, &place, &self.opened.clear, key)
    }
}

/// Open a record. `index` gives the index secret of an epoch.
pub fn open<P: Payload>(
    bytes: &[u8],
    at: Found<'_>,
    index: &dyn Fn(u32) -> Option<Secret>,
) -> Result<Record<P>, FormatError> {
    let what = P::KIND.what();
    let envelope = record::parse(P::KIND, bytes)?;
    let clear = P::Clear::open(P::KIND, envelope.clear)?;
    let secret =
        index(envelope.epoch).ok_or(FormatError::invalid(what, "it is of an epoch that this key does not open"))?;
    let instance = if P::PORTABLE { InstanceId::ZERO } else { at.instance };
    // State is found under its own id, which cannot be bound into itself; its place has a fixed name.
    let name = if P::KIND == RecordType::State { STATE_PLACE } else { at.name };
    let opened = envelope.open(&secret, &Place { domain: at.domain, instance, name })?;
    if opened.signature.is_none() {
        return Err(FormatError::Crypto { what, why: CryptoError::Signature });
    }
    let payload: P = decode(what, &opened.payload)?;
    check_ext(what, payload.ext(), &[])?;
    payload.check(&clear)?;
    if payload.object(&clear, opened.id) != at.name {
        return Err(FormatError::invalid(what, "it is not what its name says"));
    }
    Ok(Record { payload, clear, id: opened.id, place: name.into(), domain: at.domain, instance, opened })
}
