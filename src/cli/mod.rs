//! The command line: [`args`] is what can be typed, [`settings`] what is meant, [`console`] who
//! listens; [`config`] is what a file says in place of typing. Commands connect these with the library's operations and decide nothing themselves.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind as Usage};
use clap::{ArgMatches, CommandFactory, FromArgMatches};

pub mod args;
pub mod commands;
pub mod config;
pub mod console;
pub mod elsewhere;
pub mod hooks;
pub mod limits;
pub mod password;
pub mod reference;
pub mod settings;
pub mod signals;

use crate::error::{Error, ErrorKind, Result};
use crate::report::escape::{harmless, harmless_lines};
use crate::report::exit::Outcome;
use crate::report::{Job, wire};
use args::{Cli, Command, ConfigCommand, KeyCommand};
use console::Console;
use limits::Limits;
use settings::{Environment, Settings};

/// The repository format that this program writes.
const FORMAT_VERSION: u32 = 1;

/// What to say when something was left out; exit code 3.
fn partial(command: &Command) -> &'static str {
    match command {
        Command::Backup(_) => {
            "at least one source file could not be read, or a repository or a hook failed; it was named above"
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
    crate::sys::raise_open_files();
    let env = Environment::of_process();
    let (matches, profile) = match understood(&typed, &env) {
        Ok(understood) => understood,
        Err(Misread::Line(error)) => return misunderstood(&error, &typed, &env),
        Err(Misread::File(error)) => {
            let color = Settings::resolve(&args::Global::default(), &env).is_ok_and(|s| s.color);
            return console::conclude(&Err(error), asks_for_json(&typed), color, "");
        }
    };
    let parsed = match Cli::from_arg_matches(&matches) {
        Ok(parsed) => parsed,
        Err(error) => return misunderstood(&error, &typed, &env),
    };
    let (json, settings) = (parsed.global.json, Settings::resolve(&parsed.global, &env));
    let limits = Limits::new(&parsed.global, &matches, profile.as_ref(), &env);
    let (color, partial) = (settings.as_ref().is_ok_and(|s| s.color), partial(&parsed.command));
    let result = settings.and_then(|s| dispatch(parsed.command, &s.of_profile(profile, limits), &env, &matches));
    console::conclude(&result, json, color, partial)
}

/// Why a line could not be understood.
enum Misread {
    Line(clap::Error),
    File(Error),
}

/// What was typed, with what a profile says where nothing was.
fn understood(typed: &[OsString], env: &Environment) -> Result<(ArgMatches, Option<config::Profile>), Misread> {
    let rough = Cli::command().ignore_errors(true).try_get_matches_from(typed).map_err(Misread::Line)?;
    let profile = config::profile(&rough, env).map_err(Misread::File)?;
    let clap = match &profile {
        Some(profile) => config::with_defaults(Cli::command(), profile, &rough, env),
        None => Cli::command(),
    };
    let matches = clap.try_get_matches_from(typed).map_err(Misread::Line)?;
    Ok((matches, profile))
}

fn asks_for_json(typed: &[OsString]) -> bool {
    typed.iter().any(|a| a == "--json")
}

/// Whether a command can look at the past: it writes nothing, or that is what it is for.
fn reads_the_past(command: &Command) -> bool {
    match command {
        Command::Snapshots(args) => args.command.is_none(),
        Command::Key(args) => matches!(args.command, KeyCommand::List(_)),
        Command::Ls(_) | Command::Find(_) | Command::Diff(_) | Command::Stats(_) | Command::Dump(_) => true,
        Command::Restore(_) | Command::Check(_) | Command::List(_) | Command::Cat(_) | Command::Rescue(_) => true,
        _ => false,
    }
}

fn dispatch(command: Command, settings: &Settings, env: &Environment, typed: &ArgMatches) -> Result<Outcome> {
    if settings.as_of.is_some() && !reads_the_past(&command) {
        return Err(Error::new(ErrorKind::Invalid, "this command does not work in the past: leave --as-of away")
            .hint("--as-of is for snapshots, ls, find, diff, stats, dump, restore, check, list, cat and key list")
            .hint("`orlop rescue --as-of TIME` makes what was there at a time current again"));
    }
    match command {
        Command::Version => version(settings),
        Command::Config(args) => match &args.command {
            ConfigCommand::Show(args) => commands::config::show(args, settings, env, typed),
        },
        Command::Generate(args) => commands::generate::run(&args, settings),
        Command::Quickstart(args) => commands::quickstart::run(&args, settings, env),
        Command::Init(args) => commands::init::run(&args, settings, env),
        Command::Backup(args) => commands::backup::run(&args, settings, env),
        Command::Snapshots(args) => commands::snapshots::run(&args, settings),
        Command::Copy(args) => commands::copy::run(&args, settings, env),
        Command::Diff(args) => commands::diff::run(&args, settings, env),
        Command::Stats(args) => commands::stats::run(&args, settings),
        Command::Explain(args) => commands::explain::run(&args, settings),
        Command::ExplainExclude(args) => commands::explain_exclude::run(&args, settings, env),
        Command::Doctor(args) => commands::doctor::run(&args, settings),
        Command::Debug(args) => commands::debug::run(&args, settings),
        Command::Find(args) => commands::find::run(&args, settings),
        Command::Ls(args) => commands::ls::run(&args, settings),
        Command::Dump(args) => commands::dump::run(&args, settings),
        Command::Forget(args) => commands::forget::run(&args, settings),
        Command::Undelete(args) => commands::forget::undelete(&args, settings),
        Command::Rewrite(args) => commands::remake::run(&args, settings, env),
        Command::Merge(args) => commands::remake::merge(&args, settings),
        Command::Tag(args) => commands::notes::tag(&args, settings),
        Command::Describe(args) => commands::notes::describe(&args, settings),
        Command::Hold(args) => commands::notes::hold(&args, settings),
        Command::Release(args) => commands::notes::release(&args, settings),
        Command::Policy(args) => commands::policy::run(&args, settings),
        Command::Key(args) => commands::key::run(&args, settings),
        Command::List(args) => commands::list::run(&args, settings),
        Command::Cat(args) => commands::cat::run(&args, settings),
        Command::Restore(args) => commands::restore::run(&args, settings, env),
        Command::Check(args) => commands::check::run(&args, settings),
        Command::Prune(args) => commands::prune::run(&args, settings),
        Command::Rescue(args) => commands::rescue::run(&args, settings),
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
    let json = asks_for_json(typed);
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
        let text = in_one_line(&error.render().to_string());
        return console::conclude(&Err(Error::new(ErrorKind::Invalid, text)), json, false, "");
    }
    // What was typed is in it, and in clap's own dress it would reach the terminal as it is.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), harmless_lines(&error.render().to_string()).as_bytes());
    1
}

/// What clap complains of, in one line: all before the usage, without its lead.
fn in_one_line(rendered: &str) -> String {
    let said = rendered.lines().take_while(|l| !l.starts_with("Usage:") && !l.starts_with("For more"));
    let line = said.map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ");
    harmless(line.strip_prefix("error: ").unwrap_or(&line).as_bytes())
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}
