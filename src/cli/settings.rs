//! What is meant: flag over environment over file over default. The environment is read here and
//! nowhere else, once, into a value that tests can make up.
//!
//! Restic's variables for passwords, the cache and other settings stand in where neither their
//! `ORLOP_` namesakes nor a file say anything, for people who try orlop beside restic.
//! `RESTIC_REPOSITORY` never does: a repository of one is none of the other; nor does
//! `RESTIC_KEY_HINT`, which names a key of such a repository.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use super::args::{Compression, From, Global, When};
use super::config::Profile;
use super::limits::Limits;
use super::password::{Secret, Source};
use super::signals;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Time;
use crate::repo;
use crate::report::Loudness;
use crate::storage::{Access, Location, Options};

/// Variables that hold secrets themselves; programs that orlop starts do not get them.
pub const SECRET_VARIABLES: [&str; 4] =
    ["ORLOP_PASSWORD", "ORLOP_FROM_PASSWORD", "RESTIC_PASSWORD", "RESTIC_FROM_PASSWORD"];

/// Which variables set a flag: those of orlop, which come before `orlop.toml`, and those of restic,
/// which come after it. `of` is the command whose flag it is, if it is not one of every command.
/// What excludes each other stands together: any of the variables takes the place of the flag.
struct Variables {
    of: Option<&'static str>,
    flags: &'static [&'static str],
    ours: &'static [&'static str],
    restics: &'static [&'static str],
}

const VARIABLES: [Variables; 10] = [
    Variables {
        of: None,
        flags: &["repo", "repository_file"],
        ours: &["ORLOP_REPOSITORY", "ORLOP_REPOSITORY_FILE"],
        restics: &[],
    },
    Variables {
        of: None,
        flags: &["password_file", "password_command", "key_file", "insecure_no_password", "password"],
        ours: &["ORLOP_PASSWORD_FILE", "ORLOP_PASSWORD_COMMAND", "ORLOP_KEY_FILE", "ORLOP_PASSWORD"],
        restics: &["RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND", "RESTIC_PASSWORD"],
    },
    Variables { of: None, flags: &["key_hint"], ours: &["ORLOP_KEY_HINT"], restics: &[] },
    Variables { of: None, flags: &["client"], ours: &["ORLOP_CLIENT"], restics: &[] },
    Variables { of: None, flags: &["cache_dir"], ours: &["ORLOP_CACHE_DIR"], restics: &["RESTIC_CACHE_DIR"] },
    Variables { of: None, flags: &["cache_size"], ours: &["ORLOP_CACHE_SIZE"], restics: &[] },
    Variables { of: None, flags: &["compression"], ours: &["ORLOP_COMPRESSION"], restics: &["RESTIC_COMPRESSION"] },
    Variables { of: None, flags: &["pack_size"], ours: &["ORLOP_PACK_SIZE"], restics: &["RESTIC_PACK_SIZE"] },
    Variables { of: Some("backup"), flags: &["host"], ours: &["ORLOP_HOST"], restics: &["RESTIC_HOST"] },
    Variables {
        of: Some("backup"),
        flags: &["read_concurrency"],
        ours: &["ORLOP_READ_CONCURRENCY"],
        restics: &["RESTIC_READ_CONCURRENCY"],
    },
];

fn variables(of: Option<&str>, flag: &str) -> Option<&'static Variables> {
    VARIABLES.iter().find(|v| v.of == of && v.flags.contains(&flag))
}

/// The variable of orlop that takes the place of a flag in a file.
pub fn stands_in(env: &Environment, of: Option<&str>, flag: &str) -> Option<&'static str> {
    let known = variables(of, flag).map_or(&[][..], |v| v.ours);
    known.iter().copied().find(|name| env.get(name).is_some())
}

/// The variable of restic that is used where nothing else says anything.
pub fn falls_back(env: &Environment, of: Option<&str>, flag: &str) -> Option<&'static str> {
    let known = variables(of, flag).map_or(&[][..], |v| v.restics);
    known.iter().copied().find(|name| env.get(name).is_some())
}

