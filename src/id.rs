//! Typed names that cannot be mixed up: 32-byte content names and 16-byte random identities.
//!
//! What each one names is in the glossary of `format-spec/README.md`. All of them print as
//! lower-case hex; none of them is secret.

use std::fmt;

/// Parsing of a hex name failed: wrong length or a character outside `0-9a-f`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a name of {want} lower-case hex digits: {text:?}")]
pub struct ParseIdError {
    want: usize,
    text: String,
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        out.push(DIGITS[usize::from(b >> 4)] as char);
        out.push(DIGITS[usize::from(b & 15)] as char);
    }
    out
}

/// Lower-case hex to exactly `N` bytes.
pub fn unhex<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let bad = || ParseIdError { want: N * 2, text: text.chars().take(80).collect() };
    let digit = |c: u8| match c {
        b'0'..=b'9' => Ok(c - b'0'),
        b'a'..=b'f' => Ok(c - b'a' + 10),
        _ => Err(bad()),
    };
    let raw = text.as_bytes();
    if raw.len() != N * 2 {
        return Err(bad());
    }
    let mut out = [0; N];
    for (o, pair) in out.iter_mut().zip(raw.chunks_exact(2)) {
        *o = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(out)
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $n:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
        pub struct $name(pub [u8; $n]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $n;
            /// All bits zero: "none" where a record says so.
            pub const ZERO: Self = Self([0; $n]);

            /// Parse lower-case hex of the full length.
            pub fn parse(text: &str) -> Result<Self, ParseIdError> {
                unhex(text).map(Self)
            }
            /// Lower-case hex.
            pub fn hex(&self) -> String {
                hex(&self.0)
            }
            /// The first eight hex digits, for people.
            pub fn short(&self) -> String {
                hex(&self.0[..4])
            }
            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; $n] {
                &self.0
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}…)"), self.short())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.hex())
            }
        }
    };
}

id_type!(/** Names a blob (chunk or page): keyed BLAKE3 of its plaintext. */ BlobId, 32);
id_type!(/** Names a pack: BLAKE3 of the whole file. */ PackId, 32);
id_type!(/** Names an index segment: BLAKE3 of the whole file. */ SegmentId, 32);
id_type!(/** Names a signed record: BLAKE3 of what is signed and the signature. A snapshot's id is that of its statement. */ RecordId, 32);
id_type!(/** An identity that writes snapshots. */ ClientId, 16);
id_type!(/** One writer's or reader's presence. */ SessionId, 16);
id_type!(/** The secrets, ids and cut points that mirrors share. */ DomainId, 16);
id_type!(/** One repository in one place. */ InstanceId, 16);
id_type!(/** One way to unlock a repository. */ SlotId, 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trip_and_refusals() {
        let id = ClientId([0xab; 16]);
        assert_eq!(ClientId::parse(&id.hex()), Ok(id));
        assert!(ClientId::parse("AB").is_err());
        assert!(ClientId::parse(&"AB".repeat(16)).is_err());
        assert!(ClientId::parse(&"zz".repeat(16)).is_err());
        assert!(ClientId::parse(&"é".repeat(16)).is_err());
    }
}
