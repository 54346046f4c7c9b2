//! Parity sidecars: as many lost shards of a pack as there are parity shards come back, without
//! any key.
//!
//! ```text
//! header 64 | checksums of all shards | parity shards | checksums again | header again
//! ```
//! A repair counts only if the whole has the hash that is the pack's name, so nothing in a sidecar
//! has to be trusted, and anybody may make one, check one, or use one. The code is the same as in
//! armour; `format-spec/40-pack.md` has it as formulas.

use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::{HighRateDecoder, HighRateEncoder, RateDecoder, RateEncoder};

use super::armour::{SUM_LEN, sum};
use super::bytes::Reader;
use super::limits::{PACK_MAX, PARITY_DATA_MAX, PARITY_SHARDS_MAX};
use super::pack::is_pack_len;
use super::{FormatError, limit};
use crate::id::PackId;

const MAGIC: &[u8; 8] = b"ORLPPAR1";
const VERSION: u16 = 1;
const WHAT: &str = "parity sidecar";
const HEADER_LEN: usize = 64;

/// How a pack is cut into shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a shard.
    pub shard: u32,
    /// Data shards.
    pub data: u32,
    /// Parity shards.
    pub parity: u32,
}

impl Geometry {
    /// For a pack of this length, with one parity shard for `ratio` data shards.
    ///
    /// Packs below 256 KiB have shards of 1 KiB, so that four of them are not as much as the pack;
    /// from 4 MiB there are at least 16 parity shards, so that any run of 240 KiB can be mended.
    pub fn of(pack_len: u64, ratio: u32) -> Self {
        let shard: u32 = match pack_len {
            0..0x4_0000 => 1 << 10,
            0x4_0000..=0x2000_0000 => 16 << 10,
            _ => 32 << 10,
        };
        let data = pack_len.div_ceil(shard.into()).min(PARITY_DATA_MAX as u64) as u32;
        let least = if pack_len >= 4 << 20 { 16 } else { 4 };
        let parity = data.div_ceil(ratio.max(1)).clamp(least, PARITY_SHARDS_MAX as u32);
        Self { shard, data, parity }
    }
}

struct Header {
    geometry: Geometry,
    body_len: u64,
    pack: PackId,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_LEN] {
        let mut h = [0; HEADER_LEN];
        h[..8].copy_from_slice(MAGIC);
        h[8..10].copy_from_slice(&VERSION.to_le_bytes());
        h[12..16].copy_from_slice(&self.geometry.shard.to_le_bytes());
        h[16..20].copy_from_slice(&self.geometry.data.to_le_bytes());
        h[20..24].copy_from_slice(&self.geometry.parity.to_le_bytes());
        h[24..32].copy_from_slice(&self.body_len.to_le_bytes());
        h[32..64].copy_from_slice(self.pack.as_bytes());
        h
    }

    fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut r = Reader::new(WHAT, bytes);
        r.magic(MAGIC)?;
        r.version(VERSION)?;
        r.zeros(2)?;
        let geometry = Geometry { shard: r.u32()?, data: r.u32()?, parity: r.u32()? };
        let header = Self { geometry, body_len: r.u64()?, pack: PackId(r.array()?) };
        r.end()?;
        limit("length of a pack", header.body_len, PACK_MAX)?;
        limit("data shards", geometry.data.into(), PARITY_DATA_MAX as u64)?;
        limit("parity shards", geometry.parity.into(), PARITY_SHARDS_MAX as u64)?;
        let Geometry { shard, data, parity } = geometry;
        let fits = header.body_len > 0
            && is_pack_len(header.body_len)
            && shard.is_multiple_of(64)
            && parity > 0
            && shard > 0
            && header.body_len == u64::from(shard) * u64::from(data);
        if fits { Ok(header) } else { Err(FormatError::invalid(WHAT, "its shards do not make up the pack")) }
    }
}

