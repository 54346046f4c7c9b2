//! Making current again what a storage was at some time: what was overwritten since, or deleted.
//!
//! Nothing that came later is touched, and nothing is believed but bytes: whatever is there now stays if its
//! name proves it, or if nothing was better then. It needs no key of the repository, and no right but to read
//! and to put. A run that was stopped is gone on with by the next one: what is back has the bytes of then.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::locked;
use crate::error::{Doing, Result};
use crate::event::{Context, Meter, Phase};
use crate::format::names::prefix;
use crate::model::Time;
use crate::repo::worth;
use crate::storage::{Candidates, Histories, LONGEST, Name, Put, StorageError, Version, Versions, Worth};

/// Requests under way at most.
const AT_ONCE: usize = 8;

/// What to bring back.
#[derive(Debug, Clone, Copy)]
pub struct RescueOptions {
    /// As it was at this time.
    pub when: Time,
    /// Look and tell, and write nothing.
    pub dry_run: bool,
    /// Key slots, too, that were removed or changed since. Their old passwords open them again.
    pub keys: bool,
}

/// What became of an object that is not as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It had been deleted, and is there again.
    BroughtBack,
    /// It had been overwritten, and is as it was.
    Repaired,
    /// A key slot that was removed or changed since, and stays so.
    KeyStays,
    /// It was deleted or overwritten, and no version of it is whole.
    Lost,
}

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct RescueSummary {
    /// Nothing was written.
    pub dry_run: bool,
    /// Objects that had been there at that time.
    pub objects: u64,
    /// Of these, those that are as they were.
    pub intact: u64,
    /// Objects that came later, and stay.
    pub later: u64,
    /// Bytes that were put.
    pub bytes: u64,
    /// All others of those that had been there, by name.
    pub changed: Vec<(String, Became)>,
}

impl RescueSummary {
    /// How many became this.
    pub fn count(&self, which: Became) -> u64 {
        self.changed.iter().filter(|(_, became)| *became == which).count() as u64
    }
}

/// What a history says without anybody reading anything.
#[derive(Debug, PartialEq, Eq)]
enum Fate<'h> {
    /// It had not been there, and is.
    Later,
    /// It had not been there, and is not.
    Nothing,
    /// It is as it was.
    Same,
    /// It had been there, and is not.
    Gone,
    /// This is there, and may be something else.
    Doubtful(&'h Version),
}

fn fate<'h>(history: &'h [Version], candidates: &Candidates) -> Fate<'h> {
    let now = history.first().filter(|v| !v.deleted);
    match (candidates.first(), now) {
        (None, None) => Fate::Nothing,
        (None, Some(_)) => Fate::Later,
        (Some(_), None) => Fate::Gone,
        (Some(first), Some(now)) if candidates.is_plain() && now.is_same(first) => Fate::Same,
        (Some(_), Some(now)) => Fate::Doubtful(now),
    }
}

/// What is needed before others is back before them: packs before what names them, statements last. Of a
/// session the close comes first and its beginning last, so that it never looks like one that is open.
fn rank(name: &str) -> u8 {
    let first = name.strip_prefix(prefix::COPY).unwrap_or(name);
    match first {
        n if n.starts_with(prefix::PACKS) || n.starts_with(prefix::PARITY) => 0,
        n if n.starts_with(prefix::INDEX) => 1,
        n if n.starts_with(prefix::SESSIONS) && n.ends_with("/close") => 2,
        n if n.starts_with(prefix::SESSIONS) && n.ends_with("/00000000") => 4,
        n if n.starts_with(prefix::SESSIONS) => 3,
        n if n.starts_with(prefix::SNAPSHOTS) => 6,
        _ => 5,
    }
}

fn is_key(name: &str) -> bool {
    let first = name.strip_prefix(prefix::COPY).unwrap_or(name);
    first.starts_with(prefix::KEYS) || first.starts_with(prefix::KEYRING)
}

/// An object that is not as it was, or may not be.
struct Case<'h> {
    name: &'h Name,
    candidates: Candidates,
    /// What is there now.
    now: Option<&'h Version>,
}

