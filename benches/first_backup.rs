//! How long a first backup takes: many small files, and one large one. Then a check that reads all.

mod common;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{long, median, tell};
use orlop::ops::backup::BackupOptions;
use orlop::ops::check::Data;
use orlop::storage::{LocalStorage, Storage};

/// Text that compresses about as source code does.
fn text(len: usize, seed: u64) -> Vec<u8> {
    let words = ["let ", "fn ", "return ", "self.", "index", "(", ")", ";\n", "    ", "match ", "value", "0x"];
    let noise = support::noise(len / 3 + 1, seed);
    let mut out: Vec<u8> =
        noise.iter().flat_map(|b| words[usize::from(*b) % words.len()].bytes().chain([b'a' + b % 26])).collect();
    out.truncate(len);
    out
}

fn run(what: &str, dir: &Path, bytes: u64) {
    let place = tempfile::tempdir().unwrap();
    let mut n = 0;
    let options = || BackupOptions { about: support::small_packs().about, ..BackupOptions::default() };
    let fresh = || {
        n += 1;
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(&place.path().join(n.to_string())).unwrap());
        support::init(&storage);
        support::open(&storage)
    };
    let time = median(3, fresh, |mut repo| _ = support::back_up(&mut repo, dir, &options()));
    tell(&format!("first backup, {what}"), time, bytes);
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(&place.path().join("1")).unwrap());
    let open = || support::open(&storage);
    let time = median(3, open, |mut repo| assert_eq!(support::check(&mut repo, Data::All).0.errors, 0));
    tell(&format!("check --read-data, {what}"), time, bytes);
}

fn main() {
    let scale = if long() { 20 } else { 1 };
    let small = tempfile::tempdir().unwrap();
    let mut bytes = 0;
    for i in 0..4000 * scale {
        let dir = small.path().join(format!("d{:03}", i / 50));
        fs::create_dir_all(&dir).unwrap();
        let content = text(500 + i * 7919 % 16_000, i as u64);
        bytes += content.len() as u64;
        fs::write(dir.join(format!("f{i}")), content).unwrap();
    }
    run(&format!("{} small files", 4000 * scale), small.path(), bytes);
    let large = tempfile::tempdir().unwrap();
    let len = (64 * scale) << 20;
    fs::write(large.path().join("noise"), support::noise(len, 1)).unwrap();
    run(&format!("a file of {} MiB", len >> 20), large.path(), len as u64);
}
