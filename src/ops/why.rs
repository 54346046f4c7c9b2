//! Why a path is in a backup, or is not: the same decisions that the walk makes, for one path, on the
//! way from its source down to it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::backup::{enter_named, read_head};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::event::ItemKind;
use crate::plan::filter::{Decision, Doubt, Level, Reason, Selection, join};
use crate::source::{Dir, Kind, Stat};

/// What a backup would do with a path.
#[derive(Debug)]
pub struct Answer {
    /// The path, absolute.
    pub path: Vec<u8>,
    /// What decides.
    pub because: Because,
    /// Files on the way that were meant to say something and do not.
    pub doubts: Vec<Doubt>,
}

/// What decides about a path.
#[derive(Debug, PartialEq, Eq)]
pub enum Because {
    /// Nothing is against it, or this rule takes it back.
    Kept {
        /// The rule, with the file and line it stands in.
        rule: Option<String>,
    },
    /// Nothing is against it, and it is not there.
    NotThere,
    /// A rule.
    Rule {
        /// What kind of rule: `pattern`, `ignore-file`, `tag-file`, `size`.
        slug: &'static str,
        /// The rule, with the file and line it stands in.
        rule: String,
        /// What the rule is about: the path or a directory above it.
        at: Vec<u8>,
    },
    /// It, or a directory above it, is on another file system than the source.
    OtherFilesystem {
        /// Which.
        at: Vec<u8>,
    },
    /// A directory above it cannot be read.
    Unreadable {
        /// Which.
        at: Vec<u8>,
        /// Why.
        why: String,
    },
    /// It is in none of the sources.
    Outside,
}

impl Because {
    /// Whether a backup keeps the path, if it is there.
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Kept { .. } | Self::NotThere)
    }
}

/// What a backup of these sources does with a path.
pub fn why(path: &Path, sources: &[PathBuf], selection: &Selection, one_file_system: bool) -> Result<Answer> {
    // As the walk names what it finds.
    let absolute = |path: &Path| PathBuf::from(OsString::from_vec(super::backup::absolute(path)));
    let path = absolute(path);
    let mut source: Option<PathBuf> = None;
    for given in sources {
        let given = absolute(given);
        let longer = source.as_ref().is_none_or(|s| s.as_os_str().len() < given.as_os_str().len());
        if path.starts_with(&given) && longer {
            source = Some(given);
        }
    }
    let mut doubts = Vec::new();
    let leads = sources.iter().any(|given| absolute(given).starts_with(&path));
    let because = match &source {
        // What was named is kept, and so is what leads there.
        Some(_) if leads && path.symlink_metadata().is_err() => Because::NotThere,
        Some(_) if leads => Because::Kept { rule: None },
        None => Because::Outside,
        Some(source) => Way { selection, one_file_system, doubts: &mut doubts }.down(source, &path)?,
    };
    Ok(Answer { path: path.as_os_str().as_bytes().to_vec(), because, doubts })
}

struct Way<'a> {
    selection: &'a Selection,
    one_file_system: bool,
    doubts: &'a mut Vec<Doubt>,
}

impl Way<'_> {
    fn down(&mut self, source: &Path, path: &Path) -> Result<Because> {
        let mut at = source.as_os_str().as_bytes().to_vec();
        let below = path.strip_prefix(source).map_err(|_| Error::new(ErrorKind::Bug, "a path is not in its source"))?;
        let mut names = below.components().map(|c| c.as_os_str().as_bytes()).peekable();
        let mut dir = Dir::open_root(source).doing(|| format!("while opening {}", source.display()))?;
        let device = dir.own_stat().doing(|| format!("while looking at {}", source.display()))?.id.dev;
        let (mut level, doubts) = enter_named(self.selection, &mut dir, &at);
        self.doubts.extend(doubts);
        while let Some(name) = names.next() {
            let place = join(&at, name);
            if let Decision::Drop { rule } = self.selection.decide_by_name(&place) {
                return Ok(ruled(rule, &place));
            }
            let stat = match dir.stat(name) {
                Ok(stat) => stat,
                Err(e) if e.vanished() => return Ok(Because::NotThere),
                Err(e) => return Ok(Because::Unreadable { at: place, why: e.to_string() }),
            };
            if let Decision::Drop { rule } = self.selection.decide_by_stat(&level, &place, kind(&stat), stat.size) {
                return Ok(ruled(rule, &place));
            }
            if names.peek().is_none() {
                return Ok(Because::Kept { rule: self.selection.kept_by(&level, &place, kind(&stat)) });
            }
            // The directory itself is kept, and empty.
            if self.one_file_system && stat.id.dev != device {
                return Ok(Because::OtherFilesystem { at: place });
            }
            dir = match dir.open_dir_as(name, &stat) {
                Ok(below) => below,
                Err(_) if stat.kind != Kind::Dir => return Ok(Because::NotThere),
                Err(e) => return Ok(Because::Unreadable { at: place, why: e.to_string() }),
            };
            level = self.enter(&level, &mut dir, &place);
            at = place;
        }
        Ok(Because::Kept { rule: None })
    }

    fn enter(&mut self, above: &Level, dir: &mut Dir, path: &[u8]) -> Level {
        let names = dir.names();
        let list: Vec<&[u8]> = names.iter().map(|n| n.bytes).collect();
        let dir = &*dir;
        let mut read = |name: &[u8], max: usize| read_head(dir, name, max);
        let (level, doubts) = self.selection.enter(above, path, &list, &mut read);
        self.doubts.extend(doubts);
        level
    }
}

fn kind(stat: &Stat) -> ItemKind {
    if stat.kind == Kind::Dir { ItemKind::Dir } else { ItemKind::File }
}

fn ruled(rule: Reason<'_>, at: &[u8]) -> Because {
    Because::Rule { slug: rule.slug(), rule: rule.to_string(), at: at.to_vec() }
}
