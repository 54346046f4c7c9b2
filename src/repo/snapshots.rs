//! Snapshots: listing a client's chain, checking it, committing the next.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::iter::Either;
use rayon::prelude::*;

use super::promised::Places;
use super::{History, Identity, Repository, Session, Tombstones, objects};
use crate::collect::{Closed, Validity, validity};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::format::codec::check_known_to_writer;
use crate::format::keys::Role;
use crate::format::names::{self, prefix};
use crate::format::records::{Close, CloseKind};
use crate::format::snapshot::{self, Found, Secrets};
use crate::id::{ClientId, InstanceId, RecordId, SessionId};
use crate::model::{Body, Commit, Ext, Head, Statement, Time, commit_ext};
use crate::storage::Put;
use crate::sys;

/// How often a lost race for the next place in the chain is tried again.
const TRIES: u64 = 16;

/// A snapshot, verified.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its id.
    pub id: RecordId,
    /// What was kept.
    pub statement: Statement,
    /// What it says to people.
    pub body: Body,
    /// What counts it in.
    pub commit: Commit,
    /// Whether it counts.
    pub validity: Validity,
    /// How its session was closed, if it was.
    pub closed: Option<Closed>,
    /// Whether the owner's key signed it.
    pub by_owner: bool,
    /// Its content is not here: a mirror took over its statement only.
    pub hollow: bool,
    /// The record of its session is gone without having been cleared away, so that nobody vouches for it.
    pub session_lost: bool,
}

impl Snapshot {
    /// Whether it is the owner's word that its content is what the owner's machines had: it may set
    /// privileged metadata, and its times are believed.
    pub fn trusted(&self) -> bool {
        self.by_owner && self.statement.flags & Statement::FOREIGN == 0
    }
    /// Refuses where only a newer orlop may make another snapshot of it: its statement and its body are
    /// written anew then.
    pub fn check_remake(&self) -> Result<()> {
        check_known_to_writer("the statement", &self.statement.ext, &[])
            .and_then(|()| check_known_to_writer("the body", &self.body.ext, &[]))
            .doing(|| format!("in snapshot {}", self.id.short()))
    }
    /// Refuses where only a newer orlop may forget it.
    pub fn check_drop(&self) -> Result<()> {
        self.check_remake()?;
        check_known_to_writer("the commit", &self.commit.ext, &[commit_ext::HOLLOW])
            .doing(|| format!("in snapshot {}", self.id.short()))
    }
    /// Extensions that are carried over into what is made of it, and that nobody here knows.
    pub fn unknown_extensions(&self) -> Vec<u16> {
        Ext::tags(self.statement.ext.iter().chain(&self.body.ext))
    }
    /// Where it stands.
    pub fn head(&self) -> Head {
        Head { client: self.statement.client, seq: self.statement.seq, id: self.id }
    }
    /// Whether the run was interrupted.
    pub fn incomplete(&self) -> bool {
        self.statement.flags & Statement::INCOMPLETE != 0
    }
}

/// How often all snapshots are looked at if sessions are cleared away meanwhile.
const LOOKS: usize = 3;

/// What the next snapshot says; the chain is filled in when it is committed.
pub struct NewSnapshot {
    /// Everything but `seq`, `prev` and `body`.
    pub statement: Statement,
    /// The body.
    pub body: Body,
}

/// Where a snapshot was before, and when it came there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Received {
    /// The repository it was copied from.
    pub from: Option<InstanceId>,
    /// When that one's storage received it.
    pub at: Option<Time>,
    /// Only its statement came.
    pub hollow: bool,
}

impl Repository {
    /// All snapshots, by client and place in the chain. Damaged ones are told to `trouble` and
    /// left out; so is one that a chain shows to be missing ([`ErrorKind::Missing`]) or exchanged
    /// ([`ErrorKind::Substituted`]). Those that somebody decided to forget are among them, and all
    /// say what they said when they were made: see [`Self::standing`].
    pub fn snapshots(&self, trouble: &(dyn Fn(&str, Error) + Sync)) -> Result<Vec<Snapshot>> {
        self.snapshots_beside(&Places::new(), trouble)
    }

    fn snapshots_beside(&self, promised: &Places, trouble: &(dyn Fn(&str, Error) + Sync)) -> Result<Vec<Snapshot>> {
        for _ in 1..LOOKS {
            if let (all, true) = self.snapshots_now(None, promised, trouble)? {
                return Ok(all);
            }
        }
        self.snapshots_now(None, promised, trouble).map(|(all, _)| all)
    }

