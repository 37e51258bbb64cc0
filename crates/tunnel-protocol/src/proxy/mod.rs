//! The PROXY protocol, versions 1 and 2: how whoever forwards a connection says, before its first byte, who made it.
//!
//! The server reads it from load balancers in front of it, the client writes it to upstreams that ask for it. Both
//! halves are here because the two may not know each other's crates, and a signature written down twice is a
//! signature that differs one day. The specification is HAProxy's, `doc/proxy-protocol.txt`.
//!
//! ```text
//!   1   PROXY TCP4 192.0.2.1 198.51.100.7 4000 443\r\n                                  at most 107 bytes
//!   2   12 bytes signature │ u8 0x20 local, 0x21 proxy │ u8 family │ u16 length of the rest │ addresses │ TLVs
//! ```

mod read;
mod write;

use std::net::SocketAddr;

pub use self::{read::read, write::write};

/// The longest header of version 1, in bytes.
pub const V1_MAX: usize = 107;

/// The longest header of version 2 that is taken, in bytes: what is sure to fit in a TCP connection's first segment.
/// TLVs beyond the addresses count.
pub const V2_MAX: usize = 536;

const V1_START: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, command, family and length.
const V2_FIXED: usize = 16;

/// Which form of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Between whom the connection was made that is forwarded. Always of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyAddresses {
    /// Who made it.
    pub source: SocketAddr,
    /// To which address.
    pub destination: SocketAddr,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Somebody else's connection is forwarded.
    Forwarded(ProxyAddresses),
    /// Nothing that could be used: the proxy speaks for itself (its health checks), or for somebody who has no
    /// address on the Internet.
    Own,
}

/// Bytes that begin no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// Something else.
    #[error("the connection doesn't begin with a PROXY header")]
    NotProxy,
    /// A version or command this build doesn't know.
    #[error("a version of the PROXY protocol that isn't known")]
    Unknown,
    /// A header that isn't as the specification has it.
    #[error("malformed PROXY header")]
    Malformed,
    /// Longer than [`V1_MAX`] or [`V2_MAX`].
    #[error("PROXY header too long")]
    TooLong,
}

#[cfg(test)]
mod tests;
