//! Makes the vectors: for each object one that must be accepted and many that must be refused,
//! with fixed salts and keys, so that they are the same on every run.

use orlop::crypto::{Argon2Params, PublicKey, Secret, SigningKey, Suite, TAG_LEN};
use orlop::format::codec::encode;
use orlop::format::gc::{self, Payload};
use orlop::format::keys::{ClientKey, Credential, Epoch, Kdf, Keyring, Owner, Role, SlotHeader, SlotSecret};
use orlop::format::pack::{Codec, FrameEntry, Header, Kind, Table};
use orlop::format::page::{DirChild, Page};
use orlop::format::record::{self, Place, RecordType};
use orlop::format::records::{Client, Close, CloseKind, Config, Heartbeat, Profile, Purpose, SessionOpen};
use orlop::format::segment::{Head as SegmentHead, PackEntry, Row, Segment};
use orlop::format::snapshot::{self, Secrets};
use orlop::format::{armour, names, parity, segment};
use orlop::id::{BlobId, ClientId, DomainId, InstanceId, PackId, RecordId, SegmentId, SessionId, SlotId, hex};
use orlop::model::{
    Body, Commit, Content, Ext, Extent, Head, Node, NodeKind, PageRef, Scope, Statement, Stats, Time, Trigger,
};

use crate::run::{self, PROFILES};
use crate::vector::Vector;

pub const DOMAIN: DomainId = DomainId([0xd0; 16]);
pub const INSTANCE: InstanceId = InstanceId([0x1c; 16]);
pub const CLIENT: ClientId = ClientId([0xc1; 16]);
pub const SESSION: SessionId = SessionId([0x5e; 16]);
pub const SLOT: SlotId = SlotId([0x51; 16]);
pub const TIME: Time = Time { sec: 1_700_000_000, nsec: 123_456_789 };

pub fn index() -> Secret {
    Secret::new([0x11; 32])
}
pub fn signer() -> SigningKey {
    SigningKey::from_seed(&Secret::new([0x55; 32]))
}
fn stranger() -> PublicKey {
    SigningKey::from_seed(&Secret::new([0x99; 32])).public()
}
fn critical() -> Vec<Ext> {
    vec![Ext { tag: 999, flags: Ext::CRITICAL_READ, data: b"from the future".to_vec() }]
}

/// Collects the vectors of one object.
struct Cases {
    object: &'static str,
    common: Vec<(String, String)>,
    out: Vec<Vector>,
}

impl Cases {
    fn new(object: &'static str, common: &[(&str, String)]) -> Self {
        let common = common.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        Self { object, common, out: Vec::new() }
    }
    fn add(&mut self, name: &str, expect: &str, comment: &str, body: impl Into<Vec<u8>>) -> &mut Vector {
        let mut fields = vec![
            ("object".to_string(), self.object.to_string()),
            ("expect".to_string(), expect.to_string()),
            ("comment".to_string(), comment.to_string()),
        ];
        fields.extend(self.common.clone());
        self.out.push(Vector { path: format!("{}/{name}", self.object), fields, body: body.into() });
        self.out.last_mut().unwrap()
    }
    /// What is accepted, and what it gives.
    fn ok(&mut self, name: &str, comment: &str, body: impl Into<Vec<u8>>) -> &mut Vector {
        self.add(name, "ok", comment, body)
    }
    /// The vectors; those that are accepted say what they give.
    fn done(mut self) -> Vec<Vector> {
        for v in self.out.iter_mut().filter(|v| v.get("expect") == "ok") {
            match run::run(v) {
                Ok(Some(gives)) => v.set("gives", gives),
                Ok(None) => {}
                Err(e) => panic!("{} should be accepted: {e}", v.path),
            }
        }
        self.out
    }
}

fn with(good: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut out = good.to_vec();
    out[at..at + bytes.len()].copy_from_slice(bytes);
    out
}
fn flipped(good: &[u8], at: usize) -> Vec<u8> {
    with(good, at, &[good[at] ^ 1])
}
fn longer(good: &[u8]) -> Vec<u8> {
    [good, &[0]].concat()
}
fn shorter(good: &[u8]) -> Vec<u8> {
    good[..good.len() - 1].to_vec()
}

pub fn all() -> Vec<Vector> {
    let mut out = Vec::new();
    out.extend(integers());
    out.extend(object_names());
    out.extend(armours());
    out.extend(plain_records());
    out.extend(gc_records());
    out.extend(slots());
    out.extend(keyrings());
    out.extend(packs());
    out.extend(segments());
    out.extend(pages());
    out.extend(snapshots());
    out.extend(origins());
    out.extend(parities());
    out.extend(known_answers());
    out
}

fn integers() -> Vec<Vector> {
    let mut c = Cases::new("integer", &[]);
    let mut add = |name: &str, expect: &str, comment: &str, ty: &str, body: &[u8]| {
        c.add(name, expect, comment, body).set("type", ty);
    };
    add("one-byte", "ok", "0 to 250 are themselves", "u32", &[250]);
    add("three-bytes", "ok", "251 announces two bytes", "u32", &[251, 251, 0]);
    add("negative", "ok", "zigzag: 0, -1, 1, -2 are 0, 1, 2, 3", "i64", &[3]);
    let long = "a shorter form exists";
    add("long-2", "invalid", long, "u32", &[251, 250, 0]);
    add("long-4", "invalid", long, "u32", &[252, 255, 255, 0, 0]);
    add("long-8", "invalid", long, "u64", &[253, 255, 255, 255, 255, 0, 0, 0, 0]);
    add("wide-u16", "invalid", "does not fit the field", "u16", &[252, 0, 0, 1, 0]);
    add("wide-u32", "invalid", "does not fit the field", "u32", &[253, 0, 0, 0, 0, 1, 0, 0, 0]);
    add("u128", "invalid", "254 announces sixteen bytes, which no field has", "u64", &[254; 17]);
    add("reserved", "invalid", "255 announces nothing", "u32", &[255]);
    add("nothing", "invalid", "no byte at all", "u32", &[]);
    add("cut-2", "invalid", "announces two bytes, has one", "u32", &[251, 0]);
    add("cut-4", "invalid", "announces four bytes, has three", "u32", &[252, 0, 0, 1]);
    add("cut-8", "invalid", "announces eight bytes, has seven", "u64", &[253, 0, 0, 0, 0, 1, 0, 0]);
    add("trailing", "invalid", "a byte follows", "u32", &[5, 0]);
    add("long-negative", "invalid", long, "i64", &[251, 1, 0]);
    add("wide-i32", "invalid", "does not fit the field", "i32", &[253, 0, 0, 0, 0, 1, 0, 0, 0]);
    add("long-u16", "invalid", long, "u16", &[251, 0, 0]);
    c.done()
}

fn object_names() -> Vec<Vector> {
    let mut c = Cases::new("name", &[]);
    let mut add = |name: &str, expect: &str, comment: &str, form: &str, body: String| {
        c.add(name, expect, comment, body).set("form", form);
    };
    let pack = names::pack(PackId([0xab; 32]), [1, 2, 3, 4]);
    let snapshot = names::snapshot(CLIENT, 7);
    add("pack", "ok", "shard, id, session", "pack", pack.clone());
    add("snapshot", "ok", "client, place in the chain", "snapshot", snapshot.clone());
    let bad = "outside the grammar";
    for (i, text) in
        ["", "/a", "a/", "a//b", "../a", "a/..", ".a", "A", "a b", "a:b", "a/b/c/d/e", "\u{e9}"].into_iter().enumerate()
    {
        add(&format!("grammar-{i:02}"), "invalid", bad, "any", text.into());
    }
    add("too-long", "invalid", "128 bytes", "any", "a".repeat(128));
    add("other-shard", "invalid", "the shard is not the beginning of the id", "pack", pack.replace("/ab/", "/ac/"));
    add("no-session", "invalid", "the session is missing", "pack", pack.replace(".01020304", ""));
    add("long-session", "invalid", "nine digits", "pack", format!("{pack}0"));
    add("capitals", "invalid", "hex is lower case", "snapshot", snapshot.replace("07", "0A"));
    add("sign", "invalid", "a sign is no digit", "snapshot", snapshot.replace("/00", "/+0"));
    add("short-seq", "invalid", "fifteen digits", "snapshot", snapshot.replace("/0", "/"));
    c.done()
}

