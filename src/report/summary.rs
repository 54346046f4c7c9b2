//! What an operation came to: the closing words of backup, restore and check, and their JSON.

use serde::Serialize;

use super::escape::harmless;
use super::units::{bytes, count, rfc3339, seconds, seconds_between};
use super::wire::{self, zero};
use super::{Job, Loudness};
use super::{fidelity, requests};
use crate::id::{PackId, RecordId};
use crate::model::{Stats, Time};

/// What a backup came to.
#[derive(Debug, Clone)]
pub struct Backup {
    /// In which of several repositories; `None` for the only one.
    pub repository: Option<String>,
    /// Counts.
    pub stats: Stats,
    /// When it began.
    pub started: Time,
    /// When it ended.
    pub ended: Time,
    /// Offset of the local zone from UTC, in seconds.
    pub utc_offset: i32,
    /// The new snapshot; `None` if there is none because nothing changed or nothing was written.
    pub snapshot: Option<RecordId>,
    /// Nothing was written.
    pub dry_run: bool,
    /// What was told as trouble or as lost, by slug.
    pub lacks: Vec<(&'static str, u64)>,
    /// What was asked of the storage.
    pub requests: Vec<requests::Count>,
}

/// In words.
pub fn backup_text(b: &Backup, loudness: Loudness) -> String {
    let s = &b.stats;
    let line = |what: &str, new: u64, changed: u64, same: u64| {
        format!("{what:<12} {new:5} new, {changed:5} changed, {same:5} unmodified\n")
    };
    let mut out =
        b.repository.as_ref().map_or_else(String::new, |name| format!("\nrepository {}\n", harmless(name.as_bytes())));
    out += "\n";
    out += &line("Files:", s.files_new, s.files_changed, s.files_unmodified);
    out += &line("Dirs:", s.dirs_new, s.dirs_changed, s.dirs_unmodified);
    if loudness >= Loudness::Verbose {
        out += &format!("Data Blobs:  {:5} new\nTree Blobs:  {:5} new\n", s.data_blobs, s.tree_blobs);
    }
    let verb = if b.dry_run { "Would add" } else { "Added" };
    let (added, stored) = (bytes(s.data_added), bytes(s.data_added_packed));
    out += &format!("{verb} to the repository: {added:<5} ({stored:<5} stored)\n\n");
    let time = seconds(seconds_between(b.started, b.ended) as u64);
    out += &format!("processed {} files, {} in {time}\n", s.files_processed, bytes(s.bytes_processed));
    match b.snapshot {
        _ if b.dry_run => {}
        Some(id) => out += &format!("snapshot {} saved\n", id.short()),
        None => out += "skipped creating snapshot\n",
    }
    out + &fidelity::text(Job::Backup, &b.lacks, loudness)
}

#[derive(Debug, Serialize)]
struct BackupJson<'b> {
    message_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<&'b str>,
    files_new: u64,
    files_changed: u64,
    files_unmodified: u64,
    dirs_new: u64,
    dirs_changed: u64,
    dirs_unmodified: u64,
    data_blobs: u64,
    tree_blobs: u64,
    data_added: u64,
    data_added_packed: u64,
    total_files_processed: u64,
    total_bytes_processed: u64,
    total_duration: f64,
    backup_start: String,
    backup_end: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_id: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    #[serde(skip_serializing_if = "zero")]
    total_errors: u64,
    fidelity: Vec<fidelity::Row>,
    requests: Vec<requests::Row>,
}

/// As a JSON line.
pub fn backup_json(b: &Backup) -> String {
    let s = &b.stats;
    wire::line(&BackupJson {
        message_type: "summary",
        repository: b.repository.as_deref(),
        files_new: s.files_new,
        files_changed: s.files_changed,
        files_unmodified: s.files_unmodified,
        dirs_new: s.dirs_new,
        dirs_changed: s.dirs_changed,
        dirs_unmodified: s.dirs_unmodified,
        data_blobs: s.data_blobs,
        tree_blobs: s.tree_blobs,
        data_added: s.data_added,
        data_added_packed: s.data_added_packed,
        total_files_processed: s.files_processed,
        total_bytes_processed: s.bytes_processed,
        total_duration: seconds_between(b.started, b.ended),
        backup_start: rfc3339(b.started, b.utc_offset),
        backup_end: rfc3339(b.ended, b.utc_offset),
        snapshot_id: b.snapshot.map(|id| id.hex()),
        dry_run: b.dry_run,
        total_errors: s.problems,
        fidelity: fidelity::json(Job::Backup, &b.lacks),
        requests: requests::json(&b.requests),
    })
}

/// An interrupted backup left this.
pub fn incomplete_saved(id: &RecordId) -> String {
    let short = id.short();
    format!("interrupted: incomplete snapshot {short} saved; the next backup goes on from it\n")
}

