//! A small repository in a folder, made with nothing but `orlop::format`: what the independent
//! reader is tried on before, and beside, repositories that backups write.

use std::cell::RefCell;
use std::convert::Infallible;
use std::path::{Path, PathBuf};

use orlop::crypto::{Argon2Params, BlobKeys, Secret, SigningKey, Suite, TAG_LEN};
use orlop::format::codec::encode;
use orlop::format::keys::{Credential, Kdf, Role, SlotHeader, SlotSecret};
use orlop::format::pack::{Codec, FrameEntry, Header, Kind, Table};
use orlop::format::page::Builder;
use orlop::format::record::{Place, RecordType, Sealing};
use orlop::format::segment::{Head as SegmentHead, PackEntry, Row, Segment};
use orlop::format::snapshot::{self, Secrets};
use orlop::format::{armour, gc, names, parity, segment};
use orlop::id::{BlobId, InstanceId, PackId, RecordId, SegmentId, SlotId};
use orlop::model::{
    Body, Commit, Content, Ext, Extent, Node, NodeKind, PageRef, Statement, Time, Xattr, XattrValue, ext_tag,
};

use crate::cases::{CLIENT, DOMAIN, INSTANCE, SESSION, client, close, config, index, keyring, session_open, signer};
use crate::run::stream;

pub const PASSWORD: &str = "correct horse";
pub const RAW: [u8; 32] = [0x2a; 32];

/// Blobs of one kind on their way into one pack.
struct Open {
    kind: Kind,
    suite: Suite,
    blobs: Vec<(BlobId, Vec<u8>)>,
}

pub struct Mini {
    pub dir: PathBuf,
    keys: BlobKeys,
    data: RefCell<Open>,
    tree: RefCell<Open>,
}

