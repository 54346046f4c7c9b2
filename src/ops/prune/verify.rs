//! Looking for oneself: suspected packs, and packs that others' copies are given up for.

use std::collections::HashMap;

use super::mark::Marks;
use super::survey::Survey;
use crate::error::{ErrorKind, Result};
use crate::event::Context;
use crate::format::gc::PackName;
use crate::format::names;
use crate::format::pack::Table;
use crate::id::PackId;
use crate::index::{Location, Row, short};
use crate::repo::{Comparison, Lies, Reader, Repository};

/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;

/// Settle what clients said of packs: anybody can compare a pack with the hash in its name.
pub fn suspects(repo: &Repository, survey: &mut Survey, cx: &Context<'_>) -> Result<()> {
    let mut settled: HashMap<PackId, bool> = HashMap::new();
    for (object, pack) in repo.suspicions()? {
        let good = match settled.get(&pack) {
            Some(good) => *good,
            None => {
                let good = is_sound(repo, survey, pack)?;
                settled.insert(pack, good);
                good
            }
        };
        if good {
            survey.cleared.push((object, pack));
        } else if survey.bad.insert(pack) {
            let what = "was reported as damaged, and is: nothing relies on it";
            cx.notice("bad-pack", format!("pack {} {what}", pack.short()));
        }
    }
    Ok(())
}

/// Whether every pack of this id that is there has the bytes that its name says.
fn is_sound(repo: &Repository, survey: &Survey, pack: PackId) -> Result<bool> {
    let of = |p: &&PackName| p.id == pack;
    for name in survey.packs.keys().filter(of) {
        if !has_its_hash(repo, name, survey.packs[name])? {
            return Ok(false);
        }
    }
    // One that is not there harms nobody who does not need it; who does finds out when marking.
    Ok(true)
}

fn has_its_hash(repo: &Repository, pack: &PackName, len: u64) -> Result<bool> {
    let object = crate::storage::Name::new(names::pack(pack.id, pack.uploader))
        .map_err(|e| crate::error::Error::new(ErrorKind::Bug, e.to_string()))?;
    let (mut hash, mut at, mut buffer) = (blake3::Hasher::new(), 0, vec![0; PIECE]);
    while at < len {
        let piece = &mut buffer[..(len - at).min(PIECE as u64) as usize];
        match repo.storage().get_range(&object, at, piece) {
            Ok(()) => {}
            Err(e) if e.kind == crate::storage::StorageErrorKind::Length => return Ok(false),
            Err(e) => return Err(e.into()),
        }
        hash.update(piece);
        at += piece.len() as u64;
    }
    Ok(*hash.finalize().as_bytes() == pack.id.0)
}

/// What packs are relied on for in place of others, and do not hold. The table tells, and where nobody who is
/// believed answers for the pack, the frames do: its maker wrote into the table what it liked.
pub fn relied(reader: &Reader<'_>, marks: &Marks, cx: &Context<'_>) -> Result<Lies> {
    let look = |n: u32, table: &Table| missing(reader, marks, (n, table), cx);
    Comparison { repo: reader.repo(), index: reader.index(), cx, tolerant: false }.run(&marks.relied(), &look)
}

/// Rows of a pack that are in its table, are relied on without being believed, and are not in its frames.
fn missing(reader: &Reader<'_>, marks: &Marks, (n, table): (u32, &Table), cx: &Context<'_>) -> Result<Vec<Row>> {
    let index = reader.index();
    let (first, mut ids) = (index.pack(n).first_frame, &table.ids[..]);
    let mut out = vec![];
    for (frame, entry) in (first..).zip(&table.frames) {
        let Some((here, after)) = ids.split_at_checked(entry.blobs.into()) else { break };
        ids = after;
        let at = |ordinal| Location { frame, ordinal };
        let doubted: Vec<u16> = (0..entry.blobs).filter(|o| marks.doubts(at(*o))).collect();
        if doubted.is_empty() {
            continue;
        }
        cx.check()?;
        let decoded = match reader.decode(frame) {
            Err(e) if matches!(e.kind(), ErrorKind::Storage | ErrorKind::Missing) => return Err(e),
            decoded => decoded.ok(),
        };
        let holds = |o: u16| {
            let id = &here[usize::from(o)];
            decoded.as_ref().is_some_and(|d| reader.verify(table.kind, id, d, at(o)).is_ok())
        };
        let wrong = doubted.into_iter().filter(|o| !holds(*o));
        out.extend(wrong.map(|o| Row { id: short(&here[usize::from(o)]), at: at(o) }));
    }
    Ok(out)
}
