//! What protects a server on a public address. Loopback is exempt, so visitors come through a load balancer or a proxy
//! that says who they are.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};
use tunnel_testkit::{Answer, Upstream, Visitor, header};

use crate::harness::{Laptop, Outcome, SilentUpstream, Vps, World, check, until, within};

super::scenarios! {
    "one address connects and asks so often, has so many requests and waits so often, and others don't notice" => addresses,
    "--memory-budget turns new visitors away in words while others hold all of it, and lets them in again" => memory,
    "out of file descriptors, visitors are told so, and those that are there go on" => descriptors,
    "--interstitial stops browsers once, and programs never; --abuse-contact is on the server's own pages" => interstitial,
}

fn request(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

async fn ask(vps: &Vps, said: &str) -> Outcome<Answer> {
    let mut visitor = Visitor::connect(vps.web()).await?;
    visitor.send(said).await?;
    Ok(within("an answer", visitor.answer()).await??)
}

fn is(answer: &Answer, status: u16, code: Option<&str>) -> Outcome {
    let seen = header(&answer.head, "tunnel-error");
    check!(answer.status == status && seen == code, "{} {seen:?} and not {status} {code:?}", answer.status);
    Ok(())
}

async fn addresses(world: Arc<World>) -> Outcome<String> {
    let flags = "--accept-proxy-protocol 127.0.0.0/8 --connection-rate-per-address 3/24h \
                 --request-rate-per-address 4/24h --max-requests-per-address 2 --max-waiting-per-address 1 --hold 60s";
    let mut vps = Vps::new(&world, &flags.split_whitespace().collect::<Vec<_>>())?;
    let server = vps.start().await?;
    let silent = SilentUpstream::start(&world).await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let (client, online) = laptop.http(silent.address, "app").await?;
    let host = online.host();
    let from = |last: u8| format!("PROXY TCP4 192.0.2.{last} 198.51.100.1 4000 80\r\n");
    let visit = async |last: u8, host: &str| -> Outcome<Visitor> {
        let mut visitor = Visitor::connect(vps.web()).await?;
        visitor.send(from(last) + &request(host)).await?;
        Ok(visitor)
    };
    let answer =
        async |mut visitor: Visitor| -> Outcome<Answer> { Ok(within("an answer", visitor.answer()).await??) };

    for (status, code) in [(404, "tunnel-not-found"); 3].into_iter().chain([(429, "rate-limited")]) {
        is(&answer(visit(1, "nobody.localhost").await?).await?, status, Some(code))?;
    }
    let mut kept = Visitor::connect(vps.web()).await?;
    kept.send(from(2)).await?;
    for (status, code) in [(404, "tunnel-not-found"); 4].into_iter().chain([(429, "rate-limited")]) {
        kept.send(request("nobody.localhost")).await?;
        is(&within("an answer", kept.answer()).await??, status, Some(code))?;
    }
    let held = (visit(3, host).await?, visit(3, host).await?);
    until("two requests at the upstream", || Ok(silent.connections()? == 2)).await?;
    is(&answer(visit(3, host).await?).await?, 503, Some("too-many-visitors"))?;
    let other = visit(4, host).await?;
    until("another address's at the upstream", || Ok(silent.connections()? == 3)).await?;
    drop((held, other));
    client.kill().await?;
    let (one, two) = (visit(5, host).await?, visit(5, host).await?);
    let refused = tokio::select! {
        // Whichever waits does so for longer than this takes.
        refused = answer(one) => refused?,
        refused = answer(two) => refused?,
    };
    is(&refused, 503, Some("tunnel-away"))?;
    Ok("429 for one connection and one request too many, 503 for one more at a time and for one more who waits".into())
}

async fn memory(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &["--memory-budget", "48MiB"])?;
    let server = vps.start().await?;
    let upstream = Endless::start().await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let (_client, online) = laptop.http(upstream.address, "app").await?;
    let mut stalled = Vec::new();
    let ask = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", online.host());
    let status = async || -> Outcome<(u16, String)> {
        let answer = within("an answer", Visitor::get(vps.web(), "nobody.localhost", "/")).await??;
        Ok((answer.status, header(&answer.head, "tunnel-error").unwrap_or("none").to_owned()))
    };
    let refused = loop {
        let mut visitor = Visitor::connect(vps.web()).await?;
        // The one that is turned away was told before it asked.
        let _ = visitor.send(&ask).await;
        stalled.push(visitor);
        let (status, code) = status().await?;
        if status == 503 {
            break code;
        }
        check!(stalled.len() < 2_000, "2,000 stalled downloads, and nobody is turned away");
    };
    check!(refused == "overloaded", "it says {refused}");
    let count = stalled.len();
    let full = server.process.memory()?;
    drop(stalled);
    within("room again", async {
        while status().await?.0 == 503 {
            // sleep: the server looks once a second
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Outcome::Ok(())
    })
    .await??;
    let mib = |bytes: u64| bytes >> 20;
    let left = server.process.memory()?;
    Ok(format!("full with {count} stalled downloads at {} MiB, let in again at {} MiB", mib(full), mib(left)))
}

/// A web service whose answers never end.
struct Endless {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Endless {
    async fn start() -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut answers = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                answers.spawn(async move {
                    let mut head = [0; 1024];
                    let _ = stream.read(&mut head).await;
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                    while stream.write_all(&[b'x'; 16 * 1024]).await.is_ok() {}
                });
            }
        });
        Ok(Self { address, _serving: serving })
    }
}

