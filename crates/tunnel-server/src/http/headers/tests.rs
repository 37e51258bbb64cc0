//! Which fields pass, which are stripped and which are ours.

use tunnel_router::{Hostname, Method, Version};

use super::*;

fn facts() -> Facts {
    Facts {
        host: Hostname::parse("a.test").unwrap(),
        version: Version::Http11,
        method: Method::Get,
        framing: Framing::None,
        expects_continue: false,
        upgrade: None,
    }
}

fn asker(is_trusted: bool) -> Asker<'static> {
    static VISITOR: HeaderValue = HeaderValue::from_static("192.0.2.7");
    Asker { visitor: &VISITOR, https_port: None, is_trusted, request: RequestId(0xabc) }
}

fn fields(lines: &str) -> HeaderMap {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
        .collect()
}

fn text(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines
}

/// What the upstream gets of `lines`, `Host` and our own fields left out.
fn passed(lines: &str, facts: &Facts) -> Vec<String> {
    let mut headers = fields(&format!("Host: a.test\n{lines}"));
    to_upstream(&mut headers, facts, asker(false));
    for ours in
        ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "x-request-id"]
    {
        headers.remove(ours).unwrap_or_else(|| panic!("{ours} is missing"));
    }
    text(&headers)
}

#[test]
fn fields_of_one_connection_end_here() {
    let got = passed(
        "Accept: */*
         Connection: keep-alive, X-Private
         X-Private: 1
         Keep-Alive: timeout=5
         Proxy-Connection: keep-alive
         Proxy-Authorization: Basic eA==
         Upgrade: websocket
         HTTP2-Settings: x
         TE: gzip, trailers;q=0.5, trailers
         Trailer: X-Sum
         Expect: 200-maybe
         Cookie: a=1
         Cookie: b=2",
        &facts(),
    );
    assert_eq!(got, ["accept: */*", "cookie: a=1", "cookie: b=2", "te: trailers"]);
}

#[test]
fn connection_cannot_remove_what_others_rely_on() {
    for kept in ["authorization", "content-type", "cookie", "access-control-request-method"] {
        let got = passed(&format!("Connection: close, {kept}\n{kept}: 1"), &facts());
        assert_eq!(got, [format!("{kept}: 1")]);
    }
    let mut headers = fields("Host: a.test\nConnection: X-Forwarded-For, X-Real-IP");
    to_upstream(&mut headers, &facts(), asker(false));
    assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
    assert_eq!(headers["x-real-ip"], "192.0.2.7");
}

#[test]
fn framing_continue_and_upgrade_are_set_as_they_were_read() {
    let chunked = Facts { framing: Framing::Chunked, expects_continue: true, ..facts() };
    let got = passed("Transfer-Encoding: chunked\nTrailer: X-Sum\nExpect: 100-continue", &chunked);
    assert_eq!(got, ["expect: 100-continue", "trailer: X-Sum", "transfer-encoding: chunked"]);
    let upgrade = Facts { upgrade: Some("websocket".into()), ..facts() };
    let got =
        passed("Upgrade: websocket, h2c\nConnection: Upgrade, HTTP2-Settings\nHTTP2-Settings: x", &upgrade);
    assert_eq!(got, ["connection: upgrade", "upgrade: websocket"]);
}

#[test]
fn lookalikes_of_what_frames_a_request_are_dropped() {
    let got = passed(
        "Content-Length: 3
         Content_Length: 4
         Transfer_Encoding: chunked
         transfer_encoding: identity
         Content_Lengths: 5
         Content_Type: x",
        &facts(),
    );
    assert_eq!(got, ["content-length: 3", "content_lengths: 5", "content_type: x"]);
    let mut headers = fields("Host: a.test\nContent_Length: 4");
    to_upstream(&mut headers, &facts(), asker(true));
    assert!(!headers.contains_key("content_length"), "nor from a proxy");
}

#[test]
fn a_visitor_cannot_say_who_it_is() {
    let spoofed = "Host: a.test:8080
         X-Forwarded-For: 10.0.0.1
         X-Forwarded-For: 10.0.0.2
         X_Forwarded_For: 10.0.0.1
         X-Forwarded-Proto: https
         X-Forwarded_Host: evil.test
         X-Forwarded-Port: 443
         X-Forwarded-User: root
         X-Real-IP: 10.0.0.1
         X_Real_Ip: 10.0.0.1
         Forwarded: for=10.0.0.1
         X-Request-Id: mine";
    let mut headers = fields(spoofed);
    to_upstream(&mut headers, &facts(), asker(false));
    assert_eq!(
        text(&headers),
        [
            "host: a.test:8080",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-host: a.test:8080",
            "x-forwarded-proto: http",
            "x-real-ip: 192.0.2.7",
            "x-request-id: mine",
        ]
    );
}

#[test]
fn a_trusted_proxy_is_believed_and_added_to() {
    let said = "Host: a.test
         X-Forwarded-For: 203.0.113.5
         X-Forwarded-For: 198.51.100.1
         X_Forwarded_For: 10.0.0.1
         X-Forwarded-Proto: https
         X-Forwarded-Host: www.example.com
         X-Real-IP: 203.0.113.5
         Forwarded: for=203.0.113.5;proto=https";
    let mut headers = fields(said);
    let visitor = HeaderValue::from_static("2001:db8::1");
    to_upstream(&mut headers, &facts(), Asker { visitor: &visitor, ..asker(true) });
    assert_eq!(
        text(&headers),
        [
            "forwarded: for=203.0.113.5;proto=https, for=\"[2001:db8::1]\"",
            "host: a.test",
            "x-forwarded-for: 203.0.113.5, 198.51.100.1, 2001:db8::1",
            "x-forwarded-host: www.example.com",
            "x-forwarded-proto: https",
            "x-real-ip: 203.0.113.5",
            "x-request-id: 00000000000000000000000000000abc",
        ]
    );
}

#[test]
fn answers_keep_all_but_what_concerns_one_connection() {
    let mut headers = fields(
        "Content-Type: text/plain
         Content-Length: 5
         Content-Length: 5, 5
         Connection: close, X-Private, Set-Cookie
         X-Private: 1
         Keep-Alive: timeout=5
         Upgrade: h2,h2c
         Set-Cookie: a=1
         Set-Cookie: b=2
         Tunnel-Error: internal",
    );
    to_visitor(&mut headers).unwrap();
    assert_eq!(
        text(&headers),
        ["content-length: 5", "content-type: text/plain", "set-cookie: a=1", "set-cookie: b=2"]
    );
    let mut headers = fields("Transfer-Encoding: Chunked\nContent-Length: 5\nTrailer: X-Sum");
    to_visitor(&mut headers).unwrap();
    assert_eq!(text(&headers), ["trailer: X-Sum"]);
}

#[test]
fn ambiguous_answers_are_refused() {
    for bad in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Content-Length: 5\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: 99999999999999999999",
    ] {
        assert_eq!(to_visitor(&mut fields(bad)), Err(BadFraming), "{bad}");
    }
}

#[test]
fn the_length_of_a_name_hides_no_hop_by_hop_field() {
    assert!(HOP_BY_HOP.iter().all(|name| may_be_hop_by_hop(name.as_str().len())));
}
