//! What WebDAV (RFC 4918) can and OpenDAL does not ask for: to move only where nothing is.
//!
//! An upload that breaks off may leave a part behind under its name. So objects are first put
//! beside, and moved to their place, which servers do at once; `Overwrite: F` makes them refuse if
//! it is taken. Whether they look and move in one step nobody promises.

use http::{Method, Request, StatusCode, header};
use opendal::raw::HttpClient;
use opendal::{Buffer, Error, ErrorKind};
use std::time::Duration;

/// Where unfinished objects are: no name begins with a dot.
pub(super) const TEMPORARIES: &str = ".tmp";

/// A move that is refused is asked for so often: servers also refuse for a moment, while another one moves to
/// the same place.
pub(super) const TRIES: u32 = 4;
/// After the second refusal it is waited twice as long, then longer.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Asks one server.
pub(in crate::storage) struct Dav {
    /// Scheme, host, port and path, without a slash at the end.
    pub(in crate::storage) base: String,
    /// The value of the header.
    pub(in crate::storage) authorization: Option<String>,
}

/// What became of a move.
pub(super) enum Moved {
    Done,
    /// Its place is taken.
    Taken,
    /// The folder of its place is missing, or somebody else moves to the same place, or it is forbidden.
    Refused(StatusCode),
}

impl Dav {
    /// From the temporaries to a name; names need no escaping.
    pub(super) async fn rename(
        &self,
        client: &HttpClient,
        from: &str,
        to: &str,
        overwrite: bool,
    ) -> opendal::Result<Moved> {
        let method = Method::from_bytes(b"MOVE").map_err(odd)?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/{from}", self.base))
            .header("Destination", format!("{}/{to}", self.base))
            .header("Overwrite", if overwrite { "T" } else { "F" });
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let answer = client.send(request.body(Buffer::new()).map_err(odd)?).await?;
        match answer.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(Moved::Done),
            StatusCode::PRECONDITION_FAILED if !overwrite => Ok(Moved::Taken),
            status @ (StatusCode::CONFLICT | StatusCode::FORBIDDEN) => Ok(Moved::Refused(status)),
            status => Err(refused(status)),
        }
    }
}

fn odd(e: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::ConfigInvalid, format!("no request can be made of it: {e}"))
}

pub(super) fn refused(status: StatusCode) -> Error {
    let kind = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unexpected,
    };
    // A temporary that is not there any more is put again, too.
    let again = status.is_server_error() || status == StatusCode::NOT_FOUND || status == StatusCode::LOCKED;
    Error::new(kind, format!("the server answers a MOVE with status {status}")).with_temporary(again)
}
