//! `prune`.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::plan::size::parse_bytes;

/// `orlop prune`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop prune --dry-run                     what would be freed, and what that would cost
  orlop prune                               condemn what nothing needs, and free what was condemned
                                            a day ago or earlier
  orlop prune --now                         free it at once
  orlop prune --max-repack-size 10G --time-budget 1h

Backups and restores may go on meanwhile. What is condemned can still be used by those who began
before; that is why it is freed by a later run. A run that is stopped is gone on with by the next.")]
pub struct Prune {
    /// Change nothing; say what would be done
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// How far it goes.
    #[command(flatten)]
    pub pruning: Pruning,
    /// Give up sessions that are in the way, even of other machines: one that lives notices, and
    /// repairs its own work
    #[arg(long)]
    pub fence: bool,
    /// Go on although a record of the log of garbage collection is lost. What snapshots need is
    /// looked up first; no other prune may be at work
    #[arg(long)]
    pub accept_lost: bool,
}

/// How far pruning goes.
#[derive(Debug, Args)]
pub struct Pruning {
    /// How much may stay that nothing needs: a size, a share of what stays in %, or 'unlimited'
    /// [default: 5%]
    #[arg(long, value_name = "LIMIT")]
    pub max_unused: Option<MaxUnused>,
    /// Pack at most this much again
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub max_repack_size: Option<u64>,
    /// Spend about so long packing again, like 90s, 30m or 2h; the next run goes on
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub time_budget: Option<Duration>,
    /// Free at once what nothing needs. What was forgotten cannot be brought back after that
    #[arg(long)]
    pub now: bool,
}

impl Pruning {
    /// One of these that was given.
    pub fn given(&self) -> Option<&'static str> {
        let given = [
            ("--max-unused", self.max_unused.is_some()),
            ("--max-repack-size", self.max_repack_size.is_some()),
            ("--time-budget", self.time_budget.is_some()),
            ("--now", self.now),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag)
    }
}

/// How much may stay that nothing needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxUnused {
    /// So many bytes.
    Bytes(u64),
    /// This share of what stays.
    Percent(f64),
    /// All of it.
    Unlimited,
}

impl FromStr for MaxUnused {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let Some(number) = text.strip_suffix('%') else {
            return parse_bytes(text).map(Self::Bytes).map_err(|e| e.to_string());
        };
        match number.parse::<f64>() {
            Ok(p) if (0.0..=100.0).contains(&p) => Ok(Self::Percent(p)),
            _ => Err(format!("'{text}' is not a share between 0% and 100%")),
        }
    }
}

/// `90s`, `30m` or `2h`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("'{text}' is not a time like 90s, 30m or 2h");
    let unit = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3600,
        _ => return Err(bad()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| bad())?;
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_times() {
        assert_eq!("5%".parse(), Ok(MaxUnused::Percent(5.0)));
        assert_eq!("0".parse(), Ok(MaxUnused::Bytes(0)));
        assert_eq!("2G".parse(), Ok(MaxUnused::Bytes(2 << 30)));
        assert_eq!("unlimited".parse(), Ok(MaxUnused::Unlimited));
        for bad in ["", "%", "101%", "-1%", "NaN%", "many"] {
            assert!(bad.parse::<MaxUnused>().is_err(), "{bad}");
        }
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "h", "2", "-1s", "2d", "1.5h", "é", "99999999999999999999h", "6000000000000000h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
