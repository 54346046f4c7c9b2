//! The same rules counted as borg 1.4 and kopia count them, for policies that were written for these.
//!
//! Sources: borg's `prune` (rules from fine to coarse, and what a finer one keeps does not count for a
//! coarser one); kopia's retention policy (a count is also how far back it looks).

use std::collections::HashSet;

use jiff::tz::TimeZone;

use super::calendar::timestamp;
use super::rules::{Count, Period, Rules, apply, by_name};
use super::{Candidate, Reason, Span};
use crate::model::Time;

/// Whose way of counting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// Every rule counts on its own.
    #[default]
    Restic,
    /// What a finer rule keeps does not count for a coarser one.
    Borg,
    /// So many periods back from the newest, whether they have a snapshot or not.
    Kopia,
}

impl Style {
    /// All, by name.
    pub const ALL: [(Self, &'static str); 3] = [(Self::Restic, "restic"), (Self::Borg, "borg"), (Self::Kopia, "kopia")];

    /// As it is typed and stored.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(style, _)| *style == self).map_or("restic", |(_, name)| *name)
    }
    /// The inverse.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(style, _)| *style).ok_or_else(|| format!("'{name}' is none of restic, borg, kopia"))
    }
}

/// Why each stays; nothing where nothing keeps it. `sorted` is newest first.
pub(super) fn kept(sorted: &[&Candidate], rules: &Rules, style: Style, now: Time, zone: &TimeZone) -> Vec<Vec<Reason>> {
    match style {
        Style::Restic => apply(sorted, rules, now, zone),
        Style::Borg => borg(sorted, rules, now, zone),
        Style::Kopia => kopia(sorted, rules, zone),
    }
}

/// With the zone's own offset: both count days where they run.
fn here(c: &Candidate, zone: &TimeZone) -> Candidate {
    Candidate { utc_offset: zone.to_offset(timestamp(c.time)).seconds(), ..c.clone() }
}

fn borg(sorted: &[&Candidate], rules: &Rules, now: Time, zone: &TimeZone) -> Vec<Vec<Reason>> {
    let mut out: Vec<Vec<Reason>> = sorted.iter().map(|c| by_name(c, rules)).collect();
    let mut taken: HashSet<usize> = (0..sorted.len()).filter(|i| !out[*i].is_empty()).collect();
    if let Some(span) = rules.within.filter(|s| !s.is_zero()) {
        let since = now.sec.saturating_sub(borg_seconds(span));
        for i in (0..sorted.len()).filter(|i| sorted[*i].time.sec > since) {
            out[i].push(Reason::Within(span));
            taken.insert(i);
        }
    }
    let here: Vec<Candidate> = sorted.iter().map(|c| here(c, zone)).collect();
    let last = rules.last.map(|n| (n, None));
    let periods = rules.counts.iter().zip(Period::ALL).filter_map(|(n, p)| n.map(|n| (n, Some(p))));
    for (count, period) in last.into_iter().chain(periods) {
        let number = |i: usize| period.map_or(here[i].time.sec, |p| p.number(&here[i]));
        let reason = |oldest| period.map_or(Reason::Last { oldest }, |period| Reason::Counted { period, oldest });
        let (mut newer, mut n) = (None, 0);
        for (i, why) in out.iter_mut().enumerate() {
            let full = matches!(count, Count::Some(max) if n >= max);
            if full || newer.replace(number(i)) == Some(number(i)) || !taken.insert(i) {
                continue;
            }
            why.push(reason(false));
            n += 1;
        }
        let oldest = sorted.len().checked_sub(1).filter(|_| matches!(count, Count::Some(max) if n < max));
        if let Some(i) = oldest.filter(|i| taken.insert(*i)) {
            out[i].push(reason(true));
        }
    }
    out
}

/// borg's months have 31 days and its years 365.
fn borg_seconds(s: Span) -> i64 {
    let days = i64::from(s.years) * 365 + i64::from(s.months) * 31 + i64::from(s.days);
    days * 86_400 + i64::from(s.hours) * 3600
}

