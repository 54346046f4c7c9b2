//! Reading and writing fixed little-endian layouts.

use super::FormatError;

/// Reads fields in order, never past the end.
pub struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// `what` names the object in errors.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, at: 0 }
    }
    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], FormatError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(out) = rest.get(..n) else {
            return Err(FormatError::Truncated { what: self.what, at: self.at, need: n, have: rest.len() });
        };
        self.at += n;
        Ok(out)
    }
    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }
    /// One byte.
    pub fn u8(&mut self) -> Result<u8, FormatError> {
        self.array().map(|[b]| b)
    }
    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_le_bytes)
    }
    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }
    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_le_bytes)
    }
    /// A magic number.
    pub fn magic(&mut self, magic: &[u8; 8]) -> Result<(), FormatError> {
        if self.take(8)? == magic { Ok(()) } else { Err(FormatError::Magic { what: self.what }) }
    }
    /// A version, up to the one known.
    pub fn version(&mut self, known: u16) -> Result<u16, FormatError> {
        match self.u16()? {
            0 => Err(FormatError::invalid(self.what, "version 0 does not exist")),
            v if v > known => Err(FormatError::Version { what: self.what, found: v, known }),
            v => Ok(v),
        }
    }
    /// `n` bytes that must be zero.
    pub fn zeros(&mut self, n: usize) -> Result<(), FormatError> {
        if self.take(n)?.iter().all(|b| *b == 0) {
            Ok(())
        } else {
            Err(FormatError::invalid(self.what, "reserved bytes are not zero"))
        }
    }
    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }
    /// Nothing may be left.
    pub fn end(&self) -> Result<(), FormatError> {
        if self.left() == 0 { Ok(()) } else { Err(FormatError::invalid(self.what, "bytes follow its end")) }
    }
}
