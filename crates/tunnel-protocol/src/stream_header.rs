//! The head of every visitor stream: binary and small, because each visitor pays for it.
//!
//! ```text
//! server ► client   u16 length of the rest │ u8 kind │ u8 flags │ u64 tunnel │ u128 request │ visitor │ local
//!                   an address: u8 family (0 none, 4, 6) │ 4 or 16 bytes │ u16 port        all big-endian
//!                   flags: 1 a twin comes on another lane │ 2 this is the twin │ 0 neither;
//!                   with either, u64 number of the pair behind the addresses
//! client ► server   1 Accepted, at once        then, after dialling:  2 Ready  or  3 Refused │ u16 code
//! ```
//! Bytes after the last field known here, within the length, are a newer server's and are ignored.

use std::net::{IpAddr, SocketAddr};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{Code, RequestId, TunnelId};

/// The longest header a client takes, in bytes, the length itself not counted.
pub const HEADER_MAX: usize = 512;

/// Among the flags: a twin of the stream comes on another lane.
const TWIN_EXPECTED: u8 = 1;
/// Among the flags: the stream is a twin.
const IS_TWIN: u8 = 2;

/// What a new stream is for. It never names an address to dial: the client looks its own configuration up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamHeader {
    /// What the bytes after the header are.
    pub kind: StreamKind,
    /// Which of the client's tunnels it is for.
    pub tunnel: TunnelId,
    /// The id of the visitor's connection (or of the first request on a reused HTTP stream).
    pub request: RequestId,
    /// Who the visitor is.
    pub visitor: Option<SocketAddr>,
    /// Which public address the visitor connected to.
    pub local: Option<SocketAddr>,
    /// What the stream is in a pair that carries the visitor's first bytes twice.
    pub twin: Option<Twin>,
}

/// One of the two streams of a visitor whose first [`TWIN_BYTES`](crate::limits::TWIN_BYTES) travel twice, each way.
/// They have a number in common: the session's pairs are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Twin {
    /// The stream that carries everything. Its twin comes on another lane, sooner or later.
    Expected(u64),
    /// The twin, which carries a copy of the first bytes.
    Of(u64),
}

/// What the bytes after the header are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamKind {
    /// One TCP connection's bytes, half-close and reset included.
    Tcp,
    /// HTTP/1.1 exchanges, one after the other.
    Http,
    /// One visitor address's datagrams, framed as in [`datagram`](crate::datagram).
    Udp,
}

/// The client's answers on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamReply {
    /// The client has the stream. Sent before it dials, so that the multiplexer's limit on unacknowledged streams
    /// never depends on an upstream.
    Accepted,
    /// The upstream is connected; what follows are its bytes.
    Ready,
    /// The upstream can't be had; the stream ends.
    Refused(Code),
}

/// A stream header or reply that makes no sense: the stream is to be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed stream header")]
pub struct HeaderError;

impl StreamHeader {
    /// The header as it travels, length included.
    pub fn encode(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(96);
        body.put_u16(0);
        body.put_u8(match self.kind {
            StreamKind::Tcp => 1,
            StreamKind::Http => 2,
            StreamKind::Udp => 3,
        });
        body.put_u8(match self.twin {
            None => 0,
            Some(Twin::Expected(_)) => TWIN_EXPECTED,
            Some(Twin::Of(_)) => IS_TWIN,
        });
        body.put_u64(self.tunnel.0);
        body.put_u128(self.request.0);
        put_address(&mut body, self.visitor);
        put_address(&mut body, self.local);
        if let Some(Twin::Expected(number) | Twin::Of(number)) = self.twin {
            body.put_u64(number);
        }
        let length =
            u16::try_from(body.len() - 2).expect("invariant: two addresses and a number fit in 64 bytes");
        body[..2].copy_from_slice(&length.to_be_bytes());
        body.freeze()
    }

