//! The clear parts of any object, field by field: what `debug dump` shows. Reads as far as the bytes
//! make sense and says where they stop to; opens nothing.

use std::fmt::Debug;

use super::codec::decode_first;
use super::gc::{GcKind, PackName};
use super::record::RecordType;
use crate::crypto::SIGNATURE_LEN;
use crate::id::{ClientId, RecordId, SegmentId, SessionId};
use crate::model::{Ext, Time};

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Where it begins in the file.
    pub offset: usize,
    /// How many bytes it has.
    pub len: usize,
    /// Its name in the specification.
    pub name: &'static str,
    /// What it says, where that is more than its bytes.
    pub value: Option<String>,
    /// What that means.
    pub meaning: String,
}

/// How the bytes of a field are read.
#[derive(Clone, Copy)]
enum As {
    Magic,
    Number,
    Bytes,
}

use As::{Bytes, Magic, Number};

/// Name, length, how to read it, what it is.
type Row = (&'static str, usize, As, &'static str);

/// Members of a list that are shown.
const SHOWN_MAX: usize = 4;

const ARMOUR: &[Row] = &[
    ("magic", 8, Magic, "armour around a small object; format-spec/30-record.md"),
    ("length", 4, Number, "bytes of the content"),
    ("shard length", 4, Number, "bytes of each of the 32 shards"),
    ("content hash", 32, Bytes, "BLAKE3 of the content"),
    ("shard sums", 256, Bytes, "8 bytes of BLAKE3 for each shard"),
];

const RECORD: &[Row] = &[
    ("magic", 8, Magic, "envelope of a record; format-spec/30-record.md"),
    ("version", 2, Number, "of the envelope"),
    ("type", 2, Number, ""),
    ("epoch", 4, Number, "of the secret it is sealed under"),
    ("clear length", 4, Number, "bytes that anybody may read"),
    ("sealed length", 4, Number, "bytes that are sealed, tag included"),
    ("reserved", 8, Bytes, "zero"),
    ("salt", 32, Bytes, "fresh for every record"),
    ("commitment", 32, Bytes, "tells at once whether a key fits"),
];

const SLOT: &[Row] = &[
    ("magic", 8, Magic, "key slot; format-spec/20-keys.md"),
    ("version", 2, Number, "of the slot"),
    ("kdf", 1, Number, "0 a raw key, 1 Argon2id, 2 nothing"),
    ("role", 1, Number, "1 owner, 2 client, 3 put, 4 restore, 5 maintain"),
    ("memory", 4, Number, "Argon2id memory in KiB"),
    ("passes", 4, Number, "Argon2id passes"),
    ("lanes", 4, Number, "Argon2id lanes"),
    ("slot", 16, Bytes, "id of the slot, as in its name"),
    ("domain", 16, Bytes, "what mirrors share"),
    ("instance", 16, Bytes, "this repository"),
    ("salt", 32, Bytes, "of the password"),
    ("commitment", 32, Bytes, "tells at once whether a password fits"),
    ("sealed length", 4, Number, "bytes that are sealed, tag included"),
    ("escrow length", 4, Number, "bytes of the record behind that, which only an owner opens"),
];

const PACK: &[Row] = &[
    ("magic", 8, Magic, "pack; format-spec/40-pack.md"),
    ("header length", 2, Number, "256"),
    ("suite", 1, Number, "1 AES-256-GCM, 2 ChaCha20-Poly1305"),
    ("wrap", 1, Number, "0: the key comes from the epoch's secret"),
    ("epoch", 4, Number, "of the secret"),
    ("session", 16, Bytes, "that wrote it"),
    ("salt", 32, Bytes, "fresh for every pack"),
    ("commitment", 32, Bytes, "tells at once whether a key fits"),
    ("reserved", 160, Bytes, "zero"),
];

const PACK_END: &[Row] = &[
    ("magic", 8, Magic, "end of a pack"),
    ("table offset", 8, Number, "where the sealed table begins"),
    ("table length", 4, Number, "bytes of the sealed table"),
    ("reserved", 44, Bytes, "zero"),
];

