//! The fields after the last chunk. They arrive when the request has long been routed and authorised, so
//! one that would have had a say in that is refused.

use super::ChunkError;
use crate::sniff::line::{field, is_plain};

/// Most bytes of trailers, the final empty line included; also what a follower buffers at most.
pub const MAX_TRAILER_BYTES: usize = 8 * 1024;
/// Most trailer fields.
pub const MAX_TRAILER_FIELDS: usize = 32;

/// Fields that no trailer may be (RFC 9110 §6.5.1), in lower case: routing and framing, the connection,
/// credentials, how to treat the request, and who the visitor is.
const FORBIDDEN: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "trailer",
    "te",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "http2-settings",
    "authorization",
    "proxy-authorization",
    "proxy-authenticate",
    "www-authenticate",
    "cookie",
    "set-cookie",
    "expect",
    "max-forwards",
    "cache-control",
    "pragma",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "content-type",
    "content-encoding",
    "content-range",
    "origin",
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Whether a field of this name may follow a request's body, as far as its name goes. Of HTTP/1 [`ChunkedBody`] sees to
/// it; other versions have to be asked about.
///
/// [`ChunkedBody`]: super::ChunkedBody
pub fn may_trail(name: &[u8]) -> bool {
    !FORBIDDEN.iter().any(|known| is_alias(name, known))
}

/// Reads trailer lines a byte at a time.
#[derive(Debug, Default)]
pub(super) struct Trailer {
    bytes: usize,
    fields: usize,
    line: Vec<u8>,
}

impl Trailer {
    /// Takes one byte; `true` when it was the last of the body.
    pub(super) fn push(&mut self, byte: u8) -> Result<bool, ChunkError> {
        self.bytes += 1;
        if self.bytes > MAX_TRAILER_BYTES {
            return Err(ChunkError::TrailerTooLarge);
        }
        match (byte, self.line.last()) {
            (b'\n', Some(b'\r')) => {
                self.line.pop();
                let done = self.line.is_empty();
                if !done {
                    self.end_field()?;
                }
                self.line.clear();
                Ok(done)
            }
            (b'\n', _) | (_, Some(b'\r')) => Err(ChunkError::LineEnd),
            _ if byte == b'\r' || is_plain(byte) => {
                self.line.push(byte);
                Ok(false)
            }
            _ => Err(ChunkError::TrailerField),
        }
    }

    fn end_field(&mut self) -> Result<(), ChunkError> {
        self.fields += 1;
        if self.fields > MAX_TRAILER_FIELDS {
            return Err(ChunkError::TrailerTooLarge);
        }
        let (name, _) = field(&self.line).map_err(|_| ChunkError::TrailerField)?;
        if !may_trail(name) {
            return Err(ChunkError::ForbiddenTrailer);
        }
        Ok(())
    }
}

/// Whether CGI-like upstreams would take `name` for `known`: they turn hyphens into underscores.
fn is_alias(name: &[u8], known: &str) -> bool {
    let fold = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == known.len() && name.iter().map(fold).eq(known.bytes())
}
