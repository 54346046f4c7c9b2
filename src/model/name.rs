//! The grammar of object names: what may be asked of a storage at all.

use std::fmt;

/// The name of an object: 1 to 4 components of `a-z 0-9 . _ -`, joined by `/`, below 128 bytes,
/// no component empty or starting with a dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// That is no object name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an object name: {0:?}")]
pub struct NameError(String);

impl Name {
    /// Check and take a name.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        if is_name(&text) { Ok(Self(text)) } else { Err(NameError(text.chars().take(128).collect())) }
    }
    /// Whether `text` may be asked for in a listing: nothing, or whole components and a `/`.
    pub fn is_prefix(text: &str) -> bool {
        text.is_empty() || text.strip_suffix('/').is_some_and(is_name)
    }
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_name(text: &str) -> bool {
    let component = |c: &str| {
        !c.is_empty()
            && !c.starts_with('.')
            && c.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
    };
    text.len() < 128 && text.split('/').count() <= 4 && text.split('/').all(component)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for good in ["", "packs/", "packs/ab/", "copy/snapshots/x/"] {
            assert!(Name::is_prefix(good), "{good}");
        }
        for bad in ["packs", "/", "../", "packs//", "packs/../", ".tmp/", "/packs/"] {
            assert!(!Name::is_prefix(bad), "{bad}");
        }
    }

    #[test]
    fn grammar() {
        for good in ["config/00000001", "packs/ab/ab12.0011aabb", "a", "copy/snapshots/x/1"] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", "/", "a/", "/a", "a//b", "../a", "a/..", ".a", "A", "a b", "a\0", "a/b/c/d/e", "é", &"a".repeat(128)]
        {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }
}
