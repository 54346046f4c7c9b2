//! `cat`.

use std::ffi::OsStr;
use std::io::Write;

use serde_json::json;

use super::{index, open, outcome, root_of, row, slot_by_prefix, snapshot};
use crate::cli::args::{Cat, CatKind, Filter};
use crate::cli::console::{Console, Output, cannot_write};
use crate::cli::reference::Reference;
use crate::cli::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::format::names::{parse_pack, prefix};
use crate::format::pack::Kind;
use crate::id::{BlobId, hex};
use crate::ops::list::Walk;
use crate::repo::{Reader, Repository};
use crate::report::exit::Outcome;
use crate::report::listing::{self, Entry};
use crate::report::snapshots::Json;
use crate::report::{Job, wire};
use crate::storage::{Listed, Name};

/// Pieces in which packs are copied.
const PIECE: u64 = 1 << 20;

/// Print one object.
pub fn run(args: &Cat, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, true);
    match args.kind {
        CatKind::Masterkey => {
            return Err(Error::new(ErrorKind::Unsupported, "the secrets of a repository are not shown")
                .hint("`orlop key recovery` makes words that unlock everything, to be kept on paper"));
        }
        CatKind::Lock => {
            return Err(Error::new(ErrorKind::Missing, "there are no locks: nothing here ever waits for one"));
        }
        _ => {}
    }
    let id = match (&args.id, args.kind) {
        (None, CatKind::Config) => OsStr::new(""),
        (Some(id), kind) if kind != CatKind::Config => id.as_os_str(),
        (None, _) => return Err(Error::new(ErrorKind::Invalid, "say which one by its id")),
        (Some(_), _) => return Err(Error::new(ErrorKind::Invalid, "there is one configuration only, without an id")),
    };
    let repo = open(settings, &console)?;
    let text = id.to_string_lossy().to_ascii_lowercase();
    let mut out = Output::new()?;
    match args.kind {
        CatKind::Config => put(&mut out, &config(&repo)),
        CatKind::Key => put(&mut out, &key(&repo, &text)?),
        CatKind::Index => put(&mut out, &segment(&repo, &text)?),
        CatKind::Pack => pack(&repo, &text, &mut out),
        CatKind::Snapshot => {
            let found = snapshot(&repo, &Reference::parse(id)?, &Filter::default(), &console)?;
            put(&mut out, &wire::line(&Json::of(&row(&found))))
        }
        CatKind::Blob => {
            let index = index(&repo, &console)?;
            let reader = Reader::new(&repo, &index);
            let id = BlobId::parse(&text)
                .map_err(|_| Error::new(ErrorKind::Invalid, "a blob is named by all 64 digits of its id"))?;
            let blob = reader.fetch(Kind::Data, &id).or_else(|_| reader.fetch(Kind::Tree, &id))?;
            out.write_all(&blob).map_err(cannot_write)
        }
        CatKind::Tree => tree(&repo, id, &mut out, &console),
        CatKind::Masterkey | CatKind::Lock => Ok(()),
    }?;
    out.finish()?;
    Ok(outcome(&console))
}

fn put(out: &mut Output, text: &str) -> Result<()> {
    out.write_all(text.as_bytes()).map_err(cannot_write)
}

fn config(repo: &Repository) -> String {
    let c = repo.config();
    let profile = |p: &crate::format::records::Profile| json!({ "id": p.id, "chunker": p.chunker, "min": p.min, "avg": p.avg, "max": p.max, "frame": p.frame });
    wire::line(&json!({
        "version": 1,
        "id": c.instance.hex(),
        "domain": c.domain.hex(),
        "number": c.n,
        "suite": c.suite,
        "compression": c.compression,
        "parity": c.parity,
        "undelete_window": c.undelete_window,
        "profiles": c.profiles.iter().map(profile).collect::<Vec<_>>(),
        "read_features": c.read_features,
        "write_features": c.write_features,
        "admin": hex(&c.admin.0),
    }))
}

fn key(repo: &Repository, begin: &str) -> Result<String> {
    let slots = repo.slots()?;
    let id = slot_by_prefix(&slots.iter().map(|s| s.id).collect::<Vec<_>>(), begin)?;
    let slot = slots.iter().find(|s| s.id == id);
    let secret = slot.and_then(|s| s.secret.as_ref());
    Ok(wire::line(&json!({
        "id": id.hex(),
        "role": slot.map(|s| s.role.as_str()),
        "kdf": slot.map(|s| format!("{:?}", s.kdf)),
        "label": secret.map(|s| &s.label),
        "username": secret.map(|s| &s.username),
        "hostname": secret.map(|s| &s.hostname),
    })))
}

/// The one object of a listing whose id begins so.
fn one(listed: Vec<Listed>, what: &str, begin: &str, id: impl Fn(&str) -> Option<String>) -> Result<(Name, u64)> {
    let fits = |l: &Listed| id(l.name.as_str()).is_some_and(|id| id.starts_with(begin));
    let mut found: Vec<Listed> = listed.into_iter().filter(fits).collect();
    match (found.pop(), found.len()) {
        (Some(l), 0) if !begin.is_empty() => Ok((l.name, l.len)),
        (None, _) => Err(Error::new(ErrorKind::Missing, format!("no {what}'s id begins with {begin:?}"))),
        _ => Err(Error::new(ErrorKind::Invalid, format!("several {what} ids begin with {begin:?}"))
            .hint("give more of the id")),
    }
}

fn segment(repo: &Repository, begin: &str) -> Result<String> {
    let id = |name: &str| name.strip_prefix(prefix::INDEX).map(str::to_owned);
    let (name, _) = one(repo.storage().list(prefix::INDEX)?, "index segment", begin, id)?;
    let segment = repo.load_segment(name.as_str())?;
    let packs: Vec<_> = segment
        .head
        .packs
        .iter()
        .map(|p| json!({ "id": p.id.hex(), "length": p.len, "frames": p.frames.len() }))
        .collect();
    Ok(wire::line(&json!({ "packs": packs, "blobs": segment.rows.len() })))
}

fn pack(repo: &Repository, begin: &str, out: &mut Output) -> Result<()> {
    let id = |name: &str| parse_pack(name).map(|(id, _)| id.hex());
    let (name, len) = one(repo.storage().list(prefix::PACKS)?, "pack", begin, id)?;
    let mut at = 0;
    while at < len {
        let mut piece = vec![0; PIECE.min(len - at) as usize];
        repo.storage().get_range(&name, at, &mut piece)?;
        out.write_all(&piece).map_err(cannot_write)?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// The entries of one directory, as `ls --json` has them.
fn tree(repo: &Repository, id: &OsStr, out: &mut Output, console: &Console) -> Result<()> {
    let reference = Reference::parse(id)?;
    let snapshot = snapshot(repo, &reference, &Filter::default(), console)?;
    let index = index(repo, console)?;
    let reader = Reader::new(repo, &index);
    let root = root_of(&reader, &snapshot, &reference)?;
    let prefix = reference.subdir.as_deref().unwrap_or(b"/");
    let mut walk = Walk::new(&reader, root, prefix);
    while let Some((path, node)) = walk.next()? {
        let entry = Entry { path, node: &node, atime: None };
        put(out, &listing::json(entry, &console.zone()))?;
        walk.skip();
    }
    Ok(())
}
