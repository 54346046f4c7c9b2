//! Every storage keeps the contract, and the local one keeps it on a real disk that is full,
//! read-only, tampered with, or loses its power.

#[path = "support/dice.rs"]
mod dice;

#[allow(dead_code, reason = "others need more of it")]
#[path = "cli/world.rs"]
mod world;

use orlop::error::{Error, ErrorKind};
use orlop::storage::testing::{
    CrashStorage, FaultStorage, How, Omit, RecordingStorage, UnsyncedStorage, Verb, contract, is_death,
};
use orlop::storage::{LocalStorage, MemoryStorage, Name, Put, Storage, StorageError, StorageErrorKind};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const ANY_LENGTH: u64 = u64::MAX;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[track_caller]
fn assert_kind<T>(result: Result<T, StorageError>, kind: StorageErrorKind) {
    let e = result.err().expect("an error was expected");
    assert_eq!(e.kind, kind, "{e}: {}", e.source);
}

/// Everything below `dir` that is a file or a link, as paths from there.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// A local repository that removes itself.
struct Scratch {
    dir: tempfile::TempDir,
    storage: LocalStorage,
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = LocalStorage::create(&dir.path().join("repository")).unwrap();
        Self { dir, storage }
    }
    fn path(&self, text: &str) -> PathBuf {
        self.dir.path().join("repository").join(text)
    }
}

mod contracts {
    use super::*;

    #[test]
    fn local() {
        let dir = tempfile::tempdir().unwrap();
        let made = std::cell::Cell::new(0);
        contract(&|| {
            made.set(made.get() + 1);
            let path = dir.path().join(made.get().to_string());
            Box::new(LocalStorage::create(&path).unwrap())
        });
        let left: Vec<_> =
            files(dir.path()).into_iter().filter(|path| path.to_string_lossy().contains("/.tmp/")).collect();
        assert!(left.is_empty(), "unfinished files are left: {left:?}");
    }

    #[test]
    fn memory() {
        contract(&|| Box::new(MemoryStorage::new()));
    }

    #[test]
    fn simulated_disk() {
        contract(&|| Box::new(UnsyncedStorage::new()));
    }

    /// Where the file system has no exclusive rename, an exclusive link does it.
    #[test]
    fn simulated_disk_without_exclusive_rename() {
        contract(&|| Box::new(UnsyncedStorage::without_exclusive_rename()));
    }

    #[test]
    fn wrappers() {
        contract(&|| Box::new(RecordingStorage::new(MemoryStorage::new())));
        contract(&|| Box::new(FaultStorage::new(MemoryStorage::new())));
        contract(&|| Box::new(CrashStorage::immortal(MemoryStorage::new())));
        contract(&|| Box::new(Arc::new(MemoryStorage::new())));
        let boxed = || -> Box<dyn Storage> { Box::new(MemoryStorage::new()) };
        contract(&|| Box::new(RecordingStorage::new(boxed())));
    }
}

mod wrappers {
    use super::*;

    #[test]
    fn requests_are_counted() {
        let s = RecordingStorage::new(MemoryStorage::new());
        s.put_new(&name("a"), b"12345").unwrap();
        s.put_new(&name("a"), b"12345").unwrap();
        assert!(s.get(&name("missing"), 1).is_err());
        s.get(&name("a"), 5).unwrap();
        let mut draft = s.draft().unwrap();
        draft.write(b"123").unwrap();
        draft.write(b"45").unwrap();
        draft.publish(&name("b")).unwrap();
        assert_eq!((s.calls(Verb::PutNew), s.bytes(Verb::PutNew)), (2, 10));
        assert_eq!((s.calls(Verb::Get), s.bytes(Verb::Get)), (2, 5));
        assert_eq!((s.calls(Verb::Write), s.bytes(Verb::Write)), (2, 5));
        assert_eq!(s.requests(), 5, "{s}");
        s.reset();
        assert_eq!((s.requests(), s.to_string()), (0, String::new()));
    }

