//! How a client is doing, as one value to look at.

use std::time::Duration;

use tunnel_protocol::{SessionId, TunnelId};

use crate::TunnelState;

/// A snapshot of a client.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Status {
    /// What the client is doing.
    pub phase: Phase,
    /// The session new visitors come through, if there is one.
    pub session: Option<SessionStatus>,
    /// How long the last heartbeat took to come back.
    pub rtt: Option<Duration>,
    /// The tunnels, in the order they were asked for.
    pub tunnels: Vec<TunnelStatus>,
    /// Visitor streams open now.
    pub visitors: usize,
    /// Bytes from visitors to upstreams so far (forwarded tunnels only).
    pub bytes_in: u64,
    /// Bytes from upstreams to visitors so far (forwarded tunnels only).
    pub bytes_out: u64,
    /// Datagrams of UDP tunnels dropped so far, either way: there was no room, nobody to take them, or they were too
    /// old.
    pub datagrams_dropped: u64,
}

/// What a client is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Trying to log in for the first time.
    #[default]
    Connecting,
    /// Logged in.
    Online,
    /// Not logged in, was before, and trying.
    Reconnecting,
    /// Finishing what is under way, on the way out.
    Draining,
    /// Gone for good.
    Ended,
}

/// A session, as the server described it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStatus {
    /// Its id, as in the server's log.
    pub id: SessionId,
    /// The server's name and version.
    pub server: String,
    /// What the server calls this client.
    pub account: String,
    /// How many connections it has.
    pub lanes: u32,
    /// The version of the protocol that both sides speak.
    pub version: u16,
    /// How far the server's clock was ahead of this machine's at the login, in milliseconds, give or take half the
    /// time that the login took; negative if it was behind. `None` if the server didn't tell.
    pub clock_ahead_ms: Option<i64>,
}

/// A tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TunnelStatus {
    /// Its id.
    pub id: TunnelId,
    /// What it leads to, for people; empty if the program serves it itself.
    pub upstream: String,
    /// Whether it can be visited, and where.
    pub state: TunnelState,
}
