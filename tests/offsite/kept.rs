//! Buckets of which nothing goes: versions under a lock, deletions that are refused, and a policy under which a
//! machine only adds.

use super::past::{moment, prune_or_be_told, versions_of};
use super::proxy::{Fate, Proxy};
use super::services::{Ceph, MACHINE, OWNER, Place, s3};
use super::world::World;
use orlop::format::names::prefix;
use orlop::model::Name;
use orlop::storage::{Listed, Put, Storage, StorageErrorKind};

/// The path of an object in an URL.
fn path_of(place: &Place, name: &Name) -> String {
    let (_, path) = place.url.split_once("//").and_then(|(_, rest)| rest.split_once('/')).expect("a bucket");
    format!("{path}/{name}")
}

/// Init, backups, forget, prune, with every version locked for a day. A deletion only marks: what was there before is
/// still there for whoever looks back, and comes back.
pub fn locked(ceph: &Ceph, mode: &str, checksum: &str) {
    let place = ceph.locked(mode);
    let place = Place { options: [place.options, vec![format!("s3.checksum={checksum}")]].concat(), ..place };
    let (world, storage) = (World::new(&place), place.open());
    world.ok("init --no-recovery-key");
    for version in 1..3 {
        world.source(version);
        world.ok("backup @/src");
    }
    let (when, before) = (moment(&*storage), storage.list("packs/").expect("listed"));
    std::fs::remove_file(world.path("src/large1")).expect("ours");
    world.ok("backup @/src");
    world.ok("forget --keep-last 1");
    if prune_or_be_told(&world) {
        assert!(storage.list("packs/").expect("listed").len() < before.len(), "{mode}: what is locked is marked");
    }
    world.ok("check --read-data");
    world.ok("restore latest --target @/out");
    world.assert_restored("out");
    for l in &before {
        storage.delete(&l.name).expect("marked");
    }
    locks_hold(ceph, &place, &before, &storage.list("packs/").expect("listed"));
    world.ok(&format!("check --read-data --as-of {when}"));
    let listed = world.ok(&format!("snapshots --json --as-of {when}"));
    assert_eq!(listed.matches("\"short_id\"").count(), 2, "{listed}");
    world.ok(&format!("rescue --as-of {when}"));
    world.ok("check --read-data");
    world.ok("restore latest --target @/again");
    world.assert_restored("again");
}

/// The versions of what was deleted are there, and not even the owner can delete them.
fn locks_hold(ceph: &Ceph, place: &Place, before: &[Listed], after: &[Listed]) {
    let gone = before.iter().find(|l| after.iter().all(|a| a.name != l.name)).expect("something went");
    let versions = versions_of(place).versions("packs/").expect("listed");
    let kept = versions.iter().find(|v| v.name == gone.name && !v.deleted).expect("it is kept");
    let path = format!("{}?versionId={}", path_of(place, &gone.name), kept.id);
    let (code, said) = s3(ceph.port, "DELETE", &path, OWNER, &[]);
    assert_eq!(code, 403, "{said}");
    assert!(versions_of(place).get_version(kept).is_ok());
}

/// A prune goes on where deletions are refused, says what stays, and a later one deletes it.
pub fn refused(ceph: &Ceph) {
    let proxy = Proxy::new(ceph.port, |_, method| if method == "DELETE" { Fate::Status(403) } else { Fate::Passes });
    let through = ceph.through(proxy.port);
    let direct = Place { url: through.url.replace(&proxy.port.to_string(), &ceph.port.to_string()), ..through.clone() };
    let (world, storage) = (World::new(&through), direct.open());
    world.ok("init --no-recovery-key");
    for version in 1..3 {
        world.source(version);
        world.ok("backup @/src");
    }
    std::fs::remove_file(world.path("src/large1")).expect("ours");
    world.ok("backup @/src");
    world.ok("forget --keep-last 1");
    let packs = || storage.list("packs/").expect("listed").len();
    let before = packs();
    let said = world.ok("prune --now");
    assert!(said.contains("would not delete") && said.contains("later runs"), "{said}");
    assert!(packs() >= before, "nothing went");
    world.ok("check --read-data");
    world.ok(&format!("-r {} prune --now", direct.url));
    assert!(packs() < before, "it goes when it may");
    world.ok("check --read-data");
    world.ok("restore latest --target @/out");
    world.assert_restored("out");
}

