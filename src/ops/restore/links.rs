//! Hard links: which files are one, and who waits for whom.
//!
//! The first file of a group that the walk meets is restored like any other; the others become
//! names of it when it is finished. That a snapshot says two files are one is believed only if
//! they agree in all that a file has of its own.

use std::sync::{Arc, Mutex};

use hashbrown::HashMap;

use super::jobs::{DirJob, FileJob};
use super::locked;
use crate::model::{Node, ext_tag};
use crate::target::FileId;

/// Most groups that are remembered; files of further ones are restored separately.
const GROUPS_MAX: usize = 400_000;

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
