//! Keystone, version 3: one request with a password or an application's credential, one answer with a
//! token in its head and the addresses of all services in its body.

use super::Client;
use super::http::host_of;
use super::swift::{Pass, admitted, issued, odd, useless, web_address};
use crate::error::{Error, ErrorKind, Result};
use http::{Request, Uri};
use opendal::Buffer;
use opendal::raw::HttpFetch;
use serde::Deserialize;
use serde_json::{Value, json};

/// The value of a variable that is set.
type Variable<'v> = &'v dyn Fn(&str) -> Option<String>;

/// What is asked, and which region's address counts.
pub(super) struct Login {
    url: Uri,
    body: Value,
    region: Option<String>,
    /// Which variables say who asks.
    by: &'static str,
}

impl Login {
    /// By the variables of OpenStack's own tools.
    pub(super) fn of(url: &str, variable: Variable<'_>) -> Result<Self> {
        let url = url.trim_end_matches('/');
        if url.ends_with("/v2.0") || variable("OS_IDENTITY_API_VERSION").is_some_and(|v| v.starts_with('2')) {
            return Err(Error::new(ErrorKind::Unsupported, "Keystone's version 2 is not spoken here")
                .hint("set OS_AUTH_URL to the address of version 3, or OS_STORAGE_URL and OS_AUTH_TOKEN")
                .hint("or use the S3 interface of the same store"));
        }
        let version = if url.ends_with("/v3") { "" } else { "/v3" };
        let url = web_address(&format!("{url}{version}/auth/tokens"))
            .ok_or_else(|| useless("OS_AUTH_URL", "an address such as https://HOST:5000/v3"))?;
        let (identity, by) = identity(variable)?;
        let mut auth = json!({ "identity": identity });
        if let Some(scope) = scope(variable) {
            auth["scope"] = scope;
        }
        Ok(Self { url, body: json!({ "auth": auth }), region: variable("OS_REGION_NAME"), by })
    }

    pub(super) async fn ask(&self, client: &Client) -> opendal::Result<Pass> {
        let body = Buffer::from(self.body.to_string());
        let request = Request::post(self.url.clone())
            .header("Content-Type", "application/json")
            .header("Content-Length", body.len())
            .body(body)
            .map_err(|e| odd(host_of(&self.url), e.to_string()))?;
        let (head, mut body) = client.fetch(request).await?.into_parts();
        admitted(&self.url, head.status, self.by)?;
        let token = head.headers.get("X-Subject-Token").and_then(|v| v.to_str().ok()).unwrap_or_default();
        let base = self.address(&body.to_buffer().await?.to_bytes())?;
        issued(&self.url, &base, token)
    }

    /// The public one of objects, in the region that was named.
    fn address(&self, answer: &[u8]) -> opendal::Result<String> {
        let odd = |why: String| odd(host_of(&self.url), why);
        let answer: Answer =
            serde_json::from_slice(answer).map_err(|_| odd("its answer is not what Keystone answers".to_owned()))?;
        let in_region = |e: &Endpoint| {
            self.region.as_ref().is_none_or(|r| e.region_id.as_ref() == Some(r) || e.region.as_ref() == Some(r))
        };
        let services = answer.token.catalog.into_iter().filter(|s| s.kind == "object-store");
        let mut endpoints = services.flat_map(|s| s.endpoints).filter(|e| e.interface == "public" && in_region(e));
        endpoints.next().map(|e| e.url).ok_or_else(|| {
            let region = self.region.as_ref().map_or(String::new(), |r| format!(" in the region {r}"));
            odd(format!("its answer names no store of objects{region}"))
        })
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Token,
}

#[derive(Deserialize)]
struct Token {
    /// Without a project there is none.
    #[serde(default)]
    catalog: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    interface: String,
    url: String,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    region_id: Option<String>,
}

/// Whatever came, as Keystone's answer.
pub(super) fn any_answer(bytes: &[u8]) {
    if let Ok(login) = Login::of("https://h:5000/v3", &|name| (!name.contains("REGION")).then(|| "x".to_owned())) {
        let _ = login.address(bytes);
    }
}

/// Who asks, and which variables say so.
fn identity(variable: Variable<'_>) -> Result<(Value, &'static str)> {
    let by_id = variable("OS_APPLICATION_CREDENTIAL_ID");
    let by_name = variable("OS_APPLICATION_CREDENTIAL_NAME");
    if let Some(secret) = variable("OS_APPLICATION_CREDENTIAL_SECRET") {
        let credential = match (by_id, by_name) {
            (Some(id), _) => json!({ "id": id, "secret": secret }),
            (None, Some(name)) => json!({ "name": name, "secret": secret, "user": user(variable)? }),
            (None, None) => return Err(unsaid("OS_APPLICATION_CREDENTIAL_ID or OS_APPLICATION_CREDENTIAL_NAME")),
        };
        let identity = json!({ "methods": ["application_credential"], "application_credential": credential });
        return Ok((identity, "OS_APPLICATION_CREDENTIAL_ID and OS_APPLICATION_CREDENTIAL_SECRET"));
    }
    if by_id.or(by_name).is_some() {
        return Err(unsaid("OS_APPLICATION_CREDENTIAL_SECRET"));
    }
    let mut user = user(variable)?;
    user["password"] = variable("OS_PASSWORD").ok_or_else(|| unsaid("OS_PASSWORD"))?.into();
    Ok((json!({ "methods": ["password"], "password": { "user": user } }), "OS_USERNAME and OS_PASSWORD"))
}

fn unsaid(name: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("OS_AUTH_URL is set, and {name} is not"))
        .hint("Keystone takes OS_USERNAME and OS_PASSWORD with OS_PROJECT_NAME, or OS_APPLICATION_CREDENTIAL_ID and OS_APPLICATION_CREDENTIAL_SECRET")
}

