//! The envelope of every small record: sealed under a key of its own, signed, bound to its name.
//!
//! ```text
//! header 96 | clear part | sealed( u32 length | payload | u8 signed | 64 signature )
//! ```
//! Layout and key are in `format-spec/30-record.md`.

use super::{FormatError, bytes::Reader, limit, limits::RECORD_MAX};
use crate::crypto::{
    CryptoError, PublicKey, SIGNATURE_LEN, Secret, SigningKey, equal, expand_committed, open_small, seal_small,
};
use crate::id::{DomainId, InstanceId, RecordId};

const MAGIC: &[u8; 8] = b"ORLPREC1";
const VERSION: u16 = 1;
/// Length of the envelope's header.
pub const HEADER_LEN: usize = 96;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs, reason = "each is a section of format-spec/30-record.md")]
pub enum RecordType {
    Config = 1,
    Client = 2,
    Statement = 3,
    Body = 4,
    Commit = 5,
    SessionOpen = 6,
    Heartbeat = 7,
    Close = 8,
    Gc = 9,
    Tombstone = 10,
    Suspect = 11,
    Annotation = 12,
    Catalogue = 13,
    SegmentHead = 14,
    Hollow = 15,
    State = 16,
    Keyring = 17,
    SlotEscrow = 18,
    Times = 19,
}

impl RecordType {
    /// For errors.
    pub fn what(self) -> &'static str {
        match self {
            Self::Config => "config record",
            Self::Client => "client record",
            Self::Statement => "snapshot statement",
            Self::Body => "snapshot body",
            Self::Commit => "snapshot commit",
            Self::SessionOpen => "session record",
            Self::Heartbeat => "heartbeat",
            Self::Close => "session close",
            Self::Gc => "gc record",
            Self::Tombstone => "tombstone",
            Self::Suspect => "suspect record",
            Self::Annotation => "annotation",
            Self::Catalogue => "catalogue",
            Self::SegmentHead => "head of an index segment",
            Self::Hollow => "hollow mark",
            Self::State => "gc state",
            Self::Keyring => "keyring",
            Self::SlotEscrow => "escrow of a key slot",
            Self::Times => "receive times",
        }
    }
}

/// Where a record belongs: bound into its key, so that no record opens in another's place.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its domain.
    pub domain: DomainId,
    /// Its repository; zero for portable records.
    pub instance: InstanceId,
    /// Its object name, or the fixed name of a part.
    pub name: &'a str,
}

/// An opened record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What anyone may read.
    pub clear: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
    /// The signature, if there is one.
    pub signature: Option<[u8; SIGNATURE_LEN]>,
    /// Its id: BLAKE3 over what is signed, and the signature.
    pub id: RecordId,
    kind: RecordType,
    message: Vec<u8>,
}

impl Opened {
    /// A record whose signed payload is known without its seal.
    pub(super) fn of_signed(
        kind: RecordType,
        place: &Place<'_>,
        payload: &[u8],
        signature: [u8; SIGNATURE_LEN],
    ) -> Self {
        let message = signed_message(kind, place, &[], payload);
        let id = record_id(&message, Some(&signature));
        Self { clear: vec![], payload: payload.to_vec(), signature: Some(signature), id, kind, message }
    }

    /// Check the signature.
    pub fn verify(&self, key: &PublicKey) -> Result<(), FormatError> {
        let what = self.kind.what();
        let signature = self.signature.ok_or(FormatError::Crypto { what, why: CryptoError::Signature })?;
        key.verify(&self.message, &signature).map_err(|why| FormatError::Crypto { what, why })
    }
}

