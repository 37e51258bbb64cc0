//! Visitors with TLS: whom they reach, who ends their TLS, and what happens when certificates change.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use tunnel_client::{BindError, Code, Event};
use tunnel_server::WebCertificate;
use tunnel_testkit::{Answer, Site, Upstream, Visitor, header};
use tunnel_transport::{ServerKeyPair, UpstreamTls, UpstreamTlsStream, UpstreamTrust, generate_self_signed};

use crate::support::{PATIENCE, until};

type TlsVisitor = Visitor<UpstreamTlsStream<TcpStream>>;

fn keys(names: &[&str]) -> ServerKeyPair {
    generate_self_signed(&names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

fn certificate(keys: &ServerKeyPair) -> WebCertificate {
    WebCertificate::from_pem(keys.cert_pem.as_bytes(), keys.key_pem.as_bytes()).unwrap()
}

/// A site whose https port shows a wildcard certificate; and that certificate.
fn site() -> (Site, Vec<u8>) {
    let mut site = Site::new().unwrap();
    site.config.domain = "t.test".parse().unwrap();
    let keys = keys(&["*.t.test"]);
    site.open_https(&[certificate(&keys)]).unwrap();
    (site, keys.cert_pem.into_bytes())
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(visitor: &mut Visitor<S>, host: &str, path: &str) -> Answer {
    visitor.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
    tokio::time::timeout(PATIENCE, visitor.answer()).await.unwrap().unwrap()
}

/// Shows the upstream's view of a request as the body.
async fn mirror() -> Upstream {
    let mirror = |head: &str| {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
        Some(answer.into_bytes())
    };
    Upstream::raw_http(mirror).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_hears_that_its_visitors_came_by_https() {
    let (mut site, trusted) = site();
    site.config.public_https_port = Some(443);
    let _server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let upstream = mirror().await;
    let tunnel = client.http().subdomain("app").forward(upstream.target()).await.unwrap();
    assert_eq!(tunnel.url(), "https://app.t.test");

    let mut visitor = TlsVisitor::connect_tls(site.https_address(), "app.t.test", &trusted).await.unwrap();
    for path in ["/1", "/2", "/3"] {
        let seen = String::from_utf8(ask(&mut visitor, "app.t.test", path).await.body).unwrap();
        assert!(seen.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{seen}");
        assert_eq!(header(&seen, "x-forwarded-proto"), Some("https"));
        assert_eq!(header(&seen, "x-forwarded-port"), Some("443"));
        assert_eq!(header(&seen, "x-forwarded-for"), Some("127.0.0.1"));
    }
    let plain = Visitor::get(site.web_address(), "app.t.test", "/").await.unwrap();
    let seen = String::from_utf8(plain.body).unwrap();
    assert_eq!(header(&seen, "x-forwarded-proto"), Some("http"));
    assert_eq!(header(&seen, "x-forwarded-port"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_for_it_an_address_is_plain() {
    let mut site = Site::new().unwrap();
    site.open_https(&[certificate(&keys(&["other.test", "*.sub.test"]))]).unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let mut events = client.events();
    let url = client.http().subdomain("app").forward("localhost:1").await.unwrap().url();
    assert_eq!(url, format!("http://app.test:{}", site.web_address().port()));
    let message = loop {
        if let Event::Notice { message } =
            tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap()
        {
            break message;
        }
    };
    assert!(message.contains("no certificate for `app.test`") && message.contains("--cert"), "{message}");
}

/// Sends a byte at a time, each in a packet of its own.
struct OneByOne(TcpStream);

impl AsyncRead for OneByOne {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for OneByOne {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, &buf[..buf.len().min(1)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_may_come_a_byte_at_a_time() {
    let (site, trusted) = site();
    let _server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let upstream = Upstream::hello("app").await.unwrap();
    let _tunnel = client.http().subdomain("app").forward(upstream.target()).await.unwrap();
    let stream = TcpStream::connect(site.https_address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let tls = UpstreamTls::new(&UpstreamTrust::CaFile(trusted), &[b"http/1.1"]).unwrap();
    let mut visitor = Visitor::over(tls.connect("app.t.test", OneByOne(stream)).await.unwrap());
    assert_eq!(ask(&mut visitor, "app.t.test", "/").await.body, b"app / app.t.test\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_opened_for_one_owner_carries_nothing_to_another() {
    let (site, trusted) = site();
    let server = site.start(Vec::new()).unwrap();
    let ana = site.client(&site.token("ana")).connect().await.unwrap();
    let ben = site.client(&site.token("ben")).connect().await.unwrap();
    let (anas, bens) = (Upstream::hello("ana").await.unwrap(), Upstream::hello("ben").await.unwrap());
    let _a1 = ana.http().subdomain("a1").forward(anas.target()).await.unwrap();
    let _a2 = ana.http().subdomain("a2").forward(anas.target()).await.unwrap();
    let _b1 = ben.http().subdomain("b1").forward(bens.target()).await.unwrap();
    let _tls = ben.tls().subdomain("b2").forward(bens.target()).await.unwrap();
    for (sni, host, status, said) in [
        ("a1.t.test", "a1.t.test", 200, "ana"),
        ("a1.t.test", "a2.t.test", 200, "ana"),
        ("a2.t.test", "a1.t.test", 200, "ana"),
        ("a1.t.test", "A2.T.TEST.", 200, "ana"),
        ("b1.t.test", "b1.t.test", 200, "ben"),
        ("a1.t.test", "b1.t.test", 421, "misdirected"),
        ("b1.t.test", "a1.t.test", 421, "misdirected"),
        // Ben's too, but passed through: nobody's decrypted requests go there.
        ("a1.t.test", "b2.t.test", 421, "misdirected"),
        ("b1.t.test", "b2.t.test", 404, "tunnel-not-found"),
        // Not told apart from a name that is somebody's.
        ("a1.t.test", "nobody.t.test", 421, "misdirected"),
        ("nobody.t.test", "a1.t.test", 421, "misdirected"),
        ("nobody.t.test", "b2.t.test", 421, "misdirected"),
        ("nobody.t.test", "nobody.t.test", 404, "tunnel-not-found"),
        ("nobody.t.test", "other.t.test", 404, "tunnel-not-found"),
        // An address can't be asked for by name: by the host alone.
        ("127.0.0.1", "a1.t.test", 200, "ana"),
        ("127.0.0.1", "b1.t.test", 200, "ben"),
        ("127.0.0.1", "b2.t.test", 404, "tunnel-not-found"),
    ] {
        let mut visitor = TlsVisitor::connect_tls(site.https_address(), sni, &trusted).await.unwrap();
        // Twice, since a connection is kept whatever was asked for on it.
        for _ in 0..2 {
            let answer = ask(&mut visitor, host, "/").await;
            assert_eq!(answer.status, status, "{sni} {host}: {}", answer.head);
            match status {
                200 => assert!(answer.body.starts_with(said.as_bytes()), "{sni} {host}"),
                _ => assert_eq!(header(&answer.head, "tunnel-error"), Some(said), "{sni} {host}"),
            }
        }
    }
    assert_eq!(server.handle.snapshot().refusals["misdirected"], 2 * 6);
}

/// An upstream that ends TLS itself and echoes, and its certificate, which the server doesn't have.
async fn tls_echo(names: &[&str]) -> (Upstream, Vec<u8>) {
    let keys = keys(names);
    let chain = vec![CertificateDer::from_pem_slice(keys.cert_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(keys.key_pem.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let upstream = Upstream::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let (mut read, mut write) = tokio::io::split(stream);
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        }
    });
    (upstream.await.unwrap(), keys.cert_pem.into_bytes())
}

async fn connect_tls(
    address: SocketAddr,
    host: &str,
    trusted: &[u8],
) -> io::Result<UpstreamTlsStream<TcpStream>> {
    let tls = UpstreamTls::new(&UpstreamTrust::CaFile(trusted.to_vec()), &[]).unwrap();
    let stream = TcpStream::connect(address).await?;
    tokio::time::timeout(PATIENCE, tls.connect(host, stream)).await.unwrap().map_err(io::Error::other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_tunnel_ends_at_its_upstream() {
    for has_certificate in [true, false] {
        let (mut site, servers) = site();
        if !has_certificate {
            site.open_https(&[]).unwrap();
        }
        let server = site.start(Vec::new()).unwrap();
        let client = site.client(&site.token("one")).connect().await.unwrap();
        let (upstream, trusted) = tls_echo(&["db.t.test"]).await;
        let target = format!("https://{}", upstream.target());
        let tunnel = client.tls().subdomain("db").forward(target.as_str()).await.unwrap();
        let port = site.https_address().port();
        assert_eq!(tunnel.url(), format!("tls://db.t.test:{port}"));

        let mut visitor = connect_tls(site.https_address(), "db.t.test", &trusted).await.unwrap();
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let (mut read, mut write) = tokio::io::split(&mut visitor);
        let mut echoed = Vec::new();
        let say = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let (heard, ()) = tokio::join!(read.read_to_end(&mut echoed), say);
        heard.unwrap();
        assert!(echoed == sent, "{} bytes", echoed.len());
        assert_eq!(server.handle.snapshot().tcp_visitors, 1);

        assert!(
            connect_tls(site.https_address(), "db.t.test", &servers).await.is_err(),
            "another's certificate"
        );
        let other = connect_tls(site.https_address(), "other.t.test", &servers).await;
        assert_eq!(other.is_ok(), has_certificate, "{:?}", other.err());
        drop(upstream);
        assert!(connect_tls(site.https_address(), "db.t.test", &trusted).await.is_err(), "nobody there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_an_https_port_has_no_tls_tunnels() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    match client.tls().subdomain("db").forward("localhost:1").await {
        Err(BindError::Refused(refusal)) => {
            assert_eq!(refusal.code, Code::NotSupported);
            assert!(refusal.message.contains("--https-port"), "{}", refusal.message);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_swapped_under_load_and_no_request_is_lost() {
    const VISITORS: usize = 8;
    const SWAPS: usize = 40;
    let mut site = Site::new().unwrap();
    site.config.domain = "t.test".parse().unwrap();
    let pairs = [keys(&["*.t.test"]), keys(&["*.t.test"])];
    let store = site.open_https(&[certificate(&pairs[0])]).unwrap();
    let both = pairs.iter().map(|pair| pair.cert_pem.as_str()).collect::<String>().into_bytes();
    let _server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let upstream = Upstream::hello("app").await.unwrap();
    let _tunnel = client.http().subdomain("app").forward(upstream.target()).await.unwrap();

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut visitors = JoinSet::new();
    for _ in 0..VISITORS {
        let (both, stopped, address) = (both.clone(), stopped.clone(), site.https_address());
        visitors.spawn(async move {
            let mut old = TlsVisitor::connect_tls(address, "app.t.test", &both).await.unwrap();
            let mut asked = 0;
            while !*stopped.borrow() {
                let mut new = TlsVisitor::connect_tls(address, "app.t.test", &both).await.unwrap();
                for visitor in [&mut old, &mut new] {
                    assert_eq!(ask(visitor, "app.t.test", "/").await.body, b"app / app.t.test\n");
                    asked += 1;
                }
            }
            asked
        });
    }
    for swap in 0..SWAPS {
        store.replace(&[certificate(&pairs[(swap + 1) % 2])]);
        // Each is in use for a while.
        let shown = pairs[(swap + 1) % 2].cert_pem.as_bytes();
        let mut visitor = TlsVisitor::connect_tls(site.https_address(), "app.t.test", shown).await.unwrap();
        assert_eq!(ask(&mut visitor, "app.t.test", "/").await.status, 200);
    }
    stop.send(true).unwrap();
    let asked: Vec<usize> = visitors.join_all().await;
    assert!(asked.iter().all(|asked| *asked > 0), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_web_port_sends_visitors_on_to_https() {
    let (mut site, trusted) = site();
    site.config.redirect_https = true;
    let _server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let upstream = Upstream::hello("app").await.unwrap();
    let _tunnel = client.http().subdomain("app").forward(upstream.target()).await.unwrap();
    let port = site.https_address().port();
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    for (request, location) in [
        ("GET /a/b?c=d%20&e HTTP/1.1\r\nHost: app.t.test", "app.t.test:PORT/a/b?c=d%20&e"),
        ("GET / HTTP/1.1\r\nHost: App.T.test.:8080", "app.t.test:PORT/"),
        ("GET / HTTP/1.1\r\nHost: unknown.t.test", "unknown.t.test:PORT/"),
        ("GET //evil.test/ HTTP/1.1\r\nHost: app.t.test", "app.t.test:PORT//evil.test/"),
        ("GET http://app.t.test/x HTTP/1.1\r\nHost: app.t.test", "app.t.test:PORT/x"),
        ("GET http://app.t.test?x=1 HTTP/1.1\r\nHost: app.t.test", "app.t.test:PORT/?x=1"),
        ("OPTIONS * HTTP/1.1\r\nHost: app.t.test", "app.t.test:PORT/"),
        ("POST /form HTTP/1.1\r\nContent-Length: 3\r\nHost: app.t.test", "app.t.test:PORT/form"),
        ("GET / HTTP/1.1\r\nHost: [::1]", "[::1]:PORT/"),
    ] {
        let body = if request.starts_with("POST") { "a=b" } else { "" };
        visitor.send(format!("{request}\r\n\r\n{body}")).await.unwrap();
        let answer = visitor.answer().await.unwrap();
        let expected = format!("https://{}", location.replace("PORT", &port.to_string()));
        assert_eq!((answer.status, header(&answer.head, "location")), (308, Some(&*expected)), "{request}");
        assert!(answer.body.is_empty());
    }
    for host in ["app.t.test/x", "a b", "evil.test@app.t.test", "app.t.test\r\nX: y\r\nHost: z"] {
        let answer = Visitor::get(site.web_address(), host, "/").await.unwrap();
        assert_eq!((answer.status, header(&answer.head, "location")), (400, None), "{host}");
    }
    let challenge =
        Visitor::get(site.web_address(), "app.t.test", "/.well-known/acme-challenge/x").await.unwrap();
    assert_eq!(challenge.body, b"app /.well-known/acme-challenge/x app.t.test\n");
    let mut visitor = TlsVisitor::connect_tls(site.https_address(), "app.t.test", &trusted).await.unwrap();
    assert_eq!(ask(&mut visitor, "app.t.test", "/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_at_the_https_port() {
    let (mut site, _) = site();
    site.config.timeouts.handshake = std::time::Duration::from_millis(200);
    let server = site.start(Vec::new()).unwrap();
    let answer = Visitor::get(site.https_address(), "app.t.test", "/").await.unwrap();
    assert_eq!((answer.status, header(&answer.head, "tunnel-error")), (400, Some("bad-request")));
    assert!(String::from_utf8_lossy(&answer.body).contains("https"), "{answer:?}");
    for said in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"SSH-2.0-x\r\n", b"\x16\x03", b"\x80\x2e\x01", b""] {
        let mut stranger = TcpStream::connect(site.https_address()).await.unwrap();
        stranger.write_all(said).await.unwrap();
        // Closed or reset: given up in any case.
        let mut heard = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stranger.read_to_end(&mut heard)).await.unwrap();
    }
    until(&server.handle, |now| now.tls_failures == 6 && now.visitor_tasks == 0).await;
}
