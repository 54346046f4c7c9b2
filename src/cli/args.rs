//! What can be typed: every command and flag. clap lives here and nowhere else; what the values
//! mean together with the environment is decided in [`super::settings`].
//!
//! Names and letters are restic's wherever restic has the thing.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::plan::timetable::Timetable;

mod backup;
mod begin;
mod copy;
mod doctor;
mod find;
mod keys;
mod prune;
mod read;
mod remake;
mod rescue;
mod retain;
mod values;

pub use backup::{Backup, KeepFor, LeaveOut};
pub use begin::{Config, ConfigCommand, ConfigShow, Generate, Quickstart};
pub use copy::Copy;
pub use doctor::{Doctor, DoctorCommand, DoctorPolicy, DoctorStorage};
pub use find::{By, Debug, DebugCommand, DebugDump, Diff, Explain, ExplainExclude, Find, Stats, StatsMode, Type};
pub use keys::{From, Init, Key, KeyAdd, KeyCommand, KeyList, KeyPasswd, KeyRecovery, KeyRemove, NewSecret};
pub use prune::{MaxUnused, Prune, Pruning, parse_duration};
pub use read::{AcceptTime, Cat, Check, Choice, Dump, Filter, List, Ls, Restore, Snapshots, SnapshotsCommand};
pub use remake::{Merge, Rewrite};
pub use rescue::Rescue;
pub use retain::{
    Describe, Forget, Hold, Keep, Policy, PolicyCommand, PolicySet, PolicyShow, PolicySimulate, PolicyWindow, Release,
    Tag, Undelete,
};
pub use values::*;

const GLOBAL: &str = "Global options";
const ACCESS: &str = "Repository and password";

const EXAMPLES: &str = "\
Examples:
  export ORLOP_REPOSITORY=/mnt/backup/orlop ORLOP_PASSWORD_FILE=~/.orlop-password
  orlop init                                     create the repository
  orlop backup ~/ --exclude-caches               keep a snapshot of a home directory
  orlop snapshots                                see what there is
  orlop restore latest --target /tmp/out         get all of it back
  orlop dump latest:/home/anna notes.txt         print one file
  orlop check --read-data                        read everything and verify it

A recovery key's words unlock like a password: type them, or put them into a password file.

Exit codes: 0 done, 1 failed, 3 done in part (what is missing was named),
10 no repository there, 12 wrong password or key, 130 stopped on request.";

