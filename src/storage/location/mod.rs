//! Where a repository is, as people write it: restic's spellings, and OpenDAL's behind `opendal:`.
//!
//! No secret stands in one: whatever is typed ends in shell histories and lists of processes.

mod options;

pub use options::Options;

use crate::error::{Error, ErrorKind, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A place for a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder.
    Local(PathBuf),
    /// `s3:HOST/BUCKET/PREFIX`, with `http://` or `https://` before the host if need be.
    S3 {
        /// With its scheme, without a slash at the end.
        endpoint: String,
        /// Its name.
        bucket: String,
        /// In the bucket; without slashes at its ends.
        prefix: String,
    },
    /// `azure:CONTAINER:/PREFIX`.
    Azure {
        /// Its name.
        container: String,
        /// In the container.
        prefix: String,
    },
    /// `swift:CONTAINER:/PREFIX`; on which server, variables say.
    Swift {
        /// Its name.
        container: String,
        /// In the container.
        prefix: String,
    },
    /// `webdav:URL`.
    WebDav {
        /// Scheme, host and port.
        endpoint: String,
        /// On that host.
        prefix: String,
    },
    /// `sftp:USER@HOST:PATH` or `sftp://USER@HOST:PORT/PATH`.
    Sftp {
        /// With the user, if one was named; what `ssh` is told.
        host: String,
        /// If one was named.
        port: Option<u16>,
        /// As the server sees it; relative to the home of the user if it does not start with `/`.
        path: String,
    },
    /// `rclone:REMOTE:PATH`.
    Rclone(String),
    /// `opendal:SERVICE` or `opendal:SERVICE://…`, with options.
    OpenDal {
        /// What OpenDAL calls it.
        service: String,
        /// Everything behind it.
        rest: String,
    },
}

/// Of restic's, with what to say instead.
const ELSEWHERE: [(&str, &str); 3] = [
    ("rest", "a server for restic's own protocol does not know orlop's objects; use sftp: or s3:"),
    ("gs", "use opendal:gcs://BUCKET/PREFIX, which nobody tests"),
    ("b2", "use Backblaze's address for S3, s3:s3.REGION.backblazeb2.com/BUCKET, or opendal:b2, which nobody tests"),
];

impl Location {
    /// Understand what was typed. A name before a colon that is no scheme is part of a path.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let Some((scheme, rest)) = split_scheme(text) else { return Ok(Self::Local(text.into())) };
        if scheme == "local" {
            return Ok(Self::Local(OsStr::from_bytes(rest).into()));
        }
        if let Some((_, instead)) = ELSEWHERE.iter().find(|(name, _)| *name == scheme) {
            let what = format!("repositories over {scheme}: are not in this version");
            return Err(Error::new(ErrorKind::Unsupported, what).hint(*instead));
        }
        let parse = match scheme {
            "s3" => s3,
            "azure" => azure,
            "swift" => swift,
            "webdav" => webdav,
            "sftp" => sftp,
            "rclone" => rclone,
            "opendal" => opendal,
            _ => return Ok(Self::Local(text.into())),
        };
        let rest = std::str::from_utf8(rest).map_err(|_| bad(scheme, "is not UTF-8"))?;
        if rest.chars().any(|c| c.is_control()) {
            return Err(bad(scheme, "has control characters in it"));
        }
        refuse_secrets(scheme, rest)?;
        parse(rest)
    }

    /// The folder, if it is one of this machine.
    pub fn local(&self) -> Option<&Path> {
        match self {
            Self::Local(path) => Some(path),
            _ => None,
        }
    }

    /// How it is told, and remembered; never a secret.
    pub fn place(&self) -> String {
        match self {
            Self::Local(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string(),
            Self::S3 { endpoint, bucket, prefix } => join(&format!("s3:{endpoint}/{bucket}"), prefix),
            Self::Azure { container, prefix } => format!("azure:{container}:/{prefix}"),
            Self::Swift { container, prefix } => format!("swift:{container}:/{prefix}"),
            Self::WebDav { endpoint, prefix } => join(&format!("webdav:{endpoint}"), prefix),
            Self::Sftp { host, port: None, path } => format!("sftp:{host}:{path}"),
            Self::Sftp { host, port: Some(port), path } => format!("sftp://{host}:{port}/{path}"),
            Self::Rclone(remote) => format!("rclone:{remote}"),
            Self::OpenDal { service, rest } => format!("opendal:{service}{rest}"),
        }
    }
}

