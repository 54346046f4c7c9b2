//! Small objects: each one parses, verifies, and has its second home; no chain of snapshots has gaps.

use std::collections::HashSet;

use rayon::prelude::*;

use super::findings::Findings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Context, Meter, Phase};
use crate::format::names::{self, prefix};
use crate::repo::{Repository, Snapshot, Validity, Verified};

/// Every kind of object in armour that a check looks at; suspects are looked at by the next backup.
/// Second homes are listed first: what is committed meanwhile then lacks none of its first.
const ARMOURED: [&str; 13] = [
    prefix::COPY,
    prefix::CONFIG,
    prefix::KEYS,
    prefix::KEYRING,
    prefix::CLIENTS,
    prefix::SNAPSHOTS,
    prefix::SESSIONS,
    prefix::TOMBSTONES,
    prefix::HOLLOW,
    prefix::NOTES,
    prefix::TIMES,
    prefix::GC,
    prefix::STATE,
];
/// Those of them that have a second home.
const TWICE: [&str; 5] = [prefix::CONFIG, prefix::KEYS, prefix::KEYRING, prefix::CLIENTS, prefix::SNAPSHOTS];
/// So many snapshots are named in one remark.
const NAMED: usize = 20;

/// Verify every small object.
pub fn check(repo: &Repository, cx: &Context<'_>, findings: &Findings<'_>) -> Result<()> {
    let mut objects = Vec::new();
    for p in ARMOURED {
        objects.extend(repo.storage().list(p)?.into_iter().map(|l| l.name.as_str().to_owned()));
    }
    // Nobody asks any more for records of the log that a newer one took the place of.
    let begin = repo.history().ok().and_then(|h| Some(h.checkpoint?.generation)).unwrap_or(0);
    objects.retain(|o| names::parse_gc(o).is_none_or(|g| g >= begin));
    cx.enter(Phase::CheckingStructure, Some(objects.len() as u64), None);
    objects.par_iter().try_for_each(|object| -> Result<()> {
        cx.check()?;
        verify(repo, object, cx, findings);
        Meter::add(&cx.meter.files_done, 1);
        Ok(())
    })?;
    // What is doomed may be there, half there or gone.
    let doomed = repo.history().map(|h| h.doomed_names).unwrap_or_default();
    objects.retain(|o| !doomed.contains(o));
    second_homes(&objects, cx, findings);
    Ok(())
}

fn verify(repo: &Repository, object: &str, cx: &Context<'_>, findings: &Findings<'_>) {
    match repo.verify_object(object) {
        Ok(Verified::Whole | Verified::Outside) => {}
        Ok(Verified::Mended) => {
            cx.notice("mended", format!("{object} is damaged a little and was read by means of its spare parts"));
        }
        Ok(Verified::Unknown) => cx.notice("foreign-object", format!("{object} is nothing that this version knows")),
        // Sessions may be cleared away, and slots removed, while this runs.
        Err(e) if e.kind() == ErrorKind::Missing => {}
        Err(e) if object.starts_with(prefix::SESSIONS) || object.starts_with(prefix::COPY) => {
            findings.error("damaged", object.as_bytes(), "read", format!("{e}; no data depends on it"));
        }
        Err(e) => {
            let spare = repo.verify_object(&names::copy_of(object)).is_ok();
            let spare = if spare { "; its second copy is whole and takes its place" } else { "" };
            findings.error("damaged", object.as_bytes(), "read", format!("{e}{spare}"));
        }
    }
}

/// What stands in one home only.
fn second_homes(objects: &[String], cx: &Context<'_>, findings: &Findings<'_>) {
    let firsts: HashSet<&str> = objects.iter().map(String::as_str).collect();
    let seconds: HashSet<&str> = objects.iter().filter_map(|o| o.strip_prefix(prefix::COPY)).collect();
    for gone in seconds.difference(&firsts) {
        findings.error("missing", gone.as_bytes(), "list", "it is gone; its second copy takes its place");
    }
    let twice = |o: &&str| TWICE.iter().any(|p| o.starts_with(p));
    let lonely = firsts.difference(&seconds).filter(|o| twice(o)).count();
    if lonely > 0 {
        cx.notice("single-copy", format!("{lonely} small objects have no second copy"));
    }
}

fn is_late(s: &Snapshot) -> bool {
    s.validity == Validity::Late && !s.session_lost
}

/// Those that would count if the records of their sessions were there.
fn tell_unvouched(all: &[Snapshot], findings: &Findings<'_>) {
    for s in all.iter().filter(|s| s.session_lost) {
        let what = format!("the record of the session that made snapshot {} is gone without having been", s.id.short());
        let so = "the snapshot does not count, and stays: it can be restored by its id, and the next backup makes \
                  one that counts; `orlop forget` of it goes on without it";
        let name = names::session(s.commit.session, 0);
        findings.error("missing", name.as_bytes(), "list", format!("{what} cleared away; {so}"));
    }
}

/// Those that nobody vouches for, by their names: each has a successor, or is to be made again.
fn tell_late(all: &[Snapshot], cx: &Context<'_>) {
    let late: Vec<String> = all.iter().filter(|s| is_late(s)).map(|s| s.id.short()).collect();
    if late.is_empty() {
        return;
    }
    let (mut named, more) = (late.join(", "), late.len().saturating_sub(NAMED));
    if more > 0 {
        named = format!("{} and {more} more that `orlop snapshots` marks", late[..NAMED].join(", "));
    }
    let what = "snapshots came after their session had been given up and do not count";
    cx.notice("late", format!("{} {what}: {named}", late.len()));
}

/// All snapshots that can be read, stand and count, after their chains were looked at.
pub fn snapshots(repo: &Repository, cx: &Context<'_>, findings: &Findings<'_>) -> Result<Vec<Snapshot>> {
    let told = |name: &str, e: Error| {
        let (slug, during) = match e.kind() {
            ErrorKind::Missing if e.context().is_empty() => ("missing", "list"),
            ErrorKind::Substituted => ("substituted", "check"),
            _ => ("damaged", "read"),
        };
        let hint = e.hints().first().map_or(String::new(), |hint| format!("; {hint}"));
        findings.error(slug, name.as_bytes(), during, format!("{e}{hint}"));
    };
    // What cannot be read of the rest was named before, when every small object was looked at.
    let mut all = repo.snapshots_missed(&told)?;
    let tombstones = repo.tombstones(&|_, _| {})?;
    let forgotten =
        |s: &Snapshot| tombstones.at(s.statement.client, s.statement.seq).iter().any(|t| t.target == Some(s.id));
    all.retain(|s| !forgotten(s));
    tell_late(&all, cx);
    tell_unvouched(&all, findings);
    all.retain(|s| !is_late(s));
    let hollow = all.iter().filter(|s| s.hollow).count();
    if hollow > 0 {
        cx.notice(
            "hollow",
            format!("this is a mirror of a part: snapshots that are here by their statements only: {hollow}"),
        );
    }
    all.retain(|s| !s.hollow);
    Ok(all)
}
