//! What answers questions: `find`, `diff`, `stats`, `explain`, `explain-exclude`, `debug`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Filter, LeaveOut, When};
use crate::plan::size::parse_bytes;

const WHAT: &str = "What to look for";
const SHOW: &str = "How to show it";

/// `orlop find`
#[derive(Debug, Args)]
#[command(after_help = "\
A pattern without a slash is a name or a glob of names, wherever it is; what is in a directory that
matches is found, too. /home/*/notes is a whole path. Of several patterns one has to match, and one
that begins with ! takes back what those before it matched.

Examples:
  orlop find notes.txt '*.odt'
  orlop find --oldest 2026-01-01 --larger-than 100M '*'
  orlop find -i --type dir photos --host laptop
  orlop find --history /home/anna/notes.txt")]
pub struct Find {
    /// Names, globs or paths; with --history paths; with --blob, --tree or --pack ids
    #[arg(value_name = "PATTERN", required = true, help_heading = WHAT)]
    pub patterns: Vec<OsString>,
    /// Without regard to case
    #[arg(short, long, help_heading = WHAT)]
    pub ignore_case: bool,
    /// Changed at this time or after it
    #[arg(short = 'O', long, value_name = "TIME", help_heading = WHAT)]
    pub oldest: Option<When>,
    /// Changed at this time or before it
    #[arg(short = 'N', long, value_name = "TIME", help_heading = WHAT)]
    pub newest: Option<When>,
    /// Files of this size or larger (k, M, G, T for powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = WHAT)]
    pub larger_than: Option<u64>,
    /// Files of this size or smaller
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = WHAT)]
    pub smaller_than: Option<u64>,
    /// Only file, dir, symlink, fifo, socket, chardev or dev (block devices)
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', hide_possible_values = true, help_heading = WHAT)]
    pub types: Vec<Type>,
    /// Which versions of these paths there are, from when to when
    #[arg(long, help_heading = WHAT)]
    #[arg(conflicts_with_all = ["ignore_case", "oldest", "newest", "larger_than", "smaller_than", "types", "long"])]
    pub history: bool,
    /// Which files need these chunks, by the beginnings of their ids
    #[arg(long, help_heading = WHAT, conflicts_with_all = ["history", "tree", "pack", "long"])]
    pub blob: bool,
    /// Which directories these pages are of
    #[arg(long, help_heading = WHAT, conflicts_with_all = ["history", "pack", "long"])]
    pub tree: bool,
    /// Which files and directories need something in these packs
    #[arg(long, help_heading = WHAT, conflicts_with_all = ["history", "long"])]
    pub pack: bool,
    /// Say which packs they are in
    #[arg(long, help_heading = SHOW)]
    pub show_pack_id: bool,
    /// With mode, owner, size and time
    #[arg(short, long, help_heading = SHOW)]
    pub long: bool,
    /// Sizes with units
    #[arg(long, help_heading = SHOW)]
    pub human_readable: bool,
    /// Oldest snapshots first
    #[arg(short = 'R', long, help_heading = SHOW)]
    pub reverse: bool,
    /// Only in this snapshot; may be repeated
    #[arg(short, long, value_name = "SNAPSHOT")]
    pub snapshot: Vec<OsString>,
    /// Which snapshots.
    #[command(flatten)]
    pub filter: Filter,
}

/// A type of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Type {
    /// A regular file.
    #[value(alias = "f")]
    File,
    /// A directory.
    #[value(alias = "d")]
    Dir,
    /// A symbolic link.
    #[value(alias = "l")]
    Symlink,
    /// A named pipe.
    #[value(alias = "p")]
    Fifo,
    /// A socket.
    #[value(alias = "s")]
    Socket,
    /// A character device.
    #[value(alias = "c")]
    Chardev,
    /// A block device.
    #[value(aliases = ["b", "blockdev"])]
    Dev,
}

/// `orlop diff`
#[derive(Debug, Args)]
#[command(after_help = "\
+  it was added              U  its metadata changed (with --metadata)
-  it was removed            T  it is of another type
M  its content changed       ?  after M: and nothing else did, as if a disk had gone bad

A second argument with a slash in it or a dot first is a directory on this machine, compared with the
same place in the snapshot. Files whose size and time are the same are taken for the same unless
--content reads them.

Examples:
  orlop diff latest~1 latest
  orlop diff 4f3a09b1:/home/anna latest:/home/anna --metadata
  orlop diff latest /home/anna --exclude '*.tmp'
  orlop diff latest:/notes ./notes --content")]
pub struct Diff {
    /// The one, with :PATH a directory in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub one: OsString,
    /// The other, or a directory of this machine
    #[arg(value_name = "SNAPSHOT[:PATH]|DIRECTORY")]
    pub other: OsString,
    /// Also what is different in metadata only
    #[arg(long)]
    pub metadata: bool,
    /// Read all files of the directory
    #[arg(long)]
    pub content: bool,
    /// Leave out of the directory what matches a pattern, as the backup did
    #[arg(short, long, value_name = "PATTERN")]
    pub exclude: Vec<OsString>,
    /// Read such patterns from a file
    #[arg(long, value_name = "FILE")]
    pub exclude_file: Vec<PathBuf>,
    /// Which snapshots latest chooses from.
    #[command(flatten)]
    pub filter: Filter,
}

/// `orlop stats`
#[derive(Debug, Args)]
#[command(after_help = "\
restore-size       what a restore of each would write, summed up (hard links once)
files-by-contents  files with the same content once
raw-data           what is stored for them: each chunk and page once, compressed
blobs-per-file     each chunk once for each file that has it

With --by, 'only for it' counts stored bytes of the chunks and directory pages that no other snapshot
needs; where they share a frame with others, their share of it. So much smaller the packs get once it is
forgotten and `orlop prune --now --max-unused 0` has run, but for the few bytes around blobs and the tables
of packs, and for what compresses differently in other company. Not counted is what goes anyway: needed by
snapshots that are forgotten, or stored twice. Small objects (index, snapshots, the log) are not in it.

Examples:
  orlop stats                              all snapshots
  orlop stats latest --mode raw-data
  orlop stats --by host                    who uses the space
  orlop stats --by snapshot                what would be freed without each
  orlop stats --by set 4f3a09b1 latest~3   what would be freed without all of these")]
pub struct Stats {
    /// Only these [default: all that match]
    #[arg(value_name = "SNAPSHOT")]
    pub ids: Vec<OsString>,
    /// What to count: restore-size, files-by-contents, raw-data, blobs-per-file
    #[arg(long, value_name = "MODE", default_value = "restore-size", hide_possible_values = true)]
    pub mode: StatsMode,
    /// Who uses the space: of each host, paths, tags, snapshot, or the whole set what is stored, and what
    /// only it needs
    #[arg(long, value_name = "WHAT", hide_possible_values = true, conflicts_with = "mode")]
    pub by: Option<By>,
    /// Which snapshots.
    #[command(flatten)]
    pub filter: Filter,
}

/// What `stats` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatsMode {
    /// Restored sizes.
    RestoreSize,
    /// Files by their contents.
    FilesByContents,
    /// What is stored.
    RawData,
    /// Chunks of each file.
    BlobsPerFile,
}

/// Who may use space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Each host.
    #[value(alias = "hosts")]
    Host,
    /// Each set of paths.
    #[value(alias = "path")]
    Paths,
    /// Each set of tags.
    #[value(alias = "tag")]
    Tags,
    /// Each snapshot.
    #[value(alias = "snapshots")]
    Snapshot,
    /// All that were chosen, together.
    Set,
}

/// `orlop explain`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop explain                list the pages
  orlop explain damaged        what error[damaged] means, and what to do")]
pub struct Explain {
    /// What stands in brackets after `error`
    #[arg(value_name = "SLUG")]
    pub slug: Option<String>,
}

/// `orlop explain-exclude`
#[derive(Debug, Args)]
#[command(after_help = "\
Takes the flags of `backup` that leave things out; needs no repository and no password.

Examples:
  orlop explain-exclude ~/.cache/x --exclude-caches --exclude-file ex
  orlop explain-exclude --git-ignore --source ~/src ~/src/a/target ~/src/a/Cargo.toml")]
pub struct ExplainExclude {
    /// The paths in question
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// What would be backed up [default: /]
    #[arg(long, value_name = "PATH")]
    pub source: Vec<PathBuf>,
    /// What a backup would leave out.
    #[command(flatten)]
    pub leave_out: LeaveOut,
}

/// `orlop debug`
#[derive(Debug, Args)]
pub struct Debug {
    /// What to do.
    #[command(subcommand)]
    pub command: DebugCommand,
}

/// What `orlop debug` does.
#[derive(Debug, Subcommand)]
pub enum DebugCommand {
    /// Show the bytes of a file of a repository with what they mean
    Dump(DebugDump),
}

/// `orlop debug dump`
#[derive(Debug, Args)]
#[command(after_help = "\
Without a repository and its key the clear parts are shown; with -r, or ORLOP_REPOSITORY, what is
sealed, too.

Examples:
  orlop debug dump /mnt/backup/orlop/config/00000001
  orlop -r /mnt/backup/orlop debug dump packs/3f/3f9a...")]
pub struct DebugDump {
    /// A file, or the name of an object of the repository
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Open nothing that is sealed, ask for no password
    #[arg(long)]
    pub clear: bool,
}
