//! `generate`: man pages and shell completions, from the same definition as `--help`.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::args::{Cli, Generate};
use crate::cli::console::Console;
use crate::cli::settings::Settings;
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::report::exit::Outcome;
use crate::report::{Job, Loudness};

/// Write what is asked for.
pub fn run(args: &Generate, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, false);
    let shells = [
        (Shell::Bash, &args.bash_completion),
        (Shell::Zsh, &args.zsh_completion),
        (Shell::Fish, &args.fish_completion),
        (Shell::Elvish, &args.elvish_completion),
        (Shell::PowerShell, &args.powershell_completion),
    ];
    for (shell, file) in shells {
        if let Some(file) = file {
            put(file, &completion(shell), &console)?;
        }
    }
    if let Some(dir) = &args.man {
        for (name, page) in man_pages()? {
            put(&dir.join(name), &page, &console)?;
        }
    }
    Ok(Outcome::Done)
}

fn completion(shell: Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "orlop", &mut out);
    out
}

/// A page for orlop and one for every command, with the names of their files.
fn man_pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    let mut todo = vec![(root.clone(), "orlop".to_owned())];
    while let Some((command, name)) = todo.pop() {
        for sub in command.get_subcommands().filter(|s| !s.is_hide_set()) {
            todo.push((sub.clone(), format!("{name}-{}", sub.get_name())));
        }
        let title = name.to_uppercase();
        let command = command.display_name(name.clone()).version(env!("CARGO_PKG_VERSION"));
        let man = clap_mangen::Man::new(command).title(title).manual("orlop").date("");
        let mut page = Vec::new();
        man.render(&mut page).map_err(|e| Error::new(ErrorKind::Bug, format!("no page for {name}")).because(e))?;
        pages.push((format!("{name}.1"), page));
    }
    Ok(pages)
}

fn put(file: &Path, contents: &[u8], console: &Console) -> Result<()> {
    if file == Path::new("-") {
        return console.print(contents);
    }
    std::fs::write(file, contents)
        .map_err(|e| Error::new(ErrorKind::Target, e.to_string()))
        .doing(|| format!("writing {}", file.display()))?;
    console.remark(Loudness::Verbose, &format!("wrote {}\n", file.display()))
}
