//! Sessions: a writer's presence, as objects; and what to do with those that dead processes left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::{History, Identity, Repository, locked};
use crate::crypto::{PublicKey, SigningKey};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::format::codec::{check_ext, decode, encode};
use crate::format::names::{self, prefix};
use crate::format::record::{self, Place, RecordType, Sealing};
use crate::format::records::{Close, CloseKind, Heartbeat, Purpose, SessionOpen, close_ext};
use crate::id::{ClientId, PackId, RecordId, SessionId};
use crate::model::Head;
use crate::storage::Put;
use crate::sys;

/// How often a session says that it lives.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(600);

/// This process' presence in a repository.
pub struct Session {
    /// Its id.
    pub id: SessionId,
    client: ClientId,
    epoch: u32,
    signer: SigningKey,
    history: RwLock<History>,
    bases: Vec<RecordId>,
    pulse: Mutex<Pulse>,
    committed: Mutex<Vec<Head>>,
}

struct Pulse {
    last: Instant,
    n: u32,
}

/// A session that nobody closed, as its own objects show it.
#[derive(Debug, Clone)]
pub struct OpenSession {
    /// What it said when it began.
    pub open: SessionOpen,
    /// The newest record of the gc log that it said to have seen.
    pub seen_gen: u64,
    /// Condemned packs that it uses.
    pub pins: BTreeSet<PackId>,
    /// Snapshots that it relies on.
    pub bases: BTreeSet<RecordId>,
    /// Bytes it has done, as it says.
    pub progress: u64,
    /// Its process is dead for certain.
    pub dead: bool,
}

/// All sessions of a repository.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    /// Those that nobody closed.
    pub open: Vec<OpenSession>,
    /// Those that are closed.
    pub closed: BTreeMap<SessionId, Listed>,
    /// Objects of each, by the last part of their names.
    pub objects: BTreeMap<SessionId, Vec<String>>,
}

