//! Much data, both ways: every byte arrives, none twice.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tunnel_testkit::{Upstream, Visitor, find_head_end, header};

use crate::harness::{Laptop, Outcome, Pattern, Told, Vps, World, check};

super::scenarios! {
    "a large upload and download over HTTP are equal byte by byte" => over_http,
    "a large upload and download over TCP are equal byte by byte" => over_tcp,
}

pub(super) const MIB: u64 = 1024 * 1024;
pub(super) const UP: u64 = 1;
pub(super) const DOWN: u64 = 2;

async fn over_http(world: Arc<World>) -> Outcome<String> {
    let length = world.pick(64 * MIB, 10 * 1024 * MIB);
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let upstream = Upstream::start(move |stream| async move {
        // The visitor sees what went wrong by an answer that is missing.
        let _ = answer_http(stream, length).await;
    })
    .await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (client, online) = laptop.http(upstream.address(), "bulk").await?;

    let mut visitor = Visitor::connect(vps.web()).await?;
    let began = Instant::now();
    upload(&mut visitor, online.host(), length).await?;
    let up = rate(length, began);
    let began = Instant::now();
    download(&mut visitor, online.host(), length).await?;
    let down = rate(length, began);
    Ok(format!(
        "{} MiB each way; up {up}, down {down}; server {}, client {}",
        length / MIB,
        memory(&server.process)?,
        memory(&client)?
    ))
}

/// Sends a body to [`answer_http`], which must find it equal.
pub(super) async fn upload<S>(visitor: &mut Visitor<S>, host: &str, length: u64) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    visitor.send(format!("PUT / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n")).await?;
    Pattern::new(UP).write(visitor.stream(), length).await.told("the upload")?;
    let answer = visitor.answer().await.told("the upload's answer")?;
    let body = String::from_utf8_lossy(&answer.body);
    check!(answer.status == 200 && body == "equal", "the upload: {} {body:.300}", answer.status);
    Ok(())
}

/// Reads a body from [`answer_http`] and compares it.
pub(super) async fn download<S>(visitor: &mut Visitor<S>, host: &str, length: u64) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    visitor.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await?;
    let head = visitor.head().await?;
    check!(header(&head, "content-length") == Some(&length.to_string()), "the download begins with {head}");
    // What came with the head belongs to the body.
    let beginning = visitor.buffered();
    let mut body = std::io::Cursor::new(beginning).chain(visitor.stream());
    Pattern::new(DOWN).read(&mut body, length).await.told("the download")
}

/// PUT: judges the body. GET: sends one.
pub(super) async fn answer_http(mut stream: TcpStream, length: u64) -> Outcome {
    let mut seen = Vec::new();
    loop {
        let end = loop {
            match find_head_end(&seen) {
                Some(end) => break end,
                None => check!(stream.read_buf(&mut seen).await? > 0, "the connection is over"),
            }
        };
        let head = String::from_utf8_lossy(&seen[..end]).into_owned();
        let rest = seen.split_off(end);
        seen.clear();
        if head.starts_with("PUT") {
            let mut body = std::io::Cursor::new(rest).chain(&mut stream);
            let verdict = match Pattern::new(UP).read(&mut body, length).await {
                Ok(()) => "equal".to_owned(),
                Err(fault) => fault.to_string(),
            };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{verdict}", verdict.len());
            stream.write_all(answer.as_bytes()).await?;
        } else {
            stream
                .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes())
                .await?;
            Pattern::new(DOWN).write(&mut stream, length).await?;
        }
    }
}

async fn over_tcp(world: Arc<World>) -> Outcome<String> {
    let length = world.pick(64 * MIB, 10 * 1024 * MIB);
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    // Both directions at once; each side ends what it sends as soon as it has sent it.
    let upstream = Upstream::start(move |stream| async move {
        let _ = both_ways(stream, (DOWN, UP), length).await;
    })
    .await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (client, address): (_, SocketAddr) = laptop.tcp(upstream.address()).await?;
    let visitor = TcpStream::connect(address).await?;
    let began = Instant::now();
    both_ways(visitor, (UP, DOWN), length).await?;
    let both = rate(2 * length, began);
    Ok(format!(
        "{} MiB each way at once: {both}; server {}, client {}",
        length / MIB,
        memory(&server.process)?,
        memory(&client)?
    ))
}

/// Sends one pattern and reads another. The last byte is the verdict of the peer, sent when it has read all.
pub(super) async fn both_ways(mut stream: TcpStream, (out, back): (u64, u64), length: u64) -> Outcome {
    let (mut read, mut write) = stream.split();
    let (read_all, said_all) = tokio::sync::oneshot::channel();
    let reading = async {
        Pattern::new(back).read(&mut read, length).await.told("what came")?;
        let _ = read_all.send(());
        let mut rest = Vec::new();
        read.read_to_end(&mut rest).await?;
        check!(rest == b"equal", "the other side found no equal bytes: {rest:?}");
        Ok(())
    };
    let writing = async {
        Pattern::new(out).write(&mut write, length).await.told("what went")?;
        said_all.await?;
        write.write_all(b"equal").await?;
        write.shutdown().await?;
        Outcome::Ok(())
    };
    tokio::try_join!(reading, writing).map(|((), ())| ())
}

fn rate(bytes: u64, since: Instant) -> String {
    format!("{:.0} MiB/s", bytes as f64 / MIB as f64 / since.elapsed().as_secs_f64())
}

fn memory(process: &crate::harness::Process) -> Outcome<String> {
    Ok(format!("{} MiB", process.memory()? / MIB))
}
