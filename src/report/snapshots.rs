//! Lists of snapshots: restic's table and restic's JSON.
//!
//! Callers hand in rows; grouping, the newest few of each group and the order are decided here.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::escape::{Names, lossy, raw_forms};
use super::table::Table;
use super::{units, wire};
use crate::model::{Body, Ext, GroupBy, Scope, Statement, Stats, Time, Trigger};

/// A snapshot as lists show it.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its id, in full.
    pub id: String,
    /// What it says.
    pub statement: Statement,
    /// What it says to people.
    pub body: Body,
    /// What holds it.
    pub holds: Vec<Hold>,
    /// Its session was given up before it came: it does not count, and what it needs may go.
    pub given_up: bool,
}

/// That a snapshot must not go.
#[derive(Debug, Clone)]
pub struct Hold {
    /// Why.
    pub reason: String,
    /// Until then; `None` is for ever.
    pub until: Option<Time>,
}

impl Row {
    /// The beginning of the id.
    pub fn short(&self) -> &str {
        self.id.get(..8).unwrap_or(&self.id)
    }
    fn notes(&self) -> String {
        let mut notes = Vec::new();
        for (flag, word) in [
            (Statement::INCOMPLETE, "incomplete"),
            (Statement::HAS_PROBLEMS, "problems"),
            (Statement::RECOVERED, "recovered"),
        ] {
            if self.statement.flags & flag != 0 {
                notes.push(word);
            }
        }
        if self.given_up {
            notes.push("given up");
        }
        if !self.holds.is_empty() {
            notes.push("held");
        }
        notes.join(",")
    }
    fn sorted_paths(&self) -> Vec<Vec<u8>> {
        let mut paths = self.body.paths.clone();
        paths.sort();
        paths
    }
    fn sorted_tags(&self) -> Vec<String> {
        let mut tags = self.body.tags.clone();
        tags.sort();
        tags
    }
}

/// How a list is shown.
#[derive(Debug, Clone, Copy)]
pub struct ListStyle {
    /// One column less, tags below each other.
    pub compact: bool,
    /// How names are written.
    pub names: Names,
}

/// Snapshots that belong together; `None` where the grouping does not look.
#[derive(Debug)]
pub struct Group {
    host: Option<String>,
    paths: Option<Vec<Vec<u8>>>,
    tags: Option<Vec<String>>,
    /// Oldest first.
    pub rows: Vec<Row>,
}

/// Put rows into groups, in the order of their first snapshots, and keep the newest `latest` of
/// each; without grouping, of each host and set of paths.
pub fn group(mut rows: Vec<Row>, by: GroupBy, latest: Option<usize>) -> Vec<Group> {
    rows.sort_by(|a, b| (a.statement.time, a.statement.seq, &a.id).cmp(&(b.statement.time, b.statement.seq, &b.id)));
    if !by.any() {
        let rows = match latest {
            Some(n) => newest_of_each(rows, n),
            None => rows,
        };
        return vec![Group { host: None, paths: None, tags: None, rows }];
    }
    let mut groups: Vec<Group> = Vec::new();
    for row in rows {
        let host = by.host.then(|| row.body.hostname.clone());
        let paths = by.paths.then(|| row.sorted_paths());
        let tags = by.tags.then(|| row.sorted_tags());
        let same = |g: &&mut Group| g.host == host && g.paths == paths && g.tags == tags;
        match groups.iter_mut().find(same) {
            Some(group) => group.rows.push(row),
            None => groups.push(Group { host, paths, tags, rows: vec![row] }),
        }
    }
    for group in &mut groups {
        let surplus = latest.map_or(0, |n| group.rows.len().saturating_sub(n));
        group.rows.drain(..surplus);
    }
    groups
}

