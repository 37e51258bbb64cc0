//! What a tunnel's policies do to visitors, and that nothing of those who are refused reaches the upstream.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tunnel_client::{Event, FieldEdit, HostHeader, Policies};
use tunnel_protocol::InstanceId;
use tunnel_testkit::{Answer, Site, Upstream, Visitor, header};

use crate::support::{PATIENCE, port, until};

/// `ann:s3cret`
const LOGIN: &str = "Authorization: Basic YW5uOnMzY3JldA==\r\n";

/// An upstream that says what it was asked, and how often.
async fn counting() -> (Upstream, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let upstream = Upstream::raw_http(move |head| {
        counter.fetch_add(1, Ordering::SeqCst);
        let length = head.len();
        Some(
            format!("HTTP/1.1 200 OK\r\nServer: secret/1\r\nContent-Length: {length}\r\n\r\n{head}")
                .into_bytes(),
        )
    });
    (upstream.await.unwrap(), count)
}

/// One request on a connection of its own; `fields` end with a line break each.
async fn ask(site: &Site, fields: impl AsRef<[u8]>) -> Answer {
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    let (before, after) = (b"GET /x HTTP/1.1\r\nHost: myapp.test\r\n", b"Connection: close\r\n\r\n");
    visitor.send([&before[..], fields.as_ref(), after].concat()).await.unwrap();
    tokio::time::timeout(PATIENCE, visitor.answer()).await.unwrap().unwrap()
}

fn code(answer: &Answer) -> (u16, &str) {
    (answer.status, header(&answer.head, "tunnel-error").unwrap_or(""))
}

