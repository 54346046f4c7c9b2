//! What WebDAV (RFC 4918) can and OpenDAL does not ask for: to move only where nothing is.
//!
//! An upload that breaks off may leave a part behind under its name. So objects are first put
//! beside, and moved to their place, which servers do at once; `Overwrite: F` makes them refuse if
//! it is taken. Whether they look and move in one step nobody promises.

use super::http::Call;
use super::{Inner, Written};
use crate::storage::local::shelf::ABANDONED_AFTER_SECONDS;
use futures_util::TryStreamExt;
use http::{Method, Request, StatusCode, header};
use opendal::{Buffer, Error, ErrorKind, Operator};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where unfinished objects are: no name begins with a dot.
const TEMPORARIES: &str = ".tmp";

/// A move that is refused is asked for so often: servers also refuse for a moment, while another one
/// moves to the same place.
const TRIES: u32 = 4;
/// After the second refusal it is waited twice as long, then longer.
const PAUSE: Duration = Duration::from_millis(100);

/// What one call has put beside and not moved: a name for each try, since a move whose answer was lost
/// may come late, and must not find half of the next try under its name.
#[derive(Default)]
pub(super) struct Besides(Mutex<Vec<String>>);

impl Besides {
    fn next(&self) -> opendal::Result<String> {
        let name = format!("{TEMPORARIES}/{:016x}", getrandom::u64().map_err(odd)?);
        self.locked().push(name.clone());
        Ok(name)
    }

    /// All of them, to be removed.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.locked())
    }

    fn locked(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Remove what nobody has written to for long, by the server's clock.
pub(super) async fn sweep(operator: &Operator, call: &Call) -> opendal::Result<()> {
    let mut entries = operator.lister(&format!("{TEMPORARIES}/")).await?;
    while let Some(entry) = entries.try_next().await? {
        // Nothing was asked before the first one.
        let Some(now) = call.date() else { return Ok(()) };
        let (path, meta) = entry.into_parts();
        let written = meta.last_modified().map(|t| t.into_inner().as_second());
        if meta.is_file() && written.is_some_and(|t| now.saturating_sub(t) >= ABANDONED_AFTER_SECONDS) {
            operator.delete(&path).await?;
        }
    }
    Ok(())
}

/// Asks one server.
pub(in crate::storage) struct Dav {
    /// Scheme, host, port and path, without a slash at the end.
    pub(in crate::storage) base: String,
    /// The value of the header.
    pub(in crate::storage) authorization: Option<String>,
}

/// What became of a move.
enum Moved {
    Done,
    /// Its place is taken.
    Taken,
    /// The folder of its place is missing, or somebody else moves to the same place, or it is forbidden.
    Refused(StatusCode),
}

impl Dav {
    /// Put beside, then move to its place. If that is refused for good while something is in the place,
    /// the bytes stay beside, and the error says where: some servers remove first what they move to.
    pub(super) async fn put(
        &self,
        to: &Inner,
        besides: &Besides,
        path: &str,
        body: Buffer,
        overwrite: bool,
    ) -> opendal::Result<Written> {
        let beside = besides.next()?;
        to.operator.write(&beside, body).await?;
        let mut refused = 0;
        loop {
            let status = match self.rename(to, &beside, path, overwrite).await? {
                Moved::Done => {
                    besides.locked().pop();
                    return Ok(Written::Created);
                }
                // An earlier move may have come through, whatever the server said.
                Moved::Taken if refused > 0 => return Ok(Written::TakenPerhapsByUs),
                Moved::Taken => return Ok(Written::Taken),
                Moved::Refused(status) => status,
            };
            if !overwrite && to.stat(path).await?.is_some() {
                return Ok(Written::TakenPerhapsByUs);
            }
            refused += 1;
            if refused == TRIES {
                let why = format!("{refused} times; it lets objects be made as {beside}, and not moved from there");
                return Err(answered(status, &why));
            }
            if refused > 1 {
                tokio::time::sleep(PAUSE * refused).await;
            } else if let Some((folder, _)) = path.rsplit_once('/') {
                to.operator.create_dir(&format!("{folder}/")).await?;
            }
        }
    }

    /// From the temporaries to a name; names need no escaping.
    async fn rename(&self, to: &Inner, from: &str, path: &str, overwrite: bool) -> opendal::Result<Moved> {
        let method = Method::from_bytes(b"MOVE").map_err(odd)?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/{from}", self.base))
            .header("Destination", format!("{}/{path}", self.base))
            .header("Overwrite", if overwrite { "T" } else { "F" });
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let answer = to.client.send(request.body(Buffer::new()).map_err(odd)?).await?;
        match answer.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(Moved::Done),
            StatusCode::PRECONDITION_FAILED if !overwrite => Ok(Moved::Taken),
            status @ (StatusCode::CONFLICT | StatusCode::FORBIDDEN) => Ok(Moved::Refused(status)),
            status => Err(answered(status, "once")),
        }
    }
}

fn odd(e: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::ConfigInvalid, format!("no request can be made of it: {e}"))
}

fn answered(status: StatusCode, often: &str) -> Error {
    let kind = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::CONFLICT => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unexpected,
    };
    // A temporary that is not there any more is put again, too.
    let again = status.is_server_error() || status == StatusCode::NOT_FOUND || status == StatusCode::LOCKED;
    Error::new(kind, format!("the server answers a MOVE with status {status}, {often}")).with_temporary(again)
}
