//! What is changed while visitors come loses none of them: certificates, members of a pool, policies.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc};

use rustix::process::Signal;
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, sync::Semaphore};
use tunnel_testkit::{Upstream, Visitor};
use tunnel_transport::{ServerKeyPair, generate_self_signed};

use crate::harness::{
    Goal, Http2, Laptop, Online, Outcome, Process, Steady, Visits, Vps, World, check, mirror, within,
};

super::scenarios! {
    "certificates that are swapped under load cost no request" => certificates,
    "members that leave a pool under load cost no request, and killed ones no GET" => members,
    "a client whose name another takes finishes the visitors it has" => replaced,
    "policies that are changed under load by a client's restart cost no request" => policies,
}

const PER_SECOND: u32 = 200;
const HOST: &str = "shop.t.localhost";

/// A server with TLS, a service, and certificates to swap.
pub(super) struct Stage {
    pub(super) vps: Vps,
    pub(super) server: Process,
    pub(super) goal: Goal,
    service: Upstream,
    pairs: Vec<ServerKeyPair>,
    files: (PathBuf, PathBuf),
}

impl Stage {
    async fn new(world: &Arc<World>, pairs: usize) -> Outcome<Self> {
        Self::with(world, pairs, &[]).await
    }

    /// The same, with further flags for the server.
    pub(super) async fn with(world: &Arc<World>, pairs: usize, more: &[&str]) -> Outcome<Self> {
        let mut made = Vec::new();
        for _ in 0..pairs {
            made.push(generate_self_signed(&["*.t.localhost".to_owned()])?);
        }
        let files = (world.path("site.crt"), world.path("site.key"));
        fs::write(&files.0, &made[0].cert_pem)?;
        fs::write(&files.1, &made[0].key_pem)?;
        fs::set_permissions(&files.1, fs::Permissions::from_mode(0o600))?;
        let (cert, key) = (files.0.display().to_string(), files.1.display().to_string());
        let flags = ["--domain", "t.localhost", "--https-port", "0", "--cert", &cert, "--key", &key];
        let mut vps = Vps::new(world, &[&flags, more].concat())?;
        let server = vps.start().await?;
        let trusted = made.iter().map(|pair| pair.cert_pem.as_str()).collect();
        let goal = Goal { https: server.https()?, host: HOST.to_owned(), trusted };
        Ok(Self { vps, server: server.process, goal, service: mirror().await?, pairs: made, files })
    }

    pub(super) async fn join(&self, laptop: &Laptop, flags: &[&str]) -> Outcome<Process> {
        let flags = [&["--subdomain", "shop"], flags].concat();
        let mut process = laptop.start("http", self.service.address(), &flags)?;
        Online::wait(&mut process, 0).await?;
        Ok(process)
    }
}

pub(super) fn nothing_failed(visits: &Visits) -> Outcome {
    let failed: Vec<&String> = visits.gets.iter().chain(&visits.posts).collect();
    let (lost, all) = (failed.len(), visits.answered);
    check!(failed.is_empty(), "{lost} failed and {all} did not: {:#?}", &failed[..lost.min(20)]);
    Ok(())
}

async fn certificates(world: Arc<World>) -> Outcome<String> {
    let swaps = world.pick(10, 100);
    let mut stage = Stage::new(&world, swaps + 1).await?;
    let laptop = Laptop::new(&world, "ana", stage.vps.control(), &stage.vps.token("ana").await?);
    let _client = stage.join(&laptop, &[]).await?;
    let steady = Steady::start(stage.goal.clone(), PER_SECOND);
    for pair in &stage.pairs[1..] {
        steady.answers(u64::from(PER_SECOND) / 4).await?;
        let mark = stage.server.mark();
        fs::write(&stage.files.0, &pair.cert_pem)?;
        fs::write(&stage.files.1, &pair.key_pem)?;
        stage.server.signal(Signal::HUP)?;
        stage.server.says(mark, "read again").await?;
        let shown = Http2::connect_tls(stage.goal.https, HOST, &pair.cert_pem).await;
        check!(shown.is_ok(), "the new certificate isn't shown: {:?}", shown.err());
    }
    steady.answers(u64::from(PER_SECOND) / 4).await?;
    let visits = steady.stop().await;
    nothing_failed(&visits)?;
    Ok(format!("{swaps} swaps, {} answered, 0 failed", visits.answered))
}

const MEMBERS: usize = 3;

