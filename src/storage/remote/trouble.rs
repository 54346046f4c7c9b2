//! What can go wrong between here and there, in words without secrets, and whether to try again.

use crate::storage::StorageErrorKind;
use opendal::{Error, ErrorKind};
use std::error::Error as StdError;
use std::io;

/// Words of servers are quoted up to this length.
const QUOTED_MAX: usize = 300;

/// What happened on the way to a host.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{host} cannot be reached: {why}")]
    Unreachable { host: String, why: String },
    #[error("{host} cannot prove who it is: {why}")]
    Certificate { host: String, why: String },
    #[error("nothing came from {host} for {seconds} s")]
    Stalled { host: String, seconds: u64 },
    #[error("the connection to {host} broke: {why}")]
    Broke { host: String, why: String },
    #[error("{host} does not take {credentials}")]
    Stranger { host: String, credentials: &'static str },
    #[error("{host} has no such container")]
    NoContainer { host: String },
    #[error("{host}: {why}")]
    Other { host: String, why: String },
}

impl Trouble {
    /// What the client of HTTP says, without the URL.
    pub(super) fn of(host: &str, error: reqwest::Error) -> Self {
        let (host, error) = (host.to_owned(), error.without_url());
        let why = innermost(&error);
        if causes(&error).any(|e| matches!(tls(e), Some(rustls::Error::InvalidCertificate(_)))) {
            return Self::Certificate { host, why };
        }
        if error.is_connect() {
            return Self::Unreachable { host, why };
        }
        if error.is_timeout() || error.is_request() || error.is_body() || error.is_decode() {
            return Self::Broke { host, why };
        }
        Self::Other { host, why }
    }

    /// As an error that travels through OpenDAL.
    pub(super) fn raise(self) -> Error {
        let again = matches!(self, Self::Unreachable { .. } | Self::Stalled { .. } | Self::Broke { .. });
        Error::new(ErrorKind::Unexpected, self.to_string()).with_temporary(again).set_source(self)
    }
}

/// An error and its causes, also those that an [`io::Error`] hides.
fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    // No chain is that long; a circle would be.
    std::iter::successors(Some(error), |e| cause(*e)).take(16)
}

fn cause<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(hidden) => Some(hidden),
        None => error.source(),
    }
}

fn tls<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e rustls::Error> {
    error.downcast_ref()
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map_or_else(String::new, |e| shorten(&e.to_string()))
}

/// A request that is refused is tried again so often: servers of WebDAV refuse what is locked.
const REFUSALS: u32 = 3;

/// Whether the same request may work a moment later, after it failed so often before.
pub(super) fn is_passing(error: &Error, failed: u32) -> bool {
    match error.kind() {
        ErrorKind::RateLimited => true,
        ErrorKind::PermissionDenied => error.is_temporary() && failed < REFUSALS,
        _ => error.is_temporary(),
    }
}

/// Whether it is about who asks, and not about what is asked for.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(kind_of(error), StorageErrorKind::Denied | StorageErrorKind::Credentials | StorageErrorKind::NoPlace)
}

/// The same as the storage's own error: its kind and a sentence.
pub(super) fn translate(error: &Error) -> (StorageErrorKind, io::Error) {
    let kind = kind_of(error);
    let why = trouble_of(error).map_or_else(|| words_of(error), Trouble::to_string);
    let io_kind = match kind {
        StorageErrorKind::NotFound => io::ErrorKind::NotFound,
        StorageErrorKind::Denied | StorageErrorKind::Credentials => io::ErrorKind::PermissionDenied,
        StorageErrorKind::Full => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    };
    (kind, io::Error::new(io_kind, why))
}

/// Codes by which servers say that they do not know who asks.
const STRANGER: [&str; 10] = [
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "AuthenticationFailed",
    "InvalidAuthenticationInfo",
    "UNAUTHENTICATED",
    "bad_auth_token",
    "Unauthorized",
];

fn trouble_of(error: &Error) -> Option<&Trouble> {
    causes(error).find_map(|e| e.downcast_ref())
}

fn kind_of(error: &Error) -> StorageErrorKind {
    match trouble_of(error) {
        Some(Trouble::Unreachable { .. } | Trouble::Stalled { .. } | Trouble::Broke { .. }) => {
            StorageErrorKind::Unreachable
        }
        Some(Trouble::Stranger { .. }) => StorageErrorKind::Credentials,
        Some(Trouble::NoContainer { .. }) => StorageErrorKind::NoPlace,
        Some(Trouble::Certificate { .. } | Trouble::Other { .. }) => StorageErrorKind::Other,
        None => kind_by_words(error),
    }
}

