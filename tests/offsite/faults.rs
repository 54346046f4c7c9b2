//! What goes wrong on the way: each ends in success or in a clear error, nothing is lost, and the
//! next run completes.

use super::proxy::{Fate, Proxy};
use super::services::{self, Ceph, Place, Service, Sshd, WebDav};
use super::world::World;
use orlop::model::Name;
use orlop::storage::{Put, StorageErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

/// Everything over the gateway.
pub fn over_s3(ceph: &Ceph) {
    flaky(ceph);
    lost_answers(ceph);
    bursts(ceph);
    gateway_goes_and_comes(ceph);
    deletes_are_refused(ceph);
    wrong_places_and_names(ceph);
}

/// Resets, lost answers, 503s and truncated bodies, all the time.
fn flaky(ceph: &Ceph) {
    let proxy = Proxy::new(ceph.port, |n, method| match n {
        _ if n.is_multiple_of(7) => Fate::Reset,
        _ if n.is_multiple_of(11) => Fate::AnswerLost,
        _ if n.is_multiple_of(13) => Fate::Status(503),
        _ if n.is_multiple_of(17) => Fate::Status(500),
        _ if n.is_multiple_of(5) && method == "GET" => Fate::Truncated,
        _ => Fate::Passes,
    });
    super::life(&ceph.through(proxy.port));
    assert!(proxy.requests.load(SeqCst) > 50, "it went through the proxy");
}

/// A put whose answer was lost is done again, finds its own work, and knows it.
fn lost_answers(ceph: &Ceph) {
    let lose = std::sync::Arc::new(AtomicBool::new(false));
    let losing = std::sync::Arc::clone(&lose);
    let proxy = Proxy::new(ceph.port, move |_, method| match method {
        "PUT" if losing.swap(false, SeqCst) => Fate::AnswerLost,
        _ => Fate::Passes,
    });
    let storage = ceph.through(proxy.port).open();
    let name = |text: &str| Name::new(text).expect("a name");
    let before = proxy.requests.load(SeqCst);
    lose.store(true, SeqCst);
    assert_eq!(storage.put_new(&name("gc/1"), b"ours").expect("put"), Put::Created);
    assert!(proxy.requests.load(SeqCst) - before >= 3, "it was put twice, and looked at");
    lose.store(true, SeqCst);
    assert_eq!(storage.put_new(&name("gc/1"), b"mine").expect("put"), Put::Exists, "of the same length");
    lose.store(true, SeqCst);
    let mut draft = storage.draft().expect("a draft");
    draft.write(&[7; 3 << 20]).expect("written");
    assert_eq!(draft.publish(&name("packs/ab/x")).expect("published"), Put::Created);
}

/// A server of WebDAV refuses moves: for a moment, after it did them, since somebody was quicker, for good.
pub fn over_webdav(server: &WebDav) {
    let asked = std::sync::Arc::new(AtomicU64::new(0));
    let refused = |fate: fn(u64, &Path) -> Fate| {
        let (moves, place) = (std::sync::Arc::clone(&asked), server.folder());
        moves.store(0, SeqCst);
        Proxy::new(server.port, move |_, method| match method {
            "MOVE" => fate(moves.fetch_add(1, SeqCst), &place),
            _ => Fate::Passes,
        })
    };
    let (taken, free) = (Name::new("gc/taken").expect("a name"), Name::new("gc/free").expect("a name"));
    let direct = server.through(server.port).open();
    assert_eq!(direct.put_new(&taken, b"once").expect("put"), Put::Created);
    let put = |proxy: &Proxy, name, bytes| server.through(proxy.port).open().put_new(name, bytes);
    let proxy = refused(|n, _| if n < 3 { Fate::Status(403) } else { Fate::Passes });
    assert_eq!(put(&proxy, &free, b"here").expect("put"), Put::Created);
    assert_eq!((asked.load(SeqCst), direct.get(&free, 9).expect("it is there")), (4, b"here".to_vec()));
    direct.delete(&free).expect("deleted");
    let proxy = refused(|_, _| Fate::DoneBut(403));
    assert_eq!(put(&proxy, &free, b"ours").expect("put"), Put::Created);
    assert_eq!((asked.load(SeqCst), direct.get(&free, 9).expect("it is there")), (1, b"ours".to_vec()));
    direct.delete(&free).expect("deleted");
    // It was done, is said to be refused, is not seen for a moment, and then its place is taken.
    let proxy = stale(server);
    assert_eq!(put(&proxy, &free, b"ours").expect("put"), Put::Created);
    direct.delete(&free).expect("deleted");
    let proxy = refused(|n, place| {
        std::fs::write(place.join("gc/free"), b"them").expect("ours");
        if n == 0 {
            // The server sees what it did not write itself when its listing is a second old.
            std::thread::sleep(Duration::from_millis(1100));
        }
        Fate::Status(403)
    });
    assert_eq!(put(&proxy, &free, b"mine").expect("put"), Put::Exists, "of the same length");
    direct.delete(&free).expect("deleted");
    let proxy = refused(|_, _| Fate::Status(403));
    let error = put(&proxy, &free, b"none").expect_err("refused");
    assert_eq!((error.kind, asked.load(SeqCst)), (StorageErrorKind::Denied, 4));
    assert_eq!(put(&proxy, &taken, b"more").expect("put"), Put::Exists, "it is not even moved");
    assert_eq!(direct.get(&taken, 9).expect("it is there"), b"once");
    assert_eq!(left_beside(server), 0, "nothing stays beside");
    let old = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    for (name, is_old) in [("0000000000000001", true), ("0000000000000002", false)] {
        let file = std::fs::File::create(server.folder().join(".tmp").join(name)).expect("ours");
        file.set_modified(if is_old { old } else { SystemTime::now() }).expect("ours");
    }
    // The server remembers listings for a second.
    std::thread::sleep(Duration::from_millis(1500));
    let name = Name::new("gc/swept").expect("a name");
    assert_eq!(server.through(server.port).open().put_new(&name, b"x").expect("put"), Put::Created);
    assert_eq!(left_beside(server), 1, "what is a day old belongs to nobody");
}

fn left_beside(server: &WebDav) -> usize {
    std::fs::read_dir(server.folder().join(".tmp")).expect("it is there").count()
}

/// The first move is done and said to be refused; after it one look sees nothing.
fn stale(server: &WebDav) -> Proxy {
    let (moves, looks) = (AtomicU64::new(0), AtomicU64::new(0));
    Proxy::that_reads(server.port, move |_, head| {
        if head.starts_with("MOVE ") && moves.fetch_add(1, SeqCst) == 0 {
            return Fate::DoneBut(403);
        }
        let blind = head.starts_with("PROPFIND ") && head.contains("/gc/free ") && moves.load(SeqCst) == 1;
        if blind && looks.fetch_add(1, SeqCst) == 0 { Fate::Status(404) } else { Fate::Passes }
    })
}

/// A server that says 503 for a while is waited for, and given up in the end.
fn bursts(ceph: &Ceph) {
    let proxy = Proxy::new(ceph.port, |n, _| if n % 40 > 4 { Fate::Passes } else { Fate::Status(503) });
    let world = World::new(&ceph.through(proxy.port));
    world.source(1);
    world.ok("init --no-recovery-key");
    world.ok("backup @/src");
    world.ok("restore latest --target @/out");
    world.assert_restored("out");
    let proxy = Proxy::new(ceph.port, |_, _| Fate::Status(503));
    let ran = World::new(&ceph.through(proxy.port)).run("snapshots -o retry.seconds=2");
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("tried ") && ran.err.contains("503"), "{}", ran.err);
}

