//! Mutates what is sealed inside, three times of four: outside, nearly every mutation ends at the seal.

use libfuzzer_sys::fuzzer_mutate;

use crate::targets::sealed;

/// As libFuzzer wants it: `size` bytes of `data` are there, `most` may be; gives how many there are now.
pub fn mutate(target: &str, data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let mut inside = |plain: &mut Vec<u8>| {
        let len = plain.len();
        plain.resize(len.max(most), 0);
        let room = plain.len();
        let len = fuzzer_mutate(plain, len, room);
        plain.truncate(len);
    };
    let sealed = (!seed.is_multiple_of(4)).then(|| sealed::damage(target, &data[..size], &mut inside)).flatten();
    match sealed.filter(|s| s.len() <= most) {
        Some(sealed) => {
            data[..sealed.len()].copy_from_slice(&sealed);
            sealed.len()
        }
        None => fuzzer_mutate(data, size, most),
    }
}
