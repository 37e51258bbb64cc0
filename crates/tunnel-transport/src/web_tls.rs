//! TLS towards visitors: certificates for many names on one port, changed while it is in use.
//!
//! This is not the TLS of the control port. The other ends are browsers and programs of all kinds, so it follows
//! Mozilla's "intermediate" recommendation: TLS 1.2 and 1.3, key exchange with forward secrecy and authenticated
//! ciphers only, the visitor's order of ciphers. Sessions are resumed by tickets, which cost the server no memory;
//! their keys are made at random and changed every few hours. There is no 0-RTT: it can be replayed.

mod certificate;
mod store;

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    server::NoServerSessionStorage,
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tunnel_io::Io;

pub use self::{certificate::WebCertificate, store::CertStore};
use crate::{CertError, TlsStream, tls};

/// What is agreed on by ALPN (RFC 7301), the most wanted first. Who offers none of them is refused, as RFC 7301 §3.2
/// asks; who offers nothing at all speaks HTTP/1.
const PROTOCOLS: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];

/// How much of an answer may wait encrypted for a visitor who doesn't read, in bytes: two records.
const WAITING: usize = 32 * 1024;

/// The server's side of TLS towards visitors. Cheap to clone.
#[derive(Clone)]
pub struct WebTls {
    acceptor: TlsAcceptor,
    store: CertStore,
}

impl WebTls {
    /// Prepares to accept visitors with the certificates in `store`, now and as they change.
    ///
    /// # Errors
    ///
    /// [`CertError::Unusable`] when the provider lacks what TLS 1.2 or 1.3 needs.
    pub fn new(store: CertStore) -> Result<Self, CertError> {
        let unusable = |error: rustls::Error| CertError::Unusable(error.into());
        let mut config = ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(store.clone()));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        config.ticketer = Ticketer::new().map_err(unusable)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), store })
    }

    /// The certificates it shows.
    pub fn store(&self) -> &CertStore {
        &self.store
    }

    /// Does the server's half of the handshake. There is no deadline inside.
    ///
    /// # Errors
    ///
    /// The visitor went away, or has nothing in common with us. What TLS has to say about it was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection.
    pub async fn accept<T: Io>(&self, io: T) -> io::Result<WebStream<T>> {
        let accept = self.acceptor.accept_with(io, |connection| connection.set_buffer_limit(Some(WAITING)));
        Ok(WebStream(accept.await?))
    }
}

impl fmt::Debug for WebTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebTls").field("store", &self.store).finish_non_exhaustive()
    }
}

/// A connection from a visitor, encrypted. An end without TLS's own goodbye reads as an error, so that a cut can't
/// look like an end.
#[derive(Debug)]
pub struct WebStream<T>(TlsStream<T>);

impl<T> WebStream<T> {
    /// Whether HTTP/2 was agreed on.
    pub fn is_h2(&self) -> bool {
        self.0.get_ref().1.alpn_protocol() == Some(b"h2")
    }

    /// The host the visitor asked for (SNI), in lower case.
    pub fn server_name(&self) -> Option<&str> {
        self.0.get_ref().1.server_name()
    }

    /// What is underneath, to ask it about addresses or to have it reset.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().0
    }
}

impl<T: Io> AsyncRead for WebStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<T: Io> AsyncWrite for WebStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
