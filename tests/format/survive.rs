//! No bytes make a parser panic: every fuzz target over the vectors and over `fuzz/seeds`, damaged in many small
//! ways, inside of what is sealed too.

use std::fs;
use std::path::Path;

#[cfg(feature = "remote")]
use orlop::storage::testing::http_answer;

use crate::targets::{TARGETS, Target, sealed};
use crate::vector::Vector;

/// A small generator, seeded, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        const TELLING: [u8; 12] = [0, 1, 2, 0x3f, 0x7f, 0x80, 250, 251, 252, 253, 254, 255];
        for _ in 0..=self.roll(4) {
            if bytes.is_empty() {
                bytes.push(0);
            }
            let at = self.roll(bytes.len());
            match self.roll(7) {
                0 => bytes[at] ^= 1 << self.roll(8),
                1 => bytes[at] = TELLING[self.roll(TELLING.len())],
                2 => bytes.truncate(at),
                3 => bytes.insert(at, TELLING[self.roll(TELLING.len())]),
                4 => drop(bytes.remove(at)),
                5 => {
                    let end = (at + 8).min(bytes.len());
                    bytes[at..end].fill(0xff);
                }
                _ => {
                    let end = (at + 1 + self.roll(40)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    let to = self.roll(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
    }
}

/// What stands inside a vector: its bytes, and for records the payload that it gives.
fn seeds() -> Vec<Vec<u8>> {
    let mut out = vec![vec![]];
    for v in Vector::all() {
        let gives = v.find("gives").unwrap_or_default().split(' ').next().unwrap_or_default().to_string();
        if gives.len() > 2 && gives.bytes().all(|b| b.is_ascii_hexdigit()) && gives.len() % 2 == 0 {
            let pairs = gives.as_bytes().as_chunks::<2>().0;
            let bytes = pairs.iter().filter_map(|p| orlop::id::unhex::<1>(std::str::from_utf8(p).ok()?).ok());
            out.push(bytes.flatten().collect());
        }
        if v.body.len() < 64 << 10 {
            out.push(v.body);
        }
    }
    out
}

/// What `fuzz/seeds` has for a target: files, and each line of them.
fn written(target: &str) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let files: Option<Vec<_>> = fs::read_dir(folder).ok().map(|files| files.map(|f| f.unwrap().path()).collect());
    for file in files.unwrap_or_default() {
        let text = fs::read(file).unwrap();
        out.extend(text.split(|b| *b == b'\n').map(<[u8]>::to_vec));
        out.push(text);
    }
    out.sort();
    out
}

/// What is there only with storages behind HTTP.
#[cfg(feature = "remote")]
const MORE: &[Target] = &[("wire", http_answer)];
#[cfg(not(feature = "remote"))]
const MORE: &[Target] = &[];

#[test]
fn no_bytes_make_a_parser_panic() {
    let vectors = seeds();
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(4000);
    for (name, target) in TARGETS.iter().chain(MORE) {
        let written = written(name);
        let seeds = if written.is_empty() { &vectors } else { &written };
        seeds.iter().for_each(|s| target(s));
        let mut dice = Dice(0x0a11_c0de);
        for round in 0..rounds {
            let mut bytes = seeds[dice.roll(seeds.len())].clone();
            match sealed::damage(name, &bytes, &mut |inside| dice.damage(inside)) {
                Some(sealed) if round % 4 > 0 => bytes = sealed,
                _ => dice.damage(&mut bytes),
            }
            let survived = std::panic::catch_unwind(|| target(&bytes));
            assert!(survived.is_ok(), "{name}, round {round}: {}", orlop::id::hex(&bytes));
        }
    }
}

/// Damage inside of what is sealed is worth nothing if it does not arrive there: undamaged, it opens.
#[test]
fn what_is_sealed_again_opens() {
    for name in ["record", "slot", "keyring", "segment", "snapshot", "gc"] {
        let all: Vec<Vector> = Vector::all().into_iter().filter(|v| v.get("expect") == "ok").collect();
        let mut again = all.iter().filter_map(|v| {
            let mut inside = Vec::new();
            let sealed = sealed::damage(name, &v.body, &mut |plain| inside.clone_from(plain))?;
            let mut twice = Vec::new();
            sealed::damage(name, &sealed, &mut |plain| twice.clone_from(plain)).expect("what was just sealed");
            Some((inside.len() > 20, inside == twice))
        });
        assert_eq!(again.next(), Some((true, true)), "{name}");
    }
}