fn armours() -> Vec<Vector> {
    let mut c = Cases::new("armour", &[]);
    // Shards of 70 bytes: a whole block of symbols and a short one; the last ends in padding.
    let content: Vec<u8> = (0..1100u32).map(|i| ((i * 31) >> 2) as u8).collect();
    let good = armour::wrap(&content);
    let head = 48 + 32 * 8;
    let shard = 70;
    c.ok("whole", "nothing is damaged", good.clone());
    let mut half = good.clone();
    half[head..head + 16 * shard].fill(0xff);
    c.ok("data-lost", "all data shards are damaged; parity shards bring them back", half.clone());
    c.ok("front-header-lost", "the smallest; the header at the end and parity serve", {
        let mut b = armour::wrap(b"x");
        b[..head + 16 * 2].fill(0);
        b
    });
    half[head + 20 * shard] ^= 1;
    c.add("one-too-many", "invalid", "17 of 32 shards are damaged", half);
    let mut both = good.clone();
    let end = good.len();
    both[..head].fill(0);
    both[end - head..].fill(0);
    c.add("no-header", "magic", "both headers are gone", both.clone());
    let both_headers = |at: usize, bytes: &[u8]| {
        let b = with(&good, at, bytes);
        with(&b, end - head + at, bytes)
    };
    c.add("magic", "magic", "another object", both_headers(0, b"X"));
    c.add("length", "limit", "says 4 GiB of content", both_headers(8, &[0xff; 4]));
    c.add("shard-length", "invalid", "shard length does not follow from the length", both_headers(12, &[128]));
    c.add("hash", "invalid", "the content has another hash", both_headers(16, &[0]));
    c.add("sums", "invalid", "no shard has its checksum", both_headers(48, &[0; 256]));
    c.add("one-off", "magic", "shifted by one byte", [&[0], &good[..]].concat()[..good.len()].to_vec());
    c.add("other-content", "invalid", "shards of another object under this one's headers", {
        let other = armour::wrap(&content.iter().map(|b| !b).collect::<Vec<_>>());
        [&good[..head], &other[head..other.len() - head], &good[end - head..]].concat()
    });
    c.add("empty", "truncated", "nothing", vec![]);
    c.add("short", "truncated", "less than a header", good[..100].to_vec());
    c.add("half-missing", "magic", "cut off in the middle of the parity, front header spoiled too", {
        with(&good[..head + 20 * shard], 0, b"X")
    });
    c.add("padding", "invalid", "the padding is not zero; everything else fits", {
        let mut b = good.clone();
        b[head + shard * 16 - 1] = 1;
        let sum = blake3::hash(&b[head + shard * 15..head + shard * 16]);
        let at = 48 + 8 * 15;
        let b = with(&b, at, &sum.as_bytes()[..8]);
        with(&b, end - head + at, &sum.as_bytes()[..8])
    });
    c.add(
        "length-short",
        "invalid",
        "content cut by one byte: not the hash",
        both_headers(8, &[content.len() as u8 - 1]),
    );
    c.add(
        "length-long",
        "invalid",
        "content longer by one zero: not the hash",
        both_headers(8, &[content.len() as u8 + 1]),
    );
    c.done()
}

/// Seals any payload bytes as a record.
struct Sealer {
    kind: RecordType,
    name: String,
    secret: Secret,
    instance: InstanceId,
    clear: Vec<u8>,
}

impl Sealer {
    fn seal(&self, payload: &[u8], signer: Option<&SigningKey>) -> Vec<u8> {
        record::Sealing {
            kind: self.kind,
            place: Place { domain: DOMAIN, instance: self.instance, name: &self.name },
            epoch: 1,
            secret: &self.secret,
            salt: [0xa5; 32],
            signer,
            clear: &self.clear,
        }
        .seal(payload)
        .0
    }
}

/// Names of fields that every record's vectors have.
fn record_fields(name: &str) -> Vec<(&'static str, String)> {
    vec![
        ("domain", DOMAIN.hex()),
        ("instance", INSTANCE.hex()),
        ("name", name.to_string()),
        ("secret", hex(index().expose())),
        ("key", hex(&signer().public().0)),
    ]
}

/// The refusals that all records have in common.
fn refuse_record(c: &mut Cases, s: &Sealer, payload: &[u8], critical: &[u8], elsewhere: &str) {
    let good = s.seal(payload, Some(&signer()));
    c.add("cut", "truncated", "the last byte is missing", shorter(&good));
    c.add("header-only", "truncated", "half a header", good[..48].to_vec());
    c.add("magic", "magic", "another object", with(&good, 0, b"X"));
    c.add("future", "version", "version 2", with(&good, 8, &[2]));
    c.add("version-0", "invalid", "there is no version 0", with(&good, 8, &[0]));
    c.add("other-kind", "invalid", "another kind of record", with(&good, 10, &[99]));
    c.add("reserved", "invalid", "reserved bytes are not zero", with(&good, 24, &[1]));
    c.add("long", "limit", "says 4 GiB of sealed bytes", with(&good, 20, &[0xff; 4]));
    c.add("trailing", "invalid", "a byte follows", longer(&good));
    c.add("salt", "crypto", "another salt: the commitment does not fit", flipped(&good, 40));
    c.add("changed", "crypto", "one bit of the sealed part", flipped(&good, good.len() - 20));
    c.add("tag", "crypto", "one bit of the tag", flipped(&good, good.len() - 1));
    c.add("moved", "crypto", "stands under another name", good.clone()).set("name", elsewhere);
    c.add("other-secret", "crypto", "another secret", good.clone()).set("secret", hex(&[0x12; 32]));
    c.add("forged", "crypto", "signed by somebody else", good).set("key", hex(&stranger().0));
    c.add("unsigned", "crypto", "has no signature", s.seal(payload, None));
    c.add("critical", "extension", "an extension that a reader must know", s.seal(critical, Some(&signer())));
    c.add("payload-trailing", "invalid", "a byte follows the payload", s.seal(&longer(payload), Some(&signer())));
    c.add("payload-cut", "invalid", "the payload ends early", s.seal(&shorter(payload), Some(&signer())));
}

fn plain<P: bincode::Encode>(
    object: &'static str,
    kind: RecordType,
    name: String,
    elsewhere: &str,
    good: &P,
    critical: &P,
) -> Vec<Vector> {
    let mut c = Cases::new(object, &record_fields(&name));
    let s = Sealer { kind, name, secret: index(), instance: INSTANCE, clear: clear_of(kind) };
    c.ok("whole", "as a writer makes it", s.seal(&encode(good), Some(&signer())));
    refuse_record(&mut c, &s, &encode(good), &encode(critical), elsewhere);
    c.add("mirror", "crypto", "from a mirror", s.seal(&encode(good), Some(&signer())))
        .set("instance", hex(&[0x1d; 16]));
    c.done()
}

/// A configuration says to anyone which repository it is of.
pub fn clear_of(kind: RecordType) -> Vec<u8> {
    if kind == RecordType::Config { [DOMAIN.0, INSTANCE.0].concat() } else { Vec::new() }
}

pub fn config() -> Config {
    let profile = |(id, p): (usize, (&str, u32, u32, u32, u64, u64))| {
        let frame = [1 << 20, 128 << 10, 512 << 10][id];
        Profile { id: id as u8 + 1, chunker: 1, min: p.1, avg: p.2, max: p.3, frame }
    };
    Config {
        n: 1,
        prev: RecordId::ZERO,
        domain: DOMAIN,
        instance: INSTANCE,
        created: TIME,
        read_features: vec![],
        write_features: vec![],
        suite: 1,
        suites: vec![1, 2],
        profiles: PROFILES.into_iter().enumerate().map(profile).collect(),
        compression: 3,
        parity: 0,
        undelete_window: 14 * 86_400,
        admin: signer().public(),
        ext: vec![],
    }
}

pub fn client() -> Client {
    Client {
        id: CLIENT,
        name: "laptop".into(),
        epoch: 1,
        key: signer().public(),
        role: Role::Owner,
        created: TIME,
        ext: vec![],
    }
}

pub fn session_open() -> SessionOpen {
    SessionOpen {
        session: SESSION,
        client: CLIENT,
        client_epoch: 1,
        purpose: Purpose::Backup,
        started: TIME,
        machine: [0x3a; 8],
        boot: [0xb0; 16],
        pid: 4711,
        pid_started: 123_456,
        hostname: "laptop".into(),
        bases: vec![RecordId([0xba; 32])],
        nonce: [0x0e; 16],
        ext: vec![],
    }
}

pub fn close() -> Close {
    Close {
        session: SESSION,
        kind: CloseKind::End,
        snapshots: vec![RecordId([0x5a; 32])],
        author: CLIENT,
        author_epoch: 1,
        seen_gen: 3,
        nonce: [0x0e; 16],
        ext: vec![],
    }
}

fn plain_records() -> Vec<Vector> {
    let beat = Heartbeat {
        session: SESSION,
        n: 2,
        seen_gen: 3,
        pins: vec![PackId([0xab; 32])],
        bases: vec![RecordId([0xba; 32])],
        progress: 1 << 40,
        nonce: [0x0e; 16],
        ext: vec![],
    };
    let mut out = plain(
        "config",
        RecordType::Config,
        names::config(1),
        &names::config(2),
        &config(),
        &Config { ext: critical(), ..config() },
    );
    out.extend(plain(
        "client",
        RecordType::Client,
        names::client(CLIENT, 1),
        &names::client(CLIENT, 2),
        &client(),
        &Client { ext: critical(), ..client() },
    ));
    out.extend(plain(
        "session-open",
        RecordType::SessionOpen,
        names::session(SESSION, 0),
        &names::session(SessionId([1; 16]), 0),
        &session_open(),
        &SessionOpen { ext: critical(), ..session_open() },
    ));
    out.extend(plain(
        "heartbeat",
        RecordType::Heartbeat,
        names::session(SESSION, 2),
        &names::session(SESSION, 3),
        &beat,
        &Heartbeat { ext: critical(), ..beat.clone() },
    ));
    out.extend(plain(
        "close",
        RecordType::Close,
        names::session_close(SESSION),
        &names::session_close(SessionId([1; 16])),
        &close(),
        &Close { ext: critical(), ..close() },
    ));
    out
}

