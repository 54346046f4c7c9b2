//! The README is true: its sessions are played with the real program, its tables are what the
//! code says.
//!
//! In a block marked `console`, a line that begins with `$ ` is run and what follows must be its
//! output, but for ids, times, sizes and the width of columns; a line `…` stands for any lines.
//! All blocks together are one session in one folder. `UPDATE=1 cargo test --test readme` writes
//! down what the program said where that differs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use orlop::cli::args::Cli;
use orlop::error::ErrorKind;
use orlop::report::exit;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("there is a README")
}

/// What the README calls the folder.
const HOME: &str = "/home/anna";

/// A folder, and the shell of somebody who sits in it.
struct Shell {
    folder: tempfile::TempDir,
    exports: String,
}

impl Shell {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        Self { folder, exports: String::new() }
    }

    fn home(&self) -> &Path {
        self.folder.path()
    }

    /// Run a line; what it prints, on either stream, and its exit code.
    fn run(&mut self, line: &str) -> (String, i32) {
        if line.starts_with("export ") {
            self.exports += &format!("{line}\n");
            return (String::new(), 0);
        }
        let program = Path::new(env!("CARGO_BIN_EXE_orlop")).parent().expect("it is in a folder");
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", program.display());
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{}exec 2>&1; {line}", self.exports)).current_dir(self.home());
        shell.env_clear().env("PATH", path).env("HOME", self.home()).env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
        let output = shell.output().expect("the shell starts");
        let said = String::from_utf8_lossy(&output.stdout).replace(&*self.home().to_string_lossy(), HOME);
        (said, output.status.code().unwrap_or(-1))
    }
}

/// A line without what differs from run to run.
fn normal(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let bare = word.trim_matches(['(', ')', ',', '.', ':', '[', ']']);
        let of = |set: &str| !bare.is_empty() && bare.chars().all(|c| set.contains(c));
        let marks = bare.matches([':', '-']).count();
        let what = match bare {
            "B" | "KiB" | "MiB" | "GiB"
                if words.last().is_some_and(|w| w == "<number>" || w.parse::<u64>().is_ok()) =>
            {
                words.pop();
                "<size>"
            }
            _ if bare.contains('@') => "<user>",
            _ if bare.len() >= 8 && of("0123456789abcdef") => "<id>",
            _ if of("-") && bare.len() > 3 => "<rule>",
            _ if of("0123456789:-.TZ+") && marks > 0 => "<time>",
            _ if of("0123456789.") && bare.contains('.') => "<number>",
            _ if of("0123456789") => bare,
            _ => word,
        };
        words.push(what.to_owned());
    }
    words.join(" ")
}

/// Whether the lines are as expected; `…` stands for any number of them.
fn alike(expected: &[&str], said: &[&str]) -> bool {
    match expected.split_first() {
        None => said.is_empty(),
        Some((&"…", rest)) => (0..=said.len()).any(|n| alike(rest, &said[n..])),
        Some((line, rest)) => {
            said.split_first().is_some_and(|(s, more)| normal(line) == normal(s) && alike(rest, more))
        }
    }
}

/// One block, played: the same text with outputs that differ replaced by what was said.
fn play(block: &str, shell: &mut Shell) -> String {
    let mut played = String::new();
    for part in format!("\n{block}").split("\n$ ").skip(1) {
        let (line, told) = part.split_once('\n').unwrap_or((part, ""));
        let (said, code) = shell.run(line);
        assert!(code == 0 || told.contains("error["), "{line} ended with {code}:\n{said}");
        let (told, said) = (lines(told), lines(&said));
        played += &format!("$ {line}\n");
        for line in if alike(&told, &said) { told } else { said } {
            played += &format!("{line}\n");
        }
    }
    played
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).collect()
}

#[test]
fn sessions_go_as_told() {
    let text = readme();
    let mut shell = Shell::new();
    let mut played = String::new();
    let mut rest = text.as_str();
    const OPEN: &str = "```console\n";
    while let Some(at) = rest.find(OPEN) {
        let begin = at + OPEN.len();
        let end = begin + rest[begin..].find("```").expect("the block ends");
        played += &rest[..begin];
        played += &play(&rest[begin..end], &mut shell);
        rest = &rest[end..];
    }
    played += rest;
    if played == text {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(root().join("README.md"), &played).expect("the README can be written");
        return;
    }
    if let Some((told, said)) = text.lines().zip(played.lines()).find(|(told, said)| told != said) {
        panic!("the README tells\n    {told}\nand the program says\n    {said}\nin\n{played}");
    }
    panic!("the README tells more or less than the program says:\n{played}");
}

