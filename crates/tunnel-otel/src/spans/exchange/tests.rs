//! What is said of each kind of visit, and whose fault a failure is.

use std::time::{Duration, UNIX_EPOCH};

use tunnel_server::{RequestId, Trace};

use super::*;
use crate::message::Value;

fn record(kind: TunnelKind) -> RequestRecord {
    let started = UNIX_EPOCH + Duration::from_secs(10);
    let mut record = RequestRecord::new(RequestId(10), kind, "192.0.2.1:5".parse().unwrap(), started);
    record.trace = Some(Trace::new(0xab, 0xcd, None));
    record.total = Duration::from_millis(1500);
    record.is_whole = true;
    record
}

/// Attributes in one line each.
fn said(span: &Span) -> Vec<String> {
    let value = |attribute: &KeyValue| match attribute.value.clone().unwrap().value.unwrap() {
        Value::Text(text) => text,
        Value::Int(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
    };
    span.attributes.iter().map(|attribute| format!("{}={}", attribute.key, value(attribute))).collect()
}

#[test]
fn a_web_request_by_the_conventions() {
    let mut record = record(TunnelKind::Http);
    record.trace = Some(Trace::new(0xab, 0xcd, Some(0xef)));
    let mut line = RequestLine::new("HTTP/2.0", "GET", "app.test", "/a%20b?x=1&sig=secret&y");
    line.is_secure = true;
    record.request = Some(line);
    record.tunnel = Some("https://app.test:8443".into());
    (record.status, record.bytes_in, record.bytes_out) = (Some(200), 3, 4);
    (record.queued, record.first_byte) = (Some(Duration::from_micros(250)), Some(Duration::from_millis(2)));
    let span = of_record(&record).unwrap();
    assert_eq!(span.trace_id, [&[0; 15][..], &[0xab]].concat());
    assert_eq!((&span.span_id[7..], &span.parent_span_id[7..]), (&[0xcd][..], &[0xef][..]));
    assert_eq!((span.name.as_str(), span.kind, span.flags), ("GET", SERVER, 0x301));
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (10_000_000_000, 11_500_000_000));
    assert_eq!(span.status, None);
    assert_eq!(
        said(&span),
        [
            "http.request.method=GET",
            "url.scheme=https",
            "url.path=/a%20b",
            "url.query=x=1&sig=REDACTED&y",
            "network.protocol.name=http",
            "network.protocol.version=2",
            "server.address=app.test",
            "server.port=8443",
            "client.address=192.0.2.1",
            "client.port=5",
            "http.request.body.size=3",
            "http.response.body.size=4",
            "tunnel.id=0000000000000000000000000000000a",
            "tunnel.kind=http",
            "tunnel.url=https://app.test:8443",
            "tunnel.queue_ms=0.25",
            "tunnel.first_byte_ms=2",
            "tunnel.upgraded=false",
            "tunnel.whole=true",
            "http.response.status_code=200",
        ]
    );
}

#[test]
fn a_connection_has_what_it_has() {
    let mut record = record(TunnelKind::Tcp);
    record.tunnel = Some("tcp://vps.test:20022".into());
    record.visitor = "[2001:db8::1]:0".parse().unwrap();
    let span = of_record(&record).unwrap();
    assert_eq!((span.name.as_str(), span.flags), ("tcp", 0x101));
    assert!(span.parent_span_id.is_empty());
    let said = said(&span);
    for expected in [
        "network.transport=tcp",
        "server.address=vps.test",
        "server.port=20022",
        "client.address=2001:db8::1",
    ] {
        assert!(said.iter().any(|line| line == expected), "{expected}: {said:?}");
    }
    assert!(
        !said.iter().any(|line| line.starts_with("client.port") || line.starts_with("http.")),
        "{said:?}"
    );
}

#[test]
fn strangers_methods_are_no_names() {
    let mut record = record(TunnelKind::Http);
    record.request = Some(RequestLine::new("HTTP/1.1", "get", "app.test", "/"));
    let span = of_record(&record).unwrap();
    assert_eq!(span.name, "HTTP");
    assert_eq!(said(&span)[..2], ["http.request.method=_OTHER", "http.request.method_original=get"]);
    record.request = None;
    assert_eq!(of_record(&record).unwrap().name, "HTTP", "it couldn't be read");
}

#[test]
fn whose_fault_it_was() {
    use TunnelKind::{Http, Tcp};
    for (kind, status, code, is_whole, expected) in [
        (Http, Some(200), None, true, None),
        (Http, Some(404), Some("tunnel-not-found"), true, None),
        (Http, Some(503), Some("tunnel-away"), true, Some("tunnel-away")),
        (Http, Some(500), None, true, Some("500")),
        (Http, Some(200), None, false, Some("cut")),
        (Http, None, None, false, Some("cut")),
        (Tcp, None, None, true, None),
        (Tcp, None, Some("tunnel-paused"), false, Some("tunnel-paused")),
        (Tcp, None, None, false, Some("cut")),
    ] {
        let mut record = record(kind);
        (record.status, record.code, record.is_whole) = (status, code, is_whole);
        let span = of_record(&record).unwrap();
        let said = said(&span).iter().find_map(|line| line.strip_prefix("error.type=").map(str::to_owned));
        assert_eq!(said.as_deref(), expected, "{kind:?} {status:?} {code:?}");
        assert_eq!(span.status.is_some(), expected.is_some());
    }
}

#[test]
fn what_isnt_traced_has_no_span() {
    let mut record = record(TunnelKind::Http);
    record.trace = None;
    assert_eq!(of_record(&record), None);
}
