//! What is decided about packs and snapshots after they were written: the gc log, tombstones,
//! suspects, annotations, hollow marks, the catalogue, checkpoints' state, receive times.
//!
//! These records are whole in format 1 although catalogues are not written yet: a reader of today must
//! be able to tell what a writer of tomorrow did. Who may say what, and in which order, is in
//! `format-spec/80-sessions.md`; this module knows only what one record may say in itself.
//!
//! gc records and tombstones have a clear part, signed on its own, so that a server without any
//! secret can allow exactly the deletions that were decided. It says nothing that a listing and
//! the deletions do not show.

mod sealed;

pub use sealed::{Clear, Found, Payload, Record, Sealing, open, seal, verify_clear};

use super::codec::{check_ext, decode, encode};
use super::limits::{GC_PACKS_MAX, TAGS_MAX, TEXT_MAX};
use super::record::{Place, RecordType};
use super::{FormatError, limit, names};
use crate::crypto::SigningKey;
use crate::id::{ClientId, InstanceId, PackId, RecordId, SegmentId, SessionId};
use crate::model::{Ext, Head, Name, Time};
use sealed::{clear_message, split_clear};

/// The clear part of a record, by its own fields and rules.
macro_rules! clear {
    ($name:ident) => {
        impl Clear for $name {
            fn seal(&self, kind: RecordType, place: &Place<'_>, signer: &SigningKey) -> Vec<u8> {
                let mut out = encode(self);
                let signature = signer.sign(&clear_message(kind, place, &out));
                out.extend_from_slice(&signature);
                out
            }
            fn open(kind: RecordType, bytes: &[u8]) -> Result<Self, FormatError> {
                let clear: Self = decode(kind.what(), split_clear(kind, bytes)?.0)?;
                check_ext(kind.what(), &clear.ext, &[])?;
                clear.check(kind.what())?;
                Ok(clear)
            }
        }
    };
}

/// Sets are written in one order, each member once.
fn ascending<T, K: Ord>(what: &'static str, list: &[T], key: impl Fn(&T) -> K) -> Result<(), FormatError> {
    if list.is_sorted_by(|a, b| key(a) < key(b)) {
        Ok(())
    } else {
        Err(FormatError::invalid(what, "a list does not ascend strictly"))
    }
}

fn refuse(what: &'static str, wrong: bool, why: &'static str) -> Result<(), FormatError> {
    if wrong { Err(FormatError::invalid(what, why)) } else { Ok(()) }
}

fn short(nonce: &[u8; 16]) -> [u8; 4] {
    std::array::from_fn(|i| nonce[i])
}

fn text(what: &'static str, s: &str) -> Result<(), FormatError> {
    limit(what, s.len() as u64, TEXT_MAX as u64)
}

/// A pack with the session in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct PackName {
    /// The pack.
    pub id: PackId,
    /// The session that uploaded it here.
    pub uploader: [u8; 4],
}

/// One step of garbage collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum GcKind {
    /// Condemns packs: nobody may use them from now on.
    Plan,
    /// Decides what becomes of a plan's packs; deletion follows.
    Finish,
    /// Repeats the whole state, so that older records may go.
    Checkpoint,
    /// Goes on after a record was lost.
    Restart,
}

/// What a gc record says to anyone.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct GcClear {
    /// Its place in the log, from 1.
    pub generation: u64,
    /// The record before it; zero for the first and after a lost one.
    pub prev: RecordId,
    /// Which step.
    pub kind: GcKind,
    /// The storage's clock.
    pub storage_time: Time,
    /// Of a finish: the plan.
    pub finishes: u64,
    /// Of a plan: packs that nobody may use from now on.
    pub condemned: Vec<PackName>,
    /// Of a plan: segments that take the place of others.
    pub new_index: Vec<SegmentId>,
    /// Of a plan: those others.
    pub superseded_index: Vec<SegmentId>,
    /// Of a plan or restart: sessions that were neither closed nor fenced.
    pub live_sessions: Vec<SessionId>,
    /// Of a finish: condemned packs that are needed after all.
    pub resurrected: Vec<PackName>,
    /// Of a finish: packs that are deleted.
    pub doomed_packs: Vec<PackName>,
    /// Of a finish: segments that are deleted.
    pub doomed_index: Vec<SegmentId>,
    /// Of all but a plan: other objects that are deleted.
    pub doomed_names: Vec<String>,
    /// Extensions.
    pub ext: Vec<Ext>,
}
clear!(GcClear);

