//! Runs one vector: what object it is decides which decoder must accept or refuse it.

use orlop::crypto::{Argon2Params, BlobKeys, PublicKey, Secret, derive_client_seed, stretch};
use orlop::format::keys::{Credential, Keyring, Role, Slot, SlotHeader};
use orlop::format::pack::{self, Codec, Footer, FrameEntry, Header, Kind, Table};
use orlop::format::page::{Builder, Page};
use orlop::format::record::{self, Place, RecordType};
use orlop::format::{FormatError, armour, codec, gc, names, parity, records, segment, snapshot};
use orlop::id::{BlobId, ClientId, DomainId, InstanceId, RecordId, SlotId, hex};
use orlop::model::{Body, Content, Ext, Node, NodeKind, Scope, Statement, Time, Trigger};

use crate::vector::Vector;

/// Objects that are not stored, only computed.
pub const KNOWN_ANSWERS: &[&str] = &["derive", "cuts", "tree", "words"];

/// What the `expect` line calls a refusal.
pub fn kind(e: &FormatError) -> &'static str {
    match e {
        FormatError::Truncated { .. } => "truncated",
        FormatError::Magic { .. } => "magic",
        FormatError::Version { .. } => "version",
        FormatError::Limit { .. } => "limit",
        FormatError::Invalid { .. } => "invalid",
        FormatError::Extension { .. } | FormatError::ReadOnly { .. } => "extension",
        FormatError::Crypto { .. } => "crypto",
    }
}

fn invalid<T>(what: &'static str) -> Result<T, FormatError> {
    Err(FormatError::Invalid { what, why: "" })
}

type Gives = Result<Option<String>, FormatError>;

/// What it gives, or why it is refused.
pub fn run(v: &Vector) -> Gives {
    let b = v.body.as_slice();
    match v.get("object") {
        "integer" => integer(v),
        "name" => name(v),
        "armour" => armour::unwrap(b).map(|u| Some(format!("{} mended={}", hex(&u.content), u.mended))),
        "config" => plain::<records::Config>(v, RecordType::Config, |c| &c.ext),
        "client" => plain::<records::Client>(v, RecordType::Client, |c| &c.ext),
        "session-open" => plain::<records::SessionOpen>(v, RecordType::SessionOpen, |c| &c.ext),
        "heartbeat" => plain::<records::Heartbeat>(v, RecordType::Heartbeat, |c| &c.ext),
        "close" => plain::<records::Close>(v, RecordType::Close, |c| &c.ext),
        "gc" => record_of::<gc::Gc>(v),
        "tombstone" => record_of::<gc::Tombstone>(v),
        "suspect" => record_of::<gc::Suspect>(v),
        "annotation" => record_of::<gc::Annotation>(v),
        "hollow" => record_of::<gc::Hollow>(v),
        "catalogue" => record_of::<gc::Catalogue>(v),
        "state" => record_of::<gc::State>(v),
        "times" => record_of::<gc::Times>(v),
        "slot" => slot(v),
        "keyring" => keyring(v),
        "pack-header" => pack_header(v),
        "pack-footer" => Footer::parse(b, v.number("pack-length"))
            .map(|f| Some(format!("table_offset={} table_len={}", f.table_offset, f.table_len))),
        "pack-table" => pack_table(v),
        "frame" => frame(v),
        "blob-lengths" => pack::blob_ranges(b, v.number("blobs") as u16).map(|r| Some(format!("{r:?}"))),
        "segment" => segment_(v),
        "page" => Page::decode(b).map(|p| Some(format!("level={} entries={}", p.level(), p.len()))),
        "snapshot" => snapshot_(v),
        "origin" => {
            let original = snapshot::open_origin(b)?;
            original.verify(&PublicKey(v.bytes("key")))?;
            Ok(Some(format!("id={} seq={}", original.id, original.statement.seq)))
        }
        "parity" => parity_(v),
        "derive" => Ok(Some(derive(v))),
        "cuts" => Ok(Some(cuts(v))),
        "tree" => Ok(Some(tree(v))),
        "words" => {
            let words = bip39::Mnemonic::from_entropy(b).unwrap();
            Ok(Some(words.to_string()))
        }
        other => panic!("{}: unknown object {other}", v.path),
    }
}

