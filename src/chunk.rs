//! Content-defined cutting as a machine: show it bytes, receive the length of the first chunk.
//!
//! FastCDC (Xia et al., IEEE TPDS 2020) with a gear table keyed per domain, so that cut points
//! tell nothing to who does not hold the key. The masks are in `format-spec/65-chunking.md`.

use fastcdc::v2020::{Normalization, select_masks};

use crate::crypto::BlobKeys;
use crate::format::records::Profile;

/// The gear table of a domain, as the cutter wants it.
pub struct Gear {
    table: Box<[u64; 256]>,
}

impl Gear {
    /// From the domain's keys.
    pub fn new(keys: &BlobKeys) -> Self {
        Self { table: keys.gear_table() }
    }

    /// The hash after one more byte. What is 64 bytes back has been shifted out.
    #[inline(always)]
    fn roll(&self, hash: u64, byte: u8) -> u64 {
        (hash << 1).wrapping_add(self.table[usize::from(byte)])
    }

    /// Where in `bytes` the hash, which was `hash` before, first has no bit of `mask`; else what it
    /// is at the end.
    fn find(&self, bytes: &[u8], mut hash: u64, mask: u64) -> Result<usize, u64> {
        let mut i = 0;
        while i < bytes.len() {
            hash = self.roll(hash, bytes[i]);
            if hash & mask == 0 {
                return Ok(i);
            }
            i += 1;
        }
        Err(hash)
    }

    /// The same for a stretch of four lanes, which do not wait for one another's hashes: each but
    /// the first warms up on the bytes before it. Gives `None` if there is a place to cut somewhere.
    ///
    /// Loops by numbers, here and in [`Gear::find`]: all bytes go through them, in tests without optimisation, too,
    /// where a step of an iterator is several calls.
    fn pass(&self, bytes: &[u8; LANES * LANE], hash: u64, mask: u64) -> Option<u64> {
        let (lanes, _) = bytes.as_chunks::<LANE>();
        let [a, b, c, d] = lanes else { return None };
        let warm = |lane: &[u8; LANE]| lane[LANE - MEMORY..].iter().fold(0, |hash, byte| self.roll(hash, *byte));
        let (mut p, mut q, mut r, mut s) = (hash, warm(a), warm(b), warm(c));
        let mut i = 0;
        while i < LANE {
            p = self.roll(p, a[i]);
            q = self.roll(q, b[i]);
            r = self.roll(r, c[i]);
            s = self.roll(s, d[i]);
            if (p & mask == 0) | (q & mask == 0) | (r & mask == 0) | (s & mask == 0) {
                return None;
            }
            i += 1;
        }
        Some(s)
    }

    /// [`Gear::find`], quicker.
    fn find_far(&self, bytes: &[u8], mut hash: u64, mask: u64) -> Result<usize, u64> {
        let (stretches, _) = bytes.as_chunks::<{ LANES * LANE }>();
        let mut at = 0;
        for stretch in stretches {
            match self.pass(stretch, hash, mask) {
                Some(after) => hash = after,
                None => break,
            }
            at += stretch.len();
        }
        self.find(&bytes[at..], hash, mask).map(|i| at + i)
    }
}

/// Bytes that a hash of 64 bits remembers.
const MEMORY: usize = 64;
/// Hashes that are rolled side by side: one alone has the processor wait for each sum.
const LANES: usize = 4;
/// Bytes that each of them looks at before anybody asks for the first place.
const LANE: usize = 1024;

/// Cuts by one profile.
#[derive(Clone, Copy)]
pub struct Chunker<'g> {
    gear: &'g Gear,
    min: usize,
    avg: usize,
    max: usize,
    mask_s: u64,
    mask_l: u64,
}

impl<'g> Chunker<'g> {
    /// By a profile of the configuration.
    pub fn new(gear: &'g Gear, profile: &Profile) -> Self {
        let (mask_s, mask_l) = select_masks(profile.avg as usize, Normalization::Level1);
        let (min, avg, max) = (profile.min as usize, profile.avg as usize, profile.max as usize);
        Self { gear, min, avg, max, mask_s, mask_l }
    }

