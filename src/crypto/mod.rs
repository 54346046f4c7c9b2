//! Keys, keyed names, seal and open, signatures, password stretching. Nonces and salts are
//! arguments: nothing here draws randomness or knows the time.
//!
//! The construction of every key is in `format-spec/20-keys.md`; the labels below are part of
//! the format.

mod kdf;
mod seal;
mod secret;
mod sign;
mod stretch;

pub use kdf::{BlobKeys, derive_client_seed, expand, expand_committed};
pub use seal::{Aead, Suite, TAG_LEN, open_small, seal_small};
pub use secret::Secret;
pub use sign::{PublicKey, SIGNATURE_LEN, SigningKey};
pub use stretch::{Argon2Params, stretch};

/// A sealed thing did not open, or a signature did not verify.
///
/// Says no more than that on purpose: which check failed helps nobody but an attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// Wrong key, or the bytes were changed.
    #[error("does not authenticate")]
    Open,
    /// The signature is not that of this key over these bytes.
    #[error("the signature does not verify")]
    Signature,
    /// Parameters of the password hash are outside the accepted bounds.
    #[error("password hash parameters are out of bounds")]
    Argon2,
    /// The password hash needs more memory than there is.
    #[error("not enough memory for the password hash")]
    Memory,
}

/// Compare without telling by time where the first difference is.
pub fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    blake3::Hash::from_bytes(*a) == blake3::Hash::from_bytes(*b)
}
