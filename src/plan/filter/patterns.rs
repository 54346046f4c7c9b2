//! Exclude and include patterns as restic has them.
//!
//! A pattern is cut at slashes into globs (the language of one is in `component.rs`) and matches when
//! they match a run of the path's components: any run, or the first ones when the pattern
//! begins with a slash. So `foo` matches `/a/foo` and all below it, `foo/bar` matches
//! `/a/foo/bar`, `/a/*.c` matches `/a/x.c` only. `**` stands for any number of components. A
//! slash at the end means nothing, `.`, `..` and double slashes are tidied away, and of several
//! patterns the last that matches decides: one with `!` in front takes back.
//!
//! One oddity is kept because excludes must mean the same after moving house: with several
//! `**` in a pattern, each still to come needs one component to stand on. `/a/**/b/**` matches
//! what is below `/a/x/b`, yet not `/a/x/b` itself.
//!
//! Lists can be long (people generate them), so a pattern that has a plain component is filed
//! under it and only looked at when a path has that component.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;

use super::component::{Component, Fault};
use crate::error::{Error, ErrorKind};
use crate::plan::text::lower;

/// Where a pattern was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// On the command line or in a profile, under this flag: `--exclude`.
    Flag(&'static str),
    /// In a file of patterns.
    File {
        /// Its name as given.
        file: Arc<[u8]>,
        /// From 1.
        line: u32,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::File { file, line } => write!(f, "{}:{line}", String::from_utf8_lossy(file)),
        }
    }
}

/// Whether `A` is `a`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// No.
    Sensitive,
    /// Yes, by Unicode's simple lower case.
    Insensitive,
}

/// One pattern as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The pattern.
    pub pattern: Vec<u8>,
    /// Where it was given.
    pub origin: Origin,
    /// It begins with `!` and takes back what earlier ones matched.
    pub negated: bool,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.origin, String::from_utf8_lossy(&self.pattern))
    }
}

/// A pattern that is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin} {:?}: {fault}", String::from_utf8_lossy(.pattern))]
pub struct BadPattern {
    /// The pattern as given.
    pub pattern: Vec<u8>,
    /// Where it was given.
    pub origin: Origin,
    /// What is wrong, at which byte of the pattern.
    pub fault: Fault,
}

/// Every malformed pattern of a list: one round of mending should be enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPatterns(pub Vec<BadPattern>);

impl fmt::Display for BadPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, bad) in self.0.iter().enumerate() {
            write!(f, "{}{bad}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
impl std::error::Error for BadPatterns {}
impl From<BadPatterns> for Error {
    fn from(bad: BadPatterns) -> Self {
        let what = if bad.0.len() == 1 { "a pattern is malformed" } else { "several patterns are malformed" };
        Self::new(ErrorKind::Invalid, what)
            .because(bad)
            .hint("put a backslash before [, ], *, ? or \\ to mean just that")
    }
}

/// What patterns say about a path and what is below it; restore must know both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// The path is matched.
    pub selected: bool,
    /// Something below it may be.
    pub below: bool,
}

/// A compiled list.
#[derive(Debug, Clone)]
pub struct Patterns {
    case: Case,
    patterns: Vec<Pattern>,
    /// Patterns under their last plain component, by rising index.
    filed: HashMap<Vec<u8>, Vec<usize>>,
    /// Those without one, likewise.
    unfiled: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Pattern {
    rule: Rule,
    /// It begins with a slash.
    rooted: bool,
    parts: Vec<Part>,
    /// How many parts are `**`.
    deeps: usize,
}

#[derive(Debug, Clone)]
enum Part {
    One(Component),
    /// `**`.
    Deep,
}

impl Default for Patterns {
    fn default() -> Self {
        Self { case: Case::Sensitive, patterns: Vec::new(), filed: HashMap::new(), unfiled: Vec::new() }
    }
}

impl Patterns {
    /// Compile patterns in their order of precedence, last strongest; empty ones are skipped.
    pub fn compile(given: impl IntoIterator<Item = (Vec<u8>, Origin)>, case: Case) -> Result<Self, BadPatterns> {
        let mut out = Self { case, ..Self::default() };
        let mut bad = Vec::new();
        for (pattern, origin) in given.into_iter().filter(|(pattern, _)| !pattern.is_empty()) {
            // What was typed is what is judged and reported; only then is case folded.
            match Pattern::compile(&pattern).and_then(|as_given| match case {
                Case::Sensitive => Ok(as_given),
                Case::Insensitive => Pattern::compile(&lower(&pattern)),
            }) {
                Ok((rooted, parts)) => out.push(Rule { negated: pattern[0] == b'!', pattern, origin }, rooted, parts),
                Err(fault) => bad.push(BadPattern { pattern, origin, fault }),
            }
        }
        if bad.is_empty() { Ok(out) } else { Err(BadPatterns(bad)) }
    }