/// A snapshot of the environment.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

/// Values may be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// Of this process.
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }
    /// Made up.
    pub fn of<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.map(|(name, value)| (name.into(), value.into())).into())
    }
    /// A variable, as pattern files name them.
    pub fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        use std::os::unix::ffi::OsStrExt;
        self.0.get(OsStr::from_bytes(name)).map(|v| v.as_bytes().to_vec())
    }
    /// The user's own excludes where git looks for them by default.
    pub fn git_excludes(&self) -> Option<PathBuf> {
        below(self, "XDG_CONFIG_HOME", "git/ignore").or_else(|| below(self, "HOME", ".config/git/ignore"))
    }
    /// Where git looks for its configuration, weakest first.
    pub fn git_configs(&self) -> Vec<PathBuf> {
        let system = match self.get("GIT_CONFIG_NOSYSTEM") {
            Some(_) => None,
            None => Some(self.path("GIT_CONFIG_SYSTEM").unwrap_or_else(|| "/etc/gitconfig".into())),
        };
        let global = match self.path("GIT_CONFIG_GLOBAL") {
            Some(one) => vec![one],
            None => {
                let of_desktop =
                    below(self, "XDG_CONFIG_HOME", "git/config").or_else(|| below(self, "HOME", ".config/git/config"));
                of_desktop.into_iter().chain(below(self, "HOME", ".gitconfig")).collect()
            }
        };
        system.into_iter().chain(global).collect()
    }
    /// The home of the user.
    pub fn home(&self) -> Option<&Path> {
        self.get("HOME").map(Path::new).filter(|p| p.is_absolute())
    }
    /// Where settings of the user are.
    pub fn config_dir(&self) -> Option<PathBuf> {
        below(self, "XDG_CONFIG_HOME", "orlop").or_else(|| below(self, "HOME", ".config/orlop"))
    }
    /// Where data of the user is.
    pub fn data_dir(&self) -> Option<PathBuf> {
        below(self, "XDG_DATA_HOME", "orlop").or_else(|| below(self, "HOME", ".local/share/orlop"))
    }
    /// Whether a hook of ours started this.
    pub fn is_in_hook(&self) -> bool {
        self.get("ORLOP_HOOK").is_some()
    }
    /// A variable as it can be shown.
    pub fn shown(&self, name: &str) -> Option<String> {
        self.get(name).map(|v| v.to_string_lossy().into_owned())
    }
    /// A variable that is not empty.
    fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|v| !v.is_empty())
    }
    fn is_empty_but_set(&self, name: &str) -> bool {
        self.0.get(OsStr::new(name)).is_some_and(|v| v.is_empty())
    }
    /// A variable as text.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let text = |v: &OsStr| v.to_str().map(str::to_owned).ok_or_else(|| bad(name, "is not UTF-8"));
        self.get(name).map(text).transpose()
    }
    /// A variable as a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }
    /// The first of some variables that is set, understood.
    fn first<T>(&self, names: [&str; 2], parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let name = names.into_iter().find(|name| self.get(name).is_some());
        name.map_or(Ok(None), |name| self.parse(name, parse))
    }
    fn parse<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        parse(&text).map(Some).ok_or_else(|| bad(name, &format!("has no use for the value '{text}'")))
    }
}

fn bad(variable: &str, why: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("the environment variable {variable} {why}"))
}

