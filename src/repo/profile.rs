//! What this machine remembers of a repository, so that another one in its place is noticed, and
//! an older state of the same one, too.
//!
//! One small file for each place. It holds no secret; losing it loses the memory and nothing else.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::{Repository, locked};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ClientId, RecordId, SlotId, hex};
use crate::model::Head;
use crate::storage::probe::Findings;

const VERSION: u32 = 1;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    version: u32,
    place: String,
    instance: String,
    domain: String,
    admin: String,
    config: u32,
    #[serde(default)]
    slot: Option<String>,
    #[serde(default)]
    heads: BTreeMap<String, KnownHead>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownHead {
    seq: u64,
    id: String,
}

/// What is told when the file cannot be kept.
pub type Complain = Box<dyn Fn(String) + Send + Sync>;

/// The memory of one place.
pub struct Remembered {
    file: PathBuf,
    place: String,
    known: Mutex<Option<Known>>,
    /// What is met is older than what is remembered, and nothing to remember.
    past: bool,
    complain: Complain,
}

impl Remembered {
    /// What is remembered of `place`, below `dir`. What cannot be read, or was cut off, counts as not
    /// remembered, but a file that is not ours to understand is an error.
    pub fn load(dir: &Path, place: &str, complain: Complain) -> Result<Self> {
        let file = dir.join(format!("{}.json", place_key(place)));
        let known = match std::fs::read(&file) {
            Ok(bytes) if serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_err() => {
                complain(format!("{} is damaged: the repository is taken for what it is", file.display()));
                None
            }
            Ok(bytes) => Some(parse(&bytes, &file)?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => {
                complain(format!("what is remembered of this repository in {} cannot be read: {e}", file.display()));
                None
            }
        };
        Ok(Self { file, place: place.to_owned(), known: Mutex::new(known), past: false, complain })
    }

    /// Whether the bytes of such a file say what a repository is.
    pub fn is_readable(bytes: &[u8]) -> bool {
        parse(bytes, Path::new("")).is_ok()
    }

    /// For a repository that is read as it was at an earlier time: it must be the same one, but it may lack what is
    /// remembered, and nothing of it is remembered.
    #[must_use]
    pub fn of_the_past(self) -> Self {
        Self { past: true, ..self }
    }

    /// Forget everything: whatever is there next is accepted.
    pub fn forget(&self) {
        match std::fs::remove_file(&self.file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                (self.complain)(format!("{} cannot be removed: {e}", self.file.display()));
            }
            _ => {}
        }
        *self.lock() = None;
    }

    /// Whether a repository was met at the place.
    pub fn knows_any(&self) -> bool {
        self.lock().is_some()
    }

    /// The slot that opened it last time.
    pub fn slot_hint(&self) -> Option<SlotId> {
        self.lock().as_ref().and_then(|k| SlotId::parse(k.slot.as_deref()?).ok())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        locked(&self.known)
    }

    /// Compare an opened repository with what is remembered, and remember it.
    pub(super) fn meet(&self, repo: &Repository) -> Result<()> {
        let mut guard = self.lock();
        let config = repo.config();
        let mut now = Known {
            version: VERSION,
            place: self.place.clone(),
            instance: repo.instance().hex(),
            domain: repo.domain().hex(),
            admin: hex(&config.admin.0),
            config: config.n,
            slot: Some(repo.slot().hex()),
            heads: BTreeMap::new(),
        };
        if let Some(known) = &*guard {
            if (&known.instance, &known.domain, &known.admin) != (&now.instance, &now.domain, &now.admin) {
                return Err(self.refuse("is not the one that was there before"));
            }
            if config.n < known.config && !self.past {
                return Err(self.refuse("is older than it was before: its configuration goes backwards"));
            }
            now.heads.clone_from(&known.heads);
        }
        if guard.as_ref() != Some(&now) && !self.past {
            self.write(&now);
            *guard = Some(now);
        }
        Ok(())
    }