fn join(base: &str, prefix: &str) -> String {
    if prefix.is_empty() { base.to_owned() } else { format!("{base}/{prefix}") }
}

fn split_scheme(text: &OsStr) -> Option<(&str, &[u8])> {
    let bytes = text.as_bytes();
    let colon = bytes.iter().position(|b| *b == b':')?;
    Some((std::str::from_utf8(&bytes[..colon]).ok()?, &bytes[colon + 1..]))
}

fn bad(scheme: &str, why: &str) -> Error {
    let usual = match scheme {
        "s3" => "s3:HOST/BUCKET/PREFIX or s3:https://HOST:PORT/BUCKET/PREFIX",
        "azure" => "azure:CONTAINER:/PREFIX",
        "swift" => "swift:CONTAINER:/PREFIX, with letters, digits and -_.~ in the prefix",
        "webdav" => "webdav:https://HOST/PATH",
        "sftp" => "sftp:USER@HOST:/PATH or sftp://USER@HOST:PORT//PATH",
        "rclone" => "rclone:REMOTE:PATH",
        _ => "opendal:SERVICE or opendal:SERVICE://NAME/PREFIX?OPTION=VALUE",
    };
    Error::new(ErrorKind::Invalid, format!("the repository's {scheme}: address {why}"))
        .hint(format!("such an address looks like {usual}"))
}

/// Nothing of it is repeated: it may stand on somebody's screen.
fn refuse_secrets(scheme: &str, rest: &str) -> Result<()> {
    let authority = rest.split_once("//").map_or(rest, |(_, after)| after).split(['/', '?']).next().unwrap_or("");
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    let in_query = rest.split_once('?').is_some_and(|(_, query)| {
        query.split('&').any(|pair| options::is_secret(pair.split('=').next().unwrap_or(pair)))
    });
    let has_password = user.is_some_and(|u| u.contains(':')) || (user.is_some() && scheme != "sftp");
    if !has_password && !in_query {
        return Ok(());
    }
    let instead = match scheme {
        "s3" => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials",
        "azure" => "AZURE_ACCOUNT_NAME and AZURE_ACCOUNT_KEY or AZURE_ACCOUNT_SAS",
        "swift" => "ST_AUTH, ST_USER and ST_KEY, or OpenStack's variables",
        "webdav" => "WEBDAV_USERNAME and WEBDAV_PASSWORD",
        "sftp" => "a key: ssh finds it by your ~/.ssh/config or your agent",
        "rclone" => "`rclone config`",
        _ => "OPENDAL_SERVICE_OPTION, such as OPENDAL_B2_APPLICATION_KEY",
    };
    Err(Error::new(
        ErrorKind::Invalid,
        format!("the repository's {scheme}: address has a user's name or a secret in it"),
    )
    .hint(format!("addresses end in histories and logs; say it with {instead}")))
}

/// Slashes at its ends do not matter; what would leave the place does.
fn prefix(scheme: &str, text: &str) -> Result<String> {
    let trimmed = text.trim_matches('/');
    if trimmed.split('/').any(|part| part == "." || part == ".." || (part.is_empty() && !trimmed.is_empty())) {
        return Err(bad(scheme, "has an empty component, `.` or `..` in its path"));
    }
    Ok(trimmed.to_owned())
}

