//! Objects that are not where they belong, or that only a later orlop understands.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use orlop::format::armour;

use super::world::World;

/// Three snapshots that share nothing, and what each brought.
fn three() -> (World, Vec<Vec<String>>) {
    let world = World::with_repository();
    let names = || -> BTreeSet<String> {
        let all = world.files("repo");
        all.iter().map(|(p, _)| p.strip_prefix(world.path("repo")).expect("below").display().to_string()).collect()
    };
    let mut brought = Vec::new();
    for n in 1..=3u8 {
        fs::create_dir(world.path(&format!("src{n}"))).expect("ours");
        world.write(&format!("src{n}/file"), contents(n));
        let before = names();
        world.ok(&format!("backup src{n} -q"));
        brought.push(names().difference(&before).cloned().collect());
    }
    (world, brought)
}

/// Of one length, so that only what is in them tells them apart.
fn contents(n: u8) -> Vec<u8> {
    let step = |i: u32| (i.wrapping_mul(2_654_435_761).rotate_left(n.into()) >> 11) as u8;
    (0..90_000 + u32::from(n)).map(step).skip(n.into()).collect()
}

fn home(world: &World, name: &str) -> PathBuf {
    world.path("repo").join(name)
}

/// Names of objects of a kind, their second homes not counted.
fn of<'a>(brought: &'a [String], kind: &str) -> Vec<&'a String> {
    brought.iter().filter(|n| n.starts_with(kind) && !n.ends_with("/00000000")).collect()
}

#[test]
fn what_changed_places_is_named_and_the_rest_is_read() {
    for kind in ["packs/", "index/", "snapshots/", "sessions/"] {
        let (world, brought) = three();
        let swapped: Vec<[&String; 2]> =
            std::iter::zip(of(&brought[0], kind), of(&brought[1], kind)).map(<[&String; 2]>::from).collect();
        assert!(!swapped.is_empty(), "{kind}: {brought:?}");
        let homes = |a: &str, b: &str| {
            fs::rename(home(&world, a), world.path("aside")).expect("ours");
            fs::rename(home(&world, b), home(&world, a)).expect("ours");
            fs::rename(world.path("aside"), home(&world, b)).expect("ours");
        };
        for [a, b] in &swapped {
            homes(a, b);
            if kind == "snapshots/" {
                homes(&format!("copy/{a}"), &format!("copy/{b}"));
            }
        }
        // Not from what is remembered here.
        fs::remove_dir_all(world.path("home")).and_then(|()| fs::create_dir(world.path("home"))).expect("ours");
        let told = world.fails("check --read-data", 1);
        for name in swapped.iter().flatten() {
            assert!(told.contains(&format!("error[damaged]: read {name}: ")), "{name} is not named: {told}");
        }
        for n in 1..=3u8 {
            let ran = world.run(&format!("restore --path @/src{n} latest --target @/out"));
            let back = fs::read(world.path(&format!("out/src{n}/file")));
            let whole = back.as_ref().is_ok_and(|b| *b == contents(n));
            // How a session ended decides nothing of what is in a snapshot.
            assert_eq!(whole, n == 3 || kind == "sessions/", "{kind} {n}: {}", ran.err);
            assert!(whole || ran.code != 0 && ran.err.contains("error["), "{kind} {n}: {}", ran.err);
            assert!(whole || back.is_err() || ran.err.contains("bytes are missing"), "{kind} {n}: {}", ran.err);
        }
    }
}

/// The object as a later version would have written it: the same with a higher number, its armour and its
/// name right.
fn of_the_future(stored: &[u8]) -> Vec<u8> {
    let bare = armour::unwrap(stored).map(|u| u.content);
    let mut content = bare.clone().unwrap_or_else(|_| stored.to_vec());
    // A snapshot is two records, the length of the first before them.
    let at = if content.starts_with(b"ORLP") { 8 } else { 12 };
    assert_eq!(content[at..at + 2], [1, 0], "the version");
    content[at] = 2;
    if bare.is_ok() { armour::wrap(&content) } else { content }
}

#[test]
fn what_a_newer_orlop_wrote_is_called_so() {
    const SAYS: &str = "has version 2, this program reads up to 1: a newer orlop wrote it";
    for kind in ["config/", "keys/", "keyring/", "clients/", "index/", "snapshots/", "sessions/"] {
        let (world, brought) = three();
        let all = world.files("repo");
        let name = |p: &PathBuf| p.strip_prefix(world.path("repo")).expect("below").display().to_string();
        let all: Vec<String> = all.iter().map(|(p, _)| name(p)).filter(|n| n.starts_with(kind)).collect();
        let of_first = of(&brought[0], kind);
        let hit = of_first.first().copied().unwrap_or(&all[0]);
        for name in [hit.clone(), format!("copy/{hit}")] {
            let Ok(stored) = fs::read(home(&world, &name)) else { continue };
            let patched = of_the_future(&stored);
            fs::remove_file(home(&world, &name)).expect("ours");
            // A segment's name is the hash of what it is.
            let name = if kind == "index/" { format!("index/{}", blake3::hash(&patched).to_hex()) } else { name };
            fs::write(home(&world, &name), patched).expect("ours");
        }
        fs::remove_dir_all(world.path("home")).and_then(|()| fs::create_dir(world.path("home"))).expect("ours");
        let ran = world.run("check");
        assert!(ran.code != 0 && ran.err.contains(SAYS), "{kind}: {}{}", ran.out, ran.err);
        // Of a slot that does not open, nobody knows whether it is the right one.
        assert!(ran.err.contains(kind) || kind == "keys/", "it is named: {}", ran.err);
        let ran = world.run("restore --path @/src3 latest --target @/out");
        let back = fs::read(world.path("out/src3/file"));
        // Without these nobody knows what the repository is, who may read it and whose snapshots count.
        let all = ["config/", "keys/", "keyring/", "clients/"].contains(&kind);
        assert_eq!(back.is_ok_and(|b| b == contents(3)), !all, "{kind}: {}", ran.err);
        assert!(!all || ran.code != 0 && ran.err.contains("error["), "{kind}: {}", ran.err);
        assert!(!all || kind == "clients/" || ran.err.contains(SAYS), "{kind}: {}", ran.err);
    }
}
