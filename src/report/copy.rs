//! What `copy` says, in the words and shapes that restic has for it.

use serde::Serialize;

use super::escape::Names;
use super::snapshots::{Row as SnapshotRow, describe};
use super::{units, wire};

/// A copy into one repository.
#[derive(Debug)]
pub struct Copy {
    /// Where it is, if there are several.
    pub target: Option<String>,
    /// Chosen snapshots.
    pub rows: Vec<Row>,
    /// Of one domain.
    pub mirror: bool,
    /// Statements without content.
    pub hollow: u64,
    /// Packs that went over as they are.
    pub packs: u64,
    /// Packs of which a part did.
    pub partial_packs: u64,
    /// Stored bytes.
    pub bytes: u64,
    /// Nothing was done.
    pub dry_run: bool,
}

/// A chosen snapshot.
#[derive(Debug)]
pub struct Row {
    /// What it is.
    pub source: SnapshotRow,
    /// What became of it.
    pub became: Became,
}

/// What became of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Became {
    /// Copied, as this one; none in a dry run.
    Copied(Option<String>),
    /// There already, as this one.
    There(String),
    /// There once, and forgotten.
    Forgotten,
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// A line for what each is, and one for what became of it.
pub fn text(copy: &Copy, names: Names) -> String {
    let mut out = copy.target.as_ref().map_or_else(String::new, |t| format!("\nto {t}:\n"));
    for row in &copy.rows {
        let id = row.source.short();
        out += &match &row.became {
            Became::There(there) => {
                format!("skipping source snapshot {id}, was already copied to snapshot {}\n", short(there))
            }
            Became::Forgotten => format!("skipping source snapshot {id}, was copied and forgotten there\n"),
            Became::Copied(None) => format!("{}\n  would be copied\n", describe(&row.source, names)),
            Became::Copied(Some(new)) => {
                format!(
                    "{}\n  snapshot {} saved, copied from source snapshot {id}\n",
                    describe(&row.source, names),
                    short(new)
                )
            }
        };
    }
    let copied = copy.rows.iter().filter(|r| matches!(r.became, Became::Copied(_))).count() as u64;
    let many = units::count(copied, "snapshot", "snapshots");
    match (copied, copy.dry_run) {
        (0, _) => out + "no snapshots were copied: there is nothing new\n",
        (_, true) => out + &format!("would copy {many}, {} at most\n", units::bytes(copy.bytes)),
        (_, false) => out + &format!("copied {many}, {} stored\n", units::bytes(copy.bytes)),
    }
}

/// How, for those who want to know more.
pub fn quantities(copy: &Copy) -> String {
    if !copy.mirror {
        return String::new();
    }
    let packs = units::count(copy.packs, "pack", "packs");
    let hollow = units::count(copy.hollow, "statement", "statements");
    format!("{packs} as they are, parts of {} more, {hollow} without content\n", copy.partial_packs)
}

#[derive(Debug, Serialize)]
struct SnapshotJson<'a> {
    message_type: &'static str,
    source_snapshot_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_id: Option<&'a str>,
    action: &'static str,
}

#[derive(Debug, Serialize)]
struct SummaryJson<'a> {
    message_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<&'a str>,
    copied_snapshots: usize,
    skipped_snapshots: usize,
    mirror: bool,
    hollow_statements: u64,
    packs: u64,
    partial_packs: u64,
    stored_bytes: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

/// A line for each snapshot, and a summary.
pub fn json(copy: &Copy) -> String {
    let mut out = String::new();
    let mut copied = 0;
    for row in &copy.rows {
        let (snapshot_id, action) = match &row.became {
            Became::Copied(new) => (new.as_deref(), "copied"),
            Became::There(there) => (Some(there.as_str()), "skipped"),
            Became::Forgotten => (None, "forgotten"),
        };
        copied += usize::from(action == "copied");
        let source_snapshot_id = &row.source.id;
        out += &wire::line(&SnapshotJson { message_type: "snapshot", source_snapshot_id, snapshot_id, action });
    }
    out + &wire::line(&SummaryJson {
        message_type: "summary",
        repository: copy.target.as_deref(),
        copied_snapshots: copied,
        skipped_snapshots: copy.rows.len() - copied,
        mirror: copy.mirror,
        hollow_statements: copy.hollow,
        packs: copy.packs,
        partial_packs: copy.partial_packs,
        stored_bytes: copy.bytes,
        dry_run: copy.dry_run,
    })
}
