//! The contents of snapshots, entry by entry: restic's short and long lines, restic's JSON.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::escape::{Names, lossy, raw_form};
use super::snapshots::{Json, Row};
use super::{units, wire};
use crate::model::ext::decode_time;
use crate::model::{Node, NodeKind, Time, ext_tag};

/// One entry.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Where it is in the snapshot, absolute.
    pub path: &'a [u8],
    /// What it is.
    pub node: &'a Node,
    /// When it was read last, where that was recorded.
    pub atime: Option<Time>,
}

/// When an entry was read last, where that was recorded.
pub fn atime(node: &Node) -> Option<Time> {
    decode_time(ext_tag::ATIME, &node.ext(ext_tag::ATIME)?.data).ok()
}

/// How entries are shown.
#[derive(Debug, Clone, Copy)]
pub struct LineStyle {
    /// With mode, owner, size and time.
    pub long: bool,
    /// Sizes with units.
    pub human_readable: bool,
    /// How names are written.
    pub names: Names,
}

/// An entry as a line.
pub fn line(entry: Entry<'_>, style: LineStyle, zone: &TimeZone) -> Vec<u8> {
    let mut out = Vec::with_capacity(entry.path.len() + 64);
    if style.long {
        let (node, size) = (entry.node, size_of(entry.node).unwrap_or(0));
        let size = match style.human_readable {
            true => units::bytes(size),
            false => format!("{size:6}"),
        };
        let (mode, time) = (permissions(node), units::wall_clock(node.mtime, zone));
        let (uid, gid) = (node.uid, node.gid);
        out.extend(format!("{mode} {uid:5} {gid:5} {size} {time} ").into_bytes());
    }
    out.extend(style.names.bytes(entry.path));
    if let (true, NodeKind::Symlink { target }) = (style.long, &entry.node.kind) {
        out.extend(b" -> ");
        out.extend(style.names.bytes(target));
    }
    out.push(b'\n');
    out
}

/// The size of a file.
pub(super) fn size_of(node: &Node) -> Option<u64> {
    match node.kind {
        NodeKind::File { size, .. } => Some(size),
        _ => None,
    }
}

/// Mode bits as restic numbers them: the type and setuid, setgid and sticky have bits of their
/// own high up, the permissions are the usual nine below.
pub(super) fn mode_number(node: &Node) -> u32 {
    let kind = match node.kind {
        NodeKind::File { .. } => 0,
        NodeKind::Dir { .. } => 1 << 31,
        NodeKind::Symlink { .. } => 1 << 27,
        NodeKind::BlockDevice { .. } => 1 << 26,
        NodeKind::CharDevice { .. } => 1 << 26 | 1 << 21,
        NodeKind::Fifo => 1 << 25,
        NodeKind::Socket => 1 << 24,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special.iter().filter(|(bit, _)| node.mode & bit != 0).map(|(_, to)| to);
    kind | special.sum::<u32>() | node.mode & 0o777
}

/// `drwxr-xr-x`, `Lrwxrwxrwx`, `ugtrwxr-xr-x`: as restic writes modes.
pub fn permissions(node: &Node) -> String {
    const LETTERS: &[u8; 12] = b"dalTLDpSugct";
    let mode = mode_number(node);
    let letters = LETTERS.iter().enumerate();
    let set = letters.filter(|(i, _)| mode & 1 << (31 - i) != 0);
    let mut out: String = set.map(|(_, &letter)| char::from(letter)).collect();
    if out.is_empty() {
        out.push('-');
    }
    for (i, letter) in "rwxrwxrwx".chars().enumerate() {
        out.push(if mode & 1 << (8 - i) != 0 { letter } else { '-' });
    }
    out
}

#[derive(Debug, Serialize)]
struct JsonNode {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_b64: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    permissions: String,
    mtime: String,
    atime: String,
    ctime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linktarget: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linktarget_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<u64>,
    message_type: &'static str,
    struct_type: &'static str,
}

/// An entry as a JSON line.
pub fn json(entry: Entry<'_>, zone: &TimeZone) -> String {
    let node = entry.node;
    let stamp = |t: Time| units::rfc3339_in(t, zone);
    let mode = mode_number(node);
    let target = match &node.kind {
        NodeKind::Symlink { target } => Some(target),
        _ => None,
    };
    wire::line(&JsonNode {
        name: lossy(&node.name),
        name_b64: raw_form(&node.name),
        kind: node.kind.name(),
        path: lossy(entry.path),
        path_b64: raw_form(entry.path),
        uid: node.uid,
        gid: node.gid,
        size: size_of(node),
        mode: (mode != 0).then_some(mode),
        permissions: permissions(node),
        mtime: stamp(node.mtime),
        atime: stamp(entry.atime.unwrap_or(node.mtime)),
        ctime: stamp(node.ctime),
        inode: (node.ino != 0).then_some(node.ino),
        linktarget: target.map(|t| lossy(t)),
        linktarget_b64: target.and_then(|t| raw_form(t)),
        device: match node.kind {
            NodeKind::CharDevice { device } | NodeKind::BlockDevice { device } => Some(device),
            _ => None,
        },
        message_type: "node",
        struct_type: "node",
    })
}

#[derive(Debug, Serialize)]
struct JsonHead {
    #[serde(flatten)]
    snapshot: Json,
    message_type: &'static str,
    struct_type: &'static str,
}

/// The JSON line that comes before the entries.
pub fn json_head(row: &Row) -> String {
    let snapshot = Json::of(row);
    wire::line(&JsonHead { snapshot, message_type: "snapshot", struct_type: "snapshot" })
}
