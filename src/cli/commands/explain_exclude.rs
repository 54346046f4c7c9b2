//! `explain-exclude`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::sources;
use crate::cli::args::ExplainExclude;
use crate::cli::console::Console;
use crate::cli::settings::{Environment, Settings};
use crate::error::Result;
use crate::ops::why::{Answer, Because, why};
use crate::report::escape::{lossy, raw_form};
use crate::report::exit::Outcome;
use crate::report::{Job, wire};

/// Say which rule keeps paths in or out.
pub fn run(args: &ExplainExclude, settings: &Settings, env: &Environment) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let cx = console.context();
    let (selection, _) = sources::selection(&args.leave_out, env, &cx)?;
    let root = [PathBuf::from("/")];
    let among = if args.source.is_empty() { &root[..] } else { &args.source };
    let mut answers = Vec::new();
    for path in &args.paths {
        let answer = why(Path::new(path), among, &selection, args.leave_out.one_file_system)?;
        for doubt in &answer.doubts {
            cx.notice("doubtful-file", format!("{}: {}", lossy(&doubt.path), doubt.what));
        }
        answers.push(answer);
    }
    console.print(match console.json {
        true => wire::line(&answers.iter().map(as_json).collect::<Vec<_>>()),
        false => answers.iter().map(|a| line(a, &console)).collect(),
    })?;
    Ok(Outcome::Done)
}

fn line(answer: &Answer, console: &Console) -> String {
    let shown = |path: &[u8]| console.names.shown(path);
    let path = shown(&answer.path);
    let above = |at: &[u8]| if at == answer.path { String::new() } else { format!(" with {}", shown(at)) };
    match &answer.because {
        Because::Kept { rule: None } => format!("{path} is kept: no rule is against it\n"),
        Because::Kept { rule: Some(rule) } => format!("{path} is kept by {}\n", console.names.text(rule)),
        Because::NotThere => format!("{path} is not there; no rule is against it\n"),
        Because::Rule { rule, at, .. } => {
            format!("{path} is left out{}: {}\n", above(at), console.names.text(rule))
        }
        Because::OtherFilesystem { at } => {
            format!("{path} is left out{}: it is on another file system than the source\n", above(at))
        }
        Because::Unreadable { at, why } => format!("{path} cannot be backed up: {}: {why}\n", shown(at)),
        Because::Outside => format!("{path} is in none of the sources\n"),
    }
}

fn as_json(answer: &Answer) -> serde_json::Value {
    let (reason, rule, at) = match &answer.because {
        Because::Kept { rule } => ("kept", rule.clone(), None),
        Because::NotThere => ("not-there", None, None),
        Because::Rule { slug, rule, at } => (*slug, Some(rule.clone()), Some(at)),
        Because::OtherFilesystem { at } => ("other-file-system", None, Some(at)),
        Because::Unreadable { at, why } => ("unreadable", Some(why.clone()), Some(at)),
        Because::Outside => ("outside", None, None),
    };
    let mut out = json!({ "path": lossy(&answer.path), "kept": answer.because.is_kept(), "reason": reason });
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            out[key] = value.into();
        }
    };
    add("path_b64", raw_form(&answer.path));
    add("rule", rule);
    add("at", at.map(|at| lossy(at)));
    out
}