/// Vectors of a record of `format::gc`: `bad` are payloads that break a rule of their own.
fn gc_record<P: Payload>(
    object: &'static str,
    clear: &P::Clear,
    good: &P,
    critical: &P,
    elsewhere: &str,
    bad: &[(&str, &str, &str, &P, &P::Clear)],
) -> Vec<Vector> {
    let signer = signer();
    let secret = index();
    let sealing = gc::Sealing {
        domain: DOMAIN,
        instance: INSTANCE,
        epoch: 1,
        secret: &secret,
        salt: [0xa5; 32],
        signer: &signer,
    };
    let (bytes, name, _) = gc::seal(good, clear, &sealing);
    let mut c = Cases::new(object, &record_fields(&name));
    c.ok("whole", "as a writer makes it", bytes.clone());
    let place = good.place(clear);
    let instance = if P::PORTABLE { InstanceId::ZERO } else { INSTANCE };
    let at = Place { domain: DOMAIN, instance, name: &place };
    let s = Sealer {
        kind: P::KIND,
        name: place.clone(),
        secret: index(),
        instance,
        clear: gc::Clear::seal(clear, P::KIND, &at, &signer),
    };
    refuse_record(&mut c, &s, &encode(good), &encode(critical), elsewhere);
    // State is found by its own id, so that nothing can stand under another name but what differs.
    if P::KIND == RecordType::State {
        for v in &mut c.out {
            match v.path.as_str() {
                "state/moved" => v.set("expect", "invalid"),
                "state/critical" => v.set("comment", "an extension that a reader must know; its own name"),
                _ => {}
            }
        }
    }
    if P::PORTABLE {
        c.ok("mirror", "from a mirror of the same domain", bytes.clone()).set("instance", hex(&[0x1d; 16]));
    } else {
        c.add("mirror", "crypto", "from a mirror", bytes.clone()).set("instance", hex(&[0x1d; 16]));
    }
    for (name, expect, comment, payload, clear) in bad {
        let (bytes, object_name, _) = gc::seal(*payload, clear, &sealing);
        c.add(name, expect, comment, bytes).set("name", object_name);
    }
    if s.clear.is_empty() {
        let s = Sealer { clear: vec![1], ..s };
        c.add("clear-part", "invalid", "has a clear part", s.seal(&encode(good), Some(&signer)));
    } else {
        let mut forged = s.clear.clone();
        let end = forged.len();
        forged[end - 1] ^= 1;
        let s = Sealer { clear: forged, ..s };
        c.add("clear-forged", "crypto", "the clear part's own signature", s.seal(&encode(good), Some(&signer)));
        let s = Sealer { clear: vec![0; 10], ..s };
        c.add(
            "clear-short",
            "invalid",
            "a clear part without room for a signature",
            s.seal(&encode(good), Some(&signer)),
        );
        c.add("clear-changed", "crypto", "one bit of the clear part", flipped(&bytes, record::HEADER_LEN + 10 + 24));
    }
    c.done()
}

fn gc_records() -> Vec<Vector> {
    let pack = gc::PackName { id: PackId([0xab; 32]), uploader: [1, 2, 3, 4] };
    let clear = gc::GcClear {
        generation: 300,
        prev: RecordId([0x9e; 32]),
        kind: gc::GcKind::Plan,
        storage_time: TIME,
        finishes: 0,
        condemned: vec![pack],
        new_index: vec![SegmentId([0x21; 32])],
        superseded_index: vec![SegmentId([0x20; 32])],
        live_sessions: vec![SESSION],
        resurrected: vec![],
        doomed_packs: vec![],
        doomed_index: vec![],
        doomed_names: vec![],
        ext: vec![],
    };
    let plan = gc::Gc {
        author: CLIENT,
        author_epoch: 1,
        session: SESSION,
        config: RecordId([0xcf; 32]),
        heads: vec![Head { client: CLIENT, seq: 7, id: RecordId([0x5a; 32]) }],
        expired: vec![RecordId([0x70; 32])],
        confirmed: vec![gc::Confirmed { client: CLIENT, upto: 7, except: vec![5] }],
        seen: vec![gc::Seen { statement: RecordId([0x5a; 32]), received: TIME }],
        verdicts: vec![gc::Verdict { pack: PackId([0xba; 32]), outcome: gc::Outcome::Cleared }],
        state: vec![],
        lost: None,
        nonce: [0x0e; 16],
        ext: vec![],
    };
    let empty = gc::GcClear {
        condemned: vec![],
        new_index: vec![],
        superseded_index: vec![],
        live_sessions: vec![],
        ..clear.clone()
    };
    let finish = gc::GcClear { kind: gc::GcKind::Finish, finishes: 299, doomed_packs: vec![pack], ..empty.clone() };
    let with_state = gc::Gc { state: vec![RecordId([0x57; 32])], ..plan.clone() };
    let restart =
        gc::GcClear { kind: gc::GcKind::Restart, prev: RecordId::ZERO, live_sessions: vec![SESSION], ..empty.clone() };
    let mut out = gc_record(
        "gc",
        &clear,
        &plan,
        &gc::Gc { ext: critical(), ..plan.clone() },
        &names::gc(301),
        &[
            ("finish", "ok", "a finish of the plan before it", &plan, &finish),
            (
                "checkpoint",
                "ok",
                "a checkpoint with its state",
                &with_state,
                &gc::GcClear { kind: gc::GcKind::Checkpoint, ..empty.clone() },
            ),
            (
                "restart",
                "ok",
                "goes on after generation 299 was lost",
                &gc::Gc { lost: Some(gc::Lost { generation: 299, raw: Some([7; 32]) }), ..with_state.clone() },
                &restart,
            ),
            (
                "generation-0",
                "invalid",
                "the log begins with 1",
                &plan,
                &gc::GcClear { generation: 0, ..clear.clone() },
            ),
            ("no-prev", "invalid", "continues nothing", &plan, &gc::GcClear { prev: RecordId::ZERO, ..clear.clone() }),
            (
                "twice",
                "invalid",
                "condemns a pack twice",
                &plan,
                &gc::GcClear { condemned: vec![pack, pack], ..clear.clone() },
            ),
            (
                "plan-dooms",
                "invalid",
                "a plan deletes nothing",
                &plan,
                &gc::GcClear { doomed_packs: vec![pack], ..clear.clone() },
            ),
            (
                "finishes-itself",
                "invalid",
                "finishes a plan that is not before it",
                &plan,
                &gc::GcClear { finishes: 300, ..finish.clone() },
            ),
            (
                "both",
                "invalid",
                "a pack is resurrected and doomed",
                &plan,
                &gc::GcClear { resurrected: vec![pack], ..finish.clone() },
            ),
            (
                "names-pack",
                "invalid",
                "a pack among the other names",
                &plan,
                &gc::GcClear { doomed_names: vec![names::pack(pack.id, pack.uploader)], ..finish.clone() },
            ),
            (
                "bad-name",
                "invalid",
                "what is deleted has no name",
                &plan,
                &gc::GcClear { doomed_names: vec!["../etc".into()], ..finish.clone() },
            ),
            (
                "clear-critical",
                "extension",
                "an extension of the clear part that a reader must know",
                &plan,
                &gc::GcClear { ext: critical(), ..clear.clone() },
            ),
            (
                "heads-order",
                "invalid",
                "heads do not ascend",
                &gc::Gc { heads: vec![plan.heads[0], plan.heads[0]], ..plan.clone() },
                &clear,
            ),
            (
                "exception-outside",
                "invalid",
                "an exception above the last place",
                &gc::Gc { confirmed: vec![gc::Confirmed { client: CLIENT, upto: 7, except: vec![8] }], ..plan.clone() },
                &clear,
            ),
            ("plan-state", "invalid", "only checkpoints and restarts have a state", &with_state, &clear),
            (
                "restart-wrong",
                "invalid",
                "the lost record is none before it",
                &gc::Gc { lost: Some(gc::Lost { generation: 300, raw: None }), ..with_state.clone() },
                &restart,
            ),
        ],
    );

    let clear = gc::TombstoneClear { client: CLIENT, seq: 7, not_before: TIME, nonce: [0x0e; 16], ext: vec![] };
    let stone = gc::Tombstone {
        author: CLIENT,
        author_epoch: 1,
        target: Some(RecordId([0x5a; 32])),
        reason: gc::Reason::Forget,
        made: TIME,
        ext: vec![],
    };
    out.extend(gc_record(
        "tombstone",
        &clear,
        &stone,
        &gc::Tombstone { ext: critical(), ..stone.clone() },
        &names::tombstone(CLIENT, 8, [0x0e; 4]),
        &[
            (
                "lost",
                "ok",
                "a lost record has no id",
                &gc::Tombstone { target: None, reason: gc::Reason::Lost, ..stone.clone() },
                &clear,
            ),
            ("seq-0", "invalid", "chains begin with 1", &stone, &gc::TombstoneClear { seq: 0, ..clear.clone() }),
            (
                "no-target",
                "invalid",
                "forgets it knows not what",
                &gc::Tombstone { target: None, ..stone.clone() },
                &clear,
            ),
            (
                "lost-target",
                "invalid",
                "lost, but with an id",
                &gc::Tombstone { reason: gc::Reason::Lost, ..stone.clone() },
                &clear,
            ),
        ],
    ));

    let suspect = gc::Suspect {
        pack: PackId([0xab; 32]),
        claim: gc::Claim::Frame(3),
        author: CLIENT,
        author_epoch: 1,
        made: TIME,
        nonce: [0x0e; 16],
        ext: vec![],
    };
    out.extend(gc_record(
        "suspect",
        &(),
        &suspect,
        &gc::Suspect { ext: critical(), ..suspect.clone() },
        &names::suspect(PackId([0xac; 32]), [0x0e; 4]),
        &[],
    ));

    let note = gc::Annotation {
        author: CLIENT,
        author_epoch: 1,
        n: 5,
        made: TIME,
        about: gc::About::Snapshot(RecordId([0x5a; 32])),
        note: gc::Note::Hold { reason: "audit of 2024".into(), until: Some(TIME) },
        nonce: [0x0e; 16],
        ext: vec![],
    };
    let tags = gc::Note::Tags(vec!["b".into(), "a".into()]);
    let policy = gc::Note::Policy { name: "default".into(), rule: "keep-daily 7".into() };
    out.extend(gc_record(
        "annotation",
        &(),
        &note,
        &gc::Annotation { ext: critical(), ..note.clone() },
        &names::note(CLIENT, 6, [0x0e; 4]),
        &[
            (
                "policy",
                "ok",
                "a rule of one repository",
                &gc::Annotation { about: gc::About::Repository(INSTANCE), note: policy.clone(), ..note.clone() },
                &(),
            ),
            ("n-0", "invalid", "counters begin with 1", &gc::Annotation { n: 0, ..note.clone() }, &()),
            ("tags-order", "invalid", "tags do not ascend", &gc::Annotation { note: tags, ..note.clone() }, &()),
            (
                "tags-many",
                "limit",
                "1025 tags",
                &gc::Annotation {
                    note: gc::Note::Tags((0..1025).map(|i| format!("{i:04}")).collect()),
                    ..note.clone()
                },
                &(),
            ),
            (
                "snapshot-policy",
                "invalid",
                "a rule about a snapshot",
                &gc::Annotation { note: policy, ..note.clone() },
                &(),
            ),
        ],
    ));

    let hollow = gc::Hollow {
        client: CLIENT,
        seq: 7,
        n: 0,
        statement: RecordId([0x5a; 32]),
        hollow: true,
        author: CLIENT,
        author_epoch: 1,
        nonce: [0x0e; 16],
        ext: vec![],
    };
    out.extend(gc_record(
        "hollow",
        &(),
        &hollow,
        &gc::Hollow { ext: critical(), ..hollow.clone() },
        &names::hollow(CLIENT, 7, 1),
        &[
            ("filled", "ok", "the content came later", &gc::Hollow { n: 1, hollow: false, ..hollow.clone() }, &()),
            ("out-of-turn", "invalid", "even marks say hollow", &gc::Hollow { hollow: false, ..hollow.clone() }, &()),
            ("seq-0", "invalid", "chains begin with 1", &gc::Hollow { seq: 0, ..hollow.clone() }, &()),
        ],
    ));

    let entry = gc::CatalogueEntry { client: CLIENT, seq: 7, object: snapshot_object() };
    let catalogue = gc::Catalogue {
        generation: 300,
        part: 0,
        parts: 1,
        entries: vec![entry.clone()],
        author: CLIENT,
        author_epoch: 1,
        ext: vec![],
    };
    out.extend(gc_record(
        "catalogue",
        &(),
        &catalogue,
        &gc::Catalogue { ext: critical(), ..catalogue.clone() },
        &names::catalogue(300, 1),
        &[
            ("beyond", "invalid", "part 1 of 1", &gc::Catalogue { part: 1, ..catalogue.clone() }, &()),
            (
                "order",
                "invalid",
                "entries do not ascend",
                &gc::Catalogue { entries: vec![entry.clone(), entry], ..catalogue.clone() },
                &(),
            ),
        ],
    ));

    let forgotten =
        gc::Forgotten { client: CLIENT, ranges: vec![(1, 3), (5, 5)], anchors: vec![(5, RecordId([1; 32]))] };
    let state = gc::State {
        generation: 300,
        author: CLIENT,
        author_epoch: 1,
        heads: plan.heads.clone(),
        confirmed: plan.confirmed.clone(),
        forgotten: vec![forgotten.clone()],
        condemned: vec![gc::Condemned { pack, generation: 299 }],
        seen: plan.seen.clone(),
        bad: vec![PackId([0xba; 32])],
        ext: vec![],
    };
    let touching = gc::Forgotten { ranges: vec![(1, 3), (4, 5)], ..forgotten.clone() };
    let backwards = gc::Forgotten { ranges: vec![(3, 1)], ..forgotten };
    let future = gc::State { ext: critical(), ..state.clone() };
    out.extend(gc_record(
        "state",
        &(),
        &state,
        &future,
        &names::state(RecordId([1; 32])),
        &[
            (
                "touching",
                "invalid",
                "runs 1-3 and 4-5 are one",
                &gc::State { forgotten: vec![touching], ..state.clone() },
                &(),
            ),
            (
                "backwards",
                "invalid",
                "a run from 3 to 1",
                &gc::State { forgotten: vec![backwards], ..state.clone() },
                &(),
            ),
        ],
    ));

    let times = gc::Times {
        author: CLIENT,
        author_epoch: 1,
        n: 5,
        seen: plan.seen.clone(),
        accepted: true,
        nonce: [0x0e; 16],
        ext: vec![],
    };
    out.extend(gc_record(
        "times",
        &(),
        &times,
        &gc::Times { ext: critical(), ..times.clone() },
        &names::times(CLIENT, 6, [0x0e; 4]),
        &[
            ("n-0", "invalid", "counters begin with 1", &gc::Times { n: 0, ..times.clone() }, &()),
            (
                "twice",
                "invalid",
                "one snapshot twice",
                &gc::Times { seen: vec![plan.seen[0], plan.seen[0]], ..times.clone() },
                &(),
            ),
        ],
    ));
    out
}

