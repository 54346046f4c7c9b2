//! A repository of many blobs and snapshots: what a prune of it takes, by the program itself.
//!
//! Everything that a plan looks at is real: trees, segments, snapshots, listings. Only the packs of
//! file contents are holes of the right length, for nobody reads them.
//!
//! `ORLOP_PROGRAM=path` measures that program.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orlop::event::Context;
use orlop::format::keys::Credential;
use orlop::format::names;
use orlop::format::pack::{Codec, FrameEntry, Header, Kind};
use orlop::format::page::Builder;
use orlop::format::records::{CloseKind, Purpose};
use orlop::format::segment::{PackEntry, Row};
use orlop::id::{BlobId, PackId, RecordId};
use orlop::index::{Index, short};
use orlop::model::{Body, Content, Extent, Node, NodeKind, PageRef, Statement, Time};
use orlop::repo::{Identity, NewSnapshot, Repository, Session, Writer, WriterOptions};
use orlop::storage::{LocalStorage, Storage};
use support::keyring::put_segment;
use support::memory::{Measured, measure};
use support::prune::forget;
use support::*;

/// Blobs of a frame, frames of a pack, packs of a segment: as in a backup of usual files.
const BLOBS: u64 = 16;
const FRAMES: u64 = 64;
const PACKS: u64 = 32;
const PACK_LEN: u64 = 16 << 20;
const CHUNK: u32 = 31_000;
/// Chunks of a file, files of a directory.
const CHUNKS: u64 = 10;
const FILES: u64 = 250;

fn id(n: u64) -> BlobId {
    BlobId(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

/// Makes chunks that are stored nowhere but in the index.
struct Chunks<'a> {
    repo: &'a Repository,
    who: &'a Identity,
    session: &'a Session,
    place: &'a Path,
    made: u64,
    indexed: u64,
}

impl Chunks<'_> {
    fn next(&mut self) -> BlobId {
        self.made += 1;
        if self.made - self.indexed == BLOBS * FRAMES * PACKS {
            self.index();
        }
        id(self.made - 1)
    }

    /// Packs and a segment for what was made since; the last frame may have a few more than were used.
    fn index(&mut self) {
        let suffix = self.session.suffix();
        let entry = FrameEntry { stored: 200_000, plain: 500_000, codec: Codec::Zstd, blobs: BLOBS as u16 };
        let header = Header {
            suite: 1,
            wrap: 0,
            epoch: 1,
            session: self.session.id,
            salt: orlop::sys::salt().unwrap(),
            commitment: [0; 32],
        };
        let packs = (self.made - self.indexed).div_ceil(BLOBS * FRAMES);
        let entries = (0..packs).map(|n| {
            let id = PackId(*blake3::hash(&(self.indexed + n).to_be_bytes()).as_bytes());
            let file = self.place.join(names::pack(id, suffix));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::File::create(file).unwrap().set_len(PACK_LEN).unwrap();
            let frames = vec![entry; FRAMES as usize];
            PackEntry { id, uploader: suffix, len: PACK_LEN, kind: Kind::Data, header: header.clone(), frames }
        });
        let entries = entries.collect();
        let row =
            |n: u64| Row { id: short(&id(self.indexed + n)), frame: (n / BLOBS) as u32, ordinal: (n % BLOBS) as u16 };
        let mut rows: Vec<Row> = (0..packs * BLOBS * FRAMES).map(row).collect();
        rows.sort_unstable();
        put_segment(self.repo, self.who, self.session.id, entries, rows);
        self.made = self.indexed + packs * BLOBS * FRAMES;
        self.indexed = self.made;
    }
}

fn node(name: String, kind: NodeKind) -> Node {
    let mtime = Time { sec: 1_700_000_000, nsec: 0 };
    let name = name.into_bytes();
    Node { name, kind, mode: 0o644, uid: 1000, gid: 1000, mtime, ctime: mtime, ino: 7, ext: vec![] }
}

fn tree(repo: &Repository, writer: &Writer<'_>, nodes: impl Iterator<Item = Node>) -> Option<PageRef> {
    let mut builder = Builder::dir(repo.keys());
    let mut emit = |bytes: Vec<u8>| writer.page(&bytes);
    nodes.for_each(|n| builder.node(&n, &mut emit).unwrap());
    builder.finish(&mut emit).unwrap()
}

fn directory(repo: &Repository, writer: &Writer<'_>, chunks: &mut Chunks<'_>) -> Option<PageRef> {
    let file = |n: u64| {
        let extents = (0..CHUNKS).map(|_| Extent::Data { id: chunks.next(), len: CHUNK, repeat: 1 }).collect();
        let (size, content) = (u64::from(CHUNK) * CHUNKS, Content::Extents { profile: 1, extents });
        node(format!("file-{n:06}"), NodeKind::File { size, content })
    };
    tree(repo, writer, (0..FILES).map(file))
}

