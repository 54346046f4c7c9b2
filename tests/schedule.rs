//! The program itself under a scheduler: backups, prunes and forgetting take turns, one request to
//! the storage at a time, in an order that a seed decides. Answers come late or are lost, requests
//! are carried out long after their sender gave up, processes die. At the end everything that was
//! reported as a success is there, to the last byte.
//!
//! `ORLOP_SEEDS=n` runs so many seeds, `ORLOP_SEED=n` that one; else there is a bound in time.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use orlop::error::{ErrorKind, Result};
use orlop::format::gc::Reason;
use orlop::id::RecordId;
use orlop::model::Time;
use orlop::ops::backup::{About, BackupOptions, BackupSummary};
use orlop::ops::prune::{PruneOptions, PruneSummary, Unused};
use orlop::storage::{Draft, Listed, MemoryStorage, Name, Put, Storage, StorageError};
use support::dice::Dice;
use support::prune::*;
use support::stop::alone;
use support::*;

struct Turns {
    waiting: Vec<bool>,
    done: Vec<bool>,
    dead: Vec<bool>,
    weights: Vec<u64>,
    turn: Option<usize>,
    dice: Dice,
    faults: bool,
    late: Vec<(Name, Vec<u8>)>,
    steps: u64,
    fates: [u64; 3],
}

/// Lets one process at a time do one thing.
struct Gate {
    turns: Mutex<Turns>,
    changed: Condvar,
    memory: MemoryStorage,
}

enum Fate {
    Well,
    /// Nothing is done, and an error is said.
    Fail,
    /// It is done, and an error is said.
    LoseAnswer,
    /// It will be done much later; the process dies.
    Late,
}

impl Gate {
    fn new(memory: &MemoryStorage, processes: usize, seed: u64, faults: bool) -> Arc<Self> {
        let mut dice = Dice(seed);
        let weights = (0..processes).map(|_| 1 + dice.roll(8)).collect();
        let turns = Turns {
            waiting: vec![false; processes],
            done: vec![false; processes],
            dead: vec![false; processes],
            weights,
            turn: None,
            dice,
            faults,
            late: vec![],
            steps: 0,
            fates: [0; 3],
        };
        Arc::new(Self { turns: Mutex::new(turns), changed: Condvar::new(), memory: memory.clone() })
    }

    fn wait(&self, me: usize) {
        let mut t = self.turns.lock().unwrap();
        t.waiting[me] = true;
        if t.turn == Some(me) {
            t.turn = None;
        }
        self.pick(&mut t);
        while t.turn != Some(me) {
            t = self.changed.wait(t).unwrap();
        }
        t.waiting[me] = false;
        t.steps += 1;
    }

    fn finish(&self, me: usize) {
        let mut t = self.turns.lock().unwrap();
        t.done[me] = true;
        if t.turn == Some(me) {
            t.turn = None;
        }
        self.pick(&mut t);
    }

    fn pick(&self, t: &mut Turns) {
        let all = 0..t.done.len();
        if t.turn.is_some() || all.clone().any(|i| !t.done[i] && !t.waiting[i]) {
            return;
        }
        if !t.late.is_empty() && t.dice.roll(20) == 0 {
            let n = t.dice.roll(t.late.len() as u64) as usize;
            let (name, bytes) = t.late.swap_remove(n);
            self.memory.put_new(&name, &bytes).unwrap();
        }
        // Some are slow: weights change now and then, so that one sleeps for long and then runs.
        if t.dice.roll(15) == 0 {
            let n = t.dice.roll(t.weights.len() as u64) as usize;
            t.weights[n] = [0, 1, 1, 4, 30][t.dice.roll(5) as usize];
        }
        let ready: Vec<usize> = all.filter(|i| !t.done[*i]).collect();
        let total: u64 = ready.iter().map(|i| t.weights[*i]).sum();
        if ready.is_empty() {
            return;
        }
        if total == 0 {
            ready.iter().for_each(|i| t.weights[*i] = 1);
        }
        let total: u64 = ready.iter().map(|i| t.weights[*i]).sum();
        let mut roll = t.dice.roll(total);
        for i in ready {
            if roll < t.weights[i] {
                t.turn = Some(i);
                break;
            }
            roll -= t.weights[i];
        }
        self.changed.notify_all();
    }

    fn fate(&self, me: usize, changes: bool) -> Fate {
        let mut t = self.turns.lock().unwrap();
        if t.dead[me] {
            return Fate::Fail;
        }
        if !t.faults || !changes {
            return Fate::Well;
        }
        match t.dice.roll(160) {
            0 => {
                t.dead[me] = true;
                t.fates[0] += 1;
                Fate::Fail
            }
            1 => {
                t.fates[1] += 1;
                Fate::LoseAnswer
            }
            2 => {
                t.dead[me] = true;
                t.fates[2] += 1;
                Fate::Late
            }
            _ => Fate::Well,
        }
    }
}

