//! `config show`.

use clap::{ArgMatches, CommandFactory};

use crate::cli::args::{Cli, ConfigShow};
use crate::cli::config::{Line, Profile, lines};
use crate::cli::console::Console;
use crate::cli::hooks::Hook;
use crate::cli::settings::{Environment, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::report::exit::Outcome;
use crate::report::{Job, wire};

/// Print the settings that a command would have.
pub fn show(args: &ConfigShow, settings: &Settings, env: &Environment, typed: &ArgMatches) -> Result<Outcome> {
    let profile = settings.profile.as_ref();
    let console = Console::new(settings, Job::Other, false);
    let mut clap = Cli::command();
    clap.build();
    let command = args.command.as_deref();
    if let Some(name) = command.filter(|name| clap.find_subcommand(name).is_none()) {
        return Err(Error::new(ErrorKind::Invalid, format!("there is no command `{name}`"))
            .hint("`orlop --help` lists what there is"));
    }
    let mut typed = typed;
    while let Some((_, deeper)) = typed.subcommand() {
        typed = deeper;
    }
    let lines = lines(&clap, typed, profile, command, env);
    console.print(match console.json {
        true => wire::line(&lines.iter().map(json).collect::<Vec<_>>()),
        false => text(&lines, profile, args.origin),
    })?;
    Ok(Outcome::Done)
}

fn json(line: &Line) -> serde_json::Value {
    serde_json::json!({
        "command": line.command, "key": line.key, "values": line.values, "origin": line.origin,
    })
}

/// Written like the file, so that it can be copied from.
fn text(lines: &[Line], profile: Option<&Profile>, origin: bool) -> String {
    let name = profile.and_then(|p| p.name.as_deref());
    let mut out = match (profile, name) {
        (None, _) => "# no orlop.toml\n".to_owned(),
        (Some(p), None) => format!("# {}: no profile is named, and none is called default\n", p.file.display()),
        (Some(p), Some(name)) => format!("# {}: profile {name}\n", p.file.display()),
    };
    let name = name.unwrap_or("default");
    out += &format!("[profiles.{name}]\n");
    let mut of = None;
    for line in lines {
        if line.command.as_deref() != of {
            of = line.command.as_deref();
            out += &format!("\n[profiles.{name}.{}]\n", of.unwrap_or_default());
        }
        let unset = line.values.is_empty();
        if unset && !origin {
            continue;
        }
        let lead = if unset && !line.switch { "# " } else { "" };
        let shown = format!("{lead}{} = {}", line.key, value(line));
        out += &match origin {
            true => format!("{shown:<48} # {}\n", line.origin),
            false => format!("{shown}\n"),
        };
    }
    out + &hooks(profile, name, origin)
}

fn value(line: &Line) -> String {
    let quoted = |text: &String| format!("{text:?}");
    match (line.switch, line.values.as_slice()) {
        (true, values) => (values.first().is_some_and(|v| v != "false")).to_string(),
        (false, []) => "(not set)".to_owned(),
        (false, [one]) => quoted(one),
        (false, many) => format!("[{}]", many.iter().map(quoted).collect::<Vec<_>>().join(", ")),
    }
}

/// Programs only: arguments may hold secrets.
fn hooks(profile: Option<&Profile>, name: &str, origin: bool) -> String {
    let Some(profile) = profile.filter(|p| p.hooks.any()) else { return String::new() };
    let hooks = &profile.hooks;
    let mut out = format!("\n[profiles.{name}.hooks]\n");
    for (key, list) in
        [("before", &hooks.before), ("after", &hooks.after), ("failed", &hooks.failed), ("finally", &hooks.finally)]
    {
        for hook in list {
            let shown = format!("{key} = {}", program(hook));
            out += &match origin {
                true => format!("{shown:<48} # {}:{}\n", profile.file.display(), hook.line),
                false => format!("{shown}\n"),
            };
        }
    }
    out
}

fn program(hook: &Hook) -> String {
    match hook.words.as_slice() {
        [one] => format!("[{one:?}]"),
        [one, ..] => format!("[{one:?}, …]"),
        [] => "[]".to_owned(),
    }
}
