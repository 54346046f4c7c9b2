//! What is kept of work trees, against `git ls-files`: with an index, in real repositories.
//!
//! A scene is a script for a shell that makes a work tree. What stays of it by `--git-ignore` must be
//! what git lists as tracked and as untracked but not ignored.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use orlop::event::ItemKind;
use orlop::plan::filter::{Case, GitRules, Head, IgnoreSettings, IndexFault, Level, Selection, TrackedPaths, join};

use crate::cases::program;
use crate::git::git_command;

/// Rules that are against what is tracked.
const COMMON: &str = "
mkdir -p out/deep out/none src/Out 'a b'
touch tracked.log other.log out/x out/noted out/deep/kept out/deep/not out/none/y src/a.c src/a.log src/Out/b OTHER.LOG
touch out/deep.er 'a b/c d.log' src/Kept.LOG
printf '*.log\\nout/\\n!src/a.log\\n' > .gitignore
git add -f tracked.log out/deep/kept src/a.c 'a b/c d.log' .gitignore src/Kept.LOG
git add -f -N out/noted
";

/// Name, options for `git init`, what else is done, and which directory is asked about.
const SCENES: &[(&str, &str, &str, &str)] = &[
    ("version 2", "", "git reset -q out/noted", "w"),
    ("version 3", "", "", "w"),
    ("version 4", "", "git update-index --index-version 4", "w"),
    ("sha256", "--object-format=sha256", "git update-index --index-version 4", "w"),
    ("without a checksum", "", "git config index.skipHash true; git update-index --force-write-index", "w"),
    ("no index", "", "rm .git/index", "w"),
    ("a tracked file was removed", "", "rm out/deep/kept tracked.log", "w"),
    ("a tracked file became a directory", "", "rm tracked.log; mkdir tracked.log; touch tracked.log/x", "w"),
    ("case does not count", "", "git config core.ignorecase true; touch src/a.Log", "w"),
    ("excludes of the repository", "", "echo a.c > ../user; touch a.c; git config core.excludesFile ../user", "w"),
    ("excludes in the home", "", "echo 'src/' > ../user; git config core.excludesFile '~/user'", "w"),
    ("info/exclude", "", "echo Out > .git/info/exclude", "w"),
    (
        "config of a work tree",
        "",
        "git config extensions.worktreeConfig true; echo Out > ../user; git config --worktree core.excludesFile ../user",
        "w",
    ),
    (
        "a linked work tree",
        "",
        "git commit -qm x; git worktree add -q ../linked; echo Out > .git/info/exclude
      cd ../linked; mkdir out/new src/Out; touch out/new/x new.log src/Out/b; git add -f new.log",
        "linked",
    ),
    ("a linked directory", "", "mv .git ../elsewhere; ln -s ../elsewhere .git; echo Out > .git/info/exclude", "w"),
    (
        "a submodule",
        "",
        "
      for n in out/module loose out/loose; do
        git init -q $n; touch $n/x.log; git -C $n add -f x.log; git -C $n commit -qm x
      done
      git add -f out/module 2> /dev/null",
        "w",
    ),
    ("a directory that is no repository", "", "mkdir -p src/.git/objects; touch src/b.log", "w"),
    ("a link to no repository", "", "ln -s /nowhere src/.git; touch src/b.log", "w"),
    ("a condition without consequence", "", "git config includeIf.onbranch:none.path ../none", "w"),
    (
        "a conflict",
        "",
        "git commit -qm x; git checkout -q -b b; echo b > tracked.log; git commit -qam b
      git checkout -q -; echo c > tracked.log; git commit -qam c; git merge -q b > /dev/null || true",
        "w",
    ),
];

fn make(git: &Path, dir: &Path, options: &str, script: &str) {
    let script = format!(
        "set -e; export PATH={}:$PATH; git init -q {options} w; cd w
        {COMMON}\n{script}",
        git.parent().unwrap().display()
    );
    let mut command = git_command(Path::new("sh"), dir);
    for who in ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"] {
        command.env(who, "x");
    }
    command.arg("-c").arg(&script);
    assert!(command.status().unwrap().success(), "{script}");
}

fn listed(git: &Path, home: &Path, top: &Path) -> BTreeSet<String> {
    let mut command = git_command(git, top);
    command.env("HOME", home).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let names = out.stdout.split(|b| *b == 0).filter(|name| !name.is_empty());
    let names = names.map(|name| String::from_utf8(name.to_vec()).unwrap().trim_end_matches('/').to_owned());
    names.filter(|name| top.join(name).symlink_metadata().is_ok()).filter(|name| !is_tracked_way(top, name)).collect()
}

