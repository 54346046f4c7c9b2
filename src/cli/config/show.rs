//! Where each setting comes from.

use clap::{Arg, ArgMatches, Command};

use super::defaults::was_typed;
use super::{Entry, Profile, typed_values};
use crate::cli::settings::{Environment, SECRET_VARIABLES, falls_back, stands_in};

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The command whose flag it is; `None` for those of every command.
    pub command: Option<String>,
    /// The long flag, or `sources`.
    pub key: String,
    /// Its values; none if it is not set.
    pub values: Vec<String>,
    /// Whether it is a switch.
    pub switch: bool,
    /// `flag`, `environment NAME`, `FILE:LINE` or `default`.
    pub origin: String,
}

/// All settings of every command, what the profile sets for single ones, and all flags of `command`.
pub fn lines(
    clap: &Command,
    typed: &ArgMatches,
    profile: Option<&Profile>,
    command: Option<&str>,
    env: &Environment,
) -> Vec<Line> {
    let entries = |name: Option<&str>| -> &[Entry] {
        match (profile, name) {
            (None, _) => &[],
            (Some(p), None) => &p.global,
            (Some(p), Some(name)) => p.commands.get(name).map(Vec::as_slice).unwrap_or_default(),
        }
    };
    let mut out = Vec::new();
    let look = |name: Option<&str>, at: &Command, all: bool, out: &mut Vec<Line>| {
        for arg in at.get_arguments().filter(|a| is_setting(a) && a.is_global_set() == name.is_none()) {
            let entry = entries(name).iter().find(|e| e.id == arg.get_id().as_str());
            if all || entry.is_some() {
                out.push(line(arg, name, entry, typed, profile, env));
            }
        }
    };
    look(None, clap, true, &mut out);
    let secret = stands_in(env, None, "password").or_else(|| falls_back(env, None, "password"));
    out.extend(secret.filter(|v| SECRET_VARIABLES.contains(v)).map(|variable| Line {
        command: None,
        key: "password".to_owned(),
        values: vec!["(not shown)".to_owned()],
        switch: false,
        origin: format!("environment {variable}"),
    }));
    for sub in clap.get_subcommands() {
        let name = sub.get_name();
        look(Some(name), sub, command == Some(name), &mut out);
    }
    out
}

fn is_setting(arg: &Arg) -> bool {
    let id = arg.get_id().as_str();
    !arg.is_hide_set() && !matches!(id, "help" | "version") && (arg.get_long().is_some() || id == "paths")
}

fn line(
    arg: &Arg,
    name: Option<&str>,
    entry: Option<&Entry>,
    typed: &ArgMatches,
    profile: Option<&Profile>,
    env: &Environment,
) -> Line {
    let id = arg.get_id().as_str();
    let switch = !arg.get_action().takes_values();
    let (values, origin) = if name.is_none() && was_typed(typed, id) {
        (typed_values(typed, id).iter().map(|v| v.to_string_lossy().into_owned()).collect(), "flag".to_owned())
    } else if let Some(variable) = stands_in(env, name, id) {
        (of_variable(env, variable, id), format!("environment {variable}"))
    } else if let (Some(entry), Some(profile)) = (entry, profile) {
        (entry.values.clone(), format!("{}:{}", profile.file.display(), entry.line))
    } else if let Some(variable) = falls_back(env, name, id) {
        (of_variable(env, variable, id), format!("environment {variable}"))
    } else {
        let defaults = if switch { Vec::new() } else { arg.get_default_values().to_vec() };
        (defaults.iter().map(|v| v.to_string_lossy().into_owned()).collect(), "default".to_owned())
    };
    let values = if id.ends_with("password_command") { values.iter().map(|v| program_of(v)).collect() } else { values };
    let key = arg.get_long().unwrap_or("sources").to_owned();
    Line { command: name.map(str::to_owned), key, values, switch, origin }
}

/// What a variable sets a flag to, if it is this flag and not one in its place.
fn of_variable(env: &Environment, variable: &str, id: &str) -> Vec<String> {
    let of_flag = variable.to_lowercase().ends_with(id) || (id == "repo" && variable == "ORLOP_REPOSITORY");
    match env.shown(variable) {
        Some(value) if of_flag && !SECRET_VARIABLES.contains(&variable) => vec![value],
        _ => Vec::new(),
    }
}

/// Arguments of a command may hold a secret.
fn program_of(line: &str) -> String {
    let program = line.split_whitespace().next().unwrap_or_default();
    if program == line { line.to_owned() } else { format!("{program} …") }
}
