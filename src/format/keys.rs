//! Key slots and keyrings: the ways into a repository, and what each of them may know.
//!
//! A slot holds a random seed, sealed under what a person has (a password, a key file, recovery
//! words) and again for the owner, so that the owner can hand out new epochs without anybody's
//! password. A keyring holds the secrets of one role, sealed under a slot's seed. Bytes are in
//! `format-spec/20-keys.md`.

use super::bytes::Reader;
use super::codec::{check_ext, decode, encode};
use super::limits::RECORD_MAX;
use super::record::{self, Place, RecordType};
use super::{FormatError, limit, names};
use crate::crypto::{
    Argon2Params, CryptoError, PublicKey, Secret, SigningKey, equal, expand_committed, open_small, seal_small, stretch,
};
use crate::id::{ClientId, DomainId, InstanceId, SlotId};
use crate::model::{Ext, Time};

const MAGIC: &[u8; 8] = b"ORLPSLOT";
const VERSION: u16 = 1;
const WHAT: &str = "key slot";
const HEADER_LEN: usize = 104;

/// How a slot is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kdf {
    /// With 32 random bytes: a key file or recovery words.
    Raw,
    /// With a password.
    Argon2id(Argon2Params),
    /// With nothing: `--insecure-no-password`.
    Nothing,
}

/// What a person opens a slot with.
#[derive(Clone)]
pub enum Credential {
    /// A password.
    Password(zeroize::Zeroizing<Vec<u8>>),
    /// A key file's or the recovery words' 32 bytes.
    Raw(Secret),
    /// Nothing.
    Nothing,
}

/// What a slot's keyring lets its holder do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
#[repr(u8)]
pub enum Role {
    /// Everything.
    Owner = 1,
    /// Back up and restore under its own name; sign nothing else.
    Client = 2,
    /// Reserved: write only.
    Put = 3,
    /// Reserved: read only.
    Restore = 4,
    /// Reserved: collect garbage without reading files.
    Maintain = 5,
}

impl Role {
    /// From its number in a slot.
    pub fn from_u8(n: u8) -> Option<Self> {
        [Self::Owner, Self::Client, Self::Put, Self::Restore, Self::Maintain].into_iter().find(|r| *r as u8 == n)
    }
    /// As people say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Client => "client",
            Self::Put => "put",
            Self::Restore => "restore",
            Self::Maintain => "maintain",
        }
    }
}

/// The clear part of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotHeader {
    /// How it is opened.
    pub kdf: Kdf,
    /// What it is for.
    pub role: Role,
    /// Its id.
    pub id: SlotId,
    /// Its domain.
    pub domain: DomainId,
    /// Its repository.
    pub instance: InstanceId,
    /// Fresh for every slot.
    pub salt: [u8; 32],
}

/// The sealed part of a slot.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct SlotSecret {
    /// Opens the slot's keyrings.
    pub seed: Secret,
    /// For people: "laptop", "recovery".
    pub label: String,
    /// User who made it.
    pub username: String,
    /// Host it was made on.
    pub hostname: String,
    /// When.
    pub created: Time,
    /// Extensions.
    pub ext: Vec<Ext>,
}

impl SlotHeader {
    fn encode(&self) -> [u8; HEADER_LEN] {
        let (kdf, params) = match self.kdf {
            Kdf::Raw => (0, None),
            Kdf::Argon2id(p) => (1, Some(p)),
            Kdf::Nothing => (2, None),
        };
        let params = params.map_or([0; 3], |p| [p.m_kib, p.t, p.p]);
        let mut h = [0; HEADER_LEN];
        h[..8].copy_from_slice(MAGIC);
        h[8..10].copy_from_slice(&VERSION.to_le_bytes());
        h[10] = kdf;
        h[11] = self.role as u8;
        for (at, n) in h[12..24].chunks_exact_mut(4).zip(params) {
            at.copy_from_slice(&n.to_le_bytes());
        }
        h[24..40].copy_from_slice(self.id.as_bytes());
        h[40..56].copy_from_slice(self.domain.as_bytes());
        h[56..72].copy_from_slice(self.instance.as_bytes());
        h[72..104].copy_from_slice(&self.salt);
        h
    }

    /// Key and commitment for a credential; `None` if it is of another kind.
    fn key(&self, credential: &Credential) -> Result<Option<(Secret, [u8; 32])>, CryptoError> {
        let base = match (self.kdf, credential) {
            (Kdf::Argon2id(params), Credential::Password(p)) => stretch(p, &self.salt, params)?,
            (Kdf::Raw, Credential::Raw(secret)) => secret.clone(),
            (Kdf::Nothing, Credential::Nothing) => Secret::new([0; 32]),
            _ => return Ok(None),
        };
        Ok(Some(expand_committed(&base, &[b"orlop v1 slot", &self.encode()])))
    }