    #[test]
    fn chosen_calls_fail() {
        let s = FaultStorage::new(MemoryStorage::new());
        s.fail(Verb::PutNew, 2, How::Before);
        s.put_new(&name("1"), b"").unwrap();
        assert_kind(s.put_new(&name("2"), b""), StorageErrorKind::Other);
        assert_eq!(s.head(&name("2")).unwrap(), None, "nothing was done");
        s.put_new(&name("2"), b"").unwrap();

        s.fail(Verb::PutNew, 1, How::After);
        assert_kind(s.put_new(&name("3"), b""), StorageErrorKind::Other);
        assert_eq!(s.head(&name("3")).unwrap(), Some(0), "it was done");

        s.fail_always(Verb::Publish, How::Full);
        for _ in 0..2 {
            let draft = s.draft().unwrap();
            assert_kind(draft.publish(&name("4")), StorageErrorKind::Full);
        }
        s.relent();
        s.draft().unwrap().publish(&name("4")).unwrap();
        s.fail(Verb::Delete, 1, How::Denied);
        assert_kind(s.delete(&name("4")), StorageErrorKind::Denied);
        s.delete(&name("4")).unwrap();
    }

    #[test]
    fn the_dead_stay_dead() {
        let kept = MemoryStorage::new();
        let s = CrashStorage::die_at(kept.clone(), 3);
        s.put_new(&name("1"), b"").unwrap();
        s.head(&name("1")).unwrap();
        s.draft().unwrap().publish(&name("2")).unwrap();
        let draft = s.draft().unwrap();
        let e = s.put_new(&name("3"), b"").unwrap_err();
        assert!(is_death(&e) && s.is_dead());
        assert!(s.get(&name("1"), 0).is_err() && s.list("").is_err());
        let e = draft.publish(&name("4")).unwrap_err();
        assert!(is_death(&Error::from(e)), "recognised after conversion");
        assert_eq!(s.changes(), 3);
        assert_eq!(kept.list("").unwrap().len(), 2);
        assert!(!is_death(&kept.get(&name("9"), 0).unwrap_err()));
    }
}

/// What survives when the power goes at any step, on a disk that keeps only what was flushed.
mod power {
    use super::*;

    type Known = BTreeMap<Name, Vec<u8>>;

    /// Store a little of everything; what was reported as done, and all that was ever asked for.
    fn work(s: &dyn Storage) -> (Known, Known) {
        let (mut created, mut asked) = (Known::new(), Known::new());
        for i in 0..5u8 {
            // The third shares its directory with the first, the last its place with the fourth.
            let put = name(&format!("index/{:02x}/{i}", i % 2));
            let bytes = vec![i + 1; 50 + usize::from(i)];
            asked.insert(put.clone(), bytes.clone());
            if s.put_new(&put, &bytes).is_ok() {
                created.insert(put, bytes);
            }
            let pack = name(&format!("packs/{:02x}/{i}", i.min(3)));
            let bytes = vec![i + 101; 700];
            asked.insert(pack.clone(), bytes.clone());
            if draft(s, &bytes, &pack).is_ok() {
                created.insert(pack, bytes);
            }
        }
        (created, asked)
    }

    fn draft(s: &dyn Storage, bytes: &[u8], pack: &Name) -> Result<Put, StorageError> {
        let mut draft = s.draft()?;
        for piece in bytes.chunks(300) {
            draft.write(piece)?;
        }
        draft.publish(pack)
    }

    /// What is wrong after the cut, if anything.
    fn judge(s: &dyn Storage, created: &Known, asked: &Known) -> Result<(), String> {
        for (name, bytes) in created {
            match s.get(name, ANY_LENGTH) {
                Ok(got) if got == *bytes => {}
                Ok(got) => return Err(format!("{name} was created, has {} bytes", got.len())),
                Err(e) => return Err(format!("{name} was created, {}", e.source)),
            }
        }
        for listed in s.list("").map_err(|e| e.to_string())? {
            let got = s.get(&listed.name, ANY_LENGTH).map_err(|e| e.to_string())?;
            if asked.get(&listed.name) != Some(&got) {
                return Err(format!("{} is there in part", listed.name));
            }
        }
        Ok(())
    }

    /// The first failure over all steps and some seeds.
    fn cut_everywhere(make: fn() -> UnsyncedStorage, seeds: u64) -> Result<u64, String> {
        let whole = make();
        work(&whole);
        let steps = whole.steps();
        for step in 1..=steps + 1 {
            let s = make();
            s.lose_power_at(step);
            let (created, asked) = work(&s);
            assert_eq!(s.is_dark(), step <= steps);
            for seed in 0..seeds {
                let after = s.after_power_cut(seed);
                judge(&after, &created, &asked).map_err(|e| format!("power lost at step {step}, seed {seed}: {e}"))?;
                // And the work can be done again.
                let (again, _) = work(&after);
                assert_eq!(again, asked, "step {step}, seed {seed}");
            }
        }
        Ok(steps)
    }

