//! A process that is stopped in the middle of its work holds nobody up, and goes on as if nothing had
//! been: a prune after each of its requests while a backup runs, and a backup while a prune does.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orlop::error::ErrorKind;
use orlop::ops::backup::{About, BackupOptions};
use orlop::ops::prune::PruneOptions;
use orlop::repo::Repository;
use orlop::storage::testing::{At, RecordingStorage};
use orlop::storage::{MemoryStorage, Storage};
use orlop::sys::Host;
use rustix::process::{Pid, Signal, kill_process};
use support::dice::Dice;
use support::prune::*;
use support::stop::{alone, try_stopping};
use support::*;

fn plant(dir: &Path, seeds: std::ops::Range<u64>) {
    for i in seeds {
        fs::write(dir.join(format!("f{}", i % 100)), noise(20_000 + i as usize * 50, i)).unwrap();
    }
    settle();
}

/// Something to prune, and something to back up.
fn world() -> (MemoryStorage, tempfile::TempDir) {
    let (memory, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let mut repo = open(&storage);
    repo.act_as(this_process());
    repo.identity(None).unwrap();
    plant(dir.path(), 0..12);
    let first = back_up(&mut repo, dir.path(), &options()).snapshot.unwrap();
    plant(dir.path(), 100..106);
    back_up(&mut repo, dir.path(), &options());
    forget(&mut repo, first);
    plant(dir.path(), 112..190);
    (memory, dir)
}

fn options() -> BackupOptions {
    let about = About { client: Some("a".into()), ..About::default() };
    BackupOptions { about, segment_packs: None, ..small_packs() }
}

fn machine(storage: Arc<dyn Storage>, number: u8) -> Repository {
    let mut repo = open(&storage);
    repo.act_as(Host { machine_id: vec![number; 16], ..this_process() });
    repo
}

/// Not a request more than a tenth, and five: a plan that waits is read, answered by a heartbeat, and
/// everything is listed again after that.
fn assert_not_held_up(alone: u64, beside: u64, what: &str) {
    assert!(beside * 10 <= alone * 11 + 50, "{what}: {beside} requests, alone it takes {alone}");
}

fn count(memory: &MemoryStorage, run: impl FnOnce(Arc<dyn Storage>) + Send) -> u64 {
    let counted = RecordingStorage::new(memory.clone());
    let storage = Arc::new(counted.clone());
    alone(|| run(storage));
    counted.requests()
}

/// There are two; and one more if one was given up after it had arrived, and made again.
fn whole_after(memory: &MemoryStorage, dir: &Path, given_up: bool) {
    let mut repo = machine(Arc::new(memory.clone()), 3);
    assert_sound(&mut repo);
    let mut all = repo.standing(&|n, e| panic!("{n}: {e}")).unwrap().snapshots;
    all.retain(|s| s.validity != orlop::repo::Validity::Late);
    assert!(all.len() == 2 || (given_up && all.len() == 3), "{} snapshots", all.len());
    assert_same(&repo, all.last().unwrap().id, dir);
}

#[test]
fn a_prune_that_is_stopped_after_any_request_holds_no_backup_up() {
    let (memory, dir) = world();
    let back_up = |storage: Arc<dyn Storage>| {
        let done = try_backup(&mut machine(storage, 1), dir.path(), &options()).unwrap();
        assert!(!done.incomplete);
    };
    let alone = count(&fork(&memory), back_up);
    assert!(alone > 20, "{alone} requests");
    let wanted = PruneOptions { threads: Some(1), ..now() };
    for n in 1.. {
        let memory = fork(&memory);
        let beside = &mut || assert_not_held_up(alone, count(&memory, back_up), &format!("before request {n}"));
        let (pruned, reached) = try_stopping(&memory, vec![(At::call().nth(n), beside)], |s| {
            try_prune(&mut machine(s, 2), &wanted).unwrap()
        });
        if !reached {
            assert!(n > 60 && pruned.deleted_packs > 0, "{n} requests, {pruned:?}");
            return;
        }
        whole_after(&memory, dir.path(), false);
        prune(&mut machine(Arc::new(memory.clone()), 2), &wanted);
        whole_after(&memory, dir.path(), false);
    }
}

#[test]
fn a_backup_that_is_stopped_after_any_request_holds_no_prune_up() {
    let (memory, dir) = world();
    for fence in [false, true] {
        let wanted = PruneOptions { threads: Some(1), fence, ..now() };
        let pruning = |storage: Arc<dyn Storage>| drop(prune(&mut machine(storage, 2), &wanted));
        let alone = count(&fork(&memory), pruning);
        for n in 1.. {
            let memory = fork(&memory);
            let beside = &mut || {
                let requests = count(&memory, pruning);
                // Whoever is given up has that said once, and what was known before has to be looked at again.
                if !fence {
                    assert_not_held_up(alone, requests, &format!("before request {n}"));
                }
            };
            let (done, reached) = try_stopping(&memory, vec![(At::call().nth(n), beside)], |s| {
                try_backup(&mut machine(s, 1), dir.path(), &options())
            });
            match done {
                Ok(_) => whole_after(&memory, dir.path(), fence),
                Err(e) => panic!("before request {n}: {e}"),
            }
            if !reached {
                assert!(n > 60, "{n} requests");
                break;
            }
            prune(&mut machine(Arc::new(memory.clone()), 2), &wanted);
            whole_after(&memory, dir.path(), fence);
        }
    }
}

/// A stopped restore that comes back when everything was packed again reads it where it is now.
#[test]
fn a_check_that_is_stopped_after_any_request_finds_no_damage() {
    let (memory, _dir) = world();
    for n in (1..).step_by(3) {
        let memory = fork(&memory);
        let beside = &mut || drop(prune(&mut machine(Arc::new(memory.clone()), 2), &now()));
        let (done, reached) = try_stopping(&memory, vec![(At::call().nth(n), beside)], |s| {
            let opened = orlop::repo::open(s, &orlop::format::keys::Credential::Nothing, None);
            assert!(!opened.as_ref().is_err_and(|e| e.kind() == ErrorKind::Damaged));
            assert_sound(&mut opened.unwrap())
        });
        assert!(done.packs > 0);
        if !reached {
            return;
        }
    }
}

/// Real processes, stopped by a real signal.
struct Real {
    dir: tempfile::TempDir,
}

impl Real {
    /// Files of one version make up half of the repository, and are not needed any more.
    fn new(files: u64, len: usize) -> Self {
        let real = Self { dir: tempfile::tempdir().unwrap() };
        for name in ["home", "src"] {
            fs::create_dir(real.path(name)).unwrap();
        }
        real.ok(&["init", "-q", "--no-recovery-key"]);
        for version in 0..2 {
            real.write(files, len, version);
            real.ok(&["backup", "-q", "src"]);
        }
        real.ok(&["forget", "-q", "--keep-last", "1"]);
        real.write(files / 2, len, 2);
        real
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, files: u64, len: usize, version: u64) {
        for i in 0..files {
            fs::write(self.path("src").join(format!("f{i}")), noise(len, version * 10_000 + i)).unwrap();
        }
    }

    fn begin(&self, args: &[&str], host: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
        command.args(args).env_clear().env("TZ", "UTC").env("HOME", self.path("home")).env("ORLOP_HOST", host);
        command
            .env("ORLOP_REPOSITORY", self.path("repo"))
            .env("ORLOP_KEY_FILE", self.path("key"))
            .current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().unwrap()
    }

    fn ok(&self, args: &[&str]) {
        assert!(self.begin(args, "one").wait().unwrap().success(), "{args:?}");
    }

    fn copy(&self) -> Self {
        let copy = Self { dir: tempfile::tempdir().unwrap() };
        let from = self.dir.path().join(".");
        assert!(Command::new("cp").arg("-a").arg(from).arg(copy.dir.path()).status().unwrap().success());
        copy
    }

    fn timed(&self, args: &[&str]) -> Duration {
        let begun = Instant::now();
        assert!(self.begin(args, "one").wait().unwrap().success(), "{args:?}");
        begun.elapsed()
    }

    /// Stops the first for as long as the second takes; gives how long that was.
    fn stop(&self, first: &[&str], after: Duration, second: &[&str]) -> Duration {
        let mut stopped = self.begin(first, "two");
        std::thread::sleep(after);
        let pid = Pid::from_child(&stopped);
        kill_process(pid, Signal::STOP).unwrap();
        let took = self.timed(second);
        kill_process(pid, Signal::CONT).unwrap();
        assert!(stopped.wait().unwrap().success(), "{first:?}, stopped after {after:?}");
        self.ok(&["prune", "-q", "--now", "--max-unused", "0"]);
        self.ok(&["check", "-q", "--read-data"]);
        took
    }
}

const PRUNE: [&str; 4] = ["prune", "--now", "--max-unused", "0"];
const BACKUP: [&str; 3] = ["backup", "-q", "src"];

#[test]
fn processes_that_are_stopped_by_a_signal_lose_nothing() {
    let real = Real::new(40, 60_000);
    let mut dice = Dice(u64::from(std::process::id()));
    let longest = real.copy().timed(&PRUNE).max(real.copy().timed(&BACKUP)).as_micros() as u64;
    for (first, second) in [(&PRUNE[..], &BACKUP[..]), (&BACKUP, &PRUNE)].repeat(3) {
        real.copy().stop(first, Duration::from_micros(dice.roll(longest)), second);
    }
}

/// The least of several times, because others are at work on this machine.
#[test]
#[ignore = "measures time"]
fn processes_that_are_stopped_by_a_signal_hold_nobody_up() {
    let real = Real::new(400, 250_000);
    let mut dice = Dice(7);
    for (first, second) in [(&PRUNE[..], &BACKUP[..]), (&BACKUP, &PRUNE)] {
        let least = |times: &mut dyn FnMut() -> Duration| (0..12).map(|_| times()).min().unwrap();
        let alone = least(&mut || real.copy().timed(second));
        let whole = real.copy().timed(first).as_micros() as u64;
        let beside = least(&mut || real.copy().stop(first, Duration::from_micros(dice.roll(whole)), second));
        println!("{}: alone {alone:?}, beside a stopped {} {beside:?}", second[0], first[0]);
        assert!(beside <= alone.mul_f64(1.1), "{second:?}: {beside:?}, alone {alone:?}");
    }
}