fn newest_of_each(rows: Vec<Row>, latest: usize) -> Vec<Row> {
    let by = GroupBy { host: true, paths: true, tags: false };
    let mut kept: Vec<Row> = group(rows, by, Some(latest)).into_iter().flat_map(|g| g.rows).collect();
    kept.sort_by(|a, b| (a.statement.time, a.statement.seq, &a.id).cmp(&(b.statement.time, b.statement.seq, &b.id)));
    kept
}

/// Tables, one for each group.
pub fn text(groups: &[Group], style: ListStyle, zone: &TimeZone) -> String {
    groups.iter().map(|g| heading(g, style.names) + &table(&g.rows, style, zone)).collect()
}

fn heading(group: &Group, names: Names) -> String {
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    let mut parts = Vec::new();
    if let Some(host) = &group.host {
        parts.push(format!("host [{}]", names.text(host)));
    }
    if let Some(tags) = &group.tags {
        let tags = tags.iter().map(|t| names.text(t)).collect();
        parts.push(format!("tags {}", list(tags)));
    }
    if let Some(paths) = &group.paths {
        let paths = paths.iter().map(|p| names.shown(p)).collect();
        parts.push(format!("paths {}", list(paths)));
    }
    match parts.is_empty() {
        true => String::new(),
        false => format!("snapshots for ({}):\n", parts.join(", ")),
    }
}

fn table(rows: &[Row], style: ListStyle, zone: &TimeZone) -> String {
    let rows: Vec<(&Row, &[String])> = rows.iter().map(|r| (r, &[][..])).collect();
    reasoned_table(&rows, style, zone)
}

/// A table with a reason or more beside each, if there are any and the style is not compact.
pub(super) fn reasoned_table(rows: &[(&Row, &[String])], style: ListStyle, zone: &TimeZone) -> String {
    let compact = style.compact;
    let labels = rows.iter().any(|(r, _)| !r.body.label.is_empty());
    let notes = rows.iter().any(|(r, _)| !r.notes().is_empty());
    let reasons = !compact && rows.iter().any(|(_, why)| !why.is_empty());
    let mut table = match compact {
        true => Table::new(["ID", "Time", "Host", "Tags  "]),
        false => Table::new(["ID", "Time", "Host      ", "Tags      "]),
    };
    if reasons {
        table.column("Reasons");
    }
    if !compact {
        table.column("Paths");
    }
    table.column("Size");
    if labels {
        table.column("Label");
    }
    if notes {
        table.column("Notes");
    }
    table.airy = !compact && rows.iter().any(|(r, _)| r.body.paths.len() > 1);
    for (row, why) in rows {
        let tags: Vec<String> = row.body.tags.iter().map(|t| style.names.text(t)).collect();
        let mut cells = vec![
            row.short().to_owned(),
            units::wall_clock(row.statement.time, zone),
            style.names.text(&row.body.hostname),
            tags.join(if compact { "\n" } else { "," }),
        ];
        if reasons {
            cells.push(why.iter().map(|w| style.names.text(w)).collect::<Vec<_>>().join("\n"));
        }
        if !compact {
            let paths = row.body.paths.iter().map(|p| style.names.shown(p));
            cells.push(paths.collect::<Vec<_>>().join("\n"));
        }
        cells.push(units::bytes(row.body.stats.bytes_processed));
        if labels {
            cells.push(style.names.text(&row.body.label));
        }
        if notes {
            cells.push(row.notes());
        }
        table.row(cells);
    }
    table.render(&[format!("Timestamps shown in {}", zone_name(zone)), format!("{} snapshots", rows.len())])
}

fn zone_name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("local time")
}

/// `snapshot 1234abcd of [/src] at … by user@host`, as restic introduces one.
pub fn describe(row: &Row, names: Names) -> String {
    let paths: Vec<String> = row.body.paths.iter().map(|p| names.shown(p)).collect();
    let time = units::rfc3339(row.statement.time, row.statement.utc_offset);
    let who = format!("{}@{}", row.body.username, row.body.hostname);
    format!("snapshot {} of [{}] at {time} by {}", row.short(), paths.join(" "), names.text(&who))
}