    /// Compare the ends of the clients' chains with what is remembered, and remember them.
    /// `heads`: of each client the highest place that is taken, and the statement there, or zero
    /// where it cannot be read. `at` gives the statement at a place.
    pub(super) fn see(&self, heads: &[Head], at: &dyn Fn(ClientId, u64) -> Option<RecordId>) -> Result<()> {
        if self.past {
            return Ok(());
        }
        let mut guard = self.lock();
        let Some(known) = guard.as_mut() else { return Ok(()) };
        for (client, old) in &known.heads {
            let Ok(client) = ClientId::parse(client) else { continue };
            let top = heads.iter().find(|h| h.client == client).map_or(0, |h| h.seq);
            let other = at(client, old.seq).is_some_and(|id| id.hex() != old.id);
            if top < old.seq || other {
                return Err(self.refuse("lacks snapshots that were there before"));
            }
        }
        let before = known.heads.clone();
        for h in heads.iter().filter(|h| h.id != RecordId::ZERO) {
            merge(&mut known.heads, h.client.hex(), KnownHead { seq: h.seq, id: h.id.hex() });
        }
        if known.heads != before {
            self.write(known);
        }
        Ok(())
    }

    /// Remember a snapshot that was just committed.
    pub(super) fn committed(&self, head: Head) {
        if self.past {
            return;
        }
        if let Some(known) = self.lock().as_mut() {
            merge(&mut known.heads, head.client.hex(), KnownHead { seq: head.seq, id: head.id.hex() });
            self.write(known);
        }
    }

    fn refuse(&self, what: &str) -> Error {
        Error::new(ErrorKind::Substituted, format!("the repository in {} {what}", self.place))
            .hint("if somebody else can write there, find out what happened before you trust it")
            .hint("if it was replaced or set back on purpose, run the command once with --accept-repository")
            .hint(format!("that forgets what is remembered in {}", self.file.display()))
    }

    /// Write the file anew, with what other processes saw meanwhile.
    fn write(&self, known: &Known) {
        let mut all = known.clone();
        if let Some(theirs) = std::fs::read(&self.file).ok().and_then(|b| parse(&b, &self.file).ok())
            && theirs.instance == all.instance
        {
            for (client, head) in theirs.heads {
                merge(&mut all.heads, client, head);
            }
        }
        if let Err(e) = self.replace(&all) {
            (self.complain)(format!("what this repository is cannot be remembered in {}: {e}", self.file.display()));
        }
    }

    fn replace(&self, known: &Known) -> std::io::Result<()> {
        replace(&self.file, &serde_json::to_vec_pretty(known)?)
    }
}

/// What a probe found, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Probed {
    version: u32,
    place: String,
    findings: Findings,
}

fn probed_file(dir: &Path, place: &str) -> PathBuf {
    dir.join(format!("{}.storage.json", place_key(place)))
}

/// What was found out of the storage at `place`, if that was ever asked and can be read.
pub fn findings(dir: &Path, place: &str) -> Option<Findings> {
    findings_in(&std::fs::read(probed_file(dir, place)).ok()?, place)
}

/// What such a file says of `place`.
pub fn findings_in(bytes: &[u8], place: &str) -> Option<Findings> {
    let kept: Probed = serde_json::from_slice(bytes).ok()?;
    (kept.version == VERSION && kept.place == place).then_some(kept.findings)
}

/// Keep what was found.
pub fn keep_findings(dir: &Path, place: &str, findings: &Findings) -> std::io::Result<()> {
    let kept = Probed { version: VERSION, place: place.to_owned(), findings: findings.clone() };
    replace(&probed_file(dir, place), &serde_json::to_vec_pretty(&kept)?)
}

/// A private file in the place of another, at once.
fn replace(file: &Path, text: &[u8]) -> std::io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let draft = file.with_extension(format!("{}.tmp", std::process::id()));
    let mut open = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    let written = open.write_all(text).and_then(|()| open.sync_all());
    written.and_then(|()| std::fs::rename(&draft, file)).inspect_err(|_| {
        let _ = std::fs::remove_file(&draft);
    })
}

/// The name of a place where it may not hold a slash.
pub fn place_key(place: &str) -> String {
    hex(&blake3::derive_key("orlop v1 profile", place.as_bytes())[..16])
}

fn merge(heads: &mut BTreeMap<String, KnownHead>, client: String, head: KnownHead) {
    let old = heads.entry(client).or_insert_with(|| head.clone());
    if head.seq > old.seq {
        *old = head;
    }
}

