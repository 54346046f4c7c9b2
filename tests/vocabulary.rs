//! Restic's commands and flags: all of them on the page `src/docs/restic.md`, and where the page says
//! *same*, the two do the same.
//!
//! The page is made of what restic lists (`tests/vocabulary/restic-0.19.1.txt`), of clap's definition
//! and of `cli::elsewhere`. `UPDATE=1 cargo test --test vocabulary` writes it anew. With restic 0.19 on
//! the path, or `ORLOP_RESTIC` naming it, the list is compared with restic itself and lines are played
//! with both.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Arg, CommandFactory};
use orlop::cli::args::Cli;
use orlop::cli::elsewhere;

const LIST: &str = include_str!("vocabulary/restic-0.19.1.txt");
const PAGE: &str = "src/docs/restic.md";

/// A flag as restic lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flag {
    short: Option<char>,
    long: String,
    value: Option<String>,
}

impl Flag {
    fn parse(line: &str) -> Self {
        let (mut short, mut long, mut value) = (None, String::new(), None);
        for word in line.split(' ') {
            match word {
                w if w.starts_with("--") => long = w.to_owned(),
                w if w.starts_with('-') => short = w.chars().nth(1),
                w => value = Some(w.to_owned()),
            }
        }
        Self { short, long, value }
    }

    fn shown(&self) -> String {
        let short = self.short.map(|c| format!("-{c}, ")).unwrap_or_default();
        format!("{short}{}", self.long)
    }
}

/// Commands with their flags; `*` is every command.
fn listed() -> Vec<(String, Vec<Flag>)> {
    let mut all: Vec<(String, Vec<Flag>)> = Vec::new();
    for line in LIST.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        match line.strip_prefix('[') {
            Some(name) => all.push((name.trim_end_matches(']').to_owned(), Vec::new())),
            None => all.last_mut().expect("a command comes first").1.push(Flag::parse(line)),
        }
    }
    all
}

fn ours(name: &str) -> Option<clap::Command> {
    let mut at = Cli::command();
    at.build();
    for word in name.split(' ').filter(|w| *w != "*") {
        at = at.find_subcommand(word)?.clone();
    }
    Some(at)
}

enum Here {
    Same,
    Different(String),
    Not(String),
}

fn compared(command: &str, flag: &Flag, clap: &clap::Command) -> Option<Here> {
    let wanted = flag.long.trim_start_matches("--");
    let named = |a: &&Arg| a.get_long() == Some(wanted) || a.get_all_aliases().is_some_and(|l| l.contains(&wanted));
    let Some(arg) = clap.get_arguments().find(named) else {
        return elsewhere::instead_of_flag(&flag.long).map(|instead| Here::Not(instead.to_owned()));
    };
    let takes_value = arg.get_action().takes_values() && arg.get_num_args().is_none_or(|n| n.min_values() > 0);
    let shorts = arg.get_short_and_visible_aliases().unwrap_or_default();
    let letter =
        flag.short.is_none_or(|c| shorts.contains(&c) || arg.get_all_short_aliases().is_some_and(|s| s.contains(&c)));
    let mut how: Vec<String> = elsewhere::difference(command, &flag.long).map(str::to_owned).into_iter().collect();
    if takes_value != flag.value.is_some() {
        how.push(if takes_value { "it takes a value here" } else { "it takes no value here" }.to_owned());
    }
    if let (false, Some(c)) = (letter, flag.short) {
        how.push(format!("without the letter -{c}"));
    }
    Some(if how.is_empty() { Here::Same } else { Here::Different(how.join("; ")) })
}

const HEAD: &str = "\
# Restic's vocabulary

Every command and flag of restic 0.19, and what it is in orlop: *same*, *different* and how, or *not
here* and what there is instead. Short letters and whether a value is taken are compared, too. What is
the same has the same meaning, the same exit codes, and restic's keys in `--json`.

This page is made by `UPDATE=1 cargo test --test vocabulary` from what restic lists, from orlop's own
definition of its command line, and from its answers to what it lacks. The program gives these answers
itself: `orlop mount` says what to do instead. With restic at hand that test also plays lines with both
and compares what comes of them.