/// Make it so.
pub fn rescue(storage: &dyn Versions, options: &RescueOptions, cx: &Context<'_>) -> Result<RescueSummary> {
    let all = Histories::of(storage.versions("")?);
    if !all.are_kept() {
        return Err(crate::storage::no_versions(&storage.place()));
    }
    let mut done = RescueSummary { dry_run: options.dry_run, ..RescueSummary::default() };
    let mut cases = Vec::new();
    for (name, history) in &all.0 {
        let candidates = Candidates::of(history, options.when);
        done.objects += u64::from(candidates.first().is_some());
        match fate(history, &candidates) {
            Fate::Nothing => {}
            Fate::Later => done.later += 1,
            Fate::Same => done.intact += 1,
            Fate::Gone => cases.push(Case { name, candidates, now: None }),
            Fate::Doubtful(now) => cases.push(Case { name, candidates, now: Some(now) }),
        }
    }
    cases.sort_by_key(|case| rank(case.name.as_str()));
    cx.enter(Phase::Rescuing, Some(cases.len() as u64), None);
    let done = Mutex::new(done);
    for equals in cases.chunk_by(|a, b| rank(a.name.as_str()) == rank(b.name.as_str())) {
        at_once(equals, |case| settle(storage, options, case, &done, cx))?;
    }
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.changed.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(done)
}