fn slots() -> Vec<Vector> {
    let mut c = Cases::new("slot", &[]);
    let header =
        |kdf| SlotHeader { kdf, role: Role::Owner, id: SLOT, domain: DOMAIN, instance: INSTANCE, salt: [0xa5; 32] };
    let secret = SlotSecret {
        seed: Secret::new([0x5d; 32]),
        label: "laptop".into(),
        username: "ann".into(),
        hostname: "laptop".into(),
        created: TIME,
        ext: vec![],
    };
    let escrow = Secret::new([0xe5; 32]);
    let seal = |kdf, credential: &Credential, secret: &SlotSecret| {
        header(kdf).seal(credential, secret, &escrow, [0xa6; 32]).unwrap()
    };
    let params = Argon2Params { m_kib: 64, t: 1, p: 1 };
    let password = seal(Kdf::Argon2id(params), &Credential::Password(b"correct horse".to_vec().into()), &secret);
    let raw = seal(Kdf::Raw, &Credential::Raw(Secret::new([0x2a; 32])), &secret);
    let nothing = seal(Kdf::Nothing, &Credential::Nothing, &secret);
    let key = hex(&[0x2a; 32]);
    c.ok("password", "Argon2id over UTF-8", password.clone()).set("password", "correct horse");
    c.ok("raw", "key file or recovery words", raw.clone()).set("raw", key.clone());
    c.ok("nothing", "no password at all", nothing);
    c.ok("escrow", "opened by the owner, who does not know the password", password.clone())
        .set("escrow", hex(escrow.expose()));
    let mut bad = |name: &str, expect: &str, comment: &str, body: Vec<u8>| {
        c.add(name, expect, comment, body).set("raw", key.clone());
    };
    bad("cut", "truncated", "the last byte is missing", shorter(&raw));
    bad("header-only", "truncated", "half a header", raw[..50].to_vec());
    bad("trailing", "invalid", "a byte follows", longer(&raw));
    bad("magic", "magic", "another object", with(&raw, 0, b"X"));
    bad("future", "version", "version 2", with(&raw, 8, &[2]));
    bad("kdf", "invalid", "an unknown way to open it", with(&raw, 10, &[3]));
    bad("role", "invalid", "an unknown role", with(&raw, 11, &[9]));
    bad("role-0", "invalid", "no role", with(&raw, 11, &[0]));
    bad("raw-params", "invalid", "parameters where none belong", with(&raw, 12, &[1]));
    bad("promoted", "crypto", "the role is bound into the key", with(&raw, 11, &[2]));
    bad("other-domain", "crypto", "the domain is bound into the key", flipped(&raw, 40));
    bad("other-instance", "crypto", "the repository is bound into the key", flipped(&raw, 56));
    bad("salt", "crypto", "the salt is bound into the key", flipped(&raw, 72));
    bad("commitment", "crypto", "compared before anything is opened", flipped(&raw, 104));
    bad("changed", "crypto", "one bit of the sealed part", flipped(&raw, 150));
    bad("long", "limit", "says 4 GiB of sealed bytes", with(&raw, 136, &[0xff; 4]));
    bad("long-escrow", "limit", "says 4 GiB of escrow", with(&raw, 140, &[0xff; 4]));
    bad("critical", "extension", "an extension that a reader must know", {
        seal(Kdf::Raw, &Credential::Raw(Secret::new([0x2a; 32])), &SlotSecret { ext: critical(), ..secret.clone() })
    });
    c.add("other-raw", "crypto", "another key file", raw.clone()).set("raw", hex(&[0x2b; 32]));
    c.add("other-kind", "crypto", "a password for a slot of a key file", raw.clone()).set("password", "correct horse");
    c.add("wrong-password", "crypto", "another password", password.clone()).set("password", "correct house");
    let mut costly = |name: &str, at: usize, n: u32| {
        let body = with(&password, at, &n.to_le_bytes());
        c.add(name, "crypto", "a cost that no reader should pay", body).set("password", "correct horse");
    };
    costly("argon-memory", 12, 4 << 20);
    costly("argon-no-memory", 12, 0);
    costly("argon-time", 16, u32::MAX);
    costly("argon-no-time", 16, 0);
    costly("argon-lanes", 20, 1 << 24);
    costly("argon-no-lanes", 20, 0);
    c.add("other-escrow", "crypto", "another owner", password).set("escrow", hex(&[0xe6; 32]));
    c.done()
}

