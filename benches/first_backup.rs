//! How long a first backup takes.

mod common;
mod corpus;
#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;

use common::{median, tell};
use corpus::Corpus;
use orlop::ops::backup::BackupOptions;
use orlop::storage::{LocalStorage, Storage};

fn run(Corpus { name, dir, bytes }: &Corpus) {
    let place = tempfile::tempdir().unwrap();
    let options = BackupOptions { about: support::small_packs().about, ..BackupOptions::default() };
    let mut n = 0;
    let fresh = || {
        n += 1;
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(&place.path().join(n.to_string())).unwrap());
        support::init(&storage);
        support::open(&storage)
    };
    let time = median(3, fresh, |mut repo| _ = support::back_up(&mut repo, dir.path(), &options));
    tell(&format!("first backup, {name}"), time, *bytes);
}

fn main() {
    corpus::both().iter().for_each(|corpus| run(&corpus()));
}
