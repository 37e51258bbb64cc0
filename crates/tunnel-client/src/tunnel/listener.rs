//! A tunnel whose visitors the program serves itself, as if it had a listening socket on the server.

use tokio::sync::mpsc;
use tunnel_protocol::TunnelId;

use super::{Conn, Tunnel};
use crate::TunnelEnd;

/// Hands out the visitors of a tunnel. Survives reconnects; dropping it takes the tunnel down and resets the
/// visitors that were not accepted yet.
#[derive(Debug)]
pub struct Listener {
    tunnel: Tunnel,
    waiting: mpsc::Receiver<Conn>,
}

impl Listener {
    pub(crate) fn new(tunnel: Tunnel, waiting: mpsc::Receiver<Conn>) -> Self {
        Self { tunnel, waiting }
    }

    /// The next visitor: a TCP connection's bytes, or for web tunnels a stream of HTTP/1.1 exchanges.
    ///
    /// # Errors
    /// [`TunnelEnd`] once there will be no more.
    ///
    /// # Cancel safety
    /// Cancel safe: no visitor is lost.
    pub async fn accept(&mut self) -> Result<Conn, TunnelEnd> {
        let ended = self.tunnel.closed();
        tokio::select! {
            // Those who came before the end are served before it is told.
            biased;
            Some(conn) = self.waiting.recv() => Ok(conn),
            end = ended => Err(end),
        }
    }

    /// Where visitors go; see [`Tunnel::url`].
    pub fn url(&self) -> String {
        self.tunnel.url()
    }

    /// The tunnel's id within the client.
    pub fn id(&self) -> TunnelId {
        self.tunnel.id()
    }

    /// The tunnel itself: its state, its address, its end.
    pub fn tunnel(&self) -> &Tunnel {
        &self.tunnel
    }
}
