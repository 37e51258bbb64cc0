//! Reads one HTTP/1 request head, and refuses every head that two parsers could read differently.
//! Libraries are lenient (bare line feeds, several `Host` fields, a length together with chunking), and so
//! may be the upstream; what is let through here has one reading. RFC 9112, less its tolerances.

mod error;
mod fields;
mod request_line;

use std::ops::Range;

pub use self::error::{HeadError, Refusal};
pub use self::request_line::{Method, Version};

use self::fields::{Fields, KnownHost};
use self::request_line::RequestLine;
use super::Sniff;
use super::line::plain_prefix;
use crate::hostname::Hostname;

/// How large a head may be. Over it: [`Refusal::HeadTooLarge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head, the final empty line included. Default 32 KiB. It is also the most a
    /// caller ever has to buffer for one head.
    pub bytes: usize,
    /// Field lines. Default 100, as most servers have it.
    pub fields: usize,
}

/// One request head. Ranges and lengths count from the start of the bytes it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Bytes up to and including the final empty line: where the body starts, or the next head.
    pub len: usize,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Never CONNECT.
    pub method: Method,
    /// Where the method's text is. Always a token.
    pub method_range: Range<usize>,
    /// Where the request target is. Visible ASCII without `#`.
    pub target: Range<usize>,
    /// The one host this request is for.
    pub host: Hostname,
    /// The port in `Host`, when it was written.
    pub port: Option<u16>,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether `Upgrade` is present and `Connection` names it. Never on HTTP/1.0.
    pub upgrade: bool,
    /// Whether `Upgrade` is present, whatever the version and whoever names it.
    pub has_upgrade_field: bool,
    /// Whether the visitor holds the body back until it gets a 100. Never on HTTP/1.0.
    pub expects_continue: bool,
    /// Whether the visitor may send another head after this request.
    pub keep_alive: bool,
    /// Where its fields are.
    pub(super) fields: Vec<Span>,
}

/// Where a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    name: (u32, u32),
    value: (u32, u32),
}

impl Head {
    /// The fields of the head, which `bytes` begins with: names, which are tokens, and values without the blanks around
    /// them, in their order.
    pub fn fields<'b>(&self, bytes: &'b [u8]) -> impl ExactSizeIterator<Item = (&'b [u8], &'b [u8])> {
        let part = |(start, end): (u32, u32)| &bytes[start as usize..end as usize];
        self.fields.iter().map(move |span| (part(span.name), part(span.value)))
    }
}

/// How the body that follows a head ends (RFC 9112 §6.3). Of a request, never by closing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// After this many bytes; may be 0.
    Length(u64),
    /// Where [`ChunkedBody`](crate::ChunkedBody) says.
    Chunked,
}

/// Reads heads from a buffer that grows, looking at each byte once.
///
/// After [`Sniff::Found`] and [`Sniff::NotThis`] it starts over, ready for the head that follows. One reader for all
/// heads of a connection costs less than one for each: they mostly write the same `Host`.
#[derive(Debug)]
pub struct HeadReader {
    limits: HeadLimits,
    /// The next byte to look at. A CR whose LF hasn't arrived is looked at again.
    pos: usize,
    /// Where the line that `pos` is in starts.
    line_start: usize,
    request_line: Option<RequestLine>,
    fields: Fields,
    /// The last `Host` that was read.
    known: Option<KnownHost>,
}

/// Reads the head at the start of `buf`. To follow a growing buffer, keep a [`HeadReader`].
pub fn parse_head(buf: &[u8], limits: &HeadLimits) -> Sniff<Head, HeadError> {
    HeadReader::new(*limits).read(buf)
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { bytes: 32 * 1024, fields: 100 }
    }
}

impl HeadReader {
    /// A reader that has seen nothing.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, pos: 0, line_start: 0, request_line: None, fields: Fields::default(), known: None }
    }

    /// Reads on. `buf` starts where the head does: the bytes of the last call, and more.
    ///
    /// Refuses as early as the first offending line, or byte, is seen.
    pub fn read(&mut self, buf: &[u8]) -> Sniff<Head, HeadError> {
        let verdict = self.advance(buf);
        if !matches!(verdict, Ok(None)) {
            *self = Self { known: self.known.take(), ..Self::new(self.limits) };
        }
        match verdict {
            Ok(Some(head)) => Sniff::Found(head),
            Ok(None) => Sniff::NeedMore,
            Err(error) => Sniff::NotThis(error),
        }
    }

    fn advance(&mut self, buf: &[u8]) -> Result<Option<Head>, HeadError> {
        // Nothing past the limit is looked at, so that the verdict doesn't depend on how much came at once.
        let window = &buf[..buf.len().min(self.limits.bytes)];
        while let Some(line_end) = self.line_end(window)? {
            let start = self.line_start;
            let line = &window[start..line_end];
            self.pos = line_end + 2;
            self.line_start = self.pos;
            match &self.request_line {
                None => self.request_line = Some(request_line::parse(line)?),
                Some(request) if line.is_empty() => {
                    return std::mem::take(&mut self.fields).finish(request, self.pos).map(Some);
                }
                Some(request) => {
                    self.fields.add(line, start, request.version, self.limits.fields, &mut self.known)?;
                }
            }
        }
        if window.len() < self.limits.bytes { Ok(None) } else { Err(HeadError::TooLarge) }
    }

    /// Looks for the CRLF that ends the current line, and at every byte on the way.
    fn line_end(&mut self, window: &[u8]) -> Result<Option<usize>, HeadError> {
        let unseen = window.get(self.pos..).unwrap_or_default();
        let offset = plain_prefix(unseen);
        if offset == unseen.len() {
            self.pos = self.pos.max(window.len());
            return Ok(None);
        }
        self.pos += offset;
        match &unseen[offset..] {
            [b'\r', b'\n', ..] => Ok(Some(self.pos)),
            [b'\r'] => Ok(None),
            [b'\r', ..] => Err(HeadError::BareCr),
            [b'\n', ..] => Err(HeadError::BareLf),
            _ => Err(HeadError::ControlByte),
        }
    }
}

#[cfg(test)]
mod tests;
