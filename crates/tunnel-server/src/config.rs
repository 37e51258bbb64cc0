//! Everything about a server that can be set. Plain fields; `validate` checks them together, once.

use std::{net::IpAddr, ops::RangeInclusive, time::Duration};

use ipnet::IpNet;
use tunnel_router::Hostname;

use crate::{contact::Contact, trace};

/// How a server behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The domain whose subdomains are given to clients. Default `localhost`.
    pub domain: Hostname,
    /// The port in public web addresses. `None` (the default): that of the first public listener. Set it when
    /// visitors come through something that forwards another port.
    pub public_port: Option<u16>,
    /// The port in public `https://` and `tls://` addresses. `None` (the default): that of the first https listener.
    pub public_https_port: Option<u16>,
    /// Whether the web listeners send every request on to the https port. Default: no, they serve it.
    pub redirect_https: bool,
    /// Where ports for TCP and UDP tunnels are opened. Default: all addresses.
    pub bind: IpAddr,
    /// The ports clients may ask for or be given. `None` (the default): no TCP tunnels.
    pub tcp_ports: Option<RangeInclusive<u16>>,
    /// The ports clients may ask for or be given for datagrams. `None` (the default): no UDP tunnels.
    pub udp_ports: Option<RangeInclusive<u16>>,
    /// Networks whose `X-Forwarded-*` headers are believed and added to. Default: none, they are replaced.
    pub trusted_proxies: Vec<IpNet>,
    /// Networks of load balancers whose connections to web ports and TCP tunnels must begin with a PROXY header (version
    /// 1 or 2, within 10 s), which says who the visitor is. Default: none, and from others none is taken.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Whether browsers are shown a warning before the first page of each web tunnel. Default: no.
    pub interstitial: bool,
    /// Where to report what is published here; shown on the server's own pages. Default: nowhere.
    pub abuse_contact: Option<Contact>,
    /// How many of a million visitors' exchanges are traced while somebody takes records: those get a
    /// [`Trace`](crate::Trace), and their upstreams a `traceparent` that says so. From `trusted_proxies` the flag of a
    /// `traceparent` decides instead. `None` (the default): none, and every `traceparent` crosses as it came.
    pub traces: Option<u32>,
    /// How much of everything.
    pub limits: Limits,
    /// How long for everything.
    pub timeouts: Timeouts,
}

/// How much a server holds at once. Each default is for a small VPS; each bound is per what its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Control connections that have not logged in, in all. Default 1,024; about 32 KiB each.
    pub unauthenticated: usize,
    /// Control connections that have not logged in, per address (IPv6: per /64). Default 32.
    pub unauthenticated_per_address: usize,
    /// Sessions. Default 10,000.
    pub sessions: usize,
    /// Lanes per session. Default 16, so a session carries up to 16 × 1,024 streams.
    pub lanes: u32,
    /// Streams per lane. Default 1,024.
    pub streams_per_lane: usize,
    /// Tunnels per session. Default 256.
    pub tunnels_per_session: usize,
    /// Names and ports of one token, those that are held for an absent client included. Default 1,024.
    pub tunnels_per_token: usize,
    /// Sessions of one token. Default 1,024.
    pub sessions_per_token: usize,
    /// Logins of one token that begin a session. Default 40 a second, 1,200 of them at once: more than a token may have
    /// sessions, so that a whole fleet comes back at once when its server was restarted. One address has half of the
    /// pace. Further lanes are counted apart, 16 times as many at once and four times as fast. `None`: any number.
    pub login_rate_per_token: Option<Rate>,
    /// Control connections from one address (IPv6: from one /64) that begin. Default 300 a second, 3,000 of them at
    /// once: TLS handshakes of one machine can't take a core. Exempt are the same as from `connections_per_address`.
    /// `None`: any number.
    pub login_rate_per_address: Option<Rate>,
    /// Bytes received from clients and not yet taken by visitors, in all. Default 256 MiB; from half of it on, what
    /// visitors leave lying is reset.
    pub unread_bytes: usize,
    /// Visitors of one tunnel. Default 12,000.
    pub visitors_per_tunnel: usize,
    /// Visitors waiting for one tunnel's absent client. Default 1,000.
    pub waiting_per_tunnel: usize,
    /// Visitors waiting for any absent client. Default 5,000; each holds a socket and a few KiB.
    pub waiting: usize,
    /// Flows of one UDP tunnel: visitor addresses with a stream each. Default 1,024.
    pub udp_flows_per_tunnel: usize,
    /// Flows of one UDP tunnel from one address (IPv6: from one /64). Default 64.
    pub udp_flows_per_address: usize,
    /// How many bytes a visitor of a UDP tunnel may be sent for each byte that came from it; more is dropped. `None`
    /// (the default): any number, as services that stream have it. Set, it bounds what a service lends to those who
    /// ask in somebody else's name.
    pub udp_answer_ratio: Option<u32>,
    /// Visitor connections, web and TCP, in all. Default 20,000. Keep it below the limit on open files by what
    /// control connections need, so that visitors can't lock clients out.
    pub connections: usize,
    /// Visitor connections from one address (IPv6: from one /64). Default 1,000. Those of `trusted_proxies` and of
    /// loopback aren't counted, and those of `proxy_protocol_from` as whose they say they are. The same addresses are
    /// exempt from all limits by address.
    pub connections_per_address: usize,
    /// New connections from one address, web and TCP together, and apart from them new UDP flows. Default 300 a
    /// second, 3,000 of them at once: an office behind one address has room, and TLS handshakes of one machine can't
    /// take a core. `None`: any number.
    pub connection_rate_per_address: Option<Rate>,
    /// Web requests from one address to all tunnels. Default 5,000 a second, 50,000 of them at once, which is about
    /// half of what one core carries. `None`: any number.
    pub request_rate_per_address: Option<Rate>,
    /// Web requests from one address that are being answered, WebSockets included. Default 2,000.
    pub requests_per_address: usize,
    /// Visitors from one address that wait for any absent client. Default 250.
    pub waiting_per_address: usize,
    /// Bytes of memory that the process should keep to: from 85 % of it on new visitors are turned away. Without a
    /// [`MemoryGauge`](crate::MemoryGauge) nobody looks. `None` (the default): any number.
    pub memory: Option<u64>,
}

