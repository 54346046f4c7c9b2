//! The report on fidelity: what a snapshot lacks of its source, or what was restored of its snapshot.
//!
//! Whatever is told of a file as trouble or as lost is counted by its slug; these are the slugs that
//! mean that something of a file is not as it was, and what they mean.

use serde::Serialize;

use super::{Job, Loudness};

/// One way of not being as it was.
struct Kind {
    slug: &'static str,
    job: Job,
    /// No program can do better, so that it is said only with `-v` and in JSON.
    nature: bool,
    /// What became of those that are counted; of one or more files.
    means: &'static str,
}

const fn kind(job: Job, slug: &'static str, means: &'static str) -> Kind {
    Kind { slug, job, nature: false, means }
}

const fn nature(job: Job, slug: &'static str, means: &'static str) -> Kind {
    Kind { slug, job, nature: true, means }
}

/// In the order in which they are told: the gravest first.
const KINDS: &[Kind] = &[
    kind(Job::Backup, "unreadable", "missing: could not be read"),
    kind(Job::Backup, "unsupported", "missing: of a kind that cannot be kept"),
    kind(Job::Backup, "vanished", "missing: not there when it was to be read"),
    kind(Job::Backup, "too-deep", "left out: too many directories in each other"),
    kind(Job::Backup, "changed-while-read", "perhaps a mixture of several moments"),
    kind(Job::Backup, "xattrs", "without extended attributes that could not be read"),
    kind(Job::Backup, "flags", "without chattr flags, which could not be read"),
    nature(Job::Backup, "sockets", "kept by name: what answers at a socket is no file"),
    kind(Job::Restore, "damaged", "incomplete: damaged in the repository"),
    kind(Job::Restore, "not-restored", "not there, or as before"),
    kind(Job::Restore, "differs", "other than what was written, as --verify found"),
    kind(Job::Restore, "rejected-name", "left out: no file can have such a name"),
    kind(Job::Restore, "too-deep", "left out: no file system is as deep"),
    kind(Job::Restore, "devices", "left out: only root makes devices, from snapshots of the owner's key"),
    kind(Job::Restore, "setuid", "without setuid or setgid: only root sets them, from snapshots of the owner's key"),
    kind(Job::Restore, "owner", "with another owner or group: only root gives files away, some file systems know none"),
    kind(Job::Restore, "mode", "with other permissions: the file system does not know these"),
    kind(Job::Restore, "acls", "without ACL: the mode alone says who may do what"),
    kind(Job::Restore, "xattrs", "without extended attributes that this user or file system cannot set"),
    kind(Job::Restore, "flags", "without chattr flags that this user or file system cannot set"),
    kind(Job::Restore, "times", "with another time: the file system keeps coarser or fewer ones"),
    kind(Job::Restore, "hard-links", "a file of its own that was a further name of another"),
    kind(Job::Restore, "holes", "with more space on the disk: the file system keeps no holes"),
    nature(Job::Restore, "birth-time", "born now: nobody can set when a file was made"),
];

/// A line of the report.
#[derive(Debug, Serialize)]
pub struct Row {
    slug: &'static str,
    count: u64,
    message: &'static str,
}

/// What was counted, as far as it says something about fidelity.
fn rows(job: Job, lacks: &[(&'static str, u64)], nature: bool) -> Vec<Row> {
    let mut out = Vec::new();
    for kind in KINDS.iter().filter(|k| k.job == job && (nature || !k.nature)) {
        if let Some((_, count)) = lacks.iter().find(|(slug, _)| *slug == kind.slug) {
            out.push(Row { slug: kind.slug, count: *count, message: kind.means });
        }
    }
    out
}

/// Every slug that this report can have.
pub fn slugs() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|k| k.slug)
}

/// Under `fidelity` in a summary; empty if all is as it was.
pub fn json(job: Job, lacks: &[(&'static str, u64)]) -> Vec<Row> {
    rows(job, lacks, true)
}

/// In words, behind the summary; nothing if all is as it was.
pub fn text(job: Job, lacks: &[(&'static str, u64)], loudness: Loudness) -> String {
    let rows = rows(job, lacks, loudness >= Loudness::Verbose);
    let Some(first) = rows.first() else { return String::new() };
    let head = match job {
        Job::Backup => "not captured as it is:",
        _ => "not brought back as it was:",
    };
    let slugs = rows.iter().map(|r| r.slug.len()).max().unwrap_or(0);
    let counts = rows.iter().map(|r| r.count.to_string().len()).max().unwrap_or(0);
    let mut out = format!("{head}\n");
    for r in &rows {
        out += &format!("  {:slugs$}  {:counts$} {}\n", r.slug, r.count, r.message);
    }
    let named = if loudness >= Loudness::Verbose { "" } else { "-v names each file, " };
    out + &format!("  ({named}`orlop explain {}` says more)\n", first.slug)
}
