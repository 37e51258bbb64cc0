//! `cargo xtask bench --wan`: what a tunnel costs over a long link, where round trips and lost packets count and CPU
//! time doesn't.
//!
//! Two network namespaces play the two hosts, with the kernel's own TCP on both ends. Between them a process of ours
//! plays the link, packet by packet: netem would do, but many kernels come without it, and a relay of connections would
//! not, since it hides from TCP what is to be measured. Visitors are at the server's end, as if they were next door.

mod link;
mod namespaces;

use std::time::Duration;

use anyhow::{Context, Result};

pub(crate) use link::{LinkArguments, carry};

use super::Arguments;
use super::keeper::Keeper;
use super::load;
use super::machine::Machine;
use super::place::Place;
use super::samples::{Samples, percentile};
use super::suites::Figures;
use super::systems::{Running, Service, System};
use super::upstream::Upstream;
use namespaces::Namespaces;

/// One way, in milliseconds.
const DELAY_MS: u32 = 50;
/// Both ways.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// Of the link, in Mbit/s.
const MBIT: u32 = 1000;
/// Packets lost on the lossy link, each way, in thousandths.
const LOSS_PER_MILLE: u32 = 5;
/// New visitors whose first byte is timed, one after the other.
const FIRST_BYTES: usize = 20;
/// A page: as many objects over as many connections as a browser makes.
const PAGE: (usize, usize) = (6, 60);
/// Small requests at once beside a download.
const BESIDE: usize = 8;
/// How long a download runs before small requests begin beside it: they are to find it at full speed.
const UNDER_WAY: Duration = Duration::from_secs(3);

/// Measures and reports; `Ok(false)` when a measurement failed.
///
/// # Errors
/// When the namespaces can't be made or nothing could be measured.
pub(super) fn run(
    arguments: &Arguments,
    keeper: &Keeper,
    machine: &Machine,
    systems: &[System],
) -> Result<bool> {
    let namespaces = Namespaces::new().context("--wan needs root, /dev/net/tun and `ip`")?;
    let place = namespaces.place();
    namespaces.enter_server()?;
    let span = Duration::from_secs_f64(arguments.seconds);
    let mut samples = Samples::default();
    for round in 0..arguments.rounds {
        for lossy in [false, true] {
            let _link = namespaces.link(keeper, DELAY_MS, MBIT, if lossy { LOSS_PER_MILLE } else { 0 })?;
            let upstream = Upstream::start(keeper, &place)?;
            for system in systems {
                eprintln!("round {}/{}: lossy {lossy}, {}", round + 1, arguments.rounds, system.name());
                let world = World { keeper, place: &place, upstream: upstream.port(), span, lossy };
                match world.measure(system) {
                    Ok(figures) => samples.add(round, system.name(), figures),
                    Err(error) => samples.fail(format!("lossy {lossy}, {}: {error:#}", system.name())),
                }
            }
        }
    }
    super::report(arguments, machine, systems, &samples)
}

struct World<'k> {
    keeper: &'k Keeper,
    place: &'k Place,
    upstream: u16,
    span: Duration,
    lossy: bool,
}

impl World<'_> {
    fn measure(&self, system: &System) -> Result<Figures> {
        let mut figures = Figures::new();
        let web = system.start(self.keeper, self.place, self.upstream, Service::Http)?;
        self.page(&web, &mut figures).with_context(|| format!("it said:\n{}", web.said()))?;
        drop(web);
        let tcp = system.start(self.keeper, self.place, self.upstream, Service::Tcp)?;
        self.tcp(&tcp, &mut figures).with_context(|| format!("it said:\n{}", tcp.said()))?;
        Ok(figures)
    }

    fn page(&self, running: &Running<'_>, figures: &mut Figures) -> Result<()> {
        let (target, host) = (running.visitors_connect_to(), running.host());
        // As when somebody follows a link: the page before was read for a moment.
        load::page(target, host, PAGE.0, PAGE.1)?;
        std::thread::sleep(Duration::from_secs(2));
        let page = load::page(target, host, PAGE.0, PAGE.1)?;
        figures.push((if self.lossy { "wan.lossy.page" } else { "wan.page" }, round_trips(page)));
        if self.lossy {
            let served = self.beside(
                || load::web_download(target, host, UNDER_WAY + self.span),
                // These are kept from the page.
                || load::keep_alive(target, host, BESIDE, self.span),
            )?;
            figures.push(("wan.lossy.kept.p50", round_trips(percentile(&served.latencies, 50))));
            figures.push(("wan.lossy.kept.p99", round_trips(percentile(&served.latencies, 99))));
        }
        Ok(())
    }

    fn tcp(&self, running: &Running<'_>, figures: &mut Figures) -> Result<()> {
        let target = running.visitors_connect_to();
        let [first, one, four] = if self.lossy {
            ["wan.lossy.first", "wan.lossy.down.1", "wan.lossy.down.4"]
        } else {
            ["wan.first", "wan.down.1", "wan.down.4"]
        };
        let mut waits = load::first_bytes(target, FIRST_BYTES)?;
        waits.sort_unstable();
        figures.push((first, round_trips(percentile(&waits, 50))));
        for (key, streams) in [(one, 1), (four, 4)] {
            let moved = load::download(target, streams, self.span)?;
            figures.push((key, moved.bytes / moved.seconds / 1e6));
        }
        if self.lossy {
            let mut waits = self.beside(
                || load::download(target, 1, UNDER_WAY + self.span).map(|_| ()),
                || load::first_bytes_for(target, BESIDE, self.span),
            )?;
            waits.sort_unstable();
            figures.push(("wan.lossy.beside.p50", round_trips(percentile(&waits, 50))));
            figures.push(("wan.lossy.beside.p99", round_trips(percentile(&waits, 99))));
        }
        Ok(())
    }

    /// What comes of `small` beside `bulk`, once that is under way.
    fn beside<T>(
        &self,
        bulk: impl FnOnce() -> Result<()> + Send,
        small: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        std::thread::scope(|scope| {
            let bulk = scope.spawn(bulk);
            std::thread::sleep(UNDER_WAY);
            let measured = small()?;
            match bulk.join() {
                Ok(moved) => moved.map(|()| measured),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

fn round_trips(duration: Duration) -> f64 {
    duration.as_secs_f64() / ROUND_TRIP.as_secs_f64()
}
