//! Hard links: which files are one, and who waits for whom.
//!
//! The first file of a group that the walk meets is restored like any other; the others become
//! names of it when it is finished. That a snapshot says two files are one is believed only if
//! they agree in all that a file has of its own.

use std::sync::{Arc, Mutex};

use hashbrown::HashMap;
use rustix::io::Errno;

use super::jobs::{DirJob, FileJob, Stage};
use super::place::raced;
use super::planner::Trouble;
use super::worker::Hand;
use super::{Mode, Run, locked};
use crate::event::Change;
use crate::model::{Node, ext_tag};
use crate::target::{FileId, Object, TargetDir, TargetError, Why};

/// Most groups that are remembered; files of further ones are restored separately.
const GROUPS_MAX: usize = 400_000;
/// Bytes that are copied at once where no further name can be made.
const COPY: usize = 1 << 20;

/// The file that others are names of.
pub(super) struct Link {
    facts: [u8; 16],
    pub dir: Arc<DirJob>,
    pub name: Box<[u8]>,
    pub state: Mutex<LinkState>,
    /// Which file it is, once that is known.
    pub id: Mutex<Option<FileId>>,
}

/// Whether it is there yet.
pub(super) enum LinkState {
    /// No; these wait for it.
    Pending(Vec<Arc<FileJob>>),
    /// Yes, and this is it; a dry run has none.
    Ready(Option<FileId>),
    /// It could not be made.
    Failed,
}

/// What a file is in its group.
pub(super) enum Part {
    /// It has no group.
    None,
    /// The one that is restored.
    First(Arc<Link>),
    /// Another name of that one.
    Other(Arc<Link>),
    /// There are too many groups to remember this one.
    Forgotten,
}

/// Groups by their tags.
#[derive(Default)]
pub(super) struct Links(Mutex<HashMap<[u8; 16], Arc<Link>>>);

impl Links {
    pub fn part(&self, node: &Node, dir: &Arc<DirJob>) -> Part {
        let Some(tag) = node.ext(ext_tag::LINK).and_then(|e| e.data.as_slice().try_into().ok()) else {
            return Part::None;
        };
        let facts = facts(node);
        let mut groups = locked(&self.0);
        match groups.get(&tag) {
            Some(link) if link.facts == facts => return Part::Other(link.clone()),
            Some(_) => return Part::None,
            None if groups.len() >= GROUPS_MAX => return Part::Forgotten,
            None => {}
        }
        let state = Mutex::new(LinkState::Pending(Vec::new()));
        let link =
            Arc::new(Link { facts, dir: dir.clone(), name: node.name.as_slice().into(), state, id: Mutex::new(None) });
        groups.insert(tag, link.clone());
        Part::First(link)
    }
}

/// What two names of one file cannot differ in.
fn facts(node: &Node) -> [u8; 16] {
    let own = (&node.kind, node.mode, node.uid, node.gid);
    let bytes = bincode::encode_to_vec(own, bincode::config::standard()).unwrap_or_default();
    let mut out = [0; 16];
    out.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..16]);
    out
}

