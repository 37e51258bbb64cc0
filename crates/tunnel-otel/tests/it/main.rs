//! A server, a client, visitors and a receiver of spans that decodes what it is sent.
#![expect(clippy::unwrap_used, reason = "in tests the failure is the message")]

mod receiver;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tunnel_otel::{Exporter, Settings, message::Span};
use tunnel_testkit::{Site, Upstream, Visitor, header};

use self::receiver::{Receiver, Reply, value};

const ALL: Option<u32> = Some(1_000_000);
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn site(traces: Option<u32>) -> Site {
    let mut site = Site::new().unwrap();
    site.config.traces = traces;
    site.config.tcp_ports = Some(20_000..=29_999);
    site
}

fn settings(receiver: &Receiver) -> Settings {
    let mut settings = Settings::new(receiver.url().parse().unwrap());
    settings.headers = "authorization=Bearer%20abc".parse().unwrap();
    settings.attributes = "deployment.environment.name=staging,service.name=theirs".parse().unwrap();
    settings.service = "edge".into();
    settings
}

/// Answers each request with the trace fields that it was told.
async fn telling() -> Upstream {
    Upstream::raw_http(|head| {
        let told = |name| header(head, name).unwrap_or("-").to_owned();
        let body = format!("{} {} {}", told("traceparent"), told("tracestate"), told("x-request-id"));
        Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
    })
    .await
    .unwrap()
}

