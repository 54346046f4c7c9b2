//! The table files: blocks of lines, and bytes escaped as `%xx`.
//!
//! A block begins with an unindented line. Its lines are indented by two spaces, a word and
//! what follows it. `#` first is a comment, kept when a table is written again.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One block.
pub struct Case {
    /// Comments and empty lines before it.
    pub preface: String,
    pub head: String,
    /// Word and argument, the argument unescaped.
    pub lines: Vec<(String, Vec<u8>)>,
}

impl Case {
    pub fn all<'c>(&'c self, word: &'c str) -> impl Iterator<Item = &'c [u8]> {
        self.lines.iter().filter(move |(w, _)| w == word).map(|(_, arg)| arg.as_slice())
    }
    /// The case with other answers under `word`.
    pub fn answered(&self, word: &str, answers: &[Vec<u8>]) -> String {
        let mut out = format!("{}{}\n", self.preface, self.head);
        let answers = answers.iter().map(|a| (word.to_owned(), a.clone()));
        for (w, arg) in self.lines.iter().filter(|(w, _)| w != word).cloned().chain(answers) {
            out += format!("  {w} {}", escape(&arg)).trim_end();
            out += "\n";
        }
        out
    }
}

pub fn table_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filter").join(name)
}

pub fn read_table(name: &str) -> Vec<Case> {
    let text = std::fs::read_to_string(table_path(name)).unwrap();
    let mut cases: Vec<Case> = Vec::new();
    let mut preface = String::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            preface += line;
            preface += "\n";
        } else if let Some(rest) = line.strip_prefix("  ") {
            let (word, arg) = rest.split_once(' ').unwrap_or((rest, ""));
            cases.last_mut().unwrap().lines.push((word.to_owned(), unescape(arg)));
        } else {
            cases.push(Case { preface: std::mem::take(&mut preface), head: line.to_owned(), lines: Vec::new() });
        }
    }
    cases
}

pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (index, b) in bytes.iter().enumerate() {
        match b {
            b' ' if index > 0 && index + 1 < bytes.len() => out.push(' '),
            b'!'..=b'~' if *b != b'%' => out.push(char::from(*b)),
            _ => out += &format!("%{b:02x}"),
        }
    }
    out
}

pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((b, tail)) = rest.split_first() {
        if *b == b'%' {
            out.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
            rest = &tail[2..];
        } else {
            out.push(*b);
            rest = tail;
        }
    }
    out
}

/// The program, if it is here: under `variable`, or on the path.
pub fn program(variable: &str, name: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map_or_else(|| PathBuf::from(name), PathBuf::from);
    let works = Command::new(&found).arg("version").output().is_ok_and(|out| out.status.success());
    if !works {
        eprintln!("skipped: no {name} here; set {variable} to compare with it");
    }
    works.then_some(found)
}

pub fn recording() -> bool {
    std::env::var_os("ORLOP_RECORD").is_some()
}

/// An entry of the table's `tree` block: path with `/` behind directories, and contents.
pub struct Entry {
    pub path: Vec<u8>,
    pub is_dir: bool,
    pub contents: Vec<u8>,
}

/// `PATH`, `PATH/`, `PATH = TEXT` or `PATH : SIZE`.
pub fn tree(case: &Case) -> Vec<Entry> {
    assert_eq!(case.head, "tree");
    let entry = |(word, arg): &(String, Vec<u8>)| {
        let path = unescape(word);
        let is_dir = path.ends_with(b"/");
        let path = path.strip_suffix(b"/").unwrap_or(&path).to_vec();
        let contents = match arg.as_slice() {
            [b'=', b' ', text @ ..] => text.to_vec(),
            [b':', b' ', size @ ..] => {
                vec![b'x'; std::str::from_utf8(size).unwrap().parse().unwrap()]
            }
            _ => Vec::new(),
        };
        Entry { path, is_dir, contents }
    };
    case.lines.iter().map(entry).collect()
}

pub fn plant(root: &Path, entries: &[Entry]) {
    use std::os::unix::ffi::OsStrExt;
    for entry in entries {
        let path = root.join(std::ffi::OsStr::from_bytes(&entry.path));
        if entry.is_dir {
            std::fs::create_dir_all(path).unwrap();
        } else {
            std::fs::write(path, &entry.contents).unwrap();
        }
    }
}
