//! A new process that stops doing anything while it takes over: the old one goes on, and nobody notices.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::Instant;

use super::{
    changes::Stage,
    upgrade::{RATE, one_line},
    upgrade_dies::{goes_on, status, successor},
};
use crate::harness::{Fault, Laptop, Outcome, Steady, Vps, World, check, mirror, until, written};

super::scenarios! {
    "an upgrade whose new process hangs while clients move costs no request" => while_clients_move,
    "an upgrade goes on after a pause of the whole machine" => both_are_paused,
    "a new process that hung and can't be killed ends when it wakes" => wakes_later,
}

/// What is said of a new process that hangs.
const SILENT: &str = "the new process gave no sign of life";
/// How long it may take until it is noticed, and everything taken back.
const NOTICED: Duration = Duration::from_secs(12);

/// Longer than a new process may give no sign of life.
const PAUSE: Duration = Duration::from_secs(6);
/// How much earlier the old process runs again.
const HEAD_START: Duration = Duration::from_millis(300);

async fn while_clients_move(world: Arc<World>) -> Outcome<String> {
    let Stage { vps, mut server, goal, .. } = Stage::with(&world, 1, &["--hold", "0s"]).await?;
    let ana = Laptop::new(&world, "ana", vps.control(), &vps.token("ana").await?);
    let ben = Laptop::new(&world, "ben", vps.control(), &vps.token("ben").await?);
    let service = mirror().await?;
    let (_client, _) = ana.http(service.address(), "shop").await?;
    let (stopped, _) = ben.http(service.address(), "slow").await?;
    let steady = Steady::start(goal, RATE);
    let mut noticed = Vec::new();
    // Before it has said that it took what it was handed, and when the first client is there.
    for moment in ["the new process is ready", "tunnel online"] {
        steady.answers(u64::from(RATE)).await?;
        // One that doesn't move, so that the other one is at the new process alone.
        stopped.signal(Signal::STOP)?;
        let mark = server.mark();
        let hanging = async {
            let pid = successor(&mut server, mark, "a new process is starting").await?;
            server.says(mark, moment).await?;
            kill_process(pid, Signal::STOP)?;
            Ok((pid, Instant::now()))
        };
        let (refused, (pid, since)) = tokio::try_join!(vps.upgrade(), hanging)?;
        check!(since.elapsed() < NOTICED, "noticed after {:?}", since.elapsed());
        noticed.push(since.elapsed());
        stopped.signal(Signal::CONT)?;
        check!(refused.status == Some(1) && one_line(&refused, SILENT), "it said {refused:?}");
        check!(test_kill_process(pid).is_err(), "the new process was left behind");
        steady.answers(u64::from(RATE)).await?;
    }
    let answered = goes_on(&vps, &mut server, steady, (&ben, service.address())).await?;
    Ok(format!("hung processes were noticed after {noticed:.1?}; {answered} answered, 0 failed"))
}

async fn both_are_paused(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let mut server = vps.start().await?;
    let service = mirror().await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (client, _) = laptop.http(service.address(), "shop").await?;
    // The upgrade waits for it.
    client.signal(Signal::STOP)?;
    let mark = server.process.mark();
    let pausing = async {
        let pid = successor(&mut server.process, mark, "a new process is starting").await?;
        server.process.says(mark, "takes over").await?;
        server.process.signal(Signal::STOP)?;
        kill_process(pid, Signal::STOP)?;
        // sleep: the pause itself, longer than a new process may be silent
        tokio::time::sleep(PAUSE).await;
        server.process.signal(Signal::CONT)?;
        // sleep: the old one has its turn first
        tokio::time::sleep(HEAD_START).await;
        kill_process(pid, Signal::CONT)?;
        client.signal(Signal::CONT)?;
        Ok(())
    };
    let (upgraded, ()) = tokio::try_join!(vps.upgrade(), pausing)?;
    check!(upgraded.status == Some(0), "no upgrade: {upgraded:?}");
    server.process.succeeded(mark).await?;
    Ok(format!("upgraded although both stood still for {PAUSE:?}"))
}

async fn wakes_later(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let installed = vps.install()?;
    let mut server = vps.start().await?;
    let service = mirror().await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (client, _) = laptop.http(service.address(), "shop").await?;
    // A script that waits for the program: it is the one that is killed.
    let new = installed.with_extension("new");
    fs::write(&new, format!("#!/bin/sh\n'{}' \"$@\"\nexit $?\n", world.binary().display()))?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    fs::rename(&new, &installed)?;
    // The upgrade waits for it.
    client.signal(Signal::STOP)?;
    let mark = server.process.mark();
    let hanging = async {
        let script = successor(&mut server.process, mark, "a new process is starting").await?;
        server.process.says(mark, "the new process is ready").await?;
        let pid = child_of(script)?;
        kill_process(pid, Signal::STOP)?;
        Ok(pid)
    };
    let (refused, pid) = tokio::try_join!(vps.upgrade(), hanging)?;
    client.signal(Signal::CONT)?;
    check!(refused.status == Some(1) && one_line(&refused, SILENT), "it said {refused:?}");
    let (_later, _) = laptop.http(service.address(), "later").await?;
    written(&vps.leases_file(), "later").await?;
    let mark = server.process.mark();
    kill_process(pid, Signal::CONT)?;
    server.process.says(mark, "has taken everything back").await?;
    until("its end", || Ok(test_kill_process(pid).is_err())).await?;
    check!(status(&vps).await?["tunnels"] == 2, "not all tunnels: {}", status(&vps).await?);
    written(&vps.leases_file(), "later").await?;
    // The old one's sockets still have their names.
    world.install(&installed)?;
    let mark = server.process.mark();
    let upgraded = vps.upgrade().await?;
    check!(upgraded.status == Some(0), "no upgrade: {upgraded:?}");
    server.process.succeeded(mark).await?;
    Ok("it ended by itself, and touched nothing".into())
}

fn child_of(pid: Pid) -> Outcome<Pid> {
    let pid = pid.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let child = children.split_whitespace().next().and_then(|child| Pid::from_raw(child.parse().ok()?));
    child.ok_or(Fault::new("the script has no child"))
}