/// What one process sees of the storage.
#[derive(Clone)]
struct Seat {
    gate: Arc<Gate>,
    me: usize,
}

impl Seat {
    fn failed(verb: &'static str, name: &str) -> StorageError {
        StorageError::new(verb, name, "simulation", std::io::Error::other("failed on purpose"))
    }

    /// A request, and later its answer.
    fn ask<T>(
        &self,
        verb: &'static str,
        name: &str,
        changes: bool,
        call: impl FnOnce() -> std::result::Result<T, StorageError>,
    ) -> std::result::Result<T, StorageError> {
        self.gate.wait(self.me);
        let answer = match self.gate.fate(self.me, changes) {
            Fate::Well => call(),
            Fate::LoseAnswer => {
                let _ = call();
                Err(Self::failed(verb, name))
            }
            Fate::Fail | Fate::Late => return Err(Self::failed(verb, name)),
        };
        self.gate.wait(self.me);
        answer
    }
}

impl Storage for Seat {
    fn put_new(&self, name: &Name, bytes: &[u8]) -> std::result::Result<Put, StorageError> {
        self.gate.wait(self.me);
        let fate = self.gate.fate(self.me, true);
        let answer = match fate {
            Fate::Well => self.gate.memory.put_new(name, bytes),
            Fate::LoseAnswer => {
                let _ = self.gate.memory.put_new(name, bytes);
                Err(Self::failed("put", name.as_str()))
            }
            Fate::Late => {
                self.gate.turns.lock().unwrap().late.push((name.clone(), bytes.to_vec()));
                return Err(Self::failed("put", name.as_str()));
            }
            Fate::Fail => return Err(Self::failed("put", name.as_str())),
        };
        self.gate.wait(self.me);
        answer
    }
    fn draft(&self) -> std::result::Result<Box<dyn Draft>, StorageError> {
        Ok(Box::new(SeatDraft { seat: self.clone(), bytes: vec![] }))
    }
    fn get(&self, name: &Name, max: u64) -> std::result::Result<Vec<u8>, StorageError> {
        self.ask("get", name.as_str(), false, || self.gate.memory.get(name, max))
    }
    fn get_range(&self, name: &Name, offset: u64, into: &mut [u8]) -> std::result::Result<(), StorageError> {
        self.ask("get", name.as_str(), false, || self.gate.memory.get_range(name, offset, into))
    }
    fn head(&self, name: &Name) -> std::result::Result<Option<u64>, StorageError> {
        self.ask("head", name.as_str(), false, || self.gate.memory.head(name))
    }
    fn list(&self, prefix: &str) -> std::result::Result<Vec<Listed>, StorageError> {
        self.ask("list", prefix, false, || self.gate.memory.list(prefix))
    }
    fn glance(&self) -> std::result::Result<Option<Vec<Listed>>, StorageError> {
        self.ask("list", "", false, || self.gate.memory.glance())
    }
    fn glances(&self) -> bool {
        true
    }
    fn delete(&self, name: &Name) -> std::result::Result<(), StorageError> {
        self.ask("delete", name.as_str(), true, || self.gate.memory.delete(name))
    }
    fn heal(&self, name: &Name, bytes: &[u8]) -> std::result::Result<(), StorageError> {
        self.ask("heal", name.as_str(), true, || self.gate.memory.heal(name, bytes))
    }
    fn clock(&self) -> std::result::Result<i64, StorageError> {
        self.gate.memory.clock()
    }
    fn place(&self) -> String {
        "simulation".into()
    }
}

struct SeatDraft {
    seat: Seat,
    bytes: Vec<u8>,
}

impl Draft for SeatDraft {
    fn write(&mut self, bytes: &[u8]) -> std::result::Result<(), StorageError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
    fn publish(self: Box<Self>, name: &Name) -> std::result::Result<Put, StorageError> {
        self.seat.put_new(name, &self.bytes)
    }
}