    /// The same, and what is gone from the end of a chain is told, too: that takes reading how every session
    /// was closed.
    pub fn snapshots_missed(&self, trouble: &(dyn Fn(&str, Error) + Sync)) -> Result<Vec<Snapshot>> {
        // Before anything is listed: what is committed meanwhile is not missed.
        let promised = self.promised_to_read(&self.history_to_read(&|_, _| {})?)?;
        self.snapshots_beside(&promised, trouble)
    }

    /// The same by what a collector knows of the log and of tombstones already.
    pub fn snapshots_as_of(
        &self,
        known: (&History, &Tombstones),
        trouble: &(dyn Fn(&str, Error) + Sync),
    ) -> Result<Vec<Snapshot>> {
        let promised = self.promised(known.0)?;
        self.snapshots_now(Some(known), &promised, trouble).map(|(all, _)| all)
    }

    /// All snapshots, and whether their sessions stood still while they were looked at.
    fn snapshots_now(
        &self,
        known: Option<(&History, &Tombstones)>,
        promised: &Places,
        trouble: &(dyn Fn(&str, Error) + Sync),
    ) -> Result<(Vec<Snapshot>, bool)> {
        let mut listed = objects::list_either(self.storage.as_ref(), prefix::SNAPSHOTS)?;
        // In this order: what was forgotten and deleted meanwhile says so by now, and the log says so
        // of tombstones that are cleared away.
        let loaded = match known {
            Some(_) => None,
            None => Some((self.tombstones(trouble)?, self.history_to_read(trouble)?)),
        };
        let (history, tombstones) =
            known.or(loaded.as_ref().map(|(t, h)| (h, t))).ok_or_else(|| Error::new(ErrorKind::Bug, "no gc log"))?;
        let given_up_for_good = |name: &str| names::parse_snapshot(name).is_some_and(|(c, seq)| history.forgot(c, seq));
        listed.retain(|name| !history.doomed_names.contains(name) && !given_up_for_good(name));
        let lost = |name: &str| {
            let place = names::parse_snapshot(name);
            place.is_some_and(|(c, seq)| tombstones.at(c, seq).iter().any(|t| t.target.is_none()))
        };
        let load = |name: &String| match self.load_snapshot(name) {
            Ok(s) => Either::Left(s),
            // Listed, and deleted before it was read: by somebody who said so first.
            Err(e) if e.kind() == ErrorKind::Missing && self.forgotten_since(name) => Either::Right(None),
            // The owner goes on without it.
            Err(e) if e.kind() != ErrorKind::Storage && lost(name) => Either::Right(None),
            Err(e) => Either::Right(Some((name.clone(), e))),
        };
        let (mut out, failed): (Vec<Snapshot>, Vec<_>) = listed.par_iter().partition_map(load);
        let ends = ends(&listed, &out, (history, tombstones, promised));
        for (name, e) in failed.into_iter().flatten() {
            let stray = e.kind() != ErrorKind::Storage && is_stray(&name, &ends);
            let e = if stray { no_part(&name, e) } else { e };
            trouble(&name, e);
        }
        listed.retain(|name| !is_stray(name, &ends));
        self.compare_heads(&listed, &out, history, tombstones)?;
        let given_up = |client, seq| given_up(history, tombstones, client, seq);
        self.check_chains(&listed, &out, &Said { given_up: &given_up, promised }, trouble);
        let steady = self.judge(&mut out, history, trouble)?;
        // After the snapshots: the mark of one is there before it is.
        let hollows = self.hollows(trouble)?;
        out.iter_mut().for_each(|s| s.hollow = hollows.of(s));
        Ok((out, steady))
    }

    /// Whether a snapshot that is gone was given up, by what the log and tombstones say by now.
    fn forgotten_since(&self, name: &str) -> bool {
        let Some((client, seq)) = names::parse_snapshot(name) else { return false };
        match (self.tombstones(&|_, _| {}), self.history_to_read(&|_, _| {})) {
            (Ok(tombstones), Ok(history)) => given_up(&history, &tombstones, client, seq).is_some(),
            _ => false,
        }
    }

