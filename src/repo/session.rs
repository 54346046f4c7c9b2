//! Sessions: a writer's presence, as objects; and what to do with those that dead processes left.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Identity, Repository, locked};
use crate::crypto::SigningKey;
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::format::codec::{check_ext, decode, encode};
use crate::format::names::{self, prefix};
use crate::format::record::{self, Place, RecordType, Sealing};
use crate::format::records::{Close, CloseKind, Heartbeat, Purpose, SessionOpen};
use crate::id::{ClientId, RecordId, SessionId};
use crate::storage::Put;
use crate::sys;

/// A session says that it lives this often.
const HEARTBEAT: Duration = Duration::from_secs(600);

/// This process' presence in a repository.
pub struct Session {
    /// Its id.
    pub id: SessionId,
    client: ClientId,
    epoch: u32,
    signer: SigningKey,
    seen_gen: u64,
    bases: Vec<RecordId>,
    pulse: Mutex<Pulse>,
}

struct Pulse {
    last: Instant,
    n: u32,
}

/// A session of this machine whose process is dead and that nobody closed.
pub struct Leftover {
    /// Its id.
    pub id: SessionId,
}

impl Repository {
    fn seal_record<T: bincode::Encode>(
        &self,
        kind: RecordType,
        object: &str,
        value: &T,
        signer: &SigningKey,
    ) -> Result<Vec<u8>> {
        let secret = self.need(self.index_secret(self.epoch()), "write to the repository")?;
        let sealing = Sealing {
            kind,
            place: Place { domain: self.domain(), instance: self.instance(), name: object },
            epoch: self.epoch(),
            secret: &secret,
            salt: sys::salt()?,
            signer: Some(signer),
            clear: &[],
        };
        Ok(sealing.seal(&encode(value)).0)
    }

    /// Open a record that is bound to this repository and its object name.
    pub(super) fn open_record<T: bincode::Decode<()> + bincode::Encode>(
        &self,
        kind: RecordType,
        object: &str,
    ) -> Result<(T, record::Opened)> {
        let bytes = self.get_small(object)?;
        let envelope = record::parse(kind, &bytes)?;
        let secret = self.need(self.index_secret(envelope.epoch), "read sessions")?;
        let opened =
            envelope.open(&secret, &Place { domain: self.domain(), instance: self.instance(), name: object })?;
        let value = decode(kind.what(), &opened.payload)?;
        Ok((value, opened))
    }

    /// Begin a session that relies on `bases`, before the index is read.
    pub fn begin(&self, who: &Identity, purpose: Purpose, bases: Vec<RecordId>) -> Result<Session> {
        let id = SessionId(sys::random()?);
        let host = self.host();
        let open = SessionOpen {
            session: id,
            client: who.client,
            client_epoch: who.epoch,
            purpose,
            started: sys::now(),
            machine: self.machine(),
            boot: host.boot,
            pid: host.pid,
            pid_started: host.pid_started,
            hostname: host.hostname.clone(),
            bases: bases.clone(),
            nonce: sys::random()?,
            ext: vec![],
        };
        let object = names::session(id, 0);
        let bytes = self.seal_record(RecordType::SessionOpen, &object, &open, &who.signer)?;
        self.put_small(&object, &bytes)?;
        let seen_gen = self.newest_gen()?;
        let pulse = Mutex::new(Pulse { last: Instant::now(), n: 0 });
        Ok(Session { id, client: who.client, epoch: who.epoch, signer: who.signer.clone(), seen_gen, bases, pulse })
    }

    /// A session that the repository does not learn of, for a run that writes nothing.
    pub fn begin_unseen(&self, who: &Identity) -> Result<Session> {
        let pulse = Mutex::new(Pulse { last: Instant::now(), n: 0 });
        let (client, epoch, signer) = (who.client, who.epoch, who.signer.clone());
        Ok(Session { id: SessionId(sys::random()?), client, epoch, signer, seen_gen: 0, bases: vec![], pulse })
    }

    /// The newest gc record. Collecting is not in this version, so a repository that has been
    /// collected by a newer one may not be written by this one: it would not see what is condemned.
    fn newest_gen(&self) -> Result<u64> {
        if self.storage.list(prefix::GC)?.is_empty() {
            return Ok(0);
        }
        let what = "a newer orlop has collected garbage in this repository, and this one cannot tell what it condemned";
        Err(Error::new(ErrorKind::Unsupported, what).hint("update orlop before backing up; restoring works"))
    }

    /// The pseudonym of this machine.
    pub fn machine(&self) -> [u8; 8] {
        self.keys.machine(&self.host.machine_id)
    }

    /// Say that the session lives, if it is time; finds out whether it was fenced.
    pub fn tick(&self, session: &Session, progress: u64) -> Result<()> {
        let n = {
            let mut pulse = locked(&session.pulse);
            if pulse.last.elapsed() < HEARTBEAT {
                return Ok(());
            }
            pulse.last = Instant::now();
            pulse.n += 1;
            pulse.n
        };
        let beat = Heartbeat {
            session: session.id,
            n,
            seen_gen: session.seen_gen,
            pins: vec![],
            bases: session.bases.clone(),
            progress,
            nonce: sys::random()?,
            ext: vec![],
        };
        self.newest_gen()?;
        let object = names::session(session.id, n);
        let bytes = self.seal_record(RecordType::Heartbeat, &object, &beat, &session.signer)?;
        self.put_small(&object, &bytes)?;
        let close = super::objects::name(&names::session_close(session.id))?;
        if self.storage.head(&close)?.is_some() { Err(fenced()) } else { Ok(()) }
    }

