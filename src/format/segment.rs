//! Index segments: which blob is in which frame of which pack.
//!
//! ```text
//! header 96 | sealed head | sealed rows, 2520 a page | sealed fence
//! ```
//! Rows are sorted by id and sealed page by page, so that one page can be read alone: the fence
//! has the first id of each. The head lists packs and frames and is signed; it carries the hash
//! of the rows, so the signature covers all. `format-spec/50-index.md` has the bytes.

use super::bytes::Reader;
use super::codec::{check_ext, decode, encode};
pub use super::gc::Sealing;
use super::limits::{PACK_MAX, SEGMENT_MAX};
use super::pack::{self, FrameEntry, Header, Kind};
use super::record::{self, Place, RecordType};
use super::{FormatError, limit};
use crate::crypto::{Aead, CryptoError, PublicKey, SIGNATURE_LEN, Secret, Suite, TAG_LEN, equal, expand_committed};
use crate::id::{ClientId, DomainId, InstanceId, PackId, SegmentId, SessionId};
use crate::model::Ext;

const MAGIC: &[u8; 8] = b"ORLPSEG1";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 96;
const WHAT: &str = "index segment";
/// Rows in a full page.
pub const PAGE_ROWS: usize = 2520;
/// Bytes of a row.
pub const ROW_LEN: usize = 26;
/// Bytes of a blob's id that the index keeps.
pub const SHORT_ID_LEN: usize = 20;

/// One blob: its short id, the frame it is in (counted through all packs of the segment), and its
/// place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The first bytes of the blob's id.
    pub id: [u8; SHORT_ID_LEN],
    /// Which frame of the segment.
    pub frame: u32,
    /// Which blob of the frame.
    pub ordinal: u16,
}

/// A pack as the index knows it: enough to read a frame with one request.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct PackEntry {
    /// Its name.
    pub id: PackId,
    /// The session that uploaded it, as in its file name.
    pub uploader: [u8; 4],
    /// Its length.
    pub len: u64,
    /// What is in it.
    pub kind: Kind,
    /// Its header.
    pub header: Header,
    /// Its frames, back to back from offset 256.
    pub frames: Vec<FrameEntry>,
}

/// What a segment says beside its rows.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Head {
    /// Whose ids these are.
    pub domain: DomainId,
    /// Whose packs these are: a mirror has the same ids in packs of its own.
    pub instance: InstanceId,
    /// Who wrote and signs it.
    pub client: ClientId,
    /// Epoch of the key that signs.
    pub client_epoch: u32,
    /// The session that wrote it.
    pub session: SessionId,
    /// The packs, in any order.
    pub packs: Vec<PackEntry>,
    /// Segments that this one takes the place of.
    pub supersedes: Vec<SegmentId>,
    /// BLAKE3 over all rows.
    pub rows_hash: [u8; 32],
    /// Extensions.
    pub ext: Vec<Ext>,
}

/// A whole segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Everything but the rows.
    pub head: Head,
    /// Ascending.
    pub rows: Vec<Row>,
}

impl Head {
    /// Extension: whoever signs repeats what others said of these packs, and has not looked into them.
    pub const HEARSAY: u16 = 1;

    /// Whether its signer answers for what it says of packs.
    pub fn is_hearsay(&self) -> bool {
        self.ext.iter().any(|e| e.tag == Self::HEARSAY)
    }
}

fn row_bytes(rows: &[Row]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len() * ROW_LEN);
    for row in rows {
        out.extend_from_slice(&row.id);
        out.extend_from_slice(&row.frame.to_le_bytes());
        out.extend_from_slice(&row.ordinal.to_le_bytes());
    }
    out
}

/// A segment has no name before it is sealed, so all of them are signed for one place.
fn signed_message(domain: DomainId, instance: InstanceId, payload: &[u8]) -> Vec<u8> {
    record::signed_message(RecordType::SegmentHead, &Place { domain, instance, name: "index" }, &[], payload)
}

fn keys(secret: &Secret, domain: DomainId, instance: InstanceId, header: &[u8; 64]) -> (Aead, [u8; 32]) {
    let parts: [&[u8]; 4] = [b"orlop v1 segment", domain.as_bytes(), instance.as_bytes(), header];
    let (key, commitment) = expand_committed(secret, &parts);
    (Aead::new(Suite::ChaCha20Poly1305, &key), commitment)
}

/// Nonce domains of the three parts.
const HEAD: u8 = 3;
const ROWS: u8 = 4;
const FENCE: u8 = 5;

