//! Every slug that there is a page on is provoked, and every one that is told has a page.
//!
//! Most by the program itself, as people meet them. What nobody meets who has no enemy, no collector in
//! the way and no broken disk, by the library. Where a test needs what a system does not let it do
//! (`strace`, being root), it says so and what it left out.

#[allow(dead_code, reason = "others need more of it")]
#[path = "cli/world.rs"]
mod world;

mod support;

#[path = "slugs/library.rs"]
mod library;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use orlop::report::{explain, fidelity};
use world::{Ran, World};

/// What a provocation heard; nothing, and why, if this system does not let it.
type Heard = Result<String, &'static str>;

/// Something that makes an error be told.
type Provocation = fn() -> Heard;

/// How each slug is provoked: it must be in what is heard.
const PROVOCATIONS: &[(&str, Provocation)] = &[
    ("no-repository", || line(&World::new(), "snapshots")),
    ("exists", || line(&World::with_repository(), "init")),
    ("wrong-password", wrong_password),
    ("damaged", damaged),
    ("missing", || line(&World::with_repository(), "ls ffffffff")),
    ("unsupported", || line(&World::new(), "-r b2:bucket snapshots")),
    ("substituted", substituted),
    ("storage", storage),
    ("source", || line(&World::with_repository(), "backup nothing")),
    ("target", || line(&backed_up(), "dump latest / -t /dev/full")),
    ("invalid", || line(&World::with_repository(), "backup src --exclude [")),
    ("forbidden", || line(&of_a_client(), "--key-file @/web.key forget latest")),
    ("fenced", library::fenced),
    ("cancelled", library::cancelled),
    ("bug", library::bug),
    ("partial", || line(&World::with_repository(), "backup src nothing")),
    ("unreadable", unreadable),
    ("vanished", || line(&World::with_repository(), "backup src nothing")),
    ("changed-while-read", changed_while_read),
    ("content-differs", content_differs),
    ("fidelity", || line(&World::with_repository(), "backup src nothing")),
    ("owner", || injected("fchown:error=EPERM", "true", "restore latest --target @/out")),
    ("mode", || injected("fchmod:error=EPERM", "true", "restore latest --target @/out")),
    ("times", || injected("utimensat:error=EPERM", "true", "restore latest --target @/out")),
    ("setuid", || privileged("chmod 4755 src/one.txt")),
    ("devices", || line_after("backup -q /dev/null", "restore latest --target @/out --no-privileged-metadata")),
    ("xattrs", || {
        injected("fsetxattr:error=EOPNOTSUPP", "setfattr -n user.a -v b one.txt", "restore latest --target @/out")
    }),
    ("acls", || injected("fsetxattr:error=EOPNOTSUPP", "setfacl -m u:7:r one.txt", "restore latest --target @/out")),
    ("flags", || injected("ioctl:error=ENOTTY", "chattr +d one.txt", "restore latest --target @/out")),
    ("hard-links", || injected("linkat:error=EPERM", "ln one.txt two.txt", "restore latest --target @/out")),
    ("holes", || injected("lseek:error=EINVAL", "truncate -s 1M one.txt", "restore latest --target @/out")),
    ("birth-time", || line(&backed_up(), "restore latest --target @/out")),
    ("sockets", sockets),
    ("not-restored", not_restored),
    ("not-removed", || injected("unlinkat:error=EPERM", "touch ../out/odd", "restore latest --target @/out --delete")),
    ("differs", differs),
    ("held", held),
    ("not-copied", not_copied),
    ("repository-failed", || line(&World::with_repository(), "backup src -r @/repo -r @/nowhere")),
    ("mirrors-part", mirrors_part),
    ("not-forgotten", library::not_forgotten),
    ("last-snapshots", last_snapshots),
    ("no-room", library::no_room),
    ("would-be-empty", || line(&backed_up(), "rewrite --exclude *")),
    ("forgotten", library::forgotten),
    ("late", late),
    ("rejected-name", library::rejected_name),
    ("bad-name", library::bad_name),
    ("too-deep", library::too_deep),
    ("hook-failed", hook_failed),
];

