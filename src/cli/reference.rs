//! How a snapshot is named on the command line: `4f3a09b1`, `latest`, `latest~2`, each with
//! `:PATH` for a directory in it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, ErrorKind, Result};
pub use crate::ops::select::Which;

/// A snapshot and a place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Which snapshot.
    pub which: Which,
    /// A path in it, as it was typed.
    pub subdir: Option<Vec<u8>>,
}

impl Reference {
    /// Understand what was typed.
    pub fn parse(typed: &OsStr) -> Result<Self> {
        let bytes = typed.as_bytes();
        let (name, subdir) = match bytes.iter().position(|b| *b == b':') {
            Some(i) => (&bytes[..i], Some(bytes[i + 1..].to_vec())),
            None => (bytes, None),
        };
        let which = which(name).ok_or_else(|| {
            let shown = String::from_utf8_lossy(name).into_owned();
            Error::new(ErrorKind::Invalid, format!("no snapshot's id begins with '{shown}', which is no number in hex"))
                .hint("a snapshot is named by the beginning of its id, latest, or latest~N")
        })?;
        Ok(Self { which, subdir: subdir.filter(|s| !s.is_empty()) })
    }
}

fn which(name: &[u8]) -> Option<Which> {
    let name = std::str::from_utf8(name).ok()?;
    if name == "latest" {
        return Some(Which::Latest { back: 0 });
    }
    if let Some(back) = name.strip_prefix("latest~") {
        return back.parse().ok().map(|back| Which::Latest { back });
    }
    let hex = !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| Which::Prefix(name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let parse = |text: &str| Reference::parse(OsStr::new(text));
        let latest = |back| Which::Latest { back };
        assert_eq!(parse("latest").expect("ok"), Reference { which: latest(0), subdir: None });
        assert_eq!(parse("latest~12").expect("ok").which, latest(12));
        assert_eq!(parse("4F3a").expect("ok").which, Which::Prefix("4f3a".into()));
        let with = parse("latest~1:/a:b").expect("ok");
        assert_eq!((with.which, with.subdir), (latest(1), Some(b"/a:b".to_vec())));
        assert_eq!(parse("ab:").expect("ok").subdir, None);
        for bad in ["", ":x", "latest~", "latest~x", "latest~-1", "xyz", "newest"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
