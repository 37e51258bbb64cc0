//! Errors of ours as gRPC programs understand them: in fields, with a 200 around them.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>: an answer that is nothing but a head is called
//! "trailers-only", and its status is the call's.

use std::fmt::Write as _;

use ::http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use tunnel_protocol::Code;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether a request is a call. Those of browsers (`grpc-web`) are answered like any other of theirs.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let rest = kind.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Says why there is no answer.
pub(super) fn set_status(headers: &mut HeaderMap, code: Code, message: &str) {
    headers.insert(GRPC_STATUS, status(code).into());
    if let Ok(message) = HeaderValue::try_from(escape(message)) {
        headers.insert(GRPC_MESSAGE, message);
    }
}

/// The status of a call that stands for a reason: with `UNAVAILABLE` programs try again, so it is for what passes.
fn status(code: Code) -> u16 {
    match code {
        Code::RequestTimeout => 4,
        Code::AddressNotAllowed | Code::UpstreamHostRefused | Code::FirstVisit => 7,
        Code::RateLimited | Code::HeadTooLarge | Code::QuotaUsed => 8,
        Code::TunnelNotFound | Code::MethodNotAllowed => 12,
        Code::BadRequest | Code::Internal | Code::UpstreamMalformed => 13,
        Code::TunnelAway
        | Code::Overloaded
        | Code::TooManyVisitors
        | Code::TunnelPaused
        | Code::ClientBusy
        | Code::Misdirected
        | Code::UpstreamRefused
        | Code::UpstreamUnreachable
        | Code::UpstreamTimeout
        | Code::UpstreamTls
        | Code::UpstreamBroken => 14,
        Code::AuthRequired => 16,
        _ => 2,
    }
}

/// Everything but visible ASCII, and the percent sign, as `%XX`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => escaped.push(char::from(byte)),
            // Writing to a string can't fail.
            _ => _ = write!(escaped, "%{byte:02X}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_by_its_type() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web-text+proto", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(is_grpc(&headers), expected, "{kind}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn the_message_is_one_line_of_ascii() {
        let mut headers = HeaderMap::new();
        set_status(&mut headers, Code::TunnelAway, "100% weg: späť\r\n");
        assert_eq!(headers["grpc-status"], "14");
        assert_eq!(headers["grpc-message"], "100%25 weg: sp%C3%A4%C5%A5%0D%0A");
    }
}
