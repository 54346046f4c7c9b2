//! Every page of every snapshot, once: it decodes, it is what the page above says, and every chunk
//! it names is in the index.
//!
//! Pages are remembered by where they are, one bit each.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::findings::Findings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Context;
use crate::format::limits::DEPTH_MAX;
use crate::format::pack::Kind;
use crate::format::page::{Page, is_safe_name};
use crate::id::BlobId;
use crate::index::{Index, Location, Marks, Numbers};
use crate::model::ext::decode_xattrs;
use crate::model::{Content, Extent, Node, NodeKind, PageRef, XattrValue, ext_tag};
use crate::ops::{locked, stack};
use crate::repo::{Reader, Snapshot};

/// Paths that are kept for each damaged pack.
const PATHS_MAX: usize = 8;

/// What damage to a pack does.
#[derive(Debug, Default)]
pub struct Affected {
    /// The first files and directories that need it, with their snapshot.
    pub paths: Vec<Vec<u8>>,
    /// All of them, by hashes; a part of a tree that several snapshots share counts once.
    all: HashSet<u64>,
}

impl Affected {
    /// How many files and directories need it.
    pub fn count(&self) -> u64 {
        self.all.len() as u64
    }
}

/// The pages that were visited.
struct Seen {
    numbers: Numbers,
    marks: Marks,
}

impl Seen {
    fn new(index: &Index) -> Self {
        let numbers = Numbers::new(index, |kind| kind == Kind::Tree);
        let marks = Marks::new(&numbers);
        Self { numbers, marks }
    }

    /// Whether this is the first time.
    fn first(&self, at: Location) -> bool {
        self.marks.set(self.numbers.of(at))
    }
}

/// The way to a page, for telling where it is.
struct Way {
    above: Option<Arc<Way>>,
    name: Vec<u8>,
    depth: usize,
}

impl Way {
    fn below(self: &Arc<Self>, name: &[u8]) -> Arc<Self> {
        Arc::new(Self { above: Some(self.clone()), name: name.to_vec(), depth: self.depth + 1 })
    }

    fn path(&self) -> Vec<u8> {
        let mut parts = vec![self.name.as_slice()];
        let mut at = &self.above;
        while let Some(way) = at {
            parts.push(&way.name);
            at = &way.above;
        }
        parts.reverse();
        let (snapshot, path) = (parts[0], parts[1..].join(&b'/'));
        [snapshot, b":/", &path].concat()
    }
}

/// A page to visit.
struct Task {
    page: PageRef,
    dir: bool,
    way: Arc<Way>,
    /// Names in it come after this one,
    after: Vec<u8>,
    /// and the last of them is this, if the page above said so.
    last: Option<Vec<u8>>,
}

/// Walks trees.
pub struct Trees<'a> {
    cx: &'a Context<'a>,
    reader: &'a Reader<'a>,
    /// Who is told; nobody in a second pass, which only finds out what is affected.
    findings: Option<&'a Findings<'a>>,
    bad: &'a HashSet<u32>,
    seen: Seen,
    affected: Mutex<HashMap<u32, Affected>>,
    hasher: std::hash::RandomState,
    /// Packs with a page that could not be read.
    doubtful: Mutex<BTreeSet<u32>>,
    /// Pages visited.
    pub pages: AtomicU64,
}

fn crooked(what: &str) -> Error {
    Error::new(ErrorKind::Damaged, format!("a page is not what the page above it says: {what}"))
}

impl<'a> Trees<'a> {
    /// `bad` are packs that are known to be damaged or gone, by their numbers in the index.
    pub fn new(
        cx: &'a Context<'a>,
        reader: &'a Reader<'a>,
        findings: Option<&'a Findings<'a>>,
        bad: &'a HashSet<u32>,
    ) -> Self {
        let seen = Seen::new(reader.index());
        Self {
            cx,
            reader,
            findings,
            bad,
            seen,
            affected: Mutex::default(),
            hasher: std::hash::RandomState::new(),
            doubtful: Mutex::default(),
            pages: AtomicU64::new(0),
        }
    }

