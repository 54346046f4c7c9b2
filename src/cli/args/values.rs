//! Values that flags take, each with its own parser.

use std::str::FromStr;

use clap::ValueEnum;

/// One `-v`, or `-v=2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Louder {
    /// One step.
    More,
    /// To this level.
    Level(u8),
}

impl FromStr for Louder {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "+" => Ok(Self::More),
            _ => text.parse().map(Self::Level).map_err(|_| format!("'{text}' is not a level")),
        }
    }
}

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// What usually pays.
    Auto,
    /// Not at all.
    Off,
    /// As little as possible.
    Fastest,
    /// Harder than usual.
    Better,
    /// As hard as possible.
    Max,
}

/// What to do with files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Overwrite {
    /// Make them what the snapshot says, rewriting what differs.
    Always,
    /// Believe files whose size and time are right.
    IfChanged,
    /// Only if the snapshot's file is newer.
    IfNewer,
    /// Leave them alone.
    Never,
}

/// A kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Archive {
    /// tar
    Tar,
    /// zip
    Zip,
}

/// What to sort a listing by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SortBy {
    /// Path.
    Name,
    /// Size.
    Size,
    /// Last change of content.
    #[value(alias = "mtime")]
    Time,
    /// Last access.
    Atime,
    /// Last change of anything.
    Ctime,
    /// What comes after the last dot.
    Extension,
}

/// How to cut files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Chunking {
    /// For trees of files.
    Default,
    /// For disk images and databases that change in small places.
    Volume,
    /// For large files that never change inside.
    Media,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Everything.
    Owner,
    /// Back up and restore under one client name.
    Client,
}

/// What `list` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ObjectKind {
    /// Chunks and pages.
    Blobs,
    /// Packs.
    Packs,
    /// Index segments.
    Index,
    /// Snapshots.
    Snapshots,
    /// Keys.
    Keys,
    /// None: nothing here locks.
    Locks,
}

/// What `cat` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CatKind {
    /// The configuration.
    Config,
    /// A snapshot's record.
    Snapshot,
    /// An index segment.
    Index,
    /// A pack, as it is stored.
    Pack,
    /// A blob, opened.
    Blob,
    /// A key slot, without secrets.
    Key,
    /// A directory of a snapshot.
    Tree,
    /// Restic's word for what unlocks everything; not shown here.
    Masterkey,
    /// None: nothing here locks.
    Lock,
}

/// `a,b`: all of these tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagList(pub Vec<String>);

impl FromStr for TagList {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let tags = text.split(',').map(str::trim).filter(|t| !t.is_empty());
        Ok(Self(tags.map(str::to_owned).collect()))
    }
}

/// `now`, `2012-11-01 22:08:41`, or RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// When the command runs.
    Now,
    /// On a wall clock in the local zone.
    Local(jiff::civil::DateTime),
    /// Everywhere the same, with the offset that was written.
    At(jiff::Zoned),
}

impl FromStr for When {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}' is not like '2012-11-01 22:08:41'");
        if text == "now" {
            return Ok(Self::Now);
        }
        let turned = day_first(text);
        let text = turned.as_deref().unwrap_or(text);
        if let Ok(pieces) = jiff::fmt::temporal::Pieces::parse(text)
            && let Some(offset) = pieces.to_numeric_offset()
        {
            let time = pieces.time().ok_or_else(bad)?;
            let zoned = pieces.date().to_datetime(time).to_zoned(offset.to_time_zone());
            return zoned.map(Self::At).map_err(|_| bad());
        }
        if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::At(timestamp.to_zoned(jiff::tz::TimeZone::UTC)));
        }
        text.parse().map(Self::Local).map_err(|_| bad())
    }
}

/// `02.01.2006` as `2006-01-02`, and what comes after it.
fn day_first(text: &str) -> Option<String> {
    let (date, rest) = text.split_at_checked(10)?;
    let parts: Vec<&str> = date.split('.').collect();
    match parts[..] {
        [day, month, year] if (day.len(), month.len(), year.len()) == (2, 2, 4) => {
            Some(format!("{year}-{month}-{day}{rest}"))
        }
        _ => None,
    }
}

impl When {
    /// As a point in time and an offset from UTC in seconds.
    pub fn resolve(&self, zone: &jiff::tz::TimeZone) -> Result<(crate::model::Time, i32), String> {
        let zoned = match self {
            Self::Now => jiff::Timestamp::now().to_zoned(zone.clone()),
            Self::Local(wall) => wall.to_zoned(zone.clone()).map_err(|e| e.to_string())?,
            Self::At(zoned) => zoned.clone(),
        };
        let nanos = zoned.timestamp().as_nanosecond();
        let sec = i64::try_from(nanos.div_euclid(1_000_000_000)).map_err(|e| e.to_string())?;
        let nsec = nanos.rem_euclid(1_000_000_000) as u32;
        Ok((crate::model::Time { sec, nsec }, zoned.offset().seconds()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Time;

    #[test]
    fn times() {
        let berlin = jiff::tz::TimeZone::fixed(jiff::tz::offset(1));
        let resolve = |text: &str| text.parse::<When>().and_then(|w| w.resolve(&berlin));
        let (time, offset) = resolve("2012-11-01 22:08:41").expect("restic's example");
        assert_eq!((time.sec, time.nsec, offset), (1_351_804_121, 0, 3600));
        let (time, offset) = resolve("1969-12-31T23:59:59.5Z").expect("before 1970");
        assert_eq!((time.sec, time.nsec, offset), (-1, 500_000_000, 0));
        let (_, offset) = resolve("2012-11-01T22:08:41-03:30").expect("an offset");
        assert_eq!(offset, -12_600);
        let same =
            ["2006-01-02", "2006-01-02 00:00", "02.01.2006", "02.01.2006 00:00:00"].map(|text| resolve(text).ok());
        assert_eq!(same, [Some((Time { sec: 1_136_156_400, nsec: 0 }, 3600)); 4]);
        assert!(resolve("now").is_ok());
        assert!(resolve("yesterday").is_err());
    }
}
