//! Public ports of UDP tunnels. Each visitor address is a flow with a stream of its own; the port's task only sorts.
//!
//! ```text
//!   visitors ──► socket ──► port's task ── table ──► flow's outbox ──► flow's task ══ stream ══► client
//!                  └◄──────────────────── answers ─────────────────────────┘
//! ```
//! The task never waits for a flow: what finds no room is dropped and counted. A datagram for an absent client is
//! dropped too, since waiting would make it worth nothing. When the server drains the port closes at once, as a flow
//! has no end to wait for, and whoever takes the port over can go on with the visitors' next datagrams. A successor that
//! takes it over takes the socket itself, with what waits in it, and flows are still answered for a second.

mod flow;
mod table;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    time::{Instant, MissedTickBehavior, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info_span};
use tunnel_protocol::Code;
use tunnel_transport::{bind_datagrams, take_over_datagrams};

use self::{
    flow::{Flow, Handle, Line},
    table::{FlowLimits, FlowTable, Stage},
};
use super::port::PortGuard;
use crate::{
    addresses::Excess, dispatch::Visit, endpoint::Endpoint, ids, metrics::Metrics, policy::Denied,
    rights::TunnelKind, shared::Shared, succession::PortSocket,
};

/// How often idle flows are looked for; at most this much later than they should they end.
const SWEEP: Duration = Duration::from_secs(1);
/// Datagrams taken before other tasks of the thread get a turn.
const BURST: usize = 64;
/// Bytes that may wait for the streams of all flows of a port. Those of flows that nobody answered get half of it.
const QUEUED_MAX: usize = 16 << 20;
/// How long flows may still be answered whose visitors' next datagrams go to a successor.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Opens `port` and dispatches whoever sends to it to `endpoint`. The guard's drop ends its flows.
///
/// # Errors
/// The system's reason why the port can't be opened.
pub(crate) fn open(shared: &Shared, port: u16, endpoint: Arc<Endpoint>) -> io::Result<PortGuard> {
    let local = SocketAddr::new(shared.config().bind, port);
    let socket = match shared.succession.passed.udp(port) {
        Some(socket) => take_over_datagrams(socket)?,
        None => bind_datagrams(local)?,
    };
    let door = Arc::new(Door {
        socket,
        local,
        endpoint,
        flows: Mutex::new(FlowTable::new()),
        queued: Arc::default(),
        shared: shared.clone(),
    });
    let serving = shared.visitors.spawn(receive(OpenDoor::new(door.clone())));
    let door = Arc::downgrade(&door);
    Ok(PortGuard::new(serving, move || {
        door.upgrade().map(|door| PortSocket::share_udp(&door.socket)).transpose()
    }))
}

/// One public port.
#[derive(Debug)]
struct Door {
    socket: UdpSocket,
    local: SocketAddr,
    endpoint: Arc<Endpoint>,
    flows: Mutex<FlowTable<Handle>>,
    /// Bytes that wait for the flows' streams.
    queued: Arc<AtomicUsize>,
    shared: Shared,
}

/// The door as its one receiving task holds it: the flows end with that task.
struct OpenDoor(Arc<Door>);

impl OpenDoor {
    fn new(door: Arc<Door>) -> Self {
        door.shared.routes.udp_opened(door.local.port());
        Self(door)
    }
}

impl Drop for OpenDoor {
    fn drop(&mut self) {
        self.0.shared.routes.udp_closed(self.0.local.port());
        self.0.flows().clear();
    }
}

