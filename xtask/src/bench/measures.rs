//! Every line of the page: what it is called, its unit, which way is better, and what it shall be.

use super::systems::{DIRECT, RATHOLE, RATHOLE_NOISE, TUNNEL, TUNNEL_PLAIN};

/// A group of measurements that share a running system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Suite {
    /// Bulk over TCP, and the first byte of a new visitor.
    Tcp,
    /// Small HTTP exchanges.
    Http,
    /// Small datagrams.
    Udp,
    /// Resident memory.
    Memory,
    /// What an exchange costs among few open connections and among many.
    Crowd,
    /// A thousand idle tunnels.
    Many,
    /// A hundred idle clients with a tunnel each.
    Clients,
    /// Five thousand tunnels and ten thousand visitors at once.
    Scale,
}

impl Suite {
    /// All of them, in the order of the page.
    pub(super) const ALL: [Self; 8] =
        [Self::Tcp, Self::Http, Self::Udp, Self::Memory, Self::Crowd, Self::Many, Self::Clients, Self::Scale];
}

/// Idle visitors whose memory is measured.
pub(super) const IDLE_VISITORS: usize = 1000;
/// Connections of the keep-alive measurement.
pub(super) const KEPT_ALIVE: usize = 50;
/// Open connections among which an exchange is measured.
pub(super) const CROWDS: [usize; 2] = [100, 10_000];
/// Visitors at once of the new-connection measurement.
pub(super) const AT_ONCE: usize = 20;

/// Visitors of the UDP measurement, and how many datagrams of each are under way.
pub(super) const DATAGRAMS: (usize, usize) = (8, 16);

/// A line of the page.
#[derive(Debug)]
pub(super) struct Measure {
    /// Its name in the JSON.
    pub(super) key: &'static str,
    /// Its heading, with the unit.
    pub(super) title: &'static str,
}

/// The lines, in order.
pub(super) const MEASURES: &[Measure] = &[
    line("down.1.rate", "TCP down, 1 stream, MB/s"),
    line("down.1.cpu", "… CPU s/GB"),
    line("down.8.rate", "TCP down, 8 streams, MB/s"),
    line("down.8.cpu", "… CPU s/GB"),
    line("up.1.rate", "TCP up, 1 stream, MB/s"),
    line("up.1.cpu", "… CPU s/GB"),
    line("up.8.rate", "TCP up, 8 streams, MB/s"),
    line("up.8.cpu", "… CPU s/GB"),
    line("first.p50", "new TCP visitor, first byte, p50 µs"),
    line("first.p99", "… p99 µs"),
    line("first.cpu", "… CPU µs/visitor"),
    line("blind.rate", "the same HTTP exchanges as bytes: 50 TCP visitors, req/s"),
    line("blind.p50", "… p50 ms"),
    line("blind.p99", "… p99 ms"),
    line("blind.cpu", "… CPU µs/req"),
    line("keep.rate", "HTTP keep-alive, 50 connections, req/s"),
    line("keep.p50", "… p50 ms"),
    line("keep.p99", "… p99 ms"),
    line("keep.cpu", "… CPU µs/req"),
    line("new.rate", "HTTP, new connection each, 20 at once, req/s"),
    line("new.p50", "… p50 ms"),
    line("new.p99", "… p99 ms"),
    line("new.cpu", "… CPU µs/req"),
    line("udp.rate", "UDP, 8 visitors with 16 datagrams of 200 bytes under way, datagrams/s there and back"),
    line("udp.lost", "… lost, %"),
    line("udp.cpu", "… CPU µs/datagram there and back"),
    line("idle.server", "resident, idle: server, MiB"),
    line("idle.client", "… client, MiB"),
    line("idle.both", "… both, MiB"),
    line("idle.private", "… both, without program pages, MiB"),
    line("visitor.server", "per idle TCP visitor (of 1,000): server, KiB"),
    line("visitor.client", "… client, KiB"),
    line("gone.both", "both, when they have left, MiB"),
    line("loaded.both", "both, after bulk on 8 streams, MiB"),
    line("crowd.100", "one-byte exchange among 100 open TCP visitors, CPU µs"),
    line("crowd.10000", "… among 10,000"),
    line("crowd.ratio", "… among 10,000 ÷ among 100"),
    line("many.server", "1,000 idle TCP tunnels: server, KiB each"),
    line("many.client", "… clients, KiB each"),
    line("clients.server", "100 idle clients with a TCP tunnel each: server, KiB each"),
    line("scale.server", "5,000 TCP tunnels of 20 clients with 10,000 visitors: server, MiB"),
    line("scale.clients", "… clients, MiB"),
    line("scale.cpu", "… one-byte exchange, CPU µs"),
    line("wan.first", "new visitor, first byte, p50, round trips"),
    line("wan.page", "60 objects of 16 KiB over 6 connections, round trips"),
    line("wan.down.1", "one download, MB/s"),
    line("wan.down.4", "four downloads at once, MB/s"),
    line("wan.lossy.first", "with 0.5 % loss: new visitor, first byte, p50, round trips"),
    line("wan.lossy.page", "… 60 objects, round trips"),
    line("wan.lossy.down.1", "… one download, MB/s"),
    line("wan.lossy.down.4", "… four downloads at once, MB/s"),
    line("wan.lossy.kept.p50", "… a kept-alive web request beside a web download, p50, round trips"),
    line("wan.lossy.kept.p99", "… p99, round trips"),
    line("wan.lossy.beside.p50", "… a small request beside a download, p50, round trips"),
    line("wan.lossy.beside.p99", "… p99, round trips"),
];

