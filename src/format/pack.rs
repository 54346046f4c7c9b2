//! Packs: a clear header, sealed frames back to back, a sealed table, a footer.
//!
//! ```text
//! header 256 | frame 0 | frame 1 | … | table, padded and sealed | footer 64
//! ```
//! The length is a multiple of 16 KiB and the name is the BLAKE3 of all of it. Bytes, keys and
//! refusals are in `format-spec/40-pack.md`.

use super::bytes::Reader;
use super::limits::{FRAME_BLOBS_MAX, FRAME_PLAIN_MAX, PACK_MAX, PACK_ROUND, PACK_ROUND_SMALL, PACK_SMALL, TABLE_MAX};
use super::{FormatError, limit};
use crate::crypto::{Aead, CryptoError, Secret, Suite, TAG_LEN, equal, expand, expand_committed};
use crate::id::{BlobId, DomainId, SessionId};

/// Length of the header.
pub const HEADER_LEN: usize = 256;
/// Length of the part of the header that is bound into keys.
pub const HEADER_KEYED_LEN: usize = 96;
/// Length of the footer.
pub const FOOTER_LEN: usize = 64;
const MAGIC: &[u8; 8] = b"ORLPACK1";
const FOOTER_MAGIC: &[u8; 8] = b"ORLPEND1";
const HEADER: &str = "pack header";
const TABLE: &str = "pack table";
const FOOTER: &str = "pack footer";
const FRAME: &str = "frame";
/// Bytes of the table before its lists.
const TABLE_HEAD_LEN: usize = 16;
const TABLE_FRAME_LEN: usize = 12;

/// What a pack of about this length is padded to a multiple of.
fn rounding(len: u64) -> u64 {
    if len < PACK_SMALL { PACK_ROUND_SMALL } else { PACK_ROUND }
}

/// Whether a pack can be this long.
pub fn is_pack_len(len: u64) -> bool {
    len.is_multiple_of(rounding(len)) && len <= PACK_MAX
}

/// What is in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
#[repr(u8)]
pub enum Kind {
    /// Chunks of files.
    Data = 1,
    /// Pages of trees.
    Tree = 2,
}

impl Kind {
    /// From its number.
    pub fn from_u8(n: u8) -> Option<Self> {
        match n {
            1 => Some(Self::Data),
            2 => Some(Self::Tree),
            _ => None,
        }
    }
}

/// How a frame's plaintext is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
#[repr(u8)]
pub enum Codec {
    /// Not at all.
    Raw = 0,
    /// Zstandard, RFC 8878.
    Zstd = 1,
}

impl Codec {
    fn from_u8(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The clear header.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Header {
    /// Cipher: a [`Suite`].
    pub suite: u8,
    /// 0: the pack's key comes from the epoch's secret. 1 is reserved for packs sealed to a public key.
    pub wrap: u8,
    /// Epoch of the secret.
    pub epoch: u32,
    /// The session that wrote it (not necessarily the one that uploaded it here).
    pub session: SessionId,
    /// Fresh for every pack.
    pub salt: [u8; 32],
    /// Tells at once whether a key fits.
    pub commitment: [u8; 32],
}

impl Header {
    /// As bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut h = [0; HEADER_LEN];
        h[..8].copy_from_slice(MAGIC);
        h[8..10].copy_from_slice(&(HEADER_LEN as u16).to_le_bytes());
        h[10] = self.suite;
        h[11] = self.wrap;
        h[12..16].copy_from_slice(&self.epoch.to_le_bytes());
        h[16..32].copy_from_slice(self.session.as_bytes());
        h[32..64].copy_from_slice(&self.salt);
        h[64..96].copy_from_slice(&self.commitment);
        h
    }

    /// From at least [`HEADER_LEN`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut r = Reader::new(HEADER, bytes);
        r.magic(MAGIC)?;
        if usize::from(r.u16()?) != HEADER_LEN {
            return Err(FormatError::invalid(HEADER, "it has another length than this version's"));
        }
        let (suite, wrap) = (r.u8()?, r.u8()?);
        if Suite::from_u8(suite).is_none() || wrap != 0 {
            return Err(FormatError::invalid(HEADER, "unknown cipher or wrapping"));
        }
        let header = Self {
            suite,
            wrap,
            epoch: r.u32()?,
            session: SessionId(r.array()?),
            salt: r.array()?,
            commitment: r.array()?,
        };
        r.zeros(HEADER_LEN - HEADER_KEYED_LEN)?;
        Ok(header)
    }