/// Make a sidecar. `pack` is a whole pack; the geometry must be one of [`Geometry::of`] for it.
pub fn encode(pack: &[u8], geometry: Geometry) -> Result<Vec<u8>, FormatError> {
    let header = Header { geometry, body_len: pack.len() as u64, pack: PackId(*blake3::hash(pack).as_bytes()) };
    let head = header.encode();
    Header::parse(&head)?;
    let shard = geometry.shard as usize;
    let cannot = |_| FormatError::invalid(WHAT, "there is no code for so many shards");
    let mut coder =
        HighRateEncoder::new(geometry.data as usize, geometry.parity as usize, shard, DefaultEngine::new(), None)
            .map_err(cannot)?;
    for s in pack.chunks_exact(shard) {
        coder.add_original_shard(s).map_err(cannot)?;
    }
    let done = coder.encode().map_err(cannot)?;
    let parity: Vec<&[u8]> = done.recovery_iter().collect();
    let sums: Vec<u8> = pack.chunks_exact(shard).chain(parity.iter().copied()).flat_map(sum).collect();
    let mut out = Vec::with_capacity(2 * (head.len() + sums.len()) + parity.len() * shard);
    out.extend_from_slice(&head);
    out.extend_from_slice(&sums);
    parity.iter().for_each(|p| out.extend_from_slice(p));
    out.extend_from_slice(&sums);
    out.extend_from_slice(&head);
    Ok(out)
}

/// Which pack a sidecar is for, and how it is cut.
pub fn describe(sidecar: &[u8]) -> Result<(PackId, u64, Geometry), FormatError> {
    let header = header(sidecar)?;
    Ok((header.pack, header.body_len, header.geometry))
}

/// The header at the beginning, or the one at the end.
fn header(sidecar: &[u8]) -> Result<Header, FormatError> {
    let front = sidecar.get(..HEADER_LEN).unwrap_or(sidecar);
    let back = sidecar.len().checked_sub(HEADER_LEN).and_then(|at| sidecar.get(at..)).unwrap_or_default();
    Header::parse(front).or_else(|e| Header::parse(back).map_err(|_| e))
}