pub fn keyring() -> Keyring {
    Keyring {
        role: Role::Owner,
        domain: DOMAIN,
        instance: INSTANCE,
        id_secret: Secret::new([0x77; 32]),
        chunk_secret: Secret::new([0x88; 32]),
        epochs: vec![Epoch {
            n: 1,
            data: Some(Secret::new([0x33; 32])),
            tree: Some(Secret::new([0x44; 32])),
            index: Some(index()),
            record: Some(Secret::new([0x22; 32])),
        }],
        admin: signer().public(),
        client: None,
        owner: Some(Owner {
            admin_seed: Secret::new([0x55; 32]),
            client_roots: vec![(1, Secret::new([0x66; 32]))],
            escrow: Secret::new([0xe5; 32]),
        }),
        ext: vec![],
    }
}

fn keyrings() -> Vec<Vector> {
    let seed = Secret::new([0x5d; 32]);
    let mut fields = record_fields(&names::keyring(SLOT, 3));
    fields.retain(|(k, _)| !["name", "key"].contains(k));
    fields.iter_mut().find(|(k, _)| *k == "secret").unwrap().1 = hex(seed.expose());
    fields.extend([("slot", SLOT.hex()), ("n", "3".into()), ("role", "1".into())]);
    let mut c = Cases::new("keyring", &fields);
    let seal = |ring: &Keyring| ring.seal(SLOT, 3, &seed, [0xa5; 32], &signer());
    let good = seal(&keyring());
    c.ok("owner", "all secrets", good.clone());
    let one = ClientKey { id: CLIENT, name: "laptop".into(), epoch: 1, seed: Secret::new([0x67; 32]) };
    let enrolled = Keyring { role: Role::Client, owner: None, client: Some(one), ..keyring() };
    c.ok("client", "one client's own key and no owner's", seal(&enrolled)).set("role", "2");
    c.add("role", "invalid", "an owner's keyring in a client's slot", good.clone()).set("role", "2");
    c.add("moved", "crypto", "another version's name", good.clone()).set("n", "4");
    c.add("other-slot", "crypto", "another slot", good.clone()).set("slot", hex(&[0x52; 16]));
    c.add("other-seed", "crypto", "another seed", good.clone()).set("secret", hex(&[1; 32]));
    c.add("other-instance", "crypto", "from a mirror", good.clone()).set("instance", hex(&[0x1d; 16]));
    c.add("cut", "truncated", "the last byte is missing", shorter(&good));
    c.add("changed", "crypto", "one bit", flipped(&good, 200));
    c.add("kind", "invalid", "another kind of record", with(&good, 10, &[1]));
    c.add("no-epochs", "invalid", "no epoch at all", seal(&Keyring { epochs: vec![], ..keyring() }));
    let twice = vec![keyring().epochs[0].clone(), keyring().epochs[0].clone()];
    c.add("epochs-order", "invalid", "epochs do not ascend", seal(&Keyring { epochs: twice, ..keyring() }));
    let s = Sealer {
        kind: RecordType::Keyring,
        name: names::keyring(SLOT, 3),
        secret: seed.clone(),
        instance: INSTANCE,
        clear: vec![],
    };
    let foreign = encode(&Keyring { instance: InstanceId([1; 16]), ..keyring() });
    c.add("foreign", "invalid", "of another repository inside", s.seal(&foreign, Some(&signer())));
    c.add(
        "not-admin",
        "crypto",
        "signed by another key than it names",
        seal(&Keyring { admin: stranger(), ..keyring() }),
    );
    c.add(
        "critical",
        "extension",
        "an extension that a reader must know",
        seal(&Keyring { ext: critical(), ..keyring() }),
    );
    c.done()
}

/// A pack of one frame with these blobs: header, sealed frame, entry, table and footer.
fn pack_of(suite: Suite, codec: Codec, blobs: &[&[u8]]) -> (Header, Vec<u8>, FrameEntry, Vec<u8>) {
    let data = Secret::new([0x33; 32]);
    let (header, key) = Header::create(suite, 1, SESSION, [0xa5; 32], DOMAIN, &data);
    let mut plain = Vec::new();
    blobs.iter().for_each(|b| plain.extend_from_slice(&(b.len() as u32).to_le_bytes()));
    blobs.iter().for_each(|b| plain.extend_from_slice(b));
    let mut buffer = match codec {
        Codec::Raw => plain.clone(),
        Codec::Zstd => zstd_frame(&plain),
    };
    let f = FrameEntry {
        stored: (buffer.len() + TAG_LEN) as u32,
        plain: plain.len() as u32,
        codec,
        blobs: blobs.len() as u16,
    };
    key.seal(0, Kind::Data, &f, &mut buffer);
    let keys = orlop::crypto::BlobKeys::new(&Secret::new([0x77; 32]), &Secret::new([0x88; 32]));
    let table = Table { kind: Kind::Data, frames: vec![f], ids: blobs.iter().map(|b| keys.chunk_id(b)).collect() };
    let tail = table.seal(&header, &index(), 256 + buffer.len() as u64);
    (header, buffer, f, tail)
}

/// A zstd frame of one raw block, made by hand, so that it is the same whatever the compressor.
fn zstd_frame(plain: &[u8]) -> Vec<u8> {
    let len = u16::try_from(plain.len()).unwrap();
    assert!((256..=0x7fff).contains(&len));
    // Magic, single segment with two bytes of content size, content size less 256, last raw block.
    let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0x60];
    out.extend_from_slice(&(len - 256).to_le_bytes());
    out.extend_from_slice(&(u32::from(len) << 3 | 1).to_le_bytes()[..3]);
    out.extend_from_slice(plain);
    out
}