/// All of them, a few at a time; the first error ends it.
fn at_once<'c, 'h>(cases: &'c [Case<'h>], work: impl Fn(&'c Case<'h>) -> Result<()> + Sync) -> Result<()> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let one = || {
        while let Some(case) = cases.get(next.fetch_add(1, Relaxed)) {
            if let Err(e) = work(case) {
                next.store(cases.len(), Relaxed);
                locked(&failed).get_or_insert(e);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..AT_ONCE.min(cases.len()) {
            scope.spawn(one);
        }
        one();
    });
    match failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

fn settle(
    storage: &dyn Versions,
    options: &RescueOptions,
    case: &Case<'_>,
    done: &Mutex<RescueSummary>,
    cx: &Context<'_>,
) -> Result<()> {
    cx.check()?;
    let name = case.name.as_str();
    let became = decide(storage, options, case).doing(|| format!("while looking at versions of {name}"))?;
    let (became, bytes) = match became {
        Decision::Stays => {
            locked(done).intact += 1;
            return Ok(());
        }
        Decision::Becomes(became) => (became, Vec::new()),
        Decision::Put(became, bytes) => (became, bytes),
    };
    if !options.dry_run {
        match became {
            Became::BroughtBack if storage.put_new(case.name, &bytes)? == Put::Created => {}
            // Somebody was quicker; the next run looks at what that is.
            Became::BroughtBack => return Ok(()),
            Became::Repaired => storage.put_over(case.name, &bytes)?,
            Became::KeyStays | Became::Lost => {}
        }
    }
    if became == Became::Lost {
        let why = "it is damaged or deleted, and no version of it is whole";
        cx.problem("damaged", name.as_bytes(), "bring back", why);
    }
    Meter::add(&cx.meter.files_done, 1);
    let mut done = locked(done);
    done.bytes += bytes.len() as u64;
    done.changed.push((name.to_owned(), became));
    Ok(())
}

/// What is to be done about an object.
enum Decision {
    /// What is there now is right.
    Stays,
    /// Nothing.
    Becomes(Became),
    /// Put these bytes.
    Put(Became, Vec<u8>),
}

fn decide(storage: &dyn Versions, options: &RescueOptions, case: &Case<'_>) -> Result<Decision, StorageError> {
    let name = case.name.as_str();
    let is_kept_back = is_key(name) && !options.keys;
    let Some(now) = case.now else {
        if is_kept_back {
            return Ok(Decision::Becomes(Became::KeyStays));
        }
        return Ok(match best(storage, case)? {
            Some((bytes, _)) => Decision::Put(Became::BroughtBack, bytes),
            None => Decision::Becomes(Became::Lost),
        });
    };
    let (there, worth_now) = match now.len > LONGEST {
        true => (Vec::new(), Worth::Broken),
        false => {
            let there = storage.get_version(now)?;
            let worth = worth(name, &there);
            (there, worth)
        }
    };
    if worth_now == Worth::Proven {
        return Ok(Decision::Stays);
    }
    Ok(match best(storage, case)? {
        Some((bytes, _)) if bytes == there && now.len <= LONGEST => Decision::Stays,
        // Whoever changes a password writes a slot anew.
        Some(_) if worth_now == Worth::Likely && is_kept_back => Decision::Becomes(Became::KeyStays),
        Some((bytes, _)) => Decision::Put(Became::Repaired, bytes),
        None if worth_now == Worth::Likely => Decision::Stays,
        None => Decision::Becomes(Became::Lost),
    })
}

/// The bytes that were there, if any of them are whole.
fn best(storage: &dyn Versions, case: &Case<'_>) -> Result<Option<(Vec<u8>, Worth)>, StorageError> {
    let name = case.name.as_str();
    let mut read = None;
    let chosen = case.candidates.choose(|version| {
        let bytes = storage.get_version(version)?;
        let worth = worth(name, &bytes);
        read = Some((bytes, worth));
        Ok(worth)
    })?;
    // What was read last is what was chosen, unless all of it is broken.
    Ok(chosen.filter(|(_, worth)| *worth != Worth::Broken).and(read))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(at: i64, content: Option<u64>) -> Version {
        Version {
            name: Name::new("gc/0000000000000001").expect("a name"),
            id: at.to_string(),
            at: Time { sec: at, nsec: 0 },
            len: 1,
            tag: content,
            deleted: content.is_none(),
            current: false,
        }
    }

    #[test]
    fn only_what_is_not_as_it_was_is_looked_at() {
        let said = |of: &[(i64, Option<u64>)]| {
            let listed = of.iter().map(|(at, content)| version(*at, *content)).collect();
            let history = Histories::of(listed).0.into_values().next().unwrap_or_default();
            let candidates = Candidates::of(&history, Time { sec: 3, nsec: 0 });
            format!("{:?}", fate(&history, &candidates)).split('(').next().unwrap_or_default().to_owned()
        };
        for (of, expected) in [
            (&[(1, Some(1))][..], "Same"),
            (&[(1, Some(1)), (5, Some(1))], "Same"),
            (&[(1, Some(1)), (4, None), (5, Some(1))], "Same"),
            (&[(1, Some(1)), (5, Some(2))], "Doubtful"),
            (&[(1, Some(1)), (2, Some(2))], "Doubtful"),
            (&[(1, Some(1)), (5, None)], "Gone"),
            (&[(1, Some(1)), (5, Some(2)), (6, None)], "Gone"),
            (&[(5, Some(1))], "Later"),
            (&[(1, Some(1)), (2, None), (5, Some(1))], "Later"),
            (&[(5, Some(1)), (6, None)], "Nothing"),
            (&[(1, Some(1)), (2, None)], "Nothing"),
        ] {
            assert_eq!(said(of), expected, "{of:?}");
        }
    }

    #[test]
    fn what_is_needed_first_comes_first() {
        let mut names = [
            "snapshots/a/1",
            "copy/snapshots/a/1",
            "sessions/a/00000000",
            "sessions/a/00000001",
            "sessions/a/close",
            "gc/1",
            "index/a",
            "packs/ab/a",
        ];
        names.sort_by_key(|name| rank(name));
        assert_eq!(names.first(), Some(&"packs/ab/a"));
        assert_eq!(names[1..5], ["index/a", "sessions/a/close", "sessions/a/00000001", "sessions/a/00000000"]);
        assert_eq!(names[6..], ["snapshots/a/1", "copy/snapshots/a/1"]);
        assert!(is_key("copy/keys/a") && is_key("keyring/a/1") && !is_key("config/1"));
    }
}
