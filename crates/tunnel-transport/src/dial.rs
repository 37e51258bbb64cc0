//! Getting a connection to the server.
//!
//! [`Dial`] is where another transport plugs in (a WebSocket, a Unix socket, a pipe in a test): the
//! client asks for an authenticated byte stream and never learns how it came about.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::ClientConfig;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tunnel_io::{BoxedIo, Io};

use crate::{
    ALPN, CertError, DialError, Proxy, ServerAddress, Stage, TlsProblem, Trust, Way, lane_socket::LaneSocket,
    plaintext, race::race, tcp, verify,
};

/// A boxed future, as trait objects need it; the same type as in the `futures` crate.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A way to reach the server.
pub trait Dial: Send + Sync + 'static {
    /// Opens one connection, over which the caller may send the login: that it leads to the right server has been
    /// made sure of. It must end in bounded time.
    ///
    /// # Errors
    ///
    /// [`DialError`]; custom transports use [`DialError::Other`] for what fits nowhere else.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future must give the attempt up.
    fn dial(&self) -> BoxFuture<'_, Result<BoxedIo, DialError>>;

    /// Where this leads, for logs: `vps.example.com:4444`. No secrets.
    fn describe(&self) -> String;

    /// Which way a connection would take now; `None` if there is no way, or nobody knows (the default). When it changes,
    /// the client asks for a sign of life on the connections it has, since those made by the former way may be dead.
    ///
    /// It is called each second, and must neither wait nor cost much.
    fn way(&self) -> Option<Way> {
        None
    }
}

/// Time for one dial, from the name lookup to the end of the handshake. Three TCP SYNs (0, 1 and 3 s) and some
/// slow round trips fit; more patience only delays the next try.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time for a dial: as good as for ever, and no clock overflows by it.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The usual way: TCP, through a proxy if need be, then TLS.
#[derive(Clone)]
pub struct TcpDialer {
    pub(crate) address: ServerAddress,
    /// `None` is plaintext. Shared by all lanes, so that they can resume each other's TLS sessions.
    tls: Option<Arc<ClientConfig>>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) timeout: Duration,
    /// Where the last connection led, which may be one of the server's addresses, or the proxy's.
    reached: Arc<Mutex<Option<SocketAddr>>>,
}

/// A connection whose other end has shown that it is the server.
pub(crate) enum Secured<T> {
    Plain(T),
    Tls(Box<TlsStream<T>>),
}