    /// What trying a credential costs: memory times passes, and nothing where none are needed.
    pub fn cost(&self, credential: &Credential) -> u64 {
        match (self.kdf, credential) {
            (Kdf::Argon2id(p), Credential::Password(_)) => u64::from(p.m_kib) * u64::from(p.t),
            _ => 0,
        }
    }

    fn escrow_place<'a>(&self, name: &'a str) -> Place<'a> {
        Place { domain: self.domain, instance: self.instance, name }
    }

    /// A slot's bytes, before armour. `escrow` is the owner's secret for keeping seeds.
    pub fn seal(
        &self,
        credential: &Credential,
        secret: &SlotSecret,
        escrow: &Secret,
        escrow_salt: [u8; 32],
    ) -> Result<Vec<u8>, FormatError> {
        let name = names::slot(self.id);
        let (kept, _) = record::Sealing {
            kind: RecordType::SlotEscrow,
            place: self.escrow_place(&name),
            epoch: 0,
            secret: escrow,
            salt: escrow_salt,
            signer: None,
            clear: &[],
        }
        .seal(&encode(secret));
        self.seal_beside(credential, secret, &kept)
    }

    /// The same with an escrow that is sealed already.
    fn seal_beside(&self, credential: &Credential, secret: &SlotSecret, kept: &[u8]) -> Result<Vec<u8>, FormatError> {
        let mismatch = FormatError::invalid(WHAT, "the credential is of another kind");
        let (key, commitment) =
            self.key(credential).map_err(|why| FormatError::Crypto { what: WHAT, why })?.ok_or(mismatch)?;
        let mut out = self.encode().to_vec();
        out.extend_from_slice(&commitment);
        let sealed = seal_small(&key, &out, &encode(secret));
        out.extend_from_slice(&(sealed.len() as u32).to_le_bytes());
        out.extend_from_slice(&(kept.len() as u32).to_le_bytes());
        out.extend_from_slice(&sealed);
        out.extend_from_slice(kept);
        Ok(out)
    }
}

/// A slot taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its clear part.
    pub header: SlotHeader,
    commitment: [u8; 32],
    sealed: Vec<u8>,
    escrow: Vec<u8>,
}

impl Slot {
    /// Take a slot apart.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut r = Reader::new(WHAT, bytes);
        r.magic(MAGIC)?;
        r.version(VERSION)?;
        let (kdf, role) = (r.u8()?, r.u8()?);
        let params = Argon2Params { m_kib: r.u32()?, t: r.u32()?, p: r.u32()? };
        let no_params = params == Argon2Params { m_kib: 0, t: 0, p: 0 };
        let kdf = match kdf {
            0 if no_params => Kdf::Raw,
            1 if params.in_bounds() => Kdf::Argon2id(params),
            1 => return Err(FormatError::Crypto { what: WHAT, why: CryptoError::Argon2 }),
            2 if no_params => Kdf::Nothing,
            _ => return Err(FormatError::invalid(WHAT, "unknown way to open it")),
        };
        let header = SlotHeader {
            kdf,
            role: Role::from_u8(role).ok_or(FormatError::invalid(WHAT, "unknown role"))?,
            id: SlotId(r.array()?),
            domain: DomainId(r.array()?),
            instance: InstanceId(r.array()?),
            salt: r.array()?,
        };
        let commitment = r.array()?;
        let (sealed_len, escrow_len) = (r.u32()? as usize, r.u32()? as usize);
        limit("sealed part of a key slot", sealed_len as u64, RECORD_MAX as u64)?;
        limit("escrow of a key slot", escrow_len as u64, RECORD_MAX as u64)?;
        let slot = Self { header, commitment, sealed: r.take(sealed_len)?.into(), escrow: r.take(escrow_len)?.into() };
        r.end()?;
        Ok(slot)
    }

    /// Try a credential: `None` if it is not this slot's.
    pub fn open(&self, credential: &Credential) -> Result<Option<SlotSecret>, FormatError> {
        let crypto = |why| FormatError::Crypto { what: WHAT, why };
        let Some((key, commitment)) = self.header.key(credential).map_err(crypto)? else { return Ok(None) };
        if !equal(&commitment, &self.commitment) {
            return Ok(None);
        }
        let mut aad = self.header.encode().to_vec();
        aad.extend_from_slice(&self.commitment);
        let plain = zeroize::Zeroizing::new(open_small(&key, &aad, &self.sealed).map_err(crypto)?);
        let secret: SlotSecret = decode(WHAT, &plain)?;
        check_ext(WHAT, &secret.ext, &[])?;
        Ok(Some(secret))
    }

    /// The same slot for another credential; the owner's part stays as it is, so that this needs
    /// no right but to have opened it.
    pub fn reseal(
        &self,
        header: &SlotHeader,
        credential: &Credential,
        secret: &SlotSecret,
    ) -> Result<Vec<u8>, FormatError> {
        header.seal_beside(credential, secret, &self.escrow)
    }

    /// Open it as the owner.
    pub fn open_escrow(&self, escrow: &Secret) -> Result<SlotSecret, FormatError> {
        let name = names::slot(self.header.id);
        let place = self.header.escrow_place(&name);
        let opened = record::parse(RecordType::SlotEscrow, &self.escrow)?.open(escrow, &place)?;
        let secret: SlotSecret = decode(WHAT, &opened.payload)?;
        check_ext(WHAT, &secret.ext, &[])?;
        Ok(secret)
    }
}

