//! The program on a real pseudo-terminal: width, resize, colour, Ctrl-C, a pipe that closes early.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::world::{PASSWORD, World};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// A terminal, and the program that runs on it.
pub struct Terminal {
    ours: File,
    child: Child,
    from: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Terminal {
    /// Run a command there, with the terminal as its own.
    pub fn run(command: &Command, columns: u16) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("ours");
        let name = ptsname(&ours, Vec::new()).expect("it has a name");
        let theirs = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("the other end");
        let ours = File::from(ours);
        resize(&ours, columns);
        let share = |fd: &rustix::fd::OwnedFd| Stdio::from(fd.try_clone().expect("a descriptor"));
        let mut there = Command::new("setsid");
        there.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        there.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        there.env(
            "TERM",
            command.get_envs().find(|(n, _)| *n == "TERM").and_then(|(_, v)| v).unwrap_or("xterm".as_ref()),
        );
        if let Some(dir) = command.get_current_dir() {
            there.current_dir(dir);
        }
        let child = there.stdin(share(&theirs)).stdout(share(&theirs)).stderr(Stdio::from(theirs)).spawn();
        let (to, from) = channel();
        let mut reading = ours.try_clone().expect("a descriptor");
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Once nobody has the other end, reading fails.
            while let Ok(n) = reading.read(&mut buffer) {
                if to.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { ours, child: child.expect("util-linux is there"), from, seen: Vec::new() }
    }

    pub fn type_in(&mut self, text: &str) {
        self.ours.write_all(text.as_bytes()).expect("somebody reads");
    }

    pub fn resize(&self, columns: u16) {
        resize(&self.ours, columns);
    }

    /// Wait until this was shown; gives everything so far.
    pub fn until(&mut self, text: &str) -> String {
        let begun = Instant::now();
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            match self.from.recv_timeout(LONG.saturating_sub(begun.elapsed())) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(e) => panic!("{e}: no {text:?} in {}", String::from_utf8_lossy(&self.seen)),
            }
        }
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Wait for the end; gives the exit code and everything that was shown.
    pub fn end(mut self) -> (i32, String) {
        let begun = Instant::now();
        let code = loop {
            if let Some(status) = self.child.try_wait().expect("ours") {
                break status.code().unwrap_or(-1);
            }
            assert!(begun.elapsed() < LONG, "it does not end: {}", String::from_utf8_lossy(&self.seen));
            std::thread::sleep(Duration::from_millis(10));
        };
        // To the end, which is when the last one who has the terminal closes it.
        while let Ok(bytes) = self.from.recv_timeout(LONG) {
            self.seen.extend(bytes);
        }
        let text = String::from_utf8_lossy(&self.seen).into_owned();
        assert!(!text.contains(PASSWORD), "a secret was shown: {text}");
        (code, text)
    }
}

fn resize(ours: &File, columns: u16) {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(ours, size).expect("it is a terminal");
}

/// Lines as they were drawn, without what moves the cursor; the longest in characters.
fn widest(shown: &str) -> usize {
    let bare = shown.replace("\x1b[2K", "\n").replace("\x1b[1A", "\n");
    bare.split(['\n', '\r']).map(|l| l.chars().count()).max().unwrap_or(0)
}

/// A backup that takes a while, and shows names that do not fit.
fn slow(world: &World) -> Command {
    let name = "a-name-that-is-longer-than-the-window-is-wide-by-far-and-therefore-must-be-cut";
    std::fs::create_dir_all(world.path("wide")).expect("ours");
    let mut text = Vec::new();
    let mut state = 7u64;
    while text.len() < 8_000_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.extend_from_slice(format!("{:x} ", state >> 40).as_bytes());
    }
    for n in 0..4 {
        text.rotate_left(1000);
        world.write(&format!("wide/{name}-{n}"), &text);
    }
    let mut command = world.command("backup wide --compression max --read-concurrency 1 --pack-size 1");
    command.env("ORLOP_PROGRESS_FPS", "30");
    command
}

