//! The glob of one path component: `*`, `?`, `[a-z]`, `\`.
//!
//! `?` and a class take one character, which is one UTF-8 character or one byte that belongs
//! to none; everything else is bytes. A class is negated by `^` only (`[!a]` is the class of
//! `!` and `a`), and `-` or `]` inside one must be escaped. A malformed glob is refused when it
//! is compiled, with the offset of what is wrong.
//!
//! Matching takes the leftmost place for each stretch between stars and never goes back past a
//! star, so its time is bounded by name length times glob length.

use crate::error::{Error, ErrorKind};
use crate::plan::text::first_char;

/// A compiled glob.
#[derive(Debug, Clone)]
pub(crate) enum Component {
    /// Exactly these bytes.
    Literal(Vec<u8>),
    /// `*literal`; empty is `*`.
    Suffix(Vec<u8>),
    /// `literal*`.
    Prefix(Vec<u8>),
    /// Everything else.
    Stretches(Vec<Stretch>),
}

/// What stands between two stars.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    /// A star is in front of it.
    star: bool,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone)]
enum Token {
    Byte(u8),
    One,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// What is wrong with a glob, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Fault {
    /// Offset in the glob as it was given, from 0.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

impl Fault {
    pub(crate) fn offset(self, by: usize) -> Self {
        Self { at: self.at + by, ..self }
    }
    pub(crate) fn into_error(self, glob: &[u8]) -> Error {
        Error::new(ErrorKind::Invalid, format!("the glob {:?} is malformed", String::from_utf8_lossy(glob)))
            .because(self)
    }
}

impl Component {
    /// Compile one component; it has no slash.
    pub(crate) fn compile(glob: &[u8]) -> Result<Self, Fault> {
        let mut stretches = vec![Stretch { star: false, tokens: Vec::new() }];
        let mut at = 0;
        while at < glob.len() {
            if glob[at] == b'*' {
                stretches.push(Stretch { star: true, tokens: Vec::new() });
                at += glob[at..].iter().take_while(|b| **b == b'*').count();
                continue;
            }
            let (token, next) = token(glob, at)?;
            at = next;
            if let Some(last) = stretches.last_mut() {
                last.tokens.push(token);
            }
        }
        Ok(Self::simplest(stretches))
    }

    fn simplest(mut stretches: Vec<Stretch>) -> Self {
        let literals: Option<Vec<Vec<u8>>> = stretches.iter().map(Stretch::literal).collect();
        match literals.as_deref() {
            Some([only]) => return Self::Literal(only.clone()),
            Some([head, tail]) if head.is_empty() => return Self::Suffix(tail.clone()),
            Some([head, tail]) if tail.is_empty() => return Self::Prefix(head.clone()),
            _ => {}
        }
        if stretches[0].tokens.is_empty() {
            stretches.remove(0);
        }
        Self::Stretches(stretches)
    }

    /// The only name this can match, if there is only one.
    pub(crate) fn literal(&self) -> Option<&[u8]> {
        if let Self::Literal(bytes) = self { Some(bytes) } else { None }
    }

    /// Whether the whole name matches.
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Literal(bytes) => bytes == name,
            Self::Suffix(bytes) => name.ends_with(bytes),
            Self::Prefix(bytes) => name.starts_with(bytes),
            Self::Stretches(stretches) => matches_stretches(stretches, name),
        }
    }
}

fn matches_stretches(stretches: &[Stretch], mut name: &[u8]) -> bool {
    for (index, stretch) in stretches.iter().enumerate() {
        let last = index + 1 == stretches.len();
        if last && stretch.tokens.is_empty() {
            return stretch.star || name.is_empty();
        }
        // Where a star precedes it, a stretch may begin at any later byte too.
        let skip_max = if stretch.star { name.len() } else { 0 };
        let places = (0..=skip_max).filter_map(|skip| stretch.eat(&name[skip..]));
        match { places }.find(|rest| !last || rest.is_empty()) {
            Some(rest) => name = rest,
            None => return false,
        }
    }
    name.is_empty()
}

impl Stretch {
    fn literal(&self) -> Option<Vec<u8>> {
        self.tokens.iter().map(|token| if let Token::Byte(b) = token { Some(*b) } else { None }).collect()
    }

