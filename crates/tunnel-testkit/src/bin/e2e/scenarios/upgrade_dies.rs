//! A new process that is killed while it takes over: the old one goes on, and nobody notices.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::task::JoinSet;
use tunnel_testkit::{Upstream, Visitor};

use super::{
    changes::{Stage, nothing_failed},
    upgrade::{RATE, one_line},
};
use crate::harness::{
    Fault, Laptop, Online, Outcome, Process, Steady, Told, Vps, World, check, mirror, until, within, written,
};

super::scenarios! {
    "an upgrade whose new process dies while visitors are waited for changes nothing" => while_visitors_wait,
    "an upgrade whose new process dies while clients move costs no request" => while_clients_move,
    "a second server on a directory neither causes an upgrade nor touches the first one's names" => second_server,
}

/// What is said of a new process that was killed when it could have taken over.
const KILLED: &str = "the new process ended as it took over (signal: 9";

async fn while_visitors_wait(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &["--hold", "30s"])?;
    let mut server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (client, online) = laptop.http(upstream.address(), "myapp").await?;
    client.kill().await?;
    let mut visitors = JoinSet::new();
    let (web, host) = (vps.web(), online.host().to_owned());
    visitors.spawn(async move { Visitor::get(web, &host, "/").await });
    within("a visitor who waits", async {
        while status(&vps).await?["waiting"] != 1 {
            // sleep: nobody tells when a visitor begins to wait
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok::<_, Fault>(())
    })
    .await??;
    let mark = server.process.mark();
    let killing = async { kill(successor(&mut server.process, mark, "the new process is ready").await?) };
    let (refused, ()) = tokio::try_join!(vps.upgrade(), killing)?;
    check!(refused.status == Some(1) && one_line(&refused, KILLED), "it said {refused:?}");
    check!(refused.stdout.is_empty(), "it said {refused:?}");
    let (_client, _) = laptop.http(upstream.address(), "myapp").await?;
    let answer =
        within("the visitor's answer", visitors.join_next()).await?.ok_or(Fault::new("nobody"))???;
    check!(answer.status == 200, "the visitor who waited got {}", answer.status);
    server.process.stop().await?;
    Ok("the visitor who waited was answered by the old process".into())
}

async fn while_clients_move(world: Arc<World>) -> Outcome<String> {
    let Stage { vps, mut server, goal, .. } = Stage::with(&world, 1, &["--hold", "0s"]).await?;
    let ana = Laptop::new(&world, "ana", vps.control(), &vps.token("ana").await?);
    let ben = Laptop::new(&world, "ben", vps.control(), &vps.token("ben").await?);
    let service = mirror().await?;
    let (_client, _) = ana.http(service.address(), "shop").await?;
    let (stopped, _) = ben.http(service.address(), "slow").await?;
    let steady = Steady::start(goal, RATE);
    let rounds = world.pick(2, 5);
    for _ in 0..rounds {
        steady.answers(u64::from(RATE)).await?;
        // One that doesn't move, so that the new process is killed when the other one has.
        stopped.signal(Signal::STOP)?;
        let mark = server.mark();
        let killing = async {
            let pid = successor(&mut server, mark, "a new process is starting").await?;
            server.says(mark, "tunnel online").await?;
            kill(pid)
        };
        let (refused, ()) = tokio::try_join!(vps.upgrade(), killing)?;
        stopped.signal(Signal::CONT)?;
        check!(refused.status == Some(1) && one_line(&refused, KILLED), "it said {refused:?}");
        check!(refused.stdout.ends_with("takes over; clients are moving\n"), "it said {refused:?}");
        steady.answers(u64::from(RATE)).await?;
    }
    let answered = goes_on(&vps, &mut server, steady, (&ben, service.address())).await?;
    Ok(format!("{rounds} new processes killed, {answered} answered, 0 failed"))
}

