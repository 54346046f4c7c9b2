//! Looking for entries in many snapshots, each page of their trees read once.
//!
//! What was found below a page is remembered by the page's id and the path it stands at, so that a
//! snapshot costs what is new in it. Both what is remembered and what is found and not yet handed
//! out are bounded: beyond that, hits are handed out as they come and pages are read again.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::event::Context;
use crate::format::limits::DEPTH_MAX;
use crate::format::page::Page;
use crate::model::{Content, Node, NodeKind, PageRef, Time};
use crate::plan::filter::Patterns;
use crate::repo::Reader;
use crate::source::Kind;

/// Pages that are remembered.
const PAGES_MAX: usize = 1 << 20;
/// Hits that are held, remembered or not yet handed out.
const HITS_MAX: usize = 50_000;

/// What is looked for. Everything that is given must hold.
#[derive(Debug, Default)]
pub struct Query {
    /// The path in the snapshot, or one it is below, matches.
    pub patterns: Patterns,
    /// The content changed last at this time or after it.
    pub oldest: Option<Time>,
    /// Or before it.
    pub newest: Option<Time>,
    /// A file of at least so many bytes.
    pub bytes_min: Option<u64>,
    /// A file of at most so many.
    pub bytes_max: Option<u64>,
    /// It is one of these; nothing means anything.
    pub kinds: Vec<Kind>,
}

impl Query {
    fn fits(&self, node: &Node) -> bool {
        let size = match node.kind {
            NodeKind::File { size, .. } => Some(size),
            _ => None,
        };
        let bounded = self.bytes_min.is_some() || self.bytes_max.is_some();
        let sized = !bounded
            || size.is_some_and(|n| self.bytes_min.is_none_or(|m| n >= m) && self.bytes_max.is_none_or(|m| n <= m));
        sized
            && self.oldest.is_none_or(|t| node.mtime >= t)
            && self.newest.is_none_or(|t| node.mtime <= t)
            && (self.kinds.is_empty() || self.kinds.contains(&Kind::of(&node.kind)))
    }
}

/// What was found in a page and below it.
type Found = Arc<[Item]>;

/// A page where it stands.
type Key = [u8; 32];

#[derive(Clone)]
enum Item {
    /// An entry, without its content.
    Hit(Arc<Node>),
    /// In a page of the same directory.
    Part(Found),
    /// In a directory of this name.
    Below(Arc<[u8]>, Found),
}

/// A page on the way.
struct Open {
    key: Key,
    /// Length of the directory's path.
    path_len: usize,
    /// The directory's name, where this is the first of its pages.
    name: Option<Arc<[u8]>>,
    steps: std::vec::IntoIter<Step>,
    found: Vec<Item>,
    /// Hits in `found` that are remembered nowhere yet.
    hits: usize,
    /// What was found up to here has been handed out, and what comes is handed out at once.
    flushed: bool,
}

enum Step {
    Page(PageRef),
    Node(Node),
}

/// Receives each hit with its path.
pub type Take<'t> = &'t mut dyn FnMut(&[u8], &Node) -> Result<()>;

/// Looks through one snapshot after another.
pub struct Finder<'r> {
    reader: &'r Reader<'r>,
    query: &'r Query,
    cx: &'r Context<'r>,
    known: HashMap<Key, Found>,
    held: usize,
    nothing: Found,
    /// Pages that were read.
    pub pages: u64,
}

impl<'r> Finder<'r> {
    /// With one query.
    pub fn new(reader: &'r Reader<'r>, query: &'r Query, cx: &'r Context<'r>) -> Self {
        Self { reader, query, cx, known: HashMap::new(), held: 0, nothing: Arc::new([]), pages: 0 }
    }

    /// Everything that fits below the top of a snapshot, in the order of the paths' components.
    pub fn snapshot(&mut self, root: Option<PageRef>, take: Take<'_>) -> Result<()> {
        let Some(root) = root else { return Ok(()) };
        let mut path = Vec::new();
        let key = key(&root, &path);
        if let Some(found) = self.known.get(&key) {
            return hand_out(&found.clone(), &mut path, take);
        }
        let mut open = Vec::new();
        self.enter(root, &path, 0, None, &mut open, take)?;
        while let Some(top) = open.last_mut() {
            path.truncate(top.path_len);
            match top.steps.next() {
                Some(Step::Page(page)) => {
                    let from = path.len();
                    self.enter(page, &path, from, None, &mut open, take)?;
                }
                Some(Step::Node(node)) => self.node(node, &mut path, &mut open, take)?,
                None => self.close(&mut open, &path, take)?,
            }
        }
        Ok(())
    }

    fn open(&mut self, key: Key, page: PageRef, path_len: usize, name: Option<Arc<[u8]>>) -> Result<Open> {
        self.cx.check()?;
        self.pages += 1;
        let steps: Vec<Step> = match self.reader.page(&page)? {
            Page::Dir(nodes) => nodes.into_iter().map(Step::Node).collect(),
            Page::DirInner(level, children) => children.iter().map(|c| Step::Page(c.below(level))).collect(),
            _ => return Err(Error::new(ErrorKind::Damaged, "a page of a directory is of another kind")),
        };
        let (steps, found) = (steps.into_iter(), Vec::new());
        Ok(Open { key, path_len, name, steps, found, hits: 0, flushed: false })
    }