    /// Reads the two bytes that come first: how many bytes [`StreamHeader::decode`] wants.
    ///
    /// # Errors
    /// [`HeaderError`] for lengths over [`HEADER_MAX`].
    pub fn decode_length(prefix: [u8; 2]) -> Result<usize, HeaderError> {
        let length = usize::from(u16::from_be_bytes(prefix));
        if length > HEADER_MAX { Err(HeaderError) } else { Ok(length) }
    }

    /// Reads what follows the length.
    ///
    /// # Errors
    /// [`HeaderError`] if a field is missing or of an unknown kind, or if it is both a twin and has one.
    pub fn decode(mut body: &[u8]) -> Result<Self, HeaderError> {
        let kind = match body.try_get_u8().map_err(|_| HeaderError)? {
            1 => StreamKind::Tcp,
            2 => StreamKind::Http,
            3 => StreamKind::Udp,
            _ => return Err(HeaderError),
        };
        // What other flags a newer server may have, they change nothing of this.
        let twin = match body.try_get_u8().map_err(|_| HeaderError)? & (TWIN_EXPECTED | IS_TWIN) {
            0 => None,
            TWIN_EXPECTED => Some(Twin::Expected as fn(u64) -> Twin),
            IS_TWIN => Some(Twin::Of as fn(u64) -> Twin),
            _ => return Err(HeaderError),
        };
        let tunnel = TunnelId(body.try_get_u64().map_err(|_| HeaderError)?);
        let request = RequestId(body.try_get_u128().map_err(|_| HeaderError)?);
        let visitor = get_address(&mut body)?;
        let local = get_address(&mut body)?;
        let number = |of: fn(u64) -> Twin| body.try_get_u64().map(of).map_err(|_| HeaderError);
        let twin = twin.map(number).transpose()?;
        Ok(Self { kind, tunnel, request, visitor, local, twin })
    }
}

impl StreamReply {
    /// The reply as it travels: 1 or 3 bytes.
    pub fn encode(self) -> Bytes {
        match self {
            Self::Accepted => Bytes::from_static(&[1]),
            Self::Ready => Bytes::from_static(&[2]),
            Self::Refused(code) => {
                let number = code.number().to_be_bytes();
                Bytes::copy_from_slice(&[3, number[0], number[1]])
            }
        }
    }

    /// The reply at the start of `bytes` and how many of them it takes; `None` until more are there.
    ///
    /// # Errors
    /// [`HeaderError`] if the bytes begin no reply.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeaderError> {
        match bytes {
            [] | [3] | [3, _] => Ok(None),
            [1, ..] => Ok(Some((Self::Accepted, 1))),
            [2, ..] => Ok(Some((Self::Ready, 1))),
            [3, high, low, ..] => {
                Ok(Some((Self::Refused(Code::from_number(u16::from_be_bytes([*high, *low]))), 3)))
            }
            _ => Err(HeaderError),
        }
    }
}

fn put_address(body: &mut BytesMut, address: Option<SocketAddr>) {
    match address.map(|address| (address.ip(), address.port())) {
        None => body.put_u8(0),
        Some((IpAddr::V4(ip), port)) => {
            body.put_u8(4);
            body.put_slice(&ip.octets());
            body.put_u16(port);
        }
        Some((IpAddr::V6(ip), port)) => {
            body.put_u8(6);
            body.put_slice(&ip.octets());
            body.put_u16(port);
        }
    }
}

