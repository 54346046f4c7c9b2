//! What to back up and what to leave out, from arguments and the files they name.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::cli::args::{Backup, Choice, LeaveOut};
use crate::cli::settings::Environment;
use crate::cli::signals;
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::event::Context;
use crate::ops::backup::{self, Avoid, ChangedFiles, Sources, clean};
use crate::plan::filter::{
    Case, ConfigFiles, GitConfig, GitRules, IgnoreSettings, Origin, Patterns, RestoreSelection, Selection, Tag,
    read_pattern_file,
};
use crate::plan::lists::{self, Look};

/// The real disk.
struct Disk;

impl Look for Disk {
    fn exists(&mut self, path: &[u8]) -> bool {
        Path::new(OsStr::from_bytes(path)).symlink_metadata().is_ok()
    }
    fn names(&mut self, dir: &[u8]) -> Vec<Vec<u8>> {
        names_in(Path::new(OsStr::from_bytes(dir))).unwrap_or_default()
    }
}

fn names_in(dir: &Path) -> Result<Vec<Vec<u8>>> {
    let failed = |e| {
        let what = format!("the directory {} cannot be listed", dir.display());
        Error::new(ErrorKind::Source, what).because(e)
    };
    let entries = std::fs::read_dir(dir).map_err(failed)?;
    entries.map(|e| e.map(|e| e.file_name().into_vec()).map_err(failed)).collect()
}

/// A list's contents; `-` is standard input.
fn read_list(file: &Path) -> Result<Vec<u8>> {
    let read = match file == Path::new("-") {
        true => signals::read_stdin(u64::MAX)?,
        false => signals::read_file(file, u64::MAX)?,
    };
    read.map_err(|e| Error::new(ErrorKind::Invalid, e.to_string())).doing(|| format!("reading {}", file.display()))
}

/// All paths that were named, in order.
pub fn paths(args: &Backup, cx: &Context<'_>) -> Result<Vec<PathBuf>> {
    let lists = [&args.files_from, &args.files_from_verbatim, &args.files_from_raw];
    if lists.iter().flat_map(|l| l.iter()).filter(|f| f.as_path() == Path::new("-")).count() > 1 {
        return Err(Error::new(ErrorKind::Invalid, "standard input can be one list only"));
    }
    let mut out: Vec<Vec<u8>> = Vec::new();
    for file in &args.files_from {
        let name = file.display().to_string();
        for line in lists::files_from(&name, &read_list(file)?)? {
            let found = lists::expand(&line.glob, &mut Disk)?;
            if found.is_empty() {
                let glob = String::from_utf8_lossy(&line.glob).into_owned();
                cx.notice(
                    "nothing-matches",
                    format!("pattern {glob:?} in line {} of {name} does not match any files, skipping", line.number),
                );
            }
            out.extend(found);
        }
    }
    for file in &args.files_from_verbatim {
        out.extend(lists::files_from_verbatim(&read_list(file)?));
    }
    for file in &args.files_from_raw {
        out.extend(lists::files_from_raw(&file.display().to_string(), &read_list(file)?)?);
    }
    let listed = out.into_iter().map(|p| PathBuf::from(OsString::from_vec(p)));
    let typed = args.paths.iter().map(PathBuf::from);
    let all = listed.chain(typed).filter(|p| !p.as_os_str().is_empty());
    let all: Vec<PathBuf> = all.map(|path| clean(&path)).collect();
    check(&all)?;
    Ok(all)
}

/// What `--changed-files` names.
pub fn changed(args: &Backup) -> Result<Option<ChangedFiles>> {
    let Some(file) = &args.changed_files else { return Ok(None) };
    let (list, contents) = (file.display().to_string(), read_list(file)?);
    let (unit, paths) = match args.null {
        true => ("name", (1..).zip(lists::files_from_raw(&list, &contents)?).collect()),
        false => ("line", lists::changed_files(&contents)),
    };
    Ok(Some(ChangedFiles { list, unit, paths }))
}