    /// A header for a new pack, and its keys.
    pub fn create(
        suite: Suite,
        epoch: u32,
        session: SessionId,
        salt: [u8; 32],
        domain: DomainId,
        secret: &Secret,
    ) -> (Self, PackKey) {
        let mut header = Self { suite: suite as u8, wrap: 0, epoch, session, salt, commitment: [0; 32] };
        let (key, commitment) = header.derive(domain, secret);
        header.commitment = commitment;
        (header, PackKey { aead: Aead::new(suite, &key), domain })
    }

    /// The key to its frames.
    pub fn key(&self, domain: DomainId, secret: &Secret) -> Result<PackKey, FormatError> {
        let (key, commitment) = self.derive(domain, secret);
        if !equal(&commitment, &self.commitment) {
            return Err(FormatError::Crypto { what: HEADER, why: CryptoError::Open });
        }
        let suite = Suite::from_u8(self.suite).ok_or(FormatError::invalid(HEADER, "unknown cipher"))?;
        Ok(PackKey { aead: Aead::new(suite, &key), domain })
    }

    fn derive(&self, domain: DomainId, secret: &Secret) -> (Secret, [u8; 32]) {
        expand_committed(secret, &[b"orlop v1 pack", domain.as_bytes(), &self.encode()[..64]])
    }

    /// The key to its table.
    fn table_key(&self, index_secret: &Secret) -> Option<Aead> {
        let key = expand(index_secret, &[b"orlop v1 table", &self.encode()[..HEADER_KEYED_LEN]]);
        Some(Aead::new(Suite::from_u8(self.suite)?, &Secret::new(key)))
    }
}

/// What the table says of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct FrameEntry {
    /// Bytes in the pack, tag included.
    pub stored: u32,
    /// Bytes after decompression.
    pub plain: u32,
    /// How it is compressed.
    pub codec: Codec,
    /// Blobs in it.
    pub blobs: u16,
}

impl FrameEntry {
    /// Its lengths are within limits and do not contradict each other.
    pub(super) fn check(&self) -> Result<(), FormatError> {
        limit("plaintext of a frame", self.plain.into(), FRAME_PLAIN_MAX as u64)?;
        limit("stored length of a frame", self.stored.into(), (FRAME_PLAIN_MAX + TAG_LEN) as u64)?;
        let prefix = usize::from(self.blobs) * 4;
        if self.blobs == 0 || (self.stored as usize) < TAG_LEN || (self.plain as usize) < prefix {
            return Err(FormatError::invalid(FRAME, "its lengths contradict each other"));
        }
        if self.codec == Codec::Raw && self.plain as usize + TAG_LEN != self.stored as usize {
            return Err(FormatError::invalid(FRAME, "its lengths contradict each other"));
        }
        Ok(())
    }
}

/// Seals and opens frames of one pack.
pub struct PackKey {
    aead: Aead,
    domain: DomainId,
}