    /// Longest chunk.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Length of the first chunk of `bytes`; `None` if more bytes are needed to know.
    ///
    /// With `last`, nothing follows `bytes`, and the answer is never `None` unless it is empty.
    pub fn cut(&self, bytes: &[u8], last: bool) -> Option<usize> {
        if bytes.is_empty() || (bytes.len() < self.max && !last) {
            return None;
        }
        let end = bytes.len().min(self.max);
        if end <= self.min {
            return Some(end);
        }
        // Even, as those who step two bytes at a time cut.
        let (centre, last) = (self.avg.min(end) & !1, end & !1);
        let strict = self.gear.find_far(&bytes[self.min..centre.max(self.min)], 0, self.mask_s);
        let hash = match strict {
            Ok(at) => return Some(self.min + at),
            Err(hash) => hash,
        };
        let loose = self.gear.find_far(&bytes[centre.max(self.min)..last.max(self.min)], hash, self.mask_l);
        Some(loose.map_or(end, |at| centre.max(self.min) + at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;

    fn noise(len: usize, seed: u8) -> Vec<u8> {
        let mut out = vec![0; len];
        blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut out);
        out
    }

    fn cuts(c: &Chunker<'_>, data: &[u8], window: usize) -> Vec<usize> {
        // Fed in windows of any size, the cuts are the same.
        let (mut at, mut end, mut out) = (0, 0, Vec::new());
        while at < data.len() {
            match c.cut(&data[at..end], end == data.len()) {
                Some(n) => {
                    at += n;
                    out.push(at);
                }
                None => end = (end + window).min(data.len()),
            }
        }
        out
    }

    /// The crate's own cutter, one chunk after the other, and ours give the same.
    #[test]
    fn cuts_are_those_of_the_field() {
        let gear = Gear::new(&BlobKeys::new(&Secret::new([1; 32]), &Secret::new([2; 32])));
        let shifted: Vec<u64> = gear.table.iter().map(|t| t << 1).collect();
        let mut data = noise(3_000_000, 5);
        data[400_000..900_000].fill(0);
        data[1_000_000..1_500_000].iter_mut().for_each(|b| *b &= 3);
        for (n, (min, avg, max)) in [(4, 16, 64), (16, 64, 256), (128, 512, 2048), (1, 2, 4)].into_iter().enumerate() {
            let p = Profile { id: 1, chunker: 1, min: min << 10, avg: avg << 10, max: max << 10, frame: 0 };
            let c = Chunker::new(&gear, &p);
            for (from, to) in (0..300).map(|i| (i * 5_003 % 1_700_000, 3_000_000 - (i * i * 17 + n) % 1_200_000)) {
                let part = &data[from..to.min(from + i_len(from))];
                let (_, theirs) = fastcdc::v2020::cut_gear(
                    part,
                    c.min,
                    c.avg,
                    c.max,
                    c.mask_s,
                    c.mask_l,
                    c.mask_s << 1,
                    c.mask_l << 1,
                    &gear.table[..],
                    &shifted,
                );
                assert_eq!(c.cut(part, true), Some(theirs), "{p:?} {from}");
            }
        }
    }

    /// Some lengths from a byte to more than the longest chunk.
    fn i_len(from: usize) -> usize {
        1 + from * 7 % 300_000 * (from % 11)
    }

    #[test]
    fn cuts_do_not_depend_on_windows_and_resynchronise() {
        let gear = Gear::new(&BlobKeys::new(&Secret::new([1; 32]), &Secret::new([2; 32])));
        let p = Profile { id: 1, chunker: 1, min: 4 << 10, avg: 16 << 10, max: 64 << 10, frame: 0 };
        let c = Chunker::new(&gear, &p);
        let data = noise(2_000_000, 3);
        let whole = cuts(&c, &data, data.len());
        assert_eq!(whole, cuts(&c, &data, 100_001));
        let mean = data.len() / whole.len();
        assert!((12 << 10..26 << 10).contains(&mean), "mean chunk {mean}");
        let mut edited = data.clone();
        edited.splice(1_000_000..1_000_000, noise(777, 4));
        let after: Vec<usize> = cuts(&c, &edited, 70_000);
        let same = after.iter().filter(|n| whole.contains(n) || whole.contains(&n.wrapping_sub(777))).count();
        assert!(after.len() - same <= 4, "{} of {} cuts moved", after.len() - same, after.len());
        let other = Gear::new(&BlobKeys::new(&Secret::new([1; 32]), &Secret::new([9; 32])));
        assert_ne!(whole, cuts(&Chunker::new(&other, &p), &data, data.len()), "another key cuts elsewhere");
    }
}