fn check(paths: &[PathBuf]) -> Result<()> {
    if paths.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "nothing to back up, please specify source files or directories")
            .hint("`orlop backup --help` has examples"));
    }
    if paths.iter().all(|p| p.symlink_metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)) {
        let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
        return Err(Error::new(ErrorKind::Source, "all source directories/files do not exist")
            .doing(format!("looking for {}", names.join(", "))));
    }
    Ok(())
}

/// The places of the paths in the tree.
pub fn places(paths: &[PathBuf], shown: Option<&OsStr>) -> Result<Sources> {
    let mut sources = Sources::default();
    match (shown, paths) {
        (Some(shown), [one]) => sources.add_as(one, Path::new(shown))?,
        (Some(_), _) => {
            return Err(Error::new(ErrorKind::Invalid, "--as-path is for one path, and there are several"));
        }
        (None, all) => {
            for path in all {
                sources.add(path, &names_in)?;
            }
        }
    }
    Ok(sources)
}

/// What is left out, and the patterns for the record.
pub fn selection(args: &LeaveOut, env: &Environment, cx: &Context<'_>) -> Result<(Selection, Vec<Vec<u8>>)> {
    let exact = patterns("--exclude", &args.exclude, &args.exclude_file, env, cx)?;
    let folded = patterns("--iexclude", &args.iexclude, &args.iexclude_file, env, cx)?;
    let record = exact.iter().chain(&folded).map(|(pattern, _)| pattern.clone()).collect();
    let mut tags = Vec::new();
    for spec in &args.exclude_if_present {
        tags.push(Tag::parse(spec.as_bytes())?);
    }
    if args.exclude_caches {
        tags.push(Tag::caches());
    }
    let mut ignore = if args.git_ignore { of_git(env, cx) } else { IgnoreSettings::default() };
    ignore.names = args.ignore_file.iter().map(|n| n.as_bytes().to_vec()).collect();
    let selection = Selection {
        exclude: Patterns::compile(exact, Case::Sensitive)?,
        iexclude: Patterns::compile(folded, Case::Insensitive)?,
        tags,
        bytes_max: args.exclude_larger_than,
        ignore,
    };
    Ok((selection, record))
}

/// What the user told git.
fn of_git(env: &Environment, cx: &Context<'_>) -> IgnoreSettings {
    let home = env.home().map(|home| home.as_os_str().as_bytes().to_vec());
    let contents = |file: &[u8]| std::fs::read(OsStr::from_bytes(file)).ok();
    let mut config = GitConfig::default();
    for file in env.git_configs() {
        let file = file.as_os_str().as_bytes();
        let mut files = ConfigFiles { home: home.as_deref(), read: &mut |name| contents(name) };
        let added = contents(file).map_or(Ok(()), |text| config.add(file, &text, &mut files));
        if added.is_err() {
            let file = String::from_utf8_lossy(file);
            cx.notice("doubtful-file", format!("{file}: git's configuration cannot be understood from some line on"));
        }
    }
    if config.is_conditional {
        let what =
            "git's configuration depends on includeIf, which is not judged here, so your own excludes do not count";
        cx.notice("doubtful-file", what.to_owned());
        return IgnoreSettings { git: GitRules::WorkTrees, home, ..IgnoreSettings::default() };
    }
    let default = || env.git_excludes().map(|file| file.into_os_string().into_vec());
    // A relative one is meant from the top of each work tree, where nobody keeps the user's file.
    let file = config.excludes_file.or_else(default).filter(|file| file.starts_with(b"/"));
    let global = file.and_then(|file| contents(&file).map(|text| (file, text)));
    let ignore_case = config.ignore_case.unwrap_or(false);
    IgnoreSettings { git: GitRules::WorkTrees, global, home, ignore_case, ..IgnoreSettings::default() }
}

