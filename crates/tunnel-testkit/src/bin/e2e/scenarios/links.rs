//! Links that go dead without a word, and laptops that sleep.

use std::{sync::Arc, time::Duration};

use rustix::process::Signal;
use tunnel_testkit::{FaultRelay, Upstream, Visitor};

use crate::harness::{Laptop, Online, Outcome, Vps, World, check, ms, spread, until, within};

super::scenarios! {
    "a link that goes half-open three times in a row costs visitors only time" => half_open,
    "a client that was suspended comes back under its name" => suspended,
}

async fn half_open(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let relay = FaultRelay::start(vps.control()).await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "laptop", relay.address(), &server.token()?);
    let (mut client, online) = laptop.http(upstream.address(), "myapp").await?;
    within("a page", Visitor::get(vps.web(), online.host(), "/")).await??;
    let at_rest = server.process.open_files()?;
    let client_at_rest = client.open_files()?;
    let (mut noticed, mut back) = (Vec::new(), Vec::new());
    let mut server = server;
    for round in 0..3 {
        let (mark, server_mark) = (client.mark(), server.process.mark());
        let dead = tokio::time::Instant::now();
        relay.go_half_open();
        let (_, at) = client.event(mark, "reconnecting").await?;
        noticed.push(at - dead);
        let now = Online::wait(&mut client, mark).await?;
        check!(now.url == online.url, "round {round}: back as {} instead of {}", now.url, online.url);
        back.push(now.at - at);
        server.process.says(server_mark, "client gone").await?;
        let answer = within("a page", Visitor::get(vps.web(), online.host(), "/")).await??;
        check!(answer.status == 200, "round {round}: {}", answer.status);
    }
    until("the server's sockets as at rest", || Ok(server.process.open_files()? <= at_rest)).await?;
    until("the client's sockets as at rest", || Ok(client.open_files()? <= client_at_rest)).await?;
    Ok(format!(
        "noticed after {}; back {} later; the server has {at_rest} files open, as before",
        spread(noticed),
        spread(back)
    ))
}

async fn suspended(world: Arc<World>) -> Outcome<String> {
    let stop = Duration::from_secs(world.pick(20, 60));
    let mut vps = Vps::new(&world, &["--hold", "30s"])?;
    let mut server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (mut client, online) = laptop.http(upstream.address(), "myapp").await?;
    let at_rest = server.process.open_files()?;
    let (mark, server_mark) = (client.mark(), server.process.mark());
    client.signal(Signal::STOP)?;
    let stopped = tokio::time::Instant::now();
    let (_, noticed) = server.process.says(server_mark, "client gone").await?;
    // sleep: the rest of the time that the client is suspended for, but for the visitor's wait
    tokio::time::sleep_until(stopped + stop - Duration::from_secs(2)).await;
    let visitor = Visitor::get(vps.web(), online.host(), "/");
    let resume = async {
        // sleep: the last of it
        tokio::time::sleep_until(stopped + stop).await;
        client.signal(Signal::CONT)?;
        let resumed = tokio::time::Instant::now();
        let now = Online::wait(&mut client, mark).await?;
        Outcome::Ok((now.at - resumed, now.url))
    };
    let (answer, resumed) = tokio::join!(within("the held visitor's answer", visitor), resume);
    let (back, url) = resumed?;
    let answer = answer??;
    check!(url == online.url, "back as {url} instead of {}", online.url);
    check!(answer.status == 200, "the visitor who came meanwhile got {}", answer.status);
    until("the server's sockets as at rest", || Ok(server.process.open_files()? <= at_rest)).await?;
    Ok(format!(
        "suspended for {} s, noticed after {}, back {} after it went on",
        stop.as_secs(),
        ms(noticed - stopped),
        ms(back)
    ))
}
