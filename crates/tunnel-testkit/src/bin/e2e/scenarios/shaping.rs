//! The flags about bytes and lifetimes each change what they say.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tunnel_testkit::{Answer, Upstream, Visitor, header};

use crate::harness::{Fault, Laptop, Online, Outcome, Vps, World, check, ms, within};

super::scenarios! {
    "answers are compressed with --compress, and only for visitors who take it" => compress,
    "visitors keep to the --bandwidth together, and other tunnels don't feel it" => bandwidth,
    "an upstream is told who visits with --proxy-protocol" => told,
    "a load balancer is believed with --accept-proxy-protocol, and nobody else is" => believed,
    "a tunnel with --expire is over in time, and its client ends well" => expire,
}

async fn ask(web: SocketAddr, request: &str) -> Outcome<Answer> {
    let mut visitor = Visitor::connect(web).await?;
    visitor.send(request).await?;
    Ok(within("an answer", visitor.answer()).await??)
}

fn port(online: &Online) -> Outcome<u16> {
    let port = online.url.rsplit(':').next().and_then(|port| port.parse().ok());
    port.ok_or(Fault::new(format!("no port in `{}`", online.url)))
}

async fn compress(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let body = "<p>the same again</p>\n".repeat(5_000);
    let length = body.len();
    let upstream = Upstream::raw_http(move |_| {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n", body.len());
        Some((head + &body).into_bytes())
    });
    let upstream = upstream.await?;
    let mut sizes = Vec::new();
    for (flags, accepted, expected) in [
        (&["--compress"][..], "gzip, br", Some("gzip")),
        (&["--compress"], "br", None),
        (&["--compress"], "gzip;q=0", None),
        (&[], "gzip, br", None),
    ] {
        let mut client = laptop.start("http", upstream.address(), flags)?;
        let online = Online::wait(&mut client, 0).await?;
        let host = online.host();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: {accepted}\r\n\r\n");
        let answer = ask(vps.web(), &request).await?;
        let coding = header(&answer.head, "content-encoding");
        check!(coding == expected, "{flags:?} for `{accepted}`: {coding:?}");
        check!((answer.body.len() < length) == expected.is_some(), "{} of {length} bytes", answer.body.len());
        check!(expected.is_none() || answer.body.starts_with(&[0x1F, 0x8B]), "this isn't gzip");
        sizes.push(answer.body.len());
        client.stop().await?;
    }
    Ok(format!("{length} bytes became {}", sizes[0]))
}

async fn bandwidth(world: Arc<World>) -> Outcome<String> {
    const LIMIT: u128 = 500_000;
    const EACH: usize = 500_000;
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let echo = Upstream::echo().await?;
    let mut slow = laptop.start("tcp", echo.address(), &["--bandwidth", "500kB/s"])?;
    let slow_port = port(&Online::wait(&mut slow, 0).await?)?;
    let (_fast, fast) = laptop.tcp(echo.address()).await?;
    let began = Instant::now();
    within("the slow visitors", async {
        let at = SocketAddr::from(([127, 0, 0, 1], slow_port));
        tokio::try_join!(round_trip(at, EACH), round_trip(at, EACH), round_trip(at, EACH))
    })
    .await??;
    let took = began.elapsed();
    // A burst of 100 ms, and the last grant.
    let allowed = LIMIT * (took.as_millis() + 100) / 1000 + 16_384;
    let moved = 3 * EACH;
    check!(moved as u128 <= allowed, "{moved} bytes each way in {}", ms(took));
    let began = Instant::now();
    within("a fast visitor", round_trip(fast, EACH)).await??;
    let fast = began.elapsed();
    Ok(format!("{moved} bytes each way took {}, and {EACH} elsewhere {}", ms(took), ms(fast)))
}

async fn round_trip(at: SocketAddr, length: usize) -> Outcome {
    let (mut read, mut write) = TcpStream::connect(at).await?.into_split();
    let sent = vec![0x55; length];
    let writing = async {
        write.write_all(&sent).await?;
        write.shutdown().await
    };
    let mut back = Vec::new();
    tokio::try_join!(writing, read.read_to_end(&mut back))?;
    check!(back == sent, "{} of {length} bytes came back, or others", back.len());
    Ok(())
}