/// The gateway goes in the middle of a backup and comes back.
fn gateway_goes_and_comes(ceph: &Ceph) {
    let world = World::new(&ceph.place());
    world.ok("init --no-recovery-key");
    for version in 1..4 {
        world.source(version);
    }
    std::thread::scope(|scope| {
        let backup = scope.spawn({
            let command = world.command("backup @/src");
            move || {
                let mut command = command;
                command.output().expect("the program starts")
            }
        });
        std::thread::sleep(Duration::from_millis(300));
        ceph.pause();
        std::thread::sleep(Duration::from_secs(1));
        ceph.resume();
        let out = backup.join().expect("no panic");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    });
    // Once more with no patience: it fails clearly, and the next run completes.
    world.source(4);
    ceph.pause();
    let ran = world.run("backup @/src -o retry.seconds=1");
    ceph.resume();
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("127.0.0.1") && ran.err.contains("cannot be reached"), "{}", ran.err);
    world.ok("backup @/src");
    world.ok("check --read-data");
    world.ok("restore latest --target @/out");
    world.assert_restored("out");
}

/// A client that may delete nothing backs up and restores; a prune says that it may not.
fn deletes_are_refused(ceph: &Ceph) {
    let proxy = Proxy::new(ceph.port, |_, method| if method == "DELETE" { Fate::Status(403) } else { Fate::Passes });
    let world = World::new(&ceph.through(proxy.port));
    world.ok("init --no-recovery-key");
    world.source(1);
    world.ok("backup @/src");
    world.source(2);
    world.ok("backup @/src");
    let doctor = world.ok("doctor storage --json");
    assert!(doctor.contains("\"deletes\":null") && doctor.contains("\"collects\":true"), "{doctor}");
    world.ok("forget --keep-last 1");
    let ran = world.run("prune --now");
    assert!(ran.code != 0 || ran.err.is_empty(), "{}{}", ran.out, ran.err);
    world.ok("check --read-data");
    world.ok("restore latest --target @/out");
    world.assert_restored("out");
}

