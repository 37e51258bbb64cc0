//! An upstream made ready: what is the same for all its visitors is done once, and its mistakes are found before the
//! first of them comes.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use tunnel_protocol::{
    BindSpec, StreamHeader, bind as wire,
    proxy::{self, ProxyVersion},
};
use tunnel_transport::{UpstreamTls, UpstreamTrust};

use super::{
    Upstream,
    connection::Connection,
    dial::{self, Failure},
    upstream::{Address, Place},
};
use crate::UpstreamError;

/// What TLS upstreams are offered (ALPN): the server speaks this on web tunnels' streams.
const HTTP1: &[&[u8]] = &[b"http/1.1"];
const HTTP2: &[&[u8]] = &[b"h2"];

/// An upstream that visitors can be connected to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    upstream: Upstream,
    tls: Option<UpstreamTls>,
    /// How it is told who visits.
    proxy: Option<ProxyVersion>,
}

impl Target {
    /// Of any upstream but a directory, which isn't connected to.
    pub(crate) fn new(upstream: Upstream) -> Result<Self, UpstreamError> {
        Self::with(upstream, HTTP1)
    }

    /// Of an upstream that visitors of this tunnel are connected to.
    pub(crate) fn of(spec: &BindSpec, upstream: Upstream) -> Result<Self, UpstreamError> {
        match spec {
            BindSpec::Http(spec) if spec.upstream_protocol == wire::UpstreamProtocol::Http2 => {
                Self::with(upstream, HTTP2)
            }
            _ => Self::new(upstream),
        }
    }

    fn with(upstream: Upstream, protocols: &[&[u8]]) -> Result<Self, UpstreamError> {
        let tls = match &upstream.0 {
            Place::Tcp(_) | Place::Unix(_) => None,
            Place::Tls(address, trust) => {
                let trust = trust.clone().unwrap_or_else(|| default_trust(address));
                let tls = UpstreamTls::new(&trust, protocols);
                Some(tls.map_err(|error| UpstreamError::Trust(error.to_string()))?)
            }
            Place::Directory(_) => return Err(UpstreamError::NotForTcp),
        };
        Ok(Self { upstream, tls, proxy: None })
    }

    /// The same, which is told who visits before anything else.
    pub(crate) fn introducing(self, proxy: Option<ProxyVersion>) -> Self {
        Self { proxy, ..self }
    }

    pub(crate) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Connects for nobody in particular, TLS included, within `limit`.
    ///
    /// # Cancel safety
    /// Dropping the future gives the attempt up.
    pub(crate) async fn dial_anonymously(&self, limit: Duration) -> Result<Connection, Failure> {
        dial::dial(&self.upstream, self.tls.as_ref(), Bytes::new(), limit).await
    }

    /// Connects for this visitor, TLS included, within `limit`.
    ///
    /// # Cancel safety
    /// Dropping the future gives the attempt up.
    pub(crate) async fn dial(&self, visit: &StreamHeader, limit: Duration) -> Result<Connection, Failure> {
        let introduction = self.proxy.map(|version| proxy::write(version, visit.visitor, visit.local));
        dial::dial(&self.upstream, self.tls.as_ref(), introduction.unwrap_or_default(), limit).await
    }
}

fn default_trust(address: &Address) -> UpstreamTrust {
    let ip = address.host.parse::<IpAddr>().ok();
    let here = ip.is_some_and(|ip| ip.to_canonical().is_loopback());
    if here || address.host.eq_ignore_ascii_case("localhost") {
        UpstreamTrust::Anyone
    } else {
        UpstreamTrust::System
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_in_between_on_loopback() {
        for (host, expected) in [
            ("localhost", UpstreamTrust::Anyone),
            ("LocalHost", UpstreamTrust::Anyone),
            ("127.0.0.1", UpstreamTrust::Anyone),
            ("127.9.9.9", UpstreamTrust::Anyone),
            ("::1", UpstreamTrust::Anyone),
            ("::ffff:127.0.0.1", UpstreamTrust::Anyone),
            ("10.0.0.1", UpstreamTrust::System),
            ("::2", UpstreamTrust::System),
            ("localhost.example.com", UpstreamTrust::System),
            ("app.localhost", UpstreamTrust::System),
            ("127.0.0.1.nip.io", UpstreamTrust::System),
            ("nas", UpstreamTrust::System),
        ] {
            let address = Address { host: host.into(), port: 443 };
            assert_eq!(default_trust(&address), expected, "{host}");
        }
    }

    #[test]
    fn a_ca_that_is_none_is_found_out_before_the_first_visitor() {
        let upstream: Upstream = "https://nas".parse().unwrap();
        let upstream = upstream.with_trust(UpstreamTrust::CaFile(Vec::new())).unwrap();
        assert!(matches!(Target::new(upstream), Err(UpstreamError::Trust(_))));
    }
}
