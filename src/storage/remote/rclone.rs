//! Whatever `rclone` reaches, through a server that it runs for us on this machine.
//!
//! `rclone serve webdav` listens on a port that it chooses and says, behind a user and a password
//! that are made for this one run and given in its environment, where only its own user can see them.

use super::ObjectStorage;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{Storage, hand_on};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// How long it may take to listen; some remotes ask for a token first.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub(super) struct Rclone {
    child: Child,
    pub(super) endpoint: String,
    pub(super) user: String,
    pub(super) password: String,
}

/// A storage, and the server without which it is nothing.
pub(super) struct Beside {
    storage: ObjectStorage,
    _server: Rclone,
}

impl Storage for Beside {
    hand_on!(storage);
}

impl Rclone {
    /// Listings are kept for a moment only, since what others wrote counts; with none at all rclone
    /// forgets without end.
    pub(super) const ARGS: &'static str = "serve webdav --dir-cache-time 1s --poll-interval 0s";

    /// Start it. `program` and `args` are read by a shell; they are the user's own. The shell
    /// ignores the interrupt of a terminal, and so does rclone then: who stops a backup wants it to
    /// end in order.
    pub(super) fn start(program: &str, args: &str, remote: &str) -> Result<Self> {
        let secret = || getrandom::u64().map(|n| format!("{n:016x}")).map_err(|e| failed(&e.to_string()));
        let (user, password) = (secret()?, secret()? + &secret()?);
        let line = format!("trap '' INT; exec {program} {args} --addr 127.0.0.1:0 \"$@\"");
        let mut child = Command::new("sh")
            .args(["-c", &line, "orlop", remote])
            .env("RCLONE_USER", &user)
            .env("RCLONE_PASS", &password)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| failed(&e.to_string()))?;
        let listening = listening(&mut child);
        let mut this = Self { child, endpoint: String::new(), user, password };
        this.endpoint = listening?;
        Ok(this)
    }

    pub(super) fn beside(self, storage: ObjectStorage) -> Beside {
        Beside { storage, _server: self }
    }
}

impl Drop for Rclone {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn failed(why: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("rclone does not serve: {why}"))
        .hint("try `rclone lsd REMOTE:` by itself; -o rclone.program=PATH names another program")
}

/// The address that it says on its standard error, which is read to the end by a thread, so that
/// it never waits for us.
fn listening(child: &mut Child) -> Result<String> {
    let words = child.stderr.take().ok_or_else(|| failed("no pipe"))?;
    let (say, said) = sync_channel(64);
    let read = move || {
        for line in BufReader::new(words).lines().map_while(std::io::Result::ok) {
            // After the address nobody listens.
            let _ = say.try_send(line);
        }
    };
    std::thread::Builder::new().name("orlop-rclone".into()).spawn(read).map_err(|e| failed(&e.to_string()))?;
    let (until, mut last) = (Instant::now() + PATIENCE, String::new());
    loop {
        match said.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => match address(&line) {
                Some(address) => return Ok(address),
                None => last = line.chars().filter(|c| !c.is_control()).take(300).collect(),
            },
            Err(RecvTimeoutError::Timeout) => return Err(failed("it does not say where it listens")),
            Err(RecvTimeoutError::Disconnected) => return Err(failed(&last)),
        }
    }
}

/// `http://127.0.0.1:PORT` somewhere in a line.
pub(super) fn address(line: &str) -> Option<String> {
    let begin = "http://127.0.0.1:";
    let port = line.split_once(begin)?.1;
    let port: u16 = port[..port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len())].parse().ok()?;
    (port != 0).then(|| format!("{begin}{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_in_what_it_says() {
        let line = "2026/11/21 NOTICE: webdav root '': WebDav Server started on [http://127.0.0.1:41225/]";
        assert_eq!(address(line).as_deref(), Some("http://127.0.0.1:41225"));
        assert_eq!(address("http://127.0.0.1:/"), None);
        assert_eq!(address("NOTICE: Config file not found"), None);
    }

    #[test]
    fn a_program_that_is_not_there_or_fails_is_told() {
        for program in ["/nonexistent/rclone", "false"] {
            let error = Rclone::start(program, "", "r:x").err().expect(program);
            assert!(error.to_string().starts_with("rclone does not serve"), "{error}");
        }
    }
}