/// Scheme, host and port of a URL, and what comes after.
fn endpoint(scheme: &str, text: &str) -> Result<(String, String)> {
    let (protocol, rest) = match text.split_once("://") {
        Some((protocol @ ("http" | "https"), rest)) => (protocol, rest),
        Some(_) => return Err(bad(scheme, "has neither http: nor https: before its host")),
        None => ("https", text),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if host.is_empty() || !host.chars().all(is_host) {
        return Err(bad(scheme, "has no host"));
    }
    Ok((format!("{protocol}://{host}"), path.to_owned()))
}

fn s3(rest: &str) -> Result<Location> {
    let (endpoint, path) = endpoint("s3", rest.strip_prefix("//").unwrap_or(rest))?;
    let path = prefix("s3", &path)?;
    let (bucket, prefix) = path.split_once('/').unwrap_or((&path, ""));
    let (bucket, prefix) = (container("s3", bucket)?, prefix.to_owned());
    Ok(Location::S3 { endpoint, bucket, prefix })
}

fn container(scheme: &str, name: &str) -> Result<String> {
    let usual = |c: char| c.is_ascii_alphanumeric() || "-._$".contains(c);
    if name.is_empty() {
        return Err(bad(scheme, "names no bucket"));
    }
    if !name.chars().all(usual) {
        return Err(bad(scheme, "has a character in the bucket's name that no bucket has"));
    }
    Ok(name.to_owned())
}

/// `NAME:/PREFIX`
fn named(scheme: &str, rest: &str) -> Result<(String, String)> {
    let (name, path) = rest.split_once(':').unwrap_or((rest, ""));
    Ok((container(scheme, name)?, prefix(scheme, path)?))
}

fn azure(rest: &str) -> Result<Location> {
    named("azure", rest).map(|(container, prefix)| Location::Azure { container, prefix })
}

/// OpenDAL asks for the next page of a listing with the last name as it is.
fn swift(rest: &str) -> Result<Location> {
    let (container, prefix) = named("swift", rest)?;
    match prefix.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~/".contains(c)) {
        true => Ok(Location::Swift { container, prefix }),
        false => Err(bad("swift", "has a character in its prefix that listings do not take")),
    }
}

fn webdav(rest: &str) -> Result<Location> {
    let (endpoint, path) = endpoint("webdav", rest)?;
    if path.contains(['?', '#']) {
        return Err(bad("webdav", "has a query"));
    }
    Ok(Location::WebDav { endpoint, prefix: prefix("webdav", &path)? })
}

/// What starts with a hyphen would be a flag of `ssh`.
fn sftp(rest: &str) -> Result<Location> {
    let (host, port, path) = match rest.strip_prefix("//") {
        Some(url) => {
            let (authority, path) = url.split_once('/').ok_or_else(|| bad("sftp", "names no folder"))?;
            match authority.rsplit_once(':') {
                Some((host, port)) => {
                    (host, Some(port.parse().map_err(|_| bad("sftp", "has no number for a port"))?), path)
                }
                None => (authority, None, path),
            }
        }
        None => {
            let (host, path) = rest.split_once(':').ok_or_else(|| bad("sftp", "names no folder"))?;
            (host, None, path)
        }
    };
    let name = host.rsplit('@').next().unwrap_or(host);
    if host.starts_with('-') || name.is_empty() || name.starts_with('-') || host.contains(char::is_whitespace) {
        return Err(bad("sftp", "names no host"));
    }
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    if path.is_empty() {
        return Err(bad("sftp", "names no folder"));
    }
    Ok(Location::Sftp { host: host.to_owned(), port, path: path.to_owned() })
}

fn rclone(rest: &str) -> Result<Location> {
    if rest.is_empty() || rest.starts_with('-') {
        return Err(bad("rclone", "names no remote"));
    }
    Ok(Location::Rclone(rest.to_owned()))
}