/// What a listing says of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its first object is there.
    pub opened: bool,
    /// It has a close.
    pub closed: bool,
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
        let id = self.open_session_of(who, purpose, &bases)?;
        // Whatever a backup goes by is listed after its first object was there, and once.
        let looks = purpose == Purpose::Backup;
        if looks {
            self.look();
        }
        let history = self.history().inspect_err(|_| {
            // Nobody need wait for a session that never came to anything.
            self.put_close(id, CloseKind::Abort, &[], &[], 0, (who.client, who.epoch, &who.signer)).ok();
        })?;
        let waited_for = purpose != Purpose::Gc && !history.log.plans().is_empty();
        let session = Session { bases, ..Self::unseen(id, who, history) };
        if waited_for {
            // A finish waits for whoever may not know its plan: tell it at once.
            self.beat(&session, vec![], 0)?;
            if looks {
                self.look();
            }
        }
        Ok(session)
    }

    /// Begin a session that collects garbage although a record of the log may be lost: the lost ones are
    /// told to `trouble`. It must write a restart before it decides anything.
    pub fn begin_after_loss(&self, who: &Identity, trouble: &dyn Fn(&str, Error)) -> Result<Session> {
        let id = self.open_session_of(who, Purpose::Gc, &[])?;
        Ok(Self::unseen(id, who, self.history_after_loss(trouble)?))
    }

    /// Write a session's first object.
    fn open_session_of(&self, who: &Identity, purpose: Purpose, bases: &[RecordId]) -> Result<SessionId> {
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
            bases: bases.to_vec(),
            nonce: sys::random()?,
            ext: vec![],
        };
        let object = names::session(id, 0);
        let bytes = self.seal_record(RecordType::SessionOpen, &object, &open, &who.signer)?;
        self.put_small(&object, &bytes)?;
        Ok(id)
    }

    fn unseen(id: SessionId, who: &Identity, history: History) -> Session {
        let pulse = Mutex::new(Pulse { last: Instant::now(), n: 0 });
        let (client, epoch, signer) = (who.client, who.epoch, who.signer.clone());
        let (history, committed) = (RwLock::new(history), Mutex::default());
        Session { id, client, epoch, signer, history, bases: vec![], pulse, committed }
    }

    /// A session that the repository does not learn of, for a run that writes nothing.
    pub fn begin_unseen(&self, who: &Identity) -> Result<Session> {
        Ok(Self::unseen(SessionId(sys::random()?), who, self.history()?))
    }

    /// The same, where a record of the log may be lost.
    pub fn begin_unseen_after_loss(&self, who: &Identity, trouble: &dyn Fn(&str, Error)) -> Result<Session> {
        Ok(Self::unseen(SessionId(sys::random()?), who, self.history_after_loss(trouble)?))
    }

    /// The pseudonym of this machine.
    pub fn machine(&self) -> [u8; 8] {
        self.keys.machine(&self.host.machine_id)
    }

    /// What was added to the gc log, if it is time to say that the session lives. Whoever gets it
    /// goes by it from now on, and then calls [`Self::beat`].
    pub fn due(&self, session: &Session) -> Result<Option<History>> {
        {
            let mut pulse = locked(&session.pulse);
            if pulse.last.elapsed() < self.beat_every {
                return Ok(None);
            }
            pulse.last = Instant::now();
        }
        let mut history = session.history();
        self.look_away();
        self.catch_up(&mut history)?;
        Ok(Some(history))
    }

    /// Say that the session lives, what it has seen, and which condemned packs it uses all the same;
    /// finds out whether it was closed by somebody else.
    pub fn beat(&self, session: &Session, pins: Vec<PackId>, progress: u64) -> Result<()> {
        let n = {
            let mut pulse = locked(&session.pulse);
            pulse.n += 1;
            pulse.n
        };
        let beat = Heartbeat {
            session: session.id,
            n,
            seen_gen: session.seen_gen(),
            pins,
            bases: session.bases.clone(),
            progress,
            nonce: sys::random()?,
            ext: vec![],
        };
        let object = names::session(session.id, n);
        let bytes = self.seal_record(RecordType::Heartbeat, &object, &beat, &session.signer)?;
        self.put_small(&object, &bytes)?;
        let close = super::objects::name(&names::session_close(session.id))?;
        if self.storage.head(&close)?.is_some() { Err(fenced()) } else { Ok(()) }
    }

    /// Close the session; whoever closes first decides, so this is also the check for a fence.
    pub fn close(&self, session: &Session, kind: CloseKind, snapshots: Vec<RecordId>) -> Result<()> {
        self.put_own_close(session, kind, &snapshots)?;
        self.still_counts(session, &snapshots)
    }

    /// Close the session behind a snapshot of [`Self::commit_ahead`], and look once at all that may
    /// have become of both meanwhile. Whoever slept while a checkpoint took the place of tombstones has put
    /// it where nobody looks any more: for its session that is as if it had been fenced.
    pub fn close_behind(&self, session: &Session, committed: Head) -> Result<()> {
        self.put_own_close(session, CloseKind::End, &[committed.id])?;
        self.look();
        let mut history = session.history();
        self.catch_up(&mut history)?;
        if history.forgot(committed.client, committed.seq) {
            return Err(fenced());
        }
        self.still_counts(session, &[committed.id])
    }

    fn put_own_close(&self, session: &Session, kind: CloseKind, snapshots: &[RecordId]) -> Result<()> {
        let who = (session.client, session.epoch, &session.signer);
        let places: Vec<Head> =
            locked(&session.committed).iter().filter(|head| snapshots.contains(&head.id)).copied().collect();
        match self.put_close(session.id, kind, snapshots, &places, session.seen_gen(), who)? {
            Put::Created => Ok(()),
            Put::Exists => Err(fenced()),
        }
    }

    fn still_counts(&self, session: &Session, snapshots: &[RecordId]) -> Result<()> {
        // Whoever slept so long that even its fence was cleared away finds the name free: but its
        // first object went before that.
        let open = super::objects::name(&names::session(session.id, 0))?;
        match self.storage.head(&open)? {
            None if !self.are_recorded(snapshots)? => Err(fenced()),
            _ => Ok(()),
        }
    }

    /// Whether the log confirms these snapshots: then their session was cleared away because it had ended
    /// well, as soon as it had.
    fn are_recorded(&self, ids: &[RecordId]) -> Result<bool> {
        let history = self.history()?;
        let all = self.snapshots(&|_, _| {})?;
        let recorded = |s: &super::Snapshot| history.confirms(s.statement.client, s.statement.seq);
        Ok(!ids.is_empty() && ids.iter().all(|id| all.iter().any(|s| s.id == *id && recorded(s))))
    }

    fn put_close(
        &self,
        session: SessionId,
        kind: CloseKind,
        snapshots: &[RecordId],
        places: &[Head],
        seen_gen: u64,
        (author, author_epoch, signer): (ClientId, u32, &SigningKey),
    ) -> Result<Put> {
        let (snapshots, ext) = (snapshots.to_vec(), Close::say_places(places));
        let close = Close { session, kind, snapshots, author, author_epoch, seen_gen, nonce: sys::random()?, ext };
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
        check_ext("session close", &close.ext, &[close_ext::PLACES])?;
        let author = self.author(close.author, close.author_epoch);
        let author = author.doing(|| format!("while reading {object}"))?;
        opened.verify(&author.key).doing(|| format!("while reading {object}"))?;
        if close.session != session {
            return Err(Error::new(ErrorKind::Damaged, format!("{object} is not what its name says")));
        }
        Ok(Some(close))
    }

    /// Which sessions there are, as a listing shows them.
    pub(super) fn list_sessions(&self) -> Result<BTreeMap<SessionId, Listed>> {
        let mut out: BTreeMap<SessionId, Listed> = BTreeMap::new();
        for (id, names) in self.session_objects()? {
            let has = |last: &str| names.iter().any(|n| n == last);
            out.insert(id, Listed { opened: has("00000000"), closed: has("close") });
        }
        Ok(out)
    }

    /// The parts of their ids in the names of packs, of all sessions without a close.
    pub fn open_suffixes(&self) -> Result<BTreeSet<[u8; 4]>> {
        let all = self.list_sessions()?;
        Ok(all.into_iter().filter(|(_, listed)| !listed.closed).map(|(id, _)| suffix(id)).collect())
    }

    /// Whether a session's first object is there, or may be.
    pub fn is_opened(&self, session: SessionId) -> bool {
        let name = super::objects::name(&names::session(session, 0));
        name.is_ok_and(|name| !matches!(self.storage.head(&name), Ok(None)))
    }

    /// Whether it was closed, or cleared away.
    fn has_ended(&self, id: SessionId) -> Result<bool> {
        match self.get_small(&names::session(id, 0)) {
            Ok(_) => Ok(self.load_close(id)?.is_some()),
            Err(e) if e.kind() == ErrorKind::Missing => Ok(true),
            Err(e) => Err(e),
        }
    }

    fn session_objects(&self) -> Result<BTreeMap<SessionId, Vec<String>>> {
        let mut out: BTreeMap<SessionId, Vec<String>> = BTreeMap::new();
        for listed in self.storage.list(prefix::SESSIONS)? {
            let rest = listed.name.as_str().strip_prefix(prefix::SESSIONS).and_then(|r| r.split_once('/'));
            if let Some((id, last)) = rest.and_then(|(id, last)| Some((SessionId::parse(id).ok()?, last))) {
                out.entry(id).or_default().push(last.to_owned());
            }
        }
        Ok(out)
    }

    /// All sessions, with what the open ones say.
    pub fn sessions(&self) -> Result<Sessions> {
        let mut out = Sessions { objects: self.session_objects()?, ..Sessions::default() };
        for (id, names) in &out.objects {
            let has = |last: &str| names.iter().any(|n| n == last);
            if has("close") {
                out.closed.insert(*id, Listed { opened: has("00000000"), closed: true });
                continue;
            }
            match self.open_session(*id, names) {
                Ok(open) => out.open.push(open),
                // Anybody can make such an object. What it relies on nobody knows, so it is waited for until it
                // has been silent for long enough to be given up.
                Err(e) if e.kind() == ErrorKind::Damaged && self.is_unreadable(*id) => {
                    out.open.push(OpenSession::unknown(*id));
                }
                // Cleared away, or closed and cleared away, since it was listed.
                Err(e) if e.kind() == ErrorKind::Missing && self.has_ended(*id)? => {}
                // What it said last counts, and nobody knows it (I14).
                Err(e) if e.kind() == ErrorKind::Missing => {
                    let what = format!("the storage lists what it does not give out yet, of session {id}");
                    return Err(Error::new(ErrorKind::Storage, what)
                        .because(e)
                        .hint("run the same command again later"));
                }
                Err(e) => return Err(e.doing(format!("while reading session {id}"))),
            }
        }
        Ok(out)
    }

    /// Whether a session's first object is there and can never be read.
    fn is_unreadable(&self, id: SessionId) -> bool {
        self.open_first(id).is_err_and(|e| e.kind() == ErrorKind::Damaged)
    }

    /// A session's first object, and the key of whoever opened it.
    fn open_first(&self, id: SessionId) -> Result<(SessionOpen, PublicKey)> {
        let (open, opened) = self.open_record::<SessionOpen>(RecordType::SessionOpen, &names::session(id, 0))?;
        check_ext("session", &open.ext, &[])?;
        let key = self.author(open.client, open.client_epoch)?.key;
        opened.verify(&key)?;
        if open.session != id {
            return Err(Error::new(ErrorKind::Damaged, "it is not what its name says"));
        }
        Ok((open, key))
    }

    fn open_session(&self, id: SessionId, names: &[String]) -> Result<OpenSession> {
        let (open, key) = self.open_first(id)?;
        let dead = self.is_here(&open) && self.is_dead(&open);
        let bases = open.bases.iter().copied().collect();
        let mut out = OpenSession { open, seen_gen: 0, pins: BTreeSet::new(), bases, progress: 0, dead };
        let beats = names.iter().filter_map(|n| u32::from_str_radix(n, 16).ok()).filter(|n| *n > 0);
        for n in beats {
            let object = names::session(id, n);
            let (beat, opened) = self.open_record::<Heartbeat>(RecordType::Heartbeat, &object)?;
            check_ext("heartbeat", &beat.ext, &[])?;
            opened.verify(&key)?;
            if (beat.session, beat.n) != (id, n) {
                return Err(Error::new(ErrorKind::Damaged, "a heartbeat is not what its name says"));
            }
            // Whatever any of them names is used; the newest knows most of the log.
            out.seen_gen = out.seen_gen.max(beat.seen_gen);
            out.pins.extend(&beat.pins);
            out.bases.extend(&beat.bases);
            out.progress = out.progress.max(beat.progress);
        }
        Ok(out)
    }

    /// Fence somebody else's session; `false`: it was closed before.
    pub fn fence(&self, who: &Identity, session: SessionId, seen_gen: u64) -> Result<bool> {
        let author = (who.client, who.epoch, &who.signer);
        Ok(self.put_close(session, CloseKind::Fence, &[], &[], seen_gen, author)? == Put::Created)
    }

    /// Sessions of this client on this machine whose process is gone.
    pub fn leftovers(&self, who: &Identity) -> Result<Vec<Leftover>> {
        self.leftovers_beside(who, None)
    }

    /// The same; that it lives is known of `own`.
    pub(super) fn leftovers_beside(&self, who: &Identity, own: Option<SessionId>) -> Result<Vec<Leftover>> {
        let mut out = Vec::new();
        for (id, listed) in self.list_sessions()? {
            if listed.closed || Some(id) == own {
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
            if open.client == who.client && self.is_here(&open) && self.is_dead(&open) {
                out.push(Leftover { id });
            }
        }
        Ok(out)
    }

    fn is_here(&self, open: &SessionOpen) -> bool {
        // Containers may share a machine's id and not its processes, but seldom its name.
        open.machine == self.machine() && open.hostname == self.host().hostname
    }

    fn is_dead(&self, open: &SessionOpen) -> bool {
        let host = self.host();
        let known = open.boot != [0; 16] && host.boot != [0; 16] && !host.machine_id.is_empty();
        known && (open.boot != host.boot || sys::process_started(open.pid) != Some(open.pid_started))
    }

    /// Close a dead session: with the snapshots it had committed, or as given up.
    pub fn bury(&self, who: &Identity, leftover: &Leftover, committed: &[Head]) -> Result<()> {
        let kind = if committed.is_empty() { CloseKind::Abort } else { CloseKind::End };
        let ids: Vec<RecordId> = committed.iter().map(|head| head.id).collect();
        // Exists: another process of this machine was quicker.
        self.put_close(leftover.id, kind, &ids, committed, 0, (who.client, who.epoch, &who.signer)).map(|_| ())
    }
}

