//! Passwords to keys: Argon2id (RFC 9106), within bounds.

use super::{CryptoError, Secret};

/// Argon2id memory that is accepted, in KiB.
const ARGON2_M_MAX: u32 = 2 << 20;
/// Argon2id passes that are accepted.
const ARGON2_T_MAX: u32 = 16;
/// Argon2id lanes that are accepted.
const ARGON2_P_MAX: u32 = 16;

/// Cost of the password hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Params {
    /// Memory in KiB.
    pub m_kib: u32,
    /// Passes over it.
    pub t: u32,
    /// Lanes.
    pub p: u32,
}

impl Argon2Params {
    /// 64 MiB, three passes, four lanes: the second choice of RFC 9106, section 4.
    pub const DEFAULT: Self = Self { m_kib: 64 << 10, t: 3, p: 4 };

    /// Whether a reader accepts them: a forged slot must not cost hours or all memory.
    pub fn in_bounds(&self) -> bool {
        let work = u64::from(self.m_kib) * u64::from(self.t);
        (1..=ARGON2_T_MAX).contains(&self.t)
            && (1..=ARGON2_P_MAX).contains(&self.p)
            && (8 * self.p..=ARGON2_M_MAX).contains(&self.m_kib)
            && work <= u64::from(ARGON2_M_MAX) * 4
    }
}

/// A password to 32 secret bytes, from which a slot's key and commitment are expanded.
pub fn stretch(password: &[u8], salt: &[u8; 32], params: Argon2Params) -> Result<Secret, CryptoError> {
    if !params.in_bounds() {
        return Err(CryptoError::Argon2);
    }
    let p = argon2::Params::new(params.m_kib, params.t, params.p, Some(32)).map_err(|_| CryptoError::Argon2)?;
    let hash = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, p);
    let mut out = zeroize::Zeroizing::new([0u8; 32]);
    hash.hash_password_into(password, salt, out.as_mut()).map_err(|e| match e {
        argon2::Error::OutOfMemory => CryptoError::Memory,
        _ => CryptoError::Argon2,
    })?;
    Ok(Secret::new(*out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert!(Argon2Params::DEFAULT.in_bounds());
        for (m_kib, t, p) in
            [(0, 1, 1), (64, 0, 1), (64, 1, 0), (u32::MAX, 1, 1), (64, u32::MAX, 1), (64, 1, u32::MAX), (2 << 20, 5, 4)]
        {
            assert!(!Argon2Params { m_kib, t, p }.in_bounds(), "{m_kib} {t} {p}");
        }
    }
}
