//! `axum::serve(listener, app)`: a web application on the internet without a socket of its own.

use std::{future, io, net::SocketAddr};

use axum::{extract::connect_info::Connected, serve};

use super::{Conn, Listener};

/// Who a connection is from, for axum's `ConnectInfo`; see [`Conn::visitor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visitor(pub Option<SocketAddr>);

/// When the tunnel ends for good, no more visitors come and `axum::serve` goes on waiting: end it with
/// `with_graceful_shutdown` and [`Tunnel::closed`](crate::Tunnel::closed) if the program has something else to do.
impl serve::Listener for Listener {
    type Io = Conn;
    type Addr = Visitor;

    async fn accept(&mut self) -> (Conn, Visitor) {
        match Listener::accept(self).await {
            Ok(conn) => {
                let visitor = Visitor(conn.visitor());
                (conn, visitor)
            }
            Err(_) => future::pending().await,
        }
    }

    /// # Errors
    /// Always: the tunnel's address is the server's, and a URL; see [`Listener::url`].
    fn local_addr(&self) -> io::Result<Visitor> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "a tunnel has a URL, not a local address"))
    }
}

impl Connected<serve::IncomingStream<'_, Listener>> for Visitor {
    fn connect_info(stream: serve::IncomingStream<'_, Listener>) -> Self {
        *stream.remote_addr()
    }
}
