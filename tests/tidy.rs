//! The house itself: what its pages say of it is true, and nothing in it is lost.
//!
//! These are truths, not tastes. What is a matter of taste, how large rooms and functions are, is
//! printed and never fails: `cargo test --test tidy -- --nocapture mirror`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const LAYERS: [&str; 7] = ["words", "cores", "edges", "repository", "operations", "telling", "surfaces"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every file below a folder of the project, as paths from the project's root, in order.
fn files_below(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|e| e.expect("a readable folder").path()) {
            match path.is_dir() {
                true if path.ends_with("__pycache__") => {}
                true => folders.push(path),
                false => found.push(path.strip_prefix(root()).expect("it is below").to_owned()),
            }
        }
    }
    found.sort();
    found
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = files_below(folder);
    files.retain(|p| p.extension().is_some_and(|e| e == "rs"));
    files
}

/// The source without what its comments and string literals say.
fn code_only(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = literal_or_comment(rest, out.chars().last());
        match skip {
            0 => out.push(c),
            _ => out.extend(rest[..skip].chars().filter(|c| *c == '\n')),
        }
        rest = &rest[skip.max(c.len_utf8())..];
    }
    out
}

/// How long the comment or literal is that begins here; 0 if none does.
fn literal_or_comment(text: &str, before: Option<char>) -> usize {
    let up_to = |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |n| from + n + end.len());
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return up_to("*/", 2);
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if text.starts_with('r') && (!in_word || before == Some('b')) {
        let hashes = text[1..].bytes().take_while(|b| *b == b'#').count();
        if text[1 + hashes..].starts_with('"') {
            return up_to(&format!("\"{}", "#".repeat(hashes)), hashes + 2);
        }
    }
    match text.as_bytes()[0] {
        b'"' => quoted(text, '"'),
        b'\'' if is_character(text) => quoted(text, '\''),
        _ => 0,
    }
}

/// A character literal, and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return i + 1,
            _ => {}
        }
    }
    text.len()
}

/// `a::b` of `crate::a::b`, and each of `crate::{a, b::c}`: the first step of every path.
fn rooms_named_in(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let path = &code[at + found.len()..];
        match path.strip_prefix('{') {
            Some(group) => rooms.extend(first_steps(group)),
            None => rooms.extend(word(path)),
        }
    }
    rooms
}

fn word(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

fn first_steps(group: &str) -> Vec<String> {
    let (mut depth, mut begins, mut steps) = (0, true, Vec::new());
    for (i, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                steps.extend(word(&group[i..]));
                begins = false;
            }
            _ => {}
        }
    }
    steps
}

/// The top-level module that a file of `src` belongs to.
fn room_of(path: &Path) -> Option<String> {
    let first = path.strip_prefix("src").ok()?.components().next()?.as_os_str().to_str()?;
    let room = first.strip_suffix(".rs").unwrap_or(first);
    (room != "lib" && room != "main").then(|| room.to_owned())
}

type Edges = BTreeMap<String, BTreeSet<String>>;

fn edges_in_source() -> Edges {
    let mut edges = Edges::new();
    for path in rust_files("src") {
        let Some(room) = room_of(&path) else { continue };
        let mut named = rooms_named_in(&code_only(&read(&path)));
        named.remove(&room);
        edges.entry(room).or_default().extend(named);
    }
    edges
}

struct Room {
    name: String,
    layer: usize,
    may_use: BTreeSet<String>,
}

const PAGE: &str = "src/docs/architecture.md";

/// A row of the table of rooms as its cells, if the line is one.
fn row(line: &str) -> Option<Vec<&str>> {
    let cells: Vec<&str> = line.strip_prefix("| `")?.strip_suffix('|')?.split('|').map(str::trim).collect();
    (cells.len() == 4).then_some(cells)
}

fn rooms_on_the_page() -> Vec<Room> {
    let page = read(PAGE);
    let rooms = page.lines().filter_map(row).map(|cells| Room {
        name: cells[0].trim_end_matches('`').to_owned(),
        layer: LAYERS.iter().position(|l| *l == cells[1]).unwrap_or_else(|| panic!("no layer is called {}", cells[1])),
        may_use: cells[3].split_whitespace().map(|w| w.trim_matches('`').to_owned()).collect(),
    });
    rooms.collect()
}