/// What `doctor policy` prints lets a machine back up, restore and check, and do nothing else; the owner prunes.
pub fn append_only(ceph: &Ceph) {
    // Its own, since a policy is one of a whole bucket.
    let owners = ceph.unversioned();
    let machines = Place {
        variables: vec![("AWS_ACCESS_KEY_ID", MACHINE.0), ("AWS_SECRET_ACCESS_KEY", MACHINE.1)],
        ..owners.clone()
    };
    let (owner, machine) = (World::new(&owners), World::new(&machines));
    let (own, theirs) = (owners.open(), machines.open());
    let key = machine.path("home/web.key").display().to_string();
    owner.ok("init --no-recovery-key");
    owner.ok(&format!("key add --role client --client web --new-key-file {key}"));
    assert_eq!(machine.run(&format!("--key-file {key} snapshots")).code, 1, "it may not even look");
    let policy = owner
        .ok("doctor policy --for-client arn:aws:iam:::user/machine --for-owner arn:aws:iam:::user/orlop \
         --without-condition");
    let bucket = path_of(&owners, &Name::new("x").expect("a name"));
    let bucket = bucket.split('/').next().expect("a bucket");
    let (code, said) = s3(ceph.port, "PUT", &format!("{bucket}?policy"), OWNER, &[&policy]);
    assert!(matches!(code, 200 | 204), "{said}{policy}");
    let run = |line: &str| machine.ok(&format!("--key-file {key} {line}"));
    for version in 1..3 {
        machine.source(version);
        let said = run("backup @/src --json");
        assert!(!said.contains("not-merged"), "{said}");
    }
    run("restore latest --target @/out");
    machine.assert_restored("out");
    run("check --read-data");
    run("tag --set daily latest");
    may_not(ceph, &*own, &*theirs, bucket);
    for line in ["forget --keep-last 1", "prune"] {
        let ran = machine.run(&format!("--key-file {key} {line}"));
        assert!(ran.code == 1 && ran.err.contains("error[forbidden]"), "{line}: {}", ran.err);
    }
    owner.ok("check --read-data");
    owner.ok("forget --keep-last 1");
    owner.ok("prune --now");
    run("restore latest --target @/again");
    machine.assert_restored("again");
    machine.no_secrets();
}

/// Whoever has the credentials of the machine, and leaves the program aside. That it cannot overwrite what it may make
/// is a condition that this server does not know.
fn may_not(ceph: &Ceph, own: &dyn Storage, theirs: &dyn Storage, bucket: &str) {
    let all = own.list("").expect("listed");
    for l in &all {
        let refused = theirs.delete(&l.name).expect_err("a deletion");
        assert_eq!(refused.kind, StorageErrorKind::Denied, "{refused}");
        let name = l.name.as_str();
        if !prefix::OF_CLIENTS.iter().any(|kind| name.starts_with(kind)) {
            assert_eq!(theirs.heal(&l.name, b"x").expect_err("a change").kind, StorageErrorKind::Denied, "{name}");
        }
        if theirs.put_new(&l.name, b"x").is_ok_and(|put| put == Put::Created) {
            panic!("{name} was made twice");
        }
    }
    for name in ["gc/00000000000000ff", "config/00000002", "keys/x", "tombstones/a/b", "elsewhere/x"] {
        let refused = theirs.put_new(&Name::new(name).expect("a name"), b"x").expect_err("a new object");
        assert_eq!(refused.kind, StorageErrorKind::Denied, "{name}");
    }
    assert_eq!(own.list("").expect("listed"), all);
    for (method, path) in
        [("DELETE", bucket), ("DELETE", &format!("{bucket}?policy")), ("PUT", &format!("{bucket}?versioning"))]
    {
        let body: &[&str] = if method == "PUT" { &["<VersioningConfiguration/>"] } else { &[] };
        let (code, said) = s3(ceph.port, method, path, MACHINE, body);
        assert_eq!(code, 403, "{method} {path}: {said}");
    }
}
