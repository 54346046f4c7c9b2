//! What only few nodes have, as values and as the bytes of [`Node::ext`](super::Node::ext):
//! birth time, extended attributes, chattr flags, link group, time of last access.
//!
//! Pure: where the long values of extended attributes go to and come from is the caller's
//! closure. Decoding refuses whatever would not encode to the same bytes again, one tag at a
//! time, so that a damaged attribute list does not cost the birth time.

use super::{Ext, Time, Xattr, XattrValue, ext_tag};
use crate::id::BlobId;

/// Longest name of an extended attribute that any system accepts.
pub const XATTR_NAME_MAX: usize = 255;
/// Values of extended attributes up to this long are kept in their node.
pub const XATTR_INLINE_MAX: usize = 1024;
/// Longest value of an extended attribute.
pub const XATTR_MAX: usize = 64 << 10;
/// Most bytes that the attributes of one node may take in it. A node must fit into a page with
/// room to spare; no known file system lets anyone get near this by ordinary use.
pub const XATTRS_ENCODED_MAX: usize = 96 << 10;

/// chattr flags as `FS_IOC_GETFLAGS` gives them.
///
/// Only the ones in [`flag::TABLE`] are recorded and restored. The others say how a file system
/// keeps a file (extents, index, encryption, verity), need state that is not recorded (project
/// inheritance, case folding) or were never implemented (secure removal, undelete).
pub mod flag {
    /// Compress.
    pub const COMPRESS: u32 = 0x4;
    /// Write synchronously.
    pub const SYNC: u32 = 0x8;
    /// Nobody may change it.
    pub const IMMUTABLE: u32 = 0x10;
    /// May only grow.
    pub const APPEND: u32 = 0x20;
    /// Leave out of dumps.
    pub const NODUMP: u32 = 0x40;
    /// Do not note accesses.
    pub const NOATIME: u32 = 0x80;
    /// Do not compress.
    pub const NOCOMPRESS: u32 = 0x400;
    /// Journal the data too.
    pub const JOURNAL: u32 = 0x4000;
    /// Do not merge the tail.
    pub const NOTAIL: u32 = 0x8000;
    /// Change the directory synchronously.
    pub const DIRSYNC: u32 = 0x1_0000;
    /// Spread subdirectories.
    pub const TOPDIR: u32 = 0x2_0000;
    /// No copy on write.
    pub const NOCOW: u32 = 0x80_0000;

    /// Every flag that is recorded, with the letter that `lsattr` shows for it.
    pub const TABLE: [(u32, char); 12] = [
        (COMPRESS, 'c'),
        (SYNC, 'S'),
        (IMMUTABLE, 'i'),
        (APPEND, 'a'),
        (NODUMP, 'd'),
        (NOATIME, 'A'),
        (NOCOMPRESS, 'm'),
        (JOURNAL, 'j'),
        (NOTAIL, 't'),
        (DIRSYNC, 'D'),
        (TOPDIR, 'T'),
        (NOCOW, 'C'),
    ];
    /// All of [`TABLE`].
    pub const MASK: u32 = {
        let (mut all, mut i) = (0, 0);
        while i < TABLE.len() {
            all |= TABLE[i].0;
            i += 1;
        }
        all
    };
    /// Have an effect only on a file that is still empty.
    pub const EARLY: u32 = COMPRESS | NOCOMPRESS | NOCOW;
    /// Make a file refuse all further changes, so they come last and are a nuisance to clean up.
    pub const SEALING: u32 = IMMUTABLE | APPEND;
}

/// An extension does not say what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("extension {tag} of a node: {what}")]
pub struct ExtError {
    /// Which extension.
    pub tag: u16,
    /// What is wrong with it.
    pub what: &'static str,
}

/// An extended attribute with its value at hand, whatever its length.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlainXattr {
    /// Full name with its namespace.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// The extensions of one node, decoded and complete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// Birth time.
    pub btime: Option<Time>,
    /// Time of last access.
    pub atime: Option<Time>,
    /// chattr flags within [`flag::MASK`]; 0 is not stored.
    pub flags: u32,
    /// Which hard links belong together.
    pub link: Option<[u8; 16]>,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<PlainXattr>,
}

