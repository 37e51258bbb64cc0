//! What a tunnel forwards to. Only the client's own configuration ever says where: nothing on the wire can.

mod parse;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tunnel_io::BoxedIo;
use tunnel_protocol::Code;
use tunnel_transport::UpstreamTrust;

use super::{Failure, Target};
use crate::{Unreachable, UpstreamError};

/// A local service: reached by TCP, by TLS, through a Unix socket, or a directory whose files are shown.
///
/// Made from a text such as `3000`, `host:3000`, `http://host:3000`, `https://host`, `unix:/run/app.sock` or `./site`
/// (see [`FromStr`](#impl-FromStr-for-Upstream)), which is also what `Display` writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream(pub(super) Place);

/// Where an upstream is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Tcp(Address),
    /// With no word on trust: any certificate on loopback, else one that the system trusts.
    Tls(Address, Option<UpstreamTrust>),
    Unix(PathBuf),
    Directory(PathBuf),
}

/// A host, which is a name or an IP address without brackets, and a port, which isn't 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Upstream {
    /// A service that listens on a Unix socket. A relative path is one from the working directory.
    ///
    /// # Errors
    /// [`UpstreamError::NotSupported`] on systems without such sockets.
    pub fn unix(path: impl Into<PathBuf>) -> Result<Self, UpstreamError> {
        if cfg!(unix) {
            Ok(Self(Place::Unix(path.into())))
        } else {
            Err(UpstreamError::NotSupported("unix socket"))
        }
    }

    /// The files below a directory, shown to web visitors: read-only, without hidden ones, and with no way out. A
    /// relative path is one from the working directory.
    ///
    /// # Errors
    /// [`UpstreamError::NotSupported`] without the feature `files`.
    pub fn directory(path: impl Into<PathBuf>) -> Result<Self, UpstreamError> {
        if cfg!(feature = "files") {
            Ok(Self(Place::Directory(path.into())))
        } else {
            Err(UpstreamError::NotSupported("directory"))
        }
    }

    /// Which certificates an `https://` upstream may show. Default: any if it is on loopback (`localhost`,
    /// `127.0.0.0/8`, `::1`), where nobody is in between; else one that the system trusts.
    ///
    /// # Errors
    /// [`UpstreamError::NoTls`] for upstreams of another kind.
    pub fn with_trust(self, trust: UpstreamTrust) -> Result<Self, UpstreamError> {
        match self.0 {
            Place::Tls(address, _) => Ok(Self(Place::Tls(address, Some(trust)))),
            _ => Err(UpstreamError::NoTls),
        }
    }

    /// Host (a name, or an IP address without brackets) and port; `None` for what isn't reached over a network.
    pub fn address(&self) -> Option<(&str, u16)> {
        match &self.0 {
            Place::Tcp(address) | Place::Tls(address, _) => Some((&address.host, address.port)),
            Place::Unix(_) | Place::Directory(_) => None,
        }
    }

    /// Connects once, as for a visitor, TLS included, within `limit`, and a year at most: to see whether anything is
    /// there, before anybody visits.
    ///
    /// # Errors
    /// [`Unreachable`], which says what a visitor would be told and what to do.
    ///
    /// # Cancel safety
    /// Dropping the future gives the attempt up.
    pub async fn try_connect(&self, limit: Duration) -> Result<BoxedIo, Unreachable> {
        let target = Target::new(self.clone())
            .map_err(|error| Unreachable { code: Code::UpstreamUnreachable, message: error.to_string() })?;
        let connection = target.dial_anonymously(limit).await;
        let failed = |failure: Failure| Unreachable { code: failure.code(), message: failure.to_string() };
        Ok(connection.map_err(failed)?.into_io())
    }

    /// The same place, reached by TCP where it would have been by TLS.
    pub(crate) fn without_tls(self) -> Self {
        match self.0 {
            Place::Tls(address, _) => Self(Place::Tcp(address)),
            place => Self(place),
        }
    }

    /// The directory, if it is one.
    pub fn as_directory(&self) -> Option<&Path> {
        match &self.0 {
            Place::Directory(path) => Some(path),
            _ => None,
        }
    }

    /// As `Display`, with the `http://` that goes without saying there: for people, of web tunnels.
    pub fn url(&self) -> String {
        match &self.0 {
            Place::Tcp(address) => format!("http://{address}"),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Tcp(address) => address.fmt(f),
            Place::Tls(address, _) => write!(f, "https://{address}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Directory(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl From<SocketAddr> for Upstream {
    fn from(address: SocketAddr) -> Self {
        Self(Place::Tcp(Address { host: address.ip().to_string(), port: address.port() }))
    }
}

#[cfg(test)]
mod tests;