Orlop has more: `orlop --help` lists all commands.
";

/// The page, and what nobody has an answer for.
fn page() -> (String, Vec<String>) {
    let (mut out, mut missing) = (HEAD.to_owned(), Vec::new());
    for (name, flags) in listed() {
        let clap = ours(&name);
        let answer = match (&clap, elsewhere::difference(&name, ""), elsewhere::instead_of_command(&name)) {
            (Some(_), Some(how), _) => format!("*different*: {how}"),
            (Some(_), None, _) => "*same*".to_owned(),
            (None, _, Some(instead)) => format!("*not here*: {instead}"),
            (None, ..) => {
                missing.push(name.clone());
                continue;
            }
        };
        let title = if name == "*" { "Flags of every command".to_owned() } else { format!("`{name}`") };
        let answer = if name == "*" { String::new() } else { format!("{answer}\n") };
        let _ = write!(out, "\n## {title}\n\n{answer}");
        let out_flags = match &clap {
            Some(clap) => table(&name, &flags, clap, &mut missing),
            None => {
                let all: Vec<String> = flags.iter().map(|f| format!("`{}`", f.shown())).collect();
                if all.is_empty() { String::new() } else { format!("\nIts flags are not here: {}\n", all.join(" · ")) }
            }
        };
        out += &out_flags;
    }
    (out.replace("\n\n\n", "\n\n"), missing)
}

fn table(name: &str, flags: &[Flag], clap: &clap::Command, missing: &mut Vec<String>) -> String {
    let mut rows = String::new();
    for flag in flags {
        let Some(here) = compared(name, flag, clap) else {
            missing.push(format!("{name} {}", flag.long));
            continue;
        };
        let answer = match here {
            Here::Same => "*same*".to_owned(),
            Here::Different(how) => format!("*different*: {how}"),
            Here::Not(instead) => format!("*not here*: {instead}"),
        };
        let _ = writeln!(rows, "| `{}` | {answer} |", flag.shown());
    }
    if rows.is_empty() { rows } else { format!("\n| flag | here |\n|---|---|\n{rows}") }
}

#[test]
fn the_page_is_complete_and_current() {
    let (page, missing) = page();
    assert_eq!(missing, [""; 0], "src/cli/elsewhere.rs has no answer for these");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).expect("writable");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == page, "{PAGE} is not what it should be: UPDATE=1 cargo test --test vocabulary");
    for (name, flags) in listed() {
        assert!(name == "*" || page.contains(&format!("`{name}`")), "{name}");
        for flag in flags {
            assert!(page.contains(&format!("`{}`", flag.shown())), "{name} {}", flag.long);
        }
    }
}

/// What the page calls the same, the program accepts.
#[test]
fn what_is_the_same_is_accepted() {
    for (name, flags) in listed() {
        let Some(clap) = ours(&name) else { continue };
        for flag in flags.iter().filter(|f| matches!(compared(&name, f, &clap), Some(Here::Same | Here::Different(_))))
        {
            let mut line = vec!["orlop".to_owned()];
            line.extend(name.split(' ').filter(|w| *w != "*").map(str::to_owned));
            line.push(flag.long.clone());
            line.extend(flag.value.is_some().then(|| "1".to_owned()));
            let refused = Cli::command().try_get_matches_from(&line).err().map(|e| e.kind());
            assert_ne!(refused, Some(clap::error::ErrorKind::UnknownArgument), "{line:?}");
        }
    }
}

/// What is not here is answered by the program, too.
#[test]
fn what_is_not_here_is_answered() {
    for (name, flags) in listed() {
        let Some(clap) = ours(&name) else {
            let first = name.split(' ').next().expect("a word");
            assert!(elsewhere::command(first).is_some(), "{name}");
            continue;
        };
        for flag in flags.iter().filter(|f| matches!(compared(&name, f, &clap), Some(Here::Not(_)))) {
            let line = ["orlop", name.trim_matches('*'), &flag.long].into_iter().filter(|w| !w.is_empty());
            let output = Command::new(env!("CARGO_BIN_EXE_orlop")).args(line.skip(1)).env_clear().output();
            let err = String::from_utf8_lossy(&output.expect("it starts").stderr).into_owned();
            assert!(err.contains("as restic has") && err.contains("hint: "), "{name} {}: {err}", flag.long);
        }
    }
}