fn packs() -> Vec<Vector> {
    let blobs: [&[u8]; 2] = [b"a chunk", &[7; 300]];
    let (header, sealed, f, tail) = pack_of(Suite::ChaCha20Poly1305, Codec::Raw, &blobs);
    let h = header.encode();

    let mut c = Cases::new("pack-header", &[("domain", DOMAIN.hex()), ("secret", hex(&[0x33; 32]))]);
    c.ok("whole", "ChaCha20-Poly1305, epoch 1", h);
    c.add("cut", "truncated", "half of it", h[..128].to_vec());
    c.add("magic", "magic", "another object", with(&h, 0, b"X"));
    c.add("length", "invalid", "another header length", with(&h, 8, &[0, 6]));
    c.add("suite", "invalid", "an unknown cipher", with(&h, 10, &[3]));
    c.add("wrap", "invalid", "sealed to a public key, which is not in use", with(&h, 11, &[1]));
    c.add("reserved", "invalid", "reserved bytes are not zero", with(&h, 255, &[1]));
    c.add("epoch", "crypto", "another epoch: the commitment does not fit", with(&h, 12, &[2]));
    c.add("salt", "crypto", "another salt", flipped(&h, 40));
    c.add("commitment", "crypto", "another commitment", flipped(&h, 70));
    c.add("other-suite", "crypto", "the cipher is bound into the key", with(&h, 10, &[2]));
    c.add("other-domain", "crypto", "of another domain", h).set("domain", hex(&[0xd1; 16]));
    c.add("other-secret", "crypto", "another secret", h).set("secret", hex(&[0x34; 32]));
    let mut out = c.done();

    let footer = &tail[tail.len() - 64..];
    let len = 1024;
    let mut c = Cases::new("pack-footer", &[("pack-length", len.to_string())]);
    c.ok("whole", "of a pack of 1 KiB", footer);
    c.add("cut", "truncated", "one byte is missing", shorter(footer));
    c.add("magic", "magic", "another object", with(footer, 0, b"X"));
    c.add("trailing", "invalid", "a byte follows", longer(footer));
    c.add("reserved", "invalid", "reserved bytes are not zero", with(footer, 63, &[1]));
    c.add("table-long", "limit", "says 4 GiB of table", with(footer, 16, &[0xff; 4]));
    c.add("offset", "invalid", "the table does not end at the footer", flipped(footer, 8));
    c.add("offset-huge", "invalid", "an offset of 2^64 - 1", with(footer, 8, &[0xff; 8]));
    c.add("other-length", "invalid", "the pack is longer", footer).set("pack-length", "32768");
    c.add("too-long", "limit", "the pack is longer than packs may be", footer).set("pack-length", "1073758208");
    c.add("in-header", "invalid", "the table begins inside the header", {
        let b = with(footer, 8, &255u64.to_le_bytes());
        with(&b, 16, &(len - 64 - 255u32).to_le_bytes())
    });
    c.add("odd", "invalid", "no multiple of 1 KiB", with(footer, 16, &100u32.to_le_bytes()))
        .set("pack-length", (256 + sealed.len() + 100 + 64).to_string());
    out.extend(c.done());

    let table_at = 256 + sealed.len();
    let body = [&h[..], &tail].concat();
    let fields = [
        ("secret", hex(index().expose())),
        ("table-offset", table_at.to_string()),
        ("table-length", (tail.len() - 64).to_string()),
    ];
    let mut c = Cases::new("pack-table", &fields);
    // Sealing any table bytes: what a forger with the secret could do.
    let forge = |plain: &[u8]| {
        let key = orlop::crypto::expand(&index(), &[b"orlop v1 table", &h[..96]]);
        let mut t = plain.to_vec();
        orlop::crypto::Aead::new(Suite::ChaCha20Poly1305, &Secret::new(key)).seal(1, 0, b"orlop v1 table", &mut t, 0);
        [&h[..], &t, &[0; 64]].concat()
    };
    let plain = {
        let mut t = Vec::new();
        t.extend_from_slice(&1u32.to_le_bytes());
        t.extend_from_slice(&2u32.to_le_bytes());
        t.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
        t.extend_from_slice(&f.stored.to_le_bytes());
        t.extend_from_slice(&f.plain.to_le_bytes());
        t.extend_from_slice(&[0, 0, 2, 0]);
        t.extend_from_slice(&[0x1d; 64]);
        t
    };
    c.ok("whole", "one frame of two blobs, padded", body.clone());
    c.ok("bare", "the same without padding", forge(&plain));
    c.add("changed", "crypto", "one bit of the sealed table", flipped(&body, 300));
    c.add("other-secret", "crypto", "another secret", body.clone()).set("secret", hex(&[0x12; 32]));
    c.add("other-header", "crypto", "the header is bound into the key", flipped(&body, 70));
    c.add("other-offset", "invalid", "the frames end elsewhere", body).set("table-offset", (table_at + 1).to_string());
    c.add("kind", "invalid", "an unknown kind", forge(&with(&plain, 8, &[3])));
    c.add("reserved", "invalid", "reserved bytes are not zero", forge(&with(&plain, 9, &[1])));
    c.add("codec", "invalid", "an unknown compression", forge(&with(&plain, 24, &[2])));
    c.add("frames-many", "truncated", "says 4 G frames", forge(&with(&plain, 0, &[0xff; 4])));
    c.add("blobs-many", "truncated", "says 4 G blobs", forge(&with(&plain, 4, &[0xff; 4])));
    c.add("blobs-differ", "invalid", "frames hold fewer blobs than it lists", forge(&with(&plain, 26, &[1])));
    c.add("no-blobs", "invalid", "a frame without blobs", forge(&with(&plain, 26, &[0])));
    c.add("frame-long", "limit", "a frame of 4 GiB", forge(&with(&plain, 20, &[0xff; 4])));
    c.add("frame-short", "invalid", "shorter than its tag", forge(&with(&plain, 16, &[15, 0, 0, 0])));
    c.add("lengths", "invalid", "uncompressed, but with two lengths", forge(&with(&plain, 20, &[1])));
    c.add("padding", "invalid", "the padding is not zero", forge(&[&plain[..], &[0, 0, 1]].concat()));
    c.add("nothing", "truncated", "an empty table", forge(&[]));
    out.extend(c.done());

    for (name, suite, codec) in [("raw", Suite::ChaCha20Poly1305, Codec::Raw), ("zstd", Suite::Aes256Gcm, Codec::Zstd)]
    {
        let (header, sealed, f, _) = pack_of(suite, codec, &blobs);
        let body = [&header.encode()[..], &sealed].concat();
        let fields = [
            ("domain", DOMAIN.hex()),
            ("secret", hex(&[0x33; 32])),
            ("id-secret", hex(&[0x77; 32])),
            ("codec", name.to_string()),
            ("kind", "data".into()),
            ("ordinal", "0".into()),
            ("stored", f.stored.to_string()),
            ("plain", f.plain.to_string()),
            ("blobs", f.blobs.to_string()),
        ];
        let mut c = Cases::new("frame", &fields);
        let named = |case: &str| format!("{name}-{case}");
        c.ok(name, "two blobs; gives their ids", body.clone());
        c.add(&named("changed"), "crypto", "one bit", flipped(&body, 300));
        c.add(&named("tag"), "crypto", "one bit of the tag", flipped(&body, body.len() - 1));
        c.add(&named("position"), "crypto", "another position", body.clone()).set("ordinal", "1");
        c.add(&named("kind"), "crypto", "said to be of a tree pack", body.clone()).set("kind", "tree");
        c.add(&named("blobs"), "crypto", "said to hold one blob", body.clone()).set("blobs", "1");
        c.add(&named("no-blobs"), "invalid", "said to hold none", body.clone()).set("blobs", "0");
        c.add(&named("longer"), "limit", "said to be 16 MiB", body.clone()).set("plain", (16 << 20).to_string());
        let lengths = if codec == Codec::Raw { "invalid" } else { "crypto" };
        c.add(&named("length"), lengths, "said to be one byte longer", body).set("plain", (f.plain + 1).to_string());
        out.extend(c.done());
    }

    let lens = |l: &[u32], rest: usize| -> Vec<u8> {
        let mut b: Vec<u8> = l.iter().flat_map(|n| n.to_le_bytes()).collect();
        b.resize(b.len() + rest, 7);
        b
    };
    let mut c = Cases::new("blob-lengths", &[("blobs", "2".into())]);
    c.ok("two", "5 and 7 bytes", lens(&[5, 7], 12));
    c.add("short", "invalid", "a byte is missing", lens(&[5, 7], 11));
    c.add("long", "invalid", "a byte too many", lens(&[5, 7], 13));
    c.add("prefix", "invalid", "less than two lengths", vec![5, 0, 0, 0, 7]);
    c.add("nothing", "truncated", "nothing", vec![]);
    c.add("huge", "limit", "a blob of 4 GiB", lens(&[5, u32::MAX], 12));
    c.add("overflow", "invalid", "lengths add up beyond 32 bits", lens(&vec![8 << 20; 65_535][..1024], 0))
        .set("blobs", "1024");
    out.extend(c.done());
    out
}

fn segments() -> Vec<Vector> {
    let (header, _, f, _) = pack_of(Suite::ChaCha20Poly1305, Codec::Raw, &[b"a", b"b"]);
    let pack = PackEntry {
        id: PackId([0xab; 32]),
        uploader: [0x5e; 4],
        len: 16_384,
        kind: Kind::Data,
        header,
        frames: vec![f],
    };
    let head = SegmentHead {
        domain: DOMAIN,
        instance: INSTANCE,
        client: CLIENT,
        client_epoch: 1,
        session: SESSION,
        packs: vec![pack.clone()],
        supersedes: vec![SegmentId([0x20; 32])],
        rows_hash: [0; 32],
        ext: vec![],
    };
    let row = |n: u8, ordinal| Row { id: [n; 20], frame: 0, ordinal };
    let rows = vec![row(1, 1), row(2, 0)];
    let signer = signer();
    let secret = index();
    let seal = |head: &SegmentHead, rows: &[Row]| {
        let sealing = segment::Sealing {
            domain: DOMAIN,
            instance: INSTANCE,
            epoch: 1,
            secret: &secret,
            salt: [0xa5; 32],
            signer: &signer,
        };
        Segment { head: head.clone(), rows: rows.to_vec() }.seal(&sealing)
    };
    let fields = [
        ("domain", DOMAIN.hex()),
        ("instance", INSTANCE.hex()),
        ("secret", hex(index().expose())),
        ("key", hex(&signer.public().0)),
    ];
    let mut c = Cases::new("segment", &fields);
    let good = seal(&head, &rows);
    c.ok("two-rows", "one pack, one frame, two blobs", good.clone());
    c.ok("no-rows", "nothing but a promise to supersede", seal(&SegmentHead { packs: vec![], ..head.clone() }, &[]));
    c.add("cut", "truncated", "one byte is missing", shorter(&good));
    c.add("trailing", "invalid", "a byte follows", longer(&good));
    c.add("magic", "magic", "another object", with(&good, 0, b"X"));
    c.add("future", "version", "version 2", with(&good, 8, &[2]));
    c.add("reserved", "invalid", "reserved bytes are not zero", with(&good, 20, &[1]));
    c.add("rows-many", "limit", "says 2^64 - 1 rows", with(&good, 24, &[0xff; 8]));
    c.add("rows-more", "truncated", "says one row more", with(&good, 24, &[3]));
    c.add("head-long", "limit", "says 4 GiB of head", with(&good, 16, &[0xff; 4]));
    c.add("epoch", "crypto", "the epoch is bound into the key", with(&good, 12, &[2]));
    c.add("commitment", "crypto", "another commitment", flipped(&good, 70));
    c.add("head-changed", "crypto", "one bit of the head", flipped(&good, 120));
    c.add("fence-changed", "crypto", "one bit of the fence", flipped(&good, good.len() - 17));
    c.add("rows-changed", "crypto", "one bit of the rows", flipped(&good, good.len() - 36 - 30));
    c.add("other-domain", "crypto", "of another domain", good.clone()).set("domain", hex(&[0xd1; 16]));
    c.add("other-secret", "crypto", "another secret", good.clone()).set("secret", hex(&[0x12; 32]));
    c.add("forged", "crypto", "signed by somebody else", good).set("key", hex(&stranger().0));
    c.add(
        "foreign",
        "invalid",
        "says it is of another domain",
        seal(&SegmentHead { domain: DomainId([1; 16]), ..head.clone() }, &rows),
    );
    c.add(
        "critical",
        "extension",
        "an extension that a reader must know",
        seal(&SegmentHead { ext: critical(), ..head.clone() }, &rows),
    );
    c.add("ordinal", "invalid", "the third blob of two", seal(&head, &[row(1, 1), row(2, 2)]));
    c.add("frame", "invalid", "the second frame of one", seal(&head, &[Row { frame: 1, ..row(1, 0) }]));
    let bad_frame =
        |f: FrameEntry| SegmentHead { packs: vec![PackEntry { frames: vec![f], ..pack.clone() }], ..head.clone() };
    c.add("frame-long", "limit", "a frame of 4 GiB", seal(&bad_frame(FrameEntry { plain: u32::MAX, ..f }), &rows));
    c.add("beyond", "invalid", "a frame beyond the end of its pack", {
        seal(&bad_frame(FrameEntry { plain: 20_000, stored: 20_016, ..f }), &rows)
    });
    c.done()
}

fn file(name: &str, content: Content, size: u64) -> Node {
    Node {
        name: name.as_bytes().to_vec(),
        kind: NodeKind::File { size, content },
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        mtime: TIME,
        ctime: TIME,
        ino: 12,
        ext: vec![],
    }
}

