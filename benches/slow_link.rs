//! How much of a slow line a backup, an unchanged one and a restore use. The storage is rclone's S3
//! behind a line of 50 ms, at 100 Mbit/s and at 1 Gbit/s.
//!
//! `ORLOP_RCLONE` names rclone. `ORLOP_BENCH_DATA` names folders (with `:` between them) in place of
//! made-up files. `ORLOP_BENCH_RESTIC` names a restic, which then does the same over the same line.

#![allow(dead_code)]

#[path = "../tests/offsite/link.rs"]
mod link;
#[path = "../tests/offsite/services.rs"]
mod services;
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use link::Link;
use services::{BUCKET, KEY, RcloneS3, SECRET};

const ROUND_TRIP: Duration = Duration::from_millis(50);

/// What a run took.
struct Took {
    wall: f64,
    cpu: f64,
    /// Bytes up and down.
    carried: (u64, u64),
    mebibytes: u64,
}

/// User and system time of all children that have ended.
fn cpu_of_children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    fields[13..15].iter().filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn peak_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}

fn run(link: &Link, command: &mut Command) -> Took {
    let (cpu, before, began) = (cpu_of_children(), link.carried(), Instant::now());
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).env("AWS_ACCESS_KEY_ID", KEY);
    let mut child = command.env("AWS_SECRET_ACCESS_KEY", SECRET).spawn().expect("it starts");
    let mut mebibytes = 0;
    let code = loop {
        mebibytes = peak_of(child.id()).unwrap_or(0).max(mebibytes);
        match child.try_wait().expect("ours") {
            Some(code) => break code,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    assert!(code.success(), "{command:?}");
    let after = link.carried();
    Took {
        wall: began.elapsed().as_secs_f64(),
        cpu: cpu_of_children() - cpu,
        carried: (after.0 - before.0, after.1 - before.1),
        mebibytes,
    }
}

/// A program, and how it is told what to do.
struct Tool<'t> {
    name: &'t str,
    program: &'t Path,
    init: &'t [&'t str],
}

impl Tool<'_> {
    fn command(&self, link: &Link, dir: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        let url = format!("s3:http://127.0.0.1:{}/{BUCKET}/{}", link.port, self.name);
        command.arg("-q").args(["-r", &url]).args(args);
        for name in ["ORLOP", "RESTIC"] {
            command.env(format!("{name}_PASSWORD"), "slow").env(format!("{name}_CACHE_DIR"), dir.join(self.name));
        }
        command.env("XDG_STATE_HOME", dir.join("state")).env("XDG_CONFIG_HOME", dir.join("config"));
        command.env("AWS_REGION", "us-east-1");
        command
    }

    /// Back up, back up again, restore.
    fn measure(&self, link: &Link, dir: &Path, data: &str) -> [Took; 3] {
        run(link, &mut self.command(link, dir, self.init));
        let target = dir.join("restored").display().to_string();
        let backup = || self.command(link, dir, &["backup", data]);
        let (first, second) = (run(link, &mut backup()), run(link, &mut backup()));
        let restored = run(link, &mut self.command(link, dir, &["restore", "latest", "--target", &target]));
        std::fs::remove_dir_all(target).expect("restored");
        [first, second, restored]
    }
}

fn tell(tool: &str, what: &str, took: &Took, bits_per_second: f64) {
    let share = took.carried.0.max(took.carried.1) as f64 * 8.0 / bits_per_second / took.wall;
    println!(
        "{tool:<7} {what:<10} {:>7.2} s  {:>6.1} MB up {:>6.1} MB down  {:>3.0} % of the line  CPU {:>4.2} x  {:>4} MiB",
        took.wall,
        took.carried.0 as f64 / 1e6,
        took.carried.1 as f64 / 1e6,
        share * 100.0,
        took.cpu / took.wall,
        took.mebibytes
    );
}

/// Some that compresses, and some that does not.
fn made_up(dir: &Path) -> String {
    for n in 0..400 {
        let noise = support::noise(100_000, n);
        let text: String = noise.iter().take(40_000).map(|b| char::from(b'a' + b % 4)).collect();
        std::fs::write(dir.join(format!("text{n}")), text).expect("ours");
        std::fs::write(dir.join(format!("noise{n}")), noise).expect("ours");
    }
    dir.display().to_string()
}

fn main() {
    let made = tempfile::tempdir().expect("a place");
    let data = std::env::var("ORLOP_BENCH_DATA").unwrap_or_else(|_| made_up(made.path()));
    let restic = std::env::var_os("ORLOP_BENCH_RESTIC").map(PathBuf::from);
    let mut tools = vec![Tool {
        name: "orlop",
        program: Path::new(env!("CARGO_BIN_EXE_orlop")),
        init: &["init", "--no-recovery-key"],
    }];
    tools.extend(restic.iter().map(|program| Tool { name: "restic", program, init: &["init"] }));
    for data in data.split(':') {
        for bits_per_second in [100e6, 1000e6] {
            println!("{data} at {} Mbit/s and {} ms", bits_per_second / 1e6, ROUND_TRIP.as_millis());
            for tool in &tools {
                let Some(server) = RcloneS3::start() else { return };
                let dir = tempfile::tempdir().expect("a place");
                let link = server.behind(ROUND_TRIP, bits_per_second);
                let took = tool.measure(&link, dir.path(), data);
                for (what, took) in ["backup", "unchanged", "restore"].iter().zip(&took) {
                    tell(tool.name, what, took, bits_per_second);
                }
            }
        }
    }
}
