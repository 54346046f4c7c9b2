//! What would be there: a policy carried out after every backup of a time to come.

use jiff::tz::TimeZone;

use super::calendar::timestamp;
use super::{Candidate, Decision, Policy, Span, decide};
use crate::id::RecordId;
use crate::model::Time;

/// Most backups that are simulated.
const MOST: usize = 100_000;

/// The snapshots that would be left, newest first, each with why.
pub struct Future {
    /// What is left.
    pub left: Vec<(Candidate, Decision)>,
    /// How many snapshots there were at most.
    pub most: usize,
    /// How many were made.
    pub made: usize,
}

/// Make a backup `every` so often from `now` to `until`, and forget after each. Fails
/// where that would be more than a hundred thousand backups, or none ever.
pub fn simulate(
    there: Vec<Candidate>,
    policy: &Policy,
    (now, until): (Time, Time),
    every: Span,
    zone: &TimeZone,
) -> Result<Future, String> {
    let mut out = Future { left: vec![], most: there.len(), made: 0 };
    let mut all = there;
    let mut at = now;
    let mut decided = decide(&all, policy, at, zone);
    loop {
        let offset = zone.to_offset(timestamp(at)).seconds();
        at = every.after(at, offset, zone).filter(|next| *next > at).ok_or("no backup would ever be made")?;
        if at > until {
            break;
        }
        if out.made >= MOST {
            return Err(format!("that would be more than {MOST} backups"));
        }
        out.made += 1;
        all.push(made(out.made, at, zone));
        out.most = out.most.max(all.len());
        decided = decide(&all, policy, at, zone);
        all.retain(|c| decided.iter().any(|d| d.id == c.id && d.keep));
    }
    let kept = decided.into_iter().filter(|d| d.keep);
    out.left = kept.filter_map(|d| Some((all.iter().find(|c| c.id == d.id)?.clone(), d))).collect();
    Ok(out)
}

fn made(n: usize, time: Time, zone: &TimeZone) -> Candidate {
    let mut id = RecordId([0xff; 32]);
    id.0[..8].copy_from_slice(&(n as u64).to_be_bytes());
    Candidate {
        id,
        time,
        utc_offset: zone.to_offset(timestamp(time)).seconds(),
        seq: u64::MAX / 2 + n as u64,
        tags: vec![],
        incomplete: false,
        manual: false,
        expires: None,
        held: None,
        flagged: false,
    }
}