impl PackKey {
    fn aad(&self, kind: Kind, f: &FrameEntry) -> [u8; 42] {
        let mut aad = [0; 42];
        aad[..14].copy_from_slice(b"orlop v1 frame");
        aad[14..30].copy_from_slice(self.domain.as_bytes());
        aad[30] = kind as u8;
        aad[31] = f.codec as u8;
        aad[32..36].copy_from_slice(&f.stored.to_le_bytes());
        aad[36..40].copy_from_slice(&f.plain.to_le_bytes());
        aad[40..42].copy_from_slice(&f.blobs.to_le_bytes());
        aad
    }
    /// Seal the compressed bytes in `buffer` as the pack's frame number `ordinal`.
    pub fn seal(&self, ordinal: u64, kind: Kind, frame: &FrameEntry, buffer: &mut Vec<u8>) {
        debug_assert_eq!(frame.stored as usize, buffer.len() + TAG_LEN);
        self.aead.seal(0, ordinal, &self.aad(kind, frame), buffer, 0);
    }
    /// Open a frame in place; gives its compressed bytes.
    pub fn open<'b>(
        &self,
        ordinal: u64,
        kind: Kind,
        frame: &FrameEntry,
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], FormatError> {
        frame.check()?;
        self.aead
            .open(0, ordinal, &self.aad(kind, frame), buffer)
            .map_err(|why| FormatError::Crypto { what: FRAME, why })
    }
}

/// Where the blobs of a frame's plaintext are: the prefix of lengths, checked against the whole.
pub fn blob_ranges(plain: &[u8], blobs: u16) -> Result<Vec<std::ops::Range<usize>>, FormatError> {
    let mut r = Reader::new(FRAME, plain);
    let mut out = Vec::with_capacity(blobs.into());
    let mut at = usize::from(blobs) * 4;
    for _ in 0..blobs {
        let len = r.u32()? as usize;
        limit("length of a blob", len as u64, super::limits::BLOB_MAX as u64)?;
        // Checked one by one: the sum of 65,535 forged lengths does not fit 32 bits.
        let end = at + len;
        if end > plain.len() {
            return Err(FormatError::invalid(FRAME, "blob lengths do not add up"));
        }
        out.push(at..end);
        at = end;
    }
    if at == plain.len() { Ok(out) } else { Err(FormatError::invalid(FRAME, "blob lengths do not add up")) }
}

/// What is in a pack: frames in order, and the blobs in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// What kind of blobs.
    pub kind: Kind,
    /// In order, back to back from offset 256.
    pub frames: Vec<FrameEntry>,
    /// Ids of all blobs, frame by frame.
    pub ids: Vec<BlobId>,
}

impl Table {
    /// Table and footer of a pack whose frames end at `frames_end`.
    pub fn seal(&self, header: &Header, index_secret: &Secret, frames_end: u64) -> Vec<u8> {
        let mut t = Vec::new();
        t.extend_from_slice(&(self.frames.len() as u32).to_le_bytes());
        t.extend_from_slice(&(self.ids.len() as u32).to_le_bytes());
        t.push(self.kind as u8);
        t.extend_from_slice(&[0; 7]);
        for f in &self.frames {
            t.extend_from_slice(&f.stored.to_le_bytes());
            t.extend_from_slice(&f.plain.to_le_bytes());
            t.push(f.codec as u8);
            t.push(0);
            t.extend_from_slice(&f.blobs.to_le_bytes());
        }
        self.ids.iter().for_each(|id| t.extend_from_slice(id.as_bytes()));
        let unpadded = frames_end + (t.len() + TAG_LEN + FOOTER_LEN) as u64;
        let padding = unpadded.next_multiple_of(rounding(unpadded)) - unpadded;
        t.resize(t.len() + padding as usize, 0);
        let aead = header.table_key(index_secret).expect("a header that was created has a known cipher");
        aead.seal(1, 0, b"orlop v1 table", &mut t, 0);
        let footer = Footer { table_offset: frames_end, table_len: t.len() as u32 };
        t.extend_from_slice(&footer.encode());
        t
    }

