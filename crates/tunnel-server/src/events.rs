//! What happens on a server, as values: for dashboards, logs and whoever embeds it.

use std::net::SocketAddr;

use tokio::sync::broadcast;
use tunnel_protocol::SessionId;

/// Something that happened. Events are for watching: a slow watcher misses some and is told how many.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A client logged in.
    SessionStarted {
        /// The session.
        session: SessionId,
        /// The token's name.
        identity: String,
        /// The client's machine, as it says.
        machine: String,
        /// Where it connected from.
        address: SocketAddr,
    },
    /// A session ended.
    SessionEnded {
        /// The session.
        session: SessionId,
        /// Why, in words.
        reason: String,
    },
    /// A tunnel came up.
    TunnelBound {
        /// The session that serves it.
        session: SessionId,
        /// The public address.
        url: String,
    },
    /// A tunnel's client went away; the name is held, or released if the client left in good order.
    TunnelAway {
        /// The public address.
        url: String,
        /// Whether the name is kept for its owner.
        held: bool,
    },
    /// A name is free again.
    TunnelReleased {
        /// The public address.
        url: String,
    },
    /// The operator keeps visitors out of a tunnel, or lets them in again.
    TunnelPaused {
        /// The public address.
        url: String,
        /// Whether they are kept out.
        paused: bool,
    },
    /// Who holds which names changed: the moment to save [`ServerHandle::leases`](crate::ServerHandle::leases).
    LeasesChanged,
    /// A control connection was refused.
    LoginRefused {
        /// Where it came from.
        address: SocketAddr,
        /// The reason's name.
        code: &'static str,
    },
    /// The server was asked to stop and finishes what is under way.
    Draining,
}

/// The sending end, shared by all parts of a server.
#[derive(Clone, Debug)]
pub(crate) struct Events(broadcast::Sender<Event>);

impl Events {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }

    /// Tells whoever watches. Never waits.
    pub(crate) fn emit(&self, event: Event) {
        // No watcher is no error.
        let _ = self.0.send(event);
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}

/// How many events a slow watcher may lag behind before it misses some.
const BACKLOG: usize = 1024;
