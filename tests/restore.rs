//! Restoring: everything comes back, only what differs is rewritten, damage costs what it must and
//! no more, and nothing gets out of the target whatever the snapshot says.

#[path = "support/noise.rs"]
mod noise;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use orlop::crypto::Secret;
use orlop::event::{Context, Event, Meter, Observer, Problem};
use orlop::format::keys::Credential;
use orlop::format::page::{DirChild, Page};
use orlop::format::records::{CloseKind, Purpose};
use orlop::id::BlobId;
use orlop::index::Index;
use orlop::model::ext::{Extras, PlainXattr};
use orlop::model::{Content, Ext, Extent, Node, NodeKind, PageRef, Time, ext_tag};
use orlop::ops::backup::{self, BackupOptions, Input, Parent, Sources};
use orlop::ops::check::{self, CheckOptions};
use orlop::ops::diff::{Change, LiveOptions, live};
use orlop::ops::list;
use orlop::ops::prune::{PruneOptions, prune};
use orlop::ops::restore::{Overwrite, RestoreOptions, RestoreSummary, restore};
use orlop::plan::filter::{Case, Origin, Patterns, RestoreSelection};
use orlop::repo::{self, FrameScope, InitOptions, Reader, Repository, Snapshot, Writer, WriterOptions};
use orlop::storage::{LocalStorage, Storage};
use orlop::target::TargetDir;

use noise::noise;

/// What somebody else does at each event.
type Meddle = Box<dyn Fn(&Event<'_>) + Send + Sync>;

/// Notes all trouble, and asks to stop after so many items.
#[derive(Default)]
struct Notes {
    meddle: Option<Meddle>,
    problems: Mutex<Vec<Problem>>,
    notices: Mutex<Vec<String>>,
    items: AtomicU64,
    stop_after: Option<u64>,
    cancel: AtomicBool,
}

impl Observer for Notes {
    fn on(&self, event: &Event<'_>) {
        if let Some(meddle) = &self.meddle {
            meddle(event);
        }
        match event {
            Event::Problem(p) => self.problems.lock().unwrap().push((*p).clone()),
            Event::Notice(n) => self.notices.lock().unwrap().push(n.message.clone()),
            Event::Item { .. } if self.stop_after.is_some_and(|n| self.items.fetch_add(1, Relaxed) >= n) => {
                self.cancel.store(true, Relaxed);
            }
            _ => {}
        }
    }
    fn wants_items(&self) -> bool {
        true
    }
}

impl Notes {
    fn slugs(&self) -> Vec<(&'static str, String)> {
        let all = self.problems.lock().unwrap();
        let mut all: Vec<_> = all.iter().map(|p| (p.slug, String::from_utf8_lossy(&p.subject).into_owned())).collect();
        all.sort();
        all
    }
}

/// A repository, a source and a target on a real disk.
struct Bench {
    dir: tempfile::TempDir,
    repo: Repository,
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Immutable files stay unless somebody takes care.
        let dir = TargetDir::open_or_create(self.dir.path()).unwrap();
        for name in ["src", "out"] {
            let _ = dir.remove_recursive(name.as_bytes(), &mut |_, _| {});
        }
    }
}

