//! Ignore files: `.gitignore` and any file of the same syntax, directory by directory.
//!
//! An [`IgnoreStack`] is what is in force in one directory. The walk makes one for its start and
//! [`enter`](IgnoreStack::enter)s each directory with what it found there; stacks share what
//! they have in common, so a directory without ignore files costs a pointer or two.
//!
//! What git does is done here: the deepest file that has anything to say about a path decides,
//! within a file the last line that matches; then `.git/info/exclude` of the work tree, then the
//! user's global file. Below an excluded directory everything is excluded and nothing can take
//! that back. Rules are compared with real git by `tests/filter.rs`.
//!
//! What git leaves open is decided so:
//!
//! - `.gitignore` counts inside a work tree only (a directory with `.git` in it and what is
//!   below), unless [`GitRules::Everywhere`] is asked for. Outside, such a file is somebody's
//!   download.
//! - A work tree inside another one starts afresh: the outer rules judge its directory, not its
//!   contents.
//! - `.git` itself and everything in it is never excluded by git's rules. They often say `*.log`
//!   or `config`, and a repository without those cannot be restored.
//! - Files named by `--ignore-file` count everywhere, `.git` included, and go before git's
//!   rules: a `!keep` there keeps what `.gitignore` ignores. Of several names in one directory
//!   the last named is strongest.
//! - A directory the user names as a source is not judged, and neither are those above it: see
//!   [`enter_named`](IgnoreStack::enter_named).

use std::fmt;
use std::sync::Arc;

use super::wildmatch::Wildmatch;

/// When `.gitignore` counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GitRules {
    /// Never.
    #[default]
    Off,
    /// In work trees.
    WorkTrees,
    /// In every directory, from the start of the walk down.
    Everywhere,
}

impl GitRules {
    fn counts_in(self, zone: Zone) -> bool {
        match self {
            Self::Off => false,
            Self::WorkTrees => zone == Zone::WorkTree,
            Self::Everywhere => zone != Zone::Metadata,
        }
    }
}

/// What a walk asked for.
#[derive(Debug, Clone, Default)]
pub struct IgnoreSettings {
    /// `--git-ignore`.
    pub git: GitRules,
    /// `--ignore-file`, strongest last.
    pub names: Vec<Vec<u8>>,
    /// The user's global git excludes: file name and contents.
    pub global: Option<(Vec<u8>, Vec<u8>)>,
}

impl IgnoreSettings {
    /// Whether no ignore file counts at all.
    pub fn is_idle(&self) -> bool {
        self.git == GitRules::Off && self.names.is_empty()
    }
}

/// One line of an ignore file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoreRule {
    /// The file, with its directory.
    pub file: Arc<[u8]>,
    /// From 1.
    pub line: u32,
    /// The line as it counts, without the space behind it.
    pub text: Vec<u8>,
    /// It begins with `!` and takes back what earlier ones excluded.
    pub negated: bool,
}

impl fmt::Display for IgnoreRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, text) = (String::from_utf8_lossy(&self.file), String::from_utf8_lossy(&self.text));
        write!(f, "{file}:{} {text:?}", self.line)
    }
}

