//! A client that was written from docs/PROTOCOL.md alone: what the Rust client and the server agree on between
//! themselves, and the document doesn't say, shows here.
//!
//! It is in Go (`interop/go`), made of Go's TLS and HashiCorp's yamux as Debian packages them. Where these aren't
//! installed the scenarios are skipped, and say so.

mod client;

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tunnel_testkit::{Upstream, Visitor, find_head_end};

use self::client::Client;
use crate::harness::{Outcome, Pattern, SilentUpstream, Told, Vps, World, check, until, within};

super::scenarios! {
    "a client written from the protocol's text carries every byte" => bytes,
    "a client written from the protocol's text passes ends and cuts on" => cuts,
    "a client written from the protocol's text carries a crowd" => crowd,
    "a client written from the protocol's text proves its token in plaintext" => proof,
}

const MIB: u64 = 1024 * 1024;

const SKIPPED: &str = "SKIPPED: it takes Debian's packages golang-go and golang-github-hashicorp-yamux-dev";

async fn bytes(world: Arc<World>) -> Outcome<String> {
    let Some(program) = client::build(&world).await? else { return Ok(SKIPPED.into()) };
    let length = world.pick(100 * MIB, 10 * 1024 * MIB);
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let client = Client { world, program, server: vps.control(), token: server.token()?, plaintext: false };

    let echo = Upstream::echo().await?;
    let (over_tcp, address) = client.tcp(echo.address()).await?;
    there_and_back(TcpStream::connect(address).await?, "", length).await.told("over TCP")?;
    over_tcp.stop().await?;

    let echo = Upstream::start(move |stream| async move {
        // The visitor sees what went wrong by an answer that is missing.
        let _ = echo_one_request(stream, length).await;
    })
    .await?;
    let (over_http, _) = client.http(echo.address()).await?;
    let request =
        format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n", vps.host(client::NAME));
    there_and_back(TcpStream::connect(vps.web()).await?, &request, length).await.told("over HTTP")?;
    over_http.stop().await?;
    Ok(format!("{} MiB there and back, over TCP and over HTTP", length / MIB))
}

/// Sends a pattern and reads it back at the same time. `request` is empty for plain TCP.
async fn there_and_back(mut stream: TcpStream, request: &str, length: u64) -> Outcome {
    let (mut read, mut write) = stream.split();
    let writing = async {
        write.write_all(request.as_bytes()).await?;
        Pattern::new(length).write(&mut write, length).await.told("what went")?;
        if request.is_empty() {
            write.shutdown().await?;
        }
        Outcome::Ok(())
    };
    let reading = async {
        let mut seen = Vec::new();
        if !request.is_empty() {
            let end = head(&mut read, &mut seen).await?;
            seen.drain(..end);
        }
        let mut body = io::Cursor::new(seen).chain(&mut read);
        Pattern::new(length).read(&mut body, length).await.told("what came")?;
        let more = request.is_empty() && body.read(&mut [0]).await? > 0;
        check!(!more, "more came than was sent");
        Outcome::Ok(())
    };
    within("every byte", async { tokio::try_join!(writing, reading) }).await??;
    Ok(())
}

async fn echo_one_request(mut stream: TcpStream, length: u64) -> Outcome {
    let (mut read, mut write) = stream.split();
    let mut seen = Vec::new();
    let end = head(&mut read, &mut seen).await?;
    write.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes()).await?;
    let mut body = io::Cursor::new(seen.split_off(end)).chain(&mut read).take(length);
    tokio::io::copy(&mut body, &mut write).await?;
    Ok(())
}

/// Reads until `seen` begins with a whole head; gives where that ends.
async fn head(read: &mut (impl AsyncReadExt + Unpin), seen: &mut Vec<u8>) -> Outcome<usize> {
    loop {
        match find_head_end(seen) {
            Some(end) => return Ok(end),
            None => check!(read.read_buf(seen).await? > 0, "the connection ended before a head"),
        }
    }
}

