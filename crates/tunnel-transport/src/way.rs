//! Which way leads to the server: what changes when this machine moves to another network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// A way to the server, as far as this machine can tell: connections made by another one may lead nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Which of this machine's addresses the server sees, or the next translator of addresses.
    pub from: IpAddr,
    /// The server's address, or its proxy's.
    pub to: SocketAddr,
}

impl Way {
    /// The way that a connection to `to` would take now; `None` if there is none. Nothing is sent and nothing waited
    /// for: the kernel looks into its tables.
    pub(crate) fn to(to: SocketAddr) -> Option<Self> {
        let any = match to {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(to).ok()?;
        Some(Self { from: socket.local_addr().ok()?.ip(), to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_the_way_without_asking_anyone() {
        let to = SocketAddr::from(([127, 0, 0, 1], 9));
        assert_eq!(Way::to(to), Some(Way { from: Ipv4Addr::LOCALHOST.into(), to }));
        // Nobody listens there, and no way leads there.
        assert_eq!(Way::to(SocketAddr::from(([255, 255, 255, 255], 9))), None);
    }
}
