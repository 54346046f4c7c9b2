//! What is different between two snapshots, or between a snapshot and a directory as it is now.
//!
//! Two snapshots are walked side by side. Pages of the same name are the same and are not read: what
//! a comparison costs is what is different. Only to say exactly how much of it is stored anew, the
//! pages in common are read as well, and nothing of them is kept but a bit for each blob.

mod live;
mod pairs;
mod tally;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub use live::{LiveOptions, live};
use pairs::{Pairs, Side, Visitor};
use tally::Tally;

use crate::error::{Error, Result};
use crate::event::Context;
use crate::id::BlobId;
use crate::model::{Node, NodeKind, PageRef};
use crate::repo::Reader;

/// How an entry differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// Both have it, and something is different.
    Differs {
        /// Its type.
        kind: bool,
        /// Its content, or where it points.
        content: bool,
        /// Its content and nothing else, not even its times: as if a disk had gone bad.
        suspicious: bool,
        /// Anything else.
        metadata: bool,
    },
}

/// An entry that differs.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Where it is.
    pub path: &'a [u8],
    /// Whether it is a directory; if both have it, in the second.
    pub dir: bool,
    /// How it differs.
    pub what: What,
}

/// Entries of one side that the other does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entries {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Anything else.
    pub others: u64,
}

impl Entries {
    fn count(&mut self, kind: &NodeKind) {
        match kind {
            NodeKind::File { .. } => self.files += 1,
            NodeKind::Dir { .. } => self.dirs += 1,
            _ => self.others += 1,
        }
    }
}

/// Blobs that only one side needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Blobs {
    /// Chunks.
    pub data: u64,
    /// Pages.
    pub tree: u64,
    /// Their bytes before compression.
    pub bytes: u64,
}

/// What a comparison came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiffSummary {
    /// Files whose content is different.
    pub changed_files: u64,
    /// Only in the second.
    pub added: Entries,
    /// Only in the first.
    pub removed: Entries,
    /// What only the second needs, and what only the first does; unknown of a directory.
    pub blobs: Option<(Blobs, Blobs)>,
}

