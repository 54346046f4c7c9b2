//! `dump`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;

use super::{index, open_looking, outcome, root_of, snapshot};
use crate::cli::args::{Archive, Dump};
use crate::cli::console::{Console, Output};
use crate::cli::reference::Reference;
use crate::cli::settings::Settings;
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
        Some(target) => {
            let failed =
                |e| Error::new(ErrorKind::Target, format!("{} cannot be written", target.display())).because(e);
            let mut out = BufWriter::with_capacity(1 << 16, File::create(target).map_err(failed)?);
            write(&mut out).doing(|| format!("while writing {}", target.display()))?;
            out.into_inner().map_err(|e| failed(e.into_error()))?.sync_all().map_err(failed)?;
        }
    }
    Ok(outcome(&console))
}
