//! `orlop.toml`: what it sets, what comes before it, and what is wrong with it.

use super::world::{Ran, World};

const FILE: &str = "\
[repositories.local]
location = \"@/repo\"

[profiles.laptop]
repository = \"local\"

[profiles.laptop.backup]
sources = [\"@/src\"]
exclude = [\"*.o\"]
tag = [\"nightly,small\"]
exclude-larger-than = \"1M\"

[profiles.laptop.check]
read-data-subset = \"100%\"

[profiles.default]
repository = \"local\"
";

/// A world with a repository that only the file names.
fn world(file: &str) -> World {
    let world = World::with_password();
    std::fs::create_dir_all(world.path("home/.config/orlop")).expect("ours");
    put(&world, "home/.config/orlop/orlop.toml", file);
    world
}

fn put(world: &World, name: &str, file: &str) {
    let here = world.path("").display().to_string();
    world.write(name, file.replace('@', here.trim_end_matches('/')));
}

/// Run without a repository in the environment.
fn run(world: &World, line: &str, env: &[(&str, &str)]) -> Ran {
    let mut all = vec![("ORLOP_REPOSITORY", "")];
    all.extend(env);
    world.run_with(line, &all)
}

fn ok(world: &World, line: &str) -> String {
    let ran = run(world, line, &[]);
    assert_eq!(ran.code, 0, "orlop {line}\n{}{}", ran.out, ran.err);
    ran.out
}

fn fails(world: &World, line: &str, needles: &[&str]) {
    let ran = run(world, line, &[]);
    assert_eq!(ran.code, 1, "orlop {line}\n{}{}", ran.out, ran.err);
    for needle in needles {
        assert!(ran.err.contains(needle), "no {needle:?} in {}", ran.err);
    }
}

#[test]
fn a_profile_needs_nothing_else() {
    let world = world(FILE);
    ok(&world, "-P laptop backup");
    let listed = ok(&world, "snapshots --json");
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed[0]["tags"], serde_json::json!(["nightly", "small"]));
    let names = ok(&world, "ls latest");
    assert!(names.contains("one.txt") && !names.contains("three.o"), "{names}");
    assert!(ok(&world, "-P laptop check -v").contains("read data"), "a flag of another command");
    assert!(!ok(&world, "check -v").contains("read data"), "the profile `default` has no such flag");
    let ran = run(&world, "backup", &[("ORLOP_PROFILE", "laptop")]);
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn what_is_typed_comes_first_then_variables() {
    let world = world(FILE);
    ok(&world, "-P laptop backup @/home --exclude nothing --tag typed");
    let names = ok(&world, "ls latest");
    assert!(names.contains("/home") && !names.contains("one.txt"), "{names}");
    assert!(ok(&world, "snapshots").contains("typed"));
    // Of what excludes each other, too.
    ok(&world, "-P laptop check --read-data");
    let ran = run(&world, "-P laptop backup --stdin-from-command -- echo hello", &[]);
    assert_eq!(ran.code, 0, "sources are in the command: {}", ran.err);
    let elsewhere = [("ORLOP_REPOSITORY", "/no/such/place")];
    assert_eq!(run(&world, "snapshots", &elsewhere).code, 10, "a variable");
    let list = world.path("list");
    std::fs::write(&list, world.path("src/one.txt").display().to_string()).expect("ours");
    ok(&world, "-P laptop backup --files-from @/list");
    assert!(!ok(&world, "ls latest").contains("two.txt"));
    let nowhere =
        format!("{FILE}\n[repositories.file]\nrepository-file = \"@/none\"\n[profiles.f]\nrepository = \"file\"\n");
    put(&world, "home/.config/orlop/orlop.toml", &nowhere);
    fails(&world, "-P f snapshots", &["location from"]);
    ok(&world, "-P f -r @/repo snapshots");
}

#[test]
fn passwords_from_a_file_come_before_restics_variables() {
    let file = format!("{FILE}\n[profiles.p]\nrepository = \"local\"\npassword-file = \"~/password\"\n");
    let world = world(&file);
    world.write("home/password", super::world::PASSWORD);
    let unset = [("ORLOP_PASSWORD", ""), ("RESTIC_PASSWORD", "wrong")];
    assert_eq!(run(&world, "-P p snapshots", &unset).code, 0);
    assert_eq!(run(&world, "snapshots", &unset).code, 12, "without a file restic's is used");
    assert_eq!(run(&world, "-P p snapshots", &[("ORLOP_PASSWORD", "wrong")]).code, 12, "ours comes first");
    let key = run(&world, "-P p snapshots --insecure-no-password", &[("ORLOP_PASSWORD", "")]);
    assert_eq!(key.code, 12, "typed, it takes the place of the file's: {}", key.err);
}

#[test]
fn where_the_file_is_looked_for() {
    let world = world("[profiles.one]\nrepo = \"@/repo\"\n");
    put(&world, "other.toml", "[profiles.two]\nrepo = \"@/repo\"\n");
    std::fs::create_dir_all(world.path("xdg/orlop")).expect("ours");
    put(&world, "xdg/orlop/orlop.toml", "[profiles.three]\nrepo = \"@/repo\"\n");
    ok(&world, "-P one snapshots");
    ok(&world, "-P two --config @/other.toml snapshots");
    let other = world.path("other.toml").display().to_string();
    assert_eq!(run(&world, "-P two snapshots", &[("ORLOP_CONFIG", &other)]).code, 0);
    let xdg = world.path("xdg").display().to_string();
    assert_eq!(run(&world, "-P three snapshots", &[("XDG_CONFIG_HOME", &xdg)]).code, 0);
    fails(&world, "-P one --config @/none.toml snapshots", &["none.toml", "No such file"]);
    fails(&world, "-P two snapshots", &["no profile \"two\"", "orlop.toml", "there is one"]);
    std::fs::remove_file(world.path("home/.config/orlop/orlop.toml")).expect("ours");
    fails(&world, "-P one snapshots", &["there is no orlop.toml", "/etc/orlop/orlop.toml", ".config/orlop/orlop.toml"]);
}

#[test]
fn typing_errors_are_named_with_their_line() {
    for (file, needles) in [
        (
            "[profiles.p.backup]\nexcludes = []\n",
            &["orlop.toml:2", "unknown key `excludes`", "did you mean `exclude`?"][..],
        ),
        ("\n[profile.p]\n", &["orlop.toml:2", "did you mean `profiles`?"]),
        ("[profiles.p]\nrepository = \"nas\"\n", &["orlop.toml:2", "no [repositories.nas]"]),
        ("[profiles.p]\ncompression = \"lots\"\n", &["orlop.toml:2", "`compression`", "lots"]),
        ("[profiles.p]\nname\n", &["orlop.toml:2"]),
        ("[profiles.p.hooks]\nbefore = \"a b\"\n", &["orlop.toml:2", "as a list", "no shell"]),
    ] {
        let world = world(file);
        fails(&world, "snapshots", needles);
        fails(&world, "snapshots", &["--config /dev/null"]);
        ok(&world, "version");
        assert_eq!(run(&world, "-r @/repo --config /dev/null snapshots", &[]).code, 0, "a way around it");
        let json = run(&world, "snapshots --json", &[]);
        assert!(json.err.starts_with("{\"message_type\":\"exit_error\""), "{}", json.err);
    }
    let world = world("\u{fffd}");
    world.write("home/.config/orlop/orlop.toml", b"\xff");
    fails(&world, "snapshots", &["not UTF-8"]);
    world.write("home/.config/orlop/orlop.toml", vec![b'#'; 2 << 20]);
    fails(&world, "snapshots", &["larger than 1024 KiB"]);
}

#[test]
fn programs_in_a_file_that_others_can_write_are_not_run() {
    use std::os::unix::fs::PermissionsExt;
    let harmless = world(FILE);
    let hooked = world(&format!("{FILE}\n[profiles.laptop.hooks]\nbefore = [\"true\"]\n"));
    let unlocked = world("[repositories.r]\npassword-command = \"cat x\"\n[profiles.laptop]\nrepo = \"@/repo\"\n");
    for mode in [0o664, 0o646] {
        for world in [&harmless, &hooked, &unlocked] {
            let file = world.path("home/.config/orlop/orlop.toml");
            std::fs::set_permissions(file, PermissionsExt::from_mode(mode)).expect("ours");
        }
        ok(&harmless, "-P laptop snapshots");
        for world in [&hooked, &unlocked] {
            fails(world, "-P laptop snapshots", &["error[forbidden]", "written by others", "chmod go-w"]);
        }
    }
    if rustix::process::getuid().is_root() {
        let file = hooked.path("home/.config/orlop/orlop.toml");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("ours");
        std::os::unix::fs::chown(&file, Some(12345), None).expect("root may");
        fails(&hooked, "-P laptop snapshots", &["12345"]);
    }
}

#[test]
fn show_says_where_each_value_comes_from() {
    let world = world(&format!(
        "{FILE}password-command = \"pass show canary-token\"\n[profiles.default.hooks]\nafter = [\"curl\", \"canary-token\"]\n"
    ));
    let env = [("ORLOP_CACHE_DIR", "/cache"), ("RESTIC_COMPRESSION", "max"), ("RESTIC_PACK_SIZE", "32")];
    let shown = run(&world, "config show --origin --no-cache --pack-size 8 backup", &env);
    assert_eq!(shown.code, 0, "{}", shown.err);
    let line = |key: &str| {
        let found = shown.out.lines().find(|l| l.trim_start_matches("# ").starts_with(&format!("{key} =")));
        found.unwrap_or_else(|| panic!("no {key} in {}", shown.out)).to_owned()
    };
    let file = world.path("home/.config/orlop/orlop.toml").display().to_string();
    for (key, value, origin) in [
        ("repo", "/repo\"", format!("# {file}:2")),
        ("no-cache", "true", "# flag".into()),
        ("pack-size", "\"8\"", "# flag".into()),
        ("cache-dir", "\"/cache\"", "# environment ORLOP_CACHE_DIR".into()),
        ("compression", "\"max\"", "# environment RESTIC_COMPRESSION".into()),
        ("key-hint", "(not set)", "# default".into()),
        ("host", "\"host\"", "# environment ORLOP_HOST".into()),
        ("group-by", "\"host,paths\"", "# default".into()),
        ("password", "not shown", "# environment ORLOP_PASSWORD".into()),
        ("password-command", "(not set)", "# environment ORLOP_PASSWORD".into()),
        ("after", "[\"curl\", …]", format!("# {file}:20")),
    ] {
        let line = line(key);
        assert!(line.contains(value) && line.ends_with(&origin), "{key}: {line}");
    }
    let shown = run(&world, "config show", &[("ORLOP_PASSWORD", "")]);
    assert!(shown.out.contains("password-command = \"pass …\""), "{}", shown.out);
    let json = run(&world, "config show --json", &[("ORLOP_PASSWORD", "")]);
    let list: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert!(list.as_array().expect("a list").iter().any(|l| l["key"] == "repo" && l["origin"] == format!("{file}:2")));
    for ran in [shown, json] {
        assert!(!ran.out.contains("canary"), "{}", ran.out);
    }
    fails(&world, "config show frobnicate", &["no command `frobnicate`"]);
}

/// The example of the documentation is read by the program itself.
#[test]
fn the_documented_example_is_accepted() {
    let page = include_str!("../../src/docs/orlop-toml.md");
    let mut examples = 0;
    for block in page.split("```toml\n").skip(1) {
        let file = block.split("```").next().expect("it ends");
        let world = world(&file.replace('@', "(at)"));
        ok(&world, "config show");
        examples += 1;
    }
    assert!(examples > 0);
}