/// The command that a newcomer types first.
#[test]
fn the_first_command_works() {
    let text = readme();
    let first = text.lines().find_map(|l| l.strip_prefix("cargo run --release -- ")).expect("there is one");
    let mut shell = Shell::new();
    fs::create_dir(shell.home().join("Documents")).expect("a folder");
    fs::write(shell.home().join("Documents/letter.txt"), "Dear reader").expect("a file");
    let (said, code) = shell.run(&format!("orlop {first}"));
    assert_eq!(code, 0, "{said}");
    let (said, code) = shell.run(&format!("orlop {first}"));
    assert_eq!(code, 0, "a second time: {said}");
}

const PICTURE: &str = "src/docs/quickstart.svg";
/// What fits into the picture, in characters.
const COLUMNS: usize = 100;

/// What a newcomer sees, as lines of the picture.
fn first_run() -> Vec<String> {
    let mut shell = Shell::new();
    fs::create_dir(shell.home().join("Documents")).expect("a folder");
    for n in 0..20 {
        fs::write(shell.home().join(format!("Documents/letter-{n}.txt")), "Dear reader, ".repeat(n * 400))
            .expect("a file");
    }
    let command = "orlop quickstart ~/Documents";
    let (said, code) = shell.run(command);
    assert_eq!(code, 0, "{said}");
    let mut lines = vec![format!("$ {command}")];
    for line in said.lines().take_while(|l| !l.starts_with("What to do next")) {
        let secret = line.split(' ').count() == 24;
        let line = if secret { "(24 words, shown this once: write them down)" } else { line.trim_end() };
        let long = line.chars().count() > COLUMNS;
        lines.push(if long { line.chars().take(COLUMNS - 1).chain(['…']).collect() } else { line.to_owned() });
    }
    lines
}

fn picture(lines: &[String]) -> String {
    let (width, step) = (COLUMNS * 8 + 40, 18);
    let height = lines.len() * step + 40;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"orlop quickstart\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#16202b\"/>\n\
         <g font-family=\"monospace\" font-size=\"13\" fill=\"#d6dee6\" xml:space=\"preserve\">\n"
    );
    for (n, line) in lines.iter().enumerate() {
        let text = line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        out += &format!("<text x=\"20\" y=\"{}\">{text}</text>\n", 32 + n * step);
    }
    out + "</g>\n</svg>\n"
}

fn lines_of(picture: &str) -> Vec<String> {
    let texts = picture.lines().filter_map(|l| l.strip_prefix("<text ")?.split_once('>')?.1.strip_suffix("</text>"));
    texts.map(|t| t.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")).collect()
}

/// The picture at the top was taken of the program as it is.
#[test]
fn the_picture_is_of_a_real_run() {
    let lines = first_run();
    assert_eq!(lines_of(&picture(&lines)), lines);
    let path = root().join(PICTURE);
    let there = fs::read_to_string(&path).unwrap_or_default();
    // Names of keys, what is free, and how deep the tests' folder lies depend on the machine.
    let plain = |l: &String| {
        let line = l.split("free").next().unwrap_or_default().split("/keys/").next().unwrap_or_default();
        normal(line.split_once("Dirs:").map_or(line, |_| "Dirs:"))
    };
    let (told, said): (Vec<String>, Vec<String>) =
        (lines_of(&there).iter().map(plain).collect(), lines.iter().map(plain).collect());
    if told != said && std::env::var_os("UPDATE").is_some() {
        fs::write(&path, picture(&lines)).expect("writable");
        return;
    }
    assert_eq!(told, said, "{PICTURE}: UPDATE=1 cargo test --test readme");
    assert!(readme().contains(PICTURE), "the README shows it");
}

/// Each claim names tests that there are.
#[test]
fn claims_can_be_checked() {
    let text = readme();
    let section = text.split("\n## ").find(|s| s.starts_with("What it claims")).expect("claims");
    let rows: Vec<&str> = section.lines().filter(|l| l.starts_with("| ") && l.contains("cargo test")).collect();
    assert_eq!(rows.len(), 7);
    for row in rows {
        for name in row.split("--test ").skip(1) {
            let name = name.split([' ', '`']).next().expect("a word");
            assert!(root().join(format!("tests/{name}.rs")).exists(), "{name}");
        }
    }
}

#[test]
fn the_test_command_exists() {
    assert!(readme().lines().any(|l| l == "tests/run"));
    for script in ["tests/run", ".ci/run", "packaging/debian/build", "packaging/static"] {
        let mode = root().join(script).metadata().expect(script).permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} can be run");
    }
}

