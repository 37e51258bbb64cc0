//! The fields that route and frame a request, gathered line by line. The others only have to be
//! well-formed; they are forwarded by whoever re-serialises the request.

use super::request_line::{Authority, RequestLine, Version};
use super::{Framing, Head, HeadError, Span};
use crate::hostname::{Hostname, HostnameError};
use crate::sniff::line::{field, members};

/// Fields that `Connection` must not name: a proxy that obeyed would drop the host or the framing.
const NEVER_HOP_BY_HOP: [&str; 3] = ["host", "content-length", "transfer-encoding"];

/// As many fields as most heads don't have.
const USUAL: usize = 16;

/// What the field lines so far add up to.
#[derive(Debug, Default)]
pub(super) struct Fields {
    spans: Vec<Span>,
    host: Option<(Hostname, Option<u16>)>,
    framing: Framing,
    upgrade: bool,
    expects_continue: bool,
    connection: Connection,
}

/// A `Host` as it was written, and what it was read as.
#[derive(Debug)]
pub(super) struct KnownHost {
    written: Box<[u8]>,
    read: (Hostname, Option<u16>),
}

/// The options that `Connection` fields named.
#[derive(Debug, Default)]
struct Connection {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl Fields {
    /// Takes in one field line, without its CRLF, which begins at `start`. There may be `most` lines in all; `known` is
    /// the connection's last host, which need not be read again if this line says the same.
    pub(super) fn add(
        &mut self,
        line: &[u8],
        start: usize,
        version: Version,
        most: usize,
        known: &mut Option<KnownHost>,
    ) -> Result<(), HeadError> {
        if self.spans.len() >= most {
            return Err(HeadError::TooManyFields);
        }
        let (name, value) = field(line)?;
        if self.spans.is_empty() {
            self.spans.reserve(USUAL.min(most));
        }
        self.spans.push(Span::of(line, start, name, value)?);
        let named = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if named("host") {
            self.add_host(value, known)
        } else if named("content-length") {
            self.add_length(value)
        } else if named("transfer-encoding") {
            self.add_coding(value, version)
        } else if named("connection") {
            self.connection.add(value)
        } else {
            self.upgrade |= named("upgrade");
            self.expects_continue |= named("expect") && has_member(value, "100-continue");
            Ok(())
        }
    }

    /// Makes the head, now that its last line has been read and it is known to be `len` bytes.
    pub(super) fn finish(self, request: &RequestLine, len: usize) -> Result<Head, HeadError> {
        let (host, port) = self.host.ok_or(HeadError::NoHost)?;
        if request.authority.as_ref().is_some_and(|authority| !authority.is(&host, port)) {
            return Err(HeadError::HostMismatch);
        }
        let modern = request.version == Version::Http11;
        Ok(Head {
            len,
            version: request.version,
            method: request.method,
            method_range: request.method_range.clone(),
            target: request.target.clone(),
            host,
            port,
            framing: self.framing,
            upgrade: modern && self.upgrade && self.connection.upgrade,
            has_upgrade_field: self.upgrade,
            expects_continue: modern && self.expects_continue,
            keep_alive: !self.connection.close && (modern || self.connection.keep_alive),
            fields: self.spans,
        })
    }

    fn add_host(&mut self, value: &[u8], known: &mut Option<KnownHost>) -> Result<(), HeadError> {
        if self.host.is_some() {
            return Err(HeadError::SeveralHosts);
        }
        let read = match known {
            Some(known) if *known.written == *value => known.read.clone(),
            _ => {
                let text = str::from_utf8(value).map_err(|_| HeadError::Host(HostnameError::Character))?;
                let read = Hostname::parse_authority(text).map_err(HeadError::Host)?;
                *known = Some(KnownHost { written: value.into(), read: read.clone() });
                read
            }
        };
        self.host = Some(read);
        Ok(())
    }

    fn add_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        match self.framing {
            Framing::None => self.framing = Framing::Length(parse_length(value)?),
            Framing::Length(_) => return Err(HeadError::SeveralContentLengths),
            Framing::Chunked => return Err(HeadError::LengthAndChunked),
        }
        Ok(())
    }

    fn add_coding(&mut self, value: &[u8], version: Version) -> Result<(), HeadError> {
        match self.framing {
            _ if version == Version::Http10 => Err(HeadError::ChunkedOnHttp10),
            Framing::Length(_) => Err(HeadError::LengthAndChunked),
            Framing::Chunked => Err(HeadError::SeveralTransferEncodings),
            Framing::None if !value.eq_ignore_ascii_case(b"chunked") => Err(HeadError::TransferEncoding),
            Framing::None => {
                self.framing = Framing::Chunked;
                Ok(())
            }
        }
    }
}

impl Connection {
    fn add(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if NEVER_HOP_BY_HOP.iter().any(|name| has_member(value, name)) {
            return Err(HeadError::ConnectionNames);
        }
        self.close |= has_member(value, "close");
        self.keep_alive |= has_member(value, "keep-alive");
        self.upgrade |= has_member(value, "upgrade");
        Ok(())
    }
}

impl Authority {
    /// Whether a `Host` field names the same. `Host` leaves out the scheme's own port, or doesn't.
    fn is(&self, host: &Hostname, port: Option<u16>) -> bool {
        let effective = |port: Option<u16>| port.unwrap_or(self.default_port);
        self.host == *host && effective(self.port) == effective(port)
    }
}

impl Span {
    /// Where parts of a line are that begins at `start`.
    fn of(line: &[u8], start: usize, name: &[u8], value: &[u8]) -> Result<Self, HeadError> {
        let place = |part: &[u8]| {
            let from = start + (part.as_ptr().addr() - line.as_ptr().addr());
            let place = u32::try_from(from).ok().zip(u32::try_from(from + part.len()).ok());
            place.ok_or(HeadError::TooLarge)
        };
        Ok(Self { name: place(name)?, value: place(value)? })
    }
}

fn has_member(value: &[u8], known: &str) -> bool {
    members(value).any(|member| member.eq_ignore_ascii_case(known.as_bytes()))
}

/// `1*DIGIT` within 64 bits; `str::parse` would also take a `+`.
fn parse_length(value: &[u8]) -> Result<u64, HeadError> {
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(HeadError::ContentLength);
    }
    str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()).ok_or(HeadError::ContentLength)
}
