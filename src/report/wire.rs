//! `--json`: one JSON object per line, with restic's message types and keys.
//!
//! These shapes are a promise to other people's scripts, so they are types of their own: a rename
//! inside never changes them. What restic does not have is added beside its keys, never in their
//! place: `slug`, `operation`, and `*_b64` beside a name that is no UTF-8 (the name itself then
//! has U+FFFD where bytes were lost). Results go to standard output, trouble to standard error.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::escape::{json_escapes, lossy, raw_form, raw_forms};
use super::progress::{Progress, Stand};
use super::{Job, Loudness, Renderer, Sinks, exit, problem, words};
use crate::error::Error;
use crate::event::{Change, Event, ItemKind, Meter, Notice, Observer, Problem};

/// Any message as a line.
pub fn line(message: &impl Serialize) -> String {
    let mut text = serde_json::to_string(message).expect("these types have string keys only");
    text.push('\n');
    json_escapes(text)
}

/// For keys that are left out where they are 0.
pub(super) fn zero(n: &u64) -> bool {
    *n == 0
}

/// `status` of a backup or a check.
#[derive(Debug, Serialize)]
pub struct BackupStatus {
    message_type: &'static str,
    #[serde(skip_serializing_if = "zero")]
    seconds_elapsed: u64,
    #[serde(skip_serializing_if = "zero")]
    seconds_remaining: u64,
    percent_done: f64,
    #[serde(skip_serializing_if = "zero")]
    total_files: u64,
    #[serde(skip_serializing_if = "zero")]
    files_done: u64,
    #[serde(skip_serializing_if = "zero")]
    total_bytes: u64,
    #[serde(skip_serializing_if = "zero")]
    bytes_done: u64,
    #[serde(skip_serializing_if = "zero")]
    error_count: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    current_files: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_files_b64: Option<Vec<String>>,
}

/// `status` of a restore.
#[derive(Debug, Serialize)]
pub struct RestoreStatus {
    message_type: &'static str,
    #[serde(skip_serializing_if = "zero")]
    seconds_elapsed: u64,
    #[serde(skip_serializing_if = "zero")]
    seconds_remaining: u64,
    percent_done: f64,
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
}

/// `status`: where the work stands.
pub fn status(job: Job, s: &Stand) -> String {
    let percent_done = match (s.bytes_total, s.items_total) {
        (0, 0) => 0.0,
        (0, items) => s.items_done as f64 / items as f64,
        (bytes, _) => s.bytes_done as f64 / bytes as f64,
    };
    let (message_type, percent_done) = ("status", percent_done.min(1.0));
    let (seconds_elapsed, seconds_remaining) = (s.elapsed.as_secs(), s.seconds_left.unwrap_or(0));
    match job {
        Job::Restore => line(&RestoreStatus {
            message_type,
            seconds_elapsed,
            seconds_remaining,
            percent_done,
            total_files: s.items_total,
            files_restored: s.items_done.saturating_sub(s.files_skipped),
            files_skipped: s.files_skipped,
            files_deleted: s.files_deleted,
            total_bytes: s.bytes_total,
            bytes_restored: s.bytes_done.saturating_sub(s.bytes_skipped),
            bytes_skipped: s.bytes_skipped,
            error_count: s.problems,
        }),
        _ => line(&BackupStatus {
            message_type,
            seconds_elapsed,
            seconds_remaining,
            percent_done,
            total_files: s.items_total,
            files_done: s.items_done,
            total_bytes: s.bytes_total,
            bytes_done: s.bytes_done,
            error_count: s.problems,
            current_files: s.current.iter().map(|p| lossy(p)).collect(),
            current_files_b64: raw_forms(&s.current),
        }),
    }
}

/// `verbose_status` of a backup; sizes that are not known per file are 0.
#[derive(Debug, Serialize)]
pub struct BackupItem {
    message_type: &'static str,
    action: &'static str,
    item: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_b64: Option<String>,
    duration: f64,
    data_size: u64,
    data_size_in_repo: u64,
    metadata_size: u64,
    metadata_size_in_repo: u64,
    total_files: u64,
}