    /// Open a table.
    pub fn open(
        header: &Header,
        index_secret: &Secret,
        footer: &Footer,
        sealed: &mut [u8],
    ) -> Result<Self, FormatError> {
        let aead = header.table_key(index_secret).ok_or(FormatError::invalid(HEADER, "unknown cipher"))?;
        let plain =
            aead.open(1, 0, b"orlop v1 table", sealed).map_err(|why| FormatError::Crypto { what: TABLE, why })?;
        let table = Self::parse(plain)?;
        let end = table.frames.iter().fold(HEADER_LEN as u64, |sum, f| sum + u64::from(f.stored));
        if end != footer.table_offset {
            return Err(FormatError::invalid(TABLE, "frames do not fill the space before it"));
        }
        Ok(table)
    }

    fn parse(plain: &[u8]) -> Result<Self, FormatError> {
        let mut r = Reader::new(TABLE, plain);
        let (frames, blobs) = (r.u32()? as usize, r.u32()? as usize);
        let kind = Kind::from_u8(r.u8()?).ok_or(FormatError::invalid(TABLE, "unknown kind"))?;
        r.zeros(TABLE_HEAD_LEN - 9)?;
        let need = frames.saturating_mul(TABLE_FRAME_LEN).saturating_add(blobs.saturating_mul(BlobId::LEN));
        if need > r.left() {
            return Err(FormatError::Truncated { what: TABLE, at: TABLE_HEAD_LEN, need, have: r.left() });
        }
        let mut table = Self { kind, frames: Vec::with_capacity(frames), ids: Vec::with_capacity(blobs) };
        for _ in 0..frames {
            table.frames.push(parse_frame(&mut r)?);
        }
        if table.frames.iter().map(|f| usize::from(f.blobs)).sum::<usize>() != blobs {
            return Err(FormatError::invalid(TABLE, "frames do not hold as many blobs as it lists"));
        }
        for _ in 0..blobs {
            table.ids.push(BlobId(r.array()?));
        }
        r.zeros(r.left())?;
        Ok(table)
    }
}

fn parse_frame(r: &mut Reader<'_>) -> Result<FrameEntry, FormatError> {
    let (stored, plain) = (r.u32()?, r.u32()?);
    let codec = Codec::from_u8(r.u8()?).ok_or(FormatError::invalid(TABLE, "unknown compression"))?;
    r.zeros(1)?;
    let f = FrameEntry { stored, plain, codec, blobs: r.u16()? };
    f.check()?;
    limit("blobs of a frame", f.blobs.into(), FRAME_BLOBS_MAX as u64)?;
    Ok(f)
}

/// The clear footer: where the table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Offset of the sealed table in the pack.
    pub table_offset: u64,
    /// Its sealed length.
    pub table_len: u32,
}

impl Footer {
    fn encode(&self) -> [u8; FOOTER_LEN] {
        let mut f = [0; FOOTER_LEN];
        f[..8].copy_from_slice(FOOTER_MAGIC);
        f[8..16].copy_from_slice(&self.table_offset.to_le_bytes());
        f[16..20].copy_from_slice(&self.table_len.to_le_bytes());
        f
    }

    /// From the last [`FOOTER_LEN`] bytes of a pack that is `pack_len` long.
    pub fn parse(bytes: &[u8], pack_len: u64) -> Result<Self, FormatError> {
        limit("length of a pack", pack_len, PACK_MAX)?;
        let mut r = Reader::new(FOOTER, bytes);
        r.magic(FOOTER_MAGIC)?;
        let f = Self { table_offset: r.u64()?, table_len: r.u32()? };
        r.zeros(FOOTER_LEN - 20)?;
        r.end()?;
        limit("length of a table", f.table_len.into(), TABLE_MAX as u64)?;
        let end = f.table_offset.checked_add(u64::from(f.table_len) + FOOTER_LEN as u64);
        if f.table_offset < HEADER_LEN as u64 || end != Some(pack_len) || !is_pack_len(pack_len) {
            return Err(FormatError::invalid(FOOTER, "it does not fit the length of the pack"));
        }
        Ok(f)
    }
}