fn open(path: &Path) -> Repository {
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(path).unwrap());
    repo::open(storage, &Credential::Raw(Secret::new([7; 32])), None).unwrap()
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("restore-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(&dir.path().join("repo")).unwrap());
        let options = InitOptions {
            credential: Credential::Raw(Secret::new([7; 32])),
            recovery: false,
            compression: 3,
            suite: None,
            undelete_window: orlop::repo::UNDELETE_WINDOW,
            mirror_of: None,
            cut_like: None,
        };
        repo::init(&storage, &options).unwrap();
        let repo = open(&dir.path().join("repo"));
        fs::create_dir(dir.path().join("src")).unwrap();
        Self { dir, repo }
    }
    fn src(&self) -> PathBuf {
        self.dir.path().join("src")
    }
    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }
    /// Where the source is in the snapshot.
    fn sub(&self) -> Vec<u8> {
        self.src().canonicalize().unwrap().into_os_string().into_encoded_bytes()
    }

    fn backup(&mut self) -> Snapshot {
        let notes = Notes::default();
        let meter = Meter::default();
        let cx = Context { observer: &notes, meter: &meter, cancel: &notes.cancel };
        let mut sources = Sources::default();
        sources.add(&self.src().canonicalize().unwrap(), &|_| Ok(vec![])).unwrap();
        let options =
            BackupOptions { parent: Parent::Latest, verify: true, chunking: 1, compression: Some(3), ..plain() };
        let done = backup::backup(&mut self.repo, Input::Paths(sources), &options, &cx).unwrap();
        assert_eq!(notes.slugs(), []);
        self.snapshot(done.snapshot.unwrap())
    }

    fn snapshot(&self, id: orlop::id::RecordId) -> Snapshot {
        let all = self.repo.snapshots(&|name, e| panic!("{name}: {e}")).unwrap();
        all.into_iter().find(|s| s.id == id).unwrap()
    }

    fn restore(&self, s: &Snapshot, options: &RestoreOptions) -> (RestoreSummary, Notes) {
        let notes = Notes::default();
        let meter = Meter::default();
        let cx = Context { observer: &notes, meter: &meter, cancel: &notes.cancel };
        let done = restore(&self.repo, s, Some(&self.sub()), &self.out(), options, &cx).unwrap();
        (done, notes)
    }
    /// Restore without trouble.
    fn well(&self, s: &Snapshot, options: &RestoreOptions) -> RestoreSummary {
        let (done, notes) = self.restore(s, options);
        assert_eq!(notes.slugs(), []);
        done
    }

    /// A snapshot like `like` of a tree that no backup would make. `make` stores pages and chunks.
    fn forged(&mut self, like: &Snapshot, make: impl FnOnce(&Writer<'_>) -> PageRef) -> Snapshot {
        let notes = Notes::default();
        let meter = Meter::default();
        let cx = Context { observer: &notes, meter: &meter, cancel: &notes.cancel };
        let who = self.repo.identity(None).unwrap();
        let session = self.repo.begin(&who, Purpose::Backup, vec![]).unwrap();
        let index = Index::default();
        let options = WriterOptions {
            compression: Some(3),
            pack_target: 16 << 20,
            verify: true,
            dry_run: false,
            segment_packs: 32,
        };
        let writer = Writer::new(&self.repo, &who, &session, &index, &cx, options);
        let root = make(&writer);
        writer.finish().unwrap();
        self.repo.close(&session, CloseKind::End, vec![]).unwrap();
        let mut forged = like.clone();
        forged.statement.root = Some(root);
        forged
    }

    /// Whether the snapshot may make devices here.
    fn trusts(&self, s: &Snapshot) -> bool {
        s.trusted() && is_root()
    }

    /// Restore the whole of a forged snapshot.
    fn attack(&self, s: &Snapshot, options: &RestoreOptions) -> Vec<(&'static str, String)> {
        self.attack_while(s, options, |_| ())
    }

    /// The same, while somebody else is at work.
    fn attack_while(
        &self,
        s: &Snapshot,
        options: &RestoreOptions,
        meddle: impl Fn(&Event<'_>) + Send + Sync + 'static,
    ) -> Vec<(&'static str, String)> {
        let notes = Notes { meddle: Some(Box::new(meddle)), ..Notes::default() };
        let meter = Meter::default();
        let cx = Context { observer: &notes, meter: &meter, cancel: &notes.cancel };
        restore(&self.repo, s, None, &self.out(), options, &cx).unwrap();
        notes.slugs()
    }
}

fn plain() -> BackupOptions {
    BackupOptions { parent: Parent::None, ..BackupOptions::default() }
}

fn oracle(args: &[&dyn AsRef<std::ffi::OsStr>]) -> String {
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fs_oracle.py"));
    args.iter().for_each(|a| {
        command.arg(a);
    });
    let out = command.output().expect("python3 is needed to judge the result");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn set_mtime(path: &Path, sec: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(sec);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn only(pattern: &str) -> Patterns {
    Patterns::compile([(pattern.as_bytes().to_vec(), Origin::Flag("--include"))], Case::Sensitive).unwrap()
}

// --- round trips ---------------------------------------------------------------------------

#[test]
fn everything_comes_back() {
    let mut b = Bench::new();
    let left_out = oracle(&[&"make", &b.src()]);
    eprint!("{left_out}");
    let s = b.backup();
    let done = b.well(&s, &RestoreOptions { verify: true, ..RestoreOptions::default() });
    assert_eq!(done.entries, done.restored);
    let root_differs = oracle(&[&"compare", &b.src(), &b.out()]);
    // The target itself is the user's: only what is in it is compared.
    let differences: Vec<&str> = root_differs.lines().filter(|l| !l.starts_with("root:")).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    // Once more into the same place: nothing is written, nothing is different.
    let again = b.well(&s, &RestoreOptions { delete: true, verify: true, ..RestoreOptions::default() });
    assert_eq!((again.bytes_written, again.deleted, again.frames), (0, 0, 0));
    let differences = oracle(&[&"compare", &b.src(), &b.out()]);
    assert!(differences.lines().all(|l| l.starts_with("root:")), "{differences}");
}

#[test]
fn each_frame_is_fetched_once() {
    let mut b = Bench::new();
    for i in 0..400 {
        fs::write(b.src().join(format!("f{i}")), noise(5000, i + 1)).unwrap();
    }
    fs::write(b.src().join("large"), noise(9_000_000, 999)).unwrap();
    let s = b.backup();
    let done = b.well(&s, &RestoreOptions::default());
    let index = b.repo.load_index(&|_, e| panic!("{e}")).unwrap();
    let frames: u64 =
        index.packs().iter().filter(|p| p.kind == orlop::format::pack::Kind::Data).map(|p| u64::from(p.frames)).sum();
    assert_eq!(done.frames, frames);
}

#[test]
fn holes_and_zeros() {
    let mut b = Bench::new();
    let file = fs::File::create(b.src().join("holes")).unwrap();
    file.set_len(8 << 20).unwrap();
    file.write_all_at(b"middle", 4 << 20).unwrap();
    fs::write(b.src().join("zeros"), vec![0; 4 << 20]).unwrap();
    let s = b.backup();
    b.well(&s, &RestoreOptions::default());
    let blocks = |name: &str| fs::metadata(b.out().join(name)).unwrap().blocks() * 512;
    assert!(blocks("holes") < 1 << 20, "{}", blocks("holes"));
    // A block more where the file system needs one for the list of pieces.
    assert!(
        (4 << 20..=4100 << 10).contains(&blocks("zeros")),
        "zeros that were written are written: {}",
        blocks("zeros")
    );
    fs::remove_file(b.out().join("zeros")).unwrap();
    b.well(&s, &RestoreOptions { sparse: true, ..RestoreOptions::default() });
    assert!(blocks("zeros") < 1 << 20, "{}", blocks("zeros"));
    assert_eq!(fs::read(b.out().join("zeros")).unwrap(), vec![0; 4 << 20]);
    // A hole that was filled is made again.
    fs::File::options().write(true).open(b.out().join("holes")).unwrap().write_all_at(b"junk", 1 << 20).unwrap();
    b.well(&s, &RestoreOptions { verify: true, ..RestoreOptions::default() });
    assert_eq!(fs::read(b.src().join("holes")).unwrap(), fs::read(b.out().join("holes")).unwrap());
}

// --- what is there already -------------------------------------------------------------------

#[test]
fn only_what_differs_is_rewritten() {
    let mut b = Bench::new();
    let content = noise(6_000_000, 5);
    fs::write(b.src().join("f"), &content).unwrap();
    let s = b.backup();
    b.well(&s, &RestoreOptions::default());
    let out = b.out().join("f");
    let before = fs::metadata(&out).unwrap().ino();
    let file = fs::File::options().write(true).open(&out).unwrap();
    file.write_all_at(b"!", 3_000_000).unwrap();
    file.set_len(6_000_500).unwrap();
    let done = b.well(&s, &RestoreOptions::default());
    assert!(done.bytes_written > 0 && done.bytes_written < 600_000, "{done:?}");
    assert_eq!(done.frames, 1);
    assert_eq!(fs::read(&out).unwrap(), content);
    assert_eq!(fs::metadata(&out).unwrap().ino(), before, "changed in its place");
    assert_eq!(fs::metadata(&out).unwrap().mtime_nsec(), fs::metadata(b.src().join("f")).unwrap().mtime_nsec());
}

#[test]
fn overwrite_modes() {
    // What is there: content, mtime; and whether each mode rewrites it.
    let table = [
        ("same-size-same-time", "AAAA", 1000, [true, false, false, false]),
        ("same-size-older", "AAAA", 500, [true, true, true, false]),
        ("same-size-newer", "AAAA", 2000, [true, true, false, false]),
        ("longer-same-time", "AAAAAA", 1000, [true, true, false, false]),
    ];
    let modes = [Overwrite::Always, Overwrite::IfChanged, Overwrite::IfNewer, Overwrite::Never];
    let mut b = Bench::new();
    for big in ["", "-big"] {
        for (name, ..) in &table {
            let content = if big.is_empty() { b"good".to_vec() } else { noise(4000, 3) };
            let path = b.src().join(format!("{name}{big}"));
            fs::write(&path, content).unwrap();
            set_mtime(&path, 1000);
        }
    }
    let s = b.backup();
    for (at, mode) in modes.into_iter().enumerate() {
        for big in ["", "-big"] {
            for (name, content, time, _) in &table {
                let path = b.out().join(format!("{name}{big}"));
                fs::create_dir_all(b.out()).unwrap();
                let times = if big.is_empty() { 1 } else { 1000 };
                fs::write(&path, content.repeat(times)).unwrap();
                set_mtime(&path, *time);
            }
        }
        b.well(&s, &RestoreOptions { overwrite: mode, verify: mode != Overwrite::IfChanged, ..Default::default() });
        for big in ["", "-big"] {
            for (name, _, time, expected) in &table {
                let path = b.out().join(format!("{name}{big}"));
                let good = fs::read(&path).unwrap() == fs::read(b.src().join(format!("{name}{big}"))).unwrap();
                assert_eq!(good, expected[at], "{name}{big} {mode:?}");
                let mtime = fs::metadata(&path).unwrap().mtime();
                assert_eq!(mtime as u64, if good { 1000 } else { *time }, "{name}{big} {mode:?}");
            }
        }
    }
}

/// What is left alone is somebody's own file: no further name of the snapshot's is a name of it.
#[test]
fn what_is_left_alone_gets_no_further_names() {
    for (name, mode) in
        [("a", Overwrite::Never), ("b", Overwrite::Never), ("c", Overwrite::Never), ("a", Overwrite::IfNewer)]
    {
        for content in [b"theirs".to_vec(), noise(4000, 3)] {
            let mut b = Bench::new();
            fs::write(b.src().join("a"), &content).unwrap();
            for other in ["b", "c"] {
                fs::hard_link(b.src().join("a"), b.src().join(other)).unwrap();
            }
            set_mtime(&b.src().join("a"), 1000);
            let s = b.backup();
            fs::create_dir_all(b.out()).unwrap();
            fs::write(b.out().join(name), "mine").unwrap();
            b.well(&s, &RestoreOptions { overwrite: mode, ..Default::default() });
            let mut inodes = Vec::new();
            for each in ["a", "b", "c"] {
                let expected = if each == name { b"mine".to_vec() } else { content.clone() };
                assert_eq!(fs::read(b.out().join(each)).unwrap(), expected, "{each}, {name} was there, {mode:?}");
                inodes.extend((each != name).then(|| fs::metadata(b.out().join(each)).unwrap().ino()));
            }
            assert_eq!(inodes[0], inodes[1], "the two that were restored are one");
        }
    }
}

#[test]
fn things_of_another_kind_make_room() {
    let mut b = Bench::new();
    fs::write(b.src().join("file"), noise(4000, 1)).unwrap();
    fs::write(b.src().join("inline"), "x").unwrap();
    fs::write(b.src().join("full"), "x").unwrap();
    fs::create_dir(b.src().join("dir")).unwrap();
    fs::write(b.src().join("dir/in"), "in").unwrap();
    symlink("file", b.src().join("link")).unwrap();
    let s = b.backup();
    let outside = b.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "mine").unwrap();
    fs::create_dir_all(b.out().join("full/of")).unwrap();
    fs::create_dir(b.out().join("link")).unwrap();
    symlink(outside.join("victim"), b.out().join("file")).unwrap();
    symlink(outside.join("victim"), b.out().join("inline")).unwrap();
    symlink(&outside, b.out().join("dir")).unwrap();
    let (_, notes) = b.restore(&s, &RestoreOptions::default());
    let full = format!("{}/full", String::from_utf8_lossy(&b.sub()));
    assert_eq!(notes.slugs(), [("not-restored", full)], "a directory with something in it stays");
    b.well(&s, &RestoreOptions { delete: true, verify: true, ..RestoreOptions::default() });
    for name in ["file", "inline", "dir", "link", "full"] {
        let kind = |p: PathBuf| p.symlink_metadata().unwrap().file_type();
        assert_eq!(kind(b.out().join(name)), kind(b.src().join(name)), "{name}");
    }
    assert_eq!(fs::read(outside.join("victim")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing was written through the link");
}

#[test]
fn names_that_share_a_file_with_others_are_replaced() {
    let mut b = Bench::new();
    for name in ["small", "big"] {
        let len = if name == "big" { 5000 } else { 5 };
        fs::write(b.src().join(name), noise(len, 1)).unwrap();
        fs::set_permissions(b.src().join(name), fs::Permissions::from_mode(0o777)).unwrap();
    }
    let s = b.backup();
    fs::create_dir(b.out()).unwrap();
    for name in ["small", "big"] {
        // The same content, but somebody else's file: it must not get our mode.
        let victim = b.dir.path().join(format!("victim-{name}"));
        fs::copy(b.src().join(name), &victim).unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
        let _ = fs::remove_file(b.out().join(name));
        fs::hard_link(&victim, b.out().join(name)).unwrap();
        b.well(&s, &RestoreOptions::default());
        let mode = |p: &Path| fs::metadata(p).unwrap().mode() & 0o777;
        assert_eq!((mode(&victim), mode(&b.out().join(name))), (0o600, 0o777), "{name}");
    }
}

/// More than one window holds: files without frames, files that share some, and names of both far apart.
#[test]
fn many_files_come_back_in_whatever_windows() {
    let mut b = Bench::new();
    let path = |n: u64| b.src().join(format!("{:02}/{n}", n / 500));
    for n in 0..10_000 {
        if n % 500 == 0 {
            fs::create_dir(b.src().join(format!("{:02}", n / 500))).unwrap();
        }
        match n {
            9_998 | 9_999 => fs::hard_link(path(n - 9_998), path(n)).unwrap(),
            _ if n % 2 == 0 => fs::write(path(n), n.to_string()).unwrap(),
            _ => fs::write(path(n), noise(300 + n as usize % 900, n % 3_000)).unwrap(),
        }
    }
    let paths: Vec<PathBuf> = (0..10_000).map(path).collect();
    let s = b.backup();
    let done = b.well(&s, &RestoreOptions::default());
    assert_eq!(done.restored, 10_000 + 20);
    for from in &paths {
        let to = b.out().join(from.strip_prefix(b.src()).unwrap());
        assert!(fs::read(&to).unwrap() == fs::read(from).unwrap(), "{}", to.display());
        assert_eq!(fs::metadata(&to).unwrap().nlink(), fs::metadata(from).unwrap().nlink(), "{}", to.display());
    }
}

/// Whoever owns a file may hold it open, to read what root writes into it, or to change it later.
#[test]
fn files_that_belong_to_others_are_replaced() {
    if !is_root() {
        return;
    }
    let mut b = Bench::new();
    for (name, len) in [("long", 100_000), ("short", 100)] {
        fs::write(b.src().join(name), noise(len, 3)).unwrap();
    }
    let s = b.backup();
    b.well(&s, &RestoreOptions::default());
    for changed in [false, true] {
        for name in ["long", "short"] {
            let path = b.out().join(name);
            let held = fs::File::options().read(true).write(true).open(&path).unwrap();
            if changed {
                held.write_at(b"another", 0).unwrap();
            }
            std::os::unix::fs::chown(&path, Some(4321), None).unwrap();
            b.well(&s, &RestoreOptions::default());
            held.write_at(b"mischief", 0).unwrap();
            assert_eq!(fs::read(&path).unwrap(), fs::read(b.src().join(name)).unwrap(), "{name}, {changed}");
            assert_eq!((fs::metadata(&path).unwrap().uid(), held.metadata().unwrap().nlink()), (0, 0));
        }
    }
}

#[test]
fn hard_links_of_any_kind() {
    let mut b = Bench::new();
    fs::create_dir(b.src().join("d")).unwrap();
    for (name, len) in [("a", 9000), ("i", 9)] {
        fs::write(b.src().join(name), noise(len, 1)).unwrap();
        fs::hard_link(b.src().join(name), b.src().join(format!("d/{name}2"))).unwrap();
        fs::hard_link(b.src().join(name), b.src().join(format!("z{name}"))).unwrap();
    }
    symlink("nowhere", b.src().join("s")).unwrap();
    rustix::fs::linkat(
        rustix::fs::CWD,
        b.src().join("s"),
        rustix::fs::CWD,
        b.src().join("d/s2"),
        rustix::fs::AtFlags::empty(),
    )
    .unwrap();
    let s = b.backup();
    let ino = |b: &Bench, name: &str| b.out().join(name).symlink_metadata().unwrap().ino();
    for options in [RestoreOptions::default(), RestoreOptions { delete: true, ..Default::default() }] {
        b.well(&s, &options);
        for group in [["a", "d/a2", "za"], ["i", "d/i2", "zi"], ["s", "d/s2", "s"]] {
            assert!(group.iter().all(|n| ino(&b, n) == ino(&b, group[0])), "{group:?}");
        }
        // A name that was taken over by another file is made a name of ours again.
        fs::remove_file(b.out().join("za")).unwrap();
        fs::write(b.out().join("za"), "other").unwrap();
    }
    b.well(&s, &RestoreOptions { verify: true, ..Default::default() });
    assert_eq!(ino(&b, "za"), ino(&b, "a"));
}

// --- choosing ----------------------------------------------------------------------------------

fn listing(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(here) = todo.pop() {
        for e in fs::read_dir(&here).unwrap() {
            let path = e.unwrap().path();
            found.push(path.strip_prefix(dir).unwrap().to_string_lossy().into_owned());
            if path.is_dir() && !path.is_symlink() {
                todo.push(path);
            }
        }
    }
    found.sort();
    found
}

fn choose_from() -> (Bench, Snapshot) {
    let mut b = Bench::new();
    for dir in ["a", "a/deep", "c", "empty"] {
        fs::create_dir(b.src().join(dir)).unwrap();
    }
    for file in ["a/x.conf", "a/deep/y.conf", "a/deep/z.txt", "c/w.txt", "top.conf"] {
        fs::write(b.src().join(file), file).unwrap();
    }
    let s = b.backup();
    (b, s)
}

#[test]
fn includes_and_excludes() {
    let (b, s) = choose_from();
    let include = RestoreSelection::Only(only("*.conf"), Patterns::default());
    b.well(&s, &RestoreOptions { selection: include, verify: true, ..Default::default() });
    assert_eq!(listing(&b.out()), ["a", "a/deep", "a/deep/y.conf", "a/x.conf", "top.conf"]);
    let mtime = |p: PathBuf| (fs::metadata(&p).unwrap().mtime(), fs::metadata(&p).unwrap().mtime_nsec());
    assert_eq!(mtime(b.out().join("a/deep")), mtime(b.src().join("a/deep")), "the way there is restored, too");
    fs::remove_dir_all(b.out()).unwrap();
    let exclude = RestoreSelection::Except(only("/a/deep"), only("*.TXT"));
    b.well(&s, &RestoreOptions { selection: exclude, ..Default::default() });
    assert_eq!(listing(&b.out()), ["a", "a/x.conf", "c", "c/w.txt", "empty", "top.conf"]);
}

#[test]
fn delete_removes_what_the_snapshot_lacks_and_nothing_else() {
    let (b, s) = choose_from();
    b.well(&s, &RestoreOptions::default());
    let all = listing(&b.out());
    let outside = b.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "x").unwrap();
    fs::create_dir_all(b.out().join("a/new/dir")).unwrap();
    fs::write(b.out().join("a/new/dir/f"), "x").unwrap();
    fs::write(b.out().join("extra.txt"), "x").unwrap();
    symlink(&outside, b.out().join("c/link")).unwrap();
    let dry = RestoreOptions { delete: true, dry_run: true, ..Default::default() };
    let before = listing(&b.out());
    let done = b.well(&s, &dry);
    assert_eq!((done.deleted, listing(&b.out())), (3, before));
    // Only what is selected is removed.
    let selection = RestoreSelection::Except(only("/a"), Patterns::default());
    b.well(&s, &RestoreOptions { selection, delete: true, ..Default::default() });
    assert!(b.out().join("a/new/dir/f").exists() && !b.out().join("extra.txt").exists());
    b.well(&s, &RestoreOptions { delete: true, ..Default::default() });
    assert_eq!(listing(&b.out()), all);
    assert!(outside.join("kept").exists());
}

#[test]
fn dry_run_writes_nothing() {
    let (b, s) = choose_from();
    let done = b.well(&s, &RestoreOptions { dry_run: true, ..Default::default() });
    assert_eq!((done.entries, done.restored, b.out().exists()), (9, 9, false));
}

// --- trouble -------------------------------------------------------------------------------------

#[test]
fn interrupted_and_continued() {
    let mut b = Bench::new();
    for i in 0..600 {
        fs::create_dir_all(b.src().join(format!("d{}", i % 7))).unwrap();
        fs::write(b.src().join(format!("d{}/f{i}", i % 7)), noise(3000, i + 1)).unwrap();
    }
    fs::write(b.src().join("large"), noise(20_000_000, 77)).unwrap();
    let s = b.backup();
    let notes = Notes { stop_after: Some(200), ..Notes::default() };
    let meter = Meter::default();
    let cx = Context { observer: &notes, meter: &meter, cancel: &notes.cancel };
    let stopped = restore(&b.repo, &s, Some(&b.sub()), &b.out(), &RestoreOptions::default(), &cx);
    assert_eq!(stopped.unwrap_err().kind(), orlop::error::ErrorKind::Cancelled);
    fs::write(b.out().join(".orlop-restore-0123456789abcdef"), "left by kill -9").unwrap();
    let done = b.well(&s, &RestoreOptions { verify: true, ..Default::default() });
    assert!(done.skipped >= 200, "{done:?}");
    let differences = oracle(&[&"compare", &b.src(), &b.out()]);
    assert!(differences.lines().all(|l| l.starts_with("root:")), "{differences}");
}

#[test]
fn damage_costs_what_is_damaged() {
    let mut b = Bench::new();
    for i in 0..40 {
        fs::write(b.src().join(format!("f{i:02}")), noise(300_000, i + 1)).unwrap();
    }
    let s = b.backup();
    let index = b.repo.load_index(&|_, e| panic!("{e}")).unwrap();
    let pack = index.packs().iter().find(|p| p.kind == orlop::format::pack::Kind::Data).unwrap();
    let frame = index.frame(pack.first_frame + 1);
    let name = orlop::format::names::pack(pack.id, pack.uploader);
    let path = b.dir.path().join("repo").join(name);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"damage", u64::from(frame.offset) + 1000).unwrap();
    let (done, notes) = b.restore(&s, &RestoreOptions { verify: true, ..Default::default() });
    let problems = notes.problems.lock().unwrap().clone();
    assert!(!problems.is_empty() && problems.len() < 10, "{problems:?}");
    assert_eq!(done.problems, problems.len() as u64);
    for p in &problems {
        assert!(p.slug == "damaged" && p.message.contains("bytes are missing"), "{p:?}");
    }
    for i in 0..40 {
        let name = format!("f{i:02}");
        let (was, is) = (fs::read(b.src().join(&name)).unwrap(), fs::read(b.out().join(&name)).unwrap());
        let named = problems.iter().any(|p| p.subject.ends_with(name.as_bytes()));
        assert_eq!(was.len(), is.len(), "{name}");
        assert_eq!(was != is, named, "{name}");
        let wrong = was.iter().zip(&is).filter(|(a, b)| a != b && **b != 0).count();
        assert_eq!(wrong, 0, "{name} has zeros where it is not right");
    }
    // Where the bytes are in the target already, the damage does no harm.
    fs::remove_dir_all(b.out()).unwrap();
    fs::create_dir(b.out()).unwrap();
    for e in fs::read_dir(b.src()).unwrap().flatten() {
        fs::copy(e.path(), b.out().join(e.file_name())).unwrap();
    }
    b.well(&s, &RestoreOptions { verify: true, ..Default::default() });
}

// --- attacks -------------------------------------------------------------------------------------

fn node(name: &[u8], kind: NodeKind) -> Node {
    let (mtime, ext) = (Time { sec: 1_000_000, nsec: 1 }, vec![]);
    Node { name: name.to_vec(), kind, mode: 0o644, uid: 0, gid: 0, mtime, ctime: mtime, ino: 0, ext }
}

fn file(name: &[u8], content: &[u8]) -> Node {
    node(name, NodeKind::File { size: content.len() as u64, content: Content::Inline(content.to_vec()) })
}

fn dir_of(w: &Writer<'_>, nodes: Vec<Node>) -> PageRef {
    let (entries, bytes) = (nodes.len() as u64, nodes.iter().map(Node::bytes).sum());
    PageRef { id: w.page(&Page::Dir(nodes).encode()).unwrap(), level: 0, entries, bytes }
}

fn victim() -> (Bench, Snapshot) {
    let mut b = Bench::new();
    fs::write(b.dir.path().join("victim"), "mine").unwrap();
    let s = b.backup();
    (b, s)
}

#[test]
fn names_that_lead_elsewhere() {
    let (mut b, s) = victim();
    let bad: [&[u8]; 7] = [b"", b".", b"..", b"../victim", b"/etc/x", b"a/b", b"nul\0"];
    let mut nodes: Vec<Node> = bad.iter().map(|n| file(n, b"evil")).collect();
    nodes.push(file(b"good", b"good"));
    let mut directory = node(b"../out2", NodeKind::Dir { root: None });
    directory.mode = 0o755;
    nodes.push(directory);
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let forged = b.forged(&s, |w| dir_of(w, nodes));
    let told = b.attack(&forged, &RestoreOptions { delete: true, verify: true, ..Default::default() });
    assert_eq!(
        told.iter().filter(|(slug, _)| *slug == "rejected-name").count(),
        16,
        "twice, verify looks too: {told:?}"
    );
    assert_eq!(listing(&b.out()), ["good"]);
    assert_eq!(fs::read(b.dir.path().join("victim")).unwrap(), b"mine");
    assert!(!b.dir.path().join("out2").exists());
}

#[test]
fn one_name_twice() {
    let (mut b, s) = victim();
    let outside = b.dir.path().to_owned();
    let forged = b.forged(&s, |w| {
        // Within one page the format refuses it; so it is tried across two pages.
        let inside = dir_of(w, vec![file(b"victim", b"evil")]);
        let target = outside.into_os_string().into_encoded_bytes();
        let one = dir_of(w, vec![node(b"evil", NodeKind::Symlink { target })]);
        let two = dir_of(w, vec![node(b"evil", NodeKind::Dir { root: Some(inside) }), file(b"good", b"good")]);
        let child =
            |p: PageRef, last: &[u8]| DirChild { id: p.id, entries: p.entries, bytes: p.bytes, last: last.into() };
        let inner = Page::DirInner(1, vec![child(one, b"evil"), child(two, b"good")]);
        let id = w.page(&inner.encode()).unwrap();
        PageRef { id, level: 1, entries: one.entries + two.entries, bytes: one.bytes + two.bytes }
    });
    let told = b.attack(&forged, &RestoreOptions::default());
    assert_eq!(told, [("rejected-name", "/evil".to_owned())]);
    assert_eq!(listing(&b.out()), ["evil", "good"]);
    assert_eq!(fs::read(b.dir.path().join("victim")).unwrap(), b"mine");
}

#[test]
fn links_that_are_none() {
    let (mut b, s) = victim();
    let target = b.dir.path().join("victim").into_os_string().into_encoded_bytes();
    let tagged = |mut n: Node| {
        n.ext = vec![Ext { tag: ext_tag::LINK, flags: 0, data: vec![9; 16] }];
        n
    };
    let nodes = vec![
        tagged(node(b"a", NodeKind::Symlink { target })),
        tagged(file(b"b", b"evil")),
        tagged(file(b"c", b"evil")),
    ];
    let forged = b.forged(&s, |w| dir_of(w, nodes));
    assert_eq!(b.attack(&forged, &RestoreOptions::default()), []);
    assert_eq!(fs::read(b.dir.path().join("victim")).unwrap(), b"mine");
    let stat = |n: &str| b.out().join(n).symlink_metadata().unwrap();
    assert!(stat("a").is_symlink() && stat("b").is_file() && stat("c").is_file());
}

#[test]
fn privileges_are_for_the_owners_snapshots() {
    let (mut b, mut s) = victim();
    let mut suid = file(b"suid", b"#!");
    suid.mode = 0o6755;
    let xattrs = vec![
        PlainXattr { name: b"trusted.evil".to_vec(), value: b"1".to_vec() },
        PlainXattr { name: b"user.fine".to_vec(), value: b"1".to_vec() },
    ];
    suid.ext = Extras { xattrs, ..Extras::default() }.into_ext(|_| Ok::<_, ()>(BlobId::ZERO)).unwrap();
    let nodes = vec![node(b"device", NodeKind::CharDevice { device: 1 << 32 | 3 }), suid];
    let forged = b.forged(&s, |w| dir_of(w, nodes));
    s = forged;
    let there = |b: &Bench| {
        let mode = fs::metadata(b.out().join("suid")).unwrap().mode() & 0o7777;
        let mut value = [0; 8];
        let trusted = rustix::fs::getxattr(b.out().join("suid"), "trusted.evil", &mut value[..]).is_ok();
        (mode, trusted, b.out().join("device").symlink_metadata().is_ok())
    };
    for (by_owner, withhold) in [(false, false), (true, true)] {
        s.by_owner = by_owner;
        assert_eq!(b.attack(&s, &RestoreOptions { withhold_privileged: withhold, ..Default::default() }), []);
        assert_eq!(there(&b), (0o755, false, false));
        fs::remove_dir_all(b.out()).unwrap();
    }
    if is_root() {
        s.by_owner = true;
        b.attack(&s, &RestoreOptions::default());
        assert_eq!((there(&b).0, there(&b).2), (0o6755, true));
    }
}

#[test]
fn as_deep_as_it_gets() {
    let (mut b, s) = victim();
    let depth = 4200;
    let forged = b.forged(&s, |w| {
        let mut root = dir_of(w, vec![file(b"bottom", b"x")]);
        for _ in 0..depth {
            let mut d = node(b"d", NodeKind::Dir { root: Some(root) });
            d.mode = 0o755;
            root = dir_of(w, vec![d]);
        }
        root
    });
    let told = b.attack(&forged, &RestoreOptions::default());
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, "too-deep");
}

/// Go down from a directory, making what is below it, or as far as it goes; gives how deep that was.
fn down(top: &Path, make: usize) -> usize {
    let mut dir: std::os::fd::OwnedFd = fs::File::open(top).unwrap().into();
    for depth in 0.. {
        if depth < make {
            rustix::fs::mkdirat(&dir, "d", 0o755.into()).unwrap();
        }
        dir = match rustix::fs::openat(&dir, "d", rustix::fs::OFlags::DIRECTORY, 0.into()) {
            Ok(below) => below,
            Err(_) => return depth,
        };
    }
    unreachable!("directories end somewhere")
}

/// Whoever calls the library may have a thread of their own for it, with as little stack as they like.
#[test]
fn deep_trees_need_nothing_of_the_callers_stack() {
    // Each directory on the way is open while its content is read.
    let depth = (orlop::sys::raise_open_files() as usize / 2).min(2_500);
    let mut b = Bench::new();
    assert_eq!(down(&b.src(), depth), depth);
    let all = || {
        let s = b.backup();
        b.well(&s, &RestoreOptions::default());
        let (notes, meter) = (Notes::default(), Meter::default());
        let cx = Context { observer: &notes, meter: &meter, cancel: &notes.cancel };
        let mut sources = Sources::default();
        sources.add(&b.src(), &|_| Ok(vec![])).unwrap();
        backup::scan(&sources, &BackupOptions::default(), &meter, &[]);
        assert!(meter.expected_final.load(Relaxed));
        let checked = check::check(&mut b.repo, &CheckOptions::default(), &cx).unwrap();
        assert_eq!(checked.errors, 0);
        let index = b.repo.load_index(&|name, e| panic!("{name}: {e}")).unwrap();
        let reader = Reader::new(&b.repo, &index);
        let (root, at) = list::enter(&reader, s.statement.root, Some(&b.sub())).unwrap();
        let mut told = 0;
        let mut tell = |_: &Change<'_>| {
            told += 1;
            Ok(())
        };
        live(&reader, (root, &at), &b.out(), &LiveOptions::default(), &cx, &mut tell).unwrap();
        assert_eq!(told, 0);
        assert_eq!(notes.slugs(), []);
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(512 << 10).spawn_scoped(scope, all).unwrap();
    });
    assert_eq!(down(&b.out(), 0), depth);
}

