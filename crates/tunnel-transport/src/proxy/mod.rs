//! Reaching the server through a proxy, as networks that let nothing else out ask for.
//!
//! Two kinds: HTTP's `CONNECT` (RFC 9110 §9.3.6) and SOCKS 5 (RFC 1928). The proxy resolves the server's name, so
//! that a network without DNS for the outside will do, and TLS with the server begins only behind it: a proxy is
//! trusted with nothing but where the server is.
//!
//! Both halves are our own, as each is a page long, and the crates that have them either parse answers leniently or
//! bring along a second copy of what we have already.

mod connect;
mod error;
mod socks;

use std::{fmt, io, str::FromStr};

use tokio::net::{TcpStream, lookup_host};

pub use self::error::{ParseProxyError, ProxyProblem};
use crate::{ServerAddress, percent_decode, race::race, tcp};

/// A proxy, as people write it: `http://proxy:3128`, `http://user:password@proxy:3128`, `socks5://proxy`.
///
/// `Display` and `Debug` leave out user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    address: ServerAddress,
    login: Option<Login>,
}

/// What is spoken with a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Socks5,
}

/// User and password. Secret.
#[derive(Clone, PartialEq, Eq)]
struct Login {
    user: String,
    password: String,
}

impl Proxy {
    /// A connection to `server`, on which nothing was sent yet. There is no deadline inside.
    pub(crate) async fn open(&self, server: &ServerAddress) -> Result<TcpStream, ProxyProblem> {
        let mut stream = self.reach().await.map_err(ProxyProblem::Unreachable)?;
        tcp::tune_lane(&stream);
        match self.kind {
            Kind::Http => connect::ask(&mut stream, server, self.login.as_ref()).await?,
            Kind::Socks5 => socks::ask(&mut stream, server, self.login.as_ref()).await?,
        }
        Ok(stream)
    }

    async fn reach(&self) -> io::Result<TcpStream> {
        let found = lookup_host((self.address.host(), self.address.port())).await?;
        race(found.collect(), TcpStream::connect).await
    }
}

impl FromStr for Proxy {
    type Err = ParseProxyError;

    /// Reads `http://[USER:PASSWORD@]HOST[:PORT]` (port 80) and `socks5://[USER:PASSWORD@]HOST[:PORT]` (port 1080,
    /// and `socks5h` means the same). `HOST:PORT` alone is `http`. User and password may be percent-encoded.
    fn from_str(text: &str) -> Result<Self, ParseProxyError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (kind, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Kind::Http, 80),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            "https" => return Err(ParseProxyError::Tls),
            _ => return Err(ParseProxyError::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => (Some(Login::read(login, kind)?), address),
            None => (None, rest),
        };
        let address = ServerAddress::read(address, default_port).map_err(|_| ParseProxyError::Address)?;
        Ok(Self { kind, address, login })
    }
}

impl Login {
    fn read(text: &str, kind: Kind) -> Result<Self, ParseProxyError> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let decoded = |part| percent_decode(part).ok_or(ParseProxyError::Login);
        let login = Self { user: decoded(user)?, password: decoded(password)? };
        let possible = match kind {
            // RFC 7617 §2.
            Kind::Http => {
                !login.user.contains(':') && !login.both().any(|part| part.contains(char::is_control))
            }
            // RFC 1929 §2.
            Kind::Socks5 => login.both().all(|part| (1..=255).contains(&part.len())),
        };
        if possible { Ok(login) } else { Err(ParseProxyError::Login) }
    }

    fn both(&self) -> impl Iterator<Item = &str> {
        [self.user.as_str(), self.password.as_str()].into_iter()
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self}, login: {})", self.login.is_some())
    }
}

#[cfg(test)]
mod tests;
