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
    /// Print a bucket policy for those who only back up, and for those who also delete
    Policy(DoctorPolicy),
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

/// `orlop doctor policy`
#[derive(Debug, Args)]
#[command(after_help = "\
For a repository in a bucket behind s3:. Backing up makes objects and neither overwrites nor deletes any, so
machines that back up need not be allowed to: whoever takes one over can add to the repository, and read
it, and no more. What their keys may do in the repository is another matter: give them keys of the role
client. Nobody is allowed to delete versions, so switch versioning on and let a lifecycle rule remove old
ones. Nothing is asked of the storage, and nothing is changed there.

Examples:
  orlop -r s3:s3.amazonaws.com/bucket/orlop doctor policy \\
      --for-client arn:aws:iam::111122223333:user/web --for-owner arn:aws:iam::111122223333:user/anna")]
pub struct DoctorPolicy {
    /// Who may read and create; may be given several times
    #[arg(long, value_name = "PRINCIPAL", required_unless_present = "for_owner")]
    pub for_client: Vec<String>,
    /// Who may also replace and delete; may be given several times
    #[arg(long, value_name = "PRINCIPAL")]
    pub for_owner: Vec<String>,
    /// For servers that do not know the condition s3:if-none-match, such as Ceph's gateway. There a client
    /// can overwrite, and only versions help against that
    #[arg(long)]
    pub without_condition: bool,
}
