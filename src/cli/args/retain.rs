//! What decides what stays: `forget`, `undelete`, `tag`, `describe`, `hold`, `release`, `policy`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Filter, Pruning, TagList, When};
use crate::retain::{Count, GroupBy, Schedule, Span, Style};

const SELECT: &str = "Which snapshots";
const KEEP: &str = "What to keep";
const IDS_HELP: &str = "Snapshots: their ids or beginnings of them, latest, latest~2";

/// What to keep.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = KEEP)]
pub struct Keep {
    /// The newest N; 'unlimited' for all, here and below
    #[arg(short = 'l', long, value_name = "N", allow_hyphen_values = true)]
    pub keep_last: Option<Count>,
    /// The newest of each of N hours that have one
    #[arg(short = 'H', long, value_name = "N", allow_hyphen_values = true)]
    pub keep_hourly: Option<Count>,
    /// The newest of each of N days
    #[arg(short = 'd', long, value_name = "N", allow_hyphen_values = true)]
    pub keep_daily: Option<Count>,
    /// The newest of each of N weeks, Monday to Sunday
    #[arg(short = 'w', long, value_name = "N", allow_hyphen_values = true)]
    pub keep_weekly: Option<Count>,
    /// The newest of each of N months
    #[arg(short = 'm', long, value_name = "N", allow_hyphen_values = true)]
    pub keep_monthly: Option<Count>,
    /// The newest of each of N years
    #[arg(short = 'y', long, value_name = "N", allow_hyphen_values = true)]
    pub keep_yearly: Option<Count>,
    /// All so close to the newest, like 1y5m7d2h (m: months)
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true)]
    pub keep_within: Option<Span>,
    /// The newest of each hour so close to the newest of all
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true)]
    pub keep_within_hourly: Option<Span>,
    /// The newest of each day so close
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true)]
    pub keep_within_daily: Option<Span>,
    /// The newest of each week so close
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true)]
    pub keep_within_weekly: Option<Span>,
    /// The newest of each month so close
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true)]
    pub keep_within_monthly: Option<Span>,
    /// The newest of each year so close
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true)]
    pub keep_within_yearly: Option<Span>,
    /// All with all of these tags, '' for none; repeated, with any of the lists
    #[arg(long, value_name = "TAG[,TAG...]")]
    pub keep_tag: Vec<TagList>,
    /// All whose id begins so; may be repeated
    #[arg(long, value_name = "ID")]
    pub keep_id: Vec<String>,
    /// The newest of each of COUNT such intervals: 6h, 1d, 2w, 1M (months), 1y; may be repeated
    #[arg(long, value_name = "INTERVAL=COUNT", value_parser = schedule)]
    pub schedule: Vec<Schedule>,
    /// No more than N in all; the oldest automatic ones go first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_backups: Option<u32>,
    /// Of those made by hand the newest N, whatever else is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub manual_count: Option<u32>,
    /// Let rules count as they do in restic, borg or kopia [default: restic]
    #[arg(long, value_name = "PROGRAM", value_parser = Style::parse)]
    pub retention_style: Option<Style>,
    /// The time zone in which schedules begin their days [default: this machine's]
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
}

/// `1d=7`
fn schedule(text: &str) -> Result<Schedule, String> {
    let (interval, count) = text.split_once('=').ok_or_else(|| format!("'{text}' is not like 1d=7"))?;
    let (every, unit) = Schedule::interval(interval).map_err(|why| format!("interval: {why}"))?;
    match count.parse() {
        Ok(0) => Err("count: 0 would keep nothing".into()),
        Ok(count) => Ok(Schedule { every, unit, count }),
        Err(_) => Err(format!("count: '{count}' is no count that fits")),
    }
}

/// `orlop forget`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop forget --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --dry-run
  orlop forget --schedule 1d=7 --schedule 1w=4        the same in schedule counts
  orlop forget --tag nightly --keep-within 1m
  orlop forget --keep-last 3 --prune --now            and free at once whatever nothing needs
  orlop forget 4f3a09b1 latest~3                      these, whatever any policy says
  orlop forget                                        by the policies that `policy set` stored
  orlop forget --accept-lost snapshots/5d…/0000000000000007

