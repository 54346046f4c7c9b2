//! Passwords and key files: from where they are kept, or asked for on the terminal.
//!
//! Nothing here waits for input that cannot come: without a terminal there is an error at once.
//! Passwords are wiped from memory when they are dropped.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind as Io, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::{Zeroize, Zeroizing};

use super::settings::SECRET_VARIABLES;
use super::signals;
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::event::Notice;
use crate::id::{hex, unhex};

/// Bytes that are wiped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Take over bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a password or key comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// From a file with a password.
    File(PathBuf),
    /// From the output of a command.
    Command(String),
    /// From a file with a key.
    KeyFile(PathBuf),
    /// From the environment.
    Given(Secret),
    /// The environment variable of this name holds an empty password.
    Empty(String),
    /// There is none, and that is meant.
    Nothing,
    /// From the person at the terminal.
    Ask,
}

/// What unlocks a repository.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A password, not empty.
    Password(Secret),
    /// The key of a key file.
    Key(Zeroizing<[u8; 32]>),
    /// The empty password, which `--insecure-no-password` stands for.
    Nothing,
}

/// Get what unlocks a repository. `Source::Ask` may be tried again after a wrong password.
pub fn obtain(source: &Source, prompt: &str, cancel: &AtomicBool, notices: &mut Vec<Notice>) -> Result<Credential> {
    if let Source::Ask = source {
        return ask(prompt, cancel).and_then(not_empty).map(Credential::Password);
    }
    kept(source, notices)
}

/// Get what shall unlock a new repository or slot: a password is asked for twice, a key file is
/// made if it is not there.
pub fn obtain_new(source: &Source, cancel: &AtomicBool, notices: &mut Vec<Notice>) -> Result<Credential> {
    match source {
        Source::Ask => {
            let first = ask("enter new password: ", cancel).and_then(not_empty)?;
            let second = ask("enter it again: ", cancel)?;
            if first != second {
                return Err(Error::new(ErrorKind::Invalid, "the two passwords differ"));
            }
            Ok(Credential::Password(first))
        }
        Source::KeyFile(file) if !file.exists() => {
            let key = make_key_file(file)?;
            let message = format!("made the key file {}: keep a copy elsewhere", file.display());
            notices.push(Notice { slug: "key-file-made", message });
            Ok(Credential::Key(key))
        }
        _ => kept(source, notices),
    }
}

fn kept(source: &Source, notices: &mut Vec<Notice>) -> Result<Credential> {
    Ok(match source {
        Source::File(file) => Credential::Password(not_empty(from_file(file)?)?),
        Source::Command(command) => Credential::Password(not_empty(from_command(command)?)?),
        Source::KeyFile(file) => Credential::Key(read_key_file(file, notices)?),
        Source::Given(secret) => Credential::Password(secret.clone()),
        Source::Nothing => Credential::Nothing,
        Source::Empty(variable) => {
            return Err(empty().doing(format!("taking the password from {variable}")));
        }
        Source::Ask => return Err(no_terminal()),
    })
}

fn empty() -> Error {
    Error::new(ErrorKind::Invalid, "an empty password is not allowed by default")
        .hint("if that is meant, --insecure-no-password stands for it, for a new one --new-insecure-no-password")
}

fn not_empty(secret: Secret) -> Result<Secret> {
    if secret.bytes().is_empty() { Err(empty()) } else { Ok(secret) }
}

// ---------------------------------------------------------------- files

/// The whole file as restic reads it: without surrounding white space, and from UTF-16 where a
/// byte order mark says so.
fn from_file(file: &Path) -> Result<Secret> {
    let bytes = signals::read_file(file, u64::MAX)?.map(Zeroizing::new);
    let bytes = bytes
        .map_err(|e| Error::new(ErrorKind::Invalid, e.to_string()))
        .doing(|| format!("reading the password file {}", file.display()))?;
    Ok(password_in(&bytes))
}

/// The password that such a file holds.
pub fn password_in(bytes: &[u8]) -> Secret {
    trimmed(&decoded(bytes))
}

fn decoded(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let wide = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let text = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
        Zeroizing::new(text.collect::<String>().into_bytes())
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => Zeroizing::new(rest.to_vec()),
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        _ => Zeroizing::new(bytes.to_vec()),
    }
}

fn trimmed(bytes: &[u8]) -> Secret {
    Secret::new(match std::str::from_utf8(bytes) {
        Ok(text) => text.trim().as_bytes().to_vec(),
        Err(_) => bytes.trim_ascii().to_vec(),
    })
}

