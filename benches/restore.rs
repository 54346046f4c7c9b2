//! How long a restore takes, into an empty target and over what is there already; and a check that reads all.

mod common;
mod corpus;
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;

use common::{median, tell};
use corpus::Corpus;
use orlop::ops::backup::BackupOptions;
use orlop::ops::check::Data;
use orlop::ops::restore::{RestoreOptions, restore};
use orlop::repo::Repository;
use orlop::storage::{LocalStorage, Storage};

fn restored(repo: &mut Repository, target: &Path) {
    let snapshots = repo.snapshots(&|name, e| panic!("{name}: {e}")).unwrap();
    let (done, ears) =
        support::listening(|cx| restore(repo, &snapshots[0], None, target, &RestoreOptions::default(), cx));
    done.unwrap();
    assert_eq!(*ears.problems.lock().unwrap(), Vec::<String>::new());
}

fn run(Corpus { name, dir, bytes }: &Corpus) {
    let place = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(&place.path().join("repo")).unwrap());
    support::init(&storage);
    let options = BackupOptions { about: support::small_packs().about, ..BackupOptions::default() };
    support::back_up(&mut support::open(&storage), dir.path(), &options);
    let mut n = 0;
    let fresh = || {
        n += 1;
        (support::open(&storage), place.path().join(format!("out{n}")))
    };
    let time = median(3, fresh, |(mut repo, target)| restored(&mut repo, &target));
    tell(&format!("restore, {name}"), time, *bytes);
    let there = || (support::open(&storage), place.path().join("out1"));
    let time = median(3, there, |(mut repo, target)| restored(&mut repo, &target));
    tell(&format!("restore over the same, {name}"), time, *bytes);
    let time = median(
        3,
        || support::open(&storage),
        |mut repo| {
            assert_eq!(support::check(&mut repo, Data::All).0.errors, 0);
        },
    );
    tell(&format!("check --read-data, {name}"), time, *bytes);
}

fn main() {
    corpus::both().iter().for_each(|corpus| run(&corpus()));
}
