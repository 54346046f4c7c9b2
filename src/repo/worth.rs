//! What bytes are worth under the name of an object, as far as anybody can say who has no key.

use crate::format::armour;
use crate::format::names::{self, prefix};
use crate::storage::Worth;

/// Packs and index segments are named by their bytes; armour says whether what it holds is whole.
pub fn worth(name: &str, bytes: &[u8]) -> Worth {
    let named = names::parse_pack(name).map(|(id, _)| id.0).or_else(|| names::parse_segment(name).map(|id| id.0));
    if let Some(id) = named {
        return if *blake3::hash(bytes).as_bytes() == id { Worth::Proven } else { Worth::Broken };
    }
    let first = name.strip_prefix(prefix::COPY).unwrap_or(name);
    if !prefix::ARMOURED.iter().any(|kind| first.starts_with(kind)) {
        return Worth::Likely;
    }
    match armour::unwrap(bytes) {
        Ok(unwrapped) if !unwrapped.mended => Worth::Likely,
        _ => Worth::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::limits::{PACK_MAX, SEGMENT_MAX};
    use crate::id::{PackId, SegmentId};
    use crate::storage::LONGEST;

    #[test]
    fn what_is_too_long_to_be_read_is_no_object() {
        assert!(PACK_MAX <= LONGEST && SEGMENT_MAX as u64 <= LONGEST);
    }

    #[test]
    fn names_and_armour_say_what_bytes_are_worth() {
        let hash = *blake3::hash(b"bytes").as_bytes();
        let (pack, segment) = (names::pack(PackId(hash), [1; 4]), names::segment(SegmentId(hash)));
        let whole = armour::wrap(b"content");
        let mut scratched = whole.clone();
        scratched[200] ^= 1;
        for (name, bytes, expected) in [
            (pack.as_str(), &b"bytes"[..], Worth::Proven),
            (&pack, b"other", Worth::Broken),
            (&segment, b"bytes", Worth::Proven),
            (&segment, b"", Worth::Broken),
            ("gc/0000000000000001", &whole, Worth::Likely),
            ("gc/0000000000000001", &scratched, Worth::Broken),
            ("copy/config/00000001", &whole, Worth::Likely),
            ("copy/config/00000001", b"garbage", Worth::Broken),
            ("parity/ab/x", b"anything", Worth::Likely),
        ] {
            assert_eq!(worth(name, bytes), expected, "{name}");
        }
    }
}
