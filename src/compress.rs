//! One frame in, one frame out, bounded: zstd with contexts that go from frame to frame.

use std::cell::RefCell;

use zstd::zstd_safe::CParameter;

use crate::error::{Error, ErrorKind, Result};
use crate::format::limits::{FRAME_PLAIN_MAX, FRAME_TARGET};
use crate::format::pack::Codec;

/// Decompression needs at most this window, as a power of two.
const WINDOW_LOG_MAX: u32 = 24;
/// Up to here zstd takes small tables by itself.
const SMALL_FRAME: usize = 256 << 10;
/// Longer than a frame of ordinary files with the table of its lengths: one of a long file.
const LONG_FRAME: usize = FRAME_TARGET + FRAME_TARGET / 8;

/// How much of a frame is looked at to tell whether it compresses.
const SAMPLE: usize = 4 << 10;

/// Logarithms of the long and the short match table of level 3; zero leaves them to zstd. Its own would
/// not stay in the near cache with several threads at work; and the longer a frame is, the more of that
/// cache its own bytes take, and the more they make up for (decision 0001). Who asks for another level
/// wants that one.
fn tables(level: i32, len: usize) -> (u32, u32) {
    match len {
        _ if level != 3 || len <= SMALL_FRAME => (0, 0),
        ..LONG_FRAME => (16, 15),
        _ => (15, 14),
    }
}

/// Contexts for compressing and decompressing, made when first needed: a few hundred KiB each.
#[derive(Default)]
pub struct Zstd {
    compressor: Option<(i32, zstd::bulk::Compressor<'static>)>,
    decompressor: Option<zstd::bulk::Decompressor<'static>>,
}

thread_local! {
    static MINE: RefCell<Zstd> = RefCell::default();
}

fn bug(e: std::io::Error) -> Error {
    Error::new(ErrorKind::Bug, "zstd refuses its parameters").because(e)
}

impl Zstd {
    /// Compress `plain` into `out`; what does not shrink is copied.
    pub fn compress(&mut self, plain: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> Result<Codec> {
        out.clear();
        if let Some(level) = level.filter(|_| promising(plain)) {
            out.reserve(zstd::zstd_safe::compress_bound(plain.len()));
            let n = self.compressor(level, plain.len())?.compress_to_buffer(plain, out).map_err(bug)?;
            if n < plain.len() - plain.len() / 64 {
                return Ok(Codec::Zstd);
            }
            out.clear();
        }
        out.extend_from_slice(plain);
        Ok(Codec::Raw)
    }

    fn compressor(&mut self, level: i32, len: usize) -> Result<&mut zstd::bulk::Compressor<'static>> {
        let (_, c) = match self.compressor.take().filter(|(l, _)| *l == level) {
            Some(there) => self.compressor.insert(there),
            None => self.compressor.insert((level, zstd::bulk::Compressor::new(level).map_err(bug)?)),
        };
        let (hash, chain) = tables(level, len);
        c.set_parameter(CParameter::HashLog(hash)).map_err(bug)?;
        c.set_parameter(CParameter::ChainLog(chain)).map_err(bug)?;
        Ok(c)
    }

    fn decompressor(&mut self) -> Result<&mut zstd::bulk::Decompressor<'static>> {
        let d = match self.decompressor.take() {
            Some(d) => d,
            None => {
                let mut d = zstd::bulk::Decompressor::new().map_err(bug)?;
                d.window_log_max(WINDOW_LOG_MAX).map_err(bug)?;
                d
            }
        };
        Ok(self.decompressor.insert(d))
    }

    /// Decompress into `out`, which becomes exactly `plain_len` long.
    pub fn decompress(&mut self, codec: Codec, packed: &[u8], plain_len: usize, out: &mut Vec<u8>) -> Result<()> {
        let damaged = |why: &str| Error::new(ErrorKind::Damaged, format!("a frame does not decompress: {why}"));
        out.clear();
        if plain_len > FRAME_PLAIN_MAX {
            return Err(damaged("it claims to be longer than any frame"));
        }
        match codec {
            Codec::Raw => out.extend_from_slice(packed),
            Codec::Zstd => {
                out.reserve(plain_len);
                // Bounded by the buffer's capacity; the length is compared below.
                self.decompressor()?.decompress_to_buffer(packed, out).map_err(|e| damaged(&e.to_string()))?;
            }
        }
        if out.len() == plain_len { Ok(()) } else { Err(damaged("it has another length than it claims")) }
    }

    /// What was compressed; it is copied to `out` only if it has to be.
    pub fn plain<'b>(
        &mut self,
        codec: Codec,
        packed: &'b [u8],
        plain_len: usize,
        out: &'b mut Vec<u8>,
    ) -> Result<&'b [u8]> {
        if codec == Codec::Raw && packed.len() == plain_len && plain_len <= FRAME_PLAIN_MAX {
            return Ok(packed);
        }
        self.decompress(codec, packed, plain_len, out)?;
        Ok(out)
    }
}

/// Whether a few samples look as if compressing could pay. Random bytes have nearly 8 bits of
/// entropy each; text, code and tables have far less.
fn promising(plain: &[u8]) -> bool {
    if plain.len() < 16 * SAMPLE {
        return true;
    }
    let mut counts = [0u32; 256];
    let step = plain.len() / 4;
    for part in plain.chunks(step).filter(|p| p.len() >= SAMPLE) {
        for b in &part[part.len() - SAMPLE..] {
            counts[usize::from(*b)] += 1;
        }
    }
    let total = f64::from(counts.iter().sum::<u32>());
    let entropy: f64 = counts.iter().filter(|n| **n > 0).map(|n| f64::from(*n) / total).map(|p| -p * p.log2()).sum();
    // 16 KiB of random bytes show 7.988 bits a byte.
    entropy < 7.95
}

/// [`Zstd::decompress`] with contexts that live as long as the thread.
pub fn decompress(codec: Codec, packed: &[u8], plain_len: usize, out: &mut Vec<u8>) -> Result<()> {
    MINE.with_borrow_mut(|zstd| zstd.decompress(codec, packed, plain_len, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_bounds() {
        let mut packed = Vec::new();
        let mut plain = Vec::new();
        let mut zstd = Zstd::default();
        let text = b"all work and no play ".repeat(20_000);
        assert_eq!(zstd.compress(&text, Some(3), &mut packed).unwrap(), Codec::Zstd);
        assert!(packed.len() < text.len() / 50);
        decompress(Codec::Zstd, &packed, text.len(), &mut plain).unwrap();
        assert_eq!(plain, text);
        assert!(decompress(Codec::Zstd, &packed, text.len() - 1, &mut plain).is_err(), "longer than claimed");
        assert!(decompress(Codec::Zstd, &packed, text.len() + 1, &mut plain).is_err(), "shorter than claimed");
        assert!(decompress(Codec::Zstd, &packed[..9], text.len(), &mut plain).is_err());
        assert!(decompress(Codec::Zstd, &packed, usize::MAX, &mut plain).is_err());
        let mut noise = vec![0; 500_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert_eq!(zstd.compress(&noise, Some(3), &mut packed).unwrap(), Codec::Raw);
        assert_eq!(packed, noise);
    }
}
