//! The inside of a ClientHello (RFC 8446 §4.1.2), as far as routing needs it.

use std::net::IpAddr;

use super::HelloError;
use crate::hostname::Hostname;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const HOST_NAME: u8 = 0;
/// Version and random.
const FIXED_PART: usize = 2 + 32;

/// What a visitor's ClientHello says about where it wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// The host asked for (SNI). `None` without one, and for an IP address, which RFC 6066 §3 forbids and
    /// TLS libraries ignore.
    pub server_name: Option<Hostname>,
    /// The protocols offered (ALPN), most wanted first. Empty without that extension.
    pub alpn: Vec<Box<[u8]>>,
}

/// Reads the body of a ClientHello, which is all there.
pub(super) fn parse(body: &[u8]) -> Result<ClientHello, HelloError> {
    let mut hello = ClientHello { server_name: None, alpn: Vec::new() };
    let mut body = Reader(body);
    body.take(FIXED_PART)?;
    let _session_id = body.vec8()?;
    let _cipher_suites = body.vec16()?;
    let _compressions = body.vec8()?;
    // Before TLS 1.3 a hello could end here.
    let mut extensions = if body.is_empty() { Reader(&[]) } else { body.vec16()? };
    body.end()?;

    let (mut seen_name, mut seen_alpn) = (false, false);
    while !extensions.is_empty() {
        let (kind, content) = (extensions.u16()?, extensions.vec16()?);
        let seen = match kind {
            SERVER_NAME => {
                hello.server_name = server_name(content)?;
                &mut seen_name
            }
            ALPN => {
                hello.alpn = alpn(content)?;
                &mut seen_alpn
            }
            _ => continue,
        };
        // Which of two a TLS library behind us would take, nobody knows.
        if std::mem::replace(seen, true) {
            return Err(HelloError::Malformed);
        }
    }
    Ok(hello)
}

/// A list of names by type, of which there is one type, and of which one of each is allowed.
fn server_name(mut content: Reader<'_>) -> Result<Option<Hostname>, HelloError> {
    let mut list = content.vec16()?;
    content.end()?;
    if list.u8()? != HOST_NAME {
        return Err(HelloError::Malformed);
    }
    let name = list.vec16()?;
    list.end()?;
    let name = str::from_utf8(name.0).map_err(|_| HelloError::Malformed)?;
    if name.parse::<IpAddr>().is_ok() {
        return Ok(None);
    }
    Hostname::parse(name).map(Some).map_err(HelloError::ServerName)
}

fn alpn(mut content: Reader<'_>) -> Result<Vec<Box<[u8]>>, HelloError> {
    /// Clients offer two or three. A hello full of one-byte names would cost thirty times its size to keep.
    const MOST: usize = 64;
    let mut list = content.vec16()?;
    content.end()?;
    let mut protocols = Vec::new();
    while !list.is_empty() {
        let name = list.vec8()?;
        if name.is_empty() || protocols.len() == MOST {
            return Err(HelloError::Malformed);
        }
        protocols.push(name.0.into());
    }
    if protocols.is_empty() { Err(HelloError::Malformed) } else { Ok(protocols) }
}

/// Takes a message apart front to back; whatever runs over the end is [`HelloError::Malformed`].
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], HelloError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(HelloError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, HelloError> {
        let (byte, rest) = self.0.split_first().ok_or(HelloError::Malformed)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn u16(&mut self) -> Result<u16, HelloError> {
        Ok(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    /// What follows a one-byte length.
    fn vec8(&mut self) -> Result<Self, HelloError> {
        let len = self.u8()?;
        self.take(len.into()).map(Self)
    }

    /// What follows a two-byte length.
    fn vec16(&mut self) -> Result<Self, HelloError> {
        let len = self.u16()?;
        self.take(len.into()).map(Self)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn end(&self) -> Result<(), HelloError> {
        if self.is_empty() { Ok(()) } else { Err(HelloError::Malformed) }
    }
}
