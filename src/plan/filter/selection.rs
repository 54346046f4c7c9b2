//! Everything that leaves a file out of one backup, in one decision that names its reason.
//!
//! The walk makes a [`Level`] for each directory it lists and asks [`Selection::decide`] about
//! each entry. Sources the user named are not asked about: naming a thing beats every rule
//! against it. What is dropped is not entered, so nothing below it can come back.
//!
//! The order is by cost: patterns need a name, ignore files a kind, sizes a `stat`, tag files a
//! look into the directory. [`Selection::decide_by_name`] is the part that can be asked before
//! the `stat`.

use std::fmt;
use std::sync::Arc;

use super::git_dir::WorkTree;
use super::ignore::{IgnoreRule, IgnoreSettings, IgnoreStack, Verdict, join, last_component};
use super::patterns::{Patterns, Reach, Rule};
use super::room::IGNORE_FILE_BYTES_MAX;
use crate::error::{Error, ErrorKind, Result};
use crate::event::ItemKind;

/// `--exclude-if-present NAME[:HEADER]`: a directory with that file in it keeps nothing but the
/// directory and the file, so that a restore shows what it was and why it is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The file's name.
    pub name: Vec<u8>,
    /// What the file must begin with; empty is anything, even a directory.
    pub header: Vec<u8>,
}

impl Tag {
    /// From `NAME` or `NAME:HEADER`; the first colon divides.
    pub fn parse(spec: &[u8]) -> Result<Self> {
        let colon = spec.iter().position(|b| *b == b':');
        let (name, header) = match colon {
            Some(at) => (&spec[..at], &spec[at + 1..]),
            None => (spec, &spec[..0]),
        };
        if name.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "--exclude-if-present has no file name")
                .hint("write NAME or NAME:HEADER, as in CACHEDIR.TAG:Signature"));
        }
        Ok(Self { name: name.to_vec(), header: header.to_vec() })
    }

    /// `--exclude-caches`: the Cache Directory Tagging Specification.
    pub fn caches() -> Self {
        Self { name: b"CACHEDIR.TAG".to_vec(), header: b"Signature: 8a477f597d28d172789f06886806bc55".to_vec() }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.name))
    }
}

/// What a backup leaves out.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// `--exclude`, then `--exclude-file`.
    pub exclude: Patterns,
    /// `--iexclude`, then `--iexclude-file`, compiled with [`super::Case::Insensitive`].
    pub iexclude: Patterns,
    /// `--exclude-if-present` and `--exclude-caches`.
    pub tags: Vec<Tag>,
    /// `--exclude-larger-than`.
    pub bytes_max: Option<u64>,
    /// `--git-ignore` and `--ignore-file`.
    pub ignore: IgnoreSettings,
}

/// Why something is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason<'s> {
    /// A pattern.
    Pattern(&'s Rule),
    /// A line of an ignore file.
    Ignore(&'s IgnoreRule),
    /// A tag file beside it.
    Tag(&'s Tag),
    /// Its size.
    Larger {
        /// What was allowed.
        bytes_max: u64,
    },
}

impl Reason<'_> {
    /// The stable name shown to programs.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Pattern(_) => "pattern",
            Self::Ignore(_) => "ignore-file",
            Self::Tag(_) => "tag-file",
            Self::Larger { .. } => "size",
        }
    }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(rule) => write!(f, "{rule}"),
            Self::Ignore(rule) => write!(f, "{rule}"),
            Self::Tag(tag) => write!(f, "{tag} is in the same directory"),
            Self::Larger { bytes_max } => write!(f, "it is larger than {bytes_max} bytes"),
        }
    }
}

/// What happens to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'s> {
    /// It is in.
    Keep,
    /// It is left out, and so is all below it.
    Drop {
        /// Why.
        rule: Reason<'s>,
    },
}

impl Decision<'_> {
    /// Whether it is in.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

/// What holds for the entries of one directory.
#[derive(Debug, Clone)]
pub struct Level {
    ignore: Arc<IgnoreStack>,
    /// Which of the selection's tags are here, by index.
    tags: Vec<usize>,
}

