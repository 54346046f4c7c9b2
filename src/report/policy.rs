//! Stored policies, and what they mean for each group.

use serde::Serialize;
use serde_json::Value;

use super::escape::Names;
use super::{units, wire};

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