const SEGMENT: &[Row] = &[
    ("magic", 8, Magic, "index segment; format-spec/50-index.md"),
    ("version", 2, Number, "of the segment"),
    ("reserved", 2, Bytes, "zero"),
    ("epoch", 4, Number, "of the index secret"),
    ("head length", 4, Number, "bytes of the sealed head"),
    ("reserved", 4, Bytes, "zero"),
    ("rows", 8, Number, "blobs that it lists"),
    ("salt", 32, Bytes, "fresh for every segment"),
    ("commitment", 32, Bytes, "tells at once whether a key fits"),
];

const RECORD_TYPES: [&str; 20] = [
    "unknown",
    "config",
    "client",
    "snapshot statement",
    "snapshot body",
    "snapshot commit",
    "session",
    "heartbeat",
    "session close",
    "gc",
    "tombstone",
    "suspect",
    "annotation",
    "catalogue",
    "head of an index segment",
    "hollow mark",
    "gc state",
    "keyring",
    "escrow of a key slot",
    "receive times",
];

/// Take bytes apart. `len`: of the whole file, of which `bytes` may be only the beginning; `end`: its
/// last bytes.
pub fn dissect(bytes: &[u8], len: usize, end: &[u8]) -> Vec<Field> {
    let mut d = Dissector { bytes, base: 0, fields: Vec::new() };
    match bytes.get(..8) {
        Some(b"ORLPARM1") => d.armour(len),
        Some(b"ORLPACK1") => d.pack(len, end),
        Some(b"ORLPSEG1") => d.segment(len),
        _ => d.content(0, len),
    }
    d.fields
}

struct Dissector<'b> {
    bytes: &'b [u8],
    /// Where `bytes` begin in the file.
    base: usize,
    fields: Vec<Field>,
}

