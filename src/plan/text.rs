//! Text files people write for us: byte order marks, line ends, white space.
//!
//! Lists and pattern files come from editors on any system, so a byte order mark is taken off
//! and UTF-16 is understood. Everything else stays the bytes it was: a file name need not be
//! UTF-8, and a list of names neither.

use std::borrow::Cow;

/// The contents without a byte order mark; UTF-16 with a mark becomes UTF-8.
///
/// Half surrogates and an odd last byte become U+FFFD: a damaged list names files that do not
/// exist, which the walk will say, rather than failing here without a line number.
pub fn decode(contents: &[u8]) -> Cow<'_, [u8]> {
    match contents {
        [0xef, 0xbb, 0xbf, rest @ ..] => Cow::Borrowed(rest),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(from_utf16(rest, u16::from_be_bytes)),
        [0xff, 0xfe, rest @ ..] => Cow::Owned(from_utf16(rest, u16::from_le_bytes)),
        _ => Cow::Borrowed(contents),
    }
}

fn from_utf16(bytes: &[u8], join: fn([u8; 2]) -> u16) -> Vec<u8> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let mut out = String::with_capacity(bytes.len());
    for unit in char::decode_utf16(pairs.iter().map(|pair| join(*pair))) {
        out.push(unit.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    if !odd.is_empty() {
        out.push(char::REPLACEMENT_CHARACTER);
    }
    out.into_bytes()
}

/// The lines with their numbers from 1. LF ends a line, one CR before it goes with it, and a
/// missing LF at the end loses nothing.
pub fn lines(contents: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let body = contents.strip_suffix(b"\n").unwrap_or(contents);
    let split = (!contents.is_empty()).then(|| body.split(|b| *b == b'\n'));
    split.into_iter().flatten().zip(1..).map(|(line, number)| (number, line.strip_suffix(b"\r").unwrap_or(line)))
}

/// Without Unicode white space at both ends. Bytes that are not UTF-8 are not white space.
pub(super) fn trim(mut line: &[u8]) -> &[u8] {
    while let Some((c, width)) = first_char(line)
        && c.is_whitespace()
    {
        line = &line[width..];
    }
    while let Some((c, width)) = last_char(line)
        && c.is_whitespace()
    {
        line = &line[..line.len() - width];
    }
    line
}

/// The first character and its width; a byte that begins none is U+FFFD and one byte wide.
pub(super) fn first_char(bytes: &[u8]) -> Option<(char, usize)> {
    let width = match *bytes.first()? {
        lead @ 0..=0x7f => return Some((char::from(lead), 1)),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Some((char::REPLACEMENT_CHARACTER, 1)),
    };
    let decoded = bytes.get(..width).and_then(|head| std::str::from_utf8(head).ok()).and_then(|s| s.chars().next());
    Some(decoded.map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, width)))
}

fn last_char(bytes: &[u8]) -> Option<(char, usize)> {
    let from = bytes.len().saturating_sub(4);
    for start in (from..bytes.len()).rev() {
        if let Some((c, width)) = first_char(&bytes[start..])
            && start + width == bytes.len()
            && (c != char::REPLACEMENT_CHARACTER || width > 1)
        {
            return Some((c, width));
        }
    }
    bytes.last().map(|_| (char::REPLACEMENT_CHARACTER, 1))
}

/// Lower case, one character for one character, as file name patterns need it. Bytes that are
/// not UTF-8 stay what they are.
pub(super) fn lower(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.iter().any(|b| b.is_ascii_uppercase() || !b.is_ascii()) {
        return Cow::Borrowed(bytes);
    }
    if bytes.is_ascii() {
        return Cow::Owned(bytes.to_ascii_lowercase());
    }
    let mut out = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            // Only İ has more than one lower-case character; the first is its simple mapping.
            let low = c.to_lowercase().next().unwrap_or(c);
            out.extend_from_slice(low.encode_utf8(&mut [0; 4]).as_bytes());
        }
        out.extend_from_slice(chunk.invalid());
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_like_lines() {
        let all = |s: &'static str| lines(s.as_bytes()).map(|(n, l)| (n, l.to_vec())).collect::<Vec<_>>();
        assert_eq!(all(""), []);
        assert_eq!(all("\n"), [(1, b"".to_vec())]);
        assert_eq!(all("a\r\n\nb"), [(1, b"a".to_vec()), (2, b"".to_vec()), (3, b"b".to_vec())]);
    }

    #[test]
    fn marks_and_wide_text() {
        assert_eq!(&*decode(b"\xef\xbb\xbfa"), b"a");
        assert_eq!(&*decode(b"\xff\xfea\0\xe9\0"), "aé".as_bytes());
        assert_eq!(&*decode(b"\xfe\xff\0a\xd8\0\0"), "a\u{fffd}\u{fffd}".as_bytes());
        assert_eq!(&*decode(b"\xffa"), b"\xffa");
    }

    #[test]
    fn white_space_is_unicode_and_bytes_survive() {
        assert_eq!(trim("\u{a0}\t a b\u{3000}\r".as_bytes()), b"a b");
        assert_eq!(trim(b" \xff\xa0 "), b"\xff\xa0");
        assert_eq!(trim(b"  "), b"");
        assert_eq!(&*lower("ÄİX\u{3a3}".as_bytes()), "äix\u{3c3}".as_bytes());
        assert_eq!(&*lower(b"A\xffB"), b"a\xffb");
    }
}
