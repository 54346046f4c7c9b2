//! Which snapshots stay: the same ones as with restic, and what the words of a schedule say.
//!
//! `tests/retention/restic-0.19.1.txt` has histories and policies with restic's own answers;
//! `tests/retention/generate.py` made it.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use orlop::id::ClientId;
use orlop::id::RecordId;
use orlop::model::Time;
use orlop::retain::{Candidate, Count, Decision, GroupBy, GroupKey, Period, Policy, Reason, Rules, Schedule, decide};
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

/// A small generator, so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn policy(text: &str) -> Policy {
    Policy::parse(text, &|name| TimeZone::get(name).ok()).expect(text)
}

fn kept(decisions: &[Decision]) -> Vec<usize> {
    let mut out: Vec<usize> = decisions.iter().filter(|d| d.keep).map(|d| number(d.id)).collect();
    out.sort_unstable();
    out
}

/// The words of a schedule, written another way: label every snapshot with the beginning of its
/// period, keep the last of each label, and of these the last labels.
fn by_labels(history: &[Candidate], interval: &str, count: usize, zone: &TimeZone) -> Vec<usize> {
    let label = |c: &Candidate| {
        let at = Timestamp::from_second(c.time.sec).expect("near").to_zoned(zone.clone());
        let monday = || at.date() - i64::from(at.weekday().to_monday_zero_offset()).days();
        match interval {
            "1h" => at.strftime("%Y-%m-%d %H").to_string(),
            "6h" => format!("{} {}", at.date(), at.hour() / 6),
            "1d" => at.date().to_string(),
            "1w" => monday().to_string(),
            // Weeks in pairs from 1970-01-05; 2000-01-03 begins the one with the number 1565.
            "2w" => {
                let weeks = (monday() - jiff::civil::date(2000, 1, 3)).get_days() / 7;
                format!("{:+06}", (weeks + 1565).div_euclid(2))
            }
            "1M" => at.strftime("%Y-%m").to_string(),
            "3M" => format!("{} {}", at.year(), (at.month() - 1) / 3),
            "1y" => at.year().to_string(),
            other => panic!("{other}"),
        }
    };
    let mut newest = std::collections::BTreeMap::new();
    for c in history {
        newest.insert(label(c), number(c.id));
    }
    newest.into_values().rev().take(count).collect()
}

/// Ten years of backups: several a day, then gaps of days and months, the machine moving between
/// zones. `forget` runs after every one.
fn ten_years(seed: u64) -> Vec<Candidate> {
    let mut dice = Dice(seed);
    let (mut at, mut out) = (Timestamp::from_second(1_420_070_400 + seed as i64).expect("2015"), Vec::new());
    let end = at + jiff::SignedDuration::from_hours(24 * 3653);
    let offsets = [0, 3600, 7200, -18_000, 19_800, 46_800, -39_600];
    let mut offset = 0;
    while at < end {
        out.push(candidate(out.len(), at, offset));
        let hours = match dice.below(400) {
            0 => 24 * (20 + dice.below(70)),
            1..=6 => 24 * (2 + dice.below(6)),
            7..=40 => 1 + dice.below(6),
            _ => 22 + dice.below(5),
        };
        if dice.below(120) == 0 {
            offset = offsets[dice.below(7) as usize];
        }
        at += jiff::SignedDuration::from_secs((hours * 3600 + dice.below(1800)) as i64);
    }
    out
}

