//! An answer's head as it is written, and how the body behind it is delimited (RFC 9112 §6).

use ::http::{
    HeaderName, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING},
    response::Parts,
};
use bytes::BytesMut;
use tunnel_router::{Version, may_trail};

use super::{fields, head::Terms, upstream::Reason};
use crate::http::{date, headers::members};

/// A body that is smaller is sent in one piece with its head, in bytes.
pub(super) const SMALL: usize = 8 * 1024;

/// How a body is delimited.
#[derive(Debug)]
pub(super) enum Framing {
    /// There is none, whatever the head says of it.
    None,
    /// So many bytes are to come.
    Length(u64),
    /// And these trailers may.
    Chunked(Vec<HeaderName>),
    /// By the end of the connection.
    Close,
}

/// How an answer is sent.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) framing: Framing,
    /// Another request may follow.
    pub(super) keep_alive: bool,
}

impl Plan {
    /// How to answer on these `terms`, with a body of that `length` if it is known; `may_go_on` is whether the
    /// connection could be used again.
    pub(super) fn new(head: &Parts, length: Option<u64>, terms: Terms, may_go_on: bool) -> Self {
        let framing = match head.status {
            _ if terms.is_head => Framing::None,
            StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => {
                Framing::None
            }
            _ => match (length, terms.version) {
                (Some(length), _) => Framing::Length(length),
                (None, Version::Http10) => Framing::Close,
                (None, Version::Http11) => Framing::Chunked(trailers(head, terms)),
            },
        };
        let is_last =
            || members(&head.headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case("close"));
        let keep_alive = terms.keep_alive && may_go_on && !matches!(framing, Framing::Close) && !is_last();
        Self { framing, keep_alive }
    }

    /// Writes the head. What `Connection` is to say is known here, but for a change of protocol.
    pub(super) fn write(&self, head: &Parts, length: Option<u64>, terms: Terms, out: &mut BytesMut) {
        let is_switch = head.status == StatusCode::SWITCHING_PROTOCOLS;
        // Room for a small body, too.
        let body = length.and_then(|length| usize::try_from(length).ok()).filter(|length| *length < SMALL);
        out.reserve(160 + head.headers.len() * 48 + body.unwrap_or_default());
        write_status(head, terms.version, out);
        let (mut has_date, mut has_length) = (false, false);
        for (name, value) in &head.headers {
            match *name {
                CONNECTION if !is_switch => continue,
                TRANSFER_ENCODING => continue,
                // An answer that may have a body says what its body is.
                CONTENT_LENGTH if matches!(self.framing, Framing::Chunked(_) | Framing::Close) => continue,
                CONTENT_LENGTH => has_length = true,
                DATE => has_date = true,
                _ => {}
            }
            fields::write_one(name.as_str().as_bytes(), value.as_bytes(), out);
        }
        match (&self.framing, length) {
            (Framing::Chunked(_), _) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            (Framing::Length(length), _) if !has_length => write_length(*length, out),
            // The length that a GET would have had, if it is known.
            (Framing::None, Some(length @ 1..)) if !has_length => write_length(length, out),
            _ => {}
        }
        match (terms.version, self.keep_alive) {
            _ if is_switch => {}
            (Version::Http11, false) => out.extend_from_slice(b"connection: close\r\n"),
            (Version::Http10, true) => out.extend_from_slice(b"connection: keep-alive\r\n"),
            (Version::Http11, true) | (Version::Http10, false) => {}
        }
        if let (false, Some(now)) = (has_date, date::now()) {
            fields::write_one(b"date", now.as_bytes(), out);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The trailers that an answer announces, for a visitor that reads any.
fn trailers(head: &Parts, terms: Terms) -> Vec<HeaderName> {
    if !terms.takes_trailers {
        return Vec::new();
    }
    let announced = members(&head.headers, &TRAILER).filter(|name| may_trail(name.as_bytes()));
    announced.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect()
}

fn write_status(head: &Parts, version: Version, out: &mut BytesMut) {
    out.extend_from_slice(match version {
        Version::Http10 => b"HTTP/1.0 ",
        Version::Http11 => b"HTTP/1.1 ",
    });
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    let reason = match head.extensions.get::<Reason>() {
        Some(Reason(reason)) => reason,
        None => head.status.canonical_reason().unwrap_or_default(),
    };
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_length(length: u64, out: &mut BytesMut) {
    fields::write_one(b"content-length", length.to_string().as_bytes(), out);
}

#[cfg(test)]
mod tests;