    /// What the bad packs affect, by their numbers.
    pub fn into_affected(self) -> HashMap<u32, Affected> {
        self.affected.into_inner().unwrap_or_else(|p| p.into_inner())
    }

    /// Packs with a page that could not be read.
    pub fn into_doubtful(self) -> BTreeSet<u32> {
        self.doubtful.into_inner().unwrap_or_else(|p| p.into_inner())
    }

    /// Visit what no snapshot before had.
    pub fn snapshot(&self, snapshot: &Snapshot, threads: usize) -> Result<()> {
        let Some(page) = snapshot.statement.root else { return Ok(()) };
        let way = Arc::new(Way { above: None, name: snapshot.id.short().into_bytes(), depth: 0 });
        let top = Task { page, dir: true, way, after: vec![], last: None };
        stack::work_off(top, threads, |task| self.cx.check().and_then(|()| self.visit(task)))
    }

    /// Check one page; gives the pages below it. Fails only if checking itself fails.
    fn visit(&self, task: &Task) -> Result<Vec<Task>> {
        let id = &task.page.id;
        let Some(at) = self.place(id, Kind::Tree, &task.way)? else { return Ok(vec![]) };
        if !self.seen.first(at) {
            return Ok(vec![]);
        }
        self.pages.fetch_add(1, Relaxed);
        match self.reader.page(&task.page).and_then(|page| self.page(task, page)) {
            Ok(below) => Ok(below),
            Err(e) if e.kind() == ErrorKind::Cancelled => Err(e),
            Err(e) => {
                let pack = self.pack_of(at);
                if !self.bad.contains(&pack) {
                    self.tell("damaged", &task.way, format!("a part of this tree cannot be read: {e}"));
                    locked(&self.doubtful).insert(pack);
                }
                Ok(vec![])
            }
        }
    }

    fn page(&self, task: &Task, page: Page) -> Result<Vec<Task>> {
        match (task.dir, page) {
            (true, Page::Dir(nodes)) => self.dir(task, &nodes),
            (true, Page::DirInner(level, children)) => {
                let (mut after, mut below) = (task.after.clone(), Vec::with_capacity(children.len()));
                for c in children {
                    let page = c.below(level);
                    let way = task.way.clone();
                    below.push(Task { page, dir: true, way, after, last: Some(c.last.clone()) });
                    after = c.last;
                }
                if task.last.as_ref().is_some_and(|l| *l != after) {
                    return Err(crooked("names"));
                }
                check_sums(&task.page, &below)?;
                Ok(below)
            }
            (false, Page::List(extents)) => {
                if extents.iter().map(Extent::bytes).fold(0, u64::saturating_add) != task.page.bytes {
                    return Err(crooked("bytes"));
                }
                self.extents(&extents, &task.way)?;
                Ok(vec![])
            }
            (false, Page::ListInner(level, children)) => {
                let below = children.into_iter().map(|c| {
                    let page = c.below(level);
                    Task { page, dir: false, way: task.way.clone(), after: vec![], last: None }
                });
                let below: Vec<Task> = below.collect();
                check_sums(&task.page, &below)?;
                Ok(below)
            }
            _ => Err(crooked("kind")),
        }
    }

    fn dir(&self, task: &Task, nodes: &[Node]) -> Result<Vec<Task>> {
        let bytes = nodes.iter().map(Node::bytes).fold(0, u64::saturating_add);
        if (nodes.len() as u64, bytes) != (task.page.entries, task.page.bytes) {
            return Err(crooked("sums"));
        }
        let (first, last) = (nodes.first().map(|n| &n.name), nodes.last().map(|n| &n.name));
        if first.is_some_and(|n| !task.after.is_empty() && *n <= task.after)
            || (task.last.is_some() && last != task.last.as_ref())
        {
            self.tell("bad-name", &task.way, "names in this directory are out of order or there twice");
        }
        let mut below = Vec::new();
        for node in nodes {
            let way = task.way.below(&node.name);
            self.node(node, &way)?;
            let (page, dir) = match &node.kind {
                NodeKind::Dir { root: Some(root) } => (*root, true),
                NodeKind::File { content: Content::Pages { root, .. }, .. } => (*root, false),
                _ => continue,
            };
            if way.depth > DEPTH_MAX {
                self.tell("too-deep", &way, "directories are nested deeper than any file system has them");
                continue;
            }
            below.push(Task { page, dir, way, after: vec![], last: None });
        }
        Ok(below)
    }

