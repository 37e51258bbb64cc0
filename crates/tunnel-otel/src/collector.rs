//! The receiver, over HTTP/1.1: one connection that is kept, one request at a time.

use std::{error::Error, io, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::{net::TcpStream, task::JoinSet};
use tunnel_transport::{CertError, UpstreamTls, UpstreamTlsError, UpstreamTrust};

use crate::{endpoint::Endpoint, message::ExportResponse};

/// The longest answer that is read, in bytes.
const LONGEST: usize = 64 * 1024;

/// A receiver of spans.
#[derive(Debug)]
pub(crate) struct Collector {
    endpoint: Endpoint,
    headers: HeaderMap,
    tls: Option<UpstreamTls>,
    open: Option<Open>,
}

/// A connection. Dropping it closes it.
#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    _driver: JoinSet<()>,
}

/// Why a receiver didn't take a batch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error("no connection")]
    Connect(#[from] io::Error),
    #[error("no TLS connection")]
    Tls(#[from] UpstreamTlsError),
    #[error("the connection failed")]
    Http(#[from] hyper::Error),
    #[error("it answered {status}")]
    Refused { status: StatusCode, retry_after: Option<Duration> },
    #[error("it took too long")]
    Slow,
}

impl Collector {
    /// # Errors
    /// The system has no certificates to trust.
    pub(crate) fn new(endpoint: Endpoint, mut headers: HeaderMap) -> Result<Self, CertError> {
        let tls = endpoint.is_secure.then(|| UpstreamTls::new(&UpstreamTrust::System, &[b"http/1.1"]));
        let agent = concat!("tunnel/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if let Ok(host) = HeaderValue::from_str(&endpoint.authority) {
            headers.insert(HOST, host);
        }
        Ok(Self { tls: tls.transpose()?, endpoint, headers, open: None })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends an encoded `ExportRequest`; how many of its spans were rejected, and why.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub(crate) async fn post(&mut self, body: Bytes) -> Result<Option<(u64, String)>, PostError> {
        if let Some(open) = self.open.take().filter(|open| open.sender.is_ready()) {
            match self.ask(open, body.clone()).await {
                // It may have been closed just now.
                Err(PostError::Http(_)) => {}
                answer => return answer,
            }
        }
        let open = self.connect().await?;
        self.ask(open, body).await
    }

    async fn ask(&mut self, mut open: Open, body: Bytes) -> Result<Option<(u64, String)>, PostError> {
        let mut request =
            Request::post(self.endpoint.path.as_str()).body(Full::new(body)).map_err(io::Error::other)?;
        *request.headers_mut() = self.headers.clone();
        let (head, body) = open.sender.send_request(request).await?.into_parts();
        if !head.status.is_success() {
            let retry_after =
                head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let retry_after = retry_after.map(Duration::from_secs);
            return Err(PostError::Refused { status: head.status, retry_after });
        }
        let body = Limited::new(body, LONGEST).collect().await.map_err(io::Error::other)?;
        self.open = Some(open);
        // One that isn't understood took them all the same.
        let answer = ExportResponse::decode(body.to_bytes()).unwrap_or_default();
        let rejected = answer.partial_success.map(|partial| (partial.rejected_spans, partial.error_message));
        Ok(rejected
            .and_then(|(spans, why)| Some((u64::try_from(spans).ok().filter(|spans| *spans > 0)?, why))))
    }

    async fn connect(&self) -> Result<Open, PostError> {
        let stream = TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port)).await?;
        stream.set_nodelay(true)?;
        let mut driver = JoinSet::new();
        // How the connection ended is what the request on it is told.
        let sender = match &self.tls {
            Some(tls) => {
                let stream = tls.connect(&self.endpoint.host, stream).await?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                driver.spawn(async move { _ = connection.await });
                sender
            }
            None => {
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                driver.spawn(async move { _ = connection.await });
                sender
            }
        };
        Ok(Open { sender, _driver: driver })
    }
}

impl PostError {
    /// Whether the same may be taken later: OTLP/HTTP names the four that say so.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            _ => true,
        }
    }

    /// When to try again, if the receiver says so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// It and what caused it, in one line.
    pub(crate) fn line(&self) -> String {
        let (mut line, mut next) = (self.to_string(), self.source());
        while let Some(cause) = next {
            line = format!("{line}: {cause}");
            next = cause.source();
        }
        line
    }
}
