//! What can go wrong, said so that a person knows what to check next.
//!
//! A failed connection is the first thing many people see of a tunnel. Each variant names the stage that failed,
//! and its one line of `Display` names the next thing to look at; the cause underneath stays in the source chain.

use std::{error::Error, fmt, io, time::Duration};

use crate::{Pin, ProxyProblem, ServerAddress};

/// Why there is no connection to the server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The name could not be turned into an address.
    #[error("{}", resolve_advice(server, source))]
    Resolve {
        /// The server asked for.
        server: ServerAddress,
        /// What the resolver said.
        source: io::Error,
    },
    /// No address of the server took the TCP connection.
    #[error("{}", connect_advice(server, source))]
    Connect {
        /// The server asked for.
        server: ServerAddress,
        /// The most telling of the failures, if several addresses were tried.
        source: io::Error,
    },
    /// The whole dial took too long.
    #[error("no connection to {server} within {} s: {}", after.as_secs_f32(), stage.advice())]
    Timeout {
        /// The server asked for.
        server: ServerAddress,
        /// What it was waiting for.
        stage: Stage,
        /// The time given to all stages together.
        after: Duration,
    },
    /// The proxy on the way gave no connection to the server.
    #[error("the proxy {proxy} {problem}")]
    Proxy {
        /// The proxy, without user and password.
        proxy: String,
        /// What was wrong.
        problem: ProxyProblem,
    },
    /// TCP works, but whoever answered could not be shown to be the server (or, in plaintext, is none).
    #[error("the server at {server} {problem}")]
    Tls {
        /// The server asked for.
        server: ServerAddress,
        /// What was wrong.
        problem: TlsProblem,
    },
    /// For [`Dial`](crate::Dial)s from outside this crate.
    #[error(transparent)]
    Other(Box<dyn Error + Send + Sync>),
}

impl DialError {
    /// Whether trying again is pointless until a person changes something: an address, a token, a certificate.
    ///
    /// A first connection should give up on these. A client that was online before should keep trying at its
    /// slowest pace: a captive portal or a hijacked DNS answer looks just the same, and passes.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Tls { problem, .. } => !matches!(problem, TlsProblem::Closed | TlsProblem::Other(_)),
            Self::Proxy { problem, .. } => problem.is_permanent(),
            Self::Resolve { .. } | Self::Connect { .. } | Self::Timeout { .. } | Self::Other(_) => false,
        }
    }
}

/// What a dial was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Looking the name up.
    Resolve,
    /// Waiting for TCP to connect.
    Connect,
    /// Waiting for a proxy to connect to the server.
    Proxy,
    /// Waiting for the server to prove itself (or, in plaintext, to say anything).
    Handshake,
}

impl Stage {
    fn advice(self) -> &'static str {
        match self {
            Self::Resolve => "the name lookup did not finish; check this machine's DNS",
            Self::Connect => {
                "nothing answered; check the address and port, and that no firewall drops the traffic"
            }
            Self::Proxy => {
                "the proxy did not get through to it; check the proxy's address, and that it can reach the server"
            }
            Self::Handshake => {
                "it took the connection but then said nothing; check that this is the server's control port"
            }
        }
    }
}