#[test]
fn every_slug_is_provoked() {
    let (listed, provoked): (Vec<&str>, Vec<&str>) =
        (explain::slugs().collect(), PROVOCATIONS.iter().map(|(slug, _)| *slug).collect());
    let set = |all: &[&'static str]| all.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(set(&listed), set(&provoked), "pages and provocations");
    assert_eq!(listed.len(), provoked.len(), "one of each");
    let (mut wrong, mut left_out) = (Vec::new(), 0);
    for (slug, provoke) in PROVOCATIONS {
        match provoke() {
            Ok(heard) if heard.contains(&format!("\"slug\":\"{slug}\"")) => {}
            // The report itself has no slug.
            Ok(heard) if *slug == "fidelity" && heard.contains("\"fidelity\":[{") => {}
            Ok(heard) => wrong.push(format!("{slug}: {heard}")),
            Err(why) => {
                eprintln!("{slug} left out: {why}");
                left_out += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(left_out <= 10, "too much was left out to say anything");
}

/// What stands in the source behind the words that tell something.
#[test]
fn every_slug_that_is_told_has_a_page() {
    let pages: BTreeSet<&str> = explain::slugs().collect();
    let mut told: BTreeSet<String> = fidelity::slugs().map(str::to_owned).collect();
    let mut todo = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(fs::read_dir(path).expect("readable").map(|e| e.expect("readable").path()));
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for call in ["problem(", "lost(", "unreadable(", ".error(", ".tell(", "trouble("] {
            for rest in text.split(call).skip(1) {
                let literal = rest.trim_start().strip_prefix('"').and_then(|r| r.split_once('"'));
                let slug = literal.filter(|(s, after)| after.starts_with(',') && !s.contains([' ', '{', '.']));
                told.extend(slug.map(|(s, _)| s.to_owned()));
            }
        }
        // Error kinds, and the metadata of a restore.
        for arm in text.split("=> \"").skip(1).filter(|_| told_by_kind(&path)) {
            let slug = arm.split('"').next().unwrap_or_default();
            told.extend((!slug.contains(' ') && arm[slug.len()..].starts_with("\",")).then(|| slug.to_owned()));
        }
    }
    assert!(told.len() > 40 && told.contains("damaged") && told.contains("no-repository"), "{told:?}");
    let missing: Vec<&String> = told.iter().filter(|s| !pages.contains(s.as_str())).collect();
    assert!(missing.is_empty(), "no page on {missing:?}");
}

/// Where kinds have slugs: of errors, and of what a restore cannot set.
fn told_by_kind(path: &Path) -> bool {
    path.ends_with("src/error.rs") || path.ends_with("src/target/apply.rs")
}

/// All that the program says in JSON.
fn line(world: &World, line: &str) -> Heard {
    let ran = world.run(&format!("{line} --json -v"));
    Ok(ran.out + &ran.err)
}

fn line_after(first: &str, second: &str) -> Heard {
    let world = World::with_repository();
    world.ok(first);
    line(&world, second)
}

fn backed_up() -> World {
    let world = World::with_repository();
    support::settle();
    world.ok("backup src -q");
    world
}

fn sh(world: &World, script: &str) -> bool {
    let done = Command::new("sh").args(["-c", script]).current_dir(world.path("src")).stderr(Stdio::null()).status();
    done.expect("a shell").success()
}

/// The program under `means`, which must let it run.
fn under(world: &World, means: &str, line: &str) -> Result<Ran, &'static str> {
    let run = |line: &str| {
        let program = world.command(line);
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec {means} \"$0\" \"$@\"")).arg(program.get_program());
        command.args(program.get_args()).env_clear().envs(program.get_envs().filter_map(|(n, v)| Some((n, v?))));
        Ran::of(command.current_dir(world.path("")).stdin(Stdio::null()).output().expect("a shell"))
    };
    if run("version").code != 0 { Err("the program cannot be run in this way here") } else { Ok(run(line)) }
}

/// A restore whose system calls fail as `inject` says, of a source that `prepare` made.
fn injected(inject: &str, prepare: &str, line: &str) -> Heard {
    let world = World::with_repository();
    fs::create_dir(world.path("out")).expect("ours");
    if !sh(&world, prepare) {
        return Err("the source cannot be prepared here");
    }
    world.ok("backup src -q");
    let call = inject.split(':').next().expect("a call");
    let means = format!("strace -f -qq -e trace={call} -e inject={inject} -o /dev/null");
    let ran = under(&world, &means, &format!("{line} --json -v"))?;
    Ok(ran.out + &ran.err)
}

fn wrong_password() -> Heard {
    let ran = World::with_repository().run_with("snapshots --json", &[("ORLOP_PASSWORD", "wrong")]);
    Ok(ran.err)
}

fn damaged() -> Heard {
    let world = backed_up();
    let (pack, len) = world.files("repo/packs").remove(0);
    let mut bytes = fs::read(&pack).expect("ours");
    bytes[usize::try_from(len).expect("small") / 3] ^= 1;
    fs::remove_file(&pack).expect("ours");
    fs::write(&pack, bytes).expect("ours");
    line(&world, "check --read-data")
}

fn substituted() -> Heard {
    let world = backed_up();
    assert!(sh(&world, "cp -a ../repo ../old"));
    world.ok("backup src -q");
    assert!(sh(&world, "mv ../repo ../newer && mv ../old ../repo"));
    line(&world, "snapshots")
}

