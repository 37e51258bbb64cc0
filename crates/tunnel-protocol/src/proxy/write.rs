//! Writing a header, for an upstream that expects one.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};

use super::{ProxyVersion, V2_FIXED, V2_SIGNATURE};

/// The header for a connection from `source` to `destination`. With one of them unknown it says so: `UNKNOWN` in
/// version 1, `LOCAL` in version 2. Of two families, the IPv4 address is written as an IPv6 one (`::ffff:…`).
pub fn write(version: ProxyVersion, source: Option<SocketAddr>, destination: Option<SocketAddr>) -> Bytes {
    let addresses = source.zip(destination);
    match version {
        ProxyVersion::V1 => write_v1(addresses),
        ProxyVersion::V2 => write_v2(addresses),
    }
}

fn write_v1(addresses: Option<(SocketAddr, SocketAddr)>) -> Bytes {
    let line = match addresses {
        None => "PROXY UNKNOWN\r\n".to_owned(),
        Some((source, destination)) => {
            let (from, to) = (source.port(), destination.port());
            match (source.ip(), destination.ip()) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    format!("PROXY TCP4 {source} {destination} {from} {to}\r\n")
                }
                (source, destination) => {
                    let (source, destination) = (as_v6(source), as_v6(destination));
                    format!("PROXY TCP6 {source} {destination} {from} {to}\r\n")
                }
            }
        }
    };
    line.into()
}

fn write_v2(addresses: Option<(SocketAddr, SocketAddr)>) -> Bytes {
    let mut header = BytesMut::with_capacity(V2_FIXED + 36);
    header.put_slice(V2_SIGNATURE);
    let Some((source, destination)) = addresses else {
        header.put_slice(&[0x20, 0x00, 0, 0]);
        return header.freeze();
    };
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.put_slice(&[0x21, 0x11, 0, 12]);
            header.put_slice(&source.octets());
            header.put_slice(&destination.octets());
        }
        (source, destination) => {
            header.put_slice(&[0x21, 0x21, 0, 36]);
            header.put_slice(&as_v6(source).octets());
            header.put_slice(&as_v6(destination).octets());
        }
    }
    header.put_u16(source.port());
    header.put_u16(destination.port());
    header.freeze()
}

fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}
