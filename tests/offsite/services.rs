//! Servers, each a child of the test or ended by its own pid files.

use super::link::Link;
use orlop::storage::probe::Findings;
use orlop::storage::{self, Access, Location, Options, Storage};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

pub const KEY: &str = "ORLOPKEY";
pub const SECRET: &str = "ORLOPSECRET";

/// Where a repository can be, and how to get there.
#[derive(Clone)]
pub struct Place {
    pub url: String,
    pub options: Vec<String>,
    pub variables: Vec<(&'static str, &'static str)>,
    /// Whether `prune` works there.
    pub collects: bool,
    /// Whether a name is taken by one only. Where it is not, that is what a probe found before.
    pub exclusive: bool,
}

impl Place {
    pub fn open(&self) -> Box<dyn Storage> {
        self.try_open().unwrap_or_else(|e| panic!("{}: {e}", self.url))
    }

    pub fn try_open(&self) -> orlop::error::Result<Box<dyn Storage>> {
        let (place, options) = (Location::parse(self.url.as_ref())?, Options::parse(&self.options)?);
        let variable =
            |name: &str| self.variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let found = Findings {
            taken_once: false,
            taken_by_one: false,
            read_after_write: true,
            list_after_write: true,
            ranges: true,
            deletes: Some(true),
            names: true,
            clock_ahead: None,
            receive_times: true,
        };
        let known = (!self.exclusive).then_some(&found);
        let access = Access { options: &options, variable: &variable, cancel: None, known };
        let storage: Arc<dyn Storage> = storage::create(&place, &access)?;
        Ok(Box::new(storage))
    }
}

pub trait Service {
    /// A place that was not used before.
    fn place(&self) -> Place;
}

/// A number for a prefix.
fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Relaxed)
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
}

/// A program, by a variable or on the path.
fn program(variable: &str, name: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
        std::env::split_paths(&path).chain(more).map(|dir| dir.join(name)).find(|p| p.is_file())
    };
    let found = named.filter(|p| p.is_file()).or_else(on_path);
    if found.is_none() {
        assert!(std::env::var_os("ORLOP_SERVICES_REQUIRED").is_none(), "{name} is not installed, and it is required");
        println!("skipped: {name} is not installed; tests/run installs it");
    }
    found
}

/// A child that ends with the test.
struct Server(Child);

