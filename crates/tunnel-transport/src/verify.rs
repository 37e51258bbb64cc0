//! How a client decides that a certificate is the server's.
//!
//! A pin checks one thing: that the peer holds the private key of the public key pinned. Name, dates and issuer
//! are left alone on purpose. They are how strangers vouch for a key; here the key itself was handed over, inside
//! a token, by the operator. Checking them too would only add ways to fail: a server that moved to another name,
//! an expired certificate nobody needs to renew, a laptop whose clock says 1970. What may never be skipped is the
//! proof of possession, the handshake signature: a certificate is public, and anyone can present it.

use std::{error::Error, fmt, io, sync::Arc};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, OtherError, PeerIncompatible,
    RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{CertError, Pin, TlsProblem, Trust, certs, tls};

/// The client side of TLS for a way to trust; `None` for [`Trust::Plaintext`].
pub(crate) fn client_config(trust: &Trust) -> Result<Option<Arc<ClientConfig>>, CertError> {
    let provider = tls::provider();
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Plaintext => return Ok(None),
        Trust::Pinned(pin) => Arc::new(PinnedVerifier::new(*pin, &provider)),
        Trust::System => system_verifier(&provider)?,
        Trust::CaFile(pem) => ca_verifier(pem, &provider)?,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(tls::VERSIONS)
        .map_err(|error| CertError::Unusable(error.into()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![tls::ALPN.to_vec()];
    Ok(Some(Arc::new(config)))
}

/// What a failed handshake says about the server.
pub(crate) fn problem(error: &io::Error) -> TlsProblem {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        return match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => TlsProblem::Closed,
            _ => TlsProblem::Other(error.to_string()),
        };
    };
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner)))
            if let Some(other) = inner.downcast_ref::<OtherKey>() =>
        {
            TlsProblem::PinMismatch { expected: other.expected, got: other.got }
        }
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => TlsProblem::Expired,
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => TlsProblem::NotYetValid,
        rustls::Error::InvalidCertificate(reason) => {
            TlsProblem::UntrustedCertificate { reason: describe(reason) }
        }
        rustls::Error::NoCertificatesPresented => {
            TlsProblem::UntrustedCertificate { reason: "it presents none".to_owned() }
        }
        rustls::Error::NoApplicationProtocol
        | rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => TlsProblem::NotTunnel,
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::ServerDoesNotSupportTls12Or13,
        ) => TlsProblem::OldTls,
        other if tls::is_no_tls(other) => TlsProblem::NotTls,
        other => TlsProblem::Other(other.to_string()),
    }
}

/// Accepts exactly one public key.
#[derive(Debug)]
struct PinnedVerifier {
    pin: Pin,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinnedVerifier {
    fn new(pin: Pin, provider: &CryptoProvider) -> Self {
        Self { pin, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let got = Pin::of(end_entity)?;
        if got == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        let mismatch = OtherKey { expected: self.pin, got };
        Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // Never reached, as TLS 1.2 is not offered; and should it ever be, it is not accepted here.
        Err(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Carries both pins through the TLS library, for the message a person reads.
#[derive(Debug)]
struct OtherKey {
    expected: Pin,
    got: Pin,
}

impl fmt::Display for OtherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected key {}, got {}", self.expected, self.got)
    }
}

impl Error for OtherKey {}

/// By the operating system's issuers.
pub(crate) fn system_verifier(
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, CertError> {
    let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(provider))
        .map_err(|error| CertError::SystemRoots(error.into()))?;
    Ok(Arc::new(verifier))
}

/// By the issuers in a PEM text.
pub(crate) fn ca_verifier(
    pem: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, CertError> {
    let mut roots = RootCertStore::empty();
    for certificate in certs::read_certificates(pem, "CA file")? {
        roots.add(certificate).map_err(|error| CertError::Unusable(error.into()))?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| CertError::Unusable(error.into()))
}

/// The few reasons people meet, in their words; the rest in the library's.
fn describe(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => "its issuer is unknown here".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name".to_owned()
        }
        CertificateError::BadSignature => {
            "its signature is wrong: its issuer only bears a trusted name, or the server lacks its key"
                .to_owned()
        }
        // The library keeps this one's type to itself.
        CertificateError::Other(OtherError(inner)) if inner.to_string() == "CaUsedAsEndEntity" => {
            "it is an issuer's own, and only itself vouches for it".to_owned()
        }
        other => other.to_string(),
    }
}
