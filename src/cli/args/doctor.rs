//! Finding out what is wrong outside of the repository.

use clap::{Args, Subcommand};

/// `orlop doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// What to look at.
    #[command(subcommand)]
    pub command: DoctorCommand,
}

/// What can be looked at.
#[derive(Debug, Subcommand)]
pub enum DoctorCommand {
    /// Find out what the storage does, and which guarantees hold on it
    Storage(DoctorStorage),
}

/// `orlop doctor storage`
#[derive(Debug, Args)]
#[command(after_help = "\
A few small objects are written below probe/ in the repository's place, raced for over two
connections, read, listed and deleted. There need not be a repository. What is found is remembered
for this place, and decides whether `orlop prune` may collect there.

Examples:
  orlop -r s3:https://s3.example.org/bucket/orlop doctor storage
  orlop -r sftp:anna@nas:/srv/orlop doctor storage --json")]
pub struct DoctorStorage {}