impl Run<'_> {
    /// Make a file a further name of another, now or when that is there.
    pub(super) fn name_it(&self, hand: &mut Hand, job: &Arc<FileJob>) -> Result<(), Trouble> {
        let Some(link) = job.link.clone() else { return Ok(()) };
        let id = {
            let mut state = locked(&link.state);
            match &mut *state {
                LinkState::Pending(waiting) => {
                    waiting.push(job.clone());
                    return Ok(());
                }
                LinkState::Ready(id) => *id,
                LinkState::Failed => return Err(Trouble::Said("the file that it is a hard link of was not restored")),
            }
        };
        self.link_to(hand, job, &link, id)
    }

    fn link_to(&self, hand: &mut Hand, job: &Arc<FileJob>, link: &Link, id: Option<FileId>) -> Result<(), Trouble> {
        let mut change = Change::Restored;
        if self.tree.is_some() && !job.vacant {
            let dir = hand.dir(self, &job.dir)?;
            if let Some(there) = dir.survey(&job.node.name)? {
                change = if self.is_spared(job, &there) || Some(there.id) == id {
                    Change::Unchanged
                } else {
                    self.make_room(job, &dir, &there);
                    Change::Updated
                };
            }
        }
        if self.mode == Mode::Write && change != Change::Unchanged {
            let id = id.ok_or_else(|| raced("link"))?;
            let from = match &self.tree {
                Some(tree) => tree.dir(&link.dir.path())?,
                None => return Ok(()),
            };
            let (dir, name) = (hand.dir(self, &job.dir)?, &job.node.name);
            let linked = match job.vacant {
                true => dir.hard_link_new(name, &from, &link.name, id),
                false => dir.hard_link(name, &from, &link.name, id),
            };
            match linked {
                Err(TargetError { why: Why::Os(e @ (Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK)), .. })
                    if job.is_file() =>
                {
                    self.copy_of(hand, job, (&from, link, id))?;
                    self.cx.lost("hard-links", &self.shown(&job.path()), "link", e.to_string());
                }
                Err(e) if job.vacant => return Err(Trouble::exclusive(e)),
                other => other?,
            }
        }
        if change == Change::Unchanged {
            self.exempt_if_spared(job);
        }
        locked(&job.progress).stage = Stage::Done;
        self.done(job, change);
        self.leave_dir(hand, job.dir.clone());
        Ok(())
    }

    /// Where no further name can be made, a file of its own with the same content.
    fn copy_of(&self, hand: &mut Hand, job: &FileJob, of: (&TargetDir, &Link, FileId)) -> Result<(), Trouble> {
        let (from, link, id) = of;
        let dir = hand.dir(self, &job.dir)?;
        let there = from.survey(&link.name)?.filter(|s| s.id == id).ok_or_else(|| raced("link"))?;
        let source = from.as_source().open_file(&link.name, &there).map_err(TargetError::from)?;
        let mut file = self.create(&dir, job)?;
        let mut copied = || -> Result<(), Trouble> {
            let (mut at, mut buffer) = (0, vec![0; COPY]);
            while at < job.size {
                if self.stopped() {
                    return Err(Trouble::Said("the restore was stopped before all of it was copied"));
                }
                let n = source.read_at(at, &mut buffer).map_err(TargetError::from)?;
                if n == 0 {
                    return Err(raced("read").into());
                }
                self.write(&file, job, at, &buffer[..n])?;
                at += n as u64;
            }
            file.set_len(job.size)?;
            Ok(dir.finish(&job.node.name, &mut file)?)
        };
        if let Err(e) = copied() {
            if let Ok(state) = file.in_progress() {
                dir.abandon(&job.node.name, &state);
            }
            return Err(e);
        }
        self.metadata(&Object::File(&file), &job.node, &|| job.path());
        Ok(())
    }

    /// The first file of a group is there: which it is.
    pub(super) fn settle(&self, job: &FileJob, id: Option<FileId>) {
        if let Some(link) = job.link.as_ref().filter(|_| !job.follows) {
            *locked(&link.id) = id;
        }
    }

    pub(super) fn settle_ready(&self, hand: &mut Hand, job: &FileJob) {
        let Some(link) = job.link.clone().filter(|_| !job.follows) else { return };
        if matches!(locked(&job.progress).stage, Stage::Failed) {
            return;
        }
        let id = *locked(&link.id);
        let waiting = std::mem::replace(&mut *locked(&link.state), LinkState::Ready(id));
        let LinkState::Pending(waiting) = waiting else { return };
        for other in waiting {
            if let Err(e) = self.link_to(hand, &other, &link, id) {
                self.broken(hand, &other, &e);
                self.leave_dir(hand, other.dir.clone());
            }
        }
    }

    pub(super) fn settle_failed(&self, job: &FileJob) {
        let Some(link) = job.link.clone().filter(|_| !job.follows) else { return };
        let waiting = std::mem::replace(&mut *locked(&link.state), LinkState::Failed);
        let LinkState::Pending(waiting) = waiting else { return };
        let mut hand = Hand::default();
        for other in waiting {
            let why = Trouble::Said("the file that it is a hard link of was not restored");
            self.broken(&mut hand, &other, &why);
            self.leave_dir(&mut hand, other.dir.clone());
        }
    }
}