    /// A chain that ends earlier than it once did was cut by somebody.
    fn compare_heads(
        &self,
        listed: &[String],
        loaded: &[Snapshot],
        history: &History,
        tombstones: &Tombstones,
    ) -> Result<()> {
        let Some(profile) = &self.profile else { return Ok(()) };
        let decided = tombstones.all().map(|t| (t.client, t.seq));
        let last = |f: &crate::format::gc::Forgotten| f.ranges.last().map(|(_, last)| (f.client, *last));
        let decided = decided.chain(history.forgotten.values().filter_map(last));
        let decided = decided.chain(history.doomed_names.iter().filter_map(|name| names::parse_snapshot(name)));
        let places = listed.iter().filter_map(|name| names::parse_snapshot(name)).chain(decided);
        let mut tops: BTreeMap<ClientId, u64> = BTreeMap::new();
        for (client, seq) in places {
            let top = tops.entry(client).or_default();
            *top = seq.max(*top);
        }
        let ids: HashMap<(ClientId, u64), RecordId> =
            loaded.iter().map(|s| ((s.statement.client, s.statement.seq), s.id)).collect();
        let at = |client, seq| ids.get(&(client, seq)).copied();
        let heads: Vec<Head> = tops
            .into_iter()
            .map(|(client, seq)| Head { client, seq, id: at(client, seq).unwrap_or(RecordId::ZERO) })
            .collect();
        profile.see(&heads, &at)
    }

    /// Places of these snapshots' chains that were given up and hold nothing any more, each with what
    /// stood there, where that is known.
    pub fn places_given_up(&self, all: &[Snapshot]) -> Result<Vec<(ClientId, u64, Option<RecordId>)>> {
        let (history, tombstones) = (self.history()?, self.tombstones(&|_, _| {})?);
        let mut chains: BTreeMap<ClientId, BTreeSet<u64>> = BTreeMap::new();
        for s in all {
            chains.entry(s.statement.client).or_default().insert(s.statement.seq);
        }
        let told = tombstones.all().map(|t| (t.client, t.seq));
        let doomed = history.doomed_names.iter().filter_map(|name| names::parse_snapshot(name));
        let forgotten = history.forgotten.values().flat_map(|f| {
            // A chain has no more places than it has room for below its last one here.
            let last = chains.get(&f.client).and_then(|here| here.last()).copied().unwrap_or(0);
            let ranges = f.ranges.iter().map(move |(first, end)| *first..=(*end).min(last));
            ranges.flatten().map(|seq| (f.client, seq))
        });
        let gone: BTreeSet<(ClientId, u64)> = told.chain(doomed).chain(forgotten).collect();
        let within = |(client, seq): &(ClientId, u64)| {
            let here = chains.get(client);
            here.is_some_and(|here| here.last() > Some(seq) && !here.contains(seq))
        };
        let gone = gone.into_iter().filter(within);
        Ok(gone
            .filter_map(|(client, seq)| Some((client, seq, given_up(&history, &tombstones, client, seq)?)))
            .collect())
    }

    /// Whether an object stands at a place in a chain.
    pub fn has_snapshot(&self, client: ClientId, seq: u64) -> Result<bool> {
        Ok(self.storage.head(&objects::name(&names::snapshot(client, seq))?)?.is_some())
    }

    pub(super) fn load_snapshot(&self, name: &str) -> Result<Snapshot> {
        let load = || self.parse_snapshot(name, &objects::get_either(self.storage.as_ref(), name)?);
        load().doing(|| format!("while reading {name}"))
    }

    /// A snapshot, verified, from its bytes.
    pub(super) fn parse_snapshot(&self, name: &str, bytes: &[u8]) -> Result<Snapshot> {
        let at = Found { domain: self.domain(), instance: self.instance(), name };
        let opened = snapshot::open_object(bytes, at, &|e| self.index_secret(e))?;
        let (statement, commit) = (&opened.statement, &opened.commit);
        let author = self.author(statement.client, statement.client_epoch)?;
        let committer = self.author(commit.committer, commit.committer_epoch)?;
        opened.verify(&author.key, &committer.key)?;
        if committer.role == Role::Client && commit.committer != statement.client {
            return Err(Error::new(ErrorKind::Damaged, "a client committed it that may write under its own name only"));
        }
        let body = match self.role() {
            Role::Put => Body::default(),
            _ => snapshot::open_body(statement, &|e| self.record_secret(e))?,
        };
        let by_owner = author.role == Role::Owner;
        Ok(Snapshot {
            id: opened.id,
            statement: opened.statement,
            body,
            commit: opened.commit,
            validity: Validity::Pending,
            closed: None,
            by_owner,
            hollow: false,
            session_lost: false,
        })
    }

