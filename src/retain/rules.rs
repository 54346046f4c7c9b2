//! restic's rules. Every rule counts on its own and a snapshot stays if any keeps it; a rule whose
//! count is not used up at the oldest snapshot keeps that, too.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;

use super::calendar::wall;
use super::{Candidate, Reason, Span};
use crate::model::Time;

/// How many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// So many.
    Some(u32),
    /// However many there are.
    Unlimited,
}

impl Count {
    fn is_zero(self) -> bool {
        self == Self::Some(0)
    }
    fn use_one(&mut self) {
        if let Self::Some(n) = self {
            *n = n.saturating_sub(1);
        }
    }
}

impl FromStr for Count {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "unlimited" => Ok(Self::Unlimited),
            _ if text.starts_with('-') => Err("a count is not negative; say 'unlimited' for all".into()),
            _ => text.parse().map(Self::Some).map_err(|_| format!("'{text}' is neither a count nor 'unlimited'")),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Some(n) => write!(f, "{n}"),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// An hour of the wall clock.
    Hour,
    /// A day.
    Day,
    /// Monday to Sunday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl Period {
    /// All, shortest first.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// As flags and reasons say it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }

    /// A number that two snapshots share if they are of one period.
    pub(super) fn number(self, c: &Candidate) -> i64 {
        let at = wall(c.time, c.utc_offset);
        let (y, m, d) = (i64::from(at.year()), i64::from(at.month()), i64::from(at.day()));
        match self {
            Self::Hour => ((y * 100 + m) * 100 + d) * 100 + i64::from(at.hour()),
            Self::Day => (y * 100 + m) * 100 + d,
            Self::Week => {
                let week = at.date().iso_week_date();
                i64::from(week.year()) * 100 + i64::from(week.week())
            }
            Self::Month => y * 100 + m,
            Self::Year => y,
        }
    }
}

/// What restic's `--keep-*` flags say. What is `None` says nothing; a policy for more may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The newest so many.
    pub last: Option<Count>,
    /// The newest of so many hours, days, weeks, months, years that have one.
    pub counts: [Option<Count>; 5],
    /// All so close to the newest.
    pub within: Option<Span>,
    /// The newest of each period so close to the newest of all.
    pub within_periods: [Option<Span>; 5],
    /// All that have all tags of one of these lists; the empty tag stands for no tags.
    pub tags: Vec<Vec<String>>,
    /// Those whose ids begin so.
    pub ids: Vec<String>,
}

impl Rules {
    /// Nothing would be kept by them, because they say nothing.
    pub fn is_empty(&self) -> bool {
        let no_count = |c: &Option<Count>| c.is_none_or(Count::is_zero);
        let no_span = |s: &Option<Span>| s.is_none_or(Span::is_zero);
        no_count(&self.last)
            && self.counts.iter().all(no_count)
            && no_span(&self.within)
            && self.within_periods.iter().all(no_span)
            && self.tags.is_empty()
            && self.ids.is_empty()
    }
}

/// One rule that counts, on its way from the newest to the oldest.
struct Bucket {
    left: Count,
    newer: Option<i64>,
    period: Option<Period>,
    span: Option<(Span, Option<Time>)>,
}

impl Bucket {
    /// The reason to keep this one, if this rule has one.
    fn look(&mut self, c: &Candidate, rank: usize, oldest: bool) -> Option<Reason> {
        if self.left.is_zero() || self.span.is_some_and(|(_, after)| after.is_some_and(|t| c.time <= t)) {
            return None;
        }
        let number = self.period.map_or(rank as i64, |p| p.number(c));
        let same = self.newer == Some(number);
        if same && !oldest {
            return None;
        }
        self.newer = Some(number);
        self.left.use_one();
        let oldest = same && oldest;
        Some(match (self.period, self.span) {
            (Some(period), Some((span, _))) => Reason::WithinPeriod { period, span, oldest },
            (Some(period), None) => Reason::Counted { period, oldest },
            (None, _) => Reason::Last { oldest },
        })
    }
}

fn buckets(rules: &Rules, since: &dyn Fn(Span) -> Option<Time>) -> Vec<Bucket> {
    let mut out = Vec::new();
    let counted = |left, period, span| Bucket { left, newer: None, period, span };
    out.extend(rules.last.map(|n| counted(n, None, None)));
    for (n, period) in rules.counts.iter().zip(Period::ALL) {
        out.extend(n.map(|n| counted(n, Some(period), None)));
    }
    for (span, period) in rules.within_periods.iter().zip(Period::ALL) {
        let span = span.filter(|s| !s.is_zero());
        out.extend(span.map(|s| counted(Count::Unlimited, Some(period), Some((s, since(s))))));
    }
    out
}

/// Why each stays; nothing where nothing keeps it. `sorted` is newest first.
pub(super) fn apply(sorted: &[&Candidate], rules: &Rules, now: Time, zone: &TimeZone) -> Vec<Vec<Reason>> {
    // Spans are measured from the newest snapshot that is not from the future.
    let latest = sorted.iter().find(|c| c.time < now);
    let since = |span: Span| span.before(latest?.time, latest?.utc_offset, zone);
    let within = rules.within.filter(|s| !s.is_zero()).map(|s| (s, since(s)));
    let mut buckets = buckets(rules, &since);
    let mut out = Vec::with_capacity(sorted.len());
    for (rank, c) in sorted.iter().enumerate() {
        let mut reasons = by_name(c, rules);
        if let Some((span, after)) = within
            && after.is_none_or(|t| c.time > t)
        {
            reasons.push(Reason::Within(span));
        }
        let oldest = rank + 1 == sorted.len();
        reasons.extend(buckets.iter_mut().filter_map(|b| b.look(c, rank, oldest)));
        out.push(reasons);
    }
    out
}

/// Why one stays for what it is, whatever others there are.
pub(super) fn by_name(c: &Candidate, rules: &Rules) -> Vec<Reason> {
    let tags = rules.tags.iter().filter(|list| has_tags(c, list));
    let ids = rules.ids.iter().filter(|begin| c.id.hex().starts_with(begin.as_str()));
    tags.map(|list| Reason::Tags(list.clone())).chain(ids.map(|begin| Reason::Id(begin.clone()))).collect()
}

/// As restic reads a list of tags: an empty tag is met by having none.
fn has_tags(c: &Candidate, list: &[String]) -> bool {
    for tag in list {
        if tag.is_empty() && c.tags.is_empty() {
            return true;
        }
        if !c.tags.contains(tag) {
            return false;
        }
    }
    true
}