fn domain(v: &Vector) -> DomainId {
    DomainId(v.bytes("domain"))
}
fn instance(v: &Vector) -> InstanceId {
    InstanceId(v.bytes("instance"))
}
fn secret(v: &Vector, key: &str) -> Secret {
    Secret::new(v.bytes(key))
}

fn integer(v: &Vector) -> Gives {
    fn as_<T: bincode::Encode + bincode::Decode<()> + ToString>(b: &[u8]) -> Gives {
        codec::decode::<T>("integer", b).map(|n| Some(n.to_string()))
    }
    match v.get("type") {
        "u16" => as_::<u16>(&v.body),
        "u32" => as_::<u32>(&v.body),
        "u64" => as_::<u64>(&v.body),
        "i32" => as_::<i32>(&v.body),
        "i64" => as_::<i64>(&v.body),
        other => panic!("{}: {other}", v.path),
    }
}

fn name(v: &Vector) -> Gives {
    let text = std::str::from_utf8(&v.body).or_else(|_| invalid("name"))?;
    let ok = orlop::storage::Name::new(text).is_ok()
        && match v.get("form") {
            "any" => true,
            "snapshot" => names::parse_snapshot(text).is_some(),
            "pack" => names::parse_pack(text).is_some(),
            "gc" => names::parse_gc(text).is_some(),
            "tombstone" => names::parse_tombstone(text).is_some(),
            other => panic!("{}: {other}", v.path),
        };
    if ok { Ok(None) } else { invalid("name") }
}

fn plain<P: bincode::Encode + bincode::Decode<()>>(
    v: &Vector,
    kind: RecordType,
    ext: fn(&P) -> &[orlop::model::Ext],
) -> Gives {
    let place = Place { domain: domain(v), instance: instance(v), name: v.get("name") };
    let opened = record::parse(kind, &v.body)?.open(&secret(v, "secret"), &place)?;
    let payload: P = codec::decode(kind.what(), &opened.payload)?;
    codec::check_ext(kind.what(), ext(&payload), &[])?;
    opened.verify(&PublicKey(v.bytes("key")))?;
    Ok(Some(format!("{} id={}", hex(&opened.payload), opened.id)))
}

fn record_of<P: gc::Payload>(v: &Vector) -> Gives {
    let at = gc::Found { domain: domain(v), instance: instance(v), name: v.get("name") };
    let r: gc::Record<P> = gc::open(&v.body, at, &|_| Some(secret(v, "secret")))?;
    r.verify(&PublicKey(v.bytes("key")))?;
    Ok(Some(format!("{} id={}", hex(&codec::encode(&r.payload)), r.id)))
}

fn slot(v: &Vector) -> Gives {
    let slot = Slot::parse(&v.body)?;
    if let Some(escrow) = v.find("escrow") {
        let s = slot.open_escrow(&Secret::new(orlop::id::unhex(escrow).unwrap()))?;
        return Ok(Some(hex(s.seed.expose())));
    }
    let credential = match (v.find("password"), v.find("raw")) {
        (Some(p), _) => Credential::Password(p.as_bytes().to_vec().into()),
        (_, Some(r)) => Credential::Raw(Secret::new(orlop::id::unhex(r).unwrap())),
        _ => Credential::Nothing,
    };
    match slot.open(&credential)? {
        Some(s) => Ok(Some(hex(s.seed.expose()))),
        None => Err(FormatError::Crypto { what: "slot", why: orlop::crypto::CryptoError::Open }),
    }
}

fn keyring(v: &Vector) -> Gives {
    let header = SlotHeader {
        kdf: orlop::format::keys::Kdf::Raw,
        role: Role::from_u8(v.number("role") as u8).unwrap(),
        id: SlotId(v.bytes("slot")),
        domain: domain(v),
        instance: instance(v),
        salt: [0; 32],
    };
    let ring = Keyring::open(&v.body, &header, v.number("n") as u32, &secret(v, "secret"))?;
    Ok(Some(hex(&codec::encode(&ring))))
}

