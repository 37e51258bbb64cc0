//! Heads that an honest visitor would never send, and the few that are fine.

use ::http::{Request, Uri, Version as HttpVersion};

use super::*;

/// A head as `h2` would pass it on: lines of `name: value`, pseudo-fields first.
fn head(lines: &[&str]) -> Parts {
    let (mut method, mut scheme, mut authority, mut path) = ("GET", None, None, None);
    let mut request = Request::builder().version(HttpVersion::HTTP_2);
    for line in lines {
        let (name, value) = line.split_at(line[1..].find(": ").unwrap() + 1);
        let value = &value[2..];
        match name {
            ":method" => method = value,
            ":scheme" => scheme = Some(value),
            ":authority" => authority = Some(value),
            ":path" => path = Some(value),
            ":protocol" => request = request.extension(::h2::ext::Protocol::from(value)),
            _ => request = request.header(name, value),
        }
    }
    let mut parts = ::http::uri::Parts::default();
    parts.authority = authority.map(|authority| authority.parse().unwrap());
    // As `h2` does: a scheme can't stand alone in a `Uri`.
    parts.scheme = scheme.filter(|_| authority.is_some()).map(|scheme| scheme.parse().unwrap());
    parts.path_and_query = path.map(|path| path.parse().unwrap());
    request.method(method).uri(Uri::from_parts(parts).unwrap()).body(()).unwrap().into_parts().0
}

fn read_lines(lines: &[&str], has_ended: bool) -> (Verdict, Parts) {
    let mut head = head(lines);
    (read(&mut head, has_ended), head)
}