impl OpenSession {
    /// One whose first object cannot be read: it has seen nothing of the log, so that no finish goes on beside it.
    fn unknown(id: SessionId) -> Self {
        let open = SessionOpen {
            session: id,
            client: ClientId::ZERO,
            client_epoch: 0,
            purpose: Purpose::Backup,
            started: crate::model::Time::default(),
            machine: [0; 8],
            boot: [0; 16],
            pid: 0,
            pid_started: 0,
            hostname: format!("an unknown machine, sessions/{id},"),
            bases: vec![],
            nonce: [0; 16],
            ext: vec![],
        };
        Self { open, seen_gen: 0, pins: BTreeSet::new(), bases: BTreeSet::new(), progress: 0, dead: false }
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
        self.read().log.generation()
    }
    /// What the gc log said, as far as this session goes by it.
    pub fn history(&self) -> History {
        self.read().clone()
    }
    /// It committed this one: its close says so, if the one who closes it names it.
    pub(super) fn has_committed(&self, head: Head) {
        locked(&self.committed).push(head);
    }
    /// Go by a newer state of the log from now on.
    pub fn go_by(&self, history: History) {
        *self.history.write().unwrap_or_else(PoisonError::into_inner) = history;
    }
    fn read(&self) -> std::sync::RwLockReadGuard<'_, History> {
        self.history.read().unwrap_or_else(PoisonError::into_inner)
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
