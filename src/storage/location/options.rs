//! `-o NAME=VALUE`: restic's extended options, as far as they mean something here.

use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// What may be set, with what it is.
const KNOWN: [(&str, &str); 18] = [
    ("azure.connections", "requests under way at most"),
    ("azure.endpoint", "the URL of another service than Microsoft's"),
    ("opendal.connections", "requests under way at most"),
    ("rclone.args", "what rclone is told in place of `serve webdav`"),
    ("rclone.connections", "requests under way at most"),
    ("rclone.program", "the program to run in place of `rclone`"),
    ("s3.bucket-lookup", "`dns` for bucket.host, `path` for host/bucket, or `auto`"),
    ("s3.checksum", "`md5` or `crc32c`, for buckets with a lock that take nothing without one"),
    ("s3.connections", "requests under way at most"),
    ("s3.list-objects-v1", "`true` for servers that know no other listing"),
    ("s3.region", "the region that signatures name"),
    ("s3.storage-class", "the class of new objects; not one that must be thawed"),
    ("sftp.args", "more arguments for `ssh`"),
    ("sftp.command", "the whole command that speaks SFTP on its standard input and output"),
    ("sftp.connections", "requests under way at most"),
    ("swift.connections", "requests under way at most"),
    ("webdav.connections", "requests under way at most"),
    ("retry.seconds", "how long what failed is tried again"),
];

/// What was set by the user of this machine. Nothing a repository says ever comes in here: some
/// of it names programs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// What may be set, with what it is.
    pub const KNOWN: &[(&str, &str)] = &KNOWN;

    /// Understand `NAME=VALUE`s; the last of several counts.
    pub fn parse<S: AsRef<str>>(typed: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut all = BTreeMap::new();
        for pair in typed {
            let (name, value) = pair.as_ref().split_once('=').ok_or_else(|| {
                Error::new(ErrorKind::Invalid, format!("-o {:?} has no value", pair.as_ref()))
                    .hint("write -o NAME=VALUE, such as -o s3.region=eu-central-1")
            })?;
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            let free = name.strip_prefix("opendal.").is_some_and(|rest| !rest.is_empty());
            if is_secret(&name) {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("-o {name}=… would show a secret to everybody here"),
                )
                .hint("use the service's variables or files; for opendal: OPENDAL_SERVICE_OPTION"));
            }
            if !free && !KNOWN.iter().any(|(known, _)| *known == name) {
                return Err(Error::new(ErrorKind::Invalid, format!("there is no option -o {name}=…"))
                    .hint(format!("there are {}", KNOWN.map(|(name, _)| name).join(", "))));
            }
            all.insert(name, value.to_owned());
        }
        Ok(Self(all))
    }

    /// The value of one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of one as a number.
    pub fn number(&self, name: &str) -> Result<Option<u64>> {
        let parse = |text: &str| {
            text.parse().map_err(|_| Error::new(ErrorKind::Invalid, format!("-o {name}={text} is no number")))
        };
        self.get(name).map(parse).transpose()
    }

    /// Those that start so, without the start.
    #[cfg(feature = "remote")]
    pub(in crate::storage) fn below<'a>(&'a self, start: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(start)?, value.as_str())))
    }
}

/// Whether an option by this name holds a secret.
pub(super) fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 9] = [
        "secret",
        "password",
        "token",
        "credential",
        "account_key",
        "application_key",
        "access_key",
        "sas",
        "encryption_customer_key",
    ];
    let name = name.to_ascii_lowercase().replace('-', "_");
    PARTS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        let options = Options::parse(["s3.region=a=b", "s3.region = eu", "opendal.bucket=x"]).expect("options");
        assert_eq!((options.get("s3.region"), options.get("s3.endpoint")), (Some("eu"), None));
        assert_eq!(options.below("opendal.").collect::<Vec<_>>(), [("bucket", "x")]);
        for bad in ["s3.region", "s3.regoin=x", "opendal.=x", "opendal.secret_access_key=hunter2"] {
            let error = Options::parse([bad]).expect_err(bad);
            assert!(!format!("{error:?}{:?}", error.hints()).contains("hunter2"));
        }
        assert!(Options::parse(["s3.connections=many"]).expect("a pair").number("s3.connections").is_err());
    }
}