/// What ignore files say about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'s> {
    /// Nothing.
    Silent,
    /// It stays, because of a rule with `!`.
    Kept(&'s IgnoreRule),
    /// It goes.
    Excluded(&'s IgnoreRule),
}

/// The rules in force in one directory.
#[derive(Debug, Clone)]
pub struct IgnoreStack {
    settings: Arc<IgnoreSettings>,
    zone: Zone,
    /// Weakest first.
    git: Arc<[Arc<Layer>]>,
    /// Likewise.
    named: Arc<[Arc<Layer>]>,
    /// The directory itself is excluded, by this rule.
    excluded: Option<Arc<IgnoreRule>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    /// No work tree here.
    Open,
    WorkTree,
    /// Inside `.git`.
    Metadata,
}

/// One ignore file.
#[derive(Debug)]
struct Layer {
    /// Length of the path of the directory it speaks for, without a slash at the end.
    base: usize,
    rules: Vec<Glob>,
}

#[derive(Debug)]
struct Glob {
    rule: IgnoreRule,
    dirs_only: bool,
    test: Test,
}

/// What a line is compared with.
#[derive(Debug)]
enum Test {
    /// The last component is this.
    Name(Vec<u8>),
    /// The last component ends with this.
    NameEnd(Vec<u8>),
    /// The last component matches.
    NameGlob(Wildmatch),
    /// The path from the file's directory on begins with this, and the rest matches.
    Path(Vec<u8>, Wildmatch),
    /// Nothing is ever like that.
    Never,
}

impl IgnoreStack {
    /// Where a walk starts, before any directory.
    pub fn new(settings: IgnoreSettings) -> Arc<Self> {
        let none: Arc<[Arc<Layer>]> = Arc::new([]);
        let (git, named) = (none.clone(), none);
        Arc::new(Self { settings: Arc::new(settings), zone: Zone::Open, git, named, excluded: None })
    }

    /// The names [`enter`](Self::enter) wants the contents of: ignore files proper, and
    /// `.git/info/exclude`. `.git` counts by being there.
    pub fn wanted(&self) -> impl Iterator<Item = &[u8]> {
        let git: &[&[u8]] = if self.settings.git == GitRules::Off { &[] } else { &[GITIGNORE, INFO_EXCLUDE] };
        git.iter().copied().chain(self.settings.names.iter().map(Vec::as_slice))
    }

    /// Step into a directory. `contents` are the ignore files found there by name, `.git` (with
    /// any contents) if there is one, and `.git/info/exclude`; other names are passed over.
    ///
    /// An ignore file that is a symbolic link should be left out, as git does not follow those
    /// either.
    pub fn enter(self: &Arc<Self>, dir: &[u8], contents: &[(&[u8], &[u8])]) -> Arc<Self> {
        if self.excluded.is_some() {
            return self.clone();
        }
        if let Verdict::Excluded(rule) = self.verdict(dir, true) {
            return Arc::new(Self { excluded: Some(Arc::new(rule.clone())), ..Self::clone(self) });
        }
        self.enter_named(dir, contents)
    }

    /// Step into a directory the user named as a source, or one above such: nothing excludes
    /// it, but its rules count for what is below.
    pub fn enter_named(self: &Arc<Self>, dir: &[u8], contents: &[(&[u8], &[u8])]) -> Arc<Self> {
        let zone = self.zone_of(dir, contents);
        if zone == self.zone && !contents.iter().any(|(name, _)| *name == DOT_GIT || self.wanted().any(|w| w == *name))
        {
            return self.clone();
        }
        let find = |wanted: &[u8]| contents.iter().find(|(name, _)| *name == wanted).map(|(_, bytes)| *bytes);
        let layer = |name: &[u8]| find(name).map(|bytes| Layer::read(dir, &join(dir, name), bytes));
        let named: Vec<_> = self.settings.names.iter().filter_map(|name| layer(name)).collect();
        let named =
            if named.is_empty() { self.named.clone() } else { self.named.iter().cloned().chain(named).collect() };
        let starts = zone == Zone::WorkTree && find(DOT_GIT).is_some();
        let mut git = if starts || zone == Zone::Metadata { Vec::new() } else { self.git.to_vec() };
        if starts {
            git.extend(self.settings.global.iter().map(|(file, bytes)| Layer::read(dir, file, bytes)));
            git.extend(layer(INFO_EXCLUDE));
        }
        if self.settings.git.counts_in(zone) {
            git.extend(layer(GITIGNORE));
        }
        Arc::new(Self { settings: self.settings.clone(), zone, git: git.into(), named, excluded: None })
    }

    fn zone_of(&self, dir: &[u8], contents: &[(&[u8], &[u8])]) -> Zone {
        if self.settings.git == GitRules::Off {
            Zone::Open
        } else if self.zone == Zone::Metadata || last_component(dir) == DOT_GIT {
            Zone::Metadata
        } else if contents.iter().any(|(name, _)| *name == DOT_GIT) {
            Zone::WorkTree
        } else {
            self.zone
        }
    }

    /// What the rules say about an entry of the directory entered last (or anything below it
    /// whose directories have no ignore files of their own).
    pub fn verdict(&self, path: &[u8], is_dir: bool) -> Verdict<'_> {
        if let Some(rule) = &self.excluded {
            return Verdict::Excluded(rule);
        }
        let name = last_component(path);
        let of_git = if name == DOT_GIT { &[] } else { &self.git[..] };
        let layers = self.named.iter().rev().chain(of_git.iter().rev());
        match { layers }.find_map(|layer| layer.last_match(path, name, is_dir)) {
            None => Verdict::Silent,
            Some(rule) if rule.negated => Verdict::Kept(rule),
            Some(rule) => Verdict::Excluded(rule),
        }
    }
}

