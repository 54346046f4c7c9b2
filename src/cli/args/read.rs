//! What looks at a repository: `snapshots`, `ls`, `dump`, `restore`, `check`, `list`, `cat`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Archive, CatKind, ObjectKind, Overwrite, SortBy, TagList};
use crate::model::GroupBy;
use crate::plan::subset::Subset;

const SELECT: &str = "Which snapshots";
const SNAPSHOT_HELP: &str = "A snapshot: its id or the beginning of it, latest, latest~2; with :PATH a directory in it";

/// Which snapshots are looked at.
#[derive(Debug, Clone, Default, Args)]
pub struct Filter {
    /// Only of this host; may be repeated
    #[arg(short = 'H', long, value_name = "NAME", help_heading = SELECT)]
    pub host: Vec<String>,
    /// Only with all of these tags; repeated, with any of the lists
    #[arg(long, value_name = "TAG[,TAG...]", help_heading = SELECT)]
    pub tag: Vec<TagList>,
    /// Only with this absolute path; repeated, with all of them
    #[arg(long, value_name = "PATH", help_heading = SELECT)]
    pub path: Vec<OsString>,
    /// Let latest be a snapshot of an interrupted backup, too
    #[arg(long, help_heading = SELECT)]
    pub incomplete: bool,
}

/// `orlop snapshots`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop snapshots --latest 1 -g host
  orlop snapshots --tag nightly --json
  orlop snapshots accept-time latest      forget may go by the time that it claims")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Snapshots {
    /// Something else than to list them.
    #[command(subcommand)]
    pub command: Option<SnapshotsCommand>,
    /// Only these
    #[arg(value_name = "SNAPSHOT")]
    pub ids: Vec<String>,
    /// Fewer columns
    #[arg(short, long)]
    pub compact: bool,
    /// Only the newest N of each group, or of each host and paths
    #[arg(long, value_name = "N")]
    pub latest: Option<usize>,
    /// One list for each host, paths, tags
    #[arg(short, long, value_name = "GROUP", default_value = "", value_parser = GroupBy::parse)]
    #[arg(hide_default_value = true)]
    pub group_by: GroupBy,
    /// Which snapshots.
    #[command(flatten)]
    pub filter: Filter,
}

/// What else can be done with the list.
#[derive(Debug, Subcommand)]
pub enum SnapshotsCommand {
    /// Say that the times that snapshots claim are right, although they came at another time
    AcceptTime(AcceptTime),
}

/// `orlop snapshots accept-time`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop snapshots accept-time 1a2b3c4d")]
pub struct AcceptTime {
    /// Only these [default: all whose times are in doubt]
    #[arg(value_name = "SNAPSHOT")]
    pub ids: Vec<String>,
}

/// `orlop ls`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop ls latest
  orlop ls -l latest /home/anna --recursive
  orlop ls --json 4f3a09b1")]
pub struct Ls {
    #[doc = "Which snapshot."]
    #[arg(value_name = "SNAPSHOT[:PATH]", help = SNAPSHOT_HELP)]
    pub snapshot: OsString,
    /// Only these directories
    #[arg(value_name = "DIRECTORY")]
    pub dirs: Vec<OsString>,
    /// With mode, owner, size and time
    #[arg(short, long)]
    pub long: bool,
    /// With the contents of subdirectories
    #[arg(long)]
    pub recursive: bool,
    /// Sizes with units
    #[arg(long)]
    pub human_readable: bool,
    /// For ncdu: orlop ls --ncdu latest | ncdu -f -
    #[arg(long, conflicts_with_all = ["long", "human_readable", "sort", "reverse"])]
    pub ncdu: bool,
    /// Sort by name, size, time (mtime), atime, ctime or extension
    #[arg(short, long, value_name = "BY", default_value = "name", hide_possible_values = true)]
    pub sort: SortBy,
    /// The other way round
    #[arg(long)]
    pub reverse: bool,
    /// Which snapshots latest chooses from.
    #[command(flatten)]
    pub filter: Filter,
}

/// `orlop dump`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop dump latest /home/anna/notes.txt > notes.txt
  orlop dump latest /home/anna | tar t
  orlop dump -a zip -t anna.zip latest:/home anna")]
pub struct Dump {
    #[doc = "Which snapshot."]
    #[arg(value_name = "SNAPSHOT[:PATH]", help = SNAPSHOT_HELP)]
    pub snapshot: OsString,
    /// What to write; / for everything
    #[arg(value_name = "PATH")]
    pub file: OsString,
    /// How to write a directory: tar or zip
    #[arg(short, long, value_name = "FORMAT", default_value = "tar", hide_possible_values = true)]
    pub archive: Archive,
    /// Write to this file
    #[arg(short, long, value_name = "FILE")]
    pub target: Option<PathBuf>,
    /// Which snapshots latest chooses from.
    #[command(flatten)]
    pub filter: Filter,
}

const CHOOSE: &str = "Which entries";
const EXISTING: &str = "What is there already";
const METADATA: &str = "Metadata";

