//! Swift: who asks is proved once, and from then on by a token, which ends.
//!
//! OpenDAL takes one token and one address for good. So it is told neither: requests leave it for a
//! host that does not exist, and get the address and the token of the moment here. A token that the
//! server does not take any more is followed by a new one, once for each request, which is then made
//! again; who got a token from somebody else has to get the next one there, too.

use super::http::host_of;
use super::service::first;
use super::trouble::Trouble;
use super::{Client, keystone};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::open::Access;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use opendal::Buffer;
use opendal::raw::{HttpBody, HttpFetch};
use std::sync::Arc;
use tokio::sync::Mutex;

/// What OpenDAL takes for the address.
pub(super) const ENDPOINT: &str = "http://swift.invalid";

const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// How a token is got.
pub(super) enum Login {
    /// Version 1: a user and a key, for an answer in headers.
    Key { url: Uri, user: HeaderValue, key: HeaderValue },
    /// Keystone, version 3.
    Keystone(keystone::Login),
    /// Somebody else got it.
    Given(Pass),
}

/// Where objects are, and the token for them.
#[derive(Clone)]
pub(super) struct Pass {
    /// Without a slash at its end.
    base: String,
    host: String,
    token: HeaderValue,
}

/// Sends requests with what they need here.
pub(super) struct Swift {
    client: Client,
    login: Login,
    /// As OpenDAL begins the path of a listing.
    listing: String,
    pass: Mutex<Option<Arc<Pass>>>,
}

impl Swift {
    pub(super) fn new(client: Client, login: Login, container: &str) -> Self {
        Self { client, login, listing: format!("/{container}/"), pass: Mutex::new(None) }
    }

    /// The pass of the moment, which is another one than `spent`. Who finds it spent first gets the next
    /// one, for everybody.
    async fn pass(&self, spent: Option<&Arc<Pass>>) -> opendal::Result<Arc<Pass>> {
        let mut held = self.pass.lock().await;
        match &*held {
            Some(pass) if !spent.is_some_and(|spent| Arc::ptr_eq(spent, pass)) => Ok(Arc::clone(pass)),
            _ => Ok(Arc::clone(held.insert(Arc::new(self.login.ask(&self.client).await?)))),
        }
    }

    /// What some answers mean, which OpenDAL does not know.
    fn understand(
        &self,
        request: &Parts,
        host: &str,
        answer: Response<HttpBody>,
    ) -> opendal::Result<Response<HttpBody>> {
        let host = host.to_owned();
        // Of what is read, it is the object that is missing.
        let of_container = request.method == Method::PUT || request.uri.path() == self.listing;
        match answer.status() {
            StatusCode::NOT_FOUND if of_container => Err(Trouble::NoContainer { host }.raise()),
            StatusCode::UNAUTHORIZED if matches!(self.login, Login::Given(_)) => {
                let credentials = "OS_AUTH_TOKEN, or not any more: the program that got it has to get the next one";
                Err(Trouble::Stranger { host, credentials }.raise())
            }
            status if is_too_much(status) => {
                Err(odd(host, format!("it answers with status {status}")).with_temporary(true))
            }
            _ => Ok(answer),
        }
    }
}

/// 498 is Swift's own.
fn is_too_much(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.as_u16() == 498
}

impl HttpFetch for Swift {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let (parts, body) = request.into_parts();
        let pass = self.pass(None).await?;
        let mut answer = self.client.fetch(pass.on(&parts, body.clone())?).await?;
        if answer.status() == StatusCode::UNAUTHORIZED && !matches!(self.login, Login::Given(_)) {
            let pass = self.pass(Some(&pass)).await?;
            answer = self.client.fetch(pass.on(&parts, body)?).await?;
        }
        self.understand(&parts, &pass.host, answer)
    }
}

impl Pass {
    /// What a server says, or a variable: none if it cannot be.
    pub(super) fn new(base: &str, token: &str) -> Option<Self> {
        let uri = web_address(base)?;
        let base = uri.to_string().trim_end_matches('/').to_owned();
        Some(Self { base, host: host_of(&uri), token: secret(token)? })
    }