/// Write the last column anew.
fn update_page(edges: &Edges) {
    let rewrite = |line: &str| {
        let Some(cells) = row(line) else { return line.to_owned() };
        let name = cells[0].trim_end_matches('`');
        let order: Vec<String> = rooms_on_the_page().into_iter().map(|r| r.name).collect();
        let uses: Vec<String> = order.iter().filter(|r| edges[name].contains(*r)).map(|r| format!("`{r}`")).collect();
        format!("| `{} | {} | {} | {} |", cells[0], cells[1], cells[2], uses.join(" "))
    };
    let page: Vec<String> = read(PAGE).lines().map(rewrite).collect();
    fs::write(root().join(PAGE), page.join("\n") + "\n").expect("the page can be written");
}

#[test]
fn the_table_of_rooms_is_what_the_source_does() {
    let edges = edges_in_source();
    let rooms: BTreeSet<String> = rooms_on_the_page().into_iter().map(|r| r.name).collect();
    assert_eq!(rooms, edges.keys().cloned().collect(), "{PAGE} lists the rooms that there are");
    if std::env::var_os("UPDATE").is_some() {
        update_page(&edges);
    }
    for room in rooms_on_the_page() {
        let uses = &edges[&room.name];
        let unlisted: Vec<_> = uses.difference(&room.may_use).collect();
        let unused: Vec<_> = room.may_use.difference(uses).collect();
        assert!(unlisted.is_empty(), "{} uses {unlisted:?}, and {PAGE} does not say so", room.name);
        assert!(unused.is_empty(), "{PAGE} says that {} uses {unused:?}; it does not", room.name);
    }
}

#[test]
fn arrows_point_down() {
    let layers: BTreeMap<String, usize> = rooms_on_the_page().into_iter().map(|r| (r.name, r.layer)).collect();
    let mut upward = Vec::new();
    for (room, uses) in edges_in_source() {
        let above = uses.into_iter().filter(|used| layers.get(used).is_none_or(|l| *l > layers[&room]));
        upward.extend(above.map(|used| format!("{room} uses {used}")));
    }
    assert_eq!(upward, [""; 0], "these arrows point up");
}

#[test]
fn no_circles() {
    let mut edges = edges_in_source();
    // Whoever uses nobody that is left cannot be on a circle.
    while let Some(free) = edges.iter().find(|(_, uses)| uses.is_empty()).map(|(room, _)| room.clone()) {
        edges.remove(&free);
        edges.values_mut().for_each(|uses| uses.retain(|used| *used != free));
    }
    assert!(edges.is_empty(), "these rooms use each other in a circle: {edges:?}");
}

/// `super::` out of a room would be an arrow that the table does not see.
#[test]
fn nobody_leaves_a_room_by_the_back_door() {
    for path in rust_files("src") {
        let depth = path.with_extension("").components().filter(|c| c.as_os_str() != "mod").count() - 1;
        for line in code_only(&read(&path)).lines().filter(|l| !l.starts_with(' ')) {
            let steps = line.matches("super::").count();
            assert!(steps < depth.max(1), "{}: {line}", path.display());
        }
    }
}

#[test]
fn every_source_file_begins_with_a_sentence() {
    for path in ["src", "tests", "benches", "fuzz"].into_iter().flat_map(rust_files) {
        let text = read(&path);
        let opening: Vec<&str> = text.lines().map_while(|l| l.strip_prefix("//!")).map(str::trim).collect();
        let first = opening.split(|l| l.is_empty()).next().unwrap_or_default().join(" ");
        let sentence = first.ends_with(['.', '?', ':', '|']) || first.contains(". ");
        assert!(sentence, "{} begins with a sentence that says what is in it: {first}", path.display());
    }
}

/// What no test names is not run, or not compared with anything.
#[test]
fn no_test_file_is_forgotten() {
    let manifests = ["Cargo.toml", MODEL].map(read).concat();
    let tests = rust_files("tests").iter().map(read).collect::<String>() + &manifests;
    for path in files_below("tests").iter().filter(|p| p.components().count() > 2) {
        let inner = path.strip_prefix("tests").expect("it is below").to_str().expect("UTF-8");
        let file = path.file_name().and_then(|n| n.to_str()).expect("UTF-8");
        let module = if file == "mod.rs" { path.parent() } else { Some(path.as_path()) };
        let stem = module.and_then(Path::file_stem).and_then(|n| n.to_str()).expect("UTF-8");
        let folder = format!("tests/{}", inner.split('/').next().expect("not empty"));
        let named = match path.extension().is_some_and(|e| e == "rs") {
            true => [format!("#[path = \"{inner}\"]"), format!("mod {stem};"), format!("\npath = \"{file}\"")]
                .iter()
                .any(|naming| tests.contains(naming)),
            false => tests.contains(file) || tests.contains(&folder),
        };
        assert!(named, "no test names {}", path.display());
    }
}

