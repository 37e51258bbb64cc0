//! Upstreams that aren't a TCP port: TLS, Unix sockets, directories.

use std::{fs, sync::Arc, time::Duration};

use rcgen::{CertificateParams, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Barrier,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};
use tunnel_client::{BindError, Client, Event, Limits, UpstreamError, UpstreamTrust};
use tunnel_testkit::{Answer, Site, TestServer, Upstream, Visitor, header};

use crate::support::PATIENCE;

/// A server and a client of it.
async fn pair() -> (Site, TestServer, Client) {
    let mut site = Site::new().unwrap();
    // A tunnel that is gone is gone at once.
    site.config.timeouts.hold = Duration::ZERO;
    let server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    (site, server, client)
}

async fn get(site: &Site, path: &str) -> Answer {
    Visitor::get(site.web_address(), "app.test", path).await.unwrap()
}

/// A service for `localhost` that answers one request over TLS with its body, and the issuer that vouches for it.
async fn tls_service() -> (Upstream, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let upstream = Upstream::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut seen = Vec::new();
            let (head, length) = loop {
                if stream.read_buf(&mut seen).await.is_ok_and(|n| n == 0) {
                    return;
                }
                let Some(end) = tunnel_testkit::find_head_end(&seen) else { continue };
                let head = String::from_utf8_lossy(&seen[..end]).into_owned();
                let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
                seen.drain(..end);
                break (head, length);
            };
            while seen.len() < length && stream.read_buf(&mut seen).await.is_ok_and(|n| n > 0) {}
            let proto = header(&head, "x-forwarded-proto").unwrap_or("none").to_owned();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nX-Seen: {proto}\r\nContent-Length: {}\r\n\r\n",
                seen.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.write_all(&seen).await;
            // Like many, it leaves without TLS's goodbye.
            let _ = stream.flush().await;
        }
    });
    (upstream.await.unwrap(), certificate.pem().into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_speaks_tls() {
    let (site, _server, client) = pair().await;
    let (service, issuer) = tls_service().await;
    let (_, stranger) = tls_service().await;
    let plain = Upstream::sends_then_resets(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let https = |port: u16| format!("https://localhost:{port}").parse::<tunnel_client::Upstream>().unwrap();
    let port = service.address().port();
    let trusting = |trust| https(port).with_trust(trust).unwrap();
    for (upstream, wrong) in [
        (https(port), None),
        (trusting(UpstreamTrust::Anyone), None),
        (trusting(UpstreamTrust::CaFile(issuer)), None),
        (trusting(UpstreamTrust::CaFile(stranger)), Some("certificate that isn't trusted")),
        (https(plain.address().port()), Some("does not speak TLS")),
    ] {
        let mut events = client.events();
        let _tunnel = client.http().subdomain("app").forward(upstream).await.unwrap();
        let body = vec![b'x'; 1 << 20];
        let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: {}\r\n\r\n", body.len());
        visitor.send(head).await.unwrap();
        // A refusal may come before the body is through.
        let _ = visitor.send(&body).await;
        let answer = visitor.answer().await.unwrap();
        let Some(wrong) = wrong else {
            assert_eq!((answer.status, header(&answer.head, "x-seen")), (200, Some("http")));
            assert!(answer.body == body, "{} bytes", answer.body.len());
            continue;
        };
        assert_eq!((answer.status, header(&answer.head, "tunnel-error")), (502, Some("upstream-tls")));
        let message = loop {
            if let Event::UpstreamFailed { message, .. } = events.next().await.unwrap() {
                break message;
            }
        };
        assert!(message.contains(wrong), "{message}");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_service_behind_a_unix_socket() {
    let (site, _server, client) = pair().await;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.sock");
    let upstream = format!("unix:{}", path.display());
    let _web = client.http().subdomain("app").forward(upstream.as_str()).await.unwrap();
    let tcp = client.tcp().forward(upstream.as_str()).await.unwrap();
    let missing = get(&site, "/").await;
    assert_eq!(header(&missing.head, "tunnel-error"), Some("upstream-refused"));

    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let answering = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        let length = stream.read(&mut head).await.unwrap();
        assert!(head[..length].starts_with(b"GET /x HTTP/1.1\r\n"));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    };
    let (answer, ()) = tokio::join!(get(&site, "/x"), answering);
    assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));

    let mut visitor =
        tokio::net::TcpStream::connect(("127.0.0.1", crate::support::port(&tcp))).await.unwrap();
    visitor.write_all(b"question").await.unwrap();
    visitor.shutdown().await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let (mut question, mut answer) = (String::new(), String::new());
    stream.read_to_string(&mut question).await.unwrap();
    stream.write_all(b"answer").await.unwrap();
    drop(stream);
    visitor.read_to_string(&mut answer).await.unwrap();
    assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));

    drop(listener);
    let stale = get(&site, "/").await;
    assert_eq!(header(&stale.head, "tunnel-error"), Some("upstream-refused"), "a socket left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_directory() {
    let (site, _server, client) = pair().await;
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("site");
    fs::create_dir_all(root.join("docs")).unwrap();
    fs::write(home.path().join("secret"), "hunter2").unwrap();
    fs::write(root.join("docs/a.txt"), "text").unwrap();
    let big: Vec<u8> = (0..20_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    fs::write(root.join("big"), &big).unwrap();
    let tunnel = client.http().subdomain("app").forward(root.to_str().unwrap()).await.unwrap();
    assert_eq!(client.status().tunnels[0].upstream, root.to_str().unwrap());

    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    for (method, path, fields, status, body) in [
        ("GET", "/docs/a.txt", "", 200, "text"),
        ("GET", "/docs/a.txt", "Range: bytes=1-2\r\n", 206, "ex"),
        ("GET", "/docs/", "", 200, "href=\"./a.txt\""),
        ("GET", "/docs", "", 307, ""),
        ("GET", "/../secret", "", 404, "404"),
        ("GET", "/%2e%2e/secret", "", 404, "404"),
        ("POST", "/docs/a.txt", "Content-Length: 0\r\n", 405, "405"),
        ("GET", "/docs/a.txt", "", 200, "text"),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: app.test\r\n{fields}\r\n");
        visitor.send(request).await.unwrap();
        let answer = visitor.answer().await.unwrap();
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, status, "{path}: {text}");
        assert!(text.contains(body) && !text.contains("hunter2"), "{path}: {text}");
        assert_eq!(header(&answer.head, "tunnel-error"), None, "{path}");
    }
    assert!(get(&site, "/big").await.body == big);

    drop(tunnel);
    let gone = get(&site, "/docs/a.txt").await;
    assert!(header(&gone.head, "tunnel-error").is_some(), "{}", gone.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cant_be_shown_is_refused_before_it_is_published() {
    let (_site, server, client) = pair().await;
    let home = tempfile::tempdir().unwrap();
    let there = home.path().to_str().unwrap();
    let refused = client.http().forward(format!("{there}/none")).await.unwrap_err();
    assert!(matches!(refused, BindError::Upstream(UpstreamError::Directory(..))), "{refused}");
    let refused = client.tcp().forward(there).await.unwrap_err();
    assert!(matches!(refused, BindError::Upstream(UpstreamError::NotForTcp)), "{refused}");
    assert!(server.handle.snapshot().tunnels.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_to_one_upstream_keep_nobody_from_another() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let limits = Limits { max_visitors: 2, ..Limits::default() };
    let client = site.client(&site.token("one")).limits(limits).connect().await.unwrap();
    // It answers two at a time, so that there are two connections, and keeps them.
    let both = Arc::new(Barrier::new(2));
    let busy = Upstream::start(move |mut stream| {
        let both = both.clone();
        async move {
            let mut asked = [0; 1024];
            while stream.read(&mut asked).await.is_ok_and(|n| n > 0) {
                both.wait().await;
                if stream.write_all(OK).await.is_err() {
                    return;
                }
            }
        }
    });
    let (busy, other) = (busy.await.unwrap(), Upstream::hello("other").await.unwrap());
    let _busy = client.http().subdomain("busy").forward(busy.target()).await.unwrap();
    let _other = client.http().subdomain("other").forward(other.target()).await.unwrap();
    let ask = |host| Visitor::get(site.web_address(), host, "/");
    let (one, two) = tokio::join!(ask("busy.test"), ask("busy.test"));
    assert_eq!((one.unwrap().status, two.unwrap().status), (200, 200));
    let served = async {
        loop {
            let answer = ask("other.test").await.unwrap();
            if answer.status == 200 {
                return;
            }
            assert_eq!(header(&answer.head, "tunnel-error"), Some("client-busy"), "{}", answer.head);
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("what nobody uses gives way");
}
