//! One primitive for all derivation: BLAKE3, keyed and extended.

use super::Secret;
use crate::id::{BlobId, ClientId, DomainId};

/// `N` bytes of BLAKE3 output, keyed with `secret`, over the parts in order.
pub fn expand<const N: usize>(secret: &Secret, parts: &[&[u8]]) -> [u8; N] {
    let mut hasher = blake3::Hasher::new_keyed(secret.expose());
    for part in parts {
        hasher.update(part);
    }
    let mut out = [0; N];
    hasher.finalize_xof().fill(&mut out);
    out
}

/// A key, and a commitment to it: what shows at once whether the right secret was given.
pub fn expand_committed(secret: &Secret, parts: &[&[u8]]) -> (Secret, [u8; 32]) {
    let okm: [u8; 64] = expand(secret, parts);
    let (mut key, mut commitment) = ([0; 32], [0; 32]);
    key.copy_from_slice(&okm[..32]);
    commitment.copy_from_slice(&okm[32..]);
    (Secret::new(key), commitment)
}

/// Keyed BLAKE3 of one message.
fn keyed_hash(key: &Secret, message: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(key.expose(), message).as_bytes()
}

/// A client's signing seed, from the owner's `client_root` of an epoch.
pub fn derive_client_seed(client_root: &Secret, domain: DomainId, client: ClientId) -> Secret {
    Secret::new(expand(client_root, &[b"orlop v1 client seed", domain.as_bytes(), client.as_bytes()]))
}

/// The keys that name and cut: everything that must be equal for two clients to deduplicate.
#[derive(Clone)]
pub struct BlobKeys {
    chunk: Secret,
    page: Secret,
    page_cut: Secret,
    link: Secret,
    machine: Secret,
    gear: Secret,
}

impl BlobKeys {
    /// Derive from the domain's two secrets.
    pub fn new(id_secret: &Secret, chunk_secret: &Secret) -> Self {
        let from = |label: &str, secret: &Secret| Secret::new(blake3::derive_key(label, secret.expose()));
        Self {
            chunk: from("orlop v1 blob id chunk", id_secret),
            page: from("orlop v1 blob id page", id_secret),
            page_cut: from("orlop v1 page cut", id_secret),
            link: from("orlop v1 hard link", id_secret),
            machine: from("orlop v1 machine", id_secret),
            gear: from("orlop v1 chunker gear64 table", chunk_secret),
        }
    }
    /// The name of a chunk.
    pub fn chunk_id(&self, plain: &[u8]) -> BlobId {
        BlobId(keyed_hash(&self.chunk, plain))
    }
    /// The name of a page.
    pub fn page_id(&self, encoded: &[u8]) -> BlobId {
        BlobId(keyed_hash(&self.page, encoded))
    }
    /// The number whose low bits decide whether a page ends after this key.
    pub fn page_cut(&self, kind: u8, level: u8, key: &[u8]) -> u64 {
        let h: [u8; 8] = expand(&self.page_cut, &[&[kind, level], key]);
        u64::from_le_bytes(h)
    }
    /// Which hard links belong together.
    pub fn link(&self, parts: &[&[u8]]) -> [u8; 16] {
        expand(&self.link, parts)
    }
    /// The pseudonym of a machine.
    pub fn machine(&self, id: &[u8]) -> [u8; 8] {
        expand(&self.machine, &[id])
    }
    /// The gear table of the chunker: 256 numbers.
    pub fn gear_table(&self) -> Box<[u64; 256]> {
        let bytes: [u8; 2048] = expand(&self.gear, &[b"gear64"]);
        let mut table = Box::new([0u64; 256]);
        for (t, b) in table.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *t = u64::from_le_bytes(*b);
        }
        table
    }
}
