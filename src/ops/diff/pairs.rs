//! Two trees side by side. Pages with the same name are passed over together; where the two cut
//! their directories at different places, pages are opened until both are at the same name again.

use std::cmp::Ordering;

use super::is_damage;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Context;
use crate::format::limits::DEPTH_MAX;
use crate::format::page::Page;
use crate::id::BlobId;
use crate::model::{Node, NodeKind, PageRef};
use crate::repo::Reader;

/// One of the two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first.
    Before,
    /// The second.
    After,
}

/// Who is told.
pub trait Visitor {
    /// A part of both trees, whole.
    fn common(&mut self, page: &PageRef) -> Result<()>;
    /// A page of one side that was read.
    fn page(&mut self, side: Side, id: &BlobId, bytes: usize) -> Result<()>;
    /// An entry that one side has.
    fn one(&mut self, side: Side, path: &[u8], node: &Node) -> Result<()>;
    /// An entry that both sides have, the same or not, in pages that are not the same.
    fn both(&mut self, path: &[u8], before: &Node, after: &Node) -> Result<()>;
}

enum Step {
    Page(PageRef),
    Node(Node),
}

/// What is still to come of a directory on one side, the next one last.
type Todo = Vec<Step>;

struct Level {
    before: Todo,
    after: Todo,
    path_len: usize,
}

/// Walks two trees.
pub struct Pairs<'r> {
    reader: &'r Reader<'r>,
    cx: &'r Context<'r>,
    levels: Vec<Level>,
    path: Vec<u8>,
}

impl<'r> Pairs<'r> {
    /// Of one repository.
    pub fn new(reader: &'r Reader<'r>, cx: &'r Context<'r>) -> Self {
        Self { reader, cx, levels: Vec::new(), path: Vec::new() }
    }

    /// Walk the directories with these roots.
    pub fn walk(&mut self, roots: (Option<PageRef>, Option<PageRef>), visitor: &mut impl Visitor) -> Result<()> {
        self.enter(roots.0, roots.1, visitor)?;
        while let Some(level) = self.levels.last_mut() {
            self.path.truncate(level.path_len);
            match (level.before.pop(), level.after.pop()) {
                (None, None) => drop(self.levels.pop()),
                (Some(Step::Page(a)), Some(Step::Page(b))) if a.id == b.id && a.level == b.level => {
                    visitor.common(&a)?;
                }
                (Some(Step::Page(a)), Some(Step::Page(b))) => match a.level.cmp(&b.level) {
                    Ordering::Greater => {
                        level.after.push(Step::Page(b));
                        self.expand(Side::Before, a, visitor)?;
                    }
                    Ordering::Less => {
                        level.before.push(Step::Page(a));
                        self.expand(Side::After, b, visitor)?;
                    }
                    Ordering::Equal => {
                        self.expand(Side::Before, a, visitor)?;
                        self.expand(Side::After, b, visitor)?;
                    }
                },
                (Some(Step::Page(a)), other) => {
                    level.after.extend(other);
                    self.expand(Side::Before, a, visitor)?;
                }
                (other, Some(Step::Page(b))) => {
                    level.before.extend(other);
                    self.expand(Side::After, b, visitor)?;
                }
                (Some(Step::Node(a)), Some(Step::Node(b))) => match a.name.cmp(&b.name) {
                    Ordering::Equal => self.both(&a, &b, visitor)?,
                    Ordering::Less => {
                        level.after.push(Step::Node(b));
                        self.one(Side::Before, &a, visitor)?;
                    }
                    Ordering::Greater => {
                        level.before.push(Step::Node(a));
                        self.one(Side::After, &b, visitor)?;
                    }
                },
                (Some(Step::Node(a)), None) => self.one(Side::Before, &a, visitor)?,
                (None, Some(Step::Node(b))) => self.one(Side::After, &b, visitor)?,
            }
        }
        Ok(())
    }

    fn enter(&mut self, a: Option<PageRef>, b: Option<PageRef>, visitor: &mut impl Visitor) -> Result<()> {
        if let (Some(a), Some(b)) = (&a, &b)
            && a.id == b.id
        {
            return visitor.common(a);
        }
        if self.levels.len() > DEPTH_MAX {
            self.cx.problem("too-deep", &self.path, "compare", "directories are nested deeper than they can be");
            return Ok(());
        }
        let todo = |root: Option<PageRef>| root.map(Step::Page).into_iter().collect();
        self.levels.push(Level { before: todo(a), after: todo(b), path_len: self.path.len() });
        Ok(())
    }

    fn expand(&mut self, side: Side, page: PageRef, visitor: &mut impl Visitor) -> Result<()> {
        self.cx.check()?;
        let steps: Vec<Step> = match self.reader.page_sized(&page) {
            Ok((read, bytes)) => {
                visitor.page(side, &page.id, bytes)?;
                match read {
                    Page::Dir(nodes) => nodes.into_iter().map(Step::Node).collect(),
                    Page::DirInner(level, children) => children.iter().map(|c| Step::Page(c.below(level))).collect(),
                    _ => return Err(Error::new(ErrorKind::Damaged, "a page of a directory is of another kind")),
                }
            }
            Err(e) if is_damage(&e) => {
                let what = format!("a part of this directory cannot be read: {e}");
                self.cx.problem("damaged", &self.path, "read", what);
                Vec::new()
            }
            Err(e) => return Err(e),
        };
        if let Some(level) = self.levels.last_mut() {
            let todo = if side == Side::Before { &mut level.before } else { &mut level.after };
            todo.extend(steps.into_iter().rev());
        }
        Ok(())
    }

    fn one(&mut self, side: Side, node: &Node, visitor: &mut impl Visitor) -> Result<()> {
        self.go_to(&node.name);
        visitor.one(side, &self.path, node)?;
        match (side, root(node)) {
            (_, None) => Ok(()),
            (Side::Before, root) => self.enter(root, None, visitor),
            (Side::After, root) => self.enter(None, root, visitor),
        }
    }

    fn both(&mut self, a: &Node, b: &Node, visitor: &mut impl Visitor) -> Result<()> {
        self.go_to(&a.name);
        visitor.both(&self.path, a, b)?;
        match (root(a), root(b)) {
            (None, None) => Ok(()),
            (a, b) => self.enter(a, b, visitor),
        }
    }

    fn go_to(&mut self, name: &[u8]) {
        self.path.push(b'/');
        self.path.extend_from_slice(name);
    }
}

fn root(node: &Node) -> Option<PageRef> {
    match node.kind {
        NodeKind::Dir { root } => root,
        _ => None,
    }
}