#[test]
fn progress_fits_the_window_and_follows_it() {
    let world = World::with_repository();
    let mut terminal = Terminal::run(&slow(&world), 60);
    let before = terminal.until("a-name-that-is");
    assert!(widest(&before) <= 60, "{}: {before}", widest(&before));
    assert!(widest(&before) > 40, "the window is used: {before}");
    terminal.resize(40);
    // What was drawn just now may still have the old width.
    let seen = terminal.until("a-name-that-is").len();
    let begun = Instant::now();
    let mut after = String::new();
    let drawings = |after: &str| after.matches("\r\x1b[2K").count();
    while begun.elapsed() < Duration::from_millis(600) || drawings(&after) < 3 && begun.elapsed() < LONG {
        match terminal.from.recv_timeout(Duration::from_millis(50)) {
            Ok(bytes) => terminal.seen.extend(bytes),
            Err(_) => continue,
        }
        let all = String::from_utf8_lossy(&terminal.seen).into_owned();
        after = all[seen..].to_owned();
    }
    let drawn: Vec<&str> = after.split("\r\x1b[2K").collect();
    let last = drawn[drawn.len().saturating_sub(2)];
    assert!(widest(last) <= 40 && last.contains("a-name"), "{last:?}");
    terminal.type_in("\x03");
    assert_eq!(terminal.end().0, 130);
}

#[test]
fn ctrl_c_leaves_a_clean_line_and_an_incomplete_snapshot() {
    let world = World::with_repository();
    let mut terminal = Terminal::run(&slow(&world), 80);
    terminal.until("a-name-that-is");
    let begun = Instant::now();
    while world.files("repo/packs").is_empty() && begun.elapsed() < LONG {
        std::thread::sleep(Duration::from_millis(20));
    }
    terminal.type_in("\x03");
    let (code, text) = terminal.end();
    assert_eq!(code, 130, "{text}");
    let last = text.rsplit("\x1b[2K").next().expect("it was drawn");
    assert!(text.contains("interrupted: incomplete snapshot"), "{text}");
    assert!(
        last.contains("stopped on request") && !last.contains("a-name"),
        "nothing is left of what was drawn: {last:?}"
    );
}

#[test]
fn passwords_are_asked_for_and_not_shown() {
    let world = World::with_password();
    let mut command = world.command("snapshots");
    command.env("ORLOP_PASSWORD", "");
    command.env_remove("ORLOP_PASSWORD");
    let mut terminal = Terminal::run(&command, 80);
    terminal.until("enter password for repository: ");
    terminal.type_in("wrong\n");
    terminal.until("wrong password, try again\r\nenter password for repository: ");
    terminal.type_in(&format!("{PASSWORD}\n"));
    let (code, text) = terminal.end();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("0 snapshots") && !text.contains("wrong\r\n"), "{text}");
}

#[test]
fn ctrl_c_at_the_prompt_gives_the_echo_back() {
    let world = World::with_password();
    let mut command = world.command("snapshots");
    command.env_remove("ORLOP_PASSWORD");
    let mut terminal = Terminal::run(&command, 80);
    terminal.until("enter password for repository: ");
    let line = terminal.ours.try_clone().expect("a descriptor");
    let echoes = || tcgetattr(&line).expect("a terminal").local_modes.contains(LocalModes::ECHO);
    assert!(!echoes());
    terminal.type_in("\x03");
    assert_eq!(terminal.end().0, 130);
    assert!(echoes());
}

/// Clap repeats what was typed.
#[test]
fn what_was_typed_is_harmless_in_complaints() {
    let world = World::with_repository();
    for line in [
        "sna\x1b[31mpshots\x07",
        "snapshots --fro\u{202e}b\x1b]0;title\x07",
        "backup --read-concurrency \x1b[31m\u{202e}x\x07 src",
        "backup --keep-for \x1b[31m\u{202e}\x07 src",
        "check --read-data-subset \x1b[31m\u{202e}\x07",
    ] {
        let (code, text) = Terminal::run(&world.command(line), 80).end();
        assert_eq!(code, 1, "{text:?}");
        let bare = text.replace("\x1b[1m", "").replace("\x1b[0m", "");
        assert!(!bare.contains(['\x1b', '\x07', '\u{202e}']), "{line:?}: {text:?}");
        assert!(bare.contains("error"), "{text:?}");
    }
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let world = World::with_repository();
    for (env, coloured) in [(&[][..], true), (&[("NO_COLOR", "1")], false), (&[("TERM", "dumb")], false)] {
        let mut command = world.command("ls latest");
        command.envs(env.iter().copied());
        let (code, text) = Terminal::run(&command, 80).end();
        assert_eq!(code, 1);
        assert_eq!(text.contains("\x1b[1m"), coloured, "{env:?}: {text:?}");
        assert!(text.contains("error[missing]"), "{text:?}");
    }
    let ran = world.run("ls latest");
    assert!(!ran.err.contains('\x1b'), "no colour in a file: {}", ran.err);
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let world = World::with_repository();
    let mut command = world.command("backup src");
    command.env("TERM", "dumb");
    let (code, text) = Terminal::run(&command, 80).end();
    assert_eq!((code, text.contains('\x1b')), (0, false), "{text:?}");
    assert!(text.contains("snapshot"), "{text}");
}

