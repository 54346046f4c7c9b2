//! Programs that run around a backup: `before`, `after`, `failed`, `finally`.
//!
//! One that fails in `before` stops the backup. What fails later is told and makes the outcome
//! partial, since the snapshot stands. No shell is run; facts are handed over in the environment.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::console::Console;
use super::settings::{Environment, SECRET_VARIABLES, Settings};
use super::signals;
use crate::error::{Error, ErrorKind, Result};
use crate::report::exit::{self, Outcome};
use crate::report::{Job, Loudness};

/// How long a program may take, where nobody says.
const TIMEOUT: Duration = Duration::from_secs(600);
/// How long it may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How long to wait before looking again.
const PATIENCE: Duration = Duration::from_millis(20);

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The program first.
    pub words: Vec<String>,
    /// Where it is in the file.
    pub line: usize,
}

/// All of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooks {
    /// Before the backup, which one that fails stops.
    pub before: Vec<Hook>,
    /// After a snapshot was saved.
    pub after: Vec<Hook>,
    /// After there was none.
    pub failed: Vec<Hook>,
    /// At the end, whatever happened.
    pub finally: Vec<Hook>,
    /// How long each may take.
    pub timeout: Duration,
}

impl Default for Hooks {
    fn default() -> Self {
        let none = Vec::new;
        Self { before: none(), after: none(), failed: none(), finally: none(), timeout: TIMEOUT }
    }
}

impl Hooks {
    /// Whether there are any.
    pub fn any(&self) -> bool {
        [&self.before, &self.after, &self.failed, &self.finally].iter().any(|list| !list.is_empty())
    }
}

/// What hooks are told of the run.
#[derive(Debug, Default)]
struct Facts {
    result: Option<u8>,
    error: String,
    snapshot: String,
}

/// Do work with a profile's hooks around it. `work` gives the ids of the snapshots, too.
pub fn around(
    settings: &Settings,
    env: &Environment,
    work: impl FnOnce() -> Result<(Outcome, Option<String>)>,
) -> Result<Outcome> {
    // A hook that backs up itself does not start all hooks again.
    let profile = settings.profile.as_ref().filter(|p| p.hooks.any() && !env.is_in_hook());
    let Some(hooks) = profile.map(|p| &p.hooks) else { return work().map(|(outcome, _)| outcome) };
    let run = Run { settings, hooks, console: Console::new(settings, Job::Other, false) };
    let mut facts = Facts::default();
    let prepared = hooks.before.iter().try_for_each(|hook| run.one("before", hook, &facts, true));
    let done = prepared.map_err(|e| e.hint("nothing was backed up: `before` failed")).and_then(|()| work());
    let mut result = done.map(|(outcome, snapshot)| {
        facts.snapshot = snapshot.unwrap_or_default();
        outcome
    });
    facts.result = Some(exit::code(&result));
    facts.error = result.as_ref().err().map(Error::to_string).unwrap_or_default();
    let (name, next) = if result.is_ok() { ("after", &hooks.after) } else { ("failed", &hooks.failed) };
    for (name, list) in [(name, next), ("finally", &hooks.finally)] {
        let all_well = run.all(name, list, &facts);
        if let (Ok(outcome), false) = (&mut result, all_well) {
            *outcome = Outcome::Partial;
        }
    }
    result
}

struct Run<'a> {
    settings: &'a Settings,
    hooks: &'a Hooks,
    console: Console,
}

impl Run<'_> {
    /// Each, also after one that failed, which is told; whether none did.
    fn all(&self, name: &str, hooks: &[Hook], facts: &Facts) -> bool {
        let mut all_well = true;
        for hook in hooks {
            if let Err(e) = self.one(name, hook, facts, false) {
                all_well = false;
                self.console.context().problem("hook-failed", hook.words[0].as_bytes(), "run", e.to_string());
            }
        }
        all_well
    }

    fn one(&self, name: &str, hook: &Hook, facts: &Facts, may_stop: bool) -> Result<()> {
        let place = self.settings.profile.as_ref().map(|p| format!("{}:{}", p.file.display(), hook.line));
        let doing = format!("running the hook `{name}` of {}", place.unwrap_or_default());
        let failed = |what: String| Error::new(ErrorKind::Invalid, what).doing(doing.clone());
        let program = &hook.words[0];
        self.console.remark(Loudness::Verbose, &format!("run {program} ({name})\n"))?;
        let mut child = self.command(name, hook, facts)?.spawn().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => failed(format!("there is no program {program:?}"))
                .hint("say where it is with its whole path; no shell is run that would look for it"),
            _ => failed(format!("{program:?} cannot be started")).because(e),
        })?;
        match self.wait(&mut child, may_stop) {
            Ended::By(status) if status.success() => Ok(()),
            Ended::By(status) => Err(failed(format!("{program:?} {}", how(status)))),
            Ended::Late => {
                let seconds = self.hooks.timeout.as_secs();
                Err(failed(format!(
                    "{program:?} was not done after {seconds} s, and was ended with all it had started"
                ))
                .hint("give it more time with `timeout`, or find out what it waits for"))
            }
            Ended::Stopped => Err(Error::cancelled().doing(doing)),
            Ended::Unknown(e) => Err(failed(format!("nobody knows how {program:?} ended")).because(e)),
        }
    }

    fn command(&self, name: &str, hook: &Hook, facts: &Facts) -> Result<Command> {
        let mut command = Command::new(&hook.words[0]);
        // Standard output is for results, which programs may read.
        let aside = rustix::io::dup(rustix::stdio::stderr())
            .map_err(|e| Error::new(ErrorKind::Bug, "standard error cannot be shared").because(e))?;
        command.args(&hook.words[1..]).stdin(Stdio::null()).stdout(aside).process_group(0);
        for variable in SECRET_VARIABLES {
            command.env_remove(variable);
        }
        if let Some(profile) = &self.settings.profile {
            command
                .env("ORLOP_PROFILE", profile.name.as_deref().unwrap_or_default())
                .env("ORLOP_CONFIG", &profile.file);
        }
        command.env_remove("ORLOP_REPOSITORY_FILE");
        match self.settings.repository() {
            Ok(place) => command.env("ORLOP_REPOSITORY", place),
            // One of several would be the wrong one.
            Err(_) => command.env_remove("ORLOP_REPOSITORY"),
        };
        command.env("ORLOP_HOOK", name).env("ORLOP_SNAPSHOT_ID", &facts.snapshot).env("ORLOP_ERROR", &facts.error);
        command.env("ORLOP_EXIT_CODE", facts.result.map(|code| code.to_string()).unwrap_or_default());
        Ok(command)
    }

    fn wait(&self, child: &mut Child, may_stop: bool) -> Ended {
        let begun = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ended::By(status),
                Ok(None) => {}
                Err(e) => return Ended::Unknown(e),
            }
            let stopped = may_stop && signals::cancel().load(Relaxed);
            if stopped || begun.elapsed() >= self.hooks.timeout {
                end(child);
                return if stopped { Ended::Stopped } else { Ended::Late };
            }
            std::thread::sleep(PATIENCE);
        }
    }
}

enum Ended {
    By(ExitStatus),
    Late,
    Stopped,
    Unknown(std::io::Error),
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "failed".to_owned(),
    }
}

/// End the program and all it started, first politely.
fn end(child: &mut Child) {
    let group = Pid::from_child(child);
    let _ = kill_process_group(group, Signal::TERM);
    let begun = Instant::now();
    while begun.elapsed() < GRACE && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(PATIENCE);
    }
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
}
