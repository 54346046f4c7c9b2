//! Making an earlier state current again.

use clap::Args;

/// `orlop rescue`
#[derive(Debug, Args)]
#[command(after_help = "\
For buckets with versioning, after somebody overwrote or deleted what was not theirs. What is good now
and came later stays; what was deleted is there again; what does not match its name, or differs from what
was there, is overwritten. No password is needed, only the right to read versions and to put. A run
that was stopped is simply run again. Objects that a prune deleted since come back, too, and the next
prune deletes them again; key slots only with --keys, since their old passwords open them.

Examples:
  orlop --as-of '2026-11-20 12:00:00' snapshots          was it whole then?
  orlop --as-of '2026-11-20 12:00:00' restore latest --target /tmp/out
  orlop --as-of '2026-11-20 12:00:00' rescue --dry-run   what would be done
  orlop --as-of '2026-11-20 12:00:00' rescue
  orlop check --read-data")]
pub struct Rescue {
    /// Change nothing; say what would be done. Reads as much as the real run
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Bring key slots back, too, that were removed or changed since
    #[arg(long)]
    pub keys: bool,
}
