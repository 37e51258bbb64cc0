//! The handle: what a program holds on to for as long as it wants to be reachable.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use crate::{
    Builder, ClientError, ConnectError, Event, Events, HttpTunnel, Phase, Status, TcpTunnel, TlsTunnel,
    UdpTunnel,
    config::LONGEST,
    session::supervisor,
    shared::{Order, Shared},
    status::TunnelStatus,
};

/// A client that is connected, or trying to be. It reconnects by itself, for as long as it lives. Tasks that share one
/// do so by an `Arc`.
///
/// Dropping it ends everything at once: sockets, tasks, tunnels, visitors. [`Client::drain`] is the polite way.
pub struct Client {
    shared: Arc<Shared>,
    /// The supervisor, which owns all other tasks.
    _supervisor: JoinSet<()>,
}

impl Client {
    /// Begins to describe a client for the server at `address`: `host`, `host:port`, `[v6]:port`; port 4444 if none
    /// is given.
    pub fn builder(address: impl Into<String>) -> Builder {
        Builder::new(address.into())
    }

    pub(crate) fn start(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        let mut tasks = JoinSet::new();
        tasks.spawn(supervisor::run(Arc::clone(&shared)));
        Self { shared, _supervisor: tasks }
    }

    /// A web tunnel, to be named and published.
    pub fn http(&self) -> HttpTunnel {
        HttpTunnel::new(Arc::clone(&self.shared.table), self.shared.settings.limits.backlog)
    }

    /// A TCP tunnel, to be given a port and published.
    pub fn tcp(&self) -> TcpTunnel {
        TcpTunnel::new(Arc::clone(&self.shared.table), self.shared.settings.limits.backlog)
    }

    /// A TLS tunnel, to be named and published: the visitors' TLS ends at its upstream.
    pub fn tls(&self) -> TlsTunnel {
        TlsTunnel::new(Arc::clone(&self.shared.table), self.shared.settings.limits.backlog)
    }

    /// A UDP tunnel, to be given a port and published.
    pub fn udp(&self) -> UdpTunnel {
        UdpTunnel::new(Arc::clone(&self.shared.table))
    }

    /// What happens from now on, as values. To see the first login, too, [`start`](Builder::start) the client and ask
    /// for its events before anything else.
    pub fn events(&self) -> Events {
        Events::new(self.shared.events.subscribe())
    }

    /// How the client is doing now.
    pub fn status(&self) -> Status {
        let state = self.shared.state.borrow().clone();
        let describe = |entry: Arc<crate::tunnel::table::Entry>| TunnelStatus {
            id: entry.id,
            upstream: entry.upstream(),
            state: entry.state(),
        };
        Status {
            phase: state.phase,
            session: state.session,
            rtt: self.shared.rtt(),
            tunnels: self.shared.table.all().into_iter().map(describe).collect(),
            visitors: self
                .shared
                .settings
                .limits
                .max_visitors
                .saturating_sub(self.shared.visitors.available_permits()),
            bytes_in: self.shared.traffic.a_to_b() + self.shared.datagrams.traffic.a_to_b(),
            bytes_out: self.shared.traffic.b_to_a() + self.shared.datagrams.traffic.b_to_a(),
            datagrams_dropped: self.shared.datagrams.dropped.load(Ordering::Relaxed),
        }
    }

    /// Waits until the client is logged in, which may be now.
    ///
    /// # Errors
    /// The client has ended instead.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn connected(&self) -> Result<(), ConnectError> {
        let mut state = self.shared.state.subscribe();
        // `shared` holds the sender, so waiting can't fail.
        let _ = state.wait_for(|state| matches!(state.phase, Phase::Online | Phase::Ended)).await;
        if state.borrow().phase == Phase::Online {
            return Ok(());
        }
        Err(self.closed().await.err().unwrap_or(ClientError::Dropped).into())
    }

    /// Sends a heartbeat now instead of when one is due, and tells how long it took to come back. Waits for a session
    /// if there is none.
    ///
    /// # Errors
    /// The client has ended instead.
    ///
    /// # Cancel safety
    /// Cancel safe: an answer that comes later is an [`Event::Rtt`] like any other.
    pub async fn ping(&self) -> Result<Duration, ClientError> {
        let mut events = self.events();
        self.shared.asked_for_beat.notify_one();
        loop {
            tokio::select! {
                event = events.next() => if let Some(Event::Rtt { rtt }) = event {
                    return Ok(rtt);
                },
                end = self.closed() => return Err(end.err().unwrap_or(ClientError::Dropped)),
            }
        }
    }

    /// Waits until the client has ended for good: asked to by [`Client::close`] or [`Client::drain`], or because the
    /// server refuses it.
    ///
    /// # Errors
    /// Why it ended, unless it was asked to.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn closed(&self) -> Result<(), ClientError> {
        let mut end = self.shared.end.subscribe();
        // `shared` holds the sender, so waiting can't fail.
        let _ = end.wait_for(Option::is_some).await;
        let end = end.borrow().clone();
        end.unwrap_or(Err(ClientError::Dropped))
    }

    /// Runs the client until it ends for good: [`Client::closed`], for a `main` with nothing else to do.
    ///
    /// # Errors
    /// As [`Client::closed`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the client.
    pub async fn run(self) -> Result<(), ClientError> {
        self.closed().await
    }

    /// Leaves in order: the server sends no more visitors and releases the names; streams under way are finished,
    /// for at most `grace`; then the client ends.
    ///
    /// # Cancel safety
    /// The draining goes on when the future is dropped.
    pub async fn drain(&self, grace: Duration) {
        let by = Instant::now() + grace.min(LONGEST);
        self.shared.order.send_replace(Order::Drain(by));
        let _ = self.closed().await;
    }

    /// Ends the client at once, visitors included. Their connections are reset.
    ///
    /// # Cancel safety
    /// The closing goes on when the future is dropped.
    pub async fn close(&self) {
        self.shared.order.send_replace(Order::Close);
        let _ = self.closed().await;
    }

    /// What the last attempt to connect failed at; empty when connected.
    pub(crate) fn last_failure(&self) -> String {
        self.shared.state.borrow().last_failure.clone()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.shared.settings.dialer.describe();
        f.debug_struct("Client").field("server", &server).finish_non_exhaustive()
    }
}