/// Backs up directories and large files into an encrypted repository without storing anything
/// twice, and gives them back.
#[derive(Debug, Parser)]
#[command(name = "orlop", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_version_flag = false)]
#[command(infer_subcommands = false, args_override_self = false)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Everything orlop can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a repository, back a folder up, try a restore, and say what to do next
    Quickstart(Quickstart),
    /// Create a repository
    Init(Init),
    /// Keep a snapshot of files and directories
    Backup(Box<Backup>),
    /// List snapshots
    Snapshots(Snapshots),
    /// List what is in a snapshot
    Ls(Ls),
    /// Look for files in all snapshots
    Find(Find),
    /// Compare two snapshots, or a snapshot and a directory as it is now
    Diff(Diff),
    /// Count files, bytes and blobs, and say who uses the space
    Stats(Stats),
    /// Write a file, or a directory as an archive, to standard output
    Dump(Dump),
    /// Bring files back from a snapshot
    Restore(Box<Restore>),
    /// Copy snapshots into other repositories
    Copy(Copy),
    /// Look for damage in the repository
    Check(Check),
    /// Remove snapshots, by rules or by name; they can be brought back for a while
    Forget(Box<Forget>),
    /// Bring back what was forgotten
    Undelete(Undelete),
    /// Change the tags of snapshots
    Tag(Tag),
    /// Change the label or the description of snapshots
    Describe(Describe),
    /// Change snapshots after the fact: leave paths out, set host or time
    Rewrite(Box<Rewrite>),
    /// Make one snapshot of several
    Merge(Box<Merge>),
    /// Let nothing remove snapshots
    Hold(Hold),
    /// End a hold
    Release(Release),
    /// Say what to keep, once and for all
    Policy(Policy),
    /// Free the space of what no snapshot needs any more
    Prune(Prune),
    /// Make a bucket with versions again what it was at a time
    Rescue(Rescue),
    /// Manage what unlocks the repository
    Key(Key),
    /// List the objects of the repository by kind
    List(List),
    /// Print one object of the repository
    Cat(Cat),
    /// Say what is set, and where it was set
    Config(Config),
    /// Write man pages and shell completions
    Generate(Generate),
    /// Say what an error means, and what to do
    Explain(Explain),
    /// Say which rule keeps a path in a backup, or out of it
    ExplainExclude(ExplainExclude),
    /// Look at the bytes of a repository
    Debug(Debug),
    /// Find out what the storage can do, and what it should let whom do
    Doctor(Doctor),
    /// Say which program this is
    Version,
}

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Where the repository is [env: ORLOP_REPOSITORY]; `backup` and `copy` take
    /// several
    #[arg(short, long, global = true, value_name = "REPOSITORY", help_heading = ACCESS)]
    #[arg(action = ArgAction::Append)]
    pub repo: Vec<OsString>,
    /// Read where the repository is from a file [env: ORLOP_REPOSITORY_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = ACCESS, conflicts_with = "repo")]
    pub repository_file: Option<PathBuf>,
    /// Read the password from a file [env: ORLOP_PASSWORD_FILE; the password itself: ORLOP_PASSWORD]
    #[arg(short, long, global = true, value_name = "FILE", help_heading = ACCESS)]
    pub password_file: Option<PathBuf>,
    /// Run a command and read the password from its output [env: ORLOP_PASSWORD_COMMAND]
    #[arg(long, global = true, value_name = "COMMAND", help_heading = ACCESS)]
    #[arg(conflicts_with = "password_file")]
    pub password_command: Option<String>,
    /// Unlock with a key file in place of a password [env: ORLOP_KEY_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = ACCESS)]
    #[arg(conflicts_with_all = ["password_file", "password_command"])]
    pub key_file: Option<PathBuf>,
    /// Try the key with this id first [env: ORLOP_KEY_HINT]
    #[arg(long, global = true, value_name = "KEY", help_heading = ACCESS)]
    pub key_hint: Option<String>,
    /// Use no password at all; whoever has the repository has its contents
    #[arg(long, global = true, help_heading = ACCESS)]
    #[arg(conflicts_with_all = ["password_file", "password_command", "key_file"])]
    pub insecure_no_password: bool,
    /// Take the repository for what it is now, although another one, or a newer state of it, is
    /// remembered for this place
    #[arg(long, global = true, help_heading = ACCESS)]
    pub accept_repository: bool,
    /// Read the repository as it was at this time, like '2026-11-20 12:00:00'. For buckets that keep
    /// versions, and commands that write nothing
    #[arg(long, global = true, value_name = "TIME", help_heading = ACCESS)]
    pub as_of: Option<When>,
    /// Act under this client name in place of the host's [env: ORLOP_CLIENT]
    #[arg(long, global = true, value_name = "NAME", help_heading = ACCESS)]
    pub client: Option<String>,

    /// Set an option of the storage, such as s3.region=eu-central-1; may be given several times
    #[arg(short = 'o', long = "option", global = true, value_name = "NAME=VALUE", help_heading = ACCESS)]
    pub option: Vec<String>,

    /// Take what is not typed from this profile of orlop.toml [env: ORLOP_PROFILE]
    #[arg(short = 'P', long, global = true, value_name = "NAME", help_heading = GLOBAL)]
    pub profile: Option<String>,
    /// Read this file in place of ~/.config/orlop/orlop.toml or /etc/orlop/orlop.toml
    /// [env: ORLOP_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub config: Option<PathBuf>,
    /// Where to keep the cache [env: ORLOP_CACHE_DIR] [default: ~/.cache/orlop]
    #[arg(long, global = true, value_name = "DIRECTORY", help_heading = GLOBAL)]
    pub cache_dir: Option<PathBuf>,
    /// How large the cache may become, in MiB [env: ORLOP_CACHE_SIZE] [default: 4096]
    #[arg(long, global = true, value_name = "MIB", help_heading = GLOBAL)]
    pub cache_size: Option<u32>,
    /// Keep and use no cache
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub no_cache: bool,
    /// How hard to compress: auto, off, fastest, better, max [env: ORLOP_COMPRESSION]
    #[arg(long, global = true, value_name = "MODE", help_heading = GLOBAL, hide_possible_values = true)]
    pub compression: Option<Compression>,
    /// How large packs should become, in MiB [env: ORLOP_PACK_SIZE]
    #[arg(long, global = true, value_name = "MIB", help_heading = GLOBAL)]
    pub pack_size: Option<u32>,
    /// Write no more than this: KiB a second, or by time of day, like 08:00-18:00=2MiB,8MiB
    #[arg(long, global = true, value_name = "RATE", help_heading = GLOBAL)]
    pub limit_upload: Option<Timetable>,
    /// Read no more than this, likewise
    #[arg(long, global = true, value_name = "RATE", help_heading = GLOBAL)]
    pub limit_download: Option<Timetable>,
    /// Do not open every sealed frame again before it is stored
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub no_extra_verify: bool,
    /// Write JSON for programs
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
    /// Say nothing but results and trouble
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub quiet: bool,
    /// Say more; twice (or =2) to name every file
    #[arg(short, long, global = true, value_name = "N", help_heading = GLOBAL)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "+")]
    #[arg(action = ArgAction::Append, conflicts_with = "quiet")]
    pub verbose: Vec<Louder>,

    /// Accepted for restic's sake: nothing here locks
    #[arg(long, global = true, hide = true)]
    pub no_lock: bool,
    /// Accepted for restic's sake: nothing here locks
    #[arg(long, global = true, hide = true, value_name = "DURATION")]
    pub retry_lock: Option<String>,
    /// Accepted for restic's sake: the cache looks after itself
    #[arg(long, global = true, hide = true)]
    pub cleanup_cache: bool,
}

