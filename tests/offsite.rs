//! Repositories elsewhere, on real servers: each is installed by `tests/run`, started here on
//! loopback with a folder of its own, and ended by its own process ids.
//!
//! Where a server is not installed its tests say so and pass, unless `ORLOP_SERVICES_REQUIRED` is
//! set, as `tests/run` does.

#[path = "offsite/faults.rs"]
mod faults;
#[path = "offsite/kept.rs"]
mod kept;
#[path = "offsite/link.rs"]
mod link;
#[path = "offsite/past.rs"]
mod past;
#[path = "offsite/proxy.rs"]
mod proxy;
#[path = "offsite/services.rs"]
mod services;
#[path = "offsite/swift.rs"]
mod swift;
#[path = "offsite/world.rs"]
mod world;

use orlop::storage::probe::{self, Findings};
use orlop::storage::testing::{contract, contract_without_races};
use services::{Azurite, Ceph, Place, RcloneRemote, RcloneS3, Service, Sshd, Swift, WebDav};
use std::time::{Duration, Instant};
use world::World;

/// What every storage has to do: the contract, the probe, and the life of a repository.
fn suite(service: &dyn Service) -> Findings {
    match service.place().exclusive {
        true => contract(&|| service.place().open()),
        false => contract_without_races(&|| service.place().open()),
    }
    let found = {
        let place = service.place();
        let found = probe::probe(&*place.open(), &*place.open(), &|| orlop::sys::now().sec).expect("probed");
        nothing_stays(&place, &found);
        println!("{}: {found:?}", place.url);
        found
    };
    life(&service.place());
    found
}

