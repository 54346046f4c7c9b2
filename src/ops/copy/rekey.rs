//! Copies to other keys: every blob is named and sealed anew, every page written anew. What an earlier
//! copy made of an earlier snapshot is taken over where nothing changed since.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::Relaxed;

use rayon::prelude::*;

use super::{Became, CopySummary, Work, as_large, same};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::event::{Meter, Phase};
use crate::format::keys::Role;
use crate::format::limits::{DEPTH_MAX, FRAME_TARGET};
use crate::format::pack::Kind;
use crate::format::page::{Builder, check_change};
use crate::format::records::{CloseKind, Purpose};
use crate::format::snapshot::open_origin;
use crate::id::{BlobId, RecordId};
use crate::model::ext::{decode_xattrs, encode_xattrs};
use crate::model::{Content, Extent, Node, NodeKind, PageRef, Statement, XattrValue, ext_tag};
use crate::ops::backup::{load_index, writer_options};
use crate::ops::remake::tell_unknown;
use crate::repo::{
    Entries, Extents, Footing, FrameScope, Identity, NewSnapshot, Reader, Repository, Session, Snapshot, Validity,
    Writer,
};

/// Bytes that are stored before what is complete is committed.
const COMMIT_EVERY: u64 = 256 << 20;
/// Directories whose copies are remembered during a run.
const REMEMBERED: usize = 200_000;
/// Entries of a directory that are worked on together.
const BATCH: usize = 256;
/// Copies of copies that are looked through.
const GENERATIONS: usize = 16;

/// A snapshot and its copy.
#[derive(Clone)]
struct Pair {
    hostname: String,
    paths: Vec<Vec<u8>>,
    client: crate::id::ClientId,
    roots: (Option<PageRef>, Option<PageRef>),
    /// The copy, if it was there before.
    copy: Option<RecordId>,
}

pub fn copy(work: &Work<'_>, to: &mut Repository) -> Result<CopySummary> {
    let dry_run = work.options.way.dry_run;
    let name = work.options.way.client.as_deref();
    let who = if dry_run { to.identity_unseen(name)? } else { to.identity(name)? };
    let trouble = |name: &str, e: Error| work.cx.problem("damaged", name.as_bytes(), "read", e.to_string());
    let theirs = to.snapshots(&trouble)?;
    let known = known(work, to, &who, &theirs)?;
    let wanted: Vec<&Snapshot> = work.from.chosen.iter().copied().filter(|s| !known.contains_key(&s.id)).collect();
    let authors = authors(to, &wanted, work, &who)?;
    let to = &*to;
    let mut became: HashMap<RecordId, Became> = known;
    let mut summary = CopySummary::default();
    if !wanted.is_empty() {
        let pairs = pairs(work, &theirs, &became);
        let bases: Vec<RecordId> = pairs.iter().filter_map(|p| p.copy).collect();
        let session = if dry_run { to.begin_unseen(&who)? } else { to.begin(&who, Purpose::Copy, bases)? };
        let mut run = Run { work, to, who: &who, session: &session, authors: &authors, ids: vec![] };
        let done = run.all(&wanted, pairs, &theirs, &mut became, &mut summary);
        if !dry_run {
            // What is committed has all it needs, whatever happened to those after it.
            let kind = if run.ids.is_empty() && done.is_err() { CloseKind::Abort } else { CloseKind::End };
            let closed = to.close(&session, kind, run.ids);
            done.and(closed)?;
        } else {
            done?;
        }
    }
    let of = |s: &&Snapshot| (s.id, became.get(&s.id).copied().unwrap_or(Became::Failed));
    summary.snapshots = work.from.chosen.iter().map(of).collect();
    Ok(summary)
}

/// The ids of the snapshots that a snapshot is a copy of, the nearest first, and its own before them.
fn lineage(s: &Snapshot) -> Vec<RecordId> {
    let (mut ids, mut origin) = (vec![s.id], s.statement.origin.clone());
    while let Some(original) = origin.as_deref().and_then(|o| open_origin(o).ok()) {
        if ids.len() > GENERATIONS {
            break;
        }
        ids.push(original.id);
        origin = original.statement.origin;
    }
    ids
}

/// Whose word of what is a copy of what counts: the owner's, and that of this key.
fn believes(to: &Repository, who: &Identity, s: &Snapshot) -> bool {
    s.validity != Validity::Late
        && !s.hollow
        && (s.by_owner || (to.role() != Role::Owner && s.statement.client == who.client))
}

