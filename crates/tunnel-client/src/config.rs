//! The numbers a client runs by, and why these.

use std::time::Duration;

use tunnel_protocol::limits;

/// The longest that anything is waited for: as good as for ever, and no clock overflows by it.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long the client waits for whom. A time of more than a year is taken as a year, so `Duration::MAX` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to the server, from the name lookup to the end of TLS. Default 10 s; a dialer's own limit
    /// applies too.
    pub dial: Duration,
    /// For the server's answer to a login. Default 10 s, which is what the server gives a client.
    pub login: Duration,
    /// For a connection to an upstream, name lookup included. Default 10 s: an upstream on the same machine answers
    /// in a millisecond, one that needs longer than this is down.
    pub upstream: Duration,
    /// For the head of a stream the server opened. Default 10 s; the server sends it with the opening.
    pub header: Duration,
    /// For any sign of life after the clock has jumped (a laptop that woke up). Default 3 s.
    pub probe: Duration,
    /// For streams under way on a session that the server asked to leave. Default 30 s.
    pub leave: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            dial: Duration::from_secs(10),
            login: limits::LOGIN_DEADLINE,
            upstream: Duration::from_secs(10),
            header: Duration::from_secs(10),
            probe: Duration::from_secs(3),
            leave: Duration::from_secs(30),
        }
    }
}

impl Timeouts {
    /// The same, with nothing over [`LONGEST`].
    pub(crate) fn clamped(self) -> Self {
        let Self { dial, login, upstream, header, probe, leave } = self;
        let [dial, login, upstream, header, probe, leave] =
            [dial, login, upstream, header, probe, leave].map(|time| time.min(LONGEST));
        Self { dial, login, upstream, header, probe, leave }
    }
}

/// How much the client takes on, whatever the server asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Visitor streams at once, over all tunnels. Default 16,384; at about 8 KiB for an idle one, 128 MiB. One more
    /// is refused with `client-busy`. Each is an open file, and lanes and logins need some, too: a program whose
    /// limit of open files is low sets it lower.
    pub max_visitors: usize,
    /// Visitors that wait for [`Listener::accept`](crate::Listener::accept), for each listener. Default 128, as for
    /// a TCP listener; one more is refused with `client-busy`.
    pub backlog: usize,
    /// Tunnels at once. Default and upper bound 256, what one session may hold.
    pub max_tunnels: usize,
    /// Connections to the server for one session. Default 16: beyond that no link gets faster. Lower bound 1.
    pub max_lanes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_visitors: 16_384, backlog: 128, max_tunnels: limits::TUNNELS_PER_SESSION, max_lanes: 16 }
    }
}

impl Limits {
    /// The same, with every number inside its bounds.
    pub(crate) fn clamped(self) -> Self {
        Self {
            max_visitors: self.max_visitors.clamp(1, tokio::sync::Semaphore::MAX_PERMITS),
            backlog: self.backlog.clamp(1, 65_536),
            max_tunnels: self.max_tunnels.min(limits::TUNNELS_PER_SESSION),
            max_lanes: self.max_lanes.max(1),
        }
    }
}
