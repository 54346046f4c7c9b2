//! Ignore files against `git check-ignore`.
//!
//! A case has ignore files (`file NAME = CONTENTS`, with `%xx` where needed) and the answer for
//! each path something is said about: `says FILE:LINE PATH...`. `global` and `.git/info/exclude`
//! are files among others.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use orlop::plan::filter::{Case as Fold, GitRules, IgnoreSettings, IgnoreStack, Verdict, WorkTree};

use crate::cases::{Case, Entry, escape, plant, program, read_table, recording, table_path, tree, unescape};

const TABLE: &str = "git-2.47.3.txt";

/// Ignore files by name, and what is said.
struct Asked {
    /// `core.ignorecase`.
    fold: bool,
    files: Vec<(Vec<u8>, Vec<u8>)>,
    says: Vec<Vec<u8>>,
}

fn asked(case: &Case) -> Asked {
    let file = |arg: &[u8]| {
        let at = arg.windows(3).position(|w| w == b" = ").unwrap();
        (arg[..at].to_vec(), arg[at + 3..].to_vec())
    };
    let fold = case.all("ignorecase").next().is_some();
    Asked { fold, files: case.all("file").map(file).collect(), says: case.all("says").map(<[u8]>::to_vec).collect() }
}

#[test]
fn as_git_answered() {
    let mut cases = read_table(TABLE);
    let entries = tree(&cases.remove(0));
    let mut wrong = Vec::new();
    for case in &cases {
        let asked = asked(case);
        let ours = our_answer(&asked, &entries);
        if ours != asked.says {
            wrong.push(format!("{}should be\n{}", case.answered("says", &ours), case.answered("says", &asked.says)));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn as_git_answers() {
    let Some(git) = program("ORLOP_GIT", "git") else {
        return;
    };
    let mut cases = read_table(TABLE);
    let planted = cases.remove(0);
    let entries = tree(&planted);
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("work");
    std::fs::create_dir(&root).unwrap();
    plant(&root, &entries);
    assert!(git_command(&git, &root).args(["init", "-q"]).status().unwrap().success());

    let mut table = planted.answered("", &[]);
    let mut wrong = Vec::new();
    for case in &cases {
        let asked = asked(case);
        let theirs = their_answer(&git, &root, &asked, &entries);
        let text = case.answered("says", &theirs);
        if theirs != asked.says {
            wrong.push(text.clone());
        }
        table += &text;
    }
    if recording() {
        std::fs::write(table_path(TABLE), table).unwrap();
    } else {
        assert!(wrong.is_empty(), "git now says:\n{}", wrong.join("\n"));
    }
}

/// `FILE:LINE PATH...`, sorted; paths are escaped twice, as they stand between spaces.
fn told(by_rule: BTreeMap<(Vec<u8>, u32), Vec<Vec<u8>>>) -> Vec<Vec<u8>> {
    let line = |((file, line), paths): ((Vec<u8>, u32), Vec<Vec<u8>>)| {
        let mut out = [&file[..], format!(":{line}").as_bytes()].concat();
        for path in paths {
            out.push(b' ');
            out.extend(escape(&path).replace(' ', "%20").bytes());
        }
        out
    };
    by_rule.into_iter().map(line).collect()
}

fn our_answer(asked: &Asked, entries: &[Entry]) -> Vec<Vec<u8>> {
    let start = IgnoreStack::new(IgnoreSettings { git: GitRules::WorkTrees, ..IgnoreSettings::default() });
    let mut by_rule = BTreeMap::new();
    our_directory(&start, asked, entries, b"", &mut by_rule);
    for paths in by_rule.values_mut() {
        paths.sort();
    }
    told(by_rule)
}

fn our_directory(
    above: &Arc<IgnoreStack>,
    asked: &Asked,
    entries: &[Entry],
    dir: &[u8],
    by_rule: &mut BTreeMap<(Vec<u8>, u32), Vec<Vec<u8>>>,
) {
    let files = asked.files.iter();
    let contents: Vec<(&[u8], &[u8])> = files
        .filter_map(|(name, text)| Some((name.strip_prefix(dir)?, text.as_slice())))
        .filter(|(name, _)| *name == b".gitignore")
        .collect();
    let work_tree = dir.is_empty().then(|| our_work_tree(asked));
    let path = [b"/work/", dir].concat();
    let stack = above.enter(path.strip_suffix(b"/").unwrap(), &contents, work_tree);
    for entry in entries.iter().filter(|e| e.path.strip_prefix(dir).is_some_and(|rest| !rest.contains(&b'/'))) {
        match stack.verdict(&[b"/work/", &entry.path[..]].concat(), entry.is_dir) {
            Verdict::Silent => {}
            Verdict::Kept(rule) | Verdict::Tracked(rule) | Verdict::Excluded(rule) => {
                let file = rule.file.strip_prefix(b"/work/").unwrap_or(&rule.file).to_vec();
                by_rule.entry((file, rule.line)).or_default().push(entry.path.clone());
            }
        }
        if entry.is_dir {
            our_directory(&stack, asked, entries, &[&entry.path[..], b"/"].concat(), by_rule);
        }
    }
}

fn our_work_tree(asked: &Asked) -> WorkTree {
    let file = |wanted: &str| asked.files.iter().find(|(name, _)| name == wanted.as_bytes()).cloned();
    WorkTree {
        excludes: ["global", ".git/info/exclude"].into_iter().filter_map(file).collect(),
        case: if asked.fold { Fold::Insensitive } else { Fold::Sensitive },
        ..WorkTree::default()
    }
}

pub fn git_command(git: &Path, root: &Path) -> Command {
    let mut command = Command::new(git);
    command.current_dir(root).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    command.env("HOME", root).env("XDG_CONFIG_HOME", root.join("nowhere")).env_remove("GIT_DIR").env("LC_ALL", "C");
    command
}

fn their_answer(git: &Path, root: &Path, asked: &Asked, entries: &[Entry]) -> Vec<Vec<u8>> {
    let files = &asked.files;
    use std::os::unix::ffi::OsStrExt;
    let global = root.with_file_name("global");
    let place = |name: &[u8]| {
        if name == b"global" { global.clone() } else { root.join(std::ffi::OsStr::from_bytes(name)) }
    };
    std::fs::write(&global, b"").unwrap();
    std::fs::write(root.join(".git/info/exclude"), b"").unwrap();
    for (name, text) in files {
        std::fs::write(place(name), text).unwrap();
    }
    let mut command = git_command(git, root);
    command.arg("-c").arg(format!("core.excludesFile={}", global.display()));
    command.arg("-c").arg(format!("core.ignorecase={}", asked.fold));
    command.args(["check-ignore", "--no-index", "--stdin", "-z", "--verbose"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let questions: Vec<u8> = entries.iter().flat_map(|e| [&e.path[..], b"\0"].concat()).collect();
    child.stdin.take().unwrap().write_all(&questions).unwrap();
    let out = child.wait_with_output().unwrap().stdout;
    for (name, _) in files {
        std::fs::remove_file(place(name)).unwrap();
    }
    let fields: Vec<&[u8]> = out.split(|b| *b == 0).collect();
    let mut by_rule: BTreeMap<(Vec<u8>, u32), Vec<Vec<u8>>> = BTreeMap::new();
    for answer in fields.chunks_exact(4) {
        let file = if answer[0].ends_with(b"/global") { b"global".to_vec() } else { answer[0].to_vec() };
        let line = std::str::from_utf8(answer[1]).unwrap().parse().unwrap();
        by_rule.entry((file, line)).or_default().push(answer[3].to_vec());
    }
    for paths in by_rule.values_mut() {
        paths.sort();
    }
    told(by_rule)
}

#[test]
fn escapes_come_back() {
    let odd = b" a%b\xff\n c ";
    assert_eq!(unescape(&escape(odd)), odd);
}