impl Global {
    /// How often, or how far, `-v` was given; at most 2.
    pub fn verbosity(&self) -> u8 {
        let step = |level: u8, v: &Louder| match v {
            Louder::More => level.saturating_add(1),
            Louder::Level(n) => *n,
        };
        self.verbose.iter().fold(0, step).min(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn loudness_by_count_and_number() {
        for (line, level) in [
            ("orlop version", 0),
            ("orlop -v version", 1),
            ("orlop version -vv", 2),
            ("orlop -v=2 version", 2),
            ("orlop --verbose=1 version", 1),
            ("orlop --verbose --verbose version", 2),
            ("orlop -vvvv version", 2),
        ] {
            assert_eq!(parse(line).expect(line).global.verbosity(), level, "{line}");
        }
        assert!(parse("orlop -v -q version").is_err());
        assert!(parse("orlop -v=x version").is_err());
    }

    #[test]
    fn what_the_bench_types() {
        for line in [
            "orlop init -q",
            "orlop backup -q tree",
            "orlop restore -q latest --target /dest",
            "orlop check -q",
            "orlop check -q --read-data",
            "orlop ls -q latest",
            "orlop snapshots -q",
        ] {
            parse(line).expect(line);
        }
    }

    #[test]
    fn what_restic_users_type() {
        for line in [
            "orlop -r /r -p /p backup -x -e *.o --iexclude *.TMP --tag a,b --tag c -H host -n /home /etc",
            "orlop backup --stdin --stdin-filename x.sql",
            "orlop backup --stdin-from-command -- pg_dump -Fc db",
            "orlop backup --files-from a --files-from-raw b --files-from-verbatim c",
            "orlop backup --parent 12345678 -f --time now --exclude-if-present .nobackup:x --exclude-larger-than 2G / ",
            "orlop snapshots -c -g host,paths --latest 2 --host a --tag x,y --path /home 12345678",
            "orlop ls -l --recursive --human-readable -s size --reverse latest /home",
            "orlop dump -a zip -t out.zip latest /",
            "orlop restore latest~2:/home -t /t -i *.txt --overwrite if-newer --delete --dry-run --verify --sparse",
            "orlop check --read-data-subset 1/5 --no-lock --retry-lock 5m",
            "orlop check --read-data-subset 2.5%",
            "orlop key add --new-password-file x --role client --client laptop",
            "orlop key list",
            "orlop init --copy-chunker-params --from-repo /x --from-password-file /y",
            "orlop list snapshots",
            "orlop cat snapshot 12345678",
        ] {
            parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn what_cannot_be_meant() {
        for line in [
            "orlop restore latest --target /t --overwrite sometimes",
            "orlop check --read-data --read-data-subset 1/5",
            "orlop check --read-data-subset 6/5",
            "orlop check --read-data-subset 0%",
            "orlop backup --stdin --stdin-from-command x",
            "orlop -p f --password-command x version",
            "orlop ls",
            "orlop backup --chunking odd x",
            "orlop key",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
