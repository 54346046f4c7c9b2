//! What answers questions: `find`, `diff`, `stats`, `ls --ncdu`, `explain`, `explain-exclude`, `debug`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use serde_json::Value;

use super::noise::noise;
use super::world::{Ran, World};

/// Two snapshots between which something of everything happened.
fn two() -> World {
    let world = World::with_repository();
    world.write("src/kept.o", "the same");
    world.write("src/copied.bin", noise(400_000, 7));
    symlink("one.txt", world.path("src/link")).expect("ours");
    world.ok("backup src -q --tag first");
    world.write("src/one.txt", "one and more\n");
    world.write("src/copy-of.bin", noise(400_000, 7));
    world.write("src/fresh.bin", noise(300_000, 9));
    fs::set_permissions(world.path("src/kept.o"), fs::Permissions::from_mode(0o600)).expect("ours");
    fs::remove_file(world.path("src/link")).expect("ours");
    fs::create_dir(world.path("src/link")).expect("ours");
    world.write("src/link/in", "in");
    fs::remove_dir_all(world.path("src/sub/deep")).expect("ours");
    world.ok("backup src -q --tag second -H other");
    world
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|l| l.starts_with('/')).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn names_and_globs_are_found_as_restic_finds_them() {
    let world = two();
    for (line, expected) in [
        ("find one.txt", vec!["/src/one.txt", "/src/one.txt"]),
        ("find ONE.txt", vec![]),
        ("find -i ONE.txt", vec!["/src/one.txt", "/src/one.txt"]),
        ("find *.o", vec!["/src/kept.o", "/src/kept.o", "/src/sub/deep/three.o"]),
        ("find *.o !kept*", vec!["/src/sub/deep/three.o"]),
        ("find /src/*.o fresh.bin", vec!["/src/fresh.bin", "/src/kept.o", "/src/kept.o"]),
        ("find -s latest sub", vec!["/src/sub", "/src/sub/two.txt"]),
        ("find src/sub/* --host host", vec!["/src/sub/deep", "/src/sub/deep/three.o", "/src/sub/two.txt"]),
        ("find link --type symlink", vec!["/src/link"]),
        ("find link --type d,f", vec!["/src/link", "/src/link/in"]),
        ("find * --larger-than 300k --tag second", vec!["/src/copied.bin", "/src/copy-of.bin"]),
        ("find *.bin --larger-than 1 --smaller-than 300000 ", vec!["/src/fresh.bin"]),
        ("find * --newest 1999-12-31", vec![]),
        ("find one.txt --oldest 31.12.1999", vec!["/src/one.txt", "/src/one.txt"]),
        ("find nothing-is-called-so", vec![]),
    ] {
        assert_eq!(lines(&world.ok(line)), expected, "{line}");
    }
    let newest_first = world.ok("find -l --human-readable one.txt");
    assert!(newest_first.contains("13 B") && newest_first.contains("-rw-"), "{newest_first}");
    let at = |text: &str, what: &str| text.find(what).unwrap_or(usize::MAX);
    assert!(at(&newest_first, "13 B") < at(&newest_first, " 4 B"));
    let oldest_first = world.ok("find -l --human-readable -R one.txt");
    assert!(at(&oldest_first, "13 B") > at(&oldest_first, " 4 B"));
    assert_eq!(world.ok("find nothing-is-called-so"), "", "as in restic that is no error");
}

#[test]
fn what_is_found_is_one_json_array() {
    let world = two();
    let all = world.json("find --json one.txt two.txt");
    let all = all.as_array().expect("an array");
    assert_eq!(all.len(), 2);
    for snapshot in all {
        let matches = snapshot["matches"].as_array().expect("matches");
        assert_eq!(snapshot["hits"], matches.len());
        assert_eq!(snapshot["snapshot"].as_str().map(str::len), Some(64));
        for key in ["path", "permissions", "type", "mode", "mtime", "atime", "ctime", "uid", "gid", "size"] {
            assert!(!matches[0][key].is_null(), "{key}");
        }
    }
    assert_eq!(world.ok("find --json nothing-is-called-so"), "[]\n");
}

