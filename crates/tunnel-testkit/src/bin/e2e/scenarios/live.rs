//! Streams that live: every piece goes through at once, nothing is saved up.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tunnel_testkit::{Upstream, Visitor, find_head_end};

use crate::harness::{Fault, Laptop, Outcome, Told, Vps, World, check, spread, within};

super::scenarios! {
    "an upgraded connection echoes every message before the next is sent" => upgraded,
    "each event of an event stream arrives before the next is sent" => events,
}

async fn upgraded(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let upstream = Upstream::start(|stream| async move {
        let _ = echo_after_upgrade(stream).await;
    })
    .await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (_client, online) = laptop.http(upstream.address(), "chat").await?;
    let mut visitor = Visitor::connect(vps.web()).await?;
    visitor
        .send(format!(
            "GET /chat HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            online.host()
        ))
        .await?;
    let head = within("the upgrade", visitor.head()).await??;
    check!(head.starts_with("HTTP/1.1 101 "), "no upgrade: {head}");
    check!(within("the greeting", visitor.exactly(5)).await?? == b"hello", "another greeting");
    let until = Instant::now() + world.pick(Duration::from_secs(3), Duration::from_secs(300));
    let mut trips = Vec::new();
    for number in 0_u32.. {
        if Instant::now() > until {
            break;
        }
        // Of all sizes, small ones more often.
        let size = [1, 2, 125, 126, 1_000, 65_536, 70_001][number as usize % 7];
        let message: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(size).collect();
        let sent = Instant::now();
        visitor.send(&message).await?;
        let echo = within("an echo", visitor.exactly(size)).await?.told(format!("echo {number}"))?;
        check!(echo == message, "echo {number} differs");
        trips.push(sent.elapsed());
    }
    visitor.stream().shutdown().await?;
    check!(within("the end", visitor.rest()).await??.is_empty(), "more than was sent");
    Ok(format!("{} messages up to 70 kB; round trip {}", trips.len(), spread(trips)))
}

pub(super) async fn echo_after_upgrade(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while find_head_end(&head).is_none() {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    // The greeting comes with the head: it mustn't be lost in between.
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello";
    stream.write_all(answer.as_bytes()).await?;
    let (mut read, mut write) = stream.split();
    tokio::io::copy(&mut read, &mut write).await?;
    write.shutdown().await
}

async fn events(world: Arc<World>) -> Outcome<String> {
    let every = Duration::from_millis(100);
    let count = world.pick(30, 3_000);
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    // The upstream sends an event only when the one before has been seen.
    let seen = Arc::new(Semaphore::new(1));
    let (sent, mut times) = mpsc::channel::<Instant>(1);
    let upstream = {
        let seen = seen.clone();
        Upstream::start(move |stream| {
            let (seen, sent) = (seen.clone(), sent.clone());
            async move {
                let _ = send_events(stream, &seen, &sent, every).await;
            }
        })
        .await?
    };
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (_client, online) = laptop.http(upstream.address(), "news").await?;
    let mut visitor = Visitor::connect(vps.web()).await?;
    visitor
        .send(format!("GET / HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n", online.host()))
        .await?;
    let head = within("the head", visitor.head()).await??;
    check!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut latencies = Vec::new();
    for number in 0..count {
        let event = within("an event", visitor.chunk()).await?.told(format!("event {number}"))?;
        let sent = times.recv().await.ok_or(Fault::new("the upstream is gone"))?;
        latencies.push(sent.elapsed());
        let expected = format!("data: {number}\n\n");
        check!(event == expected.as_bytes(), "{:?} instead of {expected:?}", String::from_utf8_lossy(&event));
        seen.add_permits(1);
    }
    Ok(format!("{count} events, one every {} ms; on their way for {}", every.as_millis(), spread(latencies)))
}

async fn send_events(
    mut stream: TcpStream,
    seen: &Semaphore,
    sent: &mpsc::Sender<Instant>,
    every: Duration,
) -> Outcome {
    stream.read_buf(&mut Vec::with_capacity(4096)).await?;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    for number in 0_u32.. {
        // sleep: the pace of the events
        tokio::time::sleep(every).await;
        seen.acquire().await?.forget();
        let event = format!("data: {number}\n\n");
        sent.send(Instant::now()).await?;
        stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
    }
    Ok(())
}
