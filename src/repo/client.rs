//! Who writes: clients, their keys and their records.

use super::{Repository, locked, objects};
use crate::crypto::{PublicKey, Secret, SigningKey, derive_client_seed};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::format::codec::{check_ext, decode, encode};
use crate::format::keys::Role;
use crate::format::names;
use crate::format::record::{self, Place, RecordType, Sealing};
use crate::format::records::Client;
use crate::id::{ClientId, DomainId};
use crate::storage::Put;
use crate::sys;

/// An identity that signs.
pub struct Identity {
    /// Its id.
    pub client: ClientId,
    /// Its name.
    pub name: String,
    /// Epoch of its key.
    pub epoch: u32,
    /// Its key.
    pub signer: SigningKey,
}

/// A client's id follows from its name, so that any machine with the right to use the name finds it.
pub fn client_id(domain: DomainId, name: &str) -> ClientId {
    let mut h = blake3::Hasher::new();
    h.update(b"client").update(domain.as_bytes()).update(name.as_bytes());
    let mut id = ClientId::ZERO;
    h.finalize_xof().fill(&mut id.0);
    id
}

impl Repository {
    /// The identity to write under, enrolling it where the owner may.
    pub fn identity(&mut self, name: Option<&str>) -> Result<Identity> {
        let who = self.identity_unseen(name)?;
        if self.client_key(who.client, who.epoch).is_none() {
            let owner = self.need(self.keyring.owner.clone(), "enrol clients")?;
            let key = who.signer.public();
            self.enroll(who.client, &who.name, who.epoch, key, Role::Owner, &owner.admin_seed)?;
        }
        Ok(who)
    }

    /// The same for a run that writes nothing: the repository does not learn of it.
    pub fn identity_unseen(&self, name: Option<&str>) -> Result<Identity> {
        if let Some(own) = self.keyring.client.clone() {
            if name.is_some_and(|n| n != own.name) {
                let what = format!(
                    "this key belongs to the client {:?} and cannot write as {:?}",
                    own.name,
                    name.unwrap_or("")
                );
                return Err(Error::new(ErrorKind::Forbidden, what));
            }
            let signer = SigningKey::from_seed(&own.seed);
            return Ok(Identity { client: own.id, name: own.name, epoch: own.epoch, signer });
        }
        let owner = self.need(self.keyring.owner.as_ref(), "write snapshots")?;
        let name = name.map_or_else(|| self.host.hostname.clone(), str::to_owned);
        let (epoch, root) =
            owner.client_roots.last().ok_or_else(|| Error::new(ErrorKind::Bug, "an owner without client root"))?;
        let client = client_id(self.domain(), &name);
        let signer = SigningKey::from_seed(&derive_client_seed(root, self.domain(), client));
        Ok(Identity { client, name, epoch: *epoch, signer })
    }

    /// Write a client's record.
    pub(super) fn enroll(
        &mut self,
        id: ClientId,
        name: &str,
        epoch: u32,
        key: PublicKey,
        role: Role,
        admin_seed: &Secret,
    ) -> Result<()> {
        let record = Client { id, name: name.to_owned(), epoch, key, role, created: sys::now(), ext: vec![] };
        let object = names::client(id, epoch);
        let secret = self.need(self.index_secret(self.epoch()), "enrol clients")?;
        let (bytes, _) = Sealing {
            kind: RecordType::Client,
            place: Place { domain: self.domain(), instance: self.instance(), name: &object },
            epoch: self.epoch(),
            secret: &secret,
            salt: sys::salt()?,
            signer: Some(&SigningKey::from_seed(admin_seed)),
            clear: &[],
        }
        .seal(&encode(&record));
        // Another machine of the owner may have been quicker: its record says the same.
        if self.put_small(&object, &bytes)? == Put::Created {
            // The second home is a convenience: its absence costs nothing but a chance of repair.
            self.put_small(&names::copy_of(&object), &bytes).ok();
        }
        let stored = self.load_client(&object).map_err(|e| match e.kind() {
            ErrorKind::Damaged => e.hint("delete this one file in the repository: the next backup writes it again"),
            _ => e,
        })?;
        self.clients.push(stored);
        Ok(())
    }

    /// All clients' records; those that are damaged are left out, and named by a check.
    pub(super) fn load_clients(&mut self) -> Result<()> {
        let mut clients = Vec::new();
        for object in objects::list_either(self.storage.as_ref(), names::prefix::CLIENTS)? {
            match self.load_client(&object) {
                Ok(client) => clients.push(client),
                // One bad record must not keep everybody out; whatever needs it says that it is missing.
                // Before its signature is verified, anybody may have written it.
                Err(e) if e.kind() != ErrorKind::Storage || e.is_from_the_disk() => {}
                Err(e) => return Err(e),
            }
        }
        self.clients = clients;
        Ok(())
    }

    pub(super) fn load_client(&self, object: &str) -> Result<Client> {
        let load = || -> Result<Client> {
            let bytes = objects::get_either(self.storage.as_ref(), object)?;
            let what = RecordType::Client.what();
            let envelope = record::parse(RecordType::Client, &bytes)?;
            let secret = self.need(self.index_secret(envelope.epoch), "read clients")?;
            let place = Place { domain: self.domain(), instance: self.instance(), name: object };
            let opened = envelope.open(&secret, &place)?;
            opened.verify(&self.keyring.admin)?;
            let client: Client = decode(what, &opened.payload)?;
            check_ext(what, &client.ext, &[])?;
            if names::client(client.id, client.epoch) != object {
                return Err(Error::new(ErrorKind::Damaged, "a client record is not what its name says"));
            }
            Ok(client)
        };
        load().doing(|| format!("while reading {object}"))
    }

    /// A client's record for an epoch of its key.
    pub fn client_key(&self, id: ClientId, epoch: u32) -> Option<&Client> {
        self.clients.iter().find(|c| c.id == id && c.epoch == epoch)
    }

    /// Whoever signed something. Others may have been enrolled since the repository was opened: their
    /// records are read when they are first met.
    pub(super) fn author(&self, id: ClientId, epoch: u32) -> Result<Client> {
        let newcomer = || locked(&self.newcomers).get(&(id, epoch)).cloned();
        if let Some(known) = self.client_key(id, epoch).cloned().or_else(newcomer) {
            return Ok(known);
        }
        let met = self.load_client(&names::client(id, epoch)).map_err(|e| match e.kind() {
            ErrorKind::Storage => e,
            _ => Error::new(ErrorKind::Damaged, "it is signed by a client that is not enrolled here"),
        })?;
        locked(&self.newcomers).insert((id, epoch), met.clone());
        Ok(met)
    }

    /// Whether what this identity signs is the owner's word.
    pub fn signs_as_owner(&self, who: &Identity) -> bool {
        // Whoever is not enrolled yet will be, by the owner.
        self.client_key(who.client, who.epoch).map_or(self.role() == Role::Owner, |c| c.role == Role::Owner)
    }

    /// All clients that are enrolled.
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }
}