// ---------------------------------------------------------------- with restic itself

/// Restic 0.19, if it is here.
fn restic() -> Option<PathBuf> {
    let named = std::env::var_os("ORLOP_RESTIC").map_or_else(|| "restic".into(), PathBuf::from);
    let version = Command::new(&named).arg("version").output().ok()?;
    String::from_utf8_lossy(&version.stdout).starts_with("restic 0.19").then_some(named)
}

/// The flags that a help text lists as a command's own.
fn flags_in(help: &str) -> Vec<Flag> {
    let own = help.split("\nGlobal Flags:").next().unwrap_or_default();
    // What is further to the right is the end of a description.
    let lines = own.lines().filter(|l| l.starts_with("  -") || l.starts_with("      --")).map(str::trim_start);
    let flags =
        lines.map(|l| Flag::parse(&l.split("  ").next().unwrap_or_default().replace(',', " ").replace("  ", " ")));
    flags.filter(|f| f.long != "--help").collect()
}

#[test]
fn the_list_is_what_restic_lists() {
    let Some(restic) = restic() else { return };
    for (name, flags) in listed() {
        let output = Command::new(&restic).args(name.split(' ').filter(|w| *w != "*")).arg("--help").output();
        let help = String::from_utf8_lossy(&output.expect("it starts").stdout).into_owned();
        let told: Vec<String> = flags_in(&help).iter().map(Flag::shown).collect();
        assert_eq!(told, flags.iter().map(Flag::shown).collect::<Vec<_>>(), "{name}");
    }
}

/// Lines that both understand. `%` is the program's own folder, of which one with the same source is
/// there for each; `@` the source. `=` before a line: what it prints is compared as a set of lines;
/// `:` the exit code only.
const LINES: &str = "\
: init
: backup @/tree --tag a,b --tag c --host h --time '2020-01-02 03:04:05'
= ls latest
= ls latest --recursive @/tree/sub
= ls latest @/tree/sub
: backup @/tree -e *.o --iexclude *.TMP --exclude-file @/patterns --iexclude-file @/ipatterns --exclude-caches -H h
= ls latest
: backup @/tree --exclude-larger-than 1k --exclude-if-present .nobackup:hello
= ls latest
: backup --files-from @/list --host lists
= ls latest --host lists
: backup --files-from-verbatim @/verbatim -f
= ls latest
: backup --files-from-raw @/raw --skip-if-unchanged
: backup --files-from-raw @/raw --skip-if-unchanged
= ls latest
: backup --stdin-from-command --stdin-filename out -- echo hello
= dump latest /out
: backup --stdin-from-command -- false
: backup @/tree --dry-run -vv
: backup @/nothing
: backup @/tree @/nothing
: backup
= ls latest --tag c --path @/tree
= ls latest --host nobody
# snapshots
# snapshots --tag a,b
# snapshots --host h --latest 1
# snapshots --path @/tree
= dump latest --tag a @/tree/one.txt
: dump latest --tag a @/tree/none
: restore latest --tag a -t %/all --verify
> all
: restore latest --tag a -t %/some -i *.txt
> some
: restore latest --tag a -t %/except -e *.txt --iexclude BIG
> except
: restore latest:@/tree/sub --tag a --target %/sub --sparse
> sub
: restore latest --tag a -t %/dry --dry-run
> dry
: restore latest --tag a -t %/all --overwrite never
: restore latest:@/tree/sub --tag a -t %/all --delete --overwrite if-changed
> all
: restore latest --tag a -t %/files --include-file @/patterns
> files
: check
: check --read-data
: check --read-data-subset 1/2
: check --read-data-subset 50%
: check --read-data-subset 3/2
: key add --new-password-file @/new --user u --host h
: -p @/new snapshots
: -p @/patterns snapshots
: --no-cache --no-lock --retry-lock 1s -q snapshots
: diff latest ffffffff
= find --tag a *.o
= find --tag a -i ONE.TXT --path @/tree
: find nothing-of-this-name
: find --oldest yesterday-ish x
: stats
: stats latest --mode raw-data
: stats --mode files-by-contents --host h
: stats --mode frobnicate
: ls latest --ncdu
: list snapshots
: list frobnicate
: cat config
: tag --add x,y --host h
# snapshots --host h
: tag --remove x --tag a
: tag --set only --host lists
# snapshots
: rewrite --exclude *.o --exclude-file @/patterns --dry-run
# snapshots
: rewrite --exclude *.o --iexclude ONE.* --host h
# snapshots
= ls latest --tag rewrite
: rewrite --forget --exclude @/tree/sub --host lists
# snapshots
= ls latest --host lists
: rewrite latest --forget --new-host other --new-time '2020-05-06 07:08:09' --host h
: rewrite latest --forget --new-host other --new-time '2020-05-07 07:08:09' --host h
# snapshots
: rewrite --forget --exclude two.* --host other
# snapshots
= ls latest --host other
: rewrite --exclude nothing-of-this-name
# snapshots
: rewrite --exclude [ --host other
: rewrite
: forget --keep-last 1 --host other
# snapshots
: ls ffffffff
: restore ffffffff -t %/no
: -r %/nowhere snapshots
: frobnicate
: backup --frobnicate
";

struct Side<'a> {
    program: &'a Path,
    prefix: &'static str,
    own: PathBuf,
    source: &'a Path,
}

