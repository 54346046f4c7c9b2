//! Ed25519 signatures (RFC 8032), strictly verified.

use ed25519_dalek::Signer;

use super::{CryptoError, Secret};

/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;

/// A key that signs.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

/// A key that verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct PublicKey(pub [u8; 32]);

impl SigningKey {
    /// From its 32-byte seed.
    pub fn from_seed(seed: &Secret) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed.expose()))
    }
    /// The key others verify with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }
    /// Sign a message.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.0.sign(message).to_bytes()
    }
}

impl PublicKey {
    /// Check a signature; weak keys and non-canonical forms are refused.
    pub fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> Result<(), CryptoError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.0).map_err(|_| CryptoError::Signature)?;
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        key.verify_strict(message, &signature).map_err(|_| CryptoError::Signature)
    }
}
