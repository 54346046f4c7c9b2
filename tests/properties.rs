//! Properties: any tree comes back, history leaves no trace, and the parts agree with simple models.

mod support;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fs;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use orlop::chunk::{Chunker, Gear};
use orlop::crypto::{BlobKeys, Secret};
use orlop::format::pack::{Codec, FrameEntry, Header, Kind};
use orlop::format::page::{Builder, ListChild, Page};
use orlop::format::records::Profile;
use orlop::format::segment::{Head, PackEntry, Row, Segment};
use orlop::id::{BlobId, ClientId, DomainId, PackId, RecordId, SessionId};
use orlop::index::{Index, Location, short};
use orlop::model::{Content, Extent, NodeKind, PageRef};
use orlop::ops::backup::{BackupOptions, Parent};
use orlop::repo::{Entries, Reader, Repository};
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, XattrFlags, llistxattr_query};
use rustix::io::Errno;
use support::alike::{assert_alike, copy};
use support::dice::Dice;
use support::*;

/// Lengths at which something changes: inline or not, and the sizes of profile 2.
const LENGTHS: [usize; 17] =
    [0, 1, 510, 511, 512, 513, 4095, 4096, 4097, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 131_072, 300_001];

/// Seconds from when and until when ext4 can say when something was changed: from 1901 to 2446.
const SECONDS: std::ops::Range<i64> = -2_147_483_647..15_032_385_000;

#[derive(Debug, Clone)]
struct Entry {
    what: What,
    mode: u32,
    modified: (i64, i64),
    /// Names without `user.`, and how long the values are.
    xattrs: BTreeMap<Vec<u8>, usize>,
}

#[derive(Debug, Clone)]
enum What {
    Noise(usize, u64),
    Pattern(usize, u8),
    Holes(usize),
    Symlink(Vec<u8>),
    Fifo,
    /// One more name of something that was made before.
    Again(usize),
    Dir(Tree),
}

type Tree = BTreeMap<Vec<u8>, Entry>;

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => b'a'..=b'f', 1 => 1u8..=255].prop_map(|b| if b == b'/' { b'_' } else { b });
    proptest::collection::vec(byte, 1..12).prop_filter("not . or ..", |n| n != b"." && n != b"..")
}

fn modified() -> impl Strategy<Value = (i64, i64)> {
    let seconds = prop_oneof![SECONDS.start..0, 0..1i64 << 31, 1i64 << 31..SECONDS.end];
    (seconds, 0i64..1_000_000_000)
}

fn xattrs() -> impl Strategy<Value = BTreeMap<Vec<u8>, usize>> {
    let len = proptest::sample::select(&[0, 1, 100, 1024, 1025, 2000][..]);
    prop_oneof![
        3 => Just(BTreeMap::new()),
        1 => proptest::collection::btree_map(name(), len, 1..3),
    ]
}

/// Something of this kind, with permissions that leave its owner the right to read it. Only root gets back
/// what makes a program run as somebody else.
fn entry(what: impl Strategy<Value = What>) -> impl Strategy<Value = Entry> {
    let most = if rustix::process::geteuid().is_root() { 0o7777 } else { 0o1777 };
    (what, 0u32..=most, modified(), xattrs()).prop_map(|(what, mode, modified, xattrs)| {
        let mode = mode | if matches!(what, What::Dir(_)) { 0o700 } else { 0o400 };
        Entry { what, mode, modified, xattrs }
    })
}

