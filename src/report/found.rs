//! What `find` finds: restic's blocks of lines and restic's one JSON array, and the history of a path.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::escape::{Names, lossy, raw_form};
use super::listing::{Entry, mode_number, permissions, size_of};
use super::snapshots::Row;
use super::table::Table;
use super::{units, wire};
use crate::model::{Body, Node, NodeKind, Time};

/// The line above the entries of a snapshot.
pub fn heading(row: &Row, zone: &TimeZone) -> String {
    let time = units::wall_clock(row.statement.time, zone);
    format!("Found matching entries in snapshot {} from {time}\n", row.short())
}

#[derive(Debug, Serialize)]
struct Match {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    permissions: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    mtime: String,
    atime: String,
    ctime: String,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linktarget: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linktarget_b64: Option<String>,
}

impl Match {
    fn of(entry: Entry<'_>, body: &Body, zone: &TimeZone) -> Self {
        let node = entry.node;
        let stamp = |t: Time| units::rfc3339_in(t, zone);
        let name = |list: &[(u32, Vec<u8>)], id: u32| list.iter().find(|(n, _)| *n == id).map(|(_, name)| lossy(name));
        let target = match &node.kind {
            NodeKind::Symlink { target } => Some(target),
            _ => None,
        };
        let mode = mode_number(node);
        Self {
            path: lossy(entry.path),
            path_b64: raw_form(entry.path),
            permissions: permissions(node),
            kind: node.kind.name(),
            mode: (mode != 0).then_some(mode),
            mtime: stamp(node.mtime),
            atime: stamp(entry.atime.unwrap_or(node.mtime)),
            ctime: stamp(node.ctime),
            uid: node.uid,
            gid: node.gid,
            user: name(&body.users, node.uid),
            group: name(&body.groups, node.gid),
            inode: (node.ino != 0).then_some(node.ino),
            size: size_of(node).filter(|n| *n != 0),
            linktarget: target.map(|t| lossy(t)),
            linktarget_b64: target.and_then(|t| raw_form(t)),
        }
    }
}

/// One entry as JSON, without a line end: it stands in an array.
pub fn json_match(entry: Entry<'_>, body: &Body, zone: &TimeZone) -> String {
    let mut line = wire::line(&Match::of(entry, body, zone));
    line.truncate(line.trim_end().len());
    line
}

/// A version of a path, with the snapshots it is in.
pub struct Version<'a> {
    /// One of `+ - T M U`.
    pub marker: &'static str,
    /// What it is; `None` where it is not there.
    pub node: Option<&'a Node>,
    /// The first and the last snapshot.
    pub first: &'a Row,
    /// The last.
    pub last: &'a Row,
    /// How many there are.
    pub snapshots: u64,
}

/// The versions of a path in one group of snapshots.
pub struct History<'a> {
    /// The path.
    pub path: &'a [u8],
    /// A snapshot of the group.
    pub of: &'a Row,
    /// How many snapshots the group has.
    pub snapshots: u64,
    /// Oldest first.
    pub versions: Vec<Version<'a>>,
}

/// A table of versions.
pub fn history_text(history: &History<'_>, names: Names, zone: &TimeZone) -> String {
    let sources: Vec<String> = history.of.body.paths.iter().map(|p| names.shown(p)).collect();
    let mut table = Table::new(["", "First seen", "in", "Last seen", "in", "Snapshots", "Size", "Modified"]);
    for v in &history.versions {
        let time = |row: &Row| units::wall_clock(row.statement.time, zone);
        table.row(vec![
            v.marker.to_owned(),
            time(v.first),
            v.first.short().to_owned(),
            time(v.last),
            v.last.short().to_owned(),
            v.snapshots.to_string(),
            v.node.map(|n| units::bytes(n.bytes())).unwrap_or_default(),
            v.node.map(|n| units::wall_clock(n.mtime, zone)).unwrap_or_default(),
        ]);
    }
    let versions = history.versions.iter().filter(|v| v.node.is_some()).count() as u64;
    let footer = format!(
        "{} in {}",
        units::count(versions, "version", "versions"),
        units::count(history.snapshots, "snapshot", "snapshots")
    );
    let (path, host) = (names.shown(history.path), names.text(&history.of.body.hostname));
    format!("{path} in snapshots of [{}] on {host}\n{}", sources.join(", "), table.render(&[footer]))
}

#[derive(Debug, Serialize)]
struct JsonHistory {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    hostname: String,
    paths: Vec<String>,
    snapshots: u64,
    versions: Vec<JsonVersion>,
}

#[derive(Debug, Serialize)]
struct JsonVersion {
    modifier: &'static str,
    first_snapshot: String,
    first_time: String,
    last_snapshot: String,
    last_time: String,
    snapshots: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<Match>,
}

/// All histories as one JSON array.
pub fn history_json(all: &[History<'_>], zone: &TimeZone) -> String {
    let version = |path: &[u8], v: &Version<'_>| JsonVersion {
        modifier: v.marker,
        first_snapshot: v.first.id.clone(),
        first_time: units::rfc3339(v.first.statement.time, v.first.statement.utc_offset),
        last_snapshot: v.last.id.clone(),
        last_time: units::rfc3339(v.last.statement.time, v.last.statement.utc_offset),
        snapshots: v.snapshots,
        node: v.node.map(|node| Match::of(Entry { path, node, atime: None }, &v.last.body, zone)),
    };
    let history = |h: &History<'_>| JsonHistory {
        path: lossy(h.path),
        path_b64: raw_form(h.path),
        hostname: h.of.body.hostname.clone(),
        paths: h.of.body.paths.iter().map(|p| lossy(p)).collect(),
        snapshots: h.snapshots,
        versions: h.versions.iter().map(|v| version(h.path, v)).collect(),
    };
    wire::line(&all.iter().map(history).collect::<Vec<_>>())
}
