//! Storages that keep what was overwritten or deleted: which versions there are of each object, and which
//! of them was the object at some time.
//!
//! What the bytes of an object should be is not known here: whoever looks back brings a [`Judge`].

use super::{Name, Storage, StorageError};
use crate::model::Time;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// One version of an object, or the mark that it was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Of which object.
    pub name: Name,
    /// What the storage calls it.
    pub id: String,
    /// When it came, by the storage's clock.
    pub at: Time,
    /// Its length in bytes.
    pub len: u64,
    /// The same for equal contents, where the storage says something of that kind.
    pub tag: Option<u64>,
    /// It is no object: from then on there was none.
    pub deleted: bool,
    /// It is what readers get who ask for no version.
    pub current: bool,
}

impl Version {
    /// Whether the two have the same bytes, as far as the storage says so.
    pub fn is_same(&self, other: &Self) -> bool {
        self.id == other.id || (self.tag.is_some() && (self.len, self.tag) == (other.len, other.tag))
    }
}

/// A storage that keeps versions. What is here beyond a [`Storage`] is for those who look back, and for the one
/// who puts back what was there.
pub trait Versions: Storage {
    /// Every version of every object below a prefix, as for [`Storage::list`], in any order but that of one
    /// name newest first.
    fn versions(&self, prefix: &str) -> Result<Vec<Version>, StorageError>;
    /// All bytes of a version.
    fn get_version(&self, version: &Version) -> Result<Vec<u8>, StorageError>;
    /// Fill `into` with the bytes of a version from `offset`.
    fn get_version_range(&self, version: &Version, offset: u64, into: &mut [u8]) -> Result<(), StorageError>;
    /// Make this the object, whatever is there. What is there stays as a version.
    fn put_over(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError>;
}

/// Nothing longer is stored, so nobody need read it to know that it is not the object.
pub const LONGEST: u64 = 1 << 30;

/// What bytes are worth under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// The name says that they are the object.
    Proven,
    /// Nothing speaks against them.
    Likely,
    /// They are not the object, or not whole.
    Broken,
}

/// Says what bytes are worth under a name.
pub type Judge = fn(&str, &[u8]) -> Worth;

/// The versions of each object, newest first.
#[derive(Debug, Default)]
pub struct Histories(pub BTreeMap<Name, Vec<Version>>);

impl Histories {
    /// Of what a storage listed.
    pub fn of(listed: Vec<Version>) -> Self {
        let mut all: BTreeMap<Name, Vec<Version>> = BTreeMap::new();
        for version in listed {
            all.entry(version.name.clone()).or_default().push(version);
        }
        for history in all.values_mut() {
            // Clocks of storages are coarse. Of a version and a deletion at the same moment the version counts as the later:
            // what is there for nothing does no harm.
            history.sort_by_key(|v| (!v.current, Reverse(v.at), v.deleted));
        }
        Self(all)
    }

    /// Whether the storage keeps versions at all: else all have the name that S3 gives to the only one.
    pub fn are_kept(&self) -> bool {
        self.0.is_empty() || self.0.values().flatten().any(|v| v.id != "null")
    }
}

/// What may be an object as it was at a time, best first: what was there then, what had been before, and
/// what came later. Empty if there was no object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    versions: Vec<Version>,
    /// So many of them are not later.
    until: usize,
}

impl Candidates {
    /// Of a history, newest first.
    pub fn of(history: &[Version], when: Time) -> Self {
        let (until, later): (Vec<&Version>, Vec<&Version>) = history.iter().partition(|v| v.at <= when);
        if until.first().is_none_or(|v| v.deleted) {
            return Self { versions: Vec::new(), until: 0 };
        }
        let objects = |of: &[&Version]| of.iter().filter(|v| !v.deleted).map(|v| (*v).clone()).collect::<Vec<_>>();
        let mut versions = objects(&until);
        let until = versions.len();
        versions.extend(objects(&later).into_iter().rev());
        Self { versions, until }
    }

    /// The newest that was there.
    pub fn first(&self) -> Option<&Version> {
        self.versions.first()
    }

    /// Whether all that had been there until then is the same. Then nobody need read anything to choose.
    pub fn is_plain(&self) -> bool {
        let (Some(first), Some(until)) = (self.first(), self.versions.get(..self.until)) else { return true };
        until.iter().all(|v| v.is_same(first))
    }

