//! What client and server say to each other on the control stream, in frames of at most
//! [`CONTROL_FRAME_MAX`](crate::limits::CONTROL_FRAME_MAX) bytes.
//!
//! Messages of an unknown type and unknown fields are ignored, so that either side may be newer.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{BindSpec, Policy, Refusal, RequestId, TunnelId, bind::PublicAddress};

/// From the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ClientMessage {
    /// Publish this; answered by `Bound` or `Refused`.
    Bind {
        /// The client's name for the tunnel from now on, unused in this session before.
        tunnel: TunnelId,
        /// What to publish.
        spec: BindSpec,
        /// What to do with its visitors. One that the server doesn't know refuses the bind.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        policies: Vec<Policy>,
        /// Where the client will forward to, for people: error pages and the dashboard show it.
        #[serde(default)]
        upstream: String,
        /// Whether the client wants a `Request` message for each visitor request.
        #[serde(default)]
        report_requests: bool,
        /// A tunnel of this session whose place this one takes, if it has the same name: from then on its visitors are
        /// this one's. Those under way stay with it. Of another name, or unknown, it changes nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<TunnelId>,
    },
    /// Take this down and release its name.
    Unbind {
        /// As in `Bind`.
        tunnel: TunnelId,
    },
    /// A heartbeat; answered by `Pong` with the same number.
    Ping {
        /// Any number.
        seq: u64,
    },
    /// The answer to the server's `Ping`.
    Pong {
        /// The `Ping`'s number.
        seq: u64,
    },
    /// The client is about to leave: open no more streams, release its names; answered by `Drained`.
    Drain {
        /// Whether it leaves for another session, as it was told to, and not for good. Older clients don't say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        moved: Option<bool>,
    },
    /// A message of a newer peer.
    #[serde(other)]
    Unknown,
}

/// From the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ServerMessage {
    /// The tunnel is reachable.
    Bound {
        /// As in `Bind`.
        tunnel: TunnelId,
        /// Where visitors go.
        address: PublicAddress,
    },
    /// The tunnel can't be published (answer to `Bind`).
    Refused {
        /// As in `Bind`.
        tunnel: TunnelId,
        /// Why.
        refusal: Refusal,
    },
    /// A tunnel that was bound is bound no longer, though the client didn't ask for it.
    Unbound {
        /// As in `Bind`.
        tunnel: TunnelId,
        /// Why.
        refusal: Refusal,
    },
    /// A heartbeat; answered by `Pong` with the same number.
    Ping {
        /// Any number.
        seq: u64,
    },
    /// The answer to the client's `Ping`.
    Pong {
        /// The `Ping`'s number.
        seq: u64,
    },
    /// The server is going away, or wants this client elsewhere: make a new session, then leave this one, on
    /// which streams under way are finished.
    GoAway {
        /// Why, and when to come back.
        refusal: Refusal,
    },
    /// No stream will be opened any more (answer to `Drain`).
    Drained,
    /// More visitors than the lanes can carry well: please have this many lanes in all.
    WantLanes {
        /// The number of lanes wished for, the first one counted.
        lanes: u32,
    },
    /// One visitor request was answered (only after `report_requests`). Reports are dropped rather than delayed.
    Request(RequestReport),
    /// A text for the client's person.
    Notice {
        /// One line.
        message: String,
    },
    /// A message of a newer peer.
    #[serde(other)]
    Unknown,
}

/// What a client shows of one visitor request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestReport {
    /// The tunnel it was for.
    pub tunnel: TunnelId,
    /// The same id as in the server's log.
    pub request: RequestId,
    /// Who asked.
    pub visitor: SocketAddr,
    /// The method.
    pub method: String,
    /// The path with its query, cut to a bounded length.
    pub path: String,
    /// The status the visitor got.
    pub status: u16,
    /// Milliseconds from the request's head to the answer's head.
    pub duration_ms: u64,
    /// What the client's person should know about it, in one line: the upstream refused the host name, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Reports dropped since the last one, because the client or the link was too slow for them.
    #[serde(default)]
    pub dropped: u64,
}