    /// Close the session; whoever closes first decides, so this is also the check for a fence.
    pub fn close(&self, session: &Session, kind: CloseKind, snapshots: Vec<RecordId>) -> Result<()> {
        let who = (session.client, session.epoch, &session.signer);
        match self.put_close(session.id, kind, snapshots, session.seen_gen, who)? {
            Put::Created => Ok(()),
            Put::Exists => Err(fenced()),
        }
    }

    fn put_close(
        &self,
        session: SessionId,
        kind: CloseKind,
        snapshots: Vec<RecordId>,
        seen_gen: u64,
        (author, author_epoch, signer): (ClientId, u32, &SigningKey),
    ) -> Result<Put> {
        let close =
            Close { session, kind, snapshots, author, author_epoch, seen_gen, nonce: sys::random()?, ext: vec![] };
        let object = names::session_close(session);
        let bytes = self.seal_record(RecordType::Close, &object, &close, signer)?;
        let put = self.put_small(&object, &bytes)?;
        // A lost answer to our own request looks like somebody else's close.
        if put == Put::Exists && self.load_close(session)?.is_some_and(|c| c.nonce == close.nonce) {
            return Ok(Put::Created);
        }
        Ok(put)
    }

    /// A session's close; `None` if it has none.
    pub(super) fn load_close(&self, session: SessionId) -> Result<Option<Close>> {
        let object = names::session_close(session);
        let (close, opened) = match self.open_record::<Close>(RecordType::Close, &object) {
            Ok(found) => found,
            Err(e) if e.kind() == ErrorKind::Missing => return Ok(None),
            Err(e) => return Err(e.doing(format!("while reading {object}"))),
        };
        check_ext("session close", &close.ext, &[])?;
        let author = self.client_key(close.author, close.author_epoch);
        let key = author.ok_or_else(|| Error::new(ErrorKind::Damaged, "a session was closed by an unknown client"))?;
        opened.verify(&key.key).doing(|| format!("while reading {object}"))?;
        if close.session != session {
            return Err(Error::new(ErrorKind::Damaged, format!("{object} is not what its name says")));
        }
        Ok(Some(close))
    }

    /// Which sessions there are, and whether each is closed.
    pub(super) fn list_sessions(&self) -> Result<BTreeMap<SessionId, bool>> {
        let mut out = BTreeMap::new();
        for listed in self.storage.list(prefix::SESSIONS)? {
            let rest = listed.name.as_str().strip_prefix(prefix::SESSIONS).and_then(|r| r.split_once('/'));
            if let Some((id, n)) = rest.and_then(|(id, n)| Some((SessionId::parse(id).ok()?, n))) {
                *out.entry(id).or_default() |= n == "close";
            }
        }
        Ok(out)
    }

    /// Sessions of this client on this machine whose process is gone.
    pub fn leftovers(&self, who: &Identity) -> Result<Vec<Leftover>> {
        let mut out = Vec::new();
        for (id, closed) in self.list_sessions()? {
            if closed {
                continue;
            }
            let object = names::session(id, 0);
            // What cannot be read is nobody's here; garbage collection deals with it in time.
            let Ok((open, opened)) = self.open_record::<SessionOpen>(RecordType::SessionOpen, &object) else {
                continue;
            };
            let key = self.author(open.client, open.client_epoch);
            if open.session != id || !key.is_ok_and(|k| opened.verify(&k.key).is_ok()) {
                continue;
            }
            // Containers may share a machine's id and not its processes, but seldom its name.
            let here = open.machine == self.machine() && open.hostname == self.host().hostname;
            if open.client == who.client && here && self.is_dead(&open) {
                out.push(Leftover { id });
            }
        }
        Ok(out)
    }

    fn is_dead(&self, open: &SessionOpen) -> bool {
        let host = self.host();
        let known = open.boot != [0; 16] && host.boot != [0; 16] && !host.machine_id.is_empty();
        known && (open.boot != host.boot || sys::process_started(open.pid) != Some(open.pid_started))
    }

    /// Close a dead session: with the snapshots it had committed, or as given up.
    pub fn bury(&self, who: &Identity, leftover: &Leftover, committed: Vec<RecordId>) -> Result<()> {
        let kind = if committed.is_empty() { CloseKind::Abort } else { CloseKind::End };
        // Exists: another process of this machine was quicker.
        self.put_close(leftover.id, kind, committed, 0, (who.client, who.epoch, &who.signer)).map(|_| ())
    }
}

impl Leftover {
    /// The part of its id that is in the names of its packs.
    pub fn suffix(&self) -> [u8; 4] {
        suffix(self.id)
    }
}

impl Session {
    /// The newest gc record it had seen.
    pub fn seen_gen(&self) -> u64 {
        self.seen_gen
    }
    /// The part of its id that is in the names of its packs.
    pub fn suffix(&self) -> [u8; 4] {
        suffix(self.id)
    }
}

fn suffix(id: SessionId) -> [u8; 4] {
    let [a, b, c, d, ..] = id.0;
    [a, b, c, d]
}

fn fenced() -> Error {
    Error::new(ErrorKind::Fenced, "garbage collection gave this session up because it was silent for too long")
        .hint("run the backup again: what it stored is not stored twice")
}
