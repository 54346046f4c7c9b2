//! Who asks Swift, and for how long that counts.

use super::proxy::{Fate, Proxy, message};
use super::services::{BUCKET, Ceph, Place, SWIFT_KEY, SWIFT_USER};
use super::world::{Ran, World};
use orlop::model::Name;
use orlop::storage::Put;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

fn run(place: &Place, line: &str) -> Ran {
    let world = World::new(place);
    let ran = world.run(line);
    world.no_secrets();
    ran
}

/// A repository's first day, with a few requests for each token.
fn short_life(place: &Place) {
    let world = World::new(place);
    world.source(1);
    world.ok("init --no-recovery-key");
    world.ok("backup @/src");
    world.ok("check --read-data");
    world.ok("restore latest --target @/out");
    world.assert_restored("out");
    world.no_secrets();
}

/// What came with each token.
type Uses = Arc<Mutex<BTreeMap<String, u32>>>;

/// Says of a request that has a token how often that one came before; logins have none.
fn count(uses: &Uses, head: &str) -> Option<u32> {
    let token = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("x-auth-token").then(|| value.to_owned())
    })?;
    let mut uses = uses.lock().expect("no panic");
    let before = uses.entry(token).or_default();
    *before += 1;
    Some(*before - 1)
}

/// Tokens that end in the middle: after a few requests, while many wait, and at once.
pub fn tokens_end(ceph: &Ceph) {
    let uses = Uses::default();
    let counted = Arc::clone(&uses);
    let proxy = Proxy::that_reads(ceph.port, move |_, head| match count(&counted, head) {
        Some(before) if before >= 4 => Fate::Status(401),
        _ => Fate::Passes,
    });
    let place = Place { options: vec!["swift.connections=1".into()], ..ceph.swift(proxy.port) };
    short_life(&place);
    let uses = uses.lock().expect("no panic");
    let ended = uses.values().filter(|times| **times == 5).count();
    assert!(ended > 10 && uses.values().all(|times| *times <= 5), "a token that ended is not tried again: {uses:?}");
    one_asks_for_all(ceph);
    // A server that never takes what it gives out is not asked for ever.
    let proxy = Proxy::that_reads(ceph.port, |_, head| match count(&Uses::default(), head) {
        Some(_) => Fate::Status(401),
        None => Fate::Passes,
    });
    let ran = run(&ceph.swift(proxy.port), "snapshots");
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("status 401") && ran.err.contains("check the credentials"), "{}", ran.err);
    let asked = proxy.requests.load(std::sync::atomic::Ordering::SeqCst);
    assert!(asked <= 4, "two logins, two requests: {asked}");
}

/// When many find at once that their token has ended, one gets the next.
fn one_asks_for_all(ceph: &Ceph) {
    let (uses, ended) = (Uses::default(), Arc::new(Mutex::new(BTreeSet::<String>::new())));
    let (counted, over) = (Arc::clone(&uses), Arc::clone(&ended));
    let proxy = Proxy::that_reads(ceph.port, move |_, head| {
        count(&counted, head);
        let over = over.lock().expect("no panic");
        if over.iter().any(|token| head.contains(token)) { Fate::Status(401) } else { Fate::Passes }
    });
    let storage = ceph.swift(proxy.port).open();
    let name = |n: u32| Name::new(format!("packs/ab/{n}")).expect("a name");
    assert_eq!(storage.put_new(&name(0), b"before").expect("put"), Put::Created);
    let first: Vec<String> = uses.lock().expect("no panic").keys().cloned().collect();
    assert_eq!(first.len(), 1, "one token was enough");
    ended.lock().expect("no panic").extend(first);
    let start = std::sync::Barrier::new(12);
    std::thread::scope(|scope| {
        for n in 1..13 {
            let (storage, start) = (&storage, &start);
            scope.spawn(move || {
                start.wait();
                assert_eq!(storage.put_new(&name(n), &[n as u8; 1000]).expect("put"), Put::Created);
            });
        }
    });
    let listed = storage.list("packs/").expect("listed");
    assert!(listed.len() == 13 && listed.iter().all(|l| l.tag.is_some()), "{listed:?}");
    assert_eq!(uses.lock().expect("no panic").len(), 2, "one more token was enough");
}

/// A server that has too much to do, also where tokens are had, is asked again.
pub fn too_much(ceph: &Ceph) {
    let proxy = Proxy::new(ceph.port, |n, _| match n {
        1 => Fate::Status(503),
        _ if n.is_multiple_of(7) => Fate::Status(498),
        _ if n.is_multiple_of(11) => Fate::Status(429),
        _ => Fate::Passes,
    });
    short_life(&ceph.swift(proxy.port));
}

/// Wrong keys, wrong users, none at all.
pub fn nobody_knows_them(ceph: &Ceph) {
    let right = ceph.swift(ceph.port);
    let auth = right.variables[0];
    for (user, key) in [(SWIFT_USER, "WRONGSECRET"), ("nobody:swift", SWIFT_KEY)] {
        let place = Place { variables: vec![auth, ("ST_USER", user), ("ST_KEY", key)], ..right.clone() };
        for line in ["snapshots", "init --no-recovery-key"] {
            let ran = run(&place, line);
            assert_eq!(ran.code, 1, "{}", ran.err);
            assert!(ran.err.contains("does not take ST_USER and ST_KEY"), "{}", ran.err);
            assert!(ran.err.contains("check the credentials"), "{}", ran.err);
        }
    }
    let ran = run(&Place { variables: vec![auth], ..right.clone() }, "snapshots");
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("set ST_AUTH, ST_USER and ST_KEY"), "{}", ran.err);
}

