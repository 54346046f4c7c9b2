//! The file itself: TOML with places, every key known to somebody.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind as Usage;
use clap::{Arg, ArgAction, Command, CommandFactory};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{DEFAULT, Entry, Profile, hinted};
use crate::cli::args::Cli;
use crate::cli::hooks::{Hook, Hooks};
use crate::error::{Error, ErrorKind, Result};

/// Flags that a file cannot set: they choose the file.
const NOT_HERE: [&str; 4] = ["profile", "config", "help", "version"];

/// A file that holds together.
#[derive(Debug, Default)]
pub struct File {
    repositories: BTreeMap<String, Vec<Entry>>,
    profiles: BTreeMap<String, Parts>,
    /// It has hooks or password commands.
    pub runs_programs: bool,
}

#[derive(Debug, Default)]
struct Parts {
    repository: Option<(String, usize)>,
    profile: Profile,
}

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;
type Value<'a> = Spanned<DeValue<'a>>;

/// What every line is read with.
struct Reading<'a> {
    text: &'a str,
    home: Option<&'a Path>,
    file: &'a Path,
    /// All commands and their arguments; files that are broken from the start do without.
    clap: LazyCell<Command>,
    runs_programs: bool,
}

/// Understand a file.
pub fn parse(text: &str, home: Option<&Path>, file: &Path) -> Result<File> {
    let clap: LazyCell<Command> = LazyCell::new(|| {
        let mut clap = Cli::command();
        clap.build();
        clap
    });
    let mut reading = Reading { text, home, file, clap, runs_programs: false };
    let top = DeTable::parse(text).map_err(|e| {
        let at = e.span().map_or(0, |s| s.start);
        reading.wrong(at, e.message().to_owned())
    })?;
    let mut out = File::default();
    for (key, value) in top.get_ref().iter() {
        match key.get_ref().as_ref() {
            "repositories" => {
                for (name, value) in reading.table(key, value)?.iter() {
                    let entries = reading.repository(name, value)?;
                    out.repositories.insert(name.get_ref().to_string(), entries);
                }
            }
            "profiles" => {
                for (name, value) in reading.table(key, value)?.iter() {
                    let parts = reading.profile(name, value)?;
                    out.profiles.insert(name.get_ref().to_string(), parts);
                }
            }
            other => {
                let error = reading.wrong(key.span().start, format!("unknown table [{other}]"));
                return Err(hinted(error, other, &["repositories", "profiles"]));
            }
        }
    }
    out.runs_programs = reading.runs_programs;
    for parts in out.profiles.values() {
        if let Some((name, line)) = parts.repository.as_ref().filter(|(name, _)| !out.repositories.contains_key(name)) {
            let error = reading.wrong_line(*line, format!("there is no [repositories.{name}]"));
            let known: Vec<&str> = out.repositories.keys().map(String::as_str).collect();
            return Err(hinted(error, name, &known).hint("a place that has no name is given with `repo`"));
        }
    }
    Ok(out)
}

impl File {
    /// The named profile, or `default`, or nothing at all.
    pub fn choose(mut self, named: Option<&str>, file: PathBuf) -> Result<Profile> {
        let name = named.unwrap_or(DEFAULT);
        let Some(parts) = self.profiles.remove(name) else {
            let known: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
            let error = Error::new(ErrorKind::Invalid, format!("there is no profile {name:?} in {}", file.display()));
            return match named {
                Some(_) => Err(hinted(error, name, &known)),
                None => Ok(Profile { file, ..Profile::default() }),
            };
        };
        let mut profile = parts.profile;
        (profile.name, profile.file) = (Some(name.to_owned()), file);
        if let Some((repository, _)) = parts.repository {
            let entries = self.repositories.remove(&repository).unwrap_or_default();
            let own: Vec<String> = profile.global.iter().map(|e| e.id.clone()).collect();
            profile.global.extend(entries.into_iter().filter(|e| !own.contains(&e.id)));
        }
        Ok(profile)
    }
}

