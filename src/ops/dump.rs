//! Files out of a snapshot as a stream: one file as it is, directories as tar or zip.
//!
//! Nothing is held but the pages on the way down, a chunk, and the names of hard links. What goes
//! wrong in the middle ends the stream: half an archive must not look like a whole one.

use std::collections::HashMap;
use std::io::{self, Write};

use super::list::{Found, Walk};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Context, Meter};
use crate::format::pack::Kind;
use crate::model::ext::Extras;
use crate::model::{Content, Extent, Node, NodeKind, PageRef, Time};
use crate::repo::{Extents, Reader};

mod tar_entry;

/// Holes become zeros in pieces of this.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// How a directory is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// tar, with PAX headers where the old ones do not suffice.
    Tar,
    /// zip.
    Zip,
}

/// Where an archive begins.
pub struct Top<'a> {
    /// The entries.
    pub root: Option<PageRef>,
    /// Their directory's path, which leads their names; `/` for none.
    pub path: &'a [u8],
    /// Names of the owners that occur.
    pub users: &'a [(u32, Vec<u8>)],
    /// Names of the groups that occur.
    pub groups: &'a [(u32, Vec<u8>)],
}

/// Write a found file.
pub fn file(reader: &Reader<'_>, found: &Found, path: &[u8], out: &mut dyn Write, cx: &Context<'_>) -> Result<()> {
    let shown = String::from_utf8_lossy(path);
    match found {
        Found::Node(node) => match &node.kind {
            NodeKind::File { size, content } => content_to(reader, *size, content, out, cx),
            kind => {
                let kind = kind.name();
                Err(Error::new(ErrorKind::Invalid, format!("{shown:?} is a {kind}, not a file")))
            }
        },
        Found::Top(_) => Err(Error::new(ErrorKind::Invalid, format!("{shown:?} is a directory"))),
    }
}

/// Write the bytes of a file, all of them.
fn content_to(reader: &Reader<'_>, size: u64, content: &Content, out: &mut dyn Write, cx: &Context<'_>) -> Result<()> {
    let mut done = 0u64;
    let mut put = |bytes: &[u8]| -> Result<()> {
        done += bytes.len() as u64;
        if done > size {
            return Err(crooked());
        }
        Meter::add(&cx.meter.bytes_done, bytes.len() as u64);
        out.write_all(bytes).map_err(cannot_write)
    };
    if let Content::Inline(bytes) = content {
        put(bytes)?;
    }
    let mut extents = Extents::new(reader, content);
    while let Some(extent) = extents.next()? {
        cx.check()?;
        match extent {
            Extent::Data { id, len, repeat } => {
                let blob = reader.fetch(Kind::Data, &id)?;
                if blob.len() != len as usize {
                    return Err(crooked());
                }
                for _ in 0..repeat {
                    put(&blob)?;
                }
            }
            Extent::Hole { mut len } => {
                while len > 0 {
                    cx.check()?;
                    let n = len.min(ZEROS.len() as u64);
                    put(&ZEROS[..n as usize])?;
                    len -= n;
                }
            }
        }
    }
    if done == size { Ok(()) } else { Err(crooked()) }
}

fn crooked() -> Error {
    Error::new(ErrorKind::Damaged, "a file's extents are not as long as the file")
        .hint("`orlop check` says what else is affected")
}

fn cannot_write(cause: io::Error) -> Error {
    Error::new(ErrorKind::Target, "the output cannot be written")
        .because(cause)
        .hint("what was written so far is a part only: make room, or choose another place, and run it again")
}

/// Write everything below a directory as an archive.
pub fn archive(
    reader: &Reader<'_>,
    top: &Top<'_>,
    format: Format,
    out: &mut dyn Write,
    cx: &Context<'_>,
) -> Result<()> {
    match format {
        Format::Tar => tar_of(reader, top, out, cx),
        Format::Zip => zip_of(reader, top, out, cx),
    }
}