/// What became of chosen snapshots that are there already, as themselves or as copies, in whichever
/// direction.
fn known(work: &Work<'_>, to: &Repository, who: &Identity, theirs: &[Snapshot]) -> Result<HashMap<RecordId, Became>> {
    let tombstones = to.tombstones(&|_, _| {})?;
    let mut there: HashMap<RecordId, Became> = HashMap::new();
    for t in theirs.iter().filter(|t| believes(to, who, t)) {
        let told = tombstones.at(t.statement.client, t.statement.seq);
        let forgotten = told.iter().any(|told| told.target == Some(t.id));
        // One that was forgotten can be copied again; as in restic, what counts is what there is.
        if !forgotten {
            there.extend(lineage(t).into_iter().map(|id| (id, Became::There(t.id))));
        }
    }
    let find = |s: &&Snapshot| lineage(s).iter().find_map(|id| there.get(id)).map(|b| (s.id, *b));
    Ok(work.from.chosen.iter().filter_map(find).collect())
}

/// Under which name each chain goes on: the owner's key has one for every client, others have theirs.
fn authors(
    to: &mut Repository,
    wanted: &[&Snapshot],
    work: &Work<'_>,
    who: &Identity,
) -> Result<BTreeMap<crate::id::ClientId, Identity>> {
    let mut out = BTreeMap::new();
    for s in wanted {
        let (client, epoch) = (s.statement.client, s.statement.client_epoch);
        if out.contains_key(&client) {
            continue;
        }
        let name = work.from.repo.client_key(client, epoch).map_or_else(|| client.hex(), |c| c.name.clone());
        let name = format!("{name} of {}", &work.from.repo.domain().hex()[..8]);
        let author = match to.role() {
            Role::Owner if work.options.way.dry_run => to.identity_unseen(Some(&name))?,
            Role::Owner => to.identity(Some(&name))?,
            _ => to.identity_unseen(Some(&who.name))?,
        };
        out.insert(client, author);
    }
    Ok(out)
}

/// Snapshots of which there are copies, with the trees of both. Late ones and such that somebody else
/// vouches for are not taken over from.
fn pairs(work: &Work<'_>, theirs: &[Snapshot], known: &HashMap<RecordId, Became>) -> Vec<Pair> {
    let copies: HashMap<RecordId, &Snapshot> = theirs.iter().map(|t| (t.id, t)).collect();
    let originals: HashMap<RecordId, &Snapshot> = work.from.all.iter().map(|s| (s.id, s)).collect();
    let mut newest: BTreeMap<_, (crate::model::Time, Pair)> = BTreeMap::new();
    let direct = theirs.iter().filter_map(|t| {
        let original = open_origin(t.statement.origin.as_deref()?).ok()?;
        Some((*originals.get(&original.id)?, t))
    });
    let told = known.iter().filter_map(|(id, became)| match became {
        Became::There(copy) => Some((*originals.get(id)?, *copies.get(copy)?)),
        _ => None,
    });
    for (s, t) in direct.chain(told).filter(|(s, t)| t.by_owner && !s.hollow && as_large(&s.statement, &t.statement)) {
        let pair = Pair::of(s, t.statement.root, Some(t.id));
        let key = (pair.hostname.clone(), pair.paths.clone());
        let time = s.statement.time;
        if newest.get(&key).is_none_or(|(before, _)| *before < time) {
            newest.insert(key, (time, pair));
        }
    }
    newest.into_values().map(|(_, pair)| pair).collect()
}

impl Pair {
    fn of(s: &Snapshot, copy_root: Option<PageRef>, copy: Option<RecordId>) -> Self {
        Self {
            hostname: s.body.hostname.clone(),
            paths: s.body.paths.clone(),
            client: s.statement.client,
            roots: (s.statement.root, copy_root),
            copy,
        }
    }
}

struct Run<'a> {
    work: &'a Work<'a>,
    to: &'a Repository,
    who: &'a Identity,
    session: &'a Session,
    authors: &'a BTreeMap<crate::id::ClientId, Identity>,
    ids: Vec<RecordId>,
}

