//! A storage of which every folder is listed once, for as long as somebody looks at it.
//!
//! Whoever reads many kinds of objects that shall be no older than some moment calls
//! [`Viewed::look`] at that moment: everything that is listed from then on is listed once, and all
//! in one request where the storage can do that. The look ends with whatever this process writes,
//! with anything that is not as it was listed, when it is a minute old, and with
//! [`Viewed::look_away`]. Outside a look, nothing is remembered.
//!
//! With a [`Cache`], small objects and parts of packs that were read before come from there: an object
//! only if this process saw it in a listing, as long as it was when it was kept, and with the same tag
//! if the storage gives any. So what is gone, or was replaced, is never served.

use super::cache::Part;
use super::{Cache, Draft, Listed, Name, Put, Storage, StorageError, StorageErrorKind, hand_on};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long a look lasts at most.
const LASTS: Duration = Duration::from_secs(60);

/// A storage, and what was listed of it since somebody began to look.
pub struct Viewed {
    inner: Arc<dyn Storage>,
    state: Mutex<State>,
    cache: RwLock<Option<Arc<Cache>>>,
}

#[derive(Default)]
struct State {
    look: Option<Look>,
    /// How many looks there were.
    looks: u64,
    /// There is more than one request gives.
    vast: bool,
    /// What was listed of each object, if there is a cache: length and tag.
    listed: HashMap<Name, (u64, Option<u64>)>,
}

struct Look {
    n: u64,
    since: Instant,
    folders: BTreeMap<String, Arc<Vec<Listed>>>,
}

impl Look {
    /// What was listed and has everything below `prefix`.
    fn covering(&self, prefix: &str) -> Option<&Arc<Vec<Listed>>> {
        self.folders.iter().find(|(folder, _)| prefix.starts_with(folder.as_str())).map(|(_, listed)| listed)
    }
}

/// What a look says of a folder.
enum Seen {
    /// This.
    There(Arc<Vec<Listed>>),
    /// Nothing yet; the number of the look, and whether everything may be listed at once.
    NotYet(u64, bool),
    /// Nobody looks.
    Off,
}

impl Viewed {
    /// Nobody looks at it yet.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, state: Mutex::default(), cache: RwLock::default() }
    }

    /// The same with a cache.
    pub fn with_cache(inner: Arc<dyn Storage>, cache: Option<Cache>) -> Self {
        Self { inner, state: Mutex::default(), cache: RwLock::new(cache.map(Arc::new)) }
    }

    /// From now on everything is read where it is.
    pub fn without_cache(&self) {
        *self.cache.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// It is this repository's, as one of its key slots says.
    pub(crate) fn settle(&self, instance: &str) {
        if let Some(cache) = self.cache() {
            cache.settle(instance);
        }
    }

    fn cache(&self) -> Option<Arc<Cache>> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As it was listed; `None` if it was not, or is no object that is kept.
    fn whole(&self, name: &Name) -> Option<Part> {
        let (len, tag) = *self.state().listed.get(name)?;
        Some(Part::Whole(len, tag)).filter(|part| Cache::takes(name, *part))
    }

    /// Remember how objects were listed. Packs are many, and read by content.
    fn note(&self, listed: &[Listed]) {
        if self.cache().is_some() {
            let of_pack = |name: &str| name.starts_with("packs/") || name.starts_with("parity/");
            let of_records = listed.iter().filter(|l| !of_pack(l.name.as_str()));
            self.state().listed.extend(of_records.map(|l| (l.name.clone(), (l.len, l.tag))));
        }
    }

    /// From now on every folder is listed once.
    pub fn look(&self) {
        let mut state = self.state();
        state.looks += 1;
        state.look = Some(Look { n: state.looks, since: Instant::now(), folders: BTreeMap::new() });
    }

    /// The same unless somebody looks already.
    pub fn keep_looking(&self) {
        let looks = self.state().look.is_some();
        if !looks {
            self.look();
        }
    }

    /// From now on everything is asked anew.
    pub fn look_away(&self) {
        self.state().look = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete in itself, so a panic elsewhere spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self, prefix: &str) -> Seen {
        let mut state = self.state();
        if state.look.as_ref().is_some_and(|look| look.since.elapsed() > LASTS) {
            state.look = None;
        }
        let vast = state.vast;
        match &state.look {
            None => Seen::Off,
            Some(look) => match look.covering(prefix) {
                Some(listed) => Seen::There(Arc::clone(listed)),
                None => Seen::NotYet(look.n, look.folders.is_empty() && !vast),
            },
        }
    }

    /// Remember a listing, if it is still the same look.
    fn learn(&self, n: u64, folder: &str, listed: Arc<Vec<Listed>>) {
        if let Some(look) = self.state().look.as_mut().filter(|look| look.n == n) {
            look.folders.insert(folder.to_owned(), listed);
        }
    }

    /// Everything in one request, if that gives everything.
    fn glance(&self, n: u64) -> Result<Option<Arc<Vec<Listed>>>, StorageError> {
        match self.inner.glance()? {
            Some(all) => {
                self.note(&all);
                let all = Arc::new(all);
                self.learn(n, "", Arc::clone(&all));
                Ok(Some(all))
            }
            None => {
                self.state().vast = true;
                Ok(None)
            }
        }
    }

    /// What is not as it was listed ends the look.
    fn surprised<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if result.as_ref().is_err_and(|e| e.kind == StorageErrorKind::NotFound) {
            self.look_away();
        }
        result
    }
}

