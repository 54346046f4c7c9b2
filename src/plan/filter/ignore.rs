//! Ignore files: `.gitignore` and any file of the same syntax, directory by directory.
//!
//! An [`IgnoreStack`] is what is in force in one directory. The walk makes one for its start and
//! [`enter`](IgnoreStack::enter)s each directory with what it found there; stacks share what
//! they have in common, so a directory without ignore files costs a pointer or two.
//!
//! What git does is done here: the deepest file that has anything to say about a path decides,
//! within a file the last line that matches; then `info/exclude` of the repository, then the
//! user's global file. Below an excluded directory everything is excluded and no rule can take
//! that back. None of this is about what is in the index: that stays, and so do the directories
//! on the way to it, empty but for it. Rules are compared with real git by `tests/filter.rs`.
//!
//! What git leaves open is decided so:
//!
//! - `.gitignore` counts inside a work tree only (a directory with `.git` in it and what is
//!   below), unless [`GitRules::Everywhere`] is asked for. Outside, such a file is somebody's
//!   download.
//! - A work tree inside another one starts afresh: the outer rules judge its directory, not its
//!   contents. A submodule is in the index, so it is kept whatever rules say; what is in one that
//!   was never filled is kept, too, and so is what is outside of a sparse checkout's cone where its
//!   index has directories only.
//! - Where git would give up, or would know more than is read here, nothing of the work tree is
//!   ignored, and a notice says why: an index that is damaged, split or of a newer kind, a
//!   configuration that is malformed or depends on `includeIf`, a `.git` file that leads nowhere. See
//!   [`WorkTree`]. A `.git` directory that is no repository is none, as to git.
//! - What is held of all that is found takes 64 MiB at most, beside the one index that is being read; an
//!   ignore file has 1 MiB. What is beyond that does not count, and a notice says so.
//! - `.git` itself and everything in it is never excluded by git's rules. They often say `*.log`
//!   or `config`, and a repository without those cannot be restored.
//! - Files named by `--ignore-file` count everywhere, `.git` included, and go before git's
//!   rules: a `!keep` there keeps what `.gitignore` ignores. Of several names in one directory
//!   the last named is strongest.
//! - A directory the user names as a source is not judged, and neither are those above it: see
//!   [`enter_named`](IgnoreStack::enter_named).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::git_dir::WorkTree;
use super::patterns::Case;
use super::room::{Held, Room};
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
    /// The user's home directory, which a repository may name as `~`.
    pub home: Option<Vec<u8>>,
    /// The user told git that `A` is `a`, unless a repository says otherwise.
    pub ignore_case: bool,
    /// Memory for what is found on the way.
    pub room: Room,
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
    /// It stays, or leads to something that does, as it is in git's index; but for that this rule
    /// would exclude it.
    Tracked(&'s IgnoreRule),
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
    /// The work tree, and the length of the path of its top, without a slash at the end.
    work_tree: Option<(usize, Arc<WorkTree>)>,
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
    case: Case,
    rules: Vec<Glob>,
    _held: Held,
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
        let settings = Arc::new(settings);
        Arc::new(Self { settings, zone: Zone::Open, git, named, excluded: None, work_tree: None })
    }

    /// The names [`enter`](Self::enter) wants the contents of.
    pub fn wanted(&self) -> impl Iterator<Item = &[u8]> {
        let git: &[&[u8]] = if self.settings.git == GitRules::Off { &[] } else { &[GITIGNORE] };
        git.iter().copied().chain(self.settings.names.iter().map(Vec::as_slice))
    }

    pub(super) fn room(&self) -> &Room {
        &self.settings.room
    }

    /// For [`WorkTree::read`], if a work tree can begin here.
    pub(super) fn wants_work_trees(&self) -> Option<&IgnoreSettings> {
        (self.settings.git != GitRules::Off && self.zone != Zone::Metadata).then_some(&self.settings)
    }

    /// Step into a directory. `contents` are the ignore files found there by name; other names are
    /// passed over. `work_tree` is what `.git` says, if there is one.
    ///
    /// An ignore file that is a symbolic link should be left out, as git does not follow those
    /// either.
    pub fn enter(self: &Arc<Self>, dir: &[u8], contents: &[(&[u8], &[u8])], work_tree: Option<WorkTree>) -> Arc<Self> {
        match self.verdict(dir, true) {
            Verdict::Excluded(rule) => {
                Arc::new(Self { excluded: Some(Arc::new(rule.clone())), work_tree: None, ..Self::clone(self) })
            }
            // Of what is in it only what is in the index, unless that means another repository.
            Verdict::Tracked(rule) if work_tree.is_none() => {
                let inside = self.enter_named(dir, contents, None);
                Arc::new(Self { excluded: Some(Arc::new(rule.clone())), ..Self::clone(&inside) })
            }
            _ => self.enter_named(dir, contents, work_tree),
        }
    }

    /// Step into a directory the user named as a source, or one above such: nothing excludes
    /// it, but its rules count for what is below.
    pub fn enter_named(
        self: &Arc<Self>,
        dir: &[u8],
        contents: &[(&[u8], &[u8])],
        work_tree: Option<WorkTree>,
    ) -> Arc<Self> {
        let zone = self.zone_of(dir, work_tree.is_some());
        let nothing_new = work_tree.is_none() && !contents.iter().any(|(name, _)| self.wanted().any(|w| w == *name));
        if nothing_new && zone == self.zone && self.excluded.is_none() {
            return self.clone();
        }
        let starts = work_tree.filter(|_| zone == Zone::WorkTree).map(|tree| (base_of(dir), Arc::new(tree)));
        let mut git = if starts.is_some() || zone == Zone::Metadata { Vec::new() } else { self.git.to_vec() };
        if let Some((_, tree)) = &starts {
            git.extend(tree.excludes.iter().map(|(file, bytes)| self.layer(dir, file, bytes, tree.case)));
        }
        let work_tree = if zone == Zone::WorkTree { starts.or_else(|| self.work_tree.clone()) } else { None };
        let layer = |name: &[u8], case| {
            let (_, bytes) = contents.iter().find(|(own, _)| *own == name)?;
            Some(self.layer(dir, &join(dir, name), bytes, case))
        };
        if self.settings.git.counts_in(zone) {
            git.extend(layer(GITIGNORE, work_tree.as_ref().map_or(Case::Sensitive, |(_, tree)| tree.case)));
        }
        let named: Vec<_> = self.settings.names.iter().filter_map(|name| layer(name, Case::Sensitive)).collect();
        let named =
            if named.is_empty() { self.named.clone() } else { self.named.iter().cloned().chain(named).collect() };
        Arc::new(Self { settings: self.settings.clone(), zone, git: git.into(), named, excluded: None, work_tree })
    }

    fn layer(&self, dir: &[u8], file: &[u8], contents: &[u8], case: Case) -> Arc<Layer> {
        Arc::new(Layer::read(dir, file, contents, case, self.settings.room.hold_rules(contents)))
    }

    fn zone_of(&self, dir: &[u8], has_git: bool) -> Zone {
        if self.settings.git == GitRules::Off {
            Zone::Open
        } else if self.zone == Zone::Metadata || last_component(dir) == DOT_GIT {
            Zone::Metadata
        } else if has_git {
            Zone::WorkTree
        } else {
            self.zone
        }
    }

    /// What the rules say about an entry of the directory entered last (or anything below it
    /// whose directories have no ignore files of their own).
    pub fn verdict(&self, path: &[u8], is_dir: bool) -> Verdict<'_> {
        let of_named = last_match(&self.named, path, is_dir);
        match (&self.excluded, of_named) {
            // A file the user named excludes whatever git tracks.
            (_, Some(rule)) if !rule.negated => Verdict::Excluded(rule),
            (Some(rule), _) => self.unless_tracked(path, is_dir, rule),
            (None, Some(rule)) => Verdict::Kept(rule),
            (None, None) if last_component(path) == DOT_GIT => Verdict::Silent,
            (None, None) => match last_match(&self.git, path, is_dir) {
                None => Verdict::Silent,
                Some(rule) if rule.negated => Verdict::Kept(rule),
                Some(rule) => self.unless_tracked(path, is_dir, rule),
            },
        }
    }

    fn unless_tracked<'s>(&'s self, path: &[u8], is_dir: bool, rule: &'s IgnoreRule) -> Verdict<'s> {
        let tracked = self.work_tree.as_ref().is_some_and(|(base, tree)| {
            let below = path.get(*base..).and_then(|rest| rest.strip_prefix(b"/"));
            below.is_some_and(|below| tree.tracked.has(below, is_dir))
        });
        if tracked { Verdict::Tracked(rule) } else { Verdict::Excluded(rule) }
    }
}

