//! SIGINT and SIGTERM at any time: whatever is waited for, the end comes within five seconds, with 130.

use std::fs::{File, OpenOptions};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::noise::noise;
use super::world::{Ran, World};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Five seconds are promised; others may have the processors first.
fn patience() -> Duration {
    let waiting = std::fs::read_to_string("/proc/loadavg").ok();
    let waiting = waiting.and_then(|l| l.split(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0);
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    Duration::from_secs(5).mul_f64((waiting / processors).max(1.0))
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn start(mut command: Command, stdin: Stdio) -> Child {
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it runs");
}

/// Send a signal: the program ends in time, with 130.
fn ends(mut child: Child, signal: Signal, what: &str) -> Ran {
    send(&child, signal);
    let (asked, limit) = (Instant::now(), patience());
    while child.try_wait().expect("ours").is_none() {
        if asked.elapsed() > limit {
            let _ = child.kill();
            panic!("{what}: it still runs {limit:?} after the signal");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let ran = Ran::of(child.wait_with_output().expect("ours"));
    assert_eq!(ran.code, 130, "{what}: {}", ran.err);
    ran
}

/// Whether the program has begun to wait for what may never come.
fn waits(child: &Child) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten().flatten();
    threads.map(|t| t.path().join("comm")).any(|c| std::fs::read_to_string(c).is_ok_and(|name| name == "wait\n"))
}

/// Two pipes with names: one that somebody has open and nobody writes to, and one that nobody opens.
fn pipes(world: &World) -> File {
    let made = Command::new("mkfifo").arg(world.path("silent")).arg(world.path("nobody")).status();
    assert!(made.expect("coreutils are there").success());
    OpenOptions::new().read(true).write(true).open(world.path("silent")).expect("ours")
}

fn stopped_while_it_waits(command: Command, signal: Signal, what: &str) {
    let mut child = start(command, Stdio::piped());
    let _stays_open = child.stdin.take();
    until("it waits", || waits(&child));
    let ran = ends(child, signal, what);
    assert!(ran.err.contains("stopped on request"), "{what}: {}", ran.err);
}

#[test]
fn lists_that_never_come_are_not_waited_for() {
    let world = World::with_repository();
    let _stays_open = pipes(&world);
    for (n, line) in [
        "backup --files-from -",
        "backup --files-from-verbatim silent",
        "backup --files-from-raw nobody",
        "backup --changed-files silent src",
        "backup --exclude-file silent src",
        "backup --iexclude-file nobody src",
        "restore latest --target out --include-file nobody",
        "forget --policy-file silent",
        "forget --policy-file -",
        "snapshots --repository-file silent",
        "--config nobody snapshots",
    ]
    .into_iter()
    .enumerate()
    {
        let mut command = world.command(line);
        if line.contains("repository-file") {
            command.env_remove("ORLOP_REPOSITORY");
        }
        stopped_while_it_waits(command, if n % 2 == 0 { Signal::INT } else { Signal::TERM }, line);
    }
    assert!(world.snapshots().is_empty());
}

#[test]
fn passwords_that_never_come_are_not_waited_for() {
    let world = World::with_repository();
    let _stays_open = pipes(&world);
    for line in [
        "snapshots -p silent",
        "snapshots -p nobody",
        "snapshots --key-file silent",
        "snapshots --key-file nobody",
        "key add --new-password-file silent",
    ] {
        stopped_while_it_waits(world.command(line), Signal::INT, line);
    }
}

/// The command writes its process id, so that we see it begin and end.
#[test]
fn a_password_command_is_stopped_too() {
    let world = World::with_repository();
    world.write("slow", "echo $$ > id.part && mv id.part id && exec sleep 60\n");
    for signal in [Signal::INT, Signal::TERM] {
        let _ = std::fs::remove_file(world.path("id"));
        let mut command = world.command("snapshots");
        command.env_remove("ORLOP_KEY_FILE").env("ORLOP_PASSWORD_COMMAND", "sh slow");
        let child = start(command, Stdio::null());
        until("the command runs", || world.path("id").exists());
        ends(child, signal, "snapshots");
        let id = std::fs::read_to_string(world.path("id")).expect("it was there");
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
        until("the command ends", || !state().contains("(sleep) S"));
    }
}

/// What a hook after a backup does is waited for, and ends a second signal's patience.
#[test]
fn the_second_signal_ends_at_once() {
    let world = World::with_repository();
    let here = world.path("").display().to_string();
    let here = here.trim_end_matches('/');
    world.write("hook", format!("echo $$ > {here}/id.part && mv {here}/id.part {here}/id && exec sleep 60 2>&-\n"));
    let profile = format!(
        "[profiles.p]\nrepo = \"{here}/repo\"\n[profiles.p.backup]\nsources = [\"{here}/src\"]\n\
         [profiles.p.hooks]\nfinally = [\"sh\", \"{here}/hook\"]\n"
    );
    world.write("orlop.toml", profile);
    let mut command = world.command("-P p --config @/orlop.toml backup");
    command.env_remove("ORLOP_REPOSITORY");
    let mut child = start(command, Stdio::null());
    until("the hook runs", || world.path("id").exists());
    send(&child, Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    let still_runs = child.try_wait().expect("ours").is_none();
    let id = std::fs::read_to_string(world.path("id")).expect("it was there");
    let hook = id.trim().parse().ok().and_then(Pid::from_raw).expect("an id");
    // It holds our standard error, which is read to its end.
    send(&child, Signal::INT);
    let begun = Instant::now();
    while child.try_wait().expect("ours").is_none() && begun.elapsed() < patience() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = child.try_wait().expect("ours");
    let _ = kill_process(hook, Signal::KILL);
    assert!(still_runs, "one signal lets the hook end");
    assert_eq!(ended.and_then(|status| status.code()), Some(130));
}

#[test]
fn sigterm_while_files_are_read() {
    let world = World::with_repository();
    std::fs::create_dir(world.path("large")).expect("ours");
    for n in 0..8 {
        world.write(&format!("large/{n}"), super::vanishing::text_that_compresses_slowly(2 << 20, n));
    }
    let command = world.command("backup large --compression max --read-concurrency 1 --pack-size 1");
    let child = start(command, Stdio::null());
    until("something is stored", || !world.files("repo/packs").is_empty());
    let ran = ends(child, Signal::TERM, "backup");
    assert!(ran.err.contains("incomplete snapshot") || ran.out.contains("incomplete snapshot"), "{}", ran.err);
    assert_eq!(world.snapshots()[0]["incomplete"], true);
}

/// Whether a handler for it is installed: proc(5), the mask `SigCgt` of `status`.
fn hears(child: &Child, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
}

/// A limit holds a run up no longer than the run itself goes on.
#[test]
fn limits_end_with_the_run() {
    let world = World::with_repository();
    world.write("src/noise", noise(6_000_000, 0));
    let child = start(world.command("backup src -q --limit-upload 100"), Stdio::null());
    // A pack in the making: the records that go before are shorter.
    let is_pack = |(_, len): &(_, u64)| *len > 100_000;
    until("a pack is written", || ["repo/packs", "repo/.tmp"].iter().any(|dir| world.files(dir).iter().any(is_pack)));
    ends(child, Signal::TERM, "a backup with a limit");
    assert_eq!(world.json("snapshots --json --incomplete").as_array().map(Vec::len), Some(1), "what was found is kept");
    world.ok("backup src -q");
    let child = start(world.command("restore latest -q --target @/out --limit-download 100"), Stdio::null());
    until("something comes back", || world.path("out").exists());
    ends(child, Signal::INT, "a restore with a limit");
    let child = start(world.command("check --read-data --limit-download 10"), Stdio::null());
    until("it hears signals", || hears(&child, Signal::INT));
    std::thread::sleep(Duration::from_millis(500));
    ends(child, Signal::INT, "a check with a limit");
}