/// A key file holds 32 random bytes as 64 hex digits and a line end.
pub fn read_key_file(file: &Path, notices: &mut Vec<Notice>) -> Result<Zeroizing<[u8; 32]>> {
    let doing = || format!("reading the key file {}", file.display());
    let invalid = |why: String| Error::new(ErrorKind::Invalid, why).doing(doing());
    let path = file.to_owned();
    let open = move || File::open(path).and_then(|opened| Ok((opened.metadata()?, opened)));
    let (metadata, opened) = signals::unless_stopped(open)?.map_err(|e| invalid(e.to_string()))?;
    if metadata.is_file() && metadata.mode() & 0o044 != 0 {
        let message = format!("the key file {} can be read by others: chmod 600 it", file.display());
        notices.push(Notice { slug: "key-file-readable", message });
    }
    let no_key = || invalid("that is no key file: 64 hex digits are expected".to_owned());
    let read = move || {
        let mut text = Zeroizing::new(Vec::with_capacity(80));
        opened.take(80).read_to_end(&mut text).map(|_| text)
    };
    let text = signals::unless_stopped(read)?.map_err(|_| no_key())?;
    key_in(&text).ok_or_else(no_key)
}

/// The key that such a file holds.
pub fn key_in(bytes: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    unhex(std::str::from_utf8(bytes).ok()?.trim_end()).map(Zeroizing::new).ok()
}

/// Make a key file that only its owner can read; an existing file is left alone and an error.
pub fn make_key_file(file: &Path) -> Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *key).map_err(|e| Error::new(ErrorKind::Bug, "the system has no random bytes").because(e))?;
    let mut text = Zeroizing::new(hex(&*key));
    text.push('\n');
    write_private(file, text.as_bytes())
        .map_err(|e| Error::new(ErrorKind::Target, e.to_string()))
        .doing(|| format!("making the key file {}", file.display()))?;
    Ok(key)
}

/// Write a new file that only its owner can read, durably.
pub fn write_private(file: &Path, contents: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut made = options.write(true).create_new(true).mode(0o600).open(file)?;
    made.write_all(contents)?;
    made.sync_all()?;
    match file.parent() {
        Some(parent) if parent != Path::new("") => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

// ---------------------------------------------------------------- commands

/// The output of a command, split into arguments here and run without a shell, as in restic.
fn from_command(line: &str) -> Result<Secret> {
    let invalid = |why: String| Error::new(ErrorKind::Invalid, why);
    let run = || -> Result<Secret> {
        let words = split_command(line).map_err(|why| invalid(why.to_owned()))?;
        let (program, arguments) = words.split_first().ok_or_else(|| invalid("it is empty".into()))?;
        let mut command = Command::new(program);
        command.args(arguments).stderr(Stdio::inherit());
        for variable in SECRET_VARIABLES {
            command.env_remove(variable);
        }
        let output = output_of(&mut command)?.map_err(|e| invalid(format!("{program}: {e}")))?;
        let stdout = Zeroizing::new(output.stdout);
        if !output.status.success() {
            return Err(invalid(format!("{program} failed with {}", output.status)));
        }
        Ok(trimmed(&stdout))
    };
    run().doing(|| "running the password command".to_owned())
}

/// What a command prints. If we are to stop, so is the command.
fn output_of(command: &mut Command) -> Result<std::io::Result<Output>> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let child = match spawned {
        Ok(child) => child,
        Err(e) => return Ok(Err(e)),
    };
    let id = Pid::from_child(&child);
    signals::unless_stopped(move || child.wait_with_output()).inspect_err(|_| {
        // Nothing happens to one that has ended.
        let _ = kill_process(id, Signal::TERM);
    })
}

/// Words of a command line. Quotes of both kinds keep white space; a quote after a backslash is
/// no quote; outside quotes a backslash separates words, as in restic.
pub fn split_command(line: &str) -> std::result::Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quote, mut last) = (None, '\0');
    for c in line.chars() {
        if last != '\\' && (quote == Some(c) || (quote.is_none() && matches!(c, '"' | '\''))) {
            quote = if quote.is_none() { Some(c) } else { None };
            flush(&mut words, &mut word);
            continue;
        }
        last = c;
        if quote.is_none() && (c == '\\' || c.is_whitespace()) {
            flush(&mut words, &mut word);
        } else {
            word.push(c);
        }
    }
    flush(&mut words, &mut word);
    match quote {
        Some('\'') => Err("a single quote is not closed"),
        Some(_) => Err("a double quote is not closed"),
        None if words.is_empty() => Err("it is empty"),
        None => Ok(words),
    }
}

fn flush(words: &mut Vec<String>, word: &mut String) {
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
}

// ---------------------------------------------------------------- the terminal

/// How long to wait for a line before looking whether to stop.
const PATIENCE: Duration = Duration::from_millis(30);

fn no_terminal() -> Error {
    Error::new(ErrorKind::Invalid, "a password is needed and there is no terminal to ask on")
        .hint("set ORLOP_PASSWORD, ORLOP_PASSWORD_FILE, ORLOP_PASSWORD_COMMAND or ORLOP_KEY_FILE")
        .hint("or pass --password-file, --password-command, --key-file or --insecure-no-password")
}