What is forgotten can be brought back with `orlop undelete` for seven days, or as long as
`orlop policy window` says. `--prune --now` ends that for all that was ever forgotten.")]
pub struct Forget {
    /// Which ones.
    #[arg(value_name = "SNAPSHOT", help = IDS_HELP)]
    pub ids: Vec<String>,
    /// Go on without a snapshot whose record is lost, by the name that `check` says; may be repeated
    #[arg(long, value_name = "OBJECT", conflicts_with_all = ["ids", "dry_run"])]
    pub accept_lost: Vec<String>,
    /// Fewer columns
    #[arg(short, long)]
    pub compact: bool,
    /// Only say what would be removed, and why, and with --prune what that would free
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Prune afterwards, if anything was removed: see `orlop prune`; with --json a line of its own
    #[arg(long)]
    pub prune: bool,
    /// What to keep.
    #[command(flatten)]
    pub keep: Keep,
    /// Read what to keep from a file with JSON, - for standard input
    #[arg(long, value_name = "FILE", help_heading = KEEP)]
    pub policy_file: Option<PathBuf>,
    /// Only of this host; may be repeated
    #[arg(long, value_name = "NAME", help_heading = SELECT)]
    pub host: Vec<String>,
    /// Only with all of these tags; repeated, with any of the lists
    #[arg(long, value_name = "TAG[,TAG...]", help_heading = SELECT)]
    pub tag: Vec<TagList>,
    /// Only with this absolute path; repeated, with all of them
    #[arg(long, value_name = "PATH", help_heading = SELECT)]
    pub path: Vec<OsString>,
    /// What belongs together: host, hostname (of any machine), paths, tags, label; '' for all
    /// [default: host,paths]
    #[arg(short, long, value_name = "GROUP", value_parser = GroupBy::parse, help_heading = SELECT)]
    pub group_by: Option<GroupBy>,
    /// Let a group lose all its snapshots; needs --host, --tag or --path
    #[arg(long)]
    pub unsafe_allow_remove_all: bool,
    /// Let a stored policy remove more than half of a group, or a client's last snapshots
    #[arg(long)]
    pub allow_mass_removal: bool,
    /// How far it goes.
    #[command(flatten, next_help_heading = "With --prune")]
    pub pruning: Pruning,
}

/// `orlop undelete`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop undelete                  list what can be brought back, and until when
  orlop undelete 4f3a09b1")]
pub struct Undelete {
    /// Forgotten snapshots: their ids or beginnings of them
    #[arg(value_name = "SNAPSHOT")]
    pub ids: Vec<String>,
}

/// `orlop tag`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop tag --add checked latest
  orlop tag --remove old --host web1
  orlop tag --set a,b 4f3a09b1            exactly these; --set '' for none")]
pub struct Tag {
    /// Which ones.
    #[arg(value_name = "SNAPSHOT", help = IDS_HELP)]
    pub ids: Vec<String>,
    /// Add these tags
    #[arg(long, value_name = "TAG[,TAG...]")]
    pub add: Vec<TagList>,
    /// Take these tags away
    #[arg(long, value_name = "TAG[,TAG...]")]
    pub remove: Vec<TagList>,
    /// Let the tags be exactly these
    #[arg(long, value_name = "TAG[,TAG...]", conflicts_with_all = ["add", "remove"])]
    pub set: Vec<TagList>,
    /// Which snapshots.
    #[command(flatten)]
    pub filter: Filter,
}

/// `orlop describe`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop describe latest --description 'before the migration'
  orlop describe 4f3a09b1 --label release         policies are stored for labels, too
  orlop describe 4f3a09b1 --label ''              none any more")]
pub struct Describe {
    /// Which ones.
    #[arg(value_name = "SNAPSHOT", help = IDS_HELP, required = true)]
    pub ids: Vec<String>,
    /// A label to find it by; '' for none
    #[arg(long, value_name = "TEXT", required_unless_present = "description")]
    pub label: Option<String>,
    /// What it is, in a sentence; '' for none
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
}