/// A file that was meant to say something and does not; worth a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Which file, with its directory.
    pub path: Vec<u8>,
    /// What is the matter.
    pub what: &'static str,
}

/// Gives up to so many first bytes of a file, by its path relative to the directory. On such a path
/// no symbolic link is followed; on an absolute one all are.
pub type ReadHead<'r> = dyn FnMut(&[u8], usize) -> Head + 'r;

/// How a file begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// So.
    Bytes(Vec<u8>),
    /// There is none.
    Absent,
    /// It cannot be read, or is a symbolic link or no file.
    Unreadable,
}

impl Selection {
    /// Where a walk starts. Enter the directories above a source by [`Self::enter_named`], from
    /// its work tree's top (or `/`) down, if their ignore files should count.
    pub fn start(&self) -> Level {
        Level { ignore: IgnoreStack::new(self.ignore.clone()), tags: Vec::new() }
    }

    /// Whether directories hold anything of interest: if not, the level above serves all below.
    pub fn looks_inside(&self) -> bool {
        !self.tags.is_empty() || !self.ignore.is_idle()
    }

    /// Step into a directory that holds `names`.
    pub fn enter<N: AsRef<[u8]>>(
        &self,
        above: &Level,
        dir: &[u8],
        names: &[N],
        read: &mut ReadHead<'_>,
    ) -> (Level, Vec<Doubt>) {
        self.step(above, dir, names, read, false)
    }

    /// Step into a directory the user named, or one above such, which no rule excludes.
    pub fn enter_named<N: AsRef<[u8]>>(
        &self,
        above: &Level,
        dir: &[u8],
        names: &[N],
        read: &mut ReadHead<'_>,
    ) -> (Level, Vec<Doubt>) {
        self.step(above, dir, names, read, true)
    }

    fn step<N: AsRef<[u8]>>(
        &self,
        above: &Level,
        dir: &[u8],
        names: &[N],
        read: &mut ReadHead<'_>,
        named: bool,
    ) -> (Level, Vec<Doubt>) {
        let mut doubts = Vec::new();
        if !self.looks_inside() {
            return (Level { ignore: above.ignore.clone(), tags: Vec::new() }, doubts);
        }
        let here = |name: &[u8]| names.iter().any(|n| n.as_ref() == name);
        let mut doubt = |name: &[u8], what| doubts.push(Doubt { path: join(dir, name), what });
        let mut tags = Vec::new();
        for (index, tag) in self.tags.iter().enumerate().filter(|(_, tag)| here(&tag.name)) {
            match tag.judge(read) {
                Ok(()) => tags.push(index),
                Err(what) => doubt(&tag.name, what),
            }
        }
        let files = ignore_files(&above.ignore, &here, read, &mut doubt);
        let work_tree = above.ignore.wants_work_trees().filter(|_| here(b".git")).and_then(|settings| {
            WorkTree::read(dir, settings, read, &mut |path, what| doubts.push(Doubt { path, what }))
        });
        let contents: Vec<(&[u8], &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        let enter = if named { IgnoreStack::enter_named } else { IgnoreStack::enter };
        (Level { ignore: enter(&above.ignore, dir, &contents, work_tree), tags }, doubts)
    }

    /// What patterns alone say; a `Keep` here is not the last word.
    pub fn decide_by_name(&self, path: &[u8]) -> Decision<'_> {
        for list in [&self.iexclude, &self.exclude] {
            if let Some(rule) = list.last_match(path).filter(|rule| !rule.negated) {
                return Decision::Drop { rule: Reason::Pattern(rule) };
            }
        }
        Decision::Keep
    }

    /// What happens to the entry `path` of the directory `level` stands for. `size` counts for
    /// what is no directory.
    pub fn decide<'s>(&'s self, level: &'s Level, path: &[u8], kind: ItemKind, size: u64) -> Decision<'s> {
        match self.decide_by_name(path) {
            Decision::Keep => self.decide_by_stat(level, path, kind, size),
            dropped => dropped,
        }
    }