fn get_address(body: &mut &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    let ip: IpAddr = match body.try_get_u8().map_err(|_| HeaderError)? {
        0 => return Ok(None),
        4 => body.try_get_u32().map_err(|_| HeaderError)?.to_be_bytes().into(),
        6 => body.try_get_u128().map_err(|_| HeaderError)?.to_be_bytes().into(),
        _ => return Err(HeaderError),
    };
    Ok(Some(SocketAddr::new(ip, body.try_get_u16().map_err(|_| HeaderError)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(visitor: Option<&str>, local: Option<&str>) -> StreamHeader {
        StreamHeader {
            kind: StreamKind::Http,
            tunnel: TunnelId(7),
            request: RequestId(0xABCD),
            visitor: visitor.map(|address| address.parse().unwrap()),
            local: local.map(|address| address.parse().unwrap()),
            twin: None,
        }
    }

    #[test]
    fn golden() {
        // Other implementations rely on these exact bytes: see docs/PROTOCOL.md.
        let bytes = header(Some("192.0.2.1:4000"), None).encode();
        let hex = data_encoding::HEXLOWER.encode(&bytes);
        assert_eq!(
            hex,
            "002202000000000000000007".to_owned()
                + "0000000000000000000000000000abcd"
                + "04c00002010fa0"
                + "00"
        );
    }

    #[test]
    fn golden_twins() {
        for (twin, flags) in [(Twin::Expected(9), "01"), (Twin::Of(9), "02")] {
            let header = StreamHeader { twin: Some(twin), ..header(Some("192.0.2.1:4000"), None) };
            assert_eq!(
                data_encoding::HEXLOWER.encode(&header.encode()),
                format!("002a02{flags}0000000000000007")
                    + "0000000000000000000000000000abcd"
                    + "04c00002010fa0"
                    + "00"
                    + "0000000000000009"
            );
        }
    }

    #[test]
    fn flags_of_the_future_are_ignored_and_two_that_exclude_each_other_are_not() {
        let plain = header(None, None);
        let mut bytes = plain.encode()[2..].to_vec();
        bytes[1] = 0xFC;
        assert_eq!(StreamHeader::decode(&bytes), Ok(plain));
        let mut bytes = StreamHeader { twin: Some(Twin::Of(1)), ..plain }.encode()[2..].to_vec();
        bytes[1] = 3;
        assert_eq!(StreamHeader::decode(&bytes), Err(HeaderError));
    }

    #[test]
    fn headers_round_trip_and_newer_fields_are_ignored() {
        for header in [
            header(None, None),
            header(Some("192.0.2.1:4000"), Some("192.0.2.2:80")),
            header(Some("[2001:db8::1]:1"), Some("[::1]:65535")),
            StreamHeader { kind: StreamKind::Tcp, ..header(None, None) },
            StreamHeader { kind: StreamKind::Udp, ..header(None, None) },
            StreamHeader { twin: Some(Twin::Expected(u64::MAX)), ..header(None, None) },
            StreamHeader { twin: Some(Twin::Of(1)), ..header(Some("192.0.2.1:4000"), None) },
        ] {
            let bytes = header.encode();
            let length = StreamHeader::decode_length([bytes[0], bytes[1]]).unwrap();
            assert_eq!(length, bytes.len() - 2);
            assert_eq!(StreamHeader::decode(&bytes[2..]), Ok(header));
            let mut longer = bytes[2..].to_vec();
            longer.extend_from_slice(b"from the future");
            assert_eq!(StreamHeader::decode(&longer), Ok(header));
            for cut in 0..bytes.len() - 2 {
                assert_eq!(StreamHeader::decode(&bytes[2..2 + cut]), Err(HeaderError), "cut at {cut}");
            }
        }
    }

    #[test]
    fn replies_round_trip() {
        for reply in [StreamReply::Accepted, StreamReply::Ready, StreamReply::Refused(Code::UpstreamRefused)]
        {
            let bytes = reply.encode();
            assert_eq!(StreamReply::decode(&bytes), Ok(Some((reply, bytes.len()))));
            for cut in 0..bytes.len() {
                assert_eq!(StreamReply::decode(&bytes[..cut]), Ok(None));
            }
        }
        assert_eq!(StreamReply::decode(b"HTTP/1.1"), Err(HeaderError));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = StreamHeader::decode(&bytes);
            let _ = StreamReply::decode(&bytes);
        }
    }
}
