//! Snapshots: a portable, signed statement of what was kept, and the local commit that counted it in.

use super::{Ext, PageRef, Time};
use crate::id::{ClientId, DomainId, InstanceId, RecordId, SessionId};

/// What a client says it kept. Portable between mirrors; its record id is the snapshot's id.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Statement {
    /// Which domain's ids these are.
    pub domain: DomainId,
    /// Whose chain it is in.
    pub client: ClientId,
    /// Place in the chain, from 1.
    pub seq: u64,
    /// The statement before it; zero for the first.
    pub prev: RecordId,
    /// Epoch of the client key that signs.
    pub client_epoch: u32,
    /// The tree; `None` if nothing was kept.
    pub root: Option<PageRef>,
    /// The time it stands for, as claimed.
    pub time: Time,
    /// Offset of the client's zone from UTC at that time, in seconds.
    pub utc_offset: i32,
    /// When the run began.
    pub started: Time,
    /// When it ended.
    pub ended: Time,
    /// Keyed hash of the machine's own id: tells two machines of one client name apart.
    pub machine: [u8; 8],
    /// The configuration in force.
    pub config: RecordId,
    /// [`Statement::INCOMPLETE`] and its like.
    pub flags: u32,
    /// What it was compared with.
    pub parent: Option<RecordId>,
    /// The snapshot it takes the place of (a rewrite, a repair).
    pub replaces: Option<RecordId>,
    /// The whole original statement, where this one was made by a copy under other keys.
    pub origin: Option<Vec<u8>>,
    /// Heads of other clients' chains that the writer saw.
    pub heads: Vec<Head>,
    /// The sealed [`Body`].
    pub body: Vec<u8>,
    /// Extensions.
    pub ext: Vec<Ext>,
}

impl Statement {
    /// The run was interrupted: not everything is in it.
    pub const INCOMPLETE: u32 = 1;
    /// Something could not be read and is missing or old.
    pub const HAS_PROBLEMS: u32 = 2;
    /// Made from leftovers by a repair.
    pub const RECOVERED: u32 = 4;
    /// Made of snapshots of which the owner did not sign all: it is trusted like those, whoever signs.
    pub const FOREIGN: u32 = 8;
}

/// The newest statement of a client that somebody saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Head {
    /// Whose.
    pub client: ClientId,
    /// Its place.
    pub seq: u64,
    /// Its id.
    pub id: RecordId,
}

/// What a statement says to people; sealed apart, so that collecting needs no key to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Body {
    /// Name of the host.
    pub hostname: String,
    /// Name of the user.
    pub username: String,
    /// Number of the user.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
    /// The paths that were asked for, absolute.
    pub paths: Vec<Vec<u8>>,
    /// Tags given at creation.
    pub tags: Vec<String>,
    /// A label, empty for none.
    pub label: String,
    /// A description, empty for none.
    pub description: String,
    /// What started the run.
    pub trigger: Trigger,
    /// Whether all of the source was asked for.
    pub scope: Scope,
    /// When it may go, decided at creation.
    pub expires: Option<Time>,
    /// Chunking profile for files without one of their own.
    pub chunking: u8,
    /// Patterns that kept things out.
    pub excludes: Vec<Vec<u8>>,
    /// Which program wrote it.
    pub program: String,
    /// 1: names are POSIX bytes, 2: WTF-8.
    pub name_encoding: u8,
    /// 1: POSIX, 2: drive, 3: UNC, 4: made up (stdin).
    pub root_style: u8,
    /// Names of the owners that occur.
    pub users: Vec<(u32, Vec<u8>)>,
    /// Names of the groups that occur.
    pub groups: Vec<(u32, Vec<u8>)>,
    /// What the run did.
    pub stats: Stats,
    /// Extensions.
    pub ext: Vec<Ext>,
}

/// What started a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Trigger {
    /// A person or their script.
    #[default]
    Manual,
    /// A schedule, by name.
    Schedule(String),
}

/// Whether all of the source was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Scope {
    /// All of it.
    #[default]
    Full,
    /// A part, by name.
    Partial(String),
}

/// Counts of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Stats {
    /// Files that the parent does not have.
    pub files_new: u64,
    /// Files that differ from the parent's.
    pub files_changed: u64,
    /// Files taken over.
    pub files_unmodified: u64,
    /// Directories that the parent does not have.
    pub dirs_new: u64,
    /// Directories that differ.
    pub dirs_changed: u64,
    /// Directories taken over.
    pub dirs_unmodified: u64,
    /// New chunks.
    pub data_blobs: u64,
    /// New pages.
    pub tree_blobs: u64,
    /// Plain bytes of new blobs.
    pub data_added: u64,
    /// The same as stored.
    pub data_added_packed: u64,
    /// Files in the snapshot.
    pub files_processed: u64,
    /// Their bytes.
    pub bytes_processed: u64,
    /// Things that could not be read.
    pub problems: u64,
}

/// Counts a statement in: this repository, this session.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Commit {
    /// Which repository.
    pub instance: InstanceId,
    /// In which session.
    pub session: SessionId,
    /// The newest gc record the session had seen.
    pub seen_gen: u64,
    /// The statement.
    pub statement: RecordId,
    /// Who commits.
    pub committer: ClientId,
    /// Epoch of the key that signs.
    pub committer_epoch: u32,
    /// The repository it was copied from.
    pub received_from: Option<InstanceId>,
    /// When that one's storage received it.
    pub received_at: Option<Time>,
    /// Extensions.
    pub ext: Vec<Ext>,
}

impl Commit {
    /// Whether the statement came without its content.
    pub fn came_hollow(&self) -> bool {
        self.ext.iter().any(|e| e.tag == commit_ext::HOLLOW)
    }
}

/// Tags of [`Commit::ext`].
pub mod commit_ext {
    /// The statement came without its content; no data. Says nothing of what is here now.
    pub const HOLLOW: u16 = 1;
}

/// What makes snapshots belong together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupBy {
    /// The same host.
    pub host: bool,
    /// The same paths.
    pub paths: bool,
    /// The same tags.
    pub tags: bool,
}

impl GroupBy {
    /// What a parent is chosen by, and what retention looks at, where nobody says.
    pub const HOST_AND_PATHS: Self = Self { host: true, paths: true, tags: false };

    /// `host,paths,tags` in any order; nothing means no grouping.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut by = Self::default();
        for word in text.split(',') {
            match word.trim() {
                "host" | "hosts" => by.host = true,
                "path" | "paths" => by.paths = true,
                "tag" | "tags" => by.tags = true,
                "" => {}
                other => return Err(format!("'{other}' is none of host, paths, tags")),
            }
        }
        Ok(by)
    }
    /// Whether there are groups at all.
    pub fn any(self) -> bool {
        self.host || self.paths || self.tags
    }
}