/// A snapshot in JSON.
#[derive(Debug, Serialize)]
pub struct Json {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tree: Option<String>,
    paths: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paths_b64: Option<Vec<String>>,
    hostname: String,
    username: String,
    #[serde(skip_serializing_if = "is_zero")]
    uid: u32,
    #[serde(skip_serializing_if = "is_zero")]
    gid: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    excludes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    program_version: String,
    summary: JsonStats,
    #[serde(skip_serializing_if = "String::is_empty")]
    label: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    given_up: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holds: Vec<JsonHold>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown_extensions: Vec<u16>,
    client: String,
    id: String,
    short_id: String,
}

#[derive(Debug, Serialize)]
struct JsonHold {
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

#[derive(Debug, Serialize)]
struct JsonStats {
    backup_start: String,
    backup_end: String,
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
    #[serde(skip_serializing_if = "wire::zero")]
    total_errors: u64,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl JsonStats {
    fn of(s: &Stats, start: String, end: String) -> Self {
        Self {
            backup_start: start,
            backup_end: end,
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
            total_errors: s.problems,
        }
    }
}

impl Json {
    /// From a row.
    pub fn of(row: &Row) -> Self {
        let (statement, body) = (&row.statement, &row.body);
        let stamp = |t: Time| units::rfc3339(t, statement.utc_offset);
        Self {
            time: stamp(statement.time),
            parent: statement.parent.map(|p| p.hex()),
            tree: statement.root.map(|r| r.id.hex()),
            paths: body.paths.iter().map(|p| lossy(p)).collect(),
            paths_b64: raw_forms(&body.paths),
            hostname: body.hostname.clone(),
            username: body.username.clone(),
            uid: body.uid,
            gid: body.gid,
            excludes: body.excludes.iter().map(|p| lossy(p)).collect(),
            tags: body.tags.clone(),
            program_version: body.program.clone(),
            summary: JsonStats::of(&body.stats, stamp(statement.started), stamp(statement.ended)),
            label: body.label.clone(),
            description: body.description.clone(),
            expires: body.expires.map(stamp),
            schedule: match &body.trigger {
                Trigger::Schedule(name) => Some(name.clone()),
                Trigger::Manual => None,
            },
            partial: match &body.scope {
                Scope::Partial(name) => Some(name.clone()),
                Scope::Full => None,
            },
            incomplete: statement.flags & Statement::INCOMPLETE != 0,
            given_up: row.given_up,
            holds: row.holds.iter().map(|h| JsonHold { reason: h.reason.clone(), until: h.until.map(stamp) }).collect(),
            unknown_extensions: Ext::tags(statement.ext.iter().chain(&body.ext)),
            client: statement.client.hex(),
            id: row.id.clone(),
            short_id: row.short().to_owned(),
        }
    }
}

#[derive(Debug, Serialize)]
struct JsonGroup {
    group_key: JsonKey,
    snapshots: Vec<Json>,
}

#[derive(Debug, Serialize)]
struct JsonKey {
    hostname: String,
    paths: Option<Vec<String>>,
    tags: Option<Vec<String>>,
}

/// One JSON document: an array of snapshots, or of groups where there is a grouping.
pub fn json(groups: &[Group], by: GroupBy) -> String {
    if !by.any() {
        let all: Vec<Json> = groups.iter().flat_map(|g| &g.rows).map(Json::of).collect();
        return wire::line(&all);
    }
    let group = |g: &Group| JsonGroup {
        group_key: JsonKey {
            hostname: g.host.clone().unwrap_or_default(),
            paths: g.paths.as_ref().map(|paths| paths.iter().map(|p| lossy(p)).collect()),
            tags: g.tags.clone(),
        },
        snapshots: g.rows.iter().map(Json::of).collect(),
    };
    wire::line(&groups.iter().map(group).collect::<Vec<_>>())
}