impl GcClear {
    /// One that says nothing yet and has no place yet.
    pub fn new(kind: GcKind, storage_time: Time) -> Self {
        Self {
            generation: 0,
            prev: RecordId::ZERO,
            kind,
            storage_time,
            finishes: 0,
            condemned: vec![],
            new_index: vec![],
            superseded_index: vec![],
            live_sessions: vec![],
            resurrected: vec![],
            doomed_packs: vec![],
            doomed_index: vec![],
            doomed_names: vec![],
            ext: vec![],
        }
    }

    fn check(&self, what: &'static str) -> Result<(), FormatError> {
        let first_ok = (self.generation == 1 || self.kind == GcKind::Restart) == (self.prev == RecordId::ZERO);
        refuse(what, self.generation == 0 || !first_ok, "it does not continue the log")?;
        for packs in [&self.condemned, &self.resurrected, &self.doomed_packs] {
            limit("packs of a gc record", packs.len() as u64, GC_PACKS_MAX as u64)?;
            ascending(what, packs, |p| *p)?;
        }
        for index in [&self.new_index, &self.superseded_index, &self.doomed_index] {
            ascending(what, index, |s| *s)?;
        }
        ascending(what, &self.live_sessions, |s| *s)?;
        ascending(what, &self.doomed_names, |n| n.clone())?;
        let own = |n: &String| {
            Name::new(n.as_str()).is_err()
                || [names::prefix::PACKS, names::prefix::INDEX].iter().any(|p| n.starts_with(p))
        };
        refuse(what, self.doomed_names.iter().any(own), "a doomed name is none, or has a list of its own")?;
        let plan = self.kind == GcKind::Plan;
        let plans = !self.condemned.is_empty() || !self.new_index.is_empty() || !self.superseded_index.is_empty();
        let counts = plan || self.kind == GcKind::Restart;
        refuse(what, (plans && !plan) || !(counts || self.live_sessions.is_empty()), "only a plan condemns")?;
        let finish = self.kind == GcKind::Finish;
        let finishes = !self.resurrected.is_empty() || !self.doomed_packs.is_empty() || !self.doomed_index.is_empty();
        refuse(what, finishes && !finish, "only a finish dooms packs")?;
        refuse(what, !self.doomed_names.is_empty() && plan, "a plan deletes nothing")?;
        let right = if finish { (1..self.generation).contains(&self.finishes) } else { self.finishes == 0 };
        refuse(what, !right, "it finishes a plan that cannot be")?;
        let both = self.resurrected.iter().any(|p| self.doomed_packs.binary_search(p).is_ok());
        refuse(what, both, "a pack is resurrected and doomed")
    }
}

/// All statements of a client up to one, with exceptions.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Confirmed {
    /// Whose.
    pub client: ClientId,
    /// The last.
    pub upto: u64,
    /// Those that are not.
    pub except: Vec<u64>,
}

fn check_confirmed(what: &'static str, list: &[Confirmed]) -> Result<(), FormatError> {
    ascending(what, list, |c| c.client)?;
    for c in list {
        ascending(what, &c.except, |n| *n)?;
        let outside = c.upto == 0 || c.except.iter().any(|n| *n == 0 || *n > c.upto);
        refuse(what, outside, "an exception is outside its chain")?;
    }
    Ok(())
}

/// When storage received a snapshot, as whoever saw it first recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Seen {
    /// The snapshot.
    pub statement: RecordId,
    /// By the storage's clock.
    pub received: Time,
}