/// The secrets of one epoch; a role that may not know one has `None` there.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Epoch {
    /// Its number, from 1.
    pub n: u32,
    /// Seals data packs.
    pub data: Option<Secret>,
    /// Seals tree packs.
    pub tree: Option<Secret>,
    /// Seals tables, segments and most records.
    pub index: Option<Secret>,
    /// Seals what snapshots say to people.
    pub record: Option<Secret>,
}

/// An enrolled client's own key.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ClientKey {
    /// Its id.
    pub id: ClientId,
    /// Its name.
    pub name: String,
    /// Epoch of the `client_root` the seed comes from.
    pub epoch: u32,
    /// Seed of its signing key.
    pub seed: Secret,
}

/// What only the owner knows.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Owner {
    /// Seed of the key that signs configuration, clients and decisions. Derives from nothing.
    pub admin_seed: Secret,
    /// Where clients' seeds come from, by epoch.
    pub client_roots: Vec<(u32, Secret)>,
    /// Keeps the seeds of all slots.
    pub escrow: Secret,
}

/// Everything one role may know.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Keyring {
    /// Whose.
    pub role: Role,
    /// Its domain.
    pub domain: DomainId,
    /// Its repository.
    pub instance: InstanceId,
    /// Names blobs; shared by the domain, never changed.
    pub id_secret: Secret,
    /// Cuts chunks; shared by the domain, never changed.
    pub chunk_secret: Secret,
    /// Ascending by number; the last is in use.
    pub epochs: Vec<Epoch>,
    /// Verifies what the owner signs.
    pub admin: PublicKey,
    /// For the role `client`.
    pub client: Option<ClientKey>,
    /// For the role `owner`.
    pub owner: Option<Owner>,
    /// Extensions.
    pub ext: Vec<Ext>,
}

impl Keyring {
    /// As a record, before armour.
    pub fn seal(&self, slot: SlotId, n: u32, seed: &Secret, salt: [u8; 32], admin: &SigningKey) -> Vec<u8> {
        let name = names::keyring(slot, n);
        record::Sealing {
            kind: RecordType::Keyring,
            place: Place { domain: self.domain, instance: self.instance, name: &name },
            epoch: 0,
            secret: seed,
            salt,
            signer: Some(admin),
            clear: &[],
        }
        .seal(&encode(self))
        .0
    }

    /// From a record.
    pub fn open(bytes: &[u8], header: &SlotHeader, n: u32, seed: &Secret) -> Result<Self, FormatError> {
        let what = RecordType::Keyring.what();
        let name = names::keyring(header.id, n);
        let place = Place { domain: header.domain, instance: header.instance, name: &name };
        let opened = record::parse(RecordType::Keyring, bytes)?.open(seed, &place)?;
        let ring: Self = decode(what, &opened.payload)?;
        opened.verify(&ring.admin)?;
        check_ext(what, &ring.ext, &[])?;
        let fits = ring.role == header.role && ring.domain == header.domain && ring.instance == header.instance;
        let ascending = !ring.epochs.is_empty() && ring.epochs.is_sorted_by(|a, b| a.n < b.n);
        if fits && ascending { Ok(ring) } else { Err(FormatError::invalid(what, "it does not fit its slot")) }
    }
}
