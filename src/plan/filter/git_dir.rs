//! What the repository of a work tree says about it: `.git`, wherever that is.
//!
//! `.git` is a directory, or a file that names one: for a submodule its own, for a linked work tree
//! (`git worktree add`) one that shares all but the index with another, which `commondir` names.

use super::git_config::{ConfigFiles, GitConfig};
use super::git_index::{IndexFault, TrackedPaths};
use super::ignore::{IgnoreSettings, join};
use super::patterns::Case;
use super::room::{Held, IGNORE_FILE_BYTES_MAX};
use super::selection::{Head, ReadHead};

/// What counts in one work tree besides its ignore files.
#[derive(Debug)]
pub struct WorkTree {
    /// Files of rules, weakest first: name and contents.
    pub excludes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether rules and index see a difference between `A` and `a`.
    pub case: Case,
    /// What no rule says anything about.
    pub tracked: Tracked,
}

/// What is in the index of a work tree.
#[derive(Debug)]
pub enum Tracked {
    /// These paths, relative to its top.
    Paths(TrackedPaths, Held),
    /// Nobody knows, so anything.
    Anything,
    /// There is no index yet.
    Nothing,
}

impl Tracked {
    /// Whether git tracks the path, or anything below it if it is a directory.
    pub fn has(&self, path: &[u8], is_dir: bool) -> bool {
        match self {
            Self::Paths(paths, _) => paths.tracks(path, is_dir),
            Self::Anything => true,
            Self::Nothing => false,
        }
    }
}

/// `gitdir: PATH` and `commondir` are one path each.
const LINK_BYTES_MAX: usize = 64 << 10;
const CONFIG_BYTES_MAX: usize = 8 << 20;
/// About half a million files.
const INDEX_BYTES_MAX: usize = 64 << 20;

const CONDITIONS: &str = "git's configuration depends on includeIf, so nothing of this work tree is ignored";
const TOO_MUCH: &str = "git's index is too large beside those above it, so nothing of this work tree is ignored";
const NO_LINK: &str = "it does not name a repository, so nothing of this work tree is ignored";
const BAD_CONFIG: &str = "git's configuration cannot be understood, so nothing of this work tree is ignored";
const BAD_INDEX: &str = "git's index cannot be read or is damaged, so nothing of this work tree is ignored";
const NEW_INDEX: &str = "git's index is split, too large or of a newer kind, so nothing of this work tree is ignored";
const NO_EXCLUDES: &str = "it cannot be read or is too large for an ignore file, so its rules do not count";

/// Tells of a file what is the matter with it.
type Tell<'t> = dyn FnMut(Vec<u8>, &'static str) + 't;

impl WorkTree {
    /// Of a directory with `.git` in it; nothing if git would look for another above.
    pub(super) fn read(
        dir: &[u8],
        settings: &IgnoreSettings,
        read: &mut ReadHead<'_>,
        tell: &mut Tell<'_>,
    ) -> Option<Self> {
        let mut reading = Reading { dir, settings, read, tell };
        let places = match reading.places() {
            Ok(places) => places,
            Err(Nowhere::NoRepository) => return None,
            Err(Nowhere::NoLink) => {
                reading.tell(b".git", NO_LINK);
                return Some(Self::without_rules());
            }
        };
        Some(reading.tree(&places).unwrap_or_else(Self::without_rules))
    }

    fn without_rules() -> Self {
        Self { excludes: Vec::new(), case: Case::Sensitive, tracked: Tracked::Anything }
    }
}

/// A work tree without a repository behind it.
impl Default for WorkTree {
    fn default() -> Self {
        Self { tracked: Tracked::Nothing, ..Self::without_rules() }
    }
}

/// Where a work tree's repository is, from its top.
struct Places {
    /// Its index.
    own: Vec<u8>,
    /// What it shares.
    common: Vec<u8>,
}

/// Why `.git` names no repository.
enum Nowhere {
    /// It is none, and to git it is not there.
    NoRepository,
    /// It says where one is, and there is none, or nobody can tell.
    NoLink,
}

struct Reading<'a, 'r, 't> {
    dir: &'a [u8],
    settings: &'a IgnoreSettings,
    read: &'a mut ReadHead<'r>,
    tell: &'a mut Tell<'t>,
}

