//! Commands and flags of restic's that are not here, answered by name, and those that mean something
//! else. The page `src/docs/restic.md` is made of this and of what clap knows.

use crate::error::{Error, ErrorKind};

/// Name, what it does in restic, what orlop has.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("cache", "lists and cleans local caches", "the cache looks after itself; it is safe to delete its directory"),
    ("features", "lists feature flags", "orlop has no feature flags"),
    ("migrate", "upgrades the repository format", "there is one format, and nothing to migrate"),
    ("mount", "shows snapshots as a file system", "for now, `orlop restore --include` and `orlop dump`"),
    ("options", "lists extended options", "a wrong `-o` lists them, and so does src/docs/storages.md"),
    ("rebuild-index", "writes the index anew", "`orlop check` says whether the index is whole; repair is not here yet"),
    (
        "recover",
        "makes a snapshot of trees that lost theirs",
        "an interrupted backup leaves an incomplete snapshot by itself",
    ),
    ("repair", "repairs index, packs and snapshots", REPAIR),
    ("repair index", "writes the index anew", REPAIR),
    ("repair packs", "saves what is left of damaged packs", REPAIR),
    ("repair snapshots", "takes damaged files out of snapshots", REPAIR),
    ("self-update", "replaces the program", "install a new version the way this one was installed"),
    ("serve", "serves a repository over HTTP", NOT_YET),
    ("unlock", "removes locks", "orlop has no locks: nothing ever needs unlocking"),
];

const NOT_YET: &str = "it is not here yet";
const REPAIR: &str = "`orlop check` says what is damaged; repair is not here yet";

/// Flags likewise.
const FLAGS: &[(&str, &str)] = &[
    ("--cacert", "the environment variable SSL_CERT_FILE names a file of certificates to trust"),
    ("--tls-client-cert", "it is not here yet"),
    ("--insecure-tls", "trust the server's certificate with SSL_CERT_FILE in place of trusting everybody's"),
    ("--http-user-agent", "it is always orlop and its version"),
    ("--stuck-request-timeout", "requests on which nothing moves for a minute are given up and made again"),
    ("--use-fs-snapshot", "that is for Windows"),
    ("--exclude-cloud-files", "that is for Windows"),
    ("--last", "say --latest 1"),
    ("--repack-cacheable-only", CHOICE),
    ("--repack-uncompressed", CHOICE),
    ("--repack-smaller-than", CHOICE),
    ("--unsafe-recover-no-free-space", "make some room first"),
    ("--show-pack-id", "`orlop list blobs` has the packs"),
    ("--unsafe-allow-remove-all", "name the snapshots that shall go"),
];

const CHOICE: &str = "there is no such choice: it is done where it pays";

/// What is here under the same name and means something else, by command (`*` for flags of every
/// command) and flag (empty for the command itself).
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("*", "--no-lock", "accepted, and without effect: nothing here locks"),
    ("*", "--retry-lock", "accepted, and without effect: nothing here locks"),
    (
        "*",
        "--password-file",
        "a password is never read from standard input: without a terminal it comes from a file, a command or a variable; `--password-file /dev/stdin` reads it from there",
    ),
    ("*", "--cleanup-cache", "accepted, and without effect: the cache looks after itself"),
    ("*", "--option", "has other names but for those of storages that restic has, too: src/docs/storages.md"),
    (
        "*",
        "--repo",
        "a directory, `local:`, `s3:`, `azure:`, `swift:`, `sftp:`, `rclone:`, and `webdav:` and `opendal:`; no `rest:` and `b2:`, and `gs:` as `opendal:gcs`; `backup` and `copy` take several",
    ),
    ("*", "--key-hint", "the id of one of orlop's keys; RESTIC_KEY_HINT is not looked at"),
    ("backup", "--read-concurrency", "16 if nothing is said, more with more processors"),
    ("backup", "--parent", "also `latest~N`"),
    ("backup", "--stdin", "an empty stream makes no snapshot, and the exit code 1"),
    ("backup", "--stdin-from-command", "output that is empty makes no snapshot, and the exit code 1"),
    ("check", "--host", "chooses trees; `--read-data` reads the packs of all snapshots"),
    ("check", "--path", "chooses trees; `--read-data` reads the packs of all snapshots"),
    ("check", "--tag", "chooses trees; `--read-data` reads the packs of all snapshots"),
    ("cat", "", "has no `masterkey` and no `lock`; `tree` takes SNAPSHOT:PATH; `key` shows no secrets"),
    ("diff", "", "also takes `latest` and `latest~N`, and a directory as it is now"),
    ("forget", "--prune", "frees what it condemned a day before; `--now` frees at once"),
    ("forget", "--max-unused", "only with `--prune`"),
    ("forget", "--max-repack-size", "only with `--prune`"),
    ("generate", "", "also for elvish"),
    ("init", "--repository-version", "`1`, `latest` and `stable`, which are all the same format"),
    ("init", "", "also makes a recovery key, unless told not to"),
    ("key", "", "also knows key files, recovery keys and clients' keys"),
    ("list", "", "`locks` lists none"),
    ("prune", "", "frees what it condemned a day before; `--now` frees at once"),
    ("rewrite", "--snapshot-summary", "accepted, and without effect: every snapshot has its summary"),
    ("rewrite", "", "a snapshot in which no file would be left stays as it is"),
    ("snapshots", "", "a snapshot that is named and not there makes the exit code 3"),
    ("tag", "", "a snapshot that is named and not there makes the exit code 3"),
];

/// The answer to a command that orlop does not have, if restic has it.
pub fn command(name: &str) -> Option<Error> {
    let (name, there, here) = COMMANDS.iter().find(|(known, ..)| *known == name)?;
    let what = format!("orlop has no command `{name}`, which in restic {there}");
    Some(Error::new(ErrorKind::Unsupported, what).hint(*here))
}

/// The answer to a flag that orlop does not have, if restic has it.
pub fn flag(typed: &str) -> Option<Error> {
    let name = typed.split('=').next().unwrap_or(typed);
    let (name, here) = FLAGS.iter().find(|(known, _)| *known == name)?;
    Some(Error::new(ErrorKind::Unsupported, format!("orlop has no flag {name} as restic has")).hint(*here))
}

/// How a command or flag of restic's differs here; `*` is every command, an empty flag the command
/// itself.
pub fn difference(command: &str, flag: &str) -> Option<&'static str> {
    DIFFERENT.iter().find(|(c, f, _)| (*c, *f) == (command, flag)).map(|(.., how)| *how)
}

/// What there is in place of a command that is not here.
pub fn instead_of_command(name: &str) -> Option<&'static str> {
    COMMANDS.iter().find(|(known, ..)| *known == name).map(|(.., here)| *here)
}

/// What there is in place of a flag that is not here.
pub fn instead_of_flag(name: &str) -> Option<&'static str> {
    FLAGS.iter().find(|(known, _)| *known == name).map(|(_, here)| *here)
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
        assert!(flag("--http-user-agent").is_some());
        assert!(flag("--cacert=file").is_some());
        assert!(flag("--frobnicate").is_none());
    }
}
