//! What an HTTP/2 request says, read as strictly as HTTP/1 is read.
//!
//! `h2` has refused some of it before: fields about the connection, pseudo-fields that are missing, repeated or out
//! of place (RFC 9113 §8.2, §8.3), names that aren't tokens in lower case, and lengths that the body contradicts.

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri,
    header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST},
    request::Parts,
};
use tunnel_protocol::Code;
use tunnel_router::{Framing, HeadError, HeadLimits, Hostname, HostnameError, Method as Known, Version};

use crate::http::facts::{Facts, Refusal, Verdict};

/// Reads a head, and makes of it what HTTP/1 would have had: one `Host`, one `Cookie`.
pub(super) fn read(head: &mut Parts, has_ended: bool) -> Verdict {
    // Crumbs of cookies are one field: browsers send each cookie as one, and on HTTP/1 they were in one line.
    let crumbs = head.headers.get_all(COOKIE).iter().count();
    if head.headers.len() - crumbs.saturating_sub(1) > HeadLimits::default().fields {
        return Err(HeadError::TooManyFields.into());
    }
    let upgrade = protocol(head)?;
    check_target(&head.method, &head.uri, upgrade.is_some())?;
    let (host, authority) = host(&head.uri, &head.headers)?;
    let framing = if upgrade.is_some() { Framing::None } else { framing(&head.headers, has_ended)? };
    head.headers.insert(HOST, authority);
    join(&mut head.headers, &COOKIE);
    let expects = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    let facts = Facts {
        host,
        version: Version::Http11,
        method: known(&head.method),
        framing,
        expects_continue: head.headers.get_all(EXPECT).iter().any(expects),
        upgrade,
    };
    Ok(facts)
}

/// Which protocol a CONNECT asks for (RFC 8441 §4); it then becomes the GET that it is on HTTP/1.1.
fn protocol(head: &mut Parts) -> Result<Option<String>, Refusal> {
    if head.method != Method::CONNECT {
        return Ok(None);
    }
    match head.extensions.remove::<::h2::ext::Protocol>() {
        Some(protocol) if protocol.as_str().eq_ignore_ascii_case("websocket") => {
            head.method = Method::GET;
            head.headers.remove(CONTENT_LENGTH);
            Ok(Some("websocket".to_owned()))
        }
        // Nobody dials by request target here, and no other protocol is known to be carried by streams.
        _ => Err(HeadError::Connect.into()),
    }
}

fn check_target(method: &Method, uri: &Uri, is_upgrade: bool) -> Result<(), Refusal> {
    let is_web = uri.scheme_str().is_none_or(|scheme| scheme == "http" || scheme == "https");
    let target = uri.path_and_query().map_or("", |target| target.as_str()).as_bytes();
    let is_plain = target.iter().all(u8::is_ascii_graphic);
    let is_known = match target {
        [b'/', ..] => true,
        b"*" => *method == Method::OPTIONS && !is_upgrade,
        _ => false,
    };
    if is_web && is_plain && is_known { Ok(()) } else { Err(HeadError::Target.into()) }
}

/// The one host that `:authority` and `Host` name (RFC 9113 §8.3.1), and how it was written.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<(Hostname, HeaderValue), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let (field, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(HeadError::SeveralHosts.into());
    }
    let parse = |text: &HeaderValue| match text.to_str() {
        Ok(text) => Hostname::parse_authority(text),
        Err(_) => Err(HostnameError::Character),
    };
    let named = field.map(|field| parse(field).map_err(HeadError::Host)).transpose()?;
    let Some(authority) = uri.authority() else {
        let (host, _) = named.ok_or(HeadError::NoHost)?;
        return field.cloned().map(|field| (host, field)).ok_or_else(|| HeadError::NoHost.into());
    };
    let (host, port) = Hostname::parse_authority(authority.as_str()).map_err(HeadError::TargetAuthority)?;
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    if named.is_some_and(|(other, other_port)| {
        other != host || other_port.unwrap_or(default) != port.unwrap_or(default)
    }) {
        return Err(HeadError::HostMismatch.into());
    }
    let value = HeaderValue::from_str(authority.as_str()).map_err(|_| HeadError::Target)?;
    Ok((host, value))
}

fn framing(headers: &HeaderMap, has_ended: bool) -> Result<Framing, Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (length, more) = (lengths.next(), lengths.next());
    if more.is_some() {
        return Err(HeadError::SeveralContentLengths.into());
    }
    let Some(length) = length else {
        return Ok(if has_ended { Framing::None } else { Framing::Chunked });
    };
    let text = length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = text.and_then(|text| text.parse().ok()).ok_or(HeadError::ContentLength)?;
    if has_ended && length != 0 {
        return Err(Refusal { code: Code::BadRequest, error: Some(HeadError::ContentLength) });
    }
    Ok(Framing::Length(length))
}

/// Makes one line of a field that HTTP/2 lets come in crumbs (RFC 9113 §8.2.3).
fn join(headers: &mut HeaderMap, name: &HeaderName) {
    let mut crumbs = headers.get_all(name).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let mut whole = Vec::new();
    for crumb in headers.get_all(name) {
        if !whole.is_empty() {
            whole.extend_from_slice(b"; ");
        }
        whole.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(whole) = HeaderValue::from_bytes(&whole) {
        headers.insert(name, whole);
    }
}

fn known(method: &Method) -> Known {
    match method.as_str() {
        "GET" => Known::Get,
        "HEAD" => Known::Head,
        "POST" => Known::Post,
        "PUT" => Known::Put,
        "DELETE" => Known::Delete,
        "OPTIONS" => Known::Options,
        "TRACE" => Known::Trace,
        "PATCH" => Known::Patch,
        _ => Known::Other,
    }
}

#[cfg(test)]
mod tests;