    /// Go into a page of a directory, or take what is known of it. `outside`: length of the path of
    /// the directory that the page belongs to or is in.
    fn enter(
        &mut self,
        page: PageRef,
        path: &[u8],
        outside: usize,
        name: Option<Arc<[u8]>>,
        open: &mut Vec<Open>,
        take: Take<'_>,
    ) -> Result<()> {
        let key = key(&page, path);
        if let Some(found) = self.known.get(&key) {
            let found = found.clone();
            return attach(open, &path[..outside], name, found, take);
        }
        if open.len() > DEPTH_MAX * 2 {
            self.cx.problem("too-deep", path, "find", "directories are nested deeper than any file system has them");
            return Ok(());
        }
        match self.open(key, page, path.len(), name) {
            Ok(opened) => open.push(opened),
            Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::Missing) => {
                self.cx.problem("damaged", path, "read", format!("a part of this directory cannot be read: {e}"));
                // Said once is enough.
                self.remember(key, self.nothing.clone());
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn node(&mut self, mut node: Node, path: &mut Vec<u8>, open: &mut Vec<Open>, take: Take<'_>) -> Result<()> {
        let outside = path.len();
        path.push(b'/');
        path.extend_from_slice(&node.name);
        let root = match node.kind {
            NodeKind::Dir { root } => root,
            _ => None,
        };
        if self.query.patterns.matches(path) && self.query.fits(&node) {
            if let NodeKind::File { content, .. } = &mut node.kind {
                *content = Content::Inline(Vec::new());
            }
            self.hit(Arc::new(node.clone()), path, outside, open, take)?;
        }
        let Some(root) = root else { return Ok(()) };
        if self.query.patterns.reach(path).below {
            self.enter(root, path, outside, Some(node.name.into()), open, take)?;
        }
        Ok(())
    }

    fn hit(&mut self, node: Arc<Node>, path: &[u8], outside: usize, open: &mut [Open], take: Take<'_>) -> Result<()> {
        if self.held >= HITS_MAX {
            self.held -= flush(open, &path[..outside], take)?;
        }
        let Some(top) = open.last_mut() else { return Ok(()) };
        if top.flushed {
            return take(path, &node);
        }
        top.found.push(Item::Hit(node));
        (top.hits, self.held) = (top.hits + 1, self.held + 1);
        Ok(())
    }

    /// The page that was opened last is through.
    fn close(&mut self, open: &mut Vec<Open>, path: &[u8], take: Take<'_>) -> Result<()> {
        let Some(done) = open.pop() else { return Ok(()) };
        let outside = open.last().map_or(0, |above| above.path_len);
        if done.flushed {
            return Ok(());
        }
        let found: Found = if done.found.is_empty() { self.nothing.clone() } else { done.found.into() };
        let remembered = self.remember(done.key, found.clone());
        let loose = if remembered { 0 } else { done.hits };
        match open.last_mut().filter(|above| !above.flushed) {
            Some(above) => above.hits += loose,
            None => self.held -= loose,
        }
        if open.is_empty() {
            return hand_out_below(&found, path, take);
        }
        attach(open, &path[..outside], done.name, found, take)
    }

    /// Whether there was room for it.
    fn remember(&mut self, key: Key, found: Found) -> bool {
        let room = self.known.len() < PAGES_MAX;
        if room {
            self.known.insert(key, found);
        }
        room
    }
}

fn key(page: &PageRef, path: &[u8]) -> Key {
    *blake3::Hasher::new().update(&page.id.0).update(&[page.level]).update(path).finalize().as_bytes()
}

/// Give what was found below to the page above.
fn attach(open: &mut [Open], path: &[u8], name: Option<Arc<[u8]>>, found: Found, take: Take<'_>) -> Result<()> {
    let Some(above) = open.last_mut().filter(|_| !found.is_empty()) else { return Ok(()) };
    let item = match name {
        Some(name) => Item::Below(name, found),
        None => Item::Part(found),
    };
    match above.flushed {
        true => hand_out_below(&[item], path, take),
        false => {
            above.found.push(item);
            Ok(())
        }
    }
}

/// Hand out what all open pages have found; gives how many hits they held themselves.
fn flush(open: &mut [Open], path: &[u8], take: Take<'_>) -> Result<usize> {
    let mut held = 0;
    for page in open.iter_mut().filter(|page| !page.flushed) {
        hand_out_below(&page.found, &path[..page.path_len], take)?;
        held += page.hits;
        (page.found, page.hits, page.flushed) = (Vec::new(), 0, true);
    }
    Ok(held)
}

fn hand_out_below(found: &[Item], path: &[u8], take: Take<'_>) -> Result<()> {
    hand_out(found, &mut path.to_vec(), take)
}

/// Hand out what is in a directory whose path this is. As deep as directories nest.
fn hand_out(found: &[Item], path: &mut Vec<u8>, take: Take<'_>) -> Result<()> {
    let mut levels = vec![(found.iter(), path.len())];
    while let Some((items, len)) = levels.last_mut() {
        path.truncate(*len);
        let len = *len;
        match items.next() {
            None => drop(levels.pop()),
            Some(Item::Part(found)) => levels.push((found.iter(), len)),
            Some(Item::Hit(node)) => {
                path.push(b'/');
                path.extend_from_slice(&node.name);
                take(path, node)?;
            }
            Some(Item::Below(name, found)) => {
                path.push(b'/');
                path.extend_from_slice(name);
                levels.push((found.iter(), path.len()));
            }
        }
    }
    Ok(())
}
