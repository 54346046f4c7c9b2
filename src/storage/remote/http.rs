//! The one way to the network: requests over TLS by ring, given up when nothing moves, no longer
//! than allowed, and with errors that name a host and never a URL (which may hold a signature).

use super::trouble::Trouble;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http::{Request, Response, header};
use opendal::Buffer;
use opendal::raw::{HttpBody, HttpFetch};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Once};
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(20);

/// How long nothing may move in either direction.
const STALL: Duration = Duration::from_secs(60);

/// How long a cloud's own address for credentials may take; elsewhere nobody answers there.
const LINK_LOCAL: Duration = Duration::from_secs(2);

/// Answers that are no object (listings, errors) are no longer than this.
const ANSWER_MAX: u64 = 64 << 20;

/// What one call of a verb allows, and what it learns beside its result.
#[derive(Debug)]
pub(super) struct Call {
    /// Bytes that an answer may have.
    max: u64,
    /// The time of the last answer by the server's clock; 0 if it did not say.
    date: AtomicI64,
}

tokio::task_local! {
    static CALL: Arc<Call>;
}

impl Call {
    /// A call whose answers have up to `max` bytes.
    pub(super) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { max: max.max(ANSWER_MAX), date: AtomicI64::new(0) })
    }

    /// Make a call.
    pub(super) async fn scope<F: Future>(self: &Arc<Self>, work: F) -> F::Output {
        CALL.scope(Arc::clone(self), work).await
    }

    /// What time it was when the last answer was written, in seconds since 1970.
    pub(super) fn date(&self) -> Option<i64> {
        Some(self.date.load(Relaxed)).filter(|d| *d != 0)
    }
}

/// Sends requests.
pub(in crate::storage) struct Client {
    inner: reqwest::Client,
}

impl Client {
    /// To be made before anything of OpenDAL: that makes one of its own, which is never used but
    /// panics where ours is an error.
    pub(in crate::storage) fn new() -> Result<Self, reqwest::Error> {
        use_ring();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("orlop/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .pool_idle_timeout(Duration::from_secs(30))
            .tcp_user_timeout(STALL)
            // A storage that sends us elsewhere is not the one that was named; signatures would not
            // hold there either.
            .redirect(reqwest::redirect::Policy::none());
        Ok(Self { inner: builder.build()? })
    }
}

/// TLS is ring's, as sealing is. Whoever embeds the library may have chosen before.
fn use_ring() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

impl HttpFetch for Client {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let (parts, body) = request.into_parts();
        let host = host_of(&parts.uri);
        let fail = |trouble: Trouble| trouble.raise();
        let url = reqwest::Url::parse(&parts.uri.to_string())
            .map_err(|e| fail(Trouble::Other { host: host.clone(), why: format!("no address: {e}") }))?;
        let is_head = parts.method == http::Method::HEAD;
        let moved = Arc::new(AtomicU64::new(0));
        let mut builder = self.inner.request(parts.method, url).headers(parts.headers);
        if !body.is_empty() {
            builder = builder.body(reqwest::Body::wrap(Upload { rest: body, moved: Arc::clone(&moved) }));
        }
        let patience = if host.starts_with("169.254.") { LINK_LOCAL } else { STALL };
        let answer = unless_stalled(builder.send(), &moved, patience).await;
        let answer = match answer {
            Some(Ok(answer)) => answer,
            Some(Err(e)) => return Err(fail(Trouble::of(&host, e))),
            None => return Err(fail(Trouble::Stalled { host, seconds: patience.as_secs() })),
        };
        Ok(receive(answer, host, is_head))
    }
}

/// The answer's head, and a body that stalls and grows only so far.
fn receive(mut answer: reqwest::Response, host: String, is_head: bool) -> Response<HttpBody> {
    let call = CALL.try_with(Arc::clone).unwrap_or_else(|_| Call::new(ANSWER_MAX));
    let date = answer.headers().get(header::DATE).and_then(|v| v.to_str().ok()).and_then(parse_date);
    call.date.store(date.unwrap_or(0), Relaxed);
    let encoded = answer.headers().contains_key(header::CONTENT_ENCODING);
    let len = answer.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    let mut head = Response::new(());
    *head.status_mut() = answer.status();
    std::mem::swap(head.headers_mut(), answer.headers_mut());
    let mut left = call.max;
    let limits = (host.clone(), call.max);
    let pieces = answer.bytes_stream().map_err({
        let host = host.clone();
        move |e| Trouble::of(&host, e).raise()
    });
    let pieces = tokio_timeout(Box::pin(pieces), host).map(move |piece| {
        let piece: Bytes = piece?;
        left = left.checked_sub(piece.len() as u64).ok_or_else(|| {
            Trouble::Other { host: limits.0.clone(), why: format!("its answer has more than {} bytes", limits.1) }
                .raise()
        })?;
        Ok(Buffer::from(piece))
    });
    let expected = if is_head || encoded { None } else { len };
    head.map(|()| HttpBody::new(pieces, expected))
}

type Pieces = Pin<Box<dyn futures_util::Stream<Item = opendal::Result<Bytes>> + Send + Sync>>;

/// The same pieces, with an end where none comes for too long.
fn tokio_timeout(
    pieces: impl futures_util::Stream<Item = opendal::Result<Bytes>> + Send + Sync + Unpin + 'static,
    host: String,
) -> Pieces {
    let state = Some((pieces, host));
    Box::pin(futures_util::stream::unfold(state, |state| async move {
        let (mut pieces, host) = state?;
        match tokio::time::timeout(STALL, pieces.next()).await {
            Ok(piece) => piece.map(|p| (p, Some((pieces, host)))),
            Err(_) => Some((Err(Trouble::Stalled { host, seconds: STALL.as_secs() }.raise()), None)),
        }
    }))
}

/// `None` if nothing of the body went out and no answer came for so long.
async fn unless_stalled<F: Future>(work: F, moved: &AtomicU64, patience: Duration) -> Option<F::Output> {
    let mut work = std::pin::pin!(work);
    let mut before = moved.load(Relaxed);
    loop {
        if let Ok(done) = tokio::time::timeout(patience, work.as_mut()).await {
            return Some(done);
        }
        let now = moved.load(Relaxed);
        if now == before {
            return None;
        }
        before = now;
    }
}

/// A body on its way, counted.
struct Upload {
    rest: Buffer,
    moved: Arc<AtomicU64>,
}

/// Sent in pieces, so that what moves can be seen.
const PIECE: usize = 64 << 10;

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        let rest = self.rest.len();
        if rest == 0 {
            return Poll::Ready(None);
        }
        let here = self.rest.current();
        let piece = here.slice(..here.len().min(PIECE));
        self.rest = self.rest.slice(piece.len()..rest);
        self.moved.fetch_add(piece.len() as u64, Relaxed);
        Poll::Ready(Some(Ok(http_body::Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// With its port, if that is said; without a user.
pub(super) fn host_of(uri: &http::Uri) -> String {
    let host = uri.host().unwrap_or("nowhere");
    uri.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// "Sun, 06 Nov 1994 08:49:37 GMT", as RFC 9110 has it.
pub(super) fn parse_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text).ok().map(|t| t.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(parse_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse_date("yesterday"), None);
    }

    #[test]
    fn hosts_without_secrets() {
        let uri = "https://me:secret@host:9000/bucket?sig=abc".parse().expect("a URI");
        assert_eq!(host_of(&uri), "host:9000");
    }
}
