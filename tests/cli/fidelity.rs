//! The report on fidelity: what could not be captured or brought back, by kind, and by file with `-v`.

use std::path::Path;
use std::process::{Command, Stdio};

use super::world::World;

/// Rows of the report in a JSON summary: how often each kind was told.
fn rows(summary: &serde_json::Value) -> Vec<(String, u64)> {
    let list = summary["fidelity"].as_array().expect("it is always there");
    let row = |r: &serde_json::Value| {
        assert!(r["message"].as_str().is_some_and(|m| !m.is_empty()), "{r}");
        (r["slug"].as_str().expect("text").to_owned(), r["count"].as_u64().expect("a number"))
    };
    list.iter().map(row).collect()
}

fn count(rows: &[(String, u64)], slug: &str) -> u64 {
    rows.iter().find(|(s, _)| s == slug).map_or(0, |(_, n)| *n)
}

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

fn sh(line: &str, dir: &Path) -> bool {
    let done = Command::new("sh").args(["-c", line]).current_dir(dir).stderr(Stdio::null()).status();
    done.expect("a shell").success()
}

/// A folder with a bit of everything that some place cannot hold; says which of it there is.
fn everything(world: &World) -> Vec<&'static str> {
    let src = world.path("src");
    let mut there = vec!["holes", "hard-links"];
    assert!(sh("truncate -s 1M holes && printf end >> holes && ln one.txt again && mkfifo -m 600 pipe", &src));
    for (slug, line) in [
        ("xattrs", "setfattr -n user.colour -v green one.txt"),
        ("acls", "setfacl -m u:12345:r sub/two.txt"),
        ("flags", "chattr +d sub/two.txt"),
    ] {
        there.extend(sh(line, &src).then_some(slug));
    }
    if root() {
        assert!(sh("mknod null c 1 3 && chmod 4755 sub/two.txt && chown 12345:12345 one.txt", &src));
        there.extend(["devices", "setuid", "owner"]);
    }
    there
}

#[test]
fn nothing_is_said_where_nothing_is_lost() {
    let world = World::with_repository();
    let ran = world.run("backup src");
    assert!(!ran.out.contains("not captured"), "{}", ran.out);
    assert_eq!(rows(&world.json("backup src --json")), []);
    assert!(!world.ok("restore latest --target @/out").contains("not brought back"));
    let again = rows(&world.json("restore latest --target @/out2 --json"));
    assert!(again.iter().all(|(slug, _)| slug == "birth-time"), "{again:?}");
}

#[test]
fn a_backup_says_what_it_could_not_capture() {
    let world = World::with_repository();
    let _listening = std::os::unix::net::UnixListener::bind(world.path("src/socket")).expect("ours");
    // By nature: only for those who ask.
    assert!(!world.ok("backup src").contains("sockets"));
    let out = world.ok("backup src -v");
    assert!(out.contains("not captured as it is:\n  sockets  1 kept by name"), "{out}");
    assert!(out.contains("lost[sockets]: ") && out.contains("src/socket: only its name is kept"), "{out}");
    let ran = world.run("backup src missing --json");
    let summary: serde_json::Value = serde_json::from_str(ran.out.lines().last().expect("a line")).expect("JSON");
    assert_eq!(rows(&summary), [("vanished".to_owned(), 1), ("sockets".to_owned(), 1)]);
    assert_eq!(ran.code, 3);
    let out = world.run("backup src missing").out;
    assert!(out.contains("not captured as it is:\n  vanished  1 missing: not there"), "{out}");
    assert!(out.contains("(-v names each file, `orlop explain vanished` says more)"), "{out}");
    let ran = world.run("backup src -v --json");
    let lost = ran.err.lines().find(|l| l.contains("\"lost\"")).expect("a message of its own");
    let lost: serde_json::Value = serde_json::from_str(lost).expect("JSON");
    assert_eq!((&lost["message_type"], &lost["slug"]), (&"lost".into(), &"sockets".into()));
    assert!(lost["item"].as_str().is_some_and(|i| i.ends_with("/src/socket")), "{lost}");
}

/// A file system that knows no attributes, ACLs, flags nor holes.
#[test]
fn a_poor_file_system_is_told_kind_by_kind() {
    let world = World::with_repository();
    let there = everything(&world);
    world.ok("backup src -q");
    std::fs::create_dir(world.path("poor")).expect("ours");
    let mount = "unshare -rm sh -c 'mount -t ramfs none poor && exec \"$0\" \"$@\"'";
    if world.by(mount, "version").code != 0 {
        eprintln!("skipped: nothing can be mounted here");
        return;
    }
    let ran = world.by(mount, "restore latest --target @/poor --json");
    let summary: serde_json::Value = serde_json::from_str(ran.out.lines().last().expect("a line")).expect("JSON");
    let told = rows(&summary);
    for slug in ["xattrs", "acls", "flags", "holes"].into_iter().filter(|s| there.contains(s)) {
        assert!(count(&told, slug) > 0, "{slug}: {told:?}\n{}", ran.err);
    }
    assert_eq!(count(&told, "holes"), 1);
    assert_eq!(count(&told, "hard-links"), 0, "links it knows");
    // What a place cannot hold is nobody's mistake.
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ran = world.by(mount, "restore latest --target @/poor");
    assert!(ran.out.contains("not brought back as it was:\n"), "{}", ran.out);
    assert!(ran.out.contains("  holes   ") && !ran.out.contains("birth-time"), "{}", ran.out);
    assert!(!ran.out.contains("lost["), "{}", ran.out);
    let ran = world.by(mount, "restore latest --target @/poor -v");
    assert!(ran.out.contains("lost[holes]: write ") && ran.out.contains("/src/holes: "), "{}", ran.out);
    assert!(ran.out.contains("birth-time"), "{}", ran.out);
}

