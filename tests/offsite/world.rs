//! A home, a source and the program, for one place.

use super::services::Place;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What must never be seen.
pub const PASSWORD: &str = "canary-7a31-password";

/// How those begin that Ceph's gateway gives out.
pub const CEPHS_TOKENS: &str = "AUTH_rgwtk";

pub struct World {
    pub dir: tempfile::TempDir,
    place: Place,
    said: std::cell::RefCell<String>,
}

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl World {
    pub fn new(place: &Place) -> Self {
        let dir = tempfile::tempdir().expect("a place");
        std::fs::create_dir(dir.path().join("home")).expect("ours");
        std::fs::create_dir(dir.path().join("src")).expect("ours");
        Self { dir, place: place.clone(), said: Default::default() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Some hundred files and one of several packs, which nothing compresses; each version keeps
    /// most of it.
    pub fn source(&self, version: u64) {
        let src = self.path("src");
        for i in 0..300 {
            let folder = src.join(format!("d{}", i % 17));
            std::fs::create_dir_all(&folder).expect("ours");
            let text = format!("{i} {}\n", if i % 10 == 0 { version } else { 0 }).repeat(i);
            std::fs::write(folder.join(format!("f{i}")), text).expect("ours");
        }
        let mut state = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(version);
        let large: Vec<u8> = (0..(5 << 20) / 8)
            .flat_map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            })
            .collect();
        std::fs::write(src.join(format!("large{version}")), large).expect("ours");
    }

    /// The program with a line of arguments; `@` stands for the place of the test.
    pub fn command(&self, line: &str) -> Command {
        let here = self.dir.path().to_str().expect("plain");
        let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
        command.args(line.split_whitespace().map(|a| a.replace('@', here)));
        for option in &self.place.options {
            command.args(["-o", option]);
        }
        command.env_clear().current_dir(self.dir.path()).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TZ", "UTC");
        command.env("HOME", self.path("home")).env("ORLOP_HOST", "host").env("ORLOP_PACK_SIZE", "1");
        command.env("ORLOP_REPOSITORY", &self.place.url).env("ORLOP_PASSWORD", PASSWORD);
        command.envs(self.place.variables.iter().copied());
        command
    }

    pub fn run(&self, line: &str) -> Ran {
        self.finish(self.command(line))
    }

    pub fn finish(&self, mut command: Command) -> Ran {
        let out = command.output().expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ran = Ran { code: out.status.code().unwrap_or(-1), out: text(&out.stdout), err: text(&out.stderr) };
        self.said.borrow_mut().push_str(&format!("{}{}", ran.out, ran.err));
        ran
    }

    pub fn ok(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "orlop {line} on {}\n{}{}", self.place.url, ran.out, ran.err);
        ran.out
    }

    pub fn assert_restored(&self, out: &str) {
        let src = self.path("src");
        let there = self.path(out).join(src.strip_prefix("/").expect("absolute"));
        let diff = Command::new("diff").arg("-r").arg(&src).arg(&there).output().expect("diff runs");
        assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
    }

    /// Nothing that was said, and nothing that was kept on this machine, has a secret in it.
    pub fn no_secrets(&self) {
        let mut kept = self.said.borrow().clone();
        let mut folders = vec![self.path("home")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("ours").map(|e| e.expect("ours").path()) {
                match entry.is_dir() {
                    true => folders.push(entry),
                    false => kept += &String::from_utf8_lossy(&std::fs::read(entry).expect("ours")),
                }
            }
        }
        for (name, secret) in &self.place.variables {
            let is_secret =
                ["SECRET", "PASSWORD", "KEY", "TOKEN"].iter().any(|part| name.contains(part)) && !name.contains("ID");
            assert!(!is_secret || !kept.contains(secret), "{name} was told");
        }
        assert!(!kept.contains(PASSWORD));
        assert!(!kept.contains(CEPHS_TOKENS));
    }
}
