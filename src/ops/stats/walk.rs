//! Every page of some snapshots that a visitor wants.

use crate::error::{ErrorKind, Result};
use crate::event::Context;
use crate::format::page::Page;
use crate::model::{Node, NodeKind, PageRef};
use crate::plan::filter::join;
use crate::repo::{Reader, Snapshot};

/// Who looks at pages.
pub trait Visit {
    /// Whether to read this page.
    fn enter(&mut self, page: &PageRef) -> Result<bool>;
    /// It was read and has so many bytes.
    fn page(&mut self, page: &PageRef, bytes: u64) -> Result<()>;
    /// An entry in it, with its path.
    fn node(&mut self, path: &[u8], node: &Node) -> Result<()>;
}

/// Visit the pages of all snapshots, one snapshot after the other.
pub fn each_page(reader: &Reader<'_>, snapshots: &[&Snapshot], cx: &Context<'_>, visit: &mut dyn Visit) -> Result<()> {
    for snapshot in snapshots {
        let mut todo: Vec<(PageRef, Vec<u8>)> = Vec::new();
        todo.extend(snapshot.statement.root.map(|root| (root, b"/".to_vec())));
        while let Some((page, path)) = todo.pop() {
            cx.check()?;
            if !visit.enter(&page)? {
                continue;
            }
            let below = one(reader, &page, &path, cx, visit);
            todo.extend(readable(below, &path, cx)?.unwrap_or_default().into_iter().rev());
        }
    }
    Ok(())
}

/// What is damaged is told and left out.
fn readable<T>(done: Result<T>, path: &[u8], cx: &Context<'_>) -> Result<Option<T>> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::Missing) => {
            cx.problem("damaged", path, "read", format!("a part of this cannot be read: {e}"));
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

fn one(
    reader: &Reader<'_>,
    at: &PageRef,
    path: &[u8],
    cx: &Context<'_>,
    visit: &mut dyn Visit,
) -> Result<Vec<(PageRef, Vec<u8>)>> {
    let (page, bytes) = reader.page_sized(at)?;
    visit.page(at, bytes as u64)?;
    let mut below = Vec::new();
    match page {
        Page::Dir(nodes) => {
            for node in &nodes {
                let path = join(path, &node.name);
                readable(visit.node(&path, node), &path, cx)?;
                if let NodeKind::Dir { root: Some(root) } = node.kind {
                    below.push((root, path));
                }
            }
        }
        Page::DirInner(level, children) => below.extend(children.iter().map(|c| (c.below(level), path.to_vec()))),
        Page::List(_) | Page::ListInner(..) => {}
    }
    Ok(below)
}