/// A snapshot that cannot be read whole would keep prune from its work, and any user can make directories.
#[test]
fn what_is_nested_too_deeply_is_left_out_of_a_backup() {
    if orlop::sys::raise_open_files() < 9_000 {
        return println!("skipped: too few files may be open to make such a tree");
    }
    let mut b = Bench::new();
    fs::write(b.src().join("beside"), "it").unwrap();
    assert_eq!(down(&b.src(), 4_200), 4_200);
    let (notes, meter) = (Notes::default(), Meter::default());
    let cx = Context { observer: &notes, meter: &meter, cancel: &notes.cancel };
    let mut sources = Sources::default();
    sources.add(&b.src().canonicalize().unwrap(), &|_| Ok(vec![])).unwrap();
    let done = backup::backup(&mut b.repo, Input::Paths(sources), &plain(), &cx).unwrap();
    assert_eq!(notes.slugs().iter().map(|(slug, _)| *slug).collect::<Vec<_>>(), ["too-deep"]);
    let s = b.snapshot(done.snapshot.unwrap());
    b.well(&s, &RestoreOptions::default());
    assert!(b.out().join("beside").exists() && down(&b.out(), 0) > 3_500);
    prune(&mut b.repo, &PruneOptions::default(), &cx).unwrap();
    assert_eq!(notes.slugs().len(), 1);
}

