//! A listing for `ncdu -f -`.

use serde::Serialize;

use super::escape::lossy;
use super::listing::size_of;
use super::snapshots::{Json, Row};
use super::wire;
use crate::model::{Node, NodeKind, ext_tag};

/// Writes entries that come in the order of a walk.
#[derive(Debug, Default)]
pub struct Ncdu {
    /// The directories that are open.
    open: Vec<Vec<u8>>,
}

#[derive(Debug, Serialize)]
struct Item {
    name: String,
    asize: u64,
    dsize: u64,
    #[serde(skip_serializing_if = "is_zero")]
    ino: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    hlnkc: bool,
    notreg: bool,
    uid: u32,
    gid: u32,
    mode: u32,
    mtime: i64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Ncdu {
    /// What comes first.
    pub fn head(row: &Row) -> String {
        format!("[1, 2, {}, [{{\"name\":\"/\"}}", wire::line(&Json::of(row)).trim_end())
    }

    /// An entry, after closing the directories that it is not in.
    pub fn entry(&mut self, path: &[u8], node: &Node) -> String {
        let mut out = String::new();
        while let Some(dir) = self.open.last() {
            if path.strip_prefix(dir.as_slice()).is_some_and(|rest| rest.starts_with(b"/")) {
                break;
            }
            self.open.pop();
            out += &format!("\n{}]", self.indent());
        }
        let size = size_of(node).unwrap_or(0);
        let item = wire::line(&Item {
            name: lossy(&node.name),
            asize: size,
            dsize: size.div_ceil(512) * 512,
            ino: node.ino,
            hlnkc: node.ext(ext_tag::LINK).is_some(),
            notreg: !matches!(node.kind, NodeKind::File { .. } | NodeKind::Dir { .. }),
            uid: node.uid,
            gid: node.gid,
            mode: node.mode,
            mtime: node.mtime.sec,
        });
        out += &format!(",\n{}", self.indent());
        if node.is_dir() {
            self.open.push(path.to_vec());
            out += &format!("[\n{}", self.indent());
        }
        out + item.trim_end()
    }

    /// What comes last.
    pub fn end(mut self) -> String {
        let mut out = String::new();
        while self.open.pop().is_some() {
            out += &format!("\n{}]", self.indent());
        }
        out + "\n]]\n"
    }

    fn indent(&self) -> String {
        "  ".repeat(self.open.len() + 1)
    }
}
