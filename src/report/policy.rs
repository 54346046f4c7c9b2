//! Stored policies, and what they mean for each group.

use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;

use super::escape::Names;
use super::table::Table;
use super::{units, wire};
use crate::model::Time;

/// A policy as it is stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// What it is for, as JSON.
    pub name: String,
    /// The same in words.
    pub target: String,
    /// What it says, in words.
    pub words: String,
    /// The same as JSON.
    pub rule: String,
}

/// What all policies together mean for a group.
#[derive(Debug, Clone)]
pub struct Meaning {
    /// The group in words.
    pub group: String,
    /// What is kept of it, in words and as JSON; `None` where no policy is for it.
    pub policy: Option<(String, String)>,
}

/// Both in words.
pub fn text(stored: &[Stored], meanings: &[Meaning], window: u64, names: Names) -> String {
    let mut out = String::new();
    if stored.is_empty() {
        out += "no policies are stored: `orlop forget` without rules removes nothing\n";
    }
    for s in stored {
        out += &format!("{}: {}\n", names.text(&s.target), names.text(&s.words));
    }
    if !meanings.is_empty() && !stored.is_empty() {
        out += "\nwhat that means for what is there:\n";
        for m in meanings {
            let words = m.policy.as_ref().map_or("no policy: all stay", |(words, _)| words.as_str());
            out += &format!("{}: {}\n", names.text(&m.group), names.text(words));
        }
        out.push('\n');
    }
    out + &format!("{}\n", window_words(window))
}

/// How long what is forgotten can be brought back.
pub fn window_words(seconds: u64) -> String {
    let hours = seconds / 3600;
    match (hours / 24, hours % 24) {
        _ if seconds == 0 => "what is forgotten cannot be brought back".into(),
        (0, _) if hours == 0 => format!("what is forgotten can be brought back for {seconds} seconds"),
        (days, 0) => format!("what is forgotten can be brought back for {}", units::count(days, "day", "days")),
        _ => format!("what is forgotten can be brought back for {}", units::count(hours, "hour", "hours")),
    }
}

#[derive(Debug, Serialize)]
struct Shown {
    policies: Vec<ShownPolicy>,
    groups: Vec<ShownGroup>,
    undelete_window: u64,
}

#[derive(Debug, Serialize)]
struct ShownPolicy {
    #[serde(rename = "for")]
    target: Value,
    policy: Value,
}

#[derive(Debug, Serialize)]
struct ShownGroup {
    group: String,
    policy: Option<Value>,
}

/// JSON that is known to be JSON, or the text of it.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// Both in JSON.
pub fn json(stored: &[Stored], meanings: &[Meaning], window: u64) -> String {
    let policy = |s: &Stored| ShownPolicy { target: value(&s.name), policy: value(&s.rule) };
    let group =
        |m: &Meaning| ShownGroup { group: m.group.clone(), policy: m.policy.as_ref().map(|(_, rule)| value(rule)) };
    wire::line(&Shown {
        policies: stored.iter().map(policy).collect(),
        groups: meanings.iter().map(group).collect(),
        undelete_window: window,
    })
}

/// What was stored, in JSON; an empty rule: what was taken back.
pub fn set_json(name: &str, rule: &str) -> String {
    let rule = if rule.is_empty() { Value::Null } else { value(rule) };
    wire::line(&serde_json::json!({"message_type": "policy", "for": value(name), "policy": rule}))
}

/// How long what is forgotten can be brought back, in JSON.
pub fn window_json(seconds: u64) -> String {
    wire::line(&serde_json::json!({"undelete_window": seconds}))
}

/// What would be there after some time.
#[derive(Debug, Clone)]
pub struct Future {
    /// Of which group, in words; empty for one that has no snapshots yet.
    pub group: String,
    /// By which policy, in words.
    pub policy: String,
    /// How many snapshots would be made.
    pub made: usize,
    /// How many there would be at most.
    pub most: usize,
    /// Those that would be left, oldest first, with the reasons.
    pub left: Vec<(Time, Vec<String>)>,
}

/// Width of the picture.
const COLUMNS: usize = 72;

/// A table and a picture of each.
pub fn futures_text(futures: &[Future], span: (Time, Time), names: Names, zone: &TimeZone) -> String {
    let mut out = String::new();
    for f in futures {
        if !f.group.is_empty() {
            out += &format!("snapshots for ({}):\n", names.text(&f.group));
        }
        let made = units::count(f.made as u64, "backup", "backups");
        out += &format!("{}\n", names.text(&f.policy));
        let mut table = Table::new(["Time", "Reasons"]);
        for (time, reasons) in &f.left {
            table.row(vec![units::wall_clock(*time, zone), names.text(&reasons.join(", "))]);
        }
        let left = format!("{} left of {made}, never more than {}", f.left.len(), f.most);
        out += &table.render(&[left]);
        out += &picture(&f.left, span, zone);
        out.push('\n');
    }
    out
}

/// Time from left to right; a mark where there is a snapshot, a heavier one where there are more.
fn picture(left: &[(Time, Vec<String>)], (now, until): (Time, Time), zone: &TimeZone) -> String {
    let begin = left.first().map_or(now, |(t, _)| *t).min(now);
    let width = i128::from(until.sec.saturating_sub(begin.sec).max(1));
    let mut counts = [0_usize; COLUMNS];
    for (time, _) in left {
        let at = i128::from(time.sec.saturating_sub(begin.sec)) * (COLUMNS as i128 - 1) / width;
        if let Some(column) = usize::try_from(at).ok().and_then(|at| counts.get_mut(at)) {
            *column += 1;
        }
    }
    let mark = |n: &usize| match n {
        0 => '.',
        1 => '|',
        2..=9 => char::from(b'0' + *n as u8),
        _ => '#',
    };
    let line: String = counts.iter().map(mark).collect();
    let day = |t: Time| units::wall_clock(t, zone).chars().take(10).collect::<String>();
    format!("{line}\n{}{:>width$}\n", day(begin), day(until), width = COLUMNS - 10)
}

#[derive(Debug, Serialize)]
struct ShownFuture<'a> {
    group: &'a str,
    policy: &'a str,
    made: usize,
    most: usize,
    left: Vec<ShownLeft<'a>>,
}

#[derive(Debug, Serialize)]
struct ShownLeft<'a> {
    time: String,
    matches: &'a [String],
}

/// The same in JSON.
pub fn futures_json(futures: &[Future], zone: &TimeZone) -> String {
    let all: Vec<ShownFuture<'_>> = futures
        .iter()
        .map(|f| ShownFuture {
            group: &f.group,
            policy: &f.policy,
            made: f.made,
            most: f.most,
            left: f.left.iter().map(|(t, why)| ShownLeft { time: units::rfc3339_in(*t, zone), matches: why }).collect(),
        })
        .collect();
    wire::line(&all)
}