pub fn no_such_container(ceph: &Ceph) {
    let right = ceph.swift(ceph.port);
    let elsewhere = Place { url: right.url.replace(BUCKET, "no-such-container"), ..right };
    for line in ["snapshots", "init --no-recovery-key"] {
        let ran = run(&elsewhere, line);
        assert_eq!(ran.code, 10, "{}", ran.err);
        assert!(ran.err.contains("has no such container"), "{}", ran.err);
        assert!(ran.err.contains("name of the bucket"), "{}", ran.err);
    }
}

/// Where objects are, and a token for them.
fn login(ceph: &Ceph) -> (String, String) {
    let mut gateway = TcpStream::connect(("127.0.0.1", ceph.port)).expect("it listens");
    let host = format!("127.0.0.1:{}", ceph.port);
    let ask = format!(
        "GET /auth/v1.0 HTTP/1.1\r\nHost: {host}\r\nX-Auth-User: {SWIFT_USER}\r\nX-Auth-Key: {SWIFT_KEY}\r\n\
         Connection: close\r\n\r\n"
    );
    gateway.write_all(ask.as_bytes()).expect("asked");
    let mut answer = String::new();
    gateway.read_to_string(&mut answer).expect("an answer");
    let header = |name: &str| {
        let value = answer.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)));
        value.unwrap_or_else(|| panic!("no {name} in {answer}")).1.to_owned()
    };
    (header("X-Storage-Url"), header("X-Auth-Token"))
}

/// A token that another program got.
pub fn by_somebody_elses_token(ceph: &Ceph) {
    let (url, token) = login(ceph);
    let place = |token| Place {
        variables: vec![("OS_STORAGE_URL", url.clone().leak()), ("OS_AUTH_TOKEN", token)],
        ..ceph.swift(ceph.port)
    };
    short_life(&place(token.leak()));
    let ran = run(&place("ended-or-never-given"), "snapshots");
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("does not take OS_AUTH_TOKEN, or not any more"), "{}", ran.err);
}

/// What stands in for Keystone: it knows a password and a secret, and gives out tokens of the gateway's.
fn keystone(ceph: &Ceph) -> (u16, Arc<Mutex<Vec<serde_json::Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("a port").port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (url, token) = login(ceph);
    let heard = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let Ok(Some((head, body))) = message(&mut client) else { continue };
            let is_right =
                head.starts_with("POST /v3/auth/tokens ") && String::from_utf8_lossy(&body).contains(SWIFT_KEY);
            heard.lock().expect("no panic").push(serde_json::from_slice(&body).expect("JSON"));
            let catalog = serde_json::json!([
                { "type": "identity", "endpoints": [{ "interface": "public", "region": "one", "url": "http://no" }] },
                { "type": "object-store", "endpoints": [{ "interface": "public", "region": "one", "url": url }] },
            ]);
            let said = serde_json::json!({ "token": { "methods": ["password"], "catalog": catalog } }).to_string();
            let (status, token) = if is_right { ("201 Created", token.as_str()) } else { ("401 Unauthorized", "") };
            let answer = format!(
                "HTTP/1.1 {status}\r\nX-Subject-Token: {token}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{said}",
                said.len()
            );
            let _ = client.write_all(answer.as_bytes());
        }
    });
    (port, asked)
}

/// A password, an application's credential, and what Keystone does not know.
pub fn by_keystone(ceph: &Ceph) {
    let (port, asked) = keystone(ceph);
    let place = |variables: &[(&'static str, &'static str)]| Place {
        variables: [&[("OS_AUTH_URL", &*format!("http://127.0.0.1:{port}/v3").leak())], variables].concat(),
        ..ceph.swift(ceph.port)
    };
    let password = [("OS_USERNAME", "me"), ("OS_PASSWORD", SWIFT_KEY), ("OS_PROJECT_NAME", "box")];
    short_life(&place(&[password.as_slice(), &[("OS_REGION_NAME", "one")]].concat()));
    let first = asked.lock().expect("no panic")[0].clone();
    assert_eq!(first["auth"]["identity"]["password"]["user"]["name"], "me");
    assert_eq!(first["auth"]["scope"]["project"]["name"], "box");
    let credential = [("OS_APPLICATION_CREDENTIAL_ID", "7"), ("OS_APPLICATION_CREDENTIAL_SECRET", SWIFT_KEY)];
    World::new(&place(&credential)).ok("init --no-recovery-key");
    for (variables, why) in [
        ([password[0], ("OS_PASSWORD", "WRONGSECRET"), password[2]], "does not take OS_USERNAME and OS_PASSWORD"),
        ([password[0], password[1], ("OS_REGION_NAME", "two")], "no store of objects in the region two"),
    ] {
        let ran = run(&place(&variables), "snapshots");
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(ran.err.contains(why), "{}", ran.err);
    }
    let old = Place { variables: vec![("OS_AUTH_URL", "http://127.0.0.1:1/v2.0")], ..ceph.swift(ceph.port) };
    let ran = run(&old, "snapshots");
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("version 2 is not spoken") && ran.err.contains("S3 interface"), "{}", ran.err);
}