/// Receives each entry that differs.
pub type Take<'t> = &'t mut (dyn FnMut(&Change<'_>) -> Result<()> + Send + 't);

/// Compare two directories of snapshots. `metadata`: tell also what differs in nothing else.
pub fn diff(
    reader: &Reader<'_>,
    roots: (Option<PageRef>, Option<PageRef>),
    metadata: bool,
    cx: &Context<'_>,
    take: Take<'_>,
) -> Result<DiffSummary> {
    let tally = Tally::new(reader);
    let mut visit = Changes { tally: &tally, cx, metadata, take, summary: DiffSummary::default() };
    Pairs::new(reader, cx).walk(roots, &mut visit)?;
    let mut summary = visit.summary;
    if tally.any() {
        let shared = Shared { tally: &tally, cx };
        rayon::in_place_scope(|scope| Pairs::new(reader, cx).walk(roots, &mut Commons { shared: &shared, scope }))?;
        shared.tally.failed()?;
    }
    summary.blobs = Some(tally.sums());
    Ok(summary)
}

/// The first walk: tells and counts.
struct Changes<'a, 't> {
    tally: &'a Tally<'a>,
    cx: &'a Context<'a>,
    metadata: bool,
    take: Take<'t>,
    summary: DiffSummary,
}

impl Changes<'_, '_> {
    /// Chunks that cannot be counted, because a list of them is damaged, are told and left out.
    fn counted(&self, path: &[u8], counted: Result<()>) -> Result<()> {
        match counted {
            Err(e) if is_damage(&e) => {
                self.cx.problem("damaged", path, "read", format!("what it is made of cannot be read: {e}"));
                Ok(())
            }
            other => other,
        }
    }
}

impl Visitor for Changes<'_, '_> {
    fn common(&mut self, _: &PageRef) -> Result<()> {
        Ok(())
    }
    fn page(&mut self, side: Side, id: &BlobId, bytes: usize) -> Result<()> {
        self.tally.page(side, id, bytes)
    }
    fn one(&mut self, side: Side, path: &[u8], node: &Node) -> Result<()> {
        let (entries, what) = match side {
            Side::Before => (&mut self.summary.removed, What::Removed),
            Side::After => (&mut self.summary.added, What::Added),
        };
        entries.count(&node.kind);
        self.counted(path, self.tally.node(side, node))?;
        (self.take)(&Change { path, dir: node.is_dir(), what })
    }
    fn both(&mut self, path: &[u8], before: &Node, after: &Node) -> Result<()> {
        let same_content = same_content(before, after);
        if same_content {
            self.counted(path, self.tally.node_in_both(before, after))?;
        } else {
            self.counted(path, self.tally.node(Side::Before, before))?;
            self.counted(path, self.tally.node(Side::After, after))?;
        }
        let what = differs(before, after, same_content);
        let What::Differs { kind, content, metadata, .. } = what else { return Ok(()) };
        let file = matches!(after.kind, NodeKind::File { .. });
        self.summary.changed_files += u64::from(content && file);
        if !(kind || content || (metadata && self.metadata)) {
            return Ok(());
        }
        (self.take)(&Change { path, dir: after.is_dir(), what })
    }
}

/// Whether what two nodes of the same type hold is the same; entries of directories do not count.
fn same_content(before: &Node, after: &Node) -> bool {
    match (&before.kind, &after.kind) {
        (NodeKind::Dir { .. }, NodeKind::Dir { .. }) => true,
        (a, b) => a == b,
    }
}

fn differs(before: &Node, after: &Node, same_content: bool) -> What {
    let kind = before.kind.name() != after.kind.name();
    let content = !kind && !same_content;
    let rest = |n: &Node| {
        let mut n = n.clone();
        n.kind = NodeKind::Fifo;
        n
    };
    let metadata = rest(before) != rest(after);
    What::Differs { kind, content, suspicious: content && !metadata && before.bytes() == after.bytes(), metadata }
}

/// What all threads that read common pages need.
struct Shared<'a> {
    tally: &'a Tally<'a>,
    cx: &'a Context<'a>,
}

/// The second walk: what is in common is not new.
struct Commons<'a, 's, 'scope> {
    shared: &'scope Shared<'a>,
    scope: &'s rayon::Scope<'scope>,
}

impl<'a: 'scope, 'scope> Visitor for Commons<'a, '_, 'scope> {
    fn common(&mut self, page: &PageRef) -> Result<()> {
        self.shared.spawn(self.scope, *page);
        Ok(())
    }
    fn page(&mut self, _: Side, _: &BlobId, _: usize) -> Result<()> {
        Ok(())
    }
    fn one(&mut self, _: Side, _: &[u8], _: &Node) -> Result<()> {
        Ok(())
    }
    fn both(&mut self, _: &[u8], _: &Node, _: &Node) -> Result<()> {
        Ok(())
    }
}

impl<'a> Shared<'a> {
    fn spawn<'scope>(&'scope self, scope: &rayon::Scope<'scope>, page: PageRef) {
        scope.spawn(move |scope| {
            let below = self.cx.check().and_then(|()| self.tally.common(&page));
            match below {
                Ok(below) => below.into_iter().for_each(|page| self.spawn(scope, page)),
                Err(e) => self.tally.fail(e),
            }
        });
    }
}

/// Something added up by several threads.
#[derive(Default)]
struct Sum(AtomicU64);

impl Sum {
    fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    fn take(&self, n: u64) {
        self.0.fetch_sub(n, Relaxed);
    }
    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Trouble that leaves out a part.
fn is_damage(e: &Error) -> bool {
    use crate::error::ErrorKind::{Damaged, Missing};
    matches!(e.kind(), Damaged | Missing)
}
