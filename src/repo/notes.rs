//! Annotations: what people said about snapshots and the repository later. The newest wins.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Identity, Repository, Snapshot};
use crate::error::{Error, ErrorKind, Result};
use crate::format::gc::{About, Annotation, Note, Payload};
use crate::format::keys::Role;
use crate::format::names::{self, prefix};
use crate::id::{ClientId, RecordId};
use crate::model::Time;
use crate::storage::Put;
use crate::sys;

/// One annotation, verified.
#[derive(Debug, Clone)]
struct Said {
    id: RecordId,
    object: String,
    n: u64,
    author: ClientId,
    by_owner: bool,
    note: Note,
}

/// That a snapshot must not go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its id.
    pub id: RecordId,
    /// Why.
    pub reason: String,
    /// Until then; `None` is for ever.
    pub until: Option<Time>,
}

/// All annotations of a repository.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    of_snapshots: HashMap<RecordId, Vec<Said>>,
    of_repository: Vec<Said>,
    highest: u64,
}

impl Notes {
    /// The words that count of those about a snapshot, the newest last: the owner's, and those of
    /// the client that made it.
    fn about(&self, s: &Snapshot) -> impl Iterator<Item = &Said> {
        let client = s.statement.client;
        let said = self.of_snapshots.get(&s.id).map_or(&[][..], Vec::as_slice);
        said.iter().filter(move |a| a.by_owner || a.author == client)
    }

    /// Let a snapshot say what was said of it since: tags, label, description.
    pub fn apply(&self, s: &mut Snapshot) {
        let (mut tags, mut label, mut description) = (None, None, None);
        for said in self.about(s) {
            match &said.note {
                Note::Tags(new) => tags = Some(new.clone()),
                Note::Label(new) => label = Some(new.clone()),
                Note::Description(new) => description = Some(new.clone()),
                _ => {}
            }
        }
        let body = &mut s.body;
        body.tags = tags.unwrap_or_else(|| std::mem::take(&mut body.tags));
        body.label = label.unwrap_or_else(|| std::mem::take(&mut body.label));
        body.description = description.unwrap_or_else(|| std::mem::take(&mut body.description));
    }

    /// What holds a snapshot at a time.
    pub fn holds(&self, s: &Snapshot, now: Time) -> Vec<Hold> {
        let released: HashSet<RecordId> = self.about(s).flat_map(|by| self.releases(s, by)).collect();
        let hold = |said: &Said| match &said.note {
            Note::Hold { reason, until } if until.is_none_or(|t| t > now) && !released.contains(&said.id) => {
                Some(Hold { id: said.id, reason: reason.clone(), until: *until })
            }
            _ => None,
        };
        self.about(s).filter_map(hold).collect()
    }

    /// What a release ends: the owner's any hold, a client's its own.
    fn releases(&self, s: &Snapshot, by: &Said) -> Option<RecordId> {
        let Note::Release(id) = by.note else { return None };
        let may = |held: &Said| held.id == id && (by.by_owner || held.author == by.author);
        self.about(s).any(may).then_some(id)
    }

    /// Objects that say nothing any more: newer ones of a kind took their places, or what they are
    /// about is gone. `there` are all snapshots, listed after these words were. Of a hold and its
    /// release the hold goes first, and what ends it only when it is gone.
    pub fn superseded(&self, there: &[Snapshot]) -> Vec<String> {
        let ids: HashMap<RecordId, &Snapshot> = there.iter().map(|s| (s.id, s)).collect();
        let mut out = Vec::new();
        for (id, all) in &self.of_snapshots {
            let Some(s) = ids.get(id) else {
                out.extend(all.iter().map(|said| said.object.clone()));
                continue;
            };
            let mut newest: [Option<&Said>; 3] = [None; 3];
            let released: HashSet<RecordId> = self.about(s).flat_map(|by| self.releases(s, by)).collect();
            for said in self.about(s) {
                let over = match &said.note {
                    Note::Tags(_) => newest[0].replace(said),
                    Note::Label(_) => newest[1].replace(said),
                    Note::Description(_) => newest[2].replace(said),
                    Note::Hold { .. } => Some(said).filter(|h| released.contains(&h.id)),
                    Note::Release(of) => Some(said).filter(|_| all.iter().all(|h| h.id != *of)),
                    Note::Policy { .. } => None,
                };
                out.extend(over.map(|said| said.object.clone()));
            }
        }
        let mut newest: BTreeMap<&str, &Said> = BTreeMap::new();
        for said in &self.of_repository {
            if let Note::Policy { name, .. } = &said.note {
                out.extend(newest.insert(name, said).map(|old| old.object.clone()));
            }
        }
        out
    }

