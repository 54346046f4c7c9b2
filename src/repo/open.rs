//! Making a repository, and unlocking one.

use std::sync::{Arc, Mutex};

use super::{Repository, objects};
use crate::chunk::Gear;
use crate::crypto::{Aead, Argon2Params, BlobKeys, PublicKey, Secret, SigningKey, Suite};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::format::codec::{check_ext, check_known_to_writer, decode, encode};
use crate::format::keys::{Credential, Epoch, Kdf, Keyring, Owner, Role, Slot, SlotHeader, SlotSecret};
use crate::format::names::{self, prefix};
use crate::format::record::{self, Place, RecordType, Sealing};
use crate::format::records::{Config, Profile};
use crate::format::{bytes, limits};
use crate::id::{DomainId, InstanceId, RecordId, SlotId};
use crate::storage::{Guarded, Put, Storage, Viewed};
use crate::sys::{self, Host};

/// The chunking profiles of a new repository: default, volume, media.
const PROFILES: [Profile; 3] = [
    Profile { id: 1, chunker: 1, min: 16 << 10, avg: 64 << 10, max: 256 << 10, frame: 1 << 20 },
    Profile { id: 2, chunker: 1, min: 4 << 10, avg: 16 << 10, max: 64 << 10, frame: 128 << 10 },
    Profile { id: 3, chunker: 1, min: 128 << 10, avg: 512 << 10, max: 2 << 20, frame: 512 << 10 },
];
/// Features that this build knows.
const KNOWN_FEATURES: &[u16] = &[];

/// How long what is forgotten can be brought back, unless somebody says otherwise: seven days.
pub const UNDELETE_WINDOW: u64 = 7 * 24 * 3600;

/// How to make a repository.
pub struct InitOptions<'a> {
    /// What opens it.
    pub credential: Credential,
    /// Whether to make a slot that recovery words open.
    pub recovery: bool,
    /// zstd level.
    pub compression: i32,
    /// Use this cipher instead of the one that is faster here.
    pub suite: Option<Suite>,
    /// How long what is forgotten can be brought back, in seconds.
    pub undelete_window: u64,
    /// Share domain (ids, cut points, pack keys) with this one: a mirror.
    pub mirror_of: Option<&'a Repository>,
    /// Share only how files are cut with this one.
    pub cut_like: Option<&'a Repository>,
}

/// A repository that was made.
pub struct Initialized {
    /// Its instance id.
    pub instance: InstanceId,
    /// What the recovery words stand for.
    pub recovery: Option<Secret>,
}

/// What is written into a slot for people.
#[derive(Debug, Clone, Default)]
pub struct SlotNote {
    /// What it is: "recovery".
    pub label: String,
    /// Who made it; who runs this process if `None`.
    pub username: Option<String>,
    /// Where; on this machine if `None`.
    pub hostname: Option<String>,
}

impl SlotNote {
    /// With this label.
    pub fn labelled(label: &str) -> Self {
        Self { label: label.to_owned(), ..Self::default() }
    }
}

/// A slot, for people.
#[derive(Debug, Clone)]
pub struct SlotInfo {
    /// Its id.
    pub id: SlotId,
    /// What it is for.
    pub role: Role,
    /// How it is opened.
    pub kdf: Kdf,
    /// What its owner wrote in it; `None` if this key may not know.
    pub secret: Option<SlotSecret>,
    /// Whether the repository was opened with it.
    pub current: bool,
}

/// The faster cipher on this machine, measured for a few milliseconds.
fn faster_suite() -> Suite {
    let time = |suite| {
        let aead = Aead::new(suite, &Secret::new([0; 32]));
        let begin = std::time::Instant::now();
        let mut buffer = vec![0; 1 << 20];
        for n in 0..4 {
            buffer.truncate(1 << 20);
            aead.seal(0, n, b"", &mut buffer, 0);
        }
        begin.elapsed()
    };
    if time(Suite::Aes256Gcm) <= time(Suite::ChaCha20Poly1305) { Suite::Aes256Gcm } else { Suite::ChaCha20Poly1305 }
}

