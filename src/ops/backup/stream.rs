//! A stream as a snapshot of one file.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::walk::Walk;
use crate::error::{Error, ErrorKind, Result};
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
    ) -> Result<Option<PageRef>> {
        let mut parts: Vec<Vec<u8>> = path
            .components()
            .filter_map(|c| match c {
                std::path::Component::Normal(n) => Some(n.as_bytes().to_vec()),
                _ => None,
            })
            .collect();
        let name = parts.pop().ok_or_else(|| Error::new(ErrorKind::Invalid, "the stream needs a file name"))?;
        let uid = rustix::process::getuid().as_raw();
        let scope = FrameScope { source: 0, uid, target: self.profile.frame_of(u64::MAX) };
        let (size, content) = self.contents.read_stream(from, &self.profile, scope)?;
        accept()?;
        let now = sys::now();
        let file = Node {
            name,
            kind: NodeKind::File { size, content },
            mode: 0o644,
            uid,
            gid: rustix::process::getgid().as_raw(),
            mtime: now,
            ctime: now,
            ino: 0,
            ext: vec![],
        };
        self.count_new(size);
        let mut node = file;
        loop {
            let mut builder = Builder::dir(self.repo.keys());
            let mut emit = |bytes: Vec<u8>| self.writer.page(&bytes);
            builder.node(&node, &mut emit)?;
            let root = builder.finish(&mut emit)?;
            let Some(name) = parts.pop() else { return Ok(root) };
            node = Node { name, kind: NodeKind::Dir { root }, mode: 0o755, ..node };
        }
    }
}
