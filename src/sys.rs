//! Clock, entropy and facts about this machine: the only place where the library asks for them.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use crate::error::{Error, ErrorKind, Result};
use crate::model::Time;

/// Read or write through the page cache and keep nothing in it that was not there before (Linux 6.14).
/// Fresh memory for the cache is what costs most of a long write: 1.5 GB took 0.55 s of the kernel's time
/// this way and 2.1 s without, on ext4.
pub const RWF_DONTCACHE: rustix::io::ReadWriteFlags = rustix::io::ReadWriteFlags::from_bits_retain(0x80);

static AHEAD: AtomicI64 = AtomicI64::new(0);

/// The time now.
pub fn now() -> Time {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Time { sec: t.tv_sec.saturating_add(AHEAD.load(Relaxed)), nsec: t.tv_nsec as u32 }
}

/// Set the clock of this process so many seconds ahead of the system's, or behind it, for tests of
/// what a wrong clock does.
pub fn set_clock_ahead(seconds: i64) {
    AHEAD.store(seconds, Relaxed);
}

/// Files that are open at once at most. Programs that orlop starts inherit it, and some of them close all
/// that they might have.
const OPEN_FILES: u64 = 1 << 16;

/// Have many files open, if the machine allows it, for all of this process: of directories in each other,
/// each on the way is open. Gives how many that is.
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if limit.current.is_none_or(|now| now >= wanted) {
        return limit.current.unwrap_or(u64::MAX);
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit });
    if raised.is_ok() { wanted } else { limit.current.unwrap_or(u64::MAX) }
}

/// `N` random bytes from the system.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut out = [0; N];
    getrandom::fill(&mut out)
        .map_err(|e| Error::new(ErrorKind::Storage, "the system gives no random bytes").because(e))?;
    Ok(out)
}

/// A salt that stays unique even where the system's randomness repeats (a cloned virtual machine,
/// a restored memory image): hashed together with the time, the process and a counter.
pub fn salt() -> Result<[u8; 32]> {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut h = blake3::Hasher::new_derive_key("orlop v1 hedged salt");
    h.update(&random::<32>()?);
    h.update(&now().nanos().to_le_bytes());
    h.update(&std::process::id().to_le_bytes());
    h.update(&COUNTER.fetch_add(1, Relaxed).to_le_bytes());
    Ok(*h.finalize().as_bytes())
}

/// What tells this machine, boot and process from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub hostname: String,
    /// Stable id of the machine; empty if it has none.
    pub machine_id: Vec<u8>,
    /// Random per boot.
    pub boot: [u8; 16],
    /// This process.
    pub pid: u32,
    /// When it began, in clock ticks after boot.
    pub pid_started: u64,
}

impl Host {
    /// Ask the system.
    pub fn current() -> Self {
        let pid = std::process::id();
        Self {
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            machine_id: read("/etc/machine-id").trim_ascii().to_vec(),
            boot: boot_id(),
            pid,
            pid_started: process_started(pid).unwrap_or(0),
        }
    }
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(path).unwrap_or_default()
}

fn boot_id() -> [u8; 16] {
    let text: Vec<u8> = read("/proc/sys/kernel/random/boot_id").into_iter().filter(|b| *b != b'-').collect();
    std::str::from_utf8(text.trim_ascii()).ok().and_then(|t| crate::id::unhex(t).ok()).unwrap_or([0; 16])
}

/// When a process began, in clock ticks after boot; `None` if there is none.
pub fn process_started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may contain anything, so count from its closing parenthesis.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Name of the user this process runs as.
pub fn username() -> String {
    let uid = rustix::process::getuid().as_raw();
    let passwd = read("/etc/passwd");
    let entry = passwd.split(|b| *b == b'\n').find_map(|line| {
        let mut f = line.split(|b| *b == b':');
        let (name, _, id) = (f.next()?, f.next()?, f.next()?);
        (std::str::from_utf8(id).ok()?.parse() == Ok(uid)).then(|| String::from_utf8_lossy(name).into_owned())
    });
    entry.unwrap_or_else(|| uid.to_string())
}
