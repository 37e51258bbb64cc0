//! `kill -9`, of either side: the name is back, and visitors waited instead of failing.

use std::{sync::Arc, time::Duration};

use tunnel_testkit::{Upstream, Visitor};

use crate::harness::{
    Laptop, Load, Online, Outcome, Process, Vps, World, check, ms, spread, within, written,
};

super::scenarios! {
    "a killed client comes back under its name and no visitor sees an error" => killed_client,
    "a killed client gets its random name back" => killed_client_random_name,
    "a killed server comes back with every name" => killed_server,
}

async fn killed_client(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (mut client, online) = laptop.http(upstream.address(), "myapp").await?;
    let load = Load::start(vps.web(), online.host(), 50);
    let mut back = Vec::new();
    for _ in 0..world.pick(5, 50) {
        load.answers(20).await?;
        client.kill().await?;
        // Somebody comes while nobody is there.
        let waiting =
            within("a visitor who came meanwhile", Visitor::get(vps.web(), online.host(), "/waiting"));
        let restart = laptop.http(upstream.address(), "myapp");
        let (answer, restarted) = tokio::join!(waiting, restart);
        let answer = answer??;
        check!(answer.status == 200, "the visitor who waited got {}", answer.status);
        let (process, now) = restarted?;
        check!(now.url == online.url, "back as {} instead of {}", now.url, online.url);
        back.push(now.at - process.started);
        client = process;
    }
    load.answers(20).await?;
    let report = load.stop().await;
    check!(report.failures.is_empty(), "{} visitors failed: {:#?}", report.failures.len(), report.failures);
    Ok(format!(
        "back after {} from start; {} visitors, 0 failed, slowest {}, {} kept-alive ones sent again",
        spread(back),
        report.answered,
        ms(report.slowest),
        report.reused_closed
    ))
}

async fn killed_client_random_name(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let start = async || -> Outcome<(Process, Online)> {
        let mut client = laptop.start("http", upstream.address(), &[])?;
        let online = Online::wait(&mut client, 0).await?;
        Ok((client, online))
    };
    let (mut client, first) = start().await?;
    let (mut tcp, port) = laptop.tcp(upstream.address()).await?;
    // A name is noted down a moment after it was shown.
    let name = first.host().split('.').next().unwrap_or_default();
    written(&laptop.names_file(), &format!("\"{name}\"")).await?;
    written(&laptop.names_file(), &format!("\"{}\"", port.port())).await?;
    for round in 0..5 {
        client.kill().await?;
        tcp.kill().await?;
        let (again, now) = start().await?;
        check!(now.url == first.url, "round {round}: back as {} instead of {}", now.url, first.url);
        let (tcp_again, port_now) = laptop.tcp(upstream.address()).await?;
        check!(port_now == port, "round {round}: back on {port_now} instead of {port}");
        (client, tcp) = (again, tcp_again);
    }
    // A clean stop releases the name; it is still the first choice.
    client.stop().await?;
    let (_client, now) = start().await?;
    check!(now.url == first.url, "after a clean stop: {} instead of {}", now.url, first.url);
    Ok(first.host().to_owned())
}

async fn killed_server(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let mut server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (mut client, online) = laptop.http(upstream.address(), "myapp").await?;
    let (mut tcp, port) = laptop.tcp(upstream.address()).await?;
    // Names are written down a moment after they were given, and from then on as long as they are held.
    written(&vps.leases_file(), "myapp").await?;
    written(&vps.leases_file(), &port.port().to_string()).await?;
    let (mut back, mut served) = (Vec::new(), Vec::new());
    for round in 0..world.pick(5, 20) {
        let marks = (client.mark(), tcp.mark());
        server.process.kill().await?;
        server = vps.start().await?;
        let answer = within("a page", Visitor::get(vps.web(), online.host(), "/")).await??;
        check!(answer.status == 200, "round {round}: the first visitor got {}", answer.status);
        served.push(server.listening.elapsed());
        let now = Online::wait(&mut client, marks.0).await?;
        check!(now.url == online.url, "round {round}: back as {} instead of {}", now.url, online.url);
        back.push(now.at.saturating_duration_since(server.listening));
        let now = Online::wait(&mut tcp, marks.1).await?;
        check!(now.url.ends_with(&port.port().to_string()), "round {round}: back as {}", now.url);
        within("a TCP visitor", Visitor::get(port, "x", "/")).await??;
    }
    let late = back.iter().filter(|after| **after > Duration::from_secs(3)).count();
    Ok(format!("client back after {}; first page after {}; {late} over 3 s", spread(back), spread(served)))
}
