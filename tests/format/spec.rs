//! The tables of the specification are made from the code, or compared with it.
//!
//! Field tables stand between `<!-- fields: Name -->` (or `choices:`) and `<!-- end -->`;
//! `UPDATE=1` writes them from the source. Limits and labels are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use orlop::format::limits::*;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn files(dir: &str, ending: &str) -> Vec<PathBuf> {
    let dir = std::fs::read_dir(root().join(dir)).unwrap();
    let mut out: Vec<PathBuf> =
        dir.map(|f| f.unwrap().path()).filter(|p| p.to_str().unwrap().ends_with(ending)).collect();
    out.sort();
    out
}

/// The sources of everything that is stored.
fn sources() -> String {
    ["src/format", "src/format/gc", "src/model", "src/crypto"]
        .iter()
        .flat_map(|d| files(d, ".rs"))
        .map(|p| read(&p))
        .collect()
}

/// What the specification calls a type.
fn spoken(ty: &str) -> String {
    let ty = ty.trim();
    let inside = |open: &str| ty.strip_prefix(open).and_then(|t| t.strip_suffix('>'));
    if ty == "Vec<u8>" {
        return "bytes".into();
    }
    if let Some(t) = inside("Vec<") {
        return format!("list of {}", spoken(t));
    }
    if let Some(t) = inside("Option<") {
        return format!("optional {}", spoken(t));
    }
    if let Some(t) = ty.strip_prefix("[u8; ").and_then(|t| t.strip_suffix(']')) {
        return format!("{} bytes", t.replace("SHORT_ID_LEN", "20"));
    }
    if let Some(t) = ty.strip_prefix('(').and_then(|t| t.strip_suffix(')')) {
        let parts: Vec<String> = t.split(", ").map(spoken).collect();
        return format!("({})", parts.join(", "));
    }
    match ty {
        "String" => "text".into(),
        other => other.rsplit("::").next().unwrap().into(),
    }
}

/// Documentation without the links that only rustdoc can follow.
fn said(doc: &str) -> String {
    doc.replace("[`crate::format::limits::", "`")
        .replace("[`", "`")
        .replace("`]", "`")
        .replace("Self::", "")
        .replace(" | ", " \\| ")
}

/// Every encoded structure and choice of the source: its table.
fn tables() -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for path in ["src/format", "src/model", "src/crypto"].iter().flat_map(|d| files(d, ".rs")) {
        let source = read(&path);
        let lines: Vec<&str> = source.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let derives = |l: &&str| l.contains("derive(") && l.contains("bincode::Encode");
            let derived = lines[i.saturating_sub(4)..i].iter().any(derives);
            let named = |word: &str| line.strip_prefix(word).and_then(|l| l.strip_suffix(" {")).filter(|_| derived);
            // Two heads: the one of a segment is called so.
            let segment = if path.ends_with("segment.rs") { "Segment" } else { "" };
            let made = named("pub struct ")
                .map(|n| (format!("fields: {}{n}", if n == "Head" { segment } else { "" }), fields(&lines[i + 1..])))
                .or_else(|| named("pub enum ").map(|n| (format!("choices: {n}"), choices(&lines[i + 1..]))));
            if let Some((name, table)) = made {
                assert!(out.insert(name.clone(), table).is_none(), "two structures called {name}");
            }
        }
    }
    out
}

fn fields(lines: &[&str]) -> String {
    let mut out = String::from("| field | type | meaning |\n|---|---|---|\n");
    let mut doc = String::new();
    for line in lines.iter().take_while(|l| **l != "}").map(|l| l.trim()) {
        if let Some(d) = line.strip_prefix("///") {
            write!(doc, "{}{}", if doc.is_empty() { "" } else { " " }, d.trim()).unwrap();
        } else if let Some((name, ty)) = line.strip_prefix("pub ").and_then(|l| l.split_once(": ")) {
            writeln!(out, "| {name} | {} | {} |", spoken(ty.trim_end_matches(',')), said(&doc)).unwrap();
            doc.clear();
        }
    }
    out
}

