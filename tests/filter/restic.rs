//! Patterns, tag files and sizes against restic.
//!
//! In patterns `@` is the directory backed up. The answer of a backup is what it left out (only
//! the top of each), of a restore what it took; `refused` is an answer too.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use orlop::event::ItemKind;
use orlop::plan::filter::{
    Case as Folding, Head, Origin, Patterns, RestoreSelection, Selection, Tag, read_pattern_file,
};
use orlop::plan::size::parse_bytes;

use crate::cases::{Case, Entry, plant, program, read_table, recording, table_path, tree};

const TABLE: &str = "restic-0.19.1.txt";
/// Patterns see the whole path, so what is above the tree matters: of this shape, always.
const ROOT: &[u8] = b"/tmp/.tmpORLOP/src";
/// What `$SUB` says in pattern files.
const SUB: &str = "sub";

#[test]
fn as_restic_answered() {
    let mut cases = read_table(TABLE);
    let entries = tree(&cases.remove(0));
    let mut wrong = Vec::new();
    for case in &cases {
        let expected: Vec<Vec<u8>> = case.all(answer_word(case)).map(<[u8]>::to_vec).collect();
        let ours = our_answer(case, &entries, ROOT);
        if ours != expected {
            wrong.push(format!(
                "{}should be\n{}",
                case.answered(answer_word(case), &ours),
                case.answered(answer_word(case), &expected)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn as_restic_answers() {
    let Some(restic) = program("ORLOP_RESTIC", "restic") else {
        return;
    };
    let mut cases = read_table(TABLE);
    let planted = cases.remove(0);
    let entries = tree(&planted);
    let dir = tempfile::Builder::new().prefix(".tmp").tempdir_in("/tmp").unwrap();
    let root = dir.path().join("src");
    std::fs::create_dir(&root).unwrap();
    plant(&root, &entries);
    let run = |args: &[Vec<u8>]| restic_run(&restic, dir.path(), args);
    assert!(run(&[b"init".to_vec()]).status.success());
    assert!(run(&[b"backup".to_vec(), bytes(&root)]).status.success());

    let mut table = planted.answered("", &[]);
    let mut wrong = Vec::new();
    // Half a second each: all of them only for whoever asked by name.
    let every = if recording() || std::env::var_os("ORLOP_RESTIC").is_some() { 1 } else { 12 };
    for case in cases.iter().step_by(every) {
        let theirs = their_answer(case, &entries, &root, &run);
        let text = case.answered(answer_word(case), &theirs);
        let expected: Vec<Vec<u8>> = case.all(answer_word(case)).map(<[u8]>::to_vec).collect();
        if theirs != expected {
            wrong.push(text.clone());
        }
        table += &text;
    }
    if recording() {
        std::fs::write(table_path(TABLE), table).unwrap();
    } else {
        assert!(wrong.is_empty(), "restic now says:\n{}", wrong.join("\n"));
    }
}

fn answer_word(case: &Case) -> &'static str {
    if case.head == "restore" { "takes" } else { "drops" }
}

fn bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

/// With `@` replaced.
fn placed(pattern: &[u8], root: &[u8]) -> Vec<u8> {
    pattern.iter().flat_map(|b| if *b == b'@' { root.to_vec() } else { vec![*b] }).collect()
}

fn patterns(
    case: &Case,
    flag: &'static str,
    file: &str,
    folding: Folding,
    root: &[u8],
) -> Result<Patterns, orlop::error::Error> {
    let env = |name: &[u8]| match name {
        b"SUB" => Some(SUB.as_bytes().to_vec()),
        _ => None,
    };
    let flags = case.all(flag).map(|p| (placed(p, root), Origin::Flag(flag)));
    let files = case.all(file).flat_map(|text| read_pattern_file(b"file", &placed(text, root), &env).patterns);
    Ok(Patterns::compile(flags.chain(files), folding)?)
}

fn our_answer(case: &Case, entries: &[Entry], root: &[u8]) -> Vec<Vec<u8>> {
    let answer = match case.head.as_str() {
        "backup" => our_backup(case, entries, root),
        "restore" => our_restore(case, entries),
        other => panic!("what is {other}?"),
    };
    answer.unwrap_or_else(|_| vec![b"refused".to_vec()])
}

fn our_backup(case: &Case, entries: &[Entry], root: &[u8]) -> Result<Vec<Vec<u8>>, orlop::error::Error> {
    let mut tags: Vec<Tag> = case.all("exclude-if-present").map(Tag::parse).collect::<Result<_, _>>()?;
    tags.extend(case.all("exclude-caches").map(|_| Tag::caches()));
    // Empty is as if not given.
    let size =
        case.all("exclude-larger-than").find(|s| !s.is_empty()).map(|s| parse_bytes(std::str::from_utf8(s).unwrap()));
    let selection = Selection {
        exclude: patterns(case, "exclude", "exclude-file", Folding::Sensitive, root)?,
        iexclude: patterns(case, "iexclude", "iexclude-file", Folding::Insensitive, root)?,
        tags,
        bytes_max: size.transpose()?,
        ..Selection::default()
    };
    let mut dropped = Vec::new();
    let start = selection.start();
    let walk = Walk { selection: &selection, entries, root };
    walk.directory(&start, b"", &mut dropped);
    dropped.sort();
    Ok(dropped)
}

struct Walk<'w> {
    selection: &'w Selection,
    entries: &'w [Entry],
    root: &'w [u8],
}

impl Walk<'_> {
    /// `dir` is empty or ends with a slash.
    fn directory(&self, above: &orlop::plan::filter::Level, dir: &[u8], dropped: &mut Vec<Vec<u8>>) {
        let inside = |e: &&Entry| e.path.strip_prefix(dir).is_some_and(|rest| !rest.contains(&b'/'));
        let here: Vec<&Entry> = self.entries.iter().filter(inside).collect();
        let names: Vec<&[u8]> = here.iter().map(|e| &e.path[dir.len()..]).collect();
        let path = [self.root, b"/", dir].concat();
        let mut read = |name: &[u8], most: usize| {
            let file = here.iter().find(|e| &e.path[dir.len()..] == name && !e.is_dir);
            file.map_or(Head::Absent, |file| Head::Bytes(file.contents[..most.min(file.contents.len())].to_vec()))
        };
        let (level, _) = self.selection.enter(above, path.strip_suffix(b"/").unwrap(), &names, &mut read);
        for entry in here {
            let kind = if entry.is_dir { ItemKind::Dir } else { ItemKind::File };
            let path = [self.root, b"/", &entry.path].concat();
            if !self.selection.decide(&level, &path, kind, entry.contents.len() as u64).is_keep() {
                dropped.push(entry.path.clone());
            } else if entry.is_dir {
                self.directory(&level, &[&entry.path[..], b"/"].concat(), dropped);
            }
        }
    }
}

fn our_restore(case: &Case, entries: &[Entry]) -> Result<Vec<Vec<u8>>, orlop::error::Error> {
    let list = |flag, folding| patterns(case, flag, "-", folding, b"@");
    let includes = [list("include", Folding::Sensitive)?, list("iinclude", Folding::Insensitive)?];
    let excludes = [list("exclude", Folding::Sensitive)?, list("iexclude", Folding::Insensitive)?];
    let selection = match (includes, excludes) {
        ([exact, folded], none) if none.iter().all(Patterns::is_empty) => RestoreSelection::Only(exact, folded),
        (_, [exact, folded]) => RestoreSelection::Except(exact, folded),
    };
    // Files only: which directories a restore makes on the way is not a matter of selection.
    let reach = |path: &[u8], kind| selection.reach(&[b"/", path].concat(), kind);
    let led_to = |path: &[u8]| {
        let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        { slashes }.all(|at| reach(&path[..at], ItemKind::Dir).below)
    };
    let wanted = |e: &&Entry| !e.is_dir && led_to(&e.path) && reach(&e.path, ItemKind::File).selected;
    let mut taken: Vec<Vec<u8>> = entries.iter().filter(wanted).map(|e| e.path.clone()).collect();
    taken.sort();
    Ok(taken)
}

fn restic_run(restic: &Path, dir: &Path, args: &[Vec<u8>]) -> Output {
    use std::os::unix::ffi::OsStringExt;
    let mut command = Command::new(restic);
    command.env("RESTIC_PASSWORD", "x").env("RESTIC_REPOSITORY", dir.join("repo")).env("SUB", SUB).env_remove("GONE");
    command.arg("--no-cache").args(args.iter().map(|a| std::ffi::OsString::from_vec(a.clone())));
    command.output().unwrap()
}

fn their_answer(case: &Case, entries: &[Entry], root: &Path, run: &dyn Fn(&[Vec<u8>]) -> Output) -> Vec<Vec<u8>> {
    let base = bytes(root);
    let backup = case.head == "backup";
    let mut args: Vec<Vec<u8>> =
        [case.head.as_str(), "--dry-run", "-vv", "--json"].map(|a| a.as_bytes().to_vec()).to_vec();
    for (index, (word, arg)) in case.lines.iter().filter(|(w, _)| w != answer_word(case)).enumerate() {
        let arg = if backup { placed(arg, &base) } else { arg.clone() };
        let arg = if word.ends_with("-file") {
            let file = root.with_file_name(format!("list-{index}"));
            std::fs::write(&file, arg).unwrap();
            bytes(&file)
        } else {
            arg
        };
        args.push([b"--", word.as_bytes()].concat());
        if word != "exclude-caches" {
            args.push(arg);
        }
    }
    if backup {
        args.extend([b"--no-scan".to_vec(), b"--force".to_vec(), base.clone()]);
    } else {
        args.extend([b"--target".to_vec(), bytes(&root.with_file_name("out")), [b"latest:", &base[..]].concat()]);
    }
    let out = run(&args);
    if !out.status.success() {
        return vec![b"refused".to_vec()];
    }
    let told = items(&out.stdout, if backup { &base } else { b"" });
    let told_of = |e: &Entry| told.contains(&*String::from_utf8_lossy(&e.path));
    let top = |e: &&Entry| match e.path.iter().rposition(|b| *b == b'/') {
        Some(at) => told.contains(&*String::from_utf8_lossy(&e.path[..at])),
        None => true,
    };
    let mut answer: Vec<Vec<u8>> = if backup {
        entries.iter().filter(|e| !told_of(e)).filter(top).map(|e| e.path.clone()).collect()
    } else {
        entries.iter().filter(|e| !e.is_dir && told_of(e)).map(|e| e.path.clone()).collect()
    };
    answer.sort();
    answer
}

/// Paths below `base` in restic's messages. Its JSON loses bytes that are not UTF-8, the same
/// way for every name.
fn items(stdout: &[u8], base: &[u8]) -> BTreeSet<String> {
    let base = format!("{}/", String::from_utf8_lossy(base));
    let messages =
        stdout.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    let items = messages
        .filter(|m| m["message_type"] == "verbose_status")
        .filter_map(|m| m["item"].as_str().map(str::to_owned));
    items.filter_map(|item| item.strip_prefix(&base).map(|p| p.trim_end_matches('/').to_owned())).collect()
}
