//! A visitor that speaks HTTP/2: over TCP from the first byte, or where TLS agreed on it.

use std::{future::poll_fn, net::SocketAddr};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{HeaderMap, Request, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tunnel_transport::{UpstreamTls, UpstreamTrust};

use super::{Outcome, Told, within};

/// One connection of a visitor. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Http2 {
    asking: SendRequest<Bytes>,
    _moving: JoinSet<()>,
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub(crate) struct Http2Answer {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Http2 {
    /// Connects without TLS.
    pub(crate) async fn connect(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Self::over(stream).await
    }

    /// Connects with TLS for `host`, whose certificate must be one of `trusted` (PEM).
    pub(crate) async fn connect_tls(address: SocketAddr, host: &str, trusted: &str) -> Outcome<Self> {
        let tls = UpstreamTls::new(&UpstreamTrust::CaFile(trusted.into()), &[b"h2"])?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Self::over(within("TLS", tls.connect(host, stream)).await??).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Outcome<Self> {
        let mut builder = client::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(4 << 20);
        let (asking, connection) = builder.handshake(stream).await.told("HTTP/2 with the server")?;
        let mut moving = JoinSet::new();
        // Whoever asks sees what went wrong.
        moving.spawn(async move { drop(connection.await) });
        Ok(Self { asking, _moving: moving })
    }

    /// What requests are sent by, as many at a time as the server lets.
    pub(crate) fn asking(&self) -> SendRequest<Bytes> {
        self.asking.clone()
    }

    /// One request and its whole answer.
    pub(crate) async fn ask(&self, request: Request<()>, body: Option<Bytes>) -> Outcome<Http2Answer> {
        let asked = ask(self.asking(), request, body);
        within("an answer", asked).await?.told("asking over HTTP/2")
    }
}

/// One request and its whole answer.
///
/// # Errors
/// The connection or the stream was broken off.
pub(crate) async fn ask(
    mut asking: SendRequest<Bytes>,
    request: Request<()>,
    body: Option<Bytes>,
) -> Result<Http2Answer, h2::Error> {
    poll_fn(|cx| asking.poll_ready(cx)).await?;
    let (answer, mut to) = asking.send_request(request, body.is_none())?;
    if let Some(body) = body {
        to.send_data(body, true)?;
    }
    let (head, mut from) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = from.data().await {
        let data = data?;
        from.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    // The stream's end comes with them, or without.
    from.trailers().await?;
    Ok(Http2Answer { status: head.status, fields: head.headers, body })
}