impl Dissector<'_> {
    fn number(&self, at: usize, len: usize) -> Option<u64> {
        let bytes = self.bytes.get(at.checked_sub(self.base)?..)?.get(..len)?;
        Some(bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    fn magic(&self, at: usize) -> Option<&[u8; 8]> {
        self.bytes.get(at.checked_sub(self.base)?..)?.first_chunk()
    }

    fn push(&mut self, offset: usize, len: usize, name: &'static str, meaning: impl Into<String>) {
        let (value, meaning) = (None, meaning.into());
        self.fields.push(Field { offset, len, name, value, meaning });
    }

    /// Fields one after another; gives where they end, or nothing if the bytes do first.
    fn rows(&mut self, rows: &[Row], mut at: usize) -> Option<usize> {
        for (name, len, how, meaning) in rows {
            let Some(bytes) = at.checked_sub(self.base).and_then(|from| self.bytes.get(from..)?.get(..*len)) else {
                self.push(at, 0, name, "the file ends before this field does");
                return None;
            };
            let value = match how {
                Magic => Some(String::from_utf8_lossy(bytes).into_owned()),
                Number => self.number(at, *len).map(|n| n.to_string()),
                Bytes if *len <= 32 => Some(crate::id::hex(bytes)),
                Bytes if bytes.iter().all(|b| *b == 0) => Some("zeros".to_owned()),
                Bytes => None,
            };
            self.fields.push(Field { offset: at, len: *len, name, value, meaning: (*meaning).to_owned() });
            at += len;
        }
        Some(at)
    }

    fn armour(&mut self, len: usize) {
        if self.rows(ARMOUR, 0).is_none() {
            return;
        }
        let (content, shard) = (self.number(8, 4).unwrap_or(0) as usize, self.number(12, 4).unwrap_or(0) as usize);
        let parity = 304usize.saturating_add(shard.saturating_mul(16));
        let again = 304usize.saturating_add(shard.saturating_mul(32));
        self.content(304, content);
        let padding = parity.saturating_sub(304usize.saturating_add(content));
        self.push(304usize.saturating_add(content), padding, "padding", "zeros up to 16 whole shards");
        self.push(parity, shard.saturating_mul(16), "parity", "16 shards: any 16 of all 32 bring the content back");
        self.push(again, 304, "header again", "in case the beginning is lost");
        if again.saturating_add(304) != len {
            self.push(len, 0, "length", format!("the file has {len} bytes, and the header says otherwise"));
        }
    }

    /// What stands in armour: one record, or several behind one another, or a slot.
    fn content(&mut self, from: usize, len: usize) {
        let (mut at, end) = (from, from.saturating_add(len));
        while at < end {
            at = match self.magic(at) {
                Some(b"ORLPREC1") => match self.record(at) {
                    Some(next) if next > at => next,
                    _ => return,
                },
                Some(b"ORLPSLOT") => match self.slot(at) {
                    Some(next) if next > at => next,
                    _ => return,
                },
                _ if self.magic(at.saturating_add(4)) == Some(b"ORLPREC1") => {
                    self.push(at, 4, "statement length", "bytes of the record behind it; the commit comes after");
                    at + 4
                }
                _ => return self.push(at, end - at, "more", "nothing that begins with a known magic"),
            };
        }
    }

    fn record(&mut self, at: usize) -> Option<usize> {
        let first = self.fields.len();
        let head = self.rows(RECORD, at)?;
        let kind = self.number(at + 10, 2)? as usize;
        if let Some(field) = self.fields.get_mut(first + 2) {
            field.meaning = (*RECORD_TYPES.get(kind).unwrap_or(&RECORD_TYPES[0])).to_owned();
        }
        let (clear, sealed) = (self.number(at + 16, 4)? as usize, self.number(at + 20, 4)? as usize);
        if clear > 0 && self.clear_part(kind, head, clear).is_none() {
            let told: usize = self.fields.iter().filter(|f| f.offset >= head).map(|f| f.len).sum();
            self.push(head + told, clear.saturating_sub(told), "clear part", "what anybody may read");
        }
        self.push(head + clear, sealed, "sealed part", "payload, signature and tag; opens with the repository's key");
        Some(head + clear + sealed)
    }

    /// What anybody may read of a gc record or a tombstone. Nothing if the bytes make no sense; what was
    /// understood until then is told.
    fn clear_part(&mut self, kind: usize, mut at: usize, len: usize) -> Option<()> {
        let end = at.checked_add(len)?.checked_sub(SIGNATURE_LEN)?;
        let at = &mut at;
        if kind == RecordType::Gc as usize {
            self.part::<u64>(at, end, "generation", "place in the log, from 1")?;
            self.part::<RecordId>(at, end, "prev", "the record before it")?;
            self.part::<GcKind>(at, end, "kind", "which step")?;
            self.part::<Time>(at, end, "storage time", "the storage's clock")?;
            self.part::<u64>(at, end, "finishes", "of a finish: the plan")?;
            self.list::<PackName>(at, end, "condemned", "of a plan: packs that nobody may use from now on")?;
            self.list::<SegmentId>(at, end, "new index", "of a plan: segments in the place of others")?;
            self.list::<SegmentId>(at, end, "superseded", "of a plan: those others")?;
            self.list::<SessionId>(at, end, "live sessions", "of a plan: neither closed nor fenced")?;
            self.list::<PackName>(at, end, "resurrected", "of a finish: condemned, and needed after all")?;
            self.list::<PackName>(at, end, "doomed packs", "of a finish: packs that are deleted")?;
            self.list::<SegmentId>(at, end, "doomed index", "of a finish: segments that are deleted")?;
            self.list::<String>(at, end, "doomed names", "other objects that are deleted")?;
        } else if kind == RecordType::Tombstone as usize {
            self.part::<ClientId>(at, end, "client", "whose chain")?;
            self.part::<u64>(at, end, "seq", "which place in it")?;
            self.part::<Time>(at, end, "not before", "the snapshot stays whole until then")?;
            self.part::<[u8; 16]>(at, end, "nonce", "its first 4 bytes are in the name")?;
        } else {
            return None;
        }
        self.list::<Ext>(at, end, "extensions", "what later versions add")?;
        if *at != end {
            return None;
        }
        self.push(end, SIGNATURE_LEN, "signature", "of the clear part, by the author");
        Some(())
    }

    fn part<T: bincode::Decode<()> + Debug>(
        &mut self,
        at: &mut usize,
        end: usize,
        name: &'static str,
        meaning: &str,
    ) -> Option<()> {
        self.decoded::<T>(at, end, name, meaning, &|value| format!("{value:?}"))
    }

    fn list<T: bincode::Decode<()> + Debug>(
        &mut self,
        at: &mut usize,
        end: usize,
        name: &'static str,
        meaning: &str,
    ) -> Option<()> {
        self.decoded::<Vec<T>>(at, end, name, meaning, &|all| match all.len() {
            0 => "none".to_owned(),
            n if n <= SHOWN_MAX => format!("{all:?}"),
            n => format!("{n} of them, the first {:?}", &all[..SHOWN_MAX]),
        })
    }

    fn decoded<T: bincode::Decode<()>>(
        &mut self,
        at: &mut usize,
        end: usize,
        name: &'static str,
        meaning: &str,
        show: &dyn Fn(&T) -> String,
    ) -> Option<()> {
        let bytes = self.bytes.get(at.checked_sub(self.base)?..end.checked_sub(self.base)?)?;
        let (value, len) = decode_first::<T>(bytes)?;
        let (value, meaning) = (Some(show(&value)), meaning.to_owned());
        self.fields.push(Field { offset: *at, len, name, value, meaning });
        *at += len;
        Some(())
    }

    fn slot(&mut self, at: usize) -> Option<usize> {
        let head = self.rows(SLOT, at)?;
        let (sealed, escrow) = (self.number(head - 8, 4)? as usize, self.number(head - 4, 4)?);
        self.push(head, sealed, "sealed part", "what the slot unlocks; opens with the password");
        let behind = head.saturating_add(sealed);
        if escrow == 0 { Some(behind) } else { self.record(behind) }
    }

    fn pack(&mut self, len: usize, end: &[u8]) {
        if self.rows(PACK, 0).is_none() {
            return;
        }
        let footer_at = len.saturating_sub(64);
        let mut footer = Dissector { bytes: end, base: len.saturating_sub(end.len()), fields: Vec::new() };
        if footer.rows(PACK_END, footer_at).is_none() {
            return self.fields.append(&mut footer.fields);
        }
        let table = footer.number(footer_at + 8, 8).unwrap_or(0) as usize;
        let table_len = footer.number(footer_at + 16, 4).unwrap_or(0) as usize;
        self.push(256, table.saturating_sub(256), "frames", "sealed one by one, back to back");
        self.push(table, table_len, "table", "sealed: which frames and blobs there are");
        self.fields.append(&mut footer.fields);
    }

    fn segment(&mut self, len: usize) {
        let Some(head) = self.rows(SEGMENT, 0) else { return };
        let (head_len, rows) = (self.number(16, 4).unwrap_or(0) as usize, self.number(24, 8).unwrap_or(0));
        let pages = rows.div_ceil(2520) as usize;
        let rows_len = (rows as usize).saturating_mul(26).saturating_add(pages.saturating_mul(16));
        let rows_at = head.saturating_add(head_len);
        let fence = rows_at.saturating_add(rows_len);
        self.push(head, head_len, "head", "sealed: which packs and frames");
        self.push(rows_at, rows_len, "rows", format!("{pages} pages, each sealed for itself"));
        self.push(fence, len.saturating_sub(fence), "fence", "sealed: the first id of each page of rows");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::armour;

    /// Fields follow each other without gaps and end where the file does.
    #[test]
    fn nothing_is_left_out_and_nothing_panics() {
        let wrapped = armour::wrap(&[0u8; 100]);
        let fields = dissect(&wrapped, wrapped.len(), &wrapped);
        let mut at = 0;
        for f in &fields {
            assert_eq!(f.offset, at, "{f:?}");
            at += f.len;
        }
        assert_eq!(at, wrapped.len());
        for magic in ["ORLPARM1", "ORLPACK1", "ORLPSEG1", "ORLPREC1", "ORLPSLOT", "nonsense"] {
            for len in 0..400 {
                let mut bytes = magic.as_bytes().to_vec();
                bytes.resize(len, 0xff);
                dissect(&bytes, len, &bytes);
            }
        }
    }
}
