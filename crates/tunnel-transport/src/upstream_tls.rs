//! TLS from the client to an upstream that speaks it: `https://` behind the tunnel.
//!
//! This is not the TLS of the control port. The other end is somebody's development server or a device in the same
//! house, so versions 1.2 and 1.3 are spoken, and how much its certificate matters is the caller's choice: on
//! loopback there is nobody in between, and certificates for `localhost` that anything trusts are rare.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tunnel_io::Io;

use crate::{CertError, TlsProblem, certs, tls, verify};

/// Which certificates an upstream may show.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum UpstreamTrust {
    /// One for its name, from an issuer the operating system trusts.
    System,
    /// One for its name, from an issuer in this PEM text (the bytes, not a path); or the very one that is in it, under
    /// any name.
    CaFile(Vec<u8>),
    /// Any, so that whoever is in between can read and change what passes. For upstreams on this machine.
    Anyone,
}

impl fmt::Debug for UpstreamTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::CaFile(_) => "CaFile(…)",
            Self::Anyone => "Anyone",
        })
    }
}

/// The client's side of TLS towards one upstream. Cheap to clone; clones resume each other's sessions.
#[derive(Clone)]
pub struct UpstreamTls {
    connector: TlsConnector,
    takes_any_end: bool,
}

impl UpstreamTls {
    /// Prepares to connect; `protocols` are offered by ALPN (RFC 7301), the most wanted first: `[b"http/1.1"]`.
    ///
    /// # Errors
    ///
    /// [`CertError`] when `trust` is unusable: a CA file without certificates, or a system without any.
    pub fn new(trust: &UpstreamTrust, protocols: &[&[u8]]) -> Result<Self, CertError> {
        let provider = tls::provider();
        let verifier: Arc<dyn ServerCertVerifier> = match trust {
            UpstreamTrust::System => verify::system_verifier(&provider)?,
            UpstreamTrust::CaFile(pem) => Arc::new(Given {
                certificates: certs::read_certificates(pem, "CA file")?,
                issuers: verify::ca_verifier(pem, &provider)?,
            }),
            UpstreamTrust::Anyone => Arc::new(AnyCertificate(provider.signature_verification_algorithms)),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| CertError::Unusable(error.into()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            takes_any_end: *trust == UpstreamTrust::Anyone,
        })
    }

    /// Does the client's half of the handshake on `io`. `host` is a name, which is sent along (SNI, RFC 6066 §3), or
    /// an IP address without brackets, which is not.
    ///
    /// There is no deadline inside.
    ///
    /// # Errors
    ///
    /// [`UpstreamTlsError`]; `io` is dropped then.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection.
    pub async fn connect<T: Io>(&self, host: &str, io: T) -> Result<UpstreamTlsStream<T>, UpstreamTlsError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| UpstreamTlsError::Other(format!("`{host}` can't stand in a certificate")))?;
        let inner = self.connector.connect(name, io).await.map_err(|error| verify::problem(&error))?;
        Ok(UpstreamTlsStream { inner, takes_any_end: self.takes_any_end })
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").finish_non_exhaustive()
    }
}

/// A connection to an upstream, encrypted.
///
/// TLS has a goodbye of its own, so that nobody in between can make a cut look like an end: an end without it reads as
/// an error. Many small servers never say it, and where any certificate is taken ([`UpstreamTrust::Anyone`]) nothing is
/// known of who is in between anyway; there TCP's end will do.
#[derive(Debug)]
pub struct UpstreamTlsStream<T> {
    inner: TlsStream<T>,
    takes_any_end: bool,
}

impl<T> UpstreamTlsStream<T> {
    /// What is underneath, to be reset.
    pub fn into_inner(self) -> T {
        self.inner.into_inner().0
    }
}

impl<T: Io> AsyncRead for UpstreamTlsStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.inner).poll_read(cx, buf)) {
            Err(error) if self.takes_any_end && error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            read => Poll::Ready(read),
        }
    }
}

impl<T: Io> AsyncWrite for UpstreamTlsStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Why there is no TLS with an upstream. `Display` is the rest of a sentence that starts with the upstream's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamTlsError {
    /// It answered with something that is not TLS.
    #[error("does not speak TLS; forward to it with http:// instead of https://, or check the port")]
    NotTls,
    /// Its certificate is not for this name, not from a trusted issuer, or not valid now.
    #[error(
        "has a certificate that isn't trusted: {reason}; give its issuer with --upstream-ca, or take any certificate \
         with --upstream-insecure"
    )]
    Untrusted {
        /// Which of these, in words.
        reason: String,
    },
    /// It speaks TLS, but neither version 1.2 nor 1.3.
    #[error("speaks only versions of TLS that are no longer safe; upgrade it")]
    OldTls,
    /// It refused all protocols offered by ALPN.
    #[error("speaks TLS, but not HTTP/1.1 over it; check the port")]
    Protocol,
    /// It hung up before the handshake was over.
    #[error("closed the connection during the TLS handshake; check its log, and that it speaks TLS")]
    Closed,
    /// Anything else, in the TLS library's words.
    #[error("failed the TLS handshake: {0}")]
    Other(String),
}

impl From<TlsProblem> for UpstreamTlsError {
    fn from(problem: TlsProblem) -> Self {
        match problem {
            TlsProblem::NotTls => Self::NotTls,
            TlsProblem::UntrustedCertificate { reason } => Self::Untrusted { reason },
            TlsProblem::Expired => {
                Self::Untrusted { reason: "it has expired, or this machine's clock is wrong".into() }
            }
            TlsProblem::NotYetValid => {
                Self::Untrusted { reason: "it is not valid yet, or this machine's clock is wrong".into() }
            }
            TlsProblem::OldTls => Self::OldTls,
            TlsProblem::NotTunnel => Self::Protocol,
            TlsProblem::Closed => Self::Closed,
            TlsProblem::Other(reason) => Self::Other(reason),
            TlsProblem::NotPlaintext | TlsProblem::PinMismatch { .. } => Self::Other(problem.to_string()),
        }
    }
}

/// Takes what the given certificates vouch for, and those themselves: a service's own self-signed certificate is what
/// people have at hand, and many say that they are an issuer's.
#[derive(Debug)]
struct Given {
    certificates: Vec<CertificateDer<'static>>,
    issuers: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Given {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.certificates.contains(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.issuers.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.issuers.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.issuers.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issuers.supported_verify_schemes()
    }
}

/// Takes any certificate. The handshake's signature isn't looked at either: whoever may present any certificate has
/// the key of one, and development certificates of version 1, which that check can't read, are common.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
