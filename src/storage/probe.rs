//! What a storage really does, found out by doing it.
//!
//! Services claim, and versions of them differ; some take a condition and do not look at it. The
//! answers decide which guarantees hold, so they are kept (`repo::profile`). All of it happens under
//! one fresh prefix below `probe/`, and is deleted in the end if that is allowed.

use super::{Name, Put, Storage, StorageError, StorageErrorKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::sync::Barrier;

/// Where objects of a probe are.
pub const PREFIX: &str = "probe/";

/// How often a name is wanted by several at once, and by how many.
const RACES: usize = 6;
const RACERS: usize = 4;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// A taken name is told as such, and what is there stays.
    pub taken_once: bool,
    /// Of several who want a name at once over two connections one gets it.
    pub taken_by_one: bool,
    /// What was put is read over another connection, at once.
    pub read_after_write: bool,
    /// And listed.
    pub list_after_write: bool,
    /// Pieces of objects come exactly, and what is beyond the end is refused.
    pub ranges: bool,
    /// Objects can be deleted; `None` if that is refused.
    pub deletes: Option<bool>,
    /// The longest name with all characters that names have comes back as it was put.
    pub names: bool,
    /// How many seconds the storage's clock is ahead of this machine's; `None` if it does not say.
    pub clock_ahead: Option<i64>,
    /// It says when objects arrived.
    pub receive_times: bool,
}

impl Findings {
    /// Whether a name can be taken by one only.
    pub fn is_exclusive(&self) -> bool {
        self.taken_once && self.taken_by_one
    }

    /// Whether what was written is seen at once.
    pub fn is_fresh(&self) -> bool {
        self.read_after_write && self.list_after_write
    }
}

struct Room {
    prefix: String,
}

impl Room {
    fn new() -> Result<Self, StorageError> {
        let random = getrandom::u64().map_err(|e| StorageError::new("probe", PREFIX, "here", io::Error::other(e)))?;
        Ok(Self { prefix: format!("{PREFIX}{random:016x}/") })
    }

    fn name(&self, last: &str) -> Result<Name, StorageError> {
        Name::new(format!("{}{last}", self.prefix))
            .map_err(|e| StorageError::new("probe", last, "here", io::Error::other(e)))
    }
}

/// The short question: whether a name is taken once.
pub fn takes_names_once(storage: &dyn Storage) -> Result<bool, StorageError> {
    let name = Room::new()?.name("once")?;
    let once = twice(storage, storage, &name)?;
    // Who may not delete leaves a few bytes behind.
    let _ = storage.delete(&name);
    Ok(once)
}

fn twice(one: &dyn Storage, two: &dyn Storage, name: &Name) -> Result<bool, StorageError> {
    let first = one.put_new(name, b"first")?;
    let second = two.put_new(name, b"second")?;
    Ok((first, second) == (Put::Created, Put::Exists) && one.get(name, 16)? == b"first")
}

/// Find everything out. `one` and `two` are connections of their own to one place; `now` is what
/// this machine takes for the time, in seconds since 1970.
pub fn probe(one: &dyn Storage, two: &dyn Storage, now: &dyn Fn() -> i64) -> Result<Findings, StorageError> {
    let room = Room::new()?;
    let found = look(&room, one, two, now);
    let deletes = sweep(&room, one, two)?;
    Ok(Findings { deletes, ..found? })
}

fn look(room: &Room, one: &dyn Storage, two: &dyn Storage, now: &dyn Fn() -> i64) -> Result<Findings, StorageError> {
    let once = room.name("once")?;
    let taken_once = twice(one, two, &once)?;
    let mut taken_by_one = true;
    for round in 0..RACES {
        taken_by_one &= race(one, two, &room.name(&format!("race-{round}"))?)?;
    }
    let fresh = room.name("fresh")?;
    let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    one.put_new(&fresh, &bytes)?;
    let read_after_write = two.get(&fresh, 1 << 20).is_ok_and(|b| b == bytes);
    let list_after_write = two.list(&room.prefix)?.iter().any(|l| l.name == fresh && l.len == bytes.len() as u64);
    // The other connection may not see it yet, which is another question.
    let ranges = ranges(one, &fresh, &bytes)?;
    let names = names(room, one, two)?;
    let clock_ahead = one.clock().ok().map(|there| there - now());
    let receive_times = one.received(&fresh)?.is_some();
    Ok(Findings {
        taken_once,
        taken_by_one,
        read_after_write,
        list_after_write,
        ranges,
        deletes: None,
        names,
        clock_ahead,
        receive_times,
    })
}