const DOT_GIT: &[u8] = b".git";
const GITIGNORE: &[u8] = b".gitignore";

/// The strongest rule about a path; layers come weakest first.
fn last_match<'l>(layers: &'l [Arc<Layer>], path: &[u8], is_dir: bool) -> Option<&'l IgnoreRule> {
    layers.iter().rev().find_map(|layer| layer.last_match(path, is_dir))
}

/// Length of the path of a directory, without a slash at the end.
fn base_of(dir: &[u8]) -> usize {
    dir.strip_suffix(b"/").unwrap_or(dir).len()
}

impl Layer {
    fn read(dir: &[u8], file: &[u8], contents: &[u8], case: Case, held: Held) -> Self {
        let file: Arc<[u8]> = file.into();
        let contents = contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents);
        let lines = contents.split(|b| *b == b'\n').zip(1..);
        let rules = lines.filter_map(|(line, number)| Glob::read(&file, number, line, case)).collect();
        Self { base: base_of(dir), case, rules, _held: held }
    }

    fn last_match(&self, path: &[u8], is_dir: bool) -> Option<&IgnoreRule> {
        let below = path.get(self.base..)?.strip_prefix(b"/")?;
        let below = match self.case {
            Case::Sensitive => Cow::Borrowed(below),
            Case::Insensitive => Cow::Owned(below.to_ascii_lowercase()),
        };
        let name = last_component(&below);
        let found = self.rules.iter().rev().find(|glob| (is_dir || !glob.dirs_only) && glob.test.matches(&below, name));
        found.map(|glob| &glob.rule)
    }
}