fn parse(bytes: &[u8], file: &Path) -> Result<Known> {
    let bad = |why: String| {
        Error::new(ErrorKind::Invalid, format!("{} does not say what a repository is: {why}", file.display()))
            .hint("--accept-repository, or removing it, takes the repository for what it is")
    };
    let known: Known = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
    if known.version == VERSION { Ok(known) } else { Err(bad(format!("version {} is not known", known.version))) }
}

impl Repository {
    /// Compare with what is remembered, now and whenever snapshots are listed.
    pub fn remember(&mut self, profile: Remembered) -> Result<()> {
        profile.meet(self)?;
        self.profile = Some(profile);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: u64, id: u8) -> Head {
        Head { client: ClientId([7; 16]), seq, id: RecordId([id; 32]) }
    }

    fn profile(dir: &Path) -> Remembered {
        let p = Remembered::load(dir, "/repo", Box::new(|m| panic!("{m}"))).expect("readable");
        if p.lock().is_none() {
            *p.lock() = Some(Known {
                version: VERSION,
                place: "/repo".into(),
                instance: String::new(),
                domain: String::new(),
                admin: String::new(),
                config: 1,
                slot: None,
                heads: BTreeMap::new(),
            });
        }
        p
    }

    #[test]
    fn the_past_may_lack_what_is_remembered_and_is_not_remembered() {
        let dir = tempfile::tempdir().expect("a place");
        let nobody = |_, _| None;
        profile(dir.path()).see(&[head(5, 5)], &nobody).expect("the first look");
        let kept = std::fs::read(profile(dir.path()).file).expect("kept");
        let past = profile(dir.path()).of_the_past();
        past.see(&[head(4, 4)], &nobody).expect("it was shorter");
        past.see(&[head(9, 9)], &nobody).expect("or longer, by a clock that is wrong");
        past.committed(head(10, 10));
        assert_eq!(std::fs::read(past.file).expect("kept"), kept);
        assert!(profile(dir.path()).see(&[head(4, 4)], &nobody).is_err(), "now it may not");
    }

    #[test]
    fn chains_only_grow() {
        let dir = tempfile::tempdir().expect("a place");
        let state = dir.path().join("a/b");
        let nobody = |_, _| None;
        profile(&state).see(&[head(3, 3)], &nobody).expect("the first look");
        profile(&state).see(&[head(4, 4)], &nobody).expect("it grew");
        profile(&state).committed(head(5, 5));
        let back = profile(&state).see(&[head(4, 4)], &nobody).expect_err("it shrank");
        assert_eq!(back.kind(), ErrorKind::Substituted);
        assert!(back.hints().iter().any(|h| h.contains(".json")), "{back:?}");
        let swapped = |_, seq| (seq == 5).then_some(RecordId([9; 32]));
        assert!(profile(&state).see(&[head(6, 6)], &swapped).is_err(), "another one is in its place");
        profile(&state).see(&[head(6, 0)], &nobody).expect("a damaged head is no substitute");
        assert!(profile(&state).see(&[], &nobody).is_err(), "all are gone");
        let mode = |p: &Path| std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(p).expect("made")) & 0o777;
        let file = profile(&state).file;
        assert_eq!((mode(&state), mode(&file)), (0o700, 0o600));
        profile(&state).forget();
        profile(&state).see(&[head(1, 1)], &nobody).expect("nothing is remembered");
    }

    #[test]
    fn a_file_of_somebody_else_is_not_overwritten() {
        let dir = tempfile::tempdir().expect("a place");
        let file = dir.path().join(format!("{}.json", place_key("/repo")));
        std::fs::write(&file, "{}").expect("writable");
        let error = Remembered::load(dir.path(), "/repo", Box::new(|_| {})).err().expect("not understood");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        std::fs::write(&file, "").expect("writable");
        let said = std::sync::Arc::new(Mutex::new(Vec::new()));
        let complain = {
            let said = said.clone();
            Box::new(move |m: String| locked(&said).push(m))
        };
        let memory = Remembered::load(dir.path(), "/repo", complain).expect("a file that was cut off is none");
        assert!(!memory.knows_any() && locked(&said)[0].contains("is damaged"));
    }
}
