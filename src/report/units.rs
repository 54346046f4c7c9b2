//! Bytes, durations, percentages and points in time as people read them: the same text that restic
//! prints.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use crate::model::Time;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// `1.234 GiB`, `12 B`.
pub fn bytes(n: u64) -> String {
    let (unit, name) = match n {
        TIB.. => (TIB, "TiB"),
        GIB.. => (GIB, "GiB"),
        MIB.. => (MIB, "MiB"),
        KIB.. => (KIB, "KiB"),
        _ => return format!("{n} B"),
    };
    format!("{:.3} {name}", n as f64 / unit as f64)
}

/// `0:12`, `1:02:03`.
pub fn seconds(total: u64) -> String {
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// `12.34%`, never above 100; nothing when there is nothing to compare with.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return String::new();
    }
    format!("{:.2}%", (100.0 * part as f64 / whole as f64).min(100.0))
}

/// `1 file`, `3 files`.
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// `2012-11-01 22:08:41` in a zone; `@seconds` for times no calendar reaches.
pub fn wall_clock(time: Time, zone: &TimeZone) -> String {
    match timestamp(time) {
        Some(t) => t.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => format!("@{}", time.sec),
    }
}

/// RFC 3339 with nanoseconds as far as they are not zero, at an offset in seconds; `@seconds`
/// for times no calendar reaches.
pub fn rfc3339(time: Time, utc_offset: i32) -> String {
    let Some(t) = timestamp(time) else {
        return format!("@{}", time.sec);
    };
    let offset = Offset::from_seconds(utc_offset).unwrap_or(Offset::UTC);
    let wall = offset.to_datetime(t);
    let mut text = wall.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    if time.nsec > 0 {
        let fraction = format!(".{:09}", time.nsec);
        text.push_str(fraction.trim_end_matches('0'));
    }
    match offset.seconds() / 60 {
        0 => text.push('Z'),
        minutes => {
            let sign = if minutes < 0 { '-' } else { '+' };
            let m = minutes.abs();
            text.push_str(&format!("{sign}{:02}:{:02}", m / 60, m % 60));
        }
    }
    text
}

/// RFC 3339 at the offset that a zone has at that time.
pub fn rfc3339_in(time: Time, zone: &TimeZone) -> String {
    rfc3339(time, offset(time, zone))
}

/// The offset from UTC that a zone has at that time, in seconds.
pub fn offset(time: Time, zone: &TimeZone) -> i32 {
    timestamp(time).map_or(0, |t| zone.to_offset(t).seconds())
}

/// Seconds between two times, never negative.
pub fn seconds_between(start: Time, end: Time) -> f64 {
    (end.nanos() - start.nanos()).max(0) as f64 / 1e9
}

fn timestamp(time: Time) -> Option<Timestamp> {
    Timestamp::from_nanosecond(time.nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_as_restic_prints_them() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.000 KiB"),
            (3_000_007, "2.861 MiB"),
            (1_325_000_000, "1.234 GiB"),
            (u64::MAX, "16777216.000 TiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn durations() {
        assert_eq!(seconds(12), "0:12");
        assert_eq!(seconds(754), "12:34");
        assert_eq!(seconds(3723), "1:02:03");
    }

    #[test]
    fn times_of_every_age() {
        let t = |sec, nsec| Time { sec, nsec };
        assert_eq!(rfc3339(t(0, 0), 0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(t(-1, 500_000_000), 0), "1969-12-31T23:59:59.5Z", "before 1970");
        assert_eq!(rfc3339(t(4_102_444_800, 1), 7200), "2100-01-01T02:00:00.000000001+02:00");
        assert_eq!(rfc3339(t(0, 0), -12_600), "1969-12-31T20:30:00-03:30");
        assert_eq!(rfc3339(t(i64::MAX, 0), 0), format!("@{}", i64::MAX));
        assert_eq!(wall_clock(t(0, 0), &TimeZone::UTC), "1970-01-01 00:00:00");
    }
}