fn statement(repo: &Repository, who: &Identity, root: Option<PageRef>) -> Statement {
    let now = orlop::sys::now();
    Statement {
        domain: repo.domain(),
        client: who.client,
        seq: 1,
        prev: RecordId::ZERO,
        client_epoch: who.epoch,
        root,
        time: now,
        utc_offset: 0,
        started: now,
        ended: now,
        machine: [0; 8],
        config: repo.config_id(),
        flags: 0,
        parent: None,
        replaces: None,
        origin: None,
        heads: vec![],
        body: vec![],
        ext: vec![],
    }
}

/// So many blobs in so many snapshots: four fifths in the first, and every other one changes a few
/// directories. Gives the snapshots.
fn build(place: &Path, blobs: u64, snapshots: u64) -> Vec<RecordId> {
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(place).unwrap());
    init(&storage);
    let mut repo = open(&storage);
    let who = repo.identity(None).unwrap();
    let session = repo.begin(&who, Purpose::Backup, vec![]).unwrap();
    let (repo, index) = (&repo, Index::default());
    let made = listening(|cx: &Context<'_>| {
        let options = WriterOptions {
            compression: Some(1),
            pack_target: PACK_LEN,
            segment_packs: WriterOptions::SEGMENT_PACKS,
            verify: false,
            dry_run: false,
        };
        let writer = Writer::new(repo, &who, &session, &index, cx, options);
        let mut chunks = Chunks { repo, who: &who, session: &session, place, made: 0, indexed: 0 };
        let directories = (blobs * 4 / 5 / (FILES * CHUNKS)).max(4);
        let mut roots: Vec<_> = (0..directories).map(|_| directory(repo, &writer, &mut chunks)).collect();
        let mut made = vec![];
        for n in 0..snapshots {
            let wanted = blobs * 4 / 5 + blobs / 5 * n / snapshots;
            let mut at = n * 7;
            while chunks.made < wanted {
                let changed = (at % directories) as usize;
                roots[changed] = directory(repo, &writer, &mut chunks);
                at += 11;
            }
            let dirs = (0..).zip(&roots).map(|(n, root)| node(format!("dir-{n:06}"), NodeKind::Dir { root: *root }));
            let root = tree(repo, &writer, dirs);
            // What a snapshot needs is durable before it.
            if n + 1 == snapshots {
                chunks.index();
            }
            made.push(root);
        }
        writer.finish().unwrap();
        made
    });
    let commit = |root| {
        let new = NewSnapshot { statement: statement(repo, &who, root), body: Body::default() };
        repo.commit(&who, &session, new).unwrap()
    };
    let made: Vec<RecordId> = made.0.into_iter().map(commit).collect();
    repo.close(&session, CloseKind::End, made.clone()).unwrap();
    made
}

/// What it took, and the report in what it said.
fn dry_run(place: &Path) -> (Measured, serde_json::Value) {
    let home = tempfile::tempdir().unwrap();
    let program = std::env::var("ORLOP_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_orlop").into());
    let mut command = Command::new(program);
    command.args(["prune", "--dry-run", "--json", "--insecure-no-password"]);
    command.env_clear().env("TZ", "UTC").env("HOME", home.path()).env("ORLOP_REPOSITORY", place);
    let ran = measure(&mut command);
    let said = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
    (ran, said)
}

/// Build one, forget a tenth of it, and see what a prune would do.
fn plan(blobs: u64, snapshots: u64) -> Measured {
    let place = tempfile::tempdir().unwrap();
    let place = place.path().join("repo");
    let begun = Instant::now();
    let made = build(&place, blobs, snapshots);
    println!("built in {:?}", begun.elapsed());
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(&place).unwrap());
    let mut repo = orlop::repo::open(storage, &Credential::Nothing, None).unwrap();
    let (_, before) = dry_run(&place);
    for id in made.iter().take((snapshots / 10) as usize) {
        forget(&mut repo, *id);
    }
    let (ran, said) = dry_run(&place);
    let Measured { resident, anonymous, took, .. } = ran;
    println!("{blobs} blobs, {snapshots} snapshots: {took:?}, {resident} MiB at most, {anonymous} MiB of it anonymous");
    println!("{said}");
    let dead =
        |said: &serde_json::Value| said["unused_bytes"].as_u64().unwrap() + said["delete_bytes"].as_u64().unwrap();
    assert!(dead(&said) > dead(&before), "{before}");
    ran
}

#[test]
fn a_prune_of_many_blobs_is_planned_from_the_index() {
    let ran = plan(100_000, 20);
    assert!(ran.resident < 256, "{} MiB", ran.resident);
}

#[test]
#[ignore = "ten million blobs: takes minutes, and half a gigabyte of disk"]
fn a_prune_of_ten_million_blobs_is_planned_in_little_memory() {
    let ran = plan(10_000_000, 200);
    assert!(ran.resident < 256, "{} MiB", ran.resident);
    assert!(ran.took < Duration::from_secs(60), "{:?}", ran.took);
}