async fn ask(site: &Site, fields: &str) -> Vec<String> {
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    visitor.send(format!("GET /a?b=1 HTTP/1.1\r\nHost: app.test\r\n{fields}\r\n")).await.unwrap();
    let body = String::from_utf8(visitor.answer().await.unwrap().body).unwrap();
    body.split(' ').map(str::to_owned).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitors_trace_goes_through_us_to_the_upstream() {
    let mut receiver = Receiver::start(|_| Reply::TAKEN).await;
    let site = site(ALL);
    let server = site.start(Vec::new()).unwrap();
    let exporter = Exporter::begin(settings(&receiver), &server.handle).unwrap();
    let client = site.client(&site.token("alice")).connect().await.unwrap();
    let upstream = telling().await;
    let tunnel = client.http().subdomain("app").forward(upstream.target()).await.unwrap();

    let with_parent = ask(&site, &format!("traceparent: {PARENT}\r\ntracestate: a=1\r\n")).await;
    let alone = ask(&site, "tracestate: a=1\r\n").await;
    Visitor::get(site.web_address(), "nobody.test", "/").await.unwrap();
    drop(tunnel);
    client.close().await;
    server.drain().await;
    exporter.end().await;

    let sent = receiver.rest().await;
    assert_eq!(header(&sent[0].head, "authorization"), Some("Bearer abc"));
    assert_eq!(header(&sent[0].head, "content-type"), Some("application/x-protobuf"));
    let resource = sent[0].request.resource_spans[0].resource.clone().unwrap().attributes;
    assert_eq!(value(&resource, "service.name").as_deref(), Some("edge"));
    assert_eq!(value(&resource, "deployment.environment.name").as_deref(), Some("staging"));
    assert_eq!(value(&resource, "tunnel.domain").as_deref(), Some("test"));

    let spans: Vec<Span> = sent.iter().flat_map(receiver::Sent::spans).collect();
    let [first, second, lost] = named(&spans, "GET")[..] else { panic!("{spans:?}") };
    assert_eq!(hex(&first.trace_id), PARENT[3..35]);
    assert_eq!(hex(&first.parent_span_id), PARENT[36..52]);
    let told = format!("00-{}-{}-01", hex(&first.trace_id), hex(&first.span_id));
    assert_eq!(with_parent[..2], [told, "a=1".to_owned()], "the upstream is a part of ours");
    let told = format!("00-{}-{}-01", hex(&second.trace_id), hex(&second.span_id));
    assert_eq!(alone, [told, "-".to_owned(), hex(&second.trace_id)], "the trace has the request's number");
    assert!(second.parent_span_id.is_empty());
    for (key, expected) in [
        ("http.request.method", "GET"),
        ("url.path", "/a"),
        ("url.query", "b=1"),
        ("url.scheme", "http"),
        ("server.address", "app.test"),
        ("client.address", "127.0.0.1"),
        ("http.response.status_code", "200"),
        ("tunnel.kind", "http"),
    ] {
        assert_eq!(value(&first.attributes, key).as_deref(), Some(expected), "{key}");
    }
    for key in ["tunnel.queue_ms", "tunnel.first_byte_ms", "tunnel.url"] {
        assert!(value(&first.attributes, key).is_some(), "{key}");
    }
    assert!(first.start_time_unix_nano < first.end_time_unix_nano);
    assert_eq!(value(&lost.attributes, "tunnel.code").as_deref(), Some("tunnel-not-found"));
    assert_eq!(value(&lost.attributes, "error.type"), None, "the visitor's mistake is no fault");

    let [session] = named(&spans, "session")[..] else { panic!("{spans:?}") };
    assert_eq!(value(&session.attributes, "tunnel.token").as_deref(), Some("alice"));
    assert!(value(&session.attributes, "tunnel.reason").is_some());
    assert_eq!(session.events.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_spans_too() {
    let mut receiver = Receiver::start(|_| Reply::TAKEN).await;
    let site = site(ALL);
    let server = site.start(Vec::new()).unwrap();
    let exporter = Exporter::begin(settings(&receiver), &server.handle).unwrap();
    let client = site.client(&site.token("alice")).connect().await.unwrap();
    let upstream = Upstream::echo().await.unwrap();
    let tunnel = client.tcp().forward(upstream.target()).await.unwrap();
    let port: u16 = tunnel.url().rsplit_once(':').unwrap().1.parse().unwrap();
    let mut visitor = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    visitor.write_all(b"hello").await.unwrap();
    visitor.shutdown().await.unwrap();
    visitor.read_to_end(&mut Vec::new()).await.unwrap();
    drop(tunnel);
    client.close().await;
    server.drain().await;
    exporter.end().await;
    let spans = receiver.spans().await;
    let [span] = named(&spans, "tcp")[..] else { panic!("{spans:?}") };
    for (key, expected) in [
        ("server.port", port.to_string()),
        ("network.transport", "tcp".to_owned()),
        ("tunnel.bytes_in", "5".to_owned()),
        ("tunnel.bytes_out", "5".to_owned()),
        ("tunnel.whole", "true".to_owned()),
    ] {
        assert_eq!(value(&span.attributes, key), Some(expected), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_isnt_traced_crosses_as_it_came() {
    let mut receiver = Receiver::start(|_| Reply::TAKEN).await;
    for (traces, listens) in [(None, true), (Some(0), true), (ALL, false)] {
        let site = site(traces);
        let server = site.start(Vec::new()).unwrap();
        let exporter = listens.then(|| Exporter::begin(settings(&receiver), &server.handle).unwrap());
        let client = site.client(&site.token("alice")).connect().await.unwrap();
        let upstream = telling().await;
        let tunnel = client.http().subdomain("app").forward(upstream.target()).await.unwrap();
        let told = ask(&site, &format!("traceparent: {PARENT}\r\ntracestate: a=1\r\n")).await;
        assert_eq!(told[..2], [PARENT, "a=1"], "{traces:?}");
        assert_eq!(ask(&site, "").await[..2], ["-", "-"], "{traces:?}");
        drop(tunnel);
        client.close().await;
        server.drain().await;
        if let Some(exporter) = exporter {
            exporter.end().await;
        }
    }
    let spans = receiver.spans().await;
    assert!(named(&spans, "GET").is_empty(), "{spans:?}");
    assert_eq!(named(&spans, "session").len(), 2, "sessions are few, and always told of");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_away_for_a_moment_gets_all() {
    let mut receiver = Receiver::start(|asked| match asked {
        0 => Reply { status: "503 Service Unavailable", fields: "Retry-After: 0\r\n", closes: false },
        1 => Reply { status: "429 Too Many Requests", fields: "Retry-After: 0\r\n", closes: true },
        _ => Reply { closes: true, ..Reply::TAKEN },
    })
    .await;
    let site = site(ALL);
    let server = site.start(Vec::new()).unwrap();
    let exporter = Exporter::begin(settings(&receiver), &server.handle).unwrap();
    for expected in [3, 1] {
        Visitor::get(site.web_address(), "nobody.test", "/").await.unwrap();
        for _ in 0..expected {
            let sent = receiver.next().await;
            assert_eq!(named(&sent.spans(), "GET").len(), 1);
        }
    }
    server.drain().await;
    exporter.end().await;
    assert!(receiver.spans().await.is_empty(), "nothing was sent that was taken before");
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_dont_wait_for_a_receiver_that_hangs_and_neither_does_the_end() {
    let silent = Upstream::silent().await.unwrap();
    let site = site(ALL);
    let server = site.start(Vec::new()).unwrap();
    let endpoint = format!("http://{}", silent.target()).parse().unwrap();
    let exporter = Exporter::begin(Settings::new(endpoint), &server.handle).unwrap();
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    // More than the queue holds.
    for _ in 0..5000 {
        visitor.send("GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n").await.unwrap();
        assert_eq!(visitor.answer().await.unwrap().status, 404);
    }
    drop(visitor);
    server.drain().await;
    // Three seconds; only a hang gets to the minute.
    tokio::time::timeout(Duration::from_secs(60), exporter.end()).await.unwrap();
}

#[test]
fn a_field_that_cant_be_sent_is_named_and_its_value_is_not() {
    let mut settings = Settings::new("http://localhost:4318".parse().unwrap());
    settings.headers = "x-key=secret%0A".parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let server = Site::new().unwrap().start(Vec::new()).unwrap();
    let error = Exporter::begin(settings, &server.handle).unwrap_err().to_string();
    assert!(error.contains("x-key") && !error.contains("secret"), "{error}");
}