/// What was found about a suspected pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Verdict {
    /// The pack.
    pub pack: PackId,
    /// What was found.
    pub outcome: Outcome,
}

/// How a suspicion ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Outcome {
    /// It is good.
    Cleared,
    /// It was mended.
    Healed,
    /// It is bad, and the owner goes on without it.
    LostAccepted,
}

/// A record of the log that nobody can read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Lost {
    /// Which.
    pub generation: u64,
    /// BLAKE3 of the bytes that stand in its place, if any do.
    pub raw: Option<[u8; 32]>,
}

/// What a gc record says to those who have the index secret. `gc/<generation>`. The default says
/// nothing, by nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Gc {
    /// Who.
    pub author: ClientId,
    /// Epoch of the key that signs.
    pub author_epoch: u32,
    /// In which session.
    pub session: SessionId,
    /// The configuration in force.
    pub config: RecordId,
    /// The newest statement of every client.
    pub heads: Vec<Head>,
    /// Tombstones whose time has come, as of this step.
    pub expired: Vec<RecordId>,
    /// Snapshots that are known to be whole.
    pub confirmed: Vec<Confirmed>,
    /// Receive times of snapshots seen first.
    pub seen: Vec<Seen>,
    /// What was found about suspected packs.
    pub verdicts: Vec<Verdict>,
    /// Of a checkpoint or restart: the parts of the state.
    pub state: Vec<RecordId>,
    /// Of a restart: what was lost.
    pub lost: Option<Lost>,
    /// Makes two equal records different.
    pub nonce: [u8; 16],
    /// Extensions.
    pub ext: Vec<Ext>,
}

impl Payload for Gc {
    const KIND: RecordType = RecordType::Gc;
    type Clear = GcClear;
    fn place(&self, clear: &GcClear) -> String {
        names::gc(clear.generation)
    }
    fn ext(&self) -> &[Ext] {
        &self.ext
    }
    fn check(&self, clear: &GcClear) -> Result<(), FormatError> {
        let what = Self::KIND.what();
        ascending(what, &self.heads, |h| h.client)?;
        ascending(what, &self.expired, |id| *id)?;
        check_confirmed(what, &self.confirmed)?;
        ascending(what, &self.seen, |s| s.statement)?;
        ascending(what, &self.verdicts, |v| v.pack)?;
        let whole = matches!(clear.kind, GcKind::Checkpoint | GcKind::Restart);
        refuse(what, self.state.is_empty() == whole, "checkpoints and restarts have a state, others none")?;
        refuse(what, self.lost.is_some() != (clear.kind == GcKind::Restart), "only a restart follows a loss")?;
        let lost_before = self.lost.is_none_or(|l| (1..clear.generation).contains(&l.generation));
        refuse(what, !lost_before, "the lost record is none before it")
    }
}

/// What a tombstone says to anyone.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct TombstoneClear {
    /// Whose chain.
    pub client: ClientId,
    /// Which place in it.
    pub seq: u64,
    /// The snapshot stays whole until then, by the storage's clock.
    pub not_before: Time,
    /// Makes two equal records different; the first four bytes are in the name.
    pub nonce: [u8; 16],
    /// Extensions.
    pub ext: Vec<Ext>,
}
clear!(TombstoneClear);

impl TombstoneClear {
    fn check(&self, what: &'static str) -> Result<(), FormatError> {
        refuse(what, self.seq == 0, "chains begin with 1")
    }
}

/// Why a place in a chain is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Reason {
    /// Somebody, or a policy, said so.
    Forget,
    /// This one took its place.
    Replaced(RecordId),
    /// The record is gone, and the owner goes on without it.
    Lost,
    /// Takes back the tombstone with this id.
    Undelete(RecordId),
}