/// The first column of the table below a heading, without the marks of code.
fn first_column(heading: &str) -> Vec<String> {
    let text = readme();
    let section = text.split("\n## ").find(|s| s.starts_with(heading)).unwrap_or_else(|| panic!("no {heading}"));
    let rows = section.lines().filter_map(|l| l.strip_prefix("| ")).skip(1);
    rows.filter_map(|l| Some(l.split_once(" |")?.0.replace('`', ""))).collect()
}

#[test]
fn exit_codes_are_the_ones_that_occur() {
    use ErrorKind::*;
    let kinds = [
        NoRepository,
        Exists,
        WrongPassword,
        Damaged,
        Missing,
        Unsupported,
        Substituted,
        Storage,
        Source,
        Target,
        Invalid,
        Forbidden,
        Fenced,
        Cancelled,
        Bug,
    ];
    let mut occur: BTreeSet<u8> = kinds.into_iter().map(exit::code_of).collect();
    occur.insert(exit::code(&Ok(exit::Outcome::Done)));
    occur.insert(exit::code(&Ok(exit::Outcome::Partial)));
    let told: BTreeSet<u8> = first_column("Exit codes").iter().map(|c| c.parse().expect("a number")).collect();
    assert_eq!(told, occur);
}

#[test]
fn commands_are_the_ones_that_there_are() {
    let command = Cli::command();
    let there: BTreeSet<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let told: BTreeSet<String> = first_column("Commands").into_iter().collect();
    assert_eq!(told, there);
}

/// Every variable that some help text names is in the table, and the program knows all of those.
#[test]
fn variables_are_the_ones_that_are_read() {
    let told: BTreeSet<String> = first_column("Environment variables").into_iter().collect();
    let mut named = BTreeSet::new();
    for command in commands() {
        let help = command.clone().render_long_help().to_string();
        let words = help.split(|c: char| !c.is_ascii_uppercase() && c != '_').filter(|w| w.starts_with("ORLOP_"));
        named.extend(words.filter(|w| !w.starts_with("ORLOP_FROM_")).map(str::to_owned));
    }
    assert_eq!(named.difference(&told).collect::<Vec<_>>(), [""; 0], "in the help, not in the README");
    let source = |name: &str| fs::read_to_string(root().join("src/cli").join(name)).expect("settings are in cli");
    let settings = source("settings.rs") + &source("config/mod.rs");
    for name in told {
        let tail = name.trim_start_matches("ORLOP_");
        let read = settings.contains(&format!("\"{name}\"")) || settings.contains(&format!("name(\"{tail}\")"));
        assert!(read, "{name} is in the README, and nothing reads it");
    }
}

fn commands() -> Vec<clap::Command> {
    let mut root = Cli::command();
    root.build();
    let mut todo = vec![root];
    let mut all = Vec::new();
    while let Some(command) = todo.pop() {
        todo.extend(command.get_subcommands().cloned());
        all.push(command);
    }
    all
}

#[test]
fn files_that_it_points_to_are_there() {
    for link in readme().split("](").skip(1) {
        let to = link.split(')').next().expect("it ends");
        let local = !to.contains("://") && !to.starts_with('#');
        assert!(!local || root().join(to).exists(), "{to} is not there");
    }
}

#[test]
fn outputs_are_compared_as_people_would() {
    for (a, b, same) in [
        ("snapshot 4f3a09b1 saved", "snapshot 00000000 saved", true),
        ("2012-11-01 22:08:41  web1", "2026-11-01 22:08:42   web1", true),
        ("added 2.861 MiB, 3 files", "added 1.000 KiB, 3 files", true),
        ("added 2.861 MiB, 3 files", "added 1.000 KiB, 4 files", false),
        ("added 344 B", "added 1.000 KiB", true),
        ("by root@laptop:", "by anna@laptop:", true),
        ("no errors were found", "3 errors were found", false),
    ] {
        assert_eq!(normal(a) == normal(b), same, "{a} / {b}");
    }
    assert!(alike(&["a", "…", "b"], &["a", "x", "y", "b"]));
    assert!(!alike(&["a", "…", "b"], &["a", "x", "y"]));
}
