//! One function for every parser: any bytes go in, nothing may happen but an answer.
//!
//! Shared by the fuzzer (`fuzz/fuzz_targets`) and by `tests/format/survive.rs`, which runs the
//! same functions over mutated vectors, so that they are exercised where there is no fuzzer.

pub mod sealed;
pub mod text;

use std::cell::RefCell;

use orlop::compress::Zstd;
use orlop::crypto::{Argon2Params, Secret};
use orlop::format::gc::Clear as _;
use orlop::format::gc::{Found, open};
use orlop::format::keys::{Credential, Keyring, Slot, SlotHeader};
use orlop::format::pack::{Codec, Footer, Header, Table, blob_ranges};
use orlop::format::page::Page;
use orlop::format::record::{self, Place, RecordType};
use orlop::format::{anatomy, armour, codec, gc, names, parity, records, segment, snapshot};
use orlop::id::{DomainId, InstanceId};
use orlop::model::ext::{Extras, XATTR_MAX};
use orlop::model::{Body, Commit, Ext, Statement, ext_tag};
use orlop::storage::testing;

const DOMAIN: DomainId = DomainId([0xd0; 16]);
const INSTANCE: InstanceId = InstanceId([0x1c; 16]);

fn secret() -> Secret {
    Secret::new([0x11; 32])
}

/// A parser under a name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them, by the name of the fuzz target.
pub const TARGETS: &[Target] = &[
    ("armour", armour_),
    ("record", record_),
    ("payload", payload),
    ("slot", slot),
    ("keyring", keyring),
    ("pack", pack),
    ("frame", frame),
    ("segment", segment_),
    ("page", page),
    ("snapshot", snapshot_),
    ("gc", gc_),
    ("parity", parity_),
    ("name", name),
    ("anatomy", anatomy_),
    ("wire", wire),
    ("patterns", text::patterns),
    ("words", text::words),
    ("settings", text::settings),
];

/// What unwraps must wrap again, and come out the same.
pub fn armour_(data: &[u8]) {
    if let Ok(u) = armour::unwrap(data) {
        assert_eq!(armour::unwrap(&armour::wrap(&u.content)).expect("just wrapped").content, u.content);
    }
}

/// The envelope, as every kind of record.
pub fn record_(data: &[u8]) {
    let kinds = [RecordType::Config, RecordType::Client, RecordType::SessionOpen, RecordType::Close, RecordType::Gc];
    for kind in kinds {
        if let Ok(envelope) = record::parse(kind, data) {
            let place = Place { domain: DOMAIN, instance: INSTANCE, name: "config/00000001" };
            let _ = envelope.open(&secret(), &place);
        }
    }
}

fn again<T: bincode::Encode + bincode::Decode<()>>(data: &[u8]) -> Option<T> {
    let value: T = codec::decode("fuzz", data).ok()?;
    assert_eq!(codec::encode(&value), data, "one value, one encoding");
    Some(value)
}

/// What stands inside the envelopes, without having to forge a seal.
pub fn payload(data: &[u8]) {
    again::<records::Config>(data);
    again::<records::Client>(data);
    again::<records::SessionOpen>(data);
    again::<records::Heartbeat>(data);
    again::<records::Close>(data);
    again::<Statement>(data);
    again::<Commit>(data);
    again::<Body>(data);
    again::<Keyring>(data);
    again::<segment::Head>(data);
    again::<gc::Gc>(data);
    again::<gc::GcClear>(data);
    again::<gc::Tombstone>(data);
    again::<gc::TombstoneClear>(data);
    again::<gc::Suspect>(data);
    again::<gc::Annotation>(data);
    again::<gc::Hollow>(data);
    again::<gc::Catalogue>(data);
    again::<gc::State>(data);
    again::<gc::Times>(data);
}

/// A slot, opened without a password (no key stretching: that would be all the fuzzer does).
pub fn slot(data: &[u8]) {
    if let Ok(slot) = Slot::parse(data) {
        let _ = slot.open(&Credential::Nothing);
        let _ = slot.open(&Credential::Raw(sealed::raw()));
        let _ = slot.open_escrow(&sealed::escrow());
    }
}

/// A keyring under a slot's seed.
pub fn keyring(data: &[u8]) {
    let header = SlotHeader {
        kdf: orlop::format::keys::Kdf::Argon2id(Argon2Params::DEFAULT),
        role: orlop::format::keys::Role::Owner,
        id: orlop::id::SlotId([0x51; 16]),
        domain: DOMAIN,
        instance: INSTANCE,
        salt: [0; 32],
    };
    let _ = Keyring::open(data, &header, 3, &sealed::seed());
}

