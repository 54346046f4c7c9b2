//! What can be said of looking back, and of policies for buckets, without a bucket.

use crate::world::World;

#[test]
fn a_folder_has_no_past() {
    let world = World::with_repository();
    for line in ["snapshots", "restore latest --target @/out", "check", "rescue", "rescue --dry-run"] {
        let ran = world.run(&format!("{line} --as-of 2026-01-01T00:00:00Z"));
        assert_eq!(ran.code, 1, "{line}: {}", ran.out);
        assert!(ran.err.contains("error[unsupported]") && ran.err.contains("keeps no older versions"), "{}", ran.err);
        assert!(ran.err.contains("versioning"), "{}", ran.err);
    }
}

#[test]
fn what_writes_does_not_work_in_the_past() {
    let world = World::with_repository();
    let lines = ["backup src", "forget latest", "prune", "undelete", "tag --set a", "init", "key passwd", "copy"];
    for line in lines.iter().chain(&["snapshots accept-time", "doctor storage", "merge latest latest~1"]) {
        let ran = world.run(&format!("{line} --as-of 2026-01-01"));
        assert!(ran.code == 1 && ran.err.contains("does not work in the past"), "{line}: {}", ran.err);
        assert!(ran.err.contains("--as-of is for snapshots"), "{}", ran.err);
    }
    let ran = world.run("rescue");
    assert!(ran.code == 1 && ran.err.contains("with --as-of"), "{}", ran.err);
    let ran = world.run("snapshots --as-of yesterday");
    assert!(ran.code == 1 && ran.err.contains("2012-11-01 22:08:41"), "{}", ran.err);
}

#[test]
fn a_policy_names_the_bucket_and_the_prefix() {
    let world = World::new();
    let said = world.ok("-r s3:https://s3.example.org/box/a/orlop doctor policy --for-client arn:aws:iam::1:user/web \
         --for-owner arn:aws:iam::1:user/anna");
    let policy: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(policy["Version"], "2012-10-17");
    let of = |id: &str| {
        let all = policy["Statement"].as_array().expect("statements");
        all.iter().find(|s| s["Sid"] == id).unwrap_or_else(|| panic!("{id}")).clone()
    };
    let made = of("ClientsCreate");
    let made: Vec<&str> = made["Resource"].as_array().expect("a list").iter().filter_map(|r| r.as_str()).collect();
    let expected = orlop::format::names::prefix::OF_CLIENTS.map(|kind| format!("arn:aws:s3:::box/a/orlop/{kind}*"));
    assert_eq!(made, expected);
    assert!(said.contains("s3:if-none-match") && of("OwnersList")["Effect"] == "Allow");
    let without = world.ok("-r s3:h/box doctor policy --for-client web --without-condition");
    assert!(!without.contains("if-none-match") && !without.contains("Owners"), "{without}");
    assert!(without.contains("arn:aws:s3:::box/packs/*"), "{without}");
    assert_eq!(world.run("-r s3:h/box doctor policy").code, 1, "of whom?");
    let ran = world.run("-r @/folder doctor policy --for-client web");
    assert!(ran.code == 1 && ran.err.contains("error[unsupported]"), "{}", ran.err);
}
