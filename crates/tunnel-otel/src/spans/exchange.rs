//! A visitor's exchange as a span: of a server, since that is what we are to the visitor.

use std::borrow::Cow;

use tunnel_server::{RequestLine, RequestRecord, TunnelKind};

use super::{
    FLAGS, PARENT_IS_REMOTE,
    attributes::{flag, millis, number, text},
    nanos,
};
use crate::message::{ERROR, KeyValue, SERVER, Span, Status};

/// The methods that are a span's name. What else strangers say would be as many names as they like.
const METHODS: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];

/// Parts of a query that are known to hold signatures, which must not be kept.
const SECRETS: [&str; 4] = ["AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature"];

/// The span of an exchange that is traced.
pub(crate) fn of_record(record: &RequestRecord) -> Option<Span> {
    let trace = record.trace?;
    let mut attributes = Vec::with_capacity(24);
    let name = match &record.request {
        Some(request) => of_request(request, &mut attributes),
        None if record.kind == TunnelKind::Http => "HTTP",
        None => {
            let transport = if record.kind == TunnelKind::Udp { "udp" } else { "tcp" };
            attributes.push(text("network.transport", transport));
            record.kind.name()
        }
    };
    let public = record.tunnel.as_deref().and_then(host_and_port);
    let asked = record.request.as_ref().map(|request| request.host.as_str());
    attributes.extend(asked.or(public.map(|(host, _)| host)).map(|host| text("server.address", host)));
    attributes.extend(public.and_then(|(_, port)| port).map(|port| number("server.port", port)));
    attributes.push(text("client.address", record.visitor.ip().to_string()));
    if record.visitor.port() != 0 {
        attributes.push(number("client.port", record.visitor.port()));
    }
    let (bytes_in, bytes_out) = match record.kind {
        TunnelKind::Http => ("http.request.body.size", "http.response.body.size"),
        _ => ("tunnel.bytes_in", "tunnel.bytes_out"),
    };
    attributes.extend([number(bytes_in, record.bytes_in), number(bytes_out, record.bytes_out)]);
    attributes.push(text("tunnel.id", record.id.to_string()));
    attributes.push(text("tunnel.kind", record.kind.name()));
    attributes.extend(record.tunnel.iter().map(|url| text("tunnel.url", url)));
    attributes.extend(record.code.map(|code| text("tunnel.code", code)));
    attributes.extend(record.queued.map(|queued| millis("tunnel.queue_ms", queued)));
    attributes.extend(record.first_byte.map(|first| millis("tunnel.first_byte_ms", first)));
    attributes.push(flag("tunnel.upgraded", record.is_upgraded));
    attributes.push(flag("tunnel.whole", record.is_whole));
    attributes.extend(record.status.map(|status| number("http.response.status_code", status)));
    let fault = fault(record);
    attributes.extend(fault.as_deref().map(|fault| text("error.type", fault)));
    Some(Span {
        trace_id: trace.id.to_be_bytes().into(),
        span_id: trace.span.to_be_bytes().into(),
        parent_span_id: trace.parent.map(|parent| parent.to_be_bytes().into()).unwrap_or_default(),
        flags: FLAGS | trace.parent.map_or(0, |_| PARENT_IS_REMOTE),
        name: name.to_owned(),
        kind: SERVER,
        start_time_unix_nano: nanos(record.started),
        end_time_unix_nano: nanos(record.started + record.total),
        attributes,
        status: fault.map(|_| Status { code: ERROR, message: String::new() }),
        ..Span::default()
    })
}

/// Adds what the request said; its span's name.
fn of_request<'r>(request: &'r RequestLine, attributes: &mut Vec<KeyValue>) -> &'r str {
    let method = request.method.as_str();
    let name = if METHODS.contains(&method) {
        attributes.push(text("http.request.method", method));
        method
    } else {
        attributes.push(text("http.request.method", "_OTHER"));
        attributes.push(text("http.request.method_original", method));
        "HTTP"
    };
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    attributes.push(text("url.scheme", if request.is_secure { "https" } else { "http" }));
    attributes.push(text("url.path", path));
    if !query.is_empty() {
        attributes.push(text("url.query", without_secrets(query)));
    }
    let version = request.version.trim_start_matches("HTTP/");
    attributes.push(text("network.protocol.name", "http"));
    attributes.push(text("network.protocol.version", version.strip_suffix("2.0").map_or(version, |_| "2")));
    attributes.extend(request.user_agent.iter().map(|agent| text("user_agent.original", agent)));
    name
}

fn without_secrets(query: &str) -> Cow<'_, str> {
    let is_secret = |part: &str| part.split_once('=').is_some_and(|(name, _)| SECRETS.contains(&name));
    if !query.split('&').any(is_secret) {
        return query.into();
    }
    let hide = |part| match str::split_once(part, '=') {
        Some((name, _)) if is_secret(part) => format!("{name}=REDACTED"),
        _ => part.to_owned(),
    };
    query.split('&').map(hide).collect::<Vec<_>>().join("&").into()
}

/// What went wrong by the server's doing or the upstream's, or because somebody broke off. What the visitor did wrong
/// is no fault of what is observed here.
fn fault(record: &RequestRecord) -> Option<Cow<'static, str>> {
    let is_ours = record.status.map_or(record.kind != TunnelKind::Http, |status| status >= 500);
    match (record.code, record.status) {
        (Some(code), _) if is_ours => Some(code.into()),
        (None, Some(status)) if is_ours => Some(status.to_string().into()),
        _ if !record.is_whole => Some("cut".into()),
        _ => None,
    }
}

/// Of a public address: `https://app.example.com`, `example.com:20022` with its scheme, too.
fn host_and_port(url: &str) -> Option<(&str, Option<u16>)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let by_scheme = match scheme {
        "http" => Some(80),
        "https" | "tls" => Some(443),
        _ => None,
    };
    Some(match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (authority, by_scheme),
    })
}

#[cfg(test)]
mod tests;