/// All that is not particular to one command.
#[derive(Debug, Clone)]
pub struct Settings {
    repositories: Vec<OsString>,
    /// Options of storages.
    pub options: Options,
    variables: Environment,
    only_restic_repository: bool,
    /// What `orlop.toml` says; its flags are in here already.
    pub profile: Option<Profile>,
    /// How much may be read and written.
    pub limits: Limits,
    /// Where the password or key comes from.
    pub unlock: Source,
    /// The key to try first.
    pub key_hint: Option<String>,
    /// The client name, if one was chosen.
    pub client: Option<String>,
    /// The host name, if one was chosen by the environment.
    pub host: Option<String>,
    /// Where the cache is; `None` for no cache.
    pub cache_dir: Option<PathBuf>,
    /// How large it may become, in MiB.
    pub cache_size_mib: Option<u32>,
    /// Where is remembered what repositories were; `None` if there is no place for it.
    pub state_dir: Option<PathBuf>,
    /// Where key files are that nobody chose a place for.
    pub keys_dir: Option<PathBuf>,
    /// Read it as it was at this time.
    pub as_of: Option<Time>,
    /// Take the repository for what it is now, whatever is remembered.
    pub accept_repository: bool,
    /// How hard to compress.
    pub compression: Compression,
    /// How large packs should become, in MiB.
    pub pack_size_mib: Option<u32>,
    /// How many files to read at once.
    pub read_concurrency: Option<usize>,
    /// Whether sealed frames are opened again before they are stored.
    pub extra_verify: bool,
    /// JSON for programs.
    pub json: bool,
    /// How much is said.
    pub loudness: Loudness,
    /// Whether emphasis is welcome on terminals.
    pub color: bool,
    /// Whether terminals can move their cursor.
    pub terminal_able: bool,
    /// The pace of progress, where one was asked for.
    pub progress_every: Option<Duration>,
}

impl Settings {
    /// Put flags and environment together.
    pub fn resolve(flags: &Global, env: &Environment) -> Result<Self> {
        let dumb = env.get("TERM").is_some_and(|t| t == "dumb");
        let number = |text: &str| text.parse::<f64>().ok().filter(|n| *n > 0.0 && *n <= 60.0);
        let fps = env.first(["ORLOP_PROGRESS_FPS", "RESTIC_PROGRESS_FPS"], number)?;
        let mode = |text: &str| Compression::from_str(text, false).ok();
        let compression = or(flags.compression, || env.first(["ORLOP_COMPRESSION", "RESTIC_COMPRESSION"], mode))?;
        let repositories = repositories(flags, env)?;
        Ok(Self {
            only_restic_repository: env.get("RESTIC_REPOSITORY").is_some()
                || env.get("RESTIC_REPOSITORY_FILE").is_some(),
            repositories,
            options: Options::parse(&flags.option)?,
            variables: env.clone(),
            profile: None,
            limits: Limits::default(),
            unlock: unlock(flags, env)?,
            key_hint: or(flags.key_hint.clone(), || env.text("ORLOP_KEY_HINT"))?,
            client: or(flags.client.clone(), || env.text("ORLOP_CLIENT"))?,
            host: env.first(["ORLOP_HOST", "RESTIC_HOST"], |t| Some(t.to_owned()))?,
            cache_dir: if flags.no_cache { None } else { cache_dir(flags, env) },
            cache_size_mib: or(flags.cache_size, || env.first(["ORLOP_CACHE_SIZE"; 2], |t| t.parse().ok()))?,
            state_dir: state_dir(flags, env),
            keys_dir: env.config_dir().map(|dir| dir.join("keys")),
            as_of: as_of(flags)?,
            accept_repository: flags.accept_repository,
            compression: compression.unwrap_or(Compression::Auto),
            pack_size_mib: or(flags.pack_size, || {
                env.first(["ORLOP_PACK_SIZE", "RESTIC_PACK_SIZE"], |t| t.parse().ok())
            })?,
            read_concurrency: env.first(["ORLOP_READ_CONCURRENCY", "RESTIC_READ_CONCURRENCY"], |t| t.parse().ok())?,
            extra_verify: !flags.no_extra_verify,
            json: flags.json,
            loudness: loudness(flags),
            color: env.get("NO_COLOR").is_none() && !dumb,
            terminal_able: !dumb,
            progress_every: fps.map(|f| Duration::from_secs_f64(1.0 / f)),
        })
    }

