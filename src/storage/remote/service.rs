//! The services: what OpenDAL is told of each, with the credentials that it usually takes.
//!
//! Credentials come from variables and files, never from arguments. OpenDAL's signers read most
//! of them themselves (`AWS_…`, `~/.aws`, `GOOGLE_APPLICATION_CREDENTIALS`, a machine's own); what
//! only restic knows is read here.

use super::rclone::Rclone;
use super::swift::{self, Login};
use super::{Client, Creation, Dav, ObjectStorage};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::location::Location;
use crate::storage::open::{Access, UNKNOWN_STALENESS, no_versions};
use crate::storage::probe::Findings;
use crate::storage::{Storage, Versions};
use opendal::raw::HttpClient;
use opendal::services::{Azblob, S3, Swift, Webdav};
use opendal::{Operator, OperatorUri};
use std::sync::Arc;
use std::time::Duration;

/// The storage at a place behind HTTP, or behind rclone's.
pub(in crate::storage) fn open(place: &Location, access: &Access<'_>) -> Result<Arc<dyn Storage>> {
    let client = client()?;
    let service = match place {
        Location::S3 { endpoint, bucket, prefix } => Service::new("s3", s3(endpoint, bucket, prefix, access)?),
        Location::Azure { container, prefix } => Service::new("azure", azure(container, prefix, access)?),
        Location::WebDav { endpoint, prefix } => {
            let (user, password) = (first(access, &["WEBDAV_USERNAME"]), first(access, &["WEBDAV_PASSWORD"]));
            webdav(endpoint, prefix, user.as_deref(), password.as_deref())?
        }
        Location::Swift { container, prefix } => {
            let client = swift::Swift::new(client, Login::of(access)?, container);
            return Ok(Arc::new(swift(container, prefix)?.on(HttpClient::with(client), place, access)?));
        }
        Location::Rclone(remote) => return rclone(HttpClient::with(client), remote, place, access),
        Location::OpenDal { service, rest } => {
            // Nobody knows how stale it may be.
            Service { staleness: UNKNOWN_STALENESS, ..Service::new("opendal", any(service, rest, access)?) }
        }
        Location::Local(_) | Location::Sftp { .. } => {
            return Err(Error::new(ErrorKind::Unsupported, format!("{} is not reached over HTTP", place.place())));
        }
    };
    Ok(Arc::new(service.on(HttpClient::with(client), place, access)?))
}

/// The storage at a place with what it keeps of what was overwritten and deleted.
pub(in crate::storage) fn open_versions(place: &Location, access: &Access<'_>) -> Result<Arc<dyn Versions>> {
    let client = client()?;
    let operator = match place {
        Location::S3 { endpoint, bucket, prefix } => s3(endpoint, bucket, prefix, access)?,
        Location::OpenDal { service, rest } => any(service, rest, access)?,
        _ => return Err(no_versions(&place.place())),
    };
    let scheme = if matches!(place, Location::S3 { .. }) { "s3" } else { "opendal" };
    let storage = Service::new(scheme, operator).on(HttpClient::with(client), place, access)?;
    match storage.lists_versions() {
        true => Ok(Arc::new(storage)),
        false => Err(no_versions(&place.place())),
    }
}

fn client() -> Result<Client> {
    Client::new().map_err(|e| {
        Error::new(ErrorKind::Storage, "no secure connections can be made from here").because(e.without_url()).hint(
            "install the certificates of authorities (ca-certificates), or name a file of them with SSL_CERT_FILE",
        )
    })
}

/// What OpenDAL was told, and what is known of the service.
struct Service {
    scheme: &'static str,
    operator: Operator,
    creation: Creation,
    staleness: Duration,
}

impl Service {
    /// A service that says that what was written is seen by everybody at once.
    fn new(scheme: &'static str, operator: Operator) -> Self {
        let can = operator.info().full_capability();
        let creation = if can.write_with_if_not_exists { Creation::Conditional } else { Creation::LookFirst };
        Self { scheme, operator, creation, staleness: Duration::ZERO }
    }

    fn on(self, client: HttpClient, place: &Location, access: &Access<'_>) -> Result<ObjectStorage> {
        let known = access.known.map(Findings::is_exclusive);
        let creation = match self.creation {
            // It says so, and does not do it.
            Creation::Conditional if known == Some(false) => Creation::LookFirst,
            other => other,
        };
        let tuning = access.tuning(self.scheme)?;
        Ok(ObjectStorage::new(client, self.operator, place.place(), tuning, creation, self.staleness, known)?)
    }
}