/// What of a snapshot was chosen, and the patterns that keep things out, for the record.
pub fn choice(args: &Choice, env: &Environment, cx: &Context<'_>) -> Result<(RestoreSelection, Vec<Vec<u8>>)> {
    let read = |flag, typed: &[OsString], files: &[PathBuf]| patterns(flag, typed, files, env, cx);
    let exclude = read("--exclude", &args.exclude, &args.exclude_file)?;
    let iexclude = read("--iexclude", &args.iexclude, &args.iexclude_file)?;
    let include = read("--include", &args.include, &args.include_file)?;
    let iinclude = read("--iinclude", &args.iinclude, &args.iinclude_file)?;
    let excludes: Vec<Vec<u8>> = exclude.iter().chain(&iexclude).map(|(p, _)| p.clone()).collect();
    let compiled = |exact, folded| -> Result<(Patterns, Patterns)> {
        Ok((Patterns::compile(exact, Case::Sensitive)?, Patterns::compile(folded, Case::Insensitive)?))
    };
    let given = |strings: [&[OsString]; 2], files: [&[PathBuf]; 2]| {
        strings.iter().any(|l| !l.is_empty()) || files.iter().any(|l| !l.is_empty())
    };
    let included = given([&args.include, &args.iinclude], [&args.include_file, &args.iinclude_file]);
    let excluded = given([&args.exclude, &args.iexclude], [&args.exclude_file, &args.iexclude_file]);
    match (included, excluded) {
        (true, true) => {
            Err(Error::new(ErrorKind::Invalid, "includes and excludes are both given").hint("give one of them"))
        }
        (true, false) => compiled(include, iinclude).map(|(a, b)| (RestoreSelection::Only(a, b), excludes)),
        (false, true) => compiled(exclude, iexclude).map(|(a, b)| (RestoreSelection::Except(a, b), excludes)),
        (false, false) => Ok((RestoreSelection::All, excludes)),
    }
}

pub(super) fn patterns(
    flag: &'static str,
    typed: &[OsString],
    files: &[PathBuf],
    env: &Environment,
    cx: &Context<'_>,
) -> Result<Vec<(Vec<u8>, Origin)>> {
    let mut out: Vec<(Vec<u8>, Origin)> = typed.iter().map(|p| (p.as_bytes().to_vec(), Origin::Flag(flag))).collect();
    for file in files {
        let contents = read_list(file)?;
        let read = read_pattern_file(file.as_os_str().as_bytes(), &contents, &|name| env.variable(name));
        for (line, name) in read.unset {
            let name = String::from_utf8_lossy(&name).into_owned();
            cx.notice(
                "variable-not-set",
                format!("{}:{line}: ${name} is not set and stands for nothing", file.display()),
            );
        }
        out.extend(read.patterns);
    }
    Ok(out)
}

/// A directory that a backup leaves out, if it is there.
pub fn avoid(dir: &Path, slug: &'static str, what: &'static str) -> Option<Avoid> {
    let (dev, ino) = directory_id(dir)?;
    Some(Avoid { dev, ino, slug, what })
}

/// Device and inode, as the walk has them.
fn directory_id(dir: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::stat(dir).ok()?;
    // Major above, minor below.
    let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    Some((u64::from(major) << 32 | u64::from(minor), stat.st_ino))
}

/// Take sources away that are such a directory or in one: the walk does not come by it on its way to them.
pub fn leave_out(paths: &mut Vec<PathBuf>, avoid: &[Avoid], cx: &Context<'_>) -> Result<()> {
    let around = |path: &PathBuf| {
        let parent = || path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A link that was named is kept as a link, wherever it leads.
        let real = if path.is_symlink() { parent().canonicalize() } else { path.canonicalize() };
        let ids: Vec<_> = real.ok()?.ancestors().filter_map(directory_id).collect();
        avoid.iter().find(|a| ids.contains(&(a.dev, a.ino)))
    };
    let mut only = None;
    paths.retain(|path| match around(path) {
        Some(why) => {
            let shown = String::from_utf8_lossy(&backup::absolute(path)).into_owned();
            cx.notice(why.slug, format!("{shown} is {} or in it, and is left out", why.what));
            only = Some(why.what);
            false
        }
        None => true,
    });
    match (paths.is_empty(), only) {
        (true, Some(what)) => Err(Error::new(ErrorKind::Invalid, format!("nothing to back up but {what} itself"))
            .hint("name the directories to back up; `.` is the one you are in")),
        _ => Ok(()),
    }
}