/// `orlop hold`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop hold latest --reason 'before the migration'
  orlop hold 4f3a09b1 --reason audit --until '2030-01-01 00:00:00'")]
pub struct Hold {
    /// Which ones.
    #[arg(value_name = "SNAPSHOT", help = IDS_HELP, required = true)]
    pub ids: Vec<String>,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Until then, like '2030-01-01 00:00:00' [default: for ever]
    #[arg(long, value_name = "TIME")]
    pub until: Option<When>,
    /// So long from now, like 1y5m7d2h
    #[arg(long = "for", value_name = "SPAN", conflicts_with = "until")]
    pub span: Option<Span>,
}

/// `orlop release`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop release 1a2b3c4d
  orlop release latest")]
pub struct Release {
    /// Which ones.
    #[arg(value_name = "SNAPSHOT", help = IDS_HELP, required = true)]
    pub ids: Vec<String>,
}

/// `orlop policy`
#[derive(Debug, Args)]
pub struct Policy {
    /// What to do.
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Store what to keep, for all snapshots or some
    Set(Box<PolicySet>),
    /// Show what is stored, and what it means for each group
    Show(PolicyShow),
    /// Say what would be there after some time
    Simulate(Box<PolicySimulate>),
    /// Show or set how long what is forgotten can be brought back
    Window(PolicyWindow),
}

/// `orlop policy set`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop policy set --default                          the newest of each of two days
  orlop policy set --schedule 1d=7 --schedule 1w=4 --schedule 1M=12
  orlop policy set --host web1 --keep-hourly 24       for one host, besides what is for all
  orlop policy set --path /home --remove              take it back
  echo '[{\"interval\": \"1d\", \"count\": 7}]' | orlop policy set --policy-file -

A policy for paths comes before one for a label, and that before one for a host, and that before one
for all; what it does not say is taken from the next.")]
pub struct PolicySet {
    /// What to keep.
    #[command(flatten)]
    pub keep: Keep,
    /// Read what to keep from a file with JSON, - for standard input
    #[arg(long, value_name = "FILE", help_heading = KEEP)]
    pub policy_file: Option<PathBuf>,
    /// The template: the newest of each of two days
    #[arg(long, help_heading = KEEP, conflicts_with = "policy_file")]
    pub default: bool,
    /// Take nothing over from policies for more
    #[arg(long, help_heading = KEEP)]
    pub no_inherit: bool,
    /// For this host
    #[arg(long, value_name = "NAME", help_heading = SELECT)]
    pub host: Option<String>,
    /// For this label
    #[arg(long, value_name = "TEXT", help_heading = SELECT)]
    pub label: Option<String>,
    /// For snapshots of exactly these absolute paths
    #[arg(long, value_name = "PATH", help_heading = SELECT)]
    pub path: Vec<OsString>,
    /// Take the policy back
    #[arg(long, conflicts_with_all = ["policy_file", "default", "no_inherit"])]
    pub remove: bool,
}

/// `orlop policy show`
#[derive(Debug, Args)]
pub struct PolicyShow {}

/// `orlop policy simulate`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop policy simulate --until 2y                          by what is stored
  orlop policy simulate --until 1y --every 1h --keep-hourly 24 --keep-daily 14")]
pub struct PolicySimulate {
    /// So long from now, like 2y
    #[arg(long, value_name = "SPAN", default_value = "1y")]
    pub until: Span,
    /// How often a backup is made, like 1d or 1h
    #[arg(long, value_name = "SPAN", default_value = "1d")]
    pub every: Span,
    /// What to keep.
    #[command(flatten)]
    pub keep: Keep,
    /// Read what to keep from a file with JSON, - for standard input
    #[arg(long, value_name = "FILE", help_heading = KEEP)]
    pub policy_file: Option<PathBuf>,
}

/// `orlop policy window`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop policy window
  orlop policy window 14d")]
pub struct PolicyWindow {
    /// From now on so long, like 14d or 12h; 0d for not at all
    #[arg(value_name = "SPAN")]
    pub span: Option<Span>,
}
