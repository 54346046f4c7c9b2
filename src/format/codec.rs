//! The one door to `bincode`: standard configuration (little endian, variable-length integers),
//! limits on, one encoding per value.
//!
//! `bincode` accepts integers in more than one length. Ids are computed over encodings, so a
//! decoder here refuses whatever would not encode to the same bytes.

use bincode::config::standard;
use bincode::{Decode, Encode};

use super::FormatError;
use crate::model::Ext;

/// A value as bytes.
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, standard()).expect("encoding to memory fails only by custom implementations")
}

/// Append a value's bytes.
pub fn encode_into<T: Encode>(value: &T, out: &mut Vec<u8>) {
    bincode::encode_into_std_write(value, out, standard()).expect("writing to memory does not fail");
}

/// Bytes to the value they are the only encoding of.
pub fn decode<T: Decode<()> + Encode>(what: &'static str, bytes: &[u8]) -> Result<T, FormatError> {
    // The limit bounds what a forged length can make the decoder allocate.
    const MEMORY_MAX: usize = 64 << 20;
    let config = standard().with_limit::<MEMORY_MAX>();
    let (value, used) = bincode::decode_from_slice::<T, _>(bytes, config)
        .map_err(|_| FormatError::invalid(what, "its fields do not decode"))?;
    if used != bytes.len() {
        return Err(FormatError::invalid(what, "bytes follow its end"));
    }
    let mut same = Matches { rest: bytes };
    match bincode::encode_into_writer(&value, &mut same, standard()) {
        Ok(()) if same.rest.is_empty() => Ok(value),
        _ => Err(FormatError::invalid(what, "it is not in canonical form")),
    }
}

/// The value that some bytes begin with, and how many of them it takes: for looking at what may be
/// damaged, never for deciding anything.
pub fn decode_first<T: Decode<()>>(bytes: &[u8]) -> Option<(T, usize)> {
    const MEMORY_MAX: usize = 1 << 20;
    bincode::decode_from_slice(bytes, standard().with_limit::<MEMORY_MAX>()).ok()
}

/// Compares instead of writing, so that the check allocates nothing.
struct Matches<'a> {
    rest: &'a [u8],
}
impl bincode::enc::write::Writer for Matches<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        match self.rest.strip_prefix(bytes) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(bincode::error::EncodeError::Other("differs")),
        }
    }
}

/// Extensions must ascend by tag, and a critical one must be known.
pub fn check_ext(what: &'static str, ext: &[Ext], known: &[u16]) -> Result<(), FormatError> {
    if !ext.is_sorted_by(|a, b| a.tag < b.tag) {
        return Err(FormatError::invalid(what, "extensions do not ascend by tag"));
    }
    match ext.iter().find(|e| e.flags & Ext::CRITICAL_READ != 0 && !known.contains(&e.tag)) {
        Some(e) => Err(FormatError::Extension { what, tag: e.tag }),
        None => Ok(()),
    }
}

/// Whoever does not know an extension that is critical for writing may neither write its record anew nor
/// drop it.
pub fn check_known_to_writer(what: &'static str, ext: &[Ext], known: &[u16]) -> Result<(), FormatError> {
    match ext.iter().find(|e| e.flags & Ext::CRITICAL_WRITE != 0 && !known.contains(&e.tag)) {
        Some(e) => Err(FormatError::ReadOnly { what, tag: e.tag }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_encoding_decodes() {
        assert_eq!(decode::<u32>("n", &[5]), Ok(5));
        // 251 announces two bytes: 5 in a longer coat.
        assert!(decode::<u32>("n", &[251, 5, 0]).is_err());
        assert!(decode::<u32>("n", &[5, 0]).is_err(), "trailing byte");
        assert!(decode::<u32>("n", &[]).is_err(), "nothing");
        // A length of 2^60 is refused before anything is allocated.
        assert!(decode::<Vec<u8>>("v", &[253, 0, 0, 0, 0, 0, 0, 0, 16]).is_err());
    }
}
