//! What git's configuration says about ignoring: a few keys, in git's own syntax.
//!
//! `include.path` is followed. The conditions of `includeIf` are about branches and remotes, too, and are
//! not judged: where one brings something that counts here, that is said.

/// The settings that count, the last one said of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitConfig {
    /// `core.excludesFile`, with the home directory in place of `~`. Empty is a file that is not there.
    pub excludes_file: Option<Vec<u8>>,
    /// `core.ignoreCase`.
    pub ignore_case: Option<bool>,
    /// `extensions.objectFormat` is `sha256`.
    pub sha256: bool,
    /// What counts depends on a condition of `includeIf`.
    pub is_conditional: bool,
    /// `extensions.worktreeConfig`: there is a `config.worktree`, too.
    pub of_worktree: bool,
}

/// A file git itself would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Where configuration files come from.
pub struct ConfigFiles<'f> {
    /// The user's home directory, for `~/`.
    pub home: Option<&'f [u8]>,
    /// The contents of a file, if it is there.
    pub read: &'f mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
}

/// Files that include each other; git's own limit.
const INCLUDES_MAX: u32 = 10;
/// Files that one file brings with it, in all: ten levels of ten would be ten thousand million.
const FILES_MAX: u32 = 100;

impl GitConfig {
    /// Add what a file says. What it says before a fault counts.
    pub fn add(&mut self, file: &[u8], contents: &[u8], files: &mut ConfigFiles<'_>) -> Result<(), Malformed> {
        self.add_at(file, contents, files, INCLUDES_MAX, &mut { FILES_MAX })
    }