impl Segment {
    /// As bytes. Sorts nothing: rows must ascend, and `head.rows_hash` is filled in.
    pub fn seal(&mut self, with: &Sealing<'_>) -> Vec<u8> {
        debug_assert!(self.rows.is_sorted());
        let rows = row_bytes(&self.rows);
        self.head.rows_hash = *blake3::hash(&rows).as_bytes();
        let mut head = encode(&self.head);
        let signature = with.signer.sign(&signed_message(with.domain, with.instance, &head));
        head.extend_from_slice(&signature);

        let mut header = [0; 64];
        header[..8].copy_from_slice(MAGIC);
        header[8..10].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&with.epoch.to_le_bytes());
        header[16..20].copy_from_slice(&((head.len() + TAG_LEN) as u32).to_le_bytes());
        header[24..32].copy_from_slice(&(self.rows.len() as u64).to_le_bytes());
        header[32..64].copy_from_slice(&with.salt);
        let (aead, commitment) = keys(with.secret, with.domain, with.instance, &header);
        let mut out = Vec::with_capacity(HEADER_LEN + head.len() + rows.len() + rows.len() / 1000 + 256);
        out.extend_from_slice(&header);
        out.extend_from_slice(&commitment);
        let aad: [u8; HEADER_LEN] = std::array::from_fn(|i| out[i]);
        let mut part = |domain, counter, plain: &[u8]| {
            let from = out.len();
            out.extend_from_slice(plain);
            aead.seal(domain, counter, &aad, &mut out, from);
        };
        part(HEAD, 0, &head);
        let mut fence = Vec::new();
        for (n, page) in rows.chunks(PAGE_ROWS * ROW_LEN).enumerate() {
            part(ROWS, n as u64, page);
            fence.extend_from_slice(&page[..SHORT_ID_LEN]);
        }
        part(FENCE, 0, &fence);
        out
    }
}

/// A segment taken apart, not yet opened.
pub struct Sealed<'a> {
    bytes: &'a [u8],
    header: [u8; 64],
    /// Epoch of the secret it is sealed under.
    pub epoch: u32,
    head_len: usize,
    rows: usize,
    commitment: [u8; 32],
}

/// Take a segment apart.
pub fn parse(bytes: &[u8]) -> Result<Sealed<'_>, FormatError> {
    limit("length of an index segment", bytes.len() as u64, SEGMENT_MAX as u64)?;
    let mut r = Reader::new(WHAT, bytes);
    r.magic(MAGIC)?;
    r.version(VERSION)?;
    r.zeros(2)?;
    let epoch = r.u32()?;
    let head_len = r.u32()? as usize;
    limit("head of an index segment", head_len as u64, SEGMENT_MAX as u64)?;
    r.zeros(4)?;
    let rows = r.u64()?;
    limit("rows of an index segment", rows, (SEGMENT_MAX / ROW_LEN) as u64)?;
    r.take(32)?;
    let commitment = r.array()?;
    let header = std::array::from_fn(|i| bytes[i]);
    let rows = rows as usize;
    let pages = rows.div_ceil(PAGE_ROWS);
    let need = head_len + rows * ROW_LEN + pages * TAG_LEN + pages * SHORT_ID_LEN + TAG_LEN;
    if r.left() > need {
        return Err(FormatError::invalid(WHAT, "bytes follow its end"));
    }
    if r.left() < need {
        return Err(FormatError::Truncated { what: WHAT, at: HEADER_LEN, need, have: r.left() });
    }
    Ok(Sealed { bytes, header, epoch, head_len, rows, commitment })
}

/// An opened segment whose signature is still to be checked, because only its head says whose it is.
pub struct Opened {
    /// The segment.
    pub segment: Segment,
    message: Vec<u8>,
    signature: [u8; SIGNATURE_LEN],
}

impl Opened {
    /// Check the signature.
    pub fn verify(&self, key: &PublicKey) -> Result<(), FormatError> {
        key.verify(&self.message, &self.signature).map_err(|why| FormatError::Crypto { what: WHAT, why })
    }
}

impl Sealed<'_> {
    /// Open all of it.
    pub fn open(&self, secret: &Secret, domain: DomainId, instance: InstanceId) -> Result<Opened, FormatError> {
        let (aead, commitment) = keys(secret, domain, instance, &self.header);
        if !equal(&commitment, &self.commitment) {
            return Err(FormatError::Crypto { what: WHAT, why: CryptoError::Open });
        }
        let mut r = Reader::new(WHAT, &self.bytes[HEADER_LEN..]);
        let aad = &self.bytes[..HEADER_LEN];
        let mut part = |domain, counter, len: usize| -> Result<Vec<u8>, FormatError> {
            let mut sealed = r.take(len)?.to_vec();
            let n = aead
                .open(domain, counter, aad, &mut sealed)
                .map_err(|why| FormatError::Crypto { what: WHAT, why })?
                .len();
            sealed.truncate(n);
            Ok(sealed)
        };
        let head = part(HEAD, 0, self.head_len)?;
        let mut rows = Vec::with_capacity(self.rows * ROW_LEN);
        let mut fence = Vec::new();
        for n in 0..self.rows.div_ceil(PAGE_ROWS) {
            let count = PAGE_ROWS.min(self.rows - n * PAGE_ROWS);
            let page = part(ROWS, n as u64, count * ROW_LEN + TAG_LEN)?;
            fence.extend_from_slice(&page[..SHORT_ID_LEN]);
            rows.extend_from_slice(&page);
        }
        if part(FENCE, 0, fence.len() + TAG_LEN)? != fence {
            return Err(FormatError::invalid(WHAT, "the fence does not match the rows"));
        }
        let at = head.len().checked_sub(SIGNATURE_LEN).ok_or(FormatError::invalid(WHAT, "it has no signature"))?;
        let (payload, signature) = head.split_at(at);
        let head: Head = decode(WHAT, payload)?;
        check_ext(WHAT, &head.ext, &[])?;
        if (head.domain, head.instance) != (domain, instance) {
            return Err(FormatError::invalid(WHAT, "it is of another repository"));
        }
        check_packs(&head.packs)?;
        if blake3::hash(&rows) != blake3::Hash::from_bytes(head.rows_hash) {
            return Err(FormatError::invalid(WHAT, "rows do not have the signed hash"));
        }
        let segment = Segment { rows: parse_rows(&head, &rows)?, head };
        let signature = signature.try_into().expect("split off at that length");
        Ok(Opened { segment, message: signed_message(domain, instance, payload), signature })
    }
}