fn leaf() -> impl Strategy<Value = What> {
    let len = proptest::sample::select(&LENGTHS[..]);
    prop_oneof![
        4 => (len.clone(), 0u64..20).prop_map(|(n, seed)| What::Noise(n, seed)),
        2 => (len.clone(), any::<u8>()).prop_map(|(n, b)| What::Pattern(n, b)),
        1 => len.prop_map(What::Holes),
        1 => proptest::collection::vec(1u8..=255, 1..40).prop_map(What::Symlink),
        1 => Just(What::Fifo),
        2 => any::<usize>().prop_map(What::Again),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let dir = |inner| entry(proptest::collection::btree_map(name(), inner, 0..8).prop_map(What::Dir));
    let any = entry(leaf()).prop_recursive(3, 24, 8, dir);
    proptest::collection::btree_map(name(), any, 0..10)
}

fn at(dir: &Path, name: &[u8]) -> PathBuf {
    dir.join(PathBuf::from(std::ffi::OsString::from_vec(name.to_vec())))
}

fn clear(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(m) if m.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Make a tree in a directory, over whatever is there. `made` is all but directories that this made
/// already.
fn make(dir: &Path, tree: &Tree, made: &mut Vec<PathBuf>) {
    for (name, entry) in tree {
        let path = at(dir, name);
        match &entry.what {
            What::Dir(below) => {
                if !fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir()) {
                    clear(&path);
                    fs::create_dir(&path).unwrap();
                }
                make(&path, below, made);
                dress(&path, entry);
            }
            What::Again(n) => {
                clear(&path);
                if let Some(first) = made.get(n % made.len().max(1)) {
                    fs::hard_link(first, &path).unwrap();
                    made.push(path);
                }
            }
            leaf => {
                clear(&path);
                make_leaf(&path, leaf);
                dress(&path, entry);
                made.push(path);
            }
        }
    }
}

fn make_leaf(path: &Path, leaf: &What) {
    match leaf {
        What::Noise(n, seed) => fs::write(path, noise(*n, *seed)).unwrap(),
        What::Pattern(n, b) => fs::write(path, vec![*b; *n]).unwrap(),
        What::Symlink(target) => symlink(std::ffi::OsString::from_vec(target.clone()), path).unwrap(),
        What::Fifo => rustix::fs::mkfifoat(CWD, path, Mode::RWXU).unwrap(),
        What::Holes(n) => {
            let file = fs::File::create(path).unwrap();
            file.set_len(*n as u64 * 3).unwrap();
            file.write_all_at(&noise(*n, 3), *n as u64).unwrap();
        }
        What::Dir(_) | What::Again(_) => unreachable!("these are no leaves"),
    }
}

/// Attributes, permissions and times, in an order in which none undoes another.
fn dress(path: &Path, entry: &Entry) {
    if !matches!(entry.what, What::Symlink(_) | What::Fifo) {
        entry.xattrs.iter().for_each(|(name, len)| set_xattr(path, name, *len));
    }
    if !matches!(entry.what, What::Symlink(_)) {
        fs::set_permissions(path, fs::Permissions::from_mode(entry.mode)).unwrap();
    }
    set_time(path, entry.modified);
}

fn set_time(path: &Path, (tv_sec, tv_nsec): (i64, i64)) {
    let modified = Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: modified, last_modification: modified };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_xattr(path: &Path, name: &[u8], len: usize) {
    let name = [b"user.", name].concat();
    match rustix::fs::lsetxattr(path, name.as_slice(), &noise(len, len as u64), XattrFlags::empty()) {
        Err(Errno::NOTSUP) => println!("skipped: no attributes can be kept in {}", path.display()),
        // One block is all the room there may be, and the first tree left some of its own.
        Err(Errno::NOSPC) => {}
        other => other.unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_and_its_history_leaves_no_trace(first in tree(), second in tree(), removed in any::<u8>()) {
        let dir = tempfile::tempdir().unwrap();
        let (_, storage) = fresh();
        let mut repo = open(&storage);
        make(dir.path(), &first, &mut vec![]);
        let done = back_up(&mut repo, dir.path(), &small_packs());
        assert_restores(&repo, done.snapshot.unwrap(), dir.path());
        // Other things over it, and some of it away.
        make(dir.path(), &second, &mut vec![]);
        for (i, name) in first.keys().enumerate() {
            if removed >> (i % 8) & 1 == 1 {
                clear(&at(dir.path(), name));
            }
        }
        settle();
        let after = back_up(&mut repo, dir.path(), &small_packs());
        assert_restores(&repo, after.snapshot.unwrap(), dir.path());
        let alone = BackupOptions { parent: Parent::None, force: true, ..small_packs() };
        let alone = back_up(&mut repo, dir.path(), &alone);
        let root = |id: Option<RecordId>| root_of(&repo, id.unwrap(), dir.path());
        prop_assert_eq!(root(after.snapshot), root(alone.snapshot));
        prop_assert_eq!(alone.stats.data_blobs, 0);
        let same = back_up(&mut repo, dir.path(), &small_packs());
        prop_assert_eq!(same.stats.files_new + same.stats.files_changed, 0);
        assert_sound(&mut repo);
        assert_nothing_twice(&repo);
    }

    #[test]
    fn the_index_is_a_map(segments in proptest::collection::vec(proptest::collection::vec(0u16..400, 1..60), 1..30)) {
        let (mut index, mut model) = (Index::default(), HashMap::<u16, Vec<(PackId, u16)>>::new());
        for (n, blobs) in segments.iter().enumerate() {
            let (segment, pack) = segment(n as u32, blobs);
            for (ordinal, blob) in blobs.iter().enumerate() {
                model.entry(*blob).or_default().push((pack, ordinal as u16));
            }
            index.add(&segment).unwrap();
            // Whoever lists twice learns nothing new.
            if n % 3 == 0 {
                index.add(&segment).unwrap();
            }
        }
        for blob in 0..400 {
            let found = index.find_all(&blob_id(blob)).unwrap();
            let mut found: Vec<_> =
                found.iter().map(|at| (index.pack(index.frame(at.frame).pack).id, at.ordinal)).collect();
            let mut expected = model.remove(&blob).unwrap_or_default();
            prop_assert_eq!(index.find(&blob_id(blob)).unwrap().is_some(), !expected.is_empty());
            found.sort();
            found.dedup();
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_chunker_cuts_where_the_specification_says(
        seed in any::<u64>(), len in 0usize..400_000, zeros in 0usize..200_000, profile in 0usize..2,
    ) {
        let keys = BlobKeys::new(&Secret::new([1; 32]), &Secret::new([seed as u8; 32]));
        let (profile, strict, loose) = [
            (Profile { id: 2, chunker: 1, min: 4096, avg: 16_384, max: 65_536, frame: 0 },
                0x0000_d90f_0353_0000, 0x0000_d903_0353_0000),
            (Profile { id: 1, chunker: 1, min: 16_384, avg: 65_536, max: 262_144, frame: 0 },
                0x0000_d907_0353_7000, 0x0000_d90f_0353_0000),
        ][profile];
        let gear = Gear::new(&keys);
        let chunker = Chunker::new(&gear, &profile);
        let mut data = noise(len, seed);
        let middle = len / 2;
        data.splice(middle..middle, vec![0; zeros]);
        let mut rest = &data[..];
        while !rest.is_empty() {
            let expected = naive_cut(rest, &profile, strict, loose, &keys.gear_table());
            prop_assert_eq!(chunker.cut(rest, true), Some(expected));
            rest = &rest[expected..];
        }
    }
}

/// The judge of these tests is tested, too: it sees each thing in which two trees can differ, alone.
#[test]
fn trees_that_differ_in_anything_are_not_alike() {
    let one = tempfile::tempdir().unwrap();
    let at = |name: &str| one.path().join(name);
    ["linked", "other"].iter().for_each(|name| fs::write(at(name), "equal").unwrap());
    fs::write(at("holes"), vec![0; 64 << 10]).unwrap();
    fs::hard_link(at("linked"), at("again")).unwrap();
    symlink("linked", at("link")).unwrap();
    make_leaf(&at("fifo"), &What::Fifo);
    let copied = || {
        let copied = tempfile::tempdir().unwrap();
        copy(one.path(), copied.path());
        copied
    };
    assert_alike(one.path(), copied().path());
    for (what, alter) in ALTERATIONS {
        let altered = copied();
        alter(altered.path());
        if *what == "attribute" && !llistxattr_query(altered.path().join("other")).is_ok_and(|len| len > 0) {
            continue; // None can be kept here.
        }
        // All of them change times, one on purpose.
        if *what != "time" {
            touch_like(one.path(), altered.path());
        }
        let judged = std::panic::catch_unwind(|| assert_alike(one.path(), altered.path()));
        assert!(judged.is_err(), "another {what} is not seen");
    }
}

type Alteration = (&'static str, fn(&Path));

const ALTERATIONS: &[Alteration] = &[
    ("content", |d| fs::write(d.join("other"), "EQUAL").unwrap()),
    ("length", |d| fs::write(d.join("other"), "equal\0").unwrap()),
    ("name", |d| fs::rename(d.join("other"), d.join("another")).unwrap()),
    ("mode", |d| fs::set_permissions(d.join("other"), fs::Permissions::from_mode(0o4640)).unwrap()),
    ("time", |d| set_time(&d.join("other"), (1, 1))),
    ("attribute", |d| set_xattr(&d.join("other"), b"a", 1)),
    ("target", |d| replace(&d.join("link"), |path| symlink("LINKED", path).unwrap())),
    ("kind", |d| replace(&d.join("fifo"), |path| fs::write(path, "").unwrap())),
    ("inode", |d| replace(&d.join("again"), |path| fs::write(path, "equal").unwrap())),
    ("link", |d| replace(&d.join("other"), |path| fs::hard_link(d.join("linked"), path).unwrap())),
    ("hole", |d| replace(&d.join("holes"), |path| fs::File::create(path).unwrap().set_len(64 << 10).unwrap())),
];

/// What has a name in both has the times of the model.
fn touch_like(model: &Path, dir: &Path) {
    for name in fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()) {
        if fs::symlink_metadata(model.join(&name)).is_ok() {
            let touched = Command::new("touch").args(["-h", "-r"]).args([model.join(&name), dir.join(&name)]).status();
            assert!(touched.unwrap().success());
        }
    }
}

fn replace(path: &Path, by: impl FnOnce(&Path)) {
    clear(path);
    by(path);
}

/// How many extents a list may have at first: enough for pages of pages of pages.
const EXTENTS_MAX: usize = 12_000;

/// At a place in a list, so many extents go and so many others come.
#[derive(Debug, Clone)]
struct Splice {
    at: usize,
    gone: usize,
    new: usize,
    seed: u64,
}

fn splice() -> impl Strategy<Value = Splice> {
    (any::<usize>(), 0usize..300, 0usize..300, any::<u64>()).prop_map(|(at, gone, new, seed)| Splice {
        at,
        gone,
        new,
        seed,
    })
}

impl Splice {
    fn apply(&self, list: &mut Vec<Extent>, variety: u64) {
        let begin = self.at % (list.len() + 1);
        let end = (begin + self.gone).min(list.len());
        list.splice(begin..end, extents(self.new, self.seed, variety));
        *list = joined(list);
    }
}

/// So many extents, as `variety` different chunks and some holes.
fn extents(count: usize, seed: u64, variety: u64) -> Vec<Extent> {
    let mut dice = Dice(seed);
    let extent = |_| match dice.roll(8) {
        0 => Extent::Hole { len: 1 + dice.roll(1 << 20) },
        1 => Extent::Data { id: blob_id(dice.roll(variety) as u16), len: 16_384, repeat: 1 + dice.roll(3) as u32 },
        _ => Extent::Data { id: blob_id(dice.roll(variety) as u16), len: 16_384, repeat: 1 },
    };
    (0..count).map(extent).collect()
}

/// Neighbours that can be one are one.
fn joined(list: &[Extent]) -> Vec<Extent> {
    let mut out = Vec::<Extent>::new();
    for extent in list {
        match (out.last_mut(), extent) {
            (Some(Extent::Hole { len }), Extent::Hole { len: more }) => *len += more,
            (Some(Extent::Data { id, repeat, .. }), Extent::Data { id: same, repeat: more, .. }) if id == same => {
                *repeat += more;
            }
            _ => out.push(*extent),
        }
    }
    out
}

/// Pages by their ids, as a repository keeps them.
type Pages = HashMap<BlobId, Vec<u8>>;

fn built(keys: &BlobKeys, list: &[Extent], pages: &mut Pages) -> Option<PageRef> {
    let mut emit = |bytes: Vec<u8>| {
        let id = keys.page_id(&bytes);
        pages.insert(id, bytes);
        Ok::<_, Infallible>(id)
    };
    let mut builder = Builder::list(keys);
    list.iter().for_each(|extent| builder.extent(extent, &mut emit).unwrap());
    builder.finish(&mut emit).unwrap()
}

/// What is below a page, and that the page says so.
fn read_back(pages: &Pages, at: &PageRef) -> Vec<Extent> {
    let page = Page::decode(&pages[&at.id]).unwrap();
    assert_eq!(page.level(), at.level);
    let list = match page {
        Page::List(extents) => extents,
        Page::ListInner(level, children) => children.iter().flat_map(|c| read_back(pages, &c.below(level))).collect(),
        other => panic!("{other:?} is no page of a list"),
    };
    assert_eq!((list.len() as u64, list.iter().map(Extent::bytes).sum::<u64>()), (at.entries, at.bytes));
    list
}

/// The root of a list by `format-spec/60-tree.md`, literally: a level is there as a whole, and is cut,
/// before the one above begins. That a page may become too long is left out, as no page of a list does.
fn naive_root(keys: &BlobKeys, list: &[Extent]) -> Option<PageRef> {
    let key_of = |extent: &Extent| match extent {
        Extent::Data { id, .. } => Some(*id),
        Extent::Hole { .. } => None,
    };
    let leaf = |extents: &[Extent]| {
        let (entries, bytes) = (extents.len() as u64, extents.iter().map(Extent::bytes).sum());
        let id = keys.page_id(&Page::List(extents.to_vec()).encode());
        (ListChild { id, entries, bytes }, extents.last().and_then(key_of))
    };
    let keyed: Vec<_> = list.iter().map(key_of).collect();
    let mut level = 0;
    let mut pages: Vec<_> = naive_pages(keys, level, &keyed).into_iter().map(|range| leaf(&list[range])).collect();
    while pages.len() > 1 {
        level += 1;
        let keyed: Vec<_> = pages.iter().map(|(_, key)| *key).collect();
        let above = |range: Range<usize>| {
            let children: Vec<_> = pages[range.clone()].iter().map(|(child, _)| child.clone()).collect();
            let sum = |count: fn(&ListChild) -> u64| children.iter().map(count).sum();
            let (entries, bytes) = (sum(|c| c.entries), sum(|c| c.bytes));
            let id = keys.page_id(&Page::ListInner(level, children).encode());
            (ListChild { id, entries, bytes }, keyed[range.end - 1])
        };
        pages = naive_pages(keys, level, &keyed).into_iter().map(above).collect();
    }
    pages.pop().map(|(ListChild { id, entries, bytes }, _)| PageRef { id, level, entries, bytes })
}

/// Which entries of a level make up a page together, by their keys.
fn naive_pages(keys: &BlobKeys, level: u8, keyed: &[Option<BlobId>]) -> Vec<Range<usize>> {
    const LIST: u8 = 2;
    let (min, max) = if level == 0 { (64, 4096) } else { (16, 2048) };
    let (mut pages, mut begin) = (Vec::new(), 0);
    for (i, key) in keyed.iter().enumerate() {
        let count = i + 1 - begin;
        let cut = |key: &BlobId| keys.page_cut(LIST, level, &key.0) & 0x3f == 0;
        if count >= min && key.as_ref().is_some_and(cut) || count >= max || i + 1 == keyed.len() {
            pages.push(begin..i + 1);
            begin = i + 1;
        }
    }
    pages
}

/// An edit of a file: bytes go, and others come.
fn edit_bytes(content: &mut Vec<u8>, Splice { at, gone, new, seed }: &Splice) {
    // What is few for extents is nothing for bytes.
    let begin = at % (content.len() + 1);
    let end = (begin + gone * 512).min(content.len());
    content.splice(begin..end, noise(new * 512, *seed));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_content_list_is_a_vector(
        seed in any::<u64>(), count in 0..EXTENTS_MAX, variety in prop_oneof![1 => 2u64..40, 3 => Just(60_000)],
        splices in proptest::collection::vec(splice(), 0..6),
    ) {
        let keys = BlobKeys::new(&Secret::new([seed as u8; 32]), &Secret::new([1; 32]));
        let (mut model, mut pages) = (joined(&extents(count, seed, variety)), Pages::new());
        for n in 0..=splices.len() {
            let root = built(&keys, &model, &mut pages);
            prop_assert_eq!(root, naive_root(&keys, &model));
            prop_assert!(root.map_or(vec![], |root| read_back(&pages, &root)) == model);
            splices.get(n).iter().for_each(|splice| splice.apply(&mut model, variety));
        }
    }

    #[test]
    fn edits_of_a_file_leave_no_trace(len in 300_000usize..4_000_000, splices in proptest::collection::vec(splice(), 1..5)) {
        let dir = tempfile::tempdir().unwrap();
        let (_, storage) = fresh();
        let mut repo = open(&storage);
        let mut content = noise(len, 1);
        for splice in &splices {
            fs::write(dir.path().join("edited"), &content).unwrap();
            settle();
            back_up(&mut repo, dir.path(), &small_packs());
            edit_bytes(&mut content, splice);
        }
        fs::write(dir.path().join("edited"), &content).unwrap();
        settle();
        let after = back_up(&mut repo, dir.path(), &small_packs());
        let alone = back_up(&mut repo, dir.path(), &BackupOptions { parent: Parent::None, force: true, ..small_packs() });
        let root = |id: Option<RecordId>| root_of(&repo, id.unwrap(), dir.path());
        prop_assert_eq!(root(after.snapshot), root(alone.snapshot));
        prop_assert_eq!(alone.stats.data_blobs, 0);
        assert_same(&repo, after.snapshot.unwrap(), dir.path());
        assert_restores(&repo, after.snapshot.unwrap(), dir.path());
    }
}

/// `format-spec/65-chunking.md`, literally.
fn naive_cut(data: &[u8], p: &Profile, strict: u64, loose: u64, table: &[u64; 256]) -> usize {
    let (min, avg, max) = (p.min as usize, p.avg as usize, p.max as usize);
    if data.len() <= min {
        return data.len();
    }
    let end = data.len().min(max);
    let (centre, mut h) = (avg.min(end), 0u64);
    for i in min..end - end % 2 {
        h = (h << 1).wrapping_add(table[usize::from(data[i])]);
        let mask = if i < centre - centre % 2 { strict } else { loose };
        if h & mask == 0 {
            return i;
        }
    }
    end
}

fn blob_id(n: u16) -> BlobId {
    BlobId(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

/// A segment with one pack of one frame.
fn segment(n: u32, blobs: &[u16]) -> (Segment, PackId) {
    let id = PackId(*blake3::hash(&n.to_be_bytes()).as_bytes());
    let header =
        Header { suite: 1, wrap: 0, epoch: 1, session: SessionId([1; 16]), salt: [n as u8; 32], commitment: [0; 32] };
    let frames = vec![FrameEntry { stored: 4000, plain: 5000, codec: Codec::Zstd, blobs: blobs.len() as u16 }];
    let pack = PackEntry { id, uploader: [0; 4], len: 16_384, kind: Kind::Data, header, frames };
    let row = |(ordinal, blob): (usize, &u16)| Row { id: short(&blob_id(*blob)), frame: 0, ordinal: ordinal as u16 };
    let mut rows: Vec<Row> = blobs.iter().enumerate().map(row).collect();
    rows.sort();
    let head = Head {
        domain: DomainId([1; 16]),
        instance: orlop::id::InstanceId([1; 16]),
        client: ClientId([1; 16]),
        client_epoch: 1,
        session: SessionId([1; 16]),
        packs: vec![pack],
        supersedes: vec![],
        rows_hash: [0; 32],
        ext: vec![],
    };
    (Segment { head, rows }, id)
}

/// Whoever may sign one segment must not be able to hide what is in the packs of others.
#[test]
fn segments_that_contradict_each_other_hide_nothing() {
    let (good, id) = segment(1, &[1, 2]);
    let mut uploader = good.clone();
    uploader.head.packs[0].uploader = [9; 4];
    // The same bytes under another name may be there, too: a copy brings them while the first are condemned.
    for (lie, told) in [(segment(1, &[1, 2, 3]).0, vec![id]), (uploader, vec![])] {
        for turn in [[&good, &lie], [&lie, &good]] {
            let mut index = Index::default();
            let contradicted = turn.map(|s| index.add(s).unwrap());
            assert_eq!(contradicted, [vec![], told.clone()]);
            assert_eq!(index.is_disputed(&id), !told.is_empty());
            assert_eq!(index.add(&good).unwrap(), [], "it is known");
            assert_eq!(index.numbers_of(&id).len(), 2);
            let right = |at: &Location| {
                let frame = index.frame(at.frame);
                let there = (frame.entry, index.pack(frame.pack).uploader);
                there == (good.head.packs[0].frames[0], [0; 4])
            };
            for blob in [1, 2] {
                let mut all = index.find_all(&blob_id(blob)).unwrap();
                all.sort();
                all.dedup();
                assert_eq!((all.len(), all.iter().filter(|at| right(at)).count()), (2, 1));
            }
            assert_eq!(index.distrust(|p| p.id == id), 2);
            assert!(!index.contains(&blob_id(1)).unwrap());
        }
    }
}

#[test]
fn a_directory_of_100_000_entries_rewrites_a_page_a_level() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..100_000 {
        fs::File::create(dir.path().join(format!("{i:06}"))).unwrap();
    }
    settle();
    let (_, storage) = fresh();
    let mut repo = open(&storage);
    let done = back_up(&mut repo, dir.path(), &small_packs());
    assert_eq!(done.stats.files_new, 100_000);
    fs::write(dir.path().join("050000"), b"x").unwrap();
    settle();
    let done = back_up(&mut repo, dir.path(), &small_packs());
    assert_eq!((done.stats.files_changed, done.stats.files_unmodified), (1, 99_999));
    // Its own pages, level by level, and those of the directories above it.
    let above = dir.path().components().count() as u64;
    assert!(done.stats.tree_blobs <= 3 + above, "{} pages", done.stats.tree_blobs);
    assert_sound(&mut repo);
}

const EDITS: u64 = 5;

/// Writes a file of distinct chunks, edits it in one place and backs it up, some times, and gives how many chunks it
/// has and how many pages a later backup wrote for it.
fn edit_once(bytes: u64, chunking: u8) -> (u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large");
    let file = fs::File::create(&path).unwrap();
    const PIECE: u64 = 8 << 20;
    for n in 0..bytes / PIECE {
        file.write_all_at(&noise(PIECE as usize, n), n * PIECE).unwrap();
    }
    settle();
    let store = tempfile::tempdir().unwrap();
    let storage: std::sync::Arc<dyn orlop::storage::Storage> =
        std::sync::Arc::new(orlop::storage::LocalStorage::create(&store.path().join("r")).unwrap());
    init(&storage);
    let mut repo = open(&storage);
    let options = BackupOptions { chunking, pack_target: None, compression: None, ..small_packs() };
    let first = back_up(&mut repo, dir.path(), &options);
    let above = dir.path().components().count() as u64;
    // An edit may move a cut of the chunks, or their ids one of the pages: the usual one counts.
    let mut after = Vec::new();
    for n in 1..=EDITS {
        file.write_all_at(b"one edit", bytes / (EDITS + 1) * n).unwrap();
        settle();
        let stats = back_up(&mut repo, dir.path(), &options).stats;
        after.push((stats.data_blobs, stats.tree_blobs - above));
    }
    let median = |mut numbers: Vec<u64>| *numbers.select_nth_unstable(EDITS as usize / 2).1;
    let (chunks, pages) = after.into_iter().unzip();
    let chunks = median(chunks);
    assert!(chunks <= 3, "{chunks} chunks");
    (first.stats.data_blobs, median(pages))
}

#[test]
fn an_edit_of_a_large_file_rewrites_a_handful_of_pages() {
    let (chunks, pages) = edit_once(96 << 20, 2);
    println!("{chunks} chunks, {pages} pages rewritten by one edit");
    assert!(chunks > 4_000, "{chunks}");
    assert!(pages <= 4, "{pages} pages");
}

#[test]
#[ignore = "long: writes 16 GiB"]
fn an_edit_of_an_8_gib_file_rewrites_a_handful_of_pages() {
    let (chunks, pages) = edit_once(8 << 30, 2);
    println!("{chunks} chunks, {pages} pages rewritten by one edit");
    assert!(chunks >= 130_000, "{chunks}");
    assert!(pages <= 5, "{pages} pages");
}

/// The profile that the only file of a directory was cut by.
fn profile_of(repo: &Repository, id: RecordId, dir: &Path) -> u8 {
    let index = repo.load_index(&|name, e| panic!("{name}: {e}")).unwrap();
    let reader = Reader::new(repo, &index);
    let mut entries = Entries::new(&reader, root_of(repo, id, dir));
    match entries.next().unwrap().unwrap().kind {
        NodeKind::File { content: Content::Extents { profile, .. } | Content::Pages { profile, .. }, .. } => profile,
        other => panic!("{other:?}"),
    }
}

/// `--rechunk` looked only at files that had changed: whoever wanted all files cut otherwise had to
/// know that `--force` was needed, too.
#[test]
fn files_stay_cut_as_they_are_until_all_are_cut_anew() {
    let (_, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, noise(1 << 20, 1)).unwrap();
    settle();
    let mut repo = open(&storage);
    let with = |chunking, rechunk| BackupOptions { chunking, rechunk, ..small_packs() };
    let mut run = |options: BackupOptions| {
        let done = back_up(&mut repo, dir.path(), &options);
        let id = done.snapshot.unwrap();
        assert_same(&repo, id, dir.path());
        // Not the pages: what lies above the directory is everybody's, and changes.
        let added = if done.stats.data_blobs == 0 { 0 } else { done.stats.data_added };
        (profile_of(&repo, id, dir.path()), done.stats.files_unmodified, added)
    };
    assert_eq!(run(with(2, false)).0, 2);
    assert_eq!(run(with(3, false)), (2, 1, 0), "unchanged, it stays as it is");
    std::io::Write::write_all(&mut fs::OpenOptions::new().append(true).open(&path).unwrap(), &noise(9000, 2)).unwrap();
    settle();
    let (profile, unmodified, added) = run(with(3, false));
    assert_eq!((profile, unmodified), (2, 0), "appended to, it is cut as before");
    assert!(added < 300_000, "{added}");
    let (profile, unmodified, added) = run(with(3, true));
    assert_eq!((profile, unmodified), (3, 0), "cut anew, although it did not change");
    assert!(added > 900_000, "{added}");
    assert_eq!(run(with(3, true)), (3, 1, 0), "what is cut so already is not read again");
    // Nor does a new name or owner, which makes it recognized, keep it from being cut anew.
    let moved = dir.path().join("other name");
    fs::rename(&path, &moved).unwrap();
    settle();
    let (profile, unmodified, _) = run(with(3, false));
    assert_eq!((profile, unmodified), (3, 1));
    fs::rename(&moved, &path).unwrap();
    settle();
    assert_eq!(run(with(2, true)).0, 2);
}
