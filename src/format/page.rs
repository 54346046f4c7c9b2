//! Pages: directories and long content lists as Merkle trees, cut where a keyed hash says.
//!
//! The form is a function of the content alone, whatever the history. [`Builder`] takes entries in
//! order, holds one open page a level, and hands finished pages out; the rules are in
//! `format-spec/60-tree.md`.

use super::codec::{check_ext, check_known_to_writer, decode, encode, encode_into};
use super::limits::*;
use super::{FormatError, limit};
use crate::crypto::BlobKeys;
use crate::id::BlobId;
use crate::model::{Content, Extent, Node, NodeKind, PageRef, ext_tag};

const WHAT: &str = "page";
/// Kind bytes, also mixed into cut decisions.
const DIR: u8 = 1;
const LIST: u8 = 2;
/// A page ends after a key whose hash has these bits zero: every 64th, once the minimum is reached.
const CUT_MASK: u64 = 0x3f;
/// The same for directories: every 32nd. Their entries are long, and scattered changes are the rule.
const DIR_CUT_MASK: u64 = 0x1f;

/// Points to a page of directory entries.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct DirChild {
    /// The page.
    pub id: BlobId,
    /// Nodes below.
    pub entries: u64,
    /// Bytes of files below.
    pub bytes: u64,
    /// Name of the last node below.
    pub last: Vec<u8>,
}

impl DirChild {
    /// The page, as a page of level `above`, which is not 0, points to it.
    pub fn below(&self, above: u8) -> PageRef {
        PageRef { id: self.id, level: above - 1, entries: self.entries, bytes: self.bytes }
    }
}

/// Points to a page of extents.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ListChild {
    /// The page.
    pub id: BlobId,
    /// Extents below.
    pub entries: u64,
    /// Bytes of the file below.
    pub bytes: u64,
}

impl ListChild {
    /// The page, as a page of level `above`, which is not 0, points to it.
    pub fn below(&self, above: u8) -> PageRef {
        PageRef { id: self.id, level: above - 1, entries: self.entries, bytes: self.bytes }
    }
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// Entries of a directory, ascending by name.
    Dir(Vec<Node>),
    /// Pages of a directory.
    DirInner(u8, Vec<DirChild>),
    /// Extents of a file.
    List(Vec<Extent>),
    /// Pages of extents.
    ListInner(u8, Vec<ListChild>),
}

impl Page {
    /// As bytes: kind, level, entries.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Dir(nodes) => with_head(DIR, 0, &encode(nodes)),
            Self::DirInner(level, children) => with_head(DIR, *level, &encode(children)),
            Self::List(extents) => with_head(LIST, 0, &encode(extents)),
            Self::ListInner(level, children) => with_head(LIST, *level, &encode(children)),
        }
    }

    /// From bytes, refusing what no builder makes.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        limit("length of a page", bytes.len() as u64, PAGE_MAX as u64)?;
        let [kind, level, body @ ..] = bytes else {
            return Err(FormatError::Truncated { what: WHAT, at: 0, need: 2, have: bytes.len() });
        };
        limit("level of a page", (*level).into(), PAGE_LEVEL_MAX.into())?;
        let page = match (*kind, *level) {
            (DIR, 0) => Self::Dir(decode(WHAT, body)?),
            (DIR, level) => Self::DirInner(level, decode(WHAT, body)?),
            (LIST, 0) => Self::List(decode(WHAT, body)?),
            (LIST, level) => Self::ListInner(level, decode(WHAT, body)?),
            _ => return Err(FormatError::invalid(WHAT, "unknown kind")),
        };
        page.check()?;
        Ok(page)
    }

    /// Its height above the leaves.
    pub fn level(&self) -> u8 {
        match self {
            Self::Dir(_) | Self::List(_) => 0,
            Self::DirInner(level, _) | Self::ListInner(level, _) => *level,
        }
    }

    /// How many entries it has, itself.
    pub fn len(&self) -> usize {
        match self {
            Self::Dir(v) => v.len(),
            Self::DirInner(_, v) => v.len(),
            Self::List(v) => v.len(),
            Self::ListInner(_, v) => v.len(),
        }
    }

    /// No page is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn check(&self) -> Result<(), FormatError> {
        limit("entries of a page", self.len() as u64, PAGE_ENTRIES_MAX as u64)?;
        if self.is_empty() {
            return Err(FormatError::invalid(WHAT, "it is empty"));
        }
        let ascending = match self {
            Self::Dir(nodes) => nodes.is_sorted_by(|a, b| a.name < b.name),
            Self::DirInner(_, children) => children.is_sorted_by(|a, b| a.last < b.last),
            _ => true,
        };
        if !ascending {
            return Err(FormatError::invalid(WHAT, "names do not ascend strictly"));
        }
        match self {
            Self::Dir(nodes) => nodes.iter().try_for_each(check_node),
            Self::List(extents) => check_extents(extents),
            _ => Ok(()),
        }
    }
}

