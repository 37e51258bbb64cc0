//! One visitor's connection, as the program that serves it sees it.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tunnel_io::Twinned;
use tunnel_mux::Stream;
use tunnel_protocol::{RequestId, StreamHeader, StreamKind};

use crate::session::InFlight;

/// A visitor's connection. Half-close works as on a TCP socket: `shutdown` ends our direction, a read of 0 bytes
/// is the end of theirs, and a transfer that was cut is an error.
///
/// Dropping it without a `shutdown` resets it: the visitor can tell an answer that was cut from a whole one.
pub struct Conn {
    stream: Twinned<Stream>,
    header: StreamHeader,
    _in_flight: InFlight,
}

impl Conn {
    pub(crate) fn new(stream: Twinned<Stream>, header: StreamHeader, in_flight: InFlight) -> Self {
        Self { stream, header, _in_flight: in_flight }
    }

    /// Who the visitor is, as the server saw it. On web tunnels one stream may carry several visitors' requests, and
    /// this is the first one's; the requests' own `X-Forwarded-For` is always right.
    pub fn visitor(&self) -> Option<SocketAddr> {
        self.header.visitor
    }

    /// Which public address the visitor connected to.
    pub fn local(&self) -> Option<SocketAddr> {
        self.header.local
    }

    /// What the bytes are.
    pub fn kind(&self) -> StreamKind {
        self.header.kind
    }

    /// The connection's id, as in the server's log.
    pub fn request(&self) -> RequestId {
        self.header.request
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("header", &self.header).finish_non_exhaustive()
    }
}