    #[test]
    fn nothing_created_is_lost_and_nothing_is_there_in_part() {
        let steps = cut_everywhere(UnsyncedStorage::new, 12).unwrap();
        assert!(steps > 60, "the disk took part: {steps} steps");
        cut_everywhere(UnsyncedStorage::without_exclusive_rename, 12).unwrap();
    }

    /// Each flush is needed: without any one of them, the test above fails.
    #[test]
    fn every_flush_is_needed() {
        cut_everywhere(|| UnsyncedStorage::omitting(Omit::Content), 12).unwrap_err();
        cut_everywhere(|| UnsyncedStorage::omitting(Omit::Names), 12).unwrap_err();
        cut_everywhere(|| UnsyncedStorage::omitting(Omit::Directories), 12).unwrap_err();
    }

    /// One that finds the name taken may rely on it, although its maker never got so far.
    #[test]
    fn what_exists_is_durable() {
        let whole = UnsyncedStorage::new();
        whole.put_new(&name("gc/1"), b"record").unwrap();
        for step in 1..=whole.steps() {
            let first = UnsyncedStorage::new();
            first.lose_power_at(step);
            let _ = first.put_new(&name("gc/1"), b"record");
            // The first process is gone, the power is not.
            first.lose_power_at(u64::MAX);
            let put = first.put_new(&name("gc/1"), b"record").unwrap();
            for seed in 0..8 {
                let got = first.after_power_cut(seed).get(&name("gc/1"), 6);
                assert_eq!(got.unwrap(), b"record", "step {step}, {put:?}");
            }
        }
    }

    /// A damaged object is either as it was or healed, never anything else.
    #[test]
    fn healing_is_atomic() {
        let damaged = || {
            let s = UnsyncedStorage::new();
            s.put_new(&name("packs/ab/x"), b"dAmaged").unwrap();
            s
        };
        let whole = damaged();
        let before = whole.steps();
        whole.heal(&name("packs/ab/x"), b"healed").unwrap();
        for step in before + 1..=whole.steps() + 1 {
            let s = damaged();
            s.lose_power_at(step);
            let healed = s.heal(&name("packs/ab/x"), b"healed").is_ok();
            for seed in 0..16 {
                let got = s.after_power_cut(seed).get(&name("packs/ab/x"), 100);
                let got = got.unwrap();
                assert!(got == b"healed" || (!healed && got == b"dAmaged"));
            }
        }
    }
}

mod local {
    use super::*;

