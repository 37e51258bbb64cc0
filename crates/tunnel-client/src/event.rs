//! What happens to a client, as values, for whoever shows it to a person.

use std::time::Duration;

use tokio::sync::broadcast;
use tunnel_protocol::{Code, Refusal, SessionId, TunnelId, control::RequestReport};

/// Something that happened. Texts that came from the server are one line, of bounded length, without control
/// characters. That the client has ended for good is no event: wait for [`Client::closed`](crate::Client::closed).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Logged in: a session exists, its tunnels are being published.
    Connected {
        /// The session's id, as in the server's log.
        session: SessionId,
        /// The server's name and version.
        server: String,
        /// What the server calls this client.
        account: String,
    },
    /// A tunnel can be visited.
    Online {
        /// Which.
        tunnel: TunnelId,
        /// Where.
        url: String,
    },
    /// There is no session; another one is being made.
    Reconnecting {
        /// Why the last session or attempt ended.
        reason: String,
        /// Time until the next attempt.
        retry_in: Duration,
        /// How long the server holds the tunnels' names from the moment it noticed; `None` before the first session.
        held: Option<Duration>,
    },
    /// The server did not give a tunnel back after a reconnect. (The first time that a tunnel is asked for, its maker
    /// hears of a refusal: [`BindError::Refused`](crate::BindError::Refused).)
    Refused {
        /// Which.
        tunnel: TunnelId,
        /// Why.
        refusal: Refusal,
        /// Time until the client asks again; `None` if the tunnel is over.
        retry_in: Option<Duration>,
    },
    /// The server took a tunnel down.
    Unbound {
        /// Which.
        tunnel: TunnelId,
        /// Why.
        refusal: Refusal,
        /// Time until the client asks for it again; `None` if the tunnel is over.
        retry_in: Option<Duration>,
    },
    /// The server is going away, or sends this client away. A new session is being made; streams under way are finished
    /// on the old one, unless an operator ended it ([`Code::Closed`](crate::Code::Closed)): that is over at once.
    Moving {
        /// Why.
        refusal: Refusal,
    },
    /// The client is leaving: no new visitors, streams under way are finished.
    Draining,
    /// The session has a further lane.
    LaneAdded {
        /// How many it has now.
        lanes: u32,
    },
    /// The session has a further lane less: it was lost, or the server had no use for it.
    LaneLost {
        /// How many it has now.
        lanes: u32,
    },
    /// A heartbeat came back.
    Rtt {
        /// After this long.
        rtt: Duration,
    },
    /// The server says something to the client's person.
    Notice {
        /// What.
        message: String,
    },
    /// A visitor's request was answered (only with [`Builder::report_requests`](crate::Builder::report_requests)).
    Request(RequestReport),
    /// The upstream answers visitors with an error of which the server knows the cause and the cure.
    Hint {
        /// The tunnel they came through.
        tunnel: TunnelId,
        /// Both, in one line.
        message: String,
    },
    /// A visitor came, and the upstream was not there.
    UpstreamFailed {
        /// The tunnel the visitor came through.
        tunnel: TunnelId,
        /// The upstream, as configured.
        upstream: String,
        /// What the visitor is told.
        code: Code,
        /// What happened, in words.
        message: String,
    },
    /// Events were dropped because they were not read fast enough.
    Missed {
        /// How many.
        count: u64,
    },
}

/// Events from the moment of subscription on. One that is not read loses its oldest events, and slows nobody down.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

/// Events held for a subscriber that doesn't read at the moment: some seconds of a busy tunnel's requests.
pub(crate) const HELD: usize = 256;

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self(receiver)
    }

    /// The next event; `None` once the [`Client`](crate::Client) was dropped.
    ///
    /// # Cancel safety
    /// Cancel safe: an event is either returned or still there.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Event::Missed { count }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