impl Glob {
    fn read(file: &Arc<[u8]>, number: u32, line: &[u8], case: Case) -> Option<Self> {
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
        Some(Self { rule, dirs_only, test: Test::compile(glob, case) })
    }
}

impl Test {
    /// Without regard to case it is for names in lower case.
    fn compile(glob: &[u8], case: Case) -> Self {
        let exact = |plain: &[u8]| match case {
            Case::Sensitive => plain.to_vec(),
            Case::Insensitive => plain.to_ascii_lowercase(),
        };
        let plain = glob.iter().position(|b| is_special(*b)).unwrap_or(glob.len());
        if !glob.contains(&b'/') {
            return match glob {
                _ if plain == glob.len() => Self::Name(exact(glob)),
                [b'*', end @ ..] if !end.iter().any(|b| is_special(*b)) => Self::NameEnd(exact(end)),
                _ => Wildmatch::compile(glob, false, case).map_or(Self::Never, Self::NameGlob),
            };
        }
        // The glob proper begins where the plain part ends, even within a component, and a `**`
        // is at the beginning of a glob there: `a**/b` is `a`, then `**/b`.
        let root = usize::from(glob[0] == b'/');
        let (head, tail) = glob.split_at(plain);
        Wildmatch::compile(tail, true, case)
            .map_or(Self::Never, |tail| Self::Path(exact(&head[root.min(head.len())..]), tail))
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
