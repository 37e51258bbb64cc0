//! Reads whom a TLS visitor wants from its first message, without decrypting anything, so that a
//! connection can be passed through whole. Hellos with post-quantum keys span several segments, and some
//! clients split them over several records on purpose: it waits for the whole message.

mod hello;

pub use self::hello::ClientHello;

use super::Sniff;
use crate::hostname::HostnameError;

/// Most bytes a hello may take on the wire, record headers included: 16 KiB. With post-quantum keys
/// they are around 2 KiB.
pub const MAX_HELLO_BYTES: usize = 16 * 1024;

/// Most payload of one record in the clear (RFC 8446 §5.1).
const MAX_RECORD: usize = 1 << 14;
const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;
const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// Why these bytes are no ClientHello that can be routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// No TLS handshake record: another protocol, or none.
    #[error("this is not TLS")]
    NotTls,
    /// TLS, but it starts with another message.
    #[error("the first TLS message is not a ClientHello")]
    NotClientHello,
    /// No end within [`MAX_HELLO_BYTES`].
    #[error("the ClientHello is too large")]
    TooLarge,
    /// Lengths inside the message that don't add up, or a part that comes twice.
    #[error("the ClientHello is malformed")]
    Malformed,
    /// The server name is no host name.
    #[error("the server name in the ClientHello is invalid")]
    ServerName(#[source] HostnameError),
}

/// Reads a ClientHello from a buffer that grows, looking at each record once.
///
/// After [`Sniff::Found`] and [`Sniff::NotThis`] it starts over.
#[derive(Debug, Default)]
pub struct HelloReader {
    /// Where the first record that hasn't been taken starts.
    pos: usize,
    /// The payloads of the records before, put together.
    message: Vec<u8>,
}

/// Reads the ClientHello at the start of `buf`. To follow a growing buffer, keep a [`HelloReader`].
pub fn parse_client_hello(buf: &[u8]) -> Sniff<ClientHello, HelloError> {
    HelloReader::new().read(buf)
}

impl HelloReader {
    /// A reader that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads on. `buf` starts with the connection's first byte: the bytes of the last call, and more.
    pub fn read(&mut self, buf: &[u8]) -> Sniff<ClientHello, HelloError> {
        let verdict = self.advance(buf);
        if !matches!(verdict, Ok(None)) {
            *self = Self::new();
        }
        match verdict {
            Ok(Some(hello)) => Sniff::Found(hello),
            Ok(None) => Sniff::NeedMore,
            Err(error) => Sniff::NotThis(error),
        }
    }

    fn advance(&mut self, buf: &[u8]) -> Result<Option<ClientHello>, HelloError> {
        // Nothing past the limit is looked at, so that the verdict doesn't depend on how much came at once.
        let window = &buf[..buf.len().min(MAX_HELLO_BYTES)];
        while let Some(payload) = next_record(window.get(self.pos..).unwrap_or_default())? {
            self.pos += RECORD_HEADER + payload.len();
            self.message.extend_from_slice(payload);
            if let Some(body) = whole_hello(&self.message)? {
                return hello::parse(body).map(Some);
            }
        }
        if window.len() < MAX_HELLO_BYTES { Ok(None) } else { Err(HelloError::TooLarge) }
    }
}

/// The payload of the handshake record at the start of `bytes`, once all of it is there.
fn next_record(bytes: &[u8]) -> Result<Option<&[u8]>, HelloError> {
    // Checked as they come: a visitor who speaks something else may never send five bytes.
    if bytes.first().is_some_and(|kind| *kind != HANDSHAKE_RECORD)
        || bytes.get(1).is_some_and(|major| *major != 3)
    {
        return Err(HelloError::NotTls);
    }
    let Some((header, rest)) = bytes.split_at_checked(RECORD_HEADER) else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
    // Empty handshake records are forbidden: they could go on for ever without a message.
    if len == 0 || len > MAX_RECORD {
        return Err(HelloError::NotTls);
    }
    Ok(rest.get(..len))
}

/// The body of the ClientHello at the start of `message`, once all of it is there.
fn whole_hello(message: &[u8]) -> Result<Option<&[u8]>, HelloError> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(HelloError::NotClientHello);
    }
    let Some((header, rest)) = message.split_at_checked(HANDSHAKE_HEADER) else { return Ok(None) };
    let len = u32::from_be_bytes([0, header[1], header[2], header[3]]);
    match usize::try_from(len) {
        Ok(len) if len <= MAX_HELLO_BYTES => Ok(rest.get(..len)),
        _ => Err(HelloError::TooLarge),
    }
}

#[cfg(test)]
mod tests;
