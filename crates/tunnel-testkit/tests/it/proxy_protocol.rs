//! The PROXY protocol: towards upstreams, and from load balancers.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tunnel_client::{BindError, Client, Policies, ProxyProtocol, UpstreamError};
use tunnel_protocol::proxy::{self, ProxyHeader};
use tunnel_testkit::{Site, TestServer, Upstream, Visitor, find_head_end, header};

use crate::support::{PATIENCE, port, until};

async fn pair(site: &Site) -> (TestServer, Client) {
    let server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    (server, client)
}

/// Speaks HTTP behind a PROXY header, and says in each answer who that named and how many requests came before on
/// the connection.
async fn behind_a_header() -> Upstream {
    let upstream = Upstream::start(|mut stream| async move {
        let mut seen = Vec::new();
        let told = loop {
            match proxy::read(&seen) {
                Ok(Some((told, length))) => {
                    seen.drain(..length);
                    break told;
                }
                Ok(None) => {}
                Err(_) => return,
            }
            if stream.read_buf(&mut seen).await.is_ok_and(|n| n == 0) {
                return;
            }
        };
        let told = match told {
            ProxyHeader::Forwarded(told) => format!("{} to {}", told.source, told.destination),
            ProxyHeader::Own => "nobody".to_owned(),
        };
        for before in 0.. {
            let end = loop {
                if let Some(end) = find_head_end(&seen) {
                    break end;
                }
                if !stream.read_buf(&mut seen).await.is_ok_and(|n| n > 0) {
                    return;
                }
            };
            seen.drain(..end);
            let body = format!("{told}, {before} before");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    upstream.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_is_told_whose_requests_these_are() {
    let site = Site::new().unwrap();
    let (_server, client) = pair(&site).await;
    let upstream = behind_a_header().await;
    for (name, version) in [("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)] {
        let policies = Policies::new().proxy_protocol(version);
        let _app = client.http().subdomain(name).policies(policies).forward(upstream.target()).await.unwrap();
        let mut visitors = Vec::new();
        for _ in 0..3 {
            visitors.push(Visitor::connect(site.web_address()).await.unwrap());
        }
        // Interleaved, so that a stream of one would be free for the next.
        for _ in 0..3 {
            for visitor in &mut visitors {
                visitor.send(format!("GET / HTTP/1.1\r\nHost: {name}.test\r\n\r\n")).await.unwrap();
                let answer = String::from_utf8(visitor.answer().await.unwrap().body).unwrap();
                let own = visitor.stream().local_addr().unwrap();
                let expected = format!("{own} to {}, ", site.web_address());
                assert!(answer.starts_with(&expected), "{answer} is not of {expected}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_one_of_connections() {
    let site = Site::new().unwrap();
    let (_server, client) = pair(&site).await;
    let echo = Upstream::echo().await.unwrap();
    let policies = Policies::new().proxy_protocol(ProxyProtocol::V1);
    let tunnel = client.tcp().policies(policies).forward(echo.target()).await.unwrap();
    let mut visitor = TcpStream::connect(("127.0.0.1", port(&tunnel))).await.unwrap();
    visitor.write_all(b"hello").await.unwrap();
    visitor.shutdown().await.unwrap();
    let mut heard = String::new();
    visitor.read_to_string(&mut heard).await.unwrap();
    let own = visitor.local_addr().unwrap().port();
    assert_eq!(heard, format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {}\r\nhello", port(&tunnel)));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_connection_to_say_it_on_it_is_refused() {
    let site = Site::new().unwrap();
    let (_server, client) = pair(&site).await;
    let policies = || Policies::new().proxy_protocol(ProxyProtocol::V2);
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    for error in [
        client.udp().policies(policies()).forward(9).await.unwrap_err(),
        client.tcp().policies(policies()).listen().await.unwrap_err(),
        client.http().policies(policies()).forward(place).await.unwrap_err(),
    ] {
        assert!(matches!(error, BindError::Upstream(UpstreamError::NoProxyProtocol)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancers_word_is_taken_everywhere() {
    let mut site = Site::new().unwrap();
    site.config.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
    let (_server, client) = pair(&site).await;
    let seen = Upstream::raw_http(|head| {
        let told = ["x-forwarded-for", "x-real-ip"].map(|name| header(head, name).unwrap_or("none"));
        let body = told.join(" ");
        Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
    });
    let seen = seen.await.unwrap();
    let denying = Policies::new().deny_network("192.0.2.66").unwrap();
    let _app = client.http().subdomain("app").policies(denying).forward(seen.target()).await.unwrap();
    let (source, destination) = ("[2001:db8::7]:4000".parse().ok(), "[2001:db8::1]:443".parse().ok());
    let mapped = ("[::ffff:192.0.2.66]:1".parse().ok(), "[::ffff:192.0.2.1]:2".parse().ok());
    for (greeting, status, expected) in [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 80\r\n".to_vec(), 200, "192.0.2.7 192.0.2.7"),
        (proxy::write(proxy::ProxyVersion::V2, source, destination).to_vec(), 200, "2001:db8::7 2001:db8::7"),
        // A health check of the load balancer's own.
        (proxy::write(proxy::ProxyVersion::V2, None, None).to_vec(), 200, "127.0.0.1 127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), 200, "127.0.0.1 127.0.0.1"),
        (b"PROXY TCP4 192.0.2.66 192.0.2.1 4000 80\r\n".to_vec(), 403, ""),
        // The same address in other clothes.
        (proxy::write(proxy::ProxyVersion::V2, mapped.0, mapped.1).to_vec(), 403, ""),
    ] {
        let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: app.test\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n";
        visitor.send([&greeting[..], request].concat()).await.unwrap();
        let answer = visitor.answer().await.unwrap();
        assert_eq!(answer.status, status, "{expected}");
        if status == 200 {
            assert_eq!(String::from_utf8_lossy(&answer.body), expected);
        }
    }

    // In by one PROXY header, out by another.
    let echo = Upstream::echo().await.unwrap();
    let policies = Policies::new().proxy_protocol(ProxyProtocol::V1);
    let tunnel = client.tcp().policies(policies).forward(echo.target()).await.unwrap();
    let mut visitor = TcpStream::connect(("127.0.0.1", port(&tunnel))).await.unwrap();
    let line = b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 25432\r\n";
    visitor.write_all(&[&line[..], b"hello"].concat()).await.unwrap();
    visitor.shutdown().await.unwrap();
    let mut heard = Vec::new();
    visitor.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, [&line[..], b"hello"].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_that_says_nothing_of_it_is_hung_up_on() {
    let mut site = Site::new().unwrap();
    site.config.proxy_protocol_from = vec!["127.0.0.1/32".parse().unwrap()];
    let (server, client) = pair(&site).await;
    let hello = Upstream::hello("one").await.unwrap();
    let _app = client.http().subdomain("app").forward(hello.target()).await.unwrap();
    let tcp = client.tcp().forward(hello.target()).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
    for (address, said) in [
        (site.web_address(), request.to_owned()),
        (site.web_address(), format!("PROXY TCP4 192.0.2.999 192.0.2.1 1 2\r\n{request}")),
        (([127, 0, 0, 1], port(&tcp)).into(), request.to_owned()),
    ] {
        let mut visitor = TcpStream::connect(address).await.unwrap();
        visitor.write_all(said.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        // A reset is as good.
        let _ = timeout(PATIENCE, visitor.read_to_end(&mut heard)).await.expect("it is closed");
        assert_eq!(heard, b"", "{said}");
    }
    until(&server.handle, |now| now.proxy_failures == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_others_it_is_no_header_at_all() {
    let mut site = Site::new().unwrap();
    site.config.proxy_protocol_from = vec!["10.0.0.0/8".parse().unwrap()];
    let (_server, client) = pair(&site).await;
    let echo = Upstream::echo().await.unwrap();
    let _app = client.http().subdomain("app").forward(echo.target()).await.unwrap();
    let tcp = client.tcp().forward(echo.target()).await.unwrap();
    let line = "PROXY TCP4 192.0.2.7 192.0.2.1 4000 80\r\n";
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    visitor.send(format!("{line}GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")).await.unwrap();
    assert_eq!(visitor.answer().await.unwrap().status, 400);
    let mut visitor = TcpStream::connect(("127.0.0.1", port(&tcp))).await.unwrap();
    visitor.write_all(line.as_bytes()).await.unwrap();
    visitor.shutdown().await.unwrap();
    let mut heard = String::new();
    visitor.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, line, "bytes are just bytes");
}