    fn push(&mut self, rule: Rule, rooted: bool, parts: Vec<Part>) {
        let index = self.patterns.len();
        let plain = parts.iter().rev().find_map(|part| match part {
            Part::One(component) => component.literal(),
            Part::Deep => None,
        });
        match plain {
            Some(name) => self.filed.entry(name.to_vec()).or_default().push(index),
            None => self.unfiled.push(index),
        }
        let deeps = parts.iter().filter(|part| matches!(part, Part::Deep)).count();
        self.patterns.push(Pattern { rule, rooted, parts, deeps });
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The last pattern that matches the path, which is the one that decides.
    pub fn last_match(&self, path: &[u8]) -> Option<&Rule> {
        if self.is_empty() {
            return None;
        }
        self.with_components(path, |path| self.last_match_of(path))
    }

    /// Whether the list matches the path: the last pattern that does is not negated.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.last_match(path).is_some_and(|rule| !rule.negated)
    }

    /// Whether the list matches the path, and whether it may match something below it, so that
    /// a directory without hope is not entered.
    ///
    /// "May" errs to yes: a pattern without a leading slash can always match deeper.
    pub fn reach(&self, path: &[u8]) -> Reach {
        self.with_components(path, |path| {
            let mut reach = Reach::default();
            for pattern in &self.patterns {
                let matched = pattern.matches(path);
                if pattern.rule.negated {
                    reach.selected &= !matched;
                    reach.below &= !matched;
                } else {
                    reach.selected |= matched;
                    reach.below |= pattern.may_match_below(path);
                }
            }
            reach
        })
    }

    fn last_match_of(&self, path: &Cut<'_>) -> Option<&Rule> {
        let mut best: Option<usize> = None;
        let newer = |list: &[usize], best: Option<usize>| {
            let fresh = list.iter().rev().take_while(|index| best.is_none_or(|best| **index > best));
            fresh.copied().find(|index| self.patterns[*index].matches(path)).or(best)
        };
        if !self.filed.is_empty() {
            for name in path.components {
                if let Some(list) = self.filed.get(*name) {
                    best = newer(list, best);
                }
            }
        }
        best = newer(&self.unfiled, best);
        best.map(|index| &self.patterns[index].rule)
    }

    fn with_components<T>(&self, path: &[u8], then: impl FnOnce(&Cut<'_>) -> T) -> T {
        match self.case {
            Case::Sensitive => cut(path, then),
            Case::Insensitive => cut(&lower(path), then),
        }
    }
}

/// A path in its components.
struct Cut<'p> {
    absolute: bool,
    components: &'p [&'p [u8]],
}

fn cut<T>(path: &[u8], then: impl FnOnce(&Cut<'_>) -> T) -> T {
    const FEW: usize = 24;
    let absolute = path.first() == Some(&b'/');
    let mut few: [&[u8]; FEW] = [&[]; FEW];
    let mut count = 0;
    for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        if count == FEW {
            let all: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|part| !part.is_empty()).collect();
            return then(&Cut { absolute, components: &all });
        }
        few[count] = part;
        count += 1;
    }
    then(&Cut { absolute, components: &few[..count] })
}