#[test]
fn a_plain_request_is_what_it_would_be_on_http1() {
    let lines = [
        ":method: POST",
        ":scheme: https",
        ":authority: A.test:443",
        ":path: /p?q=1",
        "cookie: a=1",
        "cookie: b=2",
        "content-length: 5",
        "expect: 100-Continue",
    ];
    let (verdict, head) = read_lines(&lines, false);
    let facts = verdict.unwrap();
    assert_eq!(facts.host.as_str(), "a.test");
    assert_eq!((facts.method, facts.framing), (Known::Post, Framing::Length(5)));
    assert!(facts.expects_continue && facts.upgrade.is_none());
    assert_eq!(head.headers[HOST], "A.test:443");
    assert_eq!(head.headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
}

#[test]
fn how_a_body_ends_is_known() {
    let plain = [":scheme: http", ":authority: a.test", ":path: /"];
    for (length, has_ended, framing) in [
        (None, true, Framing::None),
        (None, false, Framing::Chunked),
        (Some("content-length: 0"), true, Framing::Length(0)),
        (Some("content-length: 9"), false, Framing::Length(9)),
    ] {
        let lines: Vec<_> = plain.into_iter().chain(length).collect();
        assert_eq!(read_lines(&lines, has_ended).0.unwrap().framing, framing, "{length:?}");
    }
}

#[test]
fn host_may_stand_in_for_the_authority_and_must_agree_with_it() {
    for (lines, host) in [
        (&[":path: /", "host: a.test"][..], "a.test"),
        (&[":scheme: http", ":authority: a.test", ":path: /", "host: A.TEST."], "a.test"),
        (&[":scheme: http", ":authority: a.test:80", ":path: /", "host: a.test"], "a.test"),
        (&[":scheme: https", ":authority: a.test", ":path: /", "host: a.test:443"], "a.test"),
        (&[":scheme: http", ":authority: [::1]:8080", ":path: /"], "[::1]"),
    ] {
        assert_eq!(read_lines(lines, true).0.unwrap().host.as_str(), host, "{lines:?}");
    }
}

#[test]
fn what_has_two_readings_is_refused() {
    use tunnel_protocol::Code::{BadRequest, MethodNotAllowed};
    for (lines, code) in [
        (&[":path: /"][..], BadRequest),
        (&[":path: /", "host: a.test", "host: a.test"], BadRequest),
        (&[":scheme: http", ":authority: a.test", ":path: /", "host: b.test"], BadRequest),
        (&[":scheme: http", ":authority: a.test", ":path: /", "host: a.test:81"], BadRequest),
        (&[":scheme: https", ":authority: a.test", ":path: /", "host: a.test:80"], BadRequest),
        (&[":scheme: http", ":authority: user@a.test", ":path: /"], BadRequest),
        (&[":scheme: http", ":authority: user:pw@a.test", ":path: /"], BadRequest),
        (&[":scheme: http", ":authority: a_b.test", ":path: /"], BadRequest),
        (&[":scheme: http", ":authority: 127.1", ":path: /"], BadRequest),
        (&[":scheme: http", ":authority: a.test:0", ":path: /"], BadRequest),
        (&[":scheme: ftp", ":authority: a.test", ":path: /"], BadRequest),
        (&[":scheme: http", ":authority: a.test", ":path: *"], BadRequest),
        (&[":scheme: http", ":authority: a.test", ":path: /é"], BadRequest),
        (
            &[":scheme: http", ":authority: a.test", ":path: /", "content-length: 1", "content-length: 1"],
            BadRequest,
        ),
        (&[":scheme: http", ":authority: a.test", ":path: /", "content-length: +1"], BadRequest),
        (&[":scheme: http", ":authority: a.test", ":path: /", "content-length: 1, 1"], BadRequest),
        (
            &[":scheme: http", ":authority: a.test", ":path: /", "content-length: 99999999999999999999"],
            BadRequest,
        ),
        (&[":method: CONNECT", ":authority: a.test:443"], MethodNotAllowed),
        (
            &[
                ":method: CONNECT",
                ":protocol: connect-udp",
                ":scheme: https",
                ":authority: a.test",
                ":path: /",
            ],
            MethodNotAllowed,
        ),
        (
            &[":method: CONNECT", ":protocol: websocket", ":scheme: https", ":authority: a.test", ":path: *"],
            BadRequest,
        ),
    ] {
        let (verdict, _) = read_lines(lines, false);
        assert_eq!(verdict.map_err(|refusal| refusal.code).unwrap_err(), code, "{lines:?}");
    }
}

#[test]
fn a_length_without_a_body_is_refused() {
    let lines = [":scheme: http", ":authority: a.test", ":path: /", "content-length: 1"];
    assert!(read_lines(&lines, true).0.is_err());
}

#[test]
fn there_are_as_many_fields_as_on_http1_and_no_more() {
    let plain = [":scheme: http", ":authority: a.test", ":path: /"];
    let names: Vec<_> = (0..101).map(|i| format!("x-{i}: 1")).collect();
    for (count, is_fine) in [(100, true), (101, false)] {
        let lines: Vec<_> = plain.into_iter().chain(names[..count].iter().map(String::as_str)).collect();
        assert_eq!(read_lines(&lines, true).0.is_ok(), is_fine, "{count}");
    }
    // As browsers write what is one line on HTTP/1.
    let crumbs: Vec<_> = (0..180).map(|i| format!("cookie: c{i}=1")).collect();
    let lines: Vec<_> =
        plain.into_iter().chain(crumbs.iter().chain(&names[..99]).map(String::as_str)).collect();
    let (verdict, head) = read_lines(&lines, true);
    assert!(verdict.is_ok(), "{verdict:?}");
    assert_eq!(head.headers.get_all(COOKIE).iter().count(), 1);
}

#[test]
fn a_websockets_connect_is_the_get_it_would_have_been() {
    let lines = [
        ":method: CONNECT",
        ":protocol: websocket",
        ":scheme: https",
        ":authority: a.test",
        ":path: /chat?x",
        "sec-websocket-version: 13",
    ];
    let (verdict, head) = read_lines(&lines, false);
    let facts = verdict.unwrap();
    assert_eq!((facts.method, facts.framing), (Known::Get, Framing::None));
    assert_eq!(facts.upgrade.as_deref(), Some("websocket"));
    assert_eq!((head.method.as_str(), head.uri.path_and_query().unwrap().as_str()), ("GET", "/chat?x"));
}

#[test]
fn options_may_be_about_the_server() {
    let lines = [":method: OPTIONS", ":scheme: http", ":authority: a.test", ":path: *"];
    assert!(read_lines(&lines, true).0.is_ok());
}