/// `verbose_status` of a restore.
#[derive(Debug, Serialize)]
pub struct RestoreItem {
    message_type: &'static str,
    action: &'static str,
    item: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_b64: Option<String>,
    size: u64,
}

/// `verbose_status`: what became of a file or directory.
pub fn item(job: Job, path: &[u8], kind: ItemKind, change: Change, bytes: u64) -> String {
    let (message_type, action) = ("verbose_status", words::action(change));
    if job == Job::Restore {
        let (item, item_b64) = (lossy(path), raw_form(path));
        return line(&RestoreItem { message_type, action, item, item_b64, size: bytes });
    }
    let mut path = path.to_vec();
    if kind == ItemKind::Dir && !path.ends_with(b"/") {
        path.push(b'/');
    }
    line(&BackupItem {
        message_type,
        action,
        item: lossy(&path),
        item_b64: raw_form(&path),
        duration: 0.0,
        data_size: if change == Change::Unchanged { 0 } else { bytes },
        data_size_in_repo: 0,
        metadata_size: 0,
        metadata_size_in_repo: 0,
        total_files: 0,
    })
}

fn scan_finished(s: &Stand) -> String {
    line(&BackupItem {
        message_type: "verbose_status",
        action: "scan_finished",
        item: String::new(),
        item_b64: None,
        duration: s.elapsed.as_secs_f64(),
        data_size: s.bytes_total,
        data_size_in_repo: 0,
        metadata_size: 0,
        metadata_size_in_repo: 0,
        total_files: s.items_total,
    })
}

/// What is inside the `error` key.
#[derive(Debug, Serialize)]
pub struct ErrorText {
    message: String,
}

/// `error`: trouble that did not stop the work.
#[derive(Debug, Serialize)]
pub struct ErrorMessage {
    message_type: &'static str,
    error: ErrorText,
    during: &'static str,
    item: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_b64: Option<String>,
    /// A check says it here, too, as restic does.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    slug: &'static str,
    operation: &'static str,
}

/// `error`: trouble that did not stop the work.
pub fn trouble(job: Job, p: &Problem) -> String {
    let during = match job {
        Job::Backup => "archival",
        Job::Restore => "restore",
        Job::Check => "check",
        Job::Other => p.during,
    };
    let subject = lossy(&p.subject);
    line(&ErrorMessage {
        message_type: "error",
        error: ErrorText { message: p.message.clone() },
        during,
        message: (job == Job::Check).then(|| format!("{subject}: {}", p.message)),
        item: subject,
        item_b64: raw_form(&p.subject),
        slug: p.slug,
        operation: p.during,
    })
}

/// `lost`: something of a file that could not be captured or brought back; with `-v`, on standard
/// error. How many there are of each kind is in the summary, under `fidelity`.
#[derive(Debug, Serialize)]
pub struct LostMessage<'a> {
    message_type: &'static str,
    slug: &'static str,
    item: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_b64: Option<String>,
    operation: &'static str,
    message: &'a str,
}

fn lost(p: &Problem) -> String {
    line(&LostMessage {
        message_type: "lost",
        slug: p.slug,
        item: lossy(&p.subject),
        item_b64: raw_form(&p.subject),
        operation: p.during,
        message: &p.message,
    })
}

/// `notice`: a remark; restic has none in JSON. It goes to standard error.
#[derive(Debug, Serialize)]
pub struct NoticeMessage<'a> {
    message_type: &'static str,
    slug: &'static str,
    message: &'a str,
}

fn notice(n: &Notice) -> String {
    line(&NoticeMessage { message_type: "notice", slug: n.slug, message: &n.message })
}

