//! Where a client finds its upstream, and by which way its server.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener},
    task::JoinSet,
};
use tunnel_testkit::{Upstream, Visitor, find_head_end, header};
use tunnel_transport::{CertStore, WebCertificate, WebTls, generate_self_signed};

use super::refusals::is_one_line;
use crate::harness::{Laptop, Online, Outcome, Vps, World, check, within};

super::scenarios! {
    "an upstream is found behind a Unix socket, and by whichever address `localhost` has" => places,
    "an https upstream is trusted as --upstream-ca and --upstream-insecure say" => trust,
    "the server is reached through --proxy, and not around it" => proxy,
}

const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\npage";

/// Answers one request with [`PAGE`].
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut head = Vec::new();
    while find_head_end(&head).is_none() {
        if !stream.read_buf(&mut head).await.is_ok_and(|length| length > 0) {
            return;
        }
    }
    // The visitor sees what went wrong by an answer that is missing.
    let _ = stream.write_all(PAGE).await;
    let _ = stream.shutdown().await;
}

/// What a visitor of this upstream gets: `page`, or the code of an error.
async fn visit(vps: &Vps, laptop: &Laptop, upstream: impl ToString, flags: &[&str]) -> Outcome<String> {
    let mut client = laptop.start("http", upstream, flags)?;
    let online = Online::wait(&mut client, 0).await?;
    let answer = within("an answer", Visitor::get(vps.web(), online.host(), "/")).await??;
    client.stop().await?;
    let code = header(&answer.head, "tunnel-error").map(str::to_owned);
    Ok(code.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).into_owned()))
}

async fn places(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let mut serving = JoinSet::new();
    let path = world.path("app.sock");
    let listener = UnixListener::bind(&path)?;
    serving.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream).await;
        }
    });
    let got = visit(&vps, &laptop, format!("unix:{}", path.display()), &[]).await?;
    check!(got == "page", "a Unix socket gave `{got}`");
    let mut tried = vec!["a Unix socket"];
    for (address, told) in [("127.0.0.1:0", "localhost by IPv4"), ("[::1]:0", "localhost by IPv6")] {
        // There are machines without IPv6.
        let Ok(listener) = TcpListener::bind(address).await else { continue };
        let port = listener.local_addr()?.port();
        serving.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream).await;
            }
        });
        let got = visit(&vps, &laptop, port, &[]).await?;
        check!(got == "page", "{told} gave `{got}`");
        tried.push(told);
    }
    Ok(tried.join(", "))
}

async fn trust(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let (own, other) =
        (generate_self_signed(&["app.test".into()])?, generate_self_signed(&["app.test".into()])?);
    let (right, wrong) = (world.path("right.pem"), world.path("wrong.pem"));
    fs::write(&right, &own.cert_pem)?;
    fs::write(&wrong, &other.cert_pem)?;
    let (right, wrong) = (right.display().to_string(), wrong.display().to_string());
    let certificate = WebCertificate::from_pem(own.cert_pem.as_bytes(), own.key_pem.as_bytes())?;
    let tls = WebTls::new(CertStore::new(&[certificate]))?;
    let upstream = Upstream::start(move |stream| {
        let tls = tls.clone();
        async move {
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream).await;
            }
        }
    })
    .await?;
    let port = upstream.address().port();
    let loopback = format!("https://127.0.0.1:{port}");
    // Leads to this machine, and isn't known to.
    let elsewhere = format!("https://0.0.0.0:{port}");
    for (upstream, flags, expected) in [
        (&loopback, &[][..], "page"),
        (&loopback, &["--upstream-ca", &wrong], "upstream-tls"),
        (&loopback, &["--upstream-ca", &right], "page"),
        (&elsewhere, &["--upstream-ca", &wrong, "--upstream-insecure"], "upstream-tls"),
        (&elsewhere, &["--upstream-ca", &right], "page"),
        (&elsewhere, &["--upstream-insecure"], "page"),
    ] {
        let got = visit(&vps, &laptop, upstream, flags).await?;
        check!(got == expected, "{upstream} {flags:?}: `{got}`, not `{expected}`");
    }
    let ended = world.run(laptop.command("http", &loopback, &["--upstream-ca", "/none"])).await?;
    is_one_line(&ended, 1, &["/none"])?;
    Ok("6 ways".into())
}

async fn proxy(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let mut laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let upstream = Upstream::hello("site").await?;
    let passed = Arc::new(AtomicUsize::new(0));
    let counts = passed.clone();
    let proxy = Upstream::start(move |stream| {
        let counts = counts.clone();
        async move {
            // The client sees what went wrong by a connection that is missing.
            let _ = connect(stream, &counts).await;
        }
    })
    .await?;
    let through = format!("http://{}", proxy.target());
    let got = visit(&vps, &laptop, upstream.address(), &["--proxy", &through]).await?;
    check!(got.starts_with("site "), "through the proxy: {got}");
    // One, and one for each further lane: a busy machine looks like a long link.
    let lanes = passed.load(Ordering::Relaxed);
    check!(lanes > 0, "no connection came through the proxy");
    let not_through_it = || -> Outcome {
        let passed = passed.load(Ordering::Relaxed);
        check!(passed == lanes, "{} connections came through the proxy", passed - lanes);
        Ok(())
    };
    laptop.set("HTTPS_PROXY", &through);
    visit(&vps, &laptop, upstream.address(), &[]).await?;
    // It is for servers elsewhere: this one is on loopback.
    not_through_it()?;
    visit(&vps, &laptop, upstream.address(), &["--proxy", "none"]).await?;
    not_through_it()?;
    drop(proxy);
    let mut client = laptop.start("http", upstream.address(), &["--proxy", &through])?;
    let (event, _) = client.event(0, "reconnecting").await?;
    let reason = event["reason"].as_str().unwrap_or("").to_owned();
    check!(reason.contains("proxy"), "the proxy isn't named: {reason}");
    client.stop().await?;
    Ok(format!("without its proxy: `{reason}`"))
}

/// Carries one connection (RFC 9110 §9.3.6).
async fn connect(mut visitor: TcpStream, counts: &AtomicUsize) -> std::io::Result<()> {
    let mut head = Vec::new();
    let end = loop {
        if let Some(end) = find_head_end(&head) {
            break end;
        }
        if visitor.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    };
    let text = String::from_utf8_lossy(&head[..end]).into_owned();
    let to = text.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or("");
    let mut server = TcpStream::connect(to).await?;
    counts.fetch_add(1, Ordering::Relaxed);
    visitor.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (visitor.split(), server.split());
    let up = tokio::io::copy(&mut from_client, &mut to_server);
    let down = tokio::io::copy(&mut from_server, &mut to_client);
    // Who leaves first takes the other along.
    tokio::select! {
        ended = up => ended.map(drop),
        ended = down => ended.map(drop),
    }
}
