//! Snapshot objects: a portable statement, with a body sealed apart, and the local commit.
//!
//! ```text
//! armour( u32 statement length | statement record | commit record )
//! ```
//! `format-spec/70-snapshot.md` has the fields and what a reader must check.

use super::bytes::Reader;
use super::codec::{check_ext, decode, encode};
use super::record::{Opened, Place, RecordType, Sealing, parse};
use super::{FormatError, limit, limits, names};
use crate::crypto::{PublicKey, SIGNATURE_LEN, Secret, SigningKey};
use crate::id::{ClientId, DomainId, InstanceId, RecordId};
use crate::model::{Body, Commit, Statement};

/// The secrets a snapshot is sealed under, of one epoch.
pub struct Secrets<'a> {
    /// Their epoch.
    pub epoch: u32,
    /// For statement and commit.
    pub index: &'a Secret,
    /// For the body.
    pub record: &'a Secret,
}

fn statement_place(domain: DomainId, name: &str) -> Place<'_> {
    Place { domain, instance: InstanceId::ZERO, name }
}

/// Seal a body for the statement of this client and place in the chain.
pub fn seal_body(
    body: &Body,
    domain: DomainId,
    client: ClientId,
    seq: u64,
    with: &Secrets<'_>,
    salt: [u8; 32],
) -> Vec<u8> {
    let name = format!("{}/body", names::statement_place(client, seq));
    Sealing {
        kind: RecordType::Body,
        place: statement_place(domain, &name),
        epoch: with.epoch,
        secret: with.record,
        salt,
        signer: None,
        clear: &[],
    }
    .seal(&encode(body))
    .0
}

/// Seal a statement; gives its bytes and the snapshot's id.
pub fn seal_statement(s: &Statement, with: &Secrets<'_>, salt: [u8; 32], signer: &SigningKey) -> (Vec<u8>, RecordId) {
    let name = names::statement_place(s.client, s.seq);
    Sealing {
        kind: RecordType::Statement,
        place: statement_place(s.domain, &name),
        epoch: with.epoch,
        secret: with.index,
        salt,
        signer: Some(signer),
        clear: &[],
    }
    .seal(&encode(s))
}

/// The whole object, before armour.
pub fn seal_object(
    statement: &[u8],
    commit: &Commit,
    name: &str,
    domain: DomainId,
    with: &Secrets<'_>,
    salt: [u8; 32],
    signer: &SigningKey,
) -> Vec<u8> {
    let (commit, _) = Sealing {
        kind: RecordType::Commit,
        place: Place { domain, instance: commit.instance, name },
        epoch: with.epoch,
        secret: with.index,
        salt,
        signer: Some(signer),
        clear: &[],
    }
    .seal(&encode(commit));
    let mut out = (statement.len() as u32).to_le_bytes().to_vec();
    out.extend_from_slice(statement);
    out.extend_from_slice(&commit);
    out
}

/// A snapshot object, opened; signatures are still to be checked against the clients' records.
#[derive(Debug, Clone)]
pub struct OpenedSnapshot {
    /// The snapshot's id.
    pub id: RecordId,
    /// What was kept.
    pub statement: Statement,
    /// What counts it in.
    pub commit: Commit,
    statement_record: Opened,
    commit_record: Opened,
}

/// An original statement, as a copy under other keys has it in [`Statement::origin`].
#[derive(Debug, Clone)]
pub struct Original {
    /// Its id.
    pub id: RecordId,
    /// What it said.
    pub statement: Statement,
    record: Opened,
}

impl Original {
    /// Check its signature.
    pub fn verify(&self, key: &PublicKey) -> Result<(), FormatError> {
        self.record.verify(key)
    }
}

/// Take an original apart: the payload of its record, and behind it the signature.
pub fn open_origin(bytes: &[u8]) -> Result<Original, FormatError> {
    const WHAT: &str = "original statement";
    limit("length of a statement", bytes.len() as u64, limits::RECORD_MAX as u64)?;
    let mut r = Reader::new(WHAT, bytes);
    let payload = r.take(bytes.len().saturating_sub(SIGNATURE_LEN))?;
    let signature = r.array()?;
    let statement: Statement = decode(WHAT, payload)?;
    let name = names::statement_place(statement.client, statement.seq);
    let place = statement_place(statement.domain, &name);
    let record = Opened::of_signed(RecordType::Statement, &place, payload, signature);
    Ok(Original { id: record.id, statement, record })
}

