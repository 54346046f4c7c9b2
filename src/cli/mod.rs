//! The command line: [`args`] is what can be typed, [`settings`] what is meant, [`console`] who
//! listens; commands connect these with the library's operations and decide nothing themselves.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind as Usage};
use clap::{CommandFactory, Parser};

pub mod args;
pub mod commands;
pub mod console;
pub mod elsewhere;
pub mod password;
pub mod reference;
pub mod settings;
pub mod signals;

use crate::error::{Error, ErrorKind, Result};
use crate::report::escape::harmless;
use crate::report::exit::Outcome;
use crate::report::{Job, wire};
use args::{Cli, Command};
use console::Console;
use settings::{Environment, Settings};

/// The repository format that this program writes.
const FORMAT_VERSION: u32 = 1;

/// What to say when something was left out; exit code 3.
fn partial(command: &Command) -> &'static str {
    match command {
        Command::Backup(_) => {
            "at least one source file could not be read, or something in the repository; it was named above"
        }
        Command::Restore(_) => {
            "at least one file could not be restored completely, or something in the repository not be read; it was named above"
        }
        _ => "some of it could not be done; what is missing was named above",
    }
}

/// Do what the command line says and return the exit code.
pub fn run(typed: impl IntoIterator<Item = OsString>) -> u8 {
    let typed: Vec<OsString> = typed.into_iter().collect();
    signals::install();
    let env = Environment::of_process();
    let parsed = match Cli::try_parse_from(&typed) {
        Ok(parsed) => parsed,
        Err(error) => return misunderstood(&error, &typed, &env),
    };
    let (json, settings) = (parsed.global.json, Settings::resolve(&parsed.global, &env));
    let (color, partial) = (settings.as_ref().is_ok_and(|s| s.color), partial(&parsed.command));
    let result = settings.and_then(|s| dispatch(parsed.command, &s, &env));
    console::conclude(&result, json, color, partial)
}

fn dispatch(command: Command, settings: &Settings, env: &Environment) -> Result<Outcome> {
    match command {
        Command::Version => version(settings),
        Command::Init(args) => commands::init::run(&args, settings, env),
        Command::Backup(args) => commands::backup::run(&args, settings, env),
        Command::Snapshots(args) => commands::snapshots::run(&args, settings),
        Command::Diff(args) => commands::diff::run(&args, settings, env),
        Command::Stats(args) => commands::stats::run(&args, settings),
        Command::Explain(args) => commands::explain::run(&args, settings),
        Command::ExplainExclude(args) => commands::explain_exclude::run(&args, settings, env),
        Command::Debug(args) => commands::debug::run(&args, settings),
        Command::Find(args) => commands::find::run(&args, settings),
        Command::Ls(args) => commands::ls::run(&args, settings),
        Command::Dump(args) => commands::dump::run(&args, settings),
        Command::Forget(args) => commands::forget::run(&args, settings),
        Command::Undelete(args) => commands::forget::undelete(&args, settings),
        Command::Tag(args) => commands::notes::tag(&args, settings),
        Command::Hold(args) => commands::notes::hold(&args, settings),
        Command::Release(args) => commands::notes::release(&args, settings),
        Command::Policy(args) => commands::policy::run(&args, settings),
        Command::Key(args) => commands::key::run(&args, settings),
        Command::List(args) => commands::list::run(&args, settings),
        Command::Cat(args) => commands::cat::run(&args, settings),
        Command::Restore(args) => commands::restore::run(&args, settings, env),
        Command::Check(args) => commands::check::run(&args, settings),
        Command::Prune(args) => commands::prune::run(&args, settings),
    }
}

fn version(settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let version = env!("CARGO_PKG_VERSION");
    console.print(match settings.json {
        true => wire::version(version, FORMAT_VERSION),
        false => {
            let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
            format!("orlop {version}, repository format {FORMAT_VERSION}, on {os}/{arch}\n")
        }
    })?;
    Ok(Outcome::Done)
}

/// Help was asked for, or the line makes no sense.
fn misunderstood(error: &clap::Error, typed: &[OsString], env: &Environment) -> u8 {
    let json = typed.iter().any(|a| a == "--json");
    let answer = match error.kind() {
        Usage::DisplayHelp | Usage::DisplayVersion => {
            let _ = signals::end_if_unread(error.print());
            return 0;
        }
        Usage::DisplayHelpOnMissingArgumentOrSubcommand if typed.len() < 2 => {
            let _ = signals::end_if_unread(Cli::command().print_help());
            return 0;
        }
        Usage::InvalidSubcommand => context(error, ContextKind::InvalidSubcommand).and_then(|c| elsewhere::command(&c)),
        Usage::UnknownArgument => context(error, ContextKind::InvalidArg).and_then(|f| elsewhere::flag(&f)),
        _ => None,
    };
    if let Some(answer) = answer {
        let color = Settings::resolve(&args::Global::default(), env).is_ok_and(|s| s.color);
        return console::conclude(&Err(answer), json, color, "");
    }
    if json {
        let text = harmless_usage(&error.render().to_string());
        return console::conclude(&Err(Error::new(ErrorKind::Invalid, text)), json, false, "");
    }
    let _ = error.print();
    1
}

/// The first line of what clap says, without its lead.
fn harmless_usage(rendered: &str) -> String {
    let line = rendered.lines().next().unwrap_or_default();
    harmless(line.strip_prefix("error: ").unwrap_or(line).as_bytes())
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}