/// What of a snapshot is meant, by patterns.
#[derive(Debug, Clone, Default, Args)]
pub struct Choice {
    /// Only what matches a pattern
    #[arg(short, long, value_name = "PATTERN", help_heading = CHOOSE)]
    pub include: Vec<OsString>,
    /// The same without regard to case
    #[arg(long, value_name = "PATTERN", help_heading = CHOOSE)]
    pub iinclude: Vec<OsString>,
    /// Read patterns from a file
    #[arg(long, value_name = "FILE", help_heading = CHOOSE)]
    pub include_file: Vec<PathBuf>,
    /// The same without regard to case
    #[arg(long, value_name = "FILE", help_heading = CHOOSE)]
    pub iinclude_file: Vec<PathBuf>,
    /// All but what matches a pattern
    #[arg(short, long, value_name = "PATTERN", help_heading = CHOOSE)]
    pub exclude: Vec<OsString>,
    /// The same without regard to case
    #[arg(long, value_name = "PATTERN", help_heading = CHOOSE)]
    pub iexclude: Vec<OsString>,
    /// Read patterns from a file
    #[arg(long, value_name = "FILE", help_heading = CHOOSE)]
    pub exclude_file: Vec<PathBuf>,
    /// The same without regard to case
    #[arg(long, value_name = "FILE", help_heading = CHOOSE)]
    pub iexclude_file: Vec<PathBuf>,
}

/// `orlop restore`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop restore latest --target /tmp/out
  orlop restore latest:/home/anna --target /home/anna --overwrite if-changed
  orlop restore 4f3a09b1 -t / --include '*.conf' --dry-run -vv

Exit code 3: the rest was restored, but something named above could not be.")]
pub struct Restore {
    #[doc = "Which snapshot."]
    #[arg(value_name = "SNAPSHOT[:PATH]", help = SNAPSHOT_HELP)]
    pub snapshot: OsString,
    /// The directory to restore into
    #[arg(short, long, value_name = "DIRECTORY")]
    pub target: PathBuf,
    /// Write nothing, say what would be
    #[arg(long)]
    pub dry_run: bool,
    /// Read restored files again and compare
    #[arg(long)]
    pub verify: bool,
    /// Make holes where files have long runs of zeros
    #[arg(long)]
    pub sparse: bool,

    /// What is restored.
    #[command(flatten)]
    pub choice: Choice,

    /// always, if-changed (believe size and time), if-newer, never
    #[arg(long, value_name = "WHEN", default_value = "always", hide_possible_values = true)]
    #[arg(help_heading = EXISTING)]
    pub overwrite: Overwrite,
    /// Remove from the target what the snapshot does not have; look with --dry-run -vv first
    #[arg(long, help_heading = EXISTING)]
    pub delete: bool,

    /// Owners by their names in place of their numbers
    #[arg(long, help_heading = METADATA)]
    pub ownership_by_name: bool,
    /// Leave out devices, setuid and the security.* and trusted.* attributes
    #[arg(long, help_heading = METADATA)]
    pub no_privileged_metadata: bool,
    /// Only these extended attributes
    #[arg(long, value_name = "PATTERN", help_heading = METADATA)]
    pub include_xattr: Vec<OsString>,
    /// All but these extended attributes
    #[arg(long, value_name = "PATTERN", help_heading = METADATA)]
    #[arg(conflicts_with = "include_xattr")]
    pub exclude_xattr: Vec<OsString>,

    /// Which snapshots latest chooses from.
    #[command(flatten)]
    pub filter: Filter,
}

/// `orlop check`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop check                               references, records, index and packs by name
  orlop check --read-data                   read and open everything
  orlop check --read-data-subset 3/7        the third of seven parts, say on Wednesdays
  orlop check --read-data-subset 5%         a random twentieth")]
pub struct Check {
    /// Read and open all data
    #[arg(long, conflicts_with = "read_data_subset")]
    pub read_data: bool,
    /// Read and open a part of the data: n/t, x% or a size
    #[arg(long, value_name = "PART", value_parser = Subset::parse)]
    pub read_data_subset: Option<Subset>,
    /// Believe what is in the cache
    #[arg(long)]
    pub with_cache: bool,
    /// Which snapshots.
    #[command(flatten)]
    pub filter: Filter,
}

/// `orlop list`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop list snapshots
  orlop list packs | wc -l")]
pub struct List {
    /// blobs, packs, index, snapshots, keys or locks
    #[arg(value_name = "KIND", hide_possible_values = true)]
    pub kind: ObjectKind,
}

/// `orlop cat`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop cat config
  orlop cat snapshot 4f3a09b1
  orlop cat tree latest:/home/anna")]
pub struct Cat {
    /// config, snapshot, index, pack, blob, key or tree; masterkey and lock say what is in their place
    #[arg(value_name = "KIND", hide_possible_values = true)]
    pub kind: CatKind,
    /// Its id; for tree SNAPSHOT:PATH; config has none
    #[arg(value_name = "ID")]
    pub id: Option<OsString>,
}
