//! Small objects: each one parses, verifies, and has its second home; no chain of snapshots has gaps.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use rayon::prelude::*;

use super::findings::Findings;
use crate::error::{ErrorKind, Result};
use crate::event::{Context, Meter, Phase};
use crate::format::names::{self, prefix};
use crate::id::{ClientId, RecordId};
use crate::ops::locked;
use crate::repo::{Repository, Snapshot, Validity, Verified};

/// Every kind of object in armour that a check looks at; suspects are looked at by the next backup.
const ARMOURED: [&str; 7] =
    [prefix::CONFIG, prefix::KEYS, prefix::KEYRING, prefix::CLIENTS, prefix::SNAPSHOTS, prefix::SESSIONS, prefix::COPY];
/// Those of them that have a second home.
const TWICE: [&str; 5] = [prefix::CONFIG, prefix::KEYS, prefix::KEYRING, prefix::CLIENTS, prefix::SNAPSHOTS];

/// Verify every small object.
pub fn check(repo: &Repository, cx: &Context<'_>, findings: &Findings<'_>) -> Result<()> {
    let mut objects = Vec::new();
    for p in ARMOURED {
        objects.extend(repo.storage().list(p)?.into_iter().map(|l| l.name.as_str().to_owned()));
    }
    cx.enter(Phase::CheckingStructure, Some(objects.len() as u64), None);
    objects.par_iter().try_for_each(|object| -> Result<()> {
        cx.check()?;
        verify(repo, object, cx, findings);
        Meter::add(&cx.meter.files_done, 1);
        Ok(())
    })?;
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

/// All snapshots that can be read and count, after their chains were looked at.
pub fn snapshots(repo: &Repository, cx: &Context<'_>, findings: &Findings<'_>) -> Result<Vec<Snapshot>> {
    let broken = Mutex::new(Vec::new());
    let mut all = repo.snapshots(&|name, e| {
        findings.error("damaged", name.as_bytes(), "read", e.to_string());
        locked(&broken).push(name.to_owned());
    })?;
    let broken = broken.into_inner().unwrap_or_else(|p| p.into_inner());
    let mut chains: BTreeMap<ClientId, BTreeMap<u64, Option<&Snapshot>>> = BTreeMap::new();
    for s in &all {
        chains.entry(s.statement.client).or_default().insert(s.statement.seq, Some(s));
    }
    for (client, seq) in broken.iter().filter_map(|n| names::parse_snapshot(n)) {
        chains.entry(client).or_default().entry(seq).or_default();
    }
    chains.iter().for_each(|(client, chain)| check_chain(*client, chain, findings));
    let late = all.iter().filter(|s| s.validity == Validity::Late).count();
    if late > 0 {
        cx.notice("late", format!("{late} snapshots came after their session had been given up and do not count"));
    }
    all.retain(|s| s.validity != Validity::Late);
    Ok(all)
}

/// A client's snapshots are numbered without gaps, and each names the one before.
fn check_chain(client: ClientId, chain: &BTreeMap<u64, Option<&Snapshot>>, findings: &Findings<'_>) {
    let mut next = 1;
    let mut prev: Option<RecordId> = Some(RecordId::ZERO);
    for (seq, snapshot) in chain {
        for gone in (next..*seq).take(16) {
            let what = "this snapshot is gone without having been forgotten";
            findings.error("missing", names::snapshot(client, gone).as_bytes(), "list", what);
        }
        let Some(s) = snapshot else {
            (next, prev) = (seq.saturating_add(1), None);
            continue;
        };
        // Who could not read its predecessor says zero.
        let known = if next == *seq { prev } else { None };
        if known.is_some_and(|p| p != s.statement.prev) && s.statement.prev != RecordId::ZERO {
            let what = "it does not follow the snapshot that stands before it: one of the two was exchanged";
            findings.error("substituted", names::snapshot(client, *seq).as_bytes(), "check", what);
        }
        (next, prev) = (seq.saturating_add(1), Some(s.id));
    }
}
