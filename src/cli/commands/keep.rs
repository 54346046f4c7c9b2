//! What to keep, as flags or a file say it.

use std::path::Path;

use super::forget::is_stdin;
use crate::cli::args::Keep;
use crate::cli::signals;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::forget::zone;
use crate::retain::{Policy, Rules};

/// Longest file with a policy; that of a stored one.
const LONGEST: u64 = 64 << 10;

/// A policy that was typed.
pub(super) struct Asked {
    /// What it says.
    pub policy: Policy,
}

/// The policy that flags and file ask for; `None` if they say nothing.
pub(super) fn asked(flags: &Keep, file: Option<&Path>) -> Result<Option<Asked>> {
    let typed = of_flags(flags)?;
    let Some(file) = file else { return Ok(typed.map(|policy| Asked { policy })) };
    if typed.is_some() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "--policy-file was given together with flags that say what to keep",
        )
        .hint("write all of it into the file, or give all of it as flags"));
    }
    let text = read(file)?;
    let policy = Policy::parse(&text, &zone)
        .map_err(|why| Error::new(ErrorKind::Invalid, format!("the policy in {}: {why}", file.display())))?;
    Ok(Some(Asked { policy }))
}

fn of_flags(k: &Keep) -> Result<Option<Policy>> {
    let lists = |list: &Vec<String>| if list.is_empty() { vec![String::new()] } else { list.clone() };
    let rules = Rules {
        last: k.keep_last,
        counts: [k.keep_hourly, k.keep_daily, k.keep_weekly, k.keep_monthly, k.keep_yearly],
        within: k.keep_within,
        within_periods: [
            k.keep_within_hourly,
            k.keep_within_daily,
            k.keep_within_weekly,
            k.keep_within_monthly,
            k.keep_within_yearly,
        ],
        tags: k.keep_tag.iter().map(|t| lists(&t.0)).collect(),
        ids: k.keep_id.iter().map(|id| hex_prefix(id)).collect::<Result<_>>()?,
    };
    let known = |name: &String| {
        let unknown = || Error::new(ErrorKind::Invalid, format!("--zone: '{name}' is no time zone that is known here"));
        zone(name).ok_or_else(unknown)
    };
    let policy = Policy {
        rules,
        schedules: (!k.schedule.is_empty()).then(|| k.schedule.clone()),
        max_backups: k.max_backups,
        manual_count: k.manual_count,
        zone: k.zone.as_ref().map(known).transpose()?,
        style: k.retention_style,
        alone: false,
    };
    Ok((policy != Policy::default()).then_some(policy))
}

fn hex_prefix(id: &str) -> Result<String> {
    let hex = !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let bad = || Error::new(ErrorKind::Invalid, format!("--keep-id: '{id}' is not the beginning of an id"));
    if hex { Ok(id.to_ascii_lowercase()) } else { Err(bad()) }
}

fn read(file: &Path) -> Result<String> {
    let cannot = |e: std::io::Error| {
        Error::new(ErrorKind::Source, format!("the policy in {} cannot be read", file.display())).because(e)
    };
    let read = match is_stdin(file) {
        true => signals::read_stdin(LONGEST + 1)?,
        false => signals::read_file(file, LONGEST + 1)?,
    };
    let not_text = |_| cannot(std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8"));
    let text = String::from_utf8(read.map_err(cannot)?).map_err(not_text)?;
    if text.len() as u64 > LONGEST {
        return Err(Error::new(ErrorKind::Invalid, format!("the policy in {} is longer than 64 KiB", file.display())));
    }
    Ok(text)
}
