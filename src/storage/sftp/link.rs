//! A child process that speaks SFTP, and the requests that are under way to it.

use super::wire::{self, Body, Packet};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long an answer may take. Longer than a long pipeline over a slow line.
const PATIENCE: Duration = Duration::from_secs(90);

/// The last words of the child that are kept, in bytes.
const LAST_WORDS: usize = 2 << 10;

/// A connection.
pub(super) struct Link {
    child: Mutex<Child>,
    to: Mutex<Option<ChildStdin>>,
    shared: Arc<Shared>,
    next: AtomicU32,
    extensions: Vec<String>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    words: Mutex<Vec<u8>>,
}

#[derive(Default)]
struct Waiting {
    answers: HashMap<u32, SyncSender<Packet>>,
    /// Why nothing comes any more.
    dead: Option<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Nobody gets an answer any more.
    fn die(&self, why: String) {
        let mut waiting = locked(&self.waiting);
        waiting.dead.get_or_insert(why);
        waiting.answers.clear();
    }

    /// What the child said last, in one line.
    fn last_words(&self) -> String {
        let words = locked(&self.words);
        let text = String::from_utf8_lossy(&words);
        let line = text.lines().map(str::trim).rfind(|l| !l.is_empty()).unwrap_or("");
        line.chars().filter(|c| !c.is_control()).take(300).collect()
    }
}

/// A question that was asked.
pub(super) struct Pending<'l> {
    link: &'l Link,
    answer: Receiver<Packet>,
}

impl Pending<'_> {
    pub(super) fn wait(self) -> io::Result<Packet> {
        match self.answer.recv_timeout(PATIENCE) {
            Ok(packet) => Ok(packet),
            Err(RecvTimeoutError::Timeout) => {
                self.link.shared.die(format!("no answer came for {} s", PATIENCE.as_secs()));
                self.link.kill();
                Err(self.link.broken())
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.link.broken()),
        }
    }
}

impl Link {
    /// Start the command and greet.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (Some(mut to), Some(mut from), Some(words)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("no pipes"));
        };
        let shared = Arc::new(Shared::default());
        let listener = spawn("orlop-ssh-words", {
            let shared = Arc::clone(&shared);
            move || listen(words, &shared)
        })?;
        let greeted = to
            .write_all(&Body::default().packet(wire::INIT, 3))
            .and_then(|()| wire::read_packet(&mut from))
            .and_then(|packet| packet.extensions());
        let extensions = match greeted {
            Ok(extensions) => extensions,
            Err(e) => {
                drop((to, from));
                // Its last words say why; it may need a moment for them.
                end(&mut child);
                let _ = listener.join();
                let words = shared.last_words();
                return Err(if words.is_empty() { e } else { io::Error::new(e.kind(), words) });
            }
        };
        spawn("orlop-sftp", {
            let shared = Arc::clone(&shared);
            move || receive(from, &shared)
        })?;
        let (child, to) = (Mutex::new(child), Mutex::new(Some(to)));
        Ok(Self { child, to, shared, next: AtomicU32::new(0), extensions })
    }

    pub(super) fn knows(&self, extension: &str) -> bool {
        self.extensions.iter().any(|e| e == extension)
    }

    /// Whether no answer will come any more.
    pub(super) fn is_dead(&self) -> bool {
        locked(&self.shared.waiting).dead.is_some()
    }

    fn broken(&self) -> io::Error {
        let why = locked(&self.shared.waiting).dead.clone().unwrap_or_default();
        let words = self.shared.last_words();
        let why = if words.is_empty() { why } else { words };
        io::Error::new(io::ErrorKind::BrokenPipe, format!("the connection broke: {why}"))
    }

    /// Ask, and do not wait.
    pub(super) fn ask(&self, kind: u8, body: &Body) -> io::Result<Pending<'_>> {
        let id = self.next.fetch_add(1, Relaxed);
        let (sender, answer) = sync_channel(1);
        {
            let mut waiting = locked(&self.shared.waiting);
            if waiting.dead.is_none() {
                waiting.answers.insert(id, sender);
            }
        }
        let sent = match locked(&self.to).as_mut() {
            Some(to) => to.write_all(&body.packet(kind, id)),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        if let Err(e) = sent {
            self.shared.die(e.to_string());
            return Err(self.broken());
        }
        Ok(Pending { link: self, answer })
    }

    /// Ask and wait.
    pub(super) fn call(&self, kind: u8, body: &Body) -> io::Result<Packet> {
        self.ask(kind, body)?.wait()
    }

    fn kill(&self) {
        // It may have ended by itself.
        let _ = locked(&self.child).kill();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The end of its input is the end of the session; what was flushed is flushed.
        locked(&self.to).take();
        end(&mut locked(&self.child));
    }
}

/// Let it end by itself for a second, then not.
fn end(child: &mut Child) {
    for _ in 0..100 {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            _ => return,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).stack_size(256 << 10).spawn(work)
}

/// Hand answers to those who wait, until there are none any more.
fn receive(mut from: ChildStdout, shared: &Shared) {
    loop {
        match wire::read_packet(&mut from) {
            Ok(packet) => {
                // Nobody waits for the closing of a file.
                if let Some(waiter) = locked(&shared.waiting).answers.remove(&packet.id) {
                    let _ = waiter.try_send(packet);
                }
            }
            Err(e) => return shared.die(e.to_string()),
        }
    }
}

/// Keep the last words of the child.
fn listen(mut from: ChildStderr, shared: &Shared) {
    let mut piece = [0; 512];
    while let Ok(n @ 1..) = from.read(&mut piece) {
        let mut words = locked(&shared.words);
        words.extend_from_slice(&piece[..n]);
        let excess = words.len().saturating_sub(LAST_WORDS);
        words.drain(..excess);
    }
}
