//! Reading what was restored again, and comparing it with what the snapshot says.
//!
//! Shares nothing with the writing side but the walk: contents are read from the target and named
//! anew, so a write that was lost, and a file that somebody changed meanwhile, are both seen.

use std::sync::Arc;

use super::jobs::{FileJob, Look, Stretch};
use super::place::is_hole;
use super::worker::Hand;
use super::{Run, locked};
use crate::event::Meter;
use crate::source::OpenFile;
use crate::target::Kind;

impl Run<'_> {
    /// Compare a file, or a part of it.
    pub(super) fn verify(&self, hand: &mut Hand, look: &Look) {
        let job = &look.job;
        if locked(self.exempt).contains(job.number) {
            return;
        }
        let wrong = self.first_difference(hand, look);
        if let Some(what) = wrong.filter(|_| !self.stopped()) {
            self.exempt(job.number); // Said once.
            self.cx.problem("differs", &self.shown(&job.path()), "verify", what);
        }
    }

    fn first_difference(&self, hand: &mut Hand, look: &Look) -> Option<String> {
        let job = &look.job;
        let Ok(dir) = hand.dir(self, &job.dir) else { return Some("its directory cannot be opened".into()) };
        let stat = match dir.survey(&job.node.name) {
            Ok(Some(stat)) if stat.kind == Kind::File => stat,
            _ => return Some("it is not there".into()),
        };
        if stat.size != job.size {
            return Some(format!("it has {} bytes, not {}", stat.size, job.size));
        }
        let file = match dir.as_source().open_file(&job.node.name, &stat) {
            Ok(file) => file,
            Err(e) => return Some(e.to_string()),
        };
        for stretch in &look.stretches {
            let (right, offset, len) = match stretch {
                Stretch::Data(p) => (self.holds(hand, &file, p), p.offset, p.bytes()),
                Stretch::Hole { offset, len } => (self.is_zero(hand, &file, *offset, *len, stat.size), *offset, *len),
            };
            Meter::add(&self.cx.meter.bytes_done, len);
            if !right {
                return Some(format!("bytes {offset}-{} are not what they should be", offset.saturating_add(len) - 1));
            }
        }
        None
    }

    /// Whether a stretch reads as zeros, be it a hole or not.
    fn is_zero(&self, hand: &mut Hand, file: &OpenFile, offset: u64, len: u64, size: u64) -> bool {
        if is_hole(file, offset, len, size) {
            return true;
        }
        hand.scratch.resize(hand.scratch.len().max(64 << 10), 0);
        let (mut at, end) = (offset, offset.saturating_add(len));
        while at < end && !self.stopped() {
            let n = (end - at).min(64 << 10) as usize;
            let bytes = &mut hand.scratch[..n];
            if !file.read_at(at, bytes).is_ok_and(|read| read == n) || bytes.iter().any(|b| *b != 0) {
                return false;
            }
            at += n as u64;
        }
        true
    }

    /// Compare what needs no frame.
    pub(super) fn verify_small(&self, hand: &mut Hand, job: &Arc<FileJob>) {
        if !locked(self.exempt).contains(job.number) {
            let there = hand.dir(self, &job.dir).and_then(|d| Ok((d.survey(&job.node.name)?, d)));
            let right = there.is_ok_and(|(s, d)| s.is_some_and(|s| self.is_same(&d, job, &s)));
            if !right {
                self.cx.problem("differs", &self.shown(&job.path()), "verify", "it is not what it should be");
            }
        }
        self.let_go(hand, job, 1);
    }
}