/// Why the handshake with the server failed. `Display` is the rest of a sentence that starts with the server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsProblem {
    /// It answered with something that is not TLS.
    NotTls,
    /// It speaks TLS, and was dialled with [`Trust::Plaintext`](crate::Trust::Plaintext).
    NotPlaintext,
    /// It showed a key, but not the pinned one.
    PinMismatch {
        /// The pin given to the dialer.
        expected: Pin,
        /// The pin of the certificate presented.
        got: Pin,
    },
    /// Its certificate was valid until a time that has passed, by this machine's clock.
    Expired,
    /// Its certificate begins to be valid at a time that is still to come, by this machine's clock.
    NotYetValid,
    /// Its certificate is not for this name, or not from a trusted issuer.
    UntrustedCertificate {
        /// Which of these, in words.
        reason: String,
    },
    /// It did not agree on [`ALPN`](crate::ALPN): most likely it is a web server.
    NotTunnel,
    /// It has no TLS 1.3.
    OldTls,
    /// It hung up before the handshake was over.
    Closed,
    /// Anything else, in the TLS library's words.
    Other(String),
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls => f.write_str(
                "does not speak TLS; check that this is its control port, and that it was not started without TLS",
            ),
            Self::NotPlaintext => f.write_str("speaks TLS, but this client was told to connect without it"),
            Self::PinMismatch { expected, got } => write!(
                f,
                "has another key than this token expects (expected {expected:.16}…, got {got:.16}…); if the server \
                 was reinstalled, get a new token with `tunnel token create`; if not, someone may be in between"
            ),
            Self::Expired => f.write_str(
                "has a certificate that has expired, by this machine's clock; renew the server's certificate, or set \
                 this machine's clock",
            ),
            Self::NotYetValid => f.write_str(
                "has a certificate that is not valid yet, by this machine's clock; set this machine's clock, or \
                 wait until the certificate begins",
            ),
            Self::UntrustedCertificate { reason } => write!(
                f,
                "has a certificate that is not trusted: {reason}; use a token that pins the server's key, or give \
                 the certificate's issuer as CA file"
            ),
            Self::NotTunnel => f.write_str(
                "does not answer like a tunnel server; check that the port is the server's control port",
            ),
            Self::OldTls => {
                f.write_str("offers no TLS 1.3; check that this is a tunnel server, and nothing in between")
            }
            Self::Closed => f.write_str(
                "closed the connection during the handshake; it may be restarting, full or without TLS, or \
                 something in between blocks it",
            ),
            Self::Other(reason) => write!(f, "failed the TLS handshake: {reason}"),
        }
    }
}

/// Why a certificate, a key or a set of roots cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// A certificate could not be made, most likely for a name that cannot stand in one.
    #[error("cannot generate a certificate")]
    Generate(#[source] Box<dyn Error + Send + Sync>),
    /// The text is not PEM.
    #[error("cannot read the {what}: it is not valid PEM")]
    Pem {
        /// "certificate", "private key" or "CA file".
        what: &'static str,
        /// Where reading stopped.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The PEM holds no certificate.
    #[error("the {what} holds no certificate (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate {
        /// "certificate" or "CA file".
        what: &'static str,
    },
    /// The key is encrypted with a passphrase.
    #[error(
        "the private key is encrypted; decrypt it with `openssl pkey -in KEY -out NEWKEY`, readable by the server alone"
    )]
    EncryptedKey,
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the certificate; check that both files are of the same pair")]
    KeyMismatch,
    /// The certificate or key is of a kind that cannot be used.
    #[error("the certificate or key cannot be used")]
    Unusable(#[source] Box<dyn Error + Send + Sync>),
    /// The operating system has no usable certificate store.
    #[error(
        "this system has no usable root certificates; install `ca-certificates`, or use a token or CA file"
    )]
    SystemRoots(#[source] Box<dyn Error + Send + Sync>),
}

/// Resolvers have no codes for these, only words: glibc's, musl's and BSD's. What none of them fits is told as both.
fn resolve_advice(server: &ServerAddress, error: &io::Error) -> String {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if says(&[
        "Name or service not known",
        "Name does not resolve",
        "nodename nor servname",
        "No address associated",
    ]) {
        format!("there is no address for {server} in DNS; check the spelling, or add the record")
    } else if says(&["Temporary failure in name resolution", "Try again"]) {
        format!("DNS did not answer when asked for {server}; check that this machine is online and has DNS")
    } else {
        format!(
            "cannot find the address of {server}; check the spelling, and that this machine is online and has DNS"
        )
    }
}

fn connect_advice(server: &ServerAddress, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "the machine at {server} refused the connection; check that the server runs there and the port is right"
        ),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            format!("there is no way to {server} from here; check that this machine is online")
        }
        io::ErrorKind::PermissionDenied => {
            format!("this machine may not connect to {server}; check the local firewall")
        }
        _ => format!("cannot connect to {server}; check the address and the network"),
    }
}