fn opendal(text: &str) -> Result<Location> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(text.len());
    let (service, rest) = text.split_at(end);
    if service.is_empty() || !(rest.is_empty() || rest.starts_with("://")) {
        return Err(bad("opendal", "names no service"));
    }
    Ok(Location::OpenDal { service: service.to_ascii_lowercase(), rest: rest.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> String {
        Location::parse(OsStr::new(text)).map_or_else(|e| format!("no: {e}"), |l| l.place())
    }

    #[test]
    fn as_restic_writes_them() {
        for (typed, told) in [
            ("s3:s3.amazonaws.com/bucket", "s3:https://s3.amazonaws.com/bucket"),
            ("s3:s3.amazonaws.com/bucket/a/b/", "s3:https://s3.amazonaws.com/bucket/a/b"),
            ("s3://s3.amazonaws.com/bucket", "s3:https://s3.amazonaws.com/bucket"),
            ("s3:http://localhost:9000/restic", "s3:http://localhost:9000/restic"),
            ("s3:https://[::1]:9000/restic/x", "s3:https://[::1]:9000/restic/x"),
            ("azure:foo:/", "azure:foo:/"),
            ("azure:foo:/a/b", "azure:foo:/a/b"),
            ("swift:foo:/", "swift:foo:/"),
            ("swift:foo:/a/b-c/", "swift:foo:/a/b-c"),
            ("webdav:https://host/dav/orlop/", "webdav:https://host/dav/orlop"),
            ("sftp:user@host:/srv/repo", "sftp:user@host:/srv/repo"),
            ("sftp:host:repo", "sftp:host:repo"),
            ("sftp://user@host:2222//srv/repo", "sftp://user@host:2222//srv/repo"),
            ("sftp://user@host/repo", "sftp:user@host:repo"),
            ("rclone:b2prod:yggdrasil/foo", "rclone:b2prod:yggdrasil/foo"),
            ("opendal:b2", "opendal:b2"),
            ("opendal:s3://bucket/root?region=eu", "opendal:s3://bucket/root?region=eu"),
            ("/srv/a:b", "/srv/a:b"),
            ("local:/srv/s3:x", "/srv/s3:x"),
            ("/", "/"),
        ] {
            assert_eq!(place(typed), told);
        }
    }

    #[test]
    fn what_is_no_place() {
        for typed in [
            "s3:",
            "s3:host",
            "s3:host/",
            "s3:ftp://host/b",
            "s3:https:///b",
            "s3:host/b/../c",
            "s3:host/b//c",
            "s3:host/b c",
            "azure:",
            "azure::/x",
            "swift:",
            "swift::/x",
            "swift:foo:/a b",
            "swift:foo:/a&b",
            "swift:foo:/../a",
            "webdav:",
            "webdav:https:///",
            "webdav:https://h/x?y",
            "sftp:",
            "sftp:host",
            "sftp:host:",
            "sftp:-oProxyCommand=x:/y",
            "sftp:a@-x:/y",
            "sftp://h:99999/x",
            "rclone:",
            "rclone:-x",
            "opendal:",
            "opendal:s3:x",
            "s3:host/b\n",
        ] {
            assert!(place(typed).starts_with("no: "), "{typed:?} is {}", place(typed));
        }
        for typed in ["b2:bucket:x", "gs:bucket:/x", "rest:https://h/"] {
            assert!(place(typed).contains("not in this version"), "{typed}");
        }
    }

    #[test]
    fn secrets_are_refused_and_not_repeated() {
        for typed in [
            "s3:https://key:hunter2@host/b",
            "s3:https://hunter2@host/b",
            "sftp:me:hunter2@host:/x",
            "sftp://me:hunter2@host/x",
            "webdav:https://me:hunter2@host/x",
            "swift:me:hunter2@box:/x",
            "opendal:s3://b?secret_access_key=hunter2",
        ] {
            let error = Location::parse(OsStr::new(typed)).expect_err(typed);
            let told = format!("{error:?} {:?}", error.hints());
            assert!(told.contains("secret in it") && !told.contains("hunter2"), "{told}");
        }
    }
}