fn seen(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_asked_for_and_not_passed_on() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let (upstream, count) = counting().await;
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let policies = Policies::new().basic_auth("bo:other").unwrap().basic_auth("ann:s3cret").unwrap();
    let _tunnel =
        client.http().subdomain("myapp").policies(policies).forward(upstream.target()).await.unwrap();
    for fields in ["", "Authorization: Basic YW5uOndyb25n\r\n", "Authorization: Bearer s3cret\r\n"] {
        let answer = ask(&site, fields).await;
        assert_eq!(code(&answer), (401, "auth-required"), "{fields}");
        let challenge = header(&answer.head, "www-authenticate").unwrap();
        assert_eq!(challenge, "Basic realm=\"myapp.test\", charset=\"UTF-8\"");
    }
    // A WebSocket is a request like any other.
    let upgrade =
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: myapp.test\r\n{upgrade}Connection: upgrade\r\n\r\n");
    visitor.send(request).await.unwrap();
    assert!(visitor.head().await.unwrap().starts_with("HTTP/1.1 401 "));
    assert_eq!(count.load(Ordering::SeqCst), 0, "nothing reached the upstream");
    let answer = ask(&site, LOGIN).await;
    assert_eq!(answer.status, 200);
    assert!(!seen(&answer).to_lowercase().contains("authorization"), "{}", seen(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_refused_before_the_upstream_and_behind_a_proxy_by_what_it_says() {
    let mut site = Site::new().unwrap();
    site.config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let _server = site.start(Vec::new()).unwrap();
    let (upstream, count) = counting().await;
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let policies = Policies::new().allow_network("192.0.2.0/24").unwrap().deny_network("192.0.2.13").unwrap();
    let _tunnel =
        client.http().subdomain("myapp").policies(policies).forward(upstream.target()).await.unwrap();
    for (forwarded, status) in [
        ("", 403),
        ("X-Forwarded-For: 203.0.113.1\r\n", 403),
        ("X-Forwarded-For: 192.0.2.13\r\n", 403),
        ("X-Forwarded-For: 192.0.2.1, 203.0.113.1\r\n", 403),
        ("X-Forwarded-For: 203.0.113.1, 192.0.2.1\r\n", 200),
        ("X-Forwarded-For: ::ffff:192.0.2.1, 127.0.0.9\r\n", 200),
    ] {
        let before = count.load(Ordering::SeqCst);
        let answer = ask(&site, forwarded).await;
        assert_eq!(answer.status, status, "{forwarded}");
        assert_eq!(count.load(Ordering::SeqCst) - before, usize::from(status == 200));
        assert_eq!(code(&answer).1 == "address-not-allowed", status == 403);
    }
    // What is no text in the visitor's own part hides nothing of what the proxy added to it.
    assert_eq!(ask(&site, b"X-Forwarded-For: \xff, 192.0.2.1\r\n").await.status, 200);
    assert_eq!(ask(&site, b"X-Forwarded-For: \xff, 192.0.2.13\r\n").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_per_address_and_over_a_reconnect() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let (upstream, count) = counting().await;
    let token = site.token("one");
    let policies = || Policies::new().rate_limit(3, Duration::from_secs(3600)).unwrap();
    for asked in [2, 1] {
        let client = site.client(&token).instance(InstanceId([1; 16])).connect().await.unwrap();
        let tunnel = client.http().subdomain("myapp").policies(policies()).forward(upstream.target());
        let tunnel = tunnel.await.unwrap();
        for _ in 0..asked {
            assert_eq!(ask(&site, "").await.status, 200);
        }
        drop((tunnel, client));
        until(&server.handle, |now| now.sessions.is_empty()).await;
    }
    let client = site.client(&token).instance(InstanceId([1; 16])).connect().await.unwrap();
    let tunnel = client.http().subdomain("myapp").policies(policies()).forward(upstream.target());
    let _tunnel = tunnel.await.unwrap();
    let answer = ask(&site, "").await;
    assert_eq!(code(&answer), (429, "rate-limited"));
    let wait: u64 = header(&answer.head, "retry-after").unwrap().parse().unwrap();
    assert!((1..=1200).contains(&wait), "{wait}");
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_client_is_away_its_policies_are_not() {
    let mut site = Site::new().unwrap();
    site.config.timeouts.hold = PATIENCE;
    let server = site.start(Vec::new()).unwrap();
    let (upstream, count) = counting().await;
    let token = site.token("one");
    let start = |policies: Policies| {
        let builder = site.client(&token).instance(InstanceId([1; 16]));
        let target = upstream.target();
        async move {
            let client = builder.connect().await.unwrap();
            let tunnel = client.http().subdomain("myapp").policies(policies).forward(target).await.unwrap();
            (client, tunnel)
        }
    };
    let login = || Policies::new().basic_auth("ann:s3cret").unwrap();
    drop(start(login()).await);
    until(&server.handle, |now| now.sessions.is_empty()).await;
    assert_eq!(code(&ask(&site, "").await), (401, "auth-required"), "at once, without a client");

    // Who waits is let in by what the client wants when it is back.
    let waits = |fields: &'static str| {
        let site = site.clone();
        tokio::spawn(async move { ask(&site, fields).await })
    };
    let waiting = waits(LOGIN);
    until(&server.handle, |now| now.tunnels[0].visitors == 1).await;
    let stricter = start(login().deny_network("127.0.0.0/8").unwrap()).await;
    assert_eq!(code(&waiting.await.unwrap()), (403, "address-not-allowed"));
    drop(stricter);
    until(&server.handle, |now| now.sessions.is_empty()).await;
    drop(start(login()).await);
    until(&server.handle, |now| now.sessions.is_empty()).await;
    let waiting = waits(LOGIN);
    until(&server.handle, |now| now.tunnels[0].visitors == 1).await;
    assert_eq!(count.load(Ordering::SeqCst), 0);
    let _back = start(login()).await;
    assert_eq!(waiting.await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_set_and_removed_both_ways() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let (upstream, _count) = counting().await;
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let policies = [Policies::new()
        .basic_auth("ann:s3cret")
        .and_then(|policies| policies.request_header(FieldEdit::set("Authorization", "Bearer up").unwrap()))
        .and_then(|policies| policies.request_header(FieldEdit::remove("X-Debug").unwrap()))
        .and_then(|policies| policies.response_header(FieldEdit::remove("Server").unwrap()))
        .and_then(|policies| policies.response_header(FieldEdit::set("X-Robots-Tag", "none").unwrap()))];
    let [policies] = policies.map(Result::unwrap);
    let _tunnel =
        client.http().subdomain("myapp").policies(policies).forward(upstream.target()).await.unwrap();
    let answer = ask(&site, &format!("{LOGIN}X-Debug: 1\r\nx-debug: 2\r\nX-Keep: 3\r\n")).await;
    let request = seen(&answer);
    assert_eq!(header(&request, "authorization"), Some("Bearer up"));
    assert_eq!((header(&request, "x-debug"), header(&request, "x-keep")), (None, Some("3")));
    assert_eq!((header(&answer.head, "server"), header(&answer.head, "x-robots-tag")), (None, Some("none")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_asked_by_its_own_name_never_hears_of_the_public_one() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::raw_http(|head| {
        let own = header(head, "host")?.to_owned();
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{own}/login\r\nSet-Cookie: a=1; Domain=127.0.0.1\r\n\
             Access-Control-Allow-Origin: {}\r\nContent-Length: {}\r\n\r\n{head}",
            header(head, "origin").unwrap_or("none"),
            head.len()
        );
        Some(answer.into_bytes())
    });
    let upstream = upstream.await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let policies = Policies::new().host_header(HostHeader::Upstream).unwrap();
    let _tunnel =
        client.http().subdomain("myapp").policies(policies).forward(upstream.target()).await.unwrap();
    let answer = ask(&site, "Origin: http://myapp.test\r\nReferer: http://myapp.test/y\r\n").await;
    let request = seen(&answer);
    assert_eq!(header(&request, "host"), Some(upstream.target().as_str()));
    assert!(!request.contains("myapp.test"), "{request}");
    assert_eq!(header(&answer.head, "location"), Some("http://myapp.test/login"));
    assert_eq!(header(&answer.head, "set-cookie"), Some("a=1; Domain=myapp.test"));
    assert_eq!(header(&answer.head, "access-control-allow-origin"), Some("http://myapp.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_development_server_that_refuses_the_host_is_explained_to_both_ends() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let upstream = Upstream::raw_http(|head| {
        let host = header(head, "host")?;
        let (status, body) = if host.starts_with("127.0.0.1") {
            ("200 OK", "hello".to_owned())
        } else {
            ("403 Forbidden", format!("Blocked request. This host (\"{host}\") is not allowed.\n"))
        };
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
        Some((head + &body).into_bytes())
    });
    let upstream = upstream.await.unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let mut events = client.events();
    let tunnel = client.http().subdomain("myapp").forward(upstream.target()).await.unwrap();
    for _ in 0..2 {
        let answer = ask(&site, "").await;
        assert_eq!(code(&answer), (403, "upstream-host-refused"));
        assert!(seen(&answer).contains("--host-header rewrite"), "{}", seen(&answer));
    }
    let hinted = async {
        loop {
            match events.next().await.unwrap() {
                Event::Hint { message, .. } => return message,
                Event::Request(report) => panic!("nobody asked for {report:?}"),
                _ => {}
            }
        }
    };
    let hint = tokio::time::timeout(PATIENCE, hinted).await.unwrap();
    assert!(hint.contains("Vite") && hint.contains("server.allowedHosts"), "{hint}");
    drop(tunnel);
    let cured = Policies::new().host_header(HostHeader::Upstream).unwrap();
    let _tunnel = client.http().subdomain("myapp").policies(cured).forward(upstream.target()).await.unwrap();
    assert_eq!(seen(&ask(&site, "").await), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_datagrams_are_refused_by_address_and_rate() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let upstream = Upstream::speaks_first(b"hello").await.unwrap();
    let once = || Policies::new().rate_limit(1, Duration::from_secs(3600)).unwrap();
    let tunnel = client.tcp().policies(once()).forward(upstream.target()).await.unwrap();
    let address = ([127, 0, 0, 1], port(&tunnel)).into();
    let mut first = Visitor::connect(address).await.unwrap();
    assert_eq!(first.exactly(5).await.unwrap(), b"hello");
    let refused = async {
        // The system may take the connection before the server resets it.
        Visitor::connect(address).await?.rest().await
    };
    assert!(tokio::time::timeout(PATIENCE, refused).await.unwrap().is_err());
    first.send("still here").await.unwrap();
    assert_eq!(first.exactly(10).await.unwrap(), b"still here");

    let echo = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let denied = Policies::new().deny_network("127.0.0.0/8").unwrap();
    let tunnel = client.udp().policies(denied).forward(echo.local_addr().unwrap()).await.unwrap();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(b"x", ("127.0.0.1", port(&tunnel))).await.unwrap();
    until(&server.handle, |now| now.refusals.get("address-not-allowed").is_some_and(|count| *count == 1))
        .await;
    assert_eq!(server.handle.snapshot().udp_flows, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_for_another_kind_of_tunnel_is_refused_by_name() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let policies = Policies::new().basic_auth("ann:s3cret").unwrap();
    let error = client.tcp().policies(policies).forward("127.0.0.1:9").await.unwrap_err().to_string();
    assert!(error.contains("policy-invalid") && error.contains("--basic-auth"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_policies_under_load_loses_no_request() {
    let mut site = Site::new().unwrap();
    site.config.timeouts.hold = PATIENCE;
    let _server = site.start(Vec::new()).unwrap();
    let (upstream, _count) = counting().await;
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let publish = |n: usize| {
        let mark = FieldEdit::set("X-Policies", n.to_string()).unwrap();
        let policies = Policies::new().request_header(mark.clone()).unwrap().response_header(mark).unwrap();
        client.http().subdomain("myapp").policies(policies).forward(upstream.target())
    };
    let mut tunnel = publish(0).await.unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicUsize::new(0));
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let (site, answered, stop) = (site.clone(), answered.clone(), stop.clone());
            tokio::spawn(async move {
                let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
                while stop.load(Ordering::SeqCst) == 0 {
                    visitor.send("GET /x HTTP/1.1\r\nHost: myapp.test\r\n\r\n").await.unwrap();
                    let answer = tokio::time::timeout(PATIENCE, visitor.answer()).await.unwrap().unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.head);
                    let marks = (header(&answer.head, "x-policies"), seen(&answer));
                    // One list of policies does both ways of an exchange.
                    assert_eq!(marks.0, header(&marks.1, "x-policies"), "{}", answer.head);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for n in 1..=20 {
        let before = answered.load(Ordering::SeqCst);
        drop(tunnel);
        tunnel = publish(n).await.unwrap();
        let progress = async {
            while answered.load(Ordering::SeqCst) < before + 20 {
                // sleep: polling a counter; the test goes on as soon as it fits
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, progress).await.expect("visitors are served by the new policies");
    }
    stop.store(1, Ordering::SeqCst);
    for visitor in visitors {
        visitor.await.unwrap();
    }
}