#[test]
fn content_that_is_nowhere() {
    let (mut b, s) = victim();
    let forged = b.forged(&s, |w| {
        let scope = FrameScope { target: 1 << 20, ..FrameScope::default() };
        let (id, _) = w.chunk(scope, &noise(1000, 1)).unwrap();
        let extents = |list: &[(BlobId, u32)]| {
            let extents: Vec<Extent> =
                list.iter().map(|(id, repeat)| Extent::Data { id: *id, len: 1000, repeat: *repeat }).collect();
            let size = extents.iter().map(Extent::bytes).sum();
            NodeKind::File { size, content: Content::Extents { profile: 1, extents } }
        };
        let lost = BlobId([3; 32]);
        let page = PageRef { id: BlobId([4; 32]), level: 0, entries: 1, bytes: 0 };
        dir_of(
            w,
            vec![
                node(b"all-lost", extents(&[(lost, 1)])),
                node(b"lost-dir", NodeKind::Dir { root: Some(page) }),
                node(b"part", extents(&[(id, 3), (lost, 1), (id, 1)])),
            ],
        )
    });
    let told = b.attack(&forged, &RestoreOptions::default());
    let paths: Vec<&str> = told.iter().map(|(_, p)| p.as_str()).collect();
    assert_eq!(paths, ["/all-lost", "/lost-dir", "/part"]);
    let part = fs::read(b.out().join("part")).unwrap();
    let piece = noise(1000, 1);
    assert_eq!(part, [&piece[..], &piece, &piece, &[0; 1000], &piece].concat());
    assert_ne!(fs::metadata(b.out().join("part")).unwrap().mtime(), 1_000_000, "not to be believed later");
}