const DOT_GIT: &[u8] = b".git";
const GITIGNORE: &[u8] = b".gitignore";
const INFO_EXCLUDE: &[u8] = b".git/info/exclude";

impl Layer {
    fn read(dir: &[u8], file: &[u8], contents: &[u8]) -> Arc<Self> {
        let file: Arc<[u8]> = file.into();
        let contents = contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents);
        let rules =
            contents.split(|b| *b == b'\n').zip(1..).filter_map(|(line, number)| Glob::read(&file, number, line));
        Arc::new(Self { base: dir.strip_suffix(b"/").unwrap_or(dir).len(), rules: rules.collect() })
    }

    fn last_match(&self, path: &[u8], name: &[u8], is_dir: bool) -> Option<&IgnoreRule> {
        let below = path.get(self.base..)?.strip_prefix(b"/")?;
        let found = self.rules.iter().rev().find(|glob| (is_dir || !glob.dirs_only) && glob.test.matches(below, name));
        found.map(|glob| &glob.rule)
    }
}

impl Glob {
    fn read(file: &Arc<[u8]>, number: u32, line: &[u8]) -> Option<Self> {
        if line.first() == Some(&b'#') {
            return None;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // To git a line ends at a NUL.
        let line = line.split(|b| *b == 0).next().unwrap_or_default();
        let line = without_spaces_behind(line);
        let (negated, body) = match line.strip_prefix(b"!") {
            Some(body) => (true, body),
            None => (false, line),
        };
        let (dirs_only, glob) = match body.strip_suffix(b"/") {
            Some(glob) => (true, glob),
            None => (false, body),
        };
        if glob.is_empty() {
            return None;
        }
        let rule = IgnoreRule { file: file.clone(), line: number, text: line.to_vec(), negated };
        Some(Self { rule, dirs_only, test: Test::compile(glob) })
    }
}

impl Test {
    fn compile(glob: &[u8]) -> Self {
        let plain = glob.iter().position(|b| is_special(*b)).unwrap_or(glob.len());
        if !glob.contains(&b'/') {
            return match glob {
                _ if plain == glob.len() => Self::Name(glob.to_vec()),
                [b'*', end @ ..] if !end.iter().any(|b| is_special(*b)) => Self::NameEnd(end.to_vec()),
                _ => Wildmatch::compile(glob, false).map_or(Self::Never, Self::NameGlob),
            };
        }
        // The glob proper begins where the plain part ends, even within a component, and a `**`
        // is at the beginning of a glob there: `a**/b` is `a`, then `**/b`.
        let root = usize::from(glob[0] == b'/');
        let (head, tail) = glob.split_at(plain);
        Wildmatch::compile(tail, true)
            .map_or(Self::Never, |tail| Self::Path(head[root.min(head.len())..].to_vec(), tail))
    }

    fn matches(&self, below: &[u8], name: &[u8]) -> bool {
        match self {
            Self::Name(exact) => exact == name,
            Self::NameEnd(end) => name.ends_with(end),
            Self::NameGlob(glob) => glob.matches(name),
            Self::Path(head, tail) => below.strip_prefix(head.as_slice()).is_some_and(|rest| tail.matches(rest)),
            Self::Never => false,
        }
    }
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b'\\')
}

/// Spaces at the end do not count, unless the first of them is escaped. Tabs do.
fn without_spaces_behind(line: &[u8]) -> &[u8] {
    let mut end = 0;
    let mut at = 0;
    while at < line.len() {
        let width = if line[at] == b'\\' { 2 } else { 1 };
        if line[at] != b' ' {
            end = at + width;
        }
        at += width;
    }
    &line[..end.min(line.len())]
}

pub(super) fn last_component(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

/// The path of an entry, as all rules here expect it: one slash between the two.
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let dir = dir.strip_suffix(b"/").unwrap_or(dir);
    [dir, b"/", name].concat()
}