/// What a TCP visitor hears that says this and ends.
async fn say(port: u16, said: &str) -> Outcome<(String, SocketAddr)> {
    let mut visitor = TcpStream::connect(("127.0.0.1", port)).await?;
    let own = visitor.local_addr()?;
    visitor.write_all(said.as_bytes()).await?;
    visitor.shutdown().await?;
    let mut heard = Vec::new();
    // A reset says as much as an end.
    let _ = within("the end", visitor.read_to_end(&mut heard)).await?;
    Ok((String::from_utf8_lossy(&heard).into_owned(), own))
}

async fn told(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let echo = Upstream::echo().await?;
    let mut first_bytes = Vec::new();
    for (flags, prefix) in [
        (&["--proxy-protocol", "v1"][..], "PROXY TCP4 127.0.0.1 127.0.0.1 "),
        (&["--proxy-protocol", "v2"], "\r\n\r\n"),
    ] {
        let mut client = laptop.start("tcp", echo.address(), flags)?;
        let port = port(&Online::wait(&mut client, 0).await?)?;
        let (heard, own) = say(port, "hello").await?;
        check!(heard.starts_with(prefix) && heard.ends_with("hello"), "{flags:?}: {heard:?}");
        if flags[1] == "v1" {
            let line = format!("{prefix}{} {port}\r\nhello", own.port());
            check!(heard == line, "{heard:?} instead of {line:?}");
        }
        first_bytes.push(heard.len() - 5);
        client.stop().await?;
    }
    let refused = world.run(laptop.command("udp", echo.address(), &["--proxy-protocol", "v2"])).await?;
    check!(refused.status != Some(0), "it was taken for UDP: {refused:?}");
    Ok(format!("headers of {first_bytes:?} bytes"))
}

async fn believed(world: Arc<World>) -> Outcome<String> {
    let seen = Upstream::raw_http(|head| {
        let body = header(head, "x-forwarded-for").unwrap_or("none");
        Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
    });
    let seen = seen.await?;
    let line = "PROXY TCP4 192.0.2.7 192.0.2.1 4000 80\r\n";
    let mut vps = Vps::new(&world, &[])?;
    let mut token = None;
    for (networks, believed) in [("127.0.0.0/8", true), ("192.0.2.0/24", false)] {
        vps.set("TUNNEL_ACCEPT_PROXY_PROTOCOL", networks);
        let mut server = vps.start().await?;
        token = server.first_token.take().or(token);
        let laptop = Laptop::new(&world, "laptop", vps.control(), token.as_deref().unwrap_or_default());
        let (client, online) = laptop.http(seen.address(), "app").await?;
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", online.host());
        let with_header = ask(vps.web(), &format!("{line}{request}")).await;
        let without = ask(vps.web(), &request).await;
        if believed {
            check!(with_header?.body == b"192.0.2.7", "the header wasn't believed");
            check!(without.is_err(), "a connection without a header was served");
        } else {
            check!(with_header?.status == 400, "the header was taken for something");
            check!(without?.body == b"127.0.0.1", "another address than the visitor's");
        }
        client.stop().await?;
        server.process.stop().await?;
    }
    Ok("its word on the visitor's address reached the upstream".into())
}

async fn expire(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &["--hold", "60s"])?;
    let server = vps.start().await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let upstream = Upstream::hello("demo").await?;
    let mut client = laptop.start("http", upstream.address(), &["--subdomain", "demo", "--expire", "2s"])?;
    let online = Online::wait(&mut client, 0).await?;
    let answer = within("a page", Visitor::get(vps.web(), online.host(), "/")).await??;
    check!(answer.status == 200, "{}", answer.status);
    let status = client.exit().await?;
    let lived = online.at.elapsed();
    check!(status == Some(0), "the client ended with {status:?}");
    check!(lived.as_millis() >= 1_900, "it was over after {}", ms(lived));
    let answer = within("an answer", Visitor::get(vps.web(), online.host(), "/")).await??;
    let code = header(&answer.head, "tunnel-error").unwrap_or("none");
    check!(code == "tunnel-not-found", "visitors hear `{code}`");
    Ok(format!("over {} after it was online", ms(lived)))
}