/// So many in so much time, all at once or spread out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many. At least 1.
    pub count: u32,
    /// In what time. Between a millisecond and a day.
    pub per: Duration,
}

/// How long a server waits: for a year at most, each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For TLS and login together. Default 10 s.
    pub login: Duration,
    /// Between heartbeats. Default 5 s.
    pub heartbeat: Duration,
    /// For a sign of life of a client. Default 15 s; at least two heartbeats.
    pub dead_after: Duration,
    /// How long a further lane is kept that is of no use. Default 60 s: a page's next request, or a download's next
    /// part, finds it still there.
    pub lane_idle: Duration,
    /// How long visitors wait for an absent client. Default 10 s; zero answers them at once.
    pub hold: Duration,
    /// How long the name of a lost client is kept for its owner. Default 60 s.
    pub lease: Duration,
    /// How long a released port is refused to other owners. Default 60 s.
    pub quarantine: Duration,
    /// Without a datagram either way on a UDP flow. Default 60 s.
    pub udp_idle: Duration,
    /// For a request's head, from its first byte. Default 15 s.
    pub head: Duration,
    /// For a visitor's `ClientHello` and TLS handshake together. Default 10 s.
    pub handshake: Duration,
    /// Between requests on a kept-alive connection. Default 75 s.
    pub idle: Duration,
    /// Without progress on a body, either way, because of the visitor. Default 60 s.
    pub stall: Duration,
    /// For a visitor over HTTP/2 to look at an answer that came before its request was over, until the request is
    /// stopped. Default 2 s.
    pub linger: Duration,
    /// For streams under way when the server is asked to stop. Default 30 s.
    pub grace: Duration,
}

/// The longest of [`Timeouts`]: as good as for ever, and no clock overflows by it.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The smallest memory that makes sense, in bytes: less is full before anybody has come.
const LEAST_MEMORY: u64 = 32 << 20;

/// A combination of settings that can't work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Config {
    /// The defaults for a domain.
    pub fn new(domain: Hostname) -> Self {
        Self {
            domain,
            public_port: None,
            public_https_port: None,
            redirect_https: false,
            bind: IpAddr::from([0, 0, 0, 0]),
            tcp_ports: None,
            udp_ports: None,
            trusted_proxies: Vec::new(),
            proxy_protocol_from: Vec::new(),
            interstitial: false,
            abuse_contact: None,
            traces: None,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }

    /// Checks the settings together.
    ///
    /// # Errors
    /// [`ConfigError`] says which setting and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let timeouts = &self.timeouts;
        timeouts.check()?;
        if timeouts.heartbeat.is_zero() || timeouts.dead_after < timeouts.heartbeat * 2 {
            return Err(ConfigError("`dead_after` must be at least two heartbeats".into()));
        }
        if timeouts.udp_idle.is_zero() {
            return Err(ConfigError("`udp_idle` must be longer than nothing".into()));
        }
        for (name, ports) in [("tcp_ports", &self.tcp_ports), ("udp_ports", &self.udp_ports)] {
            if ports.as_ref().is_some_and(|ports| ports.is_empty() || *ports.start() == 0) {
                return Err(ConfigError(format!("`{name}` must be a range such as 20000-29999")));
            }
        }
        if self.traces.is_some_and(|share| share > trace::ALL) {
            return Err(ConfigError("`traces` must be at most all of a million".into()));
        }
        let limits = &self.limits;
        for (name, value) in [
            ("unauthenticated", limits.unauthenticated),
            ("unauthenticated_per_address", limits.unauthenticated_per_address),
            ("sessions", limits.sessions),
            ("lanes", limits.lanes as usize),
            ("streams_per_lane", limits.streams_per_lane),
            ("tunnels_per_session", limits.tunnels_per_session),
            ("tunnels_per_token", limits.tunnels_per_token),
            ("sessions_per_token", limits.sessions_per_token),
            ("visitors_per_tunnel", limits.visitors_per_tunnel),
            ("udp_flows_per_tunnel", limits.udp_flows_per_tunnel),
            ("udp_flows_per_address", limits.udp_flows_per_address),
            ("connections", limits.connections),
            ("connections_per_address", limits.connections_per_address),
            ("requests_per_address", limits.requests_per_address),
            ("waiting_per_address", limits.waiting_per_address),
        ] {
            if value == 0 {
                return Err(ConfigError(format!("the limit `{name}` must be at least 1")));
            }
        }
        if limits.memory.is_some_and(|bytes| bytes < LEAST_MEMORY) {
            return Err(ConfigError(
                "`memory` must be at least 32 MiB: a server without visitors uses some".into(),
            ));
        }
        for (name, rate) in [
            ("login_rate_per_token", limits.login_rate_per_token),
            ("login_rate_per_address", limits.login_rate_per_address),
            ("connection_rate_per_address", limits.connection_rate_per_address),
            ("request_rate_per_address", limits.request_rate_per_address),
        ] {
            let is_fine = |rate: &Rate| {
                rate.count > 0
                    && (Duration::from_millis(1)..=Duration::from_secs(24 * 3600)).contains(&rate.per)
            };
            if rate.as_ref().is_some_and(|rate| !is_fine(rate)) {
                return Err(ConfigError(format!(
                    "the rate `{name}` must be at least 1, over a millisecond to a day"
                )));
            }
        }
        Ok(())
    }
}