fn user(variable: Variable<'_>) -> Result<Value> {
    let name = || variable("OS_USERNAME").ok_or_else(|| unsaid("OS_USERNAME"));
    Ok(match variable("OS_USER_ID") {
        Some(id) => json!({ "id": id }),
        None => json!({ "name": name()?, "domain": domain(variable, "OS_USER_DOMAIN") }),
    })
}

/// A user's or a project's; where nothing is said, the one that every Keystone has.
fn domain(variable: Variable<'_>, of: &str) -> Value {
    let said = |of: &str| {
        let by_id = variable(&format!("{of}_ID")).map(|id| json!({ "id": id }));
        by_id.or_else(|| variable(&format!("{of}_NAME")).map(|name| json!({ "name": name })))
    };
    said(of).or_else(|| said("OS_USER_DOMAIN")).unwrap_or_else(|| json!({ "id": "default" }))
}

/// For what: an application's credential has its project already.
fn scope(variable: Variable<'_>) -> Option<Value> {
    if let Some(trust) = variable("OS_TRUST_ID") {
        return Some(json!({ "OS-TRUST:trust": { "id": trust } }));
    }
    if variable("OS_APPLICATION_CREDENTIAL_SECRET").is_some() {
        return None;
    }
    let either = |names: [&str; 2]| names.iter().find_map(|name| variable(name));
    let project = match either(["OS_PROJECT_ID", "OS_TENANT_ID"]) {
        Some(id) => json!({ "id": id }),
        None => {
            let name = either(["OS_PROJECT_NAME", "OS_TENANT_NAME"])?;
            json!({ "name": name, "domain": domain(variable, "OS_PROJECT_DOMAIN") })
        }
    };
    Some(json!({ "project": project }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(variables: &[(&str, &str)]) -> Result<Login> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Login::of("https://h:5000/v3/", &variable)
    }

    fn asked(variables: &[(&str, &str)]) -> Value {
        login(variables).expect("enough is said").body["auth"].clone()
    }

    #[test]
    fn what_is_asked() {
        let password = [("OS_USERNAME", "u"), ("OS_PASSWORD", "p"), ("OS_PROJECT_NAME", "box")];
        let default = json!({ "id": "default" });
        let expected = |user: Value, project: Value| {
            json!({
                "identity": { "methods": ["password"], "password": { "user": user } },
                "scope": { "project": project },
            })
        };
        assert_eq!(
            asked(&password),
            expected(
                json!({ "name": "u", "domain": default, "password": "p" }),
                json!({ "name": "box", "domain": default })
            )
        );
        let of_ours = json!({ "name": "ours" });
        assert_eq!(
            asked(&[password.as_slice(), &[("OS_USER_DOMAIN_NAME", "ours")]].concat()),
            expected(
                json!({ "name": "u", "domain": of_ours, "password": "p" }),
                json!({ "name": "box", "domain": of_ours })
            )
        );
        assert_eq!(
            asked(&[password.as_slice(), &[("OS_USER_ID", "7"), ("OS_TENANT_ID", "8")]].concat()),
            expected(json!({ "id": "7", "password": "p" }), json!({ "id": "8" }))
        );
        let trust = asked(&[password.as_slice(), &[("OS_TRUST_ID", "9")]].concat());
        assert_eq!(trust["scope"], json!({ "OS-TRUST:trust": { "id": "9" } }));
        let credential = [("OS_APPLICATION_CREDENTIAL_ID", "7"), ("OS_APPLICATION_CREDENTIAL_SECRET", "s")];
        assert_eq!(
            asked(&[credential.as_slice(), &[("OS_PROJECT_NAME", "box")]].concat()),
            json!({ "identity": {
                "methods": ["application_credential"], "application_credential": { "id": "7", "secret": "s" },
            } })
        );
        let named =
            [("OS_APPLICATION_CREDENTIAL_NAME", "n"), ("OS_APPLICATION_CREDENTIAL_SECRET", "s"), ("OS_USER_ID", "7")];
        assert_eq!(
            asked(&named)["identity"]["application_credential"],
            json!({ "name": "n", "secret": "s", "user": { "id": "7" } })
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        for (variables, missing) in [
            (&[][..], "OS_USERNAME"),
            (&[("OS_USERNAME", "u")], "OS_PASSWORD"),
            (&[("OS_APPLICATION_CREDENTIAL_ID", "7"), ("OS_PASSWORD", "hunter2")], "OS_APPLICATION_CREDENTIAL_SECRET"),
            (&[("OS_APPLICATION_CREDENTIAL_SECRET", "hunter2")], "OS_APPLICATION_CREDENTIAL_ID"),
            (
                &[("OS_APPLICATION_CREDENTIAL_SECRET", "hunter2"), ("OS_APPLICATION_CREDENTIAL_NAME", "n")],
                "OS_USERNAME",
            ),
        ] {
            let error = login(variables).err().expect(missing);
            let told = format!("{error:?} {:?}", error.hints());
            assert!(error.what().contains(missing) && !told.contains("hunter2"), "{told}");
        }
        let nothing: Variable<'_> = &|_| None;
        let old = Login::of("https://h:5000/v2.0/", nothing).err().expect("too old");
        assert_eq!(old.kind(), ErrorKind::Unsupported);
        let no = Login::of("https://me:hunter2@h/v3", nothing).err().expect("a secret");
        assert!(!format!("{no:?} {:?}", no.hints()).contains("hunter2"));
    }

    #[test]
    fn which_address_counts() {
        let mut login = login(&[("OS_USERNAME", "u"), ("OS_PASSWORD", "p")]).expect("enough is said");
        assert_eq!(login.url.to_string(), "https://h:5000/v3/auth/tokens");
        let bare = Login::of("https://h/identity", &|name| (name != "OS_IDENTITY_API_VERSION").then(|| "x".into()));
        assert!(bare.is_ok_and(|login| login.url == "https://h/identity/v3/auth/tokens"));
        let endpoint = |interface, region, url| json!({ "interface": interface, "region_id": region, "url": url });
        let answer = json!({ "token": { "catalog": [
            { "type": "compute", "endpoints": [endpoint("public", "one", "https://no")] },
            { "type": "object-store", "endpoints": [
                endpoint("internal", "one", "https://inside"),
                endpoint("public", "one", "https://one"),
                endpoint("public", "two", "https://two"),
            ] },
        ] } });
        let answer = answer.to_string();
        let mut in_region = |region: Option<&str>| {
            login.region = region.map(str::to_owned);
            login.address(answer.as_bytes()).map_err(|e| e.to_string())
        };
        assert_eq!(in_region(None).as_deref(), Ok("https://one"));
        assert_eq!(in_region(Some("two")).as_deref(), Ok("https://two"));
        assert!(in_region(Some("three")).is_err_and(|e| e.contains("in the region three")));
        for no in ["", "[]", "{}", "{\"token\":{}}", "{\"token\":{\"catalog\":[{\"type\":7}]}}"] {
            assert!(login.address(no.as_bytes()).is_err(), "{no}");
        }
    }
}
