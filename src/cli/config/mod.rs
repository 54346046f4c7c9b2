//! `orlop.toml`: repositories with names, and profiles that say what would otherwise be typed.
//!
//! Keys are the long flags of the commands, so this knows none of them itself: what a profile sets
//! becomes the default of clap's definition. A flag that is typed takes its place, and so does a
//! variable; see `cli::settings`.

mod defaults;
mod read;
mod show;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::ArgMatches;

pub use defaults::with_defaults;
pub use read::{File, parse};
pub use show::{Line, lines};

use super::hooks::Hooks;
use super::settings::Environment;
use super::signals;
use crate::error::{Doing, Error, ErrorKind, Result};

/// Larger files are no settings.
const BYTES_MAX: u64 = 1 << 20;
/// The profile that is used where none is named.
const DEFAULT: &str = "default";
/// Commands that work without any settings, and with a file that is broken.
const WITHOUT: [&str; 3] = ["generate", "help", "version"];

/// What a key was set to: a flag's values, none for a switch that is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As it is called in the file.
    pub key: String,
    /// The argument of clap's definition.
    pub id: String,
    /// As they would be typed.
    pub values: Vec<String>,
    /// Where, from 1.
    pub line: usize,
}

/// A profile of a file, with what its repository says.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// Its name; `None` where no profile was named and there is no `default`.
    pub name: Option<String>,
    /// The file.
    pub file: PathBuf,
    /// Flags of every command.
    pub global: Vec<Entry>,
    /// Flags of one command, by its name.
    pub commands: BTreeMap<String, Vec<Entry>>,
    /// What runs around a backup.
    pub hooks: Hooks,
}

/// The profile that a line means; `None` if there is no file and nobody asked for one.
pub fn profile(typed: &ArgMatches, env: &Environment) -> Result<Option<Profile>> {
    let Some((command, _)) = typed.subcommand().filter(|(name, _)| !WITHOUT.contains(name)) else { return Ok(None) };
    let named = typed.get_one::<String>("profile").cloned().map_or_else(|| env.text("ORLOP_PROFILE"), |p| Ok(Some(p)));
    let named = named?;
    let Some(file) = find(typed, env)? else {
        return match named {
            None => Ok(None),
            Some(name) => Err(nowhere(&name, env)),
        };
    };
    let text = text_of(&file)?;
    let doing = || format!("reading {}", file.display());
    let all = read::parse(&text, env.home(), &file)
        .map_err(|e| e.hint(format!("`orlop --config /dev/null {command} …` does without the file")))?;
    if all.runs_programs {
        refuse_writable(&file).doing(doing)?;
    }
    all.choose(named.as_deref(), file).map(Some)
}

/// What a file says of a flag of every command, as of now.
pub fn value_in(file: &Path, profile: Option<&str>, home: Option<&Path>, id: &str) -> Result<Option<String>> {
    let all = read::parse(&text_of(file)?, home, file)?;
    let profile = all.choose(profile, file.to_owned())?;
    Ok(profile.global.iter().find(|e| e.id == id).and_then(|e| e.values.first().cloned()))
}

/// Where a file may be, in the order in which it is looked for.
fn places(env: &Environment) -> Vec<PathBuf> {
    let users = env.config_dir().map(|dir| dir.join("orlop.toml"));
    users.into_iter().chain([PathBuf::from("/etc/orlop/orlop.toml")]).collect()
}

fn find(typed: &ArgMatches, env: &Environment) -> Result<Option<PathBuf>> {
    let asked = typed.get_one::<PathBuf>("config").cloned().or_else(|| env.path("ORLOP_CONFIG"));
    if asked.is_some() {
        return Ok(asked);
    }
    Ok(places(env).into_iter().find(|p| p.exists()))
}

fn nowhere(name: &str, env: &Environment) -> Error {
    let places: Vec<String> = places(env).iter().map(|p| p.display().to_string()).collect();
    Error::new(ErrorKind::Invalid, format!("the profile {name:?} was asked for, and there is no orlop.toml"))
        .hint(format!("it is looked for in {}", places.join(" and ")))
        .hint("--config or ORLOP_CONFIG name another place")
}

fn text_of(file: &Path) -> Result<String> {
    let invalid = |why: String| Error::new(ErrorKind::Invalid, why).doing(format!("reading {}", file.display()));
    let bytes = signals::read_file(file, BYTES_MAX + 1)?.map_err(|e| invalid(e.to_string()))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(invalid(format!("the file is larger than {} KiB", BYTES_MAX >> 10)));
    }
    String::from_utf8(bytes).map_err(|_| invalid("the file is not UTF-8".into()))
}

/// A file that names programs is run by whoever uses it; nobody else may write it.
fn refuse_writable(file: &Path) -> Result<()> {
    let meta = file.metadata().map_err(|e| Error::new(ErrorKind::Invalid, e.to_string()))?;
    let us = rustix::process::geteuid().as_raw();
    let why = match (meta.mode() & 0o022, meta.uid()) {
        (0, owner) if owner == us || owner == 0 => return Ok(()),
        (0, owner) => format!("the file belongs to the user with number {owner}, who is neither you nor root"),
        _ => "the file can be written by others".to_owned(),
    };
    let what = format!("{why}, and it names programs to run: whoever writes it would run them as you");
    let error = Error::new(ErrorKind::Forbidden, what);
    Err(match meta.mode() & 0o022 {
        0 => error.hint("make it yours with chown, or take out its hooks and password commands"),
        _ => error.hint(format!("chmod go-w {}", file.display())),
    })
}

/// How a name may have been meant.
fn meant<'n>(typed: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let close = |name: &&str| distance(typed, name) <= typed.chars().count().min(name.chars().count()).div_ceil(3);
    known.into_iter().filter(close).min_by_key(|name| distance(typed, name))
}

/// Letters to put in, take out or exchange to make one word the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = (corner + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

/// A hint where there is one.
fn hinted(error: Error, typed: &str, known: &[&str]) -> Error {
    match meant(typed, known.iter().copied()) {
        Some(name) => error.hint(format!("did you mean `{name}`?")),
        None if known.is_empty() => error,
        None => error.hint(format!("there is {}", known.join(", "))),
    }
}

/// The value of a flag as it was typed.
fn typed_values(matches: &ArgMatches, id: &str) -> Vec<OsString> {
    matches.get_raw(id).map(|v| v.map(OsString::from).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_were_meant() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(meant("excludes", ["exclude", "exclude-file", "tag"]), Some("exclude"));
        assert_eq!(meant("frobnicate", ["exclude", "tag"]), None);
    }
}
