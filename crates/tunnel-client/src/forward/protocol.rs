//! What an upstream of a web tunnel speaks: said by its owner, since nothing about a port tells.

use tunnel_protocol::bind as wire;

use super::{Upstream, upstream::Place};
use crate::UpstreamError;

/// What a web tunnel's upstream speaks. Default: HTTP/1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UpstreamProtocol {
    /// HTTP/1.1, with TLS if the upstream is `https://`.
    #[default]
    Http1,
    /// HTTP/2 without TLS, from the first byte (RFC 9113 §3.3): what gRPC servers usually speak.
    H2c,
    /// HTTP/2 over TLS, agreed on in the handshake (ALPN `h2`).
    H2,
}

impl UpstreamProtocol {
    /// What the server is told: TLS towards the upstream is the client's business.
    pub(crate) fn on_the_wire(self) -> wire::UpstreamProtocol {
        match self {
            Self::Http1 => wire::UpstreamProtocol::Http1,
            Self::H2c | Self::H2 => wire::UpstreamProtocol::Http2,
        }
    }

    /// The upstream as it has to be spoken to: with TLS, of which nothing need be said, for [`UpstreamProtocol::H2`].
    ///
    /// # Errors
    /// [`UpstreamError::Protocol`] if it can't speak that.
    pub fn fit(self, upstream: Upstream) -> Result<Upstream, UpstreamError> {
        match (self, upstream.0) {
            (Self::H2, Place::Tcp(address)) => Ok(Upstream(Place::Tls(address, None))),
            (Self::H2, Place::Unix(_)) => {
                Err(UpstreamError::Protocol("a Unix socket has no TLS; use `--upstream-protocol h2c`"))
            }
            (Self::H2c, Place::Tls(..)) => Err(UpstreamError::Protocol(
                "an https:// upstream is spoken to over TLS; use `--upstream-protocol h2`",
            )),
            (Self::H2 | Self::H2c, Place::Directory(_)) => {
                Err(UpstreamError::Protocol("a directory speaks no protocol; leave --upstream-protocol out"))
            }
            (_, place) => Ok(Upstream(place)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_has_its_upstreams() {
        use UpstreamProtocol::{H2, H2c, Http1};
        for (protocol, upstream, fitted) in [
            (Http1, "3000", Some("localhost:3000")),
            (Http1, "https://nas", Some("https://nas:443")),
            (H2c, "50051", Some("localhost:50051")),
            (H2c, "http://nas:80", Some("nas:80")),
            (H2c, "https://nas", None),
            (H2, "50051", Some("https://localhost:50051")),
            (H2, "https://nas", Some("https://nas:443")),
            (H2c, "./site", None),
            (H2, "./site", None),
            (H2, "unix:/run/app.sock", None),
            (H2c, "unix:/run/app.sock", Some("unix:/run/app.sock")),
        ] {
            let Ok(upstream) = upstream.parse::<Upstream>() else { continue };
            let made = protocol.fit(upstream.clone()).ok().map(|upstream| upstream.to_string());
            assert_eq!(made.as_deref(), fitted, "{protocol:?} {upstream}");
        }
    }
}