#[test]
fn ten_years_keep_what_the_words_say() {
    let schedules = [("6h", 4), ("1d", 7), ("1w", 4), ("2w", 5), ("1M", 12), ("3M", 6), ("1y", 3)];
    let list = schedules.map(|(interval, count)| serde_json::json!({"interval": interval, "count": count}));
    for (seed, name) in [(1, "UTC"), (2, "Europe/Berlin"), (3, "Australia/Lord_Howe"), (4, "Pacific/Apia")] {
        let zone = TimeZone::get(name).expect("a zone");
        let policy = policy(&serde_json::json!({"schedules": list, "zone": name}).to_string());
        let history = ten_years(seed);
        let mut left: Vec<Candidate> = Vec::new();
        for (n, c) in history.iter().enumerate() {
            left.push(c.clone());
            let stays = kept(&decide(&left, &policy, c.time, &TimeZone::UTC));
            left.retain(|c| stays.contains(&number(c.id)));
            if n % 97 != 0 && n + 1 != history.len() {
                continue;
            }
            let mut expected: Vec<usize> = schedules
                .iter()
                .flat_map(|(interval, count)| by_labels(&history[..=n], interval, *count as usize, &zone))
                .collect();
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(stays, expected, "{name}, after {n}");
        }
        assert!(history.len() > 2500 && left.len() > 20, "{} of {}", left.len(), history.len());
    }
}

#[test]
fn seven_four_twelve_on_one_day() {
    // Every day of 2023 at noon; the last one is Sunday, 31 December.
    let noon: Timestamp = "2023-01-01T12:00:00Z".parse().expect("a time");
    let day = |n: usize| noon + jiff::SignedDuration::from_hours(24 * n as i64);
    let history: Vec<Candidate> = (0..365).map(|n| candidate(n, day(n), 0)).collect();
    let words = r#"[{"interval":"1d","count":7},{"interval":"1w","count":4},{"interval":"1M","count":12}]"#;
    let left = kept(&decide(&history, &policy(words), history[364].time, &TimeZone::UTC));
    let dates: Vec<String> = left.iter().map(|n| day(*n).to_string()[5..10].to_owned()).collect();
    let months = "01-31 02-28 03-31 04-30 05-31 06-30 07-31 08-31 09-30 10-31 11-30";
    let expected = format!("{months} 12-10 12-17 12-24 12-25 12-26 12-27 12-28 12-29 12-30 12-31");
    assert_eq!(dates.join(" "), expected);
}