impl Server {
    fn start(command: &mut Command, log: &Path, port: u16) -> Self {
        let out = std::fs::File::create(log).expect("a log");
        let err = out.try_clone().expect("a log");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().expect("it starts");
        let mut this = Self(child);
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = this.0.try_wait().expect("ours");
            let said = || std::fs::read_to_string(log).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < until, "{command:?} does not listen: {}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
        this
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ceph's gateway, by `tests/services/ceph`.
pub struct Ceph {
    dir: tempfile::TempDir,
    pub port: u16,
}

pub const BUCKET: &str = "orlop-test";
pub const SWIFT_USER: &str = "orlop:swift";
pub const SWIFT_KEY: &str = "SWIFTSECRET";

impl Ceph {
    pub fn start() -> Option<Self> {
        program("ORLOP_RADOSGW", "radosgw")?;
        program("ORLOP_CEPH_OSD", "ceph-osd")?;
        let start = || {
            let this = Self { dir: tempfile::tempdir().expect("a place"), port: free_port() };
            this.run("start", &[this.port, free_port()]).map(|()| this)
        };
        // A port that was free may be somebody's a moment later.
        let this = start().or_else(|_| start()).unwrap_or_else(|said| panic!("the gateway does not start: {said}"));
        make_bucket(this.port, BUCKET, &[]);
        Some(this)
    }

    fn run(&self, verb: &str, ports: &[u16]) -> Result<(), String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/ceph");
        let mut command = Command::new(script);
        command.arg(verb).arg(self.dir.path()).args(ports.iter().map(u16::to_string));
        let done = command.stdin(Stdio::null()).output().expect("bash runs");
        done.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&done.stderr).into_owned())
    }

    /// End the gateway, and keep what it has.
    pub fn pause(&self) {
        self.run("pause", &[]).expect("it ends");
    }

    pub fn resume(&self) {
        self.run("resume", &[]).expect("it comes back");
    }

    /// A place in a bucket of its own.
    pub fn unversioned(&self) -> Place {
        let bucket = format!("own-{}", next());
        make_bucket(self.port, &bucket, &[]);
        s3_place(self.port, &format!("{bucket}/orlop"))
    }

    /// The same in one that keeps versions.
    pub fn versioned(&self) -> Place {
        let bucket = format!("versioned-{}", next());
        make_bucket(self.port, &bucket, &[]);
        let on = "<VersioningConfiguration xmlns='http://s3.amazonaws.com/doc/2006-03-01/'><Status>Enabled</Status>\
                  </VersioningConfiguration>";
        let (code, said) = s3(self.port, "PUT", &format!("{bucket}?versioning"), OWNER, &[on]);
        assert_eq!(code, 200, "{said}");
        s3_place(self.port, &format!("{bucket}/orlop"))
    }

    /// The same with a lock on every object for a day.
    pub fn locked(&self, mode: &str) -> Place {
        let bucket = format!("locked-{}", next());
        make_bucket(self.port, &bucket, &["x-amz-bucket-object-lock-enabled:true"]);
        let lock = format!(
            "<ObjectLockConfiguration xmlns='http://s3.amazonaws.com/doc/2006-03-01/'><ObjectLockEnabled>Enabled\
             </ObjectLockEnabled><Rule><DefaultRetention><Mode>{mode}</Mode><Days>1</Days></DefaultRetention></Rule>\
             </ObjectLockConfiguration>"
        );
        let (code, said) = s3(self.port, "PUT", &format!("{bucket}?object-lock"), OWNER, &[&lock]);
        assert_eq!(code, 200, "{said}");
        s3_place(self.port, &format!("{bucket}/orlop"))
    }

    /// The place as it is through another port.
    pub fn through(&self, port: u16) -> Place {
        s3_place(port, &format!("{BUCKET}/p{}", next()))
    }

    /// The same bucket by its other interface.
    pub fn swift(&self, port: u16) -> Place {
        // A place is cloned often, and a test ends soon.
        let auth = format!("http://127.0.0.1:{port}/auth/v1.0").leak();
        Place {
            url: format!("swift:{BUCKET}:/p{}", next()),
            options: vec![],
            variables: vec![("ST_AUTH", auth), ("ST_USER", SWIFT_USER), ("ST_KEY", SWIFT_KEY)],
            collects: false,
            exclusive: false,
        }
    }

    pub fn opendal_url(&self, url: &str) -> String {
        let prefix = url.rsplit_once('/').expect("a prefix").1;
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        format!("opendal:s3://{BUCKET}/{prefix}?endpoint={endpoint}&region=us-east-1")
    }
}

impl Drop for Ceph {
    fn drop(&mut self) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/ceph");
        let _ = Command::new(script).arg("stop").arg(self.dir.path()).status();
    }
}

fn s3_place(port: u16, path: &str) -> Place {
    Place {
        url: format!("s3:http://127.0.0.1:{port}/{path}"),
        options: vec!["s3.region=us-east-1".into()],
        variables: vec![("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)],
        collects: true,
        exclusive: true,
    }
}

impl Service for Ceph {
    fn place(&self) -> Place {
        self.through(self.port)
    }
}

/// Its interface for OpenStack's clients.
pub struct Swift<'c>(pub &'c Ceph);

impl Service for Swift<'_> {
    fn place(&self) -> Place {
        self.0.swift(self.0.port)
    }
}

/// Who asks: a key and its secret.
pub type Who<'w> = (&'w str, &'w str);

/// The owner of all buckets.
pub const OWNER: Who<'static> = (KEY, SECRET);

/// Somebody who may do what policies of buckets say.
pub const MACHINE: Who<'static> = ("MACHINEKEY", "MACHINESECRET");

