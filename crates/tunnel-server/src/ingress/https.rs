//! Takes visitors with TLS: reads whom they ask for before anything is decrypted, and then either passes the
//! connection through whole or ends its TLS and serves it as a web connection.
//!
//! ```text
//!   socket ─► peek the ClientHello ─► host of a TLS tunnel? ─ yes ─► dispatch, as on a TCP port
//!                                            └─ no ─► handshake ─► http::serve
//! ```

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tracing::{Instrument, debug, info_span};
use tunnel_io::{PeekError, Prefixed, peek_until};
use tunnel_protocol::{Code, bind::PublicAddress};
use tunnel_router::{
    Hostname,
    sniff::tls::{ClientHello, HelloError, HelloReader, MAX_HELLO_BYTES},
};
use tunnel_transport::{CertStore, Listener, WebStream, WebTls, reset, tune_visitor};

use super::{
    proxy::{self, Ends},
    tcp,
};
use crate::{
    dispatch::Visit,
    endpoint::Endpoint,
    http::{self, Door, Secure, Socket},
    ids,
    metrics::Metrics,
    places::Place,
    rights::TunnelKind,
    shared::Shared,
};

/// What the rest of a server knows of the https port.
#[derive(Debug)]
pub(crate) struct Https {
    /// The listener's port, which is in public addresses unless the settings name another one.
    pub(crate) listener_port: u16,
    /// What can be shown there.
    pub(crate) certificates: CertStore,
}

/// For visitors who forgot the `s`: their own request is in a language that this port doesn't speak.
const SPEAKS_HTTPS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Tunnel-Error: bad-request\r\n\
    Cache-Control: no-store\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 61\r\n\
    Connection: close\r\n\r\n\
    This port speaks https: ask again with https:// in the front\n";

/// A fatal alert: there is nobody of that name here (`unrecognized_name`, RFC 6066 §3).
const NOBODY: &[u8] = &[21, 3, 3, 0, 2, 2, 112];

/// For how long, and for how many bytes, someone who was turned away is listened to.
const LINGER: Duration = Duration::from_secs(1);
const UNREAD: u64 = 64 * 1024;

/// Takes visitors until the server drains. Each connection is a task of the server's.
///
/// # Cancel safety
/// No connection that was taken is lost by dropping it.
pub(crate) async fn serve(shared: Shared, listener: Listener, tls: WebTls) {
    if !shared.opened().await {
        return;
    }
    loop {
        let no_room = |stream, visitor| refuse(&shared, stream, visitor, Code::TooManyVisitors);
        let (stream, visitor) = tokio::select! {
            biased;
            () = shared.draining.cancelled() => return,
            accepted = listener.accept_or(&shared.spare, no_room) => accepted,
        };
        match shared.connections.take(visitor.ip()) {
            Ok(place) => {
                shared.visitors.spawn(take(shared.clone(), tls.clone(), stream, visitor, place));
            }
            Err(code) => refuse(&shared, stream, visitor, code),
        }
    }
}

fn refuse(shared: &Shared, stream: TcpStream, visitor: SocketAddr, code: Code) {
    debug!(visitor.addr = %visitor, %code, "no room for another visitor");
    shared.metrics.refused(code);
    reset(stream);
}

/// What a visitor turned out to want.
enum Wish {
    /// A web connection, whose TLS has ended here.
    Web(Box<WebStream<Prefixed<TcpStream>>>, Option<Hostname>),
    /// A connection to a TLS tunnel, as it came.
    Passage(Prefixed<TcpStream>, Arc<Endpoint>),
}

async fn take(shared: Shared, tls: WebTls, mut stream: TcpStream, visitor: SocketAddr, mut place: Place) {
    tune_visitor(&stream);
    // Gone already, if the system doesn't know.
    let Ok(local) = stream.local_addr() else { return };
    let Some(Ends { visitor, local }) = proxy::who(&shared, &mut stream, Ends { visitor, local }).await
    else {
        return;
    };
    if let Err(code) = place.set_visitor(visitor.ip()) {
        return refuse(&shared, stream, visitor, code);
    }
    let deadline = Instant::now() + shared.config().timeouts.handshake;
    // Boxed, so that the task of a connection at rest doesn't keep the room for a handshake.
    let wish = tokio::select! {
        biased;
        () = shared.stopping.cancelled() => return,
        wish = Box::pin(timeout_at(deadline, meet(&shared, &tls, stream))) => wish,
    };
    match wish {
        Ok(Ok(Wish::Web(stream, sni))) => {
            let port = shared.https_port().unwrap_or(local.port());
            let secure = Some(Secure { sni, is_h2: stream.is_h2(), port });
            http::serve(shared, stream, visitor, Door { local, secure, redirect: None }, place).await;
        }
        Ok(Ok(Wish::Passage(stream, endpoint))) => pass(&shared, stream, &endpoint, visitor, local).await,
        Ok(Err(reason)) => {
            Metrics::count(&shared.metrics.tls_failures);
            debug!(visitor.addr = %visitor, %reason, "no TLS with a visitor");
        }
        Err(_elapsed) => {
            Metrics::count(&shared.metrics.tls_failures);
            debug!(visitor.addr = %visitor, "a visitor took too long for TLS");
        }
    }
}