fn new_secret() -> Result<Secret> {
    Ok(Secret::new(sys::random()?))
}

fn new_keyring(options: &InitOptions<'_>) -> Result<Keyring> {
    let admin_seed = new_secret()?;
    let ring = |domain, id_secret, chunk_secret, epochs| -> Result<Keyring> {
        Ok(Keyring {
            role: Role::Owner,
            domain,
            instance: InstanceId(sys::random()?),
            id_secret,
            chunk_secret,
            epochs,
            admin: SigningKey::from_seed(&admin_seed).public(),
            client: None,
            owner: Some(Owner {
                admin_seed: admin_seed.clone(),
                client_roots: vec![(1, new_secret()?)],
                escrow: new_secret()?,
            }),
            ext: vec![],
        })
    };
    if let Some(like) = options.mirror_of {
        let like = &like.keyring;
        let owner = like
            .owner
            .clone()
            .ok_or_else(|| Error::new(ErrorKind::Forbidden, "only the owner's key can make a mirror"))?;
        let mut mirror = ring(like.domain, like.id_secret.clone(), like.chunk_secret.clone(), like.epochs.clone())?;
        mirror.admin = like.admin;
        mirror.owner = Some(Owner { escrow: new_secret()?, ..owner });
        return Ok(mirror);
    }
    let some = || new_secret().map(Some);
    let epoch = Epoch { n: 1, data: some()?, tree: some()?, index: some()?, record: some()? };
    let chunk_secret = options.cut_like.map_or_else(new_secret, |like| Ok(like.keyring.chunk_secret.clone()))?;
    ring(DomainId(sys::random()?), new_secret()?, chunk_secret, vec![epoch])
}

/// Whether there is a repository, ours or another program's.
pub fn exists(storage: &dyn Storage) -> Result<bool> {
    // Keys first: where another program has a file of the name `config`, there is nothing to list.
    Ok(!storage.list(prefix::KEYS)?.is_empty() || !storage.list(prefix::CONFIG)?.is_empty())
}

/// Make a repository in an empty storage.
pub fn init(storage: &Arc<dyn Storage>, options: &InitOptions<'_>) -> Result<Initialized> {
    if exists(storage.as_ref())? {
        let what = format!("there is a repository in {} already", storage.place());
        return Err(Error::new(ErrorKind::Exists, what).hint("choose another place, or back up into this one"));
    }
    let ring = new_keyring(options)?;
    write_slot(storage.as_ref(), &ring, &ring, &options.credential, &SlotNote::default())?;
    let recovery = if options.recovery { Some(new_secret()?) } else { None };
    if let Some(words) = &recovery {
        write_slot(storage.as_ref(), &ring, &ring, &Credential::Raw(words.clone()), &SlotNote::labelled("recovery"))?;
    }
    let like = options.mirror_of.or(options.cut_like);
    let config = Config {
        n: 1,
        prev: RecordId::ZERO,
        domain: ring.domain,
        instance: ring.instance,
        created: sys::now(),
        read_features: vec![],
        write_features: vec![],
        suite: options.suite.unwrap_or_else(faster_suite) as u8,
        suites: vec![Suite::ChaCha20Poly1305 as u8, Suite::Aes256Gcm as u8],
        profiles: like.map_or_else(|| PROFILES.to_vec(), |l| l.config.profiles.clone()),
        compression: options.compression,
        parity: 0,
        undelete_window: options.undelete_window,
        admin: ring.admin,
        ext: vec![],
    };
    write_config(storage.as_ref(), &ring, &config)?;
    Ok(Initialized { instance: ring.instance, recovery })
}

