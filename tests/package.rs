//! What is handed out: a Debian package with everything in its place, and a static binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).current_dir(root()).output().unwrap_or_else(|e| panic!("{program}: {e}"))
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn have(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success())
}

/// Build the package around the program under test.
fn package(into: &Path) -> String {
    let into = into.to_str().expect("plain");
    let built = run("packaging/debian/build", &["--binary", env!("CARGO_BIN_EXE_orlop"), into]);
    text(&built).lines().last().expect("it says where").to_owned()
}

#[test]
fn the_package_has_everything_in_its_place() {
    if !have("dpkg-deb") {
        println!("dpkg-deb is not here");
        return;
    }
    let dir = tempfile::tempdir().expect("a place");
    let package = package(dir.path());
    let control = text(&run("dpkg-deb", &["--field", &package]));
    for line in ["Package: orlop", "Version: 0.1.0", "Architecture: ", "Description: "] {
        assert!(control.contains(line), "no {line:?} in {control}");
    }
    let listing = text(&run("dpkg-deb", &["--contents", &package]));
    for (mode, name) in [
        ("-rwxr-xr-x root/root", "./usr/bin/orlop"),
        ("-rw-r--r-- root/root", "./usr/share/man/man1/orlop-backup.1.gz"),
        ("-rw-r--r-- root/root", "./usr/share/bash-completion/completions/orlop"),
        ("-rw-r--r-- root/root", "./usr/share/zsh/vendor-completions/_orlop"),
        ("-rw-r--r-- root/root", "./usr/share/fish/vendor_completions.d/orlop.fish"),
        ("-rw-r--r-- root/root", "./usr/share/elvish/lib/orlop.elv"),
        ("-rw-r--r-- root/root", "./usr/share/powershell/Completions/orlop.ps1"),
        ("-rw-r--r-- root/root", "./usr/lib/systemd/system/orlop-backup@.service"),
        ("-rw-r--r-- root/root", "./usr/lib/systemd/system/orlop-backup@.timer"),
        ("-rw-r--r-- root/root", "./usr/share/doc/orlop/README.md"),
        ("-rw-r--r-- root/root", "./usr/share/doc/orlop/copyright"),
        ("drwxr-xr-x root/root", "./etc/orlop/"),
    ] {
        let line = listing.lines().find(|l| l.ends_with(name)).unwrap_or_else(|| panic!("no {name} in {listing}"));
        assert!(line.starts_with(mode), "{line}");
    }
    let out = dir.path().join("out");
    text(&run("dpkg-deb", &["--extract", &package, out.to_str().expect("plain")]));
    let packed = out.join("usr/bin/orlop");
    assert!(text(&run(packed.to_str().expect("plain"), &["version"])).starts_with("orlop 0.1.0"));
    let zipped = out.join("usr/share/man/man1/orlop.1.gz");
    assert!(text(&run("gzip", &["-dc", zipped.to_str().expect("plain")])).contains(".TH"));
}

#[test]
fn the_units_run_a_profile_and_little_else() {
    let read = |name: &str| std::fs::read_to_string(root().join("packaging/systemd").join(name)).expect(name);
    let (service, timer) = (read("orlop-backup@.service"), read("orlop-backup@.timer"));
    let start = service.lines().find_map(|l| l.strip_prefix("ExecStart=/usr/bin/orlop ")).expect("it starts orlop");
    let line = ["orlop"].into_iter().chain(start.split(' '));
    <orlop::cli::args::Cli as clap::Parser>::try_parse_from(line).expect("the program understands it");
    for line in
        ["NoNewPrivileges=true", "ProtectSystem=strict", "ProtectHome=read-only", "SystemCallFilter=@system-service"]
    {
        assert!(service.contains(line), "{line}");
    }
    assert!(timer.contains("Persistent=true") && timer.contains("WantedBy=timers.target"));
    let units = ["packaging/systemd/orlop-backup@.service", "packaging/systemd/orlop-backup@.timer"];
    if have("systemd-analyze") {
        let verified = run("systemd-analyze", &["verify", "--man=no", units[0], units[1]]);
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        // The program is at home nowhere on this machine.
        let wrong: Vec<&str> =
            said.lines().filter(|l| l.contains("orlop-backup") && !l.contains("not executable")).collect();
        assert_eq!(wrong, [""; 0]);
    }
}

#[test]
#[ignore = "a release build"]
fn the_static_binary_needs_nothing() {
    if !have("musl-gcc") {
        println!("musl-gcc is not here");
        return;
    }
    let built = text(&run("packaging/static", &[]));
    let binary = built.lines().last().expect("it says where");
    let dynamic = run("ldd", &[binary]);
    let said = String::from_utf8_lossy(&dynamic.stdout).into_owned() + &String::from_utf8_lossy(&dynamic.stderr);
    assert!(!said.contains("=>"), "{said}");
    let dir = tempfile::tempdir().expect("a place");
    let source = dir.path().join("source");
    std::fs::create_dir(&source).expect("ours");
    std::fs::write(source.join("file"), "text").expect("ours");
    let mut quick = Command::new(binary);
    quick.args(["quickstart".as_ref(), source.as_os_str()]).env_clear().env("HOME", dir.path());
    let quick = quick.output().expect("it starts");
    assert!(text(&quick).contains("came back and equal their source"));
    let package = run("packaging/debian/build", &["--binary", binary, dir.path().to_str().expect("plain")]);
    let package = text(&package);
    let control = text(&run("dpkg-deb", &["--field", package.trim()]));
    assert!(!control.contains("Depends:"), "{control}");
}
