//! Real processes on one repository: four backups of changing trees, two prunes, a restore, a check
//! and a forgetting, all at once, and `kill -9` among them. Whatever reported success and was not forgotten
//! comes back to the last byte.
//!
//! `ORLOP_PROCESSES_SECONDS=n` says for how long, `ORLOP_SEED=n` with which dice.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::dice::Dice;

const BACKUPS: usize = 4;
/// Trees are put together from so many files, so that what one gave up another has again.
const POOL: u64 = 40;

/// A file of the pool.
fn contents(n: u64) -> Vec<u8> {
    let mut dice = Dice(n ^ 0xf11e);
    let len = [700, 9_000, 60_000, 400_000][dice.roll(4) as usize] + dice.roll(5_000) as usize;
    std::iter::repeat_with(|| dice.roll(u64::MAX).to_le_bytes()).flatten().take(len).collect()
}

/// Names and the number of what is in them.
type Tree = BTreeMap<String, u64>;

#[derive(Clone)]
struct Kept {
    id: String,
    /// As in the snapshot.
    path: PathBuf,
    tree: Tree,
}

#[derive(Default)]
struct Count {
    backups: AtomicU64,
    prunes: AtomicU64,
    freed: AtomicU64,
    restores: AtomicU64,
    checks: AtomicU64,
    forgotten: AtomicU64,
    kills: AtomicU64,
}

impl Count {
    fn all(&self) -> [u64; 7] {
        let Self { backups, prunes, freed, restores, checks, forgotten, kills } = self;
        [backups, prunes, freed, restores, checks, forgotten, kills].map(|n| n.load(Ordering::Relaxed))
    }
}

/// How much longer it may take until everything has happened once.
const PATIENCE: Duration = Duration::from_secs(600);

struct World {
    dir: tempfile::TempDir,
    until: Instant,
    /// What runs now, of each worker.
    running: Vec<Mutex<Option<Child>>>,
    kept: Mutex<Vec<Kept>>,
    over: AtomicBool,
    count: Count,
    seed: u64,
}

/// How a process ended.
struct Ran {
    killed: bool,
    code: Option<i32>,
    out: String,
    err: String,
}

