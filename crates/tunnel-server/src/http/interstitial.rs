//! A page in front of a tunnel's pages, once for each browser: that somebody's machine is behind it, and nobody of
//! the server's has looked at it. Off unless the operator wants it.
//!
//! Browsers that go to a page are stopped, also in a frame, ahead of time, or by a form of another site: all of these
//! would show what is behind it, or let its scripts act as the host. Nothing else is stopped: no program, no form that
//! was filled in here, no request of a page's own. The button leads back to the same place and sets a cookie, all
//! without a script.
//!
//! The cookie is a MAC over the host and the visitor's neighbourhood (a /24, or a /48). A tunnel's owner can make
//! browsers keep any cookie for its host without being visited as a page (by an image on another site, say), and so
//! a cookie that is good for everybody would stop nobody.

use std::net::IpAddr;

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, COOKIE, LOCATION, ORIGIN, SET_COOKIE, USER_AGENT},
};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tunnel_protocol::{Code, Secret};
use tunnel_router::Hostname;

use super::{Desk, answer::Answer, facts::Facts, respond::Failure, target_path};
use crate::{ids, throttle::neighbourhood};

/// Where the button leads, with the path it was shown at behind it.
pub(super) const GO_ON: &str = "/.well-known/tunnel/go-on";

/// A request with this field, whatever it says, is let through: for programs that look like browsers.
const SKIP: HeaderName = HeaderName::from_static("tunnel-skip-warning");

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_USER: HeaderName = HeaderName::from_static("sec-fetch-user");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");

/// How long a browser isn't asked again, in seconds: a week.
const KEPT: u32 = 7 * 24 * 3600;

/// How much of a MAC is in a cookie, in bytes.
const MAC: usize = 16;

/// Knows who has pressed the button.
#[derive(Debug)]
pub(crate) struct Interstitial {
    /// New at each start: after a restart browsers are asked once more.
    key: Secret<32>,
}

impl Interstitial {
    pub(crate) fn new() -> Self {
        Self { key: ids::secret() }
    }

    /// Whether a visitor must see the page before it gets what it asks for: the path to go on to if so.
    pub(super) fn stops<B>(&self, facts: &Facts, visitor: IpAddr, request: &Request<B>) -> Option<String> {
        let headers = request.headers();
        let is_stopped = facts.upgrade.is_none()
            && is_navigation(request.method(), headers)
            && !headers.contains_key(SKIP)
            && !self.knows(&facts.host, visitor, headers);
        is_stopped.then(|| target_path(request).to_owned())
    }

    /// The answer to who pressed the button, if that is what this request is.
    ///
    /// # Errors
    /// Another site pressed it, or a script: the page again.
    pub(super) fn go_on<B>(
        &self,
        host: &Hostname,
        visitor: IpAddr,
        is_secure: bool,
        request: &Request<B>,
    ) -> Option<Result<Response<Bytes>, Failure>> {
        let target = target_path(request).strip_prefix(GO_ON).filter(|target| target.starts_with('/'))?;
        if request.method() != Method::POST {
            return None;
        }
        if !is_from(host, request.headers()) || !is_pressed(request.headers()) {
            return Some(Err(page(target.to_owned())));
        }
        // It must come with what another site's form or frame asks for, or those would be stopped for good. Nobody is
        // let in by it who wasn't. Browsers take such a cookie over TLS only, and stop no such form without.
        let cookie = format!(
            "{}={}; Path=/; Max-Age={KEPT}; HttpOnly; {}",
            name(visitor),
            BASE64URL_NOPAD.encode(&self.mac(host, visitor)),
            if is_secure { "SameSite=None; Secure" } else { "SameSite=Lax" }
        );
        // What begins with two slashes (or what browsers take for them) would be another host.
        let leads_away = target[1..].starts_with(['/', '\\']);
        let location = if leads_away { format!("/.{target}") } else { target.to_owned() };
        let (Ok(cookie), Ok(location)) =
            (HeaderValue::from_str(&cookie), HeaderValue::from_bytes(location.as_bytes()))
        else {
            return Some(Err(Failure::new(Code::BadRequest)));
        };
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::SEE_OTHER;
        let headers = response.headers_mut();
        headers.insert(LOCATION, location);
        headers.insert(SET_COOKIE, cookie);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(Ok(response))
    }

    fn knows(&self, host: &Hostname, visitor: IpAddr, headers: &HeaderMap) -> bool {
        let name = name(visitor);
        let cookies = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
        let mut values = cookies.flat_map(|line| line.split(';')).filter_map(|cookie| {
            let (key, value) = cookie.trim().split_once('=')?;
            (key == name).then_some(value)
        });
        // Another tunnel's page can set more of the name for the whole domain, which must not bring the page back.
        values.any(|value| {
            let mac = BASE64URL_NOPAD.decode(value.as_bytes()).unwrap_or_default();
            self.keyed(host, visitor).verify_truncated_left(&mac).is_ok() && mac.len() == MAC
        })
    }