/// Whether exactly one of several got the name, and what is there is the winner's.
fn race(one: &dyn Storage, two: &dyn Storage, name: &Name) -> Result<bool, StorageError> {
    let start = Barrier::new(RACERS);
    let put = |racer: usize| {
        let storage = if racer.is_multiple_of(2) { one } else { two };
        start.wait();
        storage.put_new(name, &[racer as u8; 1000])
    };
    let puts: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS).map(|racer| scope.spawn(move || put(racer))).collect();
        racers.into_iter().map(|r| r.join().unwrap_or(Ok(Put::Exists))).collect()
    });
    let mut winners = Vec::new();
    for (racer, put) in puts.into_iter().enumerate() {
        if put? == Put::Created {
            winners.push(racer as u8);
        }
    }
    match one.get(name, 1000) {
        Ok(there) => Ok(winners.len() == 1 && there.iter().all(|b| *b == winners[0])),
        // Who does not see what another connection made cannot promise who was first.
        Err(e) if e.kind == StorageErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn ranges(storage: &dyn Storage, name: &Name, bytes: &[u8]) -> Result<bool, StorageError> {
    let mut right = true;
    for (offset, len) in [(0, 1), (99_999, 1), (12_345, 54_321), (0, 100_000)] {
        let mut into = vec![0; len];
        storage.get_range(name, offset as u64, &mut into)?;
        right &= into == bytes[offset..offset + len];
    }
    let beyond = storage.get_range(name, 99_999, &mut [0; 2]);
    Ok(right && beyond.is_err_and(|e| e.kind == StorageErrorKind::Length))
}

fn names(room: &Room, one: &dyn Storage, two: &dyn Storage) -> Result<bool, StorageError> {
    let alphabet = "abcdefghijklmnopqrstuvwxyz0123456789_-.";
    let long = alphabet.repeat(3);
    let long = room.name(&long[..127 - room.prefix.len()])?;
    match one.put_new(&long, b"long") {
        Ok(_) => Ok(two.list(&room.prefix)?.iter().any(|l| l.name == long)),
        Err(e) if e.kind == StorageErrorKind::Unreachable => Err(e),
        Err(_) => Ok(false),
    }
}

/// Delete what the probe made, and look whether it is gone.
fn sweep(room: &Room, one: &dyn Storage, two: &dyn Storage) -> Result<Option<bool>, StorageError> {
    // Each may see what the other does not see yet.
    let listed: BTreeSet<Name> = [one, two]
        .into_iter()
        .map(|storage| storage.list(&room.prefix))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .map(|l| l.name)
        .collect();
    for name in &listed {
        match one.delete(name) {
            Err(e) if e.kind == StorageErrorKind::Denied => return Ok(None),
            other => other?,
        }
    }
    Ok(Some(two.list(&room.prefix)?.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::{FaultStorage, How, Verb};
    use crate::storage::{Draft, Listed, MemoryStorage};

    fn clock() -> i64 {
        MemoryStorage::new().clock().expect("a clock")
    }

    #[test]
    fn a_storage_that_keeps_its_promises() {
        let storage = MemoryStorage::new();
        let found = probe(&storage, &storage.clone(), &clock).expect("probed");
        assert!(found.is_exclusive() && found.is_fresh() && found.ranges && found.names, "{found:?}");
        assert_eq!(found.deletes, Some(true));
        assert!(found.clock_ahead.is_some_and(|s| s.abs() < 5));
        assert!(storage.list("").expect("listed").is_empty(), "nothing stays");
        assert!(takes_names_once(&storage).expect("asked") && storage.list("").expect("listed").is_empty());
    }

    /// Overwrites, as servers do that do not know the condition.
    struct Careless(MemoryStorage);

    impl Storage for Careless {
        fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
            self.0.plant(name, bytes);
            Ok(Put::Created)
        }
        fn draft(&self) -> Result<Box<dyn Draft>, StorageError> {
            self.0.draft()
        }
        fn get(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
            self.0.get(name, max)
        }
        fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
            self.0.get_range(name, offset, into)
        }
        fn head(&self, name: &Name) -> Result<Option<u64>, StorageError> {
            self.0.head(name)
        }
        fn list(&self, _: &str) -> Result<Vec<Listed>, StorageError> {
            Ok(Vec::new())
        }
        fn delete(&self, name: &Name) -> Result<(), StorageError> {
            self.0.delete(name)
        }
        fn heal(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError> {
            self.0.heal(name, bytes)
        }
        fn clock(&self) -> Result<i64, StorageError> {
            self.0.clock().map(|t| t + 600)
        }
        fn place(&self) -> String {
            self.0.place()
        }
    }

    #[test]
    fn one_that_does_not() {
        let storage = Careless(MemoryStorage::new());
        let found = probe(&storage, &storage, &clock).expect("probed");
        assert!(!found.taken_once && !found.is_exclusive() && !found.is_fresh() && !found.names, "{found:?}");
        assert!(found.clock_ahead.is_some_and(|s| (595..605).contains(&s)), "{found:?}");
        assert!(!takes_names_once(&storage).expect("asked"));
    }

    #[test]
    fn one_that_refuses_to_delete() {
        let storage = FaultStorage::new(MemoryStorage::new());
        storage.fail_always(Verb::Delete, How::Denied);
        let found = probe(&storage, &storage, &clock).expect("probed");
        assert_eq!((found.deletes, found.is_exclusive()), (None, true));
        assert!(takes_names_once(&storage).expect("asked"));
    }
}