/// Write a slot for `ring`; `owner` is the keyring of whoever makes it.
pub(super) fn write_slot(
    storage: &dyn Storage,
    owner: &Keyring,
    ring: &Keyring,
    credential: &Credential,
    note: &SlotNote,
) -> Result<SlotId> {
    let rights =
        owner.owner.as_ref().ok_or_else(|| Error::new(ErrorKind::Forbidden, "only the owner's key can make slots"))?;
    check_known_to_writer(RecordType::Keyring.what(), &ring.ext, &[])?;
    let id = SlotId(sys::random()?);
    let seed = new_secret()?;
    let content = seal_slot(ring, id, credential, &seed, note, &rights.escrow)?;
    let admin = SigningKey::from_seed(&rights.admin_seed);
    let keyring = ring.seal(id, 1, &seed, sys::salt()?, &admin);
    objects::put_twice(storage, &names::keyring(id, 1), &keyring)?;
    objects::put_twice(storage, &names::slot(id), &content)?;
    Ok(id)
}

fn seal_slot(
    ring: &Keyring,
    id: SlotId,
    credential: &Credential,
    seed: &Secret,
    note: &SlotNote,
    escrow: &Secret,
) -> Result<Vec<u8>> {
    let secret = SlotSecret {
        seed: seed.clone(),
        label: note.label.clone(),
        username: note.username.clone().unwrap_or_else(sys::username),
        hostname: note.hostname.clone().unwrap_or_else(|| Host::current().hostname),
        created: sys::now(),
        ext: vec![],
    };
    Ok(new_header(ring, id, credential)?.seal(credential, &secret, escrow, sys::salt()?)?)
}

fn new_header(ring: &Keyring, id: SlotId, credential: &Credential) -> Result<SlotHeader> {
    let kdf = match credential {
        Credential::Password(_) => Kdf::Argon2id(Argon2Params::DEFAULT),
        Credential::Raw(_) => Kdf::Raw,
        Credential::Nothing => Kdf::Nothing,
    };
    Ok(SlotHeader { kdf, role: ring.role, id, domain: ring.domain, instance: ring.instance, salt: sys::salt()? })
}

fn write_config(storage: &dyn Storage, ring: &Keyring, config: &Config) -> Result<()> {
    let object = names::config(config.n);
    let epoch = ring.epochs.last().ok_or_else(|| Error::new(ErrorKind::Bug, "a keyring without epochs"))?;
    let secret = epoch
        .index
        .clone()
        .ok_or_else(|| Error::new(ErrorKind::Forbidden, "this key may not change the configuration"))?;
    let owner = ring
        .owner
        .as_ref()
        .ok_or_else(|| Error::new(ErrorKind::Forbidden, "only the owner's key can change the configuration"))?;
    let mut clear = config.domain.0.to_vec();
    clear.extend_from_slice(config.instance.as_bytes());
    let (bytes, _) = Sealing {
        kind: RecordType::Config,
        place: Place { domain: config.domain, instance: config.instance, name: &object },
        epoch: epoch.n,
        secret: &secret,
        salt: sys::salt()?,
        signer: Some(&SigningKey::from_seed(&owner.admin_seed)),
        clear: &clear,
    }
    .seal(&encode(config));
    match objects::put_twice(storage, &object, &bytes)? {
        Put::Created => Ok(()),
        Put::Exists => Err(Error::new(ErrorKind::Exists, format!("somebody else wrote {object} at the same time"))
            .hint("run the command again")),
    }
}

/// Unlock a repository. `hint` is the slot to try first.
pub fn open(storage: Arc<dyn Storage>, credential: &Credential, hint: Option<SlotId>) -> Result<Repository> {
    open_viewed(Arc::new(Viewed::new(storage)), credential, hint)
}