/// The arguments of a command that a file can set, each by its key.
fn keys(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    let flags = command.get_arguments().filter(|a| !a.is_hide_set());
    flags.filter_map(|a| match a.get_long() {
        Some(long) if !NOT_HERE.contains(&long) => Some((long, a)),
        None if a.get_id() == "paths" => Some(("sources", a)),
        _ => None,
    })
}

impl<'a> Reading<'a> {
    fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|b| **b == b'\n').count() + 1
    }

    fn wrong(&self, at: usize, what: String) -> Error {
        self.wrong_line(self.line(at), what)
    }

    fn wrong_line(&self, line: usize, what: String) -> Error {
        Error::new(ErrorKind::Invalid, what).doing(format!("reading {}:{line}", self.file.display()))
    }

    fn table<'v>(&self, key: &Key<'_>, value: &'v Value<'a>) -> Result<&'v DeTable<'a>> {
        let name = key.get_ref();
        value.get_ref().as_table().ok_or_else(|| self.wrong(key.span().start, format!("`{name}` is not a table")))
    }

    fn repository(&mut self, name: &Key<'_>, value: &Value<'a>) -> Result<Vec<Entry>> {
        let mut out = Vec::new();
        for (key, value) in self.table(name, value)?.iter() {
            let called = match key.get_ref().as_ref() {
                "location" => "repo",
                other => other,
            };
            let entry = self.flag(None, called, key, value);
            out.push(entry.map_err(|e| e.doing(format!("while reading [repositories.{}]", name.get_ref())))?);
        }
        Ok(out)
    }

    fn profile(&mut self, name: &Key<'_>, value: &Value<'a>) -> Result<Parts> {
        let mut parts = Parts::default();
        for (key, value) in self.table(name, value)?.iter() {
            let (called, is_table) = (key.get_ref().to_string(), value.get_ref().is_table());
            match called.as_str() {
                "repository" => {
                    let line = self.line(key.span().start);
                    parts.repository = Some((self.text_in(key, value)?, line));
                }
                "hooks" => parts.profile.hooks = self.hooks(key, value)?,
                command if is_table => {
                    let entries = self.command(name, key, value)?;
                    parts.profile.commands.insert(command.to_owned(), entries);
                }
                flag => parts.profile.global.push(self.flag(None, flag, key, value)?),
            }
        }
        Ok(parts)
    }

    fn command(&mut self, profile: &Key<'_>, key: &Key<'_>, value: &Value<'a>) -> Result<Vec<Entry>> {
        let name = key.get_ref();
        let ours = |c: &&Command| c.get_subcommands().next().is_none() && keys(c).any(|(_, a)| !a.is_global_set());
        let known: Vec<&str> = self.clap.get_subcommands().filter(ours).map(Command::get_name).collect();
        if !known.contains(&name.as_ref()) {
            let what = format!("[profiles.{}.{name}] is of no command", profile.get_ref());
            return Err(hinted(self.wrong(key.span().start, what), name, &[&known[..], &["hooks"]].concat()));
        }
        let mut out = Vec::new();
        for (flag, value) in self.table(key, value)?.iter() {
            out.push(self.flag(Some(name), flag.get_ref(), flag, value)?);
        }
        out.sort_by_key(|e| e.line);
        Ok(out)
    }

    /// A key that is a flag; `called` is the flag's name.
    fn flag(&mut self, command: Option<&str>, called: &str, key: &Key<'_>, value: &Value<'a>) -> Result<Entry> {
        let at = command.and_then(|c| self.clap.find_subcommand(c)).unwrap_or(&self.clap);
        let fits = |a: &Arg| a.is_global_set() == command.is_none();
        let Some((_, arg)) = keys(at).find(|(name, a)| *name == called && fits(a)) else {
            let mut known: Vec<&str> = keys(at).filter(|(_, a)| fits(a)).map(|(name, _)| name).collect();
            known.sort_unstable();
            let of = command.map_or_else(|| "every command".to_owned(), |c| format!("`{c}`"));
            let what = format!("unknown key `{}`: it is no flag of {of}", key.get_ref());
            return Err(hinted(self.wrong(key.span().start, what), called, &known));
        };
        let (id, is_switch) = (arg.get_id().to_string(), matches!(arg.get_action(), ArgAction::SetTrue));
        let repeats = matches!(arg.get_action(), ArgAction::Append) && id != "verbose";
        let values = self.values(key, value, is_switch, repeats)?;
        if !is_switch && id != "paths" {
            for value in &values {
                self.check(command, called, key, value)?;
            }
        }
        self.runs_programs |= called.ends_with("password-command");
        Ok(Entry { key: key.get_ref().to_string(), id, values, line: self.line(key.span().start) })
    }

    /// As they would be typed.
    fn values(&self, key: &Key<'_>, value: &Value<'a>, is_switch: bool, repeats: bool) -> Result<Vec<String>> {
        let name = key.get_ref();
        let wants = |what: &str| self.wrong(key.span().start, format!("`{name}` wants {what}"));
        if is_switch {
            return match value.get_ref().as_bool() {
                Some(on) => Ok(if on { vec!["true".to_owned()] } else { Vec::new() }),
                None => Err(wants("true or false")),
            };
        }
        match value.get_ref() {
            DeValue::Array(list) if repeats => list.iter().map(|v| self.text_in(key, v)).collect(),
            DeValue::Array(_) => Err(wants("one value, and this is a list")),
            _ => Ok(vec![self.text_in(key, value)?]),
        }
    }

    /// A value as a word; `~/` at its beginning is home, as in a shell.
    fn text_in(&self, key: &Key<'_>, value: &Value<'_>) -> Result<String> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().replace('_', ""),
            DeValue::Float(number) => number.as_str().replace('_', ""),
            DeValue::Datetime(time) => time.to_string(),
            _ => return Err(self.wrong(value.span().start, format!("`{}` wants text or a number", key.get_ref()))),
        };
        match (text.strip_prefix("~/"), self.home) {
            (Some(rest), Some(home)) => Ok(home.join(rest).to_string_lossy().into_owned()),
            (Some(_), None) => Err(self
                .wrong(value.span().start, format!("{text:?} is in your home, and HOME is not set"))
                .hint("write the whole path")),
            (None, _) => Ok(text),
        }
    }

    /// Whether the flag takes the value.
    fn check(&self, command: Option<&str>, flag: &str, key: &Key<'_>, value: &str) -> Result<()> {
        let line = ["orlop".to_owned()].into_iter().chain(command.map(str::to_owned));
        let line: Vec<String> = line.chain([format!("--{flag}={value}")]).collect();
        match self.clap.clone().try_get_matches_from(line) {
            Err(e) if matches!(e.kind(), Usage::InvalidValue | Usage::ValueValidation | Usage::NoEquals) => {
                let rendered = e.render().to_string();
                let first = rendered.lines().next().unwrap_or_default();
                let why = first.rsplit_once("': ").map_or("it is none of what the flag takes", |(_, why)| why);
                Err(self.wrong(key.span().start, format!("`{}` has no use for {value:?}: {why}", key.get_ref())).hint(
                    format!("`orlop {}--help` says what it takes", command.map_or(String::new(), |c| format!("{c} "))),
                ))
            }
            _ => Ok(()),
        }
    }

    fn hooks(&mut self, key: &Key<'_>, value: &Value<'a>) -> Result<Hooks> {
        const KNOWN: [&str; 5] = ["before", "after", "failed", "finally", "timeout"];
        let mut hooks = Hooks::default();
        for (key, value) in self.table(key, value)?.iter() {
            let list = match key.get_ref().as_ref() {
                "timeout" => {
                    hooks.timeout = self.duration(key, value)?;
                    continue;
                }
                "before" => &mut hooks.before,
                "after" => &mut hooks.after,
                "failed" => &mut hooks.failed,
                "finally" => &mut hooks.finally,
                other => {
                    let error =
                        self.wrong(key.span().start, format!("unknown key `{other}`: hooks have no such thing"));
                    return Err(hinted(error, other, &KNOWN));
                }
            };
            *list = self.programs(key, value)?;
            self.runs_programs |= !list.is_empty();
        }
        Ok(hooks)
    }

    /// `["program", "argument"]`, or a list of such.
    fn programs(&self, key: &Key<'_>, value: &Value<'a>) -> Result<Vec<Hook>> {
        let wants = || {
            self.wrong(value.span().start, format!("`{}` wants a program and its arguments as a list", key.get_ref()))
                .hint(format!("for example: {} = [\"systemctl\", \"stop\", \"database\"]", key.get_ref()))
                .hint("no shell is run; who wants one says [\"sh\", \"-c\", \"…\"]")
        };
        let list = value.get_ref().as_array().ok_or_else(wants)?;
        let one = |value: &Value<'a>| -> Result<Hook> {
            let words = value.get_ref().as_array().ok_or_else(wants)?;
            let words: Vec<String> = words.iter().map(|w| self.text_in(key, w)).collect::<Result<_>>()?;
            if words.first().is_none_or(String::is_empty) {
                return Err(wants());
            }
            Ok(Hook { words, line: self.line(value.span().start) })
        };
        match list.iter().next() {
            None => Ok(Vec::new()),
            Some(first) if first.get_ref().is_array() => list.iter().map(one).collect(),
            Some(_) => Ok(vec![one(value)?]),
        }
    }

    fn duration(&self, key: &Key<'_>, value: &Value<'a>) -> Result<Duration> {
        let text = self.text_in(key, value)?;
        let (digits, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
        let seconds = match unit {
            "s" | "" => 1,
            "m" => 60,
            "h" => 3600,
            _ => 0,
        };
        match digits.parse::<u64>().ok().and_then(|n| n.checked_mul(seconds)) {
            Some(n) if n > 0 => Ok(Duration::from_secs(n)),
            _ => Err(self.wrong(key.span().start, format!("{text:?} is no time like 30s, 5m or 2h"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<File> {
        parse(text, Some(Path::new("/home/anna")), Path::new("orlop.toml"))
    }

    fn chosen(text: &str) -> Profile {
        read(text).and_then(|f| f.choose(Some("p"), "orlop.toml".into())).expect(text)
    }

    #[test]
    fn a_profile_and_its_repository() {
        let profile = chosen(
            "[repositories.nas]\nlocation = \"~/r\"\ncompression = \"max\"\npack-size = 32\n\
             [profiles.p]\nrepository = \"nas\"\ncompression = \"off\"\n\
             [profiles.p.backup]\nsources = [\"~/docs\", \"/etc\"]\nexclude-caches = true\nno-scan = false\n",
        );
        let global = |id: &str| profile.global.iter().find(|e| e.id == id).expect(id);
        assert_eq!((global("repo").values.as_slice(), global("repo").line), (&["/home/anna/r".to_owned()][..], 2));
        assert_eq!(global("compression").values, ["off"], "the profile comes before its repository");
        assert_eq!(global("pack_size").values, ["32"]);
        let backup = &profile.commands["backup"];
        assert_eq!((backup[0].id.as_str(), backup[0].values[0].as_str()), ("paths", "/home/anna/docs"));
        assert_eq!((backup[1].values.as_slice(), backup[1].line), (&["true".to_owned()][..], 10));
        assert!(backup[2].values.is_empty(), "a switch that is off");
    }

    #[test]
    fn hooks_are_lists_or_lists_of_lists() {
        let profile =
            chosen("[profiles.p.hooks]\nbefore = [\"a\", \"b c\"]\nafter = [[\"x\"], [\"~/y\"]]\ntimeout = \"2m\"\n");
        assert_eq!(profile.hooks.before[0].words, ["a", "b c"]);
        assert_eq!(profile.hooks.after[1].words, ["/home/anna/y"]);
        assert_eq!(profile.hooks.timeout, Duration::from_secs(120));
    }

    #[test]
    fn what_nobody_knows_is_named_with_its_line_and_what_was_meant() {
        for (text, line, hint) in [
            ("[profile.p]\n", 1, "`profiles`"),
            ("[repositories.r]\nlocation = \"x\"\npasword-file = \"y\"\n", 3, "`password-file`"),
            ("[profiles.p]\ncompresion = \"max\"\n", 2, "`compression`"),
            ("[profiles.p]\nexclude = [\"x\"]\n", 2, "there is"),
            ("[profiles.p.backups]\n", 1, "`backup`"),
            ("[profiles.p.backup]\n\nexcludes = [\"x\"]\n", 3, "`exclude`"),
            ("[profiles.p.backup]\ncompression = \"max\"\n", 2, "there is"),
            ("[profiles.p.hooks]\nbefor = [\"x\"]\n", 2, "`before`"),
            ("[repositories.nas]\n[profiles.p]\nrepository = \"nass\"\n", 3, "`nas`"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.to_string().contains(&format!("orlop.toml:{line}")), "{error}");
            assert!(error.hints()[0].contains(hint), "{text}: {:?}", error.hints());
        }
    }

    #[test]
    fn values_that_do_not_fit() {
        for text in [
            "[profiles.p]\ncompression = \"much\"\n",
            "[profiles.p]\ncompression = [\"max\"]\n",
            "[profiles.p]\npack-size = \"big\"\n",
            "[profiles.p]\nno-cache = \"yes\"\n",
            "[profiles.p]\nrepository = 7.5.5\n",
            "[profiles.p]\nrepository = true\n",
            "[profiles.p.backup]\nexclude-larger-than = \"large\"\n",
            "[profiles.p.backup]\nexclude = [[\"x\"]]\n",
            "[profiles.p.hooks]\nbefore = \"sync\"\n",
            "[profiles.p.hooks]\nbefore = [\"\"]\n",
            "[profiles.p.hooks]\nbefore = [[\"a\"], \"b\"]\n",
            "[profiles.p.hooks]\ntimeout = \"soon\"\n",
            "[profiles.p.hooks]\ntimeout = \"0s\"\n",
            "[profiles]\np = 1\n",
            "[profiles.p\n",
            "[profiles.p]\n[profiles.p]\n",
        ] {
            let error = read(text).expect_err(text);
            assert!(error.to_string().contains("orlop.toml:"), "{error}");
        }
    }

    #[test]
    fn home_is_needed_for_what_is_in_it() {
        let text = "[repositories.r]\nlocation = \"~/r\"\n";
        assert!(parse(text, None, Path::new("orlop.toml")).expect_err("no home").what().contains("HOME"));
    }

    #[test]
    fn programs_are_noticed() {
        assert!(!read("[profiles.p.backup]\nsources = [\"x\"]\n").expect("fine").runs_programs);
        assert!(!read("[profiles.p.hooks]\ntimeout = 3\n").expect("fine").runs_programs);
        assert!(read("[profiles.p.hooks]\nbefore = [\"x\"]\n").expect("fine").runs_programs);
        assert!(read("[repositories.r]\npassword-command = \"x\"\n").expect("fine").runs_programs);
    }

    #[test]
    fn profiles_that_are_not_there() {
        let text = "[profiles.laptop]\n[profiles.server]\n";
        let error = read(text).expect("fine").choose(Some("labtop"), "f".into()).expect_err("none");
        assert!(error.hints()[0].contains("`laptop`"));
        assert!(read(text).expect("fine").choose(None, "f".into()).expect("nothing is set").name.is_none());
    }
}
