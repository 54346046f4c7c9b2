//! What `stats` counts: restic's lines and restic's JSON, and who uses the space.

use serde::Serialize;

use super::escape::Names;
use super::table::Table;
use super::{units, wire};

/// Sums of one mode; what it does not count is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// What restic calls the mode.
    pub mode: &'static str,
    /// Snapshots that were looked at.
    pub snapshots: u64,
    /// Bytes.
    pub bytes: u64,
    /// Entries or files.
    pub files: Option<u64>,
    /// Blobs.
    pub blobs: Option<u64>,
    /// Bytes of the blobs before compression.
    pub plain: Option<u64>,
}

impl Totals {
    fn ratio(&self) -> Option<f64> {
        self.plain.filter(|_| self.bytes > 0).map(|plain| plain as f64 / self.bytes as f64)
    }
    fn saving(&self) -> Option<f64> {
        let plain = self.plain.filter(|plain| *plain > 0)?;
        Some((1.0 - self.bytes as f64 / plain as f64) * 100.0)
    }
}

/// Lines.
pub fn text(t: &Totals) -> String {
    let mut out = format!("Stats in {} mode:\n", t.mode);
    let mut line = |name: &str, value: String| out += &format!("{name:>24}:  {value}\n");
    line("Snapshots processed", t.snapshots.to_string());
    if let Some(blobs) = t.blobs {
        line("Total Blob Count", blobs.to_string());
    }
    if let Some(files) = t.files {
        line("Total File Count", files.to_string());
    }
    if let Some(plain) = t.plain {
        line("Total Uncompressed Size", units::bytes(plain));
    }
    line("Total Size", units::bytes(t.bytes));
    if let (Some(ratio), Some(saving)) = (t.ratio(), t.saving()) {
        line("Compression Ratio", format!("{ratio:.2}x"));
        line("Compression Space Saving", format!("{saving:.2}%"));
    }
    out
}

#[derive(Debug, Serialize)]
struct Json {
    total_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_uncompressed_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression_space_saving: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_file_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_blob_count: Option<u64>,
    snapshots_count: u64,
}

/// One JSON document.
pub fn json(t: &Totals) -> String {
    wire::line(&Json {
        total_size: t.bytes,
        total_uncompressed_size: t.plain,
        compression_ratio: t.ratio(),
        compression_space_saving: t.saving(),
        total_file_count: t.files,
        total_blob_count: t.blobs,
        snapshots_count: t.snapshots,
    })
}

/// What a group of snapshots uses.
#[derive(Debug, Clone, Serialize)]
pub struct Usage {
    /// What makes it a group: a host, paths, tags, a snapshot's id.
    pub of: Vec<String>,
    /// How many snapshots it has.
    pub snapshots: u64,
    /// Bytes of files in all of them.
    pub restore_size: u64,
    /// Bytes stored for it, shared ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_size: Option<u64>,
    /// Bytes stored that nothing else needs.
    pub unique_size: u64,
}

/// A table, those who would free most first.
pub fn usage_text(what: &str, groups: &[Usage], names: Names) -> String {
    let stored = groups.iter().any(|g| g.stored_size.is_some());
    let mut table = Table::new([what, "Snapshots", "Restored"]);
    if stored {
        table.column("Stored for it");
    }
    table.column("Only for it");
    for g in groups {
        let of: Vec<String> = g.of.iter().map(|part| names.text(part)).collect();
        let mut cells = vec![of.join("\n"), g.snapshots.to_string(), units::bytes(g.restore_size)];
        if stored {
            cells.push(g.stored_size.map(units::bytes).unwrap_or_default());
        }
        cells.push(units::bytes(g.unique_size));
        table.row(cells);
    }
    let unique: u64 = groups.iter().map(|g| g.unique_size).sum();
    table.render(&[format!("{} in all would be free only with the one that needs it", units::bytes(unique))])
}

/// One JSON array.
pub fn usage_json(groups: &[Usage]) -> String {
    wire::line(&groups)
}
