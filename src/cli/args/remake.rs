//! What makes snapshots of others: `rewrite` and `merge`.

use clap::Args;

use super::{Choice, Filter, TagList, When};

const SAYS: &str = "What the new snapshot says";
const IDS_HELP: &str = "Snapshots: their ids or beginnings of them, latest, latest~2";

/// `orlop rewrite`
#[derive(Debug, Args)]
#[command(after_help = "\
Makes a new snapshot of each that changes. The original stays until it is forgotten, and the new one has
the tag rewrite; with --forget the original goes, and can be brought back with `orlop undelete`. Without
ids all snapshots that match are looked at. One in which no file would be left stays as it is.

Examples:
  orlop rewrite --exclude /home/anna/secret --dry-run -v
  orlop rewrite --forget --exclude '*.iso' --host web1
  orlop rewrite --new-host laptop 4f3a09b1")]
pub struct Rewrite {
    #[doc = "Which ones."]
    #[arg(value_name = "SNAPSHOT", help = IDS_HELP)]
    pub ids: Vec<String>,
    /// What stays.
    #[command(flatten)]
    pub choice: Choice,
    /// Another host name
    #[arg(long, value_name = "NAME", help_heading = SAYS)]
    pub new_host: Option<String>,
    /// Another time, like '2012-11-01 22:08:41'
    #[arg(long, value_name = "TIME", help_heading = SAYS)]
    pub new_time: Option<When>,
    /// Accepted for restic's sake: every snapshot has its summary
    #[arg(short, long, hide = true)]
    pub snapshot_summary: bool,
    /// Forget the originals of those that changed
    #[arg(long)]
    pub forget: bool,
    /// Only say what would be changed
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Which snapshots.
    #[command(flatten)]
    pub filter: Filter,
}

/// `orlop merge`
#[derive(Debug, Args)]
#[command(after_help = "\
The new snapshot has every entry of all of them. Of an entry that several have the one that changed last
is taken, of equals that of the newest snapshot; -v names those that differed. The originals stay.

Examples:
  orlop merge 4f3a09b1 latest
  orlop merge --tag laptop --delete                 all with this tag become one")]
pub struct Merge {
    #[doc = "Which ones."]
    #[arg(value_name = "SNAPSHOT", help = IDS_HELP)]
    pub ids: Vec<String>,
    /// Another host name than that of the newest
    #[arg(long, value_name = "NAME", help_heading = SAYS)]
    pub new_host: Option<String>,
    /// Another time than now
    #[arg(long, value_name = "TIME", default_value = "now", help_heading = SAYS)]
    pub new_time: When,
    /// These tags in place of all that the originals have
    #[arg(long, value_name = "TAG[,TAG...]", help_heading = SAYS)]
    pub set_tags: Vec<TagList>,
    /// A label to find it by
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, help_heading = SAYS)]
    pub label: String,
    /// What it is, in a sentence
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, help_heading = SAYS)]
    pub description: String,
    /// Forget the originals
    #[arg(long, visible_alias = "forget")]
    pub delete: bool,
    /// Only say what would come of it
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Which snapshots.
    #[command(flatten)]
    pub filter: Filter,
}