impl World {
    fn new(seconds: u64, workers: usize, seed: u64) -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
            until: Instant::now() + Duration::from_secs(seconds),
            running: (0..workers).map(|_| Mutex::new(None)).collect(),
            kept: Mutex::default(),
            over: AtomicBool::new(false),
            count: Count::default(),
            seed,
        };
        fs::create_dir(world.path("home")).unwrap();
        world.ok(0, &["init", "-q", "--no-recovery-key"]);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Until the time is over and everything has happened once, which takes long on a slow machine.
    fn goes_on(&self) -> bool {
        let now = Instant::now();
        let enough = now >= self.until && (self.count.all().iter().all(|c| *c > 0) || now >= self.until + PATIENCE);
        !enough && !self.over.load(Ordering::Relaxed)
    }

    /// Run the program as a worker; others may kill it.
    fn run(&self, me: usize, args: &[&str]) -> Ran {
        let file = |what: &str| self.path(&format!("{what}-{me}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
        command.args(args).env_clear().env("TZ", "UTC").env("HOME", self.path("home"));
        // Two of them are one client.
        command.env("ORLOP_HOST", format!("host{}", me.max(1)));
        command.env("ORLOP_REPOSITORY", self.path("repo")).env("ORLOP_PASSWORD", "p");
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command.stdout(fs::File::create(file("out")).unwrap()).stderr(fs::File::create(file("err")).unwrap());
        *self.running[me].lock().unwrap() = Some(command.spawn().unwrap());
        let status = loop {
            let mut slot = self.running[me].lock().unwrap();
            if let Some(status) = slot.as_mut().unwrap().try_wait().unwrap() {
                *slot = None;
                break status;
            }
            drop(slot);
            std::thread::sleep(Duration::from_millis(5));
        };
        let read = |what| String::from_utf8_lossy(&fs::read(file(what)).unwrap()).into_owned();
        Ran { killed: status.code().is_none(), code: status.code(), out: read("out"), err: read("err") }
    }

    /// Must succeed, or be killed; then `None`.
    fn try_ok(&self, me: usize, args: &[&str]) -> Option<String> {
        let ran = self.run(me, args);
        if ran.killed {
            return None;
        }
        if ran.code != Some(0) {
            self.over.store(true, Ordering::Relaxed);
            panic!("seed {}: orlop {}: {:?}\n{}{}", self.seed, args.join(" "), ran.code, ran.out, ran.err);
        }
        Some(ran.out)
    }

    fn ok(&self, me: usize, args: &[&str]) -> String {
        self.try_ok(me, args).expect("nobody kills it")
    }

    /// `kill -9` of whatever that worker runs, if it does.
    fn kill(&self, worker: usize) {
        if let Some(child) = self.running[worker].lock().unwrap().as_mut() {
            child.kill().unwrap();
            self.count.kills.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn any(&self, dice: &mut Dice) -> Option<Kept> {
        let kept = self.kept.lock().unwrap();
        (!kept.is_empty()).then(|| kept[dice.roll(kept.len() as u64) as usize].clone())
    }

    fn stands(&self, kept: &Kept) -> bool {
        self.kept.lock().unwrap().iter().any(|k| k.id == kept.id)
    }
}

fn change(dir: &Path, tree: &mut Tree, dice: &mut Dice) {
    for _ in 0..1 + dice.roll(6) {
        let name = format!("d{}/f{}", dice.roll(3), dice.roll(8));
        let path = dir.join(&name);
        if dice.roll(3) == 0 {
            if tree.remove(&name).is_some() {
                fs::remove_file(path).unwrap();
            }
        } else {
            let n = dice.roll(POOL);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents(n)).unwrap();
            tree.insert(name, n);
        }
    }
}

fn back_up(world: &World, me: usize) {
    let (mut dice, mut tree) = (Dice(world.seed ^ (me as u64) << 32), Tree::new());
    let name = format!("src{me}");
    let dir = world.path(&name);
    fs::create_dir(&dir).unwrap();
    while world.goes_on() {
        change(&dir, &mut tree, &mut dice);
        let args = ["backup", "--json", "--no-scan", "--pack-size", "1", &name];
        let Some(out) = world.try_ok(me, &args) else { continue };
        let summary: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        let id = summary["snapshot_id"].as_str().unwrap().to_owned();
        world.kept.lock().unwrap().push(Kept { id, path: dir.clone(), tree: tree.clone() });
        world.count.backups.fetch_add(1, Ordering::Relaxed);
    }
}

fn prune(world: &World, me: usize, args: &[&str]) {
    while world.goes_on() {
        let ran = world.run(me, args);
        if ran.code == Some(0) {
            let summary: serde_json::Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
            world.count.prunes.fetch_add(1, Ordering::Relaxed);
            world.count.freed.fetch_add(summary["deleted_packs"].as_u64().unwrap(), Ordering::Relaxed);
        } else if !ran.killed && !ran.err.contains("other prunes were quicker") {
            world.over.store(true, Ordering::Relaxed);
            panic!("seed {}: {args:?}: {}{}", world.seed, ran.out, ran.err);
        }
    }
}

fn forget(world: &World, me: usize) {
    let mut dice = Dice(world.seed ^ 0xf0);
    while world.goes_on() {
        std::thread::sleep(Duration::from_millis(dice.roll(800)));
        // The last few stay, so that there is something to restore.
        let chosen = {
            let mut kept = world.kept.lock().unwrap();
            if kept.len() < 6 {
                continue;
            }
            let n = dice.roll(kept.len() as u64) as usize;
            kept.remove(n)
        };
        if world.try_ok(me, &["forget", &chosen.id]).is_some() {
            world.count.forgotten.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn restore(world: &World, me: usize) {
    let mut dice = Dice(world.seed ^ 0x4e5);
    while world.goes_on() {
        let Some(kept) = world.any(&mut dice) else {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        let target = world.path("target");
        let ran = world.run(me, &["restore", &kept.id, "--target", target.to_str().unwrap()]);
        if !ran.killed && world.stands(&kept) {
            if let Err(what) = ended_well(&ran).and_then(|()| compare(&kept, &target)) {
                world.over.store(true, Ordering::Relaxed);
                panic!("seed {}: restore of {}: {what}", world.seed, kept.id);
            }
            world.count.restores.fetch_add(1, Ordering::Relaxed);
        }
        let _ = fs::remove_dir_all(&target);
    }
}

fn ended_well(ran: &Ran) -> Result<(), String> {
    if ran.code == Some(0) { Ok(()) } else { Err(format!("{:?}\n{}{}", ran.code, ran.out, ran.err)) }
}

/// The restored tree has these files and no others, with these bytes.
fn compare(kept: &Kept, target: &Path) -> Result<(), String> {
    let root = target.join(kept.path.file_name().unwrap());
    let mut files = 0;
    for dir in fs::read_dir(&root).map_err(|e| format!("{}: {e}", root.display()))? {
        files += fs::read_dir(dir.unwrap().path()).unwrap().count();
    }
    for (name, n) in &kept.tree {
        let found = fs::read(root.join(name)).map_err(|e| format!("{name}: {e}"))?;
        if found != contents(*n) {
            return Err(format!("{name} has other bytes than were backed up"));
        }
    }
    if files == kept.tree.len() { Ok(()) } else { Err(format!("{files} files in place of {}", kept.tree.len())) }
}

/// What goes while it is looked at is no damage.
fn check(world: &World, me: usize) {
    while world.goes_on() {
        if world.try_ok(me, &["check"]).is_some() {
            world.count.checks.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The worst moments are those right after something began, and those long after.
fn kill(world: &World) {
    let mut dice = Dice(world.seed ^ 0x9);
    while world.goes_on() {
        std::thread::sleep(Duration::from_millis(50 + dice.roll(500)));
        world.kill(dice.roll(world.running.len() as u64) as usize);
    }
}

fn finish(world: &World) {
    world.ok(0, &["prune", "--now", "--max-unused", "0", "-q"]);
    world.ok(0, &["check", "--read-data"]);
    for kept in world.kept.lock().unwrap().iter() {
        let target = world.path("target");
        world.ok(0, &["restore", "-q", &kept.id, "--target", target.to_str().unwrap()]);
        compare(kept, &target).unwrap_or_else(|e| panic!("seed {}: {}: {e}", world.seed, kept.id));
        fs::remove_dir_all(&target).unwrap();
    }
    // Nobody is left who could be in the way, if it can be told that the killed ones are dead.
    if fs::read("/etc/machine-id").unwrap_or_default().is_empty() {
        return;
    }
    let again = world.ok(0, &["prune", "--now", "--max-unused", "0", "--json"]);
    let again: serde_json::Value = serde_json::from_str(again.lines().last().unwrap()).unwrap();
    assert_eq!(again["pending"], serde_json::json!([]), "seed {}", world.seed);
}

fn all_at_once(seconds: u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let seconds = number("ORLOP_PROCESSES_SECONDS").unwrap_or(seconds);
    let seed = number("ORLOP_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let world = World::new(seconds, BACKUPS + 5, seed);
    let w = &world;
    std::thread::scope(|s| {
        for me in 0..BACKUPS {
            s.spawn(move || back_up(w, me));
        }
        s.spawn(|| prune(w, BACKUPS, &["prune", "--now", "--json", "--max-unused", "0"]));
        s.spawn(|| prune(w, BACKUPS + 1, &["prune", "--json", "--max-unused", "0"]));
        s.spawn(|| restore(w, BACKUPS + 2));
        s.spawn(|| forget(w, BACKUPS + 3));
        s.spawn(|| check(w, BACKUPS + 4));
        s.spawn(|| kill(w));
    });
    finish(w);
    let counts = world.count.all();
    println!("seed {seed}: backups, prunes, packs freed, restores, checks, forgotten, kills: {counts:?}");
    assert!(counts.iter().all(|c| *c > 0), "seed {seed}: {counts:?}");
}

#[test]
fn nothing_is_lost_among_real_processes() {
    all_at_once(40);
}

#[test]
#[ignore = "takes ten minutes"]
fn nothing_is_lost_among_real_processes_for_long() {
    all_at_once(600);
}