/// What a signature covers: the place too, so that whoever can seal cannot move what another signed.
pub(super) fn signed_message(kind: RecordType, place: &Place<'_>, clear: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut m = Vec::with_capacity(clear.len() + payload.len() + place.name.len() + 64);
    m.extend_from_slice(b"orlop v1 record");
    m.extend_from_slice(&(kind as u16).to_le_bytes());
    m.extend_from_slice(place.domain.as_bytes());
    m.extend_from_slice(place.instance.as_bytes());
    m.extend_from_slice(&(place.name.len() as u16).to_le_bytes());
    m.extend_from_slice(place.name.as_bytes());
    m.extend_from_slice(&(clear.len() as u32).to_le_bytes());
    m.extend_from_slice(clear);
    m.extend_from_slice(payload);
    m
}

fn record_id(message: &[u8], signature: Option<&[u8; SIGNATURE_LEN]>) -> RecordId {
    let mut h = blake3::Hasher::new();
    h.update(message);
    if let Some(s) = signature {
        h.update(s);
    }
    RecordId(*h.finalize().as_bytes())
}

/// Key and commitment of a record.
fn record_key(secret: &Secret, place: &Place<'_>, header: &[u8; 64]) -> (Secret, [u8; 32]) {
    expand_committed(
        secret,
        &[
            b"orlop v1 record",
            place.domain.as_bytes(),
            place.instance.as_bytes(),
            &(place.name.len() as u16).to_le_bytes(),
            place.name.as_bytes(),
            header,
        ],
    )
}

/// What goes into a record, beside its payload.
pub struct Sealing<'a> {
    /// What it is.
    pub kind: RecordType,
    /// Where it belongs.
    pub place: Place<'a>,
    /// Epoch of the secret.
    pub epoch: u32,
    /// The secret to seal under.
    pub secret: &'a Secret,
    /// Fresh for every record.
    pub salt: [u8; 32],
    /// Who signs, if anyone.
    pub signer: Option<&'a SigningKey>,
    /// What anyone may read.
    pub clear: &'a [u8],
}

impl Sealing<'_> {
    /// The record's bytes and id.
    pub fn seal(&self, payload: &[u8]) -> (Vec<u8>, RecordId) {
        let message = signed_message(self.kind, &self.place, self.clear, payload);
        let signature = self.signer.map(|s| s.sign(&message));
        let id = record_id(&message, signature.as_ref());
        let mut plain = Vec::with_capacity(payload.len() + 5 + SIGNATURE_LEN);
        plain.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        plain.extend_from_slice(payload);
        plain.push(u8::from(signature.is_some()));
        plain.extend_from_slice(&signature.unwrap_or([0; SIGNATURE_LEN]));

        let header = self.header(plain.len());
        let (key, commitment) = record_key(self.secret, &self.place, &header);
        let mut out = Vec::with_capacity(HEADER_LEN + self.clear.len() + plain.len() + 16);
        out.extend_from_slice(&header);
        out.extend_from_slice(&commitment);
        out.extend_from_slice(self.clear);
        let sealed = seal_small(&key, &out, &plain);
        out.extend_from_slice(&sealed);
        (out, id)
    }

    fn header(&self, plain_len: usize) -> [u8; 64] {
        let mut h = [0; 64];
        h[..8].copy_from_slice(MAGIC);
        h[8..10].copy_from_slice(&VERSION.to_le_bytes());
        h[10..12].copy_from_slice(&(self.kind as u16).to_le_bytes());
        h[12..16].copy_from_slice(&self.epoch.to_le_bytes());
        h[16..20].copy_from_slice(&(self.clear.len() as u32).to_le_bytes());
        h[20..24].copy_from_slice(&((plain_len + 16) as u32).to_le_bytes());
        h[32..64].copy_from_slice(&self.salt);
        h
    }
}

/// The parts of a record that need no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Epoch of the secret it is sealed under.
    pub epoch: u32,
    /// What anyone may read.
    pub clear: &'a [u8],
    header: [u8; 64],
    commitment: [u8; 32],
    aad: &'a [u8],
    sealed: &'a [u8],
    kind: RecordType,
}