fn storage() -> Heard {
    let world = World::with_repository();
    let sessions = world.path("repo/sessions");
    let _ = fs::remove_dir_all(&sessions);
    fs::write(&sessions, "no folder").expect("ours");
    line(&world, "backup src")
}

/// A world with a snapshot of the owner's, and a client's key.
fn of_a_client() -> World {
    let world = backed_up();
    world.ok("key add --role client --client web --new-key-file @/web.key");
    world
}

fn unreadable() -> Heard {
    let world = World::with_repository();
    assert!(sh(&world, "chmod 0 one.txt"));
    let means = "setpriv --bounding-set=-dac_override,-dac_read_search";
    let means = if rustix::process::geteuid().is_root() { means } else { "env" };
    under(&world, means, "backup src --json").map(|ran| ran.out + &ran.err)
}

/// In one of three tries something is written while it is read.
fn changed_while_read() -> Heard {
    let told = |heard: &Heard| heard.as_ref().is_ok_and(|said| said.contains("changed-while-read"));
    (0..2).map(|_| growing()).find(told).unwrap_or_else(growing)
}

fn growing() -> Heard {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    let world = World::with_repository();
    world.write("src/grows", support::noise(24 << 20, 5));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::OpenOptions::new().append(true).open(world.path("src/grows")).expect("ours");
            while !done.load(Relaxed) {
                file.write_all(b"more").expect("there is room");
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let heard = line(&world, "backup src");
        done.store(true, Relaxed);
        heard
    })
}

fn content_differs() -> Heard {
    let world = backed_up();
    assert!(sh(&world, "touch -r one.txt ../time && printf ONE\\\\n > one.txt && touch -r ../time one.txt"));
    line(&world, "backup src --ignore-ctime --verify-sample 100%")
}

/// A restore that makes nothing that lends rights.
fn privileged(prepare: &str) -> Heard {
    let world = World::with_repository();
    assert!(sh(&world, &format!("cd .. && {prepare}")));
    world.ok("backup src -q");
    line(&world, "restore latest --target @/out --no-privileged-metadata")
}

fn sockets() -> Heard {
    let world = World::with_repository();
    let _listening = std::os::unix::net::UnixListener::bind(world.path("src/socket")).expect("ours");
    line(&world, "backup src")
}

fn not_restored() -> Heard {
    let world = backed_up();
    world.ok("restore latest -q --target @/out");
    let (there, _) = world.files("out").into_iter().find(|(p, _)| p.ends_with("one.txt")).expect("restored");
    fs::remove_file(&there).expect("ours");
    fs::create_dir(&there).expect("ours");
    fs::write(there.join("in the way"), "").expect("ours");
    line(&world, "restore latest --target @/out")
}

/// Writing says that it went well, and nothing was written.
fn differs() -> Heard {
    let world = World::with_repository();
    fs::create_dir(world.path("lone")).expect("ours");
    world.write("lone/four", "four");
    world.ok("backup lone -q");
    let means = "strace -f -qq -e trace=pwrite64 -e inject=pwrite64:retval=4 -o /dev/null";
    let ran = under(&world, means, "restore latest --target @/out --verify --json")?;
    Ok(ran.out + &ran.err)
}

fn held() -> Heard {
    let world = of_a_client();
    world.ok("--key-file @/web.key backup src -q");
    world.ok("hold latest --reason audit");
    line(&world, "--key-file @/web.key release latest")
}

/// One of two targets is not there.
fn not_copied() -> Heard {
    let world = backed_up();
    world.ok("init -r @/there --no-recovery-key -q");
    line(&world, "copy -r @/there -r @/nowhere --from-repo @/repo")
}

fn last_snapshots() -> Heard {
    let world = World::with_repository();
    world.ok("backup src -q --time 2024-01-02T12:00:00Z --keep-for 1d");
    world.ok("policy set --default");
    line(&world, "forget")
}

fn mirrors_part() -> Heard {
    let world = World::with_repository();
    world.ok("init -r @/there --mirror-of @/repo --no-recovery-key -q");
    line(&world, "backup src -r @/repo -r @/there")
}

fn late() -> Heard {
    let world = World::new();
    library::late(&world.path("repo"), &world.path("src"));
    let ran = world.run_with("--insecure-no-password rewrite --new-host other --json", &[("ORLOP_PASSWORD", "")]);
    Ok(ran.out + &ran.err)
}

fn hook_failed() -> Heard {
    let world = World::with_repository();
    let here = world.path("");
    let here = here.display();
    let file = format!(
        "[profiles.p]\nrepo = \"{here}/repo\"\n[profiles.p.backup]\nsources = [\"{here}/src\"]\n\
         [profiles.p.hooks]\nafter = [\"false\"]\n"
    );
    world.write("orlop.toml", file);
    let ran = world.run_with("-P p --config @/orlop.toml backup --json", &[("ORLOP_REPOSITORY", "")]);
    Ok(ran.out + &ran.err)
}
