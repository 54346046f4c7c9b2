//! Which snapshots stay: the same ones as with restic, and what the words of a schedule say.
//!
//! `tests/retention/restic-0.19.1.txt` has histories and policies with restic's own answers;
//! `tests/retention/generate.py` made it.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use orlop::id::RecordId;
use orlop::model::Time;
use orlop::retain::{Candidate, Count, Decision, Period, Policy, Reason, Rules, Schedule, decide};
use proptest::prelude::*;

fn time(at: Timestamp) -> Time {
    Time { sec: at.as_second(), nsec: 0 }
}

fn candidate(n: usize, at: Timestamp, utc_offset: i32) -> Candidate {
    let mut id = RecordId::ZERO;
    id.0[..8].copy_from_slice(&(n as u64).to_be_bytes());
    Candidate {
        id,
        time: time(at),
        utc_offset,
        seq: n as u64 + 1,
        tags: vec![],
        incomplete: false,
        manual: false,
        expires: None,
        held: None,
        flagged: false,
    }
}

fn number(id: RecordId) -> usize {
    usize::from_be_bytes(id.0[..8].try_into().expect("eight"))
}

/// The reasons of restic, as the generator shortens them.
fn short(reason: &Reason, lists: &[Vec<String>]) -> String {
    let letter = |p: &Period| match p {
        Period::Hour => "H",
        Period::Day => "d",
        Period::Week => "w",
        Period::Month => "m",
        Period::Year => "y",
    };
    let old = |oldest: &bool| if *oldest { "o" } else { "" };
    match reason {
        Reason::Tags(list) => format!("t{}", lists.iter().position(|l| l == list).expect("a list of the policy")),
        Reason::Last { oldest } => format!("{}l", old(oldest)),
        Reason::Counted { period, oldest } => format!("{}{}", old(oldest), letter(period)),
        Reason::Within(_) => "W".into(),
        Reason::WithinPeriod { period, oldest, .. } => format!("{}i{}", old(oldest), letter(period)),
        other => panic!("restic has no reason {other:?}"),
    }
}

fn rules(flags: &str) -> Rules {
    let mut rules = Rules::default();
    let words: Vec<&str> = flags.split(' ').collect();
    for pair in words.chunks_exact(2) {
        let (flag, value) = (pair[0].strip_prefix("--keep-").expect("a rule"), pair[1]);
        let period = |word: &str| Period::ALL.iter().position(|p| p.word() == word).expect("a period");
        let count = || value.parse::<Count>().expect("a count");
        let span = || Some(value.parse().expect("a span"));
        match flag {
            "last" => rules.last = Some(count()),
            "within" => rules.within = span(),
            "tag" if value == "''" => rules.tags.push(vec![String::new()]),
            "tag" => rules.tags.push(value.split(',').map(str::to_owned).collect()),
            _ => match flag.strip_prefix("within-") {
                Some(word) => rules.within_periods[period(word)] = span(),
                None => rules.counts[period(flag)] = Some(count()),
            },
        }
    }
    rules
}

fn answer(history: &[Candidate], rules: Rules, now: Time, zone: &TimeZone) -> String {
    let lists = rules.tags.clone();
    let mut kept: Vec<(usize, String)> = decide(history, &Policy { rules, ..Policy::default() }, now, zone)
        .into_iter()
        .filter(|d| d.keep)
        .map(|d| (number(d.id), d.reasons.iter().map(|r| short(r, &lists)).collect()))
        .collect();
    kept.sort();
    if kept.is_empty() {
        return "!".into();
    }
    kept.iter().map(|(n, why)| format!("{n}:{why}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_restic_keeps_for_the_same_reasons() {
    let text = include_str!("retention/restic-0.19.1.txt");
    let mut histories: Vec<(String, Vec<Candidate>)> = Vec::new();
    let (mut now, mut policy, mut compared) = (Time::default(), None, 0);
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "now" => now = time(rest.parse().expect("a time")),
            "history" => histories.push((rest.into(), Vec::new())),
            "policy" => {
                let (zone, flags) = rest.split_once(' ').expect("zone and flags");
                policy = Some((TimeZone::get(zone).expect("a zone"), rules(flags), flags));
            }
            _ if word.starts_with('h') => {
                let (_, history) = histories.iter().find(|(name, _)| name == word).expect("a history");
                let (zone, rules, flags) = policy.as_ref().expect("a policy");
                assert_eq!(answer(history, rules.clone(), now, zone), rest, "{flags} of {word}");
                compared += 1;
            }
            n => {
                let (at, tags) = rest.split_once(' ').unwrap_or((rest, ""));
                let pieces = jiff::fmt::temporal::Pieces::parse(at).expect("a time");
                let offset = pieces.to_numeric_offset().map_or(0, |o| o.seconds());
                let mut c = candidate(n.parse().expect("a number"), at.parse().expect("a time"), offset);
                c.tags = tags.split(',').filter(|t| !t.is_empty()).map(str::to_owned).collect();
                histories.last_mut().expect("a history").1.push(c);
            }
        }
    }
    assert!(compared >= 1000, "only {compared} answers");
}