    /// A request of OpenDAL's with address and token.
    fn on(&self, parts: &Parts, body: Buffer) -> opendal::Result<Request<Buffer>> {
        let mut parts = parts.clone();
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        parts.uri =
            format!("{}{path}", self.base).parse().map_err(|e| odd(self.host.clone(), format!("no address: {e}")))?;
        parts.headers.insert(TOKEN, self.token.clone());
        Ok(Request::from_parts(parts, body))
    }
}

/// Of the web, without a user in it, and without a query.
pub(super) fn web_address(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let plain = matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none();
    (plain && !uri.authority()?.as_str().contains('@')).then_some(uri)
}

/// As a header that nobody shows.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok().filter(|v| !v.is_empty())?;
    value.set_sensitive(true);
    Some(value)
}

pub(super) fn odd(host: String, why: impl Into<String>) -> opendal::Error {
    Trouble::Other { host, why: why.into() }.raise()
}

impl Login {
    /// By restic's variables, those of OpenStack first.
    pub(super) fn of(access: &Access<'_>) -> Result<Self> {
        let variable = |name: &str| first(access, &[name]);
        if let (Some(base), Some(token)) = (variable("OS_STORAGE_URL"), variable("OS_AUTH_TOKEN")) {
            let no = || useless("OS_STORAGE_URL or OS_AUTH_TOKEN", "an address such as https://HOST/v1/ACCOUNT");
            return Pass::new(&base, &token).map(Self::Given).ok_or_else(no);
        }
        if let Some(url) = variable("OS_AUTH_URL") {
            return keystone::Login::of(&url, &variable).map(Self::Keystone);
        }
        match (variable("ST_AUTH"), variable("ST_USER"), variable("ST_KEY")) {
            (Some(url), Some(user), Some(key)) => {
                let no = |name| useless(name, "an address such as https://HOST/auth/v1.0, and plain text");
                Ok(Self::Key {
                    url: web_address(&url).ok_or_else(|| no("ST_AUTH"))?,
                    user: HeaderValue::from_str(&user).map_err(|_| no("ST_USER"))?,
                    key: secret(&key).ok_or_else(|| no("ST_KEY"))?,
                })
            }
            _ => Err(Error::new(ErrorKind::Invalid, "nobody said who asks Swift for the repository")
                .hint("set ST_AUTH, ST_USER and ST_KEY; or OS_AUTH_URL and what Keystone wants to know beside it")
                .hint("or set OS_STORAGE_URL and OS_AUTH_TOKEN to what another program got")),
        }
    }

    async fn ask(&self, client: &Client) -> opendal::Result<Pass> {
        match self {
            Self::Given(pass) => Ok(pass.clone()),
            Self::Keystone(login) => login.ask(client).await,
            Self::Key { url, user, key } => {
                let request = Request::get(url.clone()).header("X-Auth-User", user).header("X-Auth-Key", key);
                let request = request.body(Buffer::new()).map_err(|e| odd(host_of(url), e.to_string()))?;
                let answer = client.fetch(request).await?;
                admitted(url, answer.status(), "ST_USER and ST_KEY")?;
                let header = |name| answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
                issued(url, header("X-Storage-Url"), header("X-Auth-Token"))
            }
        }
    }
}

/// Nothing of what it holds is repeated.
pub(super) fn useless(variable: &str, usual: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("there is no use for what {variable} is set to"))
        .hint(format!("it should be {usual}"))
}

/// Whether whoever hands out tokens does.
pub(super) fn admitted(from: &Uri, status: StatusCode, credentials: &'static str) -> opendal::Result<()> {
    let host = host_of(from);
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Trouble::Stranger { host, credentials }.raise()),
        status => {
            let passing = status.is_server_error() || is_too_much(status);
            Err(odd(host, format!("it was asked for a token and answers with status {status}")).with_temporary(passing))
        }
    }
}

