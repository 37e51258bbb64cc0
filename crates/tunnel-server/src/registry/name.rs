//! What can be leased, and what it is called.

use tunnel_protocol::bind::PublicAddress;
use tunnel_router::{HostPattern, PathPrefix};

use crate::{routes::Part, shared::Shared};

/// What is leased.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// A part of a host.
    Host(HostPattern, Part),
    /// A port for connections.
    Tcp(u16),
    /// A port for datagrams.
    Udp(u16),
}

impl Name {
    /// The paths of a host that begin so.
    pub(crate) fn web(host: HostPattern, path: PathPrefix) -> Self {
        Self::Host(host, Part::Http(path))
    }

    /// The port, if it is one.
    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Self::Host(..) => None,
            Self::Tcp(port) | Self::Udp(port) => Some(*port),
        }
    }

    /// The host, if it is a part of one.
    pub(crate) fn host(&self) -> Option<&HostPattern> {
        match self {
            Self::Host(host, _) => Some(host),
            Self::Tcp(_) | Self::Udp(_) => None,
        }
    }

    /// Where visitors find it.
    pub(super) fn address(&self, shared: &Shared, web_port: u16) -> PublicAddress {
        let config = shared.config();
        let domain = &config.domain;
        match self {
            Self::Host(pattern, part) => {
                let host = pattern.to_string();
                let subdomain = match pattern {
                    HostPattern::Exact(name) => name.label_under(domain).map(|label| label.to_string()),
                    HostPattern::Wildcard(_) => None,
                };
                match part {
                    Part::Http(path) => {
                        let url = shared.web_url(&host, web_port) + path.as_str();
                        PublicAddress::Http { url, host, subdomain }
                    }
                    Part::Tls => {
                        let url = shared.tls_url(&host).unwrap_or_else(|| format!("tls://{host}"));
                        PublicAddress::Tls { url, host, subdomain }
                    }
                }
            }
            Self::Tcp(port) => PublicAddress::Tcp { url: format!("tcp://{domain}:{port}"), port: *port },
            Self::Udp(port) => PublicAddress::Udp { url: format!("udp://{domain}:{port}"), port: *port },
        }
    }

    /// What people call it, in the middle of a sentence.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Host(host, Part::Http(path)) => format!("`{host}{}`", path.as_str()),
            Self::Host(host, Part::Tls) => format!("`{host}` for TLS"),
            Self::Tcp(port) => format!("port {port}"),
            Self::Udp(port) => format!("UDP port {port}"),
        }
    }
}
