//! Sizes, spans, subsets and lists, as tables.

use orlop::plan::lists::{Look, expand, files_from, files_from_raw, files_from_verbatim};
use orlop::plan::size::{Span, parse_bytes};
use orlop::plan::subset::Subset;

#[test]
fn sizes() {
    let most = i64::MAX as u64;
    for (text, expected) in [
        ("0", 0),
        ("10", 10),
        ("10b", 10),
        ("10B", 10),
        ("1k", 1 << 10),
        ("1K", 1 << 10),
        ("2m", 2 << 20),
        ("3G", 3 << 30),
        ("4t", 4 << 40),
        ("+5", 5),
        ("9223372036854775807", most),
        ("8388607T", 8_388_607 << 40),
    ] {
        assert_eq!(parse_bytes(text).unwrap(), expected, "{text}");
    }
    for text in [
        "",
        "k",
        "-1",
        "1.5k",
        "10kb",
        "1e3",
        " 1",
        "1 ",
        "0x10",
        "1_0",
        "8388608T",
        "9223372036854775808",
        "99999999999999999999",
        "++1",
        "é",
    ] {
        assert!(parse_bytes(text).is_err(), "{text}");
    }
}

#[test]
fn spans() {
    let span = |years, months, days, hours| Span { years, months, days, hours };
    for (text, expected) in [
        ("1y5m7d2h", span(1, 5, 7, 2)),
        ("2h7d", span(0, 0, 7, 2)),
        ("", span(0, 0, 0, 0)),
        (" 3d ", span(0, 0, 3, 0)),
        ("3d4d", span(0, 0, 4, 0)),
        ("-1y", span(-1, 0, 0, 0)),
    ] {
        assert_eq!(Span::parse(text).unwrap(), expected, "{text}");
    }
    for text in ["1", "y", "1w", "1y5", "1 d", "99999999999999d", "-d", "1dé", "١d"] {
        assert!(Span::parse(text).is_err(), "{text}");
    }
}

#[test]
fn subsets() {
    for (text, expected) in [
        ("1/5", Subset::Group { group: 1, groups: 5 }),
        ("256/256", Subset::Group { group: 256, groups: 256 }),
        ("2.5%", Subset::Percent(2.5)),
        ("100%", Subset::Percent(100.0)),
        ("500M", Subset::Bytes(500 << 20)),
        ("1b", Subset::Bytes(1)),
    ] {
        assert_eq!(Subset::parse(text).unwrap(), expected, "{text}");
    }
    for text in [
        "", "5", "0/5", "6/5", "1/257", "1/2/3", "/", "1/", "+1/2", "0%", "100.1%", "NaN%", "%", "x%", "0M", "M",
        "-1M", "1.5G",
    ] {
        assert!(Subset::parse(text).is_err(), "{text}");
    }
}

#[test]
fn lists() {
    let globs =
        |text: &[u8]| files_from("list", text).map(|l| l.into_iter().map(|l| (l.number, l.glob)).collect::<Vec<_>>());
    let read = globs(b"\xef\xbb\xbf a \r\n#c\n\n  # d\nb c\n*.\xff").unwrap();
    assert_eq!(read, [(1, b"a".to_vec()), (5, b"b c".to_vec()), (6, b"*.\xff".to_vec())]);
    let refusal = globs(b"ok\n/x/[").unwrap_err().to_string();
    assert!(refusal.contains("at byte 3") && refusal.contains("line 2 of list"), "{refusal}");

    assert_eq!(files_from_verbatim(b" a \r\n#c\n\n\n*"), [&b" a "[..], b"#c", b"*"]);
    assert_eq!(files_from_raw("list", b"a\0\n\0").unwrap(), [&b"a"[..], b"\n"]);
    assert!(files_from_raw("list", b"").unwrap().is_empty());
    for bad in [&b"a"[..], b"a\0b", b"\0", b"a\0\0b\0", b"a\0\0"] {
        assert!(files_from_raw("list", bad).is_err(), "{bad:?}");
    }
}

/// A disk of these paths, directories made as needed.
struct Disk(&'static [&'static str]);

impl Look for Disk {
    fn exists(&mut self, path: &[u8]) -> bool {
        self.0.iter().any(|p| p.as_bytes() == path)
    }
    fn names(&mut self, dir: &[u8]) -> Vec<Vec<u8>> {
        let dir = if dir == b"." { Vec::new() } else { [dir.strip_suffix(b"/").unwrap_or(dir), b"/"].concat() };
        let below = self.0.iter().filter_map(|p| p.as_bytes().strip_prefix(&dir[..]));
        let mut names: Vec<Vec<u8>> =
            below.filter_map(|p| p.split(|b| *b == b'/').next().map(<[u8]>::to_vec)).collect();
        names.sort();
        names.dedup();
        names.retain(|name| !name.is_empty());
        names
    }
}

#[test]
fn globs_ask_for_directories() {
    let mut disk = Disk(&["/a/x.c", "/a/y.c", "/b/x.c", "/b/.c", "/b/*", "rel/x.c", "/a/d/e"]);
    for (glob, expected) in [
        ("/a/x.c", &["/a/x.c"][..]),
        ("/a/none", &[]),
        ("/*/x.c", &["/a/x.c", "/b/x.c"]),
        ("/b/*.c", &["/b/.c", "/b/x.c"]),
        ("/[ab]/[x-y].c", &["/a/x.c", "/a/y.c", "/b/x.c"]),
        ("/b/\\*", &["/b/*"]),
        ("*/x.c", &["rel/x.c"]),
        ("/?", &["/a", "/b"]),
        ("/a/**", &["/a/d", "/a/x.c", "/a/y.c"]),
        ("/*/", &[]),
    ] {
        let found = expand(glob.as_bytes(), &mut disk).unwrap();
        let found: Vec<_> = found.iter().map(|p| std::str::from_utf8(p).unwrap()).collect();
        assert_eq!(found, expected, "{glob}");
    }
    assert!(expand(b"/a[/x", &mut disk).is_err());
    // However many slashes a line has, no stack is too small for it.
    assert!(expand(&b"*/".repeat(200_000), &mut disk).unwrap().is_empty());
}
