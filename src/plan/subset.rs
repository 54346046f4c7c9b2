//! Which part of the stored data a check reads: `--read-data-subset`.

use crate::error::{Error, ErrorKind, Result};
use crate::plan::size::parse_bytes;

/// What was asked for. Which packs that means is decided where the packs are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Subset {
    /// Group `group` of `groups`, from 1: over `groups` runs everything is read once.
    Group {
        /// Which one, from 1.
        group: u16,
        /// Of how many, at most [`GROUPS_MAX`].
        groups: u16,
    },
    /// A random share of the packs, above 0 and up to 100.
    Percent(f64),
    /// Random packs up to about this many bytes.
    Bytes(u64),
}

/// Groups are cut by the first byte of a pack's name, so there cannot be more.
pub const GROUPS_MAX: u16 = 256;

impl Subset {
    /// From `n/t`, `x%` or a size with its unit. A bare number is refused: it reads equally
    /// well as bytes, percent or a group, and one of these takes a week.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Error::new(ErrorKind::Invalid, format!("--read-data-subset {text:?}: {why}"))
                .hint("use n/t (1/5 reads the first of five groups), x% (2.5%) or a size (500M)")
        };
        if let Some((group, groups)) = text.split_once('/') {
            return parse_group(group, groups).map_err(refuse);
        }
        if let Some(number) = text.strip_suffix('%') {
            let percent: f64 = number.parse().map_err(|_| refuse("there is no number before the %"))?;
            let fits = percent > 0.0 && percent <= 100.0;
            return fits
                .then_some(Self::Percent(percent))
                .ok_or_else(|| refuse("it must be above 0% and at most 100%"));
        }
        if !text.ends_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(refuse("a bare number could mean anything"));
        }
        match parse_bytes(text).map_err(|cause| refuse("it is none of the three forms").because(cause))? {
            0 => Err(refuse("the size must be above 0")),
            bytes => Ok(Self::Bytes(bytes)),
        }
    }
}

fn parse_group(group: &str, groups: &str) -> Result<Subset, &'static str> {
    let number = |s: &str| s.parse::<u64>().ok().filter(|_| s.bytes().all(|b| b.is_ascii_digit()));
    let (Some(group), Some(groups)) = (number(group), number(groups)) else {
        return Err("n/t needs two whole numbers");
    };
    if group == 0 || group > groups {
        return Err("n/t needs n from 1 to t");
    }
    if groups > u64::from(GROUPS_MAX) {
        return Err("there are at most 256 groups");
    }
    match (u16::try_from(group), u16::try_from(groups)) {
        (Ok(group), Ok(groups)) => Ok(Subset::Group { group, groups }),
        _ => Err("there are at most 256 groups"),
    }
}
