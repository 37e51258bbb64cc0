//! What a client asks to be published.

use serde::{Deserialize, Serialize};

/// One wish of a client: a public name or port that leads to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BindSpec {
    /// Web requests for a host name below the server's domain.
    Http {
        /// The subdomain; `None` lets the server choose a readable random one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subdomain: Option<String>,
        /// With no `subdomain`: the one the server chose last time, taken again if it is free.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        preferred: Option<String>,
    },
    /// Connections to a public port.
    Tcp {
        /// The port; `None` lets the server choose one of its range.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        /// With no `port`: the one the server chose last time, taken again if it is free.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        preferred: Option<u16>,
    },
    /// Datagrams to a public port. TCP and UDP ports of one number have nothing to do with each other.
    Udp {
        /// The port; `None` lets the server choose one of its range.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        /// With no `port`: the one the server chose last time, taken again if it is free.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        preferred: Option<u16>,
    },
    /// A kind this build doesn't know: refused with [`Code::NotSupported`](crate::Code::NotSupported).
    #[serde(other)]
    Unknown,
}

/// What a wish became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PublicAddress {
    /// A web address: `http://myapp.vps.example.com:8080`.
    Http {
        /// The whole address, for people and browsers.
        url: String,
        /// The subdomain in it.
        subdomain: String,
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
            Self::Http { url, .. } | Self::Tcp { url, .. } | Self::Udp { url, .. } => url,
            Self::Unknown => "",
        }
    }
}
