//! Armour around small objects: twice the size, and any half of the shards may be lost.
//!
//! A deterministic function of its content, so that a healed object is the same object. The
//! code is Reed-Solomon over GF(2^16) with 16 data and 16 parity shards; the data shards stand
//! in the clear order, so a reader of an undamaged object needs no decoder at all.

use reed_solomon_simd::engine::{DefaultEngine, Engine, Naive};
use reed_solomon_simd::rate::{DefaultRateEncoder, RateEncoder};

use super::limits::{ARMOUR_SHARDS as K, RECORD_MAX};
use super::{FormatError, bytes::Reader, limit};

const MAGIC: &[u8; 8] = b"ORLPARM1";
const WHAT: &str = "armour";
const HEADER_LEN: usize = 48;
pub(super) const SUM_LEN: usize = 8;
const SUMS_LEN: usize = 2 * K * SUM_LEN;
/// Up to here the simplest engine will do: the others fill a table of 8 MiB before their first byte, which takes
/// 15 ms; for 2 and 8 KiB this takes 7 and 27 µs, they 1 and 3.
const SMALL: usize = 8 << 10;

/// Put armour around a content of up to [`RECORD_MAX`] bytes.
pub fn wrap(content: &[u8]) -> Vec<u8> {
    let shard_len = shard_len(content.len());
    let mut data = vec![0; shard_len * K];
    data[..content.len()].copy_from_slice(content);
    let parity = match data.len() {
        ..=SMALL => parity(Naive::new(), &data, shard_len),
        _ => parity(DefaultEngine::new(), &data, shard_len),
    };
    let head = head(content, &data, &parity, shard_len);
    let mut out = Vec::with_capacity(2 * head.len() + 2 * data.len());
    out.extend_from_slice(&head);
    out.extend_from_slice(&data);
    parity.iter().for_each(|p| out.extend_from_slice(p));
    out.extend_from_slice(&head);
    out
}

fn parity(engine: impl Engine, data: &[u8], shard_len: usize) -> Vec<Vec<u8>> {
    let why = "16 and 16 equal shards of an even length are always encodable";
    let mut encoder = DefaultRateEncoder::new(K, K, shard_len, engine, None).expect(why);
    data.chunks_exact(shard_len).for_each(|shard| encoder.add_original_shard(shard).expect(why));
    encoder.encode().expect(why).recovery_iter().map(<[u8]>::to_vec).collect()
}

/// Header and shard checksums: at the beginning and again at the end.
fn head(content: &[u8], data: &[u8], parity: &[Vec<u8>], shard_len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + SUMS_LEN);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&(content.len() as u32).to_le_bytes());
    out.extend_from_slice(&(shard_len as u32).to_le_bytes());
    out.extend_from_slice(blake3::hash(content).as_bytes());
    for shard in data.chunks_exact(shard_len).chain(parity.iter().map(Vec::as_slice)) {
        out.extend_from_slice(&sum(shard));
    }
    out
}

fn shard_len(content_len: usize) -> usize {
    content_len.div_ceil(K).next_multiple_of(2).max(2)
}

/// The checksum of a shard, here and in parity sidecars.
pub(super) fn sum(shard: &[u8]) -> [u8; SUM_LEN] {
    let mut out = [0; SUM_LEN];
    out.copy_from_slice(&blake3::hash(shard).as_bytes()[..SUM_LEN]);
    out
}

/// What taking the armour off found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwrapped {
    /// The content, verified.
    pub content: Vec<u8>,
    /// The armour had to mend something: the object should be healed with [`wrap`] of it.
    pub mended: bool,
}

/// Take the armour off, mending what is damaged.
pub fn unwrap(stored: &[u8]) -> Result<Unwrapped, FormatError> {
    let front = stored.get(..HEADER_LEN + SUMS_LEN);
    let back = stored.len().checked_sub(HEADER_LEN + SUMS_LEN).and_then(|at| stored.get(at..));
    let mut failed = FormatError::Truncated { what: WHAT, at: 0, need: HEADER_LEN + SUMS_LEN, have: stored.len() };
    for head in [front, back].into_iter().flatten() {
        match unwrap_by(head, stored) {
            Ok(u) => return Ok(u),
            Err(e) => failed = e,
        }
    }
    Err(failed)
}

