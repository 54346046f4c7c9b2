//! How much is read to answer a question: each page once, whatever the number of snapshots.

mod support;

use std::fs;

use orlop::event::{Context, Meter, Quiet};
use orlop::model::Node;
use orlop::ops::find::{Finder, Query};
use orlop::plan::filter::{Case, Origin, Patterns};
use orlop::repo::Reader;
use support::*;

#[test]
fn a_page_that_snapshots_share_is_read_once() {
    let (_, storage) = fresh();
    let dir = tempfile::tempdir().unwrap();
    for i in 0..40 {
        fs::create_dir_all(dir.path().join(format!("d{i:02}"))).unwrap();
        for j in 0..5 {
            fs::write(dir.path().join(format!("d{i:02}/f{j}")), b"x").unwrap();
        }
    }
    settle();
    let mut repo = open(&storage);
    for n in 0..5 {
        fs::write(dir.path().join("d07/changing"), [n]).unwrap();
        settle();
        back_up(&mut repo, dir.path(), &small_packs());
    }
    let index = repo.load_index(&|_, e| panic!("{e}")).unwrap();
    let reader = Reader::new(&repo, &index);
    let (meter, stop) = (Meter::default(), std::sync::atomic::AtomicBool::new(false));
    let cx = Context { observer: &Quiet, meter: &meter, cancel: &stop };
    let patterns = Patterns::compile([(b"f3".to_vec(), Origin::Flag("find"))], Case::Sensitive).unwrap();
    let query = Query { patterns, ..Query::default() };
    let mut finder = Finder::new(&reader, &query, &cx);
    let mut pages = Vec::new();
    for snapshot in repo.snapshots(&|_, e| panic!("{e}")).unwrap() {
        let (mut hits, before) = (0, finder.pages);
        let mut take = |path: &[u8], node: &Node| {
            assert!(path.ends_with(b"/f3") && node.name == b"f3");
            hits += 1;
            Ok(())
        };
        finder.snapshot(snapshot.statement.root, &mut take).unwrap();
        assert_eq!(hits, 40);
        pages.push(finder.pages - before);
    }
    assert!(pages[0] >= 41, "{pages:?}");
    // What is new in the others: the changed directory and those above it.
    assert!(pages[1..].iter().all(|read| *read <= 12), "{pages:?}");
}
