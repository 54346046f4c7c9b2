//! One repository of a run: what is its own of a backup, while the source is shared by all.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::BackupOptions;
use super::content::{Wish, chunk_of};
use super::moved::Moved;
use super::walk::{Before, Here};
use crate::error::{Error, Result};
use crate::event::Context;
use crate::format::records::Profile;
use crate::id::ClientId;
use crate::model::ext::{Extras, decode_xattrs};
use crate::model::{Content, Ext, Node, NodeKind, Time, XattrValue, ext_tag};
use crate::ops::locked;
use crate::repo::{Extents, FrameScope, Reader, Repository, Writer};
use crate::source::{Kind, LinkMap, Stat};

/// What a run counts for a repository beside what the meter shows.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "the names of `Stats`")]
pub struct Counts {
    pub files_new: AtomicU64,
    pub files_changed: AtomicU64,
    pub files_unmodified: AtomicU64,
    pub dirs_new: AtomicU64,
    pub dirs_changed: AtomicU64,
    pub dirs_unmodified: AtomicU64,
    /// Files of the parent that others took the place of, or none, when a list named them.
    pub replaced: AtomicU64,
    pub files: AtomicU64,
    pub bytes: AtomicU64,
}

/// A repository that keeps what is read.
pub struct Keeper<'a> {
    pub(super) repo: &'a Repository,
    /// Names the repository where there are others.
    pub(super) cx: &'a Context<'a>,
    /// How it is named there.
    pub(super) name: Option<&'a str>,
    pub(super) options: &'a BackupOptions,
    pub(super) writer: &'a Writer<'a>,
    /// Reads the parents.
    pub(super) reader: &'a Reader<'a>,
    pub(super) client: ClientId,
    pub(super) profile: Profile,
    /// Finds what was moved.
    pub(super) moved: Moved<'a>,
    /// Look up every chunk of unchanged files: something in the repository is known to be bad.
    pub(super) careful: bool,
    pub(super) links: Mutex<LinkMap<(Time, u64, Content)>>,
    pub(super) counts: Counts,
    /// It takes no part any more,
    pub(super) failed: AtomicBool,
    /// for this reason.
    pub(super) why: Mutex<Option<Error>>,
}

impl Keeper<'_> {
    /// Whether it takes no part any more.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    /// This repository's wish for a file that it cuts so.
    pub(super) fn wish<'w>(&'w self, profile: &'w Profile, scope: FrameScope) -> Wish<'w> {
        Wish { writer: self.writer, profile, scope, failed: &self.failed }
    }

    /// In a careful run, whether every chunk and page of a file is known to the index.
    pub(super) fn still_there(&self, old: &Node) -> Result<bool> {
        if !self.careful {
            return Ok(true);
        }
        if !self.attributes_still_there(old)? {
            return Ok(false);
        }
        let NodeKind::File { content, .. } = &old.kind else { return Ok(true) };
        let index = self.reader.index();
        let mut extents = Extents::new(self.reader, content);
        // A page that cannot be read is as good as missing.
        while let Ok(next) = extents.next() {
            let Some(extent) = next else { return Ok(true) };
            if let Some(id) = chunk_of(&extent)
                && !index.contains(&id)?
            {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// The same for attributes that are too long for their node.
    pub(super) fn attributes_still_there(&self, old: &Node) -> Result<bool> {
        let Some(ext) = old.ext(ext_tag::XATTRS).filter(|_| self.careful) else { return Ok(true) };
        let Ok(attributes) = decode_xattrs(&ext.data) else { return Ok(false) };
        for x in attributes {
            if let XattrValue::Chunk { id, .. } = x.value
                && !self.reader.index().contains(&id)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What another name of the same file brought.
    pub(super) fn known_link(&self, stat: &Stat) -> Option<(u64, Content)> {
        if stat.nlink < 2 {
            return None;
        }
        let mut links = locked(&self.links);
        let (mtime, size, content) = links.again(stat.id)?;
        (mtime == stat.mtime && size == stat.size).then_some((size, content))
    }

    /// A file keeps the profile it was cut by: another one would store it whole again.
    pub(super) fn profile_of<'p>(&'p self, mut was: impl Iterator<Item = &'p Node>) -> &'p Profile {
        match was.find_map(cut_by).filter(|_| !self.options.rechunk).and_then(|id| self.repo.profile(id)) {
            Some(profile) => profile,
            None => &self.profile,
        }
    }

    /// Whether a file that did not change may stay cut as it is.
    pub(super) fn stays_cut(&self, old: &Node) -> bool {
        !self.options.rechunk || cut_by(old).is_none_or(|profile| profile == self.profile.id)
    }

    /// Which hard links belong together: a hash over what stays the same from run to run.
    pub(super) fn link(&self, here: &Here<'_>, stat: &Stat) -> Option<[u8; 16]> {
        if stat.nlink < 2 || stat.kind == Kind::Dir {
            return None;
        }
        let fs = here.filesystem.unwrap_or(stat.id.dev).to_le_bytes();
        let born = stat.btime.unwrap_or_default().nanos().to_le_bytes();
        Some(self.repo.keys().link(&[self.client.as_bytes(), &fs, &stat.id.ino.to_le_bytes(), &born]))
    }

    /// Extensions as a node has them; long attributes become chunks.
    pub(super) fn ext(&self, extras: &Extras, link: Option<[u8; 16]>) -> Result<Vec<Ext>> {
        let scope = FrameScope { source: u32::MAX, uid: 0, target: self.profile.frame };
        let extras = Extras { link, ..extras.clone() };
        extras.into_ext(|value| self.writer.chunk(scope, value).map(|(id, _)| id))
    }

    pub(super) fn count_file(&self, counter: &AtomicU64, bytes: u64) {
        counter.fetch_add(1, Relaxed);
        self.counts.files.fetch_add(1, Relaxed);
        self.counts.bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn count_dir(&self, same: bool, existed: bool) {
        let counter = match (same, existed) {
            (true, _) => &self.counts.dirs_unmodified,
            (false, true) => &self.counts.dirs_changed,
            (false, false) => &self.counts.dirs_new,
        };
        counter.fetch_add(1, Relaxed);
    }
}

/// The profile that a file was cut by; none if it is in its node.
fn cut_by(node: &Node) -> Option<u8> {
    match &node.kind {
        NodeKind::File { content: Content::Extents { profile, .. } | Content::Pages { profile, .. }, .. } => {
            Some(*profile)
        }
        _ => None,
    }
}

/// What an entry was in the parents of one repository.
#[derive(Debug, Clone, Default)]
pub struct Old {
    /// In each of them.
    pub nodes: Vec<Before>,
    /// It was under another path there.
    pub moved: bool,
}

impl Old {
    /// All that is known.
    pub fn found(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }
    /// Whether it was there at all.
    pub fn existed(&self) -> bool {
        self.found().next().is_some()
    }
    /// Whether the first parent has just this. A source may have another name in the tree than on the
    /// disk: that it was found is enough then.
    pub fn has(&self, node: &Node) -> bool {
        match self.nodes.first() {
            Some(Some(old)) if self.moved || old.name == node.name => old == node,
            Some(Some(old)) => *old == Node { name: old.name.clone(), ..node.clone() },
            _ => false,
        }
    }
}
