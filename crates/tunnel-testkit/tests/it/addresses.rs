//! What one visitor address may do over all tunnels. Loopback isn't counted, so visitors come through a load balancer
//! (which says who they are) or a trusted proxy.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Duration, timeout},
};
use tunnel_server::{Config, Rate};
use tunnel_testkit::{Answer, Site, Upstream, Visitor, header};

use crate::support::{PATIENCE, port, until};

/// Two, and then one in a year.
const TWO: Rate = Rate { count: 2, per: Duration::from_secs(24 * 3600) };

fn site(change: impl FnOnce(&mut Config)) -> Site {
    let mut site = Site::new().unwrap();
    change(&mut site.config);
    site
}

fn behind_a_balancer(config: &mut Config) {
    config.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
}

fn behind_a_proxy(config: &mut Config) {
    config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
}

fn greeting(from: &str) -> String {
    format!("PROXY TCP4 {from} 198.51.100.1 4000 80\r\n")
}

fn request(host: &str, fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

async fn ask(web: SocketAddr, said: String) -> Answer {
    let mut visitor = Visitor::connect(web).await.unwrap();
    visitor.send(said).await.unwrap();
    timeout(PATIENCE, visitor.answer()).await.unwrap().unwrap()
}

fn seen(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, header(&answer.head, "tunnel-error"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_connects_so_often_on_all_ports_together() {
    let site = site(|config| {
        behind_a_balancer(config);
        config.limits.connection_rate_per_address = Some(TWO);
    });
    let server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let (hello, echo) = (Upstream::hello("one").await.unwrap(), Upstream::echo().await.unwrap());
    let _app = client.http().subdomain("app").forward(hello.target()).await.unwrap();
    let tcp = client.tcp().forward(echo.target()).await.unwrap();
    let by_tcp = async |from: &str| {
        let mut visitor = TcpStream::connect(("127.0.0.1", port(&tcp))).await.unwrap();
        visitor.write_all(format!("{}hello", greeting(from)).as_bytes()).await.unwrap();
        let mut heard = [0; 5];
        timeout(PATIENCE, visitor.read_exact(&mut heard)).await.expect("served or refused at once").is_ok()
    };
    let by_web = async |from: &str| {
        let said = greeting(from) + &request("app.test", "Connection: close\r\n");
        ask(site.web_address(), said).await
    };
    assert!(by_tcp("192.0.2.1").await);
    assert_eq!(by_web("192.0.2.1").await.status, 200);
    let refused = by_web("192.0.2.1").await;
    assert_eq!(seen(&refused), (429, Some("rate-limited")));
    assert_eq!(header(&refused.head, "retry-after"), Some("1"));
    assert!(!by_tcp("192.0.2.1").await);
    assert!(by_tcp("192.0.2.2").await, "one keeps no other out");

    let mut config = Config::clone(&server.handle.config());
    config.limits.connection_rate_per_address = None;
    server.handle.reconfigure(config).unwrap();
    assert!(by_tcp("192.0.2.1").await, "a running server goes by what it is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_asks_so_often_over_all_tunnels_also_from_behind_a_proxy() {
    let site = site(|config| {
        behind_a_proxy(config);
        config.limits.request_rate_per_address = Some(TWO);
    });
    let server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let hello = Upstream::hello("one").await.unwrap();
    let _app = client.http().subdomain("app").forward(hello.target()).await.unwrap();
    let _other = client.http().subdomain("other").forward(hello.target()).await.unwrap();
    let mut proxy = Visitor::connect(site.web_address()).await.unwrap();
    for (from, host, expected) in [
        ("192.0.2.1", "app.test", 200),
        ("2001:db8::1", "app.test", 200),
        ("192.0.2.1", "other.test", 200),
        ("192.0.2.1", "app.test", 429),
        ("2001:db8::2", "nobody.test", 404),
        ("2001:db8::3", "app.test", 429),
        ("192.0.2.2", "app.test", 200),
    ] {
        // On one connection all the while: a proxy's isn't closed for one of its visitors' sake.
        proxy.send(request(host, &format!("X-Forwarded-For: {from}\r\n"))).await.unwrap();
        let answer = timeout(PATIENCE, proxy.answer()).await.unwrap().unwrap();
        assert_eq!(answer.status, expected, "{from} {host}");
        assert_eq!(header(&answer.head, "retry-after").is_some(), expected == 429);
    }
    let refusals = server.handle.snapshot().refusals;
    assert_eq!(refusals.get("rate-limited"), Some(&2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_asks_too_often_loses_its_connection() {
    let site = site(|config| {
        behind_a_balancer(config);
        config.limits.request_rate_per_address = Some(TWO);
    });
    let _server = site.start(Vec::new()).unwrap();
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    visitor.send(greeting("192.0.2.1")).await.unwrap();
    for (expected, connection) in [(404, None), (404, None), (429, Some("close"))] {
        visitor.send(request("app.test", "")).await.unwrap();
        let answer = timeout(PATIENCE, visitor.answer()).await.unwrap().unwrap();
        assert_eq!((answer.status, header(&answer.head, "connection")), (expected, connection));
    }
    timeout(PATIENCE, visitor.rest()).await.expect("the connection ends").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_requests_under_way_websockets_included() {
    let site = site(|config| {
        behind_a_proxy(config);
        config.limits.requests_per_address = 2;
    });
    let server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = silent.local_addr().unwrap().to_string();
    let _app = client.http().subdomain("app").forward(target).await.unwrap();
    let from =
        |address: &str, more: &str| request("app.test", &format!("X-Forwarded-For: {address}\r\n{more}"));
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut socket = Visitor::connect(site.web_address()).await.unwrap();
    socket.send(from("192.0.2.1", upgrade)).await.unwrap();
    let (mut upstream, _) = timeout(PATIENCE, silent.accept()).await.unwrap().unwrap();
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    upstream.write_all(switched.as_bytes()).await.unwrap();
    let answer = timeout(PATIENCE, socket.answer()).await.unwrap().unwrap();
    assert_eq!(answer.status, 101);
    let mut waiting = Visitor::connect(site.web_address()).await.unwrap();
    waiting.send(from("192.0.2.1", "")).await.unwrap();
    let _held = timeout(PATIENCE, silent.accept()).await.unwrap().unwrap();

    let refused = ask(site.web_address(), from("192.0.2.1", "")).await;
    assert_eq!(seen(&refused), (503, Some("too-many-visitors")));
    let mut other = Visitor::connect(site.web_address()).await.unwrap();
    other.send(from("192.0.2.2", "")).await.unwrap();
    let _other = timeout(PATIENCE, silent.accept()).await.unwrap().unwrap();
    drop((socket, upstream));
    until(&server.handle, |now| now.tunnels.iter().all(|tunnel| tunnel.visitors <= 2)).await;
    let mut again = Visitor::connect(site.web_address()).await.unwrap();
    again.send(from("192.0.2.1", "")).await.unwrap();
    let _again = timeout(PATIENCE, silent.accept()).await.expect("a place is free again").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_who_wait_and_leaves_room_for_others() {
    let mut site = site(|config| {
        behind_a_proxy(config);
        config.limits.waiting_per_address = 3;
        config.limits.waiting = 5;
    });
    site.config.timeouts.hold = PATIENCE;
    let server = site.start(Vec::new()).unwrap();
    let token = site.token("one");
    let hello = Upstream::hello("one").await.unwrap();
    let client = site.client(&token).connect().await.unwrap();
    let app = client.http().subdomain("app").forward(hello.target()).await.unwrap();
    drop((app, client));
    until(&server.handle, |now| now.sessions.is_empty()).await;
    let from = |address: &str| request("app.test", &format!("X-Forwarded-For: {address}\r\n"));
    let mut visitors = JoinSet::new();
    for visitor in ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.1"] {
        visitors.spawn(ask(site.web_address(), from(visitor)));
    }
    let refused = timeout(PATIENCE, visitors.join_next()).await.expect("one too many").unwrap().unwrap();
    assert_eq!(seen(&refused), (503, Some("tunnel-away")));
    visitors.spawn(ask(site.web_address(), from("192.0.2.2")));
    until(&server.handle, |now| now.tunnels.iter().any(|tunnel| tunnel.visitors == 4)).await;
    let client = site.client(&token).connect().await.unwrap();
    let _app = client.http().subdomain("app").forward(hello.target()).await.unwrap();
    for answer in visitors.join_all().await {
        assert_eq!(answer.status, 200);
    }
}