    #[test]
    fn places_that_are_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("a/b");
        let e = LocalStorage::open(&missing).err().unwrap();
        assert_eq!(e.kind, StorageErrorKind::NotFound);
        assert!(e.to_string().contains(missing.to_str().unwrap()), "{e}");
        fs::write(dir.path().join("file"), b"").unwrap();
        assert!(LocalStorage::open(&dir.path().join("file")).is_err());
        assert!(LocalStorage::create(&dir.path().join("file")).is_err());
        assert!(LocalStorage::create(dir.path()).is_err(), "not empty");
        let made = LocalStorage::create(&missing).unwrap();
        assert_eq!(made.place(), missing.to_str().unwrap());
        LocalStorage::create(&missing).unwrap();
        LocalStorage::open(&missing).unwrap();
    }

    #[test]
    fn only_its_owner_can_read_and_nobody_write() {
        let s = Scratch::new();
        s.storage.put_new(&name("packs/ab/x"), b"x").unwrap();
        s.storage.draft().unwrap().publish(&name("y")).unwrap();
        s.storage.heal(&name("z"), b"z").unwrap();
        let mode = |path: &str| fs::metadata(s.path(path)).unwrap().mode() & 0o7777;
        for dir in ["", "packs", "packs/ab", ".tmp"] {
            assert_eq!(mode(dir), 0o700, "{dir}");
        }
        for file in ["packs/ab/x", "y", "z"] {
            assert_eq!(mode(file), 0o400, "{file}");
        }
    }

    #[test]
    fn other_peoples_files_are_not_listed() {
        let s = Scratch::new();
        s.storage.put_new(&name("packs/ab/x"), b"x").unwrap();
        let draft = s.storage.draft().unwrap();
        for foreign in ["README.TXT", "packs/.hidden", "packs/ab/a b", ".DS_Store"] {
            fs::write(s.path(foreign), b"foreign").unwrap();
        }
        fs::create_dir_all(s.path("a/b/c/d/e")).unwrap();
        fs::write(s.path("a/b/c/d/e/f"), b"too deep").unwrap();
        symlink("x", s.path("packs/ab/y")).unwrap();
        symlink("ab", s.path("packs/cd")).unwrap();
        let listed = s.storage.list("").unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        drop(draft);
    }

    /// Repositories lie on shared disks, too: who can write there must not make us go elsewhere.
    #[test]
    fn links_are_not_followed() {
        let s = Scratch::new();
        let elsewhere = s.dir.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("x"), b"secret").unwrap();
        s.storage.put_new(&name("packs/cd/x"), b"x").unwrap();
        symlink(&elsewhere, s.path("packs/ab")).unwrap();
        symlink(&elsewhere, s.path("index")).unwrap();
        symlink(elsewhere.join("x"), s.path("packs/cd/y")).unwrap();
        symlink(elsewhere.join("none"), s.path("packs/cd/z")).unwrap();
        for planted in ["packs/ab/x", "packs/ab/new", "index/x", "index/sub/x", "packs/cd/y"] {
            let planted = name(planted);
            assert!(s.storage.put_new(&planted, b"ours").is_err(), "{planted}");
            let draft = s.storage.draft().unwrap();
            assert!(draft.publish(&planted).is_err(), "{planted}");
            assert!(s.storage.get(&planted, 100).is_err(), "{planted}");
            let range = s.storage.get_range(&planted, 0, &mut [0]);
            assert!(range.is_err(), "{planted}");
        }
        assert!(s.storage.put_new(&name("packs/cd/z"), b"ours").is_err());
        assert!(s.storage.delete(&name("packs/ab/x")).is_err());
        assert!(s.storage.heal(&name("packs/ab/x"), b"ours").is_err());
        // Healing and deleting a planted link mean the link, not what it leads to.
        s.storage.heal(&name("packs/cd/y"), b"ours").unwrap();
        s.storage.delete(&name("packs/cd/z")).unwrap();
        assert_eq!(fs::read(elsewhere.join("x")).unwrap(), b"secret");
        assert_eq!(files(&elsewhere).len(), 1, "nothing came there");
    }

    /// Opening a pipe to read waits for a writer, unless one is careful.
    #[test]
    fn a_pipe_in_place_of_an_object_does_not_hang() {
        let s = Scratch::new();
        s.storage.put_new(&name("packs/ab/x"), b"x").unwrap();
        let made = Command::new("mkfifo").arg(s.path("packs/ab/y")).status();
        if !made.is_ok_and(|status| status.success()) {
            println!("skipped: there is no mkfifo");
            return;
        }
        assert!(s.storage.get(&name("packs/ab/y"), 10).is_err());
        assert_eq!(s.storage.head(&name("packs/ab/y")).unwrap(), None);
    }

    #[test]
    fn abandoned_files_are_swept() {
        let s = Scratch::new();
        let abandon = |age: Duration| {
            let dead = s.path(&format!(".tmp/{:032x}", age.as_secs()));
            let file = fs::File::create(&dead).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            dead
        };
        fs::create_dir(s.path(".tmp")).unwrap();
        fs::write(s.path(".tmp/notes"), b"not ours").unwrap();
        let old = abandon(Duration::from_secs(25 * 3600));
        let young = abandon(Duration::from_secs(3600));
        // The first write of a process sweeps what is older than a day.
        let mut draft = s.storage.draft().unwrap();
        draft.write(b"alive").unwrap();
        assert!(!old.exists() && young.exists());
        let half_an_hour = Duration::from_secs(1800);
        assert_eq!(s.storage.sweep_temporaries(half_an_hour).unwrap(), 1);
        assert!(!young.exists());
        draft.publish(&name("packs/ab/x")).unwrap();
        assert_eq!(s.storage.get(&name("packs/ab/x"), 5).unwrap(), b"alive");
        assert_eq!(files(&s.path(".tmp")), [s.path(".tmp/notes")]);
    }

    /// `serve` holds packs open while another process repairs or prunes.
    #[test]
    fn what_others_healed_or_deleted_is_noticed() {
        let s = Scratch::new();
        let other = LocalStorage::open(&s.path("")).unwrap();
        let pack = name("packs/ab/x");
        s.storage.put_new(&pack, b"dAmaged").unwrap();
        let mut into = [0; 2];
        s.storage.get_range(&pack, 0, &mut into).unwrap();
        other.heal(&pack, b"damaged").unwrap();
        s.storage.get_range(&pack, 0, &mut into).unwrap();
        assert_eq!(&into, b"da");
        other.delete(&pack).unwrap();
        let range = s.storage.get_range(&pack, 0, &mut into);
        assert_kind(range, StorageErrorKind::NotFound);
    }

    #[test]
    fn many_objects_read_in_turns_stay_within_few_open_files() {
        let s = Scratch::new();
        let pack = |i: u32| name(&format!("packs/{:02x}/{i}", i % 16));
        for i in 0..200 {
            s.storage.put_new(&pack(i), &i.to_le_bytes()).unwrap();
        }
        for i in (0..200).chain(0..200).rev() {
            let mut into = [0; 4];
            s.storage.get_range(&pack(i), 0, &mut into).unwrap();
            assert_eq!(u32::from_le_bytes(into), i);
        }
        let repository = s.path("").canonicalize().unwrap();
        let open = fs::read_dir("/proc/self/fd").map(|fds| {
            let targets = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
            targets.filter(|t| t.starts_with(&repository)).count()
        });
        match open {
            Ok(open) => assert!(open <= 65, "{open} files are open"),
            Err(_) => println!("skipped: no /proc to count open files in"),
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        let s = Scratch::new();
        let e = s.storage.get(&name("packs/ab/x"), 1).unwrap_err();
        let e = Error::from(e);
        assert_eq!(e.kind(), ErrorKind::Missing);
        let text = e.to_string();
        assert!(text.starts_with("could not get packs/ab/x in /"), "{text}");
        let full = FaultStorage::new(MemoryStorage::new());
        full.fail(Verb::PutNew, 1, How::Full);
        let e = Error::from(full.put_new(&name("a"), b"").unwrap_err());
        assert_eq!((e.kind(), e.hints().len()), (ErrorKind::Storage, 1));
    }
}