fn pack_header(v: &Vector) -> Gives {
    let h = Header::parse(&v.body)?;
    h.key(domain(v), &secret(v, "secret"))?;
    Ok(Some(format!("suite={} epoch={} session={}", h.suite, h.epoch, h.session)))
}

/// Header, sealed table, footer: what is left of a pack without its frames.
fn pack_table(v: &Vector) -> Gives {
    let header = Header::parse(&v.body)?;
    let footer_at = v.body.len() - pack::FOOTER_LEN;
    let footer = Footer { table_offset: v.number("table-offset"), table_len: v.number("table-length") as u32 };
    let mut sealed = v.body[pack::HEADER_LEN..footer_at].to_vec();
    let t = Table::open(&header, &secret(v, "secret"), &footer, &mut sealed)?;
    let ids: Vec<String> = t.ids.iter().map(BlobId::hex).collect();
    Ok(Some(format!("kind={:?} frames={} ids={}", t.kind, t.frames.len(), ids.join(","))))
}

/// A whole pack of one frame: open the table, the frame, and name its blobs.
fn frame(v: &Vector) -> Gives {
    let b = &v.body;
    let header = Header::parse(b)?;
    let key = header.key(domain(v), &secret(v, "secret"))?;
    let codec = if v.get("codec") == "zstd" { Codec::Zstd } else { Codec::Raw };
    let kind = if v.get("kind") == "tree" { Kind::Tree } else { Kind::Data };
    let f = FrameEntry {
        stored: v.number("stored") as u32,
        plain: v.number("plain") as u32,
        codec,
        blobs: v.number("blobs") as u16,
    };
    let mut sealed = b[pack::HEADER_LEN..].to_vec();
    let opened = key.open(v.number("ordinal"), kind, &f, &mut sealed)?;
    let plain = match codec {
        Codec::Raw => opened.to_vec(),
        Codec::Zstd => zstd::bulk::decompress(opened, f.plain as usize).or_else(|_| invalid("frame"))?,
    };
    if plain.len() != f.plain as usize {
        return invalid("frame");
    }
    let keys = BlobKeys::new(&secret(v, "id-secret"), &Secret::new([0; 32]));
    let ids: Vec<String> =
        pack::blob_ranges(&plain, f.blobs)?.into_iter().map(|r| keys.chunk_id(&plain[r]).hex()).collect();
    Ok(Some(ids.join(",")))
}

fn segment_(v: &Vector) -> Gives {
    let opened = segment::parse(&v.body)?.open(&secret(v, "secret"), domain(v), instance(v))?;
    opened.verify(&PublicKey(v.bytes("key")))?;
    let s = opened.segment;
    let rows: Vec<String> = s.rows.iter().map(|r| format!("{}:{}:{}", hex(&r.id), r.frame, r.ordinal)).collect();
    Ok(Some(format!("packs={} rows={}", s.head.packs.len(), rows.join(","))))
}

fn snapshot_(v: &Vector) -> Gives {
    let at = snapshot::Found { domain: domain(v), instance: instance(v), name: v.get("name") };
    let s = snapshot::open_object(&v.body, at, &|_| Some(secret(v, "secret")))?;
    s.verify(&PublicKey(v.bytes("key")), &PublicKey(v.bytes("commit-key")))?;
    let body: Body = snapshot::open_body(&s.statement, &|_| Some(secret(v, "record-secret")))?;
    Ok(Some(format!("id={} {}", s.id, said(&s.statement, &body))))
}

/// Everything that a snapshot says, in one line; `format-spec/reader/test_snapshots.py` says it again.
fn said(s: &Statement, body: &Body) -> String {
    [said_of_run(s), said_to_people(body), said_by_program(body)].join(" ")
}

fn time(t: &Time) -> String {
    format!("{}.{:09}", t.sec, t.nsec)
}

fn optional<T>(value: Option<&T>, show: impl Fn(&T) -> String) -> String {
    value.map_or_else(|| "-".into(), show)
}