/// Of the probe. Servers that promise nothing may list for a moment what is deleted.
fn nothing_stays(place: &Place, found: &Findings) {
    let mut left = place.open().list("").expect("listed");
    for _ in 0..50 {
        if left.is_empty() || place.exclusive {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        left = place.open().list("").expect("listed");
    }
    assert!(left.is_empty(), "of the probe stays: {left:?}, {found:?}");
}

/// Init, backup, changed backup, restore compared, check, forget, prune.
fn life(place: &Place) {
    let world = World::new(place);
    let second = world.run("init --no-recovery-key");
    assert_eq!(second.code, 0, "{}", second.err);
    assert_eq!(world.run("init --no-recovery-key").code, 1, "there is one already");
    world.source(1);
    world.ok("backup @/src");
    world.source(2);
    world.ok("backup @/src");
    world.ok("restore latest --target @/out");
    world.assert_restored("out");
    world.ok("check --read-data");
    world.ok("forget --keep-last 1");
    let prune = world.run("prune --now");
    match place.collects {
        true => {
            assert_eq!(prune.code, 0, "{}", prune.err);
            world.ok("check --read-data");
            world.ok("restore latest --target @/out2");
            world.assert_restored("out2");
        }
        false => {
            assert_eq!(prune.code, 1, "{}", prune.out);
            assert!(prune.err.contains("cannot make an object exclusively"), "{}", prune.err);
            assert!(prune.err.contains("doctor storage"), "{}", prune.err);
            world.ok("forget --keep-last 1 --prune");
            let lost =
                world.run("forget --accept-lost snapshots/00000000000000000000000000000000/0000000000000001 --prune");
            assert_eq!((lost.code, lost.out.as_str()), (1, ""), "it asks before it gives up: {}", lost.err);
        }
    }
    let doctor = world.ok("doctor storage --json");
    assert!(doctor.contains(&format!("\"collects\":{}", place.collects)), "{doctor}");
    world.ok("doctor storage");
    world.ok("check");
    asks_little(&world, place);
    world.no_secrets();
}

/// An unchanged backup with a warm cache. `--as-path`, since folders on the way to the source change.
fn asks_little(world: &World, place: &Place) {
    let line = "backup @/src --as-path /src --json";
    world.ok(line);
    world.ok(line);
    let said = world.ok(line);
    let summary: serde_json::Value = serde_json::from_str(said.lines().last().expect("a summary")).expect("JSON");
    let requests = summary["requests"].as_array().expect("a list");
    let sum: u64 = requests.iter().filter_map(|r| r["requests"].as_u64()).sum();
    println!("{}: an unchanged backup makes {sum} requests", place.url);
    // On a disk that is nearly full nothing is kept.
    if !world.path("home/.cache/orlop/objects").exists() {
        return;
    }
    let listed_at_once = ["s3:", "azure:", "swift:"].iter().any(|scheme| place.url.starts_with(scheme));
    let most = match (listed_at_once, place.exclusive) {
        (true, true) => 7,
        // What was written is read once, since another one may have written it, too.
        (true, false) => 13,
        (false, _) => 40,
    };
    assert!(sum <= most, "{sum} requests: {requests:?}");
}

/// Over a line on which every answer takes long, at the speed of the slow ones among them.
#[test]
fn what_goes_over_a_slow_line_comes_back() {
    let Some(server) = RcloneS3::start() else { return };
    let link = server.behind(Duration::from_millis(100), 50e6);
    let world = World::new(&server.through(&link));
    world.ok("init --no-recovery-key");
    world.source(1);
    let began = Instant::now();
    world.ok("backup @/src");
    println!("{:?}, {:?} bytes up and down", began.elapsed(), link.carried());
    let before = link.carried().1;
    world.ok("restore latest --target @/out --no-cache");
    world.assert_restored("out");
    let down = link.carried().1 - before;
    assert!(down < 7 << 20, "{down} bytes for 5 MiB and what is around them");
}

/// There and back: a mirror in parts, filled later, and from it a repository with other keys here.
fn copies(place: &Place) {
    let world = World::new(place);
    let url = &place.url;
    world.ok("-r @/here init --no-recovery-key");
    for version in 1..3 {
        world.source(version);
        world.ok("-r @/here backup @/src");
    }
    world.ok("init --no-recovery-key --mirror-of @/here");
    let first = world.ok("copy --from-repo @/here latest --json");
    assert!(first.contains("\"hollow_statements\":1,"), "{first}");
    world.ok("check --read-data");
    let second = world.ok("copy --from-repo @/here --verify --json");
    assert!(second.contains("\"copied_snapshots\":1,"), "{second}");
    world.ok("check --read-data");
    world.ok(&format!("-r @/back init --no-recovery-key --copy-chunker-params --from-repo {url}"));
    world.ok(&format!("-r @/back copy --from-repo {url} --verify"));
    world.ok("-r @/back check --read-data");
    world.ok("-r @/back restore latest --target @/out");
    world.assert_restored("out");
    let again = world.ok(&format!("-r @/here copy --from-repo {url} --json"));
    assert!(again.contains("\"copied_snapshots\":0,"), "{again}");
    world.no_secrets();
}

/// One gateway for two interfaces, since it takes long to start.
#[test]
fn s3_and_swift_of_ceph() {
    let Some(ceph) = Ceph::start() else { return };
    std::thread::scope(|scope| {
        scope.spawn(|| swift_of(&ceph));
        s3_of(&ceph);
    });
}

fn swift_of(ceph: &Ceph) {
    let found = suite(&Swift(ceph));
    assert!(found.is_fresh() && found.ranges && found.receive_times && found.names, "{found:?}");
    assert_eq!(found.deletes, Some(true));
    swift::tokens_end(ceph);
    swift::too_much(ceph);
    swift::nobody_knows_them(ceph);
    swift::no_such_container(ceph);
    swift::by_somebody_elses_token(ceph);
    swift::by_keystone(ceph);
}

fn s3_of(ceph: &Ceph) {
    let found = suite(ceph);
    copies(&ceph.place());
    assert!(found.is_exclusive() && found.is_fresh() && found.ranges && found.receive_times, "{found:?}");
    assert_eq!((found.deletes, found.names), (Some(true), true));
    assert!(found.clock_ahead.is_some_and(|s| s.abs() <= 5), "{found:?}");
    // The same bucket as OpenDAL spells it.
    let mut place = ceph.place();
    place.url = ceph.opendal_url(&place.url);
    place.variables =
        vec![("OPENDAL_S3_ACCESS_KEY_ID", services::KEY), ("OPENDAL_S3_SECRET_ACCESS_KEY", services::SECRET)];
    contract(&|| {
        for l in place.open().list("").expect("listed") {
            place.open().delete(&l.name).expect("deleted");
        }
        place.open()
    });
}

#[test]
fn s3_that_keeps_versions() {
    let Some(ceph) = Ceph::start() else { return };
    past::attacked(&ceph);
    past::many_versions(&ceph);
    past::nothing_is_kept(&ceph);
}

#[test]
fn s3_that_deletes_nothing() {
    let Some(ceph) = Ceph::start() else { return };
    kept::locked(&ceph, "GOVERNANCE", "md5");
    kept::locked(&ceph, "COMPLIANCE", "crc32c");
    kept::refused(&ceph);
    kept::append_only(&ceph);
}

#[test]
#[ignore = "takes minutes; tests/run --long"]
fn s3_that_fails() {
    let Some(ceph) = Ceph::start() else { return };
    faults::over_s3(&ceph);
}

#[test]
#[ignore = "takes minutes; tests/run --long"]
fn sftp_that_fails() {
    let Some(sshd) = Sshd::start() else { return };
    faults::over_sftp(&sshd);
}

#[test]
fn s3_of_rclone() {
    let Some(server) = RcloneS3::start() else { return };
    suite(&server);
    copies(&server.place());
}

#[test]
fn sftp_of_openssh() {
    let Some(sshd) = Sshd::start() else { return };
    let found = suite(&sshd);
    copies(&sshd.place());
    assert!(found.is_exclusive() && found.is_fresh() && found.ranges && found.receive_times, "{found:?}");
}

#[test]
fn webdav_of_rclone() {
    let Some(server) = WebDav::start() else { return };
    let found = suite(&server);
    assert!(found.is_fresh() && found.ranges && found.taken_once, "{found:?}");
}

#[test]
fn webdav_that_refuses() {
    let Some(server) = WebDav::start() else { return };
    faults::over_webdav(&server);
}

#[test]
fn whatever_rclone_reaches() {
    let Some(server) = RcloneRemote::start() else { return };
    life(&server.place());
}

#[test]
fn azure_of_azurite() {
    let Some(server) = Azurite::start() else { return };
    let found = suite(&server);
    assert!(found.is_exclusive() && found.is_fresh() && found.ranges, "{found:?}");
}

/// The page on storages has every option, by the words of the program.
#[test]
fn options_are_on_the_page() {
    let page = include_str!("../src/docs/storages.md");
    for (name, what) in orlop::storage::Options::KNOWN {
        assert!(page.contains(&format!("| `{name}` | {what} |")), "{name}");
    }
}
