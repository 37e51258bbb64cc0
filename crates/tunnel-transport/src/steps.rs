//! A dial in single steps, for whoever looks for a fault: what [`Dial::dial`](crate::Dial::dial) does in one go, with
//! what was found out on the way.
//!
//! ```text
//!   find ─► reach (each address) ─┐
//!           reach_by_proxy ───────┴─► greet ─► Handshake
//! ```

use std::{net::SocketAddr, time::SystemTime};

use tokio::{net::TcpStream, time::Instant};

use crate::{DialError, Pin, Proxy, Stage, TcpDialer, dial::Secured, tcp, validity};

/// What a handshake with the server showed. The connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handshake {
    /// The key exchange, as the TLS library calls it; `None` without TLS.
    pub key_exchange: Option<String>,
    /// What the server showed of itself; `None` without TLS.
    pub certificate: Option<PeerCertificate>,
}

/// The certificate that a server has shown, and proven to have the key of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCertificate {
    /// The hash of its public key.
    pub pin: Pin,
    /// From when until when it is valid, unless that can't be read.
    pub valid: Option<(SystemTime, SystemTime)>,
}

impl TcpDialer {
    /// The proxy on the way, if there is one.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// Looks the server's name up: at least one address. Takes at most the dialer's timeout, as each step does.
    ///
    /// # Errors
    ///
    /// [`DialError::Resolve`] or [`DialError::Timeout`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn find(&self) -> Result<Vec<SocketAddr>, DialError> {
        self.within(self.deadline(), Stage::Resolve, self.resolve()).await
    }

    /// Connects to one of the server's addresses.
    ///
    /// # Errors
    ///
    /// [`DialError::Connect`] or [`DialError::Timeout`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up.
    pub async fn reach(&self, address: SocketAddr) -> Result<TcpStream, DialError> {
        let connect = async {
            let stream = TcpStream::connect(address).await;
            stream.map_err(|source| DialError::Connect { server: self.address.clone(), source })
        };
        let stream = self.within(self.deadline(), Stage::Connect, connect).await?;
        tcp::tune_lane(&stream);
        Ok(stream)
    }

    /// Connects to the server through a proxy.
    ///
    /// # Errors
    ///
    /// [`DialError::Proxy`] or [`DialError::Timeout`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up.
    pub async fn reach_by_proxy(&self, proxy: &Proxy) -> Result<TcpStream, DialError> {
        self.within(self.deadline(), Stage::Proxy, self.through(proxy)).await
    }

    /// Has whoever is at the other end show that it is the server, and hangs up.
    ///
    /// # Errors
    ///
    /// [`DialError::Tls`] or [`DialError::Timeout`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn greet(&self, stream: TcpStream) -> Result<Handshake, DialError> {
        let secured = self.within(self.deadline(), Stage::Handshake, self.shake_hands(stream)).await?;
        let Secured::Tls(stream) = secured else {
            return Ok(Handshake { key_exchange: None, certificate: None });
        };
        let (_, tls) = stream.get_ref();
        let certificate = tls.peer_certificates().and_then(<[_]>::first);
        Ok(Handshake {
            key_exchange: tls.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name())),
            certificate: certificate.and_then(|certificate| {
                let valid = validity::of(certificate).map(|dates| (dates.not_before, dates.not_after));
                Some(PeerCertificate { pin: Pin::of(certificate).ok()?, valid })
            }),
        })
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }
}