fn pages() -> Vec<Vector> {
    let mut c = Cases::new("page", &[]);
    let a = file("a", Content::Inline(b"hello".to_vec()), 5);
    let id = BlobId([0xb1; 32]);
    let chunk = Extent::Data { id, len: 100, repeat: 2 };
    let hole = Extent::Hole { len: 4096 };
    let long = file("b", Content::Extents { profile: 1, extents: vec![chunk, hole] }, 4296);
    let link = Node { kind: NodeKind::Symlink { target: b"a".to_vec() }, ..file("c", Content::Inline(vec![]), 0) };
    let dir = Page::Dir(vec![a.clone(), long.clone(), link.clone()]);
    let good = dir.encode();
    c.ok("dir", "a file in its node, a file of extents, a link", good.clone());
    let list = Page::List(vec![chunk, hole]).encode();
    c.ok("list", "a chunk twice and a hole", list.clone());
    let child = |n: u8, last: &str| DirChild { id: BlobId([n; 32]), entries: 3, bytes: 9, last: last.into() };
    c.ok("inner", "two pages of a directory", Page::DirInner(1, vec![child(1, "m"), child(2, "z")]).encode());
    c.add("nothing", "truncated", "nothing", vec![]);
    c.add("one-byte", "truncated", "a kind without a level", vec![1]);
    c.add("kind", "invalid", "an unknown kind", with(&good, 0, &[3]));
    c.add("level", "limit", "higher than any tree", with(&good, 1, &[13]));
    c.add("level-wrong", "invalid", "nodes on an inner page", with(&good, 1, &[1]));
    c.add("cut", "invalid", "one byte is missing", shorter(&good));
    c.add("trailing", "invalid", "a byte follows", longer(&good));
    c.add("empty", "invalid", "no entries", vec![1, 0, 0]);
    c.add("count", "invalid", "says 2^32 entries", vec![1, 0, 253, 0, 0, 0, 0, 1, 0, 0, 0]);
    c.add("long-count", "invalid", "a shorter form of the count exists", [&[1, 0, 251, 3, 0], &good[3..]].concat());
    let mut bad = |name: &str, expect: &str, comment: &str, nodes: Vec<Node>| {
        c.add(name, expect, comment, Page::Dir(nodes).encode());
    };
    bad("twice", "invalid", "one name twice", vec![a.clone(), a.clone()]);
    bad("order", "invalid", "names descend", vec![long.clone(), a.clone()]);
    bad("size", "invalid", "content and size differ", vec![file("a", Content::Inline(b"hello".to_vec()), 6)]);
    bad("inline-long", "limit", "513 bytes in a node", vec![file("a", Content::Inline(vec![1; 513]), 513)]);
    let many = [chunk, hole].repeat(9);
    bad(
        "extents-many",
        "limit",
        "18 extents in a node",
        vec![file("a", Content::Extents { profile: 1, extents: many }, 9 * 4296)],
    );
    let max = Extent::Data { id, len: u32::MAX, repeat: 1 };
    bad(
        "chunk-long",
        "limit",
        "a chunk of 4 GiB",
        vec![file("a", Content::Extents { profile: 1, extents: vec![max] }, u32::MAX.into())],
    );
    let huge = vec![Extent::Hole { len: u64::MAX }, chunk];
    bad(
        "overflow",
        "invalid",
        "lengths beyond 64 bits",
        vec![file("a", Content::Extents { profile: 1, extents: huge }, 199)],
    );
    let root = PageRef { id, level: 13, entries: 1, bytes: 1 };
    bad(
        "root-level",
        "limit",
        "a root higher than any tree",
        vec![Node { kind: NodeKind::Dir { root: Some(root) }, ..a.clone() }],
    );
    bad(
        "nanoseconds",
        "invalid",
        "a second of 1,000,000,001 ns",
        vec![Node { mtime: Time { sec: 0, nsec: 1_000_000_000 }, ..a.clone() }],
    );
    bad("critical", "extension", "an extension that a reader must know", vec![Node { ext: critical(), ..a.clone() }]);
    let two = vec![Ext { tag: 4, flags: 0, data: vec![] }, Ext { tag: 1, flags: 0, data: vec![] }];
    bad("ext-order", "invalid", "extensions do not ascend", vec![Node { ext: two, ..a.clone() }]);
    let mut bad = |name: &str, expect: &str, comment: &str, extents: Vec<Extent>| {
        c.add(name, expect, comment, Page::List(extents).encode());
    };
    bad("holes", "invalid", "two holes that are one", vec![hole, hole]);
    bad("repeats", "invalid", "two extents that are one", vec![chunk, chunk]);
    bad("hole-empty", "invalid", "a hole of no length", vec![Extent::Hole { len: 0 }]);
    bad("chunk-empty", "invalid", "a chunk of no length", vec![Extent::Data { id, len: 0, repeat: 1 }]);
    bad("repeat-0", "invalid", "a chunk no times", vec![Extent::Data { id, len: 1, repeat: 0 }]);
    c.add(
        "inner-order",
        "invalid",
        "last names descend",
        Page::DirInner(1, vec![child(1, "z"), child(2, "m")]).encode(),
    );
    c.done()
}

/// A body that says no more than it must.
fn said_little() -> Body {
    Body { hostname: "laptop".into(), paths: vec![b"/home".to_vec()], ..Body::default() }
}

fn body_with_all_fields() -> Body {
    let names = |first: &str, second: &str| vec![(0, first.into()), (1000, second.into())];
    Body {
        hostname: "laptop".into(),
        username: "ann".into(),
        uid: 1000,
        gid: 100,
        paths: vec![b"/etc".to_vec(), b"/home/ann".to_vec()],
        tags: vec!["first".into(), "second".into()],
        label: "before-upgrade".into(),
        description: "the last one before the new disk".into(),
        trigger: Trigger::Schedule("nightly".into()),
        scope: Scope::Partial("photos".into()),
        expires: Some(Time { sec: 1_800_000_000, nsec: 5 }),
        chunking: 3,
        excludes: vec![b"*.tmp".to_vec(), b"/home/ann/cache".to_vec()],
        program: "orlop 1.0.0".into(),
        name_encoding: 1,
        root_style: 1,
        users: names("root", "ann"),
        groups: names("wheel", "users"),
        stats: Stats {
            files_new: 1,
            files_changed: 250,
            files_unmodified: 251,
            dirs_new: 4,
            dirs_changed: 5,
            dirs_unmodified: 65_536,
            data_blobs: 7,
            tree_blobs: 8,
            data_added: 1 << 32,
            data_added_packed: 10,
            files_processed: 11,
            bytes_processed: 1 << 40,
            problems: 13,
        },
        ext: vec![Ext { tag: 998, flags: 0, data: b"to people".to_vec() }],
    }
}

/// The same run, of which everything is told that a statement has room for.
fn with_all_fields(s: Statement) -> Statement {
    Statement {
        utc_offset: -12_600,
        ended: Time { sec: TIME.sec + 90, nsec: 0 },
        flags: Statement::INCOMPLETE | Statement::HAS_PROBLEMS | Statement::RECOVERED | Statement::FOREIGN,
        parent: Some(RecordId([0x9a; 32])),
        replaces: Some(RecordId([0x4e; 32])),
        origin: Some(b"what another domain's statement says".to_vec()),
        heads: vec![Head { client: ClientId([0xc2; 16]), seq: 300, id: RecordId([0x1d; 32]) }],
        ext: vec![Ext { tag: 998, flags: 0, data: b"to collectors".to_vec() }],
        ..s
    }
}

fn with_body(s: Statement, body: &Body) -> Statement {
    let (idx, record) = (index(), Secret::new([0x22; 32]));
    let secrets = Secrets { epoch: 1, index: &idx, record: &record };
    Statement { body: snapshot::seal_body(body, DOMAIN, CLIENT, 7, &secrets, [0xa7; 32]), ..s }
}

fn statement_and_commit() -> (Statement, Commit) {
    let statement = Statement {
        domain: DOMAIN,
        client: CLIENT,
        seq: 7,
        prev: RecordId([0x9e; 32]),
        client_epoch: 1,
        root: Some(PageRef { id: BlobId([0xb1; 32]), level: 0, entries: 1, bytes: 5 }),
        time: TIME,
        utc_offset: 3600,
        started: TIME,
        ended: TIME,
        machine: [0x3a; 8],
        config: RecordId([0xcf; 32]),
        flags: 0,
        parent: None,
        replaces: None,
        origin: None,
        heads: vec![],
        body: vec![],
        ext: vec![],
    };
    let statement = with_body(statement, &said_little());
    let commit = Commit {
        instance: INSTANCE,
        session: SESSION,
        seen_gen: 3,
        statement: RecordId::ZERO,
        committer: CLIENT,
        committer_epoch: 1,
        received_from: None,
        received_at: None,
        ext: vec![],
    };
    (statement, commit)
}

fn seal_snapshot(s: &Statement, commit: &Commit, statement_id: Option<RecordId>) -> Vec<u8> {
    let (record, idx) = (Secret::new([0x22; 32]), index());
    let secrets = Secrets { epoch: 1, index: &idx, record: &record };
    let (bytes, id) = snapshot::seal_statement(s, &secrets, [0xa5; 32], &signer());
    let commit = Commit { statement: statement_id.unwrap_or(id), ..commit.clone() };
    let admin = SigningKey::from_seed(&Secret::new([0x56; 32]));
    snapshot::seal_object(&bytes, &commit, &names::snapshot(s.client, 7), DOMAIN, &secrets, [0xa6; 32], &admin)
}

