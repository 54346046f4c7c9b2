//! What every storage promises, as one suite: a storage that passes is a storage.

use crate::storage::{Draft, Listed, Name, Put, Storage, StorageError, StorageErrorKind};
use std::sync::Barrier;

/// Check every promise of [`Storage`]; panics at the first that is broken.
///
/// `make` gives a new and empty storage each time.
pub fn contract(make: &dyn Fn() -> Box<dyn Storage>) {
    contract_without_races(make);
    a_name_is_taken_by_one_of_many(&*make());
}

/// The same but for what only an exclusive storage can promise.
pub fn contract_without_races(make: &dyn Fn() -> Box<dyn Storage>) {
    for promise in PROMISES {
        promise(&*make());
    }
}

const PROMISES: [fn(&dyn Storage); 14] = [
    what_is_put_can_be_got,
    a_missing_object_is_missing,
    empty_objects_are_objects,
    a_name_is_taken_once,
    get_refuses_what_is_too_long,
    ranges_are_exact_or_fail,
    listings_are_sorted_and_complete,
    listings_refuse_what_is_no_prefix,
    deleted_objects_are_gone,
    names_can_come_back,
    heal_replaces,
    drafts_are_invisible_until_published,
    drafts_take_a_name_once,
    large_drafts_are_whole,
];

const ANY_LENGTH: u64 = u64::MAX;

fn name(text: &str) -> Name {
    Name::new(text).expect("tests use names that are names")
}

#[track_caller]
fn put(s: &dyn Storage, text: &str, bytes: &[u8]) {
    let put = s.put_new(&name(text), bytes).expect("put_new works");
    assert_eq!(put, Put::Created, "{text} is new");
}

#[track_caller]
fn assert_holds(s: &dyn Storage, text: &str, bytes: &[u8]) {
    let got = s.get(&name(text), ANY_LENGTH).expect("the object is there");
    assert!(got == bytes, "{text} has the bytes that were put");
    let len = s.head(&name(text)).expect("head works");
    assert_eq!(len, Some(bytes.len() as u64), "head of {text}");
}

#[track_caller]
fn assert_kind<T>(result: Result<T, StorageError>, kind: StorageErrorKind) {
    match result {
        Ok(_) => panic!("it worked, an error of kind {kind:?} was expected"),
        Err(e) => assert_eq!(e.kind, kind, "{e}: {}", e.source),
    }
}

fn names(listed: &[Listed]) -> Vec<&str> {
    listed.iter().map(|l| l.name.as_str()).collect()
}

#[track_caller]
fn list(s: &dyn Storage, prefix: &str) -> Vec<Listed> {
    s.list(prefix).expect("list works")
}

fn what_is_put_can_be_got(s: &dyn Storage) {
    put(s, "config/00000001", b"hello");
    put(s, "packs/ab/ab12.0011aabb", &[7; 100_000]);
    put(s, "copy/snapshots/someone/1", b"four deep");
    put(s, "alone", b"one deep");
    assert_holds(s, "config/00000001", b"hello");
    assert_holds(s, "packs/ab/ab12.0011aabb", &[7; 100_000]);
    assert_holds(s, "copy/snapshots/someone/1", b"four deep");
    assert_holds(s, "alone", b"one deep");
}

fn a_missing_object_is_missing(s: &dyn Storage) {
    put(s, "packs/ab/there", b"x");
    for missing in ["packs/ab/not", "packs/cd/not", "not/at/all", "not"] {
        let missing = name(missing);
        assert_eq!(s.head(&missing).expect("head works"), None);
        assert_kind(s.get(&missing, ANY_LENGTH), StorageErrorKind::NotFound);
        let range = s.get_range(&missing, 0, &mut [0; 1]);
        assert_kind(range, StorageErrorKind::NotFound);
    }
    // A directory, where there are any, is no object.
    assert_eq!(s.head(&name("packs/ab")).expect("head works"), None);
}

fn empty_objects_are_objects(s: &dyn Storage) {
    put(s, "markers/nothing", b"");
    assert_holds(s, "markers/nothing", b"");
    let marker = name("markers/nothing");
    assert_eq!(s.get(&marker, 0).expect("nothing is within 0"), b"");
    s.get_range(&marker, 0, &mut []).expect("nothing is there");
    assert_kind(s.get_range(&marker, 0, &mut [0]), StorageErrorKind::Length);
    assert_eq!(names(&list(s, "markers/")), ["markers/nothing"]);
    let again = s.put_new(&marker, b"something").expect("put_new works");
    assert_eq!(again, Put::Exists, "an empty object has its name");
    let draft = s.draft().expect("draft works");
    let put = draft.publish(&name("markers/drafted")).expect("publishes");
    assert_eq!(put, Put::Created);
    assert_holds(s, "markers/drafted", b"");
}