    /// The one whose bytes the name proves; else the newest until then that nothing speaks against; else the
    /// newest until then. What came later counts only if it is proven.
    pub fn choose<E>(
        &self,
        mut judge: impl FnMut(&Version) -> Result<Worth, E>,
    ) -> Result<Option<(&Version, Worth)>, E> {
        let mut seen: Vec<&Version> = Vec::new();
        let mut likely = None;
        for (n, version) in self.versions.iter().enumerate() {
            if seen.iter().any(|v| v.is_same(version)) {
                continue;
            }
            seen.push(version);
            let worth = if version.len > LONGEST { Worth::Broken } else { judge(version)? };
            match worth {
                Worth::Proven => return Ok(Some((version, Worth::Proven))),
                // Names either prove or do not: nothing better comes behind it.
                Worth::Likely if n < self.until => {
                    likely = Some((version, Worth::Likely));
                    break;
                }
                _ => {}
            }
        }
        Ok(likely.or_else(|| self.first().map(|first| (first, Worth::Broken))))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A version at a second; `content` is its tag, `None` a deletion.
    pub(in crate::storage) fn version(name: &str, at: i64, content: Option<u64>) -> Version {
        Version {
            name: Name::new(name).expect("a name"),
            id: format!("{at}-{content:?}"),
            at: Time { sec: at, nsec: 0 },
            len: 1,
            tag: content,
            deleted: content.is_none(),
            current: false,
        }
    }

    /// Of seconds and contents, in any order.
    fn history(of: &[(i64, Option<u64>)]) -> Vec<Version> {
        let listed = of.iter().map(|(at, content)| version("packs/ab/x", *at, *content)).collect();
        Histories::of(listed).0.into_values().next().unwrap_or_default()
    }

    /// Content 1 is proven, contents from 100 on are likely, others are broken.
    fn judge(v: &Version) -> Result<Worth, ()> {
        Ok(match v.tag {
            Some(1) => Worth::Proven,
            Some(100..) => Worth::Likely,
            _ => Worth::Broken,
        })
    }

    fn chosen(of: &[(i64, Option<u64>)], when: i64) -> Option<(i64, Worth)> {
        let candidates = Candidates::of(&history(of), Time { sec: when, nsec: 0 });
        candidates.choose(judge).expect("no error").map(|(v, worth)| (v.at.sec, worth))
    }

    #[test]
    fn what_was_there_is_chosen() {
        use Worth::{Broken, Likely, Proven};
        // Overwritten later, deleted later, and there again.
        assert_eq!(chosen(&[(1, Some(1)), (5, Some(9))], 3), Some((1, Proven)));
        assert_eq!(chosen(&[(1, Some(1)), (5, None)], 3), Some((1, Proven)));
        assert_eq!(chosen(&[(1, Some(1)), (5, None), (7, Some(9))], 3), Some((1, Proven)));
        // Not there yet, and not any more.
        assert_eq!(chosen(&[(5, Some(1))], 3), None);
        assert_eq!(chosen(&[(1, Some(1)), (2, None)], 3), None);
        assert_eq!(chosen(&[], 3), None);
        // Overwritten before: what the name proves is older, or came later.
        assert_eq!(chosen(&[(1, Some(1)), (2, Some(9))], 3), Some((1, Proven)));
        assert_eq!(chosen(&[(2, Some(9)), (5, Some(1))], 3), Some((5, Proven)));
        assert_eq!(chosen(&[(2, Some(9))], 3), Some((2, Broken)));
        // Where no name proves anything the newest until then counts, unless it is broken.
        assert_eq!(chosen(&[(1, Some(100)), (2, Some(101)), (5, Some(102))], 3), Some((2, Likely)));
        assert_eq!(chosen(&[(1, Some(100)), (2, Some(9)), (5, Some(102))], 3), Some((1, Likely)));
        assert_eq!(chosen(&[(2, Some(9)), (5, Some(102))], 3), Some((2, Broken)), "later, and not proven");
        // The moment itself counts; a deletion at the same moment does not.
        assert_eq!(chosen(&[(3, Some(1)), (3, None)], 3), Some((3, Proven)));
    }

    #[test]
    fn what_is_the_same_is_not_read() {
        let candidates = |of: &[(i64, Option<u64>)]| Candidates::of(&history(of), Time { sec: 3, nsec: 0 });
        assert!(candidates(&[(1, Some(1)), (2, Some(1)), (5, Some(9))]).is_plain());
        assert!(!candidates(&[(1, Some(1)), (2, Some(9))]).is_plain());
        let mut read = 0;
        let three = candidates(&[(1, Some(9)), (2, Some(9)), (5, Some(9))]);
        three
            .choose(|_| {
                Ok::<_, ()>({
                    read += 1;
                    Worth::Broken
                })
            })
            .expect("no error");
        assert_eq!(read, 1);
    }

    #[test]
    fn what_nothing_is_as_long_as_is_not_read() {
        let long = Version { len: LONGEST + 1, ..version("packs/ab/x", 2, Some(9)) };
        let histories = Histories::of(vec![long, version("packs/ab/x", 1, Some(1))]);
        let history = histories.0.into_values().next().unwrap_or_default();
        let candidates = Candidates::of(&history, Time { sec: 3, nsec: 0 });
        let chosen = candidates.choose(|v| {
            assert!(v.len <= LONGEST);
            judge(v)
        });
        assert_eq!(chosen.expect("no error").map(|(v, worth)| (v.at.sec, worth)), Some((1, Worth::Proven)));
    }

    #[test]
    fn who_keeps_nothing_is_known_by_its_only_name() {
        let only = |id: &str| Histories::of(vec![Version { id: id.into(), ..version("gc/1", 1, Some(1)) }]);
        assert!(!only("null").are_kept() && only("x").are_kept() && Histories::default().are_kept());
    }

    proptest! {
        /// Whatever is done to an object after it was stored whole and before somebody looks: looking back to a
        /// time before that gives its bytes, and to any time no other bytes than some that were there.
        #[test]
        fn no_attack_hides_what_was_there(
            stored in 1i64..10,
            attacks in prop::collection::vec((11i64..30, prop::option::of(2u64..9)), 0..12),
            when in 0i64..40,
        ) {
            let mut of = vec![(stored, Some(1))];
            of.extend(attacks);
            prop_assert_eq!(chosen(&of, 10), Some((stored, Worth::Proven)));
            // Deleted at that time, or there with the bytes that the name proves.
            if let Some((at, worth)) = chosen(&of, when) {
                prop_assert_eq!((at, worth), (stored, Worth::Proven));
                prop_assert!(when >= stored);
            }
        }
    }
}
