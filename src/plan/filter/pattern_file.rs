//! Files of patterns: `--exclude-file` and its relatives.
//!
//! One pattern a line; white space around it is dropped, a `#` first makes it a comment, and
//! `$NAME` and `${NAME}` become what the environment says. A literal dollar is `$$`. A variable
//! that is not set becomes nothing, as people's files rely on it; but `$CACHE/**` then excludes
//! the whole disk, so those names come back for the caller to warn about.

use std::sync::Arc;

use super::patterns::Origin;
use crate::plan::text::{decode, lines, trim};

/// What a pattern file says.
#[derive(Debug, Clone, Default)]
pub struct PatternFile {
    /// The patterns with their places, for [`super::Patterns::compile`].
    pub patterns: Vec<(Vec<u8>, Origin)>,
    /// Variables that were named and are not set, with the line.
    pub unset: Vec<(u32, Vec<u8>)>,
}

/// Read the contents of the pattern file called `name`; `env` looks up a variable.
pub fn read_pattern_file(name: &[u8], contents: &[u8], env: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> PatternFile {
    let file: Arc<[u8]> = name.into();
    let mut out = PatternFile::default();
    for (line, text) in lines(&decode(contents)) {
        let text = trim(text);
        if text.is_empty() || text[0] == b'#' {
            continue;
        }
        let pattern = expand(text, |variable| {
            let value = env(variable);
            if value.is_none() {
                out.unset.push((line, variable.to_vec()));
            }
            value.unwrap_or_default()
        });
        out.patterns.push((pattern, Origin::File { file: file.clone(), line }));
    }
    out
}

fn expand(text: &[u8], mut value: impl FnMut(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| *b == b'$') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, used) = variable(rest);
        rest = &rest[used..];
        match name {
            Some(b"$") => out.push(b'$'),
            Some(name) => out.extend(value(name)),
            // A broken `${` is swallowed; a dollar before anything else stays.
            None if used == 0 => out.push(b'$'),
            None => {}
        }
    }
    out.extend_from_slice(rest);
    out
}

/// The name after a dollar and how many bytes it took, braces and all.
fn variable(text: &[u8]) -> (Option<&[u8]>, usize) {
    match text {
        [b'{', special, b'}', ..] if is_special(*special) => (Some(&text[1..2]), 3),
        [b'{', inside @ ..] => match inside.iter().position(|b| *b == b'}') {
            Some(0) => (None, 2),
            Some(end) => (Some(&inside[..end]), end + 2),
            None => (None, 1),
        },
        [special, ..] if is_special(*special) => (Some(&text[..1]), 1),
        _ => match text.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count() {
            0 => (None, 0),
            length => (Some(&text[..length]), length),
        },
    }
}

/// The shell's one-character parameters.
fn is_special(b: u8) -> bool {
    matches!(b, b'*' | b'#' | b'$' | b'@' | b'!' | b'?' | b'-' | b'0'..=b'9')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars() {
        let known = |name: &[u8]| match name {
            b"HOME" => b"/home/ann".to_vec(),
            b"1" => b"one".to_vec(),
            _ => Vec::new(),
        };
        for (text, expected) in [
            ("$HOME/x", "/home/ann/x"),
            ("${HOME}x", "/home/annx"),
            ("$HOMEx", ""),
            ("a$$b", "a$b"),
            ("a$", "a$"),
            ("a$/b", "a$/b"),
            ("a${}b", "ab"),
            ("a${HOME", "aHOME"),
            ("$12", "one2"),
            ("${1}2", "one2"),
            ("${$}x", "$x"),
            ("$$HOME", "$HOME"),
            ("$*.c", ".c"),
        ] {
            assert_eq!(expand(text.as_bytes(), known), expected.as_bytes(), "{text}");
        }
    }

    #[test]
    fn unset_is_told() {
        let file = read_pattern_file(b"ex", b"# c\n\n  $GONE/**  \r\n*.o", &|_| None);
        assert_eq!(file.unset, [(3, b"GONE".to_vec())]);
        let patterns: Vec<_> = file.patterns.iter().map(|(p, o)| (p.as_slice(), o.to_string())).collect();
        assert_eq!(patterns, [(&b"/**"[..], "ex:3".to_string()), (b"*.o", "ex:4".to_string())]);
    }
}
