//! Files in the making: looking at what is there, opening, writing, finishing.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::jobs::{DirJob, FileJob, Look, Piece, Progress, Stage, Stretch};
use super::metadata::WITHHELD;
use super::planner::Trouble;
use super::worker::Hand;
use super::{Mode, Overwrite, Run, locked};
use crate::error::{Error, ErrorKind};
use crate::event::{Change, Event, ItemKind, Meter};
use crate::model::ext::flag;
use crate::model::{Node, NodeKind};
use crate::source::OpenFile;
use crate::sys;
use crate::target::{FileId, Kind, Object, Stat, TargetDir, TargetError, TargetFile, Why, Withheld};

/// How many files are kept open for several pieces.
const OPEN_MAX: usize = 256;
/// Runs of zeros from this length on become holes, if holes are wanted.
const ZEROS_MIN: usize = 32 << 10;
/// Holes are made of whole blocks.
const BLOCK: usize = 4096;

impl Run<'_> {
    // --- what is there already -------------------------------------------------------------

    /// Look at what is in a file's place; the pieces that are still needed.
    pub(super) fn look(&self, hand: &mut Hand, look: &Look) -> Vec<Piece> {
        if self.mode == Mode::Verify {
            self.verify(hand, look);
            return Vec::new();
        }
        let job = &look.job;
        let data = look.stretches.iter().filter(|s| matches!(s, Stretch::Data(_))).count();
        let needed = self.needed(hand, look).unwrap_or_else(|e| {
            self.broken(hand, job, &e);
            Vec::new()
        });
        // The planner's hold is given up after this, so nobody finishes the file meanwhile.
        job.left.fetch_sub((data - needed.len()) as u64, Relaxed);
        needed
    }

    fn needed(&self, hand: &mut Hand, look: &Look) -> Result<Vec<Piece>, Trouble> {
        let job = &look.job;
        let mut progress = locked(&job.progress);
        match progress.stage {
            Stage::Unknown => self.first_look(hand, look, &mut progress),
            Stage::Update(_) | Stage::Open(_) | Stage::Parked(_) if !progress.replaced => {
                let dir = hand.dir(self, &job.dir)?;
                let Some(stat) = dir.survey(&job.node.name)? else { return Err(Trouble::Target(raced("open"))) };
                let (needed, untouched) = self.compare(hand, &dir, look, &stat)?;
                progress.untouched &= untouched;
                Ok(needed)
            }
            Stage::New | Stage::Open(_) | Stage::Parked(_) => Ok(all(look)),
            _ => Ok(self.passed_over(look)),
        }
    }

    /// Nothing is needed of what is there, and it counts as done.
    fn passed_over(&self, look: &Look) -> Vec<Piece> {
        Meter::add(&self.cx.meter.bytes_done, all(look).iter().map(Piece::bytes).sum());
        Vec::new()
    }

    fn first_look(&self, hand: &mut Hand, look: &Look, progress: &mut Progress) -> Result<Vec<Piece>, Trouble> {
        let job = &look.job;
        progress.stage = Stage::New;
        if self.tree.is_none() || job.vacant {
            return Ok(all(look));
        }
        let dir = hand.dir(self, &job.dir)?;
        let Some(stat) = dir.survey(&job.node.name)? else { return Ok(all(look)) };
        progress.replaced = true;
        if self.is_spared(job, &stat) {
            progress.stage = Stage::Skip;
            self.settle(job, Some(stat.id));
            return Ok(self.passed_over(look));
        }
        self.unseal(&dir, job, &stat);
        if stat.kind != Kind::File || self.policy.is_strangers(&stat, &job.node) {
            self.make_room(job, &dir, &stat);
            return Ok(all(look));
        }
        let (needed, untouched) = if self.is_believed(job, &stat) {
            (self.passed_over(look), true)
        } else {
            self.compare(hand, &dir, look, &stat)?
        };
        let alone = stat.nlink == 1;
        if alone && (untouched && look.whole || self.is_writable(&dir, job, stat.id)?) {
            (progress.stage, progress.untouched, progress.replaced) = (Stage::Update(stat.id), untouched, false);
            return Ok(needed);
        }
        if look.whole && untouched && !alone && agrees(&job.node, &stat) {
            // Another name of it may be anybody's: it is right already, so nothing is set on it.
            progress.stage = Stage::Skip;
            self.settle(job, Some(stat.id));
            return Ok(Vec::new());
        }
        Ok(all(look))
    }

    fn is_writable(&self, dir: &TargetDir, job: &FileJob, id: FileId) -> Result<bool, Trouble> {
        Ok(self.mode == Mode::Look || dir.open_for_update(&job.node.name, id)?.is_some())
    }

    pub(super) fn is_spared(&self, job: &FileJob, there: &Stat) -> bool {
        self.spares(&job.node, there)
    }

    /// Whether the policy says to leave alone what is there.
    pub(super) fn spares(&self, node: &Node, there: &Stat) -> bool {
        match self.options.overwrite {
            Overwrite::Always | Overwrite::IfChanged => false,
            Overwrite::IfNewer => node.mtime <= there.mtime,
            Overwrite::Never => true,
        }
    }

    fn is_believed(&self, job: &FileJob, there: &Stat) -> bool {
        let same = there.size == job.size && there.mtime == job.node.mtime;
        self.options.overwrite == Overwrite::IfChanged && same && there.kind == Kind::File
    }

    /// An older restore left it immutable; it will be again.
    fn unseal(&self, dir: &TargetDir, job: &FileJob, there: &Stat) {
        if self.mode == Mode::Write && there.nlink == 1 && there.known_flags & flag::SEALING != 0 {
            dir.unseal_entry(&job.node.name);
        }
    }

    /// Something of another kind is there. A directory goes only if removing was asked for, or if
    /// it is empty, which placing the new one sees to.
    pub(super) fn make_room(&self, job: &FileJob, dir: &TargetDir, there: &Stat) {
        if there.kind == Kind::Dir && self.options.delete {
            let path = job.path();
            self.remove(dir, &job.node.name, &path);
        }
    }

    /// Pieces that are not there yet, and whether nothing has to be done at all.
    fn compare(
        &self,
        hand: &mut Hand,
        dir: &TargetDir,
        look: &Look,
        stat: &Stat,
    ) -> Result<(Vec<Piece>, bool), Trouble> {
        let Ok(file) = dir.as_source().open_file(&look.job.node.name, stat) else { return Ok((all(look), false)) };
        let (mut needed, mut untouched) = (Vec::new(), stat.size == look.job.size);
        for stretch in &look.stretches {
            if self.stopped() {
                break;
            }
            match stretch {
                Stretch::Data(piece) if self.holds(hand, &file, piece) => {
                    Meter::add(&self.cx.meter.bytes_done, piece.bytes());
                }
                Stretch::Data(piece) => needed.push(*piece),
                Stretch::Hole { offset, len } if is_hole(&file, *offset, *len, stat.size) => {}
                Stretch::Hole { offset, len } => {
                    untouched = false;
                    if self.mode == Mode::Write
                        && let Some(file) = dir.open_for_update(&look.job.node.name, stat.id)?
                    {
                        file.punch_hole(*offset, *len)?;
                    }
                }
            }
        }
        let untouched = untouched && needed.is_empty();
        Ok((needed, untouched))
    }

    /// Whether the file has these bytes there.
    pub(super) fn holds(&self, hand: &mut Hand, file: &OpenFile, piece: &Piece) -> bool {
        let len = piece.len as usize;
        if hand.scratch.len() < len {
            hand.scratch.resize(len, 0);
        }
        (0..u64::from(piece.repeat)).all(|i| {
            let bytes = &mut hand.scratch[..len];
            !self.stopped()
                && file.read_at(piece.offset + i * len as u64, bytes).is_ok_and(|n| n == len)
                && self.reader.repo().keys().chunk_id(bytes) == piece.id
        })
    }

    // --- entries without frames -------------------------------------------------------------

    /// Anything whose content is in its node.
    pub(super) fn small(&self, hand: &mut Hand, job: &Arc<FileJob>) {
        if self.stopped() {
            return;
        }
        let done = match self.mode {
            Mode::Verify => {
                self.verify_small(hand, job);
                Ok(())
            }
            _ if job.follows => self.name_it(hand, job),
            _ => self.place_small(hand, job),
        };
        if let Err(e) = done {
            self.broken(hand, job, &e);
            self.let_go(hand, job, 1);
        }
    }

    fn place_small(&self, hand: &mut Hand, job: &Arc<FileJob>) -> Result<(), Trouble> {
        let mut there = None;
        if self.tree.is_some() && !job.vacant {
            let dir = hand.dir(self, &job.dir)?;
            there = dir.survey(&job.node.name)?;
            if let Some(stat) = &there {
                let left = self.is_spared(job, stat);
                let same = !left && (self.is_believed(job, stat) || self.is_same(&dir, job, stat));
                let untouchable = same && stat.nlink > 1 && agrees(&job.node, stat);
                if left || untouchable {
                    locked(&job.progress).stage = Stage::Skip;
                    self.settle(job, Some(stat.id));
                } else if same && stat.nlink == 1 && !self.policy.is_strangers(stat, &job.node) {
                    self.unseal(&dir, job, stat);
                    let mut progress = locked(&job.progress);
                    (progress.stage, progress.untouched) = (Stage::Update(stat.id), true);
                } else {
                    locked(&job.progress).replaced = true;
                    self.make_room(job, &dir, stat);
                }
            }
        }
        if self.mode == Mode::Look || !matches!(locked(&job.progress).stage, Stage::New | Stage::Unknown) {
            self.let_go(hand, job, 1);
            return Ok(());
        }
        let dir = hand.dir(self, &job.dir)?;
        match &job.node.kind {
            NodeKind::File { .. } => {
                let update = match there {
                    Some(stat) if stat.kind == Kind::File && !self.policy.is_strangers(&stat, &job.node) => {
                        dir.open_for_update(&job.node.name, stat.id)?
                    }
                    _ => None,
                };
                if update.is_some() {
                    job.gaps.store(true, Relaxed); // It may be longer than it should.
                }
                let file = update.map_or_else(|| self.create(&dir, job), Ok)?;
                self.write(&file, job, 0, job.inline())?;
                locked(&job.progress).stage = Stage::Open(Arc::new(file));
            }
            kind => {
                if !self.place_special(&dir, job, kind)? {
                    return Ok(()); // Told and let go.
                }
                locked(&job.progress).stage = Stage::Placed;
            }
        }
        self.let_go(hand, job, 1);
        Ok(())
    }

    fn place_special(&self, dir: &TargetDir, job: &Arc<FileJob>, kind: &NodeKind) -> Result<bool, Trouble> {
        let withheld = match dir.special(&job.node.name, kind, job.vacant, &self.policy) {
            // Root of a container is none to whom devices are given.
            Err(TargetError { why: Why::Os(Errno::PERM), .. }) if is_device(kind) => Some(Withheld::Device),
            Err(e) if job.vacant => return Err(Trouble::exclusive(e)),
            other => other?,
        };
        if let Some(withheld) = withheld {
            self.cx.lost(withheld.slug(), &self.shown(&job.path()), "mknod", WITHHELD);
            self.exempt(job.number);
            self.counts.skipped.fetch_add(1, Relaxed);
            locked(&job.progress).stage = Stage::Done;
            self.settle_failed(job);
            self.leave_dir(&mut Hand::default(), job.dir.clone());
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether what is there has the content it should have.
    pub(super) fn is_same(&self, dir: &TargetDir, job: &FileJob, there: &Stat) -> bool {
        if there.kind != Kind::of(&job.node.kind) {
            return false;
        }
        match &job.node.kind {
            NodeKind::File { .. } => {
                let inline = job.inline();
                let mut bytes = vec![0; inline.len()];
                let file = dir.as_source().open_file(&job.node.name, there);
                there.size == inline.len() as u64
                    && file.is_ok_and(|f| f.read_at(0, &mut bytes).is_ok_and(|n| n == inline.len()))
                    && bytes == inline
            }
            NodeKind::Symlink { target } => dir.read_link(&job.node.name).is_ok_and(|t| t == *target),
            NodeKind::CharDevice { device } | NodeKind::BlockDevice { device } => there.device == *device,
            _ => true,
        }
    }

    // --- writing ----------------------------------------------------------------------------

    /// Write some pieces that follow each other, or one of them several times.
    pub(super) fn put(&self, hand: &mut Hand, job: &Arc<FileJob>, offset: u64, bytes: &[u8], repeat: u32, pieces: u64) {
        if let Err(e) = self.write_all(hand, job, offset, bytes, repeat) {
            self.broken(hand, job, &e);
        }
        self.let_go(hand, job, pieces);
    }

    fn write_all(
        &self,
        hand: &mut Hand,
        job: &Arc<FileJob>,
        offset: u64,
        bytes: &[u8],
        repeat: u32,
    ) -> Result<(), Trouble> {
        let Some(file) = self.file(hand, job)? else { return Ok(()) };
        for i in 0..u64::from(repeat) {
            if i > 0 && self.stopped() {
                break;
            }
            self.write(&file, job, offset + i * bytes.len() as u64, bytes)?;
            Meter::add(&self.cx.meter.bytes_done, bytes.len() as u64);
        }
        Ok(())
    }

    pub(super) fn write(&self, file: &TargetFile, job: &FileJob, offset: u64, bytes: &[u8]) -> Result<(), TargetError> {
        self.counts.bytes_written.fetch_add(bytes.len() as u64, Relaxed);
        if !self.options.sparse {
            return file.write_at(offset, bytes);
        }
        let mut at = 0;
        for zeros in zero_runs(offset, bytes) {
            file.write_at(offset + at as u64, &bytes[at..zeros.start])?;
            file.punch_hole(offset + zeros.start as u64, zeros.len() as u64)?;
            job.gaps.store(true, Relaxed);
            at = zeros.end;
        }
        file.write_at(offset + at as u64, &bytes[at..])
    }

    /// The file, open. `None` if it is not to be written to.
    fn file(&self, hand: &mut Hand, job: &Arc<FileJob>) -> Result<Option<Arc<TargetFile>>, Trouble> {
        let mut progress = locked(&job.progress);
        if let Stage::Open(file) = &progress.stage {
            return Ok(Some(file.clone()));
        }
        let dir = hand.dir(self, &job.dir)?;
        let file = match &progress.stage {
            Stage::Skip | Stage::Failed | Stage::Done => return Ok(None),
            Stage::Parked(state) => dir.resume(&job.node.name, state)?,
            Stage::Update(id) => dir.open_for_update(&job.node.name, *id)?.ok_or_else(|| raced("open"))?,
            _ => self.create(&dir, job)?,
        };
        let file = Arc::new(file);
        progress.stage = Stage::Open(file.clone());
        drop(progress);
        if !job.single {
            self.keep_open(job);
        }
        Ok(Some(file))
    }

    pub(super) fn create(&self, dir: &TargetDir, job: &FileJob) -> Result<TargetFile, Trouble> {
        let name = &job.node.name;
        let file = match job.vacant {
            true => dir.create_new(name).map_err(Trouble::exclusive)?,
            false => dir.create_file(name)?,
        };
        if let Some(flags) = job.node.ext(crate::model::ext_tag::FLAGS)
            && let Ok(flags) = crate::model::ext::decode_flags(&flags.data)
        {
            file.set_early_flags(flags);
        }
        Ok(file)
    }

    /// Keep a file open, and close the one that was opened first if there are too many.
    fn keep_open(&self, job: &Arc<FileJob>) {
        let mut open = locked(&self.open);
        open.push_back(job.clone());
        if open.len() <= OPEN_MAX {
            return;
        }
        let Some(oldest) = open.pop_front() else { return };
        // Whoever holds it works on it right now; then it is a bad one to close anyway.
        let Ok(mut progress) = oldest.progress.try_lock() else {
            open.push_back(oldest.clone());
            return;
        };
        if let Stage::Open(file) = &progress.stage
            && let Ok(state) = file.in_progress()
        {
            let temporary = state.temp.is_some();
            progress.stage = Stage::Parked(state);
            if temporary {
                drop(progress);
                locked(&self.parked).push(oldest);
            }
        }
    }

    // --- the end of a file ------------------------------------------------------------------

    /// Some pieces of a file are done; with the last one, so is the file.
    pub(super) fn let_go(&self, hand: &mut Hand, job: &Arc<FileJob>, pieces: u64) {
        if !job.let_go(pieces) || self.stopped() {
            return;
        }
        if self.mode != Mode::Verify {
            match self.finish(hand, job) {
                Ok(()) => self.settle_ready(hand, job),
                Err(e) => self.broken(hand, job, &e),
            }
            if matches!(locked(&job.progress).stage, Stage::Failed) {
                self.settle_failed(job);
            }
        }
        self.leave_dir(hand, job.dir.clone());
    }

    fn finish(&self, hand: &mut Hand, job: &Arc<FileJob>) -> Result<(), Trouble> {
        let (stage, damage, untouched, replaced) = {
            let mut p = locked(&job.progress);
            if matches!(p.stage, Stage::Failed) {
                return Ok(());
            }
            let stage = std::mem::replace(&mut p.stage, Stage::Done);
            (stage, std::mem::take(&mut p.damage), p.untouched, p.replaced)
        };
        if matches!(stage, Stage::Skip) {
            self.exempt_if_spared(job);
            self.done(job, Change::Unchanged);
            return Ok(());
        }
        let change = match (untouched, replaced || matches!(stage, Stage::Update(_) | Stage::Placed)) {
            (true, _) => Change::Unchanged,
            (_, true) => Change::Updated,
            _ => Change::Restored,
        };
        if self.mode == Mode::Write {
            self.complete(hand, job, stage, &damage)?;
        }
        if damage.is_empty() {
            self.done(job, change);
        } else {
            self.tell_damage(job, damage);
        }
        Ok(())
    }

    /// Length, name, metadata.
    fn complete(&self, hand: &mut Hand, job: &FileJob, stage: Stage, damage: &[(u64, u64)]) -> Result<(), Trouble> {
        let dir = hand.dir(self, &job.dir)?;
        let name = &job.node.name;
        let now;
        let node = if damage.is_empty() {
            &job.node
        } else {
            // With the right time, `--overwrite if-changed` would believe the content.
            now = Node { mtime: sys::now(), ..job.node.clone() };
            &now
        };
        if !job.is_file() {
            self.metadata(&Object::Named(&dir, name), node, &|| job.path());
            return Ok(self.linked_at(job, || Ok(dir.survey(name)?.map(|s| s.id)))?);
        }
        let looked_at = if let Stage::Update(id) = stage { Some(id) } else { None };
        let file = match stage {
            Stage::Open(file) => Some(Arc::try_unwrap(file).map_err(|_| Trouble::Said("the file is still in use"))?),
            Stage::Parked(state) => Some(dir.resume(name, &state)?),
            Stage::Update(id) => dir.open_for_update(name, id)?,
            _ => Some(self.create(&dir, job)?),
        };
        let Some(mut file) = file else {
            // It may not be written to, as a program that runs, and is right already.
            let id = looked_at.ok_or_else(|| raced("open"))?;
            self.metadata(&Object::Same(&dir, name, id), node, &|| job.path());
            return Ok(self.linked_at(job, || Ok(Some(id)))?);
        };
        let doubtful = looked_at.is_some() || !job.vacant || job.gaps.load(Acquire) || !damage.is_empty();
        if doubtful && file.stat()?.size != job.size {
            file.set_len(job.size)?;
        }
        dir.finish(name, &mut file)?;
        self.metadata(&Object::File(&file), node, &|| job.path());
        if let Some((offset, len)) = job.hole.get()
            && !file.has_hole(*offset, *len)
        {
            self.cx.lost("holes", &self.shown(&job.path()), "write", "its holes are written as zeros");
        }
        Ok(self.linked_at(job, || Ok(Some(file.stat()?.id)))?)
    }

    fn linked_at(
        &self,
        job: &FileJob,
        id: impl FnOnce() -> Result<Option<FileId>, TargetError>,
    ) -> Result<(), TargetError> {
        if job.link.is_some() && !job.follows {
            let id = id()?;
            self.settle(job, id);
        }
        Ok(())
    }

    pub(super) fn exempt_if_spared(&self, job: &FileJob) {
        if matches!(self.options.overwrite, Overwrite::IfNewer | Overwrite::Never) {
            self.exempt(job.number);
        }
    }

    pub(super) fn done(&self, job: &FileJob, change: Change) {
        let c = &self.counts;
        let (entries, bytes) = match change {
            Change::Unchanged => (&c.skipped, &c.bytes_skipped),
            _ => (&c.restored, &c.bytes_restored),
        };
        entries.fetch_add(1, Relaxed);
        bytes.fetch_add(job.size, Relaxed);
        Meter::add(&self.cx.meter.files_done, 1);
        if change == Change::Unchanged {
            Meter::add(&self.cx.meter.files_skipped, 1);
            Meter::add(&self.cx.meter.bytes_skipped, job.size);
        }
        if !job.inline().is_empty() {
            Meter::add(&self.cx.meter.bytes_done, job.size);
        }
        if self.cx.observer.wants_items() {
            let path = self.shown(&job.path());
            // What has no content is always made anew, and restic says so.
            let change = if change == Change::Updated && !job.is_file() { Change::Restored } else { change };
            self.cx.observer.on(&Event::Item { path: &path, kind: ItemKind::File, change, bytes: job.size });
        }
    }

    // --- trouble ----------------------------------------------------------------------------

    /// Bytes that cannot be had.
    pub(super) fn lost(&self, job: &FileJob, offset: u64, len: u64) {
        locked(&job.progress).damage.push((offset, len));
        job.gaps.store(true, Relaxed);
    }

    fn tell_damage(&self, job: &FileJob, mut damage: Vec<(u64, u64)>) {
        self.exempt(job.number);
        damage.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (offset, len) in damage {
            match ranges.last_mut() {
                Some((_, end)) if *end == offset => *end = end.saturating_add(len),
                _ => ranges.push((offset, offset.saturating_add(len))),
            }
        }
        let (count, lost) = (ranges.len(), ranges.iter().map(|(a, b)| b - a).fold(0, u64::saturating_add));
        let mut said: Vec<String> =
            ranges.iter().take(8).map(|(a, b)| format!("{a}-{}", b.saturating_sub(1))).collect();
        if count > said.len() {
            said.push(format!("{} more", count - said.len()));
        }
        let message = format!("{lost} of {} bytes are missing in the repository: bytes {}", job.size, said.join(", "));
        self.cx.problem("damaged", &self.shown(&job.path()), "read", message);
    }

    /// A file cannot be restored: say so once, and leave nothing half done beside it.
    pub(super) fn broken(&self, hand: &mut Hand, job: &Arc<FileJob>, trouble: &Trouble) {
        let stage = std::mem::replace(&mut locked(&job.progress).stage, Stage::Failed);
        if matches!(stage, Stage::Failed) {
            return;
        }
        let state = match &stage {
            Stage::Open(file) => file.in_progress().ok(),
            Stage::Parked(state) => Some(*state),
            _ => None,
        };
        if let Some(state) = state.filter(|s| s.temp.is_some())
            && let Ok(dir) = hand.dir(self, &job.dir)
        {
            dir.abandon(&job.node.name, &state);
        }
        self.exempt(job.number);
        self.trouble("not-restored", &job.path(), "write", trouble);
    }

    pub(super) fn trouble(&self, slug: &'static str, path: &[u8], during: &'static str, trouble: &Trouble) {
        match trouble {
            Trouble::Target(TargetError { why: Why::Os(e @ (Errno::NOSPC | Errno::DQUOT | Errno::ROFS)), .. }) => {
                let what = match *e {
                    Errno::ROFS => "the target is mounted read-only",
                    Errno::DQUOT => "the quota on the target is used up",
                    _ => "the target's file system is full",
                };
                let place = String::from_utf8_lossy(&self.shown(path)).into_owned();
                self.fail(
                    Error::new(ErrorKind::Target, what)
                        .because(std::io::Error::from(*e))
                        .doing(format!("while writing {place}"))
                        .hint("what is there is kept; make room and run the same command again to go on"),
                );
            }
            Trouble::Target(e) => self.cx.problem(slug, &self.shown(path), e.during, e.why.to_string()),
            Trouble::Said(what) => self.cx.problem(slug, &self.shown(path), during, *what),
        }
    }

    /// Remove temporary files after a run that was stopped.
    pub(super) fn clean_up(&self) {
        let mut jobs: Vec<Arc<FileJob>> = locked(&self.open).drain(..).collect();
        jobs.append(&mut locked(&self.parked));
        for job in jobs {
            let stage = std::mem::replace(&mut locked(&job.progress).stage, Stage::Failed);
            let state = match &stage {
                Stage::Open(file) => file.in_progress().ok(),
                Stage::Parked(state) => Some(*state),
                _ => None,
            };
            if let (Some(state), Some(tree)) = (state.filter(|s| s.temp.is_some()), &self.tree)
                && let Ok(dir) = tree.dir(&job.dir.path())
            {
                dir.abandon(&job.node.name, &state);
            }
        }
    }

    // --- directories ------------------------------------------------------------------------

    /// One entry of a directory is done; with the last one so is the directory, and so on upwards.
    pub(super) fn leave_dir(&self, hand: &mut Hand, dir: Arc<DirJob>) {
        let mut here = dir;
        while here.let_go() {
            if self.stopped() {
                return;
            }
            if let Some(node) = &here.node
                && self.mode != Mode::Verify
            {
                self.finish_dir(hand, &here, node);
            }
            match here.parent.clone() {
                Some(above) => here = above,
                None => return,
            }
        }
    }

    fn finish_dir(&self, hand: &mut Hand, dir: &Arc<DirJob>, node: &Node) {
        if self.mode == Mode::Write {
            match hand.dir(self, dir) {
                Ok(open) => self.metadata(&Object::Dir(&open), node, &|| dir.path()),
                Err(e) => self.trouble("not-restored", &dir.path(), "open", &e.into()),
            }
        }
        self.counts.restored.fetch_add(1, Relaxed);
        Meter::add(&self.cx.meter.files_done, 1);
        if self.cx.observer.wants_items() {
            let path = self.shown(&dir.path());
            let (kind, change) = (ItemKind::Dir, Change::Restored);
            self.cx.observer.on(&Event::Item { path: &path, kind, change, bytes: 0 });
        }
    }
}

fn is_device(kind: &NodeKind) -> bool {
    matches!(kind, NodeKind::CharDevice { .. } | NodeKind::BlockDevice { .. })
}

pub(super) fn raced(during: &'static str) -> TargetError {
    TargetError { during, why: Why::Raced }
}

fn all(look: &Look) -> Vec<Piece> {
    let data = look.stretches.iter().filter_map(|s| match s {
        Stretch::Data(piece) => Some(*piece),
        Stretch::Hole { .. } => None,
    });
    data.collect()
}

/// Whether all metadata that can be seen by one call is right.
fn agrees(node: &Node, stat: &Stat) -> bool {
    let link = matches!(node.kind, NodeKind::Symlink { .. });
    (stat.uid, stat.gid, stat.mtime) == (node.uid, node.gid, node.mtime) && (link || stat.mode == node.mode & 0o7777)
}

/// Whether a stretch of a file has no data in it; beyond its end there is none.
pub(super) fn is_hole(file: &OpenFile, offset: u64, len: u64, size: u64) -> bool {
    if offset >= size {
        return true;
    }
    match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(data) => data >= offset.saturating_add(len).min(size),
        Err(e) => e == Errno::NXIO,
    }
}

/// Long runs of zeros, in whole blocks of the file.
fn zero_runs(offset: u64, bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    let first = (BLOCK - (offset % BLOCK as u64) as usize) % BLOCK;
    for at in (first..bytes.len()).step_by(BLOCK) {
        let end = (at + BLOCK).min(bytes.len());
        if bytes[at..end].iter().any(|b| *b != 0) {
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.end == at => run.end = end,
            _ => runs.push(at..end),
        }
    }
    runs.retain(|r| r.len() >= ZEROS_MIN);
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_in_whole_blocks() {
        let mut bytes = vec![0; 200_000];
        assert_eq!(zero_runs(0, &bytes), vec![std::ops::Range { start: 0, end: 200_000 }]);
        assert_eq!(zero_runs(1, &bytes), vec![std::ops::Range { start: 4095, end: 200_000 }]);
        bytes[50_000] = 1;
        assert_eq!(zero_runs(0, &bytes), [0..49_152, 53_248..200_000]);
        assert!(zero_runs(0, &bytes[40_000..60_000]).is_empty());
    }
}