async fn members(world: Arc<World>) -> Outcome<String> {
    let rounds = world.pick(10, 50);
    let stage = Stage::new(&world, 1).await?;
    let ana = stage.vps.token("ana").await?;
    let laptops: Vec<_> = (0..MEMBERS)
        .map(|number| Laptop::new(&world, &format!("laptop-{number}"), stage.vps.control(), &ana))
        .collect();
    let mut members = Vec::new();
    for laptop in &laptops {
        members.push(stage.join(laptop, &["--pool"]).await?);
    }
    let mut told = String::new();
    for kills in [false, true] {
        let steady = Steady::start(stage.goal.clone(), PER_SECOND);
        for round in 0..rounds {
            steady.answers(u64::from(PER_SECOND) / 4).await?;
            let place = round % MEMBERS;
            let member = members.remove(place);
            if kills {
                member.kill().await?;
            } else {
                member.stop().await?;
            }
            steady.answers(u64::from(PER_SECOND) / 8).await?;
            members.insert(place, stage.join(&laptops[place], &["--pool"]).await?);
        }
        let mut visits = steady.stop().await;
        if kills {
            // A request that may have been carried out can't be sent again for a visitor who didn't say that it may.
            let lost = visits.posts.len();
            visits.posts.retain(|post| !post.contains(" 502: "));
            nothing_failed(&visits)?;
            told +=
                &format!("{rounds} kills: {} answered, 0 GETs failed, {lost} POSTs got 502", visits.answered);
        } else {
            nothing_failed(&visits)?;
            told += &format!("{rounds} left: {} answered, 0 failed; ", visits.answered);
        }
    }
    Ok(told)
}

async fn policies(world: Arc<World>) -> Outcome<String> {
    let rounds = world.pick(10, 50);
    let stage = Stage::new(&world, 1).await?;
    let laptop = Laptop::new(&world, "ana", stage.vps.control(), &stage.vps.token("ana").await?);
    let mut client = stage.join(&laptop, &["--response-header", "X-Round: none"]).await?;
    let steady = Steady::start(stage.goal.clone(), PER_SECOND);
    for round in 0..rounds {
        steady.answers(u64::from(PER_SECOND) / 4).await?;
        let edit = format!("X-Round: {round}");
        let flags = ["--response-header", &edit, "--rate-limit", "100000/s", "--deny-cidr", "192.0.2.0/24"];
        // Every other time the new client takes the name while the old one still has visitors.
        if round % 2 == 0 {
            client.stop().await?;
            client = stage.join(&laptop, &flags).await?;
        } else {
            let next = stage.join(&laptop, &flags).await?;
            within("the end of who was replaced", client.exit()).await??;
            client = next;
        }
        let visitor = Http2::connect_tls(stage.goal.https, HOST, &stage.goal.trusted).await?;
        let request = http::Request::get(format!("https://{HOST}/now")).body(())?;
        let answer = visitor.ask(request, None).await?;
        let seen = answer.fields.get("x-round").and_then(|value| value.to_str().ok());
        check!(seen == Some(&round.to_string()), "round {round} shows {seen:?}");
    }
    let visits = steady.stop().await;
    nothing_failed(&visits)?;
    Ok(format!("{rounds} changes, {} answered, 0 failed", visits.answered))
}

async fn replaced(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let server = vps.start().await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let (came, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let gates = (came.clone(), go.clone());
    let slow = Upstream::start(move |mut stream| {
        let (came, go) = gates.clone();
        async move {
            let _ = stream.read_buf(&mut Vec::with_capacity(4096)).await;
            came.add_permits(1);
            if go.acquire().await.is_ok() {
                // The visitor sees what went wrong by an answer that is missing.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow").await;
            }
        }
    })
    .await?;
    let (mut client, online) = laptop.http(slow.address(), "app").await?;
    let mut visitor = Visitor::connect(vps.web()).await?;
    // One that can't be sent again.
    visitor.send(format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", online.host())).await?;
    within("the visitor at the upstream", came.acquire()).await??.forget();
    let (_next, _) = laptop.http(slow.address(), "app").await?;
    client.says(0, "taken-over").await?;
    go.add_permits(1);
    let answer = within("an answer", visitor.answer()).await??;
    check!(answer.status == 200 && answer.body == b"slow", "{}", answer.head);
    let status = client.exit().await?;
    check!(status == Some(1), "the one replaced ended with {status:?}");
    Ok("its visitor got the answer, then it ended with 1".into())
}
