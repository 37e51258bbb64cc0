//! The measurements themselves. Each suite starts its system anew, so that none inherits another's memory.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use super::keeper::Keeper;
use super::load::{self, Moved, Returned, Served};
use super::measures::{AT_ONCE, CROWDS, DATAGRAMS, IDLE_VISITORS, KEPT_ALIVE, Suite};
use super::place::Place;
use super::samples::percentile;
use super::systems::{Many, Resident, Running, Service, System};

/// What all measurements share.
#[derive(Debug)]
pub(super) struct World<'k> {
    /// Keeps the processes.
    pub(super) keeper: &'k Keeper,
    /// Where the two sides are.
    pub(super) place: &'k Place,
    /// The port of the service behind the tunnels.
    pub(super) upstream: u16,
    /// Length of each measurement under load.
    pub(super) span: Duration,
}

/// Figures of one system in one round, each under its measure's key.
pub(super) type Figures = Vec<(&'static str, f64)>;

/// Exchanges whose cost is measured among open connections: each of the largest crowd has its turn.
const EXCHANGES: usize = 10_000;
/// New visitors whose first byte is timed.
const FIRST_BYTES: usize = 2000;
/// How long memory is left alone before it is looked at: there is no event for "has freed what it will free".
const SETTLE: Duration = Duration::from_millis(500);

impl Suite {
    /// Whether `system` can be measured by it.
    pub(super) fn suits(self, system: &System) -> bool {
        let is_able = match self {
            Self::Crowd | Self::Scale | Self::Clients => system.holds_crowds(),
            Self::Many => system.has_many(),
            Self::Tcp | Self::Http | Self::Udp | Self::Memory => true,
        };
        is_able && system.carries(self.service())
    }

    fn service(self) -> Service {
        match self {
            Self::Http => Service::Http,
            Self::Udp => Service::Udp,
            _ => Service::Tcp,
        }
    }

    /// Measures `system`.
    ///
    /// # Errors
    /// When the system doesn't start, breaks off, answers wrong or stays silent.
    pub(super) fn run(self, world: &World<'_>, system: &System) -> Result<Figures> {
        match self {
            Self::Tcp => with_one(world, system, self.service(), |running| tcp(world, running)),
            Self::Http => with_one(world, system, self.service(), |running| http(world, running)),
            Self::Udp => with_one(world, system, self.service(), |running| udp(world, running)),
            Self::Memory => with_one(world, system, self.service(), |running| memory(world, running)),
            Self::Crowd => with_one(world, system, self.service(), crowd),
            Self::Many => many(world, system),
            Self::Clients => clients(world, system),
            Self::Scale => scale(world, system),
        }
    }
}

/// Starts a system with one tunnel and measures it.
fn with_one(
    world: &World<'_>,
    system: &System,
    service: Service,
    measure: impl FnOnce(&Running<'_>) -> Result<Figures>,
) -> Result<Figures> {
    let running = system.start(world.keeper, world.place, world.upstream, service)?;
    measure(&running).with_context(|| format!("it said:\n{}", running.said()))
}

fn tcp(world: &World<'_>, running: &Running<'_>) -> Result<Figures> {
    let target = running.visitors_connect_to();
    let mut figures = Figures::new();
    for (streams, rate, cpu) in [(1, "down.1.rate", "down.1.cpu"), (8, "down.8.rate", "down.8.cpu")] {
        let (moved, seconds) = with_cpu(running, || load::download(target, streams, world.span))?;
        bulk(&mut figures, [rate, cpu], moved, seconds);
    }
    for (streams, rate, cpu) in [(1, "up.1.rate", "up.1.cpu"), (8, "up.8.rate", "up.8.cpu")] {
        let (moved, seconds) = with_cpu(running, || load::upload(target, streams, world.span))?;
        bulk(&mut figures, [rate, cpu], moved, seconds);
    }
    let (mut waits, seconds) = with_cpu(running, || load::first_bytes(target, FIRST_BYTES))?;
    waits.sort_unstable();
    figures.push(("first.p50", micros(percentile(&waits, 50))));
    figures.push(("first.p99", micros(percentile(&waits, 99))));
    figures.extend(seconds.map(|seconds| ("first.cpu", 1e6 * seconds / count(FIRST_BYTES))));
    let keep_alive = || load::keep_alive(target, running.host(), KEPT_ALIVE, world.span);
    let (served, seconds) = with_cpu(running, keep_alive)?;
    exchanges(&mut figures, ["blind.rate", "blind.p50", "blind.p99", "blind.cpu"], &served, seconds);
    Ok(figures)
}

fn bulk(figures: &mut Figures, [rate, cpu]: [&'static str; 2], moved: Moved, seconds: Option<f64>) {
    figures.push((rate, moved.bytes / moved.seconds / 1e6));
    figures.extend(seconds.map(|seconds| (cpu, seconds / (moved.bytes / 1e9))));
}

fn http(world: &World<'_>, running: &Running<'_>) -> Result<Figures> {
    let (target, host) = (running.visitors_connect_to(), running.host());
    let mut figures = Figures::new();
    let (served, seconds) = with_cpu(running, || load::keep_alive(target, host, KEPT_ALIVE, world.span))?;
    exchanges(&mut figures, ["keep.rate", "keep.p50", "keep.p99", "keep.cpu"], &served, seconds);
    let (served, seconds) = with_cpu(running, || load::new_connections(target, host, AT_ONCE, world.span))?;
    exchanges(&mut figures, ["new.rate", "new.p50", "new.p99", "new.cpu"], &served, seconds);
    Ok(figures)
}

fn exchanges(
    figures: &mut Figures,
    [rate, p50, p99, cpu]: [&'static str; 4],
    served: &Served,
    seconds: Option<f64>,
) {
    let requests = count(served.latencies.len());
    figures.push((rate, requests / served.seconds));
    figures.push((p50, micros(percentile(&served.latencies, 50)) / 1e3));
    figures.push((p99, micros(percentile(&served.latencies, 99)) / 1e3));
    figures.extend(seconds.map(|seconds| (cpu, 1e6 * seconds / requests)));
}

fn udp(world: &World<'_>, running: &Running<'_>) -> Result<Figures> {
    let (visitors, under_way) = DATAGRAMS;
    let load = || load::datagrams(running.visitors_connect_to(), visitors, under_way, world.span);
    let (Returned { returned, sent, seconds }, cpu) = with_cpu(running, load)?;
    // What is under way at the end is neither lost nor back.
    let lost = (sent - returned - count(visitors * under_way)).max(0.0);
    let mut figures = vec![("udp.rate", returned / seconds), ("udp.lost", 100.0 * lost / sent)];
    figures.extend(cpu.map(|cpu| ("udp.cpu", 1e6 * cpu / returned)));
    Ok(figures)
}

fn memory(world: &World<'_>, running: &Running<'_>) -> Result<Figures> {
    let target = running.visitors_connect_to();
    let settled = || settled(running);
    let Some(idle) = settled()? else { return Ok(Figures::new()) };
    let visitors = load::idle_visitors(target, IDLE_VISITORS)?;
    let Some(visited) = settled()? else { return Ok(Figures::new()) };
    drop(visitors);
    let Some(gone) = settled()? else { return Ok(Figures::new()) };
    load::download(target, 8, world.span)?;
    load::upload(target, 8, world.span)?;
    let Some(loaded) = settled()? else { return Ok(Figures::new()) };
    Ok(vec![
        ("idle.server", idle.server / 1024.0),
        ("idle.client", idle.client / 1024.0),
        ("idle.both", (idle.server + idle.client) / 1024.0),
        ("idle.private", idle.private / 1024.0),
        ("visitor.server", (visited.server - idle.server) / count(IDLE_VISITORS)),
        ("visitor.client", (visited.client - idle.client) / count(IDLE_VISITORS)),
        ("gone.both", (gone.server + gone.client) / 1024.0),
        ("loaded.both", (loaded.server + loaded.client) / 1024.0),
    ])
}

fn crowd(running: &Running<'_>) -> Result<Figures> {
    let mut figures = Figures::new();
    let mut costs = Vec::new();
    for (visitors, key) in CROWDS.into_iter().zip(["crowd.100", "crowd.10000"]) {
        let mut visitors = load::idle_visitors(running.visitors_connect_to(), visitors)?;
        // Once before it counts, so that what a first exchange costs isn't in it.
        load::echoes(&mut visitors, EXCHANGES)?;
        let ((), seconds) = with_cpu(running, || load::echoes(&mut visitors, EXCHANGES))?;
        let cost = seconds.map(|seconds| 1e6 * seconds / count(EXCHANGES));
        figures.extend(cost.map(|cost| (key, cost)));
        costs.extend(cost);
    }
    if let [few, many] = costs[..] {
        figures.push(("crowd.ratio", many / few));
    }
    Ok(figures)
}

fn many(world: &World<'_>, system: &System) -> Result<Figures> {
    let alone = alone(world, system)?;
    let shape = Many { clients: 4, each: 250 };
    let (running, targets) = system.start_many(world.keeper, world.place, world.upstream, shape)?;
    let Some(all) = settled(&running)? else { return Ok(Figures::new()) };
    let tunnels = count(targets.len());
    Ok(vec![
        ("many.server", (all.server - alone.server) / (tunnels - 1.0)),
        ("many.client", (all.client - alone.client * count(running.clients())) / tunnels),
    ])
}

fn clients(world: &World<'_>, system: &System) -> Result<Figures> {
    let alone = alone(world, system)?;
    let shape = Many { clients: 100, each: 1 };
    let (running, targets) = system.start_many(world.keeper, world.place, world.upstream, shape)?;
    let Some(all) = settled(&running)? else { return Ok(Figures::new()) };
    Ok(vec![("clients.server", (all.server - alone.server) / (count(targets.len()) - 1.0))])
}

fn scale(world: &World<'_>, system: &System) -> Result<Figures> {
    let shape = Many { clients: 20, each: 250 };
    let (running, targets) = system.start_many(world.keeper, world.place, world.upstream, shape)?;
    held(&running, &targets).with_context(|| format!("it said:\n{}", running.said()))
}

/// What two visitors of each tunnel cost.
fn held(running: &Running<'_>, targets: &[SocketAddr]) -> Result<Figures> {
    let mut visitors = load::idle_visitors_of(targets, 2 * targets.len())?;
    let exchanges = visitors.len();
    let ((), seconds) = with_cpu(running, || load::echoes(&mut visitors, exchanges))?;
    let Some(all) = settled(running)? else { return Ok(Figures::new()) };
    let mut figures = vec![("scale.server", all.server / 1024.0), ("scale.clients", all.client / 1024.0)];
    figures.extend(seconds.map(|seconds| ("scale.cpu", 1e6 * seconds / count(exchanges))));
    Ok(figures)
}

/// What a system with one tunnel holds.
fn alone(world: &World<'_>, system: &System) -> Result<Resident> {
    let running = system.start(world.keeper, world.place, world.upstream, Service::Tcp)?;
    settled(&running)?.context("there is no tunnel")
}

/// What is resident once memory has been left alone for a while.
fn settled(running: &Running<'_>) -> Result<Option<Resident>> {
    std::thread::sleep(SETTLE);
    running.resident()
}

/// What `work` returns, and the CPU seconds that both ends of the tunnel used meanwhile.
fn with_cpu<T>(running: &Running<'_>, work: impl FnOnce() -> Result<T>) -> Result<(T, Option<f64>)> {
    let before = running.cpu_seconds()?;
    let result = work()?;
    let used = before.zip(running.cpu_seconds()?).map(|(before, after)| after - before);
    Ok((result, used))
}

pub(super) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn count(things: usize) -> f64 {
    u32::try_from(things).map_or(f64::INFINITY, f64::from)
}