    /// Settle which snapshots count, by how their sessions were closed. `false`: a session was cleared away
    /// meanwhile, so nobody knows how, and those it made are taken for pending.
    fn judge(
        &self,
        snapshots: &mut [Snapshot],
        history: &History,
        trouble: &(dyn Fn(&str, Error) + Sync),
    ) -> Result<bool> {
        let (sessions, steady) = (self.list_sessions()?, Cell::new(true));
        let mut closes: HashMap<SessionId, Option<Close>> = HashMap::new();
        for s in snapshots.iter_mut() {
            let session = s.commit.session;
            let listed = sessions.get(&session).copied().unwrap_or_default();
            let close = closes.entry(session).or_insert_with(|| match listed.closed {
                false => None,
                true => match self.load_close(session) {
                    Ok(close) => {
                        steady.set(steady.get() && close.is_some());
                        let counts = close.iter().filter(|_| listed.opened && !history.buried(session));
                        counts.for_each(|close| self.note_promised(session, close));
                        close
                    }
                    Err(e) => {
                        trouble(&names::session_close(session), e);
                        None
                    }
                },
            });
            s.closed = match close {
                None => None,
                Some(c) if !self.may_close(c, s.commit.committer) => {
                    let what = format!("it was written by a client that may not close the session of {}", s.id.short());
                    trouble(&names::session_close(session), Error::new(ErrorKind::Damaged, what));
                    None
                }
                Some(c) => Some(match c.kind {
                    CloseKind::End if c.snapshots.contains(&s.id) => Closed::Naming,
                    CloseKind::End => Closed::Without,
                    CloseKind::Abort => Closed::Aborted,
                    CloseKind::Fence => Closed::Fenced(c.seen_gen),
                }),
            };
            // Whether a session is not there because it was confirmed, only the lost record says.
            let recorded =
                history.confirms(s.statement.client, s.statement.seq) || (history.torn.is_some() && !listed.opened);
            // Its close may be another one than was listed: of whoever slept, and found the name free again.
            let opened = listed.opened && !history.buried(session);
            s.validity = validity(opened, s.closed, recorded);
            s.session_lost = !recorded && !opened && self.is_lost(session, s.commit.seen_gen, history);
        }
        // Or it was cleared away since, and a newer record says so.
        let moved = snapshots.iter().any(|s| s.session_lost) && self.log_went_on(history.log.generation())?;
        Ok(steady.get() && !moved)
    }

    /// Whether the first object of a session that is not listed is gone although no record buried it. Of burials
    /// before the newest checkpoint nothing is known any more: who had not seen that may have slept through one.
    fn is_lost(&self, session: SessionId, seen_gen: u64, history: &History) -> bool {
        let begin = history.checkpoint.as_ref().map_or(0, |c| c.generation);
        !history.buried(session) && seen_gen >= begin && !self.is_opened(session)
    }

    /// Whether a close says anything of what this client committed: others may only fence, and only
    /// those that may collect garbage.
    fn may_close(&self, close: &Close, committer: ClientId) -> bool {
        let role = self.author(close.author, close.author_epoch).map(|c| c.role);
        let collects = matches!(role, Ok(Role::Owner | Role::Maintain));
        close.author == committer || (close.kind == CloseKind::Fence && collects)
    }

    /// The highest place in a client's chain that is taken, and the statement there. A place that was
    /// forgotten is taken, even when nothing stands there any more, and so is one that was promised. A name
    /// alone takes a place only if it stands directly behind: it may be that of a damaged head.
    pub(super) fn head(&self, client: ClientId, history: &History) -> Result<(u64, RecordId)> {
        let listed = objects::list_either(self.storage.as_ref(), &format!("{}{client}/", prefix::SNAPSHOTS))?;
        let listed: BTreeSet<u64> = listed.iter().filter_map(|n| Some(names::parse_snapshot(n)?.1)).collect();
        let promised = self.promised(history)?;
        let promised = promised.range((client, 0)..=(client, u64::MAX)).next_back();
        let promised = promised.map_or((0, None), |((_, seq), id)| (*seq, Some(*id)));
        let mut head = promised.max(forgotten_last(client, history));
        for seq in listed.range(head.0..).rev() {
            match self.load_snapshot(&names::snapshot(client, *seq)) {
                Ok(s) => {
                    head = (*seq, Some(s.id));
                    break;
                }
                Err(e) if e.kind() == ErrorKind::Storage => return Err(e),
                Err(_) => {}
            }
        }
        let (mut head, told) = self.given_up_above(client, head)?;
        while let Some(next) = head.0.checked_add(1).filter(|n| listed.contains(n) || told.contains(n)) {
            head = (next, None);
        }
        // A damaged head must not end the chain: the next one says that it could not see it.
        Ok((head.0, head.1.unwrap_or(RecordId::ZERO)))
    }

