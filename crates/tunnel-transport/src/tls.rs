//! TLS 1.3 on the control port: what a client trusts, and how a server accepts.
//!
//! One version, one application protocol, one provider: fewer combinations is less to get wrong, and both ends
//! are ours. Both ends insist on the application protocol ([`ALPN`], RFC 7301), so that a certificate shared with
//! a web server cannot be used to pass the one service off as the other.

use std::{fmt, io, sync::Arc};

use rustls::{
    InvalidMessage, PeerIncompatible, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    server::ServerSessionMemoryCache,
    sign::SingleCertAndKey,
    version::TLS13,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tunnel_io::{BoxedIo, Io};

#[cfg(target_arch = "x86_64")]
use crate::aes;
use crate::{CertError, ControlIdentity, Pin, lane_socket::LaneSocket, plaintext};

/// The application protocol both ends must agree on; the number is the transport's, not the login's.
pub const ALPN: &[u8] = b"tunnel/1";

pub(crate) const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13];

/// Sessions that can be resumed, which spares both ends a signature when lanes come back after a network hiccup.
/// About a kilobyte each, so a megabyte at most.
const RESUMABLE_SESSIONS: usize = 1024;

/// How a client knows that it talks to its server.
#[derive(Clone)]
pub enum Trust {
    /// By its key. Names and dates in the certificate don't matter.
    Pinned(Pin),
    /// By a certificate for its name, from an issuer the operating system trusts.
    System,
    /// By a certificate for its name, from an issuer in this PEM text (the bytes, not a path).
    CaFile(Vec<u8>),
    /// Not at all, and whoever is in between reads and writes along. For servers behind something that already
    /// encrypts and authenticates: another VPN, an SSH forward, a TLS terminator.
    Plaintext,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned(pin) => f.debug_tuple("Pinned").field(pin).finish(),
            Self::System => f.write_str("System"),
            Self::CaFile(_) => f.debug_struct("CaFile").finish_non_exhaustive(),
            Self::Plaintext => f.write_str("Plaintext"),
        }
    }
}

/// What an accepted connection becomes.
pub type TlsStream<T> = tokio_rustls::server::TlsStream<T>;

/// The server side of TLS on the control port. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

/// Prepares to accept clients as `identity`.
///
/// # Errors
///
/// [`CertError::Unusable`] when the provider cannot do TLS 1.3.
pub fn acceptor(identity: &ControlIdentity) -> Result<Acceptor, CertError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(|error| CertError::Unusable(error.into()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(RESUMABLE_SESSIONS);
    Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
}

impl Acceptor {
    /// Does the server's half of the handshake.
    ///
    /// It has no deadline of its own: a login has one deadline for everything before it is over, and that is the
    /// caller's. Until then whoever is at the other end is a stranger.
    ///
    /// # Errors
    ///
    /// The peer went away, does not speak TLS 1.3, or does not offer [`ALPN`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection.
    pub async fn accept<T: Io>(&self, io: T) -> io::Result<TlsStream<T>> {
        let stream = self.0.accept(io).await.map_err(explain)?;
        if stream.get_ref().1.alpn_protocol() == Some(ALPN) {
            Ok(stream)
        } else {
            Err(invalid("the client speaks TLS, but not for tunnels (no ALPN)"))
        }
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

/// What a server's control port speaks.
#[derive(Debug, Clone)]
pub enum ControlTls {
    /// TLS, the default.
    Tls(Acceptor),
    /// Nothing but TCP: see [`Trust::Plaintext`].
    Plaintext,
}

impl ControlTls {
    /// Makes an accepted socket ready for the login. Tune it first, with [`tune_lane`](crate::tune_lane).
    ///
    /// The runtime must have tokio's clock: a lane whose socket is blocked looks at it.
    ///
    /// # Errors
    ///
    /// The peer went away, or it does not speak as expected; the text says which. Like [`Acceptor::accept`] it has
    /// no deadline of its own.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<BoxedIo> {
        let mut stream = LaneSocket::new(stream);
        match self {
            Self::Tls(acceptor) => Ok(Box::new(acceptor.accept(stream).await?)),
            Self::Plaintext => {
                plaintext::greet_client(&mut stream).await?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// The one crypto provider, passed by hand: installing it as the process default is the program's choice.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let provider = aws_lc_rs::default_provider();
    #[cfg(target_arch = "x86_64")]
    let provider = if aes::pays() { aes::replace(provider) } else { provider };
    Arc::new(provider)
}

/// Whether the header of a record, the first bytes at all, made no sense.
pub(crate) fn is_no_tls(error: &rustls::Error) -> bool {
    use InvalidMessage::{InvalidContentType, InvalidEmptyPayload, MessageTooLarge, UnknownProtocolVersion};
    matches!(
        error,
        rustls::Error::InvalidMessage(
            InvalidContentType | InvalidEmptyPayload | MessageTooLarge | UnknownProtocolVersion
        )
    )
}

/// Strangers connect to public ports all day; what they did wrong should be readable in one line.
fn explain(error: io::Error) -> io::Error {
    let Some(cause) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return error;
    };
    match cause {
        cause if is_no_tls(cause) => invalid("the client does not speak TLS"),
        rustls::Error::NoApplicationProtocol => invalid("the client speaks TLS, but not for tunnels (ALPN)"),
        rustls::Error::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => invalid("the client offers no TLS 1.3"),
        _ => error,
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