    /// The same with what a profile says beside flags, and limits of both.
    pub fn of_profile(self, profile: Option<Profile>, limits: Limits) -> Self {
        Self { profile, limits, ..self }
    }

    /// The same with a repository at this place, unlocked so.
    pub fn at(&self, place: OsString, unlock: Source) -> Self {
        Self { repositories: vec![place], unlock, ..self.clone() }
    }

    /// How storages are reached: the user's options, and where they find credentials.
    pub fn access<T>(&self, place: &Location, work: impl FnOnce(&Access<'_>) -> T) -> T {
        let known = self.state_dir.as_deref().and_then(|dir| repo::findings(dir, &place.place()));
        // What is not UTF-8 is no credential.
        let variable = |name: &str| self.variables.text(name).ok().flatten();
        work(&Access {
            options: &self.options,
            variable: &variable,
            cancel: Some(signals::cancel()),
            known: known.as_ref(),
        })
    }

    /// Whether anybody said where the repository is.
    pub fn has_repository(&self) -> bool {
        !self.repositories.is_empty()
    }

    /// Where all of the repositories are, each once.
    pub fn repositories(&self) -> Result<Vec<&OsStr>> {
        if self.repositories.len() < 2 {
            return self.repository().map(|one| vec![one]);
        }
        let mut out: Vec<&OsStr> = Vec::new();
        for place in &self.repositories {
            if out.contains(&place.as_os_str()) {
                let what = format!("the repository {} is named twice", place.display());
                return Err(Error::new(ErrorKind::Invalid, what));
            }
            out.push(place);
        }
        Ok(out)
    }

    /// Where the repository is, or how to say so.
    pub fn repository(&self) -> Result<&OsStr> {
        match self.repositories.as_slice() {
            [one] => return Ok(one),
            [] => {}
            many => {
                let what = format!("{} repositories were named, and this works with one", many.len());
                return Err(Error::new(ErrorKind::Invalid, what).hint("give -r once"));
            }
        }
        let error = Error::new(ErrorKind::Invalid, "no repository was named")
            .hint("say where it is with -r, --repository-file or ORLOP_REPOSITORY, or in a profile of orlop.toml")
            .hint("`orlop quickstart` makes one for a folder of yours");
        Err(match self.only_restic_repository {
            true => error.hint("RESTIC_REPOSITORY is not used: what restic wrote is no orlop repository"),
            false => error,
        })
    }
}

/// The time that is looked back to, on the clock of this machine's zone if no other was named.
fn as_of(flags: &Global) -> Result<Option<Time>> {
    let resolve = |when: &When| when.resolve(&jiff::tz::TimeZone::system());
    let resolved = flags.as_of.as_ref().map(resolve).transpose();
    Ok(resolved.map_err(|e| Error::new(ErrorKind::Invalid, e))?.map(|(time, _)| time))
}

fn or<T>(flag: Option<T>, variable: impl FnOnce() -> Result<Option<T>>) -> Result<Option<T>> {
    flag.map_or_else(variable, |value| Ok(Some(value)))
}

fn loudness(flags: &Global) -> Loudness {
    match (flags.quiet, flags.verbosity()) {
        (true, _) => Loudness::Quiet,
        (_, 0) => Loudness::Normal,
        (_, 1) => Loudness::Verbose,
        _ => Loudness::VeryVerbose,
    }
}

/// A place below a directory that a variable names, if that is absolute.
fn below(env: &Environment, base: &str, rest: &str) -> Option<PathBuf> {
    env.path(base).filter(|p| p.is_absolute()).map(|p| p.join(rest))
}

/// A cache directory that somebody chose.
fn chosen_cache_dir(flags: &Global, env: &Environment) -> Option<PathBuf> {
    let restic = || env.path("RESTIC_CACHE_DIR").map(|p| p.join("orlop"));
    flags.cache_dir.clone().or_else(|| env.path("ORLOP_CACHE_DIR")).or_else(restic)
}

fn cache_dir(flags: &Global, env: &Environment) -> Option<PathBuf> {
    chosen_cache_dir(flags, env)
        .or_else(|| below(env, "XDG_CACHE_HOME", "orlop"))
        .or_else(|| below(env, "HOME", ".cache/orlop"))
}

/// Who chose a place for the cache and none for state wants nothing of this anywhere else.
fn state_dir(flags: &Global, env: &Environment) -> Option<PathBuf> {
    below(env, "XDG_STATE_HOME", "orlop")
        .or_else(|| chosen_cache_dir(flags, env).map(|p| p.join("profiles")))
        .or_else(|| below(env, "HOME", ".local/state/orlop"))
}

fn repositories(flags: &Global, env: &Environment) -> Result<Vec<OsString>> {
    if !flags.repo.is_empty() {
        return Ok(flags.repo.clone());
    }
    if let Some(file) = &flags.repository_file {
        return location_in(file).map(|place| vec![place]);
    }
    match (env.get("ORLOP_REPOSITORY"), env.path("ORLOP_REPOSITORY_FILE")) {
        (Some(_), Some(_)) => Err(both("ORLOP_REPOSITORY", "ORLOP_REPOSITORY_FILE")),
        (Some(place), None) => Ok(vec![place.to_owned()]),
        (None, Some(file)) => location_in(&file).map(|place| vec![place]),
        (None, None) => Ok(vec![]),
    }
}

fn both(one: &str, other: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{one} and {other} are both given")).hint("give one of them")
}

/// The first line of a file that says where a repository is.
fn location_in(file: &Path) -> Result<OsString> {
    use std::os::unix::ffi::OsStringExt;
    let doing = || format!("reading the repository's location from {}", file.display());
    let read = signals::read_file(file, u64::MAX)?;
    let bytes = read.map_err(|e| Error::new(ErrorKind::Invalid, e.to_string()).doing(doing()))?;
    let line = bytes.trim_ascii();
    if line.is_empty() || line.contains(&b'\n') {
        return Err(Error::new(ErrorKind::Invalid, "there is not exactly one line").doing(doing()));
    }
    Ok(OsString::from_vec(line.to_vec()))
}

fn unlock(flags: &Global, env: &Environment) -> Result<Source> {
    let typed = Typed {
        file: flags.password_file.as_deref(),
        command: flags.password_command.as_deref(),
        key_file: flags.key_file.as_deref(),
        insecure: flags.insecure_no_password,
    };
    source(&typed, env, &["ORLOP", "RESTIC"])
}

/// What unlocks the other repository of `init --mirror-of` and `--copy-chunker-params`, and where
/// that is.
pub fn other(flags: &From, env: &Environment) -> Result<(Option<OsString>, Source)> {
    let typed = Typed {
        file: flags.from_password_file.as_deref(),
        command: flags.from_password_command.as_deref(),
        key_file: flags.from_key_file.as_deref(),
        insecure: flags.from_insecure_no_password,
    };
    let place = match (&flags.from_repo, &flags.from_repository_file) {
        (Some(place), _) => Some(place.clone()),
        (None, Some(file)) => Some(location_in(file)?),
        (None, None) => match (env.get("ORLOP_FROM_REPOSITORY"), env.path("ORLOP_FROM_REPOSITORY_FILE")) {
            (Some(place), _) => Some(place.to_owned()),
            (None, file) => file.as_deref().map(location_in).transpose()?,
        },
    };
    Ok((place, source(&typed, env, &["ORLOP_FROM", "RESTIC_FROM"])?))
}

struct Typed<'a> {
    file: Option<&'a Path>,
    command: Option<&'a str>,
    key_file: Option<&'a Path>,
    insecure: bool,
}