/// Whatever is remembered from one snapshot to the next, each is shown as `ls` shows it; there are more
/// hits than are held.
#[test]
fn what_is_remembered_is_what_is_there() {
    let world = World::with_repository();
    for dir in 0..60 {
        let dir = format!("src/many{dir:02}");
        fs::create_dir(world.path(&dir)).expect("ours");
        for file in 0..400 {
            world.write(&format!("{dir}/file{file:03}"), "");
        }
    }
    for n in 0..3 {
        world.write(&format!("src/many{:02}/file{:03}x", n * 20, n * 100), "new");
        fs::remove_file(world.path(&format!("src/many{:02}/file007", n + 3))).expect("ours");
        world.ok("backup src -q");
    }
    let found = world.ok("find -R *");
    let blocks: Vec<&str> = found.split("\n\n").collect();
    assert_eq!(blocks.len(), 3);
    for (block, back) in blocks.iter().zip((0..3).rev()) {
        let listed = world.ok(&format!("ls latest~{back}"));
        assert!(lines(block) == lines(&listed), "latest~{back}");
    }
}

#[test]
fn the_history_of_a_path() {
    let world = two();
    fs::write(world.path("src/one.txt"), "a third\n").expect("ours");
    world.ok("backup src -q");
    let all = world.json("find --history --json /src/one.txt /src/link /not/there");
    let versions = |path: &str, host: &str| -> Vec<String> {
        let history = all.as_array().expect("an array").iter().find(|h| h["path"] == path && h["hostname"] == host);
        let versions = history.expect(path)["versions"].as_array().expect("versions").clone();
        versions.iter().map(|v| v["modifier"].as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(versions("/src/one.txt", "host"), ["+", "M"]);
    assert_eq!(versions("/src/link", "host"), ["+", "T"]);
    assert_eq!(versions("/src/link", "other"), ["+"]);
    assert_eq!(all.as_array().map(Vec::len), Some(4), "what is nowhere has no history");
    let text = world.ok("find --history /src/one.txt --host host");
    assert!(text.contains("2 versions in 2 snapshots"), "{text}");
    assert!(world.fails("find --history one.txt", 1).contains("begin with a slash"));
}

#[test]
fn who_needs_an_object() {
    let world = two();
    let blobs = world.ok("list blobs");
    let chunk = blobs.lines().find(|l| l.starts_with("data")).expect("a chunk").split_once(' ').expect("two words").1;
    let text = world.ok(&format!("find --blob {} --show-pack-id", &chunk[..12]));
    assert!(text.contains("Found blob") && text.contains("in file /src/") && text.contains("in pack"), "{text}");
    let page = blobs.lines().find(|l| l.starts_with("tree")).expect("a page").split_once(' ').expect("two words").1;
    assert!(world.ok(&format!("find --tree {page}")).contains("... path /"));
    for pack in world.ok("list packs").lines() {
        let places = world.json(&format!("find --json --pack {pack}"));
        assert!(!places.as_array().expect("an array").is_empty(), "every pack is needed");
    }
    assert_eq!(world.ok("find --blob ffffffffffff"), "");
    assert!(world.fails("find --pack ffffffffffff", 1).contains("error[missing]"));
    assert!(world.fails("find --blob xyz", 1).contains("error[invalid]"));
}

#[test]
fn differences_have_restics_markers() {
    let world = two();
    let text = world.ok("diff latest~1 latest");
    for line in [
        "+    /src/copy-of.bin",
        "+    /src/fresh.bin",
        "T    /src/link/",
        "+    /src/link/in",
        "M    /src/one.txt",
        "-    /src/sub/deep/",
        "-    /src/sub/deep/three.o",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
    }
    assert!(!text.contains("kept.o"), "{text}");
    assert!(text.contains("Files:           3 new,     1 removed,     1 changed"), "{text}");
    assert!(text.contains("Dirs:            0 new,     1 removed"), "{text}");
    assert!(world.ok("diff --metadata latest~1 latest").contains("\nU    /src/kept.o\n"));
    assert!(world.ok("diff latest latest").contains("Added:   0 B"));
    let quiet = world.ok("diff -q latest~1 latest");
    assert!(quiet.starts_with("\nFiles:"), "{quiet}");
    let there = world.ok("diff --json latest~1:/src/sub latest:/src/sub");
    let messages: Vec<Value> = there.lines().map(json).collect();
    assert_eq!(messages[0]["path"], "/deep/");
    let last = messages.last().expect("statistics");
    assert_eq!((&last["message_type"], &last["removed"]["files"]), (&"statistics".into(), &1.into()));
}

/// A copy of a file is a new file and no new data, although nothing of the pages in common is shown.
#[test]
fn only_what_is_new_counts_as_added() {
    let world = two();
    let chunks = |line: &str| {
        let out = world.ok(line);
        let last = json(out.lines().last().expect("statistics"));
        (last["added"]["data_blobs"].clone(), last["added"]["bytes"].as_u64().expect("a number"))
    };
    let (blobs, bytes) = chunks("diff --json latest~1 latest");
    assert!(blobs.as_u64().expect("a number") > 0);
    assert!((300_000..320_000).contains(&bytes), "fresh.bin and pages: {bytes}");
    // The copied one stands in a directory that both have.
    fs::create_dir(world.path("src/elsewhere")).expect("ours");
    fs::copy(world.path("src/fresh.bin"), world.path("src/elsewhere/fresh2.bin")).expect("ours");
    world.ok("backup src -q");
    let (blobs, bytes) = chunks("diff --json latest~1 latest");
    assert_eq!(blobs, 0);
    assert!(bytes < 20_000, "{bytes}");
}

#[test]
fn a_snapshot_and_the_live_tree() {
    let world = two();
    let none = world.ok("diff latest:/src @/src --metadata --content");
    assert!(none.contains("Files:           0 new,     0 removed,     0 changed") && lines(&none).is_empty(), "{none}");
    let before = fs::metadata(world.path("src/copied.bin")).expect("ours").modified().expect("a time");
    let mut bytes = noise(400_000, 7);
    bytes[1000] ^= 1;
    world.write("src/copied.bin", bytes);
    let file = fs::File::options().write(true).open(world.path("src/copied.bin")).expect("ours");
    file.set_modified(before).expect("ours");
    world.write("src/junk.tmp", "x");
    world.write("src/one.txt", "one AND more\n");
    fs::remove_dir_all(world.path("src/link")).expect("ours");
    let text = world.ok("diff latest:/src ./src");
    assert!(text.contains("\nM    /src/one.txt\n") && text.contains("\n+    /src/junk.tmp\n"), "{text}");
    assert!(text.contains("\n-    /src/link/\n-    /src/link/in\n"), "{text}");
    assert!(!text.contains("copied.bin"), "its size and time are the same: {text}");
    let text = world.ok("diff latest:/src @/src --content --exclude *.tmp");
    assert!(text.contains("\nM?   /src/copied.bin\n") && !text.contains("junk.tmp"), "{text}");
    for (line, what) in [
        ("diff latest:/src ./nowhere", "error[source]"),
        ("diff latest:/src ./src/one.txt", "is no directory"),
        ("diff latest ./src", "orlop diff latest:/notes ./notes"),
        ("diff latest src", "write ./src"),
        ("diff latest latest --content", "error[invalid]"),
        ("diff latest:/src/one.txt latest", "is no directory"),
    ] {
        let err = world.fails(line, 1);
        assert!(err.contains(what), "{line}: {err}");
    }
}

#[test]
fn statistics_of_every_mode() {
    let world = World::with_repository();
    world.write("src/big", noise(1 << 20, 1));
    world.write("src/same", noise(1 << 20, 1));
    world.write("src/small", "x");
    fs::hard_link(world.path("src/big"), world.path("src/linked")).expect("ours");
    world.ok("backup src -q");
    world.ok("backup src -q");
    let stats = |mode: &str| world.json(&format!("stats --json --mode {mode}"));
    let small = 4 + 9 + 2 + 1;
    let restore = stats("restore-size");
    // /src with 4 files, /src/one.txt, sub, sub/two.txt, sub/deep, sub/deep/three.o
    assert_eq!(restore["total_file_count"], 2 * 10);
    assert_eq!(restore["total_size"], 2 * (2 * (1 << 20) + small), "hard links are restored once");
    assert_eq!(restore["snapshots_count"], 2);
    let contents = stats("files-by-contents");
    assert_eq!((&contents["total_file_count"], &contents["total_size"]), (&5.into(), &((1 << 20) + small).into()));
    let blobs = stats("blobs-per-file");
    assert_eq!((&blobs["total_file_count"], &blobs["total_size"]), (&5.into(), &((1 << 20) + small).into()));
    let raw = stats("raw-data");
    let listed = world.ok("list blobs").lines().map(str::to_owned).collect::<BTreeSet<_>>().len();
    assert_eq!(raw["total_blob_count"], listed, "everything that is stored is needed");
    let stored = world.json("find --json big").as_array().map(Vec::len);
    assert_eq!(stored, Some(2));
    assert!(raw["total_size"].as_u64() < raw["total_uncompressed_size"].as_u64());
    let text = world.ok("stats latest --mode raw-data");
    assert!(text.contains("Snapshots processed:  1\n") && text.contains("Compression Ratio"), "{text}");
    assert!(world.fails("stats --mode sideways", 1).contains("sideways"));
    assert!(world.fails("stats ffffffffffff", 3).contains("ffffffffffff"));
    assert_eq!(world.json("stats --json --host nobody")["snapshots_count"], 0);
}

#[test]
fn who_uses_the_space() {
    let world = World::with_repository();
    world.write("src/shared", noise(500_000, 1));
    world.write("src/mine", noise(300_000, 2));
    world.ok("backup src -q -H a --tag x");
    fs::remove_file(world.path("src/mine")).expect("ours");
    world.write("src/yours", noise(200_000, 3));
    world.ok("backup src -q -H b --tag x,y");
    let near = |value: &Value, expected: u64| {
        let n = value.as_u64().expect("a number");
        assert!((expected..expected + 8_000).contains(&n), "{n} is not about {expected}");
    };
    for by in ["host", "tags", "snapshot"] {
        let all = world.json(&format!("stats --json --by {by}"));
        near(&all[0]["unique_size"], 300_000);
        near(&all[1]["unique_size"], 200_000);
        assert_eq!(all[0]["snapshots"], 1);
        assert_eq!(all[0]["stored_size"].is_null(), by == "snapshot");
    }
    let hosts = world.json("stats --json --by host");
    near(&hosts[0]["stored_size"], 800_000);
    // What one snapshot alone needs does not depend on which others are shown.
    near(&world.json("stats --json --by host --host b")[0]["unique_size"], 200_000);
    let all = world.json("stats --json --by paths");
    near(&all[0]["unique_size"], 1_000_000);
    assert!(world.ok("stats --by host").contains("Only for it"));
}

#[test]
fn a_listing_for_ncdu_is_json_with_every_entry() {
    fn names(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Array(all) => all.iter().for_each(|v| names(v, out)),
            Value::Object(item) => out.extend(item["name"].as_str().map(str::to_owned)),
            _ => {}
        }
    }
    let world = two();
    let listing = json(&world.ok("ls --ncdu latest~1"));
    let mut all = Vec::new();
    names(&listing[3], &mut all);
    let listed = world.ok("ls latest~1");
    assert_eq!(all.len(), lines(&listed).len() + 1);
    assert_eq!(listing[3][1][0]["name"], "src");
    let sub = listing[3][1].as_array().expect("src").last().expect("sub");
    assert_eq!((&sub[0]["name"], &sub[1][0]["name"]), (&"sub".into(), &"deep".into()));
    let part = json(&world.ok("ls --ncdu latest~1 /src/sub"));
    assert_eq!(part[3][1][0]["name"], "sub");
    world.fails("ls --ncdu --sort size latest", 1);
    world.fails("ls --ncdu --json latest", 1);
}

#[test]
fn lists_are_json_too() {
    let world = two();
    for kind in ["packs", "index", "snapshots", "keys"] {
        let plain: Vec<String> = world.ok(&format!("list {kind}")).lines().map(str::to_owned).collect();
        assert_eq!(world.json(&format!("list {kind} --json")), Value::from(plain), "{kind}");
    }
    assert_eq!(world.ok("list locks --json"), "[]\n");
    let blobs = world.json("list blobs --json");
    assert!(blobs.as_array().expect("an array").iter().all(|b| b["type"].is_string() && b["id"].is_string()));
    assert!(world.fails("cat masterkey", 1).contains("orlop key recovery"));
    assert!(world.fails("cat lock", 1).contains("no locks"));
}

#[test]
fn errors_are_explained() {
    let world = World::new();
    for slug in world.ok("explain").lines() {
        let page = world.ok(&format!("explain {slug}"));
        assert!(page.starts_with(&format!("{slug}\n\n")) && page.len() > 60, "{slug}: {page}");
    }
    assert_eq!(world.json("explain --json damaged")["slug"], "damaged");
    assert!(world.ok("explain error[damaged]:").starts_with("damaged\n"));
    assert!(world.fails("explain sunshine", 1).contains("error[missing]"));
    assert!(world.fails("snapshots", 10).contains("more: `orlop explain no-repository`"));
}

#[test]
fn the_rule_that_keeps_a_path_out_is_named() {
    let world = World::new();
    world.work_tree("src");
    fs::create_dir_all(world.path("src/cache")).expect("ours");
    world.write("src/.gitignore", "# made\n\ntwo.txt\n");
    world.write("src/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    world.write("src/cache/x", "x");
    world.write("src/keep.o", "x");
    world.write("rules", "# rules\n*.o\n!keep.o\n");
    let flags = "--exclude-file @/rules --git-ignore --exclude-caches --exclude-larger-than 8 --source @/src";
    for (path, expected) in [
        ("src/sub/deep/three.o", "is left out: @/rules:2 \"*.o\""),
        ("src/sub/two.txt", "is left out: @/src/.gitignore:3 \"two.txt\""),
        ("src/cache/x", "is left out: CACHEDIR.TAG is in the same directory"),
        ("src/.gitignore", "is left out: it is larger than 8 bytes"),
        ("src/keep.o", "is kept by @/rules:3 \"!keep.o\""),
        ("src/one.txt", "is kept: no rule is against it"),
        ("src/sub/nowhere", "is not there; no rule is against it"),
        ("home/x", "is in none of the sources"),
    ] {
        let out = world.plain(&world.ok(&format!("explain-exclude {flags} {path}")));
        assert_eq!(out, format!("@/{path} {expected}\n"));
    }
    let out = world.plain(&world.ok("explain-exclude --exclude sub src/sub/deep/three.o"));
    assert_eq!(out, "@/src/sub/deep/three.o is left out with @/src/sub: --exclude \"sub\"\n");
    let all = world.json(&format!("explain-exclude --json {flags} src/one.txt src/sub/two.txt"));
    assert_eq!((&all[0]["kept"], &all[1]["reason"]), (&true.into(), &"ignore-file".into()));
    assert!(world.fails("explain-exclude --exclude [ src", 1).contains("malformed"));
}

/// What is explained is what a backup does.
#[test]
fn explanations_agree_with_backups() {
    let world = World::with_repository();
    world.write("src/a.o", "x");
    world.write("src/sub/a.c", "x");
    world.write("src/sub/skip", "*.txt\n!two.txt\n");
    world.write("src/sub/other.txt", "x");
    let flags = "--exclude *.o --iexclude ONE.* --ignore-file skip --exclude !a.o";
    world.ok(&format!("backup src -q {flags}"));
    let listed = world.ok("ls latest");
    for (file, _) in world.files("src") {
        let name = file.strip_prefix(world.path("")).expect("ours").display().to_string();
        let all = world.json(&format!("explain-exclude --json {flags} --source src {name}"));
        assert_eq!(all[0]["kept"], lines(&listed).contains(&format!("/{name}").as_str()), "{name}: {all}");
    }
}

#[test]
fn every_byte_of_every_object_has_a_meaning() {
    let world = two();
    world.ok("tag --add seen latest");
    world.ok("hold latest");
    world.ok("key add --role client --client web --new-key-file @/web.key");
    world.ok("policy set --keep-last 9");
    world.ok("forget latest~1");
    world.ok("prune");
    world.ok("prune --now");
    let mut kinds = std::collections::BTreeSet::new();
    for (file, len) in world.files("repo") {
        let name = file.strip_prefix(world.path("repo")).expect("ours").display().to_string();
        let clear = world.json(&format!("debug dump --clear --json {name}"));
        let mut at = 0;
        for field in clear["fields"].as_array().expect("fields") {
            assert_eq!(field["offset"], at, "{name}: {field}");
            at += field["length"].as_u64().expect("a number");
            assert_ne!(field["field"], "more", "{name}: {field}");
            let told = !name.contains("gc/") && !name.contains("tombstones/");
            assert!(told || field["field"] != "clear part", "{name}: {field}");
        }
        assert_eq!(at, len, "{name}");
        if name.contains("keys/") {
            slot(&clear);
        }
        let opened = world.ok(&format!("debug dump {name}"));
        let closed = ["keys/", "keyring/", "copy/key"].iter().any(|p| name.starts_with(p));
        assert_eq!(opened.contains("\nopened:\n"), !closed, "{name}: {opened}");
        let alone =
            world.run_with(&format!("debug dump @/repo/{name}"), &[("ORLOP_REPOSITORY", ""), ("ORLOP_PASSWORD", "")]);
        assert_eq!(alone.code, 0, "{name}: {}", alone.err);
        kinds.insert(name.split('/').next().expect("a word").to_owned());
    }
    for kind in ["gc", "tombstones", "notes"] {
        assert!(kinds.contains(kind), "there is none of {kind}: {kinds:?}");
    }
    let (log, _) = world.files("repo/gc").remove(0);
    let log = world.ok(&format!("debug dump --clear {}", log.display()));
    assert!(log.contains("kind           Plan: which step") && log.contains("doomed packs"), "{log}");
    assert!(world.fails("debug dump no/such/object", 1).contains("error[missing]"));
    world.write("cut", &fs::read(&world.files("repo/packs")[0].0).expect("ours")[..100]);
    assert!(world.ok("debug dump --clear @/cut").contains("the file ends before this field does"));
}

/// The fields of a key slot are where the specification has them: what is sealed, behind both lengths.
fn slot(dumped: &serde_json::Value) {
    let fields = dumped["fields"].as_array().expect("fields");
    let places = |name: &str| fields.iter().filter(|f| f["field"] == name).cloned().collect::<Vec<_>>();
    let begin = places("slot")[0]["offset"].as_u64().expect("a number") - 24;
    let (escrow, sealed) = (places("escrow length").remove(0), places("sealed part"));
    assert_eq!(escrow["offset"], begin + 140, "{dumped}");
    assert_eq!(sealed[0]["offset"], begin + 144, "{dumped}");
    assert_eq!(
        sealed[0]["length"].to_string(),
        places("sealed length")[0]["value"].as_str().expect("text"),
        "{dumped}"
    );
    let record = places("magic").iter().find(|f| f["value"] == "ORLPREC1").map(|f| f["offset"].as_u64());
    assert_eq!(record.is_some(), escrow["value"] != "0", "{dumped}");
    if let Some(record) = record.flatten() {
        assert_eq!(record, begin + 144 + sealed[0]["length"].as_u64().expect("a number"), "{dumped}");
        let end = sealed[1]["offset"].as_u64().zip(sealed[1]["length"].as_u64()).map(|(at, len)| at + len - record);
        assert_eq!(end.map(|n| n.to_string()).as_deref(), escrow["value"].as_str(), "{dumped}");
    }
}

/// Whoever reads only the beginning, such as `head`, is no error.
#[test]
fn a_pipe_that_closes_early() {
    let world = World::with_repository();
    for file in 0..4000 {
        world.write(&format!("src/a-rather-long-name-of-a-file-{file:05}"), "");
    }
    world.ok("backup src -q");
    for line in ["find *", "find --json *", "diff latest:/src/sub latest:/src", "ls --ncdu latest", "ls -l latest"] {
        let mut child = world.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut some = [0; 64];
        child.stdout.take().expect("piped").read_exact(&mut some).expect("some output");
        let ran = Ran::of(child.wait_with_output().expect("it ends"));
        assert_eq!(ran.err, "", "{line}");
    }
}
