//! Who needs an object, as restic's `find --blob` and its relatives say it.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::escape::{Names, lossy, raw_form};
use super::snapshots::Row;
use super::{units, wire};

/// A place where an object is needed.
pub struct Place<'a> {
    /// A chunk, else a page.
    pub data: bool,
    /// Its id.
    pub id: String,
    /// The file or directory.
    pub path: &'a [u8],
    /// The page that the file stands in.
    pub page: Option<String>,
    /// The packs it is in, where that was asked for.
    pub packs: Vec<String>,
    /// The snapshot.
    pub snapshot: &'a Row,
}

/// Lines.
pub fn text(place: &Place<'_>, names: Names, zone: &TimeZone) -> Vec<u8> {
    let (word, at) = if place.data { ("blob", "in file") } else { ("tree", "path") };
    let mut out = format!("Found {word} {}\n ... {at} ", place.id).into_bytes();
    out.extend(names.bytes(place.path));
    out.push(b'\n');
    if let Some(page) = &place.page {
        out.extend(format!("     (tree {page})\n").into_bytes());
    }
    for pack in &place.packs {
        out.extend(format!(" ... in pack {pack}\n").into_bytes());
    }
    let time = units::wall_clock(place.snapshot.statement.time, zone);
    out.extend(format!(" ... in snapshot {} ({time})\n", place.snapshot.short()).into_bytes());
    out
}

#[derive(Debug, Serialize)]
struct Json<'a> {
    object_type: &'static str,
    id: &'a str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_tree: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    packs: &'a [String],
    snapshot: &'a str,
    time: String,
}

/// One element of a JSON array.
pub fn json(place: &Place<'_>) -> String {
    let statement = &place.snapshot.statement;
    let mut line = wire::line(&Json {
        object_type: if place.data { "blob" } else { "tree" },
        id: &place.id,
        path: lossy(place.path),
        path_b64: raw_form(place.path),
        parent_tree: place.page.as_deref(),
        packs: &place.packs,
        snapshot: &place.snapshot.id,
        time: units::rfc3339(statement.time, statement.utc_offset),
    });
    line.truncate(line.trim_end().len());
    line
}
