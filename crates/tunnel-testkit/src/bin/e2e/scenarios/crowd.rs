//! Thousands of visitors on an upstream that never answers.

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::TcpStream, task::JoinSet, time::Instant};
use tunnel_testkit::{Upstream, Visitor};

use crate::harness::{
    Laptop, Outcome, Process, SilentUpstream, Told, Vps, World, check, ms, open_files_limit, until, within,
};

super::scenarios! {
    "thousands of visitors on a silent upstream are all connected, and leave nothing behind" => crowd,
}

/// Visitors on their way at a time: fewer than fit in any queue of the system. One that overflows forgets visitors
/// who have nothing to say, while they believe that they are connected.
const WAVE: usize = 500;

async fn crowd(world: Arc<World>) -> Outcome<String> {
    let wanted = world.pick(2_000, 10_000);
    let count = wanted.min(open_files_limit().saturating_sub(500));
    let mut vps = Vps::new(&world, &["--hold", "1s"])?;
    let server = vps.start().await?;
    let silent = SilentUpstream::start(&world).await?;
    let site = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (client, address) = laptop.tcp(silent.address).await?;
    let (other, online) = laptop.http(site.address(), "myapp").await?;
    let page = async || -> Outcome<std::time::Duration> {
        let began = Instant::now();
        let answer = within("a page", Visitor::get(vps.web(), online.host(), "/")).await??;
        check!(answer.status == 200, "a visitor of another tunnel got {}", answer.status);
        Ok(began.elapsed())
    };
    // What the first visitors cost isn't what each costs.
    let mut first = Vec::new();
    bring(&mut first, address, &silent, WAVE).await.told("the first visitors")?;
    drop(first);
    until("the first visitors' end", || Ok(silent.connections()? == 0)).await?;
    page().await?;

    let at_rest = Rest::of(&server.process, &client)?;
    let began = Instant::now();
    let mut visitors = Vec::with_capacity(count);
    let arrived = bring(&mut visitors, address, &silent, count).await;
    arrived.told(format!(
        "{} of {} came through, {} were cut off",
        silent.connections()?,
        visitors.len(),
        cut_off(&visitors)
    ))?;
    let came = began.elapsed();
    let beside = page().await?;
    let full = Rest::of(&server.process, &client)?;
    let each = |full: u64, rest: u64| full.saturating_sub(rest) / count as u64;
    let cost =
        (each(full.server_memory, at_rest.server_memory), each(full.client_memory, at_rest.client_memory));

    let began = Instant::now();
    drop(visitors);
    until("the upstream without visitors", || Ok(silent.connections()? == 0)).await?;
    // Lanes that were opened for the crowd are kept for the next one.
    let lanes = further_lanes(&client);
    let is_at_rest = || {
        let now = Rest::of(&server.process, &client)?;
        Ok(now.server_files <= at_rest.server_files + lanes
            && now.client_files <= at_rest.client_files + lanes)
    };
    until("files and sockets as at rest", is_at_rest).await?;
    let left = began.elapsed();
    page().await?;
    // What listens and waits for the tunnels' sake goes with them; whatever is left then was left behind.
    client.stop().await?;
    other.stop().await?;
    until("the port's end", || Ok(std::net::TcpStream::connect(address).is_err())).await?;
    let (tasks, files) = (tasks_at_the_end(server.process).await?, at_rest.server_files);
    check!(tasks == 0, "the server still had {tasks} tasks for visitors");
    Ok(format!(
        "{count} visitors in {}, gone in {}; each {} bytes in the server, {} in the client; a page beside them {}; \
         {files} files open as before, but for {lanes} lanes that stay; {tasks} tasks left",
        ms(came),
        ms(left),
        cost.0,
        cost.1,
        ms(beside)
    ))
}

/// What the two processes use.
#[derive(Clone, Copy, Debug)]
struct Rest {
    server_files: usize,
    client_files: usize,
    server_memory: u64,
    client_memory: u64,
}

impl Rest {
    fn of(server: &Process, client: &Process) -> Outcome<Self> {
        Ok(Self {
            server_files: server.open_files()?,
            client_files: client.open_files()?,
            server_memory: server.memory()?,
            client_memory: client.memory()?,
        })
    }
}

/// Connects visitors, wave after wave, until there are `count`; each wave has come through before the next.
async fn bring(
    visitors: &mut Vec<TcpStream>,
    address: SocketAddr,
    silent: &SilentUpstream,
    count: usize,
) -> Outcome {
    while visitors.len() < count {
        let mut wave = JoinSet::new();
        for _ in 0..WAVE.min(count - visitors.len()) {
            wave.spawn(TcpStream::connect(address));
        }
        while let Some(visitor) = wave.join_next().await {
            visitors.push(visitor??);
        }
        until("all of a wave at the upstream", || Ok(silent.connections()? == visitors.len())).await?;
    }
    Ok(())
}

/// How many visitors have lost their connection, as far as they know.
fn cut_off(visitors: &[TcpStream]) -> usize {
    let is_cut = |visitor: &&TcpStream| match visitor.try_read(&mut [0]) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    };
    visitors.iter().filter(is_cut).count()
}

/// How many lanes a client has beside its first.
fn further_lanes(client: &Process) -> usize {
    let lines = client.lines();
    let mut counts = lines.iter().rev().filter_map(|line| {
        let value: serde_json::Value = serde_json::from_str(&line.text).ok()?;
        value["lanes"].as_u64()
    });
    counts.next().map_or(0, |lanes| usize::try_from(lanes).unwrap_or(1) - 1)
}

/// How many tasks of visitors a server still has, as it says itself when asked to stop.
async fn tasks_at_the_end(mut server: Process) -> Outcome<u64> {
    let mark = server.mark();
    server.signal(rustix::process::Signal::TERM)?;
    let find = |line: &crate::harness::Line| {
        let value: serde_json::Value = serde_json::from_str(&line.text).ok()?;
        if value["message"] == "draining" { value["tasks"].as_u64() } else { None }
    };
    server.line(mark, "how many tasks it has", find).await
}
