//! What the server counts and records: to the byte, for every kind of visitor, and also of what broke off.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::broadcast::Receiver,
    time::timeout,
};
use tunnel_client::Client;
use tunnel_protocol::Token;
use tunnel_server::{RequestRecord, ServerHandle, Traffic, TunnelInfo, TunnelKind, UpstreamState, Usage};
use tunnel_testkit::{Site, TestServer, Upstream, Visitor, find_head_end, header};

use crate::support::{PATIENCE, port, until};

/// Both ways, as an upstream saw them.
#[derive(Debug, Default)]
struct Seen {
    read: AtomicU64,
    wrote: AtomicU64,
}

impl Seen {
    fn both(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.wrote.load(Ordering::Relaxed))
    }
}

struct Bench {
    site: Site,
    server: TestServer,
    token: Token,
    client: Client,
}

async fn bench() -> Bench {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let token = site.token("one");
    let client = site.client(&token).connect().await.unwrap();
    Bench { site, server, token, client }
}

/// A web service that counts every byte of its connections. `/long` is answered with less than was promised, and a
/// request with a body by that body.
async fn counting_web(seen: Arc<Seen>) -> Upstream {
    Upstream::start(move |mut stream| {
        let seen = seen.clone();
        async move {
            let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
            loop {
                let head_end = loop {
                    if let Some(end) = find_head_end(&bytes) {
                        break end;
                    }
                    match stream.read(&mut chunk).await {
                        Ok(n @ 1..) => {
                            seen.read.fetch_add(n as u64, Ordering::Relaxed);
                            bytes.extend_from_slice(&chunk[..n]);
                        }
                        _ => return,
                    }
                };
                let head: Vec<u8> = bytes.drain(..head_end).collect();
                let head = String::from_utf8(head).unwrap();
                let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
                while bytes.len() < length {
                    let n = stream.read(&mut chunk).await.unwrap();
                    seen.read.fetch_add(n as u64, Ordering::Relaxed);
                    bytes.extend_from_slice(&chunk[..n]);
                }
                let body: Vec<u8> = bytes.drain(..length).collect();
                let is_long = head.starts_with("GET /long");
                let promised = if is_long { 1_000_000 } else { body.len() };
                let status = if head.starts_with("GET /missing") { "404 Not Found" } else { "200 OK" };
                let mut answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {promised}\r\n\r\n").into_bytes();
                answer.extend_from_slice(&body);
                if is_long {
                    answer.extend_from_slice(&[b'x'; 1000]);
                }
                stream.write_all(&answer).await.unwrap();
                seen.wrote.fetch_add(answer.len() as u64, Ordering::Relaxed);
            }
        }
    })
    .await
    .unwrap()
}

fn only(server: &ServerHandle) -> TunnelInfo {
    server.snapshot().tunnels.remove(0)
}

async fn traffic(server: &ServerHandle, wish: impl Fn(&Traffic) -> bool) -> Traffic {
    until(server, |now| wish(&now.tunnels[0].traffic)).await.tunnels.remove(0).traffic
}

