//! Content-defined cutting as a machine: show it bytes, receive the length of the first chunk.
//!
//! FastCDC (Xia et al., IEEE TPDS 2020) with a gear table keyed per domain, so that cut points
//! tell nothing to who does not hold the key. The masks are in `format-spec/65-chunking.md`.

use fastcdc::v2020::{Normalization, cut_gear, select_masks};

use crate::crypto::BlobKeys;
use crate::format::records::Profile;

/// The gear table of a domain, as the cutter wants it.
pub struct Gear {
    table: Box<[u64; 256]>,
    shifted: Box<[u64; 256]>,
}

impl Gear {
    /// From the domain's keys.
    pub fn new(keys: &BlobKeys) -> Self {
        let table = keys.gear_table();
        let shifted = Box::new(std::array::from_fn(|i| table[i] << 1));
        Self { table, shifted }
    }
}

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
        let (_, len) = cut_gear(
            bytes,
            self.min,
            self.avg,
            self.max,
            self.mask_s,
            self.mask_l,
            self.mask_s << 1,
            self.mask_l << 1,
            &self.gear.table[..],
            &self.gear.shifted[..],
        );
        Some(len)
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
