//! The independent reader lists and restores what `orlop::format` wrote, also after damage.
//!
//! It needs Python 3.11 with `format-spec/reader/requirements.txt`; `ORLOP_READER_PYTHON` names the
//! interpreter. Without those packages the tests say so and pass, unless `ORLOP_READER_REQUIRED`
//! is set, as it is in CI.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::mini::{Mini, PASSWORD, RAW, one_of_everything};
use crate::run::stream;

fn python() -> Option<PathBuf> {
    let python = std::env::var_os("ORLOP_READER_PYTHON").map_or("python3".into(), PathBuf::from);
    let has_all = Command::new(&python)
        .args(["-c", "import argon2, blake3, cryptography, mnemonic, zstandard"])
        .output()
        .is_ok_and(|o| o.status.success());
    if has_all {
        return Some(python);
    }
    assert!(std::env::var_os("ORLOP_READER_REQUIRED").is_none(), "{} lacks the reader's packages", python.display());
    eprintln!("skipped: {} lacks the packages in format-spec/reader/requirements.txt", python.display());
    None
}

fn read(python: &Path, repo: &Path, args: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec/reader/orlop_reader.py");
    Command::new(python).arg("-B").arg(script).arg(repo).args(args).output().unwrap()
}

#[track_caller]
fn expect(o: &Output, code: i32) -> String {
    let (out, err) = (String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr));
    assert_eq!(o.status.code(), Some(code), "stdout:\n{out}\nstderr:\n{err}");
    format!("{out}{err}")
}

/// What `mini::one_of_everything` must come back as.
fn compare(root: &Path) {
    let ann = root.join("home/ann");
    let read = |name: &[u8]| std::fs::read(ann.join(OsStr::from_bytes(name))).unwrap();
    let chunk = |i: usize| stream(&format!("chunk {i}"), 3000 + i);
    assert_eq!(read(b"extents"), [chunk(1), chunk(2)].concat());
    assert_eq!(read(b"paged"), (0..300).flat_map(chunk).collect::<Vec<_>>());
    assert_eq!(read(b"\xff\xfe not text"), chunk(3));
    assert_eq!(read(b"many/02999"), b"file 2999");
    assert_eq!(std::fs::read_dir(ann.join("many")).unwrap().count(), 3000);
    let sparse = [chunk(501), vec![0; 1 << 20], chunk(500), chunk(500), chunk(500), vec![0; 77]].concat();
    assert_eq!(read(b"sparse"), sparse);
    let meta = |name: &str| ann.join(name).symlink_metadata().unwrap();
    assert!(meta("sparse").blocks() * 512 < 1 << 19, "holes take space");
    assert_eq!(meta("linked-1").ino(), meta("linked-2").ino());
    assert!(meta("fifo").file_type().is_fifo());
    assert_eq!(std::fs::read_link(ann.join("symlink")).unwrap(), Path::new("../nowhere"));
    assert_eq!((meta("symlink").mtime(), meta("symlink").mtime_nsec()), (1_600_000_000, 123_456_789));
    assert_eq!((meta("old").mtime(), meta("old").mtime_nsec()), (-5, 250_000_000));
    assert_eq!(meta("old").permissions().mode() & 0o7777, 0o4711);
    assert_eq!(meta("many").permissions().mode() & 0o7777, 0o750);
    assert_eq!(meta("many").mtime(), 1_600_000_000, "directories last");
    assert_eq!(meta("empty-dir").permissions().mode() & 0o7777, 0o500);
    assert!(!root.join("home/an attack").exists() && !root.join("an attack").exists());
    let mut value = [0; 4096];
    if let Ok(n) = rustix::fs::getxattr(ann.join("attributed"), "user.b", &mut value) {
        assert_eq!(value[..n], stream("a long attribute", 2000));
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { out.extend(files(&path)) } else { out.push(path) }
    }
    out.sort();
    out
}

#[test]
fn it_lists_and_restores_by_every_way_in() {
    let Some(python) = python() else { return };
    let temp = tempfile::tempdir().unwrap();
    let repo = temp.path().join("repo");
    Mini::make(&repo, one_of_everything);

    let listed = expect(&read(&python, &repo, &["--password", PASSWORD, "snapshots"]), 0);
    assert!(listed.contains("laptop /home/ann nightly"), "{listed}");
    let words = bip39::Mnemonic::from_entropy(&RAW).unwrap().to_string();
    // Two names are attacks: left out, said so, exit code 3.
    let tree = expect(&read(&python, &repo, &["--words", &words, "ls", "latest"]), 3);
    assert!(tree.contains("l0777") && tree.contains("/home/ann/symlink -> ../nowhere"), "{tree}");
    assert!(tree.contains("left out: a node with the name b'..'") && tree.contains("b'a/b'"), "{tree}");
    let key = temp.path().join("key");
    std::fs::write(&key, RAW).unwrap();
    let target = temp.path().join("target");
    let (key, to) = (key.to_str().unwrap(), target.to_str().unwrap());
    expect(&read(&python, &repo, &["--key-file", key, "restore", "latest", to]), 3);
    compare(&target);

    expect(&read(&python, &repo, &["--password", "wrong", "snapshots"]), 1);
    expect(&read(&python, &repo, &["--no-password", "snapshots"]), 1);
    expect(&read(&python, temp.path(), &["--password", PASSWORD, "snapshots"]), 1);
}