    /// The highest place above one that the owner gave up, and what stood there, or else that one; and all
    /// places in whose names a decision stands.
    fn given_up_above(&self, client: ClientId, above: Taken) -> Result<(Taken, BTreeSet<u64>)> {
        let listed = self.storage.list(&format!("{}{client}/", prefix::TOMBSTONES))?;
        let place = |l: &crate::storage::Listed| Some(names::parse_tombstone(l.name.as_str())?.1);
        let told: BTreeSet<u64> = listed.iter().filter_map(place).collect();
        let mut higher: Vec<_> = listed.iter().filter(|l| place(l).is_some_and(|seq| seq > above.0)).collect();
        higher.sort_by_key(|l| std::cmp::Reverse(place(l)));
        for l in higher {
            match self.load_tombstone(l.name.as_str()) {
                Ok((t, _)) => return Ok(((t.seq, t.target), told)),
                Err(e) if e.kind() == ErrorKind::Storage => return Err(e),
                Err(_) => {}
            }
        }
        Ok((above, told))
    }

    /// Commit a snapshot: everything it needs must be durable. A lost race for a place in the chain
    /// takes the next one.
    pub fn commit(&self, who: &Identity, session: &Session, new: NewSnapshot) -> Result<RecordId> {
        self.commit_for(who, who, session, new, Received::default())
    }

    /// The same for one that another identity signs, and that came from elsewhere.
    pub fn commit_for(
        &self,
        author: &Identity,
        who: &Identity,
        session: &Session,
        new: NewSnapshot,
        received: Received,
    ) -> Result<RecordId> {
        let mut history = session.history();
        for _ in 0..TRIES {
            let head = self.place(author, (who, session), &new, received, &mut history)?;
            // Whoever slept while a checkpoint took the place of its tombstones finds a place free that
            // was given up: nobody looks there any more.
            self.catch_up(&mut history)?;
            if !history.forgot(head.client, head.seq) {
                return Ok(head.id);
            }
        }
        Err(outrun(author))
    }

    /// The same for whoever closes the session next, with [`Self::close_behind`]: only that tells
    /// whether the snapshot counts.
    pub fn commit_ahead(&self, who: &Identity, session: &Session, new: &NewSnapshot) -> Result<Head> {
        self.place(who, (who, session), new, Received::default(), &mut session.history())
    }

    /// Put a snapshot at the next place of its chain that is free.
    fn place(
        &self,
        author: &Identity,
        (who, session): (&Identity, &Session),
        new: &NewSnapshot,
        received: Received,
        history: &mut History,
    ) -> Result<Head> {
        let (mut statement, body) = (new.statement.clone(), &new.body);
        (statement.client, statement.client_epoch) = (author.client, author.epoch);
        let index = self.need(self.index_secret(self.epoch()), "write snapshots")?;
        let record = self.need(self.record_secret(self.epoch()), "write snapshots")?;
        let with = Secrets { epoch: self.epoch(), index: &index, record: &record };
        for _ in 0..TRIES {
            let (seq, prev) = self.head(author.client, history)?;
            let full = || Error::new(ErrorKind::Damaged, "the chain of snapshots has no place left");
            statement.seq = seq.checked_add(1).filter(|next| *next < names::PLACES_END).ok_or_else(full)?;
            statement.prev = prev;
            statement.body =
                snapshot::seal_body(body, self.domain(), author.client, statement.seq, &with, sys::salt()?);
            let (bytes, id) = snapshot::seal_statement(&statement, &with, sys::salt()?, &author.signer);
            let head = Head { client: author.client, seq: statement.seq, id };
            let (name, object) = self.seal_snapshot(who, session, &bytes, head, received)?;
            match self.put_small(&name, &object)? {
                Put::Created => {
                    self.has_committed(session, head, &name, &object);
                    return Ok(head);
                }
                Put::Exists if self.load_snapshot(&name).is_ok_and(|s| s.id == id) => {
                    session.has_committed(head);
                    return Ok(head);
                }
                Put::Exists => self.catch_up(history)?,
            }
        }
        Err(outrun(author))
    }
}

/// A place in a chain, and what stands or stood there, if that is known.
type Taken = (u64, Option<RecordId>);

/// The last place of a chain that a checkpoint names as given up.
fn forgotten_last(client: ClientId, history: &History) -> Taken {
    let Some(f) = history.forgotten.get(&client) else { return (0, None) };
    let last = f.ranges.last().map_or(0, |(_, last)| *last);
    (last, f.anchors.iter().find(|(at, _)| *at == last).map(|(_, id)| *id))
}

