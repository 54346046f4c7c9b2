//! `init` and `key`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Role;
use crate::retain::Span;

/// `orlop init`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop init -r /mnt/backup/orlop                       asks for a password
  orlop init -r /mnt/backup/orlop --key-file ~/.orlop.key
                                                        makes the key file if it is not there
  orlop init -r /mnt/b --mirror-of /mnt/a               packs can move between the two

A recovery key of words is shown once. Without a terminal, or with -q, it is printed on standard
output or written to --recovery-file.")]
pub struct Init {
    /// Write the recovery key to a new file that only you can read
    #[arg(long, value_name = "FILE")]
    pub recovery_file: Option<PathBuf>,
    /// Make no recovery key; a lost password is then a lost repository
    #[arg(long, conflicts_with = "recovery_file")]
    pub no_recovery_key: bool,
    /// Make a mirror of another repository: the same keys inside, so that packs can be exchanged
    #[arg(long, value_name = "REPOSITORY", conflicts_with_all = ["copy_chunker_params", "from_repo"])]
    pub mirror_of: Option<OsString>,
    /// Cut files where another repository (--from-repo) cuts them
    #[arg(long)]
    pub copy_chunker_params: bool,
    /// How long what is forgotten can be brought back, like 14d or 12h; 0d for not at all
    #[arg(long, value_name = "SPAN", default_value = "7d")]
    pub undelete_window: Span,
    /// Format version to write: 1, latest or stable
    #[arg(long, value_name = "VERSION", default_value = "stable")]
    pub repository_version: String,
    /// The other repository.
    #[command(flatten)]
    pub from: From,
}

/// Where another repository is and what unlocks it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "The other repository")]
pub struct From {
    /// Where the other repository is [env: ORLOP_FROM_REPOSITORY]
    #[arg(long, value_name = "REPOSITORY")]
    pub from_repo: Option<OsString>,
    /// Read where the other repository is from a file [env: ORLOP_FROM_REPOSITORY_FILE]
    #[arg(long, value_name = "FILE", conflicts_with = "from_repo")]
    pub from_repository_file: Option<PathBuf>,
    /// Read its password from a file [env: ORLOP_FROM_PASSWORD_FILE]
    #[arg(long, value_name = "FILE")]
    pub from_password_file: Option<PathBuf>,
    /// Read its password from a command's output [env: ORLOP_FROM_PASSWORD_COMMAND]
    #[arg(long, value_name = "COMMAND", conflicts_with = "from_password_file")]
    pub from_password_command: Option<String>,
    /// Try the key of it with this id first
    #[arg(long, value_name = "KEY")]
    pub from_key_hint: Option<String>,
    /// Unlock it with a key file [env: ORLOP_FROM_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    #[arg(conflicts_with_all = ["from_password_file", "from_password_command"])]
    pub from_key_file: Option<PathBuf>,
    /// It has no password
    #[arg(long)]
    #[arg(conflicts_with_all = ["from_password_file", "from_password_command", "from_key_file"])]
    pub from_insecure_no_password: bool,
}

/// `orlop key`
#[derive(Debug, Args)]
pub struct Key {
    /// What to do.
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// List what unlocks the repository
    List(KeyList),
    /// Add a password or key file
    Add(KeyAdd),
    /// Remove one
    Remove(KeyRemove),
    /// Put a new password in place of the one in use
    Passwd(KeyPasswd),
    /// Make a new recovery key; the old one stops working
    Recovery(KeyRecovery),
}

/// `orlop key list`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  orlop key list --json")]
pub struct KeyList {}

/// What a new key is made from; without any of these a password is asked for.
#[derive(Debug, Clone, Default, Args)]
pub struct NewSecret {
    /// Read the new password from a file
    #[arg(long, value_name = "FILE")]
    pub new_password_file: Option<PathBuf>,
    /// Use a key file, made if it is not there
    #[arg(long, value_name = "FILE", conflicts_with = "new_password_file")]
    pub new_key_file: Option<PathBuf>,
    /// Add a way in without any password
    #[arg(long, conflicts_with_all = ["new_password_file", "new_key_file"])]
    pub new_insecure_no_password: bool,
}

/// `orlop key add`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop key add                                         one more password
  orlop key add --new-key-file /root/orlop.key          one more key file
  orlop key add --role client --client web1             web1 sees and signs as itself only")]
pub struct KeyAdd {
    /// The new secret.
    #[command(flatten)]
    pub new: NewSecret,
    /// What it may do: owner, or client, which needs --client NAME
    #[arg(long, value_name = "ROLE", default_value = "owner", hide_possible_values = true)]
    pub role: Role,
    /// User name to note beside it
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Host name to note beside it
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
}

/// `orlop key remove`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  orlop key remove 3f9a0c")]
pub struct KeyRemove {
    /// Its id, or the beginning of it
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `orlop key passwd`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop key passwd
  orlop key passwd --new-password-file new-password")]
pub struct KeyPasswd {
    /// The new secret.
    #[command(flatten)]
    pub new: NewSecret,
    /// User name to note beside it
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Host name to note beside it
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
}

/// `orlop key recovery`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop key recovery
  orlop key recovery --recovery-file /media/stick/orlop-words")]
pub struct KeyRecovery {
    /// Write the recovery key to a new file that only you can read
    #[arg(long, value_name = "FILE")]
    pub recovery_file: Option<PathBuf>,
}
