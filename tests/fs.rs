//! The edges to the file system: a tree with everything comes back as it was, judged by a
//! program that shares nothing with this one, and nothing gets out of the target.
//!
//! Parts need root or a file system with all features and say so when they have to be skipped.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use orlop::id::BlobId;
use orlop::model::ext::Extras;
use orlop::model::{Content, Node, NodeKind, Time};
use orlop::source::{Dir, FileId, Keep, Kind, ReadBuffer, Why};
use orlop::target::*;
use rustix::io::Errno;

/// Where `ORLOP_TEST_DIR` says, to try another file system, else under the build directory, which
/// is on a real disk more often than `/tmp` is.
fn tempdir() -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("fs-test-");
    match std::env::var_os("ORLOP_TEST_DIR") {
        Some(dir) => builder.tempdir_in(dir).unwrap(),
        None => builder.tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
    }
}

/// Removes what refuses to be removed, too.
struct Area(Option<tempfile::TempDir>);
impl Area {
    fn new() -> Self {
        Self(Some(tempdir()))
    }
    fn path(&self) -> &Path {
        self.0.as_ref().unwrap().path()
    }
}
impl Drop for Area {
    fn drop(&mut self) {
        let dir = TargetDir::open_or_create(self.path()).unwrap();
        for n in fs::read_dir(self.path()).unwrap() {
            let name = n.unwrap().file_name();
            dir.remove_recursive(name.as_bytes(), &mut |path, outcome| {
                if let Err(e) = outcome {
                    eprintln!("{}: {e}", String::from_utf8_lossy(path));
                }
            })
            .unwrap();
        }
    }
}

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

