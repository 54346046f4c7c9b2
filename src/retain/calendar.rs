//! Wall clocks and spans of time, as Go's calendar reckons them where restic does.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

use crate::model::Time;

/// `1y5m7d2h`: years, months, days and hours; `m` is months.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Years.
    pub years: u32,
    /// Months.
    pub months: u32,
    /// Days.
    pub days: u32,
    /// Hours.
    pub hours: u32,
}

impl Span {
    /// Nothing at all.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// The time so long before another on the clock of `zone`; `None` where no calendar reaches.
    /// What is left of a month that is too short runs over into the next.
    pub fn before(self, at: Time, utc_offset: i32, zone: &TimeZone) -> Option<Time> {
        self.step(at, utc_offset, zone, -1)
    }
    /// The time so long after another.
    pub fn after(self, at: Time, utc_offset: i32, zone: &TimeZone) -> Option<Time> {
        self.step(at, utc_offset, zone, 1)
    }

    fn step(self, at: Time, utc_offset: i32, zone: &TimeZone, sign: i64) -> Option<Time> {
        let zoned = located(at, utc_offset, zone)?;
        let months = sign * (i64::from(self.years) * 12 + i64::from(self.months));
        let index = i64::from(zoned.year()) * 12 + i64::from(zoned.month()) - 1 + months;
        let first =
            Date::new(i16::try_from(index.div_euclid(12)).ok()?, i8::try_from(index.rem_euclid(12) + 1).ok()?, 1);
        let days = i64::from(zoned.day()) - 1 + sign * i64::from(self.days);
        // `try_days`: `days` panics beyond the calendar's own.
        let date = first.ok()?.checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
        let zoned = date.to_datetime(zoned.time()).to_zoned(zoned.time_zone().clone()).ok()?;
        let hours = SignedDuration::from_hours(sign * i64::from(self.hours));
        time(zoned.timestamp().checked_add(hours).ok()?)
    }
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}' is not a span of time like 1y5m7d2h");
        let mut span = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let unit = rest[digits..].chars().next().ok_or_else(bad)?;
            if digits == 0 {
                return Err(bad());
            }
            let n: u32 = rest[..digits].parse().map_err(|_| format!("the number {} is too large", &rest[..digits]))?;
            let field = match unit {
                'y' => &mut span.years,
                'm' => &mut span.months,
                'd' => &mut span.days,
                'h' => &mut span.hours,
                'w' => return Err(format!("'w' is no unit here: say {}d", u64::from(n) * 7)),
                _ => return Err(format!("'{unit}' is none of the units y, m (months), d, h")),
            };
            *field = n;
            rest = &rest[digits + unit.len_utf8()..];
        }
        if text.is_empty() { Err(bad()) } else { Ok(span) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, unit) in [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')] {
            if n > 0 {
                write!(f, "{n}{unit}")?;
            }
        }
        if self.is_zero() { f.write_str("0h") } else { Ok(()) }
    }
}

/// A time on the calendar; those that no calendar reaches stand at its ends.
pub(super) fn timestamp(at: Time) -> Timestamp {
    let end = if at.sec < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_nanosecond(at.nanos()).unwrap_or(end)
}

pub(super) fn time(at: Timestamp) -> Option<Time> {
    let nanos = at.as_nanosecond();
    let sec = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
    Some(Time { sec, nsec: nanos.rem_euclid(1_000_000_000) as u32 })
}

fn offset(utc_offset: i32) -> Offset {
    Offset::from_seconds(utc_offset).unwrap_or(Offset::UTC)
}

/// What the clock said where and when a snapshot was made.
pub(super) fn wall(at: Time, utc_offset: i32) -> DateTime {
    offset(utc_offset).to_datetime(timestamp(at))
}

/// As Go does it: in the zone at hand if that had the stored offset then, else at that offset.
fn located(at: Time, utc_offset: i32, zone: &TimeZone) -> Option<Zoned> {
    let at = Timestamp::from_nanosecond(at.nanos()).ok()?;
    let here = zone.to_offset(at) == offset(utc_offset);
    Some(at.to_zoned(if here { zone.clone() } else { offset(utc_offset).to_time_zone() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_as_they_are_typed() {
        let span = |t: &str| t.parse::<Span>();
        assert_eq!(span("1y5m7d2h"), Ok(Span { years: 1, months: 5, days: 7, hours: 2 }));
        assert_eq!(span("30d").map(|s| s.to_string()), Ok("30d".into()));
        assert!(span("2w").is_err_and(|e| e.contains("14d")));
        for bad in ["", "d", "3", "1x", "-1d", "99999999999d", "1d ", "é"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn short_months_run_over() {
        let at = |t: &str| time(t.parse().expect("a time")).expect("in reach");
        let back = |t: &str, s: &str| s.parse::<Span>().expect("a span").before(at(t), 0, &TimeZone::UTC);
        assert_eq!(back("2024-03-31T10:00:00Z", "1m"), Some(at("2024-03-02T10:00:00Z")));
        assert_eq!(back("2024-02-29T10:00:00Z", "1y"), Some(at("2023-03-01T10:00:00Z")));
        assert_eq!(back("2024-01-01T10:00:00Z", "1m1d2h"), Some(at("2023-11-30T08:00:00Z")));
        assert_eq!(back("2024-01-01T10:00:00Z", "4294967295y"), None);
        assert_eq!(back("2024-01-01T10:00:00Z", "4294967295d4294967295h"), None);
        assert_eq!(back("2024-01-01T10:00:00Z", "50750750d"), None);
    }
}