/// Ask on the terminal, which shows nothing of what is typed.
fn ask(prompt: &str, cancel: &AtomicBool) -> Result<Secret> {
    // The terminal is opened anew, so that reading without blocking is nobody else's business.
    let mut options = OpenOptions::new();
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let opened = options.read(true).write(true).custom_flags(nonblocking).open("/dev/tty");
    let terminal = opened.map_err(|_| no_terminal())?;
    let failed = |e: std::io::Error| Error::new(ErrorKind::Invalid, "the terminal cannot be read").because(e);
    let line = {
        let _hidden = Hidden::begin(&terminal).map_err(|e| failed(e.into()))?;
        (&terminal).write_all(prompt.as_bytes()).map_err(failed)?;
        let line = read_line(&terminal, cancel);
        (&terminal).write_all(b"\n").map_err(failed)?;
        line
    };
    match line.map_err(failed)? {
        Some(line) => Ok(line),
        None => Err(Error::cancelled()),
    }
}

/// A line without its end; `None` if it is time to stop.
fn read_line(mut terminal: &File, cancel: &AtomicBool) -> std::io::Result<Option<Secret>> {
    let mut line = Zeroizing::new(Vec::with_capacity(4096));
    let mut buffer = Zeroizing::new([0; 4096]);
    while !cancel.load(Relaxed) {
        match terminal.read(&mut *buffer) {
            Ok(n) => {
                line.extend_from_slice(&buffer[..n]);
                if n == 0 || line.ends_with(b"\n") {
                    while line.ends_with(b"\n") || line.ends_with(b"\r") {
                        line.pop();
                    }
                    return Ok(Some(Secret(line)));
                }
            }
            Err(e) if e.kind() == Io::WouldBlock => std::thread::sleep(PATIENCE),
            Err(e) if e.kind() == Io::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    line.zeroize();
    Ok(None)
}

/// While this lives the terminal does not echo.
struct Hidden<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn begin(terminal: &'a File) -> rustix::io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        hidden.local_modes.insert(LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_split_as_in_restic() {
        for (line, words) in [
            ("pass show x", vec!["pass", "show", "x"]),
            ("  cat  'my file' ", vec!["cat", "my file"]),
            (r#"sh -c "echo 'a b'""#, vec!["sh", "-c", "echo 'a b'"]),
            (r"a\ b", vec!["a", "b"]),
            (r#"a "b\"c""#, vec!["a", r#"b\"c"#]),
            ("a''b", vec!["a", "b"]),
        ] {
            assert_eq!(split_command(line).expect(line), words, "{line}");
        }
        for line in ["", "  ", "a 'b", "a \"b"] {
            assert!(split_command(line).is_err(), "{line}");
        }
    }

    #[test]
    fn passwords_from_files_and_commands() {
        let dir = tempfile::tempdir().expect("a place for files");
        let file = dir.path().join("p");
        for (contents, password) in [
            (&b"secret\n"[..], &b"secret"[..]),
            (b"  two words \r\n\n", b"two words"),
            (b"\xef\xbb\xbfbom", b"bom"),
            (b"\xff\xfep\0w\0", b"pw"),
            (b"\xfe\xff\0p\0w", b"pw"),
            (b"\xe9raw\n", b"\xe9raw"),
        ] {
            std::fs::write(&file, contents).expect("writable");
            assert_eq!(from_file(&file).expect("readable").bytes(), password);
        }
        assert!(from_file(&dir.path().join("none")).is_err());
        std::fs::write(&file, "\n").expect("writable");
        assert!(kept(&Source::File(file), &mut Vec::new()).is_err(), "an empty password");
        assert_eq!(from_command("echo ' a b '").expect("echo is there").bytes(), b"a b");
        assert!(from_command("false").is_err());
        assert!(from_command("/no/such/program").is_err());
    }

    #[test]
    fn key_files() {
        let dir = tempfile::tempdir().expect("a place for files");
        let (file, mut notices) = (dir.path().join("k"), Vec::new());
        let key = make_key_file(&file).expect("it is new");
        assert!(make_key_file(&file).is_err(), "never overwritten");
        let mode = std::fs::metadata(&file).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(read_key_file(&file, &mut notices).expect("just made"), key);
        assert_eq!(notices, []);
        std::fs::write(&file, [hex(&*key), "\n".into()].concat()).expect("writable");
        let public = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&file, public).expect("ours");
        read_key_file(&file, &mut notices).expect("still a key");
        assert_eq!(notices[0].slug, "key-file-readable");
        for contents in ["", "abc", &"x".repeat(64), &"a".repeat(66)] {
            std::fs::write(&file, contents).expect("writable");
            assert!(read_key_file(&file, &mut notices).is_err(), "{contents}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let source = Source::Given(Secret::new(b"hunter2".to_vec()));
        assert!(!format!("{source:?}").contains("hunter2"));
    }
}
