//! Strangers who connect and say nothing.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::Instant,
};
use tunnel_testkit::{Upstream, Visitor};

use crate::harness::{Laptop, Outcome, Vps, World, check, ms, until, within};

super::scenarios! {
    "a thousand silent sockets keep nobody from logging in, and are gone by the deadline" => silent_logins,
    "a thousand visitors who never finish a request keep nobody from a page" => slow_visitors,
}

/// From one address; a server takes at most 32.
const PER_ADDRESS: u8 = 25;
const ADDRESSES: u8 = 40;

async fn silent_logins(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let at_rest = server.process.open_files()?;
    let began = Instant::now();
    let mut strangers = JoinSet::new();
    for number in 0..ADDRESSES {
        for odd in 0..PER_ADDRESS {
            // All of 127/8 is this machine.
            let mut stream = connect([127, 0, 1, number + 1], vps.control()).await?;
            if odd % 2 == 1 {
                // A client's first TLS record, begun.
                stream.write_all(&[22, 3, 1]).await?;
            }
            strangers.spawn(async move {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            });
        }
    }
    let count = strangers.len();
    until("all strangers let in", || Ok(server.process.open_files()? >= at_rest + count)).await?;
    let memory = server.process.memory()?;
    let (client, online) = laptop.http(upstream.address(), "myapp").await?;
    let beside = online.at - client.started;
    check!(strangers.try_join_next().is_none(), "a stranger was gone before the login: nothing was shown");
    within("the strangers' end", async { while strangers.join_next().await.is_some() {} }).await?;
    let gone = began.elapsed();
    client.stop().await?;
    until("the server's sockets as at rest", || Ok(server.process.open_files()? <= at_rest)).await?;
    Ok(format!(
        "{count} strangers; online beside them after {}; all gone after {}; the server had {} MiB",
        ms(beside),
        ms(gone),
        memory / 1024 / 1024
    ))
}

async fn slow_visitors(world: Arc<World>) -> Outcome<String> {
    let count = 1_000;
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (_client, online) = laptop.http(upstream.address(), "myapp").await?;
    let at_rest = server.process.open_files()?;
    within("a page", Visitor::get(vps.web(), online.host(), "/")).await??;
    let began = Instant::now();
    let mut strangers = JoinSet::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(vps.web()).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: my").await?;
        strangers.spawn(async move {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        });
    }
    until("all strangers let in", || Ok(server.process.open_files()? >= at_rest + count)).await?;
    let asked = Instant::now();
    let answer = within("a page", Visitor::get(vps.web(), online.host(), "/")).await??;
    let page = asked.elapsed();
    check!(answer.status == 200, "{}", answer.status);
    within("the strangers' end", async { while strangers.join_next().await.is_some() {} }).await?;
    let gone = began.elapsed();
    until("the server's sockets as at rest", || Ok(server.process.open_files()? <= at_rest)).await?;
    Ok(format!("{count} strangers; a page beside them in {}; all gone after {}", ms(page), ms(gone)))
}

async fn connect(from: [u8; 4], to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(to).await
}
