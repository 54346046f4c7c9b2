//! A local repository on a simulated disk that keeps, when its power is cut, only what was flushed,
//! and of the rest whatever it pleases.
//!
//! The rules are those of POSIX at their weakest (Pillai et al., "All File Systems Are Not Created
//! Equal", OSDI 2014): after a cut, the content of a file that was not flushed is what it was, what
//! it became, a part of that, or zeros; and of the changes to a directory since its last flush, any
//! subset took place, each for itself. So a rename from one directory to another may leave both
//! names or none. Real file systems are kinder; what survives here survives there.
//!
//! The steps are those of the real thing (`storage::local::shelf`); only the disk is not.

use crate::storage::local::disk::{At, Disk, Entry, Kind, Stat};
use crate::storage::local::shelf::Shelf;
use crate::storage::{Storage, hand_on};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A local repository on a disk whose power can be cut. Clones share the disk.
#[derive(Clone)]
pub struct UnsyncedStorage {
    shelf: Arc<Shelf<SimulatedDisk>>,
    disk: SimulatedDisk,
}

/// A flush that is silently left out, to show that tests would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Omit {
    /// That of a file's content.
    Content,
    /// That of the names of files in their directory.
    Names,
    /// That of new directories in theirs.
    Directories,
}

impl Default for UnsyncedStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl UnsyncedStorage {
    /// An empty repository.
    pub fn new() -> Self {
        Self::on(State::new())
    }

    /// On a disk that leaves a flush out, to be caught at it.
    pub fn omitting(omit: Omit) -> Self {
        let mut state = State::new();
        state.omit = Some(omit);
        Self::on(state)
    }

    /// On a file system that can link exclusively and not rename exclusively.
    pub fn without_exclusive_rename() -> Self {
        let mut state = State::new();
        state.renames_exclusively = false;
        Self::on(state)
    }

    fn on(state: State) -> Self {
        let disk = SimulatedDisk(Arc::new(Mutex::new(state)));
        Self { shelf: Arc::new(Shelf::new(disk.clone(), "a simulated disk".into())), disk }
    }

    /// How many changes and flushes there have been.
    pub fn steps(&self) -> u64 {
        self.disk.state().steps
    }

    /// From this step on, counted from 1, nothing works any more.
    pub fn lose_power_at(&self, step: u64) {
        self.disk.state().power_until = step;
    }

    /// Whether it happened.
    pub fn is_dark(&self) -> bool {
        let state = self.disk.state();
        state.steps >= state.power_until
    }

    /// The repository as it is found when the power is back. Equal seeds lose equal things.
    pub fn after_power_cut(&self, seed: u64) -> Self {
        let mut state = self.disk.state().clone();
        state.cut_power(&mut Random(seed));
        Self::on(state)
    }
}

impl Storage for UnsyncedStorage {
    hand_on!(shelf);
}

#[derive(Clone)]
struct SimulatedDisk(Arc<Mutex<State>>);

/// The root is node 0. Nodes are never reused.
#[derive(Clone)]
struct State {
    nodes: Vec<Node>,
    steps: u64,
    power_until: u64,
    omit: Option<Omit>,
    renames_exclusively: bool,
}

#[derive(Clone)]
enum Node {
    File(Content),
    Dir(Names),
}

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    flushed: Vec<u8>,
    is_flushed: bool,
}

#[derive(Clone, Default)]
struct Names {
    now: BTreeMap<String, usize>,
    flushed: BTreeMap<String, usize>,
    /// What leads from `flushed` to `now`, in order.
    since: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Add(String, usize),
    Remove(String),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Add(name, node) => {
                names.insert(name.clone(), *node);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

/// SplitMix64: all that a coin needs, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
    fn coin(&mut self) -> bool {
        self.next() & 1 == 0
    }
}

impl State {
    fn new() -> Self {
        Self {
            nodes: vec![Node::Dir(Names::default())],
            steps: 0,
            power_until: u64::MAX,
            omit: None,
            renames_exclusively: true,
        }
    }

    /// Counts a change or a flush, unless the power is out.
    fn step(&mut self) -> io::Result<()> {
        self.steps = (self.steps + 1).min(self.power_until);
        if self.steps >= self.power_until {
            return Err(io::Error::other("the power is out"));
        }
        Ok(())
    }

    fn cut_power(&mut self, random: &mut Random) {
        for node in &mut self.nodes {
            match node {
                Node::File(content) => content.settle(random),
                Node::Dir(names) => names.settle(random),
            }
        }
        self.steps = 0;
        self.power_until = u64::MAX;
        self.omit = None;
    }