/// Disks that refuse.
mod refusing {
    use super::*;

    /// A small file system of its own, unmounted in the end. Only root can have one.
    struct Mounted(tempfile::TempDir);

    impl Mounted {
        fn new(options: &str) -> Option<Self> {
            let dir = tempfile::tempdir().unwrap();
            let mount =
                Command::new("mount").args(["-t", "tmpfs", "-o", options, "orlop-test"]).arg(dir.path()).output();
            if mount.is_ok_and(|out| out.status.success()) {
                return Some(Self(dir));
            }
            println!("skipped: mounting a tmpfs takes root and is not allowed here");
            None
        }
        fn make_read_only(&self) {
            let mount = Command::new("mount").args(["-o", "remount,ro"]).arg(self.0.path()).status();
            assert!(mount.unwrap().success());
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0.path()).status();
        }
    }

    #[test]
    fn a_full_disk() {
        let Some(disk) = Mounted::new("size=1m,mode=700") else {
            return;
        };
        let s = LocalStorage::create(disk.0.path()).unwrap();
        s.put_new(&name("packs/ab/small"), &[1; 1000]).unwrap();
        let put = s.put_new(&name("packs/ab/large"), &vec![2; 2 << 20]);
        assert_kind(put, StorageErrorKind::Full);
        let mut draft = s.draft().unwrap();
        let full = (0..32).find_map(|_| draft.write(&[3; 100_000]).err());
        assert_eq!(full.expect("it is full").kind, StorageErrorKind::Full);
        drop(draft);
        let listed = s.list("").unwrap();
        assert_eq!(listed.len(), 1, "nothing in part: {listed:?}");
        assert!(files(&disk.0.path().join(".tmp")).is_empty());
        // What was in the way is gone, so there is room again.
        s.put_new(&name("packs/ab/large"), &vec![2; 500_000]).unwrap();
    }

    #[test]
    fn a_read_only_disk() {
        let Some(disk) = Mounted::new("size=1m,mode=700") else {
            return;
        };
        let s = LocalStorage::create(disk.0.path()).unwrap();
        s.put_new(&name("packs/ab/x"), b"content").unwrap();
        drop(s);
        disk.make_read_only();
        let s = LocalStorage::open(disk.0.path()).unwrap();
        assert_eq!(s.get(&name("packs/ab/x"), 7).unwrap(), b"content");
        s.get_range(&name("packs/ab/x"), 0, &mut [0; 7]).unwrap();
        assert_eq!(s.head(&name("packs/ab/x")).unwrap(), Some(7));
        assert_eq!(s.list("").unwrap().len(), 1);
        assert_kind(s.put_new(&name("new"), b""), StorageErrorKind::Denied);
        assert_kind(s.draft(), StorageErrorKind::Denied);
        assert_kind(s.delete(&name("packs/ab/x")), StorageErrorKind::Denied);
        let heal = s.heal(&name("packs/ab/x"), b"");
        assert_kind(heal, StorageErrorKind::Denied);
    }

    #[test]
    fn a_directory_without_permission() {
        let s = Scratch::new();
        s.storage.put_new(&name("packs/ab/x"), b"x").unwrap();
        let shard = s.path("packs/ab");
        fs::set_permissions(&shard, fs::Permissions::from_mode(0o500)).unwrap();
        let put = s.storage.put_new(&name("packs/ab/y"), b"y");
        let root = fs::metadata(&shard).unwrap().uid() == 0;
        fs::set_permissions(&shard, fs::Permissions::from_mode(0o700)).unwrap();
        if root {
            println!("skipped: root is denied nothing");
            return;
        }
        assert_kind(put, StorageErrorKind::Denied);
    }
}