/// What a file system does that takes two names for one: when an entry is to be made, something is there
/// already, although nothing was when the restore began.
#[test]
fn what_the_file_system_takes_for_another_entry_is_not_written_over() {
    const TAKEN: [&str; 7] = ["a-device", "a-dir", "a-file", "a-large", "a-link", "a-pipe", "a-symlink"];
    for there in [false, true] {
        let (mut b, s) = victim();
        let forged = b.forged(&s, |w| {
            let tagged = |name: &[u8]| {
                let mut n = file(name, b"linked");
                n.ext = vec![Ext { tag: ext_tag::LINK, flags: 0, data: vec![9; 16] }];
                n
            };
            let (id, _) = w.chunk(FrameScope { target: 1 << 20, ..FrameScope::default() }, &noise(9000, 1)).unwrap();
            let extents = vec![Extent::Data { id, len: 9000, repeat: 1 }];
            let large = NodeKind::File { size: 9000, content: Content::Extents { profile: 1, extents } };
            let inside = dir_of(w, vec![file(b"x", b"x")]);
            let mut nodes = vec![
                file(b"+/told when all that was there is known", b""),
                node(b"a-device", NodeKind::CharDevice { device: 1 << 32 | 3 }),
                node(b"a-dir", NodeKind::Dir { root: Some(inside) }),
                file(b"a-file", b"ours"),
                node(b"a-large", large),
                tagged(b"a-link"),
                node(b"a-pipe", NodeKind::Fifo),
                node(b"a-symlink", NodeKind::Symlink { target: b"ours".to_vec() }),
                tagged(b"B-first"),
                file(b"old", b"new"),
            ];
            nodes.sort_by(|a, b| a.name.cmp(&b.name));
            dir_of(w, nodes)
        });
        let out = b.out();
        if there {
            fs::create_dir(&out).unwrap();
            fs::write(out.join("old"), "old").unwrap();
        }
        let at = out.clone();
        let options = RestoreOptions { delete: true, verify: true, ..Default::default() };
        let told = b.attack_while(&forged, &options, move |event| {
            if let Event::Problem(p) = event
                && p.slug == "rejected-name"
            {
                TAKEN.iter().for_each(|name| fs::write(at.join(name), "theirs").unwrap());
            }
        });
        let lost: Vec<&str> =
            told.iter().filter(|(slug, _)| *slug == "not-restored").map(|(_, path)| &path[1..]).collect();
        // A device is only tried by root.
        let tried: Vec<&str> = TAKEN.into_iter().filter(|n| *n != "a-device" || b.trusts(&forged)).collect();
        assert_eq!(lost, tried, "{there}");
        for name in TAKEN {
            assert!(out.join(name).symlink_metadata().unwrap().is_file(), "{name} {there}");
            assert_eq!(fs::read(out.join(name)).unwrap(), b"theirs", "{name} {there}");
        }
        assert_eq!(fs::read(out.join("B-first")).unwrap(), b"linked");
        assert_eq!(fs::read(out.join("old")).unwrap(), b"new", "what was there is known by its name");
        // What is there from the beginning is made what it should be.
        assert_eq!(b.attack(&forged, &RestoreOptions::default()).len(), 1);
        assert_eq!(fs::read(out.join("a-file")).unwrap(), b"ours");
        assert!(out.join("a-dir/x").exists() && out.join("a-symlink").is_symlink());
    }
}

