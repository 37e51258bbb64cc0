//! A visitor's socket, and how long a visitor may take.

use std::{fmt, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tunnel_io::Prefixed;

use crate::config::Timeouts;

/// A visitor's socket, or one stream of it.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Makes closing the socket an error for its peer, and not an end: what was sent is not all there is.
    fn abort(&mut self);
}

impl fmt::Debug for dyn Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Socket")
    }
}

impl<T: Socket> Socket for Prefixed<T> {
    fn abort(&mut self) {
        self.get_mut().abort();
    }
}

impl Socket for Box<dyn Socket> {
    fn abort(&mut self) {
        (**self).abort();
    }
}

impl Socket for TcpStream {
    fn abort(&mut self) {
        // Fails on a socket that is broken already.
        let _ = self.set_zero_linger();
    }
}

/// How long a visitor may take; see [`Timeouts`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(super) head: Duration,
    pub(super) idle: Duration,
    pub(super) stall: Duration,
    pub(super) linger: Duration,
}

impl From<&Timeouts> for Patience {
    fn from(timeouts: &Timeouts) -> Self {
        Self { head: timeouts.head, idle: timeouts.idle, stall: timeouts.stall, linger: timeouts.linger }
    }
}
