//! `debug`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{local_path, open};
use crate::cli::args::{Debug, DebugCommand, DebugDump};
use crate::cli::console::Console;
use crate::cli::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::format::anatomy::dissect;
use crate::format::names::{parse_pack, prefix};
use crate::format::pack::Codec;
use crate::repo::Repository;
use crate::report::escape::harmless_lines;
use crate::report::exit::Outcome;
use crate::report::{Job, anatomy};

/// Of longer files the beginning is read; every header is shorter.
const HEAD_MAX: u64 = 4 << 20;
/// And so much of the end.
const TAIL_MAX: u64 = 4096;

/// Look at bytes.
pub fn run(args: &Debug, settings: &Settings) -> Result<Outcome> {
    match &args.command {
        DebugCommand::Dump(args) => dump(args, settings),
    }
}

fn dump(args: &DebugDump, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let root = settings.repository().ok().and_then(|place| local_path(place).ok().flatten());
    let (file, object) = locate(&args.file, root.as_deref());
    let failed =
        |e: std::io::Error| Error::new(ErrorKind::Missing, format!("{} cannot be read", file.display())).because(e);
    let opened = File::open(&file).map_err(failed)?;
    let len = opened.metadata().map_err(failed)?.len();
    let mut head = vec![0; len.min(HEAD_MAX) as usize];
    opened.read_exact_at(&mut head, 0).map_err(failed)?;
    let mut tail = vec![0; len.min(TAIL_MAX) as usize];
    opened.read_exact_at(&mut tail, len - len.min(TAIL_MAX)).map_err(failed)?;
    let fields = dissect(&head, len as usize, &tail);
    let inside = match (&object, args.clear) {
        (Some(object), false) => describe(&open(settings, &console)?, object)?.map(|text| harmless_lines(&text)),
        _ => None,
    };
    let shown = anatomy::Anatomy {
        object: &args.file.display().to_string(),
        length: len,
        fields: fields
            .iter()
            .map(|f| anatomy::Field {
                offset: f.offset,
                length: f.len,
                field: f.name,
                value: f.value.as_deref(),
                meaning: &f.meaning,
            })
            .collect(),
        opened: inside.as_deref(),
    };
    console.print(if console.json { anatomy::json(&shown) } else { anatomy::text(&shown) })?;
    Ok(Outcome::Done)
}

/// The file, and which object of the repository it is, if it is one.
fn locate(typed: &Path, root: Option<&Path>) -> (PathBuf, Option<String>) {
    let Some(root) = root else { return (typed.to_owned(), None) };
    let here = typed.exists();
    let file = if here { typed.to_owned() } else { root.join(typed) };
    let real = (file.canonicalize().ok(), root.canonicalize().ok());
    let object = match &real {
        (Some(file), Some(root)) => file.strip_prefix(root).ok().and_then(Path::to_str).map(str::to_owned),
        _ => None,
    };
    (file, object)
}

fn describe(repo: &Repository, object: &str) -> Result<Option<String>> {
    if let Some((id, _)) = parse_pack(object) {
        return pack(repo, &id);
    }
    if object.starts_with(prefix::INDEX) {
        let segment = repo.load_segment(object)?;
        return Ok(Some(format!("{:#?}\n{} rows", segment.head, segment.rows.len())));
    }
    repo.describe_object(object)
}

/// The frames of a pack, as the index knows them.
fn pack(repo: &Repository, id: &crate::id::PackId) -> Result<Option<String>> {
    let index = repo.load_index(&|_, _| {})?;
    let mut out = String::new();
    for n in index.numbers_of(id) {
        let pack = index.pack(*n);
        out += &format!("{} frames of {:?} blobs, by the index:\n", pack.frames, pack.kind);
        for frame in pack.first_frame..pack.first_frame + pack.frames {
            let f = index.frame(frame);
            let codec = if f.entry.codec == Codec::Raw { "not compressed" } else { "zstd" };
            out += &format!(
                "{:08x} {:>9}  frame {:<8} {} blobs, {} bytes, {codec}\n",
                f.offset,
                f.entry.stored,
                frame - pack.first_frame,
                f.entry.blobs,
                f.entry.plain
            );
        }
    }
    Ok((!out.is_empty()).then_some(out))
}