fn webdav(endpoint: &str, prefix: &str, user: Option<&str>, password: Option<&str>) -> Result<Service> {
    let mut webdav = Webdav::default().endpoint(endpoint).root(&format!("/{prefix}"));
    let mut authorization = None;
    if let Some(user) = user {
        webdav = webdav.username(user).password(password.unwrap_or_default());
        authorization = Some(
            opendal::raw::format_authorization_by_basic(user, password.unwrap_or_default()).map_err(|e| refused(&e))?,
        );
    }
    let operator = Operator::new(webdav).map_err(|e| refused(&e))?.finish();
    let base = format!("{endpoint}/{prefix}").trim_end_matches('/').to_owned();
    let creation = Creation::Move(Dav { base, authorization });
    Ok(Service { scheme: "webdav", operator, creation, staleness: Duration::ZERO })
}

/// Where it is and with which token is added on the way.
fn swift(container: &str, prefix: &str) -> Result<Service> {
    let swift = Swift::default().endpoint(swift::ENDPOINT).container(container).root(&format!("/{prefix}"));
    let operator = Operator::new(swift).map_err(|e| refused(&e))?.finish();
    // A store of several machines lists what is new when it gets to it.
    Ok(Service { staleness: UNKNOWN_STALENESS, ..Service::new("swift", operator) })
}

/// Through a server of rclone's own on this machine, which ends with the storage.
fn rclone(client: HttpClient, remote: &str, place: &Location, access: &Access<'_>) -> Result<Arc<dyn Storage>> {
    let option = |name, usual: &str| access.options.get(name).unwrap_or(usual).to_owned();
    let program = option("rclone.program", "rclone");
    let server = Rclone::start(&program, &option("rclone.args", Rclone::ARGS), remote)?;
    let service = webdav(&server.endpoint, "", Some(&server.user), Some(&server.password))?;
    // What is behind it may be anything.
    let service = Service { scheme: "rclone", staleness: UNKNOWN_STALENESS, ..service };
    Ok(Arc::new(server.beside(service.on(client, place, access)?)))
}

/// OpenDAL's complaint about a configuration.
fn refused(error: &opendal::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("the repository's address cannot be used: {}", error.message()))
}

pub(super) fn first(access: &Access<'_>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| (access.variable)(name).filter(|v| !v.is_empty()))
}

fn s3(endpoint: &str, bucket: &str, prefix: &str, access: &Access<'_>) -> Result<Operator> {
    let option = |name| access.options.get(name);
    let usual = || first(access, &["AWS_REGION", "AWS_DEFAULT_REGION"]);
    let region = option("s3.region").map(str::to_owned).or_else(|| amazon_region(endpoint)).or_else(usual);
    let mut s3 = S3::default()
        .endpoint(endpoint)
        .bucket(bucket)
        .root(&format!("/{prefix}"))
        .region(region.as_deref().unwrap_or("us-east-1"));
    let variable = |name| first(access, &[name]);
    if let (Some(id), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        s3 = s3.access_key_id(&id).secret_access_key(&secret);
        if let Some(token) = variable("AWS_SESSION_TOKEN") {
            s3 = s3.session_token(&token);
        }
    }
    let dns = match option("s3.bucket-lookup") {
        Some("dns") => true,
        Some("path") => false,
        None | Some("auto") => endpoint.ends_with(".amazonaws.com") && !bucket.contains('.'),
        Some(other) => return Err(no_value("s3.bucket-lookup", other)),
    };
    if dns {
        s3 = s3.enable_virtual_host_style();
    }
    match option("s3.list-objects-v1") {
        Some("true") => s3 = s3.disable_list_objects_v2(),
        None | Some("false") => {}
        Some(other) => return Err(no_value("s3.list-objects-v1", other)),
    }
    match option("s3.checksum") {
        Some(algorithm @ ("md5" | "crc32c")) => s3 = s3.checksum_algorithm(algorithm),
        None => {}
        Some(other) => return Err(no_value("s3.checksum", other)),
    }
    match option("s3.storage-class") {
        Some(class @ ("GLACIER" | "DEEP_ARCHIVE")) => {
            return Err(no_value("s3.storage-class", class).hint("what must be thawed cannot be read by a backup"));
        }
        Some(class) => s3 = s3.default_storage_class(class),
        None => {}
    }
    Ok(Operator::new(s3).map_err(|e| refused(&e))?.finish())
}

fn no_value(option: &str, value: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("-o {option} has no use for {value:?}"))
}

/// The region that stands in one of Amazon's names: `s3.REGION.amazonaws.com`, with a hyphen in
/// old ones, `dualstack` in new ones.
fn amazon_region(endpoint: &str) -> Option<String> {
    let host = endpoint.split_once("://")?.1.strip_suffix(".amazonaws.com")?;
    let rest = host.strip_prefix("s3.").or_else(|| host.strip_prefix("s3-"))?;
    Some(rest.strip_prefix("dualstack.").unwrap_or(rest).to_owned())
}

