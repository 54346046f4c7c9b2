//! What a run may take, of memory, objects and bytes: by the program itself, on files on a disk.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::dice::Dice;
use support::memory::{Cage, Measured, measure};
use support::{noise, settle};

/// Anonymous memory that any run may take, in MiB.
const ANONYMOUS: u64 = 200;
/// In so much all of them must do, the kernel's caches counted in.
const CAGE: u64 = 256 << 20;

/// A folder with a source, `src`, a repository, and a cage if one is wanted and can be made.
struct World {
    dir: tempfile::TempDir,
    cage: Option<Cage>,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap(), cage: None };
        fs::create_dir(world.path("src")).unwrap();
        world.run("init --no-recovery-key");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `@` is the folder.
    fn run(&self, line: &str) -> Measured {
        let here = self.dir.path().to_str().expect("UTF-8");
        let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
        command.args(line.split(' ').map(|word| word.replace('@', here))).arg("--insecure-no-password");
        command.env_clear().env("TZ", "UTC").env("PATH", "/usr/bin:/bin");
        command.env("HOME", self.path("home")).env("ORLOP_REPOSITORY", self.path("repo"));
        let ran = match &self.cage {
            None => measure(&mut command),
            Some(cage) => measure(&mut cage.around(&command)),
        };
        println!("{line}: {:?}, {} MiB, {} MiB anonymous", ran.took, ran.resident, ran.anonymous);
        assert!(ran.anonymous < ANONYMOUS, "{line} took {} MiB of anonymous memory", ran.anonymous);
        ran
    }

    /// The last line of what a backup with these options said.
    fn backup(&self, options: &str) -> serde_json::Value {
        let ran = self.run(&format!("backup @/src --json{options}"));
        serde_json::from_str(ran.out.lines().last().expect("a summary")).expect("JSON")
    }

    /// Every object, and its length.
    fn objects(&self) -> BTreeMap<PathBuf, u64> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.path("repo")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => drop(found.insert(entry.path(), entry.metadata().unwrap().len())),
                }
            }
        }
        found
    }
}

/// Bytes of which a part compresses.
fn rows(len: usize, seed: u64) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = Vec::with_capacity(len);
    for b in noise(len / 4, seed) {
        hex.extend_from_slice(&[DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)], b' ', b' ']);
    }
    hex
}

fn plant_small(dir: &Path, files: u64) {
    for n in 0..files {
        let folder = dir.join(format!("{:03}", n / 100));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{n:06}")), rows(1024 + 4 * (n as usize % 700), n)).unwrap();
    }
}

fn plant_long(path: &Path, mebibytes: u64) {
    let file = File::create(path).unwrap();
    for n in 0..mebibytes / 4 {
        let piece = if n % 3 == 0 { rows(4 << 20, n) } else { noise(4 << 20, n) };
        file.write_all_at(&piece, n * (4 << 20)).unwrap();
    }
}

/// The whole life of a repository of small files and of several long ones at once.
fn live(world: &World) {
    plant_small(&world.path("src"), 10_000);
    for n in 0..4 {
        plant_long(&world.path(&format!("src/long{n}")), 96);
    }
    settle();
    world.backup("");
    world.backup("");
    plant_long(&world.path("src/long1"), 100);
    fs::remove_file(world.path("src/long2")).unwrap();
    settle();
    world.backup("");
    world.run("check --read-data");
    world.run("restore latest --target @/out");
    world.run("forget --keep-last 1 --prune --now --max-unused 0");
    world.run("check");
}

#[test]
fn no_run_takes_much_memory() {
    live(&World::new());
}

#[test]
fn every_run_ends_well_in_a_small_cage() {
    let Some(cage) = Cage::new(CAGE) else {
        println!("skipped: no memory cgroup can be made here");
        return;
    };
    let mut world = World::new();
    world.cage = Some(cage);
    live(&world);
}

/// One directory; `more` is what its second backup may write of pages, those of directories above it included.
fn directory_of(entries: u64) {
    let world = World::new();
    for n in 0..entries {
        File::create(world.path(&format!("src/{n:07}"))).unwrap();
    }
    settle();
    let first = world.backup("");
    assert_eq!(first["files_new"], entries);
    fs::write(world.path(&format!("src/{:07}", entries / 2)), b"x").unwrap();
    settle();
    let second = world.backup("");
    assert_eq!((&second["files_changed"], &second["files_unmodified"]), (&1.into(), &(entries - 1).into()));
    let above = world.path("src").components().count() as u64;
    assert!(second["tree_blobs"].as_u64().unwrap() <= 4 + above, "{second}");
    world.run("check");
    world.run("restore latest --target @/out");
    let entries_there = fs::read_dir(world.path("out").join(world.path("src").strip_prefix("/").unwrap())).unwrap();
    assert_eq!(entries_there.count() as u64, entries);
}

#[test]
fn a_directory_of_50_000_entries_takes_no_more_memory() {
    directory_of(50_000);
}

#[test]
#[ignore = "long: two million files"]
fn a_directory_of_a_million_entries_takes_no_more_memory() {
    directory_of(1_000_000);
}

#[test]
fn one_changed_file_among_many_adds_few_objects() {
    let world = World::new();
    plant_small(&world.path("src"), 5_000);
    settle();
    world.backup("");
    let before = world.objects();
    fs::write(world.path("src/020/002002"), rows(1024, 9_999_999)).unwrap();
    settle();
    world.backup("");
    let added: Vec<(PathBuf, u64)> =
        world.objects().into_iter().filter(|(path, _)| !before.contains_key(path)).collect();
    let bytes: u64 = added.iter().map(|(_, len)| len).sum();
    println!("{} objects, {bytes} bytes: {added:?}", added.len());
    assert!(added.len() <= 10, "{added:?}");
    assert!(bytes <= 20 << 10, "{added:?}");
}

/// What 500 new rows in as many pages of a database's file add, cut by this profile.
fn rows_updated(profile: &str) -> u64 {
    const PAGE: usize = 8 << 10;
    const PAGES: u64 = 16 << 10;
    let world = World::new();
    plant_long(&world.path("src/table"), (PAGES * PAGE as u64) >> 20);
    settle();
    world.backup(&format!(" --chunking {profile}"));
    let table = File::options().write(true).open(world.path("src/table")).unwrap();
    let mut dice = Dice(7);
    for n in 0..500 {
        let at = dice.roll(PAGES) * PAGE as u64 + dice.roll(PAGE as u64 - 200);
        table.write_all_at(&noise(150, n), at).unwrap();
    }
    settle();
    let before: u64 = world.objects().values().sum();
    world.backup("");
    world.objects().values().sum::<u64>() - before
}

/// The profile for databases and disks stores less again after scattered changes.
#[test]
fn scattered_rows_add_less_to_a_volume() {
    let (usual, volume) = (rows_updated("default"), rows_updated("volume"));
    println!("500 rows add {usual} bytes, cut as a volume {volume}");
    assert!(volume * 2 <= usual, "{usual} and {volume}");
}