fn with_head(kind: u8, level: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 2);
    out.extend_from_slice(&[kind, level]);
    out.extend_from_slice(body);
    out
}

/// Whether a name can be one component of a path: not empty, not `.` or `..`, without `/` and NUL,
/// and not too long. Asked by whoever walks, so that one bad name does not hide its neighbours, and
/// again at every door to a file system, because a name that is right on paper and wrong there is how
/// archives write outside their target.
pub fn is_safe_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= NAME_MAX
        && name != b"."
        && name != b".."
        && !name.iter().any(|b| matches!(b, 0 | b'/'))
}

/// Extensions of a node that this build knows.
const KNOWN_EXT: &[u16] =
    &[ext_tag::BTIME, ext_tag::XATTRS, ext_tag::FLAGS, ext_tag::LINK, ext_tag::ATIME, ext_tag::INCOMPLETE];

/// Refuses a node that this build may take over, and not write anew.
pub fn check_change(node: &Node) -> Result<(), FormatError> {
    check_known_to_writer("node", &node.ext, KNOWN_EXT)
}

fn check_node(node: &Node) -> Result<(), FormatError> {
    check_ext("node", &node.ext, KNOWN_EXT)?;
    if [node.mtime, node.ctime].iter().any(|t| t.nsec > 999_999_999) {
        return Err(FormatError::invalid("node", "a second has 1,000,000,000 nanoseconds"));
    }
    let (size, content) = match &node.kind {
        NodeKind::File { size, content } => (size, content),
        NodeKind::Symlink { target } => {
            return limit("target of a symbolic link", target.len() as u64, SYMLINK_MAX as u64);
        }
        NodeKind::Dir { root: Some(root) } => {
            return limit("level of a page", root.level.into(), PAGE_LEVEL_MAX.into());
        }
        _ => return Ok(()),
    };
    let bytes = match content {
        Content::Inline(b) => {
            limit("inline content", b.len() as u64, INLINE_MAX as u64)?;
            b.len() as u64
        }
        Content::Extents { extents, .. } => {
            limit("inline extents", extents.len() as u64, EXTENTS_INLINE_MAX as u64)?;
            check_extents(extents)?;
            sum(extents)?
        }
        Content::Pages { root, .. } => {
            limit("level of a page", root.level.into(), PAGE_LEVEL_MAX.into())?;
            root.bytes
        }
    };
    if bytes == *size { Ok(()) } else { Err(FormatError::invalid("node", "content and size differ")) }
}

fn sum(extents: &[Extent]) -> Result<u64, FormatError> {
    let over = || FormatError::invalid("content list", "lengths overflow");
    extents.iter().try_fold(0u64, |sum, e| sum.checked_add(e.bytes()).ok_or_else(over))
}

fn check_extents(extents: &[Extent]) -> Result<(), FormatError> {
    for e in extents {
        match e {
            Extent::Data { len, repeat, .. } if *len == 0 || *repeat == 0 => {
                return Err(FormatError::invalid("content list", "an extent is empty"));
            }
            Extent::Data { len, .. } => limit("length of a chunk", (*len).into(), BLOB_MAX as u64)?,
            Extent::Hole { len: 0 } => return Err(FormatError::invalid("content list", "an extent is empty")),
            Extent::Hole { .. } => {}
        }
    }
    let mergeable = extents.windows(2).any(|w| match (&w[0], &w[1]) {
        (Extent::Hole { .. }, Extent::Hole { .. }) => true,
        (Extent::Data { id: a, repeat, .. }, Extent::Data { id: b, .. }) => a == b && *repeat != u32::MAX,
        _ => false,
    });
    if mergeable { Err(FormatError::invalid("content list", "neighbours should be one")) } else { Ok(()) }
}