/// One request by Python, since nothing here makes buckets, or overwrites what is taken: the status, and what was
/// answered.
pub fn s3(port: u16, method: &str, path: &str, who: Who<'_>, more: &[&str]) -> (u16, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/s3.py");
    let url = format!("http://127.0.0.1:{port}/{path}");
    let ran = Command::new("python3").args([script, method, &url, who.0, who.1]).args(more).output();
    let ran = ran.expect("python3 runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    (said.get(..3).and_then(|code| code.parse().ok()).expect("a status"), said)
}

fn make_bucket(port: u16, bucket: &str, headers: &[&str]) {
    let more: Vec<&str> = if headers.is_empty() { vec![] } else { [&[""], headers].concat() };
    let (code, said) = s3(port, "PUT", bucket, OWNER, &more);
    assert_eq!(code, 200, "{said}");
}

/// `rclone serve s3`.
pub struct RcloneS3 {
    _server: Server,
    dir: tempfile::TempDir,
    port: u16,
}

impl RcloneS3 {
    pub fn start() -> Option<Self> {
        let rclone = program("ORLOP_RCLONE", "rclone")?;
        let (dir, port) = (tempfile::tempdir().expect("a place"), free_port());
        std::fs::create_dir_all(dir.path().join("data").join(BUCKET)).expect("ours");
        let mut command = Command::new(rclone);
        command.args(["serve", "s3", "--dir-cache-time", "1s", "--addr", &format!("127.0.0.1:{port}")]);
        command.args(["--auth-key", &format!("{KEY},{SECRET}"), "--config", "/dev/null"]).arg(dir.path().join("data"));
        let server = Server::start(&mut command, &dir.path().join("log"), port);
        Some(Self { _server: server, dir, port })
    }

    /// The same through a line in front of it; what it promises the probe has said.
    pub fn through(&self, link: &Link) -> Place {
        Place { collects: false, exclusive: false, ..s3_place(link.port, &format!("{BUCKET}/p{}", next())) }
    }

    pub fn behind(&self, round_trip: Duration, bits_per_second: f64) -> Link {
        Link::new(self.port, round_trip, bits_per_second)
    }
}

impl Service for RcloneS3 {
    fn place(&self) -> Place {
        assert!(self.dir.path().is_dir());
        // It takes the condition of a put and does not look at it.
        Place { collects: false, exclusive: false, ..s3_place(self.port, &format!("{BUCKET}/p{}", next())) }
    }
}

/// OpenSSH's server, with keys made for the test.
pub struct Sshd {
    server: std::sync::Mutex<Option<Server>>,
    sshd: PathBuf,
    dir: tempfile::TempDir,
    port: u16,
}

impl Sshd {
    pub fn start() -> Option<Self> {
        let sshd = program("ORLOP_SSHD", "sshd")?;
        program("ORLOP_SSH", "ssh")?;
        let (dir, port) = (tempfile::tempdir().expect("a place"), free_port());
        let at = |name: &str| dir.path().join(name).display().to_string();
        for key in ["host", "user", "stranger"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]).status();
            assert!(made.expect("ssh-keygen runs").success());
        }
        std::fs::create_dir(dir.path().join("data")).expect("ours");
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect("made");
        std::fs::write(dir.path().join("authorized"), read("user.pub")).expect("ours");
        let known = format!("[127.0.0.1]:{port} {}", read("host.pub"));
        std::fs::write(dir.path().join("known"), known).expect("ours");
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 100\nSubsystem sftp internal-sftp\n",
            at("host"),
            at("authorized")
        );
        std::fs::write(dir.path().join("sshd_config"), config).expect("ours");
        // Where it is root's it wants this, and says so.
        let _ = std::fs::create_dir_all("/run/sshd");
        let this = Self { server: std::sync::Mutex::new(None), sshd, dir, port };
        this.listen();
        Some(this)
    }

    fn listen(&self) {
        let mut command = Command::new(&self.sshd);
        command.arg("-D").arg("-e").arg("-f").arg(self.dir.path().join("sshd_config"));
        let server = Server::start(&mut command, &self.dir.path().join("log"), self.port);
        *self.server.lock().expect("no panic") = Some(server);
    }

    /// Arguments for `ssh`: nothing of the user's own counts.
    fn args(&self, key: &str, known: &str) -> String {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        format!(
            "sftp.args=-F none -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityFile={} -o UserKnownHostsFile={} \
             -o GlobalKnownHostsFile=/dev/null",
            at(key),
            at(known)
        )
    }

    pub fn place_with(&self, key: &str, known: &str, folder: &str) -> Place {
        Place {
            url: format!("sftp://127.0.0.1:{}/{folder}", self.port),
            options: vec![self.args(key, known)],
            variables: vec![],
            collects: true,
            exclusive: true,
        }
    }

    /// Processes that the server made, one for each connection.
    pub fn sessions(&self) -> Vec<u32> {
        let Some(server) = self.server.lock().expect("no panic").as_ref().map(|s| s.0.id()) else { return vec![] };
        let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

impl Service for Sshd {
    fn place(&self) -> Place {
        let folder = self.data().join(format!("a/b/p{}", next()));
        self.place_with("user", "known", &folder.display().to_string())
    }
}

/// `rclone serve webdav`.
pub struct WebDav {
    _server: Server,
    dir: tempfile::TempDir,
    pub port: u16,
}

impl WebDav {
    pub fn start() -> Option<Self> {
        let rclone = program("ORLOP_RCLONE", "rclone")?;
        let (dir, port) = (tempfile::tempdir().expect("a place"), free_port());
        std::fs::create_dir_all(dir.path().join("data")).expect("ours");
        let mut command = Command::new(rclone);
        command.args(["serve", "webdav", "--dir-cache-time", "1s", "--addr", &format!("127.0.0.1:{port}")]);
        command.args(["--config", "/dev/null"]).arg(dir.path().join("data"));
        command.env("RCLONE_USER", KEY).env("RCLONE_PASS", SECRET);
        let server = Server::start(&mut command, &dir.path().join("log"), port);
        Some(Self { _server: server, dir, port })
    }

    /// Always the same one.
    pub fn through(&self, port: u16) -> Place {
        Place { url: format!("webdav:http://127.0.0.1:{port}/one"), ..self.place() }
    }

    /// Where that is.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("data/one")
    }
}

