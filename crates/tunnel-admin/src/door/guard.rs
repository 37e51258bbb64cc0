//! Who may ask what at the port. Each request passes here once, before anything else looks at it.
//!
//! 1. The `Host` must be one of ours, or a page that had its name point here (DNS rebinding) would be of our origin.
//! 2. The page, its files, health and signing in are anybody's: there is nothing in them.
//! 3. Everything else needs the admin token, or a browser's cookie *and* key.
//! 4. What changes something must come from our own origin, by the browser's word.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::Authority};

use super::crowd::Known;
use crate::{
    problem::Problem,
    sign_in::{Denied, SignIn},
    tokens::Actor,
};

/// The cookie. The prefix has browsers take it from this very host only, and with `Secure`.
pub(crate) const COOKIE: &str = "__Host-tunnel-admin";
/// The header that carries the key.
pub(crate) const KEY: &str = "x-tunnel-key";

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Whether who asked may still be answered: what lasts looks now and then.
#[derive(Clone, Debug)]
pub(crate) struct Standing(Option<Browser>);

#[derive(Clone, Debug)]
struct Browser {
    sign_in: Arc<SignIn>,
    cookie: String,
    key: String,
}

/// What requests are held against.
#[derive(Clone, Debug)]
pub(crate) struct Guard(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    sign_in: Arc<SignIn>,
    hosts: Vec<String>,
}

impl Guard {
    pub(crate) fn new(sign_in: Arc<SignIn>, hosts: Vec<String>) -> Self {
        Self(Arc::new(Rules { sign_in, hosts }))
    }
}

impl Standing {
    /// For who needs nobody's leave.
    pub(crate) fn lasting() -> Self {
        Self(None)
    }

    pub(crate) fn holds(&self) -> bool {
        self.0.as_ref().is_none_or(|browser| browser.sign_in.is_in(&browser.cookie, &browser.key))
    }
}

/// Lets a request pass, or answers it.
pub(crate) async fn check(State(Guard(rules)): State<Guard>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0);
    match rules.admit(peer, &request) {
        Ok(Some((actor, standing))) => {
            request.extensions().get::<Known>().inspect(|known| known.set());
            request.extensions_mut().insert(actor);
            request.extensions_mut().insert(standing);
            next.run(request).await
        }
        Ok(None) => next.run(request).await,
        Err(problem) => (*problem).into_response(),
    }
}

type Admitted = Option<(Actor, Standing)>;

impl Rules {
    fn admit(&self, peer: IpAddr, request: &Request) -> Result<Admitted, Box<Problem>> {
        let path = request.uri().path();
        if is_health(path) {
            return Ok(None);
        }
        let headers = request.headers();
        let host = host(request).ok_or_else(misdirected)?;
        if !self.is_ours(&host) {
            return Err(misdirected());
        }
        let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if is_public(path) {
            return if is_safe || is_same_origin(headers, &host) { Ok(None) } else { Err(elsewhere()) };
        }
        if let Some(token) = bearer(headers) {
            self.sign_in.is_program(peer, token).map_err(|denied| Box::new(denied.into()))?;
            return Ok(Some((Actor::Program { address: peer }, Standing::lasting())));
        }
        let cookie = cookie(headers).ok_or_else(stranger)?;
        let key = headers.get(KEY).and_then(|key| key.to_str().ok()).ok_or_else(stranger)?;
        if !self.sign_in.is_in(cookie, key) {
            return Err(stranger());
        }
        if !is_safe && !is_same_origin(headers, &host) {
            return Err(elsewhere());
        }
        let browser =
            Browser { sign_in: self.sign_in.clone(), cookie: cookie.to_owned(), key: key.to_owned() };
        Ok(Some((Actor::Dashboard { address: peer }, Standing(Some(browser)))))
    }

    /// No name that somebody else may have point here: an address, `localhost`, or what the operator named.
    fn is_ours(&self, host: &Authority) -> bool {
        let name = host.host().trim_matches(['[', ']']).to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok() || self.hosts.contains(&name)
    }
}

fn is_health(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

fn is_public(path: &str) -> bool {
    matches!(path, "/" | "/favicon.ico" | "/api/v1/sign-in") || path.starts_with("/assets/")
}

/// What the request is for: in HTTP/2 part of its target, in HTTP/1 a header, of which there must be one. A host and its
/// port, and nobody's name before them.
fn host(request: &Request) -> Option<Authority> {
    let host = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => {
            let mut hosts = request.headers().get_all(header::HOST).iter();
            let (host, None) = (hosts.next()?, hosts.next()) else { return None };
            host.to_str().ok()?.parse().ok()?
        }
    };
    (!host.as_str().contains('@')).then_some(host)
}

/// Whether a page of ours sent it, by the word of the browser. A request without such a word isn't a browser's of today.
fn is_same_origin(headers: &HeaderMap, host: &Authority) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let origin = origin.and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    site.is_none_or(|site| site == b"same-origin")
        && origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_str()))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The value of our cookie.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut pairs =
        cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

fn misdirected() -> Box<Problem> {
    let problem =
        Problem::new(StatusCode::MISDIRECTED_REQUEST, "wrong-host", "this isn't the name of this server")
            .why("the request's Host is none that the admin port answers to")
            .next("use the address or localhost, or start the server with --admin-host NAME");
    Box::new(problem)
}

fn stranger() -> Box<Problem> {
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "not-signed-in", "nobody is signed in")
        .next("run `tunnel dashboard` on the server for a link, or send the admin token as a bearer token");
    Box::new(problem)
}

fn elsewhere() -> Box<Problem> {
    let problem = Problem::new(StatusCode::FORBIDDEN, "cross-origin", "the request comes from another page")
        .why("its Origin or Sec-Fetch-Site isn't this server's own");
    Box::new(problem)
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Wrong => Self::new(StatusCode::UNAUTHORIZED, "wrong-secret", "that isn't right")
                .why("the password, token or link is wrong, or the link was used or is too old")
                .next("run `tunnel dashboard` on the server for a new link"),
            Denied::TooMany(wait) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-tries", "too many tries")
                    .next(format!("try again in {} s", wait.as_secs() + 1))
            }
        }
    }
}
