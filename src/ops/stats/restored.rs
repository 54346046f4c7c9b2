//! What restores would write. What is below a page is added up once and remembered by the page's
//! number, unless there are hard links below it: which of those is the first differs from snapshot to
//! snapshot.

use super::Totals;
use crate::error::{ErrorKind, Result};
use crate::event::Context;
use crate::format::pack::Kind;
use crate::format::page::Page;
use crate::index::{Digests, Marks, Numbers};
use crate::model::{Node, NodeKind, PageRef, ext_tag};
use crate::repo::{Reader, Snapshot};

#[derive(Clone, Copy, Default)]
struct Sum {
    files: u64,
    bytes: u64,
    linked: bool,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.linked |= other.linked;
    }
}

/// A page on the way.
#[derive(Default)]
struct Open {
    number: Option<usize>,
    below: Vec<PageRef>,
    sum: Sum,
}

struct Adder<'r> {
    reader: &'r Reader<'r>,
    cx: &'r Context<'r>,
    numbers: Numbers,
    known: Marks,
    sums: Vec<(u64, u64)>,
    links: Digests,
}

pub fn restored(reader: &Reader<'_>, snapshots: &[&Snapshot], cx: &Context<'_>) -> Result<Totals> {
    let numbers = Numbers::new(reader.index(), |kind| kind == Kind::Tree);
    let (known, sums) = (Marks::new(&numbers), vec![(0, 0); numbers.len()]);
    let mut adder = Adder { reader, cx, numbers, known, sums, links: Digests::default() };
    let mut all = Sum::default();
    for snapshot in snapshots {
        adder.links = Digests::default();
        all.add(adder.below(snapshot.statement.root)?);
    }
    Ok(Totals { files: all.files, bytes: all.bytes, ..Totals::default() })
}

impl Adder<'_> {
    fn below(&mut self, root: Option<PageRef>) -> Result<Sum> {
        let mut open = vec![Open { below: root.into_iter().collect(), ..Open::default() }];
        loop {
            let Some(top) = open.last_mut() else { return Ok(Sum::default()) };
            if let Some(page) = top.below.pop() {
                let number = self.reader.index().find(&page.id)?.map(|at| self.numbers.of(at));
                match number.filter(|n| self.known.has(*n)).and_then(|n| self.sums.get(n)) {
                    Some(&(files, bytes)) => top.sum.add(Sum { files, bytes, linked: false }),
                    None => open.push(self.open(&page, number)?),
                }
                continue;
            }
            let Some(done) = open.pop() else { return Ok(Sum::default()) };
            if let Some(n) = done.number.filter(|_| !done.sum.linked)
                && let Some(sum) = self.sums.get_mut(n)
            {
                *sum = (done.sum.files, done.sum.bytes);
                self.known.set(n);
            }
            match open.last_mut() {
                Some(above) => above.sum.add(done.sum),
                None => return Ok(done.sum),
            }
        }
    }

    fn open(&mut self, at: &PageRef, number: Option<usize>) -> Result<Open> {
        self.cx.check()?;
        let mut open = Open { number, ..Open::default() };
        match self.reader.page(at) {
            Ok(Page::Dir(nodes)) => {
                for node in &nodes {
                    self.node(node, &mut open)?;
                }
            }
            Ok(Page::DirInner(level, children)) => open.below.extend(children.iter().map(|c| c.below(level))),
            Ok(Page::List(_) | Page::ListInner(..)) => {}
            Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::Missing) => {
                let id = at.id.short();
                self.cx.problem("damaged", id.as_bytes(), "read", format!("a directory cannot be read: {e}"));
            }
            Err(e) => return Err(e),
        }
        Ok(open)
    }

    fn node(&mut self, node: &Node, open: &mut Open) -> Result<()> {
        open.sum.files += 1;
        match node.kind {
            NodeKind::Dir { root } => open.below.extend(root),
            NodeKind::File { size, .. } => {
                let mut counts = true;
                if let Some(link) = node.ext(ext_tag::LINK) {
                    open.sum.linked = true;
                    counts = self.links.insert(blake3::hash(&link.data).as_bytes())?;
                }
                if counts {
                    open.sum.bytes = open.sum.bytes.saturating_add(size);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
