//! Heads: a request's is written, an answer's is read, as leniently as browsers do it: what is passed on is written
//! anew, so the visitor never sees how it looked.

use std::mem::MaybeUninit;

use ::http::{
    HeaderMap, Method, Response, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};
use bytes::{Bytes, BytesMut};

use crate::http::{
    headers,
    http1::fields::{self, BadField},
    link::MOST_INTERIM,
};

/// Why what came is no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::http) enum HeadError {
    #[error("its answer can't be read: {0}")]
    Syntax(httparse::Error),
    #[error("the head of its answer is too large")]
    TooLarge,
    #[error("the status of its answer can't be read")]
    Status,
    #[error("its answer can't be read: {0}")]
    Field(#[from] BadField),
    #[error("the answer's framing is ambiguous")]
    Framing,
    #[error("it gave over {MOST_INTERIM} interim answers (1xx), and no other")]
    Interim,
}

/// What an answer says beside its status, if that isn't the usual: no more than a line, without control characters.
#[derive(Clone, Debug)]
pub(in crate::http) struct Reason(pub(in crate::http) Box<str>);

/// Reads the head at the front of `bytes`, and how long it is; `None` if it isn't all there.
pub(super) fn parse(bytes: &Bytes) -> Result<Option<(Response<()>, usize)>, HeadError> {
    let mut room = [const { MaybeUninit::uninit() }; fields::MAX];
    let mut head = httparse::Response::new(&mut []);
    let length = match lenient().parse_response_with_uninit_headers(&mut head, bytes, &mut room) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(HeadError::Syntax(error)),
    };
    let mut response = Response::new(());
    let status = head.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(HeadError::Status)?;
    *response.status_mut() = status;
    *response.version_mut() = if head.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    *response.headers_mut() = fields::map(bytes, fields::parsed(head.headers), 0)?;
    let is_none = |coding: &str| coding.eq_ignore_ascii_case("identity");
    let headers = response.headers_mut();
    if headers.contains_key(TRANSFER_ENCODING) && headers::members(headers, &TRANSFER_ENCODING).all(is_none) {
        // What RFC 2616 called it.
        headers.remove(TRANSFER_ENCODING);
    }
    let reason = head.reason.filter(|reason| status.canonical_reason() != Some(*reason));
    if let Some(reason) = reason {
        response.extensions_mut().insert(Reason(reason.into()));
    }
    Ok(Some((response, length)))
}

/// What small servers and scripts get wrong, and every browser puts up with: folded fields, blanks before a colon, lines
/// that are no fields (they are left out).
fn lenient() -> httparse::ParserConfig {
    let mut config = httparse::ParserConfig::default();
    config
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .ignore_invalid_headers_in_responses(true);
    config
}

/// Whether another exchange may follow this answer on its stream, as far as the head says it. Upstreams of HTTP/1.0 are
/// not taken at their word: half of them promise it and close. A 204 has no body, but an upstream that announces one
/// may send it, and another visitor would be given that as the begin of an answer.
pub(super) fn may_go_on(answer: &Response<()>) -> bool {
    let headers = answer.headers();
    let mut options = headers::members(headers, &CONNECTION);
    let is_announced = || {
        headers.contains_key(TRANSFER_ENCODING)
            || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
    };
    answer.version() == Version::HTTP_11
        && !options.any(|option| option.eq_ignore_ascii_case("close"))
        && !(answer.status() == StatusCode::NO_CONTENT && is_announced())
}

/// Writes a request's head.
pub(super) fn write(method: &Method, uri: &Uri, headers: &HeaderMap) -> BytesMut {
    // Room for a small body, too.
    let mut out = BytesMut::with_capacity(512 + headers.len() * 64);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    for part in [method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    fields::write(headers, &mut out);
    out.extend_from_slice(b"\r\n");
    out
}
