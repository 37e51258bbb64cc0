//! Reading upstreams as people write them.

use std::{path::PathBuf, str::FromStr};

use tunnel_transport::percent_decode;

use super::{Address, Place, Upstream};
use crate::UpstreamError;

impl FromStr for Upstream {
    type Err = UpstreamError;

    /// Reads
    /// - `3000`, `host:3000`, `host:3000/`, `[::1]:3000`, `tcp://host:3000`, `http://host:3000`, `http://host` (port
    ///   80): TCP. A port alone means `localhost`.
    /// - `https://host:3000`, `https://host` (port 443): TLS.
    /// - `unix:/run/app.sock`, `unix:app.sock`, `unix:///run/app.sock`: a Unix socket.
    /// - `/srv/site`, `./site`, `..`, `file:///srv/site`: a directory. Whether there is one is found out later.
    fn from_str(text: &str) -> Result<Self, UpstreamError> {
        let text = text.trim();
        let invalid = || UpstreamError::Invalid(text.chars().take(100).collect());
        if is_path(text) {
            return Self::directory(text);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(invalid()) } else { Self::unix(path) };
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let place = match scheme {
            Some("http") => address(without_path(rest)?, Some(80)).map(Place::Tcp),
            Some("https") => address(without_path(rest)?, Some(443)).map(|address| Place::Tls(address, None)),
            Some("tcp") => address(rest, None).map(Place::Tcp),
            None => address(without_url_path(rest)?, None).map(Place::Tcp),
            Some("file") => return Self::directory(file_path(rest).ok_or_else(invalid)?),
            Some("udp") => return Err(UpstreamError::NotSupported("udp")),
            Some(_) => return Err(invalid()),
        };
        place.map(Self).ok_or_else(|| fault(rest).unwrap_or_else(invalid))
    }
}

/// What is wrong with an address, where that can be told.
fn fault(authority: &str) -> Option<UpstreamError> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_host = |text: &str| Address::new(text, 1).is_some();
    let authority: String = authority.chars().take(100).collect();
    match authority.split_once(':') {
        None if is_number(&authority) => Some(UpstreamError::Port(authority)),
        None if is_host(&authority) => Some(UpstreamError::NoPort(authority)),
        Some(("", port)) => port.parse().ok().filter(|port| *port != 0).map(UpstreamError::NoHost),
        Some((host, port)) if is_host(host) && is_number(port) => Some(UpstreamError::Port(port.to_owned())),
        _ => None,
    }
}

/// What could be nothing else.
fn is_path(text: &str) -> bool {
    let rooted = ["/", "./", "../", ".\\", "..\\"].iter().any(|start| text.starts_with(start));
    rooted || text == "." || text == ".."
}

fn without_path(rest: &str) -> Result<&str, UpstreamError> {
    match rest.find(['/', '?', '#']) {
        None => Ok(rest),
        Some(at) if &rest[at..] == "/" => Ok(&rest[..at]),
        Some(at) => Err(UpstreamError::Path(rest[at..].chars().take(100).collect())),
    }
}

/// The same for what has no `http://` before it: what isn't an address with a port may be a path from its beginning.
fn without_url_path(rest: &str) -> Result<&str, UpstreamError> {
    let is_address = |authority: &str| authority.contains(':') && address(authority, None).is_some();
    if rest.split('/').next().is_some_and(is_address) { without_path(rest) } else { Ok(rest) }
}

/// What follows `file://`: of this machine (RFC 8089 §2).
fn file_path(rest: &str) -> Option<PathBuf> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    let decoded = percent_decode(path).filter(|path| path.starts_with('/') && !path.contains('\0'))?;
    // `file:///C:/site`: the slash is the URL's.
    let drive = decoded.as_bytes().get(2) == Some(&b':');
    Some(PathBuf::from(if cfg!(windows) && drive { &decoded[1..] } else { &decoded }))
}

fn address(authority: &str, default_port: Option<u16>) -> Option<Address> {
    if let Ok(port) = authority.parse::<u16>() {
        return Address::new("localhost", port);
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, default_port),
        Some((host, rest)) => (host, rest.strip_prefix(':').and_then(|port| port.parse().ok())),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (authority, default_port),
        },
    };
    port.and_then(|port| Address::new(host, port))
}

impl Address {
    fn new(host: &str, port: u16) -> Option<Self> {
        let v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
        let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        let fits = !host.is_empty() && host.len() <= 253 && port != 0 && (v6 || plain);
        fits.then(|| Self { host: host.to_owned(), port })
    }
}

impl TryFrom<u16> for Upstream {
    type Error = UpstreamError;
    fn try_from(port: u16) -> Result<Self, UpstreamError> {
        let address = Address::new("localhost", port);
        address
            .map(|address| Self(Place::Tcp(address)))
            .ok_or_else(|| UpstreamError::Invalid(port.to_string()))
    }
}

impl TryFrom<&str> for Upstream {
    type Error = UpstreamError;
    fn try_from(text: &str) -> Result<Self, UpstreamError> {
        text.parse()
    }
}

impl TryFrom<String> for Upstream {
    type Error = UpstreamError;
    fn try_from(text: String) -> Result<Self, UpstreamError> {
        text.parse()
    }
}