fn kind_by_words(error: &Error) -> StorageErrorKind {
    let text = error.message();
    let status = |code: &str| error.to_string().contains(&format!("status: {code}"));
    if STRANGER.iter().any(|code| text.contains(code)) || is_unsigned(error) || status("401") {
        return StorageErrorKind::Credentials;
    }
    if ["NoSuchBucket", "ContainerNotFound", "notFound: The specified bucket"].iter().any(|c| text.contains(c)) {
        return StorageErrorKind::NoPlace;
    }
    if ["QuotaExceeded", "InsufficientStorage"].iter().any(|c| text.contains(c)) || status("507") {
        return StorageErrorKind::Full;
    }
    match error.kind() {
        ErrorKind::NotFound => StorageErrorKind::NotFound,
        ErrorKind::PermissionDenied => StorageErrorKind::Denied,
        _ => StorageErrorKind::Other,
    }
}

/// Whether a request could not even be signed.
fn is_unsigned(error: &Error) -> bool {
    let text = error.message();
    text.contains("sign") && text.contains("request") || text.contains("credential")
}

/// What the server said, or OpenDAL, without its context, in which there are URLs.
fn words_of(error: &Error) -> String {
    let text = error.message();
    // OpenDAL's way to write them, and that of Ceph's gateway where it speaks Swift.
    let field = |names: [&str; 2]| {
        let rest = names.iter().find_map(|name| text.split_once(name))?.1;
        Some(rest.split_once('"')?.0).filter(|v| !v.is_empty())
    };
    let said = match (field(["code: \"", "\"Code\":\""]), field(["message: \"", "\"Message\":\""])) {
        (Some(code), Some(message)) => format!("{message} ({code})"),
        (Some(code), None) => code.to_owned(),
        _ if text.is_empty() => bare(error),
        _ => text.to_owned(),
    };
    let cause = causes(error).skip(1).last().map(ToString::to_string).filter(|c| !c.is_empty() && !c.contains("://"));
    match cause {
        Some(cause) if !said.contains(&cause) => format!("{}: {}", shorten(&said), shorten(&cause)),
        _ => shorten(&said),
    }
}

/// Of an answer without a word in it: its status, which is in the context.
fn bare(error: &Error) -> String {
    let context = error.to_string();
    let status = context.split_once("status: ").and_then(|(_, rest)| rest.get(..3));
    match status.filter(|s| s.bytes().all(|b| b.is_ascii_digit())) {
        Some(status) => format!("the server answers with status {status}"),
        None => error.kind().to_string(),
    }
}

/// One line, printable, not too long.
fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: ErrorKind, text: &str) -> (StorageErrorKind, String) {
        let (kind, why) = translate(&Error::new(kind, text).with_context("url", "https://h/?sig=secret"));
        (kind, why.to_string())
    }

    #[test]
    fn servers_words_are_sorted() {
        let s3 = |code: &str| format!("S3Error {{ code: \"{code}\", message: \"No.\", resource: \"/b\" }}");
        for (kind, code, expected) in [
            (ErrorKind::PermissionDenied, "InvalidAccessKeyId", StorageErrorKind::Credentials),
            (ErrorKind::PermissionDenied, "AccessDenied", StorageErrorKind::Denied),
            (ErrorKind::ConfigInvalid, "NoSuchBucket", StorageErrorKind::NoPlace),
            (ErrorKind::NotFound, "NoSuchKey", StorageErrorKind::NotFound),
            (ErrorKind::Unexpected, "QuotaExceeded", StorageErrorKind::Full),
        ] {
            assert_eq!(said(kind, &s3(code)), (expected, format!("No. ({code})")), "{code}");
        }
    }

    #[test]
    fn few_words_are_words_too() {
        let denied = "{\"Code\":\"AccessDenied\",\"Message\":\"\",\"HostId\":\"x\"}";
        assert_eq!(said(ErrorKind::PermissionDenied, denied), (StorageErrorKind::Denied, "AccessDenied".to_owned()));
        let mute = |context: &'static str| translate(&Error::new(ErrorKind::Unexpected, "").with_context("r", context));
        let (_, why) = mute("Parts { status: 503, version: HTTP/1.1 }");
        assert_eq!(why.to_string(), "the server answers with status 503");
        assert_eq!(mute("status: of things").1.to_string(), "Unexpected");
    }

    #[test]
    fn nothing_of_a_url_is_told() {
        let trouble = Trouble::Broke { host: "h".into(), why: "reset".into() };
        let (kind, why) = translate(&trouble.raise().with_context("url", "https://h/?sig=secret"));
        assert_eq!(
            (kind, why.to_string().as_str()),
            (StorageErrorKind::Unreachable, "the connection to h broke: reset")
        );
        let (_, why) = said(ErrorKind::Unexpected, &"x ".repeat(1000));
        assert!(why.chars().count() <= QUOTED_MAX + 1, "{why}");
        assert!(!said(ErrorKind::Unexpected, "what").1.contains("secret"));
    }
}