impl Reading<'_, '_, '_> {
    fn tell(&mut self, file: &[u8], what: &'static str) {
        (self.tell)(below(self.dir, file), what);
    }

    fn tree(&mut self, places: &Places) -> Option<WorkTree> {
        let config = self.config(places)?;
        let ignores = config.ignore_case.unwrap_or(self.settings.ignore_case);
        let case = if ignores { Case::Insensitive } else { Case::Sensitive };
        let tracked = self.tracked(&join(&places.own, b"index"), config.sha256, case);
        let excludes = self.excludes(places, config.excludes_file);
        Some(WorkTree { excludes, case, tracked })
    }

    fn places(&mut self) -> Result<Places, Nowhere> {
        let (own, no_head) = match (self.read)(b".git", LINK_BYTES_MAX) {
            // A copy of a work tree may have left its repository behind, and its index with it.
            Head::Bytes(link) => {
                let link = link.strip_prefix(b"gitdir: ").ok_or(Nowhere::NoLink)?;
                (below(self.dir, without_line_ends(link)), Nowhere::NoLink)
            }
            // Through a symbolic link, too, as git goes.
            _ if matches!((self.read)(b".git/HEAD", 0), Head::Unreadable) => {
                (join(self.dir, b".git"), Nowhere::NoRepository)
            }
            _ => (b".git".to_vec(), Nowhere::NoRepository),
        };
        if (self.read)(&join(&own, b"HEAD"), 0) == Head::Absent {
            return Err(no_head);
        }
        let common = match (self.read)(&join(&own, b"commondir"), LINK_BYTES_MAX) {
            Head::Bytes(common) => below(&own, without_line_ends(&common)),
            Head::Absent => own.clone(),
            Head::Unreadable => return Err(Nowhere::NoLink),
        };
        let lacks = |name| (self.read)(&join(&common, name), 0) == Head::Absent;
        if [&b"objects"[..], b"refs"].into_iter().any(lacks) {
            return Err(no_head);
        }
        Ok(Places { own, common })
    }

    /// Nothing, if git itself would refuse it.
    fn config(&mut self, places: &Places) -> Option<GitConfig> {
        let mut config = GitConfig::default();
        self.add_config(&mut config, join(&places.common, b"config"))?;
        if config.of_worktree {
            self.add_config(&mut config, join(&places.own, b"config.worktree"))?;
        }
        if config.is_conditional {
            self.tell(&join(&places.common, b"config"), CONDITIONS);
            return None;
        }
        Some(config)
    }

    fn add_config(&mut self, config: &mut GitConfig, file: Vec<u8>) -> Option<()> {
        let contents = match (self.read)(&file, CONFIG_BYTES_MAX) {
            Head::Bytes(bytes) => Some(bytes),
            Head::Absent => return Some(()),
            Head::Unreadable => None,
        };
        let read = &mut *self.read;
        let mut included = |name: &[u8]| match read(name, CONFIG_BYTES_MAX) {
            Head::Bytes(bytes) => Some(bytes),
            Head::Absent | Head::Unreadable => None,
        };
        let mut files = ConfigFiles { home: self.settings.home.as_deref(), read: &mut included };
        let added = contents.and_then(|contents| config.add(&file, &contents, &mut files).ok());
        if added.is_none() {
            self.tell(&file, BAD_CONFIG);
        }
        added
    }

    fn tracked(&mut self, file: &[u8], sha256: bool, case: Case) -> Tracked {
        // One at a time: before it is a list of paths an index takes twice as much.
        let _turn = self.settings.room.turn();
        let index = match (self.read)(file, INDEX_BYTES_MAX) {
            Head::Absent => return Tracked::Nothing,
            Head::Unreadable => Err(IndexFault::Damaged),
            Head::Bytes(bytes) if bytes.len() >= INDEX_BYTES_MAX => Err(IndexFault::Unknown),
            Head::Bytes(bytes) => TrackedPaths::parse(&bytes, sha256, case),
        };
        match index {
            Ok(paths) => match self.settings.room.take(paths.memory_bytes()) {
                Some(held) => return Tracked::Paths(paths, held),
                None => self.tell(file, TOO_MUCH),
            },
            Err(IndexFault::Damaged) => self.tell(file, BAD_INDEX),
            Err(IndexFault::Unknown) => self.tell(file, NEW_INDEX),
        }
        Tracked::Anything
    }

    /// The repository's word on the user's file goes before the user's.
    fn excludes(&mut self, places: &Places, chosen: Option<Vec<u8>>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut out = Vec::new();
        match chosen {
            Some(file) if file.is_empty() => {}
            Some(file) => out.extend(self.rules(below(self.dir, &file))),
            None => out.extend(self.settings.global.clone()),
        }
        out.extend(self.rules(join(&places.common, b"info/exclude")));
        out
    }

    fn rules(&mut self, file: Vec<u8>) -> Option<(Vec<u8>, Vec<u8>)> {
        match (self.read)(&file, IGNORE_FILE_BYTES_MAX) {
            Head::Bytes(bytes) if self.settings.room.suits(&bytes) => Some((below(self.dir, &file), bytes)),
            Head::Absent => None,
            Head::Bytes(_) | Head::Unreadable => {
                self.tell(&file, NO_EXCLUDES);
                None
            }
        }
    }
}

/// A path as it is meant in a directory.
fn below(dir: &[u8], path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") { path.to_vec() } else { join(dir, path) }
}

fn without_line_ends(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |last| last + 1);
    &path[..end]
}
