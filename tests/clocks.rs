//! Clocks that are wrong by ten years in either direction, also from one step to the next: the one of
//! the machine, which nothing may rest upon, and the one of the storage, which decides when time is up.

mod support;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orlop::id::RecordId;
use orlop::ops::prune::PruneOptions;
use orlop::repo::{Repository, Validity};
use orlop::storage::testing::At;
use orlop::storage::{MemoryStorage, Storage};
use orlop::sys::{Host, set_clock_ahead};
use support::dice::Dice;
use support::prune::*;
use support::stop::{Meanwhile, stopping, try_stopping};
use support::*;

const YEARS: i64 = 10 * 365 * 86_400;
const CLOCKS: [i64; 3] = [-YEARS, 0, YEARS];

/// There is one clock in this process, so one test at a time; afterwards it is right again.
struct Clock(#[allow(dead_code, reason = "held")] MutexGuard<'static, ()>);
impl Clock {
    fn take() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        Self(TURN.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
impl Drop for Clock {
    fn drop(&mut self) {
        set_clock_ahead(0);
    }
}

fn machine(storage: Arc<dyn Storage>, number: u8) -> Repository {
    let mut repo = open(&storage);
    repo.act_as(Host { machine_id: vec![number; 16], ..this_process() });
    repo
}

fn keeper(memory: &MemoryStorage) -> Repository {
    let mut repo = open(&(Arc::new(memory.clone()) as Arc<dyn Storage>));
    repo.act_as(this_process());
    repo
}

fn plant(dir: &Path, seeds: std::ops::Range<u64>) {
    for i in seeds {
        fs::write(dir.join(format!("f{}", i % 10)), noise(9_000 + i as usize * 100, i)).unwrap();
    }
    settle();
}

/// What is left is whole, and the newest is what is on disk.
fn sound(memory: &MemoryStorage, newest: RecordId, dir: &Path, what: &str) {
    let mut repo = keeper(memory);
    let (done, ears) = check(&mut repo, orlop::ops::check::Data::All);
    assert_eq!(done.errors, 0, "{what}: {:#?}", ears.problems.lock().unwrap());
    let all = repo.snapshots(&|n, e| panic!("{what}: {n}: {e}")).unwrap();
    assert_ne!(all.iter().find(|s| s.id == newest).expect(what).validity, Validity::Late, "{what}");
    assert_same(&repo, newest, dir);
}

/// A step each of a year's work, with other clocks at every step.
#[test]
fn wrong_clocks_lose_nothing() {
    let _clock = Clock::take();
    let slow = || PruneOptions { max_unused: orlop::ops::prune::Unused::Bytes(0), ..PruneOptions::default() };
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let (memory, storage) = fresh();
        let mut repo = keeper(&memory);
        repo.identity(None).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut ahead = 0;
        let mut kept: Vec<RecordId> = vec![];
        for step in 0..8 {
            set_clock_ahead(CLOCKS[dice.roll(3) as usize]);
            let wanted = CLOCKS[dice.roll(3) as usize];
            memory.advance(wanted - ahead);
            ahead = wanted;
            let what = format!("seed {seed}, step {step}");
            plant(dir.path(), step * 3..step * 3 + 6);
            kept.push(back_up(&mut machine(storage.clone(), 1), dir.path(), &small_packs()).snapshot.unwrap());
            if step > 1 {
                forget(&mut keeper(&memory), kept.remove(0));
            }
            prune(&mut keeper(&memory), &if dice.roll(3) == 0 { now() } else { slow() });
            sound(&memory, *kept.last().unwrap(), dir.path(), &what);
        }
        // A session of somebody who is at work now is not a day old, whatever the clocks say.
        prune(&mut keeper(&memory), &now());
        assert_nothing_unneeded(&keeper(&memory));
    }
}

/// The clock of the machine jumps in the middle of a backup, and that of the storage between the two
/// halves of a prune that runs meanwhile.
#[test]
fn clocks_that_jump_in_the_middle_lose_nothing() {
    let _clock = Clock::take();
    let (memory, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let mut repo = keeper(&memory);
    repo.identity(None).unwrap();
    plant(dir.path(), 0..8);
    let first = back_up(&mut machine(storage.clone(), 1), dir.path(), &small_packs()).snapshot.unwrap();
    plant(dir.path(), 10..14);
    back_up(&mut machine(storage, 1), dir.path(), &small_packs());
    forget(&mut keeper(&memory), first);
    plant(dir.path(), 0..4);
    let slow = || PruneOptions { now: false, grace: Duration::ZERO, ..now() };
    for n in (2..).step_by(4) {
        let memory = fork(&memory);
        let jump = CLOCKS[(n as usize / 4) % 3];
        let beside = &mut || {
            set_clock_ahead(jump);
            prune(&mut keeper(&memory), &slow());
            memory.advance(-jump);
            prune(&mut keeper(&memory), &slow());
        };
        let (done, reached) = try_stopping(&memory, vec![(At::call().nth(n), beside)], |s| {
            try_backup(&mut machine(s, 1), dir.path(), &small_packs())
        });
        set_clock_ahead(0);
        sound(&memory, done.unwrap().snapshot.unwrap(), dir.path(), &format!("request {n}"));
        if !reached {
            break;
        }
    }
}

/// Whoever began just now is not silent for a day because the storage's clock went forward between the
/// plan and the finish; it is given up too early then, and repairs what it did.
#[test]
fn a_clock_that_runs_ahead_gives_nobody_up_for_good() {
    let _clock = Clock::take();
    let (memory, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let mut repo = keeper(&memory);
    repo.identity(None).unwrap();
    plant(dir.path(), 0..8);
    let first = back_up(&mut machine(storage, 1), dir.path(), &small_packs()).snapshot.unwrap();
    plant(dir.path(), 10..14);
    let other = tempfile::tempdir().unwrap();
    plant(other.path(), 0..1);
    let jumps = &mut || {
        forget(&mut keeper(&memory), first);
        prune(
            &mut keeper(&memory),
            &PruneOptions { max_unused: orlop::ops::prune::Unused::Bytes(0), ..PruneOptions::default() },
        );
        memory.advance(YEARS);
        prune(&mut keeper(&memory), &PruneOptions::default());
        memory.advance(-2 * YEARS);
    };
    let moments: Vec<Meanwhile<'_>> = vec![(At::before(orlop::storage::testing::Verb::PutNew, "snapshots/"), jumps)];
    let done = stopping(&memory, moments, |s| try_backup(&mut machine(s, 1), dir.path(), &small_packs()));
    sound(&memory, done.unwrap().snapshot.unwrap(), dir.path(), "after the jump");
    // Time goes on for those who come after, too.
    prune(&mut keeper(&memory), &now());
    let last = back_up(&mut machine(Arc::new(memory.clone()), 1), dir.path(), &small_packs());
    sound(&memory, last.snapshot.unwrap(), dir.path(), "later");
}