    fn names(&mut self, dir: usize) -> io::Result<&mut Names> {
        match self.nodes.get_mut(dir) {
            Some(Node::Dir(names)) => Ok(names),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn content(&mut self, file: usize) -> io::Result<&mut Content> {
        match self.nodes.get_mut(file) {
            Some(Node::File(content)) => Ok(content),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn find(&mut self, dir: usize, name: &str) -> io::Result<usize> {
        let found = self.names(dir)?.now.get(name).copied();
        found.ok_or(io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, dir: usize, change: Change) -> io::Result<()> {
        let names = self.names(dir)?;
        change.apply(&mut names.now);
        names.since.push(change);
        Ok(())
    }

    /// A new node under a new name.
    fn make(&mut self, dir: usize, name: &str, node: Node) -> io::Result<usize> {
        self.step()?;
        if self.names(dir)?.now.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.nodes.push(node);
        let made = self.nodes.len() - 1;
        self.change(dir, Change::Add(name.to_owned(), made))?;
        Ok(made)
    }

    /// Whether a pending change is left out of a flush.
    fn omits(&self, change: &Change) -> bool {
        let Change::Add(_, node) = change else {
            return false;
        };
        match self.nodes[*node] {
            Node::File(_) => self.omit == Some(Omit::Names),
            Node::Dir(_) => self.omit == Some(Omit::Directories),
        }
    }

    fn kind(&self, node: usize) -> Kind {
        match &self.nodes[node] {
            Node::Dir(_) => Kind::Dir,
            Node::File(content) => Kind::File { len: content.now.len() as u64, modified: 0 },
        }
    }

    fn is_named(&self, file: usize) -> bool {
        self.nodes.iter().any(|node| match node {
            Node::Dir(names) => names.now.values().any(|node| *node == file),
            Node::File(_) => false,
        })
    }
}

impl Content {
    fn settle(&mut self, random: &mut Random) {
        if !self.is_flushed {
            self.flushed = match random.below(4) {
                0 => std::mem::take(&mut self.flushed),
                1 => self.now.clone(),
                2 => self.now[..random.below(self.now.len())].to_vec(),
                _ => vec![0; self.now.len()],
            };
        }
        self.now = self.flushed.clone();
        self.is_flushed = true;
    }
}

impl Names {
    fn settle(&mut self, random: &mut Random) {
        for change in std::mem::take(&mut self.since) {
            if random.coin() {
                change.apply(&mut self.flushed);
            }
        }
        self.now = self.flushed.clone();
    }
}

impl SimulatedDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for SimulatedDisk {
    type Dir = usize;
    type File = usize;

    fn root(&self) -> usize {
        0
    }

    fn open_dir(&self, parent: &usize, name: &str) -> io::Result<usize> {
        let mut state = self.state();
        let found = state.find(*parent, name)?;
        state.names(found)?;
        Ok(found)
    }

    fn make_dir(&self, parent: &usize, name: &str) -> io::Result<()> {
        let dir = Node::Dir(Names::default());
        self.state().make(*parent, name, dir).map(drop)
    }

    fn sync_dir(&self, dir: &usize) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let pending = std::mem::take(&mut state.names(*dir)?.since);
        let (omitted, flushed): (Vec<_>, Vec<_>) = pending.into_iter().partition(|change| state.omits(change));
        let names = state.names(*dir)?;
        for change in flushed {
            change.apply(&mut names.flushed);
        }
        names.since = omitted;
        Ok(())
    }

    fn entries(&self, dir: &usize) -> io::Result<Vec<Entry>> {
        let mut state = self.state();
        let names = state.names(*dir)?.now.clone();
        let entry = |(name, node)| Entry { name, kind: state.kind(node) };
        Ok(names.into_iter().map(entry).collect())
    }

    fn entry(&self, dir: &usize, name: &str) -> io::Result<Kind> {
        let mut state = self.state();
        let node = state.find(*dir, name)?;
        Ok(state.kind(node))
    }

    fn create(&self, dir: &usize, name: &str) -> io::Result<usize> {
        let file = Node::File(Content::default());
        self.state().make(*dir, name, file)
    }

    fn open(&self, dir: &usize, name: &str) -> io::Result<usize> {
        let mut state = self.state();
        let file = state.find(*dir, name)?;
        state.content(file)?;
        Ok(file)
    }

    fn append(&self, file: &usize, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let content = state.content(*file)?;
        content.now.extend_from_slice(bytes);
        content.is_flushed = false;
        Ok(())
    }

    fn begin_write_back(&self, _file: &usize, _offset: u64, _len: u64) {}

    fn seal(&self, _file: &usize) -> io::Result<()> {
        self.state().step()
    }

    fn sync_file(&self, file: &usize) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if state.omit != Some(Omit::Content) {
            let content = state.content(*file)?;
            content.flushed = content.now.clone();
            content.is_flushed = true;
        }
        Ok(())
    }

    fn stat(&self, file: &usize) -> io::Result<Stat> {
        let mut state = self.state();
        let len = state.content(*file)?.now.len() as u64;
        Ok(Stat { len, modified: 0, named: state.is_named(*file) })
    }

    fn read_exact_at(&self, file: &usize, into: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.state();
        let bytes = &state.content(*file)?.now;
        let part = usize::try_from(offset).ok().and_then(|start| bytes.get(start..start.checked_add(into.len())?));
        into.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn rename_new(&self, from: At<'_, usize>, to: At<'_, usize>) -> io::Result<()> {
        if !self.state().renames_exclusively {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if self.entry(to.0, to.1).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.rename_over(from, to)
    }

    fn link_new(&self, from: At<'_, usize>, to: At<'_, usize>) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let node = state.find(*from.0, from.1)?;
        if state.find(*to.0, to.1).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.change(*to.0, Change::Add(to.1.to_owned(), node))
    }

    fn rename_over(&self, from: At<'_, usize>, to: At<'_, usize>) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let node = state.find(*from.0, from.1)?;
        state.change(*from.0, Change::Remove(from.1.to_owned()))?;
        state.change(*to.0, Change::Add(to.1.to_owned(), node))
    }

    fn unlink(&self, dir: &usize, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.find(*dir, name)?;
        state.change(*dir, Change::Remove(name.to_owned()))
    }
}