impl Service for WebDav {
    fn place(&self) -> Place {
        Place {
            url: format!("webdav:http://127.0.0.1:{}/some/p{}", self.port, next()),
            options: vec![],
            variables: vec![("WEBDAV_USERNAME", KEY), ("WEBDAV_PASSWORD", SECRET)],
            collects: false,
            exclusive: false,
        }
    }
}

/// A folder as rclone reaches it.
pub struct RcloneRemote {
    dir: tempfile::TempDir,
    rclone: PathBuf,
}

impl RcloneRemote {
    pub fn start() -> Option<Self> {
        let rclone = program("ORLOP_RCLONE", "rclone")?;
        Some(Self { dir: tempfile::tempdir().expect("a place"), rclone })
    }
}

impl Service for RcloneRemote {
    fn place(&self) -> Place {
        let folder = self.dir.path().join(format!("p{}", next()));
        std::fs::create_dir(&folder).expect("ours");
        Place {
            url: format!("rclone::local:{}", folder.display()),
            options: vec![format!("rclone.program={}", self.rclone.display())],
            variables: vec![],
            collects: false,
            exclusive: false,
        }
    }
}

/// Microsoft's own emulator; its account and key are the ones that everybody has.
pub struct Azurite {
    _server: Server,
    _dir: tempfile::TempDir,
    port: u16,
}

const AZURE_ACCOUNT: &str = "devstoreaccount1";
const AZURE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

impl Azurite {
    pub fn start() -> Option<Self> {
        let azurite = program("ORLOP_AZURITE", "azurite-blob")?;
        let (dir, port) = (tempfile::tempdir().expect("a place"), free_port());
        let mut command = Command::new(azurite);
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--silent", "--skipApiVersionCheck"]);
        command.args(["--disableTelemetry", "--location"]).arg(dir.path().join("data"));
        let server = Server::start(&mut command, &dir.path().join("log"), port);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/make-container.py");
        let url = format!("http://127.0.0.1:{port}/{AZURE_ACCOUNT}/{BUCKET}");
        let made =
            Command::new("python3").args([script, &url, AZURE_ACCOUNT, AZURE_KEY]).output().expect("python3 runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Some(Self { _server: server, _dir: dir, port })
    }
}

impl Service for Azurite {
    fn place(&self) -> Place {
        Place {
            url: format!("azure:{BUCKET}:/p{}", next()),
            options: vec![format!("azure.endpoint=http://127.0.0.1:{}/{AZURE_ACCOUNT}", self.port)],
            variables: vec![("AZURE_ACCOUNT_NAME", AZURE_ACCOUNT), ("AZURE_ACCOUNT_KEY", AZURE_KEY)],
            collects: true,
            exclusive: true,
        }
    }
}
