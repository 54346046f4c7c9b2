//! A stream as a snapshot of one file.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::content::Wish;
use super::each::Each;
use super::keeper::Keeper;
use super::walk::Walk;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Meter;
use crate::format::page::Builder;
use crate::model::{Node, NodeKind, PageRef};
use crate::repo::FrameScope;
use crate::sys;

impl Walk<'_> {
    /// Store a stream under a path; gives the root of the tree.
    pub(super) fn stream(
        &self,
        path: &Path,
        from: &mut (dyn Read + Send),
        accept: &mut (dyn FnMut() -> Result<()> + Send),
    ) -> Result<Each<Option<PageRef>>> {
        let mut parts: Vec<Vec<u8>> = path
            .components()
            .filter_map(|c| match c {
                std::path::Component::Normal(n) => Some(n.as_bytes().to_vec()),
                _ => None,
            })
            .collect();
        let name = parts.pop().ok_or_else(|| Error::new(ErrorKind::Invalid, "the stream needs a file name"))?;
        let uid = rustix::process::getuid().as_raw();
        let scope = |to: &Keeper<'_>| FrameScope { source: 0, uid, target: to.profile.frame_of(u64::MAX) };
        let wishes: Vec<Wish<'_>> = self.keepers.iter().map(|to| to.wish(&to.profile, scope(to))).collect();
        let mut kept: Vec<_> = self.contents.read_stream(from, &wishes)?.into_iter().map(Some).collect();
        accept()?;
        let now = sys::now();
        Meter::add(&self.cx.meter.files_done, 1);
        Each::try_of(self.keepers.len(), |n| {
            self.with(n, |to| {
                let Some((size, content)) = kept[n].take().transpose()? else { return Ok(None) };
                let file = Node {
                    name: name.clone(),
                    kind: NodeKind::File { size, content },
                    mode: 0o644,
                    uid,
                    gid: rustix::process::getgid().as_raw(),
                    mtime: now,
                    ctime: now,
                    ino: 0,
                    ext: vec![],
                };
                to.count_file(&to.counts.files_new, size);
                below(to, &parts, file).map(Some)
            })
        })
        .map(|roots| Each::of(roots.len(), |n| roots[n].flatten()))
    }
}

/// The root of a tree that has nothing but a way to this.
fn below(to: &Keeper<'_>, way: &[Vec<u8>], mut node: Node) -> Result<Option<PageRef>> {
    let mut way = way.iter().rev();
    loop {
        let mut builder = Builder::dir(to.repo.keys());
        let mut emit = |bytes: Vec<u8>| to.writer.page(&bytes);
        builder.node(&node, &mut emit)?;
        let root = builder.finish(&mut emit)?;
        let Some(name) = way.next() else { return Ok(root) };
        node = Node { name: name.clone(), kind: NodeKind::Dir { root }, mode: 0o755, ..node };
    }
}
