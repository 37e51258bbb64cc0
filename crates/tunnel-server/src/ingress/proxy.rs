//! Visitors behind a load balancer: the PROXY header that comes before their first byte.
//!
//! From the networks the operator named every connection must begin with one, and its word is taken everywhere:
//! in logs, policies and limits, and towards the upstream. From all others none is taken, whatever their bytes look
//! like: or anybody could be whoever it likes.

use std::{io, net::SocketAddr, time::Duration};

use ipnet::IpNet;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tracing::debug;
use tunnel_protocol::proxy::{self, ProxyError, ProxyHeader, V2_MAX};

use crate::{metrics::Metrics, shared::Shared};

/// How long a load balancer may take for a header: it sends it with its first segment.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who visits, and which address was connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) visitor: SocketAddr,
    pub(super) local: SocketAddr,
}

/// Why a connection has no usable header.
#[derive(Debug, thiserror::Error)]
enum Unnamed {
    #[error("{0}")]
    Proxy(#[from] ProxyError),
    #[error("the connection ended before its PROXY header did")]
    Ended,
    #[error("no PROXY header within {} s", PATIENCE.as_secs())]
    Late,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Finds out whose connection this is: as the socket has it, or as a load balancer says. `None` if the connection is
/// to be closed, which has been told where it has to be.
///
/// # Cancel safety
/// Not cancel safe: what was read of a header is lost, and the connection with it.
pub(super) async fn who(shared: &Shared, stream: &mut TcpStream, ends: Ends) -> Option<Ends> {
    let must_say = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&ends.visitor.ip()));
    if !must_say(&shared.config().proxy_protocol_from) {
        return Some(ends);
    }
    let header = tokio::select! {
        biased;
        () = shared.stopping.cancelled() => return None,
        read = timeout(PATIENCE, Box::pin(read(stream))) => read.unwrap_or(Err(Unnamed::Late)),
    };
    match header {
        Ok(ProxyHeader::Forwarded(told)) => {
            let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
            Some(Ends { visitor: plain(told.source), local: plain(told.destination) })
        }
        Ok(ProxyHeader::Own) => Some(ends),
        Err(error) => {
            Metrics::count(&shared.metrics.proxy_failures);
            debug!(visitor.addr = %ends.visitor, %error, "a load balancer's connection has no PROXY header");
            None
        }
    }
}

/// Takes the header off a connection, and not one byte more.
async fn read(stream: &mut TcpStream) -> Result<ProxyHeader, Unnamed> {
    let mut header = [0; V2_MAX];
    let mut taken = 0;
    loop {
        // What is there is looked at first, since what follows a header isn't ours to take.
        let there = stream.peek(&mut header[taken..]).await?;
        if there == 0 {
            return Err(Unnamed::Ended);
        }
        let (verdict, length) = match proxy::read(&header[..taken + there])? {
            Some((verdict, length)) => (Some(verdict), length),
            // All of it belongs to the header, so waiting for more must not find the same again.
            None => (None, taken + there),
        };
        stream.read_exact(&mut header[taken..length]).await?;
        taken = length;
        if let Some(verdict) = verdict {
            return Ok(verdict);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        near.set_nodelay(true).unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn it_takes_the_header_and_nothing_else_however_it_comes() {
        let v1 = b"PROXY TCP4 192.0.2.1 198.51.100.7 4000 443\r\n".to_vec();
        let (source, destination) = ("192.0.2.1:4000".parse().ok(), "198.51.100.7:443".parse().ok());
        let v2 = proxy::write(proxy::ProxyVersion::V2, source, destination).to_vec();
        for (header, piece) in
            [(&v1, usize::MAX), (&v1, 1), (&v1, 43), (&v2, usize::MAX), (&v2, 1), (&v2, 17)]
        {
            let (mut near, mut far) = pair().await;
            let said = [&header[..], b"and more"].concat();
            let saying = async {
                for piece in said.chunks(piece.min(said.len())) {
                    near.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                near.shutdown().await.unwrap();
            };
            let reading = async {
                let header = read(&mut far).await.unwrap();
                let mut rest = String::new();
                far.read_to_string(&mut rest).await.unwrap();
                (header, rest)
            };
            let ((), (header, rest)) = tokio::join!(saying, reading);
            let ProxyHeader::Forwarded(told) = header else { panic!("{header:?}") };
            assert_eq!((Some(told.source), Some(told.destination)), (source, destination));
            assert_eq!(rest, "and more");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_said_to_be_none() {
        for (said, expected) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "the connection doesn't begin with a PROXY header"),
            (b"PROXY TCP4 nonsense\r\n", "malformed PROXY header"),
            (b"PROXY TCP4 192.0", "the connection ended before its PROXY header did"),
            (b"", "the connection ended before its PROXY header did"),
        ] {
            let (mut near, mut far) = pair().await;
            near.write_all(said).await.unwrap();
            near.shutdown().await.unwrap();
            assert_eq!(read(&mut far).await.unwrap_err().to_string(), expected);
        }
    }
}