#[test]
fn a_pipe_that_closes_early_ends_us_quietly() {
    let world = World::with_repository();
    std::fs::create_dir(world.path("many")).expect("ours");
    for n in 0..3000 {
        world.write(&format!("many/a-file-with-a-name-of-some-length-{n}"), "");
    }
    world.ok("backup many -q");
    for line in ["ls latest", "dump latest /", "ls latest --json", "--help"] {
        let shell = format!("\"$0\" {line} | head -n 1 >/dev/null; echo ${{PIPESTATUS[0]}}");
        let mut command = Command::new("bash");
        let program = world.command(line);
        command.arg("-c").arg(shell).arg(env!("CARGO_BIN_EXE_orlop")).env_clear();
        command.envs(program.get_envs().filter_map(|(n, v)| Some((n, v?))));
        let output = command.current_dir(world.path("src")).output().expect("bash is there");
        let (code, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(["0", "141"].contains(&code.trim()), "{line}: {code}");
        assert_eq!(err, "", "{line}");
    }
}

/// What others wrote into a snapshot must not move the cursor, colour what follows or turn it around.
#[test]
fn what_others_wrote_is_harmless_on_a_terminal() {
    let world = World::with_repository();
    let evil = "a\x1b]0;title\x07\x1b[2J\u{202e}b\u{9b}31mc\rd\u{200f}e";
    let shown = r"a\x1b]0;title\x07\x1b[2J\u{202e}b\u{9b}31mc\rd\u{200f}e";
    world.write(&format!("src/n{evil}"), "x");
    let with = |line: &str, flags: &[(&str, &str)]| {
        let mut command = world.command(line);
        command.args(flags.iter().flat_map(|(flag, letter)| [(*flag).to_owned(), format!("{letter}{evil}")]));
        command
    };
    let (host, tag) = (("--host", "h"), ("--tag", "t"));
    let named = [host, tag, ("--label", "l"), ("--description", "s")];
    let first = with("backup src -q", &named).output().expect("the program starts");
    assert_eq!(super::world::Ran::of(first).code, 0);
    let object = world.files("repo/snapshots").remove(0).0.display().to_string();
    for (command, shows) in [
        (with("key add --new-key-file @/other.key", &[("--user", "u"), ("--host", "k")]), ""),
        (with("backup src --force -vv", &named), "n"),
        (with("snapshots", &[]), "ht"),
        (with("snapshots --group-by host,tags", &[host]), "ht"),
        (with("snapshots --json", &[]), ""),
        (with("ls -l latest", &[]), "hn"),
        (with("find n*", &[]), "n"),
        (with("key list", &[]), "uk"),
        (with("stats", &[]), ""),
        (with("check", &[]), ""),
        (with("diff latest~1 latest", &[]), ""),
        (with("tag --add x latest", &[host]), ""),
        (with("forget --keep-last 1 --dry-run --group-by host,tags", &[]), "ht"),
        (with("restore latest --target @/out -vv", &[]), "n"),
        (with(&format!("debug dump {object}"), &[]), ""),
        (with("snapshots", &[("--no-such-flag", "n")]), ""),
        (with("ls", &[("latest", "n")]), ""),
    ] {
        let line = format!("{:?}", command.get_args().collect::<Vec<_>>());
        let (_, text) = Terminal::run(&command, 300).end();
        assert!(text.len() > 20, "{line}: it says something: {text:?}");
        // Of our own are colours, and lines drawn anew.
        let harmless = |part: &str| ["[2K", "[1A", "[J"].iter().any(|own| part.starts_with(own)) || is_colour(part);
        assert!(text.split('\x1b').skip(1).all(harmless), "{line}: {text:?}");
        for bad in ["\x07", "\u{202e}", "\u{9b}", "\u{200f}", "\x1b[31mc", "c\rd"] {
            assert!(!text.contains(bad), "{line}: {bad:?} in {text:?}");
        }
        for letter in shows.chars() {
            assert!(text.contains(&format!("{letter}{shown}")), "{line}: no {letter} in {text}");
        }
    }
}

/// What comes after an escape character, if that sets a colour.
fn is_colour(part: &str) -> bool {
    let numbers = part.strip_prefix('[').and_then(|p| p.split_once('m')).map(|(numbers, _)| numbers);
    numbers.is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit() || b == b';'))
}