/// The part of a sorted listing that is below a prefix.
fn below(listed: &[Listed], prefix: &str) -> Vec<Listed> {
    let from = listed.partition_point(|l| l.name.as_str() < prefix);
    listed[from..].iter().take_while(|l| l.name.as_str().starts_with(prefix)).cloned().collect()
}

impl Storage for Viewed {
    hand_on!([inner]: glance glances clock received staleness exclusive claims_exclusive at_once place);

    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        self.look_away();
        let put = self.inner.put_new(name, bytes)?;
        let part = Part::Whole(bytes.len() as u64, None);
        // Where a name may be taken twice, only a listing knows whose object it is.
        if let Some(cache) = self.cache().filter(|_| put == Put::Created && Cache::takes(name, part))
            && self.inner.claims_exclusive()
        {
            cache.keep(name, part, bytes);
        }
        Ok(put)
    }

    fn draft(&self) -> Result<Box<dyn Draft>, StorageError> {
        self.look_away();
        self.inner.draft()
    }

    fn get(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        let kept = self.cache().and_then(|cache| cache.find(name, self.whole(name)?));
        match kept.filter(|bytes| bytes.len() as u64 <= max) {
            Some(bytes) => Ok(bytes),
            None => self.surprised(self.inner.get(name, max)),
        }
    }

    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        match self.get_kept(name, offset, into) {
            true => Ok(()),
            false => self.surprised(self.inner.get_range(name, offset, into)),
        }
    }

    fn get_kept(&self, name: &Name, offset: u64, into: &mut [u8]) -> bool {
        let part = Part::Range(offset, into.len() as u64);
        let kept = self.cache().filter(|_| Cache::takes(name, part)).and_then(|cache| cache.find(name, part));
        let kept = kept.filter(|bytes| bytes.len() == into.len());
        if let Some(bytes) = &kept {
            into.copy_from_slice(bytes);
        }
        kept.is_some()
    }

    fn head(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        match self.seen(name.as_str()) {
            Seen::There(listed) => {
                let at = listed.binary_search_by(|l| l.name.cmp(name));
                Ok(at.ok().and_then(|i| listed.get(i)).map(|l| l.len))
            }
            _ => self.inner.head(name),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        let n = match self.seen(prefix) {
            Seen::There(listed) => return Ok(below(&listed, prefix)),
            Seen::Off => {
                let listed = self.inner.list(prefix)?;
                self.note(&listed);
                return Ok(listed);
            }
            Seen::NotYet(n, true) => match self.glance(n)? {
                Some(all) => return Ok(below(&all, prefix)),
                None => n,
            },
            Seen::NotYet(n, false) => n,
        };
        let listed = self.inner.list(prefix)?;
        self.note(&listed);
        self.learn(n, prefix, Arc::new(listed.clone()));
        Ok(listed)
    }

    fn keep(&self, name: &Name, offset: u64, bytes: &[u8]) {
        let Some(cache) = self.cache() else { return };
        let range = Part::Range(offset, bytes.len() as u64);
        let part = if Cache::takes(name, range) { Some(range) } else { self.whole(name) };
        // It may have been replaced between the listing and the reading: then it is not what was listed.
        if let Some(part) =
            part.filter(|part| *part == range || matches!(part, Part::Whole(len, _) if *len == bytes.len() as u64))
        {
            cache.keep(name, part, bytes);
        }
    }

    fn keeps(&self) -> bool {
        self.cache().is_some()
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.look_away();
        self.state().listed.remove(name);
        self.inner.delete(name)
    }

    fn heal(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError> {
        self.look_away();
        self.state().listed.remove(name);
        self.inner.heal(name, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;
    use crate::storage::testing::{RecordingStorage, Verb, contract};

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    /// A storage with three objects, counted, and a look at it.
    fn world() -> (MemoryStorage, RecordingStorage<MemoryStorage>, Viewed) {
        let memory = MemoryStorage::new();
        for text in ["gc/1", "gc-old/1", "index/1"] {
            memory.plant(&name(text), b"x");
        }
        let counted = RecordingStorage::new(memory.clone());
        (memory, counted.clone(), Viewed::new(Arc::new(counted)))
    }

    fn names(storage: &Viewed, prefix: &str) -> Vec<String> {
        storage.list(prefix).expect("listed").into_iter().map(|l| l.name.as_str().to_owned()).collect()
    }

    #[test]
    fn it_still_is_a_storage() {
        contract(&|| Box::new(Viewed::new(Arc::new(MemoryStorage::new()))));
        let looking = || {
            let viewed = Viewed::new(Arc::new(MemoryStorage::new()));
            viewed.look();
            viewed
        };
        contract(&|| Box::new(looking()));
    }

    #[test]
    fn a_look_lists_once() {
        let (memory, counted, viewed) = world();
        assert_eq!((names(&viewed, "gc/"), names(&viewed, "gc/").len()), (vec!["gc/1".into()], 1));
        assert_eq!(counted.calls(Verb::List), 2, "nobody looks");
        counted.reset();
        viewed.look();
        assert_eq!(names(&viewed, "gc/"), ["gc/1"]);
        memory.plant(&name("gc/2"), b"later");
        assert_eq!(
            (names(&viewed, "gc/").len(), names(&viewed, "index/").len(), names(&viewed, "keys/").len()),
            (1, 1, 0)
        );
        assert_eq!(viewed.head(&name("index/1")).expect("asked"), Some(1));
        assert_eq!(viewed.head(&name("gc/2")).expect("asked"), None, "it came after the look");
        assert_eq!(counted.requests(), 1, "{counted}");
        viewed.look();
        assert_eq!(names(&viewed, "gc/"), ["gc/1", "gc/2"], "a new look sees what came before it");
    }

    #[test]
    fn what_is_written_or_missing_ends_a_look() {
        type End = fn(&Viewed);
        let ends: [(&str, End); 6] = [
            ("put", |v| drop(v.put_new(&name("a/1"), b"x"))),
            ("draft", |v| drop(v.draft())),
            ("delete", |v| drop(v.delete(&name("index/1")))),
            ("heal", |v| drop(v.heal(&name("index/1"), b"y"))),
            ("miss", |v| drop(v.get(&name("index/2"), 9))),
            ("away", Viewed::look_away),
        ];
        for (what, end) in ends {
            let (memory, _, viewed) = world();
            viewed.look();
            assert_eq!(names(&viewed, "gc/").len(), 1);
            memory.plant(&name("gc/2"), b"later");
            assert_eq!(names(&viewed, "gc/").len(), 1);
            end(&viewed);
            assert_eq!(names(&viewed, "gc/").len(), 2, "{what}");
        }
    }

    #[test]
    fn what_is_too_much_for_one_request_is_listed_by_folder() {
        let (memory, counted, viewed) = world();
        for n in 0..1000 {
            memory.plant(&name(&format!("packs/{n}")), b"x");
        }
        viewed.look();
        for _ in 0..2 {
            assert_eq!((names(&viewed, "gc/").len(), names(&viewed, "packs/").len()), (1, 1000));
        }
        assert_eq!(counted.calls(Verb::List), 3, "one in vain, and one for each folder");
        viewed.look();
        assert_eq!((names(&viewed, "gc/").len(), counted.calls(Verb::List)), (1, 4), "not tried again");
    }
}