    /// The rest of [`Self::decide`], after [`Self::decide_by_name`] said `Keep`.
    pub fn decide_by_stat<'s>(&'s self, level: &'s Level, path: &[u8], kind: ItemKind, size: u64) -> Decision<'s> {
        let is_dir = kind == ItemKind::Dir;
        if let Verdict::Excluded(rule) = level.ignore.verdict(path, is_dir) {
            return Decision::Drop { rule: Reason::Ignore(rule) };
        }
        if let Some(bytes_max) = self.bytes_max.filter(|max| !is_dir && size > *max) {
            return Decision::Drop { rule: Reason::Larger { bytes_max } };
        }
        let name = last_component(path);
        let mut tags = level.tags.iter().filter_map(|index| self.tags.get(*index));
        match tags.find(|tag| tag.name != name) {
            Some(tag) => Decision::Drop { rule: Reason::Tag(tag) },
            None => Decision::Keep,
        }
    }

    /// The rule that takes a path back, if nothing else is against it: one that begins with `!`.
    pub fn kept_by(&self, level: &Level, path: &[u8], kind: ItemKind) -> Option<String> {
        match level.ignore.verdict(path, kind == ItemKind::Dir) {
            Verdict::Kept(rule) => return Some(rule.to_string()),
            Verdict::Tracked(rule) => return Some(format!("git's index, against {rule}")),
            Verdict::Silent | Verdict::Excluded(_) => {}
        }
        let rule = [&self.exclude, &self.iexclude].into_iter().find_map(|list| list.last_match(path));
        rule.filter(|rule| rule.negated).map(Rule::to_string)
    }
}

/// What an ignore stack wants of a directory: the contents of what is there.
fn ignore_files<'s>(
    stack: &'s IgnoreStack,
    here: &dyn Fn(&[u8]) -> bool,
    read: &mut ReadHead<'_>,
    doubt: &mut dyn FnMut(&[u8], &'static str),
) -> Vec<(&'s [u8], Vec<u8>)> {
    let mut files: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for name in stack.wanted().filter(|name| here(name)) {
        match read(name, IGNORE_FILE_BYTES_MAX) {
            Head::Bytes(bytes) if stack.room().suits(&bytes) => files.push((name, bytes)),
            Head::Bytes(_) | Head::Absent | Head::Unreadable => {
                doubt(name, "it cannot be read or is too large for an ignore file, so its rules do not count");
            }
        }
    }
    files
}

impl Tag {
    /// Whether a file of the right name counts, or why not.
    fn judge(&self, read: &mut ReadHead<'_>) -> Result<(), &'static str> {
        if self.header.is_empty() {
            return Ok(());
        }
        match read(&self.name, self.header.len()) {
            Head::Bytes(bytes) if bytes.starts_with(&self.header) => Ok(()),
            Head::Absent | Head::Unreadable => Err("it could not be read as a tag file, so the directory is backed up"),
            Head::Bytes(_) => Err("it does not begin as that tag file must, so the directory is backed up"),
        }
    }
}

/// What a restore takes out of a snapshot. Includes and excludes together make no sense in one
/// restore, so there is no way to say it.
#[derive(Debug, Clone, Default)]
pub enum RestoreSelection {
    /// Everything.
    #[default]
    All,
    /// What these match: `--include` and `--iinclude`.
    Only(Patterns, Patterns),
    /// What these do not match: `--exclude` and `--iexclude`.
    Except(Patterns, Patterns),
}

impl RestoreSelection {
    /// Whether the path is wanted, and whether anything below it can be.
    ///
    /// With includes a directory may be unwanted and still lead to something; with excludes
    /// what is dropped is dropped with all below.
    pub fn reach(&self, path: &[u8], kind: ItemKind) -> Reach {
        let is_dir = kind == ItemKind::Dir;
        match self {
            Self::All => Reach { selected: true, below: is_dir },
            Self::Only(exact, folded) => {
                let (one, two) = (exact.reach(path), folded.reach(path));
                Reach { selected: one.selected || two.selected, below: is_dir && (one.below || two.below) }
            }
            Self::Except(exact, folded) => {
                let selected = !exact.matches(path) && !folded.matches(path);
                Reach { selected, below: selected && is_dir }
            }
        }
    }
}
