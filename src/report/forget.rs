//! What is forgotten and why: restic's text and restic's JSON.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::snapshots::{Json, ListStyle, Row, reasoned_table};
use super::{units, wire};
use crate::model::Time;

/// A snapshot and why it stays or goes.
#[derive(Debug, Clone)]
pub struct Reasoned {
    /// The snapshot.
    pub row: Row,
    /// Why.
    pub reasons: Vec<String>,
    /// Until when it can be brought back, if it was forgotten.
    pub until: Option<Time>,
}

/// A group and what becomes of it; the lists are newest first.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// What it is: `host [a], paths [/home]`; empty where there is but one.
    pub heading: String,
    /// The host of all, where it was looked at.
    pub host: Option<String>,
    /// The paths of all, where they were looked at.
    pub paths: Option<Vec<Vec<u8>>>,
    /// The tags of all, where they were looked at.
    pub tags: Option<Vec<String>>,
    /// The label of all, where it was looked at.
    pub label: Option<String>,
    /// What another way of counting would make of it; empty where that is the same.
    pub style: String,
    /// What stays.
    pub keep: Vec<Reasoned>,
    /// What goes.
    pub remove: Vec<Reasoned>,
}

/// The plan of all groups.
pub fn text(groups: &[Group], style: ListStyle, zone: &TimeZone) -> String {
    let mut out = String::new();
    for g in groups {
        if !g.heading.is_empty() {
            out += &format!("snapshots for ({}):\n", style.names.text(&g.heading));
        }
        for (word, list) in [("keep", &g.keep), ("remove", &g.remove)] {
            if list.is_empty() {
                continue;
            }
            out += &format!("{word} {} snapshots:\n", list.len());
            out += &table(list, style, zone);
            out.push('\n');
        }
        if !g.style.is_empty() {
            out += &format!("{}\n\n", g.style);
        }
    }
    out
}

/// A table of snapshots and reasons, oldest first.
pub fn table(newest_first: &[Reasoned], style: ListStyle, zone: &TimeZone) -> String {
    let rows: Vec<(&Row, &[String])> = newest_first.iter().rev().map(|r| (&r.row, &r.reasons[..])).collect();
    reasoned_table(&rows, style, zone)
}

/// What was done, or would be.
pub fn done(removed: &[String], until: Option<Time>, dry_run: bool, zone: &TimeZone) -> String {
    let many = units::count(removed.len() as u64, "snapshot", "snapshots");
    match (removed.is_empty(), dry_run, until) {
        (true, ..) => "no snapshots were removed\n".into(),
        (_, true, _) => {
            let short: Vec<&str> = removed.iter().map(|id| id.get(..8).unwrap_or(id)).collect();
            format!("would have removed {many}: {}\n", short.join(" "))
        }
        (_, false, Some(until)) => {
            let what = if removed.len() == 1 { "it" } else { "them" };
            format!("removed {many}; `orlop undelete` brings {what} back until {}\n", units::wall_clock(until, zone))
        }
        (_, false, None) => format!("removed {many}\n"),
    }
}

#[derive(Debug, Serialize)]
struct JsonGroup {
    tags: Option<Vec<String>>,
    host: String,
    paths: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    keep: Option<Vec<Json>>,
    remove: Option<Vec<Json>>,
    reasons: Option<Vec<JsonReason>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    style_difference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remove_reasons: Option<Vec<JsonReason>>,
}

#[derive(Debug, Serialize)]
struct JsonReason {
    snapshot: Json,
    matches: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// One JSON document with all groups.
pub fn json(groups: &[Group], zone: &TimeZone) -> String {
    let all = |list: &[Reasoned]| (!list.is_empty()).then(|| list.iter().map(|r| Json::of(&r.row)).collect());
    let reasons = |list: &[Reasoned]| {
        let until = |r: &Reasoned| r.until.map(|t| units::rfc3339_in(t, zone));
        let one = |r: &Reasoned| JsonReason { snapshot: Json::of(&r.row), matches: r.reasons.clone(), until: until(r) };
        (!list.is_empty()).then(|| list.iter().map(one).collect())
    };
    let group = |g: &Group| JsonGroup {
        tags: g.tags.clone(),
        host: g.host.clone().unwrap_or_default(),
        paths: g.paths.as_ref().map(|p| p.iter().map(|p| super::escape::lossy(p)).collect()),
        label: g.label.clone().filter(|l| !l.is_empty()),
        keep: all(&g.keep),
        remove: all(&g.remove),
        reasons: reasons(&g.keep),
        style_difference: g.style.clone(),
        remove_reasons: reasons(&g.remove),
    };
    wire::line(&groups.iter().map(group).collect::<Vec<_>>())
}

#[derive(Debug, Serialize)]
struct Changed<'a> {
    message_type: &'static str,
    old_snapshot_id: &'a str,
    new_snapshot_id: &'a str,
}

#[derive(Debug, Serialize)]
struct ChangedSummary {
    message_type: &'static str,
    changed_snapshots: usize,
}

/// Snapshots that say something else from now on; their ids stay.
pub fn changed_json(ids: &[String]) -> String {
    let one = |id: &String| wire::line(&Changed { message_type: "changed", old_snapshot_id: id, new_snapshot_id: id });
    let lines: String = ids.iter().map(one).collect();
    lines + &wire::line(&ChangedSummary { message_type: "summary", changed_snapshots: ids.len() })
}

/// A snapshot of which somebody said that the time that it claims is right.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its id, in full.
    pub id: String,
    /// When it says that it was made.
    pub claimed: Time,
    /// When it came, where somebody knows that.
    pub received: Option<Time>,
}

/// Each with both times.
pub fn accepted_text(all: &[Accepted], zone: &TimeZone) -> String {
    let mut out = String::new();
    for a in all {
        let came = match a.received {
            Some(t) => format!("came {}", units::wall_clock(t, zone)),
            None => "came at a time that the storage does not know".into(),
        };
        let short = a.id.get(..8).unwrap_or(&a.id);
        out += &format!("{short} claims {} and {came}\n", units::wall_clock(a.claimed, zone));
    }
    out + &format!("accepted the times of {}\n", units::count(all.len() as u64, "snapshot", "snapshots"))
}

#[derive(Debug, Serialize)]
struct AcceptedLine<'a> {
    #[serde(flatten)]
    changed: Changed<'a>,
    claimed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<String>,
}

/// The same as snapshots that changed, with both times.
pub fn accepted_json(all: &[Accepted], zone: &TimeZone) -> String {
    let stamp = |t: Time| units::rfc3339_in(t, zone);
    let one = |a: &Accepted| {
        wire::line(&AcceptedLine {
            changed: Changed { message_type: "changed", old_snapshot_id: &a.id, new_snapshot_id: &a.id },
            claimed: stamp(a.claimed),
            received: a.received.map(stamp),
        })
    };
    let lines: String = all.iter().map(one).collect();
    lines + &wire::line(&ChangedSummary { message_type: "summary", changed_snapshots: all.len() })
}