/// What the builder hands out: the bytes of a finished page; the answer is its id.
pub type Emit<'a, E> = &'a mut dyn FnMut(Vec<u8>) -> Result<BlobId, E>;

/// An entry of some level: its bytes, and what it counts for above.
struct Entry {
    encoded: Vec<u8>,
    entries: u64,
    bytes: u64,
    /// What decides whether a page ends here; `None` never ends one.
    key: Option<Vec<u8>>,
}

/// One open page.
#[derive(Default)]
struct Level {
    encoded: Vec<u8>,
    count: usize,
    entries: u64,
    bytes: u64,
    last: Vec<u8>,
    closed: u64,
    newest: Option<PageRef>,
}

/// Builds the page tree of one directory or one content list, from entries in order.
pub struct Builder<'k> {
    keys: &'k BlobKeys,
    kind: u8,
    levels: Vec<Level>,
}

impl<'k> Builder<'k> {
    /// For a directory.
    pub fn dir(keys: &'k BlobKeys) -> Self {
        Self { keys, kind: DIR, levels: Vec::new() }
    }
    /// For a content list.
    pub fn list(keys: &'k BlobKeys) -> Self {
        Self { keys, kind: LIST, levels: Vec::new() }
    }

    /// Add a directory entry; names must ascend.
    pub fn node<E>(&mut self, node: &Node, emit: Emit<'_, E>) -> Result<(), E> {
        let entry = Entry { encoded: encode(node), entries: 1, bytes: node.bytes(), key: Some(node.name.clone()) };
        self.push(0, entry, emit)
    }

    /// Add an extent; neighbours that could be one must have been merged.
    pub fn extent<E>(&mut self, extent: &Extent, emit: Emit<'_, E>) -> Result<(), E> {
        let key = match extent {
            Extent::Data { id, .. } => Some(id.0.to_vec()),
            Extent::Hole { .. } => None,
        };
        let entry = Entry { encoded: encode(extent), entries: 1, bytes: extent.bytes(), key };
        self.push(0, entry, emit)
    }

    /// Whether no page up to this level is open: what is added next begins a new one on each.
    pub fn is_between(&self, level: u8) -> bool {
        self.levels.iter().take(usize::from(level) + 1).all(|l| l.count == 0)
    }

    /// Take over a finished page of a directory, with all below it, from another tree. Where the
    /// builder [is between pages](Self::is_between) of its level, the same entries would make the
    /// same page; unless it is the last of its level, as nothing but the end of all entries closed it.
    pub fn page<E>(&mut self, page: &PageRef, last: &[u8], emit: Emit<'_, E>) -> Result<(), E> {
        let level = usize::from(page.level);
        while self.levels.len() <= level {
            self.levels.push(Level::default());
        }
        // A page above the leaves has more than one below it, and so none of those is the root.
        self.levels[..level].iter_mut().for_each(|below| below.closed += 2);
        let own = &mut self.levels[level];
        (own.closed, own.newest) = (own.closed + 1, Some(*page));
        let PageRef { id, entries, bytes, .. } = *page;
        let encoded = encode(&DirChild { id, entries, bytes, last: last.to_vec() });
        self.push(level + 1, Entry { encoded, entries, bytes, key: Some(last.to_vec()) }, emit)
    }

