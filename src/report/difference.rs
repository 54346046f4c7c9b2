//! What `diff` finds: restic's markers, restic's statistics, restic's JSON.

use serde::Serialize;

use super::escape::{Names, lossy, raw_form};
use super::{units, wire};

/// What is different about an entry, as letters: `+`, `-`, or some of `T`, `M`, `?`, `U`.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Where it is.
    pub path: &'a [u8],
    /// Whether it is a directory.
    pub dir: bool,
    /// The letters.
    pub modifier: &'a str,
}

impl Change<'_> {
    fn shown(&self) -> Vec<u8> {
        let mut path = self.path.to_vec();
        if self.dir {
            path.push(b'/');
        }
        path
    }
}

/// A line.
pub fn line(change: &Change<'_>, names: Names) -> Vec<u8> {
    let mut out = format!("{:<5}", change.modifier).into_bytes();
    out.extend(names.bytes(&change.shown()));
    out.push(b'\n');
    out
}

#[derive(Debug, Serialize)]
struct JsonChange<'a> {
    message_type: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    modifier: &'a str,
}

/// The same for programs.
pub fn json(change: &Change<'_>) -> String {
    let path = change.shown();
    let (path, path_b64) = (lossy(&path), raw_form(&path));
    wire::line(&JsonChange { message_type: "change", path, path_b64, modifier: change.modifier })
}

/// What one side has and the other has not.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Side {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Anything else.
    pub others: u64,
    /// Chunks; unknown of a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_blobs: Option<u64>,
    /// Pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree_blobs: Option<u64>,
    /// Their bytes before compression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What a comparison came to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// The first.
    pub source: String,
    /// The second.
    pub target: String,
    /// Files whose content is different.
    pub changed_files: u64,
    /// Only in the second.
    pub added: Side,
    /// Only in the first.
    pub removed: Side,
}

/// The statistics.
pub fn summary_text(s: &Summary) -> String {
    let (a, r) = (&s.added, &s.removed);
    let mut out = format!("\nFiles:       {:5} new, {:5} removed, {:5} changed\n", a.files, r.files, s.changed_files);
    out += &format!("Dirs:        {:5} new, {:5} removed\n", a.dirs, r.dirs);
    out += &format!("Others:      {:5} new, {:5} removed\n", a.others, r.others);
    if let (Some(new), Some(gone)) = (a.data_blobs, r.data_blobs) {
        out += &format!("Data Blobs:  {new:5} new, {gone:5} removed\n");
    }
    if let (Some(new), Some(gone)) = (a.tree_blobs, r.tree_blobs) {
        out += &format!("Tree Blobs:  {new:5} new, {gone:5} removed\n");
    }
    if let (Some(new), Some(gone)) = (a.bytes, r.bytes) {
        out += &format!("  Added:   {}\n  Removed: {}\n", units::bytes(new), units::bytes(gone));
    }
    out
}

#[derive(Debug, Serialize)]
struct JsonSummary<'a> {
    message_type: &'static str,
    source_snapshot: &'a str,
    target_snapshot: &'a str,
    changed_files: u64,
    added: Side,
    removed: Side,
}

/// The same for programs.
pub fn summary_json(s: &Summary) -> String {
    wire::line(&JsonSummary {
        message_type: "statistics",
        source_snapshot: &s.source,
        target_snapshot: &s.target,
        changed_files: s.changed_files,
        added: s.added,
        removed: s.removed,
    })
}
