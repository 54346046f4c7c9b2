//! `init`.

use super::{credential, new_storage, tell};
use crate::cli::args::Init;
use crate::cli::console::Console;
use crate::cli::password;
use crate::cli::settings::Settings;
use crate::cli::signals;
use crate::error::Result;
use crate::repo::{self, InitOptions};
use crate::report::Job;
use crate::report::exit::Outcome;

/// Make a repository.
pub fn run(args: &Init, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let mut notices = Vec::new();
    let storage = new_storage(settings.repository()?)?;
    let given = password::obtain_new(&settings.unlock, signals::cancel(), &mut notices)?;
    tell(&console, &notices);
    let options = InitOptions {
        credential: credential(&given),
        recovery: !args.no_recovery_key,
        compression: 3,
        suite: None,
        mirror_of: None,
        cut_like: None,
    };
    repo::init(&storage, &options)?;
    Ok(Outcome::Done)
}
