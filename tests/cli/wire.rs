//! JSON of the program beside restic's: what is said of each file, and where a restore stands.

use super::world::World;

fn messages(out: &str) -> Vec<serde_json::Value> {
    out.lines().map(|l| serde_json::from_str(l).expect(l)).collect()
}

/// Actions with their items, in the order of the items.
fn told(out: &str) -> Vec<String> {
    let all = messages(out);
    let text = |m: &serde_json::Value, key: &str| m[key].as_str().expect("text").to_owned();
    let told = all.iter().filter(|m| m["message_type"] == "verbose_status");
    let mut told: Vec<String> = told.map(|m| format!("{} {}", text(m, "item"), text(m, "action"))).collect();
    told.sort();
    told
}

#[test]
fn items_have_the_path_in_the_snapshot() {
    let world = World::with_repository();
    std::fs::remove_dir_all(world.path("src/sub/deep")).expect("ours");
    let news = ["/src/ new", "/src/one.txt new", "/src/sub/ new", "/src/sub/two.txt new"];
    for source in ["src", "src/", "@/src/../src --as-path /src"] {
        let out = world.ok(&format!("backup {source} --json -vv --force --host {}", source.len()));
        // A run without trouble says that it has counted the source, however short it is.
        let told = told(&out);
        assert_eq!(told[0], " scan_finished", "{out}");
        assert_eq!(told[1..], news, "{source}");
    }
    let out = world.ok("backup src --as-path /virt/x --json -vv");
    assert!(told(&out).contains(&"/virt/x/one.txt new".to_owned()), "{out}");
    let absolute = world.path("src/one.txt").display().to_string();
    assert!(told(&world.ok("backup @/src/one.txt --json -vv")).contains(&format!("{absolute} new")));
}

#[test]
fn counting_is_told_once_with_its_sum() {
    let world = World::with_repository();
    let out = world.ok("backup src --json -vv");
    let counted: Vec<_> = messages(&out).into_iter().filter(|m| m["action"] == "scan_finished").collect();
    assert_eq!(counted.len(), 1, "{out}");
    assert_eq!((&counted[0]["total_files"], &counted[0]["data_size"]), (&3.into(), &15.into()));
    assert!(!world.ok("backup src --json").contains("scan_finished"), "only for those who want to hear of files");
}

#[test]
fn a_restore_says_what_restic_says() {
    let world = World::with_repository();
    std::fs::remove_dir_all(world.path("src/sub")).expect("ours");
    std::os::unix::fs::symlink("one.txt", world.path("src/link")).expect("ours");
    world.ok("backup src");
    std::fs::create_dir(world.path("out")).expect("ours");
    let restored = ["/src restored", "/src/link restored", "/src/one.txt restored"];
    assert_eq!(told(&world.ok("restore latest --target out --json -vv")), restored, "there was nothing");
    // What is right already stays; restic makes links anew, and calls that so.
    std::fs::remove_file(world.path("out/src/link")).expect("ours");
    std::os::unix::fs::symlink("elsewhere", world.path("out/src/link")).expect("ours");
    let again = told(&world.ok("restore latest --target out --json -vv"));
    assert_eq!(again, ["/src restored", "/src/link restored", "/src/one.txt unchanged"]);
    world.write("out/src/one.txt", "other contents");
    let again = told(&world.ok("restore latest --target out --json -vv"));
    assert_eq!(again[2], "/src/one.txt updated");
}

#[test]
fn what_is_missing_is_named() {
    let world = World::with_repository();
    let err = world.fails("restore latest --json", 1);
    let message = &messages(&err)[0];
    assert_eq!(message["message_type"], "exit_error");
    let text = message["message"].as_str().expect("text");
    assert!(text.contains("required arguments were not provided: --target"), "{text}");
    assert!(!text.contains("Usage"), "{text}");
}