/// What a tombstone says. `tombstones/<client>/<seq>.<nonce>`.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Tombstone {
    /// Who.
    pub author: ClientId,
    /// Epoch of the key that signs.
    pub author_epoch: u32,
    /// The snapshot; `None` if its record is lost.
    pub target: Option<RecordId>,
    /// Why.
    pub reason: Reason,
    /// When, by the author's clock; for people only.
    pub made: Time,
    /// Extensions.
    pub ext: Vec<Ext>,
}

impl Payload for Tombstone {
    const KIND: RecordType = RecordType::Tombstone;
    type Clear = TombstoneClear;
    fn place(&self, clear: &TombstoneClear) -> String {
        names::tombstone(clear.client, clear.seq, short(&clear.nonce))
    }
    fn ext(&self) -> &[Ext] {
        &self.ext
    }
    fn check(&self, _: &TombstoneClear) -> Result<(), FormatError> {
        let lost = self.reason == Reason::Lost;
        refuse(Self::KIND.what(), lost == self.target.is_some(), "it names a lost record, or none")
    }
}

/// What is said to be wrong with a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Claim {
    /// Its bytes do not have the hash in its name: anybody can check.
    Bytes,
    /// This frame does not open, or holds other blobs than it should.
    Frame(u32),
    /// It is not there.
    Missing,
}

/// A claim that a pack is damaged. `suspect/<pack>/<nonce>`.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Suspect {
    /// The pack.
    pub pack: PackId,
    /// What is wrong.
    pub claim: Claim,
    /// Who says so.
    pub author: ClientId,
    /// Epoch of the key that signs.
    pub author_epoch: u32,
    /// When, by the author's clock; for people only.
    pub made: Time,
    /// Makes two equal records different; the first four bytes are in the name.
    pub nonce: [u8; 16],
    /// Extensions.
    pub ext: Vec<Ext>,
}

impl Payload for Suspect {
    const KIND: RecordType = RecordType::Suspect;
    type Clear = ();
    fn place(&self, (): &()) -> String {
        names::suspect(self.pack, short(&self.nonce))
    }
    fn ext(&self) -> &[Ext] {
        &self.ext
    }
    fn check(&self, (): &()) -> Result<(), FormatError> {
        Ok(())
    }
}

/// What an annotation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum About {
    /// A snapshot, wherever it is.
    Snapshot(RecordId),
    /// One repository.
    Repository(InstanceId),
}

/// What somebody said later.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Note {
    /// All tags the snapshot has from now on, ascending.
    Tags(Vec<String>),
    /// Its label; empty for none.
    Label(String),
    /// Its description; empty for none.
    Description(String),
    /// It must not go.
    Hold {
        /// Why.
        reason: String,
        /// Until then; `None` is for ever.
        until: Option<Time>,
    },
    /// Ends the hold with this record id.
    Release(RecordId),
    /// A rule for keeping and forgetting, by name; an empty rule takes it back.
    Policy {
        /// Which rule.
        name: String,
        /// What it says.
        rule: String,
    },
}

/// Something said about a snapshot or a repository. `notes/<author>/<n>.<nonce>`.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Annotation {
    /// Who.
    pub author: ClientId,
    /// Epoch of the key that signs.
    pub author_epoch: u32,
    /// One more than the highest that the author saw anywhere: the newest has the highest.
    pub n: u64,
    /// When, by the author's clock; for people only.
    pub made: Time,
    /// About what.
    pub about: About,
    /// What.
    pub note: Note,
    /// Makes two equal records different; the first four bytes are in the name.
    pub nonce: [u8; 16],
    /// Extensions.
    pub ext: Vec<Ext>,
}