    fn node(&self, node: &Node, way: &Arc<Way>) -> Result<()> {
        if !is_safe_name(&node.name) {
            self.tell("bad-name", way, "this is no name that a file can have; a restore leaves it out");
        }
        if let NodeKind::File { content: Content::Extents { extents, .. }, .. } = &node.kind {
            self.extents(extents, way)?;
        }
        let Some(ext) = node.ext(ext_tag::XATTRS) else { return Ok(()) };
        match decode_xattrs(&ext.data) {
            Ok(xattrs) => {
                for x in xattrs {
                    if let XattrValue::Chunk { id, len } = x.value {
                        self.chunk(&id, len, way)?;
                    }
                }
            }
            Err(e) => self.tell("damaged", way, format!("its attributes make no sense: {e}")),
        }
        Ok(())
    }

    fn extents(&self, extents: &[Extent], way: &Arc<Way>) -> Result<()> {
        for e in extents {
            if let Extent::Data { id, len, .. } = e {
                self.chunk(id, *len, way)?;
            }
        }
        Ok(())
    }

    fn chunk(&self, id: &BlobId, len: u32, way: &Arc<Way>) -> Result<()> {
        let Some(at) = self.place(id, Kind::Data, way)? else { return Ok(()) };
        let frame = self.reader.index().frame(at.frame).entry;
        let room = frame.plain.saturating_sub(4 * u32::from(frame.blobs));
        if len > room || (frame.blobs == 1 && len != room) {
            self.tell("damaged", way, format!("chunk {} cannot be as long as the file says", id.short()));
        }
        Ok(())
    }

    /// Where a blob is. Tells what is missing, and notes what is only in packs that are bad.
    fn place(&self, id: &BlobId, kind: Kind, way: &Arc<Way>) -> Result<Option<Location>> {
        let index = self.reader.index();
        let Some(at) = index.find(id)? else {
            let what = if kind == Kind::Tree { "page" } else { "chunk" };
            self.tell("missing", way, format!("its {what} {} is in no pack that the index knows", id.short()));
            return Ok(None);
        };
        let fits = |at: &Location| index.pack(self.pack_of(*at)).kind == kind;
        if fits(&at) && !self.bad.contains(&self.pack_of(at)) {
            return Ok(Some(at));
        }
        let all: Vec<Location> = index.find_all(id)?.into_iter().filter(fits).collect();
        if let Some(good) = all.iter().find(|at| !self.bad.contains(&self.pack_of(**at))) {
            return Ok(Some(*good));
        }
        if all.is_empty() {
            self.tell("damaged", way, format!("blob {} is of another kind than its use", id.short()));
            return Ok(None);
        }
        for at in &all {
            self.note(self.pack_of(*at), way);
        }
        Ok(Some(all[0]))
    }

    fn pack_of(&self, at: Location) -> u32 {
        self.reader.index().frame(at.frame).pack
    }

    fn note(&self, pack: u32, way: &Way) {
        let mut affected = locked(&self.affected);
        let a = affected.entry(pack).or_default();
        let path = way.path();
        let hash = std::hash::BuildHasher::hash_one(&self.hasher, &path);
        if a.all.insert(hash) && a.paths.len() < PATHS_MAX {
            a.paths.push(path);
        }
    }

    fn tell(&self, slug: &'static str, way: &Way, message: impl Into<String>) {
        if let Some(findings) = self.findings {
            findings.error(slug, &way.path(), "check", message);
        }
    }
}

fn check_sums(page: &PageRef, below: &[Task]) -> Result<()> {
    let sum = |of: fn(&PageRef) -> u64| below.iter().map(|t| of(&t.page)).fold(0, u64::saturating_add);
    if (sum(|p| p.entries), sum(|p| p.bytes)) == (page.entries, page.bytes) { Ok(()) } else { Err(crooked("sums")) }
}
