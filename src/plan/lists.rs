//! Lists of what to back up: `--files-from`, `--files-from-verbatim`, `--files-from-raw`.
//!
//! Three languages for three kinds of writer. A person writes globs and comments; a program
//! that knows its names have no line break writes them verbatim; a program that knows nothing
//! writes NUL after each. Reading is pure; [`expand`] asks its caller what directories hold.

use crate::error::{Error, ErrorKind, Result};
use crate::plan::filter::Component;
use crate::plan::text::{decode, lines, trim};

/// One glob of `--files-from` and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: u32,
    /// The glob, for [`expand`].
    pub glob: Vec<u8>,
}

/// `--files-from`: one glob a line, white space around it dropped, `#` first makes a comment.
///
/// `list` is the file's name, for the refusal of a malformed glob.
pub fn files_from(list: &str, contents: &[u8]) -> Result<Vec<Line>> {
    let mut out = Vec::new();
    for (number, line) in lines(&decode(contents)) {
        let glob = trim(line);
        if glob.is_empty() || glob[0] == b'#' {
            continue;
        }
        check(glob).map_err(|e| e.doing(format!("while reading line {number} of {list}")))?;
        out.push(Line { number, glob: glob.to_vec() });
    }
    Ok(out)
}

/// `--files-from-verbatim`: one path a line, as it stands. Empty lines are skipped, `#` is a
/// name, white space is part of it; only a CR before LF goes, as that is half a line end.
pub fn files_from_verbatim(contents: &[u8]) -> Vec<Vec<u8>> {
    lines(&decode(contents)).map(|(_, line)| line).filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

/// `--files-from-raw`: each path ended by a NUL, the last too.
///
/// A missing last NUL is refused because it is how a list cut off half way looks, and an empty
/// name because it would come to mean the current directory.
pub fn files_from_raw(list: &str, contents: &[u8]) -> Result<Vec<Vec<u8>>> {
    if contents.is_empty() {
        return Ok(Vec::new());
    }
    let refuse = |what: String| Error::new(ErrorKind::Invalid, format!("the list {list} {what}"));
    let Some(body) = contents.strip_suffix(b"\0") else {
        return Err(refuse("does not end with a NUL".into()).hint("the program that writes it may have been cut off"));
    };
    let names: Vec<Vec<u8>> = body.split(|b| *b == 0).map(<[u8]>::to_vec).collect();
    match names.iter().position(Vec::is_empty) {
        Some(index) => Err(refuse(format!("has an empty name as number {}", index + 1))),
        None => Ok(names),
    }
}

/// `--changed-files`: one path a line as in [`files_from_verbatim`], each with the number of its line.
pub fn changed_files(contents: &[u8]) -> Vec<(u32, Vec<u8>)> {
    lines(&decode(contents)).filter(|(_, line)| !line.is_empty()).map(|(n, line)| (n, line.to_vec())).collect()
}

/// What a caller knows about the disk.
pub trait Look {
    /// Whether there is anything under that path, not following a last symbolic link.
    fn exists(&mut self, path: &[u8]) -> bool;
    /// The names in that directory, following links; nothing if it is none or cannot be read.
    fn names(&mut self, dir: &[u8]) -> Vec<Vec<u8>>;
}

/// The paths a glob stands for, sorted within each directory.
///
/// The language is that of exclude patterns without `**`: `*` and `?` do not cross a slash,
/// `[a-z]` is a class, `\` makes the next character itself. Names beginning with a dot match
/// like any other. A glob without any of these is that one path, if it exists. Nothing found is
/// an empty list; the caller says so.
pub fn expand(glob: &[u8], look: &mut dyn Look) -> Result<Vec<Vec<u8>>> {
    check(glob)?;
    Ok(expand_checked(glob, look))
}

fn expand_checked(glob: &[u8], look: &mut dyn Look) -> Vec<Vec<u8>> {
    if !has_meta(glob) {
        return if look.exists(glob) { vec![glob.to_vec()] } else { Vec::new() };
    }
    // From the last slash on down to where nothing is open any more; not by calling itself, as a line may
    // have any number of slashes.
    let (mut dir, mut parts) = (glob, Vec::new());
    while has_meta(dir) {
        let (above, part) = match dir.iter().rposition(|b| *b == b'/') {
            None => (&b"."[..], dir),
            Some(0) => (&b"/"[..], &dir[1..]),
            Some(at) => (&dir[..at], &dir[at + 1..]),
        };
        let Ok(part) = Component::compile(part) else {
            return Vec::new();
        };
        parts.push(part);
        dir = above;
    }
    let mut found = vec![dir.to_vec()];
    for part in parts.iter().rev() {
        let dirs = std::mem::take(&mut found);
        for dir in dirs {
            let mut names = look.names(&dir);
            names.sort_unstable();
            names.retain(|name| part.matches(name));
            found.extend(names.iter().map(|name| join(&dir, name)));
        }
    }
    found
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    match dir {
        b"." => name.to_vec(),
        b"/" => [b"/", name].concat(),
        _ => [dir, b"/", name].concat(),
    }
}

fn has_meta(glob: &[u8]) -> bool {
    glob.iter().any(|b| matches!(b, b'*' | b'?' | b'[' | b'\\'))
}

fn check(glob: &[u8]) -> Result<()> {
    let mut at = 0;
    for part in glob.split(|b| *b == b'/') {
        Component::compile(part).map_err(|fault| fault.offset(at).into_error(glob))?;
        at += part.len() + 1;
    }
    Ok(())
}
