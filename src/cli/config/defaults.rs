//! What a profile sets becomes the default of clap's definition.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::{Entry, Profile};
use crate::cli::settings::{Environment, stands_in};

/// Paths come from somewhere else where one of these was typed.
const OTHER_SOURCES: [&str; 5] = ["stdin", "stdin_from_command", "files_from", "files_from_raw", "files_from_verbatim"];

/// The definition with a profile's defaults, as far as nothing was typed and no variable set in
/// their place.
pub fn with_defaults(mut clap: Command, profile: &Profile, typed: &ArgMatches, env: &Environment) -> Command {
    let Some((name, of_command)) = typed.subcommand() else { return clap };
    let name = name.to_owned();
    // What was built can be asked, and no longer be changed.
    let mut built = clap.clone();
    built.build();
    for entry in &profile.global {
        if !is_overruled(entry, &built, of_command, None, env) {
            clap = clap.mut_arg(&entry.id, |a| default(a, entry));
        }
    }
    let entries = profile.commands.get(&name).map(Vec::as_slice).unwrap_or_default();
    let Some(command) = built.find_subcommand(&name) else { return clap };
    let counted: Vec<&Entry> =
        entries.iter().filter(|e| !is_overruled(e, command, of_command, Some(&name), env)).collect();
    clap.mut_subcommand(name, |mut command| {
        for entry in counted {
            command = command.mut_arg(&entry.id, |a| default(a, entry));
        }
        command
    })
}

fn default(arg: Arg, entry: &Entry) -> Arg {
    match entry.values.is_empty() {
        true => arg,
        false => arg.default_values(entry.values.clone()).required(false),
    }
}

/// Whether something typed, or a variable, takes the entry's place.
fn is_overruled(entry: &Entry, command: &Command, typed: &ArgMatches, name: Option<&str>, env: &Environment) -> bool {
    if stands_in(env, name, &entry.id).is_some() {
        return true;
    }
    let is_typed = |id: &str| was_typed(typed, id);
    if entry.id == "paths" && OTHER_SOURCES.into_iter().any(is_typed) {
        return true;
    }
    let Some(own) = command.get_arguments().find(|a| a.get_id() == entry.id.as_str()) else { return false };
    let against = |a: &Arg, b: &Arg| command.get_arg_conflicts_with(a).iter().any(|c| c.get_id() == b.get_id());
    let mut others = command.get_arguments().filter(|a| a.get_id() != own.get_id() && is_typed(a.get_id().as_str()));
    others.any(|a| against(own, a) || against(a, own))
}

/// Whether a flag is on the command line itself.
pub fn was_typed(matches: &ArgMatches, id: &str) -> bool {
    let known = matches.try_contains_id(id).unwrap_or(false);
    known && matches.value_source(id) == Some(ValueSource::CommandLine)
}