    fn mac(&self, host: &Hostname, visitor: IpAddr) -> [u8; MAC] {
        let mac: [u8; 32] = self.keyed(host, visitor).finalize().into_bytes().into();
        *mac.first_chunk().expect("invariant: a MAC is longer than what is taken of it")
    }

    fn keyed(&self, host: &Hostname, visitor: IpAddr) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(self.key.expose());
        let mut mac = mac.expect("invariant: HMAC takes keys of any length");
        mac.update(neighbourhood(visitor).to_string().as_bytes());
        mac.update(b" ");
        mac.update(host.as_str().as_bytes());
        mac
    }
}

impl Desk {
    /// The page, if this visitor must see it before it gets what it asks for.
    pub(super) fn stop<B>(&self, facts: &Facts, visitor: IpAddr, request: &Request<B>) -> Option<Failure> {
        let shared = &self.shared;
        let is_wanted = shared.config().interstitial;
        is_wanted.then(|| shared.interstitial.stops(facts, visitor, request)).flatten().map(page)
    }

    /// The answer to who pressed the page's button.
    pub(super) fn go_on<B>(
        &self,
        host: &Hostname,
        visitor: IpAddr,
        request: &Request<B>,
    ) -> Option<Result<Response<Answer>, Failure>> {
        let shared = &self.shared;
        if !shared.config().interstitial {
            return None;
        }
        let pressed = shared.interstitial.go_on(host, visitor, self.is_secure(request.headers()), request)?;
        Some(pressed.map(|response| response.map(Answer::page)))
    }
}

/// What the page is made of.
fn page(target: String) -> Failure {
    Failure::new(Code::FirstVisit).before(target)
}

/// One for each kind of address: browsers change between them as they like.
fn name(visitor: IpAddr) -> &'static str {
    if visitor.to_canonical().is_ipv4() { "tunnel-visit-4" } else { "tunnel-visit-6" }
}

/// Whether a browser goes to a page. Over plain HTTP it doesn't say so (Fetch Metadata is for https), and is known by
/// what all browsers say and programs don't: that it is Mozilla, and wants HTML.
fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    let is_get = matches!(*method, Method::GET | Method::HEAD);
    let is_foreign_form = *method == Method::POST && text(headers, &SEC_FETCH_SITE) == "cross-site";
    if !is_get && !is_foreign_form {
        return false;
    }
    let wants_html = text(headers, &ACCEPT).contains("text/html");
    let dest = headers.get(SEC_FETCH_DEST).map(HeaderValue::as_bytes);
    if is_get && text(headers, &SEC_PURPOSE).starts_with("prefetch") {
        // It is shown later without being asked for again. Of a `<link>` the browser doesn't say what it is for.
        return matches!(dest, None | Some(b"empty" | b"document" | b"iframe" | b"frame"));
    }
    match headers.get(SEC_FETCH_MODE) {
        Some(mode) if mode == "navigate" => match dest {
            None | Some(b"document" | b"iframe" | b"frame") => wants_html,
            // Browsers take anything there, and pages are shown as in a frame.
            Some(b"embed" | b"object") => true,
            Some(_) => false,
        },
        Some(_) => false,
        None => is_get && wants_html && text(headers, &USER_AGENT).starts_with("Mozilla/"),
    }
}

/// Whether a person pressed the button, as far as the browser says such things. A script of the host's own could send
/// the same form.
fn is_pressed(headers: &HeaderMap) -> bool {
    let said = [SEC_FETCH_SITE, SEC_FETCH_MODE, SEC_FETCH_DEST, SEC_FETCH_USER];
    if !said.iter().any(|name| headers.contains_key(name)) {
        return true;
    }
    let is_navigation =
        text(headers, &SEC_FETCH_MODE) == "navigate" && text(headers, &SEC_FETCH_DEST) == "document";
    is_navigation && (text(headers, &SEC_FETCH_USER) == "?1" || is_webkit(headers))
}

/// Whether it is Safari, or what else there is on an iPhone: the only ones that have Fetch Metadata without
/// `Sec-Fetch-User` (WebKit's bug 247697). No script can change what a browser says it is when it goes to a page.
fn is_webkit(headers: &HeaderMap) -> bool {
    let agent = text(headers, &USER_AGENT);
    agent.contains("AppleWebKit/") && !agent.contains("Chrome/")
}

/// Whether a page of this very host sent a form. Browsers say where one comes from; ports aren't compared, since a
/// proxy in front of us may have left the visitor's out of `Host`.
fn is_from(host: &Hostname, headers: &HeaderMap) -> bool {
    let of = text(headers, &ORIGIN).split_once("://").and_then(|(_, of)| Hostname::parse_authority(of).ok());
    let is_ours = of.is_some_and(|(of, _)| of == *host);
    is_ours && headers.get(SEC_FETCH_SITE).is_none_or(|site| site == "same-origin")
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