/// What a restore came to. Files are entries of any kind but the root.
#[derive(Debug, Clone, Default)]
pub struct Restore {
    /// Entries selected.
    pub files: u64,
    /// Entries restored.
    pub files_restored: u64,
    /// Entries that were right already.
    pub files_skipped: u64,
    /// Entries removed with `--delete`.
    pub files_deleted: u64,
    /// Bytes selected.
    pub bytes: u64,
    /// Bytes written.
    pub bytes_restored: u64,
    /// Bytes that were right already.
    pub bytes_skipped: u64,
    /// Entries that could not be restored.
    pub problems: u64,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// Nothing was written.
    pub dry_run: bool,
    /// What was told as trouble or as lost, by slug.
    pub lacks: Vec<(&'static str, u64)>,
}

/// In words.
pub fn restore_text(r: &Restore, loudness: Loudness) -> String {
    let verb = if r.dry_run { "Would restore" } else { "Restored" };
    let (time, total) = (seconds(r.seconds), bytes(r.bytes));
    let mut out = if (r.files_restored, r.bytes_restored) == (r.files, r.bytes) {
        format!("Summary: {verb} {} files/dirs ({total}) in {time}", r.files)
    } else {
        let (done, written) = (r.files_restored, bytes(r.bytes_restored));
        format!("Summary: {verb} {done} / {} files/dirs ({written} / {total}) in {time}", r.files)
    };
    if r.files_skipped > 0 {
        out += &format!(", skipped {} files/dirs {}", r.files_skipped, bytes(r.bytes_skipped));
    }
    if r.files_deleted > 0 {
        out += &format!(", deleted {} files/dirs", r.files_deleted);
    }
    if r.problems > 0 {
        out += &format!(", {}", count(r.problems, "error", "errors"));
    }
    out + "\n" + &fidelity::text(Job::Restore, &r.lacks, loudness)
}

#[derive(Debug, Serialize)]
struct RestoreJson {
    message_type: &'static str,
    #[serde(skip_serializing_if = "zero")]
    seconds_elapsed: u64,
    #[serde(skip_serializing_if = "zero")]
    total_files: u64,
    #[serde(skip_serializing_if = "zero")]
    files_restored: u64,
    #[serde(skip_serializing_if = "zero")]
    files_skipped: u64,
    #[serde(skip_serializing_if = "zero")]
    files_deleted: u64,
    #[serde(skip_serializing_if = "zero")]
    total_bytes: u64,
    #[serde(skip_serializing_if = "zero")]
    bytes_restored: u64,
    #[serde(skip_serializing_if = "zero")]
    bytes_skipped: u64,
    #[serde(skip_serializing_if = "zero")]
    error_count: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    fidelity: Vec<fidelity::Row>,
}

/// As a JSON line.
pub fn restore_json(r: &Restore) -> String {
    wire::line(&RestoreJson {
        message_type: "summary",
        seconds_elapsed: r.seconds,
        total_files: r.files,
        files_restored: r.files_restored,
        files_skipped: r.files_skipped,
        files_deleted: r.files_deleted,
        total_bytes: r.bytes,
        bytes_restored: r.bytes_restored,
        bytes_skipped: r.bytes_skipped,
        error_count: r.problems,
        dry_run: r.dry_run,
        fidelity: fidelity::json(Job::Restore, &r.lacks),
    })
}

/// What a check came to.
#[derive(Debug, Clone, Default)]
pub struct Check {
    /// How many things are wrong.
    pub errors: u64,
    /// Packs that are damaged or gone.
    pub broken_packs: Vec<PackId>,
    /// The index could be written anew from the packs.
    pub suggest_repair_index: bool,
    /// There are stored things that nothing needs.
    pub suggest_prune: bool,
}

/// In words.
pub fn check_text(c: &Check) -> String {
    let mut out = String::new();
    if c.suggest_prune {
        out += "some stored data is not needed by any snapshot; that is harmless\n";
    }
    if c.errors == 0 {
        return out + "no errors were found\n";
    }
    out += &count(c.errors, "error was found\n", "errors were found\n");
    if !c.broken_packs.is_empty() {
        out += "damaged or missing packs:\n";
        for pack in &c.broken_packs {
            out += &format!("  {pack}\n");
        }
    }
    if c.suggest_repair_index {
        out += "the index is damaged, the packs hold what it said\n";
    }
    out
}

#[derive(Debug, Serialize)]
struct CheckJson {
    message_type: &'static str,
    num_errors: u64,
    broken_packs: Option<Vec<String>>,
    suggest_repair_index: bool,
    suggest_prune: bool,
}

/// As a JSON line.
pub fn check_json(c: &Check) -> String {
    let packs: Vec<String> = c.broken_packs.iter().map(|p| p.hex()).collect();
    wire::line(&CheckJson {
        message_type: "summary",
        num_errors: c.errors,
        broken_packs: (!packs.is_empty()).then_some(packs),
        suggest_repair_index: c.suggest_repair_index,
        suggest_prune: c.suggest_prune,
    })
}