/// The same, of which something was listed already.
pub fn open_viewed(viewed: Arc<Viewed>, credential: &Credential, hint: Option<SlotId>) -> Result<Repository> {
    let storage: Arc<dyn Storage> = Arc::clone(&viewed) as _;
    let slots = slot_ids(storage.as_ref())?;
    if slots.is_empty() {
        return Err(no_repository(storage.as_ref()));
    }
    let (slot, secret) = unlock(storage.as_ref(), slots, credential, hint)?;
    viewed.settle(&slot.header.instance.hex());
    let keyring = load_keyring(storage.as_ref(), &slot.header, &secret.seed)?;
    let (config, config_id) = load_config(storage.as_ref(), &keyring)?;
    let storage = guard(storage, &config);
    let keys = BlobKeys::new(&keyring.id_secret, &keyring.chunk_secret);
    let gear = Gear::new(&keys);
    let mut repo = Repository {
        storage,
        viewed,
        keyring,
        slot: slot.header.id,
        slot_secret: secret,
        keys,
        gear,
        config,
        config_id,
        clients: vec![],
        newcomers: Mutex::default(),
        host: Host::current(),
        beat_every: super::session::HEARTBEAT,
        profile: None,
        promised: Mutex::default(),
    };
    repo.load_clients()?;
    Ok(repo)
}

/// Where the configuration asks for a writer that knows more, nothing is written.
fn guard(storage: Arc<dyn Storage>, config: &Config) -> Arc<dyn Storage> {
    let unknown = config.write_features.iter().filter(|f| !KNOWN_FEATURES.contains(f));
    let unknown: Vec<String> = unknown.map(u16::to_string).collect();
    if unknown.is_empty() {
        return storage;
    }
    let features = if unknown.len() == 1 { "feature" } else { "features" };
    let why = format!("whoever writes there must know {features} {}: a newer orlop is needed", unknown.join(", "));
    Arc::new(Guarded::new(storage, why))
}

/// The ids of all key slots, for which nothing needs to be known.
pub fn slot_ids(storage: &dyn Storage) -> Result<Vec<SlotId>> {
    let mut listed = storage.list(prefix::KEYS)?;
    if listed.is_empty() {
        // The second homes are there for just that.
        listed = storage.list(&names::copy_of(prefix::KEYS))?;
    }
    let first = |name| str::strip_prefix(name, prefix::COPY).unwrap_or(name);
    let id = |name| SlotId::parse(first(name).strip_prefix(prefix::KEYS)?).ok();
    Ok(listed.iter().filter_map(|l| id(l.name.as_str())).collect())
}

fn no_repository(storage: &dyn Storage) -> Error {
    let place = storage.place();
    // A restic repository has `config` as a file and 64-digit names below `keys/`.
    let foreign = storage.list(prefix::KEYS).unwrap_or_default().iter().any(|l| l.name.as_str().len() == 5 + 64);
    if foreign {
        return Error::new(
            ErrorKind::Unsupported,
            format!("{place} holds a restic repository, which orlop cannot open"),
        )
        .hint("use restic for it, and `orlop init` with another place for a repository of orlop's");
    }
    let lists = |p: &&str| storage.list(p).is_ok_and(|listed| !listed.is_empty());
    if [prefix::CONFIG, prefix::SNAPSHOTS, prefix::GC, prefix::INDEX, prefix::PACKS].iter().any(lists) {
        let what = format!("the repository in {place} has no key slots any more, and nothing opens it without one");
        return Error::new(ErrorKind::Damaged, what)
            .hint("bring keys/ and keyring/ back, from a copy of the storage or from versions that it keeps")
            .hint("without them what is stored there cannot be read by anybody");
    }
    Error::new(ErrorKind::NoRepository, format!("there is no repository in {place}"))
        .hint("check the path given with -r or ORLOP_REPOSITORY")
        .hint("`orlop init` makes one")
}

/// Slots that are looked at: whoever can make objects can make more.
const SLOTS_READ: usize = 4096;

