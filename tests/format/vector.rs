//! A vector as a file: header lines, an empty line, bytes in hex.

use std::fmt::Write as _;
use std::path::PathBuf;

use orlop::id::hex;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vector {
    /// Directory and stem: `tombstone/cut-short`.
    pub path: String,
    /// `key: value`, in order; `object` and `expect` come first.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("format-spec/vectors")
}

impl Vector {
    pub fn get(&self, key: &str) -> &str {
        self.find(key).unwrap_or_else(|| panic!("{}: no field {key:?}", self.path))
    }
    pub fn find(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        let value = value.into();
        match self.fields.iter_mut().find(|(k, _)| k == key) {
            Some((_, v)) => *v = value,
            None => self.fields.push((key.into(), value)),
        }
    }
    pub fn bytes<const N: usize>(&self, key: &str) -> [u8; N] {
        orlop::id::unhex(self.get(key)).unwrap_or_else(|e| panic!("{}: {key}: {e}", self.path))
    }
    pub fn number(&self, key: &str) -> u64 {
        self.get(key).parse().unwrap_or_else(|e| panic!("{}: {key}: {e}", self.path))
    }

    pub fn print(&self) -> String {
        let mut out = String::new();
        for (k, v) in &self.fields {
            writeln!(out, "{k}: {v}").unwrap();
        }
        out.push('\n');
        for line in self.body.chunks(32) {
            writeln!(out, "{}", hex(line)).unwrap();
        }
        out
    }

    pub fn parse(path: &str, text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or_else(|| panic!("{path}: no empty line"));
        let field = |l: &str| {
            let (k, v) = l.split_once(": ").unwrap_or_else(|| panic!("{path}: {l:?}"));
            (k.to_string(), v.to_string())
        };
        let digits: Vec<u8> = body.bytes().filter(|b| *b != b'\n').collect();
        let pairs = digits.as_chunks::<2>().0.iter();
        let body = pairs.map(|p| orlop::id::unhex::<1>(std::str::from_utf8(p).unwrap()).unwrap()[0]).collect();
        Self { path: path.into(), fields: head.lines().map(field).collect(), body }
    }

    /// All that are there.
    pub fn all() -> Vec<Self> {
        let mut out = Vec::new();
        for dir in std::fs::read_dir(directory()).unwrap() {
            let dir = dir.unwrap();
            for file in std::fs::read_dir(dir.path()).unwrap() {
                let file = file.unwrap();
                let (d, f) = (dir.file_name(), file.file_name());
                let (d, f) = (d.to_str().unwrap(), f.to_str().unwrap());
                let stem = f.strip_suffix(".txt").unwrap_or_else(|| panic!("{d}/{f} is no vector"));
                out.push(Self::parse(&format!("{d}/{stem}"), &std::fs::read_to_string(file.path()).unwrap()));
            }
        }
        out.sort_by(|a, b| a.path.cmp(&b.path));
        out
    }
}
