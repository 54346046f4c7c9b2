//! What `rewrite` and `merge` say.

use serde::Serialize;

use super::escape::Names;
use super::{units, wire};

/// What became of a snapshot.
#[derive(Debug)]
pub struct Row {
    /// The original, in full.
    pub old: String,
    /// `None` if nothing of it changes.
    pub changed: Option<Changed>,
    /// The original is forgotten, or would be.
    pub removed: bool,
}

/// What changed.
#[derive(Debug)]
pub struct Changed {
    /// Entries that were left out.
    pub dropped: u64,
    /// The new one; `None` in a dry run.
    pub new: Option<String>,
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// An entry that is left out.
pub fn left_out(path: &[u8], names: Names) -> String {
    format!("excluding {}\n", names.shown(path))
}

/// An entry that is not the same in all snapshots.
pub fn differed(path: &[u8], names: Names) -> String {
    format!("differs, newest taken: {}\n", names.shown(path))
}

/// One line for each, and how many there were.
pub fn rewritten(rows: &[Row], dry_run: bool) -> String {
    let mut out = String::new();
    for r in rows {
        let old = short(&r.old);
        let Some(changed) = &r.changed else {
            out += &format!("snapshot {old}: nothing of it changes\n");
            continue;
        };
        let dropped = match changed.dropped {
            0 => String::new(),
            n => format!("{} left out, ", units::count(n, "entry", "entries")),
        };
        out += &match &changed.new {
            Some(new) => format!("snapshot {old}: {dropped}saved as new snapshot {}\n", short(new)),
            None => format!("snapshot {old}: {dropped}would be saved as a new snapshot\n"),
        };
        if r.removed {
            let word = if dry_run { "would be forgotten" } else { "is forgotten" };
            out += &format!("snapshot {old} {word}\n");
        }
    }
    let n = rows.iter().filter(|r| r.changed.is_some()).count() as u64;
    let many = units::count(n, "snapshot", "snapshots");
    match (n, dry_run) {
        (0, _) => out + "no snapshots were modified\n",
        (_, true) => out + &format!("would modify {many}\n"),
        (_, false) => out + &format!("modified {many}\n"),
    }
}

#[derive(Debug, Serialize)]
struct ChangedJson<'a> {
    message_type: &'static str,
    old_snapshot_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_snapshot_id: Option<&'a str>,
    entries_left_out: u64,
    removed: bool,
}

#[derive(Debug, Serialize)]
struct UnchangedJson<'a> {
    message_type: &'static str,
    snapshot_id: &'a str,
}

#[derive(Debug, Serialize)]
struct SummaryJson {
    message_type: &'static str,
    changed_snapshots: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

/// As JSON lines, in the shapes of restic's `tag`.
pub fn rewritten_json(rows: &[Row], dry_run: bool) -> String {
    let one = |r: &Row| match &r.changed {
        None => wire::line(&UnchangedJson { message_type: "unchanged", snapshot_id: &r.old }),
        Some(c) => wire::line(&ChangedJson {
            message_type: "changed",
            old_snapshot_id: &r.old,
            new_snapshot_id: c.new.as_deref(),
            entries_left_out: c.dropped,
            removed: r.removed && !dry_run,
        }),
    };
    let lines: String = rows.iter().map(one).collect();
    let changed_snapshots = rows.iter().filter(|r| r.changed.is_some()).count();
    lines + &wire::line(&SummaryJson { message_type: "summary", changed_snapshots, dry_run })
}

/// What a merge came to.
#[derive(Debug, Default)]
pub struct Merge {
    /// The originals, in full.
    pub merged: Vec<String>,
    /// The new one; `None` in a dry run.
    pub new: Option<String>,
    /// Entries that differed.
    pub conflicts: u64,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of new pages.
    pub stored: u64,
    /// Originals that were forgotten.
    pub removed: Vec<String>,
    /// Nothing was done.
    pub dry_run: bool,
}

/// In words.
pub fn merged(m: &Merge) -> String {
    let ids: Vec<&str> = m.merged.iter().map(|id| short(id)).collect();
    let (files, bytes) = (units::count(m.files, "file", "files"), units::bytes(m.bytes));
    let mut out = format!("{} have {files} together, {bytes}\n", ids.join(", "));
    if m.conflicts > 0 {
        let differed = units::count(m.conflicts, "entry differed", "entries differed");
        out += &format!("{differed}: the one that changed last was taken\n");
    }
    out += &match &m.new {
        Some(new) => format!("snapshot {} saved\n", short(new)),
        None => "nothing was saved: this was a dry run\n".to_owned(),
    };
    if !m.removed.is_empty() {
        out += &format!("forgot {}\n", units::count(m.removed.len() as u64, "snapshot", "snapshots"));
    }
    out
}

#[derive(Debug, Serialize)]
struct MergedJson<'a> {
    message_type: &'static str,
    merged_snapshots: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_id: Option<&'a str>,
    conflicts: u64,
    total_files_processed: u64,
    total_bytes_processed: u64,
    data_added: u64,
    removed_snapshots: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

/// As a JSON line.
pub fn merged_json(m: &Merge) -> String {
    wire::line(&MergedJson {
        message_type: "summary",
        merged_snapshots: &m.merged,
        snapshot_id: m.new.as_deref(),
        conflicts: m.conflicts,
        total_files_processed: m.files,
        total_bytes_processed: m.bytes,
        data_added: m.stored,
        removed_snapshots: &m.removed,
        dry_run: m.dry_run,
    })
}
