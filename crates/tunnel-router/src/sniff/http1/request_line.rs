//! The first line of a head: what is asked, of whom, in which version (RFC 9112 §3).

use std::ops::Range;

use super::HeadError;
use crate::hostname::Hostname;
use crate::sniff::line::is_token;

/// The versions that are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0: no chunking, no upgrade, closes unless asked otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// The methods of RFC 9110 and PATCH. Case matters: `get` is [`Other`](Self::Other).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD: its answer has no body whatever its fields say.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
    /// TRACE.
    Trace,
    /// PATCH.
    Patch,
    /// Any other token.
    Other,
}

impl Method {
    /// Whether sending it twice does what sending it once does (RFC 9110 §9.2.2): only then may a
    /// request be tried again without asking the visitor.
    pub fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch | Self::Other)
    }
}

/// A request line that passed.
#[derive(Debug)]
pub(super) struct RequestLine {
    pub(super) version: Version,
    pub(super) method: Method,
    pub(super) method_range: Range<usize>,
    pub(super) target: Range<usize>,
    /// Of a target in absolute form.
    pub(super) authority: Option<Authority>,
}

/// Whom an absolute target names.
#[derive(Debug)]
pub(super) struct Authority {
    pub(super) host: Hostname,
    pub(super) port: Option<u16>,
    /// The port that the scheme stands for.
    pub(super) default_port: u16,
}

/// Reads the first line of a head, without its CRLF.
pub(super) fn parse(line: &[u8]) -> Result<RequestLine, HeadError> {
    if line.is_empty() {
        return Err(HeadError::LeadingEmptyLine);
    }
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HeadError::RequestLine);
    };
    if !is_token(method) || target.is_empty() {
        return Err(HeadError::RequestLine);
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        b"HTTP/2.0" if method == b"PRI" && target == b"*" => return Err(HeadError::Http2Preface),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(HeadError::Version),
        _ => return Err(HeadError::RequestLine),
    };
    let target_start = method.len() + 1;
    Ok(RequestLine {
        version,
        method: parse_method(method)?,
        method_range: 0..method.len(),
        target: target_start..target_start + target.len(),
        authority: parse_target(method, target)?,
    })
}

fn parse_method(method: &[u8]) -> Result<Method, HeadError> {
    Ok(match method {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"POST" => Method::Post,
        b"PUT" => Method::Put,
        b"DELETE" => Method::Delete,
        b"OPTIONS" => Method::Options,
        b"TRACE" => Method::Trace,
        b"PATCH" => Method::Patch,
        b"CONNECT" => return Err(HeadError::Connect),
        _ => Method::Other,
    })
}

fn parse_target(method: &[u8], target: &[u8]) -> Result<Option<Authority>, HeadError> {
    // A fragment never belongs in a request, and parsers differ on whether the path goes on behind it.
    if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(HeadError::Target);
    }
    match target {
        [b'/', ..] => Ok(None),
        b"*" if method == b"OPTIONS" => Ok(None),
        _ => parse_absolute(target).map(Some),
    }
}

fn parse_absolute(target: &[u8]) -> Result<Authority, HeadError> {
    let target = str::from_utf8(target).map_err(|_| HeadError::Target)?;
    let (scheme, rest) = target.split_once("://").ok_or(HeadError::Target)?;
    let default_port = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => 80,
        _ if scheme.eq_ignore_ascii_case("https") => 443,
        _ => return Err(HeadError::Target),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let (host, port) = Hostname::parse_authority(authority).map_err(HeadError::TargetAuthority)?;
    Ok(Authority { host, port, default_port })
}