impl Pattern {
    /// Whether it is rooted, and its parts.
    fn compile(given: &[u8]) -> Result<(bool, Vec<Part>), Fault> {
        let skip = usize::from(given.first() == Some(&b'!'));
        let body = &given[skip..];
        let rooted = body.first() == Some(&b'/');
        let mut parts = Vec::new();
        for (at, piece) in tidy(body, rooted) {
            parts.push(match piece {
                b"**" => Part::Deep,
                _ => Part::One(Component::compile(piece).map_err(|fault| fault.offset(skip + at))?),
            });
        }
        match (parts.is_empty(), rooted) {
            // Just a slash is everything.
            (true, true) => parts.push(Part::Deep),
            // Nothing left, such as of `a/..`, is the name `.`, which no path has.
            (true, false) => parts.push(Part::One(Component::Literal(b".".to_vec()))),
            _ => {}
        }
        Ok((rooted, parts))
    }

    fn matches(&self, path: &Cut<'_>) -> bool {
        let count = path.components.len();
        match (self.rooted, self.deeps) {
            (true, _) if !path.absolute => false,
            (true, 0) => is_run(&self.parts, path.components),
            (false, 0) => count
                .checked_sub(self.parts.len())
                .is_some_and(|last| (0..=last).rev().any(|at| is_run(&self.parts, &path.components[at..]))),
            (true, _) => self.matches_deep(path, 0),
            // Nothing but `**` matches whatever there is, if there is room to stand.
            (false, deeps) if deeps == self.parts.len() => count > 0 && count + usize::from(path.absolute) + 1 >= deeps,
            (false, _) => (0..count).any(|at| self.matches_deep(path, at)),
        }
    }

    /// Whether the pattern with its `**` matches components from `start`.
    ///
    /// Runs between `**` go to their leftmost place: that leaves most room for the rest, and
    /// never hurts the rule that each `**` to come keeps one component to stand on.
    fn matches_deep(&self, path: &Cut<'_>, start: usize) -> bool {
        let names = &path.components[start..];
        let before = start + usize::from(path.absolute) - usize::from(self.rooted);
        let mut runs = self.parts.split(|part| matches!(part, Part::Deep));
        let first = runs.next().unwrap_or_default();
        if !is_run(first, names) {
            return false;
        }
        let mut at = first.len();
        let mut parts_left = self.parts.len() - first.len();
        for run in runs {
            // The run comes after one `**`, which must end early enough for all parts left.
            parts_left -= 1;
            let Some(last) = (before + names.len()).checked_sub(parts_left) else {
                return false;
            };
            let run_at = (at..=last.min(names.len())).find(|from| is_run(run, &names[*from..]));
            let Some(from) = run_at else { return false };
            at = from + run.len();
            parts_left -= run.len();
        }
        true
    }

    fn may_match_below(&self, path: &Cut<'_>) -> bool {
        if !self.rooted {
            return true;
        }
        let fixed = self.parts.iter().take_while(|part| matches!(part, Part::One(_)));
        path.absolute && fixed.zip(path.components).all(|(part, name)| part.matches(name))
    }
}

impl Part {
    fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::One(component) => component.matches(name),
            Self::Deep => true,
        }
    }
}

/// Whether the components begin with that run.
fn is_run(parts: &[Part], components: &[&[u8]]) -> bool {
    parts.len() <= components.len() && parts.iter().zip(components).rev().all(|(part, name)| part.matches(name))
}

/// The pieces between slashes with their offsets; `.` and empty ones are gone, `..` has taken
/// the piece before it along.
fn tidy(body: &[u8], rooted: bool) -> Vec<(usize, &[u8])> {
    let mut pieces: Vec<(usize, &[u8])> = Vec::new();
    let mut at = 0;
    for piece in body.split(|b| *b == b'/') {
        match piece {
            b"" | b"." => {}
            b".." => match pieces.last() {
                Some((_, last)) if *last != b".." => drop(pieces.pop()),
                _ if rooted => {}
                _ => pieces.push((at, piece)),
            },
            _ => pieces.push((at, piece)),
        }
        at += piece.len() + 1;
    }
    pieces
}
