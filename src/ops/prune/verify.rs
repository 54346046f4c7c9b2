//! Looking for oneself: suspected packs, and packs that others' copies are given up for.

use std::collections::{BTreeSet, HashMap};

use super::mark::Marks;
use super::survey::Survey;
use crate::error::{ErrorKind, Result};
use crate::event::Context;
use crate::format::gc::PackName;
use crate::format::names;
use crate::format::pack::Table;
use crate::id::PackId;
use crate::index::{Index, short};
use crate::repo::Repository;

/// Tables that are held at a time.
const TABLES: usize = 256;
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

/// Packs that are relied on in place of others and do not hold what the index says.
pub fn relied(repo: &Repository, index: &Index, marks: &Marks) -> Result<BTreeSet<PackId>> {
    let mut liars = BTreeSet::new();
    for some in marks.relied().chunks(TABLES) {
        let mut tables: HashMap<u32, Table> = HashMap::new();
        for n in some {
            let pack = index.pack(*n);
            let entries = (pack.first_frame..).take(pack.frames as usize).map(|f| index.frame(f).entry);
            match repo.read_table(&names::pack(pack.id, pack.uploader), pack.len) {
                Ok((_, table)) if table.kind == pack.kind && table.frames.iter().copied().eq(entries) => {
                    tables.insert(*n, table);
                }
                Ok(_) => drop(liars.insert(pack.id)),
                // It was there when the packs were listed: another collector was quicker, most likely.
                Err(e) if matches!(e.kind(), ErrorKind::Storage | ErrorKind::Missing) => return Err(e),
                Err(_) => drop(liars.insert(pack.id)),
            }
        }
        compare_rows(index, &tables, &mut liars)?;
    }
    Ok(liars)
}

fn compare_rows(index: &Index, tables: &HashMap<u32, Table>, liars: &mut BTreeSet<PackId>) -> Result<()> {
    let mut firsts: HashMap<u32, Vec<u32>> = HashMap::new();
    for (n, table) in tables {
        let mut at = 0;
        let starts = table.frames.iter().map(|f| {
            at += u32::from(f.blobs);
            at - u32::from(f.blobs)
        });
        firsts.insert(*n, starts.collect());
    }
    index.for_each(&mut |row| {
        let n = index.frame(row.at.frame).pack;
        let (Some(table), Some(starts)) = (tables.get(&n), firsts.get(&n)) else { return Ok(()) };
        let frame = (row.at.frame - index.pack(n).first_frame) as usize;
        let id = starts.get(frame).and_then(|s| table.ids.get(*s as usize + usize::from(row.at.ordinal)));
        if id.is_none_or(|id| short(id) != row.id) {
            liars.insert(index.pack(n).id);
        }
        Ok(())
    })
}