impl Payload for Annotation {
    const KIND: RecordType = RecordType::Annotation;
    const PORTABLE: bool = true;
    type Clear = ();
    fn place(&self, (): &()) -> String {
        names::note(self.author, self.n, short(&self.nonce))
    }
    fn ext(&self) -> &[Ext] {
        &self.ext
    }
    fn check(&self, (): &()) -> Result<(), FormatError> {
        let what = Self::KIND.what();
        refuse(what, self.n == 0, "its counter begins with 1")?;
        let policy = matches!(self.note, Note::Policy { .. });
        refuse(what, policy != matches!(self.about, About::Repository(_)), "policies are about repositories")?;
        match &self.note {
            Note::Tags(tags) => {
                limit("tags of a snapshot", tags.len() as u64, TAGS_MAX as u64)?;
                ascending(what, tags, |t| t.clone())?;
                tags.iter().try_for_each(|t| text("length of a tag", t))
            }
            Note::Label(s) => text("length of a label", s),
            Note::Description(s) => text("length of a description", s),
            Note::Hold { reason, .. } => text("length of a reason", reason),
            Note::Release(_) => Ok(()),
            Note::Policy { name, rule } => {
                refuse(what, name.is_empty(), "a policy has a name")?;
                text("length of a name", name)?;
                text("length of a rule", rule)
            }
        }
    }
}

/// Whether a statement's content is here. `hollow/<client>/<seq>.<n>`; the highest `n` counts.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Hollow {
    /// Whose chain.
    pub client: ClientId,
    /// Which place in it.
    pub seq: u64,
    /// Which mark of this place, from 0: even ones say hollow, odd ones filled.
    pub n: u32,
    /// The statement.
    pub statement: RecordId,
    /// Its content is not here.
    pub hollow: bool,
    /// Who says so.
    pub author: ClientId,
    /// Epoch of the key that signs.
    pub author_epoch: u32,
    /// Makes two equal records different.
    pub nonce: [u8; 16],
    /// Extensions.
    pub ext: Vec<Ext>,
}

impl Payload for Hollow {
    const KIND: RecordType = RecordType::Hollow;
    type Clear = ();
    fn place(&self, (): &()) -> String {
        names::hollow(self.client, self.seq, self.n)
    }
    fn ext(&self) -> &[Ext] {
        &self.ext
    }
    fn check(&self, (): &()) -> Result<(), FormatError> {
        let what = Self::KIND.what();
        refuse(what, self.seq == 0, "chains begin with 1")?;
        refuse(what, self.hollow != self.n.is_multiple_of(2), "even marks say hollow, odd ones filled")
    }
}

/// One snapshot in a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct CatalogueEntry {
    /// Whose.
    pub client: ClientId,
    /// Its place in the chain.
    pub seq: u64,
    /// The whole snapshot object without its armour.
    pub object: Vec<u8>,
}

/// Many snapshots in one object. `catalog/<generation>.<part>`.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Catalogue {
    /// The checkpoint it belongs to.
    pub generation: u64,
    /// Which part, from 0.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// Ascending by client and place, also from part to part.
    pub entries: Vec<CatalogueEntry>,
    /// Who made it.
    pub author: ClientId,
    /// Epoch of the key that signs.
    pub author_epoch: u32,
    /// Extensions.
    pub ext: Vec<Ext>,
}

impl Payload for Catalogue {
    const KIND: RecordType = RecordType::Catalogue;
    type Clear = ();
    fn place(&self, (): &()) -> String {
        names::catalogue(self.generation, self.part)
    }
    fn ext(&self) -> &[Ext] {
        &self.ext
    }
    fn check(&self, (): &()) -> Result<(), FormatError> {
        let what = Self::KIND.what();
        refuse(what, self.part >= self.parts, "a part beyond the last")?;
        ascending(what, &self.entries, |e| (e.client, e.seq))
    }
}

/// The place that every part of a state is bound to.
const STATE_PLACE: &str = "state";

/// Places of a chain that were given up.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Forgotten {
    /// Whose chain.
    pub client: ClientId,
    /// First and last of each run of places, ascending and apart.
    pub ranges: Vec<(u64, u64)>,
    /// Ids of given-up statements that come directly before one that stays.
    pub anchors: Vec<(u64, RecordId)>,
}

/// A pack that may not be used, and the plan that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Condemned {
    /// The pack.
    pub pack: PackName,
    /// The plan.
    pub generation: u64,
}