/// Somebody who may write to the target swaps what is in it for links, as soon as the first entry is done.
#[test]
fn links_that_appear_during_a_restore_lead_nowhere() {
    for level in ["out/d", "out/d/e", "file"] {
        let mut b = Bench::new();
        let victim = b.dir.path().join("victim");
        fs::create_dir_all(victim.join("e0")).unwrap();
        for n in 0..100 {
            fs::create_dir_all(b.src().join(format!("d/e{n}"))).unwrap();
            // The first is done by itself, before the others.
            for (name, len) in [("small", 20), ("large", 70_000)] {
                fs::write(b.src().join(format!("d/e{n}/{name}")), noise(len, n + 1)).unwrap();
            }
        }
        for name in ["small", "large", "e0/small", "e0/large"] {
            fs::write(victim.join(name), "mine").unwrap();
        }
        let s = b.backup();
        let before = b.well(&s, &RestoreOptions::default());
        for n in 0..100 {
            for name in ["small", "large"] {
                fs::write(b.out().join(format!("d/e{n}/{name}")), noise(70_000, n + 999)).unwrap();
            }
        }
        let mode = |path: &Path| (fs::metadata(path).unwrap().mode(), fs::metadata(path).unwrap().mtime_nsec());
        let (listed, modes) =
            (listing(&victim), (mode(&victim), mode(&victim.join("e0")), mode(&victim.join("large"))));
        let (once, root, theirs) = (AtomicBool::new(false), b.dir.path().to_owned(), victim.clone());
        let notes = Notes {
            meddle: Some(Box::new(move |event| {
                if !matches!(event, Event::Item { .. }) || once.swap(true, Relaxed) {
                    return;
                }
                let swap = |from: &Path, to: &Path, n: u64| {
                    fs::rename(from, root.join(format!("aside{n}"))).unwrap();
                    symlink(to, from).unwrap();
                };
                match level {
                    "out/d" => swap(&root.join("out/d"), &theirs, 0),
                    "out/d/e" => (0..100).for_each(|n| swap(&root.join(format!("out/d/e{n}")), &theirs, n)),
                    _ => (0..100).for_each(|n| {
                        swap(&root.join(format!("out/d/e{n}/small")), &theirs.join("small"), 2 * n);
                        swap(&root.join(format!("out/d/e{n}/large")), &theirs.join("large"), 2 * n + 1);
                    }),
                }
            })),
            ..Notes::default()
        };
        let meter = Meter::default();
        let cx = Context { observer: &notes, meter: &meter, cancel: &notes.cancel };
        let options = RestoreOptions { threads: 1, ..Default::default() };
        let done = restore(&b.repo, &s, Some(&b.sub()), &b.out(), &options, &cx).unwrap();
        assert_eq!(listing(&victim), listed, "{level}");
        for name in ["small", "large", "e0/small", "e0/large"] {
            assert_eq!(fs::read(victim.join(name)).unwrap(), b"mine", "{level}: {name}");
        }
        let after = (mode(&victim), mode(&victim.join("e0")), mode(&victim.join("large")));
        assert_eq!(after, modes, "{level}: nor is anything set on it");
        let told = notes.slugs();
        assert!(told.iter().all(|(slug, _)| *slug == "not-restored"), "{level}: {told:?}");
        assert!(told.len() as u64 > 10 && done.restored > 0, "{level}: {done:?} {told:?}");
        assert_eq!(done.entries, before.entries);
    }
}