/// A process that really ends in the middle, with files open.
mod killed {
    use super::*;

    const CHILD: &str = "ORLOP_TEST_KILLED_CHILD";

    /// Does nothing as a test; it is what is killed.
    #[test]
    fn child() {
        let Some(dir) = std::env::var_os(CHILD) else {
            return;
        };
        let s = CrashStorage::abort_at(LocalStorage::open(Path::new(&dir)).unwrap(), 3);
        s.put_new(&name("1"), b"one").unwrap();
        let mut draft = s.draft().unwrap();
        draft.write(&[7; 1 << 20]).unwrap();
        s.heal(&name("2"), b"two").unwrap();
        let _ = draft.publish(&name("3"));
        unreachable!("it died at the third change");
    }

    #[test]
    fn what_was_done_stays_and_the_rest_is_swept() {
        let s = Scratch::new();
        let dead = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::child", "--test-threads=1"])
            .env(CHILD, s.path(""))
            .output();
        assert!(!dead.unwrap().status.success());
        let listed = s.storage.list("").unwrap();
        let names: Vec<_> = listed.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(names, ["1", "2"]);
        assert_eq!(files(&s.path(".tmp")).len(), 1, "the draft");
        assert_eq!(s.storage.sweep_temporaries(Duration::ZERO).unwrap(), 1);
        assert!(files(&s.path(".tmp")).is_empty());
    }
}

/// The order of system calls, as the kernel saw them.
mod traced {
    use super::*;
    use world::World;

    const CHILD: &str = "ORLOP_TEST_TRACED_CHILD";

    /// Does nothing as a test; it is what the tracer runs.
    #[test]
    fn child() {
        let Some(dir) = std::env::var_os(CHILD) else {
            return;
        };
        let s = LocalStorage::create(Path::new(&dir)).unwrap();
        s.put_new(&name("snapshots/me/1"), b"small").unwrap();
        s.put_new(&name("snapshots/me/2"), b"small").unwrap();
        let mut draft = s.draft().unwrap();
        for _ in 0..10 {
            draft.write(&[7; 300_000]).unwrap();
        }
        draft.publish(&name("packs/ab/large")).unwrap();
        s.heal(&name("packs/cd/healed"), b"healed").unwrap();
    }

    /// A system call, from the line of the trace in which it began to that in which it ended. Calls of
    /// several threads overlap.
    struct Call {
        thread: String,
        text: String,
        begun: usize,
        ended: usize,
    }

    impl Call {
        fn has(&self, all: &[&str]) -> bool {
            all.iter().all(|part| self.text.contains(part))
        }

        fn is_before(&self, other: &Call) -> bool {
            self.ended < other.begun
        }
    }

