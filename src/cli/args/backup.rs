//! `backup`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{Chunking, Percent, TagList, When};
use crate::model::GroupBy;
use crate::plan::size::parse_bytes;
use crate::retain::Span;

const SOURCE: &str = "What to back up";
const LEAVE_OUT: &str = "What to leave out";
const SNAPSHOT: &str = "The snapshot";
const CHANGES: &str = "Finding what changed";

/// `orlop backup`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop backup ~/ --exclude-caches --exclude '*.iso'
  orlop backup / -x --exclude-file /etc/orlop.exclude --tag nightly
  orlop backup --stdin-from-command --stdin-filename db.sql -- pg_dump mydb
  orlop backup --chunking volume /var/lib/libvirt/images
  orlop backup --init -r /mnt/backup/orlop --key-file ~/.orlop.key ~/Documents
  orlop backup -r /mnt/usb -r sftp:nas:/backup ~/Documents

With several repositories the source is read once, and each gets a snapshot of its own. One that fails
is named, and the others go on.

Exit code 3: a snapshot was saved, but something named above could not be read, or another repository
has none.")]
pub struct Backup {
    /// Files and directories
    #[arg(value_name = "PATH", help_heading = SOURCE)]
    pub paths: Vec<OsString>,
    /// Take paths and patterns from a file, one a line, # for comments
    #[arg(long, value_name = "FILE", help_heading = SOURCE)]
    pub files_from: Vec<PathBuf>,
    /// Take paths from a file, one a line, exactly as they are there
    #[arg(long, value_name = "FILE", help_heading = SOURCE)]
    pub files_from_verbatim: Vec<PathBuf>,
    /// Take paths from a file, each ended by a zero byte
    #[arg(long, value_name = "FILE", help_heading = SOURCE)]
    pub files_from_raw: Vec<PathBuf>,
    /// Keep what comes in on standard input as one file
    #[arg(long, help_heading = SOURCE, conflicts_with = "stdin_from_command")]
    pub stdin: bool,
    /// Run the command given after -- and keep its output as one file; no snapshot if it fails
    #[arg(long, help_heading = SOURCE)]
    pub stdin_from_command: bool,
    /// Name of that file
    #[arg(long, value_name = "NAME", default_value = "stdin", help_heading = SOURCE)]
    pub stdin_filename: OsString,
    /// Record the one given path under this one
    #[arg(long, value_name = "PATH", help_heading = SOURCE)]
    pub as_path: Option<OsString>,

    /// What to leave out.
    #[command(flatten)]
    pub leave_out: LeaveOut,

    /// Tags for the snapshot, separated by commas
    #[arg(long, value_name = "TAG[,TAG...]", help_heading = SNAPSHOT)]
    pub tag: Vec<TagList>,
    /// A label to find it by
    #[arg(long, value_name = "TEXT", help_heading = SNAPSHOT)]
    pub label: Option<String>,
    /// What it is, in a sentence
    #[arg(long, value_name = "TEXT", help_heading = SNAPSHOT)]
    pub description: Option<String>,
    /// Host name to record [env: ORLOP_HOST]
    #[arg(short = 'H', long, value_name = "NAME", help_heading = SNAPSHOT)]
    pub host: Option<String>,
    /// Time to record, like '2012-11-01 22:08:41'
    #[arg(long, value_name = "TIME", default_value = "now", help_heading = SNAPSHOT)]
    pub time: When,
    /// Keep it so long and no longer, like 30d or 1y6m, whatever any policy says; or 'unlimited'
    #[arg(long, value_name = "SPAN", help_heading = SNAPSHOT)]
    pub keep_for: Option<KeepFor>,
    /// Record that this schedule started the run, and not a person
    #[arg(long, value_name = "NAME", help_heading = SNAPSHOT)]
    pub schedule: Option<String>,
    /// Make no snapshot if nothing changed
    #[arg(long, help_heading = SNAPSHOT)]
    pub skip_if_unchanged: bool,
    /// How to cut files the parent does not have: default, volume (images, databases), media
    #[arg(long, value_name = "PROFILE", default_value = "default", hide_possible_values = true)]
    #[arg(help_heading = SNAPSHOT)]
    pub chunking: Chunking,
    /// Cut all files anew, also those the parent has
    #[arg(long, help_heading = SNAPSHOT)]
    pub rechunk: bool,
    /// Write nothing, say what would be
    #[arg(short = 'n', long, help_heading = SNAPSHOT)]
    pub dry_run: bool,
    /// Create the repository if there is none
    #[arg(long, help_heading = SNAPSHOT)]
    pub init: bool,