impl Mini {
    fn put(&self, name: &str, bytes: &[u8]) {
        orlop::storage::Name::new(name).unwrap();
        let path = self.dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    fn put_small(&self, name: &str, bytes: &[u8]) {
        self.put(name, &armour::wrap(bytes));
    }
    fn put_record(&self, kind: RecordType, name: &str, payload: &[u8]) {
        let sealing = Sealing {
            kind,
            place: Place { domain: DOMAIN, instance: INSTANCE, name },
            epoch: 1,
            secret: &index(),
            salt: *blake3::hash(name.as_bytes()).as_bytes(),
            signer: Some(&signer()),
            clear: &crate::cases::clear_of(kind),
        };
        self.put_small(name, &sealing.seal(payload).0);
    }

    /// Keep a chunk.
    pub fn chunk(&self, bytes: &[u8]) -> BlobId {
        let id = self.keys.chunk_id(bytes);
        self.data.borrow_mut().blobs.push((id, bytes.to_vec()));
        id
    }
    fn page(&self, bytes: Vec<u8>) -> Result<BlobId, Infallible> {
        let id = self.keys.page_id(&bytes);
        self.tree.borrow_mut().blobs.push((id, bytes));
        Ok(id)
    }
    /// Keep a directory.
    pub fn dir(&self, nodes: &[Node]) -> Option<PageRef> {
        let mut b = Builder::dir(&self.keys);
        for n in nodes {
            b.node(n, &mut |p| self.page(p)).unwrap();
        }
        b.finish(&mut |p| self.page(p)).unwrap()
    }
    /// Keep a content list.
    pub fn list(&self, extents: &[Extent]) -> PageRef {
        let mut b = Builder::list(&self.keys);
        for e in extents {
            b.extent(e, &mut |p| self.page(p)).unwrap();
        }
        b.finish(&mut |p| self.page(p)).unwrap().unwrap()
    }

    /// Write the pack of one kind; gives its entry and the ids of each frame.
    fn pack(&self, open: &RefCell<Open>, secret: &Secret) -> (PackEntry, Vec<Vec<BlobId>>) {
        let open = open.borrow();
        let (header, key) = Header::create(open.suite, 1, SESSION, [open.kind as u8; 32], DOMAIN, secret);
        let mut bytes = header.encode().to_vec();
        let (mut frames, mut ids) = (Vec::new(), Vec::new());
        for (i, blobs) in open.blobs.chunks(7).enumerate() {
            let mut plain: Vec<u8> = blobs.iter().flat_map(|(_, b)| (b.len() as u32).to_le_bytes()).collect();
            blobs.iter().for_each(|(_, b)| plain.extend_from_slice(b));
            let codec = if i % 2 == 0 { Codec::Zstd } else { Codec::Raw };
            let mut buffer = match codec {
                Codec::Zstd => zstd::bulk::compress(&plain, 3).unwrap(),
                Codec::Raw => plain.clone(),
            };
            let entry = FrameEntry {
                stored: (buffer.len() + TAG_LEN) as u32,
                plain: plain.len() as u32,
                codec,
                blobs: blobs.len() as u16,
            };
            key.seal(i as u64, open.kind, &entry, &mut buffer);
            bytes.extend_from_slice(&buffer);
            frames.push(entry);
            ids.push(blobs.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        }
        let table = Table { kind: open.kind, frames: frames.clone(), ids: ids.concat() };
        bytes.extend_from_slice(&table.seal(&header, &index(), bytes.len() as u64));
        let id = PackId(*blake3::hash(&bytes).as_bytes());
        let uploader = [SESSION.0[0]; 4];
        self.put(&names::pack(id, uploader), &bytes);
        let sidecar = parity::encode(&bytes, parity::Geometry::of(bytes.len() as u64, 64)).unwrap();
        self.put(&names::parity(id, [0; 4]), &sidecar);
        let len = bytes.len() as u64;
        (PackEntry { id, uploader, len, kind: open.kind, header, frames }, ids)
    }

    fn segment(&self, packs: Vec<(PackEntry, Vec<Vec<BlobId>>)>) {
        let (mut rows, mut entries, mut frame) = (Vec::new(), Vec::new(), 0);
        for (entry, ids) in packs {
            for blobs in ids {
                for (ordinal, id) in blobs.iter().enumerate() {
                    let short = std::array::from_fn(|i| id.0[i]);
                    rows.push(Row { id: short, frame, ordinal: ordinal as u16 });
                }
                frame += 1;
            }
            entries.push(entry);
        }
        rows.sort();
        let head = SegmentHead {
            domain: DOMAIN,
            instance: INSTANCE,
            client: CLIENT,
            client_epoch: 1,
            session: SESSION,
            packs: entries,
            supersedes: vec![],
            rows_hash: [0; 32],
            ext: vec![],
        };
        let signer = signer();
        let secret = index();
        let with = segment::Sealing {
            domain: DOMAIN,
            instance: INSTANCE,
            epoch: 1,
            secret: &secret,
            salt: [9; 32],
            signer: &signer,
        };
        let bytes = Segment { head, rows }.seal(&with);
        self.put(&names::segment(SegmentId(*blake3::hash(&bytes).as_bytes())), &bytes);
    }

    fn slot(&self, id: u8, kdf: Kdf, credential: &Credential) {
        let (ring, id) = (keyring(), SlotId([id; 16]));
        let header = SlotHeader { kdf, role: Role::Owner, id, domain: DOMAIN, instance: INSTANCE, salt: [id.0[0]; 32] };
        let seed = Secret::new([id.0[0] ^ 0xff; 32]);
        let secret = SlotSecret {
            seed: seed.clone(),
            label: "test".into(),
            username: "ann".into(),
            hostname: "laptop".into(),
            created: Time::default(),
            ext: vec![],
        };
        let bytes = header.seal(credential, &secret, &ring.owner.as_ref().unwrap().escrow, [8; 32]).unwrap();
        self.put_small(&names::slot(id), &bytes);
        self.put_small(&names::copy_of(&names::slot(id)), &bytes);
        self.put_small(&names::keyring(id, 1), &ring.seal(id, 1, &seed, [7; 32], &signer()));
    }

    fn snapshot(&self, root: Option<PageRef>) -> RecordId {
        let (idx, record) = (index(), Secret::new([0x22; 32]));
        let with = Secrets { epoch: 1, index: &idx, record: &record };
        let body = Body {
            hostname: "laptop".into(),
            paths: vec![b"/home/ann".to_vec()],
            tags: vec!["nightly".into()],
            ..Body::default()
        };
        let statement = Statement {
            domain: DOMAIN,
            client: CLIENT,
            seq: 1,
            prev: RecordId::ZERO,
            client_epoch: 1,
            root,
            time: Time { sec: 1_700_000_000, nsec: 5 },
            utc_offset: -3600,
            started: Time::default(),
            ended: Time::default(),
            machine: [1; 8],
            config: RecordId::ZERO,
            flags: 0,
            parent: None,
            replaces: None,
            origin: None,
            heads: vec![],
            body: snapshot::seal_body(&body, DOMAIN, CLIENT, 1, &with, [6; 32]),
            ext: vec![],
        };
        let (bytes, id) = snapshot::seal_statement(&statement, &with, [5; 32], &signer());
        let commit = Commit {
            instance: INSTANCE,
            session: SESSION,
            seen_gen: 0,
            statement: id,
            committer: CLIENT,
            committer_epoch: 1,
            received_from: None,
            received_at: None,
            ext: vec![],
        };
        let name = names::snapshot(CLIENT, 1);
        let object = snapshot::seal_object(&bytes, &commit, &name, DOMAIN, &with, [4; 32], &signer());
        self.put_small(&name, &object);
        id
    }

    /// A repository whose one snapshot has this tree.
    pub fn make(dir: &Path, tree: impl Fn(&Self) -> Option<PageRef>) -> Self {
        let ring = keyring();
        let open = |kind, suite| RefCell::new(Open { kind, suite, blobs: vec![] });
        let mini = Self {
            dir: dir.to_path_buf(),
            keys: BlobKeys::new(&ring.id_secret, &ring.chunk_secret),
            data: open(Kind::Data, Suite::Aes256Gcm),
            tree: open(Kind::Tree, Suite::ChaCha20Poly1305),
        };
        let params = Argon2Params { m_kib: 1024, t: 1, p: 2 };
        mini.slot(1, Kdf::Argon2id(params), &Credential::Password(PASSWORD.as_bytes().to_vec().into()));
        mini.slot(2, Kdf::Raw, &Credential::Raw(Secret::new(RAW)));
        mini.put_record(RecordType::Config, &names::config(1), &encode(&config()));
        mini.put_record(RecordType::Client, &names::client(CLIENT, 1), &encode(&client()));
        mini.put_record(RecordType::SessionOpen, &names::session(SESSION, 0), &encode(&session_open()));
        let root = tree(&mini);
        let epoch = &ring.epochs[0];
        let data = mini.pack(&mini.data, epoch.data.as_ref().unwrap());
        let tree = mini.pack(&mini.tree, epoch.tree.as_ref().unwrap());
        mini.segment(vec![data, tree]);
        let id = mini.snapshot(root);
        let close = orlop::format::records::Close { snapshots: vec![id], ..close() };
        mini.put_record(RecordType::Close, &names::session_close(SESSION), &encode(&close));
        mini.gc();
        mini
    }

    /// A log of one record, so that a reader has something to read there.
    fn gc(&self) {
        let clear = gc::GcClear { generation: 1, ..gc::GcClear::new(gc::GcKind::Plan, Time::default()) };
        let gc = gc::Gc { author: CLIENT, author_epoch: 1, session: SESSION, nonce: [1; 16], ..gc::Gc::default() };
        let (signer, secret): (SigningKey, Secret) = (signer(), index());
        let instance: InstanceId = INSTANCE;
        let with = gc::Sealing { domain: DOMAIN, instance, epoch: 1, secret: &secret, salt: [3; 32], signer: &signer };
        let (bytes, name, _) = gc::seal(&gc, &clear, &with);
        self.put_small(&name, &bytes);
    }
}

pub fn node(name: impl AsRef<[u8]>, kind: NodeKind, mode: u32) -> Node {
    // Whoever runs this, so that restoring asks for no rights.
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    Node {
        name: name.as_ref().to_vec(),
        kind,
        mode,
        uid,
        gid,
        mtime: Time { sec: 1_600_000_000, nsec: 123_456_789 },
        ctime: Time::default(),
        ino: 0,
        ext: vec![],
    }
}

/// A tree with one of everything; what must come back is in `reader`.
pub fn one_of_everything(m: &Mini) -> Option<PageRef> {
    let inline = |name: &str, text: &str| {
        let content = Content::Inline(text.as_bytes().to_vec());
        node(name, NodeKind::File { size: text.len() as u64, content }, 0o644)
    };
    let chunk = |i: usize| {
        let bytes = stream(&format!("chunk {i}"), 3000 + i);
        let len = bytes.len() as u32;
        Extent::Data { id: m.chunk(&bytes), len, repeat: 1 }
    };
    let file = |name: &[u8], extents: Vec<Extent>, paged: bool| {
        let size = extents.iter().map(Extent::bytes).sum();
        let content = if paged {
            Content::Pages { profile: 1, root: m.list(&extents) }
        } else {
            Content::Extents { profile: 1, extents }
        };
        node(name, NodeKind::File { size, content }, 0o600)
    };
    let Extent::Data { id, len, .. } = chunk(500) else { unreachable!() };
    let sparse =
        vec![chunk(501), Extent::Hole { len: 1 << 20 }, Extent::Data { id, len, repeat: 3 }, Extent::Hole { len: 77 }];

    let many: Vec<Node> = (0..3000).map(|i| inline(&format!("{i:05}"), &format!("file {i}"))).collect();
    let mut linked = file(b"linked-1", vec![chunk(600)], false);
    linked.set_ext(ext_tag::LINK, vec![7; 16]);
    let linked_too = Node { name: b"linked-2".to_vec(), ..linked.clone() };
    let mut attributed = inline("attributed", "x");
    let long = stream("a long attribute", 2000);
    let xattrs = vec![
        Xattr { name: b"user.a".to_vec(), value: XattrValue::Inline(b"short".to_vec()) },
        Xattr { name: b"user.b".to_vec(), value: XattrValue::Chunk { id: m.chunk(&long), len: 2000 } },
    ];
    attributed.set_ext(ext_tag::XATTRS, encode(&xattrs));
    attributed.ext.push(Ext { tag: 999, flags: 0, data: b"from the future".to_vec() });
    let old = Node { mtime: Time { sec: -5, nsec: 250_000_000 }, mode: 0o4711, ..inline("old", "before 1970") };

    let mut home = vec![
        attributed,
        node("empty-dir", NodeKind::Dir { root: None }, 0o500),
        file(b"extents", vec![chunk(1), chunk(2)], false),
        node("fifo", NodeKind::Fifo, 0o640),
        linked,
        linked_too,
        node("many", NodeKind::Dir { root: m.dir(&many) }, 0o750),
        old,
        file(b"paged", (0..300).map(chunk).collect(), true),
        file(b"sparse", sparse, false),
        node("symlink", NodeKind::Symlink { target: b"../nowhere".to_vec() }, 0o777),
        file(b"\xff\xfe not text", vec![chunk(3)], false),
        inline("..", "an attack"),
        inline("a/b", "another"),
    ];
    home.sort_by(|a, b| a.name.cmp(&b.name));
    let ann = node("ann", NodeKind::Dir { root: m.dir(&home) }, 0o700);
    m.dir(&[node("home", NodeKind::Dir { root: m.dir(&[ann]) }, 0o755)])
}
