//! Rates by the time of day: `2MiB`, `08:00-18:00=2MiB`, `08:00-12:30=512KiB,22:00-06:00=unlimited,4MiB`.

use std::str::FromStr;

use super::size;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// How many bytes a second, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timetable {
    /// From a minute of the day up to another one, which may be on the next day. The first that fits
    /// counts.
    spans: Vec<(u16, u16, Option<u64>)>,
    otherwise: Option<u64>,
}

impl Timetable {
    /// Bytes a second at a minute of the day; `None` for as many as go.
    pub fn at(&self, minute: u16) -> Option<u64> {
        let holds = |(from, to, _): &&(u16, u16, Option<u64>)| match from < to {
            true => (*from..*to).contains(&minute),
            false => minute >= *from || minute < *to,
        };
        self.spans.iter().find(holds).map_or(self.otherwise, |(.., rate)| *rate)
    }

    /// Whether there is no limit at any time.
    pub fn is_unlimited(&self) -> bool {
        self.otherwise.is_none() && self.spans.iter().all(|(.., rate)| rate.is_none())
    }
}

impl FromStr for Timetable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut out, mut plain) = (Self::default(), false);
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some((span, rate)) => {
                    let (from, to) = span.split_once('-').ok_or_else(|| format!("'{span}' is not like 08:00-18:00"))?;
                    let (from, to) = (minute(from)?, minute(to)?);
                    if from == to || from % DAY == to {
                        return Err(format!("'{span}' ends when it begins"));
                    }
                    out.spans.push((from % DAY, to, rate_of(rate)?));
                }
                None if plain => return Err("there is more than one rate without a time".to_owned()),
                None => (out.otherwise, plain) = (rate_of(part)?, true),
            }
        }
        Ok(out)
    }
}

fn minute(text: &str) -> Result<u16, String> {
    let wrong = || format!("'{text}' is no time of day like 18:30");
    let (hour, minute) = text.trim().split_once(':').ok_or_else(wrong)?;
    let number = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<u16>().ok()).flatten();
    match (number(hour), number(minute), minute.len()) {
        (Some(hour @ 0..=23), Some(minute @ 0..=59), 2) => Ok(hour * 60 + minute),
        (Some(24), Some(0), 2) => Ok(DAY),
        _ => Err(wrong()),
    }
}

/// A number alone is in KiB, as in restic; nought is no limit.
fn rate_of(text: &str) -> Result<Option<u64>, String> {
    let text = text.trim();
    if text == "unlimited" {
        return Ok(None);
    }
    let bytes = match text.parse::<u64>() {
        Ok(kib) => kib.checked_mul(1 << 10),
        // `2M` and `2MiB` are the same.
        Err(_) => size::parse_bytes(text.strip_suffix("iB").unwrap_or(text)).ok(),
    };
    let bytes = bytes.ok_or_else(|| format!("'{text}' is no rate like 512 (KiB a second), 2MiB or unlimited"))?;
    Ok(Some(bytes).filter(|bytes| *bytes > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, hour: u16, minute: u16) -> Option<u64> {
        text.parse::<Timetable>().unwrap_or_else(|e| panic!("{text}: {e}")).at(hour * 60 + minute)
    }

    #[test]
    fn rates_by_the_time_of_day() {
        const MIB: u64 = 1 << 20;
        assert_eq!(at("512", 3, 0), Some(512 << 10), "KiB, as in restic");
        assert_eq!(at("0", 3, 0), None);
        assert_eq!(at("2MiB", 3, 0), Some(2 * MIB));
        let work = "08:00-18:00=2MiB";
        assert_eq!(
            [(7, 59), (8, 0), (17, 59), (18, 0)].map(|(h, m)| at(work, h, m)),
            [None, Some(2 * MIB), Some(2 * MIB), None]
        );
        let night = "22:00-06:00=unlimited, 08:00-24:00=1MiB, 4MiB";
        assert_eq!(
            [(23, 0), (5, 59), (6, 0), (8, 0), (21, 59)].map(|(h, m)| at(night, h, m)),
            [None, None, Some(4 * MIB), Some(MIB), Some(MIB)],
        );
        let all_day = "00:00-24:00=1MiB, 2MiB";
        assert_eq!([(0, 0), (12, 0), (23, 59)].map(|(h, m)| at(all_day, h, m)), [Some(MIB); 3]);
        assert!("22:00-06:00=0".parse::<Timetable>().is_ok_and(|t| t.is_unlimited()));
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "fast",
            "8-18=2MiB",
            "08:00=2MiB",
            "25:00-26:00=1",
            "08:00-08:00=1",
            "1,2",
            "08:60-09:00=1",
            "24:00-00:00=1",
            "-1",
        ] {
            assert!(text.parse::<Timetable>().is_err(), "{text}");
        }
    }
}