/// Header, footer and table, as a reader takes a pack apart; and the table's plaintext, resealed.
pub fn pack(data: &[u8]) {
    let _ = Footer::parse(data, data.len() as u64);
    let Ok(header) = Header::parse(data) else {
        // Sealed with the right key, any table bytes get past the tag and into the parser.
        let (header, _) = Header::create(
            orlop::crypto::Suite::ChaCha20Poly1305,
            1,
            orlop::id::SessionId([1; 16]),
            [2; 32],
            DOMAIN,
            &secret(),
        );
        let key = orlop::crypto::expand(&secret(), &[b"orlop v1 table", &header.encode()[..96]]);
        let aead = orlop::crypto::Aead::new(orlop::crypto::Suite::ChaCha20Poly1305, &Secret::new(key));
        let mut sealed = data.to_vec();
        aead.seal(1, 0, b"orlop v1 table", &mut sealed, 0);
        let footer = Footer { table_offset: 256, table_len: sealed.len() as u32 };
        let _ = Table::open(&header, &secret(), &footer, &mut sealed);
        return;
    };
    let _ = header.key(DOMAIN, &secret());
    let Some(tail) = data.len().checked_sub(64).and_then(|at| data.get(at..)) else { return };
    let Ok(footer) = Footer::parse(tail, data.len() as u64) else { return };
    let at = footer.table_offset as usize;
    let Some(sealed) = data.get(at..at + footer.table_len as usize) else { return };
    let _ = Table::open(&header, &secret(), &footer, &mut sealed.to_vec());
}

/// The lengths at the beginning of a frame; the first two bytes say how many. And what zstd made, damaged
/// where the first bytes say.
pub fn frame(data: &[u8]) {
    compressed(data);
    let Some((count, plain)) = data.split_first_chunk::<2>() else { return };
    if let Ok(ranges) = blob_ranges(plain, u16::from_le_bytes(*count)) {
        let total: usize = ranges.iter().map(|r| plain[r.clone()].len()).sum();
        assert_eq!(total + ranges.len() * 4, plain.len());
    }
}

fn compressed(data: &[u8]) {
    thread_local!(static ZSTD: RefCell<Zstd> = RefCell::default());
    let Some(([claim, at, value], plain)) = data.split_first_chunk() else { return };
    let (mut packed, mut out) = (Vec::new(), Vec::new());
    ZSTD.with_borrow_mut(|zstd| {
        let codec = zstd.compress(plain, Some(3), &mut packed).expect("anything can be compressed");
        zstd.decompress(codec, &packed, plain.len(), &mut out).expect("just compressed");
        assert_eq!(out, plain);
        for codec in [codec, Codec::Zstd] {
            let claim = plain.len() + usize::from(*claim);
            if let Some(byte) = packed.get_mut(usize::from(*at)) {
                *byte ^= value;
            }
            if zstd.decompress(codec, &packed, claim, &mut out).is_ok() {
                assert_eq!(out.len(), claim);
            }
        }
    });
}

/// A whole segment.
pub fn segment_(data: &[u8]) {
    if let Ok(opened) = segment::parse(data).and_then(|s| s.open(&secret(), DOMAIN, INSTANCE)) {
        assert!(opened.segment.rows.is_sorted());
    }
}

/// A page: what is accepted has one encoding. And the data of each extension that its nodes may have.
pub fn page(data: &[u8]) {
    for tag in [ext_tag::BTIME, ext_tag::XATTRS, ext_tag::FLAGS, ext_tag::LINK, ext_tag::ATIME] {
        extras(&[Ext { tag, flags: 0, data: data.to_vec() }]);
    }
    if let Ok(page) = Page::decode(data) {
        assert_eq!(page.encode(), data);
        if let Page::Dir(nodes) = page {
            nodes.iter().for_each(|node| extras(&node.ext));
        }
    }
}

fn extras(ext: &[Ext]) {
    let mut ids = Vec::new();
    let (extras, wrong) = Extras::from_ext(ext, |id, len| {
        assert!(len as usize <= XATTR_MAX, "nobody fetches more");
        ids.push(*id);
        Some(vec![0; len as usize])
    });
    // Only one is looked at closely: of several, some may be unknown.
    if let [only] = ext
        && wrong.is_empty()
        && extras != Extras::default()
    {
        let mut ids = ids.into_iter();
        let again = extras.into_ext(|_| ids.next().ok_or(())).expect("as many as were fetched");
        assert_eq!(again.first().map(|e| (e.tag, &e.data)), Some((only.tag, &only.data)));
    }
}