/// Find the slot that a credential opens. What costs nothing is tried at once; of passwords the cheapest first, and
/// as many as may be: who can add slots must not push others out of the limit with what is none.
fn unlock(
    storage: &dyn Storage,
    mut slots: Vec<SlotId>,
    credential: &Credential,
    hint: Option<SlotId>,
) -> Result<(Slot, SlotSecret)> {
    slots.sort_by_key(|id| Some(*id) != hint);
    let (mut dear, mut damaged) = (Vec::new(), None);
    for id in slots.into_iter().take(SLOTS_READ) {
        let slot = objects::get_either(storage, &names::slot(id)).and_then(|b| Ok(Slot::parse(&b)?));
        let slot = match slot {
            Ok(slot) if slot.header.id == id => slot,
            Ok(_) => continue,
            Err(e) => {
                damaged = Some(e);
                continue;
            }
        };
        if slot.header.cost(credential) > 0 && Some(id) != hint {
            dear.push(slot);
            continue;
        }
        match slot.open(credential) {
            Ok(Some(secret)) => return Ok((slot, secret)),
            Ok(None) => {}
            Err(e) => damaged = Some(e.into()),
        }
    }
    dear.sort_by_key(|slot| slot.header.cost(credential));
    let untried = dear.split_off(dear.len().min(limits::SLOTS_MAX)).len();
    for slot in dear {
        match slot.open(credential) {
            Ok(Some(secret)) => return Ok((slot, secret)),
            Ok(None) => {}
            Err(e) => damaged = Some(e.into()),
        }
    }
    Err(unopened(storage, untried, damaged))
}

fn unopened(storage: &dyn Storage, untried: usize, damaged: Option<Error>) -> Error {
    let what = format!("no key slot of {} opens with that", storage.place());
    let mut error = match untried {
        0 => Error::new(ErrorKind::WrongPassword, what),
        n => Error::new(ErrorKind::WrongPassword, format!("{what}, and {n} more were not tried"))
            .hint("`--key-hint` with the id of a key tries that one first, whatever else is there"),
    };
    error = error.hint("check the password, or the file or command it comes from");
    match damaged {
        Some(e) => error.because(e),
        None => error,
    }
}

/// The numbers of the versions in a folder, highest first. Where none is listed the first one may
/// still have its second home.
fn versions(storage: &dyn Storage, folder: &str) -> Result<Vec<u32>> {
    let number = |name: &str| u32::from_str_radix(name.strip_prefix(folder)?, 16).ok();
    let mut numbers: Vec<u32> = storage.list(folder)?.iter().filter_map(|l| number(l.name.as_str())).collect();
    if numbers.is_empty() {
        numbers.push(1);
    }
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    Ok(numbers)
}

fn load_keyring(storage: &dyn Storage, header: &SlotHeader, seed: &Secret) -> Result<Keyring> {
    let mut failed = None;
    for n in versions(storage, &format!("{}{}/", prefix::KEYRING, header.id))? {
        let object = names::keyring(header.id, n);
        match objects::get_either(storage, &object).and_then(|b| Ok(Keyring::open(&b, header, n, seed)?)) {
            Ok(ring) => return Ok(ring),
            Err(e) => failed = Some(e.doing(format!("while reading {object}"))),
        }
    }
    Err(failed.unwrap_or_else(|| Error::new(ErrorKind::Damaged, "the key slot has no keyring")))
}

/// The highest version that is the owner's.
fn load_config(storage: &dyn Storage, ring: &Keyring) -> Result<(Config, RecordId)> {
    let mut failed = None;
    for n in versions(storage, prefix::CONFIG)? {
        match read_config(storage, ring, n) {
            Ok(found) => return Ok(found),
            Err(e) if e.kind() == ErrorKind::Unsupported => return Err(e),
            Err(e) => failed = Some(e),
        }
    }
    Err(failed.unwrap_or_else(|| Error::new(ErrorKind::Damaged, "the repository has no configuration")))
}

fn read_config(storage: &dyn Storage, ring: &Keyring, n: u32) -> Result<(Config, RecordId)> {
    let object = names::config(n);
    let read = || parse_config(&objects::get_either(storage, &object)?, ring, n);
    read().doing(|| format!("while reading {object}"))
}