/// Wrong credentials, wrong bucket, a host that is not there.
fn wrong_places_and_names(ceph: &Ceph) {
    let right = ceph.place();
    World::new(&right).ok("init --no-recovery-key");
    let said = |place: &Place, line: &str| {
        let world = World::new(place);
        let ran = world.run(line);
        world.no_secrets();
        (ran.code, ran.err)
    };
    let with = |key, secret| Place {
        variables: vec![("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret)],
        ..right.clone()
    };
    for place in [with("NOBODY", "SECRETOFNOBODY"), with(services::KEY, "WRONGSECRET")] {
        let (code, err) = said(&place, "snapshots");
        assert_eq!(code, 1, "{err}");
        assert!(err.contains("check the credentials"), "{err}");
    }
    let nobody = Place { variables: vec![("AWS_EC2_METADATA_DISABLED", "true")], ..right.clone() };
    let (code, err) = said(&nobody, "snapshots");
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("credentials"), "{err}");
    let elsewhere = Place { url: right.url.replace(services::BUCKET, "no-such-bucket"), ..right.clone() };
    for line in ["snapshots", "init --no-recovery-key"] {
        let (code, err) = said(&elsewhere, line);
        assert_eq!(code, 10, "{err}");
        assert!(err.contains("name of the bucket"), "{err}");
    }
    let gone = Place {
        url: format!("s3:http://127.0.0.1:{}/bucket/x", services::free_port()),
        options: vec!["retry.seconds=1".into()],
        ..right.clone()
    };
    let (code, err) = said(&gone, "snapshots");
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("cannot be reached") && err.contains("tried "), "{err}");
    let secret = Place { url: "s3:http://ME:HUNTER2@127.0.0.1/bucket".into(), ..right.clone() };
    let (code, err) = said(&secret, "snapshots");
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("AWS_SECRET_ACCESS_KEY") && !err.contains("HUNTER2"), "{err}");
    // After all that nothing is lost.
    World::new(&right).ok("check");
}

/// What can happen to a connection of `ssh`.
pub fn over_sftp(sshd: &Sshd) {
    let place = sshd.place();
    let folder = place.url.split_once("//").and_then(|(_, rest)| rest.split_once('/')).expect("a folder").1.to_owned();
    let world = World::new(&place);
    world.ok("init --no-recovery-key");
    world.source(1);
    world.ok("backup @/src");
    let said = |place: &Place, line: &str| {
        let ran = World::new(place).run(line);
        (ran.code, ran.err)
    };
    let (code, err) = said(&sshd.place_with("stranger", "known", &folder), "snapshots");
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("Permission denied") && err.contains("check the credentials"), "{err}");
    let (code, err) = said(&sshd.place_with("user", "nobody", &folder), "snapshots");
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("Host key verification failed"), "{err}");
    let (code, err) = said(&sshd.place_with("user", "known", "/nonexistent/folder"), "snapshots");
    assert_eq!(code, 10, "{err}");
    let mut gone = place.clone();
    gone.url = format!("sftp://127.0.0.1:{}/{folder}", services::free_port());
    gone.options.push("retry.seconds=1".into());
    let (code, err) = said(&gone, "snapshots");
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("Connection refused") && err.contains("tried "), "{err}");
    // The program that is run in place of ssh comes from here, and its failure is told.
    let mut other = place.clone();
    other.options.push("sftp.command=echo no such luck >&2; exit 1".into());
    let (code, err) = said(&other, "snapshots -o retry.seconds=1");
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("no such luck"), "{err}");
    broken_lines(sshd);
    world.ok("backup @/src");
    world.ok("check --read-data");
}

/// Connections that end between requests and under them: what was under way is done again.
fn broken_lines(sshd: &Sshd) {
    let storage = sshd.place().open();
    let name = |n: u32| Name::new(format!("packs/ab/{n}")).expect("a name");
    storage.put_new(&name(0), b"before").expect("put");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // With enough time between for something to get through on a busy machine.
            for _ in 0..4 {
                std::thread::sleep(Duration::from_secs(1));
                end_sessions(sshd);
            }
            stop.store(true, SeqCst);
        });
        let mut n = 0;
        while n < 20 || !stop.load(SeqCst) {
            n += 1;
            let bytes = vec![n as u8; 300_000];
            assert_eq!(storage.put_new(&name(n), &bytes).expect("put"), Put::Created, "{n}");
            assert_eq!(storage.get(&name(n), 1 << 20).expect("got"), bytes, "{n}");
        }
    });
    assert!(storage.list("").expect("listed").len() > 20);
    let missing = storage.get(&Name::new("no").expect("a name"), 1).expect_err("it is not there");
    assert_eq!(missing.kind, StorageErrorKind::NotFound);
}

/// End what the server forked, by its process ids.
fn end_sessions(sshd: &Sshd) {
    for pid in sshd.sessions() {
        let _ = std::process::Command::new("kill").arg(pid.to_string()).stderr(std::process::Stdio::null()).status();
    }
}
