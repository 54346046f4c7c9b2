//! What a prune came to, in words and as JSON.

use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

use super::units::{bytes, count, rfc3339, wall_clock};
use super::wire;
use crate::model::Time;

/// What a prune came to.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs, reason = "they are the keys of the JSON and say it")]
pub struct Prune {
    pub dry_run: bool,
    pub repack_blobs: u64,
    pub repack_bytes: u64,
    pub removed_blobs: u64,
    pub removed_bytes: u64,
    pub delete_blobs: u64,
    pub delete_bytes: u64,
    pub remaining_blobs: u64,
    pub remaining_bytes: u64,
    pub unused_bytes: u64,
    pub deleted_packs: u64,
    pub deleted_bytes: u64,
    pub earlier_packs: u64,
    pub earlier_bytes: u64,
    pub forgotten_kept: u64,
    #[serde(serialize_with = "moment", skip_serializing_if = "Option::is_none")]
    pub forgotten_kept_until: Option<Time>,
    pub forgotten_ended: u64,
    pub refused: u64,
    pub pending: Vec<Pending>,
}

/// What is condemned and not deleted yet.
#[derive(Debug, Clone, Serialize)]
#[serde(into = "PendingJson")]
pub struct Pending {
    /// How much.
    pub bytes: u64,
    /// Not before this time.
    pub not_before: Option<Time>,
    /// Who is in the way: host, process, since when, bytes done as far as it said.
    pub session: Option<(String, u32, Time, u64)>,
}

/// In words.
pub fn text(p: &Prune, zone: &TimeZone) -> String {
    let line = |what: &str, blobs: u64, n: u64| format!("{what:<14} {blobs:>10} blobs / {}\n", bytes(n));
    let mut out = String::new();
    if p.dry_run {
        out += "Would have made the following changes:\n";
    }
    out += "\n";
    out += &line("to repack:", p.repack_blobs, p.repack_bytes);
    out += &line("this removes:", p.removed_blobs, p.removed_bytes);
    out += &line("to delete:", p.delete_blobs, p.delete_bytes);
    out += &total(p);
    out += &line("remaining:", p.remaining_blobs, p.remaining_bytes);
    let share = 100.0 * p.unused_bytes as f64 / p.remaining_bytes.max(1) as f64;
    out += &format!("unused size after prune: {} ({share:.2}% of remaining size)\n\n", bytes(p.unused_bytes));
    if p.deleted_packs > 0 {
        let (packs, freed) = (count(p.deleted_packs, "pack", "packs"), bytes(p.deleted_bytes));
        out += &match p.dry_run {
            true => format!("would delete {packs}, {freed} would be free again\n"),
            false => format!("deleted {packs}, {freed} are free again\n"),
        };
    }
    if p.refused > 0 {
        let objects = count(p.refused, "object", "objects");
        out += &format!("the storage would not delete {objects}, so they stay until it does: later runs try again\n");
    }
    for pending in &p.pending {
        out += &waiting(pending, p.dry_run, zone);
    }
    out + &forgotten(p, zone)
}

/// Why what was forgotten takes its space still, and what of it is over.
fn forgotten(p: &Prune, zone: &TimeZone) -> String {
    let snapshots = |n| count(n, "forgotten snapshot", "forgotten snapshots");
    let mut out = String::new();
    if let Some(until) = p.forgotten_kept_until.map(|t| wall_clock(t, zone)) {
        let all = snapshots(p.forgotten_kept);
        let (kept, what) = match p.forgotten_kept {
            1 => (format!("{all} is kept until {until} and can be brought back"), "it alone needs"),
            _ => (format!("{all} are kept and can be brought back, the first until {until}"), "they alone need"),
        };
        out += &format!("{kept}; `prune --now` frees what {what}\n");
    }
    if p.forgotten_ended > 0 {
        let can = if p.dry_run { "could" } else { "can" };
        out += &format!("{} {can} no longer be brought back\n", snapshots(p.forgotten_ended));
    }
    out
}

/// What goes in all; what earlier runs condemned is known by its packs only.
fn total(p: &Prune) -> String {
    let (blobs, all) = (p.removed_blobs + p.delete_blobs, p.removed_bytes + p.delete_bytes + p.earlier_bytes);
    let all = bytes(all);
    if p.earlier_packs == 0 {
        return format!("{:<14} {blobs:>10} blobs / {all}\n", "total prune:");
    }
    let (packs, earlier) = (p.earlier_packs, bytes(p.earlier_bytes));
    format!(
        "{:<14} {packs:>10} packs / {earlier}\n{:<14} {blobs:>10} blobs, {} / {all}\n",
        "from earlier:",
        "total prune:",
        count(packs, "pack", "packs"),
    )
}

fn waiting(p: &Pending, dry_run: bool, zone: &TimeZone) -> String {
    let are = if dry_run { "would be" } else { "are" };
    let condemned = format!("{} {are} condemned and not free yet", bytes(p.bytes));
    let after = p.not_before.map(|t| format!("a prune after {} frees them", wall_clock(t, zone)));
    let who = p.session.as_ref().map(|(host, pid, since, progress)| {
        let since = wall_clock(*since, zone);
        // It says how far it is every ten minutes only.
        let done = if *progress > 0 { format!(" ({} done)", bytes(*progress)) } else { String::new() };
        format!("process {pid} on {host}, at work since {since}{done}, may use them")
    });
    match (after, who) {
        (None, None) => format!("{condemned}: prune again\n"),
        (Some(after), None) => format!("{condemned}: {after}, `--now` at once\n"),
        (Some(after), Some(who)) => format!("{condemned}: {after}; until it is done, {who}\n"),
        (None, Some(who)) => format!(
            "{condemned}: {who}; prune again when it is done, or give it up with `--fence`; \
             a day without a sign of life, and it counts as given up\n"
        ),
    }
}

fn moment<S: Serializer>(time: &Option<Time>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|t| rfc3339(t, 0)).serialize(to)
}

#[derive(Debug, Serialize)]
struct PendingJson {
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
}

impl From<Pending> for PendingJson {
    fn from(p: Pending) -> Self {
        let (host, pid) = p.session.map(|(host, pid, ..)| (host, pid)).unzip();
        Self { bytes: p.bytes, not_before: p.not_before.map(|t| rfc3339(t, 0)), host, pid }
    }
}

#[derive(Serialize)]
struct PruneJson<'p> {
    message_type: &'static str,
    #[serde(flatten)]
    prune: &'p Prune,
}

/// As a JSON line.
pub fn json(prune: &Prune) -> String {
    wire::line(&PruneJson { message_type: "summary", prune })
}
