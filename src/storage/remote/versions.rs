//! What a bucket keeps of what was overwritten and deleted.

use super::{Call, Failed, ObjectStorage, Tried, copy_out};
use crate::model::Time;
use crate::storage::{Listed, Name, Storage, StorageError, Version, Versions, no_prefix};
use futures_util::TryStreamExt;
use opendal::{Buffer, Entry, ErrorKind, Operator};

impl ObjectStorage {
    /// Whether the service can say which versions there are; that it keeps any is another matter.
    pub(in crate::storage) fn lists_versions(&self) -> bool {
        self.0.operator.info().native_capability().list_with_versions
    }
}

async fn all(operator: &Operator, prefix: &str) -> Tried<Vec<Version>> {
    let lister = operator.lister_with(prefix).recursive(true).versions(true).deleted(true);
    let mut entries = match lister.await {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let mut out = Vec::new();
    while let Some(entry) = entries.try_next().await? {
        out.extend(version(&entry, prefix));
    }
    Ok(out)
}

fn version(entry: &Entry, prefix: &str) -> Option<Version> {
    let (meta, path) = (entry.metadata(), entry.path());
    if !meta.is_file() || !path.starts_with(prefix) {
        return None;
    }
    let at = meta.last_modified()?.into_inner();
    let nanos = at.as_nanosecond();
    Some(Version {
        name: Name::new(path).ok()?,
        id: meta.version()?.to_owned(),
        at: Time {
            sec: i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?,
            nsec: u32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?,
        },
        len: if meta.is_deleted() { 0 } else { meta.content_length() },
        tag: meta.etag().map(|etag| Listed::tag_of(etag.as_bytes())),
        deleted: meta.is_deleted(),
        current: meta.is_current().unwrap_or(false),
    })
}

async fn range(operator: &Operator, version: &Version, offset: u64, len: u64) -> Tried<Buffer> {
    let path = version.name.as_str();
    let bytes = operator.read_with(path).version(&version.id).range(offset..offset.saturating_add(len)).await?;
    match bytes.len() as u64 == len {
        true => Ok(bytes),
        false => Err(Failed::Odd(format!("not all of the {len} bytes came"))),
    }
}

impl Versions for ObjectStorage {
    fn versions(&self, prefix: &str) -> Result<Vec<Version>, StorageError> {
        if !Name::is_prefix(prefix) {
            return Err(self.0.fail("list", prefix, no_prefix(prefix)));
        }
        let what = if prefix.is_empty() { "all versions" } else { prefix };
        self.0.call("list", what, &Call::new(0), |_| all(&self.0.operator, prefix))
    }

    fn get_version(&self, version: &Version) -> Result<Vec<u8>, StorageError> {
        let (name, call) = (version.name.as_str(), Call::new(version.len));
        let bytes = self.0.call("get", name, &call, |_| async {
            let bytes = self.0.operator.read_with(name).version(&version.id).await?;
            match bytes.len() as u64 == version.len {
                true => Ok(bytes),
                false => Err(Failed::Odd(format!("{} bytes came of {}", bytes.len(), version.len))),
            }
        })?;
        Ok(bytes.to_vec())
    }

    fn get_version_range(&self, version: &Version, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let len = into.len() as u64;
        let work = |_| range(&self.0.operator, version, offset, len);
        let bytes = self.0.call("get", version.name.as_str(), &Call::new(len), work)?;
        copy_out(bytes, into);
        Ok(())
    }

    fn put_over(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError> {
        self.heal(name, bytes)
    }
}
