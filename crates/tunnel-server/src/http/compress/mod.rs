//! Answers made smaller on their way to the visitor, where it takes that and it is of use.
//!
//! Done on the server, since there the owner's uplink is behind us already and the visitor's downlink ahead; with the
//! owner's word (`--compress`) only, as a body that mixes secrets with what an attacker can choose tells of the
//! secrets by its length (BREACH).
//!
//! It is done on the thread that carries the visitor, [`squeeze::PIECE`] bytes a turn: less than a millisecond, after
//! which others go on. Handing each piece to another thread would cost about as much as the piece, and a pool of
//! threads is one more place where a visitor waits for others.

//!
//! Gzip is the only coding. All that take another take it too, and brotli, kept to as little memory, came out no
//! smaller: 995 kB against 977 kB of 4.8 MB source code, with 1.4 to 4.5 MiB for each visitor against 0.35.

mod accept;
mod squeeze;

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{
        ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
        VARY,
    },
    response,
};
use http_body::SizeHint;

use self::accept::takes_gzip;
pub(super) use self::squeeze::Squeeze;
use super::headers::members;
use crate::shared::Shared;

/// Answers shorter than this are left alone: they fit into one packet either way. In bytes.
const WORTH_IT: u64 = 1024;

/// Types that shrink, besides all of `text/` and all that end in `+json`, `+xml` or `+text`.
const TYPES: [&str; 18] = [
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/ndjson",
    "application/rtf",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/xhtml+xml",
    "application/xml",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/x-icon",
];

/// Says of what its content is a digest, which is not what the visitor would get.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

/// What a request says of how its answer may be coded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    takes_gzip: bool,
    is_head: bool,
}

impl Wish {
    /// Of a request's head, as the visitor sent it.
    pub(super) fn of(method: &Method, version: Version, headers: &HeaderMap) -> Self {
        // A visitor that speaks HTTP/1.0 knows an answer of unknown length by the connection's end only.
        let takes_gzip = version >= Version::HTTP_11 && takes_gzip(headers);
        Self { takes_gzip, is_head: method == Method::HEAD }
    }

    /// Changes an answer's head, and returns what makes its body fit; `None` if the body is to stay as it is.
    pub(super) fn grant(
        self,
        shared: &Shared,
        head: &mut response::Parts,
        size: &SizeHint,
    ) -> Option<Squeeze> {
        if !is_compressible(head, size) {
            return None;
        }
        // Also where this visitor doesn't get it: a cache must know that another would.
        add_vary(&mut head.headers);
        // A HEAD's answer has no content to be changed, and says what a GET without codings would get.
        if !self.takes_gzip || self.is_head {
            return None;
        }
        // Where too many are at it already, bytes are cheaper than memory.
        let place = shared.compressors.clone().try_acquire_owned().ok()?;
        head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        head.headers.remove(CONTENT_LENGTH);
        // Ranges would be of what the upstream has, not of what the visitor gets.
        head.headers.remove(ACCEPT_RANGES);
        weaken_etag(&mut head.headers);
        Some(Squeeze::new(place))
    }
}

/// Whether an answer may be compressed for those who take that.
fn is_compressible(head: &response::Parts, size: &SizeHint) -> bool {
    let has_content = !head.status.is_informational()
        && !matches!(
            head.status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
    let headers = &head.headers;
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let is_long = length.or(size.exact()).is_none_or(|length: u64| length >= WORTH_IT);
    let mut directives = members(headers, &CACHE_CONTROL);
    has_content
        && is_long
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && !directives.any(|directive| directive.eq_ignore_ascii_case("no-transform"))
        && !DIGESTS.iter().any(|digest| headers.contains_key(digest))
        && headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(shrinks)
}

fn shrinks(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.starts_with("text/")
        || ["+json", "+xml", "+text"].iter().any(|suffix| kind.ends_with(suffix))
        || TYPES.contains(&&*kind)
}

fn add_vary(headers: &mut HeaderMap) {
    let is_said =
        members(headers, &VARY).any(|name| name == "*" || name.eq_ignore_ascii_case("accept-encoding"));
    if !is_said {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// The same content, but not the same bytes (RFC 9110 §8.8.1).
fn weaken_etag(headers: &mut HeaderMap) {
    if let Some(tag) = headers.get(ETAG)
        && !tag.as_bytes().starts_with(b"W/")
    {
        match HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
            Ok(weak) => headers.insert(ETAG, weak),
            Err(_) => headers.remove(ETAG),
        };
    }
}

#[cfg(test)]
mod tests;