    fn push<E>(&mut self, level: usize, entry: Entry, emit: Emit<'_, E>) -> Result<(), E> {
        if self.levels.len() <= level {
            self.levels.push(Level::default());
        }
        // 16 bytes are room for the page's head and the count of its entries.
        if self.levels[level].encoded.len() + entry.encoded.len() + 16 > PAGE_MAX && self.levels[level].count > 0 {
            self.close(level, emit)?;
        }
        let l = &mut self.levels[level];
        l.encoded.extend_from_slice(&entry.encoded);
        l.count += 1;
        l.entries += entry.entries;
        // Three sparse files of 8 EiB are more than 64 bits count: the sum stays at the largest.
        l.bytes = l.bytes.saturating_add(entry.bytes);
        let count = l.count;
        let (min, max, mask) = match (level, self.kind) {
            (0, DIR) => (DIR_PAGE_MIN, PAGE_ENTRIES_MAX, DIR_CUT_MASK),
            (0, _) => (LIST_PAGE_MIN, PAGE_ENTRIES_MAX, CUT_MASK),
            _ => (INNER_PAGE_MIN, INNER_PAGE_MAX, CUT_MASK),
        };
        let cut = count >= min
            && entry.key.as_ref().is_some_and(|k| self.keys.page_cut(self.kind, level as u8, k) & mask == 0);
        self.levels[level].last = entry.key.unwrap_or_default();
        if cut || count >= max { self.close(level, emit) } else { Ok(()) }
    }

    /// Finish the open page of a level and enter it one level up.
    fn close<E>(&mut self, level: usize, emit: Emit<'_, E>) -> Result<(), E> {
        let (page, _) = self.finish_page(level, emit)?;
        self.push(level + 1, page, emit)
    }

    fn finish_page<E>(&mut self, level: usize, emit: Emit<'_, E>) -> Result<(Entry, PageRef), E> {
        let l = &mut self.levels[level];
        let mut bytes = Vec::with_capacity(l.encoded.len() + 8);
        bytes.extend_from_slice(&[self.kind, level as u8]);
        encode_into(&(l.count as u64), &mut bytes);
        bytes.append(&mut l.encoded);
        let id = emit(bytes)?;
        let root = PageRef { id, level: level as u8, entries: l.entries, bytes: l.bytes };
        let (entries, sum, last) = (l.entries, l.bytes, std::mem::take(&mut l.last));
        *l = Level { closed: l.closed + 1, newest: Some(root), ..Level::default() };
        let encoded = match self.kind {
            DIR => encode(&DirChild { id, entries, bytes: sum, last: last.clone() }),
            _ => encode(&ListChild { id, entries, bytes: sum }),
        };
        let key = if last.is_empty() { None } else { Some(last) };
        Ok((Entry { encoded, entries, bytes: sum, key }, root))
    }