    /// The rest of the name after this stretch, if the name begins with it.
    fn eat<'n>(&self, mut name: &'n [u8]) -> Option<&'n [u8]> {
        for token in &self.tokens {
            let width = match token {
                Token::Byte(b) => (name.first() == Some(b)).then_some(1)?,
                Token::One => first_char(name)?.1,
                Token::Class { negated, ranges } => {
                    let (c, width) = first_char(name)?;
                    let inside = ranges.iter().any(|(low, high)| (low..=high).contains(&&c));
                    (inside != *negated).then_some(width)?
                }
            };
            name = &name[width..];
        }
        Some(name)
    }
}

/// The token at `at` and where the next begins.
fn token(glob: &[u8], at: usize) -> Result<(Token, usize), Fault> {
    match glob[at] {
        b'?' => Ok((Token::One, at + 1)),
        b'[' => class(glob, at),
        b'\\' => match glob.get(at + 1) {
            Some(b) => Ok((Token::Byte(*b), at + 2)),
            None => Err(Fault { at, what: "a backslash with nothing after it" }),
        },
        b => Ok((Token::Byte(b), at + 1)),
    }
}

fn class(glob: &[u8], open: usize) -> Result<(Token, usize), Fault> {
    let negated = glob.get(open + 1) == Some(&b'^');
    let mut at = open + 1 + usize::from(negated);
    let mut ranges = Vec::new();
    loop {
        if glob.get(at) == Some(&b']') && !ranges.is_empty() {
            return Ok((Token::Class { negated, ranges }, at + 1));
        }
        let (low, next) = class_char(glob, open, at)?;
        let (high, next) = match glob.get(next) {
            Some(b'-') => class_char(glob, open, next + 1)?,
            _ => (low, next),
        };
        ranges.push((low, high));
        at = next;
    }
}

/// One end of a range in a class. Some character must follow it, if only the closing bracket.
fn class_char(glob: &[u8], open: usize, at: usize) -> Result<(char, usize), Fault> {
    let unclosed = Fault { at: open, what: "a class that is not closed" };
    let (escaped, at) = match glob.get(at) {
        None => return Err(unclosed),
        Some(b'-') => {
            return Err(Fault { at, what: "a - in a class that begins or ends no range" });
        }
        Some(b']') => {
            return Err(Fault { at, what: "a ] in a class where a character is expected" });
        }
        Some(b'\\') => (true, at + 1),
        Some(_) => (false, at),
    };
    let Some((c, width)) = first_char(&glob[at..]) else {
        return Err(if escaped { Fault { at: at - 1, what: "a backslash with nothing after it" } } else { unclosed });
    };
    if c == char::REPLACEMENT_CHARACTER && width == 1 {
        return Err(Fault { at, what: "a byte in a class that is not UTF-8" });
    }
    if at + width >= glob.len() {
        return Err(unclosed);
    }
    Ok((c, at + width))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(glob: &str, name: &str) -> bool {
        Component::compile(glob.as_bytes()).unwrap().matches(name.as_bytes())
    }

    #[test]
    fn stars_and_classes() {
        for (glob, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*", "", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab", true),
            ("a*b*c*d*e*", "axbxcxdxexxx", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("[x\\-]", "z", false),
            ("*x", "xxx", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "abb", false),
        ] {
            assert_eq!(check(glob, name), expected, "{glob} on {name}");
        }
    }

    #[test]
    fn refusals_say_where() {
        for (glob, at) in [
            ("[]a]", 1),
            ("[-]", 1),
            ("[x-]", 3),
            ("[-x]", 1),
            ("a[", 1),
            ("[a-", 0),
            ("a\\", 1),
            ("[^]", 2),
            ("x[\\", 2),
            ("[a-b-c]", 4),
        ] {
            assert_eq!(Component::compile(glob.as_bytes()).unwrap_err().at, at, "{glob}");
        }
        assert!(Component::compile(b"[\xff]").is_err());
    }

    #[test]
    fn many_stars_stay_cheap() {
        let glob = "*a".repeat(100) + "*b";
        assert!(!check(&glob, &"a".repeat(4000)));
    }
}