/// Checks that the old process has everything back, now that new ones have failed: the tunnels of both clients, the
/// sockets' names, and the file of leases. One more tunnel gets its name, the next upgrade succeeds, and of the visits
/// so far none has failed; how many there were.
pub(super) async fn goes_on(
    vps: &Vps,
    server: &mut Process,
    steady: Steady,
    (laptop, service): (&Laptop, SocketAddr),
) -> Outcome<u64> {
    check!(status(vps).await?["tunnels"] == 2, "not all tunnels: {}", status(vps).await?);
    let (_third, _) = laptop.http(service, "third").await?;
    written(&vps.leases_file(), "third").await?;
    let mark = server.mark();
    let upgraded = vps.upgrade().await?;
    check!(upgraded.status == Some(0), "no upgrade: {upgraded:?}");
    server.succeeded(mark).await?;
    steady.answers(u64::from(RATE)).await?;
    let visits = steady.stop().await;
    nothing_failed(&visits)?;
    check!(status(vps).await?["tunnels"] == 3, "not all tunnels: {}", status(vps).await?);
    Ok(visits.answered)
}

async fn second_server(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let mut server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (client, _) = laptop.http(upstream.address(), "myapp").await?;
    written(&vps.leases_file(), "myapp").await?;
    let leases = fs::read_to_string(vps.leases_file())?;
    let untouched = || -> Outcome {
        let now = fs::read_to_string(vps.leases_file())?;
        check!(now == leases, "the file of leases is another one: {now}");
        Ok(())
    };
    // The second one says which tokens it takes, since there are some already.
    let mut other = Vps::new(&world, &["--auth", "token"])?;
    let mut second = other.start().await?;
    second.process.says(0, "names of this server are not kept over a restart: another server").await?;
    let stranger = Laptop::new(&world, "stranger", other.control(), &other.token("stranger").await?);
    let (guest, _) = stranger.http(upstream.address(), "theirs").await?;
    guest.stop().await?;
    second.process.stop().await?;
    untouched()?;
    let lines = server.process.lines();
    check!(!lines.iter().any(|line| line.text.contains("new process")), "it began an upgrade: {lines:?}");
    // The lock goes along: it is the new process's, also when the old one has ended.
    let mark = server.process.mark();
    let upgraded = vps.upgrade().await?;
    check!(upgraded.status == Some(0), "no upgrade: {upgraded:?}");
    server.process.succeeded(mark).await?;
    let mut second = other.start().await?;
    second.process.says(0, "names of this server are not kept over a restart: another server").await?;
    client.stop().await?;
    let (_client, _) = laptop.http(upstream.address(), "later").await?;
    written(&vps.leases_file(), "later").await?;
    // One that was killed leaves nothing behind that would have to be taken away.
    server.process.signal(Signal::KILL)?;
    // No file open, or no such process.
    until("its end", || Ok(server.process.open_files().unwrap_or_default() == 0)).await?;
    let third = vps.start().await?;
    Online::wait(&mut laptop.start("http", upstream.address(), &["--subdomain", "third"])?, 0).await?;
    written(&vps.leases_file(), "third").await?;
    let warned = third.process.lines().iter().any(|line| line.text.contains("are not kept"));
    check!(!warned, "the directory wasn't its own again");
    Ok("two servers, one file of leases".into())
}

/// What `tunnel status` shows.
pub(super) async fn status(vps: &Vps) -> Outcome<Value> {
    let told = vps.command(&["status", "--json"]).await?;
    check!(told.status == Some(0), "no status: {told:?}");
    serde_json::from_str(&told.stdout).told(told.stdout)
}

/// Waits for what a server says of its successor; gives that one's number.
pub(super) async fn successor(server: &mut Process, mark: usize, what: &str) -> Outcome<Pid> {
    let (line, _) = server.says(mark, what).await?;
    let said: Value = serde_json::from_str(&line).told(&line)?;
    let pid = said["fields"]["pid"].as_i64().or(said["pid"].as_i64());
    let pid = pid.and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
    pid.ok_or(Fault::new(format!("no process in {line}")))
}

fn kill(pid: Pid) -> Outcome {
    Ok(kill_process(pid, Signal::KILL)?)
}
