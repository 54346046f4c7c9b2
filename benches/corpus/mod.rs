//! What is backed up and restored: many small files of text, and one large one of noise.

use std::fs;

use crate::common::long;
use crate::support::noise;

/// A directory with something in it.
pub struct Corpus {
    pub name: String,
    pub dir: tempfile::TempDir,
    pub bytes: u64,
}

/// Text that compresses about as source code does.
fn text(len: usize, seed: u64) -> Vec<u8> {
    let words = ["let ", "fn ", "return ", "self.", "index", "(", ")", ";\n", "    ", "match ", "value", "0x"];
    let noise = noise(len / 3 + 1, seed);
    let mut out: Vec<u8> =
        noise.iter().flat_map(|b| words[usize::from(*b) % words.len()].bytes().chain([b'a' + b % 26])).collect();
    out.truncate(len);
    out
}

fn small() -> Corpus {
    let files = if long() { 80_000 } else { 4_000 };
    let (dir, mut bytes) = (tempfile::tempdir().unwrap(), 0);
    for i in 0..files {
        let below = dir.path().join(format!("d{:03}", i / 50));
        fs::create_dir_all(&below).unwrap();
        let content = text(500 + i * 7919 % 16_000, i as u64);
        bytes += content.len() as u64;
        fs::write(below.join(format!("f{i}")), content).unwrap();
    }
    Corpus { name: format!("{files} small files"), dir, bytes }
}

fn large() -> Corpus {
    let len = if long() { 1280 << 20 } else { 64 << 20 };
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("noise"), noise(len, 1)).unwrap();
    Corpus { name: format!("a file of {} MiB", len >> 20), dir, bytes: len as u64 }
}

/// Both, one after the other.
pub fn both() -> [fn() -> Corpus; 2] {
    [small, large]
}
