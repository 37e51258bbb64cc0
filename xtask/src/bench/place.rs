//! Where the two sides of a tunnel are: on one host, or on two with a long link between them.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

/// Where server and visitors are, and where client and upstream.
#[derive(Debug)]
pub(super) enum Place {
    /// All on this host.
    Loopback,
    /// This process, the server and the visitors on one host, the client and the upstream on another.
    Apart {
        /// The server's address.
        server: Ipv4Addr,
        /// The upstream's address.
        home: Ipv4Addr,
        /// The network namespace that plays the other host.
        namespace: String,
    },
}

impl Place {
    /// The server's address, for clients and visitors.
    pub(super) fn server(&self) -> Ipv4Addr {
        match self {
            Self::Loopback => Ipv4Addr::LOCALHOST,
            Self::Apart { server, .. } => *server,
        }
    }

    /// The upstream's address for visitors who need no tunnel. Clients find it on loopback.
    pub(super) fn upstream(&self) -> Ipv4Addr {
        match self {
            Self::Loopback => Ipv4Addr::LOCALHOST,
            Self::Apart { home, .. } => *home,
        }
    }

    /// Where the upstream listens.
    pub(super) fn upstream_bind(&self) -> Ipv4Addr {
        match self {
            Self::Loopback => Ipv4Addr::LOCALHOST,
            Self::Apart { .. } => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// A program that runs where the client does.
    pub(super) fn at_home(&self, binary: &Path) -> Command {
        match self {
            Self::Loopback => Command::new(binary),
            Self::Apart { namespace, .. } => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(binary);
                command
            }
        }
    }
}