fn unwrap_by(head: &[u8], stored: &[u8]) -> Result<Unwrapped, FormatError> {
    let mut r = Reader::new(WHAT, head);
    r.magic(MAGIC)?;
    let content_len = r.u32()? as usize;
    limit("length of a small object", content_len as u64, RECORD_MAX as u64)?;
    if r.u32()? as usize != shard_len(content_len) {
        return Err(FormatError::invalid(WHAT, "shard length does not follow from the content length"));
    }
    let hash: [u8; 32] = r.array()?;
    let sums = r.take(SUMS_LEN)?;
    let shards = shards(stored, shard_len(content_len), sums);
    let content = join(&shards, content_len)?;
    if blake3::hash(&content) != blake3::Hash::from_bytes(hash) {
        return Err(FormatError::invalid(WHAT, "content does not have the hash in the header"));
    }
    let mended = wrap(&content) != stored;
    Ok(Unwrapped { content, mended })
}

/// The shards that have their checksum; `None` for the others.
fn shards<'a>(stored: &'a [u8], len: usize, sums: &[u8]) -> Vec<Option<&'a [u8]>> {
    let body = stored.get(HEADER_LEN + SUMS_LEN..).unwrap_or_default();
    let good = |(i, want): (usize, &[u8])| body.get(i * len..(i + 1) * len).filter(|s| sum(s) == want);
    sums.chunks_exact(SUM_LEN).enumerate().map(good).collect()
}

fn join(shards: &[Option<&[u8]>], content_len: usize) -> Result<Vec<u8>, FormatError> {
    let (data, parity) = shards.split_at(K);
    let present = |s: &[Option<&[u8]>]| -> Vec<(usize, Vec<u8>)> {
        s.iter().enumerate().filter_map(|(i, s)| s.map(|s| (i, s.to_vec()))).collect()
    };
    let lost = || FormatError::invalid(WHAT, "more than half of its shards are damaged");
    let restored = if data.iter().all(Option::is_some) {
        Default::default()
    } else {
        reed_solomon_simd::decode(K, K, present(data), present(parity)).map_err(|_| lost())?
    };
    let mut out = Vec::new();
    for (i, shard) in data.iter().enumerate() {
        let shard = shard.or_else(|| restored.get(&i).map(Vec::as_slice)).ok_or_else(lost)?;
        out.extend_from_slice(shard);
    }
    if out.iter().skip(content_len).any(|b| *b != 0) {
        return Err(FormatError::invalid(WHAT, "padding is not zero"));
    }
    out.truncate(content_len);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_half_may_be_lost_and_no_more() {
        let content: Vec<u8> = (0..1500u32).map(|i| (i * 7) as u8).collect();
        let good = wrap(&content);
        assert_eq!(unwrap(&good).unwrap(), Unwrapped { content: content.clone(), mended: false });
        let shard = shard_len(content.len());
        let body = HEADER_LEN + SUMS_LEN;
        for first in 0..=K {
            let mut bad = good.clone();
            for b in &mut bad[body + first * shard..body + (first + K) * shard] {
                *b ^= 0x55;
            }
            assert_eq!(unwrap(&bad).unwrap(), Unwrapped { content: content.clone(), mended: true }, "{first}");
        }
        let mut bad = good.clone();
        for b in &mut bad[body..body + (K + 1) * shard] {
            *b ^= 0x55;
        }
        assert!(unwrap(&bad).is_err());
    }

    #[test]
    fn engines_agree() {
        for len in [2 * K, SMALL, 1500 * K] {
            let data: Vec<u8> = (0..=250).cycle().take(len).collect();
            let (plain, quick) = (Naive::new(), DefaultEngine::new());
            assert_eq!(parity(plain, &data, len / K), parity(quick, &data, len / K), "{len}");
        }
    }

    #[test]
    fn either_header_will_do() {
        let good = wrap(b"x");
        for gone in [0..HEADER_LEN + SUMS_LEN, good.len() - HEADER_LEN - SUMS_LEN..good.len()] {
            let mut bad = good.clone();
            bad[gone].fill(0);
            assert!(unwrap(&bad).unwrap().mended);
        }
        assert!(unwrap(&[]).is_err());
        assert!(unwrap(&good[..100]).is_err());
    }
}