fn a_name_is_taken_once(s: &dyn Storage) {
    put(s, "snapshots/me/1", b"first");
    for bytes in [&b"second, and longer"[..], b"first", b""] {
        let again = s.put_new(&name("snapshots/me/1"), bytes);
        assert_eq!(again.expect("put_new works"), Put::Exists);
        assert_holds(s, "snapshots/me/1", b"first");
    }
}

fn a_name_is_taken_by_one_of_many(s: &dyn Storage) {
    const WRITERS: usize = 8;
    for round in 0..8 {
        // A new directory each time: making it is part of the race.
        let taken = name(&format!("gc/{round}/record"));
        let start = Barrier::new(WRITERS);
        let write = |writer: usize| {
            let bytes = vec![writer as u8; 10_000];
            start.wait();
            // Half of them by drafts.
            let put = if writer.is_multiple_of(2) {
                s.put_new(&taken, &bytes)
            } else {
                drafted(s, &[&bytes]).publish(&taken)
            };
            put.expect("one of many works, too")
        };
        let created: Vec<usize> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || (writer, write(writer)))).collect();
            let puts = writers.into_iter().map(|w| w.join().expect("no panic"));
            let created = puts.filter(|(_, put)| *put == Put::Created);
            created.map(|(writer, _)| writer).collect()
        });
        assert_eq!(created.len(), 1, "created by exactly one");
        assert_holds(s, taken.as_str(), &vec![created[0] as u8; 10_000]);
    }
}

fn get_refuses_what_is_too_long(s: &dyn Storage) {
    put(s, "index/ten", b"0123456789");
    let ten = name("index/ten");
    assert_eq!(s.get(&ten, 10).expect("ten is within ten"), b"0123456789");
    assert_kind(s.get(&ten, 9), StorageErrorKind::Length);
    assert_kind(s.get(&ten, 0), StorageErrorKind::Length);
}

fn ranges_are_exact_or_fail(s: &dyn Storage) {
    // Longer than what is read past a page cache at once.
    const LEN: usize = 2_300_000;
    let bytes: Vec<u8> = (0..=250).cycle().take(LEN).collect();
    put(s, "packs/00/pack", &bytes);
    let pack = name("packs/00/pack");
    for (offset, len) in [(0, LEN), (0, 1), (LEN - 1, 1), (1234, 50_000), (4321, 2_200_000), (LEN, 0)] {
        let mut into = vec![0; len];
        s.get_range(&pack, offset as u64, &mut into).expect("a range");
        assert!(into == bytes[offset..offset + len], "{offset} + {len}");
    }
    for (offset, len) in [(0, LEN + 1), (LEN as u64, 1), (LEN as u64 + 1, 0), (u64::MAX, 1), (u64::MAX, 0)] {
        let range = s.get_range(&pack, offset, &mut vec![0; len]);
        assert_kind(range, StorageErrorKind::Length);
    }
}

fn listings_are_sorted_and_complete(s: &dyn Storage) {
    // `a-b` sorts between `a` and `a/`, and must not be taken for something below `a`.
    let all = ["a-b/x", "a.b", "a/b/c/d", "a/b/x", "a/x", "ab/x", "b"];
    assert!(list(s, "").is_empty() && list(s, "a/").is_empty());
    for (i, text) in all.iter().enumerate().rev() {
        put(s, text, &vec![0; i]);
    }
    let mut sorted = all;
    sorted.sort_unstable();
    let listed = list(s, "");
    assert_eq!(names(&listed), sorted);
    for l in &listed {
        let i = all.iter().position(|text| *text == l.name.as_str());
        assert_eq!(Some(l.len), i.map(|i| i as u64), "length of {}", l.name);
    }
    assert_eq!(names(&list(s, "a/")), ["a/b/c/d", "a/b/x", "a/x"]);
    assert_eq!(names(&list(s, "a/b/")), ["a/b/c/d", "a/b/x"]);
    assert_eq!(names(&list(s, "a/b/c/")), ["a/b/c/d"]);
    assert!(list(s, "c/").is_empty() && list(s, "a/c/").is_empty());
}