impl Side<'_> {
    fn run(&self, line: &str) -> (i32, String) {
        let words = words(line).into_iter().map(|w| {
            w.replace('%', &if w.ends_with('%') { "%".to_owned() } else { self.own.display().to_string() })
                .replace('@', &self.source.display().to_string())
        });
        let mut command = Command::new(self.program);
        command.args(words).env_clear().current_dir(self.source).stdin(Stdio::null());
        command.env("HOME", &self.own).env("PATH", "/usr/bin:/bin").env("TZ", "UTC");
        command.env(format!("{}_REPOSITORY", self.prefix), self.own.join("repo"));
        command.env(format!("{}_PASSWORD", self.prefix), "secret");
        let output = command.output().expect("it starts");
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Every path below a folder of its own, with contents.
    fn tree(&self, name: &str) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        let mut todo = vec![self.own.join(name)];
        while let Some(dir) = todo.pop() {
            for path in fs::read_dir(&dir).into_iter().flatten().map(|e| e.expect("readable").path()) {
                let shown = path.strip_prefix(&self.own).expect("below").display().to_string();
                match path.is_dir() {
                    true => todo.push(path),
                    false => {
                        out.insert(format!(
                            "{shown}: {}",
                            String::from_utf8_lossy(&fs::read(&path).expect("readable"))
                        ));
                    }
                }
            }
        }
        out
    }

    /// What snapshots say, but for ids and what only one of the two has.
    fn snapshots(&self, line: &str) -> Vec<String> {
        let (_, out) = self.run(&format!("{line} --json"));
        let list: serde_json::Value = serde_json::from_str(out.trim()).unwrap_or_else(|e| panic!("{line}: {e}: {out}"));
        let mut seen: Vec<String> = Vec::new();
        for s in list.as_array().expect("a list") {
            // A second of difference between the programs is none.
            let time = s["time"].as_str().filter(|t| t.starts_with("2020")).map(|t| &t[..19]).unwrap_or_default();
            let files = &s["summary"]["total_files_processed"];
            // Restic sorts paths, orlop keeps them as they were typed; neither means anything by it.
            let mut paths: Vec<&str> =
                s["paths"].as_array().expect("a list").iter().filter_map(|p| p.as_str()).collect();
            paths.sort_unstable();
            seen.push(format!("{} {paths:?} {} {time} {files}", s["hostname"], s["tags"]));
        }
        seen.sort();
        seen
    }
}

