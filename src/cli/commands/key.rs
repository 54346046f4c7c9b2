//! `key`.

use super::{credential, open, recovery, slot_by_prefix, tell};
use crate::cli::args::{Key, KeyAdd, KeyCommand, KeyPasswd, KeyRecovery, KeyRemove, NewSecret, Role as RoleArg};
use crate::cli::console::Console;
use crate::cli::password::{self, Source};
use crate::cli::settings::Settings;
use crate::cli::signals;
use crate::crypto::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::format::keys::{Credential, Kdf, Role};
use crate::id::SlotId;
use crate::repo::{Repository, SlotInfo, SlotNote};
use crate::report::exit::Outcome;
use crate::report::{Job, Loudness, keys, wire};
use crate::sys;

/// The label of recovery keys' slots.
const RECOVERY: &str = "recovery";

/// Manage what unlocks the repository.
pub fn run(args: &Key, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    if let KeyCommand::Recovery(args) = &args.command {
        recovery::check_file(args.recovery_file.as_deref())?;
    }
    let mut repo = open(settings, &console)?;
    match &args.command {
        KeyCommand::List(_) => list(&repo, &console),
        KeyCommand::Add(args) => add(args, &mut repo, settings, &console),
        KeyCommand::Remove(args) => remove(args, &repo, &console),
        KeyCommand::Passwd(args) => passwd(args, &mut repo, &console),
        KeyCommand::Recovery(args) => renew(args, &mut repo, &console),
    }?;
    Ok(Outcome::Done)
}

fn list(repo: &Repository, console: &Console) -> Result<()> {
    let rows: Vec<keys::Row> = repo.slots()?.into_iter().map(row).collect();
    console.print(match console.json {
        true => keys::json(&rows, &console.zone()),
        false => keys::text(&rows, console.names, &console.zone()),
    })
}

fn row(slot: SlotInfo) -> keys::Row {
    let label = slot.secret.as_ref().map(|s| s.label.clone()).unwrap_or_default();
    let kind = match slot.kdf {
        Kdf::Argon2id(_) => "password",
        Kdf::Raw if label == RECOVERY => "recovery",
        Kdf::Raw => "key file",
        Kdf::Nothing => "none",
    };
    let client = if slot.role == Role::Client { label } else { String::new() };
    let made =
        slot.secret.map(|s| keys::Made { user: s.username.clone(), host: s.hostname.clone(), created: s.created });
    let (id, current, role) = (slot.id, slot.current, slot.role.as_str().to_owned());
    keys::Row { id, current, kind: kind.to_owned(), role, client, made }
}

/// The new secret; asked for twice where nothing is said.
fn new_credential(new: &NewSecret, console: &Console) -> Result<Credential> {
    let source = match (&new.new_password_file, &new.new_key_file, new.new_insecure_no_password) {
        (Some(file), ..) => Source::File(file.clone()),
        (_, Some(file), _) => Source::KeyFile(file.clone()),
        (.., true) => Source::Nothing,
        _ => Source::Ask,
    };
    let mut notices = Vec::new();
    let given = password::obtain_new(&source, signals::cancel(), &mut notices).map_err(|e| match source {
        Source::Ask => e.hint("for a new key say --new-password-file or --new-key-file"),
        _ => e,
    })?;
    tell(console, &notices);
    Ok(credential(&given))
}

fn note(user: Option<&String>, host: Option<&String>) -> SlotNote {
    SlotNote { label: String::new(), username: user.cloned(), hostname: host.cloned() }
}

fn add(args: &KeyAdd, repo: &mut Repository, settings: &Settings, console: &Console) -> Result<()> {
    if repo.role() != Role::Owner {
        return Err(Error::new(ErrorKind::Forbidden, "only the owner's key can add keys"));
    }
    let client = match (args.role, &settings.client) {
        (RoleArg::Owner, _) => None,
        (RoleArg::Client, Some(name)) => Some(name),
        (RoleArg::Client, None) => {
            return Err(Error::new(ErrorKind::Invalid, "a client's key needs the client's name")
                .hint("add --client NAME, for example the host's"));
        }
    };
    let credential = new_credential(&args.new, console)?;
    let note = note(args.user.as_ref(), args.host.as_ref());
    let id = match client {
        Some(name) => repo.add_client_slot(name, &credential, &note)?,
        None => repo.add_slot(&credential, &note)?,
    };
    said(console, "saved new key with ID", id)
}

fn said(console: &Console, what: &str, id: SlotId) -> Result<()> {
    console.remark(Loudness::Normal, &format!("{what} {}\n", id.hex()))
}

fn remove(args: &KeyRemove, repo: &Repository, console: &Console) -> Result<()> {
    let slots: Vec<SlotId> = repo.slots()?.iter().map(|s| s.id).collect();
    let id = slot_by_prefix(&slots, &args.id)?;
    repo.remove_slot(id)?;
    said(console, "removed key", id)
}

fn passwd(args: &KeyPasswd, repo: &mut Repository, console: &Console) -> Result<()> {
    let credential = new_credential(&args.new, console)?;
    let id = repo.change_credential(&credential, &note(args.user.as_ref(), args.host.as_ref()))?;
    said(console, "saved new key as", id)
}

/// A new recovery key; the old ones go once the new one has been handed over.
fn renew(args: &KeyRecovery, repo: &mut Repository, console: &Console) -> Result<()> {
    if repo.role() != Role::Owner {
        return Err(Error::new(ErrorKind::Forbidden, "only the owner's key can make a recovery key"));
    }
    let is_old = |s: &SlotInfo| s.kdf == Kdf::Raw && s.secret.as_ref().is_some_and(|s| s.label == RECOVERY);
    let old: Vec<SlotInfo> = repo.slots()?.into_iter().filter(is_old).collect();
    let secret = Secret::new(sys::random()?);
    let words = recovery::to_words(&secret)?;
    let id = repo.add_slot(&Credential::Raw(secret.clone()), &SlotNote::labelled(RECOVERY))?;
    let file = args.recovery_file.as_deref();
    if let Err(e) = recovery::show(&words, file, console) {
        // Nobody has the words, so nobody misses the slot.
        let _ = repo.remove_slot(id);
        return Err(e);
    }
    if console.json {
        let shown = file.is_none().then_some(words.as_str());
        console.print(wire::initialized(&repo.instance().hex(), &repo.storage().place(), shown))?;
    }
    for slot in old.iter().filter(|s| !s.current) {
        repo.remove_slot(slot.id)?;
    }
    if old.iter().any(|s| s.current) {
        // Opened with the old recovery key: its own slot can only go to a successor.
        repo.remove_slot(id)?;
        repo.change_credential(&Credential::Raw(secret), &SlotNote::labelled(RECOVERY))?;
    }
    Ok(())
}
