//! Which door a visitor came in by: what its requests may not say themselves.

use std::net::SocketAddr;

use ::http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, LOCATION},
};
use bytes::Bytes;
use tunnel_router::Hostname;

use crate::{ingress::https::url, routes::Routes};

/// Where authorities look for proof that a domain is its owner's (RFC 8555 §8.3): never sent on.
const ACME: &str = "/.well-known/acme-challenge/";

/// What is known of a connection before its first request.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// The address of ours that the visitor connected to.
    pub(crate) local: SocketAddr,
    /// What TLS found out, if the connection is over TLS.
    pub(crate) secure: Option<Secure>,
    /// The public https port that every request is sent on to, if this door serves nothing itself.
    pub(crate) redirect: Option<u16>,
}

/// What TLS found out about a connection.
#[derive(Clone, Debug)]
pub(crate) struct Secure {
    /// The host the visitor asked TLS for, if it named one.
    pub(crate) sni: Option<Hostname>,
    /// Whether HTTP/2 was agreed on (ALPN `h2`); HTTP/1.1 otherwise.
    pub(crate) is_h2: bool,
    /// The port visitors find this door at.
    pub(crate) port: u16,
}

impl Door {
    /// A door without TLS.
    pub(crate) fn plain(local: SocketAddr) -> Self {
        Self { local, secure: None, redirect: None }
    }

    /// Whether requests for `host` are served on this connection. Browsers use one connection for all hosts of a
    /// wildcard certificate (RFC 9113 §9.1.1), and may, as long as all are of one owner. What was opened for one
    /// owner never carries a request to another: whoever checked the first one's name, a firewall or the visitor
    /// itself, didn't check the second's.
    pub(super) fn admits(&self, routes: &Routes, host: &Hostname) -> bool {
        match &self.secure {
            Some(Secure { sni: Some(sni), .. }) => sni == host || routes.owner(sni) == routes.owner(host),
            _ => true,
        }
    }

    /// The answer that sends a visitor on to https, if this door gives no other. 308 (RFC 9110 §15.4.9) for all
    /// methods, as Caddy does: after a 301 browsers turn a POST into a GET, and its body is lost.
    pub(super) fn redirect(&self, host: &Hostname, path: &str) -> Option<Response<Bytes>> {
        let port = self.redirect.filter(|_| !path.starts_with(ACME))?;
        // The path was read by the `http` crate and the host by the router: there is nothing in them that could
        // end a line or lead elsewhere. `*` is the one target that isn't a path.
        let path = if path.starts_with('/') { path } else { "/" };
        let location = HeaderValue::from_str(&(url("https", host.as_str(), port, 443) + path)).ok()?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        response.headers_mut().insert(LOCATION, location);
        // Kept for ever by default, long after the operator has changed ports.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(response)
    }
}
