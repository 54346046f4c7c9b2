//! `copy`.

use clap::Args;

use super::{Filter, From};

/// `orlop copy`
#[derive(Debug, Args)]
#[command(after_help = "\
Copies from --from-repo to -r. Without ids all snapshots that match are copied; what is there already is
not copied again, and a copy that was interrupted goes on when it is run again.

A mirror (made with `orlop init --mirror-of`) gets packs and statements as they are, signatures included,
and the statements of all other snapshots without their content, so that nothing seems to be missing. Any
other repository gets snapshots of its own, each with the original's signed statement as evidence.

Examples:
  orlop copy -r /mnt/usb --from-repo /mnt/backup
  orlop copy -r /mnt/usb --from-repo /mnt/backup --host web1 --tag monthly
  orlop copy -r /mnt/usb -r /mnt/nas --from-repo /mnt/backup latest

Exit code 3: some snapshots, or all in some of several repositories, could not be copied.")]
pub struct Copy {
    #[doc = "Which ones."]
    #[arg(value_name = "SNAPSHOT", help = "Snapshots: their ids or beginnings of them, latest, latest~2")]
    pub ids: Vec<String>,
    /// Which ones.
    #[command(flatten)]
    pub filter: Filter,
    /// Say what would be copied
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Compare all of both trees afterwards, also of those that were there already
    #[arg(long)]
    pub verify: bool,
    /// Packs or files that are on their way at once
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub connections: u8,
    /// The repository to copy from.
    #[command(flatten)]
    pub from: From,
}
