//! `find --blob`, `--tree`, `--pack`: who needs an object.

use std::collections::HashSet;
use std::io::Write;

use super::row;
use crate::cli::args::Find;
use crate::cli::console::{Console, Output, cannot_write};
use crate::error::{Error, ErrorKind, Result};
use crate::format::pack::Kind;
use crate::ops::needs::{Need, Sought, needs};
use crate::repo::{Reader, Snapshot};
use crate::report::objects;

/// Shortest beginning of an id that is worth looking for.
const DIGITS_MIN: usize = 4;

/// Name the places.
pub fn run(args: &Find, reader: &Reader<'_>, chosen: &[&Snapshot], console: &Console) -> Result<()> {
    let sought = sought(args, reader)?;
    let (cx, zone) = (console.context(), console.zone());
    let mut out = Output::new()?;
    let mut first = true;
    let mut put = |text: &[u8]| out.write_all(text).map_err(cannot_write);
    if console.json {
        put(b"[")?;
    }
    needs(reader, chosen, &sought, &cx, &mut |need| {
        let packs = if args.show_pack_id { packs(reader, &need)? } else { Vec::new() };
        let shown = objects::Place {
            data: need.kind == Kind::Data,
            id: need.id.hex(),
            path: need.path,
            page: need.page.map(|id| id.hex()),
            packs,
            snapshot: &row(need.snapshot),
        };
        let before: &[u8] = if console.json && !first { b"," } else { b"" };
        first = false;
        put(before)?;
        put(&match console.json {
            true => objects::json(&shown).into_bytes(),
            false => objects::text(&shown, console.names, &zone),
        })
    })?;
    if console.json {
        put(b"]\n")?;
    }
    out.finish()
}

fn packs(reader: &Reader<'_>, need: &Need<'_>) -> Result<Vec<String>> {
    let index = reader.index();
    let places = index.find_all(&need.id)?;
    Ok(places.iter().map(|at| index.pack(index.frame(at.frame).pack).id.hex()).collect())
}

fn sought(args: &Find, reader: &Reader<'_>) -> Result<Sought> {
    let mut ids = Vec::new();
    for typed in &args.patterns {
        let text = typed.to_string_lossy().to_ascii_lowercase();
        if text.len() < DIGITS_MIN || text.len() > 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            let what = format!("{:?} is not the beginning of an id", typed.to_string_lossy());
            return Err(Error::new(ErrorKind::Invalid, what)
                .hint(format!("give at least {DIGITS_MIN} of its hexadecimal digits")));
        }
        ids.push(text);
    }
    if args.blob {
        return Ok(Sought::Chunks(ids));
    }
    if args.tree {
        return Ok(Sought::Pages(ids));
    }
    let index = reader.index();
    let mut packs = HashSet::new();
    for begin in &ids {
        let before = packs.len();
        let numbered = (0..).zip(index.packs());
        packs.extend(numbered.filter(|(_, p)| p.id.hex().starts_with(begin.as_str())).map(|(n, _)| n));
        if packs.len() == before {
            return Err(Error::new(ErrorKind::Missing, format!("no pack's id begins with {begin}"))
                .hint("`orlop list packs` lists what there is"));
        }
    }
    Ok(Sought::Packs(packs))
}