impl Run<'_> {
    fn all(
        &mut self,
        wanted: &[&Snapshot],
        pairs: Vec<Pair>,
        theirs: &[Snapshot],
        became: &mut HashMap<RecordId, Became>,
        summary: &mut CopySummary,
    ) -> Result<()> {
        let (work, to) = (self.work, self.to);
        let mut pairs = self.standing(pairs, theirs)?;
        let dry_run = work.options.way.dry_run;
        let options = work.options.way.of_backup();
        let (index, careful) = load_index(to, self.who, self.session, &options, work.cx)?;
        if careful {
            // What an earlier copy has may not be there any more.
            pairs.clear();
        }
        let writer = Writer::new(to, self.who, self.session, &index, work.cx, writer_options(&options, &index));
        let trouble = |name: &str, e: Error| work.cx.problem("damaged", name.as_bytes(), "read", e.to_string());
        let source = work.from.repo.load_index(&trouble)?;
        let (reader, theirs) = (Reader::new(work.from.repo, &source), Reader::new(to, &index));
        let mut rekey = Rekey { work, reader: &reader, theirs: &theirs, writer: &writer, made: HashMap::new() };
        work.cx.enter(Phase::Copying, Some(wanted.len() as u64), None);
        let (mut waiting, mut stored) = (Vec::new(), 0);
        for s in wanted {
            let like = pairs.iter().rev().find(|p| (&p.hostname, &p.paths) == (&s.body.hostname, &s.body.paths));
            let like = like.or_else(|| pairs.iter().rev().find(|p| p.client == s.statement.client));
            let roots = like.map(|p| p.roots).unwrap_or_default();
            let alive = work.presence.tick().and_then(|()| writer.tick());
            let may = alive.and_then(|()| s.check_remake());
            let root = match may.and_then(|()| rekey.dir(s.statement.root, roots, 0)) {
                Ok(root) => root,
                Err(e) => match work.failed(s, e) {
                    Ok(told) => {
                        became.insert(s.id, told);
                        continue;
                    }
                    Err(e) => {
                        // What is complete stays, and the rest that is durable is found by the next run.
                        self.commit(&writer, &mut waiting, became)?;
                        return Err(e);
                    }
                },
            };
            tell_unknown(s, work.cx);
            pairs.push(Pair::of(s, root, None));
            waiting.push((*s, root));
            Meter::add(&work.cx.meter.files_done, 1);
            if writer.stored_bytes.load(Relaxed) - stored >= COMMIT_EVERY {
                self.commit(&writer, &mut waiting, became)?;
                stored = writer.stored_bytes.load(Relaxed);
            }
        }
        self.commit(&writer, &mut waiting, became)?;
        summary.bytes = if dry_run { writer.plain_bytes.load(Relaxed) } else { writer.stored_bytes.load(Relaxed) };
        Ok(())
    }

    /// R2: what was forgotten before the session was there may be going already.
    fn standing(&self, pairs: Vec<Pair>, theirs: &[Snapshot]) -> Result<Vec<Pair>> {
        let (grounds, mut out) = (self.to.grounds(self.session)?, Vec::new());
        for pair in pairs {
            let Some(t) = theirs.iter().find(|t| Some(t.id) == pair.copy) else { continue };
            let firm = grounds.footing(t)? == Footing::Firm;
            out.extend(Some(pair).filter(|_| firm));
        }
        Ok(out)
    }

    fn commit(
        &mut self,
        writer: &Writer<'_>,
        waiting: &mut Vec<(&Snapshot, Option<PageRef>)>,
        became: &mut HashMap<RecordId, Became>,
    ) -> Result<()> {
        writer.finish()?;
        for (s, root) in waiting.drain(..) {
            let id = if self.work.options.way.dry_run { None } else { Some(self.one(s, root)?) };
            self.ids.extend(id);
            became.insert(s.id, Became::Copied(id));
        }
        Ok(())
    }

    fn one(&self, s: &Snapshot, root: Option<PageRef>) -> Result<RecordId> {
        let author = self.authors.get(&s.statement.client);
        let author = author.ok_or_else(|| Error::new(ErrorKind::Bug, "a chain that nobody signs"))?;
        let (_, origin) = self.work.from.repo.statement_of(s)?;
        let known = Statement::INCOMPLETE | Statement::HAS_PROBLEMS | Statement::RECOVERED | Statement::FOREIGN;
        // Whoever signs: it deserves no more trust than what it is a copy of.
        let foreign = if s.trusted() { 0 } else { Statement::FOREIGN };
        let statement = Statement {
            domain: self.to.domain(),
            root,
            config: self.to.config_id(),
            flags: (s.statement.flags & known) | foreign,
            parent: None,
            replaces: None,
            origin: Some(origin),
            heads: vec![],
            body: vec![],
            ..s.statement.clone()
        };
        let received = self.work.received(s)?;
        let new = NewSnapshot { statement, body: s.body.clone() };
        let committed = self.to.commit_for(author, self.who, self.session, new, received);
        committed.doing(|| "while committing the snapshot".to_owned())
    }
}

