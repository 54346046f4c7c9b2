//! `explain`.

use serde_json::json;

use crate::cli::args::Explain;
use crate::cli::console::Console;
use crate::cli::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::report::exit::Outcome;
use crate::report::{Job, explain, wire};

/// Print the page on an error.
pub fn run(args: &Explain, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let Some(typed) = &args.slug else {
        console.print(match console.json {
            true => wire::line(&explain::slugs().collect::<Vec<_>>()),
            false => explain::list(),
        })?;
        return Ok(Outcome::Done);
    };
    // As it stands in a message.
    let wanted = typed.trim().trim_start_matches("error").trim_matches(['[', ']', ':']).to_ascii_lowercase();
    let page = explain::page(&wanted).ok_or_else(|| {
        Error::new(ErrorKind::Missing, format!("there is no page on {typed:?}")).hint("`orlop explain` lists the pages")
    })?;
    console.print(match console.json {
        true => wire::line(&json!({ "slug": wanted, "page": page })),
        false => format!("{wanted}\n\n{page}\n"),
    })?;
    Ok(Outcome::Done)
}
