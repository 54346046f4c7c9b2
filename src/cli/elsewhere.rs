//! Commands and flags that restic has and orlop lacks, answered by name: what it is there, and
//! what there is here.

use crate::error::{Error, ErrorKind};

/// Name, what it does in restic, what orlop has.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("cache", "lists and cleans local caches", "the cache looks after itself; it is safe to delete its directory"),
    ("copy", "copies snapshots to another repository", NOT_YET),
    ("features", "lists feature flags", "orlop has no feature flags"),
    ("generate", "writes manual pages and shell completions", NOT_YET),
    ("migrate", "upgrades the repository format", "there is one format, and nothing to migrate"),
    ("mount", "shows snapshots as a file system", "for now, `orlop restore --include` and `orlop dump`"),
    ("options", "lists extended options", "orlop has no extended options"),
    ("rebuild-index", "writes the index anew", "`orlop check` says whether the index is whole; repair is not here yet"),
    (
        "recover",
        "makes a snapshot of trees that lost theirs",
        "an interrupted backup leaves an incomplete snapshot by itself",
    ),
    ("repair", "repairs index, packs and snapshots", "`orlop check` says what is damaged; repair is not here yet"),
    ("rewrite", "changes snapshots after the fact", NOT_YET),
    ("self-update", "replaces the program", "install a new version the way this one was installed"),
    ("serve", "serves a repository over HTTP", NOT_YET),
    ("unlock", "removes locks", "orlop has no locks: nothing ever needs unlocking"),
];

const NOT_YET: &str = "it is not here yet";

/// Flags likewise.
const FLAGS: &[(&str, &str)] = &[
    ("--cacert", LOCAL),
    ("--tls-client-cert", LOCAL),
    ("--insecure-tls", LOCAL),
    ("--http-user-agent", LOCAL),
    ("--limit-upload", LOCAL),
    ("--limit-download", LOCAL),
    ("--stuck-request-timeout", LOCAL),
    ("--option", "orlop has no extended options"),
    ("--use-fs-snapshot", "that is for Windows"),
    ("--exclude-cloud-files", "that is for Windows"),
    ("--last", "say --latest 1"),
    ("--from-key-hint", "every key of the other repository is tried"),
];

const LOCAL: &str = "repositories are in local directories, there is no network to configure";

/// The answer to a command that orlop does not have, if restic has it.
pub fn command(name: &str) -> Option<Error> {
    let (name, there, here) = COMMANDS.iter().find(|(known, ..)| *known == name)?;
    let what = format!("orlop has no command `{name}`, which in restic {there}");
    Some(Error::new(ErrorKind::Unsupported, what).hint(*here))
}

/// The answer to a flag that orlop does not have, if restic has it.
pub fn flag(typed: &str) -> Option<Error> {
    let name = typed.split('=').next().unwrap_or(typed);
    let name = if name == "-o" { "--option" } else { name };
    let (name, here) = FLAGS.iter().find(|(known, _)| *known == name)?;
    Some(Error::new(ErrorKind::Unsupported, format!("orlop has no flag {name} as restic has")).hint(*here))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use clap::CommandFactory;

    #[test]
    fn every_restic_command_is_here_or_answered() {
        const RESTIC: &str = "backup cache cat check copy diff dump find forget init key list ls \
            migrate mount prune recover repair restore rewrite snapshots stats tag unlock features \
            options generate help version self-update rebuild-index";
        let mut clap = Cli::command();
        clap.build();
        for name in RESTIC.split_whitespace() {
            let here = clap.find_subcommand(name).is_some();
            assert!(here != command(name).is_some(), "{name}");
        }
        assert!(command("frobnicate").is_none());
    }

    #[test]
    fn flags_are_answered() {
        assert!(flag("--limit-upload=3").is_some());
        assert!(flag("-o").is_some());
        assert!(flag("--frobnicate").is_none());
    }
}