async fn receive(open: OpenDoor) {
    let door = &open.0;
    if !door.shared.opened().await {
        return;
    }
    let idle = || door.shared.config().timeouts.udp_idle;
    let mut sweeps = tokio::time::interval(SWEEP.min(idle()));
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let has_flows = door.flows().len() > 0;
        tokio::select! {
            () = door.shared.draining.cancelled() => return door.hear_out().await,
            () = door.shared.stopping.cancelled() => return,
            _ = sweeps.tick(), if has_flows => door.flows().expire(idle(), Instant::now()),
            ready = door.socket.readable() => {
                if let Err(error) = ready {
                    // Only a runtime that is going down says so.
                    debug!(%error, "a UDP port can't be waited for");
                    return;
                }
                tunnel_io::scratch::with(|buffer| door.take_burst(buffer));
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Door {
    /// Lets the answers through that are under way, if a successor takes the visitors' next datagrams.
    async fn hear_out(&self) {
        if self.shared.has_successor() {
            tokio::select! {
                () = sleep(LAST_ANSWERS) => {}
                () = self.shared.stopping.cancelled() => {}
            }
        }
    }

    fn take_burst(self: &Arc<Self>, buffer: &mut [u8]) {
        let now = Instant::now();
        for _ in 0..BURST {
            match self.socket.try_recv_from(buffer) {
                Ok((length, from)) => self.take(&buffer[..length], from, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // About one visitor that is gone; the socket lives on.
                Err(error) => debug!(%error, "receiving failed"),
            }
        }
    }

    /// Takes one datagram.
    fn take(self: &Arc<Self>, datagram: &[u8], from: SocketAddr, now: Instant) {
        let metrics = &self.shared.metrics;
        Metrics::count(&metrics.udp_received);
        let visitor = SocketAddr::new(from.ip().to_canonical(), from.port());
        let known = self.flows().heard(visitor, now).map(|(handle, stage)| (handle.line(), stage));
        let (line, stage) = match known {
            Some(known) => known,
            None => match self.begin(visitor, from, now) {
                Ok(line) => (line, Stage::Unanswered),
                Err(code) => {
                    self.endpoint.tally.refused(metrics, code);
                    Metrics::count(&metrics.udp_dropped);
                    return;
                }
            },
        };
        let room = if stage == Stage::Unanswered { QUEUED_MAX / 2 } else { QUEUED_MAX };
        let has_room = self.queued.load(Ordering::Relaxed) + datagram.len() <= room;
        let is_let_in = has_room && !self.endpoint.is_paused();
        let dropped = if is_let_in && self.endpoint.lets_through(datagram.len(), true) {
            self.endpoint.tally.add_in(datagram.len());
            line.push(datagram, now)
        } else {
            1
        };
        Metrics::add(&metrics.udp_dropped, dropped);
    }

    /// Begins a flow for a visitor that has none.
    fn begin(
        self: &Arc<Self>,
        visitor: SocketAddr,
        from: SocketAddr,
        now: Instant,
    ) -> Result<Arc<Line>, Code> {
        if self.endpoint.is_paused() {
            return Err(Code::TunnelPaused);
        }
        if !self.endpoint.is_live() {
            return Err(Code::TunnelAway);
        }
        if self.is_one_of_ours(visitor) {
            return Err(Code::BadRequest);
        }
        if self.shared.load.is_full() {
            return Err(Code::Overloaded);
        }
        let policies = self.endpoint.known_policies();
        policies.admit(visitor.ip()).map_err(Denied::code)?;
        self.shared.addresses.flow(visitor.ip()).map_err(Excess::code)?;
        let limits = {
            let config = self.shared.config();
            let limits = &config.limits;
            FlowLimits { total: limits.udp_flows_per_tunnel, per_address: limits.udp_flows_per_address }
        };
        self.flows().make_room(visitor, limits, now).map_err(|_full| Code::TooManyVisitors)?;
        let permit = self.endpoint.admit()?;
        let request = ids::request_id();
        let draft = self.shared.records.draft(request, TunnelKind::Udp, visitor, || None);
        draft.iter().for_each(|draft| draft.at(&self.endpoint));
        let line = Arc::new(Line::new(self.queued.clone(), draft));
        let over = CancellationToken::new();
        let handle = Handle::new(line.clone(), over.clone());
        let id = self.flows().begin(visitor, handle, now);
        Metrics::count(&self.shared.metrics.udp_flows);
        self.endpoint.tally.count_connection();
        let visit = Visit { request, visitor, local: self.local };
        let span = info_span!("visitor", id = %visit.request, addr = %visitor);
        let flow = Flow { id, visitor, from, line: line.clone(), over };
        let door = self.clone();
        let serving = async move {
            flow::serve(&door, &flow, visit, policies).await;
            door.flows().end(flow.visitor, flow.id);
            drop(permit);
        };
        self.shared.visitors.spawn(serving.instrument(span));
        Ok(line)
    }

    /// Whether a datagram claims to come from one of our own UDP ports: answering it would have two tunnels talk to
    /// each other for ever.
    fn is_one_of_ours(&self, visitor: SocketAddr) -> bool {
        self.shared.routes.is_udp_open(visitor.port()) && is_local(visitor.ip())
    }

    fn flows(&self) -> MutexGuard<'_, FlowTable<Handle>> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an address is this machine's: only then can a socket be bound to it.
fn is_local(ip: IpAddr) -> bool {
    std::net::UdpSocket::bind((ip, 0)).is_ok()
}