fn azure(container: &str, prefix: &str, access: &Access<'_>) -> Result<Operator> {
    let variable = |names: &[&str]| first(access, names);
    let mut azure = Azblob::default().container(container).root(&format!("/{prefix}"));
    let account = variable(&["AZURE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_NAME"]);
    let suffix = variable(&["AZURE_ENDPOINT_SUFFIX"]).unwrap_or_else(|| "core.windows.net".to_owned());
    match (access.options.get("azure.endpoint"), &account) {
        (Some(endpoint), _) => azure = azure.endpoint(endpoint),
        (None, Some(account)) => azure = azure.endpoint(&format!("https://{account}.blob.{suffix}")),
        (None, None) => {
            return Err(Error::new(ErrorKind::Invalid, "nobody said which account of Azure is meant")
                .hint("set AZURE_ACCOUNT_NAME, and AZURE_ACCOUNT_KEY or AZURE_ACCOUNT_SAS"));
        }
    }
    if let Some(account) = &account {
        azure = azure.account_name(account);
    }
    if let Some(key) = variable(&["AZURE_ACCOUNT_KEY", "AZURE_STORAGE_ACCOUNT_KEY"]) {
        azure = azure.account_key(&key);
    } else if let Some(sas) = variable(&["AZURE_ACCOUNT_SAS", "AZURE_STORAGE_SAS_TOKEN"]) {
        azure = azure.sas_token(sas.trim_start_matches('?'));
    }
    Ok(Operator::new(azure).map_err(|e| refused(&e))?.finish())
}

/// Whatever OpenDAL has, with `-o opendal.NAME=VALUE` and variables `OPENDAL_SERVICE_NAME`.
fn any(service: &str, rest: &str, access: &Access<'_>) -> Result<Operator> {
    opendal::init_default_registry();
    let mut options: Vec<(String, String)> =
        access.options.below("opendal.").map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    options.retain(|(name, _)| name != "connections");
    let variable = |name: &str| format!("OPENDAL_{}_{}", service.replace('-', "_"), name).to_ascii_uppercase();
    options.extend(SECRETS.iter().filter_map(|name| Some(((*name).to_owned(), (access.variable)(&variable(name))?))));
    let uri = if rest.is_empty() { format!("{service}:///") } else { format!("{service}{rest}") };
    let uri = OperatorUri::new(&uri, options).map_err(|e| refused(&e))?;
    Operator::from_uri(uri).map_err(|e| {
        refused(&e).hint(format!("this program has {}; what they need is on OpenDAL's pages", SERVICES.join(", ")))
    })
}

/// What is compiled in.
const SERVICES: [&str; 6] = ["azblob", "b2", "gcs", "s3", "swift", "webdav"];

/// Options that are only taken from variables.
const SECRETS: [&str; 12] = [
    "access_key_id",
    "account_key",
    "account_name",
    "application_key",
    "application_key_id",
    "credential",
    "password",
    "sas_token",
    "secret_access_key",
    "session_token",
    "token",
    "username",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Options, open};

    #[test]
    fn regions_in_amazons_names() {
        for (endpoint, region) in [
            ("https://s3.eu-central-1.amazonaws.com", Some("eu-central-1")),
            ("https://s3-eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("https://s3.dualstack.eu-west-3.amazonaws.com", Some("eu-west-3")),
            ("https://s3.amazonaws.com", None),
            ("https://s3.example.org", None),
        ] {
            assert_eq!(amazon_region(endpoint).as_deref(), region, "{endpoint}");
        }
    }

    fn opened(place: &str, options: &[&str], variables: &[(&str, &str)]) -> Result<Arc<dyn Storage>> {
        let place = Location::parse(place.as_ref())?;
        let options = Options::parse(options)?;
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        open(&place, &Access { options: &options, variable: &variable, cancel: None, known: None })
    }

    #[test]
    fn what_is_missing_is_said() {
        for (place, options, why) in [
            ("azure:box:/", &[][..], "which account"),
            ("s3:h/b", &["s3.bucket-lookup=x"], "no use for"),
            ("s3:h/b", &["s3.storage-class=GLACIER"], "no use for"),
            ("s3:h/b", &["s3.checksum=sha1"], "no use for"),
            ("swift:box:/", &[], "nobody said who asks"),
            ("opendal:nonsense", &[], "cannot be used"),
            ("opendal:b2", &[], "cannot be used"),
        ] {
            let error = opened(place, options, &[]).err().expect(place);
            assert!(error.to_string().contains(why), "{place}: {error}");
            assert!(!error.hints().is_empty() || place.starts_with("s3"), "{place}");
        }
        let untested = opened("opendal:s3://b/r?region=eu&endpoint=http://h", &[], &[]).expect("it opens");
        assert!(!untested.staleness().is_zero());
        let key = [("ST_AUTH", "http://h/auth/v1.0"), ("ST_USER", "a:b"), ("ST_KEY", "k")];
        let swift = opened("swift:box:/p", &[], &key).expect("it opens");
        assert!(!swift.staleness().is_zero() && !swift.claims_exclusive() && swift.glances());
    }
}
