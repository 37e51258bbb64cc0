//! Datagram sockets, and why these numbers.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tracing::debug;

/// What the kernel may hold for a socket each way; it cuts this down to its own limit. Enough for the datagrams that
/// come while a busy machine doesn't get to them; used only while there are any.
const BUFFER: usize = 1 << 20;

/// A socket on a public port. `[::]` takes IPv4 too, and is `0.0.0.0` on a machine without IPv6.
///
/// # Errors
/// The port is in use, not of this machine, or needs privileges.
///
/// # Panics
/// Outside a tokio runtime.
pub fn bind_datagrams(address: SocketAddr) -> io::Result<UdpSocket> {
    let (address, socket) = match new_socket(address) {
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            (v4, new_socket(v4)?)
        }
        made => (address, made?),
    };
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Without SO_REUSEADDR, which would let another process share the port.
    socket.bind(&SockAddr::from(address))?;
    UdpSocket::from_std(socket.into())
}

/// Another handle to the same socket, for another process: whoever reads a datagram has it.
///
/// # Errors
/// There is no file descriptor left.
pub fn share_datagrams(socket: &UdpSocket) -> io::Result<std::net::UdpSocket> {
    Ok(SockRef::from(socket).try_clone()?.into())
}

/// Takes over a socket that another process has bound.
///
/// # Errors
/// The socket can't be used without blocking.
///
/// # Panics
/// Outside a tokio runtime.
pub fn take_over_datagrams(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// A socket of its own port that exchanges datagrams with `address` and nobody else, and hears when nothing listens
/// there.
///
/// # Errors
/// There is no route to the address, or no file descriptor left.
///
/// # Panics
/// Outside a tokio runtime.
pub fn connect_datagrams(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = new_socket(address)?;
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        SocketAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
    };
    socket.bind(&SockAddr::from(any))?;
    socket.connect(&SockAddr::from(address))?;
    UdpSocket::from_std(socket.into())
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    for result in [socket.set_recv_buffer_size(BUFFER), socket.set_send_buffer_size(BUFFER)] {
        if let Err(error) = result {
            debug!(%error, "socket buffer refused");
        }
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_families_come_in_at_one_socket_and_are_answered() {
        let Ok(door) = bind_datagrams("[::]:0".parse().unwrap()) else { panic!("no port at all") };
        let port = door.local_addr().unwrap().port();
        let mut targets: Vec<SocketAddr> = vec![([127, 0, 0, 1], port).into()];
        if door.local_addr().unwrap().is_ipv6() {
            targets.push((Ipv6Addr::LOCALHOST, port).into());
        }
        for target in targets {
            let visitor = connect_datagrams(target).unwrap();
            visitor.send(b"ping").await.unwrap();
            let mut buffer = [0; 8];
            let (length, from) = door.recv_from(&mut buffer).await.unwrap();
            door.send_to(&buffer[..length], from).await.unwrap();
            assert_eq!(visitor.recv(&mut buffer).await.unwrap(), 4, "{target}");
        }
    }

    #[tokio::test]
    async fn a_port_is_not_shared() {
        let door = bind_datagrams("127.0.0.1:0".parse().unwrap()).unwrap();
        let again = bind_datagrams(door.local_addr().unwrap());
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