/// What a process does.
enum Doing {
    Backup(PathBuf, &'static str),
    Prune(PruneOptions),
    Forget,
}

enum Did {
    Backup(Result<BackupSummary>),
    Prune(Result<PruneSummary>),
    Forgot(Option<RecordId>),
}

fn options(client: &str) -> BackupOptions {
    let paths = vec![format!("/{client}").into_bytes()];
    BackupOptions { about: About { client: Some(client.into()), paths, ..About::default() }, ..small_packs() }
}

fn act(seat: Seat, doing: &Doing, number: u8) -> Did {
    let storage: Arc<dyn Storage> = Arc::new(seat);
    let opened = orlop::repo::open(storage, &orlop::format::keys::Credential::Nothing, None);
    let mut repo = match (opened, doing) {
        (Ok(repo), _) => repo,
        (Err(e), Doing::Backup(..)) => return Did::Backup(Err(e)),
        (Err(e), Doing::Prune(_)) => return Did::Prune(Err(e)),
        (Err(_), Doing::Forget) => return Did::Forgot(None),
    };
    // Alive to itself; nobody else can tell.
    repo.act_as(orlop::sys::Host { machine_id: vec![number; 16], ..this_process() });
    // Some speak whenever they can, others not once.
    if number.is_multiple_of(2) {
        repo.beat_every(Duration::ZERO);
    }
    match doing {
        Doing::Backup(dir, client) => Did::Backup(try_backup(&mut repo, dir, &options(client))),
        Doing::Prune(options) => Did::Prune(try_prune(&mut repo, options)),
        Doing::Forget => {
            let mut forgot = None;
            let forget = || -> Result<()> {
                let who = repo.identity(Some("keeper"))?;
                let all = repo.snapshots(&|_, _| {})?;
                if let Some(s) = all.iter().min_by_key(|s| (s.statement.client, s.statement.seq)) {
                    forgot = Some(s.id);
                    repo.forget(&who, s, Reason::Forget, Time { sec: 0, nsec: 0 })?;
                }
                Ok(())
            };
            let _ = { forget }();
            Did::Forgot(forgot)
        }
    }
}

struct Fixture {
    memory: MemoryStorage,
    dirs: [tempfile::TempDir; 2],
}

fn plant(dir: &Path, seeds: std::ops::Range<u64>) {
    for i in seeds {
        fs::write(dir.join(format!("f{i}")), noise(9_000 + i as usize * 500, i)).unwrap();
    }
}

/// Both clients have a past: two snapshots each, the first of which shares half with the second; and
/// what they have now is partly in nobody's snapshot but still stored.
fn fixture() -> Fixture {
    let (memory, storage) = fresh();
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut repo = open(&storage);
    repo.act_as(this_process());
    repo.identity(Some("keeper")).unwrap();
    repo.identity(None).unwrap();
    for (dir, client, from) in [(&dirs[0], "a", 0), (&dirs[1], "b", 3)] {
        plant(dir.path(), from..from + 6);
        settle();
        let first = back_up(&mut repo, dir.path(), &options(client)).snapshot.unwrap();
        (from..from + 2).for_each(|i| fs::remove_file(dir.path().join(format!("f{i}"))).unwrap());
        plant(dir.path(), from + 20..from + 22);
        settle();
        back_up(&mut repo, dir.path(), &options(client));
        forget(&mut repo, first);
        // These come back: their chunks are there, and nobody needs them.
        plant(dir.path(), from..from + 2);
        settle();
    }
    Fixture { memory, dirs }
}

fn process_options(dice: &mut Dice) -> PruneOptions {
    PruneOptions {
        now: dice.roll(2) == 0,
        fence: dice.roll(3) == 0,
        grace: Duration::ZERO,
        silence: if dice.roll(4) == 0 { Duration::ZERO } else { Duration::from_secs(86_400) },
        max_unused: if dice.roll(3) == 0 { Unused::Percent(30.0) } else { Unused::Bytes(0) },
        pack_target: Some(24 << 10),
        threads: Some(1),
        checkpoint_after: [1, 2, 4, 64][dice.roll(4) as usize],
        ..PruneOptions::default()
    }
}

fn run(fixture: &Fixture, seed: u64) -> (u64, [u64; 3], [u64; 3]) {
    let memory = fork(&fixture.memory);
    let mut dice = Dice(seed ^ 0x5eed);
    let faults = dice.roll(2) == 0;
    let mut doings = vec![
        Doing::Backup(fixture.dirs[0].path().into(), "a"),
        Doing::Backup(fixture.dirs[1].path().into(), "b"),
        Doing::Prune(process_options(&mut dice)),
        Doing::Prune(process_options(&mut dice)),
        Doing::Forget,
    ];
    if dice.roll(2) == 0 {
        doings.push(Doing::Backup(fixture.dirs[0].path().into(), "a"));
    }
    let gate = Gate::new(&memory, doings.len(), seed, faults);
    let did: Vec<Did> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..doings.len())
            .map(|me| {
                let (gate, doing) = (gate.clone(), &doings[me]);
                s.spawn(move || {
                    let did = alone(|| act(Seat { gate: gate.clone(), me }, doing, me as u8));
                    gate.finish(me);
                    did
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let mut turns = gate.turns.lock().unwrap();
    for (name, bytes) in std::mem::take(&mut turns.late) {
        memory.put_new(&name, &bytes).unwrap();
    }
    let counts = judge(fixture, &memory, &did, seed, faults);
    (turns.steps, turns.fates, counts)
}

/// Everything that was reported is there; and after all is over a prune frees the rest and loses nothing.
fn judge(fixture: &Fixture, memory: &MemoryStorage, did: &[Did], seed: u64, faults: bool) -> [u64; 3] {
    let storage: Arc<dyn Storage> = Arc::new(memory.clone());
    let mut repo = open(&storage);
    let mut counts = [0; 3];
    let mut kept: Vec<(RecordId, &Path)> = vec![];
    let mut backups = [&fixture.dirs[0], &fixture.dirs[1], &fixture.dirs[0]].into_iter();
    for d in did {
        match d {
            Did::Backup(Ok(done)) => {
                counts[0] += 1;
                kept.push((done.snapshot.unwrap(), backups.next().unwrap().path()));
            }
            Did::Backup(Err(e)) => {
                backups.next();
                assert!(faults || e.kind() == ErrorKind::Fenced, "seed {seed}: a backup failed: {e}");
            }
            Did::Prune(Ok(done)) => {
                counts[1] += 1;
                counts[2] += done.deleted_packs;
            }
            Did::Prune(Err(e)) => {
                let fine = matches!(e.kind(), ErrorKind::Storage | ErrorKind::Fenced);
                assert!(fine, "seed {seed}: a prune failed: {e}");
            }
            Did::Forgot(_) => {}
        }
    }
    let told = |what: &str| format!("seed {seed}, {what}");
    for what in ["at the end", "after another prune", "and another"] {
        let (done, ears) = check(&mut repo, orlop::ops::check::Data::All);
        assert_eq!(done.errors, 0, "{}: {:#?}", told(what), ears.problems.lock().unwrap());
        let standing = repo.snapshots(&|_, _| {}).unwrap();
        for (id, dir) in &kept {
            let s = standing.iter().find(|s| s.id == *id);
            let forgotten = did.iter().any(|d| matches!(d, Did::Forgot(Some(f)) if f == id));
            assert!(s.is_some() || forgotten, "{}: {} was reported and is gone", told(what), id.short());
            if !forgotten {
                assert_ne!(s.unwrap().validity, orlop::repo::Validity::Late, "{}", told(what));
                assert_same(&repo, *id, dir);
            }
        }
        let (silence, grace) = (Duration::ZERO, Duration::ZERO);
        let last = PruneOptions { fence: true, silence, grace, checkpoint_after: 1 + seed % 3, ..now() };
        listening(|cx| orlop::ops::prune::prune(&mut repo, &last, cx))
            .0
            .unwrap_or_else(|e| panic!("{}: {e}", told(what)));
    }
    counts
}

fn seeds(bound: Duration, from: u64) {
    let fixture = fixture();
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    if let Some(seed) = number("ORLOP_SEED") {
        run(&fixture, seed);
        return;
    }
    let (wanted, began) = (number("ORLOP_SEEDS").unwrap_or(u64::MAX), Instant::now());
    let (mut steps, mut fates, mut counts, mut n) = (0, [0; 3], [0; 3], 0);
    while n < wanted && (wanted < u64::MAX || n <= 40 || began.elapsed() < bound) {
        let (s, f, c) = run(&fixture, from + n);
        steps += s;
        for i in 0..3 {
            fates[i] += f[i];
            counts[i] += c[i];
        }
        n += 1;
        if n % 1000 == 0 {
            println!("{n} seeds from {from}");
        }
    }
    println!(
        "{n} seeds, {steps} turns, {} deaths, {} answers lost, {} requests late; {} backups and {} prunes well, {} packs deleted",
        fates[0], fates[1], fates[2], counts[0], counts[1], counts[2]
    );
    assert!(n > 20 && fates.iter().all(|f| *f > 0) && counts.iter().all(|c| *c > 0), "{n} {fates:?} {counts:?}");
}

/// Two minutes of seeds, by two threads: in each all take turns.
#[test]
fn no_order_of_requests_loses_anything() {
    seeds(Duration::from_secs(60), 0);
}

#[test]
fn no_other_order_of_requests_loses_anything() {
    seeds(Duration::from_secs(60), 1 << 31);
}

#[test]
#[ignore = "takes an hour; ORLOP_SEEDS says how many"]
fn no_order_of_requests_loses_anything_for_long() {
    seeds(Duration::from_secs(3600), 1 << 32);
}
