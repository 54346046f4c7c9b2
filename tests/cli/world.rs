//! A place of its own for each test: a home, a source, a repository, and the program.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use orlop::crypto::Secret;
use orlop::format::keys::Credential;

/// What must never be seen.
pub const PASSWORD: &str = "canary-5f1d-password";
const KEY: &str = "5f1dca9a5f1dca9a5f1dca9a5f1dca9a5f1dca9a5f1dca9a5f1dca9a5f1dca9a";

/// Where nothing else is said, a key file unlocks the repository: a password takes 0.15 s each time.
pub struct World {
    dir: tempfile::TempDir,
    by_password: bool,
}

/// How a run ended.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl World {
    /// With a small source.
    pub fn new() -> Self {
        Self::unlocked(false)
    }

    /// The same for a repository with a password.
    pub fn by_password() -> Self {
        Self::unlocked(true)
    }

    fn unlocked(by_password: bool) -> Self {
        let world = Self { dir: tempfile::tempdir().expect("a place"), by_password };
        for dir in ["home", "src/sub/deep"] {
            std::fs::create_dir_all(world.path(dir)).expect("ours");
        }
        world.write(".key", KEY);
        std::fs::set_permissions(world.path(".key"), Permissions::from_mode(0o600)).expect("ours");
        world.write("src/one.txt", "one\n");
        world.write("src/sub/two.txt", "two, two\n");
        world.write("src/sub/deep/three.o", "3\n");
        world
    }

    /// The same with a repository.
    pub fn with_repository() -> Self {
        Self::new().initialized()
    }

    /// The same with a repository that has a password.
    pub fn with_password() -> Self {
        Self::by_password().initialized()
    }

    fn initialized(self) -> Self {
        self.ok("init --no-recovery-key -q");
        self
    }

    /// What the key file unlocks with, for tests that do with the library what no command does.
    pub fn key(&self) -> Credential {
        let byte = |i: usize| u8::from_str_radix(&KEY[i..i + 2], 16).expect("hex");
        Credential::Raw(Secret::new(std::array::from_fn(|i| byte(2 * i))))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), contents).expect("ours");
    }

    /// Make a directory the top of a work tree, as far as git looks.
    pub fn work_tree(&self, name: &str) {
        for part in ["objects", "refs", "info"] {
            std::fs::create_dir_all(self.path(&format!("{name}/.git/{part}"))).expect("ours");
        }
        self.write(&format!("{name}/.git/HEAD"), "ref: refs/heads/main\n");
    }

    /// The program with a line of arguments; `@` stands for the place of the test.
    pub fn command(&self, line: &str) -> Command {
        let here = self.dir.path().to_str().expect("plain");
        let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
        command.args(line.split_whitespace().map(|a| a.replace('@', here)));
        command.env_clear().current_dir(self.dir.path()).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TZ", "UTC");
        command.env("HOME", self.path("home")).env("ORLOP_HOST", "host");
        command.env("ORLOP_REPOSITORY", self.path("repo"));
        match self.by_password {
            true => command.env("ORLOP_PASSWORD", PASSWORD),
            false => command.env("ORLOP_KEY_FILE", self.path(".key")),
        };
        command
    }

    pub fn run(&self, line: &str) -> Ran {
        Ran::of(self.command(line).output().expect("the program starts"))
    }

    pub fn run_with(&self, line: &str, env: &[(&str, &str)]) -> Ran {
        let mut command = self.command(line);
        // Who says something of the password means that and not the key file.
        if env.iter().any(|(name, _)| *name == "ORLOP_PASSWORD") {
            command.env_remove("ORLOP_KEY_FILE");
        }
        for (name, value) in env {
            match value.is_empty() {
                true => command.env_remove(name),
                false => command.env(name, value),
            };
        }
        Ran::of(command.output().expect("the program starts"))
    }

    /// The program with its line, by means of another one.
    pub fn by(&self, means: &str, line: &str) -> Ran {
        let program = self.command(line);
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{means} \"$0\" \"$@\"")).arg(program.get_program()).args(program.get_args());
        command.env_clear().envs(program.get_envs().filter_map(|(n, v)| Some((n, v?))));
        Ran::of(command.current_dir(self.path("")).stdin(Stdio::null()).output().expect("a shell"))
    }

    /// Must succeed; gives what it printed.
    pub fn ok(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "orlop {line}\n{}{}", ran.out, ran.err);
        ran.out
    }

    /// Must end with this code; gives what it complained of.
    pub fn fails(&self, line: &str, code: i32) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, code, "orlop {line}\n{}{}", ran.out, ran.err);
        ran.err
    }

    /// The last JSON message of standard output.
    pub fn json(&self, line: &str) -> serde_json::Value {
        let out = self.ok(line);
        serde_json::from_str(out.lines().last().expect("a line")).expect("JSON")
    }

    pub fn snapshots(&self) -> Vec<serde_json::Value> {
        self.json("snapshots --json").as_array().expect("a list").clone()
    }

    /// Every file below a directory with its length.
    pub fn files(&self, name: &str) -> Vec<(PathBuf, u64)> {
        let mut out = Vec::new();
        collect(&self.path(name), &mut out);
        out.sort();
        out
    }

    /// What differs from run to run, replaced.
    pub fn plain(&self, text: &str) -> String {
        let here = self.dir.path().to_str().expect("plain");
        let mut out = String::new();
        for line in text.replace(here, "@").lines() {
            let words: Vec<String> = line.split(' ').map(plain_word).collect();
            out += words.join(" ").trim_end();
            out.push('\n');
        }
        out
    }
}

fn collect(dir: &Path, out: &mut Vec<(PathBuf, u64)>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for e in entries.flatten() {
        // Some are gone a moment later.
        let Ok(meta) = e.metadata() else { continue };
        if meta.is_dir() {
            collect(&e.path(), out);
        } else {
            out.push((e.path(), meta.len()));
        }
    }
}

fn plain_word(word: &str) -> String {
    let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let hex = core.bytes().all(|b| b.is_ascii_hexdigit()) && matches!(core.len(), 8 | 10 | 32 | 64);
    let digits = |s: &str| s.bytes().filter(u8::is_ascii_digit).count();
    let date =
        core.len() >= 8 && (core.matches('-').count() == 2 || core.matches(':').count() == 2) && digits(core) >= 6;
    match (hex, date) {
        (true, _) => word.replace(core, "ID"),
        (_, true) => word.replace(core, "TIME"),
        _ => word.to_owned(),
    }
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (out, err) = (text(output.stdout), text(output.stderr));
        for secret in [PASSWORD, KEY] {
            assert!(!out.contains(secret) && !err.contains(secret), "a secret was shown:\n{out}{err}");
        }
        Self { code: output.status.code().unwrap_or(-1), out, err }
    }
}
