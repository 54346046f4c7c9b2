//! Sizes like `10M` and spans of time like `1y5m7d2h`, as people type them.

use crate::error::{Error, ErrorKind, Result};

/// Bytes from `500`, `500B`, `10k`, `10M`, `2G`, `1T`: whole numbers, powers of 1024, either case.
///
/// ```
/// use orlop::plan::size::parse_bytes;
/// assert_eq!(parse_bytes("10M").unwrap(), 10 << 20);
/// assert!(parse_bytes("10MB").is_err());
/// ```
pub fn parse_bytes(text: &str) -> Result<u64> {
    let refuse = |why: &str| Error::new(ErrorKind::Invalid, format!("{text:?} is no size: {why}"));
    let (digits, shift) = match text.as_bytes().last() {
        None => return Err(refuse("it is empty")),
        Some(b'b' | b'B') => (&text[..text.len() - 1], 0),
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        Some(b't' | b'T') => (&text[..text.len() - 1], 40),
        Some(_) => (text, 0),
    };
    let shape = || refuse("expected a whole number and one of B, K, M, G, T").hint("write 10M for ten mebibytes");
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(shape());
    }
    let too_much = || refuse("it is more than 8 exbibytes");
    let number: u64 = digits.parse().map_err(|_| too_much())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(too_much)?;
    i64::try_from(bytes).map(|_| bytes).map_err(|_| too_much())
}

/// A span in calendar units, none converted into another: a month stays a month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Years.
    pub years: i32,
    /// Months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Hours.
    pub hours: i32,
}

impl Span {
    /// From `1y5m7d2h`: units in any order, each number with its unit, `m` is months. A unit
    /// named twice counts as last named; nothing at all is the empty span.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: String| Error::new(ErrorKind::Invalid, format!("{text:?} is no span of time: {why}"));
        let mut span = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let sign = usize::from(rest.starts_with('-'));
            let digits = rest[sign..].bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return Err(refuse(format!("expected a number at {rest:?}")));
            }
            let (number, tail) = rest.split_at(sign + digits);
            let value = number.parse().map_err(|_| refuse(format!("{number} is too large")))?;
            let mut tail = tail.chars();
            match tail.next() {
                Some('y') => span.years = value,
                Some('m') => span.months = value,
                Some('d') => span.days = value,
                Some('h') => span.hours = value,
                Some(other) => {
                    return Err(refuse(format!("{other:?} after {number} is none of y, m, d, h")));
                }
                None => return Err(refuse(format!("no unit after {number}; use y, m, d or h"))),
            }
            rest = tail.as_str();
        }
        Ok(span)
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
