//! The steps that every byte goes through, each for itself: cut, name, compress, seal, and back.

mod common;
#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;

use common::{median, tell};
use orlop::chunk::{Chunker, Gear};
use orlop::compress::Zstd;
use orlop::crypto::{BlobKeys, Secret, Suite};
use orlop::format::pack::{Codec, FrameEntry, Header, Kind};
use orlop::format::records::Profile;
use orlop::id::{DomainId, SessionId};

const RUNS: usize = 5;

fn main() {
    let data = support::noise(32 << 20, 1);
    let text: Vec<u8> = data.iter().map(|b| b"etaoin shrdlu\n{}"[usize::from(b & 15)]).collect();
    let bytes = data.len() as u64;
    let keys = BlobKeys::new(&Secret::new([1; 32]), &Secret::new([2; 32]));
    let gear = Gear::new(&keys);
    let profile = Profile { id: 1, chunker: 1, min: 16 << 10, avg: 64 << 10, max: 256 << 10, frame: 0 };
    let chunker = Chunker::new(&gear, &profile);
    let cut = |()| {
        let mut rest = &data[..];
        while let Some(n) = chunker.cut(rest, true) {
            rest = &rest[n..];
        }
    };
    tell("cut into chunks", median(RUNS, || (), cut), bytes);
    let name = |()| data.chunks(64 << 10).for_each(|c| _ = black_box(keys.chunk_id(c)));
    tell("name chunks of 64 KiB", median(RUNS, || (), name), bytes);
    let (mut zstd, mut out) = (Zstd::default(), Vec::new());
    for (what, data) in [("noise", &data), ("text", &text)] {
        let pack = |()| data.chunks(512 << 10).for_each(|f| _ = zstd.compress(f, Some(3), &mut out).unwrap());
        tell(&format!("compress frames of {what}"), median(RUNS, || (), pack), bytes);
    }
    let packed: Vec<Vec<u8>> = text
        .chunks(512 << 10)
        .map(|f| {
            let mut out = Vec::new();
            assert_eq!(zstd.compress(f, Some(3), &mut out).unwrap(), Codec::Zstd);
            out
        })
        .collect();
    let unpack = |()| packed.iter().for_each(|f| zstd.decompress(Codec::Zstd, f, 512 << 10, &mut out).unwrap());
    tell("decompress frames of text", median(RUNS, || (), unpack), bytes);
    for suite in [Suite::ChaCha20Poly1305, Suite::Aes256Gcm] {
        seal(suite, &data);
    }
}

fn seal(suite: Suite, data: &[u8]) {
    let (_, key) = Header::create(suite, 1, SessionId([1; 16]), [2; 32], DomainId([3; 16]), &Secret::new([4; 32]));
    let frames: Vec<Vec<u8>> = data.chunks(512 << 10).map(<[u8]>::to_vec).collect();
    let entry = FrameEntry { stored: (512 << 10) + 16, plain: 512 << 10, codec: Codec::Raw, blobs: 8 };
    let mut sealed = Vec::new();
    let run = |frames: Vec<Vec<u8>>| {
        sealed = frames;
        for (n, f) in sealed.iter_mut().enumerate() {
            key.seal(n as u64, Kind::Data, &entry, f);
        }
    };
    tell(&format!("seal frames, {suite:?}"), median(RUNS, || frames.clone(), run), data.len() as u64);
    let open = |mut frames: Vec<Vec<u8>>| {
        for (n, f) in frames.iter_mut().enumerate() {
            key.open(n as u64, Kind::Data, &entry, f).unwrap();
        }
    };
    tell(&format!("open frames, {suite:?}"), median(RUNS, || sealed.clone(), open), data.len() as u64);
}