fn listings_refuse_what_is_no_prefix(s: &dyn Storage) {
    put(s, "a/x", b"");
    for prefix in ["a", "/", "../", "a/../", ".tmp/", "a//", "/a/", "A/"] {
        assert!(s.list(prefix).is_err(), "{prefix:?} is no prefix");
    }
}

fn deleted_objects_are_gone(s: &dyn Storage) {
    put(s, "sessions/1/open", b"x");
    put(s, "sessions/1/close", b"y");
    // Read a piece first, so that a storage that holds objects open is caught.
    let open = name("sessions/1/open");
    s.get_range(&open, 0, &mut [0]).expect("a range");
    s.delete(&open).expect("delete works");
    assert_eq!(s.head(&open).expect("head works"), None);
    assert_kind(s.get(&open, ANY_LENGTH), StorageErrorKind::NotFound);
    let range = s.get_range(&open, 0, &mut [0]);
    assert_kind(range, StorageErrorKind::NotFound);
    assert_eq!(names(&list(s, "sessions/")), ["sessions/1/close"]);
    for missing in ["sessions/1/open", "sessions/2/open", "never", "never/ever"] {
        s.delete(&name(missing)).expect("a missing one is fine");
    }
}

fn names_can_come_back(s: &dyn Storage) {
    put(s, "packs/ab/x", b"content");
    s.get_range(&name("packs/ab/x"), 0, &mut [0; 7]).expect("a range");
    s.delete(&name("packs/ab/x")).expect("delete works");
    put(s, "packs/ab/x", b"content");
    assert_holds(s, "packs/ab/x", b"content");
}

fn heal_replaces(s: &dyn Storage) {
    put(s, "packs/ab/x", b"dAmaged!");
    let healed = name("packs/ab/x");
    let mut into = [0; 2];
    s.get_range(&healed, 0, &mut into).expect("a range");
    s.heal(&healed, b"damaged no more").expect("heal works");
    assert_holds(s, "packs/ab/x", b"damaged no more");
    s.get_range(&healed, 0, &mut into).expect("a range");
    assert_eq!(&into, b"da", "not what was there before");
    s.heal(&name("packs/cd/lost"), b"found").expect("heal works");
    assert_holds(s, "packs/cd/lost", b"found");
    assert_eq!(names(&list(s, "")), ["packs/ab/x", "packs/cd/lost"]);
}

#[track_caller]
fn drafted(s: &dyn Storage, pieces: &[&[u8]]) -> Box<dyn Draft> {
    let mut draft = s.draft().expect("draft works");
    for piece in pieces {
        draft.write(piece).expect("writing works");
    }
    draft
}

fn drafts_are_invisible_until_published(s: &dyn Storage) {
    let draft = drafted(s, &[b"in ", b"", b"pieces"]);
    assert!(list(s, "").is_empty(), "a draft is not listed");
    let put = draft.publish(&name("packs/ab/x")).expect("publishes");
    assert_eq!(put, Put::Created);
    assert_holds(s, "packs/ab/x", b"in pieces");
    drop(drafted(s, &[b"never mind"]));
    assert_eq!(names(&list(s, "")), ["packs/ab/x"], "nothing is left");
}

fn drafts_take_a_name_once(s: &dyn Storage) {
    let (one, two) = (drafted(s, &[b"one"]), drafted(s, &[b"two"]));
    let taken = name("packs/ab/x");
    assert_eq!(two.publish(&taken).expect("publishes"), Put::Created);
    assert_eq!(one.publish(&taken).expect("publishes"), Put::Exists);
    assert_holds(s, "packs/ab/x", b"two");
    let put = s.put_new(&taken, b"three").expect("put_new works");
    assert_eq!(put, Put::Exists);
    assert_eq!(names(&list(s, "")), ["packs/ab/x"]);
}

fn large_drafts_are_whole(s: &dyn Storage) {
    let piece = |i: u32| -> Vec<u8> {
        let len = [1, 4_000, 255 << 10, 256 << 10, 1 << 20][i as usize % 5];
        (0..len as u32).map(|j| (i * 31 + j % 241) as u8).collect()
    };
    let pieces: Vec<Vec<u8>> = (0..40).map(piece).collect();
    let slices: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    let put = drafted(s, &slices).publish(&name("packs/ab/big"));
    assert_eq!(put.expect("publishes"), Put::Created);
    assert_holds(s, "packs/ab/big", &pieces.concat());
}