    /// Compare with this snapshot [default: the newest of the group]
    #[arg(long, value_name = "SNAPSHOT", help_heading = CHANGES)]
    pub parent: Option<String>,
    /// Look only at the paths in this list, one a line, and take the rest from the parent
    #[arg(long, value_name = "LIST", help_heading = CHANGES, conflicts_with_all = ["force", "as_path", "stdin"])]
    #[arg(conflicts_with = "stdin_from_command")]
    pub changed_files: Option<PathBuf>,
    /// Each path in that list is ended by a zero byte
    #[arg(short = '0', long, help_heading = CHANGES, requires = "changed_files")]
    pub null: bool,
    /// Read all files
    #[arg(short, long, help_heading = CHANGES)]
    pub force: bool,
    /// Read this share of the unchanged files all the same, and compare: 1%, 0.5%
    #[arg(long, value_name = "X%", help_heading = CHANGES, conflicts_with = "rechunk")]
    pub verify_sample: Option<Percent>,
    /// Choose the parent among snapshots of the same host, paths, tags
    #[arg(short, long, value_name = "GROUP", default_value = "host,paths", help_heading = CHANGES)]
    #[arg(value_parser = GroupBy::parse)]
    pub group_by: GroupBy,
    /// Do not look at ctime
    #[arg(long, help_heading = CHANGES)]
    pub ignore_ctime: bool,
    /// Do not look at inode numbers and ctime
    #[arg(long, help_heading = CHANGES)]
    pub ignore_inode: bool,
    /// Record when files were read last
    #[arg(long, help_heading = CHANGES)]
    pub with_atime: bool,
    /// Do not count the source first; progress then knows no end
    #[arg(long, help_heading = CHANGES)]
    pub no_scan: bool,
    /// Read so many files at once [env: ORLOP_READ_CONCURRENCY]
    #[arg(long, value_name = "N", help_heading = CHANGES)]
    pub read_concurrency: Option<usize>,
}

/// What a backup leaves out.
#[derive(Debug, Clone, Default, Args)]
pub struct LeaveOut {
    /// Leave out what matches a pattern
    #[arg(short, long, value_name = "PATTERN", help_heading = LEAVE_OUT)]
    pub exclude: Vec<OsString>,
    /// The same without regard to case
    #[arg(long, value_name = "PATTERN", help_heading = LEAVE_OUT)]
    pub iexclude: Vec<OsString>,
    /// Read patterns from a file
    #[arg(long, value_name = "FILE", help_heading = LEAVE_OUT)]
    pub exclude_file: Vec<PathBuf>,
    /// The same without regard to case
    #[arg(long, value_name = "FILE", help_heading = LEAVE_OUT)]
    pub iexclude_file: Vec<PathBuf>,
    /// Leave out what git ignores, by its rules and the user's; what git tracks is kept
    #[arg(long, help_heading = LEAVE_OUT)]
    pub git_ignore: bool,
    /// Obey files of this name, written like .gitignore
    #[arg(long, value_name = "NAME", help_heading = LEAVE_OUT)]
    pub ignore_file: Vec<OsString>,
    /// Leave out the contents of directories that hold this file, or one that begins with HEADER
    #[arg(long, value_name = "NAME[:HEADER]", help_heading = LEAVE_OUT)]
    pub exclude_if_present: Vec<OsString>,
    /// Leave out the contents of directories marked by a CACHEDIR.TAG file
    #[arg(long, help_heading = LEAVE_OUT)]
    pub exclude_caches: bool,
    /// Leave out larger files (k, M, G, T for powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = LEAVE_OUT)]
    pub exclude_larger_than: Option<u64>,
    /// Stay on the file systems of the given paths
    #[arg(short = 'x', long, help_heading = LEAVE_OUT)]
    pub one_file_system: bool,
}

impl Backup {
    /// All tags, each once, in the order given.
    pub fn tags(&self) -> Vec<String> {
        let mut tags: Vec<String> = Vec::new();
        for tag in self.tag.iter().flat_map(|list| &list.0) {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        tags
    }
}

/// How long a snapshot is kept; what is set as the default may be taken back for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepFor {
    /// So long.
    Span(Span),
    /// As long as policies say.
    Unlimited,
}

impl std::str::FromStr for KeepFor {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "unlimited" => Ok(Self::Unlimited),
            "" => Err("say how long, like 30d, or 'unlimited'".into()),
            _ => match text.parse::<Span>()? {
                span if span.is_zero() => {
                    Err("that time is over at once; say how long, like 30d, or 'unlimited'".into())
                }
                span => Ok(Self::Span(span)),
            },
        }
    }
}