impl Timeouts {
    /// Each with the name of its field.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        // Names all of them, or it doesn't compile.
        macro_rules! named {
            ($($field:ident),* $(,)?) => {{
                let Self { $($field),* } = *self;
                [$((stringify!($field), $field)),*]
            }};
        }
        let all = named![
            login, heartbeat, dead_after, lane_idle, hold, lease, quarantine, udp_idle, head, handshake,
            idle, stall, linger, grace,
        ];
        all.into_iter()
    }

    /// Whether each can be counted by a clock.
    fn check(&self) -> Result<(), ConfigError> {
        match self.each().find(|(_, time)| *time > LONGEST) {
            Some((name, _)) => Err(ConfigError(format!("`{name}` must be at most a year"))),
            None => Ok(()),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unauthenticated: 1024,
            unauthenticated_per_address: 32,
            sessions: 10_000,
            lanes: 16,
            streams_per_lane: 1024,
            tunnels_per_session: tunnel_protocol::limits::TUNNELS_PER_SESSION,
            tunnels_per_token: 1_024,
            sessions_per_token: 1_024,
            login_rate_per_token: Some(Rate { count: 1_200, per: Duration::from_secs(30) }),
            login_rate_per_address: Some(Rate { count: 3_000, per: Duration::from_secs(10) }),
            unread_bytes: 256 << 20,
            visitors_per_tunnel: 12_000,
            waiting_per_tunnel: 1_000,
            waiting: 5_000,
            udp_flows_per_tunnel: 1024,
            udp_flows_per_address: 64,
            udp_answer_ratio: None,
            connections: 20_000,
            connections_per_address: 1_000,
            connection_rate_per_address: Some(Rate { count: 3_000, per: Duration::from_secs(10) }),
            request_rate_per_address: Some(Rate { count: 50_000, per: Duration::from_secs(10) }),
            requests_per_address: 2_000,
            waiting_per_address: 250,
            memory: None,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            login: tunnel_protocol::limits::LOGIN_DEADLINE,
            heartbeat: tunnel_protocol::limits::HEARTBEAT_INTERVAL,
            dead_after: tunnel_protocol::limits::HEARTBEAT_DEADLINE,
            lane_idle: Duration::from_secs(60),
            hold: Duration::from_secs(10),
            lease: Duration::from_secs(60),
            quarantine: Duration::from_secs(60),
            udp_idle: Duration::from_secs(60),
            head: Duration::from_secs(15),
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            stall: Duration::from_secs(60),
            linger: Duration::from_secs(2),
            grace: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_no_clock_can_count_is_refused_by_its_name() {
        let fields: [fn(&mut Timeouts) -> &mut Duration; 3] =
            [|times| &mut times.heartbeat, |times| &mut times.hold, |times| &mut times.grace];
        for (field, name) in fields.into_iter().zip(["heartbeat", "hold", "grace"]) {
            let mut config = Config::new("localhost".parse().unwrap());
            *field(&mut config.timeouts) = Duration::MAX;
            config.timeouts.dead_after = config.timeouts.dead_after.max(config.timeouts.heartbeat);
            let error = config.validate().unwrap_err().to_string();
            assert_eq!(error, format!("`{name}` must be at most a year"));
        }
    }
}