    /// A run of a program, with descriptors shown as paths.
    struct Trace {
        /// In the order in which they began.
        calls: Vec<Call>,
        /// The repository.
        root: String,
    }

    impl Trace {
        fn of(program: &Command, dir: &Path) -> Option<Self> {
            let out = dir.join("trace");
            let output = Command::new("strace")
                .args(["-f", "-y", "-s", "0", "-o"])
                .arg(&out)
                .args(["-e", "trace=mkdirat,write,pwritev2,fchmod,fsync,fdatasync,/^rename,/^link"])
                .arg(program.get_program())
                .args(program.get_args())
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))))
                .current_dir(dir)
                .output();
            let output = match output {
                Ok(output) => output,
                Err(e) => {
                    println!("skipped: strace does not run: {e}");
                    return None;
                }
            };
            if String::from_utf8_lossy(&output.stderr).contains("ptrace") {
                println!("skipped: tracing is not allowed here");
                return None;
            }
            assert!(output.status.success(), "{output:?}");
            let root = dir.canonicalize().unwrap().join("repo").to_str().unwrap().to_owned();
            Some(Self { calls: calls(&fs::read_to_string(out).unwrap()), root })
        }

        /// The first call at all, or of those that began after another had ended, that has all this.
        #[track_caller]
        fn find(&self, after: Option<&Call>, all: &[&str]) -> &Call {
            let late = |call: &Call| after.is_none_or(|before| before.is_before(call));
            match self.calls.iter().find(|call| late(call) && call.has(all)) {
                Some(call) => call,
                None => panic!("no {all:?} in:\n{self}"),
            }
        }

        /// Written and sealed, flushed, named, and the directory flushed, in this order and without a
        /// failure. Gives the last two.
        #[track_caller]
        fn assert_order(&self, object: &str) -> (&Call, &Call) {
            let (home, last) = object.rsplit_once('/').unwrap();
            let home = format!("<{}/{home}>", self.root);
            // Whether it is renamed or linked, both names are in the call.
            let named = self.find(None, &["/.tmp>, \"", &home, &format!("\"{last}\""), "= 0"]);
            let temporary = named.text.split('"').nth(1).unwrap();
            let file = format!("<{}/.tmp/{temporary}>", self.root);
            let flushed = self.find(None, &["fsync(", &file, "= 0"]);
            let sealed = self.find(None, &["fchmod(", &file, "0400", "= 0"]);
            assert!(sealed.is_before(flushed) && flushed.is_before(named), "{object}:\n{self}");
            let mut writes = self.calls.iter().filter(|call| call.text.contains("write") && call.text.contains(&file));
            let written = writes.next_back().expect("it was written");
            assert!(written.is_before(flushed), "{object}:\n{self}");
            // Nothing else happened to be done in between that we could lean on.
            let own = |call: &&Call| call.thread == named.thread && named.is_before(call) && call.has(&["fsync("]);
            let settled = self.calls.iter().find(own).expect("its directory is flushed");
            assert!(settled.has(&[&home, "= 0"]), "{object}: {}", settled.text);
            (named, settled)
        }

        /// A new directory is flushed into its parent before anything is named in it.
        #[track_caller]
        fn assert_made_durably(&self, made: &str) {
            let (parent, last) = made.rsplit_once('/').unwrap_or(("", made));
            let parent = format!("<{}>", format!("{}/{parent}", self.root).trim_end_matches('/'));
            let born = self.find(None, &["mkdirat(", &parent, &format!("\"{last}\""), "= 0"]);
            let flushed = self.find(Some(born), &["fsync(", &parent, "= 0"]);
            let used = self.find(Some(born), &["/.tmp>, \"", &format!("<{}/{made}", self.root)]);
            assert!(flushed.is_before(used), "{made}:\n{self}");
        }

        /// Directories in the repository that this run made, but for the one of unfinished files.
        fn made(&self) -> Vec<String> {
            let made = |call: &Call| {
                let (_, below) = call.text.strip_prefix("mkdirat(")?.split_once(&self.root)?;
                let (parent, rest) = below.split_once(">, \"")?;
                let last = rest.split('"').next()?;
                Some(format!("{parent}/{last}").trim_start_matches('/').to_owned())
            };
            let done = self.calls.iter().filter(|call| call.has(&["= 0"]));
            done.filter_map(made).filter(|dir| dir != ".tmp").collect()
        }
    }

    impl std::fmt::Display for Trace {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.calls.iter().try_for_each(|call| writeln!(f, "{} {}", call.thread, call.text))
        }
    }

    /// A call that others came in between is told in two parts, which are put together.
    fn calls(trace: &str) -> Vec<Call> {
        let (mut calls, mut under_way) = (Vec::<Call>::new(), BTreeMap::new());
        for (at, line) in trace.lines().enumerate() {
            let (thread, text) = line.trim_start().split_once(' ').expect("a thread and what it did");
            if let Some((_, rest)) = text.split_once(" resumed>") {
                let n = under_way.remove(thread).expect("it had begun");
                let call: &mut Call = &mut calls[n];
                call.text.push_str(rest);
                call.ended = at;
                continue;
            }
            let begins = text.strip_suffix(" <unfinished ...>");
            let ended = if begins.is_some() { usize::MAX } else { at };
            if begins.is_some() {
                under_way.insert(thread, calls.len());
            }
            let text = begins.unwrap_or(text).trim_start().to_owned();
            calls.push(Call { thread: thread.to_owned(), text, begun: at, ended });
        }
        calls
    }

    #[test]
    fn file_then_name_then_directory() {
        let dir = tempfile::tempdir().unwrap();
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", "traced::child", "--test-threads=1"]).env(CHILD, dir.path().join("repo"));
        let Some(trace) = Trace::of(&program, dir.path()) else {
            return;
        };
        for object in ["snapshots/me/1", "snapshots/me/2", "packs/ab/large", "packs/cd/healed"] {
            trace.assert_order(object);
        }
        let made = ["snapshots", "snapshots/me", "packs", "packs/ab", "packs/cd"];
        assert_eq!(trace.made(), made);
        made.iter().for_each(|dir| trace.assert_made_durably(dir));
    }

    /// Where an object stands in the order that `format-spec/90-durability.md` promises.
    fn step(object: &str) -> usize {
        let order = ["packs/", "index/", "snapshots/", "copy/snapshots/"];
        match order.iter().position(|kind| object.starts_with(kind)) {
            Some(i) => i + 1,
            None if object.starts_with("sessions/") && object.ends_with("/00000000") => 0,
            None if object.starts_with("sessions/") && object.ends_with("/close") => order.len() + 1,
            None => panic!("a backup into a repository that has a parent for it makes no {object}"),
        }
    }

    /// A second backup makes several packs. (A segment is written for every 32 of them, and so would
    /// come before packs that it does not list, were there more.)
    fn world_with_parent() -> World {
        let world = World::with_repository();
        world.ok("backup src -q");
        for i in 0..4 {
            let mut dice = dice::Dice(i);
            let words = std::iter::repeat_with(|| dice.roll(u64::MAX).to_le_bytes());
            world.write(&format!("src/incompressible-{i}"), words.flatten().take(1_500_000).collect::<Vec<u8>>());
        }
        world
    }

    /// Names of the objects of a repository.
    fn objects(world: &World) -> Vec<String> {
        let root = world.path("repo");
        let below = |file: PathBuf| file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        files(&root).into_iter().map(below).filter(|object| !object.starts_with(".tmp/")).collect()
    }

    #[test]
    fn each_kind_of_object_is_durable_before_the_next_is_named() {
        let world = world_with_parent();
        let before = objects(&world);
        let Some(trace) = Trace::of(&world.command("backup src -q --pack-size 1"), &world.path("")) else {
            return;
        };
        let mut steps = [const { Vec::new() }; 6];
        for object in objects(&world).iter().filter(|object| !before.contains(object)) {
            steps[step(object)].push(trace.assert_order(object));
        }
        let made = steps.each_ref().map(Vec::len);
        assert!(made[1] >= 4 && made.iter().all(|n| *n > 0), "{made:?}");
        for pair in steps.windows(2) {
            let settled = pair[0].iter().map(|(_, settled)| settled).max_by_key(|call| call.ended).unwrap();
            let named = pair[1].iter().map(|(named, _)| named).min_by_key(|call| call.begun).unwrap();
            assert!(settled.is_before(named), "{} comes before the end of {}", named.text, settled.text);
        }
        trace.made().iter().for_each(|dir| trace.assert_made_durably(dir));
    }
}