/// A part of the state of a repository as of a checkpoint. `state/<its record id>`. The default says
/// nothing, by nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct State {
    /// The checkpoint it was made for.
    pub generation: u64,
    /// Who made it.
    pub author: ClientId,
    /// Epoch of the key that signs.
    pub author_epoch: u32,
    /// The newest statement of every client.
    pub heads: Vec<Head>,
    /// Snapshots that are known to be whole.
    pub confirmed: Vec<Confirmed>,
    /// Places that were given up.
    pub forgotten: Vec<Forgotten>,
    /// Packs condemned by plans that are not finished.
    pub condemned: Vec<Condemned>,
    /// Receive times.
    pub seen: Vec<Seen>,
    /// Packs that are known to be bad and not settled.
    pub bad: Vec<PackId>,
    /// Extensions.
    pub ext: Vec<Ext>,
}

impl Payload for State {
    const KIND: RecordType = RecordType::State;
    type Clear = ();
    fn place(&self, (): &()) -> String {
        STATE_PLACE.into()
    }
    fn object(&self, (): &(), id: RecordId) -> String {
        names::state(id)
    }
    fn ext(&self) -> &[Ext] {
        &self.ext
    }
    fn check(&self, (): &()) -> Result<(), FormatError> {
        let what = Self::KIND.what();
        ascending(what, &self.heads, |h| h.client)?;
        check_confirmed(what, &self.confirmed)?;
        ascending(what, &self.forgotten, |f| f.client)?;
        for f in &self.forgotten {
            let apart = f.ranges.is_sorted_by(|a, b| a.1.checked_add(1).is_some_and(|next| next < b.0));
            let forward = f.ranges.iter().all(|(first, last)| *first > 0 && first <= last);
            refuse(what, !apart || !forward, "runs of places touch or turn back")?;
            ascending(what, &f.anchors, |a| a.0)?;
        }
        ascending(what, &self.condemned, |c| c.pack)?;
        ascending(what, &self.seen, |s| s.statement)?;
        ascending(what, &self.bad, |p| *p)
    }
}

/// Receive times, recorded by whoever saw the snapshots first. `times/<author>/<n>.<nonce>`.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Times {
    /// Who.
    pub author: ClientId,
    /// Epoch of the key that signs.
    pub author_epoch: u32,
    /// The author's counter, from 1.
    pub n: u64,
    /// The times, ascending by statement.
    pub seen: Vec<Seen>,
    /// The owner looked at them: they count even where they differ from what was claimed.
    pub accepted: bool,
    /// Makes two equal records different; the first four bytes are in the name.
    pub nonce: [u8; 16],
    /// Extensions.
    pub ext: Vec<Ext>,
}

