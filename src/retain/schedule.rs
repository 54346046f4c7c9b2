//! Schedule counts: `{"interval": "1d", "count": 7}`.
//!
//! Time is cut into civil periods: hours counted from midnight, days, weeks from Monday, months,
//! years; several in one count from 1970-01-01, weeks from Monday, 1970-01-05. The newest of each of
//! the newest `count` periods that have one stays.

use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::Candidate;
use super::calendar::timestamp;

/// What an interval is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Hours of the wall clock.
    Hour,
    /// Days.
    Day,
    /// Weeks from Monday.
    Week,
    /// Months.
    Month,
    /// Years.
    Year,
}

impl Unit {
    fn letter(self) -> char {
        match self {
            Self::Hour => 'h',
            Self::Day => 'd',
            Self::Week => 'w',
            Self::Month => 'M',
            Self::Year => 'y',
        }
    }
    fn of(letter: char) -> Option<Self> {
        [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year].into_iter().find(|u| u.letter() == letter)
    }
}

/// So many of every such interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// How many units make one period; never 0.
    pub every: u32,
    /// Of what.
    pub unit: Unit,
    /// How many periods that have a snapshot; never 0.
    pub count: u32,
}

impl Schedule {
    /// Parse the interval, `1d`, `6h`, `2w`, `1M` or `1y`.
    pub fn interval(text: &str) -> Result<(u32, Unit), String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let unit = text[digits..].chars().next();
        let whole = unit.is_some_and(|u| text.len() == digits + u.len_utf8());
        if digits == 0 || !whole {
            return Err(format!("'{text}' is not an interval like 6h, 1d, 2w, 1M or 1y"));
        }
        let every: u32 = text[..digits].parse().map_err(|_| format!("the number in '{text}' is too large"))?;
        if every == 0 {
            return Err(format!("'{text}' is an interval of nothing"));
        }
        let unit = unit.and_then(Unit::of);
        let unit = unit.ok_or_else(|| format!("the unit of '{text}' is none of h, d, w, M (months), y"))?;
        Ok((every, unit))
    }

    /// The number of the period that a wall clock's time is in.
    pub fn period(self, at: DateTime) -> i64 {
        let epoch = Date::constant(1970, 1, 1);
        let days = || at.date().duration_since(epoch).as_hours() / 24;
        let months = || (i64::from(at.year()) - 1970) * 12 + i64::from(at.month()) - 1;
        let units = match self.unit {
            Unit::Hour => days() * 24 + i64::from(at.hour()),
            Unit::Day => days(),
            // The first Monday was the fifth day.
            Unit::Week => (days() - 4).div_euclid(7),
            Unit::Month => months(),
            Unit::Year => i64::from(at.year()) - 1970,
        };
        units.div_euclid(i64::from(self.every))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} x {}", self.every, self.unit.letter(), self.count)
    }
}

/// The ranks of those that a schedule keeps. `sorted` is newest first.
pub(super) fn kept(sorted: &[&Candidate], schedule: Schedule, zone: &TimeZone) -> Vec<usize> {
    let mut out = Vec::new();
    let mut newer = None;
    for (rank, c) in sorted.iter().enumerate() {
        let period = schedule.period(timestamp(c.time).to_zoned(zone.clone()).datetime());
        // A clock that is set back does not open a period again.
        if newer.is_some_and(|n| period >= n) {
            continue;
        }
        if out.len() >= schedule.count as usize {
            break;
        }
        newer = Some(period);
        out.push(rank);
    }
    out
}