fn kopia(sorted: &[&Candidate], rules: &Rules, zone: &TimeZone) -> Vec<Vec<Reason>> {
    let mut out: Vec<Vec<Reason>> = sorted.iter().map(|c| by_name(c, rules)).collect();
    let Some(newest) = sorted.first() else { return out };
    if let Some(count) = rules.last {
        let max = as_number(count);
        out.iter_mut().take(max).for_each(|why| why.push(Reason::Last { oldest: false }));
    }
    let offset = zone.to_offset(timestamp(newest.time)).seconds();
    for (count, period) in rules.counts.iter().zip(Period::ALL).filter_map(|(n, p)| n.map(|n| (n, p))) {
        let since = match count {
            Count::Some(n) => back(period, n).before(newest.time, offset, zone),
            Count::Unlimited => None,
        };
        let mut seen = HashSet::new();
        for (i, c) in sorted.iter().enumerate() {
            let far = since.is_some_and(|t| c.time < t);
            if !far && seen.len() < as_number(count) && seen.insert(period.number(&here(c, zone))) {
                out[i].push(Reason::Counted { period, oldest: false });
            }
        }
    }
    out
}

fn as_number(count: Count) -> usize {
    match count {
        Count::Some(n) => n as usize,
        Count::Unlimited => usize::MAX,
    }
}

fn back(period: Period, n: u32) -> Span {
    let span = Span::default();
    match period {
        Period::Hour => Span { hours: n, ..span },
        Period::Day => Span { days: n, ..span },
        Period::Week => Span { days: n.saturating_mul(7), ..span },
        Period::Month => Span { months: n, ..span },
        Period::Year => Span { years: n, ..span },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RecordId;

    /// One snapshot at noon of each of the last `n` days before 2024-03-01, newest first.
    fn days(n: u8) -> Vec<Candidate> {
        let day = |i: u8| Candidate {
            id: RecordId([i; 32]),
            time: Time { sec: 1_709_208_000 - i64::from(i) * 86_400, nsec: 0 },
            utc_offset: 0,
            seq: u64::from(200 - i),
            tags: vec![],
            incomplete: false,
            manual: false,
            expires: None,
            held: None,
            flagged: false,
        };
        (0..n).map(day).collect()
    }

    fn kept_days(history: &[Candidate], rules: &Rules, style: Style) -> Vec<usize> {
        let sorted: Vec<&Candidate> = history.iter().collect();
        let now = Time { sec: history[0].time.sec + 60, nsec: 0 };
        let why = kept(&sorted, rules, style, now, &TimeZone::UTC);
        (0..sorted.len()).filter(|i| !why[*i].is_empty()).collect()
    }

    /// 2024-02-29 was a Thursday: the weeks before end 4, 11, 18 days earlier.
    #[test]
    fn borg_counts_what_finer_rules_left() {
        let mut rules = Rules::default();
        (rules.counts[1], rules.counts[2]) = (Some(Count::Some(3)), Some(Count::Some(2)));
        assert_eq!(kept_days(&days(40), &rules, Style::Restic), [0, 1, 2, 4], "this week counts");
        assert_eq!(kept_days(&days(40), &rules, Style::Borg), [0, 1, 2, 4, 11], "it is kept already");
        assert_eq!(kept_days(&days(8), &rules, Style::Borg), [0, 1, 2, 4, 7], "and the oldest where one is left");
        rules.within = Some(Span { days: 2, ..Span::default() });
        assert_eq!(kept_days(&days(40), &rules, Style::Borg), [0, 1, 2, 3, 4, 11, 18], "these two count for none");
    }

    #[test]
    fn kopia_looks_only_so_far_back() {
        let mut rules = Rules::default();
        rules.counts[1] = Some(Count::Some(3));
        let mut gaps = days(20);
        gaps.retain(|c| c.id.0[0] % 2 == 0);
        assert_eq!(kept_days(&gaps, &rules, Style::Restic), [0, 1, 2]);
        assert_eq!(kept_days(&gaps, &rules, Style::Kopia), [0, 1], "the third day with one is four days back");
        rules.last = Some(Count::Some(4));
        assert_eq!(kept_days(&gaps, &rules, Style::Kopia), [0, 1, 2, 3]);
    }
}