fn outrun(author: &Identity) -> Error {
    let what =
        format!("{TRIES} other backups of {:?} took the next place in its chain, one after another", author.name);
    Error::new(ErrorKind::Storage, what).hint("give machines that share a host name different names with --client")
}

impl Repository {
    /// The object that counts a sealed statement in at its place in the chain, and its name.
    fn seal_snapshot(
        &self,
        who: &Identity,
        session: &Session,
        statement: &[u8],
        head: Head,
        received: Received,
    ) -> Result<(String, Vec<u8>)> {
        let index = self.need(self.index_secret(self.epoch()), "write snapshots")?;
        let record = self.need(self.record_secret(self.epoch()), "write snapshots")?;
        let with = Secrets { epoch: self.epoch(), index: &index, record: &record };
        let commit = Commit {
            instance: self.instance(),
            session: session.id,
            seen_gen: session.seen_gen(),
            statement: head.id,
            committer: who.client,
            committer_epoch: who.epoch,
            received_from: received.from,
            received_at: received.at,
            ext: if received.hollow { vec![Ext { tag: commit_ext::HOLLOW, flags: 0, data: vec![] }] } else { vec![] },
        };
        let name = names::snapshot(head.client, head.seq);
        let object = snapshot::seal_object(statement, &commit, &name, self.domain(), &with, sys::salt()?, &who.signer);
        Ok((name, object))
    }

    /// What is done behind a commit.
    fn has_committed(&self, session: &Session, head: Head, name: &str, object: &[u8]) {
        session.has_committed(head);
        // The second home is a convenience: its absence costs nothing but a chance of repair.
        self.put_small(&names::copy_of(name), object).ok();
        if let Some(profile) = &self.profile {
            profile.committed(head);
        }
    }

    /// A snapshot's object as others take it over: its sealed statement, and that as evidence for
    /// repositories with other keys.
    pub fn statement_of(&self, s: &Snapshot) -> Result<(Vec<u8>, Vec<u8>)> {
        let name = names::snapshot(s.statement.client, s.statement.seq);
        let load = || -> Result<(Vec<u8>, Vec<u8>)> {
            let bytes = objects::get_either(self.storage.as_ref(), &name)?;
            let at = Found { domain: self.domain(), instance: self.instance(), name: &name };
            let opened = snapshot::open_object(&bytes, at, &|e| self.index_secret(e))?;
            if opened.id != s.id {
                return Err(Error::new(ErrorKind::Substituted, "another snapshot stands in its place than just now"));
            }
            Ok((snapshot::statement_in(&bytes)?.to_vec(), opened.origin()))
        };
        load().doing(|| format!("while reading {name}"))
    }

    /// Count in, at its own place, what a mirror has. Gives the one that stood there before.
    pub fn commit_mirrored(
        &self,
        who: &Identity,
        session: &Session,
        s: &Snapshot,
        statement: &[u8],
        received: Received,
    ) -> Result<Option<Snapshot>> {
        let head = Head { client: s.statement.client, seq: s.statement.seq, id: s.id };
        let (name, object) = self.seal_snapshot(who, session, statement, head, received)?;
        if self.put_small(&name, &object)? == Put::Created {
            self.has_committed(session, head, &name, &object);
            return Ok(None);
        }
        match self.load_snapshot(&name)? {
            there if there.id == head.id => Ok(Some(there)),
            there => Err(parted(s, &there)),
        }
    }
}

/// Two repositories of one domain have different snapshots at one place of a chain.
pub fn parted(ours: &Snapshot, theirs: &Snapshot) -> Error {
    let what = format!(
        "place {} in its chain is taken by snapshot {}: somebody backed up into both repositories under one client's name",
        ours.statement.seq,
        theirs.id.short()
    );
    Error::new(ErrorKind::Substituted, what)
        .hint("back up into one of the two under another name, with --client, and forget there what should not stay")
}