/// Extended attributes and the like; what cannot be had is told.
fn extras(reader: &Reader<'_>, path: &[u8], node: &Node, cx: &Context<'_>) -> Extras {
    let (extras, wrong) = Extras::from_ext(&node.ext, |id, _| match reader.fetch(Kind::Data, id) {
        Ok(blob) => Some(blob.to_vec()),
        Err(e) => {
            cx.problem("damaged", path, "getxattr", e.to_string());
            None
        }
    });
    for e in wrong {
        cx.problem("damaged", path, "getxattr", e.to_string());
    }
    extras
}

fn tar_of(reader: &Reader<'_>, top: &Top<'_>, out: &mut dyn Write, cx: &Context<'_>) -> Result<()> {
    let names = tar_entry::OwnerNames { users: top.users, groups: top.groups };
    let mut first_names: HashMap<[u8; 16], Vec<u8>> = HashMap::new();
    let mut walk = Walk::new(reader, top.root, top.path);
    while let Some((path, node)) = walk.next()? {
        cx.check()?;
        if matches!(node.kind, NodeKind::Socket) {
            let shown = String::from_utf8_lossy(path);
            cx.notice("not-in-archive", format!("{shown} is a socket, which tar cannot hold, and is left out"));
            continue;
        }
        let extras = extras(reader, path, &node, cx);
        let mut name = path.strip_prefix(b"/").unwrap_or(path).to_vec();
        if node.is_dir() {
            name.push(b'/');
        }
        let link = extras.link.filter(|_| !node.is_dir());
        let other = link.and_then(|l| first_names.get(&l));
        let head = tar_entry::head(&name, &node, &extras, &names, other.map(Vec::as_slice));
        out.write_all(&head).map_err(cannot_write)?;
        if let (NodeKind::File { size, content }, None) = (&node.kind, other) {
            content_to(reader, *size, content, out, cx)?;
            let rest = (512 - (*size % 512) as usize) % 512;
            out.write_all(&ZEROS[..rest]).map_err(cannot_write)?;
        }
        if let Some(l) = link {
            first_names.entry(l).or_insert(name);
        }
        Meter::add(&cx.meter.files_done, 1);
    }
    out.write_all(&ZEROS[..1024]).map_err(cannot_write)
}

fn zip_of(reader: &Reader<'_>, top: &Top<'_>, out: &mut dyn Write, cx: &Context<'_>) -> Result<()> {
    let broken = |e: zip::result::ZipError| Error::new(ErrorKind::Target, "the archive cannot be written").because(e);
    let mut zip = zip::ZipWriter::new_stream(out);
    let mut walk = Walk::new(reader, top.root, top.path);
    while let Some((path, node)) = walk.next()? {
        cx.check()?;
        let name = String::from_utf8_lossy(path.strip_prefix(b"/").unwrap_or(path)).into_owned();
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .last_modified_time(dos_time(node.mtime))
            .unix_permissions(node.mode);
        match &node.kind {
            NodeKind::Dir { .. } => zip.add_directory(name, options).map_err(broken)?,
            NodeKind::Symlink { target } => {
                zip.add_symlink(name, String::from_utf8_lossy(target), options).map_err(broken)?;
            }
            NodeKind::File { size, content } => {
                let options = options.large_file(*size >= u64::from(u32::MAX));
                zip.start_file(name, options).map_err(broken)?;
                content_to(reader, *size, content, &mut zip, cx)?;
            }
            kind => {
                let kind = kind.name();
                let shown = String::from_utf8_lossy(path);
                cx.notice("not-in-archive", format!("{shown} is a {kind}, which zip cannot hold, and is left out"));
            }
        }
        Meter::add(&cx.meter.files_done, 1);
    }
    zip.finish().map_err(broken)?.into_inner().flush().map_err(cannot_write)
}

/// Two-second steps from 1980 to 2107, in UTC.
fn dos_time(time: Time) -> zip::DateTime {
    let utc = jiff::Timestamp::from_second(time.sec).ok().map(|t| t.to_zoned(jiff::tz::TimeZone::UTC));
    let date = utc.and_then(|t| {
        let year = u16::try_from(t.year()).ok()?;
        let part = |n: i8| u8::try_from(n).ok();
        zip::DateTime::from_date_and_time(
            year,
            part(t.month())?,
            part(t.day())?,
            part(t.hour())?,
            part(t.minute())?,
            part(t.second())?.min(59),
        )
        .ok()
    });
    date.unwrap_or_default()
}