/// A version of the configuration, verified, from its bytes.
pub(super) fn parse_config(bytes: &[u8], ring: &Keyring, n: u32) -> Result<(Config, RecordId)> {
    let what = RecordType::Config.what();
    let envelope = record::parse(RecordType::Config, bytes)?;
    check_ids(envelope.clear, ring)?;
    let epoch = ring.epochs.iter().find(|e| e.n == envelope.epoch);
    let secret = epoch.and_then(|e| e.index.clone());
    let secret = secret.ok_or_else(|| Error::new(ErrorKind::Forbidden, "this key does not open the configuration"))?;
    let place = Place { domain: ring.domain, instance: ring.instance, name: &names::config(n) };
    let opened = envelope.open(&secret, &place)?;
    opened.verify(&ring.admin)?;
    let config: Config = decode(what, &opened.payload)?;
    check_ext(what, &config.ext, &[])?;
    check_config(&config, ring, n)?;
    Ok((config, opened.id))
}

fn check_ids(clear: &[u8], ring: &Keyring) -> Result<()> {
    let mut r = bytes::Reader::new("clear part of the configuration", clear);
    let ids = (DomainId(r.array()?), InstanceId(r.array()?));
    if ids == (ring.domain, ring.instance) {
        return Ok(());
    }
    let what = "the configuration belongs to another repository than the key slot";
    Err(Error::new(ErrorKind::Substituted, what)
        .hint("files of two repositories were mixed: restore one of them from a copy"))
}

fn check_config(config: &Config, ring: &Keyring, n: u32) -> Result<()> {
    let fits = (config.n, config.domain, config.instance) == (n, ring.domain, ring.instance)
        && config.admin == ring.admin
        && Suite::from_u8(config.suite).is_some()
        && !config.profiles.is_empty()
        && config.profiles.iter().all(sound_profile);
    if !fits {
        return Err(Error::new(ErrorKind::Damaged, "the configuration contradicts itself"));
    }
    match config.read_features.iter().find(|f| !KNOWN_FEATURES.contains(f)) {
        Some(f) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("the repository needs feature {f}, which a newer orlop has"),
        )),
        None => Ok(()),
    }
}

fn sound_profile(p: &Profile) -> bool {
    let even = [p.min, p.avg, p.max].iter().all(|n| n % 2 == 0);
    p.chunker == 1
        && even
        && (64..=p.avg).contains(&p.min)
        && (p.avg..=limits::BLOB_MAX as u32).contains(&p.max)
        && (256..=4 << 20).contains(&p.avg)
        && (1..=limits::FRAME_TARGET as u32).contains(&p.frame)
}

impl Repository {
    /// All key slots.
    pub fn slots(&self) -> Result<Vec<SlotInfo>> {
        let mut out = Vec::new();
        for id in slot_ids(self.storage.as_ref())? {
            let slot = Slot::parse(&objects::get_either(self.storage.as_ref(), &names::slot(id))?)
                .doing(|| format!("while reading key slot {}", id.short()))?;
            let (current, owner) = (id == self.slot, self.keyring.owner.as_ref());
            let secret = match current {
                true => Some(self.slot_secret.clone()),
                false => owner.and_then(|o| slot.open_escrow(&o.escrow).ok()),
            };
            out.push(SlotInfo { id, role: slot.header.role, kdf: slot.header.kdf, secret, current });
        }
        Ok(out)
    }

    /// From now on what is forgotten can be brought back for so many seconds.
    pub fn set_undelete_window(&mut self, seconds: u64) -> Result<()> {
        self.need(self.keyring.owner.as_ref(), "change the configuration")?;
        check_known_to_writer(RecordType::Config.what(), &self.config.ext, &[])?;
        let full = || Error::new(ErrorKind::Damaged, "the configuration has no number left");
        let n = self.config.n.checked_add(1).ok_or_else(full)?;
        let config =
            Config { n, prev: self.config_id, created: sys::now(), undelete_window: seconds, ..self.config.clone() };
        write_config(self.storage.as_ref(), &self.keyring, &config)?;
        (self.config, self.config_id) = read_config(self.storage.as_ref(), &self.keyring, n)?;
        if let Some(profile) = &self.profile {
            profile.meet(self)?;
        }
        Ok(())
    }

    /// Add an owner's slot.
    pub fn add_slot(&self, credential: &Credential, note: &SlotNote) -> Result<SlotId> {
        if self.role() != Role::Owner {
            return Err(Error::new(ErrorKind::Forbidden, "only the owner's key can make slots"));
        }
        write_slot(self.storage.as_ref(), &self.keyring, &self.keyring, credential, note)
    }