async fn next(records: &mut Receiver<Arc<RequestRecord>>) -> Arc<RequestRecord> {
    timeout(PATIENCE, records.recv()).await.expect("a record in time").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn web_requests_are_counted_to_the_byte_and_outlive_a_reconnect() {
    let Bench { site, server, token, client } = bench().await;
    let server = &server.handle;
    let seen = Arc::<Seen>::default();
    let upstream = counting_web(seen.clone()).await;
    let tunnel = client.http().subdomain("app").forward(upstream.target()).await.unwrap();
    let info = only(server);
    assert_eq!((info.kind, info.token, info.paused), (TunnelKind::Http, token.id(), false));
    assert_eq!((info.traffic.requests, info.members[0].upstream_state), (0, UpstreamState::Unknown));

    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    for request in [
        "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello",
        "GET /missing HTTP/1.1\r\nHost: app.test\r\n\r\n",
    ] {
        visitor.send(request).await.unwrap();
        visitor.answer().await.unwrap();
    }
    let before = traffic(server, |now| (now.bytes_in, now.bytes_out) == seen.both()).await;
    assert_eq!((before.requests, before.answers), (3, [0, 2, 0, 1, 0]));
    assert!(before.last_visit.unwrap() <= SystemTime::now());
    assert!(matches!(only(server).members[0].upstream_state, UpstreamState::Ok { .. }));

    drop((tunnel, visitor));
    client.close().await;
    let client = site.client(&token).connect().await.unwrap();
    let _tunnel = client.http().subdomain("app").forward(upstream.target()).await.unwrap();
    Visitor::get(site.web_address(), "app.test", "/").await.unwrap();
    let after = traffic(server, |now| (now.bytes_in, now.bytes_out) == seen.both()).await;
    assert_eq!((after.requests, after.answers), (4, [0, 3, 0, 1, 0]), "they belong to the name");

    let expected = |usage: &Usage| {
        let Usage { requests, connections, bytes_in, bytes_out } = *usage;
        (requests, connections, (bytes_in, bytes_out)) == (4, 0, seen.both())
    };
    assert!(matches!(&server.usage()[..], [(id, usage)] if *id == token.id() && expected(usage)));
    assert!(matches!(&server.take_usage()[..], [(_, usage)] if expected(usage)));
    assert!(server.take_usage().is_empty(), "it was taken");
    let totals = server.totals();
    assert_eq!((totals.requests, totals.answers, totals.visitors), (4, [0, 3, 0, 1, 0], 0));
    assert!(totals.visitor_tasks > 0, "what looks after idle streams is no visitor");
    assert_eq!((totals.bytes_in, totals.bytes_out), seen.both());
    assert_eq!((totals.sessions, totals.tunnels, totals.is_draining), (1, 1, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_counted_to_the_byte_also_when_they_break_off() {
    let Bench { server, client, .. } = bench().await;
    let server = &server.handle;
    let upstream = Upstream::sends_then_resets(b"half an answer").await.unwrap();
    let tunnel = client.tcp().forward(upstream.target()).await.unwrap();
    let mut records = server.requests();
    let mut visitor = TcpStream::connect(("127.0.0.1", port(&tunnel))).await.unwrap();
    let address = visitor.local_addr().unwrap();
    visitor.write_all(b"?").await.unwrap();
    let mut answer = [0; 14];
    visitor.read_exact(&mut answer).await.unwrap();
    visitor.write_all(b"!!").await.unwrap();
    assert!(visitor.read(&mut answer).await.is_err());

    let record = next(&mut records).await;
    assert_eq!((record.kind, record.visitor, record.is_whole), (TunnelKind::Tcp, address, false));
    assert_eq!((record.bytes_in, record.bytes_out), (3, 14));
    assert_eq!((record.tunnel.as_deref(), record.code), (Some(&*tunnel.url()), Some("upstream-broken")));
    let (queued, first_byte) = (record.queued.unwrap(), record.first_byte.unwrap());
    assert!(queued <= first_byte && first_byte <= record.total, "{record:?}");
    let Traffic { connections, requests, bytes_in, bytes_out, refusals, .. } = only(server).traffic;
    assert_eq!((connections, requests, bytes_in, bytes_out), (1, 0, 3, 14));
    assert_eq!(refusals.get("upstream-broken"), Some(&1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_says_what_was_asked_and_what_became_of_it() {
    let Bench { site, server, token, client } = bench().await;
    let upstream = counting_web(Arc::default()).await;
    let tunnel = client.http().subdomain("app").forward(upstream.target()).await.unwrap();
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    visitor.send("GET /unheard HTTP/1.1\r\nHost: app.test\r\n\r\n").await.unwrap();
    visitor.answer().await.unwrap();

    let mut records = server.handle.requests_in_full();
    visitor
        .send(
            "POST /a?b=c HTTP/1.1\r\nHost: app.test\r\nUser-Agent: tests/1\r\nReferer: http://elsewhere/\r\n\
             Content-Length: 5\r\n\r\nhello",
        )
        .await
        .unwrap();
    visitor.answer().await.unwrap();
    let record = next(&mut records).await;
    let request = record.request.as_ref().unwrap();
    assert_eq!(
        (request.version, &*request.method, &*request.host, &*request.path),
        ("HTTP/1.1", "POST", "app.test", "/a?b=c"),
        "the first is the first that anybody listened to"
    );
    assert_eq!(request.user_agent.as_deref(), Some("tests/1"));
    assert_eq!(request.referer.as_deref(), Some("http://elsewhere/"));
    assert_eq!((record.status, record.code, record.is_whole), (Some(200), None, true));
    assert_eq!((record.bytes_in, record.bytes_out), (5, 5), "of the bodies");
    assert_eq!((record.tunnel.as_deref(), record.token), (Some(&*tunnel.url()), Some(token.id())));
    assert!(record.queued.is_some() && record.first_byte.is_some());

    visitor.send("GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n").await.unwrap();
    let page = visitor.answer().await.unwrap();
    let record = next(&mut records).await;
    assert_eq!((record.status, record.code), (Some(404), Some("tunnel-not-found")));
    assert_eq!((record.tunnel.as_ref(), record.queued), (None, None));
    assert_eq!((record.bytes_out, record.is_whole), (page.body.len() as u64, true));

    visitor.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await.unwrap();
    visitor.answer().await.unwrap();
    let record = next(&mut records).await;
    assert_eq!((record.status, record.code), (Some(400), Some("bad-request")));
    assert!(record.request.is_none(), "nobody knows what it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_that_breaks_off_leaves_a_record() {
    let Bench { site, server, client, .. } = bench().await;
    let upstream = counting_web(Arc::default()).await;
    let _tunnel = client.http().subdomain("app").forward(upstream.target()).await.unwrap();
    let silent = Upstream::silent().await.unwrap();
    let _silent = client.http().subdomain("silent").forward(silent.target()).await.unwrap();
    let mut records = server.handle.requests();

    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    visitor.send("GET /long HTTP/1.1\r\nHost: app.test\r\n\r\n").await.unwrap();
    visitor.head().await.unwrap();
    visitor.exactly(1000).await.unwrap();
    drop(visitor);
    let record = next(&mut records).await;
    assert_eq!((record.status, record.bytes_out, record.is_whole), (Some(200), 1000, false));

    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    visitor.send("GET / HTTP/1.1\r\nHost: silent.test\r\n\r\n").await.unwrap();
    // The visitor before may still be seen at the other tunnel.
    let is_there = |tunnel: &TunnelInfo| tunnel.url.contains("silent") && tunnel.visitors == 1;
    until(&server.handle, |now| now.tunnels.iter().any(is_there)).await;
    drop(visitor);
    let record = next(&mut records).await;
    assert_eq!((record.status, record.code, record.is_whole), (None, None, false));
    until(&server.handle, |now| now.tunnels.iter().all(|tunnel| tunnel.visitors == 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_a_stream_of_bytes_is_one_record_until_its_end() {
    let Bench { site, server, client, .. } = bench().await;
    let upstream = Upstream::start(|mut stream| async move {
        let mut bytes = Vec::new();
        while find_head_end(&bytes).is_none() {
            stream.read_buf(&mut bytes).await.unwrap();
        }
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    })
    .await
    .unwrap();
    let tunnel = client.http().subdomain("app").forward(upstream.target()).await.unwrap();
    let mut records = server.handle.requests();
    for is_cut in [false, true] {
        let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
        visitor
            .send("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            .await
            .unwrap();
        visitor.head().await.unwrap();
        visitor.send("hello").await.unwrap();
        visitor.exactly(5).await.unwrap();
        assert!(records.try_recv().is_err(), "it goes on");
        if is_cut {
            server.handle.close_tunnel(&tunnel.url(), "").unwrap();
        } else {
            visitor.stream().shutdown().await.unwrap();
        }
        let record = next(&mut records).await;
        assert_eq!((record.status, record.is_upgraded, record.is_whole), (Some(101), true, !is_cut));
        assert_eq!((record.bytes_in, record.bytes_out), (5, 5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_http2_are_counted_one_by_one_and_resets_as_cut() {
    let Bench { site, server, client, .. } = bench().await;
    let seen = Arc::<Seen>::default();
    let upstream = counting_web(seen.clone()).await;
    let _tunnel = client.http().subdomain("app").forward(upstream.target()).await.unwrap();
    let mut records = server.handle.requests();
    let socket = TcpStream::connect(site.web_address()).await.unwrap();
    let (mut visitor, connection) = h2::client::handshake(socket).await.unwrap();
    let _moving = tokio::spawn(connection);
    let mut ask = async |method: &str, path: &str, body: Option<&'static [u8]>| {
        poll_fn(|cx| visitor.poll_ready(cx)).await.unwrap();
        let request = http::Request::builder().method(method).uri(format!("http://app.test{path}"));
        let request = request.header("content-length", body.map_or(0, <[u8]>::len));
        let (answer, mut to) = visitor.send_request(request.body(()).unwrap(), body.is_none()).unwrap();
        if let Some(body) = body {
            to.send_data(bytes::Bytes::from_static(body), true).unwrap();
        }
        timeout(PATIENCE, answer).await.unwrap().unwrap().into_body()
    };
    let mut body = ask("POST", "/", Some(b"hello")).await;
    assert_eq!(body.data().await.unwrap().unwrap(), "hello");
    let record = next(&mut records).await;
    let request = record.request.as_ref().unwrap();
    assert_eq!((request.version, &*request.method, &*request.host), ("HTTP/2.0", "POST", "app.test"));
    assert_eq!((record.bytes_in, record.bytes_out, record.is_whole), (5, 5, true));

    let mut long = ask("GET", "/long", None).await;
    let mut left = 1000;
    while left > 0 {
        left -= timeout(PATIENCE, long.data()).await.unwrap().unwrap().unwrap().len();
    }
    drop(long);
    let record = next(&mut records).await;
    assert_eq!((record.status, record.bytes_out, record.is_whole), (Some(200), 1000, false));
    let now = traffic(&server.handle, |now| now.cut == 1).await;
    assert_eq!((now.requests, now.answers, (now.bytes_in, now.bytes_out)), (2, [0, 2, 0, 0, 0], seen.both()));
    assert_eq!(server.handle.totals().cut, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_are_counted_by_what_is_in_them_and_a_flow_is_one_record() {
    let mut site = Site::new().unwrap();
    site.config.timeouts.udp_idle = Duration::from_millis(300);
    let server = site.start(Vec::new()).unwrap();
    let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let tunnel = client.udp().forward(upstream.local_addr().unwrap()).await.unwrap();
    let mut records = server.handle.requests();
    let visitor = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    visitor.connect(("127.0.0.1", port(&tunnel))).await.unwrap();
    visitor.send(b"hello").await.unwrap();
    let mut datagram = [0; 64];
    let (length, from) = timeout(PATIENCE, upstream.recv_from(&mut datagram)).await.unwrap().unwrap();
    assert_eq!(&datagram[..length], b"hello");
    upstream.send_to(b"and so on", from).await.unwrap();
    timeout(PATIENCE, visitor.recv(&mut datagram)).await.unwrap().unwrap();
    let record = next(&mut records).await;
    assert_eq!((record.kind, record.bytes_in, record.bytes_out), (TunnelKind::Udp, 5, 9));
    assert_eq!((record.visitor, record.is_whole), (visitor.local_addr().unwrap(), true));
    let Traffic { connections, bytes_in, bytes_out, .. } = only(&server.handle).traffic;
    assert_eq!((connections, bytes_in, bytes_out), (1, 5, 9));
}
