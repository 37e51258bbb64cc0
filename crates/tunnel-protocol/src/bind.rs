//! What a client asks to be published, and what became of it.

use serde::{Deserialize, Serialize};

/// One wish of a client: a public name or port that leads to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BindSpec {
    /// Web requests for a host name.
    Http(HttpSpec),
    /// TLS connections for a host name, ended by the upstream: the server reads the name and nothing else.
    Tls(TlsSpec),
    /// Connections to a public port.
    Tcp(PortSpec),
    /// Datagrams to a public port. TCP and UDP ports of one number have nothing to do with each other.
    Udp(PortSpec),
    /// A kind this build doesn't know: refused with [`Code::NotSupported`](crate::Code::NotSupported).
    #[serde(other)]
    Unknown,
}

/// A web tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HttpSpec {
    /// Its host.
    #[serde(flatten)]
    pub host: HostSpec,
    /// Only requests whose path is this or begins with this and a `/`: `/api`. Tunnels of one token may share a
    /// host by paths; the longest that fits wins, and a tunnel without gets what is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether other clients of the token may serve the name as well, each with a wish like this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pool: bool,
    /// What the upstream speaks on the tunnel's streams.
    #[serde(default, skip_serializing_if = "UpstreamProtocol::is_default")]
    pub upstream_protocol: UpstreamProtocol,
}

/// A TLS tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TlsSpec {
    /// Its host, as visitors name it in their `ClientHello` (SNI).
    #[serde(flatten)]
    pub host: HostSpec,
    /// As in [`HttpSpec`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pool: bool,
}

/// A host name: a subdomain of the server's domain, or a domain of the owner's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostSpec {
    /// The subdomain; with no `domain` either, the server chooses a readable random one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// A whole host name, or a wildcard for all names one label below one: `app.example.com`,
    /// `*.dev.example.com`. Excludes `subdomain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// With neither: the subdomain the server chose last time, taken again if it is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred: Option<String>,
}

/// A public port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortSpec {
    /// The port; `None` lets the server choose one of its range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// With no `port`: the one the server chose last time, taken again if it is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred: Option<u16>,
    /// As in [`HttpSpec`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pool: bool,
    /// Whether nobody is told of the port: it is free for anyone as soon as it isn't served, and not kept for its owner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fleeting: bool,
}

/// What an upstream of a web tunnel speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 from the first byte (RFC 9113 §3.3), whether or not the client puts TLS around it. gRPC needs it.
    Http2,
    /// One this build doesn't know: the bind is refused with [`Code::NotSupported`](crate::Code::NotSupported).
    #[serde(other)]
    Unknown,
}

/// What a wish became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PublicAddress {
    /// A web address: `https://myapp.vps.example.com:8443/api`.
    Http {
        /// The whole address, for people and browsers.
        url: String,
        /// The host name in it, or the wildcard that was asked for.
        host: String,
        /// The subdomain in it, if it is one of the server's domain.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subdomain: Option<String>,
    },
    /// An address for TLS connections: `tls://secure.vps.example.com:8443`.
    Tls {
        /// The whole address, for people.
        url: String,
        /// The host name in it, or the wildcard that was asked for.
        host: String,
        /// The subdomain in it, if it is one of the server's domain.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subdomain: Option<String>,
    },
    /// A port: `tcp://vps.example.com:25432`.
    Tcp {
        /// The whole address, for people.
        url: String,
        /// The port in it.
        port: u16,
    },
    /// A port for datagrams: `udp://vps.example.com:27015`.
    Udp {
        /// The whole address, for people.
        url: String,
        /// The port in it.
        port: u16,
    },
    /// An address of a kind this build doesn't know.
    #[serde(other)]
    Unknown,
}

impl PublicAddress {
    /// The address as one text; empty for kinds this build doesn't know.
    pub fn url(&self) -> &str {
        match self {
            Self::Http { url, .. }
            | Self::Tls { url, .. }
            | Self::Tcp { url, .. }
            | Self::Udp { url, .. } => url,
            Self::Unknown => "",
        }
    }
}

impl HostSpec {
    /// A subdomain of the server's domain.
    pub fn subdomain(name: impl Into<String>) -> Self {
        Self { subdomain: Some(name.into()), ..Self::default() }
    }

    /// The subdomain the server chose last time, or any.
    pub fn preferred(name: impl Into<String>) -> Self {
        Self { preferred: Some(name.into()), ..Self::default() }
    }

    /// Whether the server is to choose the name.
    pub fn is_any(&self) -> bool {
        self.subdomain.is_none() && self.domain.is_none()
    }
}

impl From<HostSpec> for BindSpec {
    /// A web tunnel with nothing said but its host.
    fn from(host: HostSpec) -> Self {
        Self::Http(HttpSpec { host, ..HttpSpec::default() })
    }
}

impl UpstreamProtocol {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