/// `exit_error`: why the exit code is not 0.
#[derive(Debug, Serialize)]
pub struct ExitError {
    message_type: &'static str,
    code: u8,
    message: String,
    slug: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// `exit_error` of a failure.
pub fn exit_error(error: &Error) -> String {
    line(&ExitError {
        message_type: "exit_error",
        code: exit::code_of(error.kind()),
        message: error.to_string(),
        slug: error.kind().slug(),
        causes: problem::causes(error),
        hints: error.hints().to_vec(),
    })
}

/// `exit_error` of work that is done in part.
pub fn exit_partial(message: &str) -> String {
    line(&ExitError {
        message_type: "exit_error",
        code: 3,
        message: message.to_owned(),
        slug: "partial",
        causes: Vec::new(),
        hints: Vec::new(),
    })
}

/// `initialized`: a repository was created.
#[derive(Debug, Serialize)]
pub struct Initialized<'a> {
    message_type: &'static str,
    id: &'a str,
    repository: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_key: Option<&'a str>,
}

/// `initialized`: a repository was created; the recovery key only where it is to be shown.
pub fn initialized(id: &str, repository: &str, recovery_key: Option<&str>) -> String {
    line(&Initialized { message_type: "initialized", id, repository, recovery_key })
}

#[derive(Debug, Serialize)]
struct Version<'a> {
    message_type: &'static str,
    version: &'a str,
    os: &'static str,
    arch: &'static str,
    format_version: u32,
}

/// `version`: which program this is and which repository format it writes.
pub fn version(version: &str, format_version: u32) -> String {
    line(&Version {
        message_type: "version",
        version,
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
        format_version,
    })
}

#[derive(Debug, Serialize)]
struct IncompleteSnapshot {
    message_type: &'static str,
    snapshot_id: String,
}

/// Writes JSON lines.
pub struct Wire {
    job: Job,
    loudness: Loudness,
    progress: Progress,
    sinks: Mutex<Sinks>,
    began: Instant,
}

impl Wire {
    /// Messages of this job.
    pub fn new(job: Job, loudness: Loudness, meter: Arc<Meter>, sinks: Sinks) -> Self {
        Self { job, loudness, progress: Progress::new(meter), sinks: Mutex::new(sinks), began: Instant::now() }
    }
    fn say(&self, line: &str) {
        if let Ok(mut sinks) = self.sinks.lock() {
            sinks.say(line.as_bytes());
        }
    }
    /// The source of a backup has been counted; restic tells nothing like it of other work.
    fn tell_counted(&self, stand: &Stand) {
        if stand.scan_just_finished && self.job == Job::Backup && self.wants_items() {
            self.say(&scan_finished(stand));
        }
    }
    fn complain(&self, line: &str) {
        if let Ok(mut sinks) = self.sinks.lock() {
            sinks.complain(line.as_bytes());
        }
    }
}

impl Observer for Wire {
    fn on(&self, event: &Event<'_>) {
        match *event {
            Event::Entered { phase, items, bytes } => self.progress.enter(phase, items, bytes),
            Event::Item { path, kind, change, bytes } => {
                if self.wants_items() {
                    self.say(&item(self.job, path, kind, change, bytes));
                }
            }
            Event::Problem(problem) => self.complain(&trouble(self.job, problem)),
            Event::Lost(p) => {
                if self.loudness >= Loudness::Verbose {
                    self.complain(&lost(p));
                }
            }
            Event::Notice(remark) => {
                if self.loudness >= Loudness::Normal {
                    self.complain(&notice(remark));
                }
            }
            Event::Saved { snapshot, incomplete: true } => {
                let message_type = "incomplete_snapshot";
                let snapshot_id = snapshot.hex();
                self.say(&line(&IncompleteSnapshot { message_type, snapshot_id }));
            }
            Event::Saved { .. } => {}
        }
    }
    fn wants_items(&self) -> bool {
        self.loudness >= Loudness::VeryVerbose
    }
}

impl Renderer for Wire {
    fn tick(&self, elapsed: Duration) {
        let stand = self.progress.look(elapsed);
        self.tell_counted(&stand);
        if self.loudness >= Loudness::Normal {
            self.say(&status(self.job, &stand));
        }
    }
    fn clear(&self) {
        // Small sources are counted before anybody looks for the first time.
        self.tell_counted(&self.progress.look(self.began.elapsed()));
    }
}