/// Words of a line; single quotes keep spaces.
fn words(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (n, part) in line.split('\'').enumerate() {
        match n % 2 {
            0 => out.extend(part.split_whitespace().map(str::to_owned)),
            _ => out.push(part.to_owned()),
        }
    }
    out
}

fn prepare(source: &Path) {
    let here = source.display();
    for dir in ["tree/sub/deep", "tree/marked", "tree/cache"] {
        fs::create_dir_all(source.join(dir)).expect("ours");
    }
    for (name, contents) in [
        ("tree/one.txt", "one\n".to_owned()),
        ("tree/sub/two.txt", "two\n".into()),
        ("tree/sub/deep/three.o", "3".into()),
        ("tree/sub/deep/x.tmp", "x".into()),
        ("tree/sub/big", "big ".repeat(1000)),
        ("tree/marked/.nobackup", "hello there".into()),
        ("tree/marked/not", "n".into()),
        ("tree/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n".into()),
        ("tree/cache/c", "c".into()),
        ("patterns", "# a remark\n\ntwo.*\n".into()),
        ("ipatterns", "ONE.*\n".into()),
        ("list", format!("{here}/tree/s*\n# no\n{here}/tree/one.txt\n")),
        ("verbatim", format!("{here}/tree/one.txt\n{here}/tree/sub/two.txt\n")),
        ("raw", format!("{here}/tree/one.txt\0{here}/tree/sub\0")),
        ("new", "another\n".into()),
    ] {
        fs::write(source.join(name), contents).expect("ours");
    }
}

#[test]
fn the_same_lines_do_the_same() {
    let Some(restic) = restic() else {
        println!("restic 0.19 is not here: ORLOP_RESTIC names it");
        return;
    };
    let dir = tempfile::tempdir().expect("a place");
    let source = dir.path().join("source");
    prepare(&source);
    let side = |program, prefix, own: &str| {
        let own = dir.path().join(own);
        fs::create_dir_all(&own).expect("ours");
        Side { program, prefix, own, source: &source }
    };
    let theirs = side(&restic, "RESTIC", "theirs");
    let ours = side(Path::new(env!("CARGO_BIN_EXE_orlop")), "ORLOP", "ours");
    let mut wrong = Vec::new();
    for line in LINES.lines() {
        let (mark, rest) = line.split_once(' ').expect("a mark");
        let (a, b) = match mark {
            ">" => (format!("{:#?}", theirs.tree(rest)), format!("{:#?}", ours.tree(rest))),
            "#" => (theirs.snapshots(rest).join("\n"), ours.snapshots(rest).join("\n")),
            _ => {
                let ((a, said), (b, told)) = (theirs.run(rest), ours.run(rest));
                let lines = |text: &str| -> String {
                    let kept = text.lines().filter(|l| {
                        mark == "=" && !l.starts_with("snapshot ") && !l.starts_with("Found ") && !l.is_empty()
                    });
                    kept.map(str::trim_end).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("\n")
                };
                (format!("exit code {a}\n{}", lines(&said)), format!("exit code {b}\n{}", lines(&told)))
            }
        };
        if a != b {
            wrong.push(format!("{line}\n-- restic\n{a}\n-- orlop\n{b}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn lines_are_read_right() {
    assert_eq!(Flag::parse("-e --exclude pattern").shown(), "-e, --exclude");
    let help = "Flags:\n  -n, --dry-run        do not\n      --mode string    counting\n  -h, --help   help\n\nGlobal Flags:\n   --json  x\n";
    let flags = flags_in(help);
    assert_eq!(flags.iter().map(Flag::shown).collect::<Vec<_>>(), ["-n, --dry-run", "--mode"]);
    assert_eq!((flags[0].value.as_deref(), flags[1].value.as_deref()), (None, Some("string")));
    assert_eq!(words("a 'b c' d"), ["a", "b c", "d"]);
}
