//! Bytes to model and back, for every stored object, with limits and refusals.
//!
//! No IO, no clock, no randomness: salts and nonces are arguments. Every decoder treats its bytes
//! as an attacker's: limits before allocation, checked arithmetic, and what decodes must encode to
//! the same bytes again.

pub mod anatomy;
pub mod armour;
pub mod bytes;
pub mod codec;
pub mod gc;
pub mod keys;
pub mod limits;
pub mod names;
pub mod pack;
pub mod page;
pub mod parity;
pub mod record;
pub mod records;
pub mod segment;
pub mod snapshot;

/// Stored bytes are not what the format says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Too short for what it says it holds.
    #[error("{what} is truncated: {need} bytes needed at offset {at}, {have} left")]
    Truncated {
        /// Which object or field.
        what: &'static str,
        /// Where.
        at: usize,
        /// How many bytes were needed.
        need: usize,
        /// How many were left.
        have: usize,
    },
    /// Does not begin as it must.
    #[error("{what} does not begin with its magic number")]
    Magic {
        /// Which object.
        what: &'static str,
    },
    /// A version this build does not read.
    #[error("{what} has version {found}, this program reads up to {known}: a newer orlop wrote it")]
    Version {
        /// Which object.
        what: &'static str,
        /// What was found.
        found: u16,
        /// What is known.
        known: u16,
    },
    /// A number beyond the format's limit.
    #[error("{what} is {found}, above the limit of {max}")]
    Limit {
        /// Which number.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// Something contradicts itself or the rules.
    #[error("{what}: {why}")]
    Invalid {
        /// Which object or field.
        what: &'static str,
        /// Which rule.
        why: &'static str,
    },
    /// A critical extension that this build does not know.
    #[error("{what} uses extension {tag}, which this program does not know: a newer orlop wrote it")]
    Extension {
        /// Which object.
        what: &'static str,
        /// The tag.
        tag: u16,
    },
    /// An extension that forbids this build to write anew or drop what has it.
    #[error(
        "{what} has extension {tag}, which this program does not know: to change or drop it a newer orlop is needed"
    )]
    ReadOnly {
        /// Which object.
        what: &'static str,
        /// The tag.
        tag: u16,
    },
    /// Sealed bytes do not open, or a signature does not verify.
    #[error("{what}: {why}")]
    Crypto {
        /// Which object.
        what: &'static str,
        /// What failed.
        why: crate::crypto::CryptoError,
    },
}

impl FormatError {
    fn invalid(what: &'static str, why: &'static str) -> Self {
        Self::Invalid { what, why }
    }
}

impl From<FormatError> for crate::error::Error {
    fn from(e: FormatError) -> Self {
        use crate::error::ErrorKind;
        let kind = match e {
            FormatError::Version { .. } | FormatError::Extension { .. } | FormatError::ReadOnly { .. } => {
                ErrorKind::Unsupported
            }
            _ => ErrorKind::Damaged,
        };
        Self::new(kind, e.to_string())
    }
}

/// Refuse a number above its limit.
fn limit(what: &'static str, found: u64, max: u64) -> Result<(), FormatError> {
    if found > max { Err(FormatError::Limit { what, found, max }) } else { Ok(()) }
}
