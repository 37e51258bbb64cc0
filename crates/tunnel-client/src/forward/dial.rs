//! A visitor's stream and a TCP connection to the upstream, joined. Web streams too: the server speaks HTTP/1.1 on
//! them, and the client passes bytes.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout, timeout_at},
};
use tracing::trace;
use tunnel_io::{Meter, RelayOptions};
use tunnel_protocol::Code;
use tunnel_transport::{reset, tune_visitor};

use super::Upstream;

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Why there is no connection to an upstream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("nothing listens at {0}; start the local service, or check the port")]
    Refused(Upstream),
    #[error("{0} did not accept the connection within {after} s; check that it runs and is not overloaded", after = .1.as_secs_f32())]
    Timeout(Upstream, Duration),
    #[error("{0} can't be reached ({1}); check the host's name and the network")]
    Unreachable(Upstream, io::Error),
}

impl Failure {
    /// What the visitor's side is told.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Refused(_) => Code::UpstreamRefused,
            Self::Timeout(..) => Code::UpstreamTimeout,
            Self::Unreachable(..) => Code::UpstreamUnreachable,
        }
    }
}

/// Connects to `upstream`, trying its addresses in turn, within `limit` in all.
///
/// # Cancel safety
/// Dropping the future gives the attempt up.
pub(crate) async fn dial(upstream: &Upstream, limit: Duration) -> Result<TcpStream, Failure> {
    let deadline = Instant::now() + limit;
    let late = || Failure::Timeout(upstream.clone(), limit);
    let unreachable = |error| Failure::Unreachable(upstream.clone(), error);
    let addresses =
        timeout_at(deadline, resolve(upstream)).await.map_err(|_| late())?.map_err(unreachable)?;
    let mut worst = None;
    for (index, address) in addresses.iter().enumerate() {
        // An address that leads nowhere must not use up the others' time.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                tune_visitor(&stream);
                return Ok(stream);
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                worst = Some(Failure::Refused(upstream.clone()));
            }
            // What another address said tells more than that there is no route to this one.
            Ok(Err(error)) => worst = worst.or(Some(unreachable(error))),
            Err(_) => worst = Some(late()),
        }
    }
    Err(worst.unwrap_or_else(|| unreachable(io::ErrorKind::NotFound.into())))
}

/// `localhost` means both families, whatever the resolver says: half of all development servers listen on one only.
async fn resolve(upstream: &Upstream) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = (upstream.host(), upstream.port());
    if host.eq_ignore_ascii_case("localhost") {
        let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(both.map(|ip| SocketAddr::new(ip, port)).into());
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    Ok(lookup_host((host, port)).await?.take(MAX_ADDRESSES).collect())
}

/// Moves bytes both ways until both have ended. A cut transfer is passed on as one, never as an end.
///
/// # Cancel safety
/// Dropping the future resets both sides.
pub(crate) async fn relay<S>(mut stream: S, upstream: TcpStream, traffic: &Meter)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut upstream = Guarded::new(upstream);
    let Some(socket) = upstream.0.as_mut() else { return };
    let options = RelayOptions { meter: Some(traffic), ..RelayOptions::default() };
    let relayed = tunnel_io::relay(&mut stream, socket, options).await;
    match relayed.end {
        Ok(()) => drop(upstream.release()),
        // The guard resets the upstream; dropping the stream resets the visitor.
        Err(error) => trace!(%error, "a visitor's connection was cut"),
    }
}

/// A connection to an upstream that is reset when dropped, unless released: a visitor that was cut off must not look
/// to the upstream like one that finished.
pub(crate) struct Guarded(Option<TcpStream>);

impl Guarded {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(Some(stream))
    }

    /// The connection, to be closed properly from here on. Always there.
    pub(crate) fn release(mut self) -> Option<TcpStream> {
        self.0.take()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(stream) = self.0.take() {
            reset(stream);
        }
    }
}