#[test]
fn damage_is_mended_or_named() {
    let Some(python) = python() else { return };
    let temp = tempfile::tempdir().unwrap();
    let repo = temp.path().join("repo");
    Mini::make(&repo, one_of_everything);
    // Half of the shards of every small object: data shards, so that a decoder has to work.
    for dir in ["keys", "keyring", "config", "clients", "snapshots", "sessions", "gc"] {
        for path in files(&repo.join(dir)) {
            let bytes = std::fs::read(&path).unwrap();
            let shard = (bytes.len() - 608) / 32;
            (0..16).for_each(|i| flip(&path, 304 + i * shard + 5));
        }
    }
    // One bit in each pack: parity mends it.
    for path in files(&repo.join("packs")) {
        flip(&path, 700);
    }
    let target = temp.path().join("target");
    let said =
        expect(&read(&python, &repo, &["--password", PASSWORD, "restore", "latest", target.to_str().unwrap()]), 3);
    assert!(said.contains("mended by parity/"), "{said}");
    compare(&target);

    // Without parity the damage is named, and the rest is there.
    std::fs::remove_dir_all(repo.join("parity")).unwrap();
    let target = temp.path().join("target-2");
    let said =
        expect(&read(&python, &repo, &["--password", PASSWORD, "restore", "latest", target.to_str().unwrap()]), 3);
    assert!(said.contains("does not authenticate"), "{said}");

    // A repository without its first homes of slots opens by the second.
    std::fs::remove_dir_all(repo.join("keys")).unwrap();
    expect(&read(&python, &repo, &["--password", PASSWORD, "snapshots"]), 0);

    // A snapshot that somebody took away leaves a hole in its chain: here, nothing is left to show.
    std::fs::remove_dir_all(repo.join("snapshots")).unwrap();
    expect(&read(&python, &repo, &["--password", PASSWORD, "ls", "latest"]), 1);
}

/// Of a snapshot the other tests look at little: here is every field that one has.
#[test]
fn it_reads_all_that_snapshots_say() {
    let Some(python) = python() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec/reader/test_snapshots.py");
    let said = expect(&Command::new(python).arg("-B").arg(script).output().unwrap(), 0);
    assert!(said.contains("the reader read 3 snapshots"), "{said}");
}

#[test]
fn it_restores_what_the_program_backed_up() {
    let Some(python) = python() else { return };
    let temp = tempfile::tempdir().unwrap();
    let (repo, tree) = (temp.path().join("repo"), temp.path().join("tree"));
    std::fs::create_dir_all(tree.join("many")).unwrap();
    std::fs::write(tree.join("long"), stream("a long file", 3 << 20)).unwrap();
    std::fs::write(tree.join("empty"), b"").unwrap();
    std::fs::write(tree.join(OsStr::from_bytes(b"\xff not text")), b"bytes").unwrap();
    (0..500).for_each(|i| std::fs::write(tree.join(format!("many/{i}")), stream("small", i * 7)).unwrap());
    std::os::unix::fs::symlink("../elsewhere", tree.join("link")).unwrap();
    std::fs::hard_link(tree.join("long"), tree.join("long-too")).unwrap();
    let sparse = std::fs::File::create(tree.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"in the middle", 3_000_000).unwrap();
    sparse.set_len(9_000_000).unwrap();
    std::fs::set_permissions(tree.join("empty"), PermissionsExt::from_mode(0o4751)).unwrap();

    for args in [["init", "-q"], ["backup", tree.to_str().unwrap()]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
        for (variable, place) in [("ORLOP_CACHE_DIR", "cache"), ("XDG_STATE_HOME", "state"), ("HOME", "home")] {
            command.env(variable, temp.path().join(place));
        }
        expect(&command.args(args).arg("-r").arg(&repo).env("ORLOP_PASSWORD", PASSWORD).output().unwrap(), 0);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec/reader/test_reader.sh");
    let mut command = Command::new("sh");
    command.arg(script).arg(&repo).arg(PASSWORD).arg(&tree).env("ORLOP_READER_PYTHON", python);
    expect(&command.output().unwrap(), 0);
}
