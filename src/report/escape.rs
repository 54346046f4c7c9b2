//! Names are bytes, and whoever made the files chose them. On a terminal they must not move the
//! cursor or turn the text around; in JSON they must survive.
//!
//! Where output is not a terminal the bytes go out untouched: that is for programs.

use std::fmt::Write as _;

/// How names are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// As they are, for pipes and files.
    Raw,
    /// Harmless, for terminals.
    Escaped,
}

impl Names {
    /// Bytes ready for output.
    pub fn bytes(self, name: &[u8]) -> Vec<u8> {
        match self {
            Self::Raw => name.to_vec(),
            Self::Escaped => harmless(name).into_bytes(),
        }
    }
    /// Bytes as text, for tables: what is no UTF-8 and not escaped is replaced.
    pub fn shown(self, name: &[u8]) -> String {
        match self {
            Self::Raw => lossy(name),
            Self::Escaped => harmless(name),
        }
    }
    /// Text ready for output.
    pub fn text(self, text: &str) -> String {
        match self {
            Self::Raw => text.to_owned(),
            Self::Escaped => harmless(text.as_bytes()),
        }
    }
}

/// Control characters, characters that change direction or cannot be seen, and invalid UTF-8
/// become `\x1b`, `\u{202e}`, `\xff`. A backslash is doubled only in a name that needs this.
pub fn harmless(name: &[u8]) -> String {
    let plain = std::str::from_utf8(name).ok();
    if let Some(text) = plain
        && !text.chars().any(is_harmful)
    {
        return text.to_owned();
    }
    let mut out = String::with_capacity(name.len() + 16);
    for part in name.utf8_chunks() {
        for c in part.valid().chars() {
            escape_into(&mut out, c);
        }
        for b in part.invalid() {
            write!(out, "\\x{b:02x}").expect("writing to a string cannot fail");
        }
    }
    out
}

/// As [`harmless`], but lines stay lines: for messages made of several.
pub fn harmless_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|l| harmless(l.as_bytes())).collect();
    lines.join("\n")
}

fn escape_into(out: &mut String, c: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        '\r' => out.push_str("\\r"),
        c if !is_harmful(c) => out.push(c),
        c if c.is_ascii() => {
            write!(out, "\\x{:02x}", u32::from(c)).expect("writing to a string cannot fail");
        }
        c => {
            write!(out, "\\u{{{:x}}}", u32::from(c)).expect("writing to a string cannot fail");
        }
    }
}

/// JSON with characters that are harmful on terminals written as `\u` escapes, which mean the same.
pub fn json_escapes(json: String) -> String {
    let harmful = |c: char| !c.is_ascii() && is_harmful(c) || c == '\u{7f}';
    if !json.chars().any(harmful) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if harmful(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("writing to a string cannot fail");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether a character may change more of a terminal than the cells it fills.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
        )
}

/// The base64 form of bytes that are no UTF-8; `None` for those that are, whose text is enough.
pub fn raw_form(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).is_err().then(|| base64(bytes))
}

/// The base64 forms of a list, if any of it needs one.
pub fn raw_forms(list: &[Vec<u8>]) -> Option<Vec<String>> {
    list.iter().any(|b| std::str::from_utf8(b).is_err()).then(|| list.iter().map(|b| base64(b)).collect())
}

/// Text with U+FFFD for what is no UTF-8.
pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            if i <= group.len() {
                let digit = bits >> (18 - 6 * i) & 63;
                out.push(char::from(DIGITS[digit as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// How many cells of a terminal a text fills, near enough to cut it.
pub fn width(text: &str) -> usize {
    text.chars().map(cells).sum()
}

/// The beginning of a text that fills at most so many cells.
pub fn cut(text: &str, cells_max: usize) -> &str {
    let mut used = 0;
    for (i, c) in text.char_indices() {
        used += cells(c);
        if used > cells_max {
            return &text[..i];
        }
    }
    text
}

fn cells(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x1ab0..=0x1aff | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f => 0,
        0x200c | 0x200d => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0x33ff
        | 0x3400..=0x4dbf
        | 0x4e00..=0x9fff
        | 0xa000..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_terminals() {
        for (name, text) in [
            (&b"plain"[..], "plain"),
            ("grüße 文書 👩\u{200d}💻".as_bytes(), "grüße 文書 👩\u{200d}💻"),
            (b"back\\slash", "back\\slash"),
            (b"back\\slash\x07", "back\\\\slash\\x07"),
            (b"\x1b[31mred", "\\x1b[31mred"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"two\nlines\ttab\r", "two\\nlines\\ttab\\r"),
            ("gpj.\u{202e}exe".as_bytes(), "gpj.\\u{202e}exe"),
            ("c1\u{9b}31m".as_bytes(), "c1\\u{9b}31m"),
            ("\u{e0041}tag".as_bytes(), "\\u{e0041}tag"),
            (b"\x7f", "\\x7f"),
        ] {
            assert_eq!(harmless(name), text);
            assert_eq!(Names::Raw.bytes(name), name);
        }
        assert_eq!(harmless_lines("a\x1b\nb"), "a\\x1b\nb");
    }

    #[test]
    fn bytes_in_json() {
        assert_eq!(raw_form("grüße".as_bytes()), None);
        assert_eq!(raw_form(b"\xff").as_deref(), Some("/w=="));
        assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
        assert_eq!(base64(b"any carnal pleasu"), "YW55IGNhcm5hbCBwbGVhc3U=");
        assert_eq!(base64(b"any carnal pleasur"), "YW55IGNhcm5hbCBwbGVhc3Vy");
        assert_eq!(raw_forms(&[b"a".to_vec()]), None);
        let json = "\"a\u{202e}\u{e0041}\u{7f}ü\"".to_owned();
        assert_eq!(json_escapes(json), r#""a\u202e\udb40\udc41\u007fü""#);
    }

    #[test]
    fn cutting_at_cells() {
        assert_eq!(width("e\u{301}a"), 2);
        assert_eq!(width("文書"), 4);
        assert_eq!(cut("文書", 3), "文");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abc", 0), "");
    }
}