impl TcpDialer {
    /// Prepares to dial `address`; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`CertError`] when `trust` is unusable: a CA file without certificates, or a system without any.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a dialer is the last to need it; callers should not keep it"
    )]
    pub fn new(address: ServerAddress, trust: Trust) -> Result<Self, CertError> {
        let tls = verify::client_config(&trust)?;
        Ok(Self { address, tls, proxy: None, timeout: DIAL_TIMEOUT, reached: Arc::default() })
    }

    /// Another time for the whole dial than [`DIAL_TIMEOUT`]; at most a year, as which any longer one is taken.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(LONGEST);
        self
    }

    /// Through a proxy, which resolves the server's name. TLS is with the server, behind the proxy.
    #[must_use]
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    async fn open(&self) -> Result<BoxedIo, DialError> {
        let deadline = Instant::now() + self.timeout;
        if let Some(proxy) = &self.proxy {
            let stream = self.within(deadline, Stage::Proxy, self.through(proxy)).await?;
            self.note(&stream);
            return self.within(deadline, Stage::Handshake, self.secure(LaneSocket::new(stream))).await;
        }
        let addresses = self.within(deadline, Stage::Resolve, self.resolve()).await?;
        let stream = self.within(deadline, Stage::Connect, self.connect(addresses)).await?;
        self.note(&stream);
        tcp::tune_lane(&stream);
        self.within(deadline, Stage::Handshake, self.secure(LaneSocket::new(stream))).await
    }

    fn note(&self, stream: &TcpStream) {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = stream.peer_addr().ok();
    }

    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, DialError> {
        let failed = |source| DialError::Resolve { server: self.address.clone(), source };
        let found = lookup_host((self.address.host(), self.address.port())).await.map_err(failed)?;
        let addresses: Vec<_> = found.collect();
        if addresses.is_empty() { Err(failed(io::ErrorKind::NotFound.into())) } else { Ok(addresses) }
    }

    async fn connect(&self, addresses: Vec<SocketAddr>) -> Result<TcpStream, DialError> {
        race(addresses, TcpStream::connect)
            .await
            .map_err(|source| DialError::Connect { server: self.address.clone(), source })
    }

    pub(crate) async fn through(&self, proxy: &Proxy) -> Result<TcpStream, DialError> {
        let failed = |problem| DialError::Proxy { proxy: proxy.to_string(), problem };
        proxy.open(&self.address).await.map_err(failed)
    }

    async fn secure<T: Io + 'static>(&self, io: T) -> Result<BoxedIo, DialError> {
        Ok(match self.shake_hands(io).await? {
            Secured::Plain(io) => Box::new(io),
            Secured::Tls(stream) => stream,
        })
    }

    /// TLS, or what is in its place.
    pub(crate) async fn shake_hands<T: Io>(&self, mut io: T) -> Result<Secured<T>, DialError> {
        let failed = |problem| DialError::Tls { server: self.address.clone(), problem };
        let Some(config) = &self.tls else {
            plaintext::greet_server(&mut io).await.map_err(failed)?;
            return Ok(Secured::Plain(io));
        };
        let stream = TlsConnector::from(Arc::clone(config))
            .connect(self.address.server_name(), io)
            .await
            .map_err(|error| failed(verify::problem(&error)))?;
        if stream.get_ref().1.alpn_protocol() == Some(ALPN) {
            Ok(Secured::Tls(Box::new(stream)))
        } else {
            Err(failed(TlsProblem::NotTunnel))
        }
    }

    pub(crate) async fn within<T>(
        &self,
        deadline: Instant,
        stage: Stage,
        step: impl Future<Output = Result<T, DialError>>,
    ) -> Result<T, DialError> {
        timeout_at(deadline, step).await.unwrap_or_else(|_| {
            Err(DialError::Timeout { server: self.address.clone(), stage, after: self.timeout })
        })
    }
}

impl Dial for TcpDialer {
    fn dial(&self) -> BoxFuture<'_, Result<BoxedIo, DialError>> {
        Box::pin(self.open())
    }

    fn describe(&self) -> String {
        self.address.to_string()
    }

    fn way(&self) -> Option<Way> {
        let reached = *self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.and_then(Way::to)
    }
}

impl fmt::Debug for TcpDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpDialer")
            .field("address", &self.address)
            .field("tls", &self.tls.is_some())
            .field("proxy", &self.proxy)
            .field("timeout", &self.timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pin;

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_costs_the_timeout_and_no_more() {
        for trust in [Trust::Plaintext, Trust::Pinned(Pin::from_bytes([0; 32]))] {
            let dialer = TcpDialer::new("vps".parse().unwrap(), trust).unwrap();
            let (near, _far) = tokio::io::duplex(64 * 1024);
            let start = Instant::now();
            let error = dialer
                .within(start + dialer.timeout, Stage::Handshake, dialer.secure(near))
                .await
                .err()
                .unwrap();
            assert_eq!(start.elapsed(), DIAL_TIMEOUT);
            assert!(matches!(error, DialError::Timeout { stage: Stage::Handshake, .. }));
            assert!(
                error.to_string().starts_with("no connection to vps:4444 within 10 s: it took"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn for_ever_is_a_time_like_any_other() {
        let listener = crate::Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let dialer = TcpDialer::new(address.to_string().parse().unwrap(), Trust::Plaintext).unwrap();
        let dialer = dialer.with_timeout(Duration::MAX);
        let (dialled, ()) = tokio::join!(dialer.dial(), async { drop(listener.accept().await) });
        assert!(matches!(dialled.err(), Some(DialError::Tls { problem: TlsProblem::Closed, .. })));
    }

    #[test]
    fn a_dialer_is_an_object() {
        let dialer = TcpDialer::new("vps:1".parse().unwrap(), Trust::System);
        if let Ok(dialer) = dialer {
            let dialer: Arc<dyn Dial> = Arc::new(dialer);
            assert_eq!(dialer.describe(), "vps:1");
        }
    }
}
