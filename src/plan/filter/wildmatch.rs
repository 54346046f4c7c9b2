//! The glob language of git's ignore files, over bytes.
//!
//! `?`, `*` and classes take one byte each time and never a slash, where slashes count at all;
//! `**` between slashes (or at an end) takes any number of directories, elsewhere it is `*`. A
//! class is negated by `!` or `^`, knows ranges and `[:alpha:]` and its kin, and `]` first in
//! it is itself. A malformed class or a backslash at the end makes a pattern that never
//! matches: git says nothing about those, and so one bad line must not fail a backup.
//!
//! Without regard to case names are to be given in lower case. What is escaped or stands in a class by
//! itself is then not folded, but ranges and `[:upper:]` are: so git has it.
//!
//! Between two stars everything has a fixed length, so the leftmost place is as good as any,
//! and matching keeps one place to return to for `*` and one for `**`.

use super::patterns::Case;

/// A compiled glob.
#[derive(Debug, Clone)]
pub(super) struct Wildmatch(Vec<Token>);

#[derive(Debug, Clone)]
enum Token {
    Byte(u8),
    /// `?` and classes.
    Set(Box<Set>),
    /// Any bytes but a slash.
    Star,
    /// Any bytes.
    Deep,
    /// `**/`: nothing, or any bytes and a slash.
    Dirs,
}

/// A set of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set([u128; 2]);

impl Set {
    const EMPTY: Self = Self([0; 2]);

    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 7)] |= 1 << (byte & 0x7f);
    }
    fn add_range(&mut self, bytes: impl Iterator<Item = u8>, case: Case) {
        for byte in bytes {
            self.add(byte);
            if case == Case::Insensitive {
                self.add(byte.to_ascii_lowercase());
            }
        }
    }
    fn remove(&mut self, byte: u8) {
        self.0[usize::from(byte >> 7)] &= !(1 << (byte & 0x7f));
    }
    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 7)] >> (byte & 0x7f) & 1 == 1
    }
    fn inverted(self) -> Self {
        Self([!self.0[0], !self.0[1]])
    }
}

impl Wildmatch {
    /// Compile; `None` is a glob that never matches. With `slashes` off the names have none, as
    /// for patterns that only look at the last component.
    pub(super) fn compile(glob: &[u8], slashes: bool, case: Case) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut at = 0;
        while at < glob.len() {
            match glob[at] {
                b'*' => {
                    let (token, next) = star(glob, at, slashes);
                    tokens.push(token);
                    at = next;
                }
                b'?' => {
                    tokens.push(set(Set::EMPTY.inverted(), slashes));
                    at += 1;
                }
                b'[' => {
                    let (bytes, next) = class(glob, at + 1, case)?;
                    tokens.push(set(bytes, slashes));
                    at = next;
                }
                b'\\' => {
                    tokens.push(Token::Byte(*glob.get(at + 1)?));
                    at += 2;
                }
                byte => {
                    tokens.push(Token::Byte(if case == Case::Insensitive { byte.to_ascii_lowercase() } else { byte }));
                    at += 1;
                }
            }
        }
        Some(Self(tokens))
    }

    /// Whether all of the name matches.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let (mut token, mut at) = (0, 0);
        // Where to go on when something does not fit: the token after the star, and how far the
        // star reaches already.
        let mut star: Option<(usize, usize)> = None;
        let mut deep: Option<(usize, usize)> = None;
        loop {
            let fits = match self.0.get(token) {
                None if at == name.len() => return true,
                Some(Token::Star) => {
                    token += 1;
                    star = Some((token, at));
                    continue;
                }
                Some(Token::Deep | Token::Dirs) => {
                    token += 1;
                    (star, deep) = (None, Some((token, at)));
                    continue;
                }
                Some(Token::Byte(byte)) => name.get(at) == Some(byte),
                Some(Token::Set(set)) => name.get(at).is_some_and(|byte| set.has(*byte)),
                None => false,
            };
            if fits {
                (token, at) = (token + 1, at + 1);
                continue;
            }
            if let Some((after, from)) = star.filter(|(_, from)| name.get(*from).is_some_and(|b| *b != b'/')) {
                (token, at, star) = (after, from + 1, Some((after, from + 1)));
                continue;
            }
            let Some((after, from)) = deep else {
                return false;
            };
            let Some(next) = self.deeper(after, &name[from..]) else {
                return false;
            };
            (token, at, star, deep) = (after, from + next, None, Some((after, from + next)));
        }
    }

    /// How much more a `**` takes next.
    fn deeper(&self, after: usize, rest: &[u8]) -> Option<usize> {
        match self.0[after - 1] {
            Token::Dirs => rest.iter().position(|b| *b == b'/').map(|slash| slash + 1),
            _ => (!rest.is_empty()).then_some(1),
        }
    }
}