/// The names in a section of a manifest.
fn crates_in(manifest: &str, section: &str) -> BTreeSet<String> {
    let manifest = read(manifest);
    let lines = manifest.lines().skip_while(|l| *l != section).skip(1).take_while(|l| !l.starts_with('['));
    lines.filter_map(|l| Some(l.split_once('=')?.0.trim().to_owned())).collect()
}

const FUZZ: &str = "fuzz/Cargo.toml";
const MODEL: &str = "tests/model/Cargo.toml";
const CRATES: &str = "src/docs/decisions/0008-dependencies.md";

#[test]
fn every_dependency_is_argued() {
    let argued: BTreeSet<String> =
        read(CRATES).lines().filter_map(|l| Some(l.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect();
    let sections = [
        ("Cargo.toml", "[dependencies]"),
        ("Cargo.toml", "[dev-dependencies]"),
        (FUZZ, "[dependencies]"),
        (MODEL, "[dependencies]"),
    ];
    let mut taken: BTreeSet<String> =
        sections.iter().flat_map(|(manifest, section)| crates_in(manifest, section)).collect();
    taken.remove("orlop");
    assert_eq!(taken, argued, "{CRATES} has a row for every crate that Cargo.toml names, and no other");
}

/// Decisions are numbered without gaps and say the same four things.
#[test]
fn decisions_are_whole() {
    let pages = files_below("src/docs/decisions");
    for (n, path) in pages.iter().enumerate() {
        let name = path.file_name().and_then(|n| n.to_str()).expect("UTF-8");
        assert!(name.starts_with(&format!("{:04}-", n + 1)), "{name} should have the number {}", n + 1);
        let text = read(path);
        assert!(text.starts_with("# "), "{name} begins with its title");
        for part in ["**Context.**", "**Choice.**", "**Cost.**", "**What would change it.**"] {
            assert!(text.contains(part), "{name} lacks {part}");
        }
    }
    assert!(!pages.is_empty());
}

/// Functions of a file: length in lines and name. Judged by indentation, which rustfmt keeps.
fn functions(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        let Some((_, name)) = line.split_once("fn ").filter(|(head, _)| is_head(head)) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = lines[n..].iter().position(|l| l.strip_prefix(indent).is_some_and(|l| l == "}" || l == ");"));
        if let (Some(end), false) = (end, line.ends_with('}')) {
            found.push((end + 1, word(name).unwrap_or_default()));
        }
    }
    found
}

fn is_head(head: &str) -> bool {
    let modifier = |w: &str| matches!(w, "const" | "unsafe" | "extern" | "async" | "pub") || w.starts_with("pub(");
    head.split_whitespace().all(modifier)
}

/// Never fails: a look at ourselves.
#[test]
fn mirror() {
    let (mut rooms, mut longest) = (BTreeMap::<String, (usize, usize)>::new(), Vec::new());
    for path in rust_files("src") {
        let text = read(&path);
        let room = rooms.entry(room_of(&path).unwrap_or_default()).or_default();
        *room = (room.0 + text.lines().count(), room.1 + 1);
        longest.extend(functions(&text).into_iter().map(|(n, name)| (n, name, path.clone())));
    }
    rooms.iter().for_each(|(room, (lines, files))| println!("{room:10} {lines:6} lines in {files} files"));
    longest.sort();
    longest.iter().rev().take(12).for_each(|(n, name, path)| println!("{n:4} lines: {name} in {}", path.display()));
    for name in crates_in("Cargo.toml", "[dependencies]") {
        let path = format!("{}::", name.replace('-', "_"));
        let used = rust_files("src").iter().any(|p| code_only(&read(p)).contains(&path));
        if !used {
            println!("no source names the crate {name}");
        }
    }
}

#[test]
fn the_reader_of_source_reads_right() {
    let code = r##"
        use crate::a::b; // crate::comment
        use crate::{c::{d, e}, f};
        let text = "crate::text \" crate::more"; let c = '"'; let l: &'static str = r#"crate::raw "x""#;
        /* crate::block */ crate::g::h(); $crate::macro_path!();
    "##;
    assert_eq!(rooms_named_in(&code_only(code)).into_iter().collect::<Vec<_>>(), ["a", "c", "f", "g"]);
    assert_eq!(
        functions("fn a() {\n    x\n}\n    pub(crate) fn b(\n    ) {\n    }\n"),
        [(3, "a".into()), (3, "b".into())]
    );
}