fn each<T>(list: &[T], show: impl Fn(&T) -> String) -> String {
    list.iter().map(show).collect::<Vec<_>>().join("|")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn ext(all: &[Ext]) -> String {
    each(all, |e| format!("{}:{}:{}", e.tag, e.flags, hex(&e.data)))
}

fn said_of_run(s: &Statement) -> String {
    let id = |id: &Option<RecordId>| optional(id.as_ref(), |id| id.hex());
    [
        format!("seq={} time={} offset={}", s.seq, time(&s.time), s.utc_offset),
        format!("started={} ended={} machine={} flags={}", time(&s.started), time(&s.ended), hex(&s.machine), s.flags),
        format!("parent={} replaces={}", id(&s.parent), id(&s.replaces)),
        format!("origin={}", optional(s.origin.as_ref(), |o| hex(o))),
        format!("heads={}", each(&s.heads, |h| format!("{}:{}:{}", h.client, h.seq, h.id))),
        format!("ext={}", ext(&s.ext)),
    ]
    .join(" ")
}

fn said_to_people(b: &Body) -> String {
    let trigger = match &b.trigger {
        Trigger::Manual => "Manual".into(),
        Trigger::Schedule(name) => format!("Schedule:{name}"),
    };
    let scope = match &b.scope {
        Scope::Full => "Full".into(),
        Scope::Partial(name) => format!("Partial:{name}"),
    };
    [
        format!("host={} user={} uid={} gid={}", b.hostname, b.username, b.uid, b.gid),
        format!("paths={} tags={}", each(&b.paths, |p| text(p)), b.tags.join("|")),
        format!("label={} description={}", b.label, b.description),
        format!("trigger={trigger} scope={scope} expires={}", optional(b.expires.as_ref(), time)),
    ]
    .join(" ")
}

fn said_by_program(b: &Body) -> String {
    let owners = |all: &[(u32, Vec<u8>)]| each(all, |(n, name)| format!("{n}:{}", text(name)));
    let s = &b.stats;
    let stats = [
        [s.files_new, s.files_changed, s.files_unmodified].as_slice(),
        &[s.dirs_new, s.dirs_changed, s.dirs_unmodified],
        &[s.data_blobs, s.tree_blobs, s.data_added, s.data_added_packed],
        &[s.files_processed, s.bytes_processed, s.problems],
    ]
    .concat();
    [
        format!("chunking={} excludes={} program={}", b.chunking, each(&b.excludes, |p| text(p)), b.program),
        format!("name_encoding={} root_style={}", b.name_encoding, b.root_style),
        format!("users={} groups={}", owners(&b.users), owners(&b.groups)),
        format!("stats={} ext={}", each(&stats, u64::to_string), ext(&b.ext)),
    ]
    .join(" ")
}

/// Bytes without end from a short text, so that a vector needs not carry them.
pub fn stream(from: &str, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(from.as_bytes()).finalize_xof().fill(&mut out);
    out
}

fn parity_(v: &Vector) -> Gives {
    let good = stream(v.get("pack-from"), v.number("pack-length") as usize);
    let mut bad = good.clone();
    for at in v.find("damage").unwrap_or_default().split(',').filter(|a| !a.is_empty()) {
        bad[at.parse::<usize>().unwrap()] ^= 1;
    }
    parity::repair(&bad, &v.body).map(|out| {
        assert_eq!(out, good);
        Some(hex(blake3::hash(&out).as_bytes()))
    })
}

fn derive(v: &Vector) -> String {
    let keys = || BlobKeys::new(&secret(v, "id-secret"), &secret(v, "chunk-secret"));
    match v.get("of") {
        "chunk-id" => keys().chunk_id(&v.body).hex(),
        "page-id" => keys().page_id(&v.body).hex(),
        "page-cut" => {
            let n = keys().page_cut(v.number("kind") as u8, v.number("level") as u8, &v.body);
            format!("{n:016x}")
        }
        "gear" => {
            let t = keys().gear_table();
            format!("first={:016x} second={:016x} last={:016x}", t[0], t[1], t[255])
        }
        "client-seed" => {
            let seed = derive_client_seed(&secret(v, "secret"), domain(v), ClientId(v.bytes("client")));
            hex(seed.expose())
        }
        "password" => {
            let p = |k| v.number(k) as u32;
            let params = Argon2Params { m_kib: p("m"), t: p("t"), p: p("p") };
            hex(stretch(&v.body, &v.bytes("salt"), params).unwrap().expose())
        }
        other => panic!("{}: {other}", v.path),
    }
}

/// The chunker as `65-chunking.md` has it, byte by byte and without tricks.
pub fn next_cut(gear: &[u64; 256], data: &[u8], p: &records::Profile, (strict, loose): (u64, u64)) -> usize {
    let (min, avg, max) = (p.min as usize, p.avg as usize, p.max as usize);
    let end = data.len().min(max);
    if end <= min {
        return end;
    }
    let (centre, last) = (avg.min(end) / 2 * 2, end / 2 * 2);
    let mut h: u64 = 0;
    for i in min..last {
        h = (h << 1).wrapping_add(gear[data[i] as usize]);
        let mask = if i < centre { strict } else { loose };
        if h & mask == 0 {
            return i;
        }
    }
    end
}

/// Number, shortest, average, longest, strict mask, loose mask.
pub const PROFILES: [(&str, u32, u32, u32, u64, u64); 3] = [
    ("default", 16 << 10, 64 << 10, 256 << 10, 0x0000_d907_0353_7000, 0x0000_d90f_0353_0000),
    ("volume", 4 << 10, 16 << 10, 64 << 10, 0x0000_d90f_0353_0000, 0x0000_d903_0353_0000),
    ("media", 128 << 10, 512 << 10, 2 << 20, 0x0000_d917_4753_7000, 0x0000_d907_0753_7000),
];

fn cuts(v: &Vector) -> String {
    let keys = BlobKeys::new(&secret(v, "id-secret"), &secret(v, "chunk-secret"));
    let gear = keys.gear_table();
    let (_, min, avg, max, s, l) = PROFILES.into_iter().find(|p| p.0 == v.get("profile")).unwrap();
    let profile = records::Profile { id: 1, chunker: 1, min, avg, max, frame: 0 };
    let source = match v.get("source") {
        "zeros" => vec![0; v.number("length") as usize],
        text => stream(text, v.number("length") as usize),
    };
    let shifted: Vec<u64> = gear.iter().map(|g| g << 1).collect();
    let (mut rest, mut out) = (source.as_slice(), Vec::new());
    while !rest.is_empty() {
        let n = next_cut(&gear, rest, &profile, (s, l));
        let (min, avg, max) = (min as usize, avg as usize, max as usize);
        let (_, theirs) =
            fastcdc::v2020::cut_gear(rest, min, avg, max, s, l, s << 1, l << 1, gear.as_slice(), &shifted);
        assert_eq!(n, theirs, "the description and the crate differ");
        out.push(n.to_string());
        rest = &rest[n..];
    }
    out.join(",")
}

/// A directory of so many empty files with names of seven digits, owned by nobody in 1970.
fn tree(v: &Vector) -> String {
    let keys = BlobKeys::new(&secret(v, "id-secret"), &secret(v, "chunk-secret"));
    let mut pages = Vec::new();
    let mut emit = |bytes: Vec<u8>| -> Result<BlobId, std::convert::Infallible> {
        let id = keys.page_id(&bytes);
        pages.push((bytes[1], Page::decode(&bytes).unwrap().len()));
        Ok(id)
    };
    let mut b = Builder::dir(&keys);
    for i in 0..v.number("entries") {
        let node = Node {
            name: format!("{i:07}").into_bytes(),
            kind: NodeKind::File { size: 0, content: Content::Inline(vec![]) },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            ctime: Time::default(),
            ino: 0,
            ext: vec![],
        };
        b.node(&node, &mut emit).unwrap();
    }
    let root = b.finish(&mut emit).unwrap().unwrap();
    let pages: Vec<String> = pages.iter().map(|(level, n)| format!("{level}:{n}")).collect();
    format!("root={} level={} pages={}", root.id, root.level, pages.join(","))
}