/// Why there is no TLS with a visitor.
#[derive(Debug, thiserror::Error)]
enum Stranger {
    #[error("{0}")]
    Silent(#[from] PeekError),
    #[error("{0}")]
    Hello(#[from] HelloError),
    #[error("nobody of that name is here")]
    Nobody,
    #[error("{0}")]
    Handshake(std::io::Error),
}

/// Finds out what a visitor wants, and does the handshake if it is ours to do.
async fn meet(shared: &Shared, tls: &WebTls, stream: TcpStream) -> Result<Wish, Stranger> {
    let mut reader = HelloReader::new();
    let (hello, mut stream) = peek_until(stream, MAX_HELLO_BYTES, |head| reader.read(head).verdict()).await?;
    let sni = match hello {
        Ok(ClientHello { server_name, .. }) => server_name,
        Err(error) => {
            turn_away(&mut stream, error).await;
            return Err(error.into());
        }
    };
    if let Some(host) = &sni
        && let Some(endpoint) = shared.routes.lookup_tls(host)
    {
        return Ok(Wish::Passage(stream, endpoint));
    }
    if tls.store().is_empty() {
        // The connection is closed next, which says the same.
        let _ = stream.write_all(NOBODY).await;
        return Err(Stranger::Nobody);
    }
    let stream = tls.accept(stream).await.map_err(Stranger::Handshake)?;
    Ok(Wish::Web(Box::new(stream), sni))
}

/// Says in its own language why a visitor can't stay.
async fn turn_away(stream: &mut Prefixed<TcpStream>, error: HelloError) {
    let said = stream.prefix();
    let words = match error {
        HelloError::NotTls if said.first().is_some_and(u8::is_ascii_uppercase) => SPEAKS_HTTPS,
        HelloError::ServerName(_) => NOBODY,
        _ => return,
    };
    let _ = stream.write_all(words).await;
    // A socket closed with bytes unread resets, and the words might be lost.
    let _ = stream.shutdown().await;
    let _ = timeout(LINGER, copy(&mut stream.take(UNREAD), &mut sink())).await;
}

/// Passes a connection through to the upstream of a TLS tunnel.
async fn pass(
    shared: &Shared,
    stream: Prefixed<TcpStream>,
    endpoint: &Arc<Endpoint>,
    visitor: SocketAddr,
    local: SocketAddr,
) {
    Metrics::count(&shared.metrics.tcp_visitors);
    endpoint.tally.count_connection();
    let _permit = match endpoint.admit() {
        Ok(permit) => permit,
        Err(code) => {
            endpoint.tally.refused(&shared.metrics, code);
            return reset(stream.into_inner().0);
        }
    };
    let visit = Visit { request: ids::request_id(), visitor, local };
    let span = info_span!("visitor", id = %visit.request, addr = %visitor);
    tokio::select! {
        () = tcp::serve(shared, endpoint, stream, visit, TunnelKind::Tls).instrument(span) => {}
        () = endpoint.over.cancelled() => {}
    }
}

impl Shared {
    /// The port in public addresses of the https listener, if there is one.
    pub(crate) fn https_port(&self) -> Option<u16> {
        let https = self.https.as_ref()?;
        Some(self.config().public_https_port.unwrap_or(https.listener_port))
    }

    /// The public address of a web tunnel. `http_port` is the port without TLS.
    pub(crate) fn web_url(&self, host: &str, http_port: u16) -> String {
        match self.https_port() {
            Some(port) if self.is_https(host) => url("https", host, port, 443),
            _ => url("http", host, http_port, 80),
        }
    }

    /// Whether a host's visitors are to use https: a certificate is there for it, or there is no other way.
    pub(crate) fn is_https(&self, host: &str) -> bool {
        let https = self.https.as_ref();
        https.is_some_and(|https| self.config().redirect_https || https.certificates.covers(host))
    }

    /// Why a web tunnel's address is without TLS though this server could do better, for its owner.
    pub(crate) fn why_plain(&self, address: &PublicAddress) -> Option<String> {
        let PublicAddress::Http { host, .. } = address else { return None };
        let could = self.https.as_ref().is_some_and(|https| !https.certificates.is_empty());
        (could && !self.is_https(host)).then(|| {
            format!(
                "the server has no certificate for `{host}`, so its address is http://; its operator can give it one \
                 with --cert and --key"
            )
        })
    }

    /// The public address of a TLS tunnel, if there is a port for it.
    pub(crate) fn tls_url(&self, host: &str) -> Option<String> {
        self.https_port().map(|port| format!("tls://{host}:{port}"))
    }
}

/// An address, its port left out where it is the usual one.
pub(crate) fn url(scheme: &str, host: &str, port: u16, usual: u16) -> String {
    if port == usual { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }
}

/// Boxed, since futures have room for a stream at each place that it passes through.
impl<T: Socket> Socket for Box<WebStream<T>> {
    fn abort(&mut self) {
        self.get_mut().abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_right() {
        let text = str::from_utf8(SPEAKS_HTTPS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }

    #[test]
    fn usual_ports_are_left_out() {
        assert_eq!(url("https", "a.test", 443, 443), "https://a.test");
        assert_eq!(url("https", "a.test", 80, 443), "https://a.test:80");
    }
}
