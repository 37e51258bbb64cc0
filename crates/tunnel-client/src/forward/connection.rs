//! A visitor's stream and a connection to the upstream, joined. Web streams too: the server speaks HTTP/1.1 on them,
//! and the client passes bytes.

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tracing::trace;
use tunnel_io::{BoxedIo, Io, Meter, RelayOptions};
use tunnel_transport::{UpstreamTlsStream, reset};

/// A connection to an upstream, of whatever kind.
pub(crate) enum Connection {
    Tcp(TcpStream),
    Tls(Box<UpstreamTlsStream<TcpStream>>),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

impl Connection {
    fn io(&mut self) -> &mut dyn Io {
        match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream,
            #[cfg(unix)]
            Self::Unix(stream) => stream,
        }
    }

    pub(crate) fn into_io(self) -> BoxedIo {
        match self {
            Self::Tcp(stream) => Box::new(stream),
            Self::Tls(stream) => stream,
            #[cfg(unix)]
            Self::Unix(stream) => Box::new(stream),
        }
    }

    /// Ends it so that the upstream sees an error. A Unix socket knows no such end: there it looks like a proper one.
    fn reset(self) {
        match self {
            Self::Tcp(stream) => reset(stream),
            Self::Tls(stream) => reset(stream.into_inner()),
            #[cfg(unix)]
            Self::Unix(stream) => drop(stream),
        }
    }
}

/// Moves bytes both ways until both have ended. A cut transfer is passed on as one, never as an end.
///
/// # Cancel safety
/// Dropping the future resets both sides.
pub(crate) async fn relay<S>(mut stream: S, upstream: Connection, traffic: &Meter)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut upstream = Guarded::new(upstream);
    let Some(connection) = upstream.0.as_mut() else { return };
    let options = RelayOptions { meter: Some(traffic), ..RelayOptions::default() };
    let relayed = tunnel_io::relay(&mut stream, connection.io(), options).await;
    match relayed.end {
        Ok(()) => drop(upstream.release()),
        // The guard resets the upstream; dropping the stream resets the visitor.
        Err(error) => trace!(%error, "a visitor's connection was cut"),
    }
}

/// A connection to an upstream that is reset when dropped, unless released: a visitor that was cut off must not look
/// to the upstream like one that finished.
pub(crate) struct Guarded(Option<Connection>);

impl Guarded {
    pub(crate) fn new(connection: Connection) -> Self {
        Self(Some(connection))
    }

    /// The connection, to be closed properly from here on. Always there.
    pub(crate) fn release(mut self) -> Option<Connection> {
        self.0.take()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.reset();
        }
    }
}
