//! One thin file per subcommand: arguments to options, the operation, its result to words.

pub mod backup;
pub mod check;
pub mod init;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use super::console::Console;
use super::password::{self, Credential as Given, Source};
use super::settings::Settings;
use super::signals;
use crate::crypto::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Notice;
use crate::format::keys::Credential;
use crate::repo::{self, Repository};
use crate::storage::{LocalStorage, Storage, StorageErrorKind};

/// How often a password may be typed wrong.
const TRIES: usize = 3;

/// What the library opens a slot with.
pub(super) fn credential(given: &Given) -> Credential {
    match given {
        Given::Password(p) => Credential::Password(p.bytes().to_vec().into()),
        Given::Key(k) => Credential::Raw(Secret::new(**k)),
        Given::Nothing => Credential::Nothing,
    }
}

/// A path as typed, as a place on this machine.
fn local_path(place: &OsStr) -> Result<&Path> {
    let text = place.to_string_lossy();
    let scheme =
        text.split_once(':').map(|(s, _)| s).filter(|s| s.len() > 1 && s.bytes().all(|b| b.is_ascii_alphanumeric()));
    match scheme {
        Some("local") => {
            Ok(Path::new(place.to_str().and_then(|s| s.strip_prefix("local:")).map(OsStr::new).unwrap_or(place)))
        }
        Some(scheme @ ("s3" | "sftp" | "rest" | "b2" | "azure" | "gs" | "swift" | "rclone" | "opendal" | "webdav")) => {
            Err(Error::new(ErrorKind::Unsupported, format!("repositories over {scheme}: are not in this version"))
                .hint("use a folder on a disk or a mounted share"))
        }
        _ => Ok(Path::new(place)),
    }
}

/// The storage of a repository that exists.
pub(super) fn storage(place: &OsStr) -> Result<Arc<dyn Storage>> {
    let path = local_path(place)?;
    match LocalStorage::open(path) {
        Ok(s) => Ok(Arc::new(s)),
        Err(e) if e.kind == StorageErrorKind::NotFound => Err(Error::new(
            ErrorKind::NoRepository,
            format!("there is no repository in {}: the folder does not exist", path.display()),
        )
        .hint("check the path given with -r or ORLOP_REPOSITORY")
        .hint("`orlop init` makes one")),
        Err(e) => Err(e.into()),
    }
}

/// The storage of a repository that is to be made.
pub(super) fn new_storage(place: &OsStr) -> Result<Arc<dyn Storage>> {
    Ok(Arc::new(LocalStorage::create(local_path(place)?)?))
}

/// Open the repository of the settings, asking again after a wrong password where a person typed it.
pub(super) fn open(settings: &Settings, console: &Console) -> Result<Repository> {
    open_place(settings.repository()?, &settings.unlock, console)
}

pub(super) fn open_place(place: &OsStr, source: &Source, console: &Console) -> Result<Repository> {
    let storage = storage(place)?;
    let mut tries = if matches!(source, Source::Ask) { TRIES } else { 1 };
    loop {
        tries -= 1;
        let mut notices = Vec::new();
        let given = password::obtain(source, "enter password for repository: ", signals::cancel(), &mut notices)?;
        tell(console, &notices);
        match repo::open(storage.clone(), &credential(&given), None) {
            Err(e) if e.kind() == ErrorKind::WrongPassword && tries > 0 => {
                console.context().notice("wrong-password", "wrong password, try again");
            }
            other => return other,
        }
    }
}

pub(super) fn tell(console: &Console, notices: &[Notice]) {
    for n in notices {
        console.context().notice(n.slug, n.message.clone());
    }
}
