//! How fast bytes go, how small answers get, and when a tunnel is over.

use std::{io::Read, sync::Arc, time::Duration};

use flate2::read::GzDecoder;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::Notify,
    time::{Instant, timeout},
};
use tunnel_client::{Client, Code, Event, Policies, TunnelEnd};
use tunnel_testkit::{Answer, Site, TestServer, Upstream, Visitor, header};

use crate::support::{PATIENCE, port, until};

/// A server and a client of it.
async fn pair(site: &Site) -> (TestServer, Client) {
    let server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    (server, client)
}

async fn ask(site: &Site, request: &str) -> Answer {
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    visitor.send(request).await.unwrap();
    visitor.answer().await.unwrap()
}

fn expand(body: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(body).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_compressed_for_those_who_take_it() {
    let site = Site::new().unwrap();
    let (_server, client) = pair(&site).await;
    let text = "lorem ipsum dolor sit amet\n".repeat(2000);
    let body = text.clone();
    let upstream = Upstream::raw_http(move |head| {
        let target = head.split(' ').nth(1).unwrap_or("");
        let fields = match target {
            "/chunked" => {
                let chunked = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                     {:x}\r\n{body}\r\n0\r\nX-Sum: 7\r\n\r\n",
                    body.len()
                );
                return Some(chunked.into_bytes());
            }
            "/image" => "Content-Type: image/png",
            _ => "Content-Type: text/html\r\nETag: \"v1\"\r\nAccept-Ranges: bytes",
        };
        let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: {}\r\n\r\n", body.len());
        Some((head + &body).into_bytes())
    });
    let upstream = upstream.await.unwrap();
    let policies = Policies::new().compress();
    let _app = client.http().subdomain("app").policies(policies).forward(upstream.target()).await.unwrap();
    let _plain = client.http().subdomain("plain").forward(upstream.target()).await.unwrap();
    let get = |host: &str, path: &str, fields: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {host}.test\r\nConnection: close\r\n{fields}\r\n")
    };
    let gzip = "Accept-Encoding: gzip, br\r\n";

    let squeezed = ask(&site, &get("app", "/", gzip)).await;
    assert_eq!(header(&squeezed.head, "content-encoding"), Some("gzip"), "{}", squeezed.head);
    assert_eq!(header(&squeezed.head, "vary"), Some("Accept-Encoding"));
    assert_eq!(header(&squeezed.head, "etag"), Some("W/\"v1\""));
    assert_eq!(
        (header(&squeezed.head, "content-length"), header(&squeezed.head, "accept-ranges")),
        (None, None)
    );
    assert!(squeezed.body.len() < text.len() / 10, "{} bytes", squeezed.body.len());
    assert_eq!(expand(&squeezed.body), text);

    for (host, path, fields) in [
        ("app", "/", ""),
        ("app", "/", "Accept-Encoding: br\r\n"),
        ("app", "/image", gzip),
        ("plain", "/", gzip),
    ] {
        let answer = ask(&site, &get(host, path, fields)).await;
        assert_eq!(header(&answer.head, "content-encoding"), None, "{host}{path} {fields}");
        assert_eq!(answer.body, text.as_bytes(), "{host}{path} {fields}");
    }

    // Trailers come after the last of it.
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    visitor.send(get("app", "/chunked", "Accept-Encoding: gzip\r\nTE: trailers\r\n")).await.unwrap();
    let answer = String::from_utf8_lossy(&visitor.rest().await.unwrap()).into_owned();
    assert!(
        answer.contains("gzip") && answer.ends_with("0\r\nx-sum: 7\r\n\r\n"),
        "{:?}",
        &answer[answer.len() - 40..]
    );

    // What breaks off isn't whole for the visitor either.
    let broken = Upstream::start(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let half = "HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nContent-Length: 5000\r\n\r\nhalf of it";
        let _ = stream.write_all(half.as_bytes()).await;
    });
    let broken = broken.await.unwrap();
    let policies = Policies::new().compress();
    let _broken =
        client.http().subdomain("broken").policies(policies).forward(broken.target()).await.unwrap();
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    visitor.send(get("broken", "/", gzip)).await.unwrap();
    assert!(timeout(PATIENCE, visitor.answer()).await.expect("it ends").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_event_arrives_before_the_next_one_is_there() {
    let site = Site::new().unwrap();
    let (_server, client) = pair(&site).await;
    let next = Arc::new(Notify::new());
    let go_on = next.clone();
    let upstream = Upstream::start(move |mut stream| {
        let go_on = go_on.clone();
        async move {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
            for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
                let _ = stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await;
                go_on.notified().await;
            }
        }
    });
    let upstream = upstream.await.unwrap();
    let policies = Policies::new().compress();
    let _app = client.http().subdomain("app").policies(policies).forward(upstream.target()).await.unwrap();
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    visitor.send("GET / HTTP/1.1\r\nHost: app.test\r\nAccept-Encoding: gzip\r\n\r\n").await.unwrap();
    let head = visitor.head().await.unwrap();
    assert_eq!(header(&head, "content-encoding"), Some("gzip"));
    let (mut coded, mut expected) = (Vec::new(), String::new());
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        expected += event;
        let mut plain = Vec::new();
        while plain.len() < expected.len() {
            coded.extend(timeout(PATIENCE, visitor.chunk()).await.expect("the event is there").unwrap());
            plain.clear();
            let _ = GzDecoder::new(&coded[..]).read_to_end(&mut plain);
        }
        assert_eq!(plain, expected.as_bytes());
        next.notify_one();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_visitors_together_keep_to_the_bandwidth_each_way() {
    const LIMIT: u64 = 200_000;
    const EACH: usize = 100_000;
    let site = Site::new().unwrap();
    let (_server, client) = pair(&site).await;
    let echo = Upstream::echo().await.unwrap();
    let policies = Policies::new().bandwidth(LIMIT).unwrap();
    let slow = client.tcp().policies(policies).forward(echo.target()).await.unwrap();
    let fast = client.tcp().forward(echo.target()).await.unwrap();
    let visit = async |port: u16| {
        let (mut read, mut write) = TcpStream::connect(("127.0.0.1", port)).await.unwrap().into_split();
        let writing = async {
            write.write_all(&[7; EACH]).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let mut back = Vec::new();
        let (read, ()) = tokio::join!(read.read_to_end(&mut back), writing);
        assert_eq!(read.unwrap(), EACH);
        assert_eq!(back, [7; EACH]);
    };
    let began = Instant::now();
    tokio::join!(visit(port(&slow)), visit(port(&slow)), visit(port(&slow)), visit(port(&slow)));
    let allowed = LIMIT as f64 * (began.elapsed().as_secs_f64() + 0.1) + 32_000.0;
    assert!(4.0 * EACH as f64 <= allowed, "{} bytes in {:?}", 4 * EACH, began.elapsed());
    // Another tunnel of the same client, on the same lane, isn't held back by those who wait.
    let crowd = (0..4).map(|_| TcpStream::connect(("127.0.0.1", port(&slow))));
    let mut waiting = Vec::new();
    for visitor in crowd {
        let visitor = visitor.await.unwrap();
        let _ = visitor.try_write(&vec![0; 200_000]);
        waiting.push(visitor);
    }
    timeout(PATIENCE, visit(port(&fast))).await.expect("its bytes come through");
}

#[tokio::test(flavor = "multi_thread")]
async fn web_bodies_keep_to_the_bandwidth() {
    const LIMIT: u64 = 100_000;
    let site = Site::new().unwrap();
    let (_server, client) = pair(&site).await;
    let body = vec![b'x'; 200_000];
    let answer =
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes(), body].concat();
    let upstream = Upstream::raw_http(move |_| Some(answer.clone())).await.unwrap();
    let policies = Policies::new().bandwidth(LIMIT).unwrap();
    let _app = client.http().subdomain("app").policies(policies).forward(upstream.target()).await.unwrap();
    let began = Instant::now();
    let answer = Visitor::get(site.web_address(), "app.test", "/").await.unwrap();
    assert_eq!(answer.body.len(), 200_000);
    let allowed = LIMIT as f64 * (began.elapsed().as_secs_f64() + 0.1) + 16_384.0;
    assert!(200_000.0 <= allowed, "200 kB in {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_over_the_bandwidth_are_dropped_and_counted() {
    let site = Site::new().unwrap();
    let (server, client) = pair(&site).await;
    let service = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let policies = Policies::new().bandwidth(5_000).unwrap();
    let upstream = service.local_addr().unwrap().to_string();
    let tunnel = client.udp().policies(policies).forward(upstream.as_str()).await.unwrap();
    let visitor = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    visitor.connect(("127.0.0.1", port(&tunnel))).await.unwrap();
    visitor.send(&[1; 1000]).await.unwrap();
    let mut datagram = [0; 2000];
    timeout(PATIENCE, service.recv(&mut datagram)).await.expect("the first one gets through").unwrap();
    for _ in 0..200 {
        visitor.send(&[2; 1000]).await.unwrap();
    }
    let snapshot = until(&server.handle, |now| now.udp_dropped >= 100).await;
    assert!(snapshot.udp_received >= snapshot.udp_dropped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_whose_time_is_over_is_gone_at_once() {
    let mut site = Site::new().unwrap();
    site.config.timeouts.hold = Duration::from_secs(3600);
    let (server, client) = pair(&site).await;
    let mut events = client.events();
    let hello = Upstream::hello("one").await.unwrap();
    let policies = Policies::new().expire(Duration::from_secs(1)).unwrap();
    let app =
        client.http().subdomain("app").policies(policies.clone()).forward(hello.target()).await.unwrap();
    let stays = client.http().subdomain("stays").forward(hello.target()).await.unwrap();
    assert_eq!(Visitor::get(site.web_address(), "app.test", "/").await.unwrap().status, 200);
    let end = timeout(PATIENCE, app.closed()).await.expect("it ends");
    assert!(matches!(&end, TunnelEnd::Refused(refusal) if refusal.code == Code::Expired), "{end}");
    loop {
        if let Event::Unbound { refusal, retry_in, .. } = events.next().await.unwrap() {
            assert_eq!((refusal.code, retry_in), (Code::Expired, None));
            break;
        }
    }
    let answer =
        timeout(PATIENCE, Visitor::get(site.web_address(), "app.test", "/")).await.expect("nobody waits");
    assert_eq!(header(&answer.unwrap().head, "tunnel-error"), Some("tunnel-not-found"));
    assert!(server.handle.leases().iter().all(|lease| !format!("{lease:?}").contains("app")), "no lease");
    // The others go on, and the name can be had again.
    assert_eq!(Visitor::get(site.web_address(), "stays.test", "/").await.unwrap().status, 200);
    drop(stays);
    let _again = client.http().subdomain("app").forward(hello.target()).await.unwrap();
    assert_eq!(Visitor::get(site.web_address(), "app.test", "/").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_lost_client_longer_than_its_tunnel_lives() {
    let mut site = Site::new().unwrap();
    site.config.timeouts.hold = Duration::from_secs(3600);
    site.config.timeouts.lease = Duration::from_secs(3600);
    let (server, client) = pair(&site).await;
    let hello = Upstream::hello("one").await.unwrap();
    let policies = Policies::new().expire(Duration::from_secs(2)).unwrap();
    let _app = client.http().subdomain("app").policies(policies).forward(hello.target()).await.unwrap();
    drop(client);
    until(&server.handle, |now| now.sessions.is_empty()).await;
    let answer =
        timeout(PATIENCE, Visitor::get(site.web_address(), "app.test", "/")).await.expect("no hour's wait");
    let answer = answer.unwrap();
    assert!(matches!(answer.status, 404 | 503), "{}", answer.head);
    until(&server.handle, |now| now.tunnels.is_empty()).await;
}