async fn cuts(world: Arc<World>) -> Outcome<String> {
    let Some(program) = client::build(&world).await? else { return Ok(SKIPPED.into()) };
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let client = Client { world, program, server: vps.control(), token: server.token()?, plaintext: false };

    let cutting = Upstream::sends_then_resets(b"half").await?;
    let (process, address) = client.tcp(cutting.address()).await?;
    let mut visitor = TcpStream::connect(address).await?;
    visitor.write_all(b"1").await?;
    visitor.read_exact(&mut [0; 4]).await?;
    visitor.write_all(b"2").await?;
    let cut = within("the end", visitor.read(&mut [0])).await?;
    check!(is_reset(&cut), "an upstream that broke off looks like {cut:?} to a visitor of TCP");
    process.kill().await?;

    let seen = Arc::new(Semaphore::new(0));
    let cutting = cutting_http(seen.clone()).await?;
    let (process, host) = client.http(cutting.address()).await?;
    let mut visitor = Visitor::connect(vps.web()).await?;
    visitor.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await?;
    visitor.head().await?;
    seen.add_permits(1);
    let cut = within("the end", visitor.rest()).await?;
    let whole = cut.is_ok_and(|rest| rest.ends_with(b"0\r\n\r\n"));
    check!(!whole, "an upstream that broke off looks like an end to a visitor of HTTP");
    process.kill().await?;

    let (told, mut tells) = mpsc::channel(1);
    let ending = Upstream::start(move |stream| {
        let told = told.clone();
        async move {
            let _ = told.send(end_first(stream).await).await;
        }
    })
    .await?;
    let (process, address) = client.tcp(ending.address()).await?;
    let mut visitor = TcpStream::connect(address).await?;
    let mut said = Vec::new();
    within("the upstream's end", visitor.read_to_end(&mut said)).await??;
    check!(said == b"bye", "an upstream that ended first said {said:?}");
    Pattern::new(1).write(&mut visitor, MIB).await?;
    visitor.shutdown().await?;
    let end = within("what the upstream saw", tells.recv()).await?;
    check!(matches!(end, Some(Ok(()))), "an upstream that ended first then read: {end:?}");

    let mut visitor = TcpStream::connect(address).await?;
    visitor.read_to_end(&mut said).await?;
    visitor.set_zero_linger()?;
    drop(visitor);
    let end = within("what the upstream saw", tells.recv()).await?;
    check!(matches!(end, Some(Err(_))), "a visitor who broke off looks like {end:?} to the upstream");

    let mut visitor = TcpStream::connect(address).await?;
    visitor.read_exact(&mut [0; 3]).await?;
    process.kill().await?;
    let end = within("what the upstream saw", tells.recv()).await?;
    check!(matches!(end, Some(Err(_))), "a killed client looks like {end:?} to the upstream");
    Ok("cut by upstream, visitor and client; ended by the upstream first".into())
}

fn is_reset<T>(outcome: &io::Result<T>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

/// Begins an answer whose length nobody knows, and breaks off once the visitor has seen it.
async fn cutting_http(seen: Arc<Semaphore>) -> io::Result<Upstream> {
    Upstream::start(move |mut stream| {
        let seen = seen.clone();
        async move {
            let begun = async {
                head(&mut stream, &mut Vec::new()).await?;
                stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf").await?;
                seen.acquire().await?.forget();
                Outcome::Ok(stream.set_zero_linger()?)
            };
            let _ = begun.await;
        }
    })
    .await
}

/// Ends its side at once and reads on: gives whether all came, up to a proper end.
async fn end_first(mut stream: TcpStream) -> Outcome {
    stream.write_all(b"bye").await?;
    stream.shutdown().await?;
    Pattern::new(1).read(&mut stream, MIB).await?;
    let more = stream.read(&mut [0]).await?;
    check!(more == 0, "more came than was sent");
    Ok(())
}

async fn crowd(world: Arc<World>) -> Outcome<String> {
    let Some(program) = client::build(&world).await? else { return Ok(SKIPPED.into()) };
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let silent = SilentUpstream::start(&world).await?;
    let site = Upstream::hello("site").await?;
    let client = Client { world, program, server: vps.control(), token: server.token()?, plaintext: false };

    // More than yamux leaves unacknowledged.
    let (process, address) = client.tcp(silent.address).await?;
    let mut waiting = Vec::new();
    for _ in 0..600 {
        waiting.push(TcpStream::connect(address).await?);
    }
    until("600 visitors at a silent upstream", || Ok(silent.connections()? == waiting.len())).await?;

    let (other, host) = client.http(site.address()).await?;
    let (mut visits, web) = (JoinSet::new(), vps.web());
    for _ in 0..500 {
        let host = host.clone();
        visits.spawn(async move { Visitor::get(web, &host, "/").await });
    }
    while let Some(answer) = within("a page", visits.join_next()).await? {
        let answer = answer??;
        check!(answer.status == 200, "one of 500 visitors got {}", answer.status);
    }

    process.kill().await?;
    for mut visitor in waiting {
        let end = within("the end of a visitor's connection", visitor.read(&mut [0])).await?;
        check!(is_reset(&end), "a killed client looks like {end:?} to a visitor");
    }
    until("the silent upstream without visitors", || Ok(silent.connections()? == 0)).await?;
    other.stop().await?;
    Ok("600 visitors of a silent upstream, 500 of a site at once".into())
}

async fn proof(world: Arc<World>) -> Outcome<String> {
    let Some(program) = client::build(&world).await? else { return Ok(SKIPPED.into()) };
    let mut vps = Vps::new(&world, &["--plaintext"])?;
    let server = vps.start().await?;
    let site = Upstream::hello("site").await?;
    let client = Client { world, program, server: vps.control(), token: server.token()?, plaintext: true };
    let (process, host) = client.http(site.address()).await?;
    let answer = within("a page", Visitor::get(vps.web(), &host, "/")).await??;
    check!(answer.status == 200, "a visitor got {}", answer.status);
    process.stop().await?;

    vps.revoke("default").await?;
    let ended = client.world.run(client.command("http", site.address())).await?;
    let unauthorized = ended.status == Some(3) && ended.stderr.contains("unauthorized");
    check!(unauthorized, "a proof by a revoked token: {ended:?}");
    Ok("in with a proof, refused once the token was revoked".into())
}
