//! Phases, files, trouble and progress in words: the lines that the terminal and the plain
//! renderer share.

use super::escape::Names;
use super::progress::Stand;
use super::{Job, Loudness, units};
use crate::event::{Change, ItemKind, Notice, Phase, Problem};

/// How loud one must be to hear of a phase. The others are over before anybody wonders.
pub fn phase_loudness(phase: Phase) -> Loudness {
    match phase {
        Phase::Opening | Phase::Committing | Phase::Planning | Phase::Finishing => Loudness::Verbose,
        _ => Loudness::Normal,
    }
}

/// A phase in a few words.
pub fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Opening => "open repository",
        Phase::BackingUp => "read the source",
        Phase::Committing => "write index and snapshot",
        Phase::Planning => "plan",
        Phase::Restoring => "restore files",
        Phase::Finishing => "set metadata",
        Phase::Verifying => "verify restored files",
        Phase::CheckingStructure => "check records, index and packs",
        Phase::CheckingTrees => "check snapshots and trees",
        Phase::ReadingData => "read data",
        Phase::Marking => "find what is needed",
        Phase::Repacking => "repack",
        Phase::Copying => "copy",
        Phase::Rescuing => "bring back",
        Phase::Deleting => "delete",
    }
}

/// The things a phase counts.
fn things(of: Option<Phase>) -> &'static str {
    match of {
        Some(Phase::CheckingStructure | Phase::Rescuing) => "objects",
        Some(Phase::CheckingTrees | Phase::Marking) => "snapshots",
        Some(Phase::ReadingData) => "packs",
        Some(Phase::Restoring | Phase::Finishing | Phase::Verifying) => "files/dirs",
        _ => "files",
    }
}

/// The line that announces a phase and what is ahead.
pub fn phase_line(which: Phase, items: Option<u64>, bytes: Option<u64>) -> String {
    let name = phase(which);
    let items = items.map(|n| format!("{n} {}", things(Some(which))));
    let bytes = bytes.map(units::bytes);
    let ahead: Vec<String> = items.into_iter().chain(bytes).collect();
    if ahead.is_empty() { name.to_owned() } else { format!("{name}: {}", ahead.join(", ")) }
}

/// The line of a file or directory under `-vv`.
pub fn item_line(job: Job, names: Names, path: &[u8], kind: ItemKind, change: Change, bytes: u64) -> Vec<u8> {
    let mut line = format!("{:<9} ", action(change)).into_bytes();
    line.extend(names.bytes(path));
    let size = units::bytes(bytes);
    match (job, kind, change) {
        (Job::Backup, ItemKind::Dir, _) => {
            if !path.ends_with(b"/") {
                line.push(b'/');
            }
        }
        (Job::Backup, ItemKind::File, Change::Unchanged) | (_, _, Change::Deleted) => {}
        (Job::Backup, ItemKind::File, _) => line.extend(format!(" ({size})").into_bytes()),
        (_, ItemKind::File, _) => line.extend(format!(" with size {size}").into_bytes()),
        (_, ItemKind::Dir, _) => {}
    }
    line.push(b'\n');
    line
}

/// What became of an item, in one word, as restic says it.
pub fn action(change: Change) -> &'static str {
    match change {
        Change::New => "new",
        Change::Modified => "modified",
        Change::Unchanged => "unchanged",
        Change::Restored => "restored",
        Change::Updated => "updated",
        Change::Deleted => "deleted",
    }
}

/// The line of a problem.
pub fn problem_line(names: Names, problem: &Problem) -> Vec<u8> {
    about("error", names, problem)
}

/// The line under `-v` of what was lost without being trouble.
pub fn lost_line(names: Names, lost: &Problem) -> Vec<u8> {
    about("lost", names, lost)
}

fn about(what: &str, names: Names, problem: &Problem) -> Vec<u8> {
    let mut line = format!("{what}[{}]: ", problem.slug).into_bytes();
    if !problem.during.is_empty() {
        line.extend(problem.during.bytes());
        line.push(b' ');
    }
    if !problem.subject.is_empty() {
        line.extend(names.bytes(&problem.subject));
    }
    while line.ends_with(b" ") {
        line.pop();
    }
    line.extend(b": ");
    line.extend(names.text(&problem.message).into_bytes());
    line.push(b'\n');
    line
}

/// The line of a remark.
pub fn notice_line(names: Names, notice: &Notice) -> String {
    format!("{}\n", names.text(&notice.message))
}

/// The line that says the source was counted.
pub fn scan_line(stand: &Stand) -> String {
    let (files, bytes) = (stand.items_total, units::bytes(stand.bytes_total));
    format!("scan finished in {:.3}s: {files} files, {bytes}\n", stand.elapsed.as_secs_f64())
}

/// Where the work stands, in one line, the most wanted first: narrow windows cut its end.
pub fn progress_line(s: &Stand) -> String {
    let clock = units::seconds(s.elapsed.as_secs());
    if s.items_done == 0 && s.bytes_done == 0 && s.items_total == 0 && s.bytes_total == 0 {
        return format!("[{clock}] {}", s.phase.map_or("begin", phase));
    }
    let mut line = format!("[{clock}] {}", ahead(s));
    match s.items_total {
        0 => line += &format!("{} {}", s.items_done, things(s.phase)),
        total => line += &format!("{} / {total} {}", s.items_done, things(s.phase)),
    }
    match s.bytes_total {
        0 if s.bytes_done == 0 => {}
        0 => line += &format!(", {}", units::bytes(s.bytes_done)),
        total => line += &format!(", {} / {}", units::bytes(s.bytes_done), units::bytes(total)),
    }
    if let Some(rate) = s.rate {
        line += &format!(", {}/s", units::bytes(rate as u64));
    }
    if s.problems > 0 {
        line += &format!(", {}", units::count(s.problems, "error", "errors"));
    }
    line
}

/// The share that is done and the time that is left, once the end is known.
fn ahead(s: &Stand) -> String {
    if !s.totals_final {
        return String::new();
    }
    let mut text = match s.bytes_total {
        0 => units::percent(s.items_done, s.items_total),
        total => units::percent(s.bytes_done, total),
    };
    if let Some(left) = s.seconds_left.filter(|_| s.bytes_done < s.bytes_total) {
        text += &format!(" ETA {}", units::seconds(left));
    }
    if text.is_empty() { text } else { text + "  " }
}