fn oracle(args: &[&dyn AsRef<std::ffi::OsStr>]) -> String {
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fs_oracle.py"));
    for a in args {
        command.arg(a);
    }
    let out = command.output().expect("python3 is needed to judge the result");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A backup and a restore in one, as plain as can be.
#[derive(Default)]
struct Copier {
    links: HashMap<FileId, (Vec<Vec<u8>>, FileId)>,
    chunks: Vec<Vec<u8>>,
    told: Vec<String>,
    root: Option<PathBuf>,
}

impl Copier {
    fn copy(from: &Path, to: &Path, policy: &Policy) -> Self {
        let mut copier = Self { root: Some(to.to_path_buf()), ..Self::default() };
        let to = TargetDir::open_or_create(to).unwrap();
        let from = Dir::open_root(from).unwrap();
        copier.dir(from, &to, &mut Vec::new(), policy);
        copier
    }

    fn dir(&mut self, mut from: Dir, to: &TargetDir, path: &mut Vec<Vec<u8>>, policy: &Policy) {
        let names = from.names();
        assert!(names.trouble().is_none());
        for name in names.iter() {
            path.push(name.bytes.to_vec());
            self.entry(&from, to, path, name.kind, policy);
            path.pop();
        }
        let stat = from.own_stat().unwrap();
        let meta = from.metadata(&stat, Keep::default());
        let node = stat.node(b"").unwrap();
        self.apply(Object::Dir(to), node, meta, policy);
    }

    fn entry(&mut self, from: &Dir, to: &TargetDir, path: &mut Vec<Vec<u8>>, hint: Kind, policy: &Policy) {
        let name = path.last().unwrap().clone();
        let stat = from.stat(&name).unwrap();
        assert!(hint == stat.kind || hint == Kind::Unknown);
        if let Some((first, id)) = self.links.get(&stat.id) {
            let tree = TargetTree::new(TargetDir::open_or_create(self.root.as_ref().unwrap()).unwrap());
            let (last, above) = first.split_last().unwrap();
            to.hard_link(&name, &tree.dir(&above.join(&b'/')).unwrap(), last, *id).unwrap();
            return;
        }
        let mut node = stat.node(&name).unwrap();
        if stat.kind == Kind::Dir {
            let (below, _) = to.ensure_dir(&name).unwrap();
            return self.dir(from.open_dir_as(&name, &stat).unwrap(), &below, path, policy);
        }
        if stat.kind == Kind::File {
            let source = from.open_file(&name, &stat).unwrap();
            let meta = source.metadata(&stat, Keep::default());
            let mut file = to.create_file(&name).unwrap();
            file.set_early_flags(meta.extras.flags);
            let mut buffer = ReadBuffer::new(1 << 20);
            for s in source.segments().filter(|s| !s.hole) {
                let mut at = s.offset;
                while at < s.offset + s.len {
                    let want = buffer.len().min((s.offset + s.len - at) as usize);
                    let n = source.read_at(at, &mut buffer[..want]).unwrap();
                    assert_eq!(n, want);
                    file.write_at(at, &buffer[..n]).unwrap();
                    at += n as u64;
                }
            }
            file.set_len(stat.size).unwrap();
            to.finish(&name, &mut file).unwrap();
            self.apply(Object::File(&file), node, meta, policy);
        } else {
            match &mut node.kind {
                NodeKind::Symlink { target } => {
                    *target = from.read_link(&name).unwrap();
                    to.symlink(&name, target).unwrap();
                }
                NodeKind::Fifo => to.fifo(&name).unwrap(),
                NodeKind::Socket => to.socket(&name).unwrap(),
                NodeKind::CharDevice { device } | NodeKind::BlockDevice { device } => {
                    let block = stat.kind == Kind::BlockDevice;
                    if to.device(&name, block, *device, policy).unwrap().is_some() {
                        self.told.push(format!("withheld {}", name.escape_ascii()));
                        return;
                    }
                }
                _ => unreachable!(),
            }
            let meta = from.read_metadata(&name, &stat, Keep::default());
            self.apply(Object::Named(to, &name), node, meta, policy);
        }
        if stat.nlink > 1 {
            let id = to.survey(&name).unwrap().unwrap().id;
            self.links.insert(stat.id, (path.clone(), id));
        }
    }

    /// Through the bytes of the extensions, as a repository would.
    fn apply(&mut self, object: Object<'_>, mut node: Node, meta: orlop::source::Metadata, policy: &Policy) {
        assert!(meta.problems.is_empty(), "{:?}", meta.problems);
        let before = meta.extras.clone();
        let chunks = &mut self.chunks;
        node.ext = meta
            .extras
            .into_ext(|v| {
                chunks.push(v.to_vec());
                let mut id = [0; 32];
                id[0] = chunks.len() as u8 - 1;
                Ok::<_, ()>(BlobId(id))
            })
            .unwrap();
        let (extras, wrong) = Extras::from_ext(&node.ext, |id, _| Some(self.chunks[usize::from(id.0[0])].clone()));
        assert_eq!((&extras, wrong), (&before, vec![]));
        let applied = apply_metadata(&object, &node, &extras, policy);
        for f in applied.failures {
            self.told.push(format!("{}: {f} {}", node.name.escape_ascii(), f.xattr.escape_ascii()));
        }
        for w in applied.withheld {
            self.told.push(format!("{}: withheld {w:?}", node.name.escape_ascii()));
        }
    }
}

#[test]
fn everything_comes_back() {
    let area = Area::new();
    let (a, b) = (area.path().join("a"), area.path().join("b"));
    fs::create_dir(&a).unwrap();
    eprint!("{}", oracle(&[&"make", &a]));
    let policy = Policy::new(Owners::Number, true);
    let copier = Copier::copy(&a, &b, &policy);
    assert_eq!(copier.told, [""; 0]);
    assert!(!copier.chunks.is_empty(), "the long attribute went another way");
    if !root() {
        eprintln!("skipped: owners, devices, capabilities, trusted attributes need root");
    }
    assert_eq!(oracle(&[&"compare", &a, &b]), "");

    // And once more over what is there, immutable files included.
    let copier = Copier::copy(&a, &b, &policy);
    assert_eq!(copier.told, [""; 0]);
    assert_eq!(oracle(&[&"compare", &a, &b]), "");
}

/// A snapshot that is not trusted makes nothing that lends rights.
#[test]
fn an_untrusted_snapshot_lends_no_rights() {
    let area = Area::new();
    let (a, b) = (area.path().join("a"), area.path().join("b"));
    fs::create_dir(&a).unwrap();
    oracle(&[&"make", &a]);
    let copier = Copier::copy(&a, &b, &Policy::new(Owners::Number, false));
    let told = copier.told.join("\n");
    assert!(told.contains("setuid: withheld SetId"), "{told}");
    assert_eq!(fs::metadata(b.join("setuid")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(fs::metadata(b.join("setgid")).unwrap().mode() & 0o7777, 0o2755);
    if root() {
        assert!(told.contains("withheld null") && told.contains("flags-i: withheld Flags(16)"), "{told}");
        assert!(!b.join("null").exists() && !b.join("loop").exists());
        assert!(rustix::fs::getxattr(b.join("capable"), "security.capability", &mut [0; 64]).is_err());
        assert!(rustix::fs::getxattr(b.join("xattrs"), "trusted.t", &mut [0; 64]).is_err());
        assert_eq!(fs::metadata(b.join("capable")).unwrap().uid(), 77);
    } else {
        eprintln!("skipped: devices, capabilities, immutable files need root");
    }
    // Whoever gets the files in the owner's stead must not get the owner's setuid.
    let c = area.path().join("c");
    let copier = Copier::copy(&a, &c, &Policy::new(Owners::Nobody, true));
    assert!(copier.told.join("\n").contains("setuid: withheld SetId"));
}

fn node(kind: NodeKind) -> Node {
    let time = Time { sec: 1_000_000_000, nsec: 42 };
    let name = b"n".to_vec();
    Node { name, kind, mode: 0o640, uid: 0, gid: 0, mtime: time, ctime: time, ino: 0, ext: vec![] }
}
fn file_node() -> Node {
    node(NodeKind::File { size: 0, content: Content::Inline(vec![]) })
}

/// A target, and beside it a directory that must stay as it is.
struct Attack {
    area: Area,
    target: TargetDir,
}
impl Attack {
    fn new() -> Self {
        let area = Area::new();
        let outside = area.path().join("outside");
        fs::create_dir_all(outside.join("dir")).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        fs::set_permissions(outside.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        let target = TargetDir::open_or_create(&area.path().join("target")).unwrap();
        Self { area, target }
    }
    fn inside(&self, name: &str) -> PathBuf {
        self.area.path().join("target").join(name)
    }
    fn outside(&self, name: &str) -> PathBuf {
        self.area.path().join("outside").join(name)
    }
}
impl Drop for Attack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let secret = fs::symlink_metadata(self.outside("secret")).unwrap();
        assert_eq!(fs::read(self.outside("secret")).unwrap(), b"secret");
        assert_eq!((secret.mode() & 0o7777, secret.nlink()), (0o600, 1));
        assert!(secret.mtime() > 1_500_000_000);
        let left: Vec<_> = fs::read_dir(self.outside("")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert_eq!(fs::read_dir(self.outside("dir")).unwrap().count(), 0);
    }
}

#[test]
fn names_that_are_paths_are_refused_at_every_door() {
    let a = Attack::new();
    let t = &a.target;
    let policy = Policy::new(Owners::Number, true);
    let id = t.own_stat().unwrap().id;
    for name in [&b""[..], b".", b"..", b"a/b", b"../outside/dir/x", b"/etc/passwd", b"a\0b", &[b'n'; 5000]] {
        let refused = |r: Result<(), TargetError>| {
            assert_eq!(r.map_err(|e| e.why), Err(Why::Name), "{}", name.escape_ascii());
        };
        refused(t.ensure_dir(name).map(drop));
        refused(t.open_dir(name).map(drop));
        refused(t.create_file(name).map(drop));
        refused(t.create_new(name).map(drop));
        refused(for_update(t, name).map(drop));
        refused(t.symlink(name, b"x"));
        refused(t.fifo(name));
        refused(t.socket(name));
        refused(t.device(name, false, 1 << 32 | 3, &policy).map(drop));
        refused(t.hard_link(name, t, b"x", id));
        refused(t.hard_link(b"x", t, name, id));
        refused(t.remove_recursive(name, &mut |_, _| ()));
        refused(t.survey(name).map(drop));
        let mut file = t.create_file(b"f").unwrap();
        refused(t.finish(name, &mut file));
        let applied = apply_metadata(&Object::Named(t, name), &file_node(), &Extras::default(), &policy);
        assert_eq!(applied.failures[0].why, Why::Name);
        let source = t.as_source();
        assert!(source.open_dir(name).is_err() && source.stat(name).is_err() && source.read_link(name).is_err());
    }
    let tree = TargetTree::new(TargetDir::open_or_create(&a.inside("")).unwrap());
    for path in [&b".."[..], b"a/../..", b"/etc", b"a//b", b"a/", b"./a"] {
        assert_eq!(tree.dir(path).map(drop).map_err(|e| e.why), Err(Why::Name));
    }
    let deep = vec![b"d".to_vec(); 5000].join(&b'/');
    assert!(matches!(tree.dir(&deep).map_err(|e| e.why), Err(Why::Limit(_))));
}

/// borg CVE-2026-62268, rsync CVE-2024-12087: `evil` is a symbolic link, then comes `evil/x`.
#[test]
fn planted_links_are_replaced_and_never_followed() {
    let a = Attack::new();
    let t = &a.target;
    symlink(a.outside("dir"), a.inside("evil")).unwrap();
    assert!(t.open_dir(b"evil").is_err());
    let tree = TargetTree::new(TargetDir::open_or_create(&a.inside("")).unwrap());
    assert!(tree.dir(b"evil").is_err());
    let (evil, found) = t.ensure_dir(b"evil").unwrap();
    assert_eq!(found, Found::Other);
    drop(evil.create_file(b"x").unwrap());
    assert!(fs::symlink_metadata(a.inside("evil")).unwrap().is_dir());

    symlink(a.outside("secret"), a.inside("file")).unwrap();
    assert!(for_update(t, b"file").unwrap().is_none());
    assert_eq!(t.create_new(b"file").unwrap_err().why, Why::Os(Errno::EXIST));
    let mut file = t.create_file(b"file").unwrap();
    assert!(file.replaces());
    file.write_at(0, b"new").unwrap();
    assert!(fs::symlink_metadata(a.inside("file")).unwrap().is_symlink(), "stays until the end");
    t.finish(b"file", &mut file).unwrap();
    assert_eq!(fs::read(a.inside("file")).unwrap(), b"new");

    for kind in [NodeKind::Fifo, NodeKind::Socket, NodeKind::Symlink { target: b"t".to_vec() }] {
        symlink(a.outside("secret"), a.inside("thing")).unwrap();
        match kind {
            NodeKind::Fifo => t.fifo(b"thing").unwrap(),
            NodeKind::Socket => t.socket(b"thing").unwrap(),
            _ => t.symlink(b"thing", b"t").unwrap(),
        }
        assert_eq!(t.survey(b"thing").unwrap().unwrap().kind, Kind::of(&kind));
        t.remove_recursive(b"thing", &mut |_, r| r.unwrap()).unwrap();
    }

    // Something in the way of a directory, and a directory in the way of something.
    fs::write(a.inside("was-file"), "").unwrap();
    assert_eq!(t.ensure_dir(b"was-file").unwrap().1, Found::Other);
    assert_eq!(t.ensure_dir(b"was-file").unwrap().1, Found::Directory);
    t.fifo(b"was-file").unwrap();
    fs::create_dir_all(a.inside("full/of")).unwrap();
    assert_eq!(t.fifo(b"full").unwrap_err().why, Why::Os(Errno::NOTEMPTY));
    assert_eq!(t.names_left(), 0);
}

/// Counts names that a restore should not leave behind.
trait NamesLeft {
    fn names_left(&self) -> usize;
}
impl NamesLeft for TargetDir {
    fn names_left(&self) -> usize {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&rustix::fd::AsFd::as_fd(self)));
        let temp = |e: &fs::DirEntry| TempName::looks_like(e.file_name().as_bytes());
        fs::read_dir(path).unwrap().filter(|e| temp(e.as_ref().unwrap())).count()
    }
}

#[test]
fn metadata_does_not_follow_what_took_a_place() {
    let a = Attack::new();
    let t = &a.target;
    let policy = Policy::new(Owners::Number, true);
    for kind in [NodeKind::Fifo, NodeKind::Dir { root: None }, file_node().kind] {
        symlink(a.outside("secret"), a.inside("n")).unwrap();
        let applied = apply_metadata(&Object::Named(t, b"n"), &node(kind), &Extras::default(), &policy);
        assert_eq!(applied.failures.len(), 1, "{applied:?}");
        assert_eq!(applied.failures[0].during, "open");
        fs::remove_file(a.inside("n")).unwrap();
    }
    // A hard link instead of the file that was there a moment ago.
    fs::hard_link(a.outside("secret"), a.inside("n")).unwrap();
    let applied = apply_metadata(&Object::Named(t, b"n"), &file_node(), &Extras::default(), &policy);
    assert_eq!(applied.failures[0].why, Why::Raced, "{applied:?}");
    assert_eq!(applied.failures.len(), 1);
    fs::remove_file(a.inside("n")).unwrap();
    // On a link itself it works, and the file behind it stays as it is (see `Attack::drop`).
    symlink(a.outside("secret"), a.inside("n")).unwrap();
    let link = node(NodeKind::Symlink { target: vec![] });
    assert!(apply_metadata(&Object::Named(t, b"n"), &link, &Extras::default(), &policy).failures.is_empty() || !root());
    let seen = fs::symlink_metadata(a.inside("n")).unwrap();
    assert_eq!((seen.mtime(), seen.mtime_nsec()), (1_000_000_000, 42));

    // Times that would mean "now" and an owner that would mean "leave it".
    let mut odd = file_node();
    (odd.mtime.nsec, odd.uid) = (1_073_741_823, u32::MAX);
    let file = t.create_file(b"odd").unwrap();
    let applied = apply_metadata(&Object::File(&file), &odd, &Extras::default(), &policy);
    let steps: Vec<_> = applied.failures.iter().map(|f| f.during).collect();
    assert_eq!(steps, ["chown", "utimens"]);
}

#[test]
fn hard_links_bind_to_the_file_and_not_to_its_name() {
    let a = Attack::new();
    let t = &a.target;
    let id = t.create_file(b"first").unwrap().in_progress().unwrap().id;
    t.hard_link(b"second", t, b"first", id).unwrap();
    t.hard_link(b"second", t, b"first", id).unwrap();
    fs::write(a.inside("third"), "in the way").unwrap();
    t.hard_link(b"third", t, b"first", id).unwrap();
    assert_eq!(fs::metadata(a.inside("first")).unwrap().nlink(), 3);
    assert!(for_update(t, b"first").unwrap().is_none(), "has other names");

    fs::remove_file(a.inside("first")).unwrap();
    symlink(a.outside("secret"), a.inside("first")).unwrap();
    assert_eq!(t.hard_link(b"fourth", t, b"first", id).unwrap_err().why, Why::Raced);
    fs::write(a.inside("fifth"), "stays").unwrap();
    assert_eq!(t.hard_link(b"fifth", t, b"first", id).unwrap_err().why, Why::Raced);
    assert!(!a.inside("fourth").exists());
    assert_eq!(fs::read(a.inside("fifth")).unwrap(), b"stays");
    assert_eq!(t.names_left(), 0);
}

#[test]
fn a_directory_swapped_for_a_link_between_steps_gives_no_way_out() {
    let a = Attack::new();
    let (dir, _) = a.target.ensure_dir(b"dir").unwrap();
    let tree = TargetTree::new(TargetDir::open_or_create(&a.inside("")).unwrap());
    tree.dir(b"dir").unwrap();
    fs::rename(a.inside("dir"), a.inside("moved")).unwrap();
    symlink(a.outside("dir"), a.inside("dir")).unwrap();
    drop(dir.create_file(b"x").unwrap());
    drop(tree.dir(b"dir").unwrap().create_file(b"y").unwrap());
    assert!(a.inside("moved/x").exists() && a.inside("moved/y").exists());
    tree.forget(b"dir");
    assert!(tree.dir(b"dir").is_err());

    // A file that was closed in between is only opened again if it is the same one.
    let state = a.target.create_file(b"f").unwrap().in_progress().unwrap();
    a.target.resume(b"f", &state).unwrap().write_at(0, b"1").unwrap();
    fs::remove_file(a.inside("f")).unwrap();
    symlink(a.outside("secret"), a.inside("f")).unwrap();
    assert_eq!(a.target.resume(b"f", &state).unwrap_err().why, Why::Raced);
    a.target.abandon(b"f", &state);
    assert!(a.inside("f").is_symlink(), "not ours to remove");
}

#[test]
fn removal_stays_inside_and_goes_to_any_depth() {
    let a = Attack::new();
    let t = &a.target;
    let policy = Policy::new(Owners::Number, true);
    let mut dir = t.ensure_dir(b"gone").unwrap().0;
    for i in 0..400 {
        drop(dir.create_file(b"f").unwrap());
        dir.symlink(b"out", a.outside("").as_os_str().as_bytes()).unwrap();
        dir = dir.ensure_dir(format!("{i:0>60}").as_bytes()).unwrap().0;
    }
    if root() {
        let sealed = dir.create_file(b"sealed").unwrap();
        let extras = Extras { flags: 0x10, ..Extras::default() };
        assert!(apply_metadata(&Object::File(&sealed), &file_node(), &extras, &policy).is_complete());
    }
    let before = fs::read_dir("/proc/self/fd").unwrap().count();
    let mut gone = 0;
    t.remove_recursive(b"gone", &mut |_, r| {
        r.unwrap();
        gone += 1;
        let open = fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(gone % 50 != 0 || open < before + 200, "{open} descriptors");
    })
    .unwrap();
    assert_eq!(gone, 400 * 3 + 1 + u32::from(root()));
    assert!(!a.inside("gone").exists());
    t.remove_recursive(b"never-was", &mut |_, r| r.unwrap()).unwrap();

    // Moved away while it is emptied: the way up leads elsewhere, and the removal stops.
    let (x, _) = t.ensure_dir(b"x").unwrap();
    let (y, _) = x.ensure_dir(b"y").unwrap();
    drop(y.create_file(b"f").unwrap());
    let mut paths = Vec::new();
    let (from, to) = (a.inside("x/y"), a.inside("elsewhere"));
    let stopped = t.remove_recursive(b"x", &mut |path, _| {
        paths.push(path.to_vec());
        fs::rename(&from, &to).unwrap();
    });
    assert_eq!((stopped.unwrap_err().why, paths), (Why::Raced, vec![b"x/y/f".to_vec()]));
}

#[test]
fn a_deep_tree_needs_few_descriptors() {
    let area = Area::new();
    let tree = TargetTree::new(TargetDir::open_or_create(area.path()).unwrap());
    let mut path = Vec::new();
    for i in 0..300 {
        let dir = tree.dir(&path).unwrap();
        if i > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(&[b'd'; 50]);
        dir.ensure_dir(&[b'd'; 50]).unwrap();
    }
    assert!(path.len() > 3 * 4096);
    let bottom = tree.dir(&path).unwrap();
    drop(bottom.create_file(b"f").unwrap());
    // Cold, in the other order, from the root.
    let cold = TargetTree::new(TargetDir::open_or_create(area.path()).unwrap());
    assert_eq!(cold.dir(&path).unwrap().own_stat().unwrap().id, bottom.own_stat().unwrap().id);
}

#[test]
fn a_source_that_changes_under_our_hands() {
    let area = Area::new();
    let at = |name: &str| area.path().join(name);
    let dir = Dir::open_root(area.path()).unwrap();
    let seen = |name: &str| {
        fs::write(at(name), "data").unwrap();
        dir.stat(name.as_bytes()).unwrap()
    };

    // Whatever takes the place of a file, it is noticed, and nobody waits for a writer of a pipe.
    let stat = seen("f");
    fs::remove_file(at("f")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("f"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(dir.open_file(b"f", &stat).unwrap_err().why, Why::Raced);
    assert!(fs::symlink_metadata(at("f")).unwrap().file_type().is_fifo());
    let pipe = dir.stat(b"f").unwrap();
    assert_eq!(dir.open_file(b"f", &pipe).unwrap_err().why, Why::Raced);
    fs::remove_file(at("f")).unwrap();
    symlink("/etc/passwd", at("f")).unwrap();
    assert_eq!(dir.open_file(b"f", &stat).unwrap_err().why, Why::Raced);
    fs::remove_file(at("f")).unwrap();
    assert!(dir.open_file(b"f", &stat).unwrap_err().vanished());
    fs::create_dir(at("f")).unwrap();
    assert_eq!(dir.open_file(b"f", &stat).unwrap_err().why, Why::Raced);
    let other = seen("g");
    fs::rename(at("g"), at("h")).unwrap();
    seen("g");
    assert_eq!(dir.open_file(b"g", &other).unwrap_err().why, Why::Raced);
    // Not even if it leads to the right file.
    fs::rename(at("g"), at("g2")).unwrap();
    let right = dir.stat(b"g2").unwrap();
    symlink("g2", at("g")).unwrap();
    assert_eq!(dir.open_file(b"g", &right).unwrap_err().why, Why::Raced);
    fs::rename(at("g2"), at("g")).unwrap();
    let was = dir.stat(b"f").unwrap();
    fs::rename(at("f"), at("f2")).unwrap();
    symlink("/etc", at("f")).unwrap();
    assert!(dir.open_dir(b"f").is_err() && dir.open_dir_as(b"f2", &was).is_ok());
    assert!(dir.read_link(b"g").is_err_and(|e| e.why == Why::Raced));

    // Shrinking and growing: segments stay within what was there, reads end where the file does.
    let file = fs::File::create(at("s")).unwrap();
    file.set_len(64 << 20).unwrap();
    for i in 0..8 {
        std::os::unix::fs::FileExt::write_all_at(&file, &[7; 8192], i * (8 << 20)).unwrap();
    }
    let open = dir.open_file(b"s", &dir.stat(b"s").unwrap()).unwrap();
    let mut segments = open.segments();
    let mut all = vec![segments.next().unwrap(), segments.next().unwrap()];
    file.set_len(20 << 20).unwrap();
    all.extend(segments);
    assert_eq!(all.iter().map(|s| s.len).sum::<u64>(), 64 << 20);
    assert!(all.windows(2).all(|w| w[0].offset + w[0].len == w[1].offset));
    assert_eq!(open.read_at(30 << 20, &mut [0; 100]).unwrap(), 0);
    file.set_len(100 << 20).unwrap();
    assert_eq!(open.segments().map(|s| s.len).sum::<u64>(), 64 << 20);
    assert_ne!(open.stat_now().unwrap(), *open.stat());
}

/// A file as it is now, to be changed.
fn for_update(t: &TargetDir, name: &[u8]) -> Result<Option<TargetFile>, TargetError> {
    let id = t.survey(name)?.map_or(t.own_stat()?.id, |stat| stat.id);
    t.open_for_update(name, id)
}

#[test]
fn what_was_looked_at_is_what_is_changed() {
    let area = Area::new();
    let t = TargetDir::open_or_create(area.path()).unwrap();
    fs::write(area.path().join("f"), "looked at").unwrap();
    let id = t.survey(b"f").unwrap().unwrap().id;
    let policy = Policy::new(Owners::Number, true);
    let set = || apply_metadata(&Object::Same(&t, b"f", id), &file_node(), &Extras::default(), &policy);
    assert!(t.open_for_update(b"f", id).unwrap().is_some() && set().is_complete());
    fs::write(area.path().join("g"), "put there").unwrap();
    fs::rename(area.path().join("g"), area.path().join("f")).unwrap();
    assert!(t.open_for_update(b"f", id).unwrap().is_none() && !set().is_complete());
}

#[test]
fn changing_a_file_in_place() {
    let area = Area::new();
    let t = TargetDir::open_or_create(area.path()).unwrap();
    fs::write(area.path().join("f"), vec![1; 100_000]).unwrap();
    let file = for_update(&t, b"f").unwrap().unwrap();
    assert!(!file.replaces());
    file.write_at(10, b"new").unwrap();
    file.punch_hole(20_000, 50_000).unwrap();
    file.punch_hole(99_000, 1 << 50).unwrap();
    file.set_len(200_000).unwrap();
    let mut want = vec![1; 100_000];
    want[10..13].copy_from_slice(b"new");
    want[20_000..70_000].fill(0);
    want[99_000..].fill(0);
    want.resize(200_000, 0);
    assert!(fs::read(area.path().join("f")).unwrap() == want);
    assert_eq!(t.survey(b"f").unwrap().unwrap().size, 200_000);
    assert!(t.survey(b"g").unwrap().is_none() && for_update(&t, b"g").unwrap().is_none());

    // Abandoning a replacement leaves what it was to replace.
    let file = t.create_file(b"f").unwrap();
    let state = file.in_progress().unwrap();
    assert_eq!(t.names_left(), 1);
    t.abandon(b"f", &state);
    assert_eq!(t.names_left(), 0);
    assert!(fs::read(area.path().join("f")).unwrap() == want);
}

/// What a directory gives to new files, the snapshot did not ask for.
#[test]
fn a_default_acl_of_the_target_gives_nothing_to_restored_files() {
    let area = Area::new();
    let acl = |path: &Path| rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0; 200]).is_ok();
    let set = Command::new("setfacl").args(["-m", "d:u:55:rwx"]).arg(area.path()).status();
    if !set.is_ok_and(|s| s.success()) {
        eprintln!("skipped: no ACLs here");
        return;
    }
    let t = TargetDir::open_or_create(area.path()).unwrap();
    let policy = Policy::new(Owners::Nobody, false);
    let (dir, _) = t.ensure_dir(b"d").unwrap();
    let file = dir.create_file(b"f").unwrap();
    t.fifo(b"p").unwrap();
    let (f, d, p) = (area.path().join("d/f"), area.path().join("d"), area.path().join("p"));
    assert!(acl(&f) && acl(&d) && acl(&p), "the test has no object");
    let none = Extras::default();
    assert!(apply_metadata(&Object::File(&file), &file_node(), &none, &policy).is_complete());
    assert!(apply_metadata(&Object::Named(&t, b"p"), &node(NodeKind::Fifo), &none, &policy).is_complete());
    let above = Node { mode: 0o750, ..node(NodeKind::Dir { root: None }) };
    assert!(apply_metadata(&Object::Dir(&dir), &above, &none, &policy).is_complete());
    assert!(!acl(&f) && !acl(&d) && !acl(&p));
    assert_eq!(fs::metadata(&f).unwrap().mode() & 0o7777, 0o640);
    assert!(rustix::fs::getxattr(&d, "system.posix_acl_default", &mut [0; 200]).is_err());
}
