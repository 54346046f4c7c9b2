//! Ways in: recovery words, more passwords, clients, and what may not be taken away.

use super::world::World;

const ID_LEN: usize = 32;

fn id_in(text: &str) -> String {
    let id = text.split_whitespace().find(|w| w.len() == ID_LEN && w.bytes().all(|b| b.is_ascii_hexdigit()));
    id.unwrap_or_else(|| panic!("no id in {text}")).to_owned()
}

fn with_password(world: &World, line: &str, password: &str) -> super::world::Ran {
    world.run_with(line, &[("ORLOP_PASSWORD", password)])
}

#[test]
fn recovery_words_unlock() {
    let world = World::by_password();
    let words = world.ok("init -q");
    assert_eq!(words.split_whitespace().count(), 24, "{words}");
    let ran = with_password(&world, "key list", &words.to_uppercase());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.lines().any(|l| l.starts_with('*') && l.contains("recovery")), "{}", ran.out);
    world.ok("key recovery -q --recovery-file @/words");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(world.path("words")).expect("written"));
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(with_password(&world, "snapshots", &words).code, 12, "the old words are void");
    let new = std::fs::read_to_string(world.path("words")).expect("written");
    assert_eq!(with_password(&world, "snapshots", &new).code, 0);
    assert_eq!(world.run_with("snapshots -p words", &[("ORLOP_PASSWORD", "")]).code, 0);
    // The words can be renewed with nothing but the words.
    let newest = with_password(&world, "key recovery -q", &new);
    assert_eq!(newest.code, 0, "{}", newest.err);
    assert_eq!(with_password(&world, "snapshots", &newest.out).code, 0);
    assert_eq!(with_password(&world, "snapshots", &new).code, 12);
    world.ok("snapshots");
}

#[test]
fn json_has_them_unless_a_file_does() {
    let world = World::by_password();
    let made = world.json("init --json");
    assert_eq!(made["message_type"], "initialized");
    assert_eq!(made["recovery_key"].as_str().map(|w| w.split(' ').count()), Some(24));
    let made = world.json("-r @/other init --json --recovery-file @/w");
    assert!(made["recovery_key"].is_null());
}

#[test]
fn passwords_come_and_go() {
    let world = World::with_password();
    world.write("p2", "second\n");
    world.write("p3", "third\n");
    let second = id_in(&world.ok("key add --new-password-file p2 --user u --host h"));
    assert_eq!(with_password(&world, "snapshots", "second").code, 0);
    let list = world.json("key list --json");
    let listed = list.as_array().expect("a list").iter().find(|k| k["id"] == second.as_str()).expect("the new one");
    assert_eq!(
        (&listed["userName"], &listed["hostName"], &listed["role"]),
        (&"u".into(), &"h".into(), &"owner".into())
    );
    let third = with_password(&world, "key passwd --new-password-file p3", "second");
    assert_eq!(third.code, 0, "{}", third.err);
    assert_eq!(with_password(&world, "snapshots", "second").code, 12);
    let third = id_in(&third.out);
    let own = with_password(&world, &format!("key remove {third}"), "third");
    assert!(own.code == 1 && own.err.contains("opened with"), "{}", own.err);
    world.ok(&format!("key remove {}", &third[..6]));
    assert_eq!(with_password(&world, "snapshots", "third").code, 12);
    world.fails("key remove ffffffffffff", 1);
    let last = world.json("key list --json")[0]["id"].as_str().expect("an id").to_owned();
    assert!(world.fails(&format!("key remove {last}"), 1).contains("opened with"), "the last one stays");
    assert_eq!(world.run_with("key add", &[]).code, 1, "nobody can be asked");
}

#[test]
fn clients_have_their_own() {
    let world = World::with_password();
    world.write("pc", "clients\n");
    world.write("pd", "changed\n");
    world.fails("key add --role client --new-password-file pc", 1);
    world.ok("key add --role client --client web1 --new-password-file pc");
    let ran = with_password(&world, "backup src", "clients");
    assert_eq!(ran.code, 0, "{}", ran.err);
    for line in ["backup src --client web2", "key add --new-password-file pd", "key recovery"] {
        let ran = with_password(&world, line, "clients");
        assert!(ran.code == 1 && ran.err.contains("error[forbidden]"), "{line}: {}", ran.err);
    }
    let changed = with_password(&world, "key passwd --new-password-file pd", "clients");
    assert_eq!(changed.code, 0, "{}", changed.err);
    assert_eq!(with_password(&world, "snapshots", "clients").code, 12);
    let ran = with_password(&world, "backup src", "changed");
    assert_eq!(ran.code, 0, "it is still a client's: {}", ran.err);
    let list = world.ok("key list");
    assert!(list.lines().any(|l| l.contains("client") && l.contains("web1")), "{list}");
    // Who made the owner's key, where and when, is the owner's business.
    let ran = with_password(&world, "key list", "changed");
    let owners = ran.out.lines().find(|l| l.contains("owner")).expect("it is listed");
    assert_eq!(owners.split_whitespace().skip(1).take(3).collect::<Vec<_>>(), ["-", "-", "-"], "{}", ran.out);
    let ran = with_password(&world, "key list --json", "changed");
    let all: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    let owners = all.as_array().expect("a list").iter().find(|k| k["role"] == "owner").expect("it is listed");
    assert!(["userName", "hostName", "created"].iter().all(|key| owners.get(*key).is_none()), "{owners}");
    assert_eq!(world.snapshots().len(), 2);
}

#[test]
fn mirrors_and_strangers() {
    let world = World::with_password();
    world.ok("-r @/mirror init -q --no-recovery-key --mirror-of @/repo");
    world.ok("-r @/like init -q --no-recovery-key --copy-chunker-params --from-repo @/repo");
    let domain = |repo: &str| world.json(&format!("-r @/{repo} cat config"))["domain"].clone();
    assert_eq!(domain("mirror"), domain("repo"));
    assert_ne!(domain("like"), domain("repo"));
    world.fails("-r @/x init --copy-chunker-params", 1);
}