/// A tracked file that is a directory now: what is in it is listed by itself.
fn is_tracked_way(top: &Path, name: &str) -> bool {
    top.join(name).is_dir() && !top.join(name).join(".git").exists()
}

struct Kept {
    selection: Selection,
    names: BTreeSet<String>,
    doubts: Vec<String>,
}

fn kept(home: &Path, top: &Path) -> Kept {
    let home = Some(home.as_os_str().as_bytes().to_vec());
    let ignore = IgnoreSettings { git: GitRules::WorkTrees, home, ..IgnoreSettings::default() };
    let selection = Selection { ignore, ..Selection::default() };
    let mut kept = Kept { selection, names: BTreeSet::new(), doubts: Vec::new() };
    kept.directory(&kept.selection.start(), top, "");
    kept
}

impl Kept {
    fn directory(&mut self, above: &Level, top: &Path, below: &str) {
        let dir = top.join(below);
        let entries = fs::read_dir(&dir).unwrap().map(|e| e.unwrap());
        let entries: Vec<(Vec<u8>, bool)> =
            entries.map(|e| (e.file_name().as_bytes().to_vec(), e.file_type().unwrap().is_dir())).collect();
        let names: Vec<&[u8]> = entries.iter().map(|(name, _)| name.as_slice()).collect();
        let path = dir.as_os_str().as_bytes();
        let (level, doubts) = self.selection.enter(above, path, &names, &mut |name, max| head(&dir, name, max));
        self.doubts.extend(doubts.iter().map(|d| d.what.to_owned()));
        if !below.is_empty() && dir.join(".git/HEAD").exists() {
            self.names.insert(below.to_owned());
            return;
        }
        for (name, is_dir) in entries.iter().filter(|(name, _)| name != b".git") {
            let kind = if *is_dir { ItemKind::Dir } else { ItemKind::File };
            let below = PathBuf::from(below).join(OsStr::from_bytes(name)).to_str().unwrap().to_owned();
            if !self.selection.decide_by_stat(&level, &join(path, name), kind, 0).is_keep() {
                continue;
            }
            match is_dir {
                true => self.directory(&level, top, &below),
                false => _ = self.names.insert(below),
            }
        }
    }
}

fn head(dir: &Path, name: &[u8], max: usize) -> Head {
    let path = dir.join(OsStr::from_bytes(name));
    // As `read_head` has it: links are followed on absolute paths only.
    let linked = path.parent().unwrap().is_symlink() && !name.starts_with(b"/");
    match fs::File::open(&path) {
        _ if linked => Head::Unreadable,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Head::Absent,
        Err(_) => Head::Unreadable,
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(max as u64).read_to_end(&mut bytes).map_or(Head::Unreadable, |_| Head::Bytes(bytes))
        }
    }
}

#[test]
fn as_git_lists() {
    let Some(git) = program("ORLOP_GIT", "git") else {
        return;
    };
    for (name, options, script, top) in SCENES {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        make(&git, &root, options, script);
        let theirs = listed(&git, &root, &root.join(top));
        let ours = kept(&root, &root.join(top));
        assert_eq!(ours.names, theirs, "{name}");
        assert_eq!(ours.doubts, [""; 0], "{name}");
        let ignored = !theirs.contains("out/x");
        assert!(ignored, "{name}: a scene in which nothing is ignored shows nothing");
    }
}

