//! Heads: a request's is written, an answer's is read, as leniently as browsers do it: what is passed on is written
//! anew, so the visitor never sees how it looked.

use std::mem::MaybeUninit;

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};
use bytes::{Bytes, BytesMut};
use hyper::ext::ReasonPhrase;

use super::super::{headers, link::MOST_INTERIM};

/// The most fields that an answer may have. Some set a cookie for each of a hundred things.
pub(super) const MAX_FIELDS: usize = 256;

/// Why what came is no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::http) enum HeadError {
    #[error("its answer can't be read: {0}")]
    Syntax(httparse::Error),
    #[error("the head of its answer is too large")]
    TooLarge,
    #[error("a status or a field of its answer can't be read")]
    Value,
    #[error("the answer's framing is ambiguous")]
    Framing,
    #[error("it gave over {MOST_INTERIM} interim answers (1xx), and no other")]
    Interim,
}

/// Reads the head at the front of `bytes`, and how long it is; `None` if it isn't all there.
pub(super) fn parse(bytes: &Bytes) -> Result<Option<(Response<()>, usize)>, HeadError> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let length = match lenient().parse_response_with_uninit_headers(&mut head, bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(HeadError::Syntax(error)),
    };
    let mut response = Response::new(());
    let status = head.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(HeadError::Value)?;
    *response.status_mut() = status;
    *response.version_mut() = if head.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    *response.headers_mut() = map(bytes, head.headers)?;
    let is_none = |coding: &str| coding.eq_ignore_ascii_case("identity");
    let headers = response.headers_mut();
    if headers.contains_key(TRANSFER_ENCODING) && headers::members(headers, &TRANSFER_ENCODING).all(is_none) {
        // What RFC 2616 called it.
        headers.remove(TRANSFER_ENCODING);
    }
    let reason = head.reason.filter(|reason| status.canonical_reason() != Some(*reason));
    if let Some(reason) = reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok()) {
        response.extensions_mut().insert(reason);
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

/// Makes a map of fields found in `bytes`, whose memory it shares.
pub(super) fn map(bytes: &Bytes, fields: &[httparse::Header<'_>]) -> Result<HeaderMap, HeadError> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| HeadError::Value)?;
        let value = match field.value {
            [] => Bytes::new(),
            folded if folded.contains(&b'\n') => unfolded(folded),
            value => bytes.slice_ref(value),
        };
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| HeadError::Value)?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// The value of a folded field on one line (RFC 9112 §5.2).
fn unfolded(value: &[u8]) -> Bytes {
    value.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }).collect()
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
    write_fields(headers, &mut out);
    out.extend_from_slice(b"\r\n");
    out
}

/// Writes fields, a line for each.
pub(super) fn write_fields(fields: &HeaderMap, out: &mut BytesMut) {
    for (name, value) in fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
}