/// A flag decides; else the first family of variables that says anything.
fn source(typed: &Typed<'_>, env: &Environment, families: &[&str]) -> Result<Source> {
    if let Some(file) = typed.file {
        return Ok(Source::File(file.to_owned()));
    }
    if let Some(command) = typed.command {
        return Ok(Source::Command(command.to_owned()));
    }
    if let Some(file) = typed.key_file {
        return Ok(Source::KeyFile(file.to_owned()));
    }
    for (i, family) in families.iter().enumerate() {
        let found = source_in(env, family)?;
        match found {
            Some(Source::Empty(_)) if typed.insecure => {}
            Some(_) if typed.insecure && i == 0 => {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    "--insecure-no-password is given beside a password from the environment",
                )
                .hint(format!("unset {family}_PASSWORD and its like, or leave the flag out")));
            }
            Some(_) if typed.insecure => {}
            Some(source) => return Ok(source),
            None => {}
        }
    }
    Ok(if typed.insecure { Source::Nothing } else { Source::Ask })
}

/// A file or command beats the password itself, as in restic.
fn source_in(env: &Environment, family: &str) -> Result<Option<Source>> {
    let name = |rest: &str| format!("{family}_{rest}");
    let (file, command) = (env.path(&name("PASSWORD_FILE")), env.text(&name("PASSWORD_COMMAND"))?);
    let key_file = if family.starts_with("ORLOP") { env.path(&name("KEY_FILE")) } else { None };
    Ok(match (file, command, key_file) {
        (Some(_), Some(_), _) => {
            return Err(both(&name("PASSWORD_FILE"), &name("PASSWORD_COMMAND")));
        }
        (Some(_), _, Some(_)) => return Err(both(&name("PASSWORD_FILE"), &name("KEY_FILE"))),
        (_, Some(_), Some(_)) => return Err(both(&name("PASSWORD_COMMAND"), &name("KEY_FILE"))),
        (Some(file), ..) => Some(Source::File(file)),
        (_, Some(command), _) => Some(Source::Command(command)),
        (.., Some(file)) => Some(Source::KeyFile(file)),
        (None, None, None) => {
            use std::os::unix::ffi::OsStrExt;
            let variable = name("PASSWORD");
            match env.get(&variable) {
                Some(password) => Some(Source::Given(Secret::new(password.as_bytes().to_vec()))),
                None if env.is_empty_but_set(&variable) => Some(Source::Empty(variable)),
                None => None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use clap::Parser;

    fn resolve<const N: usize>(line: &str, env: [(&str, &str); N]) -> Result<Settings> {
        let line = format!("orlop {line} version");
        let cli = Cli::try_parse_from(line.split_whitespace()).expect("the line is well-formed");
        Settings::resolve(&cli.global, &Environment::of(env))
    }

    #[test]
    fn flags_beat_the_environment() {
        let s = resolve("-r /flag -p /file", [("ORLOP_REPOSITORY", "/env"), ("ORLOP_PASSWORD_COMMAND", "x")])
            .expect("both are fine");
        assert_eq!(s.repository().expect("a flag"), "/flag");
        assert!(matches!(s.unlock, Source::File(f) if f == Path::new("/file")));
        let s = resolve("--compression max", [("ORLOP_COMPRESSION", "off"), ("ORLOP_PACK_SIZE", "32")])
            .expect("both are fine");
        assert_eq!((s.compression, s.pack_size_mib), (Compression::Max, Some(32)));
    }

    #[test]
    fn restic_variables_stand_in_for_passwords_only() {
        let s = resolve("", [("RESTIC_REPOSITORY", "/r"), ("RESTIC_PASSWORD", "p")]).expect("fine so far");
        assert!(matches!(s.unlock, Source::Given(_)));
        let error = s.repository().expect_err("it is restic's");
        assert!(error.hints().iter().any(|h| h.contains("RESTIC_REPOSITORY is not used")), "{error}");
        let s = resolve("", [("ORLOP_PASSWORD", "p"), ("RESTIC_PASSWORD_FILE", "/f")]).expect("fine");
        assert!(matches!(s.unlock, Source::Given(_)), "the whole family of ORLOP_ comes first");
    }

    #[test]
    fn restic_variables_stand_in_for_other_settings() {
        let s = resolve(
            "",
            [
                ("RESTIC_COMPRESSION", "max"),
                ("RESTIC_PACK_SIZE", "32"),
                ("RESTIC_READ_CONCURRENCY", "3"),
                ("RESTIC_HOST", "h"),
                ("RESTIC_PROGRESS_FPS", "10"),
                ("RESTIC_KEY_HINT", "abcd"),
            ],
        )
        .expect("all make sense");
        assert_eq!((s.compression, s.pack_size_mib, s.read_concurrency), (Compression::Max, Some(32), Some(3)));
        assert_eq!((s.host.as_deref(), s.progress_every), (Some("h"), Some(Duration::from_millis(100))));
        assert_eq!(s.key_hint, None, "it names a key of another repository");
        let s = resolve("", [("RESTIC_COMPRESSION", "max"), ("ORLOP_COMPRESSION", "off")]).expect("fine");
        assert_eq!(s.compression, Compression::Off);
        let error = resolve("", [("RESTIC_PACK_SIZE", "big")]).expect_err("no number");
        assert!(error.what().contains("RESTIC_PACK_SIZE"), "{error}");
    }

    #[test]
    fn passwords_that_contradict_each_other() {
        assert!(resolve("", [("ORLOP_PASSWORD_FILE", "/f"), ("ORLOP_PASSWORD_COMMAND", "c")]).is_err());
        assert!(resolve("--insecure-no-password", [("ORLOP_PASSWORD", "p")]).is_err());
        let insecure = resolve("--insecure-no-password", [("ORLOP_PASSWORD", ""), ("RESTIC_PASSWORD", "p")]);
        assert!(matches!(insecure.expect("fine").unlock, Source::Nothing));
        assert!(matches!(resolve("", [("ORLOP_PASSWORD", "")]).expect("fine").unlock, Source::Empty(_)));
        assert!(matches!(resolve("", []).expect("fine").unlock, Source::Ask));
    }

    #[test]
    fn caches() {
        let dir = |line: &str, env: [(&str, &str); 3]| resolve(line, env).expect("fine").cache_dir;
        let home = [("HOME", "/h"), ("A", ""), ("B", "")];
        assert_eq!(dir("", home), Some("/h/.cache/orlop".into()));
        assert_eq!(dir("--no-cache", home), None);
        assert_eq!(dir("", [("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("B", "")]), Some("/x/orlop".into()));
        let all = [("HOME", "/h"), ("ORLOP_CACHE_DIR", "/o"), ("RESTIC_CACHE_DIR", "/r")];
        assert_eq!(dir("", all), Some("/o".into()));
        assert_eq!(dir("--cache-dir /f", all), Some("/f".into()));
    }

    #[test]
    fn where_state_is_kept() {
        let dir = |line: &str, env: [(&str, &str); 2]| resolve(line, env).expect("fine").state_dir;
        let home = ("HOME", "/h");
        assert_eq!(dir("", [home, ("A", "")]), Some("/h/.local/state/orlop".into()));
        assert_eq!(dir("", [home, ("XDG_STATE_HOME", "/s")]), Some("/s/orlop".into()));
        assert_eq!(dir("", [home, ("ORLOP_CACHE_DIR", "/c")]), Some("/c/profiles".into()));
        assert_eq!(dir("--cache-dir /c", [("A", ""), ("B", "")]), Some("/c/profiles".into()));
        assert_eq!(dir("", [("A", ""), ("B", "")]), None);
    }

    #[test]
    fn values_that_make_no_sense() {
        for (name, value) in [
            ("ORLOP_COMPRESSION", "much"),
            ("ORLOP_PACK_SIZE", "big"),
            ("ORLOP_PROGRESS_FPS", "0"),
            ("ORLOP_READ_CONCURRENCY", "-1"),
        ] {
            let error = resolve("", [(name, value)]).expect_err(name);
            assert!(error.what().contains(name));
        }
    }
}