/// Somebody who is not root, and a client of the owner's.
#[test]
fn what_only_root_restores_is_told() {
    let world = World::with_repository();
    if !root() {
        return;
    }
    everything(&world);
    world.ok("backup src -q");
    let told = rows(&world.json("restore latest --target @/all --json"));
    assert!(["owner", "devices", "setuid", "acls", "xattrs"].iter().all(|s| count(&told, s) == 0), "{told:?}");
    let told = rows(&world.json("restore latest --target @/careful --no-privileged-metadata --json"));
    assert_eq!((count(&told, "devices"), count(&told, "setuid")), (1, 1), "{told:?}");
    // The folder of the test is root's, so there has to be a way in.
    assert!(sh("chmod -R a+rwX . && chmod a+x ..", &world.path("")));
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    if world.by(nobody, "version").code != 0 {
        eprintln!("skipped: nobody cannot run the program here");
        return;
    }
    let ran = world.by(nobody, "restore latest --target @/nobody --no-cache --json");
    let summary: serde_json::Value = serde_json::from_str(ran.out.lines().last().expect("a line")).expect("JSON");
    let told = rows(&summary);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(count(&told, "owner") > 5, "all of it is root's: {told:?}");
    assert_eq!((count(&told, "devices"), count(&told, "setuid")), (1, 1), "{told:?}");
}

/// Where no further names can be made, there are files of their own, with the same content.
#[test]
fn links_that_cannot_be_made_become_files() {
    let world = World::with_repository();
    everything(&world);
    world.ok("backup src -q");
    let trace =
        "strace -f -qq -e trace=linkat,fsetxattr,futimens,utimensat,fchmod -e inject=linkat:error=EPERM -o /dev/null";
    if world.by(trace, "version").code != 0 {
        eprintln!("skipped: strace does not work here");
        return;
    }
    let ran = world.by(trace, "restore latest:/ --include one.txt --include again --target @/out --json");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let summary: serde_json::Value = serde_json::from_str(ran.out.lines().last().expect("a line")).expect("JSON");
    assert_eq!(count(&rows(&summary), "hard-links"), 1, "{summary}");
    let below = |name: &str| {
        let files = world.files("out");
        let path = files.iter().map(|(p, _)| p).find(|p| p.ends_with(name)).expect("restored").clone();
        std::fs::read(path).expect("readable")
    };
    assert_eq!((below("one.txt"), below("again")), (b"one\n".to_vec(), b"one\n".to_vec()));
    for (call, slug) in [("fchmod", "mode"), ("utimensat", "times"), ("fchown", "owner")] {
        let trace = format!("strace -f -qq -e trace={call} -e inject={call}:error=EPERM -o /dev/null");
        let line = format!("restore latest --target @/{slug} --json");
        let ran = world.by(&trace, &line);
        let summary: serde_json::Value = serde_json::from_str(ran.out.lines().last().expect("a line")).expect("JSON");
        assert!(count(&rows(&summary), slug) > 0, "{slug}: {summary}");
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    // What is no limit of the place is trouble, and each file is named.
    let trace = "strace -f -qq -e trace=utimensat -e inject=utimensat:error=EIO -o /dev/null";
    let ran = world.by(trace, "restore latest --target @/broken");
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert!(ran.err.contains("error[times]: utimens /") && ran.out.contains("  times  "), "{}{}", ran.out, ran.err);
}

/// Who stops a restore while a link is made up for by a copy finds all of that file or nothing of it.
#[test]
fn a_copy_in_place_of_a_link_is_whole_or_not_there() {
    let world = World::with_repository();
    let content: Vec<u8> = (0..48 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::create_dir(world.path("big")).expect("ours");
    world.write("big/one", &content);
    std::fs::hard_link(world.path("big/one"), world.path("big/two")).expect("ours");
    world.ok("backup big -q");
    let trace = "strace -f -qq -e trace=linkat -e inject=linkat:error=EPERM:signal=SIGINT -o /dev/null";
    if world.by(trace, "version").code != 0 {
        eprintln!("skipped: there is no strace");
        return;
    }
    let ran = world.by(trace, "restore latest --target @/out");
    assert_eq!(ran.code, 130, "{}", ran.err);
    for (path, len) in world.files("out") {
        assert_eq!(len, content.len() as u64, "{path:?}");
        assert!(std::fs::read(&path).expect("readable") == content, "{path:?} is there in part");
    }
}