/// The last place of every chain: the highest that holds what can be read, that was given up or that was
/// promised, and names that stand directly behind it.
fn ends(
    listed: &[String],
    loaded: &[Snapshot],
    (history, tombstones, promised): (&History, &Tombstones, &Places),
) -> BTreeMap<ClientId, u64> {
    let decided = tombstones.all().map(|t| (t.client, t.seq));
    let forgotten = history.forgotten.keys().map(|client| (*client, forgotten_last(*client, history).0));
    let heads = history.heads.values().map(|h| (h.client, h.seq));
    let read = loaded.iter().map(|s| (s.statement.client, s.statement.seq));
    let mut ends: BTreeMap<ClientId, u64> = BTreeMap::new();
    for (client, seq) in decided.chain(forgotten).chain(heads).chain(promised.keys().copied()).chain(read) {
        let end = ends.entry(client).or_default();
        *end = seq.max(*end);
    }
    let places: BTreeSet<(ClientId, u64)> = listed.iter().filter_map(|name| names::parse_snapshot(name)).collect();
    for (client, seq) in places {
        let end = ends.entry(client).or_default();
        if end.checked_add(1) == Some(seq) {
            *end = seq;
        }
    }
    ends
}

/// Whether a name stands above a chain, and not directly behind it.
fn is_stray(name: &str, ends: &BTreeMap<ClientId, u64>) -> bool {
    names::parse_snapshot(name).is_some_and(|(client, seq)| ends.get(&client).is_some_and(|end| seq > *end))
}

/// That an object takes no place in a chain.
fn no_part(name: &str, e: Error) -> Error {
    let what = "it stands far above its chain and is no part of it, as it cannot be read";
    Error::new(ErrorKind::Substituted, what)
        .because(e)
        .hint(format!("delete {name} from the storage, and {} if that is there", names::copy_of(name)))
}

/// What others than its snapshots say of a chain.
struct Said<'a> {
    /// Whether a place was given up by a decision, and what stood there, where that is known.
    given_up: &'a dyn Fn(ClientId, u64) -> Option<Option<RecordId>>,
    /// Places that held something before snapshots were listed.
    promised: &'a Places,
}

impl Repository {
    /// A client's snapshots are numbered without gaps, and each names the one before: whoever takes one
    /// away or exchanges it shows.
    fn check_chains(
        &self,
        listed: &[String],
        loaded: &[Snapshot],
        said: &Said<'_>,
        trouble: &(dyn Fn(&str, Error) + Sync),
    ) {
        let mut chains: BTreeMap<ClientId, BTreeMap<u64, Option<&Snapshot>>> = BTreeMap::new();
        for (client, seq) in listed.iter().filter_map(|n| names::parse_snapshot(n)) {
            chains.entry(client).or_default().entry(seq).or_default();
        }
        for s in loaded {
            chains.entry(s.statement.client).or_default().insert(s.statement.seq, Some(s));
        }
        for (client, _) in said.promised.keys() {
            chains.entry(*client).or_default();
        }
        for (client, chain) in chains {
            let gone = |seq: u64| {
                let (name, e) = self.gone(client, seq, said.promised);
                trouble(&name, e);
            };
            let next = check_chain(client, &chain, &|seq| (said.given_up)(client, seq), &gone, trouble);
            let ends = said.promised.range((client, next)..=(client, u64::MAX)).next_back();
            let Some(((_, end), _)) = ends else { continue };
            // A listing may be late: what is there is not gone.
            let lacks = |seq: &u64| (said.given_up)(client, *seq).is_none() && !self.may_stand(client, *seq);
            (next..=*end).filter(lacks).take(TOLD).for_each(gone);
        }
    }

    /// That a snapshot is gone, and the name of its object.
    fn gone(&self, client: ClientId, seq: u64, promised: &Places) -> (String, Error) {
        let name = names::snapshot(client, seq);
        let which =
            promised.get(&(client, seq)).map_or("this snapshot".into(), |id| format!("snapshot {}", id.short()));
        let whose = self.clients().iter().find(|c| c.id == client);
        let whose = whose.map_or(String::new(), |c| format!(" of {:?}", c.name));
        let what = format!("{which}{whose} is gone without having been forgotten");
        let hint = format!("if it will not come back, `orlop forget --accept-lost {name}` goes on without it");
        (name, Error::new(ErrorKind::Missing, what).hint(hint))
    }

    /// Whether an object is there in either home of a place, or may be.
    fn may_stand(&self, client: ClientId, seq: u64) -> bool {
        let name = names::snapshot(client, seq);
        let there = |name: &str| objects::name(name).is_ok_and(|n| !matches!(self.storage.head(&n), Ok(None)));
        there(&name) || there(&names::copy_of(&name))
    }
}

