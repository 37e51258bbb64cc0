//! The kinds of tunnels there are, as rights name them.

use std::{fmt, str::FromStr};

use tunnel_protocol::{BindSpec, bind::PublicAddress};

/// A kind of tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TunnelKind {
    /// Web requests for a host.
    Http,
    /// Connections for a host whose TLS the upstream ends.
    Tls,
    /// Connections to a port.
    Tcp,
    /// Datagrams to a port.
    Udp,
}

/// Not the name of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of tunnel; there are http, tls, tcp and udp")]
pub struct UnknownKind;

impl TunnelKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Http, Self::Tls, Self::Tcp, Self::Udp];

    /// The name, as it is typed and stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tls => "tls",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl TunnelKind {
    /// What a client asks for; `None` if it is of a kind that this server doesn't know.
    pub(crate) fn of(spec: &BindSpec) -> Option<Self> {
        match spec {
            BindSpec::Http(_) => Some(Self::Http),
            BindSpec::Tls(_) => Some(Self::Tls),
            BindSpec::Tcp(_) => Some(Self::Tcp),
            BindSpec::Udp(_) => Some(Self::Udp),
            _ => None,
        }
    }

    /// What is at an address that was given out.
    pub(crate) fn at(address: &PublicAddress) -> Self {
        match address {
            PublicAddress::Tls { .. } => Self::Tls,
            PublicAddress::Tcp { .. } => Self::Tcp,
            PublicAddress::Udp { .. } => Self::Udp,
            _ => Self::Http,
        }
    }
}

impl fmt::Display for TunnelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TunnelKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(UnknownKind)
    }
}
