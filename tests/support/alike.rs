//! Whether two trees are alike, by what the kernel says of them: nothing in here comes from orlop, so
//! that a mistake of its own is not made twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, lgetxattr, llistxattr, seek};
use rustix::io::Errno;

/// Everything below two directories is the same; of the two themselves nothing is compared.
#[track_caller]
pub fn assert_alike(one: &Path, other: &Path) {
    compare_below(one, other, &mut Inodes::default());
}

/// Which inode here is which inode there, and the other way round: two names are of one inode on both
/// sides or on neither.
#[derive(Default)]
struct Inodes {
    there: HashMap<(u64, u64), (u64, u64)>,
    here: HashMap<(u64, u64), (u64, u64)>,
}

impl Inodes {
    fn agree(&mut self, one: &Metadata, other: &Metadata) -> bool {
        let (one, other) = ((one.dev(), one.ino()), (other.dev(), other.ino()));
        *self.there.entry(one).or_insert(other) == other && *self.here.entry(other).or_insert(one) == one
    }
}

#[track_caller]
fn compare_below(one: &Path, other: &Path, inodes: &mut Inodes) {
    let all = names(one);
    assert_eq!(all, names(other), "names in {one:?}");
    for name in all {
        compare(&one.join(&name), &other.join(&name), inodes);
    }
}

fn names(dir: &Path) -> BTreeSet<OsString> {
    fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect()
}

#[track_caller]
fn compare(one: &Path, other: &Path, inodes: &mut Inodes) {
    let metas = [one, other].map(|path| fs::symlink_metadata(path).unwrap());
    assert_eq!(Facts::of(one, &metas[0]), Facts::of(other, &metas[1]), "{one:?}");
    assert!(inodes.agree(&metas[0], &metas[1]), "{one:?} is linked with other names");
    if metas[0].is_dir() {
        compare_below(one, other, inodes);
    } else if metas[0].is_file() {
        assert!(fs::read(one).unwrap() == fs::read(other).unwrap(), "bytes of {one:?}");
        let data = [data(one), data(other)];
        assert!(data[0].abs_diff(data[1]) <= HOLES_LOST_MAX, "bytes of {one:?} that are no holes: {data:?}");
    }
}

/// What a name tells without being opened.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    /// Kind and permissions, as in `ls -l`.
    mode: String,
    owner: (u32, u32),
    modified: (i64, i64),
    /// Of a directory this is the file system's business.
    len: Option<u64>,
    device: u64,
    target: Option<PathBuf>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

impl Facts {
    fn of(path: &Path, meta: &Metadata) -> Self {
        Self {
            mode: format!("{:o}", meta.mode()),
            owner: (meta.uid(), meta.gid()),
            modified: (meta.mtime(), meta.mtime_nsec()),
            len: (!meta.is_dir()).then_some(meta.len()),
            device: meta.rdev(),
            target: meta.is_symlink().then(|| fs::read_link(path).unwrap()),
            xattrs: xattrs(path),
        }
    }
}

/// The kernel's largest list of names, and its largest value.
const XATTR_MAX: usize = 64 << 10;

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut buffer = vec![0; XATTR_MAX];
    let len = match llistxattr(path, &mut buffer[..]) {
        Err(Errno::NOTSUP) => return BTreeMap::new(),
        other => other.unwrap(),
    };
    let listed = buffer[..len].to_vec();
    let names = listed.split(|b| *b == 0).filter(|name| !name.is_empty());
    let mut with_value = |name: &[u8]| {
        let len = lgetxattr(path, name, &mut buffer[..]).unwrap();
        (name.escape_ascii().to_string(), buffer[..len].to_vec())
    };
    names.map(&mut with_value).collect()
}

/// A file that has as many blocks as it has bytes is taken to have no holes, and a block of attributes
/// counts, too: so much may be zeros in one place and a hole in the other.
const HOLES_LOST_MAX: u64 = 8 << 10;

/// How many bytes of a file are not in holes.
fn data(path: &Path) -> u64 {
    let file = File::open(path).unwrap();
    let (mut sum, mut at) = (0, 0);
    while let Ok(begin) = seek(&file, SeekFrom::Data(at)) {
        // There is always a hole at the end.
        at = seek(&file, SeekFrom::Hole(begin)).unwrap();
        sum += at - begin;
    }
    sum
}

/// As `cp -a` does it.
pub fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").args([&from.join("."), to]).status();
    assert!(copied.unwrap().success(), "{from:?}");
}