fn snapshot_object() -> Vec<u8> {
    let (s, c) = statement_and_commit();
    seal_snapshot(&s, &c, None)
}

fn snapshots() -> Vec<Vector> {
    let mut fields = record_fields(&names::snapshot(CLIENT, 7));
    fields.push(("record-secret", hex(&[0x22; 32])));
    fields.push(("commit-key", hex(&SigningKey::from_seed(&Secret::new([0x56; 32])).public().0)));
    let mut c = Cases::new("snapshot", &fields);
    let (s, m) = statement_and_commit();
    let good = snapshot_object();
    c.ok("whole", "statement by a client, commit by another", good.clone());
    let (all, everything) = (with_all_fields(s.clone()), body_with_all_fields());
    c.ok("all-fields", "every field says something", seal_snapshot(&with_body(all, &everything), &m, None));
    let foreign = || vec![Ext { tag: 998, flags: Ext::CRITICAL_WRITE, data: b"from the future".to_vec() }];
    let extended = with_body(Statement { ext: foreign(), ..s.clone() }, &Body { ext: foreign(), ..said_little() });
    c.ok("extended", "extensions that only a writer must know", seal_snapshot(&extended, &m, None));
    let critical_body = with_body(s.clone(), &Body { ext: critical(), ..said_little() });
    c.add("body-critical", "extension", "an extension of the body", seal_snapshot(&critical_body, &m, None));
    c.add("nothing", "truncated", "nothing", vec![]);
    c.add("cut", "truncated", "one byte is missing", shorter(&good));
    c.add("trailing", "invalid", "a byte follows", longer(&good));
    c.add("length", "limit", "says 4 GiB of statement", with(&good, 0, &[0xff; 4]));
    c.add("length-short", "truncated", "the statement is cut into the commit", with(&good, 0, &[good[0] - 1]));
    c.add("statement-changed", "crypto", "one bit of the statement", flipped(&good, 150));
    c.add("commit-changed", "crypto", "one bit of the commit", flipped(&good, good.len() - 1));
    c.add("later", "crypto", "stands in another place of the chain", good.clone())
        .set("name", names::snapshot(CLIENT, 8));
    c.add("no-place", "invalid", "stands under no snapshot's name", good.clone()).set("name", "snapshots/7");
    c.add("mirror", "crypto", "the commit is of a mirror", good.clone()).set("instance", hex(&[0x1d; 16]));
    c.add("other-domain", "crypto", "of another domain", good.clone()).set("domain", hex(&[0xd1; 16]));
    c.add("forged", "crypto", "the statement is signed by somebody else", good.clone()).set("key", hex(&stranger().0));
    c.add("commit-forged", "crypto", "the commit is signed by somebody else", good.clone())
        .set("commit-key", hex(&stranger().0));
    c.add("body-secret", "crypto", "the body is not for this key", good).set("record-secret", hex(&[0x23; 32]));
    c.add("other-statement", "invalid", "commits another statement", seal_snapshot(&s, &m, Some(RecordId([1; 32]))));
    c.add(
        "statement-critical",
        "extension",
        "an extension of the statement",
        seal_snapshot(&Statement { ext: critical(), ..s.clone() }, &m, None),
    );
    c.add(
        "commit-critical",
        "extension",
        "an extension of the commit",
        seal_snapshot(&s, &Commit { ext: critical(), ..m.clone() }, None),
    );
    c.add("says-other-domain", "invalid", "says it is of another domain", {
        let (record, idx) = (Secret::new([0x22; 32]), index());
        let secrets = Secrets { epoch: 1, index: &idx, record: &record };
        let s = Statement { domain: DomainId([1; 16]), ..s.clone() };
        let place = names::statement_place(CLIENT, 7);
        let sealing = record::Sealing {
            kind: RecordType::Statement,
            place: Place { domain: DOMAIN, instance: InstanceId::ZERO, name: &place },
            epoch: 1,
            secret: &idx,
            salt: [0xa5; 32],
            signer: Some(&signer()),
            clear: &[],
        };
        let (bytes, id) = sealing.seal(&encode(&s));
        let m = Commit { statement: id, ..m };
        let admin = SigningKey::from_seed(&Secret::new([0x56; 32]));
        snapshot::seal_object(&bytes, &m, &names::snapshot(CLIENT, 7), DOMAIN, &secrets, [0xa6; 32], &admin)
    });
    c.done()
}

fn origins() -> Vec<Vector> {
    let mut c = Cases::new("origin", &[("key", hex(&signer().public().0))]);
    let at = snapshot::Found { domain: DOMAIN, instance: INSTANCE, name: &names::snapshot(CLIENT, 7) };
    let opened = snapshot::open_object(&snapshot_object(), at, &|_| Some(index())).unwrap();
    let good = opened.origin();
    let signature = good.len() - 64;
    c.ok("whole", "a statement and its signature, without any seal", good.clone());
    c.add("nothing", "truncated", "nothing", vec![]);
    c.add("cut", "invalid", "the last byte is missing, so that the signature begins too early", shorter(&good));
    c.add("trailing", "invalid", "a byte follows", longer(&good));
    c.add("changed", "crypto", "the statement says another domain", flipped(&good, 0));
    c.add("signature", "crypto", "one bit of the signature", flipped(&good, signature));
    c.add("forged", "crypto", "it is signed by somebody else", good).set("key", hex(&stranger().0));
    c.done()
}

fn parities() -> Vec<Vector> {
    let len = 16 << 10;
    let mut c = Cases::new("parity", &[("pack-from", "a pack".into()), ("pack-length", len.to_string())]);
    let pack = run::stream("a pack", len);
    let good = parity::encode(&pack, parity::Geometry::of(len as u64, 64)).unwrap();
    let end = good.len();
    let both = |at: usize, bytes: &[u8]| {
        let b = with(&good, at, bytes);
        with(&b, end - 64 + at, bytes)
    };
    c.ok("whole", "nothing is damaged", good.clone());
    c.ok("four-lost", "as many shards as there is parity for", good.clone()).set("damage", "0,1024,5000,16383");
    c.add("five-lost", "invalid", "one too many", good.clone()).set("damage", "0,1024,2048,5000,16383");
    c.add("cut", "magic", "the last byte is missing, and the front header too", with(&shorter(&good), 0, b"X"));
    c.add("short", "truncated", "only its first half", good[..end / 2].to_vec());
    c.add("nothing", "truncated", "nothing", vec![]);
    c.add("magic", "magic", "another object", both(0, b"X"));
    c.add("future", "version", "version 2", both(8, &[2]));
    c.add("reserved", "invalid", "reserved bytes are not zero", both(10, &[1]));
    c.add("shard", "invalid", "shards do not make up the pack", both(12, &[64, 0]));
    c.add("data-many", "limit", "says 4 G data shards", both(16, &[0xff; 4]));
    c.add("parity-many", "limit", "says 4 G parity shards", both(20, &[0xff; 4]));
    c.add("no-parity", "invalid", "no parity at all", both(20, &[0; 4]));
    c.add("pack-long", "limit", "of a pack of 2^64 - 1 bytes", both(24, &[0xff; 8]));
    c.add("other-pack", "invalid", "of another pack", both(32, &[0]));
    c.add("spoiled", "invalid", "a parity shard is lost with four data shards", flipped(&good, 300))
        .set("damage", "0,1024,5000,16383");
    c.done()
}

fn known_answers() -> Vec<Vector> {
    let secrets = [("id-secret", hex(&[0x77; 32])), ("chunk-secret", hex(&[0x88; 32]))];
    let mut c = Cases::new("derive", &secrets);
    c.ok("chunk-id", "the name of a chunk", b"a chunk".to_vec()).set("of", "chunk-id");
    c.ok("page-id", "the name of a page with the same bytes", b"a chunk".to_vec()).set("of", "page-id");
    let v = c.ok("page-cut", "decides whether a page ends after this name", b"name".to_vec());
    v.set("of", "page-cut");
    v.set("kind", "1");
    v.set("level", "0");
    c.ok("gear", "the chunker's table", vec![]).set("of", "gear");
    let v = c.ok("client-seed", "a client's signing seed", vec![]);
    v.set("of", "client-seed");
    v.set("secret", hex(&[0x66; 32]));
    v.set("domain", DOMAIN.hex());
    v.set("client", CLIENT.hex());
    let v = c.ok("password", "Argon2id", b"correct horse".to_vec());
    for (k, n) in [("of", "password"), ("m", "64"), ("t", "1"), ("p", "1")] {
        v.set(k, n);
    }
    v.set("salt", hex(&[0xa5; 32]));
    let mut out = c.done();

    let mut c = Cases::new("cuts", &secrets);
    for (name, source, len) in
        [("default", "a source", 600_000), ("volume", "a source", 200_001), ("media", "a source", 4_000_000)]
    {
        let v = c.ok(name, "lengths of the chunks", vec![]);
        v.set("profile", name);
        v.set("source", source);
        v.set("length", len.to_string());
    }
    let v = c.ok("zeros", "nothing to cut at: the longest, then the rest", vec![]);
    v.set("profile", "default");
    v.set("source", "zeros");
    v.set("length", "600001");
    out.extend(c.done());

    let mut c = Cases::new("tree", &secrets);
    for n in [1, 31, 32, 500, 5000] {
        let v = c.ok(&format!("{n:04}"), "a directory of so many files: level and entries of each page", vec![]);
        v.set("entries", n.to_string());
    }
    out.extend(c.done());

    let mut c = Cases::new("words", &[]);
    c.ok("recovery", "32 bytes as 24 words", (0..32).collect::<Vec<u8>>());
    out.extend(c.done());
    out
}