fn choices(lines: &[&str]) -> String {
    let mut out = String::from("| number | choice | followed by | meaning |\n|---|---|---|---|\n");
    let (mut doc, mut number) = (String::new(), 0);
    let mut open: Option<(String, Vec<String>)> = None;
    let mut inner_doc = String::new();
    for line in lines.iter().take_while(|l| **l != "}").map(|l| l.trim()) {
        match &mut open {
            Some((name, parts)) if line == "}," => {
                writeln!(out, "| {number} | {name} | {} | {} |", parts.join("; "), said(&doc)).unwrap();
                number += 1;
                doc.clear();
                open = None;
            }
            Some((_, parts)) => {
                if let Some(d) = line.strip_prefix("///") {
                    inner_doc = d.trim().trim_end_matches('.').into();
                } else if let Some((field, ty)) = line.split_once(": ") {
                    parts.push(format!("{field}: {} ({inner_doc})", spoken(ty.trim_end_matches(','))));
                }
            }
            None if line.starts_with("///") => {
                write!(doc, "{}{}", if doc.is_empty() { "" } else { " " }, line[3..].trim()).unwrap();
            }
            None if line.starts_with('#') || line.is_empty() => {}
            None => match line.strip_suffix(" {") {
                Some(name) => open = Some((name.into(), Vec::new())),
                None => {
                    let line = line.trim_end_matches(',');
                    let line = line.split(" = ").next().unwrap();
                    let (name, with) = line.split_once('(').unwrap_or((line, ""));
                    let with = with.strip_suffix(')').map(spoken).unwrap_or_default();
                    writeln!(out, "| {number} | {name} | {with} | {} |", said(&doc)).unwrap();
                    number += 1;
                    doc.clear();
                }
            },
        }
    }
    out
}

#[test]
fn every_structure_has_its_table() {
    let tables = tables();
    let mut found = BTreeSet::new();
    let mut wrong = Vec::new();
    for path in files("format-spec", ".md") {
        let text = read(&path);
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find("<!-- fields: ").into_iter().chain(rest.find("<!-- choices: ")).min() {
            let (before, from) = rest.split_at(at);
            let name = from.strip_prefix("<!-- ").unwrap().split(" -->").next().unwrap();
            let end = from.find("<!-- end -->").unwrap_or_else(|| panic!("{name}: no end"));
            let table = tables.get(name).unwrap_or_else(|| panic!("{}: no such structure: {name}", path.display()));
            assert!(found.insert(name.to_string()), "{name} is there twice");
            write!(out, "{before}<!-- {name} -->\n\n{table}\n").unwrap();
            rest = &from[end..];
        }
        out.push_str(rest);
        if out != text {
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, out).unwrap();
            } else {
                wrong.push(path);
            }
        }
    }
    assert!(wrong.is_empty(), "UPDATE=1 writes these tables anew: {wrong:?}");
    let all: BTreeSet<String> = tables.into_keys().collect();
    let missing: Vec<_> = all.difference(&found).collect();
    assert!(missing.is_empty(), "not in the specification: {missing:?}");
}

#[test]
fn limits_are_the_same() {
    let all: &[(&str, u64)] = &[
        ("BLOB_MAX", BLOB_MAX as u64),
        ("FRAME_TARGET", FRAME_TARGET as u64),
        ("FRAME_TARGET_LONG", FRAME_TARGET_LONG as u64),
        ("LONG_FILE", LONG_FILE),
        ("FRAME_TARGET_SMALL", FRAME_TARGET_SMALL as u64),
        ("FRAME_PLAIN_MAX", FRAME_PLAIN_MAX as u64),
        ("FRAME_BLOBS_MAX", FRAME_BLOBS_MAX as u64),
        ("PACK_MAX", PACK_MAX),
        ("PACK_ROUND", PACK_ROUND),
        ("PACK_SMALL", PACK_SMALL),
        ("PACK_ROUND_SMALL", PACK_ROUND_SMALL),
        ("TABLE_MAX", TABLE_MAX as u64),
        ("PAGE_MAX", PAGE_MAX as u64),
        ("DIR_PAGE_MIN", DIR_PAGE_MIN as u64),
        ("PAGE_ENTRIES_MAX", PAGE_ENTRIES_MAX as u64),
        ("LIST_PAGE_MIN", LIST_PAGE_MIN as u64),
        ("INNER_PAGE_MIN", INNER_PAGE_MIN as u64),
        ("INNER_PAGE_MAX", INNER_PAGE_MAX as u64),
        ("PAGE_LEVEL_MAX", PAGE_LEVEL_MAX.into()),
        ("INLINE_MAX", INLINE_MAX as u64),
        ("EXTENTS_INLINE_MAX", EXTENTS_INLINE_MAX as u64),
        ("XATTR_INLINE_MAX", XATTR_INLINE_MAX as u64),
        ("XATTR_MAX", XATTR_MAX as u64),
        ("NAME_MAX", NAME_MAX as u64),
        ("SYMLINK_MAX", SYMLINK_MAX as u64),
        ("DEPTH_MAX", DEPTH_MAX as u64),
        ("RECORD_MAX", RECORD_MAX as u64),
        ("SEGMENT_MAX", SEGMENT_MAX as u64),
        ("ARMOUR_SHARDS", ARMOUR_SHARDS as u64),
        ("SLOTS_MAX", SLOTS_MAX as u64),
        ("GC_PACKS_MAX", GC_PACKS_MAX as u64),
        ("TEXT_MAX", TEXT_MAX as u64),
        ("TAGS_MAX", TAGS_MAX as u64),
        ("PARITY_DATA_MAX", PARITY_DATA_MAX as u64),
        ("PARITY_SHARDS_MAX", PARITY_SHARDS_MAX as u64),
    ];
    let in_code = read(&root().join("src/format/limits.rs")).matches("pub const ").count();
    assert_eq!(in_code, all.len(), "limits.rs has a constant that this test does not know");
    let text = read(&root().join("format-spec/00-conventions.md"));
    let rows: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|l| {
            let mut cells = l.strip_prefix("| `")?.split('|');
            let name = cells.next()?.trim().strip_suffix('`')?;
            Some((name, cells.next()?.trim().replace(',', "").parse().ok()?))
        })
        .collect();
    assert_eq!(rows, all.iter().copied().collect::<BTreeMap<_, _>>());
}