/// What `from` hands out.
pub(super) fn issued(from: &Uri, base: &str, token: &str) -> opendal::Result<Pass> {
    let refuse = |why: &str| Err(odd(host_of(from), why));
    match Pass::new(base, token) {
        None => refuse("it was asked for a token, and its answer has no address or no token in it"),
        Some(pass) if from.scheme_str() == Some("https") && !pass.base.starts_with("https:") => {
            refuse("the token that it gives out over https: would have to be sent over http:")
        }
        Some(pass) => Ok(pass),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Options;

    fn login(variables: &[(&str, &str)]) -> Result<Login> {
        let options = Options::default();
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Login::of(&Access { options: &options, variable: &variable, cancel: None, known: None })
    }

    #[test]
    fn who_asks() {
        let key = [("ST_AUTH", "https://h/auth/v1.0"), ("ST_USER", "a:b"), ("ST_KEY", "hunter2")];
        assert!(matches!(login(&key), Ok(Login::Key { .. })));
        let given = [("OS_STORAGE_URL", "https://h/v1/a/"), ("OS_AUTH_TOKEN", "hunter2")];
        let Ok(Login::Given(pass)) = login(&[key.as_slice(), &given].concat()) else { panic!("what is got counts") };
        assert_eq!((pass.base.as_str(), pass.token.is_sensitive()), ("https://h/v1/a", true));
        for (without, why) in [(0, "nobody said"), (1, "nobody said"), (2, "nobody said")] {
            let mut some = key.to_vec();
            some.remove(without);
            assert!(login(&some).err().expect("one is missing").to_string().contains(why));
        }
    }

    #[test]
    fn what_cannot_be_is_refused_and_not_repeated() {
        for (name, value) in [
            ("ST_AUTH", "hunter2"),
            ("ST_AUTH", "https://me:hunter2@h/auth"),
            ("ST_AUTH", "ftp://hunter2/auth"),
            ("ST_AUTH", "https://h/auth?hunter2"),
            ("ST_USER", "hunter2\n"),
            ("ST_KEY", "hunter2\n"),
        ] {
            let mut all = vec![("ST_AUTH", "https://h/auth/v1.0"), ("ST_USER", "a:b"), ("ST_KEY", "k")];
            all.retain(|(known, _)| *known != name);
            all.push((name, value));
            let error = login(&all).err().expect(value);
            let told = format!("{error:?} {:?}", error.hints());
            assert!(told.contains(&format!("no use for what {name} is set to")), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
        let error = login(&[("OS_STORAGE_URL", "h/hunter2"), ("OS_AUTH_TOKEN", "hunter2")]).err().expect("no scheme");
        assert!(!format!("{error:?} {:?}", error.hints()).contains("hunter2"));
    }

    #[test]
    fn what_is_handed_out() {
        let from = |text: &str| web_address(text).expect("an address");
        assert!(issued(&from("https://h/auth"), "https://s/v1/a", "t").is_ok());
        assert!(issued(&from("http://h/auth"), "http://s/v1/a", "t").is_ok());
        for (base, token) in [("http://s/v1/a", "t"), ("https://s/v1/a", ""), ("", "t"), ("https://a:b@s/v1", "t")] {
            assert!(issued(&from("https://h/auth"), base, token).is_err(), "{base} {token}");
        }
    }

    #[test]
    fn requests_get_an_address_and_a_token() {
        let pass = Pass::new("https://s:1/v1/AUTH_a/", "t").expect("a pass");
        let request = Request::get(format!("{ENDPOINT}/box/?prefix=p")).header("X-Auth-Token", "").body(());
        let (parts, ()) = request.expect("a request").into_parts();
        let request = pass.on(&parts, Buffer::new()).expect("a request");
        assert_eq!(request.uri().to_string(), "https://s:1/v1/AUTH_a/box/?prefix=p");
        assert_eq!(request.headers().get_all("X-Auth-Token").iter().collect::<Vec<_>>(), ["t"]);
    }
}
