//! Which hard links were met already, in bounded memory.

use hashbrown::HashMap;

use super::FileId;

/// Remembers files with several names until all their names were met, and forgets those that were
/// not asked about for longest when there are too many.
///
/// Only an optimisation: a forgotten file is read again and its chunks are known. Two generations
/// stand in for an exact order of age: what is asked about moves to the young one, and when that
/// is full, the old one goes and the young one takes its place.
#[derive(Debug)]
pub struct LinkMap<V> {
    young: HashMap<FileId, (u32, V)>,
    old: HashMap<FileId, (u32, V)>,
    half: usize,
}

/// Most files that are remembered by default.
const LINKS_MAX: usize = 1 << 20;

impl<V> Default for LinkMap<V> {
    fn default() -> Self {
        Self::with_capacity(LINKS_MAX)
    }
}

impl<V> LinkMap<V> {
    /// Remembers at most `max` files.
    pub fn with_capacity(max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (max / 2).max(1) }
    }
    /// The first name of a file with `nlink` names was met.
    pub fn first(&mut self, file: FileId, nlink: u32, value: V) {
        if nlink > 1 {
            self.old.remove(&file);
            self.put(file, nlink - 1, value);
        }
    }
    /// One more name was met: what the first one left, if it is known. The last name takes it
    /// out of the map.
    pub fn again(&mut self, file: FileId) -> Option<V>
    where
        V: Clone,
    {
        let (left, value) = self.young.remove(&file).or_else(|| self.old.remove(&file))?;
        if left > 1 {
            self.put(file, left - 1, value.clone());
        }
        Some(value)
    }
    /// How many files are remembered.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn put(&mut self, file: FileId, left: u32, value: V) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(file, (left, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Time;
    use crate::source::Kind;

    fn id(ino: u64) -> FileId {
        FileId { dev: 1, ino, kind: Kind::File, born: Time::default() }
    }

    #[test]
    fn an_entry_goes_with_its_last_name() {
        let mut map = LinkMap::default();
        map.first(id(1), 3, 'a');
        map.first(id(2), 1, 'b');
        assert_eq!((map.again(id(1)), map.again(id(1)), map.again(id(1))), (Some('a'), Some('a'), None));
        assert_eq!(map.again(id(2)), None);
        assert!(map.is_empty());
    }

    #[test]
    fn memory_stays_bounded_and_the_recent_stay() {
        let mut map = LinkMap::with_capacity(100);
        for i in 0..10_000 {
            map.first(id(i), 1000, i);
            assert!(map.len() <= 101);
            assert_eq!(map.again(id(0)), Some(0), "asked about all the time");
            if i >= 10 {
                assert_eq!(map.again(id(i - 10)), Some(i - 10), "at {i}");
            }
            if i == 900 {
                map.first(id(0), 100_000, 0);
            }
        }
    }
}