impl Extras {
    /// The extensions to keep in a node, in order of their tags. `store` keeps a value that is too
    /// long for the node as a chunk and says which.
    pub fn into_ext<E>(self, mut store: impl FnMut(&[u8]) -> Result<BlobId, E>) -> Result<Vec<Ext>, E> {
        let mut ext = Vec::new();
        let mut push = |tag, data| ext.push(Ext { tag, flags: 0, data });
        if let Some(t) = self.btime {
            push(ext_tag::BTIME, encode_time(t));
        }
        if !self.xattrs.is_empty() {
            let mut all = Vec::with_capacity(self.xattrs.len());
            for PlainXattr { name, value } in self.xattrs {
                let value = match value.len() {
                    0..=XATTR_INLINE_MAX => XattrValue::Inline(value),
                    len => XattrValue::Chunk { id: store(&value)?, len: u32::try_from(len).unwrap_or(u32::MAX) },
                };
                all.push(Xattr { name, value });
            }
            push(ext_tag::XATTRS, encode_xattrs(&all));
        }
        if self.flags != 0 {
            push(ext_tag::FLAGS, encode_flags(self.flags));
        }
        if let Some(l) = self.link {
            push(ext_tag::LINK, l.to_vec());
        }
        if let Some(t) = self.atime {
            push(ext_tag::ATIME, encode_time(t));
        }
        Ok(ext)
    }

    /// What the extensions of a node say, and what is wrong with those that make no sense.
    /// `fetch` brings a long value; what it cannot bring is left out, and it has to tell why itself.
    pub fn from_ext(ext: &[Ext], mut fetch: impl FnMut(&BlobId, u32) -> Option<Vec<u8>>) -> (Self, Vec<ExtError>) {
        let (mut out, mut wrong) = (Self::default(), Vec::new());
        for e in ext {
            if let Err(error) = out.take(e, &mut fetch) {
                wrong.push(error);
            }
        }
        (out, wrong)
    }

