//! Being asked to stop: what is under way finishes, and a second signal means it.

use std::{sync::Arc, time::Duration};

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::Instant,
};
use tunnel_testkit::{Upstream, Visitor};

use crate::harness::{Laptop, Outcome, Process, Vps, World, check, ms, within};

super::scenarios! {
    "a server that is asked to stop finishes a download under way" => server_finishes,
    "a client that is asked to stop finishes a download under way" => client_finishes,
    "a second signal ends server and client at once" => second_signal,
}

/// Sends half of its answer, and the rest when it is let.
async fn halting(go: Arc<Semaphore>) -> std::io::Result<Upstream> {
    Upstream::start(move |stream| {
        let go = go.clone();
        async move {
            let _ = half_by_half(stream, &go).await;
        }
    })
    .await
}

async fn half_by_half(mut stream: TcpStream, go: &Semaphore) -> Outcome {
    stream.read_buf(&mut Vec::with_capacity(4096)).await?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await?;
    go.acquire().await?.forget();
    stream.write_all(b"-half").await?;
    stream.shutdown().await?;
    Ok(())
}

/// A visitor who has half of the answer.
async fn half_served(vps: &Vps, host: &str) -> Outcome<Visitor> {
    let mut visitor = Visitor::connect(vps.web()).await?;
    visitor.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await?;
    within("the head", visitor.head()).await??;
    let half = within("the first half", visitor.exactly(5)).await??;
    check!(half == b"first", "{half:?}");
    Ok(visitor)
}

async fn server_finishes(world: Arc<World>) -> Outcome<String> {
    let go = Arc::new(Semaphore::new(0));
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let upstream = halting(go.clone()).await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (_client, online) = laptop.http(upstream.address(), "slow").await?;
    let mut visitor = half_served(&vps, online.host()).await?;
    let finished = finish(server.process, &mut visitor, &go).await?;

    let server = vps.start().await?;
    let idle = server.process.stop().await?;
    Ok(format!("gone {} after the download's end; an idle one {} after the signal", ms(finished), ms(idle)))
}

async fn client_finishes(world: Arc<World>) -> Outcome<String> {
    let go = Arc::new(Semaphore::new(0));
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let upstream = halting(go.clone()).await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (client, online) = laptop.http(upstream.address(), "slow").await?;
    let mut visitor = half_served(&vps, online.host()).await?;
    let finished = finish(client, &mut visitor, &go).await?;
    let (client, _) = laptop.http(upstream.address(), "slow").await?;
    let idle = client.stop().await?;
    Ok(format!("gone {} after the download's end; an idle one {} after the signal", ms(finished), ms(idle)))
}

/// Asks a process to stop, lets the download go on, and waits for both to end well.
async fn finish(mut process: Process, visitor: &mut Visitor, go: &Semaphore) -> Outcome<Duration> {
    let mark = process.mark();
    process.signal(Signal::TERM)?;
    process.says(mark, "draining").await?;
    go.add_permits(1);
    let rest = within("the second half", visitor.exactly(5)).await??;
    check!(rest == b"-half", "{rest:?}");
    let done = Instant::now();
    let status = process.exit().await?;
    check!(status == Some(0), "the exit status is {status:?}");
    Ok(done.elapsed())
}

async fn second_signal(world: Arc<World>) -> Outcome<String> {
    let go = Arc::new(Semaphore::new(0));
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let upstream = halting(go.clone()).await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let mut took = Vec::new();
    let (client, online) = laptop.http(upstream.address(), "slow").await?;
    let _visitor = half_served(&vps, online.host()).await?;
    took.push(ms(stop_twice(client, 128 + 15).await?));
    let (_client, online) = laptop.http(upstream.address(), "slow").await?;
    let mut visitor = half_served(&vps, online.host()).await?;
    took.push(ms(stop_twice(server.process, 128 + 15).await?));
    let cut = within("the visitor's end", visitor.exactly(5)).await?;
    check!(cut.is_err(), "a cut answer ended as if it were whole");
    Ok(format!("client in {}, server in {}", took[0], took[1]))
}

async fn stop_twice(mut process: Process, expected: i32) -> Outcome<Duration> {
    let mark = process.mark();
    process.signal(Signal::TERM)?;
    process.says(mark, "draining").await?;
    // sleep: signals within a tenth of a second count as one, since shells may send each twice
    tokio::time::sleep(Duration::from_millis(200)).await;
    let second = Instant::now();
    process.signal(Signal::TERM)?;
    let status = process.exit().await?;
    check!(status == Some(expected), "after a second signal the exit status is {status:?}, not {expected}");
    Ok(second.elapsed())
}
