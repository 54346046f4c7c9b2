//! Content-addressed, deduplicating, encrypted backup: everything the program `orlop` does, as a
//! library.
//!
//! A *repository* is kept in a [`storage`]: somewhere that holds named immutable objects. Files are
//! cut into *chunks* where their content says so, directories are encoded as *pages*; both are
//! *blobs*, named by a keyed hash, and a blob that is there already is not stored again. Neighbouring
//! blobs are compressed and sealed together in *frames*, frames make up *packs*, an *index* says
//! which blob is where, and a signed *snapshot* points at the page of its topmost directory. Writing
//! the snapshot is the commit: until then, nothing happened.
//!
//! Make a repository, back a folder up, see what is in it, and bring it back:
//!
//! ```
//! use std::path::Path;
//! use std::sync::Arc;
//! use std::sync::atomic::AtomicBool;
//!
//! use orlop::crypto::Secret;
//! use orlop::event::{Context, Meter, Quiet};
//! use orlop::format::keys::Credential;
//! use orlop::ops::backup::{About, BackupOptions, Input, Sources, backup};
//! use orlop::ops::list::Walk;
//! use orlop::ops::restore::{RestoreOptions, restore};
//! use orlop::repo::{self, InitOptions, Reader};
//! use orlop::storage::{LocalStorage, Storage};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let scratch = tempfile::tempdir()?;
//! let notes = scratch.path().join("notes");
//! std::fs::create_dir(&notes)?;
//! std::fs::write(notes.join("today"), "buy milk")?;
//!
//! // A repository, in a folder that only we can enter. In earnest, the secret comes from a key
//! // file, or `Credential::Password` is used, and the recovery words are printed and kept.
//! let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(&scratch.path().join("repository"))?);
//! let key = Credential::Raw(Secret::new(orlop::sys::random()?));
//! let options = InitOptions {
//!     credential: key.clone(),
//!     recovery: false,
//!     compression: 3,
//!     suite: None,
//!     undelete_window: repo::UNDELETE_WINDOW,
//!     mirror_of: None,
//!     cut_like: None,
//! };
//! repo::init(&storage, &options)?;
//! let mut repository = repo::open(storage, &key, None)?;
//!
//! // Who listens to what happens, where it is counted, and what stops it: here, nobody.
//! let (meter, cancel) = (Meter::default(), AtomicBool::new(false));
//! let cx = Context { observer: &Quiet, meter: &meter, cancel: &cancel };
//!
//! // A snapshot of the folder. What cannot be read is an event, not an error.
//! let mut sources = Sources::default();
//! sources.add_as(&notes, Path::new("notes"))?;
//! let options = BackupOptions { about: About { paths: vec![b"/notes".to_vec()], ..About::default() }, ..BackupOptions::default() };
//! let summary = backup(&mut repository, Input::Paths(sources), &options, &cx)?;
//! assert_eq!((summary.stats.files_new, summary.stats.problems), (1, 0));
//!
//! // What is in it.
//! let snapshots = repository.standing(&|object, error| eprintln!("{object}: {error}"))?.snapshots;
//! let latest = snapshots.last().expect("there is one");
//! let index = repository.load_index(&|object, error| eprintln!("{object}: {error}"))?;
//! let reader = Reader::new(&repository, &index);
//! let mut walk = Walk::new(&reader, latest.statement.root, b"");
//! let mut paths = Vec::new();
//! while let Some((path, _node)) = walk.next()? {
//!     paths.push(String::from_utf8_lossy(path).into_owned());
//! }
//! assert_eq!(paths, ["/notes", "/notes/today"]);
//!
//! // And back again, whole.
//! let out = scratch.path().join("out");
//! let summary = restore(&repository, latest, None, &out, &RestoreOptions::default(), &cx)?;
//! assert_eq!(summary.problems, 0);
//! assert_eq!(std::fs::read(out.join("notes/today"))?, b"buy milk");
//! # Ok(())
//! # }
//! ```
//!
//! # Finding one's way
//!
//! Modules lie in layers and use only what is beside or below them; a test holds them to it.
//!
//! - what it is called: [`id`], [`error`], [`model`], [`event`]
//! - how it is decided, without clock, randomness or threads: [`mod@format`], [`crypto`], [`chunk`],
//!   [`compress`], [`index`], [`plan`],
//!   [`retain`]
//! - where the world begins: [`sys`], [`storage`], [`source`], [`target`]
//! - what is kept: [`repo`]
//! - what is done: [`ops`]
//! - how it is told: [`report`]
//! - who asks: [`cli`]
//!
//! The library reads no environment, writes to no terminal and has no global settings; that is the
//! program's part and lies in [`cli`]. The whole map, with the way of the data, is
//! `src/docs/architecture.md`; decisions that were close are in `src/docs/decisions`; the bytes are
//! in `format-spec`.

#![warn(missing_docs)]
pub mod chunk;
pub mod cli;
pub mod collect;
pub mod compress;
pub mod crypto;
pub mod error;
pub mod event;
pub mod format;
pub mod id;
pub mod index;
pub mod model;
pub mod ops;
pub mod plan;
pub mod repo;
pub mod report;
pub mod retain;
pub mod source;
pub mod storage;
pub mod sys;
pub mod target;