/// A page of a copied list or directory, and what it became.
type Made = HashMap<BlobId, PageRef>;

/// Writes trees anew.
struct Rekey<'a> {
    work: &'a Work<'a>,
    reader: &'a Reader<'a>,
    theirs: &'a Reader<'a>,
    writer: &'a Writer<'a>,
    made: Made,
}

impl Rekey<'_> {
    /// A directory. `like`: one of an earlier snapshot, and its copy.
    fn dir(
        &mut self,
        root: Option<PageRef>,
        like: (Option<PageRef>, Option<PageRef>),
        depth: usize,
    ) -> Result<Option<PageRef>> {
        self.work.cx.check()?;
        let Some(page) = root else { return Ok(None) };
        if like.0 == root && like.1.is_some() {
            return Ok(like.1);
        }
        if let Some(made) = self.made.get(&page.id) {
            return Ok(Some(*made));
        }
        if depth > DEPTH_MAX {
            return Err(Error::new(ErrorKind::Damaged, "directories are nested deeper than any file system has them"));
        }
        let (mut nodes, mut before) = (Entries::new(self.reader, root), Before::new(self, like));
        let mut builder = Builder::dir(self.writer.repo().keys());
        let writer = self.writer;
        let mut emit = |bytes: Vec<u8>| writer.page(&bytes);
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            while batch.len() < BATCH {
                let Some(node) = nodes.next()? else { break };
                let like = before.seek(&node.name)?;
                batch.push((node, like));
            }
            if batch.is_empty() {
                break;
            }
            let done: Vec<Node> =
                batch.par_iter().map(|(node, like)| self.node(node, like.as_ref())).collect::<Result<_>>()?;
            for (mut new, (node, like)) in done.into_iter().zip(&batch) {
                if let NodeKind::Dir { root } = &node.kind {
                    let like = like.as_ref().map(Like::roots).unwrap_or_default();
                    new.kind = NodeKind::Dir { root: self.dir(*root, like, depth + 1)? };
                }
                if new != *node {
                    check_change(node).doing(|| format!("in {:?}", String::from_utf8_lossy(&node.name)))?;
                }
                builder.node(&new, &mut emit)?;
            }
        }
        let made = builder.finish(&mut emit)?;
        let same = made.is_some_and(|m| (m.entries, m.bytes) == (page.entries, page.bytes));
        if !same {
            return Err(Error::new(
                ErrorKind::Damaged,
                format!("page {} says too much or too little", page.id.short()),
            ));
        }
        if self.made.len() < REMEMBERED {
            self.made.extend(made.map(|m| (page.id, m)));
        }
        Ok(made)
    }

    /// An entry, but what is below a directory.
    fn node(&self, node: &Node, like: Option<&Like>) -> Result<Node> {
        self.work.cx.check()?;
        let mut new = node.clone();
        if let NodeKind::File { size, content } = &node.kind {
            let content = match like.and_then(|l| l.content_of(content)) {
                Some(known) => known.clone(),
                None => self.content(content, *size, node.uid)?,
            };
            new.kind = NodeKind::File { size: *size, content };
        }
        if let Some(ext) = node.ext(ext_tag::XATTRS) {
            let known = like.filter(|l| l.old.ext(ext_tag::XATTRS) == Some(ext));
            let data = match known.and_then(|l| l.copy.ext(ext_tag::XATTRS)) {
                Some(known) => known.data.clone(),
                None => self.xattrs(&ext.data, node.uid)?,
            };
            new.set_ext(ext_tag::XATTRS, data);
        }
        Ok(new)
    }

    fn xattrs(&self, data: &[u8], uid: u32) -> Result<Vec<u8>> {
        let senseless = |e| Error::new(ErrorKind::Damaged, "the attributes of a file make no sense").because(e);
        let mut all = decode_xattrs(data).map_err(senseless)?;
        for x in &mut all {
            if let XattrValue::Chunk { id, .. } = &mut x.value {
                *id = self.chunk(id, self.scope(1, 0, uid))?;
            }
        }
        Ok(encode_xattrs(&all))
    }

    fn scope(&self, profile: u8, size: u64, uid: u32) -> FrameScope {
        let target = self.writer.repo().profile(profile).map_or(FRAME_TARGET as u32, |p| p.frame_of(size));
        FrameScope { source: 0, uid, target }
    }

    fn chunk(&self, id: &BlobId, scope: FrameScope) -> Result<BlobId> {
        let bytes = self.reader.fetch(Kind::Data, id)?;
        Meter::add(&self.work.cx.meter.bytes_done, bytes.len() as u64);
        Ok(self.writer.chunk(scope, &bytes)?.0)
    }

    fn extent(&self, extent: &Extent, scope: FrameScope) -> Result<Extent> {
        Ok(match extent {
            Extent::Hole { .. } => *extent,
            Extent::Data { id, len, repeat } => Extent::Data { id: self.chunk(id, scope)?, len: *len, repeat: *repeat },
        })
    }

    fn content(&self, content: &Content, size: u64, uid: u32) -> Result<Content> {
        Ok(match content {
            Content::Inline(_) => content.clone(),
            Content::Extents { profile, extents } => {
                let profile = self.profile(*profile);
                let scope = self.scope(profile, size, uid);
                let extents = extents.iter().map(|e| self.extent(e, scope)).collect::<Result<_>>()?;
                Content::Extents { profile, extents }
            }
            Content::Pages { profile, root } => {
                let profile = self.profile(*profile);
                let scope = self.scope(profile, size, uid);
                let mut extents = Extents::new(self.reader, content);
                let mut builder = Builder::list(self.writer.repo().keys());
                let mut emit = |bytes: Vec<u8>| self.writer.page(&bytes);
                while let Some(e) = extents.next()? {
                    self.work.cx.check()?;
                    builder.extent(&self.extent(&e, scope)?, &mut emit)?;
                }
                match builder.finish(&mut emit)? {
                    Some(made) if (made.entries, made.bytes) == (root.entries, root.bytes) => {
                        Content::Pages { profile, root: made }
                    }
                    _ => {
                        let what = format!("page {} says too much or too little", root.id.short());
                        return Err(Error::new(ErrorKind::Damaged, what));
                    }
                }
            }
        })
    }

    /// The number that a chunking profile has in the target: it says how the file is cut next time.
    fn profile(&self, id: u8) -> u8 {
        let Some(ours) = self.reader.repo().profile(id) else { return 1 };
        let same = |p: &&crate::format::records::Profile| {
            (p.chunker, p.min, p.avg, p.max) == (ours.chunker, ours.min, ours.avg, ours.max)
        };
        self.writer.repo().config().profiles.iter().find(same).map_or(1, |p| p.id)
    }
}