impl Payload for Times {
    const KIND: RecordType = RecordType::Times;
    type Clear = ();
    fn place(&self, (): &()) -> String {
        names::times(self.author, self.n, short(&self.nonce))
    }
    fn ext(&self) -> &[Ext] {
        &self.ext
    }
    fn check(&self, (): &()) -> Result<(), FormatError> {
        let what = Self::KIND.what();
        refuse(what, self.n == 0, "its counter begins with 1")?;
        ascending(what, &self.seen, |s| s.statement)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record;
    use super::*;
    use crate::crypto::Secret;
    use crate::id::DomainId;

    fn clear() -> GcClear {
        GcClear {
            generation: 2,
            prev: RecordId([1; 32]),
            condemned: vec![PackName { id: PackId([2; 32]), uploader: [3; 4] }],
            live_sessions: vec![SessionId([4; 16])],
            ..GcClear::new(GcKind::Plan, Time { sec: 1, nsec: 0 })
        }
    }

    fn gc() -> Gc {
        Gc {
            author: ClientId([5; 16]),
            author_epoch: 1,
            session: SessionId([6; 16]),
            config: RecordId([7; 32]),
            nonce: [8; 16],
            ..Gc::default()
        }
    }

    const DOMAIN: DomainId = DomainId([9; 16]);
    const INSTANCE: InstanceId = InstanceId([10; 16]);

    fn round_trip(payload: &Gc, clear: &GcClear) -> Result<Record<Gc>, FormatError> {
        let secret = Secret::new([11; 32]);
        let signer = SigningKey::from_seed(&Secret::new([12; 32]));
        let with =
            Sealing { domain: DOMAIN, instance: INSTANCE, epoch: 1, secret: &secret, salt: [13; 32], signer: &signer };
        let (bytes, name, id) = seal(payload, clear, &with);
        let at = Found { domain: DOMAIN, instance: INSTANCE, name: &name };
        let index = |_| Some(Secret::new([11; 32]));
        let record: Record<Gc> = open(&bytes, at, &index)?;
        assert_eq!((&record.payload, &record.clear, record.id), (payload, clear, id));
        record.verify(&signer.public()).unwrap();
        assert!(record.verify(&SigningKey::from_seed(&secret).public()).is_err());
        // A server has no secret, only the name and the keys of those who may decide.
        let envelope = record::parse(RecordType::Gc, &bytes)?;
        let place = Place { domain: DOMAIN, instance: INSTANCE, name: &name };
        verify_clear(RecordType::Gc, &place, envelope.clear, &signer.public())?;
        let elsewhere = Place { instance: InstanceId([0; 16]), ..place };
        assert!(verify_clear(RecordType::Gc, &elsewhere, envelope.clear, &signer.public()).is_err());
        Ok(record)
    }

    #[test]
    fn a_plan_round_trips_and_its_clear_part_stands_alone() {
        round_trip(&gc(), &clear()).unwrap();
    }

    #[test]
    fn every_kind_says_only_what_it_may() {
        let pack = PackName { id: PackId([2; 32]), uploader: [3; 4] };
        let empty = GcClear { condemned: vec![], live_sessions: vec![], ..clear() };
        let finish = GcClear { kind: GcKind::Finish, finishes: 1, doomed_packs: vec![pack], ..empty.clone() };
        round_trip(&gc(), &finish).unwrap();
        let check = GcClear { kind: GcKind::Checkpoint, ..empty.clone() };
        let state = Gc { state: vec![RecordId([1; 32])], ..gc() };
        round_trip(&state, &check).unwrap();
        let restart = GcClear { kind: GcKind::Restart, prev: RecordId::ZERO, ..empty.clone() };
        let lost = Some(Lost { generation: 1, raw: None });
        round_trip(&Gc { lost, ..state.clone() }, &restart).unwrap();

        let bad = [
            GcClear { generation: 0, ..clear() },
            GcClear { generation: 1, ..clear() },
            GcClear { prev: RecordId::ZERO, ..clear() },
            GcClear { condemned: vec![pack, pack], ..clear() },
            GcClear { condemned: vec![pack; GC_PACKS_MAX + 1], ..clear() },
            GcClear { doomed_packs: vec![pack], ..clear() },
            GcClear { finishes: 1, ..clear() },
            GcClear { doomed_names: vec!["gc/1".into()], ..clear() },
            GcClear { finishes: 2, ..finish.clone() },
            GcClear { resurrected: vec![pack], ..finish.clone() },
            GcClear { doomed_names: vec!["packs/00/00".into()], ..finish.clone() },
            GcClear { doomed_names: vec!["../x".into()], ..finish },
        ];
        for (i, c) in bad.iter().enumerate() {
            assert!(round_trip(&gc(), c).is_err(), "{i}");
        }
        assert!(round_trip(&gc(), &check).is_err(), "a checkpoint without a state");
        assert!(round_trip(&state, &clear()).is_err(), "a plan with a state");
        assert!(round_trip(&state, &restart).is_err(), "a restart that lost nothing");
        let lost = Some(Lost { generation: u64::MAX, raw: None });
        assert!(round_trip(&Gc { lost, ..state }, &restart).is_err(), "a restart after another loss");
    }
}
