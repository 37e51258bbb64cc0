//! Sockets to authenticated byte streams: TCP, TLS, certificates.
//!
//! The engines want three things from a network: "give me bytes to the server, and prove it is that server", "give me
//! whoever connects", and "speak TLS with this upstream". This crate is all of them, so that nothing above it names a
//! socket option, a cipher or a certificate. What it hands out is a [`tunnel_io::BoxedIo`]; another transport is
//! another [`Dial`].
//!
//! ```text
//!            client                                                     server
//!   ServerAddress ─ resolve ─ race(v6, v4) ─ tune ═══════ TCP ═══════ Listener::accept ─ tune
//!                                              │                          │
//!                     Trust ─ verify ─ TLS 1.3 handshake ══════════ ControlTls::accept ─ ControlIdentity
//!                                              │                          │
//!                                          BoxedIo                     BoxedIo
//! ```
//!
//! A [`Proxy`] may stand between the two. TLS with the server is version 1.3 only, with the hybrid post-quantum key
//! exchange X25519MLKEM768 preferred: what is recorded today should not be readable by tomorrow's machines. The crypto
//! provider is passed explicitly everywhere; no process-wide default is ever installed, so a program embedding this
//! crate keeps its own choice.
//!
//! # Cancel safety
//!
//! Every future here may be dropped at any await: sockets being opened are closed, no task outlives it.

mod address;
mod dial;
mod error;
mod percent;
mod proxy;
mod race;
mod steps;

#[cfg(target_arch = "x86_64")]
mod aes;
mod certs;
mod plaintext;
mod tls;
mod upstream_tls;
mod validity;
mod verify;
mod way;
mod web_tls;

mod lane_socket;
mod listen;
mod tcp;
mod udp;

pub use address::{AddressError, DEFAULT_PORT, ServerAddress};
pub use certs::{ControlIdentity, Pin, ServerKeyPair, generate_self_signed};
pub use dial::{BoxFuture, DIAL_TIMEOUT, Dial, TcpDialer};
pub use error::{CertError, DialError, Stage, TlsProblem};
pub use listen::{Listener, Spare};
pub use percent::percent_decode;
pub use proxy::{ParseProxyError, Proxy, ProxyProblem};
pub use steps::{Handshake, PeerCertificate};
pub use tcp::{reset, tune_lane, tune_visitor};
pub use tls::{ALPN, Acceptor, ControlTls, TlsStream, Trust, acceptor};
pub use udp::{bind_datagrams, connect_datagrams, share_datagrams, take_over_datagrams};
pub use upstream_tls::{UpstreamTls, UpstreamTlsError, UpstreamTlsStream, UpstreamTrust};
pub use way::Way;
pub use web_tls::{CertStore, WebCertificate, WebStream, WebTls};

#[cfg(test)]
mod tests;