    /// Finish all open pages; gives the root, or `None` if nothing was added.
    pub fn finish<E>(mut self, emit: Emit<'_, E>) -> Result<Option<PageRef>, E> {
        let mut level = 0;
        while let Some(l) = self.levels.get(level) {
            match (l.count, l.closed) {
                // The only page of its level is the root.
                (0, 1) => return Ok(l.newest),
                (0, _) => {}
                (_, 0) => return self.finish_page(level, emit).map(|(_, root)| Some(root)),
                _ => self.close(level, emit)?,
            }
            level += 1;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;
    use crate::model::Time;
    use std::collections::HashMap;
    use std::convert::Infallible;

    fn keys() -> BlobKeys {
        BlobKeys::new(&Secret::new([1; 32]), &Secret::new([2; 32]))
    }

    fn node(name: String, size: usize) -> Node {
        Node {
            name: name.into_bytes(),
            kind: NodeKind::File { size: size as u64, content: Content::Inline(vec![7; size]) },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            ctime: Time::default(),
            ino: 1,
            ext: vec![],
        }
    }

    type Pages = HashMap<BlobId, Vec<u8>>;

    fn build_dir(keys: &BlobKeys, nodes: &[Node], pages: &mut Pages) -> Option<PageRef> {
        let mut emit = |bytes: Vec<u8>| -> Result<BlobId, Infallible> {
            let id = keys.page_id(&bytes);
            pages.insert(id, bytes);
            Ok(id)
        };
        let mut b = Builder::dir(keys);
        for n in nodes {
            b.node(n, &mut emit).unwrap();
        }
        b.finish(&mut emit).unwrap()
    }

    /// Walks from the root and checks every promise of the format on the way.
    fn walk(pages: &Pages, root: PageRef, out: &mut Vec<Node>) {
        let page = Page::decode(&pages[&root.id]).unwrap();
        assert_eq!(page.level(), root.level);
        match page {
            Page::Dir(nodes) => {
                assert_eq!(root.entries, nodes.len() as u64);
                assert_eq!(root.bytes, nodes.iter().map(Node::bytes).sum::<u64>());
                out.extend(nodes);
            }
            Page::DirInner(level, children) => {
                assert!(children.len() > 1, "an inner page with one child");
                assert_eq!(root.entries, children.iter().map(|c| c.entries).sum::<u64>());
                for c in children {
                    let below = PageRef { id: c.id, level: level - 1, entries: c.entries, bytes: c.bytes };
                    walk(pages, below, out);
                    assert_eq!(out.last().unwrap().name, c.last);
                }
            }
            _ => panic!("a list in a directory"),
        }
    }

    #[test]
    fn directories_of_every_size_come_back() {
        let keys = keys();
        for n in [0, 1, 2, 31, 32, 33, 95, 96, 97, 500, 5000, 20_000] {
            let nodes: Vec<Node> = (0..n).map(|i| node(format!("{i:07}"), i % 100)).collect();
            let mut pages = Pages::new();
            let root = build_dir(&keys, &nodes, &mut pages);
            let mut back = Vec::new();
            root.into_iter().for_each(|r| walk(&pages, r, &mut back));
            assert_eq!(back, nodes, "{n} entries");
        }
    }

    #[test]
    fn one_change_rewrites_one_page_a_level() {
        let keys = keys();
        let mut nodes: Vec<Node> = (0..100_000).map(|i| node(format!("{i:07}"), 3)).collect();
        let mut before = Pages::new();
        build_dir(&keys, &nodes, &mut before);
        nodes[50_000].mtime.sec = 5;
        let mut after = Pages::new();
        let root = build_dir(&keys, &nodes, &mut after).unwrap();
        let new = after.keys().filter(|id| !before.contains_key(id)).count();
        assert_eq!(new, usize::from(root.level) + 1);
        nodes.insert(50_001, node("0050000a".into(), 3));
        let mut grown = Pages::new();
        let root = build_dir(&keys, &nodes, &mut grown).unwrap();
        let new = grown.keys().filter(|id| !after.contains_key(id)).count();
        assert!(new <= 2 * (usize::from(root.level) + 1), "{new} pages for one new entry");
    }

    #[test]
    fn a_list_of_equal_chunks_stays_low() {
        let keys = keys();
        let mut b = Builder::list(&keys);
        let mut pages = 0;
        let mut emit = |bytes: Vec<u8>| -> Result<BlobId, Infallible> {
            Page::decode(&bytes).unwrap();
            pages += 1;
            Ok(keys.page_id(&bytes))
        };
        // Alternating chunk and hole never merge and have one key: the worst case for cutting.
        for _ in 0..100_000 {
            b.extent(&Extent::Data { id: BlobId([9; 32]), len: 1 << 16, repeat: 1 }, &mut emit).unwrap();
            b.extent(&Extent::Hole { len: 5 }, &mut emit).unwrap();
        }
        let root = b.finish(&mut emit).unwrap().unwrap();
        assert_eq!(root.bytes, 100_000 * ((1 << 16) + 5));
        assert!(root.level <= 4, "level {}", root.level);
        assert!(pages < 10_000, "{pages} pages");
    }

    #[test]
    fn refusals() {
        let dup = Page::Dir(vec![node("a".into(), 0), node("a".into(), 0)]);
        assert!(Page::decode(&dup.encode()).is_err());
        let size = NodeKind::File { size: 5, content: Content::Inline(vec![1]) };
        assert!(Page::decode(&Page::Dir(vec![Node { kind: size, ..node("a".into(), 0) }]).encode()).is_err());
        let holes = Page::List(vec![Extent::Hole { len: 1 }, Extent::Hole { len: 1 }]);
        assert!(Page::decode(&holes.encode()).is_err());
        assert!(Page::decode(&Page::Dir(vec![]).encode()).is_err());
        assert!(Page::decode(&[3, 0, 0]).is_err());
        assert!(Page::decode(&[]).is_err());
    }
}