/// A snapshot object, and an original statement, which has no seal around it.
pub fn snapshot_(data: &[u8]) {
    let name = "snapshots/c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1/0000000000000007";
    let at = snapshot::Found { domain: DOMAIN, instance: INSTANCE, name };
    let _ = snapshot::statement_in(data);
    if let Ok(original) = snapshot::open_origin(data) {
        let _ = original.verify(&sealed::admin().public());
    }
    if let Ok(s) = snapshot::open_object(data, at, &|_| Some(secret())) {
        let _ = snapshot::open_body(&s.statement, &|_| Some(sealed::record()));
        let _ = s.verify(&sealed::admin().public(), &sealed::admin().public());
        assert_eq!(snapshot::open_origin(&s.origin()).expect("it was opened").id, s.id);
    }
}

/// Records of garbage collection: clear parts need no key, and where there are none payloads need no seal.
pub fn gc_(data: &[u8]) {
    fn whole<P: gc::Payload>(data: &[u8]) {
        let _ = P::Clear::open(P::KIND, data);
        // The clear part says under which name the rest opens.
        let Some(name) = record::parse(P::KIND, data).ok().and_then(|e| sealed::gc_name(P::KIND, e.clear)) else {
            return;
        };
        let at = Found { domain: DOMAIN, instance: INSTANCE, name: &name };
        if let Ok(opened) = open::<P>(data, at, &|_| Some(secret())) {
            let _ = opened.verify(&sealed::admin().public());
            assert_eq!(opened.payload.object(&opened.clear, opened.id), name);
        }
    }
    whole::<gc::Gc>(data);
    whole::<gc::Tombstone>(data);
    fn check<P: gc::Payload<Clear = ()>>(data: &[u8]) {
        if let Some(p) = again::<P>(data) {
            let _ = p.check(&());
            let _ = p.place(&());
        }
    }
    check::<gc::Suspect>(data);
    check::<gc::Annotation>(data);
    check::<gc::Hollow>(data);
    check::<gc::Catalogue>(data);
    check::<gc::State>(data);
    check::<gc::Times>(data);
}

/// A sidecar, against no pack at all and against itself.
pub fn parity_(data: &[u8]) {
    let _ = parity::describe(data);
    let _ = parity::repair(&[], data);
    let _ = parity::repair(data, data);
}

/// Names that are accepted are the ones that would be made.
pub fn name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = orlop::storage::Name::new(text);
    if let Some((client, seq)) = names::parse_snapshot(text) {
        assert_eq!(names::snapshot(client, seq), text);
    }
    if let Some((id, session)) = names::parse_pack(text) {
        assert_eq!(names::pack(id, session), text);
    }
    if let Some(n) = names::parse_gc(text) {
        assert_eq!(names::gc(n), text);
    }
    if let Some((client, seq, nonce)) = names::parse_tombstone(text) {
        assert_eq!(names::tombstone(client, seq, nonce), text);
    }
    if let Some((author, n, nonce)) = names::parse_note(text) {
        assert_eq!(names::note(author, n, nonce), text);
    }
    if let Some((client, seq, n)) = names::parse_hollow(text) {
        assert_eq!(names::hollow(client, seq, n), text);
    }
    if let Some((author, n, nonce)) = names::parse_times(text) {
        assert_eq!(names::times(author, n, nonce), text);
    }
    if let Some(id) = names::parse_segment(text) {
        assert_eq!(names::segment(id), text);
    }
    if let Some(id) = names::parse_session(text) {
        assert!(text.starts_with(names::session_close(id).trim_end_matches("close")), "{text}");
    }
    if let Some((id, nonce)) = names::parse_parity(text) {
        assert_eq!(names::parity(id, nonce), text);
    }
    if let Some((slot, n)) = names::parse_keyring(text) {
        assert_eq!(names::keyring(slot, n), text);
    }
}

/// Any object field by field, for people: as a whole, and as the beginning and the end of a longer one.
pub fn anatomy_(data: &[u8]) {
    let half = &data[..data.len() / 2];
    for (len, fields) in [
        (data.len(), anatomy::dissect(data, data.len(), data)),
        (data.len(), anatomy::dissect(half, data.len(), &data[data.len() - data.len().min(64)..])),
    ] {
        // Lengths in damaged bytes are told as they are; what was read is in the file.
        assert!(fields.iter().filter(|f| f.value.is_some()).all(|f| f.offset + f.len <= len));
        assert!(fields.len() <= len + 64);
    }
}

/// What others say beside objects: an SFTP server, a file of the cache, what is remembered of a place.
pub fn wire(data: &[u8]) {
    testing::cached(data);
    testing::sftp_answer(data);
    // The same behind a length that fits.
    let framed = [&(data.len() as u32).to_be_bytes(), data].concat();
    testing::sftp_answer(&framed);
    let _ = orlop::repo::Remembered::is_readable(data);
    let _ = orlop::repo::findings_in(data, "/srv/repo");
}
