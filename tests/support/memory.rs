//! How much memory a program takes, and a bound that the kernel keeps.

use std::fs;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// What one run took and said.
pub struct Measured {
    /// Resident at most, in MiB, files that are mapped with it.
    pub resident: u64,
    /// Anonymous of it at most, in MiB, as far as looks every few milliseconds see it.
    pub anonymous: u64,
    pub took: Duration,
    pub out: String,
}

/// Runs it to the end, which must be a good one.
pub fn measure(command: &mut Command) -> Measured {
    let begun = Instant::now();
    // A pipe that nobody reads meanwhile would hold it up.
    let mut said = tempfile::tempfile().unwrap();
    let mut child = command.stdout(said.try_clone().unwrap()).spawn().unwrap();
    let (mut resident, mut anonymous) = (0, 0);
    while child.try_wait().unwrap().is_none() {
        resident = field(&child, "VmHWM").max(resident);
        anonymous = field(&child, "RssAnon").max(anonymous);
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = begun.elapsed();
    let status = child.wait().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    let mut out = String::new();
    said.rewind().and_then(|()| said.read_to_string(&mut out)).unwrap();
    Measured { resident: resident >> 10, anonymous: anonymous >> 10, took, out }
}

/// In KiB; zero of a process that has just ended.
fn field(child: &Child, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
    line.trim_start_matches(':').split_ascii_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// A memory cgroup: anonymous memory, cached files and what the kernel keeps for its processes.
pub struct Cage(PathBuf);

impl Cage {
    /// Of so many bytes, without swap; none where this user may not make one.
    pub fn new(bytes: u64) -> Option<Self> {
        let made = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max", "memory.swap.max"),
        ]
        .into_iter()
        .find_map(|(root, limit, swap)| {
            let cage = Self(Path::new(root).join(format!("orlop-test-{}", std::process::id())));
            // Its files are there only where the parent hands memory on.
            fs::create_dir(&cage.0).ok()?;
            fs::write(cage.0.join(limit), bytes.to_string()).ok()?;
            Some((cage, swap))
        });
        let (cage, swap) = made?;
        // Version 1 bounds memory and swap together. Kernels without swap have neither file.
        let with_swap = if swap.contains("memsw") { bytes } else { 0 };
        let _ = fs::write(cage.0.join(swap), with_swap.to_string());
        Some(cage)
    }

    /// The same command in it.
    pub fn around(&self, command: &Command) -> Command {
        let mut caged = Command::new("sh");
        caged.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.0.join("cgroup.procs"));
        caged.arg(command.get_program()).args(command.get_args()).env_clear();
        caged.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        caged
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // Whoever was in it has ended.
        let _ = fs::remove_dir(&self.0);
    }
}