/// What begins with a star at `at`, and where the next token does.
fn star(glob: &[u8], at: usize, slashes: bool) -> (Token, usize) {
    let count = glob[at..].iter().take_while(|b| **b == b'*').count();
    let next = at + count;
    let opens = at == 0 || glob[at - 1] == b'/';
    match &glob[next..] {
        _ if !slashes || count == 1 || !opens => (Token::Star, next),
        [] | [b'\\', b'/', ..] => (Token::Deep, next),
        [b'/', ..] => (Token::Dirs, next + 1),
        _ => (Token::Star, next),
    }
}

fn set(mut bytes: Set, slashes: bool) -> Token {
    if slashes {
        bytes.remove(b'/');
    }
    Token::Set(Box::new(bytes))
}

/// The class whose opening bracket is before `at`, and what comes after its closing one.
fn class(glob: &[u8], mut at: usize, case: Case) -> Option<(Set, usize)> {
    let negated = matches!(glob.get(at), Some(b'!' | b'^'));
    at += usize::from(negated);
    let mut bytes = Set::EMPTY;
    // The byte a following `-` makes a range from.
    let mut before: Option<u8> = None;
    let mut first = true;
    loop {
        match glob.get(at..)? {
            [] => return None,
            [b']', ..] if !first => {
                return Some((if negated { bytes.inverted() } else { bytes }, at + 1));
            }
            [b'\\', rest @ ..] => {
                before = Some(*rest.first()?);
                bytes.add(*rest.first()?);
                at += 2;
            }
            [b'-', end, rest @ ..] if before.is_some() && *end != b']' => {
                let high = if *end == b'\\' { *rest.first()? } else { *end };
                bytes.add_range(before.unwrap_or(0)..=high, case);
                before = None;
                at += if *end == b'\\' { 3 } else { 2 };
            }
            [b'[', b':', rest @ ..] if closes_name(rest)? => {
                let length = rest.iter().position(|b| *b == b']')?.checked_sub(1)?;
                let member = named(&rest[..length])?;
                bytes.add_range((0..=0x7f).filter(member), case);
                before = None;
                at += length + 4;
            }
            [byte, ..] => {
                bytes.add(*byte);
                before = Some(*byte);
                at += 1;
            }
        }
        first = false;
    }
}

/// Whether the first bracket to come has a colon before it: else `[:` is a bracket and a colon.
/// None at all makes the whole class malformed.
fn closes_name(rest: &[u8]) -> Option<bool> {
    let close = rest.iter().position(|b| *b == b']')?;
    Some(rest[..close].ends_with(b":"))
}

fn named(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |b| matches!(b, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |b| matches!(b, 0x20..=0x7e),
        b"punct" => u8::is_ascii_punctuation,
        // Git's own idea: no vertical tab, no form feed.
        b"space" => |b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_git_documents_it() {
        for (glob, name, expected) in [
            ("foo", "foo", true),
            ("f*o", "foo", true),
            ("*", "foo/bar", false),
            ("**", "foo/bar", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "ab", false),
            ("**/b", "b", true),
            ("**/b", "a/b", true),
            ("**/b", "ab", false),
            ("a/**", "a/x/y", true),
            ("a/**", "a", false),
            ("a**b", "a/b", false),
            ("a**b", "axxb", true),
            ("*/*/*b*", "a/xx/cbc", true),
            ("**/*a*b", "x/a/yab", true),
            ("[!a]", "b", true),
            ("[^a]", "a", false),
            ("[]]", "]", true),
            ("[]-a]", "^", true),
            ("[a-]", "-", true),
            ("[[:digit:]-x]", "-", true),
            ("[[:alpha:]_]", "_", true),
            ("[[:nonsense:]]", "a", false),
            ("[[:", ":", false),
            ("[[:a]", ":", true),
            ("[[:alpha:x:]]", "a", false),
            ("a\\", "a", false),
            ("a\\*", "a*", true),
            ("?", "/", false),
            ("[/]", "/", false),
            ("??", "é", true),
        ] {
            let compiled = Wildmatch::compile(glob.as_bytes(), true, Case::Sensitive);
            assert_eq!(compiled.is_some_and(|w| w.matches(name.as_bytes())), expected, "{glob} on {name}");
        }
    }

    #[test]
    fn many_stars_stay_cheap() {
        let glob = "**/".to_string() + &"*a".repeat(100) + "*b";
        let name = "a/".repeat(300) + &"a".repeat(3000);
        assert!(!Wildmatch::compile(glob.as_bytes(), true, Case::Sensitive).unwrap().matches(name.as_bytes()));
    }
}
