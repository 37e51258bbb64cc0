//! Planned restarts, of either side, under load: nobody notices.

use std::sync::Arc;

use tokio::time::Instant;
use tunnel_testkit::Upstream;

use crate::harness::{Laptop, Load, Online, Outcome, Vps, World, check, ms, spread};

super::scenarios! {
    "restarting client and server under 200 requests a second fails none of them" => under_load,
}

/// Requests a second.
const RATE: u32 = 200;

async fn under_load(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::with_held_sockets(&world, &[])?;
    let mut server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let token = vps.token("ana").await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &token);
    let (mut client, online) = laptop.http(upstream.address(), "myapp").await?;
    let load = Load::start(vps.web(), online.host(), RATE);
    let rounds = world.pick(3, 10);
    let (mut clients, mut servers, mut drains) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        load.answers(u64::from(RATE)).await?;
        let asked = Instant::now();
        client.stop().await?;
        let (process, now) = laptop.http(upstream.address(), "myapp").await?;
        check!(now.url == online.url, "back as {} instead of {}", now.url, online.url);
        clients.push(now.at - asked);
        client = process;
    }
    for _ in 0..rounds {
        load.answers(u64::from(RATE)).await?;
        let (asked, mark) = (Instant::now(), client.mark());
        drains.push(server.process.stop().await?);
        server = vps.start().await?;
        let now = Online::wait(&mut client, mark).await?;
        check!(now.url == online.url, "back as {} instead of {}", now.url, online.url);
        servers.push(asked.elapsed());
    }
    load.answers(u64::from(RATE)).await?;
    let report = load.stop().await;
    report.check_none_failed()?;
    Ok(format!(
        "{} requests over {rounds} + {rounds} restarts, 0 failed, slowest {}, {} on kept-alive connections sent \
         again; a client's restart took {}, a server's {} (drain {})",
        report.answered,
        ms(report.slowest),
        report.reused_closed,
        spread(clients),
        spread(servers),
        spread(drains)
    ))
}