// --- places --------------------------------------------------------------------------------------

#[test]
fn targets_in_the_repository_are_refused() {
    let (b, s) = choose_from();
    let notes = Notes::default();
    let meter = Meter::default();
    let cx = Context { observer: &notes, meter: &meter, cancel: &notes.cancel };
    let inside = b.dir.path().join("repo");
    let options = RestoreOptions { avoid: vec![inside.clone()], ..Default::default() };
    for target in [inside.clone(), inside.join("x/y"), inside.join("packs")] {
        let error = restore(&b.repo, &s, None, &target, &options, &cx).unwrap_err();
        assert_eq!(error.kind(), orlop::error::ErrorKind::Invalid, "{target:?}");
    }
    // Into the directory around it, with --delete: the repository stays.
    let options = RestoreOptions { delete: true, ..options };
    restore(&b.repo, &s, Some(&b.sub()), b.dir.path(), &options, &cx).unwrap();
    assert!(inside.join("keys").exists() && !b.src().exists() && b.dir.path().join("top.conf").exists());
    let missing = restore(&b.repo, &s, Some(b"/not/there"), &b.out(), &RestoreOptions::default(), &cx).unwrap_err();
    assert_eq!(missing.kind(), orlop::error::ErrorKind::Missing);
    assert!(!b.out().exists());
}