    fn take(&mut self, e: &Ext, fetch: &mut impl FnMut(&BlobId, u32) -> Option<Vec<u8>>) -> Result<(), ExtError> {
        match e.tag {
            ext_tag::BTIME => self.btime = Some(decode_time(e.tag, &e.data)?),
            ext_tag::ATIME => self.atime = Some(decode_time(e.tag, &e.data)?),
            ext_tag::FLAGS => self.flags = decode_flags(&e.data)?,
            ext_tag::LINK => self.link = Some(decode_link(&e.data)?),
            ext_tag::XATTRS => {
                for Xattr { name, value } in decode_xattrs(&e.data)? {
                    let value = match value {
                        XattrValue::Inline(value) => Some(value),
                        XattrValue::Chunk { id, len } => fetch(&id, len).filter(|v| v.len() == len as usize),
                    };
                    self.xattrs.extend(value.map(|value| PlainXattr { name, value }));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The data of [`ext_tag::BTIME`] and [`ext_tag::ATIME`].
pub fn encode_time(time: Time) -> Vec<u8> {
    encode(&time)
}
/// The reverse of [`encode_time`].
pub fn decode_time(tag: u16, data: &[u8]) -> Result<Time, ExtError> {
    let time: Time = decode(tag, data)?;
    if time.nsec < 1_000_000_000 { Ok(time) } else { Err(ExtError { tag, what: "a second has fewer nanoseconds" }) }
}
/// The data of [`ext_tag::FLAGS`].
pub fn encode_flags(flags: u32) -> Vec<u8> {
    encode(&flags)
}
/// The reverse of [`encode_flags`]. Flags outside the mask pass: a newer writer may know more.
pub fn decode_flags(data: &[u8]) -> Result<u32, ExtError> {
    decode(ext_tag::FLAGS, data)
}
/// The reverse of taking the 16 bytes as they are.
pub fn decode_link(data: &[u8]) -> Result<[u8; 16], ExtError> {
    data.try_into().map_err(|_| ExtError { tag: ext_tag::LINK, what: "a link group has 16 bytes" })
}
/// The data of [`ext_tag::XATTRS`]; the list must be sorted by name.
pub fn encode_xattrs(xattrs: &[Xattr]) -> Vec<u8> {
    encode(xattrs)
}
/// The reverse of [`encode_xattrs`].
pub fn decode_xattrs(data: &[u8]) -> Result<Vec<Xattr>, ExtError> {
    let refuse = |what| Err(ExtError { tag: ext_tag::XATTRS, what });
    let all: Vec<Xattr> = decode(ext_tag::XATTRS, data)?;
    if all.is_empty() {
        return refuse("an empty list is not stored");
    }
    if !all.is_sorted_by(|a, b| a.name < b.name) {
        return refuse("names are not in order");
    }
    for x in &all {
        if x.name.is_empty() || x.name.len() > XATTR_NAME_MAX || x.name.contains(&0) {
            return refuse("not a name of an attribute");
        }
        let right = match x.value {
            XattrValue::Inline(ref v) => v.len() <= XATTR_INLINE_MAX,
            XattrValue::Chunk { len, .. } => (XATTR_INLINE_MAX + 1..=XATTR_MAX).contains(&(len as usize)),
        };
        if !right {
            return refuse("a value of that length is not kept there");
        }
    }
    Ok(all)
}

fn encode<T: bincode::Encode + ?Sized>(value: &T) -> Vec<u8> {
    // Writing plain values into memory has no way to fail; an empty extension would be refused.
    bincode::encode_to_vec(value, bincode::config::standard()).unwrap_or_default()
}

fn decode<T: bincode::Encode + bincode::Decode<()>>(tag: u16, data: &[u8]) -> Result<T, ExtError> {
    // The limit also bounds what a claimed length of a list may allocate beforehand.
    let config = bincode::config::standard().with_limit::<{ 1 << 20 }>();
    if data.len() > 2 * XATTRS_ENCODED_MAX {
        return Err(ExtError { tag, what: "too long" });
    }
    match bincode::decode_from_slice::<T, _>(data, config) {
        Ok((value, used)) if used == data.len() && encode(&value) == data => Ok(value),
        Ok(_) => Err(ExtError { tag, what: "not in canonical form" }),
        Err(_) => Err(ExtError { tag, what: "not decodable" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Extras {
        let x = |name: &str, value: Vec<u8>| PlainXattr { name: name.into(), value };
        Extras {
            btime: Some(Time { sec: -86_400, nsec: 999_999_999 }),
            atime: Some(Time { sec: 1 << 40, nsec: 1 }),
            flags: flag::NODUMP | flag::NOCOW,
            link: Some([7; 16]),
            xattrs: vec![x("user.a", vec![]), x("user.b", vec![1; 1024]), x("user.c", vec![2; 1025])],
        }
    }

    #[test]
    fn extras_survive_the_round_trip() {
        let mut kept = Vec::new();
        let ext = sample()
            .into_ext(|v| {
                kept.push(v.to_vec());
                Ok::<_, ()>(BlobId([9; 32]))
            })
            .unwrap();
        assert_eq!(kept, [vec![2; 1025]]);
        assert!(ext.is_sorted_by_key(|e| e.tag));
        let (back, wrong) = Extras::from_ext(&ext, |id, len| (id.0 == [9; 32] && len == 1025).then(|| vec![2; 1025]));
        assert_eq!((back, wrong), (sample(), vec![]));
        assert_eq!(Extras::default().into_ext(|_| Err(())), Ok(vec![]));
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        assert!(decode_time(1, &encode_time(Time { sec: 0, nsec: 1_000_000_000 })).is_err());
        assert!(decode_time(1, &[0, 0, 0]).is_err(), "trailing byte");
        assert!(decode_flags(&[251, 5, 0]).is_err(), "longer than needed");
        assert!(decode_flags(&[]).is_err());
        assert!(decode_link(&[0; 15]).is_err());
        let x = |name: &[u8], value| Xattr { name: name.to_vec(), value };
        let inline = |n| XattrValue::Inline(vec![0; n]);
        let chunk = |len| XattrValue::Chunk { id: BlobId::ZERO, len };
        for bad in [
            vec![],
            vec![x(b"b", inline(1)), x(b"a", inline(1))],
            vec![x(b"a", inline(1)), x(b"a", inline(1))],
            vec![x(b"", inline(1))],
            vec![x(b"a\0b", inline(1))],
            vec![x(&[b'n'; 256], inline(1))],
            vec![x(b"a", inline(1025))],
            vec![x(b"a", chunk(1024))],
            vec![x(b"a", chunk(65_537))],
        ] {
            assert!(decode_xattrs(&encode_xattrs(&bad)).is_err(), "{bad:?}");
        }
        // A list that claims 2^60 entries must not allocate for them.
        assert!(decode_xattrs(&[253, 0, 0, 0, 0, 0, 0, 0, 16]).is_err());
    }
}