/// Frames must be as a pack's own table may list them, and fit the pack.
fn check_packs(packs: &[PackEntry]) -> Result<(), FormatError> {
    for p in packs {
        limit("length of a pack", p.len, PACK_MAX)?;
        p.frames.iter().try_for_each(FrameEntry::check)?;
        let end = p.frames.iter().fold(pack::HEADER_LEN as u64, |sum, f| sum + u64::from(f.stored));
        if end > p.len {
            return Err(FormatError::invalid(WHAT, "frames reach beyond their pack"));
        }
    }
    Ok(())
}

fn parse_rows(head: &Head, bytes: &[u8]) -> Result<Vec<Row>, FormatError> {
    let counts: Vec<u16> = head.packs.iter().flat_map(|p| p.frames.iter().map(|f| f.blobs)).collect();
    let mut rows = Vec::with_capacity(bytes.len() / ROW_LEN);
    for row in bytes.as_chunks::<ROW_LEN>().0 {
        let mut r = Reader::new(WHAT, row);
        let row = Row { id: r.array()?, frame: r.u32()?, ordinal: r.u16()? };
        if counts.get(row.frame as usize).is_none_or(|n| row.ordinal >= *n) {
            return Err(FormatError::invalid(WHAT, "a row points outside its frames"));
        }
        rows.push(row);
    }
    if !rows.is_sorted() {
        return Err(FormatError::invalid(WHAT, "rows do not ascend"));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SigningKey;
    use crate::format::pack::Codec;

    #[test]
    fn round_trip_and_every_byte_counts() {
        let secret = Secret::new([1; 32]);
        let signer = SigningKey::from_seed(&Secret::new([2; 32]));
        let (domain, instance) = (DomainId([3; 16]), InstanceId([11; 16]));
        let header =
            Header { suite: 2, wrap: 0, epoch: 1, session: SessionId([4; 16]), salt: [5; 32], commitment: [6; 32] };
        let frames = vec![FrameEntry { stored: 100, plain: 20_000, codec: Codec::Zstd, blobs: 3000 }];
        let pack = PackEntry { id: PackId([7; 32]), uploader: [8; 4], len: 16384, kind: Kind::Data, header, frames };
        let head = Head {
            domain,
            instance,
            client: ClientId([9; 16]),
            client_epoch: 1,
            session: SessionId([4; 16]),
            packs: vec![pack],
            supersedes: vec![],
            rows_hash: [0; 32],
            ext: vec![],
        };
        let row = |n: u16| {
            let mut id = [0; SHORT_ID_LEN];
            id[..2].copy_from_slice(&n.to_be_bytes());
            Row { id, frame: 0, ordinal: n }
        };
        let mut segment = Segment { head, rows: (0..3000).map(row).collect() };
        let with = Sealing { domain, instance, epoch: 1, secret: &secret, salt: [10; 32], signer: &signer };
        let bytes = segment.seal(&with);
        let opened = parse(&bytes).unwrap().open(&secret, domain, instance).unwrap();
        assert_eq!(opened.segment, segment);
        opened.verify(&signer.public()).unwrap();
        assert!(opened.verify(&SigningKey::from_seed(&secret).public()).is_err());
        for i in (0..bytes.len()).step_by(97).chain(0..HEADER_LEN) {
            let mut bad = bytes.clone();
            bad[i] ^= 1;
            assert!(parse(&bad).and_then(|s| s.open(&secret, domain, instance)).is_err(), "byte {i}");
        }
        segment.rows[5].ordinal = 3000;
        let bytes = segment.seal(&with);
        assert!(parse(&bytes).unwrap().open(&secret, domain, instance).is_err(), "a row outside its frame");
    }
}