/// Every quoted text that begins with `orlop v1`.
fn labels(text: &str, quote: char) -> BTreeSet<String> {
    let start = format!("{quote}orlop v1 ");
    let mut out = BTreeSet::new();
    for (at, _) in text.match_indices(&start) {
        let rest = &text[at + 1..];
        out.insert(rest[..rest.find(quote).unwrap()].to_string());
    }
    out
}

#[test]
fn labels_are_the_same() {
    let spec = labels(&read(&root().join("format-spec/00-conventions.md")), '`');
    assert_eq!(labels(&sources(), '"'), spec);
}

#[test]
fn magic_numbers_are_the_same() {
    let magics = |text: &str| -> BTreeSet<String> {
        text.match_indices("ORLP").filter_map(|(at, _)| text.get(at..at + 8)).map(str::to_string).collect()
    };
    let spec: String = files("format-spec", ".md").iter().map(|p| read(p)).collect();
    assert_eq!(magics(&sources()), magics(&spec));
}

#[test]
fn links_lead_somewhere() {
    for path in files("format-spec", ".md") {
        let text = read(&path);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#']).next().unwrap();
            let there =
                target.is_empty() || target.starts_with("http") || root().join("format-spec").join(target).exists();
            assert!(there, "{}: {target}", path.display());
        }
    }
}

/// Every parser is fuzzed: targets, packages and files agree.
#[test]
fn every_target_is_a_fuzz_target() {
    let manifest = read(&root().join("fuzz/Cargo.toml"));
    let names: BTreeSet<&str> = crate::targets::TARGETS.iter().map(|(name, _)| *name).collect();
    let built: BTreeSet<&str> =
        manifest.lines().filter_map(|l| l.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\"")).collect();
    assert_eq!(names, built);
    for name in names {
        assert!(root().join(format!("fuzz/fuzz_targets/{name}.rs")).exists(), "{name}");
    }
}

/// The independent reader's structures are the specification's: fields, order and types.
#[test]
fn the_reader_reads_the_same_structures() {
    let script = read(&root().join("format-spec/reader/orlop_reader.py"));
    let part = |name: &str| {
        let from = script.split_once(&format!("{name} = \"\"\"\n")).unwrap().1;
        from.split_once("\"\"\"").unwrap().0.to_string()
    };
    let plain = |ty: &str| {
        let mut ty = ty.to_string();
        for (length, names) in [
            ("32", ["BlobId", "PackId", "SegmentId", "RecordId", "Secret", "PublicKey"].as_slice()),
            ("16", ["ClientId", "SessionId", "DomainId", "InstanceId", "SlotId"].as_slice()),
        ] {
            names.iter().for_each(|n| ty = ty.replace(n, length));
        }
        // `16 bytes` is written 16 there.
        for n in [4, 8, 16, 32] {
            ty = ty.replace(&format!("{n} bytes"), &n.to_string());
        }
        ty
    };
    let tables = tables();
    for line in part("STRUCTURES").lines() {
        let (name, fields) = line.split_once(": ").unwrap();
        let rows = tables[&format!("fields: {name}")].lines().skip(2);
        let want: Vec<String> = rows
            .map(|r| {
                let cells: Vec<&str> = r.split(" | ").collect();
                format!("{} {}", cells[0].trim_start_matches("| "), plain(cells[1]))
            })
            .collect();
        assert_eq!(fields, want.join("; "), "{name}");
    }
    for line in part("CHOICES").lines() {
        let (name, choices) = line.split_once(" = ").unwrap();
        let rows = tables[&format!("choices: {name}")].lines().skip(2);
        let want: Vec<&str> = rows.map(|r| r.split(" | ").nth(1).unwrap()).collect();
        let have: Vec<&str> = choices.split(" | ").map(|c| c.split(['{', '(']).next().unwrap()).collect();
        assert_eq!(have, want, "{name}");
    }
}