    /// Enrol a client and add its slot.
    pub fn add_client_slot(&mut self, name: &str, credential: &Credential, note: &SlotNote) -> Result<SlotId> {
        let owner = self.need(self.keyring.owner.clone(), "enrol clients")?;
        let (epoch, root) =
            owner.client_roots.last().ok_or_else(|| Error::new(ErrorKind::Bug, "an owner without client root"))?;
        let id = super::client::client_id(self.domain(), name);
        let seed = crate::crypto::derive_client_seed(root, self.domain(), id);
        if let Some(known) = self.client_key(id, *epoch) {
            if known.role == Role::Owner {
                let what =
                    format!("the owner has written snapshots as {name:?}, so that name cannot become a client's");
                return Err(Error::new(ErrorKind::Invalid, what).hint("choose another name with --client"));
            }
        } else {
            let key: PublicKey = SigningKey::from_seed(&seed).public();
            self.enroll(id, name, *epoch, key, Role::Client, &owner.admin_seed)?;
        }
        let mut ring = self.keyring.clone();
        ring.role = Role::Client;
        ring.owner = None;
        ring.client = Some(crate::format::keys::ClientKey { id, name: name.to_owned(), epoch: *epoch, seed });
        let note = SlotNote { label: name.to_owned(), ..note.clone() };
        write_slot(self.storage.as_ref(), &self.keyring, &ring, credential, &note)
    }

    /// Remove a slot; the one in use stays, so that an owner's slot is always left.
    pub fn remove_slot(&self, id: SlotId) -> Result<()> {
        if id == self.slot {
            let what = "that is the key slot this command was opened with";
            return Err(Error::new(ErrorKind::Invalid, what).hint("open the repository with another key to remove it"));
        }
        self.need(self.keyring.owner.as_ref(), "remove key slots")?;
        self.delete_slot(id)
    }

    /// The slot goes first: a keyring without one opens for nobody.
    fn delete_slot(&self, id: SlotId) -> Result<()> {
        let rings = self.storage.list(&format!("{}{id}/", prefix::KEYRING))?;
        let mut objects = vec![names::slot(id)];
        objects.extend(rings.iter().map(|l| l.name.as_str().to_owned()));
        for object in objects {
            self.storage.delete(&objects::name(&names::copy_of(&object))?)?;
            self.storage.delete(&objects::name(&object)?)?;
        }
        Ok(())
    }

    /// From now on what the slot in use opened is opened with another credential. An owner gets a
    /// new slot, and the old one goes; others may not sign a keyring, so theirs is sealed anew.
    pub fn change_credential(&mut self, credential: &Credential, note: &SlotNote) -> Result<SlotId> {
        let old = self.slot;
        let label = self.slot_secret.label.clone();
        let note = SlotNote { label, ..note.clone() };
        if self.role() != Role::Owner {
            return self.reseal_slot(credential, &note);
        }
        self.slot = self.add_slot(credential, &note)?;
        self.delete_slot(old)?;
        Ok(self.slot)
    }

    fn reseal_slot(&mut self, credential: &Credential, note: &SlotNote) -> Result<SlotId> {
        let object = names::slot(self.slot);
        let slot = Slot::parse(&objects::get_either(self.storage.as_ref(), &object)?)?;
        let mut secret = self.slot_secret.clone();
        check_known_to_writer("key slot", &secret.ext, &[])?;
        for (new, field) in [(&note.username, &mut secret.username), (&note.hostname, &mut secret.hostname)] {
            if let Some(new) = new {
                field.clone_from(new);
            }
        }
        let header = new_header(&self.keyring, self.slot, credential)?;
        let sealed = slot.reseal(&header, credential, &secret)?;
        for home in [object.clone(), names::copy_of(&object)] {
            objects::replace(self.storage.as_ref(), &home, &sealed)?;
        }
        self.slot_secret = secret;
        Ok(self.slot)
    }
}