impl OpenedSnapshot {
    /// The statement as evidence for others: [`open_origin`] takes it apart, without any secret.
    pub fn origin(&self) -> Vec<u8> {
        let signature = self.statement_record.signature.unwrap_or([0; SIGNATURE_LEN]);
        [&self.statement_record.payload[..], &signature].concat()
    }

    /// Check both signatures.
    pub fn verify(&self, statement_key: &PublicKey, commit_key: &PublicKey) -> Result<(), FormatError> {
        self.statement_record.verify(statement_key)?;
        self.commit_record.verify(commit_key)
    }
}

/// Where a snapshot object was found.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Its domain.
    pub domain: DomainId,
    /// Its repository.
    pub instance: InstanceId,
    /// Its name.
    pub name: &'a str,
}

/// The sealed statement in an object.
pub fn statement_in(bytes: &[u8]) -> Result<&[u8], FormatError> {
    let mut r = Reader::new("snapshot", bytes);
    let len = r.u32()? as usize;
    limit("length of a statement", len as u64, limits::RECORD_MAX as u64)?;
    r.take(len)
}

/// Open statement and commit. `index` gives the index secret of an epoch.
pub fn open_object(
    bytes: &[u8],
    at: Found<'_>,
    index: &dyn Fn(u32) -> Option<Secret>,
) -> Result<OpenedSnapshot, FormatError> {
    const WHAT: &str = "snapshot";
    let mut r = Reader::new(WHAT, bytes);
    let len = r.u32()? as usize;
    limit("length of a statement", len as u64, limits::RECORD_MAX as u64)?;
    let statement = r.take(len)?;
    let commit = r.take(r.left())?;
    let misplaced = || FormatError::invalid(WHAT, "it is not what its name says");
    let (client, seq) = names::parse_snapshot(at.name).ok_or_else(misplaced)?;
    let place = names::statement_place(client, seq);
    let open = |kind, bytes, place: &Place<'_>| {
        let envelope = parse(kind, bytes)?;
        let secret =
            index(envelope.epoch).ok_or(FormatError::invalid(WHAT, "it is of an epoch that this key does not open"))?;
        envelope.open(&secret, place)
    };
    let statement_record = open(RecordType::Statement, statement, &statement_place(at.domain, &place))?;
    let here = Place { domain: at.domain, instance: at.instance, name: at.name };
    let commit_record = open(RecordType::Commit, commit, &here)?;
    let statement: Statement = decode("snapshot statement", &statement_record.payload)?;
    let commit: Commit = decode("snapshot commit", &commit_record.payload)?;
    check_ext("snapshot statement", &statement.ext, &[])?;
    check_ext("snapshot commit", &commit.ext, &[])?;
    let fits = statement.domain == at.domain
        && (statement.client, statement.seq) == (client, seq)
        && commit.instance == at.instance
        && commit.statement == statement_record.id;
    if !fits {
        return Err(misplaced());
    }
    Ok(OpenedSnapshot { id: statement_record.id, statement, commit, statement_record, commit_record })
}

/// Open a statement's body. `record` gives the record secret of an epoch.
pub fn open_body(s: &Statement, record: &dyn Fn(u32) -> Option<Secret>) -> Result<Body, FormatError> {
    let what = RecordType::Body.what();
    let name = format!("{}/body", names::statement_place(s.client, s.seq));
    let envelope = parse(RecordType::Body, &s.body)?;
    let secret =
        record(envelope.epoch).ok_or(FormatError::invalid(what, "it is of an epoch that this key does not open"))?;
    let opened = envelope.open(&secret, &statement_place(s.domain, &name))?;
    let body: Body = decode(what, &opened.payload)?;
    check_ext(what, &body.ext, &[])?;
    Ok(body)
}