/// Take an envelope apart.
pub fn parse(kind: RecordType, bytes: &[u8]) -> Result<Envelope<'_>, FormatError> {
    let what = kind.what();
    let mut r = Reader::new(what, bytes);
    r.magic(MAGIC)?;
    r.version(VERSION)?;
    if r.u16()? != kind as u16 {
        return Err(FormatError::invalid(what, "another kind of record stands in its place"));
    }
    let epoch = r.u32()?;
    let (clear_len, sealed_len) = (r.u32()? as usize, r.u32()? as usize);
    limit("clear part of a record", clear_len as u64, RECORD_MAX as u64)?;
    limit("sealed part of a record", sealed_len as u64, RECORD_MAX as u64)?;
    r.zeros(8)?;
    r.take(32)?;
    let commitment = r.array()?;
    let clear = r.take(clear_len)?;
    let sealed = r.take(sealed_len)?;
    r.end()?;
    let mut header = [0; 64];
    header.copy_from_slice(&bytes[..64]);
    Ok(Envelope { epoch, clear, header, commitment, aad: &bytes[..HEADER_LEN + clear_len], sealed, kind })
}

impl Envelope<'_> {
    /// Open it with the secret of its epoch.
    pub fn open(&self, secret: &Secret, place: &Place<'_>) -> Result<Opened, FormatError> {
        let what = self.kind.what();
        let crypto = |why| FormatError::Crypto { what, why };
        let (key, commitment) = record_key(secret, place, &self.header);
        if !equal(&commitment, &self.commitment) {
            return Err(crypto(CryptoError::Open));
        }
        let plain = open_small(&key, self.aad, self.sealed).map_err(crypto)?;
        let mut r = Reader::new(what, &plain);
        let len = r.u32()? as usize;
        let payload = r.take(len)?.to_vec();
        let signed = r.u8()?;
        let signature: [u8; SIGNATURE_LEN] = r.array()?;
        r.end()?;
        let signature = match signed {
            0 if signature == [0; SIGNATURE_LEN] => None,
            1 => Some(signature),
            _ => return Err(FormatError::invalid(what, "unknown kind of signature")),
        };
        let message = signed_message(self.kind, place, self.clear, &payload);
        let id = record_id(&message, signature.as_ref());
        Ok(Opened { clear: self.clear.to_vec(), payload, signature, id, kind: self.kind, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place { domain: DomainId([1; 16]), instance: InstanceId([2; 16]), name: "gc/1" };

    #[test]
    fn seals_opens_and_stays_in_its_place() {
        let secret = Secret::new([3; 32]);
        let signer = SigningKey::from_seed(&Secret::new([4; 32]));
        let sealing = Sealing {
            kind: RecordType::Gc,
            place: PLACE,
            epoch: 1,
            secret: &secret,
            salt: [5; 32],
            signer: Some(&signer),
            clear: b"clear",
        };
        let (bytes, id) = sealing.seal(b"payload");
        let opened = parse(RecordType::Gc, &bytes).unwrap().open(&secret, &PLACE).unwrap();
        assert_eq!((opened.id, &opened.payload[..], &opened.clear[..]), (id, &b"payload"[..], &b"clear"[..]));
        opened.verify(&signer.public()).unwrap();
        assert!(opened.verify(&SigningKey::from_seed(&secret).public()).is_err());

        // Somebody else who knows the secret seals the same words, with the same signature, elsewhere.
        let elsewhere = Place { name: "gc/2", ..PLACE };
        let moved =
            Opened { message: signed_message(RecordType::Gc, &elsewhere, b"clear", b"payload"), ..opened.clone() };
        assert!(moved.verify(&signer.public()).is_err());
        assert!(parse(RecordType::Gc, &bytes).unwrap().open(&secret, &elsewhere).is_err());
        assert!(parse(RecordType::Close, &bytes).is_err());
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 1;
            let opened = parse(RecordType::Gc, &bad).and_then(|e| e.open(&secret, &PLACE));
            assert!(opened.is_err(), "byte {i} may be changed");
        }
    }
}
