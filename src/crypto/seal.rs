//! Authenticated encryption: two suites for packs, one for everything small.
//!
//! Packs and segments go through `ring` (assembly, several GB/s); small records through
//! `chacha20poly1305` in pure Rust, so that a reader needs nothing else to open a repository.

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::{CryptoError, Secret};

/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;

/// Which cipher seals a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Suite {
    /// ChaCha20-Poly1305, RFC 8439.
    ChaCha20Poly1305 = 1,
    /// AES-256-GCM, NIST SP 800-38D.
    Aes256Gcm = 2,
}

impl Suite {
    /// From its number in a header.
    pub fn from_u8(n: u8) -> Option<Self> {
        match n {
            1 => Some(Self::ChaCha20Poly1305),
            2 => Some(Self::Aes256Gcm),
            _ => None,
        }
    }
}

/// A key made ready. Nonces are 12 bytes: a domain, three zeros, a counter; the caller owns the
/// counter and never uses one twice.
pub struct Aead(LessSafeKey);

impl Aead {
    /// Make a key ready for one suite.
    pub fn new(suite: Suite, key: &Secret) -> Self {
        let algorithm = match suite {
            Suite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            Suite::Aes256Gcm => &AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, key.expose()).expect("both suites take 32 bytes of key");
        Self(LessSafeKey::new(key))
    }

    /// Seal `buffer[from..]` in place and append the tag.
    pub fn seal(&self, domain: u8, counter: u64, aad: &[u8], buffer: &mut Vec<u8>, from: usize) {
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(domain, counter), Aad::from(aad), &mut buffer[from..])
            .expect("a message is far below the ciphers' limit of 64 GiB");
        buffer.extend_from_slice(tag.as_ref());
    }

    /// Open in place; gives the plaintext part of `buffer`.
    pub fn open<'b>(
        &self,
        domain: u8,
        counter: u64,
        aad: &[u8],
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], CryptoError> {
        self.0.open_in_place(nonce(domain, counter), Aad::from(aad), buffer).map_err(|_| CryptoError::Open)
    }
}

fn nonce(domain: u8, counter: u64) -> Nonce {
    let mut n = [0; 12];
    n[0] = domain;
    n[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(n)
}

/// Seal a small record under a key that is used for nothing else; the nonce is zero.
pub fn seal_small(key: &Secret, aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + TAG_LEN);
    out.extend_from_slice(plain);
    let tag = ChaCha20Poly1305::new(key.expose().into())
        .encrypt_inout_detached(&[0; 12].into(), aad, out.as_mut_slice().into())
        .expect("a record is far below the cipher's limit of 256 GiB");
    out.extend_from_slice(&tag);
    out
}

/// Open what [`seal_small`] sealed.
pub fn open_small(key: &Secret, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let at = sealed.len().checked_sub(TAG_LEN).ok_or(CryptoError::Open)?;
    let (body, tag) = sealed.split_at(at);
    let mut out = body.to_vec();
    let tag: [u8; TAG_LEN] = tag.try_into().map_err(|_| CryptoError::Open)?;
    ChaCha20Poly1305::new(key.expose().into())
        .decrypt_inout_detached(&[0; 12].into(), aad, out.as_mut_slice().into(), &tag.into())
        .map_err(|_| CryptoError::Open)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_round_trip_and_refuse_changes() {
        let key = Secret::new([7; 32]);
        for suite in [Suite::ChaCha20Poly1305, Suite::Aes256Gcm] {
            let aead = Aead::new(suite, &key);
            let mut b = b"..plain text".to_vec();
            aead.seal(0, 5, b"aad", &mut b, 2);
            assert_eq!(b.len(), 12 + TAG_LEN);
            assert!(aead.open(0, 6, b"aad", &mut b.clone()[2..]).is_err(), "other counter");
            assert!(aead.open(1, 5, b"aad", &mut b.clone()[2..]).is_err(), "other domain");
            assert!(aead.open(0, 5, b"aae", &mut b.clone()[2..]).is_err(), "other aad");
            assert_eq!(aead.open(0, 5, b"aad", &mut b[2..]).unwrap(), b"plain text");
        }
    }

    #[test]
    fn small_records() {
        let key = Secret::new([9; 32]);
        let sealed = seal_small(&key, b"a", b"hello");
        assert_eq!(open_small(&key, b"a", &sealed).unwrap(), b"hello");
        assert!(open_small(&key, b"b", &sealed).is_err());
        assert!(open_small(&key, b"a", &sealed[..10]).is_err());
        // RFC 8439 through another implementation: suite 1 with nonce zero is the same cipher.
        let mut b = b"hello".to_vec();
        Aead::new(Suite::ChaCha20Poly1305, &key).seal(0, 0, b"a", &mut b, 0);
        assert_eq!(b, sealed);
    }
}