/// Whether a place in a chain was given up by a decision, and what stood there, where that is known.
fn given_up(history: &History, tombstones: &Tombstones, client: ClientId, seq: u64) -> Option<Option<RecordId>> {
    let anchors = history.forgotten.get(&client).map_or(&[][..], |f| &f.anchors);
    let anchor = anchors.iter().find(|(at, _)| *at == seq).map(|(_, id)| *id);
    let mut told = tombstones.at(client, seq).iter();
    match told.next() {
        Some(t) => Some(t.target.or(anchor)),
        None => history.gave_up(client, seq).then_some(anchor),
    }
}

/// Gaps of a chain that are told one by one.
const TOLD: usize = 16;

/// Gives the place behind the last one of the chain.
fn check_chain(
    client: ClientId,
    chain: &BTreeMap<u64, Option<&Snapshot>>,
    given_up: &dyn Fn(u64) -> Option<Option<RecordId>>,
    gone: &dyn Fn(u64),
    trouble: &(dyn Fn(&str, Error) + Sync),
) -> u64 {
    let mut next = 1;
    let mut prev: Option<RecordId> = Some(RecordId::ZERO);
    for (seq, snapshot) in chain {
        (next..*seq).filter(|gap| given_up(*gap).is_none()).take(TOLD).for_each(gone);
        let Some(s) = snapshot else {
            (next, prev) = (seq.saturating_add(1), None);
            continue;
        };
        // Who could not read its predecessor says zero.
        let known = if next == *seq { prev } else { given_up(seq - 1).flatten() };
        if known.is_some_and(|p| p != s.statement.prev) && s.statement.prev != RecordId::ZERO {
            let what = "it does not follow the snapshot that stands before it: one of the two was exchanged";
            trouble(&names::snapshot(client, *seq), Error::new(ErrorKind::Substituted, what));
        }
        (next, prev) = (seq.saturating_add(1), Some(s.id));
    }
    next
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::crypto::Secret;
    use crate::format::keys::Credential;
    use crate::format::records::Purpose;
    use crate::repo::{InitOptions, SlotNote, init, open};
    use crate::storage::{MemoryStorage, Storage};

    pub fn statement(repo: &Repository, who: &Identity) -> Statement {
        Statement {
            domain: repo.domain(),
            client: who.client,
            seq: 1,
            prev: RecordId::ZERO,
            client_epoch: who.epoch,
            root: None,
            time: sys::now(),
            utc_offset: 0,
            started: sys::now(),
            ended: sys::now(),
            machine: [0; 8],
            config: repo.config_id(),
            flags: 0,
            parent: None,
            replaces: None,
            origin: None,
            heads: vec![],
            body: vec![],
            ext: vec![],
        }
    }

    /// A new repository in memory.
    pub fn made() -> Repository {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let options = InitOptions {
            credential: Credential::Nothing,
            recovery: false,
            compression: 3,
            suite: None,
            undelete_window: crate::repo::UNDELETE_WINDOW,
            mirror_of: None,
            cut_like: None,
        };
        init(&storage, &options).unwrap();
        open(storage, &Credential::Nothing, None).unwrap()
    }

    /// What somebody else signed for a mirror is nothing that a client may count in here.
    #[test]
    fn a_client_commits_only_what_it_signed() {
        let mut repo = made();
        let storage = repo.storage().clone();
        let victim = repo.identity(Some("victim")).unwrap();
        let key = Credential::Raw(Secret::new([1; 32]));
        repo.add_client_slot("mallory", &key, &SlotNote::default()).unwrap();
        let mallory = open(storage, &key, None).unwrap().identity(None).unwrap();
        let session = repo.begin(&victim, Purpose::Backup, vec![]).unwrap();

        let (epoch, index) = (repo.epoch(), repo.index_secret(repo.epoch()).unwrap());
        let with = Secrets { epoch, index: &index, record: &repo.record_secret(epoch).unwrap() };
        let mut said = statement(&repo, &victim);
        said.body = snapshot::seal_body(&Body::default(), repo.domain(), victim.client, 1, &with, [1; 32]);
        let (bytes, id) = snapshot::seal_statement(&said, &with, [2; 32], &victim.signer);
        let name = names::snapshot(victim.client, 1);
        for (who, counts) in [(&victim, true), (&mallory, false)] {
            let commit = Commit {
                instance: repo.instance(),
                session: session.id,
                seen_gen: 0,
                statement: id,
                committer: who.client,
                committer_epoch: who.epoch,
                received_from: None,
                received_at: None,
                ext: vec![],
            };
            let object = snapshot::seal_object(&bytes, &commit, &name, repo.domain(), &with, [3; 32], &who.signer);
            assert_eq!(repo.parse_snapshot(&name, &object).is_ok(), counts, "{}", who.name);
        }
    }
}