/// What is not understood keeps everything, and is told.
#[test]
fn in_doubt_nothing_is_ignored() {
    let Some(git) = program("ORLOP_GIT", "git") else {
        return;
    };
    for (script, told) in [
        ("git update-index --split-index", "split"),
        ("truncate -s -1 .git/index", "damaged"),
        ("printf x | dd of=.git/index bs=1 seek=100 conv=notrunc status=none", "damaged"),
        (
            "printf 'DIRC\\0\\0\\0\\5' | dd of=.git/index bs=1 conv=notrunc status=none; git config index.skipHash true
          truncate -s -20 .git/index; head -c 20 /dev/zero >> .git/index",
            "newer",
        ),
        ("rm .git/index; mkdir .git/index", "cannot be read"),
        ("printf '[core' >> .git/config", "configuration"),
        ("rm -r .git; echo 'gitdir: ../nowhere' > .git", "name a repository"),
        ("rm -r .git; echo x > .git", "name a repository"),
        (
            "printf '[core]\\nexcludesFile = x\\n' > more; git config includeIf.onbranch:none.path $PWD/more",
            "depends on includeIf",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        make(&git, dir.path(), "", script);
        let ours = kept(dir.path(), &dir.path().join("w"));
        assert!(ours.names.contains("out/none/y") && ours.names.contains("other.log"), "{script}: {:?}", ours.names);
        assert!(ours.doubts.len() == 1 && ours.doubts[0].contains(told), "{script}: {:?}", ours.doubts);
    }
}

/// Outside of the cone there are no files and no entries: what is there all the same may be tracked.
#[test]
fn a_sparse_index_has_directories() {
    let Some(git) = program("ORLOP_GIT", "git") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let script = "git reset -q out/noted; git commit -qm x; git sparse-checkout set --cone --sparse-index src
        test -n \"$(git ls-files --sparse --stage | grep '^040000')\"; mkdir -p out/deep; touch out/deep/again new.log";
    make(&git, dir.path(), "", script);
    let ours = kept(dir.path(), &dir.path().join("w"));
    assert!(ours.names.contains("out/deep/again") && !ours.names.contains("new.log"), "{:?}", ours.names);
}

/// An index with these entries, and zeros for a checksum.
fn index(version: u32, entries: &[(u32, &str)], after: &[u8]) -> Vec<u8> {
    let mut out = [&b"DIRC"[..], &version.to_be_bytes(), &(entries.len() as u32).to_be_bytes()].concat();
    for (mode, name) in entries {
        let start = out.len();
        out.extend([0; 24]);
        out.extend(mode.to_be_bytes());
        out.extend([0; 12 + 20]);
        out.extend((name.len() as u16).to_be_bytes());
        if version == 4 {
            out.push(0);
        }
        out.extend(name.as_bytes());
        out.push(0);
        while version < 4 && !(out.len() - start).is_multiple_of(8) {
            out.push(0);
        }
    }
    [&out[..], after, &[0; 20]].concat()
}

#[test]
fn an_index_is_read_whole_or_not_at_all() {
    let parse = |bytes: &[u8]| TrackedPaths::parse(bytes, false, Case::Sensitive).map(|_| ());
    let (file, module) = (0o100_644, 0o160_000);
    let good = index(2, &[(file, "a/b"), (module, "c"), (file, "c-d")], b"TREE\0\0\0\0");
    let paths = TrackedPaths::parse(&good, false, Case::Sensitive).unwrap();
    for (path, is_dir, expected) in [
        ("a/b", false, true),
        ("a/b", true, false),
        ("a", true, true),
        ("a", false, false),
        ("A/b", false, false),
        ("c", true, true),
        ("c/x/y", false, true),
        ("c-d", false, true),
        ("c-", true, false),
    ] {
        assert_eq!(paths.tracks(path.as_bytes(), is_dir), expected, "{path}");
    }
    for (bytes, fault) in [
        (index(2, &[(file, "b"), (file, "a")], b""), IndexFault::Damaged),
        (index(2, &[(file, "a"), (file, "a")], b""), IndexFault::Damaged),
        (index(2, &[(file, "")], b""), IndexFault::Damaged),
        (index(2, &[(file, "")], b"link\0\0\0\0"), IndexFault::Unknown),
        (index(2, &[(file, "a")], b"new!\0\0\0\0"), IndexFault::Unknown),
        (index(2, &[(file, "a")], b"TREE\0\0\0\x01"), IndexFault::Damaged),
        (index(5, &[], b""), IndexFault::Unknown),
        (index(4, &[(file, "a")], b"\0"), IndexFault::Damaged),
    ] {
        assert_eq!(parse(&bytes), Err(fault));
    }
}

/// Whatever stands there, there is an answer; and a part is never taken for the whole.
#[test]
fn any_bytes_are_answered() {
    for version in [2, 3, 4] {
        let good = index(version, &[(0o100_644, "a/b"), (0o160_000, "c"), (0o100_644, "c-d")], b"TREE\0\0\0\x02xx");
        let body = good.len() - 20;
        assert!(TrackedPaths::parse(&good, false, Case::Insensitive).is_ok());
        for at in 0..body {
            let cut = [&good[..at], &[0; 20]].concat();
            let whole = TrackedPaths::parse(&cut, false, Case::Sensitive).is_ok();
            assert!(!whole || at == body - 10, "{version}: cut at {at}");
            for byte in 0..=255 {
                let mut other = good.clone();
                other[at] = byte;
                for case in [Case::Sensitive, Case::Insensitive] {
                    _ = TrackedPaths::parse(&other, false, case).map(|paths| paths.tracks(b"c/d", true));
                }
                _ = TrackedPaths::parse(&other, true, Case::Sensitive);
            }
        }
    }
}
