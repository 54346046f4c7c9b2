//! What makes the tool at home on a machine: `quickstart`, `config`, `generate`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `orlop quickstart`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop quickstart ~/Documents
  orlop quickstart                       asks which folder
  orlop quickstart -r /mnt/disk/backup ~/Documents

The repository is made in ~/.local/share/orlop/repository unless -r says where, its key file in
~/.config/orlop/keys. Run it again and it adds a snapshot.

Exit code 3: the snapshot was saved, but something named above could not be read.")]
pub struct Quickstart {
    /// The folder to protect; asked for where it is missing
    #[arg(value_name = "PATH")]
    pub path: Option<OsString>,
}

/// `orlop config`
#[derive(Debug, Args)]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What can be done with settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the settings that a command would have
    Show(ConfigShow),
}

/// `orlop config show`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orlop -P laptop config show --origin
  orlop -P laptop config show --origin backup     with every flag of backup

Secrets are never printed, nor the arguments of a password command.")]
pub struct ConfigShow {
    /// Say where each value comes from: a flag, a variable, FILE:LINE, or the default
    #[arg(long)]
    pub origin: bool,
    /// Show every flag of this command, too, and not only what the file sets
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
}

/// `orlop generate`
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  orlop generate --man /usr/local/share/man/man1
  orlop generate --bash-completion ~/.local/share/bash-completion/completions/orlop
  orlop generate --zsh-completion ~/.zfunc/_orlop
  orlop generate --fish-completion ~/.config/fish/completions/orlop.fish
  orlop generate --powershell-completion - >> $PROFILE
  orlop generate --elvish-completion - >> ~/.config/elvish/rc.elv")]
pub struct Generate {
    /// Write man pages into this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub man: Option<PathBuf>,
    /// Write completions for bash, - for standard output
    #[arg(long, value_name = "FILE")]
    pub bash_completion: Option<PathBuf>,
    /// Write completions for zsh, - for standard output
    #[arg(long, value_name = "FILE")]
    pub zsh_completion: Option<PathBuf>,
    /// Write completions for fish, - for standard output
    #[arg(long, value_name = "FILE")]
    pub fish_completion: Option<PathBuf>,
    /// Write completions for elvish, - for standard output
    #[arg(long, value_name = "FILE")]
    pub elvish_completion: Option<PathBuf>,
    /// Write completions for PowerShell, - for standard output
    #[arg(long, value_name = "FILE")]
    pub powershell_completion: Option<PathBuf>,
}
