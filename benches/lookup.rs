//! Look-ups per second and resident memory, over indexes of many blobs.

mod common;

use std::hint::black_box;

use common::{anonymous_mib, long, median, tell_count};
use orlop::format::pack::{Codec, FrameEntry, Header, Kind};
use orlop::format::segment::{Head, PackEntry, Row, Segment};
use orlop::id::{BlobId, ClientId, DomainId, PackId, SessionId};
use orlop::index::{Index, short};

/// Blobs of a frame, frames of a pack, packs of a segment: as in a backup of usual files.
const BLOBS: u32 = 16;
const FRAMES: u32 = 64;
const PACKS: u32 = 32;

fn id(n: u64) -> BlobId {
    BlobId(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

fn segment(n: u32) -> Segment {
    let header =
        Header { suite: 1, wrap: 0, epoch: 1, session: SessionId([1; 16]), salt: [1; 32], commitment: [0; 32] };
    let entry = FrameEntry { stored: 200_000, plain: 500_000, codec: Codec::Zstd, blobs: BLOBS as u16 };
    let pack = |p: u32| PackEntry {
        id: PackId(*blake3::hash(&(n * PACKS + p).to_be_bytes()).as_bytes()),
        uploader: [0; 4],
        len: 16 << 20,
        kind: Kind::Data,
        header: header.clone(),
        frames: vec![entry; FRAMES as usize],
    };
    let per_segment = PACKS * FRAMES * BLOBS;
    let row = |i: u32| Row {
        id: short(&id(u64::from(n) * u64::from(per_segment) + u64::from(i))),
        frame: i / BLOBS,
        ordinal: (i % BLOBS) as u16,
    };
    let mut rows: Vec<Row> = (0..per_segment).map(row).collect();
    rows.sort_unstable();
    let head = Head {
        domain: DomainId([1; 16]),
        instance: orlop::id::InstanceId([1; 16]),
        client: ClientId([1; 16]),
        client_epoch: 1,
        session: SessionId([1; 16]),
        packs: (0..PACKS).map(pack).collect(),
        supersedes: vec![],
        rows_hash: [0; 32],
        ext: vec![],
    };
    Segment { head, rows }
}

fn run(millions: f64) {
    let segments = (millions * 1e6 / f64::from(PACKS * FRAMES * BLOBS)).ceil() as u32;
    let mut index = Index::default();
    let time = median(1, || (), |()| (0..segments).for_each(|n| drop(index.add(&segment(n)).unwrap())));
    let rows = index.rows() as u64;
    tell_count(&format!("load {rows} blobs"), time, rows);
    let tries = 200_000u64;
    let there: Vec<BlobId> = (0..tries).map(|i| id(i * 7919 % rows)).collect();
    let absent: Vec<BlobId> = (0..tries).map(|i| id(u64::MAX - i)).collect();
    for (what, ids) in [("known", &there), ("unknown", &absent)] {
        let find = |id| assert_eq!(black_box(index.find(id).unwrap()).is_some(), what == "known");
        let time = median(3, || (), |()| ids.iter().for_each(find));
        tell_count(&format!("look up {what} ids among {rows}"), time, tries);
    }
    println!("{:<44} {:>10} MiB", "resident anonymous memory", anonymous_mib());
}

fn main() {
    run(1.0);
    if long() {
        run(10.0);
    } else {
        println!("(--long: 10 million blobs)");
    }
}