/// The pack, whole again. `damaged` may be shorter or longer than the pack was.
///
/// Fails if more shards are lost than parity shards are good, and never gives anything that does
/// not have the pack's hash.
pub fn repair(damaged: &[u8], sidecar: &[u8]) -> Result<Vec<u8>, FormatError> {
    let Header { geometry, body_len, pack } = header(sidecar)?;
    let (shard, data, parity) = (geometry.shard as usize, geometry.data as usize, geometry.parity as usize);
    let sums_len = (data + parity) * SUM_LEN;
    let need = 2 * (HEADER_LEN + sums_len) + parity * shard;
    if sidecar.len() != need {
        return Err(FormatError::Truncated { what: WHAT, at: 0, need, have: sidecar.len() });
    }
    let front = &sidecar[HEADER_LEN..HEADER_LEN + sums_len];
    let back = &sidecar[need - HEADER_LEN - sums_len..need - HEADER_LEN];
    let recovery = &sidecar[HEADER_LEN + sums_len..need - HEADER_LEN - sums_len];
    // A shard is good if either of its two checksums says so.
    let good = |i: usize, bytes: &[u8]| {
        let at = i * SUM_LEN..(i + 1) * SUM_LEN;
        let sum = sum(bytes);
        front[at.clone()] == sum || back[at] == sum
    };
    let whole = |i: usize| damaged.get(i * shard..(i + 1) * shard).filter(|s| good(i, s));
    let usable: Vec<(usize, &[u8])> =
        recovery.chunks_exact(shard).enumerate().filter(|(i, s)| good(data + i, s)).collect();
    let lost: Vec<usize> = (0..data).filter(|i| whole(*i).is_none()).collect();
    // Before anything is allocated that only the header asks for.
    let too_many = FormatError::invalid(WHAT, "more shards are lost than there is parity for");
    if lost.len() > usable.len() {
        return Err(too_many);
    }
    let cannot = |_| too_many.clone();
    let mut coder = HighRateDecoder::new(data, parity, shard, DefaultEngine::new(), None).map_err(cannot)?;
    let mut out = vec![0; body_len as usize];
    for (i, to) in out.chunks_exact_mut(shard).enumerate() {
        if let Some(s) = whole(i) {
            to.copy_from_slice(s);
            coder.add_original_shard(i, s).map_err(cannot)?;
        }
    }
    for (i, s) in usable {
        coder.add_recovery_shard(i, s).map_err(cannot)?;
    }
    if !lost.is_empty() {
        let done = coder.decode().map_err(cannot)?;
        for i in lost {
            let s = done.restored_original(i).ok_or(FormatError::invalid(WHAT, "a shard did not come back"))?;
            out[i * shard..(i + 1) * shard].copy_from_slice(s);
        }
    }
    if blake3::hash(&out) != blake3::Hash::from_bytes(*pack.as_bytes()) {
        return Err(FormatError::invalid(WHAT, "what comes out does not have the pack's hash"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::limits::PACK_ROUND;

    fn pack(len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        blake3::Hasher::new().update(b"a pack").finalize_xof().fill(&mut out);
        out
    }

    /// A small generator is enough: what matters is that every subset may be lost.
    fn choose(n: usize, k: usize, seed: u64) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        let mut x = seed | 1;
        for i in 0..k {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            all.swap(i, i + (x >> 33) as usize % (n - i));
        }
        all.truncate(k);
        all
    }

    #[test]
    fn any_r_shards_may_be_lost_and_no_more() {
        for len in [16 << 10, 48 << 10, 256 << 10, 5 << 20] {
            let good = pack(len);
            let g = Geometry::of(len as u64, 64);
            let sidecar = encode(&good, g).unwrap();
            let (shard, parity) = (g.shard as usize, g.parity as usize);
            assert_eq!(repair(&good, &sidecar).unwrap(), good);
            for seed in 0..20 {
                let (mut bad, mut side) = (good.clone(), sidecar.clone());
                for i in choose((g.data + g.parity) as usize, parity, seed) {
                    let body = HEADER_LEN + (g.data + g.parity) as usize * SUM_LEN;
                    match i.checked_sub(g.data as usize) {
                        None => bad[i * shard + seed as usize] ^= 1,
                        Some(i) => side[body + i * shard] ^= 1,
                    }
                }
                assert_eq!(repair(&bad, &side).unwrap(), good, "{len} {seed}");
            }
            let mut bad = good.clone();
            choose(g.data as usize, parity + 1, 7).into_iter().for_each(|i| bad[i * shard] ^= 1);
            assert!(repair(&bad, &sidecar).is_err(), "{len}: one too many");
            assert_eq!(repair(&good[..len - parity * shard], &sidecar).unwrap(), good, "{len}: cut short");
        }
    }

    #[test]
    fn either_header_and_either_sums_will_do() {
        let good = pack(64 << 10);
        let g = Geometry::of(good.len() as u64, 64);
        let sidecar = encode(&good, g).unwrap();
        let sums = (g.data + g.parity) as usize * SUM_LEN;
        let mut bad = good.clone();
        bad[5] ^= 1;
        for gone in [0..HEADER_LEN + sums, sidecar.len() - HEADER_LEN - sums..sidecar.len()] {
            let mut side = sidecar.clone();
            side[gone].fill(0xaa);
            assert_eq!(repair(&bad, &side).unwrap(), good);
        }
    }

    #[test]
    fn only_the_hash_counts() {
        // Somebody who can write made checksums that fit the damage: what comes out is still refused.
        let (good, other) = (pack(64 << 10), vec![7; 64 << 10]);
        let g = Geometry::of(good.len() as u64, 64);
        let mut sidecar = encode(&other, g).unwrap();
        let id = *blake3::hash(&good).as_bytes();
        let end = sidecar.len();
        sidecar[32..64].copy_from_slice(&id);
        sidecar[end - 32..].copy_from_slice(&id);
        assert!(repair(&other, &sidecar).is_err());
        assert!(repair(&[], &[]).is_err());
    }

    #[test]
    fn every_length_has_a_code() {
        let mut len = PACK_ROUND;
        while len <= PACK_MAX {
            for ratio in [1, 32, 64, 128] {
                let g = Geometry::of(len, ratio);
                assert_eq!(u64::from(g.shard) * u64::from(g.data), len);
                let supported = <HighRateEncoder<DefaultEngine>>::supports(g.data as usize, g.parity as usize);
                assert!(supported, "{len} {g:?}");
            }
            len = (len * 3 / 2).next_multiple_of(PACK_ROUND);
        }
        assert_eq!(Geometry::of(PACK_MAX, 64).data as usize, PARITY_DATA_MAX);
        assert_eq!(Geometry::of(16 << 20, 64), Geometry { shard: 16 << 10, data: 1024, parity: 16 });
    }
}
