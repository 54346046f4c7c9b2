//! `dump`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{index, open_looking, outcome, root_of, snapshot};
use crate::cli::args::{Archive, Dump};
use crate::cli::console::{Console, Output};
use crate::cli::reference::Reference;
use crate::cli::settings::Settings;
use crate::cli::signals;
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::ops::dump::{self, Format, Top};
use crate::ops::list::{components, find};
use crate::repo::Reader;
use crate::report::Job;
use crate::report::exit::Outcome;

/// Write a file, or a directory as an archive.
pub fn run(args: &Dump, settings: &Settings) -> Result<Outcome> {
    let console = Console::new(settings, Job::Other, true);
    let reference = Reference::parse(&args.snapshot)?;
    let repo = open_looking(settings, &console)?;
    let snapshot = snapshot(&repo, &reference, &args.filter, &console)?;
    let index = index(&repo, &console)?;
    let reader = Reader::new(&repo, &index);
    let top = root_of(&reader, &snapshot, &reference)?;
    let path = [b"/".as_slice(), &components(args.file.as_bytes()).join(&b'/')].concat();
    let found = find(&reader, top, &path)?;
    let is_archive = found.root().is_some();
    if is_archive && args.target.is_none() && std::io::stdout().is_terminal() {
        return Err(Error::new(ErrorKind::Invalid, "an archive would garble the terminal")
            .hint("redirect the output, or give --target"));
    }
    let cx = console.context();
    let write = |out: &mut dyn Write| match found.root() {
        Some(root) => {
            let (users, groups) = (&snapshot.body.users, &snapshot.body.groups);
            let format = match args.archive {
                Archive::Tar => Format::Tar,
                Archive::Zip => Format::Zip,
            };
            dump::archive(&reader, &Top { root, path: &path, users, groups }, format, out, &cx)
        }
        None => dump::file(&reader, &found, &path, out, &cx),
    };
    match &args.target {
        None => {
            let mut out = Output::new()?;
            write(&mut out)?;
            out.finish()?;
        }
        Some(target) => into_file(target, write)?,
    }
    Ok(outcome(&console))
}

/// Write beside the target, which is replaced once all of it is there: what was there before may be the
/// only good one. What is no file (a fifo, a device) is written into.
fn into_file(target: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let failed = |e| Error::new(ErrorKind::Target, format!("{} cannot be written", target.display())).because(e);
    let doing = || format!("while writing {}", target.display());
    let real: PathBuf = std::fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
    let there = std::fs::metadata(&real).ok();
    if there.as_ref().is_some_and(|there| !there.is_file()) {
        let file = signals::unless_stopped(move || File::create(real))?.map_err(failed)?;
        return fill(file, write, &failed).doing(doing);
    }
    let mut beside = real.clone().into_os_string();
    beside.push(format!(".{}.partial", std::process::id()));
    // Nothing that is there already is written to, and no link is followed.
    let file = File::create_new(&beside).map_err(failed)?;
    if let Some(there) = there {
        file.set_permissions(there.permissions()).map_err(failed)?;
    }
    let filled = fill(file, write, &failed).and_then(|()| std::fs::rename(&beside, &real).map_err(failed));
    if filled.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    filled.doing(doing)
}

fn fill(
    file: File,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
    failed: &dyn Fn(std::io::Error) -> Error,
) -> Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, file);
    write(&mut out)?;
    out.into_inner().map_err(|e| failed(e.into_error()))?.sync_all().or_else(unsyncable).map_err(failed)
}

/// A pipe or a terminal cannot be synced, and need not be.
fn unsyncable(e: std::io::Error) -> std::io::Result<()> {
    if e.kind() == std::io::ErrorKind::InvalidInput { Ok(()) } else { Err(e) }
}
