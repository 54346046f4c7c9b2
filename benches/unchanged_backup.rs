//! How long a backup takes when nothing changed, and when one file in a thousand did.

mod common;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::sync::Arc;

use common::{long, median, tell_count};
use orlop::ops::backup::BackupOptions;
use orlop::storage::{LocalStorage, Storage};

fn main() {
    let files = if long() { 300_000 } else { 10_000 };
    let dir = tempfile::tempdir().unwrap();
    for i in 0..files {
        let below = dir.path().join(format!("d{:04}", i / 40));
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join(format!("f{i}")), support::noise(100 + i % 3000, i as u64)).unwrap();
    }
    support::settle();
    let place = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(&place.path().join("r")).unwrap());
    support::init(&storage);
    let options = BackupOptions { about: support::small_packs().about, ..BackupOptions::default() };
    let again = || _ = support::back_up(&mut support::open(&storage), dir.path(), &options);
    again();
    let time = median(5, || (), |()| again());
    tell_count(&format!("unchanged backup, {files} files"), time, files as u64);
    let mut n = 0;
    let touch = || {
        n += 1;
        for i in (0..files).step_by(1000) {
            fs::write(dir.path().join(format!("d{:04}/f{i}", i / 40)), support::noise(900, n + i as u64)).unwrap();
        }
        support::settle();
    };
    let time = median(5, touch, |()| again());
    tell_count("backup after one file in a thousand changed", time, files as u64);
}