    /// The policies that are in force, by their names.
    pub fn policies(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        for said in &self.of_repository {
            if let Note::Policy { name, rule } = &said.note {
                out.insert(name.clone(), rule.clone());
            }
        }
        out.retain(|_, rule| !rule.is_empty());
        out
    }
}

impl Repository {
    /// All annotations. What cannot be read is told to `trouble` and says nothing.
    pub fn notes(&self, trouble: &(dyn Fn(&str, Error) + Sync)) -> Result<Notes> {
        let listed = self.storage.list(prefix::NOTES)?;
        let found = self.load_listed(&listed, trouble, |object| self.load_note(object))?;
        let seen = listed.iter().filter_map(|l| names::parse_note(l.name.as_str()));
        let mut out = Notes { highest: seen.map(|(_, n, _)| n).max().unwrap_or(0), ..Notes::default() };
        for (about, said) in found {
            match about {
                About::Snapshot(id) => out.of_snapshots.entry(id).or_default().push(said),
                About::Repository(id) if id == self.instance() && said.by_owner => out.of_repository.push(said),
                About::Repository(_) => {}
            }
        }
        let order = |said: &Said| (said.n, said.id);
        out.of_snapshots.values_mut().for_each(|all| all.sort_by_key(order));
        out.of_repository.sort_by_key(order);
        Ok(out)
    }

    fn load_note(&self, object: &str) -> Result<(About, Said)> {
        let record = self.open_decision::<Annotation>(object)?;
        let author = self.author(record.payload.author, record.payload.author_epoch)?;
        record.verify(&author.key)?;
        let by_owner = author.role == Role::Owner;
        let Annotation { n, author, about, note, .. } = record.payload;
        Ok((about, Said { id: record.id, object: object.to_owned(), n, author, by_owner, note }))
    }

    pub(super) fn verify_note(&self, object: &str) -> Result<()> {
        self.load_note(object).map(drop)
    }

    /// Say something about a snapshot. `notes` is what was said before, and takes it in.
    pub fn annotate(&self, who: &Identity, notes: &mut Notes, s: &Snapshot, note: Note) -> Result<RecordId> {
        if self.role() != Role::Owner && s.statement.client != who.client {
            let what = format!("snapshot {} is another client's, and this key may speak of its own only", s.id.short());
            return Err(Error::new(ErrorKind::Forbidden, what).hint("use the owner's key"));
        }
        self.say(who, notes, About::Snapshot(s.id), note)
    }

    /// Set a policy; an empty rule takes it back.
    pub fn set_policy(&self, who: &Identity, notes: &mut Notes, name: &str, rule: &str) -> Result<RecordId> {
        self.need(self.keyring.owner.as_ref(), "set policies")?;
        let note = Note::Policy { name: name.to_owned(), rule: rule.to_owned() };
        self.say(who, notes, About::Repository(self.instance()), note)
    }

    fn say(&self, who: &Identity, notes: &mut Notes, about: About, note: Note) -> Result<RecordId> {
        let said = Annotation {
            author: who.client,
            author_epoch: who.epoch,
            n: notes.highest.saturating_add(1),
            made: sys::now(),
            about,
            note,
            nonce: sys::random()?,
            ext: vec![],
        };
        check(&said.note)?;
        let object = said.place(&());
        let (id, put) = self.put_decision(who, &said, &())?;
        if put == Put::Exists {
            return Err(Error::new(ErrorKind::Exists, "somebody said something else under the same number")
                .hint("run the command again"));
        }
        notes.highest = said.n;
        let by_owner = self.client_key(who.client, who.epoch).is_some_and(|c| c.role == Role::Owner);
        let said = Said { id, object, n: said.n, author: who.client, by_owner, note: said.note };
        match about {
            About::Snapshot(of) => notes.of_snapshots.entry(of).or_default().push(said),
            About::Repository(_) => notes.of_repository.push(said),
        }
        Ok(id)
    }
}

/// What no reader would take is not written.
fn check(note: &Note) -> Result<()> {
    use crate::format::limits::{TAGS_MAX, TEXT_MAX};
    let texts: Vec<&String> = match note {
        Note::Tags(tags) => tags.iter().collect(),
        Note::Label(text) | Note::Description(text) => vec![text],
        Note::Hold { reason, .. } => vec![reason],
        Note::Policy { name, rule } => vec![name, rule],
        Note::Release(_) => vec![],
    };
    let many = matches!(note, Note::Tags(tags) if tags.len() > TAGS_MAX);
    if many || texts.iter().any(|t| t.len() > TEXT_MAX) {
        let what = format!("that is more than the format allows: {TAGS_MAX} tags, {TEXT_MAX} bytes for a text");
        return Err(Error::new(ErrorKind::Invalid, what));
    }
    Ok(())
}
