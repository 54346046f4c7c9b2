//! Repositories elsewhere, on real servers: each is installed by `tests/run`, started here on
//! loopback with a folder of its own, and ended by its own process ids.
//!
//! Where a server is not installed its tests say so and pass, unless `ORLOP_SERVICES_REQUIRED` is
//! set, as `tests/run` does.

#[path = "offsite/faults.rs"]
mod faults;
#[path = "offsite/proxy.rs"]
mod proxy;
#[path = "offsite/services.rs"]
mod services;
#[path = "offsite/world.rs"]
mod world;

use orlop::storage::probe::{self, Findings};
use orlop::storage::testing::{contract, contract_without_races};
use services::{Azurite, Ceph, Place, RcloneRemote, RcloneS3, Service, Sshd, WebDav};
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
        assert!(place.open().list("").expect("listed").is_empty(), "nothing of the probe stays");
        println!("{}: {found:?}", place.url);
        found
    };
    life(&service.place());
    found
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
        }
    }
    let doctor = world.ok("doctor storage --json");
    assert!(doctor.contains(&format!("\"collects\":{}", place.collects)), "{doctor}");
    world.ok("doctor storage");
    world.ok("check");
    world.no_secrets();
}

#[test]
fn s3_of_ceph() {
    let Some(ceph) = Ceph::start() else { return };
    let found = suite(&ceph);
    assert!(found.is_exclusive() && found.is_fresh() && found.ranges && found.receive_times, "{found:?}");
    assert_eq!((found.deletes, found.names), (Some(true), true));
    assert!(found.clock_ahead.is_some_and(|s| s.abs() <= 2), "{found:?}");
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
}

#[test]
fn sftp_of_openssh() {
    let Some(sshd) = Sshd::start() else { return };
    let found = suite(&sshd);
    assert!(found.is_exclusive() && found.is_fresh() && found.ranges && found.receive_times, "{found:?}");
}

#[test]
fn webdav_of_rclone() {
    let Some(server) = WebDav::start() else { return };
    let found = suite(&server);
    assert!(found.is_fresh() && found.ranges && found.taken_once, "{found:?}");
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