    fn add_at(
        &mut self,
        file: &[u8],
        contents: &[u8],
        files: &mut ConfigFiles<'_>,
        levels: u32,
        left: &mut u32,
    ) -> Result<(), Malformed> {
        let mut scanner = Scanner { rest: contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents) };
        let mut section = Vec::new();
        while let Some(said) = scanner.said(&mut section)? {
            match (said.key.as_slice(), said.value) {
                (b"core.excludesfile", Some(value)) => {
                    // What cannot be found out is a file that is not there, and not the default.
                    self.excludes_file = Some(expanded(&value, files.home).unwrap_or_default());
                }
                (b"core.ignorecase", value) => self.ignore_case = Some(is_true(value.as_deref())),
                (b"extensions.objectformat", value) => self.sha256 = value.as_deref() == Some(b"sha256"),
                (b"extensions.worktreeconfig", value) => self.of_worktree = is_true(value.as_deref()),
                (b"include.path", Some(value)) => self.include(file, &value, files, levels, left)?,
                (key, Some(value)) if key.starts_with(b"includeif.") && key.ends_with(b".path") => {
                    let mut if_so = self.clone();
                    if_so.include(file, &value, files, levels, left)?;
                    self.is_conditional |= if_so != *self;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn include(
        &mut self,
        file: &[u8],
        named: &[u8],
        files: &mut ConfigFiles<'_>,
        levels: u32,
        left: &mut u32,
    ) -> Result<(), Malformed> {
        if levels == 0 || *left == 0 {
            return Err(Malformed);
        }
        *left -= 1;
        let Some(path) = expanded(named, files.home) else { return Ok(()) };
        let path = beside(file, &path);
        match (files.read)(&path) {
            Some(included) => self.add_at(&path, &included, files, levels - 1, left),
            None => Ok(()),
        }
    }
}

/// `~/` is the home directory; `~name` and `%(prefix)` are for git itself to know.
fn expanded(path: &[u8], home: Option<&[u8]>) -> Option<Vec<u8>> {
    match path {
        [b'~'] => home.map(<[u8]>::to_vec),
        [b'~', b'/', rest @ ..] => home.map(|home| [home, b"/", rest].concat()),
        [b'~', ..] | [b'%', b'(', ..] => None,
        _ => Some(path.to_vec()),
    }
}

/// A path as it is meant in a file: relative to the directory that file is in.
fn beside(file: &[u8], path: &[u8]) -> Vec<u8> {
    match file.iter().rposition(|b| *b == b'/') {
        Some(slash) if !path.starts_with(b"/") => [&file[..=slash], path].concat(),
        _ => path.to_vec(),
    }
}

/// A key without a value is true.
fn is_true(value: Option<&[u8]>) -> bool {
    let Some(value) = value else { return true };
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
    [&b"true"[..], b"yes", b"on"].iter().any(|yes| value.eq_ignore_ascii_case(yes)) || number.is_some_and(|n| n != 0)
}

/// One setting, its key with the section and in lower case.
struct Said {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

struct Scanner<'c> {
    rest: &'c [u8],
}

impl Scanner<'_> {
    /// The next setting; `section` is what the last header said.
    fn said(&mut self, section: &mut Vec<u8>) -> Result<Option<Said>, Malformed> {
        loop {
            match self.next() {
                None => return Ok(None),
                Some(b'#' | b';') => self.skip_line(),
                Some(b'[') => *section = self.section()?,
                Some(byte) if byte.is_ascii_whitespace() => {}
                Some(byte) if byte.is_ascii_alphabetic() => {
                    let key = [section, &b"."[..], &self.key(byte)].concat();
                    return Ok(Some(Said { key, value: self.value()? }));
                }
                Some(_) => return Err(Malformed),
            }
        }
    }

    fn next(&mut self) -> Option<u8> {
        if let Some(rest) = self.rest.strip_prefix(b"\r\n") {
            self.rest = rest;
            return Some(b'\n');
        }
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip_line(&mut self) {
        while !matches!(self.next(), None | Some(b'\n')) {}
    }

    /// `[name]` or `[name "sub"]`, after the bracket.
    fn section(&mut self) -> Result<Vec<u8>, Malformed> {
        let mut name = Vec::new();
        loop {
            match self.next() {
                Some(b']') => return Ok(name),
                Some(b' ' | b'\t') => break,
                Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.') => {
                    name.push(byte.to_ascii_lowercase());
                }
                _ => return Err(Malformed),
            }
        }
        while self.rest.first().is_some_and(|b| matches!(b, b' ' | b'\t')) {
            self.next();
        }
        if self.next() != Some(b'"') {
            return Err(Malformed);
        }
        name.push(b'.');
        loop {
            match self.next() {
                None | Some(b'\n') => return Err(Malformed),
                Some(b'"') => break,
                Some(b'\\') => name.extend(self.next().filter(|b| *b != b'\n')),
                Some(byte) => name.push(byte),
            }
        }
        if self.next() == Some(b']') { Ok(name) } else { Err(Malformed) }
    }

    fn key(&mut self, first: u8) -> Vec<u8> {
        let mut key = vec![first.to_ascii_lowercase()];
        while let Some(byte) = self.rest.first().filter(|b| b.is_ascii_alphanumeric() || **b == b'-') {
            key.push(byte.to_ascii_lowercase());
            self.rest = &self.rest[1..];
        }
        key
    }

    fn value(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        loop {
            match self.next() {
                None | Some(b'\n') => return Ok(None),
                Some(b' ' | b'\t') => {}
                Some(b'=') => return self.text().map(Some),
                Some(_) => return Err(Malformed),
            }
        }
    }

    /// What stands after the `=`, without the space around it.
    fn text(&mut self) -> Result<Vec<u8>, Malformed> {
        let (mut text, mut length, mut quoted) = (Vec::new(), 0, false);
        loop {
            match self.next() {
                None | Some(b'\n') if quoted => return Err(Malformed),
                None | Some(b'\n') => break,
                Some(byte) if !quoted && byte.is_ascii_whitespace() => {
                    if !text.is_empty() {
                        text.push(byte);
                    }
                    continue;
                }
                Some(b'#' | b';') if !quoted => {
                    self.skip_line();
                    break;
                }
                Some(b'"') => quoted = !quoted,
                Some(b'\\') => text.extend(self.escaped()?),
                Some(byte) => text.push(byte),
            }
            length = text.len();
        }
        text.truncate(length);
        Ok(text)
    }

    /// What a backslash stands for with what comes after it; nothing at the end of a line.
    fn escaped(&mut self) -> Result<Option<u8>, Malformed> {
        Ok(match self.next().ok_or(Malformed)? {
            b'\n' => None,
            b't' => Some(b'\t'),
            b'b' => Some(0x08),
            b'n' => Some(b'\n'),
            byte @ (b'\\' | b'"') => Some(byte),
            _ => return Err(Malformed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(contents: &str) -> (GitConfig, Result<(), Malformed>) {
        let mut config = GitConfig::default();
        let mut read = |name: &[u8]| {
            let text: &[u8] = match name {
                b"/h/more" => b"[core] ignorecase\n[include] path = more\n",
                b"/h/x/once" => b"[core]\nexcludesfile = other\n",
                _ => return None,
            };
            Some(text.to_vec())
        };
        let done =
            config.add(b"/h/.gitconfig", contents.as_bytes(), &mut ConfigFiles { home: Some(b"/h"), read: &mut read });
        (config, done)
    }

    #[test]
    fn as_git_reads_it() {
        for (contents, expected) in [
            ("[core]\n\texcludesFile = ~/ig nore \t# told\n", Some("/h/ig nore")),
            ("[CORE] ExcludesFile=\"/a b;c\" ; x\r\n", Some("/a b;c")),
            ("[core]excludesfile = a\\\nb\\t\"#\\\"\"", Some("ab\t#\"")),
            ("# [core]\n[core \"sub\"]\nexcludesfile = x\n[core.sub]\nexcludesfile = x\n", None),
            ("[core]\nexcludesfile = a\n[core]\nexcludesfile =\n", Some("")),
            ("[core]\nexcludesfile = ~who/x\n", Some("")),
            ("[user]\nname = x\n[include]\npath = x/once\npath = nowhere", Some("other")),
            ("[includeIf \"gitdir:~/\"]\npath = x/once\n", None),
        ] {
            let (config, done) = of(contents);
            assert_eq!((config.excludes_file, done), (expected.map(|e| e.into()), Ok(())), "{contents}");
        }
        for (contents, expected) in
            [("ignorecase", true), ("ignorecase = Yes", true), ("ignorecase = 0", false), ("ignoreCase = no", false)]
        {
            assert_eq!(of(&format!("[core]\n{contents}")).0.ignore_case, Some(expected), "{contents}");
        }
    }

    #[test]
    fn what_git_refuses_is_refused() {
        for contents in ["[core", "[core]\nx y", "=", "[a \"b]", "[core]\nx = \"a\n\"", "[core]\nx = \\q", "[a\n]"] {
            assert_eq!(of(contents).1, Err(Malformed), "{contents}");
        }
        let conditional = |path: &str| of(&format!("[includeIf \"gitdir:~/\"]\npath = {path}\n")).0.is_conditional;
        assert!(conditional("x/once") && !conditional("nowhere"));
        let (config, done) = of("[include] path = more");
        assert_eq!((config.ignore_case, done), (Some(true), Err(Malformed)), "it includes itself");
    }
}