/// The entry of the same name in an earlier snapshot, and in its copy.
struct Like {
    old: Node,
    copy: Node,
}

impl Like {
    fn roots(&self) -> (Option<PageRef>, Option<PageRef>) {
        match (&self.old.kind, &self.copy.kind) {
            (NodeKind::Dir { root: old }, NodeKind::Dir { root: copy }) => (*old, *copy),
            _ => (None, None),
        }
    }

    fn content_of(&self, content: &Content) -> Option<&Content> {
        match (&self.old.kind, &self.copy.kind) {
            (NodeKind::File { content: old, .. }, NodeKind::File { content: copy, .. }) if old == content => Some(copy),
            _ => None,
        }
    }
}

/// Walks an earlier directory and its copy side by side.
struct Before<'a> {
    old: Entries<'a>,
    copy: Entries<'a>,
}

impl<'a> Before<'a> {
    fn new(rekey: &Rekey<'a>, (old, copy): (Option<PageRef>, Option<PageRef>)) -> Self {
        let both = old.is_some() && copy.is_some();
        let old = old.filter(|_| both);
        Self { old: Entries::new(rekey.reader, old), copy: Entries::new(rekey.theirs, copy.filter(|_| both)) }
    }

    fn seek(&mut self, name: &[u8]) -> Result<Option<Like>> {
        match self.old.seek(name).and_then(|old| Ok(old.zip(self.copy.seek(name)?))) {
            Ok(both) => Ok(both.map(|(old, copy)| Like { old, copy })),
            // What cannot be read of it is copied anew.
            Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::Missing) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// Both sides have the same tree: the copy says what it is a copy of, and is as large.
pub fn compare(s: &Snapshot, there: &Snapshot, reader: &Reader<'_>) -> Result<()> {
    let is_copy = lineage(there).iter().any(|id| lineage(s).contains(id));
    if !is_copy || !as_large(&s.statement, &there.statement) {
        return Err(same::differs(s, "the target has something else in place of its copy"));
    }
    there.statement.root.map_or(Ok(()), |root| reader.page(&root).map(drop))
}