async fn descriptors(world: Arc<World>) -> Outcome<String> {
    // What it needs at rest isn't the same everywhere.
    let mut vps = Vps::new(&world, &["--hold", "0s"])?;
    let server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let (client, _) = laptop.http(upstream.address(), "app").await?;
    let at_rest = server.process.open_files()?;
    client.stop().await?;
    server.process.stop().await?;

    // Half of them are places for visitors, and more than are left.
    let limit = at_rest + 12;
    vps.limit_open_files(limit);
    let _server = vps.start().await?;
    let laptop = Laptop::new(&world, "ben", vps.control(), &vps.token("ben").await?);
    let (_client, online) = laptop.http(upstream.address(), "app").await?;
    let ask = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", online.host());
    let mut visitors = Vec::new();
    let mut refused = 0;
    for _ in 0..limit {
        let mut visitor = Visitor::connect(vps.web()).await?;
        // The one that is turned away was told before it asked.
        let _ = visitor.send(&ask).await;
        match within("an answer", visitor.answer()).await? {
            Ok(answer) if answer.status == 200 => visitors.push(visitor),
            Ok(answer) => {
                is(&answer, 503, Some("too-many-visitors"))?;
                refused += 1;
            }
            Err(_reset) => refused += 1,
        }
    }
    let served = visitors.len();
    check!(served > 2 && refused > 2, "{served} served, {refused} refused");
    for visitor in &mut visitors {
        visitor.send(&ask).await?;
        check!(within("an answer", visitor.answer()).await??.status == 200, "one that was there is cut off");
    }
    drop(visitors);
    within("room again", async {
        loop {
            if let Ok(Ok(answer)) = within("an answer", Visitor::get(vps.web(), online.host(), "/")).await
                && answer.status == 200
            {
                return;
            }
            // sleep: a descriptor that is free again is found within a second
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await?;
    Ok(format!(
        "of {limit} descriptors {at_rest} are in use at rest; {served} visitors served, {refused} told no"
    ))
}

async fn interstitial(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &["--interstitial", "--abuse-contact", "abuse@example.com"])?;
    let server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let (_client, online) = laptop.http(upstream.address(), "app").await?;
    let host = online.host();
    let browser = "Accept: text/html\r\nUser-Agent: Mozilla/5.0\r\n";
    let get = |more: &str| format!("GET /page?a=b HTTP/1.1\r\nHost: {host}\r\n{more}\r\n");
    let page = ask(&vps, &get(browser)).await?;
    is(&page, 403, Some("first-visit"))?;
    let html = String::from_utf8_lossy(&page.body);
    let action = "action=\"/.well-known/tunnel/go-on/page?a=b\"";
    check!(html.contains(action) && html.contains("mailto:abuse@example.com"), "the page is {html}");
    is(&ask(&vps, &get("Accept: */*\r\nUser-Agent: curl/8\r\n")).await?, 200, None)?;
    is(&ask(&vps, &get(&format!("{browser}Tunnel-Skip-Warning: 1\r\n"))).await?, 200, None)?;
    let press = |origin: &str| {
        format!(
            "POST /.well-known/tunnel/go-on/page?a=b HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{origin}\r\n\
             Content-Length: 0\r\n\r\n"
        )
    };
    is(&ask(&vps, &press("evil.example")).await?, 403, Some("first-visit"))?;
    let pressed = ask(&vps, &press(host)).await?;
    let location = header(&pressed.head, "location");
    check!(pressed.status == 303 && location == Some("/page?a=b"), "{} to {location:?}", pressed.status);
    let set = header(&pressed.head, "set-cookie").unwrap_or_default();
    let cookie = set.split(';').next().unwrap_or_default();
    let page = ask(&vps, &get(&format!("{browser}Cookie: {cookie}\r\n"))).await?;
    is(&page, 200, None)?;
    check!(!page.head.contains("abuse@"), "an upstream's answer names the contact");
    let nobody = ask(&vps, "GET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n").await?;
    let text = String::from_utf8_lossy(&nobody.body);
    check!(nobody.status == 404 && text.contains("Report abuse: abuse@example.com"), "{text}");
    Ok("403 with a button, which leads back; curl and who says so pass".into())
}