const fn line(key: &'static str, title: &'static str) -> Measure {
    Measure { key, title }
}

/// What a figure shall be, as a ratio to another system's in the same round.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) key: &'static str,
    pub(super) what: &'static str,
    pub(super) of: &'static str,
    pub(super) to: Reference,
    pub(super) bound: Bound,
}

/// What a figure is held against.
#[derive(Debug)]
pub(super) enum Reference {
    /// The same measure of this system.
    System(&'static str),
    /// A fixed figure.
    Figure(f64),
}

/// On which side of what a ratio shall be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    /// Whether `value` is within.
    pub(super) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

use Bound::{AtLeast, AtMost};
use Reference::{Figure, System};

/// The targets.
pub(super) const TARGETS: &[Target] = &[
    target("down.1.cpu", "TCP down, CPU per GB", TUNNEL_PLAIN, System(RATHOLE), AtMost(1.0)),
    target("up.1.cpu", "TCP up, CPU per GB", TUNNEL_PLAIN, System(RATHOLE), AtMost(1.0)),
    target("down.1.cpu", "TCP down, CPU per GB", TUNNEL, System(RATHOLE_NOISE), AtMost(0.5)),
    target("up.1.cpu", "TCP up, CPU per GB", TUNNEL, System(RATHOLE_NOISE), AtMost(0.5)),
    target("new.rate", "new connection per request, req/s", TUNNEL, System(RATHOLE), AtLeast(1.5)),
    target("new.p99", "new connection per request, p99", TUNNEL, System(RATHOLE), AtMost(1.0)),
    target("keep.rate", "HTTP keep-alive, req/s", TUNNEL, System(RATHOLE), AtLeast(1.0)),
    target("idle.both", "resident, idle", TUNNEL, System(RATHOLE), AtMost(1.0)),
    target("visitor.server", "KiB per idle visitor, server", TUNNEL, Figure(1.0), AtMost(8.0)),
    target("visitor.client", "KiB per idle visitor, client", TUNNEL, Figure(1.0), AtMost(8.0)),
    target("crowd.ratio", "cost among 10,000 visitors ÷ among 100", TUNNEL, Figure(1.0), AtMost(1.2)),
    target("clients.server", "KiB per idle client and tunnel, server", TUNNEL, Figure(1.0), AtMost(64.0)),
    target("wan.first", "first byte, round trips", TUNNEL, Figure(1.0), AtMost(1.03)),
    target("wan.page", "60 objects, round trips", TUNNEL, Figure(1.0), AtMost(11.0)),
    target("wan.down.1", "one download", TUNNEL, System(DIRECT), AtLeast(0.95)),
    target("wan.lossy.down.4", "four downloads with loss", TUNNEL, System(DIRECT), AtLeast(0.95)),
    target(
        "wan.lossy.beside.p99",
        "beside a download with loss, round trips",
        TUNNEL,
        Figure(1.0),
        AtMost(2.0),
    ),
];

const fn target(
    key: &'static str,
    what: &'static str,
    of: &'static str,
    to: Reference,
    bound: Bound,
) -> Target {
    Target { key, what, of, to, bound }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_about_a_line() {
        for target in TARGETS {
            assert!(MEASURES.iter().any(|measure| measure.key == target.key), "{}", target.key);
        }
    }
}
