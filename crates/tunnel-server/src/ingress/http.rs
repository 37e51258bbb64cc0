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

/// What a visitor gets while memory is nearly used up.
const OVERLOADED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Tunnel-Error: overloaded\r\n\
    Retry-After: 5\r\n\
    Cache-Control: no-store\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 64\r\n\
    Connection: close\r\n\r\n\
    This server has no memory left for another visitor: try later.\r\n";

/// What a visitor gets whose address connects too often.
const TOO_FAST: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
    Tunnel-Error: rate-limited\r\n\
    Retry-After: 1\r\n\
    Cache-Control: no-store\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 76\r\n\
    Connection: close\r\n\r\n\
    Your address connects more often than it may: keep connections for longer.\r\n";

/// Takes visitors until the server drains. Each connection is a task of the server's.
///
/// # Cancel safety
/// No connection that was taken is lost by dropping it.
pub(crate) async fn serve(shared: Shared, listener: Listener) {
    if !shared.opened().await {
        return;
    }
    loop {
        let no_room = |stream, visitor| refuse(&shared, &stream, visitor, Code::TooManyVisitors);
        let (stream, visitor) = tokio::select! {
            biased;
            () = shared.draining.cancelled() => return,
            accepted = listener.accept_or(&shared.spare, no_room) => accepted,
        };
        match shared.connections.take(visitor.ip()) {
            Ok(place) => {
                shared.visitors.spawn(take(shared.clone(), stream, visitor, place));
            }
            Err(code) => refuse(&shared, &stream, visitor, code),
        }
    }
}

fn refuse(shared: &Shared, stream: &TcpStream, visitor: SocketAddr, code: Code) {
    debug!(visitor.addr = %visitor, %code, "no room for another visitor");
    shared.metrics.refused(code);
    let words = match code {
        Code::RateLimited => TOO_FAST,
        Code::Overloaded => OVERLOADED,
        _ => BUSY,
    };
    // A new socket takes this much at once; if not, closing has to say it.
    let _ = stream.try_write(words);
}

async fn take(shared: Shared, mut stream: TcpStream, visitor: SocketAddr, mut place: Place) {
    tune_visitor(&stream);
    // Gone already, if the system doesn't know.
    let Ok(local) = stream.local_addr() else { return };
    let Some(Ends { visitor, local }) = proxy::who(&shared, &mut stream, Ends { visitor, local }).await
    else {
        return;
    };
    if let Err(code) = place.set_visitor(visitor.ip()) {
        return refuse(&shared, &stream, visitor, code);
    }
    let redirect = shared.https_port().filter(|_| shared.config().redirect_https);
    let door = Door { redirect, ..Door::plain(local) };
    http::serve(shared, stream, visitor, door, place).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lengths_are_right() {
        for words in [BUSY, TOO_FAST, OVERLOADED] {
            let (head, body) = str::from_utf8(words).unwrap().split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
        }
    }
}