#[test]
fn limits_drop_the_oldest_automatic_first() {
    let hour = |n: usize| candidate(n, Timestamp::from_second(n as i64 * 3600).expect("near"), 0);
    let mut history: Vec<Candidate> = (0..8).map(hour).collect();
    history[0].manual = true;
    history[5].manual = true;
    let now = history[7].time;
    let stays = |text: &str, of: &[Candidate]| kept(&decide(of, &policy(text), now, &TimeZone::UTC));
    assert_eq!(stays(r#"{"keep_last":"unlimited","max_backups":3}"#, &history), [0, 5, 7]);
    assert_eq!(stays(r#"{"keep_last":"unlimited","max_backups":1}"#, &history), [5], "then those made by hand");
    assert_eq!(stays(r#"{"keep_last":2,"manual_count":1}"#, &history), [5, 6, 7], "they have a count of their own");
    assert_eq!(stays(r#"{"max_backups":3}"#, &history), [0, 5, 7], "alone it drops what is beyond it");
    assert_eq!(stays(r#"{"keep_last":0,"manual_count":1}"#, &history), [1, 2, 3, 4, 5, 6, 7]);
    history[1].held = Some("audit".into());
    assert_eq!(stays(r#"{"keep_last":"unlimited","max_backups":3}"#, &history), [0, 1, 5, 7], "a hold takes no place");
    // The new one made by hand is not complete: the old one stays.
    history.push(Candidate { manual: true, incomplete: true, ..hour(8) });
    assert_eq!(stays(r#"{"keep_last":1,"manual_count":1}"#, &history), [1, 5, 7, 8]);
    history.push(Candidate { manual: true, ..hour(9) });
    assert_eq!(stays(r#"{"keep_last":1,"manual_count":1}"#, &history), [1, 7, 9]);
}

#[test]
fn what_is_out_of_the_count() {
    let hour = |n: usize| candidate(n, Timestamp::from_second(n as i64 * 3600).expect("near"), 0);
    let mut history: Vec<Candidate> = (0..6).map(hour).collect();
    let last = policy(r#"{"keep_last":1}"#);
    let stays = |of: &[Candidate], now: usize| kept(&decide(of, &last, hour(now).time, &TimeZone::UTC));
    history[5].flagged = true;
    history[0].flagged = true;
    assert_eq!(stays(&history, 9), [0, 4, 5], "they neither displace nor are displaced");
    history[4].incomplete = true;
    assert_eq!(stays(&history, 9), [0, 3, 4, 5], "no complete one of a sure time came after it");
    history[2].incomplete = true;
    assert_eq!(stays(&history, 9), [0, 3, 4, 5], "one did");
    history[3].expires = Some(hour(20).time);
    assert_eq!(stays(&history, 9), [0, 1, 3, 4, 5], "one with an expiry displaces none");
    assert_eq!(stays(&history, 20), [0, 1, 2, 4, 5], "it goes, and what was complete after the third with it");
    history[3].held = Some(String::new());
    assert_eq!(stays(&history, 20), [0, 1, 3, 4, 5]);
    let nothing = decide(&history, &Policy::default(), hour(9).time, &TimeZone::UTC);
    assert_eq!(kept(&nothing).len(), 6, "an empty policy removes nothing");
}

#[test]
fn two_machines_of_one_name_are_two_hosts() {
    let on = |machine: u8| GroupKey {
        host: Some("localhost".into()),
        machine: Some((ClientId::ZERO, [machine; 8])),
        paths: Some(vec![b"/b".to_vec(), b"/a".to_vec(), b"/b".to_vec()]),
        tags: Some(vec!["t".into()]),
        label: Some(String::new()),
    };
    let same = |by: GroupBy| by.key(&on(1)) == by.key(&on(2));
    assert!(!same(GroupBy::default()) && !same(GroupBy::STORED));
    let by = |text: &str| GroupBy::parse(text).expect(text);
    assert!(!same(by("host")) && same(by("hostname,paths")) && same(by("")) && same(by("tags,label")));
    assert_eq!(by("paths").key(&on(1)).paths, Some(vec![b"/a".to_vec(), b"/b".to_vec()]), "a set");
    assert!(GroupBy::parse("host,colour").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// More never keeps less; every decision has a reason; the order of the input does not matter.
    #[test]
    fn policies_are_sound(
        hours in prop::collection::vec(0_i64..50_000, 1..40),
        (every, count, unit) in (1_u32..5, 1_u32..6, 0_usize..5),
        last in 0_u32..5,
        seed in any::<u64>(),
    ) {
        let history: Vec<Candidate> = hours
            .iter()
            .enumerate()
            .map(|(n, h)| candidate(n, Timestamp::from_second(h * 3600).expect("near"), 0))
            .collect();
        let unit = ["h", "d", "w", "M", "y"][unit];
        let with = |last: u32, count: u32| {
            let (every, unit) = Schedule::interval(&format!("{every}{unit}")).expect("sound");
            let rules = Rules { last: Some(Count::Some(last)), ..Rules::default() };
            Policy { rules, schedules: Some(vec![Schedule { every, unit, count }]), ..Policy::default() }
        };
        let now = Time { sec: 50_001 * 3600, nsec: 0 };
        let decided = decide(&history, &with(last, count), now, &TimeZone::UTC);
        prop_assert_eq!(decided.len(), history.len());
        prop_assert!(decided.iter().all(|d| !d.reasons.is_empty()));
        let stays = kept(&decided);
        let more = kept(&decide(&history, &with(last + 1, count + 1), now, &TimeZone::UTC));
        prop_assert!(stays.iter().all(|n| more.contains(n)));
        let mut shuffled = history.clone();
        let mut dice = Dice(seed);
        for i in (1..shuffled.len()).rev() {
            shuffled.swap(i, dice.below(i as u64 + 1) as usize);
        }
        prop_assert_eq!(&kept(&decide(&shuffled, &with(last, count), now, &TimeZone::UTC)), &stays);
        // What stays, stays when it is looked at again.
        let mut left = history;
        left.retain(|c| stays.contains(&number(c.id)));
        prop_assert_eq!(kept(&decide(&left, &with(last, count), now, &TimeZone::UTC)), stays);
    }
}
