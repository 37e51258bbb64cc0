//! Takes web visitors from a listener: HTTP/1 without TLS.
//!
//! The loop only hands connections off. A visitor that says nothing, or says it slowly, costs a task and nobody
//! else's time.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tracing::debug;
use tunnel_protocol::Code;
use tunnel_transport::{Listener, tune_visitor};

use super::proxy::{self, Ends};
use crate::{
    http::{self, Door},
    places::Place,
    shared::Shared,
};

/// What a visitor gets for whom there is no room. Nothing of its request is read.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Tunnel-Error: too-many-visitors\r\n\
    Retry-After: 1\r\n\
    Cache-Control: no-store\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 57\r\n\
    Connection: close\r\n\r\n\
    This server has no room for another visitor: try later.\r\n";

/// Takes visitors until the server drains. Each connection is a task of the server's.
///
/// # Cancel safety
/// No connection that was taken is lost by dropping it.
pub(crate) async fn serve(shared: Shared, listener: Listener) {
    loop {
        let (stream, visitor) = tokio::select! {
            biased;
            () = shared.draining.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match shared.connections.take(visitor.ip()) {
            Some(place) => {
                shared.visitors.spawn(take(shared.clone(), stream, visitor, place));
            }
            None => refuse(&shared, &stream, visitor),
        }
    }
}

fn refuse(shared: &Shared, stream: &TcpStream, visitor: SocketAddr) {
    debug!(visitor.addr = %visitor, "no room for another visitor");
    shared.metrics.refused(Code::TooManyVisitors);
    // A new socket takes this much at once; if not, closing has to say it.
    let _ = stream.try_write(BUSY);
}

async fn take(shared: Shared, mut stream: TcpStream, visitor: SocketAddr, mut place: Place) {
    tune_visitor(&stream);
    // Gone already, if the system doesn't know.
    let Ok(local) = stream.local_addr() else { return };
    let Some(Ends { visitor, local }) = proxy::who(&shared, &mut stream, Ends { visitor, local }).await
    else {
        return;
    };
    if !place.is_for(visitor.ip()) {
        return refuse(&shared, &stream, visitor);
    }
    let redirect = shared.https_port().filter(|_| shared.config().redirect_https);
    let door = Door { redirect, ..Door::plain(local) };
    http::serve(shared, stream, visitor, door, place).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_right() {
        let text = str::from_utf8(BUSY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
